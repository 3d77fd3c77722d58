"""Makes the ledger: the paths with their names and contributions, which add up to the gradient."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from microtensor.checks import check_size
from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.constants import constant_statistics
from microtensor.inspect.history import Origin, array_of, cotangent_of
from microtensor.inspect.ledger.cut import severed
from microtensor.inspect.ledger.explain import replay_of
from microtensor.inspect.ledger.inputs import check_ends, input_of
from microtensor.inspect.ledger.located import located
from microtensor.inspect.ledger.model import Cut, Ledger
from microtensor.inspect.ledger.sections import grouped_paths, norm_section, single_paths, step_of, titles_of
from microtensor.inspect.ledger.subgraph import Subgraph
from microtensor.inspect.ledger.table import number
from microtensor.support.arrays import Array, own_array
from microtensor.text import LINE, safe_text

NO_NORM = "no norm with statistics of its input on the way"
COTANGENTS: dict[Origin | Literal["given"], str] = {
    "given": "for the cotangent given",
    "kept": "for the backward pass that the program ran",
    "scalar": "",
    "random": "for a random cotangent",
}
MOST_RULES = 200_000


@np.errstate(all="ignore")
def paths(
    y: Tensor,
    x: Tensor | None = None,
    cotangent: ArrayLike | Tensor | None = None,
    *,
    norm: str | None = None,
    cut: Cut | None = None,
    limit: int = 32,
) -> Ledger:
    """The gradient of y with respect to x, path by path: ∂y/∂x = Σ over paths of the product of the local derivatives.

    The contribution of a path is computed only with the rules of its operations. Paths through a norm have names:
    *direct*, *via the mean*, *via the variance* and *via the mean inside the variance*. The last one is exactly 0,
    because Σ (x − μ) = 0. With several norms, there is one section per norm, with all paths grouped by the statistics
    of this norm. Without a norm, up to `limit` paths are shown one by one. If there are more, they are grouped by their
    first operation after x. The operations after x run again, and nothing is changed.

    For the last backward pass that was kept, the hooks on the way run again too, and what they change is a row of its
    own. In all other cases they do not run, and the note says so.

    Parameters
    ----------
    y : Tensor
        A result with a history.
    x : Tensor, optional
        A leaf or a result before y; default: the only candidate.
    cotangent : array_like, optional
        The cotangent of y, in its shape. Default: the cotangent of the last backward pass that was kept. Without such a
        pass, it is 1 for a single number and a fixed random array for anything else.
    norm : str, optional
        The scope of a norm; default: all norms. Only this norm gets a section.
    cut : {"mean", "var", "mean@var"}, optional
        A path to detach. The ledger then has the gradient without this path, and the first order at which it is wrong.
    limit : int
        The largest number of rows.

    Raises
    ------
    ValueError
        y does not depend on x. Or there is no such norm, or no such path to cut. Or the cotangent has another shape.
    TypeError
        y is not a tensor, or x is not a tensor of floats.
    RuntimeError
        The graph has been freed.

    References
    ----------
    Baur & Strassen, *The Complexity of Partial Derivatives*, 1983; Ioffe & Szegedy, *Batch Normalization*, 2015.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.ledger import paths
    >>> x = mt.tensor([[0.0], [1.0], [5.0]], requires_grad=True, name="x")
    >>> ledger = paths(mt.norms.standardize(x, axis=0), x, [[1.0], [0.0], [0.0]])
    >>> for path in ledger.paths:
    ...     print(f"{path.name:34} {path.norm:.3f}")
    direct                             0.463
    via the mean                       0.267
    via the variance                   0.247
    via the mean inside the variance   0.000
    """
    limit = check_size(limit, "limit", "paths")
    x = input_of(y) if x is None else x
    check_ends(y, x)
    subgraph = Subgraph(y, x)
    seed, origin = _seed(y, cotangent)
    total = subgraph.gradient(seed, with_hooks=origin == "kept")
    norms, complete = located(subgraph, y)
    titles = titles_of(subgraph, norms)
    chosen = [i for i, (title, _) in enumerate(titles) if norm in (None, title)]
    if norm is not None and not chosen:
        there = ", ".join(title for title, _ in titles) or "none at all"
        raise ValueError(f"paths: there is no norm {norm!r} on the way from x to y; there is {there}")
    count, notes = subgraph.count(), _hook_notes(subgraph)
    if not complete:
        notes.append("the graph is large, so only norms of the library were looked for")
    if chosen:
        # A norm takes a walk with four cotangents, and as many more to check it. There are only so many that all take a
        # second or two.
        most = max(1, min(limit // 4, MOST_RULES // (8 * len(subgraph))))
        sections = [norm_section(norms[i], *titles[i], seed) for i in chosen[:most]]
        if len(chosen) > most:
            notes.append(f"{len(chosen) - most} more norms on the way are not shown; name one with norm=")
    elif count <= limit:
        sections = [single_paths(subgraph, seed)]
    else:
        section, grouped = grouped_paths(subgraph, seed, limit)
        sections, notes = [section], [*notes, grouped]
    notes += [] if norms else [NO_NORM]
    notes += [f"{constant} counts as a constant" for constant in constant_statistics(y)]
    severance = None if cut is None else severed(subgraph, [norms[i] for i in chosen], cut, seed)
    names = safe_text(y.name or "y", LINE), safe_text(x.name or "x", LINE)
    replay = replay_of(subgraph, dict(zip((title for title, _ in titles), norms, strict=True)), seed)
    return Ledger(
        *names, total, COTANGENTS[origin], count, tuple(sections), "; ".join(filter(None, notes)), severance, replay
    )


def _seed(y: Tensor, cotangent: ArrayLike | Tensor | None) -> tuple[Array, Origin | Literal["given"]]:
    """The cotangent of y, and where it comes from."""
    if cotangent is None:
        return cotangent_of(y)
    seed = own_array(array_of(cotangent), "paths: cotangent", y.dtype)
    if seed.shape != y.shape:
        raise ValueError(f"paths: the cotangent has shape {seed.shape}; it must be {y.shape}, as y")
    return seed, "given"


def _hook_notes(subgraph: Subgraph) -> list[str]:
    """What the hooks on the way do, or that they did not run."""
    notes = []
    for i in subgraph.hooks():
        title = step_of(subgraph, i).title
        if i in subgraph.hooked:
            before, after = (number(float(np.linalg.norm(g))) for g in subgraph.hooked[i])
            notes.append(f"hook on {title}: {before} → {after}")
        else:
            notes.append(f"the hook on {title} did not run, as this is not the backward pass of the program")
    return notes
