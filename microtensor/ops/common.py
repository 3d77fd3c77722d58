"""What the operations share: comparisons, and values taken out of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex, TypeVar, cast

import numpy as np

from microtensor.primitive import Primitive, Traced
from microtensor.support.arrays import Array, refuse_lossy
from microtensor.support.axes import Axis, normalize_axis, one_axis, shape_of_new

T = TypeVar("T")
_PLAIN = frozenset({np.ndarray, float, int, bool})


def doctests(names: dict[str, Any]) -> dict[str, str]:
    """The docstrings of the primitives among `names`, for doctest, which finds only functions by itself."""
    return {name: value.__doc__ for name, value in names.items() if isinstance(value, Primitive) and value.__doc__}


def as_array(x: Any) -> Any:
    """The array inside a tensor; anything else as it is, but for what NumPy would read with a loss.

    Raises
    ------
    TypeError
        x is a masked array or a matrix.
    """
    if isinstance(x, Traced):
        return x._array
    if type(x) not in _PLAIN:
        refuse_lossy(x, "an argument")
    return x


def settled_axes(who: str) -> Callable[..., None]:
    """For a primitive that takes several axes as `axis`: each call leaves a tuple of integers from 0 on, or None."""

    def settle(params: dict[str, Any], arrays: list[Any]) -> None:
        axis = params.get("axis")
        if axis is not None:
            x = arrays[0]
            params["axis"] = normalize_axis(axis, x.ndim if type(x) is np.ndarray else np.ndim(x), who)

    return settle


def settled_shape(who: str) -> Callable[..., None]:
    """For a primitive that takes the shape of its result: each call leaves a tuple of integers."""

    def settle(params: dict[str, Any], arrays: list[Any]) -> None:
        if "shape" in params:
            params["shape"] = shape_of_new(params["shape"], who)

    return settle


def equal(a: Any, b: Any) -> Array:
    """Whether a = b, elementwise, as a plain boolean array; broadcasting as NumPy does.

    >>> import microtensor as mt
    >>> mt.ops.equal(mt.tensor([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return np.asarray(np.equal(as_array(a), as_array(b)))


def greater(a: Any, b: Any) -> Array:
    """Whether a > b, elementwise, as a plain boolean array; broadcasting as NumPy does.

    >>> import microtensor as mt
    >>> mt.ops.greater(mt.tensor([1.0, 2.0]), 1.0)
    array([False,  True])
    """
    return np.asarray(np.greater(as_array(a), as_array(b)))


def _one_or_flat(x: Any, axis: Any, who: str) -> int | None:
    return None if axis is None else one_axis(axis, len(shape_of(x)), who)


def argmax(x: Any, *, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
    """Index of the largest element along an axis, or in the flattened tensor, as a plain array of integers.

    >>> import microtensor as mt
    >>> mt.argmax(mt.tensor([1.0, 3.0, 2.0]))
    array(1)
    """
    return np.asarray(np.argmax(as_array(x), axis=_one_or_flat(x, axis, "argmax"), keepdims=keepdims))


def argmin(x: Any, *, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
    """Index of the smallest element along an axis, or in the flattened tensor, as a plain array of integers.

    >>> import microtensor as mt
    >>> mt.argmin(mt.tensor([1.0, 3.0, 2.0]))
    array(0)
    """
    return np.asarray(np.argmin(as_array(x), axis=_one_or_flat(x, axis, "argmin"), keepdims=keepdims))


def any(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether any element along the axes is not zero, as a plain array of booleans.

    >>> import microtensor as mt
    >>> mt.any(mt.tensor([0.0, 1.0]))
    array(True)
    """
    axes = normalize_axis(axis, len(shape_of(x)), "any")
    return np.asarray(np.any(as_array(x), axis=axes, keepdims=keepdims))


def all(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether all elements along the axes are not zero, as a plain array of booleans.

    >>> import microtensor as mt
    >>> mt.all(mt.tensor([0.0, 1.0]))
    array(False)
    """
    axes = normalize_axis(axis, len(shape_of(x)), "all")
    return np.asarray(np.all(as_array(x), axis=axes, keepdims=keepdims))


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or nested lists."""
    return np.shape(as_array(x))


def stop_gradient(x: T) -> T:
    """The same value with no history: what is computed from it passes no gradient back.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([3.0], requires_grad=True)
    >>> mt.grad(x * mt.stop_gradient(x), x)
    tensor([3.])
    """
    return cast("T", x.detach()) if isinstance(x, Traced) else x


def machine_epsilon(x: Any) -> float:
    """The spacing of the floats of x's dtype at 1."""
    return float(np.finfo(x.dtype).eps)
