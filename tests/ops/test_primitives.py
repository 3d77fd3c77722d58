"""Every primitive against its row of the table: values, derivatives of order 1 and 2, dtypes, layouts, errors."""

import copy
import doctest
import io
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import backprop
from microtensor.core.primitive import Primitive, TensorBase
from tests.table import TABLE

PRIMITIVES = mt.ops.primitives
CALLS = [pytest.param(name, call, id=f"{name}-{i}") for name, row in TABLE.items() for i, call in enumerate(row.calls)]
SMOOTH = [p for p in CALLS if not TABLE[p.values[0]].flat]
ELEMENTWISE = [name for name, row in TABLE.items() if row.elementwise]
STEP = 6e-6


def test_every_primitive_has_a_row():
    assert set(TABLE) == set(PRIMITIVES)


def leaves_of(name, call, dtype=np.float64):
    """The arguments of a call: tensors that require a gradient where values are drawn, constants elsewhere."""
    arrays = call.arrays(TABLE[name].domain, dtype)
    return [mt.tensor(x, requires_grad=True) if i in call.drawn() else x for i, x in enumerate(arrays)]


def differences(function, arrays, which, cotangent, direction):
    """⟨u, (f(x + hv) − f(x − hv)) / 2h⟩ with one argument moved."""
    high, low = list(arrays), list(arrays)
    high[which] = arrays[which] + STEP * direction
    low[which] = arrays[which] - STEP * direction
    return np.sum(cotangent * (function(*high) - function(*low))) / (2 * STEP)


def assert_close(analytic, numeric):
    assert abs(analytic - numeric) <= 1e-8 * max(1.0, abs(numeric)), (analytic, numeric)


# --- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_forward_is_numpys(name, call):
    row, op = TABLE[name], PRIMITIVES[name]
    arrays = call.arrays(row.domain)
    expected = np.asarray(row.reference(*arrays, **call.params))
    for result in (op(*arrays, **call.params), op(*leaves_of(name, call), **call.params)):
        value = result.numpy() if isinstance(result, mt.Tensor) else result
        assert value.shape == expected.shape
        assert value.dtype == expected.dtype
        np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_arrays_in_array_out_and_tensor_in_tensor_out(name, call):
    op = PRIMITIVES[name]
    assert isinstance(op(*call.arrays(TABLE[name].domain), **call.params), (np.ndarray, np.generic))
    out = op(*leaves_of(name, call), **call.params)
    assert type(out) is mt.Tensor
    assert out.node.primitive is op


# --- derivatives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "call"), SMOOTH)
def test_gradient_of_order_1(name, call):
    row = TABLE[name]
    arrays, leaves, rng = call.arrays(row.domain), leaves_of(name, call), np.random.default_rng(1)
    out = PRIMITIVES[name](*leaves, **call.params)
    cotangent = rng.normal(size=out.shape)
    for i in call.drawn():
        gradient = mt.grad(out, leaves[i], cotangent).numpy()
        assert gradient.shape == arrays[i].shape
        for _ in range(3):
            v = rng.normal(size=arrays[i].shape)
            numeric = differences(lambda *a: row.reference(*a, **call.params), arrays, i, cotangent, v)
            assert_close(np.sum(gradient * v), numeric)


@pytest.mark.parametrize(("name", "call"), SMOOTH)
def test_gradient_of_order_2(name, call):
    op, rng = PRIMITIVES[name], np.random.default_rng(2)
    leaves = leaves_of(name, call)
    drawn = call.drawn()
    out = op(*leaves, **call.params)
    u = mt.tensor(rng.normal(size=out.shape), requires_grad=True)
    variables = [leaves[i] for i in drawn]
    weights = [rng.normal(size=x.shape) for x in variables]

    def gradient(*values):
        """The gradients as one vector, weighted, from values of the drawn arguments and of the cotangent."""
        *xs, cotangent = values
        fresh = list(leaves)
        for i, x in zip(drawn, xs, strict=True):
            fresh[i] = mt.tensor(x, requires_grad=True)
        found = mt.grad(op(*fresh, **call.params), [fresh[i] for i in drawn], cotangent)
        return sum(np.sum(w * g.numpy()) for w, g in zip(weights, found, strict=True))

    first = mt.grad(out, variables, u, create_graph=True)
    second = mt.grad(first, [*variables, u], weights, allow_unused=True)
    at = [x.numpy() for x in (*variables, u)]
    for i, (x, d) in enumerate(zip(at, second, strict=True)):
        assert d is None or d.shape == x.shape
        v = rng.normal(size=x.shape)
        analytic = 0.0 if d is None else np.sum(d.numpy() * v)
        assert_close(analytic, differences(gradient, at, i, 1.0, v))


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.flat])
def test_no_gradient_flows_where_the_function_is_flat(name):
    (x,) = leaves_of(name, TABLE[name].calls[0])
    y = PRIMITIVES[name](x)
    assert mt.grad(y, x, np.ones(x.shape), allow_unused=True) is None
    (y + x).backward(np.ones(x.shape))
    np.testing.assert_array_equal(x.grad.numpy(), 1.0)


@pytest.mark.parametrize(("name", "call"), SMOOTH)
def test_rules_of_first_order_see_arrays_only(name, call, monkeypatch):
    out = PRIMITIVES[name](*leaves_of(name, call), **call.params)
    plain = Primitive.__call__

    def watched(self, *inputs, **params):
        assert not any(isinstance(x, TensorBase) for x in inputs)
        return plain(self, *inputs, **params)

    monkeypatch.setattr(Primitive, "__call__", watched)
    found = backprop.reverse({out: np.ones(out.shape)})
    assert len(found) == len(call.drawn())
    assert all(isinstance(g, (np.ndarray, np.generic)) for g in found.values())


# --- dtypes and layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_dtype_is_numpys_and_the_gradient_has_that_of_its_input(name, call, dtype):
    row = TABLE[name]
    arrays, leaves = call.arrays(row.domain, dtype), leaves_of(name, call, dtype)
    expected = np.asarray(row.reference(*arrays, **call.params))
    out = PRIMITIVES[name](*leaves, **call.params)
    assert out.dtype == expected.dtype
    np.testing.assert_allclose(out.numpy(), expected, rtol=4 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    if not row.flat:
        for leaf, g in mt.vjp(out, np.ones(out.shape, out.dtype)).items():
            assert g.dtype == leaf.dtype == dtype


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if len(row.calls[0].drawn()) == 2])
def test_mixed_dtypes_promote_and_each_gradient_keeps_its_own(name):
    row = TABLE[name]
    call = row.calls[0]
    arrays = call.arrays(row.domain)
    first, second = call.drawn()
    arrays[first] = arrays[first].astype(np.float32)
    leaves = [mt.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    out = PRIMITIVES[name](*leaves, **call.params)
    assert out.dtype == row.reference(*arrays, **call.params).dtype == np.float64
    out.backward(np.ones(out.shape))
    assert leaves[first].grad.dtype == np.float32
    assert leaves[second].grad.dtype == np.float64


@pytest.mark.parametrize("name", TABLE)
def test_integers_give_numpys_dtype(name):
    row = TABLE[name]
    call = row.calls[0]
    arrays = [np.ceil(np.abs(x)).astype(np.int32) if x.dtype.kind == "f" else x for x in call.arrays(row.domain)]
    out = PRIMITIVES[name](*map(mt.tensor, arrays), **call.params)
    expected = np.asarray(row.reference(*arrays, **call.params))
    assert out.dtype == expected.dtype
    assert not out.requires_grad
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-14)


def as_leaf(x):
    return mt.tensor(x.copy(), requires_grad=True)


def flipped(x):
    back = (slice(None, None, -1),) * x.ndim
    return as_leaf(x[back])[back]


def transposed(x):
    return mt.permute_dims(as_leaf(x.T), axes=tuple(range(x.ndim))[::-1])


def every_second(x):
    return as_leaf(np.repeat(x[..., None], 2, axis=-1))[..., 1]


@pytest.mark.parametrize("view", [flipped, transposed, every_second])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_views_with_any_strides(name, call, view):
    """Negative, exchanged and wide strides give the values and gradients of a contiguous array."""
    row, op = TABLE[name], PRIMITIVES[name]
    views, leaves = call.arrays(row.domain), leaves_of(name, call)
    for i in call.drawn():
        views[i] = view(views[i])
    strided, plain = op(*views, **call.params), op(*leaves, **call.params)
    np.testing.assert_allclose(strided.numpy(), plain.numpy(), rtol=1e-14, atol=1e-15)
    if row.flat:
        return
    cotangent = np.random.default_rng(3).normal(size=plain.shape[::-1]).T
    for i in call.drawn():
        expected = mt.grad(plain, leaves[i], cotangent.copy()).numpy()
        np.testing.assert_allclose(mt.grad(strided, views[i], cotangent).numpy(), expected, rtol=1e-13, atol=1e-14)


# --- errors, special values, memory -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [pytest.param(name, e, id=f"{name}-{i}") for name, row in TABLE.items() for i, e in enumerate(row.errors)],
)
def test_errors_name_the_operation_and_the_shapes(name, wrong):
    arguments = [mt.ones(x) if isinstance(x, tuple) else x for x in wrong.arguments]
    with pytest.raises(wrong.kind, match=wrong.message) as raised:
        PRIMITIVES[name](*arguments, **wrong.params)
    assert raised.type is wrong.kind


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinity_pass_without_a_warning(name):
    """Warnings are errors in these tests."""
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 5e-324, -1.0])
    pairs = [special] if len(TABLE[name].calls[0].arguments) == 1 else np.meshgrid(special, special)
    with np.errstate(all="ignore"):
        expected = TABLE[name].reference(*pairs)
    leaves = [mt.tensor(x, requires_grad=True) for x in pairs]
    out = PRIMITIVES[name](*leaves)
    np.testing.assert_array_equal(out.numpy(), expected)
    (out + leaves[0]).backward(np.ones(out.shape))
    assert leaves[0].grad.shape == out.shape


def test_forward_and_backward_of_every_primitive_make_no_reference_cycle():
    def run():
        for name, row in TABLE.items():
            for call in row.calls:
                out = PRIMITIVES[name](*leaves_of(name, call), **call.params)
                if not row.flat:
                    out.backward(np.ones(out.shape))

    np.testing.assert_no_gc_cycles(run)


# --- choices at single points, which no difference can check ----------------------------------------------


def slope(function, *values):
    leaves = [mt.tensor(float(v), requires_grad=True) for v in values]
    return [g.item() for g in mt.grad(function(*leaves), leaves)]


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (mt.relu, [0], [0]),
        (mt.relu, [-0.0], [0]),
        (mt.abs, [0], [0]),
        (mt.maximum, [2, 2], [0.5, 0.5]),
        (mt.minimum, [2, 2], [0.5, 0.5]),
        (mt.sqrt, [0], [np.inf]),
        (mt.log, [0], [np.inf]),
        (mt.power, [0, 2], [0, 0]),
        (mt.power, [0, 1], [1, 0]),
        (mt.power, [0, 0], [0, 0]),
        (mt.power, [-2, 3], [12, np.nan]),
        (mt.sigmoid, [1000], [0]),
        (mt.sigmoid, [-1000], [0]),
        (mt.tanh, [1000], [0]),
    ],
)
def test_slope_at_a_corner(function, values, expected):
    np.testing.assert_array_equal(slope(function, *values), expected)


def test_power_follows_numpy_at_the_edges():
    assert mt.power(mt.tensor(0.0), 0.0).item() == 1.0
    assert np.isnan(mt.power(mt.tensor(-1.0), 0.5).item())
    assert mt.power(mt.tensor(2), 3).dtype == np.int64


def test_power_with_a_constant_integer_exponent_at_zero_and_below():
    x = mt.tensor([0.0, -2.0, 3.0], requires_grad=True)
    (x**2).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, -4.0, 6.0])


def test_sigmoid_keeps_its_digits_in_both_tails():
    np.testing.assert_allclose(mt.sigmoid(mt.tensor([-700.0, 700.0])).numpy(), [np.exp(-700.0), 1.0], rtol=1e-14)


def test_largest_elements_that_tie_share_the_gradient():
    x = mt.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    mt.max(x, axis=1).backward([1.0, 3.0])
    np.testing.assert_array_equal(x.grad.numpy(), [[0.0, 0.5, 0.5], [1.0, 1.0, 1.0]])


def test_nan_in_the_branch_not_taken_survives_unless_the_argument_is_made_safe():
    x = mt.tensor([0.0, 4.0], requires_grad=True)
    safe = mt.where(x > 0, x, 1.0)
    mt.where(x > 0, mt.sqrt(safe), 0.0).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.25])


def test_mean_of_float16_is_taken_in_float32():
    x = mt.full((4096,), 100.0, dtype=np.float16)
    assert mt.mean(x).item() == 100.0
    assert mt.mean(x).dtype == np.float16


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_astype_gives_the_gradient_back_in_the_dtype_of_its_input(dtype):
    x = mt.tensor([1.5, 2.0], requires_grad=True)
    y = x.astype(dtype)
    assert y.dtype == dtype
    y.backward(np.array([1, 2], dtype))
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 2.0])


def test_stop_gradient_passes_the_value_and_no_gradient():
    x = mt.tensor([3.0], requires_grad=True)
    assert mt.stop_gradient(x).item() == 3.0
    assert mt.grad(x * mt.stop_gradient(x), x).item() == 3.0
    array = np.ones(2)
    assert mt.stop_gradient(array) is array


@pytest.mark.parametrize(("function", "reference"), [(mt.ops.equal, np.equal), (mt.ops.greater, np.greater)])
def test_comparisons_are_plain_boolean_arrays(function, reference):
    a, b = np.array([[1.0, 2.0], [np.nan, 0.0]]), np.array([1.0, 0.0])
    out = function(mt.tensor(a, requires_grad=True), mt.tensor(b))
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, reference(a, b))


def test_a_primitive_pickles_and_copies_as_itself():
    for op in PRIMITIVES.values():
        assert pickle.loads(pickle.dumps(op)) is copy.copy(op) is copy.deepcopy(op) is op


def test_an_operation_that_its_module_lost_does_not_unpickle():
    with pytest.raises(AttributeError, match=r"module \S*test_primitives has no primitive lost"):
        pickle.loads(pickle.dumps(Primitive("lost", np.copy, (None,))))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_example_of_a_primitive_runs(name):
    """The collector of doctests looks at functions and classes, and a primitive is neither."""
    op = PRIMITIVES[name]
    (example,) = doctest.DocTestFinder(recurse=False).find(op, name, module=False, globs={})
    assert example.examples
    said = io.StringIO()
    doctest.DocTestRunner().run(example, out=said.write)
    assert said.getvalue() == ""


def test_axes_are_reversed_unless_an_order_is_given():
    x = mt.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    for y in (mt.permute_dims(x), mt.permute_dims(x, None), mt.permute_dims(x, axes=None), x.permute_dims()):
        np.testing.assert_array_equal(y.numpy(), x.numpy().T)
        found = mt.grad(y, x, np.arange(6.0).reshape(3, 2), create_graph=True)
        np.testing.assert_array_equal(found.numpy(), np.arange(6.0).reshape(3, 2).T)
        assert mt.Graph.from_tensor(y).nodes[-1].symbol == "( )ᵀ"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ties_of_a_maximum_are_counted_beyond_the_largest_number_of_float16(dtype):
    x = mt.tensor(np.zeros((70_000, 2), dtype), requires_grad=True)
    slope = mt.grad(mt.max(x, axis=0), x, np.ones(2, dtype))
    assert slope.dtype == dtype
    assert (slope.numpy() == dtype(1 / 70_000)).all()
