"""The command line. Each command has a file of its own, and each kind of failure an exit code."""

from __future__ import annotations

import click

from microtensor import __version__, tune_memory
from microtensor.cli.check import check_command
from microtensor.cli.common import EPILOG, Commands
from microtensor.cli.grade import grade_command
from microtensor.cli.norms import norms_command
from microtensor.cli.paths import paths_command
from microtensor.cli.viz import EXAMPLES, FORMATS, viz_command

__all__ = ["FORMATS", "main"]

MAIN_HELP = f"""{EXAMPLES.rstrip()}
  microtensor check train.py:loss                    compare its gradients with finite differences
  microtensor grade norm.py                          say what is wrong with a backward written by hand
  microtensor paths demo:batch_norm                  what each path of a norm's gradient carries
  microtensor norms -o norms.svg                     every norm as a cube

Draw how a microtensor computation was made, and every path that a gradient takes back through it. Check that its
gradients are right.
"""


@click.group(
    cls=Commands,
    commands=[viz_command, check_command, grade_command, paths_command, norms_command],
    help=MAIN_HELP,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="microtensor", message="%(prog)s %(version)s")
def main() -> None:
    """Entry point of the command ``microtensor``."""
    tune_memory()
