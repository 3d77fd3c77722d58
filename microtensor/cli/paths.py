"""``microtensor paths``: a gradient path by path, as a table on the terminal, a file of data or a picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import click

from microtensor import script
from microtensor.cli.common import EPILOG, STOP, exit_codes, has_color, is_terminal, note, seconds
from microtensor.output import USAGE, CommandError, Destination, print_bytes
from microtensor.support.text import LINE, safe_text

if TYPE_CHECKING:
    from microtensor.ledger import Cut, Ledger
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

PathsOutput: TypeAlias = Literal["text", "json", "svg", "dot", "png"]

SUFFIXES: dict[str, PathsOutput] = {
    ".txt": "text",
    ".json": "json",
    ".svg": "svg",
    ".dot": "dot",
    ".gv": "dot",
    ".png": "png",
}
FORMATS: tuple[PathsOutput, ...] = tuple(dict.fromkeys(SUFFIXES.values()))

EXAMPLES = """\
\b
Examples:
  microtensor paths demo:batch_norm                  the four paths of batch norm's gradient
  microtensor paths demo:batch_norm --cut mean@var   what detaching one of them does, and at which order
  microtensor paths demo:mlp --norm model.block2.bn  one norm of several
  microtensor paths train.py:loss --of fc1.weight    the gradient of another tensor
  microtensor paths demo:batch_norm -o paths.svg     as a picture
"""
PATHS_HELP = f"""{EXAMPLES}
Show what every path contributes to the gradient of a tensor. TARGET is as for viz: a script (file.py), a tensor in it
(file.py:loss), one of a module (package.module:loss) or a built-in demo (demo:batch_norm).

Where the paths pass a norm they are named: direct, via the mean, via the variance, via the mean inside the variance.
Then comes what the norm takes out of the gradient. The gradient is that of the backward pass that the program ran;
where it ran none, that of a scalar, or for a fixed random cotangent.

Without --of, the gradient is that of the only data that require one, or of the only data. The script's own output goes
to standard error.
"""


@click.command("paths", help=PATHS_HELP, short_help="Show a gradient path by path.", epilog=EPILOG)
@click.argument("target")
@click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- SCRIPT_ARGS...]")
@click.option("--of", metavar="NAME", help="The tensor whose gradient it is, or the scope that it enters.")
@click.option("--norm", metavar="NAME", help="Tell the paths apart by this norm alone.")
@click.option("--cut", type=click.Choice(("mean", "var", "mean@var")), help="Show the gradient without this path too.")
@click.option("--limit", type=click.IntRange(min=1), default=32, show_default=True, help="Show no more rows.")
@click.option("-o", "--output", metavar="FILE", help="Write here; the suffix picks the format, - is standard output.")
@click.option("-f", "--format", type=click.Choice(FORMATS), help="Needed where the suffix does not say.")
@click.option("--theme", type=click.Choice(("auto", "light", "dark")), default="auto", show_default=True)
@click.option("--no-legend", is_flag=True, help="Leave the legend out.")
@click.option("--engine", type=click.Choice(("auto", "embedded", "system")), default="auto", show_default=True)
@click.option("--no-clobber", is_flag=True, help="Do not replace a file that exists.")
@click.option("--ascii", is_flag=True, help="Draw bars with plain characters.")
@click.option("--no-color", is_flag=True, help="No colour on the terminal; NO_COLOR does the same.")
@click.option("--timeout", type=float, metavar="SECONDS", callback=seconds, help=STOP)
@click.option("--debug", is_flag=True, help="Show every frame of an error, the tool's own too.")
@click.pass_context
def paths_command(
    ctx: click.Context,
    target: str,
    script_args: tuple[str, ...],
    of: str | None,
    norm: str | None,
    cut: Cut | None,
    limit: int,
    output: str | None,
    format: PathsOutput | None,
    theme: Theme,
    no_legend: bool,
    engine: Engine,
    no_clobber: bool,
    ascii: bool,
    no_color: bool,
    timeout: float | None,
    debug: bool,
) -> None:
    """Show a gradient path by path."""
    chosen = _format(output, format)
    destination = None if output in (None, "-") else Destination(output, no_clobber)
    colored = ctx.color = destination is None and has_color(no_color)
    if destination is None and chosen == "png" and is_terminal():
        raise CommandError("a PNG is not for a terminal; write it to a file with -o FILE.png", USAGE)
    with exit_codes(debug):
        goal = script.parse(target)
        if destination is not None:
            destination.check(goal.path)
        with script.running(goal, script_args, timeout) as found:
            ledger = _ledger(found, of, norm, cut, limit)
        for remark in found.notes:
            note(remark)
        data = _rendered(ledger, chosen, theme, not no_legend, engine, ascii, colored)
        if destination is None:
            print_bytes(data)
        else:
            destination.write(data)
        if found.failure is not None:
            raise found.failure


def _ledger(found: script.Found, of: str | None, norm: str | None, cut: Cut | None, limit: int) -> Ledger:
    from microtensor.ledger import input_of, paths

    try:
        x = input_of(found.tensor, of)
        return paths(found.tensor, x, norm=norm, cut=cut, limit=limit)
    except (RuntimeError, TypeError, ValueError) as error:
        told = str(error).removeprefix("paths: ").replace("choose one:", "choose one with --of:")
        raise script.TargetError(told) from error


def _rendered(
    ledger: Ledger, format: PathsOutput, theme: Theme, legend: bool, engine: Engine, ascii: bool, color: bool
) -> bytes:
    from microtensor.ledger import to_json, to_table

    if format == "text":
        return (to_table(ledger, color=color, ascii=ascii) + "\n").encode("utf-8")
    if format == "json":
        return to_json(ledger).encode("utf-8")
    from microtensor.viz.paths import render_paths

    return render_paths(ledger, format, theme=theme, legend=legend, engine=engine)


def _format(output: str | None, format: PathsOutput | None) -> PathsOutput:
    """The format that the option and the suffix agree on."""
    if output is None or output == "-":
        return format or "text"
    suffix = os.path.splitext(output)[1].lower()
    implied, shown = SUFFIXES.get(suffix), safe_text(output, LINE)
    if format is None and implied is None:
        what = f"the suffix {safe_text(suffix)} of {shown} is not known" if suffix else f"{shown} has no suffix"
        raise CommandError(f"{what}; use one of {' '.join(SUFFIXES)}, or say --format {'|'.join(FORMATS)}", USAGE)
    if format is not None and implied not in (None, format):
        raise CommandError(f"--format {format} and the suffix of {shown} disagree; drop one of them", USAGE)
    return cast("PathsOutput", format or implied)
