"""Reads recorded graphs, and runs their operations again with other values of the leaves."""

from __future__ import annotations

from collections.abc import Mapping

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import history, rerun


def leaves_of(output: Tensor) -> list[Tensor]:
    """The leaves in the history of a result that require a gradient, in order of first use.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.replay import leaves_of
    >>> a, b = (mt.tensor(1.0, requires_grad=True, name=name) for name in "ab")
    >>> [leaf.name for leaf in leaves_of(b * 2.0 + a * b)]
    ['b', 'a']
    """
    found: dict[Tensor, None] = {}
    for _, node in history(output):
        found.update((x, None) for x in node.inputs if isinstance(x, Tensor) and x.is_leaf and x.requires_grad)
    return list(found)


def reader_of(output: Tensor, leaf: Tensor) -> str:
    """The scope in which a leaf was first read on the way to `output`; empty if it was read outside all scopes.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.replay import reader_of
    >>> w = mt.tensor([1.0], requires_grad=True)
    >>> with mt.name_scope("fc1"):
    ...     y = w * 2.0
    >>> reader_of(y, w)
    'fc1'
    """
    for _, node in history(output):
        if any(x is leaf for x in node.inputs):
            return node.scope.path if node.scope else ""
    return ""


def changed_since(output: Tensor) -> list[Tensor]:
    """The leaves that got a new value after the graph of `output` had read them, for example from an optimiser.

    An operation records only the sum of its inputs' versions. If one input was changed after the operation, and another
    before it, both are returned.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.replay import changed_since
    >>> w = mt.tensor([1.0], requires_grad=True, name="w")
    >>> loss = (w * w).sum()
    >>> w.data = [2.0]
    >>> [leaf.name for leaf in changed_since(loss)]
    ['w']
    """
    found: dict[Tensor, None] = {}
    for _, node in history(output):
        inputs = [x for x in node.inputs if isinstance(x, Tensor)]
        if sum(x._version for x in inputs) != node.version:
            found.update((x, None) for x in inputs if x._version)
    return list(found)


def replay(output: Tensor, replaced: Mapping[Tensor, Tensor]) -> Tensor:
    """Run the recorded operations again with other tensors in place of some leaves.

    Values that were not recorded stay the same: constants, detached values, the mask of a dropout. The graph is only
    read. A backward pass may have used it, if the graph was kept.

    Parameters
    ----------
    output : Tensor
        A result with a history.
    replaced : mapping
        For each leaf a new tensor of the same shape.

    Raises
    ------
    RuntimeError
        The graph has been freed.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.replay import replay
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> replay((x * x).sum(), {x: mt.tensor([3.0, 4.0])}).item()
    25.0
    """
    made = dict(replaced)
    records = history(output, unfreed="replay")
    return rerun(records, lambda _, i, x: made.get(x, x) if isinstance(x, Tensor) else x, made)[output]
