"""The command ``grade``: what it prints, its exit codes, and where it finds the functions and their inputs."""

from pathlib import Path

import pytest

from microtensor.cli import main
from tests.commands import runner

FUNCTIONS = """\
import numpy as np
import microtensor as mt
print("noise")
def forward(x, gamma, eps=1e-5):
    xc = x - x.mean(axis=0)
    return gamma * xc / mt.sqrt((xc * xc).mean(axis=0) + eps)
def backward(dout, x, gamma, eps=1e-5):
    sigma = np.sqrt(x.var(axis=0) + eps)
    xhat, d = (x - x.mean(axis=0)) / sigma, dout * gamma
    variance = WEIGHT * xhat * (d * xhat).mean(axis=0)
    return (d - d.mean(axis=0) - variance) / sigma, (dout * xhat).sum(axis=0)
"""
VARIABLES = "x, gamma = np.random.default_rng(1).normal(size=(8, 4)), np.array([1.0, 2.0, 3.0, 4.0])\n"
SHAPES = ("--input-shape", "x=8x4", "--input-shape", "gamma=4")


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def script(more="", weight=1):
    Path("norm.py").write_text(FUNCTIONS.replace("WEIGHT", str(weight)) + more)


def grade(*args):
    return runner().invoke(main, ["grade", *args])


def test_right_is_0_and_wrong_is_1():
    script(VARIABLES)
    result = grade("norm.py")
    assert (result.exit_code, result.stderr) == (0, "noise\n")
    assert result.stdout.splitlines() == ["backward is right", "  dx      right", "  dgamma  right"]
    script(VARIABLES, weight=0)
    result = grade("norm.py")
    assert result.exit_code == 1
    assert "- dx: the path through the variance is missing (N = 8 values per set, axis 0)" in result.stdout.splitlines()


@pytest.mark.parametrize(
    "inputs",
    [
        "def inputs():\n    return np.eye(8)[:, :4], np.ones(4)\n",
        "def inputs():\n    return {'gamma': np.ones(4), 'x': np.eye(8)[:, :4]}\n",
        "def inputs():\n    return [np.eye(8)[:, :4], np.ones(4), 1e-3]\n",
    ],
)
def test_inputs_come_from_a_function(inputs):
    script(inputs)
    assert grade("norm.py").exit_code == 0


def test_inputs_come_from_the_command_line():
    script()
    assert grade("norm.py", *SHAPES).exit_code == 0
    script("gamma = np.ones(4)\n")
    assert grade("norm.py", *SHAPES[:2]).exit_code == 0


def test_functions_of_other_names_and_of_modules(monkeypatch):
    script(VARIABLES + "mine, wrong = forward, lambda *a: backward(*a)[::-1]\n")
    assert grade("norm.py:mine,backward").exit_code == 0
    assert grade("norm.py:mine,wrong").exit_code == 1
    monkeypatch.syspath_prepend(".")
    assert grade("norm:mine,backward").exit_code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["norm.py"], ["no input for x", "--input-shape", "inputs()"]),
        (["norm.py", *SHAPES[:2]], ["no input for gamma"]),
        (["norm.py", "--input-shape", "y=4"], ["no parameter y", "x, gamma, eps"]),
        (["norm.py", "--input-shape", "4x3"], ["x=8x4"]),
        (["norm.py", "--input-shape", "x=4.5"], ["sizes"]),
        (["norm.py:forward,other"], ["other is not defined", "my_forward,my_backward"]),
        (["norm.py:np,backward"], ["np is no function"]),
        (["norm.py:forward"], ["one function", "forward,backward"]),
        (["norm.py:a b,c"], ["names of two functions"]),
        (["none.py"], ["no such file"]),
        (["demo:batch_norm"], ["no backward"]),
    ],
)
def test_usage_is_2(args, words):
    script()
    result = grade(*args)
    assert result.exit_code == 2, result.stderr
    assert all(word in result.stderr for word in words)


def test_what_check_backward_refuses_is_2():
    script("def inputs():\n    return np.ones((8, 4)), np.full(4, np.nan)\n")
    result = grade("norm.py")
    assert result.exit_code == 2
    assert "gamma holds NaN" in result.stderr


def test_a_script_that_fails_is_3_and_so_is_a_forward():
    script("1 / 0\n")
    assert grade("norm.py", *SHAPES).exit_code == 3
    script("def forward(x):\n    raise RuntimeError('mine')\n")
    result = grade("norm.py", *SHAPES[:2])
    assert result.exit_code == 3
    assert "mine" in result.stderr


def test_a_backward_that_raises_is_wrong():
    script(VARIABLES + "def backward(dout, x, gamma):\n    return dout @ x\n")
    result = grade("norm.py")
    assert result.exit_code == 1
    assert "norm.py:14: return dout @ x" in result.stdout


def test_help_has_examples_first_and_exit_codes_last():
    result = grade("-h")
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert (result.exit_code, lines[1]) == (0, "Examples:")
    assert lines[-1].startswith("130")
    assert "microtensor grade" in runner().invoke(main, ["-h"]).stdout
