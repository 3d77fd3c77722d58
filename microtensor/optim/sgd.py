"""Gradient descent with momentum, and Nesterov's variant of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.optim.optimizer import Optimizer, Options, State
from microtensor.support.arrays import Array


class SGD(Optimizer):
    """Gradient descent with momentum: b ← μ b + (1 − τ) g, θ ← θ − lr · b.

    The first b is the first gradient. Nesterov's variant takes g + μ b in place of b.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Tensors or parameter groups; see :class:`Optimizer`.
    lr : float
        The learning rate.
    momentum : float
        μ, in [0, 1).
    dampening : float
        τ; a new gradient has the weight 1 − τ.
    weight_decay : float
        λ of the term λ θ added to the gradient.
    nesterov : bool
        Whether to use Nesterov's variant. The momentum must then be above 0, and dampening 0.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        As :class:`Optimizer`; or `nesterov` without momentum or with dampening.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in deep learning*, 2013.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> sgd = mt.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> sgd.step()
    >>> w.numpy()
    array([0.8])
    """

    _flags: ClassVar = frozenset({"nesterov", "maximize"})
    _below: ClassVar = {"momentum": 1.0}

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **settings, "nesterov": nesterov, "maximize": maximize})

    def _settings(self, group: Options) -> Options:
        settings = super()._settings(group)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError("SGD: nesterov is True; momentum must be above 0, and dampening must be 0")
        return settings

    def _start(self, options: Options) -> dict[str, float | None]:
        return {"momentum_buffer": None} if options["momentum"] else {}

    def _update(self, value: Array, gradient: Array, state: State, options: Options) -> Any:
        direction = gradient
        if momentum := options["momentum"]:
            buffer = state["momentum_buffer"]
            if buffer is None:
                buffer = state["momentum_buffer"] = np.array(gradient)
            else:
                buffer *= momentum
                buffer += gradient * (1 - options["dampening"])
            direction = gradient + buffer * momentum if options["nesterov"] else buffer
        return value - direction * options["lr"]
