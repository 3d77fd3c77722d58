"""The norms of one sample at a time: layer, instance and group norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.checks import check_array, check_eps, check_float, check_groups
from microtensor.functional import scoped
from microtensor.norms.axes import AXES
from microtensor.norms.running import by_keyword, move_running, normalize_with_running
from microtensor.norms.standard import begin, scale_and_shift, standardize, standardize_with_statistics
from microtensor.ops import mean, reshape
from microtensor.support.axes import Shape, axis_count, sizes
from microtensor.support.modes import no_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


@scoped
def layer_norm(
    x: Tensor, normalized_shape: Shape, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Layer normalization: γ (x − μ) / √(σ² + ε) + β, with the statistics of each sample over its last axes.

    μ = (1/H) Σ x and σ² = (1/H) Σ (x − μ)² over the H elements of `normalized_shape`. Training and prediction are the
    same, and the result for a sample does not depend on the other samples. Apart from ε, a positive factor of the input
    has no effect: LN(αx) = LN(x) for α > 0. For α < 0, LN(αx) = −LN(x).

    Parameters
    ----------
    x : Tensor
        Shape (…, *normalized_shape).
    normalized_shape : int or sequence of int
        The sizes of the last axes. The statistics are taken over these axes.
    weight, bias : Tensor, optional
        γ and β, of shape `normalized_shape`: one for each feature. Group norm has one for each channel.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        The last axes of x are not `normalized_shape`, or the shape of a parameter or eps is wrong.
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
    shape, axes = last_axes(x, normalized_shape, "layer_norm", eps, weight, bias)
    return scale_and_shift(standardize(x, axes, eps), weight, bias, shape)


def last_axes(
    x: Tensor, normalized_shape: Shape, who: str, eps: float | None, *parameters: Tensor | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The normalised shape and its axes, after a check that everything fits this shape."""
    check_float(x, who)
    if eps is not None:
        check_eps(eps, who)
    shape = sizes(normalized_shape, "normalized_shape", who, 1)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"{who}: input of shape {x.shape} does not end in normalized_shape {shape}")
    for parameter in parameters:
        if parameter is None:
            continue
        check_array(parameter, who, "a parameter")
        if parameter.shape != shape:
            raise ValueError(f"{who}: a parameter of shape {parameter.shape} does not fit normalized_shape {shape}")
    return shape, tuple(range(x.ndim - len(shape), x.ndim))


@by_keyword(1)
def instance_norm(
    x: Tensor,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Instance normalization: γ (x − μ) / √(σ² + ε) + β, with statistics per sample and channel over positions.

    For a batch of one image, batch norm gives the same.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …) with at least one axis of positions.
    running_mean, running_var : Tensor, optional
        Shape (C,). They move towards the statistics of the samples, averaged over the batch, as in PyTorch.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    use_input_stats : bool
        Whether the statistics are those of the input. Otherwise they are the running statistics.
    momentum : float
        The weight of the new batch in the running statistics, from 0 to 1.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There is at most one position per channel, or running statistics are missing. Or a shape, eps or momentum is
        wrong.
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
    running = {"running_mean": running_mean, "running_var": running_var}
    axes, shape = begin(who, x, eps, momentum, running, weight=weight, bias=bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError(f"{who}: use_input_stats is False; running_mean and running_var must be given then")
        return normalize_with_running(x, running_mean, running_var, weight, bias, shape, eps)
    count = axis_count(x.shape, axes)
    if count <= 1:
        raise ValueError(f"{who}: input of shape {x.shape} has at most one position per channel; use layer_norm")
    normalized, mu, variance = standardize_with_statistics(x, axes, eps)
    out = scale_and_shift(normalized, weight, bias, shape)
    # A batch of no samples has no mean to move towards.
    if running_mean is not None and running_var is not None and x.shape[0]:
        with no_grad():
            mu, variance = mean(mu, axis=0), mean(variance, axis=0)
        move_running(running_mean, running_var, mu, variance, count, momentum, who)
    return out


@scoped
def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Group normalization: γ (x − μ) / √(σ² + ε) + β, with statistics per sample and group of channels.

    With one group, the statistics are those of layer norm over (C, …). With C groups, they are those of instance norm.
    In both cases γ and β have one entry per channel here; layer norm has one entry per feature. Group norm is not layer
    norm over the channels of one position.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    num_groups : int
        The number of groups. It must divide C.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        The channels cannot be divided into `num_groups`, or a group has one value. Or a shape or eps is wrong.
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
    axes, shape = begin(who, x, eps, weight=weight, bias=bias)
    view = AXES[who].view(x.shape, check_groups(x.shape[1], num_groups, who))
    if axis_count(view, axes) == 1:
        raise ValueError(f"{who}: {num_groups} groups of an input of shape {x.shape} hold 1 value each; use fewer")
    normalized = reshape(standardize(reshape(x, shape=view), axes, eps), shape=x.shape)
    return scale_and_shift(normalized, weight, bias, shape)
