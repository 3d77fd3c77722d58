"""Pictures of a graph: SVG, PNG, PDF and a page through a layout engine; DOT, Mermaid, JSON and text without one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from microtensor.inspect.graph import Graph, Values, auto_depth
from microtensor.text import LINE, safe_text
from microtensor.viz.dot import NO_ROOM, to_dot
from microtensor.viz.engine import Engine, EngineError
from microtensor.viz.json import from_json, to_json
from microtensor.viz.labels import View
from microtensor.viz.layout import SMALL, Direction, Layout
from microtensor.viz.legend import NOT_SEARCHED
from microtensor.viz.mermaid import refusal, to_mermaid
from microtensor.viz.notation import Notation, written
from microtensor.viz.pdf import to_pdf
from microtensor.viz.picture import to_picture
from microtensor.viz.slide import readable
from microtensor.viz.story import ledger_of, pythagoras
from microtensor.viz.svg import Theme
from microtensor.viz.theme import ThemeName
from microtensor.viz.tree import to_tree

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

Format: TypeAlias = Literal["svg", "png", "pdf", "html", "dot", "mermaid", "json", "tree"]

FORMATS: tuple[Format, ...] = get_args(Format)
NEEDS_ENGINE: frozenset[Format] = frozenset({"svg", "png", "pdf", "html"})
AUTO_NODES = 300

__all__ = [
    "FORMATS",
    "NEEDS_ENGINE",
    "EngineError",
    "folded",
    "from_json",
    "render",
    "shows_gradients",
    "to_dot",
    "to_json",
    "to_mermaid",
    "to_pdf",
    "to_tree",
]


def render(
    graph: Graph,
    format: Format,
    *,
    view: View = "forward",
    depth: int | None = None,
    collapse: Iterable[str] = (),
    expand: Iterable[str] = (),
    repeats: bool = True,
    values: Values = "none",
    theme: Theme = "auto",
    legend: bool = True,
    engine: Engine = "auto",
    direction: Direction | None = None,
    slide: bool = False,
    font_size: float = SMALL,
    notation: Notation = "code",
    ascii: bool = False,
    color: bool = False,
    lines: bool = False,
    output: Tensor | None = None,
) -> bytes:
    """A picture of a graph, as the bytes of a file.

    Parameters
    ----------
    graph : Graph
    format : {"svg", "png", "pdf", "html", "dot", "mermaid", "json", "tree"}
        A PNG has the letters of the engine's own font; a PDF has those of DejaVu Sans, as outlines. ¿ stands for
        others.
    view : {"forward", "backward", "combined"}
    depth : int, optional
        Fold scopes nested this deep or deeper. Default: a graph of over 300 nodes is folded to fewer.
    collapse, expand : iterable of str
        Names of scopes to fold, and names of scopes to keep open. See :meth:`Graph.collapsed`.
    repeats : bool
        Whether neighbouring folded blocks of the same structure share a node.
    values : {"none", "stats", "full"}
        Which numbers to show. The graph must have been read with them, see :meth:`Graph.from_tensor`.
    theme : {"auto", "light", "dark"}
        With "auto", an SVG and a page adapt to the reader's theme. In all other formats "auto" means "light".
    legend : bool
        Whether to explain signs and colours below the picture.
    engine : {"auto", "embedded", "system"}
        Which layout engine to use.
    direction : {"tb", "lr"}, optional
        From top to bottom, or from left to right. Default: "tb", on a slide "lr". A page is drawn from top to bottom.
    slide : bool
        Whether the picture is for a slide of 16:9. Then nodes are narrow, and the graph is folded until its text has 10
        points there. For SVG, PNG, PDF and DOT.
    font_size : float
        The size of the small text in points; the rest grows with it. For SVG, PNG, PDF and DOT.
    notation : {"code", "greek", "book"}
        "code" keeps the names of the program. "greek" writes gamma as γ and x_hat as x̂. "book" has Greek letters too,
        and the input of a norm is H instead of x, its standardized value is H′, as in *Deep Learning*. JSON keeps the
        names of the program.
    ascii, color, lines : bool
        For the tree; see :func:`to_tree`.
    output : Tensor, optional
        The tensor that the graph was read from. A page needs it to show values. With it, a backward picture of one norm
        says how direct² is made of what the norm takes out and the rest.

    Raises
    ------
    EngineError
        The format needs a layout engine and there is none, the engine failed, or the picture is too large for a PNG.
    ValueError
        The format, view, values, theme, direction or notation is not one of the above, or no scope has a name that was
        given. Or the size of the text is not between 4 and 72.

    Warns
    -----
    UserWarning
        A PNG is drawn with fewer dots per inch, so that it fits. Or letters are missing in the font of a PNG or PDF.
        Or the graph was folded for a slide. Or GitHub refuses to draw a Mermaid chart, because it is too large.

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
    for what, word, known in (
        ("format", format, FORMATS),
        ("view", view, get_args(View)),
        ("values", values, get_args(Values)),
        ("theme", theme, get_args(Theme)),
        ("direction", direction, (*get_args(Direction), None)),
        ("notation", notation, get_args(Notation)),
    ):
        if word not in known:
            raise ValueError(f"render: {what} must be one of {', '.join(filter(None, known))}, not {word!r}")
    if not 4 <= font_size <= 72:
        raise ValueError(f"render: font_size must be between 4 and 72 points, not {font_size!r}")
    if format != "json":
        graph = written(graph, notation)
    if format == "html":
        from microtensor.viz.page import to_html

        title, description = describe(graph, view)
        return to_html(
            graph, output=output, title=title, description=description, depth=depth, theme=theme, legend=legend,
            engine=engine,
        )  # fmt: skip
    folding: dict[str, Any] = {"collapse": tuple(collapse), "expand": tuple(expand), "repeats": repeats}
    if format == "json":
        return to_json(graph.collapsed(depth, **folding)).encode("utf-8")
    if format == "tree":
        shown = folded(graph, depth, **folding)
        text = to_tree(shown, view=view, ascii=ascii, color=color, values=values, lines=lines)
        return (text + "\n").encode("utf-8")
    if format == "mermaid":
        shown = folded(graph, depth, **folding)
        chart = to_mermaid(shown, view=view, values=values, direction=direction)
        if refused := refusal(shown, chart):
            warnings.warn(refused, stacklevel=2)
        return chart.encode("utf-8")
    ledger = ledger_of(output, len(graph.nodes)) if view == "backward" and output is not None else None
    told = pythagoras(ledger) if ledger is not None else ""
    layout = Layout(direction or ("lr" if slide else "tb"), slide, font_size)

    def draw(shown: Graph, room: Mapping[str, int] = NO_ROOM) -> str:
        shade: ThemeName = "dark" if theme == "dark" else "light"
        return to_dot(shown, view=view, theme=shade, legend=legend, values=values, layout=layout, room=room, told=told)

    def fold(depth: int | None) -> Graph:
        return folded(graph, depth, **folding)

    shown = readable(graph, depth, fold, draw, layout, engine) if slide else fold(depth)
    title, description = describe(shown, view)
    return to_picture(partial(draw, shown), format, title=title, description=description, theme=theme, engine=engine)


def shows_gradients(format: str, view: str) -> bool:
    """Whether a picture shows gradients. If so, its graph must be read with them.

    Examples
    --------
    >>> from microtensor import viz
    >>> viz.shows_gradients("svg", "forward"), viz.shows_gradients("svg", "backward")
    (False, True)
    """
    return view != "forward" or format in ("json", "html")


def folded(
    graph: Graph,
    depth: int | None = None,
    *,
    collapse: Iterable[str] = (),
    expand: Iterable[str] = (),
    repeats: bool = True,
) -> Graph:
    """The graph as it is drawn: folded as asked. Without a depth, it is folded to at most 300 nodes where possible.

    Examples
    --------
    >>> from microtensor import Graph, demos, viz
    >>> [len(viz.folded(Graph.from_tensor(demos.mlp()), depth).nodes) for depth in (0, 1)]
    [4, 9]
    """
    names = {"collapse": tuple(collapse), "expand": tuple(expand)}
    if depth is None:
        asked = graph.collapsed(None, **names, repeats=repeats)
        if len(asked.nodes) <= AUTO_NODES:
            return asked
        depth = auto_depth(graph, AUTO_NODES)
    return graph.collapsed(depth, **names, repeats=repeats)


def describe(graph: Graph, view: View) -> tuple[str, str]:
    """A title and a sentence for readers who do not see the picture."""
    root = graph.nodes[graph.root]
    name = safe_text(root.name or root.op or "result")
    outer = [safe_text(scope.name) for scope in graph.scopes if scope.parent is None]
    subject = f"{name} through {', '.join(outer[:3])}" if outer else name
    direction = {"forward": "", "backward": ", backward", "combined": ", forward and backward"}[view]
    title = f"Computation graph of {subject}" + direction
    if graph.compared:
        title = f"What differs between {' and '.join(map(safe_text, graph.compared))}: {subject}"
    statistics = sum(node.statistics for node in graph.nodes)
    words = f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"
    if statistics:
        words += f", {statistics} of the nodes on a path through a statistic"
    if not graph.searched:
        words += f"; {NOT_SEARCHED}"
    for mark, who in zip(("first", "second"), graph.compared, strict=False):
        words += f", {sum(node.mark == mark for node in graph.nodes)} only in {safe_text(who)}"
    if view != "forward" and graph.cotangent:
        words += f"; {safe_text(graph.cotangent, LINE)}"
    failed = next((node for node in graph.nodes if node.mark == "failed"), None)
    if failed is not None:
        words += f"; {safe_text(failed.symbol or failed.op)} raised {safe_text(failed.note, 200)}"
    return title, words + "."
