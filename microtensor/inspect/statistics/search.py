"""Goes through a graph in the order of the program, and asks at each meeting whether it is that of a norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from microtensor.core.tensor import Tensor
from microtensor.inspect.statistics.dependence import Dependence, Records
from microtensor.inspect.statistics.generic import Generic, Point
from microtensor.inspect.statistics.model import Kind, Norm, Statistic
from microtensor.inspect.statistics.scopes import named_norms


@dataclass
class Parts:
    """What belongs to a norm, in the order of the program.

    Attributes
    ----------
    statistics : list of Statistic
    inner : dict
        The statistics and what is computed from them alone. For each the size of the smallest statistic in it, and the
        kinds of its statistics.
    meetings : dict
        The results in which they meet larger ones, and the kinds of the statistics there.
    normalized : list of Tensor
        The meetings whose results are normalized.
    """

    statistics: list[Statistic] = field(default_factory=list)
    inner: dict[Tensor, tuple[int, frozenset[Kind]]] = field(default_factory=dict)
    meetings: dict[Tensor, frozenset[Kind]] = field(default_factory=dict)
    normalized: list[Tensor] = field(default_factory=list)


class Search:
    """The norms in some records. What belongs to one of them belongs to no other."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._dependence = Dependence(records)
        self._generic = Generic(records, self._dependence)
        self._points: dict[Tensor, Point] = {}
        self._inner: set[Tensor] = set()
        self._within: set[Tensor] = set()
        # What depends on one of these belongs to another norm.
        self._normalized: set[Tensor] = set()

    def norms(self) -> list[Norm]:
        """First the norms that are named by their scope, then the others in the order in which they are met."""
        found = named_norms(self._records)
        for norm in found:
            self._claim(norm, [norm.output])
        named = {t for norm in found for t in self._dependence.between(norm.input, norm.output)}
        for result, _ in self._records:
            self._generic.step(result)
            for v, common in () if result in named else self._dependence.small_ones(result):
                norm_here = None if v in self._inner else self._norm(result, v, common)
                found += [norm_here] if norm_here else []
            if result in self._normalized:
                self._generic.start_anew(result)
        return found

    def _claim(self, norm: Norm, normalized: list[Tensor]) -> None:
        self._inner.update(norm.inner)
        self._within.update(self._dependence.between(norm.input, norm.output)[:-1])
        self._normalized.update(normalized)

    def _point(self, z: Tensor) -> Point:
        if z not in self._points:
            self._points[z] = Point(z, self._generic)
        return self._points[z]

    def _norm(self, meeting: Tensor, v: Tensor, common: int) -> Norm | None:
        """The norm of the earliest input, if v is a scale and its meeting is normalized.

        `common` has the bits of what both v and what it meets depend on.
        """
        for normalized in self._normalized:
            if self._dependence.depends(v, normalized):
                common &= ~self._dependence.above(normalized) | self._dependence.bit(normalized)
        possible = [z for z in self._dependence.of(common) if z.size > v.size and z not in self._within]
        for z in self._generic.of_which_it_may_be_a_scale(v, possible):
            point = self._point(z)
            scale = point.statistic(v)
            if scale is not None and scale.kind == "scale" and point.settles(meeting):
                norm = self._whole(point, scale, meeting)
                if norm is not None:
                    return norm
        return None

    def _whole(self, point: Point, scale: Statistic, meeting: Tensor) -> Norm | None:
        """The norm of which one scale and its meeting are known.

        None when what the scale meets is computed from statistics of z alone, or with a small result that is none. Then
        a later tensor is the input: of x · var(x) in front of batch norm, var(x) is a statistic of x, and μ is not.
        """
        every = self._parts(point, lambda statistic: True)
        other_axes = {s.axes for s in every.statistics if s.kind == "scale"} - {scale.axes}
        parts = self._parts(point, lambda s: s.axes == scale.axes or s.axes not in other_axes)
        z, inner, dependence = point.z, frozenset(parts.inner), self._dependence
        if meeting in inner or any(
            v not in inner and v.size < z.size and common & dependence.bit(z)
            for result in dependence.direct(z, meeting, inner)
            for v, common in dependence.small_ones(result)
        ):
            return None
        output = list(parts.meetings)[-1]
        direct = dependence.direct(z, output, inner)
        centered = any("shift" in kinds and result in direct for result, kinds in parts.meetings.items())
        later = self._later(z, output, scale, parts.statistics)
        norm = Norm(z, tuple(parts.statistics), scale.axes, centered, inner, output, later)
        self._claim(norm, parts.normalized)
        return norm

    def _parts(self, point: Point, accept: Callable[[Statistic], bool]) -> Parts:
        """What belongs to the norm of z, with the statistics that are accepted."""
        z, found = point.z, Parts()
        # Normalized results and what depends on them: their statistics are those of another norm.
        after = self._normalized - {z}
        for result in self._dependence.after(z):
            sources = self._dependence.sources(result, z)
            read = [found.inner[source] for source in sources if source in found.inner]
            kinds = frozenset[Kind]().union(*(kinds for _, kinds in read))
            smallest = min((size for size, _ in read), default=result.size)
            is_after = not after.isdisjoint(sources)
            may_be_one = result.size < z.size and not is_after and result not in self._inner
            statistic = point.statistic(result) if may_be_one else None
            if statistic is not None and accept(statistic):
                found.statistics.append(statistic)
                found.inner[result] = result.size, frozenset({statistic.kind})
            elif len(read) == len(sources):
                found.inner[result] = smallest, kinds
            else:
                meets = result.size > smallest
                settled = meets and (is_after or "scale" in kinds) and point.settles(result)
                if meets and (settled or not is_after):
                    found.meetings[result] = kinds
                if settled:
                    found.normalized.append(result)
                if settled or is_after:
                    after.add(result)
        return found

    def _later(
        self, z: Tensor, output: Tensor, scale: Statistic, statistics: list[Statistic]
    ) -> tuple[tuple[Tensor, tuple[int, ...]], ...]:
        """The results after z of which all statistics are statistics too, with the axes there."""
        found = []
        for other in self._dependence.between(z, output):
            if other.size > scale.value.size and all(self._dependence.depends(s.value, other) for s in statistics):
                there = [self._point(other).statistic(s.value) for s in statistics]
                if [s and (s.kind, s.centered) for s in there] == [(s.kind, s.centered) for s in statistics]:
                    found.append((other, next(s.axes for s in there if s and s.value is scale.value)))
        return tuple(found)
