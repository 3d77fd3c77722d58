"""Checks the rule of each recorded operation by itself against finite differences of that operation alone."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microtensor.core.backprop import contribution, fitted
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.diagnosis import distance, lost_statistics, plain_cause, same, worst_of, wrong_shape
from microtensor.inspect.checking.differences import LADDER, Point, Settings, central, corner, project, slope
from microtensor.inspect.checking.reading import path_reading
from microtensor.inspect.checking.report import Mismatch, NoGradientError, described
from microtensor.inspect.history import arrays_of, history
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad

FULL_JACOBIAN = 2_000
# A smaller gradient counts as zero. It is the rounding error of the rules themselves.
SMALLEST = 1e-14
WRITES = "writes into what it is given"


def check_rules(out: Tensor, settings: Settings) -> list[Mismatch]:
    """Check the rules of every recorded operation, in the order of the program, up to the first wrong one.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.differences import Settings
    >>> from microtensor.inspect.checking.rules import check_rules
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> check_rules(mt.exp(x) * x, Settings())
    []
    """
    for output, node in history(out):
        unfit = _writing_forward(node)
        if unfit:
            return [Mismatch(unfit)]
        if output.dtype != np.float64 or not output.size:
            continue
        y = output._array
        for argument, x in with_rules(node):
            if x.size and x.dtype == np.float64:
                # An infinite value, as under a mask of −∞, does not move with its input, so its cotangent is 0.
                g = np.where(np.isfinite(y), settings.rng.normal(size=y.shape), 0.0)
                wrong = _RuleCheck(node, argument, g, y, arrays_of(node), settings).mismatch()
                if wrong is not None:
                    return [wrong]
    return []


@dataclass(frozen=True)
class _RuleCheck:
    """The check of the rule for one argument of one recorded operation.

    Attributes
    ----------
    node : Node
    argument : int
    g, y : array
        The cotangent and the result of the operation.
    arrays : list
        The arguments of the operation.
    settings : Settings
    """

    node: Node
    argument: int
    g: Array
    y: Array
    arrays: list[Any]
    settings: Settings

    @property
    def x(self) -> Array:
        """The value of the argument."""
        return np.asarray(self.arrays[self.argument])

    @property
    def name(self) -> str:
        """The name of the rule in reports."""
        return f"the rule of {self.node.primitive.name} for argument {self.argument}"

    @property
    def point(self) -> Point:
        """The operation as a function of the argument."""
        return Point(self._operation, self.x, self.settings.eps)

    def _with(self, x: Array) -> list[Any]:
        """The arguments of the operation, with another value of this one."""
        return [*self.arrays[: self.argument], x, *self.arrays[self.argument + 1 :]]

    def _operation(self, x: Array) -> Array:
        arrays = self._with(x)
        try:
            return np.asarray(self.node.primitive.forward(*arrays, **self.node.params))
        except Exception as error:
            raise NoGradientError(_raised(error, self.g.shape, arrays)) from error

    # --- the rule -----------------------------------------------------------------------------------------

    def gradient(self) -> Array:
        """The result of the rule, in the shape of the argument."""
        d = self._returned()
        try:
            return np.asarray(fitted(d, self.x, self.node, self.argument))
        except (RuntimeError, ValueError) as error:
            raise NoGradientError(
                f"returned a gradient of shape {d.shape} for an input of shape {self.x.shape}; "
                f"{wrong_shape(d.shape, self.x.shape)}"
            ) from error

    def _returned(self) -> Array:
        """The result of the rule as it is.

        Raises
        ------
        NoGradientError
            The rule raises, writes into its arguments, or returns something else than an array of numbers.
        """
        rule = self.node.primitive.rules[self.argument]
        assert rule is not None
        given = [self.g, self.y, *self.arrays]
        # Read-only copies, so that a rule that writes cannot spoil the values of another rule.
        locked = [_locked(x) for x in given]
        found, refused = None, False
        try:
            found = rule(*locked, **self.node.params)
        except Exception as error:
            refused = isinstance(error, ValueError) and _changes(lambda *xs: rule(*xs, **self.node.params), given)
            if not refused:
                raise NoGradientError(_raised(error, self.g.shape, self.arrays)) from error
        if refused or not all(map(_alike, locked, given)):
            raise NoGradientError(f"{WRITES}; a rule must return a new array")
        return _array_of(found, self.x.shape)

    # --- comparisons --------------------------------------------------------------------------------------

    def mismatch(self) -> Mismatch | None:
        """What is wrong with the rule; None when it is right, or when only the whole function can tell."""
        try:
            analytic = self.gradient()
        except NoGradientError as error:
            return Mismatch(f"{self.name} {error}")
        # Along the gradient all terms have one sign, so none that is too large hides behind another.
        rng, shape = self.settings.rng, analytic.shape
        signs = np.where(analytic == 0, rng.choice([-1.0, 1.0], size=shape), np.sign(analytic))
        signs *= rng.uniform(0.5, 1.0, size=shape)
        try:
            if self._agrees(analytic, signs, self.settings.rtol):
                return self._memory(analytic)
            # A second look, with more care.
            return self._element(analytic) if self.x.size <= FULL_JACOBIAN else self._direction(analytic, signs)
        except NoGradientError:
            # The operation, or a second call of the rule, raised. The check of the whole function reports it.
            return None

    def _agrees(self, analytic: Array, signs: Array, rtol: float) -> bool:
        """Whether ⟨gradient, step⟩ is the difference of ⟨g, operation⟩ along a step of these signs."""
        step = self.point.steps()[0] * signs
        numeric = central(self.point.toward(step), 1.0, self.g).value
        return abs(project(analytic, step) - numeric) <= rtol * project(np.abs(analytic), np.abs(step))

    def _direction(self, analytic: Array, signs: Array) -> Mismatch | None:
        """What is wrong along one direction; None when the rule is right or there is a kink."""
        found = None
        for steps in self.point.steps():
            step = steps * signs
            line, expected = self.point.toward(step), project(analytic, step)
            numeric = slope(line, LADDER if self.settings.eps is None else [1.0], self.g)
            allowed = self.settings.rtol * project(np.abs(analytic), np.abs(step)) + numeric.error
            if not abs(expected - numeric.value) > allowed or corner(line, 1.0, self.g):
                return None
            found = found or Mismatch(self.name, None, expected, numeric.value)
        return found

    def _element(self, analytic: Array) -> Mismatch | None:
        """The element that is most wrong; None when the differences do not show that the rule is wrong."""
        numeric, uncertain = self.point.gradient(self.g, trust_kinks=False)
        largest = float(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0))
        # Where the differences say nothing, the check of the whole function decides.
        told = np.isfinite(uncertain) & (np.isfinite(analytic) | np.isfinite(self.y).all())
        error = np.where(told, distance(analytic, numeric) - np.where(told, uncertain, 0.0), 0.0)
        if error.max() <= 1e-6 * largest + SMALLEST:
            return None
        try:
            cause = self._cause(analytic, numeric)
        except NoGradientError:
            # Another call, which looked for the cause, raised.
            cause = ""
        return Mismatch.at(self.name, worst_of(error), analytic, numeric, cause)

    def _memory(self, analytic: Array) -> Mismatch | None:
        """Find a rule that reads a value of an earlier call: right at first, wrong once x has been elsewhere."""
        # Each element keeps its sign, and zero stays zero, so that x stays where the operation is defined.
        near = self.x * (1 + 0.01 * self.settings.rng.uniform(-1.0, 1.0, size=analytic.shape))
        try:
            moved = replace(self, y=self._operation(near), arrays=self._with(near))
            there = moved.gradient()
            again, steady = self.gradient(), self.gradient()
            fits = moved._agrees(there, np.sign(there) + (there == 0), 1e-3)
        except NoGradientError:
            return None
        if not _near(again, analytic):
            if _near(steady, again):
                cause = "right at the first call only: the rule reads a value that an earlier call left behind"
            else:
                cause = "the rule gives another value at each call with the same arguments"
            return Mismatch.at(self.name, worst_of(distance(again, analytic)), again, analytic, cause)
        found = None if fits or near.size > FULL_JACOBIAN else moved._element(there)
        if found is None:
            return None
        cause = "right at the input, but wrong where the input is moved by up to 1 %"
        if _near(there, replace(moved, arrays=self.arrays).gradient()):
            cause += "; the rule does not see this: it reads a value that an earlier call left behind, or a constant"
        return replace(found, cause=cause)

    # --- causes -------------------------------------------------------------------------------------------

    def _cause(self, analytic: Array, numeric: Array) -> str:
        if same(analytic, numeric):
            # Too near for finite differences; the paths of a norm tell ε.
            return self._paths()
        return (
            self._exchanged(analytic, numeric)
            or self._summed_wrongly(numeric)
            or plain_cause(analytic, numeric)
            or self._misread(numeric)
            or self._paths()
            or lost_statistics(analytic, numeric, self.x)
        )

    def _gives(self, expected: Array) -> bool:
        """Whether the rule gives the expected gradient; not when it raises."""
        with contextlib.suppress(NoGradientError):
            return same(self.gradient(), expected)
        return False

    def _paths(self) -> str:
        """What the rule does wrong with the paths of a norm."""

        def rule(g: Array, y: Array, arrays: list[Any]) -> Array:
            return replace(self, g=g, y=y, arrays=arrays).gradient()

        return path_reading(self.node, self.argument, self.arrays, rule)

    def _exchanged(self, analytic: Array, numeric: Array) -> str:
        """Whether this rule gives the gradient of another argument, and the rule of that one gives this gradient."""
        for other, x in with_rules(self.node):
            if other == self.argument or x.dtype != np.float64 or x.shape != analytic.shape:
                continue
            theirs = replace(self, argument=other)
            if theirs._gives(numeric) and same(analytic, theirs.point.gradient(self.g)[0]):
                return f"it is the gradient for argument {other}: the rules, or the operands in them, are exchanged"
        return ""

    def _summed_wrongly(self, numeric: Array) -> str:
        """Whether a result that is larger than its input is right when summed over other axes than the first."""
        d = self._returned()
        for axes in itertools.combinations(range(d.ndim), max(d.ndim - numeric.ndim, 0)):
            if axes and same(d.sum(axis=axes), numeric):
                right, taken = (", ".join(map(str, which)) for which in (axes, range(len(axes))))
                return (
                    f"the rule returns shape {d.shape}, which is summed over axis {taken}; right is the sum over axis "
                    f"{right}, along which the operation spreads argument {self.argument}: sum it in the rule"
                )
        return ""

    def _misread(self, numeric: Array) -> str:
        """Whether the rule is right when two of its arguments are exchanged, or one is transposed."""
        things = [self.y, *self.arrays]
        names = ["the output", *(f"argument {i}" for i in range(len(self.arrays)))]
        for i, j in itertools.combinations_with_replacement(range(len(things)), 2):
            mixed = list(things)
            if i == j:
                mixed[i] = np.transpose(things[i])
                said = f"it is right with {names[i]} transposed"
            else:
                mixed[i], mixed[j] = things[j], things[i]
                said = f"it is right with {names[i]} and {names[j]} exchanged: the rule reads one in the other's place"
            fits = list(map(np.shape, mixed)) == list(map(np.shape, things))
            if fits and replace(self, y=mixed[0], arrays=mixed[1:])._gives(numeric):
                return said
        return ""


def on_arrays_alone(out: Tensor) -> list[Mismatch]:
    """Find the first rule that cannot run on tensors. A second derivative needs rules that can.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import on_arrays_alone
    >>> on_arrays_alone(mt.exp(mt.tensor([1.0, 2.0], requires_grad=True)))
    []
    """
    for output, node in history(out):
        for argument, _ in with_rules(node):
            try:
                with enable_grad():
                    g = Tensor(np.ones(output.shape, output.dtype))
                    contribution(node, argument, g, output, node.inputs)
            except Exception as error:
                raised = _raised(error, output.shape, arrays_of(node))
                cause = (
                    "a second derivative runs the rules on tensors: write them with operators and the functions of "
                    "mt.ops, such as ops.exp(x)"
                )
                return [Mismatch(f"the rule of {node.primitive.name} for argument {argument} {raised}", cause=cause)]
    return []


def with_rules(node: Node) -> list[tuple[int, Tensor]]:
    """The inputs of a recorded operation that get a gradient, by their position.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import with_rules
    >>> with_rules((3.0 * mt.tensor(2.0, requires_grad=True)).node)
    [(1, tensor(2., requires_grad=True))]
    """
    rules, inputs = node.primitive.rules, enumerate(node.inputs)
    return [(i, x) for i, x in inputs if isinstance(x, Tensor) and x.requires_grad and rules[i] is not None]


def _writing_forward(node: Node) -> str:
    """A message when the operation itself changes its arguments; else empty."""
    if _changes(lambda *given: node.primitive.forward(*given, **node.params), arrays_of(node)):
        return f"the forward of {node.primitive.name} {WRITES}; it must return a new array"
    return ""


def _raised(error: Exception, gradient: tuple[int, ...], arrays: list[Any]) -> str:
    shapes = ", ".join(str(np.shape(x)) for x in arrays)
    return f"raised {described(error)} (gradient of shape {gradient}, inputs of shapes {shapes})"


def _array_of(found: Any, shape: tuple[int, ...]) -> Array:
    """The result of a rule, when it is an array of numbers.

    Raises
    ------
    NoGradientError
        It is something else.
    """
    if found is None:
        raise NoGradientError("returned None: is its return statement missing?")
    if isinstance(found, (np.ma.MaskedArray, np.matrix)) or not isinstance(found, (np.ndarray, np.generic)):
        kind = type(found).__name__
        hint = "; make no tensor in a rule: it must work on arrays too" if isinstance(found, Tensor) else ""
        raise NoGradientError(f"returned a {kind}; it must return an array for the input of shape {shape}{hint}")
    if found.dtype.kind not in "biuf":
        raise NoGradientError(f"returned dtype {found.dtype}; it must be real numbers for the input of shape {shape}")
    return np.asarray(found)


def _near(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, 1e-6, 0.0, equal_nan=True))


def _locked(x: Any) -> Any:
    """A read-only copy of an array."""
    if isinstance(x, np.ndarray):
        x = x.copy()
        x.flags.writeable = False
    return x


def _alike(a: Any, b: Any) -> bool:
    return not isinstance(a, np.ndarray) or (a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _changes(function: Any, given: list[Any]) -> bool:
    """Whether a function writes into the arrays that it is given."""
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
    with contextlib.suppress(Exception):
        function(*copies)
    return not all(map(_alike, copies, given))
