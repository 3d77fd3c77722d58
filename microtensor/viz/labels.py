"""The words in a picture: titles, second lines, numbers, local rules. No markup and no colours."""

from __future__ import annotations

import re
import textwrap
from typing import Literal, TypeAlias

from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, Values
from microtensor.inspect.graph.names import is_of_library
from microtensor.inspect.ledger.model import Step
from microtensor.text import safe_text

View: TypeAlias = Literal["forward", "backward", "combined"]

# A note stands in a box, so it has few and short lines.
NOTE_WIDTH, NOTE_LINES = 36, 5
TOOLTIP = 500


def number(value: float | None) -> str:
    """A norm with two significant digits: also ∞, NaN, and – when it was not computed."""
    if value is None:
        return "–"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "∞"
    if value < 1e-12:
        return "0"
    if 1e-4 <= value < 1e4:
        digits = f"{value:.2g}"
        if "e" in digits:
            return f"{value:.0f}"
        whole, _, part = digits.partition(".")
        significant = len((whole + part).lstrip("0"))
        return digits + "0" * (2 - significant) if part and significant < 2 else digits
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def signed(value: float) -> str:
    """A value with two significant digits. The minus sign is −, not a hyphen."""
    return f"−{number(-value)}" if value < 0 else number(value)


def values(node: GraphNode) -> str:
    """The line of numbers: minimum … mean … maximum; one number if they are equal, – if they were not read."""
    if not node.stats:
        return "–"
    low, mean, high, _ = node.stats
    return f"= {signed(mean)}" if low == high else " … ".join(signed(v) for v in (low, mean, high))


def shape(node: GraphNode | Step) -> str:
    """The shape of a result as text; ``scalar`` for a scalar."""
    return "scalar" if node.shape == () else str(node.shape)


def title(node: GraphNode, inputs: list[GraphEdge], graph: Graph) -> str:
    """The first line: the name of a leaf, the symbol of an operation."""
    if node.kind == "parameter" and node.owner:
        around = graph.scope_path(node.scope)
        if not f"{around}.".startswith(f"{node.owner}."):
            # It stands outside the frame of its module.
            return safe_text(qualified(node).removeprefix(f"{around}."))
    if node.kind in ("data", "parameter", "constant"):
        return safe_text(node.name or node.role or node.kind)
    if node.kind in ("module", "function"):
        return card(node)
    if node.constants and node.op in ("add", "subtract", "multiply", "divide", "power"):
        return _with_constant(node)
    if node.op == "subtract" and len(inputs) == 2:
        right = graph.nodes[inputs[1].source]
        if right.kind == "operation" and right.statistics and right.name:
            left = graph.nodes[inputs[0].source]
            return safe_text(f"{left.name if 0 < len(left.name) <= 3 else 'x'} − {right.name}")
    return safe_text(node.symbol)


def family(node: GraphNode) -> str:
    """The name of a node's colours."""
    if node.kind in ("data", "parameter", "constant"):
        return node.kind
    return "statistics" if node.statistics else "operation"


def card(node: GraphNode) -> str:
    """The title of a folded scope: its name, and how many equal scopes the card stands for."""
    return safe_text(node.op) + (f"  × {node.repeats}" if node.repeats > 1 else "")


def parameters(node: GraphNode) -> str:
    """The names and shapes of the parameters inside a folded scope; at most four."""
    listed = "  ".join(f"{safe_text(name, 12)} {size}" for name, size in node.parameters[:4])
    return listed + ("  …" if len(node.parameters) > 4 else "")


def is_epsilon(node: GraphNode) -> bool:
    """Whether an operation adds ε, the small constant that keeps a norm from dividing by zero."""
    return node.op == "add" and node.statistics and len(node.constants) == 1 and float(node.constants[0][1]) < 0.01


def _with_constant(node: GraphNode) -> str:
    argument, value = node.constants[0]
    if is_epsilon(node):
        return "+ ε"
    if node.op == "power":
        return safe_text(f"( )^{value}" if argument == 1 else f"{value}^( )")
    return safe_text(f"{node.symbol} {value}" if argument == 1 else f"{value} {node.symbol}")


def second(node: GraphNode) -> str:
    """The second line in a forward picture: the name of the result and its shape."""
    if node.mark == "failed" and node.kind == "operation":
        return safe_text(node.line) or "raised here"
    if node.kind in ("data", "constant"):
        return f"{safe_text(node.role)}  {shape(node)}"
    if node.kind == "parameter":
        return shape(node)
    if is_epsilon(node):
        return f"ε = {float(node.constants[0][1]):.0e}".replace("e-0", "e-") + f"  {shape(node)}"
    name = safe_text(own_name(node), 24)
    return f"{name}  {shape(node)}" if name else shape(node)


def qualified(node: GraphNode) -> str:
    """The name of a leaf with that of its module: ``model.enc.W``."""
    return ".".join(filter(None, (node.owner, node.name or node.role or node.kind)))


def own_name(node: GraphNode) -> str:
    """The name of a result; empty for names of the library such as ``x − μ``, which the title says as well."""
    return "" if " " in node.name and is_of_library(node.name) else node.name


def rules(node: GraphNode, inputs: list[GraphEdge], graph: Graph) -> str:
    """The local derivative rules with the names of their inputs: ``g/σ,  -g*x̂/σ``."""
    names = {"y": node.name or "y"}
    for edge in inputs:
        source = graph.nodes[edge.source]
        letter = "x" if len(node.rules) == 1 else "ab"[edge.argument] if edge.argument < 2 else ""
        if letter:
            names[letter] = source.name or letter
    for argument, value in node.constants:
        names["ab"[argument] if argument < 2 else ""] = value
    names = {letter: name for letter, name in names.items() if " " not in name and len(name) <= 4}
    needed = {edge.argument for edge in inputs if graph.nodes[edge.source].kind != "constant"}
    texts = [text for argument, text in enumerate(node.rules) if text and argument in needed]
    named = [re.sub(r"(?<![A-Za-z])[abxy](?![A-Za-z])", lambda m: names.get(m[0], m[0]), text) for text in texts]
    return safe_text(",  ".join(named).replace("ᵀᵀ", ""))


def gradient(node: GraphNode, contributions: int) -> str:
    """The gradient line of a backward picture. It says how many contributions were added up."""
    text = f"grad {number(node.grad)}"
    return f"{text} = sum of {contributions}" if contributions > 1 and node.grad is not None else text


def lines(
    node: GraphNode, graph: Graph, inputs: list[GraphEdge], uses: list[GraphEdge], view: View, detail: Values
) -> list[tuple[str, str]]:
    """The lines under the title, each with the name of its colour.

    Parameters
    ----------
    node : GraphNode
    graph : Graph
    inputs, uses : list of GraphEdge
        The edges that enter and that leave the node.
    view : {"forward", "backward", "combined"}
    detail : {"none", "stats", "full"}
    """
    words = second(node)
    if view == "backward" and node.kind == "operation":
        words = rules(node, inputs, graph) or words
    found = [(words, "muted")]
    down, up = ("↓ ", "↑ ") if view == "combined" else ("", "")
    if detail != "none" or view == "combined":
        found.append((down + values(node), "muted"))
    if view != "forward":
        contributions = sum(edge.grad is not None and not edge.other for edge in uses)
        if node.kind == "constant" or (node.kind == "data" and node.grad is None):
            found.append(("no gradient", "muted"))
        else:
            found.append((up + gradient(node, contributions), "gradient"))
    return found + notes(node)


def notes(node: GraphNode) -> list[tuple[str, str]]:
    """The text of a mark, broken into lines that fit into a box."""
    colour = node.mark if node.mark in ("first", "second", "failed") else "ink"
    prefix = "≠ " if node.mark == "changed" else ""
    wrapped = textwrap.wrap(prefix + safe_text(node.note, 200), NOTE_WIDTH, max_lines=NOTE_LINES, placeholder=" …")
    return [(line, colour) for line in wrapped]


def tooltip(node: GraphNode) -> str:
    """All about a node in one line: its operation, name, shape and type, and the line of the program."""
    words = [node.op or node.role or node.kind, node.name, shape(node), node.dtype, node.line, node.note]
    return safe_text("  ".join(word for word in words if word), TOOLTIP)
