"""Writes pytorch.json.gz: what PyTorch gives for the cases and programs of tests/pytorch, in float32 and in float64.

Run by hand, ``python tests/golden/make_pytorch.py``; the tests read the file and never import PyTorch. It was written
with PyTorch 2.13.0 on the CPU; the version is in the file.
"""

import gzip
import json
import sys
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.pytorch.cases import cases, outcome  # noqa: E402
from tests.pytorch.programs import PROGRAMS, ran  # noqa: E402


def main():
    """Run everything and write the file."""
    warnings.simplefilter("ignore")
    found = {"version": torch.__version__}
    for kind in ("float32", "float64"):
        found[kind] = {name: outcome(code, torch, kind == "float64") for name, code in cases().items()}
    found["programs"] = {
        kind: {path.stem: ran(path, torch, kind == "float64") for path in PROGRAMS} for kind in ("float32", "float64")
    }
    data = json.dumps(found, indent=0).encode()
    with open(Path(__file__).with_name("pytorch.json.gz"), "wb") as file:
        file.write(gzip.compress(data, mtime=0))


if __name__ == "__main__":
    main()
