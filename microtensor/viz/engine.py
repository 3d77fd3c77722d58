"""Layout: from DOT source to the bytes of an SVG or PNG, by the embedded engine or the system's ``dot``."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from subprocess import PIPE
from typing import Literal, TypeAlias

from microtensor.text import LINE, safe_text
from microtensor.viz.shapes import tag

Engine: TypeAlias = Literal["auto", "embedded", "system"]

TIME_LIMIT = 60.0
HARMLESS = "no value for width of non-ASCII character"


class EngineError(RuntimeError):
    """The layout engine is missing, failed, or ran too long."""


def embedded() -> str | None:
    """The executable of the package graphviz-pure, or None."""
    try:
        files = importlib.metadata.files("graphviz-pure") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.stem == "graphviz-pure" and file.suffix in ("", ".exe"):
            path = str(file.locate())
            if os.access(path, os.X_OK):
                return os.path.realpath(path)
    return None


def find(engine: Engine = "auto") -> str:
    """The executable to use. The embedded one comes first: it draws the same bytes on every machine.

    Raises
    ------
    EngineError
        There is no such engine.
    """
    found = embedded() if engine in ("auto", "embedded") else None
    if found is None and engine in ("auto", "system"):
        found = shutil.which("dot")
    if found is not None:
        return found
    missing = {
        "embedded": "the embedded layout engine is not installed: pip install graphviz-pure",
        "system": "the system's layout engine is not installed: there is no dot on the PATH; install Graphviz",
        "auto": "no layout engine is installed: pip install graphviz-pure, or install Graphviz for its dot",
    }
    raise EngineError(f"{missing[engine]}. The formats tree, json, mermaid and dot need none")


def layout(
    source: str,
    format: Literal["svg", "png"],
    engine: Engine = "auto",
    *,
    dpi: int | None = None,
    timeout: float = TIME_LIMIT,
) -> bytes:
    """Lay out DOT source.

    Parameters
    ----------
    source : str
    format : {"svg", "png"}
    engine : {"auto", "embedded", "system"}
    dpi : int, optional
        Dots per inch of a PNG.
    timeout : float
        Seconds after which the engine, with everything it started, is ended.

    Raises
    ------
    EngineError
        There is no engine, it failed, it ran too long, or its output is no picture.
    """
    command = [find(engine), f"-T{format}"]
    if dpi is not None:
        command.append(f"-Gdpi={dpi}")
    try:
        process = subprocess.Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=sys.platform != "win32"
        )
    except OSError as error:
        raise EngineError(f"the layout engine {command[0]} cannot be started: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(source.encode("utf-8"), timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise EngineError(
                f"the layout engine took longer than {timeout:g} s; draw less with --depth, or take --format dot"
            ) from None
        except BaseException:
            _kill(process)
            raise
    said = [
        line
        for line in err.decode("utf-8", "replace").splitlines()
        if line.strip() and HARMLESS not in line and "Falling back" not in line
    ]
    status = process.returncode
    if status == 0 and out and _is_whole(out, format):
        return out
    # The last line that calls itself an error says what is wrong. A line after it may only say where.
    blamed = [line for line in said if line.startswith("Error")] or said
    last = safe_text(blamed[-1], LINE) if blamed else "without a word"
    how = f"status {status}" if status >= 0 else f"ended by signal {-status}"
    if status == 0 and out:
        start = safe_text(out.decode("utf-8", "replace"))
        last = f"what it wrote is not {'an SVG' if format == 'svg' else 'a PNG'}: {start!r}"
    raise EngineError(f"the layout engine {os.path.basename(command[0])} failed ({how}): {last}")


def _is_whole(data: bytes, format: Literal["svg", "png"]) -> bool:
    """Whether an engine's output is a complete picture."""
    if format == "png":
        return data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in data[-16:]
    try:
        root = ElementTree.fromstring(data)
        # Whatever dot draws is in one group.
        return root.tag == tag("svg") and root.find(tag("g")) is not None
    except (ElementTree.ParseError, ValueError, LookupError):
        return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the engine and what it started. A process that has left its session is not waited for."""
    with suppress(ProcessLookupError):
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
