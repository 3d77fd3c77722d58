"""Words as outlines of letters, so that a picture needs no font of its reader.

The letters are those of DejaVu Sans, which the package ziafont has. They are as wide as those of Helvetica, by which a
layout engine places words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files
from typing import Any

from ziafont.font import Font
from ziafont.svgpath import Moveto

# Widths in thousandths of the size, of the characters 32 to 126 of Helvetica and Helvetica-Bold (Adobe's font metrics).
REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
BOLD = (
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 333 333 "
    "584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 "
    "333 611 556 778 556 556 500 389 280 389 584"
)
WIDTHS = tuple(tuple(map(int, widths.split())) for widths in (REGULAR, BOLD))
# DejaVu's letters are wider and taller than Helvetica's by these factors.
ACROSS, UP = 0.87, 0.95
MISSING = "¿"


@dataclass(frozen=True)
class Letter:
    """One letter of a line.

    Attributes
    ----------
    glyph : int
        Its number in the font.
    x, rise : float
        Its place: from the start of the line, and above it.
    """

    glyph: int
    x: float
    rise: float


@dataclass(frozen=True)
class Words:
    """A line of letters.

    Attributes
    ----------
    letters : tuple of Letter
    width : float
    missing : str
        The letters that the font lacks, each once. ¿ stands in their place.
    """

    letters: tuple[Letter, ...]
    width: float
    missing: str


@lru_cache
def _font() -> Font:
    with as_file(files("ziafont.fonts") / "DejaVuSans.ttf") as path:
        return Font(path)


def units() -> int:
    """The units of an outline in the size of the font."""
    return int(_font().info.layout.unitsperem)


def words(text: str, size: float, bold: bool = False) -> Words:
    """The letters of a text, in the order in which they are seen.

    Examples
    --------
    >>> from microtensor.viz.outlines import words
    >>> line = words("ab", 10.0)
    >>> len(line.letters), line.width, words("中", 10.0).missing
    (2, 11.12, '中')
    """
    scale = size / units()
    x, letters, missing = 0.0, list[Letter](), list[str]()
    before: Any = None
    for character in _in_sight(unicodedata.normalize("NFC", text)):
        glyph = _glyph(character)
        if unicodedata.combining(character) and before is not None and glyph.index:
            # Above the middle of the letter before, and higher over a tall one.
            at, mark = before.path.bbox, glyph.path.bbox
            left = letters[-1].x + ((at.xmin + at.xmax) - (mark.xmin + mark.xmax)) / 2 * scale * ACROSS
            above = max(0.0, at.ymax - _glyph("x").path.bbox.ymax) if mark.ymin > 0 else 0.0
            letters.append(Letter(glyph.index, left, above * scale * UP))
            continue
        if not glyph.index:
            missing.append(character)
            character, glyph = MISSING, _glyph(MISSING)
        natural = glyph.advance() * scale * ACROSS
        width = WIDTHS[bold][ord(character) - 32] * size / 1000 if " " <= character <= "~" else natural
        letters.append(Letter(glyph.index, x + (width - natural) / 2, 0.0))
        before = glyph
        x += width
    return Words(tuple(letters), x, "".join(dict.fromkeys(missing)))


@cache
def _glyph(character: str) -> Any:
    return _font().glyph(character)


def _in_sight(text: str) -> str:
    """The text in the order in which it is seen: Hebrew and Arabic words run from right to left."""
    runs: list[tuple[bool, list[str]]] = []
    for character in text:
        if runs and unicodedata.combining(character):
            runs[-1][1][-1] += character
            continue
        leftward = unicodedata.bidirectional(character) in ("R", "AL")
        if not runs or runs[-1][0] != leftward:
            runs.append((leftward, []))
        runs[-1][1].append(character)
    return "".join("".join(reversed(run) if leftward else run) for leftward, run in runs)


def outline(glyph: int) -> Iterator[str]:
    """The operators of a letter's outline in a PDF, in units of the font.

    Examples
    --------
    >>> from microtensor.viz.outlines import outline, words
    >>> list(outline(words("-", 1.0).letters[0].glyph))
    ['100 643 m', '100 643 l', '639 643 l', '639 479 l', '100 479 l', 'h']
    """
    at = (0.0, 0.0)
    open_one = False
    for operator in _font().glyph_fromid(glyph).operators:
        *controls, end = ((point.x, point.y) for point in operator.points()[0])
        if isinstance(operator, Moveto):
            if open_one:
                yield "h"
            open_one = True
            yield f"{_pair(end)} m"
        elif controls:
            # A curve of the second degree as one of the third.
            near, far = (tuple(a + 2 / 3 * (b - a) for a, b in zip(p, controls[0], strict=True)) for p in (at, end))
            yield f"{_pair(near)} {_pair(far)} {_pair(end)} c"
        else:
            yield f"{_pair(end)} l"
        at = end
    if open_one:
        yield "h"


def _pair(point: tuple[float, ...]) -> str:
    return " ".join(f"{value:.1f}".removesuffix(".0") for value in point)
