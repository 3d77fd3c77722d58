"""The record of a compiled function: one operation with a joint rule, which can become the composition again.

This is the one exception to the rule that a forward pass stashes nothing: the small results that the compiled backward
pass needs are the last input of the record. They are freed with the other inputs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from microtensor.compiling.calling import Call
from microtensor.compiling.program import Program
from microtensor.compiling.replay import Replay
from microtensor.core.backprop import run, toposort
from microtensor.core.primitive import Node, Primitive, TensorBase, new_tensor
from microtensor.core.tensor import Tensor
from microtensor.ops import reshape
from microtensor.support.arrays import Array
from microtensor.support.modes import Mode, ModeSwitch, Scope

LOCK = threading.RLock()


class Saved:
    """What the records of one call share.

    Attributes
    ----------
    call : Call
    arrays : dict
        By name: small results of the forward pass, and the inputs that require no gradient, which may change later.
    fixed : dict
        The tensors of these inputs.
    pulled : tuple or None
        The last cotangent and its gradients.
    expanded : list of Node or None
    """

    __slots__ = ("arrays", "call", "expanded", "fixed", "pulled")

    def __init__(self, call: Call, arrays: dict[str, Array], fixed: dict[str, Tensor]) -> None:
        self.call, self.arrays, self.fixed = call, arrays, fixed
        self.pulled: tuple[Any, dict[int, Any]] | None = None
        self.expanded: list[Any] | None = None

    def __repr__(self) -> str:
        return "saved"

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Give the inputs without gradient the values of the call, and put them back afterwards."""
        now = [(x, x._array, x._version) for x in self.fixed.values()]
        try:
            for name, x in self.fixed.items():
                x._array = self.arrays[name]
            yield
        finally:
            for x, array, version in now:
                x._array, x._version = array, version


class Fused(Primitive[Any]):
    """The operation of one result of a compiled function. It has one joint rule for all of its inputs."""

    def __init__(self, program: Program | Replay, result: int, name: str) -> None:
        self.program, self.result = program, result
        self.known = program.trace.gradients[result]
        # The inputs of the record are those that require a gradient.
        self.needs = program.needs
        rules = [functools.partial(self._rule, i) if i in self.known else None for i in self.needs]
        super().__init__(name, self._forward, (*rules, None))

    def of(self, found: Any) -> list[Tensor]:
        """What the composition returns, as a list."""
        return list(found) if self.program.trace.several else [found]

    def _forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{self.name}: the record of a compiled function runs again as its composition only")

    def _rule(self, i: int, g: Any, y: Any, *inputs: Any) -> Any:
        *values, saved = inputs
        pulled = saved.pulled
        if pulled is None or pulled[0] is not g:
            pull = self._pull_tensors if isinstance(g, TensorBase) else self._pull
            pulled = saved.pulled = g, pull(g, y, values, saved)
        return pulled[1][i]

    def _pull(self, g: Array, y: Array, values: Sequence[Array], saved: Saved) -> dict[int, Array]:
        """All gradients, from the compiled backward pass."""
        program, name = self.program, self.program.results[self.result]
        given = dict(zip(self.needs, values, strict=True))
        arrays = saved.arrays | {program.inputs[i]: x for i, x in given.items()}
        # This function of NumPy would give an array without axes one.
        g = g if g.flags.c_contiguous else np.ascontiguousarray(g)
        found = program.backwards[self.result](arrays | {name: y, name.replace("y", "g"): g})
        return {i: d.reshape(given[i].shape) for i, d in zip(self.known, found, strict=True)}

    def _pull_tensors(self, g: Tensor, y: Tensor, values: Sequence[Tensor], saved: Saved) -> dict[int, Tensor]:
        """All gradients as tensors, by the composition: they can be differentiated again."""
        wanted = dict(zip(self.needs, values, strict=True))
        # The walk must end at the arguments, because one of them may depend on another one. They are linked afterwards,
        # by records that are older than those of the composition.
        tensors = saved.call.tensors
        links = {i: reshape(x, shape=x.shape)._node for i, x in enumerate(tensors) if x._requires_grad}
        leaves = [new_tensor(x._array) if i in links else x for i, x in enumerate(tensors)]
        for i in links:
            leaves[i]._requires_grad = True
            wanted[i] = leaves[i]
        with LOCK, saved.as_it_was():
            out = self.of(saved.call.on(leaves))[self.result]
        found = run({out: g}, set(wanted.values()), create_graph=True)
        for i, link in links.items():
            leaves[i]._node = link
        return {i: found[x] for i, x in wanted.items() if x in found}

    def expand(self, tensor: Tensor) -> None:
        """Put the record of the composition in the place of this one, so that a view shows every operation."""
        with LOCK:
            node = tensor._node
            if node is None or node.primitive is not self or not node.inputs:
                return
            saved: Saved = node.inputs[-1]
            if saved.expanded is None:
                saved.expanded = self._expanded(saved, node)
            tensor._node = saved.expanded[self.result]
            tensor._node.index = node.index

    def _expanded(self, saved: Saved, node: Node) -> list[Any]:
        """The records of the composition's results. Their numbers lie just below that of the record."""
        start = Node(None, (), {}, None, 0, "").index
        given = {id(x) for x in saved.call.tensors}
        with _inside(node.scope), saved.as_it_was():
            found = self.of(saved.call.on(saved.call.tensors))
            results = [reshape(y, shape=y.shape) if id(y) in given else y for y in found]
        made = [t._node for t in reversed(toposort(y for y in results if y._requires_grad))]
        new = [n for n in made if n is not None and n.index > start]
        for k, record in enumerate(new, 1):
            record.index = node.index - 1 + k / (len(new) + 1)  # type: ignore[assignment]
        return [y._node for y in results]


class _inside(ModeSwitch):
    """Record in the scope of a record, whatever the mode is. Compiled functions inside run as compositions."""

    def __init__(self, scope: Scope | None) -> None:
        super().__init__()
        self.scope = scope

    def _next(self, mode: Mode) -> Mode:
        return Mode(scope=self.scope, keeping=True)
