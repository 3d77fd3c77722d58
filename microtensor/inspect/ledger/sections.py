"""Makes the sections of a ledger: the paths with their names, grouped by the statistics of a norm or one by one."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.paths import MOVES
from microtensor.inspect.ledger.located import INSIDE, MIXED, PAST, LocatedNorm
from microtensor.inspect.ledger.model import NormSection, Path, Removal, Step
from microtensor.inspect.ledger.projection import paths_of, projection
from microtensor.inspect.ledger.subgraph import ROUNDING, Hook, PathClass, Subgraph, passing
from microtensor.inspect.ledger.theory import Divisors
from microtensor.support.arrays import Array
from microtensor.text import LINE, safe_text

SHIFT, SCALE = ("shift",), ("scale",)
AROUND = "around the norm"
# The gradient before these operations is as long as the one after them.
KEEP_SIZE = MOVES | {"add", "subtract", "astype"}
LONGEST = 5


def norm_section(norm: LocatedNorm, title: str, detail: str, seed: Array) -> NormSection:
    """All paths, grouped by the statistics of one norm that they pass."""
    graph, through = norm.subgraph, paths_of(norm)
    dividing = {graph.fresh[graph.sources[i][argument]] for i, argument in norm.edges("scale")}
    divisors = Divisors(through, dividing)
    at_x, at_z = map(_around, graph.classes(seed, norm.then, None, norm.z))
    there = _named_rows(norm, divisors, at_z)
    # What is 0 at the input of the norm is 0 before it too.
    zero = any(row.zero for row, state in there if state == INSIDE)
    here = _named_rows(norm, divisors, at_x, zero)
    removal = projection(norm, divisors, at_z)
    around = any(state is None or isinstance(state, Hook) for state in at_x)
    if removal is not None and (around or not _only_moved(norm)):
        inside = tuple(row for row, state in there if state is not None and not isinstance(state, Hook))
        removal = replace(removal, at=_input_name(graph, norm.z), rows=inside)
    return _section(title, detail, [row for row, _ in here], graph.fresh[0].dtype, removal)


def _around(classes: dict[Any, PathClass]) -> dict[Any, PathClass]:
    """The classes, with all that goes around the norm as one."""
    past = classes.get(PAST)
    if past is None:
        return classes
    others = {state: one for state, one in classes.items() if state != PAST}
    return {**others, None: others[None].plus(past) if None in others else past}


def _only_moved(norm: LocatedNorm) -> bool:
    """Whether the input of a norm has the values of x, in another shape or shifted by a constant."""
    graph, i = norm.subgraph, norm.z
    while i and graph.op(i) in KEEP_SIZE and len(graph.sources[i]) == 1 and graph.size(i) == graph.size(0):
        (i,) = graph.sources[i].values()
    return i == 0


def _named_rows(
    norm: LocatedNorm, divisors: Divisors, found: dict[Any, PathClass], zero: bool = False
) -> list[tuple[Path, Any]]:
    """The classes of paths as rows, with their states.

    Paths through the mean inside the variance are a row when they give 0; else they are among those of the variance.
    """
    classes = dict(found)
    if INSIDE in classes and not norm.vanishes_inside:
        inside, whole = classes.pop(INSIDE), classes.get(SCALE)
        classes[SCALE] = inside if whole is None else whole.plus(inside)
    states: list[Any] = [state for state in ((), SHIFT, SCALE, INSIDE, MIXED, None) if state in classes]
    states += [state for state in classes if isinstance(state, Hook)]
    names = [_state_name(norm, divisors, state) for state in states]
    rows = _rows(norm.subgraph, names, [classes[state] for state in states])
    for i, state in enumerate(states):
        if state == INSIDE and (rows[i].zero or zero):
            rows[i] = replace(rows[i], zero=True, identity="Σ (x − μ) = 0")
    return list(zip(rows, states, strict=True))


def _state_name(norm: LocatedNorm, divisors: Divisors, state: Any) -> str:
    if state is None:
        return AROUND
    if isinstance(state, Hook):
        return _hook_name(norm.subgraph, state)
    if not state:
        return "direct"
    statistics = [s for s in norm.norm.statistics if s.kind == state[0]]
    if norm.norm.named:
        # Its statistics are not means and variances.
        names = dict.fromkeys(s.value.name for s in norm.recorded.statistics if s.kind == state[0] and s.value.name)
        through = safe_text(", ".join(names)) or "the statistics"
        return {SHIFT: "via the mean", INSIDE: f"via the mean inside {through}"}.get(state, f"via {through}")
    if state == INSIDE:
        return "via the mean inside the variance"
    if state == SHIFT:
        return "via the mean"
    if any(s.centered for s in statistics):
        return "via the variance"
    return "via the sum of squares" if divisors.is_sum else "via the mean square"


def _hook_name(subgraph: Subgraph, hook: Hook) -> str:
    return f"hook on {step_of(subgraph, hook.at).title}"


def single_paths(subgraph: Subgraph, seed: Array) -> NormSection:
    """Every path by itself. Its name lists the steps that not all paths take."""
    classes = subgraph.each(seed)
    found = [one for state, one in classes.items() if not isinstance(state, Hook)]
    routes = [carried.steps() for carried in found]
    common = set(routes[0]).intersection(*routes)
    names = []
    for route in routes:
        own = [step_of(subgraph, i).title for i in route if i not in common]
        shown = own if len(own) <= LONGEST else [*own[: LONGEST - 2], "…", own[-1]]
        names.append(f"via {' → '.join(shown)}" if own else "direct")
    return _section("", "", _with_hooks(subgraph, numbered(names), found, classes), subgraph.fresh[0].dtype)


def _with_hooks(
    subgraph: Subgraph, names: Sequence[str], found: Sequence[PathClass], classes: dict[Any, PathClass]
) -> list[Path]:
    """The rows of some paths, and one for what each hook changes."""
    hooks = [state for state in classes if isinstance(state, Hook)]
    hooked = [_hook_name(subgraph, hook) for hook in hooks]
    return _rows(subgraph, [*names, *hooked], [*found, *(classes[hook] for hook in hooks)])


def grouped_paths(subgraph: Subgraph, seed: Array, limit: int) -> tuple[NormSection, str]:
    """The paths, grouped by the operation in which they leave x. The smallest groups beyond the limit are one."""
    fork = 0
    while len(subgraph.consumers[fork]) == 1:
        fork = subgraph.consumers[fork][0][0]
    at_x, _ = subgraph.classes(seed, passing(set(subgraph.consumers[fork])))
    states = [state for state in at_x if state and not isinstance(state, Hook)]
    states.sort(key=lambda state: -float(np.linalg.norm(at_x[state].value)))
    shown = len(states) if len(states) <= limit else limit - 1
    names = numbered([f"via {step_of(subgraph, state[0][0]).title}" for state in states[:shown]])
    found = [at_x[state] for state in states]
    rest = found[shown:]
    if rest:
        found[shown:] = [functools.reduce(PathClass.plus, rest)]
        names.append(f"via {len(rest)} other operations" if shown else "all paths")
    leaving = f"in which they leave {step_of(subgraph, fork).title}"
    note = f"grouped by the operation {leaving}" if shown else ""
    return _section("", "", _with_hooks(subgraph, names, found, at_x), subgraph.fresh[0].dtype), note


def numbered(names: list[str]) -> list[str]:
    """The same names. A name that occurs more than once gets a number."""
    seen: Counter[str] = Counter()
    many = Counter(names)
    out = []
    for name in names:
        seen[name] += 1
        out.append(f"{name} ({seen[name]})" if many[name] > 1 else name)
    return out


def _section(title: str, detail: str, rows: Sequence[Path], dtype: Any, removal: Removal | None = None) -> NormSection:
    return NormSection(title, detail, tuple(rows), removal, _rounding([row.norm for row in rows], dtype))


def _rows(subgraph: Subgraph, names: Sequence[str], found: Sequence[PathClass]) -> list[Path]:
    values = [np.asarray(carried.value, dtype=np.float64) for carried in found]
    sizes = [float(np.linalg.norm(value)) for value in values]
    floor = _rounding(sizes, subgraph.fresh[0].dtype)
    rows = []
    for name, value, size, carried in zip(names, values, sizes, found, strict=True):
        route = tuple(step_of(subgraph, i) for i in carried.steps())
        rows.append(Path(name, value, size, carried.count, route, size <= floor))
    return rows


def _rounding(sizes: Sequence[float], dtype: Any) -> float:
    """The rounding of a sum that is 0, when its terms are as large as the largest path."""
    return ROUNDING * float(np.finfo(dtype).eps) * max(sizes, default=0.0)


def step_of(subgraph: Subgraph, i: int) -> Step:
    """An operation, as a route shows it."""
    tensor = subgraph.recorded[i]
    node = tensor.node if i else None
    symbol = node.primitive.symbol if node else "x"
    if node is not None:
        constants = [value for value in node.inputs if not isinstance(value, Tensor) and np.size(value) == 1]
        if node.primitive.name == "add" and constants and 0 < float(np.reshape(constants[0], ())) < 0.01:
            symbol = "+ ε"
    return Step(i, safe_text(symbol), safe_text(tensor.name or "", LINE), tensor.shape)


def _input_name(subgraph: Subgraph, z: int) -> str:
    """The input of a norm by its name, or by the operation that gives it."""
    step = step_of(subgraph, z)
    return step.label or (f"{step.symbol} {step.shape}" if z else "x")


def titles_of(subgraph: Subgraph, norms: Sequence[LocatedNorm]) -> list[tuple[str, str]]:
    """The scope of each norm and its description: its module when it has one, else its innermost function."""
    found = []
    for norm in norms:
        scope = subgraph.node(norm.output).scope
        chain = list(scope.chain()) if scope else []
        place = next((scope for scope in chain if scope.detail), chain[0] if chain else None)
        unnamed = f"norm of {_input_name(subgraph, norm.z)}"
        found.append((place.path, place.detail) if place else (unnamed, ""))
    titles = numbered([safe_text(title, LINE) for title, _ in found])
    return [(title, safe_text(detail, LINE)) for title, (_, detail) in zip(titles, found, strict=True)]
