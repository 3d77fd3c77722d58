"""Text from outside, made safe to show: it cannot move a cursor, reorder a line or hide a part of itself."""

from __future__ import annotations

import unicodedata

LONGEST, LINE = 60, 1000
# Control, format (bidirectional controls among them), surrogate, private use, unassigned, line and paragraph ends.
SPELT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters, signs and marks that leave no trace on the page: fillers, joiners, selectors of a variant.
UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# No script writes more marks over and under a letter. Many of them would cover the lines around it.
MARKS = 4


def safe_text(text: str, limit: int = LONGEST) -> str:
    r"""The text with every character visible, cut to at most `limit` characters.

    Characters that are invisible or act on their neighbours are written as in a Python string, such as ``\u202E``.
    These are control, format, surrogate, private and unassigned characters, ends of lines and paragraphs, invisible
    letters and variation selectors. A letter keeps up to four combining marks. Further marks, and marks with no letter
    before them, are written in this way too. Letters of all scripts stay, wide ones too; see :func:`columns`. A text
    that was cut ends with ``…``.

    Examples
    --------
    >>> from microtensor.text import safe_text
    >>> print(safe_text("x\u0302\x1b[2J"), safe_text("weight" * 20, 10))
    x̂\u001B[2J weightwei…
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    length = marks = 0
    lettered = False
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        if kind in SPELT or character in UNSEEN or (marks and not (lettered and marks <= MARKS)):
            code = ord(character)
            character = f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
            lettered = False
        else:
            lettered = lettered or not marks
        pieces.append(character)
        length += len(character)
        if length > limit:
            break
    if length <= limit:
        return "".join(pieces)
    while length > limit - 1:
        length -= len(pieces.pop())
    return "".join(pieces) + "…"


def safe_lines(text: str) -> str:
    """Text of several lines, such as a traceback, with each line made safe. Tabs become spaces."""
    return "\n".join(safe_text(line, 8 * LINE) for line in text.expandtabs(4).split("\n"))


def columns(text: str) -> int:
    """The number of columns that safe text takes in a terminal: none for combining marks, two for wide characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
        for c in text
    )


def padded(text: str, width: int) -> str:
    """Safe text followed by spaces, up to `width` columns of a terminal."""
    return text + " " * (width - columns(text))
