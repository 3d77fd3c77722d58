"""The part of the gradient that a norm takes out: along 1 and along z − μ, on the direct path and on all paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microtensor.inspect.grading.paths import NormPaths
from microtensor.inspect.ledger.located import LocatedNorm
from microtensor.inspect.ledger.mistakes import detached_mean, mistakes
from microtensor.inspect.ledger.model import Part, Removal
from microtensor.inspect.ledger.subgraph import ROUNDING, Hook, PathClass
from microtensor.inspect.ledger.theory import SAME, Divisors, Theory
from microtensor.support.arrays import Array

# Of values that are so many times as large as their spread, rounding takes two digits or more.
LARGE = 100.0


def projection(norm: LocatedNorm, divisors: Divisors, at_z: dict[Any, PathClass]) -> Removal | None:
    """The part that a norm takes out of the gradient at its input; None if its scale is not one per set.

    The directions are perpendicular: direct² = shift² + scale² + rest², summed over all sets.
    """
    inside = [one.value for state, one in at_z.items() if state is not None and not isinstance(state, Hook)]
    dividing = [s for s in norm.norm.statistics if s.kind == "scale" and s.value in divisors.dividing]
    around_mean = [s.centered for s in dividing]
    detached = detached_mean(norm)
    # x / σ takes out neither a shift nor a scale alone, nor does (x − μ) / √(mean x²).
    usual = set(around_mean) == {norm.norm.centered} or (detached and len(set(around_mean)) == 1)
    if norm.norm.named or not usual or () not in at_z:
        return None
    axes, fresh = norm.norm.axes, norm.norm.input
    rests = [np.asarray(g, dtype=np.float64) for g in (at_z[()].value, np.sum(inside, axis=0))]
    sizes = _length(rests[0], axes)
    values = np.asarray(fresh._array, dtype=np.float64)
    shape = sizes.shape
    lengths = _length(values, axes), _length(values - values.mean(axis=axes, keepdims=True), axes)
    condition = (
        np.divide(*lengths, out=np.full(shape, np.inf), where=lengths[1] > 0) if around_mean[0] else np.ones(shape)
    )
    eps = float(np.finfo(fresh.dtype).eps)
    # Where values are larger than their spread, x − μ has lost as many digits.
    allowed = np.where(sizes > 0, ROUNDING * eps * condition * sizes, 0.0)
    theory = divisors.theory()
    directions: list[tuple[str, Array, Theory]] = []
    if norm.norm.centered or detached:
        directions.append(("1", np.ones_like(values), Theory(np.zeros(shape), "")))
    if around_mean[0]:
        values = values - values.mean(axis=axes, keepdims=True)
    directions.append(("x − μ" if around_mean[0] else "x", values, theory))
    parts = []
    for name, direction, (predicted, statistic) in directions:
        length = _length(direction, axes)
        unit = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
        direct, total = (np.sum(rest * unit, axis=axes, keepdims=True) for rest in rests)
        rests = [rest - part * unit for rest, part in zip(rests, (direct, total), strict=True)]
        seen = np.abs(direct) > allowed
        residue = np.divide(total, direct, out=np.full_like(direct, np.nan), where=seen)
        predicted = predicted.reshape(shape)
        expected = np.where(seen, predicted, 0) * direct
        off = np.abs(total - expected) - SAME * np.abs(expected)
        holds, rounding = (bool(np.all(left <= allowed)) for left in (off, np.abs(total)))
        parts.append(Part(name, _norm(direct), _norm(total), residue, predicted, statistic, holds, rounding))
    changed = bool(np.any(_length(rests[1] - rests[0], axes) > allowed))
    worst = float(np.max(condition, initial=1.0, where=np.isfinite(condition)))
    # Rounding grows with the condition in x − μ, and with its square in E[x²] − E[x]².
    small, large = (ROUNDING * eps * worst**power * _norm(sizes) for power in (0, 2))
    lost = any(small < part.total <= large for part in parts if part.rounding or not part.holds)
    sets = math.prod(shape)
    return Removal(
        axes,
        sets,
        values.size // max(sets, 1),
        tuple(parts),
        direct_rest=_norm(rests[0]),
        total_rest=_norm(rests[1]),
        mistakes=mistakes(norm, parts, detached, changed),
        condition=worst if lost and worst > LARGE else 1.0,
    )


def paths_of(norm: LocatedNorm) -> NormPaths:
    """The norm with the result from which a gradient enters it."""
    return NormPaths(norm.norm, norm.subgraph.fresh[-1], norm.norm.input)


def _length(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.sqrt(np.sum(x**2, axis=axes, keepdims=True)))


def _norm(x: Array) -> float:
    return float(np.linalg.norm(x))
