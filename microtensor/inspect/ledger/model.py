"""A ledger as plain, immutable data: the paths, their contributions, and the part that a norm takes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from microtensor.inspect.ledger.table import to_table
from microtensor.support.arrays import Array

Cut: TypeAlias = Literal["mean", "var", "mean@var"]


@dataclass(frozen=True)
class Step:
    """An operation on a route: its position in the program, its symbol, the name of its result, and the shape."""

    at: int
    symbol: str
    label: str
    shape: tuple[int, ...]

    @property
    def title(self) -> str:
        """The name of the result, or the symbol of the operation if the result has no name."""
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
        One of these paths, from x to y.
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
class Part:
    """The part of the gradient at the input of a norm along one direction, per set of values with its own statistics.

    Attributes
    ----------
    direction : str
        "1" for a shift of the set, "x − μ" or "x" for a change of its scale.
    direct, total : float
        The norm of this part on the direct path and on all paths together.
    residue : array
        The share of this part that is left, total / direct, per set.
    predicted : array
        The share by theory, per set: 0 along 1, ε / (σ² + ε) along x − μ.
    statistic : str
        The statistic that ε is added to, such as "σ²"; empty along 1.
    holds : bool
        Whether the residue equals the prediction, up to rounding.
    """

    direction: str
    direct: float
    total: float
    residue: Array
    predicted: Array
    statistic: str
    holds: bool


@dataclass(frozen=True)
class Removal:
    """The part that a norm removes from the gradient at its input.

    Attributes
    ----------
    axes : tuple of int
        The axes of the statistics, in the tensor that is normalised.
    sets, size : int
        The number of sets of values with their own statistics, and the number of values per set.
    parts : tuple of Part
    direct_rest, total_rest : float
        The norm of the rest that is neither a shift nor a scale, on the direct path and on all paths.
    """

    axes: tuple[int, ...]
    sets: int
    size: int
    parts: tuple[Part, ...]
    direct_rest: float
    total_rest: float


@dataclass(frozen=True)
class Severed:
    """A gradient with a path detached, compared with the right one.

    Attributes
    ----------
    path : {"mean", "var", "mean@var"}
    gradient : array
        The gradient of x with the path detached.
    differences : tuple of float
        ‖cut − right‖ / ‖right‖ for the orders 1, 2 and 3. Order 1 is the gradient. Each further order is the gradient
        of ⟨previous order, a fixed random direction⟩.
    first_wrong : int or None
        The lowest order with a difference larger than rounding; None when no order has one.
    """

    path: Cut
    gradient: Array
    differences: tuple[float, ...]
    first_wrong: int | None


@dataclass(frozen=True)
class NormSection:
    """All paths, grouped by the statistics that they pass in one norm. They add up to the whole gradient of x.

    Attributes
    ----------
    title, detail : str
        The scope of the norm and its description; empty for paths without a norm.
    paths : tuple of Path
    removal : Removal or None
        The part that the norm removes from the gradient at its input.
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
        A description of the cotangent of y that the gradient belongs to.
    count : int
        The number of single paths from x to y.
    blocks : tuple of NormSection
        One section for each norm between x and y; one section without a title when there is no norm.
    note : str
        Says what was grouped or left out; empty if nothing was.
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
