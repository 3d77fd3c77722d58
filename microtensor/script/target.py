"""Reads a target: a script, a module, a stored graph or a demo."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from microtensor.script.reference import is_reference
from microtensor.text import LINE, safe_text

WITH_TORCH = "--torch runs the script with microtensor.torch in the place of PyTorch"


class PathError(Exception):
    """There is nothing to run: no such file, module or demo, or it is not Python."""


class InputShape(NamedTuple):
    """The shape of one random input.

    Attributes
    ----------
    sizes : tuple of int
    name : str
        The parameter that it is for; empty: the next one.
    whole : bool
        Whether it is an input of whole numbers, such as the words of an embedding.
    """

    sizes: tuple[int, ...]
    name: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Target:
    """The program to run, and the tensor to look for.

    Attributes
    ----------
    text : str
        The target as the user wrote it, without the attribute.
    path : str or None
        The script's absolute path.
    module : str or None
        A module's dotted name.
    demo : str or None
        A built-in demo's name.
    graph : str or None
        The absolute path of a stored graph, which is read, not run.
    piped : bool
        Whether the script is read from standard input.
    shapes : tuple of InputShape
        The random inputs that a module or a function is called with.
    training : bool
        Whether a module is called in training mode.
    stop_at_backward : int or None
        The backward pass after which the script is ended; 1 is the first.
    torch : bool
        Whether ``torch`` means microtensor.torch in the script.
    attr : str or None
        A reference to the tensor, such as model.loss or losses[0]; None means the only candidate.
    """

    text: str
    path: str | None = None
    module: str | None = None
    demo: str | None = None
    graph: str | None = None
    piped: bool = False
    shapes: tuple[InputShape, ...] = ()
    training: bool = True
    attr: str | None = None
    stop_at_backward: int | None = None
    torch: bool = False

    @property
    def shown(self) -> str:
        """The text, made safe for a message."""
        return safe_text(self.text, LINE)


def parse(text: str) -> Target:
    """Read a target.

    Parameters
    ----------
    text : str
        ``file.py``, ``file.py:attr``, ``notebook.ipynb``, ``pkg.module:attr``, ``graph.json``, ``demo:NAME``, or ``-``
        for a script from standard input. A colon after a drive letter, as in ``C:``, belongs to the path.

    Raises
    ------
    PathError
        There is no such file or demo, or the text after the colon is not a name.

    Examples
    --------
    >>> from microtensor.script import parse
    >>> parse("pkg.module:model.loss").attr
    'model.loss'
    """
    if text.startswith("demo:"):
        return _parse_demo(text)
    head, colon, tail = text.rpartition(":")
    if text == "-" or (head == "-" and is_reference(tail)):
        return Target("-", piped=True, attr=tail if colon else None)
    if not colon or os.path.exists(text):
        return _parse_path(text, None)
    if is_reference(tail):
        package = _is_dotted_name(head) and os.path.isfile(os.path.join(head, "__init__.py"))
        if _looks_like_path(head) and not package:
            return _parse_path(head, tail)
        if _is_dotted_name(head):
            return Target(head, module=head, attr=tail)
    elif _looks_like_path(head) and "/" not in tail and "\\" not in tail:
        what = f"{tail!r} after the colon is not a name" if tail else "there is no name after the colon"
        shown, script = safe_text(text, LINE), safe_text(head, LINE)
        raise PathError(f"{shown}: {what}; write {script}:loss, {script}:model.loss or {script}:losses[0]")
    return _parse_path(text, None)


def _parse_demo(text: str) -> Target:
    from microtensor.demos import DEMOS

    name = text.removeprefix("demo:")
    if name not in DEMOS:
        known = ", ".join(f"demo:{demo}" for demo in DEMOS)
        raise PathError(f"there is no demo {name!r}; there are {known}" if name else f"which demo? There are {known}")
    return Target(text, demo=name)


def _parse_path(path: str, attr: str | None) -> Target:
    shown = safe_text(path, LINE)
    if os.path.isdir(path):
        raise PathError(f"{shown} is a directory; name a script in it, such as {os.path.join(shown, 'train.py')}")
    if not os.path.exists(path):
        hint = f"; did you mean {shown}.py?" if os.path.exists(f"{path}.py") else ""
        if not hint and _is_dotted_name(path):
            hint = f"; a target is file.py, file.py:name, {path}:name for a module, graph.json, or demo:batch_norm"
        raise PathError(f"{shown}: no such file{hint}")
    if attr is None and path.lower().endswith(".json"):
        return Target(path, graph=os.path.abspath(path))
    return Target(path, path=os.path.abspath(path), attr=attr)


def as_module(target: Target) -> str:
    """The dotted name of a script that is part of a package, with the tensor to look for.

    Examples
    --------
    >>> from microtensor.script.target import Target, as_module
    >>> as_module(Target("pkg/train.py", path="/nowhere/pkg/train.py", attr="loss"))
    'pkg.train:loss'
    """
    folder, file = os.path.split(target.path or target.text)
    names = [os.path.splitext(file)[0]]
    while len(names) == 1 or os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        if not name:
            break
        names.insert(0, name)
    return f"{'.'.join(names)}:{target.attr or 'loss'}"


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _looks_like_path(text: str) -> bool:
    return text.endswith((".py", ".ipynb")) or "/" in text or "\\" in text or os.path.exists(text)
