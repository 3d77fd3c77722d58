"""The part of a recorded graph between x and y, run again, and the cotangents along its paths."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from microtensor.calculus import grad
from microtensor.core.backprop import contribution
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import arrays_of, history, rerun
from microtensor.ops import stop_gradient
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad

# An operation, by its position in the subgraph, and one of its arguments.
Edge: TypeAlias = tuple[int, int]
# What a path has passed, from y on.
State: TypeAlias = tuple[Any, ...] | None
# A position and the steps from there on to y.
Route: TypeAlias = tuple[int, Any]

# A number of so many units of the last digit is rounding.
ROUNDING = 64
SEED = 577215
# The largest count of paths. Their number doubles with every residual block.
MANY = 10**12


class Hook(NamedTuple):
    """The class of what a hook changes, by the position of its tensor."""

    at: int


def passing(edges: Set[Edge]) -> Callable[[State, Edge], State]:
    """The states that tell paths apart by which of some edges they pass."""
    return lambda state, edge: (*(state or ()), edge) if edge in edges else state


def largest(x: Array) -> float:
    """The largest size of a number."""
    return float(np.abs(x).max(initial=0.0))


@dataclass
class PathClass:
    """A class of paths: the sum of their contributions, their number, and the route of one of them."""

    value: Array
    count: int
    route: Route

    def plus(self, other: PathClass) -> PathClass:
        """Both classes as one."""
        count = min(self.count + other.count, MANY)
        return PathClass(self.value + other.value, count, self.route)

    def steps(self) -> list[int]:
        """The positions along the route, starting with x."""
        found = []
        step: Any = self.route
        while step is not None:
            found.append(step[0])
            step = step[1]
        return found


class Subgraph:
    """Everything between x and y, in the order of the program. x has the position 0, and y has the last one.

    The operations run again. So a backward pass may have used the graph, if its records were kept. An optimiser may
    have changed its parameters.

    Attributes
    ----------
    recorded : list of Tensor
        The tensors of the user's graph.
    fresh : list of Tensor
        The same tensors, computed again.
    sources : list of dict
        For each position the arguments that depend on x: their numbers, and the positions of their values.
    hooked : dict
        The positions of tensors whose hooks have run, and the gradient there before and after them.
    """

    def __init__(self, y: Tensor, x: Tensor) -> None:
        self.recorded = [x]
        self.sources: list[dict[int, int]] = [{}]
        at = {x: 0}
        for tensor, node in history(y, unfreed="paths"):
            found = {
                i: at[value]
                for i, value in enumerate(node.inputs)
                if isinstance(value, Tensor) and value in at and node.primitive.rules[i] is not None
            }
            if found and tensor is not x:
                at[tensor] = len(self.recorded)
                self.recorded.append(tensor)
                self.sources.append(found)
        if y not in at or y is x:
            raise ValueError(
                f"paths: the tensor of shape {y.shape} does not depend on x of shape {x.shape} by any path that "
                "carries a gradient (it may be detached, or made under mt.no_grad())"
            )
        self.fresh = self.run(Tensor(x._array, requires_grad=True))
        self.hooked: dict[int, tuple[Array, Array]] = {}
        self._read: tuple[int, list[Array]] = (-1, [])

    def __len__(self) -> int:
        return len(self.recorded)

    def op(self, i: int) -> str:
        """The name of an operation; empty for x."""
        return _node(self.recorded[i]).primitive.name if i else ""

    def node(self, i: int) -> Node:
        """The record of a result."""
        return _node(self.recorded[i])

    def size(self, i: int) -> int:
        """The number of elements of a result."""
        return self.recorded[i].size

    @cached_property
    def consumers(self) -> list[list[Edge]]:
        """The edges that leave each position."""
        found: list[list[Edge]] = [[] for _ in self.recorded]
        for i, sources in enumerate(self.sources):
            for argument, j in sources.items():
                found[j].append((i, argument))
        return found

    def run(
        self, x: Tensor, cut: Collection[Edge] = (), inside: Collection[int] = (), into: Collection[Edge] = ()
    ) -> list[Tensor]:
        """Run the operations from another x, with the tensors on the edges of `cut` detached.

        With `inside`, these operations run twice. Only their second results have the edges cut, and only the edges of
        `into` read the second results.
        """
        copies = ((i, second) for i in range(1, len(self)) for second in ((False, True) if i in inside else (False,)))
        made = {(0, False): x}

        def read(key: tuple[int, bool], argument: int, value: Any) -> Any:
            i, second = key
            source, edge = self.sources[i].get(argument), (i, argument)
            if source is None:
                return stop_gradient(value)
            other = (second or edge in into) and (source, True) in made
            new = made[source, other]
            return stop_gradient(new) if edge in cut and (second or not inside) else new

        with enable_grad():
            rerun(((key, _node(self.recorded[key[0]])) for key in copies), read, made)
        return [made[i, False] for i in range(len(self))]

    def hooks(self) -> list[int]:
        """The positions of the tensors that have hooks."""
        return [i for i, tensor in enumerate(self.recorded) if tensor._watch and tensor._watch.hooks]

    def gradient(self, seed: Array, with_hooks: bool = False) -> Array:
        """The whole gradient of x. With hooks, each of them runs once, and :attr:`hooked` says what it has changed."""
        before: dict[int, Array] = {}

        def enters(i: int, g: Tensor) -> None:
            before[i] = g._array

        def leaves(i: int, g: Tensor) -> None:
            self.hooked[i] = before[i], g._array

        for i in self.hooks() if with_hooks else ():
            watch = self.recorded[i]._watch
            for hook in (partial(enters, i), *(watch.hooks.values() if watch else ()), partial(leaves, i)):
                self.fresh[i].register_hook(hook)
        found: Array = grad(self.fresh[-1], self.fresh[0], seed)._array
        return found

    # --- back -------------------------------------------------------------------------------------------------

    def carry(self, edge: Edge, g: Array) -> Array:
        """The contribution of one rule: from the cotangent of an operation to one of its arguments."""
        i, argument = edge
        output = self.fresh[i]
        node = _node(output)
        if self._read[0] != i:
            # An operation may have as many edges as inputs, and they come one after the other.
            self._read = i, arrays_of(node)
        d: Array = contribution(node, argument, g, output._array, self._read[1])
        return d

    def classes(
        self, seed: Array, then: Callable[[State, Edge], State], start: State = (), watch: int = 0
    ) -> tuple[dict[Any, PathClass], dict[Any, PathClass]]:
        """The gradients of x and of position `watch`, grouped by the states of the paths.

        Rules are linear in the cotangent, so all paths of the same state are added up on the way. What a hook changes
        is a class of its own from there on; where there is one class only, the hook changes that.
        """
        waiting: list[dict[Any, PathClass]] = [{} for _ in self.recorded]
        waiting[-1][start] = PathClass(seed, 1, (len(self) - 1, None))
        watched: dict[Any, PathClass] = {}
        for i in range(len(self) - 1, -1, -1):
            here, waiting[i] = waiting[i], {}
            if i == watch:
                watched = dict(here)
            if i in self.hooked and here:
                here = self._after_hook(i, here)
            if not i:
                return here, watched
            if len(here) > 1:
                self._check_linear(i, [carried.value for carried in here.values()])
            for state, carried in here.items():
                for argument, j in self.sources[i].items():
                    edge = (i, argument)
                    after = state if isinstance(state, Hook) else then(state, edge)
                    one = PathClass(self.carry(edge, carried.value), carried.count, (j, carried.route))
                    before = waiting[j].get(after)
                    waiting[j][after] = one if before is None else before.plus(one)
        raise AssertionError("x is at position 0")

    def _check_linear(self, i: int, values: list[Array]) -> None:
        """Check that an operation carries the sum of some gradients back to the sum of what it makes of each.

        What it makes of them may be 0 but for rounding, so the error is measured by what it makes of random numbers as
        large too.
        """
        whole: Array = np.sum(values, axis=0)
        draws = np.random.default_rng(SEED).normal(size=(3, *whole.shape)) * max(map(largest, values))
        for argument in self.sources[i]:
            edge = i, argument
            parts = [self.carry(edge, value) for value in values]
            error = largest(self.carry(edge, whole) - np.sum(parts, axis=0))
            size = max(map(largest, [*parts, *(self.carry(edge, draw) for draw in draws.astype(whole.dtype))]))
            info = np.finfo(parts[0].dtype)
            if error > size * float(info.eps) ** 0.5 + ROUNDING * float(info.smallest_subnormal):
                raise RuntimeError(
                    f"paths: the rule of {self.op(i)} is not linear in its cotangent, so the contributions do not add "
                    "up to the gradient; mt.gradcheck says more"
                )

    def _after_hook(self, i: int, here: dict[Any, PathClass]) -> dict[Any, PathClass]:
        before, after = self.hooked[i]
        if len(here) == 1:
            return {state: replace(one, value=after) for state, one in here.items()}
        route = next(iter(here.values())).route
        return {**here, Hook(i): PathClass(after - before, 0, route)}

    def count(self) -> int:
        """The number of paths from x to y, at most MANY."""
        ways = [0] * len(self)
        ways[-1] = 1
        for i in range(len(self) - 1, 0, -1):
            for j in self.sources[i].values():
                ways[j] = min(ways[j] + ways[i], MANY)
        return ways[0]

    def each(self, seed: Array) -> dict[Any, PathClass]:
        """Every path by itself, in the order of the arguments, and what hooks change.

        There must be few enough paths to list them.
        """
        # Two paths differ where an operation has several sources.
        forks = {(i, argument) for i, sources in enumerate(self.sources) for argument in sources if len(sources) > 1}
        at_x, _ = self.classes(seed, passing(forks))
        return dict(sorted(at_x.items(), key=lambda item: (isinstance(item[0], Hook), item[0])))


def _node(tensor: Tensor) -> Node:
    node = tensor.node
    assert node is not None
    return node
