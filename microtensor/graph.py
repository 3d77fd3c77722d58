"""A tensor's history as an immutable graph of plain data: nodes, edges, scopes, with gradients on every edge.

Ids are small integers in the order of the program, so the same program gives the same graph. What kind of
edge an edge is (the direct path, a path through a statistic, a parameter, a constant) is decided here, once,
for every picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from microtensor.backprop import Contribution, contributions_of
from microtensor.primitive import Array, Scope
from microtensor.tensor import Parameter, Tensor

Kind: TypeAlias = Literal["data", "parameter", "constant", "operation", "function", "module"]
EdgeKind: TypeAlias = Literal["direct", "statistics", "parameter", "constant", "plain"]

REDUCTIONS = frozenset({"sum", "mean", "max", "min", "prod"})
BROADCASTING = frozenset({"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"})


@dataclass(frozen=True)
class GraphNode:
    """An operation together with its result, or a leaf, or a folded scope.

    Attributes
    ----------
    id : int
        Position in the program.
    kind : str
        "data", "parameter", "constant", "operation"; "function" and "module" are folded scopes.
    op : str
        Name of the primitive, or of the folded scope; empty for a leaf.
    symbol : str
        How the operation is drawn.
    name : str
        What the user or the library calls the result; may be empty.
    role : str
        Of a leaf: "input", "labels", "detached"; of a folded module: what it is.
    shape : tuple of int
    dtype : str
    scope : int or None
        The innermost scope around it.
    statistics : bool
        It lies on a path through a statistic (or holds one, when it is a folded scope).
    rules : tuple of str
        The local derivative rules as text, one an argument.
    constants : tuple
        (argument, text) of each single number that enters the operation.
    parameters : tuple
        (name, shape) of each parameter inside a folded scope.
    grad : float or None
        Norm of the gradient of the result; None when it was not computed.
    """

    id: int
    kind: Kind
    op: str = ""
    symbol: str = ""
    name: str = ""
    role: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    scope: int | None = None
    statistics: bool = False
    rules: tuple[str, ...] = ()
    constants: tuple[tuple[int, str], ...] = ()
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()
    grad: float | None = None


@dataclass(frozen=True)
class GraphEdge:
    """A tensor entering an operation; ``grad`` is the norm of what comes back along it."""

    source: int
    target: int
    argument: int
    kind: EdgeKind
    grad: float | None = None


@dataclass(frozen=True)
class GraphScope:
    """A named frame; ``statistics`` when all operations inside lie on a path through a statistic."""

    id: int
    name: str
    detail: str
    parent: int | None
    statistics: bool


@dataclass(frozen=True)
class Graph:
    """The history of a tensor, to be drawn, printed, compared or stored.

    Attributes
    ----------
    nodes, edges, scopes : tuple
    root : int
        Id of the node whose history this is.
    cotangent : str
        What the gradients belong to, in words; empty when there are none.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([3.0], requires_grad=True, name="x")
    >>> graph = mt.Graph.from_tensor(x * x + 1)
    >>> [node.symbol or node.name for node in graph.nodes]
    ['x', '×', '+']
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    scopes: tuple[GraphScope, ...]
    root: int
    cotangent: str = ""
    _flows: Mapping[tuple[int, int, int], Array] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_tensor(cls, tensor: Tensor, *, gradients: bool = True) -> Graph:
        """Read the graph of a tensor.

        The gradients are those of the backward pass that the tensor has been through, where that was kept;
        otherwise they are computed here, for a scalar with cotangent 1 and for anything else with a fixed
        random one. A graph that cannot be differentiated any more is read without.

        Parameters
        ----------
        tensor : Tensor
        gradients : bool
            Whether to put gradients on the edges.

        Raises
        ------
        TypeError
            This is not a tensor.
        """
        if not isinstance(tensor, Tensor):
            raise TypeError(f"Graph.from_tensor: a tensor is needed, not a {type(tensor).__name__}")
        return _Reader(tensor, gradients).graph()

    def consumers(self) -> dict[int, list[GraphEdge]]:
        """The edges that leave each node."""
        out: dict[int, list[GraphEdge]] = defaultdict(list)
        for edge in self.edges:
            out[edge.source].append(edge)
        return out

    def inputs(self) -> dict[int, list[GraphEdge]]:
        """The edges that enter each node, in the order of the arguments."""
        into: dict[int, list[GraphEdge]] = defaultdict(list)
        for edge in sorted(self.edges, key=lambda e: (e.target, e.argument)):
            into[edge.target].append(edge)
        return into

    def scope_chain(self, scope: int | None) -> list[int]:
        """The scopes around a scope and itself, outermost first."""
        chain = []
        while scope is not None:
            chain.append(scope)
            scope = self.scopes[scope].parent
        return chain[::-1]

    def collapsed(self, depth: int | None) -> Graph:
        """The same graph with every scope nested `depth` deep or more folded into one node; None folds none.

        Raises
        ------
        ValueError
            The depth is negative.
        """
        if depth is None:
            return self
        if depth < 0:
            raise ValueError(f"collapsed: depth is {depth}; 0 or more is needed")
        return _fold(self, depth)


def auto_depth(graph: Graph, limit: int = 300) -> int | None:
    """The largest depth at which at most `limit` nodes are left; None when the whole graph is that small."""
    if len(graph.nodes) <= limit:
        return None
    deepest = max((len(graph.scope_chain(scope.id)) for scope in graph.scopes), default=0)
    for depth in range(deepest - 1, -1, -1):
        if len(graph.collapsed(depth).nodes) <= limit:
            return depth
    return 0


# --- reading a tensor -------------------------------------------------------------------------------------


class _Reader:
    """Turns a tensor's history into a graph; one use."""

    def __init__(self, root: Tensor, gradients: bool) -> None:
        self.root = root
        self.operations = _operations(root)
        self.tensors: list[Any] = []
        self.ids: dict[int, int] = {}
        self.edges: list[tuple[int, int, int]] = []
        self.constants: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for output in self.operations:
            self._place(output)
        if not self.operations:
            self._add(root)
        self.scopes = _Scopes([t.node.scope if isinstance(t, Tensor) and t.node else None for t in self.tensors])
        self._scope_leaves()
        self.flows: dict[tuple[int, int, int], Array] = {}
        self.totals: dict[int, Array] = {}
        self.cotangent = ""
        if gradients and root.requires_grad:
            self._gradients()

    def _add(self, value: Any) -> int:
        if id(value) not in self.ids:
            self.ids[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return self.ids[id(value)]

    def _place(self, output: Tensor) -> None:
        node = output.node
        assert node is not None
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
        seed, contributions, self.cotangent = _backward_of(self.root)
        by_index = {output.node.index: output for output in self.operations if output.node is not None}
        if seed is not None:
            self.totals[self.ids[id(self.root)]] = seed
        for index, argument, value in contributions:
            output = by_index.get(index)
            if output is None or output.node is None:
                continue
            source = output.node.inputs[argument]
            key = (self.ids[id(source)], self.ids[id(output)], argument)
            full = np.broadcast_to(np.asarray(value), source.shape)
            self.flows[key] = full
            self.totals[key[0]] = self.totals[key[0]] + full if key[0] in self.totals else full

    def graph(self) -> Graph:
        kinds = [self._kind(value) for value in self.tensors]
        statistics = _statistics_path(self.tensors, kinds, self.edges)
        root = self.ids[id(self.root)]
        derived = _from_parameters(kinds, self.edges)
        spine = _spine(root, kinds, self.edges, statistics)
        nodes = tuple(self._node(i, kinds[i], i in statistics) for i in range(len(self.tensors)))
        edges = tuple(
            GraphEdge(s, t, a, _edge_kind(s, t, kinds, derived, statistics, spine), _norm(self.flows.get((s, t, a))))
            for s, t, a in self.edges
        )
        scopes = self.scopes.frozen([i in statistics for i in range(len(nodes))], kinds)
        nodes, scopes = _simplify_scopes(nodes, scopes)
        return Graph(nodes, edges, scopes, root, self.cotangent, self.flows)

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
            symbol=_symbol(value) if made else "",
            name=(value.name or "") if isinstance(value, Tensor) else "",
            role=role,
            shape=tuple(value.shape),
            dtype=str(value.dtype),
            scope=self.scopes.of[i],
            statistics=statistics,
            rules=made.primitive.shown if made else (),
            constants=tuple(self.constants[i]),
            grad=_norm(self.totals.get(i)),
        )


def _detached(tensor: Tensor) -> bool:
    return tensor.is_leaf and bool(tensor._extra) and "detached" in (tensor._extra or {})


def _symbol(output: Tensor) -> str:
    node = output.node
    assert node is not None
    if node.primitive.name == "permute_dims":
        axes, ndim = node.params["axes"], output.ndim
        if ndim >= 2 and tuple(a % ndim for a in axes) == (*range(ndim - 2), ndim - 1, ndim - 2):
            return "( )ᵀ"
    return node.primitive.symbol


def _operations(root: Tensor) -> list[Tensor]:
    """The recorded results behind a tensor, in the order in which they were made."""
    found = []
    seen = {id(root)}
    stack = [root]
    while stack:
        tensor = stack.pop()
        if tensor.node is None:
            continue
        found.append(tensor)
        for x in tensor.node.inputs:
            if isinstance(x, Tensor) and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    return sorted(found, key=lambda t: t.node.index if t.node else 0)


def _backward_of(root: Tensor) -> tuple[Array | None, list[Contribution], str]:
    """The cotangent, the contributions and a sentence about them."""
    kept = (root._extra or {}).get("backward")
    if kept is not None:
        return kept[0], kept[1], "gradients of the backward pass that the program ran"
    if root.size == 1:
        seed, words = np.ones(root.shape, root.dtype), "gradients of this scalar"
    else:
        draws = np.random.default_rng(0).normal(size=root.shape) / root.size
        seed, words = draws.astype(root.dtype), "gradients for a random cotangent of the output"
    try:
        return seed, contributions_of(root, seed), words
    except RuntimeError as error:
        return None, [], f"no gradients: {error}"


def _norm(value: Array | None) -> float | None:
    if value is None:
        return None
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.sum(np.square(value, dtype=np.float64))))


class _Scopes:
    """The scopes that occur, numbered in the order of the program."""

    def __init__(self, scopes: Iterable[Scope | None]) -> None:
        self.found: list[Scope] = []
        self.number: dict[int, int] = {}
        self.of: list[int | None] = [self._id(scope) for scope in scopes]

    def _id(self, scope: Scope | None) -> int | None:
        if scope is None:
            return None
        for around in reversed(list(scope.chain())):
            if id(around) not in self.number:
                self.number[id(around)] = len(self.found)
                self.found.append(around)
        return self.number[id(scope)]

    def frozen(self, statistics: list[bool], kinds: list[Kind]) -> tuple[GraphScope, ...]:
        parents = [None if s.parent is None else self.number[id(s.parent)] for s in self.found]
        pure = [True] * len(self.found)
        for i, scope in enumerate(self.of):
            inside = scope
            while inside is not None:
                pure[inside] = pure[inside] and (kinds[i] == "constant" or statistics[i])
                inside = parents[inside]
        return tuple(GraphScope(i, scope.name, scope.detail, parents[i], pure[i]) for i, scope in enumerate(self.found))


def _simplify_scopes(
    nodes: tuple[GraphNode, ...], scopes: tuple[GraphScope, ...]
) -> tuple[tuple[GraphNode, ...], tuple[GraphScope, ...]]:
    """Drop frames that say nothing: round a single operation, or a function that is all its parent holds."""
    members: list[set[int]] = [set() for _ in scopes]
    for node in nodes:
        scope = node.scope
        while scope is not None:
            members[scope].add(node.id)
            scope = scopes[scope].parent
    dropped = set()
    for scope_ in scopes:
        inside = members[scope_.id]
        lonely = len(inside) <= 1
        repeated = scope_.parent is not None and not scope_.detail and inside == members[scope_.parent]
        if lonely or repeated:
            dropped.add(scope_.id)

    def survivor(scope: int | None) -> int | None:
        while scope is not None and scope in dropped:
            scope = scopes[scope].parent
        return scope

    number = {scope.id: i for i, scope in enumerate(s for s in scopes if s.id not in dropped)}

    def renumbered(scope: int | None) -> int | None:
        kept = survivor(scope)
        return None if kept is None else number[kept]

    new_scopes = tuple(
        replace(scope, id=number[scope.id], parent=renumbered(scope.parent))
        for scope in scopes
        if scope.id not in dropped
    )
    return tuple(replace(node, scope=renumbered(node.scope)) for node in nodes), new_scopes


# --- the kinds of edges -----------------------------------------------------------------------------------


def _statistics_path(values: list[Any], kinds: list[Kind], edges: list[tuple[int, int, int]]) -> set[int]:
    """The operations on a path through a statistic.

    A reduction starts one when its result, through operations fed only by it and constants, meets a larger
    tensor in an operation that broadcasts; a loss meets nothing. The path then takes in what is fed by it
    alone, and what feeds it alone.
    """
    into: dict[int, list[int]] = defaultdict(list)
    out: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        if kinds[source] != "constant":
            into[target].append(source)
            out[source].append(target)
    operations = [i for i, kind in enumerate(kinds) if kind == "operation"]
    path: set[int] = set()
    for start in operations:
        if values[start].node.primitive.name in REDUCTIONS and any(
            values[s].size > values[start].size for s in into[start]
        ):
            reached = _fed_only_by(start, into, out)
            if _meets_larger(reached, values, into, out):
                path |= reached
    for i in operations:
        if into[i] and all(s in path for s in into[i]):
            path.add(i)
    for i in reversed(operations):
        if out[i] and all(t in path for t in out[i]):
            path.add(i)
    return path


def _fed_only_by(start: int, into: dict[int, list[int]], out: dict[int, list[int]]) -> set[int]:
    reached = {start}
    frontier = [start]
    while frontier:
        for target in out[frontier.pop()]:
            if target not in reached and all(s in reached for s in into[target]):
                reached.add(target)
                frontier.append(target)
    return reached


def _meets_larger(reached: set[int], values: list[Any], into: dict[int, list[int]], out: dict[int, list[int]]) -> bool:
    return any(
        values[target].node.primitive.name in BROADCASTING
        and values[target].size > values[i].size
        and any(s not in reached for s in into[target])
        for i in reached
        for target in out[i]
        if target not in reached
    )


def _spine(
    root: int, kinds: list[Kind], edges: list[tuple[int, int, int]], statistics: set[int]
) -> set[tuple[int, int]]:
    """The steps of the direct path: from the result back to the data, by the longest way that meets no statistic."""
    into: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        into[target].append(source)
    depth = [-1] * len(kinds)
    for i, kind in enumerate(kinds):
        if kind == "data":
            depth[i] = 0
        elif kind == "operation":
            below = max((depth[s] for s in into[i]), default=-1)
            depth[i] = below + 1 if below >= 0 else -1
    spine: set[tuple[int, int]] = set()
    at = root
    while True:
        ahead = [s for s in into[at] if s not in statistics and kinds[s] in ("data", "operation") and depth[s] >= 0]
        if not ahead:
            return spine
        below = max(ahead, key=lambda s: (depth[s], -s))
        spine.add((below, at))
        at = below


def _from_parameters(kinds: list[Kind], edges: list[tuple[int, int, int]]) -> set[int]:
    """The parameters, and what is computed from nothing else: Wᵀ belongs to W."""
    into: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        if kinds[source] != "constant":
            into[target].append(source)
    derived = {i for i, kind in enumerate(kinds) if kind == "parameter"}
    for i, kind in enumerate(kinds):
        if kind == "operation" and into[i] and all(s in derived for s in into[i]):
            derived.add(i)
    return derived


def _edge_kind(
    source: int, target: int, kinds: list[Kind], derived: set[int], statistics: set[int], spine: set[tuple[int, int]]
) -> EdgeKind:
    if kinds[source] == "constant":
        return "constant"
    if source in derived and not (source in statistics and target in statistics):
        return "parameter"
    if source in statistics or target in statistics:
        return "statistics"
    if (source, target) in spine:
        return "direct"
    return "plain"


# --- folding ----------------------------------------------------------------------------------------------


def _fold(graph: Graph, depth: int) -> Graph:
    chains = {scope.id: graph.scope_chain(scope.id) for scope in graph.scopes}
    folded_into: dict[int, int] = {}
    for node in graph.nodes:
        chain = chains[node.scope] if node.scope is not None else []
        if len(chain) > depth:
            folded_into[node.id] = chain[depth]
    members: dict[int, list[GraphNode]] = defaultdict(list)
    for node in graph.nodes:
        if node.id in folded_into:
            members[folded_into[node.id]].append(node)
    outputs = {scope: _output_of(inside, graph) for scope, inside in members.items()}
    kept_scopes = [s for s in graph.scopes if len(chains[s.id]) <= depth]
    number = {scope.id: i for i, scope in enumerate(kept_scopes)}
    place: dict[int, int] = {}
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        scope = folded_into.get(node.id)
        if scope is None:
            place[node.id] = len(nodes)
            nodes.append(replace(node, id=len(nodes), scope=None if node.scope is None else number[node.scope]))
        elif node.id == outputs[scope].id:
            place.update({inside.id: len(nodes) for inside in members[scope]})
            parent = graph.scopes[scope].parent
            around = None if parent is None else number[parent]
            nodes.append(_card(len(nodes), graph.scopes[scope], members[scope], outputs[scope], around))
    edges, flows = _folded_edges(graph, place)
    scopes = tuple(
        replace(s, id=number[s.id], parent=None if s.parent is None else number[s.parent]) for s in kept_scopes
    )
    return Graph(tuple(nodes), edges, scopes, place[graph.root], graph.cotangent, flows)


def _output_of(inside: list[GraphNode], graph: Graph) -> GraphNode:
    """The node of a scope whose result leaves it last."""
    ids = {node.id for node in inside}
    leaving = {edge.source for edge in graph.edges if edge.source in ids and edge.target not in ids} | (
        {graph.root} & ids
    )
    return max((n for n in inside if n.id in leaving), key=lambda n: n.id, default=inside[-1])


def _card(number: int, scope: GraphScope, inside: list[GraphNode], output: GraphNode, around: int | None) -> GraphNode:
    return GraphNode(
        id=number,
        kind="module" if scope.detail else "function",
        op=scope.name,
        symbol=scope.name,
        name=output.name,
        role=scope.detail,
        shape=output.shape,
        dtype=output.dtype,
        scope=around,
        statistics=any(n.statistics for n in inside),
        parameters=tuple((n.name or "parameter", n.shape) for n in inside if n.kind == "parameter"),
        grad=output.grad,
    )


def _folded_edges(
    graph: Graph, place: dict[int, int]
) -> tuple[tuple[GraphEdge, ...], dict[tuple[int, int, int], Array]]:
    """The edges between what is left; what several of them carry to the same tensor is added up."""
    groups: dict[tuple[int, int], list[GraphEdge]] = defaultdict(list)
    for edge in graph.edges:
        source, target = place[edge.source], place[edge.target]
        if source != target:
            groups[source, target].append(edge)
    edges = []
    flows: dict[tuple[int, int, int], Array] = {}
    for (source, target), merged in groups.items():
        single = len(merged) == 1
        argument = merged[0].argument
        sums: dict[int, Array] = {}
        for edge in merged:
            flow = graph._flows.get((edge.source, edge.target, edge.argument))
            if flow is not None:
                sums[edge.source] = sums[edge.source] + flow if edge.source in sums else flow
        norms = [n for n in map(_norm, sums.values()) if n is not None]
        grad = merged[0].grad if single else (float(np.hypot.reduce(norms)) if norms else None)
        kind = min((edge.kind for edge in merged), key=("direct", "plain", "statistics", "parameter", "constant").index)
        edges.append(GraphEdge(source, target, argument, kind, grad))
        if len(sums) == 1:
            flows[source, target, argument] = next(iter(sums.values()))
    return tuple(edges), flows
