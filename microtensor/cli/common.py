"""What the commands share: exit codes, options, what a terminal can show."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from microtensor import script
from microtensor.output import ERROR, USAGE, CommandError
from microtensor.script import watch
from microtensor.support.text import safe_lines

SCRIPT_FAILED, ENGINE_FAILED, INTERRUPTED = 3, 4, 130
LONGEST = 1e6
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
    """A group in which a failure, and an interruption too, ends with its own exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as the whole of a process, which another one watches."""
        return watch.watched(lambda: self._interruptible(*args, **kwargs))

    def _interruptible(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return self.main(*args, **kwargs)
        except KeyboardInterrupt:
            _say_interrupted()
            sys.exit(INTERRUPTED)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            # The help is written from here.
            raise click.ClickException(f"cannot write: {error.strerror}") from error
        except click.ClickException as failure:
            _quote_safely(failure)
            raise
        except KeyboardInterrupt:
            _say_interrupted()
            raise click.exceptions.Exit(INTERRUPTED) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command by its name."""
        # Before 8.2, Click takes a name that starts with no letter for an option, and shows the help.
        if not args[0][:1].isalnum() and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with exit_codes(debug=False):
                return super().invoke(ctx)
        except CommandError as failure:
            details = safe_lines(failure.details)
            click.echo(details, nl=bool(details) and not details.endswith("\n"), err=True)
            click.echo(f"Error: {safe_lines(str(failure))}", err=True)
            ctx.exit(failure.exit_code)
        except click.ClickException as failure:
            _quote_safely(failure)
            raise
        except KeyboardInterrupt:
            _say_interrupted()
            ctx.exit(INTERRUPTED)


def _say_interrupted() -> None:
    # Who signals the whole group is heard twice, once through the watching process.
    if watch.board is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    click.echo("Interrupted", err=True)


def _quote_safely(failure: click.ClickException) -> None:
    """Make what was typed safe to show; Click quotes it as it was typed."""
    vars(failure)["message"] = safe_lines(failure.message)


def note(text: str) -> None:
    """Print a remark beside the result."""
    click.echo(f"Note: {safe_lines(text)}", err=True)


STOP = "Stop the script then; on Linux, end it and all that it started 3 s later if need be. Unlimited if not given."


def seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A time limit that this platform can keep."""
    if value is None:
        return None
    if not hasattr(signal, "SIGALRM"):
        raise click.BadParameter("this platform has no alarm signal, so a script cannot be stopped; use Ctrl-C")
    if not 0 < value <= LONGEST:
        raise click.BadParameter(f"{value:g} is not between 0 and {LONGEST:g} seconds")
    return value


@contextmanager
def exit_codes(debug: bool) -> Iterator[None]:
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
    except (CommandError, click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise CommandError(f"cannot write: {error.strerror}", ERROR, _frames(error) if debug else "") from error
        # Nobody is to read a traceback of ours who has not asked for one.
        said = "".join(traceback.format_exception_only(error)).strip().rpartition("\n")[2]
        raise CommandError(f"{UNEXPECTED}: {said}", ERROR, _frames(error) if debug else "") from error


def _frames(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


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
