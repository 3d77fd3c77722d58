"""Where the tests find files of the project, and the results stored in them."""

import functools
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
GOLDEN = ROOT / "tests" / "golden"


@functools.cache
def stored(file):
    """Everything in one file of stored results."""
    with np.load(GOLDEN / f"{file}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
