"""Right or wrong: each gradient that backward gave beside the engine's, at one point; and the first wrong line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from microtensor.calculus import grad
from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.forward import Forward, creation, run_forward
from microtensor.inspect.grading.inputs import Point
from microtensor.inspect.grading.learner import FaultError, Learner, run_backward, shape_fault
from microtensor.inspect.grading.paths import NormPaths, between, carried, run_again
from microtensor.inspect.history import history
from microtensor.inspect.statistics import Norm, norms_of
from microtensor.support.arrays import Array, is_finite

# A difference of this part of the largest path is wrong.
TOLERANCE = 1e-6
# Rounding that is larger than this part of a gradient excuses nothing.
LARGEST_ROUNDING = 1e-2
EPS = float(np.finfo(np.float64).eps)


class NotFiniteError(Exception):
    """Forward or its gradient is not finite at a point."""


@dataclass(frozen=True)
class Grade:
    """One gradient that backward gave.

    Attributes
    ----------
    name, shown : str
        The tensor, and what backward calls its gradient.
    shape : str
        What is wrong with its shape; empty when nothing is.
    error, allowed : float
        The difference from the engine's gradient, as a part of the largest path, and how much of it is allowed.
    """

    name: str
    shown: str
    shape: str
    error: float
    allowed: float

    @property
    def right(self) -> bool:
        """Whether the gradient is right."""
        return not self.shape and self.error <= self.allowed


class Judged:
    """Forward and backward at one point, beside the engine.

    Parameters
    ----------
    forward, backward : callable
    point : Point
    douts : function from a shape to a list of arrays
    where : str
        What the point is called: "at your inputs".

    Raises
    ------
    NotFiniteError
        Forward or its gradient is not finite there.
    FaultError
        Backward fails there.
    ValueError
        Forward gives another result when it is called again.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        point: Point,
        douts: Callable[[tuple[int, ...]], Sequence[Array]],
        where: str = "at your inputs",
    ) -> None:
        self.forward, self.backward, self.point, self.where = forward, backward, point, where
        self.run = run_forward(forward, point)
        if not is_finite(self.run.out._array):
            raise NotFiniteError
        self.douts = list(douts(self.run.out.shape))
        arguments = list(self.run.arguments)
        if not all(is_finite(g) for g in self.run.gradients(arguments, self.douts[0])):
            raise NotFiniteError
        again = run_forward(forward, point)
        if not np.array_equal(again.out._array, self.run.out._array):
            raise ValueError(
                "check_backward: forward gives another result when it is called again with the same arguments; make "
                "its random numbers inside it, from a fixed seed, and change nothing outside it"
            )
        self.learner: Learner = run_backward(backward, self.run, point, self.douts)
        names = list(self.learner.gradients)
        rows = [self.run.gradients(names, g) for g in self.douts]
        self.engine = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        self.rounding = self._rounding(run_forward(forward, point.nearby()))
        self._sizes: dict[str, list[float]] = {}
        self.grades = [self._grade(name) for name in names]

    def _rounding(self, nearby: Forward) -> dict[str, float]:
        """How far the engine's gradients move when the last digits of the arguments do."""
        names = [name for name in self.learner.gradients if name in nearby.all_named]
        moved = dict.fromkeys(self.learner.gradients, 0.0)
        for k, g in enumerate(self.douts):
            for name, value in zip(names, nearby.gradients(names, g), strict=True):
                change = _size(value - self.engine[name][k])
                moved[name] = max(moved[name], change if np.isfinite(change) else 0.0)
        return moved

    @cached_property
    def norms(self) -> list[Norm]:
        """The norms of forward."""
        return norms_of(self.run.out)

    def sizes(self, name: str) -> list[float]:
        """What a difference is measured by, per cotangent.

        It is the size of the gradient, or of its direct path through the norms where that is larger. A cotangent that
        happens to give next to nothing, as one of ones does behind a norm, is measured as others of its size are.
        """
        if name not in self._sizes:
            x, out = self.run.all_named[name], self.run.out
            cut = {edge for norm in self.norms for edge in NormPaths(norm, out, norm.input).cut}
            pairs = zip(self.douts, self.engine[name], strict=True)
            sizes = [max(_size(g), _size(carried(out, x, dout, cut))) for dout, g in pairs]
            lengths = [_size(dout) for dout in self.douts]
            gain = max((s / n for s, n in zip(sizes, lengths, strict=True) if n), default=0.0)
            self._sizes[name] = [max(s, gain * n) for s, n in zip(sizes, lengths, strict=True)]
        return self._sizes[name]

    def _grade(self, name: str) -> Grade:
        given, right, shown = self.learner.gradients[name], self.engine[name], self.learner.shown[name]
        wrong_shape = shape_fault(shown, name, given[0], right[0])
        if wrong_shape:
            return Grade(name, shown, wrong_shape, float("inf"), 0.0)
        distances = [_size(a - b) for a, b in zip(given, right, strict=True)]
        by_itself = _largest(distances, [_size(g) for g in right])
        if by_itself <= TOLERANCE:
            return Grade(name, shown, "", by_itself, TOLERANCE)
        return Grade(name, shown, "", _largest(distances, self.sizes(name)), self.allowed(name))

    def allowed(self, name: str) -> float:
        """The part of the largest path by which a gradient may differ."""
        return max(TOLERANCE, self.precision(name))

    def precision(self, name: str) -> float:
        """The part of the largest path that rounding may have changed, in the coarsest dtype of backward."""
        scale = max(self.sizes(name))
        # Four units of the last digit were changed.
        condition = self.rounding[name] / (4 * EPS * scale) if scale else 0.0
        return min(100 * self.learner.eps * max(condition, 1.0), LARGEST_ROUNDING)

    @property
    def right(self) -> bool:
        """Whether all gradients are right here."""
        return all(grade.right for grade in self.grades)

    def grade(self, name: str) -> Grade | None:
        """The grade of a tensor's gradient."""
        return next((grade for grade in self.grades if grade.name == name), None)

    def nonlinear(self) -> list[str]:
        """What is wrong with backward(2·dout), which must be 2·backward(dout)."""
        try:
            doubled = run_backward(self.backward, self.run, self.point, [2 * self.douts[0]]).gradients
        except FaultError as fault:
            return [f"backward(2·dout) fails where backward(dout) does not: {fault}"]
        told = []
        for name, (twice,) in doubled.items():
            once, shown = self.learner.gradients[name][0], self.learner.shown[name]
            if twice.shape == once.shape and _size(twice - 2 * once) > TOLERANCE * max(_size(once), _size(twice)):
                size = max(_size(once), *self.sizes(name))
                if _size(twice - 2 * once) <= self.allowed(name) * size:
                    continue
                same = np.array_equal(twice, once)
                told.append(
                    f"{shown} stays the same when dout is doubled: it does not depend on dout"
                    if same
                    else f"{shown} does not double when dout is doubled: a gradient is linear in dout, so every term "
                    "has dout, or a gradient computed from it, as a factor exactly once"
                )
        return told

    def first_wrong(self) -> tuple[Grade, list[str]] | None:
        """The wrong gradient that is last in the order of the program, and the right ones that it is computed from.

        None when the named gradients that it would be computed from are not all right.
        """
        for grade in sorted((g for g in self.grades if not g.right), key=self._place, reverse=True):
            consumers = self.consumers(grade.name)
            if all(consumer.right for consumer in consumers):
                return grade, [consumer.name for consumer in consumers]
        return None

    def follows(self, name: str) -> bool:
        """Whether a gradient follows rightly from those that backward gave for what is computed from its tensor."""
        start, out = self.run.all_named[name], self.run.out
        seeds = {self.run.all_named[g.name]: self.learner.gradients[g.name] for g in self.consumers(name)}
        if any(g.shape for g in self.consumers(name)):
            return False
        if out not in seeds:
            seeds[out] = self.douts
        others = {self.run.all_named[grade.name] for grade in self.grades} - {start}
        records = between(start, out)
        stops = {
            (t, i) for t, node in records for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x in others
        }
        new, made = run_again(start, out, start._array, stops)
        ends = [t for t in seeds if t in made and made[t].requires_grad]
        found = []
        for k, given in enumerate(self.learner.gradients[name]):
            g = grad([made[t] for t in ends], new, [seeds[t][k] for t in ends], allow_unused=True) if ends else None
            found.append(_size(given - (0.0 if g is None else g._array)))
        return _largest(found, self.sizes(name)) <= self.allowed(name)

    def _place(self, grade: Grade) -> int:
        return creation(self.run.all_named[grade.name])

    def consumers(self, name: str) -> list[Grade]:
        """The graded results that are computed from a tensor with no other graded one between."""
        graded = {self.run.all_named[grade.name]: grade for grade in self.grades}
        reached, found = {self.run.all_named[name]}, []
        for result, node in history(self.run.out):
            if any(isinstance(x, Tensor) and x in reached for x in node.inputs):
                if result in graded:
                    found.append(graded[result])
                else:
                    reached.add(result)
        return found


def _size(x: Array) -> float:
    return float(np.linalg.norm(x))


def _largest(distances: list[float], sizes: list[float]) -> float:
    """The largest distance as a part of the size; ∞ where that is 0."""
    parts = zip(distances, sizes, strict=True)
    return max(d / s if s else float("inf") if d else 0.0 for d, s in parts)
