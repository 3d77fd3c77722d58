"""Adagrad: the step is the gradient, divided by the root of the sum of all squared gradients so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.optim.optimizer import Optimizer, Options, State
from microtensor.support.arrays import Array


class Adagrad(Optimizer):
    """Adagrad: s ← s + g², θ ← θ − lrₜ · g / (√s + ε), with lrₜ = lr / (1 + (t − 1) · lr_decay).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Tensors or parameter groups; see :class:`Optimizer`.
    lr : float
        The learning rate.
    lr_decay : float
        How fast the learning rate falls with the number t of steps.
    weight_decay : float
        λ of the term λ θ added to the gradient.
    initial_accumulator_value : float
        The first value of s.
    eps : float
        ε, added to the root.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

    References
    ----------
    Duchi, Hazan & Singer, *Adaptive Subgradient Methods*, 2011.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> adagrad = mt.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> adagrad.step()
    >>> w.numpy().round(6)
    array([0.9])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "maximize": maximize}
        super().__init__(params, {"lr": lr, **settings, "initial_accumulator_value": initial_accumulator_value})

    def _start(self, options: Options) -> dict[str, float | None]:
        return {"step": 0, "sum": options["initial_accumulator_value"]}

    def _update(self, value: Array, gradient: Array, state: State, options: Options) -> Any:
        total = state["sum"]
        total += gradient * gradient
        rate = options["lr"] / (1 + state["step"] * options["lr_decay"])
        state["step"] += 1
        return value - gradient / (np.sqrt(total) + options["eps"]) * rate
