"""The graph at generic points: run again in float64, with random numbers for its leaves or for one of its tensors.

At the user's own values a constant column or a large offset would hide a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microtensor.core.backprop import run
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import rerun
from microtensor.inspect.statistics.dependence import Dependence, Records
from microtensor.inspect.statistics.gradients import Direction, direction_of, may_be_scale
from microtensor.inspect.statistics.model import Statistic
from microtensor.support.arrays import Array

SEED = 314159
# The two sizes of z between which the result of a norm changes by less than one percent.
LARGE, LARGER = 1e3, 1e6
CHANGE = 0.01
# Sizes of a tensor at which sums, exponents and squares neither swallow it nor are swallowed by it.
SMALLEST, LARGEST = 1e-3, 1e3
# Numbers are equal when they spread over less than this part of their size.
EQUAL = 1e-3


class Generic:
    """The whole graph with random leaves, step by step.

    Attributes
    ----------
    node : dict
        The record of each result. Every other tensor is a leaf here.
    random : numpy.random.Generator
    """

    def __init__(self, records: Records, dependence: Dependence) -> None:
        self.node = {result: in_double(node) for result, node in records}
        self.dependence = dependence
        self.random = np.random.default_rng(SEED)
        self._made: dict[Tensor, Tensor] = {}
        self._aside: dict[Tensor, Array] = {}
        # What had no finite value: no gradient says what is before it.
        self._cut_off: list[Tensor] = []

    def step(self, result: Tensor) -> None:
        """Run one operation. What has no finite value starts anew."""
        try:
            rerun([(result, self.node[result])], reader(self._at), self._made)
            finite = bool(np.isfinite(self._made[result]._array).all())
        except Exception:
            # An operation of the user's may be made for other numbers.
            finite = False
        if not finite:
            self._cut_off.append(result)
            self.start_anew(result)

    def start_anew(self, tensor: Tensor) -> None:
        """Make a tensor a leaf here: random numbers of the same signs, of the same size if it is usual, none near 0."""
        self._made[tensor] = Tensor(self._draw(tensor._array), requires_grad=True)

    def _draw(self, own: Array) -> Array:
        size = _size(own)
        draws = self.random.uniform(0.5, 1.5, size=own.shape) * (size if SMALLEST < size < LARGEST else 1.0)
        return np.where(own < 0, -draws, draws)

    def aside(self, tensor: Tensor) -> Array:
        """The numbers of a tensor here, or random ones when these are too small, too large or too equal."""
        if tensor not in self._aside:
            numbers = self._at(tensor)._array
            size = _size(numbers)
            equal = numbers.size > 1 and np.ptp(numbers) < EQUAL * size
            usual = SMALLEST < size < LARGEST and not equal
            self._aside[tensor] = numbers if usual else self._draw(numbers)
        return self._aside[tensor]

    def _at(self, tensor: Tensor) -> Tensor:
        if tensor not in self._made:
            self.start_anew(tensor)
        return self._made[tensor]

    def of_which_it_may_be_a_scale(self, v: Tensor, possible: list[Tensor]) -> list[Tensor]:
        """The tensors of which v may be a scale, by one backward pass for all of them."""
        at = {z: self._at(z) for z in possible}
        try:
            gradients = run({self._at(v): self.random.normal(size=v.shape)}, set(at.values()))
        except Exception:
            return possible
        unknown = 0
        for result in self._cut_off:
            unknown |= self.dependence.above(result) if self.dependence.depends(v, result) else 0
        return [
            z
            for z in possible
            if unknown & self.dependence.bit(z)
            or (at[z] in gradients and may_be_scale(gradients[at[z]]._array, at[z]._array))
        ]


class Point:
    """What follows from one tensor z of the graph when z is a leaf with random numbers.

    Attributes
    ----------
    z : Tensor
        The tensor of the user's graph.
    """

    def __init__(self, z: Tensor, generic: Generic) -> None:
        self.z, self._generic = z, generic
        draws = generic.random.normal(size=z.shape)
        checkered = draws * (-1.0) ** np.indices(z.shape).sum(axis=0)
        # A kink can make a row of |z|, max(z, mean z) or max(x, z) the row of z itself: not at all of the first four.
        points = draws, -draws, checkered * LARGE, draws * LARGE, draws * LARGER
        made: list[dict[Tensor, Tensor]] = [{z: Tensor(point, requires_grad=True)} for point in points]
        self._judged_at, self._large_at = made[:4], made[3:]
        self._judged: dict[Tensor, Statistic | None] = {}

    def statistic(self, v: Tensor) -> Statistic | None:
        """What a result is of z, if it is a statistic."""
        if v not in self._judged:
            self._judged[v] = self._judge(v)
        return self._judged[v]

    def _judge(self, v: Tensor) -> Statistic | None:
        """It is a statistic when its gradient is the same kind at every point."""
        cotangent = self._generic.random.normal(size=v.shape)
        directions = (self._direction(v, made, cotangent) for made in self._judged_at)
        first = next(directions)
        if first is None or any(direction != first for direction in directions):
            return None
        return Statistic(v, *first)

    def _direction(self, v: Tensor, made: dict[Tensor, Tensor], cotangent: Array) -> Direction | None:
        leaf = made[self.z]
        try:
            g = run({self._at(v, made): cotangent}, {leaf}).get(leaf)
        except Exception:
            # An operation or a rule of the user's may be made for other numbers; then this is no statistic.
            return None
        return None if g is None else direction_of(g._array, leaf._array, v.size)

    def settles(self, result: Tensor) -> bool:
        """Whether a result is nearly the same for 1,000 z and 1,000,000 z."""
        try:
            large, larger = (self._at(result, made)._array for made in self._large_at)
        except Exception:
            return False
        return bool(np.linalg.norm(large - larger) < CHANGE * np.linalg.norm(large))

    def _at(self, result: Tensor, made: dict[Tensor, Tensor]) -> Tensor:
        generic = self._generic
        if result not in made:
            between = generic.dependence.between(self.z, result)
            missing = [(t, generic.node[t]) for t in between if t not in made]
            rerun(missing, reader(lambda x: made[x] if x in made else generic.aside(x)), made)
        return made[result]


def reader(at: Callable[[Tensor], Any]) -> Callable[[Tensor, int, Any], Any]:
    """Reads the arguments of an operation that runs again: what needs a gradient by `at`, the rest as it was."""

    def read(key: Tensor, argument: int, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return at(value) if value.requires_grad else value._array

    return read


def _size(numbers: Array) -> float:
    return float(np.abs(numbers).sum(dtype=np.float64)) / max(numbers.size, 1)


def in_double(node: Node) -> Node:
    """The record, with the dtype that it asks for replaced by float64.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.statistics.generic import in_double
    >>> x = mt.tensor([1.0], dtype="float32", requires_grad=True)
    >>> in_double(mt.astype(x, "float16").node).params["dtype"]
    <class 'numpy.float64'>
    """
    if node.params.get("dtype") is None:
        return node
    return Node(node.primitive, node.inputs, {**node.params, "dtype": np.float64}, node.scope, 0, "")
