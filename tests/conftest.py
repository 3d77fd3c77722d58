"""Fixtures that several test files share."""

import pytest

from microtensor.cli import main
from tests.commands import runner
from tests.places import stored

collect_ignore = ["golden"]  # The generators of the stored results need PyTorch.


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
