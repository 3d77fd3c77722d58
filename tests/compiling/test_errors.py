"""A compiled function raises what the composition raises for values that it refuses, and works again afterwards."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import losses, nn
from tests.compiling.backends import BACKENDS

LAYER, PADDED, LINEAR = nn.Embedding(5, 3), nn.Embedding(5, 3, padding_idx=1), nn.Linear(3, 3)
X = mt.tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
P = mt.softmax(X, axis=1).detach()
ONES = mt.ones((5, 2))


def ints(*values):
    return mt.tensor(np.array(values))


# A function, arguments that it takes, and arguments that it refuses.
CASES = {
    "embedding layer": (lambda i: LAYER(i), (ints(1, 2),), (ints(1, -1),)),
    "embedding layer, large": (lambda i: LAYER(i), (ints(1, 2),), (ints(1, 9),)),
    "embedding layer, padding": (lambda i: PADDED(i), (ints(1, 2),), (ints(1, -2),)),
    "embedding": (lambda i, w: mt.embedding(i, w), (ints(1, 2), ONES), (ints(1, -1), ONES)),
    "take": (lambda i, x: mt.take(x, i, axis=0) * 2, (ints(1, -2), X), (ints(1, 7), X)),
    "take_along_axis": (
        lambda i, x: mt.take_along_axis(x, i, axis=1) * 2,
        (ints([1], [0], [2], [-1]), X),
        (ints([1], [0], [2], [5]), X),
    ),
    "index": (lambda x, i: x[i] * 2, (X, ints(0, 1)), (X, ints(0, 9))),
    "pick": (lambda x, i: mt.pick(x, i) * 2, (X, ints(0, 1, 2, 2)), (X, ints(0, 1, 2, 3))),
    "cross_entropy": (lambda x, t: mt.cross_entropy(x, t), (X, ints(0, 1, 2, 0)), (X, ints(0, 1, 3, 0))),
    "cross_entropy, negative": (lambda x, t: mt.cross_entropy(x, t), (X, ints(0, 1, -100, 0)), (X, ints(0, 1, -3, 0))),
    "cross_entropy, ignored": (lambda x, t: mt.cross_entropy(x, t), (X, ints(0, 1, -100, 0)), (X, ints(*[-100] * 4))),
    "cross_entropy, weights": (
        lambda x, t, w: mt.cross_entropy(x, t, w),
        (X, ints(0, 1, 2, 0), mt.tensor([1.0, 2.0, 0.5])),
        (X, ints(0, 1, 2, 0), mt.tensor([1.0, -2.0, 0.5])),
    ),
    "cross_entropy, probabilities": (lambda x, t: mt.cross_entropy(x, t), (X, P), (X, P * 2.0)),
    "a network": (lambda x, t: mt.cross_entropy(LINEAR(x), t), (X, ints(0, 1, 2, 0)), (X, ints(0, 1, 3, 0))),
    "nll_loss": (lambda x, t: losses.nll_loss(x, t), (X, ints(0, 1, 2, 0)), (X, ints(0, 1, 3, 0))),
    "binary_cross_entropy": (lambda x, t: losses.binary_cross_entropy(mt.sigmoid(x), t), (X, P), (X, P * 5.0)),
    "logits": (lambda x, t: losses.binary_cross_entropy_with_logits(x, t), (X, P), (X, P * 5.0)),
    "hinge": (lambda x, t: losses.hinge_embedding_loss(x, t), (X, mt.sign(X).detach()), (X, P)),
    "kl_div": (lambda x, t: losses.kl_div(x, t), (X, P), (X, -P)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_a_refused_value_raises_the_same_error(case, backend):
    fn, good, bad = CASES[case]
    fast = mt.compile(fn, strict=True, backend=backend)
    expected = fn(*good).numpy()
    np.testing.assert_allclose(fast(*good).numpy(), expected, 1e-12)
    errors = []
    for run in (fn, mt.compile(fn, backend=backend), fast):
        with pytest.raises((IndexError, ValueError)) as caught:
            run(*bad)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1] == errors[2]
    np.testing.assert_allclose(fast(*good).numpy(), expected, 1e-12)
