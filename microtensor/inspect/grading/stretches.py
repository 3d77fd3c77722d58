"""Cuts the way back into stretches between the gradients that backward names, with norms on them."""

from __future__ import annotations

from microtensor.core.tensor import Tensor
from microtensor.inspect.grading.forward import creation
from microtensor.inspect.grading.paths import between, dependents, depends
from microtensor.inspect.grading.reading import Stretch
from microtensor.inspect.grading.verdict import Judged
from microtensor.inspect.statistics import Norm


def stretches_of(judged: Judged) -> list[tuple[Stretch, list[tuple[Norm, Tensor]]]]:
    """The stretches with norms on them, and these norms with their inputs, the last first."""
    run, found = judged.run, dict[tuple[Tensor, Tensor], list[tuple[Norm, Tensor]]]()
    graded = [run.all_named[grade.name] for grade in judged.grades if not grade.shape]
    for norm in sorted(judged.norms, key=lambda norm: creation(norm.output), reverse=True):
        z = max([norm.input, *(t for t in graded if _as_input(norm, t))], key=creation)
        after = [t for t in graded if creation(t) >= creation(norm.output) and _passes_all(z, t, run.out)]
        before = [t for t in graded if t is z or depends(z, t)]
        if before and not norm.named:
            end = min(after, key=creation, default=run.out)
            start = z if any(t is z for t in before) else max(before, key=creation)
            found.setdefault((end, start), []).append((norm, z))
    stretches = []
    for (end, start), norms in found.items():
        seeds = judged.douts if end is run.out else judged.learner.gradients[run.name_of(end) or ""]
        stretch = Stretch(end, start, seeds, judged.learner.gradients[run.name_of(start) or ""])
        stretches.append((stretch, norms))
    return stretches


def _as_input(norm: Norm, t: Tensor) -> bool:
    """Whether a result stands between the input of a norm and its first statistic, on every way to the output."""
    z = norm.input
    if t.shape != z.shape or not depends(t, z) or not depends(norm.output, t):
        return False
    return t not in dependents(norm.inner, norm.output) and _passes_all(z, t, norm.output)


def _passes_all(z: Tensor, t: Tensor, out: Tensor) -> bool:
    """Whether every way from z to the result passes t."""
    if t is out:
        return True
    reached, met = {z}, False
    for result, node in between(z, out):
        if any(isinstance(x, Tensor) and x in reached for x in node.inputs):
            if result is t:
                met = True
            else:
                reached.add(result)
    return met and out not in reached
