"""Initial values of parameters."""

from __future__ import annotations

from typing import Any

from microtensor.random import generator
from microtensor.tensor import Tensor


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a leaf with uniform draws from [low, high) and return it.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.uniform_(mt.zeros(3), 1.0, 2.0, rng=0).numpy().round(2)
    array([1.64, 1.27, 1.04])
    """
    return tensor.assign_(generator(rng).uniform(low, high, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: Any = None) -> Tensor:
    """Fill a leaf with normal draws of the given mean and standard deviation and return it.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.init.normal_(mt.zeros(3), rng=0).numpy().round(2)
    array([ 0.13, -0.13,  0.64])
    """
    return tensor.assign_(generator(rng).normal(mean, std, tensor.shape))


def kaiming_normal_(tensor: Tensor, gain: float = 2.0**0.5, *, rng: Any = None) -> Tensor:
    """Fill a weight (out, in) with normal draws of standard deviation gain / √in and return it.

    With the gain √2 the variance of the signal is kept through a ReLU.

    References
    ----------
    He, Zhang, Ren & Sun, *Delving Deep into Rectifiers*, 2015.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.nn.init.kaiming_normal_(mt.zeros((500, 200)), rng=0)
    >>> round(float(w.std()), 2)
    0.1
    """
    if tensor.ndim < 2:
        raise ValueError(f"kaiming_normal_: a weight of shape {tensor.shape} has no fan-in; two axes are needed")
    fan_in = tensor.size // tensor.shape[0]
    return normal_(tensor, 0.0, gain / fan_in**0.5, rng=rng)
