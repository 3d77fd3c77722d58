"""Reads the graph off a tensor: its operations in program order, their scopes, gradients and values."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from microtensor.backprop import Contribution, contributions_of, random_cotangent
from microtensor.inspect.graph.kinds import edge_kind, from_parameters, spine, statistics_path
from microtensor.inspect.graph.model import Graph, GraphEdge, GraphNode, GraphScope, Kind, Values
from microtensor.inspect.history import history
from microtensor.primitive import Node, Scope
from microtensor.support.arrays import Array
from microtensor.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from microtensor.primitive import Primitive

TABLE = 4
# What comes back along each edge: by source, target and argument.
Flows: TypeAlias = dict[tuple[int, int, int], Array]


def read(tensor: Tensor, gradients: bool = True, values: Values = "none") -> Graph:
    """What :meth:`Graph.from_tensor` does."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Graph.from_tensor: a tensor is needed, not a {type(tensor).__name__}")
    return Reader(tensor, gradients, values).graph()


def read_failure(
    name: str, symbol: str, inputs: Sequence[Any], message: str, *, scope: Scope | None = None, line: str = ""
) -> Graph:
    """The graph that led to an operation which raised, with that operation as its root.

    Parameters
    ----------
    name, symbol : str
        Of the operation.
    inputs : sequence
        What it was called with, as far as that is a tensor or an array.
    message : str
        What it raised.
    scope : Scope, optional
    line : str
        Where the program made the call.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.graph import read_failure
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> graph = read_failure("add", "+", [x * 2, np.ones(3)], "shapes (2,) and (3,)")
    >>> [(node.symbol, node.mark) for node in graph.nodes if node.op]
    [('×', ''), ('+', 'failed')]
    """
    result = Tensor(0.0)
    result._node = node = Node()
    # As much of a record as a reader looks at; there is no result, so the number stands for it.
    node.primitive = cast("Primitive", SimpleNamespace(name=name, symbol=symbol, shown=()))
    node.inputs, node.params, node.scope, node.line = tuple(inputs), {"axes": ()}, scope, line
    node.index = 1 + max((t.node.index for t in inputs if isinstance(t, Tensor) and t.node is not None), default=0)
    graph = Reader(result, gradients=False).graph()
    failed = replace(graph.nodes[graph.root], symbol=symbol, mark="failed", note=message, dtype="")
    return replace(graph, nodes=tuple(failed if node.id == graph.root else node for node in graph.nodes))


def size(tensor: Tensor) -> int:
    """How many operations are in a tensor's history: what to ask before a graph is read."""
    return len(history(tensor))


class Reader:
    """Turns a tensor's history into a graph; one use."""

    def __init__(self, root: Tensor, gradients: bool = True, values: Values = "none") -> None:
        self.root = root
        self.values = values
        self.records = history(root)
        self.tensors: list[Any] = []
        self.ids: dict[int, int] = {}
        self.edges: list[tuple[int, int, int]] = []
        self.constants: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for output, node in self.records:
            self._place(output, node)
        if not self.records:
            self._add(root)
        self.scopes = _Scopes([t.node.scope if isinstance(t, Tensor) and t.node else None for t in self.tensors])
        self._scope_leaves()
        self.flows: Flows = {}
        self.totals: dict[int, Array] = {}
        self.cotangent = ""
        if gradients and root.requires_grad:
            self._gradients()

    def _add(self, value: Any) -> int:
        if id(value) not in self.ids:
            self.ids[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return self.ids[id(value)]

    def _place(self, output: Tensor, node: Node) -> None:
        folded = []
        sources = []
        for argument, value in enumerate(node.inputs):
            if not isinstance(value, Tensor) and np.size(value) == 1:
                folded.append((argument, f"{np.asarray(value).item():.6g}"))
            else:
                sources.append((self._add(value), argument))
        target = self._add(output)
        self.constants[target] = folded
        self.edges += [(source, target, argument) for source, argument in sources]

    def _scope_leaves(self) -> None:
        """A parameter or constant stands in the scope of the operation that reads it first; data stand outside."""
        first: dict[int, int] = {}
        for source, target, _ in self.edges:
            first.setdefault(source, target)
        for i, value in enumerate(self.tensors):
            if self._kind(value) in ("parameter", "constant") and i in first:
                self.scopes.of[i] = self.scopes.of[first[i]]

    def _trains(self) -> bool:
        """Whether some data do not require a gradient, so that plain leaves that do are what is learnt."""
        return any(
            isinstance(t, Tensor) and t.is_leaf and not t.requires_grad and t.dtype.kind == "f" and not _detached(t)
            for t in self.tensors
        )

    def _kind(self, value: Any) -> Kind:
        if not isinstance(value, Tensor) or _detached(value):
            return "constant"
        if value.node is not None:
            return "operation"
        if isinstance(value, Parameter) or (value.requires_grad and self._trains()):
            return "parameter"
        return "data"

    def _gradients(self) -> None:
        seed, self.cotangent = seed_of(self.root)
        try:
            contributions = _contributions(self.root, seed)
        except RuntimeError as error:
            self.cotangent = f"no gradients: {error}"
            return
        by_index = {node.index: (output, node) for output, node in self.records}
        for index, argument, value in contributions:
            if index not in by_index:
                continue
            output, node = by_index[index]
            source = node.inputs[argument]
            key = (self.ids[id(source)], self.ids[id(output)], argument)
            self.flows[key] = np.broadcast_to(np.asarray(value), source.shape)
        self.totals = totals(self.flows, self.ids[id(self.root)], seed)

    def graph(self) -> Graph:
        kinds = [self._kind(value) for value in self.tensors]
        statistics = statistics_path(self.tensors, kinds, self.edges)
        root = self.ids[id(self.root)]
        derived = from_parameters(kinds, self.edges)
        steps = spine(root, kinds, self.edges, statistics)
        nodes = tuple(self._node(i, kinds[i], i in statistics) for i in range(len(self.tensors)))
        edges = tuple(
            GraphEdge(s, t, a, edge_kind(s, t, kinds, derived, statistics, steps), norm(self.flows.get((s, t, a))))
            for s, t, a in self.edges
        )
        scopes = self.scopes.frozen([i in statistics for i in range(len(nodes))], kinds)
        nodes, scopes = _simplify_scopes(nodes, scopes)
        return Graph(nodes, edges, scopes, root, self.cotangent, (), self.flows)

    def _node(self, i: int, kind: Kind, statistics: bool) -> GraphNode:
        value = self.tensors[i]
        made = value.node if isinstance(value, Tensor) else None
        integer = isinstance(value, Tensor) and value.dtype.kind in "iu"
        role = {"data": "labels" if integer else "input", "constant": "constant"}.get(kind, "")
        if kind == "constant" and isinstance(value, Tensor):
            role = "detached"
        return GraphNode(
            id=i,
            kind=kind,
            op=made.primitive.name if made else "",
            symbol=_symbol(value, made) if made else "",
            name=(value.name or "") if isinstance(value, Tensor) else "",
            role=role,
            shape=tuple(value.shape),
            dtype=str(value.dtype),
            scope=self.scopes.of[i],
            statistics=statistics,
            rules=made.primitive.shown if made else (),
            constants=tuple(self.constants[i]),
            grad=norm(self.totals.get(i)),
            stats=_stats(value) if self.values != "none" else (),
            table=_table(value) if self.values == "full" else (),
            line=_shown_line(made.line) if made else "",
        )


def _detached(tensor: Tensor) -> bool:
    return tensor.is_leaf and bool(tensor._extra) and "detached" in (tensor._extra or {})


def _symbol(output: Tensor, node: Node) -> str:
    if node.primitive.name == "permute_dims":
        axes, ndim = node.params["axes"], output.ndim
        if ndim >= 2 and tuple(a % ndim for a in axes) == (*range(ndim - 2), ndim - 1, ndim - 2):
            return "( )ᵀ"
    return node.primitive.symbol


def seed_of(root: Tensor) -> tuple[Array, str]:
    """What is carried back from a tensor, and a sentence about the gradients that come of it."""
    kept = (root._extra or {}).get("backward")
    if kept is not None:
        return kept[0], "gradients of the backward pass that the program ran"
    if root.size == 1:
        return np.ones(root.shape, root.dtype), "gradients of this scalar"
    return random_cotangent(root), "gradients for a random cotangent of the output"


def _contributions(root: Tensor, seed: Array) -> list[Contribution]:
    kept = (root._extra or {}).get("backward")
    return contributions_of(root, seed) if kept is None else kept[1]


def totals(flows: Mapping[tuple[int, int, int], Array], root: int, seed: Array) -> dict[int, Array]:
    """The gradient of each result: the sum of what comes back along the edges that leave it."""
    found = {root: seed}
    for (source, _, _), flow in flows.items():
        found[source] = found[source] + flow if source in found else flow
    return found


def norm(value: Array | None) -> float | None:
    """The Euclidean norm of all entries, in float64; None of None."""
    if value is None:
        return None
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.sum(np.square(value, dtype=np.float64))))


def _stats(value: Any) -> tuple[float, ...]:
    array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
    if array.size == 0:
        return ()
    with np.errstate(all="ignore"):
        reductions = (np.min, np.mean, np.max, np.std)
        return tuple(float(reduce(array.astype(np.float64, copy=False))) for reduce in reductions)


def _table(value: Any) -> tuple[tuple[float, ...], ...]:
    """The numbers themselves, row by row, where they are few."""
    array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
    if array.ndim > 2 or array.size == 0 or max(array.shape, default=1) > TABLE:
        return ()
    return tuple(tuple(float(x) for x in row) for row in np.atleast_2d(array))


def _shown_line(line: str) -> str:
    """The file without its directory, so that a picture is the same on every machine."""
    file, colon, rest = line.rpartition(":")
    return f"{os.path.basename(file)}{colon}{rest}"


class _Scopes:
    """The scopes that occur, numbered in the order of the program."""

    def __init__(self, scopes: Iterable[Scope | None]) -> None:
        self.found: list[Scope] = []
        self.number: dict[int, int] = {}
        self.of: list[int | None] = [self._id(scope) for scope in scopes]

    def _id(self, scope: Scope | None) -> int | None:
        if scope is None:
            return None
        for around in reversed(list(takewhile(lambda at: id(at) not in self.number, scope.chain()))):
            self.number[id(around)] = len(self.found)
            self.found.append(around)
        return self.number[id(scope)]

    def frozen(self, statistics: list[bool], kinds: list[Kind]) -> tuple[GraphScope, ...]:
        parents = [None if s.parent is None else self.number[id(s.parent)] for s in self.found]
        pure = [True] * len(self.found)
        for i, scope in enumerate(self.of):
            if scope is not None:
                pure[scope] = pure[scope] and (kinds[i] == "constant" or statistics[i])
        for i in range(len(parents) - 1, -1, -1):
            # A scope stands after the one around it, so it is complete when its turn comes.
            parent = parents[i]
            if parent is not None:
                pure[parent] = pure[parent] and pure[i]
        return tuple(GraphScope(i, scope.name, scope.detail, parents[i], pure[i]) for i, scope in enumerate(self.found))


def _simplify_scopes(
    nodes: tuple[GraphNode, ...], scopes: tuple[GraphScope, ...]
) -> tuple[tuple[GraphNode, ...], tuple[GraphScope, ...]]:
    """Drop frames that say nothing: round a single operation, or a function that is all its parent holds."""
    # A scope stands after the one around it: from the last to the first, each is counted when its turn comes.
    count = [0] * len(scopes)
    for node in nodes:
        if node.scope is not None:
            count[node.scope] += 1
    for scope in reversed(scopes):
        if scope.parent is not None:
            count[scope.parent] += count[scope.id]
    kept: list[GraphScope] = []
    number: list[int | None] = []
    for scope in scopes:
        parent = scope.parent
        around = None if parent is None else number[parent]
        lonely = count[scope.id] <= 1
        repeated = parent is not None and not scope.detail and count[scope.id] == count[parent]
        if lonely or repeated:
            number.append(around)
        else:
            number.append(len(kept))
            kept.append(replace(scope, id=len(kept), parent=around))
    placed = (replace(node, scope=None if node.scope is None else number[node.scope]) for node in nodes)
    return tuple(placed), tuple(kept)
