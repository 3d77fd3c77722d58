"""Running statistics: how they move in training, and how they are used in prediction."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from microtensor.core.ops import narrowed, widened
from microtensor.core.primitive import label
from microtensor.norms.standard import scale_and_shift
from microtensor.ops import reshape, sqrt, stop_gradient
from microtensor.ops.common import later
from microtensor.support.arrays import is_finite
from microtensor.support.modes import name_scope, no_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")

NOT_FINITE = "the batch has NaN or infinite statistics; the running statistics stay as they were"


def by_keyword(first: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As :func:`microtensor.functional.scoped`, for a norm of which only the `first` arguments go by position.

    γ and β by position would be taken for running statistics, which stand there in PyTorch's function.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        who = function.__name__
        given = "x" if first == 1 else "x and ghost_size"
        other = "whitening" if who == "whiten" else "var"

        @functools.wraps(function)
        def inside(*args: P.args, **options: P.kwargs) -> R:
            if len(args) > first:
                raise TypeError(
                    f"{who}: {len(args)} arguments by position; what follows {given} goes by keyword: γ and "
                    f"β are weight=, bias=; running statistics are running_mean=, running_{other}="
                )
            with name_scope(who):
                return function(*args, **options)

        return inside

    return decorate


def normalize_with_running(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    shape: tuple[int, ...],
    eps: float,
) -> Tensor:
    """γ x̂ + β, computed with the running statistics as constants. The dtype is that of x, as in training."""
    mu = label(stop_gradient(reshape(mean, shape=shape)), "running μ")
    sigma = label(stop_gradient(sqrt(reshape(widened(variance), shape=shape) + eps)), "running σ")
    return scale_and_shift(label(narrowed((widened(x) - mu) / sigma, x), "x̂"), weight, bias, shape)


def move_running(
    running_mean: Tensor, running_var: Tensor, mu: Tensor, variance: Tensor, count: int, momentum: float, who: str
) -> None:
    """Move running statistics towards those of a batch. The variance of `count` values is made unbiased."""
    with no_grad():
        unbiased = variance * (count / (count - 1))
        new_mean = moved(running_mean, mu, momentum)
        new_var = moved(running_var, unbiased, momentum)
    commit(f"{who}: {NOT_FINITE}", (running_mean, new_mean), (running_var, new_var), stacklevel=5)


def moved(running: Tensor, batch: Tensor, momentum: float) -> Tensor:
    """(1 − momentum) · r + momentum · batch."""
    return running * (1 - momentum) + reshape(batch, shape=running.shape) * momentum


def commit(warning: str, *pairs: tuple[Tensor, Tensor], stacklevel: int = 4) -> None:
    """Give each buffer its new value. When one value is not finite, warn and change none.

    The values are tested in the dtype of the buffer, because a finite value may overflow there.
    """
    new = [narrowed(value, buffer) for buffer, value in pairs]
    later(_commit, warning, stacklevel + 2, len(pairs), *(buffer for buffer, _ in pairs), *new)


def _commit(warning: str, stacklevel: int, count: int, *tensors: Tensor) -> None:
    buffers, new = tensors[:count], tensors[count:]
    if not all(map(is_finite, new)):
        warnings.warn(warning, RuntimeWarning, stacklevel=stacklevel)
        return
    for buffer, value in zip(buffers, new, strict=True):
        buffer.assign_(value)
