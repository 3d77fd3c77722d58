"""The legend of a picture. It explains only what occurs in the picture."""

from __future__ import annotations

from microtensor.inspect.graph import Graph, Values
from microtensor.text import safe_text
from microtensor.viz import labels
from microtensor.viz.labels import View
from microtensor.viz.markup import bare, font, table

NOT_SEARCHED = "only statistics of the library's norms are amber: the graph is too large to be searched for others"


def legend(graph: Graph, view: View, values: Values, colours: dict[str, str], told: str = "") -> str:
    """The legend as a label of the whole picture, with a sentence; empty when there is nothing to explain."""
    items = [(swatch, words) for occurs, swatch, words in _rows(graph, view, values, colours) if occurs]
    if not items and graph.searched and not told:
        return ""
    cells = [
        (f"<TD>{swatch}</TD>" if swatch else "") + f'<TD ALIGN="LEFT">{font(words + "  ", 10, colours["muted"])}</TD>'
        for swatch, words in items
    ]
    # Two short rows are narrower than most pictures. One long row would be wider.
    half = len(cells) if len(cells) <= 5 else (len(cells) + 1) // 2
    rows = [f"<TR>{''.join(cells[i : i + half])}</TR>" for i in range(0, len(cells), half)]
    lines = [bare(row, spacing=3, padding=1) for row in rows]
    if view == "backward" and (signs := labels.letters(graph)):
        lines.append(font(signs, 10, colours["muted"]))
    if told:
        lines.append(font(told, 10, colours["muted"]))
    # In two lines, so that the legend of a narrow picture is not much wider.
    for part in () if graph.searched else NOT_SEARCHED.partition(": ")[::2]:
        lines.append(font(part, 10, colours["muted"]))
    return table(lines, padding=0)


def _rows(graph: Graph, view: View, values: Values, c: dict[str, str]) -> list[tuple[bool, str, str]]:
    """All that can be explained: whether it occurs, how it is drawn, its name."""
    nodes, back = graph.nodes, view == "backward"
    kinds = {node.kind for node in nodes}
    flows = any(edge.grad is not None for edge in graph.edges)
    plain = {node.statistics for node in nodes if node.kind == "operation"}
    marks = {node.mark for node in nodes} | {edge.mark for edge in graph.edges}
    names = dict(zip(("first", "second"), graph.compared, strict=False))
    statistics = "through the statistics" if back else "statistics path"
    holds_data = "data" in kinds or nodes[graph.root].shape != ()
    holds_parameters = "parameter" not in kinds and any(node.parameters for node in nodes)
    failed = {"failed-border": c["failed"], "failed-fill": c["failed-fill"]}
    return [
        (back and flows, _line(c["gradient"]), "gradient, width ~ log of its norm"),
        (not back and holds_data, _box(c, "data", 2), "data"),
        ("parameter" in kinds, _parameter(c), "parameter"),
        (holds_parameters, _parameter(c), "parameters in green text"),
        (view == "forward" and False in plain, _box(c, "operation", 1), "operation"),
        (
            any(node.statistics for node in nodes),
            _box(c, "statistics", 1),
            statistics if True in plain else "holds a statistics path",
        ),
        (
            any(node.unrecorded or node.role == "unrecorded" for node in nodes),
            _box(c, "constant", 1),
            "not recorded: no gradient",
        ),
        (not back and any(edge.kind == "direct" for edge in graph.edges), _line(c["edge-direct"]), "direct path"),
        (view == "combined" and flows, _line(c["gradient"]), "gradient"),
        *((mark in marks, _line(c[mark]), f"only in {safe_text(name, 30)}") for mark, name in names.items()),
        ("changed" in marks, "", "≠ differs"),
        ("failed" in marks, _box(failed, "failed", 2), "the operation that raised"),
        (values != "none" or view == "combined", "", "numbers: min … mean … max"),
    ]


def _line(colour: str) -> str:
    return bare(f'<TR><TD FIXEDSIZE="TRUE" WIDTH="26" HEIGHT="4" BGCOLOR="{colour}"></TD></TR>')


def _box(c: dict[str, str], kind: str, width: int) -> str:
    style = "ROUNDED,DASHED" if kind == "constant" else "ROUNDED"
    return (
        f'<TABLE BORDER="{width}" CELLBORDER="0" STYLE="{style}" COLOR="{c[f"{kind}-border"]}" '
        f'BGCOLOR="{c[f"{kind}-fill"]}" CELLPADDING="0"><TR><TD WIDTH="22" HEIGHT="9"></TD></TR></TABLE>'
    )


def _parameter(c: dict[str, str]) -> str:
    return (
        f'<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" COLOR="{c["parameter-border"]}" '
        f'BGCOLOR="{c["parameter-fill"]}" CELLPADDING="0"><TR><TD WIDTH="6" HEIGHT="12" '
        f'BGCOLOR="{c["parameter-border"]}"></TD><TD WIDTH="18"></TD></TR></TABLE>'
    )
