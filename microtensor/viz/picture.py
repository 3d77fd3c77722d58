"""DOT source as the bytes of a picture."""

from __future__ import annotations

import re
import warnings
from typing import Literal

from microtensor.text import LINE, safe_text
from microtensor.viz.engine import Engine, EngineError, embedded, find, layout
from microtensor.viz.letters import drawable
from microtensor.viz.pdf import to_pdf
from microtensor.viz.svg import Theme, finish

PNG_DPI, LEAST_DPI = 144, 36
PNG_LIMIT = 16_000


def to_picture(
    source: str,
    format: Literal["dot", "svg", "png", "pdf"],
    *,
    title: str,
    description: str,
    document: str = "",
    theme: Theme = "auto",
    engine: Engine = "auto",
) -> bytes:
    """A picture of DOT source.

    Parameters
    ----------
    source : str
    format : {"dot", "svg", "png", "pdf"}
    title, description : str
        For readers who do not see an SVG.
    document : str
        The title of a PDF. Default: `title`.
    theme : {"auto", "light", "dark"}
        The source must be in light colours for "auto".
    engine : {"auto", "embedded", "system"}

    Raises
    ------
    EngineError
        There is no layout engine, it failed, or the picture is too large for a PNG.

    Examples
    --------
    >>> from microtensor.viz.picture import to_picture
    >>> to_picture("digraph {}", "dot", title="", description="")
    b'digraph {}'
    """
    if format == "dot":
        return source.encode("utf-8")
    if format == "png":
        return _png(source, engine)
    flat: Theme = "light" if format == "pdf" and theme == "auto" else theme
    svg = finish(layout(source, "svg", engine), title=title, description=description, theme=flat)
    return to_pdf(svg, document or title) if format == "pdf" else svg


def _png(source: str, engine: Engine) -> bytes:
    """A PNG at 144 dots per inch, or at fewer where a side would be longer than the engine can draw."""
    if find(engine) == embedded():
        source, lacking = drawable(source)
        if lacking:
            letters = safe_text(" ".join(lacking), LINE)
            warnings.warn(
                f"the font of a PNG lacks {letters}; ¿ stands there; SVG, PDF and pages have more letters", stacklevel=4
            )
    raw = layout(source, "svg", engine)
    size = re.search(rb'width="(\d+)pt" height="(\d+)pt"', raw)
    side = max(int(size[1]), int(size[2])) / 72 if size else 1.0
    dpi = min(PNG_DPI, int(PNG_LIMIT / side))
    if dpi < LEAST_DPI:
        raise EngineError(
            f"the picture is {side:.0f} inches long, too long for a PNG that can be read; fold it with --depth or "
            "--collapse, or take --format svg or pdf"
        )
    if dpi < PNG_DPI:
        warnings.warn(
            f"the PNG is drawn with {dpi} dots per inch instead of {PNG_DPI}, so that it fits into {PNG_LIMIT} dots; "
            "SVG and PDF have no such limit",
            stacklevel=4,
        )
    return layout(source, "png", engine, dpi=dpi)
