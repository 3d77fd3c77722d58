"""Backward passes of norms as learners write them, right and wrong, beside the spellings of their forward passes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import microtensor as mt

EPS = 1e-5


class Kind(NamedTuple):
    """A norm: the shapes of x and γ, the view in which a set is a row or a column, and the axes of the sets there."""

    x: tuple
    gamma: tuple
    view: tuple
    axes: tuple
    centers: bool = True


KINDS = {
    "batch": Kind((8, 5), (5,), (8, 5), (0,)),
    "layer": Kind((8, 5), (5,), (8, 5), (1,)),
    "group": Kind((3, 4, 2, 2), (1, 4, 1, 1), (6, 8), (1,)),
    "instance": Kind((3, 4, 2, 2), (1, 4, 1, 1), (12, 4), (1,)),
    "rms": Kind((8, 5), (5,), (8, 5), (1,), centers=False),
}


# --- forward ------------------------------------------------------------------------------------------------


def _mean(x, axes):
    return mt.mean(x, axis=axes, keepdims=True)


def two_pass(x, axes, centers):
    centered = x - _mean(x, axes) if centers else x
    return centered / mt.sqrt(_mean(centered * centered, axes) + EPS)


def mean_of_squares(x, axes, centers):
    mu = _mean(x, axes)
    return (x - mu) / mt.sqrt(_mean(x * x, axes) - mu * mu + EPS)


def to_a_power(x, axes, centers):
    centered = x - _mean(x, axes) if centers else x
    return centered * (_mean(centered**2, axes) + EPS) ** -0.5


def folded(x, axes, centers):
    mu = _mean(x, axes)
    inverse = 1.0 / mt.sqrt(_mean((x - mu) ** 2, axes) + EPS)
    return x * inverse + (0.5 - mu * inverse)


def clamped(x, axes, centers):
    centered = x - _mean(x, axes) if centers else x
    return centered / mt.sqrt(mt.maximum(_mean(centered * centered, axes), 1e-12) + EPS)


def exp_log(x, axes, centers):
    centered = x - _mean(x, axes) if centers else x
    return centered * mt.exp(-0.5 * mt.log(_mean(centered * centered, axes) + EPS))


def divided_apart(x, axes, centers):
    mu = _mean(x, axes)
    sigma = mt.sqrt(_mean((x - mu) ** 2, axes) + EPS)
    return x / sigma - mu / sigma


def by_matmul(x, axes, centers):
    n = x.shape[axes[0]]
    row = np.full((1, n), 1 / n)

    def mean(a):
        return mt.matmul(row, a) if axes == (0,) else mt.matmul(a, row.T)

    centered = x - mean(x) if centers else x
    return centered / mt.sqrt(mean(centered * centered) + EPS)


def by_einsum(x, axes, centers):
    n = x.shape[axes[0]]
    kept, shape = ("j", (1, -1)) if axes == (0,) else ("i", (-1, 1))
    centered = x - mt.reshape(mt.einsum(f"ij->{kept}", x), shape) / n if centers else x
    squares = mt.einsum(f"ij,ij->{kept}", centered, centered)
    return centered / mt.sqrt(mt.reshape(squares, shape) / n + EPS)


def set_by_set(x, axes, centers):
    other = 1 - axes[0]

    def one(a):
        centered = a - mt.mean(a) if centers else a
        return centered / mt.sqrt(mt.mean(centered * centered) + EPS)

    rows = [one(x[:, i] if other else x[i]) for i in range(x.shape[other])]
    return mt.stack(rows, axis=other)


def of_the_library(x, axes, centers):
    if centers:
        return mt.norms.standardize(x, axis=axes, eps=EPS)
    return mt.norms.rms_norm(x, x.shape[1:], eps=EPS)


SPELLINGS: list[Callable] = [
    two_pass,
    mean_of_squares,
    to_a_power,
    folded,
    clamped,
    exp_log,
    divided_apart,
    by_matmul,
    by_einsum,
    set_by_set,
    of_the_library,
]


def forward_of(kind, spelling):
    """The norm as a function of x and γ."""

    def forward(x, gamma):
        view = x if kind.view == kind.x else mt.reshape(x, kind.view)
        xhat = spelling(view, kind.axes, kind.centers)
        return gamma * (xhat if kind.view == kind.x else mt.reshape(xhat, kind.x))

    return forward


# --- backward -----------------------------------------------------------------------------------------------


def paths(g, x, axes, centers=True, eps=EPS):
    """The paths of a norm's gradient: direct, through the mean, through the variance."""
    mu = x.mean(axes, keepdims=True) if centers else 0.0
    sigma = np.sqrt(((x - mu) ** 2).mean(axes, keepdims=True) + eps)
    xhat = (x - mu) / sigma
    mean = -g.mean(axes, keepdims=True) / sigma + 0 * x if centers else 0 * x
    return g / sigma, mean, -xhat * (g * xhat).mean(axes, keepdims=True) / sigma


def weighted(direct=1.0, mean=1.0, variance=1.0):
    def change(g, x, kind):
        n = int(np.prod([x.shape[a] for a in kind.axes]))
        factors = [f(n) if callable(f) else f for f in (direct, mean, variance)]
        return sum(f * p for f, p in zip(factors, paths(g, x, kind.axes, kind.centers), strict=True))

    return change


def spread_of(x, kind):
    mu = x.mean(kind.axes, keepdims=True) if kind.centers else 0.0
    return np.sqrt(((x - mu) ** 2).mean(kind.axes, keepdims=True) + EPS)


def centered_for_normalized(g, x, kind):
    direct, mean, variance = paths(g, x, kind.axes, kind.centers)
    return direct + mean + variance * spread_of(x, kind)


def variance_for_deviation(g, x, kind):
    direct, mean, variance = paths(g, x, kind.axes, kind.centers)
    return direct + mean + variance / spread_of(x, kind)


def another_axis(g, x, kind):
    other = (1 - kind.axes[0],)
    sigma = spread_of(x, kind)
    xhat = (x - (x.mean(kind.axes, keepdims=True) if kind.centers else 0.0)) / sigma
    mean = (g / sigma).mean(other, keepdims=True) if kind.centers else 0.0
    return g / sigma - mean - xhat * (g * xhat).mean(other, keepdims=True) / sigma


def without_epsilon(g, x, kind):
    return sum(paths(g, x, kind.axes, kind.centers, eps=0.0))


def right(g, x, kind):
    return sum(paths(g, x, kind.axes, kind.centers))


def backward_of(kind, change, with_gamma=True, dtype=np.float64):
    """A backward that gives dx, with a mistake."""

    def backward(dout, x, gamma):
        g = (dout * gamma if with_gamma else dout).reshape(kind.view)
        return {"x": change(g, x.reshape(kind.view), kind).reshape(kind.x).astype(dtype)}

    return backward


def drawn(kind, seed=0):
    """x and γ for a norm."""
    rng = np.random.default_rng(seed)
    return rng.normal(3.0, 2.0, kind.x), rng.normal(1.0, 0.5, kind.gamma)
