"""What kind of edge an edge is: the direct path, a path through a statistic, a parameter, a constant."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from microtensor.inspect.graph.model import EdgeKind, Kind

REDUCTIONS = frozenset({"sum", "mean", "max", "min", "prod"})
BROADCASTING = frozenset({"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"})


def statistics_path(values: list[Any], kinds: list[Kind], edges: list[tuple[int, int, int]]) -> set[int]:
    """The operations on a path through a statistic.

    A reduction starts one when its result, through operations fed only by it and constants, meets a larger
    tensor in an operation that broadcasts; a loss meets nothing. The path then takes in what is fed by it
    alone, and what feeds it alone.
    """
    into: dict[int, list[int]] = defaultdict(list)
    out: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        if kinds[source] != "constant":
            into[target].append(source)
            out[source].append(target)
    operations = [i for i, kind in enumerate(kinds) if kind == "operation"]
    path: set[int] = set()
    for start in operations:
        # What a path has taken in already leads nowhere that it does not.
        if (
            start not in path
            and values[start].node.primitive.name in REDUCTIONS
            and any(values[s].size > values[start].size for s in into[start])
        ):
            reached = _fed_only_by(start, into, out)
            if _meets_larger(reached, values, into, out):
                path |= reached
    for i in operations:
        if into[i] and all(s in path for s in into[i]):
            path.add(i)
    for i in reversed(operations):
        if out[i] and all(t in path for t in out[i]):
            path.add(i)
    return path


def _fed_only_by(start: int, into: dict[int, list[int]], out: dict[int, list[int]]) -> set[int]:
    reached = {start}
    frontier = [start]
    while frontier:
        for target in out[frontier.pop()]:
            if target not in reached and all(s in reached for s in into[target]):
                reached.add(target)
                frontier.append(target)
    return reached


def _meets_larger(reached: set[int], values: list[Any], into: dict[int, list[int]], out: dict[int, list[int]]) -> bool:
    return any(
        values[target].node.primitive.name in BROADCASTING
        and values[target].size > values[i].size
        and any(s not in reached for s in into[target])
        for i in reached
        for target in out[i]
        if target not in reached
    )


def spine(
    root: int, kinds: list[Kind], edges: list[tuple[int, int, int]], statistics: set[int]
) -> set[tuple[int, int]]:
    """The steps of the direct path: from the result back to the data, by the longest way that meets no statistic."""
    into: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        into[target].append(source)
    depth = [-1] * len(kinds)
    for i, kind in enumerate(kinds):
        if kind == "data":
            depth[i] = 0
        elif kind == "operation":
            below = max((depth[s] for s in into[i]), default=-1)
            depth[i] = below + 1 if below >= 0 else -1
    spine: set[tuple[int, int]] = set()
    at = root
    while True:
        ahead = [s for s in into[at] if s not in statistics and kinds[s] in ("data", "operation") and depth[s] >= 0]
        if not ahead:
            return spine
        below = max(ahead, key=lambda s: (depth[s], -s))
        spine.add((below, at))
        at = below


def from_parameters(kinds: list[Kind], edges: list[tuple[int, int, int]]) -> set[int]:
    """The parameters, and what is computed from nothing else: Wᵀ belongs to W."""
    into: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in edges:
        if kinds[source] != "constant":
            into[target].append(source)
    derived = {i for i, kind in enumerate(kinds) if kind == "parameter"}
    for i, kind in enumerate(kinds):
        if kind == "operation" and into[i] and all(s in derived for s in into[i]):
            derived.add(i)
    return derived


def edge_kind(
    source: int, target: int, kinds: list[Kind], derived: set[int], statistics: set[int], spine: set[tuple[int, int]]
) -> EdgeKind:
    """The first of these that holds: constant, parameter, statistics, direct; else plain."""
    if kinds[source] == "constant":
        return "constant"
    if source in derived and not (source in statistics and target in statistics):
        return "parameter"
    if source in statistics or target in statistics:
        return "statistics"
    if (source, target) in spine:
        return "direct"
    return "plain"
