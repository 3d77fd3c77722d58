"""The normalizations: one line that all share, and for each norm the choice of axes.

Every norm is a composition of mean, square and √, so gradients flow through the statistics by themselves.
No derivative and no numpy in here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from microtensor.functional import scoped
from microtensor.ops import astype, axis_count, machine_epsilon, mean, normalize_axis, reshape, sqrt, square
from microtensor.primitive import is_finite, label, name_scope, no_grad

if TYPE_CHECKING:
    from microtensor.tensor import Tensor


@dataclass(frozen=True)
class Axes:
    """One row of the axes table: what a norm takes its statistics over.

    Attributes
    ----------
    name : str
        The function.
    sentence : str
        The choice in words, for an input of axes (N, C, …).
    statistics : callable
        From the number of axes to the axes of the statistics. Group norm's are those of the input reshaped to
        (N, groups, C / groups, …).
    centers : bool
        Whether the mean is taken out.
    affine : str
        The shape of γ and β.
    """

    name: str
    sentence: str
    statistics: Callable[[int], tuple[int, ...]]
    centers: bool
    affine: str


AXES: dict[str, Axes] = {
    row.name: row
    for row in (
        Axes(
            "batch_norm",
            "one mean and variance a channel, over the batch and all positions",
            lambda ndim: (0, *range(2, ndim)),
            True,
            "(C,)",
        ),
        Axes(
            "layer_norm",
            "one mean and variance a sample, over all its features",
            lambda ndim: tuple(range(1, ndim)),
            True,
            "normalized_shape",
        ),
        Axes(
            "instance_norm",
            "one mean and variance a sample and channel, over all positions",
            lambda ndim: tuple(range(2, ndim)),
            True,
            "(C,)",
        ),
        Axes(
            "group_norm",
            "one mean and variance a sample and group of channels, over the group and all positions",
            lambda ndim: tuple(range(2, ndim + 1)),
            True,
            "(C,)",
        ),
        Axes(
            "rms_norm",
            "one root mean square a sample, over all its features; the mean stays",
            lambda ndim: tuple(range(1, ndim)),
            False,
            "normalized_shape",
        ),
    )
}


def standardize(x: Tensor, axis: int | tuple[int, ...], eps: float = 1e-5) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over axes: x̂ = (x − μ) / √(σ² + ε).

    The line that all norms share; a norm only chooses the axes. μ and the biased variance σ² stay in the
    graph, so the gradient has no component along 1 and next to none along x̂.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis : int or tuple of int
        The axes over which the statistics are taken.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There are no elements along the axes.

    References
    ----------
    Goodfellow, Bengio & Courville, *Deep Learning*, 2016, section 8.7.1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.standardize(mt.tensor([[1.0], [3.0]]), axis=0, eps=1e-12)
    tensor([[-1.],
            [ 1.]])
    """
    return _standardize(x, axis, eps)[0]


def _standardize(x: Tensor, axis: int | tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x̂, and the μ and σ² it was made with."""
    wide = _widened(x)
    with name_scope("statistics") as statistics:
        mu = label(mean(wide, axis=axis, keepdims=True), "μ")
    centered = label(wide - mu, "x − μ")
    with statistics:
        with name_scope("var"):
            variance = label(mean(square(centered), axis=axis, keepdims=True), "σ²")
        sigma = label(sqrt(variance + eps), "σ")
    return label(_narrowed(centered / sigma, x), "x̂"), mu, variance


def _widened(x: Tensor) -> Tensor:
    """The input itself, or as float32 when it is float16, whose squares overflow from 256 on."""
    return astype(x, dtype="float32") if x.dtype == "float16" else x


def _narrowed(result: Tensor, x: Tensor) -> Tensor:
    return result if result.dtype == x.dtype else astype(result, dtype=x.dtype)


def _scale_and_shift(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    """γ x + β, either of them optional, after reshaping γ and β to `shape`."""
    if weight is not None:
        x = x * _as_shape(weight, shape)
    if bias is not None:
        x = x + _as_shape(bias, shape)
    return x


def _as_shape(parameter: Tensor, shape: Sequence[int]) -> Tensor:
    # A shape that broadcasts as it is needs no reshape, which would be one more node to read.
    wanted = tuple(shape)
    trailing = wanted[len(wanted) - parameter.ndim :]
    return parameter if parameter.shape == trailing else reshape(parameter, shape=wanted)


def _channels(x: Tensor, who: str, *parameters: Tensor | None) -> int:
    if x.ndim < 2:
        raise ValueError(f"{who}: input has shape {x.shape}; at least (N, C) is needed")
    channels = x.shape[1]
    for parameter in parameters:
        if parameter is not None and parameter.shape != (channels,):
            raise ValueError(
                f"{who}: input has {channels} channels (axis 1 of shape {x.shape}) but a parameter has shape "
                f"{parameter.shape}"
            )
    return channels


def _check_float(x: Tensor, who: str) -> None:
    if x.dtype.kind != "f":
        raise TypeError(f"{who}: input has dtype {x.dtype}; convert it first with .astype(float)")


def check_eps(eps: float, who: str) -> float:
    """ε as a float.

    Raises
    ------
    ValueError
        It is not a positive finite number.
    """
    if isinstance(eps, bool) or not isinstance(eps, Real) or not math.isfinite(eps) or eps <= 0:
        raise ValueError(f"{who}: eps is {eps!r}; a positive finite number is needed")
    return float(eps)


def check_momentum(momentum: float, who: str) -> float:
    """The weight of the new batch as a float.

    Raises
    ------
    ValueError
        It is not a number from 0 to 1.
    """
    if isinstance(momentum, bool) or not isinstance(momentum, Real) or not 0 <= momentum <= 1:
        raise ValueError(f"{who}: momentum is {momentum!r}; a number from 0 to 1 is needed")
    return float(momentum)


def _per_channel(x: Tensor, channels: int) -> tuple[int, ...]:
    return (1, channels) + (1,) * (x.ndim - 2)


@scoped
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization: standardise each channel over the batch and all positions, then γ x̂ + β.

    With `training`, or without running statistics, the statistics are those of the batch; otherwise the
    running ones, as constants. With both, the running statistics move towards those of the batch,
    ``r = (1 − momentum) · r + momentum · batch``, with the *unbiased* variance, as in PyTorch; the batch
    itself is normalised with the biased one. `momentum` is the weight of the new batch (Keras's is the
    weight of the old value).

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    running_mean, running_var : Tensor, optional
        Shape (C,).
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    training : bool
    momentum : float
        In [0, 1].
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        One value a channel in training, which leaves nothing of the input; a wrong shape, eps or momentum.
    TypeError
        The input is not floating point.

    References
    ----------
    Ioffe & Szegedy, *Batch Normalization*, 2015, algorithm 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.batch_norm(mt.tensor([[1.0], [3.0]]), training=True, eps=1e-12)
    tensor([[-1.],
            [ 1.]])
    """
    who = "batch_norm"
    _check_float(x, who)
    check_eps(eps, who)
    channels = _channels(x, who, running_mean, running_var, weight, bias)
    check_momentum(momentum, who)
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: running_mean and running_var go together; only one of them was given")
    axes = AXES[who].statistics(x.ndim)
    shape = _per_channel(x, channels)
    if running_mean is None or running_var is None:
        _check_several(x, axes)
        return _scale_and_shift(standardize(x, axes, eps), weight, bias, shape)
    if not training:
        return _scale_and_shift(_with_running(x, running_mean, running_var, shape, eps), weight, bias, shape)
    count = _check_several(x, axes)
    normalized, mu, variance = _standardize(x, axes, eps)
    out = _scale_and_shift(normalized, weight, bias, shape)
    _move_running(running_mean, running_var, mu, variance, count, momentum, who)
    return out


def _with_running(x: Tensor, running_mean: Tensor, running_var: Tensor, shape: tuple[int, ...], eps: float) -> Tensor:
    mu = label(reshape(running_mean, shape=shape), "running μ")
    sigma = label(sqrt(reshape(running_var, shape=shape) + eps), "running σ")
    return label((x - mu) / sigma, "x̂")


def _check_several(x: Tensor, axes: tuple[int, ...]) -> int:
    count = axis_count(x.shape, axes)
    if count == 1:
        raise ValueError(
            f"batch_norm: 1 value a channel over axes {axes} of shape {x.shape}: its mean is itself and nothing is "
            "left. Use a bigger batch, drop_last=True, eval(), or LayerNorm or GroupNorm"
        )
    return count


def _move_running(
    running_mean: Tensor, running_var: Tensor, mu: Tensor, variance: Tensor, count: int, momentum: float, who: str
) -> None:
    with no_grad():
        unbiased = variance * (count / (count - 1))
        new_mean = running_mean * (1 - momentum) + reshape(mu, shape=running_mean.shape) * momentum
        new_var = running_var * (1 - momentum) + reshape(unbiased, shape=running_var.shape) * momentum
    if not (is_finite(new_mean) and is_finite(new_var)):
        warnings.warn(
            f"{who}: the batch has NaN or infinite statistics; the running statistics stay as they were",
            RuntimeWarning,
            stacklevel=4,
        )
        return
    running_mean.assign_(new_mean)
    running_var.assign_(new_var)


@scoped
def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalization: standardise each sample over its last axes, then γ x̂ + β.

    Unlike batch norm it sees one sample at a time, so training and prediction are the same.

    Parameters
    ----------
    x : Tensor
        Shape (…, *normalized_shape).
    normalized_shape : int or sequence of int
        The sizes of the last axes, over which the statistics are taken.
    weight, bias : Tensor, optional
        γ and β, of shape `normalized_shape`.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        The last axes of x are not `normalized_shape`; a wrong parameter shape or eps.
    TypeError
        The input is not floating point.

    References
    ----------
    Ba, Kiros & Hinton, *Layer Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.layer_norm(mt.tensor([[1.0, 3.0]]), 2, eps=1e-12)
    tensor([[-1.,  1.]])
    """
    shape, axes = _trailing(x, normalized_shape, "layer_norm", eps, weight, bias)
    return _scale_and_shift(standardize(x, axes, eps), weight, bias, shape)


def _trailing(
    x: Tensor, normalized_shape: int | Sequence[int], who: str, eps: float | None, *parameters: Tensor | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The normalised shape and its axes, after checking that everything fits it."""
    _check_float(x, who)
    if eps is not None:
        check_eps(eps, who)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"{who}: input of shape {x.shape} does not end in normalized_shape {shape}")
    for parameter in parameters:
        if parameter is not None and parameter.shape != shape:
            raise ValueError(f"{who}: a parameter of shape {parameter.shape} does not fit normalized_shape {shape}")
    return shape, normalize_axis(tuple(range(-len(shape), 0)), x.ndim, who)


@scoped
def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Instance normalization: standardise each channel of each sample over its positions, then γ x̂ + β.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …) with at least one axis of positions.
    running_mean, running_var : Tensor, optional
        Shape (C,); they move towards the statistics of the samples, averaged over the batch, as in PyTorch.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    use_input_stats : bool
        Use the statistics of the input, not the running ones.
    momentum : float
        Weight of the new batch in the running statistics, in [0, 1].
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There is at most one position a channel; running statistics are missing; a wrong shape, eps or momentum.
    TypeError
        The input is not floating point.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky, *Instance Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.instance_norm(mt.tensor([[[1.0, 3.0]]]), eps=1e-12)
    tensor([[[-1.,  1.]]])
    """
    who = "instance_norm"
    _check_float(x, who)
    check_eps(eps, who)
    check_momentum(momentum, who)
    channels = _channels(x, who, running_mean, running_var, weight, bias)
    axes = AXES[who].statistics(x.ndim)
    shape = _per_channel(x, channels)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: without the statistics of the input both running ones are needed")
        return _scale_and_shift(_with_running(x, running_mean, running_var, shape, eps), weight, bias, shape)
    count = axis_count(x.shape, axes)
    if count <= 1:
        raise ValueError(
            f"instance_norm: input of shape {x.shape} has at most one position a channel, and nothing would be left; "
            "use layer_norm or group_norm"
        )
    normalized, mu, variance = _standardize(x, axes, eps)
    out = _scale_and_shift(normalized, weight, bias, shape)
    if running_mean is not None and running_var is not None:
        with no_grad():
            mu, variance = mean(mu, axis=0), mean(variance, axis=0)
        _move_running(running_mean, running_var, mu, variance, count, momentum, who)
    return out


@scoped
def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalization: standardise groups of channels of each sample, over group and positions; γ x̂ + β.

    One group takes the statistics of layer norm over (C, …), and as many groups as channels those of
    instance norm; γ and β have one entry a channel all the same.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    num_groups : int
        Must divide C.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        The channels cannot be divided into `num_groups`; a wrong shape or eps.
    TypeError
        The input is not floating point.

    References
    ----------
    Wu & He, *Group Normalization*, 2018.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.group_norm(mt.tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=1e-12)
    tensor([[-1.,  1., -1.,  1.]])
    """
    who = "group_norm"
    _check_float(x, who)
    check_eps(eps, who)
    channels = _channels(x, who, weight, bias)
    if num_groups <= 0 or channels % num_groups:
        raise ValueError(f"group_norm: {channels} channels cannot be divided into {num_groups} groups")
    grouped = reshape(x, shape=(x.shape[0], num_groups, channels // num_groups, *x.shape[2:]))
    normalized = reshape(standardize(grouped, AXES[who].statistics(x.ndim), eps), shape=x.shape)
    return _scale_and_shift(normalized, weight, bias, _per_channel(x, channels))


@scoped
def rms_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Root mean square normalization: x / √(mean(x²) + ε) · γ over the last axes; the mean stays.

    Parameters
    ----------
    x : Tensor
        Shape (…, *normalized_shape).
    normalized_shape : int or sequence of int
        The sizes of the last axes, over which the mean square is taken.
    weight : Tensor, optional
        γ, of shape `normalized_shape`.
    eps : float, optional
        ε; the machine epsilon of the dtype unless given, as in PyTorch.

    Raises
    ------
    ValueError
        The last axes of x are not `normalized_shape`; a wrong parameter shape or eps.
    TypeError
        The input is not floating point.

    References
    ----------
    Zhang & Sennrich, *Root Mean Square Layer Normalization*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.rms_norm(mt.tensor([[3.0, 3.0]]), 2)
    tensor([[1., 1.]])
    """
    shape, axes = _trailing(x, normalized_shape, "rms_norm", eps, weight)
    wide = _widened(x)
    with name_scope("statistics"):
        mean_square = label(mean(square(wide), axis=axes, keepdims=True), "mean x²")
        rms = label(sqrt(mean_square + (machine_epsilon(x) if eps is None else eps)), "rms")
    return _scale_and_shift(label(_narrowed(wide / rms, x), "x̂"), weight, None, shape)
