"""The part of the gradient that a norm takes out: along 1 and along x − μ, on the direct path and on all paths."""

from __future__ import annotations

import math

import numpy as np

from microtensor.inspect.ledger.model import Part, Removal
from microtensor.inspect.ledger.statistics import SHAPES, Norm, Statistic
from microtensor.inspect.ledger.subgraph import PathClass, State, Subgraph
from microtensor.support.arrays import Array

# Beside roots and 1/s, these only multiply a statistic by a constant, which does not change what is left.
HOMOGENEOUS = SHAPES | {"multiply", "divide"}

SQUARES = {"variance": "σ²", "mean square": "mean x²", "sum of squares": "Σ x²"}


def projection(subgraph: Subgraph, norm: Norm, at_input: dict[State, PathClass]) -> Removal | None:
    """The part that a norm removes from the gradient at its input; None if it is not a usual norm of a tensor."""
    inside = [carried.value for state, carried in at_input.items() if state is not None]
    if norm.axes is None or not norm.is_norm or () not in at_input:
        return None
    axes = norm.axes
    noise = 1e3 * float(np.finfo(subgraph.fresh[0].dtype).eps)
    rests = [np.asarray(g, dtype=np.float64) for g in (at_input[()].value, np.sum(inside, axis=0))]
    values = np.asarray(subgraph.fresh[norm.of].numpy(), dtype=np.float64)
    shape = tuple(1 if a in axes else n for a, n in enumerate(values.shape))
    # The name of a direction, the direction itself, the rest by theory, and the statistic that ε is added to.
    directions: list[tuple[str, Array, Array, str]] = []
    if norm.shifts:
        directions.append(("1", np.ones_like(values), np.zeros(()), ""))
        values = values - values.mean(axis=axes, keepdims=True)
    left = _predicted(subgraph, norm.scales, shape)
    if left is not None:
        directions.append(("x − μ" if norm.shifts else "x", values, left, SQUARES[norm.scales[0].name]))
    parts = []
    for name, direction, predicted, statistic in directions:
        length = np.sqrt(np.sum(direction**2, axis=axes, keepdims=True))
        unit = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
        sizes = np.sqrt(np.sum(rests[0] ** 2, axis=axes, keepdims=True))
        along = [np.sum(rest * unit, axis=axes, keepdims=True) for rest in rests]
        rests = [rest - part * unit for rest, part in zip(rests, along, strict=True)]
        direct, total = along
        residue = np.divide(total, direct, out=np.zeros_like(direct), where=direct != 0)
        holds = bool(np.all(np.abs(total - predicted * direct) <= noise * sizes))
        predicted = np.broadcast_to(predicted, direct.shape)
        parts.append(Part(name, _norm(direct), _norm(total), residue, predicted, statistic, holds))
    if not parts:
        return None
    sets = math.prod(shape)
    return Removal(axes, sets, values.size // max(sets, 1), tuple(parts), *map(_norm, rests))


def _norm(x: Array) -> float:
    return float(np.linalg.norm(x))


def _predicted(subgraph: Subgraph, scales: list[Statistic], shape: tuple[int, ...]) -> Array | None:
    """ε / (σ² + ε) per set, from the operations between the reduction and the place where it scales.

    With s the scale and c the values, ⟨total, c⟩ = ⟨direct, c⟩ (1 − c·∂s/∂c / s). Since σ² and σ are homogeneous,
    c·∂s/∂c / s = σ² / (σ² + ε) for s = √(σ² + ε), and σ / (σ + ε) for s = σ + ε.
    """
    if len(scales) != 1:
        return None
    (i, argument), reduction = scales[0].edge, scales[0].reduction
    if subgraph.op(i) == "divide" and argument == 0:
        return None
    inverse, roots = subgraph.op(i) == "multiply", 0
    at, added, epsilon = subgraph.sources[i][argument], reduction, 0.0
    while at != reduction:
        op, sources = subgraph.op(at), list(subgraph.sources[at].items())
        if len(sources) != 1:
            return None
        argument, source = sources[0]
        if op == "sqrt":
            roots += 1
        elif op == "divide" and argument == 1:
            inverse = not inverse
        elif op == "add" and added == reduction:
            constant, added = subgraph.number(at, 1 - argument), source
            if constant is None:
                return None
            epsilon = constant
        elif op not in HOMOGENEOUS:
            return None
        at = source
    spread = np.asarray(subgraph.fresh[added].numpy(), dtype=np.float64)
    if inverse or roots != 1 or spread.size != math.prod(shape):
        return None
    spread = spread.reshape(shape)
    return np.divide(epsilon, spread + epsilon, out=np.zeros(shape), where=spread + epsilon != 0)
