"""``microtensor grade``: grades a backward that somebody wrote by hand."""

from __future__ import annotations

from dataclasses import replace

import click

from microtensor import script
from microtensor.cli import common
from microtensor.output import ERROR, print_bytes
from microtensor.text import safe_lines

EXAMPLES = """\
\b
Examples:
  microtensor grade norm.py                                     forward and backward in norm.py
  microtensor grade norm.py --input-shape x=8x4 --input-shape gamma=4
  microtensor grade layers.py:ln_forward,ln_backward            functions of other names
"""
GRADE_HELP = f"""{EXAMPLES}
Say what is right and wrong with a backward pass that was written by hand. FILE is a script (file.py) or a module
(package.module:forward,backward). It defines two functions, forward and backward:

\b
  def forward(x, gamma): ...            of tensors, NumPy's functions too; returns a tensor, or (out, cache)
  def backward(dout, x, gamma): ...     NumPy; or backward(dout, cache)
                                        returns dx, dgamma or {{"x": dx, "gamma": dgamma}}

The inputs are the variables of the file that are named as the parameters of forward, or what its function inputs()
returns, in order or as a dictionary, or random ones of the shapes of --input-shape. Backward is graded at them, and at
random inputs of the same shapes.

The output says of each gradient whether it is right. Where it is wrong behind a norm, it says which path of the norm's
gradient is wrong (direct, through the mean, through the variance), and by what factor. A percentage is the difference
as a part of the largest of these paths. The exit code is 0 when backward is right and 1 when it is wrong. The script's
own output goes to standard error.
"""


@click.command("grade", help=GRADE_HELP, short_help="Grade a backward written by hand.", epilog=common.EPILOG)
@click.argument("file")
@common.SCRIPT_ARGS
@common.INPUT_SHAPE
@common.TIMEOUT
@common.DEBUG
@click.pass_context
def grade_command(
    ctx: click.Context,
    /,
    file: str,
    script_args: tuple[str, ...],
    shapes: tuple[script.InputShape, ...],
    timeout: float | None,
) -> None:
    """Grade a backward written by hand."""
    from microtensor.inspect.grading import check_backward

    target, names = parsed(file)
    with script.running_pair(
        target, lambda space: script.pair_of(space, target.text, names, shapes), script_args, timeout
    ) as pair:
        common.note(*pair.notes)
        try:
            report = check_backward(pair.forward, pair.backward, *pair.inputs)
        except (TypeError, ValueError) as error:
            if not str(error).startswith("check_backward: "):
                raise
            raise script.PathError(str(error).removeprefix("check_backward: ")) from error
    print_bytes(f"{safe_lines(str(report))}\n".encode())
    if pair.failure is not None:
        raise pair.failure
    if not report.passed:
        ctx.exit(ERROR)


def parsed(file: str) -> tuple[script.Target, tuple[str, str]]:
    """The script to run, and the names of the two functions."""
    head, colon, tail = file.rpartition(":")
    names = tail.split(",")
    if not colon or len(names) != 2:
        target = script.parse(file)
        if target.attr is not None:
            raise script.PathError(
                f"{target.shown}:{target.attr} names one function; name two, as in {target.shown}:forward,backward"
            )
        return target, ("forward", "backward")
    first, second = (name.strip() for name in names)
    if not (first.isidentifier() and second.isidentifier()):
        raise script.PathError(
            "after the colon there must be the names of two functions, as in file.py:forward,backward"
        )
    return replace(script.parse(f"{head}:{first}"), attr=None), (first, second)
