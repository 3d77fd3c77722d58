"""Checks the rule of each recorded operation by itself against finite differences of that operation alone."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, NamedTuple

import numpy as np

from microtensor.backprop import fitted
from microtensor.inspect.checking.diagnosis import distance, likely_cause, same, wrong_shape
from microtensor.inspect.checking.differences import (
    LADDER,
    corner,
    difference,
    ladder,
    project,
    short_steps_of,
    slope,
    steps_of,
)
from microtensor.inspect.checking.report import Mismatch, NoGradientError, described
from microtensor.inspect.history import history
from microtensor.primitive import Node, enable_grad
from microtensor.support.arrays import Array
from microtensor.tensor import Tensor

FULL_JACOBIAN = 2_000
# Below this a gradient is taken for zero: the rounding of the rules themselves.
SMALLEST = 1e-14


class Call(NamedTuple):
    """One argument of one recorded operation, at the values it is looked at.

    Attributes
    ----------
    node : Node
    argument : int
    arrays : list
        What the operation is called with.
    g : ndarray
        The cotangent.
    """

    node: Node
    argument: int
    arrays: list[Any]
    g: Array

    @property
    def value(self) -> Array:
        """The value of the argument."""
        return np.asarray(self.arrays[self.argument])

    @property
    def name(self) -> str:
        """What reports call the rule."""
        return f"the rule of {self.node.primitive.name} for argument {self.argument}"

    def at(self, value: Array) -> Array:
        """The operation with another value for the argument."""
        arrays = [*self.arrays[: self.argument], value, *self.arrays[self.argument + 1 :]]
        try:
            return np.asarray(self.node.primitive.forward(*arrays, **self.node.params))
        except Exception as error:
            raise NoGradientError(_raised(error, self.g.shape, arrays)) from error


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
    >>> from microtensor.inspect.checking.rules import RuleChecker
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
        """Check every recorded operation's own rules, in the order in which they were recorded, to the first wrong."""
        for output, node in history(out):
            unfit = without_rule(node) or self._writing_forward(node)
            if unfit:
                return [Mismatch(f"{self.prefix}{unfit}")]
            if output.dtype != np.float64 or not output.size:
                continue
            for argument, x in with_rules(node):
                wrong = self._rule(output, node, argument, x) if x.size and x.dtype == np.float64 else None
                if wrong is not None:
                    return [wrong]
        return []

    def _writing_forward(self, node: Node) -> str:
        """Whether the operation itself changes what it is called with."""
        arrays = arrays_of(node)
        try:
            wrote = _changes(lambda *given: node.primitive.forward(*given, **node.params), arrays)
        except Exception:
            return ""
        name = node.primitive.name
        return f"the forward of {name} writes into what it is given; it must return a new array" if wrote else ""

    def check_on_tensors(self, out: Tensor) -> list[Mismatch]:
        """Find the first rule that runs on arrays alone: for a second derivative it is run on tensors."""
        for output, node in history(out):
            for argument, _ in with_rules(node):
                rule = node.primitive.rules[argument]
                assert rule is not None
                try:
                    with enable_grad():
                        g = Tensor(np.ones(output.shape, output.dtype))
                        found = rule(g, output, *node.inputs, **node.params)
                    if not isinstance(found, Tensor):
                        _array_of(found, output.shape)
                except NoGradientError as error:
                    return [Mismatch(f"{self.prefix}the rule of {node.primitive.name} for argument {argument} {error}")]
                except Exception as error:
                    where = f"{self.prefix}the rule of {node.primitive.name} for argument {argument}"
                    cause = (
                        "a second derivative runs the rules on tensors: write them with operators and the functions of "
                        "mt.ops, such as ops.exp(x), not np.exp(x)"
                    )
                    return [Mismatch(f"{where} {_raised(error, output.shape, node.inputs)}", cause=cause)]
        return []

    def _rule(self, output: Tensor, node: Node, argument: int, x: Tensor) -> Mismatch | None:
        y = output.numpy()
        # An infinite value, as under a mask of −∞, does not move with its input, and nothing comes back to it.
        g = np.where(np.isfinite(y), self.rng.normal(size=y.shape), 0.0)
        call = Call(node, argument, arrays_of(node), g)
        try:
            analytic = self.value(call, x, y)
        except NoGradientError as error:
            return Mismatch(f"{self.prefix}{call.name} {error}")
        try:
            return self._compared(call, x, y, analytic)
        except NoGradientError:
            # The operation, or a second call of the rule, raised: the check of the whole function has to tell.
            return None

    def _compared(self, call: Call, x: Tensor, y: Array, analytic: Array) -> Mismatch | None:
        # Along the gradient all terms add up, so none that is too large hides behind another.
        signs = np.where(analytic == 0, self.rng.choice([-1.0, 1.0], size=x.shape), np.sign(analytic))
        signs *= self.rng.uniform(0.5, 1.0, size=x.shape)
        if not self._agrees(call, analytic, signs, self.rtol):
            return self._wrong(call, x, y, analytic, signs)
        return self._remembers(call, x, y, analytic)

    def value(self, call: Call, x: Tensor, y: Array) -> Array:
        """What a rule gives for one input, at the input's shape."""
        d = self._returned(call, y)
        try:
            return np.asarray(fitted(d, call.node, call.argument))
        except (RuntimeError, ValueError) as error:
            raise NoGradientError(
                f"returned a gradient of shape {d.shape} for an input of shape {x.shape}; "
                f"{wrong_shape(d.shape, x.shape)}"
            ) from error

    def _returned(self, call: Call, y: Array) -> Array:
        rule = call.node.primitive.rules[call.argument]
        assert rule is not None
        # Copies: a rule that writes into what it is given would spoil that of the operation's other arguments.
        given = [call.g, y, *call.arrays]
        shown = [_locked(x) for x in given]
        try:
            found = rule(*shown, **call.node.params)
        except Exception as error:
            if isinstance(error, ValueError) and _changes(lambda *xs: rule(*xs, **call.node.params), given):
                raise NoGradientError("writes into what it is given; a rule must return a new array") from error
            raise NoGradientError(_raised(error, call.g.shape, call.arrays)) from error
        if not all(map(_alike, shown, given)):
            raise NoGradientError("writes into what it is given; a rule must return a new array")
        return _array_of(found, call.value.shape)

    def _agrees(self, call: Call, analytic: Array, signs: Array, rtol: float) -> bool:
        """Whether ⟨gradient, step⟩ is the difference of ⟨g, operation⟩ along a step of these signs."""
        step = steps_of(call.value, self.eps) * signs
        numeric = project(call.g, difference(call.at(call.value + step), call.at(call.value - step))) / 2
        return abs(project(analytic, step) - numeric) <= rtol * project(np.abs(analytic), np.abs(step))

    def _wrong(self, call: Call, x: Tensor, y: Array, analytic: Array, signs: Array) -> Mismatch | None:
        """Look again, with more care: what is wrong and where, or None when it is not the rule's fault."""
        if call.value.size <= FULL_JACOBIAN:
            return self._element(call, x, y, analytic)
        found = None
        for step in [steps_of(call.value, self.eps), *([short_steps_of(call.value)] if self.eps is None else [])]:

            def line(by: float, step: Array = step * signs) -> Array:
                return call.at(call.value + by * step)

            numeric = slope(line, LADDER if self.eps is None else [1.0], call.g)
            expected = project(analytic, step * signs)
            allowed = self.rtol * project(np.abs(analytic), np.abs(step * signs)) + numeric.error
            if not abs(expected - numeric.value) > allowed or corner(line, 1.0, call.g):
                return None
            found = found or Mismatch(f"{self.prefix}{call.name}", None, expected, numeric.value)
        return found

    def _element(self, call: Call, x: Tensor, y: Array, analytic: Array) -> Mismatch | None:
        numeric, uncertain = self._numeric(call)
        largest = float(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0))
        # Where the differences say nothing the rule is not blamed; the check of the whole function has to tell.
        told = np.isfinite(uncertain) & (np.isfinite(analytic) | np.isfinite(y).all())
        error = np.where(told, distance(analytic, numeric) - np.where(told, uncertain, 0.0), 0.0)
        if error.max() <= 1e-6 * largest + SMALLEST:
            return None
        worst = tuple(int(n) for n in np.unravel_index(int(error.argmax()), error.shape))
        try:
            cause = self._exchanged(call, y, analytic, numeric) or self._summed_wrongly(call, x, y, numeric)
            cause = cause or likely_cause(analytic, numeric, call.value) or self._misread(call, x, y, numeric)
        except NoGradientError:
            # Another call, which would have told the cause, raised.
            cause = ""
        where = f"{self.prefix}{call.name}"
        return Mismatch(where, worst, float(analytic[worst]), float(numeric[worst]), cause)

    def _numeric(self, call: Call) -> tuple[Array, Array]:
        """The gradient of ⟨g, operation⟩ element by element, and what it may be off by: ∞ at a kink."""
        numeric, uncertain = np.zeros(call.value.shape), np.zeros(call.value.shape)
        for index in np.ndindex(call.value.shape):

            def line(by: float, index: tuple[int, ...] = index) -> Array:
                moved = call.value.copy()
                moved[index] += by
                return call.at(moved)

            steps = ladder(float(call.value[index]), self.eps)
            found = slope(line, steps, call.g)
            numeric[index] = found.value
            uncertain[index] = np.inf if corner(line, steps[0], call.g) else found.error
        return numeric, uncertain

    def _remembers(self, call: Call, x: Tensor, y: Array, analytic: Array) -> Mismatch | None:
        """Find a rule that reads what an earlier call left behind: right at first, wrong once x has been elsewhere."""
        # Each element keeps its sign, and zero stays zero, so that x stays where the operation is defined.
        near = call.value * (1 + 0.01 * self.rng.uniform(-1.0, 1.0, size=x.shape))
        moved = call._replace(arrays=[*call.arrays[: call.argument], near, *call.arrays[call.argument + 1 :]])
        try:
            beside = moved.at(near)
            there = self.value(moved, x, beside)
            again, steady = self.value(call, x, y), self.value(call, x, y)
            fits = self._agrees(moved, there, np.sign(there) + (there == 0), 1e-3)
        except NoGradientError:
            return None
        where = f"{self.prefix}{call.name}"
        if not _near(again, analytic):
            worst = tuple(int(n) for n in np.unravel_index(int(distance(again, analytic).argmax()), x.shape))
            if _near(steady, again):
                cause = "right at the first call only: the rule reads a value that an earlier call left behind"
            else:
                cause = "the rule gives another value at each call with the same arguments"
            return Mismatch(where, worst, float(again[worst]), float(analytic[worst]), cause)
        found = None if fits or near.size > FULL_JACOBIAN else self._element(moved, x, beside, there)
        if found is None:
            return None
        cause = "right at the input, but wrong where that is moved by up to 1 %"
        if _near(there, self.value(moved._replace(arrays=call.arrays), x, beside)):
            cause += ", which the rule does not see: it reads a value that an earlier call left behind, or a constant"
        return Mismatch(where, found.index, found.analytic, found.numeric, cause)

    # --- causes that only another call of the rule can tell -----------------------------------------------

    def _exchanged(self, call: Call, y: Array, analytic: Array, numeric: Array) -> str:
        """Whether this rule gives what another argument's should, and the other way round."""
        for other, x in with_rules(call.node):
            if other == call.argument or x.dtype != np.float64 or x.shape != analytic.shape:
                continue
            theirs = call._replace(argument=other)
            try:
                found = self.value(theirs, x, y)
            except NoGradientError:
                continue
            if same(found, numeric) and same(analytic, self._numeric(theirs)[0]):
                return f"it is the gradient for argument {other}: the rules, or the operands in them, are exchanged"
        return ""

    def _summed_wrongly(self, call: Call, x: Tensor, y: Array, numeric: Array) -> str:
        """Whether a result that is larger than its input is right when summed over other axes than the first."""
        d = self._returned(call, y)
        for axes in itertools.combinations(range(d.ndim), max(d.ndim - x.ndim, 0)):
            if axes and same(d.sum(axis=axes), numeric):
                right, taken = (", ".join(map(str, which)) for which in (axes, range(len(axes))))
                return (
                    f"the rule returns shape {d.shape}, which is summed over axis {taken}; right is the sum over axis "
                    f"{right}, along which the operation spreads argument {call.argument}: sum it in the rule"
                )
        return ""

    def _misread(self, call: Call, x: Tensor, y: Array, numeric: Array) -> str:
        """Whether the rule is right with two of the things that it reads exchanged, or with one transposed."""
        things = [y, *call.arrays]
        names = ["the output", *(f"argument {i}" for i in range(len(call.arrays)))]
        for i, j in itertools.combinations_with_replacement(range(len(things)), 2):
            mixed = list(things)
            if i == j:
                mixed[i] = np.transpose(things[i])
            else:
                mixed[i], mixed[j] = things[j], things[i]
            if [np.shape(thing) for thing in mixed] != [np.shape(thing) for thing in things]:
                continue
            try:
                found = self.value(call._replace(arrays=mixed[1:]), x, mixed[0])
            except NoGradientError:
                continue
            if same(found, numeric):
                if i == j:
                    return f"it is right with {names[i]} transposed"
                return f"it is right with {names[i]} and {names[j]} exchanged: the rule reads one in the other's place"
        return ""


def with_rules(node: Node) -> list[tuple[int, Tensor]]:
    """The inputs to which a recorded operation takes a gradient, by their position.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import with_rules
    >>> with_rules((3.0 * mt.tensor(2.0, requires_grad=True)).node)
    [(1, tensor(2., requires_grad=True))]
    """
    return [
        (i, x)
        for i, x in enumerate(node.inputs)
        if isinstance(x, Tensor) and x.requires_grad and i < _rules(node) and node.primitive.rules[i] is not None
    ]


def without_rule(node: Node) -> str:
    """What is wrong when an operation was called with more arguments than it has rules; else empty.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import without_rule
    >>> without_rule((mt.tensor(2.0, requires_grad=True) * 3.0).node)
    ''
    """
    name, count = node.primitive.name, _rules(node)
    for i, x in enumerate(node.inputs):
        if i >= count and isinstance(x, Tensor) and x.requires_grad:
            return f"{name} has no rule for argument {i}: it was called with {len(node.inputs)} and has {count} of them"
    return ""


def _rules(node: Node) -> int:
    rules = node.primitive.rules
    return len(rules) if isinstance(rules, tuple) else len(node.inputs)


def arrays_of(node: Node) -> list[Any]:
    """What a recorded operation was called with, as plain arrays.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.rules import arrays_of
    >>> arrays_of((mt.tensor([1.0, 2.0], requires_grad=True) * 3.0).node)
    [array([1., 2.]), array(3.)]
    """
    return [t.numpy() if isinstance(t, Tensor) else t for t in node.inputs]


def _raised(error: Exception, gradient: tuple[int, ...], inputs: Any) -> str:
    shapes = ", ".join(str(np.shape(x.numpy() if isinstance(x, Tensor) else x)) for x in inputs)
    return f"raised {described(error)} (gradient of shape {gradient}, inputs of shapes {shapes})"


def _array_of(found: Any, shape: tuple[int, ...]) -> Array:
    """What a rule returned, when it is an array of numbers.

    Raises
    ------
    NoGradientError
        It is something else.
    """
    kind = type(found).__name__
    if found is None:
        raise NoGradientError("returned None: is its return missing?")
    if isinstance(found, (np.ma.MaskedArray, np.matrix)) or not isinstance(found, (np.ndarray, np.generic)):
        hint = "; on arrays a rule must give an array, so make no tensor in it" if isinstance(found, Tensor) else ""
        raise NoGradientError(f"returned a {kind}, where an array for an input of shape {shape} is due{hint}")
    if found.dtype.kind not in "biuf":
        raise NoGradientError(f"returned dtype {found.dtype}, where real numbers for an input of shape {shape} are due")
    return np.asarray(found)


def _locked(x: Any) -> Any:
    """A read-only copy of an array."""
    if not isinstance(x, np.ndarray):
        return x
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def _alike(a: Any, b: Any) -> bool:
    return not isinstance(a, np.ndarray) or (a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _near(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, 1e-6, 0.0, equal_nan=True))


def _changes(function: Any, given: list[Any]) -> bool:
    """Whether a function writes into the arrays that it is given."""
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
    with contextlib.suppress(Exception):
        function(*copies)
    return not all(map(_alike, copies, given))
