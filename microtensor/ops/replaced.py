"""Operations that only ``microtensor.torch`` needs: integer division, and values that are replaced without a record."""

from __future__ import annotations

import numpy as np

from microtensor.core.primitive import primitive

floor_divide = primitive(
    "floor_divide",
    np.floor_divide,
    None,
    None,
    doc="""Quotient, rounded down. It is constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> from microtensor.ops.replaced import floor_divide
    >>> floor_divide(mt.tensor([7.0]), 2)
    tensor([3.])
    """,
)
remainder = primitive(
    "remainder",
    np.remainder,
    lambda g, y, a, b: g,
    lambda g, y, a, b: -(g * floor_divide(a, b)),
    symbol="%",
    doc="""Remainder of a division, with the sign of the divisor.

    >>> import microtensor as mt
    >>> from microtensor.ops.replaced import remainder
    >>> remainder(mt.tensor([7.0]), 2)
    tensor([1.])
    """,
)

overwritten = primitive(
    "overwritten",
    lambda x, value: value,
    lambda g, y, x, value: g,
    None,
    rule_text=("g", ""),
    doc="""A tensor whose value was replaced without a record: gradients flow to x as if nothing had happened.

    >>> import microtensor as mt
    >>> from microtensor.ops.replaced import overwritten
    >>> x = mt.tensor([3.0], requires_grad=True)
    >>> mt.grad(overwritten(x, [5.0]) * 2, x)
    tensor([2.])
    """,
)
