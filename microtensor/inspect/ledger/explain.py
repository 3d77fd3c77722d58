"""Reads a gradient of x that somebody made by hand: which path is missing in it, or wrong, and by what factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading import words
from microtensor.inspect.grading.explain import factors_of, sentences
from microtensor.inspect.grading.factors import EXACT, Fit
from microtensor.inspect.grading.learner import FaultError, gradient_array, shape_fault
from microtensor.inspect.grading.paths import NormPaths, between, carried
from microtensor.inspect.grading.reading import Context, Reading, Stretch, reading_of
from microtensor.inspect.grading.report import BackwardReport, Graded
from microtensor.inspect.grading.verdict import LARGEST_ROUNDING, TOLERANCE
from microtensor.inspect.history import array_of, rerun
from microtensor.inspect.ledger.located import LocatedNorm
from microtensor.inspect.ledger.subgraph import Subgraph
from microtensor.inspect.statistics import Norm, Statistic
from microtensor.ops import stop_gradient
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad
from microtensor.text import safe_text

# The operations in which a factor such as γ is read.
READ_BY = ("multiply", "divide")


@dataclass(frozen=True, eq=False)
class Factor:
    """An array that does not depend on x, and the places where it is read."""

    values: Array
    places: set[tuple[Tensor, int]]


@dataclass(frozen=True, eq=False)
class Replay:
    """What a ledger was made from, run again on its own, so that another gradient can be read by it.

    Attributes
    ----------
    start, end : Tensor
        x and y.
    seed : array
        The cotangent of y.
    norms : dict
        The norms by their titles.
    factors : dict
        Arrays that may be forgotten in a gradient, such as γ, by their names.
    hooked : bool
        Whether hooks have changed the gradient.
    """

    start: Tensor
    end: Tensor
    seed: Array
    norms: dict[str, Norm]
    factors: dict[str, Factor]
    hooked: bool

    @np.errstate(all="ignore")
    def explain(self, given: Any, right: Array, name: str) -> BackwardReport:
        """See :meth:`microtensor.ledger.Ledger.explain`."""
        shown = f"d{name}"
        try:
            dx = gradient_array(given, shown, "the argument of explain")
        except FaultError as fault:
            return BackwardReport(False, findings=[str(fault)])
        wrong_shape = shape_fault(shown, name, dx, right)
        if wrong_shape:
            return BackwardReport(False, {name: Graded(name, float("inf"), False)}, [wrong_shape])
        kinds = [array.dtype for array in (dx, right) if array.dtype.kind == "f"]
        tolerance = min(100 * max(float(np.finfo(kind).eps) for kind in kinds), LARGEST_ROUNDING)
        dx, right = dx.astype(np.float64), right.astype(np.float64)
        size = max(_size(right), _size(self._direct()))
        distance = _size(dx - right)
        error = distance / size if size else float("inf") if distance else 0.0
        grades = {name: Graded(name, error, error <= max(TOLERANCE, tolerance))}
        if grades[name].right:
            return BackwardReport(True, grades)
        if self.hooked:
            return BackwardReport(
                False, grades, remarks=["hooks change this gradient, so its paths are not told apart"]
            )
        found, factors = self._findings(dx, shown, max(EXACT, tolerance))
        shapes = {"the result": self.end.shape, name: self.start.shape}
        told = found or [words.of_single(shown, dx, right, shapes, size)]
        return BackwardReport(False, grades, told, [], {name: factors} if factors else {})

    def _direct(self) -> Array:
        """The gradient with all statistics held constant."""
        cut = {edge for norm in self.norms.values() for edge in NormPaths(norm, self.end, norm.input).cut}
        return carried(self.end, self.start, self.seed, cut)

    def _findings(self, dx: Array, shown: str, tolerance: float) -> tuple[list[str], dict[str, float]]:
        stretch = Stretch(self.end, self.start, [self.seed], [dx])
        readings = {t: reading_of(norm, norm.input, stretch) for t, norm in self.norms.items() if not norm.named}
        exact = {title: reading for title, reading in readings.items() if reading.fit().residue <= tolerance}
        if not readings:
            return [], {}
        if len(exact) > 1:
            # The same factor for all paths, which every norm shows.
            return [], {}
        if len(readings) > 1 and not exact:
            several = "there are several norms on the way, which are not told apart; for a tensor h between them, "
            return [f"{shown} is wrong, and {several}read its gradient: mt.paths(y, h).explain(dh)"], {}
        ((title, reading),) = (exact or readings).items()
        subject = f"{shown}, in {title}" if len(readings) > 1 else shown
        found = sentences(self._context(reading, stretch), reading, subject, tolerance)
        return found, factors_of(reading) if exact else {}

    def _context(self, reading: Reading, stretch: Stretch) -> Context:
        def with_ones(name: str) -> Fit | None:
            return self._with_ones(reading.paths.norm, self.factors[name], stretch).fit()

        arguments = {name: factor.values for name, factor in self.factors.items()}
        return Context("here", arguments, with_ones)

    def _with_ones(self, norm: Norm, factor: Factor, stretch: Stretch) -> Reading:
        """The reading that there would be if a factor were 1 everywhere."""
        start = Tensor(self.start._array, requires_grad=True)
        made = {self.start: start}

        def read(result: Tensor, argument: int, old: Any) -> Any:
            if isinstance(old, Tensor) and old in made:
                return made[old]
            return np.ones(np.shape(array_of(old))) if (result, argument) in factor.places else stop_gradient(old)

        with np.errstate(all="ignore"), enable_grad():
            rerun(between(self.start, self.end), read, made)
        statistics = tuple(Statistic(made[s.value], s.kind, s.axes, s.centered) for s in norm.statistics)
        inner = frozenset(made[t] for t in norm.inner)
        moved = Norm(made[norm.input], statistics, norm.axes, norm.centered, inner, made[norm.output])
        return reading_of(moved, moved.input, Stretch(made[self.end], start, stretch.seeds, stretch.gradients))


def replay_of(subgraph: Subgraph, norms: dict[str, LocatedNorm], seed: Array) -> Replay:
    """What is needed to read another gradient of x."""
    factors: dict[int, tuple[str, Factor]] = {}
    for i in range(1, len(subgraph)):
        node = subgraph.node(i)
        for argument, value in enumerate(node.inputs) if node.primitive.name in READ_BY else ():
            values = array_of(value)
            if argument in subgraph.sources[i] or np.size(values) < 2 or values.dtype.kind != "f":
                continue
            name = value.name if isinstance(value, Tensor) else ""
            shown = safe_text(name) if name else f"factor of shape {np.shape(values)}"
            _, factor = factors.setdefault(id(value), (shown, Factor(values, set())))
            factor.places.add((subgraph.fresh[i], argument))
    by_name = dict(factors.values())
    fresh = subgraph.fresh
    over = {title: norm.norm for title, norm in norms.items()}
    return Replay(fresh[0], fresh[-1], seed, over, by_name, bool(subgraph.hooked))


def _size(x: Array) -> float:
    return float(np.linalg.norm(x))
