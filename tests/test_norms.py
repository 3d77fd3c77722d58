"""The normalizations: their formula, the closed form of their gradient, and the invariants that define them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import microtensor as mt
from microtensor import norms
from microtensor.backprop import toposort

EPS = 1e-5


@dataclass(frozen=True)
class Row:
    """One norm on one shape: how to call it, and the axes of its statistics after a reshape to `grouped`."""

    call: Callable[..., Any]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    affine: tuple[int, ...]
    grouped: tuple[int, ...] = ()
    centers: bool = True

    def broadcast(self, parameter):
        """γ or β in the shape in which it meets x."""
        trailing = self.shape[len(self.shape) - len(self.affine) :] == self.affine and len(self.affine) > 1
        if trailing or self.call is layer or self.call is rms:
            return parameter
        return parameter.reshape(1, -1, *[1] * (len(self.shape) - 2))

    def statistics(self, x):
        """μ, v and x̂ in plain NumPy, in the shape of the groups; v is the mean square where no mean is taken out."""
        x = x.reshape(self.grouped or self.shape)
        mu = x.mean(axis=self.axes, keepdims=True) if self.centers else np.zeros(1)
        v = ((x - mu) ** 2).mean(axis=self.axes, keepdims=True)
        return mu, v, (x - mu) / np.sqrt(v + EPS)

    def grouping(self, x):
        return x.reshape(self.grouped or self.shape)

    def mean(self, x):
        return x.mean(axis=self.axes, keepdims=True)


def batch(x, w=None, b=None):
    return norms.batch_norm(x, weight=w, bias=b, training=True, eps=EPS)


def layer(x, w=None, b=None, *, last=1):
    return norms.layer_norm(x, x.shape[-(w.ndim if w is not None else last) :], weight=w, bias=b, eps=EPS)


def instance(x, w=None, b=None):
    return norms.instance_norm(x, weight=w, bias=b, eps=EPS)


def group(count):
    return lambda x, w=None, b=None: norms.group_norm(x, count, weight=w, bias=b, eps=EPS)


def rms(x, w=None, b=None):
    y = norms.rms_norm(x, x.shape[-(w.ndim if w is not None else 1) :], weight=w, eps=EPS)
    return y if b is None else y + b


ROWS = {
    "batch (N, C)": Row(batch, (5, 3), (0,), (3,)),
    "batch (N, C, L)": Row(batch, (3, 2, 4), (0, 2), (2,)),
    "batch (N, C, H, W)": Row(batch, (2, 3, 2, 2), (0, 2, 3), (3,)),
    "layer over 1": Row(layer, (3, 4), (1,), (4,)),
    "layer over the last": Row(layer, (2, 3, 4), (2,), (4,)),
    "layer over 2": Row(layer, (2, 3, 4), (1, 2), (3, 4)),
    "layer over 3": Row(layer, (2, 2, 3, 2), (1, 2, 3), (2, 3, 2)),
    "layer over all": Row(layer, (5,), (0,), (5,)),
    "instance (N, C, L)": Row(instance, (2, 3, 4), (2,), (3,)),
    "instance (N, C, H, W)": Row(instance, (2, 3, 2, 3), (2, 3), (3,)),
    "group 1 of (N, C)": Row(group(1), (3, 4), (2,), (4,), (3, 1, 4)),
    "group 2 of (N, C)": Row(group(2), (3, 6), (2,), (6,), (3, 2, 3)),
    "group 2 of (N, C, L)": Row(group(2), (2, 4, 3), (2, 3), (4,), (2, 2, 2, 3)),
    "group C of (N, C, L)": Row(group(4), (2, 4, 3), (2, 3), (4,), (2, 4, 1, 3)),
    "group 2 of (N, C, H, W)": Row(group(2), (2, 4, 2, 2), (2, 3, 4), (4,), (2, 2, 2, 2, 2)),
    "rms over 1": Row(rms, (3, 4), (1,), (4,), centers=False),
    "rms over 2": Row(rms, (2, 3, 4), (1, 2), (3, 4), centers=False),
}
EACH = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
CENTERED = {name: row for name, row in ROWS.items() if row.centers}
FIVE = {
    "batch_norm": lambda x, **options: norms.batch_norm(x, training=True, **options),
    "layer_norm": lambda x, **options: norms.layer_norm(x, x.shape[1:], **options),
    "instance_norm": norms.instance_norm,
    "group_norm": lambda x, **options: norms.group_norm(x, 2, **options),
    "rms_norm": lambda x, **options: norms.rms_norm(x, x.shape[1:], **options),
}


def example(row, seed=0):
    """x away from mean 0 and variance 1, γ, β and a random cotangent."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 0.7, size=row.shape)
    return x, rng.normal(1.0, 0.5, size=row.affine), rng.normal(size=row.affine), rng.normal(size=row.shape)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


# --- values and gradients ---------------------------------------------------------------------------------


def test_the_table_of_axes_holds_the_five_and_says_what_the_rows_say():
    assert set(norms.AXES) == set(FIVE)
    for name, row in norms.AXES.items():
        assert row.name == name
        assert row.centers == (name != "rms_norm")
    choose = {name: row.statistics for name, row in norms.AXES.items()}
    assert [choose["batch_norm"](n) for n in (2, 3, 4)] == [(0,), (0, 2), (0, 2, 3)]
    assert [choose["layer_norm"](n) for n in (2, 4)] == [(1,), (1, 2, 3)]
    assert [choose["instance_norm"](n) for n in (3, 4)] == [(2,), (2, 3)]
    assert [choose["group_norm"](n) for n in (2, 4)] == [(2,), (2, 3, 4)]
    assert [choose["rms_norm"](n) for n in (2, 4)] == [(1,), (1, 2, 3)]


@EACH
def test_value_is_the_formula(row):
    x, gamma, beta, _ = example(row)
    x_hat = row.statistics(x)[2].reshape(row.shape)
    y = row.call(mt.tensor(x), mt.tensor(gamma), mt.tensor(beta)).numpy()
    np.testing.assert_allclose(y, x_hat * row.broadcast(gamma) + row.broadcast(beta), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(
        row.call(mt.tensor(x), mt.tensor(gamma)).numpy(), x_hat * row.broadcast(gamma), atol=1e-13
    )


@EACH
def test_gradient_is_the_closed_form(row):
    """d = (g γ − mean(g γ) − x̂ · mean(g γ x̂)) / √(v + ε), without the middle term where no mean is taken out."""
    x, gamma, beta, g = example(row)
    leaves = [mt.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    row.call(*leaves).backward(g)
    _, v, x_hat = row.statistics(x)
    h = row.grouping(g * row.broadcast(gamma))
    d = (h - (row.mean(h) if row.centers else 0.0) - x_hat * row.mean(h * x_hat)) / np.sqrt(v + EPS)
    np.testing.assert_allclose(leaves[0].grad.numpy(), d.reshape(row.shape), rtol=1e-12, atol=1e-12)
    over = tuple(i for i, n in enumerate(np.broadcast_to(row.broadcast(gamma), row.shape).strides) if n == 0)
    d_gamma, d_beta = (a.sum(axis=over).reshape(row.affine) for a in (g * x_hat.reshape(row.shape), g))
    np.testing.assert_allclose(leaves[1].grad.numpy(), d_gamma, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(leaves[2].grad.numpy(), d_beta, rtol=1e-12, atol=1e-12)


@EACH
def test_gradcheck_of_order_2(row):
    x, gamma, beta, _ = example(row)
    assert mt.gradcheck(row.call, [mt.tensor(a, requires_grad=True) for a in (x, gamma, beta)], order=2)


@EACH
def test_the_graph_consists_of_listed_primitives(row):
    allowed = {"mean", "subtract", "square", "add", "sqrt", "divide", "multiply", "reshape"}
    leaves = [mt.tensor(a, requires_grad=True) for a in example(row)[:3]]
    used = {t.node.primitive.name for t in toposort([row.call(*leaves)])}
    assert used <= allowed
    assert used >= {"mean", "square", "sqrt", "divide"}


def test_the_statistics_are_taken_once_and_named():
    x = mt.tensor(draw(4, 3), requires_grad=True)
    nodes = toposort([norms.standardize(x, axis=0)])
    names = [t.name for t in nodes]
    assert sorted(filter(None, names)) == sorted(["x̂", "σ", "σ²", "x − μ", "μ"])
    assert len(nodes) == 7


# --- the invariants of Deep Learning, section 8.7.1, and what breaks them ---------------------------------


def standardized(mean=lambda m: m, variance=lambda v: v):
    """Batch norm without γ and β, with the mean and the variance passed through a function."""

    def call(x):
        mu = mean(mt.mean(x, axis=0, keepdims=True))
        v = variance(mt.mean(mt.square(x - mu), axis=0, keepdims=True))
        return (x - mu) / mt.sqrt(v + EPS)

    return call


def violations(d, x, g, row):
    """How far a gradient is from summing to zero, and from its exact correlation with x̂; relative to its size."""
    _, v, x_hat = row.statistics(x)
    d, g = row.grouping(d), row.grouping(g)
    expected = (g * x_hat).sum(axis=row.axes, keepdims=True) * EPS / (v + EPS) / np.sqrt(v + EPS)
    drift = np.abs(d.sum(axis=row.axes)).max()
    stretch = np.abs((d * x_hat).sum(axis=row.axes, keepdims=True) - expected).max()
    return np.array([drift, stretch]) / np.abs(d).max()


@EACH
def test_gradient_proposes_no_shift_and_next_to_no_stretch(row):
    """Σ d = 0, and Σ d x̂ = ε / (v + ε) · Σ g γ x̂ / √(v + ε), over the axes of the statistics."""
    x, gamma, beta, g = example(row)
    leaf = mt.tensor(x, requires_grad=True)
    d = mt.grad(row.call(leaf, mt.tensor(gamma), mt.tensor(beta)), leaf, g).numpy()
    drift, stretch = violations(d, x, g * row.broadcast(gamma), row)
    assert stretch < 1e-12
    assert (drift < 1e-12) == row.centers


@pytest.mark.parametrize(
    ("variant", "no_shift", "no_stretch"),
    [
        (standardized(), True, True),
        (standardized(mean=mt.stop_gradient), False, True),
        (standardized(variance=mt.stop_gradient), True, False),
        (standardized(mean=mt.stop_gradient, variance=mt.stop_gradient), False, False),
    ],
    ids=["both differentiated", "mean detached", "variance detached", "both detached"],
)
def test_each_invariant_rests_on_the_gradient_through_its_statistic(variant, no_shift, no_stretch):
    row = Row(batch, (6, 3), (0,), (3,))
    x, _, _, g = example(row)
    leaf = mt.tensor(x, requires_grad=True)
    drift, stretch = violations(mt.grad(variant(leaf), leaf, g).numpy(), x, g, row)
    assert drift < 1e-12 if no_shift else drift > 0.1
    assert stretch < 1e-12 if no_stretch else stretch > 0.1


def test_the_path_through_the_mean_inside_the_variance_carries_nothing():
    def detached_inside(x):
        mu = mt.mean(x, axis=0, keepdims=True)
        v = mt.mean(mt.square(x - mt.stop_gradient(mu)), axis=0, keepdims=True)
        return (x - mu) / mt.sqrt(v + EPS)

    x, g = draw(6, 3), draw(6, 3, seed=1)
    leaf = mt.tensor(x, requires_grad=True)
    whole, cut = (mt.grad(f(leaf), leaf, g).numpy() for f in (standardized(), detached_inside))
    np.testing.assert_allclose(cut, whole, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("row", CENTERED.values(), ids=CENTERED.keys())
def test_mean_is_beta_and_variance_is_v_over_v_plus_eps(row):
    x, _, _, _ = example(row)
    _, v, _ = row.statistics(x)
    y = row.call(mt.tensor(x), mt.ones(row.affine), mt.full(row.affine, 0.75)).numpy()
    np.testing.assert_allclose(row.mean(row.grouping(y)), 0.75, rtol=1e-14)
    np.testing.assert_allclose(row.grouping(y).var(axis=row.axes, keepdims=True), v / (v + EPS), rtol=1e-12)


@pytest.mark.parametrize("row", [r for r in ROWS.values() if r.call is batch])
def test_the_right_gamma_and_beta_give_the_input_back(row):
    x = example(row)[0]
    mu, v, _ = row.statistics(x)
    gamma, beta = mt.tensor(np.sqrt(v + EPS).reshape(-1)), mt.tensor(mu.reshape(-1))
    np.testing.assert_allclose(batch(mt.tensor(x), gamma, beta).numpy(), x, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("row", CENTERED.values(), ids=CENTERED.keys())
def test_a_constant_input_gives_beta_and_a_finite_gradient(row):
    _, gamma, beta, g = example(row)
    leaf = mt.tensor(np.full(row.shape, 2.5), requires_grad=True)
    y = row.call(leaf, mt.tensor(gamma), mt.tensor(beta))
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(row.broadcast(beta), row.shape))
    y.backward(g)
    h = row.grouping(g * row.broadcast(gamma))
    np.testing.assert_allclose(leaf.grad.numpy(), ((h - row.mean(h)) / np.sqrt(EPS)).reshape(row.shape), atol=1e-10)


def test_gradient_of_a_constant_column_is_that_of_differences():
    x = draw(4, 2)
    x[:, 0] = 2.5
    assert mt.gradcheck(batch, mt.tensor(x, requires_grad=True), eps=1e-6, atol=1e-4)


def test_an_input_of_zeros_has_a_root_mean_square_norm_of_zero_and_a_finite_gradient():
    leaf = mt.zeros((2, 3), requires_grad=True)
    y = rms(leaf)
    np.testing.assert_array_equal(y.numpy(), 0.0)
    y.backward(np.ones((2, 3)))
    np.testing.assert_allclose(leaf.grad.numpy(), 1 / np.sqrt(EPS), rtol=1e-14)


def test_a_bias_in_front_of_batch_norm_has_no_gradient():
    x, bias = mt.tensor(draw(6, 3)), mt.tensor(draw(3), requires_grad=True)
    batch(x + bias).backward(draw(6, 3, seed=1))
    np.testing.assert_allclose(bias.grad.numpy(), 0.0, atol=1e-14)


# --- relations between the norms --------------------------------------------------------------------------


def both(f, g, *shape):
    """Values and gradients of two functions of one input."""
    x, cotangent = draw(*shape), draw(*shape, seed=1)
    out = []
    for function in (f, g):
        leaf = mt.tensor(x, requires_grad=True)
        y = function(leaf)
        out.append((y.numpy(), mt.grad(y, leaf, cotangent).numpy()))
    return out


RELATIONS = {
    "LN(X) = BN(Xᵀ)ᵀ": (layer, lambda x: batch(x.T).T, (4, 6)),
    "GN(1) = LN over (C, H, W)": (group(1), lambda x: layer(x, last=3), (2, 4, 3, 2)),
    "GN(1) = LN over (C)": (group(1), layer, (3, 5)),
    "GN(C) = IN": (group(4), instance, (2, 4, 3, 2)),
    "BN of one image = IN": (batch, instance, (1, 4, 3, 2)),
    "BN of an image = BN of its pixels": (
        batch,
        lambda x: batch(x.permute_dims(0, 2, 3, 1).reshape(-1, 3)).reshape(2, 2, 2, 3).permute_dims(0, 3, 1, 2),
        (2, 3, 2, 2),
    ),
    "RMS of the centred = LN": (lambda x: rms(x - x.mean(axis=-1, keepdims=True)), layer, (3, 5)),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_relation(name):
    (y, d), (z, e) = both(*RELATIONS[name][:2], *RELATIONS[name][2])
    np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(d, e, rtol=1e-12, atol=1e-13)


def test_batch_norm_commutes_with_any_exchange_of_positions():
    x = draw(2, 3, 6)
    order = np.random.default_rng(1).permutation(6)
    np.testing.assert_allclose(
        batch(mt.tensor(x[..., order])).numpy(), batch(mt.tensor(x)).numpy()[..., order], rtol=1e-12
    )


@pytest.mark.parametrize("norm", [layer, group(2), rms])
def test_samples_do_not_see_each_other_except_in_batch_norm(norm):
    x = draw(3, 4)
    leaf = mt.tensor(x, requires_grad=True)
    first = norm(leaf)[0]
    np.testing.assert_allclose(first.numpy(), norm(mt.tensor(x[:1]))[0].numpy(), rtol=1e-14)
    d = mt.grad(first, leaf, draw(4, seed=1)).numpy()
    assert np.abs(d[0]).max() > 0
    np.testing.assert_array_equal(d[1:], 0.0)
    mixed = mt.grad(batch(leaf)[0], leaf, draw(4, seed=1)).numpy()
    assert np.abs(mixed[1:]).max() > 0.01


def test_layer_norm_forgets_scale_and_shift_but_not_sign():
    x = draw(3, 50) * 100
    y = layer(mt.tensor(x)).numpy()
    np.testing.assert_allclose(layer(mt.tensor(7 * x + 3)).numpy(), y, rtol=1e-6)
    np.testing.assert_allclose(layer(mt.tensor(-x)).numpy(), -y, rtol=1e-12)


# --- running statistics -----------------------------------------------------------------------------------


def running(channels=3, dtype=np.float64):
    return mt.zeros(channels, dtype=dtype), mt.ones(channels, dtype=dtype)


def train(x, mean, var, **options):
    return norms.batch_norm(mt.tensor(x, requires_grad=True), mean, var, training=True, **options)


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.25, 1.0])
def test_running_statistics_move_towards_the_batch_with_the_unbiased_variance(momentum):
    mean, var = running()
    m, v = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = draw(2, 3, 4, seed=seed)
        y = train(x, mean, var, momentum=momentum)
        m = (1 - momentum) * m + momentum * x.mean(axis=(0, 2))
        v = (1 - momentum) * v + momentum * x.var(axis=(0, 2), ddof=1)
        np.testing.assert_allclose(mean.numpy(), m, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(var.numpy(), v, rtol=1e-13)
        expected = (x - x.mean(axis=(0, 2), keepdims=True)) / np.sqrt(x.var(axis=(0, 2), keepdims=True) + EPS)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-13)


def test_the_weight_of_the_initial_value_after_t_steps():
    mean, var = running(1)
    mean.data = [1.0]
    for _ in range(5):
        train(np.array([[-1.0], [1.0]]), mean, var)
    np.testing.assert_allclose(mean.numpy(), [0.9**5], rtol=1e-14)


def test_running_statistics_are_not_in_the_graph_and_do_not_make_it_stale():
    mean, var = running()
    y = train(draw(5, 3), mean, var)
    assert all(r.is_leaf and not r.requires_grad and r.grad is None for r in (mean, var))
    assert not any(t is mean or t is var for t in toposort([y]))
    train(draw(5, 3, seed=1), mean, var)
    y.backward(draw(5, 3))


def test_prediction_uses_the_running_statistics_as_constants():
    mean, var = mt.tensor([1.0, 2.0, 3.0]), mt.tensor([4.0, 9.0, 16.0])
    x = draw(1, 3)
    leaf = mt.tensor(x, requires_grad=True)
    y = norms.batch_norm(leaf, mean, var, training=False)
    root = np.sqrt(var.numpy() + EPS)
    np.testing.assert_allclose(y.numpy(), (x - mean.numpy()) / root, rtol=1e-14)
    y.backward(np.ones((1, 3)))
    np.testing.assert_allclose(leaf.grad.numpy(), 1 / root[None], rtol=1e-14)
    np.testing.assert_array_equal(mean.numpy(), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(var.numpy(), [4.0, 9.0, 16.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_batch_that_is_not_finite_leaves_the_running_statistics_and_warns(bad):
    mean, var = running()
    x = draw(4, 3)
    x[1, 2] = bad
    with pytest.warns(RuntimeWarning, match="running statistics stay as they were"):
        y = train(x, mean, var)
    assert not np.isfinite(y.numpy()[:, 2]).any()
    assert np.isfinite(y.numpy()[:, :2]).all()
    np.testing.assert_array_equal(mean.numpy(), 0.0)
    np.testing.assert_array_equal(var.numpy(), 1.0)


class Unusable:
    """A parameter of the right shape that no multiplication takes."""

    shape = (3,)
    ndim = 1


@pytest.mark.parametrize(
    "options", [{"weight": Unusable()}, {"bias": Unusable()}, {"weight": mt.ones(4)}, {"eps": -1.0}]
)
def test_a_forward_that_raises_leaves_the_running_statistics(options):
    mean, var = running()
    with pytest.raises((TypeError, ValueError)):
        train(draw(4, 3), mean, var, **options)
    np.testing.assert_array_equal(mean.numpy(), 0.0)
    np.testing.assert_array_equal(var.numpy(), 1.0)


def test_running_statistics_go_together():
    with pytest.raises(ValueError, match="running_mean and running_var go together"):
        norms.batch_norm(mt.tensor(draw(4, 3)), mt.zeros(3), None, training=True)


# --- precision --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_float16_has_the_statistics_of_float32(name, scale):
    x = (np.random.default_rng(0).normal(size=(4, 2, 32)) * scale).astype(np.float16)
    leaf = mt.tensor(x, requires_grad=True)
    y = FIVE[name](leaf, eps=1e-5)
    assert y.dtype == np.float16
    expected = FIVE[name](mt.tensor(x.astype(np.float64)), eps=1e-5).numpy()
    np.testing.assert_allclose(y.numpy().astype(np.float64), expected, rtol=4e-3, atol=4e-3)
    y.backward(np.ones(y.shape))
    assert leaf.grad.dtype == np.float16
    assert np.isfinite(leaf.grad.numpy()).all()


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("offset", [1e4, 1e6, 1e8, 1e15, 1e30])
def test_a_large_mean_in_float32_stays_finite(name, offset):
    leaf = mt.tensor((draw(4, 2, 8) + offset).astype(np.float32), requires_grad=True)
    y = FIVE[name](leaf)
    y.backward(draw(4, 2, 8, seed=1))
    assert y.dtype == leaf.grad.dtype == np.float32
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(leaf.grad.numpy()).all()


def test_two_passes_do_not_cancel():
    x = (np.random.default_rng(0).normal(size=(1000, 1)) + 1e4).astype(np.float32)
    y = batch(mt.tensor(x)).numpy().astype(float)
    exact = batch(mt.tensor(x.astype(float))).numpy()
    np.testing.assert_allclose(y, exact, atol=2e-3)


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_result_has_the_dtype_of_the_input(name, dtype):
    assert FIVE[name](mt.tensor(draw(4, 2, 3).astype(dtype))).dtype == dtype


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("tracked", [False, True])
def test_one_value_a_channel_in_training_names_the_remedies(shape, tracked):
    statistics = running() if tracked else (None, None)
    message = r"batch_norm: 1 value a channel.*bigger batch.*drop_last.*eval\(\).*LayerNorm.*GroupNorm"
    with pytest.raises(ValueError, match=message):
        norms.batch_norm(mt.tensor(draw(*shape)), *statistics, training=True)
    if tracked:
        np.testing.assert_array_equal(statistics[0].numpy(), 0.0)


def test_one_position_a_channel_leaves_nothing_for_instance_norm():
    with pytest.raises(ValueError, match=r"instance_norm: input of shape \(4, 3, 1\) has at most one position"):
        norms.instance_norm(mt.tensor(draw(4, 3, 1)))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"no elements"):
        batch(mt.zeros((0, 3)))


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_an_integer_input_is_refused(name, dtype):
    with pytest.raises(TypeError, match=rf"{name}: input has dtype {np.dtype(dtype)}.*\.astype\(float\)"):
        FIVE[name](mt.tensor(np.ones((4, 2, 3), dtype)))


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("eps", [0, -1e-5, np.nan, np.inf, "1e-5"])
def test_an_eps_that_is_not_positive_and_finite_is_refused(name, eps):
    with pytest.raises(ValueError, match=rf"{name}: eps is .*positive finite"):
        FIVE[name](mt.tensor(draw(4, 2, 3)), eps=eps)


@pytest.mark.parametrize("eps", [1e-3, 1, np.float64(1e-3), np.float32(1e-3)])
def test_any_positive_number_is_an_eps(eps):
    x = mt.tensor(draw(4, 3))
    np.testing.assert_array_equal(
        norms.layer_norm(x, 3, eps=eps).numpy(), norms.layer_norm(x, 3, eps=float(eps)).numpy()
    )


@pytest.mark.parametrize("momentum", [-0.1, 1.5, np.nan])
def test_a_momentum_outside_0_to_1_is_refused(momentum):
    with pytest.raises(ValueError, match="batch_norm: momentum is"):
        train(draw(4, 3), *running(), momentum=momentum)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "group_norm"])
def test_parameters_of_another_number_of_channels_are_refused(name):
    x = mt.tensor(draw(3, 2, 4))
    for option in ("weight", "bias"):
        with pytest.raises(ValueError, match=rf"{name}: input has 2 channels \(axis 1 of shape \(3, 2, 4\)\).*\(3,\)"):
            FIVE[name](x, **{option: mt.ones(3)})
    with pytest.raises(ValueError, match=rf"{name}: input has shape \(3,\); at least \(N, C\)"):
        FIVE[name](mt.ones(3))


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_a_normalized_shape_that_does_not_end_the_shape_is_refused(name):
    norm = getattr(norms, name)
    for shape in (3, (2, 3), (1, 2, 4), (9, 3, 2, 4), ()):
        with pytest.raises(ValueError, match=rf"{name}: input of shape \(3, 2, 4\) does not end in normalized_shape"):
            norm(mt.ones((3, 2, 4)), shape)
    with pytest.raises(
        ValueError, match=rf"{name}: a parameter of shape \(4,\) does not fit normalized_shape \(2, 4\)"
    ):
        norm(mt.ones((3, 2, 4)), (2, 4), mt.ones(4))


@pytest.mark.parametrize("groups", [0, -1, 3, 5])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ValueError, match=rf"group_norm: 4 channels cannot be divided into {groups} groups"):
        norms.group_norm(mt.ones((2, 4)), groups)


def test_no_norm_warns_on_usual_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for norm in FIVE.values():
            norm(mt.tensor(draw(3, 2, 4)))


def test_instance_norm_keeps_running_statistics_as_the_mean_over_samples():
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 3, 5))
    mean, var = mt.zeros(3), mt.ones(3)
    mt.norms.instance_norm(mt.tensor(x), mean, var, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean(axis=2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var(axis=2, ddof=1).mean(axis=0), rtol=1e-12)
    held = mt.norms.instance_norm(mt.tensor(x), mean, var, use_input_stats=False, eps=1e-5).numpy()
    by_hand = (x - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-5)
    np.testing.assert_allclose(held, by_hand, rtol=1e-12)
    with pytest.raises(ValueError, match="both running ones are needed"):
        mt.norms.instance_norm(mt.tensor(x), use_input_stats=False)
