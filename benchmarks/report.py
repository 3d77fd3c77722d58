"""What a run found, as a table to read and as JSON to keep."""

from __future__ import annotations

from typing import Any

from benchmarks.libraries import OURS
from benchmarks.measure import Result, Run
from benchmarks.workloads import Target

_HEAD = ("workload", "peer", "ours", "peer's", "ratio", "must", "aim", "met")


def table(run: Run) -> str:
    """One line for each workload and peer: ours / peer, what it must be, what is possible, and which is met."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for result in run.results:
        rows += _rows(result, run.quick)
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ["  ".join(_padded(cell, i, widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    facts = [
        ", ".join(f"{key} {value}" for key, value in run.machine.items()),
        ", ".join(f"{key} {value}" for key, value in run.versions.items()),
        *(["quick: tiny shapes, so no number below means anything"] if run.quick else []),
        *(f"left out: {name} ({why})" for name, why in run.missing.items()),
    ]
    return "\n".join([*facts, "", *lines, ""])


def markdown(run: Run) -> str:
    """One row a workload, one column a library: our time or memory, and for each peer ours / peer."""
    libraries = dict.fromkeys(name for result in run.results for name in result.medians)
    rows = [["workload", *libraries], ["---", *("---:" for _ in libraries)]]
    for result in run.results:
        cells = {OURS: _number(result.medians[OURS], result.unit)}
        cells |= {peer: f"{ratio:.2f}" for peer, ratio in result.ratios.items()}
        rows.append([result.title, *(cells.get(name, "") for name in libraries)])
    facts = [", ".join(f"{key} {value}" for key, value in part.items()) for part in (run.machine, run.versions)]
    return "\n".join(["; ".join(facts) + ".", "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def as_json(run: Run) -> dict[str, Any]:
    """Machine, versions, medians, ratios and targets."""
    return {
        "quick": run.quick,
        "rounds": run.rounds,
        "machine": run.machine,
        "versions": run.versions,
        "missing": run.missing,
        "results": [
            {
                "name": result.name,
                "title": result.title,
                "unit": result.unit,
                "medians": result.medians,
                "ratios": result.ratios,
                "targets": [
                    {
                        "peer": target.peer,
                        "of": target.of,
                        "must": target.must,
                        "aim": target.aim,
                        "reached": result.reached(target),
                        "met": _met(result, target, run.quick),
                    }
                    for target in result.targets
                ],
            }
            for result in run.results
        ],
    }


def _met(result: Result, target: Target, quick: bool) -> str:
    reached = result.reached(target)
    # The promises are about the full sizes.
    if reached is None or quick:
        return ""
    return "aim" if reached <= target.aim else "must" if reached <= target.must else "NO"


def _rows(result: Result, quick: bool) -> list[tuple[str, ...]]:
    ours = _number(result.medians[OURS], result.unit)
    by_peer = {target.peer: target for target in result.targets}
    rows: list[tuple[str, ...]] = []
    if "" in by_peer or not result.ratios:
        rows.append((result.title, "", ours, "", "", *_promise(result, by_peer.get(""), quick)))
    for peer, ratio in result.ratios.items():
        theirs = _number(result.medians[peer], result.unit)
        rows.append((result.title, peer, ours, theirs, f"{ratio:.2f}", *_promise(result, by_peer.get(peer), quick)))
    return rows


def _promise(result: Result, target: Target | None, quick: bool) -> tuple[str, str, str]:
    if target is None:
        return "", "", ""
    sign, unit = ("+", " MiB") if target.of == "difference" else ("", " MiB" if target.of == "value" else "")
    return f"{sign}{target.must:g}{unit}", f"{sign}{target.aim:g}{unit}", _met(result, target, quick)


def _number(value: float, unit: str) -> str:
    if unit == "MiB":
        return f"{value:.1f} MiB"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def _padded(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if column < 2 or column == len(_HEAD) - 1 else cell.rjust(width)
