"""The elements of an SVG: their names, classes and points."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

SVG = "http://www.w3.org/2000/svg"


def tag(name: str) -> str:
    """The name of an SVG element as ElementTree has it."""
    return f"{{{SVG}}}{name}"


def classes(element: ElementTree.Element) -> list[str]:
    """The classes of an element."""
    return element.get("class", "").split()


def points(text: str) -> list[tuple[float, float]]:
    """The points of a path or a polygon, without the commands between them."""
    numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
