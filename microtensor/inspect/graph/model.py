"""A graph as plain, immutable data: nodes, edges, scopes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from microtensor.support.arrays import Array
from microtensor.support.showing import shown

if TYPE_CHECKING:
    from microtensor.tensor import Tensor

Kind: TypeAlias = Literal["data", "parameter", "constant", "operation", "function", "module"]
EdgeKind: TypeAlias = Literal["direct", "statistics", "parameter", "constant", "plain"]
Mark: TypeAlias = Literal["", "first", "second", "changed", "failed"]
Values: TypeAlias = Literal["none", "stats", "full"]


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
    stats : tuple of float
        Minimum, mean, maximum and standard deviation of the result; empty when they were not read.
    table : tuple of tuple of float
        The rows of a result of at most 4×4; empty when they were not read.
    line : str
        Where the program made the call, ``train.py:12 in forward``; empty when that was not recorded.
    repeats : int
        How many blocks of the same structure stand on this card.
    mark : str
        "first" and "second": it is in one of two compared graphs alone; "changed": not the same in both;
        "failed": the operation that raised.
    note : str
        What the mark says in words.
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
    stats: tuple[float, ...] = ()
    table: tuple[tuple[float, ...], ...] = ()
    line: str = ""
    repeats: int = 1
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True)
class GraphEdge:
    """A tensor entering an operation; ``grad`` is the norm of what comes back along it, ``mark`` as of a node."""

    source: int
    target: int
    argument: int
    kind: EdgeKind
    grad: float | None = None
    mark: Mark = ""

    @property
    def key(self) -> tuple[int, int, int]:
        """Source, target and argument."""
        return self.source, self.target, self.argument


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
    compared : tuple of str
        What the two graphs are called that this one was made of; empty for a graph of one tensor.

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
    compared: tuple[str, ...] = ()
    _flows: Mapping[tuple[int, int, int], Array] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_tensor(cls, tensor: Tensor, *, gradients: bool = True, values: Values = "none") -> Graph:
        """Read the graph of a tensor.

        The gradients are those of the backward pass that the tensor has been through, where that was kept;
        otherwise they are computed here, for a scalar with cotangent 1 and for anything else with a fixed
        random one. A graph that cannot be differentiated any more is read without.

        Parameters
        ----------
        tensor : Tensor
        gradients : bool
            Whether to put gradients on the edges.
        values : {"none", "stats", "full"}
            Whether to read minimum, mean, maximum and standard deviation of every result, and with "full" the
            numbers themselves where they are at most 4×4.

        Raises
        ------
        TypeError
            This is not a tensor.
        """
        from microtensor.inspect.graph.reading import read

        return read(tensor, gradients, values)

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

    def scope_levels(self) -> list[int]:
        """How deep each scope is nested; 0 is outermost. A scope stands after the one around it."""
        levels: list[int] = []
        for scope in self.scopes:
            levels.append(0 if scope.parent is None else levels[scope.parent] + 1)
        return levels

    def scope_path(self, scope: int | None) -> str:
        """The names from the outermost scope to this one, joined by dots."""
        return ".".join(self.scopes[i].name for i in self.scope_chain(scope))

    def __str__(self) -> str:
        text: str = shown("text", self)
        return text

    def show(
        self,
        *,
        view: Literal["forward", "backward", "combined"] = "forward",
        depth: int | None = None,
        interactive: bool = False,
    ) -> None:
        """Show the graph in a notebook, or print it as a tree; see :func:`microtensor.show`."""
        shown("show", self, view=view, depth=depth, interactive=interactive)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = shown("mimebundle", self, include, exclude)
        return bundle

    def collapsed(
        self,
        depth: int | None = None,
        *,
        collapse: Iterable[str] = (),
        expand: Iterable[str] = (),
        repeats: bool = True,
    ) -> Graph:
        """The same graph with scopes folded into one node each.

        Folded scopes of the same structure, three or more of them one after the other, share a node.

        Parameters
        ----------
        depth : int, optional
            Fold scopes nested this deep or more; None folds none of them for that.
        collapse, expand : iterable of str
            Names of scopes to fold, and of scopes to keep open with all around and inside them, whatever
            `depth` says. A name is the scope's own, the end of its dotted path, or a pattern such as ``block*``.
        repeats : bool
            Whether equal neighbours share a node.

        Raises
        ------
        ValueError
            The depth is negative, or no scope has such a name.

        Examples
        --------
        >>> from microtensor import Graph, demos
        >>> graph = Graph.from_tensor(demos.mlp())
        >>> [node.op for node in graph.collapsed(1).nodes if node.kind == "module"]
        ['block1', 'block2', 'head']
        """
        from microtensor.inspect.graph.folding import fold

        if depth is not None and depth < 0:
            raise ValueError(f"collapsed: depth is {depth}; 0 or more is needed")
        return fold(self, depth, tuple(collapse), tuple(expand), repeats)
