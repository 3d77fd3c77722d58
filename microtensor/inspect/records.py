"""Records of plain data as JSON: the same text for the same record, on every machine and for every reader."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

LARGEST = 10_000


def plain(value: Any) -> Any:
    """A record as JSON can hold it: each compared field under its name, also in nested records.

    NaN and infinities become strings, and an array of more than 10,000 numbers None.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.records import plain
    >>> plain((np.array([1.0, np.inf]), "x", 3))
    [[1.0, 'Infinity'], 'x', 3]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, np.ndarray):
        return None if value.size > LARGEST else plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def json_text(content: dict[str, Any]) -> str:
    """The text of a file: sorted keys, ASCII, a line each.

    Examples
    --------
    >>> from microtensor.inspect.records import json_text
    >>> print(json_text({"b": 1, "a": 2}), end="")
    {
     "a": 2,
     "b": 1
    }
    """
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"
