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
    """The paths with sums over other axes, in the path through the mean, in that through the variance, or in both.

    Yields
    ------
    (tuple of int, str, list of list of array)
        The axes; "both", or the name of the path that has them; and the columns, as they were given.
    """
    ndim = paths.z.ndim
    spread = paths.from_sets(paths.spread)
    center = paths.z.numpy()
    if paths.shifts:
        center = center - center.mean(paths.axes, keepdims=True)
    unit = center / spread
    every = (axes for k in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), k))
    for axes in every:
        if set(axes) == set(paths.axes) or all(paths.z.shape[a] == 1 for a in axes):
            continue
        others = []
        for direct, *_ in columns:
            scale = -unit * (direct * spread * unit).mean(axes, keepdims=True) / spread
            mean = np.broadcast_to(-direct.mean(axes, keepdims=True), direct.shape)
            others.append([direct, mean, scale] if paths.shifts else [direct, scale])
        if not paths.shifts:
            yield axes, "both", others
            continue
        pairs = list(zip(columns, others, strict=True))
        yield axes, "both", others
        yield axes, "mean", [[old[0], new[1], old[2]] for old, new in pairs]
        yield axes, "variance", [[old[0], old[1], new[2]] for old, new in pairs]
