"""Adam and AdamW: the step is the running mean of the gradients, divided by the root of that of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.optim.optimizer import Optimizer, Options, State, move_average
from microtensor.support.arrays import Array


class Adam(Optimizer):
    """Adam: θ ← θ − lr · m̂ / (√v̂ + ε), with running means m of the gradients and v of their squares.

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g² start at 0. m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) correct the
    effect of this start.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Tensors or parameter groups; see :class:`Optimizer`.
    lr : float
        The learning rate.
    betas : tuple of float
        β₁ and β₂, in [0, 1).
    eps : float
        ε, added to the root.
    weight_decay : float
        λ of the term λ θ that is added to the gradient. :class:`AdamW` shrinks the weights instead.
    amsgrad : bool
        Whether to use the largest v so far in place of the current one.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

    References
    ----------
    Kingma & Ba, *Adam*, 2015, algorithm 1. Reddi, Kale & Kumar, *On the Convergence of Adam and Beyond*, 2018.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> adam = mt.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> adam.step()
    >>> w.numpy().round(6)
    array([0.9])
    """

    _flags: ClassVar = frozenset({"amsgrad", "maximize"})
    _below: ClassVar = {"betas": 1.0}
    _decoupled: ClassVar = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {"lr": lr, **settings, "maximize": maximize})

    def _start(self, options: Options) -> dict[str, float | None]:
        largest = {"max_exp_avg_sq": 0.0} if options["amsgrad"] else {}
        return {"step": 0, "exp_avg": 0.0, "exp_avg_sq": 0.0, **largest}

    def _update(self, value: Array, gradient: Array, state: State, options: Options) -> Any:
        first, second = options["betas"]
        state["step"] += 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        move_average(mean, first, gradient)
        move_average(square, second, gradient * gradient)
        if options["amsgrad"]:
            square = np.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        root = np.sqrt(square) / (1 - second ** state["step"]) ** 0.5
        return value - mean / (root + options["eps"]) * (options["lr"] / (1 - first ** state["step"]))


class AdamW(Adam):
    """Adam with a separate step of weight decay: θ ← (1 − lr · λ) θ, then the step of Adam without weight decay.

    In :class:`Adam` the term λ θ is a part of the gradient and is divided by √v̂. So weights with large gradients decay
    less there.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize
        As :class:`Adam`, but the default of `weight_decay` is 0.01. With :func:`split_decay`, norms and biases do
        not decay.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

    References
    ----------
    Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019, algorithm 2.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> w.grad = [0.0]
    >>> mt.optim.AdamW([w], lr=0.1, weight_decay=0.5).step()
    >>> w.numpy()
    array([0.95])
    """

    _decoupled: ClassVar = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
