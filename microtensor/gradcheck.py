"""Finite-difference checks of gradients that say which operation is wrong, where, and probably why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.backprop import _fit, grad, toposort
from microtensor.primitive import Array, Node
from microtensor.tensor import Tensor

FULL_JACOBIAN = 2_000
PROJECTIONS = 3
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
        place = "along a random direction" if self.index is None else f"at index {self.index}"
        text = f"{self.where} {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, error {self.error:.3g}"
        return f"{text}; {self.cause}" if self.cause else text


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
    _check_inputs(values, order)
    if isinstance(cotangent, str) and cotangent not in ("random", "ones"):
        raise ValueError(f"gradcheck: cotangent {cotangent!r} is not 'random', 'ones' or an array")
    rng = np.random.default_rng(0)
    checker = _Checker(fn, values, eps, atol, rtol, rng)
    mismatches = checker.run(cotangent)
    if order == 2 and not mismatches:
        mismatches = _second(fn, values, eps, atol, rtol, rng)
    if mismatches and raise_exception:
        raise GradcheckError(mismatches)
    return not mismatches


def gradgradcheck(fn: Callable[..., Any], inputs: Tensor | Sequence[Tensor], **options: Any) -> bool:
    """:func:`gradcheck` of first and second order.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.gradgradcheck(mt.exp, mt.tensor([1.0, 2.0], requires_grad=True))
    True
    """
    return gradcheck(fn, inputs, order=2, **options)


def _check_inputs(values: list[Tensor], order: int) -> None:
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}; 1 or 2 is needed")
    if not any(x.requires_grad for x in values):
        raise ValueError("gradcheck: no input requires a gradient, so there is nothing to check")
    for i, x in enumerate(values):
        if x.requires_grad and x.dtype != np.float64:
            raise TypeError(
                f"gradcheck: input {i} has dtype {x.dtype}, whose rounding drowns the differences; "
                "make it float64 with .astype(float)"
            )


def _second(
    fn: Callable[..., Any], values: list[Tensor], eps: float | None, atol: float, rtol: float, rng: np.random.Generator
) -> list[Mismatch]:
    """Check the gradient, as a function of the inputs and the cotangent, like any other function."""
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
    return _Checker(gradient, [*values, cotangent], eps, atol, rtol, rng, prefix="second order, ").run("random")


def _leaves(values: Sequence[Tensor]) -> list[Tensor]:
    return [Tensor(x.numpy(), requires_grad=x.requires_grad, name=x.name) for x in values]


def _call(fn: Callable[..., Any], arguments: Sequence[Tensor]) -> Tensor:
    out = fn(*arguments)
    if not isinstance(out, Tensor):
        raise TypeError(f"gradcheck: the function returned a {type(out).__name__}, not a tensor")
    return out


def _step(x: Array, eps: float | None) -> Array:
    return np.full(x.shape, eps) if eps is not None else STEP * np.maximum(1.0, np.abs(x))


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

    def run(self, cotangent: str | ArrayLike) -> list[Mismatch]:
        self.leaves = _leaves(self.values)
        self.out = _call(self.fn, self.leaves)
        if not self.out.requires_grad:
            return self._constant()
        wrong_rules = self._rules()
        if wrong_rules:
            return wrong_rules
        found: list[Mismatch] = []
        for i, leaf in enumerate(self.leaves):
            if leaf.requires_grad and leaf.size:
                found += self._input(i, cotangent)
        return found

    def _evaluate(self, i: int, array: Array) -> Array:
        arguments = _leaves(self.values)
        arguments[i] = Tensor(array, requires_grad=True)
        return _call(self.fn, arguments).numpy()

    def _differences(self, i: int, direction: Array) -> Array:
        """Central difference of the function along a direction in input i."""
        x = self.values[i].numpy()
        step = float(self.eps) if self.eps is not None else STEP * max(1.0, float(np.abs(x).max(initial=0.0)))
        high, low = self._evaluate(i, x + step * direction), self._evaluate(i, x - step * direction)
        return (high - low) / (2 * step)

    def _gradient(self, i: int, u: Array) -> Array:
        found = grad(self.out, self.leaves[i], u, allow_unused=True)
        return np.zeros(self.leaves[i].shape) if found is None else found.numpy()

    def _numeric_gradient(self, i: int, u: Array) -> Array:
        """The gradient of ⟨u, fn⟩ element by element."""
        x = self.values[i].numpy()
        steps = _step(x, self.eps)
        out = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            moved = x.copy()
            moved[index] = x[index] + steps[index]
            high = float(np.sum(u * self._evaluate(i, moved)))
            moved[index] = x[index] - steps[index]
            out[index] = (high - float(np.sum(u * self._evaluate(i, moved)))) / (2 * steps[index])
        return out

    def _agrees(self, analytic: Array, numeric: Array) -> Array:
        scale = max(1.0, float(np.nanmax(np.abs(numeric), initial=0.0)))
        return np.isclose(analytic, numeric, rtol=self.rtol, atol=self.atol * scale, equal_nan=True)

    def _input(self, i: int, cotangent: str | ArrayLike) -> list[Mismatch]:
        where = f"{self.prefix}input {i}"
        if not isinstance(cotangent, str):
            return self._compare(where, i, np.broadcast_to(np.asarray(cotangent, dtype=float), self.out.shape))
        if cotangent == "ones":
            return self._compare(where, i, np.ones(self.out.shape))
        if self.leaves[i].size * self.out.size <= FULL_JACOBIAN:
            for index in np.ndindex(self.out.shape):
                u = np.zeros(self.out.shape)
                u[index] = 1.0
                if not self._whole_row_agrees(i, u):
                    return self._compare(where, i, self.rng.normal(size=self.out.shape)) or self._compare(where, i, u)
            return []
        for _ in range(PROJECTIONS):
            u, v = self.rng.normal(size=self.out.shape), self.rng.normal(size=self.leaves[i].shape)
            v /= max(1.0, float(np.abs(v).max()))
            analytic = float(np.sum(self._gradient(i, u) * v))
            numeric = float(np.sum(u * self._differences(i, v)))
            if not self._agrees(np.array(analytic), np.array(numeric)):
                detail = self._compare(where, i, u) if self.leaves[i].size <= FULL_JACOBIAN else []
                return detail or [Mismatch(where, None, analytic, numeric)]
        return []

    def _whole_row_agrees(self, i: int, u: Array) -> bool:
        if not hasattr(self, "_columns"):
            self._columns: dict[int, Array] = {}
        if i not in self._columns:
            x = self.values[i].numpy()
            steps = _step(x, self.eps)
            columns = np.zeros((*x.shape, *self.out.shape))
            for index in np.ndindex(x.shape):
                high, low = x.copy(), x.copy()
                high[index] += steps[index]
                low[index] -= steps[index]
                columns[index] = (self._evaluate(i, high) - self._evaluate(i, low)) / (2 * steps[index])
            self._columns[i] = columns
        numeric = np.tensordot(self._columns[i], u, axes=u.ndim)
        return bool(self._agrees(self._gradient(i, u), numeric).all())

    def _compare(self, where: str, i: int, u: Array) -> list[Mismatch]:
        analytic, numeric = self._gradient(i, u), self._numeric_gradient(i, u)
        agrees = self._agrees(analytic, numeric)
        if agrees.all():
            return []
        worst = np.unravel_index(int(np.argmax(np.where(agrees, -1.0, _distance(analytic, numeric)))), analytic.shape)
        index = tuple(int(n) for n in worst)
        cause = likely_cause(analytic, numeric, self.values[i].numpy()) or self._precision()
        cause = cause or self._kink(i, index, u)
        return [Mismatch(where, index, float(analytic[worst]), float(numeric[worst]), cause)]

    def _constant(self) -> list[Mismatch]:
        """The result carries no history: right only for a function that really is constant."""
        found = []
        for i, leaf in enumerate(self.leaves):
            if not leaf.requires_grad or not leaf.size:
                continue
            u = self.rng.normal(size=self.out.shape)
            numeric = float(np.sum(u * self._differences(i, self.rng.normal(size=leaf.shape))))
            if not self._agrees(np.array(0.0), np.array(numeric)):
                cause = "the result does not require a gradient: it was detached, or computed in NumPy or under no_grad"
                found.append(Mismatch(f"{self.prefix}input {i}", None, 0.0, numeric, cause))
        return found

    def _precision(self) -> str:
        for tensor in toposort([self.out]):
            if tensor.dtype != np.float64:
                return f"{tensor.node} computes in {tensor.dtype}, whose rounding drowns the differences"
        return ""

    def _kink(self, i: int, index: tuple[int, ...], u: Array) -> str:
        x = self.values[i].numpy()
        step = float(_step(x, self.eps)[index])
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

    # --- the rule of each operation by itself -------------------------------------------------------------

    def _rules(self) -> list[Mismatch]:
        """Check every recorded operation's own rules, in the order in which they were recorded."""
        for output in reversed(toposort([self.out])):
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
        arrays = [t.numpy() if isinstance(t, Tensor) else t for t in node.inputs]
        g = self.rng.normal(size=output.shape)
        with np.errstate(all="ignore"):
            try:
                d = node.primitive.rules[argument](g, output.numpy(), *arrays, **node.params)  # type: ignore[misc]
                analytic = np.broadcast_to(_fit(np.asarray(d), x, node, argument), x.shape)
            except RuntimeError as error:
                return Mismatch(f"{self.prefix}{error}", None, math.nan, math.nan)

        def project(value: Array) -> float:
            moved = [*arrays[:argument], value, *arrays[argument + 1 :]]
            return float(np.sum(g * node.primitive.forward(*moved, **node.params)))

        value = x.numpy()
        direction = self.rng.choice([-1.0, 1.0], size=x.shape) * self.rng.uniform(0.5, 1.0, size=x.shape)
        steps = _step(value, self.eps)
        numeric = (project(value + steps * direction) - project(value - steps * direction)) / 2
        expected = float(np.sum(analytic * direction * steps))
        size = float(np.sum(np.abs(analytic * direction * steps)))
        if math.isclose(expected, numeric, rel_tol=self.rtol, abs_tol=1e-6 * max(size, STEP * 1e-2)):
            return None
        if not math.isfinite(numeric):
            return None
        found = self._name_rule(node, argument, analytic, value, steps, project)
        if found is not None or value.size <= FULL_JACOBIAN:
            return found
        return Mismatch(
            f"{self.prefix}the rule of {node.primitive.name} for argument {argument}", None, expected, numeric
        )

    def _name_rule(
        self,
        node: Node,
        argument: int,
        analytic: Array,
        value: Array,
        steps: Array,
        project: Callable[[Array], float],
    ) -> Mismatch | None:
        if value.size > FULL_JACOBIAN:
            return None
        numeric = np.zeros(value.shape)
        kinks = np.zeros(value.shape, dtype=bool)
        at = project(value)
        for index in np.ndindex(value.shape):
            high, low = value.copy(), value.copy()
            high[index] += steps[index]
            low[index] -= steps[index]
            up, down = project(high), project(low)
            numeric[index] = (up - down) / (2 * steps[index])
            right, left = (up - at) / float(steps[index]), (at - down) / float(steps[index])
            kinks[index] = abs(right - left) > 1e-2 * max(1.0, abs(right), abs(left))
        scale = max(1.0, float(np.abs(numeric).max()))
        error = np.where(kinks, 0.0, _distance(analytic, numeric))
        if error.max() <= 1e-6 * scale:
            return None
        worst = tuple(int(n) for n in np.unravel_index(int(error.argmax()), error.shape))
        return Mismatch(
            f"{self.prefix}the rule of {node.primitive.name} for argument {argument}",
            worst,
            float(analytic[worst]),
            float(numeric[worst]),
            likely_cause(np.asarray(analytic), numeric, value),
        )


def _distance(analytic: Array, numeric: Array) -> Array:
    """The absolute difference, infinite where one of the two is not a number."""
    distance: Array = np.nan_to_num(np.abs(analytic - numeric), nan=np.inf, posinf=np.inf)
    return distance


def likely_cause(analytic: Array, numeric: Array, x: Array) -> str:
    """Say in words how a wrong gradient differs from the right one, from the pattern of the difference.

    A gradient that lost the path through a mean differs from the right one by a constant along the axes of
    the mean; one that lost the path through a variance differs by a multiple of x − mean(x).
    """
    if not (np.isfinite(analytic).all() and np.isfinite(numeric).all()):
        return "the gradient is not finite"
    size = float(np.abs(numeric).max(initial=0.0))
    tolerance = 1e-5 * max(size, float(np.abs(analytic).max(initial=0.0)))
    if size == 0.0 or size < 1e-9:
        return "the true gradient is zero: this cotangent tests nothing else"
    if not np.abs(analytic).max():
        return "a null gradient: a path is cut, or the rule returns zero"
    ratio = float(np.sum(analytic * numeric) / np.sum(numeric * numeric))
    if np.abs(analytic - ratio * numeric).max() <= tolerance:
        if abs(ratio + 1) < 1e-4:
            return "the sign is wrong"
        sizes = {math.prod(s) for k in range(1, x.ndim + 1) for s in itertools.combinations(x.shape, k)}
        counts = [n for n in sorted(sizes) if n > 1]
        for n in counts:
            if abs(ratio / n - 1) < 1e-4:
                return f"it is {n} times too large: a factor 1/{n} is missing"
            if abs(ratio * n - 1) < 1e-4:
                return f"it is {n} times too small: a factor {n} is missing"
        return f"it is {ratio:.6g} times the true gradient"
    missing = numeric - analytic
    for count in range(1, x.ndim + 1):
        for axes in itertools.combinations(range(x.ndim), count):
            if math.prod(x.shape[a] for a in axes) < 3:
                continue
            part = _lost_path(missing, x, axes, tolerance)
            if part:
                return f"equals the gradient with the {part} over axis {axes if count > 1 else axes[0]} detached"
    return ""


def _lost_path(missing: Array, x: Array, axes: tuple[int, ...], tolerance: float) -> str:
    def residue(*basis: Array) -> float:
        rest = missing
        for vector in basis:
            norm = (vector * vector).sum(axis=axes, keepdims=True)
            norm = np.where(norm == 0, 1.0, norm)
            rest = rest - vector * (rest * vector).sum(axis=axes, keepdims=True) / norm
        return float(np.abs(rest).max())

    one, centered = np.ones_like(x), x - x.mean(axis=axes, keepdims=True)
    if residue(one) <= tolerance:
        return "mean"
    if residue(centered) <= tolerance:
        return "variance"
    if residue(one, centered) <= tolerance:
        return "mean and variance"
    return ""
