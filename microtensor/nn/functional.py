"""PyTorch's names for the functions that layers are made of."""
# ruff: noqa: F403

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microtensor import hints as _hints
from microtensor import norms as _norms
from microtensor import ops as _ops
from microtensor.functional import elu as elu
from microtensor.functional import gelu as gelu
from microtensor.functional import hardtanh as hardtanh
from microtensor.functional import leaky_relu as leaky_relu
from microtensor.functional import log_softmax as log_softmax
from microtensor.functional import logsumexp as logsumexp
from microtensor.functional import mish as mish
from microtensor.functional import selu as selu
from microtensor.functional import silu as silu
from microtensor.functional import softmax as softmax
from microtensor.losses import *
from microtensor.nn.activation import softplus as softplus
from microtensor.nn.attention import scaled_dot_product_attention as scaled_dot_product_attention
from microtensor.nn.dropout import dropout as dropout
from microtensor.norms import batch_renorm as batch_renorm
from microtensor.norms import filter_response_norm as filter_response_norm
from microtensor.norms import ghost_batch_norm as ghost_batch_norm
from microtensor.norms import group_norm as group_norm
from microtensor.norms import layer_norm as layer_norm
from microtensor.norms import local_response_norm as local_response_norm
from microtensor.norms import rms_norm as rms_norm
from microtensor.norms import scale_norm as scale_norm
from microtensor.norms import spectral_norm as spectral_norm
from microtensor.norms import standardize as standardize
from microtensor.norms import weight_norm as weight_norm
from microtensor.norms import weight_standardize as weight_standardize
from microtensor.norms import whiten as whiten
from microtensor.ops import adaptive_avg_pool as adaptive_avg_pool
from microtensor.ops import avg_pool as avg_pool
from microtensor.ops import conv1d as conv1d
from microtensor.ops import conv2d as conv2d
from microtensor.ops import conv_transpose2d as conv_transpose2d
from microtensor.ops import embedding as embedding
from microtensor.ops import max_pool as max_pool
from microtensor.ops import relu as relu
from microtensor.ops import sigmoid as sigmoid
from microtensor.ops import tanh as tanh
from microtensor.ops import unfold as unfold
from microtensor.ops.windows import Size as Size
from microtensor.ops.windows import of_batch as _of_batch

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


def batch_norm(
    x: "Tensor",
    running_mean: "Tensor | None",
    running_var: "Tensor | None",
    weight: "Tensor | None" = None,
    bias: "Tensor | None" = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> "Tensor":
    """:func:`microtensor.norms.batch_norm` with PyTorch's order of arguments: running statistics before γ and β.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.batch_norm(mt.tensor([[3.0]]), mt.tensor([1.0]), mt.tensor([4.0]), eps=1e-12)
    tensor([[1.]])
    """
    return _norms.batch_norm(
        x,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
        training=training,
        momentum=momentum,
        eps=eps,
    )


def instance_norm(
    x: "Tensor",
    running_mean: "Tensor | None" = None,
    running_var: "Tensor | None" = None,
    weight: "Tensor | None" = None,
    bias: "Tensor | None" = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> "Tensor":
    """:func:`microtensor.norms.instance_norm` with PyTorch's order of arguments: running statistics before γ and β.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.instance_norm(mt.tensor([[[1.0, 3.0]]]), eps=1e-12)
    tensor([[[-1.,  1.]]])
    """
    return _norms.instance_norm(
        x,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
        use_input_stats=use_input_stats,
        momentum=momentum,
        eps=eps,
    )


def linear(x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
    """x Wᵀ + b, over the last axis of x. `weight` has shape (outputs, inputs) and `bias` (outputs,).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.linear(mt.tensor([1.0, 2.0]), mt.tensor([[3.0, 4.0]]), mt.tensor([5.0]))
    tensor([16.])
    """
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: input of shape {x.shape} and weight of shape {weight.shape}; it must be (O, inputs)")
    y: Tensor = _ops.matmul(x, weight.mT)
    return y if bias is None else y + bias


def max_pool1d(
    x: "Tensor",
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> "Tensor":
    """:func:`microtensor.max_pool` of a sequence (N, C, L) or (C, L), with PyTorch's order of arguments.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.max_pool1d(mt.tensor([[1.0, 3.0, 2.0]]), 2, ceil_mode=True)
    tensor([[3., 2.]])
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return _pooled(_ops.max_pool, x, 1, "max_pool1d", kernel_size, **options)


def avg_pool1d(
    x: "Tensor",
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> "Tensor":
    """:func:`microtensor.avg_pool` of a sequence (N, C, L) or (C, L), with PyTorch's order of arguments.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.avg_pool1d(mt.tensor([[1.0, 3.0, 2.0]]), 2, ceil_mode=True)
    tensor([[2., 2.]])
    """
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pooled(_ops.avg_pool, x, 1, "avg_pool1d", kernel_size, **options)


def adaptive_avg_pool1d(x: "Tensor", output_size: Size) -> "Tensor":
    """:func:`microtensor.adaptive_avg_pool` of a sequence (N, C, L) or (C, L).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.adaptive_avg_pool1d(mt.tensor([[1.0, 3.0, 2.0]]), 1)
    tensor([[2.]])
    """
    return _pooled(_ops.adaptive_avg_pool, x, 1, "adaptive_avg_pool1d", output_size)


def max_pool2d(
    x: "Tensor",
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> "Tensor":
    """:func:`microtensor.max_pool` of an image (N, C, H, W) or (C, H, W), with PyTorch's order of arguments.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.max_pool2d(mt.ones((3, 5, 5)), 2, 2).shape
    (3, 2, 2)
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return _pooled(_ops.max_pool, x, 2, "max_pool2d", kernel_size, **options)


def avg_pool2d(
    x: "Tensor",
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> "Tensor":
    """:func:`microtensor.avg_pool` of an image (N, C, H, W) or (C, H, W), with PyTorch's order of arguments.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.avg_pool2d(mt.ones((3, 5, 5)), 2, 2).shape
    (3, 2, 2)
    """
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pooled(_ops.avg_pool, x, 2, "avg_pool2d", kernel_size, **options)


def adaptive_avg_pool2d(x: "Tensor", output_size: Size) -> "Tensor":
    """:func:`microtensor.adaptive_avg_pool` of an image (N, C, H, W) or (C, H, W).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.adaptive_avg_pool2d(mt.ones((3, 5, 5)), 1).shape
    (3, 1, 1)
    """
    return _pooled(_ops.adaptive_avg_pool, x, 2, "adaptive_avg_pool2d", output_size)


def _pooled(pool: Callable[..., Any], x: "Tensor", count: int, who: str, *sizes: Any, **options: Any) -> "Tensor":
    try:
        pooled: Tensor = _of_batch(lambda batch: pool(batch, *sizes, **options), x, count, who)
    except (TypeError, ValueError) as error:
        # The function that was called.
        error.args = (f"{who}: {str(error).removeprefix(f'{who}: ').removeprefix(f'{pool.__name__}: ')}",)
        raise
    return pooled


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hints.instead(name, _hints.FUNCTIONAL)}")


# Type checkers follow the imports, and cannot read a list that is put together.
if not TYPE_CHECKING:
    __all__ = sorted(name for name, value in globals().items() if name.islower() and callable(value) and name[0] != "_")
