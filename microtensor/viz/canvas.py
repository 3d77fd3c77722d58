"""Flat drawings of lines and text. An SVG needs no layout engine, a PNG is drawn by one."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

from microtensor.viz import engine as _engine
from microtensor.viz.engine import Engine, EngineError
from microtensor.viz.shapes import tag
from microtensor.viz.svg import Theme, as_bytes, dark_rules, dress, own_name
from microtensor.viz.theme import TOKENS

Point: TypeAlias = tuple[float, float]

MONOSPACE = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace'
PNG_DPI = 144


@dataclass(frozen=True)
class Path:
    """Lines through points, all of one style. With a fill they are closed. Colours are names of tokens."""

    lines: tuple[tuple[Point, ...], ...]
    stroke: str
    width: float
    fill: str = ""
    dashed: bool = False

    def svg(self, palette: dict[str, str]) -> str:
        """The path as an element."""
        fill = palette[self.fill] if self.fill else "none"
        trace = "".join(_trace(points, bool(self.fill)) for points in self.lines)
        dashes = ' stroke-dasharray="5 4"' if self.dashed else ""
        return (
            f'<path fill="{fill}" stroke="{palette[self.stroke]}" stroke-width="{self.width:g}" '
            f'stroke-linejoin="round" stroke-linecap="round"{dashes} d="{trace}"/>'
        )

    def xdot(self, palette: dict[str, str], height: float) -> str:
        """The path in Graphviz's language for drawings, in which y points up."""
        parts = [
            _sized("S", "dashed" if self.dashed else "solid"),
            _sized("S", f"setlinewidth({self.width:g})"),
            _sized("c", palette[self.stroke]),
        ]
        if self.fill:
            parts.append(_sized("C", palette[self.fill]))
        letter = "P" if self.fill else "L"
        for points in self.lines:
            at = " ".join(f"{x:.2f} {height - y:.2f}" for x, y in points)
            parts.append(f"{letter} {len(points)} {at}")
        return " ".join(parts)


@dataclass(frozen=True)
class Text:
    """A line of text. `x` is its middle, or its start when it is not centred; `y` is its baseline."""

    x: float
    y: float
    text: str
    size: float
    colour: str = "ink"
    bold: bool = False
    mono: bool = False
    centred: bool = True

    def svg(self, palette: dict[str, str]) -> str:
        """The text as an element."""
        extra = ' text-anchor="middle"' if self.centred else ""
        extra += ' font-weight="bold"' if self.bold else ""
        extra += ' class="mt-code"' if self.mono else ""
        return (
            f'<text x="{self.x:g}" y="{self.y:g}" font-size="{self.size:g}" fill="{palette[self.colour]}"{extra}>'
            f"{escape(self.text, quote=False)}</text>"
        )

    def xdot(self, palette: dict[str, str], height: float) -> str:
        """The text in Graphviz's language for drawings, in which y points up."""
        font = ("Courier" if self.mono else "Helvetica") + ("-Bold" if self.bold else "")
        width = len(self.text) * self.size * (0.6 if self.mono else 0.5)
        # The engine draws a tenth of the size above the baseline that it is given.
        baseline = height - self.y - 0.1 * self.size
        at = f"T {self.x:g} {baseline:g} {0 if self.centred else -1} {width:g}"
        return " ".join((_sized("c", palette[self.colour]), _sized(f"F {self.size:g}", font), _sized(at, self.text)))


def _trace(points: tuple[Point, ...], closed: bool) -> str:
    # Adding 0 turns a -0.0 of rounding into 0.
    steps = "L".join(f"{round(x, 2) + 0:g} {round(y, 2) + 0:g}" for x, y in points)
    return f"M{steps}{'Z' if closed else ''}"


def _sized(letter: str, text: str) -> str:
    return f"{letter} {len(text.encode('utf-8'))} -{text}"


@dataclass(frozen=True)
class Drawing:
    """Shapes on a background; y points down.

    Attributes
    ----------
    width, height : float
    shapes : tuple of Path and Text
    colours : mapping
        Further colours: from token to (light, dark).
    """

    width: float
    height: float
    shapes: tuple[Path | Text, ...]
    colours: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def palette(self, theme: Theme) -> dict[str, str]:
        """The value of every token. "auto" is drawn in light colours, which a style sheet changes."""
        column = 1 if theme == "dark" else 0
        return {name: values[column] for name, values in {**TOKENS, **self.colours}.items()}


def to_svg(drawing: Drawing, *, title: str, description: str, theme: Theme = "auto") -> bytes:
    """The drawing as an SVG. This needs no layout engine.

    Parameters
    ----------
    drawing : Drawing
    title, description : str
        For readers who do not see the picture.
    theme : {"auto", "light", "dark"}
    """
    palette = drawing.palette(theme)
    width, height = drawing.width, drawing.height
    ground = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    shapes = "".join(shape.svg(palette) for shape in drawing.shapes)
    raw = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<g><path fill="{palette["bg"]}" stroke="none" d="{_trace(ground, True)}"/>{shapes}</g></svg>'
    )
    name = own_name(raw.encode("utf-8"), theme)
    rules = f".{name} .mt-code{{font-family:{MONOSPACE}}}"
    if theme == "auto":
        rules += dark_rules(name, drawing.colours.values())
    root = ElementTree.fromstring(raw)
    style = ElementTree.Element(tag("style"))
    style.text = rules
    root.insert(0, style)
    dress(root, title, description, theme, name)
    return as_bytes(root)


def to_png(drawing: Drawing, *, theme: Theme = "light", engine: Engine = "auto") -> bytes:
    """The drawing as a PNG of 144 dots per inch. The engine draws it as the background of an empty graph.

    Raises
    ------
    EngineError
        There is no layout engine, or it failed.
    """
    try:
        _engine.find(engine)
    except EngineError:
        raise EngineError(
            "a PNG is drawn by the layout engine, and there is none: pip install graphviz-pure, or install Graphviz "
            "for its dot; an SVG needs none"
        ) from None
    palette = drawing.palette(theme)
    operations = " ".join(shape.xdot(palette, drawing.height) for shape in drawing.shapes).replace('"', '\\"')
    corners = "".join(
        f'{name} [pos="{x:g},{y:g}", shape=point, style=invis, width=0, height=0];'
        for name, x, y in (("a", 0, 0), ("b", drawing.width, drawing.height))
    )
    source = (
        f'digraph {{ graph [layout=nop, pad=0, bgcolor="{palette["bg"]}", _background="{operations}"]; {corners} }}'
    )
    return _engine.layout(source, "png", engine, dpi=PNG_DPI)
