"""The formulas of pictures: each one that is shown is read again, computed, and compared with the engine's own rule.

The reader here shares nothing with the one that writes the formulas.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import Graph, demos, ops, viz
from microtensor.backprop import contribution
from microtensor.core.primitive import VariadicRule
from microtensor.inspect.graph import Reader, compare
from microtensor.inspect.graph.rules import WIDEST, is_usable
from microtensor.inspect.history import arrays_of
from microtensor.viz import labels, outlines
from microtensor.viz.letters import drawable
from microtensor.viz.page import to_html
from tests.project.test_gallery import PICTURES

# These rules are no expression over g, y and the arguments, so the picture has words for them.
WORDS = {
    "getitem", "put", "pick", "place", "concat", "contract", "prod", "cumsum", "sliding_windows", "overlap_add",
}  # fmt: skip
INDICES = "ᵢⱼₖₗₘₙₚ"
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ", "0123456789−+ni", strict=True))
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cos": np.cos, "cosh": np.cosh, "exp": np.exp, "log": np.log, "sign": np.sign, "sin": np.sin, "sinh": np.sinh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, "≠": np.not_equal, "<": np.less, ">": np.greater, "≤": np.less_equal, "≥": np.greater_equal,
}  # fmt: skip


# --- a reader of formulas -----------------------------------------------------------------------------------


class Formula:
    """Computes a formula while it reads it. The longest name that fits is read, so σ² is a name if there is one."""

    def __init__(self, text: str, env: dict[str, Any], shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.rest, self.env, self.shape, self.axes = text, env, shape, axes
        self.names = sorted(env, key=len, reverse=True)
        self.used: set[str] = set()

    def value(self) -> Any:
        found = self.sum()
        assert not self.rest, f"{self.rest!r} is left"
        return found

    def take(self, *signs: str) -> str:
        stripped = self.rest.lstrip()
        for sign in signs:
            if stripped.startswith(sign):
                self.rest = stripped[len(sign) :]
                return sign
        return ""

    def sum(self) -> Any:
        total = self.signed()
        while sign := self.take("+", "−"):
            term = self.product()
            total = total + term if sign == "+" else total - term
        return total

    def signed(self) -> Any:
        if self.take("−"):
            return -self.signed()
        if self.take("Σ"):
            axes = []
            while self.rest[0] != " ":
                axes.append(INDICES.index(self.rest[0]))
                self.rest = self.rest[1:]
            return self.product().sum(axis=tuple(axes), keepdims=True)
        return self.product()

    def product(self) -> Any:
        total = self.power()
        while sign := self.take("·", "/", "@"):
            factor = self.power()
            total = total * factor if sign == "·" else total / factor if sign == "/" else total @ factor
        return total

    def power(self) -> Any:
        base = self.atom()
        while True:
            if self.take("ᵀ"):
                base = np.swapaxes(base, -1, -2)
            elif self.take("^"):
                base = base ** self.atom()
            elif self.rest[:1] and self.rest[0] in RAISED:
                raised = "".join(itertools.takewhile(RAISED.__contains__, self.rest))
                self.rest = self.rest[len(raised) :]
                exponent = "".join(RAISED[sign] for sign in raised)
                base = base ** Formula(exponent, self.env, self.shape, self.axes).value()
            else:
                return base

    def atom(self) -> Any:
        self.rest = self.rest.lstrip()
        if number := re.match(r"\d+(\.\d+)?(e[-+]?\d+)?|∞", self.rest):
            self.rest = self.rest[number.end() :]
            value = np.inf if number[0] == "∞" else float(number[0])
            touches = self.rest[:1] not in tuple(" ·/@)+−]=,") and self.rest[:1] not in RAISED and self.rest
            return value * self.power() if touches else value
        if self.take("("):
            value = self.sum()
            assert self.take(")")
            return value
        if self.take("["):
            value = self.comparison()
            assert self.take("]")
            return value
        if self.take("|"):
            value = np.abs(self.sum())
            assert self.take("|")
            return value
        if self.take("√"):
            return np.sqrt(self.power())
        if self.take("π"):
            return np.pi
        if call := re.match(r"([a-z]+)\(", self.rest):
            self.rest = self.rest[call.end() :]
            value = self.call(call[1])
            assert self.take(")")
            return value
        name = self.take(*self.names)
        assert name, f"no name: {self.rest!r}"
        self.used.add(name)
        return self.env[name]

    def call(self, function: str) -> Any:
        if function == "count":
            return self.comparison().sum(axis=self.axes, keepdims=True)
        value = self.sum()
        if function == "reshape":
            return value.reshape(self.shape)
        if function == "permute":
            order = re.match(r", \(([\d, ]+)\)", self.rest)
            assert order
            self.rest = self.rest[order.end() :]
            return value.transpose([int(axis) for axis in order[1].split(",")])
        return FUNCTIONS[function](value)

    def comparison(self) -> Any:
        left = self.sum()
        sign = self.take(*COMPARED)
        return COMPARED[sign](left, self.sum()).astype(float)


# --- what the names of a formula are --------------------------------------------------------------------------


def env_of(graph: Graph, output: mt.Tensor, g: Any) -> tuple[dict[str, Any], dict[str, set[int]]]:
    """What each name near an operation stands for, and which tensors have that name."""
    node = output.node
    arrays = arrays_of(node)
    owners: dict[str, set[int]] = {}
    env: dict[str, Any] = {}

    def bind(name: str | None, value: Any, array: Any) -> None:
        # A name with a sign in it would be read as a part of the formula.
        if name and not set(name) & set(" ·*+−/@^()[]=<>"):
            owners.setdefault(name, set()).add(id(value))
            env[name] = array

    for value in node.inputs:
        made = value.node if isinstance(value, mt.Tensor) else None
        for inner in made.inputs if made is not None else ():
            if isinstance(inner, mt.Tensor):
                bind(inner.name, inner, inner.numpy())
        # The library's names of what it computes from an input that has no name.
        if made is None or is_usable(getattr(made.inputs[0], "name", None) or ""):
            continue
        minus_mean = made.primitive.name == "subtract" and getattr(made.inputs[1], "name", "") == "μ"
        if (value.name == "x − μ" and minus_mean) or (value.name, made.primitive.name) == ("Wᵀ", "permute_dims"):
            bind(value.name[0], made.inputs[0], made.inputs[0].numpy())
    y = output.numpy()
    axes = axes_of(node)
    if axes is not None:
        g, y = (v.reshape([1 if i in axes else n for i, n in enumerate(arrays[0].shape)]) for v in (g, y))
    if node.primitive.name == "matmul":
        a, b = arrays
        if b.ndim == 1:
            b, g = b[:, None], g[..., None]
        if a.ndim == 1:
            a, g = a[None, :], g[..., None, :]
        arrays = [a, b]
    for value, array in zip(node.inputs, arrays, strict=True):
        bind(getattr(value, "name", None), value, array)
    bind(output.name, output, y)
    near = dict(zip(graph.letters, [g, y, *arrays], strict=False))
    assert near.keys().isdisjoint(
        value.name for value in Reader(output, gradients=False).tensors if hasattr(value, "name")
    )
    return env | near, owners


def axes_of(node: Any) -> tuple[int, ...] | None:
    if node.primitive.name not in ("sum", "mean", "max", "min"):
        return None
    axis = node.params.get("axis")
    return tuple(range(node.inputs[0].ndim)) if axis is None else axis


def check(graph: Graph, output: mt.Tensor, shown: tuple[str, ...]) -> tuple[int, int]:
    """Compare each formula of an operation with what the engine adds; returns how many, and how many are words."""
    node, arrays = output.node, arrays_of(output.node)
    name = node.primitive.name
    g = np.random.default_rng(len(shown) + output.size).normal(size=output.shape)
    formulas = words = 0
    for argument, text in enumerate(shown):
        if not text:
            continue
        if name in WORDS:
            words += 1
            continue
        expected = contribution(node, argument, g, output.numpy(), arrays)
        env, owners = env_of(graph, output, g)
        formula = Formula(text, env, arrays[argument].shape, axes_of(node) or ())
        with np.errstate(all="ignore"):
            value = np.asarray(formula.value())
        assert all(len(owners[used]) == 1 for used in formula.used if used in owners), (text, "is ambiguous")
        value = value.reshape(expected.shape) if value.size == expected.size else np.broadcast_to(value, expected.shape)
        # A number in a formula has six digits.
        rtol = 1e-5 if re.search(r"\.\d{4}|e-", text) else 1e-9
        np.testing.assert_allclose(value, expected, rtol, 1e-12, err_msg=f"{name}: {text}")
        formulas += 1
    return formulas, words


def check_all(output: mt.Tensor) -> tuple[int, int]:
    """Check every formula in the history of a tensor."""
    graph = Graph.from_tensor(output, gradients=False)
    assert set(graph.letters).isdisjoint(value.name for value in Reader(output).tensors if isinstance(value, mt.Tensor))
    counts = [
        check(graph, value, graph.nodes[i].rules)
        for i, value in enumerate(Reader(output, gradients=False).tensors)
        if isinstance(value, mt.Tensor) and value.node is not None
    ]
    return sum(n for n, _ in counts), sum(n for _, n in counts)


def formulas_of(output: mt.Tensor) -> list[str]:
    """The formulas of the last operation."""
    graph = Graph.from_tensor(output)
    return [text for text in graph.nodes[graph.root].rules if text]


# --- every primitive ------------------------------------------------------------------------------------------


def drawn(*shape: int, name: str | None = None, low: float = 0.2, high: float = 0.9, seed: int = 0) -> mt.Tensor:
    return mt.tensor(np.random.default_rng(seed).uniform(low, high, shape), requires_grad=True, name=name)


A, B, ROW, MASK = drawn(3, 4), drawn(3, 4, seed=1), drawn(4, seed=2), np.arange(12).reshape(3, 4) % 2 == 0
TIES = mt.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]], requires_grad=True)
OTHER = mt.tensor([[1.0, 1.0, 3.0], [0.0, -1.0, 0.0]], requires_grad=True)
CUBE, V = drawn(2, 3, 4, seed=4), drawn(3, seed=5)
STACK, KEPT = CUBE.reshape(2, 1, 3, 4), A.sum(axis=1, keepdims=True)
BINARY = ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "arctan2")
UNARY = (
    "negative", "square", "sqrt", "exp", "log", "relu", "tanh", "sigmoid", "abs", "expm1", "log1p", "log2", "sin",
    "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "erf", "softplus",
)  # fmt: skip
# The arguments of each primitive, each list a call.
CALLS: dict[str, list[tuple[Any, ...]]] = {
    "reshape": [(A, (2, 6)), (A, (1, 12))],
    "permute_dims": [(A,), (ROW,), (CUBE,), (CUBE, (0, 2, 1)), (CUBE, (1, 2, 0))],
    "broadcast_to": [(ROW, (2, 3, 4)), (KEPT, (3, 4)), (A, (3, 4))],
    "sum_to": [(CUBE, (3, 1)), (CUBE, (1, 3, 4))],
    "astype": [(A, "float64")],
    "contract_to": [(A, B, (4,))],
    "masked": [(A, MASK), (ROW, MASK)],
    "where": [(MASK, A, B), (MASK, ROW, 0.0), (A > 0.5, 1.0, B)],
    "matmul": [
        (A, B.mT), (A, ROW), (V, A), (ROW, ROW), (CUBE, B.mT), (A, CUBE.mT), (V, CUBE), (CUBE, ROW),
        (STACK, CUBE.mT.reshape(1, 2, 4, 3)),
    ],
    **{name: [(TIES,), (TIES, 1), (TIES, 0, True), (CUBE, (0, 2))] for name in ("max", "min")},
    **{name: [(CUBE,), (CUBE, 1), (CUBE, (0, 2), True), (CUBE, ())] for name in ("sum", "mean")},
    **{name: [(A,), (mt.label(A * 1.0, "σ²"),)] for name in UNARY},
    **{
        name: [
            (A, B), (A, ROW), (ROW, CUBE), (A, A), (A, 3), (A, -1.5), (2.0, A), (A, 1e-5), (KEPT, ROW.reshape(1, 4)),
            (A, drawn(3, 4, name="b", seed=6)), (mt.label(A * 1.0, "σ²"), mt.label(B - 2.0, "n")),
        ]
        for name in BINARY
    },
}  # fmt: skip
CALLS["relu"].append((OTHER,))
CALLS["abs"].append((OTHER,))
CALLS["maximum"].append((TIES, OTHER))
CALLS["minimum"].append((TIES, OTHER))


def test_every_primitive_is_evaluated_or_has_words() -> None:
    def has_rule(operation: Any) -> bool:
        return isinstance(operation.rules, VariadicRule) or any(operation.rules)

    differentiable = {name for name, operation in ops.primitives.items() if has_rule(operation)}
    assert differentiable == CALLS.keys() | WORDS
    assert CALLS.keys().isdisjoint(WORDS)
    assert len(WORDS) <= 12
    for name in differentiable:
        operation = ops.primitives[name]
        rules = (True,) if isinstance(operation.rules, VariadicRule) else operation.rules
        assert [bool(text) for text in operation.rule_text] == [bool(rule) for rule in rules], name


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_formulas_of_a_primitive_are_what_its_rules_compute(name: str) -> None:
    for arguments in CALLS[name]:
        output = ops.primitives[name](*arguments)
        assert output.node.primitive.name == name
        formulas, words = check_all(output)
        assert formulas >= 1
        assert words == 0


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda x: x[1:3], "g at [1:3]"),
        (lambda x: x[..., None, 0], "g at […, None, 0]"),
        (lambda x: x[[0, 2, 2]], "g at [[0, 2, 2]]"),
        (lambda x: x[x.numpy() > 0.5], "g at [mask (3, 4)]"),
        (lambda x: mt.pick(x, [0, 1, 2]), "g where picked"),
        (lambda x: mt.concat([x, x]), "its part of g"),
        (lambda x: ops.einsum_core(x, x, subscripts="ij,ij->i"), "einsum of g and the others"),
        (lambda x: x.cumsum(0), "g summed from here to the end"),
        (lambda x: x.prod(), "g times the other factors"),
    ],
)
def test_other_rules_have_words(made: Callable[[mt.Tensor], mt.Tensor], words: str) -> None:
    y = made(drawn(3, 4, name="x"))
    assert y.node.primitive.name in WORDS
    assert labels.rules(Graph.from_tensor(y).nodes[-1]).split(",  ")[0] == words


# --- the gallery and the demos ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gallery() -> list[mt.Tensor]:
    """The tensors that the pictures of the gallery are drawn from."""
    found: list[mt.Tensor] = []
    read = Graph.from_tensor

    def keep(tensor: mt.Tensor, **options: Any) -> Graph:
        found.append(tensor)
        return read(tensor, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "from_tensor", keep)
        for picture in PICTURES:
            picture.make()
    return found


def test_every_formula_of_the_gallery_is_true(gallery: list[mt.Tensor]) -> None:
    counts = [check_all(output) for output in [*gallery, *(demo() for demo in demos.DEMOS.values())]]
    assert len(gallery) >= 13
    assert sum(n for n, _ in counts) > 500
    assert all(formulas > words for formulas, words in counts)


def test_every_edge_of_the_gallery_has_a_formula_or_words(gallery: list[mt.Tensor]) -> None:
    for output in gallery:
        graph = Graph.from_tensor(output)
        for edge in graph.edges:
            if edge.grad is not None:
                assert graph.nodes[edge.target].rules[edge.argument]


def test_pictures_show_these_formulas(gallery: list[mt.Tensor]) -> None:
    for output in gallery[:8]:
        graph = Graph.from_tensor(output)
        shown = viz.render(graph, "svg", view="backward").decode()
        flat = re.sub(r"<[^>]*>", "", shown).replace("&gt;", ">").replace("&lt;", "<").replace("\u00a0", " ")
        chart = viz.render(graph, "mermaid", view="backward").decode()
        readable = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), chart)
        for node in graph.nodes:
            for words in labels.heading(node, "backward"):
                assert words.replace("  ", " ") in flat.replace("  ", " ")
                assert words in readable


def test_batch_norm_backward_reads_as_in_a_book() -> None:
    graph = Graph.from_tensor(demos.batch_norm())
    assert [labels.rules(node) for node in graph.nodes if node.op] == [
        "g/8", "g,  −Σᵢ g", "2(x − μ)·g", "g/8", "g", "g/(2σ)", "g/σ,  −Σᵢ g·x̂/σ", "g·γ,  Σᵢ g·x̂", "g,  Σᵢ g",
    ]  # fmt: skip
    assert graph.nodes[1].over == graph.nodes[4].over == "over axis 0, the batch"
    dot = viz.render(graph, "dot", view="backward").decode()
    assert all(f">  {name}<" in dot for name in ("μ", "σ²", "σ", "x̂", "y"))


# --- names --------------------------------------------------------------------------------------------------------

NAMES = [
    "x", "x", "y", "g", "δ", "N", "Σ", "a", "b", "u", "z", "i", "n", "two words", "a_name_that_is_much_too_long",
    "x − μ", "a*b", "−", "", "log", "count", "π", "σ", "σ²", "x²", "e5", "E2x", "2x", "x̂", "‖v‖", "‖", "xᵀ", "Wᵀ", "xᵢ",
    "x\u202ey", "中", "שם", "عدد", "g·x", "(x)", "h′", "_", "∞", "NaN",
]  # fmt: skip
STEPS: list[Callable[[mt.Tensor, mt.Tensor], mt.Tensor]] = [
    lambda p, q: p * q,
    lambda p, q: p / (q + 2.0),
    lambda p, q: p - q,
    lambda p, q: p + q,
    lambda p, q: mt.square(p - q),
    lambda p, q: mt.exp(-p),
    lambda p, q: p.mean(axis=0, keepdims=True) if p.ndim else p * 2.0,
    lambda p, q: mt.tanh(p + q),
    lambda p, q: mt.maximum(p, q),
    lambda p, q: p**2,
    lambda p, q: mt.tanh(p.mT @ p) if p.ndim == 2 else p * p,
    lambda p, q: mt.sqrt(mt.square(p) + 0.5),
]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_name_makes_a_formula_false(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = [drawn(*shape, seed=i) for i, shape in enumerate([(4, 4), (4,), (4, 1), (1, 4), ()])]
    while len(pool) < 16:
        p, q = (pool[i] for i in rng.integers(0, len(pool), 2))
        pool.append(STEPS[rng.integers(len(STEPS))](p, q))
    for tensor in pool:
        tensor.name = NAMES[rng.integers(len(NAMES))] or None
    whole = mt.concat([mt.tanh(tensor).reshape(-1) for tensor in pool])
    formulas, _ = check_all(whole)
    assert formulas > 30


def named(*names: str | None) -> list[mt.Tensor]:
    return [drawn(2, 3, name=name, seed=i) for i, name in enumerate(names)]


def test_a_name_stands_for_one_thing() -> None:
    first, second = named("x", "x")
    assert formulas_of(first * second) == ["g·b", "g·a"]
    assert formulas_of(first * first) == ["g·x", "g·x"]
    assert formulas_of(mt.label(first * second, "x")) == ["g·b", "g·a"]
    assert formulas_of(mt.label(mt.exp(first), "x")) == ["g·y"]


def test_letters_give_way_to_variables() -> None:
    g, y = named("g", "y")
    assert formulas_of(g * y) == ["δ·y", "δ·g"]
    assert formulas_of(mt.exp(y)) == ["g·z"]
    a, unnamed = named("a", None)
    assert formulas_of(a * unnamed) == ["g·v", "g·a"]
    many = named(*"abcuvwpqr", "δ", "g", "y", "z")
    last = mt.square(sum(many[1:], many[0]) * 1.0)
    assert Graph.from_tensor(last).letters == ("g₁", "y₁", "a₁", "b₁", "c₁")
    assert formulas_of(last) == ["2a₁·g₁"]


@pytest.mark.parametrize("name", [name for name in NAMES if not is_usable(name)] + ["w" * (WIDEST + 1)])
def test_a_name_that_would_be_misread_is_replaced(name: str) -> None:
    x = drawn(2, 3, name=name or None)
    assert formulas_of(mt.square(x)) == ["2a·g"]


def test_a_long_formula_has_letters_for_sums() -> None:
    p, q = named("weights1", "weights2")
    difference = p - q
    assert formulas_of(mt.square(difference)) == ["2(weights1 − weights2)·g"]
    assert formulas_of(mt.arctan2(difference, p)) == ["g·weights1/(a² + weights1²)", "−g·a/(a² + weights1²)"]
    y = mt.arctan2(p, q)
    lines = labels.heading(Graph.from_tensor(y).nodes[-1], "backward")
    assert lines == ["g·weights2/(weights1² + weights2²)", "−g·weights1/(weights1² + weights2²)"]
    assert check_all(mt.arctan2(difference, p)) == (4, 0)


def test_a_comparison_has_formulas_only_if_the_letters_are_the_same() -> None:
    x, g = named("x", "g")
    plain, other = Graph.from_tensor(mt.exp(x)), Graph.from_tensor(mt.exp(g))
    assert compare(plain, plain).nodes[-1].rules == ("g·y",)
    assert compare(plain, other).nodes[-1].rules == ()
    assert compare(other, other).letters == other.letters


def test_powers_and_numbers_do_not_run_into_names() -> None:
    x, e5, squared = named("x", "e5", "σ²")
    assert formulas_of(mt.square(e5)) == ["2·e5·g"]
    assert formulas_of(x**3) == ["3x²·g"]
    assert formulas_of(x**-1.5) == ["−1.5x^(−2.5)·g"]
    assert formulas_of(mt.power(x, e5))[0] == "e5·x^(e5 − 1)·g"
    sigma = mt.label(mt.exp(squared), "σ")
    assert formulas_of(mt.tanh(sigma) * 1.0 + mt.sum(squared)) == ["g", "Σᵢⱼ g"]
    output = mt.label(mt.tanh(squared), "σ")
    assert formulas_of(output) == ["g·(1 − (σ)²)"]


# --- primitives of the user ---------------------------------------------------------------------------------------


def test_a_primitive_without_a_formula_shows_its_shape() -> None:
    cube = mt.primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)
    graph = Graph.from_tensor(cube(drawn(2, name="x")))
    assert graph.nodes[-1].rules == ()
    assert ">(2,)<" in viz.render(graph, "dot", view="backward").decode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3x²·g", "3w²·g"),
        ("g*3*x*x", "g·3·w·w"),
        ("-g*(x-1)", "−g·(w − 1)"),
        ("x*g, twice", "x*g, twice"),
        ("g/N", "g/N"),
        ("slope(x)·g", "slope(x)·g"),
        ("(" * 300 + "g" + ")" * 300, None),
        ("((((((", "(((((("),
        ("2^2^2", "(2²)²"),
        ("<b>&g", "<b>&g"),
    ],
)
def test_the_formula_of_a_user_is_read_or_shown_as_it_is(text: str, shown: str | None) -> None:
    odd = mt.primitive("odd", lambda x: x * 1.0, lambda g, y, x: g, rule_text=(text,))
    (found,) = formulas_of(odd(drawn(2, name="w")))
    assert found == (text if shown is None else shown)


def test_a_broadcast_argument_of_a_users_primitive_is_summed() -> None:
    gate = mt.primitive("gate", lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a,
                        rule_text=("g*b", "g*a"))  # fmt: skip
    y = gate(drawn(2, 3, name="x"), drawn(3, name="s"))
    assert formulas_of(y) == ["g·s", "Σᵢ g·x"]
    assert check_all(y) == (2, 0)


# --- axes, slices, signs --------------------------------------------------------------------------------------------


def test_statistics_say_their_axes() -> None:
    x = drawn(4, 3, 2, 2, name="x")
    over = {
        "over axes 0, 2, 3": x.mean(axis=(0, 2, 3), keepdims=True),
        "over axis 1": x.min(axis=1),
        "over all axes": x.max(keepdims=True),
        "over axis 3": x.prod(axis=-1),
        "": x.sum(),
    }
    for words, y in over.items():
        assert Graph.from_tensor(y).nodes[-1].over == words
    for view in ("forward", "backward", "combined"):
        for kind in ("dot", "mermaid", "tree"):
            assert "over axis 1" in viz.render(Graph.from_tensor(x.min(axis=1)), kind, view=view).decode()
    assert "min  over axis 1" in labels.tooltip(Graph.from_tensor(x.min(axis=1)).nodes[-1])


def test_only_batch_norm_speaks_of_the_batch() -> None:
    x = drawn(8, 4, name="x")

    def said(y: mt.Tensor) -> set[str]:
        return {node.over for node in Graph.from_tensor(y).nodes if node.op == "mean"}

    assert said(mt.nn.BatchNorm1d(4)(x)) == said(mt.norms.batch_norm(x)) == {"over axis 0, the batch"}
    assert said(mt.norms.standardize(x, axis=0)) == {"over axis 0"}
    assert said(mt.nn.LayerNorm(4)(x)) == {"over axis 1"}
    assert said(mt.nn.BatchNorm1d(4)(x).mean(axis=0)) == {"over axis 0, the batch", "over axis 0"}


def test_constants_in_titles_are_numbers_of_mathematics() -> None:
    x = drawn(2, name="x")
    operations = {
        "× (−1.5)": x * -1.5, "+ 1e-5": x + 1e-5, "1 −": 1 - x, "( )³": x**3, "( )⁻²": x**-2, "( )^0.5": x**0.5,
        "( )^(−0.5)": x**-0.5, "2^( )": 2**x,
    }  # fmt: skip
    for title, y in operations.items():
        graph = Graph.from_tensor(y)
        assert labels.title(graph.nodes[-1], graph.inputs()[graph.root], graph) == title


def test_a_slice_is_shown_as_a_slice() -> None:
    x = drawn(3, 12, name="x")
    dot = viz.render(Graph.from_tensor(x[:, 4:8]), "dot").decode()
    assert ">[:, 4:8]<" in dot.replace("<B>", "").replace("</B>", "")


def test_a_number_shows_its_sign_and_an_array_its_norm() -> None:
    x = mt.tensor(2.0, requires_grad=True, name="x")
    graph = Graph.from_tensor(x * -1.5 + x * -2.0)
    assert graph.nodes[0].grad == -3.5
    dot = viz.render(graph, "dot", view="backward").decode()
    assert "grad −3.5, sum of 2" in dot
    assert 'label="g = −1.5"' in dot
    assert "−1.5" in viz.render(graph, "mermaid", view="backward").decode()
    assert re.search(r"x +input +scalar +−3\.5", viz.render(graph, "tree", view="backward").decode())
    v = mt.tensor([2.0, 2.0], requires_grad=True, name="v")
    graph = Graph.from_tensor((v * -1.5).sum())
    assert graph.nodes[0].grad == pytest.approx(1.5 * np.sqrt(2))
    assert "‖grad‖ 2.1" in viz.render(graph, "dot", view="backward").decode()
    assert labels.signed(-1e-13) == "0"


def test_a_card_that_shows_a_number_keeps_its_sign() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with mt.name_scope("inner"):
        total = mt.exp(x).sum()
    graph = Graph.from_tensor(-2.0 * total).collapsed(0)
    assert [node.grad for node in graph.nodes if node.op == "inner"] == [-2.0]
    dot = viz.render(graph, "dot", view="backward").decode()
    assert ">grad −2<" in dot
    assert "‖grad‖ −" not in dot


def test_widths_do_not_depend_on_signs() -> None:
    x = mt.tensor(2.0, requires_grad=True, name="x")
    negative = Graph.from_tensor(x * -3.0 + x * 0.5)
    positive = Graph.from_tensor(x * 3.0 + x * 0.5)
    dots = [viz.render(graph, "dot", view="backward").decode() for graph in (negative, positive)]
    widths = [re.findall(r"penwidth=[\d.]+", dot) for dot in dots]
    assert widths[0] == widths[1]
    assert len(set(widths[0])) > 2


# --- folded scopes, the page, JSON ----------------------------------------------------------------------------------


def records(output: mt.Tensor) -> dict[str, Any]:
    page = to_html(Graph.from_tensor(output), output=output).decode()
    data: dict[str, Any] = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    return data


def test_one_edge_of_a_card_has_the_rules_of_all_its_arguments() -> None:
    x = drawn(2, 3, name="x")
    with mt.name_scope("inner"):
        h = mt.label(mt.exp(mt.tanh(mt.sin(mt.cos(x)))), "h")
    data = records(mt.sum((h * h) * 1.0))
    for record in data["pictures"]:
        into = [edge["rule"] for edge in record["edges"] if record["nodes"][edge["target"]]["title"] == "×"]
        assert into in (["g·h + g·h"], ["g·h", "g·h"])
    assert len(data["pictures"]) == 2


def test_the_page_has_the_formulas_of_the_picture() -> None:
    output = demos.batch_norm()
    graph, data = Graph.from_tensor(output), records(output)
    rules = [edge.get("rule") for edge in data["pictures"][-1]["edges"]]
    assert rules == [graph.nodes[edge.target].rules[edge.argument] for edge in graph.edges]
    assert data["letters"] == "g: gradient that arrives"
    assert data["letter"] == "g"


def test_the_legend_explains_the_letters_that_occur() -> None:
    x, g = named("x", "g")
    graph = Graph.from_tensor(mt.square(mt.exp(x * 1.0) * g).sum())
    assert labels.letters(graph) == "δ: gradient that arrives,  y: result,  a: first input"
    assert "δ: gradient that arrives" in viz.render(graph, "dot", view="backward").decode()
    assert "gradient that arrives" not in viz.render(graph, "dot").decode()
    assert viz.from_json(viz.render(graph, "json")).letters == graph.letters


def test_a_pdf_and_a_png_have_every_sign_of_a_formula(gallery: list[mt.Tensor]) -> None:
    signs = "".join(text for output in gallery for node in Graph.from_tensor(output).nodes for text in node.rules)
    signs += INDICES + "".join(RAISED) + "₀₁₂₃₄₅₆₇₈₉≠[]√π"
    assert outlines.words(signs, 10.0).missing == ""
    assert drawable(signs) == (signs, "")


def test_a_difference_is_named_once() -> None:
    graph = Graph.from_tensor(mt.norms.standardize(drawn(3, 4, name="h"), axis=0))
    (node,) = (node for node in graph.nodes if node.name == "h − μ")
    for view in ("backward", "forward", "combined"):
        assert viz.render(graph, "dot", view=view).decode().count(">h − μ<") == 1, node
    assert "h − μ  h − μ" not in viz.render(graph, "tree").decode()
