"""Reads the graph of a tensor: its operations in the order of the program, their scopes, gradients and values."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import dropwhile, takewhile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter
from microtensor.inspect.graph.kinds import Kinds
from microtensor.inspect.graph.model import Graph, GraphEdge, GraphNode, GraphScope, Kind, Values
from microtensor.inspect.graph.names import is_of_library
from microtensor.inspect.graph.options import index_text, over
from microtensor.inspect.graph.rules import Rules, is_constant, is_transposition
from microtensor.inspect.history import (
    Origin,
    array_of,
    carried_back,
    cotangent_of,
    history,
    indices_of,
    why_constant,
    with_asides,
)
from microtensor.inspect.statistics import norms_among
from microtensor.support.arrays import Array
from microtensor.support.modes import Scope

if TYPE_CHECKING:
    pass

TABLE = 4
LOSSES = frozenset(
    {
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "hinge_loss", "hinge_embedding_loss", "nll_loss"),
        *("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"),
    }
)
# What a constant is called, by the reason why no gradient reaches it.
ROLES = {"backward": "cotangent", "computed": "unrecorded", "detached": "detached", "unrecorded": "unrecorded"}
# The gradient along each edge, by source, target and argument.
Flows: TypeAlias = dict[tuple[int, int, int], Array]
COTANGENTS: dict[Origin, str] = {
    "kept": "gradients of the backward pass that the program ran",
    "scalar": "gradients of this scalar",
    "random": "gradients for a random cotangent of the output",
}


def read(tensor: Tensor, gradients: bool = True, values: Values = "none") -> Graph:
    """See :meth:`Graph.from_tensor`."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Graph.from_tensor: this is a {type(tensor).__name__}; it must be a tensor")
    return Reader(tensor, gradients, values).graph()


def read_failure(
    name: str, symbol: str, inputs: Sequence[Any], message: str, *, scope: Scope | None = None, line: str = ""
) -> Graph:
    """The graph of an operation that raised an error: everything before it, and the operation as the root.

    Parameters
    ----------
    name, symbol : str
        The name and the symbol of the operation.
    inputs : sequence
        The tensors and arrays that it was called with.
    message : str
        The message of the error.
    scope : Scope, optional
        The scope of the call.
    line : str
        The line of the program that made the call.

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
    # The part of a record that a reader looks at. There is no result, so a number stands for it.
    operation = SimpleNamespace(name=name, symbol=symbol, rule_text=())
    result._node = Node(operation, tuple(inputs), {"axes": ()}, scope, 0, line)
    graph = Reader(result, gradients=False).graph()
    failed = replace(graph.nodes[graph.root], symbol=symbol, mark="failed", note=message, dtype="")
    return replace(graph, nodes=tuple(failed if node.id == graph.root else node for node in graph.nodes))


def size(tensor: Tensor) -> int:
    """The number of operations in the history of a tensor. It is counted before the graph is built."""
    return len(history(tensor))


class Reader:
    """Reads a tensor's history as a graph.

    Attributes
    ----------
    tensors : list
        The tensor or the constant of each node, in the order of the program.
    """

    def __init__(self, root: Tensor, gradients: bool = True, values: Values = "none") -> None:
        self.root = root
        self.values = values
        self.tensors: list[Any] = []
        self.ids: dict[int, int] = {}
        # What chooses elements, by its array: each record has a tensor of its own.
        self.indices: dict[int, Tensor] = {}
        self.edges: list[tuple[int, int, int]] = []
        self.constants: dict[int, list[tuple[int, str]]] = defaultdict(list)
        # The operations that read each node.
        self.readers: dict[int, list[int]] = defaultdict(list)
        self.records = history(root)
        # The record of each result, also of those that the engine has not recorded.
        self.made: dict[int, Node] = {}
        for output, node in with_asides(root):
            self._place(output, node)
        self.number = self._add(root)
        self.rules = Rules(self.tensors)
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
        sources += [(self._add_index(index), len(node.inputs) + i) for i, index in enumerate(indices_of(node))]
        target = self._add(output)
        self.made[target] = node
        self.constants[target] = folded
        for source, argument in sources:
            self.edges.append((source, target, argument))
            self.readers[source].append(target)

    def _add_index(self, index: Tensor) -> int:
        """An index is one node, whatever it chooses from."""
        return self._add(self.indices.setdefault(id(index._array), index))

    def _gradients(self) -> None:
        seed, self.cotangent = seed_of(self.root)
        try:
            contributions = carried_back(self.root, seed, kept=True)
        except RuntimeError as error:
            self.cotangent = f"no gradients: {error}"
            return
        for output, node, argument, value in contributions:
            source = node.inputs[argument]
            self.flows[self.ids[id(source)], self.ids[id(output)], argument] = np.broadcast_to(value, source.shape)
        self.totals = totals(self.flows, self.number, seed)

    def _kinds(self) -> list[Kind]:
        leaves = [(i, t) for i, t in enumerate(self.tensors) if isinstance(t, Tensor) and i not in self.made]
        # Without parameters, the plain leaves that require a gradient are what is learnt when some inputs require none.
        plain = [i for i, t in leaves if not t.requires_grad and t.dtype.kind == "f" and not why_constant(t)]
        has_parameters = any(isinstance(t, Parameter) for _, t in leaves)
        learns = not has_parameters and not all(map(self._is_target, plain))

        def kind(i: int, value: Any) -> Kind:
            if i in self.made:
                return "operation"
            if is_constant(value):
                return "constant"
            return "parameter" if isinstance(value, Parameter) or (value.requires_grad and learns) else "data"

        return [kind(i, value) for i, value in enumerate(self.tensors)]

    def _is_target(self, i: int) -> bool:
        """Whether only losses of the library read a leaf."""
        scopes = [self.made[reader].scope for reader in self.readers[i]]
        return all(scope is not None and any(at.name in LOSSES for at in scope.chain()) for scope in scopes)

    def _scope(self, i: int, kind: Kind) -> Scope | None:
        """The scope of a node. A parameter or a constant has the innermost one around all its readers; data have none.

        So a parameter of a module that is called twice stands outside the two calls.
        """
        if kind == "operation":
            return self.made[i].scope
        readers = [] if kind == "data" else [self.made[reader].scope for reader in self.readers[i]]
        return _common(list(dict.fromkeys(readers)))

    def _unrecorded(self, kinds: list[Kind]) -> set[int]:
        """The results without a record of their own from which a direct path may come, when they are not data.

        What the library detaches for its own use, such as the directions of spectral norm, is not among them.
        """

        def is_one(i: int, value: Any) -> bool:
            if kinds[i] != "constant" or not isinstance(value, Tensor):
                return kinds[i] == "operation" and value.node is None
            why = why_constant(value)
            own = why == "detached" and is_of_library(value.name or "")
            return value.dtype.kind == "f" and why != "backward" and not own

        return {i for i, value in enumerate(self.tensors) if is_one(i, value)}

    def _owner(self, i: int) -> str:
        """The module of a parameter: the names around all its readers. If there are none, those around the first."""
        paths = [_modules(scope) for scope in dict.fromkeys(self.made[reader].scope for reader in self.readers[i])]
        same = takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
        common = [name for name, *_ in same] or next(filter(None, paths), [])
        return ".".join(common)

    def graph(self) -> Graph:
        kinds = self._kinds()
        norms = norms_among(self.records)
        inner = {self.ids[id(result)] for norm in norms for result in norm.inner}
        normalized = {self.ids[id(norm.input)] for norm in norms}
        sorted_edges = Kinds(kinds, self.edges, self.number, inner, normalized, self._unrecorded(kinds))
        statistics = sorted_edges.statistics
        places, scopes = _scopes(
            [self._scope(i, kind) for i, kind in enumerate(kinds)],
            [kind == "constant" or i in statistics for i, kind in enumerate(kinds)],
        )
        nodes = tuple(self._node(i, kind, places[i], i in statistics) for i, kind in enumerate(kinds))
        edges = tuple(
            GraphEdge(s, t, a, sorted_edges.edge(s, t), norm(self.flows.get((s, t, a)))) for s, t, a in self.edges
        )
        letters = self.rules.letters
        return Graph(nodes, edges, scopes, self.number, self.cotangent, (), norms.complete, letters, self.flows)

    def _node(self, i: int, kind: Kind, scope: int | None, statistics: bool) -> GraphNode:
        value = self.tensors[i]
        tensor = value if isinstance(value, Tensor) else None
        made = self.made.get(i)
        role = ""
        if kind == "data":
            role = "indices" if id(value._array) in self.indices else "labels" if value.dtype.kind in "iu" else "input"
        elif kind == "constant":
            role = "constant" if tensor is None else ROLES[why_constant(tensor)]
        return GraphNode(
            id=i,
            kind=kind,
            op=made.primitive.name if made else "",
            symbol=_symbol(value, made) if made else "",
            name=self.rules.name(tensor) if tensor is not None else "",
            role=role,
            shape=tuple(value.shape),
            dtype=str(value.dtype),
            scope=scope,
            statistics=statistics,
            rules=self.rules.texts(value, made) if made and value.node is not None else (),
            over=over(made) if made else "",
            constants=tuple(self.constants[i]),
            grad=norm(self.totals.get(i)),
            stats=_stats(np.asarray(array_of(value))) if self.values != "none" else (),
            table=_table(np.asarray(array_of(value))) if self.values == "full" else (),
            line=_shown_line(made.line) if made else "",
            unrecorded=kind == "operation" and value.node is None,
            owner=self._owner(i) if kind == "parameter" else "",
        )


def _symbol(output: Tensor, node: Node) -> str:
    if is_transposition(output, node):
        return "( )ᵀ"
    if node.primitive.name == "getitem" and "index" in node.params:
        return index_text(node.params["index"])
    symbol: str = node.primitive.symbol
    return symbol


def seed_of(root: Tensor) -> tuple[Array, str]:
    """The cotangent of a tensor, and a few words about the gradients that belong to it."""
    seed, origin = cotangent_of(root)
    return seed, COTANGENTS[origin]


def totals(
    flows: Mapping[tuple[int, int, int], Array], root: int | None = None, seed: Array | None = None
) -> dict[int, Array]:
    """The gradient of each result: the sum of the gradients on the edges that leave it. For the root: `seed`."""
    found = {} if root is None or seed is None else {root: seed}
    for (source, _, _), flow in flows.items():
        found[source] = found[source] + flow if source in found else flow
    return found


def norm(value: Array | None) -> float | None:
    """The Euclidean norm of all entries, in float64. A single number keeps its sign. None for None."""
    if value is None:
        return None
    if value.size == 1:
        return float(value.item())
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.sum(np.square(value, dtype=np.float64))))


def _stats(array: Array) -> tuple[float, ...]:
    """Minimum, mean, maximum and standard deviation."""
    if array.size == 0:
        return ()
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64, copy=False)
        return tuple(float(reduce(wide)) for reduce in (np.min, np.mean, np.max, np.std))


def _table(array: Array) -> tuple[tuple[float, ...], ...]:
    """The numbers themselves, row by row, where they are few."""
    if array.ndim > 2 or array.size == 0 or max(array.shape, default=1) > TABLE:
        return ()
    return tuple(tuple(float(x) for x in row) for row in np.atleast_2d(array))


def _shown_line(line: str) -> str:
    """The file without its directory, so that a picture is the same on every machine."""
    file, colon, rest = line.rpartition(":")
    return f"{os.path.basename(file)}{colon}{rest}"


def _modules(scope: Scope | None) -> list[str]:
    """The names from the outermost scope to the innermost module, which has a detail; none without a module."""
    chain = scope.chain() if scope else ()
    return [at.name for at in dropwhile(lambda at: not at.detail, chain)][::-1]


def _common(scopes: list[Scope | None]) -> Scope | None:
    """The innermost scope around all of these."""
    found = scopes[0] if scopes else None
    for scope in scopes[1:]:
        if found is None or scope is None:
            return None
        around = set(found.chain())
        found = next((at for at in scope.chain() if at in around), None)
    return found


def _scopes(around: list[Scope | None], quiet: list[bool]) -> tuple[list[int | None], tuple[GraphScope, ...]]:
    """The number of each node's scope, and the scopes, in the order of the program.

    Scopes around a single node are left out, and functions that hold all nodes of their parent. A scope is one of
    statistics when all nodes inside are `quiet`, which means constants, or on a path through a statistic.
    """
    found: list[Scope] = []
    number: dict[Scope, int] = {}
    for innermost in filter(None, around):
        for new in reversed(list(takewhile(lambda at: at not in number, innermost.chain()))):
            number[new] = len(found)
            found.append(new)
    count, statistics = [0] * len(found), [True] * len(found)
    for scope, still in zip(around, quiet, strict=True):
        if scope is not None:
            count[number[scope]] += 1
            statistics[number[scope]] &= still
    parents = [None if scope.parent is None else number[scope.parent] for scope in found]
    # A scope has a larger number than the one around it. So from the last to the first, each is complete in its turn.
    for i, parent in reversed(list(enumerate(parents))):
        if parent is not None:
            count[parent] += count[i]
            statistics[parent] &= statistics[i]
    kept: list[GraphScope] = []
    place: list[int | None] = []
    for i, (scope, parent) in enumerate(zip(found, parents, strict=True)):
        outer = None if parent is None else place[parent]
        if count[i] <= 1 or (parent is not None and not scope.detail and count[i] == count[parent]):
            place.append(outer)
        else:
            place.append(len(kept))
            kept.append(GraphScope(len(kept), scope.name, scope.detail, outer, statistics[i]))
    return [None if scope is None else place[number[scope]] for scope in around], tuple(kept)
