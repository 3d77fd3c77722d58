"""How time grows with size: a chain of operations, and the rows of a batch norm, as curves and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import fresh
from benchmarks.libraries import LIBRARIES, RefusedError

# For each library, the seconds at each size.
Times = dict[str, dict[int, float]]

# Distinct in colour and in shape, so that they are told apart without colours too.
STYLES = {
    "microtensor": ("#1d4ed8", "o"),
    "compiled": ("#111827", "D"),
    "torch-native": ("#be123c", "s"),
    "torch": ("#c2620c", "^"),
    "autograd": ("#15703a", "v"),
    "mygrad": ("#64748b", "X"),
}


class Curve(NamedTuple):
    """One panel: a workload, the sizes of its first axis, and what the axis counts."""

    workload: str
    title: str
    axis: str
    sizes: tuple[int, ...]
    # The largest size of a library; the slower ones would take minutes.
    largest: dict[str, int]


CURVES = (
    Curve(
        "chain",
        "A chain of operations on 4 numbers",
        "operations",
        (1_000, 10_000, 100_000, 1_000_000),
        {"microtensor": 1_000_000, "compiled": 1_000_000, "torch": 1_000_000, "autograd": 100_000, "mygrad": 100_000},
    ),
    Curve(
        "memory-bn",
        "Batch norm with 16 columns",
        "rows",
        (100, 1_000, 10_000, 100_000, 1_000_000),
        dict.fromkeys(LIBRARIES, 1_000_000),
    ),
)


def measured(libraries: Sequence[str], quick: bool = False) -> dict[str, Times]:
    """The curves by workload. When it is quick, they are short."""
    return {curve.workload: grown(curve, libraries, *((2, 1) if quick else (9, 3))) for curve in CURVES}


def grown(curve: Curve, libraries: Sequence[str], sizes: int, processes: int) -> Times:
    """The seconds of each library at the first `sizes` of the curve, as medians of so many new processes."""
    found: Times = {}
    refused: set[str] = set()
    for size in curve.sizes[:sizes]:
        samples: dict[str, list[float]] = {x: [] for x in libraries if size <= curve.largest.get(x, 0)}
        for _ in range(processes):
            for name in samples.keys() - refused:
                try:
                    samples[name].append(fresh.seconds(curve.workload, name, size))
                except RefusedError:
                    # A larger size would be refused too.
                    refused.add(name)
        for name in samples.keys() - refused:
            found.setdefault(name, {})[size] = median(samples[name])
    return found


def draw(found: dict[str, Times], facts: str, file: Path) -> None:
    """One panel a curve, both axes logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    # Texts as paths look the same everywhere, and a fixed salt gives the same file for the same numbers.
    with pyplot.rc_context({"font.size": 13, "svg.hashsalt": "benchmarks"}):
        figure, panels = pyplot.subplots(1, len(CURVES), figsize=(13, 5.6))
        figure.set_layout_engine("constrained", w_pad=0.12)
        for panel, curve in zip(panels, CURVES, strict=True):
            times = found[curve.workload]
            for name in (x for x in STYLES if x in times):
                color, marker = STYLES[name]
                milliseconds = [1e3 * t for t in times[name].values()]
                panel.loglog(list(times[name]), milliseconds, marker=marker, color=color, label=name, lw=2, ms=7)
            panel.set_title(curve.title)
            panel.set_xlabel(curve.axis)
            panel.set_ylabel("forward and backward, ms")
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False, loc="upper left")
        figure.supxlabel(facts, fontsize=11, color="#475569")
        figure.savefig(file, dpi=100, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(figure)
