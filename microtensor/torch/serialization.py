"""``torch.save`` and ``torch.load``: pickles of nested dicts, lists, numbers and tensors."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from typing import Any

# The modules that a file of tensors names. Any other name could run code.
_ALLOWED = {"collections": {"OrderedDict"}, "numpy": {"ndarray", "dtype"}, "microtensor.methods": {"rebuild"}}
_ALLOWED |= {"microtensor.torch.tensor": {"Tensor"}, "microtensor.torch.nn": {"Parameter"}}
_ALLOWED |= {name: {"_reconstruct", "scalar"} for name in ("numpy._core.multiarray", "numpy.core.multiarray")}


class _WeightsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"the file holds {module}.{name}, which weights_only=False loads and runs")
        return super().find_class(module, name)


def save(obj: Any, f: Any) -> None:
    """Save an object to a path or a file, as a pickle; PyTorch cannot read it."""
    with nullcontext(f) if hasattr(f, "write") else open(f, "wb") as file:
        pickle.dump(obj, file)


def load(f: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Load what :func:`save` has saved. With `weights_only`, only tensors, numbers, lists and dicts."""
    with nullcontext(f) if hasattr(f, "read") else open(f, "rb") as file:
        return _WeightsOnly(file).load() if weights_only else pickle.load(file)
