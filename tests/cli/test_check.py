"""The command ``check``: what it prints, its exit codes, and what it makes of tensors, functions and used graphs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from microtensor.cli import main
from tests.commands import runner

HEAD = """\
import numpy as np
import microtensor as mt
from microtensor.core.primitive import primitive
w = mt.tensor([1.0, 2.0], requires_grad=True)
bias = mt.tensor(0.5, requires_grad=True)
"""
LOSS = HEAD + "loss = (mt.exp(w) * w + bias).sum()\nprint('noise')\n"
WRONG = HEAD + "bad = primitive('bad', lambda x: x**3, lambda g, y, x: g * x * x)\nloss = (bad(w) + bias).sum()\n"
NORM = """\
import numpy as np
import microtensor as mt
def norm(x=np.random.default_rng(0).normal(size=(6, 3)), *, weight=mt.tensor([1.0, 2.0, 3.0]), eps=1e-3):
    mean = mt.mean(x, axis=0)
    var = CUT(mt.mean(mt.square(x - mean), axis=0))
    return (x - mean) / mt.sqrt(var + eps) * weight
"""


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def script(text: str, name: str = "t.py") -> str:
    Path(name).write_text(text)
    return name


def check(*args: str, **options: Any) -> Result:
    return runner().invoke(main, ["check", *args], **options)


def message(result: Result) -> str:
    return result.stderr.splitlines()[-1]


def test_help_has_examples_first_and_exit_codes_last() -> None:
    result = check("-h")
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert (result.exit_code, lines[1]) == (0, "Examples:")
    assert lines[2].startswith("microtensor check")
    assert lines[-1].startswith("130")
    assert "microtensor check" in runner().invoke(main, ["-h"]).stdout


# --- what is right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["1", "2"])
def test_a_right_loss(order: str) -> None:
    result = check(script(LOSS), "--order", order)
    assert (result.exit_code, result.stderr) == (0, "noise\n")
    first, second, verdict = result.stdout.splitlines()
    assert re.fullmatch(r"w     \(2,\)    \d\.\de-\d\d  ok", first)
    assert re.fullmatch(r"bias  scalar  \d\.\de-\d\d  ok", second)
    assert verdict == f"right: loss, first{' and second' if order == '2' else ''} order, for 2 inputs"


@pytest.mark.parametrize("demo", ["batch_norm", "layer_norm", "mlp"])
def test_the_demos_are_right(demo: str) -> None:
    result = check(f"demo:{demo}")
    assert (result.exit_code, result.stderr) == (0, "")
    *rows, verdict = result.stdout.splitlines()
    assert all(row.endswith("  ok") for row in rows)
    assert verdict.startswith("right: ")
    names = [row.split()[0] for row in rows]
    assert len(set(names)) == len(names) >= 3


@pytest.mark.parametrize("target", ["t.py", "t.py:make", "t:make"])
def test_a_function_without_parameters_is_called(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script(HEAD + "def make() -> mt.Tensor:\n    return mt.sum(w * bias)\n")
    result = check(target)
    monkeypatch.delitem(sys.modules, "t", raising=False)
    assert result.exit_code == 0, result.stderr
    assert [row.split()[0] for row in result.stdout.splitlines()] == ["w", "bias", "right:"]


@pytest.mark.parametrize("target", ["t.py", "t.py:norm"])
def test_a_function_of_numbers_is_checked_at_its_defaults(target: str) -> None:
    script(NORM.replace("CUT", ""))
    result = check(target, "--order", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [row.split("  ")[0] for row in result.stdout.splitlines()]
    assert rows[:3] == ["x", "weight", "eps"]


def test_integers_are_passed_on_and_float32_is_widened() -> None:
    name = script(
        HEAD.partition("w =")[0]
        + "def loss(x=np.eye(3, dtype='float32'), labels=np.array([0, 2, 1])):\n"
        + "    assert (x.dtype, labels.dtype) == (np.float64, np.int64)\n"
        + "    return mt.nn.functional.cross_entropy(x, labels)\n"
    )
    result = check(f"{name}:loss")
    assert result.exit_code == 0, result.stderr
    assert [row.split()[0] for row in result.stdout.splitlines()] == ["x", "right:"]


def test_a_function_with_other_defaults_is_called_as_it_is() -> None:
    name = script(HEAD + "def make(axis=0, scale=2.0):\n    return mt.sum(w * scale, axis=axis)\n")
    result = check(f"{name}:make")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("w  (2,)")


def test_script_arguments_follow_two_dashes() -> None:
    name = script(LOSS + "import sys\nassert sys.argv[1:] == ['--order', '7'], sys.argv\n")
    assert check(name, "--", "--order", "7").exit_code == 0


def test_a_used_graph_and_one_whose_leaf_has_moved_on() -> None:
    used = check(script(LOSS + "loss.backward()\n"))
    assert (used.exit_code, used.stderr) == (0, "noise\n")
    moved = check(script(LOSS + "loss.backward()\nmt.optim.SGD([w], lr=0.1).step()\n"))
    assert moved.exit_code == 0
    assert message(moved) == (
        "Note: w changed after loss was computed, as by an optimiser's step; checking at the new value"
    )


def test_an_exit_after_the_result_leaves_a_note() -> None:
    result = check(script(LOSS + "raise SystemExit(0)\n"))
    assert result.exit_code == 0
    assert message(result) == "Note: t.py exited with status 0; checking what it had defined by then"


def test_an_exit_that_means_failure_is_told_after_the_check() -> None:
    result = check(script(LOSS + "raise SystemExit(3)\n"))
    assert (result.exit_code, "right: loss" in result.stdout) == (3, True)
    assert message(result) == "Error: t.py: script exited with status 3"


# --- what is wrong ----------------------------------------------------------------------------------------


def test_a_wrong_rule() -> None:
    result = check(script(WRONG))
    assert (result.exit_code, result.stderr) == (1, "")
    first, second, verdict, detail = result.stdout.splitlines()
    assert re.fullmatch(r"w     \(2,\)    \d\.\de[+-]\d\d  WRONG", first)
    assert second.endswith("  ok")
    assert verdict == "wrong: loss"
    assert re.fullmatch(
        r"  the rule of bad for argument 0 at index \(1,\): analytic \S+, numeric \S+, error \S+; "
        r"it is 0\.333333 times the true gradient",
        detail,
    )


def test_a_path_that_is_cut_shows_in_a_function() -> None:
    result = check(script(NORM.replace("CUT", "mt.stop_gradient")))
    assert result.exit_code == 1
    rows = result.stdout.splitlines()
    assert [row.split()[-1] for row in rows[:3]] == ["WRONG", "ok", "ok"]
    assert "input 0 (x)" in rows[4]
    assert rows[4].endswith("equals the gradient with the variance over axis 0 detached")


def test_a_second_order_that_is_wrong() -> None:
    name = script(
        HEAD + "once = primitive('once', lambda x: x**3, lambda g, y, x: g * mt.stop_gradient(3 * x * x))\n"
        "loss = once(w).sum()\n"
    )
    assert check(name).exit_code == 0
    result = check(name, "--order", "2")
    assert result.exit_code == 1
    assert "second order, the rules of once" in result.stdout


def test_a_rule_that_raises_is_a_wrong_rule_and_no_crash() -> None:
    name = script(HEAD + "bad = primitive('bad', lambda x: x**3, lambda g, y, x: g.reshape(7))\nloss = bad(w).sum()\n")
    result = check(name)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "inf  WRONG" in result.stdout
    assert "the rule of bad for argument 0 raised ValueError" in result.stdout


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (HEAD.replace("2.0]", "2.0], dtype='float32'") + "loss = w.sum()\n", 1, 'mt.set_default_dtype("float64")'),
        (HEAD + "loss = w\n", 1, "t.py:loss has no history to check"),
        (HEAD + "loss = mt.no_grad()(mt.exp)(w)\n", 1, "t.py:loss has no history to check"),
        (HEAD + "def loss(x): return x\n", 1, "whose parameters all have a tensor, an array or a float"),
        (HEAD + "def loss(x=1.0): return 3\n", 1, "t.py:loss(x) must return a Tensor, not a value of type int"),
        (HEAD + "def loss(i=np.arange(3)): return mt.sum(i)\n", 1, "no input requires a gradient"),
        (HEAD + "def loss(x=1.0): raise ValueError('mine')\n", 3, "ValueError: mine"),
        ("1 / 0\n", 3, "t.py:1: ZeroDivisionError: division by zero"),
        ("while True: pass  # for ever\n", 3, "t.py: script ran longer than 0.2 s"),
        (HEAD + "import time\ndef loss(x=1.0):\n    time.sleep(20)  # for ever\n", 3, "longer than 0.2 s"),
        ("raise KeyboardInterrupt\n", 130, "Interrupted"),
    ],
)
def test_a_script_that_goes_wrong(text: str, code: int, said: str) -> None:
    result = check(f"{script(text)}:loss", "--timeout", "0.2" if "for ever" in text else "30")
    assert result.exit_code == code, result.stderr
    assert said in message(result)
    assert (result.stdout, "microtensor/" in result.stderr) == ("", False)


def test_a_function_that_fails_at_a_moved_input_only() -> None:
    name = script(HEAD + "def loss(x=1.0):\n    assert x.item() == 1.0, 'moved'\n    return x * x\n")
    result = check(f"{name}:loss")
    assert (result.exit_code, message(result)) == (3, "Error: t.py:7: AssertionError: moved")
    assert "check.py" not in result.stderr
    assert "checking" in check(f"{name}:loss", "--debug").stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere.py"], "nowhere.py: no such file"),
        (["demo:"], "which demo?"),
        (["t.py", "--order", "3"], "'3' is not one of"),
        (["t.py", "--timeout", "0"], "must be between 0 and 1e+06 seconds, not 0"),
        ([], "Missing argument 'TARGET'"),
    ],
)
def test_usage_errors(args: list[str], said: str) -> None:
    script(LOSS)
    result = check(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in message(result)


def test_names_that_could_move_the_cursor_are_spelt_out() -> None:
    result = check(script(WRONG + "w.name = 'a\\x1b[31m\\u202e'\nloss.name = 'b\\n'\n"))
    assert result.exit_code == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", result.stdout)
    assert len(result.stdout.splitlines()) == 4


def test_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "microtensor", "check", script(LOSS)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"noise\n")
    assert done.stdout.endswith(b"right: loss, first order, for 2 inputs\n")
    reading, writing = os.pipe()
    os.close(reading)
    broken = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writing)
    assert (broken.returncode, broken.stderr) == (1, b"noise\n")


# --- constants that are statistics, and modules -------------------------------------------------------------

CUT = """\
import numpy as np
import microtensor as mt
x = mt.tensor(np.random.default_rng(0).normal(3.0, 2.0, size=(6, 3)), requires_grad=True, name="x")
"""
PRECISE = "import numpy as np\nimport microtensor as mt\nmt.set_default_dtype('float64')\n"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "mu = x.mean(axis=0).detach()\ny = (x - mu) / mt.sqrt(mt.var(x, axis=0) + 1e-5)",
            ["the mean of x over axis 0"],
        ),
        (
            "y = (x - x.mean(axis=0)) / mt.sqrt(mt.stop_gradient(mt.var(x, axis=0)) + 1e-5)",
            ["the variance of x over axis 0"],
        ),
        ("y = x * (1 / x.numpy().std(axis=0))", ["the variance of x over axis 0"]),
        (
            "with mt.no_grad(): s = mt.rsqrt(mt.mean(x * x, axis=1, keepdims=True) + 1e-6)\ny = x * s",
            ["the mean square of x over axis 1"],
        ),
        ("y = x - x.mean().detach()", ["the mean of x over axes 0, 1"]),
        ("y = x / (mt.var(x).detach() + 1e-3) ** 0.5", ["the variance of x over axes 0, 1"]),
        (
            "mu, v = x.numpy().mean(0), x.numpy().var(0)\ny = (x - mu) / np.sqrt(v + 1e-5)",
            ["the mean of x over axis 0", "the variance of x over axis 0"],
        ),
        ("y = mt.standardize(x, axis=0)", []),
        ("y = mt.softmax(x) * mt.logsumexp(x, axis=0)", []),
        ("y = x * np.array([1.0, 2.0, 3.0]) - mt.tensor(0.5)", []),
        ("y = mt.standardize(x, axis=0) / mt.sqrt(mt.ones(3) + 1e-5)", []),
        ("y = mt.sqrt(x * x + 1.0) * (x.numpy() > 0)", []),
    ],
)
def test_a_statistic_that_counts_as_a_constant_is_told(lines: str, told: list[str]) -> None:
    result = check(f"{script(CUT + lines + chr(10) + 'loss = (y**3).sum()' + chr(10))}:loss")
    assert result.exit_code == 0, result.stderr
    notes = result.stderr.splitlines()
    assert [note.partition(" is not recorded")[0] for note in notes] == [f"Note: {words}" for words in told]
    assert all("check a function" in note for note in notes)


def test_a_module_is_called_with_random_inputs() -> None:
    name = script(PRECISE + "model = mt.nn.Sequential(mt.nn.Linear(4, 3, rng=0), mt.nn.BatchNorm1d(3))\n")
    told = check(f"{name}:model")
    assert (told.exit_code, "give it a random input with --input-shape 4x3" in told.stderr) == (1, True)
    for target in (f"{name}:model", name):
        result = check(target, "--input-shape", "8x4")
        assert (result.exit_code, result.stderr) == (0, "")
        assert [row for row in result.stdout.splitlines() if row.split()[:3] == ["x", "(8,", "4)"]]
        assert "for 5 inputs" in result.stdout
    assert check(name, "--input-shape", "4,x").exit_code == 2
    assert "does not take an input of shape (8, 5)" in check(name, "--input-shape", "8x5").stderr


FUNCTION = """
def norm(x, gamma, eps=1e-5):
    xhat = (x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + eps)
    return gamma * xhat, (x, gamma)
def scaled(x, by=np.full(3, 2.0)):
    return (x * by).sum()
"""


def test_a_function_is_called_with_random_inputs_by_the_names_of_its_parameters() -> None:
    name = script(PRECISE + FUNCTION)
    rows = check(f"{name}:norm", "--input-shape", "x=6x3", "--input-shape", "gamma=3").stdout.splitlines()
    assert [row.split("(")[0].strip() for row in rows[:-1]] == ["x", "gamma"]
    assert rows[-1].endswith("first order, for 2 inputs")
    assert check(f"{name}:norm", "--input-shape", "6x3,3").stdout.splitlines() == rows
    # A default that is an array is an input too.
    assert "for 2 inputs" in check(f"{name}:scaled", "--input-shape", "4x3").stdout
    assert "(4, 2)" in check(f"{name}:scaled", "--input-shape", "x=4x2,by=2").stdout


@pytest.mark.parametrize(
    ("function", "shapes", "code", "said"),
    [
        ("norm", "x=6x3", 1, "its parameter gamma has no input; give it one with --input-shape gamma=4x3"),
        ("norm", "y=6x3", 1, "it has no parameter y; it has x, gamma, eps"),
        ("norm", "6x3,3,3", 1, "3 shapes are more than it has parameters without a default"),
        ("norm", "2x=3", 2, "'2x' is not the name of a parameter"),
        ("norm", "x=3:float", 2, "after : comes int"),
        ("norm", "x=a", 2, "must be sizes joined by x"),
    ],
)
def test_shapes_that_do_not_fit_a_function(function: str, shapes: str, code: int, said: str) -> None:
    result = check(f"{script(PRECISE + FUNCTION)}:{function}", "--input-shape", shapes)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.split())


def test_a_function_that_needs_arguments_is_told_the_option() -> None:
    assert "--input-shape x=4x3" in check(f"{script(PRECISE + FUNCTION)}:norm").stderr


def test_whole_numbers_are_the_words_of_an_embedding() -> None:
    name = script(PRECISE + "net = mt.nn.Sequential(mt.nn.Embedding(5, 4), mt.nn.Tanh())\n")
    result = check(name, "--input-shape", "7x3:int")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "for 1 input" in result.stdout
    assert "--input-shape 4x3:int gives whole numbers" in check(name, "--input-shape", "7x3").stderr
