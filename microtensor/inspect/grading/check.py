"""Grades a backward that somebody wrote by hand: right or wrong, the first wrong line, and the path that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.report import GradcheckError, Mismatch, described
from microtensor.inspect.grading import words
from microtensor.inspect.grading.explain import explain
from microtensor.inspect.grading.forward import run_forward
from microtensor.inspect.grading.inputs import Point, cotangents, is_float_array, point_of
from microtensor.inspect.grading.learner import FaultError, no_floats
from microtensor.inspect.grading.report import BackwardReport, Graded, listed
from microtensor.inspect.grading.verdict import Grade, Judged, NotFiniteError
from microtensor.inspect.history import array_of
from microtensor.support.arrays import Array


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    dout: ArrayLike | Tensor | None = None,
    raise_exception: bool = False,
) -> BackwardReport:
    """Grade a backward pass that was written by hand, and say what is wrong with it.

    The gradients are compared with those of microtensor at the given inputs, and at random inputs of the same shapes.
    Where a gradient passes a norm in forward, the report says which of its paths is wrong (direct, through the mean,
    through the variance), and by what factor.

    Parameters
    ----------
    forward : callable
        A function of the inputs, in operations on tensors or NumPy's functions. It returns a tensor, or
        ``(out, cache)``. It must give the same result when it is called again. The buffers of its modules are put back.
    backward : callable
        ``backward(dout, *inputs)``, or ``backward(dout, cache)`` when forward returns a cache. It gets arrays, also in
        the cache. It returns one gradient per input that is an array of floats, in their order, or a dictionary of
        gradients by name. A dictionary may also have the gradients of forward's variables, as in
        ``{"x": dx, "xhat": dxhat}``; each of them is graded. ``"dx"`` is taken for ``"x"``.
    *inputs : array or Tensor, or anything else
        Arrays of floats are cast to float64. Everything else is passed on as it is.
    dout : array_like, optional
        A gradient of the result with which to grade too. Three random ones are always graded.
    raise_exception : bool
        Whether a wrong backward raises an error.

    Returns
    -------
    BackwardReport
        Its text says what is wrong. ``passed`` says whether nothing is.

    Raises
    ------
    GradcheckError
        The backward is wrong, and `raise_exception` is on.
    TypeError
        `forward` or `backward` is not a function, no input is an array of floats, or `forward` returns no tensor.
    ValueError
        An input is not finite, or `dout` has another shape than the result. Or the result or its gradient is not finite
        at any inputs that were tried, does not depend on the inputs, or is another one when forward is called again.
    Exception
        `forward` raises it.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> def forward(x):
    ...     xc = x - x.mean(axis=0)
    ...     return xc / mt.sqrt((xc * xc).mean(axis=0) + 1e-5)
    >>> def backward(dout, x):
    ...     sigma = np.sqrt(x.var(axis=0) + 1e-5)
    ...     return (dout - dout.mean(axis=0)) / sigma
    >>> x = np.random.default_rng(0).normal(size=(8, 4))
    >>> print(mt.check_backward(forward, backward, x))
    backward is wrong
      dx  wrong, off by 42 %
    - dx: the path through the variance is missing (N = 8 values per set, axis 0)
    """
    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function):
            raise TypeError(f"check_backward: {name} is a {type(function).__name__}; it must be a function")
    point = point_of(forward, inputs)
    report = _graded(forward, backward, point, dout)
    if raise_exception and not report.passed:
        raise GradcheckError([Mismatch(finding) for finding in report.findings], "backward is wrong")
    return report


def path_findings(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Sequence[Any], names: tuple[str, ...]
) -> list[str]:
    """What a backward does wrong with the paths of the norms of forward, at random inputs or else at these.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.check import path_findings
    >>> rms = lambda x: x / np.sqrt((x * x).mean(axis=-1, keepdims=True))
    >>> held = lambda dout, x: {"x": dout / np.sqrt((x * x).mean(axis=-1, keepdims=True))}
    >>> path_findings(rms, held, [np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 5.0]])], ("x",))
    ['dx: the mean square is held constant: the path through the mean square is missing (N = 3 values per set, axis 1)']
    """
    point = Point(names, tuple(x.astype(np.float64) if is_float_array(x) else x for x in inputs))
    for there, where in ((point.generic(), "at random inputs"), (point, "at your inputs")):
        try:
            judged = Judged(forward, backward, there, cotangents, where)
        except (FaultError, NotFiniteError):
            continue
        told, _, _ = explain(judged)
        if told:
            return told
    return []


def _graded(
    forward: Callable[..., Any], backward: Callable[..., Any], point: Point, dout: ArrayLike | Tensor | None
) -> BackwardReport:
    given = None if dout is None else np.asarray(array_of(dout), dtype=np.float64)

    def douts(shape: tuple[int, ...]) -> list[Array]:
        if given is not None and given.shape != shape:
            raise ValueError(f"check_backward: dout has shape {given.shape}, the result of forward {shape}")
        return [*([] if given is None else [given]), *cotangents(shape)]

    remarks: list[str] = []
    own: Judged | None = None
    try:
        own = Judged(forward, backward, point, douts)
    except NotFiniteError:
        remarks.append("forward or its gradient is not finite at your inputs, so only random ones were graded")
    except FaultError as fault:
        return BackwardReport(False, findings=[str(fault)])
    try:
        generic = _generic(forward, backward, point, remarks)
    except FaultError as fault:
        return BackwardReport(False, _gradients(own), [f"at random inputs of the same shapes, {fault}"], remarks)
    if generic is None and own is None:
        raise ValueError(
            "check_backward: forward or its gradient is not finite, neither at the inputs nor at random ones of the "
            "same shapes; pass inputs at which it is"
        )
    judged = [one for one in (own, generic) if one is not None]
    first = judged[0]
    if first.learner.left_out:
        left = [f"d{name}" for name in first.learner.left_out]
        remarks.append(
            f"backward returned no {listed(left)}, so {'it was' if len(left) == 1 else 'they were'} not graded"
        )
    remarks += [f"d{name} was not graded: {no_floats(name)}" for name in first.learner.ignored]
    findings, factors = _findings(forward, backward, own, generic)
    passed = not findings and all(one.right for one in judged)
    return BackwardReport(passed, _gradients(*judged), findings, remarks, factors)


def _generic(
    forward: Callable[..., Any], backward: Callable[..., Any], point: Point, remarks: list[str]
) -> Judged | None:
    """Both at a generic point; None and a remark where forward or its gradient is not finite at any, or raises."""
    for positive in (False, True):
        there = point.generic(positive)
        try:
            run_forward(forward, there)
        except Exception as error:
            remarks.append(f"forward raises at random inputs ({described(error)}), so only yours were graded")
            return None
        try:
            return Judged(forward, backward, there, cotangents, "at random inputs")
        except NotFiniteError:
            continue
    remarks.append("forward or its gradient is not finite at random inputs, so only yours were graded")
    return None


def _gradients(*judged: Judged | None) -> dict[str, Graded]:
    """The grade of each gradient at the first point where it is wrong."""
    found: dict[str, Graded] = {}
    for one in judged:
        for grade in one.grades if one else ():
            if grade.name not in found or (found[grade.name].right and not grade.right):
                found[grade.name] = Graded(grade.name, grade.error, grade.right)
    return found


def _findings(
    forward: Callable[..., Any], backward: Callable[..., Any], own: Judged | None, generic: Judged | None
) -> tuple[list[str], dict[str, dict[str, float]]]:
    judged = [one for one in (own, generic) if one is not None]
    findings = [grade.shape for grade in judged[0].grades if grade.shape]
    nonlinear = judged[0].nonlinear()
    wrong = [one for one in reversed(judged) if not one.right]
    if nonlinear or not wrong:
        return findings + nonlinear, {}
    worst = wrong[0]
    findings += _first_wrong(worst)
    told, explained, factors = explain(worst)
    findings += told
    for grade in worst.grades:
        if not grade.right and not grade.shape and grade.name not in explained:
            findings.append(_by_itself(worst, grade))
    if own is not None and generic is not None and own.right != generic.right:
        findings.append(_only_here(own, generic, forward, backward))
    return findings, factors


def _by_itself(judged: Judged, grade: Grade) -> str:
    """What is wrong with a gradient of which its paths say nothing."""
    because = [f"d{consumer.name}" for consumer in judged.consumers(grade.name) if not consumer.right]
    if because and judged.follows(grade.name):
        return words.only_because(grade.shown, because)
    given, right = judged.learner.gradients[grade.name], judged.engine[grade.name]
    shapes = {"the result": judged.run.out.shape, grade.name: right[0].shape}
    return words.of_single(grade.shown, np.stack(given), np.stack(right), shapes, max(judged.sizes(grade.name)))


def _first_wrong(judged: Judged) -> list[str]:
    """The first wrong line, when backward names more than the gradients of the arguments."""
    found = judged.first_wrong()
    if found is None or all(grade.name in judged.run.arguments for grade in judged.grades):
        return []
    grade, consumers = found
    node = judged.run.all_named[grade.name].node
    place = f" ({grade.name} is computed at {node.line})" if node is not None and node.line else ""
    if not consumers:
        return [f"the first wrong line is that of {grade.shown}{place}"]
    right = listed([f"d{name}" for name in consumers])
    verb = "is" if len(consumers) == 1 else "are"
    return [f"the first wrong line is that of {grade.shown}: {right}, which it is computed from, {verb} right{place}"]


def _only_here(own: Judged, generic: Judged, forward: Callable[..., Any], backward: Callable[..., Any]) -> str:
    """Why the inputs hide a mistake, or why it shows only there; only what was tried is said."""
    point = own.point
    if generic.right:
        return "it shows only at your inputs: at random ones of the same shapes backward is right"
    hiding = []
    for i in point.floats:
        try:
            moved = Judged(forward, backward, point.replaced({i: generic.point.values[i]}), cotangents)
        except (FaultError, NotFiniteError, ValueError):
            continue
        if not moved.right:
            hiding.append(point.names[i])
    text = "it does not show at your inputs, but at random ones of the same shapes"
    if len(hiding) == 1:
        values = point.values[point.names.index(hiding[0])]
        if not np.ptp(values):
            text += f": {hiding[0]} is all {values.flat[0]:g} at yours, so it could not show"
        else:
            text += f": it shows when {hiding[0]} has other values"
    return text
