"""The ways in which a kernel can run: NumPy, loops in machine code, and the same loops in Python, one by one."""

import importlib.util
import math
from functools import cache

import numpy as np
import pytest

from microtensor.compiling.compiled import Compiled
from microtensor.compiling.functions import source_of
from microtensor.compiling.numba_source import NumbaWriter, with_constants
from microtensor.compiling.program import build_numpy

NUMBA = importlib.util.find_spec("numba") is not None
needs_numba = pytest.mark.skipif(not NUMBA, reason="numba is not installed")
BACKENDS = ["numpy", pytest.param("numba", marks=needs_numba)]


def build_python(kernel, name, dtype):
    """The loops that numba would compile, as Python runs them: it shows what they say, without a compiler."""
    bits = np.dtype(f"i{dtype.itemsize}").type
    # numba's math keeps float32, as NumPy does; Python's own gives float64.
    namespace = {"np": np, "math": np, "real": dtype.type, "bits": bits, "one": dtype.type(1)}
    namespace |= {"where": lambda c, a, b: a if c else b, "maximum": np.maximum, "minimum": np.minimum}
    exec(source_of(dtype) + NumbaWriter(kernel, name, dtype).source, namespace)
    return caller(namespace[name], kernel, dtype)


def build_in_memory(kernel, name, dtype):
    """The same machine code as in use, but kernels share the functions of their dtype, and nothing is kept on disk."""
    from microtensor.compiling.numba_build import KERNEL

    namespace = dict(functions_of(dtype))
    decorator = KERNEL.replace("cache=True, ", "")
    exec(with_constants(decorator + NumbaWriter(kernel, name, dtype).source), namespace)
    return caller(namespace[name], kernel, dtype)


@cache
def functions_of(dtype):
    from microtensor.compiling.numba_build import BEFORE, HEAD

    namespace = {}
    head = HEAD.format(real=dtype.name, bits=f"int{8 * dtype.itemsize}")
    exec(head + with_constants(source_of(dtype, BEFORE)), namespace)
    return namespace


def caller(run, kernel, dtype):
    """The function of a kernel, which makes the arrays of the results."""
    sizes = [math.prod(kernel.algebra.sizes[a] for a in layout) for _, layout in kernel.results.values()]
    kinds = [np.dtype(np.int64) if value.whole else dtype for value in kernel.results]

    def call(*arrays):
        results = [np.empty(size, kind) for size, kind in zip(sizes, kinds, strict=True)]
        run(*[x.reshape(-1) for x in arrays], *results)
        return results

    return call


def compiled_by(fn, backend):
    """A compiled function whose kernels run in one way only."""
    if backend == "numba":
        from microtensor.compiling.numba_build import build_loops

        return Compiled(fn, False, build_loops)
    return Compiled(fn, False, {"numpy": build_numpy, "python": build_python, "memory": build_in_memory}[backend])
