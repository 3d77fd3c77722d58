"""What a backward may compute in the place of a norm's paths: the same with sums over other axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from microtensor.inspect.grading.paths import NormPaths
from microtensor.support.arrays import Array


def other_axes(
    paths: NormPaths, columns: list[list[Array]]
) -> Iterator[tuple[tuple[int, ...], str, list[list[Array]]]]:
    """The paths with sums over other axes.

    Yields
    ------
    (tuple of int, str, list of list of array)
        The axes; "both", or the name of the path that has them, or "statistics" where those are taken over them too;
        and the columns, as they were given.
    """
    z, shifts = paths.z.numpy(), paths.shifts
    deviation = paths.from_sets(paths.deviation)
    unit = _normalized(z, paths.axes, deviation, shifts)
    epsilon = 0.0
    if paths.excess is not None:
        epsilon = float(np.median(paths.deviation**2 * (1 - 1 / paths.excess)))
    every = (axes for k in range(1, z.ndim + 1) for axes in itertools.combinations(range(z.ndim), k))
    for axes in every:
        if set(axes) == set(paths.axes) or all(z.shape[a] == 1 for a in axes):
            continue
        gradients = [direct * deviation for direct, *_ in columns]
        others = [_paths(g, unit, deviation, axes, shifts) for g in gradients]
        yield axes, "both", others
        if shifts:
            pairs = list(zip(columns, others, strict=True))
            yield axes, "mean", [[old[0], new[1], old[2]] for old, new in pairs]
            yield axes, "variance", [[old[0], old[1], new[2]] for old, new in pairs]
        there = np.sqrt((_normalized(z, axes, 1.0, shifts) ** 2).mean(axes, keepdims=True) + epsilon)
        if np.all(there):
            yield (
                axes,
                "statistics",
                [_paths(g, _normalized(z, axes, there, shifts), there, axes, shifts) for g in gradients],
            )


def _normalized(z: Array, axes: tuple[int, ...], deviation: Array | float, shifts: bool) -> Array:
    return np.asarray((z - z.mean(axes, keepdims=True) if shifts else z) / deviation)


def _paths(g: Array, unit: Array, deviation: Array, axes: tuple[int, ...], shifts: bool) -> list[Array]:
    """The paths for the gradient g of x̂."""
    direct = g / deviation
    scale = -unit * (g * unit).mean(axes, keepdims=True) / deviation
    mean = np.broadcast_to(-direct.mean(axes, keepdims=True), direct.shape)
    return [direct, mean, scale] if shifts else [direct, scale]
