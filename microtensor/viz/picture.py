"""DOT source as the bytes of a picture."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from microtensor.text import LINE, safe_text
from microtensor.viz.engine import TIME_LIMIT, Engine, EngineError, embedded, find, layout
from microtensor.viz.letters import drawable
from microtensor.viz.pdf import to_pdf
from microtensor.viz.svg import Theme, crowded, finish

PNG_DPI, LEAST_DPI = 144, 36
PNG_LIMIT = 16_000


# DOT source for the names of frames that need so many times more room.
Draw: TypeAlias = Callable[[Mapping[str, int]], str]
# So often a picture is laid out again, where an edge runs through a name.
TRIES = 6


def to_picture(
    source: str | Draw,
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
    source : str or callable
        A callable gives the source, when it is told which frames need more room beside their names.
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
        return (source if isinstance(source, str) else source({})).encode("utf-8")
    if format == "png":
        return _png(settled(source, engine, move=False)[0], engine)
    flat: Theme = "light" if format == "pdf" and theme == "auto" else theme
    svg = finish(settled(source, engine)[1], title=title, description=description, theme=flat)
    return to_pdf(svg, document or title) if format == "pdf" else svg


def settled(
    source: str | Draw, engine: Engine = "auto", *, move: bool = True, timeout: float = TIME_LIMIT
) -> tuple[str, bytes]:
    """The source, and an engine's SVG of it, in which frames have room for a name where no edge runs.

    Parameters
    ----------
    source : str or callable
    engine : {"auto", "embedded", "system"}
    move : bool
        Whether the names will be moved to where no edge is.
    timeout : float
        Seconds for one layout.
    """
    if isinstance(source, str):
        return source, layout(source, "svg", engine, timeout=timeout)
    room: dict[str, int] = {}
    for _ in range(TRIES):
        text = source(room)
        raw = layout(text, "svg", engine, timeout=timeout)
        tight = crowded(raw, move=move)
        if not tight:
            break
        for frame in tight:
            room[frame] = room.get(frame, 0) + 1
    return text, raw


def size_of(raw: bytes) -> tuple[float, float]:
    """The width and the height of an engine's SVG, in points.

    Examples
    --------
    >>> from microtensor.viz.picture import size_of
    >>> size_of(b'<svg width="72pt" height="144pt">')
    (72.0, 144.0)
    """
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', raw)
    return (float(size[1]), float(size[2])) if size else (72.0, 72.0)


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
    side = max(size_of(raw)) / 72
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
