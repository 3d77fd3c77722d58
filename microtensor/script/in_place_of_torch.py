"""Lets PyTorch programs run without PyTorch: ``torch`` means microtensor.torch; what only shows does nothing."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OURS = "microtensor.torch"
# Modules of PyTorch whose names stand in a module above them here.
ABOVE = {
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.nn.parameter": "torch.nn",
}
# Teaching programs show their progress and their curves with these. Where one is missing, its calls do nothing.
SHOWING = ("tqdm", "matplotlib", "seaborn", "tensorboard", "tensorboardX", "wandb")
# What programs import beside torch, and has no counterpart here.
MISSING = ("torchvision", "torchaudio", "torchtext", "transformers", "datasets", "lightning", "pytorch_lightning")


@contextmanager
def in_place_of_torch() -> Iterator[None]:
    """Inside, ``import torch`` imports microtensor.torch."""
    before = {name: module for name, module in sys.modules.items() if _is_torch(name)}
    for name in before:
        del sys.modules[name]
    room = importlib.import_module(OURS)
    for found in pkgutil.walk_packages(room.__path__, f"{OURS}."):
        importlib.import_module(found.name)
    ours = {name: module for name, module in sys.modules.items() if f"{name}.".startswith(f"{OURS}.")}
    sys.modules.update({name.removeprefix("microtensor."): module for name, module in ours.items()})
    sys.modules.update({name: sys.modules[above] for name, above in ABOVE.items()})
    finder, dtype = _Finder(), room.get_default_dtype()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        room.set_default_dtype(dtype)
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_torch(name) or isinstance(sys.modules[name], _Nothing)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_torch(name: str) -> bool:
    return f"{name}.".startswith("torch.")


class _Finder(MetaPathFinder):
    """Answers for modules of PyTorch that are not there, and makes those that only show things do nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top == "torch":
            raise ModuleNotFoundError(
                f"{fullname} is not in microtensor.torch, which has a closed list of names: see docs/torch.md",
                name=fullname,
            )
        others = [finder for finder in sys.meta_path if finder is not self]
        if top in MISSING and not _is_there(top, others):
            raise ModuleNotFoundError(
                f"{top} is not installed, and has no counterpart in microtensor; make the data and the model in the "
                "program itself",
                name=fullname,
            )
        if top in SHOWING and not _is_there(top, others):
            return ModuleSpec(fullname, _NothingLoader(), is_package=True)
        return None


def _is_there(name: str, finders: Sequence[Any]) -> bool:
    return any(finder.find_spec(name, None) is not None for finder in finders)


class _NothingLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Nothing(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _Nothing(ModuleType):
    """A module of which every name is a call that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing if name not in ("tqdm", "trange", "tqdm_notebook") else _PASSED_ON[name]


class _Silent:
    """The result of a call that does nothing: it can be called, entered, read and gone through."""

    def __call__(self, *inputs: Any, **options: Any) -> _Silent:
        return self

    def __getattr__(self, name: str) -> _Silent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to end."""

    def __getitem__(self, key: object) -> _Silent:
        return self

    def __iter__(self) -> Iterator[_Silent]:
        # As many as a program unpacks: fig, ax = plt.subplots().
        return iter((self, self))


_nothing = _Silent()


class _Progress(_Silent):
    """A progress bar that shows nothing: it goes through what it was given."""

    def __init__(self, items: Any = (), *inputs: Any, **options: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


_PASSED_ON = {
    "tqdm": _Progress,
    "tqdm_notebook": _Progress,
    "trange": lambda *numbers, **options: _Progress(range(*numbers)),
}
