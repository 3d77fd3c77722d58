"""The tensor: what goes in, what comes out, and how it behaves beside NumPy and Python."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays, basic_indices

import microtensor as mt


def leaf(*values, dtype=np.float64):
    return mt.tensor(np.array(values, dtype), requires_grad=True)


@pytest.fixture
def float32_by_default():
    mt.set_default_dtype("float32")
    yield
    mt.set_default_dtype("float64")


# --- construction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [True, 3, 2.5, [1, 2], [[1.0], [2.0]], (1, 2.5), [], np.float32(1.5), np.arange(6).reshape(2, 3), range(3)]
)
def test_shape_and_dtype_are_numpys(data):
    expected = np.asarray(data)
    x = mt.tensor(data)
    assert (x.shape, x.ndim, x.size, x.dtype) == (expected.shape, expected.ndim, expected.size, expected.dtype)
    np.testing.assert_array_equal(x.numpy(), expected)
    assert (x.is_leaf, x.requires_grad, x.grad, x.node, x.name) == (True, False, None, None, None)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
def test_every_plain_dtype_is_kept(dtype):
    assert mt.tensor(np.ones(2, dtype)).dtype == dtype
    assert mt.tensor([1, 0], dtype=dtype).dtype == dtype


def test_data_are_copied_in():
    array = np.ones(3)
    x = mt.tensor(array)
    y = mt.tensor(x)
    array[:] = 7
    np.testing.assert_array_equal(x.numpy(), 1.0)
    assert not np.shares_memory(x.numpy(), y.numpy())


def test_a_tensor_of_a_tensor_has_no_history():
    x = leaf(1.0, 2.0)
    y = mt.tensor(x * 2)
    assert y.is_leaf
    assert not y.requires_grad


@pytest.mark.parametrize("out", [lambda x: x.data.numpy(), lambda x: x.numpy(), lambda x: np.asarray(x)])
def test_what_comes_out_cannot_be_written_to(out):
    x = mt.tensor([1.0, 2.0])
    view = out(x)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])


@pytest.mark.parametrize("made", [lambda x: x * 2, lambda x: x[0:1], lambda x: x.reshape(2), lambda x: x.detach()])
def test_results_cannot_be_written_to_either(made):
    view = made(leaf(1.0, 2.0)).numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0


def test_new_data_are_copied_in_and_must_fit():
    x, array = leaf(1.0, 2.0), np.array([3.0, 4.0])
    held = x.numpy()
    x.data = array
    array[:] = 0
    np.testing.assert_array_equal(x.numpy(), [3.0, 4.0])
    np.testing.assert_array_equal(held, [1.0, 2.0])
    x.data = mt.tensor([5, 6])
    assert x.dtype == np.float64
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot take a value of shape \(3,\)"):
        x.data = [1.0, 2.0, 3.0]
    with pytest.raises(TypeError, match="complex"):
        x.data = [1j, 2j]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([1j], TypeError, "complex128"),
        (np.array([None, 1.0]), TypeError, "object"),
        ("text", TypeError, "<U4"),
        (["a", "b"], TypeError, "<U1"),
        (b"bytes", TypeError, "S5"),
        (None, TypeError, "object"),
        ({1, 2}, TypeError, "object"),
        ([Fraction(1, 2)], TypeError, "object"),
        (np.array(["2020-01-01"], "M8[D]"), TypeError, "datetime64"),
        (np.zeros(2, [("a", float)]), TypeError, "dtype"),
        ([[1.0, 2.0], [3.0]], ValueError, "ragged"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError, "MaskedArray.*filled"),
        (np.longdouble(1), TypeError, "lose digits"),
        (np.ones(2, np.longdouble), TypeError, r"lose digits.*\.astype\(np\.float64\)"),
        (2**70, TypeError, "object"),
    ],
)
def test_what_would_lose_something_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        mt.tensor(data)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_refused():
    with pytest.raises(TypeError, match=r"matrix.*asarray"):
        mt.tensor(np.asmatrix([[1.0]]))


@pytest.mark.parametrize("dtype", [complex, object, str, np.longdouble, "M8[s]"])
def test_only_plain_dtypes_can_be_asked_for(dtype):
    with pytest.raises(TypeError, match="dtype"):
        mt.tensor([1.0], dtype=dtype)


def test_the_byte_order_is_made_native():
    x = mt.tensor(np.array([1.0, 2.0], ">f8"))
    assert x.dtype == np.float64
    assert x.dtype.isnative
    assert mt.tensor([1, 2], dtype=">i4").dtype.isnative
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])


def test_zeros_ones_and_full_take_the_default_dtype(float32_by_default):
    assert mt.get_default_dtype() == np.float32
    for made, value in ((mt.zeros((2, 3)), 0), (mt.ones((2, 3)), 1), (mt.full((2, 3), 7), 7)):
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made.numpy(), np.full((2, 3), value))
    assert mt.zeros(2, dtype=int).dtype == np.int64
    assert mt.ones(2, requires_grad=True).requires_grad
    assert mt.tensor([1.0]).dtype == np.float64


@pytest.mark.parametrize("dtype", [int, complex, bool, np.longdouble])
def test_the_default_dtype_is_a_float(dtype):
    with pytest.raises(TypeError, match=r"set_default_dtype: .*float16, float32 or float64"):
        mt.set_default_dtype(dtype)
    assert mt.get_default_dtype() == np.float64


# --- operators --------------------------------------------------------------------------------------------

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    # NumPy 2.0's own ** takes a shortcut for 0-d exponents that treats them as weak; the function does not.
    "**": lambda a, b: np.power(a, b) if isinstance(a, np.ndarray) and not isinstance(b, mt.Tensor) else a**b,
}
OTHERS = [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(3), np.array([2.0, 3.0]), np.array(2.0), [2.0, 3.0]]


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operators_and_their_reflections_follow_numpy(symbol, other, dtype):
    array = np.array([1.5, 4.0], dtype)
    x = mt.tensor(array, requires_grad=True)
    operator = OPERATORS[symbol]
    for ours, theirs in ((operator(x, other), operator(array, other)), (operator(other, x), operator(other, array))):
        assert type(ours) is mt.Tensor
        assert ours.dtype == theirs.dtype
        assert ours.requires_grad
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-7 if theirs.dtype == np.float32 else 1e-15)


def test_matrix_products_with_arrays_on_both_sides():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    for product in (mt.tensor(a) @ b, a @ mt.tensor(b), mt.tensor(a) @ mt.tensor(b)):
        assert type(product) is mt.Tensor
        np.testing.assert_array_equal(product.numpy(), a @ b)


def test_python_scalars_are_weak_and_numpys_are_not():
    x = mt.tensor(np.float32([1.0]))
    assert (x * 2.5).dtype == (2.5 * x).dtype == (x + 1).dtype == (x**2).dtype == np.float32
    assert (x * np.float64(2.5)).dtype == (np.float64(2.5) * x).dtype == np.float64
    assert (mt.tensor([1]) * 2.5).dtype == np.float64
    assert (mt.tensor([1]) + 1).dtype == np.int64
    assert (mt.tensor([1], dtype="int8") + 1).dtype == np.int8
    assert (mt.tensor([True]) + 1).dtype == np.int64


def test_signs():
    x = leaf(-1.5, 2.0)
    np.testing.assert_array_equal((-x).numpy(), [1.5, -2.0])
    np.testing.assert_array_equal(abs(x).numpy(), [1.5, 2.0])
    assert +x is x


@pytest.mark.parametrize("other", ["text", None, object(), {}, 1j])
@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_refuse_what_is_no_number(symbol, other):
    with pytest.raises(TypeError):
        OPERATORS[symbol](leaf(1.0), other)
    with pytest.raises(TypeError):
        OPERATORS[symbol](other, leaf(1.0))


def test_asarray_gives_a_constant_and_refuses_what_requires_a_gradient():
    x = mt.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.asarray(x, np.float32).dtype == np.float32
    copied = np.array(x)
    copied[0] = 9.0
    assert x[0].item() == 1.0
    for tensor in (leaf(1.0), leaf(1.0) * 2):
        with pytest.raises(TypeError, match=r"requires a gradient.*\.numpy\(\).*\.detach\(\)"):
            np.asarray(tensor)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(x, dtype=np.float32, copy=False)


COMPARISONS = [
    lambda a, b: a == b,
    lambda a, b: a != b,
    lambda a, b: a < b,
    lambda a, b: a <= b,
    lambda a, b: a > b,
    lambda a, b: a >= b,
]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_give_plain_boolean_arrays(compare):
    array, other = np.array([1.0, 2.0, np.nan]), np.array([1.0, 3.0, np.nan])
    for b in (mt.tensor(other), other, 1.0):
        raw = b.numpy() if isinstance(b, mt.Tensor) else b
        out = compare(mt.tensor(array, requires_grad=True), b)
        assert type(out) is np.ndarray
        np.testing.assert_array_equal(out, compare(array, raw))
        np.testing.assert_array_equal(compare(b, mt.tensor(array)), compare(raw, array))


# --- Python's protocols -----------------------------------------------------------------------------------


def test_one_element_is_a_number():
    x = mt.tensor([[2.5]])
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert type(x.item()) is float
    assert type(mt.tensor(3).item()) is int
    assert type(mt.tensor(True).item()) is bool
    assert not mt.tensor(0.0)


@pytest.mark.parametrize("convert", [float, int, lambda x: x.item()])
@pytest.mark.parametrize("shape", [(2,), (0,)])
def test_several_elements_or_none_are_not(convert, shape):
    with pytest.raises(ValueError, match=rf"shape \({shape[0]},\) has {shape[0]} elements"):
        convert(mt.ones(shape))


@pytest.mark.parametrize("shape", [(2,), (0,)])
def test_the_truth_of_several_elements_is_ambiguous(shape):
    with pytest.raises(ValueError, match=r"ambiguous.*\.any\(\) or \.all\(\)"):
        bool(mt.ones(shape))


def test_length_and_iteration():
    x = leaf(1.0, 2.0, 3.0)
    assert len(x) == 3
    assert [row.item() for row in x] == [1.0, 2.0, 3.0]
    assert all(row.requires_grad for row in x)
    assert len(mt.ones((0, 3))) == 0
    _, second = mt.tensor([[1, 2], [3, 4]])
    assert second.numpy().tolist() == [3, 4]
    for use in (len, iter, list):
        with pytest.raises(TypeError, match="0-d"):
            use(mt.tensor(1.0))


def test_integers_can_be_indices():
    assert [10, 20, 30][mt.tensor(1)] == 20
    assert list(range(mt.tensor(2))) == [0, 1]
    with pytest.raises(TypeError, match="dtype float64 cannot be an index"):
        [10, 20][mt.tensor(1.0)]
    with pytest.raises(TypeError, match="dtype bool cannot be an index"):
        [10, 20][mt.tensor(True)]


def test_a_tensor_is_hashed_by_identity():
    x, y = mt.tensor([1.0]), mt.tensor([1.0])
    assert len({x, y, x}) == 2
    assert {x: "x", y: "y"}[x] == "x"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (mt.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (mt.tensor([1, 2]), "tensor([1, 2])"),
        (mt.tensor(True), "tensor(True)"),
        (mt.tensor(1.5), "tensor(1.5)"),
        (mt.tensor([1.0], dtype="float32"), "tensor([1.], dtype=float32)"),
        (mt.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (mt.exp(mt.tensor([0.0], requires_grad=True)), "tensor([1.], node=<exp>)"),
        (mt.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    ],
)
def test_representation(x, text):
    assert repr(x) == text
    assert repr(mt.zeros((0, 2))).startswith("tensor([]")


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_leaves_copy_and_pickle(made):
    x = mt.tensor(np.float32([[1, 2], [3, 4]]).T, requires_grad=True, name="x")
    (x * 2).sum().backward()
    y = made(x)
    assert (y.dtype, y.requires_grad, y.name, y.is_leaf) == (x.dtype, True, "x", True)
    # As PyTorch 2.13 does.
    assert (y.grad is not None) == (made is copy.deepcopy)
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    assert not np.shares_memory(y.numpy(), x.numpy())
    assert not y.numpy().flags.writeable


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, pickle.dumps])
def test_results_say_to_detach_first(made):
    with pytest.raises(TypeError, match=r"made by <multiply> cannot be copied or pickled.*detach\(\) first"):
        made(leaf(1.0) * 2)
    assert made((leaf(1.0) * 2).detach()) is not None


def test_detach_keeps_value_and_name_without_history():
    x = leaf(1.0, 2.0)
    y = mt.label(x * 2, "y")
    d = y.detach()
    assert (d.is_leaf, d.requires_grad, d.name) == (True, False, "y")
    np.testing.assert_array_equal(d.numpy(), y.numpy())
    x_again = x.detach()
    x_again.data = [5.0, 6.0]
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])


def test_attributes_that_do_not_exist_are_refused():
    with pytest.raises(AttributeError):
        leaf(1.0).gradient = 1


# --- indexing ---------------------------------------------------------------------------------------------

INDICES = [
    0,
    -1,
    slice(1, None),
    slice(None, None, -2),
    (slice(None), 1),
    (Ellipsis, 0),
    None,
    (None, 0, Ellipsis),
    [0, 2],
    [2, 0, 2],
    [True, False, True],
    ([0, 1], [1, 1]),
    (slice(None), [3, 0]),
    np.array([[0, 1], [2, 2]]),
    np.arange(12).reshape(3, 4) % 3 == 0,
    (),
    slice(0, 0),
    [],
]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_is_numpys_and_its_gradient_counts_each_element(index):
    array = np.arange(12.0).reshape(3, 4)
    x = mt.tensor(array, requires_grad=True)
    plain = np.array(index, int) if isinstance(index, list) and not index else index
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), array[plain])
    g = np.random.default_rng(0).normal(size=y.shape)
    y.backward(g)
    expected = np.zeros((3, 4))
    np.add.at(expected, plain, g)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-15)


def test_tensors_are_indices_too():
    x = leaf(1.0, 2.0, 3.0)
    np.testing.assert_array_equal(x[mt.tensor([2, 0])].numpy(), [3.0, 1.0])
    np.testing.assert_array_equal(x[x > 1].numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(x[mt.tensor([True, False, True])].numpy(), [1.0, 3.0])
    assert x[mt.tensor(1)].item() == 2.0
    square = mt.tensor([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(square[mt.tensor([0, 1]), mt.tensor([1, 0])].numpy(), [2.0, 3.0])


@settings(max_examples=40, deadline=None)
@given(
    array_shapes(max_dims=3, max_side=4).flatmap(lambda s: basic_indices(s, allow_newaxis=True).map(lambda i: (s, i)))
)
def test_any_basic_index_is_numpys(drawn):
    shape, index = drawn
    array = np.arange(float(np.prod(shape))).reshape(shape)
    x = mt.tensor(array, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), array[index])
    y.backward(np.ones(y.shape))
    expected = np.zeros(shape)
    expected[index] = 1.0
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_any_array_goes_in_and_comes_out_bit_by_bit(array):
    assert mt.tensor(array).numpy().tobytes() == array.tobytes()


# --- methods ----------------------------------------------------------------------------------------------

METHODS = {
    "square": (),
    "sqrt": (),
    "exp": (),
    "log": (),
    "tanh": (),
    "sigmoid": (),
    "relu": (),
    "abs": (),
    **dict.fromkeys(("sum", "mean", "max"), (1, True)),
    "logsumexp": (1, True),
    "softmax": (0,),
    "log_softmax": (0,),
    "var": (1, 1, True),
    "std": (1, 1, True),
}
NAMES = {"sum": ("axis", "keepdims"), "softmax": ("axis",), "var": ("axis", "correction", "keepdims")}
NAMES |= dict.fromkeys(("mean", "max", "logsumexp"), NAMES["sum"]) | {"log_softmax": ("axis",), "std": NAMES["var"]}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_functions(name):
    x = mt.tensor(np.arange(1.0, 7.0).reshape(2, 3))
    options = dict(zip(NAMES.get(name, ()), METHODS[name], strict=True))
    expected = getattr(mt, name)(x, **options).numpy()
    np.testing.assert_array_equal(getattr(x, name)(*METHODS[name]).numpy(), expected)
    np.testing.assert_array_equal(getattr(x, name)(**options).numpy(), expected)
    np.testing.assert_array_equal(getattr(x, name)().numpy(), getattr(mt, name)(x).numpy())


def test_sizes_stand_alone_or_in_a_tuple():
    x = mt.tensor(np.arange(6.0).reshape(2, 3))
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape([3, -1]), mt.reshape(x, shape=(3, 2))):
        np.testing.assert_array_equal(y.numpy(), np.arange(6.0).reshape(3, 2))
    for y in (x.permute_dims(1, 0), x.permute_dims((1, 0)), x.T, x.mT, mt.permute_dims(x, axes=(1, 0))):
        np.testing.assert_array_equal(y.numpy(), x.numpy().T)
    for y in (x.broadcast_to(4, 2, 3), x.broadcast_to((4, 2, 3))):
        np.testing.assert_array_equal(y.numpy(), np.broadcast_to(x.numpy(), (4, 2, 3)))
    assert x[0, :1].reshape(()).shape == ()
    assert x.reshape(-1).shape == x.reshape(np.int64(6)).shape == (6,)
    with pytest.raises(TypeError):
        x.reshape(3.0, 2)


def test_transposes_need_two_axes():
    stack = mt.ones((2, 3, 4))
    assert stack.mT.shape == (2, 4, 3)
    with pytest.raises(ValueError, match=r"T: shape \(2, 3, 4\) is not a matrix"):
        _ = stack.T
    with pytest.raises(ValueError, match=r"mT: shape \(3,\)"):
        _ = mt.ones(3).mT


def test_astype_method():
    assert mt.tensor([1, 2]).astype(float).dtype == np.float64
    assert mt.tensor([1.5]).astype(np.float32).dtype == np.float32


def test_integers_made_from_floats_carry_no_gradient():
    assert not leaf(1.5).astype(int).requires_grad
    assert not leaf(1.5).astype(bool).requires_grad


@pytest.mark.parametrize("dtype", [complex, object, str, np.longdouble])
def test_astype_takes_plain_dtypes_only(dtype):
    with pytest.raises(TypeError, match="astype"):
        leaf(1.5).astype(dtype)


# --- state that can be set ---------------------------------------------------------------------------------


def settings_of(value):
    """The ways to say whether a tensor requires a gradient."""
    return {
        "attribute": lambda x: setattr(x, "requires_grad", value),
        "method": lambda x: x.requires_grad_(value),
        "constructor": lambda x: mt.tensor(x.detach(), requires_grad=value),
        "class": lambda x: mt.Tensor(x.detach(), requires_grad=value),
    }


@pytest.mark.parametrize("way", settings_of(True))
@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8", "uint64"])
def test_only_floats_can_require_a_gradient(dtype, way):
    x = mt.tensor([1, 0]).astype(dtype)
    with pytest.raises(TypeError, match=r"convert it first with \.astype\(float\)"):
        settings_of(True)[way](x)
    assert not x.requires_grad


@pytest.mark.parametrize("way", settings_of(True))
@pytest.mark.parametrize("value", ["no", "", 0, 1, None, 1.0, [True], np.array([True])])
def test_whether_a_gradient_is_required_must_be_a_bool(value, way):
    x = mt.tensor([1.0])
    with pytest.raises(TypeError, match="must be a bool"):
        settings_of(value)[way](x)
    assert x.requires_grad is False


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_leaf_can_be_set_in_both_ways_and_says_a_bool(true):
    x = mt.tensor([1.0])
    x.requires_grad = true
    assert x.requires_grad is True
    assert x.requires_grad_(np.False_) is x
    assert x.requires_grad is False


@pytest.mark.parametrize("way", ["attribute", "method"])
def test_a_result_cannot_stop_requiring_a_gradient(way):
    x = leaf(2.0)
    y = x * x
    with pytest.raises(RuntimeError, match=r"<multiply>.*\.detach\(\)"):
        settings_of(False)[way](y)
    settings_of(True)[way](y)
    y.backward()
    assert x.grad.item() == 4.0


def test_a_name_must_be_a_string_or_none():
    x = mt.tensor([1.0])
    x.name = "x"
    for wrong in (1, b"x", ["x"], x):
        with pytest.raises(TypeError, match="must be a string or None"):
            x.name = wrong
        with pytest.raises(TypeError, match="must be a string or None"):
            mt.tensor([1.0], name=wrong)
    assert x.name == "x"
    x.name = None
    assert x.name is None


def test_what_a_tensor_reports_cannot_be_set():
    x = leaf(1.0)
    for attribute in ("shape", "ndim", "size", "dtype", "node", "is_leaf", "T", "mT"):
        with pytest.raises(AttributeError):
            setattr(x, attribute, None)
