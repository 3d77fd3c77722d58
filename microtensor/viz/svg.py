"""Finishes a layout engine's SVG: it gets a title, adapts to dark, and has the names of its frames on top."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from hashlib import blake2s
from typing import Literal, TypeAlias

from microtensor.text import LINE, safe_text
from microtensor.viz.shapes import SVG, classes, points, tag
from microtensor.viz.theme import TOKENS
from microtensor.viz.titles import place_titles

Theme: TypeAlias = Literal["auto", "light", "dark"]

XLINK = "http://www.w3.org/1999/xlink"
FONTS = '"Helvetica Neue",Helvetica,Arial,"Liberation Sans",Arimo,sans-serif'


def finish(raw: bytes, *, title: str, description: str, theme: Theme = "auto") -> bytes:
    """Finish the SVG of a layout engine. Its class and ids are its own, so that several pictures fit on one page.

    Parameters
    ----------
    raw : bytes
        The engine's SVG, drawn in the light theme (or in the dark one for theme "dark").
    title, description : str
        For readers who do not see the picture.
    theme : {"auto", "light", "dark"}
        With "auto", a style sheet changes the colours if the reader prefers dark.
    """
    root = ElementTree.fromstring(raw)
    dress(root, title, description, theme, own_name(raw, theme))
    return as_bytes(root)


def as_bytes(root: ElementTree.Element) -> bytes:
    """A parsed SVG as the bytes of a file."""
    ElementTree.register_namespace("", SVG)
    return b"%s\n" % ElementTree.tostring(root, encoding="utf-8")


def own_name(raw: bytes, theme: Theme) -> str:
    """A class for one picture, with which its ids begin. Another picture, or another theme, has another one.

    Examples
    --------
    >>> from microtensor.viz.svg import own_name
    >>> own_name(b"<svg/>", "auto"), own_name(b"<svg/>", "light")
    ('mt043509c29c', 'mtba4197665d')
    """
    return "mt" + blake2s(raw + theme.encode(), digest_size=5).hexdigest()


def dress(root: ElementTree.Element, title: str, description: str, theme: Theme, prefix: str) -> None:
    """Finish a parsed SVG in place."""
    _unwrap_links(root)
    _name_groups(root, prefix)
    _join_runs(root)
    _lift_scope_labels(root)
    _centre_text(root)
    _head(root, title, description, theme, prefix)


def _unwrap_links(root: ElementTree.Element) -> None:
    """Take the engine's link elements away. Their text becomes the title of their group, a native tooltip."""
    for group in list(root.iter(tag("g"))):
        for holder in group.findall(tag("g")):
            links = holder.findall(tag("a"))
            if len(links) != 1:
                continue
            tooltip = links[0].get(f"{{{XLINK}}}title")
            heading = group.find(tag("title"))
            if heading is not None and tooltip:
                heading.text = tooltip
            at = list(group).index(holder)
            group[at : at + 1] = list(links[0])


def _name_groups(root: ElementTree.Element, prefix: str) -> None:
    """Give the ids their prefix, and take the tooltips of edges away."""
    for group in root.iter(tag("g")):
        if "id" in group.attrib:
            group.set("id", f"{prefix}-{group.get('id')}")
        heading = group.find(tag("title"))
        if heading is not None and "edge" in classes(group):
            group.remove(heading)


def _join_runs(root: ElementTree.Element) -> None:
    """Make the runs of a line one text, so that they stay together in any font."""
    for group in root.iter(tag("g")):
        previous: ElementTree.Element | None = None
        for text in group.findall(tag("text")):
            if previous is not None and text.get("y") == previous.get("y") and (text.text or "")[:1].isspace():
                look = {key: text.get(key, "normal") for key in ("font-size", "font-weight", "fill")}
                ElementTree.SubElement(previous, tag("tspan"), look).text = text.text
                group.remove(text)
            else:
                previous = text


def _lift_scope_labels(root: ElementTree.Element) -> None:
    """Draw the names of the frames last, where no edge runs, with a halo for where there is no such place."""
    graph = root.find(tag("g"))
    assert graph is not None
    _drop_padding(graph)
    place_titles(graph)
    names = ElementTree.Element(tag("g"), {"class": "mt-scope-names"})
    halo = {"stroke-width": "3.5", "stroke-linejoin": "round", "paint-order": "stroke"}
    for group in graph:
        if "cluster" not in classes(group):
            continue
        fill = next((p.get("fill", "") for p in group if p.tag in (tag("path"), tag("polygon"))), "#ffffff")
        for text in group.findall(tag("text")):
            group.remove(text)
            text.attrib.update({"stroke": fill} | halo)
            if "".join(text.itertext()):
                names.append(text)
    if len(names):
        graph.append(names)


def _drop_padding(graph: ElementTree.Element) -> None:
    """Take away the spaces that made room beside the names of the frames."""
    for group in graph:
        for text in group.findall(tag("text")) if "cluster" in classes(group) else ():
            if text.text:
                text.text = text.text.rstrip()
            for span in list(text):
                if not (span.text or "").strip():
                    text.remove(span)


def crowded(raw: bytes, *, move: bool = True) -> list[str]:
    """The frames of an engine's SVG through whose names an edge runs, even after the names are moved.

    Parameters
    ----------
    raw : bytes
    move : bool
        Whether names may be moved.
    """
    root = ElementTree.fromstring(raw)
    graph = root.find(tag("g"))
    assert graph is not None
    names = {group.get("id"): group.findtext(tag("title"), "") for group in graph}
    _unwrap_links(root)
    _join_runs(root)
    _drop_padding(graph)
    return [names[frame.get("id")] for frame in place_titles(graph, move=move)]


def _centre_text(root: ElementTree.Element) -> None:
    """Anchor the lines of a box at its middle, so that they stay centred in any font."""
    for group in root.iter(tag("g")):
        kinds = classes(group)
        if "node" not in kinds or "mt-module" in kinds:
            continue
        shapes = [shape for shape in group if shape.tag in (tag("path"), tag("polygon"))]
        xs = [x for shape in shapes for x, _ in points(shape.get("d", "") + shape.get("points", ""))]
        left, right = min(xs, default=0.0), max(xs, default=0.0)
        if "mt-parameter" in kinds:
            left += 9.0
        texts = list(group.iter(tag("text")))
        lines = [text.get("y") for text in texts]
        for text in texts:
            if lines.count(text.get("y")) > 1:
                continue  # a row of numbers in columns
            text.set("text-anchor", "middle")
            text.set("x", f"{(left + right) / 2:.2f}")
            text.text = (text.text or "").strip()


def _head(root: ElementTree.Element, title: str, description: str, theme: Theme, prefix: str) -> None:
    root.set("role", "img")
    root.set("class", prefix)
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    root.set("style", "max-width:100%;height:auto")
    used = {element.get(key) for element in root.iter() for key in ("fill", "stroke")}
    told: tuple[tuple[str, dict[str, str], str], ...] = (
        ("title", {"id": f"{prefix}-title"}, safe_text(title, LINE)),
        ("desc", {"id": f"{prefix}-desc"}, safe_text(description, 4 * LINE)),
        ("style", {}, _style(theme, prefix, used)),
    )
    for at, (name, attributes, words) in enumerate(told):
        element = ElementTree.Element(tag(name), attributes)
        element.text = words
        root.insert(at, element)
    for text in root.iter(tag("text")):
        text.attrib.pop("font-family", None)


def _style(theme: Theme, prefix: str, used: set[str | None]) -> str:
    fonts = f".{prefix} text{{font-family:{FONTS}}}"
    if theme != "auto":
        return fonts
    return fonts + dark_rules(prefix, (pair for pair in TOKENS.values() if pair[0] in used))


def dark_rules(prefix: str, colours: Iterable[tuple[str, str]]) -> str:
    """A style sheet that replaces each light colour by its dark colour, if the reader prefers dark."""
    rules = "".join(
        f'.{prefix} [{attribute}="{light}"]{{{attribute}:{dark}}}'
        for light, dark in colours
        for attribute in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"
