"""Arrays of our own: what is taken in is copied, and what would lose something is refused."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
_NUMBERS = frozenset({float, int, bool})
_FLOAT32 = np.dtype(np.float32)


def refuse_lossy(data: Any, who: str) -> None:
    """Raises TypeError for a masked array or a matrix, also inside lists: NumPy would drop what makes it one."""
    if isinstance(data, (np.ma.MaskedArray, np.matrix)):
        kind = type(data).__name__
        raise TypeError(f"{who} is a {kind}, whose meaning would be lost; pass np.asarray(...) or .filled(...)")
    # Of a list of plain numbers, which is most of them, C sees to the types.
    if isinstance(data, (list, tuple)) and not _NUMBERS.issuperset(map(type, data)):
        for item in data:
            refuse_lossy(item, who)


def plain_array(data: Any, who: str = "an argument") -> Array:
    """What NumPy makes of `data`, without a copy where it is an array.

    Raises
    ------
    TypeError
        For masked arrays and matrices.
    """
    if type(data) is np.ndarray:
        return data
    refuse_lossy(data, who)
    return np.asarray(data)


def own_array(data: Any, who: str, dtype: Any = None) -> Array:
    """Copy `data` into an array of booleans, integers or floats; anything that would lose something raises.

    Raises
    ------
    TypeError
        For masked arrays, matrices, long doubles, and everything that is not a number.
    ValueError
        For ragged nested sequences.
    OverflowError
        For Python integers that `dtype` does not hold, as in NumPy.
    """
    refuse_lossy(data, who)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{who} is ragged: its rows differ in length ({error})") from error
    except (TypeError, RuntimeError) as error:
        # Of other libraries' arrays, such as a PyTorch tensor that requires a gradient or is of bfloat16.
        raise TypeError(f"{who} is a {type(data).__name__}, of which NumPy makes no array: {error}") from error
    if array.dtype.kind not in "biuf":
        kind = "" if isinstance(data, np.ndarray) else f", from a {type(data).__name__}"
        raise TypeError(f"{who} has dtype {array.dtype}{kind}; booleans, integers and floats are taken")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{who} has dtype {array.dtype}, which would lose digits; convert it with .astype(np.float64)")
    if dtype is None:
        return np.array(array, dtype=array.dtype.newbyteorder("="))
    # From the numbers themselves, so that NumPy says when an integer does not fit.
    numbers = isinstance(data, (int, list, tuple))
    return np.array(data if numbers else array, dtype=plain_dtype(dtype, who))


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype in which values of `dtype` are added up: float32 for float16, whose sums end at 65,504; or NumPy's."""
    return _FLOAT32 if dtype.char == "e" else None


def plain_dtype(dtype: DTypeLike, who: str) -> np.dtype[Any]:
    """A dtype of booleans, integers or floats in the machine's byte order.

    Raises
    ------
    TypeError
        It is of another kind, or of floats longer than 64 bits.
    """
    plain = np.dtype(dtype).newbyteorder("=")
    if plain.kind not in "biuf" or plain.itemsize > 8:
        raise TypeError(f"{who}: dtype {plain} is not a boolean, integer or float of up to 64 bits")
    return plain
