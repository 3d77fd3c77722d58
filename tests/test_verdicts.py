"""gradcheck, gradgradcheck and `microtensor check` end in a verdict, whatever a rule or a function does.

A few hundred wrong rules and functions are drawn here; MICROTENSOR_FUZZ=2000 draws that many.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

import microtensor as mt
from microtensor import ops
from microtensor.checking import GradcheckError
from microtensor.cli import main
from microtensor.primitive import Primitive, primitive

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
    "no rule": lambda rule: ...,
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


def spoilt(operation, wrong, argument, rng):
    """The operation with one of its rules made wrong."""
    forward, rules = OPERATIONS[operation]
    broken = list(rules)
    broken[argument] = wrong(rules[argument])
    if broken[argument] is ...:
        return Primitive(operation, forward, tuple(rules[:argument]))
    return primitive(operation, forward, *broken)


def rule_cases(count, wrong_rules, seed):
    """(what it is, function, inputs), the same at each run; every wrong rule comes up again and again."""
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
        op = spoilt(operation, wrong_rules[name], argument, rng)
        title = f"{i}: {name}, {operation} {argument}, {context}, {shape}"
        yield title, lambda *xs, op=op, context=context: CONTEXTS[context](op, *xs), inputs


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
    "changes its input": changes_its_input,
    "changes its input after": changes_after,
    "raises beside": raising_beside,
    "raises at times": raising_at_times,
    "writes in forward": lambda x: primitive("writing", writes_in_forward, lambda g, y, a: 2 * g * a)(x),
    "a forward that raises beside": lambda x: primitive("picky", some_values_only, lambda g, y, a: 2 * g * a)(x),
    "a hook": hooked,
    "a bad hook": badly_hooked,
    "a jump": lambda x: mt.floor(x - x.numpy()) * x + x.detach(),
    "single precision": lambda x: x.astype(np.float32) * x.detach().astype(np.float32),
    "rounds": lambda x: mt.round(x, decimals=3) if False else mt.round(x * 1e3) * 1e-3,
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
    "None at times": lambda x: x * x if next(calls) % 3 else None,
    "of a shape that depends": lambda x: x[x.numpy() > np.round(x.numpy(), 3)],
}
RIGHT_FUNCTIONS = {
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


def function_cases(count, functions, seed, whole=False):
    rng = np.random.default_rng(seed)
    names = list(functions)
    for i in range(count):
        name = names[i % len(names)]
        shape = SHAPES[rng.integers(len(SHAPES))]
        x = mt.tensor(np.round(rng.uniform(0.5, 2.0, shape), 3), requires_grad=True)
        yield f"{i}: {name}, {shape}", functions[name], [x]
