"""Third: the reverse walk. It starts with the cotangent of a result and computes the gradients of its inputs.

:func:`reverse` returns gradients and changes nothing. :func:`backward` adds them to ``.grad`` in one step at the end.
``grad`` and ``vjp`` in ``calculus.py`` return them. Rules run on arrays for a first derivative, and on tensors for a
higher one, so that they are recorded. Broadcasting is undone in :func:`fitted` and nowhere else.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microtensor.core.ops import broadcast_to, sum_to
from microtensor.core.primitive import Node, TensorBase, Watch, as_array, new_tensor
from microtensor.support import errors
from microtensor.support.arrays import Array, broadcasts, own_array, quietly, sum_to_shape
from microtensor.support.modes import current_mode, enable_grad

if TYPE_CHECKING:
    from microtensor.core.tensor import Operand, Tensor

_creation = attrgetter("_node.index")


class Contribution(NamedTuple):
    """What one rule of one recorded operation added to the gradient of one input."""

    creation: int
    argument: int
    value: Any


class Walk(NamedTuple):
    """What a walk can report: the records that it went through, and what each rule added."""

    records: list[Node]
    contributions: list[Contribution] | None = None


# --- the walk ---------------------------------------------------------------------------------------------


def toposort(roots: Iterable[Tensor]) -> list[Tensor]:
    """The recorded results that `roots` depend on, roots included. Each result comes before its inputs.

    An input is made before its output, so creation order is topological. A sort by creation number needs no recursion
    and works for chains of any length.
    """
    found = []
    seen: set[Any] = set(roots)
    stack = list(seen)
    while stack:
        tensor = stack.pop()
        node = tensor._node
        if node is not None:
            found.append(tensor)
            for x in node.inputs:
                if isinstance(x, TensorBase) and x._requires_grad and x not in seen:
                    seen.add(x)
                    stack.append(x)
    return sorted(found, key=_creation, reverse=True)


def contribution(node: Node, argument: int, g: Any, y: Any, values: Sequence[Any]) -> Any:
    """The cotangent of one input of a recorded operation, from the cotangent `g` of its result.

    It has the shape and the dtype of the input.

    Parameters
    ----------
    node : Node
        The record of the call.
    argument : int
        Which input. The operation must have a rule for it.
    g : array or Tensor
        The cotangent of the result.
    y, values : array or Tensor
        The result and the inputs of the call: arrays, or tensors for a higher derivative.

    Raises
    ------
    RuntimeError
        The rule returned a shape that does not fit the input.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> from microtensor.backprop import contribution
    >>> y = 2.0 * mt.tensor([1.0, 3.0], requires_grad=True)
    >>> values = [np.array(2.0), np.array([1.0, 3.0])]
    >>> contribution(y.node, 1, np.array([1.0, 10.0]), y.numpy(), values)
    array([ 2., 20.])
    """
    rule, params = node.primitive.rules[argument], node.params
    d = rule(g, y, *values, **params) if params else rule(g, y, *values)
    x = values[argument]
    return d if d.shape == x.shape and d.dtype is x.dtype else fitted(d, x, node, argument)


def fitted(d: Any, x: Any, node: Node, argument: int) -> Any:
    """The gradient `d` that a rule returned, brought to the shape and dtype of the input x.

    A smaller gradient is broadcast; a larger one is summed.

    Raises
    ------
    RuntimeError
        Neither shape broadcasts to the other.
    """
    on_tensors = isinstance(d, TensorBase)
    if d.shape != x.shape:
        if broadcasts(d.shape, x.shape):
            d = (broadcast_to if on_tensors else np.broadcast_to)(d, x.shape)
        elif broadcasts(x.shape, d.shape):
            d = (sum_to if on_tensors else sum_to_shape)(d, x.shape)
        else:
            raise errors.misfit(node, argument, d, x)
    return d if d.dtype == x.dtype else d.astype(x.dtype)


def reverse(
    seeds: dict[Tensor, Any], wanted: set[Tensor] | None = None, *, create_graph: bool = False, walk: Walk | None = None
) -> dict[Tensor, Any]:
    """Compute gradients by a reverse walk through the graph. No tensor is changed.

    Parameters
    ----------
    seeds : dict
        The cotangent of each result: an array, or with `create_graph` a tensor.
    wanted : set of Tensor, optional
        The tensors whose gradients are returned; default: all leaves. Branches that lead to none of them are skipped.
    create_graph : bool
        Run the rules on tensors, so that the gradients can be differentiated.
    walk : Walk, optional
        Its lists are filled in the order of the walk.

    Returns
    -------
    dict
        The gradient of each tensor, with its shape and dtype: an array, or with `create_graph` a tensor.

    Raises
    ------
    RuntimeError
        The graph has been freed, a leaf was changed after it was read, or a rule returned a gradient that does not fit.
    """
    useful = None if wanted is None else _leading_to(wanted, toposort(seeds))
    gradients: dict[Any, Any] = dict(seeds)
    found: dict[Tensor, Any] = {}
    # An input is made before its output, so the youngest waiting record has received all of its gradient.
    waiting: list[Any] = [(-t._node.index, t) for t in seeds if t._node is not None]
    heapify(waiting)
    observed = current_mode().watched or (walk is not None and walk.contributions is not None)
    own: dict[Any, Array] | None = None if observed or create_graph else {}
    while waiting:
        _, output = heappop(waiting)
        g = gradients.pop(output)
        watch = output._watch
        if watch is not None:
            g = _hooked(g, output, create_graph)
        if (wanted is not None and output in wanted) or (watch is not None and watch.retains_grad):
            found[output] = g
        node: Any = output._node
        # Read first, then check: another thread that frees the graph sets `spent` before it empties `inputs`.
        inputs = node.inputs
        if node.spent:
            raise errors.freed(node, output)
        if walk is not None:
            walk.records.append(node)
        y, values = (output, inputs) if create_graph else (output._array, [])
        # A loop, not a comprehension, which before Python 3.12 is one more call.
        for x in () if create_graph else inputs:
            values.append(x._array if isinstance(x, TensorBase) else x)
        rules, into, version = node.primitive.rules, node.primitive.into, 0
        for i, x in enumerate(inputs):
            if not isinstance(x, TensorBase):
                continue
            version += x._version
            if not x._requires_grad or (useful is not None and x not in useful) or rules[i] is None:
                continue
            try:
                if into is not None and own is not None and _add_into(gradients, own, x, g, node):
                    continue
                d = contribution(node, i, g, y, values)
            except Exception as error:
                error.add_note(errors.place_of(node, i, output, values))
                raise
            if observed:
                _observe(d, g, node, i, output, values, walk)
            if x in gradients:
                gradients[x] = gradients[x] + d
            else:
                gradients[x] = d
                if x._node is not None:
                    heappush(waiting, (-x._node.index, x))
        if version != node.version:
            raise errors.stale(node, [x for x in inputs if isinstance(x, TensorBase) and x._version], version)
    for leaf, g in gradients.items():
        if wanted is None or leaf in wanted:
            found[leaf] = g if leaf._watch is None else _hooked(g, leaf, create_graph)
    return found


def _add_into(gradients: dict[Any, Any], own: dict[Any, Array], x: Any, g: Array, node: Node) -> bool:
    """Add the cotangent of a part of x to the gradient of x in place, if x has one.

    The sum is in `own`, because nobody else may hold an array that is written to.
    """
    if x not in gradients:
        return False
    if own.get(x) is not gradients[x]:
        own[x] = gradients[x] = np.array(gradients[x])
    node.primitive.into(own[x], g, **node.params)
    return True


def _observe(d: Any, g: Any, node: Node, argument: int, output: Any, values: Any, walk: Walk | None) -> None:
    """Check and report what a rule returned."""
    if current_mode().watched:
        errors.check_finite(d, g, node, argument, output, values)
    if walk is not None and walk.contributions is not None:
        walk.contributions.append(Contribution(node.index, argument, d))


def _leading_to(wanted: set[Tensor], order: list[Tensor]) -> set[Tensor]:
    useful = set(wanted)
    for tensor in reversed(order):
        node: Any = tensor._node
        # The inputs of a freed record are unknown. The walk must go there, to raise the error.
        if node.spent or any(isinstance(x, TensorBase) and x in useful for x in node.inputs):
            useful.add(tensor)
    return useful


def _hooked(g: Any, tensor: Tensor, create_graph: bool) -> Any:
    """The complete gradient of a tensor, after its hooks."""
    for hook in tensor._watch.hooks.values():  # type: ignore[union-attr]
        replaced = hook(g if create_graph else new_tensor(np.array(g)))
        if replaced is not None:
            if not isinstance(replaced, TensorBase):
                raise TypeError(f"hook: returned a {type(replaced).__name__}; it must return a tensor or None")
            errors.check_gradient(replaced, tensor, "hook")
            # A copy, because the array belongs to a tensor of the hook.
            g = replaced if create_graph else replaced._array.copy()
    return g


# --- what the walk is called with, and what becomes of the gradients ----------------------------------------


def seed_of(output: Any, gradient: Any = None, who: str = "backward", what: str = "gradient") -> Any:
    """The cotangent that the walk starts with, in the shape and dtype of the output."""
    if gradient is None and output._requires_grad and output._array.size == 1:
        return np.ones(output._array.shape, output._array.dtype)
    return _checked_seed(output, gradient, who, what)


def _checked_seed(output: Any, gradient: Any, who: str, what: str) -> Any:
    if not output._requires_grad:
        raise errors.no_history(who, output.shape, output._origin)
    if gradient is None:
        raise errors.no_single_gradient(who, output.shape, what)
    seed: Any = gradient if isinstance(gradient, TensorBase) else own_array(gradient, f"{who}: {what}", copy=None)
    if isinstance(gradient, TensorBase) and seed.dtype.kind != "f":
        raise TypeError(f"{who}: {what} has dtype {seed.dtype}; it must be a float")
    if seed.shape != output.shape:
        raise ValueError(f"{who}: {what} has shape {seed.shape}; it must have the shape of the tensor, {output.shape}")
    return seed if seed.dtype == output.dtype else seed.astype(output.dtype)


def run(
    seeds: dict[Tensor, Any], wanted: set[Tensor] | None = None, *, create_graph: bool = False, walk: Walk | None = None
) -> dict[Tensor, Tensor]:
    """Run the reverse walk, on arrays or with `create_graph` on tensors. The gradients share no memory."""
    if create_graph:
        held = {t: g if isinstance(g, TensorBase) else new_tensor(g.copy(), None, "backward") for t, g in seeds.items()}
        with enable_grad():
            return _owned(quietly(reverse, held, wanted, create_graph=True, walk=walk), held)
    arrays = {t: g._array if isinstance(g, TensorBase) else g for t, g in seeds.items()}
    return _owned(quietly(reverse, arrays, wanted, walk=walk), arrays)


def _owned(found: dict[Tensor, Any], seeds: dict[Tensor, Any]) -> dict[Tensor, Tensor]:
    """Gradients as tensors that own their memory.

    No two of them share memory. None shares memory with a seed or a leaf, and none keeps a larger array alive.
    """
    taken = {id(_memory_of(x)) for x in (*seeds.values(), *found)}
    out: dict[Tensor, Any] = {}
    for tensor, g in found.items():
        memory = _memory_of(g)
        shared = id(memory) in taken or memory.size != g.size
        if isinstance(g, TensorBase):
            out[tensor] = g * 1.0 if shared else g  # type: ignore[operator]
        else:
            out[tensor] = new_tensor(np.array(g) if shared or type(g) is not np.ndarray or not g.flags.writeable else g)
        taken.add(id(_memory_of(out[tensor])))
    return out


def _memory_of(x: Any) -> Array:
    """The array that holds the memory of an array or a tensor: of a view, the one that it looks at."""
    array: Array = x._array if isinstance(x, TensorBase) else x
    return array.base if isinstance(array.base, np.ndarray) else array


def backward(
    output: Tensor, gradient: Operand | None = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add the gradient of this tensor to ``.grad`` of every leaf that it depends on.

    All gradients are computed first and added at the very end. So an exception leaves every ``.grad`` as
    it was. Afterwards the graph is freed, unless `retain_graph` is True.

    Parameters
    ----------
    gradient : array_like, optional
        The cotangent, of this tensor's shape. Default: 1, for a tensor with one element.
    retain_graph : bool
        Keep the graph for another backward pass, which adds to ``.grad`` again.
    create_graph : bool
        Record the backward pass too, so that it can be differentiated; implies `retain_graph`.

    Raises
    ------
    RuntimeError
        The tensor does not require a gradient, the cotangent is missing, the graph has been freed, or a leaf
        was changed after it was read.
    ValueError
        The cotangent has another shape.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).backward([1.0, 10.0])
    >>> x.grad
    tensor([ 2., 40.])
    """
    seed = seed_of(output, gradient)
    keep = current_mode().keeping
    walk = Walk([], [] if keep else None)
    found = run({output: seed}, create_graph=create_graph, walk=walk)
    if keep:
        # It holds creation numbers, not tensors, so that it does not refer back to its owner.
        output._watch = output._watch or Watch()
        output._watch.walk = np.array(as_array(seed)), walk.contributions or []
    _commit(output, found, [] if retain_graph or create_graph else walk.records, create_graph, keep)


def _sum(a: Any, b: Any, create_graph: bool) -> Any:
    return a + b if create_graph else new_tensor(np.asarray(quietly(np.add, a._array, b._array)), None, "computed")


_committing = threading.RLock()
_set_grad = TensorBase.__dict__["_grad"].__set__
_set_spent = Node.__dict__["spent"].__set__
_set_inputs = Node.__dict__["inputs"].__set__


def _commit(output: Tensor, found: dict[Tensor, Tensor], used: list[Node], create_graph: bool, keep: bool) -> None:
    """Add all gradients and free the used records: all of it, or nothing."""
    # Two threads may share a graph or a leaf. Only the first one frees the graph; they add one after the other.
    with _committing:
        spent = next((node for node in used if node.spent), None)
        if spent is not None:
            raise errors.freed(spent, output)
        summed = {t: g if t._grad is None else _sum(t._grad, g, create_graph) for t, g in found.items()}
        steps = [map(_set_grad, summed.keys(), summed.values()), map(_set_spent, used, repeat(True))]
        steps += [] if keep else [map(_set_inputs, used, repeat(()))]
        # All of it runs in C, within one bytecode, so Ctrl-C cannot leave half of it done.
        deque(chain.from_iterable(steps), maxlen=0)


def renew_lock() -> None:
    """Make a new lock in a forked child: the thread that held the old one does not exist there."""
    global _committing
    _committing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_lock)
