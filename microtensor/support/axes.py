"""Axes and sizes as arguments: every spelling that is taken becomes plain integers, once, on the way in."""

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

# Half a terabyte of float64. What asks for more is a slip, and the system may let it begin and end the process later.
MOST_ELEMENTS = 2**36


def integer(value: Any, what: str, who: str, write: str = "one integer") -> int:
    """A Python integer from anything that is exactly one: also of NumPy, also an array or a tensor without axes.

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
        # A tensor or an array of shape (1,) has an index too, but is a sequence.
        if getattr(value, "ndim", 0) == 0:
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{who}: {what} {value!r} is not an integer; write {write}")


def integers(value: Any, what: str, who: str) -> tuple[int, ...]:
    """One integer or a sequence of them as a tuple: a list, a tuple, a range, an array or a tensor of one axis.

    Raises
    ------
    TypeError
        There is something else, or something else among them.
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
    """One size or a sequence of them as a tuple of integers from `least` on.

    Raises
    ------
    TypeError
        They are no integers.
    ValueError
        One is too small, or together they ask for more than any array holds.
    """
    return _in_bounds(integers(value, what, who), what, who, least)


@lru_cache
def _in_bounds(found: tuple[int, ...], what: str, who: str, least: int) -> tuple[int, ...]:
    if not all(least <= size <= sys.maxsize for size in found):
        raise ValueError(f"{who}: {what} is {found!r}; write sizes from {least} on that an array can have")
    return found


def check_room(shape: Sequence[int], who: str) -> None:
    """Raises ValueError for a shape that no machine has room for, before anything is made."""
    if math.prod(shape) > MOST_ELEMENTS:
        raise ValueError(f"{who}: a result of shape {tuple(shape)} has more than 2**36 elements; write smaller sizes")


def shape_of_new(shape: Any, who: str) -> tuple[int, ...]:
    """The shape of a tensor that is to be made, as a tuple of integers.

    Raises
    ------
    TypeError
        It is no integer and no sequence of integers.
    ValueError
        A size is negative, or no machine has room for so many elements.
    """
    found = sizes(shape, "shape", who)
    check_room(found, who)
    return found


def normalize_axis(axis: Any, ndim: int, who: str) -> tuple[int, ...]:
    """The axes as a tuple of distinct non-negative integers; None means all of them.

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
    # The form that most calls have, at a fifth of the time of the general one.
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
    """The number of elements that a reduction over axes takes together; over all of them for None."""
    return math.prod(shape if axes is None else map(shape.__getitem__, axes))


def filled_count(shape: tuple[int, ...], axes: Any, who: str, what: str) -> int:
    """As :func:`axis_count`, for functions that have no value of nothing.

    Raises
    ------
    ValueError
        There are no elements along the axes.
    """
    count = axis_count(shape, axes)
    if count == 0:
        along = tuple(range(len(shape)) if axes is None else axes)
        raise ValueError(f"{who}: shape {shape} has no elements along axis {along}; {what} of nothing is undefined")
    return count


def settled_axes(who: str) -> Callable[[dict[str, Any], list[Any]], None]:
    """For a reduction over several axes: each call leaves a tuple of integers from 0 on, or None, and a bool."""

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
    """For a primitive that takes the shape of its result: each call leaves a tuple of integers."""

    def settle(params: dict[str, Any], arrays: list[Any]) -> None:
        if "shape" in params:
            params["shape"] = shape_of_new(params["shape"], who)

    return settle


def settled_reshape(params: dict[str, Any], arrays: list[Any]) -> None:
    """For a reshape: a tuple of integers, one of which may be −1."""
    if "shape" in params:
        params["shape"] = sizes(params["shape"], "shape", "reshape", -1)


def settled_permutation(params: dict[str, Any], arrays: list[Any]) -> None:
    """For an order of axes: a tuple that names every axis once; in reverse unless given."""
    shape, axes = np.shape(arrays[0]), params.get("axes")
    order = tuple(reversed(range(len(shape)))) if axes is None else normalize_axis(axes, len(shape), "permute_dims")
    if len(order) != len(shape):
        raise ValueError(f"permute_dims: axes {order} for a tensor of shape {shape}; write every axis once")
    params["axes"] = order
