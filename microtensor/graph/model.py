"""Where pickles written by earlier versions look for the classes of a graph."""

from microtensor.inspect.graph.model import Graph, GraphEdge, GraphNode, GraphScope

__all__ = ["Graph", "GraphEdge", "GraphNode", "GraphScope"]
