"""Compiled kernels are kept in a directory of the test run, and each test starts without a warning that was given."""

import pytest

from microtensor import compiling


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def _apart(kernels, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kernels))
    monkeypatch.setattr(compiling, "_told", False)
