"""The README keeps its word: its code runs, its links lead somewhere, its setup commands stand where they should."""

import doctest
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from microtensor.cli import main
from tests.commands import runner
from tests.places import ROOT

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
SETUP = [
    "python3 -m venv .venv && .venv/bin/pip install -q . && "
    ".venv/bin/microtensor viz demo:batch_norm --view backward -o batch_norm.svg",
    'python3 -m venv .venv && .venv/bin/pip install -q -e ".[test]" && .venv/bin/pytest',
]


class Block(NamedTuple):
    """A fenced block: its language, its code, and the line of the README on which the code begins."""

    language: str
    code: str
    line: int


def blocks() -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [Block(match[1], match[2], TEXT.count("\n", 0, match.start(2)) + 1) for match in found]


def run_session(block: Block, namespace: dict[str, Any]) -> None:
    session = doctest.DocTestParser().get_doctest(block.code, namespace, README.name, str(README), block.line - 1)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(session, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    namespace.update(session.globs)


def test_the_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    python = [block for block in blocks() if block.language == "python"]
    assert python
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in python:
        if block.code.startswith(">>>"):
            run_session(block, namespace)
        else:
            # The blank lines make a traceback show the README's own line numbers.
            exec(compile("\n" * (block.line - 1) + block.code, str(README), "exec"), namespace)


def test_the_sessions_print_what_they_show() -> None:
    sessions = [block.code for block in blocks() if block.language == "console"]
    assert sessions
    for session in sessions:
        command, _, shown = session.removeprefix("$ microtensor ").partition("\n")
        # What is 0 but for rounding differs from one machine to the next.
        rounding = re.compile(r"\d\.\de-1\d")
        printed = runner().invoke(main, shlex.split(command)).stdout
        assert rounding.sub("0", printed) == rounding.sub("0", shown)


def test_every_relative_link_leads_to_a_file() -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)", prose) + re.findall(r'(?:src|srcset|href)="([^"\s]+)', prose)
    relative = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert relative
    assert [target for target in relative if not (ROOT / target.partition("#")[0]).exists()] == []


def test_the_setup_commands_are_there_once_and_in_order() -> None:
    shell = [block.code.strip() for block in blocks() if block.language == "sh"]
    assert [code for code in shell if code.startswith("python3 -m venv .venv")] == SETUP
    assert [TEXT.count(command) for command in SETUP] == [1, 1]


def test_a_picture_comes_right_after_the_title() -> None:
    title, first = [line for line in TEXT.splitlines() if line.strip()][:2]
    assert title.startswith("# ")
    assert re.match(r"<picture>|<img |!\[|<p align=\"center\">", first)
