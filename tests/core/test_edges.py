"""Numbers at the edge: infinite slopes behind a mask, float16's end, offsets, singular points, infinities, zeros."""

import decimal
import itertools
import math
import tracemalloc
import warnings
from decimal import Decimal

import numpy as np
import pytest

import microtensor as mt
from microtensor import losses, nn, norms, ops

INF, NAN = math.inf, math.nan


def leaf(data, dtype=None):
    return mt.tensor(data, dtype=dtype, requires_grad=True)


def slopes(function, x):
    """The gradient of the sum of a function, and that of the gradient's sum."""
    first = mt.grad(mt.sum(function(x)), x, create_graph=True)
    second = mt.grad(mt.sum(first), x, allow_unused=True) if first.requires_grad else None
    return first.numpy(), np.zeros(x.shape) if second is None else second.numpy()


# --- what is masked passes nothing back -------------------------------------------------------------------

STEEP = {
    "sqrt": mt.sqrt,
    "log": mt.log,
    "log2": mt.log2,
    "reciprocal": mt.reciprocal,
    "rsqrt": mt.rsqrt,
    "power": lambda x: x**0.5,
    "negative power": lambda x: x**-1.5,
    "integer power": lambda x: x**-2,
    "quotient": lambda x: 3.0 / x,
    "arcsin of one minus": lambda x: mt.arcsin(1.0 - x),
}
# A function that gives 0, with elements that have no share in it marked by False.
FLAT = {
    "relu": (mt.relu, [-1.0, -2.0], [False, False]),
    "abs": (mt.abs, [0.0, 0.0], [False, False]),
    "maximum": (lambda x: mt.maximum(x, 0.0), [-1.0, -2.0], [False, False]),
    "maximum of two": (lambda x: mt.maximum(0.0, x), [-1.0, -2.0], [False, False]),
    "minimum": (lambda x: mt.minimum(x, 0.0), [1.0, 2.0], [False, False]),
    "clip": (lambda x: mt.clip(x, 0.0, 1.0), [-1.0, -2.0], [False, False]),
    "hardtanh": (lambda x: mt.hardtanh(x, 0.0, 1.0), [-1.0, -2.0], [False, False]),
    "leaky_relu": (lambda x: mt.leaky_relu(x, 0.0), [-1.0, -2.0], [False, False]),
    "elu": (lambda x: mt.elu(x, 0.0), [-1.0, -2.0], [False, False]),
    "where": (lambda x: mt.where([False, False], x, 0.0), [-1.0, -2.0], [False, False]),
    "where not": (lambda x: mt.where([True, True], 0.0, x), [-1.0, -2.0], [False, False]),
    "masked": (lambda x: ops.masked(x, [False, False]), [-1.0, -2.0], [False, False]),
    "tril": (lambda x: mt.tril(mt.reshape(x, shape=(1, 2)))[:, 1:], [1.0, -2.0], [False, False]),
    "triu": (lambda x: mt.triu(mt.reshape(x, shape=(2, 1)))[1:], [1.0, -2.0], [False, False]),
    "max": (mt.max, [0.0, -1.0], [True, False]),
    "min": (mt.min, [0.0, 1.0], [True, False]),
    "norm of order inf": (lambda x: mt.norm(x, ord=INF), [0.0, 0.0], [False, False]),
    "norm of order 1": (lambda x: mt.norm(x, ord=1), [0.0, 0.0], [False, False]),
    "max_pool": (lambda x: mt.max_pool(x[None, None], 2), [0.0, -1.0], [True, False]),
    "padded max_pool": (lambda x: mt.max_pool(x[None, None], 3, padding=1), [0.0, -1.0], [True, False]),
    "sort": (lambda x: mt.sort(x)[1:], [0.0, -1.0], [True, False]),
    "pad": (lambda x: mt.pad(x, [(1, 0)])[:1], [1.0, 2.0], [False, False]),
    "dropout": (lambda x: nn.functional.dropout(x, 1.0), [1.0, 2.0], [False, False]),
    "half a dropout": (lambda x: nn.functional.dropout(x, 0.5, rng=1)[:1], [1.0, 2.0], [True, False]),
}


@pytest.mark.parametrize("wide", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("flat", FLAT)
def test_what_has_no_share_gets_no_gradient_however_steep_the_rest(flat, wide):
    function, point, share = FLAT[flat]
    for name, steep in STEEP.items():
        if wide:
            # Beyond the size from which a mask chooses in binary.
            x = leaf(np.tile(point, (300, 1)))
            found = slopes(
                lambda a, f=steep: mt.concat([mt.reshape(f(function(a[i])), shape=(-1,)) for i in (0, 7)]), x
            )
            found = [g[7] for g in found]
        else:
            found = slopes(lambda a, f=steep: f(function(a)), leaf(point))
        for order, g in enumerate(found, 1):
            np.testing.assert_array_equal(g[~np.array(share)], 0.0, err_msg=f"{name} of {flat}, order {order}")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_mask_chooses_among_all_values_and_leaves_them_as_they_are(dtype):
    rng = np.random.default_rng(0)
    x = rng.choice(np.array([INF, -INF, NAN, 0.0, -0.0, 1.5, -2.0]), (40, 30)).astype(dtype)
    for mask in (
        rng.random((40, 30)) < 0.5,
        rng.random(30) < 0.5,
        rng.random((40, 1)) < 0.5,
        rng.random((2, 40, 30)) < 0.5,
    ):
        expected = np.where(mask, x, dtype(0))
        for values in (x, np.broadcast_to(x[:1], x.shape), np.asfortranarray(x), x[::-1]):
            expected = np.where(mask, values, dtype(0))
            np.testing.assert_array_equal(ops.masked(values, mask), expected)
            assert ops.masked(values, mask).dtype == dtype


# Functions through 0 whose slope there is 1.
THROUGH = (mt.tanh, mt.sin, mt.sinh, mt.tan, mt.arcsin, mt.arctan, mt.erf, mt.expm1, mt.log1p, mt.leaky_relu, mt.elu)


@pytest.mark.parametrize("function", THROUGH, ids=lambda f: f.__name__)
def test_an_infinite_slope_passes_through_where_the_slope_is_not_zero(function):
    for steep, sign in ((mt.sqrt, 1), (mt.log, 1), (mt.reciprocal, -1), (mt.rsqrt, -1)):
        x = leaf([0.0])
        assert mt.grad(steep(function(x)), x).item() == sign * INF


def test_a_relu_of_many_elements_passes_infinity_back_where_it_is_open():
    x = leaf(np.resize([-1.0, 2.0, 0.0], 3000))
    y = mt.relu(x)
    gradient = mt.grad(y, x, np.full(3000, INF)).numpy()
    np.testing.assert_array_equal(gradient, np.resize([0.0, INF, 0.0], 3000))


def test_the_largest_of_nan_is_nan_and_its_gradient_goes_there():
    for function in (mt.max, mt.min):
        x = leaf([1.0, NAN, 2.0])
        np.testing.assert_array_equal(mt.grad(function(x), x).numpy(), [0.0, 1.0, 0.0])


# --- float16 is added up in float32 -----------------------------------------------------------------------

MANY = 70_000


def ones(*shape):
    return leaf(np.ones(shape), np.float16)


def test_a_mean_of_more_than_float16_counts_has_a_gradient():
    x = ones(MANY)
    mt.mean(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.float16(1 / MANY))
    x = ones(300, 300)
    mt.mse_loss(x, mt.zeros((300, 300), dtype=np.float16)).backward()
    # Rounded twice, among numbers that lie 6e-8 apart.
    np.testing.assert_allclose(x.grad.numpy(), 2 / 90_000, rtol=0, atol=1.2e-7)
    x = ones(300, 300)
    (slope,) = mt.grad(mt.mean(x * x), [x], create_graph=True)
    np.testing.assert_allclose(mt.grad(slope.sum(), x).numpy(), 2 / 90_000, rtol=0, atol=1.2e-7)


ROWS = 20_000
ADDED = {
    "bias": lambda w: ops.broadcast_to(w, shape=(ROWS, 2)),
    "scale": lambda w: mt.ones((ROWS, 2), dtype=np.float16) * w,
    "difference": lambda w: mt.ones((ROWS, 2), dtype=np.float16) - w,
    "quotient": lambda w: mt.ones((ROWS, 2), dtype=np.float16) / w,
    "divided": lambda w: w / mt.ones((ROWS, 2), dtype=np.float16),
    "power": lambda w: w ** mt.ones((ROWS, 2), dtype=np.float16),
    "maximum": lambda w: mt.maximum(w, mt.zeros((ROWS, 2), dtype=np.float16)),
    "where": lambda w: mt.where(np.ones((ROWS, 2), bool), w, 0.0),
    "masked": lambda w: ops.masked(w, np.ones((ROWS, 2), bool)),
    "embedding": lambda w: mt.embedding(np.zeros(ROWS, int), w[None]),
    "take": lambda w: mt.take(w[None], np.zeros(ROWS, int)),
    "getitem": lambda w: w[None][np.zeros(ROWS, int)],
    "repeat": lambda w: mt.repeat(w[None], ROWS, axis=0),
    "tile": lambda w: mt.tile(w, (ROWS, 1)),
    "cumsum": lambda w: mt.cumsum(ops.broadcast_to(w, shape=(ROWS, 2)), axis=0)[-1],
    "sum": lambda w: mt.sum(ops.broadcast_to(w, shape=(ROWS, 2)), axis=0),
    "matmul": lambda w: mt.matmul(mt.ones((ROWS, 1), dtype=np.float16), w[None]),
    "einsum": lambda w: mt.einsum("nk,j->nj", mt.ones((ROWS, 1), dtype=np.float16), w),
    "outer": lambda w: mt.outer(mt.ones(ROWS, dtype=np.float16), w),
    "windows": lambda w: ops.sliding_windows(
        ops.broadcast_to(w, shape=(1, 1, 2)), window=(1,), stride=(1,), dilation=(1,)
    ) * mt.ones((ROWS, 1, 1, 2), dtype=np.float16),
    "conv1d": lambda w: mt.conv1d(mt.ones((1, 1, ROWS), dtype=np.float16), mt.reshape(w, shape=(2, 1, 1))),
    "conv1d bias": lambda w: mt.conv1d(
        mt.ones((1, 1, ROWS), dtype=np.float16), mt.zeros((2, 1, 1), dtype=np.float16), w
    ),
    "layer norm's bias": lambda w: norms.layer_norm(mt.ones((ROWS, 2), dtype=np.float16), 2, bias=w),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_many_float16_gradients_are_added_up_without_loss(name):
    w = ones(2)
    y = ADDED[name](w)
    gradient = mt.grad(y, w, np.ones(y.shape, np.float16)).numpy()
    assert gradient.dtype == np.float16
    np.testing.assert_array_equal(np.abs(gradient), ROWS)


FORWARD = {
    "sum": lambda x: mt.sum(x, axis=0),
    "sum_to": lambda x: ops.sum_to(x, shape=(1, 2)),
    "contract_to": lambda x: ops.multiply_sum(x, ops.as_array(x) * 0 + 1, shape=(2,)),
    "cumsum": lambda x: mt.cumsum(x, axis=0)[-1],
    "einsum": lambda x: mt.einsum("ij,ij->j", x, ops.as_array(x) * 0 + 1),
    "matmul": lambda x: mt.matmul(mt.ones(ROWS, dtype=x.dtype), x),
    "put": lambda x: ops.put(x, index=np.zeros(ROWS, int), shape=(1, 2)),
    "scatter_add": lambda x: mt.scatter_add(mt.zeros((1, 2), dtype=x.dtype), np.zeros((ROWS, 2), int), x, axis=0),
    "overlap_add": lambda x: ops.overlap_add(
        ops.reshape(x, shape=(1, 1, ROWS, 2)), window=(ROWS,), stride=(1,), dilation=(1,), positions=(ROWS + 1,)
    )[:, :, 1:2] * 0 + ROWS,
    "mean": lambda x: mt.mean(x, axis=0) * ROWS,
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARD)
def test_many_float16_numbers_are_added_up_without_loss(name):
    y = FORWARD[name](mt.ones((ROWS, 2), dtype=np.float16))
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y.numpy(), ROWS)


def test_windows_of_float16_that_overlap_are_added_up_without_loss():
    x = mt.ones((1, 1, 4000, 3), dtype=np.float16)
    y = ops.overlap_add(x, window=(4000,), stride=(1,), dilation=(1,), positions=(4002,)).numpy()
    assert y.max() == 3
    x = mt.ones((1, 1, 2, 4000), dtype=np.float16) * 0.1
    once = np.float16(0.1)
    y = ops.overlap_add(x, window=(2,), stride=(1,), dilation=(1,), positions=(4001,)).numpy()
    np.testing.assert_array_equal(y[0, 0, 1:-1], np.float16(2 * np.float32(once)))


def test_float16_passes_its_end_on_the_way_only():
    x = leaf([300.0, 400.0], np.float16)
    assert mt.norm(x).item() == 500
    np.testing.assert_allclose(mt.grad(mt.norm(x), x).numpy(), [0.6, 0.8], rtol=1e-3)
    x = leaf([0.0, 1000.0], np.float16)
    assert mt.std(x).item() == 500
    np.testing.assert_array_equal(mt.grad(mt.std(x), x).numpy(), [-0.5, 0.5])
    x = leaf([300.0, 300.0, 1 / 1024], np.float16)
    assert mt.prod(x).item() == np.float16(90_000 / 1024)
    np.testing.assert_array_equal(mt.grad(mt.prod(x), x).numpy(), np.array([300 / 1024, 300 / 1024, INF], np.float16))
    np.testing.assert_array_equal(mt.softmax(mt.zeros(MANY, dtype=np.float16)).numpy(), np.float16(1 / MANY))
    logits = leaf(np.zeros((MANY, 2)), np.float16)
    target = np.zeros(MANY, int)
    target[0] = -100
    for weight in (None, np.array([2.0, 1.0], np.float16)):
        loss = mt.cross_entropy(logits, target, weight)
        np.testing.assert_allclose(loss.item(), math.log(2), rtol=1e-3)
        np.testing.assert_allclose(mt.grad(loss, logits).numpy()[1, 1], 0.5 / MANY, rtol=1e-2)
    logp = leaf(np.full((MANY, 2), -2.0), np.float16)
    loss = losses.kl_div(logp, mt.full((MANY, 2), 0.5, dtype=np.float16), reduction="batchmean")
    np.testing.assert_allclose(loss.item(), 2 - math.log(2), rtol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float16, 300), (np.float16, 1e-4), (np.float64, 1e200), (np.float64, 1e-200)]
)
def test_the_slope_of_an_angle_does_not_pass_the_ends_of_its_dtype(dtype, size):
    a, b = leaf([size], dtype), leaf([2 * size], dtype)
    a_slope, b_slope = mt.grad(mt.arctan2(a, b), [a, b])
    size = float(a.item())
    np.testing.assert_allclose([a_slope.item(), b_slope.item()], [0.4 / size, -0.2 / size], rtol=2e-3)
    assert a_slope.dtype == b_slope.dtype == dtype
    if 1 < size < 1e150:
        np.testing.assert_allclose(mt.grad(mt.arctan(a), a).item(), 1 / (1 + size**2), rtol=1e-2)


def test_the_slope_of_an_angle_at_infinity_is_zero():
    for point in ([INF, 1.0], [1.0, -INF], [INF, INF]):
        a, b = map(leaf, point)
        slopes = [g.item() for g in mt.grad(mt.arctan2(a, b), [a, b])]
        # As in PyTorch and JAX: a quotient of two infinities is not a number.
        wanted = [b.item() / (a.item() ** 2 + b.item() ** 2), -a.item() / (a.item() ** 2 + b.item() ** 2)]
        np.testing.assert_array_equal(slopes, wanted)
    x = leaf([INF, -INF, 0.0])
    np.testing.assert_array_equal(mt.grad(mt.arctan(x).sum(), x).numpy(), [0.0, 0.0, 1.0])


# --- the largest is taken off first -----------------------------------------------------------------------


def exact_softmax(row):
    x = [Decimal(float(a)) for a in row]
    powers = [(a - max(x)).exp() for a in x]
    log_sum = sum(powers).ln()
    return [a / sum(powers) for a in powers], [a - max(x) - log_sum for a in x], max(x) + log_sum


def ulps(found, exact, dtype):
    """The worst error in units of ε, relative for numbers above 1 and absolute below."""
    eps = Decimal(float(np.finfo(dtype).eps))
    pairs = zip(np.ravel(found.numpy()).tolist(), exact, strict=True)
    return max(float(abs(Decimal(a) - b) / max(Decimal(1), abs(b)) / eps) for a, b in pairs)


# The worst errors of PyTorch 2.13 on a CPU in units of ε, on the same numbers.
PYTORCH = {
    np.float16: {"softmax": 0.25, "log_softmax": 0.99, "logsumexp": 0.47, "cross_entropy": 0.66},
    np.float32: {"softmax": 1.35, "log_softmax": 1.76, "logsumexp": 0.50, "cross_entropy": 1.38},
    np.float64: {"softmax": 1.22, "log_softmax": 1.43, "logsumexp": 0.57, "cross_entropy": 1.43},
}
OFFSETS = {np.float16: (0, 1e2, 1e4), np.float32: (0, 1e2, 1e4, 1e8), np.float64: (0, 1e2, 1e4, 1e8)}


@pytest.mark.parametrize("dtype", PYTORCH, ids=lambda dtype: dtype.__name__)
def test_softmax_and_its_kin_keep_their_digits_at_any_offset(dtype):
    rng = np.random.default_rng(0)
    worst = dict.fromkeys(PYTORCH[dtype], 0.0)
    with decimal.localcontext(prec=50):
        for offset in OFFSETS[dtype]:
            x = (rng.normal(size=(40, 10)) * 3 + offset).astype(dtype)
            weights, logs, sums = zip(*map(exact_softmax, x), strict=True)
            tensor = mt.tensor(x)
            found = {
                "softmax": (mt.softmax(tensor), list(itertools.chain(*weights))),
                "log_softmax": (mt.log_softmax(tensor), list(itertools.chain(*logs))),
                "logsumexp": (mt.logsumexp(tensor, axis=-1), sums),
                "cross_entropy": (
                    losses.cross_entropy(tensor, np.zeros(40, int), reduction="none"),
                    [-row[0] for row in logs],
                ),
            }
            for name, (value, exact) in found.items():
                worst[name] = max(worst[name], ulps(value, exact, dtype))
    assert all(worst[name] <= 2 * PYTORCH[dtype][name] for name in worst), worst


@pytest.mark.parametrize("dtype", PYTORCH, ids=lambda dtype: dtype.__name__)
def test_softplus_and_its_kin_are_right_to_the_last_digit(dtype):
    x = (np.random.default_rng(1).normal(size=30) * {2: 4, 4: 30, 8: 200}[dtype().itemsize]).astype(dtype)
    target = (x > 1).astype(dtype)
    tensor = mt.tensor(x)
    with decimal.localcontext(prec=330):
        up = [(1 + Decimal(a).exp()).ln() for a in x.tolist()]
        down = [(1 + (-Decimal(a)).exp()).ln() for a in x.tolist()]
        assert ulps(mt.softplus(tensor), up, dtype) <= 0.5
        assert ulps(-mt.softplus(-tensor), [-a for a in down], dtype) <= 0.5
        assert ulps(mt.sigmoid(tensor), [1 / (1 + (-Decimal(a)).exp()) for a in x.tolist()], dtype) <= 1
        loss = losses.binary_cross_entropy_with_logits(tensor, target, reduction="none")
        exact = [b if t else a for t, a, b in zip(target, up, down, strict=True)]
        assert ulps(loss, exact, dtype) <= 0.5


def test_rows_of_a_softmax_sum_to_1_and_its_gradient_to_0_at_any_offset():
    for offset in (0, 1e4, 1e8):
        x = leaf(np.array([[0.0, 16.0, 8.0], [64.0, 0.0, 0.0]]) + offset, np.float32)
        y = mt.softmax(x)
        np.testing.assert_allclose(y.numpy().sum(-1), 1, rtol=2e-7)
        np.testing.assert_allclose(mt.grad(y, x, [[1.0, 2.0, 3.0]] * 2).numpy().sum(-1), 0, atol=2e-7)
    assert mt.cross_entropy(mt.full((1, 4), 1e8, dtype=np.float32), [0]).item() == pytest.approx(math.log(4))


# --- infinities -------------------------------------------------------------------------------------------


def test_logsumexp_of_infinities_is_that_of_their_limits():
    for values, result in (
        ([-INF, -INF], -INF),
        ([INF, 0.0], INF),
        ([INF, INF], INF),
        ([INF, -INF], INF),
        ([-INF, 1.0], 1),
    ):
        for dtype in (np.float16, np.float32, np.float64):
            assert mt.logsumexp(mt.tensor(values, dtype=dtype)).item() == result
    assert math.isnan(mt.logsumexp(mt.tensor([NAN, -INF])).item())
    rows = mt.logsumexp(mt.tensor([[-INF, -INF], [0.0, -INF]]), axis=1)
    np.testing.assert_array_equal(rows.numpy(), [-INF, 0.0])
    x = leaf([-INF, 0.0, 0.0])
    np.testing.assert_array_equal(mt.grad(mt.logsumexp(x), x).numpy(), [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(mt.softmax(x).numpy(), [0.0, 0.5, 0.5])


# --- singular points --------------------------------------------------------------------------------------


def derivatives(a, b):
    """aᵇ: its slopes by a and by b, and the matrix of second derivatives."""
    p = leaf([a, b])
    first = mt.grad(p[0] ** p[1], p, create_graph=True)
    return first.numpy(), np.stack([mt.grad(s, p, allow_unused=True).numpy() for s in (first[0], first[1])])


@pytest.mark.parametrize("a", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("b", [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_derivatives_of_a_power_are_exact_at_every_exponent(a, b):
    log = math.log(a)
    first, second = derivatives(a, b)
    np.testing.assert_allclose(first, [b * a ** (b - 1), a**b * log], rtol=1e-14, atol=1e-15)
    mixed = a ** (b - 1) * (1 + b * log)
    np.testing.assert_allclose(
        second, [[b * (b - 1) * a ** (b - 2), mixed], [mixed, a**b * log**2]], rtol=1e-13, atol=1e-14
    )


def test_a_power_of_zero_has_its_exact_derivatives_or_their_limits():
    for b, slope, curvature in (
        (0.0, 0, 0),
        (1.0, 1, 0),
        (2.0, 0, 2),
        (3.0, 0, 0),
        (0.5, INF, -INF),
        (-1.0, -INF, INF),
    ):
        x = leaf(0.0)
        first = mt.grad(x**b, x, create_graph=True)
        assert first.item() == slope
        assert mt.grad(first, x).item() == curvature
    for b in (2.0, 2.5, 3.0):
        first, second = derivatives(0.0, b)
        np.testing.assert_array_equal(first, 0.0)
        np.testing.assert_array_equal(second, [[2.0 if b == 2 else 0.0 if b > 2.5 else second[0, 0], 0.0], [0.0, 0.0]])
    assert derivatives(0.0, 0.0)[0].tolist() == [0.0, 0.0]
    assert derivatives(0.0, -1.0)[0].tolist() == [-INF, -INF]


@pytest.mark.parametrize("x", [INF, -INF, 0.0, 5.0])
def test_a_power_of_exponent_0_is_constant_everywhere(x):
    for dtype in (np.float16, np.float32, np.float64):
        first, second = slopes(lambda a: a**0, leaf(x, dtype))
        assert first == 0
        assert second == 0
        first, second = slopes(lambda a: a**1, leaf(x, dtype))
        assert first == 1
        assert second == 0


@pytest.mark.parametrize("order", [1, 2, 2.5, 3, 4])
@pytest.mark.parametrize("point", [[3.0, 0.0, -1.0], [0.0, 0.0, 4.0], [1.0, -2.0, 0.5]])
def test_a_norm_keeps_its_curvature_where_some_elements_are_zero(order, point):
    x = np.array(point)
    length = np.linalg.norm(x, order)
    slope = np.sign(x) * (abs(x) / length) ** (order - 1)
    # |x|^(p-2) at order 1 is multiplied by 0, as the absolute value has no curvature.
    bend = np.diag((abs(x) / length) ** (order - 2)) if order > 1 else np.outer(slope, slope)
    expected = (order - 1) / length * (bend - np.outer(slope, slope))
    np.testing.assert_allclose(mt.hessian(lambda a: mt.norm(a, ord=order), x).numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("order", [0.5, 0, -INF, NAN, None, "fro", [2, 2], np.array([2, 2])])
def test_an_order_of_a_norm_that_is_no_number_from_1_on_is_refused(order):
    with pytest.raises(ValueError, match=r"norm: ord is .*; it must be .* at least 1"):
        mt.norm(leaf([3.0, 4.0]), ord=order)


@pytest.mark.parametrize("order", [2, 2.5, 3])
def test_a_norm_whose_powers_vanish_has_no_gradient_and_no_infinite_one(order):
    x = leaf([1e-200, -1e-200])
    first, second = slopes(lambda a: mt.norm(a, ord=order), x)
    np.testing.assert_array_equal([first, second], 0.0)


def test_roots_at_zero_are_as_the_docstrings_say():
    x = leaf([2.0, 2.0])
    assert np.isnan(mt.grad(mt.std(x), x).numpy()).all()
    for order in (1, 1.5, 2, 3, INF):
        x = leaf([0.0, 0.0])
        np.testing.assert_array_equal(mt.grad(mt.norm(x, ord=order), x).numpy(), 0.0)
        x = leaf([[0.0, 0.0], [0.0, -4.0]])
        gradient = mt.grad(mt.norm(x, axis=1, ord=order).sum(), x).numpy()
        np.testing.assert_allclose(gradient, [[0.0, 0.0], [0.0, -1.0]], rtol=1e-15)
    a, b = leaf(0.0), leaf(0.0)
    assert all(math.isnan(g.item()) for g in mt.grad(mt.arctan2(a, b), [a, b]))
    x = leaf(0.0)
    assert mt.grad(mt.sqrt(x), x).item() == INF


# --- products of zeros ------------------------------------------------------------------------------------


def test_the_gradient_of_a_product_with_zeros_takes_linear_memory():
    x = leaf(np.ones(30_001))
    values = np.linspace(0.999, 1.001, 30_001)
    values[12_345] = 0
    x.data = values
    y = mt.prod(x)
    tracemalloc.start()
    gradient = mt.grad(y, x).numpy()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 20 * x.numpy().nbytes
    assert np.flatnonzero(gradient).tolist() == [12_345]
    np.testing.assert_allclose(gradient[12_345], np.delete(values, 12_345).prod(), rtol=1e-10)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("axis", "keepdims"), [(None, False), (0, True), (1, False), ((2, 0), True), ((1, -1), False), ((), False)]
)
def test_a_product_is_right_to_the_second_order_wherever_zeros_are(zeros, axis, keepdims):
    x = np.random.default_rng(zeros).normal(size=(2, 5, 3))
    x[1, :zeros, 1] = 0
    assert mt.gradcheck(lambda t: mt.prod(t, axis=axis, keepdims=keepdims), mt.tensor(x, requires_grad=True))
    assert mt.gradgradcheck(lambda t: mt.prod(t, axis=axis, keepdims=keepdims), mt.tensor(x, requires_grad=True))


def test_a_product_beyond_its_dtype_has_the_product_of_the_others_as_slope():
    x = leaf([1e200, 1e200, 2.0])
    np.testing.assert_array_equal(mt.grad(mt.prod(x[:2]), x).numpy(), [1e200, 1e200, 0.0])
    x = leaf([1e-200, 1e-200])
    np.testing.assert_array_equal(mt.grad(mt.prod(x), x).numpy(), [1e-200, 1e-200])
    x = leaf([1e-200, 1e-115])
    np.testing.assert_array_equal(mt.grad(mt.prod(x), x).numpy(), [1e-115, 1e-200])
    x = leaf([INF, 2.0])
    np.testing.assert_array_equal(mt.grad(mt.prod(x), x).numpy(), [2.0, INF])


def test_the_third_derivative_of_a_product_of_zeros():
    x = leaf([0.0, 0.0, 0.0])
    first = mt.grad(mt.prod(x), x, create_graph=True)
    second = mt.grad(first[0], x, create_graph=True)
    np.testing.assert_array_equal(mt.grad(second[1], x).numpy(), [0.0, 0.0, 1.0])


# --- integers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8", "uint64", "float16", "float64"])
def test_a_descending_sort_is_the_ascending_one_backwards_and_stable(dtype):
    x = np.array([[3, 0, 1, 0], [1, 1, 0, 1]]).astype(dtype)
    if dtype != "bool":
        x[0, 1] = np.iinfo(dtype).min if x.dtype.kind in "iu" else -INF
    for axis in (0, 1):
        y = mt.sort(mt.tensor(x), axis=axis, descending=True)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y.numpy(), np.flip(np.sort(x, axis=axis), axis=axis))
    v = leaf([1.0, 2.0, 1.0, NAN])
    y = mt.sort(v, descending=True)
    np.testing.assert_array_equal(y.numpy(), [NAN, 2.0, 1.0, 1.0])
    # Of two equal elements the first comes first.
    np.testing.assert_array_equal(mt.grad(y, v, [1.0, 2.0, 3.0, 4.0]).numpy(), [3.0, 2.0, 4.0, 1.0])


def test_reductions_of_integers_neither_wrap_nor_stop():
    assert mt.mean(mt.full(10, 1_700_000_000_000_000_000, dtype=np.int64)).item() == pytest.approx(1.7e18)
    assert mt.norm(mt.tensor([50_000, 50_000], dtype=np.int32)).item() == pytest.approx(50_000 * math.sqrt(2))
    assert mt.norm(mt.tensor([-128], dtype=np.int8), ord=INF).item() == 128
    assert mt.var(mt.tensor([0, 255], dtype=np.uint8)).item() == 127.5**2
    assert mt.cumsum(mt.tensor([True] * 3)).numpy().tolist() == [1, 2, 3]
    assert mt.min(mt.tensor([3, 0, 1], dtype=np.uint8)).item() == 0
    assert mt.min(mt.tensor([3, -128], dtype=np.int8)).item() == -128
    pooled = mt.max_pool(mt.tensor([[[-128, -5, -7]]], dtype=np.int8), 2, padding=1)
    assert (pooled.dtype, pooled.numpy().tolist()) == (np.int8, [[[-128, -5]]])


# --- nothing is lost on the way in ------------------------------------------------------------------------

row = mt.tensor([1.0, 2.0])
ENTRANCES = {
    "tensor": mt.tensor,
    "nested": lambda a: mt.tensor([a, a]),
    "with a dtype": lambda a: mt.tensor(a, dtype=np.float32),
    "Parameter": nn.Parameter,
    "full": lambda a: mt.full((1, 2), a),
    "zeros_like": mt.zeros_like,
    "ones_like": mt.ones_like,
    "operator": lambda a: row + a,
    "reflected operator": lambda a: np.multiply(a, row),
    "primitive": lambda a: mt.where([True, False], row, a),
    "assign_": lambda a: mt.zeros(2).assign_(a),
    "data": lambda a: setattr(mt.zeros(2), "data", a),
    "grad": lambda a: setattr(leaf([1.0, 2.0]), "grad", a),
    "backward": lambda a: (leaf([1.0, 2.0]) * 1).backward(a),
    "grad_outputs": lambda a: mt.grad((x := leaf([1.0, 2.0])) * 1, x, a),
    "vjp": lambda a: mt.vjp(leaf([1.0, 2.0]) * 1, a),
    "hvp": lambda a: mt.hvp(lambda x: (x**3).sum(), [1.0, 2.0], a),
    "point of hvp": lambda a: mt.hvp(lambda x: (x**3).sum(), a, [1.0, 2.0]),
    "jacobian": lambda a: mt.jacobian(lambda x: x * x, a),
    "hessian": lambda a: mt.hessian(lambda x: (x**3).sum(), a),
    "target": lambda a: mt.mse_loss(row, a),
    "updates": lambda a: mt.scatter_add(row, [0, 1], a),
    "piece of concat": lambda a: mt.concat([row, a]),
    "piece of stack": lambda a: mt.stack([row, a]),
    "einsum": lambda a: mt.einsum("i,i->", row, a),
    "normal": lambda a: mt.random.normal(2, a),
    "normal's std": lambda a: mt.random.normal(2, 0.0, a),
    "uniform": lambda a: mt.random.uniform(2, a, 3.0),
    "integers": lambda a: mt.random.integers(2, 0, a),
}
READERS = {
    "comparison": lambda a: row == a,
    "order": lambda a: row < a,
    "index": lambda a: row[a],
    "take": lambda a: mt.take(row, a),
    "take_along_axis": lambda a: mt.take_along_axis(row, a),
    "scatter_add": lambda a: mt.scatter_add(row, a, row),
    "pick": lambda a: mt.pick(mt.eye(2), a),
    "embedding": lambda a: mt.embedding(a, mt.eye(2)),
    "argmax": mt.argmax,
    "any": mt.any,
    "all": mt.all,
    "sum": mt.sum,
    "mean": mt.mean,
    "matmul": lambda a: mt.matmul(a, np.eye(2)),
}


def matrix(rows):
    with warnings.catch_warnings(action="ignore"):
        return np.asmatrix(rows)


@pytest.mark.parametrize("name", [*ENTRANCES, *READERS])
def test_masked_arrays_and_matrices_are_refused(name):
    entrance = {**ENTRANCES, **READERS}[name]
    for data in (np.ma.array([0, 1], mask=[True, False]), matrix([[0, 1]])):
        with pytest.raises(TypeError, match=r"(MaskedArray|matrix).*pass np\.asarray"):
            entrance(data)


@pytest.mark.parametrize("name", ENTRANCES)
def test_complex_numbers_and_long_doubles_are_refused(name):
    for data in (np.array([1 + 2j, 1]), [1 + 2j, 1], np.array([1, 2], np.longdouble)):
        if np.asarray(data).dtype == np.float64:
            continue  # A platform whose long double is a double.
        with pytest.raises(TypeError, match="dtype"):
            ENTRANCES[name](data)


def test_a_masked_element_in_a_list_is_refused():
    for data in (
        [1.0, np.ma.masked],
        [[1.0], [np.ma.masked]],
        [np.ma.array([1.0], mask=[True])],
        (matrix([[1.0]]),),
    ):
        with pytest.raises(TypeError, match=r"tensor: data is a .*\.filled"):
            mt.tensor(data)


def test_updates_and_pieces_may_be_lists_and_lose_nothing_on_the_way_in():
    x = leaf([1.0, 2.0])
    added = mt.scatter_add(x, [0, 0], [3.0, 4.0])
    np.testing.assert_array_equal(added.numpy(), [8.0, 2.0])
    np.testing.assert_array_equal(mt.grad(added.sum(), x).numpy(), 1.0)
    beside = mt.stack([x, [3.0, 4.0]], axis=1)
    np.testing.assert_array_equal(beside.numpy(), [[1.0, 3.0], [2.0, 4.0]])
    np.testing.assert_array_equal(mt.grad(beside.sum(), x).numpy(), 1.0)
    for bad in (np.ma.array([1.0, 2.0], mask=[True, False]), [np.ma.masked, 1.0], [None, 1.0], [1j, 2.0], "ab"):
        with pytest.raises(TypeError, match="scatter_add: updates"):
            mt.scatter_add(x, [0, 1], bad)
        with pytest.raises(TypeError, match="stack: piece 1"):
            mt.stack([x, bad])


def test_what_does_not_fit_a_dtype_is_refused():
    with pytest.raises(OverflowError, match="300"):
        mt.tensor([300], dtype=np.uint8)
    with pytest.raises(OverflowError, match="-1"):
        mt.full(2, -1, dtype=np.uint8)
    with pytest.raises(TypeError, match="dtype complex128"):
        mt.full(2, 1, dtype=complex)
    with pytest.raises(TypeError, match="normal: dtype is int64; it must be floating point"):
        mt.random.normal(2, dtype=int)
    with pytest.raises(TypeError, match=r"integers: the bounds are 0 and 2\.5"):
        mt.random.integers(2, 0, 2.5)
    with pytest.raises(TypeError, match=r"permutation: size 2\.5 is not an integer"):
        mt.random.permutation(2.5)
