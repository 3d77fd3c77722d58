"""The reverse walk: from a cotangent of the result to the gradients of what it was made from.

:func:`reverse` is pure: it returns gradients and changes nothing. :func:`backward` adds them into ``.grad``
in one step at the end; :func:`grad` and :func:`vjp` hand them back. Rules run on raw arrays for a first
derivative and on tensors, recorded, for a higher one. Un-broadcasting happens here and nowhere else.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor import ops
from microtensor.primitive import Node, Traced, enable_grad, is_finite, is_watched
from microtensor.support.arrays import Array, own_array
from microtensor.support.quiet import quietly
from microtensor.tensor import Tensor

COTANGENT_SEED = 271828
_creation = attrgetter("_node.index")
_set_grad = Traced.__dict__["_grad"].__set__
_set_spent = Node.__dict__["spent"].__set__
_set_inputs = Node.__dict__["inputs"].__set__
_committing = threading.RLock()
_keep_graphs: ContextVar[bool] = ContextVar("microtensor_keep_graphs", default=False)
# By what jacobian, hessian or hvp are differentiating just now, and which of them.
points: ContextVar[dict[Tensor, str]] = ContextVar("microtensor_points", default={})


class Contribution(NamedTuple):
    """What the rule of one argument of one recorded operation added to the gradient of that input."""

    creation: int
    argument: int
    value: Any


def renew_lock() -> None:
    """Start with a free lock: in a forked child the thread that held it does not exist."""
    global _committing
    _committing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_lock)


@contextmanager
def keep_graphs() -> Iterator[None]:
    """Inside, backward keeps what a picture needs: the freed graph's records and every contribution it made.

    A freed graph stays unusable for another backward all the same.
    """
    token = _keep_graphs.set(True)
    try:
        yield
    finally:
        _keep_graphs.reset(token)


def toposort(roots: Sequence[Tensor]) -> list[Tensor]:
    """The recorded results that `roots` depend on, themselves included, each before what it was made from.

    Creation order is topological, because an input exists before its output; so this is a sort, not a
    recursion, and a chain of any length passes.
    """
    found = []
    seen = set(roots)
    stack = list(seen)
    while stack:
        tensor = stack.pop()
        node = tensor._node
        if node is None:
            continue
        found.append(tensor)
        for x in node.inputs:
            if isinstance(x, Tensor) and x._requires_grad and x not in seen:
                seen.add(x)
                stack.append(x)
    found.sort(key=_creation, reverse=True)
    return found


def reverse(
    seeds: dict[Tensor, Any],
    wanted: set[Tensor] | None = None,
    *,
    create_graph: bool = False,
    contributions: list[Contribution] | None = None,
    visited: list[Node] | None = None,
) -> dict[Tensor, Any]:
    """Carry cotangents back through the graph; nothing that exists is changed.

    Parameters
    ----------
    seeds : dict
        The cotangent of each result: an array, or a tensor with `create_graph`.
    wanted : set of Tensor, optional
        The tensors whose gradients are asked for, leaves or not; every leaf unless given. Branches that lead
        to none of them are not walked.
    create_graph : bool
        Run the rules on tensors, so that what they do is recorded.
    contributions : list, optional
        Filled with what each rule added, in the order of the walk.
    visited : list, optional
        Filled with the records walked through.

    Returns
    -------
    dict
        Gradients by tensor, arrays or (with `create_graph`) tensors; of the shape and dtype of the tensor.

    Raises
    ------
    RuntimeError
        The graph has been freed, a leaf was changed after it was read, or a rule returned a gradient that
        does not fit.
    """
    watched = is_watched()
    useful = None if wanted is None else _leading_to(wanted, toposort(list(seeds)))
    pending: dict[Tensor, Any] = dict(seeds)
    found: dict[Tensor, Any] = {}
    summed: set[Tensor] = set()
    # Those whose cotangent has still to be broadcast up to their shape.
    small: set[Tensor] = set()
    # An input is made before its output, so the youngest record still waiting has all of its gradient.
    waiting = [(-t._node.index, t) for t in seeds if t._node is not None]
    heapify(waiting)
    while waiting:
        _, output = heappop(waiting)
        g = pending.pop(output)
        extra = output._extra
        if extra is not None or output in small:
            g = _arrive(g, output, create_graph)
        if (wanted is not None and output in wanted) or (extra is not None and "retain" in extra):
            found[output] = g
        node = output._node
        assert node is not None
        # In this order: another thread that frees the graph marks the record before it empties it.
        sources = node.inputs
        if node.spent:
            raise _freed(node, output)
        if visited is not None:
            visited.append(node)
        if create_graph:
            y: Any = output
            inputs: Any = sources
        else:
            y = output._array
            inputs = []
            # Not a comprehension, which before Python 3.12 is one more call.
            for x in sources:
                inputs.append(x._array if isinstance(x, Traced) else x)
        version = 0
        params = node.params
        rules = node.primitive.rules
        for i, x in enumerate(sources):
            if not isinstance(x, Tensor):
                continue
            version += x._version
            rule = rules[i]
            if rule is None or not x._requires_grad or (useful is not None and x not in useful):
                continue
            array = x._array
            try:
                d = rule(g, y, *inputs, **params) if params else rule(g, y, *inputs)
                if d.shape != array.shape or (d.dtype is not array.dtype and d.dtype != array.dtype):
                    d = _fit(d, x, node, i)
                    if d.shape != array.shape:
                        small.add(x)
            except Exception as error:
                error.add_note(_place_of(node, output, i))
                raise
            if watched and not is_finite(d) and is_finite(g):
                raise FloatingPointError(f"a gradient of shape {d.shape} is not finite: {_place_of(node, output, i)}")
            if contributions is not None:
                contributions.append(Contribution(node.index, i, d))
            before = pending.get(x)
            if before is None:
                pending[x] = d
                if x._node is not None:
                    heappush(waiting, (-x._node.index, x))
            elif x in summed and before.shape == array.shape and type(before) is np.ndarray:
                # An array that this walk has made: what a rule returns may be held, or read later, by others.
                np.add(before, d, before)
            else:
                pending[x] = before + d
                summed.add(x)
        if version != node.version:
            raise _stale(node, version)
    for leaf, g in pending.items():
        if wanted is None or leaf in wanted:
            found[leaf] = _arrive(g, leaf, create_graph)
    return found


def _leading_to(wanted: set[Tensor], order: list[Tensor]) -> set[Tensor]:
    useful = set(wanted)
    for tensor in reversed(order):
        assert tensor._node is not None
        # What a freed record led to is unknown, so the walk has to go there and say so.
        if tensor._node.spent or any(isinstance(x, Tensor) and x in useful for x in tensor._node.inputs):
            useful.add(tensor)
    return useful


def _place_of(node: Node, output: Tensor, argument: int) -> str:
    """Which derivative it was, in words."""
    shapes = ", ".join(str(np.shape(ops.as_array(x))) for x in node.inputs)
    line = f"made at {node.line}" if node.line else "run the forward pass under mt.trace_lines() to see its line"
    return (
        f"in the derivative of {node.primitive.name} by argument {argument}, shapes {shapes} -> {output.shape}; {line}"
    )


def _freed(node: Node, output: Tensor) -> RuntimeError:
    return RuntimeError(
        f"the graph of {node.primitive.name} (shape {output.shape}) has been freed by an earlier backward; "
        "pass retain_graph=True to that one to go through it again"
    )


def _stale(node: Node, version: int) -> RuntimeError:
    changed = [x for x in node.inputs if isinstance(x, Tensor) and x._version]
    named = " or ".join(f"{x.name or 'a tensor'} of shape {x.shape}" for x in changed)
    return RuntimeError(
        f"{node.primitive.name}: {named} was changed after {node.primitive.name} had read it: version {version}, "
        f"expected {node.version}. Run the forward pass again after an update, or call backward before it"
    )


def _arrive(g: Any, tensor: Tensor, create_graph: bool) -> Any:
    """The complete gradient of a tensor, at full size, after its hooks."""
    if g.shape != tensor.shape:
        g = ops.broadcast_to(g, shape=tensor.shape)
    for hook in (tensor._extra or {}).get("hooks", {}).values():
        replaced = hook(g if create_graph else Tensor(g))
        if replaced is not None:
            if not isinstance(replaced, Tensor):
                raise TypeError(f"hook: returned a {type(replaced).__name__}; a tensor or None is needed")
            if replaced.shape != tensor.shape:
                raise ValueError(f"hook: returned shape {replaced.shape} for a gradient of shape {tensor.shape}")
            if replaced.dtype != tensor.dtype:
                raise TypeError(f"hook: returned dtype {replaced.dtype} for a gradient of dtype {tensor.dtype}")
            # A copy: the array belongs to a tensor of the hook's.
            g = replaced if create_graph else replaced._array.copy()
    return g


def _fit(d: Any, x: Tensor, node: Node, i: int) -> Any:
    """Undo broadcasting and casting: bring a rule's result to the shape and dtype of its input.

    A result that is still to be broadcast up to the input's shape is left small for as long as possible.
    """
    if d.shape != x.shape and not _broadcasts(d.shape, x.shape):
        if not _broadcasts(x.shape, d.shape):
            raise RuntimeError(
                f"the rule of {node.primitive.name} for argument {i} returned a gradient of shape {d.shape} "
                f"for an input of shape {x.shape}"
            )
        d = ops.sum_to(d, shape=x.shape)
    if d.dtype != x.dtype:
        d = ops.astype(d, dtype=x.dtype)
    return d


def fitted(d: Any, node: Node, argument: int) -> Any:
    """What a rule returned, brought to the shape and dtype of its input: un-broadcast or broadcast, and cast.

    Raises
    ------
    RuntimeError
        The shapes do not broadcast, one way or the other.
    """
    x = node.inputs[argument]
    d = _fit(d, x, node, argument)
    return d if d.shape == x.shape else ops.broadcast_to(d, shape=x.shape)


def contribution(node: Node, argument: int, g: Any, y: Any, values: Sequence[Any]) -> Any:
    """What the cotangent `g` of one recorded operation gives one of its inputs, in the shape and dtype of that.

    Parameters
    ----------
    node : Node
        The record; the operation has a rule for the argument.
    argument : int
    g : array or Tensor
        The cotangent of the result.
    y, values : array or Tensor
        The result, and what the operation was called with, as the rule is to see them.

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
    rule = node.primitive.rules[argument]
    assert rule is not None
    return fitted(rule(g, y, *values, **node.params), node, argument)


@lru_cache
def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape `small` can be broadcast to `large`."""
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(n in (1, m) for n, m in pairs)


def contributions_of(output: Tensor, seed: Array) -> list[Contribution]:
    """What each rule adds when `seed` is carried back from `output`; the graph is not freed.

    Raises
    ------
    RuntimeError
        The graph has been freed, or a leaf was changed after it was read.
    """
    contributions: list[Contribution] = []
    _run({output: seed}, contributions=contributions)
    return contributions


def random_cotangent(output: Tensor) -> Array:
    """A fixed random cotangent, the same for every picture, ledger and check of a tensor.

    Not from seed 0, which programs draw their data with: a cotangent along x is one that a norm takes out.
    """
    draws = np.random.default_rng(COTANGENT_SEED).normal(size=output.shape) / output.size
    cotangent: Array = draws.astype(output.dtype)
    return cotangent


# What each function calls the cotangent that it is given.
_COTANGENT = {"vjp": "cotangent", "grad": "grad_outputs"}


def _seed(output: Tensor, gradient: Any, who: str) -> Any:
    check_tensor(output, who, "output")
    what = _COTANGENT.get(who, "gradient")
    if not output.requires_grad:
        extra = output._extra or {}
        if "detached" in extra:
            why = "it was detached from its graph"
        elif "unrecorded" in extra:
            why = "it was made under mt.no_grad(), or has no derivative"
        else:
            why = (
                "it was not made with requires_grad=True, nor from a tensor that was; a gradient has a history of its "
                "own only with create_graph=True"
            )
        raise RuntimeError(f"{who}: this tensor of shape {output.shape} does not require a gradient: {why}")
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(
                f"{who}: a tensor of shape {output.shape} has no single gradient; reduce it to a scalar, for example "
                f"with .sum(), or pass {what}= of shape {output.shape}"
            )
        return np.ones(output.shape, dtype=output.dtype)
    if isinstance(gradient, Tensor):
        if gradient.dtype.kind != "f":
            raise TypeError(f"{who}: {what} has dtype {gradient.dtype}; a float is needed")
        seed: Any = gradient
    else:
        seed = own_array(gradient, f"{who}: {what}")
    if seed.shape != output.shape:
        raise ValueError(f"{who}: {what} has shape {seed.shape}, the tensor {output.shape}")
    return seed if seed.dtype == output.dtype else ops.astype(seed, dtype=output.dtype)


def _run(
    seeds: dict[Tensor, Any],
    wanted: set[Tensor] | None = None,
    *,
    create_graph: bool = False,
    contributions: list[Contribution] | None = None,
    visited: list[Node] | None = None,
) -> dict[Tensor, Any]:
    """Reverse in the mode that `create_graph` calls for."""
    if create_graph:
        with enable_grad():
            seeds = {t: g if isinstance(g, Tensor) else Tensor(g) for t, g in seeds.items()}
            return quietly(reverse, seeds, wanted, create_graph=True, contributions=contributions, visited=visited)
    raw = {t: ops.as_array(g) for t, g in seeds.items()}
    return quietly(reverse, raw, wanted, contributions=contributions, visited=visited)


def _as_tensors(found: dict[Tensor, Any], seeds: Iterable[Any]) -> dict[Tensor, Tensor]:
    """Gradients as tensors of which no two, and none with a seed or a leaf, share memory or keep a larger array."""
    taken = {id(_memory_of(ops.as_array(x))) for x in (*seeds, *found)}
    out = {}
    for tensor, g in found.items():
        array: Array = np.asarray(g._array if isinstance(g, Tensor) else g)
        memory = _memory_of(array)
        shared = id(memory) in taken or memory.size != array.size
        if isinstance(g, Tensor):
            new = g * 1.0 if shared else g
        else:
            new = object.__new__(Tensor)
            new._array = array.copy() if shared or not array.flags.writeable else array
            new._node = new._grad = new._extra = new._name = None
            new._version = 0
            new._requires_grad = False
        out[tensor] = new
        taken.add(id(_memory_of(new._array)))
    return out


def _memory_of(array: Array) -> Array:
    """The array that holds the memory: of a view, the one that it looks at."""
    return array.base if isinstance(array.base, np.ndarray) else array


def backward(
    output: Tensor,
    gradient: Tensor | ArrayLike | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `output` to ``.grad`` of its leaves; see :meth:`microtensor.Tensor.backward`."""
    seed = _seed(output, gradient, "backward")
    keep = _keep_graphs.get()
    contributions: list[Contribution] | None = [] if keep else None
    visited: list[Node] = []
    gradients = _run({output: seed}, create_graph=create_graph, contributions=contributions, visited=visited)
    found = _as_tensors(gradients, [seed])
    if contributions is not None:
        # By creation number, not by tensor, so that the record does not point back at its owner.
        output._extra = output._extra or {}
        output._extra["backward"] = (np.asarray(ops.as_array(seed)), contributions)
    free = not (retain_graph or create_graph)
    # Of two threads in one graph only the first has it to free; two that share a leaf add one after the other.
    with _committing:
        used = next((node for node in visited if node.spent), None) if free else None
        if used is not None:
            raise _freed(used, output)
        summed = {t: g if t._grad is None else t._grad + g for t, g in found.items()}
        if not create_graph:
            summed = {t: g.detach() if g.requires_grad else g for t, g in summed.items()}
        steps = [map(_set_grad, summed.keys(), summed.values())]
        if free:
            steps.append(map(_set_spent, visited, repeat(True)))
        if free and not keep:
            steps.append(map(_set_inputs, visited, repeat(())))
        # All of it runs in C from one bytecode to the next, so not even Ctrl-C can leave half of it done.
        deque(chain.from_iterable(steps), maxlen=0)


def vjp(
    output: Tensor, cotangent: Tensor | ArrayLike | None = None, *, create_graph: bool = False
) -> dict[Tensor, Tensor]:
    """The vector-Jacobian product: the gradient ⟨cotangent, output⟩ of every leaf, as a dictionary.

    Nothing is changed: no ``.grad`` is written and the graph is not freed.

    Parameters
    ----------
    output : Tensor
    cotangent : array_like, optional
        Of the shape of `output`; 1 for a tensor with one element.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated.

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As :meth:`microtensor.Tensor.backward`.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> mt.vjp(x * x, [1.0, 1.0])[x]
    tensor([2., 4.])
    """
    seed = _seed(output, cotangent, "vjp")
    found = _as_tensors(_run({output: seed}, create_graph=create_graph), [seed])
    return found if create_graph else _linked(found, {output: seed})


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradient of `outputs` with respect to `inputs`, leaves or intermediate results.

    Nothing is changed: no ``.grad`` is written and the graph is not freed.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or iterable of Tensor
        Of a dictionary of tensors pass the values.
    grad_outputs : array_like or sequence, optional
        One cotangent an output; may be left out for outputs with one element.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated again.
    allow_unused : bool
        Give None for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    Tensor or tuple of Tensor
        As many as `inputs`: one tensor for one tensor, a tuple for a sequence.

    Raises
    ------
    RuntimeError
        No recorded path leads to an input and `allow_unused` is off; otherwise as
        :meth:`microtensor.Tensor.backward`.
    TypeError
        An output or an input is not a tensor; the message says which.
    ValueError
        The number of cotangents differs from the number of outputs, or a shape does.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor(2.0, requires_grad=True)
    >>> slope = mt.grad(x**3, x, create_graph=True)
    >>> slope.item(), mt.grad(slope, x).item()
    (12.0, 12.0)
    """
    roots = check_tensors(outputs, "grad", "output")
    targets = check_tensors(inputs, "grad", "input")
    if grad_outputs is None:
        cotangents = [None] * len(roots)
    elif isinstance(outputs, Tensor):
        cotangents = [grad_outputs]
    elif isinstance(grad_outputs, (Mapping, str)) or not isinstance(grad_outputs, Iterable):
        raise TypeError(
            f"grad: grad_outputs is a {type(grad_outputs).__name__}; pass a list of one cotangent an output, in order"
        )
    else:
        cotangents = list(grad_outputs)
    if len(cotangents) != len(roots):
        raise ValueError(f"grad: {len(roots)} outputs but {len(cotangents)} cotangents in grad_outputs")
    seeds: dict[Tensor, Any] = {}
    for root, cotangent in zip(roots, cotangents, strict=True):
        seed = _seed(root, cotangent, "grad")
        seeds[root] = seeds[root] + seed if root in seeds else seed
    found = _as_tensors(_run(seeds, set(targets), create_graph=create_graph), seeds.values())
    missing = [i for i, x in enumerate(targets) if x not in found]
    if missing and not allow_unused:
        raise RuntimeError(_unused(targets, missing))
    if not create_graph:
        found = _linked(found, seeds)
    gradients = tuple(found.get(x) for x in targets)
    return gradients[0] if isinstance(inputs, Tensor) else gradients


def _unused(targets: list[Tensor], missing: list[int]) -> str:
    """Why there is no gradient for some inputs: what is known, and what it may come from."""
    constant = [i for i in missing if not targets[i].requires_grad]
    if constant:
        why = f"inputs {constant} do not require a gradient; call requires_grad_() before the outputs are computed"
    else:
        why = (
            "they are not used, or only detached, under mt.no_grad(), before requires_grad_(), or where an operation "
            "has no derivative"
        )
    return (
        f"grad: the outputs do not depend on inputs {missing} through recorded operations: {why}. "
        "Pass allow_unused=True to get None for them"
    )


def check_tensor(x: Any, who: str, what: str) -> None:
    """Raises TypeError unless x is a tensor; the message says what it is, and what to write."""
    if isinstance(x, Tensor):
        return
    kind = type(x).__name__
    if callable(x):
        hint = f"call it, and pass the {'tensor that it returns' if what != 'input' else 'tensors themselves'}"
    elif what.startswith("input"):
        hint = "pass the tensor whose gradient is wanted, made with mt.tensor(..., requires_grad=True)"
    else:
        hint = "pass a result computed from tensors, without .numpy(), .item() or float()"
    raise TypeError(f"{who}: {what} is a {kind}, not a tensor; {hint}")


def check_tensors(given: Any, who: str, what: str) -> list[Tensor]:
    """One tensor, or an iterable of them in order, as a list.

    Raises
    ------
    TypeError
        It is something else; the message names the type, the position and what to write.
    """
    if isinstance(given, Tensor):
        return [given]
    kind = type(given).__name__
    if isinstance(given, Mapping):
        raise TypeError(f"{who}: {what}s is a {kind}, not a tensor or a list of tensors; pass list({what}s.values())")
    if isinstance(given, (set, frozenset)):
        raise TypeError(f"{who}: {what}s is a {kind}, which has no order; pass a list of tensors")
    if hasattr(type(given), "parameters"):
        raise TypeError(f"{who}: {what}s is a {kind}, not a tensor; pass its parameters, as in list(net.parameters())")
    if isinstance(given, (str, bytes, np.ndarray)) or not isinstance(given, Iterable):
        check_tensor(given, who, what)
    tensors = list(given)
    for i, x in enumerate(tensors):
        check_tensor(x, who, f"{what} {i}")
    return tensors


class _LostGradient(Tensor):
    """A gradient by a point of differentiation; NumPy may have its value, which says that it is meant as a number."""

    __slots__ = ()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return self.detach().__array__(dtype, copy)


def _linked(found: dict[Tensor, Tensor], seeds: dict[Tensor, Any]) -> dict[Tensor, Tensor]:
    """The gradients, of which those by a point of differentiation are linked to it: what they lose must not pass."""
    for x, who in points.get().items():
        if x in found:
            found[x] = ops.lost_gradient(found[x], x, refuse=partial(refuse_lost, x, who, seeds))
            found[x].__class__ = _LostGradient
    return found


def refuse_lost(x: Tensor, who: str, seeds: dict[Tensor, Any] | None = None) -> None:
    """Raise, because a gradient by x was not recorded; unless it can be seen from `seeds` that it is constant."""
    try:
        again = _run(seeds, {x}, create_graph=True)[x] if seeds else x
        constant = again is not x and not any(
            tensor is x or any(read is x for read in tensor.node.inputs)
            for tensor in (toposort([again]) if again.requires_grad else [])
            if tensor.node is not None
        )
    except Exception:
        constant = False
    if not constant:
        raise RuntimeError(
            f"{who}: the function takes a gradient by its own input without create_graph=True and computes with it, so "
            "its derivative would be lost; pass create_graph=True to that mt.grad, mt.vjp or backward, or .detach() "
            "the gradient where it is meant as a number"
        )
