"""Grading a hand-written backward: inputs, failures, shapes, right or wrong, the first wrong line, several norms."""

import functools
import re
import threading

import numpy as np
import pytest

import microtensor as mt
from microtensor.inspect.grading.factors import fit, power_law
from tests.inspect.backwards import EPS, paths

RNG = np.random.default_rng(0)
X, GAMMA, BETA = RNG.normal(3.0, 2.0, (8, 4)), RNG.normal(1.0, 0.5, 4), RNG.normal(size=4)


# --- the forms of the well-known courses ------------------------------------------------------------------------


def forward(x, gamma, beta):
    mu = x.mean(axis=0)
    xc = x - mu
    var = (xc * xc).mean(axis=0)
    std = mt.sqrt(var + EPS)
    xhat = xc / std
    return gamma * xhat + beta


def forward_with_cache(x, gamma, beta, options):
    mu = x.mean(axis=0)
    var = x.var(axis=0)
    if options["mode"] == "train":
        options["seen"] = options.get("seen", 0) + 1
    xhat = (x - mu) / mt.sqrt(var + options["eps"])
    return gamma * xhat + beta, {"xhat": xhat, "scale": gamma, "rest": [x - mu, var], "eps": options["eps"]}


def in_steps(dout, x, gamma, beta, spoilt=None):
    """Every intermediate by name; one of them may be made wrong on the way."""
    n = len(x)
    xc = x - x.mean(axis=0)
    std = np.sqrt((xc * xc).mean(axis=0) + EPS)
    found = {}

    def keep(name, value):
        found[name] = spoilt[name](value) if spoilt and name in spoilt else value
        return found[name]

    keep("beta", dout.sum(axis=0))
    keep("gamma", (dout * xc / std).sum(axis=0))
    dxhat = keep("xhat", dout * gamma)
    dstd = keep("std", -(dxhat * xc).sum(axis=0) / std**2)
    dvar = keep("var", dstd / (2 * std))
    dxc = keep("xc", dxhat / std + 2 * xc * dvar / n)
    dmu = keep("mu", -dxc.sum(axis=0))
    keep("x", dxc + dmu / n)
    return found


def simplified(dout, cache):
    xhat, (centered, var) = cache["xhat"], cache["rest"]
    n = len(dout)
    g = dout * cache["scale"]
    dx = (n * g - g.sum(axis=0) - xhat * (g * xhat).sum(axis=0)) / (n * np.sqrt(var + cache["eps"]))
    assert centered.shape == dx.shape
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def test_every_intermediate_by_name():
    report = mt.check_backward(forward, in_steps, X, GAMMA, BETA)
    assert report.passed
    assert bool(report)
    assert list(report.gradients) == ["beta", "gamma", "xhat", "std", "var", "xc", "mu", "x"]
    assert str(report).startswith("backward is right\n")


def test_a_cache_in_nested_containers_and_a_dictionary_of_options():
    options = {"mode": "train", "eps": EPS}
    report = mt.check_backward(forward_with_cache, simplified, mt.tensor(X), GAMMA, BETA, options)
    assert report.passed, str(report)
    assert options == {"mode": "train", "eps": EPS}


def test_a_forward_in_the_functions_of_numpy():
    def course(x, gamma, beta, options):
        mean, var = np.mean(x, axis=0), np.var(x, axis=0)
        std = np.sqrt(var + options["eps"])
        xhat = (x - mean) / std
        options["running"] = 0.9 * options["running"] + 0.1 * mean
        return gamma * xhat + beta, (x, mean, std, gamma, xhat)

    def backward(dout, cache, half=0.5):
        x, mean, std, gamma, xhat = cache
        dxhat = dout * gamma
        dvar = -half * np.sum(dxhat * (x - mean), axis=0) * std**-3
        dmean = -np.sum(dxhat / std, axis=0) - 2 * dvar * np.mean(x - mean, axis=0)
        dx = dxhat / std + dvar * 2 * (x - mean) / len(x) + dmean / len(x)
        return {"x": dx, "gamma": np.sum(dout * xhat, axis=0), "beta": np.sum(dout, axis=0), "var": dvar}

    options = {"eps": EPS, "running": np.zeros(4)}
    assert mt.check_backward(course, backward, X, GAMMA, BETA, options).passed
    text = str(mt.check_backward(course, functools.partial(backward, half=1.0), X, GAMMA, BETA, options))
    assert "the first wrong line is that of dvar" in text
    assert "the path through the variance is twice" in text


def test_gradients_in_order_and_with_d_before_their_names():
    def in_order(dout, x, gamma, beta):
        found = in_steps(dout, x, gamma, beta)
        return found["x"], found["gamma"], found["beta"]

    def named(dout, x, gamma, beta):
        return {f"d{name}": value for name, value in in_steps(dout, x, gamma, beta).items()}

    for backward in (in_order, named, lambda *a: list(in_order(*a))):
        assert mt.check_backward(forward, backward, X, GAMMA, BETA, dout=np.ones((8, 4))).passed


def test_integers_booleans_and_defaults_stay_as_they_are():
    def pick(x, rows, mask, scale=2.0, flag=None):
        assert rows.dtype.kind == "i"
        assert flag is None
        return x[rows] * mask * scale

    def backward(dout, x, rows, mask, scale=2.0):
        dx = np.zeros_like(x)
        np.add.at(dx, rows, dout * mask * scale)
        return dx

    rows, mask = np.array([0, 2, 2]), np.array([[True], [False], [True]])
    assert mt.check_backward(pick, backward, X.astype("float32"), rows, mask).passed
    assert mt.check_backward(pick, lambda *a: (backward(*a), None, None), X, rows, mask).passed


def test_scalars_and_results_without_axes():
    report = mt.check_backward(
        lambda x, a: (x * x).sum() * a, lambda d, x, a: (2 * d * x * a, d * (x * x).sum()), X, np.array(3.0)
    )
    assert report.passed, str(report)


# --- what backward did wrong before any number is compared --------------------------------------------------------


def spoil(change):
    def backward(dout, x, gamma, beta):
        found = in_steps(dout, x, gamma, beta)
        return change(found["x"], found["gamma"], found["beta"])

    return backward


def raises(dx, dgamma, dbeta):
    return dx @ np.ones(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda dx, dgamma, dbeta: None, ["returned None"]),
        (lambda dx, dgamma, dbeta: (dx, None, dbeta), ["dgamma is None"]),
        (lambda dx, dgamma, dbeta: (dx, "no", dbeta), ["dgamma is a str"]),
        (lambda dx, dgamma, dbeta: (dx, dgamma + 0j, dbeta), ["dgamma is an array of complex128"]),
        (lambda dx, dgamma, dbeta: (dx, dgamma / 0, dbeta), ["dgamma is not finite", "4 of 4"]),
        (lambda dx, dgamma, dbeta: (dx, dgamma), ["2 gradients", "3 arguments", "x, gamma, beta"]),
        (lambda dx, dgamma, dbeta: {"x": dx, "gama": dgamma}, ["'gama'", "x, gamma, beta, mu, xc, var, std, xhat"]),
        (lambda dx, dgamma, dbeta: {"x": dx, "dx": dx}, ["two gradients of x"]),
        (lambda dx, dgamma, dbeta: {}, ["empty dictionary"]),
        (raises, ["ValueError", "return dx @ np.ones(3)", "test_grading.py"]),
        (lambda dx, dgamma, dbeta: (dx, dgamma[:, None] * np.ones(8), dbeta), ["(4, 8)"]),
    ],
)
def test_a_failure_is_a_finding_of_its_own(change, words):
    report = mt.check_backward(forward, spoil(change), X, GAMMA, BETA)
    assert not report.passed
    (finding,) = report.findings
    assert all(word in finding for word in words), finding


def test_a_backward_that_cannot_be_called_so():
    report = mt.check_backward(forward, lambda dout, x: x, X, GAMMA, BETA)
    assert "backward(dout, x, gamma, beta)" in report.findings[0]
    report = mt.check_backward(forward_with_cache, lambda dout, a, b: a, X, GAMMA, BETA, {"mode": "test", "eps": EPS})
    assert "backward(dout, cache)" in report.findings[0]


def test_a_failure_at_random_inputs_only():
    def backward(dout, x):
        if (x < 0).any():
            raise ValueError("not mine")
        return dout * 2 * x

    report = mt.check_backward(lambda x: x * x, backward, np.ones(3))
    assert "at random inputs of the same shapes" in report.findings[0]
    assert "not mine" in report.findings[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            lambda dx, dgamma, dbeta: (dx, dgamma * np.ones((8, 1)), dbeta),
            "dgamma has shape (8, 4), gamma (4,): the sum over axis 0 is missing",
        ),
        (
            lambda dx, dgamma, dbeta: (dx, dgamma, dbeta[None]),
            "dbeta has shape (1, 4), beta (4,): its values are right in this order: return dbeta.reshape(beta.shape)",
        ),
        (lambda dx, dgamma, dbeta: (dx.sum(0), dgamma, dbeta), "dx has shape (4,), x (8, 4): axis 0 of x is missing"),
        (
            lambda dx, dgamma, dbeta: (dx, dgamma, np.resize(dbeta, 7)),
            "dbeta has shape (7,), beta (4,): a gradient has the shape",
        ),
    ],
)
def test_shapes_come_first(given, words):
    report = mt.check_backward(forward, spoil(given), X, GAMMA, BETA)
    (finding,) = report.findings
    assert finding.startswith(words)
    assert [name for name, one in report.gradients.items() if not one.right] == [words.split()[0][1:]]


def test_the_axis_of_a_missing_sum_is_found_by_the_numbers():
    def backward(dout, x, w):
        return dout * w, dout * x

    square = RNG.normal(size=(4, 4))
    report = mt.check_backward(lambda x, w: x * w, backward, square, RNG.normal(size=(4, 1)))
    assert report.findings == ["dw has shape (4, 4), w (4, 1): the sum over axis 1 is missing"]


def test_a_gradient_is_linear_in_dout():
    report = mt.check_backward(forward, spoil(lambda dx, dg, db: (dx + 1.0, dg, db)), X, GAMMA, BETA)
    assert "dx does not double when dout is doubled" in report.findings[0]
    report = mt.check_backward(lambda x: x * x, lambda dout, x: 2 * x, X)
    assert "does not depend on dout" in report.findings[0]
    report = mt.check_backward(lambda x: x * x, lambda dout, x: 2 * x * dout**2, X)
    assert len(report.findings) == 1


# --- where it is graded -------------------------------------------------------------------------------------------


def test_a_mistake_that_the_inputs_hide_shows_at_random_ones():
    def without_gamma(dout, x, gamma, beta):
        return {"x": in_steps(dout, x, np.ones(4), beta)["x"]}

    report = mt.check_backward(forward, without_gamma, X, np.ones(4), np.zeros(4))
    assert not report.passed
    assert "gamma is all 1 at yours, so it could not show" in report.findings[-1]
    report = mt.check_backward(forward, without_gamma, X, GAMMA, BETA)
    assert not any("at yours" in finding for finding in report.findings)


def test_a_mistake_that_shows_at_the_inputs_alone():
    def backward(dout, x):
        return dout * (x > 0) + (x == 0.0) * dout

    report = mt.check_backward(mt.relu, backward, np.array([1.0, 0.0, -1.0]))
    assert "only at your inputs" in report.findings[-1]


def test_a_mistake_that_only_the_given_dout_shows():
    def backward(dout, x):
        return 2 * x * dout * (1.0 if abs(dout).max() < 100 else 2.0)

    assert mt.check_backward(lambda x: x * x, backward, X).passed
    assert not mt.check_backward(lambda x: x * x, backward, X, dout=np.full(X.shape, 200.0)).passed


def test_positive_arguments_where_a_forward_needs_them():
    for function, slope in ((mt.log, lambda x: 1 / x), (mt.sqrt, lambda x: 0.5 / np.sqrt(x))):
        assert mt.check_backward(function, lambda d, x, slope=slope: d * slope(x), np.abs(X)).passed
        report = mt.check_backward(function, lambda d, x, slope=slope: 2 * d * slope(x), np.abs(X))
        assert report.findings == ["dx is twice as large as it should be"]


def test_a_point_where_forward_is_not_finite_or_raises_is_left_out():
    report = mt.check_backward(lambda x: mt.log(x + 3.0), lambda d, x: d / (x + 3.0), np.array([-1.0] + [0.0] * 2000))
    assert report.passed
    assert "only yours were graded" in report.remarks[0]

    def picky(x):
        if (x.numpy() < 0).any():
            raise ValueError("negative")
        return x * x

    report = mt.check_backward(picky, lambda d, x: 2 * d * x, np.ones(3))
    assert report.passed
    assert "negative" in report.remarks[0]
    report = mt.check_backward(mt.sqrt, lambda d, x: d / (2 * np.sqrt(x)), np.zeros(3))
    assert report.passed
    assert "not finite at your inputs" in report.remarks[0]


def test_what_was_not_graded_is_said():
    report = mt.check_backward(forward, lambda *a: {"x": in_steps(*a)["x"]}, X, GAMMA, BETA)
    assert report.passed
    assert "no dgamma and dbeta" in report.remarks[0]


def test_an_argument_that_nothing_depends_on():
    def unused(x, w):
        return x * 2.0

    assert mt.check_backward(unused, lambda d, x, w: 2 * d, X, GAMMA).passed
    assert mt.check_backward(unused, lambda d, x, w: (2 * d, 0 * w), X, GAMMA).passed
    report = mt.check_backward(unused, lambda d, x, w: (2 * d, d.sum(0)), X, GAMMA)
    assert report.findings == ["dw is not 0, and should be"]


def test_a_gradient_that_a_norm_takes_out_is_judged_by_its_paths():
    """A bias in front of batch norm has the gradient 0 but for rounding, whichever way it is computed."""

    def layer(x, b):
        return mt.standardize(x + b, axis=0)

    def backward(dout, x, b):
        dx = sum(paths(dout, x + b, (0,)))
        return dx, dx.sum(axis=0)

    assert mt.check_backward(layer, backward, X, BETA).passed
    report = mt.check_backward(layer, lambda *a: (backward(*a)[0], a[0].sum(0)), X, BETA)
    assert report.findings == ["db is not 0, and should be but for rounding"]


# --- the first wrong line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["xhat", "std", "var", "xc", "mu", "x"])
def test_the_first_wrong_line_has_the_learners_name(name):
    report = mt.check_backward(forward, functools.partial(in_steps, spoilt={name: np.cos}), X, GAMMA, BETA)
    if name != "x":
        report = mt.check_backward(
            forward, functools.partial(in_steps, spoilt={name: lambda g: 1.5 * g}), X, GAMMA, BETA
        )
    lines = [finding for finding in report.findings if "first wrong line" in finding]
    if name == "x":
        assert "does not double" in report.findings[0]
    else:
        assert len(lines) == 1
        assert f"is that of d{name}" in lines[0]
        assert re.search(rf"{name} is computed at .*test_grading.py:\d+ in forward", lines[0])


def test_what_follows_from_the_first_wrong_line_is_not_blamed():
    report = mt.check_backward(forward, functools.partial(in_steps, spoilt={"var": lambda g: 2 * g}), X, GAMMA, BETA)
    text = str(report)
    assert "dvar: dstd, which it is computed from, is right" in text
    assert "dvar is twice as large as it should be" in text
    assert "dxc is wrong only because dvar is" in text
    assert "through the variance is twice as large as it should be" in text
    assert report.factors["x"] == pytest.approx({"direct": 1, "mean": 1, "variance": 2})


def test_names_are_found_in_functions_that_forward_calls_and_under_decorators():
    def helper(a):
        inner = mt.exp(a)
        return inner * inner

    @mt.enable_grad()
    def outer(x):
        h = helper(x)
        return h * 3.0

    def backward(dout, x):
        dh = 3 * dout
        return {"h": dh, "inner": 2 * np.exp(x) * dh, "x": 2 * np.exp(2 * x) * dh}

    for function in (outer, functools.partial(outer), lambda x: outer(x)):
        assert mt.check_backward(function, backward, X / 3).passed


def test_two_tensors_of_one_name_must_be_renamed():
    def helper(a):
        inner = mt.exp(a)
        return inner * 2.0

    report = mt.check_backward(lambda x: helper(x) + helper(x * x), lambda d, x: {"inner": d, "x": d}, X)
    assert "two tensors of forward are called inner" in report.findings[0]


def test_no_tracer_is_set_and_threads_may_grade():
    import sys

    before = sys.gettrace(), sys.getprofile()
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(mt.check_backward(forward, in_steps, X, GAMMA, BETA)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.passed for report in reports] == [True, True]
    assert (sys.gettrace(), sys.getprofile()) == before


# --- several norms, and what stands around them -------------------------------------------------------------------


W = RNG.normal(size=(4, 4))


def two_norms(x):
    h = mt.standardize(x, axis=0)
    k = mt.tanh(h @ W)
    return mt.standardize(k, axis=1)


def two_backwards(dout, x, first=(1, 1, 1), second=(1, 1, 1), named=False):
    h = (x - x.mean(0)) / np.sqrt(x.var(0) + EPS)
    k = np.tanh(h @ W)
    dk = sum(f * p for f, p in zip(second, paths(dout, k, (1,)), strict=True))
    dh = (dk * (1 - k * k)) @ W.T
    dx = sum(f * p for f, p in zip(first, paths(dh, x, (0,)), strict=True))
    return {"x": dx, "k": dk} if named else dx


def grade_two(**options):
    return mt.check_backward(two_norms, functools.partial(two_backwards, **options), X)


def test_one_wrong_norm_of_two_is_told_apart():
    assert grade_two().passed
    assert "in the norm of x: the path through the variance is missing" in grade_two(first=(1, 1, 0)).findings[0]
    assert "in the norm of k: the path through the mean is missing" in grade_two(second=(1, 0, 1)).findings[0]


def test_two_wrong_norms_need_the_gradient_between_them():
    (finding,) = grade_two(first=(1, 1, 0), second=(1, 0, 1)).findings
    assert '"k"' in finding
    assert "missing" not in finding
    text = str(grade_two(first=(1, 1, 0), second=(1, 0, 1), named=True))
    assert "dk: the path through the mean is missing" in text
    assert "dx: the path through the variance is missing" in text


def test_a_right_stretch_after_a_wrong_one_is_not_blamed():
    report = grade_two(second=(1, 0, 1), named=True)
    assert any(finding.startswith("dx is wrong only because dk is") for finding in report.findings)


def test_a_path_through_which_nothing_goes_is_not_called_right():
    """Behind a second norm over the same axis nothing is left for the mean of the first to take out."""

    def twice(x):
        h = mt.standardize(x, axis=0)
        return mt.standardize(h, axis=0)

    def backward(dout, x, first):
        h = (x - x.mean(0)) / np.sqrt(x.var(0) + EPS)
        return sum(f * p for f, p in zip(first, paths(sum(paths(dout, h, (0,))), x, (0,)), strict=True))

    assert mt.check_backward(twice, functools.partial(backward, first=(1, 0, 1)), X).passed
    (finding,) = mt.check_backward(twice, functools.partial(backward, first=(1, 1, 0)), X).findings
    assert "in the norm of x: the path through the variance is missing" in finding
    assert "the path through the mean is not seen here" in finding


def test_what_goes_around_a_norm_is_no_path_of_it():
    def backward(dout, x):
        direct, _, variance = paths(dout, x, (1,))
        return dout + direct + variance

    report = mt.check_backward(lambda x: x + mt.standardize(x, axis=1), backward, X)
    assert report.findings[0].startswith("dx: the path through the mean is missing")


def test_a_layer_before_a_norm_is_wrong_as_the_norm_is():
    def layer(x, w, b):
        z = x @ w + b
        return mt.standardize(z, axis=0)

    def backward(dout, x, w, b, named=False):
        direct, mean, variance = paths(dout, x @ w + b, (0,))
        dz = direct + mean + 2 * variance
        found = {"x": dz @ w.T, "w": x.T @ dz, "b": dz.sum(0)}
        return {**found, "z": dz} if named else found

    first, second = mt.check_backward(layer, backward, X, W, BETA).findings
    assert "dx: the path through the variance is twice" in first
    assert second == "dw is wrong in the same way as dx"
    text = str(mt.check_backward(layer, functools.partial(backward, named=True), X, W, BETA))
    assert "dz: the path through the variance is twice" in text
    assert "dw is wrong only because dz is" in text


def test_epsilon_forgotten_behind_a_layer_or_with_other_mistakes():
    def layer(x, w):
        return mt.standardize(x @ w, axis=0)

    def backward(dout, x, w, factors=(1, 1, 1)):
        dz = sum(f * p for f, p in zip(factors, paths(dout, x @ w, (0,), eps=0.0), strict=True))
        return dz @ w.T, x.T @ dz

    first, *_ = mt.check_backward(layer, backward, X, W).findings
    assert first.startswith("dx: right but for ε")
    first, *_ = mt.check_backward(layer, functools.partial(backward, factors=(1, 1, 0)), X, W).findings
    assert first.startswith("dx: backward leaves ε out")
    assert "beside that: the path through the variance is missing" in first


def test_a_convolution_before_batch_norm():
    def layer(x, w):
        return mt.norms.batch_norm(mt.conv2d(x, w), training=True)

    def backward(dout, x, w):
        kernel, images = mt.tensor(w, requires_grad=True), mt.tensor(x, requires_grad=True)
        z = mt.conv2d(images, kernel)
        direct, mean, _ = paths(dout, z.numpy(), (0, 2, 3))
        return tuple(g.numpy() for g in mt.grad(z, [images, kernel], direct + mean))

    report = mt.check_backward(layer, backward, RNG.normal(size=(2, 2, 4, 4)), RNG.normal(size=(3, 2, 2, 2)))
    assert report.findings[0].startswith("dx: the path through the variance is missing (N = 18 values per set")


# --- no norm ------------------------------------------------------------------------------------------------------


def test_a_single_factor_without_a_norm():
    def mean(x, w):
        return x @ w

    def backward(dout, x, w):
        return -dout @ w.T, x.T @ dout / 8

    first, second = mt.check_backward(mean, backward, X, W).findings
    assert first == "dx has the wrong sign"
    assert "it is 1/8, and 8 is the size of axis 0 of the result" in second


# --- misuse -------------------------------------------------------------------------------------------------------


def test_misuse_says_what_to_write():
    with pytest.raises(TypeError, match="forward is a int; it must be a function"):
        mt.check_backward(3, in_steps, X)
    with pytest.raises(TypeError, match=r"cannot be called with 1 arguments"):
        mt.check_backward(forward, in_steps, X)
    with pytest.raises(TypeError, match="no argument of forward is an array of floats"):
        mt.check_backward(lambda n: n, in_steps, np.array([1]))
    with pytest.raises(ValueError, match="gamma holds NaN or ∞"):
        mt.check_backward(forward, in_steps, X, GAMMA * np.nan, BETA)
    with pytest.raises(ValueError, match=r"dout has shape \(3,\), the result of forward \(8, 4\)"):
        mt.check_backward(forward, in_steps, X, GAMMA, BETA, dout=np.ones(3))
    with pytest.raises(TypeError, match="forward returned a ndarray"):
        mt.check_backward(lambda x: x.numpy(), in_steps, X)
    with pytest.raises(ValueError, match="does not depend on its arguments"):
        mt.check_backward(lambda x: x.detach() * 2.0, in_steps, X)
    with pytest.raises(ValueError, match="another result when it is called again"):
        mt.check_backward(lambda x: x * np.random.random(), in_steps, X)  # noqa: NPY002
    with pytest.raises(ValueError, match="not finite"):
        mt.check_backward(lambda x: x / 0.0, lambda d, x: d, X)


def test_it_raises_on_demand():
    assert mt.check_backward(forward, in_steps, X, GAMMA, BETA, raise_exception=True).passed
    with pytest.raises(mt.GradcheckError, match=r"(?s)^backward is wrong\n.*path through the variance is twice"):
        mt.check_backward(
            forward, functools.partial(in_steps, spoilt={"var": lambda g: 2 * g}), X, GAMMA, BETA, raise_exception=True
        )


def test_buffers_of_modules_are_put_back_and_inputs_are_left_alone():
    bn = mt.nn.BatchNorm1d(4)
    before = X.copy()

    def backward(dout, x):
        dout *= 2.0
        x += 1.0
        return dout

    mt.check_backward(lambda x: bn(x.astype("float32")).astype("float64"), backward, X)
    assert bn.num_batches_tracked.item() == 0
    assert np.array_equal(X, before)


# --- the parts ----------------------------------------------------------------------------------------------------


def test_a_path_that_is_not_seen_has_no_factor():
    found = fit([np.array([1.0, 0.0]), np.array([0.0, 1e-15])], np.array([3.0, 0.0]))
    assert found.factors[0] == 3.0
    assert np.isnan(found.factors[1])


def test_a_power_law_must_be_the_only_one():
    spread = np.array([0.5, 1.0, 2.0, 3.0])
    assert power_law(-3 * spread**1.5, spread).spread == 1.5
    assert power_law(spread * np.array([1, 1, -1, 1]), spread) is None
    assert power_law(np.sin(spread), spread) is None
    weight = np.array([1.0, -2.0, 0.5, 3.0])
    assert power_law(2 / weight, spread, weight).weight == -1
    assert power_law(np.abs(weight), spread, weight) is None
    # Where γ is a power of σ, both explain the same.
    assert power_law(spread, spread, spread) is None


def test_a_gradient_with_its_axes_in_another_order_is_told_which():
    def backward(dout, x, w):
        return dout @ w.T, dout.T @ x

    (finding,) = mt.check_backward(lambda x, w: x @ w, backward, X, W).findings
    assert finding == "dw is the transpose of what it should be"
    (finding,) = mt.check_backward(lambda x, w: x @ w, backward, X, W[:, :3]).findings
    assert "its axes are in another order: dw.T is right" in finding
    (finding,) = mt.check_backward(
        lambda x: x * 2.0, lambda d, x: 2 * d.transpose(1, 2, 0), np.ones((2, 3, 4))
    ).findings
    assert "its axes are in another order: dx.transpose(2, 0, 1) is right" in finding
    (finding,) = mt.check_backward(lambda x: x * 2.0, lambda d, x: 3 * d.T, np.ones((2, 3))).findings
    assert "its axes may be in another order" in finding
    (finding,) = mt.check_backward(lambda x: x * 2.0, lambda d, x: 3 * d.reshape(2, 6), np.ones((3, 4))).findings
    assert finding.endswith("it has as many values, and they are in another order")


def test_a_count_that_is_no_size_of_the_result_is_found_in_the_tensor():
    (finding,) = mt.check_backward(lambda x: x.mean(), lambda d, x: d * np.ones((3, 5)), np.ones((3, 5))).findings
    assert finding.endswith("15 is the number of values of x")


def test_a_gradient_of_integers_is_said_not_to_be_graded():
    whole = np.arange(32).reshape(8, 4)
    report = mt.check_backward(lambda x, w: x @ w, lambda d, x, w: (d @ w.T, x.T @ d), whole, W)
    assert report.passed
    assert "dx was not graded: x is no array of floats" in str(report)
    report = mt.check_backward(lambda x, w: x @ w, lambda d, x, w: {"x": d @ w.T, "w": x.T @ d}, whole, W)
    assert "a gradient for 'x', but x is no array of floats" in report.findings[0]
    labels = np.array([0, 1])
    report = mt.check_backward(lambda x, y: x[y], lambda d, x, y: (np.eye(2) @ d, None), np.ones((2, 3)), labels)
    assert report.remarks == []
