"""What a normalised network does not see: Ba et al.'s table of invariances, and scale as a learning rate.

ε = 0 here means the smallest normal number, which is added to a variance without a trace; the norms demand ε > 0.
"""

import numpy as np
import pytest

import microtensor as mt
from microtensor import norms
from tests.norms.test_claims_batch import NO_EPS, batch_norm, draw

X, W = draw(6, 5), draw(5, 4, seed=1)  # Inputs in rows, the weights of a unit in columns.
ROW, COLUMN = draw(1, 5, seed=2), draw(5, 1, seed=3)
CASE = np.array([[3.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
CHANGES = {
    "weight matrix scaled": (X, 3 * W),
    "weight matrix centred": (X, W + COLUMN),
    "weight vectors scaled": (X, W * [3.0, 0.7, 2.0, 1.0]),
    "data scaled": (3 * X, W),
    "data centred": (X + ROW, W),
    "a single case scaled": (CASE * X, W),
}
NORMS = {
    "batch norm": lambda x, w: batch_norm(x @ w, NO_EPS),
    "weight norm": lambda x, w: mt.tensor(x) @ norms.weight_norm(mt.tensor(w.T), mt.ones((4, 1))).T,
    "layer norm": lambda x, w: norms.layer_norm(mt.tensor(x @ w), 4, eps=NO_EPS),
}
# Batch norm, weight norm, layer norm.
TABLE = {
    "weight matrix scaled": "Y Y Y",
    "weight matrix centred": "N N Y",
    "weight vectors scaled": "Y Y N",
    "data scaled": "Y N Y",
    "data centred": "Y N N",
    "a single case scaled": "N N Y",
}


@pytest.mark.parametrize("change", CHANGES)
def test_table_1_of_ba_et_al(change):
    """Claim 49: Y is a change of the output by 1e-14 at most, N one by more than 1."""
    for norm, invariant in zip(NORMS, TABLE[change].split(), strict=True):
        apart = np.abs(NORMS[norm](*CHANGES[change]).numpy() - NORMS[norm](X, W).numpy()).max()
        assert apart <= 1e-14 if invariant == "Y" else apart > 1, norm


def train(alpha, eps, *, steps=100, lr=0.1):
    """The losses of a tanh network whose weights W start α times as large and take steps α² times as large.

    Also ‖W‖² from step to step, and what it would be if every step were at a right angle to W.
    """
    x, target = mt.tensor(draw(20, 8)), np.arange(20) % 3
    w = mt.tensor(alpha * draw(8, 10, seed=1) / 4, requires_grad=True)
    head = mt.tensor(draw(10, 3, seed=2) / 4, requires_grad=True)
    found, length, by_steps = [], [], [(w.numpy() ** 2).sum()]
    for _ in range(steps):
        loss = mt.cross_entropy(mt.tanh(batch_norm(x @ w, eps)) @ head, target)
        loss.backward()
        found.append(loss.item())
        length.append((w.numpy() ** 2).sum())
        by_steps.append(by_steps[-1] + ((alpha**2 * lr * w.grad.numpy()) ** 2).sum())
        with mt.no_grad():
            w -= alpha**2 * lr * w.grad
            head -= lr * head.grad
        w.grad = head.grad = None
    return np.array(found), np.array(length), np.array(by_steps[:-1])


@pytest.mark.parametrize("alpha", [0.01, 0.1, 10.0, 100.0])
def test_the_scale_of_the_weights_is_a_learning_rate(alpha):
    """Claim 12: (αW, α² lr) trains as (W, lr) does, to 1e-10 at ε = 0; with ε = 1e-5 the less so the smaller α is."""
    np.testing.assert_allclose(train(alpha, NO_EPS)[0], train(1.0, NO_EPS)[0], rtol=0, atol=1e-10)
    apart = np.abs(train(alpha, 1e-5)[0] - train(1.0, 1e-5)[0]).max()
    assert (apart > 1e-4) == (alpha == 0.01)


def test_steps_are_at_a_right_angle_to_the_weights():
    """So ‖W‖² only grows, by the squares of the steps, and the effective learning rate lr/‖W‖² falls by itself."""
    loss, length, by_steps = train(1.0, NO_EPS)
    np.testing.assert_allclose(length, by_steps, rtol=1e-13)
    assert (np.diff(length) > 0).all()
    assert loss[-1] < 0.7 * loss[0]
