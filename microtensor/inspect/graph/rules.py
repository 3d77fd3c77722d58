"""The derivative rules of the operations of a graph, with the names, sums and numbers of each call: ``−Σᵢ g·x̂/σ``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.graph.formula import (
    FUNCTIONS,
    Shape,
    Term,
    names_in,
    number,
    parse,
    replaced,
    shape_of,
    written,
)
from microtensor.inspect.graph.options import index_text, reduced_axes
from microtensor.inspect.history import array_of, why_constant
from microtensor.support.arrays import broadcasts
from microtensor.support.axes import axis_count
from microtensor.text import columns

# What stands for the gradient that arrives, the result, and the inputs without a name: the first choice of which no
# part is the name of a variable.
GRADIENTS = (("g",), ("δ",))
RESULTS = (("y",), ("z",))
INPUTS = (("a", "b", "c"), ("u", "v", "w"), ("p", "q", "r"))
# What an axis that is summed over is called.
INDICES = "ᵢⱼₖₗₘₙₚ"
DIGITS = "₀₁₂₃₄₅₆₇₈₉"
# A longer name would make its box wide. In a longer formula, letters stand for sums of names.
WIDEST = 8
LONG = 36
RESERVED = FUNCTIONS | {"π", "NaN"}
# Letters that have a meaning in a formula, also inside of a word.
SIGNS = frozenset("ᵀΣ⁰¹⁴⁵⁶⁷⁸⁹ⁿⁱ" + INDICES)
# Scripts from right to left. In them a browser turns round what stands between two names.
LEFTWARD = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
CENTERED = "x − μ"


def is_constant(value: Any) -> bool:
    """Whether a value is not part of what is differentiated: an array, a number, or what no gradient reaches."""
    return not isinstance(value, Tensor) or why_constant(value) != ""


def is_usable(name: str) -> bool:
    """Whether a variable's name can stand in a formula: a short word that means nothing else there.

    Examples
    --------
    >>> from microtensor.inspect.graph.rules import is_usable
    >>> [name for name in ("x̂", "σ²", "‖v‖", "W_qkv", "a b", "a*b", "log", "Σ", "2", "a_long_name") if is_usable(name)]
    ['x̂', 'σ²', '‖v‖', 'W_qkv']
    """
    word = name[1:-1] if len(name) > 2 and name[0] == name[-1] == "‖" else name
    # A combining mark, such as a hat, takes no column.
    letters = all(c.isalnum() or c in "_′'" or columns(c) == 0 for c in word)
    plain = letters and word[:1].isalpha() and SIGNS.isdisjoint(word) and word not in RESERVED
    return plain and columns(name) <= WIDEST and not LEFTWARD.search(name)


def _free(choices: tuple[tuple[str, ...], ...], names: set[str]) -> tuple[str, ...]:
    """The first choice of letters of which none is a name; with a number below them if there is no other."""
    numbered = (tuple(letter + _lowered(k) for letter in choices[0]) for k in itertools.count(1))
    return next(letters for letters in itertools.chain(choices, numbered) if names.isdisjoint(letters))


def _lowered(k: int) -> str:
    return "".join(DIGITS[int(digit)] for digit in str(k))


class Rules:
    """Writes the rules of recorded operations.

    Parameters
    ----------
    values : iterable
        The tensors and constants of the graph.

    Attributes
    ----------
    letters : tuple of str
        What stands for the gradient that arrives, the result, and the first, second and third input without a name.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self.names = {value.name for value in values if isinstance(value, Tensor) and value.name}
        self.letters = tuple(
            letter for choices in (GRADIENTS, RESULTS, INPUTS) for letter in _free(choices, self.names)
        )

    def name(self, value: Tensor) -> str:
        """The name of a result.

        The library calls the input of each norm x, and a transposed weight Wᵀ. Here these have their own names.
        """
        given, made = value.name or "", value.node
        if made is None or not made.inputs:
            return given
        if not _is_centered(value, made) and not (given == "Wᵀ" and is_transposition(value, made)):
            return given
        own = getattr(made.inputs[0], "name", None) or ""
        if is_usable(own):
            return given.replace(given[0], own)
        return "" if given[0] in self.names else given

    def texts(self, output: Tensor, node: Node) -> tuple[str, ...]:
        """The rule of each argument of a call; empty for constants, and where there is no rule."""
        operation, inputs = node.primitive, node.inputs
        texts = operation.rule_text
        # A backward pass that frees the graph takes the inputs away.
        if not texts or not inputs:
            return ()
        if operation.arity is None:
            texts = (texts[0],) * len(inputs)
        leaves = self._leaves(output, inputs)
        return tuple(
            self._rule(text, argument, leaves, output, node) if text and not is_constant(x) else ""
            for argument, (x, text) in enumerate(zip(inputs, texts, strict=False))
        )

    def _rule(self, text: str, argument: int, leaves: dict[str, Term], output: Tensor, node: Node) -> str:
        term = parse(text)
        leaves = leaves | _options(node)
        if term is None or not names_in(term) <= leaves.keys():
            words = re.sub(r"\bg\b", lambda _: self.letters[0], text)
            return words.replace("[i]", index_text(node.params["index"])) if "index" in node.params else words
        summed = _summed_axes(term, argument, output, node)
        shown = written(_sum(replaced(term, leaves), summed), frozenset(self.names))
        if columns(shown) <= LONG:
            return shown
        letters = dict(zip("xabc", (self.letters[2], *self.letters[2:]), strict=True))
        short = {
            key: Term("name", letters[key]) if key in letters and leaf.kind in ("+", "−", "ᵀ") else leaf
            for key, leaf in leaves.items()
        }
        return written(_sum(replaced(term, short), summed), frozenset(self.names))

    # --- what stands for each letter of a rule --------------------------------------------------------------

    def _leaves(self, output: Tensor, inputs: tuple[Any, ...]) -> dict[str, Term]:
        """The term for g, y and each argument."""
        gradient, result, *letters = self.letters
        found = [self._term(value) for value in inputs[: len(letters)]]
        name = output.name or ""
        own = {name: output} if is_usable(name) else {}
        owners: dict[str, set[int]] = {}
        near = [
            (variable, value) for variables in (own, *(v for _, v in found)) for variable, value in variables.items()
        ]
        # A reader who sees the inputs of an input must not take one of those for it.
        before = [value for x in inputs if isinstance(x, Tensor) and x.node for value in x.node.inputs]
        near += [(value.name, value) for value in before if isinstance(value, Tensor) and value.name]
        for variable, value in near:
            owners.setdefault(variable, set()).add(id(value))
        clear = {variable for variable, values in owners.items() if len(values) == 1}
        terms = [
            term if term is not None and variables.keys() <= clear else Term("name", letter)
            for (term, variables), letter in zip(found, letters, strict=False)
        ]
        y = Term("name", name if own.keys() & clear else result)
        leaves = {"g": Term("name", gradient), "y": y} | dict(zip("abc", terms, strict=False))
        return leaves | {"x": terms[0]} if len(inputs) == 1 else leaves

    def _term(self, value: Any) -> tuple[Term | None, dict[str, Any]]:
        """A value with a name, or a sum, a difference or the transpose of such, as a term; and its variables."""
        simple = _simple(value)
        made = value.node if isinstance(value, Tensor) else None
        if simple[0] is not None or made is None or not made.inputs:
            return simple
        if is_transposition(value, made):
            term, variables = _simple(made.inputs[0])
            base = self.name(value).removesuffix("ᵀ")
            if term is None and is_usable(base) and base != value.name and base not in self.names:
                term, variables = Term("name", base), {base: made.inputs[0]}
            return (None if term is None else Term("ᵀ", "", (term,))), variables
        if made.primitive.name not in ("add", "subtract") or len(made.inputs) != 2:
            return None, {}
        left, right = map(_simple, made.inputs)
        if left[0] is None and _is_centered(value, made) and self.name(value) == CENTERED:
            left = Term("name", "x"), {"x": made.inputs[0]}
        if left[0] is None or right[0] is None:
            return None, {}
        if left[1].keys() & right[1].keys() and made.inputs[0] is not made.inputs[1]:
            return None, {}
        return Term("+" if made.primitive.name == "add" else "−", "", (left[0], right[0])), left[1] | right[1]


def _simple(value: Any) -> tuple[Term | None, dict[str, Any]]:
    """A value with a usable name, or a single number, as a term; and its variables."""
    if isinstance(value, Tensor):
        name = value.name or ""
        return (Term("name", name), {name: value}) if is_usable(name) else (None, {})
    array = np.asarray(value)
    return (number(f"{array.item():.6g}") if array.size == 1 else None), {}


def _is_centered(value: Tensor, node: Node) -> bool:
    """Whether a result is the input of a norm minus its mean, in the names of the library."""
    if value.name != CENTERED or node.primitive.name != "subtract":
        return False
    return isinstance(node.inputs[1], Tensor) and node.inputs[1].name == "μ"


def is_transposition(output: Tensor, node: Node) -> bool:
    """Whether a call exchanges the last two axes and leaves all others."""
    if node.primitive.name != "permute_dims" or output.ndim < 2:
        return False
    return _order(node, output.ndim) == (*range(output.ndim - 2), output.ndim - 1, output.ndim - 2)


def _options(node: Node) -> dict[str, Term]:
    """What rules read of the options of a call: N, and the order that puts permuted axes back."""
    axes = reduced_axes(node)
    if axes is not None:
        return {"N": number(str(axis_count(node.inputs[0].shape, axes)))}
    if node.primitive.name != "permute_dims":
        return {}
    order = _order(node, node.inputs[0].ndim)
    return {"axes": Term("axes", str(tuple(sorted(range(len(order)), key=order.__getitem__))))}


def _order(node: Node, ndim: int) -> Shape:
    return tuple(axis % ndim for axis in node.params.get("axes") or range(ndim)[::-1])


# --- what the engine adds -----------------------------------------------------------------------------------


def _summed_axes(term: Term, argument: int, output: Tensor, node: Node) -> list[int]:
    """The axes that a rule's value is summed over, since the argument was broadcast along them."""
    shapes = [tuple(np.shape(array_of(value))) for value in node.inputs]
    g = output.shape
    axes = reduced_axes(node)
    if axes is not None:
        g = tuple(1 if i in axes else n for i, n in enumerate(shapes[0]))
    if node.primitive.name == "matmul":
        shapes, g = _as_matrices(shapes, g)
    known = {"g": g, "y": g, "N": (), "x": shapes[0]} | dict(zip("abc", shapes, strict=False))
    try:
        found = shape_of(term, known)
    except ValueError:
        return []
    wanted = shapes[argument]
    if found == wanted or not broadcasts(wanted, found):
        return []
    padded = (1,) * (len(found) - len(wanted)) + wanted
    return [i for i, (n, m) in enumerate(zip(padded, found, strict=True)) if n != m]


def _sum(term: Term, axes: list[int]) -> Term:
    """The sum of a term over axes. A minus sign stands before the sum."""
    if not axes:
        return term
    if term.kind == "minus":
        return Term("minus", "", (_sum(term.parts[0], axes),))
    return Term("Σ", "".join(map(_index, axes)), (term,))


def _as_matrices(shapes: list[Shape], g: Shape) -> tuple[list[Shape], Shape]:
    """The shapes of a matrix product in which a vector on the left is a row, and one on the right a column."""
    a, b = shapes
    if len(b) == 1:
        b, g = (*b, 1), (*g, 1)
    if len(a) == 1:
        a, g = (1, *a), (*g[:-1], 1, g[-1])
    return [a, b], g


def _index(axis: int) -> str:
    return INDICES[axis] if axis < len(INDICES) else _lowered(axis)
