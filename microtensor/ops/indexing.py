"""Selection of elements, and its adjoint, which puts them back into zeros."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, SupportsIndex

import numpy as np

from microtensor.checks import check_flag, renamed
from microtensor.core.ops import astype, reshape
from microtensor.core.primitive import Primitive, TensorBase, VariadicRule, as_array, label, new_tensor, primitive
from microtensor.hints import spelled
from microtensor.ops.common import as_operand, ensure, one_axis, shape_of, stop_gradient
from microtensor.ops.elementwise import masked, where
from microtensor.ops.shape import expand_dims, flattened
from microtensor.support.arrays import Array, accumulator, own_array, plain_array
from microtensor.support.axes import (
    Axis,
    Shape,
    check_room,
    integer,
    integers,
    normalize_axis,
    settled_shape,
    shape_of_new,
    sizes,
)
from microtensor.support.modes import current_mode

__all__ = [
    "concat",
    "diagonal",
    "embedding",
    "flip",
    "pad",
    "pick",
    "repeat",
    "roll",
    "scatter_add",
    "sort",
    "split",
    "stack",
    "take",
    "take_along_axis",
    "tril",
    "triu",
]


def kept(indices: Any, own: Array) -> Any:
    """What a record keeps of indices: for a tensor its value and its name, which a picture shows; else `own`."""
    if not isinstance(indices, TensorBase):
        return own
    # A trace has no values yet, but it has checked them in `own`.
    return label(new_tensor(indices._array if type(indices._array) is np.ndarray else own), indices._name)


def _plain(index: Any) -> Any:
    """The index with arrays in the place of tensors."""
    if isinstance(index, tuple):
        return tuple(i._array if isinstance(i, TensorBase) else i for i in index)
    return index._array if isinstance(index, TensorBase) else index


def _put(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    index = _plain(index)
    if _is_basic(index):
        out = np.zeros(shape, dtype=g.dtype)
        out[index] = g
        return out
    # Repeated indices add up; a plain assignment would keep only the last value.
    sums = np.zeros(shape, dtype=accumulator(g.dtype) or g.dtype)
    np.add.at(sums, index, g)
    return sums.astype(g.dtype, copy=False)


def _is_basic(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in items)


def _getitem(x: Any, index: Any) -> Any:
    return x[_plain(index)]


def _add_at(total: Array, g: Array, index: Any) -> None:
    """total + put(g, index, total.shape), in place and in the time of g."""
    index = _plain(index)
    if _is_basic(index):
        total[index] += g
    elif accumulator(g.dtype) is None:
        np.add.at(total, index, g)
    else:
        total += _put(g, index, total.shape)


getitem = primitive(
    "getitem",
    _getitem,
    lambda g, y, x, index: put(g, index=index, shape=x.shape),
    symbol="x[i]",
    rule_text=("g at [i]",),
    into=_add_at,
    doc="""Elements by NumPy's indexing: integers, slices, arrays of integers or booleans, None and Ellipsis.

    An element selected twice gets the sum of both gradients. Raises IndexError for an index out of range.

    >>> import microtensor as mt
    >>> mt.ops.getitem(mt.tensor([1.0, 2.0, 3.0]), slice(1, None))
    tensor([2., 3.])
    """,
)

put: Primitive[Any] = primitive(
    "put",
    _put,
    lambda g, y, x, index, shape: getitem(g, index=index),
    rule_text=("g[i]",),
    settle=settled_shape("put"),
    doc="""The adjoint of indexing: zeros of `shape` with x added at `index`.

    >>> import microtensor as mt
    >>> mt.ops.put(mt.tensor([1.0, 2.0]), [0, 0], (3,))
    tensor([3., 0., 0.])
    """,
)


def _own(x: Any, who: str) -> Any:
    """A tensor as it is; a copy of anything else as an array."""
    return x if isinstance(x, TensorBase) else own_array(x, who)


def _integer_indices(indices: Any, who: str) -> Array:
    """A copy of the indices as an array of integers. Booleans raise: they select by another rule."""
    found = as_array(indices)
    if current_mode().tracer is None or isinstance(found, (np.ndarray, list, tuple, int)):
        found = np.array(found)
    if found.size == 0 and not isinstance(indices, np.ndarray):
        # NumPy converts an empty list to an array of floats.
        found = found.astype(np.intp)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{who}: indices have dtype {found.dtype}; they must be integers")
    return found  # type: ignore[no-any-return]


def _within(indices: Array, size: int, axis: int, who: str) -> Array:
    """The indices, after a check that they are in range. Negative ones count from the end."""
    ensure(check_indices, indices, -size, size, f"{who}: index {{}} is out of range for axis {axis} with size {size}")
    return indices


def check_indices(indices: Any, least: int, size: int, text: str) -> None:
    """Raise an IndexError unless all indices are at least `least` and less than `size`; {} in its text is the index."""
    indices = as_array(indices)
    if indices.size and not (indices.min() >= least and indices.max() < size):
        raise IndexError(text.replace("{}", str(indices.min() if indices.min() < least else indices.max())))


def _one_a_position(shape: tuple[int, ...], indices: Any, axis: int, who: str) -> tuple[Any, ...]:
    """The advanced index of one element along `axis` per position of the other axes."""
    indices = np.asarray(as_array(indices))
    rest = shape[:axis] + shape[axis + 1 :]
    if indices.shape != rest:
        raise ValueError(f"{who}: indices have shape {indices.shape}; it must be {rest}, one index per position")
    indices = _integer_indices(indices, who)
    check_indices(indices, 0, shape[axis], f"{who}: index {{}} is out of range for axis {axis} with size {shape[axis]}")
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in rest)])
    grid.insert(axis, indices)
    return tuple(grid)


def _place(g: Array, indices: Any, axis: int, size: int) -> Array:
    out = np.zeros((*g.shape[:axis], size, *g.shape[axis:]), dtype=g.dtype)
    out[_one_a_position(out.shape, indices, axis, "place")] = g
    return out


def _pick(x: Any, indices: Any, axis: int = -1) -> Array:
    x = plain_array(x)
    picked: Array = x[_one_a_position(x.shape, indices, one_axis(axis, x.ndim, "pick"), "pick")]
    return picked


def _settle_pick(params: dict[str, Any], arrays: list[Any]) -> None:
    if "axis" in params:
        params["axis"] = one_axis(params["axis"], np.ndim(arrays[0]), "pick")


def _settle_place(params: dict[str, Any], arrays: list[Any]) -> None:
    shape = np.shape(arrays[0])
    params["axis"] = axis = one_axis(params.get("axis"), len(shape) + 1, "place")
    params["size"] = size = integer(params.get("size"), "size", "place")
    shape_of_new((*shape[:axis], size, *shape[axis:]), "place")


pick = primitive(
    "pick",
    _pick,
    lambda g, y, x, indices, axis=-1: place(g, indices, axis=axis, size=x.shape[axis]),
    None,
    rule_text=("g where picked", ""),
    settle=_settle_pick,
    doc="""One element along `axis` per position of the other axes: y[i] = x[i, indices[i]] for a matrix.

    `indices` and the result have the shape of x without `axis`. Raises IndexError for an index that is negative or out
    of range, ValueError when the shapes do not fit, and TypeError when the indices are not integers.

    >>> import microtensor as mt
    >>> mt.pick(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 0])
    tensor([2., 3.])
    """,
)

place: Primitive[Any] = primitive(
    "place",
    _place,
    lambda g, y, x, indices, axis, size: pick(g, indices, axis=axis),
    None,
    rule_text=("g where placed", ""),
    settle=_settle_place,
    doc="""The adjoint of pick: zeros with a new `axis` of size `size`, and x at `indices` along it.

    >>> import microtensor as mt
    >>> mt.ops.place(mt.tensor([5.0, 6.0]), [1, 0], axis=1, size=2)
    tensor([[0., 5.],
            [6., 0.]])
    """,
)


@spelled
def take(x: Any, indices: Any, axis: SupportsIndex | None = 0) -> Any:
    """Elements at integer indices along one axis. An element taken twice gets the sum of both gradients.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        Any shape. In the shape of the result it replaces the axis.
    axis : int, optional
        None takes from the flattened tensor, as in NumPy.

    Raises
    ------
    TypeError
        The indices are not integers.
    IndexError
        An index is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.take(mt.tensor([1.0, 2.0, 3.0]), [2, 0, 2])
    tensor([3., 1., 3.])
    """
    x, place = flattened(x, axis, "take")
    places = _within(_integer_indices(indices, "take"), x.shape[place], place, "take")
    return getitem(x, index=(slice(None),) * place + (kept(indices, places),))


@spelled
def embedding(indices: Any, weight: Any, padding_idx: SupportsIndex | None = None) -> Any:
    """Rows of a table: y[…] = weight[indices[…]].

    Parameters
    ----------
    indices : array_like of int
        Any shape.
    weight : Tensor
        Shape (number of rows, size of a row).
    padding_idx : int, optional
        The row that gets no gradient. A negative number counts from the end.

    Raises
    ------
    TypeError
        The indices are not integers.
    IndexError
        An index is negative or not less than the number of rows, or there is no row `padding_idx`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.embedding([1, 0], mt.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    weight = as_operand(weight)
    rows, count = _integer_indices(indices, "embedding"), weight.shape[0]
    ensure(check_indices, rows, 0, count, f"embedding: index {{}} is out of range of {count} rows")
    found = getitem(weight, index=kept(indices if isinstance(indices, TensorBase) else new_tensor(rows), rows))
    if padding_idx is None:
        return found
    padding = integer(padding_idx, "padding_idx", "embedding")
    if not -weight.shape[0] <= padding < weight.shape[0]:
        raise IndexError(f"embedding: padding_idx {padding} is out of range of {weight.shape[0]} rows")
    is_padding = np.expand_dims(rows == padding % weight.shape[0], -1)
    return where(is_padding, stop_gradient(found), found)


def _along(indices: Array, shape: tuple[int, ...], axis: int, who: str) -> tuple[Any, ...]:
    """The advanced index of take_along_axis: `indices` along the axis, every position of the others."""
    pairs = zip(indices.shape, shape, strict=True)
    if any(n != size and 1 not in (n, size) for i, (n, size) in enumerate(pairs) if i != axis):
        raise ValueError(f"{who}: indices of shape {indices.shape} differ from shape {shape} in more than axis {axis}")
    _within(indices, shape[axis], axis, who)
    grid: list[Any] = [np.arange(n).reshape((-1,) + (1,) * (len(shape) - i - 1)) for i, n in enumerate(shape)]
    grid[axis] = indices
    return tuple(grid)


@spelled
def take_along_axis(x: Any, indices: Any, axis: SupportsIndex | None = -1) -> Any:
    """Elements along an axis, at indices for each position of the other axes: y[i, j] = x[i, indices[i, j]] for axis 1.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        As many axes as x, and the sizes of x except along `axis`.
    axis : int, optional
        None takes from the flattened tensor, as in NumPy. The indices must then have one axis.

    Raises
    ------
    TypeError
        The indices are not integers.
    ValueError
        The number of axes differs.
    IndexError
        An index is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.take_along_axis(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), [[1], [0]], axis=1)
    tensor([[2.],
            [3.]])
    """
    x, along = flattened(x, axis, "take_along_axis")
    places = _integer_indices(indices, "take_along_axis")
    if places.ndim != x.ndim:
        raise ValueError(f"take_along_axis: indices of shape {places.shape} must have as many axes as x, {x.shape}")
    return getitem(x, index=_along(places, x.shape, along, "take_along_axis"))


@spelled
def scatter_add(x: Any, indices: Any, updates: Any, axis: SupportsIndex = -1) -> Any:
    """x with `updates` added at indices along an axis. Updates at the same index add up.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        As many axes as x, and the sizes of x except along `axis`.
    updates : Tensor or array_like
        The shape of `indices`.
    axis : int

    Raises
    ------
    ValueError
        The shapes do not fit.
    IndexError
        An index is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.scatter_add(mt.zeros(3), [0, 0, 2], mt.tensor([1.0, 2.0, 5.0]))
    tensor([3., 0., 5.])
    """
    x = as_operand(x)
    along = one_axis(axis, x.ndim, "scatter_add")
    places = _integer_indices(indices, "scatter_add")
    updates = _own(updates, "scatter_add: updates")
    if places.ndim != x.ndim or places.shape != np.shape(updates):
        raise ValueError(
            f"scatter_add: a tensor of shape {x.shape}, indices of shape {places.shape} and updates of shape "
            f"{np.shape(updates)} do not fit; updates must have the shape of indices, and x as many axes"
        )
    index = _along(places, x.shape, along, "scatter_add")
    if x.dtype.char != "e":
        return x + put(updates, index=index, shape=x.shape)
    # Everything is added up in float32, x too.
    wide = astype(updates, dtype=np.float32)
    return astype(astype(x, dtype=np.float32) + put(wide, index=index, shape=x.shape), dtype=x.dtype)


@spelled
def sort(x: Any, axis: SupportsIndex | None = -1, descending: bool = False, stable: bool = True) -> Any:
    """Elements in order along an axis. The gradient goes back to the original positions.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        None sorts the flattened tensor, as in NumPy.
    descending : bool
        Largest first. NaN counts as the largest, as in PyTorch.
    stable : bool
        Equal elements keep their order. False gives the same result.

    Raises
    ------
    numpy.exceptions.AxisError
        The axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.sort(mt.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    x, along = flattened(x, axis, "sort")
    values = as_array(x)
    check_flag(stable, "stable", "sort")
    if not check_flag(descending, "descending", "sort"):
        return take_along_axis(x, np.argsort(values, axis=along, kind="stable"), axis=along)
    # Reverse, sort, reverse: equal elements keep their order. To sort −x would fail, because −x can overflow.
    order = np.flip(np.argsort(np.flip(values, axis=along), axis=along, kind="stable"), axis=along)
    return take_along_axis(x, x.shape[along] - 1 - order, axis=along)


@spelled
def flip(x: Any, axis: Axis = None) -> Any:
    """Elements in reverse order along axes; default: all axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.flip(mt.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    x = as_operand(x)
    axes = normalize_axis(axis, x.ndim, "flip")
    return getitem(x, index=tuple(slice(None, None, -1 if i in axes else None) for i in range(x.ndim)))


@spelled
def roll(x: Any, shift: Shape, axis: Axis = -1) -> Any:
    """Elements moved along axes by `shift` places. Elements that leave at one end come in at the other.

    Parameters
    ----------
    x : Tensor
    shift : int or sequence of int
        One number per axis, or one for all axes.
    axis : int or sequence of int, optional
        None moves the elements of the flattened tensor and restores its shape, as in NumPy. An axis that is given
        twice is moved twice.

    Raises
    ------
    ValueError
        There are not as many shifts as axes.
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.roll(mt.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    x = as_operand(x)
    if axis is None:
        return reshape(roll(reshape(x, shape=(-1,)), shift, axis=0), shape=x.shape)
    shifts, axes = integers(shift, "shift", "roll"), integers(axis, "axis", "roll")
    count = builtins.max(len(shifts), len(axes)) if shifts and axes else 0
    if any(len(n) not in (1, count) for n in (shifts, axes)):
        raise ValueError(f"roll: shift {shifts} and axis {axes}; write one shift per axis, or one for all")
    moves: dict[int, int] = {}
    spread = [n * count if len(n) == 1 else n for n in (shifts, axes)]
    for places, index in zip(*spread, strict=True):
        place = one_axis(index, x.ndim, "roll")
        moves[place] = moves.get(place, 0) + places
    rolled = x
    for place, places in moves.items():
        size = builtins.max(x.shape[place], 1)
        rolled = take(rolled, np.roll(np.arange(x.shape[place]), places % size), axis=place)
    return rolled if moves else getitem(x, index=...)


@spelled
def repeat(x: Any, repeats: Shape, axis: SupportsIndex | None = -1) -> Any:
    """Each element along an axis, repeated.

    Parameters
    ----------
    x : Tensor
    repeats : int or sequence of int
        How often each element is repeated: one number for all, or one number per element.
    axis : int, optional
        None repeats the elements of the flattened tensor, as in NumPy.

    Raises
    ------
    ValueError
        A number is negative, there is not one number per element, or the result has more than 2³⁶ elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.repeat(mt.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    x, place = flattened(x, axis, "repeat")
    size = x.shape[place]
    counts = sizes(repeats, "repeats", "repeat")
    if len(counts) not in (1, size):
        raise ValueError(f"repeat: {len(counts)} repeats for axis {place} of shape {x.shape}; write one or {size}")
    total = builtins.sum(counts * size if len(counts) == 1 else counts)
    check_room((*x.shape[:place], total, *x.shape[place + 1 :]), "repeat")
    return take(x, np.repeat(np.arange(size), counts), axis=place)


@spelled
def diagonal(x: Any) -> Any:
    """The main diagonal of the last two axes.

    Raises
    ------
    ValueError
        There are fewer than two axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.diagonal(mt.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    x = as_operand(x)
    if x.ndim < 2:
        raise ValueError(f"diagonal: shape {x.shape} must have at least two axes")
    places = np.arange(builtins.min(x.shape[-2:]))
    return getitem(x, index=(..., places, places))


def _below(x: Any, k: Any, who: str) -> Array:
    """A mask of the last two axes: true on and below the k-th diagonal."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"{who}: shape {shape} must have at least two axes")
    # All diagonals outside the matrix give the same, so the nearest one is used.
    within = builtins.max(-shape[-2], builtins.min(integer(k, "k", who), shape[-1]))
    return np.tri(shape[-2], shape[-1], within, dtype=bool)


@spelled
def tril(x: Any, k: SupportsIndex = 0) -> Any:
    """The lower triangle: x with zeros above the k-th diagonal of the last two axes.

    Raises
    ------
    ValueError
        There are fewer than two axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tril(mt.ones((2, 2)))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return masked(x, _below(x, k, "tril"))


@spelled
def triu(x: Any, k: SupportsIndex = 0) -> Any:
    """The upper triangle: x with zeros below the k-th diagonal of the last two axes.

    Raises
    ------
    ValueError
        There are fewer than two axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.triu(mt.ones((2, 2)))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return masked(x, ~_below(x, integer(k, "k", "triu") - 1, "triu"))


@spelled
def pad(x: Any, widths: Sequence[Sequence[SupportsIndex]], value: float = 0.0) -> Any:
    """x with a constant value added before and after it along each axis.

    Parameters
    ----------
    x : Tensor
    widths : sequence of pairs
        One pair (before, after) per axis. NumPy also takes one pair for all axes.
    value : float

    Raises
    ------
    TypeError
        A width is not an integer.
    ValueError
        There is not one pair per axis, a width is negative, or the result has more than 2³⁶ elements.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.pad(mt.tensor([1.0, 2.0]), [(1, 0)])
    tensor([0., 1., 2.])
    """
    return padded(x, widths, value, "pad")


def padded(x: Any, widths: Sequence[Sequence[SupportsIndex]], value: float, who: str) -> Any:
    """As :func:`pad`, with `who` as the name in errors."""
    x = as_operand(x)
    rows = isinstance(widths, (tuple, list)) or getattr(widths, "ndim", 0) == 2
    edges = [integers(pair, "widths", who) for pair in widths] if rows else []
    if not rows or len(edges) != x.ndim or any(len(pair) != 2 or builtins.min(pair) < 0 for pair in edges):
        raise ValueError(f"{who}: widths {widths!r} for shape {x.shape}; write one pair (before, after) per axis")
    shape = tuple(a + n + b for n, (a, b) in zip(x.shape, edges, strict=True))
    check_room(shape, who)
    index = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, edges, strict=True))
    out = put(x, index=index, shape=shape)
    _own(value, f"{who}: value")
    if value == 0:
        return out
    border = np.ones(shape, dtype=bool)
    border[index] = False
    return where(border, value, out)


def _concat(*pieces: Array, axis: int = 0) -> Array:
    shapes = [np.shape(piece) for piece in pieces]
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rest) > 1 or len(set(map(len, shapes))) > 1:
        raise ValueError(f"concat: shapes {', '.join(map(str, shapes))} differ in more than axis {axis}")
    return np.concatenate(pieces, axis=axis)


def _concat_rule(i: int, g: Any, y: Any, *pieces: Any, axis: int = 0) -> Any:
    before = builtins.sum(piece.shape[axis] for piece in pieces[:i])
    return _slice(g, axis, before, before + pieces[i].shape[axis])


def _settle_concat(params: dict[str, Any], pieces: list[Any]) -> None:
    params["axis"] = one_axis(params.get("axis", 0), np.ndim(pieces[0]), "concat")


def _slice(x: Any, axis: int, start: int, stop: int) -> Any:
    return getitem(x, index=(slice(None),) * axis + (slice(start, stop),))


_join: Primitive[Any] = primitive(
    "concat",
    _concat,
    VariadicRule(_concat_rule),
    rule_text=("its part of g",),
    settle=_settle_concat,
    doc="""Join tensors along an existing axis.

    >>> import microtensor as mt
    >>> mt.concat([mt.tensor([1.0]), mt.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """,
)


@renamed(pieces="arrays")
@spelled
def concat(arrays: Sequence[Any], axis: SupportsIndex | None = 0) -> Any:
    """Join tensors along an existing axis.

    Parameters
    ----------
    arrays : sequence of Tensor
        Tensors of one shape, except along `axis`.
    axis : int, optional
        None flattens all tensors first, as in NumPy.

    Raises
    ------
    ValueError
        There are no tensors, or their shapes differ in another axis.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.concat([mt.tensor([1.0]), mt.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    if not len(arrays):
        raise ValueError("concat: arrays is empty; it must hold at least one tensor")
    if axis is None:
        arrays, axis = [reshape(x, shape=(-1,)) for x in arrays], 0
    return _join(*arrays, axis=axis)


@renamed(pieces="arrays")
@spelled
def stack(arrays: Sequence[Any], axis: SupportsIndex = 0) -> Any:
    """Join tensors of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of Tensor or array_like
    axis : int
        The place of the new axis in the result.

    Raises
    ------
    ValueError
        There are no tensors, or their shapes differ.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.stack([mt.tensor([1.0, 2.0]), mt.tensor([3.0, 4.0])], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    pieces = [_own(p, f"stack: piece {i}") for i, p in enumerate(arrays)]
    if not pieces or len({p.shape for p in pieces}) > 1:
        raise ValueError(f"stack: shapes {', '.join(str(p.shape) for p in pieces) or '(none)'}; they must be equal")
    place = one_axis(axis, pieces[0].ndim + 1, "stack")
    return concat([expand_dims(p, axis=place) for p in pieces], axis=place)


@spelled
def split(x: Any, sizes: Shape, axis: SupportsIndex = 0) -> list[Any]:
    """Pieces of x along an axis, with the given sizes.

    With one number, all pieces have that size; only the last may be shorter. As in PyTorch, `sizes` are sizes;
    ``np.split`` takes the number of pieces, or the positions of the cuts.

    Parameters
    ----------
    x : Tensor
    sizes : int or sequence of int
        One positive size, or a size for each piece, which may be 0.
    axis : int

    Raises
    ------
    TypeError
        A size or the axis is not an integer.
    ValueError
        A single size is not positive, one of several sizes is negative, or they do not add up to the size of the axis.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.split(mt.tensor([1.0, 2.0, 3.0]), 2)
    [tensor([1., 2.]), tensor([3.])]
    """
    x = as_operand(x)
    place = one_axis(axis, x.ndim, "split")
    total = x.shape[place]
    found = integers(sizes, "sizes", "split")
    if shape_of(sizes) == ():
        if found[0] <= 0:
            raise ValueError(f"split: the size is {found[0]}; it must be positive")
        # At least one piece, as in PyTorch, also of an axis of no elements.
        found = tuple(builtins.min(found[0], total - start) for start in range(0, builtins.max(total, 1), found[0]))
    if any(size < 0 for size in found):
        raise ValueError(f"split: sizes are {list(found)}; each must be at least 0")
    if builtins.sum(found) != total:
        raise ValueError(f"split: sizes {list(found)} do not add up to {total}, axis {place} of shape {x.shape}")
    ends = accumulate(found)
    return [_slice(x, place, end - size, end) for end, size in zip(ends, found, strict=True)]
