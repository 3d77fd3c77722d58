"""Fresh processes: what an import costs, and the time or the peak of memory of one workload in one library.

Run as a module it is the child: ``python -m benchmarks.fresh seconds|memory LIBRARY WORKLOAD full|quick|SIZE``. SIZE is
that of the first axis.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20

# Nothing may be loaded before the import that is measured, so this child is a few lines of text.
_IMPORT = """
import json, time
start = time.perf_counter()
import {package}
seconds = time.perf_counter() - start
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
    """Seconds and peak MiB of ``import package`` in a new interpreter."""
    seconds, memory = _child("-c", _IMPORT.format(package=package, root=str(ROOT)))
    return seconds, memory


def held(library: str, workload: str, quick: bool) -> float:
    """Peak MiB over the import of one forward and backward pass."""
    return float(_child("-m", "benchmarks.fresh", "memory", library, workload, "quick" if quick else "full"))


def seconds(library: str, workload: str, size: str | int) -> float:
    """Processor time of one forward and backward pass, the second one of a new process."""
    return float(_child("-m", "benchmarks.fresh", "seconds", library, workload, str(size)))


def _child(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    return json.loads(done.stdout)


def main() -> None:
    """Measure as the command line says and write one number."""
    from benchmarks.libraries import LIBRARIES
    from benchmarks.workloads import HELD, TIMED

    _, what, name, chosen, size = sys.argv
    if what == "seconds":
        # Not where memory is measured: a peer does not import us.
        import_module("microtensor").tune_memory()
    library = LIBRARIES[name]()
    before = peak()
    workload = next(w for w in (*HELD, *TIMED) if w.name == chosen)
    if size.isdigit():
        call = workload.prepare(library, (int(size), *workload.size[1:]))
    else:
        call = workload.call(library, size == "quick")
    call()
    found = peak() - before
    if what == "seconds":
        start = time.process_time()
        call()
        found = time.process_time() - start
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
