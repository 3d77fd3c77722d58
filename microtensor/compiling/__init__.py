"""Compiled functions: a composition and its derived backward run as a few sweeps over arrays.

A function is run once on tensors without values. This records its operations, and those of the backward pass that the
engine derives from them. Both become sweeps over arrays: loops that numba compiles, or NumPy in blocks. A program with
other operations, such as products of matrices, becomes calls of NumPy with such sweeps between them.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, overload

from microtensor.compiling.compiled import Backend, Compiled, CompileError
from microtensor.compiling.program import Builder, build_numpy

__all__ = ["CompileError", "Compiled", "compile"]

_told = False


@overload
def compile(fn: Callable[..., Any], *, strict: bool = False, backend: Backend | None = None) -> Compiled: ...


@overload
def compile(
    fn: None = None, *, strict: bool = False, backend: Backend | None = None
) -> Callable[[Callable[..., Any]], Compiled]: ...


def compile(fn: Callable[..., Any] | None = None, *, strict: bool = False, backend: Backend | None = None) -> Any:
    """A function that computes the same as `fn`, in fewer passes over the arrays.

    The first call with arguments of new shapes and dtypes traces `fn` and makes a program for its forward pass and for
    its derived backward pass. Later calls run the program. The result has one record. Pictures, the ledger and checks
    show the composition in its place, and higher derivatives are taken through the composition.

    `fn` must be pure: its results depend on its arguments, and on what it reads by name. That may be plain values,
    functions, and what modules and objects hold; each call looks whether any of it has changed. Parameters and buffers
    of modules are inputs, and get their gradients. `fn` may use all operations, and :func:`microtensor.grad` for
    gradients by tensors. It must not read values, as a branch on a sum does, and must not draw numbers. Where it does,
    the composition runs as it is, and ``.why`` says why.

    Functions of each element, sums, means and maxima over axes, and changes of shape fuse: a stretch of them is one
    kernel where that is faster. All other operations are called as they are. A call has a cost of its own, about that
    of three operations on small arrays, so a function of a few operations on these gains nothing.

    Parameters
    ----------
    fn : callable or Module
        A function from tensors to one tensor, or to a tuple or list of tensors. Other arguments must be plain values.
        Labels and indices are tensors of integers. Left out, as in ``@mt.compile(strict=True)``, the result is a
        decorator.
    strict : bool
        Raise an error instead of running the composition.
    backend : {"numba", "numpy"}, optional
        What runs the program. Default: numba, from the extra ``microtensor[compile]``, if it is installed.

    Returns
    -------
    Compiled
        Its ``source`` is the program as NumPy, its ``why`` the reason for not running one.

    Raises
    ------
    CompileError
        In a call, with `strict`: `fn` cannot be compiled.
    ValueError
        There is no such backend.
    ImportError
        The backend is "numba", and it cannot be imported.

    Examples
    --------
    >>> import microtensor as mt
    >>> fast = mt.compile(lambda x: x - mt.mean(x), backend="numpy")
    >>> x = mt.tensor([1.0, 2.0, 6.0], requires_grad=True)
    >>> y = fast(x)
    >>> y.numpy()
    array([-2., -1.,  3.])
    >>> y.backward([1.0, 0.0, 0.0])
    >>> print(fast.source)
    def forward(x):
        # x (3,)
        v1 = add.reduce(x, axis=(0,), keepdims=True)
        v2 = v1 * 0.3333333333333333
        y = x - v2
        return y,
    <BLANKLINE>
    <BLANKLINE>
    def backward(g):
        # g (3,)
        v1 = add.reduce(g, axis=(0,), keepdims=True)
        v2 = -v1
        v3 = v2 * 0.3333333333333333
        dx = g + v3
        return dx,
    <BLANKLINE>

    A step of training, which reads a network:

    >>> net = mt.nn.Sequential(mt.nn.Linear(4, 8), mt.nn.Tanh(), mt.nn.Linear(8, 3))
    >>> def loss(x, labels):
    ...     return mt.cross_entropy(net(x), labels)
    >>> step = mt.compile(loss, backend="numpy", strict=True)
    >>> step(mt.ones((2, 4)), mt.tensor([0, 2])).backward()
    >>> net[0].weight.grad.shape
    (8, 4)
    """
    if fn is None:
        return functools.partial(compile, strict=strict, backend=backend)
    if not callable(fn) or isinstance(fn, type):
        what = f"the class {fn.__name__}" if isinstance(fn, type) else f"a {type(fn).__name__}"
        raise TypeError(f"compile: fn is {what}; it must be a function or a module")
    if backend not in (None, "numba", "numpy"):
        raise ValueError(f"compile: backend is {backend!r}; it must be 'numba' or 'numpy'")
    build = build_numpy if backend == "numpy" else _with_numba(backend is not None)
    return Compiled(fn.fn if isinstance(fn, Compiled) else fn, strict, build)


def _with_numba(required: bool) -> Builder:
    """Loops in machine code. Without numba NumPy takes their place, and a warning says so once."""
    global _told
    try:
        import numba

        # Before 0.62, LLVM ends the process where a loop takes a maximum.
        if numba.version_info.short < (0, 62):
            raise ImportError(f"numba {numba.__version__} is older than 0.62")
    except ImportError as error:
        if required:
            raise ImportError(f"compile: numba cannot be imported ({error}); install microtensor[compile]") from error
        if not _told:
            _told = True
            text = f"compile: programs run in NumPy, because numba cannot be imported ({error})"
            warnings.warn(f"{text}; install microtensor[compile] for faster ones", stacklevel=3)
        return build_numpy
    from microtensor.compiling.numba_build import build_numba

    return build_numba
