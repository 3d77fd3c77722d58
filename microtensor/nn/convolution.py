"""Convolutions as layers: a window of weights that slides over the positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from microtensor import ops
from microtensor.checks import check_channel_count, check_float, check_sizes
from microtensor.core.tensor import Tensor
from microtensor.nn.docstrings import completed_by
from microtensor.nn.linear import register_affine
from microtensor.nn.module import Module, settings_text
from microtensor.ops.windows import Edges, Padding, Size, check_fit, edges_of, of_batch, per_axis

__all__ = ["Conv1d", "Conv2d", "ConvTranspose2d"]


class _Windowed(Module):
    """Windows that slide along as many axes of positions as the subclass says."""

    positions: ClassVar[int]
    padding: str | tuple[int, ...]

    def _set_windows(self, kernel_size: Size, stride: Size, padding: Padding, dilation: Size) -> None:
        who, count = type(self).__name__, self.positions
        self.kernel_size = per_axis(kernel_size, count, who, "kernel_size", 1)
        self.stride = per_axis(stride, count, who, "stride", 1)
        self.dilation = per_axis(dilation, count, who, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else per_axis(padding, count, who, "padding", 0)
        self._edges(who)

    def _edges(self, who: str) -> Edges:
        """The padding before and after each axis of positions."""
        return edges_of(self.padding, self.kernel_size, self.stride, self.dilation, who)

    def forward(self, x: Tensor) -> Tensor:
        """The result for a batch. A sample without an axis N is a batch of one."""
        check_float(x, self)
        out: Tensor = of_batch(self._of_batch, x, self.positions, self.title())
        return out

    def _of_batch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _check(self, x: Any) -> str:
        """Raise unless x has the right axes; returns what the layer is called in messages."""
        return self.title()

    def _check_windows(self, x: Any) -> None:
        """Raise unless a window fits into x as well."""
        who = self._check(x)
        check_fit(x, self.kernel_size, self._edges(who), self.dilation, who)


class _Convolution(_Windowed):
    transposed: ClassVar[bool] = False
    output_padding: tuple[int, ...] = (0,)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Any = None,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        sizes = check_sizes(who, in_channels=in_channels, out_channels=out_channels, groups=groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups = sizes
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{who}: groups is {groups}; it must divide the channels {in_channels} and {out_channels}")
        self._set_windows(kernel_size, stride, padding, dilation)
        rows, columns = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (rows, columns // groups, *self.kernel_size)
        # What PyTorch counts, for a transposed convolution too, whose outputs sum over other numbers.
        register_affine(self, shape, out_channels, math.prod(shape[1:]), bias, rng)

    def extra_repr(self) -> str:
        """The channels, the kernel, and what differs from the defaults."""
        around = {"kernel_size": None, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
        return settings_text(self, "in_channels", "out_channels", **around, groups=1, bias=True)

    def _check(self, x: Any) -> str:
        who = super()._check(x)
        check_channel_count(x, self.in_channels, who)
        return who

    def _convolved(self, convolve: Callable[..., Tensor], x: Tensor, **settings: Any) -> Tensor:
        """The function of x, the weight and the bias with the settings."""
        settings |= {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return convolve(x, self.weight, self.bias, **settings)

    def _of_batch(self, x: Tensor) -> Tensor:
        self._check_windows(x)
        return self._convolved(ops.conv1d if self.positions == 1 else ops.conv2d, x)


class Conv1d(_Convolution):
    """Convolution along a sequence: y[n, o, t] = Σ W[o, c, k] x[n, c, t · stride + k · dilation] + b[o].

    As everywhere in deep learning, this is the cross-correlation: the kernel is not flipped.

    Parameters
    ----------
    in_channels, out_channels : int
        x has shape (N, in_channels, L) and y has shape (N, out_channels, L′). N may be missing in both.
        L′ = ⌊(L + 2 · padding − dilation · (kernel_size − 1) − 1) / stride⌋ + 1.
    kernel_size, stride, dilation : int
    padding : int, "same" or "valid"
        The number of zeros at each end. With "same", L′ = L.
    groups : int
        The channels are cut into this number of parts. Each filter uses one part.
    bias : bool
        Whether there is a b. In front of a batch norm it has no effect and no gradient.
    rng : int or numpy.random.Generator, optional
        For the initial values, uniform in ±1/√(number of weights of a filter) as in PyTorch.

    Raises
    ------
    ValueError
        A size is out of range, the input has another number of channels, or the window does not fit into it.
    TypeError
        A size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Conv1d(3, 8, 5, padding="same")(mt.ones((4, 3, 20))).shape
    (4, 8, 20)
    """

    positions = 1


@completed_by(Conv1d)
class Conv2d(_Convolution):
    """Convolution over an image, :class:`Conv1d` along two axes.

    Parameters
    ----------
    in_channels, out_channels : int
        x has shape (N, in_channels, H, W) and y has shape (N, out_channels, H′, W′), each as in :class:`Conv1d`. N may
        be missing in both.
    kernel_size, stride, dilation : int or pair of int
    padding : int, pair of int, "same" or "valid"
        The number of zeros on each side. With "same", H′ = H and W′ = W.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner, *Gradient-Based Learning Applied to Document Recognition*, 1998.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Conv2d(3, 8, 5, stride=2, padding=2)(mt.ones((4, 3, 32, 32))).shape
    (4, 8, 16, 16)
    """

    positions = 2


@completed_by(Conv1d)
class ConvTranspose2d(_Convolution):
    """Transposed convolution of an image: the adjoint of :class:`Conv2d`. It enlarges the image by the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        x has shape (N, in_channels, H, W) and y has shape (N, out_channels, H′, W′). N may be missing in both.
        H′ = (H − 1) · stride − 2 · padding + dilation · (kernel_size − 1) + output_padding + 1.
    kernel_size, stride, dilation : int or pair of int
        The settings of the convolution whose adjoint is computed.
    padding : int or pair of int
        The padding of that convolution. It is cut off here.
    output_padding : int or pair of int
        The number of rows and columns that are added at the end. It must be less than the stride or the dilation.

    Raises
    ------
    ValueError
        A size is out of range, or the input has another number of channels.
    TypeError
        A size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)(mt.ones((4, 8, 16, 16))).shape
    (4, 3, 32, 32)
    """

    positions = 2
    transposed = True
    padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        rng: Any = None,
    ) -> None:
        padding = per_axis(padding, 2, "ConvTranspose2d", "padding", 0)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, rng=rng)
        self.output_padding = per_axis(output_padding, 2, "ConvTranspose2d", "output_padding", 0)
        if any(n >= max(s, d) for n, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True)):
            raise ValueError(
                f"ConvTranspose2d: output_padding {self.output_padding} must be less than the stride {self.stride} or "
                f"the dilation {self.dilation}"
            )

    def _of_batch(self, x: Tensor) -> Tensor:
        self._check(x)
        return self._convolved(ops.conv_transpose2d, x, output_padding=self.output_padding)
