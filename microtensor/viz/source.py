"""DOT source, statement by statement. A :class:`Markup` is markup, and everything else is text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import graphviz

# Deeper frames are not indented further, else the source would grow with the square of the depth.
DEEPEST = 8
COLOURED = {"bgcolor", "color", "fillcolor", "fontcolor"}


class Markup(str):
    """An HTML-like label of our own, with its outer brackets. Foreign text in it has been escaped."""

    __slots__ = ()


def quoted(value: str) -> str:
    r"""A value of an attribute, quoted. Graphviz finds markup, entities or escapes only in a :class:`Markup`.

    Without quotes, a string from ``<`` to ``>`` would be markup, ``&lt;`` a bracket, and ``\N`` the name of the node.

    Examples
    --------
    >>> from microtensor.viz.source import Source
    >>> source = Source("g")
    >>> source.node("n0", label=r"<b> & \N>")
    >>> print(source.text().splitlines()[1].strip())
    n0 [label="<b> &amp; \\N>"]
    """
    if isinstance(value, Markup):
        return str(value)
    # The class of this value tells the package that brackets are text, so it must not become a plain str.
    escaped: str = graphviz.escape(value.replace("&", "&amp;"))
    return escaped


class Source:
    """A directed graph being written. Frames are opened and closed, at any depth.

    Parameters
    ----------
    name : str
    colours : dict, optional
        The value of each colour by its name. Attributes of colour may hold these names, joined by colons.
    size : callable, optional
        Gives the size of a text in points, from that of an ordinary picture.
    """

    def __init__(
        self, name: str, colours: dict[str, str] | None = None, size: Callable[[float], float] = float
    ) -> None:
        self._dot: Any = graphviz.Digraph(name)
        self._depth = 0
        self._colours = colours or {}
        self._size = size

    def defaults(self, graph: dict[str, str], edge: dict[str, str], legend: str = "") -> None:
        """Fonts and colours of all pictures, and further attributes of this graph and its edges."""
        plain = {"fontname": "Helvetica", "fontsize": "12", "fontcolor": "ink"}
        self.attributes("graph", **{"bgcolor": "bg", "rankdir": "TB", "pad": "0.25"} | plain | graph)
        if legend:
            self.legend(legend)
        self.attributes("node", **plain)
        self.attributes("edge", fontname="Helvetica", fontsize="10", fontcolor="muted", **edge)

    def legend(self, markup: str) -> None:
        """A label below the picture."""
        self.attributes("graph", labelloc="b", label=markup)

    def text(self) -> str:
        """The DOT source written so far."""
        return str(self._dot.source)

    def attributes(self, of: str | None = None, /, **values: str) -> None:
        """Attributes of the open frame, or of all nodes or edges that follow in it."""
        self._dot.attr(of, **self._quoted(values))
        self._indent()

    def node(self, name: str, /, **values: str) -> None:
        """A node."""
        self._dot.node(name, **self._quoted(values))
        self._indent()

    def edge(self, tail: str, head: str, /, **values: str) -> None:
        """An edge."""
        self._dot.edge(tail, head, **self._quoted(values))
        self._indent()

    def open(self, name: str = "") -> None:
        """Begin a frame, or without a name a group of nodes."""
        self._dot.body.append(f"\tsubgraph {name} {{\n" if name else "\t{\n")
        self._indent()
        self._depth += 1

    def close(self) -> None:
        """End the frame or group that was opened last."""
        self._depth -= 1
        self._dot.body.append("\t}\n")
        self._indent()

    def _indent(self) -> None:
        self._dot.body[-1] = "\t" * min(self._depth, DEEPEST) + self._dot.body[-1]

    def _quoted(self, values: dict[str, str]) -> dict[str, str]:
        for name in COLOURED & values.keys():
            values[name] = ":".join(self._colours.get(token, token) for token in values[name].split(":"))
        if "tooltip" in values:
            # Graphviz reads the escapes of a tooltip twice.
            values["tooltip"] = values["tooltip"].replace("\\", "\\\\")
        if "fontsize" in values:
            values["fontsize"] = f"{self._size(float(values['fontsize'])):g}"
        return {name: quoted(self._sized(value)) for name, value in values.items()}

    def _sized(self, value: str) -> str:
        """Markup with its texts in their sizes. Foreign text in markup has no quotes, since it has been escaped."""
        if not isinstance(value, Markup):
            return value
        return Markup(re.sub(r'POINT-SIZE="(\d+)"', lambda m: f'POINT-SIZE="{self._size(float(m[1])):g}"', value))
