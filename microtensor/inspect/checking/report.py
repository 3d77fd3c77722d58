"""The report of a check of gradients: the error of each input, and each mismatch with its place and likely cause."""

from __future__ import annotations

import math
from dataclasses import dataclass

from microtensor.support.arrays import Array


@dataclass(frozen=True)
class Mismatch:
    """A place where the gradient and the finite differences disagree.

    Attributes
    ----------
    where : str
        The operation and argument, or the input of the function.
    index : tuple of int or None
        The element; None for a projection on a random direction.
    analytic, numeric : float
        The derivative by the rules and by differences; both NaN when there was nothing to compare.
    cause : str
        The likely cause in words; empty when it is not known.
    """

    where: str
    index: tuple[int, ...] | None = None
    analytic: float = math.nan
    numeric: float = math.nan
    cause: str = ""

    @classmethod
    def at(cls, where: str, index: tuple[int, ...], analytic: Array, numeric: Array, cause: str) -> Mismatch:
        """The mismatch of one element of two gradients."""
        return cls(where, index, float(analytic[index]), float(numeric[index]), cause)

    @property
    def error(self) -> float:
        """The absolute difference."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        if math.isnan(self.analytic) and math.isnan(self.numeric):
            return f"{self.where}; {self.cause}" if self.cause else self.where
        place = "along a random direction" if self.index is None else f"at index {self.index}"
        text = f"{self.where} {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, error {self.error:.3g}"
        return f"{text}; {self.cause}" if self.cause else text


@dataclass(frozen=True)
class Checked:
    """The result of the check of one input.

    Attributes
    ----------
    error : float
        The largest difference between the gradient and the finite differences; ∞ when there was no gradient.
    right : bool
        Whether they agree.
    """

    error: float = 0.0
    right: bool = True

    def and_also(self, other: Checked) -> Checked:
        """The result of two checks of the same input together."""
        return Checked(max(self.error, other.error), self.right and other.right)


@dataclass(frozen=True)
class Report:
    """The result for each input that requires a gradient, by position, and the mismatches, if there are any."""

    inputs: dict[int, Checked]
    mismatches: list[Mismatch]


def described(error: BaseException) -> str:
    """The type, the message and the notes of an exception, also of one that cannot be printed.

    Examples
    --------
    >>> from microtensor.inspect.checking.report import described
    >>> described(ValueError("no such axis")), described(AssertionError())
    ('ValueError: no such axis', 'AssertionError')
    """
    try:
        words = str(error)
    except Exception:
        words = ""
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}{': ' if words else ''}{words}{notes}"


class NoGradientError(Exception):
    """There is no gradient to compare: a rule or the walk raised an error, or returned something that does not fit."""


class GradcheckError(AssertionError):
    """A gradient disagrees with finite differences. The attribute ``mismatches`` is a list of the places."""

    def __init__(self, mismatches: list[Mismatch], title: str = "gradcheck failed") -> None:
        self.mismatches = mismatches
        super().__init__(f"{title}\n  " + "\n  ".join(map(str, mismatches)))
