"""The errors of the engine. Each message names the operation, the shapes and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from microtensor.support.arrays import is_finite

WHY = {
    "detached": "it was detached from its graph",
    "unrecorded": "it was made under mt.no_grad(), or by an operation that has no derivative",
    "": "neither it nor a tensor that it was made from has requires_grad=True; a gradient can be differentiated again "
    "only with create_graph=True",
}


def explained(error: Exception, name: str, arrays: Sequence[Any]) -> Exception:
    """The same kind of error, with the operation and the shapes in the message."""
    if str(error).startswith(f"{name}:"):
        return error
    if isinstance(error, TypeError) and ("boolean" in str(error) or "BoolDType" in str(error)):
        return TypeError(f"{name}: NumPy cannot do this with booleans; convert them first with .astype(float)")
    shapes = [np.shape(x) for x in arrays]
    conflict = broadcast_conflict(shapes) if type(error) is ValueError and len(shapes) > 1 else None
    message = f"{name}: {conflict}" if conflict else f"{name}: {error} (shapes {', '.join(map(str, shapes))})"
    if type(error) in (ValueError, TypeError, IndexError, np.exceptions.AxisError):
        return type(error)(message)
    error.add_note(message)
    return error


def broadcast_conflict(shapes: Sequence[tuple[int, ...]]) -> str | None:
    """Say at which axis `shapes` cannot be broadcast together; None when they can."""
    width = max(len(shape) for shape in shapes)
    for axis in range(1, width + 1):
        sizes = {shape[-axis] for shape in shapes if len(shape) >= axis} - {1}
        if len(sizes) > 1:
            listed = " and ".join(map(str, shapes))
            return f"shapes {listed} do not broadcast: axis -{axis} has sizes {' and '.join(map(str, sorted(sizes)))}"
    return None


def check_result(value: Any, name: str, arrays: Sequence[Any], line: str) -> None:
    """Raises FloatingPointError when a result has NaN or ∞ and the inputs have none."""
    if not is_finite(value) and all(map(is_finite, arrays)):
        shapes = ", ".join(str(np.shape(x)) for x in arrays)
        raise FloatingPointError(
            f"{name}: the result of shape {value.shape} is not finite (inputs {shapes}), at {line}"
        )


def place_of(node: Any, argument: int, output: Any, values: Sequence[Any]) -> str:
    """The note for an error in a rule: the derivative, the shapes and the line."""
    shapes = ", ".join(str(np.shape(getattr(x, "_array", x))) for x in values)
    made = f"made at {node.line}" if node.line else "run the forward pass under mt.trace_lines() to see its line"
    return (
        f"in the derivative of {node.primitive.name} by argument {argument}, shapes {shapes} -> {output.shape}; {made}"
    )


def check_finite(d: Any, g: Any, node: Any, argument: int, output: Any, values: Sequence[Any]) -> None:
    """Raises FloatingPointError when a rule returned NaN or ∞ for a gradient without them."""
    if not is_finite(d) and is_finite(g):
        place = place_of(node, argument, output, values)
        raise FloatingPointError(f"a gradient of shape {d.shape} is not finite: {place}")


def misfit(node: Any, argument: int, d: Any, x: Any) -> RuntimeError:
    """The error for a rule that returned a gradient of the wrong shape."""
    return RuntimeError(
        f"the rule of {node.primitive.name} for argument {argument} returned a gradient of shape {d.shape} for an "
        f"input of shape {x.shape}; one shape must broadcast to the other"
    )


def freed(node: Any, output: Any) -> RuntimeError:
    """The error for a second backward pass through a freed graph."""
    return RuntimeError(
        f"the graph of {node.primitive.name} (shape {output.shape}) has been freed by an earlier backward; to use it "
        "again, pass retain_graph=True to the earlier one"
    )


def stale(node: Any, changed: Iterable[Any], version: int) -> RuntimeError:
    """The error for a leaf that was changed after an operation had read it."""
    name = node.primitive.name
    named = " or ".join(dict.fromkeys(f"{x.name or 'a tensor'} of shape {x.shape}" for x in changed))
    return RuntimeError(
        f"{name}: {named} was changed after {name} had read it: version {version}, expected {node.version}. Run the "
        "forward pass again after an update, or call backward before the update"
    )


def check_gradient(new: Any, tensor: Any, who: str) -> None:
    """Raises ValueError or TypeError unless a tensor can be the gradient of another."""
    reset = "; x.grad = None resets it" if who == "grad" else ""
    if new.shape != tensor.shape:
        raise ValueError(f"{who}: a tensor of shape {tensor.shape} cannot have a gradient of shape {new.shape}{reset}")
    if new.dtype != tensor.dtype:
        raise TypeError(f"{who}: a tensor of dtype {tensor.dtype} cannot have a gradient of dtype {new.dtype}{reset}")


def check_requires_grad(value: Any, tensor: Any) -> None:
    """Raises TypeError or RuntimeError unless ``requires_grad`` of a tensor can be set to this value."""
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"requires_grad: got {value!r} of type {type(value).__name__}; it must be a bool")
    if value and tensor.dtype.kind != "f":
        raise TypeError(
            f"a tensor of dtype {tensor.dtype} cannot require a gradient; convert it first with .astype(float)"
        )
    if tensor.node is not None and not value:
        raise RuntimeError(
            f"requires_grad: a tensor made by {tensor.node} always requires a gradient; use .detach() for the same "
            "value without history"
        )


def check_name(value: Any) -> None:
    """Raises TypeError unless a value can name a tensor."""
    if not (value is None or isinstance(value, str)):
        raise TypeError(f"name: got {value!r} of type {type(value).__name__}; it must be a string or None")


def no_history(who: str, shape: tuple[int, ...], why: str) -> RuntimeError:
    """The error for the gradient of a tensor that does not require one."""
    return RuntimeError(f"{who}: this tensor of shape {shape} does not require a gradient: {WHY.get(why, WHY[''])}")


def no_single_gradient(who: str, shape: tuple[int, ...], what: str) -> RuntimeError:
    """The error for the gradient of a tensor with several elements, without a cotangent."""
    return RuntimeError(
        f"{who}: a tensor of shape {shape} has no single gradient; reduce it to a scalar, for example with .sum(), or "
        f"pass {what}= of shape {shape}"
    )
