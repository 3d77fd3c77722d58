"""Finds the likely cause of a wrong gradient from the way in which it differs from the right one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from microtensor.support.arrays import Array

NULL = "a null gradient: a path is cut, or the rule returns zero"


def distance(analytic: Array, numeric: Array) -> Array:
    """The absolute difference; ∞ where one of the two is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.diagnosis import distance
    >>> distance(np.array([1.0, np.nan]), np.array([3.0, 0.0]))
    array([ 2., inf])
    """
    with np.errstate(invalid="ignore"):
        found: Array = np.nan_to_num(np.abs(analytic - numeric), nan=np.inf, posinf=np.inf)
    return found


def worst_of(error: Array) -> tuple[int, ...]:
    """The index of the largest error.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.diagnosis import worst_of
    >>> worst_of(np.array([[1.0, 2.0], [5.0, 3.0]]))
    (1, 0)
    """
    return tuple(int(n) for n in np.unravel_index(int(error.argmax()), error.shape))


def same(a: Array, b: Array) -> bool:
    """Whether two gradients agree up to the error of finite differences.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.diagnosis import same
    >>> same(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-9])), same(np.ones(2), np.ones(3))
    (True, False)
    """
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    return float(np.abs(a - b).max(initial=0.0)) <= 1e-5 * max(_size(a), _size(b))


def wrong_shape(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """The likely cause of a gradient that does not fit the shape of its input.

    Examples
    --------
    >>> from microtensor.inspect.checking.diagnosis import wrong_shape
    >>> wrong_shape((5, 3), (3,))
    'the axes along which the input was broadcast are not summed away'
    """
    if sorted(found) == sorted(wanted):
        return "its axes are in the wrong order"
    if _part_of(wanted, found):
        return "the axes along which the input was broadcast are not summed away"
    if _part_of(found, wanted):
        return "the axes that were reduced are not put back"
    return "no sum over axes and no broadcast turns one shape into the other"


def _part_of(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether the sizes of `small`, without ones, occur in `large` in the same order."""
    rest = iter(large)
    return len(small) <= len(large) and all(n in rest for n in small if n != 1)


def plain_cause(analytic: Array, numeric: Array) -> str:
    """What the two gradients alone tell: not finite, zero, a factor, or a transpose.

    It is empty when it is none of these, or when the two are too near each other to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.diagnosis import plain_cause
    >>> plain_cause(np.array([5.0, 10.0]), np.array([-5.0, -10.0]))
    'the sign is wrong'
    """
    if not (np.isfinite(analytic).all() and np.isfinite(numeric).all()):
        return "the gradient is not finite"
    if same(analytic, numeric):
        return ""
    size = _size(numeric)
    if size <= 1e-9 * _size(analytic):
        return "the true gradient is zero, or too small to be seen beside this one"
    if not _size(analytic):
        return NULL
    ratio = float(np.sum(analytic * numeric) / np.sum(numeric * numeric))
    if np.abs(analytic - ratio * numeric).max() <= _tolerance(analytic, numeric):
        return _wrong_factor(ratio, analytic.shape)
    if analytic.ndim == 2 and same(analytic.T, numeric):
        return "it is the transpose of the true gradient: two axes are exchanged"
    return ""


def lost_statistics(
    analytic: Array, numeric: Array, x: Array, constants: Sequence[Array] = (), results: Sequence[Array] = ()
) -> str:
    """Whether a gradient is wrong as when the path through a mean or a variance is cut; empty when it is not.

    Without the path through a mean, a gradient differs from the right one by a constant along the axes of the mean.
    Without the path through a variance, it differs by a multiple of x − mean(x). Other mistakes have the same effect.
    So a statistic is called detached only when its value is one of the `constants` of the graph, and is not one of its
    recorded `results`.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.diagnosis import lost_statistics
    >>> lost_statistics(np.array([1.0, 2.0, 0.0]), np.array([0.0, 1.0, -1.0]), np.array([1.0, 2.0, 5.0]))
    'what is missing is constant over axis 0, as when a path through a mean is cut or wrong'
    """
    tolerance = _tolerance(analytic, numeric)
    if same(analytic, numeric) or not np.isfinite(x).all():
        return ""
    for axes in _subsets(range(x.ndim)):
        # Along fewer than three values everything is a constant and a multiple.
        part = _lost_path(numeric - analytic, x, axes, tolerance) if math.prod(x.shape[a] for a in axes) >= 3 else ""
        if part:
            over = f"over axis {axes if len(axes) > 1 else axes[0]}"
            names = part.split(" and ")
            if all(_among(constants, n, x, axes) and not _among(results, n, x, axes) for n in names):
                return f"equals the gradient with the {part} {over} detached"
            return f"what is missing is {_SHAPE_OF[part]} {over}, as when a path through a {part} is cut or wrong"
    return ""


def _tolerance(analytic: Array, numeric: Array) -> float:
    return 1e-5 * max(_size(numeric), _size(analytic))


_SHAPE_OF = {
    "mean": "constant",
    "variance": "a multiple of x − mean(x)",
    "mean and variance": "a constant and a multiple of x − mean(x)",
}


def _subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every choice of some of the items, the smallest first."""
    return itertools.chain.from_iterable(itertools.combinations(items, k + 1) for k in range(len(items)))


def _among(values: Sequence[Array], statistic: str, x: Array, axes: tuple[int, ...]) -> bool:
    """Whether one of the values is this statistic of x.

    The variance counts as σ², σ or 1/σ, divided by N or N − 1, and with an ε.
    """
    n = math.prod(x.shape[a] for a in axes)
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    shapes = (mean.shape, tuple(size for a, size in enumerate(x.shape) if a not in axes))
    found = [value.reshape(mean.shape) for value in values if value.dtype.kind == "f" and value.shape in shapes]
    if statistic == "mean":
        return any(same(value, mean) for value in found)
    size = _size(variance)
    # Several sets tell an ε from chance. Of one set, any constant differs by a constant.
    most = size if np.ptp(variance) > 1e-2 * size else 1e-2 * size
    gaps = (v**power - variance * by for v in found for power in (1, 2, -2) for by in (1.0, n / (n - 1)))
    return any(np.ptp(gap) <= 1e-9 * size and -1e-9 * size <= gap.mean() <= most for gap in gaps)


def _size(gradient: Array) -> float:
    return float(np.abs(gradient).max(initial=0.0))


def _wrong_factor(ratio: float, shape: tuple[int, ...]) -> str:
    if abs(ratio + 1) < 1e-4:
        return "the sign is wrong"
    counts = sorted({n for n in map(math.prod, _subsets(shape)) if n > 1})
    for n in counts:
        if abs(ratio / n - 1) < 1e-4:
            return f"it is {n} times too large: a factor 1/{n} is missing"
        if abs(ratio * n - 1) < 1e-4:
            return f"it is {n} times too small: a factor {n} is missing"
    for n in counts:
        for other in [n - 1, *counts]:
            if other > 1 and other != n and abs(ratio * other / n - 1) < 1e-4:
                return f"it is {n}/{other} times the true gradient: divided by {other} where {n} are counted"
    return f"it is {ratio:.6g} times the true gradient"


def _lost_path(missing: Array, x: Array, axes: tuple[int, ...], tolerance: float) -> str:
    """The statistics whose path explains what is missing: a constant, a multiple of x − mean(x), or both."""
    one, centered = np.ones_like(x), x - x.mean(axis=axes, keepdims=True)
    for name, directions in (("mean", [one]), ("variance", [centered]), ("mean and variance", [one, centered])):
        rest = missing
        for vector in directions:
            norm = (vector * vector).sum(axis=axes, keepdims=True)
            along = (rest * vector).sum(axis=axes, keepdims=True)
            rest = rest - vector * along / np.where(norm == 0, 1.0, norm)
        if _size(rest) <= tolerance:
            return name
    return ""
