"""The colour tokens of all pictures, light and dark.

Each light value belongs to one token only. So a style sheet can change the theme of an SVG by replacing values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

ThemeName: TypeAlias = Literal["light", "dark"]

TOKENS: Mapping[str, tuple[str, str]] = {
    "bg": ("#ffffff", "#0b1220"),
    "ink": ("#0f172a", "#e8eef8"),
    "muted": ("#475569", "#a9b8cd"),
    "data-fill": ("#e3efff", "#15315e"),
    "data-border": ("#1d4ed8", "#82b6ff"),
    "parameter-fill": ("#dcfae6", "#10402a"),
    "parameter-border": ("#15703a", "#66df98"),
    "statistics-fill": ("#fff1cf", "#4b300a"),
    "statistics-border": ("#a8480a", "#fdbf57"),
    "operation-fill": ("#f7f9fc", "#1b2740"),
    "operation-border": ("#4a5a70", "#9fb0c8"),
    "constant-fill": ("#fefefe", "#0e1626"),
    "constant-border": ("#64748a", "#93a4bc"),
    "scope-even": ("#f4f6fa", "#111a2c"),
    "scope-odd": ("#eceff6", "#182338"),
    "scope-border": ("#7b889e", "#5f7191"),
    "statistics-scope-fill": ("#fffaf0", "#1d1a16"),
    "statistics-scope-border": ("#b5651d", "#c98a3a"),
    "edge-plain": ("#4b5b72", "#a0b1c9"),
    "edge-constant": ("#66758b", "#94a5bd"),
    "edge-direct": ("#1e4fd6", "#83b7ff"),
    "edge-statistics": ("#a9490b", "#fdc05b"),
    "edge-parameter": ("#16713b", "#67e099"),
    "gradient": ("#be1240", "#ff7d97"),
    "pill-fill": ("#ffe6ec", "#4a1626"),
    "failed": ("#b3151f", "#ff9d98"),
    "failed-fill": ("#fff1f0", "#421519"),
    "first": ("#6d28d9", "#c9adff"),
    "second": ("#0b6b66", "#5fe0d2"),
}


def palette(theme: ThemeName) -> dict[str, str]:
    """The value of every token in a theme."""
    column = 0 if theme == "light" else 1
    return {name: values[column] for name, values in TOKENS.items()}
