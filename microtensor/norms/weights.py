"""The norms of a weight: weight norm, spectral norm and weight standardization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.checks import check_eps, check_float, check_integer, check_running
from microtensor.core.primitive import label
from microtensor.functional import norm, scoped
from microtensor.norms.axes import AXES
from microtensor.norms.running import commit
from microtensor.norms.standard import standardize
from microtensor.ops import matmul, maximum, permute_dims, reshape, sqrt, square, stop_gradient, sum
from microtensor.ops.common import one_axis
from microtensor.support.axes import axis_count
from microtensor.support.modes import name_scope, no_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


@scoped
def weight_norm(v: Tensor, g: Tensor, dim: int | None = 0) -> Tensor:
    """Weight normalization: g v / ‖v‖, with the length g and the direction v of the weights of each output.

    The gradient of v is orthogonal to v, so a step of gradient descent never makes v shorter. Where v is all zeros the
    result is NaN, as in PyTorch.

    Parameters
    ----------
    v : Tensor
        Shape (out, in, …).
    g : Tensor
        Shape (out, 1, …): the shape of v, with 1 for every axis except `dim`. If `dim` is None, the shape is ().
    dim : int, optional
        The axis of the outputs. None: all of v has one length.

    Raises
    ------
    ValueError
        g has another shape.
    TypeError
        v is not floating point.

    References
    ----------
    Salimans & Kingma, *Weight Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.weight_norm(mt.tensor([[3.0, 4.0]]), mt.tensor([[10.0]]))
    tensor([[6., 8.]])
    """
    check_float(v, "weight_norm", "v")
    check_float(g, "weight_norm", "g")
    length = weight_length(v, dim)
    if g.shape != length.shape:
        raise ValueError(f"weight_norm: g has shape {g.shape}; for v {v.shape} and dim {dim} it must be {length.shape}")
    return label(v / length, "v / ‖v‖") * g


def weight_length(v: Tensor, dim: int | None) -> Tensor:
    """‖v‖ for each entry of axis `dim`, in the shape of g."""
    if dim is None:
        return label(sqrt(sum(square(v))), "‖v‖")
    return label(sqrt(sum(square(v), axis=_all_but(dim, v.ndim, "weight_norm"), keepdims=True)), "‖v‖")


def _all_but(dim: int, ndim: int, who: str) -> tuple[int, ...]:
    """The axes of the statistics of a weight whose axis of outputs is `dim`; the table has it first."""
    kept = one_axis(dim, ndim, who, "dim")
    return tuple(i for i in range(ndim) if i != kept)


@scoped
def spectral_norm(
    weight: Tensor, u: Tensor, v: Tensor, n_power_iterations: int = 1, eps: float = 1e-12, dim: int = 0
) -> Tensor:
    """Spectral normalization: W / σ, σ = uᵀ W v, the largest singular value of the weight as a matrix.

    Power iteration moves u and v towards the singular vectors of σ: v = Wᵀu / ‖Wᵀu‖ and u = Wv / ‖Wv‖. They are
    constants for the gradient. Each step of training moves them a little, and they are kept for the next step. The
    gradient flows through σ.

    Parameters
    ----------
    weight : Tensor
        W. As a matrix it has `dim` as its rows, and all other axes together as its columns.
    u, v : Tensor
        Shapes (rows,) and (columns,). They get their new values, unless these are not finite.
    n_power_iterations : int
        The number of steps. With 0, as in prediction, u and v stay as they are.
    eps : float
        A vector is divided by at least this length.
    dim : int
        The axis of the outputs.

    Raises
    ------
    ValueError
        u or v has another shape, or a setting is wrong.
    TypeError
        The weight is not floating point.

    References
    ----------
    Miyato, Kataoka, Koyama & Yoshida, *Spectral Normalization*, 2018, algorithm 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> u, v = mt.tensor([1.0, 0.0]), mt.tensor([1.0, 0.0])
    >>> mt.norms.spectral_norm(mt.tensor([[4.0, 0.0], [0.0, 2.0]]), u, v)
    tensor([[1. , 0. ],
            [0. , 0.5]])
    """
    who = "spectral_norm"
    check_float(weight, who, "weight")
    check_running(who, u=u, v=v)
    check_eps(eps, who)
    if check_integer(n_power_iterations, "n_power_iterations", who) < 0:
        raise ValueError(f"{who}: n_power_iterations is {n_power_iterations}; it must be an integer, at least 0")
    matrix = as_matrix(weight, dim)
    if u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
        raise ValueError(f"{who}: u {u.shape} and v {v.shape} do not fit the matrix {matrix.shape} of the weight")
    left, right = u, v
    if n_power_iterations:
        with no_grad(), name_scope("power iteration"):
            for _ in range(n_power_iterations):
                right = _unit(matmul(left, matrix), eps)
                left = _unit(matmul(matrix, right), eps)
        commit(f"{who}: the weight is not finite; u and v stay as they were", (u, left), (v, right))
    left, right = label(stop_gradient(left), "u"), label(stop_gradient(right), "v")
    sigma = matmul(left, matmul(matrix, right))
    return weight / label(sigma, "σ")


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix: axis `dim` by all others."""
    others = _all_but(dim, weight.ndim, "spectral_norm")
    first = one_axis(dim, weight.ndim, "spectral_norm", "dim")
    if first:
        weight = permute_dims(weight, axes=(first, *others))
    return weight if weight.ndim == 2 else reshape(weight, shape=(weight.shape[0], -1))


def _unit(x: Tensor, eps: float) -> Tensor:
    return x / maximum(norm(x), eps)


@scoped
def weight_standardize(weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Weight standardization: (W − μ) / √(σ² + ε), with the statistics of each output over all its weights.

    Use it for a convolution in front of a group norm. Initial weights have about the variance 1 / fan-in. ε is not
    small compared with it: with 1000 weights per output, ε = 1e-5 makes the result half a percent smaller.

    Parameters
    ----------
    weight : Tensor
        W, shape (out, in, …).
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There is at most one weight per output, or eps is wrong.
    TypeError
        The weight is not floating point.

    References
    ----------
    Qiao, Wang, Liu, Shen & Yuille, *Weight Standardization*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.weight_standardize(mt.tensor([[1.0, 3.0]]), eps=1e-12)
    tensor([[-1.,  1.]])
    """
    who = "weight_standardize"
    check_float(weight, who, "weight")
    check_eps(eps, who)
    axes = AXES[who].statistics(weight.ndim)
    if weight.ndim < 2 or axis_count(weight.shape, axes) < 2:
        raise ValueError(f"{who}: weight of shape {weight.shape} must have at least two values per output")
    return standardize(weight, axes, eps)
