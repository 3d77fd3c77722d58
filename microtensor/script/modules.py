"""Which modules a script gets: those beside it come before what the tool has loaded under the same names."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Container, Iterator
from contextlib import suppress
from importlib.machinery import all_suffixes
from types import ModuleType

# What Python has loaded before any script: nothing beside a script takes their place, and nothing takes ours.
ALWAYS = {
    *sys.builtin_module_names,
    *("abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat", "zipimport"),
    *("_collections_abc", "_sitebuiltins", "__main__", "microtensor"),
}


def give_way(folder: str) -> dict[str, ModuleType]:
    """Take out of the way what the tool has loaded under the name of a module in a folder; gives what to put back."""
    own = set(_importable(folder)) - ALWAYS
    hidden = {name for name in own & sys.modules.keys() if not _is_below(sys.modules[name], os.path.join(folder, name))}
    if not hidden:
        return {}
    # From here on an import of the tool's, too, would find the script's modules, so it must have none to do.
    _load_all()
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in hidden}


def forget(folder: str, before: Container[str]) -> None:
    """Drop the modules that a script has loaded from its folder: another script may have others by these names."""
    loaded: dict[str, list[tuple[str, ModuleType]]] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if name not in before and top not in ALWAYS:
            loaded.setdefault(top, []).append((name, module))
    for top, modules in loaded.items():
        # An extension module is not loaded twice.
        python = all(not _origin(module) or _origin(module).endswith(".py") for _, module in modules)
        if python and any(_is_below(module, os.path.join(folder, top)) for _, module in modules):
            for name, _ in modules:
                del sys.modules[name]


def _importable(folder: str) -> Iterator[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if os.path.exists(os.path.join(entry.path, "__init__.py")):
                yield entry.name
            else:
                yield from (entry.name.removesuffix(end) for end in all_suffixes() if entry.name.endswith(end))


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ""


def _is_below(module: ModuleType, place: str) -> bool:
    """Whether a module is the file or the folder of that name."""
    origin, place = os.path.realpath(_origin(module)), os.path.realpath(place)
    return bool(_origin(module)) and origin.startswith((place + os.sep, place + "."))


def _load_all() -> None:
    for found in pkgutil.walk_packages(sys.modules["microtensor"].__path__, "microtensor."):
        if found.name != "microtensor.__main__":
            importlib.import_module(found.name)
    for name in ("random", "linalg", "fft", "ma", "polynomial"):
        importlib.import_module(f"numpy.{name}")
