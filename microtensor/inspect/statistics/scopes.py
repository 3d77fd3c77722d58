"""Norms of the library by their scopes: where no gradient shows their statistics, or a graph is too large."""

from __future__ import annotations

from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.statistics.dependence import Records
from microtensor.inspect.statistics.model import Norm, Statistic
from microtensor.norms.axes import AXES
from microtensor.support.modes import Scope

# Norms of the library whose statistics no gradient shows, because they are not one per set.
_NAMED = ("whiten", "local_response_norm", "spectral_norm")


def _scopes(result: Tensor) -> list[Scope]:
    """The scopes that a result was recorded in, from the inside out."""
    return list(result.node.scope.chain()) if result.node is not None and result.node.scope else []


def scopes_of_norms(records: Records) -> dict[Scope, Records]:
    """The records in the scope of each norm of the library, by the innermost such scope."""
    found: dict[Scope, Records] = {}
    for result, node in records:
        norm = next((scope for scope in _scopes(result) if scope.name in AXES), None)
        if norm is not None:
            found.setdefault(norm, []).append((result, node))
    return found


def named_norms(records: Records) -> list[Norm]:
    """The norms whose statistics no gradient shows."""
    by_scope = scopes_of_norms(records).items()
    return [norm for scope, inside in by_scope if scope.name in _NAMED and (norm := _named(scope.name, inside))]


def _named(name: str, records: Records) -> Norm | None:
    """The norm of a scope. Its statistics are what its "statistics" hand on; for spectral norm it is σ."""
    inputs = _inputs(records[0][1])
    if name == "spectral_norm":
        last, before = records[-1], records[:-1]
        divides = last[1].primitive.name == "divide" and bool(before) and before[-1][0].size == 1
        hidden = {result for result, _ in before if divides}
    else:
        hidden = {result for result, _ in records if any(scope.name == "statistics" for scope in _scopes(result))}
    inner, handed_on, output = set(hidden), set[Tensor](), None
    for result, node in records:
        sources = _inputs(node)
        if result not in hidden and not inner.isdisjoint(sources):
            handed_on.update(hidden.intersection(sources))
            if inner.issuperset(sources):
                inner.add(result)
            else:
                output = result
    if output is None:
        return None
    z, row = inputs[0], AXES[name]
    axes = row.statistics(z.ndim)
    statistics = tuple(
        Statistic(v, "shift" if v.name == "μ" else "scale", axes, row.centers) for v, _ in records if v in handed_on
    )
    return Norm(z, statistics, axes, row.centers, frozenset(inner), output, named=True)


def _inputs(node: Node) -> list[Tensor]:
    return [x for x in node.inputs if isinstance(x, Tensor) and x.requires_grad]
