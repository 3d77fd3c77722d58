"""Convolution and pooling. Both are made of one primitive that cuts sliding windows, and its adjoint."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np

from microtensor.checks import check_flag
from microtensor.core.ops import mean, reshape
from microtensor.core.primitive import Primitive, label, primitive
from microtensor.hints import spelled
from microtensor.ops.indexing import concat, getitem, padded, take
from microtensor.ops.linalg import matmul
from microtensor.ops.reductions import max
from microtensor.ops.shape import matrix_transpose
from microtensor.support.arrays import Array, accumulator
from microtensor.support.axes import check_room, integer, integers

__all__ = [
    "adaptive_avg_pool",
    "avg_pool",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "max_pool",
    "unfold",
]

Size: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
Padding: TypeAlias = Size | str
Edges: TypeAlias = list[tuple[int, int]]


def per_axis(value: Size, count: int, who: str, what: str, least: int) -> tuple[int, ...]:
    """One size per axis of positions. A single size is used for all axes.

    Raises
    ------
    ValueError
        There are too many or too few sizes, or one is too small.
    TypeError
        A size is not an integer.
    """
    many = "an integer" if count == 1 else f"1 or {count} integers"
    needed = f"{who}: {what} is {value!r}; it must be {many} of at least {least}"
    try:
        sizes = integers(value, what, who)
    except TypeError:
        raise TypeError(needed) from None
    if not isinstance(value, (tuple, list, range)) and getattr(value, "ndim", 0) == 0:
        sizes *= count
    if len(sizes) != count or any(n < least for n in sizes):
        raise ValueError(needed)
    return sizes


def edges_of(
    padding: Padding, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int], who: str
) -> Edges:
    """The padding before and after each axis of positions.

    Raises
    ------
    ValueError
        The name is not 'same' or 'valid', 'same' is used with a stride above 1, or a size is negative.
    TypeError
        A size is not an integer.
    """
    if not isinstance(padding, str):
        return [(p, p) for p in per_axis(padding, len(window), who, "padding", 0)]
    if padding not in ("same", "valid"):
        raise ValueError(f"{who}: padding is {padding!r}; it must be 'same', 'valid' or a size")
    if padding == "valid":
        return [(0, 0)] * len(window)
    if any(s != 1 for s in stride):
        raise ValueError(f"{who}: padding is 'same', so the stride must be 1, not {tuple(stride)}; or pad by a size")
    extra = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
    # Where the sum is odd, the end gets the larger part.
    return [(n // 2, n - n // 2) for n in extra]


def check_positions(x: Any, count: int, who: str) -> None:
    """Raise ValueError unless x has the axis C and `count` axes of positions, with or without N before them."""
    if x.ndim not in (count + 1, count + 2):
        wanted = "(N, C, L) or (C, L)" if count == 1 else "(N, C, H, W) or (C, H, W)"
        raise ValueError(f"{who}: input of shape {x.shape} has {x.ndim} axes; it must be {wanted}")


def of_batch(function: Callable[[Any], Any], x: Any, count: int, who: str) -> Any:
    """The function of a batch. A sample without an axis N is a batch of one, and so is its result."""
    check_positions(x, count, who)
    if x.ndim == count + 2:
        return function(x)
    batch = reshape(x, shape=(1, *x.shape))
    try:
        y = function(batch)
    except ValueError as error:
        # The shape that was given, not that of the batch.
        error.args = (str(error).replace(f"axis 1 of shape {batch.shape}", f"axis 0 of shape {x.shape}"),)
        error.args = (str(error).replace(f"shape {batch.shape}", f"shape {x.shape}"),)
        raise
    return reshape(y, shape=y.shape[1:])


def check_fit(x: Any, window: Sequence[int], edges: Edges, dilation: Sequence[int], who: str) -> None:
    """Raise ValueError unless a window fits into the padded positions of x."""
    padded = tuple(a + n + b for n, (a, b) in zip(x.shape[2:], edges, strict=True))
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True))
    if any(n < k for n, k in zip(padded, span, strict=True)):
        raise ValueError(
            f"{who}: a window of {span} does not fit into {padded}, the padded positions of an input of shape "
            f"{x.shape}; pad more or take a smaller window"
        )


def _starts(size: int, window: int, stride: int, dilation: int) -> int:
    """How many windows fit along an axis."""
    return (size - dilation * (window - 1) - 1) // stride + 1


def _taken(place: int, stride: int, dilation: int, out: int, axis: int) -> tuple[slice, ...]:
    """The index of the elements at one place of all windows along an axis."""
    return (*(slice(None),) * axis, slice(place * dilation, place * dilation + stride * out, stride))


def _windows(x: Array, *, window: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Array:
    out = tuple(_starts(*sizes) for sizes in zip(x.shape[2:], window, stride, dilation, strict=True))
    if any(n < 1 for n in out):
        raise ValueError(
            f"sliding_windows: a window of {window} with dilation {dilation} does not fit into {x.shape[2:]}"
        )
    # One axis of positions at a time, the last one first: KH + KW long copies, not KH · KW short ones. Each new axis
    # of places comes before the positions, so the next axis to cut is always at the same index.
    axis = len(window) + 1
    for size, s, d, n in reversed(list(zip(window, stride, dilation, out, strict=True))):
        found = np.empty((*x.shape[:2], size, *x.shape[2:axis], n, *x.shape[axis + 1 :]), dtype=x.dtype)
        for place in range(size):
            found[:, :, place] = x[_taken(place, s, d, n, axis)]
        x = found
    return x


def _overlap_add(
    x: Array,
    *,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    positions: tuple[int, ...],
) -> Array:
    given = x.dtype
    dtype = accumulator(given) or given
    axis = len(window) + 1
    for size, s, d, whole in zip(window, stride, dilation, positions, strict=True):
        total = np.zeros((*x.shape[:2], *x.shape[3 : axis + 1], whole, *x.shape[axis + 2 :]), dtype=dtype)
        for place in range(size):
            total[_taken(place, s, d, x.shape[axis + 1], axis)] += x[:, :, place]
        x = total
    return x.astype(given, copy=False)


def _overlap_rule(g: Any, y: Any, x: Any, window: Any, stride: Any, dilation: Any, positions: Any) -> Any:
    return sliding_windows(g, window=window, stride=stride, dilation=dilation)


sliding_windows: Primitive[Any] = primitive(
    "sliding_windows",
    _windows,
    lambda g, y, x, window, stride, dilation: overlap_add(
        g, window=window, stride=stride, dilation=dilation, positions=tuple(x.shape[2:])
    ),
    symbol="windows",
    rule_text=("g summed over the windows",),
    doc="""All windows that slide over the positions: (N, C, …) → (N, C, *window, *number of windows).

    Raises ValueError when a window does not fit.

    >>> import microtensor as mt
    >>> x = mt.tensor([[[1.0, 2.0, 3.0]]])
    >>> mt.ops.sliding_windows(x, window=(2,), stride=(1,), dilation=(1,))
    tensor([[[[1., 2.],
              [2., 3.]]]])
    """,
)

overlap_add: Primitive[Any] = primitive(
    "overlap_add",
    _overlap_add,
    _overlap_rule,
    rule_text=("g in windows",),
    doc="""The adjoint of sliding_windows: windows added up at their places.

    (N, C, *window, *number of windows) → (N, C, *positions).

    >>> import microtensor as mt
    >>> x = mt.ops.sliding_windows(mt.tensor([[[1.0, 2.0, 3.0]]]), window=(2,), stride=(1,), dilation=(1,))
    >>> mt.ops.overlap_add(x, window=(2,), stride=(1,), dilation=(1,), positions=(3,))
    tensor([[[1., 4., 3.]]])
    """,
)


def _padded(x: Any, edges: Edges, who: str, value: float = 0.0) -> Any:
    return padded(x, [(0, 0), (0, 0), *edges], value, who) if any(map(any, edges)) else x


def unfold(x: Any, kernel_size: Size, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """Windows of an image as columns: (N, C, H, W) → (N, C · KH · KW, number of windows), as in PyTorch.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W) or (C, H, W).
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
    return of_batch(lambda batch: _unfold(batch, kernel_size, stride, padding, dilation), x, 2, "unfold")


def _unfold(x: Any, kernel_size: Size, stride: Size, padding: Size, dilation: Size) -> Any:
    who = "unfold"
    window = per_axis(kernel_size, 2, who, "kernel_size", 1)
    steps, gaps = per_axis(stride, 2, who, "stride", 1), per_axis(dilation, 2, who, "dilation", 1)
    edges = edges_of(padding, window, steps, gaps, who)
    check_fit(x, window, edges, gaps, who)
    columns = sliding_windows(_padded(x, edges, who), window=window, stride=steps, dilation=gaps)
    return reshape(columns, shape=(x.shape[0], math.prod(columns.shape[1:4]), math.prod(columns.shape[4:])))


def _conv(
    x: Any, weight: Any, bias: Any, stride: Size, padding: Padding, dilation: Size, groups: int, count: int
) -> Any:
    who = f"conv{count}d"
    if weight.ndim != count + 2:
        raise ValueError(f"{who}: weight of shape {weight.shape}; it must be (O, C / groups) and {count} sizes")
    filters, taken = weight.shape[:2]
    channels, groups = x.shape[1], integer(groups, "groups", who)
    if groups < 1 or channels % groups or filters % groups or channels // groups != taken:
        raise ValueError(
            f"{who}: input has {channels} channels (axis 1 of shape {x.shape}), weight {weight.shape} takes {taken} in "
            f"each of {groups} groups"
        )
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{who}: bias of shape {bias.shape}; it must be {(filters,)}")
    window = tuple(weight.shape[2:])
    steps, gaps = per_axis(stride, count, who, "stride", 1), per_axis(dilation, count, who, "dilation", 1)
    edges = edges_of(padding, window, steps, gaps, who)
    check_fit(x, window, edges, gaps, who)
    found = sliding_windows(_padded(x, edges, who), window=window, stride=steps, dilation=gaps)
    out = found.shape[2 + count :]
    rows = taken * math.prod(window)
    columns = label(reshape(found, shape=(x.shape[0], groups, rows, math.prod(out))), "columns")
    kernels = label(reshape(weight, shape=(groups, filters // groups, rows)), "kernels")
    y = reshape(matmul(kernels, columns), shape=(x.shape[0], filters, *out))
    return y if bias is None else y + reshape(bias, shape=(filters,) + (1,) * count)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation along one axis: y[n, o, t] = Σ w[o, c, k] x[n, c, t·stride + k·dilation] + b[o].

    Parameters
    ----------
    x : Tensor
        Shape (N, C, L) or (C, L).
    weight : Tensor
        Shape (O, C / groups, K).
    bias : Tensor, optional
        Shape (O,).
    stride, dilation, groups : int
    padding : int, "same" or "valid"
        Zeros at both ends. "same" keeps L; an odd number of zeros puts one more at the end. "valid" means 0.

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
    options = stride, padding, dilation, groups
    return of_batch(lambda batch: _conv(batch, weight, bias, *options, 1), x, 1, "conv1d")


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation over an image, which layers call convolution.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W) or (C, H, W).
    weight : Tensor
        Shape (O, C / groups, KH, KW).
    bias : Tensor, optional
        Shape (O,).
    stride, dilation : int or pair of int
    padding : int, pair of int, "same" or "valid"
        Zeros on both sides. "same" keeps H and W; an odd number of zeros puts one more at the end. "valid" means 0.
    groups : int
        The number of equal parts of the channels. Each filter reads one part.

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
    options = stride, padding, dilation, groups
    return of_batch(lambda batch: _conv(batch, weight, bias, *options, 2), x, 2, "conv2d")


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The adjoint of conv2d over its input: each element of x adds a copy of the kernel.

    The result has (H − 1) · stride − 2 · padding + dilation · (KH − 1) + output_padding + 1 rows.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, H, W) or (C, H, W).
    weight : Tensor
        Shape (C, O / groups, KH, KW).
    bias : Tensor, optional
        Shape (O,).
    stride, dilation : int or pair of int
        As in the convolution, of which this is the adjoint.
    padding : int or pair of int
        The padding of the convolution. Here it is cut off.
    output_padding : int or pair of int
        Additional rows and columns at the end. It must be less than the stride or the dilation.
    groups : int

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
    options = stride, padding, output_padding, groups, dilation
    return of_batch(lambda batch: _conv_transpose(batch, weight, bias, *options), x, 2, "conv_transpose2d")


def _conv_transpose(
    x: Any, weight: Any, bias: Any, stride: Size, padding: Size, output_padding: Size, groups: int, dilation: Size
) -> Any:
    who = "conv_transpose2d"
    batch, channels, *positions = x.shape
    groups = integer(groups, "groups", who)
    if weight.ndim != 4 or weight.shape[0] != channels or groups < 1 or channels % groups:
        raise ValueError(
            f"{who}: input of shape {x.shape} and weight of shape {weight.shape}; the weight must be "
            f"(C, O / groups, KH, KW), with C in {groups} equal groups"
        )
    window = tuple(weight.shape[2:])
    filters = weight.shape[1] * groups
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{who}: bias of shape {bias.shape}; it must be {(filters,)}")
    steps, gaps = per_axis(stride, 2, who, "stride", 1), per_axis(dilation, 2, who, "dilation", 1)
    cut, more = per_axis(padding, 2, who, "padding", 0), per_axis(output_padding, 2, who, "output_padding", 0)
    if any(n >= builtins.max(s, d) for n, s, d in zip(more, steps, gaps, strict=True)):
        raise ValueError(f"{who}: output_padding {more} must be less than the stride {steps} or the dilation {gaps}")
    full = tuple((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(positions, steps, gaps, window, strict=True))
    if any(n + m <= 2 * c for n, m, c in zip(full, more, cut, strict=True)):
        raise ValueError(f"{who}: padding {cut} is too large: it cuts off all of {full}")
    check_room((batch, filters, *full), who)
    kernels = reshape(weight, shape=(groups, channels // groups, filters // groups * math.prod(window)))
    columns = matmul(
        matrix_transpose(kernels), reshape(x, shape=(batch, groups, channels // groups, math.prod(positions)))
    )
    spread = reshape(columns, shape=(batch, filters, *window, *positions))
    y = overlap_add(spread, window=window, stride=steps, dilation=gaps, positions=full)
    y = _padded(y, [(0, n) for n in more], who)
    if any(cut):
        y = getitem(y, index=(..., *(slice(c, n + m - c) for c, n, m in zip(cut, full, more, strict=True))))
    return y if bias is None else y + reshape(bias, shape=(filters, 1, 1))


def _pooled_edges(
    x: Any, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool, who: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Edges, Edges]:
    """The window, steps and gaps of a pooling, its padding, and what `ceil_mode` adds at the end of each axis."""
    count = x.ndim - 2
    if count < 1:
        raise ValueError(f"{who}: input of shape {x.shape} has no axes of positions; it must be (N, C, …)")
    window, gaps = per_axis(kernel_size, count, who, "kernel_size", 1), per_axis(dilation, count, who, "dilation", 1)
    steps = window if stride is None else per_axis(stride, count, who, "stride", 1)
    edges = edges_of(padding, window, steps, gaps, who)
    # A window with nothing but padding would have no largest element and no mean.
    if any(2 * edge > d * (k - 1) + 1 for (edge, _), d, k in zip(edges, gaps, window, strict=True)):
        raise ValueError(f"{who}: padding {padding} must be at most half of the window {window}")
    more: Edges = [(0, 0)] * count
    if check_flag(ceil_mode, "ceil_mode", who):
        sizes = zip(x.shape[2:], edges, window, steps, gaps, strict=True)
        more = [(0, _beyond(n, edge, d * (k - 1) + 1, s)) for n, (edge, _), k, s, d in sizes]
    check_fit(x, window, [(a, b + c) for (a, b), (_, c) in zip(edges, more, strict=True)], gaps, who)
    return window, steps, gaps, edges, more


def _beyond(size: int, edge: int, span: int, step: int) -> int:
    """How far the last window of ``ceil_mode`` reaches beyond the padding."""
    whole = size + 2 * edge
    last = -(-(whole - span) // step) * step
    # The last window must start inside the input or the padding before it.
    if last >= size + edge:
        last -= step
    return builtins.max(0, last + span - whole)


@spelled
def max_pool(
    x: Any,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Any:
    """Largest element of each window. Equal largest elements share the gradient equally.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    kernel_size : int or sequence of int
    stride : int or sequence of int, optional
        Default: kernel_size.
    padding : int or sequence of int
        Elements −∞ on both sides, at most half a window.
    dilation : int or sequence of int
        The step from one element of a window to the next.
    ceil_mode : bool
        Whether a last window may reach beyond the padding. It starts inside the input or the padding before it.

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
    # For integers the least integer stands for −∞, and for booleans False.
    least = -math.inf if x.dtype.kind == "f" else False if x.dtype.kind == "b" else int(np.iinfo(x.dtype).min)
    window, steps, gaps, edges, more = _pooled_edges(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool")
    around = [(a, b + c) for (a, b), (_, c) in zip(edges, more, strict=True)]
    found = sliding_windows(_padded(x, around, "max_pool", least), window=window, stride=steps, dilation=gaps)
    return max(found, axis=tuple(range(2, x.ndim)))


@spelled
def avg_pool(
    x: Any,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Mean of each window.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    kernel_size : int or sequence of int
    stride : int or sequence of int, optional
        Default: kernel_size.
    padding : int or sequence of int
        Zeros on both sides, at most half a window.
    ceil_mode : bool
        Whether a last window may reach beyond the padding. What is beyond is not an element of its mean.
    count_include_pad : bool
        Whether the zeros of the padding count as elements of the mean.

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
    who = "avg_pool"
    window, steps, gaps, edges, more = _pooled_edges(x, kernel_size, stride, padding, 1, ceil_mode, who)
    axes = tuple(range(2, x.ndim))

    def means(values: Any, edge: float) -> Any:
        around = _padded(_padded(values, edges, who, edge), more, who)
        return mean(sliding_windows(around, window=window, stride=steps, dilation=gaps), axis=axes)

    y = means(x, 0.0)
    if count_include_pad and not any(map(any, more)):
        return y
    # The share of each window that counts.
    return y / means(np.ones((1, 1, *x.shape[2:]), dtype=y.dtype), float(count_include_pad))


def adaptive_avg_pool(x: Any, output_size: Size) -> Any:
    """Means over `output_size` windows. Of n windows over L elements, window i runs from ⌊iL/n⌋ to ⌈(i+1)L/n⌉.

    Parameters
    ----------
    x : Tensor
        Shape (N, C, …), with one axis of positions or more.
    output_size : int or sequence of int

    Raises
    ------
    ValueError
        A size is not positive, or the result has more than 2³⁶ elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.adaptive_avg_pool(mt.tensor([[[1.0, 2.0, 6.0]]]), 2)
    tensor([[[1.5, 4. ]]])
    """
    who = "adaptive_avg_pool"
    count = x.ndim - 2
    if count < 1 or 0 in x.shape[2:]:
        raise ValueError(f"{who}: input of shape {x.shape} has no positions; it must be (N, C, …), not empty")
    sizes = per_axis(output_size, count, who, "output_size", 1)
    check_room((*x.shape[:2], *sizes), who)
    for axis, size in enumerate(sizes, 2):
        length = x.shape[axis]
        if length % size == 0:
            split = (*x.shape[:axis], size, length // size, *x.shape[axis + 1 :])
            x = mean(reshape(x, shape=split), axis=axis + 1)
            continue
        before = (slice(None),) * axis
        places = np.arange(size) * length
        spans = np.stack([places // size, -(-(places + length) // size)], axis=1)
        # With more windows than elements, windows repeat: each mean is computed once.
        is_new = np.append(True, np.any(spans[1:] != spans[:-1], axis=1))
        means = [
            mean(getitem(x, index=(*before, slice(a, b))), axis=axis, keepdims=True) for a, b in spans[is_new].tolist()
        ]
        x = concat(means, axis=axis)
        if size > length:
            x = take(x, np.cumsum(is_new) - 1, axis=axis)
    return x
