"""Text that came from outside, made safe to show: it cannot move a cursor, reorder a line or hide what it says."""

from __future__ import annotations

import unicodedata

LONGEST, LINE = 60, 1000
# Control, format (bidirectional controls among them), surrogate, private use, unassigned, line and paragraph ends.
SPELT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters, signs and marks that leave no trace on the page: fillers, joiners, selectors of a variant.
UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# No script writes more marks over and under a letter; a pile of them would cover the lines around it.
MARKS = 4


def safe_text(text: str, limit: int = LONGEST) -> str:
    r"""Text in which every character is seen, in its place, and which is at most `limit` characters long.

    What has no shape of its own or acts on its neighbours is spelt out as in a Python string, ``\u202E``: control,
    format, surrogate, private and unassigned characters, ends of lines and paragraphs, invisible letters and
    variation selectors. A letter keeps up to four combining marks; a mark with no letter before it is spelt out, and so
    are further ones. Letters of all scripts stay, wide ones too; see :func:`columns`. What is cut ends with ``…``.

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
    """Text of several lines, such as a message or a traceback: each made safe, their ends kept, tabs as spaces."""
    return "\n".join(safe_text(line, 8 * LINE) for line in text.expandtabs(4).split("\n"))


def columns(text: str) -> int:
    """How many columns a terminal gives safe text: combining marks take none, wide characters two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
        for c in text
    )


def padded(text: str, width: int) -> str:
    """Safe text with spaces behind it, so that it fills so many columns of a terminal."""
    return text + " " * (width - columns(text))
