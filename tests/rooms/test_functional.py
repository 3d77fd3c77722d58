"""The functions that are nothing but a few primitives: against NumPy, differentiable twice, and their errors."""

import math

import numpy as np
import pytest

import microtensor as mt


def draw(*shape, seed=0):
    """Values at least 0.2 away from zero and from each other, so that no kink is near."""
    size = math.prod(shape)
    line = np.linspace(-2, 2, size + size % 2)
    return (np.random.default_rng(seed).permutation(line)[:size] + 0.2 * np.sign(line[:size])).reshape(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


X, Y = draw(3, 4), draw(4, 3, seed=1)
INDEX = np.array([[2, 0, 1, 0]])

# name: (ours, the same in plain NumPy, the arguments)
COMPOSED = {
    "reciprocal": (mt.reciprocal, lambda x: 1 / x, [X]),
    "rsqrt": (lambda x: mt.rsqrt(x * x), lambda x: 1 / np.abs(x), [X]),
    "clip": (lambda x: mt.clip(x, -1.0, 1.5), lambda x: np.clip(x, -1.0, 1.5), [X]),
    "clip below": (lambda x: mt.clip(x, min=-0.5), lambda x: np.maximum(x, -0.5), [X]),
    "leaky_relu": (lambda x: mt.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x), [X]),
    "elu": (lambda x: mt.elu(x, 1.5), lambda x: np.where(x > 0, x, 1.5 * (np.exp(x) - 1)), [X]),
    "selu": (mt.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)), [X]),
    "gelu": (mt.gelu, lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / np.sqrt(2))), [X]),
    "gelu tanh": (
        lambda x: mt.gelu(x, "tanh"),
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        [X],
    ),
    "silu": (mt.silu, lambda x: x * sigmoid(x), [X]),
    "mish": (mt.mish, lambda x: x * np.tanh(np.log1p(np.exp(x))), [X]),
    "hardtanh": (mt.hardtanh, lambda x: np.clip(x, -1, 1), [X]),
    "norm": (lambda x: mt.norm(x, axis=1), lambda x: np.linalg.norm(x, axis=1), [X]),
    "norm 1": (lambda x: mt.norm(x, axis=0, ord=1, keepdims=True), lambda x: np.abs(x).sum(0, keepdims=True), [X]),
    "norm 3": (lambda x: mt.norm(x, ord=3), lambda x: (np.abs(x) ** 3).sum() ** (1 / 3), [X]),
    "norm inf": (lambda x: mt.norm(x, axis=1, ord=math.inf), lambda x: np.abs(x).max(axis=1), [X + 0.05]),
    "min": (lambda x: mt.min(x, axis=1), lambda x: x.min(axis=1), [X]),
    "var": (lambda x: mt.var(x, axis=0, correction=1), lambda x: x.var(axis=0, ddof=1), [X]),
    "std": (lambda x: mt.std(x, axis=(0, 1)), lambda x: x.std(), [X]),
    "logsumexp": (lambda x: mt.logsumexp(x, axis=1), lambda x: np.log(np.exp(x).sum(axis=1)), [X]),
    "softmax": (mt.softmax, lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True), [X]),
    "matrix_transpose": (mt.matrix_transpose, lambda x: x.swapaxes(-1, -2), [draw(2, 3, 4)]),
    "swapaxes": (lambda x: mt.swapaxes(x, 0, -1), lambda x: x.swapaxes(0, -1), [draw(2, 3, 4)]),
    "moveaxis": (lambda x: mt.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0)), [draw(2, 3, 4)]),
    "expand_dims": (lambda x: mt.expand_dims(x, axis=(0, -1)), lambda x: np.expand_dims(x, (0, -1)), [X]),
    "squeeze": (lambda x: mt.squeeze(x, axis=1), lambda x: np.squeeze(x, 1), [draw(2, 1, 3, 1)]),
    "squeeze all": (mt.squeeze, np.squeeze, [draw(2, 1, 3, 1)]),
    "flatten": (lambda x: mt.flatten(x, 1), lambda x: x.reshape(2, 12), [draw(2, 3, 4)]),
    "flatten 0-d": (mt.flatten, np.ravel, [np.array(1.5)]),
    "tile": (lambda x: mt.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3)), [X]),
    "tile more axes": (lambda x: mt.tile(x, (2, 1, 1)), lambda x: np.tile(x, (2, 1, 1)), [X]),
    "repeat": (lambda x: mt.repeat(x, 3, axis=0), lambda x: np.repeat(x, 3, axis=0), [X]),
    "roll": (lambda x: mt.roll(x, -2, axis=1), lambda x: np.roll(x, -2, axis=1), [X]),
    "flip": (lambda x: mt.flip(x, axis=1), lambda x: np.flip(x, 1), [X]),
    "pad": (lambda x: mt.pad(x, [(1, 0), (0, 2)]), lambda x: np.pad(x, [(1, 0), (0, 2)]), [X]),
    "pad with a value": (
        lambda x: mt.pad(x, [(1, 0), (0, 2)], value=3.0),
        lambda x: np.pad(x, [(1, 0), (0, 2)], constant_values=3.0),
        [X],
    ),
    "tril": (lambda x: mt.tril(x, 1), lambda x: np.tril(x, 1), [draw(2, 3, 4)]),
    "triu": (lambda x: mt.triu(x, -1), lambda x: np.triu(x, -1), [draw(2, 3, 4)]),
    "diagonal": (mt.diagonal, lambda x: np.diagonal(x, axis1=-2, axis2=-1), [draw(2, 3, 4)]),
    "concat": (lambda a, b: mt.concat([a, b], axis=1), lambda a, b: np.concatenate([a, b], 1), [X, draw(3, 2)]),
    "stack": (lambda a, b: mt.stack([a, b], axis=-1), lambda a, b: np.stack([a, b], -1), [X, draw(3, 4, seed=2)]),
    "split": (lambda x: mt.split(x, [1, 3], axis=1)[1], lambda x: x[:, 1:], [X]),
    "split evenly": (lambda x: mt.split(x, 2)[1], lambda x: x[2:], [X]),
    "take": (lambda x: mt.take(x, [[1, 1], [3, 0]], axis=1), lambda x: np.take(x, [[1, 1], [3, 0]], axis=1), [X]),
    "take_along_axis": (
        lambda x: mt.take_along_axis(x, INDEX, axis=0),
        lambda x: np.take_along_axis(x, INDEX, axis=0),
        [X],
    ),
    "embedding": (lambda w: mt.embedding([[0, 2], [2, 2]], w), lambda w: w[[[0, 2], [2, 2]]], [X]),
    "sort": (lambda x: mt.sort(x, axis=0), lambda x: np.sort(x, axis=0), [X]),
    "sort descending": (lambda x: mt.sort(x, descending=True), lambda x: -np.sort(-x), [X]),
    "outer": (mt.outer, np.outer, [draw(3), draw(4, seed=1)]),
    "tensordot": (lambda a, b: mt.tensordot(a, b, 1), lambda a, b: np.tensordot(a, b, 1), [X, Y]),
    "tensordot pairs": (
        lambda a, b: mt.tensordot(a, b, ((0, 1), (1, 0))),
        lambda a, b: np.tensordot(a, b, ((0, 1), (1, 0))),
        [X, Y],
    ),
}
EINSUMS = [
    ("ij,jk->ik", X, Y),
    ("ij,jk", X, Y),
    ("ii->i", draw(3, 3)),
    ("ii", draw(3, 3)),
    ("iij->j", draw(3, 3, 2)),
    ("ij->", X),
    ("ij->ji", X),
    ("i,i,i->i", draw(3), draw(3, seed=1), draw(3, seed=2)),
    ("ij,j->i", X, draw(4)),
    ("...ij,...jk->...ik", draw(2, 1, 3, 2), draw(4, 2, 3, seed=1)),
    ("...i->...", draw(2, 3)),
    ("ij,ij->ij", draw(3, 1), draw(1, 4, seed=1)),
    ("ij,kj->ik", draw(3, 1), draw(2, 4, seed=1)),
    ("i,j->ij", draw(3), draw(2, seed=1)),
    ("bqhd,bkhd->bhqk", draw(2, 3, 2, 2), draw(2, 3, 2, 2, seed=1)),
    ("ij,k->k", X, draw(2, seed=1)),
]


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composition_is_numpys_and_differentiable_twice(name):
    ours, theirs, arrays = COMPOSED[name]
    leaves = [mt.tensor(a, requires_grad=True) for a in arrays]
    expected = np.asarray(theirs(*arrays))
    result = ours(*leaves)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert mt.gradcheck(ours, leaves, order=2)


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: case[0])
def test_einsum_is_numpys_and_differentiable_twice(case):
    subscripts, *arrays = case
    leaves = [mt.tensor(a, requires_grad=True) for a in arrays]
    expected = np.einsum(subscripts, *arrays)
    result = mt.einsum(subscripts, *leaves)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert mt.gradcheck(lambda *operands: mt.einsum(subscripts, *operands), leaves, order=2)


@pytest.mark.parametrize("zeros", [[], [1], [0, 3]])
def test_prod_is_right_beside_zeros_to_order_2(zeros):
    values = draw(5)
    values[zeros] = 0.0
    x = mt.tensor(values, requires_grad=True)
    first = mt.grad(mt.prod(x), x, create_graph=True)
    expected = [np.prod(np.delete(values, i)) for i in range(5)]
    np.testing.assert_allclose(first.numpy(), expected, rtol=1e-12, atol=1e-15)
    weights = np.arange(1.0, 6.0)
    second = mt.grad(first, x, weights).numpy()
    hessian = [[0.0 if i == j else np.prod(np.delete(values, [i, j])) for j in range(5)] for i in range(5)]
    np.testing.assert_allclose(second, np.array(hessian) @ weights, rtol=1e-12, atol=1e-15)


def test_scatter_add_accumulates():
    x, updates = draw(3, 4), draw(2, 4, seed=1)
    index = np.array([[0, 1, 1, 2], [0, 1, 2, 2]])
    expected = x.copy()
    for i in range(2):
        for j in range(4):
            expected[index[i, j], j] += updates[i, j]
    leaves = [mt.tensor(x, requires_grad=True), mt.tensor(updates, requires_grad=True)]
    np.testing.assert_allclose(mt.scatter_add(leaves[0], index, leaves[1], axis=0).numpy(), expected, rtol=1e-15)
    assert mt.gradcheck(lambda a, b: mt.scatter_add(a, index, b, axis=0), leaves, order=2)


def test_clip_passes_the_gradient_on_its_bounds():
    x = mt.tensor([-1.0, 0.0, 1.0, 1.5], requires_grad=True)
    assert mt.grad(mt.clip(x, -1.0, 1.0).sum(), x).numpy().tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_safe_branch_keeps_nan_out_of_the_gradient():
    x = mt.tensor([-800.0, 800.0], requires_grad=True)
    assert mt.grad(mt.elu(x).sum(), x).numpy().tolist() == [0.0, 1.0]


def test_plain_answers_are_arrays():
    x = mt.tensor(X, requires_grad=True)
    assert mt.argmax(x, axis=1).tolist() == X.argmax(axis=1).tolist()
    assert mt.argmin(x) == X.argmin()
    assert bool(mt.any(x))
    assert mt.all(x, axis=0).tolist() == [True] * 4
    assert type(mt.argmax(x)) is np.ndarray


ERRORS = [
    (lambda: mt.clip(mt.zeros(2), 1.0, 0.0), ValueError, "clip: the lower bound 1.0 is above"),
    (lambda: mt.gelu(mt.zeros(2), "erf"), ValueError, "gelu: approximate is 'erf'; it must be 'none' or 'tanh'"),
    (lambda: mt.norm(mt.zeros(2), ord=0.5), ValueError, "norm: ord is 0.5"),
    (lambda: mt.squeeze(mt.zeros((2, 3)), axis=0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) has size 2"),
    (lambda: mt.flatten(mt.zeros((2, 3)), 1, 0), ValueError, "flatten: start_axis 1 comes after"),
    (lambda: mt.matrix_transpose(mt.zeros(2)), ValueError, "matrix_transpose: shape"),
    (lambda: mt.moveaxis(mt.zeros((2, 3)), (0, 1), 0), ValueError, "moveaxis: 2 sources but 1 destinations"),
    (lambda: mt.diagonal(mt.zeros(2)), ValueError, "diagonal: shape"),
    (lambda: mt.pad(mt.zeros(2), [(1, 1), (0, 0)]), ValueError, "pad: widths"),
    (lambda: mt.pad(mt.zeros(2), [(-1, 1)]), ValueError, "pad: widths"),
    (lambda: mt.concat([]), ValueError, "concat: arrays is empty"),
    (lambda: mt.stack([mt.zeros(2), mt.zeros(3)]), ValueError, "stack: shapes"),
    (lambda: mt.split(mt.zeros(3), [1, 1]), ValueError, r"split: sizes \[1, 1\] do not add up to 3"),
    (lambda: mt.split(mt.zeros(3), 0), ValueError, "split: the size is 0"),
    (lambda: mt.embedding([0.0], mt.zeros((2, 2))), TypeError, "embedding: indices have dtype float64"),
    (lambda: mt.embedding([-1], mt.zeros((2, 2))), IndexError, "embedding: index -1 .* 2 rows"),
    (lambda: mt.take_along_axis(mt.zeros((2, 2)), [0]), ValueError, "take_along_axis: indices of shape"),
    (lambda: mt.scatter_add(mt.zeros(3), [0, 1], mt.zeros(3)), ValueError, "scatter_add: a tensor of shape"),
    (lambda: mt.outer(mt.zeros((2, 2)), mt.zeros(2)), ValueError, "outer: shapes"),
    (lambda: mt.tensordot(mt.zeros((2, 3)), mt.zeros((2, 3)), 1), ValueError, "tensordot: .* paired sizes"),
    (lambda: mt.einsum("ij,jk->ik", mt.zeros((2, 3))), ValueError, "einsum: .* names 2 operands, .*1 were given"),
    (lambda: mt.einsum("ij->i", mt.zeros(3)), ValueError, "einsum: 'ij' names 2 axes"),
    (lambda: mt.einsum("ij,jk", mt.zeros((2, 3)), mt.zeros((4, 2))), ValueError, "einsum: label j has sizes 3 and 4"),
    (lambda: mt.einsum("ij->k", mt.zeros((2, 3))), ValueError, "einsum: the output of"),
    (lambda: mt.einsum("i1->i", mt.zeros((2, 3))), ValueError, "einsum: .* not letters"),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_errors_name_the_function_and_what_does_not_fit(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("kind", [np.asarray, mt.tensor, np.ndarray.tolist])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_bounds_may_be_arrays_that_broadcast(kind, dtype):
    x = np.array([[-3, 0, 1, 3], [2, -2, 5, 0]]).astype(dtype)
    least, most = np.array([-1, 0, 2, -4]).astype(dtype), np.array([[1], [3]]).astype(dtype)
    most = np.maximum(least, most)
    for low, high in ((least, None), (None, most), (least, most)):
        bounds = [None if b is None else kind(b) for b in (low, high)]
        np.testing.assert_array_equal(mt.clip(mt.tensor(x), *bounds).numpy(), np.clip(x, low, high))
        np.testing.assert_array_equal(np.clip(mt.tensor(x), *bounds).numpy(), np.clip(x, low, high))
    with pytest.raises(ValueError, match=r"^clip: the lower bound .* is above the upper bound"):
        mt.clip(mt.tensor(x), kind(least + 9), kind(most))


def test_a_bound_that_is_a_tensor_gets_the_gradient_where_it_is_the_result():
    x, low = (mt.tensor(a, requires_grad=True) for a in ([-2.0, 0.5, 3.0], [-1.0, 0.0, 4.0]))
    for clipped in (mt.clip(x, low), x.clip(min=low), np.clip(x, low, None)):
        by_x, by_low = mt.grad(clipped, [x, low], [1.0, 10.0, 100.0])
        assert by_x.numpy().tolist() == [0.0, 10.0, 0.0]
        assert by_low.numpy().tolist() == [1.0, 0.0, 100.0]


def test_numpy_rounds_to_decimals_as_this_package_does():
    x = mt.tensor([1.256, -0.449])
    np.testing.assert_array_equal(np.round(x, 2).numpy(), np.round(x.numpy(), 2))
    np.testing.assert_array_equal(np.round(x, 2).numpy(), mt.round(x, 2).numpy())


def test_a_masked_array_is_no_operand():
    for call in (mt.var, mt.norm, mt.squeeze, lambda x: mt.einsum("ij->", x)):
        with pytest.raises(TypeError, match="MaskedArray and would lose its meaning"):
            call(np.ma.masked_array([[1.0, 2.0]]))
