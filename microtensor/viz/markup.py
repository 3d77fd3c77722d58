"""Graphviz's HTML-like labels: text that is escaped once, fonts, tables, tooltips."""

from __future__ import annotations

import html

import graphviz

from microtensor.support.text import plain
from microtensor.viz import labels


def font(text: str, size: int, colour: str, bold: bool = False) -> str:
    """Text in a size and a colour."""
    # A backslash starts one of Graphviz's own escapes even in markup.
    inner = html.escape(text or " ").replace("\\", "\\\\")
    if bold:
        inner = f"<B>{inner}</B>"
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{inner}</FONT>'


def table(rows: list[str], left: bool = False, padding: int = 1) -> str:
    """A label of rows, one below the other."""
    align = ' ALIGN="LEFT"' if left else ""
    cells = "".join(f"<TR><TD{align}>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">{cells}</TABLE>>'


def numbers(rows: tuple[tuple[float, ...], ...], colour: str) -> str:
    """The numbers of a small array, right-aligned in columns, as a row of a label."""
    lines = "".join(
        "<TR>" + "".join(f'<TD ALIGN="RIGHT">{font(labels.signed(v), 9, colour)}</TD>' for v in row) + "</TR>"
        for row in rows
    )
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="0">{lines}</TABLE>'


def tooltip(text: str) -> str:
    """A tooltip, in which Graphviz's own escapes mean nothing."""
    return str(graphviz.escape(plain(text, 500)))
