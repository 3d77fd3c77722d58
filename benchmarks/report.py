"""What a run found: as tables for a terminal and for a page, and as JSON to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.fresh import ROOT
from benchmarks.libraries import COMPILED, LIBRARIES, NATIVE, OURS
from benchmarks.measure import IMPORT_MEMORY, IMPORT_SECONDS, IMPORTED, PROCESSES, Result, Run
from benchmarks.workloads import TIMED, Target

PEERS = (NATIVE, "torch", "autograd", "mygrad")
COMMAND = "python -m benchmarks --markdown docs/benchmarks.md"
# How many of the workloads where ours is slower are named.
MOST = 5
SIZES = (
    "Each point is the median of the second pass in three new processes. autograd and MyGrad stop at 100,000 "
    "operations; a curve of compiled functions ends where the program is not ready within a minute."
)


def tables(run: Run) -> str:
    """Where and how it was measured, and all tables."""
    parts = [
        _where(run),
        _time(run),
        _memory(run),
        _imports(run),
        _promises(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(run: Run, picture: str) -> str:
    """All of it with explanations, in Markdown."""
    compiled = _names(run)[COMPILED]
    parts = [
        "# Benchmarks",
        f"Made by `{COMMAND}` in {run.minutes:.0f} minutes; not written by hand. "
        "[benchmarks/](../benchmarks/README.md) tells how it is measured.",
        _where(run),
        "## Time",
        "One forward and one backward pass, and a step of the optimiser where one is named. The first column that is "
        "filled is processor time. **The others are multiples of it: 2.0 takes twice as long.**",
        _bullets(
            [
                "`torch-native`: PyTorch with its fused kernels.",
                "`torch`: PyTorch with norms, GELU, softmax, cross-entropy and recurrent layers composed of its own "
                "operations, as in the libraries to the right.",
                "`microtensor`: every operation is recorded and runs by itself. Norms are compositions.",
                f"`{compiled}`: the same compositions through `mt.compile`, in a warm process. A call also checks "
                "what the objects of the benchmark hold, which takes some 0.02 ms; a plain function takes less.",
                "`compiled, first call`: seconds of the first pass of a process, with the import of what runs the "
                "program. The first number is with an empty cache of kernels (tracing and machine code), the second "
                "with a filled one (tracing, and loading of the machine code).",
                "–: the library does not take part, or has no kernel of its own for this.",
            ]
        ),
        _time(run),
        _slower(run),
        "## Memory",
        "The peak of a new process in MiB over its imports, for one forward and backward pass. The first operations "
        "of PyTorch load some 40 MiB more.",
        _memory(run),
        _imports(run),
        "## Promises",
        "What the library promises (must), and what is known to be possible (aim), as ours / peer. "
        f"Each of {PROCESSES} processes (5 for the import) gives the quotient of the medians of its rounds. What is "
        "reached is their median; the spread is the smallest and the largest of them.",
        _promises(run),
        *(["## Growth", f"![Time against size, for each library]({picture})", SIZES] if run.growth else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def facts(run: Run) -> str:
    """The line below the picture."""
    machine = run.machine
    return f"{machine['processor']}, Python {machine['python']}, float32, one thread, {machine['date']}"


def as_json(run: Run) -> dict[str, Any]:
    """Machine, versions, medians, targets and curves."""
    return {
        "quick": run.quick,
        "rounds": run.rounds,
        "machine": run.machine,
        "versions": run.versions,
        "missing": run.missing,
        "growth": run.growth,
        "results": [
            {
                "name": result.name,
                "title": result.title,
                "unit": result.unit,
                "medians": result.medians,
                "refused": result.refused,
                "first": result.first,
                "targets": [
                    {
                        "ours": target.ours,
                        "peer": target.peer,
                        "of": target.of,
                        "must": target.must,
                        "aim": target.aim,
                        "each": result.each(target),
                        "met": _met(result, target, run.quick),
                    }
                    for target in result.targets
                ],
            }
            for result in run.results
        ],
    }


def _where(run: Run) -> str:
    lines = ["; ".join(f"{key} {value}" for key, value in part.items()) + "." for part in (run.machine, run.versions)]
    lines += ["Quick: tiny shapes, so no number below means anything."] if run.quick else []
    return _bullets([*lines, *(f"Left out: {name} ({why})." for name, why in run.missing.items())])


# --- tables -----------------------------------------------------------------------------------------------


def _time(run: Run) -> str:
    columns = (*PEERS, OURS, COMPILED)
    rows = []
    for result in _timed(run):
        base = next(name for name in columns if name in result.medians)
        cells = {name: _ratio(_quotient(result, name, base)) for name in result.medians}
        cells[base] = _number(result.medians[base], "s")
        first = "; ".join(f"{seconds:.2g} s" for seconds in result.first)
        rows.append([result.title, *_cells(result, cells, columns), first or "–"])
    head = ["workload", *(_names(run)[name] for name in columns), "compiled, first call"]
    return _table([head, *rows]) + _refusals(_timed(run)) if rows else ""


def _memory(run: Run) -> str:
    columns = (OURS, COMPILED, *PEERS)
    rows = []
    results = [result for result in run.results if result.unit == "MiB" and result.name != IMPORT_MEMORY]
    for result in results:
        cells = {name: f"{peak:.0f}" for name, peak in result.medians.items()}
        rows.append([result.title.removeprefix("memory, "), *_cells(result, cells, columns)])
    head = ["MiB", *(_names(run)[name] for name in columns)]
    return _table([head, *rows]) + _refusals(results) if rows else ""


def _imports(run: Run) -> str:
    results = [result for result in run.results if result.name in (IMPORT_SECONDS, IMPORT_MEMORY)]
    rows = [
        [result.title, *(_number(result.medians[x], result.unit) if x in result.medians else "–" for x in IMPORTED)]
        for result in results
    ]
    return _table([["", *IMPORTED], *rows]) if rows else ""


def _promises(run: Run) -> str:
    rows = []
    for result in run.results:
        for target in result.targets:
            each = result.each(target)
            unit = "" if target.of == "ratio" else " MiB"
            what = target.ours + {"ratio": f" / {target.peer}", "difference": f" − {target.peer}"}.get(target.of, "")
            must = "–" if target.must is None else f"{target.must:g}{unit}"
            between = f"{min(each):.2f} to {max(each):.2f}" if len(each) > 1 else "–"
            if each:
                found = f"{median(each):.2f}{unit}"
            else:
                found = "refused" if result.refused and target.ours == COMPILED else "–"
            met = _met(result, target, run.quick)
            rows.append([result.title, what, found, between, must, f"{target.aim:g}{unit}", met])
    return _table([["workload", "what", "reached", "spread", "must", "aim", "met"], *rows]) if rows else ""


def _slower(run: Run) -> str:
    """Where ours takes longer than a peer, said in words."""
    lines = []
    for ours, peer in ((COMPILED, NATIVE), (OURS, NATIVE), (OURS, "torch")):
        both = [result for result in _timed(run) if {ours, peer} <= result.medians.keys()]
        slower = sorted(((_quotient(r, ours, peer), r.title) for r in both), reverse=True)
        slower = [(ratio, title) for ratio, title in slower if ratio > 1]
        most = "; ".join(f"{title} {_ratio(ratio)}" for ratio, title in slower[:MOST])
        text = f", most in {most}" if slower else ""
        lines.append(f"`{ours}` is slower than `{peer}` in {len(slower)} of {len(both)} workloads{text}.")
    met = [_met(result, target, run.quick) for result in run.results for target in result.targets]
    lines.append(f"{met.count('NO')} of {len(met)} promises are not kept in this run: they say NO in the last table.")
    return "**Where microtensor is slower**\n\n" + _bullets(lines)


# --- their parts ------------------------------------------------------------------------------------------


def _timed(run: Run) -> list[Result]:
    names = {workload.name for workload in TIMED}
    return [result for result in run.results if result.name in names]


def _names(run: Run) -> dict[str, str]:
    """The heads of the columns; that of the compiled functions says what runs them."""
    backend = "numba" if "numba" in run.versions else "NumPy"
    return {name: name for name in LIBRARIES} | {COMPILED: f"{COMPILED} ({backend})"}


def _cells(result: Result, cells: dict[str, str], columns: Sequence[str]) -> list[str]:
    if result.refused:
        cells = cells | {COMPILED: "refused"}
    return [cells.get(name, "–") for name in columns]


def _refusals(results: Iterable[Result]) -> str:
    # A reason may name a file.
    here = f"{ROOT}{os.sep}"
    why = [f"{result.title}: {result.refused.replace(here, '')}." for result in results if result.refused]
    return f"\n\nWhat compile refuses, and why:\n\n{_bullets(why)}" if why else ""


def _met(result: Result, target: Target, quick: bool) -> str:
    each = result.each(target)
    # The promises are about the full sizes.
    if quick or not each:
        return ""
    reached = median(each)
    if reached <= target.aim:
        return "aim"
    return "" if target.must is None else "must" if reached <= target.must else "NO"


def _quotient(result: Result, ours: str, peer: str) -> float:
    return median(result.each(Target(peer, None, 1.0, ours=ours)))


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"


def _number(value: float, unit: str) -> str:
    if unit == "MiB":
        return f"{value:.0f} MiB"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, and with columns of one width for a terminal. All but the first are set to the right."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    head, *body = [
        f"| {' | '.join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))} |"
        for row in rows
    ]
    rule = f"| {' | '.join('-' * (w - bool(i)) + ':' * bool(i) for i, w in enumerate(widths))} |"
    return "\n".join([head, rule, *body])
