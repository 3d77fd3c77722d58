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
from microtensor.inspect.grading.reading import Context, Reading, Stretch, reading_of
from microtensor.inspect.grading.verdict import Judged
from microtensor.inspect.statistics import norms_of
from microtensor.support.arrays import Array


def candidates(context: Context, reading: Reading, subject: str, tolerance: float) -> list[str]:
    """What backward may compute instead: the right paths for other arguments, or sums over another axis."""
    paths, told = reading.paths, []
    for name in context.arguments:
        found = context.with_ones(name)
        if found is not None and found.residue <= tolerance:
            told += words.of_ones(subject, paths, name, found.factors, context.where, tolerance)
    for power in (1.5, 1.0):
        # √(σ² + ε) and σ + ε.
        without = reading.without_epsilon(power)
        found = None if without is None else reading.fit(without)
        if found is not None and found.residue <= tolerance and found.smallest >= PARALLEL:
            told += words.of_epsilon(subject, paths, found.factors, power, context.where, tolerance)
            break
    if reading.at_input:
        for axes, which, ways in other_axes(paths, reading.columns):
            for columns in ways:
                found = reading.fit(columns)
                if found.residue <= tolerance and found.smallest >= PARALLEL:
                    told += words.of_axes(subject, paths, axes, which, found.factors, tolerance)
                    break
    return told if len(told) == 1 else []


def context_of(judged: Judged, stretch: Stretch, reading: Reading) -> Context:
    """The arguments of forward, each of which backward may have forgotten."""
    places = {judged.point.names[i]: i for i in judged.point.floats}
    arguments = {name: x._array for name, x in judged.run.arguments.items()}

    def with_ones(name: str) -> Fit | None:
        if name not in places or judged.run.arguments[name] is stretch.start:
            return None
        return _with_ones(judged, stretch, reading, places[name])

    return Context(judged.where, arguments, with_ones)


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
) -> Iterator[tuple[tuple[int, ...], str, list[list[list[Array]]]]]:
    """The paths with sums over other axes.

    Yields
    ------
    (tuple of int, str, list of list of list of array)
        The axes; "both", or the name of the path that has them, or "statistics" where those are taken over them too;
        and the columns, as they were given, for each way to write such a backward.
    """
    z, shifts = paths.z._array, paths.shifts
    deviation = paths.from_sets(paths.deviation)
    unit = _normalized(z, paths.axes, deviation, shifts)
    epsilon = 0.0
    if paths.excess is not None:
        epsilon = float(np.median(paths.deviation**2 * (1 - 1 / paths.excess)))
    gradients = [direct * deviation for direct, *_ in columns]
    every = (axes for k in range(1, z.ndim + 1) for axes in itertools.combinations(range(z.ndim), k))
    for axes in every:
        if set(axes) == set(paths.axes) or all(z.shape[a] == 1 for a in axes):
            continue
        ways = _ways(gradients, unit, deviation, axes, shifts)
        yield axes, "both", ways
        if shifts:
            yield axes, "mean", [_mixed(columns, way, 1) for way in ways]
            yield axes, "variance", [_mixed(columns, way, 2) for way in ways]
        there = np.sqrt((_normalized(z, axes, 1.0, shifts) ** 2).mean(axes, keepdims=True) + epsilon)
        if np.all(there):
            yield axes, "statistics", _ways(gradients, _normalized(z, axes, there, shifts), there, axes, shifts)


def _mixed(columns: list[list[Array]], others: list[list[Array]], path: int) -> list[list[Array]]:
    """The columns with one path of others."""
    return [
        [new if i == path else old for i, (old, new) in enumerate(zip(row, other, strict=True))]
        for row, other in zip(columns, others, strict=True)
    ]


def _normalized(z: Array, axes: tuple[int, ...], deviation: Array | float, shifts: bool) -> Array:
    return np.asarray((z - z.mean(axes, keepdims=True) if shifts else z) / deviation)


def _ways(
    gradients: list[Array], unit: Array, deviation: Array, axes: tuple[int, ...], shifts: bool
) -> list[list[list[Array]]]:
    """The paths for gradients g of x̂, for each way to write the sums.

    They are the same where σ is constant along the axes: Σ g / σ or (Σ g) / σ, and x̂ times Σ g·x̂ / σ, (Σ g·x̂) / σ or
    (Σ g·(x − μ)) / σ².
    """

    def mean(x: Array) -> Array:
        return np.asarray(x.mean(axes, keepdims=True))

    means = [lambda g: -mean(g / deviation), lambda g: -mean(g) / deviation]
    scales = [
        lambda g: -unit * mean(g * unit / deviation),
        lambda g: -unit * mean(g * unit) / deviation,
        lambda g: -unit * mean(g * unit * deviation) / deviation**2,
    ]
    ways: list[list[list[Array]]] = []
    for through_mean, through_scale in itertools.product(means if shifts else means[:1], scales):
        rows = []
        for g in gradients:
            direct = g / deviation
            through = [np.broadcast_to(through_mean(g), direct.shape)] if shifts else []
            rows.append([direct, *through, through_scale(g)])
        ways.append(rows)
    return ways
