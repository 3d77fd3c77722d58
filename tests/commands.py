"""Runs commands in this process, with every version of click that is declared."""

import inspect

from click.testing import CliRunner

# Up to 8.1 standard error is mixed into the output unless one says otherwise; from 8.2 on there is nothing to say.
_SAYS = "mix_stderr" in inspect.signature(CliRunner).parameters


def runner() -> CliRunner:
    return CliRunner(mix_stderr=False) if _SAYS else CliRunner()  # type: ignore[call-arg]
