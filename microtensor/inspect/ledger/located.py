"""Finds the norms on the way from x to y, and says of each path through one which of its statistics it passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from microtensor.calculus import grad
from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.paths import run_again
from microtensor.inspect.ledger.subgraph import ROUNDING, Edge, State, Subgraph
from microtensor.inspect.statistics import Kind, Norm, Statistic, norms_of

SEED = 161803
# A path in a statistic that is mixed of several, such as β − μ/σ, until it reaches one that has a kind.
MIXED = ("mixed",)
# Into the statistics past the norm, as a penalty on σ goes.
PAST = ("past",)
# Through the mean from which the values of the variance are measured.
INSIDE = ("scale", "shift")


@dataclass(frozen=True, eq=False)
class LocatedNorm:
    """A norm by its positions in a subgraph.

    Attributes
    ----------
    recorded, norm : Norm
        The norm, over the user's tensors and over those of the run that the ledger is made from.
    subgraph : Subgraph
    z : int
        The input of the norm; the first of its possible inputs if that is x, else the last.
    kinds : dict
        The kind of each statistic.
    inner : frozenset of int
        The statistics, and what is computed from them alone.
    output : int
        The last result of which the norm is a part.
    over : tuple of int
        The axes of the scales as the other statistics have theirs: in the first possible input, not in z.
    """

    recorded: Norm
    norm: Norm
    subgraph: Subgraph
    z: int
    kinds: dict[int, Kind]
    inner: frozenset[int]
    output: int
    over: tuple[int, ...]

    @cached_property
    def exits(self) -> frozenset[int]:
        """The operations in which a statistic meets a larger result. A path that passes none goes around the norm."""
        graph, smallest = self.subgraph, dict[int, int]()
        for i in sorted(self.inner):
            sources = [smallest[j] for j in graph.sources[i].values() if j in smallest]
            smallest[i] = min([graph.size(i), *sources])
        return frozenset(i for i, j in self._reads() if self.norm.named or smallest[j] < graph.size(i))

    def _reads(self) -> list[Edge]:
        """Each operation outside that reads a statistic, or what is computed from statistics alone, and that one."""
        sources = self.subgraph.sources
        return [
            (i, j) for i in range(len(sources)) if i not in self.inner for j in sources[i].values() if j in self.inner
        ]

    def then(self, state: State, edge: Edge) -> State:
        """The state of a path after one more edge, from y on.

        None is a path that has not met the norm, () one that has, and then the kind of the first statistic follows.
        """
        i, j = edge[0], self.subgraph.sources[edge[0]][edge[1]]
        if state is None and i in self.exits:
            state = ()
        if j not in self.inner:
            return state
        if state is None:
            return PAST
        if state in ((), MIXED):
            return (self.kinds[j],) if j in self.kinds else MIXED
        if state == ("scale",) and i not in self.inner and self.kinds.get(j) == "shift":
            return INSIDE
        return state

    @cached_property
    def vanishes_inside(self) -> bool:
        """Whether nothing comes through the mean inside the variance, at random values too: Σ (x − μ) = 0."""
        graph, z = self.subgraph, self.norm.input
        values = np.random.default_rng(SEED).normal(1.0, 1.0, z.shape)
        entrances = {graph.sources[i][argument] for i, argument in self.edges("shift") if i not in self.inner}
        for scale in {graph.sources[i][argument] for i, argument in self.edges("scale")}:
            start, made = run_again(z, graph.fresh[scale], values)
            means = [made[graph.fresh[j]] for j in entrances if graph.fresh[j] in made]
            found = grad(
                made[graph.fresh[scale]], [start, *means], np.ones(graph.fresh[scale].shape), allow_unused=True
            )
            whole, *parts = (0.0 if g is None else float(np.abs(g._array).sum()) for g in found)
            if any(part > ROUNDING * float(np.finfo(made[graph.fresh[scale]].dtype).eps) * whole for part in parts):
                return False
        return True

    def edges(self, kind: Kind) -> set[Edge]:
        """The edges by which paths enter the statistics of a kind from outside, or from what is mixed of several."""
        sources = self.subgraph.sources
        return {
            (i, argument)
            for i in range(len(sources))
            for argument, j in sources[i].items()
            if self.kinds.get(j) == kind and i not in self.kinds
        }


def located(subgraph: Subgraph, y: Tensor) -> tuple[list[LocatedNorm], bool]:
    """The norms on the way from x to y, in the order of the program, and whether all of the graph was searched."""
    norms = norms_of(y)
    found, inside = _at(subgraph, subgraph.recorded, norms)
    if inside:
        # Where x stands inside a norm, what follows from x alone may be a norm of x, as σ of x − μ.
        norms = norms_of(subgraph.fresh[-1])
        found, _ = _at(subgraph, subgraph.fresh, norms)
    return found, norms.complete


def _at(subgraph: Subgraph, tensors: Sequence[Tensor], norms: Sequence[Norm]) -> tuple[list[LocatedNorm], bool]:
    """The norms by their positions, and whether x stands inside one of them."""
    at = {tensor: i for i, tensor in enumerate(tensors)}
    found, inside = [], False
    for norm in norms:
        inputs = [(at[t], axes) for t, axes in ((norm.input, norm.axes), *norm.later) if t in at]
        statistics = [s for s in norm.statistics if s.value in at]
        if not statistics or norm.output not in at:
            continue
        if not inputs:
            inside = True
            continue
        z, axes = inputs[0] if inputs[0][0] == 0 else inputs[-1]
        fresh = subgraph.fresh
        shape = norm.input.shape
        moved = tuple(Statistic(fresh[at[s.value]], s.kind, _long(s.axes, shape), s.centered) for s in statistics)
        inner = frozenset(at[t] for t in norm.inner if t in at)
        output = at[norm.output]
        same = frozenset(fresh[i] for i in inner)
        over = Norm(fresh[z], moved, _long(axes, fresh[z].shape), norm.centered, same, fresh[output], named=norm.named)
        kinds = {at[s.value]: s.kind for s in statistics}
        found.append(LocatedNorm(norm, over, subgraph, z, kinds, inner, output, _long(norm.axes, shape)))
    return found, inside


def _long(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which there is more than one value."""
    return tuple(a for a in axes if shape[a] > 1)
