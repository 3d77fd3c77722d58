"""RMSprop: the step is the gradient, divided by the root of a running mean of its squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.optim.optimizer import Optimizer, Options, State, move_average
from microtensor.support.arrays import Array


class RMSprop(Optimizer):
    """RMSprop: v ← α v + (1 − α) g², θ ← θ − lr · g / (√v + ε).

    If `centered` is True, v is replaced by an estimate of the variance: v − ḡ² with ḡ ← α ḡ + (1 − α) g. With momentum
    μ the step is θ ← θ − lr · b with b ← μ b + g / (√v + ε).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Tensors or parameter groups; see :class:`Optimizer`.
    lr : float
        The learning rate.
    alpha : float
        α, in [0, 1).
    eps : float
        ε, added to the root.
    weight_decay : float
        λ of the term λ θ added to the gradient.
    momentum : float
        μ, in [0, 1).
    centered : bool
        Whether to divide by the standard deviation of the gradients.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

    References
    ----------
    Tieleman & Hinton, *Lecture 6.5: rmsprop*, 2012. Graves, *Generating Sequences With Recurrent Neural Networks*,
    2013, equations 38 to 41.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> rmsprop = mt.optim.RMSprop([w], lr=0.01, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> rmsprop.step()
    >>> w.numpy().round(6)
    array([0.98])
    """

    _flags: ClassVar = frozenset({"centered", "maximize"})
    _below: ClassVar = {"alpha": 1.0, "momentum": 1.0}

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {"lr": lr, **settings, "centered": centered, "maximize": maximize})

    def _start(self, options: Options) -> dict[str, float | None]:
        optional = {"grad_avg": options["centered"], "momentum_buffer": options["momentum"]}
        return {"square_avg": 0.0, **{name: 0.0 for name, wanted in optional.items() if wanted}}

    def _update(self, value: Array, gradient: Array, state: State, options: Options) -> Any:
        square = state["square_avg"]
        move_average(square, options["alpha"], gradient * gradient)
        if options["centered"]:
            mean = state["grad_avg"]
            move_average(mean, options["alpha"], gradient)
            # Of gradients that are all the same, rounding can leave less than nothing.
            square = np.maximum(square - mean * mean, 0)
        step = gradient / (np.sqrt(square) + options["eps"])
        if options["momentum"]:
            buffer = state["momentum_buffer"]
            buffer *= options["momentum"]
            buffer += step
            step = buffer
        return value - step * options["lr"]
