"""The pictures of the interactive page: small SVG with variables as colours, in which each part has its number.

A picture is laid out backward. Each node has a line for a number, and there is a pill where contributions add up. The
page decides what is seen at a step, and which way the arrows point.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import replace

from microtensor.inspect.graph import Graph, GraphNode
from microtensor.text import safe_text
from microtensor.viz import labels
from microtensor.viz.dot import to_dot
from microtensor.viz.engine import Engine, layout
from microtensor.viz.frames import first_nodes
from microtensor.viz.shapes import SVG, classes, points, tag
from microtensor.viz.svg import dress
from microtensor.viz.theme import TOKENS

# Attributes that only a picture in a file of its own needs, and those that the page's style sheet sets.
NEEDLESS = ("style", "font-weight", "stroke-linejoin", "paint-order", "{http://www.w3.org/XML/1998/namespace}space")
ENGINE_KINDS = ("node", "edge", "cluster", "mt-gradient")
# The room for a number, in characters. Two spaces are as wide as a digit.
ROOM = 13
PADDING = "\u00a0\u00a0"
# Attributes that the group around all parts has, so that the parts need not repeat them.
INHERITED = {"text-anchor": "middle", "font-size": "10"}
VARIABLES = {light: f"var(--{name})" for name, (light, _) in TOKENS.items()}


def draw(graph: Graph, *, title: str, description: str, prefix: str, engine: Engine = "auto") -> str:
    """One picture as an SVG element that can stand in HTML.

    The attributes ``data-node`` of nodes, ``data-edge`` of pills and edges, and ``data-scope`` of frames and their
    names hold the numbers in `graph`. An edge through a pill is drawn in two parts. The box of the output has the
    number of the root. The edge into it has the number after the last edge.

    Parameters
    ----------
    graph : Graph
    title, description : str
        For readers who do not see the picture.
    prefix : str
        The beginning of all ids. Pictures on one page need different prefixes.
    engine : {"auto", "embedded", "system"}

    Raises
    ------
    EngineError
        There is no layout engine, or it failed.
    """
    # Local rules would make the boxes wider. The page shows them in its details.
    shown = replace(graph, nodes=tuple(replace(node, rules=()) for node in graph.nodes))
    source = to_dot(shown, view="backward", legend=False).rstrip().removesuffix("}") + "ranksep=0.22 }"
    # The line of the gradient shows the value first, which needs room for two numbers.
    number = r">( ?(?:(?:grad|‖grad‖) [^<]*|no gradient))<"
    source = re.sub(number, lambda m: f">{m[1]}{PADDING * (ROOM - len(m[1]))}<", source)
    root = ElementTree.fromstring(layout(source, "svg", engine))
    _mark(root, graph)
    dress(root, title, description, "light", prefix)
    _shrink(root)
    _arrange(root, graph)
    root.set("role", "group")
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _mark(root: ElementTree.Element, graph: Graph) -> None:
    """Mark each part with its number in the graph. The engine's titles hold the statement of each part."""
    pills = {f"g{e.source}_{e.target}_{e.argument}": i for i, e in enumerate(graph.edges)}
    between: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, e in enumerate(graph.edges):
        between[f"n{e.source}", f"n{e.target}"].append(i)
    between[f"n{graph.root}", "output"] = [len(graph.edges)]
    for group in root.iter(tag("g")):
        statement = group.findtext(tag("title")) or ""
        tail, _, head = statement.partition("->")
        if scope := re.fullmatch(r"cluster_s(\d+)", statement):
            for part in (group, *group.iter(tag("text"))):
                part.set("data-scope", scope[1])
        elif node := re.fullmatch(r"n(\d+)", statement):
            group.set("data-node", node[1])
        elif statement == "output":
            group.set("data-node", str(graph.root))
            group.set("class", f"{group.get('class')} mt-output")
        elif tail in pills or head in pills:
            group.set("data-edge", str(pills[tail if tail in pills else head]))
        elif head:
            group.set("data-edge", str(between[tail, head].pop(0)))


def _shrink(root: ElementTree.Element) -> None:
    """Remove what the page has elsewhere: styles, tooltips, fixed colours. Boxes become rectangles."""
    for parent in list(root.iter()):
        boxed = {"node", "cluster"} & set(classes(parent))
        for child in list(parent):
            background = (
                child.tag == tag("polygon") and child.get("stroke") == "none" and parent.get("class") == "graph"
            )
            if child.tag == tag("style") or background or (child.tag == tag("title") and parent is not root):
                parent.remove(child)
            elif boxed and child.tag == tag("path"):
                _to_rectangle(child)
    for element in root.iter():
        element.text, element.tail = (element.text or "").strip("\n") or None, None
        if element.tag == tag("g"):
            element.attrib.pop("id", None)
        if element.get("font-weight") == "bold":
            element.set("class", "b")
        for name, value in list(element.items()):
            if name in NEEDLESS:
                del element.attrib[name]
            elif name in ("fill", "stroke"):
                element.set(name, VARIABLES.get(value, value))
            elif name in ("d", "points", "x", "y", "stroke-width", "font-size", "transform"):
                element.set(name, re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), value))
        for name, value in INHERITED.items():
            if element.get(name) == value:
                del element.attrib[name]
    for name in ("width", "height"):
        root.attrib.pop(name, None)


def _to_rectangle(path: ElementTree.Element) -> None:
    """Replace the curves of a rounded box by a rectangle, which takes a fifth of the text."""
    xs, ys = zip(*points(path.attrib.pop("d")), strict=True)
    path.tag = tag("rect")
    corners = {
        "x": min(xs),
        "y": min(ys),
        "width": max(xs) - min(xs),
        "height": max(ys) - min(ys),
        "rx": min(12.0, max(xs) - xs[0]),
    }
    for name, value in corners.items():
        path.set(name, f"{value:.1f}".removesuffix(".0"))


def _arrange(root: ElementTree.Element, graph: Graph) -> None:
    """Put the parts in the order of the program, which the Tab key follows, and name them for screen readers."""
    drawing = root.find(tag("g"))
    assert drawing is not None
    drawing.attrib.update(INHERITED)
    drawing.set("transform", re.sub(r"(scale|rotate)\(.*?\) *", "", drawing.get("transform", "")))
    parts = list(drawing)
    names: dict[int, ElementTree.Element] = {}
    for text in drawing.iterfind(f"{tag('g')}[@class='mt-scope-names']/{tag('text')}"):
        scope = int(text.attrib.pop("data-scope"))
        if scope not in names:
            names[scope] = ElementTree.Element(tag("g"), {"class": "mt-name"})
            _make_button(names[scope], f"{graph.scopes[scope].name} {graph.scopes[scope].detail}")
            names[scope].set("data-scope", str(scope))
        _part_words(text)
        names[scope].append(text)
    # The name of a frame comes before its first node. Of frames with the same first node, the outer one comes first.
    first, levels, last = first_nodes(graph), graph.scope_levels(), len(graph.nodes)
    ordered = [((2, first.get(s, last), levels[s]), name) for s, name in names.items()]
    for part in parts:
        kinds = classes(part)
        if "mt-scope-names" in kinds:
            continue
        if "mt-node" in kinds:
            number = int(part.get("data-node", 0))
            place = (2, last if "mt-output" in kinds else number, len(levels))
            ordered.append((place, part))
            _make_button(part, *_words_of(graph.nodes[number]))
        else:
            # Of an edge in two parts, the part with the arrow, at the source, comes first.
            layer = 0 if "cluster" in kinds else 1
            ordered.append(((layer, layer * (part.find(tag("polygon")) is None), 0), part))
            _hoist(part)
        part.set("class", " ".join(kind for kind in kinds if kind not in ENGINE_KINDS))
    drawing[:] = [part for _, part in sorted(ordered, key=lambda entry: entry[0])]


def _hoist(part: ElementTree.Element) -> None:
    """Write once what the line of an edge and its arrow have in common."""
    if part.find(tag("path")) is None:
        return
    for name in ("stroke", "stroke-width"):
        values = {child.get(name) for child in part}
        if len(values) == 1 and (value := values.pop()) is not None:
            part.set(name, value)
            for child in part:
                del child.attrib[name]


def _make_button(element: ElementTree.Element, *words: str) -> None:
    said = ", ".join(safe_text(word.strip()) for word in words if word)
    element.attrib.update({"tabindex": "0", "role": "button", "aria-label": said})
    for text in element.iter(tag("text")):
        _part_words(text)


def _part_words(text: ElementTree.Element) -> None:
    """Put spaces between lines, and between runs of a line: a screen reader would read them as one word."""
    text.tail = " "
    for run in text:
        text.text = f"{(text.text or '').rstrip(' ')} "
        run.text = (run.text or "").lstrip(" \u00a0")
        run.set("dx", "4")


def _words_of(node: GraphNode) -> list[str]:
    kind = "statistics path" if node.statistics else node.role or node.kind
    heading = node.op or node.name or node.role
    return [heading, *(word for word in (node.name, kind) if word != heading), labels.shape(node)]
