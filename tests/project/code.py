"""Counts lines of code, and finds what a call runs: for the tests of how much there is to read.

A line of code holds a token other than a comment, a docstring or the text of ``doc=``. Run as a module it writes the
routes into the docstring of ``microtensor/core/__init__.py``.
"""

from __future__ import annotations

import ast
import io
import sys
import textwrap
import tokenize
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import microtensor as mt

PACKAGE = Path(mt.__file__).parent
QUIET = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def lines_of_text(tree: ast.AST) -> set[int]:
    """The lines of docstrings, and of the texts that are passed as ``doc=``."""
    texts: list[Any] = []
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            texts.append(node.body[0])
        elif isinstance(node, ast.keyword) and node.arg == "doc" and isinstance(node.value, ast.Constant):
            texts.append(node.value)
    return {line for text in texts for line in range(text.lineno, text.end_lineno + 1)}


@cache
def lines_of_code(path: Path) -> frozenset[int]:
    """The numbers of the lines of code of a file."""
    source = path.read_text(encoding="utf-8")
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in QUIET:
            found.update(range(token.start[0], token.end[0] + 1))
    return frozenset(found - lines_of_text(ast.parse(source)))


def count(*rooms: str) -> int:
    """The lines of code of some folders of the package."""
    return sum(len(lines_of_code(path)) for room in rooms for path in sorted((PACKAGE / room).rglob("*.py")))


@cache
def functions_of(path: Path) -> list[tuple[int, int]]:
    """The first and the last line of every function of a file, decorators included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]), node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    ]


def entered(program: Callable[[], object]) -> list[CodeType]:
    """The code of the package that a program runs, in the order in which it is first entered."""
    found: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            found.setdefault(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        program()
    finally:
        sys.setprofile(before)
    return list(found)


def span_of(code: CodeType) -> tuple[Path, int, int]:
    """The file and the lines of the whole function that some code belongs to."""
    path = Path(code.co_filename)
    holding = [(a, b) for a, b in functions_of(path) if a <= code.co_firstlineno <= b]
    # A lambda or a comprehension stands inside a function; without one, it is a line of its own.
    first, last = holding[0] if holding else (code.co_firstlineno, code.co_firstlineno)
    return path, first, last


def read(program: Callable[[], object]) -> dict[Path, set[int]]:
    """The lines of code, by file, of every function that a program enters, after it has run once."""
    program()
    lines: dict[Path, set[int]] = {}
    for code in entered(program):
        path, first, last = span_of(code)
        lines.setdefault(path, set()).update(lines_of_code(path) & set(range(first, last + 1)))
    return lines


def sum_and_back() -> Callable[[], object]:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    return lambda: (mt.tensor([3.0, 4.0]) * x).sum().backward()


def standardized_and_back() -> Callable[[], object]:
    x = mt.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    return lambda: mt.norms.standardize(x, axis=0).sum().backward()


def picture() -> Callable[[], object]:
    from microtensor import viz

    x = mt.tensor([1.0, 2.0], requires_grad=True)
    y = (mt.tensor([3.0, 4.0]) * x).sum()
    return lambda: viz.render(mt.Graph.from_tensor(y), format="svg")


SUM = "(a) How ``loss.backward()`` works: ``(mt.tensor([3.0, 4.0]) * x).sum().backward()``"
NORM = "(b) How the gradient of a norm arises: ``mt.norms.standardize(x, axis=0).sum().backward()``"
PICTURE = '(c) How a picture arises: ``viz.render(mt.Graph.from_tensor(y), format="svg")``, the main stations'
# What the third route passes, in this order, and what each of it does.
STATIONS = {
    "history": "the recorded results, in the order of the program",
    "carried_back": "what each rule gives, where a view shows gradients",
    "Reader.graph": "nodes, edges and scopes, as plain data",
    "render": "which view, in which format",
    "_Picture.source": "the graph in Graphviz's language",
    "layout": "Graphviz finds the places",
    "finish": "the drawing gets its style",
}


def spans(codes: list[CodeType]) -> dict[str, list[tuple[int, int]]]:
    """The lines of functions, by file in the order of reading, without those inside others."""
    found: dict[str, set[tuple[int, int]]] = {}
    for code in codes:
        path, first, last = span_of(code)
        found.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add((first, last))
    order = ["support/", "core/primitive", "core/ops", "core/backprop", "core/tensor", ""]
    files = sorted(found, key=lambda file: (next(i for i, start in enumerate(order) if file.startswith(start)), file))
    return {
        file: sorted(s for s in found[file] if not any(t[0] <= s[0] and s[1] <= t[1] for t in found[file] - {s}))
        for file in files
    }


def route(program: Callable[[], object]) -> list[str]:
    """A route as text: each file with its lines."""
    program()
    text = []
    for file, ranges in spans(entered(program)).items():
        listed = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
        text += textwrap.wrap(listed, 112, initial_indent=f"    {file:<20} ", subsequent_indent=" " * 25)
    return text


def stations() -> list[str]:
    """The third route as text: each station with its lines, and what it does."""
    program = picture()
    program()
    passed = {code.co_qualname: code for code in entered(program)}
    text = []
    for name, what in STATIONS.items():
        path, first, last = span_of(passed[name])
        place = f"{path.relative_to(PACKAGE).as_posix()} {first}-{last}"
        text.append(f"    {place:<34} {name}: {what}")
    return text


def routes() -> str:
    """The three routes, as they stand in the docstring of core."""
    parts = ((SUM, route(sum_and_back())), (NORM, route(standardized_and_back())), (PICTURE, stations()))
    return "\n\n".join("\n".join([f"{title}:", "", *lines]) for title, lines in parts)


if __name__ == "__main__":
    door = PACKAGE / "core" / "__init__.py"
    before = door.read_text(encoding="utf-8")
    opening = before.partition("(a) How")[0]
    door.write_text(f'{opening}{routes()}\n"""\n', encoding="utf-8")
