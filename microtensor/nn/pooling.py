"""Layers that reduce or rearrange positions and learn nothing: pooling and flattening."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from microtensor import ops
from microtensor.checks import check_array, check_flag, check_float
from microtensor.core.tensor import Tensor
from microtensor.nn.convolution import _Windowed
from microtensor.nn.docstrings import completed_by
from microtensor.nn.module import Module, settings_text, short
from microtensor.ops.windows import Size, of_batch, per_axis
from microtensor.support.axes import integer, integers

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "Flatten",
    "MaxPool1d",
    "MaxPool2d",
    "Unflatten",
]


class _Pooling(_Windowed):
    padding: tuple[int, ...]
    # Of layers that were pickled before there was such a setting.
    ceil_mode: bool = False

    def _set_pool(
        self, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool, dilation: Size = 1
    ) -> None:
        self.ceil_mode = check_flag(ceil_mode, "ceil_mode", type(self).__name__)
        self._set_windows(kernel_size, kernel_size if stride is None else stride, padding, dilation)
        if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(self.padding, self.kernel_size, self.dilation, strict=True)):
            raise ValueError(f"{type(self).__name__}: padding {padding} is more than half of the window {kernel_size}")

    def extra_repr(self) -> str:
        """The window, and what differs from the defaults."""
        around = {"stride": short(self.kernel_size), "padding": 0, "dilation": 1}
        return settings_text(self, kernel_size=None, **around, ceil_mode=False)

    def _check_windows(self, x: Tensor) -> None:
        # With ceil_mode a window may be larger than the padded input.
        if not self.ceil_mode:
            super()._check_windows(x)


class _MaxPool(_Pooling):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self._set_pool(kernel_size, stride, padding, ceil_mode, dilation)

    def _of_batch(self, x: Tensor) -> Tensor:
        self._check_windows(x)
        around = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        out: Tensor = ops.max_pool(x, self.kernel_size, **around, ceil_mode=self.ceil_mode)
        return out


class MaxPool1d(_MaxPool):
    """The largest element of each window along a sequence. Equal largest elements share the gradient equally.

    Parameters
    ----------
    kernel_size : int
        x has shape (N, C, L) or (C, L), and y has shape (N, C, L′) or (C, L′), with
        L′ = ⌊(L + 2 · padding − dilation · (kernel_size − 1) − 1) / stride⌋ + 1.
    stride : int, optional
        Default: kernel_size.
    padding : int
        The number of −∞ at each end, at most half a window.
    dilation : int
        The step from one element of a window to the next.
    ceil_mode : bool
        Whether a last window may reach beyond the padding: ⌈…⌉ in place of ⌊…⌋. It starts inside the input or the
        padding before it.

    Raises
    ------
    ValueError
        A size is out of range, or the window does not fit into the input.
    TypeError
        A size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.MaxPool1d(2)(mt.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[3., 2.]]])
    """

    positions = 1


@completed_by(MaxPool1d)
class MaxPool2d(_MaxPool):
    """The largest element of each window of an image, :class:`MaxPool1d` along two axes.

    Parameters
    ----------
    kernel_size : int or pair of int
        x has shape (N, C, H, W) and y has shape (N, C, H′, W′), each as in :class:`MaxPool1d`.
    stride : int or pair of int, optional
        Default: kernel_size.
    padding, dilation : int or pair of int
        The number of −∞ on each side, at most half a window; and the step between the elements of a window.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.MaxPool2d(2)(mt.ones((4, 3, 8, 6))).shape
    (4, 3, 4, 3)
    """

    positions = 2


class _AvgPool(_Pooling):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self._set_pool(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.count_include_pad else ", count_include_pad=False")

    def _of_batch(self, x: Tensor) -> Tensor:
        self._check_windows(x)
        counted = {"ceil_mode": self.ceil_mode, "count_include_pad": self.count_include_pad}
        out: Tensor = ops.avg_pool(x, self.kernel_size, stride=self.stride, padding=self.padding, **counted)
        return out


class AvgPool1d(_AvgPool):
    """The mean of each window along a sequence.

    Parameters
    ----------
    kernel_size : int
        x has shape (N, C, L) or (C, L), and y has shape (N, C, L′) or (C, L′), with
        L′ = ⌊(L + 2 · padding − kernel_size) / stride⌋ + 1.
    stride : int, optional
        Default: kernel_size.
    padding : int
        The number of zeros at each end, at most half a window.
    ceil_mode : bool
        Whether a last window may reach beyond the padding: ⌈…⌉ in place of ⌊…⌋. What is beyond is not an element of
        its mean.
    count_include_pad : bool
        Whether the zeros of the padding count as elements of the mean.

    Raises
    ------
    ValueError
        A size is out of range, or the window does not fit into the input.
    TypeError
        A size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.AvgPool1d(2)(mt.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[2., 1.]]])
    """

    positions = 1


@completed_by(AvgPool1d)
class AvgPool2d(_AvgPool):
    """The mean of each window of an image, :class:`AvgPool1d` along two axes.

    Parameters
    ----------
    kernel_size : int or pair of int
        x has shape (N, C, H, W) and y has shape (N, C, H′, W′), each as in :class:`AvgPool1d`.
    stride : int or pair of int, optional
        Default: kernel_size.
    padding : int or pair of int
        The number of zeros on each side, at most half a window.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.AvgPool2d(2)(mt.ones((4, 3, 8, 6))).shape
    (4, 3, 4, 3)
    """

    positions = 2


class _AdaptiveAvgPool(Module):
    """Means over as many windows as asked for, along as many axes as the subclass says."""

    positions: ClassVar[int]

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * self.positions
        per_axis([1 if n is None else n for n in sizes], self.positions, type(self).__name__, "output_size", 1)
        self.output_size = sizes

    def extra_repr(self) -> str:
        """The number of windows along each axis."""
        return str(short(self.output_size))

    def forward(self, x: Tensor) -> Tensor:
        """The means over the windows."""
        check_float(x, self)
        out: Tensor = of_batch(self._of_batch, x, self.positions, self.title())
        return out

    def _of_batch(self, x: Tensor) -> Tensor:
        sizes = [n if size is None else size for size, n in zip(self.output_size, x.shape[2:], strict=True)]
        if 0 in x.shape[2:]:
            raise ValueError(f"{self.title()}: input of shape {x.shape} has no positions")
        out: Tensor = ops.adaptive_avg_pool(x, sizes)
        return out


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over n = `output_size` windows of a sequence: window i runs from ⌊iL/n⌋ to ⌈(i+1)L/n⌉.

    Parameters
    ----------
    output_size : int or None
        n. x has shape (N, C, L) or (C, L), and y has shape (N, C, n) or (C, n). None: the sequence does not change.

    Raises
    ------
    ValueError
        The size is not positive, or the input has no positions.
    TypeError
        The size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.AdaptiveAvgPool1d(2)(mt.tensor([[[1.0, 2.0, 6.0]]]))
    tensor([[[1.5, 4. ]]])
    """

    positions = 1


@completed_by(AdaptiveAvgPool1d)
class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over `output_size` windows of an image, :class:`AdaptiveAvgPool1d` along two axes.

    Parameters
    ----------
    output_size : int, None, or a pair of them
        x has shape (N, C, H, W) and y has shape (N, C, *output_size). None: the axis does not
        change.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.AdaptiveAvgPool2d(1)(mt.ones((4, 3, 8, 6))).shape
    (4, 3, 1, 1)
    """

    positions = 2


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` into one. Default: all axes but the batch.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of the axes. Negative numbers count from the end.

    Raises
    ------
    ValueError
        The input has no such axes.
    TypeError
        The input is not a tensor.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Flatten()(mt.ones((4, 3, 8, 6))).shape
    (4, 144)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer(start_dim, "start_dim", "Flatten")
        self.end_dim = integer(end_dim, "end_dim", "Flatten")

    def extra_repr(self) -> str:
        """The axes where they are not the defaults."""
        is_default = (self.start_dim, self.end_dim) == (1, -1)
        return "" if is_default else f"start_dim={self.start_dim}, end_dim={self.end_dim}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with the axes joined."""
        check_array(x, self)
        first, last = (n + x.ndim if n < 0 else n for n in (self.start_dim, self.end_dim))
        if not 0 <= first <= last < x.ndim:
            raise ValueError(f"{self.title()}: input of shape {x.shape} has no axes {self.start_dim} to {self.end_dim}")
        out: Tensor = ops.flatten(x, first, last)
        return out


class Unflatten(Module):
    """Split one axis into several: the inverse of :class:`Flatten`.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        The sizes of the new axes. One of them may be −1: it is computed from the others.

    Raises
    ------
    ValueError
        The product of the sizes is not the size of the axis.
    TypeError
        The input is not a tensor.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Unflatten(1, (3, -1))(mt.ones((4, 12))).shape
    (4, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = integer(dim, "dim", "Unflatten")
        sizes = integers(unflattened_size, "unflattened_size", "Unflatten")
        if sizes.count(-1) > 1 or any(n < 1 and n != -1 for n in sizes):
            raise ValueError(f"Unflatten: unflattened_size is {sizes}; sizes must be positive, and one may be −1")
        self.unflattened_size = sizes

    def extra_repr(self) -> str:
        """The axis and the sizes."""
        return f"{self.dim}, {self.unflattened_size}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with the axis split."""
        check_array(x, self)
        axis = self.dim + x.ndim if self.dim < 0 else self.dim
        if not 0 <= axis < x.ndim:
            raise ValueError(f"{self.title()}: input of shape {x.shape} has no axis {self.dim}")
        known = math.prod(n for n in self.unflattened_size if n != -1)
        sizes = [x.shape[axis] // known if n == -1 else n for n in self.unflattened_size]
        if math.prod(sizes) != x.shape[axis]:
            raise ValueError(f"{self.title()}: axis {self.dim} of shape {x.shape} cannot be cut into these sizes")
        out: Tensor = ops.reshape(x, shape=(*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))
        return out
