"""Reads the source of a script: a file, standard input, or the code cells of a notebook."""

from __future__ import annotations

import json
import sys
import tokenize
from types import CodeType
from typing import Any

from microtensor.script.errors import ScriptError
from microtensor.script.target import PathError, Target

PIPED = "<stdin>"


def compiled(target: Target) -> list[CodeType]:
    """The code of a script, one part after the other: that of a notebook has one part for each cell.

    Raises
    ------
    PathError
        The file cannot be read or is not Python, or the notebook is none.
    ScriptError
        Python cannot compile it.
    SyntaxError
        The program has one.
    """
    if target.piped:
        return [_code(target.shown, sys.stdin.read(), PIPED)]
    assert target.path is not None
    if target.path.lower().endswith(".ipynb"):
        return [_cell(target.shown, text, f"{target.path}, cell {number}") for number, text in _cells(target)]
    return [_code(target.shown, _read(target), target.path)]


def _code(shown: str, source: str, name: str) -> CodeType:
    if "\0" in source:
        raise PathError(f"{shown} is not Python source: it contains null bytes")
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except (MemoryError, RecursionError, OverflowError, ValueError) as error:
        raise ScriptError(f"{shown}: Python cannot compile it: {type(error).__name__}") from error


def _read(target: Target) -> str:
    assert target.path is not None
    try:
        with tokenize.open(target.path) as file:
            return file.read()
    except OSError as error:
        raise PathError(f"cannot read {target.shown}: {error.strerror or error}") from error
    except (UnicodeDecodeError, SyntaxError, LookupError) as error:
        if "null bytes" in str(error):  # Python 3.14 finds them while it looks for the encoding.
            raise PathError(f"{target.shown} is not Python source: it contains null bytes") from error
        raise PathError(
            f"{target.shown} is not Python source in UTF-8 or in the encoding that it declares; for another encoding, "
            "say so in its first line: # coding: latin-1"
        ) from error


def _cells(target: Target) -> list[tuple[int, str]]:
    """The number and the source of each code cell."""
    try:
        notebook: Any = json.loads(_read(target))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        texts = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise PathError(f"{target.shown} is no notebook of version 4: {type(error).__name__}: {error}") from error
    return list(enumerate(texts, 1))


def _cell(shown: str, text: str, name: str) -> CodeType:
    try:
        return _code(shown, text, name)
    except SyntaxError:
        return _code(shown, plain(text), name)


def plain(cell: str) -> str:
    r"""A cell as Python: magics, shell commands and questions become empty statements.

    Examples
    --------
    >>> from microtensor.script.sources import plain
    >>> print(plain("%matplotlib inline\nx = 1\nfor i in x:\n    !ls\nx?"))
    pass
    x = 1
    for i in x:
        pass
    pass
    """
    if cell.lstrip().startswith("%%"):
        return ""
    lines = cell.split("\n")
    for i, line in enumerate(lines):
        words = line.strip()
        if words.startswith(("%", "!", "?")) or (words.endswith("?") and not words.startswith("#")):
            lines[i] = line[: len(line) - len(line.lstrip())] + "pass"
    return "\n".join(lines)
