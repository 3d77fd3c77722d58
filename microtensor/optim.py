"""Optimisers: they turn gradients into new values of the parameters, and nothing else writes to these."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from microtensor.primitive import Array
from microtensor.tensor import Tensor


class Optimizer:
    """The base of all optimisers: holds the parameters, and steps each one that has a gradient.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require a gradient.
    lr : float
        The learning rate, not negative.

    Raises
    ------
    ValueError
        There are no parameters, one is given twice or is no leaf that requires a gradient, or a setting is
        out of range.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params = list(params)
        who = type(self).__name__
        if not self.params:
            raise ValueError(f"{who}: there are no parameters to optimise")
        for parameter in self.params:
            if not (isinstance(parameter, Tensor) and parameter.is_leaf and parameter.requires_grad):
                raise ValueError(f"{who}: only leaves that require a gradient can be optimised, not {parameter!r}")
        if len(set(self.params)) != len(self.params):
            raise ValueError(f"{who}: a parameter is given twice")
        self.lr = _in_range(lr, "lr", who)
        self._state: list[dict[str, Array]] = [{} for _ in self.params]

    def zero_grad(self) -> None:
        """Set ``.grad`` of every parameter to None, so that the next backward starts from nothing."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for parameter, state in zip(self.params, self._state, strict=True):
            if parameter.grad is not None:
                new = self._updated(parameter._array, parameter.grad._array, state)
                parameter._replace(new)

    def _updated(self, value: Array, gradient: Array, state: dict[str, Array]) -> Array:
        raise NotImplementedError


def _in_range(value: float, name: str, who: str, high: float = float("inf")) -> float:
    if not 0 <= value < high:
        raise ValueError(f"{who}: {name} is {value!r}; a number from 0 to below {high} is needed")
    return value


class SGD(Optimizer):
    """Gradient descent with momentum: b ← momentum · b + g, θ ← θ − lr · b.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
    momentum : float
        In [0, 1).
    weight_decay : float
        λ of the term λ θ added to the gradient.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

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

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr)
        self.momentum = _in_range(momentum, "momentum", "SGD", 1.0)
        self.weight_decay = _in_range(weight_decay, "weight_decay", "SGD")

    def _updated(self, value: Array, gradient: Array, state: dict[str, Array]) -> Array:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * value
        if self.momentum:
            if "momentum" in state:
                buffer = state["momentum"]
                buffer *= self.momentum
                buffer += gradient
            else:
                buffer = state["momentum"] = gradient.copy()
            gradient = buffer
        step = self.lr * gradient
        return np.subtract(value, step, out=np.asarray(step))


class Adam(Optimizer):
    """Adam: steps by the mean of the gradients over the root of the mean of their squares.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − lr · m̂ / (√v̂ + ε), with m̂ and v̂ corrected for
    their start at 0.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
    betas : tuple of float
        β₁ and β₂, in [0, 1).
    eps : float
        ε, added to the root.
    weight_decay : float
        λ of the term λ θ added to the gradient.

    Raises
    ------
    ValueError
        As :class:`Optimizer`.

    References
    ----------
    Kingma & Ba, *Adam*, 2015, algorithm 1.

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

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.betas = (_in_range(betas[0], "betas[0]", "Adam", 1.0), _in_range(betas[1], "betas[1]", "Adam", 1.0))
        self.eps = _in_range(eps, "eps", "Adam")
        self.weight_decay = _in_range(weight_decay, "weight_decay", "Adam")

    def _updated(self, value: Array, gradient: Array, state: dict[str, Array]) -> Array:
        first, second = self.betas
        if self.weight_decay:
            gradient = gradient + self.weight_decay * value
        mean = state.setdefault("mean", np.zeros_like(value))
        square = state.setdefault("square", np.zeros_like(value))
        mean *= first
        mean += (1 - first) * gradient
        square *= second
        square += (1 - second) * np.square(gradient)
        steps = state.setdefault("steps", np.zeros((), dtype=np.int64))
        steps += 1
        count = int(steps)
        root = np.asarray(np.sqrt(square))
        root /= (1 - second**count) ** 0.5
        root += self.eps
        np.divide(mean, root, out=root)
        root *= self.lr / (1 - first**count)
        new: Array = np.subtract(value, root, out=root)
        return new
