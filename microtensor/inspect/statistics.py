"""Finds the norms in a recorded graph: what a statistic is, its gradient says.

The spelling of a norm says little: a mean can be a matrix product, and x̂ can be x · inv + shift. Gradients are the same
for every spelling. So the operations from a tensor z on run again at a *generic point*, with random numbers for z, and
a small result v is judged by its gradient with respect to z, for a random cotangent:

- v is a *shift* of z over some axes when the gradient is constant along them, as that of a mean is;
- v is a *scale* when the gradient is a multiple of z − mean(z) along them, or of z itself, as those of a variance and
  of a mean square are.

z is the *input of a norm* when a scale of z meets a larger result, and what comes out of this meeting hardly changes
between 1,000 z and 1,000,000 z. A gate such as x · var(x) grows with z, so it is no norm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from microtensor.core.backprop import run
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import history, rerun
from microtensor.norms.axes import AXES
from microtensor.support.arrays import Array
from microtensor.support.modes import Mode, ModeSwitch, Scope

Kind: TypeAlias = Literal["shift", "scale"]
Records: TypeAlias = list[tuple[Tensor, Node]]

# How far a gradient may be from a constant or a multiple, relative to its length.
TOLERANCE = 1e-7
# The same for the first look, which only sorts out.
FIRST_LOOK = 1e-3
# A set of values is flat when its variance is below this part of its mean square: rounding is too near there.
FLAT = 1e-8
# A set of values has a gradient when that is larger than this part of the largest.
NOTHING = 1e-12
# The two sizes of z between which the result of a norm changes by less than one percent.
LARGE, LARGER = 1e3, 1e6
CHANGE = 0.01
# The most numbers in all results of a graph that is gone through as a whole, when each result counts as 1,000 at least.
MOST = 2_000_000
LEAST_COUNT = 1_000
SEED = 314159
# Norms of the library whose statistics no gradient shows, because they are not one per set.
NAMED_BY_SCOPE = ("whiten", "local_response_norm", "spectral_norm")


# Tensors compare by their numbers, so these two compare by identity.
@dataclass(frozen=True, eq=False)
class Statistic:
    """A result that is smaller than the input of a norm, and is known by its gradient with respect to that input.

    Attributes
    ----------
    value : Tensor
        The result, in the user's graph.
    kind : {"shift", "scale"}
        "shift": the gradient is constant along the axes. "scale": it is a multiple of z − mean(z), or of z.
    axes : tuple of int
        The axes of z that it is taken over; the largest set of axes for which this holds.
    centered : bool
        False for a scale whose gradient is a multiple of z itself, such as a mean square.
    """

    value: Tensor
    kind: Kind
    axes: tuple[int, ...]
    centered: bool = True


@dataclass(frozen=True, eq=False)
class Norm:
    """One norm in a recorded graph. The tensors are those of the user's graph.

    Attributes
    ----------
    input : Tensor
        z: the earliest tensor that the statistics are statistics of. So x · 2 in front of a norm belongs to it.
    statistics : tuple of Statistic
        In the order of the program. The mean inside a variance is one of them.
    axes : tuple of int
        The axes of z that the scales are taken over.
    centered : bool
        Whether a shift is taken out of z. It is False for RMS norm, and for x / σ, where the mean stays.
    inner : frozenset of Tensor
        The statistics, and what is computed from them alone: σ² + ε, 1 / σ, β − μ / σ. With `named`, everything on the
        way to the statistics too, such as the matrix products of whitening.
    output : Tensor
        The result of the last operation in which a statistic, or what is computed from it, meets a larger result.
    later : tuple of (Tensor, tuple of int)
        Tensors after z that serve as the input as well, with their axes: of x @ W + b in front of batch norm, z is
        x @ W, and the sum with b is a later one. The last is the one that the norm reads.
    named : bool
        The scope of a library's norm named it, not a gradient: the statistics of whitening, of local response norm and
        of spectral norm are not one per set. Their kind then says what they do.
    """

    input: Tensor
    statistics: tuple[Statistic, ...]
    axes: tuple[int, ...]
    centered: bool
    inner: frozenset[Tensor]
    output: Tensor
    later: tuple[tuple[Tensor, tuple[int, ...]], ...] = ()
    named: bool = False


class Norms(list[Norm]):
    """The norms of a graph in the order of the program.

    Attributes
    ----------
    complete : bool
        False when the graph was too large to be gone through. Then only norms of the library are in the list, and norms
        in another spelling may be missing.
    """

    complete: bool = True


def norms_of(y: Tensor, most: int = MOST) -> Norms:
    """The norms that a result was computed with, in any spelling.

    Nothing of the user's is changed: the operations run again, in float64, on numbers of their own.

    Parameters
    ----------
    y : Tensor
    most : int
        The largest graph to go through as a whole: the numbers in all its results, with 1,000 for a smaller result.
        In a larger one only the scopes of the library's norms are searched, and ``complete`` is False.

    Returns
    -------
    Norms
        A list of :class:`Norm` in the order of the program, with the attribute ``complete``.

    Raises
    ------
    RuntimeError
        A backward pass has freed the graph.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.statistics import norms_of
    >>> x = mt.tensor([[1.0, 5.0], [2.0, 3.0], [4.0, 4.0]], requires_grad=True)
    >>> centered = x - x.mean(axis=0)
    >>> (norm,) = norms_of(centered / mt.sqrt((centered * centered).mean(axis=0) + 1e-5))
    >>> norm.input is x, norm.axes, norm.centered
    (True, (0,), True)
    >>> [(s.kind, s.value.node.primitive.name) for s in norm.statistics]
    [('shift', 'mean'), ('scale', 'mean'), ('scale', 'add'), ('scale', 'sqrt')]
    """
    records = history(y, unfreed="norms_of")
    found = Norms()
    found.complete = sum(max(result.size, LEAST_COUNT) for result, _ in records) <= most
    scopes = _scopes_of_norms(records)
    with _PlainMode(), np.errstate(all="ignore"):
        for stretch in [records] if found.complete else scopes.values():
            found += _Search(stretch).norms()
    place = {result: i for i, (result, _) in enumerate(records)}
    found.sort(key=lambda norm: place[norm.output])
    return found


class _PlainMode(ModeSwitch):
    """Recorded, outside all scopes, and not watched for NaN: large numbers are meant."""

    def _next(self, mode: Mode) -> Mode:
        return Mode()


# --- one gradient -----------------------------------------------------------------------------------------


class _Direction(NamedTuple):
    """What a gradient is along some axes."""

    kind: Kind
    axes: tuple[int, ...]
    centered: bool


@lru_cache
def _sets_of_axes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All sets of axes with at least two values, the largest first."""
    every = (axes for k in range(1, len(shape) + 1) for axes in itertools.combinations(range(len(shape)), k))
    counted = [(math.prod(shape[i] for i in axes), len(axes), axes) for axes in every]
    return [axes for count, _, axes in sorted(counted, reverse=True) if count > 1]


def _directions(g: Array, z: Array, tolerance: float) -> Iterator[_Direction]:
    """What a gradient g with respect to z may be, the largest sets of axes first, to some rounding.

    The residue of g along a direction d is Σ g² − (Σ g d)² / Σ d², so a few sums tell all three. What holds along
    several axes is a constant plus a multiple of z along each of them, which sorts out most axes at once.
    """
    products = np.stack([g * g, g, g * z, z * z, z])
    allowed = tolerance**2 * products[0].sum()

    def residues(axes: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
        """What is left of g without a constant, without a part along z − mean(z), without one along z, without both."""
        count = math.prod(z.shape[i] for i in axes)
        gg, sum_g, gz, zz, sum_z = products.sum(axis=tuple(i + 1 for i in axes))
        gd, dd, varying = gz - sum_g * sum_z / count, zz - sum_z**2 / count, gg - sum_g**2 / count
        return varying.sum(), _left(gg, gd, dd, zz), _left(gg, gz, zz, zz), _left(varying, gd, dd, zz)

    possible = {i for i, size in enumerate(z.shape) if size < 3 or residues((i,))[3] <= allowed}
    for axes in _sets_of_axes(z.shape):
        if possible.issuperset(axes):
            of_shift, of_centered, of_scale, _ = residues(axes)
            if of_shift <= allowed:
                yield _Direction("shift", axes, True)
            if of_centered <= allowed:
                yield _Direction("scale", axes, True)
            if of_scale <= allowed:
                yield _Direction("scale", axes, False)


def _left(gg: Array, gd: Array, dd: Array, zz: Array) -> Any:
    """What is left of Σ g² without the part along d. A set in which z hardly varies tells nothing."""
    return np.where(dd > FLAT * zz, gg - gd**2 / dd, 0).sum()


def _direction(g: Array, z: Array, count: int) -> _Direction | None:
    """What the gradient g with respect to z of `count` numbers is: a shift, a scale, or neither."""
    largest = np.abs(g).max(initial=0)
    if not 0 < largest < np.inf:
        return None
    for direction in _directions(g, z, FIRST_LOOK):
        axes = direction.axes
        along = z - z.mean(axis=axes, keepdims=True) if direction.centered else z
        if direction.kind == "shift":
            along = np.ones_like(z)
        part = along * ((g * along).sum(axes, keepdims=True) / (along * along).sum(axes, keepdims=True))
        sets = int((np.abs(g).max(axis=axes) > NOTHING * largest).sum())
        if sets == count and np.linalg.norm(g - part) <= TOLERANCE * np.linalg.norm(g):
            return direction
    return None


# --- one tensor at a generic point ------------------------------------------------------------------------


class _Point:
    """What follows from one tensor z of the graph when z is a leaf with random numbers.

    Attributes
    ----------
    z : Tensor
        The tensor of the user's graph.
    """

    def __init__(self, search: _Search, z: Tensor) -> None:
        self.search, self.z = search, z
        self._leaf = search.random.normal(size=z.shape)
        self._made: dict[float, dict[Tensor, Tensor]] = {}
        self._judged: dict[Tensor, Statistic | None] = {}

    def at(self, result: Tensor, factor: float = 1.0) -> Tensor:
        """A result that depends on z, where z is the random numbers times a factor."""
        search = self.search
        if factor not in self._made:
            self._made[factor] = {self.z: Tensor(self._leaf * factor, requires_grad=True)}
        made = self._made[factor]
        if result in made:
            return made[result]
        missing = [(t, search.node[t]) for t in search.between(self.z, result) if t not in made]

        def read(key: Tensor, argument: int, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return made[value] if value in made else search.generic_array(value)

        return rerun(missing, read, made)[result]

    def statistic(self, v: Tensor) -> Statistic | None:
        """What a result is of z, if it is a statistic."""
        if v not in self._judged:
            self._judged[v] = self._judge(v)
        return self._judged[v]

    def _judge(self, v: Tensor) -> Statistic | None:
        try:
            value = self.at(v)
            leaf = self._made[1.0][self.z]
            g = run({value: self.search.random.normal(size=v.shape)}, {leaf}).get(leaf)
        except Exception:
            # An operation or a rule of the user's may be made for other numbers; then this is no statistic.
            return None
        direction = None if g is None else _direction(g.numpy(), leaf.numpy(), v.size)
        return None if direction is None else Statistic(v, *direction)

    def settles(self, result: Tensor) -> bool:
        """Whether a result is nearly the same for 1,000 z and 1,000,000 z."""
        try:
            large, larger = (self.at(result, factor).numpy() for factor in (LARGE, LARGER))
        except Exception:
            return False
        return bool(np.linalg.norm(large - larger) < CHANGE * np.linalg.norm(large))


# --- the search -------------------------------------------------------------------------------------------


@dataclass
class _Gathered:
    """What belongs to a norm, in the order of the program."""

    statistics: list[Statistic]
    # The statistics and what is computed from them alone, each with the size of the smallest statistic in it and with
    # the kinds of these statistics.
    inner: dict[Tensor, tuple[int, frozenset[Kind]]]
    meetings: dict[Tensor, frozenset[Kind]]
    # The meetings whose results are normalized.
    normalized: list[Tensor]


class _Search:
    """Goes through records in the order of the program, and asks at each meeting whether it is that of a norm.

    Attributes
    ----------
    node : dict
        The record of each result. Every other tensor is a leaf here.
    random : numpy.random.Generator
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.node = dict(records)
        self.random = np.random.default_rng(SEED)
        self._number: dict[Tensor, int] = {}
        self._tensors: list[Tensor] = []
        self._sources: dict[Tensor, list[Tensor]] = {}
        # For each tensor, as the bits of an integer, the numbers of those that it depends on, and its own.
        self._above: list[int] = []
        # Before it was repeated, so that a broadcast σ is still σ.
        self._before: dict[Tensor, Tensor] = {}
        for result, node in records:
            sources = list(dict.fromkeys(x for x in node.inputs if isinstance(x, Tensor) and x.requires_grad))
            for leaf in sources:
                if leaf not in self._number:
                    self._enter(leaf, [])
            self._enter(result, sources)
        self._generic: dict[Tensor, Tensor] = {}
        self._points: dict[Tensor, _Point] = {}
        self._claimed: set[Tensor] = set()
        self._within: set[Tensor] = set()
        # What had no finite value at the generic point: no gradient there says what is before it.
        self._cut_off: list[Tensor] = []
        # The results of norms. What depends on one of them belongs to another norm.
        self._normalized: set[Tensor] = set()

    def _enter(self, tensor: Tensor, sources: list[Tensor]) -> None:
        self._number[tensor] = len(self._tensors)
        above = 1 << len(self._tensors)
        for source in sources:
            above |= self._above[self._number[source]]
        self._tensors.append(tensor)
        self._above.append(above)
        self._sources[tensor] = sources
        alone = self._before[sources[0]] if len(sources) == 1 else tensor
        self._before[tensor] = alone if alone.size < tensor.size else tensor

    def depends(self, result: Tensor, z: Tensor) -> bool:
        """Whether a result is z, or was computed from it."""
        return bool(self._above[self._number[result]] >> self._number[z] & 1)

    def between(self, z: Tensor, result: Tensor) -> list[Tensor]:
        """The results on all ways from z, which is left out, to a result, which is the last."""
        above = self._above[self._number[result]]
        numbers = range(self._number[z] + 1, self._number[result] + 1)
        return [t for i in numbers if above >> i & 1 and self.depends(t := self._tensors[i], z)]

    # --- the generic point ---

    def generic_array(self, tensor: Tensor) -> Array:
        """The numbers of a tensor at the generic point; a tensor that needs no gradient keeps its own."""
        return self._at_generic(tensor).numpy() if tensor.requires_grad else tensor.numpy()

    def _at_generic(self, tensor: Tensor) -> Tensor:
        if tensor not in self._generic:
            self._start_anew(tensor)
        return self._generic[tensor]

    def _start_anew(self, tensor: Tensor) -> None:
        """Make a tensor a leaf of the generic point: random numbers of the same signs and size, and none near 0."""
        own = tensor.numpy()
        size = np.abs(own).mean(dtype=np.float64)
        draws = self.random.uniform(0.5, 1.5, size=own.shape) * (size if 0 < size < np.inf else 1.0)
        self._generic[tensor] = Tensor(np.where(own < 0, -draws, draws), requires_grad=True)

    def _step(self, result: Tensor, node: Node) -> None:
        """Run one operation at the generic point. What has no finite value there starts anew."""

        def read(key: Tensor, argument: int, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return self._at_generic(value) if value.requires_grad else value.numpy()

        try:
            rerun([(result, node)], read, self._generic)
            finite = bool(np.isfinite(self._generic[result].numpy()).all())
        except Exception:
            finite = False
        if not finite:
            self._cut_off.append(result)
        if not finite or result in self._normalized:
            self._start_anew(result)

    # --- meetings ---

    def norms(self) -> list[Norm]:
        """All norms: first those that are named by their scope, then the others in the order in which they are met."""
        found = []
        for scope, inside in _scopes_of_norms(self.records).items():
            norm = _named(scope, inside) if scope.name in NAMED_BY_SCOPE else None
            if norm is not None:
                found.append(norm)
                self._claim(norm, [norm.output])
        named = {x for norm in found for x in self.between(norm.input, norm.output)}
        self.node = {result: _in_double(node) for result, node in self.records}
        for result, node in self.node.items():
            self._step(result, node)
            for v, common in () if result in named else self._small_ones(result):
                norm = None if v in self._claimed else self._norm(result, v, common)
                if norm is not None:
                    found.append(norm)
                    self._start_anew(result)
        return found

    def _claim(self, norm: Norm, normalized: list[Tensor]) -> None:
        """What belongs to a norm belongs to no other."""
        self._claimed.update(norm.inner)
        self._within.update(self.between(norm.input, norm.output)[:-1])
        self._normalized.update(normalized)

    def _small_ones(self, result: Tensor) -> list[tuple[Tensor, int]]:
        """The arguments that an operation meets with larger ones, and what these depend on."""
        sources = self._sources[result]
        found = []
        for v in {self._before[source]: None for source in sources} if len(sources) > 1 else ():
            others = 0
            for source in sources:
                if self._before[source].size > v.size:
                    others |= self._above[self._number[source]]
            others &= self._above[self._number[v]]
            if others and v.size < result.size and v in self.node:
                found.append((v, others))
        return found

    def _norm(self, meeting: Tensor, v: Tensor, common: int) -> Norm | None:
        """The norm of the earliest input, if v is a scale and its meeting is normalized.

        `common` has the numbers of the tensors that both v and what it meets depend on.
        """
        for z in self._candidates(v, common):
            point = self._point(z)
            scale = point.statistic(v)
            if scale is not None and scale.kind == "scale" and point.settles(meeting):
                norm = self._whole(point, scale, meeting)
                if norm is not None:
                    return norm
        return None

    def _candidates(self, v: Tensor, common: int) -> list[Tensor]:
        """The tensors of which v looks like a scale, by one backward pass for all of them."""
        for normalized in self._normalized:
            if self.depends(v, normalized):
                number = self._number[normalized]
                common &= ~self._above[number] | 1 << number
        possible = [
            z
            for i, z in enumerate(self._tensors[: self._number[v]])
            if common >> i & 1 and z.size > v.size and z not in self._within
        ]
        value, points = self._at_generic(v), {self._at_generic(z) for z in possible}
        try:
            gradients = run({value: self.random.normal(size=v.shape)}, points)
        except Exception:
            return possible
        unknown = 0
        for result in self._cut_off:
            unknown |= self._above[self._number[result]] if self.depends(v, result) else 0
        return [
            z
            for z in possible
            if unknown >> self._number[z] & 1 or _may_be_scale(gradients.get(self._at_generic(z)), self._at_generic(z))
        ]

    # --- one norm ---

    def _whole(self, point: _Point, scale: Statistic, meeting: Tensor) -> Norm | None:
        """The norm of which one scale is known.

        None when what the scale meets is computed from statistics of z alone, or with a small result that is none. Then
        a later tensor is the input: of x · var(x) in front of batch norm, var(x) is a statistic of x, and μ is not.
        """
        every = self._gathered(point, lambda statistic: True)
        other_scales = {s.axes for s in every.statistics if s.kind == "scale"} - {scale.axes}
        gathered = self._gathered(point, lambda s: s.axes == scale.axes or s.axes not in other_scales)
        z, inner = point.z, frozenset(gathered.inner)
        on_the_way = self._direct(z, meeting, inner)
        if meeting in inner or any(
            v not in inner and v.size < z.size and common >> self._number[z] & 1
            for result in on_the_way & set(self.between(z, meeting))
            for v, common in self._small_ones(result)
        ):
            return None
        output = list(gathered.meetings)[-1]
        shifted = {t for t, kinds in gathered.meetings.items() if "shift" in kinds}
        centered = not shifted.isdisjoint(self._direct(z, output, inner))
        later = self._later(z, output, scale, gathered)
        norm = Norm(z, tuple(gathered.statistics), scale.axes, centered, inner, output, later)
        self._claim(norm, gathered.normalized)
        return norm

    def _gathered(self, point: _Point, accept: Callable[[Statistic], bool]) -> _Gathered:
        z = point.z
        found = _Gathered([], {}, {}, [])
        # Normalized results and what depends on them: their statistics are those of another norm.
        after = self._normalized - {z}
        for result in self._tensors[self._number[z] + 1 :]:
            if not self.depends(result, z):
                continue
            sources = [source for source in self._sources[result] if self.depends(source, z)]
            read = [found.inner[source] for source in sources if source in found.inner]
            kinds = frozenset[Kind]().union(*(kinds for _, kinds in read))
            smallest = min((size for size, _ in read), default=result.size)
            is_after = not after.isdisjoint(sources)
            judged = result.size < z.size and not is_after and result not in self._claimed
            statistic = point.statistic(result) if judged else None
            if statistic is not None and accept(statistic):
                found.statistics.append(statistic)
                found.inner[result] = result.size, frozenset({statistic.kind})
            elif len(read) == len(sources):
                found.inner[result] = smallest, kinds
            else:
                settled = result.size > smallest and (is_after or "scale" in kinds) and point.settles(result)
                if result.size > smallest and (settled or not is_after):
                    found.meetings[result] = kinds
                    found.normalized += [result] if settled else []
                if settled or is_after:
                    after.add(result)
        return found

    def _later(
        self, z: Tensor, output: Tensor, scale: Statistic, gathered: _Gathered
    ) -> tuple[tuple[Tensor, tuple[int, ...]], ...]:
        """The results after z of which all statistics are statistics too, with the axes there."""
        found = []
        for other in self.between(z, output):
            if other.size > scale.value.size and all(self.depends(s.value, other) for s in gathered.statistics):
                point = self._point(other)
                there = [point.statistic(s.value) for s in gathered.statistics]
                if [s and (s.kind, s.centered) for s in there] == [(s.kind, s.centered) for s in gathered.statistics]:
                    found.append((other, next(s.axes for s in there if s and s.value is scale.value)))
        return tuple(found)

    def _point(self, z: Tensor) -> _Point:
        if z not in self._points:
            self._points[z] = _Point(self, z)
        return self._points[z]

    def _direct(self, z: Tensor, output: Tensor, inner: Iterable[Tensor]) -> set[Tensor]:
        """The results from which the output is reached without a statistic."""
        found = {output}
        for result in reversed(self.between(z, output)):
            if result in found:
                found.update(source for source in self._sources[result] if source not in inner)
        return found


def _may_be_scale(gradient: Tensor | None, z: Tensor) -> bool:
    """The first look at a gradient; what is not finite tells nothing."""
    if gradient is None:
        return False
    g = gradient.numpy()
    return not np.isfinite(g).all() or any(d.kind == "scale" for d in _directions(g, z.numpy(), FIRST_LOOK))


def _in_double(node: Node) -> Node:
    """The record, with the dtype that it asks for replaced by float64."""
    if node.params.get("dtype") is None:
        return node
    return Node(node.primitive, node.inputs, {**node.params, "dtype": np.float64}, node.scope, 0, "")


# --- by their scopes --------------------------------------------------------------------------------------


def _scopes(result: Tensor) -> list[Scope]:
    """The scopes that a result was recorded in, from the inside out."""
    return list(result.node.scope.chain()) if result.node is not None and result.node.scope else []


def _scopes_of_norms(records: Records) -> dict[Scope, Records]:
    """The records in the scope of each norm of the library; a norm inside a norm belongs to the outer one."""
    found: dict[Scope, Records] = {}
    for result, node in records:
        norms = [scope for scope in _scopes(result) if scope.name in AXES]
        if norms:
            found.setdefault(norms[-1], []).append((result, node))
    return found


def _named(scope: Scope, records: Records) -> Norm | None:
    """The norm of a scope. Its statistics are what its "statistics" hand on; for spectral norm it is σ."""
    inputs = [x for _, node in records[:1] for x in node.inputs if isinstance(x, Tensor) and x.requires_grad]
    if scope.name == "spectral_norm":
        hidden = {result for result, _ in records[:-1]}
    else:
        hidden = {result for result, _ in records if any(inside.name == "statistics" for inside in _scopes(result))}
    if not inputs or not hidden:
        return None
    z = inputs[0]
    used = {x for result, node in records if result not in hidden for x in node.inputs if isinstance(x, Tensor)}
    handed_on = [result for result, _ in records if result in hidden & used]
    row = AXES[scope.name]
    axes = row.statistics(z.ndim)
    inner = set(hidden)
    output = None
    for result, node in records:
        sources = [x for x in node.inputs if isinstance(x, Tensor) and x.requires_grad]
        if result not in hidden and sources and not inner.isdisjoint(sources):
            if inner.issuperset(sources):
                inner.add(result)
            else:
                output = result
    if output is None:
        return None
    statistics = (Statistic(v, "shift" if v.name == "μ" else "scale", axes, row.centers) for v in handed_on)
    return Norm(z, tuple(statistics), axes, row.centers, frozenset(inner), output, named=True)
