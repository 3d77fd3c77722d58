"""Pictures of a graph: SVG and PNG through a layout engine; DOT, JSON and a tree of text without one."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from microtensor.graph import Graph, auto_depth
from microtensor.viz import engine as _engine
from microtensor.viz.dot import View, to_dot
from microtensor.viz.engine import Engine, EngineError
from microtensor.viz.json import from_json, to_json
from microtensor.viz.labels import plain
from microtensor.viz.svg import Theme, finish
from microtensor.viz.tree import to_tree

Format: TypeAlias = Literal["svg", "png", "dot", "json", "tree"]

FORMATS: tuple[Format, ...] = get_args(Format)
NEEDS_ENGINE: frozenset[Format] = frozenset({"svg", "png"})
PNG_DPI = 144
PNG_LIMIT = 16_000

__all__ = ["FORMATS", "NEEDS_ENGINE", "EngineError", "from_json", "render", "to_dot", "to_json", "to_tree"]


def render(
    graph: Graph,
    format: Format,
    *,
    view: View = "forward",
    depth: int | None = None,
    theme: Theme = "auto",
    legend: bool = True,
    engine: Engine = "auto",
    ascii: bool = False,
    color: bool = False,
) -> bytes:
    """A picture of a graph, as the bytes of a file.

    Parameters
    ----------
    graph : Graph
    format : {"svg", "png", "dot", "json", "tree"}
    view : {"forward", "backward"}
    depth : int, optional
        Fold scopes nested this deep or more; unless given, a graph of over 300 nodes is folded to fewer.
    theme : {"auto", "light", "dark"}
        An SVG adapts to its reader with "auto"; all other formats take that as "light".
    legend : bool
    engine : {"auto", "embedded", "system"}
    ascii, color : bool
        For the tree.

    Raises
    ------
    EngineError
        The format needs a layout engine, and there is none or it failed.
    ValueError
        The format, view or theme is not one of the above.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor import viz
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> graph = mt.Graph.from_tensor(x.mean())
    >>> print(viz.render(graph, "tree").decode())
    mean      scalar
    x  input  (2,)
    <BLANKLINE>
    """
    if format not in FORMATS:
        raise ValueError(f"render: format {format!r} is not one of {', '.join(FORMATS)}")
    if view not in get_args(View):
        raise ValueError(f"render: view {view!r} is not one of {', '.join(get_args(View))}")
    if theme not in get_args(Theme):
        raise ValueError(f"render: theme {theme!r} is not one of {', '.join(get_args(Theme))}")
    if format == "json":
        return to_json(graph.collapsed(depth)).encode("utf-8")
    shown = graph.collapsed(auto_depth(graph) if depth is None else depth)
    if format == "tree":
        return (to_tree(shown, view=view, ascii=ascii, color=color) + "\n").encode("utf-8")
    source = to_dot(shown, view=view, theme="dark" if theme == "dark" else "light", legend=legend)
    if format == "dot":
        return source.encode("utf-8")
    if format == "png":
        return _png(source, engine)
    title, description = describe(shown, view)
    return finish(_engine.layout(source, "svg", engine), title=title, description=description, theme=theme)


def _png(source: str, engine: Engine) -> bytes:
    """A PNG at 144 dots an inch, or at fewer where a side would pass what the engine can draw."""
    raw = _engine.layout(source, "svg", engine)
    size = re.search(rb'width="(\d+)pt" height="(\d+)pt"', raw)
    side = max(int(size[1]), int(size[2])) / 72 if size else 1.0
    return _engine.layout(source, "png", engine, dpi=min(PNG_DPI, int(PNG_LIMIT / side)))


def describe(graph: Graph, view: View) -> tuple[str, str]:
    """A title and a sentence for readers who do not see the picture."""
    root = graph.nodes[graph.root]
    name = plain(root.name or root.op or "result")
    outer = [plain(scope.name) for scope in graph.scopes if scope.parent is None]
    subject = f"{name} through {', '.join(outer[:3])}" if outer else name
    title = f"Computation graph of {subject}" + (", backward" if view == "backward" else "")
    statistics = sum(node.statistics for node in graph.nodes)
    words = f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"
    if statistics:
        words += f", {statistics} of the nodes on a path through a statistic"
    if view == "backward" and graph.cotangent:
        words += f"; {graph.cotangent}"
    return title, words + "."
