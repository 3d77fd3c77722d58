"""The kind of every edge: the direct path, a path through a statistic, a parameter, a constant."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from microtensor.inspect.graph.model import EdgeKind, Kind

REDUCTIONS = frozenset({"sum", "mean", "max", "min", "prod"})
BROADCASTING = frozenset({"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"})


class Kinds:
    """Sorts the edges of a graph by their kind. The nodes are numbered in the order of the program.

    Parameters
    ----------
    values : list
        The tensor or the constant of each node.
    kinds : list of str
        The kind of each node.
    edges : list of (int, int, int)
        Source, target and argument.
    root : int
        The result.

    Attributes
    ----------
    statistics : set of int
        The operations on a path through a statistic.
    """

    def __init__(self, values: list[Any], kinds: list[Kind], edges: list[tuple[int, int, int]], root: int) -> None:
        self.values = values
        self.kinds = kinds
        self.operations = [i for i, kind in enumerate(kinds) if kind == "operation"]
        self.into: dict[int, list[int]] = defaultdict(list)
        self.out: dict[int, list[int]] = defaultdict(list)
        for source, target, _ in edges:
            if kinds[source] != "constant":
                self.into[target].append(source)
                self.out[source].append(target)
        self.statistics = self._statistics()
        self.spine = self._spine(root)
        # The parameters, and the results that are computed from parameters alone, such as Wᵀ.
        self.derived = {i for i, kind in enumerate(kinds) if kind == "parameter"}
        for i in self.operations:
            if self._fed_by(i, self.derived):
                self.derived.add(i)

    def edge(self, source: int, target: int) -> EdgeKind:
        """The kind of an edge: the first that applies of constant, parameter, statistics and direct; else plain."""
        if self.kinds[source] == "constant":
            return "constant"
        if source in self.derived and not {source, target} <= self.statistics:
            return "parameter"
        if source in self.statistics or target in self.statistics:
            return "statistics"
        return "direct" if (source, target) in self.spine else "plain"

    def _fed_by(self, i: int, nodes: set[int]) -> bool:
        """Whether a node is computed from these nodes and from constants only."""
        return bool(self.into[i]) and all(source in nodes for source in self.into[i])

    def _statistics(self) -> set[int]:
        """The operations on a path through a statistic.

        A reduction starts such a path when its result meets a larger tensor in an operation that broadcasts. Between
        the two stand only operations that the reduction and constants feed. Operations that the path alone feeds, or
        that feed the path alone, belong to it too.
        """
        path: set[int] = set()
        for start in self.operations:
            # An operation that is on a path already leads to nothing new.
            if start not in path and self._reduces(start):
                reached = self._fed_only_by(start)
                if self._meets_larger(reached):
                    path |= reached
        for i in self.operations:
            if self._fed_by(i, path):
                path.add(i)
        for i in reversed(self.operations):
            if self.out[i] and all(target in path for target in self.out[i]):
                path.add(i)
        return path

    def _name(self, i: int) -> str:
        name: str = self.values[i].node.primitive.name
        return name

    def _reduces(self, i: int) -> bool:
        return self._name(i) in REDUCTIONS and any(self.values[s].size > self.values[i].size for s in self.into[i])

    def _fed_only_by(self, start: int) -> set[int]:
        reached = {start}
        frontier = [start]
        while frontier:
            for target in self.out[frontier.pop()]:
                if target not in reached and self._fed_by(target, reached):
                    reached.add(target)
                    frontier.append(target)
        return reached

    def _meets_larger(self, reached: set[int]) -> bool:
        return any(
            self._name(target) in BROADCASTING
            and self.values[target].size > self.values[i].size
            and not self._fed_by(target, reached)
            for i in reached
            for target in self.out[i]
            if target not in reached
        )

    def _spine(self, root: int) -> set[tuple[int, int]]:
        """The steps of the direct path: from the result to the data, by the longest way that meets no statistic."""
        depth = [0 if kind == "data" else -1 for kind in self.kinds]
        for i in self.operations:
            below = max((depth[s] for s in self.into[i]), default=-1)
            depth[i] = below + 1 if below >= 0 else -1
        spine: set[tuple[int, int]] = set()
        at: int | None = root
        while at is not None:
            ahead = [s for s in self.into[at] if s not in self.statistics and depth[s] >= 0]
            below_it = max(ahead, key=lambda s: (depth[s], -s), default=None)
            if below_it is not None:
                spine.add((below_it, at))
            at = below_it
        return spine
