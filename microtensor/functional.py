"""Functions composed of primitives: variance, softmax, activations, the norm of a vector. No derivative, no numpy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from microtensor.checks import check_flag, check_float, plain_number, renamed
from microtensor.core.primitive import label
from microtensor.hints import add_hint, spelled
from microtensor.ops import (
    absolute,
    any,
    as_operand,
    divide,
    equal,
    erf,
    exp,
    expm1,
    greater,
    log,
    max,
    mean,
    narrowed,
    power,
    relu,
    reshape,
    sigmoid,
    softplus,
    sqrt,
    square,
    stop_gradient,
    sum,
    tanh,
    where,
    widened,
)
from microtensor.support.arrays import quietly
from microtensor.support.axes import Axis, filled_count, normalize_axis
from microtensor.support.modes import name_scope

if TYPE_CHECKING:
    from microtensor.core.tensor import Operand, Tensor

__all__ = [
    "clip",
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsumexp",
    "mish",
    "norm",
    "reciprocal",
    "rsqrt",
    "selu",
    "silu",
    "softmax",
    "std",
    "var",
]

P = ParamSpec("P")
R = TypeVar("R")


def scoped(function: Callable[P, R]) -> Callable[P, R]:
    """Record the operations of `function` in a scope with its name, so that a picture can fold them."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with name_scope(function.__name__):
                return function(*args, **kwargs)
        except TypeError as error:
            add_hint(error, function)
            raise

    return inside


@scoped
def var(x: Tensor, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Variance over axes: the mean of the squares of x − mean(x), times N / (N − correction).

    The mean is computed first, so that no digits cancel. It stays in the graph, where its gradient is exactly 0.

    Parameters
    ----------
    x : Tensor
        Any shape; float16 is computed in float32, and integers give float64, as in NumPy.
    axis : int, tuple of int, optional
        The axes to reduce; default: all axes.
    correction : float
        0 for the biased variance that norms use, 1 for the unbiased one (NumPy's ``ddof``).
    keepdims : bool
        Keep reduced axes with size 1.

    Raises
    ------
    ValueError
        The correction is not less than the number of elements, or there are no elements.
    TypeError
        The correction is not a number, or is a bool.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.var(mt.tensor([1.0, 2.0, 3.0])).item()
    0.6666666666666666
    """
    return _var(x, axis, correction, keepdims, "var")


def _var(x: Tensor, axis: Axis, correction: float, keepdims: bool, who: str) -> Tensor:
    x = as_operand(x)
    if plain_number(correction) is None:
        raise TypeError(f"{who}: correction is {correction!r}; it must be a number")
    keepdims = check_flag(keepdims, "keepdims", who)
    axes = normalize_axis(axis, x.ndim, who)
    count = filled_count(x.shape, axes, who, "a variance")
    if correction >= count:
        raise ValueError(
            f"{who}: correction is {correction}; it must be less than {count}, the number of elements of axis {axes} "
            f"of shape {x.shape}"
        )
    wide = widened(x)
    centered = label(wide - label(mean(wide, axis=axes, keepdims=True), "μ"), "x − μ")
    spread = mean(square(centered), axis=axes, keepdims=keepdims)
    if correction:
        spread = spread * (count / (count - correction))
    return label(narrowed(spread, x), "σ²")


@scoped
def std(x: Tensor, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes: √var(x).

    Where the variance is 0, the gradient is ∞ · 0 = NaN, as in JAX; PyTorch gives 0. A normalization takes √(var + ε)
    instead.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis, correction, keepdims
        As :func:`var`.

    Raises
    ------
    ValueError, TypeError
        As :func:`var`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.std(mt.tensor([1.0, 3.0])).item()
    1.0
    """
    x = as_operand(x)
    with name_scope("var"):
        variance = _var(widened(x), axis, correction, keepdims, "std")
    return label(narrowed(sqrt(variance), x), "σ")


@scoped
def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials over axes: ln Σ eˣ = m + ln Σ eˣ⁻ᵐ with m = max x.

    m is detached from the graph, because it cancels in the value and in every derivative. Where m is infinite, 0 is
    used in its place: the result is ∞ if one element is ∞, and −∞ if all elements are −∞.

    Parameters
    ----------
    x : Tensor
        Any shape, floating point; float16 is computed in float32.
    axis : int, tuple of int, optional
        The axes to reduce; default: all axes.
    keepdims : bool
        Keep reduced axes with size 1.

    Raises
    ------
    ValueError
        There are no elements along the axes.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> round(mt.logsumexp(mt.tensor([1000.0, 1000.0])).item(), 4)
    1000.6931
    """
    check_float(x, "logsumexp")
    keepdims = check_flag(keepdims, "keepdims", "logsumexp")
    axes = _classes(x, axis, "logsumexp")
    wide = widened(x)
    largest = stop_gradient(max(wide, axis=axes, keepdims=True))
    shift = label(where(greater(math.inf, absolute(largest)), largest, 0.0), "max")
    total = log(sum(exp(wide - shift), axis=axes, keepdims=keepdims))
    return narrowed(total + (shift if keepdims else reshape(shift, shape=total.shape)), x)


def _below_largest(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x minus its largest element along the axes, which is detached: the results do not depend on it."""
    # The rest is computed with small numbers, so that a large offset of x costs no digits.
    return x - label(stop_gradient(max(x, axis=axes, keepdims=True)), "max")


def _classes(x: Tensor, axis: Axis, who: str) -> tuple[int, ...]:
    """The axes of the classes. They must hold at least one element."""
    axes = normalize_axis(axis, x.ndim, who)
    filled_count(x.shape, axes, who, "the largest")
    return axes


@scoped
def log_softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """Logarithm of the softmax along an axis: (x − m) − ln Σ eˣ⁻ᵐ with m = max x.

    Parameters
    ----------
    x : Tensor
        Any shape, floating point; float16 is computed in float32.
    axis : int, tuple of int, optional
        The axis of the classes. As in SciPy, a tuple joins several axes and None joins all axes.

    Raises
    ------
    ValueError
        The axis has no elements.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.log_softmax(mt.tensor([0.0, 0.0]))
    tensor([-0.69314718, -0.69314718])
    """
    check_float(x, "log_softmax")
    axes = _classes(x, axis, "log_softmax")
    below = _below_largest(widened(x), axes)
    return narrowed(below - log(sum(exp(below), axis=axes, keepdims=True)), x)


@scoped
def softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """Exponentials normalised to sum 1 along an axis: eˣ⁻ᵐ / Σ eˣ⁻ᵐ with m = max x.

    Parameters
    ----------
    x : Tensor
        Any shape, floating point; float16 is computed in float32.
    axis : int, tuple of int, optional
        The axis of the classes. As in SciPy, a tuple joins several axes and None joins all axes.

    Raises
    ------
    ValueError
        The axis has no elements.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.softmax(mt.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    check_float(x, "softmax")
    axes = _classes(x, axis, "softmax")
    weights = exp(_below_largest(widened(x), axes))
    return narrowed(weights / sum(weights, axis=axes, keepdims=True), x)


def reciprocal(x: Tensor) -> Tensor:
    """1 / x, elementwise; ±∞ at 0. Integers give float64; NumPy gives integers.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.reciprocal(mt.tensor([1.0, 4.0]))
    tensor([1.  , 0.25])
    """
    return divide(1.0, x)


def rsqrt(x: Tensor) -> Tensor:
    """1 / √x, elementwise; ∞ at 0, NaN below 0.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.rsqrt(mt.tensor([1.0, 4.0]))
    tensor([1. , 0.5])
    """
    return divide(1.0, sqrt(x))


@renamed(low="min", high="max")
@spelled
def clip(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x limited to the range from `min` to `max`, elementwise.

    The derivative is 1 inside the range and on its bounds, and 0 outside.

    Parameters
    ----------
    x : Tensor
        Any shape.
    min, max : float or array_like, optional
        The bounds, which broadcast with x; None means no bound. A bound that is a tensor gets a gradient where it is
        the result. Integers with integer bounds stay integers, as in NumPy.

    Raises
    ------
    ValueError
        The lower bound is above the upper one.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.clip(mt.tensor([-1.0, 0.5, 2.0]), 0.0, 1.0)
    tensor([0. , 0.5, 1. ])
    """
    if min is not None and max is not None and quietly(greater, min, max).any():
        raise ValueError(f"clip: the lower bound {min} is above the upper bound {max}")
    return held(x, min, max)


def held(x: Tensor, least: Any, most: Any) -> Tensor:
    """x within two bounds, each a number, an array, a tensor or None; the upper bound wins."""
    if least is not None:
        x = where(quietly(greater, least, x), least, x)
    if most is not None:
        x = where(quietly(greater, x, most), most, x)
    return x


@scoped
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, `negative_slope` · x elsewhere.

    Raises
    ------
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.leaky_relu(mt.tensor([-1.0, 2.0]))
    tensor([-0.01,  2.  ])
    """
    check_float(x, "leaky_relu")
    if negative_slope == 0:
        # A product with 0 would turn an infinite gradient into NaN.
        return relu(x)
    y: Tensor = where(greater(x, 0), x, x * negative_slope)
    return y


@scoped
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, α (eˣ − 1) elsewhere.

    Raises
    ------
    TypeError
        The input is not floating point.

    References
    ----------
    Clevert, Unterthiner & Hochreiter, *Exponential Linear Units*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.elu(mt.tensor([-1.0, 2.0]))
    tensor([-0.63212056,  2.        ])
    """
    check_float(x, "elu")
    if alpha == 0:
        return relu(x)
    # The exponential sees 0 where x is positive, so that it cannot overflow in the branch not taken.
    positive = greater(x, 0)
    y: Tensor = where(positive, x, expm1(where(positive, 0.0, x)) * alpha)
    return y


@scoped
def selu(x: Tensor) -> Tensor:
    """λ · elu(x), where α = 1.6733 and λ = 1.0507 keep mean 0 and variance 1 from layer to layer.

    Raises
    ------
    TypeError
        The input is not floating point.

    References
    ----------
    Klambauer, Unterthiner, Mayr & Hochreiter, *Self-Normalizing Neural Networks*, 2017.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.selu(mt.tensor([1.0]))
    tensor([1.05070099])
    """
    check_float(x, "selu")
    return elu(x, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946


@scoped
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function at x: x/2 · (1 + erf(x/√2)).

    Parameters
    ----------
    x : Tensor
        Any shape.
    approximate : {"none", "tanh"}
        "tanh" computes x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises
    ------
    ValueError
        `approximate` is neither of the two.
    TypeError
        The input is not floating point.

    References
    ----------
    Hendrycks & Gimpel, *Gaussian Error Linear Units*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.gelu(mt.tensor([1.0]))
    tensor([0.84134475])
    """
    check_float(x, "gelu")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}; it must be 'none' or 'tanh'")
    wide = widened(x)
    if approximate == "none":
        share = erf(wide * math.sqrt(0.5)) + 1.0
    else:
        share = tanh((wide + wide * square(wide) * 0.044715) * math.sqrt(2 / math.pi)) + 1.0
    # Halved first, because twice the largest number of a dtype is ∞.
    return narrowed(wide * 0.5 * share, x)


@scoped
def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x), also called swish.

    Raises
    ------
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.silu(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.73105858])
    """
    check_float(x, "silu")
    wide = widened(x)
    return narrowed(wide * sigmoid(wide), x)


@scoped
def mish(x: Tensor) -> Tensor:
    """x · tanh(softplus(x)).

    Raises
    ------
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.mish(mt.tensor([1.0]))
    tensor([0.86509839])
    """
    check_float(x, "mish")
    wide = widened(x)
    return narrowed(wide * tanh(softplus(wide)), x)


@scoped
def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to the range from `min_val` to `max_val`, elementwise; default: from −1 to 1.

    The derivative on a bound is 1; in PyTorch it is 0.

    Raises
    ------
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.hardtanh(mt.tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    check_float(x, "hardtanh")
    return clip(x, min_val, max_val)


@scoped
def norm(x: Tensor, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Vector norm over axes: (Σ |x|ᵖ)^(1/p).

    Where the norm is 0, its gradient is 0, as in PyTorch; JAX gives NaN. This includes norms that are rounded to 0
    because the powers are too small for the dtype. Higher derivatives are 0 there too. So write a squared norm as a
    sum of squares, not as ‖x‖².

    Parameters
    ----------
    x : Tensor
        Any shape; float16 is computed in float32, and integers give float64, as in NumPy.
    axis : int, tuple of int, optional
        The axes to reduce; default: all axes.
    keepdims : bool
        Keep reduced axes with size 1.
    ord : float
        p, at least 1; ``math.inf`` for the largest absolute value.

    Raises
    ------
    ValueError
        `ord` is below 1, or not a number.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norm(mt.tensor([3.0, 4.0])).item()
    5.0
    """
    x = as_operand(x)
    keepdims = check_flag(keepdims, "keepdims", "norm")
    if getattr(ord, "requires_grad", False):
        raise TypeError("norm: ord requires a gradient, which would be lost; pass ord.item()")
    order = plain_number(ord)
    if order is None or not order >= 1:
        raise ValueError(f"norm: ord is {ord!r}; it must be a number of at least 1")
    axes = normalize_axis(axis, x.ndim, "norm")
    return narrowed(_norm(widened(x), axes, keepdims, order), x)


def _norm(x: Tensor, axes: tuple[int, ...], keepdims: bool, ord: float) -> Tensor:
    if ord == math.inf:
        filled_count(x.shape, axes, "norm", "the largest")
        return max(absolute(x), axis=axes, keepdims=keepdims)
    if ord == 1:
        return sum(absolute(x), axis=axes, keepdims=keepdims)
    total = sum(square(x) if ord == 2 else power(absolute(x), ord), axis=axes, keepdims=keepdims)
    # Where all elements are 0, no gradient flows: the infinite slope of the root would give 0 · ∞ = NaN. A mask on each
    # element would be wrong: where one is 0 and others are not, it would lose the curvature.
    if any(zero := equal(total, 0)):
        total = where(zero, 0.0, total)
    return sqrt(total) if ord == 2 else power(total, 1 / ord)
