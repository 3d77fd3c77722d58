"""The arguments of a graded pair: cast to float64, named, copied for each call, and drawn anew at a generic point."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import COTANGENT_SEED, array_of
from microtensor.support.arrays import Array

COTANGENTS = 3


@dataclass(frozen=True)
class Point:
    """The arguments of one call of forward.

    Attributes
    ----------
    names : tuple of str
        The names of forward's parameters.
    values : tuple
        Float arrays as float64; everything else as it was given.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def floats(self) -> list[int]:
        """The positions of the arguments that have a gradient."""
        return [i for i, value in enumerate(self.values) if is_float_array(value)]

    def copies(self) -> list[Any]:
        """The arguments for one call: nothing that the call writes into is seen by the next."""
        return [copy.deepcopy(value) for value in self.values]

    def arrays(self) -> list[Any]:
        """The arguments for one call of backward: tensors of integers are arrays there."""
        return [np.array(value._array) if isinstance(value, Tensor) else value for value in self.copies()]

    def replaced(self, new: dict[int, Array]) -> Point:
        """The same arguments but for some."""
        return Point(self.names, tuple(new.get(i, value) for i, value in enumerate(self.values)))

    def generic(self, positive: bool = False) -> Point:
        """Other values of the same shapes.

        The first array of floats is drawn from a normal distribution. Every other one has sizes from 0.5 to 1.5 and
        both signs. What is not an array of floats stays as it is.

        Parameters
        ----------
        positive : bool
            Draw arrays that had no negative value positive.
        """
        draws = np.random.default_rng(COTANGENT_SEED + 2)
        new = {}
        for i in self.floats:
            old = self.values[i]
            sizes, signs = draws.uniform(0.5, 1.5, old.shape), draws.choice([-1.0, 1.0], old.shape)
            value = draws.normal(size=old.shape) if i == self.floats[0] else sizes * signs
            if old.size > 1 and i != self.floats[0]:
                # Both signs, whatever was drawn.
                value.flat[:2] = np.abs(value.flat[0]), -np.abs(value.flat[1])
            new[i] = np.abs(value) if positive and not np.any(old < 0) else value
        return self.replaced(new)

    def nearby(self) -> Point:
        """The same values but for the last digits of the floats."""
        draws = np.random.default_rng(COTANGENT_SEED + 3)
        last = 4 * np.finfo(np.float64).eps
        return self.replaced(
            {i: self.values[i] * (1 + last * draws.choice([-1, 1], self.values[i].shape)) for i in self.floats}
        )


def is_float_array(value: Any) -> bool:
    """Whether a value is an array of floats; Python's numbers are none.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.inputs import is_float_array
    >>> is_float_array(np.array([1.0])), is_float_array(np.array([1])), is_float_array(1e-5)
    (True, False, False)
    """
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def point_of(forward: Callable[..., Any], inputs: Sequence[Any]) -> Point:
    """The arguments as forward and backward get them.

    Raises
    ------
    TypeError
        `forward` cannot be called with so many arguments, or none of them is an array of floats.
    ValueError
        An array of floats holds NaN or ∞.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.inputs import point_of
    >>> point_of(lambda x, eps: x / eps, [mt.tensor([1.0, 2.0]), 0.5])
    Point(names=('x', 'eps'), values=(array([1., 2.]), 0.5))
    """
    values = []
    for value in inputs:
        array = array_of(value)
        values.append(array.astype(np.float64) if is_float_array(array) else value)
    point = Point(_names(forward, inputs), tuple(values))
    if not point.floats:
        raise TypeError(
            "check_backward: no argument of forward is an array of floats, so there is no gradient to grade; pass "
            "arrays such as np.array([1.0, 2.0]) after forward and backward"
        )
    for i in point.floats:
        if not np.isfinite(values[i]).all():
            raise ValueError(f"check_backward: {point.names[i]} holds NaN or ∞; it must be finite")
    return point


def _names(forward: Callable[..., Any], inputs: Sequence[Any]) -> tuple[str, ...]:
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):
        return tuple(f"argument{i}" for i in range(len(inputs)))
    try:
        bound = signature.bind(*inputs)
    except TypeError as error:
        raise TypeError(
            f"check_backward: forward{signature} cannot be called with {len(inputs)} arguments: {error}; pass them "
            "after forward and backward, in the order of its parameters"
        ) from None
    names: list[str] = []
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        several = kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}{i}" for i in range(len(value))] if several else [name]
    return tuple(names)


def cotangents(shape: tuple[int, ...]) -> list[Array]:
    """Three fixed random cotangents of a result.

    Examples
    --------
    >>> from microtensor.inspect.grading.inputs import cotangents
    >>> [g.shape for g in cotangents((4, 2))]
    [(4, 2), (4, 2), (4, 2)]
    """
    draws = np.random.default_rng(COTANGENT_SEED).normal(size=(COTANGENTS, *shape))
    return [draws[k, ...] for k in range(COTANGENTS)]
