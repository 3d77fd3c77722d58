"""Finds constants of a recorded graph that are statistics of its values: a path through them was cut, or never made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import array_of, history
from microtensor.support.arrays import Array

# The powers that make a variance of what stands in a graph: σ² itself, σ or 1/σ.
POWERS = (1, 2, -2)
EXACT = 1e-9


def constant_statistics(output: Tensor) -> list[str]:
    """The means, variances and mean squares of recorded values that count as constants in the graph of `output`.

    They are recognised by their value, so it does not matter whether they were detached, made under ``no_grad`` or
    computed in NumPy.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.constants import constant_statistics
    >>> x = mt.tensor([[1.0, 2.0], [4.0, 3.0]], requires_grad=True, name="x")
    >>> constant_statistics(x - x.mean(axis=0).detach())
    ['the mean of x over axis 0']
    """
    records = history(output)
    read = {id(x): x for _, node in records for x in node.inputs if isinstance(x, (Tensor, np.ndarray))}
    constants = [x for x in read.values() if not (isinstance(x, Tensor) and x.requires_grad)]
    leaves = [x for x in read.values() if isinstance(x, Tensor) and x.is_leaf and x.requires_grad]
    values = [*leaves, *(result for result, _ in records)]
    found: dict[str, None] = {}
    with np.errstate(all="ignore"):
        for constant in constants:
            # A number that was typed may be anything; a tensor of one element was computed.
            if np.size(array_of(constant)) > 1 or isinstance(constant, Tensor):
                named = (_statistic(array_of(constant), array_of(x), x) for x in values)
                found.update(dict.fromkeys(itertools.islice(filter(None, named), 1)))
    return list(found)


def _statistic(constant: Array, x: Array, tensor: Tensor) -> str:
    """What the constant is of x, in words; empty when it is nothing that is known."""
    if constant.dtype.kind != "f" or constant.size >= x.size or not constant.any():
        return ""
    for axes in _axes(constant.shape, x.shape):
        kept = constant.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])
        count = math.prod(x.shape[a] for a in axes)
        over = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
        of = f"of {tensor.name or f'a value of shape {x.shape}'} over {over}"
        if np.abs(kept - x.mean(axis=axes, keepdims=True)).max() <= EXACT * np.abs(x).max():
            return f"the mean {of}"
        variance = x.var(axis=axes, keepdims=True)
        if any(_differs_by_epsilon(kept, variance * by) for by in (1.0, count / (count - 1))):
            return f"the variance {of}"
        if _differs_by_epsilon(kept, np.square(x).mean(axis=axes, keepdims=True)):
            return f"the mean square {of}"
    return ""


def _axes(small: tuple[int, ...], large: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The axes, with two values at least, without which an array of the shape `large` has the shape `small`."""
    for k in range(1, len(large) + 1):
        for axes in itertools.combinations(range(len(large)), k):
            left = tuple(n for a, n in enumerate(large) if a not in axes)
            whole = tuple(1 if a in axes else n for a, n in enumerate(large))
            if small in (left, whole) and math.prod(large[a] for a in axes) > 1:
                yield axes


def _differs_by_epsilon(constant: Array, square: Array) -> bool:
    """Whether σ², σ or 1/σ, with the same small ε added to each σ², is what the constant holds."""
    size = float(square.max())
    if square.size > 1 and np.ptp(square) <= EXACT * size:
        # Sets that are all alike do not tell an ε from chance.
        return False
    for power in POWERS:
        gap = constant**power - square
        epsilon = float(gap.mean())
        if np.ptp(gap) <= EXACT * size and -EXACT * size <= epsilon <= size:
            digit = math.log10(epsilon) if epsilon > EXACT * size else 0.0
            # Of one set any constant differs by a constant, so ε must be a power of ten.
            if square.size > 1 or abs(digit - round(digit)) < 1e-6:
                return True
    return False
