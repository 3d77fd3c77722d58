"""Fixtures that several test files share."""

import functools
from pathlib import Path

import numpy as np
import pytest
from commands import runner

from microtensor.cli import main

collect_ignore = ["golden"]  # The generators of the stored results need PyTorch.
GOLDEN = Path(__file__).parent / "golden"


@functools.cache
def stored(file):
    """Everything in one file of stored results."""
    with np.load(GOLDEN / f"{file}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="session")
def golden():
    """PyTorch's results by case: ``golden("linear")["d_weight"]``; see the generators, golden/make_*.py."""

    def case(name, file="golden"):
        found = {key.removeprefix(f"{name}/"): v for key, v in stored(file).items() if key.startswith(f"{name}/")}
        assert found, name
        return found

    return case


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``microtensor`` in this process, in an empty folder: ``command("viz", "a.py", ...)`` is what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = runner().invoke(main, list(map(str, arguments)))
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return run
