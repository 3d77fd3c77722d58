"""The ledger of a gradient as DOT source: a line of its own for every path, as thick as what it carries.

What all paths share is drawn once, in grey, and long stretches of it as one box; where they part, each has its
colour and its style, and a pill with its name and norm beside x.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from microtensor.inspect.ledger import Ledger, NormSection, Path
from microtensor.inspect.ledger.table import bounds
from microtensor.support.text import safe_text
from microtensor.viz.engine import Engine, layout
from microtensor.viz.labels import TOOLTIP, number
from microtensor.viz.markup import font, label, table
from microtensor.viz.source import Source
from microtensor.viz.svg import Theme, finish
from microtensor.viz.theme import ThemeName, palette

PathsFormat: TypeAlias = Literal["svg", "png", "dot"]

PNG_DPI = 144

DIRECT, MEAN, SCALE, ZERO = (
    ("edge-direct", "data-fill", "solid"),
    ("gradient", "pill-fill", "dashed"),
    ("edge-statistics", "statistics-fill", "solid"),
    ("edge-constant", "constant-fill", "dashed"),
)
OTHER = ("edge-parameter", "parameter-fill", "solid")
NAMED = {"direct": DIRECT, "via the mean": MEAN, "around the norm": OTHER}
# Drawn to the left of the direct path.
BESIDE = frozenset({"via the variance", "via the mean square", "via the sum of squares"})
SHARED_RUN, OWN_RUN = 3, 6
MOST_BLOCKS, MOST_PATHS = 3, 8


def paths_to_dot(ledger: Ledger, *, theme: ThemeName = "light", legend: bool = True) -> str:
    """The DOT source of a drawn ledger, norm by norm; of many, the first few.

    Parameters
    ----------
    ledger : Ledger
    theme : {"light", "dark"}
    legend : bool
        Say below what a norm takes out of the gradient.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.ledger import paths
    >>> from microtensor.viz.paths import paths_to_dot
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> paths_to_dot(paths(mt.tanh(x) * x, x, [1.0, 1.0])).splitlines()[0]
    'digraph paths {'
    """
    c = palette(theme)
    dot = Source("paths")
    dot.attributes(
        "graph",
        bgcolor=c["bg"],
        rankdir="TB",
        ranksep="0.36",
        nodesep="0.3",
        pad="0.25",
        fontname="Helvetica",
        fontsize="12",
        fontcolor=c["ink"],
    )
    dot.attributes("node", fontname="Helvetica", fontsize="12", fontcolor=c["ink"])
    dot.attributes("edge", fontname="Helvetica", fontsize="10", fontcolor=c["muted"], arrowsize="0.7", dir="back")
    shown = ledger.blocks[:MOST_BLOCKS]
    for i, block in enumerate(shown):
        if len(shown) == 1:
            _Drawing(dot, ledger, block, c, "n").draw()
            continue
        title = font(safe_text(block.title), 12, c["ink"], bold=True)
        dot.open(f"cluster_{i}")
        dot.attributes(
            label=label(title + font("  " + safe_text(block.detail), 11, c["muted"])),
            labeljust="l",
            style="rounded,filled",
            fillcolor=c["scope-even"],
            color=c["scope-border"],
            penwidth="1.2",
            margin="13",
        )
        _Drawing(dot, ledger, block, c, f"b{i}n").draw()
        dot.close()
    if legend:
        dot.attributes("graph", labelloc="b", label=_caption(ledger, c))
    return dot.text()


def render_paths(
    ledger: Ledger, format: PathsFormat, *, theme: Theme = "auto", legend: bool = True, engine: Engine = "auto"
) -> bytes:
    """A drawn ledger as the bytes of a file; an SVG adapts to its reader with theme "auto".

    Raises
    ------
    EngineError
        The format needs a layout engine, and there is none or it failed.
    """
    source = paths_to_dot(ledger, theme="dark" if theme == "dark" else "light", legend=legend)
    if format == "dot":
        return source.encode("utf-8")
    if format == "png":
        return layout(source, "png", engine, dpi=PNG_DPI)
    title = f"The gradient of {safe_text(ledger.output)} with respect to {safe_text(ledger.input)}, path by path"
    described = [f"{safe_text(path.name)} {number(path.norm)}" for block in ledger.blocks for path in block.paths]
    words = f"Norms of the contributions: {', '.join(described[: MOST_BLOCKS * MOST_PATHS])}."
    return finish(layout(source, "svg", engine), title=title, description=words, theme=theme)


@dataclass(frozen=True)
class _Style:
    """How a path is drawn."""

    line: str
    fill: str
    style: str
    width: float


class _Drawing:
    """The paths of one block, drawn into a graph."""

    def __init__(self, dot: Source, ledger: Ledger, block: NormSection, colours: dict[str, str], prefix: str) -> None:
        self.dot, self.ledger, self.block, self.colour, self.prefix = dot, ledger, block, colours, prefix
        self.paths = block.paths[:MOST_PATHS]
        self.routes = _shortened(self.paths)
        self.shared = self._shared()
        self.steps = {step.at: step for path in self.paths for step in path.route}
        self.largest = max((path.norm for path in self.paths if path.norm < float("inf")), default=0.0)
        direct = next((path for path in self.paths if path.name == "direct"), self.paths[0])
        self.direct = {step.at for step in direct.route}
        self.statistics = {at for at in self.steps if block.title and at not in self.direct}

    def draw(self) -> None:
        """The nodes in the order of the program, then the lines."""
        drawn = sorted({at for route in self.routes for at, _ in route})
        runs = {at: hidden for route in self.routes for at, hidden in route}
        for at in drawn:
            self._node(at, runs[at])
        self._output(drawn[-1])
        for edge in self.shared:
            self._trunk(*edge)
        for i, (path, route) in enumerate(zip(self.paths, self.routes, strict=True)):
            self._line(i, path, [at for at, _ in route])
        if len(self.paths) > 1:
            self._row_of_pills()

    def _row_of_pills(self) -> None:
        """The pills side by side under x: the scale at the left, where its chain hangs, then direct, then the rest."""
        order = sorted(range(len(self.paths)), key=lambda i: (self.paths[i].name not in BESIDE, i))
        self.dot.open()
        self.dot.attributes(rank="same")
        for a, b in pairwise(order):
            self.dot.edge(f"{self.prefix}p{a}", f"{self.prefix}p{b}", style="invis")
        self.dot.close()

    def _id(self, at: int) -> str:
        return f"{self.prefix}{at}"

    def _shared(self) -> list[tuple[int, int]]:
        edges = [set(pairwise(at for at, _ in route)) for route in self.routes]
        return sorted(set.intersection(*edges)) if len(edges) > 1 else []

    # --- nodes --------------------------------------------------------------------------------------------

    def _node(self, at: int, hidden: int) -> None:
        step = self.steps[at]
        if at == 0:
            total = number(float((self.ledger.gradient.astype("float64") ** 2).sum()) ** 0.5)
            several = f" = sum of {len(self.block.paths)} paths" if len(self.block.paths) > 1 else ""
            lines = [(f"input  {_shape(step.shape)}", "muted"), (f"grad {total}{several}", "gradient")]
            self._box(self._id(at), self.ledger.input, lines, "data", "2.2")
        elif hidden:
            self._box(self._id(at), "…", [(f"{hidden} operations", "muted")], "constant", "1.2")
        else:
            named = " " in step.label
            shape = _shape(step.shape)
            second = shape if named or not step.label else f"{step.label}  {shape}"
            kind = "statistics" if at in self.statistics else "operation"
            self._box(self._id(at), step.label if named else step.symbol, [(second, "muted")], kind, "1.4")

    def _output(self, last: int) -> None:
        shape, c = _shape(self.steps[last].shape), self.colour
        self._box(f"{self.prefix}y", self.ledger.output, [(f"output  {shape}", "muted")], "data", "2.2")
        self.dot.edge(self._id(last), f"{self.prefix}y", color=c["edge-plain"], penwidth="2.4", weight="9")

    def _box(self, name: str, title: str, lines: list[tuple[str, str]], kind: str, border: str) -> None:
        c = self.colour
        rows = [font(safe_text(title), 15 if kind == "data" else 14, c["ink"], bold=True)]
        rows += [font(safe_text(text), 10, c[colour]) for text, colour in lines]
        self.dot.node(
            name,
            label=table(rows),
            shape="box",
            style="rounded,filled,dashed" if kind == "constant" else "rounded,filled",
            fillcolor=c[f"{kind}-fill"],
            color=c[f"{kind}-border"],
            penwidth=border,
            margin="0.14,0.04",
            width="0.95",
            tooltip=safe_text(title),
            **{"class": f"mt-node mt-{kind}"},
        )

    # --- lines --------------------------------------------------------------------------------------------

    def _style(self, i: int, path: Path) -> _Style:
        if path.zero:
            line, fill, style = ZERO
        else:
            line, fill, style = NAMED.get(path.name, (SCALE, OTHER, MEAN)[0 if self.block.title else i % 3])
        thick = 1.0 if path.zero or not self.largest else 1 + 4.5 * min(path.norm / self.largest, 1.0)
        return _Style(self.colour[line], self.colour[fill], style, thick)

    def _trunk(self, a: int, b: int) -> None:
        attributes = {"color": self.colour["edge-plain"], "penwidth": "2.4", "weight": "9"}
        self.dot.edge(self._id(a), self._id(b), **attributes, **{"class": "mt-edge mt-plain"})

    def _line(self, i: int, path: Path, route: list[int]) -> None:
        style = self._style(i, path)
        own = [pair for pair in pairwise(route) if pair not in self.shared]
        attributes = {"color": style.line, "penwidth": f"{style.width:.2f}", "style": style.style}
        attributes["class"] = "mt-edge mt-gradient"
        if i == 0:
            attributes["weight"] = "9"
        for a, b in own:
            if (a, b) == own[0]:
                pill = f"{self.prefix}p{i}"
                self._pill(pill, path, style)
                self.dot.edge(self._id(a), pill, **attributes)
                self.dot.edge(pill, self._id(b), **{**attributes, "dir": "none"})
            else:
                self.dot.edge(self._id(a), self._id(b), **attributes)

    def _pill(self, name: str, path: Path, style: _Style) -> None:
        value = ("= 0 exactly" if path.identity else "= 0") if path.zero else f"‖g‖ = {number(path.norm)}"
        ink = self.colour["muted"] if path.zero else style.line
        self.dot.node(
            name,
            label=table([font(safe_text(path.name), 10, ink, bold=True), font(value, 10, ink)]),
            shape="box",
            style="rounded,filled,dashed" if path.zero else "rounded,filled",
            fillcolor=style.fill,
            color=style.line,
            penwidth="0.9",
            margin="0.08,0.02",
            height="0.3",
            tooltip=safe_text(f"what {path.name} contributes to the gradient of {self.ledger.input}", TOOLTIP),
            **{"class": "mt-node mt-path"},
        )


def _shape(shape: tuple[int, ...]) -> str:
    return str(shape) if shape else "scalar"


def _shortened(paths: Sequence[Path]) -> list[list[tuple[int, int]]]:
    """The steps to draw of each route, each with the number of those that it stands for, 0 for itself.

    A stretch that the same paths take from end to end becomes one step when it is long: sooner when all take it.
    """
    routes = [[step.at for step in path.route] for path in paths]
    through: dict[Any, set[int]] = defaultdict(set)
    for i, route in enumerate(routes):
        for key in (*route, *pairwise(route)):
            through[key].add(i)
    return [_with_runs(route, through, len(routes)) for route in routes]


def _with_runs(route: list[int], through: dict[Any, set[int]], count: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    run: list[int] = []
    for at, before, after in zip(route, [-1, *route], [*route[1:], -1], strict=False):
        users = through[at]
        inner = through.get((before, at)) == users == through.get((at, after))
        if inner:
            run.append(at)
        if not inner or through[after] != users:
            found += _folded(run, SHARED_RUN if run and count == len(through[run[0]]) > 1 else OWN_RUN)
            run = []
        if not inner:
            found.append((at, 0))
    return found


def _folded(run: list[int], longest: int) -> list[tuple[int, int]]:
    return [(run[0], len(run))] if len(run) > longest else [(at, 0) for at in run]


def _caption(ledger: Ledger, c: dict[str, str]) -> str:
    """What each norm takes out, or what the gradient belongs to."""
    rows = []
    for block in ledger.blocks[:MOST_BLOCKS]:
        if block.removal is None:
            continue
        for part in block.removal.parts:
            words, left = bounds(part)
            rows.append((f"takes out the {words}", f"{number(part.direct)} → {left}"))
    hidden = len(ledger.blocks) - MOST_BLOCKS
    lines = [font("  ".join(row), 10, c["muted"]) for row in dict.fromkeys(rows)] if len(ledger.blocks) == 1 else []
    if hidden > 0:
        lines.append(font(f"the first {MOST_BLOCKS} of {len(ledger.blocks)} norms", 10, c["muted"]))
    about = f"width ~ norm{', ' + ledger.cotangent if ledger.cotangent else ''}"
    return table([*lines, font(safe_text(about, 200), 10, c["muted"])])
