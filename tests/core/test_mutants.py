"""Mutants: each known way to get a derivative wrong is caught by name and cause, and the healthy original passes."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

import microtensor as mt
from microtensor import backprop, ops
from microtensor.checking import GradcheckError
from microtensor.core import backprop as engine
from microtensor.core.primitive import Primitive, primitive
from microtensor.inspect.checking import rules


class Mutant(NamedTuple):
    """A healthy function, a factory of its broken copy, and what the failure has to say."""

    healthy: object
    broken: object
    inputs: list
    said: tuple
    order: int = 1
    surgery: object = None


def draw(*shape, seed=0):
    return mt.tensor(np.random.default_rng(seed).uniform(0.5, 2.0, shape), requires_grad=True)


def with_rules(op, **rules):
    """A copy of an operation with some of its rules exchanged, by the argument: ``_1=rule``."""
    kept = list(op.rules)
    for key, rule in rules.items():
        kept[int(key[1:])] = rule
    return Primitive(op.name, op.forward, tuple(kept), settle=op.settle)


def always(function):
    return lambda: function


def rule_of(name, argument=0):
    return f"the rule of {name} for argument {argument}"


# --- operations that the mutants need beside the library's own --------------------------------------------

scale_rows = primitive(
    "scale_rows",
    lambda x, s: x * s[:, None],
    lambda g, y, x, s: g * ops.expand_dims(s, axis=1),
    lambda g, y, x, s: ops.sum(g * x, axis=1),
)
cube = primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)


def average(count):
    return primitive("average", lambda x: x.mean(axis=0), lambda g, y, x: ops.broadcast_to(g / count, shape=x.shape))


def first_call_kept():
    """The cache is filled once, as by a buffer that nobody resets."""
    kept = {}
    forward = lambda x: kept.setdefault("x", x) * 0 + x**3  # noqa: E731
    return primitive("cube", forward, lambda g, y, x: g * 3 * kept["x"] ** 2)


def last_call_kept():
    """The cache belongs to whichever call came last, as in a layer that stores its input on itself."""
    kept = {}

    def forward(x):
        kept["x"] = x
        return x**3

    return primitive("cube", forward, lambda g, y, x: g * 3 * kept["x"] ** 2)


def write_into_cotangent(g, y, a, b):
    g *= b
    return g


def standardize(mean=lambda m: m, variance=lambda v: v, axis=0):
    def call(x):
        mu = mean(mt.mean(x, axis=axis, keepdims=True))
        v = variance(mt.mean(mt.square(x - mu), axis=axis, keepdims=True))
        return (x - mu) / mt.sqrt(v + 1e-5)

    return call


# --- mutations of the engine ------------------------------------------------------------------------------


def walking(add):
    """A plain reverse walk in place of the engine's, with its own way to add the n-th contribution of an input."""

    def reverse(seeds, wanted=None, *, walk=None, **_):
        pending, count = dict(seeds), Counter()
        for output in backprop.toposort(list(seeds)):
            node, g = output.node, pending[output]
            arrays = [x.numpy() if isinstance(x, mt.Tensor) else x for x in node.inputs]
            for i, x in enumerate(node.inputs):
                if isinstance(x, mt.Tensor) and x.requires_grad:
                    d = backprop.contribution(node, i, g, output.numpy(), arrays)
                    count[x] += 1
                    pending[x] = add(count[x], pending[x], d) if x in pending else d
                    if walk is not None and walk.contributions is not None:
                        walk.contributions.append(backprop.Contribution(node.index, i, d))
        return pending

    return lambda patch: patch.setattr(engine, "reverse", reverse)


def without_unbroadcast(patch):
    for room in (engine, rules):
        patch.setattr(room, "fitted", lambda d, x, node, i: d)


MASK = np.triu(np.ones((3, 3), dtype=bool), 1)


def shared(x):
    """Both terms of the inner sum are handed one array, and the second is added to."""
    e, t = mt.exp(x), mt.tanh(x)
    return mt.sin(t) * 2.0 + (e + t)


MUTANTS = {
    "sign": Mutant(
        mt.subtract,
        always(with_rules(ops.subtract, _1=lambda g, y, a, b: g)),
        [draw(5, 3), draw(5, 3, seed=1)],
        (rule_of("subtract", 1), "the sign is wrong"),
    ),
    "1 % scale": Mutant(
        mt.exp,
        always(with_rules(ops.exp, _0=lambda g, y, x: 1.01 * g * y)),
        [draw(5, 3)],
        (rule_of("exp"), "it is 1.01 times the true gradient"),
    ),
    "0.1 % scale": Mutant(
        mt.exp,
        always(with_rules(ops.exp, _0=lambda g, y, x: 1.001 * g * y)),
        [draw(5, 3)],
        (rule_of("exp"), "it is 1.001 times the true gradient"),
    ),
    "0.1 % scale of a large input": Mutant(
        mt.exp,
        always(with_rules(ops.exp, _0=lambda g, y, x: 1.001 * g * y)),
        [draw(60, 60)],
        (rule_of("exp"), "along a random direction"),
    ),
    "wrong for one element": Mutant(
        mt.exp,
        always(with_rules(ops.exp, _0=lambda g, y, x: g * y * np.where(np.arange(15) == 7, 1.001, 1.0).reshape(5, 3))),
        [draw(5, 3)],
        (rule_of("exp"), "at index (2, 1)"),
    ),
    "wrong for ties": Mutant(
        lambda x: mt.max(x, axis=0),
        always(lambda x: with_rules(ops.max, _0=lambda g, y, x, **_: g * (x == y))(x, axis=0, keepdims=False)),
        [mt.tensor([[1.0, 2.0], [1.0, 0.5]], requires_grad=True)],
        ("input 0 at index (0, 0)", "a kink: the slope is"),
    ),
    "wrong for broadcast inputs": Mutant(
        mt.multiply,
        always(with_rules(ops.multiply, _1=lambda g, y, a, b: g * a / (y.size / b.size))),
        [draw(5, 3), draw(3, seed=1)],
        (rule_of("multiply", 1), "it is 0.2 times the true gradient"),
    ),
    "a multiple of a tiny derivative": Mutant(
        lambda x: mt.tanh(x) * 1e-11,
        always(lambda x: with_rules(ops.tanh, _0=lambda g, y, x: -g * (1 - y * y))(x) * 1e-11),
        [draw(5, 3)],
        (rule_of("tanh"), "the sign is wrong"),
    ),
    "the input read for the output": Mutant(
        mt.tanh,
        always(with_rules(ops.tanh, _0=lambda g, y, x: g * (1 - x * x))),
        [draw(5, 3)],
        (rule_of("tanh"), "it is right with the output and argument 0 exchanged"),
    ),
    "wrong beside a mask of −∞": Mutant(
        lambda x: mt.softmax(mt.where(MASK, -np.inf, x)),
        always(lambda x: mt.softmax(with_rules(ops.where, _2=lambda g, y, m, a, b: 2 * g * ~m)(MASK, -np.inf, x))),
        [draw(3, 3)],
        (rule_of("where", 2), "it is 2 times the true gradient"),
    ),
    "wrong under a mask of −∞": Mutant(
        lambda x: mt.where(MASK, -np.inf, x),
        always(lambda x: with_rules(ops.where, _2=lambda g, y, m, a, b: g)(MASK, -np.inf, x)),
        [draw(3, 3)],
        ("input 0 at index (0, 1)", "numeric 0,"),
    ),
    "missing factor 1/2": Mutant(
        mt.sqrt,
        always(with_rules(ops.sqrt, _0=lambda g, y, x: g / y)),
        [draw(5, 3)],
        (rule_of("sqrt"), "it is 2 times the true gradient"),
    ),
    "null gradient": Mutant(
        mt.tanh,
        always(with_rules(ops.tanh, _0=lambda g, y, x: 0.0 * g)),
        [draw(5, 3)],
        (rule_of("tanh"), "a null gradient"),
    ),
    "missing 1/n": Mutant(
        lambda x: mt.mean(x, axis=0),
        always(average(1)),
        [draw(5, 3)],
        (rule_of("average"), "it is 5 times too large: a factor 1/5 is missing"),
    ),
    "mean over the wrong count": Mutant(
        average(5),
        always(average(3)),
        [draw(5, 3)],
        (rule_of("average"), "it is 5/3 times the true gradient: divided by 3 where 5 are counted"),
    ),
    "n − 1 in place of n": Mutant(
        average(5),
        always(average(4)),
        [draw(5, 3)],
        (rule_of("average"), "it is 5/4 times the true gradient: divided by 4 where 5 are counted"),
    ),
    "swapped operands": Mutant(
        mt.multiply,
        always(with_rules(ops.multiply, _0=lambda g, y, a, b: g * a, _1=lambda g, y, a, b: g * b)),
        [draw(5, 3), draw(5, 3, seed=1)],
        (rule_of("multiply"), "it is the gradient for argument 1: the rules, or the operands in them, are exchanged"),
    ),
    "swapped operands of a quotient": Mutant(
        mt.divide,
        always(with_rules(ops.divide, _0=lambda g, y, a, b: g / a)),
        [draw(5, 3), draw(5, 3, seed=1)],
        (rule_of("divide"), "it is right with argument 0 and argument 1 exchanged"),
    ),
    "missing un-broadcast in a rule": Mutant(
        scale_rows,
        always(with_rules(scale_rows, _1=lambda g, y, x, s: g * x)),
        [draw(5, 3), draw(5, seed=1)],
        (rule_of("scale_rows", 1), "shape (5, 3) for an input of shape (5,)", "not summed away"),
    ),
    "un-broadcast over the wrong axis": Mutant(
        scale_rows,
        always(with_rules(scale_rows, _1=lambda g, y, x, s: g * x)),
        [draw(4, 4), draw(4, seed=1)],
        (rule_of("scale_rows", 1), "summed over axis 0; right is the sum over axis 1", "sum it in the rule"),
    ),
    "missing un-broadcast in the engine": Mutant(
        mt.add,
        always(mt.add),
        [draw(5, 3), draw(3, seed=1)],
        ("input 1", "the reverse walk gave shape (5, 3)"),
        surgery=without_unbroadcast,
    ),
    "sum spread along the wrong axis": Mutant(
        lambda x: mt.sum(x, axis=0),
        always(primitive("sum", lambda x: x.sum(axis=0), lambda g, y, x: g[:, None])),
        [draw(4, 4)],
        (rule_of("sum"), "it is the transpose of the true gradient"),
    ),
    "reduced axis not put back": Mutant(
        lambda x: mt.sum(x, axis=1),
        always(primitive("sum", lambda x: x.sum(axis=1), lambda g, y, x: g)),
        [draw(5, 3)],
        (rule_of("sum"), "shape (5,) for an input of shape (5, 3)", "not put back"),
    ),
    "transposed matmul rule": Mutant(
        mt.matmul,
        always(with_rules(ops.matmul, _0=lambda g, y, a, b: b @ g.T)),
        [draw(3, 3), draw(3, 3, seed=1)],
        (rule_of("matmul"), "it is the transpose of the true gradient"),
    ),
    "transposed matmul rule of other shapes": Mutant(
        mt.matmul,
        always(with_rules(ops.matmul, _0=lambda g, y, a, b: b @ g.T)),
        [draw(2, 3), draw(3, 4, seed=1)],
        (rule_of("matmul"), "shape (3, 2) for an input of shape (2, 3)", "its axes are in the wrong order"),
    ),
    "matmul rule without a transpose of a square": Mutant(
        mt.matmul,
        always(with_rules(ops.matmul, _1=lambda g, y, a, b: a @ g)),
        [draw(3, 3), draw(3, 3, seed=1)],
        (rule_of("matmul", 1), "it is right with argument 0 transposed"),
    ),
    "matmul rule without a transpose": Mutant(
        mt.matmul,
        always(with_rules(ops.matmul, _1=lambda g, y, a, b: a @ g)),
        [draw(2, 3), draw(3, 4, seed=1)],
        (rule_of("matmul", 1), "raised ValueError", "inputs of shapes (2, 3), (3, 4)"),
    ),
    "a rule that writes into its cotangent": Mutant(
        mt.multiply,
        always(with_rules(ops.multiply, _0=write_into_cotangent)),
        [draw(5, 3), draw(5, 3, seed=1)],
        (rule_of("multiply"), "writes into what it is given"),
    ),
    "detached mean": Mutant(
        standardize(),
        always(standardize(mean=mt.stop_gradient)),
        [draw(6, 3)],
        ("input 0", "equals the gradient with the mean over axis 0 detached"),
    ),
    "detached variance": Mutant(
        standardize(),
        always(standardize(variance=mt.stop_gradient)),
        [draw(6, 3)],
        ("input 0", "equals the gradient with the variance over axis 0 detached"),
    ),
    "detached variance of a layer norm": Mutant(
        standardize(axis=1),
        always(standardize(variance=mt.stop_gradient, axis=1)),
        [draw(3, 6)],
        ("input 0", "equals the gradient with the variance over axis 1 detached"),
    ),
    "second contribution overwrites the first": Mutant(
        lambda x: mt.exp(x) * x,
        always(lambda x: mt.exp(x) * x),
        [draw(5, 3)],
        ("input 0", "the reverse walk loses or overwrites a contribution"),
        surgery=walking(lambda n, before, d: d),
    ),
    "third contribution overwrites the others": Mutant(
        lambda x: mt.exp(x) * x + mt.tanh(x),
        always(lambda x: mt.exp(x) * x + mt.tanh(x)),
        [draw(5, 3)],
        ("input 0", "the reverse walk loses or overwrites a contribution"),
        surgery=walking(lambda n, before, d: before + d if n == 2 else d),
    ),
    "a contribution added in place": Mutant(
        shared,
        always(shared),
        [draw(5, 3)],
        ("input 0", "the reverse walk loses or overwrites a contribution"),
        surgery=walking(lambda n, before, d: np.add(before, d, out=before)),
    ),
    "stale buffer of the first call": Mutant(
        cube, first_call_kept, [draw(5, 3)], (rule_of("cube"), "reads a value that an earlier call left behind")
    ),
    "stale buffer of the last call": Mutant(
        cube, last_call_kept, [draw(5, 3)], (rule_of("cube"), "reads a value that an earlier call left behind")
    ),
    "detached inside the rule": Mutant(
        lambda x: mt.tanh(cube(mt.exp(x))),
        always(
            lambda x: mt.tanh(
                with_rules(cube, _0=lambda g, y, x: g * ops.stop_gradient(3 * x * x))(mt.exp(x)),
            )
        ),
        [mt.tensor([-0.3, -0.1, 0.2], requires_grad=True)],
        ("second order, the rules of cube", "right at first order: a value inside the rules is detached"),
        order=2,
    ),
    "NumPy inside the rule": Mutant(
        mt.exp,
        always(with_rules(ops.exp, _0=lambda g, y, x: g * np.nan_to_num(np.exp(x)))),
        [draw(5, 3)],
        (
            "second order, " + rule_of("exp"),
            "raised TypeError",
            "with operators and the functions of mt.ops",
        ),
        order=2,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_healthy_original_passes(name):
    mutant = MUTANTS[name]
    assert mt.gradcheck(mutant.healthy, mutant.inputs, order=mutant.order)


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.surgery])
def test_the_plain_walk_is_right_when_it_adds(name, monkeypatch):
    walking(lambda n, before, d: before + d)(monkeypatch)
    assert mt.gradcheck(MUTANTS[name].healthy, MUTANTS[name].inputs)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_name_and_cause(name, monkeypatch):
    mutant = MUTANTS[name]
    if mutant.surgery:
        mutant.surgery(monkeypatch)
    with pytest.raises(GradcheckError) as raised:
        mt.gradcheck(mutant.broken(), mutant.inputs, order=mutant.order)
    missing = [part for part in mutant.said if part not in str(raised.value)]
    assert not missing, str(raised.value)


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.order == 2])
def test_a_mutant_of_second_order_is_invisible_to_the_first(name):
    mutant = MUTANTS[name]
    assert mt.gradcheck(mutant.broken(), mutant.inputs)


def test_a_rule_that_is_wrong_for_broadcast_inputs_is_invisible_without_any():
    mutant = MUTANTS["wrong for broadcast inputs"]
    assert mt.gradcheck(mutant.broken(), [draw(5, 3), draw(5, 3, seed=1)])


def test_a_mutant_of_third_order_takes_a_gradient_as_the_function():
    """Order 2 looks at two derivatives; the third is the second of the first."""
    curve = primitive("curve", lambda x: 3 * x * x, lambda g, y, x: g * 6 * ops.stop_gradient(x))
    op = primitive("cube", lambda x: x**3, lambda g, y, x: g * curve(x))
    x = draw(4)
    assert mt.gradcheck(op, x, order=2)

    def gradient_of(f):
        return lambda x: mt.grad(f(x).sum(), x, create_graph=True)

    assert mt.gradcheck(gradient_of(cube), x, order=2)
    with pytest.raises(GradcheckError, match="second order, the rules of curve"):
        mt.gradcheck(gradient_of(op), x, order=2)


def test_all_mutants_are_caught_and_there_are_38():
    caught = []
    for name, mutant in MUTANTS.items():
        with pytest.MonkeyPatch.context() as patch:
            if mutant.surgery:
                mutant.surgery(patch)
            if not mt.gradcheck(mutant.broken(), mutant.inputs, order=mutant.order, raise_exception=False):
                caught.append(name)
    assert caught == list(MUTANTS)
    assert len(caught) == 38
