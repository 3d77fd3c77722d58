"""Sliding windows and what is made of them: convolution and pooling. One primitive and its adjoint do it all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from microtensor.ops.common import doctests
from microtensor.ops.indexing import concat, getitem, pad
from microtensor.ops.linalg import matmul
from microtensor.ops.reductions import max, mean
from microtensor.ops.shape import flatten, permute_dims, reshape
from microtensor.primitive import Array, Primitive, primitive

Size: TypeAlias = int | Sequence[int]


def _sizes(value: Size, count: int, who: str, what: str, least: int) -> tuple[int, ...]:
    """One size for each axis of positions."""
    sizes = (value,) * count if isinstance(value, int) else tuple(value)
    if len(sizes) != count or any(n < least for n in sizes):
        raise ValueError(f"{who}: {what} is {value}; {count} numbers from {least} on are needed")
    return sizes


def _starts(size: int, window: int, stride: int, dilation: int) -> int:
    """How many windows fit along an axis."""
    return (size - dilation * (window - 1) - 1) // stride + 1


def _offsets(
    window: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], out: tuple[int, ...]
) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """For each place in a window, its index there and the index of what it takes over all windows."""
    both = (slice(None), slice(None))
    places = itertools.product(*(range(n) for n in window))
    return [
        (
            (*both, *place),
            (*both, *(slice(p * d, p * d + s * n, s) for p, d, s, n in zip(place, dilation, stride, out, strict=True))),
        )
        for place in places
    ]


def _windows(x: Array, *, window: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Array:
    positions = x.shape[2:]
    out = tuple(_starts(*sizes) for sizes in zip(positions, window, stride, dilation, strict=True))
    if any(n < 1 for n in out):
        raise ValueError(
            f"sliding_windows: a window of {window} with dilation {dilation} does not fit into {positions}"
        )
    found = np.empty((*x.shape[:2], *window, *out), dtype=x.dtype)
    for place, taken in _offsets(window, stride, dilation, out):
        found[place] = x[taken]
    return found


def _overlap_add(
    x: Array,
    *,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    positions: tuple[int, ...],
) -> Array:
    out = x.shape[2 + len(window) :]
    total = np.zeros((*x.shape[:2], *positions), dtype=x.dtype)
    for place, taken in _offsets(window, stride, dilation, out):
        total[taken] += x[place]
    return total


def _overlap_rule(g: Any, y: Any, x: Any, window: Any, stride: Any, dilation: Any, positions: Any) -> Any:
    return sliding_windows(g, window=window, stride=stride, dilation=dilation)


sliding_windows: Primitive = primitive(
    "sliding_windows",
    _windows,
    lambda g, y, x, window, stride, dilation: overlap_add(
        g, window=window, stride=stride, dilation=dilation, positions=tuple(x.shape[2:])
    ),
    symbol="windows",
    shown=("Σ g over windows",),
    doc="""All windows that slide over the positions: (N, C, …) → (N, C, *window, *number of windows).

    Raises ValueError when a window does not fit.

    >>> import microtensor as mt
    >>> x = mt.tensor([[[1.0, 2.0, 3.0]]])
    >>> mt.ops.sliding_windows(x, window=(2,), stride=(1,), dilation=(1,))
    tensor([[[[1., 2.],
              [2., 3.]]]])
    """,
)

overlap_add: Primitive = primitive(
    "overlap_add",
    _overlap_add,
    _overlap_rule,
    shown=("g in windows",),
    doc="""Windows added back where they came from: (N, C, *window, *number) → (N, C, *positions).

    The adjoint of sliding_windows.

    >>> import microtensor as mt
    >>> x = mt.ops.sliding_windows(mt.tensor([[[1.0, 2.0, 3.0]]]), window=(2,), stride=(1,), dilation=(1,))
    >>> mt.ops.overlap_add(x, window=(2,), stride=(1,), dilation=(1,), positions=(3,))
    tensor([[[1., 4., 3.]]])
    """,
)


def _padded(x: Any, padding: tuple[int, ...], value: float = 0.0) -> Any:
    return pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], value=value) if any(padding) else x


def _check_axes(x: Any, count: int, who: str) -> None:
    if x.ndim != count + 2:
        raise ValueError(f"{who}: input of shape {x.shape}; (N, C) and {count} axes of positions are needed")


def unfold(x: Any, kernel_size: Size, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """Windows of an image as columns: (N, C, H, W) → (N, C · KH · KW, number of windows), as in PyTorch.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W).
    kernel_size, stride, padding, dilation : int or pair of int

    Raises
    ------
    ValueError
        A window does not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.unfold(mt.zeros((1, 3, 4, 4)), 2).shape
    (1, 12, 9)
    """
    _check_axes(x, 2, "unfold")
    columns = sliding_windows(
        _padded(x, _sizes(padding, 2, "unfold", "padding", 0)),
        window=_sizes(kernel_size, 2, "unfold", "kernel_size", 1),
        stride=_sizes(stride, 2, "unfold", "stride", 1),
        dilation=_sizes(dilation, 2, "unfold", "dilation", 1),
    )
    return reshape(columns, shape=(columns.shape[0], math.prod(columns.shape[1:4]), -1))


def _conv(x: Any, weight: Any, bias: Any, stride: Size, padding: Size, dilation: Size, groups: int, count: int) -> Any:
    who = f"conv{count}d"
    _check_axes(x, count, who)
    if weight.ndim != count + 2:
        raise ValueError(f"{who}: weight of shape {weight.shape}; (O, C / groups) and {count} sizes are needed")
    filters, taken = weight.shape[:2]
    channels = x.shape[1]
    if groups < 1 or channels % groups or filters % groups or channels // groups != taken:
        raise ValueError(
            f"{who}: input has {channels} channels (axis 1 of shape {x.shape}), weight {weight.shape} takes {taken} in "
            f"each of {groups} groups"
        )
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{who}: bias of shape {bias.shape}; {(filters,)} is needed")
    found = sliding_windows(
        _padded(x, _sizes(padding, count, who, "padding", 0)),
        window=tuple(weight.shape[2:]),
        stride=_sizes(stride, count, who, "stride", 1),
        dilation=_sizes(dilation, count, who, "dilation", 1),
    )
    out = found.shape[2 + count :]
    rows = taken * math.prod(weight.shape[2:])
    columns = reshape(found, shape=(x.shape[0], groups, rows, math.prod(out)))
    kernels = reshape(weight, shape=(groups, filters // groups, rows))
    y = reshape(matmul(kernels, columns), shape=(x.shape[0], filters, *out))
    return y if bias is None else y + reshape(bias, shape=(filters,) + (1,) * count)


def conv1d(
    x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Cross-correlation along one axis: y[n, o, t] = Σ w[o, c, k] x[n, c, t·stride + k·dilation] + b[o].

    Parameters
    ----------
    x : Tensor
        Shape (N, C, L).
    weight : Tensor
        Shape (O, C / groups, K).
    bias : Tensor, optional
        Shape (O,).
    stride, padding, dilation, groups : int

    Raises
    ------
    ValueError
        The shapes do not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.conv1d(mt.tensor([[[1.0, 2.0, 4.0]]]), mt.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    return _conv(x, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Cross-correlation over an image, as layers call a convolution.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W).
    weight : Tensor
        Shape (O, C / groups, KH, KW).
    bias : Tensor, optional
        Shape (O,).
    stride, padding, dilation : int or pair of int
    groups : int

    Raises
    ------
    ValueError
        The shapes do not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.conv2d(mt.ones((1, 1, 3, 3)), mt.ones((1, 1, 2, 2)))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _conv(x, weight, bias, stride, padding, dilation, groups, 2)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Size = 0) -> Any:
    """The adjoint of conv2d over its input: each element of x adds a copy of the kernel.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W).
    weight : Tensor
        Shape (C, O, KH, KW).
    bias : Tensor, optional
        Shape (O,).
    stride, padding : int or pair of int

    Raises
    ------
    ValueError
        The shapes do not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.conv_transpose2d(mt.ones((1, 1, 1, 2)), mt.ones((1, 1, 2, 2)))
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """
    who = "conv_transpose2d"
    _check_axes(x, 2, who)
    if weight.ndim != 4 or weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"{who}: input of shape {x.shape} and weight of shape {weight.shape}; (C, O, KH, KW) is needed"
        )
    channels, filters, *window = weight.shape
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{who}: bias of shape {bias.shape}; {(filters,)} is needed")
    steps, edges = _sizes(stride, 2, who, "stride", 1), _sizes(padding, 2, who, "padding", 0)
    kernels = permute_dims(reshape(weight, shape=(channels, filters * math.prod(window))), axes=(1, 0))
    columns = matmul(kernels, flatten(x, 2))
    spread = reshape(columns, shape=(x.shape[0], filters, *window, *x.shape[2:]))
    full = tuple((n - 1) * s + k for n, s, k in zip(x.shape[2:], steps, window, strict=True))
    if any(n <= 2 * e for n, e in zip(full, edges, strict=True)):
        raise ValueError(f"{who}: padding {edges} leaves nothing of {full}")
    y = overlap_add(spread, window=tuple(window), stride=steps, dilation=(1, 1), positions=full)
    if any(edges):
        y = getitem(y, index=(..., *(slice(e, n - e) for n, e in zip(full, edges, strict=True))))
    return y if bias is None else y + reshape(bias, shape=(filters, 1, 1))


def _pooled(x: Any, kernel_size: Size, stride: Size | None, padding: Size, value: float, who: str) -> Any:
    """The windows of a pooling, and the axes that each one spans."""
    count = x.ndim - 2
    if count < 1:
        raise ValueError(f"{who}: input of shape {x.shape} has no axes of positions")
    window = _sizes(kernel_size, count, who, "kernel_size", 1)
    edges = _sizes(padding, count, who, "padding", 0)
    if any(2 * e > k for e, k in zip(edges, window, strict=True)):
        raise ValueError(f"{who}: padding {edges} is more than half of the window {window}")
    steps = window if stride is None else _sizes(stride, count, who, "stride", 1)
    found = sliding_windows(_padded(x, edges, value), window=window, stride=steps, dilation=(1,) * count)
    return found, tuple(range(2, 2 + count))


def max_pool(x: Any, kernel_size: Size, *, stride: Size | None = None, padding: Size = 0) -> Any:
    """Largest element of each window; elements that tie share the gradient equally.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    kernel_size : int or sequence of int
    stride : int or sequence of int, optional
        That of windows side by side unless given.
    padding : int or sequence of int
        Of −∞, at most half a window.

    Raises
    ------
    ValueError
        A window does not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.max_pool(mt.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    tensor([[[3., 2.]]])
    """
    found, axes = _pooled(x, kernel_size, stride, padding, -math.inf, "max_pool")
    return max(found, axis=axes)


def avg_pool(x: Any, kernel_size: Size, *, stride: Size | None = None, padding: Size = 0) -> Any:
    """Mean of each window; zeros of the padding count.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    kernel_size : int or sequence of int
    stride : int or sequence of int, optional
        That of windows side by side unless given.
    padding : int or sequence of int
        Of zeros, at most half a window.

    Raises
    ------
    ValueError
        A window does not fit, or a size is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.avg_pool(mt.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    tensor([[[2., 1.]]])
    """
    found, axes = _pooled(x, kernel_size, stride, padding, 0.0, "avg_pool")
    return mean(found, axis=axes)


def adaptive_avg_pool(x: Any, output_size: Size) -> Any:
    """Means over as many windows as asked for; window i of n over L runs from ⌊iL/n⌋ to ⌈(i+1)L/n⌉.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    output_size : int or sequence of int

    Raises
    ------
    ValueError
        A size is not positive.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.adaptive_avg_pool(mt.tensor([[[1.0, 2.0, 6.0]]]), 2)
    tensor([[[1.5, 4. ]]])
    """
    count = x.ndim - 2
    sizes = _sizes(output_size, count, "adaptive_avg_pool", "output_size", 1)
    for axis, size in enumerate(sizes, 2):
        length = x.shape[axis]
        if length % size == 0:
            split = (*x.shape[:axis], size, length // size, *x.shape[axis + 1 :])
            x = mean(reshape(x, shape=split), axis=axis + 1)
            continue
        before = (slice(None),) * axis
        spans = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        x = concat(
            [mean(getitem(x, index=(*before, slice(a, b))), axis=axis, keepdims=True) for a, b in spans], axis=axis
        )
    return x


__test__ = doctests(globals())
