"""Text that came from outside, made safe to show: it cannot move a cursor, reorder a line or break a picture."""

from __future__ import annotations

import unicodedata

LONGEST = 60


def plain(text: str, limit: int = LONGEST) -> str:
    """Text that cannot break a picture: control, format and surrogate characters spelt out, and cut.

    Bidirectional controls count among them: made visible, they cannot reorder what is around them.
    """
    shown = "".join(
        f"\\u{ord(c):04X}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else c
        for c in text[: 4 * limit]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
