"""The examples run as their first lines say, learn what they promise, and rest on the data they name."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.places import EXAMPLES

DATA = EXAMPLES / "data" / "digits.csv.gz"


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.fixture(scope="module")
def seed_0(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """What the example prints and the files it leaves, with the seed that it takes unasked."""
    place = tmp_path_factory.mktemp("digits")
    return run(EXAMPLES / "digits_mlp.py", "--quick", cwd=place), list(place.iterdir())


def test_the_digits_are_learnt(seed_0: tuple[subprocess.CompletedProcess[str], list[Path]]) -> None:
    done, left = seed_0
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the progress display is for terminals alone"
    reached = [float(text) for text in re.findall(r"test accuracy (\d\.\d+)", done.stdout)]
    assert len(reached) == 5, done.stdout
    assert reached[-1] >= 0.95
    assert left == []


def test_a_seed_repeats_a_run(seed_0: tuple[subprocess.CompletedProcess[str], list[Path]], tmp_path: Path) -> None:
    again, other = (
        run(EXAMPLES / "digits_mlp.py", "--quick", "--seed", seed, cwd=tmp_path).stdout for seed in ("0", "1")
    )
    assert seed_0[0].stdout == again != other


def test_the_loss_is_what_gets_drawn_with_its_gradients(tmp_path: Path, command: Callable[..., str]) -> None:
    command("viz", EXAMPLES / "digits_mlp.py", "-o", "loss.svg", "--view", "backward", "--", "--quick")
    picture = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    for name in ("fc1", "bn1", "fc2", "bn2", "head", "cross_entropy", "x", "t"):
        assert f">{name}<" in picture, name


def test_the_data_are_the_digits() -> None:
    table = np.loadtxt(DATA, delimiter=",", dtype=np.int64)
    assert table.shape == (1797, 65)
    pixels, labels = table[:, :-1], table[:, -1]
    assert (pixels.min(), pixels.max()) == (0, 16)
    assert set(labels.tolist()) == set(range(10))


def test_the_checksums_are_those_in_the_readme() -> None:
    text = (DATA.parent / "README.md").read_text(encoding="utf-8")
    told = dict(zip(re.findall(r"^## `([^`]+)`", text, re.M), re.findall(r"\b[0-9a-f]{64}\b", text), strict=True))
    data = [path for path in DATA.parent.iterdir() if path.suffix in (".gz", ".npz")]
    assert told == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data}
