"""What both formats share: the error for damaged files, and the arrays that can be stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.support.arrays import Array, plain_dtype


class CheckpointError(ValueError):
    """A file is damaged or is not a checkpoint. Nothing was loaded.

    Parameters
    ----------
    path : str
    problem : str
        What is wrong with the file.

    Examples
    --------
    >>> import microtensor as mt
    >>> str(mt.CheckpointError("m.npz", "it is empty"))
    'cannot load m.npz: it is empty'
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot load {self.path}: {self.problem}"


def stored_array(value: Any, who: str) -> Array | None:
    """The array in a tensor, an array or a NumPy scalar; None for anything else.

    Raises
    ------
    TypeError
        The array is masked, or it does not hold booleans, integers or floats of up to 64 bits.
    """
    if isinstance(value, Tensor):
        return value._array
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{who} is a masked array, whose mask would be lost; save .filled(...) or its .data and .mask")
    array = np.asarray(value)
    plain_dtype(array.dtype, who)
    return array


def check_booleans(array: Array, name: str, path: str) -> None:
    """Raise CheckpointError for booleans whose byte is neither 0 nor 1: NumPy counts them wrong."""
    if array.dtype == bool and np.any(array.view(np.uint8) > 1):
        raise CheckpointError(path, f"{name!r} holds bytes that are no booleans")
