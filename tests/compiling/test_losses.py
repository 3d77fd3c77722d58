"""Compiled losses: all of them, class indices of every kind, checks of values, and elements that are not picked."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import losses, ops
from microtensor.compiling import numba_source, numpy_source
from tests.compiling.backends import BACKENDS, compiled_by, needs_numba

DRAWS = np.random.default_rng(0)
N, C = 6, 5
LOGITS, OTHERS, SHARES = DRAWS.standard_normal((N, C)), DRAWS.random((N, C)), DRAWS.random((N, C))
PROBABILITIES = SHARES / SHARES.sum(axis=1, keepdims=True)
CLASSES = DRAWS.integers(0, C, N)
SOME = np.where(np.arange(N) % 3 == 1, -100, CLASSES)
SIGNS = np.where(OTHERS > 0.5, 1.0, -1.0)
WEIGHT = DRAWS.random(C)
# By name: the arguments of each loss.
ELEMENTWISE = {
    "mse_loss": (LOGITS, OTHERS),
    "l1_loss": (LOGITS, OTHERS),
    "smooth_l1_loss": (LOGITS, OTHERS),
    "huber_loss": (LOGITS, OTHERS),
    "binary_cross_entropy": (SHARES, OTHERS, WEIGHT),
    "binary_cross_entropy_with_logits": (LOGITS, OTHERS, WEIGHT),
    "kl_div": (LOGITS, PROBABILITIES),
    "hinge_loss": (LOGITS, SIGNS),
    "hinge_embedding_loss": (LOGITS, SIGNS),
}
CASES = {
    "indices": (mt.cross_entropy, (LOGITS, CLASSES), {}),
    "ignored": (mt.cross_entropy, (LOGITS, SOME), {}),
    "another ignored index": (mt.cross_entropy, (LOGITS, CLASSES), {"ignore_index": int(CLASSES[0])}),
    "weight": (mt.cross_entropy, (LOGITS, SOME, WEIGHT), {}),
    "smoothing": (mt.cross_entropy, (LOGITS, SOME), {"label_smoothing": 0.1}),
    "weight and smoothing": (mt.cross_entropy, (LOGITS, SOME, WEIGHT), {"label_smoothing": 0.1}),
    "probabilities": (mt.cross_entropy, (LOGITS, PROBABILITIES), {}),
    "weighted probabilities": (mt.cross_entropy, (LOGITS, PROBABILITIES, WEIGHT), {"label_smoothing": 0.2}),
    "nll_loss": (losses.nll_loss, (LOGITS, SOME, WEIGHT), {}),
    **{name: (getattr(losses, name), args, {}) for name, args in ELEMENTWISE.items()},
}
SHAPES = {
    "pictures": (DRAWS.standard_normal((3, 4, 2, 5)), DRAWS.integers(0, 4, (3, 2, 5))),
    "no batch": (DRAWS.standard_normal(7), np.array(3)),
    "one class": (DRAWS.standard_normal((4, 1)), np.zeros(4, int)),
    "one sample": (DRAWS.standard_normal((1, 4)), np.array([2])),
}


def both(fn, fast, arrays, needs=(0,)):
    """What a function and its compiled form compute: the loss and the gradients."""
    found = []
    for call in (fn, fast):
        xs = [mt.tensor(x, requires_grad=i in needs) for i, x in enumerate(arrays)]
        y = call(*xs)
        g = np.random.default_rng(5).standard_normal(y.shape).astype(y.dtype)
        found.append([y.numpy(), *(d.numpy() for d in mt.grad(y, [xs[i] for i in needs], mt.tensor(g)))])
    return found


def assert_equal(fn, arrays, backend, dtype, needs=(0,)):
    fast = compiled_by(fn, backend)
    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]
    expected, found = both(fn, fast, arrays, needs)
    assert fast.why == ""
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1e-2, np.abs(b).max()))


def test_every_loss_is_compiled_here():
    assert {*ELEMENTWISE, "cross_entropy", "nll_loss"} == set(losses.__all__)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES)
def test_losses(case, reduction, dtype):
    loss, arrays, options = CASES[case]
    for backend in ("numpy", "python"):
        assert_equal(with_options(loss, reduction=reduction, **options), arrays, backend, dtype)


@needs_numba
@pytest.mark.parametrize("case", ["weight and smoothing", *(pytest.param(c, marks=pytest.mark.slow) for c in CASES)])
def test_losses_in_machine_code(case):
    loss, arrays, options = CASES[case]
    assert_equal(with_options(loss, **options), arrays, "numba", np.float32)


@pytest.mark.parametrize("tile", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_losses_in_small_blocks(monkeypatch, case, tile):
    monkeypatch.setattr(numpy_source, "BLOCK", 16 * tile)
    monkeypatch.setattr(numba_source, "TILE", tile)
    loss, arrays, options = CASES[case]
    for backend in ("numpy", "python"):
        assert_equal(with_options(loss, **options), arrays, backend, np.float64)


@pytest.mark.parametrize("block", [16, 64, 1 << 18])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_class_indices(monkeypatch, shape, block):
    monkeypatch.setattr(numpy_source, "BLOCK", block)
    for backend in ("numpy", "python"):
        assert_equal(mt.cross_entropy, SHAPES[shape], backend, np.float64)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4"])
def test_integers_of_every_size(kind):
    for backend in ("numpy", "python"):
        assert_equal(mt.cross_entropy, (LOGITS, CLASSES.astype(kind)), backend, np.float32)


def test_gradients_of_weights_and_probabilities():
    for backend in ("numpy", "python"):
        assert_equal(mt.cross_entropy, (LOGITS, SOME, WEIGHT), backend, np.float64, (0, 2))
        assert_equal(mt.cross_entropy, (LOGITS, PROBABILITIES, WEIGHT), backend, np.float64, (0, 1, 2))


def test_second_derivatives_are_those_of_the_composition():
    found = []
    for call in (mt.cross_entropy, compiled_by(mt.cross_entropy, "numpy")):
        x = mt.tensor(LOGITS, requires_grad=True)
        (first,) = mt.grad(call(x, mt.tensor(CLASSES)), [x], create_graph=True)
        found.append(mt.grad(mt.sum(first**2), x).numpy())
    np.testing.assert_allclose(*found, rtol=1e-11)


def with_options(loss, **options):
    """The loss with options, which the function holds as plain values of its own."""
    names = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return eval(f"lambda *xs: loss(*xs, {names})", {"loss": loss})


# --- checks of values -----------------------------------------------------------------------------------------


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


WRONG = {
    "class beyond the last": (mt.cross_entropy, (LOGITS, changed(CLASSES, 2, C))),
    "negative class": (mt.cross_entropy, (LOGITS, changed(CLASSES, 2, -1))),
    "negative class of nll_loss": (losses.nll_loss, (LOGITS, changed(CLASSES, 2, -1))),
    "every target ignored": (mt.cross_entropy, (LOGITS, np.full(N, -100))),
    "negative weight": (mt.cross_entropy, (LOGITS, CLASSES, -WEIGHT)),
    "negative probability": (mt.cross_entropy, (LOGITS, changed(PROBABILITIES, (0, 0), -0.5))),
    "probabilities that do not sum to 1": (mt.cross_entropy, (LOGITS, PROBABILITIES * 0.5)),
    "input of binary_cross_entropy": (losses.binary_cross_entropy, (SHARES + 1.0, OTHERS)),
    "target of binary_cross_entropy": (losses.binary_cross_entropy, (SHARES, OTHERS - 1.0)),
    "target of logits": (losses.binary_cross_entropy_with_logits, (LOGITS, OTHERS + 1.0)),
    "target of kl_div": (losses.kl_div, (LOGITS, -PROBABILITIES)),
    "label of hinge_loss": (losses.hinge_loss, (LOGITS, OTHERS)),
    "index of pick": (mt.pick, (LOGITS, changed(CLASSES, 0, C))),
    "index of place": (lambda x, i: ops.place(x, i, axis=1, size=3), (WEIGHT, np.array([0, 1, 2, 3, 0]))),
}
GOOD = {
    "input of binary_cross_entropy": (SHARES, OTHERS),
    "target of binary_cross_entropy": (SHARES, OTHERS),
    "index of place": (WEIGHT, np.array([0, 1, 2, 2, 0])),
    "label of hinge_loss": (LOGITS, SIGNS),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_those_of_the_composition(case):
    loss, arrays = WRONG[case]
    bad = [mt.tensor(x) for x in arrays]
    good = GOOD.get(case, (LOGITS, PROBABILITIES if arrays[1].dtype.kind == "f" else CLASSES, WEIGHT)[: len(arrays)])
    with pytest.raises((ValueError, IndexError)) as eager:
        loss(*bad)
    for backend in ("numpy", "python"):
        fast = compiled_by(loss, backend)
        # A program that was made for other values, and one that is made now.
        for call in (fast, compiled_by(loss, backend)):
            if call is fast:
                fast(*map(mt.tensor, good))
            with pytest.raises(eager.type) as compiled:
                call(*bad)
            assert str(compiled.value) == str(eager.value)
            assert not call.why or call.why.startswith("its program raised")


def test_an_error_leaves_no_more_changed_than_the_composition_does():
    class Model(mt.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = mt.nn.BatchNorm1d(C)

        def forward(self, x, target):
            return mt.cross_entropy(self.norm(x), target)

    model, twin = Model(), Model()
    fast = compiled_by(model, "numpy")
    x = mt.tensor(LOGITS, requires_grad=True)
    fast(x, mt.tensor(CLASSES))
    twin(x, mt.tensor(CLASSES))
    assert fast.why == ""
    before = [b.numpy().copy() for b in model.buffers()]
    for call in (fast, twin):
        with pytest.raises(IndexError, match="a class of the target is out of range"):
            call(x, mt.tensor(changed(CLASSES, 1, C)))
    found, after = ([b.numpy() for b in m.buffers()] for m in (model, twin))
    assert any(all(map(np.array_equal, found, state)) for state in (before, after))
    assert x.grad is None


# --- NaN, ∞, and large integers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "bad"),
    [
        *((backend, bad) for backend in ("numpy", "python") for bad in (np.nan, np.inf, -np.inf)),
        pytest.param("numba", np.nan, marks=needs_numba),
    ],
)
def test_elements_that_are_not_picked_do_not_leak(bad, backend):
    logs = np.where(np.arange(C) == CLASSES[:, None], LOGITS, bad)
    fast = compiled_by(losses.nll_loss, backend)
    x = mt.tensor(logs, requires_grad=True)
    loss = fast(x, mt.tensor(CLASSES))
    loss.backward()
    assert fast.why == ""
    assert loss.item() == pytest.approx(losses.nll_loss(mt.tensor(logs), CLASSES).item(), rel=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), np.where(np.arange(C) == CLASSES[:, None], -1 / N, 0.0), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_give_what_the_composition_gives(bad):
    logits = changed(LOGITS, (1, (CLASSES[1] + 1) % C), bad)
    for backend in ("numpy", "python"):
        expected, found = both(mt.cross_entropy, compiled_by(mt.cross_entropy, backend), [logits, CLASSES])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_are_compared_as_integers(backend):
    def fn(x, labels):
        return mt.where(ops.equal(labels, 2**24 + 1), x, mt.where(ops.greater(labels, 2**53), x * 2.0, x * 3.0))

    labels = np.array([2**24, 2**24 + 1, 2**24 + 2, 2**53, 2**53 + 1, 7])
    fast = compiled_by(fn, backend)
    x = mt.tensor(np.ones(6, np.float32))
    assert fast(x, mt.tensor(labels)).numpy().tolist() == [3.0, 1.0, 3.0, 3.0, 2.0, 3.0]
    assert fast.why == ""


# --- integers that are no labels ------------------------------------------------------------------------------

APART = {
    "numbers": (lambda x, t: x * t, (LOGITS, np.ones((N, C), int))),
    "labels of margins": (losses.hinge_loss, (LOGITS, SIGNS.astype(int))),
    "a result": (lambda x, t: (x * 2.0, t), (LOGITS, CLASSES)),
    "alone": (lambda t: mt.where(ops.equal(t, 1), 2, t), (CLASSES,)),
    "a class axis in parts": (
        lambda x, t: mt.pick(mt.reshape(x * mt.mean(x, axis=1, keepdims=True), (N, 4)), t),
        (DRAWS.standard_normal((N, 2, 2)), np.array([0, 1, 2, 3, 0, 1])),
    ),
}


@pytest.mark.parametrize("case", APART)
def test_integers_that_do_not_fuse_are_computed_apart(case):
    fn, arrays = APART[case]
    fast = compiled_by(fn, "numpy")
    xs = [mt.tensor(x) for x in arrays]
    results = [y if isinstance(y, tuple) else (y,) for y in (fast(*xs), fn(*xs))]
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert fast.why == ""
