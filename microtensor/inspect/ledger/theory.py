"""What ε leaves of the scale by theory, read off the numbers that a norm divides by, however they are computed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.paths import NormPaths, dependents
from microtensor.inspect.history import array_of, history, rerun
from microtensor.inspect.statistics.generic import in_double
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad

# So far away, ε is nothing beside the variance.
FAR = 1e6
# How far two ways to compute the same may be apart.
SAME = 1e-5
VARIANCE = {"root": "σ²", "plain": "σ"}
MEAN_SQUARE = {"root": "mean x²", "plain": "√(mean x²)"}
SUM_OF_SQUARES = {"root": "Σ x²", "plain": "√(Σ x²)"}


class Theory(NamedTuple):
    """The part of the scale that is left in each set, and the statistic that ε is added to.

    Where nothing is known, the part is NaN and the statistic empty.
    """

    left: Array
    statistic: str


class Divisors:
    """The numbers that a norm divides by, in float64: at its input z, at 1,000,000 z and at 0 z.

    Parameters
    ----------
    paths : NormPaths
    dividing : set of Tensor
        The statistics that meet larger results.
    """

    def __init__(self, paths: NormPaths, dividing: set[Tensor]) -> None:
        self.paths, self.dividing = paths, dividing
        self.at = [self._made(factor) for factor in (1.0, FAR, 0.0)]

    def _made(self, factor: float) -> dict[Tensor, Tensor]:
        """The statistics, and what they are made from, when the input is larger by a factor."""
        start = self.paths.z
        after = dependents([start], self.paths.end)
        records = history(*(statistic.value for statistic in self.paths.norm.statistics))
        made = {start: Tensor(factor * start._array.astype(np.float64), requires_grad=True)}

        def read(result: Tensor, argument: int, old: Any) -> Any:
            return made[old] if isinstance(old, Tensor) and old in made else array_of(old)

        try:
            with np.errstate(all="ignore"), enable_grad():
                rerun(((t, in_double(node)) for t, node in records if t in after and t is not start), read, made)
        except Exception:
            # An operation of the user's may be made for other numbers.
            return {}
        return made

    def _sizes(self, statistic: Tensor) -> list[Array]:
        """σ, up to a factor, from a statistic that is σ or 1/σ. One that is neither fits no formula."""
        found = [np.abs(made[statistic]._array).ravel() for made in self.at if statistic in made]
        if len(found) < len(self.at):
            return []
        logarithms = np.log(found[1] / found[0])
        grows = float(np.sum(logarithms[np.isfinite(logarithms)])) >= 0
        return found if grows else [1 / size for size in found]

    def theory(self) -> Theory:
        """ε/(σ² + ε) for √(σ² + ε), and ε/(σ + ε) for σ + ε.

        Both follow from what the norm divides by at z and at 0, as well as from z and 1,000,000 z. Where the two
        differ, or both formulas would fit, none is given.
        """
        sets = self.paths.z.size // self.paths.count
        here, far, zero = (np.full(sets, np.nan) for _ in range(3))
        tolerance = 0.0
        with np.errstate(all="ignore"):
            for statistic in self.dividing:
                sizes, rows = self._sizes(statistic), self.paths.sets_of(statistic)
                if not rows.size:
                    # Its set has no spread, so nothing shows which one it is.
                    continue
                if not sizes or rows.size != sizes[0].size:
                    return Theory(np.full(sets, np.nan), "")
                here[rows], far[rows], zero[rows] = sizes
                tolerance = max(tolerance, 64 * float(np.finfo(self.at[0][statistic].dtype).eps))
            near, excess = zero / here, FAR * here / far
            formulas = {"root": (near**2, 1 - 1 / excess**2), "plain": (near, 1 - 1 / excess)}
            known = np.isfinite(near) & np.isfinite(excess)
            fits = [
                (name, np.where(known, left, np.nan))
                for name, (left, other) in formulas.items()
                if known.any() and np.all((np.abs(left - other) <= SAME * np.abs(left) + tolerance)[known])
            ]
            if len(fits) == 2 and np.all((np.abs(fits[0][1] - fits[1][1]) <= SAME * fits[0][1])[known]):
                fits.pop()
        if len(fits) != 1:
            return Theory(np.full(sets, np.nan), "")
        name, left = fits[0]
        return Theory(left, self.names[name])

    @property
    def names(self) -> dict[str, str]:
        """What ε may be added to."""
        if any(s.kind == "scale" and s.centered for s in self.paths.norm.statistics):
            return VARIANCE
        return SUM_OF_SQUARES if self.is_sum else MEAN_SQUARE

    @property
    def is_sum(self) -> bool:
        """Whether a statistic is the sum of squares or its root, not the mean."""
        squares = np.sum(self.paths.by_set(FAR * self.paths.z._array.astype(np.float64)) ** 2, axis=1)
        for statistic in self.paths.norm.statistics:
            value = self.at[1].get(statistic.value)
            if value is not None and value.size == squares.size:
                found = value._array.ravel()
                if any(np.allclose(found, s, rtol=SAME) for s in (squares, np.sqrt(squares))):
                    return True
        return False
