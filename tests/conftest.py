"""Fixtures that several test files share."""

from pathlib import Path

import numpy as np
import pytest

collect_ignore = ["golden"]  # The generator of the stored results needs PyTorch.
GOLDEN = Path(__file__).parent / "golden" / "golden.npz"


@pytest.fixture(scope="session")
def golden():
    """PyTorch's results by case: ``golden("linear")["d_weight"]``; see golden/make_golden.py."""
    with np.load(GOLDEN, allow_pickle=False) as file:
        stored = {key: file[key] for key in file.files}

    def case(name):
        found = {key.removeprefix(f"{name}/"): value for key, value in stored.items() if key.startswith(f"{name}/")}
        assert found, name
        return found

    return case
