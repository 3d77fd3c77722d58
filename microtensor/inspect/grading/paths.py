"""The paths of the gradient at the input of a norm: direct, through the mean, through the variance.

They are the same for every spelling of a norm. The direct path is the gradient with the statistics held constant: every
edge from a statistic into a larger result is cut. The path through the mean takes out the mean of the direct one. The
path through the variance is the rest.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from microtensor.calculus import grad
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.forward import creation
from microtensor.inspect.history import history, rerun
from microtensor.inspect.statistics import Norm
from microtensor.ops import stop_gradient
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad

# A result, and the argument that it reads.
Edge = tuple[Tensor, int]
# These only move the values of their input.
MOVES = frozenset({"reshape", "permute_dims"})
FAR = 1e6


def dependents(starts: Collection[Tensor], end: Tensor) -> set[Tensor]:
    """Some tensors, and the recorded results before `end` that were computed from them.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.paths import dependents
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> len(dependents([x], mt.exp(x * 2.0)))
    3
    """
    reached = set(starts)
    for result, node in history(end):
        if any(isinstance(x, Tensor) and x in reached for x in node.inputs):
            reached.add(result)
    return reached


def between(start: Tensor, end: Tensor) -> list[tuple[Tensor, Node]]:
    """The recorded results that were computed from a tensor, before `end` and with it, in the order of the program.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.paths import between
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> h = x * 2.0
    >>> [node.primitive.name for _, node in between(h, mt.exp(h).sum())]
    ['exp', 'sum']
    """
    reached = dependents([start], end) - {start}
    return [(result, node) for result, node in history(end) if result in reached]


def depends(result: Tensor, x: Tensor) -> bool:
    """Whether a result was computed from another tensor.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.paths import depends
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> depends(mt.exp(x * 2.0), x), depends(x, x)
    (True, False)
    """
    return result is not x and result in dependents([x], result)


def run_again(
    start: Tensor, end: Tensor, value: Array, cut: Collection[Edge] = ()
) -> tuple[Tensor, dict[Tensor, Tensor]]:
    """Run the results from `start` to `end` again with another value, and detach what the edges of `cut` read.

    Returns
    -------
    (Tensor, dict)
        The new start, and every new result by the recorded one.
    """
    new = Tensor(value, requires_grad=True)
    made = {start: new}

    def read(result: Tensor, argument: int, old: object) -> object:
        found = made.get(old, old) if isinstance(old, Tensor) else old
        outside = isinstance(old, Tensor) and old not in made
        return stop_gradient(found) if outside or (result, argument) in cut else found

    with np.errstate(all="ignore"), enable_grad():
        rerun(between(start, end), read, made)
    return new, made


def carried(end: Tensor, start: Tensor, seed: Array, cut: Collection[Edge] = ()) -> Array:
    """The gradient of `start` for a cotangent of `end`, without the edges of `cut`.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.paths import carried
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> carried(x * x, x, np.array([1.0, 10.0]))
    array([ 2., 40.])
    """
    if end is start:
        return seed
    new, made = run_again(start, end, start._array, cut)
    if end not in made or not made[end].requires_grad:
        return np.zeros(start.shape)
    found = grad(made[end], new, seed, allow_unused=True)
    return np.zeros(start.shape) if found is None else found._array


@dataclass(frozen=True)
class NormPaths:
    """A norm, and the result from which a gradient enters it.

    Attributes
    ----------
    norm : Norm
    end : Tensor
        The result whose cotangents are given: the output of forward, or one that backward names.
    z : Tensor
        The input of the norm, or a result between it and the first statistic.
    """

    norm: Norm
    end: Tensor
    z: Tensor

    @property
    def shifts(self) -> bool:
        """Whether the norm takes a mean out."""
        return self.norm.centered

    @property
    def around_mean(self) -> bool:
        """Whether the norm divides by a variance, and not by a mean square."""
        return self.shifts or any(s.kind == "scale" and s.centered for s in self.norm.statistics)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the input that the statistics run over."""
        return tuple(self.norm.axes)

    @property
    def count(self) -> int:
        """The number of values per set."""
        return math.prod(self.z.shape[a] for a in self.axes)

    @property
    def names(self) -> list[str]:
        """The paths in words."""
        if self.around_mean:
            return ["direct", "mean", "variance"] if self.shifts else ["direct", "variance"]
        summed = self.divisor is not None and np.allclose(self.divisor, self.deviation * self.count**0.5, rtol=1e-6)
        return ["direct", "sum of squares" if summed else "mean square"]

    @cached_property
    def cut(self) -> set[Edge]:
        """The edges from statistics, and from what is computed from them alone, into larger results."""
        inner = self.norm.inner
        return {
            (result, i)
            for result, node in between(self.z, self.end)
            for i, x in enumerate(node.inputs)
            if result not in inner and isinstance(x, Tensor) and x in inner
        }

    @cached_property
    def entrances(self) -> set[Edge]:
        """The edges from the input into the norm."""
        meetings = {result for result, _ in self.cut}
        inside: set[Tensor] = set()
        for result, node in reversed(between(self.z, self.end)):
            if result in meetings or result in self.norm.inner:
                inside.add(result)
            if result in inside:
                inside.update(x for x in node.inputs if isinstance(x, Tensor))
        records = between(self.z, self.end)
        return {(t, i) for t, node in records if t in inside for i, x in enumerate(node.inputs) if x is self.z}

    def around(self, seed: Array) -> Array:
        """The gradient that reaches the input past the norm, as in a residual block."""
        return carried(self.end, self.z, seed, self.entrances)

    def columns(self, seed: Array) -> list[Array]:
        """The paths of :attr:`names` at the input of the norm, for one cotangent."""
        past = self.around(seed)
        total = carried(self.end, self.z, seed) - past
        direct = carried(self.end, self.z, seed, self.cut) - past
        if not self.shifts:
            return [direct, total - direct]
        mean = np.broadcast_to(-direct.mean(self.axes, keepdims=True), direct.shape)
        return [direct, mean, total - direct - mean]

    def to(self, start: Tensor, gradient: Array) -> Array:
        """Carry a gradient of the input of the norm on to a tensor before it."""
        return carried(self.z, start, gradient)

    # --- the sets -------------------------------------------------------------------------------------------------

    def by_set(self, array: Array) -> Array:
        """An array of the input's shape with a row per set."""
        last = range(array.ndim - len(self.axes), array.ndim)
        return np.moveaxis(array, self.axes, tuple(last)).reshape(-1, self.count)

    def from_sets(self, values: Array) -> Array:
        """One value per set, in a shape that broadcasts over the input."""
        return values.reshape(tuple(1 if a in self.axes else n for a, n in enumerate(self.z.shape)))

    @cached_property
    def centered(self) -> Array:
        """z − μ by its sets; z itself for a norm by the mean square."""
        values = self.by_set(self.z._array)
        return values - values.mean(1, keepdims=True) if self.around_mean else values

    @cached_property
    def excess(self) -> Array | None:
        """1 + ε/σ² per set, however ε is added. None when it cannot be read off a statistic.

        Far away ε is nothing: the statistic by which the norm divides is compared with its value for 1,000,000 z.
        """
        found = np.full(self.z.size // self.count, np.nan)
        _, far = run_again(self.z, self.end, FAR * self.z._array)
        for value in sorted((s.value for s in self.norm.statistics if s.kind == "scale"), key=creation, reverse=True):
            if value not in far or not np.isnan(found).any():
                continue
            with np.errstate(all="ignore"):
                ratio = np.abs(far[value]._array.ravel() / value._array.ravel())
                power = float(np.median(np.log(ratio))) / math.log(FAR)
            if abs(abs(power) - 1) < 0.2:
                rows = self.sets_of(value)
                if rows.size == ratio.size:
                    found[rows] = (FAR / ratio) ** 2 if power > 0 else (FAR * ratio) ** 2
        return None if np.isnan(found).any() else found

    def sets_of(self, statistic: Tensor) -> Array:
        """The numbers of the sets that a statistic is computed from."""
        sets = self.z.size // self.count
        if statistic.size == sets:
            return np.arange(sets)
        gradient = self.by_set(carried(statistic, self.z, np.ones(statistic.shape)))
        return np.flatnonzero(np.any(gradient, axis=1))

    @cached_property
    def deviation(self) -> Array:
        """The root of the variance with ε, or of the mean square, per set."""
        plain = np.sqrt((self.centered**2).mean(1))
        return np.asarray(plain if self.excess is None else plain * np.sqrt(self.excess))

    @cached_property
    def divisor(self) -> Array | None:
        """What forward divides by in each set, which may be a root of a sum or of N − 1; None when it is not found."""
        for statistic in self.norm.statistics:
            if statistic.kind == "scale" and statistic.value.size == self.deviation.size:
                for power in (1, -1):
                    with np.errstate(all="ignore"):
                        found = np.abs(run_again(self.z, self.end, self.z._array)[1][statistic.value]._array).ravel()
                        ratio = found**power / self.deviation
                    if ratio.size > 1 and np.ptp(ratio) <= 1e-6 * ratio.max():
                        return np.asarray(found**power)
        return None

    @property
    def spread(self) -> Array:
        """σ per set: what forward divides by, or else the root of the variance with ε."""
        return self.deviation if self.divisor is None else self.divisor


def moved_back(end: Tensor, start: Tensor, gradients: Sequence[Array]) -> list[Array] | None:
    """Gradients of `start` as gradients of `end`, where all between them only moves values; else None."""
    if end is start:
        return list(gradients)
    records = between(start, end)
    if end.size != start.size or not {node.primitive.name for _, node in records} <= MOVES:
        return None
    moved = [run_again(start, end, gradient)[1][end] for gradient in gradients]
    return [tensor._array for tensor in moved]
