"""The data of the interactive page: values and gradients of a graph as small tables, and the words beside them."""

from __future__ import annotations

import linecache
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, Reader
from microtensor.inspect.graph.reading import norm, seed_of, totals
from microtensor.inspect.ledger.inputs import input_of
from microtensor.support.arrays import Array
from microtensor.text import LINE, safe_text
from microtensor.viz import labels
from microtensor.viz.page.drawing import ROOM
from microtensor.viz.story import ledger_of, pythagoras

Record: TypeAlias = dict[str, Any]

# A table shows up to so many rows and columns. Of a longer axis it shows the first and the last.
SIDE = 8
HEAD = 4


class Content:
    """The data of a page: each table once, and a record per picture.

    Parameters
    ----------
    graph : Graph
        The graph, not folded.
    output : Tensor, optional
        The tensor that the graph was read from. Without it, the page has shapes and norms, but no values.
    """

    def __init__(self, graph: Graph, output: Tensor | None = None) -> None:
        self.graph = graph
        self.tables: list[Record] = []
        self._known: dict[str, int] = {}
        self.output = output
        self.values: list[Any] = []
        self.totals: dict[int, Array] = {}
        if output is not None:
            self.values = Reader(output, gradients=False).tensors
            if graph.nodes[graph.root].grad is not None:
                self.totals = totals(graph._flows, graph.root, seed_of(output)[0])

    def picture(self, depth: int | None) -> tuple[Graph, Record]:
        """The graph folded at a depth, and the texts of the page about it."""
        folded = self.graph.collapsed(depth, repeats=False)
        origin = _origins(self.graph, depth)
        inputs = folded.inputs()
        scopes = [
            {"name": safe_text(s.name), "detail": safe_text(s.detail), "parent": s.parent, "statistics": s.statistics}
            for s in folded.scopes
        ]
        record = {
            "nodes": [self._node(node, origin[node.id], folded, inputs[node.id]) for node in folded.nodes],
            "edges": self._edges(folded, origin, depth),
            "scopes": scopes,
            "root": folded.root,
        }
        return folded, record

    def closing(self) -> Record | None:
        """The gradient of the input as the sum of its paths through a norm; None where there is no single norm."""
        if self.output is None or not self.totals:
            return None
        ledger = ledger_of(self.output, len(self.values))
        if ledger is None:
            return None
        x = input_of(self.output)
        shown = next(section for section in ledger.blocks if section.title).paths
        return {
            "of": next(i for i, value in enumerate(self.values) if value is x),
            "input": safe_text(ledger.input, LINE),
            "paths": [{"name": path.name, "norm": labels.number(path.norm)} for path in shown if not path.zero],
            "zero": [f"{path.name} is exactly 0" for path in shown if path.zero],
            "squares": pythagoras(ledger),
        }

    def _node(self, node: GraphNode, origin: int, graph: Graph, inputs: list[GraphEdge]) -> Record:
        record: Record = {
            "title": labels.title(node, inputs, graph),
            "op": safe_text(node.op),
            "name": safe_text(node.name),
            "kind": "statistics" if node.statistics and node.kind == "operation" else node.kind,
            "role": safe_text(node.role),
            "shape": labels.shape(node),
            "over": labels.over(node),
            "dtype": safe_text(node.dtype),
            "scope": node.scope,
            "of": origin,
            "constants": [safe_text(text) for _, text in node.constants],
        }
        if node.grad is not None:
            record["grad"] = labels.signed(node.grad)
        if labels.is_number(node):
            record["scalar"] = True
        if self.values:
            array = _array(self.values[origin])
            record["value"] = self.table(array)
            record["range"] = _range(array)
            record["line"] = _line(self.values[origin])
            if origin in self.totals:
                record["gradient"] = self.table(self.totals[origin])
        return {key: value for key, value in record.items() if value not in (None, "", [])}

    def _edges(self, graph: Graph, origin: list[int], depth: int | None) -> list[Record]:
        """A record per edge: what comes back along it, and the sum so far at its source, in the order of the walk."""
        arguments = _arguments(graph, _carried(self.graph, origin, depth))
        records: list[Record] = [{} for _ in graph.edges]
        walk = sorted(range(len(graph.edges)), key=lambda i: (-graph.edges[i].target, graph.edges[i].argument))
        sums: dict[int, Array | None] = {}
        count: dict[int, int] = defaultdict(int)
        for i in walk:
            edge = graph.edges[i]
            target = graph.nodes[edge.target]
            record = records[i] = {"source": edge.source, "target": edge.target, "kind": edge.kind}
            if edge.grad is None:
                continue
            record["grad"] = labels.signed(edge.grad)
            if labels.is_single(edge, graph.nodes[edge.source]):
                record["scalar"] = True
            if rule := labels.added(target, arguments[i]):
                record["rule"] = rule
            if edge.other:
                # A folded module has several results. This is the gradient of one that is not shown.
                continue
            record["nth"] = count[edge.source] = count[edge.source] + 1
            flow = graph._flows.get((edge.source, edge.target, edge.argument))
            before = sums.get(edge.source)
            if flow is None or (record["nth"] > 1 and before is None):
                sums[edge.source] = None
                continue
            total = sums[edge.source] = flow if before is None else before + flow
            record |= {"adds": self.table(flow), "sum": self.table(total), "after": labels.signed(norm(total))}
        return records

    def table(self, array: Array) -> int:
        """The number of the table of an array. Equal tables share a number."""
        record = _table(array)
        key = repr(record)
        if key not in self._known:
            self._known[key] = len(self.tables)
            self.tables.append(record)
        return self._known[key]


def _origins(graph: Graph, depth: int | None) -> list[int]:
    """For each node of the folded graph, the node of the full graph whose result it has."""
    named = replace(graph, nodes=tuple(replace(node, name=str(node.id)) for node in graph.nodes))
    return [int(node.name) for node in named.collapsed(depth, repeats=False).nodes]


def _carried(graph: Graph, origin: list[int], depth: int | None) -> dict[tuple[int, int], list[GraphEdge]]:
    """For each pair of nodes of the folded graph, the edges of the full graph between them."""
    chains = [graph.scope_chain(node.scope) for node in graph.nodes]
    limit = len(graph.scopes) if depth is None else depth
    place = {chains[full][limit] if len(chains[full]) > limit else -1 - full: i for i, full in enumerate(origin)}
    at = [place[chain[limit] if len(chain) > limit else -1 - full] for full, chain in enumerate(chains)]
    found: dict[tuple[int, int], list[GraphEdge]] = defaultdict(list)
    for edge in graph.edges:
        found[at[edge.source], at[edge.target]].append(edge)
    return found


def _arguments(graph: Graph, carried: dict[tuple[int, int], list[GraphEdge]]) -> list[list[int]]:
    """The arguments that each edge of the folded graph stands for.

    Where a card gives an operation a tensor as several of its inputs, they have one edge, and the rules add up on it.
    """
    between: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, edge in enumerate(graph.edges):
        between[edge.source, edge.target].append(i)
    found: list[list[int]] = [[] for _ in graph.edges]
    for pair, edges in between.items():
        full = carried[pair]
        tensors = list(dict.fromkeys(edge.source for edge in full))
        if len(edges) == len(full):
            groups = [[edge.argument] for edge in full]
        elif len(edges) == len(tensors):
            groups = [[edge.argument for edge in full if edge.source == tensor] for tensor in tensors]
        else:
            groups = [[edge.argument for edge in full]] * len(edges)
        for i, group in zip(edges, groups, strict=True):
            found[i] = group
    return found


def _array(value: Any) -> Array:
    return value._array if isinstance(value, Tensor) else np.asarray(value)


def _line(value: Any) -> list[str] | None:
    """Where the program made a result, and the text of that line."""
    made = value.node.line if isinstance(value, Tensor) and value.node is not None else ""
    place = re.fullmatch(r"(.*):(\d+) in (.*)", made)
    if place is None:
        return None
    where = f"{os.path.basename(place[1])}:{place[2]} in {place[3]}"
    return [safe_text(where, 120), safe_text(linecache.getline(place[1], int(place[2])).strip(), 200)]


# --- numbers ----------------------------------------------------------------------------------------------


def _rounded(value: Any, digits: int) -> float | int | str:
    """A number for JSON, with so many significant digits."""
    number = value.item()
    if isinstance(number, int):
        return int(number)
    if not np.isfinite(number):
        return "NaN" if np.isnan(number) else "∞" if number > 0 else "−∞"
    short = float(f"{number:.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _range(array: Array) -> str:
    """The values in a few characters: one number, or the least and the largest."""
    if array.size == 0:
        return "empty"
    low, high = float(array.min()), float(array.max())
    if array.size == 1:
        return labels.signed(low)
    if low == high:
        return f"all {labels.signed(low)}"
    text = f"{labels.signed(low)} … {labels.signed(high)}"
    return text if len(text) <= ROOM else f"|·| ≤ {labels.number(max(abs(low), abs(high)))}"


def _table(array: Array) -> Record:
    """The statistics of an array, and a sample of it that fits beside a picture."""
    record: Record = {"shape": str(array.shape)}
    if array.size == 0:
        return record | {"rows": []}
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        largest = float(np.abs(wide).max())
        mean = wide.mean()
        record |= {
            "min": _rounded(array.min(), 3),
            "max": _rounded(array.max(), 3),
            # Where the exact mean is zero, rounding errors are left.
            "mean": "≈ 0" if 0 < abs(mean) < 1e-12 * largest else _rounded(mean, 3),
            "std": _rounded(wide.std(), 3),
            "norm": _rounded(np.sqrt(np.square(wide).sum()), 3),
        }
    leading = array.shape[:-2]
    sheet = array[(0,) * len(leading)] if leading else array
    sheet = sheet.reshape((1,) * (2 - sheet.ndim) + sheet.shape)
    rows, columns = (list(_sampled(n)) for n in sheet.shape)
    record["rows"] = [[None if None in (r, c) else _rounded(sheet[r, c], 2) for c in columns] for r in rows]
    if leading:
        record["at"] = f"[{', '.join(['0'] * len(leading) + [':', ':'])}]"
    return record


def _sampled(length: int) -> Iterator[int | None]:
    """The positions of an axis that a table shows. None stands for those left out."""
    if length <= SIDE:
        yield from range(length)
        return
    yield from range(HEAD)
    yield None
    yield from range(length - (SIDE - HEAD - 1), length)
