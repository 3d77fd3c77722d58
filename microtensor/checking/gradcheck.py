"""Finite-difference checks of gradients that say which operation is wrong, where, and probably why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.backprop import grad, toposort
from microtensor.diagnosis import distance, likely_cause, same
from microtensor.primitive import Array, Node
from microtensor.rulecheck import (
    FULL_JACOBIAN,
    STEP,
    Mismatch,
    NoGradientError,
    RuleChecker,
    arrays_of,
    slope,
    steps_of,
)
from microtensor.tensor import Tensor

PROJECTIONS = 3


@dataclass(frozen=True)
class Checked:
    """What the check of one input found.

    Attributes
    ----------
    error : float
        The largest difference seen between the gradient and the finite differences; ∞ when there was no
        gradient to compare.
    right : bool
    """

    error: float = 0.0
    right: bool = True


@dataclass(frozen=True)
class Report:
    """The inputs that require a gradient, by position, and what disagrees: nothing when all is right."""

    inputs: dict[int, Checked]
    mismatches: list[Mismatch]


class GradcheckError(AssertionError):
    """A gradient that disagrees with finite differences; ``mismatches`` holds what was found."""

    def __init__(self, mismatches: list[Mismatch]) -> None:
        self.mismatches = mismatches
        super().__init__("gradcheck failed\n  " + "\n  ".join(map(str, mismatches)))


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float = 1e-8,
    rtol: float = 1e-6,
    order: int = 1,
    cotangent: str | ArrayLike = "random",
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of a function with central finite differences, in float64.

    The rule of every operation that the function records is checked on its own too, so a failure names the
    operation. A small function is checked on its whole Jacobian, a larger one on three random projections
    ⟨u, J v⟩. The cotangent is random by default, because a constant one tests nothing on a norm: the gradient
    of sum(BN(x)) is identically zero.

    Parameters
    ----------
    fn : callable
        From the inputs to a tensor; called many times, so it must be deterministic.
    inputs : Tensor or sequence of Tensor
        Those that require a gradient are checked; float64. They are copied, not changed.
    eps : float, optional
        Step of the differences; ``machine epsilon ** (1/3) * max(1, |x|)`` unless given.
    atol, rtol : float
        Allowed is ``atol * scale + rtol * |numeric|``, scale being the larger of 1 and the largest derivative.
    order : int
        1 checks the gradient, 2 also the gradient of the gradient.
    cotangent : "random", "ones" or array_like
        "ones", or an array of the output's shape, checks ⟨cotangent, fn⟩ alone, and may be blind to much.
    raise_exception : bool
        Raise on a mismatch rather than return False.

    Returns
    -------
    bool
        Whether the gradients agree.

    Raises
    ------
    GradcheckError
        They do not, and `raise_exception` is on.
    TypeError
        An input that requires a gradient is not float64, or the function does not return a tensor.
    ValueError
        No input requires a gradient, the order is not 1 or 2, or the cotangent has another name.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([[1.0, 2.0], [4.0, 3.0], [0.0, 5.0]], requires_grad=True)
    >>> mt.gradcheck(lambda x: mt.standardize(x, axis=0), x, order=2)
    True
    """
    values = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    check_inputs(values, order)
    if isinstance(cotangent, str) and cotangent not in ("random", "ones"):
        raise ValueError(f"gradcheck: cotangent {cotangent!r} is not 'random', 'ones' or an array")
    rng = np.random.default_rng(0)
    checker = _Checker(fn, values, eps, atol, rtol, rng)
    mismatches = checker.run(cotangent)
    if order == 2 and not mismatches:
        mismatches = _second(fn, values, eps, atol, rtol, rng)[0]
    if mismatches and raise_exception:
        raise GradcheckError(mismatches)
    return not mismatches


def examine(fn: Callable[..., Any], inputs: Sequence[Tensor], *, order: int = 1) -> Report:
    """:func:`gradcheck` that goes on after a wrong rule, and says how large the error of each input is.

    Parameters
    ----------
    fn, inputs, order
        As for :func:`gradcheck`.

    Raises
    ------
    TypeError, ValueError
        As :func:`gradcheck`.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import examine
    >>> report = examine(mt.multiply, [mt.tensor(2.0, requires_grad=True), mt.tensor(3.0)])
    >>> {i: checked.right for i, checked in report.inputs.items()}, report.mismatches
    ({0: True}, [])
    """
    values = list(inputs)
    check_inputs(values, order)
    rng = np.random.default_rng(0)
    checker = _Checker(fn, values, None, 1e-8, 1e-6, rng)
    mismatches = checker.run("random", every_input=True)
    checked = checker.checked
    if order == 2 and not mismatches:
        mismatches, second = _second(fn, values, None, 1e-8, 1e-6, rng)
        for i, one in checked.items():
            other = second.get(i, Checked())
            checked[i] = Checked(max(one.error, other.error), one.right and other.right)
    return Report(checked, mismatches)


# --- graphs that are recorded already ---------------------------------------------------------------------


def leaves_of(output: Tensor) -> list[Tensor]:
    """The leaves that a recorded result takes its gradient to, in the order in which they were first used.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import leaves_of
    >>> a, b = (mt.tensor(1.0, requires_grad=True, name=name) for name in "ab")
    >>> [leaf.name for leaf in leaves_of(b * 2.0 + a * b)]
    ['b', 'a']
    """
    found: dict[Tensor, None] = {}
    for tensor in reversed(toposort([output])):
        assert tensor.node is not None
        found.update((x, None) for x in tensor.node.inputs if isinstance(x, Tensor) and x.is_leaf and x.requires_grad)
    return list(found)


def reader_of(output: Tensor, leaf: Tensor) -> str:
    """The scope in which a leaf was first read on the way to `output`; empty when that was outside of all.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import reader_of
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> with mt.name_scope("fc1"):
    ...     y = w * 2.0
    >>> reader_of(y, w)
    'fc1'
    """
    for tensor in reversed(toposort([output])):
        node = tensor.node
        assert node is not None
        if any(x is leaf for x in node.inputs):
            return node.scope.path if node.scope else ""
    return ""


def changed_since(output: Tensor) -> list[Tensor]:
    """The leaves that were given a new value, as by an optimiser, after the graph of `output` had read the old one.

    An operation knows the sum of its inputs' versions, so where one of them was changed after it, and another
    before it, both are named.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import changed_since
    >>> w = mt.tensor([1.0], requires_grad=True, name="w")
    >>> loss = (w * w).sum()
    >>> w.data = [2.0]
    >>> [leaf.name for leaf in changed_since(loss)]
    ['w']
    """
    found: dict[Tensor, None] = {}
    for tensor in reversed(toposort([output])):
        node = tensor.node
        assert node is not None
        inputs = [x for x in node.inputs if isinstance(x, Tensor)]
        if sum(x._version for x in inputs) != node.version:
            found.update((x, None) for x in inputs if x._version)
    return list(found)


def replay(output: Tensor, replaced: Mapping[Tensor, Tensor]) -> Tensor:
    """Run the recorded operations again with other tensors in the place of some leaves.

    What was not recorded (a constant, a detached value, the mask of a dropout) stays as it was. The graph
    itself is only read, so one that a backward pass has used up will do, if it was kept.

    Parameters
    ----------
    output : Tensor
        A result with a history.
    replaced : mapping
        The new tensors by leaf, of the same shapes.

    Raises
    ------
    RuntimeError
        The graph has been freed.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import replay
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> replay((x * x).sum(), {x: mt.tensor([3.0, 4.0])}).item()
    25.0
    """
    values: dict[Any, Any] = dict(replaced)
    for tensor in reversed(toposort([output])):
        node = tensor.node
        assert node is not None
        if node.spent and not node.inputs:
            raise RuntimeError(
                f"replay: the graph of {node.primitive.name} (shape {tensor.shape}) has been freed by a backward pass; "
                "pass retain_graph=True to that one"
            )
        inputs = [values.get(x, x) if isinstance(x, Tensor) else x for x in node.inputs]
        operation = node.primitive
        values[tensor] = operation(*inputs, **node.params)
    out: Tensor = values[output]
    return out


# --- the inputs -------------------------------------------------------------------------------------------


def gradgradcheck(fn: Callable[..., Any], inputs: Tensor | Sequence[Tensor], **options: Any) -> bool:
    """:func:`gradcheck` of first and second order.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.gradgradcheck(mt.exp, mt.tensor([1.0, 2.0], requires_grad=True))
    True
    """
    return gradcheck(fn, inputs, order=2, **options)


def check_inputs(values: Sequence[Tensor], order: int = 1) -> None:
    """Refuse what finite differences cannot check.

    Raises
    ------
    TypeError
        An input that requires a gradient is not float64.
    ValueError
        No input requires a gradient, or the order is not 1 or 2.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.gradcheck import check_inputs
    >>> check_inputs([mt.tensor([1.0], requires_grad=True)])
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}; 1 or 2 is needed")
    if not any(x.requires_grad for x in values):
        raise ValueError("gradcheck: no input requires a gradient, so there is nothing to check")
    for i, x in enumerate(values):
        if x.requires_grad and x.dtype != np.float64:
            raise TypeError(
                f"gradcheck: {_called(i, x)} has dtype {x.dtype}, whose rounding drowns the differences; make it "
                'float64 with .astype(float), or all parameters with mt.set_default_dtype("float64")'
            )


def _called(i: int, x: Tensor) -> str:
    return f"input {i} ({x.name})" if x.name else f"input {i}"


def _second(
    fn: Callable[..., Any],
    values: list[Tensor],
    eps: float | None,
    atol: float,
    rtol: float,
    rng: np.random.Generator,
    blame: bool = True,
) -> tuple[list[Mismatch], dict[int, Checked]]:
    """Check the gradient, as a function of the inputs and the cotangent, like any other function.

    With `blame`, a mismatch is traced to the first operation whose rules fail this check by themselves.
    """
    out = _call(fn, _leaves(values))
    cotangent = Tensor(rng.normal(size=out.shape), requires_grad=True)

    def gradient(*arguments: Tensor) -> Any:
        *xs, u = arguments
        wanted = [x for x in xs if x.requires_grad]
        pieces = grad(_call(fn, xs), wanted, u, create_graph=True, allow_unused=True)
        rows = [p.reshape(-1) * rng_weights[i] for i, p in enumerate(pieces) if p is not None]
        total = rows[0].sum()
        for row in rows[1:]:
            total = total + row.sum()
        return total

    rng_weights = [rng.normal(size=x.size) for x in values if x.requires_grad]
    # The result is linear in the cotangent, so a function without curvature still depends on that.
    checker = _Checker(gradient, [*values, cotangent], eps, atol, rtol, rng, prefix="second order, ")
    found = checker.run("random")
    if blame and found and found[0].index is not None and found[0].where.startswith(f"{checker.prefix}input"):
        found = _guilty_rule(out, eps, atol, rtol, rng) or found
    return found, checker.checked


def _guilty_rule(out: Tensor, eps: float | None, atol: float, rtol: float, rng: np.random.Generator) -> list[Mismatch]:
    """The first recorded operation whose rules are right, but not their own derivatives."""
    for tensor in reversed(toposort([out])):
        node = tensor.node
        assert node is not None
        places = [i for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x.requires_grad]
        if not tensor.size or any(node.inputs[i].dtype != np.float64 for i in places):
            continue

        def alone(*moved: Tensor, node: Node = node, places: list[int] = places) -> Any:
            inputs = list(node.inputs)
            for i, x in zip(places, moved, strict=True):
                inputs[i] = x
            operation = node.primitive
            return operation(*inputs, **node.params)

        found, _ = _second(alone, [node.inputs[i] for i in places], eps, atol, rtol, rng, blame=False)
        if found:
            worst = found[0]
            cause = (
                "right at first order: a value inside the rules is detached, or computed in NumPy, or kept from before"
            )
            where = f"second order, the rules of {node.primitive.name}"
            return [Mismatch(where, worst.index, worst.analytic, worst.numeric, cause)]
    return []


def _leaves(values: Sequence[Tensor]) -> list[Tensor]:
    return [Tensor(x.numpy(), requires_grad=x.requires_grad, name=x.name) for x in values]


def _call(fn: Callable[..., Any], arguments: Sequence[Tensor]) -> Tensor:
    out = fn(*arguments)
    if not isinstance(out, Tensor):
        raise TypeError(f"gradcheck: the function returned a {type(out).__name__}, not a tensor")
    return out


def _central(f: Callable[[float], Any], step: float) -> Any:
    return (f(step) - f(-step)) / (2 * step)


class _Checker:
    """One comparison of a function with its differences."""

    def __init__(
        self,
        fn: Callable[..., Any],
        values: list[Tensor],
        eps: float | None,
        atol: float,
        rtol: float,
        rng: np.random.Generator,
        prefix: str = "",
    ) -> None:
        self.fn = fn
        self.values = values
        self.eps = eps
        self.atol = atol
        self.rtol = rtol
        self.rng = rng
        self.prefix = prefix
        self.rules = RuleChecker(eps, rtol, rng, prefix)

    def run(self, cotangent: str | ArrayLike, every_input: bool = False) -> list[Mismatch]:
        """What is wrong: with the rules, or where these are right with the whole.

        The whole is looked at after a wrong rule only when `every_input` asks for it.
        """
        self.leaves = _leaves(self.values)
        self.checked = {i: Checked() for i, leaf in enumerate(self.leaves) if leaf.requires_grad}
        self.out = _call(self.fn, self.leaves)
        if not self.out.requires_grad:
            return self._constant()
        self.wrong_rules = self.rules.check(self.out)
        if self.wrong_rules and not every_input:
            return self.wrong_rules
        found: list[Mismatch] = []
        for i in self.checked:
            if not self.leaves[i].size:
                continue
            try:
                wrong = self._input(i, cotangent)
            except NoGradientError as error:
                wrong = [Mismatch(f"{self.prefix}{_called(i, self.leaves[i])}: {error}", None, math.nan, math.nan)]
                self._note(i, math.inf)
            self.checked[i] = Checked(self.checked[i].error, not wrong)
            found += wrong
        return self.wrong_rules or found

    def _note(self, i: int, error: float) -> None:
        self.checked[i] = Checked(max(self.checked[i].error, error), self.checked[i].right)

    def _evaluate(self, i: int, array: Array) -> Array:
        arguments = _leaves(self.values)
        arguments[i] = Tensor(array, requires_grad=True)
        return _call(self.fn, arguments).numpy()

    def _differences(
        self, i: int, direction: Array, derivative: Callable[[Callable[[float], Any], float], Any] = _central
    ) -> Array:
        """The derivative of the function along a direction in input i."""
        x = self.values[i].numpy()
        step = float(self.eps) if self.eps is not None else STEP * max(1.0, float(np.abs(x).max(initial=0.0)))
        out: Array = derivative(lambda by: self._evaluate(i, x + by * direction), step)
        return out

    def _gradient(self, i: int, u: Array) -> Array:
        try:
            found = grad(self.out, self.leaves[i], u, allow_unused=True)
        except Exception as error:
            # A rule known to be wrong may raise anything; otherwise only shapes that do not fit are the walk's fault.
            if not (self.wrong_rules or isinstance(error, ValueError)):
                raise
            raise NoGradientError(f"the reverse walk raised {type(error).__name__}: {error}") from error
        return np.zeros(self.leaves[i].shape) if found is None else found.numpy()

    def _numeric_gradient(self, i: int, u: Array) -> Array:
        """The gradient of ⟨u, fn⟩ element by element."""
        x = self.values[i].numpy()
        steps = steps_of(x, self.eps)
        out = np.zeros(x.shape)
        for index in np.ndindex(x.shape):

            def project(by: float, index: tuple[int, ...] = index) -> float:
                moved = x.copy()
                moved[index] += by
                return float(np.sum(u * self._evaluate(i, moved)))

            out[index] = slope(project, float(steps[index]))
        return out

    def _agrees(self, analytic: Array, numeric: Array) -> Array:
        scale = max(1.0, float(np.nanmax(np.abs(numeric), initial=0.0)))
        return np.isclose(analytic, numeric, rtol=self.rtol, atol=self.atol * scale, equal_nan=True)

    def _input(self, i: int, cotangent: str | ArrayLike) -> list[Mismatch]:
        where = f"{self.prefix}{_called(i, self.leaves[i])}"
        if not isinstance(cotangent, str):
            return self._compare(where, i, np.broadcast_to(np.asarray(cotangent, dtype=float), self.out.shape))
        if cotangent == "ones":
            return self._compare(where, i, np.ones(self.out.shape))
        if self.leaves[i].size * self.out.size <= FULL_JACOBIAN:
            for index in np.ndindex(self.out.shape):
                u = np.zeros(self.out.shape)
                u[index] = 1.0
                if not self._whole_row_agrees(i, u):
                    random = self.rng.normal(size=self.out.shape)
                    found = self._compare(where, i, random) or self._compare(where, i, u)
                    if found:
                        return found
            return []
        for _ in range(PROJECTIONS):
            u, v = self.rng.normal(size=self.out.shape), self.rng.normal(size=self.leaves[i].shape)
            v /= max(1.0, float(np.abs(v).max()))
            analytic = float(np.sum(self._gradient(i, u) * v))
            numeric = float(np.sum(u * self._differences(i, v)))
            if not self._agrees(np.array(analytic), np.array(numeric)):
                if self.leaves[i].size <= FULL_JACOBIAN:
                    found = self._compare(where, i, u)
                    if found:
                        return found
                    continue
                numeric = float(np.sum(u * self._differences(i, v, slope)))
            self._note(i, float(distance(np.array(analytic), np.array(numeric))))
            if not self._agrees(np.array(analytic), np.array(numeric)):
                return [Mismatch(where, None, analytic, numeric, self._unsteady())]
        return []

    def _whole_row_agrees(self, i: int, u: Array) -> bool:
        if not hasattr(self, "_columns"):
            self._columns: dict[int, Array] = {}
        if i not in self._columns:
            x = self.values[i].numpy()
            steps = steps_of(x, self.eps)
            columns = np.zeros((*x.shape, *self.out.shape))
            for index in np.ndindex(x.shape):
                high, low = x.copy(), x.copy()
                high[index] += steps[index]
                low[index] -= steps[index]
                columns[index] = (self._evaluate(i, high) - self._evaluate(i, low)) / (2 * steps[index])
            self._columns[i] = columns
        numeric = np.tensordot(self._columns[i], u, axes=u.ndim)
        analytic = self._gradient(i, u)
        agrees = bool(self._agrees(analytic, numeric).all())
        if agrees:
            self._note(i, float(distance(analytic, numeric).max(initial=0.0)))
        return agrees

    def _compare(self, where: str, i: int, u: Array) -> list[Mismatch]:
        analytic, numeric = self._gradient(i, u), self._numeric_gradient(i, u)
        agrees = self._agrees(analytic, numeric)
        error = distance(analytic, numeric)
        self._note(i, float(error.max(initial=0.0)))
        if agrees.all():
            return []
        worst = np.unravel_index(int(np.argmax(np.where(agrees, -1.0, error))), analytic.shape)
        index = tuple(int(n) for n in worst)
        cause = self._unsteady() or self._lost_contribution(i, analytic, numeric, u)
        cause = cause or likely_cause(analytic, numeric, self.values[i].numpy())
        cause = cause or self._precision() or self._kink(i, index, u)
        return [Mismatch(where, index, float(analytic[worst]), float(numeric[worst]), cause)]

    def _unsteady(self) -> str:
        again = _call(self.fn, _leaves(self.values)).numpy()
        if again.shape == self.out.shape and np.allclose(again, self.out.numpy(), 1e-9, 0.0, equal_nan=True):
            return ""
        return "the function gives another value at each call with the same input: seed its random numbers inside it"

    def _lost_contribution(self, i: int, analytic: Array, numeric: Array, u: Array) -> str:
        """Sum what the rules give in the plainest way; where that is right, the walk has lost something."""
        total: dict[Tensor, Array] = {self.out: u}
        for tensor in toposort([self.out]):
            node = tensor.node
            assert node is not None
            if tensor not in total:
                continue
            for argument, x in enumerate(node.inputs):
                if isinstance(x, Tensor) and x.requires_grad and node.primitive.rules[argument] is not None:
                    try:
                        d = self.rules.value(node, argument, x, total[tensor], tensor.numpy(), arrays_of(node))
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

    def _constant(self) -> list[Mismatch]:
        """The result carries no history: right only for a function that really is constant."""
        found = []
        for i, leaf in enumerate(self.leaves):
            if not leaf.requires_grad or not leaf.size:
                continue
            u = self.rng.normal(size=self.out.shape)
            numeric = float(np.sum(u * self._differences(i, self.rng.normal(size=leaf.shape))))
            self._note(i, abs(numeric))
            if not self._agrees(np.array(0.0), np.array(numeric)):
                self.checked[i] = Checked(abs(numeric), False)
                cause = "the result does not require a gradient: it was detached, or computed in NumPy or under no_grad"
                found.append(Mismatch(f"{self.prefix}{_called(i, leaf)}", None, 0.0, numeric, cause))
        return found

    def _precision(self) -> str:
        for tensor in toposort([self.out]):
            if tensor.dtype != np.float64:
                return f"{tensor.node} computes in {tensor.dtype}, whose rounding drowns the differences"
        return ""

    def _kink(self, i: int, index: tuple[int, ...], u: Array) -> str:
        x = self.values[i].numpy()
        step = float(steps_of(x, self.eps)[index])
        at = float(np.sum(u * self._evaluate(i, x)))
        slopes: list[float] = []
        for sign in (-1, 1):
            moved = x.copy()
            moved[index] += sign * step
            slopes.append(sign * (float(np.sum(u * self._evaluate(i, moved))) - at) / step + 0.0)
        left, right = slopes
        if abs(left - right) > 1e-3 * max(1.0, abs(left), abs(right)):
            return f"a kink or a jump: the slope is {left:.4g} on the left and {right:.4g} on the right"
        return ""
