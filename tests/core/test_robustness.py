"""What bad input, threads, interrupts and long runs get from the engine; one test a demand, here or elsewhere.

Demands that other files test in full:

- backward on a non-scalar, on a tensor without gradient, twice; adding up between steps:
  test_backprop: a_result_with_several_elements_needs_a_cotangent, a_result_with_one_element_needs_none,
  a_tensor_without_history_says_why, a_second_backward_says_that_the_graph_is_freed,
  retain_graph_adds_exactly_twice_on_leaves_and_nothing_within,
  gradients_add_up_between_steps_until_they_are_cleared;
  optim/test_optimizers: zero_grad_sets_none_and_forgetting_it_doubles
- a saved array is changed; operators in place: test_tensor: data_are_copied_in,
  what_comes_out_cannot_be_written_to; test_backprop: a_leaf_that_changed_after_it_was_read_is_refused,
  a_constant_array_that_its_owner_changes_leaves_the_graph_alone, and all in_place_… tests
- what can be a tensor: test_backprop: only_floats_can_require_a_gradient; test_tensor:
  what_would_lose_something_is_refused, a_matrix_is_refused, the_byte_order_is_made_native,
  only_plain_dtypes_can_be_asked_for; float16 statistics: ops/test_primitives: mean_of_float16_is_taken_in_float32
- beside NumPy: test_tensor: operators_and_their_reflections_follow_numpy,
  matrix_products_with_arrays_on_both_sides, asarray_gives_a_constant_and_refuses_what_requires_a_gradient;
  test_backprop: an_array_does_not_take_a_tensor_in_place
- shapes that do not fit, axes, empty means: ops/test_primitives: errors_name_the_operation_and_the_shapes
- zero roots, corners, powers at the edges, safe branches: ops/test_primitives: slope_at_a_corner,
  power_follows_numpy_at_the_edges, nan_in_the_branch_not_taken_survives_unless_the_argument_is_made_safe
- a gradient that does not fit: test_backprop: a_cotangent_of_another_shape_is_refused,
  a_cotangent_that_is_no_float_is_refused, a_gradient_that_is_set_must_fit,
  a_rule_that_returns_a_gradient_of_a_wrong_shape_is_named
- views: test_tensor: indexing_is_numpys_and_its_gradient_counts_each_element;
  ops/test_primitives: views_with_any_strides
- recording per thread and per task, restored, as decorator: test_backprop: recording_is_per_thread,
  recording_is_per_task, recording_is_restored_after_an_exception, the_switches_decorate_…
- copying: test_tensor: leaves_copy_and_pickle, results_say_to_detach_first
- cycles: ops/test_primitives: forward_and_backward_of_every_primitive_make_no_reference_cycle; test_backprop:
  a_graph_dies_with_its_last_reference_without_the_cyclic_collector
- Python's protocols: test_tensor: one_element_is_a_number and the tests around it
"""

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import microtensor as mt
from microtensor.core import backprop as engine
from microtensor.core.primitive import primitive
from microtensor.primitive import is_recording
from tests.table import TABLE, sum_to

PRIMITIVES = mt.ops.primitives
CALLS = [
    pytest.param(name, call, id=f"{name}-{i}")
    for name, row in TABLE.items()
    if not row.flat
    for i, call in enumerate(row.calls)
]
ENGINE = engine.__file__


def leaf(*values, dtype=np.float64):
    return mt.tensor(np.array(values, dtype), requires_grad=True)


def leaves_of(name, call):
    arrays = call.arrays(TABLE[name].domain)
    return [mt.tensor(x, requires_grad=True) if i in call.drawn() else x for i, x in enumerate(arrays)]


def child(program, *arguments, **options):
    """A process of its own, unmeasured: an interrupt inside a measuring tool proves nothing and may hang it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.Popen(command, text=True, env=environment, **options)


# --- long graphs ------------------------------------------------------------------------------------------

MILLION = """
import sys, time, weakref
import microtensor as mt
assert sys.getrecursionlimit() == 1000
x = mt.tensor(1.0, requires_grad=True)
start = time.perf_counter()
y = x
for _ in range(1_000_000):
    y = y + x
built = time.perf_counter()
y.backward(retain_graph=True)
walked = time.perf_counter()
assert x.grad.item() == 1_000_001.0
assert repr(y) == "tensor(1000001., node=<add>)"
first = y.node.inputs[0].node.inputs[0]
alive = weakref.ref(first)
freed = time.perf_counter()
del first, y
assert alive() is None
end = time.perf_counter()
print(f"forward {built - start:.2f} s, backward {walked - built:.2f} s, deallocation {end - freed:.2f} s")
"""


@pytest.mark.slow
def test_a_chain_of_a_million_operations_is_built_walked_and_freed():
    """The times show with ``pytest -rP``."""
    run = child(MILLION)
    assert run.wait(300) == 0


# --- freed graphs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_through_a_result_that_another_backward_freed_is_refused(create_graph):
    x = leaf(1.0, 2.0)
    shared = x * x
    first, second = shared.sum(), (shared * x).sum()
    first.backward()
    with pytest.raises(RuntimeError, match=r"graph of multiply .*freed"):
        mt.grad(second, x, create_graph=create_graph)


# --- threads ----------------------------------------------------------------------------------------------


def trained(seed):
    """The parameters of a small network after a few steps."""
    rng = np.random.default_rng(seed)
    x, w, v = (mt.tensor(rng.normal(size=shape), requires_grad=True) for shape in [(6, 4), (4, 5), (5, 2)])
    for _ in range(10):
        w.grad = v.grad = None
        loss = mt.cross_entropy(mt.tanh(mt.standardize(x @ w, axis=0)) @ v, [0, 1, 0, 1, 1, 0])
        loss.backward()
        with mt.no_grad():
            w -= 0.1 * w.grad
            v -= 0.1 * v.grad
    return np.concatenate([x.grad.numpy().ravel(), w.numpy().ravel(), v.numpy().ravel()])


@pytest.fixture
def hasty():
    """Threads that change places as often as the interpreter allows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_disjoint_graphs_in_eight_threads_give_what_they_give_in_one(hasty):
    serial = [trained(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(trained, range(8)))
    np.testing.assert_array_equal(threaded, serial)


def test_one_graph_in_two_threads_gives_the_right_gradient_or_says_freed(hasty):
    """One has added the whole gradient, the other says why it did not; nothing in between."""
    for _ in range(300):
        x = leaf(1.0)
        y = x
        for _ in range(10):
            y = y * 1.0 + x
        start, done, refused = threading.Barrier(2), [], []

        def walk(out=y, start=start, done=done, refused=refused):
            start.wait(10)
            try:
                out.backward()
            except RuntimeError as error:
                refused.append(str(error))
            else:
                done.append(True)

        threads = [threading.Thread(target=walk) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert done
        assert len(done) + len(refused) == 2
        assert all("freed" in message for message in refused)
        assert len(done) == 1
        assert x.grad.item() == 11.0


def test_a_leaf_that_eight_threads_share_misses_no_gradient(hasty):
    x = leaf(1.0, 2.0)

    def work(k):
        for _ in range(50):
            (x * float(k)).sum().backward()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    np.testing.assert_array_equal(x.grad.numpy(), 50.0 * sum(range(8)))


# --- interrupts -------------------------------------------------------------------------------------------


def fragile(fail_at):
    """An identity whose rule is interrupted at its `fail_at`-th call."""
    calls = []

    def rule(g, y, x):
        calls.append(1)
        if len(calls) - 1 == fail_at[0]:
            raise KeyboardInterrupt
        return g * 1.0

    return primitive("fragile", lambda x: x * 1.0, rule), calls


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_interrupt_at_any_operation_changes_nothing_and_a_retry_works(create_graph):
    fail_at = [-1]
    odd, calls = fragile(fail_at)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    first, second = odd(a) * odd(b), odd(odd(a) + b)
    out = (odd(first) * odd(second) + odd(a)).sum()
    expected = [b.numpy() * (2 * a.numpy() + b.numpy()) + 1, a.numpy() * (a.numpy() + 2 * b.numpy())]
    (a * b).sum().backward()
    held = a.grad, b.grad
    values = [g.numpy().copy() for g in held]
    for k in range(7):
        fail_at[0] = k
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            out.backward(create_graph=create_graph)
        assert a.grad is held[0]
        assert b.grad is held[1]
        np.testing.assert_array_equal([a.grad.numpy(), b.grad.numpy()], values)
    fail_at[0] = -1
    out.backward(create_graph=create_graph)
    np.testing.assert_array_equal([a.grad.numpy(), b.grad.numpy()], np.add(values, expected))


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line that the engine executes."""

    def __init__(self, n):
        self.left = n

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != ENGINE:
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def unchanged_or_complete(out, leaves, held, expected):
    """After an interrupted backward: nothing has happened and a retry works, or everything has."""
    if all(x.grad is g for x, g in zip(leaves, held, strict=True)):
        out.backward()
    else:
        with pytest.raises(RuntimeError, match="freed"):
            out.backward()
    for x, g in zip(leaves, expected, strict=True):
        np.testing.assert_array_equal(x.grad.numpy(), g)


def test_an_interrupt_at_any_line_of_a_backward_pass_is_all_or_nothing():
    n = 0
    while True:
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (a * 2).sum().backward()
        held = a.grad, b.grad
        out = (a * b * a).sum()
        trace = sys.gettrace()
        try:
            # The lines end blocks too, also NumPy's, which has to be left as it was.
            with np.errstate(all="warn"):
                sys.settrace(Interrupter(n))
                out.backward()
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        finally:
            sys.settrace(trace)
            # Unlike a signal, a trace function can raise in the line that would give the lock back.
            engine.renew_lock()
        if not interrupted:
            break
        unchanged_or_complete(out, (a, b), held, [2 + 2 * a.numpy() * b.numpy(), a.numpy() ** 2])
        n += 1
    assert n > 100


CTRL_C = """
import os, signal, sys, time
import numpy as np
import microtensor as mt
signal.signal(signal.SIGINT, signal.default_int_handler)
kinds = {"nothing": 0, "everything": 0}
for _ in range(int(sys.argv[1])):
    leaves = [mt.tensor([1.0, float(i)], requires_grad=True) for i in range(20)]
    out = leaves[0]
    for x in leaves * 20:
        out = out * 0.5 + x
    out = out.sum()
    expected = mt.grad(out, leaves)
    errors = np.geterr()
    try:
        os.write(1, b"go\\n")
        out.backward()
        # In short pieces: a signal that comes just before the system call does not end it.
        for _ in range(30_000):
            time.sleep(0.001)
        sys.exit("no signal came")
    except KeyboardInterrupt:
        pass
    assert np.geterr() == errors
    with_gradient = sum(x.grad is not None for x in leaves)
    assert with_gradient in (0, len(leaves)), with_gradient
    kinds["everything" if with_gradient else "nothing"] += 1
    try:
        out.backward()
        assert not with_gradient
    except RuntimeError as error:
        assert with_gradient and "freed" in str(error), error
    for x, g in zip(leaves, expected):
        assert np.array_equal(x.grad.numpy(), g.numpy())
print(kinds, file=sys.stderr)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process")
@pytest.mark.parametrize("rounds", [50, pytest.param(150, marks=pytest.mark.slow)])
def test_ctrl_c_in_a_backward_pass_is_all_or_nothing(rounds):
    delays = random.Random(5)
    run = child(CTRL_C, str(rounds), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watchdog = threading.Timer(60, run.kill)
    watchdog.start()
    for line in run.stdout:
        assert line == "go\n"
        time.sleep(delays.uniform(0, 0.002))
        run.send_signal(signal.SIGINT)
    watchdog.cancel()
    errors = run.stderr.read()
    assert run.wait(60) == 0, errors
    run.stdout.close()
    run.stderr.close()


CTRL_C_FORWARD = """
import os, random, signal, sys, threading, time
import numpy as np
import microtensor as mt
from microtensor.primitive import is_recording
signal.signal(signal.SIGINT, signal.default_int_handler)
x, delays, errors = mt.tensor([1.0, 2.0], requires_grad=True), random.Random(7), np.geterr()
for round in range(int(sys.argv[1])):
    delay = delays.uniform(0, 0.003)
    def interrupt():
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        while True:
            x * 1.0
    except KeyboardInterrupt:
        thread.join()
    assert np.geterr() == errors, (round, np.geterr())
    assert is_recording()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process")
@pytest.mark.parametrize("rounds", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_ctrl_c_in_a_forward_pass_leaves_numpys_warnings_as_they_were(rounds):
    run = child(CTRL_C_FORWARD, str(rounds), stderr=subprocess.PIPE)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors


# --- memory -----------------------------------------------------------------------------------------------


def test_second_order_of_every_primitive_makes_no_reference_cycle():
    def run():
        for name, row in TABLE.items():
            for call in row.calls if not row.flat else ():
                leaves = leaves_of(name, call)
                out = PRIMITIVES[name](*leaves, **call.params)
                mt.grad(out, [leaves[i] for i in call.drawn()], np.ones(out.shape), create_graph=True)

    run()  # What is imported on demand leaves cycles of the import's own.
    np.testing.assert_no_gc_cycles(run)


@pytest.mark.slow
def test_memory_is_flat_over_a_thousand_training_steps():
    """Python's and NumPy's allocations, with the cyclic collector off."""
    rng = np.random.default_rng(0)
    net = mt.nn.Sequential(mt.nn.Linear(4, 8), mt.nn.BatchNorm1d(8), mt.nn.ReLU(), mt.nn.Linear(8, 2))
    optimiser = mt.optim.Adam(net.parameters(), lr=1e-3)
    x = rng.normal(size=(16, 4))
    labels = rng.integers(0, 2, 16)

    def step():
        optimiser.zero_grad()
        mt.cross_entropy(net(mt.tensor(x)), labels).backward()
        optimiser.step()

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        # NumPy keeps a limited stock of freed memory, which has to fill up first; Python gives its own back when
        # garbage is collected, of which there must be none.
        held, objects = [], []
        for steps in (500, 250, 250, 250, 250):
            for _ in range(steps):
                step()
            assert gc.collect() == 0
            held.append(tracemalloc.get_traced_memory()[0])
            objects.append(len(gc.get_objects()))
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(set(objects[1:])) == 1, "tensors, records and whatever else the collector knows"
    # Arrays it does not know; the smallest takes 96 bytes. What the stock still grows by is less than a sixth of that.
    assert min(after - before for before, after in pairwise(held)) < 250 * 16


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_no_gradient_of_any_primitive_shares_memory(name, call, create_graph):
    arguments = leaves_of(name, call)
    out = PRIMITIVES[name](*arguments, **call.params).retain_grad()
    seed, given = np.ones(out.shape), mt.ones(out.shape)
    tensors = [t for t in (*arguments, out) if isinstance(t, mt.Tensor)]
    owned = [seed, given.numpy(), *(t.numpy() for t in tensors), *(x for x in arguments if isinstance(x, np.ndarray))]
    for cotangent in (seed, given):
        for t in tensors:
            t.grad = None
        out.backward(cotangent, retain_graph=True, create_graph=create_graph)
        gradients = [t.grad.numpy() for t in tensors]
        for i, g in enumerate(gradients):
            assert not any(np.shares_memory(g, other) for other in (*owned, *gradients[:i]))


# --- other processes --------------------------------------------------------------------------------------


def slopes(x):
    """What a worker sends back: the gradient, and whether it was recording."""
    (x * x * x).sum().backward()
    return x.grad, is_recording()


STARTS = [s for s in ("fork", "spawn") if s in multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize("start", STARTS)
def test_leaves_travel_to_other_processes_and_gradients_back(start):
    leaves = [mt.tensor([1.0, float(i)], requires_grad=True, name=f"x{i}") for i in range(4)]
    with multiprocessing.get_context(start).Pool(2) as pool:
        answers = pool.map_async(slopes, leaves).get(60)
    for x, (g, recording) in zip(leaves, answers, strict=True):
        assert recording
        assert x.grad is None
        np.testing.assert_array_equal(g.numpy(), 3 * x.numpy() ** 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_walks_the_graph_of_its_parent():
    code = """
import os, sys
import microtensor as mt
x = mt.tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
with mt.no_grad():
    pid = os.fork()
    recorded = (x * 1.0).requires_grad
if recorded:
    os._exit(1)
y.backward()
right = x.grad.numpy().tolist() == [2.0, 4.0]
if pid == 0:
    os._exit(0 if right else 2)
assert right
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    assert child(code).wait(60) == 0


# --- shapes and dtypes ------------------------------------------------------------------------------------

BINARY = [name for name, row in TABLE.items() if row.elementwise and len(row.calls[0].drawn()) == 2]


@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=10, deadline=None)
@given(drawn=mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3), seed=st.integers(0, 999))
def test_the_gradient_of_a_broadcast_argument_is_the_sum_over_its_copies(name, drawn, seed):
    rng = np.random.default_rng(seed)
    op = PRIMITIVES[name]
    arrays = [rng.uniform(0.5, 2, size=shape) for shape in drawn.input_shapes]
    small = [mt.tensor(x, requires_grad=True) for x in arrays]
    full = [mt.tensor(np.broadcast_to(x, drawn.result_shape), requires_grad=True) for x in arrays]
    g = rng.normal(size=drawn.result_shape)
    op(*small).backward(g)
    op(*full).backward(g)
    for x, y in zip(small, full, strict=True):
        assert x.grad.shape == x.shape
        np.testing.assert_allclose(x.grad.numpy(), sum_to(y.grad.numpy(), x.shape), rtol=1e-12, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(drawn=mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=3), seed=st.integers(0, 999))
def test_where_sends_each_gradient_to_the_branch_that_was_taken(drawn, seed):
    rng = np.random.default_rng(seed)
    chosen, *branches = drawn.input_shapes
    condition = rng.random(chosen) < 0.5
    a, b = (mt.tensor(rng.normal(size=shape), requires_grad=True) for shape in branches)
    g = rng.normal(size=drawn.result_shape)
    mt.where(condition, a, b).backward(g)
    for x, taken in ((a, condition), (b, ~condition)):
        expected = sum_to(np.where(np.broadcast_to(taken, g.shape), g, 0.0), x.shape)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mixed", [("float16", "float32"), ("float32", "float64"), ("float16", "float64")])
@pytest.mark.parametrize("order", [1, -1])
def test_each_gradient_has_the_dtype_of_its_leaf_when_dtypes_mix(mixed, order):
    a, b = (leaf(1.0, 2.0, dtype=dtype) for dtype in mixed[::order])
    out = (a * b + a).sum()
    assert out.dtype == mixed[1]
    out.backward()
    for x in (a, b):
        assert x.grad.dtype == x.dtype
    np.testing.assert_array_equal(a.grad.numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 2.0])


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_take_part_as_constants(dtype):
    x, n = leaf(1.5, 2.5), mt.tensor([1, 0], dtype=dtype)
    (x * n).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 0.0])
    assert n.grad is None


# --- statistics and powers at the edges -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "correction"), [((3,), None, 3), ((2, 3), 0, 2), ((2, 1), 1, 1), ((), None, 1)]
)
@pytest.mark.parametrize("function", [mt.var, mt.std])
def test_a_correction_needs_more_elements_than_itself(function, shape, axis, correction):
    with pytest.raises(
        ValueError, match=rf"{function.__name__}: correction is {correction}; it must be less than {correction}"
    ):
        function(mt.ones(shape), axis=axis, correction=correction)
    if correction > 1:
        assert function(mt.ones(shape), axis=axis, correction=correction - 0.5).numpy().sum() == 0


@pytest.mark.parametrize("function", [mt.mean, mt.var, mt.std])
def test_statistics_of_nothing_are_refused(function):
    for shape, axis in [((0,), None), ((2, 0), 1), ((0, 3), 0)]:
        with pytest.raises(ValueError, match=rf"^{function.__name__}: shape .* has no elements"):
            function(mt.ones(shape, requires_grad=True), axis=axis)


def test_the_sum_of_nothing_is_zero_and_its_gradient_empty():
    x = mt.zeros((2, 0), requires_grad=True)
    total = x.sum()
    assert total.item() == 0.0
    total.backward()
    assert x.grad.shape == (2, 0)


def test_the_gradient_of_std_is_nan_at_a_constant_and_that_of_standardize_is_not():
    x = leaf(2.0, 2.0, 2.0)
    assert np.isnan(mt.grad(mt.std(x), x).numpy()).all()
    np.testing.assert_array_equal(mt.grad(mt.standardize(x, axis=0), x, np.ones(3)).numpy(), 0.0)


@pytest.mark.parametrize(
    ("base", "exponent", "value", "d_base", "d_exponent"),
    [
        (0.0, 0.0, 1.0, 0.0, 0.0),
        (0.0, 0.5, 0.0, np.inf, 0.0),
        (0.0, -1.0, np.inf, -np.inf, np.nan),
        (-8.0, 1 / 3, np.nan, np.nan, np.nan),
        (-2.0, 2.0, 4.0, -4.0, np.nan),
    ],
)
def test_powers_at_zero_and_below_pass_quietly(base, exponent, value, d_base, d_exponent):
    """Warnings are errors in these tests."""
    a, b = leaf(base), leaf(exponent)
    out = a**b
    out.backward()
    np.testing.assert_array_equal([out.item(), a.grad.item()], [value, d_base])
    if not (base == 0 and exponent < 0):
        np.testing.assert_array_equal(b.grad.item(), d_exponent)


def test_nan_and_infinity_pass_through_a_backward_pass_without_a_warning():
    x = leaf(np.nan, np.inf, 0.0, -1.0)
    out = mt.log(x) + mt.sqrt(x) + 1 / x + mt.exp(x * 1e6)
    out.backward(np.ones(4))
    assert np.isnan(x.grad.numpy()[[0, 3]]).any()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.log(np.zeros(1))
