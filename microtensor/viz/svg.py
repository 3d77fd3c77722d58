"""From a layout engine's SVG to one that stands by itself: titled, adaptive to dark, its frames' names on top."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Literal, TypeAlias

from microtensor.support.text import LINE, safe_text
from microtensor.viz.theme import TOKENS

Theme: TypeAlias = Literal["auto", "light", "dark"]

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONTS = '"Helvetica Neue",Helvetica,Arial,"Liberation Sans",Arimo,sans-serif'


def _tag(name: str) -> str:
    return f"{{{SVG}}}{name}"


def finish(raw: bytes, *, title: str, description: str, theme: Theme = "auto", prefix: str = "mt") -> bytes:
    """Finish the SVG of a layout engine.

    Parameters
    ----------
    raw : bytes
        The engine's SVG, drawn in the light theme (or in the dark one for theme "dark").
    title, description : str
        For readers who do not see the picture.
    theme : {"auto", "light", "dark"}
        With "auto" a style sheet changes the colours where dark is preferred.
    prefix : str
        Of the ids, to tell several pictures on one page apart.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(raw)
    _unwrap_links(root)
    _name_groups(root, prefix)
    _join_runs(root)
    _lift_scope_labels(root)
    _centre_text(root)
    _head(root, title, description, theme, prefix)
    return b"%s\n" % ElementTree.tostring(root, encoding="utf-8")


def _unwrap_links(root: ElementTree.Element) -> None:
    """Take the engine's link elements away; what they say becomes the title of their group, a native tooltip."""
    for group in list(root.iter(_tag("g"))):
        for holder in list(group):
            links = [child for child in holder if child.tag == _tag("a")]
            if holder.tag != _tag("g") or len(links) != 1:
                continue
            link = links[0]
            tooltip = link.get(f"{{{XLINK}}}title")
            heading = group.find(_tag("title"))
            if heading is not None and tooltip:
                heading.text = tooltip
            at = list(group).index(holder)
            group.remove(holder)
            for offset, child in enumerate(list(link)):
                group.insert(at + offset, child)


def _name_groups(root: ElementTree.Element, prefix: str) -> None:
    for group in root.iter(_tag("g")):
        if "id" in group.attrib:
            group.set("id", f"{prefix}-{group.get('id')}")
    for group in root.iter(_tag("g")):
        if "edge" in (group.get("class") or "").split():
            heading = group.find(_tag("title"))
            if heading is not None:
                group.remove(heading)


def _join_runs(root: ElementTree.Element) -> None:
    """Make one text of the runs of a line, so that they stay together whatever the font's widths."""
    for group in root.iter(_tag("g")):
        previous: ElementTree.Element | None = None
        for text in [child for child in group if child.tag == _tag("text")]:
            follows = previous is not None and text.get("y") == previous.get("y") and (text.text or "")[:1].isspace()
            if follows and previous is not None:
                span = ElementTree.SubElement(previous, _tag("tspan"))
                for key in ("font-size", "font-weight", "fill"):
                    span.set(key, text.get(key, "normal"))
                span.text = text.text
                group.remove(text)
            else:
                previous = text


def _lift_scope_labels(root: ElementTree.Element) -> None:
    """Draw the names of the frames last, with a halo, so that no edge runs through them."""
    graph = root.find(_tag("g"))
    assert graph is not None
    names = ElementTree.Element(_tag("g"), {"class": "mt-scope-names"})
    for group in list(graph):
        if "cluster" not in (group.get("class") or "").split():
            continue
        fill = next((p.get("fill", "") for p in group if p.tag in (_tag("path"), _tag("polygon"))), "#ffffff")
        for text in [child for child in group if child.tag == _tag("text")]:
            group.remove(text)
            text.set("stroke", fill)
            text.set("stroke-width", "3.5")
            text.set("stroke-linejoin", "round")
            text.set("paint-order", "stroke")
            if text.text:
                text.text = text.text.rstrip()
            for span in [span for span in text if not (span.text or "").strip()]:
                text.remove(span)
            if not "".join(text.itertext()):
                continue
            names.append(text)
    if len(names):
        graph.append(names)


def _centre_text(root: ElementTree.Element) -> None:
    """Anchor the lines of a box at its middle, so that they stay centred in any font."""
    for group in root.iter(_tag("g")):
        kinds = (group.get("class") or "").split()
        if "node" not in kinds or "mt-module" in kinds or "mt-pill" in kinds:
            continue
        left, right = _extent(group)
        if "mt-parameter" in kinds:
            left += 9.0
        texts = list(group.iter(_tag("text")))
        lines = [text.get("y") for text in texts]
        for text in texts:
            if lines.count(text.get("y")) > 1:
                continue  # a row of numbers, in columns of its own
            text.set("text-anchor", "middle")
            text.set("x", f"{(left + right) / 2:.2f}")
            text.text = (text.text or "").strip()


def _extent(group: ElementTree.Element) -> tuple[float, float]:
    xs: list[float] = []
    for shape in group:
        if shape.tag == _tag("path"):
            numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", shape.get("d", ""))]
            xs += numbers[::2]
        elif shape.tag == _tag("polygon"):
            xs += [float(point.split(",")[0]) for point in shape.get("points", "").split()]
    return (min(xs), max(xs)) if xs else (0.0, 0.0)


def _head(root: ElementTree.Element, title: str, description: str, theme: Theme, prefix: str) -> None:
    root.set("role", "img")
    root.set("class", prefix)
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    root.set("style", "max-width:100%;height:auto")
    heading = ElementTree.Element(_tag("title"), {"id": f"{prefix}-title"})
    heading.text = safe_text(title, LINE)
    words = ElementTree.Element(_tag("desc"), {"id": f"{prefix}-desc"})
    words.text = safe_text(description, 4 * LINE)
    style = ElementTree.Element(_tag("style"))
    style.text = _style(theme, prefix, {element.get(key) for element in root.iter() for key in ("fill", "stroke")})
    for at, element in enumerate((heading, words, style)):
        root.insert(at, element)
    for text in root.iter(_tag("text")):
        text.attrib.pop("font-family", None)


def _style(theme: Theme, prefix: str, used: set[str | None]) -> str:
    rules = [f".{prefix} text{{font-family:{FONTS}}}"]
    if theme == "auto":
        dark = "".join(
            f'.{prefix} [{attribute}="{light}"]{{{attribute}:{value}}}'
            for light, value in TOKENS.values()
            for attribute in ("fill", "stroke")
            if light in used
        )
        rules.append(f"@media (prefers-color-scheme:dark){{{dark}}}")
    return "".join(rules)
