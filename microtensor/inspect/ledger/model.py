"""A ledger as plain, immutable data: the paths, what each contributes, and what a norm takes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microtensor.inspect.ledger.table import to_table
from microtensor.support.arrays import Array

if TYPE_CHECKING:
    from microtensor.inspect.ledger.cut import Severed
    from microtensor.inspect.ledger.projection import Removal


@dataclass(frozen=True)
class Step:
    """An operation on a route: its position in the program, what it is and what its result is called."""

    at: int
    symbol: str
    label: str
    shape: tuple[int, ...]

    @property
    def title(self) -> str:
        """The name of the result, or the symbol of the operation where it has none."""
        return self.label or self.symbol


@dataclass(frozen=True)
class Path:
    """A path from x to y, or all those that pass the same statistics.

    Attributes
    ----------
    name : str
    contribution : array
        What it adds to the gradient of x, in the shape of x.
    norm : float
        Euclidean norm of the contribution.
    share : float
        Its part of the gradient, ⟨contribution, gradient⟩ / ‖gradient‖²: signed, and 1 in sum; NaN where the
        gradient is 0, but for rounding.
    count : int
        How many single paths these are.
    route : tuple of Step
        One of them, from x to y.
    zero : bool
        Nothing but rounding comes along it.
    identity : str
        Why that is exactly so, when there is a reason.
    """

    name: str
    contribution: Array
    norm: float
    share: float
    count: int
    route: tuple[Step, ...]
    zero: bool = False
    identity: str = ""


@dataclass(frozen=True)
class NormSection:
    """The paths told apart by one norm; their contributions add up to the whole gradient of x.

    Attributes
    ----------
    title, detail : str
        The scope of the norm and what it is; empty for paths that meet no norm.
    paths : tuple of Path
    removal : Removal or None
        What the norm takes out of the gradient at its input.
    """

    title: str
    detail: str
    paths: tuple[Path, ...]
    removal: Removal | None = None


@dataclass(frozen=True)
class Ledger:
    """The gradient of y with respect to x as a sum over paths; print it.

    Attributes
    ----------
    output, input : str
        What y and x are called.
    gradient : array
        The gradient of x.
    cotangent : str
        What the gradient belongs to, in words.
    count : int
        The number of single paths from x to y.
    blocks : tuple of NormSection
        One for each norm on the way; one without a title when there is none.
    note : str
        What was grouped or left out.
    cut : Severed or None
        The gradient with a path detached.
    """

    output: str
    input: str
    gradient: Array
    cotangent: str
    count: int
    blocks: tuple[NormSection, ...]
    note: str = ""
    cut: Severed | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the first section."""
        return self.blocks[0].paths

    def __getitem__(self, name: str) -> Path:
        """The path of that name in the first section."""
        for path in self.paths:
            if path.name == name:
                return path
        raise KeyError(f"{name!r} is not one of the paths {', '.join(path.name for path in self.paths)}")

    def __str__(self) -> str:
        return to_table(self)
