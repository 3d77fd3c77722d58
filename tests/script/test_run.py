"""Running a script as Python would, and finding the tensor in it: every way a script can behave."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import microtensor as mt
from microtensor.core.tensor import Tensor
from microtensor.graph import Graph
from microtensor.script import Found, PathError, ScriptError, Target, TargetError, parse, running

Write = Callable[..., Path]

HEAD = "import microtensor as mt\nx = mt.tensor([1.0, 2.0], requires_grad=True)\n"
LOSS = HEAD + "loss = (x * x).sum()\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "s.py", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(text).encode(encoding))
        return path

    return write


def find(path: Path | str, attr: str | None = None, args: Sequence[str] = (), timeout: float | None = None) -> Found:
    with running(parse(f"{path}:{attr}" if attr else str(path)), args, timeout) as found:
        return found


# --- targets ----------------------------------------------------------------------------------------------


def test_target_of_every_kind(write: Write) -> None:
    path = str(write(LOSS))
    assert parse(path) == Target(path, path=path)
    assert parse(f"{path}:model.loss") == Target(path, path=path, attr="model.loss")
    assert parse("pkg.module:attr") == Target("pkg.module", module="pkg.module", attr="attr")
    assert parse("demo:mlp").demo == "mlp"


@pytest.mark.parametrize("text", [r"C:\project\x.py", "C:/project/x.py"])
def test_the_colon_of_a_drive_is_part_of_the_path(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path == text)
    assert parse(f"{text}:loss") == Target(text, path=os.path.abspath(text), attr="loss")
    assert parse(text) == Target(text, path=os.path.abspath(text))


def test_a_missing_path_with_a_drive_is_named_whole() -> None:
    with pytest.raises(PathError, match=r"^C:\\nowhere\\x\.py: no such file"):
        parse(r"C:\nowhere\x.py")


def test_a_file_with_a_colon_in_its_name(write: Write) -> None:
    path = str(write(LOSS, "a:b.py"))
    assert parse(path).path == path


@pytest.mark.parametrize("tail", ["", "1st", "a b", "a..b", "loss[", "loss[]", "loss[0]x"])
def test_what_follows_the_colon_must_be_a_name(write: Write, tail: str) -> None:
    with pytest.raises(PathError, match=r"after the colon.*:loss"):
        parse(f"{write(LOSS)}:{tail}")


def test_missing_file_directory_and_module(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PathError, match=r"nowhere\.py: no such file$"):
        parse(str(tmp_path / "nowhere.py"))
    with pytest.raises(PathError, match="is a directory"):
        parse(str(tmp_path))
    with pytest.raises(PathError, match="there is no module nowhere_at_all here"):
        find("nowhere_at_all.deep:loss")
    write(LOSS, "train.py")
    with pytest.raises(PathError, match=r"did you mean .*train\.py\?"):
        parse(str(tmp_path / "train"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PathError, match=r"a target is file\.py"):
        parse("something")


@pytest.mark.parametrize("text", ["demo:", "demo:nothing"])
def test_an_unknown_demo_lists_the_demos(text: str) -> None:
    with pytest.raises(PathError, match="demo:batch_norm, demo:layer_norm, demo:mlp"):
        parse(text)


def test_a_demo_is_run() -> None:
    assert find("demo:batch_norm").tensor.shape == (8, 4)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not Python source in UTF-8"),
        (b"x = '\xe9'\n", "coding: latin-1"),
        (b"# coding: klingon\n", "the encoding that it declares"),
        (b"x = 1\0\n", "null bytes"),
    ],
)
def test_what_is_not_python_is_a_path_error(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "s.py"
    path.write_bytes(content)
    with pytest.raises(PathError, match=why):
        find(path)


def test_an_unreadable_file_is_a_path_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("tokenize.open", refuse)
    with pytest.raises(PathError, match=r"cannot read .*s\.py: Permission denied"):
        find(write(LOSS))


# --- as python SCRIPT would -------------------------------------------------------------------------------


def test_the_script_sees_what_python_would_show_it(write: Write) -> None:
    path = write(
        HEAD
        + """
import sys, os, inspect
assert __name__ == "__main__"
assert sys.modules["__main__"].__dict__ is globals()
assert sys.argv[1:] == ["--lr", "0.1"], sys.argv
assert sys.argv[0].endswith("s.py")
assert sys.path[0] == os.path.dirname(os.path.realpath(__file__))
assert "return 1" in inspect.getsource(sys.modules["__main__"])
def one(): return 1
if __name__ == "__main__":
    loss = x.sum()
"""
    )
    assert find(path, args=["--lr", "0.1"]).tensor.name == "loss"


def test_a_future_import_of_ours_is_not_inherited(write: Write) -> None:
    find(write(LOSS + "def f(a: int): pass\nassert f.__annotations__['a'] is int\n"))


def test_everything_is_put_back(write: Write, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    def world() -> tuple[object, ...]:
        streams = sys.stdout, sys.stderr, sys.stdin
        return sys.argv, list(sys.argv), sys.path, list(sys.path), *streams, os.getcwd(), mt.get_default_dtype()

    before = world()
    main = sys.modules["__main__"]
    path = write(
        LOSS
        + f"""
import sys, os, io
sys.argv[1:] = ["changed"]; sys.path = ["changed"]; sys.modules["__main__"] = sys
sys.stdout = sys.stderr = sys.stdin = io.StringIO()
os.chdir({str(tmp_path / "elsewhere")!r})
mt.set_default_dtype("float16")
raise SystemExit
"""
    )
    find(path)
    assert world() == before
    assert sys.modules["__main__"] is main


def test_sibling_imports_pickle_and_dataclasses(write: Write) -> None:
    write("scale = 3.0\n", "a_sibling_of_the_script.py")
    path = write(
        HEAD
        + """
import copy, dataclasses, pickle, typing
from a_sibling_of_the_script import scale
@dataclasses.dataclass
class Options:
    rate: "typing.ClassVar[float]" = 0.5
    size: int = 1
assert pickle.loads(pickle.dumps(Options(2))) == Options(2)
assert copy.deepcopy(Options()) == Options()
loss = (x * scale).sum()
"""
    )
    assert find(path).tensor.item() == 9.0


@pytest.mark.parametrize(("encoding", "cookie"), [("latin-1", "latin-1"), ("utf-8-sig", "utf-8")])
def test_a_coding_cookie_and_a_byte_order_mark(write: Write, encoding: str, cookie: str) -> None:
    path = write(
        f"# coding: {cookie}\n{HEAD}assert ord('é') == 233\nloss = x.sum(); loss.name = 'é'\n", "s.py", encoding
    )
    assert find(path).tensor.name == "é"


def test_a_symlinked_script_finds_the_siblings_of_the_real_one(write: Write, tmp_path: Path) -> None:
    write("value = 1.0\n", "deep/beside_the_real_one.py")
    path = write(HEAD + "from beside_the_real_one import value\nloss = (x * value).sum()\n", "deep/s.py")
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert find(link).tensor.item() == 3.0


def test_a_module_target(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("", "a_package_to_draw/__init__.py")
    write(LOSS, "a_package_to_draw/net.py")
    write(HEAD + "x.item()\n", "a_package_to_draw/bad.py")
    write("import not_installed_anywhere\n", "a_package_to_draw/needy.py")
    monkeypatch.chdir(tmp_path)
    assert find("a_package_to_draw.net:loss").tensor.item() == 5.0
    with pytest.raises(ScriptError, match=r"bad\.py:3: ValueError: item") as info:
        find("a_package_to_draw.bad:loss")
    assert "importlib" not in info.value.details
    with pytest.raises(ScriptError, match=r"needy\.py:1: ModuleNotFoundError"):
        find("a_package_to_draw.needy:loss")


def test_prints_go_to_stderr_at_every_level(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(
        LOSS
        + """
import io, os, subprocess, sys
print("python")
sys.stdout.buffer.write(b"buffer\\n"); sys.stdout.flush()
os.write(1, b"descriptor\\n")
subprocess.run(["echo", "child"], check=True)
sys.__stdout__.write("original\\n")
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
print("wrapped")
"""
    )
    find(path)
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.split()) == ["buffer", "child", "descriptor", "original", "python", "wrapped"]
    sys.stderr.write("still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_a_script_may_close_its_output(write: Write) -> None:
    assert find(write(LOSS + "import sys\nsys.stdout.close()\n")).tensor.item() == 5.0
    assert not sys.stdout.closed
    assert not sys.stderr.closed


def test_threads_are_waited_for(write: Write) -> None:
    path = write(
        HEAD
        + """
import threading, time
def work():
    global loss
    time.sleep(0.05)
    loss = x.sum()
threading.Thread(target=work).start()
"""
    )
    with running(parse(f"{path}:loss")) as found:
        assert found.tensor.item() == 3.0


# --- scripts that go wrong --------------------------------------------------------------------------------


def test_a_raising_script_shows_its_own_frames_only(write: Write) -> None:
    path = write(HEAD + "def inner():\n    return x @ mt.ones((3, 3))\ninner()\n")
    with pytest.raises(ScriptError) as info:
        find(path)
    assert str(info.value).startswith(f"{path}:4: ValueError: matmul:")
    assert "\n" not in str(info.value)
    details = info.value.details
    assert details.count("  File ") == 2
    assert "in inner" in details
    assert "microtensor/" not in details.replace(str(path), "")
    assert "direct cause" not in details


def test_a_cause_that_is_the_scripts_own_is_kept(write: Write) -> None:
    path = write("try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('two\\nlines') from error\n")
    with pytest.raises(ScriptError) as info:
        find(path)
    assert str(info.value) == f"{path}:4: ValueError: two"
    assert "KeyError: 'a'" in info.value.details
    assert info.value.details.endswith("ValueError: two\nlines\n")


def test_an_exception_group_is_shown(write: Write) -> None:
    with pytest.raises(ScriptError, match="ExceptionGroup: both") as info:
        find(write("raise ExceptionGroup('both', [ValueError('one'), TypeError('two')])\n"))
    assert "TypeError: two" in info.value.details


def test_a_base_exception_and_endless_recursion(write: Write) -> None:
    with pytest.raises(ScriptError, match="Odd: x"):
        find(write("class Odd(BaseException): pass\nraise Odd('x')\n"))
    with pytest.raises(ScriptError, match="RecursionError") as info:
        find(write("def f(): f()\nf()\n"))
    assert info.value.details.count("\n") < 30


def test_a_syntax_error_has_its_place_and_a_caret(write: Write) -> None:
    path = write("x = 1\ny = = 2\n")
    with pytest.raises(ScriptError) as info:
        find(path)
    assert str(info.value) == f"{path}:2: SyntaxError: invalid syntax"
    assert "y = = 2" in info.value.details
    assert "    ^" in info.value.details
    assert "script.py" not in info.value.details


def test_a_syntax_error_of_a_sibling(write: Write) -> None:
    write("def\n", "a_broken_sibling.py")
    with pytest.raises(ScriptError, match=r"a_broken_sibling\.py:1: SyntaxError"):
        find(write("import a_broken_sibling\n"))


@pytest.mark.parametrize(
    ("call", "status"), [("sys.exit()", 0), ("sys.exit(0)", 0), ("exit(3)", 3), ("sys.exit('m')", 1)]
)
def test_an_exit_after_the_tensor_draws_it_with_a_note(write: Write, call: str, status: int) -> None:
    found = find(write(f"import sys\n{LOSS}{call}\n"))
    assert found.tensor.item() == 5.0
    assert f"exited with status {status}" in found.notes[0]


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("3", 3), ("'the message'", 1), ("None", 0)])
def test_an_exit_before_the_tensor_is_the_scripts_failure(
    write: Write, code: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(f"import sys\n{HEAD}sys.exit({code})\nloss = x.sum()\n")
    with pytest.raises(ScriptError, match=f"script exited with status {status} before defining loss$"):
        find(path, "loss")
    assert ("the message" in capsys.readouterr().err) == (code == "'the message'")
    with pytest.raises(ScriptError, match=f"script exited with status {status} before defining a tensor to draw$"):
        find(path)


def test_an_exit_inside_the_function_asked_for(write: Write) -> None:
    with pytest.raises(ScriptError, match=r"script exited with status 4$"):
        find(write("def make():\n    raise SystemExit(4)\n"), "make")


def test_input_without_any(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(ScriptError, match=r"s\.py:1: script asked for input"):
            find(write("input('rate? ')\n"))
    with pytest.raises(ScriptError, match="EOFError: Ran out of input"):
        find(write("import pickle\npickle.loads(b'')\n"))


def test_an_endless_script_is_stopped(write: Write) -> None:
    path = write(HEAD + "while True:\n    try:\n        x + x\n    except Exception:\n        pass\n")
    start = time.monotonic()
    with pytest.raises(ScriptError, match=r"script ran longer than 0\.2 s$") as info:
        find(path, timeout=0.2)
    assert time.monotonic() - start < 5
    assert 's.py", line ' in info.value.details


def test_a_script_that_catches_everything_is_stopped_too(write: Write) -> None:
    path = write("import time\ntry:\n    time.sleep(9)\nexcept:\n    time.sleep(9)\n")
    with pytest.raises(ScriptError, match="script ran longer") as info:
        find(path, timeout=0.5)
    assert "TimedOut" not in info.value.details
    assert "line 5" in info.value.details


def test_the_alarm_is_switched_off_in_time(write: Write) -> None:
    with running(parse(str(write(LOSS))), timeout=0.5):
        time.sleep(0.6)


def test_an_interrupt_goes_through(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        find(write("raise KeyboardInterrupt\n"))


def test_a_failing_hook_is_the_scripts_failure(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    good = write(LOSS + "x.register_hook(lambda g: print('hooked'))\n")
    with running(parse(str(good))) as found:
        Graph.from_tensor(found.tensor, gradients=True)
    assert capfd.readouterr().out == ""
    bad = write(LOSS + "x.register_hook(lambda g: 1 / 0)\n", "bad.py")
    with pytest.raises(ScriptError, match=r"bad\.py:4: ZeroDivisionError"), running(parse(str(bad))) as found:
        Graph.from_tensor(found.tensor, gradients=True)


def test_a_fault_of_the_tool_is_not_blamed_on_the_script(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtensor.script.run.name_variables", None)
    with pytest.raises(TypeError, match="not callable"):
        find(write(LOSS))


# --- finding ----------------------------------------------------------------------------------------------


def test_the_only_result_is_taken_and_variables_give_names(write: Write) -> None:
    path = write(
        HEAD
        + "w = mt.tensor(2.0, requires_grad=True, name='weight')\ny = x * w\nz = y\nloss = y.sum()\nloss.backward()\n"
    )
    with running(parse(str(path))) as found:
        graph = Graph.from_tensor(found.tensor, gradients=True)
    assert found.tensor.name == "loss"
    assert {node.name for node in graph.nodes if node.name} == {"x", "weight", "y", "loss"}


def test_several_results_are_listed(write: Write) -> None:
    path = write(HEAD + "a = x.sum()\nbb = x * 2\n")
    with pytest.raises(TargetError) as info:
        find(path)
    assert str(info.value).splitlines() == [
        f"{path} has 2 results; say which one with {path}:a",
        "  a   scalar",
        "  bb  (2,)",
    ]
    assert find(path, "bb").tensor.shape == (2,)


def test_a_result_used_through_a_hidden_one_is_no_candidate(write: Write) -> None:
    path = write(HEAD + "h = x * 2\nbox = [h + 1]\nloss = box[0].sum()\n")
    assert find(path).tensor.name == "loss"


def test_a_long_chain_is_walked(write: Write) -> None:
    assert find(write(HEAD + "h = x * 2\ny = h\nfor _ in range(20000):\n    y = y + 1\n")).tensor.name == "y"


@pytest.mark.parametrize("annotation", ["mt.Tensor", "'mt.Tensor'", "'Tensor'", "\"'Tensor'\"", "mt.nn.Parameter"])
def test_a_function_that_says_it_returns_a_tensor(write: Write, annotation: str) -> None:
    path = write(
        HEAD.replace("x = mt", "DATA = mt") + "from microtensor.demos import batch_norm\n"
        f"def make(scale=2.0) -> {annotation}:\n    return (DATA * scale).sum()\n"
        "alias = make\n"
        "def other(a) -> mt.Tensor: ...\ndef plain(): ...\ndef number() -> int: ...\n"
    )
    assert find(path).tensor.item() == 6.0


def test_several_functions_are_listed(write: Write) -> None:
    path = write("import microtensor as mt\ndef a() -> mt.Tensor: ...\ndef b() -> mt.Tensor: ...\n")
    with pytest.raises(TargetError, match=r"2 functions that return a Tensor.*:a\n  a\(\)\n  b\(\)"):
        find(path)


def test_nothing_to_draw(write: Write) -> None:
    with pytest.raises(TargetError, match=r"no tensor with a history.*requires_grad=True.*:x\n  x  \(2,\)"):
        find(write("import microtensor as mt\nx = mt.ones((2,))\ny = x\n"))
    with pytest.raises(TargetError, match="no tensor at module level"):
        find(write("a = 1\n"))


def test_an_unknown_name_gets_the_nearest_and_the_list(write: Write) -> None:
    with pytest.raises(TargetError, match=r"has no los; did you mean loss\?\n.*\n  x     \(2,\)\n  loss  scalar$"):
        find(write(LOSS), "los")
    with pytest.raises(TargetError, match=r"has no zzz$"):
        find(write("a = 1\n"), "zzz")


def test_dotted_names(write: Write) -> None:
    path = write(
        LOSS
        + """
class Model:
    kept = x * 3
    def make(self): return x * 4
    @property
    def broken(self): return 1 / 0
model = Model()
"""
    )
    assert find(path, "model.kept").tensor.numpy().tolist() == [3.0, 6.0]
    assert find(path, "model.make").tensor.numpy().tolist() == [4.0, 8.0]
    with pytest.raises(TargetError, match=r"s\.py:model has no kep; did you mean kept\?"):
        find(path, "model.kep")
    with pytest.raises(ScriptError, match=r"s\.py:9: ZeroDivisionError"):
        find(path, "model.broken")


@pytest.mark.parametrize(
    ("attr", "why"),
    [
        ("number", "is of type int; it must be a Tensor"),
        ("needs", "needs arguments"),
        ("gives", r"gives\(\) must return a Tensor, not a value of type int"),
        ("layer", r"is a module \(ReLU\)"),
        ("number.real", "is of type int"),
    ],
)
def test_what_is_not_a_tensor_is_refused(write: Write, attr: str, why: str) -> None:
    path = write(
        "import microtensor as mt\nnumber = 1\ndef needs(a): ...\ndef gives(): return 1\nlayer = mt.nn.ReLU()\n"
    )
    with pytest.raises(TargetError, match=why):
        find(path, attr)


def test_a_leaf_that_is_named_is_taken(write: Write) -> None:
    found = find(write(HEAD), "x").tensor
    assert isinstance(found, Tensor)
    assert found.name == "x"
