"""Checkpoints as ``.npz``: a zip file of uncompressed ``.npy`` members and a JSON member that lists them.

The JSON member ``__microtensor__`` holds the format's version, the dtype and shape of every array, and the state
with its arrays replaced by their names. The members must be exactly those. Every length in the file is compared with
the size of the file before it is used.
"""

from __future__ import annotations

import errno
import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from microtensor.serialize.checks import CheckpointError, check_booleans, stored_array
from microtensor.support.arrays import Array
from microtensor.text import safe_text

MANIFEST = "__microtensor__"
VERSION = 1
# A zip with more members needs a 64-bit directory, and a model with more arrays is a mistake.
MOST_MEMBERS = 0xFFFE
LONGEST_NAME = 100
# In bits: Python refuses to read an integer of more than 4300 decimal digits.
LARGEST_INTEGER = 14_000

Key: TypeAlias = str | int


class _BadFileError(Exception):
    """What is wrong with a file. The name of the file is added later, where it is known."""


# Only what NumPy writes for plain numbers: nothing in a header is evaluated, and object arrays have no way in.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<>|][biuf][1248])', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)
_END = struct.Struct("<4s6xHL6x")


# --- writing ----------------------------------------------------------------------------------------------


def write(file: BinaryIO, state: Mapping[str, Any]) -> None:
    """Write a state: arrays, numbers, strings and None in mappings, lists and tuples.

    Raises
    ------
    TypeError
        A value or a key is of another kind; the message says where it is.
    ValueError
        The state contains itself, an integer is too large, or there are too many arrays.
    """
    arrays: dict[str, Array] = {}
    try:
        tree = _encoded(state, (), arrays)
    except RecursionError:
        raise ValueError("save: the state is nested too deeply, or contains itself") from None
    if len(arrays) >= MOST_MEMBERS:
        raise ValueError(f"save: {len(arrays)} arrays are more than the {MOST_MEMBERS - 1} that a file can hold")
    declared = {name: {"dtype": array.dtype.str, "shape": array.shape} for name, array in arrays.items()}
    with zipfile.ZipFile(file, "w") as archive:
        # Members without a date: the same state gives the same bytes.
        manifest = {"format": VERSION, "arrays": declared, "state": tree}
        archive.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest))
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(info, "w", force_zip64=array.nbytes >= 2**30) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def _encoded(value: Any, path: tuple[Key, ...], arrays: dict[str, Array]) -> Any:
    """The value as JSON. Its arrays are put into `arrays`, and stand in the JSON by their names."""
    if type(value) is int and value.bit_length() > LARGEST_INTEGER:
        bits = value.bit_length()
        raise ValueError(f"{_place(path)} is an integer of {bits} bits; it must have at most {LARGEST_INTEGER}")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str and (type(key) is not int or not path):
                allowed = "strings and integers" if path else "strings"
                raise TypeError(f"{_place(path)} has the key {key!r}; keys must be {allowed}")
        return {"dict": [[key, _encoded(item, (*path, key), arrays)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_encoded(item, (*path, index), arrays) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    array = stored_array(value, _place(path))
    if array is None:
        raise TypeError(
            f"{_place(path)} is of type {type(value).__name__}; a checkpoint holds tensors, arrays, numbers, "
            "strings and None, in mappings, lists and tuples"
        )
    # A name that any tool shows and unpacks safely; which key it belongs to is written in the manifest.
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", ".".join(map(str, path)))[:LONGEST_NAME]
    if name in arrays:
        name = f"{name}~{len(arrays)}"
    arrays[name] = array
    return {"array": name}


def _place(path: tuple[Key, ...]) -> str:
    return "save: state" + "".join(f"[{key!r}]" for key in path)


# --- reading ----------------------------------------------------------------------------------------------


def read(file: BinaryIO, path: str) -> dict[str, Any]:
    """Read a whole state. If a part of it is wrong, nothing is read.

    Raises
    ------
    CheckpointError
        The file is not what :func:`write` writes.
    """
    try:
        return _read(file, path)
    except _BadFileError as error:
        raise CheckpointError(path, str(error)) from None
    except (CheckpointError, MemoryError):
        raise
    except OSError as error:
        # A damaged offset, followed to before the start of the file; any other failure is the disk's own.
        if error.errno != errno.EINVAL:
            raise
        raise CheckpointError(path, "it is damaged (an offset points outside)") from error
    except Exception as error:
        # What zipfile, json and NumPy raise over bytes that they do not expect is not documented, and is much.
        raise CheckpointError(path, f"it is damaged ({safe_text(str(error), 200) or type(error).__name__})") from error


def _read(file: BinaryIO, path: str) -> dict[str, Any]:
    size = file.seek(0, 2)
    count = _count_members(file, size)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        if not len(members) == len(names) == count:
            raise _BadFileError("its list of members is damaged, or names a member twice")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise _BadFileError("a member is compressed; a checkpoint has no compressed members")
        if sum(member.file_size for member in members) > size:
            raise _BadFileError("its members would be larger than the file")
        if MANIFEST not in names:
            raise _BadFileError(f"it has no member {MANIFEST}, so it is no checkpoint; numpy.load reads other archives")
        manifest = json.loads(archive.read(MANIFEST))
        if not isinstance(manifest, dict) or not manifest.keys() >= {"format", "arrays", "state"}:
            raise _BadFileError(f"it is damaged ({MANIFEST} does not say format, arrays and state)")
        version = manifest["format"]
        if type(version) is not int or version != VERSION:
            raise _BadFileError(f"its format is {repr(version)[:40]}, and this version of microtensor reads {VERSION}")
        declared = manifest["arrays"]
        if not isinstance(declared, dict):
            raise _BadFileError("it is damaged (its list of arrays has no names)")
        if names != {MANIFEST, *(f"{name}.npy" for name in declared)}:
            raise _BadFileError("its members are not the arrays that it lists")
        arrays = {name: _array(archive.read(f"{name}.npy"), name, entry) for name, entry in declared.items()}
    for name, array in arrays.items():
        check_booleans(array, name, path)
    state = _decoded(manifest["state"], arrays)
    if arrays or not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise _BadFileError("its state must be a mapping from strings, and must use each array once")
    return state


def _count_members(file: BinaryIO, size: int) -> int:
    """The number of members as the last record of the file says it, before zipfile reads all of them."""
    if not size:
        raise _BadFileError("it is empty")
    file.seek(max(0, size - _END.size - 20))
    locator, end = file.read(20), file.read(_END.size)
    if len(end) < _END.size or end[:4] != b"PK\5\6":
        raise _BadFileError("it is truncated, or is no checkpoint")
    _, count, length = _END.unpack(end)
    wide = locator[:4] == b"PK\6\7" and size < 2**32
    if wide or length > count * (LONGEST_NAME + 128):
        raise _BadFileError("its list of members is damaged, or too long for a checkpoint")
    return int(count)


def _array(data: bytes, name: str, declared: Any) -> Array:
    """The array in a member. Its header must agree with the manifest, and its length with both."""
    header = _HEADER.match(data)
    if header is None or header.end() != 10 + int.from_bytes(header[1], "little"):
        raise _BadFileError(f"{name!r} does not start like an array of numbers")
    dtype = np.dtype(header[2].decode())
    shape = tuple(int(length) for length in header[4].replace(b",", b" ").split())
    if declared != {"dtype": dtype.str, "shape": list(shape)}:
        raise _BadFileError(f"{name!r} is an array of shape {shape} and dtype {dtype}; its list says otherwise")
    if math.prod(shape) * dtype.itemsize != len(data) - header.end():
        raise _BadFileError(f"{name!r} holds {len(data) - header.end()} bytes, which do not fit shape {shape}")
    view: Array = np.ndarray(shape, dtype, data, header.end(), order="F" if header[3] == b"True" else "C")
    return view.copy(order="K")


def _decoded(tree: Any, arrays: dict[str, Array]) -> Any:
    """The value that :func:`_encoded` turned into JSON. Each array is taken out of `arrays`."""
    match tree:
        case None | bool() | int() | float() | str():
            return tree
        case list():
            return [_decoded(item, arrays) for item in tree]
        case {"array": str(name), **rest} if not rest:
            return arrays.pop(name)
        case {"tuple": list(items), **rest} if not rest:
            return tuple(_decoded(item, arrays) for item in items)
        case {"dict": list(pairs), **rest} if not rest:
            decoded = {key: _decoded(item, arrays) for key, item in pairs}
            if len(decoded) == len(pairs) and all(type(key) in (str, int) for key in decoded):
                return decoded
    raise _BadFileError("its description of the state cannot be read")
