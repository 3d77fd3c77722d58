"""Selection of elements, and its adjoint: putting them back among zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.ops.common import as_array, doctests, normalize_axis
from microtensor.primitive import Array, Primitive, primitive


def _put(g: Array, *, index: Any, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, dtype=g.dtype)
    if _is_basic(index):
        out[index] = g
    else:
        # Repeated indices accumulate, which a plain assignment would lose.
        np.add.at(out, index, g)
    return out


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
    lambda x, indices, *, axis=-1: np.asarray(x)[_one_a_position(np.shape(x), indices, axis, "pick")],
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

__test__ = doctests(globals())
