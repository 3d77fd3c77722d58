"""A graph as JSON and back, schema ``microtensor.graph/1``."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from microtensor.graph import Graph

SCHEMA = "microtensor.graph/1"


def to_json(graph: Graph) -> str:
    """The graph as text with sorted keys; NaN and infinities as strings, so that every reader takes it.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.json import from_json, to_json
    >>> graph = mt.Graph.from_tensor(mt.tensor(3.0, requires_grad=True) * 2)
    >>> from_json(to_json(graph)) == graph
    True
    """
    content = {"schema": SCHEMA, **_plain(graph)}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


@functools.cache
def _types(record: type) -> dict[str, Any]:
    """The public fields of a record with their types."""
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record) if field.compare}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in _types(type(value))}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def from_json(text: str | bytes) -> Graph:
    """The graph that :func:`to_json` wrote.

    Every field is checked for its type, and every number for what it points to, since a drawing takes both for
    granted.

    Raises
    ------
    ValueError
        The text is not such a graph.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise ValueError("it names another schema, or none")
        graph: Graph = _restored(Graph, content)
        _check_links(graph)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this is not a graph of schema {SCHEMA}: {error}") from error
    return graph


def _restored(kind: Any, value: Any) -> Any:
    """A value as the type says, from what JSON has for it."""
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        types = _types(kind)  # type: ignore[arg-type]
        unknown = value.keys() - types
        if unknown:
            raise ValueError(f"a {getattr(kind, '__name__', 'record')} has no field {min(unknown)}")
        return kind(**{name: _restored(types[name], item) for name, item in value.items()})  # type: ignore[operator]
    if origin is tuple and isinstance(value, list):
        if args[-1] is Ellipsis:
            return tuple(_restored(args[0], item) for item in value)
        if len(args) == len(value):
            return tuple(map(_restored, args, value))
    if origin is UnionType:
        return None if value is None else _restored(args[0], value)
    if origin is Literal and isinstance(value, str) and value in args:
        return value
    if kind is float and isinstance(value, (int, float, str)):
        return float(value)
    if type(value) is kind:
        return value
    raise ValueError(f"{value!r:.60} stands where {getattr(kind, '__name__', kind)} is needed")


def _check_links(graph: Graph) -> None:
    nodes, scopes = len(graph.nodes), len(graph.scopes)
    ends = [graph.root, *(end for edge in graph.edges for end in (edge.source, edge.target))]
    counted = [node.id for node in graph.nodes] == [*range(nodes)] and [s.id for s in graph.scopes] == [*range(scopes)]
    inside = all(node.scope is None or 0 <= node.scope < scopes for node in graph.nodes)
    nested = all(scope.parent is None or 0 <= scope.parent < scope.id for scope in graph.scopes)
    if not (counted and inside and nested and all(0 <= end < nodes for end in ends)):
        raise ValueError("its ids do not fit together")
    for node in graph.nodes:
        for _, number in node.constants:
            float(number)
