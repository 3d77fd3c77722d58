"""Why a norm leaves of a gradient what it should take out, where the graph shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.learner import axes_text
from microtensor.inspect.grading.paths import carried
from microtensor.inspect.history import array_of
from microtensor.inspect.ledger.located import LocatedNorm
from microtensor.inspect.ledger.model import Part
from microtensor.inspect.statistics.gradients import Direction, direction_of
from microtensor.support.arrays import Array

EXACT = 1e-6


def detached_mean(norm: LocatedNorm) -> bool:
    """Whether a constant is taken out, in front of the norm or in it, that is the mean over the axes of the norm."""
    graph = norm.subgraph
    for i in range(1, norm.output + 1):
        node = graph.node(i)
        if node.primitive.name not in ("add", "subtract") or len(graph.sources[i]) != 1 or i in norm.inner:
            continue
        ((argument, source),) = graph.sources[i].items()
        other, x = node.inputs[1 - argument], graph.fresh[source]._array
        if x.shape == norm.norm.input.shape and isinstance(other, (Tensor, np.ndarray)):
            sign = -1.0 if node.primitive.name == "add" else 1.0
            if _is_mean(sign * array_of(other), x, norm.norm.axes):
                return True
    return False


def _is_mean(constant: Array, x: Array, axes: tuple[int, ...]) -> bool:
    mean = x.mean(axis=axes, keepdims=True)
    if np.size(constant) >= x.size or constant.dtype.kind != "f" or not np.any(mean):
        return False
    return bool(np.all(np.abs(constant - mean) <= EXACT * np.abs(mean).max()))


def mistakes(norm: LocatedNorm, parts: Sequence[Part], detached: bool, changed: bool) -> tuple[str, ...]:
    """What the graph shows, a sentence each.

    Parameters
    ----------
    norm : LocatedNorm
    parts : sequence of Part
    detached : bool
        Whether a mean is taken out that counts as a constant.
    changed : bool
        Whether more than a shift and a scale is taken out.
    """
    told = []
    axes = norm.norm.axes
    shift = next((part for part in parts if part.direction == "1"), None)
    missed = shift is not None and not shift.holds and np.isfinite(shift.total)
    others = {s.axes for s in norm.norm.statistics if s.kind == "shift"} - {norm.over}
    square = "variance" if parts[-1].direction == "x − μ" else "mean square"
    if detached and missed:
        told.append("μ is detached: the shift is not taken out")
    if not norm.norm.centered:
        before = _shift_before(norm)
        others = {before.axes} - {axes} if before is not None else set()
    if others and (missed or changed or shift is None):
        over = axes_text(sorted(others)[-1])
        told.append(
            f"the mean runs over {over}, the {square} over {axes_text(axes)}: the shift of each set is not taken out"
        )
    if missed or not parts[-1].holds:
        hooks = [i for i in norm.subgraph.hooked if norm.z < i <= norm.output]
        told += ["a hook changes the gradient inside the norm"] if hooks else []
        if any(i > norm.output for i in norm.exits):
            told.append("a statistic is used again after the norm, so some of what the norm takes out comes back")
    return tuple(told)


def _shift_before(norm: LocatedNorm) -> Direction | None:
    """The mean over other axes that was taken out to make the input of a norm."""
    graph = norm.subgraph
    if graph.op(norm.z) not in ("add", "subtract"):
        return None
    sources = sorted(set(graph.sources[norm.z].values()), key=graph.size)
    if len(sources) != 2:
        return None
    small, large = (graph.fresh[i] for i in sources)
    if small.size >= large.size:
        return None
    gradient = carried(small, large, np.ones(small.shape))
    direction = direction_of(gradient, large._array.astype(np.float64), small.size)
    return direction if direction is not None and direction.kind == "shift" else None
