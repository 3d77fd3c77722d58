"""Operations that rearrange, repeat or cast; their derivatives rearrange back."""

from __future__ import annotations

import numpy as np

from microtensor.ops.common import doctests, normalize_axis
from microtensor.primitive import Array, Primitive, plain_dtype, primitive

reshape: Primitive = primitive(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda g, y, x, shape: reshape(g, shape=x.shape),
    shown=("g",),
    doc="""Same elements in another shape, in row-major order; one size may be −1 and is worked out.

    Raises ValueError when the number of elements differs.

    >>> import microtensor as mt
    >>> mt.reshape(mt.tensor([1.0, 2.0, 3.0, 4.0]), shape=(2, 2))
    tensor([[1., 2.],
            [3., 4.]])
    """,
)

permute_dims: Primitive = primitive(
    "permute_dims",
    lambda x, *, axes: np.transpose(x, normalize_axis(axes, np.ndim(x), "permute_dims")),
    lambda g, y, x, axes: permute_dims(g, axes=tuple(np.argsort([a % x.ndim for a in axes]).tolist())),
    symbol="permute",
    shown=("g",),
    doc="""Axes in another order: axis i of the result is axis ``axes[i]`` of x.

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
    doc="""Repeat along axes of size 1, and along new leading axes, up to `shape`.

    Raises ValueError when the shape does not broadcast.

    >>> import microtensor as mt
    >>> mt.broadcast_to(mt.tensor([1.0, 2.0]), shape=(2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """,
)


def _sum_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    lead = x.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(x.shape) if i < lead or (shape[i - lead] == 1 and n != 1))
    return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape)


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

astype: Primitive = primitive(
    "astype",
    lambda x, *, dtype: np.asarray(x).astype(plain_dtype(dtype, "astype")),
    lambda g, y, x, dtype: astype(g, dtype=x.dtype),
    shown=("g",),
    doc="""Same values in another dtype; the gradient comes back in the dtype of x, and stops at integers.

    Raises TypeError for a dtype that is not a boolean, an integer or a float of up to 64 bits.

    >>> import microtensor as mt
    >>> mt.astype(mt.tensor([1.5, 2.0]), dtype="float32")
    tensor([1.5, 2. ], dtype=float32)
    """,
)

__test__ = doctests(globals())
