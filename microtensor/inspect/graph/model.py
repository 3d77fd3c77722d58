"""A graph as plain, immutable data: nodes, edges, scopes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from microtensor.core.primitive import TensorBase
from microtensor.showing import shown
from microtensor.support.arrays import Array

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

Kind: TypeAlias = Literal["data", "parameter", "constant", "operation", "function", "module"]
EdgeKind: TypeAlias = Literal["direct", "statistics", "parameter", "constant", "plain"]
Mark: TypeAlias = Literal["", "first", "second", "changed", "failed"]
Values: TypeAlias = Literal["none", "stats", "full"]


@dataclass(frozen=True)
class GraphNode:
    """An operation with its result, a leaf, or a folded scope.

    Attributes
    ----------
    id : int
        The position in the program.
    kind : str
        "data", "parameter", "constant" or "operation". "function" and "module" are folded scopes.
    op : str
        The name of the primitive or of the folded scope; empty for a leaf.
    symbol : str
        The text that is drawn for the operation.
    name : str
        The name of the result, from the user or the library; may be empty.
    role : str
        For a leaf "input", "labels", "indices", "constant", "detached", "unrecorded" or "cotangent". For a folded
        module its description.
    shape : tuple of int
    dtype : str
    scope : int or None
        The innermost scope around it.
    statistics : bool
        Whether it is on a path through a statistic. For a folded scope: whether an operation inside is on such a path.
    rules : tuple of str
        What the operation adds to the gradient of each argument, as a formula; empty for constants.
    over : str
        What a sum, mean, maximum, minimum or product goes over, such as ``over axis 0``.
    constants : tuple
        (argument, text) for each single number that the operation reads.
    parameters : tuple
        (name, shape) for each parameter inside a folded scope.
    grad : float or None
        The gradient of the result: a single number with its sign, the norm of an array. None when it was not computed.
    stats : tuple of float
        Minimum, mean, maximum and standard deviation of the result; empty when they were not read.
    table : tuple of tuple of float
        The rows of a result of at most 4×4; empty when they were not read.
    line : str
        The line of the program that made the call, as in ``train.py:12 in forward``; empty when it was not recorded.
    repeats : int
        The number of scopes with the same structure that this node stands for.
    mark : str
        "first" or "second" when only this one of two compared graphs has the node. "changed" when it differs between
        them. "failed" for the operation that raised an error.
    note : str
        An explanation of the mark.
    unrecorded : bool
        Whether an operation is in the picture only, because the engine has no record of it. For a folded scope: whether
        this is so of all operations inside.
    owner : str
        The names of the module that a parameter belongs to and of those around it, as in ``model.enc``; else empty.
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
    unrecorded: bool = False
    owner: str = ""
    over: str = ""


@dataclass(frozen=True)
class GraphEdge:
    """A tensor that enters an operation.

    Attributes
    ----------
    source, target, argument : int
    kind : str
    grad : float or None
        The gradient along it: a single number with its sign, the norm of an array.
    mark : str
        As for a node.
    other : str
        What it carries, when this is not the result that its source shows: the name of the other result, or else the
        symbol of its operation. A folded scope may hand on several results.
    """

    source: int
    target: int
    argument: int
    kind: EdgeKind
    grad: float | None = None
    mark: Mark = ""
    other: str = ""

    @property
    def key(self) -> tuple[int, int, int]:
        """Source, target and argument."""
        return self.source, self.target, self.argument


@dataclass(frozen=True)
class GraphScope:
    """A named frame. ``statistics`` is True when all operations inside are on a path through a statistic."""

    id: int
    name: str
    detail: str
    parent: int | None
    statistics: bool


class _OfTensor(type):
    """Makes ``Graph(y)`` read the graph of a tensor."""

    def __call__(cls, *parts: Any, **options: Any) -> Any:
        if parts and isinstance(parts[0], TensorBase):
            return Graph.from_tensor(*parts, **options)
        return super().__call__(*parts, **options)


@dataclass(frozen=True)
class Graph(metaclass=_OfTensor):
    """The history of a tensor, to be drawn, printed, compared or stored: ``mt.Graph(y)``.

    The options are those of :meth:`from_tensor`.

    Attributes
    ----------
    nodes, edges, scopes : tuple
    root : int
        The id of the result.
    cotangent : str
        A description of the gradients; empty if there are none.
    compared : tuple of str
        The names of the two graphs that were compared; empty for the graph of one tensor.
    searched : bool
        Whether all of it was searched for norms. A very large graph is not: in it, only statistics of the library's
        norms are found.
    letters : tuple of str
        What stands in `rules` for the gradient that arrives, for the result, and for the first, second and third input
        without a name. No variable has such a name.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([3.0], requires_grad=True, name="x")
    >>> graph = mt.Graph(x * x + 1)
    >>> [node.symbol or node.name for node in graph.nodes]
    ['x', '×', '+']
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    scopes: tuple[GraphScope, ...]
    root: int
    cotangent: str = ""
    compared: tuple[str, ...] = ()
    searched: bool = True
    letters: tuple[str, ...] = ("g", "y", "a", "b", "c")
    _flows: Mapping[tuple[int, int, int], Array] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_tensor(cls, tensor: Tensor, *, gradients: bool = True, values: Values = "none") -> Graph:
        """Read the graph of a tensor.

        The gradients are those of the last backward pass of the tensor, if it was kept. Otherwise they are computed
        here, with cotangent 1 for a single number and with a fixed random cotangent for anything else. A graph that
        cannot be differentiated any more is read without gradients.

        Parameters
        ----------
        tensor : Tensor
        gradients : bool
            Whether to put gradients on the edges.
        values : {"none", "stats", "full"}
            "stats" reads minimum, mean, maximum and standard deviation of every result. "full" reads the numbers of
            results of at most 4×4 too.

        Raises
        ------
        TypeError
            `tensor` is not a tensor.
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
        """How deep each scope is nested; 0 is outermost."""
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

        Three or more folded scopes with the same structure, one after the other, share a node. Calls of the same module
        share one only when there are ten or more, because each of them adds to the gradients of its parameters.

        Parameters
        ----------
        depth : int, optional
            Fold the scopes that are nested this deep or more; default: fold no scope because of its depth.
        collapse, expand : iterable of str
            The names of scopes to fold, and of scopes to keep open. Scopes around and inside an open one stay open
            too, whatever `depth` is. A name is the end of a dotted path or a pattern such as ``block*``.
        repeats : bool
            Whether equal neighbours share a node.

        Raises
        ------
        ValueError
            The depth is negative, or no scope has one of the names.

        Examples
        --------
        >>> from microtensor import Graph, demos
        >>> graph = Graph.from_tensor(demos.mlp())
        >>> [node.op for node in graph.collapsed(1).nodes if node.kind == "module"]
        ['block1', 'block2', 'head']
        """
        from microtensor.inspect.graph.folding import fold

        if depth is not None and depth < 0:
            raise ValueError(f"collapsed: depth is {depth}; it must be 0 or more")
        return fold(self, depth, tuple(collapse), tuple(expand), repeats)
