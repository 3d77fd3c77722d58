"""How time grows with size: a chain of operations, and the rows of a batch norm, as a picture.

``python -m benchmarks.growth -o growth.png``. Each point is the median of three new processes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import fresh, measure
from benchmarks.libraries import LIBRARIES, load

COLORS = {"microtensor": "#1d4ed8", "torch": "#c2620c", "torch-native": "#be1240", "autograd": "#15703a"}
COLORS["mygrad"] = "#64748a"


class Curve(NamedTuple):
    """One panel: a workload, the sizes of its first axis, and what the axis counts."""

    workload: str
    title: str
    sizes: tuple[int, ...]
    # The largest size of a library; the slower ones would take minutes.
    largest: dict[str, int]


CURVES = (
    Curve(
        "chain",
        "chain of operations on 4 numbers",
        (1_000, 10_000, 100_000, 1_000_000),
        {"microtensor": 1_000_000, "torch": 1_000_000, "autograd": 100_000, "mygrad": 100_000},
    ),
    Curve(
        "memory-bn",
        "rows of a batch norm with 16 columns",
        (100, 1_000, 10_000, 100_000, 1_000_000),
        dict.fromkeys(LIBRARIES, 1_000_000),
    ),
)


def grown(curve: Curve, libraries: list[str], shrink: int = 1, processes: int = 3) -> dict[str, dict[int, float]]:
    """The seconds of each library at each size, divided by `shrink` but at least 10."""
    found: dict[str, dict[int, float]] = {}
    for full in curve.sizes:
        size = max(full // shrink, 10)
        taking_part = [name for name in libraries if full <= curve.largest.get(name, 0)]
        rounds = [{name: fresh.seconds(name, curve.workload, size) for name in taking_part} for _ in range(processes)]
        for name in taking_part:
            found.setdefault(name, {})[size] = median(times[name] for times in rounds)
    return found


def draw(found: dict[str, dict[str, dict[int, float]]], facts: str, file: Path) -> None:
    """One panel a curve, both axes logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(CURVES), figsize=(10, 4.2), layout="constrained")
    for panel, curve in zip(panels, CURVES, strict=True):
        for name, times in found[curve.workload].items():
            panel.loglog(list(times), [1e3 * t for t in times.values()], "o-", color=COLORS[name], label=name)
        panel.set_xlabel(curve.title)
        panel.set_ylabel("forward + backward, ms")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    figure.suptitle(facts, fontsize=8, color="#64748a")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure as the command line says, draw the picture and print the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description="how time grows with size")
    parser.add_argument("-o", "--output", type=Path, default=Path("growth.png"), metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="sizes divided by 100, one process each")
    args = parser.parse_args()
    libraries = [library.name for library in load(list(LIBRARIES))[0]]
    shrink, processes = (100, 1) if args.quick else (1, 3)
    found = {}
    for curve in CURVES:
        sys.stderr.write(f"{curve.title}\n")
        found[curve.workload] = grown(curve, libraries, shrink, processes)
    machine = measure.machine()
    draw(found, f"{machine['processor']}, Python {machine['python']}, float32, one thread", args.output)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    from benchmarks import __main__  # noqa: F401 - it limits the libraries to one thread

    main()
