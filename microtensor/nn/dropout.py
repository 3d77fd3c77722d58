"""Dropout: in training, random elements become 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.checks import check_float, check_probability
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.functional import scoped
from microtensor.nn.docstrings import completed_by
from microtensor.nn.module import Module
from microtensor.ops import masked
from microtensor.random import generator


@scoped
def dropout(input: Tensor, p: float = 0.5, training: bool = True, *, rng: Any = None) -> Tensor:
    """Set each element to 0 with probability p, and divide the others by 1 − p. The mean stays the same.

    Parameters
    ----------
    input : Tensor
        Any shape.
    p : float
        The probability, from 0 (no element becomes 0) to 1 (every element becomes 0).
    training : bool
        Whether elements are dropped. Otherwise the input is returned.
    rng : int or numpy.random.Generator, optional

    Raises
    ------
    ValueError
        p is not a probability.
    TypeError
        The input is not floating point.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, *Dropout*, 2014.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.functional.dropout(mt.ones(4), 0.5, rng=0)
    tensor([2., 2., 2., 0.])
    """
    check_probability(p, "dropout")
    check_float(input, "dropout")
    if not training or p == 0:
        return input
    kept = generator(rng).random(input.shape, dtype=np.float32) >= p
    # Detached, so that pictures show a constant and no second input of the network.
    mask = label(Tensor(kept).detach(), "mask")
    # Chosen, not multiplied: what is left out passes 0 back, also where the gradient is infinite.
    left = masked(input, mask)
    # Nothing is kept at p = 1, so the factor is never needed there.
    return left if p == 1 else left * (1 / (1 - p))


@completed_by(dropout)
class Dropout(Module):
    """Dropout: in training, each element is set to 0 with probability p, and the others are divided by 1 − p.

    After ``eval()`` the input is returned. It needs no scaling, because training keeps the mean.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    rng : int or numpy.random.Generator, optional
        For the masks. Default: the generator that :func:`microtensor.manual_seed` seeds.

    Examples
    --------
    >>> import microtensor as mt
    >>> drop = mt.nn.Dropout(0.5, rng=0)
    >>> drop(mt.ones(4))
    tensor([2., 2., 2., 0.])
    >>> drop.eval()(mt.ones(4))
    tensor([1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        super().__init__()
        self.p = check_probability(p, "Dropout")
        # One generator for all calls: a seed taken anew would draw the same mask each time.
        self.rng = None if rng is None else generator(rng)

    def extra_repr(self) -> str:
        """The probability, and ``eval`` in prediction mode."""
        return f"{self.p}" + ("" if self.training else ", eval")

    def forward(self, x: Tensor) -> Tensor:
        """The input with elements dropped in training, and the input itself in prediction."""
        check_float(x, self)
        return dropout(x, self.p, self.training, rng=self.rng)
