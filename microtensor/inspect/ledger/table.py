"""The ledger as text for a terminal, and as JSON, schema ``microtensor.paths/2``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microtensor.inspect.grading.learner import axes_text
from microtensor.inspect.grading.report import percent
from microtensor.inspect.ledger.subgraph import MANY
from microtensor.inspect.records import json_text, plain
from microtensor.support.arrays import Array
from microtensor.text import columns, padded, safe_text

if TYPE_CHECKING:
    from microtensor.inspect.ledger.model import Ledger, NormSection, Part, Path, Removal, Severed

SCHEMA = "microtensor.paths/2"
WIDTH, BAR, SHORTEST = 80, 22, 6
# A part of the scale that is left is not spoken of beside the paths when it is smaller than this, in every set.
SLIGHT = 1e-2
# A theory that leaves less than this is not to be told from rounding.
TINY = 1e-14
# What is smaller than this beside the whole does not show in three digits of its square.
SEEN = 1e-3
TAKES = ("via the mean", "via the variance", "via the mean square", "via the sum of squares")
COLOURS = {"direct": "34", "via the mean": "31", "via the variance": "33"}


def to_table(ledger: Ledger, *, color: bool = False, ascii: bool = False) -> str:
    """The ledger as a table of 80 columns: paths with bars for their norms, what a norm takes out, the effect of a cut.

    Parameters
    ----------
    ledger : Ledger
    color : bool
        Whether to colour the paths as the picture does, with ANSI sequences.
    ascii : bool
        Whether to draw bars and lines with ASCII characters only.
    """
    lines = [line for sentence in heading(ledger) for line in wrapped(sentence)]
    for table in tables(ledger):
        lines += ["", *_lines(table, color, ascii)]
    if ledger.cut is not None:
        lines += ["", *cut_lines(ledger.cut)]
    return "\n".join(lines)


def heading(ledger: Ledger) -> list[str]:
    """What the ledger is about, and its notes, a sentence each."""
    many = f"more than {MANY:,}" if ledger.count >= MANY else f"{ledger.count:,}"
    words = f"{many} path{'s' if ledger.count != 1 else ''}"
    about = ", ".join(filter(None, (f", shape {_shape(ledger.gradient.shape)}: {words}", ledger.cotangent)))
    width = max(SHORTEST, (WIDTH - columns(about) - 3) // 2)
    head = f"∂{clipped(ledger.output, width)}/∂{clipped(ledger.input, width)}{about}"
    return [head, *filter(None, ledger.note.split("; "))]


class Row(NamedTuple):
    """A line of a table. Without a text the bar shows the norm."""

    name: str
    norm: float
    note: str = ""
    text: str = ""
    code: str = ""


class Table(NamedTuple):
    """Rows and their sum, and sentences about them."""

    title: str
    rows: list[Row]
    total: Row
    below: list[str]

    @property
    def highest(self) -> float:
        """The largest norm, which the bars are drawn beside."""
        return max((row.norm for row in (*self.rows, self.total) if math.isfinite(row.norm)), default=0.0)


def tables(ledger: Ledger) -> list[Table]:
    """A table for each norm; a second one where its input is not x."""
    whole = float(np.linalg.norm(np.asarray(ledger.gradient, dtype=np.float64)))
    found = []
    for section in ledger.blocks:
        removal = section.removal
        here = removal if removal is not None and not removal.at else None
        title = f"{section.title}  {safe_text(section.detail, 50)}".strip() or "path"
        rounding = "no more than rounding" if 0 < whole <= section.rounding else ""
        total = Row(f"gradient of {ledger.input}", whole, rounding or _left(here))
        below = [*_apart(section, ledger.gradient), *(_equations(here) if here is not None else [])]
        found.append(Table(title, _rows(section.paths, here), total, below))
        if removal is not None and removal.at:
            total = Row("sum of these paths", removal.total, _left(removal))
            title = f"at the norm's input: {removal.at}"
            found.append(Table(title, _rows(removal.rows, removal), total, _equations(removal)))
    return found


def _apart(section: NormSection, gradient: Array) -> list[str]:
    """How far the paths are from adding up to the gradient, where it shows. Their rules are known to be linear."""
    with np.errstate(all="ignore"):
        error = float(np.linalg.norm(np.sum([path.contribution for path in section.paths], axis=0) - gradient))
    if not error > SEEN * max(path.norm for path in section.paths):
        return []
    return [f"rounding on the way: the sum of these paths differs from the gradient by {number(error)}"]


def _rows(paths: tuple[Path, ...], removal: Removal | None) -> list[Row]:
    rows = []
    for path in paths:
        text = f"exactly: {path.identity}" if path.identity else ""
        code = "2" if path.zero else COLOURS.get(path.name, "36")
        rows.append(Row(path.name, 0.0 if path.zero else path.norm, _note(path.name, removal), text, code))
    return rows


def _lines(table: Table, color: bool, ascii: bool) -> list[str]:
    every = [*table.rows, table.total]
    numbers = max(len("norm"), *(columns(number(row.norm)) for row in every))
    notes = max(columns(row.note) for row in every)
    texts = max(columns(row.text) for row in every)
    longest = WIDTH - numbers - 4 - max(notes + 2 + SHORTEST if notes else SHORTEST, texts)
    names = min(max(columns(name) for name in (table.title, *(row.name for row in every))), longest)
    bar = min(BAR, WIDTH - names - numbers - 4 - (notes + 2 if notes else 0))

    def line(row: Row) -> str:
        drawn = row.text or padded(_bar(row.norm, table.highest, bar, ascii), bar)
        painted = f"\x1b[{row.code}m{drawn}\x1b[0m" if color and row.code else drawn
        cells = padded(clipped(row.name, names), names), padded(number(row.norm), numbers), painted, row.note
        return "  ".join(cells).rstrip()

    lines = [line(row) for row in every]
    rule = ("-" if ascii else "─") * max(map(columns, map(line, [row._replace(code="") for row in every])))
    head = f"{padded(clipped(table.title, WIDTH - 6), names)}  norm"
    below = [line for sentence in table.below for line in wrapped(sentence)]
    return [head, *lines[:-1], rule, lines[-1], *below]


def _note(name: str, removal: Removal | None) -> str:
    """What a path takes out of the direct one, in percent of its square."""
    if removal is None or not removal.direct:
        return ""
    for part in removal.parts:
        shift = part.direction == "1"
        if shift != (name == "via the mean") or name not in TAKES:
            continue
        left = part.residue[np.isfinite(part.residue)]
        if left.size and np.abs(left).max() < SLIGHT:
            return f"takes out the {_word(part)}, {_percent((part.direct / removal.direct) ** 2)}"
        if left.size and -SLIGHT < left.min() <= left.max() < 1:
            return f"takes out part of the {_word(part)}"
    return ""


def _word(part: Part) -> str:
    return "shift" if part.direction == "1" else "scale"


def _left(removal: Removal | None) -> str:
    if removal is None or not removal.direct:
        return ""
    part = (removal.total / removal.direct) ** 2
    return f"{_percent(part)} of direct²{' is left' if part <= 1 else ''}"


def _equations(removal: Removal) -> list[str]:
    """direct² as a sum of squares, what is left of each part, and why."""
    if not removal.direct:
        return ["nothing comes along the direct path, so there is nothing to take out"]
    floor = 1e-12 * removal.direct
    terms = [*((_word(part), part.direct) for part in removal.parts), ("rest", removal.direct_rest)]
    told = [_squares("direct", removal.direct, terms, floor)]
    left = [(f"left of the {_word(p)}", p.total) for p in removal.parts if not p.rounding]
    left = [(word, value) for word, value in left if value > SEEN * removal.total]
    if left:
        told.append(
            _squares("sum" if removal.at else "gradient", removal.total, [("rest", removal.total_rest), *left], floor)
        )
    sets = f"{removal.sets} set{'s' if removal.sets > 1 else ''} of {removal.size} values"
    told.append(f"{sets} over {axes_text(removal.axes)}")
    for part in removal.parts:
        told.append(f"left of the {_word(part)}: {remains(part, removal.condition)}")
    if removal.size == len(removal.parts):
        told.append(f"of {removal.size} values a shift and a scale are all there is")
    return [*told, *removal.mistakes]


def _percent(part: float) -> str:
    # 99.7 % would be 100 % in two digits, as if nothing were taken out.
    return f"{100 * part:.1f} %" if 0.99 < part < 0.9995 else percent(part).replace("e-0", "e-")


def _squares(name: str, whole: float, terms: Sequence[tuple[str, float]], floor: float) -> str:
    """A sum of squares in words and in numbers."""

    def squared(value: float) -> str:
        text = number(value) if value > floor else "0"
        return f"({text})²" if "e" in text else f"{text}²"

    words = " + ".join(f"({word})²" if " " in word else f"{word}²" for word, _ in terms)
    numbers = " + ".join(squared(value) for _, value in terms)
    return f"{name}² = {words}: {squared(whole)} = {numbers}"


def remains(part: Part, condition: float = 1.0) -> str:
    """How much of a part of the gradient is left, and why, where that is known."""
    if not part.direct:
        return "there is none"
    seen = np.isfinite(part.residue)
    predicted = part.predicted[seen] if part.holds else part.predicted[:0]
    values = f"as the values are {number(condition)} times as large as their spread" if condition > 1 else ""
    if part.statistic and predicted.max(initial=0.0) > TINY:
        return f"{_span(predicted)} of it, ε/({part.statistic} + ε)"
    # Of a shift nothing is left by theory.
    if part.rounding or (part.holds and part.direction == "1") or not seen.any():
        return ", ".join(filter(None, (f"{number(part.total)}, rounding", values)))
    left = part.residue[seen]
    text = f"{number(part.total)}, {'all' if np.allclose(left, 1.0, rtol=SEEN) else _span(left)} of it"
    return f"{text}; digits can be lost here, {values}" if values else text


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return number(low) if math.isclose(low, high, rel_tol=1e-2) else f"{number(low)} to {number(high)}"


def _bar(value: float, highest: float, width: int, ascii: bool) -> str:
    """A bar, exact to an eighth of a character."""
    if not math.isfinite(value) or highest <= 0:
        return ""
    eighths = round(8 * width * value / highest)
    if ascii:
        return "#" * max(round(eighths / 8), 1 if value else 0)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def clipped(text: str, width: int) -> str:
    """Safe text of at most so many columns. What was cut ends with …."""
    if columns(text) <= width:
        return text
    while columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def wrapped(text: str) -> list[str]:
    """Safe text in lines of at most 80 columns."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and columns(f"{lines[-1]} {word}") <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(clipped(word, WIDTH))
    return lines


def cut_lines(cut: Severed) -> list[str]:
    """What a path that is detached does to each order of derivative."""
    words = {"mean": "the mean", "var": "the variance", "mean@var": "the mean inside the variance"}[cut.path]
    rows = []
    for order, difference in enumerate(cut.differences, 1):
        wrong = cut.first_wrong is not None and order >= cut.first_wrong
        rows.append(f"  order {order}   difference {number(difference).ljust(8)} {'WRONG' if wrong else 'right'}")
    if cut.first_wrong is None:
        verdict = f"right up to order {len(cut.differences)}"
    elif cut.first_wrong == 1:
        verdict = "the gradient itself is wrong"
    else:
        verdict = f"right as a gradient, wrong from order {cut.first_wrong} on"
    whole = f"with {words} detached: {verdict}"
    return [*([whole] if len(whole) <= WIDTH else [f"with {words} detached:", verdict]), *rows]


def number(value: float) -> str:
    """A number with three significant digits; below 0.001 and from 100,000 on with an exponent."""
    if math.isnan(value):
        return "NaN"
    if value < 0:
        return f"−{number(-value)}"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if 999.5 <= value < 1e5:
        return f"{value:.0f}"
    if 1e-3 <= value < 999.5:
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
