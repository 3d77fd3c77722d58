"""Central differences of a function along a line, how far they can be trusted, and whether a gradient agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from microtensor.inspect.checking.diagnosis import distance
from microtensor.inspect.history import COTANGENT_SEED
from microtensor.support.arrays import Array

EPSILON = float(np.finfo(np.float64).eps)
STEP = EPSILON ** (1 / 3)
# The usual step; a longer one for large rounding; shorter ones for a kink or the end of a domain nearby.
LADDER = (1.0, 1e2, 1e-2, 1e-4)

# The smallest scale of derivatives; see Settings.agree.
SMALLEST = 1e-6
# The uncertainty of the differences is allowed up to this part of the largest derivative, or up to atol.
UNCERTAIN = 1e-4

Line = Callable[[float], Array | float]


class Estimate(NamedTuple):
    """A derivative from differences, and its largest error. They are NaN and ∞ if the function is not finite."""

    value: float
    error: float


class Corner(NamedTuple):
    """The slopes on the two sides of a kink or of a jump. The slopes of a jump depend on the step."""

    left: float
    right: float
    jump: bool

    def __str__(self) -> str:
        what = "jump" if self.jump else "kink"
        return f"a {what}: the slope is {self.left + 0.0:.4g} on the left and {self.right + 0.0:.4g} on the right"


@dataclass(frozen=True)
class Settings:
    """How a function is compared; see :func:`microtensor.gradcheck`."""

    eps: float | None = None
    atol: float = 1e-8
    rtol: float = 1e-6
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(COTANGENT_SEED))

    def agree(self, analytic: Array, numeric: Array, terms: float = 0.0, uncertain: Array | float = 0.0) -> Array:
        """Which derivatives agree. `terms` is the size of their terms, and `uncertain` the size of their errors."""
        largest = float(np.abs(numeric[np.isfinite(numeric)]).max(initial=terms))
        forgiven = np.minimum(uncertain, max(UNCERTAIN * largest, self.atol))
        allowed: Array = self.rtol * np.abs(numeric) + self.atol * max(largest, SMALLEST) + forgiven
        return np.isfinite(numeric) & (distance(analytic, numeric) <= allowed)


def steps_of(x: Array, eps: float | None) -> list[Array]:
    """The steps of the differences for each element of x: the usual step and a short one; with `eps` only that step.

    The usual step is proportional to large elements, and constant for small ones. The short step is proportional to
    small elements too, for functions that end or change quickly near zero.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.differences import STEP, steps_of
    >>> usual, short = steps_of(np.array([0.0, 1e-8, -4.0]), None)
    >>> usual / STEP, short / STEP
    (array([1., 1., 4.]), array([1.e+00, 1.e-08, 4.e+00]))
    """
    if eps is not None:
        return [np.full(x.shape, eps)]
    sizes = np.where(np.isfinite(x), np.abs(x), 0.0)
    return [STEP * np.maximum(1.0, sizes), STEP * np.where(sizes == 0, 1.0, sizes)]


def ladder(x: float, eps: float | None) -> list[float]:
    """The steps to try one after the other at a number x; with `eps` only that step.

    Examples
    --------
    >>> from microtensor.inspect.checking.differences import ladder
    >>> ladder(0.0, 1e-3), len(ladder(1e-8, None))
    ([0.001], 5)
    """
    if eps is not None:
        return [eps]
    usual, short = map(float, steps_of(np.array(x), None))
    return [usual * factor for factor in LADDER] + ([short] if 0 < short < usual else [])


def difference(high: Array | float, low: Array | float) -> Array:
    """``high − low``. It is 0 if both are the same infinity, for example under a mask of −∞.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.differences import difference
    >>> difference(np.array([3.0, -np.inf, np.inf]), np.array([1.0, -np.inf, 0.0]))
    array([ 2.,  0., inf])
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(high == low, 0.0, high - low)


def project(u: Array | float, change: Array) -> float:
    """⟨u, change⟩. An element with weight 0 does not count, even if the change is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.differences import project
    >>> project(np.array([1.0, 0.0]), np.array([3.0, np.nan]))
    3.0
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.sum(np.where(u == 0, 0.0, u * change)))


def central(line: Line, step: float, u: Array | float = 1.0) -> Estimate:
    """Estimate the derivative of ⟨u, line⟩ at 0 from two points. The error given is the rounding error.

    Examples
    --------
    >>> from microtensor.inspect.checking.differences import central
    >>> round(central(lambda x: (1 + x) ** 3, 1e-3).value, 9)
    3.000001
    """
    high, low = line(step), line(-step)
    return Estimate(project(u, difference(high, low)) / (2 * step), _rounding(u, high, low) / (2 * step))


def slope(line: Line, steps: Iterable[float], u: Array | float = 1.0, noise: float = 0.0) -> Estimate:
    """The derivative of ⟨u, line⟩ at 0 from six points, with the first step that is good enough, else the best step.

    The error is the difference from the estimate with twice the step, plus the rounding of the values, plus the `noise`
    that ⟨u, line⟩ already has. Near a kink, two steps may contradict each other. Then the shorter step counts, if its
    error is small.

    Examples
    --------
    >>> from microtensor.inspect.checking.differences import slope
    >>> round(slope(lambda x: (1 + x) ** 3, [1e-3]).value, 9)
    3.0
    """
    found: dict[float, Estimate] = {}
    for step in steps:
        (near, rounding), (middle, _), (far, _) = (central(line, k * step, u) for k in (1, 2, 4))
        value = (4 * near - middle) / 3
        error = abs(value - (4 * middle - far) / 3) + rounding + noise / step
        if error <= 1e-7 * abs(value):
            return Estimate(value, error)
        if np.isfinite(error):
            found[step] = Estimate(value, error)
    best = Estimate(np.nan, np.inf)
    for _, one in sorted(found.items(), reverse=True):
        apart = abs(one.value - best.value)
        if one.error < (apart / 4 if apart > one.error + best.error else best.error):
            best = one
    return best


def corner(line: Line, step: float, u: Array | float = 1.0) -> Corner | None:
    """The slopes of ⟨u, line⟩ on the two sides of 0, when it has a kink or a jump there; else None.

    The two slopes of a smooth function differ because of its curvature. This difference gets smaller with the step.

    Examples
    --------
    >>> from microtensor.inspect.checking.differences import corner
    >>> print(corner(abs, 1e-5))
    a kink: the slope is -1 on the left and 1 on the right
    >>> corner(lambda x: x**2, 1e-5)
    """
    at = line(0.0)
    gaps, steepest = [], []
    for h in (step, step / 16):
        high, low = line(h), line(-h)
        left, right = project(u, difference(at, low)) / h, project(u, difference(high, at)) / h
        gaps.append(abs(right - left))
        steepest.append(max(abs(left), abs(right)))
    unclear = 8 * _rounding(u, high, low) / h
    jump = steepest[1] > 8 * steepest[0] + unclear
    kink = gaps[1] > gaps[0] / 4 and gaps[1] > 1e-3 * steepest[1] + unclear
    return Corner(left, right, jump) if jump or kink else None


@dataclass(frozen=True)
class Point:
    """A function and the point at which differences of it are taken.

    Attributes
    ----------
    function : callable
        From an array to an array.
    x : array
    eps : float or None
        The step. None: a step is chosen for each element.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.checking.differences import Point
    >>> point = Point(np.square, np.array([1.0, 3.0]), None)
    >>> point.along((1,))(0.5), point.toward(np.ones(2))(1.0)
    (array([ 1.  , 12.25]), array([ 4., 16.]))
    >>> point.gradient(np.ones(2))[0].round(6)
    array([2., 6.])
    """

    function: Callable[[Array], Array]
    x: Array
    eps: float | None

    def along(self, index: tuple[int, ...]) -> Line:
        """The function of one element alone."""

        def line(by: float) -> Array:
            moved = self.x.copy()
            moved[index] += by
            return self.function(moved)

        return line

    def toward(self, step: Array) -> Line:
        """The function along a direction."""
        return lambda by: self.function(self.x + by * step)

    def steps(self) -> list[Array]:
        """The steps of all elements; see :func:`steps_of`."""
        return steps_of(self.x, self.eps)

    def gradient(self, u: Array, noise: float = 0.0, *, trust_kinks: bool = True) -> tuple[Array, Array]:
        """The gradient of ⟨u, function⟩ element by element, and the largest error of each element.

        `noise` is the rounding error of ⟨u, function⟩. Without `trust_kinks`, the largest error of an element at a kink
        is ∞.
        """
        numeric, uncertain = np.zeros(self.x.shape), np.zeros(self.x.shape)
        for index in np.ndindex(self.x.shape):
            line, steps = self.along(index), ladder(float(self.x[index]), self.eps)
            numeric[index], uncertain[index] = slope(line, steps, u, noise)
            if not trust_kinks and corner(line, steps[0], u):
                uncertain[index] = np.inf
        return numeric, uncertain


def _rounding(u: Array | float, high: Array | float, low: Array | float) -> float:
    """The largest error of ⟨u, high − low⟩ by rounding."""
    size = np.maximum(np.abs(high), np.abs(low))
    return EPSILON * project(np.abs(u), np.where(np.isfinite(size), size, 0.0))
