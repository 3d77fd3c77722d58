"""Activations as modules: each names a function of ``ops`` or ``functional`` and holds its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from microtensor import functional, ops
from microtensor.nn.module import Module
from microtensor.support.axes import integer, one_axis
from microtensor.support.checks import check_float
from microtensor.tensor import Tensor


class Activation(Module):
    """The base of activations: ``function(x, **settings)``, the settings being attributes.

    Like all layers that compute, they take floats: of integers a TypeError names the layer.

    Examples
    --------
    >>> import microtensor as mt
    >>> class Sine(mt.nn.activation.Activation):
    ...     function = mt.sin
    >>> Sine()(mt.tensor([0.0]))
    tensor([0.])
    """

    function: ClassVar[Callable[..., Tensor]]
    _settings: tuple[str, ...] = ()

    def _set(self, **settings: Any) -> None:
        self._settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        """The settings by name."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)

    def forward(self, x: Tensor) -> Tensor:
        """The function of x with the settings."""
        check_float(x, self)
        return type(self).function(x, **{name: getattr(self, name) for name in self._settings})


class ReLU(Activation):
    """Rectified linear unit: max(x, 0).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ReLU()(mt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    function = ops.relu


class LeakyReLU(Activation):
    """Rectified linear unit with a leak: x where positive, `negative_slope` · x elsewhere.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LeakyReLU(0.1)(mt.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    function = staticmethod(functional.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self._set(negative_slope=negative_slope)


class ELU(Activation):
    """Exponential linear unit: x where positive, α (eˣ − 1) elsewhere.

    References
    ----------
    Clevert, Unterthiner & Hochreiter, *Exponential Linear Units*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ELU()(mt.tensor([-1.0, 2.0]))
    tensor([-0.63212056,  2.        ])
    """

    function = staticmethod(functional.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._set(alpha=alpha)


class SELU(Activation):
    """Scaled exponential linear unit: λ · elu(x) with the α and λ that keep mean 0 and variance 1.

    References
    ----------
    Klambauer, Unterthiner, Mayr & Hochreiter, *Self-Normalizing Neural Networks*, 2017.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.SELU()(mt.tensor([1.0]))
    tensor([1.05070099])
    """

    function = staticmethod(functional.selu)


class GELU(Activation):
    """Gaussian error linear unit: x Φ(x), Φ the normal distribution function; "tanh" approximates it.

    References
    ----------
    Hendrycks & Gimpel, *Gaussian Error Linear Units*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.GELU()(mt.tensor([1.0]))
    tensor([0.84134475])
    """

    function = staticmethod(functional.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self._set(approximate=approximate)


class SiLU(Activation):
    """Sigmoid linear unit, also called swish: x σ(x).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.SiLU()(mt.tensor([1.0]))
    tensor([0.73105858])
    """

    function = staticmethod(functional.silu)


class Mish(Activation):
    """Mish: x tanh(softplus(x)).

    References
    ----------
    Misra, *Mish: A Self Regularized Non-Monotonic Activation Function*, 2020.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Mish()(mt.tensor([1.0]))
    tensor([0.86509839])
    """

    function = staticmethod(functional.mish)


class Softplus(Activation):
    """A smooth ReLU: ln(1 + e^(βx)) / β, and x itself where βx is above `threshold`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Softplus()(mt.tensor([0.0]))
    tensor([0.69314718])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        if not beta > 0:
            raise ValueError(f"Softplus: beta is {beta}; a positive number is needed")
        super().__init__()
        self._set(beta=beta, threshold=threshold)

    @staticmethod
    def function(x: Tensor, beta: float, threshold: float) -> Tensor:
        """Ln(1 + e^(βx)) / β below the threshold, x above."""
        return ops.where(ops.greater(x, threshold / beta), x, ops.softplus(x * beta) / beta)


class Hardtanh(Activation):
    """X held between `min_val` and `max_val`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Hardtanh()(mt.tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """

    function = staticmethod(functional.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val {min_val} is not below max_val {max_val}")
        super().__init__()
        self._set(min_val=min_val, max_val=max_val)


class Sigmoid(Activation):
    """Logistic sigmoid: 1 / (1 + e⁻ˣ).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Sigmoid()(mt.tensor([0.0]))
    tensor([0.5])
    """

    function = ops.sigmoid


class Tanh(Activation):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Tanh()(mt.tensor([0.0]))
    tensor([0.])
    """

    function = ops.tanh


class Softmax(Activation):
    """Exponentials normalised to sum 1 along an axis: eˣ / Σ eˣ.

    Parameters
    ----------
    dim : int
        The axis of the classes; there is no default, for PyTorch's guesses by the number of axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Softmax(dim=-1)(mt.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._set(dim=integer(dim, "dim", "Softmax"))

    @staticmethod
    def function(x: Tensor, dim: int) -> Tensor:
        """The softmax along `dim`; of nothing, nothing."""
        if not x.size:
            return _empty(x, dim, "Softmax")
        return functional.softmax(x, axis=dim)


class LogSoftmax(Activation):
    """Logarithm of the softmax along an axis: x − ln Σ eˣ.

    Parameters
    ----------
    dim : int
        The axis of the classes; there is no default, for PyTorch's guesses by the number of axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LogSoftmax(dim=-1)(mt.tensor([0.0, 0.0]))
    tensor([-0.69314718, -0.69314718])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._set(dim=integer(dim, "dim", "LogSoftmax"))

    @staticmethod
    def function(x: Tensor, dim: int) -> Tensor:
        """The logarithm of the softmax along `dim`; of nothing, nothing."""
        if not x.size:
            return _empty(x, dim, "LogSoftmax")
        return functional.log_softmax(x, axis=dim)


def _empty(x: Tensor, dim: int, who: str) -> Tensor:
    """A batch of nothing as it is: there is no largest element to subtract."""
    one_axis(dim, x.ndim, who)
    return x
