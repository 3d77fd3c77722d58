"""The words in a picture: titles, second lines, numbers, local rules. No markup and no colours."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Literal, TypeAlias

from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, Values
from microtensor.inspect.graph.formula import RAISED
from microtensor.inspect.graph.names import is_of_library
from microtensor.inspect.ledger.model import Step
from microtensor.text import safe_text

View: TypeAlias = Literal["forward", "backward", "combined"]

# A note stands in a box, so it has few and short lines.
NOTE_WIDTH, NOTE_LINES = 36, 5
TOOLTIP = 500
# The formulas of a node that reads several inputs are longer than a name.
RULES = 200
# Formulas that are longer together stand below each other.
TOGETHER = 32
APART = ",  "


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


def signed(value: float | None) -> str:
    """A value with two significant digits. The minus sign is −, not a hyphen."""
    text = number(abs(value) if value is not None else None)
    return f"−{text}" if value is not None and value < 0 and text != "0" else text


def is_number(node: GraphNode) -> bool:
    """Whether the gradient of a node is a single number."""
    return math.prod(node.shape) == 1


def is_single(edge: GraphEdge, source: GraphNode) -> bool:
    """Whether the gradient along an edge is a single number. A folded scope may hand on other results than it shows."""
    return (edge.grad is not None and edge.grad < 0) or (is_number(source) and not edge.other)


def flow(edge: GraphEdge, source: GraphNode, letter: str = "g") -> str:
    """The gradient along an edge: ``g = −1.5`` of a number, ``‖g‖ = 1.5`` of an array."""
    return f"{letter if is_single(edge, source) else f'‖{letter}‖'} = {signed(edge.grad)}"


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
        left, right = (graph.nodes[edge.source] for edge in inputs)
        if right.kind == "operation" and right.statistics and right.name:
            # The library names this result, with x where the minuend has no name, unless another result is x.
            minuend = left.name if 0 < len(left.name) <= 3 else "x" if node.name == f"x − {right.name}" else "( )"
            return safe_text(f"{minuend} − {right.name}")
    return safe_text(node.symbol)


def family(node: GraphNode) -> str:
    """The name of a node's colours."""
    if node.kind in ("data", "parameter", "constant"):
        return node.kind
    if node.unrecorded:
        return "constant"
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
    value = value.replace("e-0", "e-").replace("e+0", "e+")
    signed_value = f"(−{value[1:]})" if value.startswith("-") else value
    if node.op == "power":
        exponent = value.replace("-", "−")
        raised = "".join(RAISED[sign] for sign in exponent) if set(exponent) <= RAISED.keys() else f"^{signed_value}"
        return safe_text(f"( ){raised}" if argument == 1 else f"{signed_value}^( )")
    return safe_text(f"{node.symbol} {signed_value}" if argument == 1 else f"{signed_value} {node.symbol}")


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


def over(node: GraphNode) -> str:
    """The axes of a sum or a mean: ``over axis 0``. Those of a call that failed are not known."""
    return safe_text(node.over) if node.mark != "failed" else ""


def letters(graph: Graph) -> str:
    """What the letters in the rules of a graph stand for, if they occur."""
    texts = " ".join(text for node in graph.nodes for text in node.rules)
    # ᵀ and ² are letters to a regular expression.
    used = set(re.findall(r"(?<![^\W\d])[^\W\d_ᵀ²³]+[₀-₉]*", texts))
    gradient, result, *inputs = graph.letters
    meanings = [(gradient, "gradient that arrives"), (result, "result")]
    meanings += zip(inputs, ("first input", "second input", "third input"), strict=False)
    return ",  ".join(f"{safe_text(letter, 8)}: {meaning}" for letter, meaning in meanings if letter in used)


def rules(node: GraphNode) -> str:
    """What an operation adds to the gradients of its inputs: ``g/σ,  −Σᵢ g·x̂/σ``."""
    # Equal rules of many inputs, such as those of a concatenation, are written once.
    texts = list(dict.fromkeys(filter(None, node.rules))) if len(node.rules) > 2 else [*filter(None, node.rules)]
    return safe_text(APART.join(texts), RULES)


def added(node: GraphNode, arguments: list[int]) -> str:
    """What an operation adds to the gradient of one result that it reads as these arguments."""
    texts = [node.rules[argument] for argument in arguments if argument < len(node.rules) and node.rules[argument]]
    return safe_text(" + ".join(texts).replace("+ −", "− "), RULES)


def beside(node: GraphNode, view: View) -> str:
    """The name of a result, where a formula stands in the line that has the name in a forward picture."""
    hidden = view == "backward" and node.kind == "operation" and rules(node)
    return safe_text(own_name(node), 24) if hidden else ""


def heading(node: GraphNode, view: View) -> list[str]:
    """The lines before the numbers: the axes of a reduction, and the shape or the formulas."""
    words = [second(node)]
    if view == "backward" and node.kind == "operation" and (found := rules(node)):
        words = [found] if len(found) <= TOGETHER else found.split(APART)
    return [*filter(None, [over(node)]), *words]


def gradient(node: GraphNode, contributions: int) -> str:
    """The gradient line of a backward picture: a number or a norm. It says how many contributions were added up."""
    text = f"{'grad' if is_number(node) else '‖grad‖'} {signed(node.grad)}"
    return f"{text}, sum of {contributions}" if contributions > 1 and node.grad is not None else text


def lines(node: GraphNode, uses: list[GraphEdge], view: View, detail: Values) -> list[tuple[str, str]]:
    """The lines under the title, each with the name of its colour.

    Parameters
    ----------
    node : GraphNode
    uses : list of GraphEdge
        The edges that leave the node.
    view : {"forward", "backward", "combined"}
    detail : {"none", "stats", "full"}
    """
    found = [(text, "muted") for text in heading(node, view)]
    down, up = ("↓ ", "↑ ") if view == "combined" else ("", "")
    if detail != "none" or view == "combined":
        found.append((down + values(node), "muted"))
    if view != "forward":
        contributions = sum(edge.grad is not None and not edge.other for edge in uses)
        if node.kind == "constant" or node.unrecorded or (node.kind == "data" and node.grad is None):
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
    words = [node.op or node.role or node.kind, node.over, node.name, shape(node), node.dtype, node.line, node.note]
    return safe_text("  ".join(word for word in words if word), TOOLTIP)
