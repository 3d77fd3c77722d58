"""Which modules a script imports: those beside it come before modules of the same names that the tool has loaded."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Container, Iterator
from contextlib import suppress
from importlib.machinery import all_suffixes
from types import ModuleType

# Python has loaded these before any script. No file beside a script replaces them, or this package.
ALWAYS = {
    *sys.builtin_module_names,
    *("abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat", "zipimport"),
    *("_collections_abc", "_sitebuiltins", "__main__", "microtensor"),
}


def give_way(folder: str) -> dict[str, ModuleType]:
    """Unload the tool's modules that have the name of a module in a folder; return them, to restore them later."""
    own = set(_importable(folder)) - ALWAYS
    hidden = {name for name in own & sys.modules.keys() if not _is_below(sys.modules[name], os.path.join(folder, name))}
    if not hidden:
        return {}
    # From here on an import of the tool would find the script's modules, so all its imports are done now.
    _load_all()
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in hidden}


def forget(folder: str, before: Container[str]) -> None:
    """Unload the modules that a script has loaded from its folder. Another script may use the same names."""
    loaded: dict[str, list[tuple[str, ModuleType]]] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if name not in before and top not in ALWAYS:
            loaded.setdefault(top, []).append((name, module))
    for top, modules in loaded.items():
        # An extension module cannot be loaded twice.
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
    """Whether a module was loaded from the file or the folder of that name."""
    origin, place = os.path.realpath(_origin(module)), os.path.realpath(place)
    return bool(_origin(module)) and origin.startswith((place + os.sep, place + "."))


def _load_all() -> None:
    for found in pkgutil.walk_packages(sys.modules["microtensor"].__path__, "microtensor."):
        if found.name != "microtensor.__main__":
            importlib.import_module(found.name)
    for name in ("random", "linalg", "fft", "ma", "polynomial"):
        importlib.import_module(f"numpy.{name}")
