"""The kind of every edge: the direct path, a path through a statistic, a parameter, a constant."""

from __future__ import annotations

from collections import defaultdict

from microtensor.inspect.graph.model import EdgeKind, Kind


class Kinds:
    """Sorts the edges of a graph by their kind. The nodes are numbered in the order of the program.

    Parameters
    ----------
    kinds : list of str
        The kind of each node.
    edges : list of (int, int, int)
        Source, target and argument.
    root : int
        The result.
    inner, normalized : set of int
        The statistics of all norms with what is computed from them alone, and the inputs of the norms.
    unrecorded : set of int
        The results through which no gradient passes, although they are computed from data.

    Attributes
    ----------
    statistics : set of int
        The operations on a path through a statistic.
    """

    def __init__(
        self,
        kinds: list[Kind],
        edges: list[tuple[int, int, int]],
        root: int,
        inner: set[int],
        normalized: set[int],
        unrecorded: set[int],
    ) -> None:
        self.unrecorded = unrecorded
        # The operations that read one that is drawn as a constant.
        self.readers = {target for source, target, _ in edges if source in unrecorded and kinds[source] == "constant"}
        self.kinds = kinds
        self.operations = [i for i, kind in enumerate(kinds) if kind == "operation"]
        self.into: dict[int, list[int]] = defaultdict(list)
        self.out: dict[int, list[int]] = defaultdict(list)
        for source, target, _ in edges:
            if kinds[source] != "constant":
                self.into[target].append(source)
                self.out[source].append(target)
        self.statistics = self._path(inner, normalized)
        self.spine = self._spine(root)
        # The parameters, and the results that are computed from parameters alone, such as Wᵀ.
        self.derived = {i for i, kind in enumerate(kinds) if kind == "parameter"}
        for i in self.operations:
            if self._fed_by(i, self.derived) and i not in self.readers:
                self.derived.add(i)

    def edge(self, source: int, target: int) -> EdgeKind:
        """The kind of an edge: the first that applies of constant, parameter, statistics and direct; else plain."""
        if self.kinds[source] == "constant" or not self.unrecorded.isdisjoint((source, target)):
            return "constant"
        if source in self.derived and not {source, target} <= self.statistics:
            return "parameter"
        if source in self.statistics or target in self.statistics:
            return "statistics"
        return "direct" if (source, target) in self.spine else "plain"

    def _fed_by(self, i: int, nodes: set[int]) -> bool:
        """Whether a node is computed from these nodes and from constants only."""
        return bool(self.into[i]) and all(source in nodes for source in self.into[i])

    def _path(self, inner: set[int], normalized: set[int]) -> set[int]:
        """The operations on a path through a statistic: the inner ones, and what only they read, such as (x − μ)².

        What does not depend on a tensor that is normalized belongs to no such path, such as an ε that is learnt.
        """
        path, depending = set(inner), set(normalized)
        for i in self.operations:
            if not depending.isdisjoint(self.into[i]):
                depending.add(i)
        for i in reversed(self.operations):
            if i in depending and self.out[i] and all(target in path for target in self.out[i]):
                path.add(i)
        return path

    def _spine(self, root: int) -> set[tuple[int, int]]:
        """The steps of the direct path: from the result to the data, by the longest way that meets no statistic."""
        depth = [0 if kind == "data" else -1 for kind in self.kinds]
        for i in self.operations:
            below = max((depth[s] for s in self.into[i]), default=-1)
            if i in self.unrecorded:
                # A gradient goes no further, so a long way to here is no longer path.
                depth[i] = min(below, 0)
            else:
                depth[i] = below + 1 if below >= 0 else 0 if i in self.readers else -1
        spine: set[tuple[int, int]] = set()
        at: int | None = root
        while at is not None:
            ahead = [s for s in self.into[at] if s not in self.statistics and depth[s] >= 0]
            below_it = max(ahead, key=lambda s: (s not in self.unrecorded, depth[s], -s), default=None)
            if below_it is not None:
                spine.add((below_it, at))
            at = below_it
        return spine
