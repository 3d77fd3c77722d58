"""Shared by the examples: arguments, tables, the checks that decide the exit status, pictures."""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import microtensor as mt
from microtensor import nn

T = TypeVar("T")
GREY, BLUE, AMBER, RED, GREEN = "#64748a", "#1d4ed8", "#c2620c", "#be1240", "#15703a"


def arguments(story: str | None, seeds: int = 5) -> argparse.Namespace:
    """--quick, --seeds, --output, and --graph, which makes the loss for ``microtensor viz`` and nothing else."""
    parser = argparse.ArgumentParser(description=(story or "").partition("\n")[0])
    picture = Path(sys.argv[0]).with_suffix(".png").name
    parser.add_argument("--quick", action="store_true", help="less of everything: shows that it works, not the numbers")
    parser.add_argument("--seeds", type=int, metavar="K", help=f"repeat with K seeds (default {seeds}, with --quick 1)")
    parser.add_argument("--output", type=Path, default=Path(picture), metavar="FILE", help=f"default {picture}")
    parser.add_argument("--graph", action="store_true", help="make one loss, for microtensor viz, and stop")
    args = parser.parse_args()
    if args.seeds is None:
        args.seeds = 1 if args.quick else seeds
    if args.seeds < 1:
        parser.error("--seeds takes a positive number")
    # Every example that trains starts here.
    mt.tune_memory()
    return args


def progress(items: Iterable[T], label: str = "", total: int | None = None) -> Iterable[T]:
    """The items, with a bar on a terminal and nothing in a file or a pipe."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    # None: silent wherever standard error is no terminal.
    bar: Iterable[T] = tqdm(items, desc=label, total=total, leave=False, disable=None)
    return bar


def spread(values: Sequence[float] | np.ndarray[Any, Any], digits: int = 3) -> str:
    """Mean and sample deviation, ``.914±.004``; the value alone for one seed."""
    mean = f"{np.mean(values):.{digits}f}"
    text = mean if len(values) < 2 else f"{mean}±{np.std(values, ddof=1):.{digits}f}"
    return re.sub(r"(?<!\d)0\.", ".", text)


def table(title: str, columns: Sequence[object], rows: Mapping[str, Sequence[object]]) -> None:
    """Print rows of cells under their columns."""
    lines = [[title, *map(str, columns)], *([name, *map(str, cells)] for name, cells in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for n, (first, *rest) in enumerate(lines):
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *cells]))
        if n == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))
    print(flush=True)


def compare(title: str, expected: dict[str, dict[Any, str]], obtained: dict[str, dict[Any, str]]) -> None:
    """Print the expected and the obtained results, two columns for each net. – means that nothing is known."""
    columns = [f"{net}: {what}" for net in obtained for what in ("expected", "obtained")]
    rows: dict[str, Sequence[object]] = {}
    for row in next(iter(obtained.values())):
        rows[str(row)] = [cell for net, cells in obtained.items() for cell in (expected[net].get(row, "–"), cells[row])]
    table(title, columns, rows)


def accuracy(net: nn.Module, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The fraction of images read correctly, in prediction mode; the net is left in training mode."""
    net.eval()
    with mt.no_grad():
        guesses = net(mt.tensor(images)).argmax(axis=1)
    net.train()
    return float(np.mean(guesses == labels))


class Checks:
    """What the experiment must show. Every check is printed. If one fails, the exit status is 1."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, claim: str, holds: bool | np.bool_) -> None:
        """Say whether a claim holds."""
        print(f"{'ok    ' if holds else 'FAILED'}  {claim}")
        if not holds:
            self.failed.append(claim)

    def finish(self) -> None:
        """Leave with status 1 if anything failed."""
        if self.failed:
            sys.exit(f"{len(self.failed)} of the checks failed")


def plots(rows: int, columns: int, size: tuple[float, float]) -> Any:
    """A figure and its axes in the style of the examples; None where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        print('no picture: install matplotlib, as by pip install "microtensor[examples]"', file=sys.stderr)
        return None
    matplotlib.use("Agg")
    from matplotlib import font_manager, pyplot

    # A family that is missing would be complained of at every piece of text.
    installed = font_manager.get_font_names()
    families = [name for name in ("Helvetica", "Arial", "Liberation Sans", "DejaVu Sans") if name in installed]
    pyplot.rcParams.update(
        {
            "font.family": families,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.color": "#e5e9f0",
            "legend.frameon": False,
            "lines.linewidth": 2.0,
        }
    )
    return pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def save(figure: Any, caption: str, path: Path) -> None:
    """Write the picture with a sentence that says what it shows."""
    figure.supxlabel(caption, fontsize=10, color="#475569", wrap=True)
    figure.savefig(path, dpi=144)
    print(f"picture: {path}")
