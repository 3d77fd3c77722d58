"""A ledger as plain, immutable data: the paths, their contributions, and the part that a norm takes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from numpy.typing import ArrayLike

from microtensor.inspect.ledger.table import to_table
from microtensor.support.arrays import Array

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor
    from microtensor.inspect.grading.report import BackwardReport
    from microtensor.inspect.ledger.explain import Replay

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
        The share of this part that is left, total / direct, per set; NaN where the direct path has no such part.
    predicted : array
        The share by theory, per set: 0 along 1, ε / (σ² + ε) along x − μ; NaN where no theory is known.
    statistic : str
        What ε is added to: "σ²" for √(σ² + ε), "σ" for σ + ε, and the like. Empty along 1, and without a theory.
    holds : bool
        Whether the residue equals the prediction, up to rounding.
    rounding : bool
        Whether what is left is no larger than the rounding of the direct path.
    """

    direction: str
    direct: float
    total: float
    residue: Array
    predicted: Array
    statistic: str
    holds: bool
    rounding: bool = False


@dataclass(frozen=True)
class Removal:
    """The part that a norm removes from the gradient at its input: direct² = shift² + scale² + rest².

    Attributes
    ----------
    axes : tuple of int
        The axes of the statistics, in the tensor that is normalised.
    sets, size : int
        The number of sets of values with their own statistics, and the number of values per set.
    parts : tuple of Part
    direct_rest, total_rest : float
        The norm of the rest that is neither a shift nor a scale, on the direct path and on all paths.
    at : str
        The name of the input of the norm; empty when it is x, and all paths from x go through the norm.
    rows : tuple of Path
        With `at`: the paths that go through the norm, with their contributions to the gradient there.
    mistakes : tuple of str
        Why something is left that should not be, where the graph shows it.
    condition : float
        How many times as large as their spread the values of a set are, at most. So many digits are lost in x − μ.
    """

    axes: tuple[int, ...]
    sets: int
    size: int
    parts: tuple[Part, ...]
    direct_rest: float
    total_rest: float
    at: str = ""
    rows: tuple[Path, ...] = ()
    mistakes: tuple[str, ...] = ()
    condition: float = 1.0

    @property
    def direct(self) -> float:
        """The norm of the direct path."""
        return math.hypot(self.direct_rest, *(part.direct for part in self.parts))

    @property
    def total(self) -> float:
        """The norm of all paths together."""
        return math.hypot(self.total_rest, *(part.total for part in self.parts))


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
    rounding : float
        Norms up to this size are rounding, beside the largest path.
    """

    title: str
    detail: str
    paths: tuple[Path, ...]
    removal: Removal | None = None
    rounding: float = 0.0


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
    _replay: Replay | None = field(default=None, compare=False, repr=False)

    def explain(self, dx: ArrayLike | Tensor) -> BackwardReport:
        """Say what is wrong with a gradient of x that was made by hand: which path is missing, or wrong by a factor.

        The gradient is read in the same way as by :func:`microtensor.check_backward`.

        Parameters
        ----------
        dx : array_like or Tensor
            A gradient of x for the cotangent of this ledger.

        Returns
        -------
        BackwardReport
            ``passed`` says whether it is right, ``factors`` has the factor of each path.

        Raises
        ------
        ValueError
            The ledger was loaded or copied, so it has no graph any more.

        Examples
        --------
        >>> import numpy as np
        >>> import microtensor as mt
        >>> x = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="x")
        >>> ledger = mt.paths(mt.norms.standardize(x, axis=0), x)
        >>> print(ledger.explain(ledger["direct"].contribution + ledger["via the mean"].contribution))
        backward is wrong
          dx  wrong, off by 42 %
        - dx: the path through the variance is missing (N = 8 values per set, axis 0)
        """
        if self._replay is None:
            raise ValueError("explain: this ledger was loaded or copied and has no graph; make it again with mt.paths")
        return self._replay.explain(dx, self.gradient, self.input)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_replay": None}

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

    def _repr_html_(self) -> str:
        from microtensor.inspect.ledger.html import to_html

        return to_html(self)
