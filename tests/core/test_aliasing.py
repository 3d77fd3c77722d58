"""Whose arrays a backward pass may write to: those that it made itself, whoever else holds what it was given.

Every array that a rule receives or returns is held by a name outside, and compared with a copy at the end of the test.
"""

import numpy as np
import pytest

import microtensor as mt
from microtensor.core.primitive import VariadicRule
from tests.table import TABLE

PRIMITIVES = mt.ops.primitives
SMOOTH = [
    pytest.param(name, call, id=f"{name}-{i}")
    for name, row in TABLE.items()
    if not row.flat
    for i, call in enumerate(row.calls)
]


def leaf(*values, shape=None, dtype=np.float64):
    array = np.array(values, dtype)
    return mt.tensor(array.reshape(shape) if shape is not None else array, requires_grad=True)


class Witness:
    """Holds every array that passes through a rule, with a copy of what it was."""

    def __init__(self):
        self.held = []

    def keep(self, *values):
        arrays = [v.numpy() if isinstance(v, mt.Tensor) else v for v in values]
        self.held += [(a, a.copy()) for a in arrays if isinstance(a, np.ndarray)]

    def watched(self, rule):
        def watching(*arguments, **params):
            self.keep(*arguments)
            result = rule(*arguments, **params)
            self.keep(result)
            return result

        return watching

    def check(self):
        for array, before in self.held:
            np.testing.assert_array_equal(array, before)


@pytest.fixture(autouse=True)
def witness(monkeypatch):
    found = Witness()
    for op in PRIMITIVES.values():
        if isinstance(op.rules, VariadicRule):
            rules = VariadicRule(found.watched(op.rules.rule))
        else:
            rules = tuple(rule and found.watched(rule) for rule in op.rules)
        monkeypatch.setattr(op, "rules", rules)
    yield found
    found.check()
    assert found.held


ALIASING = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "same": lambda a, b: a + a + b,
    "reshape": lambda a, b: a.reshape(4).reshape(2, 2) + b,
    "transpose": lambda a, b: a.T.T + b.T,
    "slice": lambda a, b: a[::-1] + b[:, ::-1],
    "broadcast": lambda a, b: mt.broadcast_to(a, shape=(3, 2, 2)).sum(axis=0) + b,
    "mean": lambda a, b: mt.broadcast_to(a.mean() + b.mean(), shape=(2, 2)),
    "astype": lambda a, b: a.astype(float) + b,
    "where": lambda a, b: mt.where(True, a, b),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", ALIASING)
def test_no_gradient_shares_memory_with_anything(name, create_graph):
    a, b = leaf(1.0, 2.0, 3.0, 4.0, shape=(2, 2)), leaf(5.0, 6.0, 7.0, 8.0, shape=(2, 2))
    middle = (a + 0.0).retain_grad()
    array, given = np.ones((2, 2)), mt.ones((2, 2))
    for seed in (array, given):
        ALIASING[name](middle, b).backward(seed, retain_graph=True, create_graph=create_graph)
    gradients = [a.grad, b.grad, middle.grad]
    owned = [a.numpy(), b.numpy(), middle.numpy(), array, given.numpy()]
    assert len({id(g) for g in [*gradients, given]}) == 4
    for i, g in enumerate(gradients):
        for other in [*owned, *(h.numpy() for h in gradients[:i])]:
            assert not np.shares_memory(g.numpy(), other)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_first_gradient_is_a_copy_of_the_seed(create_graph):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    array, given = np.ones(2), mt.ones(2)
    (a + b).backward(array, create_graph=create_graph)
    assert not np.shares_memory(a.grad.numpy(), array)
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())
    assert a.grad is not b.grad
    a.grad = b.grad = None
    (a + b).backward(given, create_graph=create_graph)
    assert a.grad is not given
    assert a.grad is not b.grad
    assert not np.shares_memory(a.grad.numpy(), given.numpy())


def test_gradients_handed_back_share_no_memory_either():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = np.ones(2)
    da, db = mt.grad(a + b, [a, b], seed)
    assert not np.shares_memory(da.numpy(), db.numpy())
    assert not np.shares_memory(da.numpy(), seed)


def test_the_gradient_of_a_weight_is_in_its_own_order_and_nobody_elses():
    """A weight used as its transpose: its gradient is the fresh product itself, read the other way round."""
    w = mt.tensor(np.ones((3, 4)), requires_grad=True)
    x = mt.tensor(np.arange(8.0).reshape(2, 4), requires_grad=True)
    (x @ w.mT).backward(np.ones((2, 3)))
    assert w.grad.numpy().flags.c_contiguous
    np.testing.assert_array_equal(w.grad.numpy(), np.tile([4.0, 6.0, 8.0, 10.0], (3, 1)))
    once = mt.grad((x @ w.mT).sum(), [w, x])
    again = mt.grad((x @ w.mT).sum(), [w, x])
    arrays = [g.numpy() for g in (w.grad, x.grad, *once, *again)] + [w.numpy(), x.numpy()]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_a_transposed_seed_is_copied():
    seed = np.arange(6.0).reshape(2, 3)
    w = mt.tensor(np.ones((3, 2)), requires_grad=True)
    tensor = mt.tensor(seed)
    w.mT.backward(tensor)
    assert not np.shares_memory(w.grad.numpy(), tensor.numpy())
    np.testing.assert_array_equal(w.grad.numpy(), seed.T)


def test_a_cotangent_that_two_branches_share_is_left_alone():
    x, w = leaf(1.0), leaf(1.0)
    z = x + w
    a = x * 10
    ((z * 3).sum() + (a * 7).sum()).backward()
    assert (w.grad.item(), x.grad.item()) == (3.0, 73.0)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(("name", "call"), SMOOTH)
def test_gradients_of_results_and_inputs_that_are_used_twice_add(name, call, create_graph):
    op, arrays = PRIMITIVES[name], call.arrays(TABLE[name].domain)
    inputs = [mt.tensor(x, requires_grad=True) if i in call.drawn() else x for i, x in enumerate(arrays)]
    leaves = [x for x in inputs if isinstance(x, mt.Tensor)]
    middle = [x + 0.0 if isinstance(x, mt.Tensor) else x for x in inputs]
    once, again = op(*middle, **call.params), op(*middle, **call.params)
    rng = np.random.default_rng(1)
    c, d = rng.normal(size=(2, *once.shape))
    both = mt.grad([once, again, once * 2.0], leaves, [c, d, d], create_graph=create_graph)
    parts = [mt.grad(op(*inputs, **call.params), leaves, seed) for seed in (c, d, 2 * d)]
    for total, *each in zip(both, *parts, strict=True):
        np.testing.assert_allclose(total.numpy(), sum(g.numpy() for g in each), rtol=1e-12, atol=1e-12)
    owned = [x.numpy() for x in (*leaves, once, again)] + [c, d]
    for i, g in enumerate(both):
        assert not any(np.shares_memory(g.numpy(), other) for other in [*owned, *(h.numpy() for h in both[:i])])


def test_a_gradient_that_a_hook_hands_over_stays_the_hooks():
    x, mine = leaf(1.0, 2.0), mt.tensor([5.0, 6.0])
    x.register_hook(lambda g: mine)
    (x * 3).sum().backward()
    assert not np.shares_memory(x.grad.numpy(), mine.numpy())
    (x * 3).sum().backward()
    assert mine.numpy().tolist() == [5.0, 6.0]
    assert x.grad.numpy().tolist() == [10.0, 12.0]
