"""The formulas of derivative rules: read from text, given the shapes and names of one call, and written again.

A rule's text is one expression over ``g`` (the cotangent of the result), ``y`` (the result), the arguments ``a``,
``b``, ``c`` (``x`` if there is only one) and ``N`` (the number of elements in each mean). Its signs are
``+ − · / @``, powers (``x²``, ``a^(b − 1)``), ``ᵀ``, ``√``, ``π``, ``|x|``, calls such as ``exp(x)``, and brackets
with a comparison, ``[x > 0]``, which are 1 where it is true and 0 elsewhere. A number stands before a name without a
sign: ``2x``. Text that is no such expression is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]

LONGEST = 200
# The names of functions in formulas. A variable with such a name is shown under another one.
FUNCTIONS = frozenset(
    {"cos", "cosh", "count", "exp", "log", "permute", "reshape", "sigmoid", "sign", "sin", "sinh", "sqrt", "tanh"}
)
# Their result has the shape of the argument of the rule.
RESHAPING = frozenset({"permute", "reshape"})
COMPARISONS = ("=", "≠", "<", ">", "≤", "≥")
RAISED = dict(zip("0123456789−+ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ", strict=True))
LOWERED = {raised: plain for plain, raised in RAISED.items()}
TOKEN = re.compile(r"\d+(?:\.\d+)?(?:e[-−+]?\d+)?|[A-Za-z]+|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ]+|\S")


@dataclass(frozen=True)
class Term:
    """A part of a formula: its kind, the text of a leaf or of a call, and its parts.

    The kinds are "number", "name", "axes", "π", "minus", "+", "−", "·", "/", "@", "power", "ᵀ", "√", "|", "call", "[",
    "Σ", and the comparisons. "Σ" has its axes as text.
    """

    kind: str
    text: str = ""
    parts: tuple[Term, ...] = ()


def number(text: str) -> Term:
    """A number, from its text in Python."""
    if text.startswith("-"):
        return Term("minus", "", (number(text[1:]),))
    return Term("number", {"inf": "∞", "nan": "NaN"}.get(text, text.replace("e-0", "e-").replace("e+0", "e+")))


# --- reading ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse(text: str) -> Term | None:
    """The expression that a text is; None if it is none.

    Examples
    --------
    >>> from microtensor.inspect.graph.formula import parse, written
    >>> written(parse("-g*y/b"))
    '−g·y/b'
    >>> parse("g where true") is None
    True
    """
    try:
        return _Reading(text).whole()
    except ValueError:
        return None


class _Reading:
    """A text being read from left to right. All methods raise ValueError where it is no expression."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError
        self.tokens: list[str] = [*TOKEN.findall(text.replace("-", "−").replace("*", "·")), ""]
        self.at = 0

    def whole(self) -> Term:
        term = self.sum()
        self.take("")
        return term

    @property
    def ahead(self) -> str:
        return self.tokens[self.at]

    def take(self, *expected: str) -> str:
        found = self.ahead
        if expected and found not in expected:
            raise ValueError
        self.at += 1
        return found

    def sum(self) -> Term:
        term = self.product()
        while self.ahead in ("+", "−"):
            term = Term(self.take(), "", (term, self.product()))
        return term

    def product(self) -> Term:
        if self.ahead == "−":
            self.take()
            return Term("minus", "", (self.product(),))
        term = self.power()
        while self.ahead in ("·", "/", "@"):
            term = Term(self.take(), "", (term, self.power()))
        return term

    def power(self) -> Term:
        term = self.atom()
        while self.ahead == "ᵀ" or self.ahead == "^" or self.ahead[:1] in LOWERED:
            if self.ahead == "ᵀ":
                term = Term(self.take(), "", (term,))
            elif self.ahead == "^":
                self.take()
                term = Term("power", "", (term, self.atom()))
            else:
                exponent = _Reading("".join(LOWERED[sign] for sign in self.take())).whole()
                term = Term("power", "", (term, exponent))
        # A number is multiplied by what follows it without a sign.
        if term.kind == "number" and (self.ahead in ("(", "√") or self.ahead.isalpha()):
            return Term("·", "", (term, self.power()))
        return term

    def atom(self) -> Term:
        token = self.take()
        if token[:1].isdigit():
            return Term("number", token)
        if token.isascii() and token.isalpha():
            return self.call(token) if self.ahead == "(" else Term("name", token)
        if token == "π":
            return Term(token)
        if token == "√":
            return Term(token, "", (self.power(),))
        if token not in ("(", "[", "|"):
            raise ValueError
        inner = self.comparison() if token == "[" else self.sum()
        self.take({"(": ")", "[": "]", "|": "|"}[token])
        return inner if token == "(" else Term(token, "", (inner,))

    def call(self, function: str) -> Term:
        if function not in FUNCTIONS:
            raise ValueError
        self.take("(")
        parts = [self.comparison() if function == "count" else self.sum()]
        while self.ahead == ",":
            self.take()
            parts.append(self.sum())
        self.take(")")
        return Term("call", function, tuple(parts))

    def comparison(self) -> Term:
        left = self.sum()
        return Term(self.take(*COMPARISONS), "", (left, self.sum()))


# --- shapes -----------------------------------------------------------------------------------------------


def names_in(term: Term) -> set[str]:
    """The names of all variables."""
    if term.kind == "name":
        return {term.text}
    return {found for part in term.parts for found in names_in(part)}


def shape_of(term: Term, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of the value of a formula, from the shapes of its variables.

    Raises
    ------
    ValueError
        The shapes do not fit together, or a call gives another shape.
    """
    if term.kind == "name":
        return shapes[term.text]
    if term.kind == "call" and term.text in RESHAPING:
        raise ValueError("the call gives another shape")
    parts = [shape_of(part, shapes) for part in term.parts]
    if term.kind == "ᵀ":
        return (*parts[0][:-2], *parts[0][:-3:-1])
    if term.kind == "@":
        left, right = parts
        if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
            raise ValueError("the shapes do not fit")
        return (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    return np.broadcast_shapes(*parts)


def replaced(term: Term, leaves: Mapping[str, Term]) -> Term:
    """The formula with terms in the place of its variables. Signs move to the front, and powers of numbers are found.

    Examples
    --------
    >>> from microtensor.inspect.graph.formula import number, parse, replaced, written
    >>> written(replaced(parse("b·a^(b − 1)·g"), {"b": number("3")}))
    '3a²·g'
    """
    if term.kind == "name":
        return leaves.get(term.text, term)
    parts = tuple(replaced(part, leaves) for part in term.parts)
    first = parts[0] if parts else term
    if term.kind == "−" and all(_value(part) is not None for part in parts):
        return number(f"{float(_value(parts[0]) or 0) - float(_value(parts[1]) or 0):.6g}")
    if term.text == "permute" and parts[-1].kind == "axes":
        return _permuted(first, tuple(map(int, re.findall(r"\d+", parts[-1].text))), parts[-1])
    if term.kind == "power" and _value(parts[1]) == 1:
        return first
    if term.kind in ("·", "/") and first.kind == "minus":
        return Term("minus", "", (replace_parts(term, (first.parts[0], *parts[1:])),))
    if term.kind in ("ᵀ", "minus") and first.kind == term.kind:
        return first.parts[0]
    return replace_parts(term, parts)


def _permuted(term: Term, order: Shape, axes: Term) -> Term:
    """The axes of a term in another order: nothing, ᵀ, or a call."""
    plain = tuple(range(len(order)))
    if order == plain:
        return term
    if order == (*plain[:-2], *plain[:-3:-1]):
        return Term("ᵀ", "", (term,))
    return Term("call", "permute", (term, axes))


def replace_parts(term: Term, parts: tuple[Term, ...]) -> Term:
    """The same sign between other parts."""
    return Term(term.kind, term.text, parts)


def _value(term: Term) -> float | None:
    """The value of a number; None for anything else."""
    if term.kind == "minus":
        value = _value(term.parts[0])
        return None if value is None else -value
    return float(term.text.replace("∞", "inf").replace("−", "-")) if term.kind == "number" else None


# --- writing ----------------------------------------------------------------------------------------------

# What binds more closely has a larger number.
SUM, PRODUCT, POWER, ATOM = range(4)
BINDING = {"+": SUM, "−": SUM, "minus": SUM, "Σ": SUM, "·": PRODUCT, "/": PRODUCT, "@": PRODUCT, "√": POWER}


def written(term: Term, names: frozenset[str] = frozenset()) -> str:
    """A formula as text, with parentheses where they are needed.

    Parameters
    ----------
    term : Term
    names : frozenset of str
        The names of variables. What would look like one of them, as σ² and Wᵀ could, is written with parentheses.
    """

    def part(of: Term, least: int) -> str:
        text = written(of, names)
        return f"({text})" if _binding(of) < least else text

    parts = term.parts
    match term.kind:
        case "number" | "name" | "axes" | "π":
            return term.text or term.kind
        case "minus":
            return f"−{part(parts[0], SUM if parts[0].kind == 'Σ' else PRODUCT)}"
        case "Σ":
            return f"Σ{term.text} {part(parts[0], PRODUCT)}"
        case "call":
            return f"{term.text}({', '.join(written(argument, names) for argument in parts)})"
        case "[" | "|":
            return f"{term.kind}{written(parts[0], names)}{']' if term.kind == '[' else '|'}"
        case "√":
            return f"√{part(parts[0], ATOM)}"
        case "ᵀ":
            inner = part(parts[0], ATOM)
            return f"({inner})ᵀ" if f"{inner}ᵀ" in names else f"{inner}ᵀ"
        case "power":
            return _written_power(part(parts[0], ATOM), parts[1], names)
        case "+" | "−":
            return f"{part(parts[0], SUM)} {term.kind} {part(parts[1], PRODUCT)}"
        case "·" | "/" | "@":
            return _written_product(term, part)
        case _:
            return f"{written(parts[0], names)} {term.kind} {written(parts[1], names)}"


def _binding(term: Term) -> int:
    return BINDING.get(term.kind, POWER if term.kind in ("power", "ᵀ") else ATOM)


def _written_power(base: str, exponent: Term, names: frozenset[str]) -> str:
    text = written(exponent, names).replace(" ", "")
    if set(text) <= RAISED.keys():
        raised = "".join(RAISED[sign] for sign in text)
        return f"({base}){raised}" if base + raised in names or base[-1] in LOWERED else base + raised
    return f"{base}^{text}" if exponent.kind in ("name", "number") else f"{base}^({written(exponent, names)})"


def _written_product(term: Term, part: Callable[[Term, int], str]) -> str:
    left, right = term.parts
    # Matrix products do not mix with other products without parentheses.
    mixed = (term.kind == "@") != (left.kind == "@") and left.kind in ("·", "/", "@")
    texts = part(left, ATOM if mixed else PRODUCT), part(right, POWER)
    # 2·3 needs its sign, and so does the product of 2 and a variable e5.
    if term.kind == "·" and left.kind == "number" and not re.match(r"\d|∞|NaN|[eE]\d", texts[1]):
        return texts[0] + texts[1]
    return f"{texts[0]}{term.kind}{texts[1]}"
