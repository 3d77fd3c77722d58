"""What is wrong with a gradient behind a norm: the factor of each of its paths, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading import words
from microtensor.inspect.grading.candidates import other_axes
from microtensor.inspect.grading.factors import EXACT, PARALLEL, UNSEEN, Fit, PowerLaw, fit, power_law
from microtensor.inspect.grading.forward import Forward, creation, run_forward
from microtensor.inspect.grading.paths import NormPaths, between, carried, dependents, depends, moved_back
from microtensor.inspect.grading.verdict import Judged
from microtensor.inspect.statistics import Norm, norms_of
from microtensor.support.arrays import Array


@dataclass(frozen=True)
class Stretch:
    """The way back from one graded result to another, through norms.

    Attributes
    ----------
    end, start : Tensor
        Where the gradient enters, and where it leaves.
    seeds, gradients : list of array
        The gradients there, one per cotangent.
    """

    end: Tensor
    start: Tensor
    seeds: list[Array]
    gradients: list[Array]


@dataclass(frozen=True)
class Reading:
    """The paths of one norm beside the gradient that backward gave.

    Attributes
    ----------
    paths : NormPaths
    columns : list of list of array
        For each cotangent the paths: at the input of the norm, or carried on to where the gradient was given.
    gradients : list of array
        What backward gave, without what goes around the norm.
    at_input : bool
        Whether both are at the input of the norm.
    """

    paths: NormPaths
    columns: list[list[Array]]
    gradients: list[Array]
    at_input: bool

    def fit(self, columns: list[list[Array]] | None = None) -> Fit:
        """The factors for all sets and cotangents together."""
        rows = self.columns if columns is None else columns
        joined = [np.stack(column) for column in zip(*rows, strict=True)]
        return fit(joined, np.stack(self.gradients))

    def fits_per_set(self) -> list[Fit]:
        """The factors of each set."""
        split = [np.stack([self.paths.by_set(c) for c in column], 1) for column in zip(*self.columns, strict=True)]
        given = np.stack([self.paths.by_set(g) for g in self.gradients], 1)
        return [fit([column[i] for column in split], given[i]) for i in range(len(given))]


def explain(judged: Judged) -> tuple[list[str], set[str], dict[str, dict[str, float]]]:
    """What is wrong with the gradients behind norms, the names of those of which all is said, and factors of paths.

    Each stretch between two gradients that backward names is read by itself, the last one first.
    """
    told: list[str] = []
    explained: set[str] = set()
    factors: dict[str, dict[str, float]] = {}
    for stretch, norms in _stretches(judged):
        name = judged.run.name_of(stretch.start) or ""
        grade = judged.grade(name)
        if grade is None or grade.right or grade.shape:
            continue
        tolerance = max(EXACT, judged.precision(name))
        expected = [carried(stretch.end, stretch.start, seed) for seed in stretch.seeds]
        if _apart(expected, stretch.gradients, judged.sizes(name)) <= max(tolerance, judged.allowed(name)):
            told.append(words.only_because(grade.shown, [f"d{judged.run.name_of(stretch.end)}"]))
            explained.add(name)
            continue
        readings = [_reading(*norm, stretch) for norm in norms]
        exact = [reading for reading in readings if reading.fit().residue <= tolerance]
        if len(norms) == 1:
            said = _sentences(judged, stretch, readings[0], grade.shown, tolerance)
        elif len(exact) == 1:
            which = judged.run.name_of(exact[0].paths.z)
            said = _sentences(judged, stretch, exact[0], grade.shown, tolerance, words.norm_at(exact[0].paths, which))
        else:
            said = [words.several_norms(grade.shown, [judged.run.name_of(z) for _, z in norms[:-1]])]
        told += said
        explained |= {name} if said else set()
        if len(exact) == 1:
            factors[name] = _factors(exact[0])
            alike = _wrong_alike(judged, stretch, exact[0], tolerance) - explained
            told += [words.alike(judged.learner.shown[other], grade.shown) for other in sorted(alike)]
            explained |= alike
    return told, explained, factors


def _factors(reading: Reading) -> dict[str, float]:
    """The factor of each path, where they can be told apart."""
    found = reading.fit()
    if found.smallest < PARALLEL or reading.paths.count < 3:
        return {}
    return {name: float(f) for name, f in zip(reading.paths.names, found.factors, strict=True) if not np.isnan(f)}


def _wrong_alike(judged: Judged, stretch: Stretch, reading: Reading, tolerance: float) -> set[str]:
    """The other gradients before a norm that are wrong by the same factors of its paths."""
    paths, factors, found = reading.paths, reading.fit().factors, set()
    for grade in judged.grades:
        x = judged.run.all_named[grade.name]
        if grade.right or grade.shape or judged.follows(grade.name):
            continue
        if x is not stretch.start and depends(paths.z, x):
            gradients = judged.learner.gradients[grade.name]
            there = _reading(paths.norm, paths.z, Stretch(stretch.end, x, stretch.seeds, gradients))
            expected = [sum(f * c for f, c in zip(factors, row, strict=True)) for row in there.columns]
            if _apart(expected, there.gradients, judged.sizes(grade.name)) <= max(
                tolerance, judged.allowed(grade.name)
            ):
                found.add(grade.name)
    return found


def _stretches(judged: Judged) -> list[tuple[Stretch, list[tuple[Norm, Tensor]]]]:
    """The stretches with norms on them, and these norms with their inputs, the last first."""
    run, found = judged.run, dict[tuple[Tensor, Tensor], list[tuple[Norm, Tensor]]]()
    graded = [run.all_named[grade.name] for grade in judged.grades if not grade.shape]
    for norm in sorted(judged.norms, key=lambda norm: creation(norm.output), reverse=True):
        z = max([norm.input, *(t for t in graded if _as_input(norm, t))], key=creation)
        after = [t for t in graded if creation(t) >= creation(norm.output) and _passes_all(z, t, run.out)]
        before = [t for t in graded if t is z or depends(z, t)]
        if before and not norm.named:
            end = min(after, key=creation, default=run.out)
            start = z if any(t is z for t in before) else max(before, key=creation)
            found.setdefault((end, start), []).append((norm, z))
    stretches = []
    for (end, start), norms in found.items():
        seeds = judged.douts if end is run.out else judged.learner.gradients[run.name_of(end) or ""]
        stretch = Stretch(end, start, seeds, judged.learner.gradients[run.name_of(start) or ""])
        stretches.append((stretch, norms))
    return stretches


def _as_input(norm: Norm, t: Tensor) -> bool:
    """Whether a result stands between the input of a norm and its first statistic, on every way to the output."""
    z = norm.input
    if t.shape != z.shape or not depends(t, z) or not depends(norm.output, t):
        return False
    return t not in dependents(norm.inner, norm.output) and _passes_all(z, t, norm.output)


def _passes_all(z: Tensor, t: Tensor, out: Tensor) -> bool:
    """Whether every way from z to the result passes t."""
    if t is out:
        return True
    reached, met = {z}, False
    for result, node in between(z, out):
        if any(isinstance(x, Tensor) and x in reached for x in node.inputs):
            if result is t:
                met = True
            else:
                reached.add(result)
    return met and out not in reached


def _apart(a: Sequence[Array], b: Sequence[Array], sizes: Sequence[float]) -> float:
    largest = max(sizes, default=0.0)
    distance = max(float(np.linalg.norm(x - y)) for x, y in zip(a, b, strict=True))
    return distance / largest if largest else float("inf") if distance else 0.0


def _reading(norm: Norm, z: Tensor, stretch: Stretch) -> Reading:
    paths = NormPaths(norm, stretch.end, z)
    columns = [paths.columns(seed) for seed in stretch.seeds]
    given = []
    for seed, gradient, parts in zip(stretch.seeds, stretch.gradients, columns, strict=True):
        through = paths.to(stretch.start, np.sum(parts, axis=0))
        given.append(gradient - (carried(stretch.end, stretch.start, seed) - through))
    moved = moved_back(paths.z, stretch.start, given)
    if moved is not None:
        return Reading(paths, columns, moved, True)
    at_z = [[paths.to(stretch.start, part) for part in parts] for parts in columns]
    return Reading(paths, at_z, given, False)


def _sentences(
    judged: Judged, stretch: Stretch, reading: Reading, shown: str, tolerance: float, where: str = ""
) -> list[str]:
    """What the factors of one norm say."""
    paths, found = reading.paths, reading.fit()
    subject = f"{shown}{where}"
    sizes = [float(np.linalg.norm(column)) for row in reading.columns for column in row]
    if max(sizes) <= UNSEEN * max(float(np.linalg.norm(seed)) for seed in stretch.seeds):
        return [f"{subject}: next to nothing reaches it, so no path can be named"]
    if paths.count < 3:
        return [f"{subject}: {words.too_few(paths)}"]
    if found.smallest < PARALLEL:
        return [f"{subject}: {words.parallel(paths)}"]
    if found.residue <= tolerance:
        return words.of_factors(subject, paths, found.factors, tolerance)
    laws = _laws(judged, reading, tolerance) if reading.at_input else None
    if laws is not None:
        return words.of_laws(subject, paths, *laws, judged.where.capitalize(), tolerance)
    return [*_candidates(judged, stretch, reading, subject, tolerance), words.no_fit(subject, found.residue)][:1]


def _laws(judged: Judged, reading: Reading, tolerance: float) -> tuple[list[PowerLaw], str] | None:
    """The power law of each path, and the argument that it speaks of; None when they do not fit."""
    paths = reading.paths
    if len(np.unique(np.round(np.log(paths.spread), 6))) < 3:
        return None
    fits = reading.fits_per_set()
    if any(one.residue > tolerance or one.smallest < PARALLEL or np.isnan(one.factors).any() for one in fits):
        return None
    factors = np.array([one.factors for one in fits])
    weights: list[tuple[str, Array | None]] = [("", None)]
    weights += [(name, w) for name, x in judged.run.arguments.items() if (w := _per_set(x.numpy(), paths)) is not None]
    tolerance = max(1e-7, tolerance)
    for name, weight in weights:
        laws = [power_law(row, paths.spread, weight, paths.excess, tolerance) for row in factors.T]
        complete = [law for law in laws if law is not None]
        if len(complete) == len(laws):
            return complete, name
    return None


def _per_set(values: Array, paths: NormPaths) -> Array | None:
    """The one value of an argument that meets each set; None when it has several, or when that is not clear."""
    shape = paths.z.shape
    kept = [a for a in range(len(shape)) if a not in paths.axes and shape[a] == values.size]
    try:
        by_set = paths.by_set(np.broadcast_to(values, shape))
        if values.size > 1 and not np.any(np.ptp(by_set, axis=1)):
            return np.asarray(by_set[:, 0])
    except ValueError:
        pass
    if values.ndim == 1 and values.size > 1 and len(kept) == 1:
        spread = values.reshape([-1 if a == kept[0] else 1 for a in range(len(shape))])
        by_set = paths.by_set(np.broadcast_to(spread, shape))
        return np.asarray(by_set[:, 0])
    return None


def _candidates(judged: Judged, stretch: Stretch, reading: Reading, subject: str, tolerance: float) -> list[str]:
    """What backward may compute instead: the right paths for other arguments, or sums over another axis."""
    paths, told = reading.paths, []
    for i in judged.point.floats:
        name = judged.point.names[i]
        if judged.run.arguments[name] is stretch.start:
            continue
        found = _with_ones(judged, stretch, reading, i)
        if found is not None and found.residue <= tolerance:
            told += words.of_ones(subject, paths, name, found.factors, tolerance)
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
    return _reading(norms[place], z, Stretch(end, start, stretch.seeds, stretch.gradients)).fit()


def _same(old: Forward, new: Forward, tensor: Tensor) -> Tensor | None:
    return new.out if tensor is old.out else new.all_named.get(old.name_of(tensor) or "")
