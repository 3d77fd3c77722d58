"""What the operations share: comparisons, and values taken out of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex, TypeVar, cast

import numpy as np

from microtensor.checks import check_flag
from microtensor.core.primitive import TensorBase, as_array
from microtensor.core.tensor import Tensor
from microtensor.hints import spelled
from microtensor.support.arrays import Array, plain_array
from microtensor.support.axes import Axis, in_range, integer, normalize_axis
from microtensor.support.modes import current_mode

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "stop_gradient",
]

T = TypeVar("T")


def traced() -> bool:
    """Whether a function is traced: then tensors have no values."""
    return current_mode().tracer is not None


def as_mask(condition: Any) -> Any:
    """A condition as an array of booleans. While a function is traced, it stays what the trace has recorded."""
    return condition if traced() else np.asarray(condition, bool)


def later(action: Callable[..., None], *args: Any) -> None:
    """Call `action`, which changes tensors. While a function is traced: after each run of its program instead."""
    tracer: Any = current_mode().tracer
    if tracer is None:
        action(*args)
    else:
        tracer.later(action, args)


def ensure(check: Callable[..., None], *args: Any) -> None:
    """Call `check`, which raises an error for some values. While a function is traced: in each run of its program."""
    tracer: Any = current_mode().tracer
    if tracer is None:
        check(*args)
    else:
        tracer.later(check, args, first=True)


def perhaps(condition: Any) -> bool:
    """Whether a condition holds for an element. A trace goes on as if it did, because it has no values."""
    return traced() or bool(np.any(condition))


def equal(a: Any, b: Any) -> Array:
    """Whether a = b, elementwise, as a plain boolean array; broadcasting as NumPy does.

    >>> import microtensor as mt
    >>> mt.ops.equal(mt.tensor([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    found: Array = as_mask(np.equal(as_array(a), as_array(b)))
    return found


def greater(a: Any, b: Any) -> Array:
    """Whether a > b, elementwise, as a plain boolean array; broadcasting as NumPy does.

    >>> import microtensor as mt
    >>> mt.ops.greater(mt.tensor([1.0, 2.0]), 1.0)
    array([False,  True])
    """
    found: Array = as_mask(np.greater(as_array(a), as_array(b)))
    return found


def one_axis(axis: Any, ndim: int, who: str, what: str = "axis") -> int:
    """One axis as a non-negative integer.

    Raises
    ------
    TypeError
        It is not an integer: None and several axes raise too.
    numpy.exceptions.AxisError
        It is out of range.
    """
    return in_range(integer(axis, what, who), ndim, who)


def several_axes(axis: Any, ndim: int, who: str, what: str = "axis") -> tuple[int, ...]:
    """As :func:`normalize_axis`, but None raises.

    Raises
    ------
    TypeError
        It is None, or an axis is not an integer.
    """
    if axis is None:
        raise TypeError(f"{who}: {what} is None; write an integer or a tuple of integers")
    return normalize_axis(axis, ndim, who)


def _one_or_flat(x: Any, axis: Any, who: str) -> int | None:
    return None if axis is None else one_axis(axis, len(shape_of(x)), who)


@spelled
def argmax(x: Any, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
    """Index of the largest element along an axis, as a plain array of integers. Default: of the flattened tensor.

    >>> import microtensor as mt
    >>> mt.argmax(mt.tensor([1.0, 3.0, 2.0]))
    array(1)
    """
    keepdims = check_flag(keepdims, "keepdims", "argmax")
    return np.asarray(np.argmax(as_array(x), axis=_one_or_flat(x, axis, "argmax"), keepdims=keepdims))


@spelled
def argmin(x: Any, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
    """Index of the smallest element along an axis, as a plain array of integers. Default: of the flattened tensor.

    >>> import microtensor as mt
    >>> mt.argmin(mt.tensor([1.0, 3.0, 2.0]))
    array(0)
    """
    keepdims = check_flag(keepdims, "keepdims", "argmin")
    return np.asarray(np.argmin(as_array(x), axis=_one_or_flat(x, axis, "argmin"), keepdims=keepdims))


@spelled
def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether at least one element along the axes is nonzero, as a plain array of booleans. Default: all axes.

    >>> import microtensor as mt
    >>> mt.any(mt.tensor([0.0, 1.0]))
    array(True)
    """
    axes = normalize_axis(axis, len(shape_of(x)), "any")
    return np.asarray(np.any(as_array(x), axis=axes, keepdims=check_flag(keepdims, "keepdims", "any")))


@spelled
def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether every element along the axes is nonzero, as a plain array of booleans. Default: all axes.

    >>> import microtensor as mt
    >>> mt.all(mt.tensor([0.0, 1.0]))
    array(False)
    """
    axes = normalize_axis(axis, len(shape_of(x)), "all")
    return np.asarray(np.all(as_array(x), axis=axes, keepdims=check_flag(keepdims, "keepdims", "all")))


def as_operand(x: Any) -> Any:
    """A tensor as it is, anything else as an array."""
    return x if isinstance(x, TensorBase) else plain_array(x)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or nested lists."""
    return np.shape(as_array(x))


def stop_gradient(x: T) -> T:
    """The same value without history: no gradient flows back through it.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([3.0], requires_grad=True)
    >>> mt.grad(x * mt.stop_gradient(x), x)
    tensor([3.])
    """
    return cast("T", x.detach()) if isinstance(x, Tensor) else x


def machine_epsilon(x: Any) -> float:
    """The distance from 1 to the next larger number in the dtype of x."""
    return float(np.finfo(x.dtype).eps)
