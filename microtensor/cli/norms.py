"""``microtensor norms``: the table of what each norm takes its statistics over, as text, data or cubes."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import click

from microtensor.cli.common import EPILOG, exit_codes, has_color, is_terminal
from microtensor.output import USAGE, CommandError, Destination, print_bytes
from microtensor.support.text import LINE, safe_text

if TYPE_CHECKING:
    from microtensor.norms import Axes
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

Format: TypeAlias = Literal["text", "json", "svg", "png"]
Shape: TypeAlias = tuple[int, ...]

SCHEMA = "microtensor.norms/1"
SUFFIXES: dict[str, Format] = {".txt": "text", ".json": "json", ".svg": "svg", ".png": "png"}

NORMS_HELP = """\
\b
Examples:
  microtensor norms                                  the table of all norms
  microtensor norms batch_norm layer_norm            two of them
  microtensor norms --shape 32x64x28x28 --groups 8   how many statistics such an input has
  microtensor norms -o norms.svg                     cubes: amber shares one mean and variance
  microtensor norms group_norm -o gn.png --groups 3

Show what each norm takes its statistics over: formula, axes, code, how many statistics there are for an input (or a
weight) of some shape, the shape of its parameters, and the paper. NAMES are functions of microtensor.norms; all of
them if none is given.
"""


def _shape(ctx: click.Context, param: click.Parameter, value: str) -> Shape:
    """Sizes joined by x: 8x6x4x4."""
    try:
        shape = tuple(int(size) for size in value.lower().replace("×", "x").split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not sizes joined by x, such as 8x6x4x4") from None
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise click.BadParameter(f"{value!r}: 2 to 5 positive sizes are needed: N, C and up to three of positions")
    return shape


@click.command("norms", help=NORMS_HELP, short_help="Show what each norm is taken over.", epilog=EPILOG)
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
@click.option("-o", "--output", metavar="FILE", help="Write here; the suffix picks the format, - is standard output.")
@click.option(
    "-f", "--format", type=click.Choice(tuple(SUFFIXES.values())), help="Needed where the suffix does not say."
)
@click.option("--theme", type=click.Choice(("auto", "light", "dark")), default="auto", show_default=True)
@click.option("--engine", type=click.Choice(("auto", "embedded", "system")), default="auto", help="It makes the PNG.")
@click.option("--no-clobber", is_flag=True, help="Do not replace a file that exists.")
@click.option("--no-color", is_flag=True, help="No colour on the terminal; NO_COLOR does the same.")
@click.option("--debug", is_flag=True, help="Show every frame of an error, the tool's own too.")
@click.pass_context
def norms_command(
    ctx: click.Context,
    names: tuple[str, ...],
    shape: Shape,
    groups: int,
    output: str | None,
    format: Format | None,
    theme: Theme,
    engine: Engine,
    no_clobber: bool,
    no_color: bool,
    debug: bool,
) -> None:
    """Show the table of axes."""
    from microtensor.viz import cubes

    rows = _rows(names)
    chosen = _format(output, format)
    destination = None if output in (None, "-") else Destination(output, no_clobber)
    if destination is not None:
        destination.check(None)
    elif chosen == "png" and is_terminal():
        raise CommandError("a PNG is not for a terminal; write it to a file with -o FILE.png", USAGE)
    colored = ctx.color = destination is None and has_color(no_color)
    with exit_codes(debug):
        if chosen == "svg":
            data = cubes.to_svg(rows, shape=shape, parts=groups, theme=theme)
        elif chosen == "png":
            data = cubes.to_png(rows, shape=shape, parts=groups, theme=theme, engine=engine)
        elif chosen == "json":
            data = _json(rows, shape, groups).encode()
        else:
            data = _text(rows, shape, groups, colored).encode()
        if destination is None:
            print_bytes(data)
        else:
            destination.write(data)


def _rows(names: Sequence[str]) -> list[Axes]:
    from microtensor.norms import AXES

    unknown = [name for name in names if name not in AXES]
    if unknown:
        raise CommandError(f"there is no norm {unknown[0]!r}; there are {', '.join(AXES)}", USAGE)
    return [AXES[name] for name in names or AXES]


def _format(output: str | None, format: Format | None) -> Format:
    """The format that the option and the suffix agree on."""
    if output in (None, "-"):
        return format or ("text" if output is None else "svg")
    suffix = os.path.splitext(output)[1].lower()
    implied, shown = SUFFIXES.get(suffix), safe_text(output, LINE)
    if format is None and implied is None:
        what = f"the suffix {safe_text(suffix)} of {shown} is not known" if suffix else f"{shown} has no suffix"
        raise CommandError(f"{what}; use one of {' '.join(SUFFIXES)}, or say --format", USAGE)
    if format is not None and implied not in (None, format):
        raise CommandError(f"--format {format} and the suffix of {shown} disagree; drop one of them", USAGE)
    return cast("Format", format or implied)


def _json(rows: Sequence[Axes], shape: Shape, groups: int) -> str:
    from microtensor.viz import cubes

    def one(row: Axes) -> dict[str, Any]:
        wanting = cubes.problem(row, shape, groups)
        return {
            "name": row.name,
            "formula": row.formula,
            "of": row.of,
            "sentence": row.sentence,
            "centers": row.centers,
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
    """A block of lines a norm: what is counted on the left, what is said about it on the right."""
    from microtensor.viz import cubes

    def painted(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colored and text else text

    left = [(row.name, cubes.count(row, shape, groups), cubes.parameters(row, shape)) for row in rows]
    margin = max(len(cell) for cells in left for cell in cells) + 3
    room = max(40, min(shutil.get_terminal_size((100, 24)).columns, 120) - margin)
    styles = ("1", "33", "32")
    blocks = [_head(rows, shape, groups)]
    for row, cells in zip(rows, left, strict=True):
        wanting = cubes.problem(row, shape, groups)
        said = [
            (row.formula, "1"),
            *((line, "0") for line in textwrap.wrap(row.sentence, room)),
            (wanting or cubes.code(row, len(shape)), "36"),
            *((line, "2") for line in textwrap.wrap(row.source.replace("*", ""), room)),
        ]
        said = [(text, style) for text, style in said if text]
        lines = []
        for i, (text, style) in enumerate(said):
            cell = cells[i] if i < len(cells) else ""
            gap = " " * (margin - len(cell))
            lines.append(painted(cell, styles[min(i, 2)]) + gap + painted(text, style))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _head(rows: Sequence[Axes], shape: Shape, groups: int) -> str:
    """What the numbers below are counted for."""
    from microtensor.viz import cubes

    words = []
    for of, letter in (("input", "x"), ("weight", "w")):
        row = next((row for row in rows if row.of == of), None)
        if row is not None:
            words.append(f"{letter} of shape ({', '.join(cubes.axis_names(row, len(shape)))}) = {shape}")
    if any(row.split is not None for row in rows):
        words.append(f"G = {groups}")
    return "\n".join(words)
