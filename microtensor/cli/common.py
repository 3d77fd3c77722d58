"""What the commands share: exit codes, options, the place and the format of a result."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from microtensor import script
from microtensor.output import ERROR, USAGE, CommandError, Destination
from microtensor.script import InputShape, watch
from microtensor.text import LINE, safe_lines, safe_text

F = TypeVar("F", bound=Callable[..., Any])

SCRIPT_FAILED, ENGINE_FAILED, INTERRUPTED = 3, 4, 130
LONGEST = 1e6
DEBUGGED = "microtensor.debug"
UNEXPECTED = "microtensor itself failed, or the script changed what it stands on; --debug shows where"
EPILOG = """\
\b
Exit codes:
  0    done: drawn, or checked and found right
  1    error: the tensor was not found, the graph is too large, the file cannot be written; or a gradient is wrong
  2    usage: an option or the target is wrong
  3    the script failed, or ran longer than --timeout; on Linux also: it ended its process (os._exit, a crash)
  4    the layout engine failed
  130  interrupted by Ctrl-C
"""


class Commands(click.Group):
    """A group in which each kind of failure, and an interruption, has its own exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run in a process of its own, which this process watches."""

        def run() -> Any:
            try:
                if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                return self.main(*args, **kwargs)
            except KeyboardInterrupt:
                _exit_interrupted()

        return watch.watched(run)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and exit with the code that the help promises."""
        try:
            code = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.ClickException as failure:
            # Click's messages quote what was typed, which may hold control characters.
            vars(failure)["message"] = safe_lines(failure.message)
            failure.show()
            sys.exit(failure.exit_code)
        except click.Abort:
            _exit_interrupted()
        sys.exit(code)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt:
            raise click.Abort from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            # The help is written from here.
            raise click.ClickException(f"cannot write: {error.strerror}") from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command by its name."""
        # Before 8.2, Click reads a name that does not start with a letter as an option, and shows the help.
        if not args[0][:1].isalnum() and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with exit_codes(ctx):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


def _exit_interrupted() -> NoReturn:
    # A signal to the whole group arrives twice, once through the watching process.
    if watch.board is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    click.echo("Interrupted", err=True)
    sys.exit(INTERRUPTED)


@contextmanager
def exit_codes(ctx: click.Context) -> Iterator[None]:
    """Give each kind of failure its exit code."""
    from microtensor.viz import EngineError

    codes = {
        script.PathError: USAGE,
        script.TargetError: ERROR,
        script.ScriptError: SCRIPT_FAILED,
        EngineError: ENGINE_FAILED,
    }
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise
        debug = ctx.meta.get(DEBUGGED, False)
        details = "".join(traceback.format_exception(error)) if debug else getattr(error, "details", "")
        for kind, code in codes.items():
            if isinstance(error, kind):
                raise CommandError(str(error), code, details) from error
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise CommandError(f"cannot write: {error.strerror}", ERROR, details) from error
        # A traceback of the tool is shown only on demand.
        said = "".join(traceback.format_exception_only(error)).strip().rpartition("\n")[2]
        raise CommandError(f"{UNEXPECTED}: {said}", ERROR, details if debug else "") from error


def note(*remarks: str) -> None:
    """Print remarks beside the result."""
    for remark in remarks:
        click.echo(f"Note: {safe_lines(remark)}", err=True)


def has_color(no_color: bool) -> bool:
    """Whether to colour the terminal: the option, then NO_COLOR, FORCE_COLOR and TERM decide."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal()


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


# --- options --------------------------------------------------------------------------------------------------


def seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Check a time limit: its size, and whether this platform can keep it."""
    if value is None:
        return None
    if not hasattr(signal, "SIGALRM"):
        raise click.BadParameter("this platform has no alarm signal, so a script cannot be stopped; use Ctrl-C")
    if not 0 < value <= LONGEST:
        raise click.BadParameter(f"the time must be between 0 and {LONGEST:g} seconds, not {value:g}")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """The sizes that are joined by x, as in 4x3."""
    plain = text.lower().replace("×", "x")
    if not re.fullmatch(r"\d+(x\d+)*", plain):
        raise click.BadParameter(f"{text!r} must be sizes joined by x, such as 4x3")
    return tuple(map(int, plain.split("x")))


def _input_shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[InputShape, ...]:
    return tuple(_input_shape(text) for value in values for text in value.split(","))


def _input_shape(text: str) -> InputShape:
    """The shape in 4x3, x=4x3, 4x3:int or x=4x3:int."""
    name, equals, rest = text.rpartition("=")
    numbers, colon, kind = rest.partition(":")
    if equals and not name.isidentifier():
        raise click.BadParameter(f"{text!r}: {name!r} is not the name of a parameter; write it as in x=4x3")
    if colon and kind != "int":
        raise click.BadParameter(f"{text!r}: after : comes int, as in 4x3:int")
    return InputShape(sizes(numbers), name, bool(colon))


def _remember_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUGGED] = value


def choice(name: str, values: tuple[str, ...], help: str | None = None) -> Callable[[F], F]:
    """An option whose value is one of several words. The first word is the default."""
    return click.option(name, type=click.Choice(values), default=values[0], show_default=True, help=help)


SCRIPT_ARGS = click.argument("script_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- SCRIPT_ARGS...]")
THEME = choice("--theme", ("auto", "light", "dark"))
NO_LEGEND = click.option("--no-legend", is_flag=True, help="Leave the legend out.")
ENGINE = choice("--engine", ("auto", "embedded", "system"))
ASCII = click.option("--ascii", is_flag=True, help="Draw with plain characters.")
INPUT_SHAPE = click.option(
    "--input-shape",
    "shapes",
    multiple=True,
    metavar="[NAME=]SIZES[:int]",
    callback=_input_shapes,
    help="The shape of a random input of a module or a function, such as 4x3, or x=4x3 for the parameter x. Once for "
    "each input. With :int they are whole numbers.",
)
STOP_AT_BACKWARD = click.option(
    "--stop-at-backward",
    type=click.IntRange(min=1),
    metavar="N",
    help="End the script after its N-th backward pass, and take the tensor that this began at. 1 is the first.",
)
TORCH = click.option(
    "--torch", is_flag=True, help="Run a PyTorch program: torch means microtensor.torch. PyTorch need not be installed."
)
TIMEOUT = click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    callback=seconds,
    help="Stop the script after this time. On Linux, 3 s later, end it and all that it started. Default: no limit.",
)
DEBUG = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_remember_debug,
    help="Show every frame of an error, the tool's own too.",
)


def output_options(suffixes: Mapping[str, str]) -> Callable[[F], F]:
    """The options that :func:`destination` reads. `suffixes` maps the suffix of a file to its format."""
    formats = tuple(dict.fromkeys(suffixes.values()))
    options = (
        click.option(
            "-o", "--output", metavar="FILE", help="Write here; the suffix picks the format, - is standard output."
        ),
        click.option("-f", "--format", type=click.Choice(formats), help="Needed where the suffix does not say."),
        click.option("--no-clobber", is_flag=True, help="Do not replace a file that exists."),
        click.option("--no-color", is_flag=True, help="No colour on the terminal; NO_COLOR does the same."),
    )

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def destination(
    ctx: click.Context, suffixes: Mapping[str, str], *, on_terminal: str, piped: str
) -> tuple[Any, Destination]:
    """The format and the place that the options ask for. This also sets the context's colour.

    Parameters
    ----------
    ctx : Context
        The context of a command with :func:`output_options`.
    suffixes : mapping
        From the suffix of a file to its format.
    on_terminal, piped : str
        The formats without ``--output``, and with ``--output -``.
    """
    options = ctx.params
    output, format = options["output"], options["format"]
    place = Destination(output, options["no_clobber"])
    if place.is_stdout:
        format = format or (on_terminal if output is None else piped)
        if format in ("png", "pdf") and is_terminal():
            raise CommandError(
                f"a {format.upper()} is not for a terminal; write it to a file with -o FILE.{format}", USAGE
            )
    else:
        format = _format_of_file(output, format, suffixes)
    ctx.color = place.is_stdout and has_color(options["no_color"])
    return format, place


def _format_of_file(output: str, format: str | None, suffixes: Mapping[str, str]) -> str:
    """The format that the option or the suffix names; they must agree."""
    suffix = os.path.splitext(output)[1].lower()
    implied, shown = suffixes.get(suffix), safe_text(output, LINE)
    if format is not None and implied not in (None, format):
        raise CommandError(f"--format {format} and the suffix of {shown} disagree; drop one of them", USAGE)
    chosen = format or implied
    if chosen is None:
        what = f"the suffix {safe_text(suffix)} of {shown} is not known" if suffix else f"{shown} has no suffix"
        formats = "|".join(dict.fromkeys(suffixes.values()))
        raise CommandError(f"{what}; use one of {' '.join(suffixes)}, or say --format {formats}", USAGE)
    return chosen
