"""Which result depends on which tensor, and where a small one meets a larger one."""

from __future__ import annotations

from typing import TypeAlias

from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor

Records: TypeAlias = list[tuple[Tensor, Node]]


class Dependence:
    """The tensors of some records, each after what it was made from.

    Sets of tensors are the bits of one integer, so that a question about many tensors is one operation.

    Attributes
    ----------
    tensors : list of Tensor
        The inputs and the results. Their positions are their numbers.
    """

    def __init__(self, records: Records) -> None:
        self.tensors: list[Tensor] = []
        self._number: dict[Tensor, int] = {}
        self._sources: dict[Tensor, list[Tensor]] = {}
        # What each tensor depends on, and the tensor itself.
        self._above: dict[Tensor, int] = {}
        # What it was before it was repeated: a broadcast σ is still σ.
        self._before: dict[Tensor, Tensor] = {}
        for result, node in records:
            sources = list(dict.fromkeys(x for x in node.inputs if isinstance(x, Tensor) and x.requires_grad))
            for leaf in sources:
                if leaf not in self._number:
                    self._enter(leaf, [])
            self._enter(result, sources)

    def _enter(self, tensor: Tensor, sources: list[Tensor]) -> None:
        number = self._number[tensor] = len(self.tensors)
        self.tensors.append(tensor)
        self._sources[tensor] = sources
        self._above[tensor] = 1 << number
        for source in sources:
            self._above[tensor] |= self._above[source]
        alone = self._before[sources[0]] if len(sources) == 1 else tensor
        self._before[tensor] = alone if alone.size < tensor.size else tensor

    def above(self, tensor: Tensor) -> int:
        """The bits of what a tensor depends on, and its own."""
        return self._above[tensor]

    def bit(self, tensor: Tensor) -> int:
        return 1 << self._number[tensor]

    def depends(self, result: Tensor, z: Tensor) -> bool:
        """Whether a result is z, or was computed from it."""
        return bool(self._above[result] & self.bit(z))

    def sources(self, result: Tensor, z: Tensor) -> list[Tensor]:
        """The arguments of an operation that depend on z."""
        return [source for source in self._sources[result] if self.depends(source, z)]

    def after(self, z: Tensor) -> list[Tensor]:
        """The results that depend on z."""
        return [t for t in self.tensors[self._number[z] + 1 :] if self.depends(t, z)]

    def between(self, z: Tensor, result: Tensor) -> list[Tensor]:
        """The results on all ways from z, which is left out, to a result, which is the last."""
        above = self._above[result]
        numbers = range(self._number[z] + 1, self._number[result] + 1)
        return [t for i in numbers if above >> i & 1 and self.depends(t := self.tensors[i], z)]

    def of(self, bits: int) -> list[Tensor]:
        """The tensors of a set."""
        return [t for i, t in enumerate(self.tensors[: bits.bit_length()]) if bits >> i & 1]

    def direct(self, z: Tensor, result: Tensor, inner: frozenset[Tensor]) -> set[Tensor]:
        """The results between z and a result from which it is reached without a statistic, itself included."""
        found = {result}
        between = self.between(z, result)
        for t in reversed(between):
            if t in found:
                found.update(source for source in self._sources[t] if source not in inner)
        return found.intersection(between)

    def small_ones(self, result: Tensor) -> list[tuple[Tensor, int]]:
        """The results that an operation meets with larger ones, each with the bits of what both depend on."""
        sources = self._sources[result]
        found = []
        for v in dict.fromkeys(self._before[source] for source in sources) if len(sources) > 1 else ():
            larger = 0
            for source in sources:
                if self._before[source].size > v.size:
                    larger |= self._above[source]
            common = larger & self._above[v]
            if common and v.size < result.size and self._sources[v]:
                found.append((v, common))
        return found
