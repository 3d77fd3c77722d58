"""The checker itself: it accepts right rules, and rejects each kind of wrong one by name, place and likely cause."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import ops
from microtensor.gradcheck import FULL_JACOBIAN, GradcheckError, likely_cause
from microtensor.primitive import primitive


def draw(*shape, seed=0, low=0.5):
    return mt.tensor(np.random.default_rng(seed).uniform(low, low + 1.5, size=shape), requires_grad=True)


def fails(function, inputs, **options):
    """The message of the failure; raise_exception=False says the same."""
    with pytest.raises(GradcheckError, match="gradcheck failed") as raised:
        mt.gradcheck(function, inputs, **options)
    assert mt.gradcheck(function, inputs, raise_exception=False, **options) is False
    assert raised.value.mismatches
    return str(raised.value)


# --- wrong rules ------------------------------------------------------------------------------------------

cube = lambda x: x**3  # noqa: E731

WRONG_RULES = {
    "sign": (primitive("wrong", cube, lambda g, y, x: -3 * g * x * x), "the sign is wrong"),
    "missing factor": (primitive("wrong", cube, lambda g, y, x: g * x * x), "it is 0.333333 times the true gradient"),
    "1 % too large": (primitive("wrong", cube, lambda g, y, x: 3.03 * g * x * x), "it is 1.01 times the true gradient"),
    "1e-4 too large": (primitive("wrong", cube, lambda g, y, x: 3.0003 * g * x * x), "it is 1.0001 times"),
    "zero": (primitive("wrong", cube, lambda g, y, x: g * 0.0), "null gradient"),
    "of another function": (primitive("wrong", cube, lambda g, y, x: g * x), ""),
    "not a number": (primitive("wrong", cube, lambda g, y, x: g * np.nan), "not finite"),
}


@pytest.mark.parametrize("name", WRONG_RULES)
@pytest.mark.parametrize("shape", [(), (4,), (4, 5)])
def test_a_wrong_rule_is_named_with_index_and_cause(name, shape):
    op, cause = WRONG_RULES[name]
    message = fails(lambda x: op(x) * 2.0, draw(*shape))
    assert "the rule of wrong for argument 0" in message
    assert "at index (" in message
    assert cause in message


def test_a_mismatch_says_where_and_how_much():
    op = primitive("wrong", lambda x: x * 1.0, lambda g, y, x: np.where(np.arange(3) == 1, 2.0, 1.0) * g)
    with pytest.raises(GradcheckError) as raised:
        mt.gradcheck(op, draw(3))
    (mismatch,) = raised.value.mismatches
    assert mismatch.where == "the rule of wrong for argument 0"
    assert mismatch.index == (1,)
    assert mismatch.analytic == pytest.approx(2 * mismatch.numeric, rel=1e-6)
    assert mismatch.error == abs(mismatch.analytic - mismatch.numeric)


def test_a_mean_without_its_count_is_told_the_factor():
    op = primitive("average", lambda x: np.mean(x, axis=0), lambda g, y, x: np.broadcast_to(g, x.shape))
    message = fails(op, draw(5, 3))
    assert "the rule of average for argument 0" in message
    assert "it is 5 times too large: a factor 1/5 is missing" in message


def test_a_sum_with_a_count_too_many_is_told_the_factor():
    op = primitive("total", lambda x: np.sum(x, axis=0), lambda g, y, x: np.broadcast_to(g, x.shape) / x.shape[0])
    assert "it is 5 times too small: a factor 5 is missing" in fails(op, draw(5, 3))


def test_exchanged_arguments_are_found():
    op = primitive("swapped", np.multiply, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b)
    assert "the rule of swapped for argument 0" in fails(op, [draw(3), draw(3, seed=1)])


def test_only_the_wrong_argument_is_named():
    op = primitive("half", np.subtract, lambda g, y, a, b: g, lambda g, y, a, b: g)
    message = fails(op, [draw(3), draw(3, seed=1)])
    assert "the rule of half for argument 1" in message
    assert "argument 0" not in message
    assert "the sign is wrong" in message


def test_a_rule_that_does_not_undo_a_reduction_is_found():
    op = primitive("unsummed", lambda x: x.sum(axis=1), lambda g, y, x: g)
    message = fails(op, draw(3, 2))
    assert "the rule of unsummed for argument 0" in message
    assert "(3,)" in message
    assert "(3, 2)" in message


def test_a_rule_that_sums_too_much_is_found():
    op = primitive("oversummed", lambda x: x * 2.0, lambda g, y, x: (2 * g).sum(axis=0, keepdims=True))
    assert "the rule of oversummed for argument 0" in fails(op, draw(3, 2))


def test_the_first_wrong_operation_of_a_composition_is_named():
    op, _ = WRONG_RULES["1 % too large"]
    message = fails(lambda x: mt.tanh(mt.standardize(op(mt.exp(x)), axis=0)), draw(4, 3))
    assert "the rule of wrong for argument 0" in message
    assert "standardize" not in message


def test_a_wrong_element_in_a_large_input_is_found():
    factor = np.ones((60, 60))
    factor[17, 23] = 1.5
    op = primitive("wrong", lambda x: x * 1.0, lambda g, y, x: g * factor)
    x = draw(60, 60)
    assert x.size > FULL_JACOBIAN
    assert "the rule of wrong for argument 0" in fails(op, x)


# --- paths that are cut -----------------------------------------------------------------------------------


def standardized(mean=lambda m: m, variance=lambda v: v, axis=0):
    def call(x):
        mu = mean(mt.mean(x, axis=axis, keepdims=True))
        v = variance(mt.mean(mt.square(x - mu), axis=axis, keepdims=True))
        return (x - mu) / mt.sqrt(v + 1e-5)

    return call


@pytest.mark.parametrize(("shape", "axis", "said"), [((6, 3), 0, "axis 0"), ((3, 6), 1, "axis 1")])
@pytest.mark.parametrize(
    ("cut", "part"),
    [
        ({"mean": mt.stop_gradient}, "mean"),
        ({"variance": mt.stop_gradient}, "variance"),
        ({"mean": mt.stop_gradient, "variance": mt.stop_gradient}, "mean and variance"),
    ],
)
def test_a_detached_statistic_is_named(shape, axis, said, cut, part):
    message = fails(standardized(**cut, axis=axis), draw(*shape))
    assert f"equals the gradient with the {part} over {said} detached" in message
    assert "input 0 at index" in message


def test_the_right_standardisation_passes():
    assert mt.gradcheck(standardized(), draw(6, 3), order=2)


@pytest.mark.parametrize(
    "function",
    [lambda x: (x * 2).detach(), lambda x: mt.tensor(x.numpy() * 2), lambda x: mt.no_grad()(mt.exp)(x)],
    ids=["detach", "NumPy", "no_grad"],
)
def test_a_result_without_history_is_found(function):
    message = fails(function, draw(3))
    assert "input 0" in message
    assert "detached, or computed in NumPy or under no_grad" in message


def test_a_function_that_ignores_one_input_in_the_graph_only_is_found():
    message = fails(lambda a, b: a * mt.stop_gradient(b), [draw(3), draw(3, seed=1)])
    assert "input 1" in message
    assert "null gradient" in message


def test_a_constant_function_passes():
    assert mt.gradcheck(lambda x: mt.ones(3), draw(3))
    assert mt.gradcheck(lambda a, b: a * 2.0, [draw(3), draw(3)])


# --- second order -----------------------------------------------------------------------------------------


def test_a_rule_that_is_right_once_and_detaches_is_found_at_order_2():
    op = primitive("once", cube, lambda g, y, x: g * ops.stop_gradient(3 * x * x))
    x = draw(4)
    assert mt.gradcheck(op, x)
    message = fails(op, x, order=2)
    assert "second order" in message


def test_a_rule_whose_own_operations_are_wrong_is_found_at_order_2():
    slope = primitive("slope", lambda x: 3 * x * x, lambda g, y, x: g * 5 * x)
    op = primitive("twice", cube, lambda g, y, x: g * slope(x))
    x = draw(4)
    assert mt.gradcheck(op, x)
    message = fails(op, x, order=2)
    assert "second order" in message
    assert "slope" in message


def test_a_value_stashed_by_the_forward_is_found_at_order_2():
    """What a fused norm does when it keeps 1/σ from the forward pass."""

    def forward(x):
        return x / np.sqrt((x * x).mean() + 1e-5)

    def rule(g, y, x):
        r = np.sqrt((np.asarray(getattr(x, "_array", x)) ** 2).mean() + 1e-5)
        return (g - y * ops.mean(g * y)) / r

    op = primitive("fused", forward, rule)
    x = draw(5)
    assert mt.gradcheck(op, x)
    assert "second order" in fails(op, x, order=2)


@pytest.mark.parametrize("function", [mt.exp, lambda x: x * 2.0, lambda x: x.sum(), lambda x: mt.softmax(x), mt.sqrt])
def test_right_rules_pass_at_both_orders(function):
    assert mt.gradcheck(function, draw(3, 2), order=2) is True
    assert mt.gradgradcheck(function, [draw(3, 2)]) is True


# --- kinks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "slopes"),
    [
        (mt.relu, "the slope is 0 on the left and 1 on the right"),
        (lambda x: mt.where(x > 0, x, 3.0 * x), "the slope is 3 on the left and 1 on the right"),
    ],
)
def test_a_kink_at_the_point_is_reported_as_one(function, slopes):
    x = mt.tensor([1.0, 0.0, -2.0], requires_grad=True)
    with pytest.raises(GradcheckError) as raised:
        mt.gradcheck(function, x, cotangent=np.ones(3))
    (mismatch,) = raised.value.mismatches
    assert mismatch.where == "input 0"
    assert mismatch.index == (1,)
    assert mismatch.cause == "a kink or a jump: " + slopes
    assert "a kink" in fails(function, x)


def test_away_from_the_kink_it_passes():
    assert mt.gradcheck(mt.relu, mt.tensor([1.0, -1.0], requires_grad=True))
    assert mt.gradcheck(lambda x: mt.max(x, axis=0), mt.tensor([[1.0, 3.0], [2.0, 0.0]], requires_grad=True))


# --- arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_only_float64_is_checked(dtype):
    x = mt.tensor(np.ones(3, dtype), requires_grad=True)
    with pytest.raises(TypeError, match=rf"input 0 has dtype {np.dtype(dtype)}.*\.astype\(float\)"):
        mt.gradcheck(mt.exp, x)


def test_low_precision_within_is_named():
    assert "computes in float32" in fails(lambda x: mt.exp(x.astype(np.float32)).astype(float), draw(3))


def test_inputs_without_gradient_may_have_any_dtype():
    assert mt.gradcheck(lambda x, i: mt.pick(x, i), [draw(2, 3), mt.tensor([2, 0])])


@pytest.mark.parametrize("result", [None, 1.0, np.ones(3), (mt.ones(1),)])
def test_a_result_that_is_no_tensor_is_refused(result):
    with pytest.raises(TypeError, match=rf"returned a {type(result).__name__}, not a tensor"):
        mt.gradcheck(lambda x: result, draw(3))


def test_something_to_check_is_needed():
    with pytest.raises(ValueError, match="no input requires a gradient"):
        mt.gradcheck(mt.exp, mt.ones(3))
    with pytest.raises(ValueError, match="order is 3"):
        mt.gradcheck(mt.exp, draw(3), order=3)


def test_a_constant_cotangent_is_blind_where_a_random_one_sees():
    """The gradient of sum(BN(x)) is zero whether or not it flows through the variance."""
    detached, x = standardized(variance=mt.stop_gradient), draw(6, 3)
    assert mt.gradcheck(detached, x, cotangent=np.ones((6, 3)))
    assert mt.gradcheck(detached, x, cotangent="ones")
    assert not mt.gradcheck(detached, x, raise_exception=False)


def test_an_unknown_cotangent_is_refused():
    with pytest.raises(ValueError, match="cotangent"):
        mt.gradcheck(mt.exp, draw(3), cotangent="noise")


def test_a_given_cotangent_is_used():
    op = primitive("second", lambda x: x * 1.0, lambda g, y, x: g)
    wrong_at_0 = lambda x: mt.where([True, False], mt.stop_gradient(op(x)), x)  # noqa: E731
    assert mt.gradcheck(wrong_at_0, draw(2), cotangent=[0.0, 1.0])
    assert "input 0 at index (0,)" in fails(wrong_at_0, draw(2), cotangent=[1.0, 1.0])


def test_a_large_function_takes_projections_and_few_calls():
    calls = []

    def function(x):
        calls.append(1)
        return mt.tanh(x @ x.T)

    assert mt.gradcheck(function, draw(50, 50))
    assert len(calls) < 50
    assert "input 0" in fails(lambda x: mt.tanh(x) * mt.stop_gradient(x), draw(50, 50))


def test_inputs_are_left_as_they_were():
    x = draw(3)
    before = x.numpy().copy()
    mt.gradcheck(mt.exp, x, order=2)
    np.testing.assert_array_equal(x.numpy(), before)
    assert x.grad is None


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_an_empty_input_passes(shape):
    assert mt.gradcheck(mt.exp, mt.zeros(shape, requires_grad=True))


def test_several_inputs_and_shared_ones():
    a, b = draw(3, 2), draw(2, seed=1)
    assert mt.gradcheck(lambda a, b: (a * b + b).tanh() / a, [a, b], order=2)


def test_the_cause_of_a_right_gradient_at_zero_is_said():
    assert "true gradient is zero" in likely_cause(np.ones(3), np.zeros(3), np.ones(3))
    assert likely_cause(np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([1.0, 5.0])) == ""
