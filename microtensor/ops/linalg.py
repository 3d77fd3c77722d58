"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.ops.common import doctests
from microtensor.ops.reductions import sum
from microtensor.ops.shape import permute_dims, reshape
from microtensor.primitive import primitive


def _matmul(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: a scalar has no axis to sum over; use *")
    inner_a, inner_b = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
    if inner_a != inner_b:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: inner sizes {inner_a} and {inner_b} differ")
    return np.matmul(a, b)


def _swap(x: Any) -> Any:
    return permute_dims(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _column(g: Any) -> Any:
    return reshape(g, shape=(*g.shape, 1))


def _row(g: Any) -> Any:
    return reshape(g, shape=(*g.shape[:-1], 1, g.shape[-1]))


def _matmul_rule_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return _column(g) * b
    if a.ndim == 1:
        return sum(_row(g) * b, axis=-1)
    return matmul(g, _swap(b))


def _matmul_rule_b(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return _column(g) * a
    if a.ndim == 1:
        return _column(a) * _row(g)
    return matmul(_swap(a), g)


matmul = primitive(
    "matmul",
    _matmul,
    _matmul_rule_a,
    _matmul_rule_b,
    symbol="@",
    shown=("g@bᵀ", "aᵀ@g"),
    doc="""Matrix product over the last two axes, leading axes broadcast: (…, n, k) @ (…, k, m) → (…, n, m).

    A vector on the left is a row and one on the right a column, as in NumPy. Raises ValueError when the
    inner sizes differ or an argument is a scalar.

    >>> import microtensor as mt
    >>> mt.matmul(mt.ones((2, 3)), mt.ones((3, 1)))
    tensor([[3.],
            [3.]])
    """,
)

__test__ = doctests(globals())
