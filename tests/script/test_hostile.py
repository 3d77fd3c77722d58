"""What a script does to its process, its interpreter or its neighbours: the exit code and the file are as promised."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from microtensor.cli import main
from tests.commands import runner

# Most run in processes of their own, which are ended from outside.
pytestmark = pytest.mark.slow

HEAD = "import microtensor as mt\nx = mt.tensor([1.0, 2.0], requires_grad=True)\n"
LOSS = HEAD + "loss = (x * x).sum()\n"
COMMAND = [sys.executable, "-m", "microtensor"]
# The same command, with less time between the alarm and the end.
HASTY = [
    sys.executable,
    "-c",
    "from microtensor.script import watch; from microtensor.cli import main; watch.GRACE = 0.3; main()",
]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are watched on Linux alone")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


@pytest.fixture(autouse=True)
def _plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "t.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def invoke(*args: str) -> Result:
    return runner().invoke(main, args)


def run(*args: str, command: list[str] = COMMAND, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, **options}
    return subprocess.run([*command, *args], timeout=60, check=False, **options)


def files() -> set[str]:
    return set(os.listdir()) - {"__pycache__"}


# --- the interpreter --------------------------------------------------------------------------------------

HARMLESS = {
    "closes its streams": "import sys\nsys.stdout.close(); sys.stderr.close()",
    "has no streams": "import sys\nsys.stdout = sys.stderr = sys.stdin = None",
    "deletes its streams": "import sys\ndel sys.stdout, sys.stderr, sys.stdin, sys.__stdout__, sys.__stderr__",
    "has streams that raise": (
        "import sys\nclass S:\n    def flush(self): raise RuntimeError\nsys.stdout = sys.stderr = sys.__stdout__ = S()"
    ),
    "has streams that exit": (
        "import sys\nclass S:\n    def __getattr__(self, name): sys.exit(0)\n"
        "sys.stdout = sys.stderr = sys.__stdout__ = S()"
    ),
    "has a proxy for nothing": "class P:\n    __class__ = property(lambda self: 1 / 0)\np = P()\nglobals()[5] = loss",
    "takes the exit away": "import sys\nsys.exit = print",
    "has odd streams": "import sys\nsys.stdout = sys.stderr = sys.stdin = object()",
    "closes descriptors": "import os\nfor i in range(3): os.close(i)",
    "replaces descriptors": "import os\nf = os.open('log', os.O_CREAT | os.O_WRONLY)\nfor i in range(3): os.dup2(f, i)",
    "breaks builtins": "import builtins\nbuiltins.print = builtins.open = builtins.len = builtins.isinstance = None",
    "empties builtins": "import builtins\nvars(builtins).clear()",
    "empties the modules": "import sys\nsys.modules.clear()",
    "breaks imports": "import sys\nsys.modules = {}\nsys.path = None\nsys.meta_path = []\nsys.path_hooks.clear()",
    "leaves no recursion": (
        "import sys\nfor n in range(10, 2000):\n    try:\n        sys.setrecursionlimit(n); break\n"
        "    except RecursionError: pass"
    ),
    "deletes its directory": "import os\nos.mkdir('d'); os.chdir('d'); os.rmdir('../d')",
    "empties the environment": "import os\nos.environ.clear(); os.umask(0o777)",
    "turns warnings to errors": "import warnings, numpy\nwarnings.simplefilter('error'); numpy.seterr(all='raise')",
    "leaves recording off": "mt.no_grad().__enter__()",
    "has hooks that raise": "import sys, atexit\nsys.excepthook = lambda *a: 1 / 0",
    "leaves a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(0.05,)).start()",
    "ignores and blocks signals": (
        "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
    ),
    "leaves an alarm": "import signal\nsignal.alarm(1)",
}


@posix
@pytest.mark.parametrize("what", HARMLESS)
def test_a_script_that_did_this_and_ended_well_is_drawn_and_checked(what: str) -> None:
    before = (signal.getsignal(signal.SIGINT), sys.getrecursionlimit(), dict(os.environ), sys.stdout, sys.stderr)
    name = write(LOSS + HARMLESS[what] + "\n")
    result = invoke("viz", name, "-o", "a.svg")
    assert (result.exit_code, result.stderr) == (0, "")
    assert Path("a.svg").read_bytes().startswith(b"<")
    for command in ("check", "paths"):
        assert invoke(command, name).exit_code == 0
    assert before == (
        signal.getsignal(signal.SIGINT),
        sys.getrecursionlimit(),
        dict(os.environ),
        sys.stdout,
        sys.stderr,
    )
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@posix
def test_a_process_without_its_descriptors_finds_them_again() -> None:
    write(LOSS + "import os, sys\nsys.__stdout__.close()\nsys.__stderr__.close()\nos.closerange(0, 4096)\n")
    result = run("viz", "t.py")
    if sys.platform.startswith("linux"):
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.startswith(b"sum  loss")
    assert b"Traceback" not in result.stderr


RAISES = {
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration(3)": "StopIteration: 3",
    "class E(Exception):\n    def __str__(self): raise E\nraise E": "E: <exception str() failed>",
    "class E(EOFError):\n    args = property(lambda self: 1 / 0)\nraise E": "E",
    "class E(BaseException): pass\nraise E('base')": "E: base",
    "raise BaseExceptionGroup('both', [KeyError(1), GeneratorExit()])": "BaseExceptionGroup: both",
    "import builtins\nvars(builtins).clear()\nx.nothing": "'Tensor' object has no attribute 'nothing'",
    "import sys\nsys.stderr.close()\nsys.excepthook = None\n1 / 0": "ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("text", RAISES)
@pytest.mark.parametrize("command", ["viz", "check", "paths"])
def test_whatever_it_raises_is_its_failure(command: str, text: str) -> None:
    result = invoke(command, write(f"{HEAD}{text}\n"))
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith("Error: t.py:")
    assert RAISES[text] in result.stderr.splitlines()[-1]
    assert "microtensor/" not in result.stderr


@pytest.mark.parametrize("name", ["__traceback__", "__cause__", "__notes__", "__class__", "args"])
def test_an_error_that_cannot_be_told_is_the_script_s_failure(name: str) -> None:
    text = f"class E(Exception):\n    {name} = property(lambda self: 1 / 0)\nraise E\n"
    result = invoke("viz", write(HEAD + text))
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith("Error: t.py")
    assert "microtensor" not in result.stderr


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("[1, 2]", "[1, 2]"),
        ("type('E', (), {'__str__': lambda self: 1 / 0})()", "<the exit message cannot be shown>"),
        ("type('E', (int,), {'__int__': lambda self: 1 / 0})(5)", ""),
        ("'a message'", "a message"),
        ("7", ""),
        ("-1", ""),
        ("2**70", ""),
        ("True", ""),
    ],
)
def test_an_exit_that_means_failure_draws_and_ends_with_3(value: str, printed: str) -> None:
    name = write(LOSS + f"raise SystemExit({value})\n")
    result = invoke("viz", f"{name}:loss", "-o", "a.dot")
    assert result.exit_code == 3
    assert printed in result.stderr
    assert "Note: t.py exited with status" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: t.py: script exited with status ")
    assert b"loss" in Path("a.dot").read_bytes()
    for command, shown in (("check", "right: t.py:loss"), ("paths", "gradient of x")):
        other = invoke(command, f"{name}:loss")
        assert (other.exit_code, shown in other.stdout) == (3, True)


@pytest.mark.parametrize("value", ["0", "256", "None", "False"])
def test_an_exit_that_means_success_is_one(value: str) -> None:
    result = invoke("viz", write(LOSS + f"raise SystemExit({value})\n"))
    assert (result.exit_code, result.stderr.count("Note: t.py exited with status 0")) == (0, 1)


def test_a_script_that_cannot_be_compiled_has_failed() -> None:
    deep = invoke("viz", write("x = " + "-" * 100_000 + "1\n"))
    assert (deep.exit_code, deep.stderr) == (3, "Error: t.py: Python cannot compile it: MemoryError\n")
    odd = invoke("viz", write("# coding: rot13\n"))
    assert (odd.exit_code, odd.stderr[:38]) == (2, "Error: t.py is not Python source in UT")


def test_a_failure_after_the_tensor_was_made_draws_that_tensor() -> None:
    name = write(
        LOSS + "later = mt.exp(loss) * 3\nholder = mt.nn.Module()\nholder.kept = loss\nraise ValueError('late')\n"
    )
    for attr in ("loss", "holder.kept"):
        for view in ("forward", "backward"):
            result = invoke("viz", f"{name}:{attr}", "--view", view)
            assert result.exit_code == 3
            assert "\nsum  loss" in f"\n{result.stdout}"
            assert "exp" not in result.stdout
            assert f"Note: t.py failed after {attr} was made; drawing it as it was then\n" in result.stderr
            assert result.stderr.endswith("Error: t.py:7: ValueError: late\n")
    unnamed = invoke("viz", name)
    assert (unnamed.exit_code, "exp" in unnamed.stdout) == (3, True)
    for command, shown in (("check", "right: t.py:loss"), ("paths", "gradient of x")):
        result = invoke(command, f"{name}:loss")
        assert (result.exit_code, shown in result.stdout, result.stderr.count("late")) == (3, True, 2)


def test_a_name_with_the_end_of_a_line_leaves_a_message_in_one_line() -> None:
    odd = write("x = 1\n", "a\nError: fine.py")
    no_mark = "Error: a\\u000AError: fine.py"
    for said, *args in [
        (f"{no_mark} has no tensor", "viz", odd),
        (f"{no_mark} has no y", "check", f"{odd}:y"),
        (f"{no_mark}:y\\u000A: 'y\\n' after the colon", "viz", f"{odd}:y\n"),
        ("Error: b\\u000Ac: no such file", "paths", "b\nc"),
        ("Error: b\\u000A.py:1: SyntaxError", "viz", write("x = = 1\n", "b\n.py")),
        ("Error: c\\u000A.py: script exited with status 7", "viz", write("raise SystemExit(7)\n", "c\n.py")),
        ("Error: b\\u000Ac:1: SyntaxError: odd", "viz", write("raise SyntaxError('odd', ('b\\nc', 1, 1, 'd'))\n")),
        ("Error: the suffix .s\\u000Av of q.s\\u000Av is not known", "viz", "demo:mlp", "-o", "q.s\nv"),
        ("Error: cannot write q\\u000A/a.svg", "norms", "-o", "q\n/a.svg"),
        ("Error: --format svg and the suffix of q\\u000A.png disagree", "paths", odd, "-f", "svg", "-o", "q\n.png"),
    ]:
        result = invoke(*args)
        assert result.exit_code in (1, 2, 3)
        assert result.stderr.splitlines()[-1].startswith(said), (args, result.stderr)


def test_a_global_whose_name_has_the_end_of_a_line_takes_one_line_of_a_list() -> None:
    result = invoke("viz", write(HEAD + "globals()['a\\nb'] = x * 2\nc = x * 3\n"))
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: t.py has 2 results; say which one with t.py:a\\u000Ab",
        "  a\\u000Ab  (2,)",
        "  c         (2,)",
    ]


def test_a_failure_in_a_module_after_the_tensor_was_made() -> None:
    write(LOSS + "1 / 0\n", "failing_module_to_draw.py")
    result = invoke("viz", "failing_module_to_draw:loss")
    assert (result.exit_code, result.stdout[:9]) == (3, "sum  loss")
    assert result.stderr.endswith("failing_module_to_draw.py:4: ZeroDivisionError: division by zero\n")


def test_a_failure_before_the_tensor_was_made_draws_what_there_was() -> None:
    name = write(LOSS + "x @ mt.ones((3, 3))\nwanted = loss * 2\n")
    result = invoke("viz", f"{name}:wanted", "-o", "a.dot")
    assert (result.exit_code, b"matmul" in Path("a.dot").read_bytes()) == (3, True)
    assert "was made" not in result.stderr


def test_a_comparison_draws_both_and_tells_the_failure() -> None:
    write(LOSS + "raise SystemExit(4)\n", "bad.py")
    for pair in (["bad.py", "good.py"], ["good.py", "bad.py"]):
        result = invoke("viz", "--compare", *pair) if write(LOSS, "good.py") else None
        assert result is not None
        assert (result.exit_code, result.stdout[:9]) == (3, "sum  loss")
        assert result.stderr.endswith("Error: bad.py: script exited with status 4\n")


def test_a_fault_of_the_tool_is_one_line_without_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    write(LOSS)
    for place, args in (
        ("microtensor.viz.render", ["viz", "t.py"]),
        ("microtensor.ledger.to_table", ["paths", "t.py"]),
        ("microtensor.checking.examine", ["check", "t.py"]),
        ("microtensor.viz.cubes.to_svg", ["norms", "-o", "-"]),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, None)
            short, long = invoke(*args), invoke(*args, "--debug")
        assert (short.exit_code, long.exit_code) == (1, 1)
        assert short.stderr.count("\n") == 1
        assert "--debug shows where: TypeError: 'NoneType' object is not callable" in short.stderr
        assert "_command\n" in long.stderr


# --- the process ------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(0)", b"script ended its process with status 0, as os._exit does, and nothing was done"),
        ("os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(5)'])", b"with status 5, as os._exit does"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", b"was ended by signal 11 (Segmentation fault) before it was done"),
        ("if os.fork(): os._exit(0)", b"script ended its process with status 0"),
    ],
)
def test_a_script_that_ends_its_process_is_told_of(end: str, said: bytes) -> None:
    result = run("viz", write(f"{LOSS}import os, signal, sys\n{end}\n"), "-o", "a.svg")
    assert (result.returncode, files()) == (3, {"t.py"})
    assert result.stderr.startswith(b"Error: t.py: script")
    assert said in result.stderr


@posix
@pytest.mark.parametrize(
    ("child", "status", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('enough')", 1, "enough\n"),
        ("raise ValueError('in the child')", 1, "ValueError: in the child\n"),
    ],
)
def test_only_the_first_process_draws(child: str, status: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    name = write(
        f"{LOSS}import os, sys\npid = os.fork()\nif pid == 0:\n    {child}\nelse:\n"
        f"    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == {status}\n    print('waited')\n"
    )
    result = run("viz", name, "-f", "dot")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b"digraph") == 1
    assert result.stderr.decode().endswith(f"{said}waited\n")
    assert b"microtensor/" not in result.stderr


@posix
def test_children_of_every_kind_do_their_work() -> None:
    write(
        HEAD
        + """
import multiprocessing
def work(queue): queue.put(3.0)
if __name__ == "__main__":
    total = 0.0
    for kind in ("fork", "spawn"):
        context = multiprocessing.get_context(kind)
        queue = context.Queue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        total += queue.get()
        process.join()
        assert process.exitcode == 0
    loss = (x * total).sum()
"""
    )
    result = run("viz", "t.py", "--values", "full")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"18" in result.stdout


STUBBORN = {
    "catches everything": "while True:\n    try: time.sleep(50)\n    except: pass",
    "ignores the alarm": "signal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(50)",
    "takes the alarm away": "signal.setitimer(signal.ITIMER_REAL, 0)\ntime.sleep(50)",
    "blocks every signal": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ntime.sleep(50)",
    "does not return from C": "os.system('sleep 50')",
    "holds the interpreter": "sum(itertools.repeat(1))",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "never leaves": "atexit.register(time.sleep, 50)",
}
IMPORTS = "import atexit, itertools, os, signal, subprocess, threading, time\n"


def stopped(text: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script that starts long-lived processes; each has a pipe's end, so none is left when the pipe ends."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    write(
        f"{LOSS}{IMPORTS}subprocess.Popen(['sleep', '55'], close_fds=False)\n"
        f"subprocess.run('setsid sleep 55 &', shell=True, close_fds=False)\n{text}\n"
    )
    result = run("viz", "t.py:loss", "--timeout", "0.5", *args, command=HASTY, close_fds=False)
    os.close(writing)
    os.set_blocking(reading, False)
    end = time.monotonic() + 10
    while True:
        try:
            assert os.read(reading, 1) == b""
            break
        except BlockingIOError:
            assert time.monotonic() < end, "a process was left"
            time.sleep(0.02)
    os.close(reading)
    return result


@linux
@pytest.mark.parametrize(
    "what", [pytest.param(w, marks=() if i in (0, 5) else pytest.mark.slow) for i, w in enumerate(STUBBORN)]
)
def test_a_script_that_does_not_stop_is_ended_with_all_it_started(what: str) -> None:
    result = stopped(STUBBORN[what])
    assert result.returncode == 3, result.stderr
    assert result.stderr == (b"Error: t.py: script ran longer than 0.5 s and did not stop when told to; it was ended\n")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("text", ["while True: pass", "threading.Thread(target=time.sleep, args=(50,)).start()"])
def test_a_script_that_stops_leaves_nothing_behind(text: str) -> None:
    result = stopped(text, "-o", "a.svg")
    assert (result.returncode, files()) == (3, {"t.py"})
    assert result.stderr.endswith(b"Error: t.py: script ran longer than 0.5 s\n")


@posix
def test_an_error_that_does_not_end_being_told_counts_as_the_script_s_time() -> None:
    text = "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E\n"
    assert invoke("viz", write(HEAD + text), "--timeout", "0.2").exit_code == 3


@posix
def test_a_script_that_went_on_after_its_alarm_ran_too_long() -> None:
    text = LOSS + "import time\ntry:\n    time.sleep(9)\nexcept BaseException:\n    pass\n"
    result = invoke("viz", write(text), "--timeout", "0.1")
    assert (result.exit_code, result.stderr) == (3, "Error: t.py: script ran longer than 0.1 s\n")


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_command_ends_its_script(number: signal.Signals) -> None:
    write(HEAD + "import os, time\nos.write(2, b'ready\\n')\ntime.sleep(50)\n")
    with subprocess.Popen([*COMMAND, "viz", "t.py"], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(20) == -number
        # The last holder of the pipe is the script's process.
        assert process.stderr.read() == b""


@linux
def test_ctrl_c_at_the_keyboard_is_heard_once() -> None:
    write(
        HEAD
        + """
import os, time
try:
    os.write(2, b"ready")
    time.sleep(50)
except KeyboardInterrupt:
    time.sleep(0.3)
    os.write(2, b"once")
raise KeyboardInterrupt
"""
    )
    ours, theirs = pty.openpty()
    # A session of its own, whose terminal this is.
    take = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", take, *COMMAND, "viz", "t.py"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.read(5) == b"ready"
        os.write(ours, b"\x03")
        assert process.wait(20) == 130
        assert process.stderr.read() == b"onceInterrupted\n"
    os.close(ours)
    os.close(theirs)


@posix
@pytest.mark.slow
def test_ctrl_c_at_any_time_is_one_word() -> None:
    write(LOSS + "import time\ntime.sleep(50)\n")
    # From the first line of the package on; before that there is Python alone. Python tells what it has imported.
    command = [sys.executable, "-X", "importtime", "-m", "microtensor", "viz", "t.py", "-o", "a.svg"]
    for delay in [0.05 * i for i in range(12)]:
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            while b"microtensor.starting" not in process.stderr.readline():
                pass
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        lines = [line for line in said.splitlines() if not line.startswith(b"import time:")]
        assert (process.returncode, lines) == (130, [b"Interrupted"])
    assert files() == {"t.py"}


# --- the neighbours ---------------------------------------------------------------------------------------

# Modules that the tool has loaded long before; Python alone could not even import NumPy beside most of them.
NAMES = ["json", "random", "copy", "typing", "numpy", "click", "graphviz", "subprocess", "microtensor_helper"]
ASKING = "".join(f"import {name}\nassert {name}.mine, {name}\n" for name in NAMES)
GOING_ON = "layer = mt.nn.Linear(2, 2)\nloss = (layer(x) * 2).sum() + mt.softmax(x).sum()\nloss.backward()\n"


def test_a_script_gets_its_own_modules_before_those_of_the_tool() -> None:
    import json
    import random

    for name in NAMES:
        write("mine = True\n", f"{name}.py")
    write("", "inner/__init__.py")
    write("from .near import mine\nimport json\nassert json.mine\n", "inner/far.py")
    write("mine = True\n", "inner/near.py")
    write(HEAD + ASKING + "from inner.far import mine\n" + GOING_ON)
    result = run("viz", "t.py", "-o", "a.svg", "--view", "backward")
    assert (result.returncode, result.stderr) == (0, b"")
    loaded = {name: sys.modules.get(name) for name in NAMES}
    assert invoke("check", "t.py:loss").exit_code == 0
    assert invoke("paths", "t.py:loss", "--of", "x").exit_code == 0
    assert {name: sys.modules.get(name) for name in NAMES} == loaded
    assert json.dumps(random.random())


@pytest.mark.parametrize("name", ["os", "sys", "time"])
def test_what_python_has_loaded_itself_stays(name: str) -> None:
    write("mine = True\n", f"{name}.py")
    assert invoke("viz", write(LOSS + f"import {name}\nassert not hasattr({name}, 'mine')\n")).exit_code == 0


def test_two_scripts_have_a_neighbour_each() -> None:
    for folder, function in (("a", "exp"), ("b", "tanh")):
        write(f"def f(mt, x): return mt.{function}(x)\n", f"{folder}/neighbour_of_two.py")
        write(HEAD + "from neighbour_of_two import f\nloss = f(mt, x).sum()\n", f"{folder}/net.py")
    result = invoke("viz", "--compare", "a/net.py", "b/net.py")
    assert result.exit_code == 0
    assert "exp" in result.stdout
    assert "tanh" in result.stdout
    assert "neighbour_of_two" not in sys.modules


def test_streams_in_memory_serve_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    name = write(
        LOSS + "import sys\nprint('printed', sys.stdout.encoding)\nsys.stderr.write('written')\nsys.stderr.close()\n"
    )
    from microtensor.script import parse, running

    with running(parse(name)) as found:
        assert found.tensor.item() == 5.0
    assert stream.getvalue().split() == ["printed", "utf-8", "written"]


@pytest.mark.parametrize("folder", [".", "deep"])
def test_a_thread_that_starts_another_is_waited_for(folder: str) -> None:
    text = """
import threading
def first(): threading.Timer(0.02, second).start()
def second():
    global loss
    loss = x.sum()
threading.Timer(0.02, first).start()
"""
    result = invoke("viz", write(HEAD + text, f"{folder}/t.py") + ":loss")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        "pool = ThreadPoolExecutor(2)\npool.submit(work)",
        "ThreadPoolExecutor(2).submit(work)",
        "async def main(): asyncio.get_running_loop().run_in_executor(None, work)\n"
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(main())",
        "pool = ProcessPoolExecutor(1)\npool.submit(abs, -3).result()\nwork()",
    ],
)
def test_an_executor_that_nobody_shuts_down_ends_with_its_work(text: str) -> None:
    work = """
import asyncio, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
def work():
    time.sleep(0.05)
    globals()['loss'] = x.sum()
"""
    outside = ThreadPoolExecutor(1)
    assert run("viz", write(f"{HEAD}{work}{text}\n") + ":loss").returncode == 0
    if "Thread" in text:
        assert invoke("viz", "t.py:loss").exit_code == 0
    outside.submit(abs, 1).result()
    outside.shutdown()
