"""Axes and sizes as arguments: every spelling works in both directions, or forward refuses it by name."""

import inspect
import math
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

import microtensor as mt

# --- the spellings ----------------------------------------------------------------------------------------

# What is written, and what it means.
MEANT = {
    "int": (1, 1),
    "negative": (-2, -2),
    "numpy": (np.int64(1), 1),
    "uint8": (np.uint8(1), 1),
    "array of no axes": (np.array(1), 1),
    "tensor of no axes": (mt.tensor(1), 1),
    "none": (None, None),
    "no axes": ((), ()),
    "empty list": ([], ()),
    "tuple of one": ((1,), (1,)),
    "list of one": ([1], (1,)),
    "array of one": (np.array([1]), (1,)),
    "tensor of one": (mt.tensor([1]), (1,)),
    "tuple": ((2, 0), (2, 0)),
    "negative tuple": ((-1, 0), (-1, 0)),
    "list": ([0, 2], (0, 2)),
    "numpy tuple": ((np.int64(0), np.int8(-1)), (0, -1)),
    "range": (range(2), (0, 1)),
    "array": (np.array([0, 2]), (0, 2)),
    "tensor": (mt.tensor([0, 2]), (0, 2)),
    "list of tensors": ([mt.tensor(0), np.array(2)], (0, 2)),
    "all": ((2, 1, 0), (2, 1, 0)),
}
# What has no meaning anywhere, and the exception.
SENSELESS = {
    "bool": (True, TypeError),
    "numpy bool": (np.True_, TypeError),
    "bool array": (np.array(True), TypeError),
    "bool in a tuple": ((0, True), TypeError),
    "bool tensor": (mt.tensor([True, False]), TypeError),
    "float": (1.0, TypeError),
    "numpy float": (np.float64(1), TypeError),
    "float array": (np.array(1.0), TypeError),
    "float in a list": ([0, 1.0], TypeError),
    "float tensor": (mt.tensor([1.0, 2.0]), TypeError),
    "nan": (math.nan, TypeError),
    "text": ("1", TypeError),
    "set": ({0}, TypeError),
    "matrix": (np.array([[0, 1]]), TypeError),
    "nested": (((0, 1),), TypeError),
    "beyond": (7, np.exceptions.AxisError),
    "before": (-8, np.exceptions.AxisError),
    "huge": (2**70, np.exceptions.AxisError),
}
SENSELESS_TOGETHER = {
    "twice": ((1, 1), ValueError),
    "twice by another name": ((1, -2), ValueError),
    "one beyond": ([0, 7], np.exceptions.AxisError),
}
SPELLINGS = (
    MEANT
    | {name: (written, None) for name, (written, _) in SENSELESS.items()}
    | {name: (written, written) for name, (written, _) in SENSELESS_TOGETHER.items()}
)
SEVERAL = [name for name, (_, plain) in MEANT.items() if isinstance(plain, tuple)]


# --- the functions ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A function and one of its arguments: the same in NumPy, and how it is called."""

    reference: Callable
    call: Callable = lambda f, x, a: f(x, axis=a)
    shape: tuple = (2, 3, 4)
    smooth: bool = True


def several(axis):
    """An axis as SciPy and NumPy's reductions want it."""
    return tuple(axis) if isinstance(axis, list) else axis


def count(axis):
    return len(axis) if isinstance(axis, tuple | list | range) or np.ndim(axis) else 1


def np_logsumexp(x, a):
    return np.log(np.exp(x).sum(axis=a))


def np_softmax(x, a):
    return np.exp(x) / np.exp(x).sum(axis=a, keepdims=True)


def np_standardize(x, a):
    return (x - x.mean(axis=a, keepdims=True)) / np.sqrt(x.var(axis=a, keepdims=True) + 1e-5)


def np_pick(x, a):
    return np.take_along_axis(x, np.expand_dims(PLACES, a), axis=a).squeeze(a)


def np_scatter(x, a):
    y = x.copy()
    np.add.at(y, tuple(ALONG if i == a % 3 else grid for i, grid in enumerate(np.ogrid[:3, :3, :3])), UPDATES)
    return y


def np_place(x, a):
    y = np.zeros((*x.shape[: a % 4], 5, *x.shape[a % 4 :]))
    np.put_along_axis(y, np.expand_dims(ALONG, a), np.expand_dims(x, a), axis=a)
    return y


def np_flatten(x, first, last):
    first, last = first % 3, last % 3
    return x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


PLACES = np.array([[0, 2, 1], [1, 1, 0], [2, 0, 2]])
ALONG = np.random.default_rng(0).integers(0, 3, (3, 3, 3))
UPDATES = np.random.default_rng(1).normal(size=(3, 3, 3))
OTHER = np.random.default_rng(2).normal(size=(2, 3, 4))

ROWS = {
    ("sum", "axis"): Row(lambda x, a: x.sum(axis=a)),
    ("mean", "axis"): Row(lambda x, a: x.mean(axis=a)),
    ("max", "axis"): Row(lambda x, a: x.max(axis=a)),
    ("min", "axis"): Row(lambda x, a: x.min(axis=a)),
    ("prod", "axis"): Row(lambda x, a: x.prod(axis=a)),
    ("var", "axis"): Row(lambda x, a: x.var(axis=a)),
    ("std", "axis"): Row(lambda x, a: x.std(axis=a)),
    ("norm", "axis"): Row(lambda x, a: np.sqrt(np.square(x).sum(axis=a))),
    ("logsumexp", "axis"): Row(np_logsumexp),
    ("softmax", "axis"): Row(np_softmax),
    ("log_softmax", "axis"): Row(lambda x, a: np.log(np_softmax(x, a))),
    ("standardize", "axis"): Row(np_standardize),
    ("any", "axis"): Row(lambda x, a: np.any(x > 0, axis=a), lambda f, x, a: f(mt.tensor(x > 0), axis=a), smooth=False),
    ("all", "axis"): Row(lambda x, a: np.all(x > 0, axis=a), lambda f, x, a: f(mt.tensor(x > 0), axis=a), smooth=False),
    ("argmax", "axis"): Row(lambda x, a: np.argmax(x, axis=a), smooth=False),
    ("argmin", "axis"): Row(lambda x, a: np.argmin(x, axis=a), smooth=False),
    ("cumsum", "axis"): Row(lambda x, a: np.cumsum(x, axis=a)),
    ("sort", "axis"): Row(lambda x, a: np.sort(x, axis=a)),
    ("flip", "axis"): Row(lambda x, a: np.flip(x, axis=a)),
    ("roll", "axis"): Row(lambda x, a: np.roll(x, 3, axis=a), lambda f, x, a: f(x, 3, axis=a)),
    ("repeat", "axis"): Row(lambda x, a: np.repeat(x, 2, axis=a), lambda f, x, a: f(x, 2, axis=a)),
    ("take", "axis"): Row(
        lambda x, a: np.take(x, [[1, 0], [1, -1]], axis=a), lambda f, x, a: f(x, [[1, 0], [1, -1]], axis=a)
    ),
    ("take_along_axis", "axis"): Row(
        lambda x, a: np.take_along_axis(x, ALONG if a is not None else ALONG.ravel(), axis=a),
        lambda f, x, a: f(x, ALONG if a is not None else ALONG.ravel(), axis=a),
        (3, 3, 3),
    ),
    ("scatter_add", "axis"): Row(np_scatter, lambda f, x, a: f(x, ALONG, mt.tensor(UPDATES), axis=a), (3, 3, 3)),
    ("pick", "axis"): Row(np_pick, lambda f, x, a: f(x, PLACES, axis=a), (3, 3, 3)),
    ("place", "axis"): Row(np_place, lambda f, x, a: f(x, ALONG, axis=a, size=5), (3, 3, 3)),
    ("concat", "axis"): Row(
        lambda x, a: np.concatenate([x, OTHER, 2 * x], axis=a), lambda f, x, a: f([x, OTHER, x * 2], axis=a)
    ),
    ("stack", "axis"): Row(
        lambda x, a: np.stack([x, OTHER, 2 * x], axis=a), lambda f, x, a: f([x, OTHER, x * 2], axis=a)
    ),
    ("split", "axis"): Row(
        lambda x, a: np.split(x, [2], axis=a)[1], lambda f, x, a: f(x, [2, 1], axis=a)[1], (3, 3, 3)
    ),
    ("squeeze", "axis"): Row(lambda x, a: np.squeeze(x, axis=a), shape=(1, 1, 1)),
    ("expand_dims", "axis"): Row(lambda x, a: np.expand_dims(x, a)),
    ("swapaxes", "axis1"): Row(lambda x, a: np.swapaxes(x, a, 2), lambda f, x, a: f(x, a, 2)),
    ("swapaxes", "axis2"): Row(lambda x, a: np.swapaxes(x, 0, a), lambda f, x, a: f(x, 0, a)),
    ("moveaxis", "source"): Row(
        lambda x, a: np.moveaxis(x, a, tuple(range(count(a)))), lambda f, x, a: f(x, a, list(range(count(a))))
    ),
    ("moveaxis", "destination"): Row(
        lambda x, a: np.moveaxis(x, tuple(range(count(a))), a), lambda f, x, a: f(x, list(range(count(a))), a)
    ),
    ("flatten", "start_axis"): Row(lambda x, a: np_flatten(x, a, 2), lambda f, x, a: f(x, a)),
    ("flatten", "end_axis"): Row(lambda x, a: np_flatten(x, 0, a), lambda f, x, a: f(x, 0, a)),
    ("permute_dims", "axes"): Row(
        lambda x, a: np.transpose(x, a), lambda f, x, a: f(x, a) if f is METHOD else f(x, axes=a)
    ),
    ("tensordot", "axes"): Row(
        lambda x, a: np.tensordot(x, OTHER, axes=(a, a)), lambda f, x, a: f(x, mt.tensor(OTHER), axes=(a, a))
    ),
    ("weight_norm", "dim"): Row(
        lambda x, a: x / np.sqrt(np.square(x).sum(axis=others(a), keepdims=True)),
        lambda f, x, a: f(x, mt.ones(lengths(x, a)), a),
    ),
    ("spectral_norm", "dim"): Row(
        lambda x, a: x / (np.moveaxis(x, a, 0).reshape(3, 9) @ np.ones(9)).sum(),
        lambda f, x, a: f(x, mt.ones(3), mt.ones(9), 0, dim=a),
        (3, 3, 3),
    ),
}
METHOD = mt.Tensor.permute_dims


def others(axis):
    return None if axis is None else tuple(i for i in range(3) if i != axis % 3)


def lengths(x, axis):
    try:
        axis = None if axis is None or isinstance(axis, np.bool_) else operator.index(axis)
        return np.square(x.numpy()).sum(axis=others(axis), keepdims=axis is not None).shape
    except (TypeError, ValueError):
        return ()


ALONG_ONE_AXIS = [
    *("argmax", "argmin", "cumsum", "sort", "repeat", "take", "take_along_axis", "scatter_add", "pick", "place"),
    *("concat", "stack", "split", "swapaxes", "flatten", "weight_norm", "spectral_norm"),
]
NONE_IS_NO_AXIS = [
    *("scatter_add", "pick", "place", "stack", "split", "expand_dims", "swapaxes", "moveaxis", "flatten", "tensordot"),
    "spectral_norm",
]


def refusals():
    """All that may be refused: (function, argument, spelling) → the exception."""
    for name, argument in ROWS:
        for spelling, (_, kind) in SENSELESS.items():
            yield (name, argument, spelling), kind
        for spelling, (_, kind) in SENSELESS_TOGETHER.items():
            yield (name, argument, spelling), TypeError if name in ALONG_ONE_AXIS else kind
        if name in ALONG_ONE_AXIS:
            yield from (((name, argument, spelling), TypeError) for spelling in SEVERAL)
        if name in NONE_IS_NO_AXIS:
            yield (name, argument, "none"), TypeError
    # A permutation names every axis.
    for spelling, (_, plain) in MEANT.items():
        if plain is not None and count(plain) != 3:
            yield ("permute_dims", "axes", spelling), ValueError


REFUSED = dict(refusals())
# NumPy lets an axis that is named twice roll twice, and expand_dims counts from the end of the result.
del REFUSED["roll", "axis", "twice"], REFUSED["roll", "axis", "twice by another name"]
del REFUSED["expand_dims", "axis", "twice by another name"]


def drawn(shape):
    """Distinct positive values in random order, so that no kink is near."""
    size = math.prod(shape)
    return np.random.default_rng(size).permutation(np.linspace(0.5, 2.0, size)).reshape(shape)


def of(name):
    """A function in all the ways in which it can be called: from the package, and as a method."""
    places = (mt, mt.norms, mt.random, mt.ops, mt.nn.functional)
    found = [next(getattr(place, name) for place in places if hasattr(place, name))]
    method = vars(mt.Tensor).get(name)
    return found if method is None else [*found, method]


def assert_gradients_are_right(function, reference, x, note):
    """Of order 1 against differences of the NumPy function, of order 2 against differences of the first."""
    rng = np.random.default_rng(3)
    leaf = mt.tensor(x, requires_grad=True)
    y = function(leaf)
    cotangent, v, w = rng.normal(size=y.shape), rng.normal(size=x.shape), rng.normal(size=x.shape)
    g = mt.grad(y, leaf, cotangent, create_graph=True)
    h = 1e-6
    numeric = np.sum(cotangent * (reference(x + h * v) - reference(x - h * v))) / (2 * h)
    np.testing.assert_allclose(np.sum(g.numpy() * v), numeric, rtol=1e-6, atol=1e-6, err_msg=note)
    second = mt.grad(g, leaf, w, allow_unused=True) if g.requires_grad else None

    def first(at):
        moved = mt.tensor(at, requires_grad=True)
        return mt.grad(function(moved), moved, cotangent).numpy()

    numeric = np.sum(w * (first(x + h * v) - first(x - h * v))) / (2 * h)
    analytic = 0.0 if second is None else np.sum(second.numpy() * v)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-5, err_msg=note)


@pytest.mark.parametrize(("name", "argument"), ROWS)
def test_every_spelling_of_an_axis_works_in_both_directions_or_is_refused(name, argument):
    row = ROWS[name, argument]
    x = drawn(row.shape)
    for spelling, (written, plain) in SPELLINGS.items():
        note = f"{name}({argument}={written!r})"
        for function in of(name):

            def called(at, function=function, written=written):
                return row.call(function, at, written)

            kind = REFUSED.get((name, argument, spelling))
            if kind is not None:
                with pytest.raises(kind, match=f"^{name}: ") as raised:
                    called(mt.tensor(x, requires_grad=True))
                assert type(raised.value) is kind, note
                continue
            expected = np.asarray(row.reference(x, plain))
            found = called(mt.tensor(x) if name not in ("any", "all") else x)
            found = found.numpy() if isinstance(found, mt.Tensor) else found
            assert found.shape == expected.shape, note
            np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=note)
            # The root of a variance of 0 has no derivative.
            if row.smooth and (name, plain) != ("std", ()):
                assert_gradients_are_right(called, lambda at, plain=plain: row.reference(at, plain), x, note)


def test_no_row_of_the_refusals_is_without_a_call():
    assert set(REFUSED) <= {(*row, spelling) for row in ROWS for spelling in SPELLINGS}


# --- nothing is forgotten ---------------------------------------------------------------------------------

AXIS_NAMES = {"axis", "axes", "axis1", "axis2", "source", "destination", "start_axis", "end_axis", "dim", "dims"}
SIZE_NAMES = {
    *("shape", "repetitions", "repeats", "sizes", "shift", "normalized_shape", "output_size", "kernel_size", "stride"),
    *("padding", "dilation", "output_padding", "widths", "window", "positions", "rows", "columns", "size", "k"),
}


def parameters(function):
    try:
        return inspect.signature(function).parameters
    except ValueError:
        # NumPy's functions of elements, and some others of older versions, have no signature, and no axis.
        return {}


def public_functions():
    """The functions of the package that take arguments of their own, by name."""
    for place in (mt, mt.norms, mt.nn.functional):
        for name in place.__all__:
            value = getattr(place, name)
            if callable(value) and not inspect.isclass(value):
                yield name, value
    yield from mt.ops.primitives.items()
    for name, function in vars(mt.random).items():
        if inspect.isfunction(function) and function.__module__ == mt.random.__name__ and not name.startswith("_"):
            yield name, function
    for name, method in vars(mt.Tensor).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            yield name, method


def test_every_axis_like_argument_has_a_row():
    found = {(name, argument) for name, function in public_functions() for argument in parameters(function)}
    axes = {(name, argument) for name, argument in found if argument in AXIS_NAMES}
    assert axes == set(ROWS)
    assert {(name, argument) for name, argument in found if argument in SIZE_NAMES} == set(SIZES) | INSIDE


def test_what_is_recorded_is_plain():
    x = mt.tensor(drawn((2, 3, 4)), requires_grad=True)
    for y in (
        *(function(x, axis=[np.int64(0), -1]) for function in (mt.sum, mt.mean, mt.max, mt.prod)),
        mt.cumsum(x, axis=np.array(1)),
        mt.permute_dims(x, axes=mt.tensor([2, 0, 1])),
        mt.reshape(x, shape=np.array([4, -1])),
        mt.broadcast_to(x, shape=[np.int8(5), 2, 3, 4]),
        mt.pick(mt.reshape(x, shape=(6, 4)), [0] * 6, axis=mt.tensor(1)),
        mt.concat([x, x], axis=np.int64(-1)),
    ):
        (value,) = (value for key, value in y.node.params.items() if key in ("axis", "axes", "shape"))
        assert type(value) in (int, tuple)
        assert all(type(n) is int for n in (value if type(value) is tuple else (value,)))


# --- sizes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """A function and one of its sizes: one alone, several, the same in NumPy, and what else has a meaning."""

    call: Callable
    one: int | None
    several: tuple | None
    reference: Callable | None = None
    shape: tuple = (2, 3, 4)
    meant: tuple = ()


def windowed(argument, one=1, shape=(2, 3, 7, 8), meant=(), **settings):
    """A row of a function over windows of an image."""
    return Sizes(lambda f, x, a: f(x, **settings, **{argument: a}), one, (one, one), shape=shape, meant=meant)


def convolved(argument, one=1, shape=(2, 3, 7, 8), **settings):
    weight = mt.tensor(drawn((3, 3, *(3,) * (len(shape) - 2))))
    return Sizes(
        lambda f, x, a: f(x, weight, **settings, **{argument: a}),
        one,
        (one,) * (len(shape) - 2),
        shape=shape,
        meant=("10**12", "huge") if argument == "stride" and "conv_transpose2d" not in settings else (),
    )


# A stride beyond the input leaves one window, a roll goes round and round, and a diagonal may lie outside.
FAR = ("10**12", "huge")


def pooled(count):
    """The rows of the poolings of ``nn.functional`` with so many axes of positions."""
    beyond = ("none", *FAR)
    rows = [("max", "kernel_size", 2, ()), ("max", "stride", 2, beyond), ("max", "padding", 1, ())]
    rows += [("max", "dilation", 2, ()), ("avg", "kernel_size", 2, ()), ("avg", "stride", 2, beyond)]
    rows += [("avg", "padding", 1, ()), ("adaptive_avg", "output_size", 3, ())]
    for kind, argument, one, meant in rows:
        settings = {} if argument in ("kernel_size", "output_size") else {"kernel_size": 3}
        shape = (2, 3, 7, 8)[: 2 + count]
        row = windowed(argument, one, shape, meant, **settings)
        yield (f"{kind}_pool{count}d", argument), replace(row, several=(one,) * count)


def new(reference):
    return Sizes(lambda f, x, a: f(a), 3, (2, 3), lambda x, a: reference(a))


SIZES = {
    ("reshape", "shape"): Sizes(
        lambda f, x, a: f(x, a) if f is mt.Tensor.reshape else f(x, shape=a),
        24,
        (4, -1),
        np.reshape,
        meant=("minus one",),
    ),
    ("broadcast_to", "shape"): Sizes(
        lambda f, x, a: f(x, a) if f is mt.Tensor.broadcast_to else f(x, shape=a), 3, (2, 3), np.broadcast_to, (1,)
    ),
    ("tile", "repetitions"): Sizes(lambda f, x, a: f(x, a), 2, (2, 1, 3, 2), np.tile),
    ("repeat", "repeats"): Sizes(lambda f, x, a: f(x, a), 2, (1, 0, 2, 3), lambda x, a: np.repeat(x, a, axis=-1)),
    ("roll", "shift"): Sizes(
        lambda f, x, a: f(x, a, axis=(0, 2)),
        3,
        (1, -2),
        lambda x, a: np.roll(x, a, axis=(0, 2)),
        meant=("minus one", "minus three", *FAR),
    ),
    ("split", "sizes"): Sizes(lambda f, x, a: f(x, a, axis=1)[0], 2, (2, 1), lambda x, a: x[:, :2], meant=FAR),
    ("layer_norm", "normalized_shape"): Sizes(
        lambda f, x, a: f(x, a),
        4,
        (3, 4),
        lambda x, a: np_standardize(x, (1, 2) if np.ndim(a) else 2),
    ),
    ("rms_norm", "normalized_shape"): Sizes(lambda f, x, a: f(x, a), 4, (3, 4)),
    ("local_response_norm", "size"): Sizes(lambda f, x, a: f(x, a), 3, None),
    **dict(pooled(1)),
    **dict(pooled(2)),
    ("adaptive_avg_pool", "output_size"): Sizes(lambda f, x, a: f(x, a), 3, (5, 2), shape=(1, 2, 3, 4)),
    ("max_pool", "kernel_size"): windowed("kernel_size", 2),
    ("max_pool", "stride"): windowed("stride", 2, kernel_size=3, meant=("none", *FAR)),
    ("max_pool", "padding"): windowed("padding", 1, kernel_size=3),
    ("max_pool", "dilation"): windowed("dilation", 2, kernel_size=3),
    ("avg_pool", "kernel_size"): windowed("kernel_size", 2),
    ("avg_pool", "stride"): windowed("stride", 2, kernel_size=3, meant=("none", *FAR)),
    ("avg_pool", "padding"): windowed("padding", 1, kernel_size=3),
    ("unfold", "kernel_size"): windowed("kernel_size", 2),
    ("unfold", "stride"): windowed("stride", 2, kernel_size=3, meant=FAR),
    ("unfold", "padding"): windowed("padding", 1, kernel_size=3),
    ("unfold", "dilation"): windowed("dilation", 2, kernel_size=3),
    **{
        (f"conv{n}d", argument): convolved(argument, 2, (2, 3, 8, 7)[: 2 + n])
        for n in (1, 2)
        for argument in ("stride", "padding", "dilation")
    },
    **{
        ("conv_transpose2d", argument): Sizes(
            lambda f, x, a, argument=argument: f(
                x, mt.tensor(drawn((3, 3, 3, 3))), **({"stride": 3} if argument != "stride" else {}), **{argument: a}
            ),
            1,
            (1, 1),
            shape=(1, 3, 4, 5),
        )
        for argument in ("stride", "padding", "dilation", "output_padding")
    },
    ("tril", "k"): Sizes(lambda f, x, a: f(x, a), 1, None, np.tril, meant=("minus one", "minus three", *FAR)),
    ("triu", "k"): Sizes(lambda f, x, a: f(x, a), 1, None, np.triu, meant=("minus one", "minus three", *FAR)),
    ("zeros", "shape"): new(np.zeros),
    ("ones", "shape"): new(np.ones),
    ("full", "shape"): Sizes(lambda f, x, a: f(a, 0.5), 3, (2, 3), lambda x, a: np.full(a, 0.5)),
    ("eye", "rows"): Sizes(lambda f, x, a: f(a, 2), 3, None, lambda x, a: np.eye(a, 2)),
    ("eye", "columns"): Sizes(lambda f, x, a: f(3, a), 2, None, lambda x, a: np.eye(3, a), meant=("none",)),
    ("eye", "k"): Sizes(
        lambda f, x, a: f(3, 4, k=a),
        1,
        None,
        lambda x, a: np.eye(3, 4, k=int(a)),
        meant=("minus one", "minus three", *FAR),
    ),
    **{
        (name, "shape"): Sizes(lambda f, x, a, more=more: f(a, *more, rng=0), 3, (2, 3))
        for name, more in (("normal", ()), ("uniform", ()), ("integers", (0, 9)))
    },
    ("permutation", "size"): Sizes(lambda f, x, a: mt.tensor(f(a, rng=0)), 3, None),
    ("place", "size"): Sizes(lambda f, x, a: f(x, ALONG, axis=0, size=a), 4, None, shape=(3, 3, 3)),
}
# Swept by a test of its own, a number that is no size, and what rules write to each other, which is plain.
INSIDE = {
    ("pad", "widths"),
    ("local_response_norm", "k"),
    *((name, "shape") for name in ("sum_to", "contract_to", "put")),
    *((name, what) for name in ("sliding_windows", "overlap_add") for what in ("window", "stride", "dilation")),
    ("overlap_add", "positions"),
}
NO_SIZE = {
    "bool": (True, TypeError),
    "numpy bool": (np.True_, TypeError),
    "float": (2.0, TypeError),
    "numpy float": (np.float64(2), TypeError),
    "float in a list": ([2.0, 1], TypeError),
    "bool in a tuple": ((True, 1), TypeError),
    "text": ("2", TypeError),
    "none": (None, TypeError),
    "minus one": (-1, ValueError),
    "minus three": (-3, ValueError),
    "10**12": (10**12, ValueError),
    "huge": (2**70, ValueError),
}


def spelt(one, many):
    """Each way to write one size or several, with what it means."""
    if one is not None:
        yield from ((written(one), one) for written in (int, np.int64, np.uint8, np.array, mt.tensor))
    if many is not None:
        yield from ((kind(many), many) for kind in (tuple, list, np.array, mt.tensor))
        yield tuple(map(np.int16, many)), many
        yield [mt.tensor(n) for n in many], many


@pytest.mark.parametrize(("name", "argument"), SIZES)
def test_every_spelling_of_a_size_works_in_both_directions(name, argument):
    row = SIZES[name, argument]
    x = drawn(row.shape)
    rng = np.random.default_rng(4)
    for function in of(name):
        for written, plain in spelt(row.one, row.several):
            note = f"{name}({argument}={written!r})"
            leaf = mt.tensor(x, requires_grad=True)
            y, expected = row.call(function, leaf, written), row.call(function, mt.tensor(x), plain).numpy()
            np.testing.assert_array_equal(y.numpy(), expected, err_msg=note)
            if row.reference is not None:
                np.testing.assert_allclose(y.numpy(), row.reference(x, plain), rtol=1e-12, err_msg=note)
            if not y.requires_grad:
                continue
            cotangent, v = rng.normal(size=y.shape), rng.normal(size=x.shape)
            ahead, behind = (row.call(function, mt.tensor(x + h * v), plain).numpy() for h in (1e-6, -1e-6))
            numeric = np.sum(cotangent * (ahead - behind)) / 2e-6
            analytic = np.sum(mt.grad(y, leaf, cotangent).numpy() * v)
            np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-6, err_msg=note)


@pytest.mark.parametrize(("name", "argument"), SIZES)
def test_what_is_no_size_is_refused_at_once_and_by_name(name, argument):
    row = SIZES[name, argument]
    x = mt.tensor(drawn(row.shape), requires_grad=True)
    for spelling, (written, kind) in NO_SIZE.items():
        for function in of(name):
            if (spelling, argument) == ("text", "padding") and name != "conv_transpose2d":
                # There a text may be right: 'same' or 'valid'.
                kind = ValueError
            began = time.process_time()
            if spelling in row.meant:
                row.call(function, x, written)
            else:
                with pytest.raises(kind, match=f"^{name}: ") as raised:
                    row.call(function, x, written)
                assert type(raised.value) is kind, (name, spelling)
            assert time.process_time() - began < 1, (name, spelling)


@pytest.mark.parametrize("widths", [[(1, 2), (0, 3)], ((1, 2), (0, 3)), [[1, 2], np.array([0, 3])]])
@pytest.mark.parametrize("kind", [lambda w: w, np.array, mt.tensor])
def test_widths_of_a_pad_in_every_spelling(widths, kind):
    x = mt.tensor(drawn((2, 3)), requires_grad=True)
    y = mt.pad(x, kind([list(pair) for pair in widths]) if kind is not None else widths, value=0.5)
    np.testing.assert_array_equal(y.numpy(), np.pad(x.numpy(), ((1, 2), (0, 3)), constant_values=0.5))
    cotangent = np.random.default_rng(0).normal(size=y.shape)
    np.testing.assert_array_equal(mt.grad(y, x, cotangent).numpy(), cotangent[1:3, :3])


@pytest.mark.parametrize(
    ("widths", "kind"),
    [
        *((w, ValueError) for w in (1, (1, 2), [(1, 2)], [(1,), (1,)], [(1, 2, 3)] * 2, [(-1, 0)] * 2, None, "12", [])),
        *((w, TypeError) for w in ([(1.0, 0)] * 2, [(True, 0)] * 2, [("1", 0)] * 2, [(None, 0)] * 2)),
        *(([(0, size), (0, 0)], ValueError) for size in (10**12, 2**70)),
    ],
)
def test_widths_that_a_pad_refuses(widths, kind):
    with pytest.raises(kind, match=r"^pad: "):
        mt.pad(mt.ones((2, 3)), widths)


# --- what is told by the name of the function that was called ---------------------------------------------


def test_no_result_is_made_that_no_machine_has_room_for():
    for size in (10**12, 2**70):
        for name, call in {
            "arange": lambda n: mt.arange(n),
            "normal": lambda n: mt.random.normal(n),
            "uniform": lambda n: mt.random.uniform((n, 1)),
            "integers": lambda n: mt.random.integers(n, 0, 2),
            "permutation": lambda n: mt.random.permutation(n),
            "zeros": lambda n: mt.zeros((2, n, 3)),
            "broadcast_to": lambda n: mt.broadcast_to(mt.ones((1, 3)), shape=(n, 3)),
            "adaptive_avg_pool": lambda n: mt.adaptive_avg_pool(mt.ones((1, 1, 3)), n),
            "put": lambda n: mt.ops.put(mt.ones(2), index=[0, 1], shape=(n,)),
        }.items():
            with pytest.raises(ValueError, match=f"^{name}: .*{size}"):
                call(size)
    with pytest.raises(ValueError, match=r"^arange: step is 0"):
        mt.arange(0, 3, 0)
    for far in ((0, 1, 1e-13), (0, math.inf), (5, -(10**12), -1)):
        with pytest.raises(ValueError, match=r"^arange: .*2\*\*36"):
            mt.arange(*far)
    np.testing.assert_array_equal(mt.arange(10**12, 0).numpy(), np.arange(0))
    np.testing.assert_array_equal(mt.arange(3, 0, -2).numpy(), [3, 1])


def test_an_adaptive_pool_of_many_windows_takes_each_mean_once():
    x = mt.tensor(drawn((2, 1, 5)), requires_grad=True)
    y = mt.adaptive_avg_pool(x, 100_000)
    spans = [(i * 5 // 100_000, -(-(i + 1) * 5 // 100_000)) for i in (0, 19_999, 20_000, 55_555, 99_999)]
    means = np.stack([x.numpy()[:, :, a:b].mean(axis=2) for a, b in spans], axis=2)
    np.testing.assert_allclose(y.numpy()[:, :, [0, 19_999, 20_000, 55_555, 99_999]], means, rtol=1e-15)
    assert mt.gradcheck(lambda x: mt.adaptive_avg_pool(x, 13), x, order=2)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        *((f.__name__, f) for f in (mt.mean, mt.max, mt.min, mt.var, mt.std, mt.logsumexp, mt.standardize)),
        *((f.__name__, f) for f in (mt.softmax, mt.log_softmax)),
        ("norm", lambda x, axis: mt.norm(x, axis=axis, ord=math.inf)),
    ],
)
def test_nothing_along_an_axis_is_told_by_name(name, call):
    with pytest.raises(ValueError, match=rf"^{name}: shape \(2, 0\) has no elements along axis \(1,\)"):
        call(mt.ones((2, 0)), axis=-1)


def test_layers_take_one_integer_as_dim():
    found = {
        (name, argument)
        for place in (mt.nn, mt.nn.utils)
        for name in place.__all__
        if callable(function := getattr(place, name)) and name != "Module"
        for argument in inspect.signature(function).parameters
        if argument in AXIS_NAMES | {"start_dim", "end_dim"}
    }
    here = {("Softmax", "dim"), ("LogSoftmax", "dim"), ("Unflatten", "dim"), ("Flatten", "start_dim")}
    size = {("ScaleNorm", "dim")}
    assert found == here | size | {("Flatten", "end_dim"), ("weight_norm", "dim"), ("spectral_norm", "dim")}
    for make in (mt.nn.Softmax, mt.nn.LogSoftmax, mt.nn.Flatten, lambda d: mt.nn.Unflatten(d, (1, -1))):
        layer = make(np.int64(1))
        assert layer(mt.ones((2, 3))).ndim in (2, 3)
        for wrong in (None, True, 1.0, "1", (1,), [0, 1]):
            with pytest.raises(TypeError, match=r"^(Softmax|LogSoftmax|Flatten|Unflatten): "):
                make(wrong)
    with pytest.raises(TypeError, match=r"^Flatten: end_dim"):
        mt.nn.Flatten(0, 1.5)
    for function in (mt.nn.utils.weight_norm, mt.nn.utils.spectral_norm):
        assert function(mt.nn.Linear(2, 3), dim=np.int64(-1))(mt.ones((4, 2))).shape == (4, 3)
        for wrong, kind in ((True, TypeError), ((1,), TypeError), (1.0, TypeError), (2, np.exceptions.AxisError)):
            with pytest.raises(kind, match=f"^{function.__name__}: "):
                function(mt.nn.Linear(2, 3), dim=wrong)


def test_none_and_several_axes_mean_what_they_mean_to_numpy():
    x = mt.arange(6, dtype=float).reshape(2, 3)
    np.testing.assert_array_equal(mt.roll(x, (1, 1), axis=(0, 1)).numpy(), [[5, 3, 4], [2, 0, 1]])
    np.testing.assert_array_equal(mt.roll(x, (1, 2), axis=0).numpy(), np.roll(x.numpy(), (1, 2), axis=0))
    np.testing.assert_array_equal(mt.roll(x, (1, 2), axis=None).numpy(), np.roll(x.numpy(), (1, 2)))
    np.testing.assert_array_equal(mt.roll(x, 1, axis=()).numpy(), x.numpy())
    np.testing.assert_array_equal(mt.roll(x, (), axis=0).numpy(), x.numpy())
    with pytest.raises(ValueError, match=r"^roll: shift \(1, 2, 3\) and axis \(0, 1\)"):
        mt.roll(x, (1, 2, 3), axis=(0, 1))
    assert mt.permute_dims(mt.zeros((2, 3, 4)), axes=None).shape == (4, 3, 2)
    assert mt.concat([x, x[0], x[0, 0]], axis=None).shape == (10,)
    assert [piece.shape for piece in mt.split(mt.zeros((0, 3)), 2)] == [(0, 3)]
    assert [piece.shape for piece in mt.split(mt.zeros(3), [0, 3, 0])] == [(0,), (3,), (0,)]
    with pytest.raises(ValueError, match=r"^split: sizes are \[4, -1\]"):
        mt.split(mt.zeros(3), [4, -1])


@pytest.mark.parametrize("indices", [[True, False, True], [0.0, 1.0], ["a"], np.array([])])
def test_indices_are_integers(indices):
    x = mt.ones(3)
    for name, call in {
        "take": lambda: mt.take(x, indices),
        "take_along_axis": lambda: mt.take_along_axis(x, indices),
        "scatter_add": lambda: mt.scatter_add(x, indices, mt.ones(len(indices))),
        "embedding": lambda: mt.embedding(indices, mt.ones((3, 2))),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: indices have dtype"):
            call()
    assert mt.take(x, []).shape == (0,)


@pytest.mark.parametrize("function", [mt.tril, mt.triu, mt.diagonal, mt.matrix_transpose])
def test_what_needs_two_axes_says_so(function):
    with pytest.raises(ValueError, match=rf"^{function.__name__}: shape \(3,\) must have .*two axes"):
        function(mt.ones(3))


@pytest.mark.parametrize(
    ("axes", "kind"),
    [
        (True, TypeError),
        (1.0, TypeError),
        (None, TypeError),
        ("1", TypeError),
        ((0, None), TypeError),
        (-1, ValueError),
        (3, ValueError),
        ((0, 1, 2), ValueError),
        (((0, 1), (0,)), ValueError),
        ((5, 0), np.exceptions.AxisError),
    ],
)
def test_pairs_of_axes_that_tensordot_refuses(axes, kind):
    with pytest.raises(kind, match=r"^tensordot: "):
        mt.tensordot(mt.ones((2, 2)), mt.ones((2, 2)), axes)


@pytest.mark.parametrize("axes", [0, 1, 2, np.int64(1), (1, 0), ([1], [0]), np.array([[0, 1], [1, 0]]), ((), ())])
def test_pairs_of_axes_that_tensordot_takes(axes):
    a, b = drawn((3, 3)), drawn((3, 3)).T
    found = mt.tensordot(mt.tensor(a), mt.tensor(b), axes)
    np.testing.assert_allclose(found.numpy(), np.tensordot(a, b, axes), rtol=1e-14)


@pytest.mark.parametrize("index", [3, -4, 2**40])
def test_an_index_beyond_its_axis_is_told_by_name(index):
    x = mt.ones((2, 3))
    for name, call in {
        "take": lambda: mt.take(x, [0, index], axis=1),
        "take_along_axis": lambda: mt.take_along_axis(x, [[0], [index]]),
        "scatter_add": lambda: mt.scatter_add(x, [[0], [index]], mt.ones((2, 1))),
    }.items():
        with pytest.raises(IndexError, match=rf"^{name}: index {index} is out of range for axis 1 with size 3"):
            call()
    for name, call in {
        "take_along_axis": lambda: mt.take_along_axis(x, np.zeros((4, 1), int)),
        "scatter_add": lambda: mt.scatter_add(x, np.zeros((4, 1), int), mt.ones((4, 1))),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: indices of shape \(4, 1\) differ from shape \(2, 3\)"):
            call()


def test_a_call_with_the_wrong_arguments_is_told_by_name():
    x = mt.ones((2, 3))
    for name in ("sum", "mean", "max", "prod", "cumsum", "reshape", "permute_dims", "broadcast_to", "pick"):
        for call in (lambda f: f(x, 0, 0, 0, 0), lambda f: f(x, axs=0), lambda f: f(axis=0), lambda f: f()):
            with pytest.raises(TypeError, match=rf"^{name}: .*argument.*; the call is {name}\(x, "):
                call(getattr(mt, name))
