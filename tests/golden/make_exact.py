"""Writes exact.json: directional derivatives of the norms of orders 0 to 4, from rational arithmetic, to 30 digits.

Run by hand, ``python tests/golden/make_exact.py`` (needs SymPy); the tests read the file alone. With
``--compare`` it writes nothing and prints how far microtensor, and PyTorch if it is installed, are from
the stored values.

Along a line every statistic is a polynomial in t with rational coefficients, so a normalised element is
p(t) / √q(t) with p linear and q quadratic, and SymPy differentiates that without rounding.
"""

import argparse
import json
import random
import sys
from contextlib import suppress
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from math import prod
from pathlib import Path

EXACT = Path(__file__).parent / "exact.json"
ORDERS = 4
LINES = 2
# name: (the norm, shape, groups, ε)
CASES = {
    "batch_norm 4x2": ("batch_norm", (4, 2), None, "1/100"),
    "batch_norm 3x2x2": ("batch_norm", (3, 2, 2), None, "1/100"),
    "batch_norm 4x2, small ε": ("batch_norm", (4, 2), None, "1/100000"),
    "layer_norm 2x4": ("layer_norm", (2, 4), None, "1/100"),
    "layer_norm 3x3": ("layer_norm", (3, 3), None, "1/1000"),
    "instance_norm 2x2x3": ("instance_norm", (2, 2, 3), None, "1/100"),
    "group_norm 2x4, 2 groups": ("group_norm", (2, 4), 2, "1/100"),
    "group_norm 2x4x2, 2 groups": ("group_norm", (2, 4, 2), 2, "1/100"),
    "rms_norm 2x4": ("rms_norm", (2, 4), None, "1/100"),
    "ghost_batch_norm 6x2, 2 parts": ("ghost_batch_norm", (6, 2), 2, "1/100"),
    "filter_response_norm 2x2x3": ("filter_response_norm", (2, 2, 3), None, "1/100"),
    "scale_norm 2x4": ("scale_norm", (2, 4), None, "1/100"),
    "weight_norm 2x4": ("weight_norm", (2, 4), None, "0"),
    "weight_standardize 2x4": ("weight_standardize", (2, 4), None, "1/100"),
}
UNCENTERED = {"rms_norm", "filter_response_norm", "scale_norm", "weight_norm"}
FUSED = {"batch_norm", "layer_norm", "instance_norm", "group_norm", "rms_norm", "weight_norm"}  # In PyTorch.
COMPOSED = {"batch_norm", "layer_norm", "instance_norm", "weight_norm"}  # Those with a wrong fused derivative.
LENGTH = {"scale_norm", "weight_norm"}  # The root of the sum of squares, not of their mean.


def shared(norm, shape, groups, index):
    """Which elements have their statistics together: those with the same key."""
    n, c = index[:2]
    return {
        "batch_norm": c,
        "ghost_batch_norm": (n * (groups or 1) // shape[0], c),
        "instance_norm": (n, c),
        "filter_response_norm": (n, c),
        "group_norm": (n, c * (groups or 1) // shape[1]),
    }.get(norm, n)


def parameter_shapes(norm, shape):
    """γ and β, or the length g of weight norm, by name."""
    shapes = {
        "layer_norm": {"weight": shape[1:], "bias": shape[1:]},
        "rms_norm": {"weight": shape[1:]},
        "scale_norm": {"weight": ()},
        "weight_norm": {"weight": (shape[0], 1)},
        "weight_standardize": {},
    }
    return shapes.get(norm, {"weight": shape[1:2], "bias": shape[1:2]})


def parameter_index(norm, index):
    """Which element of γ and β meets the element of x at an index."""
    kinds = {"layer_norm": index[1:], "rms_norm": index[1:], "scale_norm": (), "weight_norm": (index[0], 0)}
    return kinds.get(norm, index[1:2])


def drawn(rng, size):
    return [str(Fraction(rng.randint(-40, 40), rng.randint(5, 20))) for _ in range(size)]


def draw(rng, norm, shape, groups, eps):
    """Random rationals for a case: the inputs, the weights of the loss, and lines to move the inputs along."""
    sizes = {"x": prod(shape), **{name: prod(size) for name, size in parameter_shapes(norm, shape).items()}}
    return {
        "norm": norm,
        "shape": shape,
        "groups": groups,
        "eps": eps,
        "inputs": {name: drawn(rng, size) for name, size in sizes.items()},
        "linear": drawn(rng, sizes["x"]),
        "quadratic": drawn(rng, sizes["x"]),
        "lines": [{"directions": {name: drawn(rng, size) for name, size in sizes.items()}} for _ in range(LINES)],
    }


def solve(case, directions):
    """The loss and its derivatives along one line, as strings of 30 digits."""
    import sympy

    t = sympy.Symbol("t")
    norm, shape, groups = case["norm"], case["shape"], case["groups"]

    def moved(name):
        pairs = zip(case["inputs"][name], directions[name], strict=True)
        return [sympy.Rational(a) + t * sympy.Rational(b) for a, b in pairs]

    x = moved("x")
    indices = list(product(*map(range, shape)))
    parameters = {
        name: dict(zip(product(*map(range, size)), moved(name), strict=True))
        for name, size in parameter_shapes(norm, shape).items()
    }
    together = {}
    for i, index in enumerate(indices):
        together.setdefault(shared(norm, shape, groups, index), []).append(i)
    loss = sympy.Integer(0)
    for members in together.values():
        mean = 0 if norm in UNCENTERED else sum(x[i] for i in members) / len(members)
        count = 1 if norm in LENGTH else len(members)
        q = sympy.expand(sum((x[i] - mean) ** 2 for i in members) / count + sympy.Rational(case["eps"]))
        for i in members:
            k = parameter_index(norm, indices[i])
            y = sympy.expand(x[i] - mean) / sympy.sqrt(q)
            y = parameters["weight"][k] * y if "weight" in parameters else y
            y = y + parameters["bias"][k] if "bias" in parameters else y
            loss += sympy.Rational(case["linear"][i]) * y + sympy.Rational(case["quadratic"][i]) * y**2
    found = []
    for order in range(ORDERS + 1):
        found.append(str(sympy.N(loss.subs(t, 0), 30)))
        if order < ORDERS:
            loss = sum(term.diff(t) for term in sympy.Add.make_args(loss))
    return found


def write():
    rng = random.Random(20)
    cases = {}
    for name, (norm, shape, groups, eps) in CASES.items():
        cases[name] = case = draw(rng, norm, shape, groups, eps)
        for line in case["lines"]:
            line["exact"] = solve(case, line["directions"])
    EXACT.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# --- the same in floating point, for any library ----------------------------------------------------------


def orders(case, directions, tensor, grad, norm):
    """The loss and its derivatives along one line, by nested gradients.

    tensor: from nested lists to the library's tensor; grad: gradients with a graph; norm: the layer's function.
    """
    shapes = {"x": tuple(case["shape"]), **parameter_shapes(case["norm"], tuple(case["shape"]))}
    inputs = {name: tensor(plain(values), shapes[name], True) for name, values in case["inputs"].items()}
    v = [tensor(plain(directions[name]), shapes[name], False) for name in inputs]
    linear, quadratic = (tensor(plain(case[key]), shapes["x"], False) for key in ("linear", "quadratic"))
    y = norm(case, **inputs)
    value = (linear * y + quadratic * y * y).sum()
    found = [value.item()]
    for _ in range(ORDERS):
        pairs = zip(grad(value, list(inputs.values())), v, strict=True)
        value = sum((g * d).sum() for g, d in pairs if g is not None)
        found.append(value.item())
    return found


def plain(values):
    return [float(Fraction(value)) for value in values]


def errors(case, line, *library):
    """The relative error of each order; NaN stays NaN."""
    exact = [Fraction(value) for value in line["exact"]]
    return [
        abs(float((Fraction(a) - e) / e)) if a == a and abs(a) != float("inf") else float("nan")
        for a, e in zip(orders(case, line["directions"], *library), exact, strict=True)
    ]


def microtensor():
    import numpy as np

    import microtensor as mt

    def norm(case, x, weight=None, bias=None):
        eps, shape = float(Fraction(case["eps"])), tuple(case["shape"])
        return {
            "batch_norm": lambda: mt.norms.batch_norm(x, weight=weight, bias=bias, training=True, eps=eps),
            "layer_norm": lambda: mt.norms.layer_norm(x, shape[1:], weight, bias, eps),
            "instance_norm": lambda: mt.norms.instance_norm(x, weight=weight, bias=bias, eps=eps),
            "group_norm": lambda: mt.norms.group_norm(x, case["groups"], weight, bias, eps),
            "rms_norm": lambda: mt.norms.rms_norm(x, shape[1:], weight, eps),
            "ghost_batch_norm": lambda: mt.norms.ghost_batch_norm(
                x, shape[0] // case["groups"], weight=weight, bias=bias, training=True, eps=eps
            ),
            "filter_response_norm": lambda: mt.norms.filter_response_norm(x, weight, bias, eps=eps),
            "scale_norm": lambda: mt.norms.scale_norm(x, weight, eps),
            "weight_norm": lambda: mt.norms.weight_norm(x, weight),
            "weight_standardize": lambda: mt.norms.weight_standardize(x, eps),
        }[case["norm"]]()

    def tensor(values, shape, requires_grad):
        return mt.tensor(np.reshape(values, shape), requires_grad=requires_grad)

    def grad(output, inputs):
        return mt.grad(output, inputs, create_graph=True, allow_unused=True)

    return tensor, grad, norm


def pytorch():
    import torch
    from torch.nn import functional

    def norm(case, x, weight=None, bias=None):
        eps, shape = float(Fraction(case["eps"])), tuple(case["shape"])
        return {
            "batch_norm": lambda: functional.batch_norm(x, None, None, weight, bias, True, eps=eps),
            "layer_norm": lambda: functional.layer_norm(x, shape[1:], weight, bias, eps),
            "instance_norm": lambda: functional.instance_norm(x, None, None, weight, bias, eps=eps),
            "group_norm": lambda: functional.group_norm(x, case["groups"], weight, bias, eps),
            "rms_norm": lambda: functional.rms_norm(x, shape[1:], weight, eps),
            "weight_norm": lambda: torch._weight_norm(x, weight, 0),
        }[case["norm"]]()

    def tensor(values, shape, requires_grad):
        return torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_(requires_grad)

    def grad(output, inputs):
        return torch.autograd.grad(output, inputs, create_graph=True, allow_unused=True)

    def composed(case, x, weight, bias=None):
        """The same from PyTorch's elementary operations, to show that the harness is not at fault."""
        if case["norm"] == "weight_norm":
            return x * (weight / (x * x).sum(1, keepdim=True).sqrt())
        ndim = len(case["shape"])
        first = {"batch_norm": (0, *range(2, ndim)), "layer_norm": range(1, ndim), "instance_norm": range(2, ndim)}
        axes = tuple(first[case["norm"]])
        centered = x - x.mean(axes, keepdim=True)
        sigma = ((centered * centered).mean(axes, keepdim=True) + float(Fraction(case["eps"]))).sqrt()
        if case["norm"] != "layer_norm":
            weight, bias = (p.reshape(-1, *[1] * (ndim - 2)) for p in (weight, bias))
        return centered / sigma * weight + bias

    return (tensor, grad, norm), (tensor, grad, composed)


def compare():
    """Print the largest relative error by library, case and order."""
    say = sys.stdout.write
    libraries = {"microtensor": microtensor()}
    with suppress(ImportError):
        libraries["torch"], libraries["torch, composed"] = pytorch()
    say(f"Python {sys.version.split()[0]}")
    for name in ("numpy", "microtensor", "torch"):
        try:
            say(f", {name} {version(name)}")
        except PackageNotFoundError:
            say(f", {name} not installed")
    columns = ["case", "library", "value", *(f"order {k}" for k in range(1, ORDERS + 1))]
    say(f"\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n")
    for name, case in json.loads(EXACT.read_text(encoding="utf-8")).items():
        for who, library in libraries.items():
            if who == "torch" and case["norm"] not in FUSED:
                continue
            if who == "torch, composed" and case["norm"] not in COMPOSED:
                continue
            try:
                rows = [errors(case, line, *library) for line in case["lines"]]
                cells = [f"{max(column, key=lambda e: (e != e, e)):.0e}" for column in zip(*rows, strict=True)]
            except RuntimeError as error:
                cells = [f"raises: {str(error).splitlines()[0]}"]
            say(f"| {name} | {who} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compare", action="store_true", help="print the errors of microtensor and PyTorch")
    compare() if parser.parse_args().compare else write()
