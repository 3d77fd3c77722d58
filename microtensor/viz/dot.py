"""A graph as DOT source: what is computed, the gradients that come back, or both.

Ids are n0, n1, … in the order of the program, and each edge is one statement. The order is fixed everywhere, so the
same program gives the same bytes. Foreign text passes through :func:`microtensor.text.safe_text`. Then it is
escaped for HTML where it stands in markup, and quoted by :mod:`microtensor.viz.source`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from microtensor.inspect.graph import Graph, GraphEdge, GraphNode, GraphScope, Values
from microtensor.text import safe_text
from microtensor.viz import labels
from microtensor.viz.frames import contents, first_nodes
from microtensor.viz.labels import View
from microtensor.viz.layout import Layout
from microtensor.viz.legend import legend as legend_of
from microtensor.viz.markup import boxed, font, label, numbers, table
from microtensor.viz.source import Source
from microtensor.viz.story import path_names
from microtensor.viz.theme import ThemeName, palette

__all__ = ["View", "to_dot"]

ZERO = 1e-12
# What a mark changes: the line round a node, or an edge. A dotted line tells the second graph from the first.
MARKS = {
    "failed": {"color": "failed", "fillcolor": "failed-fill", "penwidth": "3"},
    "first": {"color": "first", "penwidth": "2.8"},
    "second": {"color": "second", "penwidth": "2.8", "style": "rounded,filled,dotted"},
}
MARKED_EDGES = {
    "first": {"color": "first", "penwidth": "1.9", "style": "solid"},
    "second": {"color": "second", "penwidth": "1.9", "style": "dotted"},
}
KINDS_OF_EDGES = {"direct": {"penwidth": "2.8", "weight": "9"}, "constant": {"style": "dashed"}}
DATA_SIZE = {"margin": "0.2,0.05", "width": "1.15"}
SLIDE_SIZE = {"margin": "0.045,0.03", "width": "0.5"}


PLAIN = Layout()
# On a slide, the name of a path has lines of so many letters.
PILL_WIDTH = 8
NO_ROOM: Mapping[str, int] = {}


def to_dot(
    graph: Graph,
    *,
    view: View = "forward",
    theme: ThemeName = "light",
    legend: bool = True,
    values: Values = "none",
    layout: Layout = PLAIN,
    room: Mapping[str, int] = NO_ROOM,
    told: str = "",
) -> str:
    """The DOT source of a picture.

    Parameters
    ----------
    graph : Graph
    view : {"forward", "backward", "combined"}
        "forward" shows what is computed. "backward" shows the same nodes with the gradients that come back. "combined"
        shows both: every edge has a lane down for the value and a lane up for the gradient.
    theme : {"light", "dark"}
    legend : bool
        Whether to explain signs and colours below the picture.
    values : {"none", "stats", "full"}
        With "stats", every node has minimum, mean and maximum of its result. With "full", small arrays are shown
        whole. The graph must have been read with these values.
    layout : Layout
        The direction, and the size of the text.
    room : mapping
        How many times the width of its name a frame needs beside it, so that no edge runs through the name.
    told : str
        A sentence below the legend.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.dot import to_dot
    >>> x = mt.tensor(3.0, requires_grad=True, name="x")
    >>> to_dot(mt.Graph.from_tensor(x * x)).splitlines()[0]
    'digraph microtensor {'
    """
    return _Picture(graph, view, theme, values, layout, room).source(legend, told)


class _Picture:
    """One picture being written."""

    def __init__(
        self, graph: Graph, view: View, theme: ThemeName, values: Values, layout: Layout, room: Mapping[str, int]
    ) -> None:
        self.graph = graph
        self.layout = layout
        self.room = room
        self.view: View = view
        self.values: Values = values
        self.colour = palette(theme)
        self.inputs = graph.inputs()
        self.consumers = graph.consumers()
        self.spine = {graph.root} | {end for e in graph.edges if e.kind == "direct" for end in (e.source, e.target)}
        self.normed = {scope.parent for scope in graph.scopes if scope.statistics}
        self.output = self._needs_output()
        self.pills = self._pills()
        self.paths = path_names(graph) if view != "forward" else {}
        norms = [abs(e.grad) for e in graph.edges if e.grad is not None and math.isfinite(e.grad)]
        norms = [norm for norm in norms if norm >= ZERO]
        self.low, self.high = (min(norms), max(norms)) if norms else (1.0, 1.0)
        self.dot = Source("microtensor", self.colour, layout.size)

    def _needs_output(self) -> bool:
        """Whether the result gets a node of its own at the end; a scalar, such as a loss, does not."""
        root = self.graph.nodes[self.graph.root]
        return root.kind not in ("data", "parameter", "constant") and root.shape != ()

    def _pills(self) -> set[tuple[int, int, int]]:
        """The edges with a pill: those of results that are used more than once, where contributions add up.

        So is an edge with another result of a folded scope than the one that its card shows.
        """
        if self.view == "forward":
            return set()
        return {
            edge.key
            for edges in self.consumers.values()
            for edge in edges
            if edge.grad is not None and (edge.other or sum(e.grad is not None and not e.other for e in edges) > 1)
        }

    def source(self, legend: bool, told: str) -> str:
        self.dot.defaults(
            graph={
                "ranksep": self._rank_gap(),
                "nodesep": "0.2" if self.layout.slide else "0.34",
                "newrank": "true",
                "rankdir": self.layout.direction.upper(),
                "pad": "0.1" if self.layout.slide else "0.25",
            },
            edge={"arrowsize": "0.55" if self.layout.slide else "0.75"},
            legend=legend_of(self.graph, self.view, self.values, self.colour, told) if legend else "",
        )
        self._body()
        for edge in self.graph.edges:
            self._edge(edge)
        if self.output:
            self._edge_to_output()
        return self.dot.text()

    def _rank_gap(self) -> str:
        if self.view == "combined":
            return "0.5"  # both arrowheads of a short edge need room
        if self.layout.slide:
            return "0.17"
        return "0.36" if self.view == "backward" or any(s.statistics for s in self.graph.scopes) else "0.28"

    # --- frames and what stands in them -------------------------------------------------------------------

    def _body(self) -> None:
        nodes, scopes = contents(self.graph)
        first, levels = first_nodes(self.graph), self.graph.scope_levels()

        def entries(scope: int | None) -> list[GraphNode | GraphScope]:
            """Frames and nodes in the order of the program. A frame of statistics comes first, to stand on the left."""
            found: list[tuple[int, int, GraphNode | GraphScope]] = [(1, n.id, n) for n in nodes[scope]]
            found += [(0 if s.statistics else 1, first.get(s.id, 0), s) for s in scopes[scope]]
            return [entry for *_, entry in sorted(found, key=lambda e: e[:2])]

        # A node, a frame to open, or the number of a frame to close; None is the whole picture.
        tasks: list[GraphNode | GraphScope | int | None] = [None, *reversed(entries(None))]
        while tasks:
            task = tasks.pop()
            if isinstance(task, GraphNode):
                self._pills_of(task)
                self._node(task)
            elif isinstance(task, GraphScope):
                self.dot.open(f"cluster_s{task.id}")
                self._frame(task, levels[task.id])
                tasks += [task.id, *reversed(entries(task.id))]
            else:
                for node in nodes[task]:
                    self._beside(node)
                if task is not None:
                    self.dot.close()
        if self.output:
            self._output_node()

    def _frame(self, scope: GraphScope, depth: int) -> None:
        c = self.colour
        name, detail = safe_text(scope.name), safe_text(scope.detail)
        title = font(name, 12, c["ink"], bold=True)
        if scope.statistics:
            title = font(name + " " * 14, 11, c["statistics-border"], bold=True)
        elif scope.detail and scope.id in self.normed:
            # The edges into a statistic enter beside the name, so a norm's frame has its name in two short lines.
            title += f'<BR ALIGN="LEFT"/>{font(detail, 11, c["muted"])}<BR ALIGN="LEFT"/>'
        elif scope.detail:
            title += font("  " + detail, 11, c["muted"])
        else:
            # With room on the right, the name of a narrow frame is not under the edge that enters at the middle.
            title += font(" " * (2 * len(name) + 6), 12, c["ink"])
        if wanted := self.room.get(f"cluster_s{scope.id}"):
            # A space is half as wide as another letter.
            title += font(" " * (2 * wanted * max(len(name), len(detail))), 11, c["ink"])
        kind = "statistics-scope" if scope.statistics else "scope"
        fill = f"{kind}-fill" if scope.statistics else "scope-odd" if depth % 2 else "scope-even"
        self.dot.attributes(
            label=label(title),
            labelloc="t",
            labeljust="l",
            style="rounded,filled,dashed" if scope.statistics else "rounded,filled",
            fillcolor=fill,
            color=f"{kind}-border",
            penwidth="1.2",
            margin="8" if self.layout.slide else "11" if scope.statistics else "13",
            tooltip=safe_text(f"{scope.name} {scope.detail}", labels.TOOLTIP),
            **{"class": "mt-scope mt-statistics" if scope.statistics else "mt-scope"},
        )

    def _beside(self, node: GraphNode) -> None:
        """Put a parameter, and what is computed from it alone, beside the operation that reads it."""
        if any(e.kind == "parameter" for e in self.consumers.get(node.id, [])):
            return
        chain = [node]
        while leaders := [e for e in self.inputs.get(chain[-1].id, []) if e.kind == "parameter"]:
            source = self.graph.nodes[leaders[-1].source]
            if source.scope != node.scope or len(self.consumers[source.id]) > 1 or source.id >= chain[-1].id:
                break
            chain.append(source)
        if len(chain) > 1:
            self.dot.open()
            self.dot.attributes(rank="same")
            for source in reversed(chain):
                self.dot.node(f"n{source.id}")
            self.dot.close()

    # --- nodes --------------------------------------------------------------------------------------------

    def _node(self, node: GraphNode) -> None:
        inputs = self.inputs.get(node.id, [])
        lines = labels.lines(node, self.consumers.get(node.id, []), self.view, self.values)
        if not (self.values == "full" and node.table):
            lines = self._short(lines)
        write = {"parameter": self._parameter, "module": self._module}.get(node.kind, self._box)
        write(node, labels.title(node, inputs, self.graph), lines)

    def _short(self, lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Lines of a label. On a slide they are short, and the gradient has the letter that it has in the formulas."""
        if not self.layout.slide:
            return lines
        letter = f"‖{safe_text(self.graph.letters[0], 8)}‖"
        return [(part, c) for text, c in lines for part in self.layout.lines(text.replace("‖grad‖", letter))]

    def _rows(self, node: GraphNode, lines: list[tuple[str, str]]) -> list[str]:
        """The lines as markup, with the numbers of a small array in place of their range."""
        rows = [font(text, 10, self.colour[colour]) for text, colour in lines]
        if self.values == "full" and node.table and node.shape != ():
            rows[len(labels.heading(node, self.view))] = numbers(node.table, self.colour["muted"])
        return rows

    def _write(self, node: GraphNode, attributes: dict[str, str]) -> None:
        """Write the node with its tooltip. On the direct path it stands in one line with the rest of that path."""
        if node.id in self.spine and node.kind != "parameter":
            attributes = attributes | {"group": "spine"}
        self.dot.node(f"n{node.id}", **attributes, tooltip=labels.tooltip(node))

    def _box(self, node: GraphNode, title: str, lines: list[tuple[str, str]]) -> None:
        size = DATA_SIZE if node.kind == "data" else {"margin": "0.13,0.04", "width": "0.95"}
        size = SLIDE_SIZE if self.layout.slide else size
        repeated = {"peripheries": "2"} if node.repeats > 1 else {}
        beside = labels.beside(node, self.view)
        box = boxed(title, self._rows(node, lines), labels.family(node), self.colour, beside)
        self._write(node, box | size | repeated | MARKS.get(node.mark, {}))

    def _parameter(self, node: GraphNode, title: str, lines: list[tuple[str, str]]) -> None:
        c = self.colour
        border = c[MARKS.get(node.mark, {}).get("color", "parameter-border")]
        texts = self._rows(node, [(f" {text} ", colour) for text, colour in lines])
        bar = f'<TD ROWSPAN="{len(texts) + 1}" WIDTH="7" CELLPADDING="0" BGCOLOR="{border}"></TD>'
        rows = f'<TR>{bar}<TD WIDTH="48">{font(title, 14, c["ink"], bold=True)}</TD></TR>'
        rows += "".join(f"<TR><TD>{text}</TD></TR>" for text in texts)
        markup = label(
            f'<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" COLOR="{border}" '
            f'BGCOLOR="{c["parameter-fill"]}">{rows}</TABLE>'
        )
        self._write(node, {"label": markup, "shape": "plain", "class": "mt-node mt-parameter"})

    def _module(self, node: GraphNode, title: str, lines: list[tuple[str, str]]) -> None:
        c = self.colour
        rows = [font(title, 13, c["ink"], bold=True) + font("  " + safe_text(node.role), 11, c["muted"])]
        if node.parameters:
            each = "  each" if node.repeats > 1 else ""
            listed = self.layout.lines(labels.parameters(node) + each)
            rows += [font(text, 10, c["parameter-border"]) for text in listed]
        rows.append(font(f"out {labels.shape(node)}", 10, c["muted"]))
        rows += [font(text, 10, c[colour]) for text, colour in lines[1:]]
        card = {
            "label": table(rows, left=True, padding=2),
            "penwidth": "1.2",
            "peripheries": "2",
            "margin": "0.12,0.04",
            "width": "0.5" if self.layout.slide else "2.15",
            "class": "mt-node mt-module",
        }
        self._write(node, boxed(title, [], labels.family(node), c) | card | MARKS.get(node.mark, {}))

    def _output_node(self) -> None:
        root = self.graph.nodes[self.graph.root]
        lines = [(f"output  {labels.shape(root)}", "muted")]
        if self.view != "forward":
            arrow = "↑ " if self.view == "combined" else ""
            lines.append((arrow + labels.gradient(root, 1), "gradient"))
        lines = self._short(lines)
        rows = [font(text, 10, self.colour[colour]) for text, colour in lines]
        box = boxed(safe_text(root.name or "output"), rows, "data", self.colour)
        size = SLIDE_SIZE if self.layout.slide else DATA_SIZE
        self.dot.node("output", **box | size, tooltip="output", group="spine")

    # --- edges --------------------------------------------------------------------------------------------

    def _pills_of(self, node: GraphNode) -> None:
        for edge in self.inputs.get(node.id, []):
            if edge.key not in self.pills:
                continue
            zero = edge.grad is not None and abs(edge.grad) < ZERO
            self.dot.node(
                self._pill(edge),
                label=self._pill_label(edge, "muted" if zero else "gradient"),
                shape="box",
                style="rounded,filled,dashed" if zero else "rounded,filled",
                fillcolor="constant-fill" if zero else "pill-fill",
                color="constant-border" if zero else "gradient",
                fontcolor="muted" if zero else "gradient",
                fontsize="10",
                penwidth="0.8",
                height="0.24",
                width="0.3",
                margin="0.04,0.045" if self.layout.slide else "0.07,0.02",
                tooltip="the contribution along this edge",
                **{"class": "mt-pill"} | ({"group": "spine"} if edge.kind == "direct" else {}),
            )

    def _pill_label(self, edge: GraphEdge, colour: str) -> str:
        """What comes back along an edge, and the name of its path where the gradient of a norm parts."""
        name = self.paths.get(edge.key, "")
        if not name:
            return safe_text(f"{edge.other}  " if edge.other else "", 24) + self._flow(edge)
        rows = textwrap.wrap(name, PILL_WIDTH) if self.layout.slide else [name]
        return table([font(text, 10, self.colour[colour]) for text in (*rows, self._flow(edge))], padding=0)

    def _flow(self, edge: GraphEdge) -> str:
        text = labels.flow(edge, self.graph.nodes[edge.source], safe_text(self.graph.letters[0], 8))
        return text.replace(" = ", " ") if self.layout.slide else text

    @staticmethod
    def _pill(edge: GraphEdge) -> str:
        return f"g{edge.source}_{edge.target}_{edge.argument}"

    def _edge(self, edge: GraphEdge) -> None:
        tail, head = f"n{edge.source}", f"n{edge.target}"
        style = self._style(edge)
        if edge.key in self.pills:
            pill = self._pill(edge)
            up, down = ({"dir": "back"}, {"dir": "forward"}) if style.get("dir") == "both" else ({}, {"dir": "none"})
            self.dot.edge(tail, pill, **style | up)
            self.dot.edge(pill, head, **style | down)
        else:
            self.dot.edge(tail, head, **style)

    def _style(self, edge: GraphEdge) -> dict[str, str]:
        if self.view == "backward":
            return self._backward_style(edge)
        style = {"color": f"edge-{edge.kind}", "penwidth": "1.4", "class": f"mt-edge mt-{edge.kind}"}
        style |= KINDS_OF_EDGES.get(edge.kind, {}) | MARKED_EDGES.get(edge.mark, {})
        if self.view == "combined" and edge.grad is not None:
            # Two lanes: the head has the first colour, the arrow at the tail the last.
            style |= {"color": f"{style['color']}:gradient", "dir": "both", "arrowsize": "0.65"}
            style["penwidth"] = "2.2" if edge.kind == "direct" else "1.4"
        return style

    def _backward_style(self, edge: GraphEdge) -> dict[str, str]:
        style = {"class": f"mt-edge mt-gradient mt-{edge.kind}", "dir": "back"}
        style["arrowsize"] = "0.5" if self.layout.slide else "0.7"
        if edge.kind == "direct":
            style["weight"] = "9"
        if edge.grad is None or abs(edge.grad) < ZERO:
            style |= {"color": "edge-constant", "penwidth": "1", "style": "dashed"}
            return style if edge.grad is not None else style | {"dir": "none"}
        if math.isfinite(edge.grad):
            return style | {"color": "gradient", "penwidth": f"{self._width(abs(edge.grad)):.2f}"}
        return style | {"color": "gradient:gradient", "penwidth": "2.5", "label": f" {labels.signed(edge.grad)}"}

    def _width(self, norm: float) -> float:
        if self.high <= self.low:
            return 2.5
        span = math.log10(self.high) - math.log10(self.low)
        most = 2.6 if self.layout.slide else 4.5
        return min(most + 1.0, max(1.0, 1 + most * (math.log10(norm) - math.log10(self.low)) / span))

    def _edge_to_output(self) -> None:
        root = self.graph.nodes[self.graph.root]
        self.dot.edge(f"n{root.id}", "output", **self._style(GraphEdge(root.id, root.id, 0, "direct", root.grad)))
