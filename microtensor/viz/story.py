"""Where the gradient of a norm parts into its paths, and what each part is called."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from microtensor.core.tensor import Tensor
from microtensor.inspect.graph import Graph, GraphEdge, GraphNode
from microtensor.inspect.ledger.inputs import input_of
from microtensor.inspect.ledger.model import Ledger
from microtensor.inspect.ledger.paths import paths
from microtensor.inspect.ledger.table import tables

# Operations that are linear in each input, so that a mean may be made of them.
LINEAR = frozenset(
    {
        *("mean", "sum", "multiply", "divide", "matmul", "einsum", "add", "subtract", "negative"),
        *("reshape", "expand_dims", "squeeze", "broadcast_to", "permute_dims", "getitem"),
    }
)
SQUARES, SUMS = frozenset({"square", "power", "multiply"}), frozenset({"mean", "sum"})
DIRECT, MEAN, VARIANCE, STATISTICS = "direct", "via the mean", "via the variance", "via the statistics"
SUMS_OF_SQUARES = {"mean": "via the mean square", "sum": "via the sum of squares"}


# In a larger graph, the paths are not told one by one.
MOST_NODES = 300


def ledger_of(output: Tensor, nodes: int) -> Ledger | None:
    """The ledger of the only input of a graph with so many nodes; None where there is no single norm to tell of."""
    if nodes > MOST_NODES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ledger = paths(output, input_of(output))
    except (TypeError, ValueError, RuntimeError):
        return None
    return ledger if sum(bool(section.title) for section in ledger.blocks) == 1 else None


def pythagoras(ledger: Ledger) -> str:
    """How the square of the direct path is made of what the norm takes out and the rest; empty where it is not known.

    Examples
    --------
    >>> from microtensor import demos
    >>> from microtensor.viz.story import ledger_of, pythagoras
    >>> pythagoras(ledger_of(demos.batch_norm(), 12))
    'direct² = shift² + scale² + rest²: 0.102² = 0.0490² + 0.0368² + 0.0812²'
    """
    sentences = [text for table in tables(ledger) for text in table.below]
    return next((text for text in sentences if text.startswith("direct² =")), "")


def path_names(graph: Graph) -> dict[tuple[int, int, int], str]:
    """The names of the paths along the edges of tensors that a norm reads more than once.

    Such a tensor is the input of a norm, or x − μ. What comes back to it from a statistic is called after the
    statistic, and the rest is direct. The key of an edge is its source, target and argument.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.story import path_names
    >>> x = mt.tensor([[0.0], [1.0], [5.0]], requires_grad=True, name="x")
    >>> list(path_names(mt.Graph.from_tensor(mt.norms.standardize(x, axis=0))).values())
    ['via the mean', 'direct + via the variance', 'via the variance', 'direct']
    """
    return _Story(graph).names()


class _Story:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.inputs, self.consumers = graph, graph.inputs(), graph.consumers()
        # The statistics that are computed from each other have one number.
        self.part: dict[int, int] = {}
        for node in graph.nodes:
            if self._is_statistic(node):
                self._join(node)
        members: dict[int, list[GraphNode]] = {}
        for number, part in self.part.items():
            members.setdefault(part, []).append(graph.nodes[number])
        self.means = {part for part, nodes in members.items() if all(map(self._is_linear, nodes))}
        self.called = {part: self._name(part, nodes) for part, nodes in members.items()}

    def names(self) -> dict[tuple[int, int, int], str]:
        found = {}
        for edge in self.graph.edges:
            siblings = self.consumers.get(edge.source, [])
            parts = {self.part[e.target] for e in siblings if e.target in self.part}
            if edge.source in self.part or not parts or len(siblings) < 2 or edge.grad is None or edge.other:
                continue
            if edge.target in self.part:
                found[edge.key] = self.called[self.part[edge.target]]
            elif self.graph.nodes[edge.target].kind == "operation":
                found[edge.key] = " + ".join([DIRECT, *self._later(edge)])
        return found

    def _is_statistic(self, node: GraphNode) -> bool:
        return node.statistics and node.kind == "operation"

    def _sources(self, node: GraphNode) -> list[GraphNode]:
        return [self.graph.nodes[edge.source] for edge in self.inputs.get(node.id, []) if edge.kind != "constant"]

    def _join(self, node: GraphNode) -> None:
        """Give a statistic the number of those that it is computed from."""
        earlier = {self.part[source.id] for source in self._sources(node) if source.id in self.part}
        self.part[node.id] = min(earlier, default=node.id)
        if len(earlier) > 1:
            self.part = {number: min(earlier) if part in earlier else part for number, part in self.part.items()}

    def _is_linear(self, node: GraphNode) -> bool:
        """Whether a statistic is linear in what is normalized: a product with it has one factor only."""
        sources = self._sources(node)
        return node.op in LINEAR and (len(sources) == 1 or node.op in ("add", "subtract"))

    def _is_centred(self, node: GraphNode) -> bool:
        return self.part.get(node.id) is None and any(self.part.get(s.id) in self.means for s in self._sources(node))

    def _name(self, part: int, nodes: list[GraphNode]) -> str:
        if part in self.means:
            return MEAN
        read = [source for node in nodes for source in self._sources(node) if source.id not in self.part]
        squares = [node for node in nodes if node.op in SQUARES and self._sources(node)[0] in read]
        sums = {node.op for node in nodes if node.op in SUMS}
        alone = len({source.id for source in read}) == 1 and len(squares) == 1 and len(sums) == 1
        if not alone or any(len(self._sources(node)) > 1 for node in nodes if node not in squares):
            return STATISTICS
        return VARIANCE if self._is_centred(read[0]) else SUMS_OF_SQUARES[sums.pop()]

    def _later(self, edge: GraphEdge) -> Iterable[str]:
        """The statistics that x − μ goes into. Their gradients come back along the edge into it too."""
        if not self._is_centred(self.graph.nodes[edge.target]):
            return []
        uses = self.consumers.get(edge.target, [])
        return dict.fromkeys(self.called[self.part[e.target]] for e in uses if e.target in self.part)
