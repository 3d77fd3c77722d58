"""Compiles kernels with numba. Source and machine code are kept on disk, so that a later process need not wait."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from microtensor.compiling.functions import FAST, source_of
from microtensor.compiling.numba_source import NumbaWriter, with_constants
from microtensor.compiling.partition import Policy
from microtensor.compiling.program import build_numpy
from microtensor.compiling.schedule import Kernel
from microtensor.support.arrays import Array

# A choice in Python would be a branch, and a loop then takes the elements of a row one by one.
HEAD = """\
\"\"\"Written by microtensor.compile.\"\"\"

import math

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

real = np.{real}
bits = np.{bits}
one = real(1)


@intrinsic
def where(typing, condition, a, b):
    return a(condition, a, b), lambda context, builder, signature, args: builder.select(*args)


def extremum(name):
    def call(context, builder, signature, args):
        kind = args[0].type
        return builder.call(builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind, kind])), args)

    return intrinsic(lambda typing, a, b: (a(a, b), call))


maximum, minimum = extremum("llvm.maximum"), extremum("llvm.minimum")
"""
# Sums may be taken in another order. NaN, ∞ and the sign of 0 are what they are.
KERNEL = '@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})\n'
# Inside a loop they must be inlined. The order of their sums and differences is part of them.
BEFORE = '@numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)\n'


def build_numba(kernel: Kernel, name: str, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """The function of a kernel: loops where these are faster.

    NumPy has sin and the like for many elements at a time. Loops would call the C library for each one.
    """
    costly = any(v.costly and v.op not in FAST and v.axes == kernel.full for v in kernel.order)
    return (build_numpy if costly else build_loops)(kernel, name, dtype)


# A call of machine code takes as long as several of NumPy.
build_numba.policy = Policy(least=1 << 15, many=12, taken=FAST)  # type: ignore[attr-defined]


def build_loops(kernel: Kernel, name: str, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """The function of a kernel as loops in machine code."""
    source = source_of(dtype, BEFORE) + "\n\n" + KERNEL + NumbaWriter(kernel, name, dtype).source
    source = HEAD.format(real=dtype.name, bits=f"int{8 * dtype.itemsize}") + with_constants(source)
    run = getattr(_imported(source), name)
    sizes = [math.prod(kernel.algebra.sizes[a] for a in layout) for _, layout in kernel.results.values()]
    kinds = [np.dtype(np.int64) if value.whole else dtype for value in kernel.results]

    def call(*arrays: Array) -> list[Array]:
        results = [np.empty(size, kind) for size, kind in zip(sizes, kinds, strict=True)]
        run(*[x.reshape(-1) for x in arrays], *results)
        return results

    return call


def _imported(source: str) -> ModuleType:
    """A module with this source, from a file of the user, because numba keeps machine code for files only."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:24]
    path = _directory() / f"microtensor_kernel_{digest}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(source, encoding="utf-8")
        new.replace(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    # numba finds the functions of machine code that it has kept by the name of their module.
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _directory() -> Path:
    """Where sources are kept: in the user's cache, or for this process only if that cannot be written to."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = Path(home) / "microtensor"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(path, os.W_OK):
            return path
    except OSError:
        pass
    return _temporary()


def _temporary() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="microtensor-"))
