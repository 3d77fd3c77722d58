"""The checker itself: it accepts right rules, and rejects each kind of wrong one by name, place and likely cause."""

import functools

import numpy as np
import pytest

import microtensor as mt
from microtensor import ops
from microtensor.checking import GradcheckError, examine
from microtensor.core.primitive import primitive
from microtensor.inspect.checking.diagnosis import lost_statistics, plain_cause
from microtensor.inspect.checking.replay import changed_since, leaves_of, reader_of, replay
from microtensor.inspect.checking.rules import FULL_JACOBIAN
from microtensor.support.modes import keep_graphs


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
    assert mismatch.cause == "a kink: " + slopes + "; move the input away from it"
    assert "a kink" in fails(function, x)


def test_away_from_the_kink_it_passes():
    assert mt.gradcheck(mt.relu, mt.tensor([1.0, -1.0], requires_grad=True))
    assert mt.gradcheck(lambda x: mt.max(x, axis=0), mt.tensor([[1.0, 3.0], [2.0, 0.0]], requires_grad=True))


def test_a_jump_is_reported_as_one():
    for function in (mt.sign, mt.floor, lambda x: mt.where(x >= 0, x + 1.0, x)):
        assert "; a jump: the slope is" in fails(function, mt.tensor([0.0, 1.5], requires_grad=True))
    assert mt.gradcheck(mt.floor, mt.tensor([0.5, 1.5], requires_grad=True))


def test_a_kink_beside_the_point_is_stepped_around():
    assert mt.gradcheck(mt.relu, mt.tensor([3e-6, -3e-6, 1.0], requires_grad=True))
    assert mt.gradcheck(mt.abs, mt.tensor([1e-7, -1.0], requires_grad=True))


def test_the_kink_of_a_large_input_is_named():
    x = mt.tensor(np.tile([1.0, -1.0, 0.0], 1000), requires_grad=True)
    assert "; a kink: the slope is" in fails(lambda x: mt.sum(mt.relu(x)), x)


def test_a_gradient_between_the_slopes_passes_where_the_differences_agree():
    """Central differences halve the slopes of a kink, as the rules do for |0| and for two equal maxima."""
    assert mt.gradcheck(mt.abs, mt.tensor([0.0, 1.0], requires_grad=True))
    assert mt.gradcheck(mt.max, mt.tensor([1.0, 1.0, 0.0], requires_grad=True))
    assert "; a kink: the slope is 0 on the left" in fails(
        mt.max, mt.tensor([1.0, 1.0, 1.0], requires_grad=True), cotangent="ones"
    )


# --- infinities -------------------------------------------------------------------------------------------

MASK = np.triu(np.ones((3, 3), dtype=bool), 1)
HIDDEN = np.where(MASK, -np.inf, 0.0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: mt.where(MASK, -np.inf, x),
        lambda x: mt.softmax(mt.where(MASK, -np.inf, x)),
        lambda x: mt.softmax(x + HIDDEN),
        lambda x: mt.where(MASK, 0.0, mt.log_softmax(x + HIDDEN)),
        lambda x: mt.logsumexp(x + HIDDEN, axis=1),
        lambda x: mt.max_pool(x.reshape(1, 1, 3, 3), 2, padding=1),
        lambda x: mt.where(x > 0, x * x, mt.log(-x)),
    ],
)
def test_what_is_infinite_before_and_after_does_not_move(function, order):
    assert mt.gradcheck(function, draw(3, 3), order=order)


def test_a_large_masked_function_passes():
    mask = np.triu(np.full((60, 60), -np.inf), 1)
    assert mt.gradcheck(lambda x: mt.softmax(x + mask), draw(60, 60))


def test_a_gradient_at_an_infinite_value_that_does_not_move_is_wrong():
    assert "numeric 0, error" in fails(lambda x: x + HIDDEN, draw(3, 3))


def test_a_wrong_rule_beside_infinities_is_found():
    slow = primitive("slow", np.add, lambda g, y, a, b: 0.99 * g, None)
    assert "the rule of slow for argument 0" in fails(lambda x: mt.softmax(slow(x, HIDDEN)), draw(3, 3))
    steep = primitive("steep", np.exp, lambda g, y, x: 1.01 * g * y)
    assert "the rule of steep for argument 0" in fails(lambda x: steep(x + HIDDEN), draw(3, 3))


@pytest.mark.parametrize(
    ("function", "at", "said"),
    [
        (mt.exp, 1000.0, "the first such gradient is that of exp for argument 0"),
        (mt.sqrt, 0.0, "the first such gradient is that of sqrt for argument 0"),
        (lambda x: mt.where(x > 0, mt.log(x), 0.0), 0.0, "that of log for argument 0; keep its input where"),
        (lambda x: mt.sqrt(mt.sum(x * x)), 0.0, "the first such gradient is that of sqrt"),
        (lambda x: mt.softmax(x + np.full(2, -np.inf)), 1.0, "the gradient is not finite: the first"),
        (lambda x: mt.where(x >= 0, x, np.inf), 0.0, "the function is not finite beside this point"),
    ],
)
def test_what_is_not_finite_is_named(function, at, said):
    assert said in fails(function, mt.tensor([at, at], requires_grad=True))


# --- magnitudes -------------------------------------------------------------------------------------------

ANYWHERE = {
    "square": lambda x: x * x,
    "log": mt.log,
    "sqrt": mt.sqrt,
    "reciprocal": lambda x: 1.0 / x,
    "norm": mt.norm,
    "mean": lambda x: mt.mean(x, axis=0),
}


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_large_and_small_inputs(name, scale):
    x = mt.tensor(draw(4, 3).numpy() * scale, requires_grad=True)
    assert mt.gradcheck(ANYWHERE[name], x)
    wrong = primitive(name, lambda x: x * 1.0, lambda g, y, x: 1.01 * g)
    assert f"the rule of {name} for argument 0" in fails(lambda x: ANYWHERE[name](wrong(x)), x)


def test_large_and_small_inputs_together():
    assert mt.gradcheck(mt.log, mt.tensor([1e8, 1.0, 1e-8], requires_grad=True))
    many = mt.tensor(np.tile([1e8, 1.0, 1e-3], 1000), requires_grad=True)
    assert mt.gradcheck(mt.log, many)
    assert "input 0 along a random direction" in fails(lambda x: mt.log(x) * mt.stop_gradient(x), many)


@pytest.mark.parametrize("scale", [1e8, 1e-8, 1e-12])
def test_large_and_small_derivatives(scale):
    x = draw(4)
    assert mt.gradcheck(lambda x: mt.tanh(x) * scale, x, order=2)
    assert "a null gradient" in fails(lambda x: mt.stop_gradient(mt.tanh(x) * scale) + x * 0.0, x)
    assert "a null gradient" in fails(lambda x: mt.stop_gradient(mt.tanh(x) * scale) + x * 0.0, draw(60, 60))


@pytest.mark.parametrize("function", [lambda x: x**3, lambda x: x**5, lambda x: mt.sin(x) - x, lambda x: x - x])
def test_a_derivative_that_is_zero_at_the_point(function):
    assert mt.gradcheck(function, mt.tensor(0.0, requires_grad=True), order=2)
    assert mt.gradcheck(function, mt.zeros((60, 60), requires_grad=True))


def test_a_gradient_that_is_zero_but_for_rounding():
    x = mt.tensor(draw(6, 3).numpy() * 1e4, requires_grad=True)
    for axis in (0, 1):
        assert mt.gradcheck(lambda x, axis=axis: mt.sum(mt.standardize(x, axis=axis)), x, order=2)
        assert mt.gradcheck(lambda x, axis=axis: mt.sum(mt.softmax(x / 1e4, axis=axis)), x)


@pytest.mark.parametrize("function", [mt.gelu, mt.softmax, lambda x: mt.mean(mt.square(mt.tanh(x) - 0.3))])
@pytest.mark.parametrize("scale", [1e-2, 5.0, 30.0])
def test_a_small_derivative_of_large_intermediate_results(function, scale):
    """In the tails the rounding of what cancels is larger than the derivative, and far larger than the result's own."""
    for seed in range(2):
        x = np.random.default_rng(seed).normal(size=(3, 4)) * scale
        assert mt.gradcheck(function, mt.tensor(x, requires_grad=True), order=2)


def test_a_wide_step_that_was_asked_for_is_kept():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    assert mt.gradcheck(lambda x: x**4, x, eps=1e-2)
    assert not mt.gradcheck(mt.log, mt.tensor([1e-3, 1.0], requires_grad=True), eps=1e-2, raise_exception=False)


# --- modules and modes ------------------------------------------------------------------------------------


class Counter(mt.nn.Module):
    """A result that depends on how often it was asked for: the buffer moves with every call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", mt.tensor(1.0))

    def forward(self, x):
        with mt.no_grad():
            self.calls += 1.0
        return x * self.calls.detach()


COUNTER = Counter()


def uses_a_global(x):
    return COUNTER(x)


def ways_to_a_module(module):
    models = {"first": [module]}
    return [
        module,
        module.forward,
        lambda x: module(x),
        functools.partial(lambda m, x: m(x), module),
        functools.partial(lambda x, *, m: m(x), m=module),
        lambda x, m=module: m(x),
        lambda x: models["first"][0](x),
        lambda x: ways_to_a_module and (lambda y: module(y))(x),
    ]


@pytest.mark.parametrize("way", range(8))
def test_the_buffers_of_a_module_are_as_before_at_each_call_and_after(way):
    counter = Counter()
    before, version = counter.calls, counter.calls._version
    assert mt.gradcheck(ways_to_a_module(counter)[way], draw(3), order=2)
    assert counter.calls is before
    assert (counter.calls.item(), counter.calls._version) == (1.0, version)


def test_the_buffers_of_a_global_module_are_as_before():
    assert mt.gradcheck(uses_a_global, draw(3))
    assert COUNTER.calls.item() == 1.0


def test_a_name_without_a_value_yet_hides_no_module():
    def function(x):
        return x * 2.0 if x.ndim else later(x)

    assert mt.gradcheck(function, draw(3))
    later = None


def test_running_statistics_stay_where_they_are():
    bn = mt.nn.BatchNorm1d(3)
    model = mt.nn.Sequential(mt.nn.Linear(3, 3), bn)
    before = model.state_dict()
    assert mt.gradcheck(lambda x: model(x), draw(6, 3), order=2)
    with pytest.raises(ValueError, match="BatchNorm1d"):
        mt.gradcheck(model, draw(1, 3))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    bn(draw(6, 3))
    assert bn.num_batches_tracked.item() == 1


def test_recording_is_on_for_the_check():
    with mt.no_grad():
        assert mt.gradcheck(mt.exp, draw(3), order=2)
        assert "the sign is wrong" in fails(WRONG_RULES["sign"][0], draw(3))


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


@pytest.mark.parametrize("result", [None, 1.0, np.ones(3)])
def test_a_result_that_is_no_tensor_is_refused(result):
    with pytest.raises(TypeError, match=rf"returned a {type(result).__name__}, not a tensor$"):
        mt.gradcheck(lambda x: result, draw(3))


@pytest.mark.parametrize("forward", [lambda x: x * 1j, lambda x: None, lambda x: "text"])
def test_a_result_that_holds_no_numbers_is_refused(forward):
    own = primitive("own", forward, lambda g, y, x: g)
    with pytest.raises(TypeError, match=r"returned a tensor of dtype \S+, not of floats$"):
        mt.gradcheck(own, draw(3))


@pytest.mark.parametrize("kind", [tuple, list])
def test_several_results_are_checked_one_at_a_time(kind):
    with pytest.raises(TypeError, match=rf"returned a {kind.__name__}, .* lambda \*xs: fn\(\*xs\)\[0\]"):
        mt.gradcheck(lambda x: kind([x, x]), draw(3))


@pytest.mark.parametrize("inputs", [np.ones(3), 2.0, [np.ones(3)], [draw(3), 1.0]])
def test_an_input_that_is_no_tensor_is_refused(inputs):
    with pytest.raises(TypeError, match=r"input \d is a \w+, not a tensor; write mt.tensor\("):
        mt.gradcheck(mt.exp, inputs)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="input 0 holds NaN or ∞"):
        mt.gradcheck(mt.exp, mt.tensor([1.0, value], requires_grad=True))


@pytest.mark.parametrize("eps", [0, -1e-6, np.inf, np.nan])
def test_a_step_that_is_none_is_refused(eps):
    with pytest.raises(ValueError, match="eps is"):
        mt.gradcheck(mt.exp, draw(3), eps=eps)


def test_a_shape_that_depends_on_values_is_refused():
    x = mt.tensor([0.0, 1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"has shape \(2,\) at the input and \(1,\) near it"):
        mt.gradcheck(lambda x: x[x.numpy() >= 0], x)


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
    with pytest.raises(ValueError, match=r"the cotangent has shape \(2,\); the result has \(3,\)"):
        mt.gradcheck(mt.exp, draw(3), cotangent=np.ones(2))


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


def test_a_function_of_middle_size_is_told_the_element():
    x = draw(40, 30)
    assert x.size <= FULL_JACOBIAN < x.size**2
    assert mt.gradcheck(mt.tanh, x)
    message = fails(lambda x: mt.tanh(x) * mt.stop_gradient(x), x)
    assert "input 0 at index (" in message


def test_inputs_are_left_as_they_were():
    x = draw(3)
    before = x.numpy().copy()
    mt.gradcheck(mt.exp, x, order=2)
    np.testing.assert_array_equal(x.numpy(), before)
    assert x.grad is None


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_an_empty_input_passes(shape):
    assert mt.gradcheck(mt.exp, mt.zeros(shape, requires_grad=True))


def test_empty_results_and_empty_inputs_beside_others_pass():
    assert mt.gradcheck(lambda x: x[:0] * 2.0, draw(3), order=2)
    assert mt.gradcheck(lambda a, b: mt.concat([a, b]) * 2.0, [mt.zeros(0, requires_grad=True), draw(3)], order=2)


def test_inputs_that_are_results_views_and_one_tensor_twice():
    x = draw(4, 6)
    for inputs in (x * 2.0, x[:, ::2], x.T, mt.broadcast_to(x[0], shape=(2, 6)), draw()):
        assert mt.gradcheck(lambda a: mt.tanh(a) * 2.0, inputs, order=2)
    assert mt.gradcheck(lambda a, b: a * b, [x, x], order=2)


def test_a_result_that_needs_no_input_passes():
    w = draw(3)
    assert mt.gradcheck(lambda x: w * 2.0, draw(3), order=2)
    assert mt.gradcheck(lambda x: mt.ones(3), draw(3), order=2)
    assert mt.gradcheck(lambda x: x.astype(int), mt.tensor([1.5, 2.5], requires_grad=True))


def test_an_update_of_the_local_name_passes():
    def function(x):
        y = x * 1.0
        y *= x
        return y

    assert mt.gradcheck(function, draw(3), order=2)


def test_a_part_without_history_is_found():
    message = fails(lambda x: mt.no_grad()(mt.exp)(x) + x, draw(3))
    assert "input 0 at index (" in message


def test_several_inputs_and_shared_ones():
    a, b = draw(3, 2), draw(2, seed=1)
    assert mt.gradcheck(lambda a, b: (a * b + b).tanh() / a, [a, b], order=2)


def test_the_cause_of_a_right_gradient_at_zero_is_said():
    assert "true gradient is zero" in plain_cause(np.ones(3), np.zeros(3))
    for x in ([1.0, 5.0], [1.0, np.inf]):
        assert plain_cause(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == ""
        assert lost_statistics(np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array(x)) == ""


def test_gradients_that_are_nearly_the_same_have_no_cause():
    a, x = np.array([1.0, 2.0, 4.0]), np.array([1.0, 5.0, 2.0])
    assert plain_cause(a, a * (1 + 1e-7)) == lost_statistics(a, a + 1e-7, x) == ""


def test_a_factor_of_two_counts_is_said():
    g = np.arange(15.0).reshape(5, 3)
    assert "it is 5/3 times the true gradient" in plain_cause(g / 3, g / 5)
    assert "divided by 4 where 5 are counted" in plain_cause(g / 4, g / 5)


@pytest.mark.parametrize("shape", [(3,), (60, 60)])
def test_a_function_of_chance_is_told_from_a_wrong_gradient(shape):
    rng = np.random.default_rng(0)
    for function in (lambda x: x * rng.normal(), lambda x: x + rng.normal(size=x.shape)):
        assert "the function gives another value at each call" in fails(function, draw(*shape, seed=3))
    report = examine(lambda x: x * rng.normal(), [draw(*shape)])
    assert (report.inputs[0].error, report.inputs[0].right) == (np.inf, False)
    assert mt.gradcheck(lambda x: x * np.random.default_rng(0).normal(size=x.shape), draw(*shape), order=2)


def test_an_input_is_called_by_its_name():
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="speed")
    assert "input 0 (speed) at index" in fails(lambda x: x * mt.stop_gradient(x), x)
    with pytest.raises(TypeError, match=r"input 0 \(speed\) has dtype float32.*set_default_dtype"):
        mt.gradcheck(mt.exp, mt.tensor(np.ones(2, np.float32), requires_grad=True, name="speed"))


def test_a_hook_that_changes_the_gradient_is_found():
    def function(x):
        y = mt.exp(x)
        y.register_hook(lambda g: g * 2.0)
        return y * x

    message = fails(function, draw(3))
    assert "a hook changes it" in message


@pytest.mark.parametrize("error", [ValueError, TypeError, IndexError])
def test_a_rule_that_raises_is_named(error):
    def rule(g, y, x):
        raise error("broken")

    op = primitive("raising", cube, rule)
    message = fails(op, draw(3))
    assert f"the rule of raising for argument 0 raised {error.__name__}: broken" in message
    assert "nan" not in message
    report = examine(op, [draw(3)])
    assert report.inputs[0].error == np.inf
    assert not report.inputs[0].right


def test_a_rule_that_raises_for_low_precision_only_is_named_by_the_walk():
    def rule(g, y, x):
        if g.dtype == np.float32:
            raise KeyError("broken")
        return g

    op = primitive("raising", lambda x: x * 1, rule)
    message = fails(lambda x: op(x.astype(np.float32)), draw(3))
    assert "the reverse walk raised KeyError: 'broken'" in message
    assert "in the derivative of raising by argument 0, shapes (3,) -> (3,)" in message


def test_a_wrong_rule_is_told_although_the_next_one_raises():
    def raising(g, y, a, b):
        raise ValueError("broken")

    op = primitive("half", np.multiply, lambda g, y, a, b: g * a * a, raising)
    report = examine(op, [draw(3), draw(3, seed=1)])
    assert "the rule of half for argument 0 at index" in str(report.mismatches[0])
    assert [one.right for one in report.inputs.values()] == [False, False]


def test_a_second_derivative_that_a_hook_cuts_is_no_rules_fault():
    def function(x):
        y = x * x
        y.register_hook(lambda g: g.detach())
        return mt.exp(y)

    assert mt.gradcheck(function, draw(3))
    assert "second order, input 0 at index" in fails(function, draw(3), order=2)


def test_a_hook_that_fails_is_told():
    def function(x):
        y = x * 1.0
        y.register_hook(lambda g: mt.ones(7))
        return y

    assert "the reverse walk raised ValueError: hook: a tensor of shape (3,) cannot have" in fails(function, draw(3))


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (lambda g, y, x: g * np.nan_to_num(np.cos(x)), "TypeError"),
        (lambda g, y, x: g * ops.cos(x).view(), "AttributeError"),
    ],
)
def test_a_rule_that_runs_on_arrays_alone_is_named_at_order_2(rule, error):
    op = primitive("wave", np.sin, rule)
    x = draw(3)
    assert mt.gradcheck(op, x)
    message = fails(lambda x: op(x) * 2.0, x, order=2)
    assert f"second order, the rule of wave for argument 0 raised {error}: " in message
    assert "gradient of shape (3,), inputs of shapes (3,)" in message
    assert "a second derivative runs the rules on tensors: write them with operators and the functions of" in message
    assert not examine(op, [x], order=2).inputs[0].right


def test_a_right_rule_at_the_edge_of_its_domain_is_not_blamed():
    """Memory is looked for at a second point, which must not leave the domain or cross a kink."""
    for function, at in [
        (mt.sqrt, [1e-3, 1.0]),
        (mt.log, [1e-3, 5.0]),
        (lambda x: 1.0 / x, [1e-2, -1e-2]),
        (mt.arcsin, [0.9, -0.9]),
        (mt.relu, [1e-3, -1e-3]),
        (lambda x: mt.abs(x - 1.0), [1.02, 0.98]),
        (lambda x: mt.power(x, 0.5), [1e-2, 4.0]),
        (mt.prod, [0.0, 2.0]),
    ]:
        assert mt.gradcheck(function, mt.tensor(at, requires_grad=True)), at


def test_a_strong_curve_is_looked_at_again_before_it_is_called_wrong():
    """Two points are too far apart for √ near 0: off by 5e-6, as much as a small mistake would be."""
    x = mt.tensor(np.full((60, 60), 3e-3), requires_grad=True)
    assert mt.gradcheck(mt.sqrt, x)
    assert mt.gradcheck(lambda x: mt.sqrt(x * 2.0).sum(axis=1), mt.tensor(x.numpy()[:20, :30], requires_grad=True))
    op = primitive("wrong", np.sqrt, lambda g, y, x: 1.0001 * g / (2 * y))
    assert "1.0001" in fails(op, mt.tensor([3e-3, 1.0], requires_grad=True))


# --- reports and recorded graphs --------------------------------------------------------------------------


def test_a_report_has_each_input_and_goes_on_after_a_wrong_rule():
    op, _ = WRONG_RULES["sign"]
    report = examine(lambda a, n, b: op(a) * n + b, [draw(3), mt.tensor([1, 2, 3]), draw(3, seed=1)])
    assert sorted(report.inputs) == [0, 2]
    assert not report.inputs[0].right
    assert report.inputs[0].error > 1
    assert report.inputs[2].right
    assert 0 < report.inputs[2].error < 1e-8
    assert [m.cause for m in report.mismatches] == ["the sign is wrong"]


def test_a_report_of_second_order():
    op = primitive("once", cube, lambda g, y, x: g * ops.stop_gradient(3 * x * x))
    assert examine(op, [draw(3)]).inputs[0].right
    report = examine(op, [draw(3)], order=2)
    assert not report.inputs[0].right
    assert "second order, the rules of once" in str(report.mismatches[0])


def test_a_wrong_rule_inside_another_rule_makes_the_input_wrong_at_the_second_order():
    double = mt.primitive("double", lambda a: a * 2.0, lambda g, y, a: g * 3.0)
    square = mt.primitive("square", lambda a: a * a, lambda g, y, a: g * double(a))
    assert examine(square, [draw(3)]).inputs[0].right
    report = examine(square, [draw(3)], order=2)
    assert not report.inputs[0].right
    assert "second order, the rule of double" in str(report.mismatches[0])


def test_a_report_of_a_large_input_and_of_a_detached_one():
    x = draw(60, 60)
    assert 0 < examine(mt.tanh, [x]).inputs[0].error < 1e-5
    report = examine(lambda x: x.detach() * 2.0, [draw(3)])
    assert not report.inputs[0].right
    assert report.inputs[0].error > 0.1


def test_a_replay_gives_the_same_and_follows_its_leaves():
    a, b = draw(4, 3), draw(3, seed=1)
    kept = mt.stop_gradient(b)
    output = mt.tanh(a * b + kept).sum(axis=0) / b
    np.testing.assert_array_equal(replay(output, {}).numpy(), output.numpy())
    new = draw(3, seed=2)
    moved = replay(output, {b: new})
    np.testing.assert_array_equal(moved.numpy(), (mt.tanh(a * new + kept).sum(axis=0) / new).numpy())
    assert leaves_of(output) == [a, b]
    assert leaves_of(moved) == [a, new]


def test_a_replay_of_a_used_graph_needs_its_records():
    x = draw(3)
    with keep_graphs():
        kept = (x * x).sum()
        kept.backward()
    np.testing.assert_array_equal(replay(kept, {x: mt.ones(3)}).numpy(), 3.0)
    freed = (x * x).sum()
    freed.backward()
    with pytest.raises(RuntimeError, match=r"the graph of sum .* has been freed"):
        replay(freed, {})


def test_a_deep_graph_is_replayed_without_recursion():
    x = draw()
    y = x
    for _ in range(5_000):
        y = y + 1.0
    assert replay(y, {x: mt.tensor(1.0)}).item() == 5_001.0


def test_a_leaf_that_changed_is_noticed():
    w, v, early = draw(3), draw(3, seed=1), draw(3, seed=2)
    early.data = np.ones(3)
    loss = (w * v).sum() + (early * 2.0).sum()
    assert changed_since(loss) == []
    w.data = np.zeros(3)
    assert changed_since(mt.exp(loss)) == [w]


def test_the_reader_of_a_leaf_is_its_first():
    w, other = draw(3), draw(3)
    with mt.name_scope("outer"), mt.name_scope("inner"):
        y = w * 2.0
    assert reader_of(y + w, w) == "outer.inner"
    assert reader_of(y + other, other) == ""
    assert reader_of(y, other) == ""
