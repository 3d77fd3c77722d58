"""Every public function in every dtype against NumPy: values, the dtype of the result, gradients, refusals.

A function that NumPy has gives NumPy's value and dtype, but for float16, which is added up in float32. One that it
does not have is compared with its formula in NumPy, or refuses integers with a TypeError that says .astype(float).
"""

import inspect
import math

import numpy as np
import pytest

import microtensor as mt

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
DTYPES = ["bool", *INTEGERS, *FLOATS]
# What takes or gives no array of numbers whose dtype could be swept.
OTHERS = {
    "check_backward", "compile", "get_default_dtype", "grad", "gradcheck", "gradgradcheck", "hessian", "hvp",
    "is_grad_enabled", "jacobian", "keep_memory", "label", "load", "manual_seed", "paths", "primitive", "save",
    "set_default_dtype", "show", "tune_memory", "vjp",
}  # fmt: skip
ROWS = np.array([1, 0, 1])


def wide(reference, *arguments, **keywords):
    """A sum by NumPy, in which float16 is added up in float32."""
    x = arguments[0]
    if x.dtype == np.float16:
        with np.errstate(over="ignore"):
            return np.asarray(reference(x.astype(np.float32), *arguments[1:], **keywords)).astype(np.float16)
    return reference(*arguments, **keywords)


def as_float(function):
    """A formula in float64, rounded to the dtype of x where that is a float."""

    def reference(x, *rest):
        y = np.asarray(function(x.astype(np.float64), *(r.astype(np.float64) for r in rest)))
        with np.errstate(over="ignore"):
            return y.astype(x.dtype) if x.dtype.kind == "f" else y

    return reference


def unary(name, numpy=None):
    return lambda x, y: getattr(mt, name)(x), lambda x, y: (numpy or getattr(np, name))(x)


def binary(name):
    return lambda x, y: getattr(mt, name)(x, y), lambda x, y: getattr(np, name)(x, y)


def formula(name, function):
    return lambda x, y: getattr(mt, name)(x), lambda x, y: as_float(function)(x)


def log_softmax(x):
    below = x - x.max(-1, keepdims=True)
    return below - np.log(np.exp(below).sum(-1, keepdims=True))


def scattered(x, y):
    out = x.astype(np.float32 if x.dtype == np.float16 else x.dtype)
    np.add.at(out, (np.array([0, 0, 1]), np.array([0, 0, 2])), y[0])
    return out.astype(x.dtype)


def windows(x, size):
    """(…, L) → (…, number, size), windows that touch."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def conv1d(x, y):
    return np.stack([np.matmul(y[:1, :2], y[1:, i : i + 2].T)[0, 0] for i in range(2)])[None, None]


def conv2d(x, y):
    kernel = y[:, :2].reshape(1, 4)
    return np.stack([np.matmul(kernel, y[:, i : i + 2].reshape(4, 1))[0, 0] for i in range(2)])[None, None, None]


def conv_transpose2d(x, y):
    out = np.zeros((1, 1, 2, 4), np.float32 if x.dtype == np.float16 else x.dtype)
    for i in range(3):
        out[0, 0, :, i : i + 2] += y[:, :2] * x[0, i]
    return out.astype(x.dtype)


def normalized(x):
    centered = x - x.mean(0)
    return centered / np.sqrt((centered**2).mean(0) + 1e-5)


def padded_max(x):
    return np.stack([x[0, 0], np.max(x[0, 1:])])[None, None]


TABLE = {
    # Elementwise, as NumPy has them.
    "add": binary("add"),
    "subtract": binary("subtract"),
    "multiply": binary("multiply"),
    "divide": binary("divide"),
    "power": (lambda x, y: mt.power(x, mt.abs(y)), lambda x, y: np.power(x, np.abs(y))),
    "maximum": binary("maximum"),
    "minimum": binary("minimum"),
    "arctan2": binary("arctan2"),
    "negative": unary("negative"),
    "square": unary("square"),
    "sqrt": unary("sqrt"),
    "exp": unary("exp"),
    "log": unary("log"),
    "tanh": unary("tanh"),
    "abs": unary("abs"),
    "sign": unary("sign"),
    "expm1": unary("expm1"),
    "log1p": unary("log1p"),
    "log2": unary("log2"),
    "sin": unary("sin"),
    "cos": unary("cos"),
    "tan": unary("tan"),
    "arcsin": unary("arcsin"),
    "arccos": unary("arccos"),
    "arctan": unary("arctan"),
    "sinh": unary("sinh"),
    "cosh": unary("cosh"),
    "floor": unary("floor"),
    "ceil": unary("ceil"),
    "round": unary("round"),
    "clip": (lambda x, y: mt.clip(x, 0, 2), lambda x, y: np.clip(x, 0, 2)),
    "where": (lambda x, y: mt.where(y, x, y), lambda x, y: np.where(y, x, y)),
    "relu": unary("relu", lambda x: np.maximum(x, 0)),
    # Elementwise, by their formulas.
    "sigmoid": formula("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    "erf": formula("erf", np.vectorize(math.erf, otypes=[float])),
    "softplus": unary("softplus", lambda x: np.logaddexp(np.zeros_like(x), x)),
    "reciprocal": unary("reciprocal", lambda x: 1.0 / x),
    "rsqrt": unary("rsqrt", lambda x: 1.0 / np.sqrt(x)),
    "leaky_relu": formula("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": formula("elu", lambda x: np.where(x > 0, x, np.expm1(x))),
    "selu": formula("selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    "gelu": formula("gelu", lambda x: x / 2 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))),
    "silu": formula("silu", lambda x: x / (1 + np.exp(-x))),
    "mish": formula("mish", lambda x: x * np.tanh(np.logaddexp(0, x))),
    "hardtanh": formula("hardtanh", lambda x: np.clip(x, -1, 1)),
    # Reductions.
    "sum": (lambda x, y: mt.sum(x, axis=0), lambda x, y: wide(np.sum, x, axis=0)),
    "prod": (lambda x, y: mt.prod(y, axis=0), lambda x, y: wide(np.prod, y, axis=0)),
    "mean": (lambda x, y: mt.mean(x, axis=1), lambda x, y: np.mean(x, axis=1)),
    "var": (lambda x, y: mt.var(y, axis=1), lambda x, y: wide(np.var, y, axis=1)),
    "std": (lambda x, y: mt.std(y, axis=1), lambda x, y: wide(np.std, y, axis=1)),
    "norm": (lambda x, y: mt.norm(y, axis=1), lambda x, y: wide(np.linalg.norm, y, axis=1)),
    "max": (lambda x, y: mt.max(x, axis=0), lambda x, y: np.max(x, axis=0)),
    "min": (lambda x, y: mt.min(x, axis=0), lambda x, y: np.min(x, axis=0)),
    "cumsum": (lambda x, y: mt.cumsum(x, axis=1), lambda x, y: wide(np.cumsum, x, axis=1)),
    "argmax": unary("argmax"),
    "argmin": unary("argmin"),
    "any": unary("any"),
    "all": unary("all"),
    "logsumexp": formula("logsumexp", lambda x: np.max(x) + np.log(np.sum(np.exp(x - np.max(x))))),
    "softmax": formula("softmax", lambda x: np.exp(log_softmax(x))),
    "log_softmax": formula("log_softmax", log_softmax),
    "standardize": (lambda x, y: mt.standardize(y, 0), lambda x, y: as_float(normalized)(y)),
    "mse_loss": (lambda x, y: mt.mse_loss(y, y[::-1]), lambda x, y: as_float(lambda v: np.mean((v - v[::-1]) ** 2))(y)),
    "cross_entropy": (
        lambda x, y: mt.cross_entropy(y, [0, 1]),
        lambda x, y: as_float(lambda v: -log_softmax(v)[[0, 1], [0, 1]].mean())(y),
    ),
    # Products over axes.
    "matmul": (lambda x, y: mt.matmul(x, y.T), lambda x, y: np.matmul(x, y.T)),
    "outer": (lambda x, y: mt.outer(x[0], y[1]), lambda x, y: np.outer(x[0], y[1])),
    "tensordot": (lambda x, y: mt.tensordot(x, y, 2), lambda x, y: np.tensordot(x, y, 2)),
    "einsum": (lambda x, y: mt.einsum("ij,ij->i", x, y), lambda x, y: wide_einsum(x, y)),
    "conv1d": (lambda x, y: mt.conv1d(y[None, 1:], y[:1, None, :2]), conv1d),
    "conv2d": (lambda x, y: mt.conv2d(y[None, None], y[None, None, :, :2]), conv2d),
    "conv_transpose2d": (
        lambda x, y: mt.conv_transpose2d(x[None, None, :1], y[None, None, :, :2]),
        conv_transpose2d,
    ),
    # Windows.
    "unfold": (
        lambda x, y: mt.unfold(x[None, None], (2, 3)),
        lambda x, y: x.reshape(1, 6, 1),
    ),
    "max_pool": (lambda x, y: mt.max_pool(x[None, :1], 2, padding=1), lambda x, y: padded_max(x)),
    "avg_pool": (lambda x, y: mt.avg_pool(x[None], 3), lambda x, y: np.mean(windows(x[None], 3), axis=-1)),
    "adaptive_avg_pool": (lambda x, y: mt.adaptive_avg_pool(x[None], 1), lambda x, y: np.mean(x, 1)[None, :, None]),
    # Elements moved, chosen, repeated.
    "reshape": (lambda x, y: mt.reshape(x, shape=(3, 2)), lambda x, y: np.reshape(x, (3, 2))),
    "permute_dims": (lambda x, y: mt.permute_dims(x, axes=(1, 0)), lambda x, y: np.transpose(x)),
    "matrix_transpose": unary("matrix_transpose", np.transpose),
    "swapaxes": (lambda x, y: mt.swapaxes(x, 0, 1), lambda x, y: np.swapaxes(x, 0, 1)),
    "moveaxis": (lambda x, y: mt.moveaxis(x, 0, 1), lambda x, y: np.moveaxis(x, 0, 1)),
    "expand_dims": (lambda x, y: mt.expand_dims(x, axis=1), lambda x, y: np.expand_dims(x, 1)),
    "squeeze": (lambda x, y: mt.squeeze(x[:1]), lambda x, y: np.squeeze(x[:1])),
    "flatten": unary("flatten", np.ravel),
    "broadcast_to": (lambda x, y: mt.broadcast_to(x, shape=(2, 2, 3)), lambda x, y: np.broadcast_to(x, (2, 2, 3))),
    "tile": (lambda x, y: mt.tile(x, (2, 1)), lambda x, y: np.tile(x, (2, 1))),
    "repeat": (lambda x, y: mt.repeat(x, 2, axis=1), lambda x, y: np.repeat(x, 2, axis=1)),
    "roll": (lambda x, y: mt.roll(x, 1, axis=1), lambda x, y: np.roll(x, 1, axis=1)),
    "flip": (lambda x, y: mt.flip(x, axis=1), lambda x, y: np.flip(x, axis=1)),
    "sort": (lambda x, y: mt.sort(x, axis=1), lambda x, y: np.sort(x, axis=1)),
    "tril": unary("tril"),
    "triu": unary("triu"),
    "diagonal": unary("diagonal"),
    "pad": (lambda x, y: mt.pad(x, [(1, 0), (0, 2)]), lambda x, y: np.pad(x, [(1, 0), (0, 2)])),
    "take": (lambda x, y: mt.take(x, ROWS, axis=1), lambda x, y: np.take(x, ROWS, axis=1)),
    "take_along_axis": (
        lambda x, y: mt.take_along_axis(x, ROWS[None], axis=0),
        lambda x, y: np.take_along_axis(x, ROWS[None], axis=0),
    ),
    "pick": (lambda x, y: mt.pick(x, [2, 0]), lambda x, y: x[[0, 1], [2, 0]]),
    "embedding": (lambda x, y: mt.embedding(ROWS, x), lambda x, y: x[ROWS]),
    "scatter_add": (
        lambda x, y: mt.scatter_add(x.reshape(6), [0, 0, 5], y[0]).reshape(2, 3),
        scattered,
    ),
    "concat": (lambda x, y: mt.concat([x, y]), lambda x, y: np.concatenate([x, y])),
    "stack": (lambda x, y: mt.stack([x, y], axis=1), lambda x, y: np.stack([x, y], axis=1)),
    "split": (lambda x, y: mt.split(x, 2, axis=1)[0], lambda x, y: x[:, :2]),
    "stop_gradient": unary("stop_gradient", lambda x: x),
    "astype": (lambda x, y: mt.astype(x, dtype=np.float64), lambda x, y: x.astype(np.float64)),
    # New tensors.
    "tensor": (lambda x, y: mt.tensor(x), lambda x, y: x),
    "zeros_like": unary("zeros_like"),
    "ones_like": unary("ones_like"),
    "zeros": (lambda x, y: mt.zeros(2, dtype=x.dtype), lambda x, y: np.zeros(2, x.dtype)),
    "ones": (lambda x, y: mt.ones(2, dtype=x.dtype), lambda x, y: np.ones(2, x.dtype)),
    "full": (lambda x, y: mt.full(2, 1, dtype=x.dtype), lambda x, y: np.full(2, 1, x.dtype)),
    "eye": (lambda x, y: mt.eye(2, dtype=x.dtype), lambda x, y: np.eye(2, dtype=x.dtype)),
    "arange": (lambda x, y: mt.arange(2, dtype=x.dtype), lambda x, y: np.arange(2, dtype=x.dtype)),
}
ACTIVATIONS = ["leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardtanh"]
FLOAT_ONLY = [*ACTIVATIONS, "softmax", "log_softmax", "logsumexp", "standardize", "mse_loss", "cross_entropy"]
# Every refusal there may be: of what NumPy does not have, and of booleans where NumPy itself refuses them.
REFUSED = {(name, dtype) for name in FLOAT_ONLY for dtype in ("bool", *INTEGERS)}
REFUSED |= {(name, "bool") for name in ("negative", "subtract", "sign")}


def wide_einsum(x, y):
    if x.dtype == np.float16:
        return np.einsum("ij,ij->i", x.astype(np.float32), y.astype(np.float32)).astype(np.float16)
    return np.einsum("ij,ij->i", x, y)


def extremes(dtype):
    """0, the smallest and the largest of a dtype, and a few small numbers."""
    if dtype == "bool":
        return np.array([[False, True, True], [False, False, True]])
    info = np.finfo(dtype) if dtype in FLOATS else np.iinfo(dtype)
    return np.array([[0, info.min, 3], [info.max, 1, 2]], dtype)


def small(dtype):
    """Numbers that differ, the second factor or exponent."""
    return np.array([[0, 3, 1], [5, 2, 1]]).astype(dtype)


SWEEP = [(name, dtype) for name in TABLE for dtype in DTYPES]


def test_every_public_function_has_a_row():
    names = {name for name in mt.__all__ if callable(getattr(mt, name)) and not inspect.isclass(getattr(mt, name))}
    assert names == set(TABLE) | OTHERS
    assert not set(TABLE) & OTHERS


@pytest.mark.parametrize("name", TABLE)
def test_values_and_dtype_are_numpys(name):
    ours, theirs = TABLE[name]
    for dtype in DTYPES:
        arrays = extremes(dtype), small(dtype)
        tensors = [mt.tensor(a) for a in arrays]
        if (name, dtype) in REFUSED:
            with pytest.raises(TypeError, match=rf"{name}.*\.astype\(float\)"):
                ours(*tensors)
            continue
        found = ours(*tensors)
        with np.errstate(all="ignore"):
            expected = np.asarray(theirs(*arrays))
        found = found.numpy() if isinstance(found, mt.Tensor) else found
        assert found.dtype == expected.dtype, (name, dtype)
        assert found.shape == expected.shape, (name, dtype)
        digits = 8 * np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
        np.testing.assert_allclose(found, expected, rtol=digits, atol=0, err_msg=f"{name} of {dtype}")


# --- gradients --------------------------------------------------------------------------------------------


def gradients(name, dtype, arrays):
    """The gradients of a fixed sum of the results by both arguments, or None where there is none."""
    tensors = [mt.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    out = TABLE[name][0](*tensors)
    if not isinstance(out, mt.Tensor) or not out.requires_grad:
        return None
    cotangent = np.resize([1.0, -2.0, 0.5], out.shape).astype(out.dtype)
    return mt.grad(out, tensors, cotangent, allow_unused=True)


POINTS = {
    "ordinary": (np.array([[0.5, -0.25, 0.75], [0.25, 0.125, -0.75]]), np.array([[0.5, 3, 1], [4, -2, 1]])),
    "zeros": (np.array([[0, 0.5, 0], [-0.5, 0, 0.25]]), np.array([[0.5, 3, 1], [4, 0, 1]])),
    "large": (np.array([[3e4, -3e4, 2e4], [300, -300, 3]]), np.array([[0.5, 3, 1], [4, -2, 1]])),
}


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("name", TABLE)
def test_a_gradient_has_the_dtype_of_its_input_and_is_finite_where_the_exact_one_is(name, points):
    exact = gradients(name, np.float64, POINTS[points])
    for dtype in FLOATS:
        found = gradients(name, dtype, POINTS[points])
        if exact is None:
            assert found is None
            continue
        for g, e in zip(found, exact, strict=True):
            assert (g is None) == (e is None)
            if g is None:
                continue
            assert g.dtype == dtype
            assert g.shape == (2, 3)
            with np.errstate(over="ignore"):
                rounded = e.numpy().astype(dtype)
            ordinary = np.isfinite(rounded)
            assert np.isfinite(g.numpy()[ordinary]).all(), (name, dtype, g, e)
            scale = np.abs(rounded[ordinary]).max(initial=1.0)
            np.testing.assert_allclose(
                g.numpy()[ordinary], rounded[ordinary], rtol=0, atol=16 * np.finfo(dtype).eps * scale
            )


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "logsumexp", "sigmoid", "gelu", "mish", "silu", "norm", "var", "mean"]
)
def test_float16_of_the_other_byte_order_is_computed_in_float32_too(name):
    x = np.array([[300.0, -2.0, 0.5], [1.0, 400.0, -0.1]], np.float16)
    function = getattr(mt, name)
    found = function(x.astype(x.dtype.newbyteorder()))
    np.testing.assert_array_equal(found, function(x))
    assert found.dtype == np.float16
