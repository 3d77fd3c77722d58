"""The interactive page: one file of HTML that walks through a graph, forward and backward, one operation at a time.

The file needs no network and no library. Its Content-Security-Policy allows only its own style sheet and script. It
holds the pictures as SVG, one for each depth of folding, and the data about them as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from string import Template

from microtensor.core.tensor import Tensor
from microtensor.inspect.graph import Graph, auto_depth
from microtensor.text import LINE, safe_text
from microtensor.viz import labels
from microtensor.viz.engine import Engine
from microtensor.viz.legend import NOT_SEARCHED
from microtensor.viz.page.content import Content
from microtensor.viz.page.drawing import draw
from microtensor.viz.svg import Theme
from microtensor.viz.theme import ThemeName, palette

__all__ = ["to_html"]

# A picture is added if it shows at least so many times the nodes of the picture before.
STEP = 1.25
SCHEMES = {"auto": "light dark", "light": "light", "dark": "dark"}


def to_html(
    graph: Graph,
    *,
    output: Tensor | None = None,
    title: str = "Computation graph",
    description: str = "",
    depth: int | None = None,
    theme: Theme = "auto",
    legend: bool = True,
    engine: Engine = "auto",
) -> bytes:
    """The interactive page of a graph.

    Parameters
    ----------
    graph : Graph
        The graph, not folded. The page has a picture for every depth of folding, up to 300 nodes.
    output : Tensor, optional
        The tensor that the graph was read from. Without it, the page has shapes and norms, but no values.
    title, description : str
        The heading, and a sentence for readers who do not see the picture.
    depth : int, optional
        The depth at which the page opens. Default: the deepest.
    theme : {"auto", "light", "dark"}
    legend : bool
        Whether the page explains its colours.
    engine : {"auto", "embedded", "system"}

    Raises
    ------
    EngineError
        There is no layout engine, or it failed.
    ValueError
        The graph was not read from `output`, or the depth is negative.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.page import to_html
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> y = mt.mean(x * x)
    >>> page = to_html(mt.Graph.from_tensor(y), output=y)
    >>> page.startswith(b"<!doctype html>")
    True
    """
    content = Content(graph, output)
    if output is not None and [(n.shape, n.dtype) for n in graph.nodes] != [
        (tuple(value.shape), str(value.dtype)) for value in content.values
    ]:
        raise ValueError("to_html: the graph was not read from output; pass Graph.from_tensor(output), not folded")
    depths = _depths(graph)
    pictures, records = [], []
    for number, at in enumerate(depths):
        folded, record = content.picture(at)
        pictures.append(draw(folded, title=title, description=description, prefix=f"p{number}", engine=engine))
        records.append(record)
    opening = _size(graph, depth)
    data = {
        "closing": content.closing(),
        "cotangent": safe_text(graph.cotangent, LINE),
        "legend": legend,
        "note": "" if graph.searched else NOT_SEARCHED,
        "letter": safe_text(graph.letters[0], 8),
        "letters": labels.letters(graph),
        "open": max((i for i, r in enumerate(records) if len(r["nodes"]) <= opening), default=0),
        "pictures": records,
        "tables": content.tables,
    }
    style, script = _style(theme), _part("page.js")
    page = Template(_part("page.html")).substitute(
        policy=_policy(style, script),
        scheme=SCHEMES[theme],
        title=html.escape(safe_text(title, LINE)),
        style=style,
        pictures="\n".join(pictures),
        data=_json(data),
        script=script,
    )
    return page.encode("utf-8")


def _depths(graph: Graph) -> list[int | None]:
    """The depths of folding that get a picture: from one node per module to as many nodes as can be drawn."""
    deepest = auto_depth(graph)
    if deepest is None:
        deepest = max(graph.scope_levels(), default=-1) + 1
    chosen = [deepest]
    for depth in range(deepest - 1, -1, -1):
        if _size(graph, chosen[0]) > STEP * _size(graph, depth):
            chosen.insert(0, depth)
    return [None if _size(graph, depth) == len(graph.nodes) else depth for depth in chosen]


def _size(graph: Graph, depth: int | None) -> int:
    # Equal neighbours stay apart, since each of them is a step of its own.
    return len(graph.collapsed(depth, repeats=False).nodes)


def _part(name: str) -> str:
    """A part of the page, without comments and indentation."""
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"^\s*(//.*)?\n|^[ \t]+", "", re.sub(r"^\s*/\*.*?\*/\n", "", text, flags=re.M | re.S), flags=re.M)


def _style(theme: Theme) -> str:
    def block(name: ThemeName) -> str:
        return ":root{" + "".join(f"--{token}:{value};" for token, value in palette(name).items()) + "}"

    # Paper is white, so only screens get the dark colours.
    media = "@media screen and (prefers-color-scheme:dark)" if theme == "auto" else "@media screen"
    return block("light") + f"{media}{{{block('light' if theme == 'light' else 'dark')}}}\n" + _part("page.css")


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(data: object) -> str:
    """JSON in which a parser of HTML finds no markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
