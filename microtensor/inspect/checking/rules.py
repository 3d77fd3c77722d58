"""Checks the rule of each recorded operation by itself against finite differences of that operation alone."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microtensor.backprop import fitted
from microtensor.inspect.checking.diagnosis import distance, likely_cause, same, worst_of, wrong_shape
from microtensor.inspect.checking.differences import LADDER, Point, Settings, central, corner, project, slope
from microtensor.inspect.checking.report import Mismatch, NoGradientError, described
from microtensor.inspect.history import arrays_of, history
from microtensor.primitive import Node, enable_grad
from microtensor.support.arrays import Array
from microtensor.tensor import Tensor

FULL_JACOBIAN = 2_000
# A smaller gradient counts as zero. It is the rounding error of the rules themselves.
SMALLEST = 1e-14
WRITES = "writes into what it is given"


@dataclass(frozen=True)
class Call:
    """The rule for one argument of one recorded operation, with the values that it is called with.

    Attributes
    ----------
    node : Node
    argument : int
    g, y : array
        The cotangent and the result of the operation.
    arrays : list
        The arguments of the operation.
    """

    node: Node
    argument: int
    g: Array
    y: Array
    arrays: list[Any]

    @property
    def value(self) -> Array:
        """The value of the argument."""
        return np.asarray(self.arrays[self.argument])

    @property
    def name(self) -> str:
        """The name of the rule in reports."""
        return f"the rule of {self.node.primitive.name} for argument {self.argument}"

    def moved(self, value: Array) -> list[Any]:
        """The arguments of the operation, with another value of this one."""
        return [*self.arrays[: self.argument], value, *self.arrays[self.argument + 1 :]]

    def at(self, value: Array) -> Array:
        """The result of the operation for another value of the argument."""
        arrays = self.moved(value)
        try:
            return np.asarray(self.node.primitive.forward(*arrays, **self.node.params))
        except Exception as error:
            raise NoGradientError(_raised(error, self.g.shape, arrays)) from error

    def gradient(self) -> Array:
        """The result of the rule, in the shape of the argument."""
        d = self.returned()
        try:
            return np.asarray(fitted(d, self.node, self.argument))
        except (RuntimeError, ValueError) as error:
            raise NoGradientError(
                f"returned a gradient of shape {d.shape} for an input of shape {self.value.shape}; "
                f"{wrong_shape(d.shape, self.value.shape)}"
            ) from error

    def returned(self) -> Array:
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
        try:
            found = rule(*locked, **self.node.params)
        except Exception as error:
            if isinstance(error, ValueError) and _changes(lambda *xs: rule(*xs, **self.node.params), given):
                raise NoGradientError(f"{WRITES}; a rule must return a new array") from error
            raise NoGradientError(_raised(error, self.g.shape, self.arrays)) from error
        if not all(map(_alike, locked, given)):
            raise NoGradientError(f"{WRITES}; a rule must return a new array")
        return _array_of(found, self.value.shape)


class RuleChecker:
    """Compares the rules of recorded operations with finite differences.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.differences import Settings
    >>> from microtensor.inspect.checking.rules import RuleChecker
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> RuleChecker(Settings()).check(mt.exp(x) * x)
    []
    """

    def __init__(self, settings: Settings) -> None:
        self.eps = settings.eps
        self.rtol = settings.rtol
        self.rng = settings.rng

    def check(self, out: Tensor) -> list[Mismatch]:
        """Check the rules of every recorded operation, in the order of the program, up to the first wrong one."""
        for output, node in history(out):
            unfit = without_rule(node) or _writing_forward(node)
            if unfit:
                return [Mismatch(unfit)]
            if output.dtype != np.float64 or not output.size:
                continue
            for argument, x in with_rules(node):
                wrong = self._rule(output.numpy(), node, argument) if x.size and x.dtype == np.float64 else None
                if wrong is not None:
                    return [wrong]
        return []

    def _rule(self, y: Array, node: Node, argument: int) -> Mismatch | None:
        # An infinite value, as under a mask of −∞, does not move with its input, so its cotangent is 0.
        g = np.where(np.isfinite(y), self.rng.normal(size=y.shape), 0.0)
        call = Call(node, argument, g, y, arrays_of(node))
        try:
            analytic = call.gradient()
        except NoGradientError as error:
            return Mismatch(f"{call.name} {error}")
        # Along the gradient all terms have one sign, so none that is too large hides behind another.
        signs = np.where(analytic == 0, self.rng.choice([-1.0, 1.0], size=analytic.shape), np.sign(analytic))
        signs *= self.rng.uniform(0.5, 1.0, size=analytic.shape)
        try:
            if self._agrees(call, analytic, signs, self.rtol):
                return self._remembers(call, analytic)
            # A second look, with more care.
            small = call.value.size <= FULL_JACOBIAN
            return self._element(call, analytic) if small else self._direction(call, analytic, signs)
        except NoGradientError:
            # The operation, or a second call of the rule, raised. The check of the whole function reports it.
            return None

    def _point(self, call: Call) -> Point:
        return Point(call.at, call.value, self.eps)

    def _agrees(self, call: Call, analytic: Array, signs: Array, rtol: float) -> bool:
        """Whether ⟨gradient, step⟩ is the difference of ⟨g, operation⟩ along a step of these signs."""
        point = self._point(call)
        step = point.steps()[0] * signs
        numeric = central(point.toward(step), 1.0, call.g).value
        return abs(project(analytic, step) - numeric) <= rtol * project(np.abs(analytic), np.abs(step))

    def _direction(self, call: Call, analytic: Array, signs: Array) -> Mismatch | None:
        """What is wrong along one direction; None when the rule is right or there is a kink."""
        found, point = None, self._point(call)
        for steps in point.steps():
            step = steps * signs
            line = point.toward(step)
            numeric = slope(line, LADDER if self.eps is None else [1.0], call.g)
            expected = project(analytic, step)
            allowed = self.rtol * project(np.abs(analytic), np.abs(step)) + numeric.error
            if not abs(expected - numeric.value) > allowed or corner(line, 1.0, call.g):
                return None
            found = found or Mismatch(call.name, None, expected, numeric.value)
        return found

    def _element(self, call: Call, analytic: Array) -> Mismatch | None:
        """The element that is most wrong; None when the differences do not show that the rule is wrong."""
        numeric, uncertain = self._point(call).gradient(call.g, trust_kinks=False)
        largest = float(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0))
        # Where the differences say nothing, the check of the whole function decides.
        told = np.isfinite(uncertain) & (np.isfinite(analytic) | np.isfinite(call.y).all())
        error = np.where(told, distance(analytic, numeric) - np.where(told, uncertain, 0.0), 0.0)
        if error.max() <= 1e-6 * largest + SMALLEST:
            return None
        try:
            cause = (
                self._exchanged(call, analytic, numeric)
                or self._summed_wrongly(call, numeric)
                or likely_cause(analytic, numeric, call.value)
                or self._misread(call, numeric)
            )
        except NoGradientError:
            # Another call, which looked for the cause, raised.
            cause = ""
        return Mismatch.at(call.name, worst_of(error), analytic, numeric, cause)

    def _remembers(self, call: Call, analytic: Array) -> Mismatch | None:
        """Find a rule that reads a value of an earlier call: right at first, wrong once x has been elsewhere."""
        # Each element keeps its sign, and zero stays zero, so that x stays where the operation is defined.
        near = call.value * (1 + 0.01 * self.rng.uniform(-1.0, 1.0, size=analytic.shape))
        try:
            moved = replace(call, y=call.at(near), arrays=call.moved(near))
            there = moved.gradient()
            again, steady = call.gradient(), call.gradient()
            fits = self._agrees(moved, there, np.sign(there) + (there == 0), 1e-3)
        except NoGradientError:
            return None
        if not _near(again, analytic):
            if _near(steady, again):
                cause = "right at the first call only: the rule reads a value that an earlier call left behind"
            else:
                cause = "the rule gives another value at each call with the same arguments"
            return Mismatch.at(call.name, worst_of(distance(again, analytic)), again, analytic, cause)
        found = None if fits or near.size > FULL_JACOBIAN else self._element(moved, there)
        if found is None:
            return None
        cause = "right at the input, but wrong where that is moved by up to 1 %"
        if _near(there, replace(moved, arrays=call.arrays).gradient()):
            cause += ", which the rule does not see: it reads a value that an earlier call left behind, or a constant"
        return replace(found, cause=cause)

    # --- causes that only another call of the rule can tell -----------------------------------------------

    def _exchanged(self, call: Call, analytic: Array, numeric: Array) -> str:
        """Whether this rule gives the gradient of another argument, and the rule of that one gives this gradient."""
        for other, x in with_rules(call.node):
            theirs = replace(call, argument=other)
            if other == call.argument or x.dtype != np.float64 or x.shape != analytic.shape:
                continue
            if _gives(theirs, numeric) and same(analytic, self._point(theirs).gradient(call.g)[0]):
                return f"it is the gradient for argument {other}: the rules, or the operands in them, are exchanged"
        return ""

    def _summed_wrongly(self, call: Call, numeric: Array) -> str:
        """Whether a result that is larger than its input is right when summed over other axes than the first."""
        d = call.returned()
        for axes in itertools.combinations(range(d.ndim), max(d.ndim - numeric.ndim, 0)):
            if axes and same(d.sum(axis=axes), numeric):
                right, taken = (", ".join(map(str, which)) for which in (axes, range(len(axes))))
                return (
                    f"the rule returns shape {d.shape}, which is summed over axis {taken}; right is the sum over axis "
                    f"{right}, along which the operation spreads argument {call.argument}: sum it in the rule"
                )
        return ""

    def _misread(self, call: Call, numeric: Array) -> str:
        """Whether the rule is right when two of its arguments are exchanged, or one is transposed."""
        things = [call.y, *call.arrays]
        names = ["the output", *(f"argument {i}" for i in range(len(call.arrays)))]
        for i, j in itertools.combinations_with_replacement(range(len(things)), 2):
            mixed = list(things)
            if i == j:
                mixed[i] = np.transpose(things[i])
                said = f"it is right with {names[i]} transposed"
            else:
                mixed[i], mixed[j] = things[j], things[i]
                said = f"it is right with {names[i]} and {names[j]} exchanged: the rule reads one in the other's place"
            fits = list(map(np.shape, mixed)) == list(map(np.shape, things))
            if fits and _gives(replace(call, y=mixed[0], arrays=mixed[1:]), numeric):
                return said
        return ""


def on_arrays_alone(out: Tensor) -> list[Mismatch]:
    """Find the first rule that cannot run on tensors, as it has to for a second derivative.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import on_arrays_alone
    >>> on_arrays_alone(mt.exp(mt.tensor([1.0, 2.0], requires_grad=True)))
    []
    """
    for output, node in history(out):
        for argument, _ in with_rules(node):
            rule = node.primitive.rules[argument]
            assert rule is not None
            where = f"the rule of {node.primitive.name} for argument {argument}"
            try:
                with enable_grad():
                    g = Tensor(np.ones(output.shape, output.dtype))
                    found = rule(g, output, *node.inputs, **node.params)
                if not isinstance(found, Tensor):
                    _array_of(found, output.shape)
            except NoGradientError as error:
                return [Mismatch(f"{where} {error}")]
            except Exception as error:
                cause = (
                    "a second derivative runs the rules on tensors: write them with operators and the functions of "
                    "mt.ops, such as ops.exp(x), not np.exp(x)"
                )
                return [Mismatch(f"{where} {_raised(error, output.shape, arrays_of(node))}", cause=cause)]
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
    rules = node.primitive.rules
    count = _rule_count(node)
    inputs = list(enumerate(node.inputs[:count]))
    return [(i, x) for i, x in inputs if isinstance(x, Tensor) and x.requires_grad and rules[i] is not None]


def without_rule(node: Node) -> str:
    """A message when an operation was called with more arguments than it has rules; else empty.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import without_rule
    >>> without_rule((mt.tensor(2.0, requires_grad=True) * 3.0).node)
    ''
    """
    name, count = node.primitive.name, _rule_count(node)
    for i, x in enumerate(node.inputs[count:], count):
        if isinstance(x, Tensor) and x.requires_grad:
            return f"{name} has no rule for argument {i}: it was called with {len(node.inputs)} and has {count} of them"
    return ""


def _rule_count(node: Node) -> int:
    """How many arguments have rules: all of them, where one rule serves any number."""
    rules = node.primitive.rules
    return len(rules) if isinstance(rules, tuple) else len(node.inputs)


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
        raise NoGradientError("returned None: is its return missing?")
    if isinstance(found, (np.ma.MaskedArray, np.matrix)) or not isinstance(found, (np.ndarray, np.generic)):
        kind = type(found).__name__
        hint = "; on arrays a rule must give an array, so make no tensor in it" if isinstance(found, Tensor) else ""
        raise NoGradientError(f"returned a {kind}, where an array for an input of shape {shape} is due{hint}")
    if found.dtype.kind not in "biuf":
        raise NoGradientError(f"returned dtype {found.dtype}, where real numbers for an input of shape {shape} are due")
    return np.asarray(found)


def _gives(call: Call, expected: Array) -> bool:
    """Whether the rule gives the expected gradient; not when it raises."""
    with contextlib.suppress(NoGradientError):
        return same(call.gradient(), expected)
    return False


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
