"""The command: choose workloads, measure, print the tables, write the page and the JSON."""

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
    from benchmarks import growth, measure, report
    from microtensor import tune_memory

    known = measure.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="microtensor against its peers")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and two rounds: checks, not numbers")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=known, help=f"of {', '.join(known)}")
    parser.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help=f"rounds in each process at most; slow workloads take fewer (default {measure.ROUNDS})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write medians, promises, machine and versions here")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write a page here, and the picture of growth beside it, as SVG"
    )
    args = parser.parse_args()
    if args.repeat is not None and args.repeat < 1:
        parser.error("--repeat takes a positive number")
    if args.markdown:
        # Better missed now than after the measurements.
        import matplotlib  # noqa: F401
    tune_memory()
    found = measure.measure(args.only or known, quick=args.quick, repeat=args.repeat)
    sys.stdout.write(report.tables(found))
    if args.json:
        args.json.write_text(json.dumps(report.as_json(found), indent=2) + "\n")
    if args.markdown:
        picture = args.markdown.with_suffix(".svg")
        args.markdown.write_text(report.page(found, picture.name), encoding="utf-8")
        if found.growth:
            growth.draw(found.growth, report.facts(found), picture)


if __name__ == "__main__":
    main()
