"""The normalizations: their formula, the closed form of their gradient, and the invariants that define them."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt
from microtensor import norms
from microtensor.core.backprop import toposort

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
PRIMITIVES = {"mean", "subtract", "square", "add", "sqrt", "divide", "multiply", "reshape"}
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


def taken_together(row, shape, parts):
    """Which elements of x share their statistics with which, by the table: a square of booleans."""
    view = row.view(shape, parts)
    others = [i for i in range(len(view)) if i not in row.statistics(len(shape))]
    places = np.stack(np.unravel_index(np.arange(np.prod(shape)), view))[others]
    return (places[:, :, None] == places[:, None, :]).all(axis=0)


# The norms as functions of x alone, in how many parts they cut it, and on which shape.
TABLE = {
    "batch_norm": (batch, 1, (3, 2, 2, 2)),
    "layer_norm": (lambda x: layer(x, last=3), 1, (2, 2, 2, 2)),
    "instance_norm": (instance, 1, (2, 2, 2, 2)),
    "group_norm": (group(2), 2, (2, 4, 2, 2)),
    "rms_norm": (lambda x: norms.rms_norm(x, x.shape[1:]), 1, (2, 2, 3)),
    "ghost_batch_norm": (lambda x: norms.ghost_batch_norm(x, 2, training=True), 3, (6, 2, 2)),
    "batch_renorm": (
        lambda x: norms.batch_renorm(x, running_mean=mt.zeros(2), running_var=mt.ones(2), training=True),
        1,
        (4, 2, 2),
    ),
    "filter_response_norm": (norms.filter_response_norm, 1, (2, 2, 3)),
    "scale_norm": (norms.scale_norm, 1, (2, 2, 3)),
    "weight_norm": (lambda w: norms.weight_norm(w, mt.ones((3, 1, 1))), 1, (3, 2, 2)),
    "spectral_norm": (lambda w: norms.spectral_norm(w, mt.ones(3), mt.ones(4), 0), 1, (3, 2, 2)),
    "weight_standardize": (norms.weight_standardize, 1, (3, 2, 2)),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_element_depends_on_those_that_the_table_takes_it_together_with(name):
    call, parts, shape = TABLE[name]
    x = mt.tensor(np.random.default_rng(0).normal(1.0, 2.0, shape), requires_grad=True)
    size = x.size
    depends = np.abs(mt.jacobian(call, x).numpy().reshape(size, size)) > 1e-9
    together = taken_together(norms.AXES[name], shape, parts)
    np.testing.assert_array_equal(depends, together)
    assert norms.AXES[name].count(shape, parts) == len({tuple(row) for row in together})


def test_the_table_holds_all_norms_and_their_docstrings_say_what_it_says():
    apart = {"whiten", "local_response_norm"}  # Which depend on other channels too, beyond the axes of one statistic.
    assert set(norms.AXES) == set(TABLE) | apart == set(norms.__all__) - {"AXES", "Axes", "standardize"}
    for name, row in norms.AXES.items():
        text = " ".join(getattr(norms, name).__doc__.split())
        assert row.name == name
        assert row.formula in text
        assert row.source in text
        assert row.of in ("input", "weight")
    assert norms.AXES["whiten"].statistics(4) == (0, 2, 3)
    assert norms.AXES["local_response_norm"].count((2, 3, 4)) == 24


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("batch_norm", (3,)),
        ("layer_norm", (3, 4, 5)),
        ("instance_norm", (3,)),
        ("group_norm", (3,)),
        ("rms_norm", (3, 4, 5)),
        ("scale_norm", ()),
        ("weight_norm", (2,)),
        ("local_response_norm", None),
        ("spectral_norm", None),
    ],
)
def test_the_shape_of_gamma_and_beta(name, shape):
    assert norms.AXES[name].affine_shape((2, 3, 4, 5)) == shape


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


@pytest.mark.parametrize(
    "name",
    ["batch (N, C, H, W)", "layer over 2", "instance (N, C, H, W)", "group 2 of (N, C, H, W)", "rms over 2"],
)
def test_gradcheck_of_order_2(name):
    """With statistics over several axes; over one axis test_exact_orders goes to the fourth order."""
    row = ROWS[name]
    x, gamma, beta, _ = example(row)
    assert mt.gradcheck(row.call, [mt.tensor(a, requires_grad=True) for a in (x, gamma, beta)], order=2)


@EACH
def test_the_graph_consists_of_listed_primitives(row):
    leaves = [mt.tensor(a, requires_grad=True) for a in example(row)[:3]]
    used = {t.node.primitive.name for t in toposort([row.call(*leaves)])}
    assert used <= PRIMITIVES
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


@pytest.mark.parametrize("row", CENTERED.values(), ids=CENTERED.keys())
def test_mean_is_beta_and_variance_is_v_over_v_plus_eps(row):
    x, _, _, _ = example(row)
    _, v, _ = row.statistics(x)
    y = row.call(mt.tensor(x), mt.ones(row.affine), mt.full(row.affine, 0.75)).numpy()
    np.testing.assert_allclose(row.mean(row.grouping(y)), 0.75, rtol=1e-14)
    np.testing.assert_allclose(row.grouping(y).var(axis=row.axes, keepdims=True), v / (v + EPS), rtol=1e-12)


@pytest.mark.parametrize("row", CENTERED.values(), ids=CENTERED.keys())
def test_a_constant_input_whose_mean_is_exact_gives_beta_and_a_finite_gradient(row):
    _, gamma, beta, g = example(row)
    leaf = mt.tensor(np.full(row.shape, 2.5), requires_grad=True)
    y = row.call(leaf, mt.tensor(gamma), mt.tensor(beta))
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(row.broadcast(beta), row.shape))
    y.backward(g)
    h = row.grouping(g * row.broadcast(gamma))
    np.testing.assert_allclose(leaf.grad.numpy(), ((h - row.mean(h)) / np.sqrt(EPS)).reshape(row.shape), atol=1e-10)


@pytest.mark.parametrize("value", [0.1, 1.1, 12_345_678.0])
def test_a_constant_input_whose_mean_is_rounded_gives_that_rounding_over_the_root_of_eps(value):
    rounding = np.spacing(np.float32(value))
    found = []
    for shape, axis in (((4, 256), 1), ((256, 4), 0)):
        x = np.full(shape, value, np.float32)
        largest = np.abs(norms.standardize(mt.tensor(x), axis, EPS).numpy()).max()
        # The running sum over 256 rows is off by 256 roundings at the most, that of pairs by eight.
        assert largest <= min(1.0, (256 if axis == 0 else 8) * rounding / np.sqrt(EPS))
        found.append(largest)
    assert max(found) > 0


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


# The others are in test_claims_batch.py and test_claims_layer.py.
RELATIONS = {
    "GN(1) = LN over (C)": (group(1), layer, (3, 5)),
    "RMS of the centred = LN": (lambda x: rms(x - x.mean(axis=-1, keepdims=True)), layer, (3, 5)),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_relation(name):
    (y, d), (z, e) = both(*RELATIONS[name][:2], *RELATIONS[name][2])
    np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(d, e, rtol=1e-12, atol=1e-13)


# --- running statistics -----------------------------------------------------------------------------------


def running(channels=3, dtype=np.float64):
    return mt.zeros(channels, dtype=dtype), mt.ones(channels, dtype=dtype)


def train(x, mean, var, **options):
    return norms.batch_norm(
        mt.tensor(x, requires_grad=True), running_mean=mean, running_var=var, training=True, **options
    )


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
    y = norms.batch_norm(leaf, running_mean=mean, running_var=var, training=False)
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


@pytest.mark.parametrize(
    "norm", [norms.batch_norm, norms.instance_norm, norms.whiten, lambda x, **r: norms.ghost_batch_norm(x, 2, **r)]
)
def test_running_statistics_go_together(norm):
    with pytest.raises(ValueError, match=r"running_mean and running_\w+ go together"):
        norm(mt.tensor(draw(4, 3, 2)), running_mean=mt.zeros(3))


def positional(name):
    """The call of a norm with γ and β by position."""
    x = mt.tensor(draw(4, 3, 2))
    first = (x, 2) if name == "ghost_batch_norm" else (x,)
    return lambda *more: getattr(norms, name)(*first, *more)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "ghost_batch_norm", "batch_renorm", "whiten"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_gamma_and_beta_by_position_are_not_taken_for_running_statistics(name, count):
    given = [mt.tensor(G3), mt.tensor(B3), None][:count]
    other = "running_whitening" if name == "whiten" else "running_var"
    said = rf"{name}: \d arguments by position.* γ and β are weight=, bias=; running .* running_mean=, {other}=$"
    with pytest.raises(TypeError, match=said):
        positional(name)(*given)
    first = [
        p.name for p in inspect.signature(getattr(norms, name)).parameters.values() if p.kind is not p.KEYWORD_ONLY
    ]
    assert first == (["x", "ghost_size"] if name == "ghost_batch_norm" else ["x"])


def test_the_functions_of_nn_have_the_order_of_pytorch():
    x, g, b = draw(4, 3, 2), mt.tensor(G3), mt.tensor(B3)
    mean, var = mt.tensor([0.5, 1.0, 1.5]), mt.tensor([3.0, 4.0, 5.0])
    statistics = {"running_mean": mean, "running_var": var}
    expected = norms.batch_norm(mt.tensor(x), **statistics, weight=g, bias=b, eps=0.5).numpy()
    found = mt.nn.functional.batch_norm(mt.tensor(x), mean, var, g, b, False, 0.1, 0.5)
    np.testing.assert_array_equal(found.numpy(), expected)
    expected = norms.instance_norm(mt.tensor(x), **statistics, weight=g, bias=b, use_input_stats=False, eps=0.5)
    found = mt.nn.functional.instance_norm(mt.tensor(x), mean, var, g, b, False, 0.1, 0.5)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    mt.nn.functional.batch_norm(mt.tensor(x), mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(mean.numpy(), x.mean(axis=(0, 2)), rtol=1e-12)
    with pytest.raises(TypeError, match="running_mean"):
        mt.nn.functional.batch_norm(mt.tensor(x))


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


@pytest.mark.parametrize(
    ("shape", "mean", "bound"),
    [
        ((1000, 1), 1e4, 3e-4),
        ((1000, 1), 1e5, 1e-2),
        ((1000, 1), 1e6, 6e-2),
        ((1000, 1), 1e7, 6e-2),
        ((1000, 1), 1e8, 0.45),
        ((4096, 8), 1e4, 2e-2),
        ((4096, 8), 1e5, 6e-2),
    ],
)
def test_two_passes_do_not_cancel(shape, mean, bound):
    """How far x̂ strays in float32 from float64 on the same numbers: by the rounding of μ alone.

    The spread is 1 or four times the spacing of floats. The bounds are what was measured, rounded up. Over 4096 rows
    from a mean of 1e6 on, the rounding of μ exceeds the spread.
    """
    spread = max(1.0, 4 * float(np.spacing(np.float32(mean))))
    x = (np.random.default_rng(0).normal(size=shape) * spread + mean).astype(np.float32)
    y = batch(mt.tensor(x)).numpy().astype(float)
    exact = batch(mt.tensor(x.astype(float))).numpy()
    assert np.abs(y - exact).max() <= bound


def test_a_spread_whose_square_overflows_gives_beta_and_a_finite_gradient():
    leaf = mt.tensor((draw(8, 2) * 1e30).astype(np.float32), requires_grad=True)
    y = batch(leaf)
    np.testing.assert_array_equal(y.numpy(), 0.0)
    y.backward(draw(8, 2, seed=1))
    np.testing.assert_array_equal(leaf.grad.numpy(), 0.0)
    mean, var = running(2)
    with pytest.warns(RuntimeWarning, match="stay as they were"):
        norms.batch_norm(leaf, running_mean=mean, running_var=var, training=True)
    np.testing.assert_array_equal(var.numpy(), 1.0)


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_result_has_the_dtype_of_the_input(name, dtype):
    assert FIVE[name](mt.tensor(draw(4, 2, 3).astype(dtype))).dtype == dtype


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("tracked", [False, True])
def test_one_value_a_channel_in_training_names_the_remedies(shape, tracked):
    statistics = running() if tracked else (None, None)
    message = r"batch_norm: 1 value per channel.*bigger batch.*drop_last.*eval\(\).*LayerNorm.*GroupNorm"
    with pytest.raises(ValueError, match=message):
        norms.batch_norm(mt.tensor(draw(*shape)), running_mean=statistics[0], running_var=statistics[1], training=True)
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
    with pytest.raises(ValueError, match=rf"{name}: input has shape \(3,\); it must have at least the axes \(N, C\)"):
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


@pytest.mark.parametrize("groups", [0, -1, 3, 5, 2.0])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ValueError, match=rf"group_norm: 4 channels cannot be divided into {groups} groups"):
        norms.group_norm(mt.ones((2, 4)), groups)


def test_groups_of_one_value_are_refused():
    with pytest.raises(ValueError, match=r"group_norm: 4 groups of an input of shape \(2, 4\) hold 1 value each"):
        norms.group_norm(mt.ones((2, 4)), 4)


def test_no_norm_warns_on_usual_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for norm in FIVE.values():
            norm(mt.tensor(draw(3, 2, 4)))


def test_instance_norm_keeps_running_statistics_as_the_mean_over_samples():
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 3, 5))
    mean, var = mt.zeros(3), mt.ones(3)
    mt.norms.instance_norm(mt.tensor(x), running_mean=mean, running_var=var, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean(axis=2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var(axis=2, ddof=1).mean(axis=0), rtol=1e-12)
    held = mt.norms.instance_norm(
        mt.tensor(x), running_mean=mean, running_var=var, use_input_stats=False, eps=1e-5
    ).numpy()
    by_hand = (x - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-5)
    np.testing.assert_allclose(held, by_hand, rtol=1e-12)
    with pytest.raises(ValueError, match="running_mean and running_var must be given"):
        mt.norms.instance_norm(mt.tensor(x), use_input_stats=False)


# --- the norms that PyTorch has not: the formulas of the papers in plain NumPy ----------------------------


def standard(x, axes, eps=EPS):
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)


def column(parameter, ndim):
    return parameter.reshape(1, -1, *[1] * (ndim - 2))


def paper_whiten(x, iterations, groups=1, eps=EPS):
    """Algorithm 1 of Huang et al., 2019, group by group."""
    rows = np.moveaxis(x, 1, 0).reshape(groups, x.shape[1] // groups, -1)
    out = []
    for group_rows in rows:
        centered = group_rows - group_rows.mean(axis=1, keepdims=True)
        covariance = centered @ centered.T / centered.shape[1] + eps * np.eye(len(centered))
        p, scaled = np.eye(len(centered)), covariance / np.trace(covariance)
        for _ in range(iterations):
            p = (3 * p - p @ p @ p @ scaled) / 2
        out.append(p / np.sqrt(np.trace(covariance)) @ centered)
    moved = (x.shape[1], x.shape[0], *x.shape[2:])
    return np.moveaxis(np.concatenate(out).reshape(moved), 0, 1)


def neighbours(x, size, alpha, beta, k):
    """Channel by channel, with zeros beyond the ends."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        low, high = max(0, c - size // 2), min(x.shape[1], c + (size - 1) // 2 + 1)
        y[:, c] = x[:, c] / (k + alpha * (x[:, low:high] ** 2).sum(axis=1) / size) ** beta
    return y


W = draw(3, 4, 2, seed=5)
U, V = np.linalg.svd(W.reshape(3, 8))[0][:, 0], np.linalg.svd(W.reshape(3, 8))[2][0]
G3 = np.random.default_rng(3).normal(1.0, 0.5, 3)
B3 = np.random.default_rng(4).normal(size=3)
MORE = {
    "ghost_batch_norm": (
        lambda x, w, b: norms.ghost_batch_norm(x, 2, weight=w, bias=b, training=True),
        lambda x, w, b: (
            np.concatenate([standard(part, (0, 2)) for part in np.split(x, 3)]) * column(w, 3) + column(b, 3)
        ),
        [draw(6, 3, 2), G3, B3],
    ),
    "whiten": (
        lambda x, w, b: norms.whiten(x, weight=w, bias=b, training=True),
        lambda x, w, b: paper_whiten(x, 5) * w + b,
        [draw(8, 3), G3, B3],
    ),
    "whiten in groups": (
        lambda x: norms.whiten(x, training=True, num_groups=2, iterations=3),
        lambda x: paper_whiten(x, 3, groups=2),
        [draw(3, 4, 2)],
    ),
    "filter_response_norm": (
        lambda x, w, b, t: norms.filter_response_norm(x, w, b, t, eps=EPS),
        lambda x, w, b, t: np.maximum(
            x / np.sqrt((x**2).mean(axis=2, keepdims=True) + EPS) * column(w, 3) + column(b, 3), column(t, 3)
        ),
        [draw(2, 3, 4), G3, B3, np.array([0.0, 0.5, -0.5])],
    ),
    "filter_response_norm without a threshold": (
        lambda x: norms.filter_response_norm(x, eps=EPS),
        lambda x: x / np.sqrt((x**2).mean(axis=(2, 3), keepdims=True) + EPS),
        [draw(2, 2, 2, 2)],
    ),
    "scale_norm": (
        lambda x, g: norms.scale_norm(x, g, eps=EPS),
        lambda x, g: g * x / np.sqrt((x**2).sum(axis=-1, keepdims=True) + EPS),
        [draw(2, 3, 4), np.array(1.5)],
    ),
    "local_response_norm, odd": (
        lambda x: norms.local_response_norm(x, 3, 0.5, 0.6, 2.0),
        lambda x: neighbours(x, 3, 0.5, 0.6, 2.0),
        [draw(2, 5, 2)],
    ),
    "local_response_norm, even": (
        lambda x: norms.local_response_norm(x, 4),
        lambda x: neighbours(x, 4, 1e-4, 0.75, 1.0),
        [draw(2, 5)],
    ),
    "weight_norm": (
        norms.weight_norm,
        lambda v, g: g * v / np.sqrt((v**2).sum(axis=(1, 2), keepdims=True)),
        [W, G3.reshape(3, 1, 1)],
    ),
    "weight_norm by axis 1": (
        lambda v, g: norms.weight_norm(v, g, dim=1),
        lambda v, g: g * v / np.sqrt((v**2).sum(axis=(0, 2), keepdims=True)),
        [W, draw(1, 4, 1)],
    ),
    "weight_norm of all": (
        lambda v, g: norms.weight_norm(v, g, dim=None),
        lambda v, g: g * v / np.sqrt((v**2).sum()),
        [W, np.array(2.0)],
    ),
    "spectral_norm": (
        lambda w: norms.spectral_norm(w, mt.tensor(U), mt.tensor(V), 0),
        lambda w: w / (U @ w.reshape(3, 8) @ V),
        [W],
    ),
    "weight_standardize": (norms.weight_standardize, lambda w: standard(w, (1, 2)), [W]),
}
# What each norm may use beyond the primitives of all.
EXTRA = {
    "whiten": {"matmul", "permute_dims", "sum"},
    "filter_response_norm": {"maximum"},
    "scale_norm": {"sum"},
    "local_response_norm": {"power", "put", "sliding_windows"},
    "weight_norm": {"sum"},
    "spectral_norm": {"matmul"},
}


@pytest.mark.parametrize("name", MORE)
def test_value_is_the_formula_of_the_paper(name):
    call, reference, inputs = MORE[name]
    np.testing.assert_allclose(
        call(*map(mt.tensor, inputs)).numpy(), reference(*inputs), rtol=1e-11, atol=1e-12, err_msg=name
    )


@pytest.mark.parametrize("name", MORE)
def test_gradcheck_beyond_pytorch(name):
    """To the second order where test_exact_orders has no exact values."""
    call, _, inputs = MORE[name]
    order = 2 if name.startswith(("whiten", "spectral_norm", "batch_renorm", "local_response_norm")) else 1
    assert mt.gradcheck(call, [mt.tensor(a, requires_grad=True) for a in inputs], order=order)


@pytest.mark.parametrize("name", MORE)
def test_the_graph_beyond_pytorch_consists_of_listed_primitives(name):
    call, _, inputs = MORE[name]
    y = call(*(mt.tensor(a, requires_grad=True) for a in inputs))
    used = {t.node.primitive.name for t in toposort([y])}
    assert used <= PRIMITIVES | EXTRA.get(name.partition(",")[0].partition(" ")[0], set())


@pytest.mark.parametrize("name", [name for name in MORE if name != "spectral_norm"])  # Whose u and v are float64 here.
def test_float16_beyond_pytorch_stays_float16_and_near(name):
    call, reference, inputs = MORE[name]
    x, *rest = (a.astype(np.float16) for a in inputs)
    y = call(mt.tensor(x), *map(mt.tensor, rest))
    assert y.dtype == np.float16
    expected = reference(x.astype(float), *(a.astype(float) for a in rest))
    np.testing.assert_allclose(y.numpy().astype(float), expected, rtol=1e-2, atol=1e-2)


# --- whitening --------------------------------------------------------------------------------------------


def covariance(y):
    rows = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1)
    return rows @ rows.T / rows.shape[1]


def correlated(condition, count=200, size=6, seed=0):
    """Samples whose covariance has eigenvalues from 1 down to 1 / condition, away from mean 0."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(count, size))
    samples = np.linalg.qr(samples - samples.mean(axis=0))[0] * np.sqrt(count)
    turned = samples * np.geomspace(1, 1 / condition, size) ** 0.5 @ np.linalg.qr(rng.normal(size=(size, size)))[0].T
    return turned + 3.0


@pytest.mark.parametrize("condition", [10.0, 1e3, 1e6])
def test_enough_iterations_whiten(condition):
    x = correlated(condition)
    y = norms.whiten(mt.tensor(x), training=True, eps=1e-14, iterations=40).numpy()
    np.testing.assert_allclose(y.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(covariance(y), np.eye(6), atol=1e-7)


def test_whitening_is_zca_and_rounding_errors_do_not_grow():
    x = correlated(1e4)
    centered = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(x) + 1e-8 * np.eye(6))
    zca = centered @ (vectors / np.sqrt(values) @ vectors.T)
    for iterations in (30, 200):
        y = norms.whiten(mt.tensor(x), training=True, eps=1e-8, iterations=iterations).numpy()
        np.testing.assert_allclose(y, zca, rtol=1e-8, atol=1e-8)


def test_whitening_in_groups_of_one_is_batch_norm():
    x = mt.tensor(draw(6, 3, 2))
    y = norms.whiten(x, training=True, num_groups=3, iterations=20)
    np.testing.assert_allclose(y.numpy(), norms.batch_norm(x, training=True).numpy(), rtol=1e-12, atol=1e-13)


def test_whitening_keeps_running_statistics_and_predicts_with_them():
    x = draw(20, 4, 3)
    mean, root = mt.zeros(4), mt.tensor(np.stack([np.eye(2)] * 2))
    norms.whiten(mt.tensor(x), running_mean=mean, running_whitening=root, training=True, momentum=1.0, num_groups=2)
    y = norms.whiten(mt.tensor(x), running_mean=mean, running_whitening=root, num_groups=2).numpy()
    np.testing.assert_allclose(y, paper_whiten(x, 5, groups=2), rtol=1e-11, atol=1e-12)
    norms.whiten(
        mt.tensor(2 * x), running_mean=mean, running_whitening=root, training=True, momentum=0.25, num_groups=2
    )
    np.testing.assert_allclose(mean.numpy(), 1.25 * x.mean(axis=(0, 2)), rtol=1e-12)
    held = root.numpy().copy()
    x[0, 0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="whiten: .* stay as they were"):
        norms.whiten(mt.tensor(x), running_mean=mean, running_whitening=root, training=True, num_groups=2)
    np.testing.assert_array_equal(root.numpy(), held)
    with pytest.raises(ValueError, match=r"whiten: running_whitening has shape \(2, 2, 2\); it must be \(1, 4, 4\)"):
        norms.whiten(mt.tensor(x), running_mean=mean, running_whitening=root)
    with pytest.raises(ValueError, match="whiten: 4 channels cannot be divided into 3 groups"):
        norms.whiten(mt.tensor(x), num_groups=3)
    with pytest.raises(ValueError, match="whiten: iterations is 0"):
        norms.whiten(mt.tensor(x), iterations=0)


# --- ghost batch norm and batch renorm --------------------------------------------------------------------


@given(parts=st.integers(1, 4), size=st.integers(2, 3), momentum=st.floats(0, 1))
def test_a_ghost_batch_is_a_batch(parts, size, momentum):
    x = draw(parts * size, 2, seed=parts)
    mean, var = running(2)
    y = norms.ghost_batch_norm(
        mt.tensor(x), size, running_mean=mean, running_var=var, training=True, momentum=momentum
    ).numpy()
    one_mean, one_var = running(2)
    for i, part in enumerate(np.split(x, parts)):
        expected = norms.batch_norm(
            mt.tensor(part), running_mean=one_mean, running_var=one_var, training=True, momentum=momentum
        )
        np.testing.assert_allclose(y[i * size : (i + 1) * size], expected.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mean.numpy(), one_mean.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(var.numpy(), one_var.numpy(), rtol=1e-12)


def test_ghost_batch_norm_refuses_what_it_cannot_cut():
    x = mt.tensor(draw(6, 3))
    with pytest.raises(ValueError, match=r"6 samples \(axis 0 of shape \(6, 3\)\) cannot be cut into parts of 4.*drop"):
        norms.ghost_batch_norm(x, 4, training=True)
    with pytest.raises(ValueError, match=r"ghost_batch_norm: 1 value per channel over axes \(1,\) of .*\(6, 1, 3\)"):
        norms.ghost_batch_norm(x, 1, training=True)
    for size, kind in ((0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="ghost_batch_norm: ghost_size is"):
            norms.ghost_batch_norm(x, size, training=True)


def test_ghost_batch_norm_predicts_any_batch_with_the_running_statistics():
    x = mt.tensor(draw(5, 3))
    statistics = {"running_mean": mt.tensor([1.0, 2.0, 3.0]), "running_var": mt.tensor([4.0, 5.0, 6.0])}
    y = norms.ghost_batch_norm(x, 2, **statistics).numpy()
    np.testing.assert_array_equal(y, norms.batch_norm(x, **statistics).numpy())


def renormed(x, mean, var, r_max=3.0, d_max=5.0, eps=1e-3, **options):
    return norms.batch_renorm(
        mt.tensor(x),
        running_mean=mt.tensor(mean),
        running_var=mt.tensor(var),
        training=True,
        eps=eps,
        r_max=r_max,
        d_max=d_max,
        **options,
    )


@pytest.mark.parametrize(("r_max", "d_max"), [(1.0, 0.0), (1.2, 0.1), (3.0, 5.0)])
def test_batch_renorm_is_the_algorithm_of_the_paper(r_max, d_max):
    x, mean, var = draw(6, 3, 2), np.array([0.0, 1.0, 5.0]), np.array([0.5, 4.0, 9.0])
    sigma_batch, sigma = np.sqrt(x.var(axis=(0, 2)) + 1e-3), np.sqrt(var + 1e-3)
    r = np.clip(sigma_batch / sigma, 1 / r_max, r_max)
    d = np.clip((x.mean(axis=(0, 2)) - mean) / sigma, -d_max, d_max)
    expected = standard(x, (0, 2), 1e-3) * column(r, 3) + column(d, 3)
    y = renormed(x, mean, var, r_max, d_max, weight=mt.tensor(G3), bias=mt.tensor(B3)).numpy()
    np.testing.assert_allclose(y, expected * column(G3, 3) + column(B3, 3), rtol=1e-12, atol=1e-13)
    leaf = mt.tensor(x, requires_grad=True)
    g = draw(6, 3, 2, seed=1)
    statistics = (mt.tensor(mean), mt.tensor(var))
    found = mt.grad(
        norms.batch_renorm(
            leaf,
            running_mean=statistics[0],
            running_var=statistics[1],
            training=True,
            momentum=0.25,
            r_max=r_max,
            d_max=d_max,
        ),
        leaf,
        g,
    )
    constant = mt.grad(norms.standardize(leaf, (0, 2), 1e-3) * column(r, 3), leaf, g)
    np.testing.assert_allclose(found.numpy(), constant.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(statistics[0].numpy(), 0.75 * mean + 0.25 * x.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(statistics[1].numpy(), 0.75 * var + 0.25 * x.var(axis=(0, 2), ddof=1), rtol=1e-12)


def test_batch_renorm_within_its_bounds_is_its_prediction():
    x, mean, var = draw(6, 3), np.array([0.5, 1.0, 1.5]), np.array([3.0, 4.0, 5.0])
    predicted = norms.batch_renorm(mt.tensor(x), running_mean=mt.tensor(mean), running_var=mt.tensor(var))
    np.testing.assert_allclose(renormed(x, mean, var).numpy(), predicted.numpy(), rtol=1e-12, atol=1e-13)


def test_batch_renorm_held_to_nothing_is_batch_norm():
    x = draw(6, 3)
    y = renormed(x, np.array([0.5, 1.0, 1.5]), np.array([3.0, 4.0, 5.0]), 1.0, 0.0).numpy()
    np.testing.assert_allclose(y, standard(x, 0, 1e-3), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("settings", [{"r_max": 0.5}, {"r_max": np.nan}, {"d_max": -1.0}, {"d_max": "1"}])
def test_batch_renorm_refuses_wrong_bounds(settings):
    with pytest.raises(ValueError, match=rf"batch_renorm: {next(iter(settings))} is .*finite number, at least"):
        renormed(draw(6, 3), np.zeros(3), np.ones(3), **settings)


# --- norms of weights -------------------------------------------------------------------------------------


def test_power_iteration_finds_the_largest_singular_value():
    u, v = mt.tensor(draw(3, seed=1)), mt.tensor(draw(8, seed=2))
    y = norms.spectral_norm(mt.tensor(W), u, v, n_power_iterations=100).numpy()
    singular = np.linalg.svd(W.reshape(3, 8))[1]
    np.testing.assert_allclose(y, W / singular[0], rtol=1e-12)
    np.testing.assert_allclose(np.abs(u.numpy() @ U), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.abs(v.numpy() @ V), 1.0, rtol=1e-12)


def test_spectral_norm_by_another_axis_is_that_of_the_turned_weight():
    turned = np.moveaxis(W, 1, 0)
    u, v = draw(4, seed=1), draw(6, seed=2)
    y = norms.spectral_norm(mt.tensor(W), mt.tensor(u), mt.tensor(v), 2, dim=1).numpy()
    expected = norms.spectral_norm(mt.tensor(turned), mt.tensor(u), mt.tensor(v), 2).numpy()
    np.testing.assert_allclose(np.moveaxis(y, 1, 0), expected, rtol=1e-13)


def test_a_weight_that_is_not_finite_leaves_the_singular_vectors():
    u, v = mt.tensor(U), mt.tensor(V)
    with pytest.warns(RuntimeWarning, match="spectral_norm: the weight is not finite; u and v stay"):
        norms.spectral_norm(mt.tensor(W * np.nan), u, v)
    np.testing.assert_array_equal(u.numpy(), U)
    np.testing.assert_array_equal(v.numpy(), V)


def test_two_forwards_before_a_backward_are_not_stale():
    w, u, v = mt.tensor(W, requires_grad=True), mt.tensor(U), mt.tensor(V)
    first = norms.spectral_norm(w, u, v)
    norms.spectral_norm(w, u, v)
    first.backward(np.ones(W.shape))


def test_norms_of_weights_refuse_what_does_not_fit():
    w, u, v = mt.tensor(W), mt.tensor(U), mt.tensor(V)
    with pytest.raises(ValueError, match=r"weight_norm: g has shape \(3,\); for v \(3, 4, 2\).*\(3, 1, 1\)"):
        norms.weight_norm(w, mt.ones(3))
    with pytest.raises(ValueError, match=r"spectral_norm: u \(8,\) and v \(3,\) do not fit the matrix \(3, 8\)"):
        norms.spectral_norm(w, v, u)
    with pytest.raises(ValueError, match="n_power_iterations is -1"):
        norms.spectral_norm(w, u, v, -1)
    for shape in ((3,), (3, 1), ()):
        with pytest.raises(ValueError, match=r"weight_standardize: weight of shape .* two values per output"):
            norms.weight_standardize(mt.ones(shape))
    for call in (
        lambda x: norms.weight_norm(x, mt.ones((3, 1, 1))),
        lambda x: norms.spectral_norm(x, u, v),
        norms.weight_standardize,
    ):
        with pytest.raises(TypeError, match="dtype int64"):
            call(mt.tensor(W.astype(int)))


# --- what all norms of inputs refuse ----------------------------------------------------------------------

OTHERS = {
    "ghost_batch_norm": lambda x, **options: norms.ghost_batch_norm(x, 2, training=True, **options),
    "batch_renorm": lambda x, **options: norms.batch_renorm(
        x, running_mean=mt.zeros(2), running_var=mt.ones(2), training=True, **options
    ),
    "whiten": lambda x, **options: norms.whiten(x, training=True, **options),
    "filter_response_norm": norms.filter_response_norm,
    "scale_norm": norms.scale_norm,
}


@pytest.mark.parametrize("name", [*OTHERS, "local_response_norm"])
def test_integers_are_refused_beyond_pytorch(name):
    call = OTHERS.get(name, lambda x: norms.local_response_norm(x, 2))
    with pytest.raises(TypeError, match=rf"{name}: input has dtype int64"):
        call(mt.ones((4, 2, 3), dtype=int))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("eps", [0, -1.0, np.nan, "1"])
def test_a_wrong_eps_is_refused_beyond_pytorch(name, eps):
    with pytest.raises(ValueError, match=rf"{name}: eps is"):
        OTHERS[name](mt.tensor(draw(4, 2, 3)), eps=eps)


@pytest.mark.parametrize("name", ["batch_renorm", "whiten"])
def test_one_value_a_channel_is_refused_beyond_pytorch(name):
    with pytest.raises(ValueError, match=rf"{name}: 1 value per channel"):
        OTHERS[name](mt.tensor(draw(1, 2)))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_input_whose_mean_is_exact_has_a_finite_gradient_beyond_pytorch(name, value):
    leaf = mt.tensor(np.full((4, 2, 3), value), requires_grad=True)
    y = OTHERS[name](leaf)
    if norms.AXES[name].centers and name != "batch_renorm":
        np.testing.assert_array_equal(y.numpy(), 0.0)
    y.backward(draw(4, 2, 3, seed=1))
    assert np.isfinite(leaf.grad.numpy()).all()


def test_shapes_that_do_not_fit_are_refused_beyond_pytorch():
    with pytest.raises(ValueError, match=r"filter_response_norm: input of shape \(4, 2\) has no axis of positions"):
        norms.filter_response_norm(mt.ones((4, 2)))
    with pytest.raises(ValueError, match=r"scale_norm: input has shape \(\)"):
        norms.scale_norm(mt.tensor(1.0))
    with pytest.raises(ValueError, match=r"scale_norm: γ has shape \(3,\)"):
        norms.scale_norm(mt.ones((4, 3)), mt.ones(3))
    for size, kind in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(kind, match="local_response_norm: size is"):
            norms.local_response_norm(mt.ones((4, 3)), size)
    with pytest.raises(ValueError, match="local_response_norm: alpha is inf"):
        norms.local_response_norm(mt.ones((4, 3)), 2, alpha=np.inf)
