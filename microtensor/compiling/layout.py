"""Cuts the axes of all traced arrays into common factors, so that every array varies over some of a few axes.

A reshape cuts and joins axes, and broadcasting repeats along them. Where two arrays meet element by element, their
factors are made equal. What is left is one loop for each factor, whatever the shapes were.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from microtensor.compiling.trace import Refused, Shape, Symbol, Trace

# The factors of an array from the outermost to the innermost one, in the order of its memory.
Layout: TypeAlias = tuple[int, ...]
Cuts: TypeAlias = list[list[int]]  # the factors of each axis


class Factors:
    """The factors by number: their sizes, and of what each one consists since it was cut."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.parts: dict[int, list[int]] = {}

    def new(self, size: int) -> list[int]:
        """A new factor; an axis of size 1 has none."""
        if size == 1:
            return []
        self.sizes.append(size)
        return [len(self.sizes) - 1]

    def resolved(self, factors: Iterable[int]) -> list[int]:
        """The factors that these consist of now."""
        return [p for f in factors for p in (self.resolved(self.parts[f]) if f in self.parts else [f])]

    def cut(self, factor: int, outer: int) -> None:
        """Cut a factor into two, the first one of size `outer`."""
        if self.sizes[factor] % outer:
            raise Refused(f"axes of sizes {self.sizes[factor]} and {outer} have no common factors that fit")
        self.parts[factor] = self.new(outer) + self.new(self.sizes[factor] // outer)

    def join(self, a: Sequence[int], b: Sequence[int]) -> None:
        """Make two axes of equal size the same factors."""
        a, b = self.resolved(a), self.resolved(b)
        while a and b:
            p, q = a[0], b[0]
            if self.sizes[p] == self.sizes[q]:
                if p != q:
                    self.parts[q] = [p]
                a, b = self.resolved(a[1:]), self.resolved(b[1:])
            else:
                larger, size = (p, self.sizes[q]) if self.sizes[p] > self.sizes[q] else (q, self.sizes[p])
                self.cut(larger, size)
                a, b = self.resolved(a), self.resolved(b)

    def grouped(self, factors: Iterable[int], shape: Shape) -> Cuts:
        """The same factors, in row-major order, as the axes of another shape."""
        rest, axes = self.resolved(factors), []
        for n in shape:
            axis: list[int] = []
            while n > 1:
                if n % self.sizes[rest[0]]:
                    self.cut(rest[0], math.gcd(n, self.sizes[rest[0]]))
                    rest = self.resolved(rest)
                n //= self.sizes[rest[0]]
                axis.append(rest.pop(0))
            axes.append(axis)
        return axes


class Layouts:
    """The axes that all arrays of a trace vary over, and the layout of each array.

    Attributes
    ----------
    sizes : list of int
        The size of each axis, from the outermost to the innermost loop.
    of : dict
        The layout of each symbol, by its index.
    full : frozenset of int
        The axes of the largest array. Other axes are of small arrays that never meet it.
    """

    def __init__(self, trace: Trace) -> None:
        self.factors = Factors()
        self.cuts: dict[int, Cuts] = {}
        symbols = trace.symbols()
        for symbol in symbols:
            self.cuts[symbol.index] = self._cuts(symbol)
        for y, g, pulled in zip(trace.outputs, trace.cotangents, trace.gradients, strict=True):
            self._meet(self.cuts[y.index], self.cuts[g.index])
            for i, gradient in pulled.items():
                if trace.inputs[i].index in self.cuts:
                    self._meet(self.cuts[trace.inputs[i].index], self.cuts[gradient.index])
        flat = {i: self.factors.resolved(f for axis in cuts for f in axis) for i, cuts in self.cuts.items()}
        largest = max((s.index for s in symbols), key=lambda i: (self._room(flat[i]), -i))
        self.sizes, self.of = self._merged(flat, largest)
        self.full = frozenset(self.of[largest])

    def _cuts(self, symbol: Symbol) -> Cuts:
        args = [x for x in symbol.args if isinstance(x, Symbol)]
        if not args:
            return [self.factors.new(n) for n in symbol.shape]
        x = self.cuts[args[0].index]
        if symbol.op == "reshape":
            return self.factors.grouped((f for axis in x for f in axis), symbol.shape)
        if symbol.op == "permute_dims":
            return [x[i] for i in symbol.params["axes"]]
        if symbol.op in ("sum", "mean", "max", "min"):
            axes, keep = symbol.params.get("axis"), symbol.params.get("keepdims", False)
            gone = range(len(x)) if axes is None else axes
            return [[] if i in gone else axis for i, axis in enumerate(x) if keep or i not in gone]
        if symbol.op in ("pick", "place"):
            axis = symbol.params.get("axis", -1)
            rest = x[:axis] + x[axis:][1:] if symbol.op == "pick" else x
            self._meet(rest, self.cuts[args[1].index])
            return rest if symbol.op == "pick" else [*x[:axis], self.factors.new(symbol.shape[axis]), *x[axis:]]
        if symbol.op in ("sum_to", "contract_to"):
            shape = np.broadcast_shapes(*(a.shape for a in args))
            x = [self._aligned(args, len(shape) - i, n) for i, n in enumerate(shape)]
            lead = len(x) - symbol.ndim
            return [[] if n == 1 else x[lead + i] for i, n in enumerate(symbol.shape)]
        return [self._aligned(args, symbol.ndim - i, n) for i, n in enumerate(symbol.shape)]

    def _aligned(self, args: list[Symbol], from_end: int, size: int) -> list[int]:
        """The factors of one axis of a result whose arguments broadcast."""
        axes = [self.cuts[x.index][-from_end] for x in args if x.ndim >= from_end and x.shape[-from_end] == size != 1]
        for axis in axes[1:]:
            self.factors.join(axes[0], axis)
        return axes[0] if axes else self.factors.new(size)

    def _room(self, factors: list[int]) -> int:
        return math.prod(self.factors.sizes[f] for f in factors)

    def _meet(self, a: Cuts, b: Cuts) -> None:
        for p, q in zip(a, b, strict=True):
            self.factors.join(p, q)

    def _merged(self, flat: dict[int, list[int]], largest: int) -> tuple[list[int], dict[int, Layout]]:
        """Neighbouring factors that always come together are one axis. The largest array gives the order."""
        order = list(dict.fromkeys([*flat[largest], *(f for factors in flat.values() for f in factors)]))
        place = {f: i for i, f in enumerate(order)}
        if any(len(set(f)) < len(f) for f in flat.values()):
            raise Refused("an array meets itself with its axes in another order")
        pairs = set(itertools.pairwise(order))
        for factors in flat.values():
            have = set(factors)
            pairs &= set(itertools.pairwise(factors)) | {(a, b) for a, b in pairs if a not in have and b not in have}
        axis = list(itertools.accumulate((0 if pair in pairs else 1 for pair in itertools.pairwise(order)), initial=0))
        sizes = [1] * (axis[-1] + 1 if order else 0)
        for f, a in zip(order, axis, strict=False):
            sizes[a] *= self.factors.sizes[f]
        merged = {i: tuple(dict.fromkeys(axis[place[f]] for f in factors)) for i, factors in flat.items()}
        return sizes, merged
