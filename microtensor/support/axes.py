"""Axes and sizes as arguments: each accepted form is converted once to plain integers."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, SupportsIndex, TypeAlias

import numpy as np

Axis: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | None
Shape: TypeAlias = SupportsIndex | Sequence[SupportsIndex]

# Half a terabyte of float64. A larger request is a mistake, and the system might end the process only later.
MOST_ELEMENTS = 2**36


def integer(value: Any, what: str, who: str, write: str = "one integer") -> int:
    """A Python integer from a Python or NumPy integer, or from an array or a tensor without axes.

    Raises
    ------
    TypeError
        It is something else, such as a float, a bool or a sequence.
    """
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: {what} {value} is a bool; write {write}")
    try:
        # A tensor or an array of shape (1,) has __index__ too, but it is a sequence.
        if getattr(value, "ndim", 0) == 0:
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{who}: {what} {value!r} is not an integer; write {write}")


def integers(value: Any, what: str, who: str) -> tuple[int, ...]:
    """A tuple of integers, from one integer or from a list, a tuple, a range, or an array or tensor with one axis.

    Raises
    ------
    TypeError
        It is something else, or holds something that is not an integer.
    """
    if not isinstance(value, (tuple, list, range)):
        if getattr(value, "ndim", 0) != 1:
            return (integer(value, what, who, "an integer or a tuple of integers"),)
        value = tuple(value)
    for item in value:
        if type(item) is not int:
            return tuple([integer(item, what, who, "an integer or a tuple of integers") for item in value])
    return tuple(value)


def sizes(value: Any, what: str, who: str, least: int = 0) -> tuple[int, ...]:
    """A tuple of sizes, from one size or a sequence of sizes.

    Raises
    ------
    TypeError
        A size is not an integer.
    ValueError
        A size is less than `least`, or larger than an axis can be.
    """
    return _in_bounds(integers(value, what, who), what, who, least)


@lru_cache
def _in_bounds(found: tuple[int, ...], what: str, who: str, least: int) -> tuple[int, ...]:
    if not all(least <= size <= sys.maxsize for size in found):
        raise ValueError(f"{who}: {what} is {found!r}; each size must be at least {least}, and possible for an array")
    return found


def check_room(shape: Sequence[int], who: str) -> None:
    """Raises ValueError for a shape of more than 2**36 elements, before memory is used."""
    if math.prod(shape) > MOST_ELEMENTS:
        raise ValueError(f"{who}: a result of shape {tuple(shape)} has more than 2**36 elements; write smaller sizes")


def shape_of_new(shape: Any, who: str) -> tuple[int, ...]:
    """The shape of a new tensor, as a tuple of integers.

    Raises
    ------
    TypeError
        It is not an integer or a sequence of integers.
    ValueError
        A size is negative, or there are more than 2**36 elements.
    """
    found = sizes(shape, "shape", who)
    check_room(found, who)
    return found


def normalize_axis(axis: Any, ndim: int, who: str) -> tuple[int, ...]:
    """The axes as a tuple of distinct non-negative integers; None means all axes.

    Raises
    ------
    TypeError
        An axis is not an integer.
    numpy.exceptions.AxisError
        An axis is out of range.
    ValueError
        An axis is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    # Most calls have this form. It takes a fifth of the time of the general one.
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    return _distinct(integers(axis, "axis", who), ndim, who)


@lru_cache
def _distinct(axis: tuple[int, ...], ndim: int, who: str) -> tuple[int, ...]:
    axes = tuple([in_range(index, ndim, who) for index in axis])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{who}: axis {axis} names the same axis twice")
    return axes


def in_range(index: int, ndim: int, who: str) -> int:
    """The axis as a non-negative integer; raises AxisError when it is out of range."""
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(f"{who}: axis {index} is out of bounds for {ndim} dimensions")
    return index % ndim


def axis_count(shape: tuple[int, ...], axes: Sequence[int] | None) -> int:
    """The number of elements that a reduction over axes combines; None means all axes."""
    return math.prod(shape if axes is None else map(shape.__getitem__, axes))


def filled_count(shape: tuple[int, ...], axes: Any, who: str, what: str) -> int:
    """As :func:`axis_count`, but a count of 0 raises.

    Raises
    ------
    ValueError
        There are no elements along the axes.
    """
    count = axis_count(shape, axes)
    if count == 0:
        along = tuple(range(len(shape)) if axes is None else axes)
        raise ValueError(f"{who}: shape {shape} has no elements along axis {along}; {what} of them is undefined")
    return count


def settled_axes(who: str) -> Callable[[dict[str, Any], list[Any]], None]:
    """The `settle` of a reduction: axis becomes a tuple of non-negative integers or None, and keepdims a bool."""

    def settle(params: dict[str, Any], arrays: list[Any]) -> None:
        axis = params.get("axis")
        if axis is not None:
            x = arrays[0]
            params["axis"] = normalize_axis(axis, x.ndim if type(x) is np.ndarray else np.ndim(x), who)
        keepdims = params.get("keepdims", False)
        if type(keepdims) is not bool:
            if not isinstance(keepdims, (np.bool_, int)):
                raise TypeError(f"{who}: keepdims is {keepdims!r}; it must be True or False")
            params["keepdims"] = bool(keepdims)

    return settle


def settled_shape(who: str) -> Callable[[dict[str, Any], list[Any]], None]:
    """The `settle` of a primitive that takes the shape of its result: it becomes a tuple of integers."""

    def settle(params: dict[str, Any], arrays: list[Any]) -> None:
        if "shape" in params:
            params["shape"] = shape_of_new(params["shape"], who)

    return settle


def settled_reshape(params: dict[str, Any], arrays: list[Any]) -> None:
    """The `settle` of reshape: the shape becomes a tuple of integers, one of which may be −1."""
    if "shape" in params:
        params["shape"] = sizes(params["shape"], "shape", "reshape", -1)


def settled_permutation(params: dict[str, Any], arrays: list[Any]) -> None:
    """The `settle` of permute_dims: the axes become a tuple with every axis once; default: in reverse."""
    shape, axes = np.shape(arrays[0]), params.get("axes")
    order = tuple(reversed(range(len(shape)))) if axes is None else normalize_axis(axes, len(shape), "permute_dims")
    if len(order) != len(shape):
        raise ValueError(f"permute_dims: axes {order} for a tensor of shape {shape}; write every axis once")
    params["axes"] = order
