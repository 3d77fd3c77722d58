"""The command: choose workloads, measure, print the table, write the JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# The linear algebra libraries read these once, when NumPy loads them: so before every other import.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"


def main() -> None:
    """Run what the command line asks for."""
    from benchmarks import measure, report
    from microtensor import tune_memory

    known = measure.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="microtensor against its peers")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and two rounds: checks, not numbers")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=known, help=f"of {', '.join(known)}")
    parser.add_argument(
        "--repeat", type=int, metavar="N", help="rounds at most; slow workloads take fewer (default 25)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write medians, ratios, machine and versions here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a table with one column a library here")
    args = parser.parse_args()
    if args.repeat is not None and args.repeat < 1:
        parser.error("--repeat takes a positive number")
    tune_memory()
    found = measure.measure(args.only or known, quick=args.quick, repeat=args.repeat)
    sys.stdout.write(report.table(found))
    if args.markdown:
        args.markdown.write_text(report.markdown(found), encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps(report.as_json(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
