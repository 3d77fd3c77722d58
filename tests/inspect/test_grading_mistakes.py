"""Each mistake that learners make in the backward of a norm is named, for every norm and spelling of its forward."""

import itertools

import numpy as np
import pytest

import microtensor as mt
from tests.inspect.backwards import (
    KINDS,
    SPELLINGS,
    another_axis,
    backward_of,
    centered_for_normalized,
    drawn,
    forward_of,
    mean_of_squares,
    paths,
    right,
    variance_for_deviation,
    weighted,
    without_epsilon,
)

# The mistake, whether backward knows γ, and what the report says; {scale} is the variance, or RMS norm's mean square.
MISTAKES = {
    "statistics constant": (weighted(1, 0, 0), True, "held constant"),
    "mean missing": (weighted(1, 0, 1), True, "the path through the mean is missing"),
    "variance missing": (weighted(1, 1, 0), True, "path through the {scale} is missing"),
    "1/N forgotten": (weighted(1, lambda n: n, lambda n: n), True, "is N: a factor 1/N is missing"),
    "N − 1 for N": (weighted(1, 1, lambda n: n / (n - 1)), True, "N/(N − 1), as when it is divided by N − 1"),
    "sign": (weighted(1, 1, -1), True, "the path through the {scale} has the wrong sign"),
    "half of the root": (weighted(1, 1, 2), True, "the path through the {scale} is twice as large as it should be"),
    "x − μ for x̂": (centered_for_normalized, True, "through the {scale} is σ times as large as it should be"),
    "σ² for σ": (variance_for_deviation, True, "through the {scale} is 1/σ times as large as it should be"),
    "γ forgotten": (right, False, "gamma is missing"),
    "another axis": (another_axis, True, "the sums run over ax"),
    "ε forgotten": (without_epsilon, True, "right but for ε"),
}
NO_MEAN = "RMS norm has no mean"
EMPTY = {("rms", "mean missing", spelling.__name__): NO_MEAN for spelling in SPELLINGS} | {
    ("rms", mistake, spelling): NO_MEAN
    for mistake in MISTAKES
    for spelling in ("mean_of_squares", "folded", "divided_apart")
}
CELLS = [
    (kind, mistake, spelling)
    for kind, mistake, spelling in itertools.product(KINDS, MISTAKES, SPELLINGS)
    if (kind, mistake, spelling.__name__) not in EMPTY
]


def said(kind, mistake, spelling):
    change, with_gamma, words = MISTAKES[mistake]
    report = mt.check_backward(
        forward_of(KINDS[kind], spelling), backward_of(KINDS[kind], change, with_gamma), *drawn(KINDS[kind])
    )
    return report, words.format(scale="variance" if KINDS[kind].centers else "mean square")


def is_named(kind, mistake, spelling):
    report, words = said(kind, mistake, spelling)
    assert not report.passed
    assert sum(words in finding for finding in report.findings) == 1, str(report)
    others = [line for line in report.findings if words not in line and "it does not show at your inputs" not in line]
    assert others == [], str(report)


# Every spelling in turn: two for each mistake of each norm.
TURNS = [cell for i, cell in enumerate(CELLS) if i % 6 == 0]


@pytest.mark.parametrize(("kind", "mistake", "spelling"), TURNS)
def test_a_mistake_is_named(kind, mistake, spelling):
    is_named(kind, mistake, spelling)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mistake", "spelling"), [cell for cell in CELLS if cell not in TURNS])
def test_a_mistake_is_named_in_every_spelling(kind, mistake, spelling):
    is_named(kind, mistake, spelling)


def test_the_turns_have_every_norm_mistake_and_spelling():
    for i, every in enumerate((KINDS, MISTAKES, SPELLINGS)):
        assert {cell[i] for cell in TURNS} == set(every)


@pytest.mark.parametrize("kind", KINDS)
def test_any_factors_are_read_to_six_digits(kind):
    rng = np.random.default_rng(5)
    for spelling in SPELLINGS[:: 1 if KINDS[kind].centers else 4]:
        factors = rng.normal(size=3)
        report = mt.check_backward(
            forward_of(KINDS[kind], spelling), backward_of(KINDS[kind], weighted(*factors)), *drawn(KINDS[kind])
        )
        expected = factors if KINDS[kind].centers else factors[[0, 2]]
        assert np.allclose(list(report.factors["x"].values()), expected, atol=1e-6, rtol=1e-6)
        assert all("N" not in finding.partition("(N = ")[0] for finding in report.findings), str(report)


# --- what it must not say -----------------------------------------------------------------------------------


def test_a_gradient_that_is_no_combination_of_the_paths_is_not_explained():
    kind = KINDS["batch"]
    report = mt.check_backward(
        forward_of(kind, mean_of_squares), backward_of(kind, lambda g, x, kind: np.sin(x) * g), *drawn(kind)
    )
    assert any("fits no path" in finding for finding in report.findings)
    assert "missing" not in str(report).partition("Note:")[0]


def test_two_values_a_set_tell_no_paths_apart():
    def backward(dout, x):
        direct, mean, _ = paths(dout, x, (0,))
        return direct + mean

    x = np.random.default_rng(0).normal(size=(2, 5))
    report = mt.check_backward(lambda x: mt.standardize(x, axis=0), backward, x)
    assert not report.passed
    assert "at least 3 values per set" in report.findings[0]
    assert "missing" not in str(report)
    assert report.factors == {"x": {}}


def test_a_factor_in_a_single_set_is_that_of_the_inputs():
    def backward(dout, x):
        direct, mean, variance = paths(dout, x, (0, 1))
        return direct + mean + variance * np.sqrt(x.var() + 1e-5)

    x = np.random.default_rng(0).normal(size=(3, 4))
    (finding,) = mt.check_backward(lambda x: mt.standardize(x, axis=(0, 1)), backward, x).findings
    assert "N = 12 values in one set, at random inputs" in finding


def test_a_number_with_two_meanings_gets_both():
    def backward(dout, x):
        direct, mean, variance = paths(dout, x, (0,))
        return direct + 2 * mean + 2 * variance

    x = np.random.default_rng(0).normal(size=(8, 4))
    (finding,) = mt.check_backward(lambda x: mt.standardize(x, axis=0), backward, x).findings
    assert "twice as large as they should be" in finding
    assert "2 is N/4" in finding


def test_a_path_that_differs_from_set_to_set_by_no_rule_is_not_named():
    def backward(dout, x):
        direct, mean, variance = paths(dout, x, (0,))
        return direct + mean + variance * np.array([1.0, 2.0, 5.0, 3.0])

    x = np.random.default_rng(0).normal(size=(8, 4))
    (finding,) = mt.check_backward(lambda x: mt.standardize(x, axis=0), backward, x).findings
    assert "fits no path" in finding


def test_epsilon_that_cannot_be_seen_is_not_spoken_of():
    def backward(dout, x):
        return sum(paths(dout, x, (0,), eps=0.0))

    x = np.random.default_rng(0).normal(size=(8, 4))
    assert mt.check_backward(lambda x: mt.standardize(x, axis=0, eps=1e-9), backward, x).passed
    report = mt.check_backward(lambda x: mt.standardize(x, axis=0, eps=1e-2), backward, x)
    assert "right but for ε" in report.findings[0]
    assert report.gradients["x"].right is False


def sums_at_once(g, xhat, sigma, axis):
    return (g - g.mean(axis, keepdims=True) - xhat * (g * xhat).mean(axis, keepdims=True)) / sigma


def divided_first(g, xhat, sigma, axis):
    return sums_at_once(g / sigma, xhat, 1.0, axis)


def in_stages(g, xhat, sigma, axis):
    dvar = (g * xhat * sigma).sum(axis, keepdims=True) * -0.5 / sigma**3
    dmu = -(g / sigma).sum(axis, keepdims=True)
    return g / sigma + (dvar * 2.0 * xhat * sigma + dmu) / g.shape[axis]


@pytest.mark.parametrize("spelling", [sums_at_once, divided_first, in_stages])
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_over_another_axis_are_named_in_whatever_order_they_are_written(spelling, axis):
    def backward(dout, x):
        sigma = np.sqrt(x.var(axis, keepdims=True) + 1e-5)
        return spelling(dout, (x - x.mean(axis, keepdims=True)) / sigma, sigma, 1 - axis)

    x = np.random.default_rng(0).normal(1.0, 2.0, size=(8, 5))
    (finding,) = mt.check_backward(lambda x: mt.standardize(x, axis=axis), backward, x).findings
    assert f"dx: the sums run over axis {1 - axis}, not over axis {axis}" in finding
