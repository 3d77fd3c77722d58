"""References to a value of a script: ``loss``, ``model.loss``, ``losses[-1]``, ``out[scores]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

STEP = re.compile(r"\.?([^\W\d]\w*)|\[([^\[\]]+)\]")


class Step(NamedTuple):
    """One step from a value to a part of it.

    Attributes
    ----------
    shown : str
        How the step is written.
    attribute : str
        The name of an attribute; empty when it is an item.
    item : int or str
        The index or the key of an item.
    """

    shown: str
    attribute: str = ""
    item: int | str = 0


def is_reference(text: str) -> bool:
    """Whether a text is a reference.

    Examples
    --------
    >>> from microtensor.script.reference import is_reference
    >>> [is_reference(text) for text in ("loss", "a.b", "losses[-1]", "out[scores].x", "a.", "1", "a[", "a b")]
    [True, True, True, True, False, False, False, False]
    """
    return re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*|\[[^\[\]]+\])*", text) is not None


def steps(text: str) -> Iterator[Step]:
    """The steps of a reference. A whole number in brackets is an index, anything else is a key.

    Examples
    --------
    >>> from microtensor.script.reference import steps
    >>> [step.attribute or step.item for step in steps("model.outs[0][scores]")]
    ['model', 'outs', 0, 'scores']
    """
    for match in STEP.finditer(text):
        attribute, item = match.groups()
        if attribute is not None:
            yield Step(match[0], attribute)
        elif re.fullmatch(r"-?\d+", item):
            yield Step(match[0], item=int(item))
        else:
            yield Step(match[0], item=item.strip("'\""))
