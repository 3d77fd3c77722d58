"""The ledger in every spelling of a norm: names, sums of squares, mistakes, hooks, and gradients made by hand."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn, norms
from microtensor.ledger import input_of, paths, to_json
from microtensor.support.modes import keep_graphs
from microtensor.text import columns
from microtensor.viz.paths import paths_to_dot
from tests.inspect.test_statistics import (
    BETWEEN,
    GAMMA,
    LIBRARY,
    NORMS,
    SPELLINGS,
    divided_apart,
    draw,
    leaf,
    mean_of_squares,
    spelled,
    two_pass,
)

INSIDE = "via the mean inside the variance"
FOUR = ["direct", "via the mean", "via the variance", INSIDE]
WORDS = ("kept", "digits were lost", "all the rest", "around the norm")


def named(ledger, block=0):
    return [path.name for path in ledger.blocks[block].paths]


def closed_form(x, g, eps=1e-5, axes=(0,), gamma=1.0):
    """The direct path, the one through the mean and the one through the variance, of γ (x − μ)/√(σ² + ε)."""
    d = g * gamma / np.sqrt(x.var(axes, keepdims=True) + eps)
    hat = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    mean = np.broadcast_to(-d.mean(axes, keepdims=True), x.shape)
    return d, mean, -hat * (d * hat).mean(axes, keepdims=True)


def squares(values, direction, axes):
    """The squared length of the part along a direction, for each set."""
    length = (direction**2).sum(axes, keepdims=True)
    return np.divide((values * direction).sum(axes, keepdims=True) ** 2, length, out=length * 0, where=length > 0)


def assert_adds_up(removal, direct, total, x, *, centered=True):
    """direct² = shift² + scale² + rest², and what is left² = rest² + Σ residue² · scale²."""
    axes = removal.axes
    centred = x - x.mean(axes, keepdims=True) if centered else x
    expected = [squares(direct, d, axes).sum() for d in ([np.ones_like(x)] if centered else []) + [centred]]
    np.testing.assert_allclose([part.direct**2 for part in removal.parts], expected, rtol=1e-9)
    assert removal.direct**2 == pytest.approx((direct**2).sum(), rel=1e-12)
    assert removal.direct**2 == pytest.approx(sum(expected) + removal.direct_rest**2, rel=1e-12)
    scale = squares(direct, centred, axes)
    left = np.nan_to_num(removal.parts[-1].residue) ** 2 * scale
    smallest = (1e-14 * np.linalg.norm(direct)) ** 2
    assert (total**2).sum() == pytest.approx(removal.direct_rest**2 + left.sum(), rel=1e-9, abs=smallest)


# --- spellings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_every_spelling_has_the_same_paths(spelling):
    x = leaf(8, 5, name="x")
    g = np.random.default_rng(1).normal(size=(8, 5))
    gamma = 1.5 * GAMMA if spelling.__name__ == "folded" else GAMMA
    ledger = paths(spelling(x) * GAMMA, x, g)
    # The variance in one pass has a path through its mean that is not 0, and is a part of the variance.
    assert named(ledger) == (FOUR[:3] if spelling is mean_of_squares else FOUR)
    for path, expected in zip(ledger.paths, closed_form(x.numpy(), g, gamma=gamma), strict=False):
        np.testing.assert_allclose(path.contribution, expected, rtol=1e-8, atol=1e-10)
    removal = ledger.blocks[0].removal
    assert (removal.at, removal.sets, removal.size, removal.axes, removal.mistakes) == ("", 5, 8, (0,), ())
    assert [(part.direction, part.holds, part.statistic) for part in removal.parts] == [
        ("1", True, ""),
        ("x − μ", True, "σ²"),
    ]
    assert_adds_up(removal, ledger["direct"].contribution, ledger.gradient, x.numpy())
    text = str(ledger)
    assert not [word for word in WORDS if word in text]
    assert re.search(r"left of the shift: \S+, rounding\nleft of the scale: \S+ to \S+ of it, ε/\(σ² \+ ε\)$", text)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_norm_of_the_library(name):
    call, shape, _ = LIBRARY[name]
    x = leaf(*shape, name="x")
    ledger = paths(call(x), x)
    (block,) = ledger.blocks
    np.testing.assert_allclose(np.sum([p.contribution for p in block.paths], axis=0), ledger.gradient, atol=1e-14)
    if name in ("whiten", "local_response_norm", "spectral_norm"):
        assert block.removal is None
        assert {p.name for p in block.paths} & {"via Σ^(−½)", "via σ", "via mean x²"}
    else:
        assert all(part.holds for part in block.removal.parts)
        assert block.removal.at == ""
    assert "around the norm" not in named(ledger)


@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-8, 1e-5, 1e-3, 0.1, 1.0, 10.0])
def test_the_squares_add_up_for_every_epsilon(eps):
    x = leaf(8, 5)
    ledger = paths((x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + eps), x)
    removal = ledger.blocks[0].removal
    scale = removal.parts[1]
    np.testing.assert_allclose(scale.residue[0], eps / (x.numpy().var(0) + eps), rtol=1e-2, atol=1e-14)
    assert scale.holds
    assert_adds_up(removal, ledger["direct"].contribution, ledger.gradient, x.numpy())


def test_an_epsilon_beside_sigma_has_its_own_residue():
    x = leaf(8, 5)
    scale = paths((x - x.mean(axis=0)) / (x.std(axis=0) + 0.1), x).blocks[0].removal.parts[1]
    np.testing.assert_allclose(scale.residue[0], 0.1 / (x.numpy().std(0) + 0.1), rtol=1e-10)
    assert (scale.statistic, scale.holds) == ("σ", True)
    unknown = paths((x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + 0.1 * x.std(axis=0)), x).blocks[0].removal
    assert (unknown.parts[1].statistic, unknown.parts[1].holds) == ("", False)
    assert unknown.parts[1].residue.min() > 0


def test_group_norm_and_a_norm_behind_a_layer():
    x = leaf(4, 6, 3, 3, name="x")
    ledger = paths(norms.group_norm(x, 2), x)
    removal = ledger.blocks[0].removal
    assert (removal.sets, removal.size, removal.at) == (8, 27, "")
    direct, total = (g.reshape(4, 2, 3, 3, 3) for g in (ledger["direct"].contribution, ledger.gradient))
    assert_adds_up(removal, direct, total, x.numpy().reshape(4, 2, 3, 3, 3))
    x = leaf(8, 5, name="x")
    hidden = mt.label(nn.Linear(5, 4, rng=0)(x), "h")
    y = nn.BatchNorm1d(4)(hidden)
    ledger, there = paths(y, x), paths(y, hidden)
    removal = ledger.blocks[0].removal
    assert removal.at == "h"
    assert "at the norm's input: h" in str(ledger)
    assert "sum of these paths" in str(ledger)
    for row, path in zip(removal.rows, there.paths, strict=True):
        np.testing.assert_allclose(row.contribution, path.contribution, atol=1e-15)
    assert_adds_up(removal, there["direct"].contribution, there.gradient, hidden.numpy())
    assert json.loads(to_json(ledger))["norms"][0]["removal"]["at"] == "h"
    # Without bias and with a convolution too.
    for layer, shape in ((nn.Linear(5, 4, bias=False, rng=0), (8, 5)), (nn.Conv2d(3, 2, 3, rng=0), (4, 3, 6, 6))):
        x = leaf(*shape)
        norm = nn.BatchNorm1d(4) if len(shape) == 2 else nn.BatchNorm2d(2)
        assert all(part.holds for part in paths(norm(layer(x)), x).blocks[0].removal.parts)


def test_x_inside_a_norm_has_the_paths_from_there_on():
    x = leaf(8, 5)
    centred = x - x.mean(axis=0)
    ledger = paths(centred / mt.sqrt((centred * centred).mean(axis=0) + 1e-5), centred)
    assert named(ledger) == ["direct", "via the mean square"]
    assert all(part.holds for part in ledger.blocks[0].removal.parts)


def test_several_norms_of_one_tensor_and_a_residual():
    x = leaf(8, 5, name="x")
    ledger = paths(norms.layer_norm(x, 5) + norms.batch_norm(x, training=True), x)
    assert [block.title for block in ledger.blocks] == ["layer_norm", "batch_norm"]
    for block in ledger.blocks:
        assert [path.name for path in block.paths] == [*FOUR, "around the norm"]
        assert all(part.holds for part in block.removal.parts)
        assert block.removal.at == "x"
        assert [row.name for row in block.removal.rows] == FOUR
    residual = paths(x + divided_apart(x), x)
    np.testing.assert_allclose(residual["around the norm"].contribution, paths(x * 1.0, x).gradient)
    series = paths(norms.layer_norm(mt.tanh(two_pass(x)), 5), x)
    assert [named(series, i) for i in range(2)] == [FOUR, FOUR]


def test_a_graph_that_is_too_large_says_so():
    x = leaf(1100, 1000)
    ledger = paths(two_pass(norms.batch_norm(x, training=True)), x)
    assert [block.title for block in ledger.blocks] == ["batch_norm"]
    assert "only norms of the library were looked for" in ledger.note


def test_a_statistic_in_the_loss_goes_around_the_norm():
    x = leaf(8, 5, name="x")
    mean, sigma = x.mean(axis=0), mt.sqrt(x.var(axis=0) + 1e-5)
    penalised = paths((((x - mean) / sigma) ** 3).sum() + (sigma * sigma).sum(), x)
    assert named(penalised)[-1] == "around the norm"
    np.testing.assert_allclose(
        penalised["around the norm"].contribution, 2 * (x.numpy() - x.numpy().mean(0)) / 8, atol=1e-12
    )


# --- mistakes ---------------------------------------------------------------------------------------------


def test_a_detached_mean_is_named():
    x = leaf(8, 5)
    for y in (
        (x - x.mean(axis=0).detach()) / mt.sqrt(x.var(axis=0) + 1e-5),
        (c := x - x.mean(axis=0).detach()) / mt.sqrt((c * c).mean(axis=0) + 1e-5),
        (x + -x.numpy().mean(0)) / mt.sqrt(x.var(axis=0) + 1e-5),
    ):
        removal = paths(y, x).blocks[0].removal
        assert removal.mistakes == ("μ is detached: the shift is not taken out",)
        np.testing.assert_allclose(removal.parts[0].residue, 1.0)
    assert "left of the shift: 0.0" in str(paths(y, x))
    assert "all of it" in str(paths(y, x))


def test_a_detached_deviation_leaves_no_norm_and_the_note_says_why():
    x = leaf(8, 5, name="x")
    ledger = paths((x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + 1e-5).detach(), x)
    assert (
        ledger.note
        == "no norm with statistics of its input on the way; the variance of x over axis 0 counts as a constant"
    )
    assert named(ledger) == ["direct", "via mean"]


def test_a_mean_over_other_axes_than_the_variance_is_named():
    x = leaf(8, 5)
    first = paths((x - x.mean()) / mt.sqrt(x.var(axis=0) + 1e-5), x).blocks[0].removal
    c = x - x.mean()
    second = paths(c / mt.sqrt((c * c).mean(axis=0) + 1e-5), x).blocks[0].removal
    assert first.mistakes == (
        "the mean runs over axes 0 and 1, the variance over axis 0: the shift of each set is not taken out",
    )
    assert second.mistakes == (first.mistakes[0].replace("variance", "mean square"),)
    assert not first.parts[0].holds


def test_statistics_that_are_used_again_are_named_and_half_a_mean_is_no_rounding():
    x = leaf(8, 5)
    mean, sigma = x.mean(axis=0), mt.sqrt(x.var(axis=0) + 1e-5)
    again = paths(mt.tanh((x - mean) / sigma) * sigma + mean, x).blocks[0].removal
    assert again.mistakes == (
        "a statistic is used again after the norm, so some of what the norm takes out comes back",
    )
    half = paths((x - 0.5 * mean) / sigma, x)
    np.testing.assert_allclose(half.blocks[0].removal.parts[0].residue, 0.5)
    assert "takes out part of the shift" in str(half)
    assert not half.blocks[0].removal.parts[0].rounding


def test_a_norm_that_divides_only_makes_no_claim():
    x = leaf(8, 5, name="x")
    ledger = paths(x / x.std(axis=0), x)
    assert (named(ledger), ledger.blocks[0].removal) == (["direct", "via the variance", INSIDE], None)
    report = ledger.explain(ledger["direct"].contribution)
    assert "the variance is held constant: the path through the variance is missing" in str(report)
    assert report.factors["x"] == pytest.approx({"direct": 1.0, "variance": 0.0})


# --- values that nobody had in mind -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_two_keeps_nothing(dtype):
    x = mt.tensor(draw(2, 5), dtype=dtype, requires_grad=True, name="x")
    ledger = paths(two_pass(x), x)
    removal = ledger.blocks[0].removal
    assert removal.direct_rest <= 1e-6 * removal.direct
    assert all(part.holds for part in removal.parts)
    assert "of 2 values a shift and a scale are all there is" in str(ledger)
    assert "000,000 %" not in str(ledger)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_constant_columns_and_offsets_make_no_false_claim(spelling):
    values = draw(6, 5)
    values[:, 1] = 7.0
    values[:, 2] += 1e3
    values[:, 4] = 0.0
    x = mt.tensor(values, requires_grad=True)
    ledger = paths(spelling(x), x)
    removal = ledger.blocks[0].removal
    assert named(ledger)[:3] == FOUR[:3]
    assert removal.parts[0].holds
    assert removal.mistakes == ()
    assert "nan" not in str(ledger).lower()


def test_a_gradient_of_zero():
    x = leaf(8, 5)
    ledger = paths(two_pass(x) * 0.0, x)
    assert (named(ledger), ledger.gradient.any()) == (FOUR, False)
    assert "nothing comes along the direct path" in str(ledger)
    ones = paths(two_pass(x).sum(), x)
    assert "no more than rounding" in str(ones)


def test_one_set_and_a_scalar():
    x = leaf(12)
    y = ((x - x.mean()) / mt.sqrt(x.var() + 1e-5))[3]
    removal = paths(y, x).blocks[0].removal
    assert (removal.sets, removal.size) == (1, 12)
    assert all(part.holds for part in removal.parts)
    single = mt.tensor(2.0, requires_grad=True)
    assert paths(single * single, single).note == "no norm with statistics of its input on the way"


def program(draw_from):
    """A random composition of norms and other operations, on values of any size."""
    seed = draw_from(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rng.integers(2, 8), rng.integers(2, 6))) * 10.0 ** rng.integers(-2, 3)
    if draw_from(st.booleans()):
        values[:, 0] = 3.0
    z = x = mt.tensor(values, dtype=draw_from(st.sampled_from(["float32", "float64"])), requires_grad=True, name="x")
    for _ in range(draw_from(st.integers(1, 3))):
        for between in draw_from(st.lists(st.sampled_from(BETWEEN), max_size=1)):
            z = between(z)
        made = draw_from(st.sampled_from(NORMS))[0](z) * mt.tensor(rng.normal(size=z.shape[1]), dtype=x.dtype)
        z = z + made if draw_from(st.booleans()) else made
    return x, z


def check_any_composition(data):
    x, y = program(data.draw)
    ledger = paths(y, x)
    assert max(map(columns, str(ledger).splitlines())) <= 80
    assert "nan" not in str(ledger).lower() or not np.isfinite(ledger.gradient).all()
    assert ledger._repr_html_().count("<table>") == str(ledger).count("norm\n")
    for block in ledger.blocks:
        removal = block.removal
        if removal is None or not np.isfinite(removal.direct):
            continue
        rows = [row for row in removal.rows or block.paths if row.name == "direct"]
        assert rows[0].norm == pytest.approx(removal.direct, rel=1e-6)
    if np.isfinite(ledger.gradient).all():
        assert ledger.explain(ledger.gradient).passed


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_the_ledger_of_any_composition(data):
    check_any_composition(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=400, deadline=None)
def test_the_ledger_of_very_many_compositions(data):
    check_any_composition(data)


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_paths_that_cancel_are_no_rule_that_is_not_linear(limit):
    x = mt.tensor(np.random.default_rng(0).normal(size=(3, 2)), requires_grad=True)
    once, again = (x / mt.sqrt(mt.square(x) + 1.0) for _ in range(2))
    ledger = paths(once - again, x, limit=limit)
    assert np.abs(ledger.gradient).max() <= 1e-15
    assert np.abs(np.sum([path.contribution for path in ledger.paths], axis=0)).max() <= 1e-15


# --- hooks ------------------------------------------------------------------------------------------------


def hooked(where, hook, backward=True):
    """A program with a hook on one of its tensors."""
    x = leaf(8, 4, name="x")
    with keep_graphs():
        h = mt.label(x * 1.5, "h")
        c = h - h.mean(axis=0)
        variance = (c * c).mean(axis=0)
        y = mt.label((c / mt.sqrt(variance + 1e-5)) ** 3, "cubes")
        loss = mt.label(y.sum(), "loss")
        {"x": x, "h": h, "c": c, "variance": variance, "y": y, "loss": loss}[where].register_hook(hook)
        if backward:
            loss.backward()
    return x, loss


@pytest.mark.parametrize("where", ["x", "h", "c", "variance", "y", "loss"])
@pytest.mark.parametrize("hook", [lambda g: g * 10, lambda g: mt.clip(g, -0.1, 0.1), lambda g: None])
def test_the_programs_own_backward_runs_with_its_hooks(where, hook):
    x, loss = hooked(where, hook)
    ledger = paths(loss, x)
    np.testing.assert_allclose(ledger.gradient, x.grad.numpy(), rtol=1e-12, atol=1e-12)
    total = np.sum([path.contribution for path in ledger.paths], axis=0)
    np.testing.assert_allclose(total, x.grad.numpy(), atol=1e-12 * ledger.paths[0].norm)
    assert re.search(r"hook on \S+: \S+ → \S+", str(ledger))


def test_a_hook_runs_once_and_only_for_the_programs_own_backward():
    calls = []
    x, loss = hooked("h", calls.append)
    paths(loss, x)
    assert len(calls) == 2
    paths(loss, x, 1.0)
    x, loss = hooked("h", calls.append, backward=False)
    ledger = paths(loss, x)
    assert len(calls) == 2
    assert "the hook on h did not run" in ledger.note


def test_what_a_hook_changes_below_a_fork_is_a_row():
    x, loss = hooked("h", lambda g: g * 10)
    ledger = paths(loss, x)
    assert named(ledger) == [*FOUR, "hook on h"]
    np.testing.assert_allclose(ledger["hook on h"].contribution, 0.9 * ledger.gradient, rtol=1e-9, atol=1e-12)
    assert ledger.explain(ledger.gradient).passed
    assert "hooks change this gradient" in str(ledger.explain(2 * ledger.gradient))
    drawn = paths_to_dot(ledger)
    assert "<B>hook on h</B>" not in drawn
    assert "sum of 4 paths, with hooks" in drawn
    assert "hook on h: " in drawn
    x, loss = hooked("variance", lambda g: g * 10)
    assert paths(loss, x).blocks[0].removal.mistakes == ("a hook changes the gradient inside the norm",)


# --- gradients made by hand ---------------------------------------------------------------------------------


def wrong_gradients(x, g, gamma=1.0, axes=(0,), eps=1e-5):
    """What learners write, and a part of what is said of it."""
    count = np.prod([x.shape[a] for a in axes])
    direct, mean, variance = closed_form(x, g, eps, axes, gamma)
    sigma = np.sqrt(x.var(axes, keepdims=True) + eps)
    plain = sum(closed_form(x, g, eps, axes))
    yield direct, "the statistics are held constant"
    yield direct + variance, "the path through the mean is missing"
    yield direct + mean, "the path through the variance is missing"
    yield direct + count * (mean + variance), f"{count} is N: a factor 1/N is missing"
    yield direct + mean + variance * count / (count - 1), "N/(N − 1)"
    yield direct + mean - variance, "the path through the variance has the wrong sign"
    yield direct + mean + 2 * variance, "the ½ of the root is forgotten"
    yield direct + mean + variance * sigma, "a factor 1/σ is missing"
    yield sum(closed_form(x, g, 0.0, axes, gamma)), "right but for ε"
    if np.ptp(gamma):
        yield plain, "γ is missing" if axes == (1,) else "a factor γ is missing"


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_explain_names_each_mistake_in_each_spelling(spelling):
    x, g = leaf(8, 5, name="x"), np.random.default_rng(1).normal(size=(8, 5))
    gamma = mt.tensor(GAMMA, name="γ")
    y = spelling(x) / 1.5 if spelling.__name__ == "folded" else spelling(x)
    ledger = paths(y * gamma, x, g)
    assert ledger.explain(ledger.gradient).passed
    for dx, words in wrong_gradients(x.numpy(), g, GAMMA):
        report = ledger.explain(dx)
        assert not report.passed
        assert words in str(report)


def test_explain_names_each_mistake_of_layer_norm_and_of_a_norm_behind_a_layer():
    x, g = leaf(8, 5, name="x"), np.random.default_rng(1).normal(size=(8, 5))
    ledger = paths(norms.layer_norm(x, 5, mt.tensor(GAMMA, name="γ")), x, g)
    for dx, words in wrong_gradients(x.numpy(), g, GAMMA, (1,)):
        assert words in str(ledger.explain(dx))
    weight = np.random.default_rng(2).normal(size=(5, 4))
    hidden = mt.matmul(x, weight)
    ledger = paths(two_pass(hidden), x, g[:, :4])
    for dx, words in wrong_gradients(hidden.numpy(), g[:, :4]):
        told = str(ledger.explain(dx @ weight.T))
        # Behind a layer the sets are not told apart, so a factor that differs from set to set fits no path.
        assert words in told or "fits no path" in told or "ε" in words


def test_explain_gives_the_factors():
    x = leaf(8, 5, name="x")
    ledger = paths(two_pass(x), x)
    direct, mean, variance = (path.contribution for path in ledger.paths[:3])
    report = ledger.explain(direct + 0.25 * mean - 3 * variance)
    assert report.factors["x"] == pytest.approx({"direct": 1.0, "mean": 0.25, "variance": -3.0})


def test_explain_of_other_graphs_and_of_other_things():
    x = leaf(8, 5, name="x")
    plain = paths(mt.tanh(x) * x, x)
    assert "dx is twice as large as it should be" in str(plain.explain(2 * plain.gradient))
    assert "dx is None; it must be an array" in str(plain.explain(None))
    assert "dx has shape (5,), x (8, 5)" in str(plain.explain(np.ones(5)))
    assert "not finite" in str(plain.explain(np.full((8, 5), np.nan)))
    two = paths(norms.layer_norm(mt.tanh(two_pass(x)), 5), x)
    assert "several norms on the way" in str(two.explain(draw(8, 5)))
    missing = two.blocks[1].paths[0].contribution + two.blocks[1].paths[1].contribution
    assert "dx, in layer_norm: the path through the variance is missing" in str(two.explain(missing))
    assert "dx is twice as large as it should be" in str(two.explain(2 * two.gradient))
    assert plain.explain(mt.tensor(plain.gradient)).passed


def test_explain_needs_the_graph_but_not_the_users():
    x = leaf(8, 5, name="x")
    y = two_pass(x).sum()
    ledger = paths(y, x)
    y.backward()
    assert ledger.explain(ledger.gradient).passed
    for other in (copy.deepcopy(ledger), pickle.loads(pickle.dumps(ledger))):
        assert str(other) == str(ledger)
        with pytest.raises(ValueError, match=r"loaded or copied and has no graph; make it again with mt\.paths"):
            other.explain(ledger.gradient)


# --- views ------------------------------------------------------------------------------------------------


def test_eighty_columns_whatever_the_names():
    x = mt.tensor(draw(8, 5), requires_grad=True, name="长" * 90)
    with mt.name_scope("scope" * 30):
        y = mt.label(two_pass(x), "y" * 100)
    for ledger in (paths(y, x), paths(mt.label(mt.tanh(x), "t" * 90) + x, x)):
        assert max(map(columns, str(ledger).splitlines())) <= 80


def test_html_has_the_same_numbers_and_escapes():
    x = mt.tensor(draw(8, 5), requires_grad=True, name="<x>")
    ledger = paths(two_pass(x), x, cut="mean@var")
    page = ledger._repr_html_()
    assert "<x>" not in page
    for word in ("gradient of &lt;x&gt;", "takes out the shift", "ε/(σ² + ε)", "wrong from order 2 on"):
        assert word in page
    assert page.count("<tr>") == 6


def test_show_prints_the_ledger(capsys):
    x = leaf(8, 5, name="x")
    y = two_pass(x)
    mt.show(y, view="paths")
    assert capsys.readouterr().out == f"{paths(y, input_of(y))}\n"
    with pytest.raises(TypeError, match="view 'paths' needs a tensor, not a Linear"):
        mt.show(nn.Linear(2, 2), view="paths")
