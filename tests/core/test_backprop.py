"""The laws of the reverse walk: what is added where, what is freed, what stays as it was when something fails."""

import asyncio
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import microtensor as mt
from microtensor import viz
from microtensor.backprop import keep_graphs
from microtensor.core.primitive import primitive
from microtensor.graph import Graph
from microtensor.primitive import is_recording


def leaf(*values, shape=None, dtype=np.float64):
    array = np.array(values, dtype)
    return mt.tensor(array.reshape(shape) if shape is not None else array, requires_grad=True)


def scalar(value):
    return mt.tensor(float(value), requires_grad=True)


def counting(name="counted"):
    """An identity whose rule counts its calls and remembers what it was given."""
    seen = []

    def rule(g, y, x):
        seen.append((g, y, x))
        return g

    return primitive(name, lambda x: x + 0.0, rule), seen


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


# --- sums over paths --------------------------------------------------------------------------------------


def test_a_diamond_adds_both_paths():
    x = scalar(3)
    middle = x * 2
    (middle * middle + middle).backward()
    assert x.grad.item() == 2 * (2 * 6) + 2


def test_both_arguments_may_be_the_same_tensor():
    x = leaf(3.0, -4.0)
    (x * x).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, -80.0])
    x.grad = None
    (x - x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0])


def test_a_shared_result_is_walked_once():
    counted, seen = counting()
    x = scalar(1)
    y = counted(x)
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60
    assert len(seen) == 1


def test_the_last_use_of_a_long_skip_waits_for_all_others():
    x = scalar(2)
    y = x
    for _ in range(50):
        y = y * 1.0
    (y * x + x).backward()
    assert x.grad.item() == 2 + 2 + 1


def test_a_chain_of_30_000_operations():
    limit = sys.getrecursionlimit()
    x = scalar(1)
    y = x
    for _ in range(30_000):
        y = y + 1.0
    y.backward(retain_graph=True)
    assert x.grad.item() == 1.0
    assert mt.grad(y, x).item() == 1.0
    end = weakref.ref(y)
    del y
    assert end() is None
    assert sys.getrecursionlimit() == limit


def test_a_leaf_can_be_the_result():
    x = scalar(5)
    x.backward()
    assert x.grad.item() == 1.0


# --- accumulation and freeing -----------------------------------------------------------------------------


def test_gradients_add_up_between_steps_until_they_are_cleared():
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 6.0])
    x.grad = None
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])


def test_a_second_backward_says_that_the_graph_is_freed():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    before = x.grad.numpy().copy()
    with pytest.raises(RuntimeError, match=r"graph of sum .*freed.*retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), before)


def test_a_graph_shared_with_a_freed_one_is_refused_and_nothing_is_added():
    x = leaf(1.0, 2.0)
    shared = x * x
    first, second = shared.sum(), (shared * x).sum()
    first.backward()
    before = x.grad.numpy().copy()
    with pytest.raises(RuntimeError, match=r"graph of multiply .*freed"):
        second.backward()
    np.testing.assert_array_equal(x.grad.numpy(), before)


def test_retain_graph_adds_exactly_twice_on_leaves_and_nothing_within():
    x = leaf(0.1, 0.7, -3.3)
    inner = x.exp()
    y = (inner * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * once)
    assert inner.grad is None
    assert y.grad is None


def test_grad_and_vjp_change_nothing():
    x = leaf(1.0, 2.0)
    y = x * x
    for _ in range(2):
        assert mt.grad(y, x, [1.0, 1.0]).numpy().tolist() == [2.0, 4.0]
        assert mt.vjp(y, [1.0, 1.0])[x].numpy().tolist() == [2.0, 4.0]
    assert x.grad is None


# --- memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walk", ["none", "backward", "retained", "grad", "create_graph"])
def test_a_graph_dies_with_its_last_reference_without_the_cyclic_collector(walk):
    x, w = leaf(*range(6), shape=(3, 2)), leaf(*range(4), shape=(2, 2))
    gc.disable()
    try:
        hidden = mt.standardize(x @ w, axis=0)
        loss = hidden.tanh().sum()
        alive = [weakref.ref(hidden), weakref.ref(loss)]
        if walk in ("backward", "retained"):
            loss.backward(retain_graph=walk == "retained")
        elif walk != "none":
            d = mt.grad(loss, w, create_graph=walk == "create_graph")
            alive.append(weakref.ref(d))
            del d
        del hidden, loss
        assert [ref() for ref in alive] == [None] * len(alive)
    finally:
        gc.enable()


def test_a_backward_pass_frees_the_values_within_even_while_the_result_lives():
    x = leaf(1.0, 2.0)
    inner = x.exp()
    loss = (inner * inner).sum()
    alive = weakref.ref(inner)
    del inner
    assert alive() is not None
    loss.backward()
    assert alive() is None


def test_forward_and_backward_make_no_reference_cycle():
    net = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.BatchNorm1d(4), mt.nn.ReLU(), mt.nn.Linear(4, 2))
    x = mt.tensor(np.random.default_rng(0).normal(size=(5, 3)))

    def step():
        mt.cross_entropy(net(x), [0, 1, 0, 1, 1]).backward()
        mt.grad(net(x).sum(), net[0].weight, create_graph=True)

    np.testing.assert_no_gc_cycles(step)


# --- failures change nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Interrupted])
@pytest.mark.parametrize("place", ["rule", "hook"])
def test_an_exception_leaves_every_gradient_and_the_graph_as_they_were(kind, place):
    failing = [True]

    def fail(g, *rest):
        if failing[0]:
            raise kind("stop")
        return g

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a * b).sum().backward()
    held = a.grad, b.grad
    values = [g.numpy().copy() for g in held]
    odd = primitive("odd", lambda x: x * 1.0, fail if place == "rule" else lambda g, y, x: g)
    inner = odd(a)
    if place == "hook":
        inner.register_hook(fail)
    out = (b * 2 + inner * b).sum()
    with pytest.raises(kind):
        out.backward()
    assert a.grad is held[0]
    assert b.grad is held[1]
    np.testing.assert_array_equal([a.grad.numpy(), b.grad.numpy()], values)
    failing[0] = False
    out.backward()
    np.testing.assert_array_equal(a.grad.numpy(), values[0] + b.numpy())
    np.testing.assert_array_equal(b.grad.numpy(), values[1] + 2 + a.numpy())


@pytest.mark.parametrize(("shape", "message"), [((4,), r"\(4,\)"), ((2, 3), r"\(2, 3\)"), ((3, 3), r"\(3, 3\)")])
def test_a_rule_that_returns_a_gradient_of_a_wrong_shape_is_named(shape, message):
    crooked = primitive("crooked", lambda x: x * 1.0, lambda g, y, x: np.ones(shape))
    x = leaf(*range(6), shape=(3, 2))
    with pytest.raises(RuntimeError, match=rf"rule of crooked for argument 0 .*{message}.*\(3, 2\)"):
        crooked(x).sum().backward()
    assert x.grad is None


# --- the cotangent ----------------------------------------------------------------------------------------


def test_a_result_with_several_elements_needs_a_cotangent():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"backward: a tensor of shape \(2,\).*\.sum\(\).*gradient="):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"grad: a tensor of shape \(2,\)"):
        mt.grad(x * 2, x)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_result_with_one_element_needs_none(shape):
    x = leaf(3.0, shape=shape)
    (x * x).backward()
    assert x.grad.shape == shape
    assert x.grad.item() == 6.0


@pytest.mark.parametrize("gradient", [[1.0, 1.0, 1.0], 1.0, [[1.0, 1.0]], np.ones((2, 1))])
def test_a_cotangent_of_another_shape_is_refused(gradient):
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"backward: gradient has shape .*; it must have .* \(2,\)"):
        (x * 2).backward(gradient)
    assert x.grad is None


@pytest.mark.parametrize("gradient", [np.ones(2, complex), ["a", "b"], [None, None], mt.tensor([1, 1])])
def test_a_cotangent_that_is_no_float_is_refused(gradient):
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="backward: gradient"):
        (x * 2).backward(gradient)


def test_a_cotangent_of_another_float_dtype_is_cast():
    x = leaf(1.0, 2.0, dtype=np.float32)
    (x * 2).backward(np.ones(2))
    assert x.grad.dtype == np.float32


def test_a_tensor_without_history_says_why():
    x = leaf(1.0)
    with mt.no_grad():
        unrecorded = x * 2
    for tensor, why in [
        (mt.tensor([1.0]), "requires_grad=True"),
        (mt.tensor([1.0]) * 2, "requires_grad=True"),
        (unrecorded, "no_grad"),
        (x.detach(), "detached"),
    ]:
        with pytest.raises(RuntimeError, match=rf"backward: .*shape \(1,\) does not require a gradient.*{why}"):
            tensor.backward()


@pytest.mark.parametrize("data", [[1, 2], [True], np.arange(3, dtype=np.uint8)])
def test_only_floats_can_require_a_gradient(data):
    with pytest.raises(TypeError, match=r"dtype (int64|bool|uint8) .*\.astype\(float\)"):
        mt.tensor(data, requires_grad=True)
    with pytest.raises(TypeError, match="cannot require a gradient"):
        mt.tensor(data).requires_grad_()


# --- higher orders ----------------------------------------------------------------------------------------


def derivatives(function, at, order):
    x = scalar(at)
    y = function(x)
    found = []
    for _ in range(order):
        y = mt.grad(y, x, create_graph=True)
        found.append(y.item())
    return found


def test_four_derivatives_of_a_fifth_power():
    x = 1.7
    expected = [5 * x**4, 20 * x**3, 60 * x**2, 120 * x]
    np.testing.assert_allclose(derivatives(lambda x: x**5, x, 4), expected, rtol=1e-14)
    np.testing.assert_allclose(derivatives(lambda x: x * x * x * x * x, x, 4), expected, rtol=1e-14)


def test_four_derivatives_of_the_hyperbolic_tangent():
    t = np.tanh(0.6)
    s = 1 - t * t
    expected = [s, -2 * t * s, s * (6 * t * t - 2), s * (16 * t - 24 * t**3)]
    np.testing.assert_allclose(derivatives(mt.tanh, 0.6, 4), expected, rtol=1e-13)


def test_backward_with_create_graph_leaves_a_gradient_that_can_be_differentiated():
    x = scalar(2)
    (x**3).backward(create_graph=True)
    first = x.grad
    assert first.item() == 12.0
    x.grad = None
    first.backward()
    assert x.grad.item() == 12.0


def test_a_gradient_without_create_graph_has_no_history():
    x = scalar(2)
    assert not mt.grad(x**3, x).requires_grad
    (x**3).backward()
    assert not x.grad.requires_grad
    assert x.grad.node is None


def test_a_gradient_penalty_reaches_the_weights():
    w, x = leaf(2.0, 3.0), leaf(1.0, -1.0)
    slope = mt.grad((w * x * x).sum(), x, create_graph=True)
    (slope * slope).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), 8 * w.numpy() * x.numpy() ** 2)


def test_the_cotangent_can_be_differentiated():
    x, u = leaf(1.0, 2.0), leaf(1.0, 1.0)
    first = mt.grad(x * x, x, u, create_graph=True)
    np.testing.assert_array_equal(mt.grad(first, u, [1.0, 10.0]).numpy(), [2.0, 40.0])


# --- grad() -----------------------------------------------------------------------------------------------


def test_grad_reaches_results_within_and_leaves_together():
    x = leaf(1.0, 2.0)
    inner = x * 3
    out = inner * inner
    d_inner, d_x, d_out = mt.grad(out, [inner, x, out], [1.0, 1.0])
    np.testing.assert_array_equal(d_inner.numpy(), 2 * inner.numpy())
    np.testing.assert_array_equal(d_x.numpy(), 6 * inner.numpy())
    np.testing.assert_array_equal(d_out.numpy(), [1.0, 1.0])


def test_grad_of_several_outputs_adds_them():
    x = scalar(3)
    shared = x * x
    assert mt.grad([shared, shared * 2, x], x).item() == 6 + 12 + 1
    assert mt.grad([shared, shared], x, [1.0, 10.0]).item() == 66.0
    with pytest.raises(ValueError, match="grad: 2 outputs but 1 cotangents"):
        mt.grad([shared, x], x, [1.0])


def test_an_unused_input_raises_unless_it_is_allowed():
    x, other = scalar(3), scalar(4)
    with pytest.raises(RuntimeError, match=r"do not depend on inputs \[1\].*allow_unused=True"):
        mt.grad(x * x, [x, other])
    assert [g and g.item() for g in mt.grad(x * x, [x, other], allow_unused=True)] == [6.0, None]


def test_branches_that_lead_to_no_wanted_input_are_not_walked():
    counted, seen = counting()
    x, other = leaf(1.0, 2.0), leaf(3.0, 4.0)
    out = x * counted(other) + counted(x * 1.0)
    np.testing.assert_array_equal(mt.grad(out, x, [1.0, 1.0]).numpy(), [4.0, 5.0])
    assert len(seen) == 1
    out.backward([1.0, 1.0])
    assert len(seen) == 3


def test_branches_without_gradient_are_not_walked():
    counted, seen = counting()
    constant, x = mt.tensor([1.0]), scalar(2)
    (counted(constant) * x).sum().backward()
    assert seen == []
    (counted(x).detach() * x).backward()
    assert seen == []


def test_rules_see_arrays_in_a_first_order_walk_and_tensors_in_a_recorded_one():
    counted, seen = counting()
    x = leaf(1.0, 2.0)
    out = counted(x).sum()
    mt.grad(out, x)
    mt.grad(out, x, create_graph=True)
    raw, recorded = seen
    assert all(isinstance(value, np.ndarray) for value in raw)
    assert all(isinstance(value, mt.Tensor) for value in recorded)


# --- values that changed after they were read -------------------------------------------------------------


def by_optimiser(w):
    w.grad = np.ones(w.shape)
    mt.optim.SGD([w], lr=0.1).step()


def by_data(w):
    w.data = np.zeros(w.shape)


def by_update(w):
    with mt.no_grad():
        w -= 0.1


@pytest.mark.parametrize("change", [by_optimiser, by_data, by_update])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_leaf_that_changed_after_it_was_read_is_refused(change, create_graph):
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    change(w)
    w.grad = None
    with pytest.raises(RuntimeError, match=r"multiply: .*shape \(2,\) was changed .*version 1, expected 0"):
        loss.backward(create_graph=create_graph)
    assert w.grad is None
    assert x.grad is None
    (w * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), w.numpy())


def test_a_change_before_the_leaf_is_read_is_fine():
    w = leaf(1.0, 2.0)
    by_data(w)
    loss = (w * w).sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [0.0, 0.0])


def test_a_constant_array_that_its_owner_changes_leaves_the_graph_alone():
    x, constant = leaf(1.0, 2.0), np.array([3.0, 4.0])
    index = np.array([0, 1])
    out = x * constant + x[index]
    constant[:] = 0
    index[:] = 0
    out.backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 5.0])


# --- operators in place -----------------------------------------------------------------------------------

IN_PLACE = {
    "+=": lambda x: x.__iadd__(2.0),
    "-=": lambda x: x.__isub__(2.0),
    "*=": lambda x: x.__imul__(2.0),
    "/=": lambda x: x.__itruediv__(2.0),
    "**=": lambda x: x.__ipow__(2.0),
}
RESULT = {"+=": 6.0, "-=": 2.0, "*=": 8.0, "/=": 2.0, "**=": 16.0}


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_in_place_on_a_leaf_under_no_grad_updates_it_and_counts_a_version(symbol):
    w = leaf(4.0)
    same, view = w, w.numpy()
    loss = w.sum()
    with mt.no_grad():
        w = IN_PLACE[symbol](w)
    assert w is same
    assert w.is_leaf
    assert w.requires_grad
    assert w.item() == RESULT[symbol]
    assert view.tolist() == [4.0]
    with pytest.raises(RuntimeError, match="version 1, expected 0"):
        loss.backward()


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_in_place_on_a_recorded_leaf_raises_and_names_both_ways(symbol):
    w = leaf(4.0)
    with pytest.raises(RuntimeError, match=r"no_grad\(\).*x = x "):
        IN_PLACE[symbol](w)
    assert w.item() == 4.0


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_in_place_on_another_tensor_makes_a_new_one(symbol):
    w = leaf(4.0)
    for start in (w * 1.0, mt.tensor([4.0])):
        held = start
        out = IN_PLACE[symbol](start)
        assert out is not held
        assert (held.item(), out.item()) == (4.0, RESULT[symbol])
    (w * 1.0).__iadd__(w).backward()
    assert w.grad.item() == 2.0


def test_in_place_keeps_shape_and_dtype():
    w = leaf(1.0, 2.0, dtype=np.float32)
    with mt.no_grad():
        w -= np.array([0.5, 0.5])
    assert w.dtype == np.float32
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot take a value of shape \(3, 2\)"), mt.no_grad():
        w += np.ones((3, 2))


def test_assignment_at_an_index_names_the_way_out():
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"mt\.where"):
        x[0] = 5.0


def test_an_array_does_not_take_a_tensor_in_place():
    array = np.ones(2)
    with pytest.raises(TypeError):
        array += mt.ones(2)
    np.testing.assert_array_equal(array, 1.0)


def test_only_leaves_take_a_value():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="made by <multiply> cannot be assigned to"):
        (x * 2).data = [1.0]


# --- recording on and off ---------------------------------------------------------------------------------


def test_no_grad_as_a_context_manager_nests_and_is_restored():
    x = scalar(1)
    with mt.no_grad():
        assert not (x * 2).requires_grad
        assert (x * 2).node is None
        with mt.enable_grad():
            assert (x * 2).requires_grad
            with mt.no_grad():
                assert not is_recording()
            assert is_recording()
        assert not is_recording()
    assert is_recording()


def test_one_object_can_be_entered_twice():
    off = mt.no_grad()
    with off:
        with off:
            assert not is_recording()
        assert not is_recording()
    assert is_recording()


@pytest.mark.parametrize("switch", [mt.no_grad, mt.enable_grad])
def test_recording_is_restored_after_an_exception(switch):
    with pytest.raises(KeyError), mt.no_grad(), mt.enable_grad(), switch():
        raise KeyError
    assert is_recording()


@pytest.mark.parametrize(("switch", "inside"), [(mt.no_grad, False), (mt.enable_grad, True)])
def test_the_switches_decorate_functions(switch, inside):
    @switch()
    def function(value, *, fail=False):
        """What it does."""
        if fail:
            raise KeyError
        return value, is_recording()

    with mt.no_grad():
        assert function(3) == (3, inside)
        assert not is_recording()
    assert function(3) == (3, inside)
    with pytest.raises(KeyError):
        function(3, fail=True)
    assert is_recording()
    assert (function.__name__, function.__doc__) == ("function", "What it does.")


def test_a_decorated_function_may_call_itself():
    @mt.no_grad()
    def depth(n):
        assert not is_recording()
        return 0 if n == 0 else 1 + depth(n - 1)

    assert depth(5) == 5
    assert is_recording()


def test_the_switches_decorate_generators():
    closed = []

    @mt.no_grad()
    def generator():
        try:
            got = yield is_recording()
            try:
                yield got, is_recording()
            except KeyError:
                yield "caught", is_recording()
            return "done"
        finally:
            closed.append(is_recording())

    running = generator()
    assert next(running) is False
    assert is_recording()
    assert running.send(7) == (7, False)
    assert running.throw(KeyError()) == ("caught", False)
    assert is_recording()
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "done"
    assert closed == [False]

    abandoned = generator()
    next(abandoned)
    abandoned.close()
    assert closed == [False, False]
    assert is_recording()


def test_the_switches_decorate_coroutines():
    @mt.no_grad()
    async def coroutine():
        await asyncio.sleep(0)
        return is_recording()

    @mt.no_grad()
    async def generator():
        yield is_recording()

    async def run():
        return [await coroutine(), [value async for value in generator()], is_recording()]

    assert asyncio.run(run()) == [False, [False], True]


def test_recording_is_per_thread():
    seen = []
    with mt.no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_recording()))
        thread.start()
        thread.join()
        assert not is_recording()
    inherits = bool(getattr(sys.flags, "thread_inherit_context", False))
    assert seen == [not inherits]

    entered, leave = threading.Event(), threading.Event()

    def hold():
        with mt.no_grad():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    assert is_recording()
    leave.set()
    thread.join()


def test_recording_is_per_task():
    async def off(started, other):
        with mt.no_grad():
            started.set()
            await other.wait()
            return is_recording()

    async def on(started, other):
        await other.wait()
        recording = is_recording()
        started.set()
        return recording

    async def both():
        a, b = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(off(a, b), on(b, a))

    assert asyncio.run(both()) == [False, True]


def test_disjoint_graphs_run_in_threads():
    totals = {}

    def work(k):
        x = scalar(k)
        for _ in range(200):
            (x * x).backward()
        totals[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == {k: 400.0 * k for k in range(1, 5)}


def test_the_walk_records_nothing_under_no_grad():
    x = scalar(2)
    y = x**3
    with mt.no_grad():
        assert not mt.grad(y, x).requires_grad
        assert mt.grad(y, x, create_graph=True).requires_grad
        y.backward()
    assert x.grad.item() == 12.0


# --- hooks and retained gradients -------------------------------------------------------------------------


def test_a_hook_sees_the_complete_gradient_once():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.numpy().tolist()))
    (x * x + x).backward([1.0, 1.0])
    assert seen == [[3.0, 5.0]]
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 5.0])


def test_a_hook_replaces_the_gradient_of_leaves_and_of_results():
    x = leaf(1.0, 2.0)
    inner = x * 3
    inner.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    inner.backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad.numpy(), [31.0, 31.0])


def test_a_hook_is_removed_by_what_registering_returned():
    x = scalar(1)
    calls = []
    remove = x.register_hook(lambda g: calls.append("first"))
    x.register_hook(lambda g: calls.append("second"))
    remove()
    remove()
    (x * 1).backward()
    assert calls == ["second"]


def test_a_hook_registered_twice_is_removed_once():
    x = scalar(1)
    calls = []

    def hook(g):
        calls.append(g.item())

    remove = x.register_hook(hook)
    x.register_hook(hook)
    remove()
    (x * 1).backward()
    assert calls == [1.0]


def test_hooks_take_part_in_higher_orders():
    x = scalar(2)
    y = x * x
    x.register_hook(lambda g: g * g)
    first = mt.grad(y, x, create_graph=True)
    assert first.item() == 16.0


@pytest.mark.parametrize(
    ("returned", "kind"),
    [(mt.ones(3), ValueError), (mt.ones(2), TypeError), (np.ones(2, np.float32), TypeError), (1.0, TypeError)],
)
def test_a_hook_that_returns_something_unfit_is_refused_and_nothing_is_added(returned, kind):
    x = leaf(1.0, 2.0, dtype=np.float32)
    x.register_hook(lambda g: returned)
    with pytest.raises(kind, match="hook"):
        (x * 2).sum().backward()
    assert x.grad is None


def test_a_result_keeps_its_gradient_when_asked():
    x = leaf(1.0, 2.0)
    kept = (x * 3).retain_grad()
    other = x * 2
    (kept * kept + other).backward([1.0, 1.0], retain_graph=True)
    np.testing.assert_array_equal(kept.grad.numpy(), 2 * kept.numpy())
    assert other.grad is None


def test_a_constant_has_no_gradient_to_keep_or_to_hook():
    constant = mt.tensor([1.0])
    with pytest.raises(RuntimeError, match=r"retain_grad: .*does not require a gradient"):
        constant.retain_grad()
    with pytest.raises(RuntimeError, match=r"register_hook: .*does not require a gradient"):
        constant.register_hook(print)


# --- shapes and dtypes of gradients -----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=3), st.integers(0, 2**32 - 1))
def test_gradients_are_summed_back_to_the_shapes_of_their_inputs(drawn, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in drawn.input_shapes]
    a, b, c = leaves = [mt.tensor(x, requires_grad=True) for x in arrays]
    out = a * b - c
    assert out.shape == drawn.result_shape
    g = rng.normal(size=out.shape)
    out.backward(g)
    x, y, _ = arrays
    for tensor, full in zip(leaves, (g * y, g * x, -g), strict=True):
        full = np.broadcast_to(full, out.shape)
        added = tuple(range(out.ndim - tensor.ndim))
        stretched = tuple(i for i, n in enumerate(tensor.shape, out.ndim - tensor.ndim) if n != out.shape[i])
        expected = full.sum(axis=(*added, *stretched), keepdims=True).reshape(tensor.shape)
        assert tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gradient_has_the_dtype_of_its_leaf(dtype):
    x, wide = leaf(1.0, 2.0, dtype=dtype), leaf(3.0, 4.0)
    mt.standardize((x * wide + x.mean()) ** 2, axis=0).backward([1.0, 2.0])
    assert x.grad.dtype == dtype
    assert wide.grad.dtype == np.float64


def test_a_gradient_that_is_set_must_fit():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot have a gradient of shape \(3,\)"):
        x.grad = np.ones(3)
    with pytest.raises(TypeError, match="dtype float64 cannot have a gradient of dtype float32"):
        x.grad = np.ones(2, np.float32)
    array = np.ones(2)
    x.grad = array
    array[:] = 7
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 1.0])


def test_why_a_tensor_has_no_gradient():
    leaf = mt.tensor([1.0], requires_grad=True)
    with mt.no_grad():
        unrecorded = leaf * 2
    reasons = {
        "requires_grad=True": mt.tensor([1.0]),
        "it was detached from its graph": (leaf * 2).detach(),
        r"it was made under mt\.no_grad\(\)": unrecorded,
    }
    for reason, tensor in reasons.items():
        with pytest.raises(RuntimeError, match=reason):
            tensor.backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_array_of_a_cotangent_may_be_used_again(create_graph):
    x = leaf(3.0, 5.0)
    g = np.array([1.0, 2.0])
    y = mt.reshape(x, (1, 2)) * x
    (dx,) = mt.grad(y, [x], g[None], create_graph=create_graph)
    mt.reshape(x, (2,)).backward(g, create_graph=create_graph)
    g[:] = 7
    assert dx.tolist() == [6.0, 20.0]
    assert x.grad.tolist() == [1.0, 2.0]
    if create_graph:
        assert mt.grad(mt.sum(dx), x).tolist() == [2.0, 4.0]


def test_a_picture_keeps_the_cotangent_of_its_walk():
    x = leaf(3.0, 5.0)
    g = np.array([1.0, 2.0])
    with keep_graphs():
        y = x * x
        y.backward(g)
    before = viz.render(Graph.from_tensor(y), "json", view="backward")
    g[:] = 7
    assert viz.render(Graph.from_tensor(y), "json", view="backward") == before
