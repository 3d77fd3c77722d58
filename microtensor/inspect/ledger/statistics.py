"""Finds the norms between x and y: the places where a statistic of a tensor meets the tensor again.

Only the structure of the graph is used, so a norm written by hand is found too. A statistic meets a tensor where an
operation broadcasts one argument that depends on x against another one. It is a *shift* where it is added or
subtracted, and a *scale* where it multiplies or divides. Its name comes from its reductions, such as mean or mean
square. A mean square of x − μ is a variance.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from microtensor.inspect.ledger.subgraph import Edge, Subgraph
from microtensor.support.axes import normalize_axis

Meeting: TypeAlias = Literal["shift", "scale", "other"]

SHIFTS = frozenset({"add", "subtract"})
SCALES = frozenset({"multiply", "divide", "power"})
REDUCTIONS = frozenset({"mean", "sum", "max", "min", "prod"})
# These do not change values; only broadcasting repeats them.
SHAPES = frozenset({"reshape", "expand_dims", "squeeze", "getitem", "astype", "broadcast_to"})


@dataclass(frozen=True)
class Statistic:
    """A statistic, at the place where it meets the tensor that it belongs to.

    Attributes
    ----------
    edge : Edge
        The operation that broadcasts it, and the number of the argument.
    kind : {"shift", "scale", "other"}
        "shift" when the mean of a tensor is subtracted from it; "other" when something else is added.
    name : str
        "mean", "variance", "mean square", …
    reduction : int
        The position of the last reduction.
    of : int
        The position of the tensor that it belongs to.
    """

    edge: Edge
    kind: Meeting
    name: str
    reduction: int
    of: int


@dataclass
class Norm:
    """The statistics of one tensor over the same axes."""

    of: int
    axes: tuple[int, ...] | None
    statistics: list[Statistic] = field(default_factory=list)

    @property
    def scales(self) -> list[Statistic]:
        return [s for s in self.statistics if s.kind == "scale"]

    @property
    def shifts(self) -> list[Statistic]:
        return [s for s in self.statistics if s.kind == "shift"]

    @property
    def is_norm(self) -> bool:
        """Whether it subtracts means and divides by variances, or only divides by mean squares or sums of squares."""
        squares = ["variance"] if self.shifts else ["mean square", "sum of squares"]
        allowed = {("shift", "mean"), *(("scale", square) for square in squares)}
        return {(s.kind, s.name) for s in self.statistics} <= allowed

    @property
    def exits(self) -> frozenset[int]:
        """The operations whose results are the normalised tensor."""
        return frozenset(s.edge[0] for s in self.scales or self.statistics)

    @property
    def marks(self) -> dict[Edge, str]:
        return {s.edge: s.name for s in self.statistics}


def norms_of(subgraph: Subgraph) -> list[Norm]:
    """The norms between x and y in the order of the program; without any, all tensors that have statistics."""
    groups: dict[Any, Norm] = {}
    for statistic in _statistics(subgraph):
        axes = _axes(subgraph, statistic.reduction)
        groups.setdefault((statistic.of, axes), Norm(statistic.of, axes)).statistics.append(statistic)
    return [norm for norm in groups.values() if norm.is_norm] or list(groups.values())


def _statistics(subgraph: Subgraph) -> list[Statistic]:
    found: list[Statistic] = []
    shifted: dict[int, int] = {}
    for i in range(1, len(subgraph)):
        op, sources = subgraph.op(i), subgraph.sources[i]
        for argument, j in sources.items() if op in SHIFTS | SCALES else ():
            small = _before(subgraph, j, {"broadcast_to"})
            others = [k for a, k in sources.items() if a != argument and subgraph.size(k) == subgraph.size(i)]
            reductions = _reductions(subgraph, small) if others and subgraph.size(small) < subgraph.size(i) else []
            if not reductions:
                continue
            other = others[0]
            name, reduction = _name(subgraph, reductions, shifted, other)
            of = shifted.get(_back_to_shift(subgraph, other, shifted), other)
            kind: Meeting = "scale"
            if op in SHIFTS:
                kind = "shift" if _centres(subgraph, i, argument, other) else "other"
            if kind == "shift":
                shifted[i] = other
            found.append(Statistic((i, argument), kind, name, reduction, of))
    return found


def _reductions(subgraph: Subgraph, i: int) -> list[int]:
    """The last reductions that a small result depends on."""
    found: dict[int, None] = {}
    seen = {i}
    stack = [i]
    while stack:
        at = stack.pop()
        for j in subgraph.sources[at].values():
            if subgraph.size(j) > subgraph.size(at):
                if subgraph.op(at) in REDUCTIONS:
                    found[at] = None
            elif j not in seen:
                seen.add(j)
                stack.append(j)
    return sorted(found)


def _before(subgraph: Subgraph, i: int, ops: Collection[str] = REDUCTIONS) -> int:
    """The tensor before some operations, one after the other; default: the tensor that was reduced."""
    while subgraph.op(i) in ops:
        i = subgraph.sources[i][0]
    return i


def _name(subgraph: Subgraph, reductions: list[int], shifted: dict[int, int], other: int) -> tuple[str, int]:
    """The name of a statistic, and the reduction that it comes from."""
    for last in reversed(reductions):
        base = _squared(subgraph, _before(subgraph, last))
        if base is not None:
            if base in shifted or any(_before(subgraph, r) == base for r in reductions):
                return "variance", last
            return ("mean square" if _is_mean(subgraph, last) else "sum of squares"), last
    last = reductions[-1]
    source = _before(subgraph, last)
    word = "mean" if _is_mean(subgraph, last) else subgraph.op(last)
    return (word if source == other else f"{word} of {subgraph.op(source) or 'x'}"), last


def _squared(subgraph: Subgraph, i: int) -> int | None:
    """The position of the tensor whose square this is; None when it is no square."""
    op, sources = subgraph.op(i), list(subgraph.sources[i].values())
    squares = (
        op == "square"
        or (op == "multiply" and len(sources) == 2 and sources[0] == sources[1])
        or (op == "power" and len(sources) == 1 and subgraph.number(i, 1) == 2)
    )
    return sources[0] if squares else None


def _is_mean(subgraph: Subgraph, i: int) -> bool:
    """Whether a reduction is a mean, or a sum that all operations after it divide by the number of elements."""
    if subgraph.op(i) != "sum":
        return subgraph.op(i) == "mean"
    count = subgraph.size(_before(subgraph, i)) / max(subgraph.size(i), 1)
    factors = [_constant_factor(subgraph, k) for k, _ in subgraph.consumers[i]]
    return bool(factors) and all(f is not None and np.isclose(f * count, 1.0) for f in factors)


def _constant_factor(subgraph: Subgraph, i: int) -> float | None:
    """The number that an operation multiplies its argument by; None for every other operation."""
    op, sources = subgraph.op(i), subgraph.sources[i]
    if op not in ("multiply", "divide") or len(sources) != 1:
        return None
    value = subgraph.number(i, 0 if 1 in sources else 1)
    if op == "multiply" or value is None:
        return value
    return 1 / value if value and 0 in sources else None


def _centres(subgraph: Subgraph, i: int, argument: int, other: int) -> bool:
    """Whether an operation subtracts exactly the mean of `other` from it."""
    at, factor = subgraph.sources[i][argument], 1.0 if subgraph.op(i) == "subtract" else -1.0
    while at != other:
        op, sources = subgraph.op(at), list(subgraph.sources[at].values())
        constant = -1.0 if op == "negative" else _constant_factor(subgraph, at)
        if constant is not None:
            factor *= constant
        elif op == "sum":
            factor *= subgraph.size(sources[0]) / subgraph.size(at)
        elif op != "mean" and op not in SHAPES:
            return False
        at = sources[0]
    return bool(np.isclose(factor, 1.0))


def _back_to_shift(subgraph: Subgraph, i: int, shifted: dict[int, int]) -> int:
    """The x − μ inside a multiple of it, such as γ (x − μ); the tensor itself when there is none."""
    at = i
    while at not in shifted:
        sources = list(subgraph.sources[at].values())
        if subgraph.op(at) not in ("multiply", "divide", "astype", "negative") or len(sources) != 1:
            return i
        at = sources[0]
    return at


def _axes(subgraph: Subgraph, i: int) -> tuple[int, ...] | None:
    """The axes of a reduction; None for a reduction of a reduction."""
    node = subgraph.recorded[i].node
    source = subgraph.sources[i][0]
    if node is None or subgraph.op(source) in REDUCTIONS:
        return None
    return normalize_axis(node.params.get("axis"), subgraph.recorded[source].ndim, "paths")
