"""Checks the rule of each recorded operation by itself against finite differences of that operation alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtensor import backprop
from microtensor.backprop import toposort
from microtensor.diagnosis import distance, likely_cause, same, wrong_shape
from microtensor.primitive import Array, Node
from microtensor.tensor import Tensor

FULL_JACOBIAN = 2_000
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


@dataclass(frozen=True)
class Mismatch:
    """Where an analytic derivative and the finite differences disagree.

    Attributes
    ----------
    where : str
        The operation and argument, or the input of the function.
    index : tuple of int or None
        The element; None for a projection on a random direction.
    analytic, numeric : float
    cause : str
        The likely cause in words; empty when nothing is known.
    """

    where: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    cause: str = ""

    @property
    def error(self) -> float:
        """The absolute difference."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        if math.isnan(self.analytic) and math.isnan(self.numeric):
            return f"{self.where}; {self.cause}" if self.cause else self.where
        place = "along a random direction" if self.index is None else f"at index {self.index}"
        text = f"{self.where} {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, error {self.error:.3g}"
        return f"{text}; {self.cause}" if self.cause else text


class NoGradientError(Exception):
    """There is nothing to compare: a rule or the walk raised, or what it returned does not fit."""


def steps_of(x: Array, eps: float | None) -> Array:
    """The step of the differences for each element: in proportion to large ones, fixed for small ones.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.rulecheck import STEP, steps_of
    >>> steps_of(np.array([0.0, -4.0]), None) / STEP
    array([1., 4.])
    """
    return np.full(x.shape, eps) if eps is not None else STEP * np.maximum(1.0, np.abs(x))


class RuleChecker:
    """Compares the rules of recorded operations with differences; `prefix` begins what it reports.

    Parameters
    ----------
    eps : float or None
        Step of the differences; chosen by the value unless given.
    rtol : float
        What the projection on a random direction may be off by.
    rng : numpy.random.Generator
    prefix : str

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> from microtensor.rulecheck import RuleChecker
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> RuleChecker(None, 1e-6, np.random.default_rng(0)).check(mt.exp(x) * x)
    []
    """

    def __init__(self, eps: float | None, rtol: float, rng: np.random.Generator, prefix: str = "") -> None:
        self.eps = eps
        self.rtol = rtol
        self.rng = rng
        self.prefix = prefix

    def check(self, out: Tensor) -> list[Mismatch]:
        """Check every recorded operation's own rules, in the order in which they were recorded."""
        for output in reversed(toposort([out])):
            node = output.node
            assert node is not None
            if output.dtype != np.float64 or not output.size:
                continue
            for argument, x in enumerate(node.inputs):
                if (
                    node.primitive.rules[argument] is None
                    or not isinstance(x, Tensor)
                    or not x.requires_grad
                    or not x.size
                ):
                    continue
                wrong = self._rule(node, output, argument, x)
                if wrong is not None:
                    return [wrong]
        return []

    def _rule(self, node: Node, output: Tensor, argument: int, x: Tensor) -> Mismatch | None:
        where = f"{self.prefix}the rule of {node.primitive.name} for argument {argument}"
        arrays, value, y = arrays_of(node), x.numpy(), output.numpy()
        g = self.rng.normal(size=output.shape)
        try:
            analytic = self.value(node, argument, x, g, y, arrays)
        except NoGradientError as error:
            return Mismatch(f"{where} {error}", None, math.nan, math.nan)
        direction = self.rng.choice([-1.0, 1.0], size=x.shape) * self.rng.uniform(0.5, 1.0, size=x.shape)
        expected, numeric, size = self._projected(node, argument, arrays, value, g, analytic, direction)
        if not math.isfinite(numeric):
            return None
        if not math.isclose(expected, numeric, rel_tol=self.rtol, abs_tol=1e-6 * max(size, STEP * 1e-2)):
            found = self._name_rule(where, node, argument, g, analytic, arrays)
            if found is not None or value.size <= FULL_JACOBIAN:
                return found
            return Mismatch(where, None, expected, numeric)
        return self._remembers(where, node, argument, x, g, y, analytic)

    def value(self, node: Node, argument: int, x: Tensor, g: Array, y: Array, arrays: list[Any]) -> Array:
        """What a rule gives for one input, at the input's shape."""
        rule = node.primitive.rules[argument]
        assert rule is not None
        # A rule that writes into its cotangent would spoil that of the operation's other arguments.
        g = g.view()
        g.flags.writeable = False
        with np.errstate(all="ignore"):
            try:
                d = np.asarray(rule(g, y, *arrays, **node.params))
            except Exception as error:
                if "read-only" in str(error):
                    raise NoGradientError("writes into what it is given; a rule must return a new array") from error
                raise NoGradientError(
                    f"raised {type(error).__name__}: {error} (gradient of shape {g.shape}, inputs of shapes "
                    f"{', '.join(str(np.shape(a)) for a in arrays)})"
                ) from error
            try:
                return np.broadcast_to(backprop._fit(d, x, node, argument), x.shape)
            except (RuntimeError, ValueError) as error:
                raise NoGradientError(
                    f"returned a gradient of shape {d.shape} for an input of shape {x.shape}; "
                    f"{wrong_shape(d.shape, x.shape)}"
                ) from error

    def _projected(
        self, node: Node, argument: int, arrays: list[Any], value: Array, g: Array, analytic: Array, direction: Array
    ) -> tuple[float, float, float]:
        """⟨gradient, step⟩, the difference of ⟨g, operation⟩ along the step, and the size of the former's terms."""
        steps = steps_of(value, self.eps)
        high = _projection(node, argument, arrays, g, value + steps * direction)
        low = _projection(node, argument, arrays, g, value - steps * direction)
        moved = analytic * direction * steps
        return float(np.sum(moved)), (high - low) / 2, float(np.sum(np.abs(moved)))

    def _remembers(
        self, where: str, node: Node, argument: int, x: Tensor, g: Array, y: Array, analytic: Array
    ) -> Mismatch | None:
        """Find a rule that reads what an earlier call left behind: right at first, wrong once x has been elsewhere."""
        arrays, value = arrays_of(node), x.numpy()
        # Each element keeps its sign, and zero stays zero, so that x stays where the operation is defined.
        near = value * (1 + 0.01 * self.rng.uniform(-1.0, 1.0, size=x.shape))
        moved = [*arrays[:argument], near, *arrays[argument + 1 :]]
        with np.errstate(all="ignore"):
            try:
                there = self.value(
                    node, argument, x, g, np.asarray(node.primitive.forward(*moved, **node.params)), moved
                )
                again = self.value(node, argument, x, g, y, arrays)
                direction = np.sign(there) + (there == 0)
                expected, numeric, size = self._projected(node, argument, moved, near, g, there, direction)
            except (ArithmeticError, LookupError, ValueError, NoGradientError):
                return None
        cause = "right at the first call only: the rule reads a value that an earlier call left behind"
        if not np.allclose(again, analytic, 1e-6, 1e-12, equal_nan=True):
            worst = np.unravel_index(int(distance(again, analytic).argmax()), x.shape)
            index = tuple(int(n) for n in worst)
            return Mismatch(where, index, float(again[worst]), float(analytic[worst]), cause)
        if not math.isfinite(numeric) or abs(expected - numeric) <= 1e-3 * max(size, STEP * 1e-2):
            return None
        found = self._name_rule(where, node, argument, g, there, moved)
        if found is None:
            return None
        return Mismatch(where, found.index, found.analytic, found.numeric, cause)

    def _name_rule(
        self, where: str, node: Node, argument: int, g: Array, analytic: Array, arrays: list[Any]
    ) -> Mismatch | None:
        value = arrays[argument]
        if value.size > FULL_JACOBIAN:
            return None
        numeric, kinks = self._numeric_rule(node, argument, g, arrays)
        error = np.where(kinks, 0.0, distance(analytic, numeric))
        if error.max() <= 1e-6 * max(1.0, float(np.abs(numeric).max())):
            return None
        worst = tuple(int(n) for n in np.unravel_index(int(error.argmax()), error.shape))
        cause = self._exchanged(node, argument, g, analytic, numeric, arrays)
        cause = cause or likely_cause(np.asarray(analytic), numeric, value)
        return Mismatch(where, worst, float(analytic[worst]), float(numeric[worst]), cause)

    def _numeric_rule(self, node: Node, argument: int, g: Array, arrays: list[Any]) -> tuple[Array, Array]:
        """The gradient of ⟨g, operation⟩ element by element, and where the operation has a kink."""
        value = arrays[argument]
        steps = steps_of(value, self.eps)
        numeric = np.zeros(value.shape)
        kinks = np.zeros(value.shape, dtype=bool)
        at = _projection(node, argument, arrays, g, value)
        for index in np.ndindex(value.shape):
            step = float(steps[index])

            def project(by: float, index: tuple[int, ...] = index) -> float:
                moved = value.copy()
                moved[index] += by
                return _projection(node, argument, arrays, g, moved)

            numeric[index] = slope(project, step)
            right, left = (project(step) - at) / step, (at - project(-step)) / step
            kinks[index] = abs(right - left) > 1e-2 * max(1.0, abs(right), abs(left))
        return numeric, kinks

    def _exchanged(
        self, node: Node, argument: int, g: Array, analytic: Array, numeric: Array, arrays: list[Any]
    ) -> str:
        """Whether this rule gives what another argument's should, and the other way round."""
        y = np.asarray(node.primitive.forward(*arrays, **node.params))
        for other, x in enumerate(node.inputs):
            if other == argument or not isinstance(x, Tensor) or x.dtype != np.float64 or x.shape != analytic.shape:
                continue
            if node.primitive.rules[other] is None:
                continue
            try:
                theirs = self.value(node, other, x, g, y, arrays)
            except NoGradientError:
                continue
            if same(theirs, numeric) and same(analytic, self._numeric_rule(node, other, g, arrays)[0]):
                return f"it is the gradient for argument {other}: the rules, or the operands in them, are exchanged"
        return ""


def slope(f: Callable[[float], Any], step: float) -> Any:
    """The derivative at 0 from four points: the second look, where two points were too far apart for a strong curve.

    Examples
    --------
    >>> from microtensor.rulecheck import slope
    >>> round(slope(lambda x: (1 + x) ** 3, 1e-3), 9)
    3.0
    """
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def arrays_of(node: Node) -> list[Any]:
    """What a recorded operation was called with, as plain arrays.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.rulecheck import arrays_of
    >>> arrays_of((mt.tensor([1.0, 2.0], requires_grad=True) * 3.0).node)
    [array([1., 2.]), array(3.)]
    """
    return [t.numpy() if isinstance(t, Tensor) else t for t in node.inputs]


def _projection(node: Node, argument: int, arrays: list[Any], g: Array, value: Array) -> float:
    """⟨g, operation⟩ with another value for one argument."""
    moved = [*arrays[:argument], value, *arrays[argument + 1 :]]
    with np.errstate(all="ignore"):
        return float(np.sum(g * node.primitive.forward(*moved, **node.params)))
