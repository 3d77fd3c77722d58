"""Cuts a traced program into steps: stretches that run as kernels, and single calls of NumPy for everything else.

A stretch holds functions of each element, reductions and changes of shape between two operations that are none of
these. No path leaves a stretch and comes back to it, so the steps can run one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from microtensor.compiling.ir import CHEAP, SAME
from microtensor.compiling.trace import Symbol

# The symbols of each stretch, by index.
Members: TypeAlias = dict[int, dict[int, Symbol]]
# What takes no function such as exp. A sum over axes has several names.
_CHEAP = CHEAP | {*SAME, "relu", "masked", "square", "mean", "sum_to", "contract_to"}
_SUMS = frozenset(("sum", "mean", "max", "min", "sum_to", "contract_to"))
# Operations in one kernel. Longer ones take a compiler too long, and their loops hold too many values.
LONGEST = 40


class Policy(NamedTuple):
    """Where a kernel pays for a backend.

    Attributes
    ----------
    least : int
        The bytes that it must work on: those of its largest array times its operations.
    many : int
        So many operations pay on arrays of any size.
    taken : collection of str, optional
        The functions such as exp that a kernel takes; default: all. Others are calls of NumPy, which has them for many
        elements at a time.
    whole : int
        The most operations of a program that is one kernel for each pass. With more, a compiler takes too long, and
        too much is computed again.
    once : range
        The bytes of the largest array for which a kernel of the whole must compute less than the composition does.
    """

    least: int = 0
    many: int = sys.maxsize
    taken: Collection[str] | None = None
    whole: int = 200
    once: range = range(0)


class Step:
    """A part of a program that runs at once.

    Attributes
    ----------
    symbols : list of Symbol
        What it computes, each after its arguments.
    results : list of Symbol
        Those of them that others need.
    fused : bool
        Whether it is a stretch; otherwise it has one symbol.
    """

    def __init__(self, symbols: list[Symbol], results: list[Symbol], fused: bool) -> None:
        self.symbols, self.results, self.fused = symbols, results, fused

    @property
    def given(self) -> list[Symbol]:
        """What it is computed from."""
        own = {s.index for s in self.symbols}
        return list({x.index: x for s in self.symbols for x in args_of(s) if x.index not in own}.values())


def args_of(symbol: Symbol) -> list[Symbol]:
    """The symbols among its arguments."""
    return [x for x in symbol.args if isinstance(x, Symbol)]


def work(symbols: Sequence[Symbol]) -> int:
    """How many operations take or make an array of the largest size."""
    largest = max(s.size for s in symbols)
    return sum(s.op not in SAME and largest in (s.size, *(x.size for x in args_of(s))) for s in symbols if s.args)


def ancestors(roots: Iterable[Symbol], stop: set[int]) -> list[Symbol]:
    """All symbols that have to be computed for the roots, each after its arguments."""
    found: dict[int, Symbol] = {}
    stack = list(roots)
    while stack:
        symbol = stack.pop()
        if symbol.index not in found and symbol.index not in stop and symbol.call is not None:
            found[symbol.index] = symbol
            stack += args_of(symbol)
    return [found[i] for i in sorted(found)]


class Partition:
    """The steps of a forward pass and of the backward passes.

    Parameters
    ----------
    forward : list of Symbol
        What the function computes.
    wanted : list of Symbol
        What it must return.
    backwards : list of (list, list, list)
        For each backward pass what it computes, what it must return, and what it is given besides the inputs.
    policy : Policy

    Attributes
    ----------
    forward : list of Step
    backwards : list of list of Step
    saved : list of list of Symbol
        What each backward pass takes from the forward pass.
    """

    def __init__(
        self,
        forward: list[Symbol],
        wanted: list[Symbol],
        backwards: list[tuple[list[Symbol], list[Symbol], list[Symbol]]],
        policy: Policy,
    ) -> None:
        self.policy = policy
        self.made = {s.index: s for s in forward}
        self.groups = self._groups(forward, wanted)
        self.group_of = {s.index: k for k, group in enumerate(self.groups) for s in group}
        self.summed: set[int] = set()
        for s in forward:
            if s.op in _SUMS or any(x.index in self.summed for x in args_of(s)):
                self.summed.add(s.index)
        # What the forward pass must keep outside of its stretches.
        self.kept = {s.index for s in wanted}
        for s in forward:
            k = self.group_of.get(s.index)
            self.kept.update(x.index for x in args_of(s) if k is None or self.group_of.get(x.index) != k)
        self.backwards, self.saved = [], []
        passes = []
        for symbols, needed, given in backwards:
            groups = self._groups(symbols, needed)
            inside = {s.index for group in groups for s in group}
            alone = [s for s in symbols if s.index not in inside]
            self.kept.update(x.index for s in alone for x in args_of(s))
            self.kept.update(s.index for s in needed)
            passes.append((groups, alone, needed, {x.index for x in given}))
        for groups, alone, needed, known in passes:
            wide = [self._with_what_is_recomputed(group, known) for group in groups]
            steps = self._steps(groups, wide, alone, needed)
            self.backwards.append(steps)
            taken = {x.index: x for step in steps for x in step.given if x.index in self.made and x.index not in known}
            taken |= {x.index: x for x in needed if x.index in self.made and x.index not in known}
            self.saved.append([taken[i] for i in sorted(taken)])
        self.kept.update(x.index for saved in self.saved for x in saved)
        inside = set(self.group_of)
        kept = [self.made[i] for i in sorted(self.kept) if i in self.made]
        alone = [s for s in forward if s.index not in inside]
        self.forward = self._steps(self.groups, [self._with_conditions(g) for g in self.groups], alone, kept)

    # --- stretches ------------------------------------------------------------------------------------------------

    def _fuses(self, s: Symbol) -> bool:
        floats = [x for x in (s, *args_of(s)) if x.dtype.kind != "b"]
        if not s.fuses or not s.size or not args_of(s) or s.op == "permute_dims" or s.dtype.char not in "fd":
            return False
        if any(x.dtype != s.dtype for x in floats):
            return False
        if self.policy.taken is not None and s.op not in _CHEAP and s.op not in self.policy.taken:
            return False
        return all(_is_condition(x) for x in args_of(s) if x.dtype.kind == "b")

    def _groups(self, symbols: list[Symbol], wanted: list[Symbol]) -> list[list[Symbol]]:
        """The stretches: what is connected, and has equally many other operations before it."""
        fuses = {s.index for s in symbols if self._fuses(s)}
        stage: dict[int, int] = {}
        group: dict[int, int] = {}
        members: Members = {}
        readers: dict[tuple[int, int], int] = {}
        users: dict[int, list[Symbol]] = {}
        # A condition is computed again wherever it is needed, so it is in no stretch.
        free = {s.index for s in symbols if s.dtype.kind == "b" and _is_condition(s)}
        for s in symbols:
            alone = s.index not in fuses and s.index not in free
            args = [x for x in args_of(s) if x.index in stage]
            stage[s.index] = max((stage[x.index] for x in args), default=0) + alone
            for x in args_of(s):
                users.setdefault(x.index, []).append(s)
            if s.index in fuses:
                group[s.index] = s.index
                members[s.index] = {s.index: s}
                near = [x.index for x in args if x.index in fuses and stage[x.index] == stage[s.index]]
                # Two stretches that read one large array share the pass over it.
                large = [x for x in args_of(s) if x.index not in near and x.call is not None and x.size >= s.size]
                near += [readers.setdefault((x.index, stage[s.index]), s.index) for x in large]
                for i in near:
                    _join(group, members, group[i], group[s.index])
        self._sink(wanted, users, group, members)
        self._release(wanted, users, group, members)
        found = []
        for k in sorted(members):
            ordered = sorted(members[k].values(), key=lambda s: s.index)
            parts = [ordered[i : i + LONGEST] for i in range(0, len(ordered), LONGEST)]
            found += [part for part in parts if self._pays(part)]
        return found

    def _sink(
        self, wanted: list[Symbol], users: dict[int, list[Symbol]], group: dict[int, int], members: Members
    ) -> None:
        """Join a stretch with the later one that alone needs it, unless more memory would have to wait for it."""
        fixed = {s.index for s in wanted}
        for k in sorted(members, key=lambda k: -max(members[k])):
            part = members[k]
            outside = [(s, u) for s in part.values() for u in users.get(s.index, ()) if u.index not in part]
            needing = {group.get(u.index, -1) for _, u in outside}
            if len(needing) != 1 or -1 in needing or not fixed.isdisjoint(part):
                continue
            read = {x.index: x for s in part.values() for x in args_of(s) if x.index not in part}
            made = {s.index: s.size for s, _ in outside}
            held = sum(x.size for x in read.values() if x.call is not None)
            if held <= sum(made.values()) and max((x.size for x in read.values()), default=0) <= max(made.values()):
                _join(group, members, k, needing.pop())

    def _release(
        self, wanted: list[Symbol], users: dict[int, list[Symbol]], group: dict[int, int], members: Members
    ) -> None:
        """Take changes of shape out that nothing in their stretch needs: a call of NumPy is free of work there."""
        for k in list(members):
            for s in sorted(members[k].values(), key=lambda s: -s.index):
                inside = [group.get(u.index) == k for u in users.get(s.index, ())]
                first = group.get(args_of(s)[0].index) != k and s.op == "reshape"
                if s.op in SAME and not (all if first else any)(inside):
                    del members[k][s.index]
                    del group[s.index]
            if not members[k]:
                del members[k]

    def _pays(self, part: list[Symbol]) -> bool:
        work = sum(s.op not in SAME for s in part)
        largest = max(x.size for s in part for x in (s, *args_of(s)))
        enough = work >= self.policy.many or work * largest * part[0].dtype.itemsize >= self.policy.least
        return work > 1 and largest > 1 and enough

    def _with_conditions(self, group: list[Symbol]) -> list[Symbol]:
        """A stretch with the conditions that it needs."""
        found = {s.index: s for s in group}
        stack = [x for s in group for x in args_of(s)]
        while stack:
            x = stack.pop()
            if x.dtype.kind == "b" and x.index not in found:
                found[x.index] = x
                stack += args_of(x)
        return [found[i] for i in sorted(found)]

    def _with_what_is_recomputed(self, group: list[Symbol], known: set[int]) -> list[Symbol]:
        """A stretch of a backward pass with what it computes again, instead of reading it.

        It takes small values made from sums, and functions such as exp, from the forward pass.
        """
        found = {s.index: s for s in group}
        stack = [x for s in group for x in args_of(s)]
        while stack:
            x = stack.pop()
            if x.index in found:
                continue
            again = x.dtype.kind == "b"
            if x.index in self.group_of and x.index not in self.kept and x.index not in known:
                whole = max(s.size for s in self.groups[self.group_of[x.index]])
                again = x.op in _CHEAP and not (x.index in self.summed and x.size != whole)
                again = again and x.op not in _SUMS
            if again:
                found[x.index] = x
                stack += args_of(x)
        return [found[i] for i in sorted(found)]

    # --- steps ----------------------------------------------------------------------------------------------------

    def _steps(
        self, groups: list[list[Symbol]], wide: list[list[Symbol]], alone: Sequence[Symbol], wanted: list[Symbol]
    ) -> list[Step]:
        """All steps in an order in which they can run. Each of the groups is computed with some other symbols."""
        steps = [Step(symbols, group, True) for group, symbols in zip(groups, wide, strict=True)]
        single = {s.index: s for s in alone if s.dtype.kind != "b" or not _is_condition(s)}
        conditions = {s.index: s for s in alone if s.index not in single}
        needed = {x.index for step in steps for x in step.given}
        stack = [*wanted, *(x for s in single.values() for x in args_of(s))]
        while stack:
            x = stack.pop()
            needed.add(x.index)
            if x.index in conditions:
                # It is needed outside of stretches.
                single[x.index] = conditions.pop(x.index)
                stack += args_of(x)
        for step in steps:
            step.results = [s for s in step.results if s.index in needed]
        return _ordered([*(step for step in steps if step.results), *(Step([s], [s], False) for s in single.values())])


def _ordered(steps: list[Step]) -> list[Step]:
    """Each step after those whose results it needs, otherwise in the order of the program."""
    maker = {s.index: k for k, step in enumerate(steps) for s in step.results}
    waits = [{maker[x.index] for x in step.given if x.index in maker} for step in steps]
    after: dict[int, list[int]] = {}
    for k, others in enumerate(waits):
        for other in others:
            after.setdefault(other, []).append(k)
    ready: list[tuple[int, int]] = []
    for k, step in enumerate(steps):
        if not waits[k]:
            heappush(ready, (step.results[-1].index, k))
    order = []
    while ready:
        _, k = heappop(ready)
        order.append(steps[k])
        for other in after.get(k, ()):
            waits[other].discard(k)
            if not waits[other]:
                heappush(ready, (steps[other].results[-1].index, other))
    assert len(order) == len(steps)
    return order


def _join(group: dict[int, int], members: Members, a: int, b: int) -> None:
    """Make two groups one."""
    if a == b:
        return
    if len(members[a]) < len(members[b]):
        a, b = b, a
    group.update(dict.fromkeys(members[b], a))
    members[a] |= members.pop(b)


def _is_condition(s: Symbol) -> bool:
    """Whether a condition can be computed in any stretch from floats."""
    return (
        s.fuses
        and s.call is not None
        and all(x.dtype.char in "fd" or (x.dtype.kind == "b" and _is_condition(x)) for x in args_of(s))
    )
