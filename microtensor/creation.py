"""New tensors: zeros, ones, ranges and parameters; and their default dtype."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor.checks import renamed
from microtensor.core.primitive import as_array
from microtensor.core.tensor import Tensor
from microtensor.hints import spelled
from microtensor.support.arrays import check_device, own_array, plain_dtype
from microtensor.support.axes import MOST_ELEMENTS, Shape, integer, shape_of_new

__all__ = [
    "arange",
    "eye",
    "full",
    "get_default_dtype",
    "ones",
    "ones_like",
    "set_default_dtype",
    "zeros",
    "zeros_like",
]

_default_dtype: np.dtype[Any] = np.dtype(np.float64)


def set_default_dtype(dtype: DTypeLike) -> None:
    """Set the default dtype of parameters, :func:`zeros`, :func:`ones`, :func:`full` and :func:`eye`.

    At the start it is float64.

    Parameters
    ----------
    dtype : float16, float32 or float64

    Raises
    ------
    TypeError
        The dtype is not one of the three.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.set_default_dtype("float32")
    >>> mt.zeros(2).dtype
    dtype('float32')
    >>> mt.set_default_dtype("float64")
    """
    global _default_dtype
    chosen = np.dtype(dtype)
    if chosen.kind != "f" or chosen.itemsize > 8:
        raise TypeError(f"set_default_dtype: dtype is {chosen}; it must be float16, float32 or float64")
    _default_dtype = chosen


def get_default_dtype() -> np.dtype[Any]:
    """The default dtype of parameters, :func:`zeros`, :func:`ones`, :func:`full` and :func:`eye`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.get_default_dtype()
    dtype('float64')
    """
    return _default_dtype


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient and appears in ``module.parameters()``.

    A copy or a pickle keeps ``requires_grad`` but not ``.grad``; see :class:`Tensor`.

    Parameters
    ----------
    data : array_like
        The initial value. Integers and booleans are converted to the default dtype.
    name : str, optional
        The name in pictures, such as γ. The key in the state is the name of the attribute.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike | Tensor, name: str | None = None) -> None:
        value = own_array(as_array(data), "Parameter: data")
        dtype = value.dtype if value.dtype.kind == "f" else get_default_dtype()
        super().__init__(value, dtype=dtype, requires_grad=True, name=name)


def _filled(who: str, shape: Any, value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device, who)
    dtype = plain_dtype(get_default_dtype() if dtype is None else dtype, who)
    # From an array of that dtype, so that NumPy raises when a number does not fit.
    array = np.full(shape_of_new(shape, who), own_array(as_array(value), f"{who}: fill_value", dtype))
    return Tensor(array, requires_grad=requires_grad)


@spelled
def zeros(
    shape: Shape, *, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros. Default dtype: :func:`get_default_dtype`. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.zeros(2)
    tensor([0., 0.])
    """
    return _filled("zeros", shape, 0, dtype, device, requires_grad)


@spelled
def ones(
    shape: Shape, *, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones. Default dtype: :func:`get_default_dtype`. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.ones((1, 2))
    tensor([[1., 1.]])
    """
    return _filled("ones", shape, 1, dtype, device, requires_grad)


@renamed(value="fill_value")
@spelled
def full(
    shape: Shape,
    fill_value: float,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with one value. Default dtype: :func:`get_default_dtype`. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.full((2,), 0.5)
    tensor([0.5, 0.5])
    """
    return _filled("full", shape, fill_value, dtype, device, requires_grad)


@spelled
def zeros_like(
    x: Tensor | ArrayLike, *, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros with the shape of x. Default dtype: the dtype of x. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.zeros_like(mt.tensor([1, 2]))
    tensor([0, 0])
    """
    check_device(device, "zeros_like")
    dtype = None if dtype is None else plain_dtype(dtype, "zeros_like")
    return Tensor(np.zeros_like(as_array(x), dtype=dtype), requires_grad=requires_grad)


@spelled
def ones_like(
    x: Tensor | ArrayLike, *, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones with the shape of x. Default dtype: the dtype of x. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.ones_like(mt.tensor([1, 2]))
    tensor([1, 1])
    """
    check_device(device, "ones_like")
    dtype = None if dtype is None else plain_dtype(dtype, "ones_like")
    return Tensor(np.ones_like(as_array(x), dtype=dtype), requires_grad=requires_grad)


@spelled
def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Tensor:
    """Numbers from `start` up to `stop`, without `stop`. ``arange(n)`` starts at 0. Default dtype: NumPy's.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.arange(3)
    tensor([0, 1, 2])
    """
    check_device(device, "arange")
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ValueError("arange: step is 0; it must not be 0")
    if (stop > start) == (step > 0) and abs(stop - start) > MOST_ELEMENTS * abs(step):
        raise ValueError(f"arange: {start} to {stop} in steps of {step} are more than 2**36 numbers")
    dtype = None if dtype is None else plain_dtype(dtype, "arange")
    return Tensor(np.arange(start, stop, step, dtype=dtype))


@spelled
def eye(
    rows: SupportsIndex,
    columns: SupportsIndex | None = None,
    *,
    k: SupportsIndex = 0,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere.

    Default dtype: :func:`get_default_dtype`. `device` must be None or "cpu".

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_device(device, "eye")
    shape = shape_of_new((rows, rows if columns is None else columns), "eye")
    # All diagonals outside the matrix give zeros, so the nearest one is used.
    diagonal = max(-shape[0], min(integer(k, "k", "eye"), shape[1]))
    dtype = plain_dtype(get_default_dtype() if dtype is None else dtype, "eye")
    return Tensor(np.eye(shape[0], shape[1], k=diagonal, dtype=dtype))
