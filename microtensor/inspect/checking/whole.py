"""Compares the gradient of a whole function with finite differences of it, and looks for the cause of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from microtensor.calculus import grad
from microtensor.core.backprop import contribution
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.checking import differences
from microtensor.inspect.checking.calling import Pure, called, fresh_leaves
from microtensor.inspect.checking.diagnosis import NULL, distance, lost_statistics, plain_cause, same, worst_of
from microtensor.inspect.checking.differences import Corner, Estimate, Point, Settings
from microtensor.inspect.checking.report import Checked, Mismatch, NoGradientError, Report, described
from microtensor.inspect.checking.rules import FULL_JACOBIAN, check_rules, with_rules
from microtensor.inspect.history import array_of, arrays_of, carried_back, history
from microtensor.support.arrays import Array, own_array

PROJECTIONS = 3
UNRECORDED = (
    "the result does not require a gradient: it was detached, or computed in NumPy or under no_grad, or is a gradient "
    "taken without create_graph=True"
)
UNSTEADY = (
    "seed the random numbers inside the function, with rng=np.random.default_rng(0), or put layers such as dropout "
    "into eval()"
)
NOT_FINITE = (
    "the function is not finite beside this point: it overflows, or its domain ends here; move the input or pass a "
    "smaller eps"
)
LOST = (
    "the rules are right and add up to the true gradient: the reverse walk loses or overwrites a contribution where a "
    "value is used more than once, or a hook changes it"
)


def check_whole(
    fn: Pure, values: list[Tensor], settings: Settings, cotangent: str | ArrayLike = "random", every_input: bool = False
) -> Report:
    """Check the rules of a function at a point, and then its gradient.

    Parameters
    ----------
    fn : Pure
    values : list of Tensor
        The point.
    settings : Settings
    cotangent : "random", "ones" or array_like
    every_input : bool
        Whether to check the gradient even if a rule is wrong.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import Pure
    >>> from microtensor.inspect.checking.differences import Settings
    >>> from microtensor.inspect.checking.whole import check_whole
    >>> check_whole(Pure(mt.exp), [mt.tensor([1.0], requires_grad=True)], Settings()).mismatches
    []
    """
    leaves = fresh_leaves(values)
    out = fn(leaves)
    given = None if isinstance(cotangent, str) and cotangent == "random" else _given(cotangent, out.shape)
    wanted = [i for i, leaf in enumerate(leaves) if leaf.requires_grad]
    again = fn(fresh_leaves(values))._array
    if again.shape != out.shape or not np.allclose(again, out._array, 1e-9, 1e-12, equal_nan=True):
        unsteady = Mismatch("the function gives another value at each call with the same input", cause=UNSTEADY)
        return Report(dict.fromkeys(wanted, Checked(math.inf, False)), [unsteady])
    wrong_rules = check_rules(out, settings)
    checked = dict.fromkeys(wanted, Checked())
    found: list[Mismatch] = []
    for i in wanted if every_input or not wrong_rules else ():
        if leaves[i].size:
            check = _InputCheck(fn, values, i, leaves[i], out, settings)
            wrong = check.run(given)
            checked[i] = Checked(check.error, not wrong)
            found += wrong
    return Report(checked, wrong_rules or found)


def _given(cotangent: str | ArrayLike, shape: tuple[int, ...]) -> Array:
    values = 1.0 if isinstance(cotangent, str) else array_of(cotangent)
    given = own_array(values, "gradcheck: cotangent", np.float64)
    if not np.isfinite(given).all():
        raise ValueError("gradcheck: the cotangent holds NaN or ∞; it must be finite")
    try:
        return np.broadcast_to(given, shape)
    except ValueError as error:
        raise ValueError(f"gradcheck: the cotangent has shape {given.shape}; the result has {shape}") from error


@dataclass
class _InputCheck:
    """The check of the gradient for one input.

    Attributes
    ----------
    fn : Pure
    values : list of Tensor
        The point.
    i : int
        The number of the input.
    leaf : Tensor
        The input that `out` was computed from.
    out : Tensor
        The result of the function.
    settings : Settings
    error : float
        The largest difference so far.
    """

    fn: Pure
    values: list[Tensor]
    i: int
    leaf: Tensor
    out: Tensor
    settings: Settings
    error: float = 0.0

    @property
    def x(self) -> Array:
        """The value of the input."""
        return self.values[self.i]._array

    @property
    def name(self) -> str:
        """The name of the input in reports."""
        return called(self.i, self.leaf)

    @property
    def point(self) -> Point:
        """The function of this input alone."""
        return Point(self._function, self.x, self.settings.eps)

    def run(self, given: Array | None) -> list[Mismatch]:
        """What is wrong with the gradient for one cotangent, for all of them, or for some random ones."""
        try:
            if given is not None:
                return self._compare(given)
            if self.leaf.size * self.out.size > FULL_JACOBIAN:
                for _ in range(PROJECTIONS):
                    found = self._project(self._random_cotangent())
                    if found:
                        return found
                return []
            return self._rows()
        except NoGradientError as error:
            self.error = math.inf
            return [Mismatch(f"{self.name}: {error}")]

    def _random_cotangent(self) -> Array:
        return self.settings.rng.normal(size=self.out.shape)

    # --- the two derivatives ------------------------------------------------------------------------------

    def _gradient(self, u: Array) -> Array:
        if not self.out.requires_grad:
            return np.zeros(self.x.shape)
        try:
            # A copy, so that a walk that writes into it spoils its own result alone.
            found = grad(self.out, self.leaf, u.copy(), allow_unused=True)
        except Exception as error:
            raise NoGradientError(f"the reverse walk raised {described(error)}") from error
        if found is None:
            return np.zeros(self.x.shape)
        gradient: Array = found._array
        if gradient.shape != self.x.shape or gradient.dtype.kind != "f":
            raise NoGradientError(f"the reverse walk gave shape {gradient.shape} and dtype {gradient.dtype}")
        return gradient

    def _function(self, array: Array) -> Array:
        arguments = fresh_leaves(self.values)
        arguments[self.i] = Tensor(array, requires_grad=True)
        out = self.fn(arguments)._array.astype(np.float64)
        if out.shape != self.out.shape:
            raise ValueError(
                f"gradcheck: the function's result has shape {self.out.shape} at the input and {out.shape} near it; "
                "a shape that depends on values has no derivative"
            )
        return out

    def _contributions(self, u: Array) -> list[tuple[Node, int, Array]]:
        """What each rule adds on the walk to all inputs; nothing when a rule raises, which its own input reports."""
        try:
            return [(node, i, value) for _, node, i, value in carried_back(self.out, u.copy())]
        except Exception:
            return []

    def _terms(self, u: Array) -> float:
        """The largest term of the gradient of ⟨u, fn⟩; its rounding is that of the gradient."""
        found = [_sizes(value) for node, k, value in self._contributions(u) if node.inputs[k] is self.leaf]
        return max((float(sizes.max(initial=0.0)) for sizes in found), default=0.0)

    def _noise(self, u: Array) -> float:
        """The change of ⟨u, fn⟩ by the rounding of every intermediate result, to first order."""
        terms = ((value, arrays_of(node)[argument]) for node, argument, value in self._contributions(u))
        return differences.EPSILON * sum(differences.project(_sizes(value), _sizes(x)) for value, x in terms)

    def _note(self, error: float) -> None:
        self.error = max(self.error, error)

    # --- comparisons --------------------------------------------------------------------------------------

    def _rows(self) -> list[Mismatch]:
        """Compare each row of the Jacobian, at first with two points only."""
        columns = np.zeros((*self.x.shape, self.out.size))
        steps = self.point.steps()[0]
        for index in np.ndindex(self.x.shape) if self.out.size else ():
            line, step = self.point.along(index), float(steps[index])
            columns[index] = differences.difference(line(step), line(-step)).reshape(-1) / (2 * step)
        for row in range(self.out.size):
            u = np.zeros(self.out.size)
            u[row] = 1.0
            u = u.reshape(self.out.shape)
            analytic, numeric = self._gradient(u), columns[..., row]
            if self.settings.agree(analytic, numeric).all() or (
                self.settings.agree(analytic, numeric, self._terms(u)).all()
            ):
                self._note(float(distance(analytic, numeric).max(initial=0.0)))
                continue
            found = self._compare(self._random_cotangent()) or self._compare(u)
            if found:
                return found
        return []

    def _project(self, u: Array) -> list[Mismatch]:
        """Compare ⟨u, J v⟩ for one random v, in steps that suit large elements, then small ones."""
        x, eps = self.x, self.settings.eps
        v = self.settings.rng.uniform(-1.0, 1.0, size=x.shape)
        gradient = self._gradient(u)
        found: list[Mismatch] = []
        for steps in self.point.steps():
            size = float(np.abs(steps * v).max())
            way = steps * v / size
            line, analytic = self.point.toward(way), differences.project(gradient, way)
            numeric = Estimate(differences.central(line, size, u).value, 0.0)
            agrees = self.settings.agree(np.array(analytic), np.array(numeric.value))
            if not agrees:
                rungs = [size * factor for factor in differences.LADDER] if eps is None else [size]
                numeric = differences.slope(line, rungs, u, self._noise(u))
                terms = self._terms(u)
                agrees = self.settings.agree(np.array(analytic), np.array(numeric.value), terms, numeric.error)
            if agrees:
                self._note(abs(analytic - numeric.value))
                return []
            if x.size <= FULL_JACOBIAN:
                return self._compare(u)
            if not found:
                cause = self._unrecorded() or self._precision() or ("" if gradient.any() else NULL)
                cause = cause or _away(differences.corner(line, size, u))
                found = [Mismatch(self.name, None, analytic, numeric.value, cause)]
        self._note(found[0].error if math.isfinite(found[0].error) else math.inf)
        return found

    def _compare(self, u: Array) -> list[Mismatch]:
        """Compare the gradients of ⟨u, fn⟩ element by element and with care."""
        analytic = self._gradient(u)
        numeric, uncertain = self.point.gradient(u, self._noise(u))
        agrees = self.settings.agree(analytic, numeric, self._terms(u), uncertain)
        error = distance(analytic, numeric)
        self._note(float(error.max(initial=0.0)))
        if agrees.all():
            return []
        worst = worst_of(np.where(agrees, -1.0, error))
        cause = (
            self._unrecorded()
            or self._not_finite(analytic, numeric, u)
            or self._lost_contribution(analytic, numeric, u)
            or self._precision()
            or self._kink(worst, float(analytic[worst]), u)
            or plain_cause(analytic, numeric)
            or lost_statistics(analytic, numeric, self.x, *self._recorded())
        )
        return [Mismatch.at(self.name, worst, analytic, numeric, cause)]

    # --- causes that only another call, or the graph, can tell --------------------------------------------

    def _unrecorded(self) -> str:
        return "" if self.out.requires_grad else UNRECORDED

    def _not_finite(self, analytic: Array, numeric: Array, u: Array) -> str:
        if np.isfinite(analytic).all():
            return "" if np.isfinite(numeric).all() else NOT_FINITE
        for node, argument, value in self._contributions(u):
            if not np.isfinite(value).all():
                return (
                    f"the gradient is not finite: the first such gradient is that of {node.primitive.name} for "
                    f"argument {argument}; keep its input where the slope is finite, as with sqrt(x + ε); a where "
                    "after it is too late"
                )
        return "the gradient is not finite"

    def _lost_contribution(self, analytic: Array, numeric: Array, u: Array) -> str:
        """Whether the contributions of the rules, added in the plainest way, give the true gradient."""
        total: dict[Tensor, Array] = {self.out: u}
        try:
            for tensor, node in reversed(history(self.out)):
                for argument, x in with_rules(node) if tensor in total else ():
                    d = np.asarray(contribution(node, argument, total[tensor], tensor._array, arrays_of(node)))
                    total[x] = total[x] + d if x in total else d
        except Exception:
            # A rule in low precision, which was not checked by itself, gives no gradient.
            return ""
        plain = total.get(self.leaf)
        return LOST if plain is not None and same(plain, numeric) and not same(plain, analytic) else ""

    def _precision(self) -> str:
        for tensor, node in reversed(history(self.out)):
            if tensor.dtype != np.float64:
                return (
                    f"{node} computes in {tensor.dtype}, and its rounding may be the difference; compute in float64. "
                    "Only there each rule is checked by itself"
                )
        return ""

    def _kink(self, index: tuple[int, ...], analytic: float, u: Array) -> str:
        """Whether there is a jump, or a kink and the gradient lies between the slopes of its sides."""
        found = differences.corner(self.point.along(index), float(self.point.steps()[0][index]), u)
        if found is None:
            return ""
        low, high = sorted((found.left, found.right))
        slack = 1e-3 * max(abs(low), abs(high))
        return _away(found) if found.jump or low - slack <= analytic <= high + slack else ""

    def _recorded(self) -> tuple[list[Array], list[Array]]:
        """The values that the graph reads and takes no gradient to; and its results from this input on."""
        constants: list[Array] = []
        onward = {self.leaf: None}
        for tensor, node in history(self.out):
            for x, array in zip(node.inputs, arrays_of(node), strict=True):
                if not (isinstance(x, Tensor) and x.requires_grad):
                    constants.append(np.asarray(array))
                elif x in onward:
                    onward[tensor] = None
        return constants, [tensor._array for tensor in onward]


def _away(found: Corner | None) -> str:
    return f"{found}; move the input away from it" if found else ""


def _sizes(x: Array) -> Array:
    return np.where(np.isfinite(x), np.abs(x), 0.0)
