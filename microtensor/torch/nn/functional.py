"""``torch.nn.functional``: functions in PyTorch's order of arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from microtensor import losses, ops
from microtensor.nn import Softplus
from microtensor.nn import functional as ours
from microtensor.ops.windows import per_axis
from microtensor.torch.functions import FUNCTIONS, function
from microtensor.torch.tensor import ONE_SOURCE, newest


def reduced(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a loss with the old ones replaced: size_average= and reduce= are reduction=."""
    average, reduce = options.pop("size_average", None), options.pop("reduce", None)
    if average is None and reduce is None:
        return options
    return options | {"reduction": "none" if reduce is False else "sum" if average is False else "mean"}


def _loss(ours: Callable[..., Any]) -> Callable[..., Any]:
    return function(lambda x, target, *args, **options: ours(x, target, *args, **reduced(options)))


def _in_place_too(ours: Callable[..., Any]) -> Callable[..., Any]:
    """A function with PyTorch's inplace=."""
    made = function(ours)

    def call(input: Any, *args: Any, inplace: bool = False, **options: Any) -> Any:
        y = made(input, *args, **options)
        return input._write(y, newest(input)) if inplace else y

    return call


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b."""
    y = ops.matmul(input, ops.matrix_transpose(weight))
    return y if bias is None else y + bias


def _max_pool(count: int) -> Callable[..., Any]:
    def call(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Any:
        """Largest element of each window. As in PyTorch, the first of equal elements gets the gradient."""
        if x.ndim == count + 1:
            return ops.squeeze(call(ops.expand_dims(x), kernel_size, stride, padding, dilation), axis=0)
        given = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
        window, step, edges, gaps = (per_axis(value, count, "max_pool", "a size", 0) for value in given)
        padded = ops.pad(x, [(0, 0)] * 2 + [(n, n) for n in edges], value=-math.inf)
        found = ops.sliding_windows(padded, window=window, stride=step, dilation=gaps)
        flat = ops.reshape(found, shape=(*found.shape[:2], math.prod(window), *found.shape[2 + count :]))
        return ops.squeeze(ops.take_along_axis(flat, np.argmax(flat._array, 2, keepdims=True), axis=2), axis=2)

    return function(call, f"max_pool{count}d")


def _convolved(ours: Callable[..., Any]) -> Callable[..., Any]:
    return function(
        lambda x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: ours(
            x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
    )


def embedding(input: Any, weight: Any, padding_idx: Any = None) -> Any:
    """Rows of a table; the row `padding_idx` gets no gradient."""
    rows = ops.embedding(input, weight)
    if padding_idx is None:
        return rows
    padded = np.equal(input._array, padding_idx % weight.shape[0])[..., None]
    return ops.where(padded, ops.stop_gradient(rows), rows)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """One row per class: 1 at the class, 0 elsewhere, as int64."""
    classes = tensor._array
    count = int(classes.max()) + 1 if num_classes == -1 else num_classes
    if classes.size and not 0 <= classes.min() <= classes.max() < count:
        raise RuntimeError("Class values must be non-negative and smaller than num_classes.")
    return np.eye(count, dtype=np.int64)[classes]


_AVG_POOL = function(
    lambda x, kernel_size, stride=None, padding=0, *, count_include_pad=True: ours.avg_pool(
        x, kernel_size, stride=stride, padding=padding, count_include_pad=count_include_pad
    )
)
_IN_PLACE_TOO = ("leaky_relu", "elu", "selu", "silu", "mish", "relu", "dropout")
_AS_OURS = ("gelu", "batch_norm", "layer_norm", "group_norm", "rms_norm", "scaled_dot_product_attention")
_LOSSES = tuple(name for name in losses.__all__ if name != "hinge_loss")
TABLE: dict[str, Callable[..., Any]] = {
    **{name: FUNCTIONS[name] for name in ("tanh", "sigmoid", "softmax", "log_softmax")},
    **{name: _in_place_too(getattr(ours, name)) for name in _IN_PLACE_TOO},
    **{name: function(getattr(ours, name)) for name in _AS_OURS},
    **{name: _loss(getattr(losses, name)) for name in _LOSSES},
    **{call.__name__: function(call) for call in (linear, embedding, one_hot)},
    "softplus": function(lambda x, beta=1.0, threshold=20.0: Softplus.function(x, beta, threshold), "softplus"),
    **{f"max_pool{count}d": _max_pool(count) for count in (1, 2)},
    **{f"avg_pool{count}d": _AVG_POOL for count in (1, 2)},
    **{f"adaptive_avg_pool{count}d": function(ours.adaptive_avg_pool) for count in (1, 2)},
    **{name: _convolved(getattr(ours, name)) for name in ("conv1d", "conv2d")},
}
globals().update(TABLE)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"torch.nn.functional.{name} is not here: {ONE_SOURCE}")
