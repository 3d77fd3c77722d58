"""Compares the gradient of a whole function with finite differences of it, and looks for the cause of a difference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from microtensor.backprop import contributions_of, grad
from microtensor.inspect.checking.calling import Pure, called, fresh_leaves
from microtensor.inspect.checking.diagnosis import NULL, distance, likely_cause, same
from microtensor.inspect.checking.differences import (
    EPSILON,
    LADDER,
    Corner,
    Estimate,
    Settings,
    central,
    corner,
    difference,
    ladder,
    project,
    short_steps_of,
    slope,
    steps_of,
)
from microtensor.inspect.checking.report import Checked, Mismatch, NoGradientError, described
from microtensor.inspect.checking.rules import FULL_JACOBIAN, Call, RuleChecker, arrays_of, with_rules
from microtensor.inspect.history import history
from microtensor.ops import as_array
from microtensor.primitive import Node
from microtensor.support.arrays import Array, own_array
from microtensor.tensor import Tensor

PROJECTIONS = 3


class WholeChecker:
    """One comparison of a function with its differences.

    Parameters
    ----------
    fn : Pure
        The function.
    values : list of Tensor
        Where it is looked at.
    settings : Settings
    prefix : str
        Begins what it reports.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import Pure
    >>> from microtensor.inspect.checking.differences import Settings
    >>> from microtensor.inspect.checking.whole import WholeChecker
    >>> WholeChecker(Pure(mt.exp), [mt.tensor([1.0], requires_grad=True)], Settings()).run()
    []
    """

    def __init__(self, fn: Pure, values: list[Tensor], settings: Settings, prefix: str = "") -> None:
        self.fn = fn
        self.values = values
        self.settings = settings
        self.prefix = prefix
        self.rules = RuleChecker(settings.eps, settings.rtol, settings.rng, prefix)
        self.leaves = fresh_leaves(values)
        self.checked = {i: Checked() for i, leaf in enumerate(self.leaves) if leaf.requires_grad}
        self.out = fn(self.leaves)
        self._columns: dict[int, Array] = {}

    def run(self, cotangent: str | ArrayLike = "random", every_input: bool = False) -> list[Mismatch]:
        """What is wrong: with the rules, or where these are right with the whole.

        The whole is looked at after a wrong rule only when `every_input` asks for it.
        """
        given = None if isinstance(cotangent, str) and cotangent == "random" else self._given(cotangent)
        unsteady = self._unsteady()
        if unsteady:
            self.checked = dict.fromkeys(self.checked, Checked(math.inf, False))
            return [Mismatch("the function gives another value at each call with the same input", cause=unsteady)]
        wrong_rules = self.rules.check(self.out)
        if wrong_rules and not every_input:
            return wrong_rules
        found: list[Mismatch] = []
        for i in self.checked:
            if not self.leaves[i].size:
                continue
            try:
                wrong = self._input(i, given)
            except NoGradientError as error:
                wrong = [Mismatch(f"{self._called(i)}: {error}")]
                self._note(i, math.inf)
            self.checked[i] = Checked(self.checked[i].error, not wrong)
            found += wrong
        return wrong_rules or found

    def _given(self, cotangent: str | ArrayLike) -> Array:
        values = as_array(cotangent) if not isinstance(cotangent, str) else 1.0
        given = own_array(values, "gradcheck: cotangent", np.float64)
        if not np.isfinite(given).all():
            raise ValueError("gradcheck: the cotangent holds NaN or ∞, with which nothing can be compared")
        try:
            return np.broadcast_to(given, self.out.shape)
        except ValueError as error:
            raise ValueError(
                f"gradcheck: the cotangent has shape {given.shape}, the function's result {self.out.shape}"
            ) from error

    def _called(self, i: int) -> str:
        return f"{self.prefix}{called(i, self.leaves[i])}"

    def _note(self, i: int, error: float) -> None:
        self.checked[i] = Checked(max(self.checked[i].error, error), self.checked[i].right)

    # --- the two derivatives ------------------------------------------------------------------------------

    def _gradient(self, i: int, u: Array) -> Array:
        if not self.out.requires_grad:
            return np.zeros(self.leaves[i].shape)
        try:
            # A copy, so that a walk that writes into it spoils its own result alone.
            found = grad(self.out, self.leaves[i], u.copy(), allow_unused=True)
        except Exception as error:
            raise NoGradientError(f"the reverse walk raised {described(error)}") from error
        if found is None:
            return np.zeros(self.leaves[i].shape)
        gradient: Array = found.numpy()
        if gradient.shape != self.leaves[i].shape or gradient.dtype.kind != "f":
            raise NoGradientError(f"the reverse walk gave shape {gradient.shape} and dtype {gradient.dtype}")
        return gradient

    def _terms(self, i: int, u: Array) -> float:
        """The largest of the terms that the gradient of ⟨u, fn⟩ is the sum of, and whose rounding it shares."""
        found = [_sizes(value) for node, k, value in self._contributions(u) if node.inputs[k] is self.leaves[i]]
        return max((float(sizes.max(initial=0.0)) for sizes in found), default=0.0)

    def _noise(self, u: Array) -> float:
        """What the rounding of every intermediate result does to ⟨u, fn⟩, to first order."""
        terms = ((value, arrays_of(node)[argument]) for node, argument, value in self._contributions(u))
        return EPSILON * sum(project(_sizes(value), _sizes(x)) for value, x in terms)

    def _contributions(self, u: Array) -> list[tuple[Node, int, Array]]:
        """What each rule adds on the walk to all inputs; nothing when a rule raises, which its own input reports."""
        nodes = {node.index: node for _, node in history(self.out)}
        try:
            found = contributions_of(self.out, u.copy()) if nodes else []
        except Exception:
            return []
        return [
            (nodes[creation], argument, np.asarray(value._array if isinstance(value, Tensor) else value))
            for creation, argument, value in found
        ]

    def _evaluate(self, i: int, array: Array) -> Array:
        arguments = fresh_leaves(self.values)
        arguments[i] = Tensor(array, requires_grad=True)
        out = self.fn(arguments).numpy().astype(np.float64)
        if out.shape != self.out.shape:
            raise ValueError(
                f"gradcheck: the function's result has shape {self.out.shape} at the input and {out.shape} beside it; "
                "a shape that depends on values has no derivative"
            )
        return out

    def _line(self, i: int, index: tuple[int, ...]) -> Callable[[float], Array]:
        """The function of one element of input i, from where that is."""

        def line(by: float) -> Array:
            moved = self.values[i].numpy().copy()
            moved[index] += by
            return self._evaluate(i, moved)

        return line

    def _numeric(self, i: int, u: Array) -> tuple[Array, Array]:
        """The gradient of ⟨u, fn⟩ element by element, and what it may be off by."""
        x = self.values[i].numpy()
        numeric, uncertain, noise = np.zeros(x.shape), np.zeros(x.shape), self._noise(u)
        for index in np.ndindex(x.shape):
            steps = ladder(float(x[index]), self.settings.eps)
            numeric[index], uncertain[index] = slope(self._line(i, index), steps, u, noise)
        return numeric, uncertain

    # --- one input ----------------------------------------------------------------------------------------

    def _input(self, i: int, given: Array | None) -> list[Mismatch]:
        if given is not None:
            return self._compare(i, given)
        rng, leaf = self.settings.rng, self.leaves[i]
        if leaf.size * self.out.size > FULL_JACOBIAN:
            for _ in range(PROJECTIONS):
                found = self._projection(i, rng.normal(size=self.out.shape))
                if found:
                    return found
            return []
        for row in range(self.out.size):
            u = np.zeros(self.out.size)
            u[row] = 1.0
            u = u.reshape(self.out.shape)
            if not self._row_agrees(i, row, u):
                found = self._compare(i, rng.normal(size=self.out.shape)) or self._compare(i, u)
                if found:
                    return found
        return []

    def _row_agrees(self, i: int, row: int, u: Array) -> bool:
        """A first look at a row of the Jacobian, with two points only."""
        if i not in self._columns:
            x = self.values[i].numpy()
            steps = steps_of(x, self.settings.eps)
            columns = np.zeros((*x.shape, self.out.size))
            for index in np.ndindex(x.shape):
                line, step = self._line(i, index), float(steps[index])
                columns[index] = difference(line(step), line(-step)).reshape(-1) / (2 * step)
            self._columns[i] = columns
        numeric = self._columns[i][..., row]
        analytic = self._gradient(i, u)
        agrees = bool(self.settings.agree(analytic, numeric).all())
        agrees = agrees or bool(self.settings.agree(analytic, numeric, self._terms(i, u)).all())
        if agrees:
            self._note(i, float(distance(analytic, numeric).max(initial=0.0)))
        return agrees

    def _projection(self, i: int, u: Array) -> list[Mismatch]:
        """⟨u, J v⟩ for one random v, in steps that suit large elements, then small ones."""
        x, eps = self.values[i].numpy(), self.settings.eps
        v = self.settings.rng.uniform(-1.0, 1.0, size=x.shape)
        gradient = self._gradient(i, u)
        found: list[Mismatch] = []
        for steps in [steps_of(x, eps), *([short_steps_of(x)] if eps is None else [])]:
            size = float(np.abs(steps * v).max())

            def line(by: float, way: Array = steps * v / size) -> Array:
                return self._evaluate(i, x + by * way)

            analytic = project(gradient, steps * v / size)
            numeric = Estimate(central(line, size, u).value, 0.0)
            agrees = self.settings.agree(np.array(analytic), np.array(numeric.value))
            if not agrees:
                rungs = [size * factor for factor in LADDER] if eps is None else [size]
                numeric = slope(line, rungs, u, self._noise(u))
                terms = self._terms(i, u)
                agrees = self.settings.agree(np.array(analytic), np.array(numeric.value), terms, numeric.error)
            if agrees:
                self._note(i, abs(analytic - numeric.value))
                return []
            if x.size <= FULL_JACOBIAN:
                return self._compare(i, u)
            if not found:
                cause = self._unrecorded() or self._precision() or ("" if gradient.any() else NULL)
                cause = cause or _away(corner(line, size, u))
                found = [Mismatch(self._called(i), None, analytic, numeric.value, cause)]
        self._note(i, found[0].error if math.isfinite(found[0].error) else math.inf)
        return found

    def _compare(self, i: int, u: Array) -> list[Mismatch]:
        """A second look, element by element and with care."""
        analytic = self._gradient(i, u)
        numeric, uncertain = self._numeric(i, u)
        agrees = self.settings.agree(analytic, numeric, self._terms(i, u), uncertain)
        error = distance(analytic, numeric)
        self._note(i, float(error.max(initial=0.0)))
        if agrees.all():
            return []
        worst = np.unravel_index(int(np.argmax(np.where(agrees, -1.0, error))), analytic.shape)
        index = tuple(int(n) for n in worst)
        cause = self._unrecorded() or self._not_finite(analytic, numeric, u)
        cause = cause or self._lost_contribution(i, analytic, numeric, u) or self._precision()
        cause = cause or self._kink(i, index, float(analytic[worst]), u)
        cause = cause or likely_cause(analytic, numeric, self.values[i].numpy(), *self._values(i))
        return [Mismatch(self._called(i), index, float(analytic[worst]), float(numeric[worst]), cause)]

    # --- causes that only another call, or the graph, can tell --------------------------------------------

    def _unrecorded(self) -> str:
        if self.out.requires_grad:
            return ""
        return (
            "the result does not require a gradient: it was detached, or computed in NumPy or under no_grad, or is a "
            "gradient taken without create_graph=True"
        )

    def _values(self, i: int) -> tuple[list[Array], list[Array]]:
        """What the graph reads and takes no gradient to; and its results from input i."""
        constants: list[Array] = []
        onward = {self.leaves[i]: None}
        for tensor, node in history(self.out):
            read = node.inputs
            constants += [np.asarray(as_array(x)) for x in read if not (isinstance(x, Tensor) and x.requires_grad)]
            if any(isinstance(x, Tensor) and x in onward for x in read):
                onward[tensor] = None
        return constants, [tensor.numpy() for tensor in onward]

    def _unsteady(self) -> str:
        again = self.fn(fresh_leaves(self.values)).numpy()
        if again.shape == self.out.shape and np.allclose(again, self.out.numpy(), 1e-9, 1e-12, equal_nan=True):
            return ""
        return (
            "seed its random numbers inside it, with rng=np.random.default_rng(0), or put layers such as dropout into "
            "eval()"
        )

    def _not_finite(self, analytic: Array, numeric: Array, u: Array) -> str:
        if np.isfinite(analytic).all():
            if np.isfinite(numeric).all():
                return ""
            return (
                "the function is not finite beside this point: it overflows, or its domain ends here; move the input "
                "or pass a smaller eps"
            )
        for node, argument, value in self._contributions(u):
            if not np.isfinite(value).all():
                return (
                    f"the gradient is not finite: the first that is not is that of {node.primitive.name} for argument "
                    f"{argument}; keep its input where the slope is finite, as with sqrt(x + ε): a where comes too late"
                )
        return "the gradient is not finite"

    def _lost_contribution(self, i: int, analytic: Array, numeric: Array, u: Array) -> str:
        """Sum what the rules give in the plainest way; where that is right, the walk has lost something."""
        total: dict[Tensor, Array] = {self.out: u}
        for tensor, node in reversed(history(self.out)):
            if tensor not in total:
                continue
            for argument, x in with_rules(node):
                try:
                    # As the checker looks at a rule, which refuses what is no array of numbers.
                    d = self.rules.value(Call(node, argument, arrays_of(node), total[tensor]), x, tensor.numpy())
                except NoGradientError:
                    return ""
                total[x] = total[x] + d if x in total else d
        plain = total.get(self.leaves[i])
        if plain is None or not same(plain, numeric) or same(plain, analytic):
            return ""
        return (
            "the rules are right and add up to the true gradient: the reverse walk loses or overwrites a contribution "
            "where a value is used more than once, or a hook changes it"
        )

    def _precision(self) -> str:
        for tensor, node in reversed(history(self.out)):
            if tensor.dtype != np.float64:
                return (
                    f"{node} computes in {tensor.dtype}, whose rounding may be the difference, and in which no "
                    "rule was checked by itself; compute in float64"
                )
        return ""

    def _kink(self, i: int, index: tuple[int, ...], analytic: float, u: Array) -> str:
        """Whether there is a jump, or a kink and the gradient lies between the slopes of its sides."""
        step = float(steps_of(self.values[i].numpy(), self.settings.eps)[index])
        found = corner(self._line(i, index), step, u)
        if found is None:
            return ""
        low, high = sorted((found.left, found.right))
        slack = 1e-3 * max(abs(low), abs(high))
        return _away(found) if found.jump or low - slack <= analytic <= high + slack else ""


def _away(found: Corner | None) -> str:
    return f"{found}; move the input away from it" if found else ""


def _sizes(x: Array) -> Array:
    return np.where(np.isfinite(x), np.abs(x), 0.0)
