"""Programs as people have them: with a main(), results in lists and dictionaries, packages, pipes, notebooks."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import microtensor as mt
from microtensor.cli import main
from microtensor.core.tensor import Tensor
from microtensor.script import Found, InputShape, PathError, ScriptError, TargetError, parse, running
from tests.commands import runner

HEAD = "import microtensor as mt\nx = mt.tensor([1.0, 2.0], requires_grad=True)\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")


def write(text: str, name: str = "s.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(textwrap.dedent(text), encoding="utf-8")
    return name


def find(target: str, stop_at: int | None = None, args: Sequence[str] = ()) -> Found:
    with running(replace(parse(target), stop_at_backward=stop_at), args) as found:
        return found


# --- where results stand ------------------------------------------------------------------------------------

HELD = """
losses = [(x * i).sum() for i in range(3)]
out = {"scores": x * 2.0, 7: x * 3.0, "nested": {"deep": [x - 1.0]}}
class Box:
    pass
box = Box()
box.items = (x / 2.0,)
"""


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("losses[0]", 0.0),
        ("losses[-1]", 6.0),
        ("out[scores]", 2.0),
        ("out['scores']", 2.0),
        ("out[7]", 3.0),
        ("out[nested][deep][0]", 0.0),
        ("box.items[0]", 0.5),
        ("losses[2]", 6.0),
    ],
)
def test_an_item_is_found_by_its_reference(reference: str, value: float) -> None:
    found = find(f"{write(HEAD + HELD)}:{reference}")
    assert found.tensor.numpy().flat[0] == value


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("losses[3]", r"s\.py:losses has no \[3\]; it has 3 items"),
        ("out[score]", r"s\.py:out has no \[score\]; it has \[scores\], \[7\], \[nested\]"),
        ("box[0]", r"s\.py:box is of type Box, which has no items"),
        ("out[nested][deep]", r"s\.py:out\[nested\]\[deep\] is of type list"),
        ("losss[0]", r"s\.py has no losss; did you mean losses\?"),
    ],
)
def test_an_item_that_is_not_there_is_told_what_is(reference: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        find(f"{write(HEAD + HELD)}:{reference}")


def test_the_only_result_may_stand_in_a_list_a_tuple_or_a_dictionary() -> None:
    for line in ("kept = [x * 2.0]", "kept = (0, x * 2.0)", "kept = {'loss': x * 2.0}"):
        assert find(write(f"{HEAD}{line}\n")).tensor.numpy().tolist() == [2.0, 4.0]
    many = write(f"{HEAD}kept = [x * float(i) for i in range(50)]\n")
    with pytest.raises(TargetError, match=r"has 50 results; say which one with s\.py:kept\[0\]") as told:
        find(many)
    assert "kept[49]" in str(told.value)
    assert str(told.value).count("\n") < 25
    # What stands at module level by itself comes first.
    assert find(write(f"{HEAD}y = x + 1.0\nkept = [x * 2.0]\n")).tensor.numpy().tolist() == [2.0, 3.0]


MODULE = """
import microtensor as mt
class Heads(mt.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = mt.nn.Linear(3, 2, rng=0)
    def forward(self, x):
        h = self.fc(x)
        return {"scores": h, "loss": (h * h).sum(), "name": "two"}
net = Heads()
"""


def test_a_module_may_return_a_dictionary() -> None:
    name = write(MODULE)
    with running(replace(parse(f"{name}:net[loss]"), shapes=(InputShape((4, 3)),))) as found:
        assert found.tensor.shape == ()
    with (
        pytest.raises(TargetError, match=r"returns a dictionary; say which tensor of it: .*net\[scores\].*net\[loss\]"),
        running(replace(parse(f"{name}:net"), shapes=(InputShape((4, 3)),))),
    ):
        pass


def test_a_module_alone_is_told_the_option_that_it_needs() -> None:
    with pytest.raises(TargetError, match=r"but a module, net; .*s\.py:net --input-shape 4x3"):
        find(write(MODULE))


# --- main() -------------------------------------------------------------------------------------------------

MAIN = """
import microtensor as mt
def main():
    w = mt.tensor([1.0, 2.0], requires_grad=True, name="w")
    for step in range(5):
        loss = (w * w).sum() * float(step + 1)
        loss.backward()
        print("step", step)
        w.grad = None
if __name__ == "__main__":
    main()
"""


def test_where_nothing_stands_at_module_level_the_last_backward_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    found = find(write(MAIN))
    assert found.tensor.numpy() == 25.0
    (note,) = found.notes
    assert "the tensor of the last of 5 backward passes" in note
    assert "step 4" in capfd.readouterr().err


@pytest.mark.parametrize("last", [1, 2, 5])
def test_a_script_may_end_at_a_backward_pass(last: int, capfd: pytest.CaptureFixture[str]) -> None:
    found = find(write(MAIN), stop_at=last)
    assert found.tensor.numpy() == 5.0 * last
    assert capfd.readouterr().err.count("step") == last - 1
    assert found.failure is None
    assert f"stopped at backward pass {last}" in found.notes[0]


def test_a_script_that_ends_before_its_backward_pass_says_so() -> None:
    with pytest.raises(
        TargetError, match=r"s\.py called backward\(\) or grad\(\) 5 times, so it did not reach backward pass 6"
    ):
        find(write(MAIN), stop_at=6)


def test_a_script_that_catches_everything_still_ends() -> None:
    text = MAIN.replace("        loss.backward()", "        try:\n            loss.backward()\n        except: pass")
    assert find(write(text), stop_at=2).tensor.numpy() == 10.0


def test_a_named_tensor_is_drawn_as_it_was_when_the_script_was_stopped() -> None:
    text = f"{HEAD}for i in range(4):\n    y = (x * float(i)).sum()\n    y.backward()\n"
    assert find(f"{write(text)}:y", stop_at=3).tensor.numpy() == 6.0


@pytest.mark.parametrize("command", ["viz", "check", "paths"])
def test_each_command_stops_at_a_backward_pass(command: str) -> None:
    done = runner().invoke(main, [command, write(MAIN), "--stop-at-backward", "2"])
    assert done.exit_code == 0, done.output
    assert "Note: s.py was stopped at backward pass 2" in done.stderr
    assert "step 1" not in done.stderr
    missing = runner().invoke(main, [command, write(MAIN), "--stop-at-backward", "9"])
    assert (missing.exit_code, "did not reach backward pass 9" in missing.stderr) == (1, True)
    assert runner().invoke(main, [command, write(MAIN), "--stop-at-backward", "0"]).exit_code == 2


def test_a_call_of_grad_counts_too() -> None:
    text = MAIN.replace("loss.backward()", "mt.grad(loss, w)").replace("w.grad = None", "pass")
    assert find(write(text)).tensor.numpy() == 25.0
    assert find(write(text), stop_at=3).tensor.numpy() == 15.0
    assert mt.grad.__module__ == "microtensor.calculus"


def test_backward_is_what_it_was_afterwards() -> None:
    plain, other = Tensor.backward, mt.grad
    find(write(MAIN), stop_at=1)
    with pytest.raises(ScriptError):
        find(write(f"{HEAD}(x * x).sum().backward()\n1 / 0\n"))
    assert Tensor.backward is plain
    assert mt.grad is other


def test_a_program_without_a_backward_is_told_what_was_looked_for() -> None:
    text = "import microtensor as mt\ndef main():\n    return mt.tensor([1.0])\nmain()\n"
    with pytest.raises(TargetError, match=r"no tensor at module level, in no list.*it called neither backward\(\)"):
        find(write(text))


# --- where programs come from -------------------------------------------------------------------------------


def test_a_script_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for target in ("-", "-:y"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{HEAD}y = x * 2.0\n"))
        found = find(target)
        assert found.tensor.numpy().tolist() == [2.0, 4.0]
        assert found.tensor.node is not None
        assert found.tensor.node.line.startswith("<stdin>:3")
    monkeypatch.setattr("sys.stdin", io.StringIO("1 / 0\n"))
    with pytest.raises(ScriptError, match="ZeroDivisionError"):
        find("-")


def notebook(*cells: str, kind: str = "code") -> str:
    made = [{"cell_type": kind, "source": cell.splitlines(keepends=True)} for cell in cells]
    text = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}
    Path("n.ipynb").write_text(json.dumps(text), encoding="utf-8")
    return "n.ipynb"


def test_a_notebook_runs_its_code_cells() -> None:
    name = notebook(
        "%matplotlib inline\n!ls\n" + HEAD,
        "%%time\nimport nowhere",
        "x?",
        'text = """\n%kept\n"""\ny = x * float(len(text))',
        "y",
    )
    found = find(name)
    assert found.tensor.numpy().tolist() == [7.0, 14.0]
    assert found.tensor.node is not None
    assert "n.ipynb, cell 4:4" in found.tensor.node.line
    assert find(f"{name}:y").tensor.shape == (2,)


def test_a_notebook_that_fails_says_in_which_cell() -> None:
    with pytest.raises(ScriptError, match=r"n\.ipynb, cell 2:1: ZeroDivisionError"):
        find(notebook(HEAD, "1 / 0"))
    with pytest.raises(PathError, match="is no notebook of version 4"):
        find(write("{}", "b.ipynb"))
    with pytest.raises(PathError, match="is no notebook of version 4"):
        find(write("not JSON", "b.ipynb"))


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")
def test_a_package_is_imported_and_a_relative_import_is_told_how() -> None:
    write(f"{HEAD}loss = (x * x).sum()\n", "pkg/__init__.py")
    write("from . import x\nloss = x.sum()\n", "pkg/train.py")
    assert find("pkg:loss").tensor.numpy() == 5.0
    assert find("pkg.train:loss").tensor.numpy() == 3.0
    with pytest.raises(ScriptError, match=r"relative import.*; it is part of a package: name it pkg\.train:loss"):
        find("pkg/train.py:loss")
