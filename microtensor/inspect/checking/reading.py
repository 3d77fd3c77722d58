"""Reads a wrong rule of an operation with a norm inside: which path of the gradient is wrong, and by what factor."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from microtensor.core.primitive import Node
from microtensor.support.arrays import Array


def path_reading(
    node: Node, argument: int, arrays: list[Any], rule_of: Callable[[Array, Array, list[Any]], Array]
) -> str:
    """What the rule for one argument does wrong with the paths of a norm; empty when its forward shows no norm.

    The forward runs on tensors, so that its norm is seen. This needs a forward that is written in operators and in
    NumPy functions that work on tensors.

    Parameters
    ----------
    node : Node
    argument : int
    arrays : list
        The arguments of the operation.
    rule_of : callable
        The gradient of the argument, from the cotangent, the result and the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.reading import path_reading
    >>> def forward(x):
    ...     return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    >>> def rule(g, y, inputs):
    ...     return (g - g.mean(axis=0)) / np.sqrt(inputs[0].var(axis=0) + 1e-5)
    >>> x = np.random.default_rng(0).normal(size=(8, 4))
    >>> y = mt.primitive("bn", forward, None)(mt.tensor(x, requires_grad=True))
    >>> path_reading(y.node, 0, [x], rule)
    'dx: the path through the variance is missing (N = 8 values per set, axis 0)'
    """
    # The grader stands above the checker, whose errors it raises.
    from microtensor.inspect.grading.check import path_findings

    primitive, params = node.primitive, node.params

    def forward(*inputs: Any) -> Any:
        return primitive.forward(*inputs, **params)

    def backward(dout: Array, *inputs: Any) -> dict[str, Any]:
        y = np.asarray(primitive.forward(*inputs, **params))
        return {names[argument]: rule_of(dout, y, list(inputs))}

    names = _names(primitive.forward, len(arrays))
    try:
        return "; ".join(path_findings(forward, backward, arrays, names))
    except Exception:
        # The forward is made for arrays alone, or the rule fails elsewhere: then nothing can be said.
        return ""


def _names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """The names of the first parameters of a function."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[:count]
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(plain) if len(plain) == count else tuple(f"argument{i}" for i in range(count))
