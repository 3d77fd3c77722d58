"""Checkpoints: states saved to files and loaded again, completely or not at all. Loading runs no code of the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from microtensor.atomic import replacing
from microtensor.serialize.checks import CheckpointError

__all__ = ["CheckpointError", "load", "save"]

PathLike: TypeAlias = str | os.PathLike[str]


def save(path: PathLike, state: Mapping[str, Any]) -> None:
    """Save a state, such as ``module.state_dict()``. The suffix of the path decides the format.

    The path and the state may also be given in the other order, as in PyTorch: the types tell which is which.

    A temporary file is written and then moved to the path in one step. So the file at the path is always complete:
    the old one or the new one.

    Parameters
    ----------
    path : path
        It ends in ``.npz`` or ``.safetensors``. An ``.npz`` file can hold every state. A ``.safetensors`` file holds a
        mapping of names to arrays; PyTorch and other libraries can read it. This format needs ``pip install
        "microtensor[safetensors]"``.
    state : mapping
        From strings to tensors, arrays, numbers, strings and None, and to mappings, lists and tuples of these. Keys of
        an inner mapping may be integers, as in the state of an optimiser. Arrays keep their dtype and byte order; in
        ``.safetensors`` the byte order is always little-endian. Tensors are saved without gradient and name.

    Raises
    ------
    TypeError
        A key or value cannot be stored; the message says where it is. Or neither argument is a path.
    ValueError
        The suffix is another one, the state contains itself, or it is too large for the format.
    ImportError
        The package for ``.safetensors`` is missing.
    OSError
        The file cannot be written. An old file is not changed.

    Examples
    --------
    >>> import os, tempfile
    >>> import microtensor as mt
    >>> model = mt.nn.Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     mt.save(path, {"model": model.state_dict(), "epoch": 7})
    ...     checkpoint = mt.load(path)
    >>> model.load_state_dict(checkpoint["model"])
    <All keys matched successfully>
    >>> checkpoint["epoch"]
    7
    """
    if isinstance(path, Mapping) and isinstance(state, (str, bytes, os.PathLike)):
        path, state = state, path
    shown, suffix = _path_and_suffix(path, "save")
    if not isinstance(state, Mapping):
        raise TypeError(f"save: the state is of type {type(state).__name__}; it must be a mapping, as by state_dict()")
    # Imported here: together they take longer to load than all of this package.
    from microtensor.serialize import npz, safetensors

    with replacing(shown) as file:
        (npz if suffix == ".npz" else safetensors).write(file, state)


def load(path: PathLike) -> dict[str, Any]:
    """Load a state that :func:`save` has saved, or a ``.safetensors`` file of any library. No code in a file is run.

    Tensors are loaded as arrays, and mappings as dictionaries.

    Parameters
    ----------
    path : path
        It ends in ``.npz`` or ``.safetensors``.

    Raises
    ------
    CheckpointError
        The file is damaged or is not a checkpoint. This error is a ValueError.
    ValueError
        The suffix is another one.
    ImportError
        The package for ``.safetensors`` is missing.
    OSError
        There is no such file, or it cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import microtensor as mt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "w.npz")
    ...     mt.save(path, {"w": mt.ones(3)})
    ...     mt.load(path)
    {'w': array([1., 1., 1.])}
    """
    shown, suffix = _path_and_suffix(path, "load")
    from microtensor.serialize import npz, safetensors

    with open(shown, "rb") as file:
        return npz.read(file, shown) if suffix == ".npz" else safetensors.read(shown)


def _path_and_suffix(path: PathLike, who: str) -> tuple[str, str]:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(
            f"{who}: path is of type {type(path).__name__}; it must be a str or a path: save(path, state), load(path)"
        )
    shown = os.fsdecode(path)
    suffix = os.path.splitext(shown)[1]
    if suffix not in (".npz", ".safetensors"):
        raise ValueError(
            f"{who}: {shown!r} must end in .npz or .safetensors; "
            "PyTorch writes and reads .safetensors with safetensors.torch.save_file and load_file"
        )
    return shown, suffix
