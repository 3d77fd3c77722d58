"""What one gradient with respect to z is: constant along some axes, a multiple of z − mean(z) or of z, or neither."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from microtensor.inspect.statistics.model import Kind
from microtensor.support.arrays import Array

# How far a gradient may be from a constant or a multiple, relative to its length.
TOLERANCE = 1e-7
# The same for the first look, which only sorts out.
FIRST_LOOK = 1e-3
# A set of values is flat when its variance is below this part of its mean square: rounding is too near there.
FLAT = 1e-8
# A set of values has a gradient when that is larger than this part of the largest.
NOTHING = 1e-12


class Direction(NamedTuple):
    """What a gradient is along some axes."""

    kind: Kind
    axes: tuple[int, ...]
    centered: bool


@lru_cache
def _sets_of_axes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All sets of axes with at least two values, the largest first."""
    every = (axes for k in range(1, len(shape) + 1) for axes in itertools.combinations(range(len(shape)), k))
    counted = [(math.prod(shape[i] for i in axes), len(axes), axes) for axes in every]
    return [axes for count, _, axes in sorted(counted, reverse=True) if count > 1]


def direction_of(g: Array, z: Array, count: int) -> Direction | None:
    """What the gradient g with respect to z of `count` numbers is: a shift, a scale, or neither."""
    largest = np.abs(g).max(initial=0)
    if not 0 < largest < np.inf:
        return None
    for direction in directions(g, z, FIRST_LOOK):
        axes = direction.axes
        along = z - z.mean(axis=axes, keepdims=True) if direction.centered else z
        if direction.kind == "shift":
            along = np.ones_like(z)
        part = along * ((g * along).sum(axes, keepdims=True) / (along * along).sum(axes, keepdims=True))
        sets = int((np.abs(g).max(axis=axes) > NOTHING * largest).sum())
        if sets == count and np.linalg.norm(g - part) <= TOLERANCE * np.linalg.norm(g):
            return direction
    return None


def may_be_scale(g: Array, z: Array) -> bool:
    """A first look at a gradient, which sorts out; what is not finite tells nothing."""
    return not np.isfinite(g).all() or any(direction.kind == "scale" for direction in directions(g, z, FIRST_LOOK))


def directions(g: Array, z: Array, tolerance: float) -> Iterator[Direction]:
    """What a gradient g with respect to z may be, the largest sets of axes first, to some rounding.

    The residue of g along a direction d is Σ g² − (Σ g d)² / Σ d², so a few sums tell all three. What holds along
    several axes is a constant plus a multiple of z along each of them, which sorts out most axes at once.
    """
    products = np.stack([g * g, g, g * z, z * z, z])
    allowed = tolerance**2 * products[0].sum()

    def residues(axes: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
        """What is left of g without a constant, without a part along z − mean(z), without one along z, without both."""
        count = math.prod(z.shape[i] for i in axes)
        gg, sum_g, gz, zz, sum_z = products.sum(axis=tuple(i + 1 for i in axes))
        gd, dd, varying = gz - sum_g * sum_z / count, zz - sum_z**2 / count, gg - sum_g**2 / count
        return varying.sum(), _left(gg, gd, dd, zz), _left(gg, gz, zz, zz), _left(varying, gd, dd, zz)

    possible = {i for i, size in enumerate(z.shape) if size < 3 or residues((i,))[3] <= allowed}
    for axes in _sets_of_axes(z.shape):
        if possible.issuperset(axes):
            of_shift, of_centered, of_scale, _ = residues(axes)
            if of_shift <= allowed:
                yield Direction("shift", axes, True)
            if of_centered <= allowed:
                yield Direction("scale", axes, True)
            if of_scale <= allowed:
                yield Direction("scale", axes, False)


def _left(gg: Array, gd: Array, dd: Array, zz: Array) -> Any:
    """What is left of Σ g² without the part along d. A set in which z hardly varies tells nothing."""
    return np.where(dd > FLAT * zz, gg - gd**2 / dd, 0).sum()
