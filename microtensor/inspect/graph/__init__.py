"""A tensor's history as an immutable graph of plain data: nodes, edges, scopes, with gradients on every edge.

Ids are small integers in the order of the program, so the same program gives the same graph. The kind of an edge is
found here for every picture: the direct path, a path through a statistic, a parameter, a constant.
"""

from microtensor.inspect.graph.compare import compare
from microtensor.inspect.graph.folding import auto_depth
from microtensor.inspect.graph.model import EdgeKind, Graph, GraphEdge, GraphNode, GraphScope, Kind, Mark, Values
from microtensor.inspect.graph.reading import Reader, read_failure, size

__all__ = [
    "EdgeKind",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "GraphScope",
    "Kind",
    "Mark",
    "Reader",
    "Values",
    "auto_depth",
    "compare",
    "read_failure",
    "size",
]
