"""``microtensor viz``: the graph of a tensor as a picture, a file of data or a tree on the terminal."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import click

from microtensor import script
from microtensor.cli.common import EPILOG, STOP, exit_codes, has_color, is_terminal, note, seconds
from microtensor.output import ERROR, USAGE, CommandError, Destination, print_bytes
from microtensor.support.text import LINE, safe_text

if TYPE_CHECKING:
    from microtensor.graph import Graph, Values
    from microtensor.tensor import Tensor
    from microtensor.viz import Format
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

    View: TypeAlias = Literal["forward", "backward", "combined", "paths"]

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
# More operations than this are not even read unasked: drawing would be folding, and folding needs a decision.
HUGE = 20_000

EXAMPLES = """\
\b
Examples:
  microtensor viz demo:batch_norm                    as a tree on the terminal
  microtensor viz demo:batch_norm -o bn.svg          as a picture
  microtensor viz train.py:loss -o loss.html         as a page that walks through it
  microtensor viz train.py:loss -o loss.pdf --view backward
  microtensor viz train.py -o loss.svg -- --lr 0.1   arguments for train.py
  microtensor viz net.py:model --input-shape 4x3     a module, called with a random input
  microtensor viz --compare net.py:model eval --input-shape 4x3 -o modes.svg
  microtensor viz package.module:make_loss -f mermaid
"""
VIZ_HELP = f"""{EXAMPLES}
Draw the graph of a tensor. TARGET is a script (file.py), a tensor in it (file.py:loss, file.py:model.loss), a
tensor of a module (package.module:loss), a graph stored with -f json (graph.json) or a built-in demo
(demo:batch_norm, demo:layer_norm, demo:mlp). A function without arguments that returns a tensor will do in a tensor's
place. Without a name, the script's only result is drawn.

A module is called in training mode with inputs of the shapes that --input-shape gives, drawn from a normal distribution
with seed 0; its gradients are for a fixed random cotangent, and of a tuple the first tensor is drawn.

With --compare there are two targets, and what differs is marked; `eval` as the second one means the same module in
evaluation mode.

The script runs as `python SCRIPT ...` would run it; what it prints goes to standard error. If it fails, the tensor that
was named is drawn if it had been made by then, else what had been computed, with the operation that raised. The exit
code is 3 all the same. A Makefile needs the line `.DELETE_ON_ERROR:`, or the next make takes that picture for done.
"""


def _shapes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[tuple[int, ...], ...]:
    if value is None:
        return ()
    if not re.fullmatch(r"\d+(x\d+)*(,\d+(x\d+)*)*", value):
        raise click.BadParameter(f"{value!r} is not a shape such as 4x3, or several such as 4x3,4x5")
    return tuple(tuple(map(int, shape.split("x"))) for shape in value.split(","))


@click.command("viz", help=VIZ_HELP, short_help="Draw the graph of a tensor.", epilog=EPILOG)
@click.argument("target")
@click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[OTHER] [-- SCRIPT_ARGS...]")
@click.option("-o", "--output", metavar="FILE", help="Write here; the suffix picks the format, - is standard output.")
@click.option("-f", "--format", type=click.Choice(FORMATS), help="Needed where the suffix does not say.")
@click.option(
    "--view",
    type=click.Choice(("forward", "backward", "combined", "paths")),
    default="forward",
    show_default=True,
    help="What is computed, the gradients that come back, both, or what each path carries.",
)
@click.option("--compare", is_flag=True, help="Draw TARGET and OTHER on one sheet, and mark what differs.")
@click.option("--depth", type=click.IntRange(min=0), help="Fold scopes nested this deep or deeper.")
@click.option("--collapse", multiple=True, metavar="NAME", help="Fold the scope NAME, or all that match, as block*.")
@click.option("--expand", multiple=True, metavar="NAME", help="Keep the scope NAME open, whatever --depth says.")
@click.option("--no-repeats", is_flag=True, help="Show equal folded blocks singly.")
@click.option(
    "--values",
    type=click.Choice(("none", "stats", "full")),
    default="none",
    show_default=True,
    help="Minimum, mean and maximum of every result; full: arrays up to 4x4 whole.",
)
@click.option("--lines", is_flag=True, help="In the tree: the line that made each result. Pictures have it as tooltip.")
@click.option("--input-shape", "shapes", metavar="4x3", callback=_shapes, help="What to call a module with.")
@click.option("--theme", type=click.Choice(("auto", "light", "dark")), default="auto", show_default=True)
@click.option("--no-legend", is_flag=True, help="Leave the legend out.")
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
@click.option("--timeout", type=float, metavar="SECONDS", callback=seconds, help=STOP)
@click.option("--debug", is_flag=True, help="Show every frame of an error, the tool's own too.")
@click.pass_context
def viz_command(
    ctx: click.Context,
    target: str,
    script_args: tuple[str, ...],
    output: str | None,
    format: Format | None,
    view: View,
    compare: bool,
    depth: int | None,
    collapse: tuple[str, ...],
    expand: tuple[str, ...],
    no_repeats: bool,
    values: Values,
    lines: bool,
    shapes: tuple[tuple[int, ...], ...],
    theme: Theme,
    no_legend: bool,
    engine: Engine,
    max_nodes: int,
    no_clobber: bool,
    ascii: bool,
    no_color: bool,
    timeout: float | None,
    debug: bool,
) -> None:
    """Draw the graph of a tensor."""
    chosen = _format(output, format)
    destination = None if output in (None, "-") else Destination(output, no_clobber)
    colored = ctx.color = destination is None and has_color(no_color)
    if destination is None and chosen in ("png", "pdf") and is_terminal():
        raise CommandError(f"a {chosen.upper()} is not for a terminal; write it to a file with -o FILE.{chosen}", USAGE)
    other = None
    if compare:
        other, script_args = _second(script_args, view, chosen)
    if chosen == "html" and (collapse or expand or view != "forward"):
        raise CommandError(
            "a page folds its frames in place and goes both ways; drop --collapse, --expand, --view", USAGE
        )
    if view == "paths" and chosen == "mermaid":
        raise CommandError("there are no paths in Mermaid; take another format", USAGE)
    folding: dict[str, Any] = {"depth": depth, "collapse": collapse, "expand": expand, "repeats": not no_repeats}
    drawing = _Drawing(
        chosen, view, values, {**folding, "theme": theme, "legend": not no_legend, "engine": engine, "ascii": ascii,
        "color": colored, "lines": lines}, max_nodes,
    )  # fmt: skip
    with exit_codes(debug):
        goal = replace(script.parse(target), shapes=shapes)
        second = None if other is None else _other_goal(other, goal)
        if destination is not None:
            destination.check(goal.path or goal.graph)
            if second is not None:
                destination.check(second.path or second.graph)
        try:
            data = drawing.of(goal, second, script_args, timeout)
        except script.ScriptError as error:
            # The error is what is to be told, so nothing that goes wrong with the picture may hide it.
            if error.graph is not None:
                with suppress(CommandError, ValueError, RuntimeError):
                    _write(destination, drawing.picture(error.graph, failed=True))
            raise
        _write(destination, data)
        if drawing.failure is not None:
            raise drawing.failure


def _write(destination: Destination | None, data: bytes) -> None:
    if destination is None:
        print_bytes(data)
    else:
        destination.write(data)


class _Drawing:
    """One picture, with all that was asked for."""

    def __init__(self, format: Format, view: View, values: Values, options: dict[str, Any], max_nodes: int) -> None:
        self.format, self.view, self.values = format, view, values
        self.options = options
        self.max_nodes = max_nodes
        # What a script did wrong after its tensor was made: drawn, and then told.
        self.failure: Exception | None = None

    def of(
        self, goal: script.Target, second: script.Target | None, args: Sequence[str], timeout: float | None
    ) -> bytes:
        if second is None and self.view == "paths":
            return self._paths(goal, args, timeout)
        if second is None:
            return self.picture(*self._read(goal, args, timeout))
        from microtensor.graph import compare

        first, other = (self._read(one, args, timeout, compared=True)[0] for one in (goal, second))
        return self.picture(compare(first, other, _names(goal, second)))

    def _read(
        self, goal: script.Target, args: Sequence[str], timeout: float | None, *, compared: bool = False
    ) -> tuple[Graph, Tensor | None]:
        from microtensor.graph import Graph, size
        from microtensor.viz import from_json, shows_gradients

        if goal.graph is not None:
            try:
                with open(goal.graph, "rb") as file:
                    return from_json(file.read()), None
            except OSError as error:
                raise script.PathError(f"cannot read {goal.shown}: {error.strerror}") from error
            except ValueError as error:
                raise script.PathError(f"{goal.shown}: {error}") from error
        with script.running(goal, args, timeout) as found:
            many = size(found.tensor)
            asked = self.options["depth"] is not None or self.options["collapse"]
            if many > HUGE and not asked and self.format not in ("json", "dot", "mermaid"):
                raise CommandError(
                    f"the graph has {many:,} operations, which is not drawn unasked: fold its scopes with --depth 0 or "
                    "--depth 1, draw less of it, or take --format json or dot"
                )
            # A comparison has none.
            gradients = not compared and shows_gradients(self.format, self.view)
            # A page collects its values itself.
            values: Values = "stats" if self.values == "none" and self.view == "combined" else self.values
            graph = Graph.from_tensor(found.tensor, gradients=gradients, values=values)
        self._tell(found)
        return graph, found.tensor

    def _tell(self, found: script.Found) -> None:
        for remark in found.notes:
            note(remark)
        self.failure = self.failure or found.failure

    def picture(self, graph: Graph, output: Tensor | None = None, *, failed: bool = False) -> bytes:
        """The bytes of a graph's picture."""
        from microtensor import viz

        view = "forward" if failed or self.view == "paths" else self.view
        options = dict(self.options)
        known = {name for name in ("collapse", "expand") if options[name]}
        if failed:
            # The names may be those of scopes that it did not get to.
            options |= dict.fromkeys(known, ())
        try:
            if self.format in viz.NEEDS_ENGINE and options["depth"] is None:
                folding = {name: options[name] for name in ("collapse", "expand", "repeats")}
                self._refuse_large(len(viz.folded(graph, **folding).nodes))
            with warnings.catch_warnings(record=True) as remarks:
                warnings.simplefilter("always", UserWarning)
                data = viz.render(graph, self.format, view=view, values=self.values, output=output, **options)
        except ValueError as error:
            if not known:
                raise
            raise CommandError(str(error), ERROR) from error
        for remark in remarks:
            note(str(remark.message))
        return data

    def _refuse_large(self, shown: int) -> None:
        if shown > self.max_nodes:
            raise CommandError(
                f"the graph has {shown} nodes, folded as far as its scopes allow, more than --max-nodes "
                f"{self.max_nodes}: name its parts with mt.name_scope, raise --max-nodes, or take --format dot or json"
            )

    def _paths(self, goal: script.Target, args: Sequence[str], timeout: float | None) -> bytes:
        """The ledger of the gradient, as ``microtensor paths`` has it, of the only input."""
        from microtensor.ledger import input_of, paths, to_json, to_table
        from microtensor.viz import to_pdf
        from microtensor.viz.paths import render_paths

        with script.running(goal, args, timeout) as found:
            try:
                ledger = paths(found.tensor, input_of(found.tensor))
            except (RuntimeError, TypeError, ValueError) as error:
                said = str(error).removeprefix("paths: ")
                raise script.TargetError(f"{said}\nmicrotensor paths has the options for it") from error
        self._tell(found)
        if self.format == "tree":
            return (to_table(ledger, color=self.options["color"], ascii=self.options["ascii"]) + "\n").encode("utf-8")
        if self.format == "json":
            return to_json(ledger).encode("utf-8")
        style = {name: self.options[name] for name in ("theme", "legend", "engine")}
        if self.format == "pdf":
            flat = "dark" if style["theme"] == "dark" else "light"
            return to_pdf(render_paths(ledger, "svg", **style | {"theme": flat}), "Paths of a gradient")
        return render_paths(ledger, cast("Literal['svg', 'png', 'dot']", self.format), **style)


def _second(args: tuple[str, ...], view: View, format: Format) -> tuple[str, tuple[str, ...]]:
    """The other target of a comparison, and what is left for the scripts."""
    if not args:
        raise CommandError("--compare needs two targets: microtensor viz --compare a.py:loss b.py:loss", USAGE)
    if view != "forward" or format == "html":
        raise CommandError("--compare draws what is computed; drop --view, and take another format than html", USAGE)
    return args[0], args[1:]


def _other_goal(other: str, goal: script.Target) -> script.Target:
    if other != "eval":
        return replace(script.parse(other), shapes=goal.shapes)
    if not goal.shapes:
        raise CommandError(
            "eval means the same module in evaluation mode; say what to call it with: --input-shape 4x3", USAGE
        )
    return replace(goal, training=False)


def _names(goal: script.Target, second: script.Target) -> tuple[str, str]:
    """What to call the two in a picture: as briefly as tells them apart."""
    if not second.training:
        return "train", "eval"
    if goal.attr and second.attr and goal.attr != second.attr:
        return goal.attr, second.attr
    if goal.text == second.text:
        return "first", "second"
    return os.path.basename(goal.text), os.path.basename(second.text)


def _format(output: str | None, format: Format | None) -> Format:
    """The format that the option and the suffix agree on."""
    if output is None:
        return format or "tree"
    if output == "-":
        return format or "svg"
    suffix = os.path.splitext(output)[1].lower()
    implied, shown = SUFFIXES.get(suffix), safe_text(output, LINE)
    if format is None and implied is None:
        what = f"the suffix {safe_text(suffix)} of {shown} is not known" if suffix else f"{shown} has no suffix"
        raise CommandError(f"{what}; use one of {' '.join(SUFFIXES)}, or say --format {'|'.join(FORMATS)}", USAGE)
    if format is not None and implied not in (None, format):
        raise CommandError(f"--format {format} and the suffix of {shown} disagree; drop one of them", USAGE)
    return cast("Format", format or implied)
