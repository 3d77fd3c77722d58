"""Folds a graph until the text of its picture can be read on a slide."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from microtensor.inspect.graph import Graph
from microtensor.text import LINE, safe_text
from microtensor.viz.engine import Engine
from microtensor.viz.engine import layout as engine_layout
from microtensor.viz.layout import READABLE, SLIDE, SMALL, Layout
from microtensor.viz.picture import size_of

NAMED = 4


def readable(
    graph: Graph,
    deepest: int | None,
    fold: Callable[[int | None], Graph],
    draw: Callable[[Graph], str],
    layout: Layout,
    engine: Engine = "auto",
) -> Graph:
    """The graph, folded as little as leaves text of at least 10 points on a slide of 1280×720 pixels.

    Parameters
    ----------
    graph : Graph
        The graph before it is folded.
    deepest : int, optional
        The depth at which the user wants it folded.
    fold : callable
        Folds the graph at a depth.
    draw : callable
        Gives the DOT source of a folded graph.
    layout : Layout
    engine : {"auto", "embedded", "system"}

    Warns
    -----
    UserWarning
        The graph was folded further, or even its smallest picture has smaller text.
    """
    asked = shown = fold(deepest)
    size = _text(draw(shown), layout.size(SMALL), engine)
    levels = max(graph.scope_levels(), default=-1) + 1
    depth = levels if deepest is None else min(deepest, levels)
    while size < READABLE and depth > 0:
        depth -= 1
        further = fold(depth)
        if len(further.nodes) < len(shown.nodes):
            shown, size = further, _text(draw(further), layout.size(SMALL), engine)
    if shown is not asked:
        names = [name for name in _cards(shown) if name not in _cards(asked)]
        listed = ", ".join(safe_text(name, LINE) for name in names[:NAMED]) + (", …" if len(names) > NAMED else "")
        warnings.warn(
            f"folded, so that the text has {READABLE:g} pt on a slide: {listed}; to open one, draw it with --expand "
            f"{safe_text(names[0], LINE) if names else 'NAME'}, or without --slide",
            stacklevel=3,
        )
    if size < READABLE:
        warnings.warn(
            f"the smallest text has {size:.1f} pt on a slide of 1280×720 pixels, less than {READABLE:g}; draw less on "
            "it, or name parts with mt.name_scope, so that they can be folded",
            stacklevel=3,
        )
    return shown


def _cards(graph: Graph) -> list[str]:
    """The names of the folded scopes, each once."""
    return list(dict.fromkeys(node.op for node in graph.nodes if node.kind in ("module", "function")))


def _text(source: str, smallest: float, engine: Engine) -> float:
    """The size of the smallest text in points, when the picture is fitted into a slide."""
    width, height = size_of(engine_layout(source, "svg", engine))
    return smallest * min(SLIDE[0] / width, SLIDE[1] / height)
