"""The ways in which a kernel can run: NumPy, loops in machine code, and the same loops in Python, one by one."""

import importlib.util
import math

import numpy as np
import pytest

from microtensor.compiling.compiled import Compiled
from microtensor.compiling.functions import source_of
from microtensor.compiling.numba_source import NumbaWriter
from microtensor.compiling.program import build_numpy

NUMBA = importlib.util.find_spec("numba") is not None
needs_numba = pytest.mark.skipif(not NUMBA, reason="numba is not installed")
BACKENDS = ["numpy", pytest.param("numba", marks=needs_numba)]


def build_python(kernel, name, dtype):
    """The loops that numba would compile, as Python runs them: it shows what they say, without a compiler."""
    bits = np.dtype(f"i{dtype.itemsize}").type
    namespace = {"np": np, "math": math, "real": dtype.type, "bits": bits, "one": dtype.type(1)}
    namespace |= {"where": lambda c, a, b: a if c else b, "maximum": np.maximum, "minimum": np.minimum}
    exec(source_of(dtype) + NumbaWriter(kernel, name, dtype).source, namespace)
    sizes = [math.prod(kernel.algebra.sizes[a] for a in layout) for _, layout in kernel.results.values()]
    kinds = [np.dtype(np.int64) if value.whole else dtype for value in kernel.results]

    def call(*arrays):
        results = [np.empty(size, kind) for size, kind in zip(sizes, kinds, strict=True)]
        namespace[name](*[x.reshape(-1) for x in arrays], *results)
        return results

    return call


def compiled_by(fn, backend):
    """A compiled function whose kernels run in one way only."""
    if backend == "numba":
        from microtensor.compiling.numba_build import build_loops

        return Compiled(fn, False, build_loops)
    return Compiled(fn, False, {"numpy": build_numpy, "python": build_python}[backend])
