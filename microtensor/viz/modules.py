"""A network as a tree of its modules, each with its number of parameters, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microtensor.text import columns, padded, safe_text

if TYPE_CHECKING:
    from microtensor.nn import Module

OPEN_ROWS = 40
LIST = "margin:0;padding:0 0 0 1.15em;list-style:none;border-left:1px solid rgba(128,128,128,.35)"
FAINT = "opacity:.72"


@dataclass(frozen=True)
class _Row:
    """A module in the tree. `lasts` says of its ancestors and itself whether each is the last child."""

    lasts: tuple[bool, ...]
    name: str
    title: str
    shapes: str
    count: int
    children: int


def _rows(module: Module) -> Iterator[_Row]:
    """The module and all modules inside, depth first. There is no recursion, so any depth will do."""
    stack: list[tuple[tuple[bool, ...], str, Module]] = [((), module._name, module)]
    while stack:
        lasts, name, at = stack.pop()
        held = [(key, parameter) for key, parameter in at._parameters.items() if parameter is not None]
        shapes = ", ".join(f"{safe_text(key)} {parameter.shape}" for key, parameter in held)
        count = sum(parameter.size for parameter in at.parameters())
        children = list(at._modules.items())
        yield _Row(lasts, safe_text(name), safe_text(at.title(), 200), shapes, count, len(children))
        last = len(children) - 1
        stack += [((*lasts, i == last), key, child) for i, (key, child) in reversed(list(enumerate(children)))]


def _mode(module: Module) -> str:
    modes = {at.training for at in module.modules()}
    return "partly training" if len(modes) > 1 else "training" if modes == {True} else "evaluating"


def _counted(count: int) -> str:
    return f"{count:,} parameter{'s' if count != 1 else ''}"


def to_text(module: Module) -> str:
    """The tree as text, with the numbers of parameters in a column. A shared parameter counts once.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz import modules
    >>> print(modules.to_text(mt.nn.Sequential(mt.nn.Linear(4, 3), mt.nn.ReLU())))
    Sequential           15
    ├─ 0: Linear(4, 3)   15
    └─ 1: ReLU            0
    15 parameters, training
    """
    rows = list(_rows(module))
    heads = []
    for row in rows:
        stem = "".join("   " if last else "│  " for last in row.lasts[:-1])
        branch = "" if not row.lasts else "└─ " if row.lasts[-1] else "├─ "
        heads.append(stem + branch + (f"{row.name}: {row.title}" if row.name else row.title))
    left = max(map(columns, heads))
    right = max(len(f"{row.count:,}") for row in rows) + 3
    lines = [f"{padded(head, left)}{row.count:>{right},}" for head, row in zip(heads, rows, strict=True)]
    return "\n".join([*lines, f"{_counted(rows[0].count)}, {_mode(module)}"])


def to_html(module: Module) -> str:
    """The tree as nested HTML lists that a reader can open and close. They use the colours and fonts of the page."""
    rows = list(_rows(module))
    parts = ['<div style="line-height:1.55">']
    depth = 0
    for i, row in enumerate(rows):
        parts.append("</ul></details></li>" * (depth - len(row.lasts)))
        depth = len(row.lasts)
        name = f"<code>{html.escape(row.name)}</code> " if row.name else ""
        held = f" <span style='{FAINT}'>{html.escape(row.shapes)}</span>" if row.shapes else ""
        count = f" <span style='{FAINT}'>· {_counted(row.count)}</span>" if row.count else ""
        mode = f" <span style='{FAINT}'>· {_mode(module)}</span>" if i == 0 else ""
        line = f"{name}<b>{html.escape(row.title)}</b>{held}{count}{mode}"
        if row.children:
            opened = " open" if len(rows) <= OPEN_ROWS or depth < 1 else ""
            folded = f"<details{opened}><summary style='cursor:pointer'>{line}</summary><ul style='{LIST}'>"
            parts.append(f"<li>{folded}" if depth else folded)
            depth += 1
        else:
            parts.append(f"<li>{line}</li>" if depth else f"<div>{line}</div>")
    parts.append("</ul></details></li>" * (depth - 1) + ("</ul></details>" if depth else "") + "</div>")
    return "".join(parts)
