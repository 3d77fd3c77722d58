"""A graph as text for a terminal: the direct path on the left, and its inputs beside it."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, Values
from microtensor.text import LINE, columns, padded, safe_text
from microtensor.viz import labels
from microtensor.viz.labels import View

COLOURS = {
    "statistics": "33",
    "parameter": "32",
    "data": "34",
    "constant": "2",
    "failed": "31",
    "first": "35",
    "second": "36",
}


def to_tree(
    graph: Graph,
    *,
    view: View = "forward",
    ascii: bool = False,
    color: bool = False,
    values: Values = "none",
    lines: bool = False,
) -> str:
    """The graph from the result back to its inputs, one row per node.

    Below a node stands the input with the longest history, data before parameters. Its other inputs branch off in
    between. A node that has another row is only named; an arrow points to that row. Where there are modules or other
    scopes, a column names that of each node.

    Parameters
    ----------
    graph : Graph
    view : {"forward", "backward", "combined"}
        The last two add the gradients: single numbers, and the norms of arrays.
    ascii : bool
        Whether to draw with plain characters.
    color : bool
        Whether to colour each row by its kind, with ANSI sequences.
    values : {"none", "stats", "full"}
        With "stats" and "full", add minimum … mean … maximum of every result; so does the view "combined". With "full",
        arrays of at most 4×4 stand below their row. The graph must have been read with these values.
    lines : bool
        Whether to add the line of the program that made each result, where it was recorded.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.tree import to_tree
    >>> x = mt.tensor(3.0, requires_grad=True, name="x")
    >>> print(to_tree(mt.Graph.from_tensor(mt.exp(x) + x)))
    +              scalar
    ├─ ↓ x  input
    exp            scalar
    x  input       scalar
    """
    if view == "combined" and values == "none":
        values = "stats"
    rows = _rows(graph, ascii)
    heads = _heads(graph, view, values, lines)
    table = [[row.text, *([] if row.again else _columns(graph, row.node, heads))] for row in rows]
    if len(heads) > 1:
        table.insert(0, ["", *heads.values()])
    widths = [max(map(columns, column)) for column in zip_longest(*table, fillvalue="")]
    text = ["  ".join(map(padded, cells, widths)).rstrip() for cells in table]
    out, own = text[: len(text) - len(rows)], text[len(text) - len(rows) :]
    for line, row in zip(own, rows, strict=True):
        numbers = _numbers(row) if values == "full" and not row.again else []
        out += [_painted(line, row.node) if color else line, *numbers]
    return "\n".join(out)


class _Row(NamedTuple):
    """The text of a row, its node, whether it only refers to that node, and what stands before what is below it."""

    text: str
    node: GraphNode
    again: bool
    below: str


def _heads(graph: Graph, view: View, values: Values, lines: bool) -> dict[str, str]:
    """The columns after the first, each with its heading."""
    heads = {"shape": "shape"}
    if view != "forward":
        heads["gradient"] = "grad, ‖grad‖"
    if values != "none":
        heads["values"] = "min … mean … max"
    if graph.scopes:
        heads["scope"] = "in"
    if lines:
        heads["line"] = "line"
    return heads


def _columns(graph: Graph, node: GraphNode, heads: dict[str, str]) -> list[str]:
    texts = {
        "shape": labels.shape(node) if node.mark != "failed" else "",
        "gradient": labels.signed(node.grad) if node.kind != "constant" else "",
        "values": labels.values(node),
        "scope": safe_text(graph.scope_path(node.scope), LINE),
        "line": safe_text(node.line),
    }
    cells = [texts[head] for head in heads]
    if node.note:
        cells.append(("raised: " if node.mark == "failed" else "") + safe_text(node.note, 200))
    return cells


def _numbers(row: _Row) -> list[str]:
    """The rows of a small array, with its numbers below each other."""
    if row.node.shape == ():
        return []
    texts = [[labels.signed(value) for value in line] for line in row.node.table]
    width = max((columns(text) for line in texts for text in line), default=0)
    return [f"{row.below}[{'  '.join(' ' * (width - columns(t)) + t for t in line)}]" for line in texts]


def _painted(line: str, node: GraphNode) -> str:
    kind = node.mark or labels.family(node)
    return f"\x1b[{COLOURS[kind]}m{line}\x1b[0m" if kind in COLOURS else line


def _rows(graph: Graph, ascii: bool) -> list[_Row]:
    """Each row's text, its node, and whether the row only refers to it. There is no recursion, so any depth will do."""
    branch, bar, up, down = ("|- ", "|  ", "^ ", "v ") if ascii else ("├─ ", "│  ", "↑ ", "↓ ")
    inputs, uses = graph.inputs(), graph.consumers()
    depth = _depths(graph, inputs)
    claimed: set[int] = set()
    shown: set[int] = set()
    rows: list[_Row] = []

    def rank(number: int) -> tuple[int, int, int]:
        node = graph.nodes[number]
        last = [node.statistics, node.kind == "parameter", node.unrecorded, True]
        return last.index(True), depth[number], -number

    def sources(number: int) -> list[int]:
        return list(dict.fromkeys(edge.source for edge in inputs.get(number, [])))

    def chain(number: int) -> list[tuple[int, bool]]:
        """The longest way back from a node; True marks an end that only refers to a node of another chain."""
        found = []
        while number not in claimed:
            claimed.add(number)
            found.append((number, False))
            ahead = sources(number)
            if not ahead:
                return found
            number = max(ahead, key=rank)
        return [*found, (number, True)]

    # A task is a chain, the position in it, the prefix of its next row, and the prefix of the rows after that.
    tasks = [(chain(graph.root), 0, "", "")]
    while tasks:
        way, at, first, following = tasks.pop()
        number, refers = way[at]
        ahead = way[at + 1][0] if at + 1 < len(way) else None
        name = _name(graph.nodes[number], inputs.get(number, []), graph, len(uses[number]) > 1)
        if refers:
            rows.append(_Row(f"{first}{up if number in shown else down}{name}", graph.nodes[number], True, ""))
            continue
        shown.add(number)
        side = [chain(s) for s in sources(number) if s != ahead]
        rows.append(_Row(f"{first}{name}", graph.nodes[number], False, following + (bar if side else "   ")))
        if ahead is not None:
            tasks.append((way, at + 1, following, following))
        tasks += [(side_chain, 0, following + branch, following + bar) for side_chain in reversed(side)]
    return rows


def _depths(graph: Graph, inputs: dict[int, list[GraphEdge]]) -> list[int]:
    depth = [0] * len(graph.nodes)
    for node in graph.nodes:
        if node.unrecorded:
            continue
        depth[node.id] = max((depth[e.source] + 1 for e in inputs.get(node.id, []) if e.source < node.id), default=0)
    return depth


def _name(node: GraphNode, inputs: list[GraphEdge], graph: Graph, shared: bool) -> str:
    heading = labels.title(node, inputs, graph)
    unrecorded = "  unrecorded" if node.unrecorded else ""
    if node.kind == "module":
        return f"{heading}  {safe_text(node.role)}{unrecorded}"
    if node.kind in ("data", "constant"):
        role = safe_text(node.role)
        return f"{heading}  {role}" if role != heading else heading
    if node.kind == "parameter":
        # Where several operations read it, its other rows only refer to it. There are no frames that say whose it is.
        return f"{safe_text(labels.qualified(node)) if shared else heading}  parameter"
    name = safe_text(labels.own_name(node))
    heading = f"{heading} {labels.over(node)}" if node.over else heading
    return (f"{heading}  {name}" if name and name != heading else heading) + unrecorded
