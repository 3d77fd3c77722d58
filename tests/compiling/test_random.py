"""Random compositions, compiled, against the composition in float64."""

import os

import pytest

from microtensor.compiling import numba_source, numpy_source
from microtensor.compiling.partition import Policy
from microtensor.compiling.program import build_numpy
from microtensor.compiling.reading import Reading
from tests.compiling.backends import compiled_by, needs_numba
from tests.compiling.programs import RandomProgram, difference

TOLERANCE = {"float64": 1e-11, "float32": 3e-4}
# How many of the slow ones run as machine code: each takes a second to compile, so they are shorter.
MACHINE_CODE = int(os.environ.get("MICROTENSOR_COMPILED", "40"))
STEPS = 6


@pytest.fixture
def check(monkeypatch):
    # The drawn function is an object that reads its own plan, which never changes.
    monkeypatch.setattr(Reading, "_named", lambda *read: None)
    # Programs of any length in blocks, too.
    monkeypatch.setattr(build_numpy, "policy", Policy(), raising=False)

    def compare(seeds, backend, dtypes=("float64", "float32"), steps=12):
        refused, wrong = [], []
        for seed in seeds:
            # Small blocks and tiles, so that small arrays have several of them.
            monkeypatch.setattr(numpy_source, "BLOCK", [1 << 18, 16, 64, 256][seed % 4])
            monkeypatch.setattr(numba_source, "TILE", [1024, 2, 3, 4][seed % 4])
            for dtype in dtypes:
                program = RandomProgram(seed, dtype, steps)
                compiled = compiled_by(program, backend)
                error = difference(compiled, program)
                if error is None:
                    refused.append((seed, compiled.why))
                elif not error < TOLERANCE[dtype]:
                    wrong.append((seed, dtype, error))
        assert wrong == []
        assert len(refused) <= 1 + 0.02 * len(seeds)

    return compare


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_random_compositions(check, backend):
    check(range(60), backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_many_random_compositions(check, backend):
    check(range(100, 600), backend)


@needs_numba
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_random_compositions_in_machine_code(check, dtype):
    check(range(600, 604), "memory", [dtype], STEPS)


@pytest.mark.slow
@needs_numba
@pytest.mark.parametrize("first", range(700, 700 + MACHINE_CODE, 20))
def test_many_random_compositions_in_machine_code(check, first):
    # Blocks of four seeds have the same dtype, so that each dtype meets each size of a tile.
    for dtype, part in (("float64", 0), ("float32", 4)):
        seeds = [seed for seed in range(first, min(first + 20, 700 + MACHINE_CODE)) if seed % 8 // 4 * 4 == part]
        check(seeds, "memory", [dtype], STEPS)
