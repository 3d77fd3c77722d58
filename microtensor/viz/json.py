"""A graph as JSON and back, schema ``microtensor.graph/1``."""

from __future__ import annotations

import dataclasses
import functools
import json
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from microtensor.inspect.graph import Graph, GraphNode
from microtensor.inspect.records import json_text, plain
from microtensor.text import LINE, safe_text

SCHEMA = "microtensor.graph/1"
LETTERS = ("gradient", "result", "first input", "second input", "third input")
# What an integer and a shape of NumPy can be.
LARGEST, MOST_AXES = 2**63, 64


def to_json(graph: Graph) -> str:
    """The graph as text with sorted keys. NaN and infinities are strings, so that every JSON reader accepts it.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.json import from_json, to_json
    >>> graph = mt.Graph.from_tensor(mt.tensor(3.0, requires_grad=True) * 2)
    >>> from_json(to_json(graph)) == graph
    True
    """
    return json_text({"schema": SCHEMA, **plain(graph)})


@functools.cache
def _fields(record: type) -> tuple[dict[str, Any], list[str]]:
    """The types of the public fields of a record, and the names of those without a default."""
    hints, missing = get_type_hints(record), dataclasses.MISSING
    public = [field for field in dataclasses.fields(record) if field.compare]
    needed = [field.name for field in public if field.default is missing and field.default_factory is missing]
    return {field.name: hints[field.name] for field in public}, needed


def from_json(text: str | bytes) -> Graph:
    """The graph that :func:`to_json` wrote.

    The type of every field and the range of every number are checked. If a number refers to a node or a scope, this
    must exist. So the graph can be drawn.

    Raises
    ------
    ValueError
        The text is not such a graph.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise ValueError("it must name this schema")
        graph: Graph = _restored(Graph, content)
        _check_links(graph)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"this is not a graph of schema {SCHEMA}: {safe_text(str(error), LINE)}") from error
    return graph


def _restored(kind: Any, value: Any) -> Any:
    """A value of the type, from its JSON."""
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        types, needed = _fields(kind)  # type: ignore[arg-type]
        name = getattr(kind, "__name__", "record")
        if unknown := value.keys() - types:
            raise ValueError(f"a {name} has no field {min(unknown)}")
        if missing := [field for field in needed if field not in value]:
            raise ValueError(f"a {name} needs the field {missing[0]}")
        return kind(**{field: _restored(types[field], item) for field, item in value.items()})  # type: ignore[operator]
    if origin is tuple and isinstance(value, list):
        if args[-1] is Ellipsis:
            return tuple(_restored(args[0], item) for item in value)
        if len(args) == len(value):
            return tuple(map(_restored, args, value))
    if origin is UnionType:
        return None if value is None else _restored(args[0], value)
    if origin is Literal and isinstance(value, str) and value in args:
        return value
    if kind is float and (type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")):
        return float(value)
    if type(value) is kind and (kind is not int or abs(value) < LARGEST):
        return value
    raise ValueError(f"{value!r:.60} must be of type {getattr(kind, '__name__', kind)}")


def _check_links(graph: Graph) -> None:
    nodes, scopes = len(graph.nodes), len(graph.scopes)
    if len(graph.letters) != len(LETTERS):
        raise ValueError(f"letters must be {len(LETTERS)} texts")
    ends = [graph.root, *(end for edge in graph.edges for end in (edge.source, edge.target))]
    counted = [node.id for node in graph.nodes] == [*range(nodes)] and [s.id for s in graph.scopes] == [*range(scopes)]
    inside = all(node.scope is None or 0 <= node.scope < scopes for node in graph.nodes)
    nested = all(scope.parent is None or 0 <= scope.parent < scope.id for scope in graph.scopes)
    if not (counted and inside and nested and all(0 <= end < nodes for end in ends)):
        raise ValueError("its ids do not fit together")
    if len({(edge.source, edge.target, edge.argument) for edge in graph.edges}) < len(graph.edges):
        raise ValueError("an edge is there twice")
    for edge in graph.edges:
        # Only a folded scope may read what comes after it: its first result may be used before its last is made.
        folded = {graph.nodes[edge.source].kind, graph.nodes[edge.target].kind} & {"function", "module"}
        if edge.argument < 0 or edge.source == edge.target or (edge.source > edge.target and not folded):
            raise ValueError(
                f"the edge from {edge.source} to {edge.target} must lead from an earlier node to a later one"
            )
    for node in graph.nodes:
        _check_node(node)


def _check_node(node: GraphNode) -> None:
    """Raise for numbers of a node that cannot be drawn."""
    shapes = [node.shape, *(shape for _, shape in node.parameters)]
    if any(len(shape) > MOST_AXES or min(shape, default=0) < 0 for shape in shapes):
        raise ValueError(f"node {node.id} has a shape that no array can have")
    widths = {len(row) for row in node.table}
    if len(node.stats) not in (0, 4) or len(widths) > 1 or 0 in widths:
        raise ValueError(f"node {node.id} has statistics or a table that no array can have")
    if node.repeats < 1 or any(argument < 0 for argument, _ in node.constants):
        raise ValueError(f"node {node.id} has a number below the smallest allowed one")
    for _, number in node.constants:
        float(number)
