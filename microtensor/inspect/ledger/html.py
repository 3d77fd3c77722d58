"""The ledger as HTML for a notebook: the same tables as in the terminal."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from microtensor.inspect.ledger.table import Row, Table, cut_lines, heading, number, tables

if TYPE_CHECKING:
    from microtensor.inspect.ledger.model import Ledger

# The colours of the terminal.
BARS = {"34": "#1e4fd6", "31": "#be1240", "33": "#a9490b", "36": "#0f766e"}
LEFT = "text-align:left"


def to_html(ledger: Ledger) -> str:
    """The ledger as HTML, without scripts and styles of its own.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.ledger.html import to_html
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> to_html(mt.paths(mt.tanh(x) * x, x, [1.0, 1.0]))[:55]
    '<div><div>∂y/∂x, shape (2,): 2 paths, for the cotangent'
    """
    parts = [f"<div>{escape(sentence)}</div>" for sentence in heading(ledger)]
    parts += map(_table, tables(ledger))
    if ledger.cut is not None:
        parts.append(f"<pre>{escape(chr(10).join(cut_lines(ledger.cut)))}</pre>")
    return f"<div>{''.join(parts)}</div>"


def _table(table: Table) -> str:
    head = f'<tr><th style="{LEFT}">{escape(table.title)}</th><th style="{LEFT}">norm</th><th></th><th></th></tr>'
    rows = [_row(row, table.highest) for row in table.rows]
    rows.append(_row(table.total, table.highest, "border-top:1px solid;"))
    below = "".join(f"<div>{escape(sentence)}</div>" for sentence in table.below)
    return f"<table>{head}{''.join(rows)}</table>{below}"


def _row(row: Row, highest: float, style: str = "") -> str:
    drawn = escape(row.text)
    if not row.text and highest and math.isfinite(row.norm):
        colour = BARS.get(row.code, "#66758b")
        width = 160 * row.norm / highest
        drawn = f'<div style="background:{colour};height:0.8em;width:{width:.1f}px"></div>'
    cells = escape(row.name), number(row.norm), drawn, escape(row.note)
    return "<tr>" + "".join(f'<td style="{style}{LEFT}">{cell}</td>' for cell in cells) + "</tr>"
