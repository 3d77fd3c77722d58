"""Selection of elements, and its adjoint: putting them back among zeros."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from microtensor.ops.arithmetic import masked, where
from microtensor.ops.common import as_array, doctests
from microtensor.ops.shape import astype, expand_dims
from microtensor.primitive import EachArgument, Primitive, primitive
from microtensor.support.arrays import Array, accumulator, plain_array
from microtensor.support.axes import Axis, normalize_axis


def _put(g: Array, *, index: Any, shape: tuple[int, ...]) -> Array:
    if _is_basic(index):
        out = np.zeros(shape, dtype=g.dtype)
        out[index] = g
        return out
    # Repeated indices accumulate, which a plain assignment would lose.
    sums = np.zeros(shape, dtype=accumulator(g.dtype) or g.dtype)
    np.add.at(sums, index, g)
    return sums.astype(g.dtype, copy=False)


def _is_basic(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in items)


getitem = primitive(
    "getitem",
    lambda x, *, index: x[index],
    lambda g, y, x, index: put(g, index=index, shape=x.shape),
    symbol="x[i]",
    shown=("g at i",),
    doc="""Elements by NumPy's indexing: integers, slices, arrays of integers or booleans, None and Ellipsis.

    An element selected twice receives both gradients. Raises IndexError for an index out of range.

    >>> import microtensor as mt
    >>> mt.ops.getitem(mt.tensor([1.0, 2.0, 3.0]), index=slice(1, None))
    tensor([2., 3.])
    """,
)

put: Primitive = primitive(
    "put",
    _put,
    lambda g, y, x, index, shape: getitem(g, index=index),
    shown=("g[i]",),
    doc="""Zeros of `shape` with x added at `index`: the adjoint of indexing.

    >>> import microtensor as mt
    >>> mt.ops.put(mt.tensor([1.0, 2.0]), index=[0, 0], shape=(3,))
    tensor([3., 0., 0.])
    """,
)


def _one_a_position(shape: tuple[int, ...], indices: Any, axis: int, who: str) -> tuple[Any, ...]:
    """The advanced index that takes, at every position of the other axes, the element that `indices` names."""
    axis = normalize_axis(axis, len(shape), who)[0]
    indices = np.asarray(as_array(indices))
    rest = shape[:axis] + shape[axis + 1 :]
    if indices.shape != rest:
        raise ValueError(f"{who}: indices have shape {indices.shape}; one index for each of {rest} is needed")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{who}: indices have dtype {indices.dtype}; integers are needed")
    if indices.size and not (indices.min() >= 0 and indices.max() < shape[axis]):
        bad = indices.min() if indices.min() < 0 else indices.max()
        raise IndexError(f"{who}: index {bad} is out of range for axis {axis} with size {shape[axis]}")
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in rest)])
    grid.insert(axis, indices)
    return tuple(grid)


def _place(g: Array, indices: Any, *, axis: int, size: int) -> Array:
    axis = normalize_axis(axis, g.ndim + 1, "place")[0]
    out = np.zeros((*g.shape[:axis], size, *g.shape[axis:]), dtype=g.dtype)
    out[_one_a_position(out.shape, indices, axis, "place")] = g
    return out


pick = primitive(
    "pick",
    lambda x, indices, *, axis=-1: plain_array(x)[_one_a_position(np.shape(x), indices, axis, "pick")],
    lambda g, y, x, indices, axis=-1: place(g, indices, axis=axis, size=x.shape[axis]),
    None,
    shown=("g at i", ""),
    doc="""One element a position along `axis`, which is dropped: y[i] = x[i, indices[i]] for a matrix.

    `indices` has the shape of x without `axis`. Raises IndexError for an index below 0 or beyond the axis,
    ValueError when the shapes do not fit and TypeError when the indices are no integers.

    >>> import microtensor as mt
    >>> mt.pick(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 0])
    tensor([2., 3.])
    """,
)

place: Primitive = primitive(
    "place",
    _place,
    lambda g, y, x, indices, axis, size: pick(g, indices, axis=axis),
    None,
    shown=("g[i]", ""),
    doc="""Zeros with a new `axis` of `size` places, in which x stands at `indices`: the adjoint of pick.

    >>> import microtensor as mt
    >>> mt.ops.place(mt.tensor([5.0, 6.0]), [1, 0], axis=1, size=2)
    tensor([[0., 5.],
            [6., 0.]])
    """,
)


def take(x: Any, indices: Any, *, axis: int = 0) -> Any:
    """Elements at integer indices along one axis; an element taken twice receives both gradients.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        Any shape; it takes the place of the axis.
    axis : int

    Raises
    ------
    IndexError
        An index is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.take(mt.tensor([1.0, 2.0, 3.0]), [2, 0, 2])
    tensor([3., 1., 3.])
    """
    axis = normalize_axis(axis, x.ndim, "take")[0]
    return getitem(x, index=(slice(None),) * axis + (np.array(as_array(indices)),))


def embedding(indices: Any, weight: Any) -> Any:
    """Rows of a table: y[…] = weight[indices[…]].

    Parameters
    ----------
    indices : array_like of int
        Any shape.
    weight : Tensor
        Shape (number of rows, size of a row).

    Raises
    ------
    TypeError
        The indices are not integers.
    IndexError
        An index is negative or beyond the table.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.embedding([1, 0], mt.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    rows = np.array(as_array(indices))
    if rows.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices have dtype {rows.dtype}; integers are needed")
    if rows.size and not (rows.min() >= 0 and rows.max() < weight.shape[0]):
        raise IndexError(f"embedding: index {rows.min() if rows.min() < 0 else rows.max()} of {weight.shape[0]} rows")
    return getitem(weight, index=rows)


def _along(indices: Array, shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """The advanced index of take_along_axis: `indices` along the axis, every place of the others."""
    grid: list[Any] = [np.arange(n).reshape((-1,) + (1,) * (len(shape) - i - 1)) for i, n in enumerate(shape)]
    grid[axis] = indices
    return tuple(grid)


def take_along_axis(x: Any, indices: Any, *, axis: int = -1) -> Any:
    """Elements by an index for each place of the other axes: y[i, j] = x[i, indices[i, j]] for axis 1.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        As many axes as x, and the sizes of x but for `axis`.
    axis : int

    Raises
    ------
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
    axis = normalize_axis(axis, x.ndim, "take_along_axis")[0]
    places = np.array(as_array(indices))
    if places.ndim != x.ndim:
        raise ValueError(f"take_along_axis: indices of shape {places.shape} for a tensor of shape {x.shape}")
    return getitem(x, index=_along(places, x.shape, axis))


def scatter_add(x: Any, indices: Any, updates: Any, *, axis: int = -1) -> Any:
    """X with `updates` added at indices along an axis; repeated indices accumulate.

    Parameters
    ----------
    x : Tensor
    indices : array_like of int
        As many axes as x, and the sizes of x but for `axis`.
    updates : Tensor
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
    axis = normalize_axis(axis, x.ndim, "scatter_add")[0]
    places = np.array(as_array(indices))
    if places.ndim != x.ndim or places.shape != np.shape(updates):
        raise ValueError(
            f"scatter_add: a tensor of shape {x.shape}, indices of shape {places.shape} and updates of shape "
            f"{np.shape(updates)} do not fit"
        )
    if x.dtype != np.float16:
        return x + put(updates, index=_along(places, x.shape, axis), shape=x.shape)
    # Added up in float32, x as well.
    wide = astype(updates, dtype=np.float32)
    return astype(
        astype(x, dtype=np.float32) + put(wide, index=_along(places, x.shape, axis), shape=x.shape), dtype=x.dtype
    )


def sort(x: Any, *, axis: int = -1, descending: bool = False) -> Any:
    """Elements in order along an axis; the gradient goes back to where each came from.

    Parameters
    ----------
    x : Tensor
    axis : int
    descending : bool
        Largest first. Equal elements keep their order, and NaN counts as the largest, as in PyTorch.

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
    axis = normalize_axis(axis, x.ndim, "sort")[0]
    values = as_array(x)
    if not descending:
        return take_along_axis(x, np.argsort(values, axis=axis, kind="stable"), axis=axis)
    # The reverse of the order of the reverse: equal elements keep theirs, and no negative is taken, which wraps.
    order = np.flip(np.argsort(np.flip(values, axis=axis), axis=axis, kind="stable"), axis=axis)
    return take_along_axis(x, x.shape[axis] - 1 - order, axis=axis)


def flip(x: Any, *, axis: Axis = None) -> Any:
    """Elements in reverse order along axes; all of them unless some are named.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.flip(mt.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    axes = normalize_axis(axis, x.ndim, "flip")
    return getitem(x, index=tuple(slice(None, None, -1 if i in axes else None) for i in range(x.ndim)))


def roll(x: Any, shift: int, *, axis: int = -1) -> Any:
    """Elements moved along an axis by `shift` places; what leaves at one end comes in at the other.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.roll(mt.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    size = x.shape[normalize_axis(axis, x.ndim, "roll")[0]]
    return take(x, np.roll(np.arange(size), shift), axis=axis)


def repeat(x: Any, repeats: int, *, axis: int = -1) -> Any:
    """Each element along an axis repeated in place.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.repeat(mt.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    size = x.shape[normalize_axis(axis, x.ndim, "repeat")[0]]
    return take(x, np.repeat(np.arange(size), repeats), axis=axis)


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
    if x.ndim < 2:
        raise ValueError(f"diagonal: shape {x.shape} has no two axes")
    places = np.arange(builtins.min(x.shape[-2:]))
    return getitem(x, index=(..., places, places))


def tril(x: Any, k: int = 0) -> Any:
    """The last two axes with zeros above the k-th diagonal.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tril(mt.ones((2, 2)))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return masked(x, np.tri(x.shape[-2], x.shape[-1], k, dtype=bool))


def triu(x: Any, k: int = 0) -> Any:
    """The last two axes with zeros below the k-th diagonal.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.triu(mt.ones((2, 2)))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return masked(x, ~np.tri(x.shape[-2], x.shape[-1], k - 1, dtype=bool))


def pad(x: Any, widths: Sequence[tuple[int, int]], *, value: float = 0.0) -> Any:
    """Room of a constant value before and after each axis.

    Parameters
    ----------
    x : Tensor
    widths : sequence of pairs
        How much before and after; one pair an axis.
    value : float

    Raises
    ------
    ValueError
        There is not one pair an axis, or a width is negative.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.pad(mt.tensor([1.0, 2.0]), [(1, 0)])
    tensor([0., 1., 2.])
    """
    if len(widths) != x.ndim or any(a < 0 or b < 0 for a, b in widths):
        raise ValueError(f"pad: widths {list(widths)} for shape {x.shape}; one pair of sizes an axis is needed")
    shape = tuple(a + n + b for n, (a, b) in zip(x.shape, widths, strict=True))
    index = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))
    padded = put(x, index=index, shape=shape)
    if value == 0:
        return padded
    border = np.ones(shape, dtype=bool)
    border[index] = False
    return where(border, value, padded)


def _concat(*pieces: Array, axis: int = 0) -> Array:
    shapes = [np.shape(piece) for piece in pieces]
    place = normalize_axis(axis, len(shapes[0]), "concat")[0]
    rest = {shape[:place] + shape[place + 1 :] for shape in shapes}
    if len(rest) > 1 or len(set(map(len, shapes))) > 1:
        raise ValueError(f"concat: shapes {', '.join(map(str, shapes))} differ in more than axis {axis}")
    return np.concatenate(pieces, axis=place)


def _concat_rule(i: int, g: Any, y: Any, *pieces: Any, axis: int = 0) -> Any:
    before = builtins.sum(piece.shape[axis] for piece in pieces[:i])
    return _slice(g, axis % g.ndim, before, before + pieces[i].shape[axis])


def _slice(x: Any, axis: int, start: int, stop: int) -> Any:
    return getitem(x, index=(slice(None),) * axis + (slice(start, stop),))


_join = Primitive(
    "concat",
    _concat,
    EachArgument(_concat_rule),
    shown=(),
    doc="""Tensors one after the other along an axis.

    >>> import microtensor as mt
    >>> mt.concat([mt.tensor([1.0]), mt.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """,
)


def concat(pieces: Sequence[Any], *, axis: int = 0) -> Any:
    """Tensors one after the other along an existing axis.

    Parameters
    ----------
    pieces : sequence of Tensor
        Equal in shape but for `axis`.
    axis : int

    Raises
    ------
    ValueError
        There are none, or their shapes differ elsewhere.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.concat([mt.tensor([1.0]), mt.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    if not len(pieces):
        raise ValueError("concat: there is nothing to join")
    return _join(*pieces, axis=axis)


def stack(pieces: Sequence[Any], *, axis: int = 0) -> Any:
    """Tensors of one shape side by side along a new axis.

    Parameters
    ----------
    pieces : sequence of Tensor
    axis : int
        The place of the new axis in the result.

    Raises
    ------
    ValueError
        There are none, or their shapes differ.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.stack([mt.tensor([1.0, 2.0]), mt.tensor([3.0, 4.0])], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    if not len(pieces) or len({tuple(np.shape(p)) for p in pieces}) > 1:
        raise ValueError(f"stack: shapes {', '.join(str(np.shape(p)) for p in pieces) or '(none)'}; one is needed")
    return concat([expand_dims(p, axis=axis) for p in pieces], axis=axis)


def split(x: Any, sizes: int | Sequence[int], *, axis: int = 0) -> list[Any]:
    """Pieces of the given sizes along an axis; one number cuts pieces of that size, the last maybe shorter.

    Parameters
    ----------
    x : Tensor
    sizes : int or sequence of int
    axis : int

    Raises
    ------
    ValueError
        The sizes do not add up to that of the axis, or are not positive.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.split(mt.tensor([1.0, 2.0, 3.0]), 2)
    [tensor([1., 2.]), tensor([3.])]
    """
    place = normalize_axis(axis, x.ndim, "split")[0]
    total = x.shape[place]
    if isinstance(sizes, int):
        if sizes <= 0:
            raise ValueError(f"split: a size of {sizes} is not positive")
        sizes = [builtins.min(sizes, total - start) for start in range(0, total, sizes)]
    if builtins.sum(sizes) != total:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to {total}, axis {axis} of shape {x.shape}")
    ends = np.cumsum(sizes).tolist()
    return [_slice(x, place, end - size, end) for end, size in zip(ends, sizes, strict=True)]


__test__ = doctests(globals())
