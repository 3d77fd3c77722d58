"""Dtypes under PyTorch's names, the default dtype of this room, PyTorch's promotion of dtypes, and the one device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from microtensor.core import ops as core
from microtensor.core.primitive import as_array
from microtensor.core.tensor import Tensor as PlainTensor


def spelled(text: str) -> dict[str, str]:
    """Names here, and those of the same thing elsewhere where they differ: ``"abs=absolute exp"``."""
    return {pair.split("=")[0]: pair.split("=")[-1] for pair in text.split()}


_SPELLED = spelled("float32 float=float32 float64 double=float64 float16 half=float16 int64 long=int64 int32 int=int32")
_SPELLED |= spelled("int16 short=int16 int8 uint8 bool")
# They are NumPy's dtypes, so that ``x.dtype == torch.float32`` holds.
NAMES: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in _SPELLED.items()}
# The classes of tensors of old programs, such as torch.LongTensor, and what ``x.type()`` returns.
TYPED = {f"{name.title()}Tensor": NAMES[name] for name in ("float", "double", "half", "long", "int", "short", "bool")}
TYPED |= {"CharTensor": NAMES["int8"], "ByteTensor": NAMES["uint8"]}
CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2}
_default = NAMES["float32"]


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of new floating-point tensors of this room: float32 at the start."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new floating-point tensors of this room. ``mt.get_default_dtype()`` does not change."""
    global _default
    if typed(dtype).kind != "f":
        raise TypeError("only floating-point types are supported as the default type")
    _default = typed(dtype)


set_default_tensor_type = set_default_dtype


def typed(kind: Any) -> np.dtype[Any]:
    """The dtype of a class of tensors, of its name such as ``"torch.DoubleTensor"``, or of a dtype."""
    name = getattr(kind, "__name__", kind)
    return TYPED.get(name.removeprefix("torch.")) or as_dtype(kind) if isinstance(name, str) else as_dtype(kind)


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """One of the dtypes of this room, which are what ``torch.float32`` and its kin name.

    Raises
    ------
    TypeError
        It is not one of them.
    """
    python = {float: _default, int: NAMES["int64"], bool: NAMES["bool"]}
    found = python.get(dtype) if isinstance(dtype, type) else dtype
    if not isinstance(found, np.dtype) or found not in NAMES.values():
        raise TypeError(f"dtype is {dtype!r}; it must be one of {', '.join('torch.' + name for name in NAMES)}")
    return found


def floating(x: Any) -> Any:
    """x as floating point: integers and booleans become the default dtype."""
    return x if x.dtype.kind == "f" else core.astype(x, dtype=_default)


def result_type(*operands: Any) -> np.dtype[Any]:
    """The dtype of a result of several operands, by PyTorch's rules.

    The highest category wins: booleans, integers, floats. Within it tensors with axes come before those without, and
    these before Python numbers. A Python float together with integers gives the default dtype.
    """
    return _joined(*map(_ranked, operands))


def _ranked(x: Any) -> tuple[np.dtype[Any], int]:
    """The dtype of an operand, and 2 for a tensor with axes, 1 for one without, 0 for a Python number."""
    if isinstance(x, (PlainTensor, np.ndarray)):
        return as_array(x).dtype, 2 if as_array(x).ndim else 1
    kinds = {(bool, np.bool_): bool, (int, np.integer): int, (float, np.floating): float}
    return as_dtype(next((kind for numbers, kind in kinds.items() if isinstance(x, numbers)), type(x))), 0


@lru_cache
def _joined(*operands: tuple[np.dtype[Any], int]) -> np.dtype[Any]:
    ranks: dict[tuple[int, int], np.dtype[Any]] = {}
    for dtype, rank in operands:
        key = CATEGORY[dtype.kind], rank
        ranks[key] = np.promote_types(ranks.get(key, dtype), dtype)
    category = max(key[0] for key in ranks)
    return ranks[category, max(key[1] for key in ranks if key[0] == category)]


def promoted(*operands: Any) -> list[Any]:
    """The operands in the dtype of their result."""
    dtype = result_type(*operands)
    return [x if isinstance(x, PlainTensor) and as_array(x).dtype == dtype else _cast(x, dtype) for x in operands]


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    return core.astype(x, dtype=dtype) if isinstance(x, PlainTensor) else np.asarray(x, dtype)


@dataclass(frozen=True)
class device:
    """Where a tensor is. There is only the CPU; another device can be named but not used."""

    type: str = "cpu"
    index: int | None = None

    def __post_init__(self) -> None:
        name, _, number = str(self.type).partition(":")
        self.__dict__.update(type=name, index=int(number) if number else self.index)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


def check_device(where: Any) -> None:
    """Raises RuntimeError unless the device is the CPU or None."""
    if str(where).partition(":")[0] not in ("None", "cpu"):
        raise RuntimeError(f"the device is {str(where)!r}; microtensor.torch computes on the CPU only")
