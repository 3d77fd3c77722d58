"""Functions composed of primitives: variance, softmax, losses. No derivative and no numpy in here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from microtensor.ops import (
    Axis,
    axis_count,
    exp,
    log,
    max,
    mean,
    pick,
    reshape,
    shape_of,
    sqrt,
    square,
    stop_gradient,
    sum,
)
from microtensor.primitive import label, name_scope

if TYPE_CHECKING:
    from microtensor.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def scoped(function: Callable[P, R]) -> Callable[P, R]:
    """Record what `function` does in a scope of its own name, so that a picture can fold it."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with name_scope(function.__name__):
            return function(*args, **kwargs)

    return inside


@scoped
def var(x: Tensor, *, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Variance over axes: the mean of the squares of x − mean(x), times N / (N − correction).

    Two passes, so nothing cancels; the mean inside stays in the graph (its gradient is exactly 0).

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis : int, tuple of int, optional
        The axes to reduce; all of them unless given.
    correction : float
        0 for the biased variance that norms use, 1 for the unbiased one (NumPy's ``ddof``).
    keepdims : bool
        Leave reduced axes with size 1.

    Raises
    ------
    ValueError
        The correction is not smaller than the number of elements, or there are none.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.var(mt.tensor([1.0, 2.0, 3.0])).item()
    0.6666666666666666
    """
    count = axis_count(x.shape, axis)
    if count and correction >= count:
        raise ValueError(f"var: correction {correction} needs more than {count} elements (axis {axis} of {x.shape})")
    centered = label(x - label(mean(x, axis=axis, keepdims=True), "μ"), "x − μ")
    spread = mean(square(centered), axis=axis, keepdims=keepdims)
    if correction:
        spread = spread * (count / (count - correction))
    return label(spread, "σ²")


@scoped
def std(x: Tensor, *, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes: √var(x).

    Where the variance is 0 the derivative of the root is infinite, and the gradient is NaN, as in PyTorch; a
    norm takes √(var + ε) instead.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis, correction, keepdims
        As :func:`var`.

    Raises
    ------
    ValueError
        As :func:`var`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.std(mt.tensor([1.0, 3.0])).item()
    1.0
    """
    return label(sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims)), "σ")


@scoped
def logsumexp(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials over axes: ln Σ eˣ = m + ln Σ eˣ⁻ᵐ with m = max x.

    The shift by m is taken out of the graph: it cancels, in value and in every derivative.

    Parameters
    ----------
    x : Tensor
        Any shape; all values finite.
    axis : int, tuple of int, optional
        The axes to reduce; all of them unless given.
    keepdims : bool
        Leave reduced axes with size 1.

    Raises
    ------
    ValueError
        There are no elements along the axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> round(mt.logsumexp(mt.tensor([1000.0, 1000.0])).item(), 4)
    1000.6931
    """
    shift = label(stop_gradient(max(x, axis=axis, keepdims=True)), "max")
    total = log(sum(exp(x - shift), axis=axis, keepdims=keepdims))
    return total + (shift if keepdims else reshape(shift, shape=total.shape))


@scoped
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Logarithm of the softmax along an axis: x − ln Σ eˣ.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis : int
        The axis of the classes.

    Raises
    ------
    ValueError
        The axis has no elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.log_softmax(mt.tensor([0.0, 0.0]))
    tensor([-0.69314718, -0.69314718])
    """
    return x - logsumexp(x, axis=axis, keepdims=True)


@scoped
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Exponentials normalised to sum 1 along an axis: eˣ / Σ eˣ.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis : int
        The axis of the classes.

    Raises
    ------
    ValueError
        The axis has no elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.softmax(mt.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    return exp(log_softmax(x, axis=axis))


def reduce_loss(values: Tensor, reduction: str) -> Tensor:
    """The loss of a batch from the losses of its elements: their mean, their sum, or as they are."""
    if reduction == "mean":
        return mean(values)
    if reduction == "sum":
        return sum(values)
    if reduction == "none":
        return values
    raise ValueError(f"reduction {reduction!r} is not 'mean', 'sum' or 'none'")


@scoped
def cross_entropy(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """Cross entropy between logits and class indices: −ln softmax(input)[target], averaged over the batch.

    Parameters
    ----------
    input : Tensor
        Logits, shape (N, C).
    target : Tensor or array_like of int
        Class indices in [0, C), shape (N,).
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes do not fit, or the reduction has another name.
    TypeError
        The target is not of integers.
    IndexError
        A class index is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> logits = mt.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(mt.cross_entropy(logits, [0, 1]).item(), 4)
    0.1269
    """
    if input.ndim != 2:
        raise ValueError(f"cross_entropy: logits have shape {input.shape}; (N, C) is needed")
    chosen = pick(log_softmax(input, axis=1), target, axis=1)
    return label(reduce_loss(-chosen, reduction), "loss")


@scoped
def mse_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """Mean squared error: the mean of (input − target)².

    Parameters
    ----------
    input : Tensor
        Any shape.
    target : Tensor or array_like
        The same shape.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes differ, or the reduction has another name.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.mse_loss(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    2.0
    """
    if input.shape != shape_of(target):
        raise ValueError(f"mse_loss: input of shape {input.shape} and target of shape {shape_of(target)} differ")
    return label(reduce_loss(square(input - target), reduction), "loss")
