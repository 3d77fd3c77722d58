"""Tensors of random numbers, and the generator that everything random draws from unless it is given one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from microtensor.support.arrays import Array, own_array
from microtensor.support.axes import Shape, integer, shape_of_new
from microtensor.tensor import Tensor, get_default_dtype

# Made when it is first drawn from: numpy.random takes longer to load than all of this package.
_default: np.random.Generator | None = None


def manual_seed(seed: int) -> None:
    """Seed the generator that is drawn from when no `rng` is given.

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
    """The generator to draw from: `rng` through ``np.random.default_rng`` (SPEC 7), or the default one."""
    global _default
    if rng is not None:
        return np.random.default_rng(rng)
    if _default is None:
        _default = np.random.default_rng()
    return _default


def _made(draws: Array, dtype: DTypeLike | None, requires_grad: bool) -> Tensor:
    chosen = get_default_dtype() if dtype is None else np.dtype(dtype)
    if chosen.kind != "f":
        raise TypeError(f"dtype {chosen} would cut the draws to integers; a float is needed, or random.integers")
    return Tensor(draws, dtype=chosen, requires_grad=requires_grad)


def _number(value: Any, who: str) -> Any:
    """A setting of a distribution, a number or one for each draw."""
    return own_array(value.numpy() if isinstance(value, Tensor) else value, who)


def normal(
    shape: Shape = (),
    mean: float = 0.0,
    std: float = 1.0,
    *,
    rng: Any = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal draws of a mean and a standard deviation.

    Parameters
    ----------
    shape : int or sequence of int
    mean, std : float
    rng : int or numpy.random.Generator, optional
    dtype : dtype, optional
        The default dtype unless given.
    requires_grad : bool

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.normal(3, rng=0).numpy().round(2)
    array([ 0.13, -0.13,  0.64])
    """
    moments = _number(mean, "normal: mean"), _number(std, "normal: std")
    return _made(generator(rng).normal(*moments, shape_of_new(shape, "normal")), dtype, requires_grad)


def uniform(
    shape: Shape = (),
    low: float = 0.0,
    high: float = 1.0,
    *,
    rng: Any = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform draws from [low, high).

    Parameters
    ----------
    shape : int or sequence of int
    low, high : float
    rng : int or numpy.random.Generator, optional
    dtype : dtype, optional
        The default dtype unless given.
    requires_grad : bool

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.uniform(3, rng=0).numpy().round(2)
    array([0.64, 0.27, 0.04])
    """
    bounds = _number(low, "uniform: low"), _number(high, "uniform: high")
    return _made(generator(rng).uniform(*bounds, shape_of_new(shape, "uniform")), dtype, requires_grad)


def integers(shape: Shape, low: int, high: int, *, rng: Any = None) -> Tensor:
    """Uniform integers from low to high − 1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.integers(3, 0, 10, rng=0)
    tensor([8, 6, 5])
    """
    bounds = _number(low, "integers: low"), _number(high, "integers: high")
    if any(bound.dtype.kind not in "iu" for bound in bounds):
        raise TypeError(f"integers: the bounds are {low!r} and {high!r}; integers are needed")
    return Tensor(generator(rng).integers(*bounds, shape_of_new(shape, "integers")))


def permutation(size: int, *, rng: Any = None) -> Array:
    """The integers below `size` in random order, as a plain array to index with.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.random.permutation(4, rng=0)
    array([2, 0, 1, 3])
    """
    return generator(rng).permutation(shape_of_new(integer(size, "size", "permutation"), "permutation")[0])
