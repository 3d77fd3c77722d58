"""Losses: how far a prediction is from its target. They are compositions: no derivative and no numpy in here.

A NaN in an input, in a target of floats or in a weight gives NaN. A number out of range raises an error. Where a class
of probability 0 has the log-probability −∞, the product 0 · ∞ counts as 0, which is its limit. PyTorch gives NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from microtensor import checks
from microtensor.core.primitive import TensorBase, label, new_tensor
from microtensor.functional import clip, log_softmax, scoped
from microtensor.ops import (
    absolute,
    any,
    as_array,
    astype,
    broadcast_to,
    equal,
    exp,
    greater,
    log,
    mean,
    pick,
    relu,
    reshape,
    softplus,
    square,
    sum,
    take,
    where,
)
from microtensor.ops.common import ensure, perhaps, traced
from microtensor.ops.indexing import check_indices
from microtensor.support.arrays import own_array, quietly

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

# How far from 1 the probabilities of a target may sum: room for float16, and for thirds typed as 0.33.
SLACK = 0.02


def check_weight(weight: Any, name: str, who: str) -> Any:
    """Weights as a tensor, or as a copy in an array; None stays None.

    Raises
    ------
    ValueError
        A weight is negative.
    """
    if weight is None:
        return None
    weight = _as_constant(weight, f"{who}: {name}")
    ensure(_check_not_negative, weight, f"{who}: {name} holds a negative weight; all must be 0 or more")
    return weight


def _check_not_negative(values: Any, text: str) -> None:
    if any(greater(0, values)):
        raise ValueError(text)


def _reduced(values: Tensor, reduction: str, who: str) -> Tensor:
    """The loss of a batch from the losses of its elements: their mean, their sum, or as they are."""
    checks.check_reduction(reduction, who)
    if reduction == "mean" and not values.size:
        raise ValueError(f"{who}: there are no elements, so there is no mean; use reduction='sum'")
    if reduction != "none":
        values = mean(values) if reduction == "mean" else sum(values)
    return label(values, "loss")


def _as_constant(value: Any, who: str) -> Any:
    """A tensor as it is, anything else as an array of our own."""
    return value if isinstance(value, TensorBase) else own_array(value, who)


def _matched(input: Tensor, target: Any, who: str) -> Any:
    """The target, after checking that it has the shape of the input and that the input is of floats."""
    checks.check_float(input, who)
    target = _as_constant(target, f"{who}: target")
    if input.shape != target.shape:
        raise ValueError(f"{who}: input of shape {input.shape} and target of shape {target.shape} differ")
    return target


def _weighted(values: Tensor, weight: Any, name: str, who: str) -> Tensor:
    """The values times weights that broadcast to their shape."""
    weight = check_weight(weight, name, who)
    if weight is None:
        return values
    sizes = zip(reversed(weight.shape), reversed(values.shape), strict=False)
    if weight.ndim > values.ndim or not all(size in (1, whole) for size, whole in sizes):
        raise ValueError(f"{who}: {name} of shape {weight.shape} does not broadcast to the input's {values.shape}")
    return _product(values, weight)


def _check_probabilities(values: Any, what: str) -> None:
    if any(greater(0, values)) or any(greater(values, 1)):
        raise ValueError(what)


def _product(values: Tensor, factor: Any) -> Tensor:
    """The product, where ∞ · 0 is 0, and so is its gradient."""
    void = equal(factor, 0) & equal(absolute(as_array(values)), math.inf)
    # Only then one operation more, which a picture need not show.
    product: Tensor = (where(void, 0.0, values) if perhaps(void) else values) * factor
    return product


# --- regression -------------------------------------------------------------------------------------------


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
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.mse_loss(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    2.0
    """
    target = _matched(input, target, "mse_loss")
    return _reduced(square(input - target), reduction, "mse_loss")


@scoped
def l1_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """Mean absolute error: the mean of |input − target|. The gradient is 0 where they are equal.

    Parameters
    ----------
    input, target
        As :func:`mse_loss`.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes differ, or the reduction has another name.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.l1_loss(tensor([1.0, 2.0]), [1.0, 5.0]).item()
    1.5
    """
    target = _matched(input, target, "l1_loss")
    return _reduced(absolute(input - target), reduction, "l1_loss")


@scoped
def smooth_l1_loss(input: Tensor, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Absolute error, but squared near 0: d² / 2β for |d| ≤ β, else |d| − β/2, with d = input − target.

    It is the Huber loss divided by β, so its slope is 1 for every β. With β = 0 it is :func:`l1_loss`.

    Parameters
    ----------
    input, target
        As :func:`mse_loss`.
    reduction : {'mean', 'sum', 'none'}
    beta : float
        β, not negative.

    Raises
    ------
    ValueError
        The shapes differ, the reduction has another name, or β is out of range.
    TypeError
        The input is not floating point.

    References
    ----------
    Girshick, *Fast R-CNN*, 2015, equation 3.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.smooth_l1_loss(tensor([1.0, 4.0]), [0.0, 1.0], reduction="none")
    tensor([0.5, 2.5])
    """
    who = "smooth_l1_loss"
    target = _matched(input, target, who)
    beta = checks.check_number(beta, "beta", who, 0)
    values = _huber(input - target, beta) / beta if beta else absolute(input - target)
    return _reduced(values, reduction, who)


@scoped
def huber_loss(input: Tensor, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Squared error, but linear far from 0: d² / 2 for |d| ≤ δ, else δ (|d| − δ/2), with d = input − target.

    Parameters
    ----------
    input, target
        As :func:`mse_loss`.
    reduction : {'mean', 'sum', 'none'}
    delta : float
        δ, above 0.

    Raises
    ------
    ValueError
        The shapes differ, the reduction has another name, or δ is out of range.
    TypeError
        The input is not floating point.

    References
    ----------
    Huber, *Robust Estimation of a Location Parameter*, 1964.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.huber_loss(tensor([1.0, 4.0]), [0.0, 1.0], delta=2.0, reduction="none")
    tensor([0.5, 4. ])
    """
    target = _matched(input, target, "huber_loss")
    values = _huber(input - target, checks.check_positive(delta, "delta", "huber_loss"))
    return _reduced(values, reduction, "huber_loss")


def _huber(difference: Tensor, delta: float) -> Tensor:
    # One formula for both sides of δ: with c = d it is d² / 2, with c = ±δ the straight line.
    clipped = clip(difference, -delta, delta)
    return clipped * (difference - clipped * 0.5)


# --- classes ----------------------------------------------------------------------------------------------


@scoped
def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits and classes: −Σ_c w_c q_c ln softmax(input)_c.

    q is 1 for the target's class and 0 for the others. When the target holds probabilities, q is the target itself.
    Smoothing mixes q with the uniform distribution: (1 − s) q + s/C. For class indices the mean is Σ loss / Σ w, with
    the weight w of each target's class. Ignored targets are left out. For probabilities the mean is over all positions,
    as in PyTorch.

    Parameters
    ----------
    input : Tensor
        Logits, shape (C,), (N, C) or (N, C, d₁, …).
    target : Tensor or array_like
        Class indices: integers in [0, C), of shape (), (N,) or (N, d₁, …). Or probabilities: floats of the shape of
        `input`, whose sum over the classes is 1 to within 0.02.
    weight : Tensor or array_like, optional
        w, one weight per class, shape (C,), not negative.
    ignore_index : int
        Positions with this class index are ignored. It has no effect on probabilities.
    reduction : {'mean', 'sum', 'none'}
    label_smoothing : float
        s, from 0 to 1.

    Raises
    ------
    ValueError
        The shapes do not fit, or a setting is out of range. A weight or a probability is negative, or the probabilities
        do not sum to 1; PyTorch accepts these. The reduction is 'mean' and all targets are ignored.
    TypeError
        The input is not floating point, or class indices or `ignore_index` are not integers.
    IndexError
        A class index is negative or beyond the classes, and is not `ignore_index`.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, 2016, section 7.

    Examples
    --------
    >>> import microtensor as mt
    >>> logits = mt.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(mt.cross_entropy(logits, [0, 1]).item(), 4)
    0.1269
    >>> round(mt.cross_entropy(logits, [[0.9, 0.1], [0.1, 0.9]]).item(), 4)
    0.3269
    """
    who = "cross_entropy"
    target = _as_constant(target, f"{who}: target")
    axis = _class_axis(input, target, who)
    smoothing = checks.check_number(label_smoothing, "label_smoothing", who, 0, 1)
    logp = log_softmax(input, axis=axis)
    if target.dtype.kind != "f":
        return _from_indices(logp, target, weight, ignore_index, reduction, smoothing, axis, who)
    checks.check_integer(ignore_index, "ignore_index", who)
    ensure(_check_distribution, target, axis, who)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[axis]
    if weight is not None:
        target = target * _per_class(weight, logp, axis, who)
    return _reduced(-sum(_product(logp, target), axis=axis), reduction, who)


def _check_distribution(target: Any, axis: int, who: str) -> None:
    target = as_array(target)
    if any(greater(0, target)):
        raise ValueError(f"{who}: the target holds a negative probability; class indices must be integers")
    off = target.sum(axis=axis, dtype=float) - 1.0
    strange = greater(absolute(off), SLACK)
    if any(strange):
        raise ValueError(f"{who}: target probabilities sum to {off[strange][0] + 1:.4g} over axis {axis}; it must be 1")


@scoped
def nll_loss(
    input: Tensor, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log likelihood of class indices: −w_t · input_t, for log-probabilities such as log_softmax gives.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, shape (C,), (N, C) or (N, C, d₁, …).
    target : Tensor or array_like
        Class indices in [0, C), integers of shape (), (N,) or (N, d₁, …).
    weight : Tensor or array_like, optional
        w, one weight per class, shape (C,), not negative.
    ignore_index : int
        Positions with this class index are ignored.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes do not fit, a weight is negative, or the reduction has another name. The reduction is 'mean' and all
        targets are ignored.
    TypeError
        The input is not floating point, or the target or `ignore_index` does not hold integers.
    IndexError
        A class index is negative or beyond the classes, and is not `ignore_index`.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.nll_loss(tensor([[-0.5, -1.0], [-2.0, -0.25]]), [0, 1]).item()
    0.375
    """
    who = "nll_loss"
    target = _as_constant(target, f"{who}: target")
    if target.dtype.kind == "f":
        raise TypeError(f"{who}: target has dtype {target.dtype}; it must hold integers")
    axis = _class_axis(input, target, who)
    return _from_indices(input, target, weight, ignore_index, reduction, 0.0, axis, who)


def _class_axis(input: Tensor, target: Any, who: str) -> int:
    """The axis of the classes, after checking input and target."""
    checks.check_float(input, who)
    if input.ndim == 0:
        raise ValueError(f"{who}: input has shape (); it must be (C,), (N, C) or (N, C, …)")
    axis = 0 if input.ndim == 1 else 1
    positions = input.shape[:axis] + input.shape[axis + 1 :]
    is_float = target.dtype.kind == "f"
    if is_float and target.shape == positions:
        raise TypeError(
            f"{who}: target has dtype {target.dtype}; class indices are integers, "
            f"and probabilities have the shape {input.shape} of the input"
        )
    wanted, what = (input.shape, "probabilities") if is_float else (positions, "class indices")
    if target.shape != wanted:
        raise ValueError(f"{who}: input of shape {input.shape} needs {what} of shape {wanted}, not {target.shape}")
    return axis


def _from_indices(
    logp: Tensor, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float, axis: int, who: str
) -> Tensor:
    """The weighted negative logarithms at the target's classes, mixed with those of all classes."""
    if target.dtype.kind == "b":
        raise TypeError(f"{who}: target has dtype bool; class indices are integers")
    ignore_index = checks.check_integer(ignore_index, "ignore_index", who)
    ignored = equal(target, ignore_index)
    some_ignored = perhaps(ignored)
    # An ignored index need not be a class: class 0 stands in for it, and counts for nothing afterwards.
    index = where(ignored, 0, as_array(target)) if some_ignored else target
    if traced():
        place = f"for axis {axis} with size {logp.shape[axis]}"
        text = f"{who}: a class of the target is out of range: pick: index {{}} is out of range {place}"
        ensure(check_indices, index, 0, logp.shape[axis], text)
    try:
        values = -pick(logp, index, axis=axis)
    except IndexError as error:
        raise IndexError(f"{who}: a class of the target is out of range: {error}") from None
    counted: Any = where(ignored, 0.0, 1.0)
    if traced():
        # A tensor in the one dtype of a program.
        counted = new_tensor(where(ignored, 0.0, astype(1.0, dtype=logp.dtype)))
    if weight is not None:
        wide = _per_class(weight, logp, axis, who)
        if traced():
            chosen = pick(broadcast_to(wide, shape=logp.shape), index, axis=axis)
        else:
            chosen = take(reshape(wide, shape=(-1,)), index)
        values = _product(values, chosen)
        counted = where(ignored, 0.0, chosen)
    if smoothing:
        everywhere = -sum(logp if weight is None else logp * wide, axis=axis)
        values = values * (1 - smoothing) + everywhere * (smoothing / logp.shape[axis])
    if some_ignored:
        values = where(ignored, 0.0, values)
    if reduction != "mean" or (weight is None and not some_ignored):
        return _reduced(values, reduction, who)
    ensure(_check_some_counted, target, ignore_index, who)
    # Means in place of sums, which end at 65,504 in float16. A share is a Python number, which is weak: an array of it
    # would turn float32 into float64.
    share = mean(counted)
    loss: Tensor = mean(values) / (float(share) if weight is None and not traced() else share)
    return label(loss, "loss")


def _check_some_counted(target: Any, ignore_index: int, who: str) -> None:
    if equal(target, ignore_index).all():
        raise ValueError(f"{who}: every target is ignore_index {ignore_index}; the mean is undefined")


def _per_class(weight: Any, logp: Tensor, axis: int, who: str) -> Any:
    """The weights of the classes, lying along their axis."""
    weight = check_weight(weight, "weight", who)
    classes = logp.shape[axis]
    if weight.shape != (classes,):
        raise ValueError(f"{who}: weight has shape {weight.shape}; it must be ({classes},), one for each class")
    return reshape(weight, shape=(classes,) + (1,) * (logp.ndim - axis - 1))


# --- probabilities ----------------------------------------------------------------------------------------


@scoped
def binary_cross_entropy(input: Tensor, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """Cross entropy of two classes, from probabilities: −(t ln x + (1 − t) ln(1 − x)).

    A logarithm below −100 counts as −100, as in PyTorch. Its gradient is 0 here; PyTorch's is ±10¹². NaN in input or
    target gives NaN, as in every other loss; PyTorch raises an error. For logits use
    :func:`binary_cross_entropy_with_logits`, which neither overflows nor rounds to 0.

    Parameters
    ----------
    input : Tensor
        x, probabilities of any shape.
    target : Tensor or array_like
        t, from 0 to 1, of the same shape.
    weight : Tensor or array_like, optional
        The factor of each element's loss, not negative. It broadcasts to the shape of the input.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes do not fit, a value of the input or the target is not in [0, 1], a weight is negative, or the
        reduction has another name.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> round(losses.binary_cross_entropy(tensor([0.9, 0.2]), [1.0, 0.0]).item(), 4)
    0.1643
    """
    who = "binary_cross_entropy"
    target = _matched(input, target, who)
    outside = f"{who}: a value of the {{}} is outside [0, 1]".format
    ensure(_check_probabilities, input, f"{outside('input')}; give logits to binary_cross_entropy_with_logits")
    ensure(_check_probabilities, target, outside("target"))
    values = -(target * _bounded_log(input) + (1 - target) * _bounded_log(1 - input))
    return _reduced(_weighted(values, weight, "weight", who), reduction, who)


def _bounded_log(x: Tensor) -> Tensor:
    # The logarithm sees 1 where x is out of bounds, so that its slope there is not 1/0. NaN is not out of bounds, and
    # 0 is, whatever the bound is in float16.
    inside = ~(equal(x, 0) | greater(math.exp(-100), x))
    bounded: Tensor = where(inside, log(where(inside, x, 1.0)), -100.0)
    return bounded


@scoped
def binary_cross_entropy_with_logits(
    input: Tensor, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Cross entropy of two classes, from logits: −(p t ln σ(x) + (1 − t) ln(1 − σ(x))).

    −ln σ(x) is softplus(−x), which neither overflows nor rounds to 0.

    Parameters
    ----------
    input : Tensor
        x, logits of any shape.
    target : Tensor or array_like
        t, from 0 to 1, of the same shape.
    weight : Tensor or array_like, optional
        The factor of each element's loss, not negative. It broadcasts to the shape of the input.
    reduction : {'mean', 'sum', 'none'}
    pos_weight : Tensor or array_like, optional
        p, the factor of the loss where the target is 1, not negative. It broadcasts to the shape of the input.

    Raises
    ------
    ValueError
        The shapes do not fit, a weight is negative, or the reduction has another name. A target is not in [0, 1];
        PyTorch accepts such a target.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.binary_cross_entropy_with_logits(tensor([1000.0, -1000.0]), [1.0, 1.0]).item()
    500.0
    """
    who = "binary_cross_entropy_with_logits"
    target = _matched(input, target, who)
    ensure(_check_probabilities, target, f"{who}: a value of the target is outside [0, 1]")
    yes = _weighted(_product(softplus(-input), target), pos_weight, "pos_weight", who)
    values = yes + _product(softplus(input), 1 - target)
    return _reduced(_weighted(values, weight, "weight", who), reduction, who)


@scoped
def kl_div(input: Tensor, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the target: t (ln t − input), elementwise; 0 where t is 0.

    Where t is 0, the gradient of the input is 0 too, even if the input is −∞. The gradient of such a target is −input.
    The other term, ln t + 1, is −∞ and is left out. PyTorch gives NaN.

    The divergence of a batch is the sum over the classes, averaged over the batch. This is the reduction 'batchmean'.
    As in PyTorch, 'mean' divides by the number of classes as well.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, any shape.
    target : Tensor or array_like
        t, probabilities of the same shape. With `log_target` it holds their logarithms.
    reduction : {'mean', 'batchmean', 'sum', 'none'}
    log_target : bool
        Whether the target holds logarithms.

    Raises
    ------
    ValueError
        The shapes differ, a probability is negative, or the reduction has another name.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> logp = mt.log_softmax(mt.tensor([[0.0, 0.0]]))
    >>> round(mt.losses.kl_div(logp, [[1.0, 0.0]], reduction="batchmean").item(), 4)
    0.6931
    """
    who = "kl_div"
    target = _matched(input, target, who)
    checks.check_reduction(reduction, who, checks.KL_REDUCTIONS)
    # The logarithm is 0 where t is 0, and 0 · 0 is the limit of t ln t.
    if log_target:
        probability, logarithm = quietly(exp, target), where(equal(target, -math.inf), 0.0, target)
    else:
        ensure(
            _check_not_negative,
            target,
            f"{who}: the target holds negative values; if they are logarithms, use log_target=True",
        )
        probability, logarithm = target, log(where(equal(target, 0), 1.0, target))
    values: Tensor = _product(logarithm - input, probability)
    if reduction != "batchmean":
        return _reduced(values, reduction, who)
    if input.ndim == 0:
        raise ValueError(f"{who}: the input has shape (); for reduction 'batchmean' it must have a batch axis")
    # Not a sum over a count, both of which end at 65,504 in float16.
    return label(mean(values) * (values.size / input.shape[0]), "loss")


# --- margins ----------------------------------------------------------------------------------------------


@scoped
def hinge_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """Hinge loss of a score against a label of ±1: max(0, 1 − t · input).

    Parameters
    ----------
    input : Tensor
        Scores, any shape.
    target : Tensor or array_like
        t, labels 1 or −1, of the same shape.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes differ, a label is not ±1, or the reduction has another name.
    TypeError
        The input is not floating point.

    References
    ----------
    Cortes & Vapnik, *Support-Vector Networks*, 1995.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.hinge_loss(tensor([2.0, 0.5]), [1, -1], reduction="none")
    tensor([0. , 1.5])
    """
    target = _signs(input, target, "hinge_loss")
    return _reduced(relu(1 - target * input), reduction, "hinge_loss")


@scoped
def hinge_embedding_loss(input: Tensor, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Small for close pairs of label 1 and far pairs of −1: input for t = 1, max(0, margin − input) for t = −1.

    Parameters
    ----------
    input : Tensor
        Distances, any shape.
    target : Tensor or array_like
        t, labels 1 or −1, of the same shape.
    margin : float
        A pair of label −1 with at least this distance costs nothing.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The shapes differ, a label is not ±1, or a setting is out of range.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> from microtensor import losses, tensor
    >>> losses.hinge_embedding_loss(tensor([2.0, 0.25]), [1, -1], reduction="none")
    tensor([2.  , 0.75])
    """
    who = "hinge_embedding_loss"
    target = _signs(input, target, who)
    margin = checks.check_number(margin, "margin", who)
    return _reduced(where(equal(target, 1), input, relu(margin - input)), reduction, who)


def _signs(input: Tensor, target: Any, who: str) -> Any:
    target = _matched(input, target, who)
    ensure(_check_signs, target, who)
    return target


def _check_signs(target: Any, who: str) -> None:
    strange = ~(equal(target, 1) | equal(target, -1))
    if any(strange):
        raise ValueError(f"{who}: target holds {as_array(target)[strange][0]}; all labels must be 1 or −1")
