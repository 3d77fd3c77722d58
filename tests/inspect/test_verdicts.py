"""gradcheck, gradgradcheck and `microtensor check` end in a verdict, whatever a rule or a function does.

A few hundred wrong rules and functions are drawn here; MICROTENSOR_FUZZ=2000 draws that many.
"""

from __future__ import annotations

import functools
import itertools
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt
from microtensor import ops
from microtensor.checking import GradcheckError
from microtensor.cli import main
from microtensor.core.primitive import primitive
from tests.commands import runner

DRAWS = int(os.environ.get("MICROTENSOR_FUZZ", "240"))


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words for it")


class Odd:
    """Has a shape and a dtype, and is no array."""

    shape = (2,)
    dtype = np.dtype(float)


# Operations with right rules, and how many arguments they have.
OPERATIONS = {
    "cube": (lambda x: x**3, [lambda g, y, x: 3 * g * x * x]),
    "wave": (np.sin, [lambda g, y, x: g * ops.cos(x)]),
    "total": (lambda x: x.sum(axis=-1, keepdims=True), [lambda g, y, x: ops.broadcast_to(g, shape=x.shape)]),
    "all": (lambda x: np.asarray(x.sum()), [lambda g, y, x: ops.broadcast_to(g, shape=x.shape)]),
    "turned": (lambda x: x.T.copy(), [lambda g, y, x: ops.permute_dims(g, axes=tuple(range(len(x.shape)))[::-1])]),
    "product": (np.multiply, [lambda g, y, a, b: g * b, lambda g, y, a, b: g * a]),
    "ratio": (np.divide, [lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b]),
    "gap": (np.subtract, [lambda g, y, a, b: g, lambda g, y, a, b: -g]),
}
SHAPES = [(), (1,), (3,), (2, 3), (3, 3), (3, 1), (1, 2, 2)]


def values(*things):
    """The arrays of what a rule is given."""
    return [np.array(ops.as_array(thing)) for thing in things]


def raising(error):
    def rule(*args):
        raise error

    return rule


def writes_into(k):
    def damage(rule):
        def broken(*args):
            np.add(args[k], 1.0, out=ops.as_array(args[k]))
            return rule(*args)

        return broken

    return damage


def unlocks(rule):
    def broken(g, y, *args):
        for x in map(ops.as_array, args):
            x.flags.writeable = True
            x += 1.0
        return rule(g, y, *args)

    return broken


def grows_worse(rule):
    calls = itertools.count()
    return lambda *args: rule(*args) * (1.0 if next(calls) < 2 else 2.0)


def random_result(rule):
    rng = np.random.default_rng(0)
    return lambda *args: rule(*args) * float(rng.uniform(1, 2))


# From a right rule to a wrong one. Those before the gap are wrong for every operation and every shape.
WRONG_RULES = {
    "no return": lambda rule: lambda *args: None,
    "a number": lambda rule: lambda *args: 3.0,
    "a whole number": lambda rule: lambda *args: 1,
    "a list": lambda rule: lambda *args: [1.0],
    "a list of results": lambda rule: lambda *args: values(rule(*args)),
    "a tuple": lambda rule: lambda *args: (rule(*args),),
    "a dictionary": lambda rule: lambda *args: {"x": rule(*args)},
    "a string": lambda rule: lambda *args: "gradient",
    "a type": lambda rule: lambda *args: np.ndarray,
    "an object": lambda rule: lambda *args: object(),
    "an odd object": lambda rule: lambda *args: Odd(),
    "a function": lambda rule: lambda *args: rule,
    "a generator": lambda rule: lambda *args: (x for x in args),
    "the class": lambda rule: lambda *args: mt.Tensor,
    "objects": lambda rule: lambda *args: values(rule(*args))[0].astype(object),
    "strings": lambda rule: lambda *args: values(rule(*args))[0].astype(str),
    "complex": lambda rule: lambda *args: values(rule(*args))[0] * (1 + 2j),
    "a masked array": lambda rule: lambda *args: np.ma.masked_array(values(rule(*args))[0], mask=True),
    "raises ValueError": lambda rule: raising(ValueError("mine")),
    "raises without words": lambda rule: raising(AssertionError()),
    "raises KeyError": lambda rule: raising(KeyError(1)),
    "raises StopIteration": lambda rule: raising(StopIteration()),
    "raises MemoryError": lambda rule: raising(MemoryError()),
    "raises RecursionError": lambda rule: lambda *args: WRONG_RULES["raises RecursionError"](rule)(*args),
    "raises what is read-only": lambda rule: raising(RuntimeError("read-only")),
    "raises an unprintable": lambda rule: raising(Unprintable()),
    "too few arguments": lambda rule: lambda g: g,
    "too many arguments": lambda rule: lambda g, y, a, b, c, d: g,
    "keywords wanted": lambda rule: lambda *args, axis: rule(*args),
    "not callable": lambda rule: 3.0,
    "NaN": lambda rule: lambda *args: rule(*args) * np.nan,
    "infinite": lambda rule: lambda *args: rule(*args) + np.inf,
    "larger than any": lambda rule: lambda *args: rule(*args) * 1e300 * 1e5,
    "huge": lambda rule: lambda *args: rule(*args) * 1e200,
    "tiny": lambda rule: lambda *args: rule(*args) * 1e-200,
    "the wrong sign": lambda rule: lambda *args: -rule(*args),
    "twice": lambda rule: lambda *args: 2 * rule(*args),
    "zero": lambda rule: lambda *args: 0.0 * rule(*args),
    "off by one": lambda rule: lambda *args: rule(*args) + 1.0,
    "writes into g": writes_into(0),
    "writes into y": writes_into(1),
    "writes into x": writes_into(2),
    "unlocks its inputs": unlocks,
    "random": random_result,
    "another axis": lambda rule: lambda *args: rule(*args)[None, None, None, None] * np.ones((7, 1, 1, 1, 1)),
}
PERHAPS_WRONG_RULES = {
    "constant ones": lambda rule: lambda *args: np.ones(3),
    "whole numbers": lambda rule: lambda *args: values(rule(*args))[0].astype(int),
    "booleans": lambda rule: lambda *args: values(rule(*args))[0] > 0,
    "half precision": lambda rule: lambda *args: values(rule(*args))[0].astype(np.float16),
    "single precision": lambda rule: lambda *args: values(rule(*args))[0].astype(np.float32),
    "a tensor": lambda rule: lambda *args: mt.tensor(values(rule(*args))[0]),
    "a tensor with a gradient": lambda rule: lambda *args: mt.tensor(values(rule(*args))[0], requires_grad=True),
    "a parameter": lambda rule: lambda *args: mt.nn.Parameter(values(rule(*args))[0]),
    "a NumPy number": lambda rule: lambda *args: np.float64(values(rule(*args))[0].sum()),
    "NumPy": lambda rule: lambda *args: np.asarray(rule(*values(*args))),
    "detached": lambda rule: lambda *args: ops.stop_gradient(rule(*args)),
    "sums all": lambda rule: lambda *args: ops.sum(rule(*args)),
    "sums the first axis": lambda rule: lambda *args: ops.sum(rule(*args), axis=0),
    "sums the last axis": lambda rule: lambda *args: ops.sum(rule(*args), axis=-1, keepdims=True),
    "an axis in front": lambda rule: lambda *args: ops.expand_dims(rule(*args), axis=0),
    "an axis behind": lambda rule: lambda *args: ops.expand_dims(rule(*args), axis=-1),
    "flat": lambda rule: lambda *args: ops.reshape(rule(*args), shape=(-1,)),
    "transposed": lambda rule: lambda *args: ops.matrix_transpose(rule(*args)),
    "empty": lambda rule: lambda *args: rule(*args)[:0],
    "a part": lambda rule: lambda *args: rule(*args)[1:],
    "backwards": lambda rule: lambda *args: rule(*args)[::-1],
    "spread": lambda rule: lambda *args: ops.broadcast_to(rule(*args), shape=(4, 3, 3)),
    "the cotangent": lambda rule: lambda g, *args: g,
    "the output": lambda rule: lambda g, y, *args: y,
    "the input": lambda rule: lambda g, y, *args: args[0],
    "the last input": lambda rule: lambda g, y, *args: args[-1],
    "a sign": lambda rule: lambda *args: np.sign(ops.as_array(rule(*args))),
    "right for positive": lambda rule: lambda g, y, *args: rule(g, y, *args) * (ops.as_array(args[0]) > 1.0),
    "right for small": lambda rule: lambda g, y, *args: rule(ops.minimum(g, 0.1), y, *args),
    "in place of a copy": lambda rule: lambda *args: rule(*args).copy().sort(),
    "worse at each call": grows_worse,
}
CONTEXTS = {
    "alone": lambda op, *xs: op(*xs),
    "in a chain": lambda op, *xs: mt.tanh(op(*map(mt.exp, xs))).sum(),
    "used twice": lambda op, *xs: op(*xs) * op(*xs),
    "with a norm": lambda op, *xs: mt.standardize(op(*xs) * 2.0, axis=None),
    "itself": lambda op, *xs: op(*[xs[0]] * len(xs)),
}


def spoilt(operation, wrong, argument):
    """The operation with one of its rules made wrong."""
    forward, rules = OPERATIONS[operation]
    broken = list(rules)
    broken[argument] = wrong(rules[argument])
    return primitive(operation, forward, *broken)


def rule_cases(count, wrong_rules, seed):
    """(what it is, function, the same with right rules, inputs); every wrong rule comes up again and again."""
    rng = np.random.default_rng(seed)
    names = list(wrong_rules)
    for i in range(count):
        name = names[i % len(names)]
        operation = str(rng.choice(list(OPERATIONS)))
        rules = OPERATIONS[operation][1]
        argument = int(rng.integers(len(rules)))
        context = str(rng.choice(list(CONTEXTS)))
        shape = SHAPES[rng.integers(len(SHAPES))]
        inputs = [mt.tensor(rng.uniform(0.5, 2.0, shape), requires_grad=True) for _ in rules]
        functions = [
            functools.partial(CONTEXTS[context], spoilt(operation, change, argument))
            for change in (wrong_rules[name], lambda rule: rule)
        ]
        yield f"{i}: {name}, {operation} {argument}, {context}, {shape}", *functions, inputs


def verdict(function, inputs, **options):
    """True, or the message of the GradcheckError; everything else is passed on, warnings too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return mt.gradcheck(function, inputs, **options)
        except GradcheckError as error:
            return str(error)


# --- wrong functions --------------------------------------------------------------------------------------

FAR = mt.tensor([1.0, 2.0], requires_grad=True)
calls = itertools.count()


def calls_backward(x):
    y = (x * x).sum()
    y.backward()
    return y


def changes_its_input(x):
    x.assign_(x.numpy() + 1.0)
    return x * x


def changes_after(x):
    y = x * x
    x.assign_(x.numpy() + 1.0)
    return y


def half_of_a_sum(x):
    s = x.sum()
    return s * s.detach() + s


def writes_in_forward(a):
    a += 1.0
    return a * a


def some_values_only(a):
    if (a < np.round(a, 3)).any():
        raise LookupError("not here")
    return a * a


def raising_beside(x):
    if not np.array_equal(x.numpy(), np.round(x.numpy(), 3)):
        raise ZeroDivisionError("moved")
    return x * x


def raising_at_times(x):
    if next(calls) % 5 == 4:
        raise KeyError("the fifth")
    return x * x


def hooked(x):
    y = x * x
    y.register_hook(lambda g: g * 2.0)
    return y * 3.0


def badly_hooked(x):
    y = x * x
    y.register_hook(lambda g: 3.0)
    return y * 3.0


WRONG_FUNCTIONS = {
    "half a sum": half_of_a_sum,
    "a detached factor": lambda x: x * x.detach(),
    "a detached result": lambda x: (x * x).detach(),
    "NumPy": lambda x: mt.tensor(x.numpy() ** 2),
    "NumPy beside": lambda x: x + mt.tensor(x.numpy() ** 2),
    "no_grad": mt.no_grad()(lambda x: x * x),
    "a gradient that was not recorded": lambda x: mt.grad((x**3).sum(), x),
    "such a gradient beside": lambda x: mt.grad((x**3).sum(), x) * x,
    "random": lambda x: x * np.random.default_rng().normal(),
    "random in shape": lambda x: mt.ones(int(np.random.default_rng().integers(1, 10**6))) * x.sum(),
    "a counter": lambda x: x * float(next(calls)),
    "calls backward": calls_backward,
    "changes its input after": changes_after,
    "raises beside": raising_beside,
    "raises at times": raising_at_times,
    "writes in forward": lambda x: primitive("writing", writes_in_forward, lambda g, y, a: 2 * g * a)(x),
    "a forward that raises beside": lambda x: primitive("picky", some_values_only, lambda g, y, a: 2 * g * a)(x),
    "a hook": hooked,
    "a bad hook": badly_hooked,
    "a jump": lambda x: mt.floor(x - x.numpy()) * x + x.detach(),
    "single precision": lambda x: x.astype(np.float32) * x.detach().astype(np.float32),
    "NaN": lambda x: x * np.nan,
    "infinite": lambda x: mt.exp(x * 1e4),
    "0/0": lambda x: (x - x) / (x - x),
    "the root at 0": lambda x: mt.sqrt(x - x.detach()),
    "a mean that is cut": lambda x: x - x.mean().detach(),
    "a norm that is cut": lambda x: (x - x.mean()) / (x.var().detach() + 1e-5),
    "whole numbers": lambda x: (x * 1e9).astype(int) * 1,
    "an item": lambda x: x * x.sum().item(),
    "a max by hand": lambda x: x * float(x.numpy().max()),
}
# No tensor, or the wrong use of the check: TypeError or ValueError, as documented.
NO_FUNCTIONS = {
    "None": lambda x: None,
    "a tuple": lambda x: (x, x),
    "a list": lambda x: [x],
    "a dictionary": lambda x: {"y": x},
    "a number": lambda x: 3.0,
    "an array": lambda x: x.numpy(),
    "truth": lambda x: x > 0,
    "a string": lambda x: "y",
    "a generator": lambda x: (a for a in [x]),
    "a type": lambda x: mt.Tensor,
    "no function": 3.0,
    "None for a function": None,
    "a tensor for a function": FAR,
}
# What these do depends on the call or the value, and so does the verdict.
FICKLE_FUNCTIONS = {
    "None at times": lambda x: x * x if next(calls) % 3 else None,
    "of a shape that depends": lambda x: x[x.numpy() > np.round(x.numpy(), 3)],
    "of a dtype that depends": lambda x: x.astype([np.float64, np.float32, int, bool][next(calls) % 4]) * 1.0,
}
RIGHT_FUNCTIONS = {
    "changes its input first": changes_its_input,
    "rounds": lambda x: mt.round(x * 1e3) * 1e-3,
    "the input itself": lambda x: x,
    "the input twice": lambda x: x + x,
    "a constant": lambda x: mt.ones(3),
    "a whole constant": lambda x: mt.tensor([1, 2]),
    "a true constant": lambda x: mt.tensor(x.numpy() > 0),
    "an empty constant": lambda x: mt.zeros((0, 3)),
    "a far tensor": lambda x: FAR.sum() * x,
    "a far tensor alone": lambda x: FAR * 2.0,
    "an own backward": lambda x: [mt.grad((x**3).sum(), x, create_graph=True)][0],
    "a jacobian": lambda x: mt.jacobian(lambda z: (z**3).sum(), x),
    "a product with a Hessian": lambda x: mt.hvp(lambda z: (z**3).sum(), x, x),
    "an own leaf": lambda x: x * mt.grad((FAR * FAR).sum(), FAR).sum(),
    "nothing": lambda x: x.reshape(-1)[:0],
    "a flat zero": lambda x: x * 0.0,
    "a shape that is new": lambda x: x.reshape(1, -1, 1),
    "a masked infinity": lambda x: mt.where(x > 1e9, x, -np.inf),
    "a large offset": lambda x: x + 1e8,
    "a softmax": lambda x: mt.softmax(x.reshape(-1)),
    "a norm": lambda x: mt.standardize(x, axis=None, eps=0.1),
    "an uint8 constant": lambda x: x * mt.tensor(np.array(3, np.uint8)),
}


def function_cases(count, functions, seed):
    rng = np.random.default_rng(seed)
    names = list(functions)
    for i in range(count):
        name = names[i % len(names)]
        shape = SHAPES[rng.integers(2, len(SHAPES))]
        x = mt.tensor(np.round(rng.uniform(0.5, 2.0, shape), 3), requires_grad=True)
        yield f"{i}: {name}, {shape}", functions[name], [x]


# --- the verdicts -----------------------------------------------------------------------------------------

BOTH_ORDERS = pytest.mark.parametrize(("order", "part"), [(1, 1), (2, 4)])


@BOTH_ORDERS
def test_a_wrong_rule_is_found_whatever_it_does(order, part):
    for title, function, _, inputs in rule_cases(DRAWS // part, WRONG_RULES, order):
        found = verdict(function, inputs, order=order)
        assert found is not True, title
        assert "the rule of " in found or "has no rule for" in found or "input " in found, (title, found)


@pytest.mark.parametrize(("order", "part"), [(1, 2), (2, 5)])
def test_a_rule_that_passes_is_right(order, part):
    """Whether these are wrong depends on the operation and the shape: what passes has the right gradient."""
    passed = 0
    for title, function, healthy, inputs in rule_cases(DRAWS // part, PERHAPS_WRONG_RULES, 7 + order):
        if verdict(function, inputs, order=order) is True:
            passed += 1
            weights = np.random.default_rng(0).normal(size=healthy(*inputs).shape)
            found, expected = (mt.grad(f(*inputs), inputs, weights, allow_unused=True) for f in (function, healthy))
            for a, b in zip(found, expected, strict=True):
                if a is None and b is None:
                    continue
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-6, atol=1e-6, err_msg=title)
    assert 0 < passed < DRAWS // part / 2


@pytest.mark.parametrize(("order", "part"), [(1, 2), (2, 12)])
def test_right_rules_give_no_alarm(order, part):
    for title, function, _, inputs in rule_cases(DRAWS // part, {"right": lambda rule: rule}, 17 + order):
        assert verdict(function, inputs, order=order) is True, title


@BOTH_ORDERS
def test_a_wrong_function_is_found_whatever_it_does(order, part):
    for title, function, inputs in function_cases(max(DRAWS // 4 // part, len(WRONG_FUNCTIONS)), WRONG_FUNCTIONS, 3):
        assert verdict(function, inputs, order=order) is not True, title


@BOTH_ORDERS
def test_right_functions_give_no_alarm(order, part):
    for title, function, inputs in function_cases(max(DRAWS // 4 // part, len(RIGHT_FUNCTIONS)), RIGHT_FUNCTIONS, 5):
        assert verdict(function, inputs, order=order) is True, title


@pytest.mark.parametrize("order", [1, 2])
def test_what_gives_no_tensor_is_a_wrong_use(order):
    for title, function, inputs in function_cases(max(DRAWS // 8, len(NO_FUNCTIONS)), NO_FUNCTIONS, 11):
        try:
            assert not verdict(function, inputs, order=order), title
        except TypeError as error:
            assert str(error).startswith(("gradcheck: the function returned", "gradcheck: fn is")), title  # noqa: PT017


def test_a_function_that_changes_its_mind_ends_in_a_verdict_or_is_a_wrong_use():
    for title, function, inputs in function_cases(DRAWS // 8, FICKLE_FUNCTIONS, 13):
        try:
            assert verdict(function, inputs) is True or "gradcheck failed" in verdict(function, inputs), title
        except (TypeError, ValueError) as error:
            assert str(error).startswith("gradcheck: "), title  # noqa: PT017


# --- what the verdict says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no return", "returned None: is its return statement missing?"),
        ("a number", "returned a float; it must return an array for the input of shape (2, 3)"),
        ("a list", "returned a list; it must return an array"),
        ("a tensor", "returned a Tensor; it must return an array for the input of shape (2, 3); make no tensor"),
        ("a masked array", "returned a MaskedArray; it must return an array"),
        ("complex", "returned dtype complex128; it must be real numbers"),
        ("objects", "returned dtype object; it must be real numbers"),
        ("raises KeyError", "raised KeyError: 1 (gradient of shape (2, 3), inputs of shapes (2, 3))"),
        ("raises an unprintable", "raised Unprintable (gradient"),
        ("too few arguments", "takes 1 positional argument but 3 were given"),
        ("writes into g", "writes into what it is given; a rule must return a new array"),
        ("writes into y", "writes into what it is given"),
        ("writes into x", "writes into what it is given"),
        ("unlocks its inputs", "writes into what it is given"),
        ("raises what is read-only", "raised RuntimeError: read-only"),
        ("random", "the rule of cube for argument 0 at index"),
    ],
)
def test_a_rule_that_gives_no_gradient_is_named(name, said):
    rule = {**WRONG_RULES, **PERHAPS_WRONG_RULES}[name]
    found = verdict(spoilt("cube", rule, 0), mt.tensor([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5]], requires_grad=True))
    assert "the rule of cube for argument 0" in found
    assert said in found


def test_a_rule_too_few_is_named():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    forward, rules = OPERATIONS["ratio"]
    for operation in (primitive("ratio", forward, rules[0]), primitive("ratio", np.divide, rules[0])):
        with pytest.raises(TypeError, match=r"ratio: no rule for (b|argument 1); .*give it a rule"):
            operation(x, x)


def test_a_wrong_rule_is_blamed_also_where_its_explanation_raises():
    """The rules of argument 0 and 1 are tried in each other's place, where the operation ends at 0."""

    def root(a, b):
        if (b <= 0.5).any():
            raise ValueError("b ends at 0.5")
        return a * b

    op = primitive("ending", root, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b)
    inputs = [mt.tensor([1.0, 2.0], requires_grad=True), mt.tensor([0.5 + 1e-9, 3.0], requires_grad=True)]
    assert "the rule of ending for argument 0 at index" in verdict(op, inputs)


def test_a_forward_that_writes_into_its_input_is_named():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    found = verdict(WRONG_FUNCTIONS["writes in forward"], x)
    assert "the forward of writing writes into what it is given; it must return a new array" in found
    assert x.numpy().tolist() == [1.0, 2.0]


def test_the_inputs_are_left_alone_by_a_rule_that_writes():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    for name in ("writes into x", "unlocks its inputs"):
        verdict(spoilt("cube", WRONG_RULES[name], 0), x)
        assert x.numpy().tolist() == [1.0, 2.0]


def test_what_the_function_raises_comes_through_at_first_and_is_a_verdict_later():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(KeyError, match="mine"):
        mt.gradcheck(raising(KeyError("mine")), x)
    with pytest.raises(GradcheckError, match="the function raised ZeroDivisionError: moved") as raised:
        mt.gradcheck(raising_beside, x)
    assert isinstance(raised.value.__cause__.__cause__, ZeroDivisionError)
    assert mt.gradcheck(raising_beside, x, raise_exception=False) is False


def normalized(mean=lambda m: m, variance=lambda v: v):
    def call(x):
        mu = mean(mt.mean(x, axis=0))
        v = variance(mt.mean(mt.square(x - mu), axis=0))
        return (x - mu) / mt.sqrt(v + 1e-3)

    return call


SPREAD = mt.tensor(np.random.default_rng(0).normal(size=(6, 3)), requires_grad=True)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (normalized(mean=mt.stop_gradient), "mean"),
        (normalized(variance=mt.stop_gradient), "variance"),
        (normalized(mt.stop_gradient, mt.stop_gradient), "mean and variance"),
        (lambda x: (x - x.mean(axis=0)) / mt.tensor(np.sqrt(x.numpy().var(axis=0) + 1e-5)), "variance"),
        (lambda x: (x - x.mean(axis=0)) * mt.tensor(1 / x.numpy().std(axis=0, ddof=1)), "variance"),
        (lambda x: x - mt.tensor(x.numpy().mean(axis=0)), "mean"),
    ],
)
def test_a_statistic_is_said_to_be_detached_where_the_graph_holds_it_as_a_constant(function, part):
    assert f"equals the gradient with the {part} over axis 0 detached" in verdict(function, SPREAD)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (normalized(variance=lambda v: 2 * v - mt.stop_gradient(v)), "a multiple of x − mean(x) over axis 0"),
        (normalized(mean=lambda m: 0.5 * m + 0.5 * mt.stop_gradient(m)), "constant over axis 0"),
        (lambda x: x + mt.stop_gradient(x.sum(axis=0)), "constant over axis 0"),
    ],
)
def test_a_statistic_is_not_said_to_be_detached_where_half_of_it_is(function, said):
    found = verdict(function, SPREAD)
    assert "detached" not in found
    assert said in found


def test_a_gradient_that_drowns_the_true_one_does_not_make_that_zero():
    found = verdict(spoilt("cube", WRONG_RULES["huge"], 0), SPREAD)
    assert "the true gradient is zero, or too small to be seen beside this one" in found


def test_a_rule_that_is_right_in_one_place_is_not_said_to_remember():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    lucky = primitive("lucky", lambda x: x**2, lambda g, y, x: g * np.where(x == np.round(x, 3), 2 * x, 5.0 * x))
    found = verdict(lucky, x)
    assert "right at the input, but wrong where the input is moved by up to 1 %" in found
    assert "left behind" not in found
    constant = primitive("constant", lambda x: x**2, lambda g, y, x: g * np.array([2.0, 4.0]))
    assert "it reads a value that an earlier call left behind, or a constant" in verdict(constant, x)


def test_a_random_rule_is_told_from_one_that_remembers():
    draws = iter([1.0, 1.0, *np.random.default_rng(0).uniform(1, 2, 10_000)])
    op = primitive("chance", lambda x: x**2, lambda g, y, x: 2 * g * x * next(draws))
    assert "gives another value at each call with the same arguments" in verdict(op, mt.tensor(2.0, requires_grad=True))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"cotangent": None}, TypeError, "cotangent has dtype object, from a NoneType"),
        ({"cotangent": {"y": 1.0}}, TypeError, "cotangent has dtype object, from a dict"),
        ({"cotangent": [1j, 1.0]}, TypeError, "cotangent has dtype complex128"),
        ({"cotangent": [np.nan, 1.0]}, ValueError, "cotangent holds NaN or ∞"),
        ({"eps": "small"}, ValueError, "eps is 'small'"),
        ({"eps": np.inf}, ValueError, "eps is inf"),
        ({"rtol": np.nan}, ValueError, "rtol is nan"),
        ({"atol": -1.0}, ValueError, "atol is -1.0"),
        ({"order": "2"}, ValueError, "order is '2'"),
    ],
)
def test_a_wrong_use_is_named(options, error, said):
    with pytest.raises(error, match="gradcheck: ") as raised:
        mt.gradcheck(mt.exp, mt.tensor([1.0, 2.0], requires_grad=True), **options)
    assert said in str(raised.value)


# --- the command ------------------------------------------------------------------------------------------

HEAD = """\
import numpy as np
import microtensor as mt
from microtensor.core.primitive import primitive
w = mt.tensor([[1.0, 2.0, 0.5]] * 2, requires_grad=True)
class Mute(Exception):
    def __str__(self): raise RuntimeError
def fail(error): raise error
def write(g, y, x):
    x += 1.0
    return 3 * g * x * x
calls = []
def later(x):
    calls.append(x)
    return None if len(calls) > 4 else x * x
def beside(x): return x * x if np.array_equal(x.numpy(), np.ones(3)) else fail(LookupError("moved"))
def half(x):
    s = x.sum()
    return s * s.detach() + s
"""
SCRIPT_RULES = """
None; 3.0; [1.0]; "a"; object(); mt.Tensor; g[0]; g.sum(); g[None] * np.ones((4, 1, 1)); g * 1j; g * np.nan; g * np.inf
g.astype(object); mt.tensor(3 * g * x * x); 3 * g * x * x + 1; np.ma.masked_array(g); x; y; g; fail(KeyError(1)); (g,)
fail(Mute()); write(g, y, x); g.T; {}; g.reshape(7); np.zeros(0); np.float64(1); g.fill(0); fail(StopIteration())
"""
SCRIPT_FUNCTIONS = """
None; 3.0; (x,); x.detach() * x; fail(KeyError(1)); fail(Mute()); later(x); beside(x); half(x); x * np.nan; x > 0
mt.grad((x**3).sum(), x); mt.grad((x**3).sum(), x) * x; x * np.random.normal(); x.astype(np.float16) * 1; mt.Tensor
mt.jacobian(lambda z: mt.grad((z**3).sum(), z), x); (x * x).sum().backward(); mt.floor(x) * x
"""


def entries(text):
    return [entry.strip() for entry in text.replace("\n", ";").split(";") if entry.strip()]


@pytest.mark.parametrize("order", ["1", "2"])
@pytest.mark.parametrize(
    "target", ["loss = bad(w)", "loss = mt.tanh(bad(mt.exp(w))).sum()", "def loss(x=np.ones(3)): return bad(x) * x"]
)
def test_the_command_finds_wrong_rules(target, order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rule in entries(SCRIPT_RULES):
        bad = f"bad = primitive('bad', lambda x: x**3, lambda g, y, x: {rule})"
        Path("t.py").write_text(f"{HEAD}{bad}\n{target}\n")
        result = runner().invoke(main, ["check", "t.py:loss", "--order", order])
        assert (result.exit_code, result.stderr) == (1, ""), (rule, result.stderr)
        assert "  the rule of bad for argument 0" in result.stdout or "  input 0" in result.stdout, rule


@pytest.mark.parametrize("order", ["1", "2"])
def test_the_command_finds_wrong_functions_or_names_what_they_raise(order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for body in entries(SCRIPT_FUNCTIONS):
        Path("t.py").write_text(f"{HEAD}def loss(x=np.ones(3)):\n    return {body}\n")
        result = runner().invoke(main, ["check", "t.py:loss", "--order", order])
        if result.exit_code == 3:
            assert result.stderr.splitlines()[-1].startswith("Error: t.py:"), (body, result.stderr)
            assert "fail" in body or "beside" in body or "jacobian" in body
        else:
            assert result.exit_code == 1, (body, result.stderr)
            assert "wrong: t.py:loss" in result.stdout or "must return a Tensor" in result.stderr, (body, result.stderr)
