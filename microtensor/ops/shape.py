"""Rearrangements composed of a few primitives, so that they have no derivative rules of their own."""

from __future__ import annotations

import builtins
import math
from typing import Any, SupportsIndex

from microtensor.core.ops import broadcast_to, permute_dims, reshape
from microtensor.hints import spelled
from microtensor.ops.common import as_operand, one_axis, several_axes
from microtensor.support.axes import Axis, Shape, check_room, integers, normalize_axis, sizes

__all__ = [
    "expand_dims",
    "flatten",
    "matrix_transpose",
    "moveaxis",
    "squeeze",
    "swapaxes",
    "tile",
]


def matrix_transpose(x: Any) -> Any:
    """x with its last two axes exchanged.

    Raises
    ------
    ValueError
        There are fewer than two axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.matrix_transpose(mt.zeros((4, 2, 3))).shape
    (4, 3, 2)
    """
    x = as_operand(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: shape {x.shape} must have at least two axes")
    return permute_dims(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@spelled
def swapaxes(x: Any, axis1: SupportsIndex, axis2: SupportsIndex) -> Any:
    """x with two axes exchanged.

    Raises
    ------
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.swapaxes(mt.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = as_operand(x)
    first, second = one_axis(axis1, x.ndim, "swapaxes", "axis1"), one_axis(axis2, x.ndim, "swapaxes", "axis2")
    axes = list(range(x.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return permute_dims(x, axes=tuple(axes))


@spelled
def moveaxis(x: Any, source: Shape, destination: Shape) -> Any:
    """x with axes moved to new places. The other axes keep their order.

    Raises
    ------
    ValueError
        There are not as many destinations as sources.
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.moveaxis(mt.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_operand(x)
    sources = several_axes(source, x.ndim, "moveaxis", "source")
    places = several_axes(destination, x.ndim, "moveaxis", "destination")
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} sources but {len(places)} destinations")
    order = [i for i in range(x.ndim) if i not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(x, axes=tuple(order))


@spelled
def expand_dims(x: Any, axis: Shape = 0) -> Any:
    """x with new axes of size 1. `axis` gives their places in the result.

    Raises
    ------
    numpy.exceptions.AxisError
        A place is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.expand_dims(mt.zeros((2, 3)), axis=1).shape
    (2, 1, 3)
    """
    x = as_operand(x)
    axes = integers(axis, "axis", "expand_dims")
    ndim = x.ndim + len(axes)
    places = normalize_axis(axes, ndim, "expand_dims")
    old = iter(x.shape)
    return reshape(x, shape=tuple(1 if i in places else next(old) for i in range(ndim)))


@spelled
def squeeze(x: Any, axis: Axis = None) -> Any:
    """x without axes of size 1; default: all of them are removed.

    Raises
    ------
    ValueError
        A given axis has another size.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.squeeze(mt.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    x = as_operand(x)
    if axis is None:
        return reshape(x, shape=tuple(n for n in x.shape if n != 1))
    axes = normalize_axis(axis, x.ndim, "squeeze")
    wrong = [i for i in axes if x.shape[i] != 1]
    if wrong:
        raise ValueError(f"squeeze: axis {wrong[0]} of shape {x.shape} has size {x.shape[wrong[0]]}, not 1")
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


@spelled
def flatten(x: Any, start_axis: SupportsIndex = 0, end_axis: SupportsIndex = -1) -> Any:
    """x with the axes from `start_axis` to `end_axis` (included) joined into one. A scalar becomes a vector.

    Raises
    ------
    ValueError
        `start_axis` comes after `end_axis`.
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.flatten(mt.zeros((2, 3, 4)), start_axis=1).shape
    (2, 12)
    """
    x = as_operand(x)
    ndim = builtins.max(x.ndim, 1)
    first = one_axis(start_axis, ndim, "flatten", "start_axis")
    last = one_axis(end_axis, ndim, "flatten", "end_axis")
    if first > last:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis} in shape {x.shape}")
    return reshape(x, shape=(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def flattened(x: Any, axis: Any, who: str) -> tuple[Any, int]:
    """x and the axis of a function along one axis. For None: the flattened x and axis 0, as in NumPy."""
    x = as_operand(x)
    return (reshape(x, shape=(-1,)), 0) if axis is None else (x, one_axis(axis, x.ndim, who))


@spelled
def tile(x: Any, repetitions: Shape) -> Any:
    """x repeated along each axis. The last number of `repetitions` is for the last axis.

    Raises
    ------
    TypeError
        A number of repetitions is not an integer.
    ValueError
        A number is negative, or the result has more than 2³⁶ elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tile(mt.tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    x = as_operand(x)
    counts = sizes(repetitions, "repetitions", "tile")
    width = builtins.max(len(counts), x.ndim)
    counts = (1,) * (width - len(counts)) + counts
    old = (1,) * (width - x.ndim) + tuple(x.shape)
    new = tuple(c * n for c, n in zip(counts, old, strict=True))
    check_room(new, "tile")
    spread = reshape(x, shape=tuple(n for size in old for n in (1, size)))
    spread = broadcast_to(spread, shape=tuple(n for pair in zip(counts, old, strict=True) for n in pair))
    return reshape(spread, shape=new)
