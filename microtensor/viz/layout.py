"""How a picture is laid out: which way it runs, how large its text is, and whether it is for a slide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["tb", "lr"]

# The size of the small text, in points, on which all other sizes are built.
SMALL = 10.0
# On a slide, no text is smaller than this before the picture is fitted, and lines are no longer.
LEAST, NARROW = 12, 13
# A slide of 1280×720 pixels in points, and the smallest text on it.
SLIDE, READABLE = (960.0, 540.0), 10.0


@dataclass(frozen=True)
class Layout:
    """How a picture is laid out.

    Attributes
    ----------
    direction : {"tb", "lr"}
        From top to bottom, or from left to right.
    slide : bool
        Whether nodes are narrow, with short lines, so that the text can be read on a slide of 16:9.
    font_size : float
        The size of the small text in points. The rest grows with it.
    """

    direction: Direction = "tb"
    slide: bool = False
    font_size: float = SMALL

    def size(self, points: float) -> int:
        """The size of a text that has so many points in an ordinary picture. The engine takes whole numbers only.

        Examples
        --------
        >>> from microtensor.viz.layout import Layout
        >>> Layout().size(14), Layout(slide=True).size(10), Layout(font_size=20).size(14)
        (14, 12, 28)
        """
        return round(max(points, LEAST if self.slide else 0) * self.font_size / SMALL)

    def lines(self, text: str) -> list[str]:
        """A line of a label; on a slide several short ones.

        Examples
        --------
        >>> from microtensor.viz.layout import Layout
        >>> Layout().lines("‖grad‖ 0.081, sum of 2"), Layout(slide=True).lines("‖grad‖ 0.081, sum of 2")
        (['‖grad‖ 0.081, sum of 2'], ['‖grad‖ 0.081,', 'sum of 2'])
        """
        if not self.slide or len(text) <= NARROW:
            return [text]
        found: list[str] = []
        # Not inside a shape such as (8, 4).
        for part in re.split(r"(?<=,) (?![^(]*\))|  ", text):
            if found and len(found[-1]) + len(part) + 1 <= NARROW:
                found[-1] += f" {part}"
            elif part:
                found.append(part)
        return found
