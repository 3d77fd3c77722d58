"""What is wrong with a gradient behind a norm: the factor of each of its paths, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtensor.inspect.grading import words
from microtensor.inspect.grading.candidates import candidates, context_of
from microtensor.inspect.grading.factors import EXACT, PARALLEL, UNSEEN, PowerLaw, power_law
from microtensor.inspect.grading.paths import NormPaths, carried, depends
from microtensor.inspect.grading.reading import Context, Reading, Stretch, reading_of
from microtensor.inspect.grading.stretches import stretches_of
from microtensor.inspect.grading.verdict import Judged
from microtensor.support.arrays import Array


def explain(judged: Judged) -> tuple[list[str], set[str], dict[str, dict[str, float]]]:
    """What is wrong with the gradients behind norms, the names of those of which all is said, and factors of paths.

    Each stretch between two gradients that backward names is read by itself, the last one first.
    """
    told: list[str] = []
    explained: set[str] = set()
    factors: dict[str, dict[str, float]] = {}
    for stretch, norms in stretches_of(judged):
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
        readings = [reading_of(*norm, stretch) for norm in norms]
        exact = [reading for reading in readings if reading.fit().residue <= tolerance]
        if len(norms) == 1:
            said = sentences(context_of(judged, stretch, readings[0]), readings[0], grade.shown, tolerance)
        elif len(exact) == 1:
            subject = grade.shown + words.norm_at(exact[0].paths, judged.run.name_of(exact[0].paths.z))
            said = sentences(context_of(judged, stretch, exact[0]), exact[0], subject, tolerance)
        else:
            said = [words.several_norms(grade.shown, [judged.run.name_of(z) for _, z in norms[:-1]])]
        told += said
        explained |= {name} if said else set()
        if len(exact) == 1:
            factors[name] = factors_of(exact[0])
            alike = _wrong_alike(judged, stretch, exact[0], tolerance) - explained
            told += [words.alike(judged.learner.shown[other], grade.shown) for other in sorted(alike)]
            explained |= alike
    return told, explained, factors


def factors_of(reading: Reading) -> dict[str, float]:
    """The factor of each path, where they can be told apart."""
    found = reading.fit()
    if found.smallest < PARALLEL or reading.paths.count < 3:
        return {}
    return {name: float(f) for name, f in zip(reading.paths.names, found.factors, strict=True) if not np.isnan(f)}


def _wrong_alike(judged: Judged, stretch: Stretch, reading: Reading, tolerance: float) -> set[str]:
    """The other gradients before a norm that are wrong by the same factors of its paths."""
    paths, factors, found = reading.paths, np.nan_to_num(reading.fit().factors), set()
    for grade in judged.grades:
        x = judged.run.all_named[grade.name]
        if grade.right or grade.shape or judged.follows(grade.name):
            continue
        if x is not stretch.start and depends(paths.z, x):
            gradients = judged.learner.gradients[grade.name]
            there = reading_of(paths.norm, paths.z, Stretch(stretch.end, x, stretch.seeds, gradients))
            expected = [sum(f * c for f, c in zip(factors, row, strict=True)) for row in there.columns]
            if _apart(expected, there.gradients, judged.sizes(grade.name)) <= max(
                tolerance, judged.allowed(grade.name)
            ):
                found.add(grade.name)
    return found


def _apart(a: Sequence[Array], b: Sequence[Array], sizes: Sequence[float]) -> float:
    largest = max(sizes, default=0.0)
    distance = max(float(np.linalg.norm(x - y)) for x, y in zip(a, b, strict=True))
    return distance / largest if largest else float("inf") if distance else 0.0


def sentences(context: Context, reading: Reading, subject: str, tolerance: float) -> list[str]:
    """What the factors of one norm say."""
    paths, found = reading.paths, reading.fit()
    sizes = [float(np.linalg.norm(column)) for row in reading.columns for column in row]
    if max(sizes) <= UNSEEN * max(float(np.linalg.norm(g)) for g in reading.entering):
        return [f"{subject}: next to nothing reaches it, so no path can be named"]
    if paths.count < 3:
        return [f"{subject}: {words.too_few(paths)}"]
    if found.smallest < PARALLEL:
        return [f"{subject}: {words.parallel(paths)}"]
    if found.residue <= tolerance:
        return words.of_factors(subject, paths, found.factors, context.where, tolerance)
    laws = _laws(context, reading, tolerance) if reading.at_input else None
    if laws is not None:
        return words.of_laws(subject, paths, *laws, context.where, tolerance)
    return [*candidates(context, reading, subject, tolerance), words.no_fit(subject, found.residue)][:1]


def _laws(context: Context, reading: Reading, tolerance: float) -> tuple[list[PowerLaw], str] | None:
    """The power law of each path, and the argument that it speaks of; None when they do not fit."""
    paths = reading.paths
    if len(np.unique(np.round(np.log(paths.spread), 6))) < 3:
        return None
    fits = reading.fits_per_set()
    if any(one.residue > tolerance or one.smallest < PARALLEL or np.isnan(one.factors).any() for one in fits):
        return None
    factors = np.array([one.factors for one in fits])
    weights: list[tuple[str, Array | None]] = [("", None)]
    weights += [(name, w) for name, x in context.arguments.items() if (w := _per_set(x, paths)) is not None]
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
