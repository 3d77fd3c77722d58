"""Random inputs for a module or a function, of the shapes that a user gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microtensor.script.target import InputShape
from microtensor.support.arrays import Array
from microtensor.text import safe_text

SEED = 0


class InputError(Exception):
    """The shapes and the parameters do not fit each other."""


def arguments(function: Callable[..., Any], shapes: Sequence[InputShape], below: int = 2) -> dict[str, Any]:
    """Random arrays for the parameters that have a shape, and the defaults that are arrays, by name.

    A shape without a name is for the next parameter without a default.

    Parameters
    ----------
    function : callable
    shapes : sequence of InputShape
    below : int
        Whole numbers are below this one.

    Raises
    ------
    InputError
        A parameter has no shape and no default, or a shape is for no parameter.

    Examples
    --------
    >>> from microtensor.script.inputs import arguments
    >>> from microtensor.script.target import InputShape
    >>> found = arguments(lambda x, gamma, eps=1e-5: x, [InputShape((4, 3)), InputShape((3,), "gamma")])
    >>> {name: value.shape for name, value in found.items()}
    {'x': (4, 3), 'gamma': (3,)}
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise InputError("it does not say which parameters it has; define it with def") from None
    named = {shape.name: shape for shape in shapes if shape.name}
    unnamed = [shape for shape in shapes if not shape.name]
    unknown = [name for name in named if name not in parameters]
    if unknown:
        raise InputError(f"it has no parameter {unknown[0]}; it has {safe_text(', '.join(parameters)) or 'none'}")
    rng = np.random.default_rng(SEED)
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name in named:
            found[name] = drawn(named[name], rng, below)
        elif isinstance(parameter.default, np.ndarray) or hasattr(parameter.default, "requires_grad"):
            found[name] = parameter.default
        elif parameter.default is parameter.empty and not several:
            if not unnamed:
                raise InputError(f"its parameter {name} has no input; give it one with --input-shape {name}=4x3")
            found[name] = drawn(unnamed.pop(0), rng, below)
    if unnamed:
        raise InputError(f"{len(shapes)} shapes are more than it has parameters without a default")
    return found


def drawn(shape: InputShape, rng: np.random.Generator, below: int) -> Array:
    """Numbers of the normal distribution, or whole numbers from 0 to below a bound.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.script.inputs import drawn
    >>> from microtensor.script.target import InputShape
    >>> drawn(InputShape((2, 3), whole=True), np.random.default_rng(0), 10)
    array([[8, 6, 5],
           [2, 3, 0]])
    """
    return rng.integers(0, below, size=shape.sizes) if shape.whole else rng.normal(size=shape.sizes)
