"""Graphviz's HTML-like labels: escaped text, fonts and tables."""

from __future__ import annotations

import html

from microtensor.viz import labels
from microtensor.viz.source import Markup


def font(text: str, size: int, colour: str, bold: bool = False) -> str:
    """Text in a size and a colour. It is escaped here."""
    # A backslash starts one of Graphviz's own escapes even in markup.
    inner = html.escape(text or " ").replace("\\", "\\\\")
    if bold:
        inner = f"<B>{inner}</B>"
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{inner}</FONT>'


def label(content: str) -> Markup:
    """Wrap content as a label for Graphviz; the content holds font and table tags."""
    return Markup(f"<{content}>")


def table(rows: list[str], left: bool = False, padding: int = 1) -> Markup:
    """A label of rows, one below the other."""
    align = ' ALIGN="LEFT"' if left else ""
    return label(bare("".join(f"<TR><TD{align}>{row}</TD></TR>" for row in rows), padding=padding))


def bare(rows: str, spacing: int = 0, padding: int = 0) -> str:
    """A table without lines."""
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="{padding}">{rows}</TABLE>'


def boxed(title: str, rows: list[str], kind: str, c: dict[str, str], beside: str = "") -> dict[str, str]:
    """The attributes of a node in the colours of its kind, with a title and rows of markup below it."""
    is_data = kind == "data"
    heading = font(title, 15 if is_data else 14, c["ink"], bold=True)
    if beside:
        heading += font(f"  {beside}", 12, c["ink"])
    return {
        "label": table([heading, *rows]),
        "shape": "box",
        "style": "rounded,filled,dashed" if kind == "constant" else "rounded,filled",
        "fillcolor": f"{kind}-fill",
        "color": f"{kind}-border",
        "penwidth": "2.2" if is_data else "1.4",
        "class": f"mt-node mt-{kind}",
    }


def numbers(rows: tuple[tuple[float, ...], ...], colour: str) -> str:
    """The numbers of a small array, right-aligned in columns, as a row of a label."""
    lines = "".join(
        "<TR>" + "".join(f'<TD ALIGN="RIGHT">{font(labels.signed(v), 9, colour)}</TD>' for v in row) + "</TR>"
        for row in rows
    )
    return bare(lines, spacing=3)
