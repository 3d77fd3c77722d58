"""A graph as JSON and back, schema ``microtensor.graph/1``."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from microtensor.graph import Graph, GraphEdge, GraphNode, GraphScope

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
    content = {
        "schema": SCHEMA,
        "root": graph.root,
        "cotangent": graph.cotangent,
        "nodes": [_plain(dataclasses.asdict(node)) for node in graph.nodes],
        "edges": [_plain(dataclasses.asdict(edge)) for edge in graph.edges],
        "scopes": [_plain(dataclasses.asdict(scope)) for scope in graph.scopes],
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    grad = record.get("grad")
    if isinstance(grad, float) and not math.isfinite(grad):
        record["grad"] = "NaN" if math.isnan(grad) else "Infinity"
    return record


def from_json(text: str) -> Graph:
    """The graph that :func:`to_json` wrote.

    Raises
    ------
    ValueError
        The text is not such a graph.
    """
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r} is not {SCHEMA!r}")
        graph = Graph(
            tuple(GraphNode(**_restored(record)) for record in content["nodes"]),
            tuple(GraphEdge(**_restored(record)) for record in content["edges"]),
            tuple(GraphScope(**record) for record in content["scopes"]),
            content["root"],
            content["cotangent"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not a graph of schema {SCHEMA}: {error}") from error
    ends = {graph.root} | {end for edge in graph.edges for end in (edge.source, edge.target)}
    if not ends <= set(range(len(graph.nodes))) or [n.id for n in graph.nodes] != list(range(len(graph.nodes))):
        raise ValueError(f"this is not a graph of schema {SCHEMA}: its ids do not fit together")
    return graph


def _restored(record: dict[str, Any]) -> dict[str, Any]:
    restored = {key: _tuples(value) for key, value in record.items()}
    if isinstance(restored.get("grad"), str):
        restored["grad"] = float(restored["grad"])
    return restored


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
