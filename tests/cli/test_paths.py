"""The command ``paths``: what it prints and writes, how it picks the tensor, and its exit codes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from microtensor.cli import paths as command
from microtensor.cli.common import Commands
from tests.commands import runner

GROUP = Commands(
    "microtensor",
    commands={"paths": command.paths_command},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
HEAD = """\
import numpy as np
import microtensor as mt
x = mt.tensor(np.random.default_rng(0).normal(size=(6, 3)), requires_grad=True, name="x")
"""
NORM = """\
mu = mt.mean(x, axis=0)
var = mt.mean((x - mu) ** 2, axis=0)
y = (x - mu) / mt.sqrt(var + 1e-5)
"""
LOSS = HEAD + NORM + "loss = (y ** 3).sum()\n"


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def script(text: str, name: str = "t.py") -> str:
    Path(name).write_text(text)
    return name


def paths(*args: str, **options: Any) -> Result:
    return runner().invoke(GROUP, ["paths", *args], **options)


def message(result: Result) -> str:
    return result.stderr.splitlines()[-1]


def test_help_has_examples_first_and_exit_codes_last() -> None:
    result = paths("-h")
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert (result.exit_code, lines[1]) == (0, "Examples:")
    assert lines[2].startswith("microtensor paths demo:batch_norm")
    assert lines[-1].startswith("130")


def test_the_table_of_a_demo() -> None:
    result = paths("demo:batch_norm")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "∂y/∂x, shape (8, 4): 4 paths, for a random cotangent"
    assert lines[2].startswith("bn1  BatchNorm1d(4)")
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        "direct",
        "via the mean",
        "via the variance",
        "via the mean inside the variance",
    ]


@pytest.mark.parametrize("end", ["", "loss.backward()\n", "print('noise')\nx.data = x.data * 2\n"])
def test_a_norm_written_by_hand_before_and_after_its_backward(end: str) -> None:
    result = paths(f"{script(LOSS + end)}:loss")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("∂loss/∂x, shape (6, 3): ")
    assert "via the mean inside the variance  0 " in result.stdout
    assert "norm of x" in result.stdout
    assert ("for the backward pass that the program ran" in result.stdout) == ("backward" in end)


@pytest.mark.parametrize(
    ("cut", "verdict"),
    [
        ("mean", "with the mean detached: the gradient itself is wrong"),
        ("var", "with the variance detached: the gradient itself is wrong"),
        ("mean@var", "right as a gradient, wrong from order 2 on"),
    ],
)
def test_a_cut(cut: str, verdict: str) -> None:
    lines = paths("demo:batch_norm", "--cut", cut).stdout.splitlines()
    assert lines[-4] == verdict
    assert [line.split()[-1] for line in lines[-3:]] == ["right" if cut == "mean@var" else "WRONG", "WRONG", "WRONG"]


def test_the_tensor_and_the_norm_by_name() -> None:
    whole = paths("demo:mlp").stdout
    assert re.findall(r"^model\.block\d\.bn", whole, re.M) == ["model.block1.bn", "model.block2.bn"]
    inner = paths("demo:mlp", "--of", "model.block2", "--norm", "model.block2.bn").stdout
    assert "8 paths" in inner
    assert "block1" not in inner
    assert "1 more norms" in paths("demo:mlp", "--limit", "4").stdout


def test_colour_is_for_terminals_and_for_those_who_ask() -> None:
    assert "\x1b" not in paths("demo:batch_norm").stdout
    assert "\x1b[34m" in paths("demo:batch_norm", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in paths("demo:batch_norm", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b" not in paths("demo:batch_norm", "--no-color", env={"FORCE_COLOR": "1"}).stdout
    assert "#####" in paths("demo:batch_norm", "--ascii").stdout


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("p.svg", b"<svg"),
        ("p.png", b"\x89PNG"),
        ("p.dot", b"digraph paths {"),
        ("p.gv", b"digraph paths {"),
        ("p.json", b"{\n"),
        ("p.txt", "∂y/∂x".encode()),
    ],
)
def test_the_suffix_picks_the_format(name: str, head: bytes) -> None:
    result = paths("demo:batch_norm", "-o", name)
    assert (result.exit_code, result.output) == (0, "")
    assert Path(name).read_bytes().startswith(head)


def test_a_format_without_a_file() -> None:
    assert json.loads(paths("demo:layer_norm", "-f", "json").stdout)["schema"] == "microtensor.paths/2"
    assert paths("demo:layer_norm", "-f", "svg", "-o", "-", "--theme", "dark").stdout.startswith("<svg")
    assert "takes out" not in paths("demo:layer_norm", "-f", "dot", "--no-legend").stdout
    assert paths("demo:layer_norm", "-o", "-").stdout.startswith("∂y/∂x")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["demo:batch_norm", "-o", "p.gif"], 2, "the suffix .gif of p.gif is not known; use one of .txt .json"),
        (["demo:batch_norm", "-o", "p"], 2, "p has no suffix"),
        (["demo:batch_norm", "-o", "p.svg", "-f", "png"], 2, "--format png and the suffix of p.svg disagree"),
        (["demo:batch_norm", "--cut", "sigma"], 2, "'sigma' is not one of 'mean', 'var', 'mean@var'"),
        (["nothing.py"], 2, "nothing.py"),
        (["demo:batch_norm", "-o", "no/p.svg"], 1, "cannot write no/p.svg"),
        (["demo:mlp", "--of", "block2.bn"], 1, "did you mean 'model.block2.bn'?"),
        (["demo:mlp", "--norm", "bn"], 1, "there is no norm 'bn' on the way from x to y"),
        (["two.py:y"], 1, "several tensors could be x; choose one with --of: a, b"),
        (["flat.py:y", "--cut", "mean"], 1, "cut 'mean' needs a mean on the way from x to y, and there is none"),
        (["wrong.py"], 3, "ZeroDivisionError"),
    ],
)
def test_failures_have_a_code_and_a_way_out(args: list[str], code: int, words: str) -> None:
    script("import microtensor as mt\na, b = (mt.tensor(1.0, requires_grad=True) for _ in 'ab')\ny = a * b\n", "two.py")
    script(HEAD + "y = mt.tanh(x)\n", "flat.py")
    script("1 / 0\n", "wrong.py")
    result = paths(*args)
    assert result.exit_code == code, result.output
    assert words in message(result)


def test_debug_shows_the_frames() -> None:
    result = paths("demo:mlp", "--norm", "bn", "--debug")
    assert "Traceback" in result.stderr
    assert result.exit_code == 1


def test_a_picture_needs_a_file_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtensor.cli.common.is_terminal", lambda: True)
    result = paths("demo:batch_norm", "-f", "png")
    assert (result.exit_code, message(result)) == (
        2,
        "Error: a PNG is not for a terminal; write it to a file with -o FILE.png",
    )


def test_remarks_of_the_run_are_passed_on() -> None:
    result = paths(script(LOSS + "raise SystemExit(0)\n") + ":loss")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("Note: ")


def test_arguments_go_to_the_script() -> None:
    name = script("import sys\n" + HEAD + "loss = (x * float(sys.argv[1])).sum()\n")
    assert paths(f"{name}:loss", "--", "3").exit_code == 0
    assert sys.argv[1:] != ["3"]


def test_a_module_is_called_with_a_random_input() -> None:
    name = script(
        "import microtensor as mt\nmodel = mt.nn.Sequential(mt.nn.Linear(4, 3, rng=0), mt.nn.BatchNorm1d(3))\n"
    )
    told = paths(f"{name}:model")
    assert (told.exit_code, "give it a random input with --input-shape 4x3" in told.stderr) == (1, True)
    result = paths(f"{name}:model", "--input-shape", "8x4")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "shape (8, 4)" in result.stdout.splitlines()[0]
    assert "via the mean inside the variance" in result.stdout
    assert paths(name, "--input-shape", "8x4").stdout == result.stdout
    wrong = paths(name, "--input-shape", "4,x")
    assert (wrong.exit_code, "'x' must be sizes joined by x, such as 4x3" in wrong.stderr) == (2, True)
    assert "does not take an input of shape (8, 5)" in paths(name, "--input-shape", "8x5").stderr


def test_the_help_explains_every_column() -> None:
    told = paths("-h").stdout
    table = paths("demo:batch_norm").stdout.splitlines()
    assert re.split(r"  +", table[2])[2:] == ["norm"]
    below = table[table.index(next(line for line in table if line.startswith("──"))) + 2 :]
    starts = [line.split()[0] for line in below]
    assert starts == ["direct²", "4", "left", "left"]
    for column in [
        "path",
        "norm",
        r"\(bar\)",
        r"\(note\)",
        "direct²",
        "sets",
        "left",
        "order",
        "difference",
        "verdict",
    ]:
        assert re.search(rf"^ +{column}  +[A-Z1]", told, re.M), column
    assert max(map(len, told.partition("Options:")[0].splitlines()[8:])) <= 80
