"""A graph as DOT source, forward or backward, in the visual language of the project.

Ids are n0, n1, … in program order, one statement an edge, fixed order everywhere, so the same program gives
the same bytes. All text passes through :func:`microtensor.viz.labels.plain` and HTML escaping.
"""

from __future__ import annotations

import html
import math
from collections import defaultdict
from typing import Any, Literal, TypeAlias

import graphviz

from microtensor.graph import Graph, GraphEdge, GraphNode, GraphScope
from microtensor.viz import labels
from microtensor.viz.theme import ThemeName, palette

View: TypeAlias = Literal["forward", "backward"]

ZERO = 1e-12


def to_dot(graph: Graph, *, view: View = "forward", theme: ThemeName = "light", legend: bool = True) -> str:
    """The DOT source of a picture.

    Parameters
    ----------
    graph : Graph
    view : {"forward", "backward"}
        Forward shows what is computed, backward the same nodes with the gradients that come back.
    theme : {"light", "dark"}
    legend : bool
        Explain the kinds that occur.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.viz.dot import to_dot
    >>> x = mt.tensor(3.0, requires_grad=True, name="x")
    >>> to_dot(mt.Graph.from_tensor(x * x)).splitlines()[0]
    'digraph microtensor {'
    """
    return _Picture(graph, view, theme).source(legend)


class _Picture:
    """One picture being written."""

    def __init__(self, graph: Graph, view: View, theme: ThemeName) -> None:
        self.graph = graph
        self.backward = view == "backward"
        self.colour = palette(theme)
        self.inputs = graph.inputs()
        self.consumers = graph.consumers()
        self.spine = {graph.root} | {end for e in graph.edges if e.kind == "direct" for end in (e.source, e.target)}
        self.output = self._needs_output()
        self.pills = self._pills()
        norms = [e.grad for e in graph.edges if e.grad is not None and math.isfinite(e.grad) and e.grad >= ZERO]
        self.low, self.high = (min(norms), max(norms)) if norms else (1.0, 1.0)
        self.dot: Any = graphviz.Digraph("microtensor")

    def _needs_output(self) -> bool:
        """A loss is its operation; anything larger gets a node of its own at the end."""
        root = self.graph.nodes[self.graph.root]
        return root.kind not in ("data", "parameter", "constant") and root.shape != ()

    def _pills(self) -> set[tuple[int, int]]:
        """The edges that carry a pill: those of a result used more than once, where contributions add."""
        if not self.backward:
            return set()
        return {
            (edge.source, edge.target)
            for edges in self.consumers.values()
            if len(edges) > 1
            for edge in edges
            if edge.grad is not None
        }

    def source(self, legend: bool) -> str:
        c = self.colour
        self.dot.attr(
            "graph",
            bgcolor=c["bg"],
            rankdir="TB",
            ranksep="0.36" if any(s.statistics for s in self.graph.scopes) or self.backward else "0.28",
            nodesep="0.34",
            pad="0.25",
            newrank="true",
            fontname="Helvetica",
            fontsize="12",
            fontcolor=c["ink"],
        )
        if legend:
            self.dot.attr("graph", labelloc="b", label=self._legend())
        self.dot.attr("node", fontname="Helvetica", fontsize="12", fontcolor=c["ink"])
        self.dot.attr("edge", fontname="Helvetica", fontsize="10", fontcolor=c["muted"], arrowsize="0.75")
        self._body()
        for edge in self.graph.edges:
            self._edge(edge)
        if self.output:
            self._output_edge()
        return str(self.dot.source)

    # --- frames and what stands in them -------------------------------------------------------------------

    def _body(self) -> None:
        nodes: dict[int | None, list[GraphNode]] = defaultdict(list)
        for node in self.graph.nodes:
            nodes[node.scope].append(node)
        scopes: dict[int | None, list[GraphScope]] = defaultdict(list)
        for scope in self.graph.scopes:
            scopes[scope.parent].append(scope)
        first = self._first_appearance()
        self._fill(self.dot, None, nodes, scopes, first, 0)
        if self.output:
            self._output_node()

    def _first_appearance(self) -> dict[int, int]:
        first: dict[int, int] = {}
        for node in self.graph.nodes:
            for scope in self.graph.scope_chain(node.scope):
                first.setdefault(scope, node.id)
        return first

    def _fill(
        self,
        into: Any,
        scope: int | None,
        nodes: dict[int | None, list[GraphNode]],
        scopes: dict[int | None, list[GraphScope]],
        first: dict[int, int],
        depth: int,
    ) -> None:
        """Write frames and nodes in program order, but a statistics frame ahead, so that it hangs on the left."""
        entries: list[tuple[int, int, GraphNode | GraphScope]] = [(1, n.id, n) for n in nodes[scope]]
        entries += [(0 if s.statistics else 1, first.get(s.id, 0), s) for s in scopes[scope]]
        for _, _, entry in sorted(entries, key=lambda e: e[:2]):
            if isinstance(entry, GraphNode):
                self._pills_into(into, entry)
                self._node(into, entry)
                continue
            with into.subgraph(name=f"cluster_s{entry.id}") as frame:
                self._frame(frame, entry, depth)
                self._fill(frame, entry.id, nodes, scopes, first, depth + 1)
        for node in nodes[scope]:
            self._beside(into, node)

    def _frame(self, frame: Any, scope: GraphScope, depth: int) -> None:
        c = self.colour
        if scope.statistics:
            title = _font(labels.plain(scope.name) + " " * 14, 11, c["statistics-border"], bold=True)
            fill, border, style, margin = (
                "statistics-scope-fill",
                "statistics-scope-border",
                "rounded,filled,dashed",
                11,
            )
        else:
            title = _font(labels.plain(scope.name), 12, c["ink"], bold=True)
            if scope.detail:
                # The edges into a statistic enter beside the name, so a norm's frame has it in two short lines.
                stacked = any(s.statistics and s.parent == scope.id for s in self.graph.scopes)
                detail = _font(("" if stacked else "  ") + labels.plain(scope.detail), 11, c["muted"])
                title += f'<BR ALIGN="LEFT"/>{detail}<BR ALIGN="LEFT"/>' if stacked else detail
            else:
                # Room on the right keeps the name of a narrow frame beside the edge that enters at the middle.
                title += _font(" " * (2 * len(labels.plain(scope.name)) + 6), 12, c["ink"])
            fill, border, style, margin = (
                ("scope-odd" if depth % 2 else "scope-even"),
                "scope-border",
                "rounded,filled",
                13,
            )
        frame.attr(
            label=f"<{title}>",
            labelloc="t",
            labeljust="l",
            style=style,
            fillcolor=c[fill],
            color=c[border],
            penwidth="1.2",
            margin=str(margin),
            tooltip=_tooltip(f"{scope.name} {scope.detail}"),
            **{"class": "mt-scope mt-statistics" if scope.statistics else "mt-scope"},
        )

    def _beside(self, into: Any, node: GraphNode) -> None:
        """Put a parameter, and what is made of it alone, on the rank of the operation that reads it."""
        chain = []
        at = node
        while True:
            leaders = [e for e in self.inputs.get(at.id, []) if e.kind == "parameter"]
            if not leaders:
                break
            source = self.graph.nodes[leaders[-1].source]
            if source.scope != node.scope or len(self.consumers[source.id]) > 1:
                break
            chain.append(source)
            at = source
        feeds_same = any(e.kind == "parameter" for e in self.consumers.get(node.id, []))
        if chain and not feeds_same:
            with into.subgraph() as rank:
                rank.attr(rank="same")
                for source in reversed(chain):
                    rank.node(f"n{source.id}")
                rank.node(f"n{node.id}")

    # --- nodes --------------------------------------------------------------------------------------------

    def _node(self, into: Any, node: GraphNode) -> None:
        lines = self._lines(node)
        if node.kind == "parameter":
            self._parameter(into, node, lines)
        elif node.kind == "module":
            self._module(into, node)
        else:
            self._box(into, node, lines)

    def _lines(self, node: GraphNode) -> list[tuple[str, str]]:
        """The lines under the title, each with its colour."""
        second = labels.second(node)
        if not self.backward:
            return [(second, "muted")]
        if node.kind == "operation":
            rule = labels.rules(node, self.inputs.get(node.id, []), self.graph)
            second = rule or second
        contributions = sum(e.grad is not None for e in self.consumers.get(node.id, []))
        if node.kind == "constant" or (node.kind == "data" and node.grad is None):
            return [(second, "muted"), ("no gradient", "muted")]
        return [(second, "muted"), (labels.gradient(node, contributions), "gradient")]

    def _box(self, into: Any, node: GraphNode, lines: list[tuple[str, str]]) -> None:
        c = self.colour
        kind = self._family(node)
        heading = labels.title(node, self.inputs.get(node.id, []), self.graph)
        data = node.kind == "data"
        rows = [(_font(heading, 15 if data else 14, c["ink"], bold=True))]
        rows += [_font(text, 10, c[colour]) for text, colour in lines]
        into.node(
            f"n{node.id}",
            label=_table(rows),
            shape="box",
            style="rounded,filled,dashed" if node.kind == "constant" else "rounded,filled",
            fillcolor=c[f"{kind}-fill"],
            color=c[f"{kind}-border"],
            penwidth="2.2" if data else "1.4",
            margin="0.2,0.05" if data else "0.13,0.04",
            width="1.15" if data else "0.95",
            tooltip=self._tooltip_of(node),
            **self._place(node, kind),
        )

    def _family(self, node: GraphNode) -> str:
        if node.kind in ("data", "constant"):
            return node.kind
        return "statistics" if node.statistics else "operation"

    def _place(self, node: GraphNode, kind: str) -> dict[str, str]:
        attributes = {"class": f"mt-node mt-{kind}"}
        if node.id in self.spine:
            attributes["group"] = "spine"
        return attributes

    def _tooltip_of(self, node: GraphNode) -> str:
        words = [node.op or node.role or node.kind, node.name, labels.shape(node), node.dtype]
        return _tooltip("  ".join(word for word in words if word))

    def _parameter(self, into: Any, node: GraphNode, lines: list[tuple[str, str]]) -> None:
        c = self.colour
        heading = labels.title(node, [], self.graph)
        bar = f'<TD ROWSPAN="{1 + len(lines)}" WIDTH="7" CELLPADDING="0" BGCOLOR="{c["parameter-border"]}"></TD>'
        rows = f'<TR>{bar}<TD WIDTH="48">{_font(heading, 14, c["ink"], bold=True)}</TD></TR>'
        rows += "".join(f"<TR><TD>{_font(f' {text} ', 10, c[colour])}</TD></TR>" for text, colour in lines)
        table = (
            f'<<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" COLOR="{c["parameter-border"]}" '
            f'BGCOLOR="{c["parameter-fill"]}">{rows}</TABLE>>'
        )
        place = {k: v for k, v in self._place(node, "parameter").items() if k != "group"}
        into.node(f"n{node.id}", label=table, shape="plain", tooltip=self._tooltip_of(node), **place)

    def _module(self, into: Any, node: GraphNode) -> None:
        c = self.colour
        kind = self._family(node)
        heading = _font(labels.plain(node.op), 13, c["ink"], bold=True)
        rows = [heading + _font("  " + labels.plain(node.role), 11, c["muted"])]
        if node.parameters:
            listed = "  ".join(f"{labels.plain(name, 12)} {size}" for name, size in node.parameters[:4])
            listed += "  …" if len(node.parameters) > 4 else ""
            rows.append(_font(listed, 10, c["parameter-border"]))
        rows.append(_font(f"out {labels.shape(node)}", 10, c["muted"]))
        if self.backward:
            rows.append(_font(labels.gradient(node, len(self.consumers.get(node.id, []))), 10, c["gradient"]))
        into.node(
            f"n{node.id}",
            label=_table(rows, left=True, padding=2),
            shape="box",
            peripheries="2",
            style="rounded,filled",
            fillcolor=c[f"{kind}-fill"],
            color=c[f"{kind}-border"],
            penwidth="1.2",
            margin="0.12,0.04",
            width="2.15",
            tooltip=self._tooltip_of(node),
            **self._place(node, "module"),
        )

    def _output_node(self) -> None:
        root = self.graph.nodes[self.graph.root]
        node = GraphNode(
            id=root.id, kind="data", name=root.name or "output", role="output", shape=root.shape, dtype=root.dtype
        )
        c = self.colour
        rows = [_font(labels.plain(node.name), 15, c["ink"], bold=True), _font(labels.second(node), 10, c["muted"])]
        if self.backward:
            rows.append(_font(labels.gradient(root, 1), 10, c["gradient"]))
        self.dot.node(
            "output",
            label=_table(rows),
            shape="box",
            style="rounded,filled",
            fillcolor=c["data-fill"],
            color=c["data-border"],
            penwidth="2.2",
            margin="0.2,0.05",
            width="1.15",
            tooltip="output",
            group="spine",
            **{"class": "mt-node mt-data"},
        )

    # --- edges --------------------------------------------------------------------------------------------

    def _pills_into(self, into: Any, node: GraphNode) -> None:
        c = self.colour
        for edge in self.inputs.get(node.id, []):
            if (edge.source, edge.target) not in self.pills:
                continue
            zero = edge.grad is not None and edge.grad < ZERO
            attributes = {"group": "spine"} if edge.kind == "direct" else {}
            into.node(
                self._pill(edge),
                label=f"‖g‖ = {labels.number(edge.grad)}",
                shape="box",
                style="rounded,filled,dashed" if zero else "rounded,filled",
                fillcolor=c["constant-fill" if zero else "pill-fill"],
                color=c["constant-border" if zero else "gradient"],
                fontcolor=c["muted" if zero else "gradient"],
                fontsize="10",
                penwidth="0.8",
                height="0.24",
                width="0.3",
                margin="0.07,0.02",
                tooltip="norm of the contribution along this edge",
                **{"class": "mt-pill"},
                **attributes,
            )

    @staticmethod
    def _pill(edge: GraphEdge) -> str:
        return f"g{edge.source}_{edge.target}_{edge.argument}"

    def _edge(self, edge: GraphEdge) -> None:
        tail, head = f"n{edge.source}", f"n{edge.target}"
        style = self._backward_style(edge) if self.backward else self._forward_style(edge)
        if (edge.source, edge.target) in self.pills:
            pill = self._pill(edge)
            self.dot.edge(tail, pill, **style)
            self.dot.edge(pill, head, **{**style, "dir": "none"})
        else:
            self.dot.edge(tail, head, **style)

    def _forward_style(self, edge: GraphEdge) -> dict[str, str]:
        style = {"color": self.colour[f"edge-{edge.kind}"], "penwidth": "1.4", "class": f"mt-edge mt-{edge.kind}"}
        if edge.kind == "direct":
            style |= {"penwidth": "2.8", "weight": "9"}
        elif edge.kind == "constant":
            style["style"] = "dashed"
        return style

    def _backward_style(self, edge: GraphEdge) -> dict[str, str]:
        c = self.colour
        style = {"class": f"mt-edge mt-gradient mt-{edge.kind}", "dir": "back", "arrowsize": "0.7"}
        if edge.kind == "direct":
            style["weight"] = "9"
        if edge.grad is None:
            return style | {"color": c["edge-constant"], "penwidth": "1", "style": "dashed", "dir": "none"}
        if edge.grad < ZERO:
            return style | {"color": c["edge-constant"], "penwidth": "1", "style": "dashed"}
        if not math.isfinite(edge.grad):
            double = f"{c['gradient']}:{c['gradient']}"
            return style | {"color": double, "penwidth": "2.5", "label": f" {labels.number(edge.grad)}"}
        return style | {"color": c["gradient"], "penwidth": f"{self._width(edge.grad):.2f}"}

    def _width(self, norm: float) -> float:
        if self.high <= self.low:
            return 2.5
        span = math.log10(self.high) - math.log10(self.low)
        return min(5.5, max(1.0, 1 + 4.5 * (math.log10(norm) - math.log10(self.low)) / span))

    def _output_edge(self) -> None:
        root = self.graph.nodes[self.graph.root]
        edge = GraphEdge(root.id, root.id, 0, "direct", root.grad)
        style = self._backward_style(edge) if self.backward else self._forward_style(edge)
        self.dot.edge(f"n{root.id}", "output", **style)

    # --- legend -------------------------------------------------------------------------------------------

    def _legend(self) -> str:
        c = self.colour
        kinds = {n.kind for n in self.graph.nodes}
        items = []
        if self.backward:
            items.append((_swatch_line(c["gradient"]), "gradient, width ~ log of its norm"))
        if not self.backward and ("data" in kinds or self.output):
            items.append((_swatch_box(c["data-fill"], c["data-border"], 2), "data"))
        if "parameter" in kinds:
            items.append((_swatch_parameter(c), "parameter"))
        elif any(n.parameters for n in self.graph.nodes):
            items.append((_swatch_parameter(c), "parameters in green text"))
        if not self.backward and any(
            self._family(n) == "operation" and n.kind == "operation" for n in self.graph.nodes
        ):
            items.append((_swatch_box(c["operation-fill"], c["operation-border"], 1), "operation"))
        if any(n.statistics for n in self.graph.nodes):
            held = not any(n.statistics and n.kind == "operation" for n in self.graph.nodes)
            words = "through the statistics" if self.backward else "statistics path"
            words = "holds a statistics path" if held else words
            items.append((_swatch_box(c["statistics-fill"], c["statistics-border"], 1), words))
        if not self.backward and any(e.kind == "direct" for e in self.graph.edges):
            items.append((_swatch_line(c["edge-direct"]), "direct path"))
        cells = "".join(
            f'<TD>{swatch}</TD><TD ALIGN="LEFT">{_font(words + "  ", 10, c["muted"])}</TD>' for swatch, words in items
        )
        if not cells:
            return ""
        return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="1"><TR>{cells}</TR></TABLE>>'


# --- markup -----------------------------------------------------------------------------------------------


def _font(text: str, size: int, colour: str, bold: bool = False) -> str:
    # A backslash starts one of Graphviz's own escapes even in markup.
    inner = html.escape(text or " ").replace("\\", "\\\\")
    if bold:
        inner = f"<B>{inner}</B>"
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{inner}</FONT>'


def _table(rows: list[str], left: bool = False, padding: int = 1) -> str:
    align = ' ALIGN="LEFT"' if left else ""
    cells = "".join(f"<TR><TD{align}>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">{cells}</TABLE>>'


def _tooltip(text: str) -> str:
    return str(graphviz.escape(labels.plain(text, 500)))


def _swatch_line(colour: str) -> str:
    cell = f'<TR><TD FIXEDSIZE="TRUE" WIDTH="26" HEIGHT="4" BGCOLOR="{colour}"></TD></TR>'
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cell}</TABLE>'


def _swatch_box(fill: str, border: str, width: int) -> str:
    return (
        f'<TABLE BORDER="{width}" CELLBORDER="0" STYLE="ROUNDED" COLOR="{border}" BGCOLOR="{fill}" CELLPADDING="0">'
        '<TR><TD WIDTH="22" HEIGHT="9"></TD></TR></TABLE>'
    )


def _swatch_parameter(c: dict[str, str]) -> str:
    return (
        f'<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" COLOR="{c["parameter-border"]}" '
        f'BGCOLOR="{c["parameter-fill"]}" CELLPADDING="0"><TR><TD WIDTH="6" HEIGHT="12" '
        f'BGCOLOR="{c["parameter-border"]}"></TD><TD WIDTH="18"></TD></TR></TABLE>'
    )
