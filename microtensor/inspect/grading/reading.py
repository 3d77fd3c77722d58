"""The paths of one norm beside a gradient that backward gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.factors import Fit, fit
from microtensor.inspect.grading.paths import NormPaths, carried, moved_back
from microtensor.inspect.statistics import Norm
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
class Context:
    """What a reading may speak of.

    Attributes
    ----------
    where : str
        The inputs at which the gradient was found: "at your inputs".
    arguments : dict
        The arrays that may be forgotten, such as γ, by their names.
    with_ones : function from a name to a Fit or None
        The fit to the paths that there would be if one of the arguments were 1 everywhere.
    """

    where: str
    arguments: Mapping[str, Array]
    with_ones: Callable[[str], Fit | None]


@dataclass(frozen=True)
class Reading:
    """The paths of one norm beside the gradient that backward gave.

    Attributes
    ----------
    paths : NormPaths
    columns : list of list of array
        For each cotangent the paths: at the input of the norm, or carried on to where the gradient was given.
    at_z : list of list of array
        The same at the input of the norm.
    start : Tensor
        Where the gradient was given.
    gradients : list of array
        What backward gave, without what goes around the norm.
    at_input : bool
        Whether both are at the input of the norm.
    entering : list of array
        The gradients that entered.
    """

    paths: NormPaths
    columns: list[list[Array]]
    at_z: list[list[Array]]
    start: Tensor
    gradients: list[Array]
    at_input: bool
    entering: list[Array]

    def fit(self, columns: list[list[Array]] | None = None) -> Fit:
        """The factors for all sets and cotangents together."""
        rows = self.columns if columns is None else columns
        joined = [np.stack(column) for column in zip(*rows, strict=True)]
        return fit(joined, np.stack(self.gradients))

    def without_epsilon(self, power: float) -> list[list[Array]] | None:
        """The columns that there would be without ε: the last path is (1 + ε/σ²) to this power as large."""
        if self.paths.excess is None:
            return None
        excess, last = self.paths.from_sets(self.paths.excess), len(self.paths.names) - 1
        rows = [[p * excess ** (power if i == last else 0.5) for i, p in enumerate(row)] for row in self.at_z]
        return rows if self.at_input else [[self.paths.to(self.start, part) for part in row] for row in rows]

    def fits_per_set(self) -> list[Fit]:
        """The factors of each set."""
        split = [np.stack([self.paths.by_set(c) for c in column], 1) for column in zip(*self.columns, strict=True)]
        given = np.stack([self.paths.by_set(g) for g in self.gradients], 1)
        return [fit([column[i] for column in split], given[i]) for i in range(len(given))]


def reading_of(norm: Norm, z: Tensor, stretch: Stretch) -> Reading:
    """The paths of a norm with the input z beside what backward gave where a stretch starts.

    What reaches the start of the stretch on other ways is taken to be right.
    """
    paths = NormPaths(norm, stretch.end, z)
    columns = [paths.columns(seed) for seed in stretch.seeds]
    given = []
    for seed, gradient, parts in zip(stretch.seeds, stretch.gradients, columns, strict=True):
        through = paths.to(stretch.start, np.sum(parts, axis=0))
        given.append(gradient - (carried(stretch.end, stretch.start, seed) - through))
    moved = moved_back(paths.z, stretch.start, given)
    if moved is not None:
        return Reading(paths, columns, columns, stretch.start, moved, True, stretch.seeds)
    there = [[paths.to(stretch.start, part) for part in parts] for parts in columns]
    return Reading(paths, there, columns, stretch.start, given, False, stretch.seeds)
