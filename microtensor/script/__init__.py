"""Runs a user's script as ``python SCRIPT args…`` would, and finds the tensor or function that was asked for.

:func:`parse` reads a target (``file.py``, ``file.py:attr``, ``pkg.module:attr``, ``graph.json``, ``demo:NAME``).
:func:`running` runs it, and keeps the state of its process while the tensor is read. There are three errors:
:class:`PathError` (there is nothing to run), :class:`ScriptError` (the script failed) and :class:`TargetError` (the
script ran, but the tensor is not there).
"""

from microtensor.script.errors import ScriptError
from microtensor.script.pair import Pair, pair_of
from microtensor.script.resolve import Found, TargetError
from microtensor.script.run import running, running_pair
from microtensor.script.target import InputShape, PathError, Target, parse

__all__ = [
    "Found",
    "InputShape",
    "Pair",
    "PathError",
    "ScriptError",
    "Target",
    "TargetError",
    "pair_of",
    "parse",
    "running",
    "running_pair",
]
