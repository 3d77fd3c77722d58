"""Operations that rearrange, repeat or cast; their derivatives rearrange back."""

from __future__ import annotations

import builtins
import math
from functools import lru_cache
from typing import Any, SupportsIndex

import numpy as np

from microtensor.ops.common import doctests, settled_shape
from microtensor.primitive import Primitive, primitive
from microtensor.support.arrays import Array, accumulator, plain_array, plain_dtype
from microtensor.support.axes import (
    Axis,
    Shape,
    check_room,
    integers,
    normalize_axis,
    one_axis,
    several_axes,
    sizes,
)


def _settle_reshape(params: dict[str, Any], arrays: list[Any]) -> None:
    shape = params.get("shape")
    # Rules reshape all the time, and write it so.
    if type(shape) is tuple:
        for n in shape:
            if type(n) is not int or n < -1:
                break
        else:
            return
    if "shape" in params:
        params["shape"] = sizes(shape, "shape", "reshape", -1)


reshape: Primitive = primitive(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda g, y, x, shape: reshape(g, shape=x.shape),
    shown=("g",),
    settle=_settle_reshape,
    doc="""Same elements in another shape, in row-major order; one size may be −1 and is worked out.

    Raises ValueError when the number of elements differs, and TypeError for sizes that are no integers.

    >>> import microtensor as mt
    >>> mt.reshape(mt.tensor([1.0, 2.0, 3.0, 4.0]), shape=(2, 2))
    tensor([[1., 2.],
            [3., 4.]])
    """,
)


def _settle_permutation(params: dict[str, Any], arrays: list[Any]) -> None:
    shape, axes = np.shape(arrays[0]), params.get("axes")
    ndim = len(shape)
    order = tuple(reversed(range(ndim))) if axes is None else normalize_axis(axes, ndim, "permute_dims")
    if len(order) != ndim:
        raise ValueError(f"permute_dims: axes {order} for a tensor of shape {shape}; write every axis once")
    params["axes"] = order


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The order of axes that undoes `axes`."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


permute_dims: Primitive = primitive(
    "permute_dims",
    lambda x, *, axes: np.transpose(x, axes),
    lambda g, y, x, axes: permute_dims(g, axes=_inverse(axes)),
    symbol="permute",
    shown=("g",),
    settle=_settle_permutation,
    doc="""Axes in another order: axis i of the result is axis ``axes[i]`` of x.

    None reverses the order, as in ``np.transpose``; the Array API has no None there.
    Raises ValueError unless `axes` names every axis once.

    >>> import microtensor as mt
    >>> mt.permute_dims(mt.zeros((2, 3, 4)), axes=(2, 0, 1)).shape
    (4, 2, 3)
    """,
)

broadcast_to = primitive(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    lambda g, y, x, shape: g,
    symbol="broadcast",
    shown=("g",),
    settle=settled_shape("broadcast_to"),
    doc="""Repeat along axes of size 1, and along new leading axes, up to `shape`.

    Raises ValueError when the shape does not broadcast, or is beyond any machine.

    >>> import microtensor as mt
    >>> mt.broadcast_to(mt.tensor([1.0, 2.0]), shape=(2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """,
)


def _sum_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    wide = accumulator(x.dtype)
    total: Array = np.add.reduce(x, axis=_broadcast_axes(x.shape, shape), keepdims=True, dtype=wide).reshape(shape)
    return total if wide is None else total.astype(x.dtype)


@lru_cache
def _broadcast_axes(large: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of `large` along which `small` repeats."""
    lead = len(large) - len(small)
    return tuple(i for i, n in enumerate(large) if i < lead or (small[i - lead] == 1 and n != 1))


sum_to = primitive(
    "sum_to",
    _sum_to,
    lambda g, y, x, shape: reshape(g, shape=(1,) * (x.ndim - len(shape)) + tuple(shape)),
    shown=("g",),
    doc="""Sum over the axes along which `shape` would broadcast to the shape of x: the adjoint of broadcasting.

    >>> import microtensor as mt
    >>> mt.ops.sum_to(mt.ones((3, 2)), shape=(1, 2))
    tensor([[3., 3.]])
    """,
)


def _sum_of_products(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    dtype = np.result_type(a, b)
    wide = accumulator(dtype)
    total = _sum_to(np.multiply(a, b, dtype=wide), shape=shape)
    return total if wide is None else total.astype(dtype)


def _contract_to(a: Array, b: Array, *, shape: tuple[int, ...]) -> Array:
    """The sum over blocks of axes by one call that multiplies and adds without an array in between."""
    alike = a.shape == b.shape and a.dtype == b.dtype and a.dtype.char in "fd"
    if not (alike and a.size and a.flags.c_contiguous and b.flags.c_contiguous):
        return _sum_of_products(a, b, shape)
    blocks = _blocks(a.shape, shape)
    if blocks is None:
        return _sum_of_products(a, b, shape)
    a, b = a.reshape(blocks), b.reshape(blocks)
    if blocks[2] == 1:
        total: Array = np.einsum("ij,ij->j", a[:, :, 0], b[:, :, 0])
    else:
        total = np.add.reduce(np.vecdot(a, b), axis=0)
    return total.reshape(shape)


@lru_cache
def _blocks(large: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The sizes of the axes of `large` to sum before, to keep, and to sum after; None if they do not lie so."""
    wanted = (1,) * (len(large) - len(small)) + small
    kept = [i for i, n in enumerate(wanted) if n != 1]
    first, last = (kept[0], kept[-1] + 1) if kept else (len(large), len(large))
    if wanted[first:last] != large[first:last]:
        return None
    return math.prod(large[:first]), math.prod(large[first:last]), math.prod(large[last:])


contract_to = primitive(
    "contract_to",
    _contract_to,
    lambda g, y, a, b, shape: g * b,
    lambda g, y, a, b, shape: g * a,
    symbol="Σ( × )",
    shown=("g*b", "g*a"),
    doc="""Product of two tensors of one shape, summed to `shape`: ``sum_to(a * b)`` without the array in between.

    The derivative of a product by a factor that was broadcast. In float32 the sum over leading axes is a plain
    running one, right to some 1e-5.

    >>> import microtensor as mt
    >>> mt.ops.contract_to(mt.ones((3, 2)), mt.ones((3, 2)), shape=(2,))
    tensor([3., 3.])
    """,
)

astype: Primitive = primitive(
    "astype",
    lambda x, *, dtype: plain_array(x).astype(plain_dtype(dtype, "astype")),
    lambda g, y, x, dtype: astype(g, dtype=x.dtype),
    shown=("g",),
    doc="""Same values in another dtype; the gradient comes back in the dtype of x, and stops at integers.

    Raises TypeError for a dtype that is not a boolean, an integer or a float of up to 64 bits.

    >>> import microtensor as mt
    >>> mt.astype(mt.tensor([1.5, 2.0]), dtype="float32")
    tensor([1.5, 2. ], dtype=float32)
    """,
)


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged.

    Raises
    ------
    ValueError
        There are fewer than two axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.matrix_transpose(mt.zeros((4, 2, 3))).shape
    (4, 3, 2)
    """
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: shape {x.shape} has no two axes to exchange")
    return permute_dims(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def swapaxes(x: Any, axis1: SupportsIndex, axis2: SupportsIndex) -> Any:
    """Two axes exchanged.

    Raises
    ------
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.swapaxes(mt.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    first, second = one_axis(axis1, x.ndim, "swapaxes", "axis1"), one_axis(axis2, x.ndim, "swapaxes", "axis2")
    axes = list(range(x.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return permute_dims(x, axes=tuple(axes))


def moveaxis(x: Any, source: Shape, destination: Shape) -> Any:
    """Axes moved to new places; the others keep their order.

    Raises
    ------
    ValueError
        There are not as many destinations as sources.
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.moveaxis(mt.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    sources = several_axes(source, x.ndim, "moveaxis", "source")
    places = several_axes(destination, x.ndim, "moveaxis", "destination")
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} sources but {len(places)} destinations")
    order = [i for i in range(x.ndim) if i not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(x, axes=tuple(order))


def expand_dims(x: Any, *, axis: Shape = 0) -> Any:
    """New axes of size 1 at the given places of the result.

    Raises
    ------
    numpy.exceptions.AxisError
        A place is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.expand_dims(mt.zeros((2, 3)), axis=1).shape
    (2, 1, 3)
    """
    axes = integers(axis, "axis", "expand_dims")
    ndim = x.ndim + len(axes)
    places = normalize_axis(axes, ndim, "expand_dims")
    old = iter(x.shape)
    return reshape(x, shape=tuple(1 if i in places else next(old) for i in range(ndim)))


def squeeze(x: Any, *, axis: Axis = None) -> Any:
    """Axes of size 1 taken away; all of them unless some are named.

    Raises
    ------
    ValueError
        A named axis has another size.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.squeeze(mt.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    if axis is None:
        return reshape(x, shape=tuple(n for n in x.shape if n != 1))
    axes = normalize_axis(axis, x.ndim, "squeeze")
    wrong = [i for i in axes if x.shape[i] != 1]
    if wrong:
        raise ValueError(f"squeeze: axis {wrong[0]} of shape {x.shape} has size {x.shape[wrong[0]]}, not 1")
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def flatten(x: Any, start_axis: SupportsIndex = 0, end_axis: SupportsIndex = -1) -> Any:
    """The axes from `start_axis` to `end_axis`, both included, made one; a scalar becomes a vector.

    Raises
    ------
    ValueError
        The first of them comes after the last.
    numpy.exceptions.AxisError
        An axis is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.flatten(mt.zeros((2, 3, 4)), start_axis=1).shape
    (2, 12)
    """
    ndim = builtins.max(x.ndim, 1)
    first = one_axis(start_axis, ndim, "flatten", "start_axis")
    last = one_axis(end_axis, ndim, "flatten", "end_axis")
    if first > last:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis} in shape {x.shape}")
    return reshape(x, shape=(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def flattened(x: Any, axis: Any, who: str) -> tuple[Any, int]:
    """What a function along one axis works on: x and the axis, or where that is None, flat x and 0, as in NumPy."""
    return (reshape(x, shape=(-1,)), 0) if axis is None else (x, one_axis(axis, x.ndim, who))


def tile(x: Any, repetitions: Shape) -> Any:
    """The whole tensor repeated along each axis, as often as `repetitions` says, aligned at the last axis.

    Raises
    ------
    TypeError
        A number of repetitions is not an integer.
    ValueError
        It is negative, or the result is beyond any machine.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tile(mt.tensor([1.0, 2.0]), (2,))
    tensor([1., 2., 1., 2.])
    """
    counts = sizes(repetitions, "repetitions", "tile")
    width = builtins.max(len(counts), x.ndim)
    counts = (1,) * (width - len(counts)) + counts
    old = (1,) * (width - x.ndim) + tuple(x.shape)
    new = tuple(c * n for c, n in zip(counts, old, strict=True))
    check_room(new, "tile")
    spread = reshape(x, shape=tuple(n for size in old for n in (1, size)))
    spread = broadcast_to(spread, shape=tuple(n for pair in zip(counts, old, strict=True) for n in pair))
    return reshape(spread, shape=new)


__test__ = doctests(globals())
