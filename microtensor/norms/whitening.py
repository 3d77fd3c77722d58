"""Whitening: batch norm that removes the correlations between channels too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.checks import check_groups, check_pair, check_running, check_several, check_size
from microtensor.core.ops import narrowed, widened
from microtensor.core.primitive import label
from microtensor.norms.running import NOT_FINITE, by_keyword, commit, moved
from microtensor.norms.standard import begin, scale_and_shift
from microtensor.ops import (
    astype,
    matmul,
    matrix_transpose,
    mean,
    permute_dims,
    reshape,
    sqrt,
    stop_gradient,
    sum,
    where,
)
from microtensor.support.modes import name_scope, no_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


@by_keyword(1)
def whiten(
    x: Tensor,
    *,
    running_mean: Tensor | None = None,
    running_whitening: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    num_groups: int = 1,
    iterations: int = 5,
) -> Tensor:
    """Decorrelated batch normalization: γ Σ^(−½) (x − μ) + β, where Σ is the covariance of the channels.

    Σ is taken over the batch and all positions, plus ε on its diagonal. Σ^(−½) is its symmetric inverse root (ZCA). So
    the channels of x̂ = Σ^(−½) (x − μ) have variance 1 and are uncorrelated. Newton–Schulz iterations on Σ / tr Σ find
    the root by matrix products. So the gradient flows through Σ by the rules of these products.

    The iterations bring the large eigenvalues to 1 first. A small eigenvalue λ takes about log(tr Σ / λ) / (2 log 1.5)
    iterations to reach 1. The default in the paper is 5 iterations; it whitens only the directions with large
    eigenvalues. In float64, 45 iterations are enough for all eigenvalues that are not rounded to 0. Per channel,
    standardising costs N operations and whitening N · C.

    Parameters
    ----------
    x : Tensor
        Shape (N, C) or (N, C, …), with more values per channel than channels in a group.
    running_mean, running_whitening : Tensor, optional
        μ and Σ^(−½) for prediction, shapes (C,) and (groups, C / groups, C / groups). Both or neither must be given.
    weight, bias : Tensor, optional
        γ and β, shape (C,).
    training, momentum
        As :func:`batch_norm`.
    eps : float
        ε, added to the variances.
    num_groups : int
        The number of groups. Channels are whitened within their group. It must divide C. With C groups each channel is
        standardised.
    iterations : int
        The number of Newton–Schulz iterations.

    Raises
    ------
    ValueError
        There is only one value per channel in training, or a shape or a setting is wrong.
    TypeError
        The input is not floating point.

    References
    ----------
    Huang, Yang, Lang & Deng, *Decorrelated Batch Normalization*, 2018.
    Huang, Zhou, Zhu, Liu & Shao, *Iterative Normalization*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([[2.0, 1.0], [-2.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    >>> y = mt.norms.whiten(x, training=True, eps=1e-12, iterations=20)
    >>> (y.mT @ y / 4).numpy().round(6)
    array([[1., 0.],
           [0., 1.]])
    """
    who = "whiten"
    axes, shape = begin(who, x, eps, momentum, {"running_mean": running_mean}, weight=weight, bias=bias)
    check_size(iterations, "iterations", who)
    size = x.shape[1] // check_groups(x.shape[1], num_groups, who)
    wanted = (num_groups, size, size)
    check_pair(running_mean, running_whitening, "running_mean and running_whitening", who)
    check_running(who, running_whitening=running_whitening)
    if running_whitening is not None and running_whitening.shape != wanted:
        raise ValueError(f"{who}: running_whitening has shape {running_whitening.shape}; it must be {wanted}")
    wide = widened(x)
    if running_mean is None or running_whitening is None or training:
        check_several(x.shape, axes, who, training=training)
        with name_scope("statistics") as statistics:
            mu = label(mean(wide, axis=axes, keepdims=True), "μ")
        rows = _as_rows(label(wide - mu, "x − μ"), num_groups)
        with statistics:
            inverse_root = _inverse_root(_covariance(rows, eps), iterations)
    else:
        mu = label(stop_gradient(reshape(running_mean, shape=shape)), "running μ")
        inverse_root = label(stop_gradient(running_whitening), "running Σ^(−½)")
        rows = _as_rows(label(wide - mu, "x − μ"), num_groups)
    normalized = label(narrowed(_from_rows(matmul(inverse_root, rows), x.shape), x), "x̂")
    out = scale_and_shift(normalized, weight, bias, shape)
    if training and running_mean is not None and running_whitening is not None:
        with no_grad():
            new_mean = moved(running_mean, mu, momentum)
            new_whitening = moved(running_whitening, inverse_root, momentum)
        commit(f"{who}: {NOT_FINITE}", (running_mean, new_mean), (running_whitening, new_whitening))
    return out


def _as_rows(x: Tensor, groups: int) -> Tensor:
    """(N, C, …) → (groups, C / groups, N · …): a row for each channel."""
    channels_first = permute_dims(x, axes=(1, 0, *range(2, x.ndim)))
    return reshape(channels_first, shape=(groups, x.shape[1] // groups, -1))


def _from_rows(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    channels_first = reshape(rows, shape=(shape[1], shape[0], *shape[2:]))
    return permute_dims(channels_first, axes=(1, 0, *range(2, len(shape))))


def _covariance(rows: Tensor, eps: float) -> Tensor:
    """Σ + ε I for each group of centred rows."""
    covariance = matmul(rows, matrix_transpose(rows)) / rows.shape[-1]
    return label(covariance + _identity(covariance) * eps, "Σ")


def _inverse_root(matrix: Tensor, iterations: int) -> Tensor:
    """A^(−½) of positive definite matrices by coupled Newton–Schulz iterations.

    With Y₀ = A / tr A and Z₀ = I, Y goes to the root of A / tr A and Z to its inverse. In exact arithmetic Z is the
    paper's P; the coupled form does not let rounding errors grow.
    """
    identity = _identity(matrix)
    trace = label(sum(matrix * identity, axis=(-2, -1), keepdims=True), "tr Σ")
    root, inverse = matrix / trace, identity
    for _ in range(iterations):
        correction = (identity * 3.0 - matmul(inverse, root)) * 0.5
        root, inverse = matmul(root, correction), matmul(correction, inverse)
    return label(inverse / sqrt(trace), "Σ^(−½)")


def _identity(like: Tensor) -> Tensor:
    """The identity matrix of the size and dtype of a tensor's last two axes, as a constant."""
    size = range(like.shape[-1])
    return astype(where([[i == j for j in size] for i in size], 1.0, 0.0), dtype=like.dtype)
