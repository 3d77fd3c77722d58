"""What a backward may compute in the place of a norm's paths: those for γ = 1, or with sums over other axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading import words
from microtensor.inspect.grading.factors import PARALLEL, Fit
from microtensor.inspect.grading.forward import Forward, run_forward
from microtensor.inspect.grading.paths import NormPaths
from microtensor.inspect.grading.reading import Reading, Stretch, reading_of
from microtensor.inspect.grading.verdict import Judged
from microtensor.inspect.statistics import norms_of
from microtensor.support.arrays import Array


def candidates(judged: Judged, stretch: Stretch, reading: Reading, subject: str, tolerance: float) -> list[str]:
    """What backward may compute instead: the right paths for other arguments, or sums over another axis."""
    paths, told = reading.paths, []
    for i in judged.point.floats:
        name = judged.point.names[i]
        if judged.run.arguments[name] is stretch.start:
            continue
        found = _with_ones(judged, stretch, reading, i)
        if found is not None and found.residue <= tolerance:
            told += words.of_ones(subject, paths, name, found.factors, judged.where, tolerance)
    for power in (1.5, 1.0):
        # √(σ² + ε) and σ + ε.
        without = reading.without_epsilon(power)
        found = None if without is None else reading.fit(without)
        if found is not None and found.residue <= tolerance and found.smallest >= PARALLEL:
            told += words.of_epsilon(subject, paths, found.factors, power, judged.where, tolerance)
            break
    if reading.at_input:
        for axes, which, columns in other_axes(paths, reading.columns):
            found = reading.fit(columns)
            if found.residue <= tolerance and found.smallest >= PARALLEL:
                told += words.of_axes(subject, paths, axes, which, found.factors, tolerance)
    return told if len(told) == 1 else []


def _with_ones(judged: Judged, stretch: Stretch, reading: Reading, argument: int) -> Fit | None:
    """The fit to the paths that there would be if an argument were 1 everywhere."""
    ones = np.ones(judged.point.values[argument].shape)
    run = run_forward(judged.forward, judged.point.replaced({argument: ones}))
    norms = norms_of(run.out)
    place = [norm is reading.paths.norm for norm in judged.norms].index(True)
    if len(norms) != len(judged.norms):
        return None
    z = norms[place].input
    if reading.paths.z is not reading.paths.norm.input:
        z = _same(judged.run, run, reading.paths.z) or z
    end, start = (_same(judged.run, run, t) for t in (stretch.end, stretch.start))
    if end is None or start is None:
        return None
    return reading_of(norms[place], z, Stretch(end, start, stretch.seeds, stretch.gradients)).fit()


def _same(old: Forward, new: Forward, tensor: Tensor) -> Tensor | None:
    return new.out if tensor is old.out else new.all_named.get(old.name_of(tensor) or "")


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
