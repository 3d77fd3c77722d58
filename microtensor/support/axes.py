"""Axes and sizes as arguments: every spelling that is taken becomes plain integers, once, on the way in."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
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
    found = integers(value, what, who)
    for size in found:
        if not least <= size <= sys.maxsize:
            raise ValueError(f"{who}: {what} is {value!r}; write sizes from {least} on that an array can have")
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
    axes = tuple([_in_range(index, ndim, who) for index in axis])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{who}: axis {axis} names the same axis twice")
    return axes


def _in_range(index: int, ndim: int, who: str) -> int:
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(f"{who}: axis {index} is out of bounds for {ndim} dimensions")
    return index % ndim


def one_axis(axis: Any, ndim: int, who: str, what: str = "axis") -> int:
    """The one axis as a non-negative integer; None and several axes are refused, which would be dropped otherwise.

    Raises
    ------
    TypeError
        It is not one integer.
    numpy.exceptions.AxisError
        It is out of range.
    """
    return _in_range(integer(axis, what, who), ndim, who)


def several_axes(axis: Any, ndim: int, who: str, what: str = "axis") -> tuple[int, ...]:
    """As :func:`normalize_axis`, for functions in which None has no meaning.

    Raises
    ------
    TypeError
        It is None, or an axis is not an integer.
    """
    if axis is None:
        raise TypeError(f"{who}: {what} is None; write an integer or a tuple of integers")
    return normalize_axis(axis, ndim, who)


def axis_count(shape: tuple[int, ...], axes: Sequence[int] | None) -> int:
    """The number of elements that a reduction over axes takes together; over all of them for None."""
    return math.prod(shape if axes is None else [shape[i] for i in axes])


def filled_count(shape: tuple[int, ...], axes: tuple[int, ...] | None, who: str, what: str) -> int:
    """As :func:`axis_count`, for functions that have no value of nothing.

    Raises
    ------
    ValueError
        There are no elements along the axes.
    """
    along = range(len(shape)) if axes is None else axes
    count = 1
    for i in along:
        count *= shape[i]
    if count == 0:
        raise ValueError(
            f"{who}: shape {shape} has no elements along axis {tuple(along)}; {what} of nothing is undefined"
        )
    return count
