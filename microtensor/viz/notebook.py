"""What a notebook displays: a picture of a graph or a tree of modules, and always text."""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from microtensor import viz
from microtensor.core.tensor import Tensor
from microtensor.inspect.graph import Graph, Values, auto_depth
from microtensor.inspect.ledger import paths
from microtensor.viz import engine as _engine
from microtensor.viz import modules
from microtensor.viz.dot import PLAIN, View, to_dot
from microtensor.viz.engine import EngineError
from microtensor.viz.layout import Direction, Layout
from microtensor.viz.letters import drawable
from microtensor.viz.notation import Notation, written
from microtensor.viz.paths import render_paths
from microtensor.viz.picture import settled
from microtensor.viz.svg import finish
from microtensor.viz.tree import to_tree

if TYPE_CHECKING:
    from microtensor.nn import Module

Bundle: TypeAlias = dict[str, str]

# A tensor at the end of a cell is only glanced at. Above these sizes, a line says how to see more.
GLANCE_NODES, COUNTED, ROWS = 16, 2000, 80
GLANCE_SECONDS = 10.0
SCREEN_DPI = 96
TEXT, SVG, PNG, HTML = "text/plain", "image/svg+xml", "image/png", "text/html"
# A picture as an image keeps to itself, and a notebook that nobody has trusted yet shows it too.
VALUE = '<pre style="margin:0 0 8px">{text}</pre><img alt="{title}" src="data:image/svg+xml;base64,{svg}"/>'
FRAME = (
    '<iframe sandbox="allow-scripts" title="{title}" srcdoc="{page}" '
    'style="width:100%;height:720px;border:0;border-radius:8px"></iframe>'
)


def mimebundle(
    shown: Tensor | Graph | Module, include: Collection[str] | None = None, exclude: Collection[str] | None = None
) -> Bundle:
    """What ``_repr_mimebundle_`` returns: text, and a picture where there is one. It never raises.

    A leaf is shown as text. A tensor with a history has its graph below its value, folded to at most 16 nodes; a larger
    graph is left out. A graph is drawn whole, but folded above 300 nodes. A module is shown as a tree with the numbers
    of its parameters. A picture is there as SVG and as PNG: a notebook that nobody has trusted yet shows no SVG.

    Parameters
    ----------
    shown : Tensor, Graph or Module
    include, exclude : collection of str, optional
        MIME types, as IPython passes them.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.notebook import mimebundle
    >>> mimebundle(mt.tensor([1.0, 2.0]))
    {'text/plain': 'tensor([1., 2.])'}
    """

    def wanted(kind: str) -> bool:
        return (include is None or kind in include) and (exclude is None or kind not in exclude)

    try:
        pictures = not _is_terminal() and any(map(wanted, (SVG, PNG, HTML)))
        if isinstance(shown, Tensor):
            bundle = _tensor(shown, pictures)
        elif isinstance(shown, Graph):
            bundle = _folded(shown, "forward", None, pictures)
        else:
            bundle = _module(shown)
    except Exception:  # a traceback of ours in place of a value would help nobody
        bundle = {TEXT: _plain(shown)}
    return {kind: value for kind, value in bundle.items() if wanted(kind)}


def show(
    shown: Tensor | Graph | Module,
    *,
    view: View | Literal["paths"] = "forward",
    depth: int | None = None,
    interactive: bool = False,
    direction: Direction = "tb",
    notation: Notation = "code",
) -> None:
    """See :func:`microtensor.display.show`."""
    views = (*get_args(View), "paths")
    if view not in views:
        raise ValueError(f"show: view must be one of {', '.join(views)}, not {view!r}")
    for what, word, known in (
        ("direction", direction, get_args(Direction)),
        ("notation", notation, get_args(Notation)),
    ):
        if word not in known:
            raise ValueError(f"show: {what} must be one of {', '.join(known)}, not {word!r}")
    if view == "paths":
        bundle = _paths(shown)
    elif isinstance(shown, (Tensor, Graph)):
        bundle = _shown_graph(shown, view, depth, interactive, Layout(direction), notation)
    elif hasattr(shown, "named_modules"):
        bundle = _module(shown)
    else:
        raise TypeError(f"show: the argument must be a tensor, a graph or a module, not a {type(shown).__name__}")
    if _in_notebook():
        sys.modules["IPython"].display.display(bundle, raw=True)
    else:
        _write(bundle[TEXT])


def _write(text: str) -> None:
    """Print. A sign that the encoding lacks is written as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _shell() -> Any:
    """IPython's shell, if this runs in one."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _in_notebook() -> bool:
    return hasattr(_shell(), "kernel")


def _is_terminal() -> bool:
    """Whether this is IPython in a terminal. It asks for pictures that it cannot show."""
    return _shell() is not None and not _in_notebook()


def _plain(shown: object) -> str:
    try:
        return repr(shown)
    except Exception:
        return object.__repr__(shown)


# --- tensors and graphs ---------------------------------------------------------------------------------------


def _tensor(tensor: Tensor, picture: bool) -> Bundle:
    text = repr(tensor)
    if tensor.is_leaf or not picture:
        return {TEXT: text}
    if _is_large(tensor):
        return {
            TEXT: f"{text}\nIts graph has more than {COUNTED} operations; mt.show(tensor, depth=1) draws it folded."
        }
    graph = Graph.from_tensor(tensor, gradients=False)
    folded = graph.collapsed(auto_depth(graph, GLANCE_NODES))
    if len(folded.nodes) > GLANCE_NODES:
        return {TEXT: f"{text}\nIts graph has {len(graph.nodes)} nodes; mt.show(tensor) draws it."}
    pictures = _pictures(folded, "forward")
    svg = base64.b64encode(pictures[SVG].encode()).decode()
    title = html.escape(viz.describe(folded, "forward")[0])
    return {TEXT: text, HTML: VALUE.format(text=html.escape(text), title=title, svg=svg), **pictures}


def _paths(tensor: object) -> Bundle:
    """The table of the paths, and in a notebook their picture. Where there is no picture, a line says why."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"show: view 'paths' needs a tensor, not a {type(tensor).__name__}")
    ledger = paths(tensor)
    bundle = {TEXT: str(ledger)}
    if _in_notebook():
        try:
            bundle[SVG] = render_paths(ledger, "svg").decode("utf-8")
            bundle[PNG] = base64.b64encode(render_paths(ledger, "png")).decode()
        except EngineError as error:
            bundle[TEXT] += f"\nNo picture: {error}."
    return bundle


def _is_large(tensor: Tensor) -> bool:
    seen = {id(tensor)}
    stack = [tensor]
    while stack and len(seen) <= COUNTED:
        node = stack.pop().node
        for x in node.inputs if node is not None else ():
            if isinstance(x, Tensor) and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    return len(seen) > COUNTED


def _shown_graph(
    shown: Tensor | Graph, view: View, depth: int | None, interactive: bool, layout: Layout, notation: Notation
) -> Bundle:
    picture, output = _in_notebook(), None
    if isinstance(shown, Tensor):
        output = shown
        gradients = viz.shows_gradients("html" if interactive and picture else "svg", view)
        values: Values = "stats" if view == "combined" else "none"
        shown = Graph.from_tensor(shown, gradients=gradients, values=values)
    shown = written(shown, notation)
    if interactive and picture:
        return _page(shown, output)
    bundle = _folded(shown, view, depth, picture, layout)
    if interactive:
        bundle[TEXT] += "\nThe interactive page needs a notebook, or a file: microtensor viz TARGET -o page.html"
    return bundle


def _folded(graph: Graph, view: View, depth: int | None, picture: bool, layout: Layout = PLAIN) -> Bundle:
    """The tree, shortened where it is long, and the picture. Where there is no picture, a line says why."""
    folded = viz.folded(graph, depth)
    lines = to_tree(folded, view=view).split("\n")
    if len(lines) > ROWS:
        lines[ROWS:] = [f"… {len(lines) - ROWS} more rows"]
    text = "\n".join(lines)
    if not picture:
        return {TEXT: text}
    if len(folded.nodes) > COUNTED:
        many = f"{len(folded.nodes)} nodes, folded as far as the scopes allow, are too many to draw"
        return {TEXT: f"{text}\n{many}; name parts with mt.name_scope, or pass a smaller depth."}
    try:
        return {TEXT: text, **_pictures(folded, view, layout)}
    except EngineError as error:
        return {TEXT: f"{text}\nNo picture: {error}."}


def _pictures(graph: Graph, view: View, layout: Layout = PLAIN) -> Bundle:
    """The picture as SVG, and as PNG for where an SVG is not shown."""

    def draw(room: Mapping[str, int]) -> str:
        return to_dot(graph, view=view, layout=layout, room=room)

    source, raw = settled(draw, timeout=GLANCE_SECONDS)
    title, description = viz.describe(graph, view)
    svg = finish(raw, title=title, description=description).decode("utf-8")
    # Letters that are missing here are in the SVG.
    png = _engine.layout(drawable(source)[0], "png", dpi=SCREEN_DPI, timeout=GLANCE_SECONDS)
    return {SVG: svg, PNG: base64.b64encode(png).decode()}


def _page(graph: Graph, output: Tensor | None) -> Bundle:
    """The interactive page in a sandboxed frame, from which it cannot reach the notebook around it."""
    from microtensor.viz.page import to_html

    title, description = viz.describe(graph, "forward")
    page = to_html(graph, output=output, title=title, description=description).decode("utf-8")
    frame = FRAME.format(title=html.escape(title), page=html.escape(page))
    return {TEXT: f"Interactive page: {title}", HTML: frame}


def _module(module: Module) -> Bundle:
    return {TEXT: modules.to_text(module), HTML: modules.to_html(module)}
