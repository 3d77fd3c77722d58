"""What every view of a recorded graph shares: one walk over its history, one way to run it again, its cotangent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from microtensor.core.backprop import Contribution, Walk, run, toposort
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.support.arrays import Array

Key = TypeVar("Key")
COTANGENT_SEED = 271828
# Where the cotangent of a result comes from: a kept backward pass, a single number, or a random generator.
Origin: TypeAlias = Literal["kept", "scalar", "random"]


def history(*results: Tensor, unfreed: str = "") -> list[tuple[Tensor, Node]]:
    """All recorded results that the given results depend on, and these results, in the order of the program.

    Parameters
    ----------
    *results : Tensor
    unfreed : str
        The name of the caller. When it is given, a freed graph raises an error with this name.

    Returns
    -------
    list of (Tensor, Node)
        Each result with its record.

    Raises
    ------
    RuntimeError
        `unfreed` is given, and a backward pass has freed the graph.

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
                f"pass; pass retain_graph=True to that pass, or call {unfreed} before it"
            )
    return found


def rerun(
    records: Iterable[tuple[Key, Node]], read: Callable[[Key, int, Any], Any], made: dict[Key, Tensor]
) -> dict[Key, Tensor]:
    """Run recorded operations again, one after the other. The recorded graph is not changed.

    Parameters
    ----------
    records : iterable of (key, Node)
        The key of each new result, and the operation to run. An operation may occur more than once.
    read : callable
        A function that gives the value of an argument. It takes the key, the number of the argument and its recorded
        value.
    made : dict
        The results by key. New results are added; `read` may use them.

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


def array_of(value: Any) -> Any:
    """The array of a tensor, read-only; any other value as it is.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import array_of
    >>> array_of(mt.tensor([1.0, 2.0])), array_of(3.0)
    (array([1., 2.]), 3.0)
    """
    return value.numpy() if isinstance(value, Tensor) else value


def arrays_of(node: Node) -> list[Any]:
    """The arguments of a recorded operation as plain arrays.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import arrays_of
    >>> arrays_of((mt.tensor([1.0, 2.0], requires_grad=True) * 3.0).node)
    [array([1., 2.]), array(3.)]
    """
    return [array_of(value) for value in node.inputs]


def indices_of(node: Node) -> list[Tensor]:
    """The tensors by which a recorded operation chooses elements, as an embedding does by words.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import indices_of
    >>> words, table = mt.tensor([2, 0], name="words"), mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> [index.name for index in indices_of(mt.take(table, words).node)]
    ['words']
    """
    index = node.params.get("index")
    return [i for i in (index if isinstance(index, tuple) else (index,)) if isinstance(i, Tensor)]


def is_detached(x: Tensor) -> bool:
    """Whether x was made by ``detach`` or ``stop_gradient``.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import is_detached
    >>> x = mt.tensor([1.0])
    >>> is_detached(x), is_detached(x.detach())
    (False, True)
    """
    return x._origin == "detached"


def cotangent_of(y: Tensor) -> tuple[Array, Origin]:
    """The cotangent of y, and where it comes from.

    It is the cotangent of the last backward pass inside `keep_graphs`. Without such a pass, it is 1 for a single
    number, and otherwise a fixed random array.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import cotangent_of
    >>> cotangent_of(mt.tensor([1.0, 2.0]).sum())
    (array(1.), 'scalar')
    """
    kept = _kept_backward(y)
    if kept is not None:
        return kept[0], "kept"
    if y.size == 1:
        return np.ones(y.shape, y.dtype), "scalar"
    return random_cotangent(y), "random"


def carried_back(y: Tensor, cotangent: Array, kept: bool = False) -> list[tuple[Tensor, Node, int, Array]]:
    """The contribution of each rule to the gradient of its input, in the order of the walk.

    Parameters
    ----------
    y : Tensor
        The result that the walk starts from.
    cotangent : array
    kept : bool
        Whether to return what the last kept backward pass of y has added, if there is one.

    Returns
    -------
    list of (Tensor, Node, int, array)
        The result of the operation, its record, the number of the argument and the contribution.

    Raises
    ------
    RuntimeError
        The graph has been freed, or a leaf was changed after it was read.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import carried_back
    >>> y = mt.tensor([1.0, 2.0], requires_grad=True) * 3.0
    >>> [value for *_, value in carried_back(y, np.array([1.0, 10.0]))]
    [array([ 3., 30.])]
    """
    records = {node.index: (output, node) for output, node in history(y)}
    backward = _kept_backward(y) if kept else None
    contributions = contributions_of(y, cotangent) if backward is None else backward[1]
    return [(*records[c.creation], c.argument, np.asarray(c.value)) for c in contributions if c.creation in records]


def _kept_backward(y: Tensor) -> tuple[Array, list[Contribution]] | None:
    """The cotangent and the contributions of the last backward pass that was kept."""
    return y._watch.walk if y._watch else None


def contributions_of(output: Tensor, seed: Array) -> list[Contribution]:
    """The contribution of each rule when `seed` is carried back from `output`. The graph is not freed.

    Raises
    ------
    RuntimeError
        The graph has been freed, or a leaf was changed after it was read.
    """
    walk = Walk([], [])
    run({output: seed}, walk=walk)
    return walk.contributions or []


def random_cotangent(output: Tensor) -> Array:
    """A fixed random cotangent, the same for every picture, ledger and check of a tensor.

    The seed is not 0, because many programs draw their data with seed 0. A norm would remove a cotangent along x.
    """
    draws = np.random.default_rng(COTANGENT_SEED).normal(size=output.shape) / output.size
    cotangent: Array = draws.astype(output.dtype)
    return cotangent
