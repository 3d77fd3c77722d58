"""`microtensor viz`: modules, stored graphs, comparisons, scripts that fail half-way, graphs that are too large."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from microtensor.cli import main
from microtensor.viz.legend import NOT_SEARCHED
from tests.commands import runner

HEAD = "import numpy as np\nimport microtensor as mt\n"
NET = (
    HEAD
    + """
class Net(mt.nn.Module):
    def __init__(self, middle=3):
        super().__init__()
        self.fc = mt.nn.Linear(4, 3, rng=0)
        self.bn = mt.nn.BatchNorm1d(3)
        self.out = mt.nn.Linear(middle, 2, rng=0)
    def forward(self, x):
        h = mt.relu(self.bn(self.fc(x)))
        return self.out(h)
model = Net()
"""
)


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "net.py").write_text(NET)


def invoke(*args: str, **options: Any) -> Result:
    return runner().invoke(main, ["viz", *args], **options)


def script(text: str, name: str = "t.py") -> str:
    Path(name).write_text(HEAD + text)
    return name


def message(result: Result) -> str:
    return result.stderr.splitlines()[-1]


# --- modules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["net.py:model", "net.py", "net.py:Net"])
def test_a_module_is_called_with_a_random_input(target: str) -> None:
    result = invoke(target, "--input-shape", "8x4", "-f", "json", "--values", "stats")
    assert result.exit_code == 0, result.stderr
    graph = json.loads(result.stdout)
    (x,) = [node for node in graph["nodes"] if node["kind"] == "data"]
    assert (x["name"], x["shape"], graph["nodes"][graph["root"]]["shape"]) == ("x", [8, 4], [8, 2])
    assert graph["cotangent"] == "gradients for a random cotangent of the output"
    assert graph["scopes"][0]["name"] == (target.partition(":")[2] or "model")
    assert result.stdout == invoke(target, "--input-shape", "8x4", "-f", "json", "--values", "stats").stdout


def test_lines_of_the_users_module_are_recorded_and_none_of_the_tools() -> None:
    tree = invoke("net.py", "--input-shape", "8x4", "--lines").stdout
    assert set(re.findall(r"\S+\.py:\d+ in \w+", tree)) == {"net.py:11 in forward", "net.py:12 in forward"}
    name = script("layer = mt.nn.Linear(4, 3, rng=0)\n")
    assert ".py" not in invoke(name, "--input-shape", "2x4", "--lines").stdout


def test_a_module_with_two_inputs_and_a_tuple() -> None:
    name = script(
        "class Pair(mt.nn.Module):\n    def forward(self, a, b):\n        return (a * b).sum(), a\npair = Pair()\n"
    )
    tree = invoke(name, "--input-shape", "2x3,2x3").stdout
    assert {"x1", "x2"} <= set(tree.split())


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["net.py:model"], 1, "give it a random input with --input-shape 4x3"),
        (["net.py:model", "--input-shape", "4,x"], 2, "'x' must be sizes joined by x, such as 4x3"),
        (["net.py:model", "--input-shape", "8x5"], 1, "does not take an input of shape (8, 5): Linear(4, 3)"),
        (["net.py:missing", "--input-shape", "8x4"], 1, "net.py has no missing"),
    ],
)
def test_modules_that_cannot_be_drawn(args: list[str], code: int, said: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_several_modules_or_none_need_a_name() -> None:
    name = script("a = mt.nn.ReLU()\nb = mt.nn.ReLU()\nboth = [a, b]\n")
    result = invoke(name, "--input-shape", "3")
    assert (result.exit_code, "There are t.py:a, t.py:b" in message(result)) == (1, True)
    result = invoke(script("x = 1\n"), "--input-shape", "3")
    assert (result.exit_code, "none at module level" in message(result)) == (1, True)
    text = "class Odd(mt.nn.Module):\n    def forward(self, x):\n        return 3\nodd = Odd()\n"
    result = invoke(script(text), "--input-shape", "3")
    assert (result.exit_code, "must return a Tensor, not a value of type int" in message(result)) == (1, True)


# --- stored graphs ----------------------------------------------------------------------------------------


def test_a_stored_graph_is_drawn_as_the_tensor_would_be() -> None:
    assert invoke("demo:batch_norm", "-o", "g.json").exit_code == 0
    for args in (["-f", "dot"], [], ["-f", "json"], ["-f", "dot", "--depth", "0"]):
        assert invoke("g.json", *args).stdout == invoke("demo:batch_norm", *args).stdout
    # A stored graph has no values, so that the paths are not known.
    backward = [invoke(target, "-f", "dot", "--view", "backward").stdout for target in ("g.json", "demo:batch_norm")]
    assert "direct²" in backward[1]
    assert backward[0] == re.sub("<TR><TD><FONT [^>]*>direct² [^<]*</FONT></TD></TR>", "", backward[1])


@pytest.mark.parametrize(
    ("content", "said"), [("{}", "not a graph of schema"), ("\x00", "not a graph of schema"), (None, "no such file")]
)
def test_a_file_that_is_no_graph_is_a_usage_error(content: str | None, said: str) -> None:
    if content is not None:
        Path("g.json").write_text(content)
    result = invoke("g.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in message(result)


def test_a_stored_graph_is_not_overwritten_by_its_picture() -> None:
    invoke("demo:batch_norm", "-o", "g.json")
    result = invoke("g.json", "-o", "./g.json")
    assert result.exit_code == 2


def test_a_stored_graph_cannot_be_checked() -> None:
    invoke("demo:batch_norm", "-o", "g.json")
    result = runner().invoke(main, ["check", "g.json"])
    assert (result.exit_code, "is a stored graph" in message(result)) == (2, True)


# --- comparing --------------------------------------------------------------------------------------------


def test_training_against_evaluation() -> None:
    for args in (["--compare", "net.py:model", "eval"], ["net.py:model", "--compare", "eval"]):
        result = invoke(*args, "--input-shape", "8x4")
        assert result.exit_code == 0, result.stderr
        assert len(re.findall("only in train", result.stdout)) == 5
        assert len(re.findall("only in eval", result.stdout)) == 2


def test_two_functions_two_files_and_one_against_itself() -> None:
    text = "x = mt.tensor([1.0, 2.0], requires_grad=True)\na = mt.exp(x).sum()\nb = mt.tanh(x).sum()\n"
    name = script(text)
    assert "only in a" in invoke("--compare", f"{name}:a", f"{name}:b").stdout
    other = script(text, "u.py")
    assert (
        "only in u.py" in invoke("--compare", f"{name}:a", f"{other}:b").stdout
        or "only in b" in invoke("--compare", f"{name}:a", f"{other}:b").stdout
    )
    assert "only in" not in invoke("--compare", f"{name}:a", f"{name}:a").stdout
    assert invoke("--compare", f"{name}:a", f"{name}:b", "-o", "c.svg").exit_code == 0
    assert "only in a" in Path("c.svg").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--compare", "net.py:model"], "--compare needs two targets"),
        (["--compare", "net.py:model", "eval"], "say what to call it with"),
        (["--compare", "net.py:model", "eval", "--view", "backward"], "drop --view"),
        (["--compare", "net.py:model", "nowhere.py"], "nowhere.py: no such file"),
        (["demo:mlp", "-o", "a.html", "--collapse", "bn"], "a page folds in place"),
        (["demo:mlp", "-f", "mermaid", "--view", "paths"], "there are no paths in Mermaid"),
    ],
)
def test_usage_errors(args: list[str], said: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in message(result)


# --- folding and formats ----------------------------------------------------------------------------------


def test_scopes_by_name() -> None:
    args = ("--depth", "1", "--expand", "block1.bn", "--collapse", "var")
    graph = json.loads(invoke("demo:mlp", "-f", "json", *args).stdout)
    assert [scope["name"] for scope in graph["scopes"]] == ["model", "block1", "bn", "statistics", "cross_entropy"]
    assert "var" in invoke("demo:mlp", *args).stdout.split()
    result = invoke("demo:mlp", "--collapse", "blok1")
    assert (result.exit_code, "did you mean block1?" in message(result)) == (1, True)


def test_equal_blocks_share_a_card_unless_told_otherwise() -> None:
    name = script(
        "y = mt.tensor(np.ones((4, 3)), requires_grad=True)\nfor i in range(4):\n"
        "    with mt.name_scope(f'step{i}'):\n        y = mt.standardize(y, axis=0)\n"
    )
    assert "step0 … step3  × 4" in invoke(name, "--depth", "0").stdout
    assert "×" not in invoke(name, "--depth", "0", "--no-repeats").stdout


@pytest.mark.parametrize("name", ["a.pdf", "a.html", "a.mmd", "a.svg"])
def test_every_suffix_writes_a_file(name: str) -> None:
    result = invoke("demo:batch_norm", "-o", name)
    assert result.exit_code == 0, result.stderr
    start = {"pdf": b"%PDF-1.5", "html": b"<!doctype html>", "mmd": b"flowchart TD", "svg": b"<svg"}
    assert Path(name).read_bytes().startswith(start[name.rpartition(".")[2]])


@pytest.mark.parametrize("format", ["tree", "json", "svg", "dot", "pdf"])
def test_the_paths_of_a_gradient(format: str) -> None:
    result = invoke("demo:batch_norm", "--view", "paths", "-o", f"a.{format}", "-f", format)
    assert result.exit_code == 0, result.stderr
    if format != "pdf":
        assert "via the mean inside the variance" in Path(f"a.{format}").read_text()


def test_paths_of_several_inputs_point_to_the_command_for_it() -> None:
    name = script("a, b = (mt.tensor([1.0], requires_grad=True, name=n) for n in 'ab')\nloss = (a * b).sum()\n")
    result = invoke(name, "--view", "paths")
    assert (result.exit_code, "microtensor paths has the options" in message(result)) == (1, True)


def test_a_png_of_fewer_dots_says_so() -> None:
    name = script("y = mt.tensor([1.0], requires_grad=True)\nfor _ in range(200):\n    y = mt.tanh(y)\n")
    result = invoke(name, "-o", "a.png")
    assert result.exit_code == 0
    assert re.match(r"Note: the PNG is drawn with \d+ dots per inch instead of 144", message(result))


def test_what_is_amber_in_a_graph_too_large_to_be_searched_is_said() -> None:
    name = script("y = mt.tensor([1.0], requires_grad=True)\nfor _ in range(2001):\n    y = mt.tanh(y)\n")
    result = invoke(name, "-f", "dot")
    assert (result.exit_code, message(result)) == (0, f"Note: {NOT_SEARCHED}")
    assert "Note" not in invoke(name, "-f", "tree").stderr
    Path("small.json").write_text(invoke("demo:batch_norm", "-f", "json").stdout)
    assert invoke("small.json", "-f", "dot").stderr == ""


def test_a_pdf_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtensor.cli.common.is_terminal", lambda: True)
    result = invoke("demo:batch_norm", "-f", "pdf")
    assert (result.exit_code, "a PDF is not for a terminal" in message(result)) == (2, True)


# --- scripts that fail half-way ---------------------------------------------------------------------------


def test_the_operation_that_raised_is_drawn_and_marked() -> None:
    name = script(
        "x = mt.tensor(np.ones((8, 4)), requires_grad=True)\nw = mt.tensor(np.ones((3, 5)), requires_grad=True)\n"
        "h = mt.tanh(x)\ny = h @ w\n"
    )
    result = invoke(name)
    assert result.exit_code == 3
    assert message(result) == "Error: t.py:6: ValueError: matmul: (8, 4) @ (3, 5): inner sizes 4 and 3 differ"
    first, *rest = result.stdout.splitlines()
    assert re.match(r"@ +raised: ValueError: matmul: \(8, 4\) @ \(3, 5\)", first)
    assert [line.split()[-3:-1] for line in rest][-1] == ["input", "(8,"]
    result = invoke(name, "-o", "a.svg")
    assert result.exit_code == 3
    svg = Path("a.svg").read_text()
    assert "t.py:6" in svg
    assert "inner sizes 4 and" in svg
    assert invoke(name, "-o", "a.html").exit_code == 3


def test_a_module_that_refuses_its_input_is_marked_in_its_frame() -> None:
    text = NET.removeprefix(HEAD).replace("model = Net()", "model = Net(5)")
    name = script(text + "y = model(mt.tensor(np.ones((8, 4)), name='x', requires_grad=True))\n")
    result = invoke(name, "-f", "json")
    assert result.exit_code == 3
    graph = json.loads(result.stdout)
    root = graph["nodes"][graph["root"]]
    assert (root["symbol"], root["mark"]) == ("Linear(5, 2)", "failed")
    assert graph["scopes"][root["scope"]]["name"] == "model"


def test_a_named_function_that_refuses_its_input_is_marked() -> None:
    name = script("x = mt.tensor(np.ones((8, 4)), requires_grad=True)\ny = mt.var(mt.tanh(x), correction=99)\n")
    assert re.match(r"var +raised: ValueError", invoke(name).stdout)


def test_a_fault_of_the_script_itself_shows_the_latest_result() -> None:
    name = script(
        "x = mt.tensor([1.0, 2.0], requires_grad=True)\ndef f():\n    inner = mt.exp(x * 2)\n    1 / 0\nf()\n"
    )
    result = invoke(name)
    assert (result.exit_code, message(result)) == (3, "Error: t.py:6: ZeroDivisionError: division by zero")
    assert result.stdout.startswith("exp  inner  (2,)\n")


def test_nothing_is_drawn_where_nothing_was_computed_or_too_much() -> None:
    assert invoke(script("1 / 0\n"), "-o", "a.svg").exit_code == 3
    loop = "y = mt.tensor([1.0], requires_grad=True)\nfor _ in range(2100):\n    y = y * 2\n"
    assert invoke(script(loop + "1 / 0\n"), "-o", "a.svg").exit_code == 3
    assert invoke(script(loop + "y @ mt.tensor(np.ones((3, 3)))\n"), "-o", "a.svg").exit_code == 3
    assert not os.path.exists("a.svg")


def test_names_of_scopes_that_were_not_reached_do_not_hide_the_error() -> None:
    name = script("x = mt.tensor([1.0], requires_grad=True)\ny = x * 2\n1 / 0\n")
    result = invoke(name, "--collapse", "later")
    assert (result.exit_code, "ZeroDivisionError" in message(result)) == (3, True)
    assert result.stdout


# --- graphs that are too large ----------------------------------------------------------------------------


@pytest.mark.parametrize("scopes", [700, pytest.param(7000, marks=pytest.mark.slow)])
def test_a_huge_graph_is_answered_at_once_and_folds_on_demand(scopes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if scopes < 7000:
        monkeypatch.setattr("microtensor.cli.viz.HUGE", 2_000)
    name = script(
        f"y = mt.tensor([1.0], requires_grad=True)\nfor i in range({scopes}):\n"
        "    with mt.name_scope(f's{i}'):\n        y = mt.tanh(y * 2) + 1\n"
    )
    for args in ([], ["-o", "a.svg"], ["-o", "a.html"]):
        result = invoke(name, *args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"the graph has {3 * scopes:,} operations, too many to draw as they are: fold" in message(result)
    result = invoke(name, "-o", "a.svg", "--depth", "0")
    assert result.exit_code == 0
    assert f"s0 … s{scopes - 1}" in Path("a.svg").read_text()


def test_five_thousand_nodes_fold_themselves() -> None:
    name = script(
        "y = mt.tensor(np.ones((4, 3)), requires_grad=True)\nfor i in range(700):\n"
        "    with mt.name_scope(f's{i}'):\n        y = mt.standardize(y, axis=0)\n"
    )
    assert invoke(name, "-o", "a.svg").exit_code == 0
    assert "s0 … s699" in Path("a.svg").read_text()
