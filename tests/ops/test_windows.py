"""Convolution and pooling against plain loops, differentiable twice, and their errors."""

import itertools

import numpy as np
import pytest

import microtensor as mt


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def conv2d(x, w, b, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """The definition, loop by loop."""
    x = np.pad(x, [(0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2])
    filters, taken, kh, kw = w.shape
    height = (x.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    width = (x.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((x.shape[0], filters, height, width))
    for n, o, i, j in np.ndindex(out.shape):
        first = o // (filters // groups) * taken
        for c, p, q in itertools.product(range(taken), range(kh), range(kw)):
            row, column = i * stride[0] + p * dilation[0], j * stride[1] + q * dilation[1]
            out[n, o, i, j] += w[o, c, p, q] * x[n, first + c, row, column]
    return out if b is None else out + b[:, None, None]


OPTIONS = [
    {},
    {"stride": (2, 1)},
    {"padding": (1, 2)},
    {"dilation": (2, 1)},
    {"groups": 2},
    {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2), "groups": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_conv2d_is_its_definition(options):
    x, w, b = draw(2, 2, 5, 4), draw(4, 2 // options.get("groups", 1), 3, 2, seed=1), draw(4, seed=2)
    leaves = [mt.tensor(a, requires_grad=True) for a in (x, w, b)]
    np.testing.assert_allclose(mt.conv2d(*leaves, **options).numpy(), conv2d(x, w, b, **options), atol=1e-12)
    assert mt.gradcheck(lambda *a: mt.conv2d(*a, **options), leaves, order=2 if len(options) > 1 else 1)


def test_conv1d_is_a_conv2d_of_one_row():
    x, w, b = draw(2, 4, 7), draw(6, 2, 3, seed=1), draw(6, seed=2)
    ours = mt.conv1d(mt.tensor(x), mt.tensor(w), mt.tensor(b), stride=2, padding=1, dilation=2, groups=2)
    row = conv2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1), (1, 2), 2)
    np.testing.assert_allclose(ours.numpy(), row[:, :, 0], atol=1e-12)
    assert mt.gradcheck(
        lambda x, w: mt.conv1d(x, w, padding=1), [mt.tensor(a, requires_grad=True) for a in (x, draw(6, 4, 3))]
    )


@pytest.mark.parametrize("dilation", [1, 2, (2, 3)])
@pytest.mark.parametrize("window", [1, 2, 3, (4, 1)])
def test_padding_to_the_same_size_keeps_it_and_puts_the_odd_zero_at_the_end(window, dilation):
    kh, kw = (window, window) if isinstance(window, int) else window
    dh, dw = (dilation, dilation) if isinstance(dilation, int) else dilation
    x, w = draw(2, 4, 5, 6), draw(3, 4, kh, kw, seed=1)
    y = mt.conv2d(mt.tensor(x), mt.tensor(w), padding="same", dilation=dilation)
    assert y.shape == (2, 3, 5, 6)
    rows, columns = dh * (kh - 1), dw * (kw - 1)
    padded = np.pad(x, [(0, 0), (0, 0), (rows // 2, -(-rows // 2)), (columns // 2, -(-columns // 2))])
    np.testing.assert_allclose(y.numpy(), conv2d(padded, w, None, dilation=(dh, dw)), atol=1e-12)


def test_padding_where_windows_are_valid_is_none():
    x, w = mt.tensor(draw(2, 4, 7)), mt.tensor(draw(3, 4, 3, seed=1))
    np.testing.assert_array_equal(mt.conv1d(x, w, padding="valid").numpy(), mt.conv1d(x, w).numpy())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "padding": (0, 1)},
        {"dilation": (1, 2), "groups": 3},
        {"stride": 3, "output_padding": (2, 1)},
        {"dilation": 3, "output_padding": 2, "padding": 1},
    ],
    ids=str,
)
def test_conv_transpose2d_is_the_adjoint_of_conv2d(options):
    groups = options.get("groups", 1)
    x, w = draw(2, 3, 2, 3), draw(3, 2, 3, 3, seed=1)
    y = mt.conv_transpose2d(mt.tensor(x), mt.tensor(w), **options)
    other = draw(*y.shape, seed=2)
    # ⟨x, conv(other)⟩ = ⟨conv_transpose(x), other⟩ for every x and other.
    options_of_conv = {key: value for key, value in options.items() if key != "output_padding"}
    forward = mt.conv2d(mt.tensor(other), mt.tensor(w), **options_of_conv).numpy()[:, :, :2, :3]
    assert forward.shape == x.shape
    assert np.sum(forward * x) == pytest.approx(np.sum(y.numpy() * other), rel=1e-12)
    leaves = [mt.tensor(a, requires_grad=True) for a in (x, w, draw(2 * groups, seed=3))]
    order = 2 if "output_padding" in options else 1
    assert mt.gradcheck(lambda *a: mt.conv_transpose2d(*a, **options), leaves, order=order)


def pool(x, window, stride, padding, reduce, value):
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=value)
    out = [(n - w) // s + 1 for n, w, s in zip(x.shape[2:], window, stride, strict=True)]
    y = np.zeros((*x.shape[:2], *out))
    for index in np.ndindex(*out):
        spans = tuple(slice(i * s, i * s + w) for i, s, w in zip(index, stride, window, strict=True))
        y[(slice(None), slice(None), *index)] = reduce(
            x[(slice(None), slice(None), *spans)], axis=tuple(range(2, x.ndim))
        )
    return y


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [((2, 2), None, (0, 0)), ((3, 2), (2, 1), (1, 1)), ((2, 3), (1, 1), (0, 1))]
)
def test_pooling_is_its_definition(window, stride, padding):
    x = draw(2, 3, 5, 6)
    leaf = mt.tensor(x, requires_grad=True)
    for ours, reduce, value in ((mt.max_pool, np.max, -np.inf), (mt.avg_pool, np.mean, 0.0)):
        expected = pool(x, window, stride or window, padding, reduce, value)
        np.testing.assert_allclose(ours(leaf, window, stride=stride, padding=padding).numpy(), expected, atol=1e-13)
        u, v = draw(*expected.shape, seed=1), draw(*x.shape, seed=2)
        analytic = np.sum(mt.grad(ours(leaf, window, stride=stride, padding=padding), leaf, u).numpy() * v)
        moved = [pool(x + h * v, window, stride or window, padding, reduce, value) for h in (1e-6, -1e-6)]
        assert analytic == pytest.approx(np.sum(u * (moved[0] - moved[1])) / 2e-6, rel=1e-8)


@pytest.mark.parametrize("pooling", [mt.max_pool, mt.avg_pool])
def test_pooling_is_differentiable_twice(pooling):
    leaf = mt.tensor(draw(2, 2, 4, 5), requires_grad=True)
    assert mt.gradcheck(lambda x: pooling(x, (2, 3), stride=1), leaf, order=2)


@pytest.mark.parametrize("padding", [0, 1, (1, 0)])
def test_a_mean_may_leave_out_the_padding(padding):
    x = draw(2, 2, 5, 4)
    edges = (padding, padding) if isinstance(padding, int) else padding
    expected = pool(x, (3, 2), (2, 2), edges, np.nanmean, np.nan)
    leaf = mt.tensor(x, requires_grad=True)

    def mean(x):
        return mt.avg_pool(x, (3, 2), stride=2, padding=padding, count_include_pad=False)

    np.testing.assert_allclose(mean(leaf).numpy(), expected, atol=1e-14)
    assert mt.gradcheck(mean, leaf, order=2)


def test_the_elements_of_a_largest_element_may_stand_apart():
    x = mt.tensor([[[1.0, 5.0, 2.0, 0.0, 4.0, 3.0]]])
    np.testing.assert_array_equal(mt.max_pool(x, 2, stride=1, dilation=3).numpy(), [[[1.0, 5.0, 3.0]]])


def test_pooling_along_one_axis():
    np.testing.assert_array_equal(mt.max_pool(mt.tensor([[[1.0, 5.0, 2.0]]]), 2, stride=1).numpy(), [[[5.0, 5.0]]])


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5), (4, 3)])
def test_adaptive_pooling_is_its_definition(size):
    x = draw(2, 3, 5, 6)
    sizes = (size, size) if isinstance(size, int) else size
    expected = np.zeros((2, 3, *sizes))
    for i, j in np.ndindex(*sizes):
        rows = slice(i * 5 // sizes[0], -(-(i + 1) * 5 // sizes[0]))
        columns = slice(j * 6 // sizes[1], -(-(j + 1) * 6 // sizes[1]))
        expected[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    leaf = mt.tensor(x, requires_grad=True)
    np.testing.assert_allclose(mt.adaptive_avg_pool(leaf, size).numpy(), expected, atol=1e-14)
    assert mt.gradcheck(lambda x: mt.adaptive_avg_pool(x, size), leaf)


def test_unfold_multiplies_to_a_convolution():
    x, w = draw(2, 3, 5, 5), draw(4, 3, 3, 3, seed=1)
    columns = mt.unfold(mt.tensor(x), 3, padding=1, stride=2)
    assert columns.shape == (2, 27, 9)
    product = (w.reshape(4, 27) @ columns.numpy()).reshape(2, 4, 3, 3)
    np.testing.assert_allclose(product, conv2d(x, w, None, (2, 2), (1, 1)), atol=1e-12)


IMAGE, KERNEL = mt.zeros((1, 2, 4, 4)), mt.zeros((3, 2, 2, 2))
ERRORS = [
    (lambda: mt.conv2d(mt.zeros((4, 4)), KERNEL), r"conv2d: input of shape \(4, 4\) has 2 axes; .* or \(C, H, W\)"),
    (
        lambda: mt.conv2d(IMAGE, KERNEL, padding="full"),
        "conv2d: padding is 'full'; it must be 'same', 'valid' or a size",
    ),
    (lambda: mt.conv2d(IMAGE, KERNEL, padding="same", stride=2), "conv2d: padding is 'same', so the stride must be 1"),
    (
        lambda: mt.conv1d(mt.zeros((1, 2, 4)), mt.zeros((3, 2, 2)), dilation=0),
        "conv1d: dilation is 0; it must be an integer",
    ),
    (lambda: mt.conv2d(IMAGE, mt.zeros((3, 2, 2))), r"conv2d: weight of shape \(3, 2, 2\)"),
    (lambda: mt.conv2d(IMAGE, mt.zeros((3, 5, 2, 2))), "conv2d: input has 2 channels .* takes 5"),
    (lambda: mt.conv2d(IMAGE, KERNEL, groups=2), "conv2d: input has 2 channels"),
    (lambda: mt.conv2d(IMAGE, KERNEL, mt.zeros(2)), r"conv2d: bias of shape \(2,\); it must be \(3,\)"),
    (lambda: mt.conv2d(IMAGE, KERNEL, stride=0), "conv2d: stride is 0; it must be 1 or 2 integers"),
    (lambda: mt.conv2d(IMAGE, KERNEL, padding=(1, 1, 1)), "conv2d: padding is"),
    (lambda: mt.conv2d(IMAGE, mt.zeros((3, 2, 5, 2))), r"does not fit into \(4, 4\)"),
    (lambda: mt.conv_transpose2d(IMAGE, KERNEL), "conv_transpose2d: input"),
    (lambda: mt.conv_transpose2d(IMAGE, mt.zeros((2, 3, 2, 2)), mt.zeros(2)), "conv_transpose2d: bias"),
    (lambda: mt.conv_transpose2d(IMAGE, mt.zeros((2, 3, 2, 2)), padding=3), "conv_transpose2d: padding"),
    (lambda: mt.conv_transpose2d(IMAGE, mt.zeros((2, 3, 2, 2)), groups=3), "in 3 equal groups"),
    (lambda: mt.conv_transpose2d(IMAGE, mt.zeros((2, 3, 2, 2)), output_padding=1), "output_padding .* less than"),
    (lambda: mt.max_pool(mt.zeros((2, 3)), 2), "max_pool: input of shape"),
    (lambda: mt.avg_pool(IMAGE, 5), r"avg_pool: a window of \(5, 5\) does not fit into \(4, 4\)"),
    (lambda: mt.adaptive_avg_pool(mt.zeros((2, 3)), 1), r"adaptive_avg_pool: input of shape \(2, 3\) has no positions"),
    (lambda: mt.max_pool(IMAGE, 2, padding=2), "max_pool: padding .* at most half"),
    (lambda: mt.adaptive_avg_pool(IMAGE, 0), "adaptive_avg_pool: output_size is 0"),
    (lambda: mt.unfold(mt.zeros((2, 3)), 2), "unfold: input of shape"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_function_and_the_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sizes_are_integers():
    with pytest.raises(TypeError, match=r"conv2d: stride is 1\.5; it must be 1 or 2 integers"):
        mt.conv2d(IMAGE, KERNEL, stride=1.5)
    with pytest.raises(ValueError, match=r"sliding_windows: a window of \(3,\) with dilation \(1,\) does not fit"):
        mt.ops.sliding_windows(mt.zeros((1, 1, 2)), window=(3,), stride=(1,), dilation=(1,))
