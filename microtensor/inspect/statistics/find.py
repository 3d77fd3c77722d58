"""The norms that a result was computed with, or those among some records."""

from __future__ import annotations

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import history
from microtensor.inspect.statistics.dependence import Records
from microtensor.inspect.statistics.model import Norms
from microtensor.inspect.statistics.scopes import scopes_of_norms
from microtensor.inspect.statistics.search import Search
from microtensor.support.modes import Mode, ModeSwitch

# The most numbers in all results of a graph that is gone through as a whole, when each result counts as 1,000 at least.
MOST = 2_000_000
LEAST_COUNT = 1_000


def norms_of(y: Tensor, most: int = MOST) -> Norms:
    """The norms that a result was computed with, in any spelling.

    Nothing of the user's is changed: the operations run again, in float64, on numbers of their own.

    Parameters
    ----------
    y : Tensor
    most : int
        The largest graph to go through as a whole: the numbers in all its results, with 1,000 for a smaller result.
        In a larger one only the scopes of the library's norms are searched, and ``complete`` is False.

    Returns
    -------
    Norms
        A list of :class:`Norm` in the order of the program, with the attribute ``complete``.

    Raises
    ------
    RuntimeError
        A backward pass has freed the graph.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.statistics import norms_of
    >>> x = mt.tensor([[1.0, 5.0], [2.0, 3.0], [4.0, 4.0]], requires_grad=True)
    >>> centered = x - x.mean(axis=0)
    >>> (norm,) = norms_of(centered / mt.sqrt((centered * centered).mean(axis=0) + 1e-5))
    >>> norm.input is x, norm.axes, norm.centered
    (True, (0,), True)
    >>> [(s.kind, s.value.node.primitive.name) for s in norm.statistics]
    [('shift', 'mean'), ('scale', 'mean'), ('scale', 'add'), ('scale', 'sqrt')]
    """
    return norms_among(history(y, unfreed="norms_of"), most)


def norms_among(records: Records, most: int = MOST) -> Norms:
    """The norms among some records, in the order of the program; see :func:`norms_of`. Some may have been freed.

    Parameters
    ----------
    records : list of (Tensor, Node)
        As :func:`~microtensor.inspect.history.history` returns them.
    most : int

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.history import history
    >>> from microtensor.inspect.statistics import norms_among
    >>> x = mt.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=True)
    >>> (norm,) = norms_among(history(x / mt.sqrt((x * x).sum(axis=1, keepdims=True) + 1e-5)))
    >>> norm.input is x, norm.axes, norm.centered
    (True, (1,), False)
    """
    found = Norms()
    found.complete = sum(max(result.size, LEAST_COUNT) for result, _ in records) <= most
    scopes = scopes_of_norms(records)
    with _PlainMode(), np.errstate(all="ignore"):
        for stretch in [records] if found.complete else scopes.values():
            found += Search(stretch).norms()
    place = {result: i for i, (result, _) in enumerate(records)}
    found.sort(key=lambda norm: place[norm.output])
    return found


class _PlainMode(ModeSwitch):
    """Recorded, outside all scopes, and not watched for NaN: large numbers are meant."""

    def _next(self, mode: Mode) -> Mode:
        return Mode()
