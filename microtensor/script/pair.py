"""A forward and a backward function among the names that a script has defined, and the inputs to grade them at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtensor.script.inputs import SEED, drawn
from microtensor.script.target import InputShape, PathError
from microtensor.text import LINE, safe_text


@dataclass(frozen=True)
class Pair:
    """A forward function, the backward function that was written for it, and the inputs of both.

    Attributes
    ----------
    forward, backward : callable
    inputs : tuple
        In the order of forward's parameters.
    notes : tuple of str
        Remarks for the user.
    failure : Exception or None
        The error of the script after they were defined.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    failure: Exception | None = None


def pair_of(namespace: Mapping[str, Any], shown: str, names: tuple[str, str], shapes: Sequence[InputShape]) -> Pair:
    """The pair of these names, with inputs.

    The inputs are random for the parameters of forward that have a shape. The others are what ``inputs()`` returns, in
    order or as a dictionary, or else the variables of their names.

    Parameters
    ----------
    namespace : mapping
        What the script has defined.
    shown : str
        What the script is called in messages.
    names : tuple of str
        The names of the functions.
    shapes : sequence of InputShape
        Each with the name of a parameter.

    Raises
    ------
    PathError
        There is no such function, a shape is for no parameter, or there is no input for a parameter.

    Examples
    --------
    >>> from microtensor.script import pair_of
    >>> space = {"forward": lambda x: x * 2.0, "backward": lambda dout, x: dout * 2.0, "x": 1.0}
    >>> pair_of(space, "a.py", ("forward", "backward"), []).inputs
    (1.0,)
    """
    for name in names:
        if not callable(namespace.get(name)):
            what = "is no function" if name in namespace else "is not defined"
            where = safe_text(shown, LINE)
            raise PathError(
                f"{where}: {safe_text(name)} {what}; define forward and backward there, or name the two functions, as "
                f"in {where}:my_forward,my_backward"
            )
    forward, backward = (namespace[name] for name in names)
    try:
        parameters = inspect.signature(forward).parameters
    except (TypeError, ValueError):
        raise PathError(f"{safe_text(names[0])} does not say which parameters it has; define it with def") from None
    for shape in shapes:
        if shape.name not in parameters:
            what = f"has no parameter {shape.name}" if shape.name else "has parameters, and a shape must name one"
            known, first = ", ".join(parameters), next(iter(parameters), "x")
            raise PathError(f"--input-shape: {safe_text(names[0])} {what}; it has {known}, so write {first}=8x4")
    return Pair(forward, backward, _inputs(namespace, names[0], parameters, {shape.name: shape for shape in shapes}))


def _inputs(
    namespace: Mapping[str, Any],
    function: str,
    parameters: Mapping[str, inspect.Parameter],
    shapes: Mapping[str, InputShape],
) -> tuple[Any, ...]:
    given: Any = None
    if not shapes and callable(namespace.get("inputs")):
        given = namespace["inputs"]()
        if not isinstance(given, Mapping):
            return tuple(given) if isinstance(given, (tuple, list)) else (given,)
    rng = np.random.default_rng(SEED)
    values = []
    for name, parameter in parameters.items():
        if name in shapes:
            values.append(drawn(shapes[name], rng, 2))
        elif name in (namespace if given is None else given):
            values.append((namespace if given is None else given)[name])
        elif parameter.default is not parameter.empty:
            # What follows has a default too.
            break
        else:
            raise PathError(
                f"there is no input for {name}, a parameter of {safe_text(function)}; give it with --input-shape "
                f"{name}=8x4, as a variable {name} in the file, or by a function inputs() that returns all of them"
            )
    return tuple(values)
