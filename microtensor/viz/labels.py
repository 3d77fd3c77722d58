"""The words in a picture: titles, second lines, numbers, local rules. No markup and no colours."""

from __future__ import annotations

import re
import unicodedata

from microtensor.graph import Graph, GraphEdge, GraphNode

LONGEST = 60


def plain(text: str, limit: int = LONGEST) -> str:
    """Text that cannot break a picture: control, format and surrogate characters spelt out, and cut.

    Bidirectional controls count among them: made visible, they cannot reorder what is around them.
    """
    shown = "".join(
        f"\\u{ord(c):04X}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else c
        for c in text[: 4 * limit]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def number(value: float | None) -> str:
    """A norm with two significant digits; ∞ and NaN by name, – when it was not computed."""
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


def shape(node: GraphNode) -> str:
    """The shape of a result; a scalar is called one."""
    return "scalar" if node.shape == () else str(node.shape).replace(",)", ",)")


def title(node: GraphNode, inputs: list[GraphEdge], graph: Graph) -> str:
    """The first line: the name of a leaf, the symbol of an operation."""
    if node.kind in ("data", "parameter", "constant"):
        return plain(node.name or node.role or node.kind)
    if node.constants and node.op in ("add", "subtract", "multiply", "divide", "power"):
        return _with_constant(node)
    if node.op == "subtract" and len(inputs) == 2:
        right = graph.nodes[inputs[1].source]
        if right.statistics and right.name:
            left = graph.nodes[inputs[0].source]
            return plain(f"{left.name if 0 < len(left.name) <= 3 else 'x'} − {right.name}")
    return plain(node.symbol)


def is_epsilon(node: GraphNode) -> bool:
    """Whether an operation adds the small constant that keeps a norm from dividing by zero."""
    return node.op == "add" and node.statistics and len(node.constants) == 1 and float(node.constants[0][1]) < 0.01


def _with_constant(node: GraphNode) -> str:
    argument, value = node.constants[0]
    if is_epsilon(node):
        return "+ ε"
    if node.op == "power":
        return plain(f"( )^{value}" if argument == 1 else f"{value}^( )")
    return plain(f"{node.symbol} {value}" if argument == 1 else f"{value} {node.symbol}")


def second(node: GraphNode) -> str:
    """The second line in a forward picture: what the result is called, and its shape."""
    if node.kind in ("data", "constant"):
        return f"{node.role}  {shape(node)}"
    if node.kind == "parameter":
        return shape(node)
    if is_epsilon(node):
        return f"ε = {float(node.constants[0][1]):.0e}".replace("e-0", "e-") + f"  {shape(node)}"
    name = "" if not node.name or " " in node.name else plain(node.name, 24)
    return f"{name}  {shape(node)}" if name else shape(node)


def rules(node: GraphNode, inputs: list[GraphEdge], graph: Graph) -> str:
    """The local derivative rules with the names of what they read: ``g/σ,  -g*x̂/σ``."""
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
    return plain(",  ".join(named).replace("ᵀᵀ", ""))


def gradient(node: GraphNode, contributions: int) -> str:
    """The gradient line of a backward picture; says when several contributions were added up."""
    text = f"grad {number(node.grad)}"
    return f"{text} = sum of {contributions}" if contributions > 1 and node.grad is not None else text
