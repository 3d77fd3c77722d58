"""Axis arguments: every spelling that is accepted becomes one tuple of non-negative integers."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Axis: TypeAlias = int | tuple[int, ...] | None


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
    # The two forms that nearly all calls have, at a fifth of the time of the general one.
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if type(axis) is tuple and set(map(type, axis)) == {int}:
        return _distinct(axis, ndim, who)
    return _distinct(tuple(_integers(axis, who)), ndim, who)


def _integers(axis: Any, who: str) -> Iterator[int]:
    for item in axis if isinstance(axis, (tuple, list)) else (axis,):
        if isinstance(item, bool):
            raise TypeError(f"{who}: axis {item} is a bool; an integer is needed")
        try:
            yield operator.index(item)
        except TypeError:
            raise TypeError(f"{who}: axis {item!r} is not an integer") from None


@lru_cache
def _distinct(axis: tuple[int, ...], ndim: int, who: str) -> tuple[int, ...]:
    for index in axis:
        if not -ndim <= index < ndim:
            raise np.exceptions.AxisError(f"{who}: axis {index} is out of bounds for {ndim} dimensions")
    axes = tuple(index % ndim for index in axis)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{who}: axis {axis} names the same axis twice")
    return axes


def axis_count(shape: tuple[int, ...], axis: Axis) -> int:
    """The number of elements that a reduction over `axis` takes together."""
    return math.prod(shape[i] for i in normalize_axis(axis, len(shape), "axis_count"))
