"""Docstrings that are completed from others: those of a layer's function, or of the layer that it is a variant of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

C = TypeVar("C", bound=type)

# Of the sections of a docstring, the first of which has no title; others stand before the references.
_ORDER = ("", "Parameters", "Raises", "References", "Examples")
_HEADING = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)


def completed_by(source: Any) -> Callable[[C], C]:
    """A decorator of classes: missing parts of the docstring are copied from another class or function."""

    def complete(cls: C) -> C:
        # Python leaves docstrings out under -OO.
        if cls.__doc__:
            cls.__doc__ = completed(cls.__doc__, source.__doc__ or "", list(inspect.signature(cls).parameters))
        return cls

    return complete


def completed(own: str, source: str, settings: Sequence[str]) -> str:
    """A docstring with its missing parts added: whole sections (not the examples) and entries about settings."""
    ours, theirs = _sections(own), _sections(source)
    theirs.pop("Examples", None)
    sections = theirs | {title: text for title, text in ours.items() if text}
    sections["Parameters"] = _parameters(ours, theirs, settings)
    order = sorted(filter(sections.get, sections), key=lambda title: _ORDER.index(title) if title in _ORDER else 2.5)
    titled = [f"{title}\n{'-' * len(title)}\n{sections[title]}" if title else sections[title] for title in order]
    return "\n\n".join(titled) + "\n"


def _sections(doc: str) -> dict[str, str]:
    """The sections of a docstring by their headings. The text above the first one has an empty heading."""
    above, *rest = _HEADING.split(inspect.cleandoc(doc))
    return {"": above.strip(), **dict(zip(rest[::2], (text.strip() for text in rest[1::2]), strict=True))}


def _parameters(ours: dict[str, str], theirs: dict[str, str], settings: Sequence[str]) -> str:
    """All entries about parameters of one docstring, and those of the other about settings that it leaves out."""
    found: dict[str, str] = {}
    described: set[str] = set()
    for sections in (ours, theirs):
        for entry in re.split(r"\n(?=\S)", sections.get("Parameters", "")):
            head, newline, text = entry.partition("\n")
            names, colon, kind = head.partition(" : ")
            wanted = [name for name in names.split(", ") if sections is ours or name in settings]
            new = [name for name in wanted if name and name not in described]
            if new:
                described.update(new)
                found[new[0]] = f"{', '.join(new)}{colon}{kind}{newline}{text}"
    return "\n".join(found[name] for name in sorted(found, key=[*settings, *found].index))
