"""New tensors of this room, and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microtensor import random as randomness
from microtensor.core.primitive import as_array, new_tensor
from microtensor.core.tensor import Tensor as PlainTensor
from microtensor.torch import dtypes
from microtensor.torch.tensor import Tensor, legacy, nested, wrap


def made(array: Any, dtype: Any, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Any:
    """A new tensor of an array."""
    dtypes.check_device(device)
    out = wrap(new_tensor(np.array(array, dtype=dtypes.as_dtype(dtype))))
    return out.requires_grad_() if requires_grad else out


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor of a copy of the data. Python's floats give the default dtype, arrays keep theirs."""
    array = np.asarray(nested(data))
    return made(array, _inferred(data, array) if dtype is None else dtype, device, requires_grad)


def _inferred(data: Any, array: Any) -> Any:
    """The dtype of new data: of the first array or scalar of NumPy in it; Python's floats have the default dtype."""
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    python = not isinstance(first, (PlainTensor, np.ndarray, np.generic))
    return dtypes.get_default_dtype() if array.dtype.kind == "f" and python else array.dtype


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """A tensor that shares memory with an array; lists are copied, and a tensor is returned as it is."""
    found = from_numpy(data) if isinstance(data, np.ndarray) else data
    return found.to(device, dtype=dtype) if isinstance(found, Tensor) else tensor(data, dtype=dtype, device=device)


def from_numpy(ndarray: Any) -> Any:
    """A tensor that shares memory with an array: a write to either is seen in both."""
    dtypes.as_dtype(ndarray.dtype)
    out: Tensor = wrap(new_tensor(ndarray))
    out._share(ndarray)
    return out


class Generator:
    """A source of random numbers of its own. The same seed gives other numbers than in PyTorch."""

    def __init__(self, device: Any = None) -> None:
        dtypes.check_device(device)
        self.draws = np.random.default_rng()

    def manual_seed(self, seed: int) -> Generator:
        """Start again from a seed."""
        self.draws = np.random.default_rng(seed)
        return self


def draws_of(generator: Generator | None) -> np.random.Generator:
    """NumPy's generator of a generator; None: the one that :func:`manual_seed` seeds."""
    return randomness.generator() if generator is None else generator.draws


def manual_seed(seed: int) -> None:
    """Seed the random numbers. They differ from PyTorch's, so the losses that a program prints differ too."""
    randomness.manual_seed(int(seed) % 2**64)


def _sized(draw: Callable[[Any, tuple[int, ...]], Any]) -> Callable[..., Any]:
    """A function of sizes, given one by one or as one tuple, in the default dtype."""

    def new(*size: Any, dtype: Any = None, generator: Any = None, **options: Any) -> Any:
        given = options.pop("size", size)
        shape = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
        array = draw(generator, tuple(int(n) for n in shape))
        return made(array, dtype or dtypes.get_default_dtype(), **options)

    return new


def full(size: Any, fill_value: Any, *, dtype: Any = None, **options: Any) -> Any:
    """A tensor filled with one value, whose type gives the dtype."""
    return made(np.full(tuple(size), as_array(fill_value)), dtype or dtypes.result_type(fill_value), **options)


def eye(n: int, m: int | None = None, *, dtype: Any = None, **options: Any) -> Any:
    """A matrix with ones on its diagonal."""
    return made(np.eye(n, m), dtype or dtypes.get_default_dtype(), **options)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, **options: Any) -> Any:
    """Numbers from `start` to below `end`: int64, or the default dtype if one of the three is a float."""
    start, end, step = (x.item() if isinstance(x, PlainTensor) else x for x in (start, end, step))
    start, end = (0, start) if end is None else (start, end)
    return made(np.arange(start, end, step), dtype or dtypes.result_type(start, end, step), **options)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, **options: Any) -> Any:
    """Equally spaced numbers from `start` to `end`, both included."""
    return made(np.linspace(float(start), float(end), steps), dtype or dtypes.get_default_dtype(), **options)


def randint(low: int, high: Any = None, size: Any = None, *, generator: Any = None, dtype: Any = None,
            **options: Any) -> Any:  # fmt: skip
    """Integers from `low` to below `high`: ``randint(high, size)`` or ``randint(low, high, size)``."""
    low, high, size = (0, low, size or high) if size is None or high is None else (low, high, size)
    return made(draws_of(generator).integers(low, high, tuple(size)), dtype or np.dtype(np.int64), **options)


def randperm(n: int, *, generator: Any = None, dtype: Any = None, **options: Any) -> Any:
    """The integers from 0 to n − 1 in random order."""
    return made(draws_of(generator).permutation(n), dtype or np.dtype(np.int64), **options)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Any = None, **options: Any) -> Any:
    """Draws from normal distributions; `mean` and `std` are numbers, with `size`, or tensors."""
    draws = draws_of(generator).normal(as_array(mean), as_array(std), size and tuple(size))
    return made(draws, options.pop("dtype", None) or dtypes.get_default_dtype(), **options)


def _like(new: Callable[..., Any]) -> Callable[..., Any]:
    """The function that takes the shape and the dtype of a tensor."""

    def alike(input: Tensor, dtype: Any = None, **options: Any) -> Any:
        return new(*input.shape, dtype=dtype or input.dtype, **options)

    return alike


def _typed_constructor(name: str) -> Callable[..., Any]:
    def new(*data: Any) -> Any:
        return made(legacy(data, dtypes.TYPED[name]), dtypes.TYPED[name])

    new.__name__ = new.__qualname__ = name
    return new


SIZED = {
    "zeros": _sized(lambda _, shape: np.zeros(shape)),
    "ones": _sized(lambda _, shape: np.ones(shape)),
    "rand": _sized(lambda generator, shape: draws_of(generator).random(shape)),
    "empty": _sized(lambda _, shape: np.zeros(shape)),
    "randn": _sized(lambda generator, shape: draws_of(generator).standard_normal(shape)),
}
CREATION: dict[str, Callable[..., Any]] = {
    **SIZED,
    **{f"{name}_like": _like(new) for name, new in SIZED.items()},
    **{call.__name__: call for call in (tensor, as_tensor, from_numpy, full, eye, arange, linspace)},
    **{call.__name__: call for call in (randint, randperm, normal, manual_seed, Generator)},
    **{name: _typed_constructor(name) for name in dtypes.TYPED},
}
