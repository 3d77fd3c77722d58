"""Parts of one tensor add their gradients into one array: the result is that of adding whole arrays, one by one."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import ops
from microtensor.backprop import contribution, reverse
from microtensor.inspect.history import carried_back

INDICES = (
    0, -1, slice(1, 3), slice(None, None, -2), (0, 1), (slice(None), 2), (..., 0), None, (None, 1, None), ...,
    [0, 0, 2], (slice(None), [1, 1]), ([0, 2], [1, 1]), np.arange(12).reshape(3, 4) % 5 == 0, [True, False, True], True,
    (np.int64(1), slice(0, 0)), np.array([[0, 1], [1, 0]]), [],
    mt.tensor([0, 2, 2]),
)  # fmt: skip


def whole(x, indices, weights):
    """The gradient of Σ (w · x[i])², added up from whole arrays of zeros."""
    total = np.zeros_like(x)
    for index, w in zip(indices, weights, strict=True):
        part = np.zeros_like(x)
        index = index.numpy() if isinstance(index, mt.Tensor) else index
        np.add.at(part, index, 2 * w * w * x[index])
        total = total + part
    return total


def loss(x, indices, weights):
    parts = [(w * x[index]) ** 2 for index, w in zip(indices, weights, strict=True)]
    return sum((part.sum() for part in parts), mt.tensor(np.zeros((), x.dtype)))


def plain(index):
    return np.array(index, int) if isinstance(index, list) and not index else index


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("seed", range(12))
def test_any_parts_give_the_sum_of_whole_arrays(seed, dtype):
    rng = np.random.default_rng(seed)
    chosen = [plain(INDICES[i]) for i in rng.integers(0, len(INDICES), 12)]
    weights = [np.asarray(w, dtype) for w in rng.uniform(0.5, 1.0, len(chosen))]
    x = mt.tensor(rng.uniform(-1, 1, (3, 4)).astype(dtype), requires_grad=True)
    expected = whole(x.numpy(), chosen, weights)
    close = {"rtol": 20 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
    np.testing.assert_allclose(mt.grad(loss(x, chosen, weights), x).numpy(), expected, **close)
    # Of an intermediate result, and of one that is used as a whole too, before and after.
    y = x * 1.0
    before = (y * y).sum()
    total = before + loss(y, chosen, weights) + y.sum()
    at_y, at_x = mt.grad(total, [y, x])
    np.testing.assert_allclose(at_y.numpy(), expected + 2 * x.numpy() + 1, **close)
    np.testing.assert_array_equal(at_y.numpy(), at_x.numpy())
    with mt.detect_anomaly():
        np.testing.assert_allclose(mt.grad(loss(x, chosen, weights), x).numpy(), expected, **close)


def test_derivatives_of_higher_order_do_not_change():
    x = mt.tensor(np.arange(1.0, 7.0).reshape(3, 2), requires_grad=True)
    y = sum((x[t] ** 3).sum() for t in (0, 1, 1, 2))
    first = mt.grad(y, x, create_graph=True)
    np.testing.assert_array_equal(first.numpy(), mt.grad(y, x).numpy())
    often = np.array([[1], [2], [1]])
    np.testing.assert_allclose(first.numpy(), 3 * often * x.numpy() ** 2)
    np.testing.assert_allclose(mt.grad(first.sum(), x).numpy(), 6 * often * x.numpy())


def test_a_gradient_that_others_share_is_not_written_to():
    x, w = (mt.tensor(np.ones((3, 2)), requires_grad=True) for _ in range(2))
    parts = [x[t].sum() for t in range(3)]
    # The rule of + hands the same array to both, before the parts are reached.
    both = (x + w).sum()
    at_x, at_w = mt.grad(both + sum(parts[1:], parts[0]), [x, w])
    assert (at_x.numpy() == 2).all()
    assert (at_w.numpy() == 1).all()
    given = np.full((3, 2), 2.0)
    # A cotangent that the caller gave, of a result that has parts too.
    y = x * 1.0
    rows = [y[t] for t in (0, 1, 0)]
    found = reverse({y: given, **{row: np.ones(2) for row in rows}}, {x})
    np.testing.assert_array_equal(found[x], [[4, 4], [3, 3], [2, 2]])
    assert (given == 2).all()


def test_hooks_and_kept_gradients_see_the_whole_sum_once():
    x = mt.tensor(np.ones((3, 2)), requires_grad=True)
    y = x * 2.0
    y.retain_grad()
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    row = y[1]
    row.retain_grad()
    row.register_hook(lambda g: g * 10.0)
    total = y[0].sum() + row.sum() + y[1:].sum() + y[1, 0]
    total.backward()
    expected = np.array([[1.0, 1.0], [12.0, 11.0], [1.0, 1.0]])
    np.testing.assert_array_equal(seen, [expected])
    np.testing.assert_array_equal(y.grad.numpy(), expected)
    np.testing.assert_array_equal(row.grad.numpy(), [10.0, 10.0])
    np.testing.assert_array_equal(x.grad.numpy(), 2 * expected)


def test_two_backward_passes_add_up_and_leave_the_first_gradient_alone():
    x = mt.tensor(np.ones((3, 2)), requires_grad=True)
    y = x[0].sum() + x[1].sum() + x[0].sum()
    y.backward(retain_graph=True)
    first = x.grad
    kept = first.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(first.numpy(), kept)
    np.testing.assert_array_equal(x.grad.numpy(), 2 * kept)


def test_a_number_without_axes():
    x = mt.tensor(3.0, requires_grad=True)
    assert mt.grad(x[()] * x[...] * x[()] + x[None].sum() + x, x).item() == 29.0


def test_a_view_of_the_graph_shows_what_each_part_added():
    x = mt.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    y = (x[0] * x[1] * x[0]).sum()
    added = [value for _, node, _, value in carried_back(y, np.ones(())) if node.primitive is ops.getitem]
    assert len(added) == 3
    assert all(value.shape == (3, 2) and np.count_nonzero(value.any(axis=1)) <= 1 for value in added)
    np.testing.assert_array_equal(sum(added), mt.grad(y, x).numpy())
    part = x[1]
    whole_array = contribution(part.node, 0, np.ones(2), part.numpy(), [x.numpy()])
    np.testing.assert_array_equal(whole_array, [[0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize("cut", [lambda x: [x[t] for t in range(50)], lambda x: mt.split(x, 1), lambda x: list(x)])
def test_many_parts_need_one_array_of_zeros(cut, monkeypatch):
    made = []
    plain_put = ops.put.forward
    monkeypatch.setattr(ops.put, "forward", lambda g, **params: made.append(g.shape) or plain_put(g, **params))
    x = mt.tensor(np.ones((50, 3)), requires_grad=True)
    assert (mt.grad(sum(part.sum() for part in cut(x)), x).numpy() == 1).all()
    assert len(made) == 1


def test_an_error_on_the_way_into_the_array_tells_its_place():
    def fail(total, g):
        raise ZeroDivisionError("no luck")

    half = mt.primitive("half", lambda x: x[:2], lambda g, y, x: ops.put(g, slice(2), x.shape), into=fail)
    x = mt.tensor(np.ones(4), requires_grad=True)
    with pytest.raises(ZeroDivisionError) as caught:
        mt.grad((half(x) * half(x)).sum(), x)
    assert "in the derivative of half by argument 0, shapes (4,) -> (2,)" in caught.value.__notes__[0]
