"""Activations as layers: each names a function and declares its settings."""

from __future__ import annotations

from typing import Any

from microtensor import functional, ops
from microtensor.checks import check_float, check_positive
from microtensor.core.tensor import Tensor
from microtensor.nn.wrapper import Wrapper
from microtensor.ops.common import one_axis
from microtensor.support.axes import integer

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Hardtanh",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class Activation(Wrapper):
    """The base of activations: ``function(x, **settings)``, where the settings are attributes.

    The input must have floats. Integers raise a TypeError.

    Examples
    --------
    >>> import microtensor as mt
    >>> class Sine(mt.nn.activation.Activation):
    ...     function = mt.sin
    >>> Sine()(mt.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function with the settings to x."""
        check_float(x, self)
        return self._computed(x)


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
    """Leaky rectified linear unit: x where x is positive, `negative_slope` · x elsewhere.

    Parameters
    ----------
    negative_slope : float
        The slope on the negative side.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LeakyReLU(0.1)(mt.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    function = functional.leaky_relu
    negative_slope: float = 0.01


class ELU(Activation):
    """Exponential linear unit: x where x is positive, α (eˣ − 1) elsewhere.

    Parameters
    ----------
    alpha : float
        α. For large negative x the result is close to −α.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ELU()(mt.tensor([-1.0, 2.0]))
    tensor([-0.63212056,  2.        ])
    """

    function = functional.elu
    alpha: float = 1.0


class SELU(Activation):
    """Scaled exponential linear unit: λ · elu(x) with the α and λ that keep mean 0 and variance 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.SELU()(mt.tensor([1.0]))
    tensor([1.05070099])
    """

    function = functional.selu


class GELU(Activation):
    """Gaussian error linear unit: x Φ(x), where Φ is the normal distribution function.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.GELU()(mt.tensor([1.0]))
    tensor([0.84134475])
    """

    function = functional.gelu
    approximate: str = "none"


class SiLU(Activation):
    """Sigmoid linear unit, also called swish: x σ(x).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.SiLU()(mt.tensor([1.0]))
    tensor([0.73105858])
    """

    function = functional.silu


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

    function = functional.mish


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """A smooth ReLU: ln(1 + e^(βx)) / β, and x itself where βx is above the threshold, as in PyTorch.

    ``mt.softplus`` has no β and no threshold.

    Raises
    ------
    ValueError
        β is not positive.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.softplus(mt.tensor([0.0, 1.0]), beta=2, threshold=1)
    tensor([0.34657359, 1.        ])
    """
    check_float(x, "softplus")
    beta = check_positive(beta, "beta", "softplus")
    out: Tensor = ops.where(ops.greater(x, threshold / beta), x, ops.softplus(x * beta) / beta)
    return out


class Softplus(Activation):
    """A smooth ReLU: ln(1 + e^(βx)) / β, and x itself where βx is above the threshold.

    Parameters
    ----------
    beta : float
        β. It must be positive.
    threshold : float
        Where βx is above this, the result is x.

    Raises
    ------
    ValueError
        β is not positive.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Softplus()(mt.tensor([0.0]))
    tensor([0.69314718])
    """

    function = softplus
    beta: float = 1.0
    threshold: float = 20.0

    def _keep(self, name: str, value: Any) -> None:
        if name == "beta" and not value > 0:
            raise ValueError(f"Softplus: beta is {value}; it must be positive")
        super()._keep(name, value)


class Hardtanh(Activation):
    """Values limited to two bounds: min(max(x, `min_val`), `max_val`).

    Parameters
    ----------
    min_val, max_val : float
        The bounds.

    Raises
    ------
    ValueError
        `min_val` is not below `max_val`.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Hardtanh()(mt.tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """

    function = functional.hardtanh
    min_val: float = -1.0
    max_val: float = 1.0

    def _keep(self, name: str, value: Any) -> None:
        if name == "max_val" and not self.min_val < value:
            raise ValueError(f"Hardtanh: min_val {self.min_val} must be below max_val {value}")
        super()._keep(name, value)


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


class _AlongClasses(Activation):
    """Activations along one axis. It has no default, because PyTorch's old default depends on the number of axes."""

    def _keep(self, name: str, value: Any) -> None:
        super()._keep(name, integer(value, name, type(self).__name__))

    def _computed(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        if not x.size:
            # A batch of nothing stays as it is: there is no largest element to subtract.
            one_axis(self.dim, x.ndim, type(self).__name__)
            return x
        return type(self).function(x, axis=self.dim)


class Softmax(_AlongClasses):
    """Exponentials normalised to sum 1 along an axis: eˣ / Σ eˣ.

    Parameters
    ----------
    dim : int
        The axis of the classes. It has no default.

    Raises
    ------
    TypeError
        `dim` is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Softmax(dim=-1)(mt.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    function = functional.softmax
    dim: int


class LogSoftmax(_AlongClasses):
    """Logarithm of the softmax along an axis: x − ln Σ eˣ.

    Parameters
    ----------
    dim : int
        The axis of the classes. It has no default.

    Raises
    ------
    TypeError
        `dim` is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LogSoftmax(dim=-1)(mt.tensor([0.0, 0.0]))
    tensor([-0.69314718, -0.69314718])
    """

    function = functional.log_softmax
    dim: int
