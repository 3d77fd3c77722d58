"""One run: load the libraries, check that they agree, measure, and collect what was found."""

from __future__ import annotations

import compileall
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks import clock, fresh
from benchmarks.agreement import check
from benchmarks.libraries import LIBRARIES, OURS, Library, load
from benchmarks.workloads import HELD, TIMED, Target, Workload

IMPORT_SECONDS = "import"
IMPORT_MEMORY = "memory-import"
IMPORTED = (OURS, "numpy", "torch", "autograd", "mygrad")


@dataclass(frozen=True)
class Result:
    """What one workload gave: a median for each library that took part."""

    name: str
    title: str
    unit: str
    medians: dict[str, float]
    targets: tuple[Target, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """Ours / peer; below 1 is faster or smaller."""
        ours = self.medians[OURS]
        return {peer: ours / value for peer, value in self.medians.items() if peer != OURS}

    def reached(self, target: Target) -> float | None:
        """The number that a target is about; None when its peer is missing."""
        ours = self.medians[OURS]
        if target.of == "value":
            return ours
        if target.peer not in self.medians:
            return None
        return ours - self.medians[target.peer] if target.of == "difference" else self.ratios[target.peer]


@dataclass
class Run:
    """Everything that a run found, and where."""

    quick: bool
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    results: list[Result] = field(default_factory=list)


def names() -> list[str]:
    """All workloads, in the order of the table."""
    return [*(w.name for w in TIMED), IMPORT_SECONDS, *(w.name for w in HELD), IMPORT_MEMORY]


def measure(
    chosen: Sequence[str],
    *,
    quick: bool = False,
    repeat: int | None = None,
    loader: Callable[[Sequence[str]], tuple[list[Library], dict[str, str]]] = load,
    progress: Callable[[str], object] = sys.stderr.write,
) -> Run:
    """Measure the chosen workloads.

    Raises
    ------
    DisagreementError
        A peer's gradients differ from ours; nothing of that workload has been timed then.
    """
    rounds = repeat or (2 if quick else 25)
    processes = min(rounds, 1 if quick else 5)
    libraries, missing = loader(list(LIBRARIES))
    installed = {library.name: library for library in libraries}
    packages = ["numpy", *dict.fromkeys(library.package for library in libraries)]
    run = Run(quick, rounds, machine(), {name: _version(name) for name in packages}, missing)
    for workload in TIMED:
        if workload.name in chosen:
            progress(f"{workload.title}\n")
            present = [installed[name] for name in workload.libraries if name in installed]
            run.results.append(timed(workload, present, quick, rounds))
    for workload in HELD:
        if workload.name in chosen:
            progress(f"{workload.title}\n")
            # One process each: a peak hardly varies.
            peaks = {name: fresh.held(name, workload.name, quick) for name in workload.libraries if name in installed}
            run.results.append(Result(workload.name, workload.title, "MiB", peaks, workload.targets))
    if {IMPORT_SECONDS, IMPORT_MEMORY} & set(chosen):
        progress("import\n")
        run.results += [r for r in imports([p for p in IMPORTED if p in packages], processes) if r.name in chosen]
    run.results.sort(key=lambda result: names().index(result.name))
    return run


def timed(workload: Workload, libraries: Sequence[Library], quick: bool, rounds: int) -> Result:
    """Check agreement with every peer, then time all of them together."""
    calls = {library.name: workload.call(library, quick) for library in libraries}
    first = {library.name: [library.numpy(g) for g in calls[library.name]()] for library in libraries}
    for peer, gradients in first.items():
        check(workload.name, peer, first[OURS], gradients)
    if workload.fresh:
        processes = range(1 if quick else min(rounds, 3))
        size = "quick" if quick else "full"
        samples = [{name: fresh.seconds(name, workload.name, size) for name in calls} for _ in processes]
        medians = {name: median(sample[name] for sample in samples) for name in calls}
    else:
        medians = clock.interleaved(calls, rounds)
    return Result(workload.name, workload.title, "s", medians, workload.targets)


def imports(packages: Sequence[str], rounds: int) -> tuple[Result, Result]:
    """The seconds and the memory of each import, one new process at a time, in turn."""
    # pip compiles what it installs; a checkout may not have been compiled yet.
    compileall.compile_dir(Path(import_module(OURS).__file__ or "").parent, quiet=2)
    costs: dict[str, list[tuple[float, float]]] = {package: [] for package in packages}
    for _ in range(rounds):
        for package in packages:
            costs[package].append(fresh.import_cost(package))
    seconds = {package: median(cost[0] for cost in found) for package, found in costs.items()}
    memory = {package: median(cost[1] for cost in found) for package, found in costs.items()}
    return (
        Result(IMPORT_SECONDS, "import", "s", seconds, (Target("numpy", 1.2, 1.02),)),
        Result(IMPORT_MEMORY, "memory, import", "MiB", memory, (Target("numpy", 5.0, 0.0, "difference"),)),
    )


def machine() -> dict[str, str]:
    """What the numbers depend on besides the libraries."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(len(models)) if models else "unknown",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": "1",
        "dtype": "float32",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
