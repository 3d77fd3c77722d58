"""Bounds for gradients, between the backward pass and the step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.support.arrays import Array, quietly


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients by one factor, so that the norm of all together is at most `max_norm`.

    The direction stays the same. If the norm is smaller, nothing changes. As in PyTorch, a NaN or ∞ in one gradient
    spreads to all of them, unless `error_if_nonfinite` is set. The norm is computed in float64.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Tensors without a gradient are left out.
    max_norm : float
        Not negative.
    norm_type : float
        p of the norm, above 0; ``math.inf`` for the largest absolute value.
    error_if_nonfinite : bool
        Whether to raise when the norm is NaN or ∞.

    Returns
    -------
    float
        The norm before the scaling.

    Raises
    ------
    ValueError
        A setting is out of range.
    RuntimeError
        The norm is not finite and `error_if_nonfinite` is set. The gradients do not change.

    References
    ----------
    Pascanu, Mikolov & Bengio, *On the difficulty of training Recurrent Neural Networks*, 2013, algorithm 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = [3.0, 4.0]
    >>> clip_grad_norm_([w], max_norm=1.0)
    5.0
    >>> w.grad.numpy().round(5)
    array([0.6, 0.8])
    """
    who = "clip_grad_norm_"
    if not max_norm >= 0:
        raise ValueError(f"{who}: max_norm is {max_norm!r}; it must be a number, at least 0")
    if not norm_type > 0:
        raise ValueError(f"{who}: norm_type is {norm_type!r}; it must be above 0")
    held = _with_gradient(parameters)
    arrays = [grad._array for _, grad in held if grad.size]
    total = quietly(_total_norm, arrays, norm_type)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(f"{who}: the norm of the gradients is {total}; detect_anomaly() finds where it began")
    factor = float(max_norm) / (total + 1e-6)
    # The comparison lets NaN through, which is not to be hidden.
    if not factor >= 1:
        _replace(held, quietly(lambda: [grad._array * factor for _, grad in held]))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to ±clip_value. NaN stays.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Tensors without a gradient are left out.
    clip_value : float
        Not negative.

    Raises
    ------
    ValueError
        The bound is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = [3.0, -0.5]
    >>> clip_grad_value_([w], clip_value=1.0)
    >>> w.grad
    tensor([ 1. , -0.5])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value is {clip_value!r}; it must be a number, at least 0")
    bound = float(clip_value)
    held = _with_gradient(parameters)
    _replace(held, [np.clip(grad._array, -bound, bound) for _, grad in held])


def _total_norm(arrays: list[Array], norm_type: float) -> float:
    """The norm of all elements together. If powers overflow or vanish, all are divided by the largest first."""
    wide = [np.ravel(array).astype(np.float64, copy=False) for array in arrays]
    total = float(np.linalg.norm([np.linalg.norm(array, norm_type) for array in wide], norm_type)) if wide else 0.0
    largest = max((float(np.abs(array).max()) for array in wide), default=0.0) if total in (0.0, math.inf) else 0.0
    if 0 < largest < math.inf:
        return largest * _total_norm([array / largest for array in wide], norm_type)
    return total


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    everyone = [parameters] if isinstance(parameters, Tensor) else parameters
    return [(parameter, parameter.grad) for parameter in everyone if parameter.grad is not None]


def _replace(held: list[tuple[Tensor, Tensor]], arrays: list[Array]) -> None:
    """Set the new gradients, after all have been computed."""
    for (parameter, _), array in zip(held, arrays, strict=True):
        parameter.grad = array
