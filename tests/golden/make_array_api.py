"""Writes array_api.json: the signatures of array-api-strict's functions, where the package has one of the same name.

Run with array-api-strict 2.6.1 installed, which the tests themselves do not need.
"""

import inspect
import json
from pathlib import Path

import array_api_strict

import microtensor as mt


def signatures() -> dict[str, list[list[str]]]:
    """For each function its parameters: name, kind and default; no default is an empty string."""
    found = {}
    for name in sorted(set(array_api_strict.__all__) & set(mt.__all__)):
        function = getattr(array_api_strict, name)
        if inspect.isfunction(function):
            found[name] = [
                [p.name, p.kind.name, "" if p.default is p.empty else repr(p.default)]
                for p in inspect.signature(function).parameters.values()
            ]
    return found


if __name__ == "__main__":
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in signatures().items())
    Path(__file__).with_name("array_api.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
