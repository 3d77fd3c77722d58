"""Folds scopes into one node each, called a card: by depth or by name. Equal neighbours share a card."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

from microtensor.inspect.graph.model import Graph, GraphEdge, GraphNode
from microtensor.inspect.graph.reading import Flows, norm, totals
from microtensor.text import LONGEST, safe_text

# How many equal blocks share a card, and how many calls of one module. Each call adds to the same gradients.
FEWEST_REPEATS, FEWEST_CALLS = 3, 10
WILD = frozenset("*?[")
# When several edges become one, it gets the first of these kinds that one of them has.
CLEAREST = ("direct", "plain", "statistics", "parameter", "constant")


def auto_depth(graph: Graph, limit: int = 300) -> int | None:
    """The largest depth that leaves at most `limit` nodes; None if the whole graph has at most `limit` nodes."""
    if len(graph.nodes) <= limit:
        return None
    levels = graph.scope_levels()
    scopes_at: dict[int, int] = defaultdict(int)
    nodes_at: dict[int, int] = defaultdict(int)
    for scope in graph.scopes:
        scopes_at[levels[scope.id]] += 1
    for node in graph.nodes:
        nodes_at[0 if node.scope is None else levels[node.scope] + 1] += 1
    deepest = max(levels, default=0)
    above = list(accumulate(nodes_at[level] for level in range(deepest + 1)))
    return next((depth for depth in range(deepest, -1, -1) if scopes_at[depth] + above[depth] <= limit), 0)


def fold(graph: Graph, depth: int | None, collapse: tuple[str, ...], expand: tuple[str, ...], repeats: bool) -> Graph:
    """See :meth:`Graph.collapsed`."""
    if depth is None and not collapse and not expand:
        return graph
    into = _folded_scopes(graph, depth, collapse, expand)
    if all(scope is None for scope in into):
        return graph
    return _Fold(graph, into, repeats).graph()


def _folded_scopes(
    graph: Graph, depth: int | None, collapse: tuple[str, ...], expand: tuple[str, ...]
) -> list[int | None]:
    """For each scope the scope whose card it is part of; None for a scope that stays open."""
    shut = _matching(graph, collapse)
    inside = _matching(graph, expand)
    around: set[int] = set()
    for scope in inside:
        at: int | None = scope
        while at is not None and at not in around:
            around.add(at)
            at = graph.scopes[at].parent
    levels = graph.scope_levels()
    into: list[int | None] = []
    for frame in graph.scopes:
        parent = frame.parent
        if parent is not None and parent in inside:
            inside.add(frame.id)
        opened = frame.id in inside or frame.id in around
        outer = None if parent is None else into[parent]
        folds = frame.id in shut or (depth is not None and levels[frame.id] >= depth and not opened)
        into.append(outer if outer is not None else frame.id if folds else None)
    return into


def _matching(graph: Graph, patterns: tuple[str, ...]) -> set[int]:
    """The scopes whose dotted path, or the end of it, one of the patterns describes."""
    found: set[int] = set()
    for pattern in patterns:
        # One letter more than a literal pattern shows whether it begins with a whole name.
        enough = len(pattern) + 1 if WILD.isdisjoint(pattern) else None
        ends = {scope.id: _end_of_path(graph, scope.id, enough) for scope in graph.scopes}
        matches = {i for i, path in ends.items() if fnmatchcase(path, pattern) or fnmatchcase(path, f"*.{pattern}")}
        if not matches:
            paths = list(dict.fromkeys(_end_of_path(graph, scope.id, LONGEST) for scope in graph.scopes))
            near = difflib.get_close_matches(pattern, [*paths, *(scope.name for scope in graph.scopes)], 1)
            known = ", ".join(map(safe_text, paths[:12]))
            listed = f"there are {known}" if paths else "the graph has no scopes"
            hint = f"did you mean {safe_text(near[0])}?" if near else listed
            raise ValueError(f"no scope is called {safe_text(pattern)}; {hint}")
        found |= matches
    return found


def _end_of_path(graph: Graph, scope: int, enough: int | None) -> str:
    """The dotted path of a scope. With `enough` only its last names, until they have more letters than that."""
    names: list[str] = []
    length = 0
    at: int | None = scope
    while at is not None and (enough is None or length <= enough):
        names.append(graph.scopes[at].name)
        length += len(names[-1]) + 1
        at = graph.scopes[at].parent
    return ".".join(reversed(names))


class _Fold:
    """One folding: first the cards, then the cards that several scopes share."""

    def __init__(self, graph: Graph, into: list[int | None], repeats: bool) -> None:
        self.whole = graph
        self.card = [None if node.scope is None else into[node.scope] for node in graph.nodes]
        self.into, self.uses = graph.inputs(), graph.consumers()
        self.members: dict[int, list[GraphNode]] = defaultdict(list)
        for node in graph.nodes:
            scope = self.card[node.id]
            if scope is not None:
                self.members[scope].append(node)
        self.crossing = [e for e in graph.edges if self.card[e.source] != self.card[e.target]]
        # Parameters that several cards read stand outside.
        self.shared = {e.source for e in self.crossing if graph.nodes[e.source].kind == "parameter"}
        leaving = {e.source for e in self.crossing} | {graph.root}
        # For each card the last node whose result is used outside of it.
        self.output = {
            scope: next((node for node in reversed(inside) if node.id in leaving), inside[-1])
            for scope, inside in self.members.items()
        }
        kept = [scope for scope in graph.scopes if into[scope.id] is None]
        self.number = {scope.id: i for i, scope in enumerate(kept)}
        self.scopes = tuple(replace(s, id=self.number[s.id], parent=self._around(s.parent)) for s in kept)
        self.runs = self._runs() if repeats else {}

    def _around(self, scope: int | None) -> int | None:
        return None if scope is None else self.number[scope]

    def graph(self) -> Graph:
        last = {run[-1]: run for run in self.runs.values()}
        place: dict[int, int] = {}
        nodes: list[GraphNode] = []
        for node in self.whole.nodes:
            scope = self.card[node.id]
            if scope is None:
                place[node.id] = len(nodes)
                nodes.append(replace(node, id=len(nodes), scope=self._around(node.scope)))
            elif node.id == self.output[scope].id and (scope not in self.runs or scope in last):
                run = last.get(scope, [scope])
                place |= {inside.id: len(nodes) for one in run for inside in self.members[one]}
                nodes.append(self._card(len(nodes), run))
        edges, flows = self._edges(place)
        root = place[self.whole.root]
        return replace(self.whole, nodes=tuple(nodes), edges=edges, scopes=self.scopes, root=root, _flows=flows)

    def _card(self, number: int, run: list[int]) -> GraphNode:
        first, scope = self.whole.scopes[run[0]], self.whole.scopes[run[-1]]
        output, inside = self.output[run[-1]], self.members[run[-1]]
        every = [node for one in run for node in self.members[one]]
        name = scope.name if first.name == scope.name else f"{first.name} … {scope.name}"
        marked = sum(node.mark in ("first", "second", "changed") for node in every)
        alone = {node.mark for node in every if node.kind != "constant"}
        failed = next((node for node in every if node.mark == "failed"), None)
        return GraphNode(
            id=number,
            kind="module" if scope.detail else "function",
            op=name,
            symbol=name,
            name=output.name,
            role=scope.detail,
            shape=output.shape,
            dtype=output.dtype,
            scope=self._around(scope.parent),
            statistics=any(node.statistics for node in every),
            unrecorded={node.unrecorded for node in every if node.kind == "operation"} == {True},
            parameters=tuple((n.name or "parameter", n.shape) for n in inside if n.kind == "parameter"),
            grad=output.grad,
            stats=output.stats,
            repeats=len(run),
            mark="failed" if failed else alone.pop() if len(alone) == 1 else "changed" if marked else "",
            note=failed.note if failed else f"{marked} of {len(every)} nodes differ" if marked else "",
        )

    def _edges(self, place: Mapping[int, int]) -> tuple[tuple[GraphEdge, ...], Flows]:
        """The edges between the nodes that are left: one for each tensor, with the sum of its gradients."""
        groups: dict[tuple[int, int, int], list[GraphEdge]] = defaultdict(list)
        for edge in self.whole.edges:
            source, target = place[edge.source], place[edge.target]
            if source != target:
                groups[source, target, edge.source].append(edge)
        results = {node.id for scope, node in self.output.items() if self.runs.get(scope, [scope])[-1] == scope}
        edges: dict[tuple[int, int, int], GraphEdge] = {}
        flows: Flows = {}
        for (source, target, tensor), merged in groups.items():
            argument = merged[0].argument
            while (source, target, argument) in edges:
                argument += 1
            key = source, target, argument
            sums = totals({edge.key: self.whole._flows[edge.key] for edge in merged if edge.key in self.whole._flows})
            if sums:
                flows[key] = sums[tensor]
            grad = norm(flows[key]) if sums else self._stored_norm(merged)
            kind = min((edge.kind for edge in merged), key=CLEAREST.index)
            marks = {edge.mark for edge in merged}
            made = self.whole.nodes[tensor]
            is_other = self.card[tensor] is not None and tensor not in results
            other = (made.name or made.symbol or made.role or made.kind) if is_other else ""
            edges[key] = GraphEdge(*key, kind, grad, marks.pop() if len(marks) == 1 else "", other)
        return tuple(edges.values()), flows

    def _stored_norm(self, merged: list[GraphEdge]) -> float | None:
        """The norm of the sum of some gradients of one tensor, in a stored graph, which has norms alone."""
        known = [edge.grad for edge in merged if edge.grad is not None]
        if len(known) <= 1:
            return known[0] if known else None
        uses = self.uses[merged[0].source]
        return self.whole.nodes[merged[0].source].grad if len(merged) == len(uses) else None

    # --- equal neighbours ---------------------------------------------------------------------------------

    def _runs(self) -> dict[int, list[int]]:
        """For each scope that shares a card, all the scopes on that card, in their order."""
        order = sorted(self.members, key=lambda scope: self.output[scope].id)
        structure = {scope: self._structure(scope) for scope in order}
        feeds = {(self.card[e.source], self.card[e.target]) for e in self.crossing}
        runs: list[list[int]] = []
        for scope in order:
            before = runs[-1][-1] if runs else None
            if before is not None and structure[before] == structure[scope] and (before, scope) in feeds:
                runs[-1].append(scope)
            else:
                runs.append([scope])
        return {
            scope: run for run in runs if len(run) >= self._fewest(run) and not self._comes_back(run) for scope in run
        }

    def _fewest(self, run: list[int]) -> int:
        """How many such blocks share a card: more if they read the same parameters, as calls of one module do."""
        read = {edge.source for node in self.members[run[0]] for edge in self.into[node.id]}
        return FEWEST_REPEATS if self.shared.isdisjoint(read) else FEWEST_CALLS

    def _structure(self, scope: int) -> Any:
        """What must be equal for two scopes to share a card: every operation inside, its shape and its inner edges."""
        inside = self.members[scope]
        at = {node.id: i for i, node in enumerate(inside)}
        own = self.whole.scopes[scope]
        content = [(node.kind, node.op, node.shape, node.dtype, node.mark) for node in inside]

        def read(source: int) -> int:
            """From outside only parameters are compared: calls of different modules are not equal."""
            return at.get(source, -2 - source if source in self.shared else -1)

        edges = [[(read(edge.source), edge.argument) for edge in self.into[node.id]] for node in inside]
        return own.parent, own.detail, content, edges

    def _comes_back(self, run: list[int]) -> bool:
        """Whether a path leaves the run and enters it again; one node for the whole run could not show this."""
        ours = set(run)
        end = self.output[run[-1]].id
        stack = [edge.target for scope in run for node in self.members[scope] for edge in self.uses[node.id]]
        seen: set[int] = set()
        while stack:
            at = stack.pop()
            if at in seen or at > end or self.card[at] in ours:
                continue
            seen.add(at)
            if any(self.card[edge.target] in ours for edge in self.uses[at]):
                return True
            stack += [edge.target for edge in self.uses[at]]
        return False
