"""Calls the backward that somebody wrote, and says what it did wrong before any number is compared."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.report import described
from microtensor.inspect.grading.forward import Forward
from microtensor.inspect.grading.inputs import Point
from microtensor.inspect.history import array_of, history
from microtensor.support.arrays import Array

PACKAGE = Path(__file__).parents[2]


class FaultError(Exception):
    """What backward did wrong, in words; nothing more can be graded."""


@dataclass(frozen=True)
class Learner:
    """The gradients that backward gave.

    Attributes
    ----------
    gradients : dict
        One array per cotangent, by the name of the tensor. Their shapes are those that backward gave.
    shown : dict
        What backward calls each of them, such as dgamma.
    left_out : tuple of str
        Arguments for which it gave none.
    ignored : tuple of str
        Arguments that are no arrays of floats, for which it gave one.
    """

    gradients: dict[str, list[Array]]
    shown: dict[str, str]
    left_out: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def eps(self) -> float:
        """The machine epsilon of the coarsest dtype among the gradients."""
        kinds = [array.dtype for arrays in self.gradients.values() for array in arrays if array.dtype.kind == "f"]
        return max((float(np.finfo(kind).eps) for kind in kinds), default=float(np.finfo(np.float64).eps))


def run_backward(backward: Callable[..., Any], run: Forward, point: Point, douts: Sequence[Array]) -> Learner:
    """Call backward once for each cotangent.

    Raises
    ------
    FaultError
        It cannot be called, raises, or returns something else than one array of finite numbers per argument.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.forward import run_forward
    >>> from microtensor.inspect.grading.inputs import point_of
    >>> from microtensor.inspect.grading.learner import run_backward
    >>> forward = lambda x: x * x
    >>> point = point_of(forward, [np.array([3.0])])
    >>> learner = run_backward(lambda dout, x: dout * x, run_forward(forward, point), point, [np.ones(1)])
    >>> learner.gradients
    {'x': [array([3.])]}
    """
    place = _place(backward)
    returned = [_called(backward, run, point, dout) for dout in douts]
    results = [_read(result, run, point, place) for result in returned]
    first, shown = results[0]
    if any(set(found) != set(first) for found, _ in results):
        raise FaultError(f"backward returns gradients of other names when it is called again ({place})")
    gradients = {name: [found[name] for found, _ in results] for name in first}
    left_out = tuple(name for name in run.arguments if name not in gradients)
    return Learner(gradients, shown, left_out, _ignored(returned[0], run, point))


def _place(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}" if code else repr(function)


def _called(backward: Callable[..., Any], run: Forward, point: Point, dout: Array) -> Any:
    given = [copy.deepcopy(run.cache)] if run.has_cache else point.arrays()
    names = ["cache"] if run.has_cache else list(point.names)
    try:
        signature = inspect.signature(backward)
        signature.bind(dout, *given)
    except (TypeError, ValueError) as error:
        if isinstance(error, TypeError):
            raise FaultError(
                f"backward{signature} cannot be called as backward({', '.join(['dout', *names])}): {error}"
            ) from None
    try:
        with np.errstate(all="ignore"):
            return backward(dout.copy(), *given)
    except Exception as error:
        # The first frame is that of this function.
        frames = [frame for frame in extract_tb(error.__traceback__)[1:] if not _is_library(frame.filename)]
        line = f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""
        raise FaultError(f"backward raised {described(error)}{line}") from error


def _is_library(filename: str) -> bool:
    path = Path(filename)
    return PACKAGE in path.parents or bool({"site-packages", "dist-packages"} & set(path.parts)) or filename[:2] == "<_"


def _read(result: Any, run: Forward, point: Point, place: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The gradients by the name of their tensor, and what backward calls them."""
    if result is None:
        raise FaultError(f"backward returned None; it must return the gradients, as in return dx ({place})")
    found, shown = {}, {}
    by_name = isinstance(result, dict)
    for name, label, value in (
        _by_name(result, run, point, place) if by_name else _by_position(result, run, point, place)
    ):
        found[name], shown[name] = gradient_array(value, label, place), label
    return found, shown


def _by_name(result: dict[Any, Any], run: Forward, point: Point, place: str) -> list[tuple[str, str, Any]]:
    known = run.all_named
    pairs: list[tuple[str, str, Any]] = []
    for key, value in result.items():
        plain = key if key in known else key[1:] if isinstance(key, str) and key[:1] == "d" else key
        if plain in run.ambiguous:
            raise FaultError(f"two tensors of forward are called {plain}; give them different names to grade d{plain}")
        if plain in point.names and plain not in known:
            raise FaultError(f"backward returned a gradient for {plain!r}, but {no_floats(plain)} ({place})")
        if plain not in known:
            raise FaultError(
                f"backward returned a gradient for {key!r}, but forward has no tensor of this name; it has "
                f"{', '.join(known)} ({place})"
            )
        if any(plain == name for name, *_ in pairs):
            raise FaultError(f"backward returned two gradients of {plain} ({place})")
        pairs.append((plain, f"d{plain}", value))
    if not pairs:
        raise FaultError(f"backward returned an empty dictionary; it must hold gradients by name ({place})")
    return pairs


def no_floats(name: str) -> str:
    """Why an argument has no gradient.

    Examples
    --------
    >>> from microtensor.inspect.grading.learner import no_floats
    >>> no_floats("x")
    'x is no array of floats, so it has no gradient; pass x.astype(float) to grade it'
    """
    return f"{name} is no array of floats, so it has no gradient; pass {name}.astype(float) to grade it"


def _by_position(result: Any, run: Forward, point: Point, place: str) -> list[tuple[str, str, Any]]:
    values = list(result) if isinstance(result, (tuple, list)) else [result]
    everything, floats = list(point.names), list(run.arguments)
    used = _used(run)
    # A gradient for every parameter, for every array of floats, or for those that the result depends on.
    layouts = [names for names in (floats, used, everything) if len(names) == len(values)]
    if not layouts:
        given = "1 gradient" if len(values) == 1 else f"{len(values)} gradients"
        raise FaultError(
            f"backward returned {given}, but forward has {len(floats)} arguments with a gradient: "
            f"{', '.join(floats)}; return one for each, in this order, or a dictionary such as "
            f"{{{floats[0]!r}: d{floats[0]}}} ({place})"
        )
    pairs = zip(layouts[0], values, strict=True)
    return [(name, f"d{name}", value) for name, value in pairs if name in run.arguments]


def _ignored(result: Any, run: Forward, point: Point) -> tuple[str, ...]:
    if not isinstance(result, (tuple, list)) or len(result) != len(point.names):
        return ()
    pairs = zip(point.names, result, strict=True)
    return tuple(name for name, value in pairs if name not in run.arguments and value is not None)


def _used(run: Forward) -> list[str]:
    read = {x for _, node in history(run.out) for x in node.inputs if isinstance(x, Tensor)}
    return [name for name, x in run.arguments.items() if x in read]


def gradient_array(value: Any, label: str, place: str) -> Array:
    """A gradient that somebody gave, as an array of finite numbers.

    Raises
    ------
    FaultError
        It is no such array. `place` says where it came from.

    Examples
    --------
    >>> from microtensor.inspect.grading.learner import gradient_array
    >>> gradient_array([1, 2], "dx", "t.py:3")
    array([1, 2])
    """
    if value is None:
        raise FaultError(f"{label} is None; it must be an array ({place})")
    if isinstance(value, Tensor):
        value = array_of(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise FaultError(f"{label} is no array: {error} ({place})") from None
    if array.dtype.kind not in "iuf":
        what = f"an array of {array.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise FaultError(f"{label} is {what}; it must be an array of real numbers ({place})")
    if not np.isfinite(array).all():
        many = int(np.sum(~np.isfinite(array)))
        raise FaultError(f"{label} is not finite: {many} of {array.size} values are NaN or ∞ ({place})")
    return array.copy()


def shape_fault(label: str, name: str, given: Array, right: Array) -> str:
    """What is wrong with the shape of a gradient; empty when nothing is.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.learner import shape_fault
    >>> shape_fault("dgamma", "gamma", np.ones((8, 4)), np.full(4, 8.0))
    'dgamma has shape (8, 4), gamma (4,): the sum over axis 0 is missing'
    """
    if given.shape == right.shape:
        return ""
    text = f"{label} has shape {given.shape or '()'}, {name} {right.shape or '()'}"
    if given.size == right.size:
        return f"{text}: {_other_order(label, name, given, right)}"
    summed, fits = [], []
    for axes in _subsets(given.ndim):
        total = given.sum(axes, keepdims=True)
        if total.size == right.size and given.size > right.size:
            summed.append(axes)
            if _near(total.ravel(), right.ravel()):
                fits.append(axes)
    if len(fits or summed) == 1:
        return f"{text}: the sum over {axes_text((fits or summed)[0])} is missing"
    lost = [axes for axes in _subsets(right.ndim) if right.sum(axes).size == given.size and given.size < right.size]
    if len(lost) == 1:
        return f"{text}: {axes_text(lost[0])} of {name} is missing, as after a sum over it"
    return f"{text}: a gradient has the shape of its tensor"


def _other_order(label: str, name: str, given: Array, right: Array) -> str:
    """What is wrong with a gradient that has as many values as its tensor, in another shape."""
    if _near(given.reshape(right.shape), right):
        return f"its values are right in this order: return {label}.reshape({name}.shape)"
    orders = itertools.permutations(range(given.ndim))
    turned = [axes for axes in orders if tuple(given.shape[a] for a in axes) == right.shape]
    right_ones = [axes for axes in turned if _near(given.transpose(axes), right)]
    if right_ones:
        axes = right_ones[0]
        how = "T" if axes == tuple(reversed(range(given.ndim))) else f"transpose{axes}"
        return f"its axes are in another order: {label}.{how} is right"
    return f"it has as many values, and{' its axes may be' if turned else ' they are'} in another order"


def _near(a: Array, b: Array) -> bool:
    return np.allclose(a, b, rtol=1e-6, atol=1e-6 * float(np.abs(b).max(initial=0.0)))


def _subsets(ndim: int) -> list[tuple[int, ...]]:
    return [axes for k in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), k)]


def axes_text(axes: Sequence[int]) -> str:
    """Axes in words.

    Examples
    --------
    >>> from microtensor.inspect.grading.learner import axes_text
    >>> axes_text((0,)), axes_text((0, 2, 3))
    ('axis 0', 'axes 0, 2 and 3')
    """
    *most, last = map(str, axes)
    return f"axes {', '.join(most)} and {last}" if most else f"axis {last}"
