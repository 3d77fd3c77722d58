"""A ledger as plain, immutable data: the paths, their contributions, and the part that a norm takes out."""

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
    """An operation on a route: its position in the program, its symbol, the name of its result, and the shape."""

    at: int
    symbol: str
    label: str
    shape: tuple[int, ...]

    @property
    def title(self) -> str:
        """The name of the result; the symbol of the operation when it has none."""
        return self.label or self.symbol


@dataclass(frozen=True)
class Path:
    """A path from x to y, or all paths that pass the same statistics.

    Attributes
    ----------
    name : str
    contribution : array
        The part of the gradient of x that comes along the path, in the shape of x.
    norm : float
        The Euclidean norm of the contribution.
    share : float
        ⟨contribution, gradient⟩ / ‖gradient‖². It has a sign, and the shares of all paths add up to 1. NaN when the
        gradient is 0 up to rounding.
    count : int
        The number of single paths.
    route : tuple of Step
        One of them, from x to y.
    zero : bool
        Whether the contribution is 0 up to rounding.
    identity : str
        The identity by which the contribution is exactly 0; empty when there is none.
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
    """All paths, grouped by the statistics of one norm that they pass. They add up to the whole gradient of x.

    Attributes
    ----------
    title, detail : str
        The scope of the norm and its description; empty for paths without a norm.
    paths : tuple of Path
    removal : Removal or None
        The part that the norm takes out of the gradient at its input.
    """

    title: str
    detail: str
    paths: tuple[Path, ...]
    removal: Removal | None = None


@dataclass(frozen=True)
class Ledger:
    """The gradient of y with respect to x as a sum over paths. Printing it shows a table.

    Attributes
    ----------
    output, input : str
        The names of y and x.
    gradient : array
        The gradient of x.
    cotangent : str
        Which cotangent of y the gradient belongs to, in words.
    count : int
        The number of single paths from x to y.
    blocks : tuple of NormSection
        One section for each norm between x and y; one section without a title when there is no norm.
    note : str
        What was grouped or left out; empty when nothing was.
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
