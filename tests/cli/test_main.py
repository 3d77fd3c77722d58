"""The command line: exit codes, formats, files that are written whole or not at all, streams, hostile names."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from microtensor import cli, viz
from microtensor.cli import common, main
from tests.commands import runner

HEAD = "import microtensor as mt\nx = mt.tensor([1.0, 2.0], requires_grad=True)\n"
LOSS = HEAD + "loss = (x * x).sum()\nprint('noise')\n"
COMMAND = [sys.executable, "-m", "microtensor"]


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "s.py").write_text(LOSS)


def invoke(*args: str, **options: Any) -> Result:
    return runner().invoke(main, ["viz", *args], **options)


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([*COMMAND, "viz", *args], timeout=30, check=False, **options)


def files() -> set[str]:
    return set(os.listdir()) - {"s.py", "__pycache__"}


def script(text: str, name: str = "t.py") -> str:
    Path(name).write_text(text)
    return name


def message(result: Result) -> str:
    return result.stderr.splitlines()[-1]


# --- help and usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["-h"], ["--help"], ["viz", "-h"]])
def test_help_has_examples_first_and_exit_codes_last(args: list[str]) -> None:
    result = runner().invoke(main, args)
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert lines[1] == "Examples:"
    assert lines[-1].startswith("130")


def test_version() -> None:
    assert re.fullmatch(r"microtensor \d+\.\d+.*\n", runner().invoke(main, ["--version"]).stdout)


def test_formats_are_those_of_the_drawing_code() -> None:
    assert cli.FORMATS == viz.FORMATS


def test_the_drawing_code_is_loaded_by_the_command_alone() -> None:
    code = "import sys, microtensor.cli; sys.exit('graphviz' in sys.modules or 'microtensor.viz' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere.py"], "nowhere.py: no such file"),
        (["."], "is a directory"),
        (["demo:"], "demo:batch_norm, demo:layer_norm, demo:mlp"),
        (["s.py:"], "there is no name after the colon"),
        (
            ["s.py", "-o", "x.bmp"],
            "suffix .bmp of x.bmp is not known; use one of .svg .png .pdf .html .dot .gv .mmd .json .txt",
        ),
        (["s.py", "-o", "x"], "x has no suffix"),
        (["s.py", "-o", "x.svg", "-f", "png"], "--format png and the suffix of x.svg disagree"),
        (["s.py", "-f", "bmp"], "'bmp' is not one of"),
        (["s.py", "--depth", "-1"], "-1"),
        (["s.py", "--timeout", "0"], "must be between 0 and 1e+06 seconds, not 0"),
        (["s.py", "--timeout", "nan"], "seconds, not nan"),
        (["s.py", "-o", "s.py", "-f", "dot"], "is the target script itself"),
        ([], "Missing argument 'TARGET'"),
    ],
)
def test_usage_errors(args: list[str], said: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in message(result)
    assert Path("s.py").read_text() == LOSS


def test_timeout_where_there_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGALRM")
    result = invoke("s.py", "--timeout", "3")
    assert (result.exit_code, "no alarm signal" in message(result)) == (2, True)


# --- formats and options ----------------------------------------------------------------------------------


def test_the_tree_is_the_default_and_noise_goes_to_stderr() -> None:
    result = invoke("s.py")
    assert (result.exit_code, result.stderr) == (0, "noise\n")
    assert result.stdout.startswith("sum  loss  scalar\n")
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.svg", b"<"),
        ("a.SVG", b"<"),
        ("a.png", b"\x89PNG"),
        ("a.dot", b"digraph"),
        ("a.gv", b"digraph"),
        ("a.json", b"{"),
        ("a.txt", b"sum  loss"),
    ],
)
def test_the_suffix_picks_the_format(name: str, start: bytes) -> None:
    result = invoke("s.py", "-o", name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path(name).read_bytes().startswith(start)
    assert files() == {name}


def test_standard_output() -> None:
    ElementTree.fromstring(invoke("s.py", "-o", "-").stdout)
    assert invoke("s.py", "-o", "-", "-f", "dot").stdout.startswith("digraph")
    assert invoke("s.py", "-f", "json").stdout.startswith("{")
    assert invoke("s.py", "-o", "odd.name", "-f", "dot").exit_code == 0


def test_options_reach_the_drawing_code(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def render(graph: object, format: str, **options: Any) -> bytes:
        seen.update(options, format=format)
        return b"drawn"

    monkeypatch.setattr(viz, "render", render)
    args = "-o - --view backward --depth 2 --theme dark --no-legend --engine system --ascii"
    args += " --collapse a --collapse b --expand c --no-repeats --values stats --lines"
    args += " --direction lr --slide --font-size 12 --notation greek"
    assert invoke("s.py", *args.split()).stdout == "drawn"
    assert seen == {
        "format": "svg",
        "view": "backward",
        "depth": 2,
        "collapse": ("a", "b"),
        "expand": ("c",),
        "repeats": False,
        "values": "stats",
        "theme": "dark",
        "legend": False,
        "engine": "system",
        "ascii": True,
        "color": False,
        "lines": True,
        "direction": "lr",
        "slide": True,
        "font_size": 12.0,
        "notation": "greek",
        "output": seen["output"],
    }


def test_gradients_after_the_scripts_own_backward() -> None:
    name = script(LOSS + "loss.backward()\n")
    assert "4.5" in invoke(name, "--view", "backward").stdout
    nodes = json.loads(invoke(name, "-f", "json").stdout)["nodes"]
    assert any(node["grad"] for node in nodes)


def test_script_arguments_follow_two_dashes() -> None:
    name = script(HEAD + "import sys\nassert sys.argv[1:] == ['--depth', 'x', '-o'], sys.argv\nloss = x.sum()\n")
    assert invoke(name, "-f", "dot", "--", "--depth", "x", "-o").exit_code == 0


def test_a_huge_graph_needs_a_decision() -> None:
    name = script(HEAD + "y = x\nfor _ in range(30):\n    y = y * 2\n")
    result = invoke(name, "-o", "a.svg", "--max-nodes", "30")
    assert result.exit_code == 1
    assert re.search(r"the graph has \d\d nodes, .* more than --max-nodes 30: name its parts", message(result))
    assert files() == {"t.py"}
    for more in (["-f", "dot"], ["-f", "json"], [], ["-o", "a.svg", "--depth", "1"]):
        assert invoke(name, "--max-nodes", "30", *more).exit_code == 0


def test_a_huge_graph_with_scopes_folds_itself() -> None:
    name = script(
        HEAD + "y = x\nfor i in range(200):\n    with mt.name_scope(f'step{i}'):\n        y = mt.tanh(y * 2) + 1\n"
    )
    assert invoke(name, "-o", "a.svg", "--max-nodes", "250").exit_code == 0


def test_engine_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> bytes:
        raise viz.EngineError("the layout engine dot failed (status 1): out of ink")

    monkeypatch.setattr(viz, "render", fail)
    result = invoke("s.py", "-o", "a.svg")
    assert (result.exit_code, message(result)) == (4, "Error: the layout engine dot failed (status 1): out of ink")
    assert files() == set()
    assert "in fail" in invoke("s.py", "-o", "a.svg", "--debug").stderr


def test_the_system_engine_is_missing() -> None:
    result = run("s.py", "-o", "a.svg", "--engine", "system", env={**os.environ, "PATH": "/nowhere"})
    assert result.returncode == 4
    assert b"no dot on the PATH" in result.stderr
    assert b"Traceback" not in result.stderr


# --- colour -----------------------------------------------------------------------------------------------


def on_terminal(*args: str, **env: str) -> bytes:
    """What the command writes to a real terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    try:
        result = run("demo:batch_norm", *args, stdout=theirs, env={**clean, "TERM": "xterm", **env})
        assert result.returncode in (0, 2), result.stderr
        os.set_blocking(ours, False)
        try:
            return os.read(ours, 100_000)
        except BlockingIOError:
            return b""
    finally:
        os.close(ours)
        os.close(theirs)


def test_colour_on_a_terminal() -> None:
    assert b"\x1b[" in on_terminal()
    assert b"\x1b[" not in on_terminal("--no-color", FORCE_COLOR="1")


@pytest.mark.parametrize(
    ("env", "args", "terminal", "colored"),
    [
        ({}, [], True, True),
        ({}, [], False, False),
        ({"NO_COLOR": "1"}, [], True, False),
        ({"NO_COLOR": ""}, [], True, True),
        ({"TERM": "dumb"}, [], True, False),
        ({"FORCE_COLOR": "1"}, [], False, True),
        ({"FORCE_COLOR": "0"}, [], False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], True, False),
        ({"FORCE_COLOR": "1"}, ["--no-color"], True, False),
        ({"FORCE_COLOR": "1"}, ["-o", "tree.txt"], True, False),
    ],
)
def test_who_decides_about_colour(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], args: list[str], terminal: bool, colored: bool
) -> None:
    monkeypatch.setattr(common, "is_terminal", lambda: terminal)
    result = invoke("demo:batch_norm", *args, env={"TERM": "xterm", **env}, color=True)
    written = Path("tree.txt").read_text() if args[:1] == ["-o"] else result.stdout
    assert ("\x1b[" in written) == colored


def test_a_png_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtensor.cli.common.is_terminal", lambda: True)
    result = invoke("s.py", "-f", "png")
    assert (result.exit_code, "not for a terminal" in message(result)) == (2, True)


# --- scripts that go wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("x = = 1\n", 3, "t.py:1: SyntaxError: invalid syntax"),
        ("1 / 0\n", 3, "t.py:1: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", 3, "script exited with status 3 before defining loss"),
        ("import sys\nsys.exit('msg')\n", 3, "script exited with status 1 before defining loss"),
        ("input()\n", 3, "t.py:1: script asked for input"),
        ("while True: pass  # for ever\n", 3, "t.py: script ran longer than 0.2 s"),
        (HEAD + "loss = 1\n", 1, "t.py:loss is of type int"),
        ("\xe9\0", 2, "is not Python source"),
        ("raise KeyboardInterrupt\n", 130, "Interrupted"),
    ],
)
def test_a_script_that_goes_wrong(text: str, code: int, said: str) -> None:
    result = invoke(f"{script(text)}:loss", "-o", "a.svg", "--timeout", "0.2" if "for ever" in text else "30")
    assert result.exit_code == code
    assert said in message(result)
    assert "microtensor/" not in result.stderr
    assert result.stdout == ""
    assert files() == {"t.py"}


def test_debug_shows_every_frame() -> None:
    name = script("1 / 0\n")
    assert "script/run.py" in invoke(name, "--debug").stderr
    assert "script/run.py" not in invoke(name).stderr


@pytest.mark.parametrize(("call", "code"), [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit('msg')", 3)])
def test_an_exit_after_the_result_leaves_a_note(call: str, code: int) -> None:
    result = invoke(script(LOSS + f"import sys\n{call}\n"))
    assert result.exit_code == code
    assert result.stdout.startswith("sum  loss")
    assert "Note: t.py exited with status" in result.stderr
    assert message(result).startswith("Error: t.py: script exited with status" if code else "Note:")


def test_a_missing_name_and_several_results() -> None:
    result = invoke("s.py:los")
    assert result.exit_code == 1
    assert "did you mean loss?" in result.stderr
    result = invoke(script(HEAD + "a = x + 1\nb = x + 2\n"))
    assert result.exit_code == 1
    assert "t.py has 2 results; say which one with t.py:a\n  a  (2,)\n  b  (2,)\n" in result.stderr


def test_a_script_in_a_process_of_its_own() -> None:
    """Everything that only a real process shows: descriptors, atexit, input at its end, siblings, a cookie."""
    script("factor = 2.0\n", "sibling.py")
    Path("t.py").write_bytes(
        b"# coding: latin-1\n"
        + HEAD.encode()
        + b"""
import atexit, dataclasses, os, pickle, subprocess, sys
from sibling import factor
@dataclasses.dataclass
class Options:
    rate: float = 0.5
assert pickle.loads(pickle.dumps(Options())) == Options()
atexit.register(print, "leaving")
atexit.register(sys.exit, 7)
print("noise")
os.write(1, b"descriptor\\n")
subprocess.run(["echo", "child"])
loss = (x * factor).sum(); loss.name = "\xe9"
print(input("prompt "))
os.chdir("/")
sys.exit("bye")
"""
    )
    result = run("t.py", "-f", "dot", stdin=None, input=b"typed\n")
    assert result.returncode == 3, result.stderr
    assert result.stdout.startswith(b"digraph")
    assert result.stdout.endswith(b"}\n")
    assert "é" in result.stdout.decode("utf-8")
    for word in (b"noise", b"descriptor", b"child", b"prompt", b"typed", b"bye", b"leaving"):
        assert word in result.stderr
        assert word not in result.stdout


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_utf8_whatever_the_locale(env: dict[str, str]) -> None:
    script(HEAD + "print('π≠é')\nπ = (x * 2).sum()\nraise SystemExit('π')\n")
    result = run("t.py", env={**os.environ, **env})
    assert result.returncode == 3, result.stderr
    assert result.stdout.decode("utf-8").startswith("sum  π")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and so does all that they start unless they handle it themselves."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_with_130_and_no_file() -> None:
    script(HEAD + "import os, time\nos.write(2, b'ready')\ntime.sleep(20)\n")
    with subprocess.Popen(
        [*COMMAND, "viz", "t.py", "-o", "a.svg"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == b"ready"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == b"Interrupted\n"
    assert files() == {"t.py"}


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("dir.svg", "cannot write dir.svg: it is a directory"),
        ("absent/a.svg", "does not exist; make it first"),
        ("s.py/a.svg", "does not exist; make it first"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_script_runs(output: str, said: str) -> None:
    os.mkdir("dir.svg")
    result = invoke("s.py", "-o", output)
    assert result.exit_code == 1
    assert said in message(result)
    assert "noise" not in result.stderr
    assert files() == {"dir.svg"}


def test_a_write_protected_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.svg").write_text("old")
    # Root may write anything, so the answer of the system is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    result = invoke("s.py", "-o", "a.svg")
    assert (result.exit_code, message(result)) == (1, "Error: cannot write a.svg: Permission denied")
    assert Path("a.svg").read_text() == "old"


@pytest.mark.parametrize(
    ("function", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EACCES), ("open", errno.EROFS)]
)
@pytest.mark.parametrize("clobber", [[], ["--no-clobber"]])
def test_a_write_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, function: str, code: int, clobber: list[str]
) -> None:
    if not clobber:
        Path("a.dot").write_text("old")
    before = files()
    real = os.open

    def fail(*args: Any) -> int:
        if function == "open" and ".microtensor-" not in str(args[0]):
            return real(*args)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    result = invoke("s.py", "-o", "a.dot", *clobber)
    assert (result.exit_code, message(result)) == (1, f"Error: cannot write a.dot: {os.strerror(code)}")
    assert files() == before
    assert clobber or Path("a.dot").read_text() == "old"


def test_an_interrupted_write_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    assert invoke("s.py", "-o", "a.dot").exit_code == 130
    assert files() == set()


def test_the_mode_is_that_of_the_umask_or_of_the_old_file() -> None:
    before = os.umask(0o027)
    try:
        invoke("s.py", "-o", "a.dot")
        Path("b.dot").touch(0o600)
        invoke("s.py", "-o", "b.dot")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("a.dot").st_mode) == 0o640
    assert stat.S_IMODE(os.stat("b.dot").st_mode) == 0o600


def test_a_symlink_stays_and_its_file_is_replaced() -> None:
    os.mkdir("real")
    Path("real/b.dot").write_text("old")
    os.symlink("real/b.dot", "a.dot")
    os.symlink("real/new.dot", "dangling.dot")
    assert invoke("s.py", "-o", "a.dot").exit_code == 0
    assert invoke("s.py", "-o", "dangling.dot").exit_code == 0
    assert os.path.islink("a.dot")
    assert Path("real/b.dot").read_bytes() == Path("real/new.dot").read_bytes()
    assert set(os.listdir("real")) == {"b.dot", "new.dot"}


def test_the_script_is_never_overwritten() -> None:
    os.symlink("s.py", "link.dot")
    os.link("s.py", "hard.dot")
    for name in ("link.dot", "hard.dot", "../" + os.path.basename(os.getcwd()) + "/s.py"):
        result = invoke("s.py", "-o", name, "-f", "dot")
        assert (result.exit_code, "the target script itself" in message(result)) == (2, True)
    assert Path("s.py").read_text() == LOSS


def test_no_clobber() -> None:
    assert invoke("s.py", "-o", "a.dot", "--no-clobber").exit_code == 0
    Path("a.dot").write_text("kept")
    result = invoke("s.py", "-o", "a.dot", "--no-clobber")
    assert (result.exit_code, "it exists; drop --no-clobber" in message(result)) == (1, True)
    assert "noise" not in result.stderr
    name = script(LOSS + "import pathlib\npathlib.Path('b.dot').write_text('late')\n")
    result = invoke(name, "-o", "b.dot", "--no-clobber")
    assert (result.exit_code, "it exists" in message(result)) == (1, True)
    assert (Path("a.dot").read_text(), Path("b.dot").read_text()) == ("kept", "late")
    assert files() == {"a.dot", "b.dot", "t.py"}


def test_a_relative_output_means_where_the_command_was_started(tmp_path: Path) -> None:
    name = script(LOSS + "import os\nos.chdir('/')\n")
    assert invoke(name, "-o", "a.dot").exit_code == 0
    assert (tmp_path / "a.dot").exists()


def test_a_long_file_name() -> None:
    name = "a" * 250 + ".dot"
    assert invoke("s.py", "-o", name).exit_code == 0
    assert files() == {name}


def test_writers_at_the_same_time() -> None:
    processes = [
        subprocess.Popen([*COMMAND, "viz", "s.py", "-o", "a.dot"], stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [process.wait(timeout=30) for process in processes] == [0, 0]
    assert Path("a.dot").read_bytes() == invoke("s.py", "-f", "dot").stdout_bytes
    assert files() == {"a.dot"}


# --- streams and devices ----------------------------------------------------------------------------------


def test_a_fifo_is_written_through() -> None:
    os.mkfifo("pipe.dot")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe.dot").read_bytes()), daemon=True)
    reader.start()
    assert invoke("s.py", "-o", "pipe.dot").exit_code == 0
    reader.join(10)
    assert read[0].startswith(b"digraph")
    assert stat.S_ISFIFO(os.stat("pipe.dot").st_mode)


def test_dev_stdout_and_its_kin() -> None:
    expected = invoke("s.py", "-f", "dot").stdout_bytes
    assert run("s.py", "-f", "dot", "-o", "/dev/stdout").stdout == expected
    assert run("s.py", "-f", "dot", "-o", "/dev/stderr").stderr == b"noise\n" + expected
    with open("all.txt", "wb") as file:
        file.write(b"before\n")
        file.flush()
        run("s.py", "-f", "dot", "-o", "/proc/self/fd/1", stdout=file)
    assert Path("all.txt").read_bytes() == b"before\n" + expected
    assert invoke("s.py", "-f", "dot", "-o", os.devnull).exit_code == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device() -> None:
    with open("/dev/full", "wb") as full:
        result = run("s.py", stdout=full)
    assert (result.returncode, result.stderr) == (1, b"noise\nError: cannot write: No space left on device\n")
    result = run("s.py", "-o", "/dev/full", "-f", "dot")
    assert result.returncode == 1
    assert result.stderr.endswith(b"Error: cannot write /dev/full: No space left on device\n")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    with open("/dev/full", "wb") as full:
        helped = run("--help", stdout=full)
    assert (helped.returncode, helped.stderr) == (1, b"Error: cannot write: No space left on device\n")


def test_standard_error_may_be_closed_when_both_other_streams_are_one_device() -> None:
    command = f"exec {shlex.join(COMMAND)} viz s.py </dev/null >/dev/null 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0


def test_a_broken_pipe_is_quiet() -> None:
    name = script(HEAD + "y = x\nfor _ in range(500):\n    y = y * 2\n")
    for args in ([name, "-f", "json"], [name, "-f", "json", "-o", "/dev/stdout"], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        result = run(*args, stdout=writing)
        os.close(writing)
        assert (result.returncode, result.stderr) == (1, b"")


def test_a_fifo_whose_reader_leaves() -> None:
    os.mkfifo("pipe.json")
    name = script(HEAD + "y = x\nfor _ in range(500):\n    y = y * 2\n")
    reader = threading.Thread(target=lambda: open("pipe.json", "rb").close(), daemon=True)
    reader.start()
    result = invoke(name, "-o", "pipe.json")
    reader.join(10)
    assert (result.exit_code, result.stderr) == (1, "")


def test_closed_streams() -> None:
    line = shlex.join([*COMMAND, "viz", "s.py"])
    closed = subprocess.run(["sh", "-c", f"{line} >&-"], capture_output=True, timeout=30, check=False)
    assert closed.returncode == 1
    assert closed.stderr.endswith(b"Error: cannot write: standard output is closed\n")
    mute = subprocess.run(["sh", "-c", f"{line} 2>&-"], capture_output=True, timeout=30, check=False)
    assert mute.returncode == 0
    assert mute.stdout.startswith(b"sum  loss")
    assert b"noise" not in mute.stdout


# --- hostile names ----------------------------------------------------------------------------------------

HOSTILE = [
    "a\"b'c\\",
    "<script>alert(1)</script>",
    "]]>&amp;<b>",
    r"\N\G\L",
    "two\nlines\r\ttab",
    "\x00\x07\x1b[31m",
    "abc\u202egnp.exe\u2066",
    "half \ud800 pair",
    "%s {} }{ | <<B>x</B>>",
    "long " * 60,
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    text = HEAD + f"x.name = {name!a}\nwith mt.name_scope({name!a}):\n    loss = (x * x).sum()\nloss.name = {name!a}\n"
    for view in ("forward", "backward"):
        result = invoke(script(text), "-o", "a.svg", "--view", view)
        assert result.exit_code == 0, result.stderr
        root = ElementTree.parse("a.svg").getroot()
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "a", "image", "foreignObject"}
        assert not any("href" in key for element in root.iter() for key in element.attrib)
    tree = invoke("t.py")
    assert tree.exit_code == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066]", tree.stdout)
    assert invoke("t.py", "-f", "json").exit_code == 0
    assert invoke("t.py", "-f", "dot").exit_code == 0
