"""Initial values of parameters: each function fills a leaf in place and returns it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.random import generator


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a leaf with uniform draws from [a, b).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.uniform_(mt.zeros(3), 1.0, 2.0, rng=0).numpy().round(2)
    array([1.64, 1.27, 1.04])
    """
    return tensor.assign_(generator(rng).uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a leaf with normal draws of the given mean and standard deviation.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.normal_(mt.zeros(3), rng=0).numpy().round(2)
    array([ 0.13, -0.13,  0.64])
    """
    return tensor.assign_(generator(rng).normal(mean, std, tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill a leaf with one value.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.constant_(mt.zeros(2), 0.1)
    tensor([0.1, 0.1])
    """
    return tensor.assign_(np.full(tensor.shape, val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill a leaf with zeros.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.zeros_(mt.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill a leaf with ones.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.ones_(mt.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor for a weight's standard deviation that keeps the variance the same after an activation.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d", "conv2d", "conv_transpose2d" or "sigmoid": 1; "tanh": 5/3; "relu": √2;
        "leaky_relu": √(2 / (1 + slope²)); "selu": 3/4.
    param : float, optional
        The slope of "leaky_relu"; default: 0.01.

    Raises
    ------
    ValueError
        The name is not one of these.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    slope = 0.01 if param is None else param
    gains = {
        **dict.fromkeys(("linear", "conv1d", "conv2d", "conv_transpose2d", "sigmoid"), 1.0),
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: nonlinearity is {nonlinearity!r}; it must be one of {', '.join(gains)}")
    return gains[nonlinearity]


def _fans(tensor: Tensor, who: str) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in, *window): the inputs of an output, and the outputs of an input."""
    if tensor.ndim < 2:
        raise ValueError(f"{who}: a weight of shape {tensor.shape} has no fan-in; it must have the axes (out, in, …)")
    outputs, inputs, *window = tensor.shape
    return inputs * math.prod(window), outputs * math.prod(window)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a weight (out, in, …) with uniform draws from ± gain √(6 / (fan-in + fan-out)).

    The variance is gain² · 2 / (fan-in + fan-out). It is a compromise: 1 / fan-in would keep the variance of the signal
    in the forward pass, and 1 / fan-out would keep the variance of the gradient in the backward pass.

    Raises
    ------
    ValueError
        The weight has fewer than two axes.

    References
    ----------
    Glorot & Bengio, *Understanding the Difficulty of Training Deep Feedforward Neural Networks*, 2010.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.xavier_uniform_(mt.zeros((300, 300)), rng=0)
    >>> round(float(mt.abs(w).max()), 2)
    0.1
    """
    bound = gain * math.sqrt(6 / sum(_fans(tensor, "xavier_uniform_")))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a weight (out, in, …) with normal draws of standard deviation gain √(2 / (fan-in + fan-out)).

    Raises
    ------
    ValueError
        The weight has fewer than two axes.

    References
    ----------
    Glorot & Bengio, *Understanding the Difficulty of Training Deep Feedforward Neural Networks*, 2010.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.xavier_normal_(mt.zeros((100, 100)), rng=0)
    >>> round(float(mt.std(w)), 2)
    0.1
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor, "xavier_normal_"))), rng=rng)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str, who: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(tensor, who), strict=True))
    if mode not in fans:
        raise ValueError(f"{who}: mode is {mode!r}; it must be 'fan_in' or 'fan_out'")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode])


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: Any = None
) -> Tensor:
    """Fill a weight (out, in, …) with uniform draws from ± √3 gain / √fan. The standard deviation is gain / √fan.

    Parameters
    ----------
    tensor : Tensor
    a : float
        The negative slope of the leaky ReLU that follows; 0 for a ReLU.
    mode : {"fan_in", "fan_out"}
        Whether the variance stays the same in the forward or in the backward pass.
    nonlinearity : str
        The activation that follows. For the names see :func:`calculate_gain`.
    rng : int or numpy.random.Generator, optional

    Raises
    ------
    ValueError
        The weight has fewer than two axes, or a name is not known.

    References
    ----------
    He, Zhang, Ren & Sun, *Delving Deep into Rectifiers*, 2015.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.kaiming_uniform_(mt.zeros((500, 600)), rng=0)
    >>> round(float(mt.abs(w).max()), 2)
    0.1
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: Any = None
) -> Tensor:
    """Fill a weight (out, in, …) with normal draws of standard deviation gain / √fan.

    With the defaults it is √(2 / fan-in). Then the second moment of the signal is the same after a ReLU.

    Parameters
    ----------
    tensor : Tensor
    a, mode, nonlinearity, rng
        As :func:`kaiming_uniform_`.

    Raises
    ------
    ValueError
        The weight has fewer than two axes, or a name is not known.

    References
    ----------
    He, Zhang, Ren & Sun, *Delving Deep into Rectifiers*, 2015.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.kaiming_normal_(mt.zeros((500, 200)), rng=0)
    >>> round(float(mt.std(w)), 2)
    0.1
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"), rng=rng)


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a weight (out, in, …) with gain times a random orthogonal matrix of shape (out, rest).

    The rows of the matrix are orthonormal. If there are fewer columns than rows, the columns are. All such matrices are
    equally likely.

    Raises
    ------
    ValueError
        The weight has fewer than two axes.

    References
    ----------
    Saxe, McClelland & Ganguli, *Exact Solutions to the Nonlinear Dynamics of Learning*, 2014.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.orthogonal_(mt.zeros((2, 3)), rng=0)
    >>> mt.abs(w @ w.T).numpy().round(12)
    array([[1., 0.],
           [0., 1.]])
    """
    inputs, _ = _fans(tensor, "orthogonal_")
    outputs = tensor.shape[0]
    draws = generator(rng).normal(size=(max(outputs, inputs), min(outputs, inputs)))
    q, r = np.linalg.qr(draws)
    # The factor with a positive diagonal in R is the one that is uniformly distributed.
    q = q * np.sign(np.diagonal(r))
    return tensor.assign_(gain * (q if outputs >= inputs else q.T).reshape(tensor.shape))
