"""Makes the ledger: the paths with their names and contributions, which add up to the gradient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from microtensor.calculus import grad
from microtensor.checks import check_size
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import Origin, array_of, cotangent_of
from microtensor.inspect.ledger.cut import severed
from microtensor.inspect.ledger.inputs import check_ends, input_of
from microtensor.inspect.ledger.model import Cut, Ledger, NormSection, Path, Step
from microtensor.inspect.ledger.projection import projection
from microtensor.inspect.ledger.statistics import Norm, norms_of
from microtensor.inspect.ledger.subgraph import PathClass, State, Subgraph
from microtensor.support.arrays import Array, own_array
from microtensor.text import LINE, safe_text

INSIDE_VARIANCE = ("variance", "mean")
COTANGENTS: dict[Origin, str] = {
    "kept": "for the backward pass that the program ran",
    "scalar": "",
    "random": "for a random cotangent",
}
LONGEST = 5
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
    first operation after x. The operations after x run again. Hooks do not run, and nothing is changed.

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
    seed, words = _seed(y, cotangent)
    total = grad(subgraph.fresh[-1], subgraph.fresh[0], seed).numpy()
    norms = norms_of(subgraph)
    titles = _titles(subgraph, norms)
    chosen = [i for i, (title, _) in enumerate(titles) if norm in (None, title)]
    if norm is not None and not chosen:
        listed = ", ".join(title for title, _ in titles) or "none at all"
        raise ValueError(f"paths: there is no norm {norm!r} on the way from x to y; there is {listed}")
    count, note = subgraph.count(), ""
    if chosen:
        # A norm takes a walk with four cotangents. There are only so many that all take a second or two.
        most = max(1, min(limit // 4, MOST_RULES // (4 * len(subgraph))))
        sections = [_norm_section(subgraph, norms[i], *titles[i], seed, total) for i in chosen[:most]]
        if len(chosen) > most:
            note = f"{len(chosen) - most} more norms on the way are not shown; name one with norm="
    elif count <= limit:
        sections = [_single_paths(subgraph, seed, total)]
    else:
        section, note = _grouped_paths(subgraph, seed, total, limit)
        sections = [section]
    for section in sections:
        _check_sum(section, total)
    severance = None if cut is None else severed(subgraph, [norms[i] for i in chosen], cut, seed)
    names = safe_text(y.name or "y", LINE), safe_text(x.name or "x", LINE)
    return Ledger(*names, total, words, count, tuple(sections), note, severance)


def _seed(y: Tensor, cotangent: ArrayLike | Tensor | None) -> tuple[Array, str]:
    """The cotangent of y, and where it comes from in words."""
    if cotangent is not None:
        seed = own_array(array_of(cotangent), "paths: cotangent", y.dtype)
        if seed.shape != y.shape:
            raise ValueError(f"paths: the cotangent has shape {seed.shape}; it must be {y.shape}, as y")
        return seed, "for the cotangent given"
    seed, origin = cotangent_of(y)
    return seed, COTANGENTS[origin]


# --- sections -----------------------------------------------------------------------------------------------


def _norm_section(subgraph: Subgraph, norm: Norm, title: str, detail: str, seed: Array, total: Array) -> NormSection:
    at_x, at_input = subgraph.classes(seed, norm.marks, norm.exits, norm.of)
    states = sorted(at_x, key=lambda state: (state is None, len(state or ()), state or ()))
    names = [_state_name(state, bool(norm.scales) or at_x[state].count == 1) for state in states]
    rows = list(_rows(subgraph, names, [at_x[state] for state in states], total))
    for i, state in enumerate(states):
        if state == INSIDE_VARIANCE and rows[i].zero:
            rows[i] = replace(rows[i], identity="Σ (x − μ) = 0")
    return NormSection(title, detail, tuple(rows), projection(subgraph, norm, at_input))


def _state_name(state: State, complete: bool) -> str:
    if state is None:
        return "around the norm"
    if not state:
        return "direct" if complete else "not via the mean"
    return "via the " + " inside the ".join(reversed(state))


def _single_paths(subgraph: Subgraph, seed: Array, total: Array) -> NormSection:
    """Every path by itself. Its name lists the steps that not all paths take."""
    found = subgraph.each(seed)
    routes = [carried.steps() for carried in found]
    common = set(routes[0]).intersection(*routes)
    names = []
    for route in routes:
        own = [_step(subgraph, i).title for i in route if i not in common]
        shown = own if len(own) <= LONGEST else [*own[: LONGEST - 2], "…", own[-1]]
        names.append(f"via {' → '.join(shown)}" if own else "direct")
    return NormSection("", "", _rows(subgraph, numbered(names), found, total))


def _grouped_paths(subgraph: Subgraph, seed: Array, total: Array, limit: int) -> tuple[NormSection, str]:
    """The paths, grouped by the operation in which they leave x. The smallest groups beyond the limit are one."""
    fork = 0
    while len(subgraph.consumers[fork]) == 1:
        fork = subgraph.consumers[fork][0][0]
    at_x, _ = subgraph.classes(seed, {edge: edge for edge in subgraph.consumers[fork]})
    states = sorted((state for state in at_x if state), key=lambda state: -float(np.linalg.norm(at_x[state].value)))
    shown = len(states) if len(states) <= limit else limit - 1
    names = numbered([f"via {_step(subgraph, state[0][0]).title}" for state in states[:shown]])
    found = [at_x[state] for state in states]
    rest = found[shown:]
    if rest:
        value = np.sum([carried.value for carried in rest], axis=0)
        found[shown:] = [PathClass(value, sum(carried.count for carried in rest), rest[0].route)]
        names.append(f"via {len(rest)} other operations")
    leaving = f"in which they leave {_step(subgraph, fork).title}"
    return NormSection("", "", _rows(subgraph, names, found, total)), f"grouped by the operation {leaving}"


def numbered(names: list[str]) -> list[str]:
    """The same names. A name that occurs more than once gets a number."""
    seen: Counter[str] = Counter()
    many = Counter(names)
    out = []
    for name in names:
        seen[name] += 1
        out.append(f"{name} ({seen[name]})" if many[name] > 1 else name)
    return out


def _rows(subgraph: Subgraph, names: Sequence[str], found: Sequence[PathClass], total: Array) -> tuple[Path, ...]:
    whole = np.asarray(total, dtype=np.float64)
    square = float(np.vdot(whole, whole))
    values = [np.asarray(carried.value, dtype=np.float64) for carried in found]
    sizes = [float(np.linalg.norm(value)) for value in values]
    # The rounding of a sum that is 0, when its terms are as large as the largest contribution.
    floor = 64 * float(np.finfo(total.dtype).eps) * max(sizes, default=0.0)
    rows = []
    for name, value, size, carried in zip(names, values, sizes, found, strict=True):
        share = float(np.vdot(value, whole)) / square if math.sqrt(square) > floor else math.nan
        route = tuple(_step(subgraph, i) for i in carried.steps())
        rows.append(Path(name, value, size, share, carried.count, route, size <= floor))
    return tuple(rows)


def _step(subgraph: Subgraph, i: int) -> Step:
    tensor = subgraph.recorded[i]
    node = tensor.node if i else None
    symbol = node.primitive.symbol if node else "x"
    if node is not None:
        constants = [value for value in node.inputs if not isinstance(value, Tensor) and np.size(value) == 1]
        if node.primitive.name == "add" and constants and 0 < float(np.reshape(constants[0], ())) < 0.01:
            symbol = "+ ε"
    return Step(i, safe_text(symbol), safe_text(tensor.name or "", LINE), tensor.shape)


def _titles(subgraph: Subgraph, norms: Sequence[Norm]) -> list[tuple[str, str]]:
    """The scope of each norm and its description: its module when it has one, else its innermost function."""
    found = []
    for norm in norms:
        node = subgraph.recorded[min(norm.exits)].node
        chain = list(node.scope.chain()) if node and node.scope else []
        place = next((scope for scope in chain if scope.detail), chain[0] if chain else None)
        found.append((place.path, place.detail) if place else (f"norm of {_step(subgraph, norm.of).title}", ""))
    titles = numbered([safe_text(title, LINE) for title, _ in found])
    return [(title, safe_text(detail, LINE)) for title, (_, detail) in zip(titles, found, strict=True)]


def _check_sum(section: NormSection, total: Array) -> None:
    """Check that the paths add up to the gradient. They do when every rule is linear in its cotangent."""
    values = [path.contribution for path in section.paths]
    size = max((float(np.abs(value).max(initial=0.0)) for value in values), default=0.0)
    error = float(np.abs(np.sum(values, axis=0) - total).max(initial=0.0))
    if error > size * float(np.finfo(total.dtype).eps) ** 0.5:
        raise RuntimeError(
            f"paths: the contributions differ from the gradient by {error:.2g}, so a rule on the way is not linear in "
            "its cotangent; mt.gradcheck names it"
        )
