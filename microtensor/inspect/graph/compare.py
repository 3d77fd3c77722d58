"""Joins two graphs into one: what both have occurs once, and what only one has is marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from typing import TypeAlias

from microtensor.inspect.graph.model import Graph, GraphEdge, GraphNode, GraphScope, Mark

Key: TypeAlias = tuple[object, ...]
# From the number of a scope in one graph to its number in the union.
Numbers: TypeAlias = dict[int | None, int | None]
SIDES: tuple[Mark, Mark] = ("first", "second")


def compare(first: Graph, second: Graph, names: tuple[str, str] = ("first", "second")) -> Graph:
    """One graph with all the nodes of two graphs.

    Scopes are matched by their names, and the operations inside them by their order. A node that only one graph has is
    marked "first" or "second". A node that both have, but with a different shape, constant or type, is marked
    "changed". A note says what has changed. There are no gradients, because these belong to one of the two graphs.

    Parameters
    ----------
    first, second : Graph
    names : tuple of str
        The names of the two graphs.

    Raises
    ------
    TypeError
        One of the two is not a graph.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.graph import Graph, compare
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> both = compare(Graph.from_tensor(mt.exp(x) + x), Graph.from_tensor(mt.tanh(x) + x))
    >>> [(node.symbol or node.name, node.mark) for node in both.nodes]
    [('x', ''), ('exp', 'first'), ('tanh', 'second'), ('+', '')]
    """
    for what, graph in (("first", first), ("second", second)):
        if not isinstance(graph, Graph):
            raise TypeError(
                f"compare: {what} is a {type(graph).__name__}; it must be a graph, as from Graph.from_tensor(y)"
            )
    return _Union(first, second, names).graph()


class _Union:
    def __init__(self, first: Graph, second: Graph, names: tuple[str, str]) -> None:
        self.graphs = (first, second)
        self.names = names
        self.scopes: list[GraphScope] = []
        self.scope_at = self._join_scopes()
        self.nodes: list[GraphNode] = []
        self.place: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._join_nodes()

    def _join_scopes(self) -> tuple[Numbers, Numbers]:
        """The common number of each scope. Scopes with the same name in the same place are matched by their order."""
        known: dict[Key, int] = {}
        at: tuple[Numbers, Numbers] = ({None: None}, {None: None})
        for graph, numbers in zip(self.graphs, at, strict=True):
            count: dict[Key, int] = defaultdict(int)
            for scope in graph.scopes:
                parent = numbers[scope.parent]
                count[parent, scope.name] += 1
                key = (parent, scope.name, count[parent, scope.name])
                if key not in known:
                    known[key] = len(self.scopes)
                    self.scopes.append(replace(scope, id=len(self.scopes), parent=parent))
                number = numbers[scope.id] = known[key]
                there = self.scopes[number]
                detail = there.detail if there.detail == scope.detail else f"{there.detail} | {scope.detail}"
                self.scopes[number] = replace(there, detail=detail, statistics=there.statistics and scope.statistics)
        return at

    def _join_nodes(self) -> None:
        first, second = self.graphs
        keys: list[list[Key]] = [
            [(numbers[node.scope], node.kind, node.op or node.name or node.role) for node in graph.nodes]
            for graph, numbers in zip(self.graphs, self.scope_at, strict=True)
        ]
        for i, i_end, j, j_end, equal in _steps(*keys):
            ours, theirs = first.nodes[i:i_end], second.nodes[j:j_end]
            if equal:
                for one, other in zip(ours, theirs, strict=True):
                    self.place[1][other.id] = len(self.nodes)
                    self._add(self._both(one, other), 0)
            else:
                for side, alone in enumerate((ours, theirs)):
                    for node in alone:
                        self._add(replace(node, mark=SIDES[side], note=f"only in {self.names[side]}"), side)

    def _add(self, node: GraphNode, side: int) -> None:
        self.place[side][node.id] = len(self.nodes)
        self.nodes.append(replace(node, id=len(self.nodes), scope=self.scope_at[side][node.scope], grad=None))

    @staticmethod
    def _both(one: GraphNode, other: GraphNode) -> GraphNode:
        sides = [[str(node.shape or "scalar"), node.dtype, *(v for _, v in node.constants)] for node in (one, other)]
        if len(sides[0]) == len(sides[1]):
            words = [f"{a} | {b}" for a, b in zip(*sides, strict=True) if a != b]
        else:
            words = [" ".join(sides[0][2:]) + " | " + " ".join(sides[1][2:])]
        return replace(one, mark="changed", note=",  ".join(words)) if words else one

    def graph(self) -> Graph:
        edges: dict[tuple[int, int, int], GraphEdge] = {}
        for graph, place, side in zip(self.graphs, self.place, SIDES, strict=True):
            for edge in graph.edges:
                key = (place[edge.source], place[edge.target], edge.argument)
                edges[key] = replace(edges[key], mark="") if key in edges else GraphEdge(*key, edge.kind, None, side)
        root = self.place[0][self.graphs[0].root]
        searched = all(graph.searched for graph in self.graphs)
        ordered = tuple(edges[key] for key in sorted(edges, key=lambda key: (key[1], key[2], key[0])))
        # Rules with different letters cannot stand in one picture.
        letters = self.graphs[0].letters
        rules_fit = letters == self.graphs[1].letters
        nodes = tuple(node if rules_fit else replace(node, rules=()) for node in self.nodes)
        return Graph(nodes, ordered, tuple(self.scopes), root, "", self.names, searched, letters)


def _steps(a: list[Key], b: list[Key]) -> Iterator[tuple[int, int, int, int, bool]]:
    """The corresponding parts of two sequences, and whether they are equal.

    Equal parts at the two ends are found first, because the time of the search grows with the square of the rest.
    """
    pairs = min(len(a), len(b))
    head = next((i for i in range(pairs) if a[i] != b[i]), pairs)
    tail = next((i for i in range(pairs - head) if a[-1 - i] != b[-1 - i]), pairs - head)
    yield 0, head, 0, head, True
    inner = SequenceMatcher(None, a[head : len(a) - tail], b[head : len(b) - tail], autojunk=False)
    for step, i, i_end, j, j_end in inner.get_opcodes():
        yield head + i, head + i_end, head + j, head + j_end, step == "equal"
    yield len(a) - tail, len(a), len(b) - tail, len(b), True
