"""NumPy's functions on tensors: all of them, by name; each is differentiable, or refused with the way out."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings

import numpy as np
import pytest

import microtensor as mt
from microtensor import numpy_functions
from microtensor.numpy_functions import COMPARISONS, FUNCTIONS, OF_VALUES, UFUNCS

DISPATCHED = type(np.mean)
NAMED = {
    f"{prefix}{name}": getattr(module, name)
    for prefix, module in (("", np), ("linalg.", np.linalg), ("fft.", np.fft))
    for name in sorted(set(module.__all__))
    if isinstance(getattr(module, name), (np.ufunc, DISPATCHED))
}
rng = np.random.default_rng(0)
# Distinct, away from 0 and from whole numbers, below 1 in size, so that all functions are defined and smooth there.
X = (rng.permutation(np.linspace(0.15, 0.85, 12)) * np.tile([1, -1], 6)).reshape(3, 4)
Y = np.linspace(-0.8, 0.9, 12).reshape(3, 4)
V = np.array([0.3, -0.6, 0.7, 0.2])
CUBE = np.linspace(-0.9, 0.95, 24).reshape(2, 3, 4)
ONE = np.array([[0.25]])

# How each function is called: the function itself, then arrays, of which any may be a tensor.
ONE_ARRAY = [(lambda f, a: f(a), X)]
TWO_ARRAYS = [(lambda f, a, b: f(a, b), X, Y), (lambda f, a, b: f(a, b), X, V), (lambda f, a: f(a, 0.5), X)]
POSITIVE = [(lambda f, a: f(a), abs(X))]
REDUCED = [
    *ONE_ARRAY,
    (lambda f, a: f(a, axis=0), X),
    (lambda f, a: f(a, axis=-1, keepdims=True), X),
    (lambda f, a: f(a, (0, 2)), CUBE),
    (lambda f, a: f(a, None, keepdims=False), X),
]
VARIED = [
    *REDUCED,
    (lambda f, a: f(a, axis=0, ddof=1), X),
    (lambda f, a: f(a, 0, None, None, 1, True), X),
    (lambda f, a: f(a, axis=1, correction=1), X),
]
ROWS = [(lambda f, a, b: f([a, b]), X, Y), (lambda f, a, b: f((a, b)), V, V + 1)]
SPLIT = [(lambda f, a: f(a, 2), X), (lambda f, a: f(a, [1, 3]), X)]
MATRICES = [(lambda f, a: f(a), X), (lambda f, a: f(a), CUBE)]


def each(names, calls):
    return dict.fromkeys(names, calls)


CALLS = {
    **each(["sqrt", "log", "log2", "log10"], POSITIVE),
    **each(["add", "subtract", "multiply", "divide", "maximum", "minimum", "arctan2", "logaddexp"], TWO_ARRAYS),
    "power": [(lambda f, a, b: f(a, b), abs(X), Y), (lambda f, a: f(a, 2), X), (lambda f, a: f(2.0, a), X)],
    "matmul": [(lambda f, a, b: f(a, b), X, Y.T), (lambda f, a, b: f(a, b), X, V), (lambda f, a, b: f(a, b), CUBE, V)],
    "vecdot": [(lambda f, a, b: f(a, b), X, Y), (lambda f, a, b: f(a, b), X, V)],
    "matvec": [(lambda f, a, b: f(a, b), X, V), (lambda f, a, b: f(a, b), CUBE, V)],
    "vecmat": [(lambda f, a, b: f(b, a), X.T, V), (lambda f, a, b: f(b, a), CUBE, V[:3])],
    **each(["sum", "prod", "mean", "max", "amax", "min", "amin", "average", "ptp"], REDUCED),
    **each(["var", "std"], VARIED),
    "average": [*ONE_ARRAY, (lambda f, a: f(a, axis=0), X), (lambda f, a: f(a, 1, keepdims=True), X)],
    "ptp": [*ONE_ARRAY, (lambda f, a: f(a, axis=0), X), (lambda f, a: f(a, 1, keepdims=True), X)],
    "cumsum": [*ONE_ARRAY, (lambda f, a: f(a, axis=0), X), (lambda f, a: f(a, 1), X)],
    "cumulative_sum": [(lambda f, a: f(a), V), (lambda f, a: f(a, axis=0), X)],
    "diff": [*ONE_ARRAY, (lambda f, a: f(a, axis=0), X), (lambda f, a: f(a, n=2), X), (lambda f, a: f(a, n=0), X)],
    "clip": [
        (lambda f, a: f(a, -0.4, 0.5), X),
        (lambda f, a: f(a, None, 0.5), X),
        (lambda f, a: f(a, a_min=-0.4, a_max=None), X),
        (lambda f, a, b, c: f(a, b, c), X, Y - 0.3, Y + 0.3),
        (lambda f, b: f(X, b, [0.5, 0.6, 0.7, 0.8]), Y - 0.3),
        (lambda f, b: f(X.tolist(), b, 0.9), Y - 0.3),
    ],
    "where": [
        (lambda f, a, b: f(X > 0, a, b), X, Y),
        (lambda f, a: f(X > 0, a, 0), X),
        (lambda f, a: f((X > 0).tolist(), 1.0, a), X),
        (lambda f, a: f(a > 0, a, 0), X),
    ],
    **each(["round", "around"], [*ONE_ARRAY, (lambda f, a: f(a, 0), X)]),
    "astype": [(lambda f, a: f(a, np.float64), X), (lambda f, a: f(a, "float64", copy=False), X)],
    "copy": ONE_ARRAY,
    "real": ONE_ARRAY,
    **each(["zeros_like", "ones_like"], [*ONE_ARRAY, (lambda f, a: f(a, dtype="float32"), X)]),
    "full_like": [(lambda f, a: f(a, 2.5), X), (lambda f, a: f(a, 2, dtype="float32"), X)],
    "reshape": [(lambda f, a: f(a, (4, 3)), X), (lambda f, a: f(a, -1), X), (lambda f, a: f(a, (2, -1), "C"), X)],
    "ravel": ONE_ARRAY,
    "transpose": [*ONE_ARRAY, (lambda f, a: f(a, (2, 0, 1)), CUBE), (lambda f, a: f(a, axes=[1, 0]), X)],
    "matrix_transpose": MATRICES,
    "swapaxes": [(lambda f, a: f(a, 0, -1), CUBE)],
    "moveaxis": [(lambda f, a: f(a, 0, -1), CUBE), (lambda f, a: f(a, [0, 1], [2, 0]), CUBE)],
    "squeeze": [(lambda f, a: f(a), ONE), (lambda f, a: f(a, axis=1), ONE)],
    "expand_dims": [(lambda f, a: f(a, 0), X), (lambda f, a: f(a, axis=(0, -1)), X)],
    "broadcast_to": [(lambda f, a: f(a, (3, 4)), V)],
    "broadcast_arrays": [(lambda f, a, b: f(a, b), X, V)],
    **each(
        ["atleast_1d", "atleast_2d", "atleast_3d"],
        [*[(lambda f, a: f(a), value) for value in (np.array(0.5), V, X, CUBE)], (lambda f, a, b: f(a, b), X, V)],
    ),
    **each(["vstack", "dstack", "hstack"], [*ROWS, (lambda f, a: f([a, [0.5]]), np.array(1.5).reshape(1))]),
    "column_stack": [*ROWS, (lambda f, a, b: f([a, b]), X, V[:3])],
    "concatenate": [*ROWS, (lambda f, a, b: f([a, b], axis=1), X, Y), (lambda f, a: f([a, V, [1.0]], None), X)],
    "stack": [*ROWS, (lambda f, a, b: f([a, b], axis=-1), X, Y)],
    "append": [(lambda f, a, b: f(a, b), X, V), (lambda f, a, b: f(a, b, axis=0), X, Y)],
    "split": [(lambda f, a: f(a, 3), X), (lambda f, a: f(a, [1, 3], axis=1), X), (lambda f, a: f(a, 2, 1), X)],
    "array_split": [(lambda f, a: f(a, 2), X), (lambda f, a: f(a, 3, axis=1), X), (lambda f, a: f(a, [1, -1], 1), X)],
    "hsplit": [*SPLIT, (lambda f, a: f(a, 2), V)],
    "vsplit": [(lambda f, a: f(a, 3), X)],
    "dsplit": [(lambda f, a: f(a, 2), CUBE)],
    "unstack": [*ONE_ARRAY, (lambda f, a: f(a, axis=1), X)],
    "flip": [*ONE_ARRAY, (lambda f, a: f(a, axis=1), X), (lambda f, a: f(a, (0, 2)), CUBE)],
    "roll": [(lambda f, a: f(a, 1), X), (lambda f, a: f(a, 1, axis=0), X), (lambda f, a: f(a, (1, 2), (0, 1)), X)],
    "tile": [(lambda f, a: f(a, 2), X), (lambda f, a: f(a, (2, 1, 3)), X)],
    "repeat": [(lambda f, a: f(a, 2), X), (lambda f, a: f(a, [1, 0, 2], axis=0), X)],
    "pad": [
        (lambda f, a: f(a, 1), X),
        (lambda f, a: f(a, ((1, 0), (0, 2))), X),
        (lambda f, a: f(a, (1, 2), "constant", constant_values=0.5), X),
    ],
    **each(["tril", "triu"], [*MATRICES, (lambda f, a: f(a, 1), X), (lambda f, a: f(a, k=-1), CUBE)]),
    "diagonal": [
        *MATRICES,
        *[(lambda f, a, k=k: f(a, k), X) for k in (-2, -1, 1, 3, 9)],
        (lambda f, a: f(a, offset=1, axis1=2, axis2=0), CUBE),
    ],
    "diag": [*ONE_ARRAY, *[(lambda f, a, k=k: f(a, k), V) for k in (-1, 0, 2)], (lambda f, a: f(a, k=1), X)],
    "trace": [*MATRICES, (lambda f, a: f(a, 1, 1, 2), CUBE)],
    "take": [
        (lambda f, a: f(a, [5, 0, 5]), X),
        (lambda f, a: f(a, [[1, 0]], axis=1), X),
        (lambda f, a: f(a, np.array([-1]), 0), X),
    ],
    "take_along_axis": [
        (lambda f, a: f(a, np.argsort(X, axis=1), 1), X),
        (lambda f, a: f(a, indices=np.array([[0, 1, 2, 0]]), axis=0), X),
        (lambda f, a: f(a, np.array([3, 3]), None), X),
    ],
    "sort": [*ONE_ARRAY, (lambda f, a: f(a, axis=0), X), (lambda f, a: f(a, None, kind="stable"), X)],
    "dot": [
        (lambda f, a, b: f(a, b), X, V),
        (lambda f, a, b: f(a, b), X, Y.T),
        (lambda f, a, b: f(a, b), V, V + 1),
        (lambda f, a, b: f(a, b), X, CUBE.transpose(0, 2, 1)),
        (lambda f, a: f(a, 2.0), X),
        (lambda f, a: f([1.0, 2.0, 3.0], a), X),
    ],
    "inner": [(lambda f, a, b: f(a, b), X, V), (lambda f, a, b: f(a, b), X, CUBE), (lambda f, a: f(2.0, a), X)],
    "vdot": [(lambda f, a, b: f(a, b), X, Y)],
    "outer": [(lambda f, a, b: f(a, b), X, V), (lambda f, a: f([1.0, 2.0], a), V)],
    "tensordot": [
        (lambda f, a, b: f(a, b), X, Y),
        (lambda f, a, b: f(a, b, 1), X, Y.T),
        (lambda f, a, b: f(a, b, axes=((2,), (1,))), CUBE, X),
    ],
    "einsum": [
        (lambda f, a, b: f("ij,kj->ik", a, b), X, Y),
        (lambda f, a: f("...i->...", a, optimize=True), CUBE),
        (lambda f, a: f("ij,j", a, [1.0, 2.0, 3.0, 4.0]), X),
    ],
    "linalg.norm": [
        *[(lambda f, a: f(a), value) for value in (X, V, CUBE)],
        (lambda f, a: f(a, axis=1, keepdims=True), X),
        (lambda f, a: f(a, "fro"), X),
        (lambda f, a: f(a, axis=(0, 2)), CUBE),
        *[(lambda f, a, p=p: f(a, p), V) for p in (1, 2, 3, np.inf)],
        (lambda f, a: f(a, ord=1, axis=0), X),
    ],
    "linalg.vector_norm": [*ONE_ARRAY, (lambda f, a: f(a, axis=0, ord=3), X), (lambda f, a: f(a, axis=(0, 1)), CUBE)],
    "linalg.matrix_norm": [*MATRICES, (lambda f, a: f(a, keepdims=True), X)],
    "linalg.matmul": [(lambda f, a, b: f(a, b), X, Y.T)],
    "linalg.outer": [(lambda f, a, b: f(a, b), V, V + 1)],
    "linalg.tensordot": [(lambda f, a, b: f(a, b), X, Y), (lambda f, a, b: f(a, b, axes=1), X, Y.T)],
    "linalg.vecdot": [(lambda f, a, b: f(a, b), X, Y), (lambda f, a, b: f(a, b, axis=0), X, Y)],
    "linalg.matrix_transpose": MATRICES,
    "linalg.diagonal": [*MATRICES, (lambda f, a: f(a, offset=1), CUBE)],
    "linalg.trace": [*MATRICES, (lambda f, a: f(a, offset=-1), CUBE)],
}
# Constant almost everywhere, or made of shapes alone.
FLAT = {"sign", "floor", "ceil", "rint", "round", "around", "zeros_like", "ones_like", "full_like"}
OTHER_NAMES = {name: first for name in NAMED for first in CALLS if NAMED.get(first) is NAMED[name]}


def is_ours(function):
    return function in UFUNCS or function in FUNCTIONS


def calls_of(name):
    return CALLS.get(name) or CALLS.get(OTHER_NAMES.get(name)) or ONE_ARRAY


def pieces(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


OURS = [(name, i) for name, f in NAMED.items() if is_ours(f) for i in range(len(calls_of(name)))]


@pytest.mark.parametrize(("name", "i"), OURS, ids=lambda x: str(x))
def test_a_function_with_a_counterpart_has_numpys_value_and_a_right_gradient(name, i):
    function, (call, *values) = NAMED[name], calls_of(name)[i]
    expected = pieces(call(function, *values))
    leaves = [mt.tensor(v, requires_grad=True) for v in values]
    gradients = [None] * len(values)
    # All arguments as tensors, then each alone.
    for chosen in [range(len(values)), *([k] for k in range(len(values)))]:
        found = call(function, *[leaves[k] if k in chosen else v for k, v in enumerate(values)])
        assert isinstance(found, (mt.Tensor, type(call(function, *values))))
        for one, other in zip(pieces(found), expected, strict=True):
            assert (one.shape, one.dtype) == (np.shape(other), np.asarray(other).dtype)
            np.testing.assert_allclose(getattr(one, "_array", one), other, rtol=1e-14, atol=1e-16)
        if name not in FLAT:
            for k, gradient in zip(chosen, mt.grad(total(found), [leaves[k] for k in chosen]), strict=True):
                gradients[k] = gradient.numpy() if gradients[k] is None else gradients[k]
                np.testing.assert_allclose(gradient.numpy(), gradients[k], rtol=1e-12, atol=1e-15)
    if name not in FLAT:
        assert mt.gradcheck(lambda *xs: total(call(function, *xs)), leaves, order=1 if "norm" in name else 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
@pytest.mark.parametrize(("name", "i"), OURS, ids=lambda x: str(x))
def test_results_have_numpys_dtype_or_the_call_is_refused(name, i, dtype):
    function, (call, *values) = NAMED[name], calls_of(name)[i]
    scale = 10 if dtype == np.int64 else 1
    first, *others = [(v * scale).astype(dtype) for v in values]
    if not takes(function, call, first, *others):
        return
    if (name, dtype) == ("reciprocal", np.int64):
        with pytest.raises(TypeError, match="astype"):
            function(mt.tensor(first))
        return
    with warnings.catch_warnings(action="ignore"):
        expected = pieces(call(function, first, *others))
    found = pieces(call(function, mt.tensor(first), *others))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.asarray(other).dtype
        close = {np.float32: 1e-5, np.float16: 5e-3}.get(dtype, 1e-13)
        np.testing.assert_allclose(getattr(one, "_array", one), other, rtol=close, atol=close)


def total(result):
    """One number that depends on every element of every piece in another way."""
    found = [x for x in pieces(result) if isinstance(x, mt.Tensor)]
    return sum((x * mt.tensor(np.cos(np.arange(x.size)).reshape(x.shape))).sum() for x in found)


def test_every_entry_of_the_tables_is_a_function_of_this_numpy():
    known = set(NAMED.values())
    assert set(FUNCTIONS) | set(UFUNCS) | COMPARISONS | OF_VALUES <= known
    assert not (set(FUNCTIONS) & OF_VALUES)
    assert {NAMED[name] for name in CALLS if name in NAMED} <= set(FUNCTIONS) | set(UFUNCS)


# What calls of any function may look like, until one is found that NumPy takes with arrays.
SQUARE = np.array([[0.9, 0.2], [0.2, 0.7]])
FOUR = np.eye(4).reshape(2, 2, 2, 2) + 0.1
GUESSES = [
    *[(lambda f, *a: f(*a), *args) for args in ((V,), (SQUARE,), (V, V), (SQUARE, SQUARE), (V, V, V), (FOUR,))],
    (lambda f, a: f(a, 1), V),
    (lambda f, a: f([a, a]), V),
    (lambda f, a: f(a, 0, 1.0), V),
]
KNOWN = {
    "apply_along_axis": [(lambda f, a: f(np.sum, 0, a), SQUARE)],
    "apply_over_axes": [(lambda f, a: f(np.sum, a, 0), SQUARE)],
    "bincount": [(lambda f, a: f([0, 1, 0, 1], a), V)],
    "can_cast": [(lambda f, a: f(a, "float64"), V)],
    "choose": [(lambda f, a, b: f([0, 1, 0, 1], [a, b]), V, V)],
    "compress": [(lambda f, a: f(V > 0, a), V)],
    "copyto": [(lambda f, a: f(np.zeros(4), a), V)],
    "einsum_path": [(lambda f, a, b: f("i,i", a, b), V, V)],
    "extract": [(lambda f, a: f(V > 0, a), V)],
    "digitize": [(lambda f, a: f(a, [-0.5, 0.0, 0.5]), V)],
    "fill_diagonal": [(lambda f, a: f(a, 1.0), SQUARE)],
    "gradient": [(lambda f, a: f(a), V)],
    "isclose": [(lambda f, a, b: f(a, b), V, V)],
    "lexsort": [(lambda f, a: f((a, a)), V)],
    "linspace": [(lambda f, a: f(a, 1.0), np.array(0.5))],
    "may_share_memory": [(lambda f, a: f(a, np.ones(4)), V)],
    "percentile": [(lambda f, a: f(a, 50), V)],
    "piecewise": [(lambda f, a: f(a, [V > 0], [1.0]), V)],
    "place": [(lambda f, a: f(np.zeros(4), V > 0, a), V)],
    "polyfit": [(lambda f, a: f(V, a, 1), V)],
    "put": [(lambda f, a: f(np.zeros(4), [0, 1, 2, 3], a), V)],
    "put_along_axis": [(lambda f, a: f(np.zeros((2, 2)), np.array([[0, 1]]), a, 0), SQUARE[:1])],
    "putmask": [(lambda f, a: f(np.zeros(4), V > 0, a), V)],
    "save": [(lambda f, a: f(io.BytesIO(), a), V)],
    "savetxt": [(lambda f, a: f(io.BytesIO(), a), V)],
    "savez": [(lambda f, a: f(io.BytesIO(), a), V)],
    "savez_compressed": [(lambda f, a: f(io.BytesIO(), a=a), V)],
    "select": [(lambda f, a: f([V > 0], [a]), V)],
    "shares_memory": [(lambda f, a: f(a, np.ones(4)), V)],
    **each(["cross", "linalg.cross"], [(lambda f, a, b: f(a, b), V[:3], V[1:])]),
    "linalg.matrix_power": [(lambda f, a: f(a, 2), SQUARE)],
    "linalg.tensorsolve": [(lambda f, a, b: f(a, b), FOUR, SQUARE)],
}
# These take dates, packed bits or integers alone, none of which has a gradient.
NO_FLOATS = {
    *("busday_count", "busday_offset", "datetime_as_string", "is_busday", "isnat"),
    *("packbits", "unpackbits", "ravel_multi_index", "unravel_index", "bitwise_count", "ix_"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_invert", "invert", "gcd", "lcm"),
    *("left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift", "ldexp"),
}


def takes(function, call, *values):
    with warnings.catch_warnings(action="ignore"):
        try:
            call(function, *[np.array(v) for v in values])
        except Exception:
            return False
    return True


@pytest.mark.parametrize("name", [name for name, f in NAMED.items() if not is_ours(f) and name not in NO_FLOATS])
def test_any_other_function_gives_plain_values_or_says_what_to_write(name):
    function = NAMED[name]
    call, *values = next(guess for guess in [*KNOWN.get(name, []), *GUESSES] if takes(function, *guess))
    leaves = [mt.tensor(v, requires_grad=True) for v in values]
    if function in COMPARISONS or function in OF_VALUES:
        for one, other in zip(pieces(call(function, *leaves)), pieces(call(function, *values)), strict=True):
            assert np.array_equal(one, other)
            assert not isinstance(one, np.ndarray) or one.dtype.kind in "bi"
    else:
        with pytest.raises(TypeError, match=r"np\.\w+.*\.numpy\(\)"):
            call(function, *leaves)
    assert all(np.array_equal(x.numpy(), v) for x, v in zip(leaves, values, strict=True))


@pytest.mark.parametrize("name", sorted(NO_FLOATS & set(NAMED)))
def test_functions_of_integers_take_no_floats(name):
    with pytest.raises(TypeError):
        NAMED[name](mt.tensor([0.5], requires_grad=True), mt.tensor([0.5], requires_grad=True))


PRINTING = {"info", "show_config", "show_runtime", "source", "lookfor", "test", "get_include"}


@pytest.mark.parametrize("name", sorted(set(np.__all__) - set(NAMED) - PRINTING))
def test_whatever_else_numpy_has_loses_no_gradient_and_makes_no_array_of_objects(name):
    function = getattr(np, name)
    if not callable(function) or (isinstance(function, type) and issubclass(function, np.generic)):
        return
    x = mt.tensor(SQUARE, requires_grad=True)
    for arguments in ((x,), (x, x), (x, 1), ([x, x],)):
        with (
            contextlib.suppress(TypeError, ValueError, LookupError, AttributeError, OSError, BufferError),
            warnings.catch_warnings(action="ignore"),
        ):
            found = function(*arguments)
            assert not isinstance(found, np.ndarray) or found.dtype.kind not in "fcO", (name, found)


# --- the cases that readers meet first ----------------------------------------------------------------------


def leaf(values=(1.0, 2.0), **options):
    return mt.tensor(np.array(values), requires_grad=True, **options)


def test_a_batch_norm_in_numpys_spelling_has_the_gradient_of_ours():
    x, g = leaf(CUBE.reshape(6, 4)), rng.normal(size=(6, 4))
    mean = np.mean(x, axis=0)
    spelt = (x - mean) / np.sqrt(np.mean(np.square(x - mean), axis=0) + 1e-5)
    other = (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + 1e-5)
    wanted = mt.grad(mt.standardize(x, axis=0), x, g).numpy()
    for y in (spelt, other):
        np.testing.assert_allclose(mt.grad(y, x, g).numpy(), wanted, rtol=1e-10, atol=1e-13)


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("other", [np.array([1.5, 2.5]), np.array([1.5, 2.5], np.float32), np.array([1, 2])], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("symbol", OPERATORS)
def test_an_operator_with_an_array_on_its_left_keeps_dtype_and_graph(symbol, dtype, other):
    operator, value = OPERATORS[symbol], np.array([1.0, 2.0], dtype)
    x = mt.tensor(value, requires_grad=True)
    y = operator(other, x)
    assert (type(y), y.dtype, y.requires_grad) == (mt.Tensor, operator(other, value).dtype, True)
    np.testing.assert_array_equal(y.numpy(), operator(other, value))
    assert mt.grad(y.sum(), x).dtype == dtype


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float32(2), np.float16(2), np.int64(2), np.array(2.0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_scalars_of_python_are_weak_and_numpys_are_not(scalar, dtype):
    value = np.array([1.0, 2.0], dtype)
    x = mt.tensor(value, requires_grad=True)
    for operate in (lambda a, b: a * b, lambda a, b: b - a, np.multiply, np.maximum, lambda a, b: np.add(b, a)):
        y, expected = operate(scalar, x), operate(scalar, value)
        assert (type(y), y.dtype, y.requires_grad) == (mt.Tensor, expected.dtype, True)
        np.testing.assert_array_equal(y.numpy(), expected)


def test_comparisons_give_plain_arrays():
    x, array = leaf(), np.array([1.0, 3.0])
    for found, wanted in (
        (np.equal(x, array), [True, False]),
        (np.greater(array, x), [False, True]),
        (array < x, [False, False]),
        (array == x, [True, False]),
        (np.float64(1.5) <= x, [False, True]),
        (np.isfinite(x), [True, True]),
        (np.logical_not(x), [False, False]),
        (np.argsort(-x), [1, 0]),
    ):
        assert type(found) is np.ndarray
        assert found.tolist() == wanted
    assert np.allclose(x, array) is False
    assert (np.shape(x), np.ndim(x), np.size(x), np.result_type(x)) == ((2,), 1, 2, np.float64)


def test_an_array_is_never_added_into():
    array, x = np.ones(2), leaf()
    with pytest.raises(TypeError, match=r"np\.add: .*out=.*\+=.*\.numpy\(\)"):
        array += x
    with pytest.raises(TypeError, match="out="):
        np.exp(x, out=array)
    with pytest.raises(TypeError, match="out="):
        np.multiply(array, 2.0, out=mt.zeros(2))
    with pytest.raises(TypeError, match="out="):
        np.mean(x, 0, None, np.array(0.0))
    np.testing.assert_array_equal(array, 1.0)
    x_before = x.numpy().copy()
    for write in (lambda: np.copyto(x, array), lambda: np.put(x, [0], 5.0), lambda: np.fill_diagonal(mt.eye(2), 3.0)):
        with pytest.raises(TypeError, match="first argument"):
            write()
    np.testing.assert_array_equal(x.numpy(), x_before)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: np.add.reduce(x), r"np\.add\.reduce"),
        (lambda x: np.add.accumulate(x), r"np\.add\.accumulate"),
        (lambda x: np.multiply.outer(x, x), r"np\.multiply\.outer"),
        (lambda x: np.add.at(np.zeros(2), [0, 1], x), r"np\.add\.at"),
        (lambda x: np.add.reduceat(x, [0]), r"np\.add\.reduceat"),
        (lambda x: np.exp(x, where=[True, False]), "where="),
        (lambda x: np.exp(x, dtype=np.float32), "dtype="),
        (lambda x: np.add(x, x, casting="unsafe"), "casting="),
        (lambda x: np.sum(x, where=[True, False]), "where="),
        (lambda x: np.sum(x, initial=1.0), "initial="),
        (lambda x: np.mean(x, dtype=np.float32), "dtype="),
        (lambda x: np.var(x, mean=1.0), "mean="),
        (lambda x: np.ravel(x, order="F"), "order="),
        (lambda x: np.reshape(x, (2, 1), order="F"), "order="),
        (lambda x: np.copy(x, order="F"), "order="),
        (lambda x: np.zeros_like(x, shape=(3,)), "shape="),
        (lambda x: np.concatenate([x, x], dtype=np.float32), "dtype="),
        (lambda x: np.stack([x, x], casting="unsafe"), "casting="),
        (lambda x: np.take(x, [5], mode="clip"), "mode="),
        (lambda x: np.sort(x, order="a"), "order="),
        (lambda x: np.diff(x, prepend=0.0), "prepend="),
        (lambda x: np.average(x, weights=[1, 2]), "weights="),
        (lambda x: np.einsum("i->i", x, dtype=np.float32), "dtype="),
        (lambda x: np.einsum(x, [0]), "text"),
        (lambda x: np.pad(x, 1, mode="edge"), "constant"),
        (lambda x: np.pad(x, 1, constant_values=(1, 2)), "constant"),
        (lambda x: np.linalg.norm(x[None], 2), "ord="),
        (lambda x: np.linalg.norm(x, 0), "ord="),
        (lambda x: np.reciprocal(mt.tensor([2])), "astype"),
        (lambda x: np.zeros(3, like=x), "like="),
        (lambda x: np.frompyfunc(abs, 1, 1)(x), r"\.numpy\(\)"),
        (lambda x: np.save(io.BytesIO(), x), r"\.numpy\(\)"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(call, named):
    with pytest.raises(TypeError, match=named):
        call(leaf())


def test_arguments_that_mean_what_they_always_mean_are_taken():
    x = leaf()
    for y in (
        np.exp(x, where=True, casting="same_kind", order="K", subok=True),
        np.exp(x, dtype=None, out=None),
        np.sum(x, axis=None, dtype=None, out=None, keepdims=False, where=True),
        np.sum(x, dtype=np.float64),
    ):
        assert y.requires_grad


def test_a_tensor_without_gradient_is_an_array_to_functions_without_counterpart():
    x = mt.tensor([3.0, 1.0, 2.0])
    assert np.median(x) == 2.0
    np.testing.assert_array_equal(np.block([x, 1.0]), [3.0, 1.0, 2.0, 1.0])
    file = io.BytesIO()
    np.savez(file, x=x)
    file.seek(0)
    np.testing.assert_array_equal(np.load(file)["x"], x.numpy())
    with pytest.raises(TypeError, match=r"np\.hypot.*\.numpy\(\)"):
        np.hypot(x, 1.0)


def test_the_record_is_that_of_our_function_at_the_line_of_the_program():
    x = leaf()
    with mt.trace_lines():
        y, z, v = np.exp(x), np.mean(x), np.ones(2) * x
        spread = np.var(x)
    assert [t.node.primitive.name for t in (y, z, v)] == ["exp", "mean", "multiply"]
    assert len({t.node.line for t in (y, z, v)}) == 1
    assert y.node.line.startswith(__file__)
    assert spread.node.scope.path == "var"


def test_a_conversion_comes_back_in_the_dtype_of_x():
    x = leaf()
    y = np.sum(x, dtype=np.float32)
    assert (y.dtype, mt.grad(y, x).dtype) == (np.float32, np.float64)


def test_a_value_to_fill_with_passes_its_gradient_on_or_is_refused():
    x, value = leaf(), leaf(3.0)
    np.testing.assert_array_equal(mt.grad(np.full_like(x, value).sum(), value).numpy(), 2.0)
    with pytest.raises(TypeError, match=r"\.numpy\(\)"):
        np.full_like(x.numpy(), value)


def test_a_subclass_is_a_tensor_too():
    class Weight(mt.Tensor):
        pass

    w, x = Weight([1.0, 2.0], requires_grad=True), leaf()
    for y in (np.exp(w), np.sum(w), np.concatenate([x, w, np.ones(1)]), np.multiply(x, w), np.ones(2) @ w):
        assert type(y) is mt.Tensor
        assert np.all(mt.grad(y.sum(), w).numpy() > 0)


def test_arrays_of_other_libraries_decide_for_themselves():
    class Other:
        def __array_function__(self, function, types, args, options):
            return "other"

    assert np.concatenate([leaf(), Other()]) == "other"


def test_masked_arrays_and_matrices_keep_their_meaning_or_are_refused():
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    for call in (
        lambda: np.multiply(masked, leaf()),
        lambda: masked * leaf(),
        lambda: np.concatenate([leaf(), masked]),
    ):
        with pytest.raises(TypeError):
            call()
    product = masked * mt.tensor([3.0, 4.0])
    assert (type(product), product.mask.tolist(), product[1]) == (np.ma.MaskedArray, [True, False], 8.0)
    with warnings.catch_warnings(action="ignore"), pytest.raises(TypeError, match="matrix"):
        np.asmatrix([[1.0, 2.0]]) + leaf()


@pytest.mark.parametrize(("a", "b"), list(itertools.product([-np.inf, -800.0, 0.0, 800.0, np.inf], repeat=2)))
def test_logaddexp_at_the_ends(a, b):
    x, y = leaf(a), leaf(b)
    found = np.logaddexp(x, y)
    assert found.item() == np.logaddexp(a, b)
    with np.errstate(invalid="ignore"):
        slopes = [g.item() for g in mt.grad(found, [x, y])]
    if np.isfinite([a, b]).all():
        np.testing.assert_allclose(slopes, [mt.sigmoid(mt.tensor(d)).item() for d in (a - b, b - a)])
    assert not np.isnan(slopes).any()


def test_the_text_for_numpys_names():
    assert numpy_functions._name(np.linalg.inv) == "np.linalg.inv"
    assert numpy_functions._name(np.mean) == "np.mean"
