"""The factor of each path: by how much each part of a gradient is too large, over all sets together and set by set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtensor.support.arrays import Array

# A column under this part of the largest one is not seen.
UNSEEN = 1e-12
# Columns are too nearly parallel to be told apart below this singular value.
PARALLEL = 1e-4
EXACT = 1e-9
NAMED = 1e-6
ALL_SETS = 1e-7
HALVES = [k / 2 for k in range(-4, 5)]


@dataclass(frozen=True)
class Fit:
    """The factors that fit a gradient best.

    Attributes
    ----------
    factors : array
        One per path; NaN for one that is not seen.
    residue : float
        What no combination of the paths gives, as a part of the largest path.
    smallest : float
        The smallest singular value of the paths, each of length 1.
    """

    factors: Array
    residue: float
    smallest: float


def fit(columns: Sequence[Array], gradient: Array) -> Fit:
    """Write a gradient as a combination of paths.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.factors import fit
    >>> fit([np.array([1.0, 0.0]), np.array([0.0, 1.0])], np.array([2.0, -1.0])).factors.tolist()
    [2.0, -1.0]
    """
    matrix = np.stack([column.ravel() for column in columns], axis=1).astype(np.float64)
    target = gradient.ravel().astype(np.float64)
    sizes = np.linalg.norm(matrix, axis=0)
    largest = float(sizes.max(initial=0.0))
    factors = np.full(len(columns), np.nan)
    if not 0 < largest < math.inf:
        return Fit(factors, math.inf if np.any(target) or largest else 0.0, 0.0)
    seen = sizes > UNSEEN * largest
    unit = matrix[:, seen] / sizes[seen]
    singular = np.linalg.svd(unit, compute_uv=False)
    solution = np.linalg.lstsq(unit, target, rcond=UNSEEN)[0]
    factors[seen] = solution / sizes[seen]
    residue = float(np.linalg.norm(unit @ solution - target)) / largest
    return Fit(factors, residue, float(singular[-1] / singular[0]))


def numbers(count: int, shape: Sequence[int]) -> dict[str, float]:
    """The numbers that have a meaning, by what they mean; N is the number of values per set.

    Examples
    --------
    >>> from microtensor.inspect.grading.factors import numbers
    >>> numbers(8, (8, 5))["N/(N − 1)"]
    1.1428571428571428
    """
    found = {"N": float(count), "1/N": 1 / count, "2": 2.0, "1/2": 0.5}
    if count > 1:
        found["N/(N − 1)"] = count / (count - 1)
        found["(N − 1)/N"] = (count - 1) / count
    for axis, size in enumerate(shape):
        if size not in (count, 1):
            found[f"N/{size}, and axis {axis} has {size} values"] = count / size
    return found


def named(factor: float, names: Mapping[str, float], tolerance: float = NAMED) -> list[str]:
    """The meanings of a factor; several fit where they are the same number.

    Examples
    --------
    >>> from microtensor.inspect.grading.factors import named, numbers
    >>> named(2.0, numbers(2, (2, 5))), named(1.37, numbers(8, (8, 5)))
    (['N', '2', 'N/(N − 1)'], [])
    """
    return [name for name, number in names.items() if abs(factor - number) <= tolerance * max(1.0, number)]


@dataclass(frozen=True)
class PowerLaw:
    """A factor per set: ``number · σ^spread · |γ|^weight · (1 + ε/σ²)^excess``."""

    number: float
    spread: float = 0.0
    weight: float = 0.0
    excess: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether it is the same number for every set."""
        return not (self.spread or self.weight or self.excess)


def power_law(
    factors: Array, spread: Array, weight: Array | None = None, excess: Array | None = None, tolerance: float = ALL_SETS
) -> PowerLaw | None:
    """The power law that fits the factors of all sets; None when none does, or several do.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.factors import power_law
    >>> power_law(np.array([2.0, 6.0, 10.0]), np.array([1.0, 3.0, 5.0]))
    PowerLaw(number=2.0, spread=1.0, weight=0.0, excess=0.0)
    """
    if np.ptp(factors) <= tolerance * max(1.0, float(np.abs(factors).max())):
        return PowerLaw(float(factors.mean()))
    signs = np.sign(factors)
    signed = weight is not None and bool(np.all(signs * np.sign(weight) == signs[0] * np.sign(weight[0])))
    if not (np.all(signs == signs[0]) or signed) or not np.all(signs):
        return None
    logs, spreads = np.log(np.abs(factors)), np.log(spread)
    weights = None if weight is None or not np.all(weight) else np.log(np.abs(weight))
    if weights is not None and np.ptp(weights) < 1e-3:
        weights = None
    excesses = None if excess is None else np.log(excess)
    if excesses is not None and np.ptp(excesses) <= 10 * tolerance:
        excesses = None
    for powers in ([0.0], [r for r in HALVES if r] if excesses is not None else []):
        fits = []
        for p, q, r in itertools.product(HALVES, HALVES if weights is not None else [0.0], powers):
            rest = logs - p * spreads
            if weights is not None:
                rest = rest - q * weights
            if excesses is not None:
                rest = rest - r * excesses
            if np.ptp(rest) <= tolerance and (signed if q % 2 == 1 else np.all(signs == signs[0])):
                sign = float(signs[0]) if q % 2 == 0 or weight is None else float(signs[0] * np.sign(weight[0]))
                fits.append(PowerLaw(sign * math.exp(float(rest.mean())), p, q, r))
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None
