"""The functions of ``torch.…`` and the methods of tensors, with PyTorch's arguments and meanings.

Tables hold what one line says. What a table holds works on plain tensors: :func:`function` makes it take and return
tensors of this room, and accept NumPy's ``axis=`` and ``keepdims=``, as PyTorch does.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from microtensor import functional, ops
from microtensor.core.primitive import as_array, new_tensor
from microtensor.core.tensor import Tensor as PlainTensor
from microtensor.hints import Hint
from microtensor.ops.replaced import floor_divide, remainder
from microtensor.support.axes import normalize_axis
from microtensor.torch import creation, dtypes
from microtensor.torch.dtypes import as_dtype, floating, promoted, spelled, typed
from microtensor.torch.tensor import UFUNCS, Tensor, in_dtype, in_place, view, wrap, written

_ALSO = {"axis": "dim", "keepdims": "keepdim", "input": "x"}


def function(call: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Make a function of tensors return tensors of this room, and take PyTorch's other names of its arguments."""
    outer = functools.wraps(call)(lambda *args, **options: wrap(call(*args, **_renamed(call, options))))
    outer.__name__ = outer.__qualname__ = name or call.__name__
    return _said(outer, call)


def _said(outer: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """`outer`, whose name Python's messages show for the function that it calls, too."""
    call.__qualname__ = outer.__name__ if "<" in call.__qualname__ else call.__qualname__
    return outer


def _renamed(call: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options under the names that a function has for them."""
    names = inspect.signature(call).parameters if options else {}
    return {key if key in names else _ALSO.get(key, key): value for key, value in options.items()}


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or axes that are given one by one, or as one list, tuple or shape."""
    one = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else sizes
    return tuple(int(n) for n in one)


def _axes(dim: Any) -> Any:
    """Axes for NumPy: no axes mean all axes in PyTorch."""
    return (tuple(dim) or None) if isinstance(dim, (tuple, list)) else dim


# --- functions of each element ------------------------------------------------------------------------------

# Functions that take integers as floats of the default dtype, and functions that keep integers.
_OF_FLOATS = spelled("exp expm1 log log1p log2 sqrt rsqrt reciprocal sin cos tan sinh cosh tanh sigmoid erf")
_OF_FLOATS |= spelled("arcsin arccos arctan asin=arcsin acos=arccos atan=arctan")
_OF_NUMBERS = spelled("square relu absolute abs=absolute negative neg=negative")
_STEPS = {"sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}

# --- arithmetic and comparisons -----------------------------------------------------------------------------


def _divide(a: Any, b: Any) -> Any:
    return ops.divide(*(floating(x) for x in (a, b)))


def _of_arrays(ufunc: Any) -> Callable[..., Any]:
    return lambda a, b: ufunc(as_array(a), as_array(b))


# Each with NumPy's function of the same meaning.
_ARITHMETIC = spelled("add sub=subtract subtract mul=multiply multiply pow=power maximum minimum atan2=arctan2 arctan2")
_BINARY: dict[str, Any] = {name: (getattr(ops, other), getattr(np, other)) for name, other in _ARITHMETIC.items()}
_BINARY |= {"remainder": (remainder, np.remainder), "floor_divide": (floor_divide, np.floor_divide)}
_BINARY |= {"true_divide": (_divide, np.divide)}
_COMPARISONS = spelled("eq=equal ne=not_equal gt=greater ge=greater_equal lt=less le=less_equal")
_COMPARISONS |= spelled("bitwise_and bitwise_or bitwise_xor")
_BINARY |= {name: (_of_arrays(getattr(np, other)), getattr(np, other)) for name, other in _COMPARISONS.items()}


def _binary(name: str, ours: Any) -> Callable[..., Any]:
    def call(input: Any, other: Any, *, alpha: float = 1) -> Any:
        return ours(*promoted(input, other if alpha == 1 else ops.multiply(*promoted(other, alpha))))

    return function(call, name)


def _stepped(ufunc: Any) -> Callable[..., Any]:
    """A function that is constant almost everywhere: its gradient is 0, not missing."""
    return lambda x: ops.where(np.ones(x.shape, bool), ufunc(x._array), x)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """Quotient of two tensors; integers give floats. `rounding_mode` is None, "floor"."""
    a, b = promoted(input, other)
    if rounding_mode not in (None, "floor"):
        raise TypeError(f"div: rounding_mode={rounding_mode!r} is not here; None and 'floor' are")
    return _divide(a, b) if rounding_mode is None else floor_divide(a, b)


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """Limited to the range from `min` to `max`; if min > max, all elements are max."""
    if min is None and max is None:
        raise ValueError("At least one of 'min' or 'max' must not be None")
    input, *bounds = promoted(input, *(bound for bound in (min, max) if bound is not None))
    return functional.held(input, None if min is None else bounds[0], None if max is None else bounds[-1])


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """Elementwise choice; with the condition alone, the indices of its nonzero elements, one tensor per axis."""
    return np.nonzero(condition._array) if input is None else ops.where(condition, *promoted(input, other))


# --- reductions ---------------------------------------------------------------------------------------------


def _typed(x: Any, dtype: Any) -> Any:
    return x if dtype is None else ops.astype(x, dtype=as_dtype(dtype))


def _summed(x: Any, dtype: Any) -> Any:
    """x to be added up: smaller integers and booleans as int64."""
    return ops.astype(x, dtype=np.int64) if dtype is None and x.dtype.kind != "f" else _typed(x, dtype)


def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Mean over axes. Integers raise, as in PyTorch; convert them with ``.float()``."""
    input = _typed(input, dtype)
    if input.dtype.kind != "f":
        raise RuntimeError(f"mean(): input dtype must be floating point, not {input.dtype}; use .float()")
    return ops.mean(input, axis=_axes(dim), keepdims=keepdim)


def var(input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Variance over axes, divided by N − 1; ``unbiased=False`` or ``correction=0`` divides by N."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError("unbiased and correction are the same; write one of them")
    if input.dtype.kind != "f":
        raise RuntimeError(f"var and std only support floating-point dtypes, not {input.dtype}")
    count = correction if correction is not None else 1 if unbiased is None else int(unbiased)
    axes = normalize_axis(_axes(dim), input.ndim, "var")
    size = math.prod(input.shape[i] for i in axes)
    if size > count:
        return functional.var(input, axis=axes, correction=count, keepdims=keepdim)
    # PyTorch gives NaN, where microtensor raises.
    centered = ops.square(input - ops.sum(input, axis=axes, keepdims=True) / np.asarray(size, input.dtype))
    return ops.sum(centered, axis=axes, keepdims=keepdim) / np.zeros((), input.dtype)


def std(input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Standard deviation over axes, with N − 1 as :func:`var`. Where it is 0, the gradient is 0."""
    variance = var(input, dim, unbiased, keepdim, correction=correction)
    return ops.sqrt(ops.where(np.equal(variance._array, 0), np.zeros((), variance.dtype), variance))


_PAIRS: dict[str, Any] = {n: namedtuple(n, ("values", "indices")) for n in ("max", "min", "sort", "topk")}


def _chosen(name: str, input: Any, indices: Any, dim: int, keepdim: bool = True) -> Any:
    """Values at indices along an axis, with the indices, as a named pair."""
    values = ops.take_along_axis(input, indices, axis=dim)
    if not keepdim:
        values, indices = ops.squeeze(values, axis=dim), np.squeeze(indices, axis=dim)
    return _PAIRS[name](values, indices)


def _extreme(name: str, ours: Any, elementwise: Any, index: Any) -> Callable[..., Any]:
    def call(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        """One value; with an axis a pair (values, indices); of two tensors the larger or smaller of each element."""
        if isinstance(dim, PlainTensor) or other is not None:
            return elementwise(*promoted(input, dim if other is None else other))
        if dim is None:
            return ours(input)
        return _chosen(name, input, index(input._array, axis=dim, keepdims=True), dim, keepdim)

    return call


def _order(input: Any, dim: int, descending: bool) -> Any:
    """The indices that sort along an axis; equal elements keep their order."""
    array = input._array
    order = np.argsort(np.flip(array, dim) if descending else array, axis=dim, kind="stable")
    return array.shape[dim] - 1 - np.flip(order, dim) if descending else order


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) elements along an axis in order, as a pair (values, indices)."""
    return _chosen("topk", input, np.take(_order(input, dim, largest), np.arange(k), axis=dim), dim)


# --- products -----------------------------------------------------------------------------------------------


def _product(name: str, ndim: int | None) -> Callable[..., Any]:
    def call(input: Any, other: Any) -> Any:
        """A matrix product of tensors of one dtype."""
        if ndim is not None and not (input.ndim == other.ndim == ndim and input.shape[:-2] == other.shape[:-2]):
            raise RuntimeError(f"{name}: shapes {input.shape} and {other.shape} must both have {ndim} axes and fit")
        if input.dtype != other.dtype:
            raise RuntimeError(f"{name}: expected one dtype, but got {input.dtype} and {other.dtype}")
        return ops.matmul(input, other)

    return function(call, name)


# --- views --------------------------------------------------------------------------------------------------


def _expanded(x: Any, *sizes: Any) -> Any:
    wanted = sizes_of(sizes)
    lead = len(wanted) - x.ndim
    if lead < 0 or -1 in wanted[:lead]:
        raise RuntimeError(f"expand: sizes {list(wanted)} do not fit a tensor of shape {list(x.shape)}")
    return ops.broadcast_to(x, shape=tuple(x.shape[i - lead] if n == -1 else n for i, n in enumerate(wanted)))


def _squeezed(x: Any, dim: Any = None) -> Any:
    axes = normalize_axis(_axes(dim), x.ndim, "squeeze") if x.ndim else ()
    return ops.squeeze(x, axis=tuple(i for i in axes if x.shape[i] == 1))


def _narrowed(x: Any, dim: int, start: int, length: int) -> Any:
    axis = normalize_axis(dim, x.ndim, "narrow")[0]
    return ops.getitem(x, index=(slice(None),) * axis + (slice(start, start + length),))


def _turned(x: Any) -> Any:
    if x.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
    return ops.permute_dims(x)


_VIEWS: dict[str, Callable[..., Any]] = {
    "view": lambda x, *shape: ops.reshape(x, shape=sizes_of(shape)),
    "view_as": lambda x, other: ops.reshape(x, shape=other.shape),
    "expand": _expanded,
    "expand_as": lambda x, other: ops.broadcast_to(x, shape=other.shape),
    "squeeze": _squeezed,
    "unsqueeze": lambda x, dim: ops.expand_dims(x, axis=dim),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), lambda x, dim0, dim1: ops.swapaxes(x, dim0, dim1)),
    "t": _turned,
    "permute": lambda x, *axes, dims=(): ops.permute_dims(x, axes=sizes_of(axes or dims)),
    "moveaxis": lambda x, source, destination: ops.moveaxis(x, source, destination),
    "mT": lambda x: ops.matrix_transpose(x),
    "T": lambda x: ops.permute_dims(x),
    "narrow": _narrowed,
    "diagonal": lambda x, *, dim1=0, dim2=1: ops.diagonal(ops.moveaxis(x, (dim1, dim2), (-2, -1))),
}


def _viewing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def outer(input: Any, *args: Any, **options: Any) -> Any:
        renamed = _renamed(call, options)
        return view(input, lambda x: call(x, *args, **renamed))

    outer.__name__ = outer.__qualname__ = name
    return _said(outer, call)


def reshape(input: Tensor, *shape: Any) -> Any:
    """The elements in another shape: in the same memory where that is possible, else a copy."""
    sizes = sizes_of(shape)
    shares = np.may_share_memory(np.reshape(input._array, sizes), input._array) or not input._array.size
    return FUNCTIONS["view"](input, sizes) if shares else wrap(ops.reshape(input, shape=sizes))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from `start_dim` to `end_dim` joined into one, in the same memory where that is possible."""
    return reshape(input, ops.flatten(np.broadcast_to(0, input._array.shape), start_dim, end_dim).shape)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Pieces of a size along an axis, the last one smaller; or pieces of the given sizes. They are views."""
    size, counts = tensor.shape[dim], split_size_or_sections
    if isinstance(counts, int):
        counts = [builtins.min(counts, size - i) for i in range(0, size, counts)]
    if builtins.sum(counts) != size:
        raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {size}, but got {counts}")
    return tuple(FUNCTIONS["narrow"](tensor, dim, builtins.sum(counts[:i]), n) for i, n in enumerate(counts))


def to(input: Tensor, *target: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Any:
    """The tensor in another dtype: itself when nothing changes. The target is a dtype, a device or a tensor."""
    for part in (device, *target):
        if isinstance(part, (PlainTensor, np.dtype)):
            dtype = getattr(part, "dtype", part)
        elif not isinstance(part, bool):
            dtypes.check_device(part)
    if dtype is None or as_dtype(dtype) == input._array.dtype:
        return FUNCTIONS["clone"](input) if copy else input
    return wrap(ops.astype(input, dtype=as_dtype(dtype)))


# --- selections and combinations ----------------------------------------------------------------------------


def cat(tensors: Any, dim: int = 0) -> Any:
    """Tensors joined along an axis. Different dtypes are promoted, and empty vectors are left out."""
    parts = promoted(*tensors)
    return ops.concat([x for x in parts if x.shape != (0,)] or parts, axis=dim)


def repeat(input: Any, *repeats: Any) -> Any:
    """Copies along each axis: ``repeat(2, 1)`` doubles the first of two axes. Further counts add axes in front."""
    if len(sizes_of(repeats)) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    return ops.tile(input, sizes_of(repeats))


def _grid(index: Any, shape: tuple[int, ...], dim: int) -> tuple[Any, ...]:
    """The places that gather and scatter read or write."""
    array, axis = index._array, normalize_axis(dim, len(shape), "gather and scatter")[0]
    if array.dtype not in (np.int64, np.int32) or array.ndim != len(shape):
        raise RuntimeError(
            f"gather and scatter: the index must be int64 with {len(shape)} axes, not {array.dtype} of {array.shape}"
        )
    if array.size and not 0 <= array.min() <= array.max() < shape[axis]:
        raise RuntimeError(f"gather and scatter: an index is out of bounds for axis {axis} with size {shape[axis]}")
    grid = list(np.ogrid[tuple(slice(n) for n in array.shape)])
    grid[axis] = array
    return tuple(grid)


def _source(src: Any, index: Any, input: Any) -> Any:
    """The elements of a scatter that are used: src may be larger than the index."""
    if not isinstance(src, PlainTensor):
        return np.full(index.shape, src, input.dtype)
    if src.dtype != input.dtype:
        raise RuntimeError(f"scatter: expected src to have dtype {input.dtype}, not {src.dtype}")
    return ops.getitem(src, index=tuple(slice(n) for n in index.shape))


def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Any:
    """A copy with elements of `src`, or one number, at indices along an axis."""
    grid = _grid(index, input.shape, dim)
    places = np.arange(input._array.size).reshape(input.shape)[grid]
    return written(input, _source(value if src is None else src, index, input), places)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A copy with one value where the mask is true."""
    if mask.dtype.kind != "b":
        raise RuntimeError(f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype}")
    return ops.where(mask, in_dtype(value, input.dtype), input)


def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Any:
    """Indices drawn with the weights of each row."""
    rows = np.atleast_2d(input._array.astype(np.float64))
    rng = creation.draws_of(generator)
    chosen = [rng.choice(row.size, num_samples, replacement, row / row.sum()) for row in rows]
    return np.stack(chosen).reshape((*input.shape[:-1], num_samples))


def tensor_type(input: Tensor, dtype: Any = None) -> Any:
    """Without an argument the name of the type, such as "torch.FloatTensor"; else as :func:`to`."""
    names = {kind: f"torch.{name}" for name, kind in dtypes.TYPED.items()}
    return names[input._array.dtype] if dtype is None else to(input, typed(dtype))


# --- the tables ---------------------------------------------------------------------------------------------


def _one_number(name: str, convert: Callable[[Any], Any]) -> Callable[..., Any]:
    ours = getattr(ops, name, None) or getattr(functional, name)
    return lambda x: ours(convert(x))


def _along(ours: Callable[..., Any]) -> Callable[..., Any]:
    def call(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
        """Along an axis. If none is given, PyTorch takes 0 for tensors of 0, 1 or 3 axes, else 1."""
        return ours(_typed(input, dtype), dim if dim is not None else 0 if input.ndim in (0, 1, 3) else 1)

    return call


_TABLE: dict[str, Callable[..., Any]] = {
    **{name: _one_number(ours, floating) for name, ours in _OF_FLOATS.items()},
    **{name: _one_number(ours, lambda x: x) for name, ours in _OF_NUMBERS.items()},
    **{call.__name__: call for call in (div, mean, var, std, topk, repeat, scatter, masked_fill, multinomial, clamp)},
    "clip": clamp,
    "divide": div,
    "softmax": _along(functional.softmax),
    "log_softmax": _along(functional.log_softmax),
    "max": _extreme("max", ops.max, ops.maximum, np.argmax),
    "min": _extreme("min", ops.min, ops.minimum, np.argmin),
    "log10": lambda x: ops.log(floating(x)) * (1 / math.log(10)),
    **{name: _stepped(ufunc) for name, ufunc in _STEPS.items()},
    "round": lambda x, *, decimals=0: _stepped(lambda array: np.round(array, decimals))(x),
    "sum": lambda x, dim=None, keepdim=False, *, dtype=None: ops.sum(_summed(x, dtype), _axes(dim), keepdim),
    "prod": lambda x, dim=None, keepdim=False, *, dtype=None: ops.prod(_summed(x, dtype), dim, keepdim),
    "cumsum": lambda x, dim, *, dtype=None: ops.cumsum(_summed(x, dtype), axis=dim),
    "logsumexp": lambda x, dim, keepdim=False: functional.logsumexp(floating(x), _axes(dim), keepdim),
    "any": lambda x, dim=None, keepdim=False: ops.any(x, _axes(dim), keepdim),
    "all": lambda x, dim=None, keepdim=False: ops.all(x, _axes(dim), keepdim),
    "argmax": lambda x, dim=None, keepdim=False: ops.argmax(x, dim, keepdim),
    "argmin": lambda x, dim=None, keepdim=False: ops.argmin(x, dim, keepdim),
    "sort": lambda x, dim=-1, descending=False, stable=True: _chosen("sort", x, _order(x, dim, descending), dim),
    "norm": lambda x, p=2, dim=None, keepdim=False: functional.norm(x, _axes(dim), keepdim, 2 if p == "fro" else p),
    "outer": lambda x, vec2: ops.outer(*promoted(x, vec2)),
    "clone": lambda x, *, memory_format=None: ops.reshape(x, shape=x.shape, copy=True),
    "tile": lambda x, *dims: ops.tile(x, sizes_of(dims)),
    "flip": lambda x, *axes, dims=(): ops.reshape(ops.flip(x, sizes_of(axes or (dims,))), shape=x.shape, copy=True),
    "roll": lambda x, shifts, dims=None: ops.roll(x, shifts, dims),
    "take": lambda x, index: ops.take(x, index, None),
    "tril": lambda x, diagonal=0: ops.tril(x, diagonal),
    "triu": lambda x, diagonal=0: ops.triu(x, diagonal),
    "gather": lambda x, dim, index: ops.getitem(x, index=_grid(index, x.shape, dim)),
    "scatter_add": lambda x, dim, index, src: x + ops.put(_source(src, index, x), _grid(index, x.shape, dim), x.shape),
    "numel": lambda x: int(x._array.size),
}
# Functions that are not methods, and those whose first argument is not the tensor of the method.
FUNCTIONS_ONLY: dict[str, Callable[..., Any]] = {
    "cat": function(cat),
    "where": function(where),
    "stack": function(lambda tensors, dim=0: ops.stack(promoted(*tensors), axis=dim), "stack"),
    "einsum": function(lambda equation, *operands: ops.einsum(equation, *operands), "einsum"),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: function(call, name) for name, call in _TABLE.items()},
    **{name: _binary(name, ours) for name, (ours, _) in _BINARY.items()},
    **{name: _viewing(name, call) for name, call in _VIEWS.items()},
    **{name: _product(name, ndim) for name, ndim in {"matmul": None, "mm": 2, "bmm": 3, "dot": 1}.items()},
    **{call.__name__: call for call in (reshape, flatten, split)},
    "chunk": lambda x, chunks, dim=0: split(x, -(-x.shape[dim] // chunks), dim),
    "unbind": lambda x, dim=0: tuple(FUNCTIONS["moveaxis"](x, dim, 0)),
}
ONLY_METHODS = ("view", "view_as", "expand", "expand_as", "repeat", "mT", "T")
# Functions that change a tensor when their name ends in "_".
IN_PLACE = spelled("abs add sub mul div pow clamp neg exp sqrt sigmoid tanh relu masked_fill round floor remainder")
IN_PLACE |= spelled("scatter scatter_add tril triu")
_OPERATORS = spelled("add sub mul truediv=div pow floordiv=floor_divide mod=remainder matmul")
_OPERATORS |= spelled("and=bitwise_and or=bitwise_or xor=bitwise_xor")
_CASTS = spelled("float double half long int short bool byte=uint8")
# What has another meaning here than in ``mt.Tensor``. The rest of the package must not read these off a tensor.
OVERRIDDEN = spelled("all any argmax argmin cumsum data diagonal flip log_softmax max min norm numpy repeat roll round")
OVERRIDDEN |= spelled("scatter_add softmax sort split squeeze std take tile var")


def _operator(call: Callable[..., Any], swap: bool = False) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, (PlainTensor, np.ndarray, np.generic, int, float)):
            return NotImplemented
        return call(other, self) if swap else call(self, other)

    return method


def _cast(name: str) -> Callable[..., Any]:
    return lambda self: to(self, dtypes.NAMES[name])


def _filled(self: Tensor, src: Any = 0, *_: Any) -> Any:
    """A number, an array or another tensor in the shape and dtype of a tensor."""
    return ops.broadcast_to(in_dtype(src, self._array.dtype), shape=self._array.shape)


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A method that fills a tensor with random numbers."""

    def call(self: Tensor, *settings: Any, generator: Any = None, **named: Any) -> Any:
        return new_tensor(np.asarray(draw(creation.draws_of(generator), self._array.shape, *settings, **named)))

    return call


METHODS: dict[str, Any] = {
    **{name: in_place(FUNCTIONS[name.rstrip("_")], name) for name in (name + "_" for name in IN_PLACE)},
    **{name: in_place(_filled, name) for name in ("copy_", "fill_", "zero_")},
    "normal_": in_place(_drawn(lambda rng, shape, mean=0, std=1: rng.normal(mean, std, shape)), "normal_"),
    "uniform_": in_place(_drawn(lambda rng, shape, a=0, b=1: a + (b - a) * rng.random(shape)), "uniform_"),
    **{f"__{name}__": _operator(FUNCTIONS[call]) for name, call in _OPERATORS.items()},
    **{f"__r{name}__": _operator(FUNCTIONS[call], swap=True) for name, call in _OPERATORS.items()},
    **{f"__i{name}__": in_place(FUNCTIONS[call], name) for name, call in _OPERATORS.items() if name != "matmul"},
    **{f"__{name}__": _operator(FUNCTIONS[name]) for name in ("eq", "ne", "gt", "ge", "lt", "le")},
    **{f"__{name}__": FUNCTIONS[name] for name in ("neg", "abs")},
    "__invert__": function(lambda x: np.invert(x._array), "invert"),
    **{name: _cast(dtype) for name, dtype in _CASTS.items()},
    **dict.fromkeys(("to", "type_as", "cpu"), to),
    "type": tensor_type,
    "nelement": FUNCTIONS["numel"],
    "cuda": lambda self, device=None: dtypes.check_device("cuda"),
    "where": lambda self, condition, other: FUNCTIONS_ONLY["where"](condition, self, other),
    "contiguous": lambda self: self if self._array.flags.c_contiguous else FUNCTIONS["clone"](self),
    "device": property(lambda self: dtypes.device("cpu")),
    "dim": lambda self: self._array.ndim,
    "tolist": lambda self: self._array.tolist(),
    **{name: property(FUNCTIONS[name]) for name in ("T", "mT")},
}


def _attach() -> None:
    ours = {name: value for name, value in vars(PlainTensor).items() if name[0] != "_" and not isinstance(value, Hint)}
    alone = {name: function(value) for name, value in ours.items() if inspect.isroutine(value) and name != "assign_"}
    for name, value in {**alone, **FUNCTIONS, **METHODS}.items():
        if inspect.isfunction(value) and value.__name__ == "<lambda>":
            value.__qualname__ = name
        if name not in vars(Tensor):
            setattr(Tensor, name, value)
    UFUNCS.update({ufunc: FUNCTIONS["div" if name == "true_divide" else name] for name, (_, ufunc) in _BINARY.items()})


_attach()
