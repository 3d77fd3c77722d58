"""The letters of a picture: as the program has them, as Greek letters, or as in the book *Deep Learning*."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, TypeAlias

from microtensor.inspect.graph import Graph, GraphNode
from microtensor.inspect.graph.names import is_of_library

Notation: TypeAlias = Literal["code", "greek", "book"]

WORDS = (
    "alpha α beta β gamma γ delta δ epsilon ε eps ε zeta ζ eta η theta θ kappa κ lambda λ lamda λ lam λ mu μ nu ν xi ξ "
    "pi π rho ρ sigma σ tau τ phi φ chi χ psi ψ omega ω"
)
GREEK = dict(zip(WORDS.split()[::2], WORDS.split()[1::2], strict=True))
LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
# A word that is no part of a longer one, with the numbers after it: gamma, sigma2, mu_1.
WORD = re.compile(r"(?<![^\W_])(d?)([a-z]+)_?(\d*)(?![^\W_])")
# "that" and "what" are words.
HATS = re.compile(r"(?<![^\W_])([xyz]|[^\W_](?=_))_?hat(?![^\W_])")


def in_greek(name: str) -> str:
    """A name with Greek letters in place of their words.

    Examples
    --------
    >>> from microtensor.viz.notation import in_greek
    >>> in_greek("gamma"), in_greek("sigma2"), in_greek("mu_1"), in_greek("dbeta"), in_greek("x_hat"), in_greek("pine")
    ('γ', 'σ²', 'μ₁', 'dβ', 'x̂', 'pine')
    """

    def letter(found: re.Match[str]) -> str:
        d, word, digits = found.groups()
        if d + word in GREEK:
            d, word = "", d + word
        if word not in GREEK:
            return found[0]
        squared = word == "sigma" and digits == "2"
        return d + GREEK[word] + ("²" if squared else digits.translate(LOWERED))

    return HATS.sub("\\1\u0302", WORD.sub(letter, name))


def written(graph: Graph, notation: Notation) -> Graph:
    """The graph in a notation. With "book", the input of a norm is H and its standardized value is H′.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.notation import written
    >>> gamma = mt.tensor([1.0], requires_grad=True, name="gamma")
    >>> written(mt.Graph.from_tensor(gamma * gamma), "greek").nodes[0].name
    'γ'
    """
    if notation == "code":
        return graph
    book = _of_the_book(graph) if notation == "book" else {}
    return replace(graph, nodes=tuple(_renamed(node, book) for node in graph.nodes))


def _of_the_book(graph: Graph) -> dict[str, str]:
    """What the book calls x and x̂: H and H′. A name that another result has is left alone."""
    taken = {node.name for node in graph.nodes}
    normed = {graph.nodes[e.source].name for e in graph.edges if graph.nodes[e.target].statistics}
    book = {}
    if "x" in normed and "H" not in taken:
        book["x"] = "H"
    if "H′" not in taken:
        book["x\u0302"] = "H′"
    return book


def _renamed(node: GraphNode, book: dict[str, str]) -> GraphNode:
    def text(words: str) -> str:
        words = in_greek(words)
        if not book:
            return words
        return re.sub(r"(?<![^\W_])x\u0302?(?![^\W_])", lambda m: book.get(m[0], m[0]), words)

    # What the library calls x − μ is drawn as such, and its title has the names of its inputs.
    kept = " " in node.name and is_of_library(node.name)
    return replace(
        node,
        name=node.name if kept else text(node.name),
        rules=tuple(map(text, node.rules)),
        parameters=tuple((text(name), shape) for name, shape in node.parameters),
    )
