"""The ledger as text for a terminal, and as JSON, schema ``microtensor.paths/1``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from microtensor.inspect.ledger.subgraph import MANY
from microtensor.inspect.records import json_text, plain
from microtensor.text import columns, padded, safe_text

if TYPE_CHECKING:
    from microtensor.inspect.ledger.model import Ledger, NormSection, Part, Path, Removal, Severed

SCHEMA = "microtensor.paths/1"
BAR = 22
COLOURS = {"direct": "34", "via the mean": "31", "via the variance": "33"}


def to_table(ledger: Ledger, *, color: bool = False, ascii: bool = False) -> str:
    """The ledger as a table: paths with bars for their norms, the part that a norm removes, and the effect of a cut.

    Parameters
    ----------
    ledger : Ledger
    color : bool
        Whether to colour the paths as the picture does, with ANSI sequences.
    ascii : bool
        Whether to draw bars and lines with ASCII characters only.
    """
    many = f"more than {MANY:,}" if ledger.count >= MANY else f"{ledger.count:,}"
    words = f"{many} path{'s' if ledger.count != 1 else ''}"
    head = f"∂{ledger.output}/∂{ledger.input}, shape {_shape(ledger.gradient.shape)}: {words}"
    lines = [", ".join(filter(None, (head, ledger.cotangent, ledger.note)))]
    for section in ledger.blocks:
        lines += ["", *_section(section, ledger, color, ascii)]
        if section.removal is not None:
            lines += ["", *_removal(section.removal)]
    if ledger.cut is not None:
        lines += ["", *_cut(ledger.cut)]
    return "\n".join(lines)


def _section(section: NormSection, ledger: Ledger, color: bool, ascii: bool) -> list[str]:
    whole = float(np.linalg.norm(np.asarray(ledger.gradient, dtype=np.float64)))
    finite = [path.norm for path in section.paths if math.isfinite(path.norm)]
    largest = max([*finite, whole if math.isfinite(whole) else 0.0])
    title = f"{section.title}  {safe_text(section.detail, 50)}".strip() or "path"
    rows = [(title, "norm", "", "share")]
    rows += [(path.name, _norm(path), _tail(path, largest, ascii), _share(path)) for path in section.paths]
    all_of_it = "100 %" if any(row[3] for row in rows[1:]) else ""
    total = (f"gradient of {ledger.input}", _number(whole), _bar(whole, largest, ascii), all_of_it)
    names, numbers, bars, shares = (max(map(columns, cells)) for cells in zip(*rows, total, strict=True))
    bars = max(BAR, bars)

    def line(row: tuple[str, str, str, str], code: str = "") -> str:
        bar = padded(row[2], bars)
        painted = f"\x1b[{code}m{bar}\x1b[0m" if color and code else bar
        return f"{padded(row[0], names)}  {padded(row[1], numbers)}  {painted}  {row[3].rjust(shares)}".rstrip()

    codes = ["", *("2" if path.zero else COLOURS.get(path.name, "36") for path in section.paths)]
    rule = ("-" if ascii else "─") * (names + numbers + bars + shares + 6)
    return [*map(line, rows, codes), rule, line(total)]


def _norm(path: Path) -> str:
    return "0" if path.zero else _number(path.norm)


def _tail(path: Path, largest: float, ascii: bool) -> str:
    if path.identity:
        return f"exactly: {path.identity}"
    return _bar(0.0 if path.zero else path.norm, largest, ascii)


def _share(path: Path) -> str:
    if math.isnan(path.share):
        return ""
    percent = f"{100 * path.share:.1f}"
    return "0 %" if float(percent) == 0 else f"{100 * path.share:+.1f} %".replace("-", "−")


def _bar(value: float, largest: float, ascii: bool) -> str:
    """A bar, exact to an eighth of a character."""
    if not math.isfinite(value) or largest <= 0:
        return ""
    eighths = round(8 * BAR * value / largest)
    if ascii:
        return "#" * max(round(eighths / 8), 1 if value else 0)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _removal(removal: Removal) -> list[str]:
    axes = ", ".join(map(str, removal.axes))
    sets = f"{removal.sets} set{'s' if removal.sets > 1 else ''} of {removal.size} values"
    rows = [("what it takes out", "direct path", "all paths", f"{sets}, axis {axes}")]
    rows += [(words, _number(p.direct), _number(p.total), left) for p in removal.parts for words, left in [bounds(p)]]
    rows.append(("all the rest", _number(removal.direct_rest), _number(removal.total_rest), "kept"))
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in rows]


def bounds(part: Part) -> tuple[str, str]:
    """The name of a part of the gradient, and a text that says how much of it is left."""
    low, high = float(part.predicted.min(initial=1.0)), float(part.predicted.max(initial=0.0))
    span = _number(low) if math.isclose(low, high, rel_tol=1e-2) else f"{_number(low)} to {_number(high)}"
    if part.direction == "1":
        words, left = "shift, along 1", "0 but for rounding: Σ d = 0"
    elif not high:
        words, left = f"scale, along {part.direction}", "0 but for rounding, as ε = 0"
    else:
        words, left = f"scale, along {part.direction}", f"ε/({part.statistic} + ε) of it: {span}"
    return words, left if part.holds else f"should be {left}; digits were lost"


def _cut(cut: Severed) -> list[str]:
    words = {"mean": "the mean", "var": "the variance", "mean@var": "the mean inside the variance"}[cut.path]
    rows = []
    for order, difference in enumerate(cut.differences, 1):
        wrong = cut.first_wrong is not None and order >= cut.first_wrong
        rows.append(f"  order {order}   difference {_number(difference).ljust(8)} {'WRONG' if wrong else 'right'}")
    if cut.first_wrong is None:
        verdict = f"right up to order {len(cut.differences)}"
    elif cut.first_wrong == 1:
        verdict = "the gradient itself is wrong"
    else:
        verdict = f"right as a gradient, wrong from order {cut.first_wrong} on"
    return [f"with {words} detached: {verdict}", *rows]


def _number(value: float) -> str:
    """A number with three significant digits; below 0.001 and from 100,000 on with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _shape(shape: tuple[int, ...]) -> str:
    return str(shape) if shape else "scalar"


# --- JSON -------------------------------------------------------------------------------------------------


def to_json(ledger: Ledger) -> str:
    """The ledger as JSON with sorted keys. NaN and infinities are strings; arrays of over 10,000 numbers are null."""
    content = plain(ledger) | {"schema": SCHEMA, "shape": list(ledger.gradient.shape)}
    content["norms"] = content.pop("blocks")
    for norm in content["norms"]:
        if norm["removal"] is not None:
            norm["removal"]["rest"] = {side: norm["removal"].pop(f"{side}_rest") for side in ("direct", "total")}
    return json_text(content)
