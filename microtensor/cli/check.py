"""``microtensor check``: compares gradients of a tensor or a function with finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from microtensor import script
from microtensor.cli import common
from microtensor.output import ERROR, print_bytes
from microtensor.text import LINE, columns, padded, safe_text

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

EXAMPLES = """\
\b
Examples:
  microtensor check demo:batch_norm                  a built-in demo
  microtensor check train.py:loss                    every operation behind a loss, and each leaf
  microtensor check layers.py:my_norm --order 2      a function: def my_norm(x=np.ones((4, 3)), weight=...)
  microtensor check net.py:model --input-shape 4x3   a module, called with a random input
  microtensor check train.py -- --lr 0.1             arguments for train.py
"""
CHECK_HELP = f"""{EXAMPLES}
Compare gradients with central finite differences in float64. TARGET is as for viz: a script (file.py), something in it
(file.py:loss), something of a module (package.module:loss) or a built-in demo (demo:batch_norm).

A tensor is checked as it was recorded, and so is what a function without parameters returns: the rule of every
operation by itself, and the gradient of the whole for each leaf. What was not recorded (detached values, masks) counts
as constant. So a path that is cut by mistake shows only in a function. A note says when such a constant is a mean, a
variance or a mean square of a recorded value.

A module is called in training mode with random inputs of the shapes that --input-shape gives. So is a function, with
--input-shape x=4x3 for its parameter x; what it leaves out keeps its default.

A function of which every parameter has a tensor, an array or a float as its default is called again with moved inputs.
This finds a detached path. Arrays of integers are passed on as they are.

The output has one line for each input: name, shape, the largest error, ok or WRONG. Then it says whether all is right;
if not, what is wrong, where, and the likely cause. The script's own output goes to standard error. The check counts as
part of the script for --timeout.
"""


@click.command("check", help=CHECK_HELP, short_help="Check gradients by finite differences.", epilog=common.EPILOG)
@click.argument("target")
@common.SCRIPT_ARGS
@common.INPUT_SHAPE
@common.choice("--order", ("1", "2"), help="2: the gradient's gradient too.")
@common.STOP_AT_BACKWARD
@common.TORCH
@common.TIMEOUT
@common.DEBUG
@click.pass_context
def check_command(
    ctx: click.Context,
    /,
    target: str,
    script_args: tuple[str, ...],
    shapes: tuple[script.InputShape, ...],
    order: str,
    stop_at_backward: int | None,
    torch: bool,
    timeout: float | None,
) -> None:
    """Check the gradients of a tensor or a function."""
    from microtensor.checking import examine

    goal = replace(script.parse(target), shapes=shapes, stop_at_backward=stop_at_backward, torch=torch)
    with script.running(goal, script_args, timeout, functions=True) as found:
        shown = target if goal.attr else found.tensor.name or target
        function, inputs, notes = _checkable(found, shown)
        common.note(*found.notes, *notes)
        report = examine(function, inputs, order=int(order))
    rows = []
    for i, (name, x) in enumerate(zip(_input_names(found, inputs), inputs, strict=True)):
        if i in report.inputs:
            one = report.inputs[i]
            shape = str(x.shape) if x.shape else "scalar"
            rows.append((name, shape, f"{one.error:.1e}", "ok" if one.right else "WRONG"))
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(padded, row, widths)).rstrip() for row in rows]
    if report.mismatches:
        lines.append(f"wrong: {safe_text(shown, LINE)}")
        lines += [f"  {safe_text(str(mismatch), LINE)}" for mismatch in report.mismatches]
    else:
        orders = "first and second order" if order == "2" else "first order"
        many = f"{len(rows)} input{'s' if len(rows) > 1 else ''}"
        lines.append(f"right: {safe_text(shown, LINE)}, {orders}, for {many}")
    print_bytes("".join(f"{line}\n" for line in lines).encode())
    if found.failure is not None:
        raise found.failure
    if report.mismatches:
        ctx.exit(ERROR)


def _checkable(found: script.Found, shown: str) -> tuple[Callable[..., Any], list[Tensor], list[str]]:
    """The function to check, its inputs, and remarks. A recorded graph becomes a function of its leaves."""
    from microtensor.inspect.checking.calling import check_inputs
    from microtensor.inspect.checking.constants import constant_statistics
    from microtensor.inspect.checking.replay import changed_since, leaves_of, replay

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

        changed = [safe_text(x.name or f"a tensor of shape {x.shape}") for x in changed_since(found.tensor)]
        if changed:
            notes.append(
                f"{', '.join(changed)} changed after {safe_text(shown, LINE)} was computed, as by an optimiser's step; "
                "checking at the new value"
            )
        for statistic in constant_statistics(found.tensor):
            notes.append(
                f"{safe_text(statistic, LINE)} is not recorded: it was detached, or made outside the graph. It counts "
                "as a constant, so a path through it that is missing does not show here; check a function instead, "
                "such as def f(x=np.ones((4, 3)))"
            )
    try:
        check_inputs(inputs)
    except (TypeError, ValueError) as error:
        raise script.TargetError(str(error).removeprefix("gradcheck: ")) from error
    return function, inputs, notes


def _input_names(found: script.Found, inputs: list[Tensor]) -> list[str]:
    """A name for each input. Parameters of the same name get the scope that reads them first."""
    from microtensor.inspect.checking.replay import reader_of

    names = [x.name or f"input {i}" for i, x in enumerate(inputs)]
    told = [
        f"{reader_of(found.tensor, x)}.{name}" if names.count(name) > 1 and found.function is None else name
        for name, x in zip(names, inputs, strict=True)
    ]
    return [safe_text(f"{name} ({i})" if told.count(name) > 1 else name, LINE) for i, name in enumerate(told)]
