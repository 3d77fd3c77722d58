"""``microtensor viz``: the graph of a tensor as a tree on the terminal, as data or as a picture."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from microtensor import script
from microtensor.cli import common
from microtensor.cli.paths import ledger_of, rendered
from microtensor.output import USAGE, CommandError

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor
    from microtensor.graph import Graph
    from microtensor.viz import Format

SUFFIXES: dict[str, Format] = {
    ".svg": "svg",
    ".png": "png",
    ".pdf": "pdf",
    ".html": "html",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".json": "json",
    ".txt": "tree",
}
FORMATS: tuple[Format, ...] = tuple(dict.fromkeys(SUFFIXES.values()))
LAYOUT = ("direction", "slide", "font_size", "notation")
# A larger graph is not even read unless the user says how to fold it.
HUGE = 20_000

EXAMPLES = """\
\b
Examples:
  microtensor viz demo:batch_norm                    as a tree on the terminal
  microtensor viz demo:batch_norm -o bn.svg          as a picture
  microtensor viz train.py:loss -o loss.html         as a page that walks through it
  microtensor viz train.py:loss -o loss.pdf --view backward
  microtensor viz net.py:loss -o loss.pdf --slide    for a slide
  microtensor viz train.py -o loss.svg -- --lr 0.1   arguments for train.py
  microtensor viz net.py:model --input-shape 4x3     a module, called with a random input
  microtensor viz --compare net.py:model eval --input-shape 4x3 -o modes.svg
  microtensor viz package.module:make_loss -f mermaid
"""
VIZ_HELP = f"""{EXAMPLES}
Draw the graph of a tensor. TARGET is a script (file.py), a tensor in it (file.py:loss, file.py:model.loss,
file.py:losses[0], file.py:out[scores]), a tensor of a module (package.module:loss), a notebook (file.ipynb), a script
from a pipe (-), a graph stored with -f json (graph.json) or a built-in demo (demo:batch_norm, demo:layer_norm,
demo:mlp). A function may stand in place of a tensor, if it needs no arguments and returns a tensor. Without a name, the
script's only result is drawn: at module level, in a list or dictionary there, or else the tensor that the last
backward() began at.

A module is called in training mode with random inputs of the shapes that --input-shape gives. So is a function with
parameters: --input-shape x=4x3 is for its parameter x. The inputs are normally distributed, with seed 0. The gradients
are for a fixed random cotangent. Where a module or function returns a tuple, its first tensor is drawn.

With --compare there are two targets, and what differs is marked. `eval` as the second one means the same module in
evaluation mode.

The script runs as `python SCRIPT ...` would run it. What it prints goes to standard error. If it fails, the named
tensor is drawn, if it had been made by then. Else what had been computed is drawn, with the operation that raised. The
exit code is 3 in both cases. A Makefile needs the line `.DELETE_ON_ERROR:`, or the next make takes that picture for
done.
"""


@click.command("viz", help=VIZ_HELP, short_help="Draw the graph of a tensor.", epilog=common.EPILOG)
@click.argument("target")
@click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[OTHER] [-- SCRIPT_ARGS...]")
@common.output_options(SUFFIXES)
@common.choice(
    "--view",
    ("forward", "backward", "combined", "paths"),
    help="What is computed, the gradients that come back, both, or what each path carries.",
)
@click.option("--compare", is_flag=True, help="Draw TARGET and OTHER on one sheet, and mark what differs.")
@click.option("--depth", type=click.IntRange(min=0), help="Fold scopes nested this deep or deeper.")
@click.option(
    "--collapse", multiple=True, metavar="NAME", help="Fold the scope NAME, or all scopes that match it (block*)."
)
@click.option("--expand", multiple=True, metavar="NAME", help="Keep the scope NAME open, whatever --depth says.")
@click.option("--no-repeats", is_flag=True, help="Do not put equal folded blocks onto one card.")
@common.choice(
    "--values",
    ("none", "stats", "full"),
    help="Show minimum, mean and maximum of every result; full: arrays up to 4x4 whole.",
)
@click.option(
    "--lines", is_flag=True, help="In the tree, show the line that made each result. A picture has it as tooltip."
)
@click.option("--slide", is_flag=True, help="For a slide of 16:9: left to right; folded until text has 10 pt.")
@click.option(
    "--direction",
    type=click.Choice(("tb", "lr")),
    help="From top to bottom or left to right. Default: tb; a slide: lr.",
)
@click.option(
    "--font-size",
    type=click.FloatRange(4, 72),
    default=10.0,
    show_default=True,
    metavar="POINTS",
    help="The size of the small text. The rest grows with it.",
)
@common.choice(
    "--notation",
    ("code", "greek", "book"),
    help="The names of the program; Greek letters for their words (gamma: γ); or as in Deep Learning (x: H, x̂: H′).",
)
@common.INPUT_SHAPE
@common.THEME
@common.NO_LEGEND
@common.ENGINE
@click.option(
    "--max-nodes",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Draw no larger graph as a picture. A graph of over 300 nodes is folded first.",
)
@common.ASCII
@common.STOP_AT_BACKWARD
@common.TORCH
@common.TIMEOUT
@common.DEBUG
@click.pass_context
def viz_command(
    ctx: click.Context,
    /,
    target: str,
    script_args: tuple[str, ...],
    compare: bool,
    shapes: tuple[script.InputShape, ...],
    stop_at_backward: int | None,
    torch: bool,
    timeout: float | None,
    **options: Any,
) -> None:
    """Draw the graph of a tensor."""
    format, place = common.destination(ctx, SUFFIXES, on_terminal="tree", piped="svg")
    view = options["view"]
    if compare and not script_args:
        raise CommandError("--compare needs two targets: microtensor viz --compare a.py:loss b.py:loss", USAGE)
    if compare and (view != "forward" or format == "html"):
        raise CommandError("--compare draws what is computed; drop --view, and take another format than html", USAGE)
    if format == "html" and (options["collapse"] or options["expand"] or view != "forward"):
        raise CommandError("a page folds in place and goes both ways; drop --collapse, --expand and --view", USAGE)
    if view == "paths" and format == "mermaid":
        raise CommandError("there are no paths in Mermaid; take another format", USAGE)
    _check_layout(ctx, format, view)
    goals = [replace(script.parse(target), shapes=shapes, stop_at_backward=stop_at_backward, torch=torch)]
    if compare:
        goals.append(_other_goal(script_args[0], goals[0]))
    place.check(*(goal.path or goal.graph for goal in goals))
    drawing = _Drawing(format, options | {"color": ctx.color}, script_args[compare:], timeout)
    try:
        data = drawing.of(*goals)
    except script.ScriptError as error:
        # An error of the picture must not hide the error of the script.
        if error.graph is not None:
            with suppress(CommandError, ValueError, RuntimeError):
                place.write(drawing.picture(error.graph, failed=True))
        raise
    place.write(data)
    if drawing.failure is not None:
        raise drawing.failure


def _check_layout(ctx: click.Context, format: Format, view: str) -> None:
    """Refuse options of layout for formats that have none."""
    drawn = ("svg", "png", "pdf", "dot")
    for name, formats in (("slide", drawn), ("font_size", drawn), ("direction", (*drawn, "mermaid"))):
        given = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and (format not in formats or view == "paths"):
            option = f"--{name.replace('_', '-')}"
            where = "the picture of the paths" if view == "paths" else f"the format {format}"
            raise CommandError(f"{option} is for pictures of a graph in {', '.join(formats)}, not for {where}", USAGE)


class _Drawing:
    """One picture, with the options of the command."""

    def __init__(self, format: Format, options: dict[str, Any], args: tuple[str, ...], timeout: float | None) -> None:
        self.format, self.options, self.args, self.timeout = format, options, args, timeout
        # What a script did wrong after its tensor was made. The tensor is drawn first, then this is raised.
        self.failure: Exception | None = None

    def of(self, goal: script.Target, second: script.Target | None = None) -> bytes:
        """The picture of a target, or of what differs between two."""
        if second is not None:
            from microtensor.graph import compare

            first, other = (self._read(one, gradients=False)[0] for one in (goal, second))
            return self.picture(compare(first, other, _names(goal, second)))
        if self.options["view"] == "paths":
            return self._paths(goal)
        return self.picture(*self._read(goal))

    def _read(self, goal: script.Target, gradients: bool = True) -> tuple[Graph, Tensor | None]:
        from microtensor.graph import Graph, size
        from microtensor.viz import from_json, shows_gradients

        options = self.options
        if goal.graph is not None:
            try:
                with open(goal.graph, "rb") as file:
                    return from_json(file.read()), None
            except OSError as error:
                raise script.PathError(f"cannot read {goal.shown}: {error.strerror}") from error
            except ValueError as error:
                raise script.PathError(f"{goal.shown}: {error}") from error
        with script.running(goal, self.args, self.timeout, unrecorded=True) as found:
            many = size(found.tensor)
            asked = options["depth"] is not None or options["collapse"]
            if many > HUGE and not asked and self.format not in ("json", "dot", "mermaid"):
                raise CommandError(
                    f"the graph has {many:,} operations, too many to draw as they are: fold its scopes with --depth 0 "
                    "or --depth 1, draw less of it, or take --format json or dot"
                )
            # A page collects its values itself.
            combined = options["values"] == "none" and options["view"] == "combined"
            graph = Graph.from_tensor(
                found.tensor,
                gradients=gradients and shows_gradients(self.format, options["view"]),
                values="stats" if combined else options["values"],
            )
        self._tell(found)
        return graph, found.tensor

    def _tell(self, found: script.Found) -> None:
        common.note(*found.notes)
        self.failure = self.failure or found.failure

    def picture(self, graph: Graph, output: Tensor | None = None, *, failed: bool = False) -> bytes:
        """The bytes of a graph's picture."""
        from microtensor import viz
        from microtensor.viz.legend import NOT_SEARCHED

        given = self.options
        folding = {"collapse": given["collapse"], "expand": given["expand"], "repeats": not given["no_repeats"]}
        view = given["view"]
        if failed:
            # The script may not have reached the named scopes, and its gradients were not computed.
            folding |= {"collapse": (), "expand": ()}
            view = "forward"
        names = ("depth", "values", "theme", "engine", "ascii", "color", "lines", *LAYOUT)
        passed = {name: given[name] for name in names}
        try:
            if self.format in viz.NEEDS_ENGINE and given["depth"] is None:
                self._refuse_large(len(viz.folded(graph, **folding).nodes))
            with warnings.catch_warnings(record=True) as remarks:
                warnings.simplefilter("always", UserWarning)
                data = viz.render(
                    graph, self.format, view=view, legend=not given["no_legend"], output=output, **folding, **passed
                )
        except ValueError as error:
            if not (given["collapse"] or given["expand"]):
                raise
            raise CommandError(str(error)) from error
        common.note(*(str(remark.message) for remark in remarks))
        if not graph.searched and (self.format != "tree" or given["color"]):
            common.note(NOT_SEARCHED)
        return data

    def _refuse_large(self, shown: int) -> None:
        limit = self.options["max_nodes"]
        if shown > limit:
            raise CommandError(
                f"the graph has {shown} nodes, folded as far as its scopes allow, more than --max-nodes {limit}: "
                "name its parts with mt.name_scope, raise --max-nodes, or take --format dot or json"
            )

    def _paths(self, goal: script.Target) -> bytes:
        """The ledger of the gradient of the only input, as ``microtensor paths`` has it."""
        with script.running(goal, self.args, self.timeout) as found:
            try:
                ledger = ledger_of(found)
            except script.TargetError as error:
                raise script.TargetError(f"{error}\nmicrotensor paths has the options for it") from error
        self._tell(found)
        return rendered(ledger, self.format, self.options)


def _other_goal(other: str, goal: script.Target) -> script.Target:
    if other != "eval":
        return replace(script.parse(other), shapes=goal.shapes)
    if not goal.shapes:
        raise CommandError(
            "eval means the same module in evaluation mode; say what to call it with: --input-shape 4x3", USAGE
        )
    return replace(goal, training=False)


def _names(goal: script.Target, second: script.Target) -> tuple[str, str]:
    """Short names for the two in a picture."""
    if not second.training:
        return "train", "eval"
    if goal.attr and second.attr and goal.attr != second.attr:
        return goal.attr, second.attr
    if goal.text == second.text:
        return "first", "second"
    return os.path.basename(goal.text), os.path.basename(second.text)
