"""The command line: options in, files out, and an exit code for each kind of failure."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from microtensor import __version__, script
from microtensor.output import ERROR, USAGE, CommandError, Destination, print_bytes

if TYPE_CHECKING:
    from microtensor.tensor import Tensor
    from microtensor.viz import Format
    from microtensor.viz.dot import View
    from microtensor.viz.engine import Engine
    from microtensor.viz.svg import Theme

SCRIPT_FAILED, ENGINE_FAILED, INTERRUPTED = 3, 4, 130
LONGEST = 1e6
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
CHECK_EXAMPLES = """\
\b
Examples:
  microtensor check demo:batch_norm                  a built-in demo
  microtensor check train.py:loss                    every operation behind a loss, and each leaf
  microtensor check layers.py:my_norm --order 2      a function: def my_norm(x=np.ones((4, 3)), weight=...)
  microtensor check train.py -- --lr 0.1             arguments for train.py
"""
MAIN_HELP = f"""{EXAMPLES.rstrip()}
  microtensor check train.py:loss                    compare its gradients with finite differences

Pictures of how a microtensor computation was made, and of every path a gradient takes back through it; and checks
that the gradients are right.
"""
VIZ_HELP = f"""{EXAMPLES}
Draw the graph of a tensor. TARGET is a script (file.py), a tensor in it (file.py:loss, file.py:model.loss), a
tensor of a module (package.module:loss) or a built-in demo (demo:batch_norm, demo:layer_norm, demo:mlp). A function
without arguments that returns a tensor will do in a tensor's place. Without a name, the script's only result is drawn.

The script runs as `python SCRIPT ...` would run it; what it prints goes to standard error.
"""
CHECK_HELP = f"""{CHECK_EXAMPLES}
Compare gradients with central finite differences in float64. TARGET is as for viz: a script (file.py), something in it
(file.py:loss), something of a module (package.module:loss) or a built-in demo (demo:batch_norm).

A tensor, or a function without parameters that returns one, is checked as it was recorded: the rule of every operation
by itself, and the gradient of the whole for each leaf. What was not recorded (detached values, masks) counts as
constant, so a path that is cut by mistake shows only in a function.

A function of which every parameter has a tensor, an array or a float as its default is called again with moved inputs,
so a detached path is found. Arrays of integers are passed on as they are.

One line for each input: name, shape, the largest error, ok or WRONG. Then the verdict, and what is wrong, where, and
the likely cause. The script's own output goes to standard error.
"""
EPILOG = """\
\b
Exit codes:
  0    done: drawn, or checked and found right
  1    error: the tensor was not found, the graph is too large, the file cannot be written; or a gradient is wrong
  2    usage: an option or the target is wrong
  3    the script failed, or ran longer than --timeout
  4    the layout engine failed
  130  interrupted by Ctrl-C
"""


class Commands(click.Group):
    """A group in which a failure, and an interruption too, ends with its own exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as failure:
            click.echo(failure.details, nl=bool(failure.details) and not failure.details.endswith("\n"), err=True)
            click.echo(f"Error: {failure}", err=True)
            ctx.exit(failure.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is None:
        return None
    if not hasattr(signal, "SIGALRM"):
        raise click.BadParameter("this platform has no alarm signal, so a script cannot be stopped; use Ctrl-C")
    if not 0 < value <= LONGEST:
        raise click.BadParameter(f"{value:g} is not between 0 and {LONGEST:g} seconds")
    return value


@click.group(
    cls=Commands,
    help=MAIN_HELP,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="microtensor", message="%(prog)s %(version)s")
def main() -> None:
    """Entry point of the command ``microtensor``."""


@main.command("viz", help=VIZ_HELP, short_help="Draw the graph of a tensor.", epilog=EPILOG)
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
    "--timeout", type=float, metavar="SECONDS", callback=_seconds, help="Stop the script then; unlimited if not given."
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
    colored = ctx.color = destination is None and _color(no_color)
    if destination is None and chosen == "png" and _is_terminal():
        raise CommandError("a PNG is not for a terminal; write it to a file with -o FILE.png", USAGE)
    with _exit_codes(debug):
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


@main.command("check", help=CHECK_HELP, short_help="Check gradients by finite differences.", epilog=EPILOG)
@click.argument("target")
@click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- SCRIPT_ARGS...]")
@click.option(
    "--order", type=click.Choice(("1", "2")), default="1", show_default=True, help="2: the gradient's gradient too."
)
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    callback=_seconds,
    help="Stop the script and the check of it then; unlimited if not given.",
)
@click.option("--debug", is_flag=True, help="Show every frame of an error, the tool's own too.")
@click.pass_context
def check_command(
    ctx: click.Context, target: str, script_args: tuple[str, ...], order: str, timeout: float | None, debug: bool
) -> None:
    """Check the gradients of a tensor or a function."""
    from microtensor.gradcheck import examine

    with _exit_codes(debug):
        goal = script.parse(target)
        with script.running(goal, script_args, timeout, functions=True) as found:
            shown = target if goal.attr else found.tensor.name or target
            function, inputs, notes = _checkable(found, shown)
            for note in (*found.notes, *notes):
                click.echo(f"Note: {note}", err=True)
            report = examine(function, inputs, order=int(order))
    checked = [(name, inputs[i], report.inputs[i]) for i, name in _input_names(found, inputs) if i in report.inputs]
    rows = [
        (name, str(x.shape) if x.shape else "scalar", f"{one.error:.1e}", "ok" if one.right else "WRONG")
        for name, x, one in checked
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if report.mismatches:
        lines += [f"wrong: {_plain(shown)}", *(f"  {_plain(str(mismatch))}" for mismatch in report.mismatches)]
    else:
        orders = "first and second order" if order == "2" else "first order"
        many = f"{len(rows)} input{'s' if len(rows) > 1 else ''}"
        lines.append(f"right: {_plain(shown)}, {orders}, for {many}")
    print_bytes("".join(f"{line}\n" for line in lines).encode())
    if report.mismatches:
        ctx.exit(ERROR)


def _checkable(found: script.Found, shown: str) -> tuple[Callable[..., Any], list[Tensor], list[str]]:
    """The function to check, its inputs, and remarks: a recorded graph becomes a function of its leaves."""
    from microtensor.gradcheck import changed_since, check_inputs, leaves_of, replay

    notes = []
    if found.function is not None:
        function, inputs = found.function, list(found.inputs)
    else:
        if found.tensor.is_leaf:
            raise script.TargetError(
                f"{shown} has no history to check; compute it from a tensor with requires_grad=True, outside no_grad, "
                "or name a function whose parameters all have a tensor, an array or a float as their default"
            )
        inputs = leaves_of(found.tensor)

        def function(*moved: Tensor) -> Tensor:
            return replay(found.tensor, dict(zip(inputs, moved, strict=True)))

        changed = [_plain(x.name or f"a tensor of shape {x.shape}") for x in changed_since(found.tensor)]
        if changed:
            notes.append(
                f"{', '.join(changed)} changed after {_plain(shown)} was computed, as by an optimiser's step; "
                "checking at the new value"
            )
    try:
        check_inputs(inputs)
    except (TypeError, ValueError) as error:
        raise script.TargetError(_plain(str(error).removeprefix("gradcheck: "))) from error
    return function, inputs, notes


def _input_names(found: script.Found, inputs: list[Tensor]) -> list[tuple[int, str]]:
    """A name for each input; parameters that share one are told apart by the scope that reads them first."""
    from microtensor.gradcheck import reader_of

    names = [x.name or f"input {i}" for i, x in enumerate(inputs)]
    told = [
        f"{reader_of(found.tensor, x)}.{name}" if names.count(name) > 1 and found.function is None else name
        for name, x in zip(names, inputs, strict=True)
    ]
    return [(i, _plain(f"{name} ({i})" if told.count(name) > 1 else name)) for i, name in enumerate(told)]


def _plain(text: str) -> str:
    """Without what could move the cursor or reorder the line."""
    from microtensor.viz.labels import plain

    return plain(text, 1000)


@contextmanager
def _exit_codes(debug: bool) -> Iterator[None]:
    """Give each kind of failure its exit code."""
    from microtensor.viz import EngineError

    try:
        yield
    except script.PathError as error:
        raise CommandError(str(error), USAGE, _frames(error) if debug else "") from error
    except script.TargetError as error:
        raise CommandError(str(error), ERROR, _frames(error) if debug else "") from error
    except script.ScriptError as error:
        raise CommandError(str(error), SCRIPT_FAILED, _frames(error) if debug else error.details) from error
    except EngineError as error:
        raise CommandError(str(error), ENGINE_FAILED, _frames(error) if debug else "") from error


def _frames(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


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


def _color(no_color: bool) -> bool:
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and _is_terminal()


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


if __name__ == "__main__":
    main()
