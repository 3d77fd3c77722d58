"""mt.compile for programs with operations that do not fuse: products of matrices, selections, joins, whole networks."""

import pytest

from microtensor.compiling import calling, numba_source, numpy_source
from tests.compiling.backends import compiled_by
from tests.compiling.networks import RandomNetwork
from tests.compiling.programs import difference

TOLERANCE = {"float64": 1e-11, "float32": 3e-4}


@pytest.fixture
def check(monkeypatch):
    # The drawn function is an object that reads its own plan, which never changes.
    monkeypatch.setattr(calling, "settings_of", lambda fn, modules: iter(()))

    def compare(seeds, backend):
        refused, wrong = [], []
        for seed in seeds:
            # Small blocks and tiles, so that small arrays have several of them.
            monkeypatch.setattr(numpy_source, "BLOCK", [1 << 18, 16, 64, 256][seed % 4])
            monkeypatch.setattr(numba_source, "TILE", [1024, 2, 3, 4][seed % 4])
            for dtype in ("float64", "float32"):
                program = RandomNetwork(seed, dtype)
                compiled = compiled_by(program, backend)
                error = difference(compiled, program)
                if error is None:
                    refused.append((seed, compiled.why))
                elif not error < TOLERANCE[dtype]:
                    wrong.append((seed, dtype, error))
        assert wrong == []
        assert refused == []

    return compare


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_random_programs(check, backend):
    check(range(60), backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_many_random_programs(check, backend):
    check(range(100, 500), backend)
