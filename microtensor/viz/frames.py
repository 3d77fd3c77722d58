"""What stands in which frame of a picture."""

from __future__ import annotations

from collections import defaultdict

from microtensor.inspect.graph import Graph, GraphNode, GraphScope


def contents(graph: Graph) -> tuple[dict[int | None, list[GraphNode]], dict[int | None, list[GraphScope]]]:
    """The nodes and the scopes right inside each scope; None is the whole picture."""
    nodes: dict[int | None, list[GraphNode]] = defaultdict(list)
    for node in graph.nodes:
        nodes[node.scope].append(node)
    scopes: dict[int | None, list[GraphScope]] = defaultdict(list)
    for scope in graph.scopes:
        scopes[scope.parent].append(scope)
    return nodes, scopes


def first_nodes(graph: Graph) -> dict[int, int]:
    """The number of the first node inside each scope, at any depth; a scope without nodes is left out."""
    first: dict[int, int] = {}
    for node in graph.nodes:
        scope = node.scope
        while scope is not None and scope not in first:
            first[scope] = node.id
            scope = graph.scopes[scope].parent
    return first
