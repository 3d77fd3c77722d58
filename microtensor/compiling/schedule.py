"""Decides what a kernel computes when: in sweeps over the full arrays, between them, before them or after them."""

from __future__ import annotations

from dataclasses import dataclass, field

from microtensor.compiling.ir import FREE, REDUCTIONS, Algebra, Value
from microtensor.compiling.layout import Layout


@dataclass
class Sweep:
    """One pass over the full arrays.

    Attributes
    ----------
    before : list of Value
        Small values that are computed first.
    reductions : list of Value
        What the pass sums up.
    stores : list of Value
        Results of full size.
    given : list of Value
        Those that earlier passes have stored.
    """

    before: list[Value]
    reductions: list[Value]
    stores: list[Value] = field(default_factory=list)
    given: list[Value] = field(default_factory=list)


class Kernel:
    """A schedule of expressions.

    The sums that the full values need are *inner*. All inner sums keep the `outer` axes. So one loop along these axes
    can hold all sweeps, and what it reads stays in the cache. The other sums are complete only after that loop.

    Attributes
    ----------
    order : list of Value
        All values that are computed, each after its arguments.
    bound : dict
        The name of each value that is given, and its layout.
    results : dict
        The name of each result, and its layout.
    outer : frozenset of int
    first, last : list of Value
        Small values that are computed before and after the sweeps.
    sweeps : list of Sweep
    kept : set of Value
        What is computed inside the outer loop and used after it, sums that the loop adds to included.
    """

    def __init__(
        self, algebra: Algebra, bound: dict[Value, tuple[str, Layout]], wanted: list[tuple[str, Value, Layout]]
    ) -> None:
        self.algebra, self.full = algebra, algebra.full
        self.results: dict[Value, tuple[str, Layout]] = {}
        for name, value, layout in wanted:
            axes = frozenset(layout)
            if value.op in ("in", *FREE) or value in bound or value.axes != axes:
                value = algebra.make("copy", value, axes=axes)
            while value in self.results:
                value = algebra.make("copy", value, axes=axes)
            self.results[value] = name, layout
        self.order = self._needed(bound)
        self.bound = {x: given for x, given in bound.items() if any(x in v.of for v in self.order)}
        self._place()

    def _needed(self, bound: dict[Value, tuple[str, Layout]]) -> list[Value]:
        found, stack = set(), list(self.results)
        while stack:
            value = stack.pop()
            if value not in found and value not in bound and value.op not in FREE:
                found.add(value)
                stack += value.of
        return sorted(found, key=lambda v: v.number)

    def _place(self) -> None:
        # Values whose sweep is not over before a full value is computed from them.
        feeds: set[Value] = set()
        for value in reversed(self.order):
            if value in feeds or value.axes == self.full:
                feeds.update(value.of)
        sums = [v for v in self.order if v.op in REDUCTIONS and v.of[0].axes == self.full]
        small_sums = [v for v in self.order if v.op in REDUCTIONS and v not in sums]
        level: dict[Value, int] = {}
        summed: set[Value] = set()
        for value in self.order:
            level[value] = max((level.get(x, 0) for x in value.of), default=0) + (value in sums)
            if value in sums or any(x in summed for x in value.of):
                summed.add(value)
        inner = [v for v in sums + small_sums if v in feeds and v in summed]
        self.outer = frozenset.intersection(self.full, *(v.axes for v in inner)) if inner else frozenset()
        # A sum may keep all axes of a kernel only if they have size 1, and these were dropped.
        small = [v for v in self.order if v.axes != self.full and v not in sums]
        self.first = [v for v in small if v not in summed]
        self.last = [v for v in small if v in summed and v not in feeds]
        between = [v for v in small if v in summed and v in feeds]
        stores = [v for v in self.results if v.axes == self.full]
        end = max([level[v] - 1 for v in sums] + [level[v] for v in stores], default=-1)
        self.sweeps: list[Sweep] = []
        given: list[Value] = []
        for k in range(end + 1):
            found = [v for v in sums if (level[v] - 1 if v in feeds else end) == k]
            sweep = Sweep([v for v in between if level[v] == k], found, given=given)
            # The first pass that computes a result stores it, so that no other one computes it again.
            body = self.body(sweep)
            sweep.stores = [v for v in stores if v not in given and (v in body or k == end)]
            given = given + sweep.stores
            self.sweeps.append(sweep)
        inside = {*between, *(v for v in sums if v in feeds)}
        after = {x for v in self.last for x in v.of}
        self.kept = {v for v in inside if v in after or v in self.results} | {v for v in sums if v not in feeds}

    def body(self, sweep: Sweep) -> list[Value]:
        """The full values that a sweep computes, in order."""
        found: set[Value] = set()
        stack = [*sweep.stores, *(v.of[0] for v in sweep.reductions)]
        while stack:
            value = stack.pop()
            known = value in self.bound or value in sweep.given or value.op in FREE
            if value.axes == self.full and value not in found and not known:
                found.add(value)
                stack += value.of
        return sorted(found, key=lambda v: v.number)
