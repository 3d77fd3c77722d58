"""What is found: the norms of a graph, and their statistics. Plain data, over the tensors of the user's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from microtensor.core.tensor import Tensor

Kind: TypeAlias = Literal["shift", "scale"]


# Tensors compare by their numbers, so these two compare by identity.
@dataclass(frozen=True, eq=False)
class Statistic:
    """A result that is smaller than the input of a norm, and is known by its gradient with respect to that input.

    Attributes
    ----------
    value : Tensor
        The result, in the user's graph.
    kind : {"shift", "scale"}
        "shift": the gradient is constant along the axes. "scale": it is a multiple of z − mean(z), or of z.
    axes : tuple of int
        The axes of z that it is taken over; the largest set of axes for which this holds.
    centered : bool
        False for a scale whose gradient is a multiple of z itself, such as a mean square.
    """

    value: Tensor
    kind: Kind
    axes: tuple[int, ...]
    centered: bool = True


@dataclass(frozen=True, eq=False)
class Norm:
    """One norm in a recorded graph. The tensors are those of the user's graph.

    Attributes
    ----------
    input : Tensor
        z: the earliest tensor that the statistics are statistics of. So x · 2 in front of a norm belongs to it.
    statistics : tuple of Statistic
        In the order of the program. The mean inside a variance is one of them.
    axes : tuple of int
        The axes of z that the scales are taken over.
    centered : bool
        Whether a shift is taken out of z. It is False for RMS norm, and for x / σ, where the mean stays.
    inner : frozenset of Tensor
        The statistics, and what is computed from them alone: σ² + ε, 1 / σ, β − μ / σ. With `named`, everything on the
        way to the statistics too, such as the matrix products of whitening.
    output : Tensor
        The result of the last operation in which a statistic, or what is computed from it, meets a larger result.
    later : tuple of (Tensor, tuple of int)
        Tensors after z that serve as the input as well, with their axes: of x @ W + b in front of batch norm, z is
        x @ W, and the sum with b is a later one. The last is the one that the norm reads.
    named : bool
        The scope of a library's norm named it, not a gradient: the statistics of whitening, of local response norm and
        of spectral norm are not one per set. Their kind then says what they do.
    """

    input: Tensor
    statistics: tuple[Statistic, ...]
    axes: tuple[int, ...]
    centered: bool
    inner: frozenset[Tensor]
    output: Tensor
    later: tuple[tuple[Tensor, tuple[int, ...]], ...] = ()
    named: bool = False


class Norms(list[Norm]):
    """The norms of a graph in the order of the program.

    Attributes
    ----------
    complete : bool
        False when the graph was too large to be gone through. Then only norms of the library are in the list, and norms
        in another spelling may be missing.
    """

    complete: bool = True
