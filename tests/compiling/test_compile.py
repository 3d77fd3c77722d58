"""mt.compile: every norm, higher derivatives, views, guards, state, and what cannot be compiled."""

import copy
import functools
import gc
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import types
import warnings
import weakref

import numpy as np
import pytest

import microtensor as mt
from microtensor import compiling, norms, viz
from microtensor.compiling import CompileError
from tests.compiling.backends import BACKENDS, compiled_by, needs_numba

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "batch_norm.source"


def batch(x, weight, bias):
    return norms.batch_norm(x, weight=weight, bias=bias, training=True)


def layer(x, weight, bias):
    return norms.layer_norm(x, x.shape[-1:], weight, bias)


# Each norm of AXES that is made of sums and functions of each element: how it is called, and the shapes of γ and β.
CHANNELS, FEATURES = (lambda s: s[1:2]), (lambda s: s[-1:])
NORMS = {
    "batch_norm": (batch, CHANNELS, 2),
    "layer_norm": (layer, FEATURES, 2),
    "instance_norm": (lambda x, w, b: norms.instance_norm(x, weight=w, bias=b), CHANNELS, 2),
    "group_norm": (lambda x, w, b: norms.group_norm(x, x.shape[1], w, b), CHANNELS, 2),
    "rms_norm": (lambda x, w: norms.rms_norm(x, x.shape[-1:], w), FEATURES, 1),
    "ghost_batch_norm": (
        lambda x, w, b: norms.ghost_batch_norm(x, x.shape[0], weight=w, bias=b, training=True),
        CHANNELS,
        2,
    ),
    "filter_response_norm": (norms.filter_response_norm, CHANNELS, 3),
    "scale_norm": (norms.scale_norm, lambda s: (), 1),
    "weight_standardize": (norms.weight_standardize, FEATURES, 0),
    "weight_norm": (lambda v, g: norms.weight_norm(v, mt.reshape(g, (-1, 1, 1)), dim=0), lambda s: s[:1], 1),
}
SHAPES = [(4, 3, 5), (1, 3, 5), (7, 1, 9), (3, 5, 4), (2, 6, 33)]
# These multiply matrices, or slide windows: they are compiled in parts.
APART = {
    "whiten": (lambda x: norms.whiten(x, training=True), ((6, 4, 3),)),
    "spectral_norm": (lambda x, u, v: norms.spectral_norm(x, u, v, 0), ((6, 4, 3), (6,), (12,))),
    "local_response_norm": (lambda x: norms.local_response_norm(x, 3), ((6, 4, 3),)),
}


def arrays_for(name, shape, dtype, seed=3):
    draws = np.random.default_rng(seed)
    _, small, count = NORMS[name]
    return [
        (draws.standard_normal(s) * 1.5 + 0.5).astype(dtype) for s in (shape, *(small(shape) for _ in range(count)))
    ]


def both(fn, fast, arrays, seed=5):
    """What a function and its compiled form compute: results and gradients as arrays."""
    found = []
    for call in (fn, fast):
        xs = [mt.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
        y = call(*xs)
        g = np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)
        grads = mt.grad(y, [x for x in xs if x.requires_grad], mt.tensor(g), allow_unused=True)
        found.append([y.numpy(), *(None if d is None else d.numpy() for d in grads)])
    return found


def assert_close(fn, fast, arrays, tolerance):
    expected, found = both(fn, fast, arrays)
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0))))


def test_every_norm_is_compiled_here():
    # Batch renormalization has running statistics, which it moves: it has a test of its own.
    assert set(NORMS) | set(APART) | {"batch_renorm"} == set(norms.AXES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NORMS)
def test_every_norm_in_float64_is_the_composition(name, shape):
    fn = NORMS[name][0]
    for backend in ("numpy", "python"):
        fast = compiled_by(fn, backend)
        assert_close(fn, fast, arrays_for(name, shape, np.float64), 1e-12)
        assert fast.why == ""


@needs_numba
@pytest.mark.parametrize("name", NORMS)
def test_every_norm_in_machine_code(name):
    fn = NORMS[name][0]
    fast = compiled_by(fn, "numba")
    assert_close(fn, fast, arrays_for(name, (2, 6, 33), np.float64), 1e-12)
    assert fast.why == ""


@pytest.mark.parametrize("name", NORMS)
def test_float32_is_as_accurate_as_the_composition(name):
    fn, shape = NORMS[name][0], (8, 16, 33)
    arrays = arrays_for(name, shape, np.float32)
    exact, _ = both(fn, fn, [x.astype(np.float64) for x in arrays])
    for backend in ("numpy", "python"):
        fast = compiled_by(fn, backend)
        eager, found = both(fn, fast, arrays)
        assert fast.why == ""
        for a, b, e in zip(found, eager, exact, strict=True):
            scale = np.abs(e).max()
            # Eight ulp are granted where the composition happens to be exact.
            assert np.abs(a - e).max() <= 2 * np.abs(b - e).max() + 8 * np.finfo(np.float32).eps * scale


@pytest.mark.parametrize("name", NORMS)
def test_float16_runs_the_composition_and_says_why(name):
    fn = NORMS[name][0]
    fast = compiled_by(fn, "numpy")
    arrays = arrays_for(name, (4, 3, 5), np.float16)
    expected, found = both(fn, fast, arrays)
    assert "float16" in fast.why
    assert all((a is b is None) or np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", APART)
def test_norms_of_other_operations_are_compiled_in_parts(name):
    fn, shapes = APART[name]
    draws = np.random.default_rng(0)
    for backend in ("numpy", "python"):
        fast = compiled_by(fn, backend)
        assert_close(fn, fast, [draws.standard_normal(s) for s in shapes], 1e-11)
        assert fast.why == ""


FUNCTIONS = {
    "softmax": mt.softmax,
    "log_softmax": lambda x: mt.log_softmax(x, 0),
    "gelu": mt.gelu,
    "gelu of tanh": lambda x: mt.gelu(x, approximate="tanh"),
    "silu": mt.silu,
    "elu": mt.elu,
    "leaky_relu": mt.leaky_relu,
    "hardtanh": mt.hardtanh,
    "mish": mt.mish,
    "var": lambda x: mt.var(x, 0),
    "logsumexp": lambda x: mt.log(mt.sum(mt.exp(x), 1)),
    "softmax of softmax": lambda x: mt.softmax(mt.softmax(x, 0), 1),
    "arctan": mt.arctan,
    "power": lambda x: mt.power(mt.abs(x) + 0.5, 2.5),
    "mean of all": lambda x: mt.mean(mt.square(x)),
}


@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_chains_of_sums_and_activations_compile(name, shape):
    fn = FUNCTIONS[name]
    for backend in ("numpy", "python"):
        fast = compiled_by(fn, backend)
        assert_close(fn, fast, [np.random.default_rng(1).standard_normal(shape)], 1e-12)
        assert fast.why == ""


def test_cross_entropy_compiles_as_a_composition_of_log_softmax():
    def loss(x, target):
        return -mt.mean(mt.sum(mt.log_softmax(x) * target, axis=-1))

    draws = np.random.default_rng(2)
    x, classes = draws.standard_normal((6, 5)), draws.integers(0, 5, 6)
    fast = compiled_by(loss, "numpy")
    assert_close(loss, fast, [x, np.eye(5)[classes]], 1e-12)
    value = fast(mt.tensor(x), mt.tensor(np.eye(5)[classes])).item()
    assert value == pytest.approx(mt.cross_entropy(mt.tensor(x), classes).item(), rel=1e-12)


def test_a_norm_invented_here_compiles():
    def cubic_norm(x, gain):
        middle = (mt.max(mt.stop_gradient(x), axis=0, keepdims=True) + mt.mean(x, axis=0, keepdims=True)) * 0.5
        d = x - middle
        size = mt.power(mt.mean(mt.abs(d) * mt.square(d), axis=0, keepdims=True) + 1e-3, 1 / 3)
        return d / size * gain + mt.tanh(mt.sum(d / size, axis=1, keepdims=True))

    draws = np.random.default_rng(0)
    arrays = [draws.standard_normal((9, 5)), draws.standard_normal(5)]
    for backend in ("numpy", "python"):
        fast = compiled_by(cubic_norm, backend)
        assert_close(cubic_norm, fast, arrays, 1e-11)
        assert fast.why == ""


def test_nothing_in_the_room_knows_a_norm():
    words = {word for name in norms.AXES for word in (name, name.replace("_", " "))} | {
        "variance",
        "var(",
        "ops.var",
        "core.var",
    }
    for path in pathlib.Path(compiling.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path.name


# --- the source ---------------------------------------------------------------------------------------------


def test_the_source_of_batch_norm_is_the_golden_one():
    draws = np.random.default_rng(0)
    sources = []
    for _ in range(2):
        fast = mt.compile(batch, backend="numpy")
        fast(*(mt.tensor(draws.standard_normal(s), requires_grad=True) for s in ((128, 16), (16,), (16,))))
        sources.append(fast.source)
    assert sources[0] == sources[1] == GOLDEN.read_text(encoding="utf-8")


def test_the_source_is_numpy_that_computes_the_same():
    draws = np.random.default_rng(0)
    arrays = [draws.standard_normal(s) for s in ((12, 5), (5,), (5,))]
    xs = [mt.tensor(x, requires_grad=True) for x in arrays]
    fast = mt.compile(batch, backend="numpy")
    y = fast(*xs)
    namespace = dict(vars(np))
    exec(fast.source, namespace)
    x, weight, bias = arrays[0], arrays[1][None], arrays[2][None]
    forward, *saved = namespace["forward"](x, weight, bias)
    np.testing.assert_allclose(forward, y.numpy(), rtol=1e-13)
    g = draws.standard_normal(y.shape)
    grads = mt.grad(y, xs, mt.tensor(g))
    dbias, dweight, dx = namespace["backward"](x, g, *saved)
    for a, b in zip((dx, dweight[0], dbias[0]), grads, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-11, atol=1e-13)


NAMES = [
    "x",
    "x1",
    "dx",
    "r2",
    "i0",
    "i",
    "v1",
    "s1",
    "s1_w",
    "v_n",
    "g",
    "y",
    "y0",
    "m1",
    "real",
    "one",
    "part",
    "add",
]
NAMES += ["np", "math", "in1", "j0", "lambda_", "é", "_", "x_", "self"]


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_arguments_may_have_any_name(backend):
    terms = " + ".join(f"{name} * {k + 1}.0 * mt.mean({name})" for k, name in enumerate(NAMES))
    fn = eval(f"lambda {', '.join(NAMES)}: ({terms}) / mt.sum(x, axis=0, keepdims=True)", {"mt": mt})
    arrays = [np.random.default_rng(k).uniform(0.5, 1.5, (3, 2)) for k in range(len(NAMES))]
    fast = compiled_by(fn, backend)
    assert_close(fn, fast, arrays, 1e-12)
    assert fast.why == ""


def test_without_a_call_there_is_no_source():
    with pytest.raises(RuntimeError, match="no source yet: call it once"):
        _ = mt.compile(batch, backend="numpy").source


# --- derivatives of higher order, memory ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_are_those_of_the_composition(backend):
    draws = np.random.default_rng(0)
    arrays = [draws.standard_normal(s) for s in ((6, 3), (3,), (3,))]
    found = []
    for call in (batch, compiled_by(batch, backend)):
        xs = [mt.tensor(x, requires_grad=True) for x in arrays]
        # The weight depends on x, so a walk that went on from x would count its part twice.
        weight = xs[1] + mt.sum(xs[0], axis=0)
        g = mt.tensor(draws.standard_normal((6, 3)) * 0 + 1.5, requires_grad=True)
        first = mt.grad(call(xs[0], weight, xs[2]) ** 2, [xs[0], weight], g, create_graph=True)
        second = mt.grad(mt.sum(first[0] ** 2) + mt.sum(first[1] * xs[0]), [xs[0], xs[1], g])
        found.append([d.numpy() for d in (*first, *second)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_gradcheck_and_gradgradcheck_of_a_compiled_function():
    draws = np.random.default_rng(0)
    xs = [mt.tensor(draws.standard_normal(s), requires_grad=True) for s in ((4, 3), (3,), (3,))]
    fast = mt.compile(batch, backend="numpy", strict=True)
    assert mt.gradcheck(fast, xs)
    assert mt.gradgradcheck(fast, xs)


def test_a_module_applied_twice_in_a_row():
    module = mt.nn.LayerNorm(4)
    fast, x = mt.compile(module, backend="numpy", strict=True), np.random.default_rng(0).standard_normal((5, 4))
    found = []
    for call in (module, fast):
        module.zero_grad()
        leaf = mt.tensor(x, requires_grad=True)
        inner = mt.grad(mt.sum(mt.tanh(call(call(leaf))) * leaf), [leaf, module.weight], create_graph=True)
        mt.sum(inner[0] ** 2).backward()
        found.append([leaf.grad.numpy(), module.weight.grad.numpy(), *(d.numpy() for d in inner)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_the_forward_pass_saves_dies_with_the_inputs():
    fast = mt.compile(lambda x: mt.softmax(x), backend="numpy", strict=True)
    x = mt.tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
    y = fast(x)
    saved = weakref.ref(next(iter(y.node.inputs[-1].arrays.values())))
    mt.sum(y).backward()
    gc.collect()
    assert y.node.inputs == ()
    assert saved() is None
    with pytest.raises(RuntimeError, match="freed"):
        mt.sum(y).backward()


def test_retained_graphs_go_back_twice_and_add():
    fast = mt.compile(batch, backend="numpy", strict=True)
    xs = [mt.tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True) for s in ((4, 3), (3,), (3,))]
    y = mt.sum(fast(*xs) ** 2)
    y.backward(retain_graph=True)
    once = xs[0].grad.numpy().copy()
    y.backward()
    np.testing.assert_allclose(xs[0].grad.numpy(), 2 * once)


def test_the_joint_rule_runs_the_kernel_once():
    fast = mt.compile(batch, backend="numpy", strict=True)
    xs = [mt.tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True) for s in ((4, 3), (3,), (3,))]
    y = fast(*xs)
    calls = []
    program = y.node.primitive.program
    run = program.backwards[0]
    program.backwards[0] = lambda arrays: calls.append(1) or run(arrays)
    mt.sum(y * y).backward()
    assert calls == [1]


def test_an_input_that_a_result_does_not_depend_on_gets_no_gradient():
    fast = mt.compile(lambda a, b: (a * 2.0, b + 1.0), backend="numpy", strict=True)
    a, b = (mt.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    y, z = fast(a, b)
    mt.sum(y).backward()
    assert b.grad is None
    np.testing.assert_array_equal(a.grad.numpy(), [2.0, 2.0])
    mt.sum(z).backward()
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 1.0])


def test_the_kind_of_result_is_kept():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    for fn, kind in ((lambda x: (x, x * 2), tuple), (lambda x: [x + 1], list)):
        fast = mt.compile(fn, backend="numpy", strict=True)
        assert type(fast(x)) is kind
        assert [y.numpy().tolist() for y in fast(x)] == [y.numpy().tolist() for y in fn(x)]
    assert mt.compile(lambda x: x, backend="numpy", strict=True)(x).numpy().tolist() == [1.0, 2.0]


def test_without_recording_there_is_no_record():
    fast = mt.compile(batch, backend="numpy", strict=True)
    xs = [mt.tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True) for s in ((4, 3), (3,), (3,))]
    with mt.no_grad():
        y = fast(*xs)
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward(mt.ones((4, 3)))
    assert fast(*xs).requires_grad


# --- views --------------------------------------------------------------------------------------------------


def test_views_of_a_compiled_tensor_are_those_of_the_composition():
    """The tensor was compiled before any view was asked for, and more is computed from it."""
    arrays = [np.random.default_rng(0).standard_normal(s) for s in ((6, 3), (3,), (3,))]
    shown = []
    for call in (batch, mt.compile(batch, backend="numpy", strict=True)):
        x, weight, bias = (mt.tensor(a, requires_grad=True, name=n) for a, n in zip(arrays, "xγβ", strict=True))
        with mt.name_scope("block"):
            y = mt.relu(call(x, weight, bias)) * 2.0
        graph = mt.Graph.from_tensor(y)
        shown.append((str(mt.paths(y, x)), str(graph), viz.render(graph, "svg"), viz.render(graph, "html")))
        np.testing.assert_allclose(*(mt.grad(y, x, mt.ones(y.shape)).numpy(),) * 2)
    assert shown[0] == shown[1]


def test_an_expanded_tensor_still_goes_back():
    arrays = [np.random.default_rng(0).standard_normal(s) for s in ((6, 3), (3,), (3,))]
    xs = [mt.tensor(a, requires_grad=True) for a in arrays]
    fast = mt.compile(batch, backend="numpy", strict=True)
    y = mt.sum(fast(*xs) ** 3)
    before = [d.numpy() for d in mt.grad(y, xs)]
    mt.Graph.from_tensor(y)
    for a, b in zip(before, mt.grad(y, xs), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-11, atol=1e-13)


def test_two_results_expand_to_one_graph():
    def both_of(x):
        d = x - mt.mean(x)
        return d * 2.0, mt.exp(d)

    x = mt.tensor([1.0, 2.0, 4.0], requires_grad=True, name="x")
    texts = []
    for call in (both_of, mt.compile(both_of, backend="numpy", strict=True)):
        a, b = call(x)
        texts.append(str(mt.Graph.from_tensor(mt.sum(a * b))))
    assert texts[0] == texts[1]


def test_watched_calls_run_the_composition():
    fast = mt.compile(batch, backend="numpy", strict=True)
    xs = [mt.tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True) for s in ((4, 3), (3,), (3,))]
    for mode in (mt.detect_anomaly(), mt.trace_lines()):
        with mode:
            assert fast(*xs).node.primitive.name == "add"


# --- NaN, ∞, and errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "rms_norm"])
def test_nan_and_infinity_come_out_where_they_do_eagerly(name, bad, backend):
    fn = NORMS[name][0]
    arrays = arrays_for(name, (4, 3, 5), np.float64)
    arrays[0][1, 2, 3] = bad
    expected, found = both(fn, compiled_by(fn, backend), arrays)
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_extrema_keep_nan(backend):
    def fn(x):
        return (
            mt.relu(x)
            + mt.maximum(x, 0.5)
            + mt.minimum(x, -0.5)
            + mt.abs(x)
            + mt.max(mt.stop_gradient(x), keepdims=True)
        )

    for x in ([np.nan, 1.0, -1.0], [np.inf, 0.0, -np.inf], [0.5, -0.5, -0.0]):
        expected, found = both(fn, compiled_by(fn, backend), [np.array(x)])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_errors_are_those_of_the_composition():
    fast = mt.compile(batch, backend="numpy")
    x, w = mt.tensor([[1.0, 2.0]], requires_grad=True), mt.ones(2)
    with pytest.raises(ValueError, match="batch_norm: 1 value per channel") as eager:
        batch(x, w, w)
    with pytest.raises(ValueError, match="batch_norm") as compiled:
        fast(x, w, w)
    assert str(compiled.value) == str(eager.value)
    good = mt.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    np.testing.assert_allclose(fast(good, w, w).numpy(), batch(good, w, w).numpy())


# --- guards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_shapes_dtypes_and_strides(backend):
    fast = compiled_by(batch, backend)
    draws = np.random.default_rng(0)
    for shape, dtype in (((4, 3), "f8"), ((5, 3), "f8"), ((4, 3), "f4"), ((4, 3, 2), "f8"), ((4, 3), "f8")):
        xs = [mt.tensor(draws.standard_normal(s).astype(dtype), requires_grad=True) for s in (shape, (3,), (3,))]
        np.testing.assert_allclose(fast(*xs).numpy(), batch(*xs).numpy(), rtol=1e-5 if dtype == "f4" else 1e-12)
        assert fast.why == ""
    scattered = mt.tensor(draws.standard_normal((3, 4)), requires_grad=True).T
    np.testing.assert_array_equal(fast(scattered, *xs[1:]).numpy(), batch(scattered, *xs[1:]).numpy())
    assert "contiguous" in fast.why


def test_the_number_of_programs_is_bounded(monkeypatch):
    monkeypatch.setattr(compiling.compiled, "MOST", 3)
    fast = mt.compile(lambda x: x * 2.0, backend="numpy", strict=True)
    for n in range(2, 12):
        assert fast(mt.ones(n)).size == n
    assert len(fast._programs) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads(backend):
    fast = compiled_by(layer, backend)
    draws = np.random.default_rng(0)
    inputs = [[draws.standard_normal(s) for s in ((40, 30), (30,), (30,))] for _ in range(2)]
    wrong = []

    def work(arrays):
        for _ in range(25):
            try:
                assert_close(layer, fast, arrays, 1e-11)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(x,)) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


scale = 2.0


def test_plain_values_that_a_function_reads_are_watched(monkeypatch):
    factor = 3.0

    def fn(x, power=2):
        return mt.power(x, power) * factor * scale

    fast, x = mt.compile(fn, backend="numpy", strict=True), mt.tensor([1.0, 2.0])
    assert fast(x).numpy().tolist() == [6.0, 24.0]
    factor = 1.0
    assert fast(x).numpy().tolist() == [2.0, 8.0]
    monkeypatch.setitem(globals(), "scale", 10.0)
    assert fast(x).numpy().tolist() == [10.0, 40.0]
    assert fast(x, power=1).numpy().tolist() == [10.0, 20.0]


# --- what is refused ----------------------------------------------------------------------------------------


def refusals():
    w, config, generator = mt.tensor([1.0, 2.0], name="w"), {"eps": 1.0}, iter(range(100))
    table = np.array([1.0, 2.0])
    rng = np.random.default_rng(0)

    def steps(x):
        return x * float(next(generator))

    return {
        "branch": (lambda x: x if mt.sum(x) > 0 else -x, "reads the values"),
        "item": (lambda x: x * mt.sum(x).item(), "reads the values"),
        "numpy": (lambda x: x * float(np.sum(x.numpy())), "reads the values"),
        "text": (lambda x: x * len(f"{x}"), "reads the values"),
        "caught": (lambda x: caught(x), "reads the values"),
        "captured tensor": (lambda x: x * w, "'w', which is not an argument"),
        "made leaf": (
            lambda x: x * mt.tensor([1.0, 2.0], requires_grad=True),
            r"shape \(2,\), which is not an argument",
        ),
        "array": (lambda x: x * table, "table"),
        "list": (lambda x: x * config["eps"], "'config'"),
        "random scalars": (steps, "generator"),
        "random array": (lambda x: x * rng.normal(size=2), "rng"),
        "another value": (lambda x: x * mt.zeros(2).assign_([1.0, 3.0]), "gives a tensor another value"),
        "gradient that is kept": (
            lambda x: (x * 2.0).retain_grad() * 3.0,
            "it calls retain_grad; return that tensor too",
        ),
        "random tensor": (lambda x: x * mt.random.normal(2) * 0.0, "it draws random numbers"),
        "random numbers of NumPy": (lambda x: x + np.random.default_rng().normal(size=2) * 0.0, "it names np.random"),
        "random bytes": (lambda x: x + 1e-200 * int.from_bytes(os.urandom(8)), "compute different things"),
        "no tensor": (lambda x: 3.0, "returns a float, not one tensor"),
        "no tensor among two": (lambda x: (x > 0.0, x), "returns an array of NumPy in a tuple"),
        "condition": (lambda x: x > 0.0, "returns an array of NumPy, not one tensor"),
        "nothing": (lambda x: (), "returns a tuple, not"),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", [mt.max, mt.min])
def test_ties_and_nan_share_the_gradient_of_an_extreme_value(reduction, backend):
    x = mt.tensor([[1.0, 5.0, 5.0, np.nan], [3.0, 2.0, 3.0, 3.0], [7.0, 1.0, 0.0, 1.0]], requires_grad=True)
    fast = mt.compile(lambda x: x - reduction(x, axis=1)[:, None], strict=True, backend=backend)
    g = np.random.default_rng(0).standard_normal(x.shape)
    expected = x - reduction(x, axis=1)[:, None]
    assert np.array_equal(fast(x).numpy(), expected.numpy(), equal_nan=True)
    assert np.allclose(mt.grad(fast(x), x, g).numpy(), mt.grad(expected, x, g).numpy(), 1e-12, equal_nan=True)


def caught(x):
    try:
        return x * x.numpy()[0]
    except Exception:
        return x * 5.0


@pytest.mark.parametrize("case", refusals())
def test_what_cannot_be_compiled_runs_as_it_is(case):
    fn, why = refusals()[case]
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    fast = mt.compile(fn, backend="numpy")
    found, expected = (list(y) if isinstance(y, tuple) else [y] for y in (fast(x), refusals()[case][0](x)))
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(mt.tensor(a).numpy(), mt.tensor(b).numpy())
    assert fast.why.count("\n") == 0
    with pytest.raises(CompileError, match=why):
        mt.compile(refusals()[case][0], strict=True, backend="numpy")(x)


def test_a_function_that_counts_its_calls_is_refused():
    class Counting:
        calls = 0

    def fn(x):
        Counting.calls += 1
        return x * float(Counting.calls)

    with pytest.raises(CompileError, match="sets one of its attributes"):
        mt.compile(fn, strict=True, backend="numpy")(mt.tensor([1.0, 2.0]))


def test_only_functions_and_modules_are_compiled():
    with pytest.raises(TypeError, match="fn is a int"):
        mt.compile(3)
    with pytest.raises(ValueError, match="backend is 'c'"):
        mt.compile(batch, backend="c")

    fast = mt.compile(iter([]).__next__, backend="numpy")
    with pytest.raises(StopIteration):
        fast()
    assert "it is a method-wrapper" in fast.why


# --- modules ------------------------------------------------------------------------------------------------


def test_running_statistics_move_as_they_do_eagerly():
    draws = np.random.default_rng(0)
    eager, inner = mt.nn.BatchNorm1d(4), mt.nn.BatchNorm1d(4)
    fast = mt.compile(inner, backend="numpy", strict=True)
    for _ in range(3):
        x = draws.standard_normal((6, 4))
        a, b = (mt.tensor(x, requires_grad=True) for _ in range(2))
        y, z = eager(a), fast(b)
        np.testing.assert_allclose(z.numpy(), y.numpy(), rtol=1e-12)
        mt.sum(y**3).backward()
        mt.sum(z**3).backward()
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-10, atol=1e-12)
    for p, q in zip([*eager.buffers(), *eager.parameters()], [*inner.buffers(), *inner.parameters()], strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-12)
    # A view runs the composition once more, and nothing moves.
    before = [x.numpy() for x in inner.buffers()]
    mt.Graph.from_tensor(fast(mt.tensor(x, requires_grad=True)).sum())
    after_call = [x.numpy() for x in inner.buffers()]
    assert inner.num_batches_tracked.item() == 4
    assert not np.array_equal(before[0], after_call[0])
    y = fast(mt.tensor(x, requires_grad=True))
    held = [x.numpy() for x in inner.buffers()]
    mt.Graph.from_tensor(y)
    assert all(np.array_equal(p, q.numpy()) for p, q in zip(held, inner.buffers(), strict=True))
    eager.eval()
    inner.eval()
    assert not np.array_equal(fast(mt.tensor(x)).numpy(), y.numpy())


def test_a_batch_that_is_not_finite_moves_nothing_and_warns():
    inner = mt.nn.BatchNorm1d(2)
    fast = mt.compile(inner, backend="numpy", strict=True)
    with pytest.warns(RuntimeWarning, match="running statistics stay as they were"):
        fast(mt.tensor([[1.0, np.nan], [2.0, 3.0]]))
    assert inner.num_batches_tracked.item() == 0


def test_batch_renorm_moves_the_running_statistics_it_is_given():
    draws = np.random.default_rng(0)
    x, found = draws.standard_normal((6, 3)), []
    for call in (norms.batch_renorm, mt.compile(norms.batch_renorm, backend="numpy", strict=True)):
        running = mt.zeros(3), mt.ones(3)
        leaf = mt.tensor(x, requires_grad=True)
        y = call(leaf, running_mean=running[0], running_var=running[1], training=True)
        mt.sum(y**2).backward()
        found.append([y.numpy(), leaf.grad.numpy(), *(r.numpy() for r in running)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_statistics_that_move_between_forward_and_backward_do_not_matter():
    inner = mt.nn.BatchNorm1d(3).eval()
    fast = mt.compile(inner, backend="numpy", strict=True)
    x = np.random.default_rng(0).standard_normal((5, 3))
    found = []
    for call in (inner, fast):
        leaf = mt.tensor(x, requires_grad=True)
        inner.running_var.assign_(np.ones(3))
        y = mt.sum(call(leaf) ** 2)
        inner.running_var.assign_(np.full(3, 9.0))
        y.backward()
        found.append(leaf.grad.numpy())
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_dropout_is_refused_by_name_and_draws_the_same_numbers():
    module = mt.nn.Sequential(mt.nn.LayerNorm(4), mt.nn.Dropout(0.5))
    x = mt.ones((3, 4), requires_grad=True) * 2.0
    results = []
    for call in (module, mt.compile(module, backend="numpy")):
        mt.manual_seed(0)
        results.append(call(x).numpy())
    np.testing.assert_array_equal(*results)
    fast = mt.compile(module, backend="numpy")
    fast(x)
    assert "in model.1.dropout: " in fast.why
    module.eval()
    fast(x)
    assert fast.why == ""


def test_a_module_that_changes_itself_is_refused():
    class Counting(mt.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2.0

    module = Counting()
    fast = mt.compile(module, backend="numpy")
    for _ in range(2):
        fast(mt.tensor([1.0, 2.0]))
    assert "sets one of its attributes" in fast.why
    assert module.calls == 2


def test_a_setting_of_a_module_that_changes_is_noticed():
    module = mt.nn.LayerNorm(3)
    fast, x = mt.compile(module, backend="numpy", strict=True), mt.tensor([[1.0, 2.0, 4.0]])
    first = fast(x).numpy()
    module.eps = 10.0
    np.testing.assert_allclose(fast(x).numpy(), module(x).numpy())
    assert not np.allclose(first, fast(x).numpy())


def test_frozen_parameters_get_no_gradient():
    module = mt.nn.LayerNorm(3)
    fast = mt.compile(module, backend="numpy", strict=True)
    module.weight.requires_grad_(False)
    x = mt.tensor([[1.0, 2.0, 4.0]], requires_grad=True)
    mt.sum(fast(x) ** 2).backward()
    assert module.weight.grad is None
    assert module.bias.grad is not None
    module.weight.requires_grad_(True)
    mt.sum(fast(x) ** 2).backward()
    assert module.weight.grad is not None


def test_a_parameter_that_was_changed_after_the_call_is_stale():
    module = mt.nn.LayerNorm(3)
    y = mt.sum(mt.compile(module, backend="numpy", strict=True)(mt.tensor([[1.0, 2.0, 4.0]])) ** 2)
    module.weight.data = [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match="changed"):
        y.backward()


# --- numba --------------------------------------------------------------------------------------------------


OLD = types.SimpleNamespace(__version__="0.61.2", version_info=types.SimpleNamespace(short=(0, 61)))


@pytest.mark.parametrize("numba", [None, OLD])
def test_without_numba_one_sentence_names_the_extra(monkeypatch, numba):
    monkeypatch.setitem(sys.modules, "numba", numba)
    monkeypatch.delitem(sys.modules, "microtensor.compiling.numba_build", raising=False)
    with pytest.warns(UserWarning, match=r"microtensor\[compile\]"):
        fast = mt.compile(batch)
    mt.compile(batch)
    xs = [mt.tensor(np.random.default_rng(0).standard_normal(s)) for s in ((4, 3), (3,), (3,))]
    np.testing.assert_allclose(fast(*xs).numpy(), batch(*xs).numpy(), rtol=1e-12)
    with pytest.raises(ImportError, match=r"microtensor\[compile\]"):
        mt.compile(batch, backend="numba")


@needs_numba
def test_machine_code_is_kept_on_disk(kernels):
    program = (
        "import microtensor as mt, numpy as np\n"
        "fast = mt.compile(lambda x, w: x * w - mt.sum(x), backend='numba', strict=True)\n"
        "x = mt.tensor(np.arange(6.0), requires_grad=True)\n"
        "mt.sum(fast(x, mt.ones(6))).backward()\n"
        "print(x.grad.numpy().tolist())"
    )
    texts = set()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
        )
        texts.add(done.stdout)
    assert texts == {"[-5.0, -5.0, -5.0, -5.0, -5.0, -5.0]\n"}
    assert list(kernels.rglob("microtensor_kernel_*.py"))
    assert list(kernels.rglob("microtensor_kernel_*.nbc"))


@needs_numba
def test_machine_code_needs_no_directory_that_can_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    fast = mt.compile(lambda x: x * 2.0 - mt.sum(x), backend="numba", strict=True)
    assert fast(mt.tensor([1.0, 2.0])).numpy().tolist() == [-1.0, 1.0]


# --- ways to write it ---------------------------------------------------------------------------------------


def test_it_is_a_decorator_with_and_without_options():
    with warnings.catch_warnings():
        # That there is no numba.
        warnings.simplefilter("ignore")

        @mt.compile
        def twice(x):
            """Two x."""
            return x * 2.0

    @mt.compile(strict=True, backend="numpy")
    def branching(x):
        return x if x.sum() > 0 else -x

    x = mt.tensor([1.0, 2.0])
    assert twice(x).tolist() == [2.0, 4.0]
    assert (twice.__doc__, repr(twice), repr(branching)) == ("Two x.", "<compiled twice>", "<compiled branching>")
    with pytest.raises(CompileError, match="reads the values"):
        branching(x)


def test_a_tensor_can_be_bound_to_a_function_before_it_is_compiled():
    def scaled(w, x, k=1.0):
        return x * w * k

    x, w = mt.tensor([1.0, 2.0], requires_grad=True), mt.tensor([3.0, 5.0], requires_grad=True)
    fast = mt.compile(functools.partial(scaled, w, k=2.0), strict=True, backend="numpy")
    assert repr(fast) == "<compiled scaled>"
    for k, expected in ((2.0, [2.0, 4.0]), (3.0, [3.0, 6.0])):
        w.grad = None
        fast(x, k=k).backward([1.0, 1.0])
        assert w.grad.tolist() == expected
        w.data -= 1.0
    assert mt.compile(fast, strict=True, backend="numpy")(x).tolist() == [2.0, 12.0]


def test_a_compiled_module_has_what_the_module_has():
    net = mt.nn.Sequential(mt.nn.Linear(2, 3), mt.nn.BatchNorm1d(3))
    fast = mt.compile(net, strict=True, backend="numpy")
    assert list(fast.parameters()) == list(net.parameters())
    assert fast.state_dict().keys() == net.state_dict().keys()
    x = mt.tensor([[1.0, 2.0], [3.0, 5.0]])
    optimizer = mt.optim.SGD(fast.parameters(), lr=0.1)
    before = fast(x).numpy()
    mt.sum(mt.square(fast(x))).backward()
    optimizer.step()
    fast.eval()
    assert not net.training
    assert not np.allclose(fast(x).numpy(), before)
    np.testing.assert_allclose(fast(x).numpy(), net(x).numpy(), 1e-12)
    with pytest.raises(AttributeError, match="Sequential has no attribute 'no_such'"):
        _ = fast.no_such
    with pytest.raises(AttributeError, match="'Compiled' object has no attribute 'parameters'"):
        _ = mt.compile(mt.tanh, backend="numpy").parameters


def test_a_module_refuses_a_compiled_one_because_it_would_lose_its_parameters():
    outer = mt.nn.Module()
    with pytest.raises(TypeError, match="inner is a compiled module, whose parameters Module would not hold"):
        outer.inner = mt.compile(mt.nn.Linear(2, 3), backend="numpy")
    outer.activation = mt.compile(mt.tanh, backend="numpy")
    assert outer.activation(mt.tensor([0.0])).tolist() == [0.0]


def test_copies_of_a_compiled_module_have_parameters_of_their_own():
    fast = mt.compile(mt.nn.Linear(2, 3), strict=True, backend="numpy")
    x = mt.tensor([[1.0, 2.0]])
    expected = fast(x).numpy()
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        twin.weight.assign_(twin.weight.numpy() * 2.0)
        assert not np.array_equal(twin(x).numpy(), expected)
        np.testing.assert_array_equal(fast(x).numpy(), expected)


def test_a_class_is_no_function():
    with pytest.raises(TypeError, match="fn is the class ReLU; it must be a function or a module"):
        mt.compile(mt.nn.ReLU)
