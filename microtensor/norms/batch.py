"""The norms over a batch: batch norm, batch norm of parts of a batch, and batch renormalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.checks import check_array, check_number, check_several, check_size
from microtensor.core.ops import narrowed
from microtensor.core.primitive import label
from microtensor.functional import clip
from microtensor.norms.axes import AXES
from microtensor.norms.running import NOT_FINITE, by_keyword, commit, move_running, normalize_with_running
from microtensor.norms.standard import begin, scale_and_shift, standardize_with_statistics
from microtensor.ops import reshape, sqrt, stop_gradient, sum
from microtensor.support.modes import name_scope, no_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


@by_keyword(1)
def batch_norm(
    x: Tensor,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization: γ (x − μ) / √(σ² + ε) + β, with the statistics of each channel over batch and positions.

    With `training`, or without running statistics, the statistics are those of the batch. Otherwise they are the
    running statistics, which are constants.

    In training the running statistics move towards those of the batch: ``r = (1 − momentum) · r + momentum · batch``.
    As in PyTorch, they take the unbiased variance (1/(N − 1)), and the batch is normalised with the biased one (1/N).
    After t steps the initial value has the weight (1 − momentum)ᵗ.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    running_mean, running_var : Tensor, optional
        Shape (C,). Give both or neither.
    weight, bias : Tensor, optional
        γ and β, shape (C,). All positions of a channel share them.
    training : bool
        Whether the statistics are those of the batch. It does not matter whether gradients are recorded.
    momentum : float
        The weight of the new batch in the running statistics, from 0 to 1. Keras's momentum is the weight of the old
        value.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There is only one value per channel in training, so it would always become 0. Or a shape, eps or momentum is
        wrong.
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
    running = {"running_mean": running_mean, "running_var": running_var}
    axes, shape = begin(who, x, eps, momentum, running, weight=weight, bias=bias)
    if not training and running_mean is not None and running_var is not None:
        return normalize_with_running(x, running_mean, running_var, weight, bias, shape, eps)
    count = check_several(x.shape, axes, who, training=training)
    normalized, mu, variance = standardize_with_statistics(x, axes, eps)
    out = scale_and_shift(normalized, weight, bias, shape)
    if running_mean is not None and running_var is not None:
        move_running(running_mean, running_var, mu, variance, count, momentum, who)
    return out


@by_keyword(2)
def ghost_batch_norm(
    x: Tensor,
    ghost_size: int,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Ghost batch normalization: γ (x − μ) / √(σ² + ε) + β, with the statistics of each part of a batch.

    The batch is cut into parts of `ghost_size` samples. So a large batch keeps the sampling noise of a small one. The
    running statistics move once for each part, in order, as if the parts were batches.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    ghost_size : int
        The number of samples in a part. It must divide N. If it is N, the result is that of :func:`batch_norm`.
    running_mean, running_var : Tensor, optional
        Shape (C,). Give both or neither.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    training, momentum, eps
        As :func:`batch_norm`.

    Raises
    ------
    ValueError
        N cannot be cut into such parts, or a part has only one value per channel. Or a shape, eps or momentum is wrong.
    TypeError
        The input is not floating point.

    References
    ----------
    Hoffer, Hubara & Soudry, *Train Longer, Generalize Better*, 2017, algorithm 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.ghost_batch_norm(mt.tensor([[1.0], [3.0], [10.0], [30.0]]), 2, training=True, eps=1e-12).T
    tensor([[-1.,  1., -1.,  1.]])
    """
    who = "ghost_batch_norm"
    running = {"running_mean": running_mean, "running_var": running_var}
    axes, shape = begin(who, x, eps, momentum, running, weight=weight, bias=bias)
    if not training and running_mean is not None and running_var is not None:
        return normalize_with_running(x, running_mean, running_var, weight, bias, shape, eps)
    if x.shape[0] % check_size(ghost_size, "ghost_size", who):
        raise ValueError(
            f"{who}: {x.shape[0]} samples (axis 0 of shape {x.shape}) cannot be cut into parts of {ghost_size}; use a "
            "ghost_size that divides the batch, and drop_last=True if only the last batch is smaller"
        )
    parts = x.shape[0] // ghost_size
    view = AXES[who].view(x.shape, parts)
    count = check_several(view, axes, who, training=training)
    normalized, mu, variance = standardize_with_statistics(reshape(x, shape=view), axes, eps)
    out = scale_and_shift(reshape(normalized, shape=x.shape), weight, bias, shape)
    if running_mean is not None and running_var is not None:
        # What is left of part i after the later parts: the moves one by one, summed up.
        with no_grad(), name_scope("running"):
            weights = [[momentum * (1 - momentum) ** (parts - 1 - i)] for i in range(parts)]
            kept = (1 - momentum) ** parts
            means = sum(reshape(mu, shape=(parts, -1)) * weights, axis=0)
            variances = sum(reshape(variance * (count / (count - 1)), shape=(parts, -1)) * weights, axis=0)
            new_mean, new_var = running_mean * kept + means, running_var * kept + variances
        commit(f"{who}: {NOT_FINITE}", (running_mean, new_mean), (running_var, new_var))
    return out


@by_keyword(1)
def batch_renorm(
    x: Tensor,
    *,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.01,
    eps: float = 1e-3,
    r_max: float = 3.0,
    d_max: float = 5.0,
) -> Tensor:
    """Batch renormalization: γ ((x − μ) / √(σ² + ε) · r + d) + β, close to the result in prediction.

    r = σ_batch / σ_running is limited to values from 1/r_max to r_max. d = (μ_batch − μ_running) / σ_running is limited
    to values from −d_max to d_max. Both count as constants for the gradient. The gradient flows through the statistics
    of the batch. If neither r nor d is at its bound, the result is the same as with the running statistics. With
    ``r_max=1, d_max=0`` the result is that of :func:`batch_norm`. The paper starts with these bounds and widens them to
    3 and 5 in training.

    The paper averages σ over batches. This function averages the unbiased σ², so it has the same state as batch norm.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …).
    running_mean, running_var : Tensor
        Shape (C,). r and d are computed before this batch changes them.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    training : bool
        Whether the statistics of the batch are used. Otherwise the running statistics are used, as constants.
    momentum, eps : float
        As :func:`batch_norm`. The defaults are the paper's.
    r_max, d_max : float
        The bounds of r and d. `r_max` must be at least 1, and `d_max` at least 0.

    Raises
    ------
    ValueError
        There is only one value per channel in training, or a shape or a setting is wrong.
    TypeError
        The input is not floating point.

    References
    ----------
    Ioffe, *Batch Renormalization*, 2017, algorithm 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([[1.0], [3.0]])
    >>> mt.norms.batch_renorm(
    ...     x, running_mean=mt.tensor([1.0]), running_var=mt.tensor([4.0]), training=True, eps=1e-12
    ... )
    tensor([[0.],
            [1.]])
    """
    who = "batch_renorm"
    running: dict[str, Tensor | None] = {"running_mean": running_mean, "running_var": running_var}
    for name, value in running.items():
        check_array(value, who, name)
    axes, shape = begin(who, x, eps, momentum, running, weight=weight, bias=bias)
    r_max, d_max = check_number(r_max, "r_max", who, 1.0), check_number(d_max, "d_max", who, 0.0)
    if not training:
        return normalize_with_running(x, running_mean, running_var, weight, bias, shape, eps)
    count = check_several(x.shape, axes, who)
    normalized, mu, variance = standardize_with_statistics(x, axes, eps)
    with no_grad(), name_scope("correction"):
        sigma = sqrt(reshape(running_var, shape=shape) + eps)
        r = clip(sqrt(variance + eps) / sigma, 1 / r_max, r_max)
        d = clip((mu - reshape(running_mean, shape=shape)) / sigma, -d_max, d_max)
    corrected = normalized * label(stop_gradient(r), "r") + label(stop_gradient(d), "d")
    out = scale_and_shift(label(narrowed(corrected, x), "corrected x̂"), weight, bias, shape)
    move_running(running_mean, running_var, mu, variance, count, momentum, who)
    return out
