"""The report of a graded backward, in plain English."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from microtensor.text import columns, padded


@dataclass(frozen=True)
class Graded:
    """One gradient of the report.

    Attributes
    ----------
    name : str
        The tensor that it belongs to.
    error : float
        The difference from the right gradient, as a part of the largest path; ∞ when there is nothing to compare.
    right : bool
    """

    name: str
    error: float
    right: bool

    @property
    def text(self) -> str:
        """The verdict in words."""
        if self.right:
            return "right"
        return "wrong" if math.isinf(self.error) else f"wrong, off by {percent(self.error)}"


@dataclass(frozen=True, repr=False)
class BackwardReport:
    """What is right and wrong with a backward.

    Attributes
    ----------
    passed : bool
        Whether it is right.
    gradients : dict
        The grade of each gradient, by the name of its tensor.
    findings : list of str
        What is wrong, a sentence or two each; empty when all is right.
    remarks : list of str
        What else is to know, such as what was not graded.
    factors : dict
        For a wrong gradient behind a norm, by its name: the factor of each path (direct, mean, variance), where the
        same factors hold for all sets. 1 is right, 0 is missing.
    """

    passed: bool
    gradients: dict[str, Graded] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    factors: dict[str, dict[str, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = ["backward is right" if self.passed else "backward is wrong"]
        width = max((columns(f"d{name}") for name in self.gradients), default=0)
        lines += [f"  {padded(f'd{name}', width)}  {graded.text}" for name, graded in self.gradients.items()]
        lines += [f"- {finding}" for finding in self.findings]
        lines += [f"Note: {remark}" for remark in self.remarks]
        return "\n".join(lines)


def percent(part: float) -> str:
    """A part of a whole for a sentence.

    Examples
    --------
    >>> from microtensor.inspect.grading.report import percent
    >>> percent(0.1234), percent(3e-6), percent(0.999), percent(12.0)
    ('12 %', '0.0003 %', '100 %', '1200 %')
    """
    value = 100 * part
    if value >= 99.5:
        return f"{value:.0f} %" if value < 1e6 else f"{value:.1g} %"
    return f"{value:.2g} %" if value >= 1e-4 else f"{value:.0e} %"


def listed(words: list[str]) -> str:
    """Words in a sentence.

    Examples
    --------
    >>> from microtensor.inspect.grading.report import listed
    >>> listed(["x"]), listed(["x", "gamma", "beta"])
    ('x', 'x, gamma and beta')
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
