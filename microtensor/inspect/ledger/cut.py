"""Detaches a path, and finds the order from which the derivatives are wrong without it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

import numpy as np

from microtensor.calculus import grad
from microtensor.core.tensor import Tensor
from microtensor.creation import zeros_like
from microtensor.inspect.history import COTANGENT_SEED
from microtensor.inspect.ledger.located import LocatedNorm
from microtensor.inspect.ledger.model import Cut, Severed
from microtensor.inspect.ledger.subgraph import Edge, Subgraph
from microtensor.ops import sum
from microtensor.support.arrays import Array

CUTS: tuple[Cut, ...] = get_args(Cut)
ORDERS = 3


def severed(subgraph: Subgraph, norms: Sequence[LocatedNorm], path: Cut, seed: Array) -> Severed:
    """Run the graph again with one path detached in all norms, and differentiate both graphs up to order 3.

    Raises
    ------
    ValueError
        There is no such path.
    """
    if path not in CUTS:
        raise ValueError(f"paths: cut is {path!r}; it must be one of {', '.join(CUTS)}")
    shifts = {edge for norm in norms for edge in norm.edges("shift")}
    scales = {edge for norm in norms for edge in norm.edges("scale")}
    inside = _inside(subgraph, norms) if path == "mean@var" else set()
    edges = scales if path == "var" else shifts
    if not edges or (path == "mean@var" and not inside):
        words = {"mean": "a mean", "var": "a variance", "mean@var": "a mean inside a variance"}[path]
        raise ValueError(f"paths: cut {path!r} needs {words} on the way from x to y, and there is none in a norm")
    right = _derivatives(subgraph, seed)
    other = _derivatives(subgraph, seed, edges, inside, scales if inside else ())
    differences = tuple(_difference(a, b) for a, b in zip(other, right, strict=True))
    tolerance = float(np.finfo(right[0].dtype).eps) ** 0.5
    wrong = (order for order, difference in enumerate(differences, 1) if not difference <= tolerance)
    return Severed(path, other[0], differences, next(wrong, None))


def _inside(subgraph: Subgraph, norms: Sequence[LocatedNorm]) -> set[int]:
    """The operations from the x − μ of a norm up to its scale. A mean inside the variance goes through them."""
    found: set[int] = set()
    for norm in norms:
        below = {i for i, _ in norm.edges("shift") if i not in norm.inner}
        for i in range(min(below, default=len(subgraph)), len(subgraph)):
            if any(j in below for j in subgraph.sources[i].values()):
                below.add(i)
        above = {subgraph.sources[i][argument] for i, argument in norm.edges("scale")}
        for i in range(max(above, default=0), 0, -1):
            if i in above:
                above.update(subgraph.sources[i].values())
        found |= below & above
    return found


def _derivatives(
    subgraph: Subgraph,
    seed: Array,
    cut: Collection[Edge] = (),
    inside: Collection[int] = (),
    into: Collection[Edge] = (),
) -> list[Array]:
    """The gradient, and twice the gradient of the product of the last one with a random direction."""
    x = Tensor(subgraph.fresh[0]._array, requires_grad=True)
    y = subgraph.run(x, cut, inside, into)[-1]
    # Another seed than that of the cotangent.
    draws = np.random.default_rng(COTANGENT_SEED + 1)
    value = sum(y * seed)
    found = []
    for _ in range(ORDERS):
        derived = grad(value, x, create_graph=True, allow_unused=True) if value.requires_grad else None
        derived = zeros_like(x) if derived is None else derived
        found.append(derived._array)
        value = sum(derived * draws.normal(size=x.shape).astype(x.dtype))
    return found


def _difference(a: Array, b: Array) -> float:
    size = np.linalg.norm(b)
    difference = float(np.linalg.norm(a - b))
    return difference / float(size) if size else difference
