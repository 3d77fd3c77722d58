"""Tensors of random numbers, and the generator that is used by default."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from microtensor.core.tensor import Tensor
from microtensor.creation import get_default_dtype
from microtensor.hints import spelled
from microtensor.support.arrays import Array, own_array
from microtensor.support.axes import Shape, integer, shape_of_new
from microtensor.support.modes import current_mode

# Made when it is first drawn from: numpy.random takes longer to load than all of this package.
_default: np.random.Generator | None = None


def manual_seed(seed: int) -> None:
    """Seed the default generator, which is used when no `rng` is given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.manual_seed(0)
    >>> first = mt.random.normal(3)
    >>> mt.manual_seed(0)
    >>> bool((mt.random.normal(3) == first).all())
    True
    """
    global _default
    _default = np.random.default_rng(seed)


def generator(rng: Any = None) -> np.random.Generator:
    """The generator to use: `rng` through ``np.random.default_rng`` (SPEC 7). None: the default generator."""
    global _default
    tracer: Any = current_mode().tracer
    if tracer is not None and (rng is None or isinstance(rng, np.random.Generator)):
        tracer.draws()
    if rng is not None:
        return np.random.default_rng(rng)
    if _default is None:
        _default = np.random.default_rng()
    return _default


def _made(draws: Array, dtype: DTypeLike | None, requires_grad: bool, who: str) -> Tensor:
    chosen = get_default_dtype() if dtype is None else np.dtype(dtype)
    if chosen.kind != "f":
        raise TypeError(f"{who}: dtype is {chosen}; it must be floating point. random.integers draws integers")
    return Tensor(draws, dtype=chosen, requires_grad=requires_grad)


def _number(value: Any, who: str) -> Any:
    """A setting of a distribution: one number, or an array with one for each draw."""
    return own_array(value._array if isinstance(value, Tensor) else value, who)


@spelled
def normal(
    shape: Shape = (),
    mean: float = 0.0,
    std: float = 1.0,
    *,
    rng: Any = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from a normal distribution.

    Parameters
    ----------
    shape : int or sequence of int
    mean, std : float
        The mean and the standard deviation.
    rng : int or numpy.random.Generator, optional
    dtype : dtype, optional
        Default: that of :func:`microtensor.get_default_dtype`.
    requires_grad : bool

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.normal(3, rng=0).numpy().round(2)
    array([ 0.13, -0.13,  0.64])
    """
    moments = _number(mean, "normal: mean"), _number(std, "normal: std")
    return _made(generator(rng).normal(*moments, shape_of_new(shape, "normal")), dtype, requires_grad, "normal")


@spelled
def uniform(
    shape: Shape = (),
    low: float = 0.0,
    high: float = 1.0,
    *,
    rng: Any = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from the uniform distribution over [low, high).

    Parameters
    ----------
    shape : int or sequence of int
    low, high : float
        The bounds. `high` is excluded.
    rng : int or numpy.random.Generator, optional
    dtype : dtype, optional
        Default: that of :func:`microtensor.get_default_dtype`.
    requires_grad : bool

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.uniform(3, rng=0).numpy().round(2)
    array([0.64, 0.27, 0.04])
    """
    bounds = _number(low, "uniform: low"), _number(high, "uniform: high")
    return _made(generator(rng).uniform(*bounds, shape_of_new(shape, "uniform")), dtype, requires_grad, "uniform")


@spelled
def integers(shape: Shape, low: int, high: int, *, rng: Any = None) -> Tensor:
    """Draws from the integers low to high − 1, all equally likely.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.integers(3, 0, 10, rng=0)
    tensor([8, 6, 5])
    """
    bounds = _number(low, "integers: low"), _number(high, "integers: high")
    if any(bound.dtype.kind not in "iu" for bound in bounds):
        raise TypeError(f"integers: the bounds are {low!r} and {high!r}; they must be integers")
    return Tensor(generator(rng).integers(*bounds, shape_of_new(shape, "integers")))


@spelled
def permutation(size: int, *, rng: Any = None) -> Array:
    """The integers from 0 to size − 1 in random order, as a NumPy array to index with.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.permutation(4, rng=0)
    array([2, 0, 1, 3])
    """
    return generator(rng).permutation(shape_of_new(integer(size, "size", "permutation"), "permutation")[0])
