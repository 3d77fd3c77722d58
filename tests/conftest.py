"""Fixtures that several test files share."""

import gc

import pytest
from hypothesis import settings

from microtensor.cli import main
from tests.commands import runner
from tests.places import stored

# The generators of the stored results need PyTorch. The programs run in a test, with microtensor.torch in its place.
collect_ignore = ["golden", "pytorch/programs"]

settings.register_profile("short", max_examples=25, deadline=None)
settings.register_profile("long", max_examples=100, deadline=None)


def pytest_configure(config):
    """Drawn tests that do not say how often draw less where the slow tests do not run."""
    settings.load_profile("short" if config.option.markexpr == "not slow" else "long")


def pytest_collection_finish():
    """The tests themselves live as long as the run: the collector of cycles need not walk them again and again."""
    gc.collect()
    gc.freeze()


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
