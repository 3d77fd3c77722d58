"""Checks of the settings and inputs of functions and layers. Each error names the argument and the remedy."""

from __future__ import annotations

import functools
import math
import operator
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np

from microtensor.core.primitive import TensorBase
from microtensor.support.axes import axis_count

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


P = ParamSpec("P")
R = TypeVar("R")

REDUCTIONS = ("mean", "sum", "none")
KL_REDUCTIONS = ("mean", "batchmean", "sum", "none")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Accept old keyword names for one release, with a DeprecationWarning."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for old, new in names.items():
                if old in options:
                    if new in options:
                        raise TypeError(f"{function.__name__}: {old}= is the old name of {new}=; write {new}= alone")
                    warnings.warn(f"{function.__name__}: {old}= is now called {new}=", DeprecationWarning, stacklevel=2)
                    options[new] = options.pop(old)
            return function(*args, **options)

        return call

    return decorate


class Titled(Protocol):
    """A layer, as far as messages are concerned."""

    def title(self) -> str:
        """The layer in one line."""


# A layer's title takes long to make, so it is made only for an error.
Who: TypeAlias = str | Titled


def named(who: Who) -> str:
    """What a function or a layer is called in messages."""
    return who if isinstance(who, str) else who.title()


def _is_finite(value: Any) -> bool:
    # Most settings are floats, and this is a tenth of the time of what follows.
    if type(value) is float:
        return math.isfinite(value)
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_number(value: float, what: str, who: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number from `least` to `most`, as a float.

    Raises
    ------
    ValueError
        The value is not a finite number within the bounds.
    """
    if not (_is_finite(value) and least <= value <= most):
        bound = (
            f" from {least:g} to {most:g}" if most < math.inf else f", at least {least:g}" if least > -math.inf else ""
        )
        raise ValueError(f"{who}: {what} is {value!r}; it must be a finite number{bound}")
    return float(value)


def check_positive(value: float, what: str, who: str) -> float:
    """A finite number above 0, as a float.

    Raises
    ------
    ValueError
        The value is not a finite number above 0.
    """
    if not (_is_finite(value) and value > 0):
        raise ValueError(f"{who}: {what} is {value!r}; it must be a positive finite number")
    return float(value)


def check_eps(eps: float, who: str) -> float:
    """ε as a float; see :func:`check_positive`."""
    return check_positive(eps, "eps", who)


def check_momentum(momentum: float, who: str) -> float:
    """The weight of the new batch as a float, from 0 to 1; see :func:`check_number`."""
    return check_number(momentum, "momentum", who, 0, 1)


def check_probability(p: float, who: str) -> float:
    """A probability, from 0 to 1; see :func:`check_number`."""
    check_number(p, "p", who, 0, 1)
    # Not converted to a float: the repr shows the number as it was given.
    return p


def check_reduction(reduction: str, who: str, allowed: tuple[str, ...] = REDUCTIONS) -> str:
    """The name of a reduction.

    Raises
    ------
    ValueError
        The name is not allowed.
    """
    if reduction not in allowed:
        *names, last = map(repr, allowed)
        raise ValueError(f"{who}: reduction {reduction!r} is not {', '.join(names)} or {last}")
    return reduction


def check_integer(value: Any, what: str, who: str, wanted: str = "an integer") -> int:
    """`value` as an integer.

    Raises
    ------
    TypeError
        The value is not an integer.
    """
    number = _integer(value)
    if number is None:
        raise TypeError(f"{who}: {what} is {value!r}; it must be {wanted}")
    return number


def _integer(value: Any) -> int | None:
    # Arrays and tensors have __index__, which raises unless they hold one integer.
    try:
        return None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        return None


def check_size(size: Any, what: str, who: str) -> int:
    """A positive integer, such as a number of channels.

    Raises
    ------
    TypeError
        It is not an integer.
    ValueError
        It is not positive.
    """
    number = check_integer(size, what, who, "a positive integer")
    if number <= 0:
        raise ValueError(f"{who}: {what} is {size}; it must be a positive integer")
    return number


def check_sizes(who: str, **sizes: Any) -> list[int]:
    """Several positive integers, by name; see :func:`check_size`."""
    return [check_size(size, name, who) for name, size in sizes.items()]


def check_groups(channels: int, num_groups: Any, who: str) -> int:
    """The number of groups.

    Raises
    ------
    ValueError
        The channels cannot be divided into this number of groups.
    """
    groups = _integer(num_groups)
    if groups is None or groups <= 0 or channels % groups:
        raise ValueError(f"{who}: {channels} channels cannot be divided into {num_groups!r} groups")
    return groups


def check_array(x: Any, who: Who, what: str = "input") -> None:
    """Raise TypeError unless x is a tensor of numbers. A function also takes an array of numbers.

    A function of arrays returns an array. A layer takes only tensors, as in PyTorch, because its result is
    differentiated.
    """
    if isinstance(x, TensorBase):
        return
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    # Masked arrays and data frames have a mask, which would be lost.
    if kind is None or hasattr(x, "mask") or not isinstance(who, str):
        raise TypeError(f"{named(who)}: {what} is of type {type(x).__name__}; convert it with mt.tensor(...)")
    if kind not in "biuf":
        raise TypeError(f"{named(who)}: {what} has dtype {x.dtype}; it must be boolean, integer or float")


def check_float(x: Any, who: Who, what: str = "input") -> None:
    """Raise TypeError unless x passes :func:`check_array` and is floating point. A layer's message gives the shape."""
    check_array(x, who, what)
    if x.dtype.kind != "f":
        shape = "" if isinstance(who, str) else f" of shape {x.shape}"
        raise TypeError(f"{named(who)}: {what}{shape} has dtype {x.dtype}; convert it first with .astype(float)")


def check_running(who: Who, **statistics: Any) -> None:
    """Raise TypeError unless each of the running statistics is None or a floating-point tensor."""
    for name, value in statistics.items():
        if value is None:
            continue
        if not hasattr(value, "assign_"):
            raise TypeError(
                f"{named(who)}: {name} is of type {type(value).__name__}, which cannot be updated; "
                "convert it with mt.tensor(...)"
            )
        check_float(value, who, name)


def check_channels(x: Tensor, who: str, **parameters: Tensor | None) -> int:
    """The number of channels of x: the size of axis 1.

    Raises
    ------
    ValueError
        x has no channel axis, or a parameter has another number of channels.
    TypeError
        A parameter is not a tensor.
    """
    if x.ndim < 2:
        raise ValueError(f"{who}: input has shape {x.shape}; it must have at least the axes (N, C)")
    channels = x.shape[1]
    for name, parameter in parameters.items():
        if parameter is None:
            continue
        check_array(parameter, who, name)
        if parameter.shape != (channels,):
            raise ValueError(
                f"{who}: input has {channels} channels (axis 1 of shape {x.shape}) but {name} has shape "
                f"{parameter.shape}"
            )
    return channels


def check_channel_count(x: Any, channels: int, who: str) -> None:
    """Raise ValueError when x has another number of channels."""
    if x.ndim >= 2 and x.shape[1] != channels:
        raise ValueError(f"{who}: input has {x.shape[1]} channels (axis 1 of shape {x.shape})")


def check_several(shape: tuple[int, ...], axes: tuple[int, ...], who: str, *, training: bool = True) -> int:
    """The number of values per channel that share a mean.

    Raises
    ------
    ValueError
        There is only one value, or none. The remedy in the message depends on the mode: without `training`, batch
        statistics are used because there are no running statistics.
    """
    count = axis_count(shape, axes)
    if count < 2:
        where = f"per channel over axes {axes} of shape {shape}"
        problem = f"1 value {where}: minus its own mean it is always 0" if count else f"no elements {where}"
        batch = "a bigger batch, drop_last=True, eval() with" if training else "a bigger batch,"
        raise ValueError(
            f"{who}: {problem}. Use {batch} running statistics (track_running_stats=True), or LayerNorm or GroupNorm"
        )
    return count


def check_pair(a: object, b: object, names: str, who: str) -> None:
    """Raises ValueError when only one of two tensors is given."""
    if (a is None) != (b is None):
        raise ValueError(f"{who}: {names} go together; only one of them was given")


def _only_element(value: Any) -> Any:
    """What an array or a tensor of one element holds; anything else as it is."""
    single = hasattr(value, "item") and not isinstance(value, type) and math.prod(getattr(value, "shape", (0,))) == 1
    return value.item() if single else value


def plain_number(value: Any) -> int | float | None:
    """A number as a Python int or float; None for a boolean, a number too large for a float, or anything else.

    NumPy scalars, fractions, and arrays and tensors with one element count as numbers. A Python number changes no
    dtype and can be written to every file.
    """
    if not isinstance(value, Real):
        value = _only_element(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return int(value) if isinstance(value, Integral) else number


def check_flag(value: Any, what: str, who: str) -> bool:
    """True or False as a Python bool; see :func:`plain_flag`.

    Raises
    ------
    TypeError
        The value is neither, such as the text "no".
    """
    flag = plain_flag(value)
    if flag is None:
        raise TypeError(f"{who}: {what} is {value!r}; it must be True or False")
    return flag


def plain_flag(value: Any) -> bool | None:
    """True or False as a Python bool, also from 0, 1 and NumPy booleans; None for anything else."""
    value = _only_element(value)
    return bool(value) if isinstance(value, Real) and value in (0, 1) else None
