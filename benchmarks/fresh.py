"""Fresh processes: the cost of an import, and the times or the peak of memory of one workload.

Run as a module it is the child: ``python -m benchmarks.fresh rounds|seconds|first|memory WORKLOAD SIZE LIBRARY...``.
SIZE is ``full``, ``quick``, or that of the first axis.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
# A program that is not ready after so many seconds counts as refused: nobody would wait for it.
PATIENCE = 60.0

# Nothing may be loaded before the import that is measured, so this child is a few lines of text.
_IMPORT = """
import json, time
start = time.process_time()
import {package}
seconds = time.process_time() - start
import sys
sys.path.insert(0, {root!r})
from benchmarks.fresh import peak
print(json.dumps([seconds, peak()]))
"""


def peak() -> float:
    """The largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss survives exec on Linux and would hand the parent's peak down to the child.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MIB
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / MIB if sys.platform == "darwin" else used * 1024 / MIB


def import_cost(package: str) -> tuple[float, float]:
    """Seconds of the processor and peak MiB of ``import package`` in a new interpreter."""
    seconds, memory = _child("-c", _IMPORT.format(package=package, root=str(ROOT)))
    return seconds, memory


def rounds(workload: str, libraries: Sequence[str], count: int) -> dict[str, list[float]]:
    """The times of each library in interleaved rounds, all in one new process, after a check that they agree."""
    found: dict[str, list[float]] = _child("-m", "benchmarks.fresh", "rounds", workload, str(count), *libraries)
    return found


def seconds(workload: str, library: str, size: str | int) -> float:
    """Processor time of one forward and backward pass, the second one of a new process.

    Raises
    ------
    RefusedError
        The library cannot run it.
    """
    return _one("seconds", workload, library, size)


def first(workload: str, library: str, cache: str) -> float:
    """Processor time of the very first pass of a process, with the import of what compiles the program.

    Raises
    ------
    RefusedError
        The library cannot run it, or not soon.
    """
    return _one("first", workload, library, "full", cache)


def held(workload: str, library: str, size: str) -> float:
    """Peak MiB over the import of one forward and backward pass.

    Raises
    ------
    RefusedError
        The library cannot run it.
    """
    return _one("memory", workload, library, size)


def _one(what: str, workload: str, library: str, size: str | int, cache: str = "") -> float:
    from benchmarks.libraries import COMPILED, RefusedError

    patience = PATIENCE if library == COMPILED else None
    try:
        found = _child("-m", "benchmarks.fresh", what, workload, str(size), library, patience=patience, cache=cache)
    except subprocess.TimeoutExpired:
        raise RefusedError(f"not ready after {PATIENCE:g} s") from None
    if isinstance(found, str):
        raise RefusedError(found)
    return float(found)


def _child(*arguments: str, patience: float | None = None, cache: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=patience,
        env={**os.environ, "XDG_CACHE_HOME": cache} if cache else None,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Measure as the command line says and write what was found, or the reason for a refusal."""
    from benchmarks.libraries import RefusedError

    try:
        what, workload, size, *libraries = sys.argv[1:]
        found = _measured(what, workload, size, libraries)
    except RefusedError as refusal:
        found = str(refusal)
    sys.stdout.write(json.dumps(found))


def _measured(what: str, name: str, size: str, libraries: list[str]) -> Any:
    from benchmarks.libraries import LIBRARIES
    from benchmarks.workloads import HELD, TIMED

    workload = next(w for w in (*HELD, *TIMED) if w.name == name)
    if what != "memory":
        # Not where memory is measured: a peer does not import us.
        import_module("microtensor").tune_memory()
    if what == "rounds":
        from benchmarks import clock, measure

        checked = measure.agreed(workload, [LIBRARIES[name]() for name in libraries], False)
        return clock.interleaved(checked.calls, int(size))
    start = time.process_time()
    library = LIBRARIES[libraries[0]]()
    loaded = time.process_time() - start
    before = peak()
    if size.isdigit():
        call = workload.prepare(library, (int(size), *workload.size[1:]))
    else:
        call = workload.call(library, size == "quick")
    start = time.process_time()
    call()
    if what == "first":
        return loaded + time.process_time() - start
    if what == "memory":
        return peak() - before
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
