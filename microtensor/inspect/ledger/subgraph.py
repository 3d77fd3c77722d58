"""The part of a recorded graph between x and y, run again, and the cotangents along its paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from microtensor.core.backprop import contribution
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import array_of, arrays_of, history, rerun
from microtensor.ops import stop_gradient
from microtensor.support.arrays import Array
from microtensor.support.modes import enable_grad

# An operation, by its position in the subgraph, and one of its arguments.
Edge: TypeAlias = tuple[int, int]
# The marks that a path has passed, from y on; None before it enters the norm.
State: TypeAlias = tuple[Any, ...] | None
# A position and the steps from there on to y.
Route: TypeAlias = tuple[int, Any]

# The largest count of paths. Their number doubles with every residual block.
MANY = 10**12


@dataclass
class PathClass:
    """A class of paths: the sum of their contributions, their number, and the route of one of them."""

    value: Array
    count: int
    route: Route

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
        self.fresh = self.run(Tensor(x.numpy(), requires_grad=True))
        self._read: tuple[int, list[Array]] = (-1, [])

    def __len__(self) -> int:
        return len(self.recorded)

    def op(self, i: int) -> str:
        """The name of an operation; empty for x."""
        return _node(self.recorded[i]).primitive.name if i else ""

    def size(self, i: int) -> int:
        """The number of elements of a result."""
        return self.recorded[i].size

    def number(self, i: int, argument: int) -> float | None:
        """The value of an argument that is one number and does not depend on x; else None."""
        value = array_of(_node(self.recorded[i]).inputs[argument])
        return float(np.reshape(value, ())) if np.size(value) == 1 and argument not in self.sources[i] else None

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

    # --- back -------------------------------------------------------------------------------------------------

    def carry(self, edge: Edge, g: Array) -> Array:
        """The contribution of one rule: from the cotangent of an operation to one of its arguments."""
        i, argument = edge
        output = self.fresh[i]
        node = _node(output)
        if self._read[0] != i:
            # An operation may have as many edges as inputs, and they come one after the other.
            self._read = i, arrays_of(node)
        d: Array = contribution(node, argument, g, output.numpy(), self._read[1])
        return d

    def classes(
        self, seed: Array, marks: Mapping[Edge, Any], exits: Set[int] = frozenset(), watch: int = 0
    ) -> tuple[dict[State, PathClass], dict[State, PathClass]]:
        """The gradients of x and of position `watch`, grouped by the marks that the paths pass.

        Rules are linear in the cotangent, so all paths that have passed the same marks are added up on the way.
        """
        start: State = None if exits else ()
        waiting: list[dict[State, PathClass]] = [{} for _ in self.recorded]
        waiting[-1][start] = PathClass(seed, 1, (len(self) - 1, None))
        watched: dict[State, PathClass] = {}
        for i in range(len(self) - 1, -1, -1):
            if i == watch:
                watched = waiting[i]
            here, waiting[i] = waiting[i], {} if i else waiting[i]
            for state, carried in here.items():
                entered = () if state is None and i in exits else state
                for argument, j in self.sources[i].items():
                    edge = (i, argument)
                    then = entered if entered is None or edge not in marks else (*entered, marks[edge])
                    value, before = self.carry(edge, carried.value), waiting[j].get(then)
                    if before is None:
                        waiting[j][then] = PathClass(value, carried.count, (j, carried.route))
                    else:
                        before.value = before.value + value
                        before.count = min(before.count + carried.count, MANY)
        return waiting[0], watched

    def count(self) -> int:
        """The number of paths from x to y, at most MANY."""
        ways = [0] * len(self)
        ways[-1] = 1
        for i in range(len(self) - 1, 0, -1):
            for j in self.sources[i].values():
                ways[j] = min(ways[j] + ways[i], MANY)
        return ways[0]

    def each(self, seed: Array) -> list[PathClass]:
        """Every path by itself, in the order of the arguments. There must be few enough to list them."""
        # Two paths differ where an operation has several sources.
        forks = [(i, argument) for i, sources in enumerate(self.sources) for argument in sources if len(sources) > 1]
        at_x, _ = self.classes(seed, {edge: edge for edge in forks})
        return [at_x[state] for state in sorted(at_x, key=lambda state: state or ())]


def _node(tensor: Tensor) -> Node:
    node = tensor.node
    assert node is not None
    return node
