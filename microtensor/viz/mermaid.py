"""A graph as a Mermaid flow chart. GitHub shows it as a picture in README files and issues."""

from __future__ import annotations

import re
from collections import defaultdict

from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, GraphScope, Values
from microtensor.text import safe_text
from microtensor.viz import labels
from microtensor.viz.frames import contents
from microtensor.viz.labels import View
from microtensor.viz.layout import Direction
from microtensor.viz.theme import palette

OPEN_CLOSE = {
    "data": ("([", "])"),
    "parameter": ("[", "]"),
    "constant": ("[", "]"),
    "operation": ("(", ")"),
    "function": ("[[", "]]"),
    "module": ("[[", "]]"),
}
# Mermaid's entities begin with # in place of &. Before Mermaid parses, it reads %%{…}%% as a directive, and cuts the
# last ; from a line with style and a colon. A ` would start Markdown.
APART = "\u200b"
ENTITIES = {ord(c): f"#{ord(c)};" for c in f'#"&<>`$%*:;@_{{|}}~\\{APART}'}
# After it has read the entities, it finds a formula between $$, an icon in fa:fa-, and the end of a line in \n. So
# these signs are separated by a space of no width.
JOINED = re.compile(r"\$(?=\$)|:(?=fa-)|\\")
# In a line with this word, even inside quotes, Mermaid reads the whole line as the direction of the chart.
DIRECTION = re.compile(r"d(?=irection\s)")
# Deeper frames are not indented further, else the text would grow with the square of the depth.
DEEPEST = 8
# What Mermaid draws where nobody has raised its limits.
MOST_EDGES, MOST_CHARACTERS = 500, 50_000
MARKS = ("first", "second", "failed")


def to_mermaid(
    graph: Graph, *, view: View = "forward", values: Values = "none", direction: Direction | None = None
) -> str:
    r"""The graph as ``flowchart TD`` in light colours.

    Mermaid draws at most 500 edges and 50,000 characters, unless the page that shows the chart raises these limits.

    Parameters
    ----------
    graph : Graph
    view : {"forward", "backward", "combined"}
        The last two write the gradient on every edge: a single number, or the norm of an array.
    values : {"none", "stats", "full"}
        As in :func:`to_dot`, but small arrays are never shown whole.
    direction : {"tb", "lr"}, optional
        From top to bottom, or from left to right, as ``flowchart LR``.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.mermaid import to_mermaid
    >>> x = mt.tensor([3.0], requires_grad=True, name="x")
    >>> print("\n".join(to_mermaid(mt.Graph.from_tensor(mt.exp(x))).splitlines()[:4]))
    flowchart TD
      n0(["<b>x</b><br/>input  (1,)"]):::data
      n1("<b>exp</b><br/>(1,)"):::operation
      n0 ==> n1
    """
    return _Chart(graph, view, values, "LR" if direction == "lr" else "TD").text()


def refusal(graph: Graph, chart: str) -> str:
    """Why GitHub does not draw a chart; empty when it does."""
    if len(graph.edges) <= MOST_EDGES and len(chart) <= MOST_CHARACTERS:
        return ""
    return (
        f"GitHub refuses to draw a Mermaid chart of over {MOST_EDGES} edges or {MOST_CHARACTERS:,} characters. "
        f"This one has {len(graph.edges):,} edges and {len(chart):,} characters. "
        "Fold it with --depth or --collapse, or take --format svg"
    )


class _Chart:
    def __init__(self, graph: Graph, view: View, values: Values, direction: str) -> None:
        self.graph, self.view, self.values = graph, view, values
        self.inputs, self.consumers, self.levels = graph.inputs(), graph.consumers(), graph.scope_levels()
        self.lines = [f"flowchart {direction}"]

    def text(self) -> str:
        nodes, scopes = contents(self.graph)
        # A task is a frame to open, or its last line. There is no recursion, so any depth of scopes will do.
        tasks: list[GraphScope | str | None] = [None]
        while tasks:
            task = tasks.pop()
            if isinstance(task, str):
                self.lines.append(task)
                continue
            number, level = (None, 0) if task is None else (task.id, self.levels[task.id] + 1)
            indent = "  " * min(level, DEEPEST)
            if task is not None:
                detail = f" {entities(safe_text(task.detail))}" if task.detail else ""
                self.lines.append(f'{indent}subgraph s{number}["<b>{entities(safe_text(task.name))}</b>{detail}"]')
                tasks.append(f"{indent}end")
            self.lines += [f"{indent}  {self._node(node)}" for node in nodes[number]]
            tasks += reversed(scopes[number])
        self.lines += [f"  {self._edge(edge)}" for edge in self.graph.edges]
        self._styles()
        return "\n".join(self.lines) + "\n"

    def _node(self, node: GraphNode) -> str:
        inputs, uses = self.inputs.get(node.id, []), self.consumers.get(node.id, [])
        title = entities(labels.title(node, inputs, self.graph))
        if node.kind == "module":
            title += f"</b> {entities(safe_text(node.role))}<b>"
        name = labels.beside(node, self.view)
        lines = [f"<b>{title}</b>".removesuffix("<b></b>") + (f" {entities(name)}" if name else "")]
        if node.parameters:
            lines.append(entities(labels.parameters(node)))
        found = labels.lines(node, uses, self.view, self.values)
        lines += [entities(text) for text, _ in found]
        left, right = OPEN_CLOSE[node.kind]
        return f'n{node.id}{left}"{"<br/>".join(lines)}"{right}:::{_class(node)}'

    def _edge(self, edge: GraphEdge) -> str:
        arrow = {"direct": "==>", "constant": "-.->"}.get(edge.kind, "-->")
        if self.view == "backward":
            arrow = {"==>": "===", "-.->": "-.-"}.get(arrow, "---")
        label = ""
        if self.view != "forward" and edge.grad is not None:
            label = f'|"↑ {labels.signed(edge.grad)}"|'
        return f"n{edge.source} {arrow}{label} n{edge.target}"

    def _styles(self) -> None:
        c = palette("light")
        for name in dict.fromkeys(_class(node) for node in self.graph.nodes):
            family = name if f"{name}-fill" in c else "operation"
            stroke = c.get(name) or c[f"{family}-border"]
            more = ",stroke-dasharray:4 3" if name in ("constant", "second") else ""
            more += ",stroke-width:3px" if name in MARKS else ""
            self.lines.append(f"  classDef {name} fill:{c[f'{family}-fill']},stroke:{stroke},color:{c['ink']}{more}")
        for scope in self.graph.scopes:
            if scope.statistics:
                fill, border, dash = c["statistics-scope-fill"], c["statistics-scope-border"], ",stroke-dasharray:5 3"
            else:
                fill, border, dash = (
                    c["scope-odd" if self.levels[scope.id] % 2 else "scope-even"],
                    c["scope-border"],
                    "",
                )
            self.lines.append(f"  style s{scope.id} fill:{fill},stroke:{border},color:{c['ink']}{dash}")
        colours: dict[str, list[int]] = defaultdict(list)
        for i, edge in enumerate(self.graph.edges):
            name = edge.mark if edge.mark in MARKS else f"edge-{edge.kind}"
            if self.view == "backward" and edge.grad is not None:
                name = "gradient"
            colours[c[name]].append(i)
        for colour, numbers in colours.items():
            self.lines.append(f"  linkStyle {','.join(map(str, numbers))} stroke:{colour}")


def entities(text: str) -> str:
    """Safe text for a quoted label of Mermaid. Every sign with a meaning in Mermaid becomes an entity."""
    parted = JOINED.sub(lambda m: m[0] + APART, text)
    return DIRECTION.sub("#100;", parted.translate(ENTITIES))


def _class(node: GraphNode) -> str:
    return node.mark if node.mark in MARKS else labels.family(node)
