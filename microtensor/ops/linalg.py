"""Matrix products and Einstein sums."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from microtensor.core.ops import permute_dims, reshape, sum
from microtensor.core.primitive import Primitive, VariadicRule, as_array, primitive
from microtensor.hints import spelled
from microtensor.ops.common import as_operand, several_axes
from microtensor.ops.indexing import getitem
from microtensor.support.arrays import accumulator, plain_array
from microtensor.support.axes import Shape, axis_count, integer

__all__ = [
    "einsum",
    "matmul",
    "outer",
    "tensordot",
]


def _matmul(a: Any, b: Any) -> Any:
    a, b = plain_array(a), plain_array(b)
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
    if b.ndim == 2 and a.ndim > 2:
        # One product over all leading axes, not one product per matrix and then a sum.
        a, g = (reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1])) for x in (a, g))
    if b.ndim == a.ndim and not as_array(b).flags.c_contiguous:
        # b is the transpose of a weight. In this layout the product gives the weight a contiguous gradient.
        return _swap(matmul(_swap(g), a))
    return matmul(_swap(a), g)


matmul = primitive(
    "matmul",
    _matmul,
    _matmul_rule_a,
    _matmul_rule_b,
    symbol="@",
    rule_text=("g@bᵀ", "aᵀ@g"),
    doc="""Matrix product over the last two axes, leading axes broadcast: (…, n, k) @ (…, k, m) → (…, n, m).

    As in NumPy, a vector on the left counts as a row, and a vector on the right as a column. Raises ValueError when
    the inner sizes differ or an argument is a scalar.

    >>> import microtensor as mt
    >>> mt.matmul(mt.ones((2, 3)), mt.ones((3, 1)))
    tensor([[3.],
            [3.]])
    """,
)


@spelled
def outer(a: Any, b: Any) -> Any:
    """Outer product of two vectors: yᵢⱼ = aᵢ bⱼ.

    Raises
    ------
    ValueError
        An argument is not a vector.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.outer(mt.tensor([1.0, 2.0]), mt.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = as_operand(a), as_operand(b)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: shapes {a.shape} and {b.shape}; both must be vectors")
    return _column(a) * b


def _paired_axes(axes: Any, ndim_a: int, ndim_b: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    who = "tensordot"
    if isinstance(axes, (tuple, list)) or getattr(axes, "ndim", 0) > 0:
        if len(axes) != 2:
            raise ValueError(f"{who}: axes {axes!r}; write a number, or a pair: the axes of a and those of b")
        return several_axes(axes[0], ndim_a, who, "axes"), several_axes(axes[1], ndim_b, who, "axes")
    count = integer(axes, "axes", who, "a number, or a pair: the axes of a and those of b")
    if not 0 <= count <= builtins.min(ndim_a, ndim_b):
        raise ValueError(f"{who}: cannot pair {count} axes of tensors with {ndim_a} and {ndim_b} axes")
    return tuple(range(ndim_a - count, ndim_a)), tuple(range(count))


@spelled
def tensordot(a: Any, b: Any, axes: SupportsIndex | Sequence[Shape] = 2) -> Any:
    """Sum of products over pairs of axes; the free axes of a come first, then those of b.

    Parameters
    ----------
    a, b : Tensor
    axes : int or pair of sequences
        A number n pairs the last n axes of a with the first n axes of b. A pair gives the axes of a and the axes of b.

    Raises
    ------
    TypeError
        An axis is not an integer.
    ValueError
        The sizes of paired axes differ, or there are too few axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tensordot(mt.ones((2, 3)), mt.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    a, b = as_operand(a), as_operand(b)
    left, right = _paired_axes(axes, a.ndim, b.ndim)
    sizes = [a.shape[i] for i in left], [b.shape[i] for i in right]
    if sizes[0] != sizes[1]:
        raise ValueError(f"tensordot: {a.shape} and {b.shape}: paired sizes {sizes[0]} and {sizes[1]} differ")
    free_a = tuple(i for i in range(a.ndim) if i not in left)
    free_b = tuple(i for i in range(b.ndim) if i not in right)
    inner = math.prod(sizes[0])
    rows = reshape(permute_dims(a, axes=(*free_a, *left)), shape=(axis_count(a.shape, free_a), inner))
    columns = reshape(permute_dims(b, axes=(*right, *free_b)), shape=(inner, axis_count(b.shape, free_b)))
    shape = (*(a.shape[i] for i in free_a), *(b.shape[i] for i in free_b))
    return reshape(matmul(rows, columns), shape=shape)


def _contract(*operands: Any, subscripts: str) -> Any:
    dtype = np.result_type(*operands)
    wide = accumulator(dtype)
    if wide is None:
        return np.einsum(subscripts, *operands, optimize=len(operands) > 2)
    return np.einsum(subscripts, *operands, optimize=len(operands) > 2, dtype=wide, casting="same_kind").astype(dtype)


def _contract_rule(i: int, g: Any, y: Any, *operands: Any, subscripts: str) -> Any:
    """Every label of operand i occurs in the output or in another operand, so the gradient is an Einstein sum too."""
    inputs, output = subscripts.split("->")
    labels = inputs.split(",")
    others = [k for k in range(len(operands)) if k != i]
    again = ",".join([output, *(labels[k] for k in others)]) + "->" + labels[i]
    return einsum_core(g, *(operands[k] for k in others), subscripts=again)


einsum_core: Primitive[Any] = primitive(
    "contract",
    _contract,
    VariadicRule(_contract_rule),
    rule_text=("einsum of g and the others",),
    symbol="einsum",
    doc="""The core of einsum: no operand repeats a label, and each label is also in the output or another operand.

    >>> import microtensor as mt
    >>> mt.ops.einsum_core(mt.tensor([1.0, 2.0]), mt.tensor([3.0, 4.0]), subscripts="i,i->").item()
    11.0
    """,
)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation: products of the operands, summed over every label that is not in the output.

    As in NumPy, a label that is repeated within an operand takes its diagonal, and ``...`` stands for broadcast axes.
    An axis of size 1 broadcasts to a longer axis with the same label.

    Parameters
    ----------
    subscripts : str
        For example ``"ij,jk->ik"``. Without an arrow, the output has the labels that occur once, in alphabetical order.
    *operands : Tensor or array_like

    Raises
    ------
    ValueError
        The subscripts do not fit the operands, or a label has axes of different sizes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.einsum("ii->", mt.tensor([[1.0, 2.0], [3.0, 4.0]])).item()
    5.0
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts is a {type(subscripts).__name__}; write a text such as 'ij,jk->ik'")
    operands = tuple(map(as_operand, operands))
    labels, output = _labels(subscripts, operands)
    sizes: dict[str, int] = {}
    for operand, names in zip(operands, labels, strict=True):
        for name, size in zip(names, np.shape(operand), strict=True):
            if sizes.setdefault(name, size) == 1:
                sizes[name] = size
            if size not in (1, sizes[name]):
                raise ValueError(f"einsum: label {name} has sizes {sizes[name]} and {size} in {subscripts!r}")
    pieces = [_distinct(x, names, sizes) for x, names in zip(operands, labels, strict=True)]
    for k, (x, names) in enumerate(pieces):
        elsewhere = set(output).union(*(set(other) for j, (_, other) in enumerate(pieces) if j != k))
        alone = tuple(i for i, name in enumerate(names) if name not in elsewhere)
        if alone:
            pieces[k] = sum(x, axis=alone), "".join(name for name in names if name in elsewhere)
    prepared, names_of = [x for x, _ in pieces], [names for _, names in pieces]
    present = set().union(*map(set, names_of))
    core = "".join(name for name in output if name in present)
    out = einsum_core(*prepared, subscripts=",".join(names_of) + "->" + core)
    # The remaining labels of the output belong only to axes of size 1.
    return reshape(out, shape=tuple(sizes[name] if name in present else 1 for name in output))


def _labels(subscripts: str, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """One letter for every axis of every operand and of the output, the ellipsis spelt out."""
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    labels = inputs.split(",")
    if len(labels) != len(operands):
        raise ValueError(f"einsum: {subscripts!r} names {len(labels)} operands, but {len(operands)} were given")
    if not all(c.isalpha() or c == "." for c in inputs.replace(",", "") + output):
        raise ValueError(f"einsum: {subscripts!r} has characters that are not letters")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in text]
    width = 0
    for names, operand in zip(labels, operands, strict=True):
        count = len(names.replace("...", ""))
        extra = np.ndim(operand) - count
        if extra < 0 or ("..." not in names and extra):
            raise ValueError(f"einsum: {names!r} names {count} axes of an operand of shape {np.shape(operand)}")
        width = builtins.max(width, extra)
    dots = free[:width]
    spelt = [
        names.replace("...", "".join(dots[width - (np.ndim(x) - len(names.replace("...", ""))) :]))
        for names, x in zip(labels, operands, strict=True)
    ]
    if not arrow:
        joined = "".join(labels).replace(".", "")
        output = "..." * ("..." in inputs) + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    result = output.replace("...", "".join(dots))
    unknown = [c for c in result if c not in "".join(spelt)]
    if unknown or len(set(result)) != len(result):
        raise ValueError(f"einsum: the output of {subscripts!r} repeats a label or names one that no operand has")
    return spelt, result


def _distinct(x: Any, names: str, sizes: dict[str, int]) -> tuple[Any, str]:
    """Take the diagonals of repeated labels, and drop axes of size 1, which broadcast anyway."""
    while len(set(names)) < len(names):
        name = next(c for c in names if names.count(c) > 1)
        first, second = [i for i, c in enumerate(names) if c == name][:2]
        rest = [i for i in range(len(names)) if i not in (first, second)]
        x = permute_dims(x, axes=(*rest, first, second))
        x = getitem(x, index=(..., np.arange(sizes[name]), np.arange(sizes[name])))
        names = "".join(names[i] for i in rest) + name
    if 1 in x.shape:
        names = "".join(c for c, n in zip(names, x.shape, strict=True) if n != 1)
        x = reshape(x, shape=tuple(n for n in x.shape if n != 1))
    return x, names
