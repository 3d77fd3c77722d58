"""Checkpoints: a state saved to a file and loaded from it, completely or not at all, and without running code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from microtensor.atomic import replacing
from microtensor.serialize.checks import CheckpointError

__all__ = ["CheckpointError", "load", "save"]

PathLike: TypeAlias = str | os.PathLike[str]


def save(path: PathLike, state: Mapping[str, Any]) -> None:
    """Save a state, such as ``module.state_dict()``; the suffix of the path picks the format.

    The file is written beside its place and moved there in one step. So the file at that place is always
    complete: the old one or the new one.

    Parameters
    ----------
    path : path
        Ending in ``.npz``, for everything, or in ``.safetensors``, for flat states of arrays to exchange with PyTorch
        and others (needs ``pip install "microtensor[safetensors]"``).
    state : mapping
        From strings to tensors, arrays, numbers, strings and None, and to mappings, lists and tuples of these. Keys
        inside may be integers, as in the state of an optimiser. Arrays keep dtype and byte order (a
        ``.safetensors`` file has little-endian ones only); tensors are saved without gradient and name.

    Raises
    ------
    TypeError
        A key or value cannot be stored; the message names its place. Or the path is none: PyTorch's comes second.
    ValueError
        The suffix is another one, or the state contains itself or is too large for the format.
    ImportError
        The package for ``.safetensors`` is missing.
    OSError
        The file cannot be written; one that was there is as before.

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
    >>> checkpoint["epoch"]
    7
    """
    shown, suffix = _path_and_suffix(path, "save")
    if not isinstance(state, Mapping):
        raise TypeError(f"save: the state is of type {type(state).__name__}; it must be a mapping, as by state_dict()")
    # Imported here: together they take longer to load than all of this package.
    from microtensor.serialize import npz, safetensors

    with replacing(shown) as file:
        (npz if suffix == ".npz" else safetensors).write(file, state)


def load(path: PathLike) -> dict[str, Any]:
    """Load what :func:`save` or, for ``.safetensors``, any other library has saved; no code in a file is ever run.

    Tensors come back as arrays, mappings as dictionaries.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.

    Raises
    ------
    CheckpointError
        The file is damaged, or is no checkpoint; it is a ValueError.
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
            f"{who}: the path is of type {type(path).__name__}; it comes first: save(path, state), load(path)"
        )
    shown = os.fsdecode(path)
    suffix = os.path.splitext(shown)[1]
    if suffix not in (".npz", ".safetensors"):
        raise ValueError(
            f"{who}: {shown!r} ends in neither .npz nor .safetensors; "
            "PyTorch writes and reads the latter with safetensors.torch.save_file and load_file"
        )
    return shown, suffix
