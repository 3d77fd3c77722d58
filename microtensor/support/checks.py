"""What functions and layers demand of their settings and inputs, with errors that name them and the way out."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsIndex

from microtensor.support.axes import axis_count

if TYPE_CHECKING:
    from microtensor.tensor import Tensor


def check_eps(eps: float, who: str) -> float:
    """ε as a float.

    Raises
    ------
    ValueError
        It is not a positive finite number.
    """
    if isinstance(eps, bool) or not isinstance(eps, Real) or not math.isfinite(eps) or eps <= 0:
        raise ValueError(f"{who}: eps is {eps!r}; a positive finite number is needed")
    return float(eps)


def check_momentum(momentum: float, who: str) -> float:
    """The weight of the new batch as a float.

    Raises
    ------
    ValueError
        It is not a number from 0 to 1.
    """
    if isinstance(momentum, bool) or not isinstance(momentum, Real) or not 0 <= momentum <= 1:
        raise ValueError(f"{who}: momentum is {momentum!r}; a number from 0 to 1 is needed")
    return float(momentum)


def check_number(value: float, what: str, who: str, least: float = -math.inf) -> float:
    """A finite number from `least` on, as a float.

    Raises
    ------
    ValueError
        It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" from {least:g} on"
        raise ValueError(f"{who}: {what} is {value!r}; a finite number{bound} is needed")
    return float(value)


def check_size(size: Any, what: str, who: str) -> int:
    """A number of things as an integer.

    Raises
    ------
    TypeError
        It is not an integer.
    ValueError
        It is not positive.
    """
    if isinstance(size, bool) or not isinstance(size, SupportsIndex):
        raise TypeError(f"{who}: {what} is {size!r}; a positive integer is needed")
    if operator.index(size) <= 0:
        raise ValueError(f"{who}: {what} is {size}; a positive integer is needed")
    return operator.index(size)


def check_groups(channels: int, num_groups: Any, who: str) -> int:
    """The number of groups.

    Raises
    ------
    ValueError
        The channels cannot be divided into so many groups.
    """
    integer = isinstance(num_groups, SupportsIndex) and not isinstance(num_groups, bool)
    if not integer or num_groups <= 0 or channels % num_groups:
        raise ValueError(f"{who}: {channels} channels cannot be divided into {num_groups!r} groups")
    return operator.index(num_groups)


def check_float(x: Tensor, who: str) -> None:
    """Raises TypeError unless x is floating point."""
    if x.dtype.kind != "f":
        raise TypeError(f"{who}: input has dtype {x.dtype}; convert it first with .astype(float)")


def check_channels(x: Tensor, who: str, *parameters: Tensor | None) -> int:
    """The channels of x.

    Raises
    ------
    ValueError
        There is no axis of channels, or a parameter has another number of them.
    """
    if x.ndim < 2:
        raise ValueError(f"{who}: input has shape {x.shape}; at least (N, C) is needed")
    channels = x.shape[1]
    for parameter in parameters:
        if parameter is not None and parameter.shape != (channels,):
            raise ValueError(
                f"{who}: input has {channels} channels (axis 1 of shape {x.shape}) but a parameter has shape "
                f"{parameter.shape}"
            )
    return channels


def check_several(shape: tuple[int, ...], axes: tuple[int, ...], who: str) -> int:
    """How many values a channel are taken together.

    Raises
    ------
    ValueError
        There is one, of which nothing would be left.
    """
    count = axis_count(shape, axes)
    if count == 1:
        raise ValueError(
            f"{who}: 1 value a channel over axes {axes} of shape {shape}: its mean is itself and nothing is "
            "left. Use a bigger batch, drop_last=True, eval(), or LayerNorm or GroupNorm"
        )
    return count


def check_pair(a: object, b: object, names: str, who: str) -> None:
    """Raises ValueError when only one of two tensors is there."""
    if (a is None) != (b is None):
        raise ValueError(f"{who}: {names} go together; only one of them was given")


def trailing_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The sizes of the last axes; one size may stand alone."""
    if isinstance(normalized_shape, SupportsIndex):
        return (operator.index(normalized_shape),)
    return tuple(operator.index(n) for n in normalized_shape)
