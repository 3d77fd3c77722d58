"""What every view of a recorded graph shares: one walk over its history, one way to run it again, its cotangent.

Also the records of what the engine does not record, which a picture draws dashed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

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

    The record of a compiled function is replaced by the records of its composition.

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
    for result in toposort(results):
        # A compiled function shows the operations that it stands for.
        expand = getattr(result._node and result._node.primitive, "expand", None)
        if expand is not None:
            expand(result)
    found = [(result, result.node) for result in reversed(toposort(results)) if result.node is not None]
    for result, node in found if unfreed else ():
        if node.spent and not node.inputs:
            raise RuntimeError(
                f"{unfreed}: the graph of {node.primitive.name} (shape {result.shape}) has been freed by a backward "
                f"pass; pass retain_graph=True to that pass, or call {unfreed} before it"
            )
    return found


class _Aside(NamedTuple):
    """The record of a result that requires no gradient, and the step of the program in which it was made."""

    result: weakref.KeyedRef[int, Tensor]
    node: Node
    step: int
    size: int


class Asides:
    """Records of results that the engine does not record, for pictures only.

    A record ends with its result. It ends too when an unrecorded operation reads its result in a later step of the
    program, or reads it as a leaf that requires a gradient. So no record leads from one step of a training to the one
    before. Only records of the last two steps are kept, and not more than a fixed number of them and of bytes.
    """

    MOST, MOST_BYTES = 20_000, 64 * 2**20

    def __init__(self) -> None:
        self._step = 0
        self._kept: dict[int, _Aside] = {}
        # Records whose results have ended. They are dropped one after the other, because one may end the next.
        self._ended: list[weakref.KeyedRef[int, Tensor]] = []
        self._bytes = 0

    def keep(self, result: Tensor, node: Node) -> None:
        """Keep the record of a result that has none. The records of its inputs that must not reach it end here."""
        self._end(node.inputs)
        size = result._array.nbytes + sum(x.nbytes for x in node.inputs if not isinstance(x, Tensor))
        reference = weakref.KeyedRef(result, self._ended.append, id(result))
        self._drop(id(result))
        self._kept[id(result)] = _Aside(reference, node, self._step, size)
        self._bytes += size
        while len(self._kept) > self.MOST or self._bytes > self.MOST_BYTES:
            self._drop(next(iter(self._kept)))

    def _end(self, inputs: Iterable[Any]) -> None:
        while self._ended:
            reference = self._ended.pop()
            if reference.key in self._kept and self._kept[reference.key].result is reference:
                self._drop(reference.key)
        for x in inputs:
            aside = self._kept.get(id(x))
            if aside is not None and (aside.step < self._step or self.of(x) is None):
                self._drop(id(x))

    def begin_step(self) -> None:
        """Drop the records of all steps but the last: the program begins another one."""
        self._step += 1
        while self._kept and next(iter(self._kept.values())).step < self._step - 1:
            self._drop(next(iter(self._kept)))

    def of(self, tensor: Tensor) -> Node | None:
        """The record of a result, if there is one, and nothing else was assigned to the result since."""
        aside = self._kept.get(id(tensor))
        if aside is None or aside.result() is not tensor or tensor._version or tensor.requires_grad:
            return None
        return aside.node

    def _drop(self, key: int) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key).size


# Empty unless a tool runs the program and keeps records; see microtensor.script.unrecorded.
asides = Asides()


def made_by(tensor: Tensor) -> Node | None:
    """The record of a result, or the one that was kept aside for pictures; None for a leaf."""
    return asides.of(tensor) if tensor.node is None else tensor.node


def with_asides(*results: Tensor) -> list[tuple[Tensor, Node]]:
    """The history of the results, and what else they were computed with for which there are records kept aside.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import history, with_asides
    >>> y = mt.tensor([1.0, 2.0], requires_grad=True) * 3.0
    >>> with_asides(y) == history(y)
    True
    """
    records = history(*results)
    found = dict(records)
    todo: list[Any] = [*results, *(x for _, node in records for x in node.inputs)]
    while todo:
        x = todo.pop()
        if isinstance(x, Tensor) and x not in found and (node := made_by(x)) is not None:
            # A recorded result is reached here when its gradient was cut off.
            for other, its in [(x, node)] if x.node is None else history(x):
                if other not in found:
                    found[other] = its
                    todo += its.inputs
    return sorted(found.items(), key=lambda record: record[1].index)


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
    if not isinstance(value, Tensor):
        return value
    seen = value._array.view()
    seen.flags.writeable = False
    return seen


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


def why_constant(x: Tensor) -> str:
    """Why no gradient reaches x although it is no data; empty for data, and for what requires a gradient.

    "backward": x starts a backward pass. "computed": it was computed from data. "detached", "unrecorded": as they say.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import why_constant
    >>> x = mt.tensor([1.0])
    >>> why_constant(x), why_constant(x * 2), why_constant(x.detach() * 2)
    ('', 'computed', 'detached')
    """
    return "" if x.requires_grad else x._origin


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
