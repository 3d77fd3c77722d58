"""Puts the name of each frame where no edge runs through it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import TypeAlias

from microtensor.viz.shapes import classes, points, tag

# Around a name, in points.
CLEAR = 3.0
NARROW, THIN, WIDE = frozenset("iljI|.,:;'!"), frozenset("frt()[]-/ \u00a0"), frozenset("mwMW@%")

Box: TypeAlias = tuple[float, float, float, float]
# The box around a line, points along it, and half its width.
Trace: TypeAlias = tuple[Box, list[tuple[float, float]], float]


def place_titles(graph: ElementTree.Element, *, move: bool = True) -> list[ElementTree.Element]:
    """Move the names of frames to the right, to where no edge is.

    Parameters
    ----------
    graph : Element
        The group that holds the whole drawing.
    move : bool
        Whether to move them. Otherwise, names are only looked for through which an edge runs.

    Returns
    -------
    list of Element
        The frames without such a place.
    """
    frames = [group for group in graph if "cluster" in classes(group)]
    if not frames:
        return []
    edges = [edge for group in graph if "edge" in classes(group) for edge in _traces(group)]
    crowded: list[ElementTree.Element] = []
    for frame in frames:
        texts = frame.findall(tag("text"))
        outline = next((part for part in frame if part.tag in (tag("path"), tag("polygon"))), None)
        if not texts or outline is None:
            continue
        left, _, right, _ = _around(points(outline.get("d", "") + outline.get("points", "")))
        own = _around([corner for text in texts for corner in _corners(text)])
        near = [edge for edge in edges if _meets(edge[0], own, left, right)]
        place = _free(own, max(right - CLEAR, own[2]) if move else own[2], near)
        if place is None:
            crowded.append(frame)
        elif place:
            for text in texts:
                text.set("x", f"{float(text.get('x', 0)) + place:.2f}")
    return crowded


def width_of(text: ElementTree.Element) -> float:
    """About the width of a text, rather too much than too little."""
    size = float(text.get("font-size", 12))
    width = sum(map(_advance, text.text or "")) * size * (1.08 if text.get("font-weight") == "bold" else 1.0)
    return width + sum(map(width_of, text))


def _advance(letter: str) -> float:
    if letter in NARROW:
        return 0.28
    if letter in THIN:
        return 0.34
    if letter in WIDE:
        return 0.9
    return 0.73 if letter.isupper() or letter > "\u2000" else 0.57


def _corners(text: ElementTree.Element) -> list[tuple[float, float]]:
    x, y, size = (float(text.get(name, 0)) for name in ("x", "y", "font-size"))
    return [(x, y - size), (x + width_of(text), y + 0.3 * size)]


def _around(corners: list[tuple[float, float]]) -> Box:
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _traces(group: ElementTree.Element) -> Iterator[Trace]:
    """The lines of an edge, and its arrowheads."""
    for part in group.iter():
        if part.tag == tag("path"):
            corners = points(part.get("d", ""))
            yield _around(corners), list(_along(corners)), float(part.get("stroke-width", 1)) / 2
        elif part.tag == tag("polygon"):
            corners = points(part.get("points", ""))
            yield _around(corners), corners, 1.0


def _along(corners: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points along Bézier curves."""
    for at in range(0, len(corners) - 3, 3):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners[at : at + 4]
        steps = 2 + int(max(abs(x3 - x0), abs(y3 - y0), abs(x2 - x1), abs(y2 - y1)) / 2)
        for i in range(steps + 1):
            t = i / steps
            u = 1 - t
            a, b, c, d = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            yield a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3


def _meets(box: Box, own: Box, left: float, right: float) -> bool:
    """Whether a line is at the height of a name, inside its frame."""
    return box[1] < own[3] and box[3] > own[1] and box[0] < right and box[2] > left


def _free(own: Box, right: float, edges: list[Trace]) -> float | None:
    """How far to the right a name is free of edges; None where it is nowhere."""
    taken = [
        (x - half - CLEAR, x + half + CLEAR)
        for _, trace, half in edges
        for x, y in trace
        if own[1] - half < y < own[3] + half
    ]
    shift, room = 0.0, right - own[2]
    while shift <= room:
        at = own[0] + shift, own[2] + shift
        hit = [high for low, high in taken if low < at[1] and high > at[0]]
        if not hit:
            return shift
        # The name begins behind the line that is furthest to the right of those that run through it.
        shift = max(max(hit) - own[0], shift + 0.01)
    return None
