"""A right backward is never called wrong: every norm, size, offset, γ and dtype, staged, in one line, the engine's."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import norms
from tests.inspect.backwards import EPS, KINDS, SPELLINGS, backward_of, drawn, forward_of, right


def staged(d, x, gamma, axes, centers):
    """Eight steps, each the derivative of one line of forward."""
    n = np.prod([x.shape[a] for a in axes])
    mu = x.sum(axes, keepdims=True) / n if centers else 0.0
    centered = x - mu
    deviation = np.sqrt((centered**2).sum(axes, keepdims=True) / n + EPS)
    dxhat = d * gamma
    dinverse = (dxhat * centered).sum(axes, keepdims=True)
    ddeviation = -dinverse / deviation**2
    dvar = ddeviation / (2 * deviation)
    dcentered = dxhat / deviation + 2 * centered * dvar / n
    return dcentered - dcentered.sum(axes, keepdims=True) / n if centers else dcentered


def in_one_line(d, x, gamma, axes, centers):
    n = np.prod([x.shape[a] for a in axes])
    mu = x.mean(axes, keepdims=True) if centers else 0.0
    deviation = np.sqrt(((x - mu) ** 2).mean(axes, keepdims=True) + EPS)
    xhat, g = (x - mu) / deviation, d * gamma
    mean = g.sum(axes, keepdims=True) if centers else 0.0
    return (n * g - mean - xhat * (g * xhat).sum(axes, keepdims=True)) / (n * deviation)


NORMS = {
    "batch": ((1,), (0,), True, 2),
    "layer": ((1,), (1,), True, 2),
    "rms": ((1,), (1,), False, 2),
    "scale": ((1,), (0,), False, 2),
    "batch of images": ((1,), (0, 2, 3), True, 4),
    "instance": ((1,), (2, 3), True, 4),
    "all of a sample": ((1,), (1, 2, 3), True, 4),
}


def right_ones(seed, count):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        kept, axes, centers, ndim = NORMS[rng.choice(list(NORMS))]
        shape = (rng.integers(2, 30), rng.integers(2, 7)) if ndim == 2 else (*rng.integers(2, 4, 3), rng.integers(1, 4))
        x = rng.normal(rng.choice([0.0, 1.0, 10 ** rng.uniform(0, 6)]), 10 ** rng.uniform(-3, 3), shape)
        if rng.random() < 0.2:
            x[..., 0] = 7.0
        gamma = rng.normal(size=[n if a in kept else 1 for a, n in enumerate(shape)])
        gamma[rng.random(gamma.shape) < rng.choice([0.0, 0.4])] = 0.0
        yield rng, x.astype(rng.choice(["float32", "float64"])), gamma, axes, centers


def is_right(rng, x, gamma, axes, centers):
    def forward(x, gamma):
        centered = x - mt.mean(x, axis=axes, keepdims=True) if centers else x
        return centered / mt.sqrt(mt.mean(centered * centered, axis=axes, keepdims=True) + EPS) * gamma

    def of_the_engine(d, x, gamma, axes, centers):
        leaf = mt.tensor(x, requires_grad=True)
        return mt.grad(forward(leaf, gamma), leaf, d).numpy()

    written = rng.choice([staged, in_one_line, of_the_engine])
    dtype = rng.choice(["float32", "float64"])
    report = mt.check_backward(
        forward, lambda d, x, gamma: {"x": written(d, x, gamma, axes, centers).astype(dtype)}, x, gamma
    )
    assert report.passed, f"{written.__name__} {x.shape} {axes} {x.dtype} {dtype}\n{report}"


def test_right_backwards_are_right():
    for one in right_ones(0, 60):
        is_right(*one)


@pytest.mark.slow
def test_a_thousand_right_backwards_are_right():
    for one in right_ones(1, 1000):
        is_right(*one)


LIBRARY = {
    "batch_norm": ((8, 4), lambda x: norms.batch_norm(x, training=True)),
    "layer_norm": ((6, 4), lambda x: norms.layer_norm(x, 4)),
    "instance_norm": ((2, 3, 4), norms.instance_norm),
    "group_norm": ((2, 4, 3), lambda x: norms.group_norm(x, 2)),
    "rms_norm": ((6, 4), lambda x: norms.rms_norm(x, 4)),
    "ghost_batch_norm": ((8, 3), lambda x: norms.ghost_batch_norm(x, 4, training=True)),
    "whiten": ((16, 3), lambda x: norms.whiten(x, training=True)),
    "filter_response_norm": ((2, 3, 4, 4), norms.filter_response_norm),
    "scale_norm": ((6, 4), lambda x: norms.scale_norm(x, mt.tensor(2.0))),
    "local_response_norm": ((2, 6, 4), lambda x: norms.local_response_norm(x, 3)),
    "weight_norm": ((4, 3), lambda v: norms.weight_norm(v, mt.tensor([[1.0], [2.0], [3.0], [0.5]]))),
    "weight_standardize": ((4, 6), norms.weight_standardize),
    "softmax": ((4, 5), lambda x: mt.softmax(x, axis=1)),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_engines_own_gradient_of_a_norm_is_right(name):
    shape, norm = LIBRARY[name]

    def backward(dout, x):
        leaf = mt.tensor(x, requires_grad=True)
        return mt.grad(norm(leaf), leaf, dout).numpy()

    report = mt.check_backward(norm, backward, np.random.default_rng(0).normal(3.0, 2.0, shape))
    assert report.passed, str(report)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_forward_agrees_with_a_right_backward(spelling):
    for kind in KINDS.values():
        if kind.centers:
            report = mt.check_backward(forward_of(kind, spelling), backward_of(kind, right), *drawn(kind))
            assert report.passed, str(report)
