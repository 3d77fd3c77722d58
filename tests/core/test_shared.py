"""``x.data``: a detached tensor that shares the value of its owner, and resets of ``.grad``."""

import copy
import gc
import operator
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt

OPERATORS = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "**": operator.ipow,
}


def leaf(*values, requires_grad=True):
    return mt.tensor(values, requires_grad=requires_grad, name="w")


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("number", [2.0, np.array([1.0, 2.0]), mt.tensor([2.0, 3.0]), 3])
def test_an_operator_in_place_writes_to_the_owner_and_counts_one_version(symbol, requires_grad, number):
    w = leaf(1.0, 2.0, requires_grad=requires_grad)
    expected = OPERATORS[symbol](np.array([1.0, 2.0]), np.asarray(number))
    change = {"+": "x.data += n", "-": "x.data -= n", "*": "x.data *= n", "/": "x.data /= n", "**": "x.data **= n"}
    exec(change[symbol], {"x": w, "n": number})
    np.testing.assert_array_equal(w.numpy(), expected)
    assert (w._version, w.requires_grad, w.is_leaf) == (1, requires_grad, True)


@pytest.mark.parametrize("symbol", OPERATORS)
def test_the_data_under_a_name_of_their_own_write_to_the_owner_every_time(symbol):
    w = leaf(3.0, 2.0)
    d = held = w.data
    for _ in range(2):
        d = OPERATORS[symbol](d, 2.0)
    assert d is held
    expected = OPERATORS[symbol](OPERATORS[symbol](np.array([3.0, 2.0]), 2.0), 2.0)
    np.testing.assert_array_equal(w.numpy(), expected)
    np.testing.assert_array_equal(d.numpy(), expected)
    assert w._version == 2


def test_a_step_of_training_is_that_of_pytorch():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    w.data -= 0.1 * w.grad
    np.testing.assert_allclose(w.numpy(), [0.8, 1.6])
    with pytest.raises(ValueError, match=r"cannot take a value of shape \(3, 2\)"):
        w.data += np.ones((3, 1))
    np.testing.assert_allclose(w.numpy(), [0.8, 1.6])


def test_the_data_show_later_values_and_a_copy_does_not():
    w = leaf(1.0, 2.0)
    d, kept, detached = w.data, w.data.copy(), w.detach()
    w.data = [5.0, 6.0]
    with mt.no_grad():
        w += 1
    np.testing.assert_array_equal(d.numpy(), [6.0, 7.0])
    for fixed in (kept, detached):
        np.testing.assert_array_equal(fixed.numpy(), [1.0, 2.0])


def test_a_graph_over_a_value_that_was_changed_through_the_data_raises():
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    w.data *= 2
    with pytest.raises(RuntimeError, match=r"multiply: w of shape \(2,\) was changed after"):
        loss.backward()
    x = leaf(3.0, 4.0)
    loss = (x * w.data).sum()
    w.data += 1
    with pytest.raises(RuntimeError, match="changed after"):
        loss.backward()


def test_data_are_detached_and_their_own_data():
    w = leaf(1.0, 2.0)
    d = w.data
    assert d.data is d
    assert isinstance(d, mt.Tensor)
    assert (d.requires_grad, d.is_leaf, d.name, d.grad) == (False, True, "w", None)
    assert not (d * 2).requires_grad
    d.data = [7.0, 8.0]
    np.testing.assert_array_equal(w.numpy(), [7.0, 8.0])
    d.data -= 1
    assert (w._version, list(w.numpy())) == (2, [6.0, 7.0])
    with pytest.raises(RuntimeError, match="does not require a gradient: it was detached"):
        d.backward()


def test_numbers_that_the_owner_cannot_hold_are_refused():
    n = mt.tensor([1, 2])
    with pytest.raises(TypeError, match=r"x\.data /= …: the result has dtype float64, which int64 cannot hold"):
        n.data /= 2
    half = mt.tensor([1.0, 2.0], dtype="float32")
    half.data *= mt.tensor([2.0, 2.0])
    assert (half.dtype, list(half.numpy())) == (np.float32, [2.0, 4.0])


def test_an_index_is_refused_with_what_to_write():
    w = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"x\.data = array"):
        w.data[0] = 5.0
    with pytest.raises(TypeError, match=r"x\.data = array"):
        w.data[...] = np.zeros(2)
    w.sum().backward()
    with pytest.raises(TypeError, match=r"x\.grad = None"):
        w.grad[:] = 0


@pytest.mark.parametrize("change", ["x.data -= 1", "d = x.data; d *= 2", "x.data = [1.0, 2.0]", "x.data.assign_(0.0)"])
def test_the_value_of_a_result_is_not_changed(change):
    x = leaf(1.0, 2.0).exp()
    before = x.numpy().copy()
    with pytest.raises(RuntimeError, match="made by <exp> cannot be"):
        exec(change, {"x": x})
    np.testing.assert_array_equal(x.numpy(), before)


def test_the_data_of_a_result_do_not_keep_its_graph():
    x = leaf(1.0, 2.0)
    y = x * 2
    held, gone = y.data, weakref.ref(y)
    del y
    gc.collect()
    assert gone() is None
    # Nobody else sees this value, so that it can be handed on and changed.
    held += 1
    np.testing.assert_array_equal(held.numpy(), [3.0, 5.0])


def test_running_statistics_are_handed_on_from_step_to_step():
    gamma = leaf(1.0, 1.0)
    moving, expected = mt.zeros(2), np.zeros(2)

    def step(x, moving):
        mean = (x * gamma).mean(axis=0)
        moving = 0.9 * moving + 0.1 * mean
        return moving.data

    layer = mt.nn.Module()
    layer.register_buffer("moving", moving)
    for i in range(3):
        x = np.full((4, 2), float(i))
        layer.moving = step(mt.tensor(x), layer.moving)
        expected = 0.9 * expected + 0.1 * i
    np.testing.assert_allclose(layer.moving.numpy(), expected)
    layer.load_state_dict({"moving": [3.0, 4.0]})
    layer.astype("float32")
    np.testing.assert_array_equal(layer.state_dict()["moving"], np.float32([3.0, 4.0]))


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), mt.tensor])
def test_copies_of_the_data_have_no_owner(made):
    w = leaf(1.0, 2.0)
    other = made(w.data)
    other -= 1
    assert type(other) is mt.Tensor
    np.testing.assert_array_equal(w.numpy(), [1.0, 2.0])


def test_a_leaf_made_of_data_is_one():
    """Adversarial examples: the data of a result, made to require a gradient."""
    x = (leaf(1.0, 2.0) * 2).data.requires_grad_()
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0])
    with pytest.raises(RuntimeError, match="not possible on a leaf that requires a gradient"):
        x += 1
    with mt.no_grad():
        x += 1
    np.testing.assert_array_equal(x.numpy(), [3.0, 5.0])


@given(st.lists(st.sampled_from(["+", "-", "*"]), max_size=5), st.integers(0, 3))
def test_any_program_of_writes_is_that_of_numpy(symbols, number):
    w, expected = leaf(1.0, 2.0), np.array([1.0, 2.0])
    d = w.data
    for symbol in symbols:
        d = OPERATORS[symbol](d, number)
        expected = OPERATORS[symbol](expected, number)
    np.testing.assert_array_equal(w.numpy(), expected)
    assert w._version == len(symbols)


def test_a_gradient_is_reset():
    w = leaf(1.0, 2.0)
    for reset in ("w.grad = 0", "w.grad = 0.0", "w.grad *= 0", "w.grad -= w.grad", "w.grad.data *= 0"):
        (w * 3).sum().backward()
        exec(reset, {"w": w})
        np.testing.assert_array_equal(w.grad.numpy(), [0.0, 0.0])
        assert w.grad.dtype == w.dtype
    w.grad = None
    single = mt.tensor(2.0, requires_grad=True, dtype="float32")
    single.grad = 1
    assert (single.grad.item(), single.grad.dtype) == (1.0, np.float32)
    with pytest.raises(
        ValueError, match=r"shape \(2,\) cannot have a gradient of shape \(\); x\.grad = None resets it"
    ):
        w.grad = 1
