"""One run: load the libraries, check that they agree, measure, and collect what was found."""

from __future__ import annotations

import compileall
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks import clock, fresh, growth
from benchmarks.agreement import check
from benchmarks.libraries import COMPILED, LIBRARIES, OURS, Library, RefusedError, load
from benchmarks.workloads import HELD, TIMED, Call, Target, Workload

IMPORT_SECONDS = "import"
IMPORT_MEMORY = "memory-import"
GROWTH = "growth"
IMPORTED = (OURS, "numpy", "torch", "autograd", "mygrad")
PROCESSES = 3
ROUNDS = 15

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Result:
    """What one workload gave.

    Attributes
    ----------
    name, title : str
    unit : {"s", "MiB"}
    targets : tuple of Target
    processes : list of dict
        For each process, the samples of each library.
    refused : str
        Why the function was not compiled; empty if it was, or if it takes no part.
    first : list of float
        Seconds of the first call of the compiled function: with an empty cache of kernels, and with a filled one.
    """

    name: str
    title: str
    unit: str
    targets: tuple[Target, ...]
    processes: Sequence[Samples]
    refused: str = ""
    first: Sequence[float] = ()

    @property
    def medians(self) -> dict[str, float]:
        """For each library, the median of all its samples."""
        return {name: median(x for found in self.processes for x in found[name]) for name in self.processes[0]}

    def each(self, target: Target) -> list[float]:
        """The number that a target is about, from the medians of each process; none when a library is missing.

        Clock rates differ from process to process, so only what ran at one time is compared.
        """
        if not {target.ours, target.peer or target.ours} <= self.processes[0].keys():
            return []
        found = []
        for samples in self.processes:
            ours, theirs = median(samples[target.ours]), median(samples[target.peer or target.ours])
            found.append({"ratio": ours / theirs, "difference": ours - theirs, "value": ours}[target.of])
        return found


@dataclass
class Run:
    """Everything that a run found, and where."""

    quick: bool
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    results: list[Result] = field(default_factory=list)
    growth: dict[str, growth.Times] = field(default_factory=dict)
    minutes: float = 0.0


def names() -> list[str]:
    """All that can be measured, in the order of the tables."""
    return [*(w.name for w in TIMED), IMPORT_SECONDS, *(w.name for w in HELD), IMPORT_MEMORY, GROWTH]


def measure(
    chosen: Sequence[str],
    *,
    quick: bool = False,
    repeat: int | None = None,
    loader: Callable[[Sequence[str]], tuple[list[Library], dict[str, str]]] = load,
    progress: Callable[[str], object] = sys.stderr.write,
) -> Run:
    """Measure what is chosen. When it is quick, peers take part in this process only.

    Raises
    ------
    DisagreementError
        The results or gradients of a peer differ from ours; nothing of that workload has been timed then.
    """
    began = time.perf_counter()
    rounds = repeat or (2 if quick else ROUNDS)
    libraries, missing = loader(list(LIBRARIES))
    installed = {library.name: library for library in libraries}
    packages = ["numpy", "numba", *dict.fromkeys(library.package for library in libraries)]
    versions = {name: found for name in packages if (found := _version(name))}
    run = Run(quick, rounds, machine(), versions, missing)
    known = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as cache:
        # Kernels that another run has kept must not make this one faster.
        os.environ["XDG_CACHE_HOME"] = cache
        try:
            for workload in TIMED:
                if workload.name in chosen:
                    progress(f"{workload.title}\n")
                    present = [installed[name] for name in workload.libraries if name in installed]
                    run.results.append((quickly if quick else apart)(workload, present, rounds))
            alone = [OURS, COMPILED] if quick else list(installed)
            for workload in HELD:
                if workload.name in chosen:
                    progress(f"{workload.title}\n")
                    run.results.append(held(workload, [x for x in workload.libraries if x in alone], quick))
            if {IMPORT_SECONDS, IMPORT_MEMORY} & set(chosen):
                progress("import\n")
                imported = [name for name in IMPORTED[: 2 if quick else None] if name in packages]
                run.results += [r for r in imports(imported, 1 if quick else 5) if r.name in chosen]
            if GROWTH in chosen:
                progress("growth\n")
                run.growth = growth.measured([OURS] if quick else alone, quick)
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if known is not None:
                os.environ["XDG_CACHE_HOME"] = known
    run.results.sort(key=lambda result: names().index(result.name))
    run.minutes = (time.perf_counter() - began) / 60
    return run


class Checked(NamedTuple):
    """The calls of a workload that give the same; why there is none of the compiled function; seconds of its first."""

    calls: dict[str, Call]
    refused: str
    first: float


def agreed(workload: Workload, libraries: Sequence[Library], quick: bool) -> Checked:
    """Call each library once and compare what it gives with ours."""
    calls: dict[str, Call] = {}
    refused, first, ours = "", 0.0, None
    for library in libraries:
        call = workload.call(library, quick)
        start = time.process_time()
        try:
            made = call()
        except RefusedError as refusal:
            refused = str(refusal)
            continue
        if library.name == COMPILED:
            first = time.process_time() - start
        found = [library.numpy(x) for x in made]
        ours = ours or found
        check(workload.name, library.name, ours, found)
        calls[library.name] = call
    return Checked(calls, refused, first)


def quickly(workload: Workload, libraries: Sequence[Library], rounds: int) -> Result:
    """In this process, and small."""
    calls, refused, first = agreed(workload, libraries, True)
    samples = clock.interleaved(calls, rounds)
    firsts = [first] if COMPILED in calls else []
    return Result(workload.name, workload.title, "s", workload.targets, [samples], refused, firsts)


def apart(workload: Workload, libraries: Sequence[Library], rounds: int) -> Result:
    """In new processes."""
    present = {library.name: library for library in libraries}
    refused, first = "", []
    if COMPILED in present:
        try:
            with tempfile.TemporaryDirectory() as empty:
                first = [fresh.first(workload.name, COMPILED, empty) for _ in ("empty", "filled")]
        except RefusedError as refusal:
            refused = str(refusal)
            del present[COMPILED]
    if workload.fresh:
        agreed(workload, list(present.values()), True)
        processes = [{x: [fresh.seconds(workload.name, x, "full")] for x in present} for _ in range(PROCESSES)]
    else:
        processes = [fresh.rounds(workload.name, list(present), rounds) for _ in range(PROCESSES)]
    return Result(workload.name, workload.title, "s", workload.targets, processes, refused, first)


def held(workload: Workload, libraries: Sequence[str], quick: bool) -> Result:
    """The peaks of memory, in one new process each: a peak hardly varies."""
    peaks: Samples = {}
    refused = ""
    for name in libraries:
        try:
            # The first process of a compiled function fills the cache of kernels. The compiler's memory is no part of
            # what a pass holds.
            for _ in range(2 if name == COMPILED and not quick else 1):
                peaks[name] = [fresh.held(workload.name, name, "quick" if quick else "full")]
        except RefusedError as refusal:
            refused = str(refusal)
    return Result(workload.name, workload.title, "MiB", workload.targets, [peaks], refused)


def imports(packages: Sequence[str], rounds: int) -> tuple[Result, Result]:
    """The seconds and the memory of each import, one new process at a time, in turn."""
    # pip compiles what it installs; a checkout may not have been compiled yet.
    compileall.compile_dir(Path(import_module(OURS).__file__ or "").parent, quiet=2)
    costs = [{package: fresh.import_cost(package) for package in packages} for _ in range(rounds)]
    seconds = [{package: [cost[0]] for package, cost in found.items()} for found in costs]
    memory = [{package: [cost[1]] for package, cost in found.items()} for found in costs]
    return (
        Result(IMPORT_SECONDS, "import", "s", (Target("numpy", 1.2, 1.02),), seconds),
        Result(IMPORT_MEMORY, "memory, import", "MiB", (Target("numpy", 5.0, 0.0, "difference"),), memory),
    )


def machine() -> dict[str, str]:
    """What the numbers depend on besides the libraries."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": date.today().isoformat(),
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "BLAS": f"{blas['name']} {blas['version']}",
        "threads": "1",
        "dtype": "float32",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
