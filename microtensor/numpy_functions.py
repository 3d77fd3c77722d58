"""NumPy's functions on tensors: each goes to the function of the same meaning here, so that the result has a gradient.

``np.exp(t)`` is ``mt.exp(t)``, ``np.var(t, axis=0, ddof=1)`` is ``mt.var(t, axis=0, correction=1)``. Two tables name
them all. An argument that has no meaning here is refused by its name, and so is a function without a counterpart.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from microtensor import creation, functional, ops
from microtensor.core.primitive import TensorBase, as_array
from microtensor.ops.common import as_operand, one_axis
from microtensor.support.arrays import Array, quietly

_INSTEAD = "write x.numpy() for the value, which has no gradient"

# --- adapters: NumPy's arguments, with NumPy's names; those that are not listed are refused -----------------


def _spread(
    ours: Any, a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False, correction: float | None = None
) -> Any:
    """The variance or the standard deviation."""
    if ddof and correction is not None:
        raise ValueError(f"np.{ours.__name__}: ddof and correction are the same; write one of them")
    return ours(a, axis, ddof if correction is None else correction, keepdims)


def _ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ops.max(a, axis=axis, keepdims=keepdims) - ops.min(a, axis=axis, keepdims=keepdims)


def _cumulative_sum(x: Any, axis: Any = None, dtype: Any = None) -> Any:
    if axis is None and x.ndim != 1:
        raise ValueError(f"np.cumulative_sum: shape {x.shape} has several axes; write axis=")
    return ops.cumsum(x, axis=axis, dtype=dtype)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:
    if not (a_min is None or min is None) or not (a_max is None or max is None):
        raise ValueError("np.clip: a_min and min, or a_max and max, are the same; write one of them")
    return functional.held(a, a_min if min is None else min, a_max if max is None else max)


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return np.nonzero(as_array(condition))
    return ops.where(condition, x, y)


def _round(a: Any, decimals: int = 0) -> Any:
    return ops.round(a, decimals)


def _sort(a: Any, axis: Any = -1, kind: Any = None, stable: Any = None) -> Any:
    # All kinds give the same order of values; this one is stable.
    return ops.sort(a, axis)


def _full_like(a: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Any:
    dtype = a.dtype if dtype is None else dtype
    if isinstance(fill_value, TensorBase):
        return ops.broadcast_to(ops.astype(fill_value, dtype), a.shape)  # type: ignore[call-overload]
    return creation.full(a.shape, fill_value, dtype=dtype, device=device)


def _same(x: Any) -> Any:
    return x


def _copy(a: Any) -> Any:
    return ops.reshape(a, shape=a.shape, copy=True)


def _reshape(a: Any, shape: Any = None, newshape: Any = None, copy: bool | None = None) -> Any:
    return ops.reshape(a, shape=newshape if shape is None else shape, copy=copy)


def _transpose(a: Any, axes: Any = None) -> Any:
    return ops.permute_dims(a, axes=axes)


def _at_least(ndim: int, *arys: Any) -> Any:
    """As ``np.atleast_1d`` and its kin: one result for one array, a tuple for several."""
    found = []
    for x in map(as_operand, arys):
        shape = x.shape
        if ndim == 3 and x.ndim in (1, 2):
            shape = (1, *shape, 1) if x.ndim == 1 else (*shape, 1)
        found.append(ops.reshape(x, shape=(1,) * (ndim - len(shape)) + tuple(shape)))
    return found[0] if len(found) == 1 else tuple(found)


def _several(ndim: int, arrays: Iterable[Any]) -> list[Any]:
    return [_at_least(ndim, x) for x in arrays]


def _hstack(tup: Any) -> Any:
    pieces = _several(1, tup)
    return ops.concat(pieces, axis=0 if pieces and pieces[0].ndim == 1 else 1)


def _vstack(tup: Any) -> Any:
    return ops.concat(_several(2, tup), axis=0)


def _dstack(tup: Any) -> Any:
    return ops.concat(_several(3, tup), axis=2)


def _column_stack(tup: Any) -> Any:
    columns = [ops.matrix_transpose(_at_least(2, x)) if x.ndim < 2 else x for x in map(as_operand, tup)]
    return ops.concat(columns, axis=1)


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    return ops.concat([arr, as_operand(values)], axis=axis)


def _broadcast_arrays(*args: Any) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*(x.shape for x in map(as_operand, args)))
    return tuple(ops.broadcast_to(as_operand(x), shape=shape) for x in args)


def _cut(x: Any, ends: Sequence[int], axis: int) -> list[Any]:
    """The pieces between the given places along an axis."""
    before = (slice(None),) * axis
    pairs = zip([0, *ends], [*ends, None], strict=True)
    return [ops.getitem(x, index=(*before, slice(start, stop))) for start, stop in pairs]


def _array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    axis = one_axis(axis, ary.ndim, "np.array_split")
    if np.ndim(indices_or_sections):
        return _cut(ary, [int(i) for i in indices_or_sections], axis)
    count, size = int(indices_or_sections), ary.shape[axis]
    if count <= 0:
        raise ValueError(f"np.array_split: {count} pieces; the number must be positive")
    # The first pieces are longer by one.
    return _cut(ary, [i * (size // count) + min(i, size % count) for i in range(1, count)], axis)


def _split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    size = ary.shape[one_axis(axis, ary.ndim, "np.split")]
    if not np.ndim(indices_or_sections) and size % int(indices_or_sections):
        raise ValueError(f"np.split: axis {axis} of shape {ary.shape} does not divide into {indices_or_sections}")
    return _array_split(ary, indices_or_sections, axis)


def _hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    return _split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


def _vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    if ary.ndim < 2:
        raise ValueError(f"np.vsplit: shape {ary.shape} has no rows; two axes or more are needed")
    return _split(ary, indices_or_sections)


def _unstack(x: Any, axis: Any = 0) -> tuple[Any, ...]:
    return tuple(ops.moveaxis(x, axis, 0))


def _diff(a: Any, n: int = 1, axis: Any = -1) -> Any:
    before = (slice(None),) * one_axis(axis, a.ndim, "np.diff")
    if n < 0:
        raise ValueError(f"np.diff: n is {n}; it must not be negative")
    for _ in range(n):
        later, earlier = (ops.getitem(a, index=(*before, part)) for part in (slice(1, None), slice(None, -1)))
        a = later - earlier
    return a


def _pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    if mode != "constant" or isinstance(pad_width, Mapping) or np.ndim(as_array(constant_values)):
        raise TypeError(f"np.pad: tensors are padded with one constant, and by widths in no dictionary; {_INSTEAD}")
    if array.dtype.kind != "f":
        # Cut off to the dtype of the integers, as NumPy does.
        constant_values = array.dtype.type(constant_values)
    return ops.pad(array, np.broadcast_to(pad_width, (array.ndim, 2)).tolist(), constant_values)


def _places(rows: int, columns: int, offset: int) -> tuple[Array, Array]:
    """The rows and the columns of a diagonal of a matrix."""
    along = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    return along + max(-offset, 0), along + max(offset, 0)


def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    moved = ops.moveaxis(a, (axis1, axis2), (-2, -1))
    return ops.getitem(moved, index=(..., *_places(moved.shape[-2], moved.shape[-1], offset)))


def _diag(v: Any, k: int = 0) -> Any:
    if v.ndim == 2:
        return _diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(f"np.diag: shape {v.shape}; a vector or a matrix is needed")
    size = v.shape[0] + abs(k)
    return ops.put(v, index=_places(size, size, k), shape=(size, size))


def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return ops.sum(_diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


def _dot(a: Any, b: Any) -> Any:
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return ops.multiply(a, b)
    return ops.tensordot(a, b, axes=((-1,), (-2 if b.ndim > 1 else 0,))) if b.ndim > 2 else ops.matmul(a, b)


def _inner(a: Any, b: Any) -> Any:
    a, b = as_operand(a), as_operand(b)
    return ops.multiply(a, b) if a.ndim == 0 or b.ndim == 0 else ops.tensordot(a, b, axes=((-1,), (-1,)))


def _flat(a: Any) -> Any:
    return ops.reshape(as_operand(a), shape=(-1,))


def _vdot(a: Any, b: Any) -> Any:
    return ops.matmul(_flat(a), _flat(b))


def _outer(a: Any, b: Any) -> Any:
    return ops.outer(_flat(a), _flat(b))


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    return ops.tensordot(a, as_operand(b), axes)


def _einsum(*operands: Any, optimize: Any = False) -> Any:
    if not isinstance(operands[0], str):
        raise TypeError('np.einsum: lists of labels are not taken with tensors; write them as text, as in "ij,jk->ik"')
    return ops.einsum(*operands)


def _row(x: Any) -> Any:
    x = as_operand(x)
    return ops.expand_dims(x, axis=x.ndim - 1)


def _column(x: Any) -> Any:
    x = as_operand(x)
    return ops.expand_dims(x, axis=x.ndim)


def _vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    product = ops.matmul(_row(ops.moveaxis(as_operand(x1), axis, -1)), _column(ops.moveaxis(as_operand(x2), axis, -1)))
    return ops.getitem(product, index=(..., 0, 0))


def _matvec(x1: Any, x2: Any) -> Any:
    return ops.getitem(ops.matmul(as_operand(x1), _column(x2)), index=(..., 0))


def _vecmat(x1: Any, x2: Any) -> Any:
    return ops.getitem(ops.matmul(_row(x1), as_operand(x2)), index=(..., 0, slice(None)))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    count = x.ndim if axis is None else np.size(axis)
    # Of all elements together, whatever the number of axes; and that of a matrix which NumPy calls "fro".
    if ord is None or (ord == "fro" and count == 2):
        ord = 2
    elif count != 1 or isinstance(ord, str) or ord < 1:
        raise TypeError(f"np.linalg.norm: ord={ord!r} over {count} axes has no counterpart here; {_INSTEAD}")
    return functional.norm(x, axis, keepdims, ord)


def _vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    if ord < 1:
        raise TypeError(f"np.linalg.vector_norm: ord={ord!r} has no counterpart here; {_INSTEAD}")
    return functional.norm(x, axis, keepdims, ord)


def _matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _norm(x, ord, (-2, -1), keepdims)


def _reciprocal(x: Any) -> Any:
    if x.dtype.kind != "f":
        raise TypeError("np.reciprocal: of integers NumPy gives rounded numbers; convert them with .astype(float)")
    return functional.reciprocal(x)


def _floats(x: Any) -> Any:
    return x if x.dtype.kind == "f" else ops.widened(x)


def _fabs(x: Any) -> Any:
    return ops.absolute(_floats(x))


def _rint(x: Any) -> Any:
    return ops.round(_floats(x))


def _log10(x: Any) -> Any:
    return ops.log(x) * (1 / math.log(10))


def _exp2(x: Any) -> Any:
    return ops.power(2.0, x)


def _logaddexp(a: Any, b: Any) -> Any:
    below = quietly(ops.greater, b, a)
    large, small = ops.where(below, b, a), ops.where(below, a, b)
    # The difference of two equal infinities is NaN.
    alike = ops.equal(small, large) & np.isinf(as_array(large))
    return large + ops.softplus(ops.where(alike, 0.0, quietly(ops.subtract, small, large)))


# --- the tables ---------------------------------------------------------------------------------------------


def _found_in(module: Any, table: Mapping[str, Any]) -> dict[Any, Any]:
    """A table by NumPy's functions, without those that this version of NumPy does not have."""
    return {getattr(module, name): ours for name, ours in table.items() if hasattr(module, name)}


# These have the same name here, and the same meaning.
_ALIKE_FUNCTIONS = """
sum prod mean max min astype matrix_transpose swapaxes moveaxis squeeze
expand_dims broadcast_to stack flip tile tril triu take_along_axis
"""
_ALIKE_UFUNCS = """
add subtract multiply divide negative power sqrt square exp expm1 log log1p log2 sin cos tan arcsin arccos arctan
arctan2 sinh cosh tanh absolute sign floor ceil maximum minimum matmul
"""
# Their results are booleans or integers, which have no gradient: plain arrays.
_COMPARE = """
equal not_equal less less_equal greater greater_equal isnan isinf isfinite signbit logical_and logical_or logical_xor
logical_not bitwise_and bitwise_or bitwise_xor invert left_shift right_shift gcd lcm bitwise_count
"""
# Of these the value is asked, or what is printed.
_OF_VALUES = """
all any allclose isclose array_equal array_equiv argmax argmin argsort argpartition argwhere nonzero flatnonzero
count_nonzero searchsorted digitize isin isreal iscomplex isrealobj iscomplexobj shape ndim size
result_type can_cast min_scalar_type common_type shares_memory may_share_memory tril_indices_from triu_indices_from
diag_indices_from array_repr array_str array2string
"""
# These write into their first argument.
_WRITE = "copyto put place putmask fill_diagonal put_along_axis"
UFUNCS: dict[np.ufunc, Callable[..., Any]] = _found_in(
    np,
    {
        **{name: getattr(ops, name) for name in _ALIKE_UFUNCS.split()},
        "rint": _rint,
        "positive": _same,
        "conjugate": _same,
        "fabs": _fabs,
        "reciprocal": _reciprocal,
        "log10": _log10,
        "exp2": _exp2,
        "logaddexp": _logaddexp,
        "vecdot": _vecdot,
        "matvec": _matvec,
        "vecmat": _vecmat,
    },
)
FUNCTIONS: dict[Any, Callable[..., Any]] = _found_in(
    np,
    {
        **{name: getattr(ops, name) for name in _ALIKE_FUNCTIONS.split()},
        "average": ops.mean,
        "amax": ops.max,
        "amin": ops.min,
        "ptp": _ptp,
        "var": partial(_spread, functional.var),
        "std": partial(_spread, functional.std),
        "cumsum": partial(ops.cumsum, axis=None),
        "cumulative_sum": _cumulative_sum,
        "diff": _diff,
        "clip": _clip,
        "where": _where,
        "round": _round,
        "around": _round,
        "real": _same,
        "copy": _copy,
        "zeros_like": creation.zeros_like,
        "ones_like": creation.ones_like,
        "full_like": _full_like,
        "reshape": _reshape,
        "ravel": _flat,
        "transpose": _transpose,
        "broadcast_arrays": _broadcast_arrays,
        "atleast_1d": partial(_at_least, 1),
        "atleast_2d": partial(_at_least, 2),
        "atleast_3d": partial(_at_least, 3),
        "concatenate": ops.concat,
        "hstack": _hstack,
        "vstack": _vstack,
        "dstack": _dstack,
        "column_stack": _column_stack,
        "append": _append,
        "split": _split,
        "array_split": _array_split,
        "hsplit": _hsplit,
        "vsplit": _vsplit,
        "dsplit": partial(_split, axis=2),
        "unstack": _unstack,
        "fliplr": partial(ops.flip, axis=1),
        "flipud": partial(ops.flip, axis=0),
        "roll": partial(ops.roll, axis=None),
        "repeat": partial(ops.repeat, axis=None),
        "pad": _pad,
        "diagonal": _diagonal,
        "diag": _diag,
        "trace": _trace,
        "take": partial(ops.take, axis=None),
        "sort": _sort,
        "dot": _dot,
        "inner": _inner,
        "vdot": _vdot,
        "outer": _outer,
        "tensordot": _tensordot,
        "einsum": _einsum,
    },
) | _found_in(
    np.linalg,
    {
        "norm": _norm,
        "vector_norm": _vector_norm,
        "matrix_norm": _matrix_norm,
        "matmul": ops.matmul,
        "outer": ops.outer,
        "tensordot": _tensordot,
        "vecdot": _vecdot,
        "matrix_transpose": ops.matrix_transpose,
        "diagonal": partial(_diagonal, axis1=-2, axis2=-1),
        "trace": partial(_trace, axis1=-2, axis2=-1),
    },
)
COMPARISONS, OF_VALUES, WRITING = (
    frozenset(getattr(np, name) for name in names.split()) for names in (_COMPARE, _OF_VALUES, _WRITE)
)

# --- what NumPy calls ---------------------------------------------------------------------------------------

# What an argument means when it is not given, also where NumPy's signature does not say so.
_NEUTRAL = {"where": True, "casting": "same_kind", "order": "K", "subok": True}
# NumPy before 2.4 does not tell the signatures of its functions in C.
_SIGNATURES: dict[Any, inspect.Signature] = {
    np.concatenate: inspect.signature(lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None),
    np.where: inspect.signature(lambda condition, x=None, y=None, /: None),
    np.dot: inspect.signature(lambda a, b, out=None: None),
    np.inner: inspect.signature(lambda a, b, /: None),
    np.vdot: inspect.signature(lambda a, b, /: None),
}


def array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy calls this for a ufunc of a tensor: ``Tensor.__array_ufunc__``.

    Raises
    ------
    TypeError
        The ufunc, its method or one of the options has no counterpart.
    """
    refused = [name for name, value in options.items() if not _is_default(value, _NEUTRAL.get(name))]
    if method == "__call__" and not refused:
        if ufunc in UFUNCS:
            return UFUNCS[ufunc](*inputs)
        if ufunc in COMPARISONS:
            return np.asarray(quietly(ufunc, *map(as_array, inputs)))
    name = f"np.{ufunc.__name__}" if method == "__call__" else f"np.{ufunc.__name__}.{method}"
    raise _refusal(name, refused)


def array_function(self: Any, function: Any, types: Iterable[type], args: Sequence[Any], options: Any) -> Any:
    """NumPy calls this for a function of a tensor: ``Tensor.__array_function__``.

    A function without a counterpart reads a tensor that requires no gradient as an array.

    Raises
    ------
    TypeError
        The function or one of its arguments has no counterpart.
    """
    if not all(issubclass(kind, (TensorBase, np.ndarray)) for kind in types):
        return NotImplemented
    if function in FUNCTIONS:
        return _call(function, FUNCTIONS[function], args, options)
    name = _name(function)
    found = list(_tensors_in((args, options)))
    if not found:
        raise TypeError(f"{name}: like= does not take a tensor; write a function of microtensor, such as mt.zeros")
    if function in WRITING and isinstance([*args, *options.values()][0], TensorBase):
        raise TypeError(
            f"{name} writes into its first argument, which a tensor does not allow; give it x.numpy().copy()"
        )
    if function not in OF_VALUES and any(x.requires_grad for x in found):  # type: ignore[attr-defined]
        raise _refusal(name)
    return function(*_as_arrays(args), **_as_arrays(options))


def _call(function: Any, ours: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call our function with NumPy's arguments: those without a default by position, others by name if they differ."""
    signature = _signature(function)
    arrays: list[Any] = []
    given: dict[str, Any] = {}
    for name, value in signature.bind(*args, **options).arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            arrays = list(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            given.update(value)
        elif parameter.default is parameter.empty:
            arrays.append(value if arrays or name in ("arrays", "tup") else as_operand(value))
        elif not (_is_default(value, parameter.default) or (name == "where" and value is True)):
            given[name] = value
    unknown = [name for name in given if name not in _options_of(ours)]
    if unknown:
        raise _refusal(_name(function), unknown)
    return ours(*arrays, **given)


_options_of = lru_cache(None)(lambda ours: frozenset(inspect.signature(ours).parameters))


@lru_cache(None)
def _signature(function: Any) -> inspect.Signature:
    return _SIGNATURES.get(function) or inspect.signature(function)


def _is_default(value: Any, default: Any) -> bool:
    alike = isinstance(value, (bool, int, str)) and type(value) is type(default)
    return value is default or (alike and value == default)


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


def _refusal(name: str, options: Sequence[str] = ()) -> TypeError:
    """The error for a function, or some of its options, without a counterpart."""
    if "out" in options:
        return TypeError(
            f"{name}: a result with a gradient cannot be written into out=, nor by += into an array; write "
            f"y = {name}(…), or x.numpy() for the value of a tensor"
        )
    if options:
        return TypeError(f"{name}: {', '.join(options)}= has no counterpart here; leave it out, or {_INSTEAD}")
    return TypeError(f"{name} has no counterpart here that keeps the gradient; {_INSTEAD}")


def _tensors_in(value: Any) -> Iterable[TensorBase]:
    """The tensors among arguments, also those in lists."""
    if isinstance(value, TensorBase):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


def _as_arrays(value: Any) -> Any:
    """The arguments with arrays in the place of tensors."""
    if isinstance(value, TensorBase):
        return as_array(value)
    if isinstance(value, (list, tuple)) and any(True for _ in _tensors_in(value)):
        return [_as_arrays(item) for item in value]
    return {key: _as_arrays(item) for key, item in value.items()} if isinstance(value, dict) else value
