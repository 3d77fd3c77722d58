"""The norms that divide by a magnitude and leave the mean: RMS, scale, filter response and local response norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.checks import check_array, check_channels, check_eps, check_float, check_number, check_size
from microtensor.core.ops import narrowed, widened
from microtensor.core.primitive import label
from microtensor.functional import scoped
from microtensor.norms.axes import AXES
from microtensor.norms.sample import last_axes
from microtensor.norms.standard import as_shape, begin, over_rms, scale_and_shift
from microtensor.ops import avg_pool, machine_epsilon, maximum, pad, power, reshape, sqrt, square, sum
from microtensor.support.axes import Shape, axis_count, check_room
from microtensor.support.modes import name_scope

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


@scoped
def rms_norm(x: Tensor, normalized_shape: Shape, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Root mean square normalization: γ x / √(mean(x²) + ε) over the last axes. The mean is not subtracted.

    If the mean of the input is 0, the result is that of layer norm.

    Parameters
    ----------
    x : Tensor
        Shape (…, *normalized_shape).
    normalized_shape : int or sequence of int
        The sizes of the last axes. The mean square is taken over these axes.
    weight : Tensor, optional
        γ, of shape `normalized_shape`.
    eps : float, optional
        ε, added to the mean square. Default, as in PyTorch: the machine epsilon of the dtype.

    Raises
    ------
    ValueError
        The last axes of x are not `normalized_shape`, or the shape of a parameter or eps is wrong.
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
    shape, axes = last_axes(x, normalized_shape, "rms_norm", eps, weight)
    return scale_and_shift(over_rms(x, axes, machine_epsilon(x) if eps is None else eps), weight, None, shape)


@scoped
def scale_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Scale normalization: γ x / √(Σ x² + ε) over the last axis, with one γ for all.

    Every vector gets the length γ. RMS norm gives it the length √d, and then has a γ for each feature.

    Parameters
    ----------
    x : Tensor
        Shape (…, d).
    weight : Tensor, optional
        γ, shape (). Default: 1.
    eps : float
        ε, added to the squared length. The paper takes the larger of the length and ε instead.

    Raises
    ------
    ValueError
        x has no axes, γ is not a scalar, or eps is not positive.
    TypeError
        The input is not floating point.

    References
    ----------
    Nguyen & Salazar, *Transformers without Tears*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.scale_norm(mt.tensor([[3.0, 4.0]]), mt.tensor(10.0), eps=1e-12)
    tensor([[6., 8.]])
    """
    who = "scale_norm"
    check_float(x, who)
    check_eps(eps, who)
    if x.ndim == 0:
        raise ValueError(f"{who}: input has shape (); it must have at least the axis (d,)")
    if weight is not None:
        check_array(weight, who, "weight")
        if weight.shape != ():
            raise ValueError(f"{who}: γ has shape {weight.shape}; it must be (), one number for all vectors")
    wide = widened(x)
    with name_scope("statistics"):
        square_length = sum(square(wide), axis=AXES[who].statistics(x.ndim), keepdims=True)
        length = label(sqrt(square_length + eps), "‖x‖")
    return scale_and_shift(label(narrowed(wide / length, x), "x̂"), weight, None, ())


@scoped
def filter_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Filter response normalization: max(γ x / √(mean(x²) + ε) + β, τ) over the positions of each channel.

    The maximum with a learnt τ is the thresholded linear unit, TLU. It replaces the activation. Without `threshold`
    there is no maximum. If each channel has one position, x̂ is close to the sign of x. In this case the paper learns
    ε; here, choose a larger ε.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …) with at least one axis of positions.
    weight, bias, threshold : Tensor, optional
        γ, β and τ, shape (C,).
    eps : float
        ε, added to the mean square.

    Raises
    ------
    ValueError
        There are no positions, or a shape or eps is wrong.
    TypeError
        The input is not floating point.

    References
    ----------
    Singh & Krishnan, *Filter Response Normalization Layer*, 2020.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([[[3.0, -3.0]]])
    >>> mt.norms.filter_response_norm(x, threshold=mt.tensor([0.0]), eps=1e-12)
    tensor([[[1., 0.]]])
    """
    axes, shape = begin("filter_response_norm", x, eps, weight=weight, bias=bias, threshold=threshold)
    if not axes:
        raise ValueError(f"filter_response_norm: input of shape {x.shape} has no axis of positions; use rms_norm")
    y = scale_and_shift(over_rms(x, axes, eps), weight, bias, shape)
    return y if threshold is None else maximum(y, as_shape(threshold, shape))


@scoped
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Local response normalization: x / (k + α mean(x²))^β over `size` neighbouring channels.

    Before the first channel and after the last one there are zeros. They count in the mean, as in PyTorch. The paper
    takes the sum, so its α is PyTorch's divided by `size`. A window of even size has one more channel before its centre
    than after it.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    size : int
        The number of channels in a window.
    alpha, beta, k : float
        α, β and k.

    Raises
    ------
    ValueError
        `size` is not positive, another setting is not a finite number, or there is no axis of channels.
    TypeError
        The input is not floating point.

    References
    ----------
    Krizhevsky, Sutskever & Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*, 2012,
    section 3.3.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.local_response_norm(mt.tensor([[1.0, 3.0]]), 1, alpha=1.0, beta=0.5, k=0.0)
    tensor([[1., 1.]])
    """
    who = "local_response_norm"
    check_float(x, who)
    size = check_size(size, "size", who)
    alpha, beta, k = (check_number(n, what, who) for n, what in ((alpha, "alpha"), (beta, "beta"), (k, "k")))
    channels = check_channels(x, who)
    check_room((*x.shape, size), who)
    wide = widened(x)
    with name_scope("statistics"):
        rows = reshape(square(wide), shape=(x.shape[0], 1, channels, axis_count(x.shape, tuple(range(2, x.ndim)))))
        room = pad(rows, [(0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0)])
        mean_square = label(reshape(avg_pool(room, (size, 1), stride=1), shape=x.shape), "mean x²")
    return narrowed(wide / power(mean_square * alpha + k, beta), x)
