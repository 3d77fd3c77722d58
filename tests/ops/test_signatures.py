"""How functions and methods are called: the Array API's parameters, NumPy's positions, and what wrong calls say."""

import inspect
import itertools
import json
import pydoc
import re
import types
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt
from microtensor.core.primitive import Primitive

X = np.array([[3.0, 1.0, 2.5], [0.5, -5.0, 4.0]])
Y = np.array([2.0, -1.0, 0.5])
FLOATS = ("float16", "float32", "float64")


def value_of(result):
    return result.numpy() if isinstance(result, mt.Tensor) else np.asarray(result)


def same(result, expected):
    found, expected = value_of(result), np.asarray(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype == np.float32 else 1e-12)


# --- the Array API ----------------------------------------------------------------------------------------

STORED = json.loads((Path(__file__).parents[1] / "golden" / "array_api.json").read_text(encoding="utf-8"))
# Values for each parameter; the first of them for one that has no default.
VALUES = {
    "x": [X],
    "x1": [X],
    "x2": [Y],
    "condition": [X > 1],
    "arrays": [[X, 2 * X]],
    "indices": [[1, 0]],
    "axis": [0, -1],
    "keepdims": [True, False],
    "dtype": ["float32", "int64"],
    "device": [None, "cpu"],
    "copy": [True, False],
    "stable": [True, False],
    "descending": [True, False],
    "correction": [1, 0.5],
    "shape": [(3, 2), [6]],
    "fill_value": [2.5],
    "start": [1],
    "stop": [7],
    "step": [2],
    "k": [1, -1],
    "n_rows": [3],
    "n_cols": [4, None],
    "min": [0.0, None],
    "max": [2.0, None],
    "shift": [2, (1, 1)],
    "source": [0],
    "destination": [1],
    "repetitions": [(2, 1)],
    "repeats": [2],
    "axes": [(1, 0)],
}
OWN_VALUES = {
    "log": {"x": [abs(X)]},
    "log1p": {"x": [abs(X)]},
    "log2": {"x": [abs(X)]},
    "sqrt": {"x": [abs(X)]},
    "broadcast_to": {"shape": [(2, 2, 3)]},
    "squeeze": {"x": [X[None]], "axis": [0, (0,)]},
    "sum": {"axis": [0, (0, 1), None]},
    "max": {"axis": [0, (0, -1), None]},
    "all": {"axis": [0, (0, 1), None]},
    "concat": {"axis": [0, 1, None]},
    "repeat": {"axis": [0, None]},
    "roll": {"shift": [2], "axis": [0, None]},
    "take": {"axis": [0, 1]},
    "take_along_axis": {"indices": [np.array([[0, 1, 1]])], "axis": [0]},
    "matmul": {"x2": [X.T]},
    "tensordot": {"x2": [X], "axes": [2, ((0,), (0,))]},
}
# Where the default is another than the Array API's.
OWN_DEFAULTS = {"repeat": {"axis": -1}, "roll": {"axis": -1}, "take": {"axis": 0}}
WITHOUT_MEANING_TO_NUMPY = {"device", "copy", "stable"}
REFERENCES = {
    # NumPy before 2.3 has no default of the axis.
    "take_along_axis": lambda x, indices, axis=-1: np.take_along_axis(x, indices, axis),
    "astype": lambda x, dtype: x.astype(dtype),
    "clip": lambda x, **bounds: np.clip(x, bounds.get("min", -np.inf), bounds.get("max", np.inf)),
    "concat": np.concatenate,
    "eye": lambda n_rows, n_cols=None, k=0, dtype=float: np.eye(n_rows, n_cols, k, dtype),
    "matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
    "permute_dims": np.transpose,
    "reshape": lambda x, shape: x.reshape(shape),
    "sort": lambda x, axis=-1, descending=False: np.flip(np.sort(x, axis), axis) if descending else np.sort(x, axis),
    "zeros_like": np.zeros_like,
}


def values(name, parameter):
    return OWN_VALUES.get(name, {}).get(parameter) or VALUES[parameter]


def expected(name, given):
    """NumPy's result for all that was given by name."""
    given = OWN_DEFAULTS.get(name, {}) | {k: v for k, v in given.items() if k not in WITHOUT_MEANING_TO_NUMPY}
    args = [
        given.pop(parameter) for parameter, kind, _ in STORED[name] if kind == "POSITIONAL_ONLY" and parameter in given
    ]
    return REFERENCES.get(name, getattr(np, name, None))(*args, **given)


def calls(name):
    """Every call with all that has no default, and one more argument: by position, by keyword, or both."""
    needed = {parameter: values(name, parameter)[0] for parameter, _, default in STORED[name] if not default}
    order = [parameter for parameter, kind, _ in STORED[name] if kind != "KEYWORD_ONLY"]
    kinds = {parameter: kind for parameter, kind, _ in STORED[name]}
    for extra in [{}, *({parameter: value} for parameter in kinds for value in values(name, parameter))]:
        given = needed | extra
        for by_keyword in ("KEYWORD_ONLY",), ("KEYWORD_ONLY", "POSITIONAL_OR_KEYWORD"):
            named = {k: v for k, v in given.items() if kinds[k] in by_keyword}
            placed = [given[k] for k in order if k in given and k not in named]
            # Nothing is left out between two positional arguments.
            if [k for k in order if k in given and k not in named] == order[: len(placed)]:
                yield given, placed, named


def as_tensors(x):
    """The arrays of floats among the arguments as tensors."""
    if isinstance(x, list) and isinstance(x[0], np.ndarray):
        return [mt.tensor(piece) for piece in x]
    return mt.tensor(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


@pytest.mark.parametrize("name", STORED)
def test_a_function_takes_what_the_array_api_takes_and_gives_what_numpy_gives(name):
    function = getattr(mt, name)
    for given, placed, named in calls(name):
        wanted = expected(name, dict(given))
        same(function(*map(as_tensors, placed), **named), wanted)
        same(function(*placed, **named), wanted)
        listed = [x.tolist() if isinstance(x, np.ndarray) else x for x in placed]
        # A list has no memory to share, and no dtype to keep.
        if name != "clip" and given.get("copy") is not False:
            same(function(*listed, **named), wanted)


@pytest.mark.parametrize("name", STORED)
def test_defaults_are_the_array_apis_but_for_three(name):
    ours = inspect.signature(getattr(mt, name)).parameters
    for parameter, kind, default in STORED[name]:
        if kind != "POSITIONAL_ONLY":
            assert parameter in ours
        if default and parameter in ours and "UNDEF" not in default:
            wanted = OWN_DEFAULTS.get(name, {}).get(parameter, eval(default))
            assert ours[parameter].default == wanted
    assert set(OWN_DEFAULTS) <= set(STORED)


# --- options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum"])
@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "int64", "uint8", "bool"])
def test_dtype_is_that_of_the_result(name, dtype):
    ours, numpys = getattr(mt, name), getattr(np, name)
    for given in (*FLOATS, "int32", "bool"):
        x = np.array([[1, 2, 0], [1, 1, 3]]).astype(given)
        wanted = numpys(x, axis=0, dtype=dtype)
        same(ours(mt.tensor(x), axis=0, dtype=dtype), wanted)
        same(ours(x, 0, dtype=np.dtype(dtype)), wanted)
        same(getattr(mt.tensor(x), name)(0, dtype=dtype), wanted)


@pytest.mark.parametrize("given", [*FLOATS, "int64", "bool"])
def test_float16_is_added_up_in_float32(given):
    """A running sum in float16 stops at 2048, and at 65,504 it is infinite."""
    # Two columns, because NumPy sums one row in float32 by itself.
    x = mt.tensor(np.ones((3000, 2), given))
    np.testing.assert_array_equal(mt.sum(x, 0, dtype="float16").numpy(), [3000, 3000])
    np.testing.assert_array_equal(mt.cumsum(x, 0, dtype="float16").numpy()[-1], [3000, 3000])
    large = mt.tensor([[60000.0, 256.0], [60000.0, 512.0], [-60000.0, 1.0]])
    assert mt.sum(large, 0, dtype="float16").numpy()[0] == 60000
    halves = mt.tensor([[256.0, 1.0], [512.0, 1.0], [2.0**-10, 1.0]])
    assert mt.prod(halves, 0, dtype="float16").numpy()[0] == 128


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum"])
@pytest.mark.parametrize(("given", "dtype"), list(itertools.product(FLOATS, FLOATS)))
def test_the_gradient_comes_back_in_the_dtype_of_x_to_order_2(name, given, dtype):
    x = mt.tensor([1.5, -2.0, 3.0], dtype=given, requires_grad=True)
    y = getattr(mt, name)(x, dtype=dtype)
    assert y.dtype == dtype
    wide = mt.tensor(x.numpy().astype(float), requires_grad=True)
    weights = np.array([1.0, 2.0, -1.0]) if name == "cumsum" else np.array(1.0)
    first = mt.grad(y, x, weights.astype(dtype), create_graph=True)
    same_in_float64 = mt.grad(getattr(mt, name)(wide), wide, weights, create_graph=True)
    assert first.dtype == given
    np.testing.assert_allclose(first.numpy(), same_in_float64.numpy(), rtol=4 * np.finfo("float16").eps)
    if name == "prod":
        second = mt.grad(first, x, np.ones(3, given))
        assert second.dtype == given
        exact = mt.grad(same_in_float64, wide, np.ones(3)).numpy()
        np.testing.assert_allclose(second.numpy(), exact, rtol=4 * np.finfo("float16").eps)
    else:
        # Linear in x: nothing is left to differentiate.
        assert not first.requires_grad


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum"])
def test_a_result_of_integers_has_no_gradient(name):
    x = mt.tensor([1.5, 2.0], requires_grad=True)
    for dtype in ("int64", "bool", "uint8"):
        assert not getattr(mt, name)(x, dtype=dtype).requires_grad
    assert not getattr(mt, name)(mt.tensor([1, 2]), dtype="float32").requires_grad


CREATED = [
    *[("zeros", (2,)), ("ones", (2,)), ("full", (2, 1.0)), ("arange", (2,)), ("eye", (2,))],
    *[("zeros_like", ([1.0],)), ("ones_like", ([1.0],))],
]


@pytest.mark.parametrize(
    ("name", "arguments"), [*CREATED, *[(name, ([1.0],)) for name in ("sum", "prod", "cumsum", "astype")]]
)
def test_a_dtype_of_no_numbers_is_refused(name, arguments):
    for dtype in ("complex64", object, "S3", np.longdouble):
        with pytest.raises(TypeError, match=rf"^{name}: dtype .* is not a boolean, integer or float"):
            getattr(mt, name)(*arguments, dtype=dtype)


def test_concat_of_flattened_pieces_is_differentiable_twice():
    a, b = mt.tensor(X, requires_grad=True), mt.tensor(Y, requires_grad=True)
    y = mt.concat([a, b], axis=None)
    same(y, np.concatenate([X, Y], axis=None))
    first = mt.grad((y * y * y).sum(), [a, b], create_graph=True)
    second = mt.grad([g.sum() for g in first], [a, b])
    for x, g, h in zip((X, Y), first, second, strict=True):
        same(g, 3 * x**2)
        same(h, 6 * x)


def test_copy_of_reshape():
    array = np.arange(6.0)
    assert np.shares_memory(mt.reshape(array, (2, 3)), array)
    assert np.shares_memory(mt.reshape(array, (2, 3), copy=False), array)
    assert not np.shares_memory(mt.reshape(array, (2, 3), copy=True), array)
    assert mt.reshape([1.0, 2.0], (2, 1), copy=True).shape == (2, 1)
    x = mt.tensor(array, requires_grad=True)
    for copy in (None, True, False):
        for y in (mt.reshape(x, (2, 3), copy=copy), x.reshape(2, 3, copy=copy), x.reshape((2, 3), copy=copy)):
            same(y, array.reshape(2, 3))
            g = mt.grad(y * y, x, np.ones((2, 3)), create_graph=True)
            same(g, 2 * array)
            same(mt.grad(g, x, np.ones(6)), np.full(6, 2.0))
    assert mt.reshape(mt.zeros((0, 2)), (4, 0), copy=False).shape == (4, 0)
    for strided in (np.ones((2, 3)).T, mt.ones((2, 3)).T):
        with pytest.raises(ValueError, match=r"^reshape: copy=False.* pass copy=None"):
            mt.reshape(strided, (6,), copy=False)


@pytest.mark.parametrize("copy", ["no", 1, np.ones(2)])
def test_a_copy_that_is_neither_yes_nor_no_is_refused(copy):
    for call in (lambda x: mt.reshape(x, (3,), copy=copy), lambda x: mt.astype(x, "float32", copy=copy)):
        for x in (np.ones(3), mt.ones(3)):
            with pytest.raises(TypeError, match=r"^(reshape|astype): copy is .* must be True, False or None"):
                call(x)


def test_copy_and_device_of_astype():
    array = np.arange(3.0)
    assert mt.astype(array, "float64", copy=False) is array
    assert not np.shares_memory(mt.astype(array, "float64"), array)
    assert mt.astype(array, "float32", copy=False).dtype == np.float32
    x = mt.tensor(array, requires_grad=True)
    for copy, device, dtype in itertools.product((True, False), (None, "cpu"), FLOATS):
        y = x.astype(dtype, copy=copy, device=device)
        assert y.dtype == dtype
        g = mt.grad(y * y, x, np.ones(3, dtype), create_graph=True)
        same(g, 2 * array)
        same(mt.grad(g, x, np.ones(3)), np.full(3, 2.0))


@pytest.mark.parametrize(("name", "arguments"), [*CREATED, ("astype", ([1.0], "float32"))])
def test_the_cpu_is_the_only_device(name, arguments):
    function = getattr(mt, name)
    for device in (None, "cpu", np.zeros(1).device):
        function(*arguments, device=device)
    for device in ("cuda", "gpu", 0, np.zeros(2)):
        with pytest.raises(ValueError, match=rf"^{name}: device is .*; it must be None or 'cpu'"):
            function(*arguments, device=device)


def test_equal_elements_keep_their_order_whatever_stable_says():
    x = mt.tensor([2.0, 1.0, 2.0, 1.0], requires_grad=True)
    for stable, descending in itertools.product((True, False), (True, False)):
        y = mt.sort(x, descending=descending, stable=stable)
        same(y, np.sort(x.numpy())[:: -1 if descending else 1])
        g = mt.grad(y, x, np.array([1.0, 2.0, 3.0, 4.0]))
        same(g, [1.0, 3.0, 2.0, 4.0] if descending else [3.0, 1.0, 4.0, 2.0])


@pytest.mark.parametrize("k", [-9, -2, -1, 0, 1, 3, 9, np.int64(1)])
def test_eye_has_its_ones_on_the_kth_diagonal(k):
    same(mt.eye(3, k=k), np.eye(3, k=k))
    same(mt.eye(2, 4, k=k, dtype="int8"), np.eye(2, 4, k=k, dtype="int8"))


# --- NumPy's positions ------------------------------------------------------------------------------------

# By position and by name; a list of integers stands for indices.
POSITIONS = [
    *[(name, (0, True), {"axis": 0, "keepdims": True}) for name in ("sum", "mean", "max", "min", "prod")],
    *[(name, (0, True), {"axis": 0, "keepdims": True}) for name in ("argmax", "argmin", "any", "all", "logsumexp")],
    *[(name, (1, 1, True), {"axis": 1, "correction": 1, "keepdims": True}) for name in ("var", "std")],
    *[(name, (0,), {"axis": 0}) for name in ("cumsum", "flip", "sort", "softmax", "log_softmax")],
    ("norm", (0, True, 1), {"axis": 0, "keepdims": True, "ord": 1}),
    ("sort", (0, True, False), {"axis": 0, "descending": True, "stable": False}),
    ("reshape", ((3, 2),), {"shape": (3, 2)}),
    ("broadcast_to", ((2, 2, 3),), {"shape": (2, 2, 3)}),
    ("permute_dims", ((1, 0),), {"axes": (1, 0)}),
    ("astype", ("float32",), {"dtype": "float32"}),
    ("round", (1,), {"decimals": 1}),
    ("take", ([1, 0], 1), {"indices": [1, 0], "axis": 1}),
    ("take_along_axis", ([[0], [1]], 1), {"indices": [[0], [1]], "axis": 1}),
    ("pick", ([1, 0], 1), {"axis": 1}),
    ("repeat", (2, 0), {"repeats": 2, "axis": 0}),
    ("roll", (1, 0), {"shift": 1, "axis": 0}),
    ("tile", ((2, 1),), {"repetitions": (2, 1)}),
    ("clip", (0, 2), {"min": 0, "max": 2}),
    ("expand_dims", (1,), {"axis": 1}),
    ("squeeze", ((),), {"axis": ()}),
    ("moveaxis", (0, 1), {"source": 0, "destination": 1}),
    ("swapaxes", (0, 1), {"axis1": 0, "axis2": 1}),
    ("flatten", (0, 1), {"start_axis": 0, "end_axis": 1}),
    ("split", (1, 1), {"sizes": 1, "axis": 1}),
    ("pad", ([(0, 1), (1, 0)], 2.0), {"widths": [(0, 1), (1, 0)], "value": 2.0}),
    ("tril", (-1,), {"k": -1}),
    ("triu", (1,), {"k": 1}),
    ("gelu", ("tanh",), {"approximate": "tanh"}),
    ("elu", (0.5,), {"alpha": 0.5}),
    ("leaky_relu", (0.5,), {"negative_slope": 0.5}),
    ("hardtanh", (-0.5, 2), {"min_val": -0.5, "max_val": 2}),
    ("tensordot", (X, 2), {"axes": 2}),
]
LISTS_REFUSED = {"softmax", "log_softmax", "logsumexp", "gelu", "elu", "leaky_relu", "hardtanh"}


def all_equal(found, wanted):
    for a, b in zip(
        found if isinstance(found, list) else [found], wanted if isinstance(wanted, list) else [wanted], strict=True
    ):
        same(a, value_of(b))


@pytest.mark.parametrize(("name", "placed", "named"), POSITIONS, ids=[f"{p[0]}-{i}" for i, p in enumerate(POSITIONS)])
def test_by_position_is_the_same_as_by_name(name, placed, named):
    function = getattr(mt, name)
    before = placed[: len(placed) - len(named)]
    x = mt.tensor(X, requires_grad=True)
    wanted = function(X, *before, **named)
    for given in (x, X, X.tolist()):
        if given is not x and type(given) is list and name in LISTS_REFUSED:
            with pytest.raises(TypeError, match=rf"^{name}: input is of type list; .*mt\.tensor"):
                function(given, *placed)
            continue
        all_equal(function(given, *placed), wanted)
        all_equal(function(given, *before, **named), wanted)
    all_equal(getattr(x, name)(*placed), wanted)
    all_equal(getattr(x, name)(*before, **named), wanted)


def test_sizes_and_axes_of_methods_stand_alone_or_in_a_tuple():
    x = mt.tensor(X)
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape([3, 2]), x.reshape(3, -1), x.reshape(shape=(3, 2))):
        same(y, X.reshape(3, 2))
    for y in (x.permute_dims(1, 0), x.permute_dims((1, 0)), x.permute_dims(axes=(1, 0)), x.permute_dims()):
        same(y, X.T)
    for y in (x.broadcast_to(2, 2, 3), x.broadcast_to((2, 2, 3)), x.broadcast_to(shape=(2, 2, 3))):
        same(y, np.broadcast_to(X, (2, 2, 3)))
    same(mt.tensor([2.0]).reshape(()), np.array(2.0))


def test_joins_take_the_axis_by_position():
    for pieces in ([mt.tensor(X), mt.tensor(X)], [X, X], [X.tolist(), X.tolist()], (mt.tensor(X), X)):
        same(mt.concat(pieces, 1), np.concatenate([X, X], 1))
        same(mt.concat(pieces, None), np.concatenate([X, X], None))
        same(mt.stack(pieces, 1), np.stack([X, X], 1))


# The third of NumPy's positions, or a later one, means something else there.
ELSEWHERE = [
    *[(name, (0, np.float32), "keepdims") for name in ("sum", "mean", "max", "min", "prod", "logsumexp", "norm")],
    *[(name, (0, wrong), "keepdims") for name in ("argmax", "argmin", "any", "all") for wrong in (None, np.float32)],
    *[(name, (0, wrong), "correction") for name in ("var", "std") for wrong in (None, np.float32, True, "1")],
    *[(name, (0, 0, np.float32), "keepdims") for name in ("var", "std")],
    *[("sort", (0, kind), "descending") for kind in ("stable", "quicksort", None)],
    ("pad", ([(0, 0), (1, 1)], "constant"), "value"),
]


@pytest.mark.parametrize(("name", "placed", "named"), ELSEWHERE)
def test_what_means_something_else_to_numpy_is_refused_by_name(name, placed, named):
    for call in (lambda: getattr(mt, name)(mt.tensor(X), *placed), lambda: getattr(mt.tensor(X), name)(*placed)):
        with pytest.raises(TypeError, match=rf"^{name}: {named} (is|has) "):
            call()


# --- old names --------------------------------------------------------------------------------------------


def test_old_keywords_are_taken_for_one_release():
    x = mt.tensor(X)
    cases = [
        ("clip", "low", "min", lambda **k: mt.clip(x, **k), 0.0),
        ("clip", "high", "max", lambda **k: mt.clip(x, **k), 2.0),
        ("clip", "low", "min", lambda **k: x.clip(**k), 0.0),
        ("full", "value", "fill_value", lambda **k: mt.full((2,), **k), 3.0),
        ("concat", "pieces", "arrays", lambda **k: mt.concat(axis=1, **k), [x, x]),
        ("stack", "pieces", "arrays", lambda **k: mt.stack(axis=1, **k), [x, x]),
    ]
    for name, old, new, function, given in cases:
        with pytest.warns(DeprecationWarning, match=rf"^{name}: {old}= is now called {new}=") as caught:
            found = function(**{old: given})
        assert [w.filename for w in caught] == [__file__]
        same(found, value_of(function(**{new: given})))
        with pytest.raises(TypeError, match=rf"^{name}: {old}= is the old name of {new}="):
            function(**{old: given, new: given})


def test_the_old_name_of_the_rules_as_text_is_taken_for_one_release():
    with pytest.warns(DeprecationWarning, match="rule_text=") as caught:
        twice = Primitive("twice", lambda x: 2 * x, lambda g, y, x: 2 * g, shown=("2g",))
    assert caught[0].filename == __file__
    assert twice.rule_text == ("2g",)


# --- wrong calls ------------------------------------------------------------------------------------------

SPACES = {"mt": mt, "mt.norms": mt.norms, "mt.nn.functional": mt.nn.functional}
FUNCTIONS = {
    f"{space}.{name}": getattr(module, name)
    for space, module in SPACES.items()
    for name in getattr(module, "__all__", [])
    if isinstance(getattr(module, name), types.FunctionType)
}
PRIVATE = re.compile(r"<lambda>|<locals>|(?<![\w.])_\w+")


def refused(name, function, *args, **options):
    """A call that binds to nothing raises TypeError under the public name, and shows no other."""
    with pytest.raises(TypeError) as raised:
        function(*args, **options)
    message = str(raised.value)
    assert re.match(rf"(Tensor\.)?{name}(:|\()", message), message
    assert not PRIVATE.search(message), message
    return message


@pytest.mark.parametrize("name", mt.ops.primitives)
def test_a_wrong_call_of_a_primitive_shows_the_right_one(name):
    operation = mt.ops.primitives[name]
    signature = inspect.signature(operation)
    shown = f"the call is {name}{signature}"
    arrays = [mt.ones((2, 3), requires_grad=True)] * (operation.arity or 2)
    needed = {
        k: (2, 3) for k, p in signature.parameters.items() if p.kind != p.POSITIONAL_ONLY and p.default is p.empty
    }
    needed.pop("pieces", None)
    needed.pop("operands", None)
    assert shown in refused(name, operation, *arrays, **needed, nope=1)
    assert shown in refused(name, operation, *arrays, **needed, out=np.ones(2))
    assert shown in refused(name, operation, *arrays, **needed, where=True)
    if operation.arity is None:
        return
    assert shown in refused(name, operation)
    assert shown in refused(name, operation, *arrays[:-1], **needed)
    assert shown in refused(name, operation, *arrays, *[None] * 9)
    first, *_ = signature.parameters
    by_keyword = refused(name, operation, *arrays[1:], **needed, **{first: arrays[0]})
    assert shown in by_keyword
    options = [k for k, p in signature.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if options:
        assert shown in refused(name, operation, *arrays, *[None] * len(options), **{options[0]: None})
        lost = refused(
            name, operation, *arrays, mt.tensor(1.0, requires_grad=True), **{k: 1 for k in needed if k != options[0]}
        )
        assert options[0] in lost


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_call_of_a_function_names_it(name):
    function, public = FUNCTIONS[name], name.rpartition(".")[2]
    if function is mt.gradgradcheck:
        # It hands its options on.
        public = "(gradgradcheck|gradcheck)"
    parameters = list(inspect.signature(function).parameters.values())
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    x = mt.ones((2, 3))
    assert "nope" in refused(public, function, *[x] * len(needed), nope=1)
    if needed:
        refused(public, function)
        if needed[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            assert needed[0].name in refused(public, function, *[x] * len(needed), **{needed[0].name: x})
    if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        refused(public, function, *[x] * 60)


def test_a_wrong_call_of_a_method_names_it():
    x = mt.tensor(X, requires_grad=True)
    for name in dir(mt.Tensor):
        # What only tells another spelling is no method.
        method = getattr(mt.Tensor, name, None)
        if not name.startswith("_") and callable(method):
            refused(name, getattr(x, name), nope=1)
            if name not in ("reshape", "permute_dims", "broadcast_to"):
                refused(name, getattr(x, name), *[x] * 60)


def test_operators_and_help_have_the_names_of_python():
    x = mt.tensor(X)
    for name in ("__add__", "__rsub__", "__lt__", "__eq__", "__iadd__", "__pow__", "__rmatmul__", "__getitem__"):
        refused(name, getattr(x, name))
    text = pydoc.render_doc(mt.Tensor, renderer=pydoc.plaintext).replace("'", "")
    assert not re.search(r"lambda|<locals>|Protocols|See :func:", text)
    for line in ("softmax(x: Tensor, axis: Axis = -1)", "sum(x, /, axis=None, keepdims=False, *, dtype=None)"):
        assert line in text


def test_an_option_with_a_gradient_is_refused_where_it_would_be_lost():
    x, one = mt.tensor(X, requires_grad=True), mt.tensor(1.0, requires_grad=True)
    for name, option in [("sum", "axis"), ("mean", "keepdims"), ("reshape", "shape"), ("norm", "ord")]:
        message = refused(name, getattr(mt, name), x, **{option: one})
        assert option in message
    scaled = mt.primitive("scaled", lambda x, k=1.0: x * k, lambda g, y, x, k=1.0: g * k)
    with pytest.raises(TypeError, match=r"scaled: no rule for k; .*detach"):
        scaled(x, one)
    with pytest.raises(TypeError, match="requires a gradient, which NumPy would lose"):
        scaled(x, k=one)
    same(scaled(x, 2.0), 2 * X)
    same(scaled(x, k=2.0), 2 * X)


def test_bounds_and_slopes_have_gradients_of_their_own():
    x, one = mt.tensor(X), mt.tensor(1.0, requires_grad=True)
    same(mt.grad(mt.clip(x, one).sum(), one), 2.0 + (X == 1).sum() * 0)
    same(mt.grad(mt.leaky_relu(x, one).sum(), one), X[X < 0].sum())


def test_einsum_says_that_the_subscripts_come_first():
    with pytest.raises(TypeError, match=r"^einsum: subscripts is a Tensor; write a text"):
        mt.einsum(mt.tensor(X), "ij->")


# --- what help and editors show ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", mt.ops.primitives)
def test_the_signature_of_a_primitive_is_real(name):
    operation = mt.ops.primitives[name]
    signature = inspect.signature(operation)
    parameters = list(signature.parameters.values())
    arrays = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
    assert len(arrays) == (operation.arity or 1)
    assert not any(p.kind is p.VAR_KEYWORD or p.name in ("out", "args", "kwargs") for p in parameters)
    assert (operation.__name__, operation.__qualname__) == (name, name)
    assert operation.__doc__.strip()


def test_signatures_that_the_documentation_promises():
    shown = {name: str(inspect.signature(getattr(mt, name))) for name in ("sum", "reshape", "astype", "exp", "add")}
    assert shown == {
        "sum": "(x, /, axis=None, keepdims=False, *, dtype=None)",
        "reshape": "(x, /, shape, *, copy=None)",
        "astype": "(x, /, dtype, *, copy=True, device=None)",
        "exp": "(x, /)",
        "add": "(x1, x2, /)",
    }


@pytest.mark.parametrize("name", ["softmax", "sum", "clip", "matmul", "reshape", "abs", "var"])
def test_help_of_a_method_shows_the_text_of_the_function(name):
    text = pydoc.render_doc(getattr(mt.Tensor, name), renderer=pydoc.plaintext)
    first = getattr(mt, name).__doc__.splitlines()[0]
    assert first in text
    assert re.search(rf"^{name}\(\s*x", text, re.MULTILINE) or name == "matmul"
    assert "See :func:" not in text
    assert first in pydoc.render_doc(getattr(mt, name), renderer=pydoc.plaintext)
    assert first in pydoc.render_doc(getattr(mt.tensor(X), name), renderer=pydoc.plaintext)


def test_an_editor_completes_calls():
    jedi = pytest.importorskip("jedi")
    space = {"mt": mt, "x": mt.tensor(X)}
    for code, parameters in [
        ("mt.sum(", ["x", "axis", "keepdims", "dtype"]),
        ("mt.clip(", ["x", "min", "max"]),
        ("x.sum(", ["axis", "keepdims", "dtype"]),
        ("x.softmax(", ["axis"]),
        ("x.reshape(", ["shape", "copy"]),
    ]:
        (signature,) = jedi.Interpreter(code, [space]).get_signatures()
        assert [p.name for p in signature.params] == parameters
    assert "softmax" in [c.name for c in jedi.Interpreter("x.soft", [space]).complete()]


def test_a_primitive_of_ones_own_has_the_signature_of_its_forward_function():
    def forward(x, k=2.0, *, m=0.0):
        return x * k + m

    scaled = Primitive("scaled", forward, lambda g, y, x, k=2.0, m=0.0: g * k)
    assert str(inspect.signature(scaled)) == "(x, /, k=2.0, *, m=0.0)"
    same(scaled(mt.tensor(X), 3.0, m=1.0), X * 3 + 1)
    assert "the call is scaled(x, /, k=2.0, *, m=0.0)" in refused("scaled", scaled, X, 1.0, 2.0)
