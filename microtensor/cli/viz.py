"""``microtensor viz``: the graph of a tensor as a picture, a file of data or a tree on the terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import click

from microtensor import script
from microtensor.cli.common import EPILOG, exit_codes, has_color, is_terminal, seconds
from microtensor.output import USAGE, CommandError, Destination, print_bytes

if TYPE_CHECKING:
    from microtensor.viz import Format
    from microtensor.viz.dot import View
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

SUFFIXES: dict[str, Format] = {
    ".svg": "svg",
    ".png": "png",
    ".dot": "dot",
    ".gv": "dot",
    ".json": "json",
    ".txt": "tree",
}
FORMATS: tuple[Format, ...] = tuple(dict.fromkeys(SUFFIXES.values()))

EXAMPLES = """\
\b
Examples:
  microtensor viz demo:batch_norm                    as a tree on the terminal
  microtensor viz demo:batch_norm -o bn.svg          as a picture
  microtensor viz train.py:loss -o loss.svg --view backward
  microtensor viz train.py -o loss.svg -- --lr 0.1   arguments for train.py
  microtensor viz package.module:make_loss -f dot | dot -Tpdf -o loss.pdf
"""
VIZ_HELP = f"""{EXAMPLES}
Draw the graph of a tensor. TARGET is a script (file.py), a tensor in it (file.py:loss, file.py:model.loss), a
tensor of a module (package.module:loss) or a built-in demo (demo:batch_norm, demo:layer_norm, demo:mlp). A function
without arguments that returns a tensor will do in a tensor's place. Without a name, the script's only result is drawn.

The script runs as `python SCRIPT ...` would run it; what it prints goes to standard error.
"""


@click.command("viz", help=VIZ_HELP, short_help="Draw the graph of a tensor.", epilog=EPILOG)
@click.argument("target")
@click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- SCRIPT_ARGS...]")
@click.option("-o", "--output", metavar="FILE", help="Write here; the suffix picks the format, - is standard output.")
@click.option("-f", "--format", type=click.Choice(FORMATS), help="Needed where the suffix does not say.")
@click.option("--view", type=click.Choice(("forward", "backward")), default="forward", show_default=True)
@click.option("--depth", type=click.IntRange(min=0), help="Fold scopes nested this deep or deeper.")
@click.option("--theme", type=click.Choice(("auto", "light", "dark")), default="auto", show_default=True)
@click.option("--no-legend", "legend", flag_value=False, type=bool, default=True, help="Leave the legend out.")
@click.option("--engine", type=click.Choice(("auto", "embedded", "system")), default="auto", show_default=True)
@click.option(
    "--max-nodes",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Draw no larger graph as a picture; over 300 nodes it is folded first.",
)
@click.option("--no-clobber", is_flag=True, help="Do not replace a file that exists.")
@click.option("--ascii", is_flag=True, help="Draw the tree with plain characters.")
@click.option("--no-color", is_flag=True, help="No colour on the terminal; NO_COLOR does the same.")
@click.option(
    "--timeout", type=float, metavar="SECONDS", callback=seconds, help="Stop the script then; unlimited if not given."
)
@click.option("--debug", is_flag=True, help="Show every frame of an error, the tool's own too.")
@click.pass_context
def viz_command(
    ctx: click.Context,
    target: str,
    script_args: tuple[str, ...],
    output: str | None,
    format: Format | None,
    view: View,
    depth: int | None,
    theme: Theme,
    legend: bool,
    engine: Engine,
    max_nodes: int,
    no_clobber: bool,
    ascii: bool,
    no_color: bool,
    timeout: float | None,
    debug: bool,
) -> None:
    """Draw the graph of a tensor."""
    from microtensor import viz
    from microtensor.graph import Graph, auto_depth

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
            graph = Graph.from_tensor(found.tensor, gradients=view == "backward" or chosen == "json")
        for note in found.notes:
            click.echo(f"Note: {note}", err=True)
        if chosen in viz.NEEDS_ENGINE and depth is None:
            shown = len(graph.collapsed(auto_depth(graph)).nodes)
            if shown > max_nodes:
                raise CommandError(
                    f"the graph has {shown} nodes, folded as far as its scopes allow, more than --max-nodes "
                    f"{max_nodes}: name its parts with mt.name_scope, raise --max-nodes, or take --format dot or json"
                )
        data = viz.render(
            graph,
            chosen,
            view=view,
            depth=depth,
            theme=theme,
            legend=legend,
            engine=engine,
            ascii=ascii,
            color=colored,
        )
    if destination is None:
        print_bytes(data)
    else:
        destination.write(data)


def _format(output: str | None, format: Format | None) -> Format:
    """The format that the option and the suffix agree on."""
    if output is None:
        return format or "tree"
    if output == "-":
        return format or "svg"
    suffix = os.path.splitext(output)[1].lower()
    implied = SUFFIXES.get(suffix)
    if format is None and implied is None:
        what = f"the suffix {suffix} of {output} is not known" if suffix else f"{output} has no suffix"
        raise CommandError(f"{what}; use one of {' '.join(SUFFIXES)}, or say --format {'|'.join(FORMATS)}", USAGE)
    if format is not None and implied not in (None, format):
        raise CommandError(f"--format {format} and the suffix of {output} disagree; drop one of them", USAGE)
    return cast("Format", format or implied)
