"""The line that all norms share, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from microtensor import checks
from microtensor.core.ops import narrowed, widened
from microtensor.core.primitive import TensorBase, label
from microtensor.norms.axes import AXES, Axes
from microtensor.ops import mean, reshape, sqrt, square
from microtensor.support.axes import Axis, filled_count, normalize_axis
from microtensor.support.modes import name_scope

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor


def standardize(x: Tensor, axis: Axis, eps: float = 1e-5) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over axes: x̂ = (x − μ) / √(σ² + ε).

    All norms share this line. A norm chooses the axes. μ is the mean and σ² the biased variance, the mean of (x − μ)².
    Both stay in the graph, so gradients flow through them.

    ε is a constant, added to the variance under the root. The gain is at most 1/√ε. The variance of x̂ is σ² / (σ² +
    ε).

    The variance is computed from x − μ in a second pass over x, to avoid cancellation. The rounding error of μ remains.
    For example, 4096 rows of float32 with standard deviation 1 give x̂ with an error of at most 2e-2 at a mean of 1e4,
    and at most 6e-2 at 1e5. For larger means, subtract a constant from the data first, or use float64. If the standard
    deviation is above 1e19, σ² is infinite in float32, and x̂ is 0. ``docs/normalizations.md`` says more about ε and
    rounding.

    Parameters
    ----------
    x : Tensor
        Any shape. The statistics of float16 are computed in float32.
    axis : int, tuple of int or None
        The axes that the statistics are taken over. None: all axes.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There are no elements along the axes.
    TypeError
        The input is not floating point.

    References
    ----------
    Goodfellow, Bengio & Courville, *Deep Learning*, 2016, section 8.7.1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.norms.standardize(mt.tensor([[1.0], [3.0]]), axis=0, eps=1e-12)
    tensor([[-1.],
            [ 1.]])
    """
    if not isinstance(x, TensorBase) or x.dtype.kind != "f":
        checks.check_float(x, "standardize")
    axes = normalize_axis(axis, x.ndim, "standardize")
    filled_count(x.shape, axes, "standardize", "a mean")
    return standardize_with_statistics(x, axes, eps)[0]


def standardize_with_statistics(x: Tensor, axis: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x̂, and the μ and σ² that it was computed with."""
    wide = widened(x)
    with name_scope("statistics") as statistics:
        mu = label(mean(wide, axis=axis, keepdims=True), "μ")
    centered = label(wide - mu, "x − μ")
    with statistics:
        with name_scope("var"):
            variance = label(mean(square(centered), axis=axis, keepdims=True), "σ²")
        sigma = label(sqrt(variance + eps), "σ")
    return label(narrowed(centered / sigma, x), "x̂"), mu, variance


def over_rms(x: Tensor, axis: tuple[int, ...], eps: float) -> Tensor:
    """Divide by the root mean square: x / √(mean(x²) + ε). The mean is not subtracted."""
    wide = widened(x)
    with name_scope("statistics"):
        mean_square = label(mean(square(wide), axis=axis, keepdims=True), "mean x²")
        rms = label(sqrt(mean_square + eps), "rms")
    return label(narrowed(wide / rms, x), "x̂")


def begin(
    norm: str,
    x: Tensor,
    eps: float,
    momentum: float = 0.0,
    running: Mapping[str, Tensor | None] | None = None,
    **parameters: Tensor | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of the statistics, and the shape in which γ and β broadcast to x, after the checks of all norms.

    The `running` statistics, by name, must all be given or all be None. They and the `parameters` must have one value
    per channel.
    """
    checks.check_float(x, norm)
    checks.check_eps(eps, norm)
    checks.check_momentum(momentum, norm)
    statistics = running or {}
    checks.check_channels(x, norm, **statistics, **parameters)
    if len({value is None for value in statistics.values()}) > 1:
        checks.check_pair(statistics["running_mean"], statistics["running_var"], " and ".join(statistics), norm)
    checks.check_running(norm, **statistics)
    row = AXES[norm]
    return row.statistics(x.ndim), broadcast_shape(row, x.shape)


def scale_and_shift(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """γ x + β, with γ and β reshaped to `shape`. γ or β may be None."""
    if weight is not None:
        x = x * as_shape(weight, shape)
    if bias is not None:
        x = x + as_shape(bias, shape)
    return x


def as_shape(parameter: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The parameter in a shape that broadcasts to `shape`."""
    # One that broadcasts as it is needs no reshape, which would be one more node to read.
    trailing = shape[len(shape) - parameter.ndim :]
    return parameter if parameter.shape == trailing else reshape(parameter, shape=shape)


def broadcast_shape(row: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which γ and β of a norm broadcast to an x of `shape`."""
    kept = row.affine(len(shape)) if row.affine else ()
    return tuple(n if i in kept else 1 for i, n in enumerate(shape))
