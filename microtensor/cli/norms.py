"""``microtensor norms``: what each norm takes its statistics over, as text, data or cubes."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from microtensor.cli import common
from microtensor.output import USAGE, CommandError

if TYPE_CHECKING:
    from microtensor.norms import Axes
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

Shape: TypeAlias = tuple[int, ...]

SCHEMA = "microtensor.norms/1"
SUFFIXES = {".txt": "text", ".json": "json", ".svg": "svg", ".png": "png"}

NORMS_HELP = """\
\b
Examples:
  microtensor norms                                  the table of all norms
  microtensor norms batch_norm layer_norm            two of them
  microtensor norms --shape 32x64x28x28 --groups 8   how many statistics such an input has
  microtensor norms -o norms.svg                     cubes: amber shares one mean and variance
  microtensor norms group_norm -o gn.png --groups 3

Show what each norm takes its statistics over: formula, axes, code, the number of statistics for an input (or a weight)
of some shape, the shape of its parameters, and the paper. NAMES are functions of microtensor.norms; without names, all
of them are shown. The engine makes a PNG; the other formats need none.
"""


def _shape(ctx: click.Context, param: click.Parameter, value: str) -> Shape:
    """The sizes of an input or a weight: 8x6x4x4."""
    shape = common.sizes(value)
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise click.BadParameter(f"{value!r} must be 2 to 5 positive sizes: N, C and up to three of positions")
    return shape


@click.command("norms", help=NORMS_HELP, short_help="Show what each norm is taken over.", epilog=common.EPILOG)
@click.argument("names", nargs=-1)
@click.option(
    "--shape",
    default="8x6x4x4",
    metavar="NxCx...",
    callback=_shape,
    show_default=True,
    help="Of the input, or of the weight.",
)
@click.option(
    "--groups",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="How many groups of channels, or parts of the batch.",
)
@common.output_options(SUFFIXES)
@common.THEME
@common.ENGINE
@common.DEBUG
@click.pass_context
def norms_command(
    ctx: click.Context, /, names: tuple[str, ...], shape: Shape, groups: int, theme: Theme, engine: Engine, **_: Any
) -> None:
    """Show the table of axes."""
    from microtensor.viz import cubes

    rows = _rows(names)
    format, place = common.destination(ctx, SUFFIXES, on_terminal="text", piped="svg")
    place.check()
    if format == "svg":
        data = cubes.to_svg(rows, shape=shape, parts=groups, theme=theme)
    elif format == "png":
        data = cubes.to_png(rows, shape=shape, parts=groups, theme=theme, engine=engine)
    elif format == "json":
        data = _json(rows, shape, groups).encode()
    else:
        data = _text(rows, shape, groups, bool(ctx.color)).encode()
    place.write(data)


def _rows(names: Sequence[str]) -> list[Axes]:
    from microtensor.norms import AXES

    unknown = [name for name in names if name not in AXES]
    if unknown:
        raise CommandError(f"there is no norm {unknown[0]!r}; there are {', '.join(AXES)}", USAGE)
    return [AXES[name] for name in names or AXES]


def _json(rows: Sequence[Axes], shape: Shape, groups: int) -> str:
    from microtensor.viz import cubes

    def one(row: Axes) -> dict[str, Any]:
        wanting = cubes.problem(row, shape, groups)
        return {
            **{field: getattr(row, field) for field in ("name", "formula", "of", "sentence", "centers")},
            "view": None if wanting else row.view(shape, groups),
            "axes": row.statistics(len(shape)),
            "code": cubes.code(row, len(shape)) or None,
            "statistics": None if wanting else row.count(shape, groups),
            "affine_shape": row.affine_shape(shape),
            "source": row.source.replace("*", ""),
            "problem": wanting or None,
        }

    found = {"schema": SCHEMA, "shape": shape, "groups": groups, "norms": [one(row) for row in rows]}
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _text(rows: Sequence[Axes], shape: Shape, groups: int, colored: bool) -> str:
    """A block of lines per norm: its numbers on the left, its description on the right."""
    from microtensor.viz import cubes

    def painted(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colored and text else text

    left = [(row.name, cubes.count(row, shape, groups), cubes.parameters(row, shape)) for row in rows]
    margin = max(len(cell) for cells in left for cell in cells) + 3
    room = max(40, min(shutil.get_terminal_size((100, 24)).columns, 120) - margin)
    blocks = [_head(rows, shape, groups)]
    for row, cells in zip(rows, left, strict=True):
        wanting = cubes.problem(row, shape, groups)
        said = [
            (row.formula, "1"),
            *((line, "0") for line in textwrap.wrap(row.sentence, room)),
            (wanting or cubes.code(row, len(shape)), "36"),
            *((line, "2") for line in textwrap.wrap(row.source.replace("*", ""), room)),
        ]
        beside = [*zip(cells, ("1", "33", "32"), strict=True), *[("", "0")] * len(said)]
        lines = [
            painted(cell, style) + " " * (margin - len(cell)) + painted(text, colour)
            for (cell, style), (text, colour) in zip(beside, filter(lambda line: line[0], said), strict=False)
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _head(rows: Sequence[Axes], shape: Shape, groups: int) -> str:
    """The shape and the groups for which the numbers below are counted."""
    from microtensor.viz import cubes

    words = []
    for of, letter in (("input", "x"), ("weight", "w")):
        row = next((row for row in rows if row.of == of), None)
        if row is not None:
            words.append(f"{letter} of shape ({', '.join(cubes.axis_names(row, len(shape)))}) = {shape}")
    if any(row.split is not None for row in rows):
        words.append(f"G = {groups}")
    return "\n".join(words)
