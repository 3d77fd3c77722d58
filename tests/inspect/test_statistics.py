"""A norm is found by the gradients of its statistics: in every spelling, at every value, and nothing else is one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn, norms
from microtensor.inspect.history import history
from microtensor.inspect.statistics import norms_among, norms_of
from microtensor.norms import AXES

EPS = 1e-5


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, size=shape)


def leaf(*shape, seed=0, dtype="float64", name=None):
    return mt.tensor(draw(*shape, seed=seed), dtype=dtype, requires_grad=True, name=name)


GAMMA = draw(5, seed=1)
MEAN_ROW = {n: np.full((1, n), 1 / n) for n in range(1, 41)}


# --- eleven spellings of batch norm -------------------------------------------------------------------------


def two_pass(x):
    return (x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + EPS)


def mean_of_squares(x):
    return (x - x.mean(axis=0)) / mt.sqrt((x * x).mean(axis=0) - x.mean(axis=0) ** 2 + EPS)


def to_a_power(x):
    return (x - x.mean(axis=0)) * (x.var(axis=0) + EPS) ** -0.5


def folded(x):
    inverse = 1.5 / mt.sqrt(x.var(axis=0) + EPS)
    return x * inverse + (0.5 - x.mean(axis=0) * inverse)


def clamped(x):
    return (x - x.mean(axis=0)) / mt.sqrt(mt.maximum(x.var(axis=0), 1e-12) + EPS)


def exp_log(x):
    return (x - x.mean(axis=0)) * mt.exp(-0.5 * mt.log(x.var(axis=0) + EPS))


def divided_apart(x):
    sigma = mt.sqrt(x.var(axis=0) + EPS)
    return x / sigma - x.mean(axis=0) / sigma


def by_matmul(x):
    mean = MEAN_ROW[x.shape[0]]
    centered = x - mt.matmul(mean, x)
    return centered / mt.sqrt(mt.matmul(mean, centered * centered) + EPS)


def by_einsum(x):
    centered = x - mt.einsum("ij->j", x) / x.shape[0]
    return centered / mt.sqrt(mt.einsum("ij,ij->j", centered, centered) / x.shape[0] + EPS)


def per_column(x):
    return mt.stack([two_pass(x[:, j]) for j in range(x.shape[1])], axis=1)


def of_the_library(x):
    return norms.batch_norm(x, training=True)


SPELLINGS = [
    two_pass,
    mean_of_squares,
    to_a_power,
    folded,
    clamped,
    exp_log,
    divided_apart,
    by_matmul,
    by_einsum,
    per_column,
    of_the_library,
]


def spelled(function):
    return function.__name__


def found(y):
    """What a test compares: axes, whether the mean is taken out, for each norm."""
    return [(norm.axes, norm.centered) for norm in norms_of(y)]


def plain(found):
    """All of the norms, in a form that can be compared."""
    return [
        (
            id(norm.input),
            [(id(s.value), s.kind, s.axes, s.centered) for s in norm.statistics],
            (norm.axes, norm.centered, norm.named),
            sorted(map(id, norm.inner)),
            id(norm.output),
            [(id(tensor), axes) for tensor, axes in norm.later],
        )
        for norm in found
    ]


def check_whole(norm):
    """What is true of every norm."""
    assert {s.value for s in norm.statistics} <= norm.inner
    assert norm.output not in norm.inner
    assert norm.input not in norm.inner
    assert all(s.value.size < norm.input.size for s in norm.statistics)
    assert any(s.kind == "scale" for s in norm.statistics)
    if norm.centered:
        assert any(s.kind == "shift" for s in norm.statistics)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_batch_norm_is_found_in_every_spelling(spelling):
    x = leaf(8, 5)
    y = spelling(x) * GAMMA
    (norm,) = norms_of(y)
    assert (norm.input, norm.axes, norm.centered, norm.later, norm.named) == (x, (0,), True, (), False)
    assert {s.axes for s in norm.statistics} == {(0,)}
    check_whole(norm)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_the_output_is_what_the_norm_normalizes_to(spelling):
    (norm,) = norms_of(spelling(leaf(8, 5)) * GAMMA)
    if spelling is not per_column:
        normalized = norm.output.numpy()
        shape = normalized.mean(axis=0), normalized.std(axis=0)
        expected = (0.5, 1.5) if spelling is folded else (0.0, 1.0)
        np.testing.assert_allclose(shape, np.broadcast_to(np.reshape(expected, (2, 1)), (2, 5)), atol=1e-4)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [2, 3, 40])
def test_values_that_hide_a_gradient_hide_no_norm(spelling, dtype, rows):
    values = draw(rows, 5)
    values[:, 1] = 7.0
    values[:, 2] += 1e6
    values[:, 3] *= 1e-3
    values[:, 4] = 0.0
    x = mt.tensor(values, dtype=dtype, requires_grad=True)
    (norm,) = norms_of(spelling(x) * GAMMA.astype(dtype))
    assert (norm.input, norm.axes, norm.centered) == (x, (0,), True)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_the_statistics_of_every_spelling_are_named_by_their_gradient(spelling):
    (norm,) = norms_of(spelling(leaf(8, 5)))
    of_library = norms_of(of_the_library(leaf(8, 5)))[0]
    kinds = {(s.kind, s.centered) for s in norm.statistics}
    expected = {(s.kind, s.centered) for s in of_library.statistics}
    # E[x²] is a scale around 0, and only its difference to E[x]² is one around the mean.
    assert kinds == expected | ({("scale", False)} if spelling is mean_of_squares else set())


def test_the_statistics_of_the_librarys_norm_are_mu_and_three_steps_to_sigma():
    x = leaf(8, 5)
    (norm,) = norms_of(norms.batch_norm(x, training=True, weight=leaf(5, seed=1), bias=leaf(5, seed=2)))
    names = [(s.kind, s.value.name or s.value.node.primitive.name) for s in norm.statistics]
    assert names == [("shift", "μ"), ("scale", "σ²"), ("scale", "add"), ("scale", "σ")]
    assert norm.inner == {s.value for s in norm.statistics}
    assert norm.output.name == "x̂"


def test_a_gate_in_front_of_a_norm_is_part_of_it_only_where_it_explains_the_whole():
    x = leaf(8, 5)
    gated = x * x.var(axis=0)
    (norm,) = norms_of(two_pass(gated))
    assert norm.input is gated
    assert norm.centered
    # x · mean(x²) has the direction of x in each column, so over ‖…‖ this is x / ‖x‖.
    scaled = x * (x * x).mean(axis=0)
    (norm,) = norms_of(scaled / mt.norm(scaled, axis=0))
    assert norm.input is x
    assert len(norm.statistics) == 3


def test_what_is_computed_from_statistics_alone_is_inside_and_no_statistic_of_one_kind():
    y = folded(leaf(8, 5))
    (norm,) = norms_of(y)
    alone = norm.inner - {s.value for s in norm.statistics}
    assert sorted(t.node.primitive.name for t in alone) == ["multiply", "subtract"]
    assert norm.output is y


# --- other norms ------------------------------------------------------------------------------------------


# For each norm of the library: a call, the shape of its input, and the parts that one axis is cut into.
LIBRARY = {
    "batch_norm": (lambda x: norms.batch_norm(x, training=True), (4, 6, 3, 3), 1),
    "layer_norm": (lambda x: norms.layer_norm(x, x.shape[1:]), (4, 6, 3, 3), 1),
    "instance_norm": (norms.instance_norm, (4, 6, 3, 3), 1),
    "group_norm": (lambda x: norms.group_norm(x, 2), (4, 6, 3, 3), 2),
    "rms_norm": (lambda x: norms.rms_norm(x, x.shape[1:]), (4, 6), 1),
    "ghost_batch_norm": (lambda x: norms.ghost_batch_norm(x, 4, training=True), (8, 3), 2),
    "batch_renorm": (
        lambda x: norms.batch_renorm(x, running_mean=mt.zeros(5), running_var=mt.ones(5), training=True),
        (8, 5),
        1,
    ),
    "whiten": (lambda x: norms.whiten(x, training=True), (16, 3), 1),
    "filter_response_norm": (norms.filter_response_norm, (4, 6, 3, 3), 1),
    "scale_norm": (lambda x: norms.scale_norm(x, mt.tensor(2.0)), (8, 5), 1),
    "local_response_norm": (lambda x: norms.local_response_norm(x, 3), (4, 6, 3, 3), 1),
    "weight_norm": (lambda x: norms.weight_norm(x, mt.ones((8, 1))), (8, 5), 1),
    "spectral_norm": (lambda x: norms.spectral_norm(x, mt.ones(8), mt.ones(5)), (8, 5), 1),
    "weight_standardize": (norms.weight_standardize, (8, 2, 3, 3), 1),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", AXES)
def test_every_norm_of_the_library_is_found_over_the_axes_of_its_table(name, dtype):
    call, shape, parts = LIBRARY[name]
    row, x = AXES[name], leaf(*shape, dtype=dtype)
    y = call(x)
    (norm,) = norms_of(y)
    assert norm.axes == row.statistics(len(shape))
    assert norm.centered == row.centers
    assert norm.input.shape == row.view(shape, parts)
    assert norm.named == (name in ("whiten", "local_response_norm", "spectral_norm"))
    assert norm.input is x or parts > 1


@pytest.mark.parametrize("name", AXES)
def test_in_a_graph_that_is_too_large_only_norms_of_the_library_are_found(name):
    call, shape, _ = LIBRARY[name]
    y = two_pass(mt.reshape(call(leaf(*shape)), shape=(shape[0], -1)))
    whole, part = norms_of(y), norms_of(y, most=10)
    assert whole.complete
    assert not part.complete
    assert len(whole) == 2
    assert plain(part) == plain(whole[:1])


def test_a_large_graph_has_a_limit_with_a_name():
    assert norms_of(leaf(1000, 1000) * 2.0).complete
    assert not norms_of(two_pass(leaf(1000, 1000)) * 2.0).complete


ONE_NORM = {
    "l2": (lambda x: x / mt.norm(x, axis=1, keepdims=True), (1,), False),
    "l2 of all": (lambda x: x / mt.norm(x), (0, 1), False),
    "rms by hand": (lambda x: x * ((x * x).mean(axis=1, keepdims=True) + EPS) ** -0.5, (1,), False),
    "weight norm by hand": (lambda x: x / mt.sqrt((x * x).sum(axis=0)) * GAMMA, (0,), False),
    "mean kept": (lambda x: x / x.std(axis=0), (0,), False),
    "residual": (lambda x: x + norms.layer_norm(x, 5), (1,), True),
    "a large ε": (lambda x: (x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + 10.0), (0,), True),
    "unbiased": (lambda x: (x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0, correction=1) + EPS), (0,), True),
    "ε on σ": (lambda x: (x - x.mean(axis=0)) / (x.std(axis=0) + 0.1), (0,), True),
    "repeated first": (
        lambda x: (x - x.mean(axis=0)) / mt.sqrt(mt.broadcast_to(x.var(axis=0), x.shape) + EPS),
        (0,),
        True,
    ),
    "transposed": (lambda x: two_pass(mt.permute_dims(x, (1, 0))), (1,), True),
    "over all": (lambda x: (x - x.mean()) / mt.sqrt(x.var() + EPS), (0, 1), True),
}


@pytest.mark.parametrize("name", ONE_NORM)
def test_one_norm(name):
    call, axes, centered = ONE_NORM[name]
    x = leaf(8, 5)
    y = call(x)
    (norm,) = norms_of(y)
    assert (norm.input, norm.axes, norm.centered) == (x, axes, centered)
    check_whole(norm)


def test_two_norms_of_one_tensor_over_the_same_axes_are_one_and_over_others_two():
    x = leaf(8, 5)

    def unit():
        return x / mt.norm(x, axis=1, keepdims=True)

    (cosine,) = norms_of(mt.matmul(unit(), unit().mT))
    assert len(cosine.statistics) == 4
    both = norms_of(norms.layer_norm(x, 5) + norms.batch_norm(x, training=True))
    assert [(norm.input, norm.axes) for norm in both] == [(x, (1,)), (x, (0,))]
    assert both[0].inner.isdisjoint(both[1].inner)


def test_norms_in_series_are_told_apart():
    x, w = leaf(8, 5), leaf(5, 4, seed=1)
    hidden = mt.tanh(mt.matmul(two_pass(x), w))
    first, second = norms_of(norms.layer_norm(hidden, 4))
    assert (first.input, first.axes, second.input, second.axes) == (x, (0,), hidden, (1,))
    first, second = norms_of(norms.layer_norm(norms.layer_norm(x, 5), 5))
    assert (first.input, second.input) == (x, first.output)
    assert first.inner.isdisjoint(second.inner)


def test_what_a_norm_is_divided_by_and_multiplied_with_again_later_does_not_swallow_the_norms_between():
    x = leaf(8, 5)
    mean, sigma = x.mean(axis=0), mt.sqrt(x.var(axis=0) + EPS)
    normalized = (x - mean) / sigma
    inside = mt.tanh(mt.matmul(normalized, leaf(5, 5, seed=1)))
    outer, inner = norms_of(norms.layer_norm(inside, 5) * sigma + mean)
    assert (outer.input, outer.output, inner.input, inner.axes) == (x, normalized, inside, (1,))


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_in_front_ends_at_its_product_and_the_sum_with_the_bias_serves_as_well(bias):
    x, linear = leaf(8, 5), nn.Linear(5, 5, bias=bias)
    hidden = linear(x)
    (norm,) = norms_of(nn.BatchNorm1d(5)(hidden))
    product = hidden.node.inputs[0] if bias else hidden
    assert (norm.input, norm.axes) == (product, (0,))
    assert norm.later == (((hidden, (0,)),) if bias else ())


def test_a_convolution_in_front_serves_as_a_later_input_with_its_own_axes():
    hidden = nn.Conv2d(3, 2, 3)(leaf(4, 3, 6, 6))
    (norm,) = norms_of(nn.BatchNorm2d(2)(hidden))
    assert norm.later[-1] == (hidden, (0, 2, 3))
    assert norm.input.size == hidden.size


def test_a_norm_of_a_group_begins_at_its_reshaped_input_and_a_factor_in_front_belongs_to_it():
    x = leaf(4, 6, 3, 3)
    (norm,) = norms_of(norms.group_norm(x, 2))
    assert (norm.input.node.primitive.name, norm.input.shape, norm.axes) == ("reshape", (4, 2, 3, 3, 3), (2, 3, 4))
    x = leaf(8, 5)
    doubled = x * 2.0
    (norm,) = norms_of(norms.layer_norm(doubled, 5))
    assert (norm.input, norm.later) == (x, ((doubled, (1,)),))


def test_parameters_that_hide_a_gradient_hide_no_norm():
    x = leaf(8, 5)
    gamma = mt.tensor([0.0, 1.0, -1.0, 1e-13, 0.0], requires_grad=True)
    inverse = gamma / mt.sqrt(x.var(axis=0) + EPS)
    y = x * inverse - x.mean(axis=0) * inverse
    assert found(y) == [((0,), True)]
    identity = mt.tensor(np.eye(5), requires_grad=True)
    (norm,) = norms_of(norms.batch_norm(mt.matmul(x, identity), training=True))
    assert norm.input is not x


def test_a_whitening_is_named_by_its_scope_and_its_own_steps_are_no_norms():
    for groups in (1, 3):
        x = leaf(16, 3)
        y = norms.whiten(x * 2.0, training=True, num_groups=groups, weight=mt.ones(3))
        (norm,) = norms_of(y)
        assert norm.named
        assert [(s.kind, s.value.name) for s in norm.statistics] == [("shift", "μ"), ("scale", "Σ^(−½)")]
        assert norm.output.node.primitive.name == "matmul"
        assert norm.input.node.primitive.name == "multiply"


class Misnamed(nn.Module):
    """Its parts are called like norms of the library, and are others."""

    def __init__(self):
        super().__init__()
        self.spectral_norm = nn.Linear(5, 5)
        self.whiten = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
        self.local_response_norm = nn.LayerNorm(5)

    def forward(self, x):
        return self.local_response_norm(mt.tanh(self.whiten(mt.tanh(self.spectral_norm(x)))))


def test_a_scope_of_the_users_with_the_name_of_a_norm_names_none():
    y = Misnamed()(leaf(8, 5))
    for most in (10, 10**6):
        assert [(norm.axes, norm.named) for norm in norms_of(y, most)] == [((0,), False), ((1,), False)]


def test_in_prediction_there_are_no_statistics():
    x = leaf(8, 5)
    assert norms_of(norms.batch_norm(x, running_mean=mt.zeros(5), running_var=mt.ones(5))) == []
    assert (
        norms_of(norms.whiten(x, running_mean=mt.zeros(5), running_whitening=mt.reshape(mt.ones(25), (1, 5, 5)))) == []
    )


# --- no norm ----------------------------------------------------------------------------------------------


REFUSED = {
    "softmax": lambda x: mt.softmax(x, axis=1),
    "log_softmax": lambda x: mt.log_softmax(x, axis=1),
    "attention": lambda x: mt.matmul(mt.softmax(mt.matmul(x, x.mT), axis=-1), x),
    "layer of attention": lambda x: nn.MultiheadAttention(5, 1)(*[mt.reshape(x, (1, 8, 5))] * 3)[0],
    "gate by the variance": lambda x: x * x.var(axis=0),
    "gate by the deviation": lambda x: x * x.std(axis=0),
    "gate by the mean": lambda x: x * mt.sigmoid(x.mean(axis=0)),
    "larger than the mean": lambda x: mt.maximum(x, x.mean(axis=0)),
    "min-max": lambda x: (x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0)),
    "largest": lambda x: x / mt.max(mt.abs(x), axis=0),
    "sum of sizes": lambda x: x / mt.sum(mt.abs(x), axis=0),
    "centred": lambda x: x - x.mean(axis=0),
    "mean pooling": lambda x: mt.matmul(mt.reshape(x.mean(axis=0), (1, 5)), draw(5, 50)),
    "pooled length": lambda x: mt.matmul(mt.reshape(mt.norm(x, axis=0), (1, 5)), draw(5, 50)),
    "squared loss": lambda x: mt.losses.mse_loss(x, draw(8, 5, seed=2)),
    "cross-entropy": lambda x: mt.losses.cross_entropy(x, np.arange(8) % 5),
    "deviation of a loss": lambda x: ((x - 1.0) ** 2).mean(axis=1).std(),
    "explained": lambda x: 1.0 - ((x - 1.0) ** 2).sum() / x.var(),
    "saturated length": lambda x: mt.matmul(mt.sigmoid(mt.norm(x, axis=1, keepdims=True)), draw(1, 3)),
    "constant scale": lambda x: (x - x.mean(axis=0)) / mt.stop_gradient(x.std(axis=0)),
    "perceptron": lambda x: nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 3), nn.Tanh())(x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_norm_is_none(name):
    y = REFUSED[name](leaf(8, 5))
    assert norms_of(y) == []
    assert norms_of(two_pass(y * 1.0) if y.ndim == 2 and y.shape[0] > 1 else y)[1:] == []


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0)])
def test_a_tensor_without_numbers_has_no_norm(shape):
    x = mt.tensor(np.zeros(shape), requires_grad=True)
    assert norms_of(two_pass(x * 1.0) if shape[0] else (x * 1.0 - x.sum(axis=0)) / mt.norm(x, axis=0)) == []


def test_what_a_backward_pass_has_freed_hides_no_norm_after_it():
    hidden = mt.tanh(leaf(8, 5))
    y = two_pass(hidden)
    hidden.sum().backward()
    with pytest.raises(RuntimeError, match="freed"):
        norms_of(y)
    (norm,) = norms_among(history(y))
    assert norm.input is hidden


def test_a_leaf_has_no_norms():
    assert norms_of(leaf(3)) == []
    assert norms_of(leaf(3)).complete


def test_in_an_empty_graph_there_is_none():
    x, w = leaf(0, 3), leaf(0, 3, seed=1)
    assert norms_of((x - x.sum(axis=0)) * (w * 2.0) / mt.sqrt((x * x).sum(axis=0) + EPS)) == []


# --- kinks: at some points an earlier tensor looks like the input -------------------------------------------

KINKS = {
    "above the mean": lambda x: mt.maximum(x, x.mean(axis=0)),
    "above the mean of something negative": lambda x: mt.maximum(-mt.exp(x), (-mt.exp(x)).mean(axis=0)),
    "below the mean": lambda x: mt.minimum(x, x.mean(axis=0)),
    "the size": mt.abs,
    "the positive part, and a little of the rest": lambda x: mt.maximum(x, 0.1 * x),
    "the larger of two": lambda x: mt.maximum(x, mt.tensor(draw(x.shape[1], seed=7), requires_grad=True)),
}


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("spelling", [two_pass, per_column], ids=spelled)
def test_in_front_of_a_norm_a_kink_is_seen_whatever_the_point(name, spelling):
    for seed in range(10):
        for columns in (3, 4):
            x = leaf(3, columns, seed=seed)
            z = KINKS[name](x - 3.0)
            # Over the columns of a row, few as they are.
            (norm,) = norms_of(mt.permute_dims(spelling(mt.permute_dims(z, (1, 0))), (1, 0)))
            assert norm.input is z
            assert norm.axes == (1,)


def test_in_a_graph_whose_values_are_nearly_nothing_no_gate_is_the_input_of_a_norm():
    x = leaf(3, 4) * 1e-10
    z = x + mt.softmax(x, axis=1)
    gated = z * mt.sigmoid(z.mean(axis=0))
    (norm,) = norms_of(gated / mt.norm(gated))
    assert norm.input is gated
    assert norm.axes == (0, 1)


# --- compositions -----------------------------------------------------------------------------------------


def per_sample(spelling):
    return lambda x: mt.permute_dims(spelling(mt.permute_dims(x, (1, 0))), (1, 0))


NORMS = [
    *((spelling, (0,), True) for spelling in SPELLINGS),
    *((per_sample(spelling), (1,), True) for spelling in SPELLINGS),
    (lambda x: norms.rms_norm(x, x.shape[1]), (1,), False),
    (lambda x: x / mt.sqrt((x * x).sum(axis=1, keepdims=True) + EPS), (1,), False),
    (lambda x: x / mt.norm(x), (0, 1), False),
]
# They leave a norm behind them as it is: what it normalizes is no factor times what came in, plus a constant.
BETWEEN = [
    lambda x: mt.tanh(x) + 0.1 * x,
    lambda x: mt.matmul(x, mt.tensor(draw(x.shape[1], 4, seed=3), requires_grad=True)),
    lambda x: x * mt.sigmoid(x.mean(axis=0)),
    lambda x: x * x.var(axis=0) + 0.1 * mt.tanh(x),
    lambda x: x + mt.softmax(x, axis=1),
    lambda x: mt.exp(0.1 * x) - x.mean(axis=1, keepdims=True),
    lambda x: mt.maximum(x, x.mean(axis=0)),
    lambda x: mt.matmul(mt.softmax(mt.matmul(x, x.mT), axis=-1), x),
    lambda x: x * x * mt.tensor(draw(x.shape[1], seed=4), requires_grad=True),
]


def check_composition(data):
    rows = data.draw(st.integers(3, 8), label="rows")
    z = x = leaf(rows, data.draw(st.integers(3, 6), label="columns"), seed=data.draw(st.integers(0, 99)))
    expected = []
    for _ in range(data.draw(st.integers(1, 3), label="blocks")):
        for between in data.draw(st.lists(st.sampled_from(BETWEEN), max_size=2), label="between"):
            z = between(z)
        norm, axes, centered = data.draw(st.sampled_from(NORMS), label="norm")
        made = norm(z) * mt.tensor(draw(z.shape[1], seed=5), requires_grad=True)
        expected.append((z, axes, centered))
        z = z + made if data.draw(st.booleans(), label="residual") else made
        z = mt.tanh(z) + 0.1 * z
    result = norms_of(z)
    assert [(norm.axes, norm.centered) for norm in result] == [(axes, centered) for _, axes, centered in expected]
    for norm, (z_in, _, _) in zip(result, expected, strict=True):
        assert z_in in {norm.input, *(tensor for tensor, _ in norm.later)}
    assert x.grad is None


@given(st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_norms_are_found_in_any_composition(data):
    check_composition(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_norms_are_found_in_very_many_compositions(data):
    check_composition(data)


# --- what it leaves alone ---------------------------------------------------------------------------------


def test_nothing_of_the_users_is_touched():
    x, w = leaf(8, 5), leaf(5, 4, seed=1)
    hidden = mt.matmul(x, w)
    called = []
    for tensor in (x, w, hidden):
        tensor.register_hook(lambda g: called.append(g))
    y = norms.batch_norm(hidden, training=True).sum()
    before = x.numpy().copy(), hidden.numpy().copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    recorded = [y.node.index, y.node.version, y.node.scope]
    assert found(y) == [((0,), True)]
    assert called == []
    assert x.grad is None
    assert w.grad is None
    assert [y.node.index, y.node.version, y.node.scope] == recorded
    np.testing.assert_array_equal(x.numpy(), before[0])
    np.testing.assert_array_equal(hidden.numpy(), before[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
    y.backward()
    assert len(called) == 3


def test_it_is_the_same_every_time_and_in_every_mode():
    x = leaf(8, 5)
    y = mt.softmax(two_pass(x) * x.var(axis=0))
    first = plain(norms_of(y))
    assert len(first) == 1
    for mode in (mt.no_grad, mt.detect_anomaly, mt.trace_lines):
        with mode():
            assert plain(norms_of(y)) == first
            assert (x * 2.0).requires_grad == (mode is not mt.no_grad)
    with mt.name_scope("outside"):
        assert plain(norms_of(y)) == first


def test_a_freed_graph_is_refused():
    y = two_pass(leaf(8, 5)).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"^norms_of: the graph of .* has been freed"):
        norms_of(y)


def test_a_graph_with_a_changed_leaf_is_read_as_it_was_written():
    x = leaf(8, 5)
    y = two_pass(x)
    x.assign_(np.zeros((8, 5)))
    assert found(y) == [((0,), True)]


def test_operations_that_fail_at_other_numbers_are_no_norms_and_hide_none():
    def only_positive(a):
        if (a < 0).any():
            raise ArithmeticError("negative")
        return np.sqrt(a)

    root = mt.primitive("positive_root", only_positive, lambda g, y, a: g / (2 * y))
    x = mt.tensor(np.abs(draw(8, 5)), requires_grad=True)
    hidden = root(x)
    (norm,) = norms_of(two_pass(hidden))
    assert norm.input is hidden
    assert norms_of(hidden / root(x.sum(axis=0))) == []


def test_a_rule_that_fails_makes_no_statistic_and_hides_no_norm():
    def failing(g, y, a):
        raise ArithmeticError("no rule")

    twice = mt.primitive("twice", lambda a: 2 * a, failing)
    x = leaf(8, 5)
    hidden = twice(x)
    (norm,) = norms_of(two_pass(hidden))
    assert norm.input is hidden
    assert norms_of(x / twice(mt.norm(x, axis=0))) == []


@pytest.mark.parametrize("limit", [None, 1e2])
def test_an_operation_for_some_numbers_only_hides_no_norm_behind_it(limit):
    values = draw(8, 5)

    def choosy(a):
        if (np.abs(a).max() > limit) if limit else not np.array_equal(a, values):
            raise ArithmeticError("other numbers")
        return 2 * a

    twice = mt.primitive("choosy", choosy, lambda g, y, a: 2 * g)
    x = mt.tensor(values, requires_grad=True)
    hidden = twice(x)
    (norm,) = norms_of(two_pass(hidden))
    # Where it runs at small numbers, x is the input of a norm only if it runs at large ones too.
    assert norm.input is hidden
