"""The options of a call in a few words: the axes of a sum, the index of a selection."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from microtensor.core.primitive import Node, TensorBase
from microtensor.inspect.history import array_of
from microtensor.text import safe_text

REDUCTIONS = frozenset({"sum", "mean", "max", "min", "prod"})
LONGEST = 24
FEW = 4


def reduced_axes(node: Node) -> tuple[int, ...] | None:
    """The axes that a sum, mean, maximum, minimum or product goes over; None for another operation, or a freed one."""
    if node.primitive.name not in REDUCTIONS or not node.inputs:
        return None
    axis = node.params.get("axis")
    return tuple(range(np.ndim(array_of(node.inputs[0])))) if axis is None else tuple(axis)


def over(node: Node) -> str:
    """What a reduction goes over, such as ``over axis 0, the batch``.

    It is empty for any other operation, and where the result is a scalar, which can only be over all axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.graph.options import over
    >>> x = mt.ones((2, 3, 4), requires_grad=True)
    >>> over(x.mean(axis=(0, 2)).node), over(x.sum().node), over(x.sum(keepdims=True).node)
    ('over axes 0, 2', '', 'over all axes')
    """
    axes = reduced_axes(node)
    if axes is None:
        return ""
    every = len(axes) == np.ndim(array_of(node.inputs[0]))
    if every and (len(axes) != 1 or not node.params.get("keepdims")):
        return "over all axes" if node.params.get("keepdims") and axes else ""
    listed = ", ".join(map(str, axes))
    if len(axes) != 1:
        return f"over axes {listed}" if axes else "over no axis"
    return f"over axis {listed}" + (", the batch" if axes == (0,) and _in_batch_norm(node) else "")


def _in_batch_norm(node: Node) -> bool:
    """Whether the library's batch norm computes its statistics here. Its input is (N, C, …), with the batch first."""
    chain = list(node.scope.chain()) if node.scope else []
    return any(
        inner.name == "statistics" and (outer.name == "batch_norm" or outer.detail.startswith("BatchNorm"))
        for inner, outer in itertools.pairwise(chain)
    )


def index_text(index: Any) -> str:
    """An index as it is written in a program: ``[:, 0:4]``. Large arrays show their kind and their shape.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.graph.options import index_text
    >>> index_text((Ellipsis, slice(None, None, 2), [0, 3])), index_text(np.ones((8, 4), bool))
    ('[…, ::2, [0, 3]]', '[mask (8, 4)]')
    """
    items: Iterable[Any] = index if isinstance(index, tuple) else (index,)
    text = ", ".join(map(_item_text, items))
    return f"[{text or '()'}]" if len(text) <= LONGEST else f"[{safe_text(text, LONGEST)}]"


def _item_text(item: Any) -> str:
    if item is None or item is Ellipsis:
        return "None" if item is None else "…"
    if isinstance(item, slice):
        ends = ["" if end is None else str(int(end)) for end in (item.start, item.stop, item.step)]
        return ":".join(ends if ends[2] else ends[:2])
    array = np.asarray(array_of(item) if isinstance(item, TensorBase) else item)
    if array.dtype.kind == "b":
        return f"mask {array.shape}" if array.ndim else str(bool(array))
    return str(array.tolist()) if array.ndim <= 1 and array.size <= FEW else f"indices {array.shape}"
