"""The one walk over a recorded history, in the order of the forward pass, and the one way to run it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from microtensor.backprop import toposort
from microtensor.primitive import Node
from microtensor.tensor import Tensor

Key = TypeVar("Key")


def history(*results: Tensor, unfreed: str = "") -> list[tuple[Tensor, Node]]:
    """Every result behind some results, themselves included, with its record; each after what it was made from.

    Parameters
    ----------
    *results : Tensor
    unfreed : str
        A name for the caller: records that a backward pass has freed are refused in that name.

    Raises
    ------
    RuntimeError
        With `unfreed`, the graph has been freed.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import history
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> [node.primitive.name for _, node in history((x * x).sum())]
    ['multiply', 'sum']
    """
    found = [(result, result.node) for result in reversed(toposort(results)) if result.node is not None]
    for result, node in found if unfreed else ():
        if node.spent and not node.inputs:
            raise RuntimeError(
                f"{unfreed}: the graph of {node.primitive.name} (shape {result.shape}) has been freed by a backward "
                f"pass; pass retain_graph=True to that one, or call {unfreed} before it"
            )
    return found


def rerun(
    records: Iterable[tuple[Key, Node]], read: Callable[[Key, int, Any], Any], made: dict[Key, Tensor]
) -> dict[Key, Tensor]:
    """Run recorded operations again, one after the other; the graph that recorded them is only read.

    Parameters
    ----------
    records : iterable of (key, Node)
        What to call each new result, and the operation to run; an operation may stand there more than once.
    read : callable
        What an operation reads now: from its key, the number of an argument and the argument's recorded value.
    made : dict
        The results by key, to which the new ones are added; `read` may look into it.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import history, rerun
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> y, made = (x * x).sum(), {x: mt.tensor([3.0, 4.0])}
    >>> rerun(history(y), lambda key, argument, value: made.get(value, value), made)[y].item()
    25.0
    """
    for key, node in records:
        operation = node.primitive
        made[key] = operation(*(read(key, i, value) for i, value in enumerate(node.inputs)), **node.params)
    return made
