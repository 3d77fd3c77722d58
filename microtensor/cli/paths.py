"""``microtensor paths``: a gradient path by path, as a table on the terminal, as data or as a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from microtensor import script
from microtensor.cli import common

if TYPE_CHECKING:
    from microtensor.ledger import Cut, Ledger

SUFFIXES = {".txt": "text", ".json": "json", ".svg": "svg", ".dot": "dot", ".gv": "dot", ".png": "png"}

EXAMPLES = """\
\b
Examples:
  microtensor paths demo:batch_norm                  the four paths of batch norm's gradient
  microtensor paths demo:batch_norm --cut mean@var   what detaching one of them does, and at which order
  microtensor paths demo:mlp --norm model.block2.bn  one norm of several
  microtensor paths train.py:loss --of fc1.weight    the gradient of another tensor
  microtensor paths net.py:model --input-shape 8x4   a module, called with a random input
  microtensor paths demo:batch_norm -o paths.svg     as a picture
"""
PATHS_HELP = f"""{EXAMPLES}
Show what every path contributes to the gradient of a tensor. TARGET is as for viz: a script (file.py), a tensor in it
(file.py:loss), one of a module (package.module:loss) or a built-in demo (demo:batch_norm). A module is called in
training mode with random inputs of the shapes that --input-shape gives. So is a function, with
--input-shape x=8x4 for its parameter x.

Where the paths pass a norm they are named: direct, via the mean, via the variance, via the mean inside the variance.
They are the same however a norm is written. The gradient is that of the backward pass that the program ran, with its
hooks. Where it ran none, the gradient is that of a scalar, or belongs to a fixed random cotangent.

\b
The table has a line for each path, and one for their sum:
  path    The name of the path. The heading is the norm that it passes.
  norm    The length √(Σ d²) of what the path contributes to the gradient.
  (bar)   That length beside the longest, or why it is exactly 0.
  (note)  What the path takes out of the direct one, in percent of its
          square; in the last line, what is left of it.

\b
The lines below it are about the direct path at the input of the norm:
  direct²  The square of its length as a sum: of a shift of all values of
           a set, of a change of their scale, and of the rest.
  sets     Which values have a mean and a variance of their own.
  left     What is left of the shift and of the scale when all paths are
           added, as a length or as a part of what the direct path has.
           "rounding": no more than the rounding of the direct path.
Where the input of the norm is not the tensor itself, or where paths go around
the norm, a second table with these lines shows the gradient at that input.

\b
With --cut, a last table has a line for each order of derivative:
  order       1 is the gradient, 2 the gradient of the gradient, and so on.
  difference  The distance to the right one, divided by its length.
  verdict     Whether the derivative is right or WRONG without the path.

Without --of, the gradient is that of the only data that require one, or of the only data. The script's own output goes
to standard error.
"""


@click.command("paths", help=PATHS_HELP, short_help="Show a gradient path by path.", epilog=common.EPILOG)
@click.argument("target")
@common.SCRIPT_ARGS
@common.INPUT_SHAPE
@click.option("--of", metavar="NAME", help="The tensor whose gradient it is, or the scope that it enters.")
@click.option("--norm", metavar="NAME", help="Group the paths by this norm only.")
@click.option("--cut", type=click.Choice(("mean", "var", "mean@var")), help="Show also the gradient without this path.")
@click.option("--limit", type=click.IntRange(min=1), default=32, show_default=True, help="Show no more rows.")
@common.output_options(SUFFIXES)
@common.THEME
@common.NO_LEGEND
@common.ENGINE
@common.ASCII
@common.STOP_AT_BACKWARD
@common.TORCH
@common.TIMEOUT
@common.DEBUG
@click.pass_context
def paths_command(
    ctx: click.Context,
    /,
    target: str,
    script_args: tuple[str, ...],
    of: str | None,
    norm: str | None,
    cut: Cut | None,
    limit: int,
    shapes: tuple[script.InputShape, ...],
    stop_at_backward: int | None,
    torch: bool,
    timeout: float | None,
    **options: Any,
) -> None:
    """Show a gradient path by path."""
    format, place = common.destination(ctx, SUFFIXES, on_terminal="text", piped="text")
    goal = replace(script.parse(target), shapes=shapes, stop_at_backward=stop_at_backward, torch=torch)
    place.check(goal.path)
    with script.running(goal, script_args, timeout) as found:
        ledger = ledger_of(found, of, norm, cut, limit)
    common.note(*found.notes)
    place.write(rendered(ledger, format, options | {"color": ctx.color}))
    if found.failure is not None:
        raise found.failure


def ledger_of(
    found: script.Found, of: str | None = None, norm: str | None = None, cut: Cut | None = None, limit: int = 32
) -> Ledger:
    """The ledger of what a script has computed."""
    from microtensor.ledger import input_of, paths

    try:
        return paths(found.tensor, input_of(found.tensor, of), norm=norm, cut=cut, limit=limit)
    except (RuntimeError, TypeError, ValueError) as error:
        told = str(error).removeprefix("paths: ").replace("choose one:", "choose one with --of:")
        raise script.TargetError(told) from error


def rendered(ledger: Ledger, format: Any, options: dict[str, Any]) -> bytes:
    """A ledger as the bytes of a file. `options` are those of the commands that draw."""
    from microtensor.ledger import to_json, to_table
    from microtensor.viz.paths import render_paths

    if format in ("text", "tree"):
        return (to_table(ledger, color=options["color"], ascii=options["ascii"]) + "\n").encode("utf-8")
    if format == "json":
        return to_json(ledger).encode("utf-8")
    style = {"theme": options["theme"], "engine": options["engine"], "legend": not options["no_legend"]}
    return render_paths(ledger, format, **style)
