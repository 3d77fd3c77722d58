"""The ledger of a gradient as DOT source. Every path has a line of its own; the larger its norm, the thicker the line.

What all paths share is drawn once, in grey. A long stretch of it is one box. Where the paths part, each has its own
colour and style, and a pill with its name and norm beside x.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from microtensor.inspect.ledger import Ledger, NormSection, Path
from microtensor.inspect.ledger.table import remains
from microtensor.text import safe_text
from microtensor.viz import labels
from microtensor.viz.engine import Engine
from microtensor.viz.labels import TOOLTIP, number
from microtensor.viz.markup import boxed, font, label, table
from microtensor.viz.picture import to_picture
from microtensor.viz.source import Source
from microtensor.viz.svg import Theme
from microtensor.viz.theme import ThemeName, palette

PathsFormat: TypeAlias = Literal["svg", "png", "pdf", "dot"]

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
    """The DOT source of a drawn ledger, norm by norm. Only the first three norms are drawn.

    Parameters
    ----------
    ledger : Ledger
    theme : {"light", "dark"}
    legend : bool
        Whether to say below the picture what a norm removes from the gradient.

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
    dot = Source("paths", c)
    dot.defaults(graph={"ranksep": "0.36", "nodesep": "0.3"}, edge={"arrowsize": "0.7", "dir": "back"})
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
            fillcolor="scope-even",
            color="scope-border",
            penwidth="1.2",
            margin="13",
        )
        _Drawing(dot, ledger, block, c, f"b{i}n").draw()
        dot.close()
    if legend:
        dot.legend(_caption(ledger, c))
    return dot.text()


def render_paths(
    ledger: Ledger, format: PathsFormat, *, theme: Theme = "auto", legend: bool = True, engine: Engine = "auto"
) -> bytes:
    """A drawn ledger as the bytes of a file. With theme "auto", an SVG adapts to its reader.

    Raises
    ------
    EngineError
        The format needs a layout engine, and there is none or it failed.
    """
    source = paths_to_dot(ledger, theme="dark" if theme == "dark" else "light", legend=legend)
    title = f"The gradient of {safe_text(ledger.output)} with respect to {safe_text(ledger.input)}, path by path"
    described = [f"{safe_text(path.name)} {number(path.norm)}" for block in ledger.blocks for path in block.paths]
    words = f"Norms of the contributions: {', '.join(described[: MOST_BLOCKS * MOST_PATHS])}."
    name = "Paths of a gradient"
    return to_picture(source, format, title=title, description=words, document=name, theme=theme, engine=engine)


class _Drawing:
    """The paths of one norm, drawn into a graph."""

    def __init__(self, dot: Source, ledger: Ledger, block: NormSection, colours: dict[str, str], prefix: str) -> None:
        self.dot, self.ledger, self.block, self.colour, self.prefix = dot, ledger, block, colours, prefix
        # What a hook changes has no way of its own; it is in the caption.
        self.paths = tuple(path for path in block.paths if path.count)[:MOST_PATHS]
        self.routes = _shortened(self.paths)
        self.shared = self._shared()
        self.steps = {step.at: step for path in self.paths for step in path.route}
        self.largest = max((path.norm for path in self.paths if path.norm < float("inf")), default=0.0)
        direct = next((path for path in self.paths if path.name == "direct"), self.paths[0])
        self.statistics = self.steps.keys() - {step.at for step in direct.route} if block.title else set()

    def draw(self) -> None:
        """The nodes in the order of the program, then the lines."""
        runs = {at: hidden for route in self.routes for at, hidden in route}
        for at in sorted(runs):
            self._node(at, runs[at])
        last = max(runs)
        shape = labels.shape(self.steps[last])
        trunk = {"color": "edge-plain", "penwidth": "2.4", "weight": "9"}
        self._box("y", self.ledger.output, [(f"output  {shape}", "muted")], "data")
        self.dot.edge(self._id(last), self._id("y"), **trunk)
        for a, b in self.shared:
            self.dot.edge(self._id(a), self._id(b), **trunk, **{"class": "mt-edge mt-plain"})
        for i, (path, route) in enumerate(zip(self.paths, self.routes, strict=True)):
            self._line(i, path, [at for at, _ in route])
        if len(self.paths) > 1:
            self._row_of_pills()

    def _row_of_pills(self) -> None:
        """The pills side by side below x: first the scale, whose chain is on the left, then direct, then the rest."""
        order = sorted(range(len(self.paths)), key=lambda i: (self.paths[i].name not in BESIDE, i))
        self.dot.open()
        self.dot.attributes(rank="same")
        for a, b in pairwise(order):
            self.dot.edge(f"{self.prefix}p{a}", f"{self.prefix}p{b}", style="invis")
        self.dot.close()

    def _id(self, at: int | str) -> str:
        return f"{self.prefix}{at}"

    def _shared(self) -> list[tuple[int, int]]:
        edges = [set(pairwise(at for at, _ in route)) for route in self.routes]
        return sorted(set.intersection(*edges)) if len(edges) > 1 else []

    # --- nodes --------------------------------------------------------------------------------------------

    def _node(self, at: int, hidden: int) -> None:
        step = self.steps[at]
        shape = labels.shape(step)
        if at == 0:
            total = number(float((self.ledger.gradient.astype("float64") ** 2).sum()) ** 0.5)
            many = sum(path.count > 0 for path in self.block.paths)
            hooks = ", with hooks" if many < len(self.block.paths) else ""
            several = f" = sum of {many} paths{hooks}" if many > 1 or hooks else ""
            lines = [(f"input  {shape}", "muted"), (f"grad {total}{several}", "gradient")]
            self._box(at, self.ledger.input, lines, "data")
        elif hidden:
            self._box(at, "…", [(f"{hidden} operations", "muted")], "constant", penwidth="1.2")
        else:
            named = " " in step.label
            second = shape if named or not step.label else f"{step.label}  {shape}"
            kind = "statistics" if at in self.statistics else "operation"
            self._box(at, step.label if named else step.symbol, [(second, "muted")], kind)

    def _box(self, at: int | str, title: str, lines: list[tuple[str, str]], kind: str, **more: str) -> None:
        rows = [font(safe_text(text), 10, self.colour[colour]) for text, colour in lines]
        size = {"margin": "0.14,0.04", "width": "0.95", "tooltip": safe_text(title)}
        self.dot.node(self._id(at), **boxed(safe_text(title), rows, kind, self.colour) | size | more)

    # --- lines --------------------------------------------------------------------------------------------

    def _line(self, i: int, path: Path, route: list[int]) -> None:
        """The edges that this path does not share, with its pill on the first of them."""
        unnamed = SCALE if self.block.title else (SCALE, OTHER, MEAN)[i % 3]
        line, fill, style = ZERO if path.zero else NAMED.get(path.name, unnamed)
        width = 1.0 if path.zero or not self.largest else 1 + 4.5 * min(path.norm / self.largest, 1.0)
        attributes = {"color": line, "penwidth": f"{width:.2f}", "style": style, "class": "mt-edge mt-gradient"}
        if i == 0:
            attributes["weight"] = "9"
        own = [pair for pair in pairwise(route) if pair not in self.shared]
        for a, b in own[:1]:
            pill = self._id(f"p{i}")
            self._pill(pill, path, line, fill)
            self.dot.edge(self._id(a), pill, **attributes)
            self.dot.edge(pill, self._id(b), **attributes | {"dir": "none"})
        for a, b in own[1:]:
            self.dot.edge(self._id(a), self._id(b), **attributes)

    def _pill(self, name: str, path: Path, line: str, fill: str) -> None:
        value = ("= 0 exactly" if path.identity else "= 0") if path.zero else f"‖g‖ = {number(path.norm)}"
        ink = self.colour["muted" if path.zero else line]
        self.dot.node(
            name,
            label=table([font(safe_text(path.name), 10, ink, bold=True), font(value, 10, ink)]),
            shape="box",
            style="rounded,filled,dashed" if path.zero else "rounded,filled",
            fillcolor=fill,
            color=line,
            penwidth="0.9",
            margin="0.08,0.02",
            height="0.3",
            tooltip=safe_text(f"what {path.name} contributes to the gradient of {self.ledger.input}", TOOLTIP),
            **{"class": "mt-node mt-path"},
        )


def _shortened(paths: Sequence[Path]) -> list[list[tuple[int, int]]]:
    """The steps to draw of each route, each with the number of steps that are hidden in it, 0 for none.

    A long stretch that the same paths take from end to end becomes one step. If all paths take it, it may be shorter.
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
    """What a norm takes out of the gradient, and what the gradient belongs to."""
    lines = []
    removal = ledger.blocks[0].removal if len(ledger.blocks) == 1 else None
    if removal is not None:
        at = f" at {removal.at}" if removal.at else ""
        for part in removal.parts:
            word = "shift" if part.direction == "1" else "scale"
            lines.append(
                f"{word} of the direct path{at}: {number(part.direct)}, left: {remains(part, removal.condition)}"
            )
        lines += removal.mistakes
    hidden = len(ledger.blocks) - MOST_BLOCKS
    if hidden > 0:
        lines.append(f"the first {MOST_BLOCKS} of {len(ledger.blocks)} norms")
    lines += filter(None, ledger.note.split("; "))
    lines.append(f"width ~ norm{', ' + ledger.cotangent if ledger.cotangent else ''}")
    return table([font(safe_text(line, 200), 10, c["muted"]) for line in lines])
