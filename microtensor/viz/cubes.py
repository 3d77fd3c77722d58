"""The axes of the norms as cubes of samples, channels and positions. All is read from the table of axes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microtensor.viz import canvas
from microtensor.viz.canvas import Drawing, Path, Point, Text
from microtensor.viz.engine import Engine
from microtensor.viz.svg import Theme

if TYPE_CHECKING:
    from microtensor.norms.axes import Axes

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

INPUT_NAMES = {2: "N C", 3: "N C L", 4: "N C H W", 5: "N C D H W"}
WEIGHT_NAMES = {2: "out in", 3: "out in k", 4: "out in kH kW", 5: "out in kD kH kW"}
# Six positions, laid out over the axes after the first two.
POSITIONS: dict[int, tuple[int, ...]] = {2: (), 3: (6,), 4: (2, 3), 5: (1, 2, 3)}
SIDE = 6

SHADES = {
    "cube-top": ("#f6f8fb", "#25324d"),
    "cube-left": ("#eaeef5", "#1a253e"),
    "cube-right": ("#e0e6f0", "#141e33"),
    "cube-grid": ("#75829a", "#7182a1"),
    "shared-top": ("#ffd471", "#ffd884"),
    "shared-left": ("#f8bf4b", "#f5b94c"),
    "shared-right": ("#eeb03a", "#dd9f35"),
    "shared-line": ("#9c430b", "#4c310b"),
}

CARD_WIDTH, COLUMNS = 332.0, 4
LINE = 17.0
STEP = 22.0
SLANT: Point = (STEP * 0.866, STEP * 0.5)


# --- what a row says ------------------------------------------------------------------------------------------


def axis_names(row: Axes, ndim: int) -> list[str]:
    """The letters of the axes, such as N, C, H, W.

    Raises
    ------
    ValueError
        There are no letters for so many axes.
    """
    if ndim not in INPUT_NAMES:
        raise ValueError(f"a shape must have 2 to 5 sizes, not {ndim}: samples, channels, and up to three of positions")
    return (WEIGHT_NAMES if row.of == "weight" else INPUT_NAMES)[ndim].split()


def problem(row: Axes, shape: tuple[int, ...], parts: int) -> str:
    """Why the norm has no statistics for a shape; empty when it has some."""
    if row.split is not None and shape[row.split] % parts:
        return f"{axis_names(row, len(shape))[row.split]} = {shape[row.split]} does not divide into {parts} groups"
    if len(shape) == 2 and not row.statistics(2) and row.statistics(3):
        return "needs axes of positions"
    return ""


def _view_names(row: Axes, ndim: int) -> list[str]:
    names = axis_names(row, ndim)
    if row.split is None:
        return names
    i = row.split
    return [*names[:i], "G", f"{names[i]} // G", *names[i + 1 :]]


def code(row: Axes, ndim: int) -> str:
    """The statistics in code, ``x.mean(axis=(0, 2, 3))``; empty if they are not a reduction over axes."""
    axes = row.statistics(ndim)
    if row.centers:
        reduction = "mean"
    elif "mean" in row.formula:
        reduction = "square().mean"
    elif any(length in row.formula for length in ("Σ x²", "‖")):
        reduction = "square().sum"
    else:
        return ""
    if not axes:
        return ""
    letter = "w" if row.of == "weight" else "x"
    view = "" if row.split is None else f".reshape({', '.join(_view_names(row, ndim))})"
    return f"{letter}{view}.{reduction}(axis={axes[0] if len(axes) == 1 else axes})"


def count(row: Axes, shape: tuple[int, ...], parts: int) -> str:
    """How many statistics there are, and along which axes: ``N × G = 16 statistics``."""
    if problem(row, shape, parts):
        return "no statistics"
    axes = row.statistics(len(shape))
    kept = [name for i, name in enumerate(_view_names(row, len(shape))) if i not in axes]
    number = row.count(shape, parts)
    words = f"{number} statistic{'s' if number != 1 else ''}"
    return f"{' × '.join(kept)} = {words}" if kept else words


def parameters(row: Axes, shape: tuple[int, ...]) -> str:
    """The letters of the parameters with their shape: ``γ, β (6,)``."""
    size = row.affine_shape(shape)
    if size is None:
        return "no γ, β"
    letters = ", ".join(letter for letter in "γβτg" if letter in row.formula)
    return f"{letters} {size if size else 'scalar'}"


def shares(row: Axes, shape: tuple[int, ...], parts: int) -> Mask:
    """Which elements share the statistics of the first element, as an array of the shape."""
    found = np.zeros(row.view(shape, parts), bool)
    axes = row.statistics(len(shape))
    found[tuple(slice(None) if axis in axes else 0 for axis in range(found.ndim))] = True
    return found.reshape(shape)


# --- the picture ----------------------------------------------------------------------------------------------


def to_svg(
    rows: Sequence[Axes],
    *,
    shape: tuple[int, ...] = (8, 6, 4, 4),
    parts: int = 2,
    theme: Theme = "auto",
) -> bytes:
    """The cubes of some norms as an SVG.

    Parameters
    ----------
    rows : sequence of Axes
    shape : tuple of int
        The shape of the input (or weight) whose statistics are counted. The cubes are 6 × 6 × 6 for every shape.
    parts : int
        The number of groups of channels, or of parts of the batch.
    theme : {"auto", "light", "dark"}

    Raises
    ------
    ValueError
        There are fewer than 2 or more than 5 axes.

    Examples
    --------
    >>> from microtensor.norms import AXES
    >>> from microtensor.viz import cubes
    >>> cubes.to_svg([AXES["batch_norm"]])[:4]
    b'<svg'
    """
    titles = ", ".join(title(row) for row in rows)
    described = " ".join(f"{title(row)}: {row.sentence}." for row in rows)
    return canvas.to_svg(
        draw(rows, shape, parts),
        title=f"What is normalised together: {titles}",
        description=described,
        theme=theme,
    )


def to_png(
    rows: Sequence[Axes],
    *,
    shape: tuple[int, ...] = (8, 6, 4, 4),
    parts: int = 2,
    theme: Theme = "light",
    engine: Engine = "auto",
) -> bytes:
    """The cubes as a PNG, with the parameters of :func:`to_svg`. A layout engine draws it.

    Raises
    ------
    EngineError
        There is no layout engine, or it failed.
    ValueError
        There are fewer than 2 or more than 5 axes.
    """
    return canvas.to_png(draw(rows, shape, parts), theme=theme, engine=engine)


def title(row: Axes) -> str:
    """The norm's name as a heading."""
    return row.name.replace("_", " ").capitalize().replace("Rms", "RMS")


def draw(rows: Sequence[Axes], shape: tuple[int, ...], parts: int) -> Drawing:
    """All cubes side by side, and below them the meaning of the colours."""
    shapes: list[Path | Text] = []
    top = 0.0
    for start in range(0, len(rows), COLUMNS):
        line = rows[start : start + COLUMNS]
        sentences = [_wrapped(row.sentence) for row in line]
        facts = [_facts(row, shape, parts) for row in line]
        below = top + 382 + LINE * max(map(len, sentences))
        for column, row in enumerate(line):
            middle = (column + 0.5) * CARD_WIDTH
            shapes += _card(row, sentences[column], middle, top, len(shape), parts)
            shapes += [
                Text(middle, below + LINE * i, text, 11.5 if mono else 13, colour, mono=mono)
                for i, (text, colour, mono) in enumerate(facts[column])
            ]
        top = below + LINE * max(map(len, facts)) + 12
    width = min(len(rows), COLUMNS) * CARD_WIDTH
    legend = _legend(width / 2, top + 8, any(row.split is not None for row in rows))
    return Drawing(width, top + 30, (*shapes, *legend), SHADES)


def _wrapped(sentence: str) -> list[str]:
    """As few lines as possible, of nearly the same length."""
    needed = len(textwrap.wrap(sentence, 46))
    return next(lines for width in range(20, 47) if len(lines := textwrap.wrap(sentence, width)) == needed)


def _facts(row: Axes, shape: tuple[int, ...], parts: int) -> list[tuple[str, str, bool]]:
    """The lines at the foot of a card: text, colour, and whether it is code."""
    wanting = problem(row, shape, parts)
    written = wanting or code(row, len(shape))
    broken = written.replace(").", ")\n  .", 1) if len(written) > 40 else written
    return [
        (count(row, shape, parts), "statistics-border", False),
        (parameters(row, shape), "parameter-border", False),
        *((text, "muted", not wanting) for text in broken.split("\n") if text),
    ]


def _card(row: Axes, sentence: list[str], middle: float, top: float, ndim: int, parts: int) -> list[Path | Text]:
    return [
        Text(middle, top + 34, title(row), 18, bold=True),
        Text(middle, top + 56, row.formula, 13, "muted"),
        *_cube(row, middle, top + 340, ndim, parts if SIDE % parts == 0 else 3),
        *(Text(middle, top + 376 + LINE * i, text, 13) for i, text in enumerate(sentence)),
    ]


def _cube(row: Axes, x: float, y: float, ndim: int, parts: int) -> list[Path | Text]:
    """One cube. Its front vertical edge is at x and ends at y."""
    height = SIDE if ndim > 2 else 1

    def at(n: float, c: float, p: float) -> Point:
        """The place of a corner: samples go to the right and back, channels to the left and back, positions down."""
        return x + (n - c) * SLANT[0], y - (n + c) * SLANT[1] - (height - p) * STEP

    shared = shares(row, (SIDE, SIDE, *POSITIONS[ndim]), parts).reshape(SIDE, SIDE, -1)
    faces: tuple[_Face, ...] = (
        ("top", lambda i, j: at(j, i, 0), shared[:, :, 0].T),
        ("left", lambda i, j: at(0, i, j), shared[0, :, :]),
        ("right", lambda i, j: at(i, 0, j), shared[:, 0, :]),
    )
    near, low = at(0, 0, 0), at(0, 0, height)
    rim = (at(0, SIDE, 0), at(SIDE, SIDE, 0), at(SIDE, 0, 0), at(SIDE, 0, height), low, at(0, SIDE, height))
    ridges = ((rim[0], near, rim[2]), (near, low))
    return [
        *(shape for face in faces for shape in _plain(*face)),
        Path(((*rim, rim[0]), *ridges), "operation-border", 1.6),
        *(shape for face in faces for shape in _shared(*face)),
        *_borders(row, at, parts, height),
        *_letters(axis_names(row, ndim), at, height),
    ]


_Face: TypeAlias = tuple[str, Callable[[float, float], Point], Mask]


def _plain(name: str, at: Callable[[float, float], Point], shared: Mask) -> list[Path]:
    """A face of the cube with its grid."""
    wide, high = shared.shape
    corners = (at(0, 0), at(wide, 0), at(wide, high), at(0, high))
    grid = [(at(i, 0), at(i, high)) for i in range(1, wide)] + [(at(0, j), at(wide, j)) for j in range(1, high)]
    fill = f"cube-{name}"
    return [Path((corners,), fill, 0.5, fill=fill), Path(tuple(grid), "cube-grid", 0.6)]


def _shared(name: str, at: Callable[[float, float], Point], shared: Mask) -> list[Path]:
    """The little faces of the elements that share the first one's statistics, with a strong line round them all."""
    cells = [(int(i), int(j)) for i, j in np.argwhere(shared)]
    squares = tuple((at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)) for i, j in cells)
    edges = []
    for i, j in cells:
        around = {
            (i - 1, j): (at(i, j), at(i, j + 1)),
            (i + 1, j): (at(i + 1, j), at(i + 1, j + 1)),
            (i, j - 1): (at(i, j), at(i + 1, j)),
            (i, j + 1): (at(i, j + 1), at(i + 1, j + 1)),
        }
        edges += [edge for cell, edge in around.items() if cell not in cells]
    return [Path(squares, "shared-line", 0.7, fill=f"shared-{name}"), Path(tuple(edges), "shared-line", 1.6)]


def _borders(row: Axes, at: Callable[[float, float, float], Point], parts: int, height: int) -> list[Path]:
    """The borders between groups: planes across the axis that is split."""
    if row.split is None:
        return []
    lines = []
    for k in range(1, parts):
        i = k * SIDE // parts
        corners = ((0, i, height), (0, i, 0), (SIDE, i, 0))
        lines.append(tuple(at(n, c, p) if row.split == 1 else at(c, n, p) for n, c, p in corners))
    return [Path(tuple(lines), "ink", 1.8, dashed=True)] if lines else []


def _letters(names: list[str], at: Callable[[float, float, float], Point], height: int) -> list[Text]:
    left, right, side = at(0, SIDE / 2, height), at(SIDE / 2, 0, height), at(0, SIDE, height / 2)
    letters = [
        Text(left[0] - 12, left[1] + 18, names[1], 13, bold=True),
        Text(right[0] + 12, right[1] + 18, names[0], 13, bold=True),
    ]
    up = "·".join(names[2:])
    if up:
        size = 13 if len(up) <= 5 else 10
        letters.append(Text(side[0] - 6 - 0.31 * size * len(up), side[1] + 5, up, size, bold=True))
    return letters


def _legend(middle: float, y: float, grouped: bool) -> list[Path | Text]:
    """One line: what amber means, and what dashes mean where there are any."""
    entries = [("shared-left", "elements with the same statistics")]
    if grouped:
        entries.append(("", "border of a group"))
    widths = [34 + 6.1 * len(text) for _, text in entries]
    x = middle - (sum(widths) + 24 * (len(entries) - 1)) / 2
    shapes: list[Path | Text] = []
    for (fill, text), width in zip(entries, widths, strict=True):
        if fill:
            box = ((x, y - 10), (x + 24, y - 10), (x + 24, y + 1), (x, y + 1))
            shapes.append(Path((box,), "shared-line", 1.2, fill=fill))
        else:
            shapes.append(Path((((x, y - 4), (x + 26, y - 4)),), "ink", 1.8, dashed=True))
        shapes.append(Text(x + 34, y, text, 12, "muted", centred=False))
        x += width + 24
    return shapes
