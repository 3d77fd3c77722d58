"""The legend of a picture: the kinds that occur in it, and no others."""

from __future__ import annotations

from microtensor.inspect.graph import Graph, Values
from microtensor.support.text import safe_text
from microtensor.viz.labels import View
from microtensor.viz.markup import font, label


def legend(graph: Graph, view: View, values: Values, colours: dict[str, str]) -> str:
    """The label of a whole picture; empty when there is nothing to explain."""
    items = _nodes(graph, view, colours) + _lines(graph, view, colours) + _marks(graph, colours)
    if values != "none" or view == "combined":
        items.append(("", "numbers: min … mean … max"))
    cells = [
        (f"<TD>{swatch}</TD>" if swatch else "") + f'<TD ALIGN="LEFT">{font(words + "  ", 10, colours["muted"])}</TD>'
        for swatch, words in items
    ]
    if not cells:
        return ""
    # Two short rows are narrower than most pictures; one long row would be wider.
    half = len(cells) if len(cells) <= 5 else (len(cells) + 1) // 2
    rows = "".join(
        '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="1"><TR>'
        f"{''.join(cells[i : i + half])}</TR></TABLE></TD></TR>"
        for i in range(0, len(cells), half)
    )
    return label(f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{rows}</TABLE>')


def _nodes(graph: Graph, view: View, c: dict[str, str]) -> list[tuple[str, str]]:
    nodes = graph.nodes
    kinds = {node.kind for node in nodes}
    items = []
    if view == "backward":
        items.append((_line(c["gradient"]), "gradient, width ~ log of its norm"))
    elif "data" in kinds or nodes[graph.root].shape != ():
        items.append((_box(c, "data", 2), "data"))
    if "parameter" in kinds:
        items.append((_parameter(c), "parameter"))
    elif any(node.parameters for node in nodes):
        items.append((_parameter(c), "parameters in green text"))
    if view == "forward" and any(node.kind == "operation" and not node.statistics for node in nodes):
        items.append((_box(c, "operation", 1), "operation"))
    if any(node.statistics for node in nodes):
        held = not any(node.statistics and node.kind == "operation" for node in nodes)
        words = "through the statistics" if view == "backward" else "statistics path"
        items.append((_box(c, "statistics", 1), "holds a statistics path" if held else words))
    return items


def _lines(graph: Graph, view: View, c: dict[str, str]) -> list[tuple[str, str]]:
    items = []
    if view != "backward" and any(edge.kind == "direct" for edge in graph.edges):
        items.append((_line(c["edge-direct"]), "direct path"))
    if view == "combined":
        items.append((_line(c["gradient"]), "gradient"))
    return items


def _marks(graph: Graph, c: dict[str, str]) -> list[tuple[str, str]]:
    marks = {node.mark for node in graph.nodes} | {edge.mark for edge in graph.edges}
    items = []
    for mark, name in zip(("first", "second"), graph.compared, strict=False):
        if mark in marks:
            items.append((_line(c[mark]), f"only in {safe_text(name, 30)}"))
    if "changed" in marks:
        items.append(("", "≠ differs"))
    if "failed" in marks:
        items.append((_box({**c, "failed-border": c["failed"]}, "failed", 2), "the operation that raised"))
    return items


def _line(colour: str) -> str:
    cell = f'<TR><TD FIXEDSIZE="TRUE" WIDTH="26" HEIGHT="4" BGCOLOR="{colour}"></TD></TR>'
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cell}</TABLE>'


def _box(c: dict[str, str], kind: str, width: int) -> str:
    return (
        f'<TABLE BORDER="{width}" CELLBORDER="0" STYLE="ROUNDED" COLOR="{c[f"{kind}-border"]}" '
        f'BGCOLOR="{c[f"{kind}-fill"]}" CELLPADDING="0"><TR><TD WIDTH="22" HEIGHT="9"></TD></TR></TABLE>'
    )


def _parameter(c: dict[str, str]) -> str:
    return (
        f'<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" COLOR="{c["parameter-border"]}" '
        f'BGCOLOR="{c["parameter-fill"]}" CELLPADDING="0"><TR><TD WIDTH="6" HEIGHT="12" '
        f'BGCOLOR="{c["parameter-border"]}"></TD><TD WIDTH="18"></TD></TR></TABLE>'
    )
