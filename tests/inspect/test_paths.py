"""The ledger of a gradient: its paths, their names and closed forms, what a norm takes out, what a cut does."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor.core.primitive import primitive
from microtensor.demos import DEMOS
from microtensor.inspect.history import COTANGENT_SEED
from microtensor.ledger import input_of, paths, to_json, to_table
from microtensor.support.modes import keep_graphs
from microtensor.viz.paths import paths_to_dot, render_paths

RNG = np.random.default_rng(7)
START = RNG.bit_generator.state
FOUR = ["direct", "via the mean", "via the variance", "via the mean inside the variance"]
EPS = 0.3


@pytest.fixture(autouse=True)
def _same_numbers_for_each_test():
    RNG.bit_generator.state = START


def data(*shape, dtype="float64"):
    return mt.tensor(RNG.normal(2.0, 3.0, shape).astype(dtype), requires_grad=True, name="x")


def names(ledger, block=0):
    return [path.name for path in ledger.blocks[block].paths]


def assert_sums(ledger, y, x, g):
    """Every block adds up to the gradient that the engine gives."""
    expected = mt.grad(y, x, g).numpy()
    np.testing.assert_allclose(ledger.gradient, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    for block in ledger.blocks:
        total = np.sum([path.contribution for path in block.paths], axis=0)
        size = max(path.norm for path in block.paths)
        np.testing.assert_allclose(total, expected, rtol=0, atol=1e-12 * size)


def textbook(x, eps=EPS):
    mu = mt.mean(x, axis=0)
    var = mt.mean((x - mu) ** 2, axis=0)
    return (x - mu) / mt.sqrt(var + eps)


# --- the closed form of batch norm ------------------------------------------------------------------------


def test_the_four_paths_of_batch_norm_in_closed_form():
    x, gamma, beta = data(8, 4), RNG.normal(size=4), RNG.normal(size=4)
    y = mt.norms.batch_norm(x, weight=mt.tensor(gamma), bias=mt.tensor(beta), training=True, eps=EPS)
    g = RNG.normal(size=(8, 4))
    ledger = paths(y, x, g)
    values = x.numpy()
    sigma = np.sqrt(values.var(0) + EPS)
    x_hat = (values - values.mean(0)) / sigma
    expected = [
        gamma * g / sigma,
        np.broadcast_to(-gamma * g.mean(0) / sigma, (8, 4)),
        -gamma * x_hat * (g * x_hat).mean(0) / sigma,
        np.zeros((8, 4)),
    ]
    assert names(ledger) == FOUR
    for path, contribution in zip(ledger.paths, expected, strict=True):
        np.testing.assert_allclose(path.contribution, contribution, rtol=1e-12, atol=1e-14)
        assert (path.count, path.norm) == (1, pytest.approx(np.linalg.norm(contribution), abs=1e-14))
    last = ledger["via the mean inside the variance"]
    assert last.norm <= 1e-15 * ledger["direct"].norm
    assert (last.zero, last.identity) == (True, "Σ (x − μ) = 0")
    assert [path.zero for path in ledger.paths[:3]] == [False] * 3
    assert_sums(ledger, y, x, g)


def test_a_route_names_the_operations_from_x_to_y():
    x = data(8, 4)
    ledger = paths(mt.norms.standardize(x, 0), x)
    routes = {path.name: " ".join(step.title for step in path.route) for path in ledger.paths}
    assert routes["direct"] == "x x − μ x̂"
    assert routes["via the mean"] == "x μ x − μ x̂"
    assert routes["via the variance"] == "x x − μ ( )² σ² + ε σ x̂"
    assert routes["via the mean inside the variance"] == "x μ x − μ ( )² σ² + ε σ x̂"


CENTRED = {
    "batch_norm": lambda x: mt.norms.batch_norm(x, training=True),
    "batch_renorm": lambda x: mt.norms.batch_renorm(x, running_mean=mt.zeros(4), running_var=mt.ones(4), training=True),
    "ghost_batch_norm": lambda x: mt.norms.ghost_batch_norm(x, 3, training=True),
    "layer_norm": lambda x: mt.norms.layer_norm(x, (4, 5)),
    "instance_norm": lambda x: mt.norms.instance_norm(x),
    "group_norm": lambda x: mt.norms.group_norm(x, 2),
    "weight_standardize": lambda x: mt.norms.weight_standardize(x),
    "by hand": textbook,
    "mt.var": lambda x: (x - mt.mean(x, axis=0)) / mt.sqrt(mt.var(x, axis=0) + EPS),
    "unbiased": lambda x: (x - mt.mean(x, axis=0)) / mt.sqrt(mt.var(x, axis=0, correction=1) + EPS),
    "mt.std + ε": lambda x: (x - mt.mean(x, axis=0)) / (mt.std(x, axis=0) + EPS),
    "rsqrt": lambda x: (x - mt.mean(x, axis=0)) * mt.rsqrt(mt.var(x, axis=0) + EPS),
    "γ first": lambda x: (x - mt.mean(x, axis=0)) * 3.0 / mt.sqrt(mt.var(x, axis=0) + EPS),
    "sums over N": lambda x: (x - x.sum(axis=0) / 6) / mt.sqrt(((x - x.sum(axis=0) / 6) ** 2).sum(axis=0) / 6 + EPS),
    "c · c": lambda x: (x + -mt.mean(x, axis=0)) / mt.sqrt(mt.mean(mt.multiply(c := x - x.mean(axis=0), c), axis=0)),
    "broadcast": lambda x: (x - mt.broadcast_to(x.mean(axis=0), shape=x.shape)) / mt.sqrt(mt.var(x, axis=0) + EPS),
}
UNCENTRED = {
    "rms_norm": (lambda x: mt.norms.rms_norm(x, 5, eps=EPS), "mean square"),
    "filter_response_norm": (lambda x: mt.norms.filter_response_norm(x), "mean square"),
    "scale_norm": (lambda x: mt.norms.scale_norm(x, mt.tensor(2.0)), "sum of squares"),
    "weight_norm": (lambda x: mt.norms.weight_norm(x, mt.ones((6, 1, 1))), "sum of squares"),
    "by hand": (lambda x: x / mt.sqrt(mt.mean(x * x, axis=0) + EPS), "mean square"),
}


@pytest.mark.parametrize("norm", CENTRED)
def test_every_centred_norm_has_the_four_paths(norm):
    x = data(6, 4, 5)
    y = CENTRED[norm](x)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert names(ledger) == FOUR
    assert ledger.paths[3].norm <= 1e-15 * ledger.paths[0].norm
    assert_sums(ledger, y, x, g)
    parts = ledger.blocks[0].removal.parts
    assert [(part.direction, part.holds) for part in parts] == [("1", True), ("x − μ", True)]


@pytest.mark.parametrize("norm", UNCENTRED)
def test_a_norm_that_keeps_the_mean_has_two(norm):
    function, statistic = UNCENTRED[norm]
    x = data(6, 4, 5)
    y = function(x)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert names(ledger) == ["direct", f"via the {statistic}"]
    assert_sums(ledger, y, x, g)
    assert [(part.direction, part.holds) for part in ledger.blocks[0].removal.parts] == [("x", True)]


def test_the_variance_in_one_pass_is_a_variance_all_the_same():
    x = data(6, 4)
    y = (x - mt.mean(x, axis=0)) / mt.sqrt(mt.mean(x * x, axis=0) - mt.mean(x, axis=0) ** 2 + EPS)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert names(ledger) == FOUR[:3]
    two = paths(textbook(x), x, g)
    for name in FOUR[:3]:
        np.testing.assert_allclose(ledger[name].contribution, two[name].contribution, rtol=1e-10, atol=1e-12)
    assert_sums(ledger, y, x, g)


def test_centring_alone_is_no_norm():
    x = data(6, 4)
    ledger = paths(x - mt.mean(x, axis=0), x)
    assert names(ledger) == ["direct", "via mean"]
    assert (ledger.note, ledger.blocks[0].removal) == ("no norm with statistics of its input on the way", None)


def test_whitening_has_more_ways_than_the_mean():
    x = data(8, 3)
    y = mt.norms.whiten(x)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert names(ledger) == ["direct", "via the mean", "via Σ^(−½)", "via the mean inside Σ^(−½)"]
    assert ledger.paths[3].zero
    assert ledger.count == sum(path.count for path in ledger.paths) > 100
    assert_sums(ledger, y, x, g)


def test_prediction_mode_has_the_direct_path_alone():
    x = data(6, 4)
    ledger = paths(mt.norms.batch_norm(x, running_mean=mt.zeros(4), running_var=mt.ones(4)), x)
    assert (names(ledger), ledger.blocks[0].title, ledger.blocks[0].removal) == (["direct"], "", None)


def test_a_set_of_one_value_loses_all_of_its_gradient():
    x = data(1, 4)
    ledger = paths(mt.norms.standardize(x, 0), x)
    assert len(ledger.paths) == 4
    assert np.all(ledger.gradient == 0)
    assert "NaN" not in str(ledger)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: mt.log_softmax(x), "via exp → sum → log"),
        (lambda x: mt.softmax(x), "via sum"),
        (lambda x: x - mt.max(x, axis=0), "via max"),
        (lambda x: x * mt.sigmoid(mt.mean(x, axis=0)), "via mean → sigmoid"),
        (lambda x: x - mt.sum(x, axis=0), "via sum"),
        (lambda x: x + mt.mean(x, axis=0), "via mean"),
        (lambda x: x - mt.mean(x, axis=0) * 0.5, "via mean → ×"),
        (lambda x: x - mt.tanh(mt.mean(x, axis=0)), "via mean → tanh"),
        (lambda x: x - mt.sum(x, axis=0) * [1.0, 2.0, 3.0, 4.0], "via sum → ×"),
        (lambda x: x / mt.sum(x, axis=0), "via sum"),
        (lambda x: (x - mt.mean(x, axis=0)) / mt.sqrt(mt.mean(mt.square(x), axis=0) + 1.0), "via the mean square"),
        (lambda x: x / mt.mean(mt.mean(mt.square(x), axis=0), axis=0), "via ( )² → mean → mean"),
    ],
)
def test_a_statistic_that_makes_no_norm_has_a_name_and_no_claims(function, name):
    x = data(6, 4)
    y = function(x)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert {"direct", name} <= set(names(ledger))
    assert ledger.blocks[0].removal is None
    assert_sums(ledger, y, x, g)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / mt.mean(mt.square(x), axis=0),
        lambda x: x * mt.sqrt(mt.mean(mt.square(x), axis=0)),
        lambda x: x / mt.exp(mt.mean(mt.square(x), axis=0)),
        lambda x: x / mt.sqrt(mt.mean(mt.square(x), axis=0) + mt.max(x, axis=0) ** 2),
    ],
)
def test_no_residue_is_claimed_for_what_is_no_root(function):
    assert paths(function(data(6, 4))).blocks[0].removal is None


def test_what_goes_around_a_norm_is_told_apart():
    x = data(8, 4)
    y = x * 3.0 + mt.norms.layer_norm(x, 4)
    g = RNG.normal(size=y.shape)
    ledger = paths(y, x, g)
    assert names(ledger) == [*FOUR, "around the norm"]
    np.testing.assert_allclose(ledger["around the norm"].contribution, 3.0 * g)
    assert all(part.holds for part in ledger.blocks[0].removal.parts)
    assert_sums(ledger, y, x, g)


def test_several_norms_each_tell_all_paths_apart():
    torch_like = DEMOS["mlp"]()
    x = input_of(torch_like)
    ledger = paths(torch_like, x)
    assert [block.title for block in ledger.blocks] == ["model.block1.bn", "model.block2.bn"]
    assert all(names(ledger, i) == FOUR for i in range(2))
    # Every path meets both norms, and the logarithm of the softmax's sum besides.
    assert ledger.count == 4 * 4 * 2
    assert all(sum(path.count for path in block.paths) == ledger.count for block in ledger.blocks)
    one = paths(torch_like, x, norm="model.block2.bn")
    assert [block.title for block in one.blocks] == ["model.block2.bn"]
    np.testing.assert_array_equal(one.paths[1].contribution, ledger.blocks[1].paths[1].contribution)
    with pytest.raises(ValueError, match=r"no norm 'bn9' .* there is model\.block1\.bn, model\.block2\.bn"):
        paths(torch_like, x, norm="bn9")


def test_norms_of_one_function_are_numbered_and_limited():
    x = data(4, 3)
    y = x
    for _ in range(5):
        y = mt.norms.layer_norm(mt.tanh(y), 3)
    ledger = paths(y, x, limit=12)
    assert [block.title for block in ledger.blocks] == [f"layer_norm ({i})" for i in (1, 2, 3)]
    assert "2 more norms" in ledger.note
    assert ledger.count == 4**5


# --- graphs without a norm --------------------------------------------------------------------------------


def test_every_path_by_itself():
    x = data(3)
    g = RNG.normal(size=3)
    y = mt.tanh(x) * x + x
    ledger = paths(y, x, g)
    tanh = np.tanh(x.numpy())
    assert names(ledger) == ["via tanh → ×", "via ×", "direct"]
    for path, factor in zip(ledger.paths, ((1 - tanh**2) * x.numpy(), tanh, 1.0), strict=True):
        np.testing.assert_allclose(path.contribution, factor * g, rtol=1e-14, atol=1e-15)
    assert_sums(ledger, y, x, g)


def test_names_that_would_repeat_are_numbered_and_long_ones_shortened():
    x = data(3)
    assert names(paths(x * x, x)) == ["direct (1)", "direct (2)"]
    long = mt.exp(mt.tanh(mt.sin(mt.cos(mt.tanh(mt.sin(x))))))
    assert names(paths(long + x, x)) == ["via sin → tanh → cos → … → exp", "direct"]


def test_what_is_broadcast_without_a_reduction_is_no_statistic():
    x = data(3, 2)
    y = x + x @ mt.tensor([[1.0], [2.0]])
    assert names(paths(y, x)) == ["direct", "via @"]


def test_too_many_paths_are_grouped_by_the_way_out_of_x():
    x = data(3)
    h = mt.label(x * 0.5, "h")
    y = mt.exp(h) + mt.tanh(h)
    for _ in range(60):
        y = y * 0.3 + mt.sin(y)
    g = RNG.normal(size=3)
    ledger = paths(y, x, g)
    assert ledger.count == 10**12
    assert sorted(names(ledger)) == ["via exp", "via tanh"]
    assert "grouped by the operation in which they leave h" in str(ledger)
    assert "more than 1,000,000,000,000 paths" in str(ledger)
    assert_sums(ledger, y, x, g)


def test_groups_beyond_the_limit_are_one():
    x = data(2)
    y = sum((mt.sin(x * float(k)) for k in range(1, 12)), start=mt.exp(x))
    g = RNG.normal(size=2)
    ledger = paths(y, x, g, limit=4)
    assert len(ledger.paths) == 4
    assert ledger.paths[-1].name == "via 9 other operations"
    assert sum(path.count for path in ledger.paths) == ledger.count == 12
    assert_sums(ledger, y, x, g)


def test_a_long_chain_and_a_deep_net_are_no_trouble():
    x = data(2)
    y = x
    for _ in range(1_000):
        y = y * 0.9999 + 0.1
    ledger = paths(y, x, [1.0, 1.0])
    assert len(ledger.paths[0].route) == 2_001
    assert len(paths_to_dot(ledger)) < 10_000
    for _ in range(30):
        y = mt.norms.layer_norm(y, 2) + y
    ledger = paths(y, x, [1.0, 1.0])
    assert ledger.count == 10**12
    assert "more norms on the way are not shown; name one with norm=" in ledger.note


OPERATIONS = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / mt.sqrt(mt.square(b) + 1.0),
    lambda a, b: mt.tanh(a),
    lambda a, b: mt.square(a),
    lambda a, b: mt.mean(a, axis=0, keepdims=True),
    lambda a, b: mt.mean(mt.square(a), axis=1, keepdims=True),
]


@st.composite
def graphs(draw):
    """A random program over a small matrix, with reductions that may be broadcast back."""
    steps = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
    return draw(st.integers(0, 2**16)), steps


@given(graphs(), st.sampled_from([1, 5, 64]))
@settings(max_examples=60, deadline=None)
def test_the_paths_of_any_graph_add_up(graph, limit):
    seed, steps = graph
    rng = np.random.default_rng(seed)
    x = mt.tensor(rng.normal(size=(3, 2)), requires_grad=True)
    made = [x]
    for kind, i, j in steps:
        a, b = made[i % len(made)], made[j % len(made)]
        made.append(OPERATIONS[kind](a, b))
    y = made[-1]
    g = rng.normal(size=y.shape)
    assert_sums(paths(y, x, g, limit=limit), y, x, g)


def test_a_row_for_a_result_before_y():
    x = data(4, 3)
    h = mt.tanh(x)
    y = textbook(h)
    g = RNG.normal(size=y.shape)
    assert_sums(paths(y, h, g), y, h, g)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 3e-3), ("float32", 1e-6)])
def test_narrow_floats(dtype, size):
    x = data(8, 4, dtype=dtype)
    ledger = paths(mt.norms.batch_norm(x, training=True), x)
    assert names(ledger) == FOUR
    assert ledger.paths[3].zero
    total = np.sum([path.contribution for path in ledger.paths], axis=0)
    np.testing.assert_allclose(total, ledger.gradient, atol=size * ledger.paths[0].norm)


def test_values_that_are_not_finite_stay_visible():
    x = mt.tensor([[1.0], [np.inf], [2.0]], requires_grad=True, name="x")
    ledger = paths(textbook(x), x)
    assert "NaN" in str(ledger)
    assert '"NaN"' in to_json(ledger)
    assert "NaN" in paths_to_dot(ledger)
    infinite = paths(x * np.inf + mt.exp(x), x, np.ones((3, 1)))
    assert "∞" in str(infinite)
    assert '"Infinity"' in to_json(infinite)


# --- the cotangent and the state of the graph -------------------------------------------------------------


def test_the_cotangent_is_that_of_the_kept_backward_pass():
    x = data(8, 4)
    g = RNG.normal(size=(8, 4))
    with keep_graphs():
        y = textbook(x)
        y.backward(g)
        np.testing.assert_allclose(paths(y, x).gradient, x.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert paths(y, x).cotangent == "for the backward pass that the program ran"
    # The records were kept, so the used graph can be read with another one too.
    np.testing.assert_allclose(paths(y, x, mt.tensor(2 * g)).gradient, 2 * x.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_a_scalar_has_cotangent_1_and_anything_else_a_fixed_random_one():
    x = data(8, 4)
    assert paths(mt.sum(x * x), x).cotangent == ""
    first, second = paths(textbook(x), x), paths(textbook(x), x)
    assert first.cotangent == "for a random cotangent"
    np.testing.assert_array_equal(first.gradient, second.gradient)


def test_the_random_cotangent_is_not_the_data_of_a_common_seed():
    x = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True)
    ledger = paths(mt.norms.rms_norm(x, 4), x)
    assert np.linalg.norm(ledger.gradient) > 0.5 * ledger["direct"].norm


def test_a_parameter_that_was_moved_since_is_read_at_its_new_value():
    x, w = data(4, 3), mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = textbook(x) * w
    w.data = [2.0, 2.0, 2.0]
    g = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(paths(y, x, g).gradient, mt.grad(textbook(x) * 2.0, x, g).numpy(), rtol=1e-12)


def test_nothing_is_changed_and_no_hook_runs():
    x = data(4, 3)
    y = textbook(x)
    x.register_hook(lambda g: pytest.fail("a hook ran"))
    with mt.no_grad():
        paths(y, x, cut="mean")
    assert x.grad is None
    assert not y.node.spent


def test_data_that_require_no_gradient_have_paths_too():
    x, w = mt.tensor(RNG.normal(size=(5, 3)), name="x"), mt.tensor(RNG.normal(size=(3, 2)), requires_grad=True)
    assert names(paths(textbook(x @ w), x)) == FOUR


# --- what the norm takes out ------------------------------------------------------------------------------


def test_what_is_left_of_a_shift_and_of_a_scale():
    x, gamma = data(8, 4), RNG.normal(size=4)
    y = mt.norms.batch_norm(x, weight=mt.tensor(gamma), training=True, eps=EPS)
    g = RNG.normal(size=(8, 4))
    removal = paths(y, x, g).blocks[0].removal
    assert (removal.axes, removal.sets, removal.size) == ((0,), 4, 8)
    shift, scale = removal.parts
    values = x.numpy()
    variance, centred = values.var(0), values - values.mean(0)
    direct = gamma * g / np.sqrt(variance + EPS)
    d = mt.grad(y, x, g).numpy()
    assert shift.direct == pytest.approx(np.linalg.norm(direct.sum(0)) / np.sqrt(8))
    assert shift.total <= 1e-14 * shift.direct
    along = (direct * centred).sum(0) / np.linalg.norm(centred, axis=0)
    assert scale.direct == pytest.approx(np.linalg.norm(along))
    np.testing.assert_allclose(scale.predicted[0], EPS / (variance + EPS), rtol=1e-13)
    np.testing.assert_allclose(scale.residue, scale.predicted, rtol=1e-10)
    # The statement itself: ⟨d, x̂⟩ = (γ/√(v+ε)) Σ g x̂ · ε/(v+ε).
    x_hat = centred / np.sqrt(variance + EPS)
    stated = gamma / np.sqrt(variance + EPS) * (g * x_hat).sum(0) * EPS / (variance + EPS)
    np.testing.assert_allclose((d * x_hat).sum(0), stated, rtol=1e-10)
    assert removal.direct_rest == pytest.approx(removal.total_rest, rel=1e-12)


def test_without_an_epsilon_nothing_is_left():
    x = data(8, 4)
    part = paths(textbook(x, 0.0), x).blocks[0].removal.parts[1]
    assert part.holds
    assert not part.predicted.any()
    assert re.search("left of the scale: .*, rounding$", str(paths(textbook(x, 0.0), x)))


def test_digits_that_were_lost_are_not_covered_up():
    far = mt.tensor((1e6 + RNG.normal(size=(64, 1))).astype("float32"), requires_grad=True, name="x")
    ledger = paths(mt.norms.standardize(far, 0), far)
    assert ledger.blocks[0].removal.condition > 1e5
    assert re.search(r"left of the shift: .*, rounding, as the values are \S+e\d times", str(ledger))


# --- cuts -------------------------------------------------------------------------------------------------


def detached(x, cut):
    """The norm by hand with one path detached."""
    stop = mt.stop_gradient
    mu = mt.mean(x, axis=0)
    outer = stop(mu) if cut == "mean" else mu
    inner = stop(mu) if cut in ("mean", "mean@var") else mu
    var = mt.mean(mt.square(x - inner), axis=0)
    sigma = mt.sqrt(var + EPS)
    return (x - outer) / (stop(sigma) if cut == "var" else sigma)


def three_orders(y, x, g):
    draws = np.random.default_rng(COTANGENT_SEED + 1)
    value, found = mt.sum(y * g), []
    for _ in range(3):
        d = mt.grad(value, x, create_graph=True, allow_unused=True) if value.requires_grad else None
        found.append(np.zeros(x.shape) if d is None else d.numpy())
        value = mt.sum((mt.zeros(x.shape) if d is None else d) * draws.normal(size=x.shape))
    return found


@pytest.mark.parametrize(("cut", "wrong"), [("mean", 1), ("var", 1), ("mean@var", 2)])
@pytest.mark.parametrize("norm", ["package", "by hand", "two means"])
def test_a_cut_is_the_detached_implementation(cut, wrong, norm):
    x = data(7, 3)
    y = {
        "package": lambda: mt.norms.standardize(x, 0, EPS),
        "by hand": lambda: textbook(x),
        "two means": lambda: (x - mt.mean(x, axis=0)) / mt.sqrt(mt.var(x, axis=0) + EPS),
    }[norm]()
    g = RNG.normal(size=(7, 3))
    ledger = paths(y, x, g, cut=cut)
    other, right = three_orders(detached(x, cut), x, g), three_orders(y, x, g)
    np.testing.assert_allclose(ledger.cut.gradient, other[0], rtol=1e-11, atol=1e-13)
    for found, a, b in zip(ledger.cut.differences, other, right, strict=True):
        assert found == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b), rel=1e-6, abs=1e-13)
    assert ledger.cut.first_wrong == wrong
    if cut == "mean@var":
        assert ledger.cut.differences[0] <= 1e-15
    verdict = "the gradient itself is wrong" if wrong == 1 else "right as a gradient, wrong from order 2 on"
    assert verdict in str(ledger)


def test_a_cut_takes_the_path_of_its_name_away():
    x = data(7, 3)
    g = RNG.normal(size=(7, 3))
    for cut, name in (("mean", "via the mean"), ("var", "via the variance")):
        ledger = paths(textbook(x), x, g, cut=cut)
        np.testing.assert_allclose(ledger.cut.gradient, ledger.gradient - ledger[name].contribution, atol=1e-14)


def test_a_cut_concerns_the_norms_that_are_shown():
    x = data(6, 4)
    y = mt.norms.layer_norm(mt.tanh(mt.norms.batch_norm(x, training=True)), 4)
    both = paths(y, x, cut="mean@var").cut
    one = paths(y, x, norm="layer_norm", cut="mean@var").cut
    assert both.first_wrong == one.first_wrong == 2
    assert both.differences[0] <= 1e-14
    assert both.differences[1] != one.differences[1]


def test_a_cut_that_changes_nothing_is_right_to_order_3():
    # Everything comes around the norm, whose result is multiplied by 0.
    x = data(4, 1)
    ledger = paths(x * 3.0 + textbook(x) * 0.0, x, cut="mean")
    assert ledger.cut.first_wrong is None
    assert "right up to order 3" in str(ledger)


# --- bad input --------------------------------------------------------------------------------------------


def test_errors_say_what_to_do():
    x = data(4, 3)
    y = textbook(x)
    with pytest.raises(TypeError, match=r"paths: y is a ndarray"):
        paths(np.ones(3), x)
    with pytest.raises(TypeError, match=r"paths: x has dtype int64; it must be a tensor of floats"):
        paths(y, mt.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"does not depend on x"):
        paths(y, data(2))
    with pytest.raises(ValueError, match=r"does not depend on x"):
        paths(y, y)
    with pytest.raises(ValueError, match=r"does not depend on x"):
        paths(mt.where(mt.ops.greater(x, 0.0), mt.stop_gradient(x), 0.0) * mt.tensor(1.0, requires_grad=True), x)
    with pytest.raises(ValueError, match=r"cotangent has shape \(3,\); it must be \(4, 3\)"):
        paths(y, x, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"limit is 0"):
        paths(y, x, limit=0)
    with pytest.raises(ValueError, match=r"cut is .sigma.; it must be one of mean, var, mean@var"):
        paths(y, x, cut="sigma")
    with pytest.raises(ValueError, match=r"cut 'mean@var' needs a mean inside a variance"):
        paths(mt.norms.rms_norm(x, 3), x, cut="mean@var")
    with pytest.raises(ValueError, match=r"cut 'mean' needs a mean on the way"):
        paths(mt.norms.rms_norm(x, 3), x, cut="mean")
    with pytest.raises(ValueError, match=r"no norm 'bn' on the way from x to y; there is none at all"):
        paths(mt.tanh(x), x, norm="bn")
    with pytest.raises(KeyError, match=r"'via the max' is not one of the paths direct"):
        paths(y, x)["via the max"]
    mt.sum(y).backward()
    with pytest.raises(RuntimeError, match=r"has been freed by a backward pass; pass retain_graph=True"):
        paths(y, x)


def test_a_rule_that_is_not_linear_is_found_out():
    bad = primitive("bad", lambda x: x * 2, lambda g, y, x: g * g)
    x = mt.tensor(3.0, requires_grad=True)
    y = bad(x * 1.0)
    with pytest.raises(RuntimeError, match=r"the rule of bad is not linear in its cotangent"):
        paths(y + y * 1.0, x)


# --- the tensor that is meant -----------------------------------------------------------------------------


def test_the_tensor_by_name_by_scope_or_as_the_only_one():
    loss = DEMOS["mlp"]()
    assert input_of(loss).name == "x"
    assert input_of(loss, "x") is input_of(loss)
    assert input_of(loss, "model.block2").shape == (32, 32)
    with pytest.raises(ValueError, match=r"did you mean 'model\.block2\.bn'"):
        input_of(loss, "block2.bn")
    with pytest.raises(ValueError, match=r"2 tensors are called 'γ'; name the scope instead: .*model\.block1"):
        input_of(loss, "γ")
    with pytest.raises(ValueError, match=r"there are W, x, γ, .* and 19 more"):
        input_of(loss, "#")
    a, b = mt.tensor(1.0, requires_grad=True, name="a"), mt.tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match=r"several tensors could be x; choose one: a"):
        input_of(a * b)
    with pytest.raises(ValueError, match=r"several tensors could be x; choose one and pass it"):
        input_of(b * b.detach() * mt.tensor(1.0, requires_grad=True))
    with pytest.raises(ValueError, match=r"y of shape \(\) has no history, so there is nothing before it"):
        input_of(a)
    h = mt.label(mt.tanh(a), "h")
    assert input_of(h * h, "h") is h
    layer = mt.nn.Linear(2, 1, bias=False)
    assert input_of(layer(mt.ones((1, 2)).detach())).name == "W"


# --- text, data, pictures ---------------------------------------------------------------------------------


def test_the_table_is_aligned_and_says_it_all():
    text = str(paths(DEMOS["batch_norm"]()))
    lines = text.splitlines()
    assert lines[0] == "∂y/∂x, shape (8, 4): 4 paths, for a random cotangent"
    rows = lines[2:9]
    assert rows[0].startswith("bn1  BatchNorm1d(4)")
    assert [row.split("  ")[0] for row in rows[1:5]] == FOUR
    assert "exactly: Σ (x − μ) = 0" in rows[4]
    assert rows[0].index("norm") == rows[1].index("0.102")
    assert "takes out the shift, 23 %" in rows[2]
    assert "takes out the scale, 13 %" in rows[3]
    assert rows[6].endswith("64 % of direct² is left")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    assert lines[-1] == "left of the scale: 3.6e-6 to 5.3e-6 of it, ε/(σ² + ε)"


def test_colour_and_plain_characters():
    ledger = paths(DEMOS["batch_norm"]())
    painted = to_table(ledger, color=True)
    assert re.sub(r"\x1b\[\d+m", "", painted).splitlines() == str(ledger).splitlines()
    assert painted.count("\x1b[34m") == painted.count("\x1b[31m") == painted.count("\x1b[33m") == 1
    plain = to_table(ledger, ascii=True)
    assert "#####" in plain
    assert not set("█▏─") & set(plain)


def test_names_cannot_break_the_line():
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x\x1b[31m\n\u202e")
    with mt.name_scope("bad\nscope"):
        y = mt.norms.layer_norm(x, 2)
    ledger = paths(y, x)
    assert ledger.input == "x\\u001B[31m\\u000A\\u202E"
    assert "\x1b" not in str(ledger)
    assert "\u202e" not in paths_to_dot(ledger)


def test_json_holds_the_ledger():
    ledger = paths(DEMOS["batch_norm"](), cut="mean@var")
    content = json.loads(to_json(ledger))
    assert (content["schema"], content["input"], content["count"]) == ("microtensor.paths/2", "x", 4)
    records = content["norms"][0]["paths"]
    assert [record["name"] for record in records] == FOUR
    np.testing.assert_array_equal(records[0]["contribution"], ledger.paths[0].contribution)
    assert [step["label"] for step in records[0]["route"]][:2] == ["x", "x − μ"]
    assert content["norms"][0]["removal"]["parts"][0]["holds"] is True
    assert content["cut"]["first_wrong"] == 2
    large = json.loads(to_json(paths(mt.tanh(data(101, 100)))))
    assert (large["gradient"], large["cut"], large["norms"][0]["removal"]) == (None, None, None)


def test_each_path_is_a_line_of_its_own():
    source = paths_to_dot(paths(DEMOS["batch_norm"]()))
    assert source == paths_to_dot(paths(DEMOS["batch_norm"]()))
    for name in FOUR:
        assert f"<B>{name}</B>" in source
    assert "= 0 exactly" in source
    # y, +, ×, ÷ are shared by all; then direct has 3 stretches with its pill, and the others more.
    drawn = re.findall(r"-> \S+ \[.*color=\"(#\w+)\"", source)
    assert {colour: drawn.count(colour) for colour in set(drawn)} == {
        "#4b5b72": 3,
        "#1e4fd6": 3,
        "#be1240": 4,
        "#a9490b": 7,
        "#66758b": 8,
    }
    assert paths_to_dot(paths(DEMOS["batch_norm"]()), theme="dark") != source
    assert "takes out" not in paths_to_dot(paths(DEMOS["batch_norm"]()), legend=False)


def test_long_stretches_are_drawn_as_one_and_norms_stand_in_frames():
    source = paths_to_dot(paths(DEMOS["mlp"]()))
    assert source.count("subgraph cluster_") == 2
    assert "6 operations" in source
    x = data(4, 3)
    y = x
    for _ in range(4):
        y = mt.norms.layer_norm(mt.tanh(y), 3)
    assert "the first 3 of 4 norms" in paths_to_dot(paths(y, x))


@pytest.mark.parametrize(("format", "head"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("dot", b"digraph paths {")])
def test_pictures(format, head):
    ledger = paths(DEMOS["layer_norm"]())
    assert render_paths(ledger, format).startswith(head)
    if format == "svg":
        assert b"path by path" in render_paths(ledger, format)
        assert render_paths(ledger, format, theme="dark") != render_paths(ledger, format, theme="light")
