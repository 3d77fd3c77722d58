"""Checkpoints as ``.safetensors``, a format that PyTorch and others read. It needs the package safetensors.

The format has no checksum. A damaged header is noticed, a damaged number is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from microtensor.serialize.checks import CheckpointError, check_booleans, stored_array
from microtensor.support.arrays import Array
from microtensor.text import safe_text

DTYPES = {"BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64"}
RESERVED = "__metadata__"


def write(file: BinaryIO, state: Mapping[str, Any]) -> None:
    """Write a state that maps names to arrays.

    Raises
    ------
    TypeError
        A key is not a string, or a value is not an array.
    ValueError
        A key is reserved by the format.
    """
    save = _library().numpy.save
    arrays: dict[str, Array] = {}
    for key, value in state.items():
        who = f"save: state[{key!r}]"
        if type(key) is not str:
            raise TypeError(f"save: state has the key {key!r}; keys must be strings")
        if key == RESERVED:
            raise ValueError(f"{who}: this key is reserved by the format; use another, or save as .npz")
        array = stored_array(value, who)
        if array is None:
            raise TypeError(f"{who} is of type {type(value).__name__}; .safetensors holds arrays only; save as .npz")
        arrays[key] = np.asarray(array, order="C")
    file.write(save(arrays))


def read(path: str) -> dict[str, Array]:
    """Read all arrays.

    Raises
    ------
    CheckpointError
        The file is damaged, or holds an array of a dtype that NumPy does not have.
    """
    library = _library()
    try:
        with library.safe_open(path, framework="np") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no mapping
            unknown = [f"{name!r} of dtype {dtype}" for name, dtype in dtypes.items() if dtype not in DTYPES]
            if unknown:
                raise CheckpointError(path, f"it holds {', '.join(unknown)}; convert to F32 where it was written")
            arrays = {name: file.get_tensor(name) for name in dtypes}
            for name, array in arrays.items():
                check_booleans(array, name, path)
            return arrays
    except (CheckpointError, OSError, MemoryError):
        raise
    except Exception as error:
        # Beside its own error the library lets NumPy's through, of shapes that the format allows and NumPy does not.
        raise CheckpointError(path, f"it is damaged, or no safetensors file ({safe_text(str(error), 200)})") from error


def _library() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError('.safetensors files need a package: pip install "microtensor[safetensors]"') from None
    return safetensors
