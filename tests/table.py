"""The table of operations: for every primitive the same in plain NumPy, calls of it, and its errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Call:
    """One call: a shape stands for drawn floats, an array is taken as it is."""

    arguments: tuple[Any, ...]
    params: dict[str, Any]

    def drawn(self) -> list[int]:
        return [i for i, x in enumerate(self.arguments) if isinstance(x, tuple)]

    def arrays(self, domain: str, dtype: Any = np.float64) -> list[np.ndarray]:
        """Values that are distinct over all arguments and at least 0.5 away from zero, so that no kink is near."""
        sizes = [int(np.prod(x)) if isinstance(x, tuple) else 0 for x in self.arguments]
        count = sum(sizes) + sum(sizes) % 2
        line = np.linspace(-1, 1, count)
        values = 1.25 + 0.75 * line if domain == "positive" else line + np.sign(line) * 0.5
        values *= 0.6 if domain == "unit" else 1.0
        pieces = np.split(np.random.default_rng(count).permutation(values)[: sum(sizes)], np.cumsum(sizes)[:-1])
        return [
            piece.reshape(x).astype(dtype) if isinstance(x, tuple) else x
            for x, piece in zip(self.arguments, pieces, strict=True)
        ]


@dataclass(frozen=True)
class Error:
    """A call that must raise, and what the message must say."""

    arguments: tuple[Any, ...]
    params: dict[str, Any]
    kind: type[Exception]
    message: str


@dataclass(frozen=True)
class Case:
    """One row of the table.

    reference: the same in plain NumPy; calls: what forward and gradients are checked on; domain: "nonzero",
    "positive", or "unit", which is between −0.9 and 0.9; flat: constant almost everywhere, so no gradient flows;
    elementwise: takes any value at all.
    """

    reference: Callable[..., Any]
    calls: tuple[Call, ...]
    errors: tuple[Error, ...] = ()
    domain: str = "nonzero"
    flat: bool = False
    elementwise: bool = False


def call(*arguments: Any, **params: Any) -> Call:
    return Call(arguments, params)


def error(kind: type[Exception], message: str, *arguments: Any, **params: Any) -> Error:
    return Error(arguments, params, kind, message)


UNARY = (call((3, 4)), call(()), call((2, 0)))
BINARY = (
    call((3, 4), (3, 4)),
    call((3, 1), (4,)),
    call((), (2, 3)),
    call((2, 1, 3), (4, 1)),
    call((1, 3), (1, 1)),
    call((1,), (0, 3)),
    call((), ()),
)
REDUCED = (
    call((3, 4)),
    call((3, 4), axis=0),
    call((2, 3, 4), axis=(0, -1), keepdims=True),
    call((2, 3, 4), axis=1, keepdims=True),
    call((2, 3), axis=()),
    call(()),
)
CHOICE = np.array([[True, False, True], [False, False, True]])
ROWS = np.array([2, 0, 2])


def unary(reference: Callable[..., Any], **options: Any) -> Case:
    return Case(reference, UNARY, elementwise=True, **options)


def binary(name: str, reference: Callable[..., Any], **options: Any) -> Case:
    clash = rf"^{name}: shapes \(2, 3\) and \(2,\) do not broadcast: axis -1 has sizes 2 and 3"
    return Case(reference, BINARY, (error(ValueError, clash, (2, 3), (2,)),), elementwise=True, **options)


def axis_errors(name: str) -> tuple[Error, ...]:
    return (
        error(np.exceptions.AxisError, rf"^{name}: axis 2 is out of bounds for 2 dimensions", (2, 3), axis=2),
        error(ValueError, rf"^{name}: axis \(0, -2\) names the same axis twice", (2, 3), axis=(0, -2)),
        error(TypeError, rf"^{name}: axis 1\.0 is not an integer", (2, 3), axis=1.0),
        error(TypeError, rf"^{name}: axis True is a bool", (2, 3), axis=True),
    )


def empty_error(name: str) -> Error:
    return error(ValueError, rf"^{name}: shape \(2, 0\) has no elements along axis \(1,\)", (2, 0), axis=1)


def sum_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    while x.ndim > len(shape):
        x = x.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            x = x.sum(axis=axis, keepdims=True)
    return x


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[x.dtype if x.dtype.kind == "f" else float])(x)


def window_starts(x: np.ndarray, window: Any, stride: Any, dilation: Any) -> list[np.ndarray]:
    """The positions that each window takes along each axis, one row a window."""
    return [
        np.arange(0, n - d * (w - 1), s)[:, None] + d * np.arange(w)
        for n, w, s, d in zip(x.shape[2:], window, stride, dilation, strict=True)
    ]


def sliding_windows(x: np.ndarray, window: Any, stride: Any, dilation: Any) -> np.ndarray:
    rows = window_starts(x, window, stride, dilation)
    taken = x[:, :, rows[0]] if len(rows) == 1 else x[:, :, rows[0][:, None, :, None], rows[1][None, :, None, :]]
    count = len(window)
    return np.moveaxis(taken, range(2, 2 + count), range(-count, 0))


def overlap_add(x: np.ndarray, window: Any, stride: Any, dilation: Any, positions: Any) -> np.ndarray:
    """By its definition: the transpose of the matrix of sliding_windows."""
    size = int(np.prod(positions))
    each = sliding_windows(np.eye(size).reshape(size, 1, *positions), window, stride, dilation)
    flat = x.reshape(*x.shape[:2], -1) @ each.reshape(size, -1).T
    return flat.reshape(*x.shape[:2], *positions).astype(x.dtype)


def put(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, x.dtype)
    np.add.at(out, index, x)
    return out


def pick(x: np.ndarray, indices: Any, axis: int = -1) -> np.ndarray:
    return np.take_along_axis(x, np.expand_dims(indices, axis), axis).squeeze(axis)


def place(x: np.ndarray, indices: Any, axis: int, size: int) -> np.ndarray:
    x, indices = np.expand_dims(x, axis), np.expand_dims(indices, axis)
    out = np.zeros([size if i == axis % x.ndim else n for i, n in enumerate(x.shape)], x.dtype)
    np.put_along_axis(out, indices, x, axis)
    return out


TABLE: dict[str, Case] = {
    "add": binary("add", np.add),
    "subtract": binary("subtract", np.subtract),
    "multiply": binary("multiply", np.multiply),
    "divide": binary("divide", np.divide),
    "power": binary("power", np.power, domain="positive"),
    "maximum": binary("maximum", np.maximum),
    "minimum": binary("minimum", np.minimum),
    "negative": unary(np.negative),
    "square": unary(np.square),
    "sqrt": unary(np.sqrt, domain="positive"),
    "exp": unary(np.exp),
    "log": unary(np.log, domain="positive"),
    "tanh": unary(np.tanh),
    "sigmoid": unary(lambda x: 1 / (1 + np.exp(-x))),
    "relu": unary(lambda x: np.maximum(x, 0)),
    "abs": unary(np.abs),
    "sign": unary(np.sign, flat=True),
    "expm1": unary(np.expm1),
    "log1p": unary(np.log1p, domain="positive"),
    "log2": unary(np.log2, domain="positive"),
    "sin": unary(np.sin),
    "cos": unary(np.cos),
    "tan": unary(np.tan, domain="unit"),
    "arcsin": unary(np.arcsin, domain="unit"),
    "arccos": unary(np.arccos, domain="unit"),
    "arctan": unary(np.arctan),
    "arctan2": binary("arctan2", np.arctan2),
    "sinh": unary(np.sinh),
    "cosh": unary(np.cosh),
    "erf": unary(erf),
    "softplus": unary(lambda x: np.logaddexp(np.zeros_like(x), x)),
    "floor": unary(np.floor, flat=True),
    "ceil": unary(np.ceil, flat=True),
    "round": unary(np.round, flat=True),
    "where": Case(
        np.where,
        (call(CHOICE, (2, 3), (2, 3)), call(CHOICE, (3,), ()), call(CHOICE[:, :1], (1, 3), (2, 1))),
        (error(ValueError, r"^where: shapes \(2, 3\) and \(2,\) and \(\) do not broadcast", CHOICE, (2,), ()),),
    ),
    "masked": Case(
        lambda x, mask: np.where(mask, x, np.zeros((), x.dtype)),
        (call((2, 3), CHOICE), call((3,), CHOICE), call((2, 1), CHOICE[:1]), call((25, 20), np.arange(20) % 3 == 0)),
        (error(ValueError, r"^masked: shapes \(2,\) and \(2, 3\) do not broadcast", (2,), CHOICE),),
    ),
    "sum": Case(np.sum, (*REDUCED, call((2, 0), axis=1), call((2, 0), axis=0)), axis_errors("sum")),
    "mean": Case(np.mean, (*REDUCED, call((2, 0), axis=0)), (*axis_errors("mean"), empty_error("mean"))),
    "max": Case(np.max, (*REDUCED, call((2, 0), axis=0)), (*axis_errors("max"), empty_error("max"))),
    "min": Case(np.min, (*REDUCED, call((2, 0), axis=0)), (*axis_errors("min"), empty_error("min"))),
    "prod": Case(np.prod, (*REDUCED, call((2, 0), axis=1), call((2, 0), axis=0)), axis_errors("prod")),
    "cumsum": Case(
        lambda x, axis=-1: np.cumsum(x, axis),
        (call((3, 4)), call((3, 4), axis=0), call((2, 0)), call((2, 3, 2), axis=1)),
        (error(np.exceptions.AxisError, r"^cumsum: axis 2 is out of bounds for 2 dimensions", (2, 3), axis=2),),
    ),
    "concat": Case(
        lambda *pieces, axis=0: np.concatenate(pieces, axis),
        (
            call((2, 3), (1, 3)),
            call((2, 3), (2, 1), (2, 2), axis=1),
            call((2, 3), (2, 1), axis=-1),
            call((2, 0), (2, 3), axis=1),
        ),
        (
            error(ValueError, r"^concat: shapes \(2, 3\), \(2, 4\) differ in more than axis 0", (2, 3), (2, 4)),
            error(np.exceptions.AxisError, r"^concat: axis 2 is out of bounds", (2, 3), (2, 3), axis=2),
        ),
    ),
    "contract": Case(
        lambda *operands, subscripts: np.einsum(subscripts, *operands),
        (
            call((2, 3), (3, 4), subscripts="ij,jk->ik"),
            call((2, 3), (2, 3), subscripts="ij,ij->"),
            call((2, 3), subscripts="ij->ji"),
            call((2, 3), (3, 2), (2, 4), subscripts="ij,jk,kl->il"),
            call((2, 0), (0, 3), subscripts="ij,jk->ik"),
        ),
        (error(ValueError, r"^contract: shapes \(2, 3\) and \(4, 5\)", (2, 3), (4, 5), subscripts="ij,jk->ik"),),
    ),
    "sliding_windows": Case(
        sliding_windows,
        (
            call((2, 3, 6), window=(3,), stride=(1,), dilation=(1,)),
            call((1, 2, 5, 6), window=(2, 3), stride=(2, 1), dilation=(1, 2)),
            call((0, 2, 4), window=(2,), stride=(1,), dilation=(1,)),
        ),
        (
            error(
                ValueError,
                r"^sliding_windows: a window of \(4,\) with dilation \(1,\) does not fit into \(3,\)",
                (1, 1, 3),
                window=(4,),
                stride=(1,),
                dilation=(1,),
            ),
        ),
    ),
    "overlap_add": Case(
        overlap_add,
        (
            call((2, 3, 3, 4), window=(3,), stride=(1,), dilation=(1,), positions=(6,)),
            call((1, 2, 2, 3, 2, 2), window=(2, 3), stride=(2, 1), dilation=(1, 2), positions=(5, 6)),
        ),
    ),
    "reshape": Case(
        lambda x, shape: np.reshape(x, shape),
        (call((2, 6), shape=(3, -1)), call((2, 3), shape=6), call((), shape=(1, 1)), call((0, 2), shape=(4, 0))),
        (error(ValueError, r"^reshape: .*\(shapes \(2, 3\)\)", (2, 3), shape=(4,)),),
    ),
    "permute_dims": Case(
        np.transpose,
        (
            call((2, 3, 4), axes=(2, 0, 1)),
            call((2, 3, 4), axes=(-1, 0, -2)),
            call((), axes=()),
            call((0, 2), axes=(1, 0)),
        ),
        (
            error(ValueError, r"^permute_dims: .*\(2, 3\)", (2, 3), axes=(0,)),
            error(ValueError, r"^permute_dims: axis \(0, 0\) names the same axis twice", (2, 3), axes=(0, 0)),
            error(np.exceptions.AxisError, r"^permute_dims: axis 2 is out of bounds", (2, 3), axes=(0, 2)),
        ),
    ),
    "broadcast_to": Case(
        np.broadcast_to,
        (call((3, 1), shape=(2, 3, 4)), call((), shape=(2, 2)), call((1, 2), shape=(0, 2)), call((2,), shape=(2,))),
        (error(ValueError, r"^broadcast_to: .*\(2, 3\)", (2, 3), shape=(2, 4)),),
    ),
    "sum_to": Case(
        sum_to,
        (call((2, 3, 4), shape=(3, 1)), call((2, 3), shape=()), call((0, 2), shape=(1, 2)), call((2,), shape=(2,))),
    ),
    "contract_to": Case(
        lambda a, b, shape: sum_to(a * b, shape),
        (
            call((5, 3), (5, 3), shape=(3,)),
            call((5, 3), (5, 3), shape=(1, 3)),
            call((4, 3), (4, 3), shape=(4, 1)),
            call((2, 3, 2, 2), (2, 3, 2, 2), shape=(1, 3, 1, 1)),
            call((2, 3, 4), (2, 3, 4), shape=(2, 1, 4)),
            call((2, 3), (2, 3), shape=()),
            call((3, 1), (3, 4), shape=(1, 4)),
            call((0, 3), (0, 3), shape=(3,)),
        ),
        (error(ValueError, r"^contract_to: shapes \(2, 3\) and \(2, 4\)", (2, 3), (2, 4), shape=(2, 1)),),
    ),
    "astype": Case(
        lambda x, dtype: x.astype(dtype),
        (call((2, 3), dtype=np.float64), call((), dtype=np.float64), call((0,), dtype=np.float64)),
    ),
    "matmul": Case(
        np.matmul,
        (
            call((2, 3), (3, 4)),
            call((3,), (3,)),
            call((3,), (3, 4)),
            call((2, 3), (3,)),
            call((2, 1, 2, 3), (3, 3, 2)),
            call((3,), (2, 3, 4)),
            call((2, 2, 3), (3,)),
            call((5, 2, 3), (3, 2)),
            call((2, 0), (0, 3)),
            call((0, 2), (2, 3)),
        ),
        (
            error(ValueError, r"^matmul: \(2, 3\) @ \(2, 3\): inner sizes 3 and 2 differ", (2, 3), (2, 3)),
            error(ValueError, r"^matmul: \(\) @ \(2, 3\): a scalar has no axis", (), (2, 3)),
            error(ValueError, r"^matmul: .*\(2, 2, 3\).*\(4, 3, 2\)", (2, 2, 3), (4, 3, 2)),
        ),
    ),
    "getitem": Case(
        lambda x, index: x[index],
        (
            call((3, 4), index=(slice(None, None, -1), 1)),
            call((3, 4), index=(np.array([0, 0, 2]), slice(1, 3))),
            call((3, 4), index=(np.array([0, 0, 2]), np.array([1, 1, 0]))),
            call((3, 4), index=(Ellipsis, None, 2)),
            call((2, 3), index=CHOICE),
            call((2, 3), index=[1, -1, 1]),
            call((3,), index=1),
            call((3,), index=slice(0, 0)),
            call((), index=()),
        ),
        (
            error(IndexError, r"^getitem: .*\(2, 3\)", (2, 3), index=5),
            error(IndexError, r"^getitem: .*\(2, 3\)", (2, 3), index=(0, 0, 0)),
        ),
    ),
    "put": Case(
        put,
        (
            call((3,), index=np.array([0, 2, 0]), shape=(4,)),
            call((2, 2), index=(slice(None), slice(0, 4, 2)), shape=(2, 4)),
            call((), index=1, shape=(3,)),
            call((3,), index=CHOICE, shape=(2, 3)),
            call((0,), index=slice(0, 0), shape=(3,)),
        ),
        (error(IndexError, r"^put: .*\(2,\)", (2,), index=[0, 9], shape=(3,)),),
    ),
    "pick": Case(
        pick,
        (
            call((3, 4), ROWS),
            call((3, 4, 2), np.array([[0, 3]] * 3), axis=1),
            call((4,), np.array(2)),
            call((0, 2), np.zeros(0, int)),
        ),
        (
            error(ValueError, r"^pick: indices have shape \(2,\); it must be \(3,\)", (3, 4), np.array([0, 1])),
            error(TypeError, r"^pick: indices have dtype float64", (3, 4), np.zeros(3)),
            error(IndexError, r"^pick: index 4 is out of range for axis 1 with size 4", (3, 4), np.array([0, 4, 1])),
            error(IndexError, r"^pick: index -1 is out of range", (3, 4), np.array([0, -1, 1])),
        ),
    ),
    "place": Case(
        place,
        (
            call((3,), ROWS, axis=1, size=4),
            call((3, 2), np.array([[0, 3]] * 3), axis=1, size=4),
            call((), np.array(1), axis=-1, size=2),
        ),
        (error(IndexError, r"^place: index 2 is out of range for axis 1 with size 2", (3,), ROWS, axis=1, size=2),),
    ),
}
