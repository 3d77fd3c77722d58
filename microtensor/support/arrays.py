"""NumPy arrays for tensors: copies, dtypes, sums in a wide enough dtype, no warnings about NaN and ∞."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
P = ParamSpec("P")
R = TypeVar("R")
_NUMBERS = frozenset({float, int, bool})
_FLOAT32 = np.dtype(np.float32)
# From so many rows on, a product with ones takes less time than a sum over them.
MANY = 128


def refuse_lossy(data: Any, who: str) -> None:
    """Raises TypeError for a masked array or a matrix, also inside lists: NumPy would lose its meaning."""
    if isinstance(data, (np.ma.MaskedArray, np.matrix)):
        kind = type(data).__name__
        raise TypeError(f"{who} is a {kind} and would lose its meaning; pass np.asarray(...) or .filled(...)")
    # Most lists hold only plain numbers. This check of their types runs in C.
    if isinstance(data, (list, tuple)) and not _NUMBERS.issuperset(map(type, data)):
        for item in data:
            refuse_lossy(item, who)


def plain_array(data: Any, who: str = "an argument") -> Array:
    """`data` as an array; an array is not copied.

    Raises
    ------
    TypeError
        It is a masked array or a matrix.
    """
    if type(data) is np.ndarray:
        return data
    refuse_lossy(data, who)
    return np.asarray(data)


def own_array(data: Any, who: str, dtype: Any = None, copy: bool | None = True) -> Array:
    """Copy `data` into an array of booleans, integers or floats. With ``copy=None`` an array need not be copied.

    Raises
    ------
    TypeError
        It is a masked array, a matrix, long doubles, or not numbers.
    ValueError
        It is a ragged nested sequence: rows differ in length.
    OverflowError
        A Python integer does not fit into `dtype`, as in NumPy.
    """
    refuse_lossy(data, who)
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_array(data, who, error) from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise _no_numbers(array, data, who)
    if dtype is None:
        return np.array(array, dtype=array.dtype.newbyteorder("="), copy=copy)
    # From the numbers themselves, so that NumPy raises when an integer does not fit.
    return np.array(data if isinstance(data, (int, list, tuple)) else array, dtype=plain_dtype(dtype, who))


def _no_array(data: Any, who: str, error: Exception) -> Exception:
    if isinstance(error, ValueError):
        return ValueError(f"{who} is ragged: its rows differ in length ({error})")
    # From arrays of other libraries, such as a PyTorch tensor that requires a gradient or has dtype bfloat16.
    return TypeError(f"{who} is a {type(data).__name__}, which NumPy cannot convert to an array: {error}")


def _no_numbers(array: Array, data: Any, who: str) -> TypeError:
    if array.dtype.kind == "f":
        return TypeError(f"{who} has dtype {array.dtype}, which would lose digits; convert it with .astype(np.float64)")
    kind = "" if isinstance(data, np.ndarray) else f", from a {type(data).__name__}"
    return TypeError(f"{who} has dtype {array.dtype}{kind}; it must be boolean, integer or float")


def is_finite(value: Any) -> bool:
    """Whether an array or a tensor has no NaN and no ∞; always True for integers."""
    array = np.asarray(getattr(value, "_array", value))
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype for sums: float32 for float16, whose largest number is 65,504; None for NumPy's default."""
    return _FLOAT32 if dtype.char == "e" else None


def plain_dtype(dtype: DTypeLike, who: str) -> np.dtype[Any]:
    """A dtype of booleans, integers or floats in the machine's byte order.

    Raises
    ------
    TypeError
        It is another kind of dtype, or has more than 64 bits.
    """
    plain = np.dtype(dtype).newbyteorder("=")
    if plain.kind not in "biuf" or plain.itemsize > 8:
        raise TypeError(f"{who}: dtype {plain} is not a boolean, integer or float of up to 64 bits")
    return plain


def check_device(device: Any, who: str) -> None:
    """Raises ValueError unless the device is None or "cpu"."""
    if device is not None and str(device) != "cpu":
        raise ValueError(f"{who}: device is {device!r}; it must be None or 'cpu', because NumPy computes on the CPU")


def check_copy(copy: Any, who: str) -> None:
    """Raises TypeError unless copy is True, False or None."""
    if not (copy is None or isinstance(copy, (bool, np.bool_))):
        raise TypeError(f"{who}: copy is {copy!r}; it must be True, False or None")


def with_memory(y: Array, x: Any, copy: bool | None, who: str) -> Array:
    """The result y: in its own memory if `copy` is True, in the memory of x if False, in either if None.

    Raises
    ------
    ValueError
        `copy` is False, but y does not share the memory of x.
    """
    check_copy(copy, who)
    if copy is False and y.size and not np.may_share_memory(y, x):
        raise ValueError(f"{who}: copy=False is not possible here; pass copy=None")
    return y.copy() if copy else y


def total(ufunc: np.ufunc, x: Array, axis: Any, keepdims: bool, dtype: DTypeLike | None = None, who: str = "") -> Any:
    """A sum or a product over axes; default dtype: NumPy's."""
    result = x.dtype if dtype is None else plain_dtype(dtype, who)
    wide = accumulator(result) or (None if dtype is None else result)
    reduce: Any = add_up if ufunc is np.add and x.size > 8 * MANY else ufunc.reduce
    found = reduce(x, axis=axis, keepdims=keepdims, dtype=wide)
    return found if wide is None else found.astype(result)


def add_up(x: Array, axis: Any, keepdims: Any, dtype: np.dtype[Any] | None) -> Any:
    """As ``np.add.reduce``, but the sum of many short rows is a product with ones, which is 1.3 to 20 times as fast."""
    lead = len(axis) if type(axis) is tuple and x.flags.c_contiguous and axis == tuple(range(len(axis))) else 0
    rows = math.prod(x.shape[:lead]) if lead else 0
    if rows >= MANY and dtype is None and x.dtype.char in "fd" and 1 < x.size // rows <= 512 // x.itemsize:
        return (np.ones(rows, x.dtype) @ x.reshape(rows, -1)).reshape((1,) * (lead * keepdims) + x.shape[lead:])
    return np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=dtype)


def sum_to_shape(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum x to `shape`: the adjoint of broadcasting `shape` to the shape of x."""
    found: Array = total(np.add, x, _broadcast_axes(x.shape, shape), True).reshape(shape)
    return found


@lru_cache
def _broadcast_axes(large: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of `large` along which broadcasting repeats `small`."""
    lead = len(large) - len(small)
    return tuple(i for i, n in enumerate(large) if i < lead or (small[i - lead] == 1 and n != 1))


def sum_of_products(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """``sum_to_shape(a * b, shape)``. Where the summed axes come first or last, the array a * b is not made."""
    alike = a.shape == b.shape and a.dtype == b.dtype and a.dtype.char in "fd" and a.size > 0
    blocks = _blocks(a.shape, shape) if alike and a.flags.c_contiguous and b.flags.c_contiguous else None
    if blocks is None:
        dtype = np.result_type(a, b)
        wide = accumulator(dtype)
        summed = sum_to_shape(np.multiply(a, b, dtype=wide), shape)
        return summed if wide is None else summed.astype(dtype)
    a, b = a.reshape(blocks), b.reshape(blocks)
    if blocks[2] == 1:
        found: Array = np.einsum("ij,ij->j", a[:, :, 0], b[:, :, 0])
    else:
        found = np.add.reduce(np.vecdot(a, b), axis=0)
    return found.reshape(shape)


@lru_cache
def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape `small` can be broadcast to `large`."""
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(n in (1, m) for n, m in pairs)


@lru_cache
def _blocks(large: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Sizes of three blocks of axes of `large`: summed, kept, summed. None if the axes are in another order."""
    wanted = (1,) * (len(large) - len(small)) + small
    kept = [i for i, n in enumerate(wanted) if n != 1]
    first, last = (kept[0], kept[-1] + 1) if kept else (len(large), len(large))
    if wanted[first:last] != large[first:last]:
        return None
    return math.prod(large[:first]), math.prod(large[first:last]), math.prod(large[last:])


def find_error_state() -> tuple[Callable[[], Any], Callable[[Any], Any], Any]:
    """Functions that read and set NumPy's reaction to floating-point errors, and the reaction that ignores them.

    NumPy keeps the reaction in a context variable with a private name. Setting it takes a tenth of the time of
    ``np.errstate``, which takes as long as a small operation. Without that variable, public functions are used.
    """
    with np.errstate(all="ignore"):
        for variable, value in copy_context().items():
            if variable.name == "numpy.ufunc.extobj":
                return variable.get, variable.set, value
        return np.geterr, lambda reactions: np.seterr(**reactions), np.geterr()


get_errors, set_errors, IGNORED = find_error_state()


def quietly(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function while NumPy ignores floating-point errors, then restore the earlier state.

    ``np.errstate`` is Python code: an interrupt inside it could leave the wrong state.
    """
    loud = get_errors()
    try:
        set_errors(IGNORED)
        return function(*args, **kwargs)
    finally:
        set_errors(loud)
