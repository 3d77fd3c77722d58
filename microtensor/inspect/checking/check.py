"""Finite-difference checks of gradients that say which operation is wrong, where, and probably why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.calculus import grad
from microtensor.checks import check_number, check_positive
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.calling import BesideError, Pure, check_inputs, fresh_leaves
from microtensor.inspect.checking.differences import Settings
from microtensor.inspect.checking.report import Checked, GradcheckError, Mismatch, NoGradientError, Report, described
from microtensor.inspect.checking.rules import on_arrays_alone, with_rules
from microtensor.inspect.checking.whole import check_whole
from microtensor.inspect.history import history, rerun

EDGE = (
    "the check calls it at the input and beside it; where its domain ends there, move the input or pass a smaller eps"
)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float = 1e-8,
    rtol: float = 1e-6,
    order: int = 1,
    cotangent: str | ArrayLike = "random",
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of a function with central finite differences.

    The rule of every recorded operation is also checked alone, so a failure names the operation. For a small function
    the whole Jacobian is checked. For a larger one, three random projections ⟨u, J v⟩ are checked.

    Parameters
    ----------
    fn : callable
        A function from the inputs to a tensor. It is called many times, so it must be deterministic. The buffers of its
        modules, such as running statistics, are restored after each call.
    inputs : Tensor or sequence of Tensor
        The inputs that require a gradient are checked. They must be float64 and finite. All are copied, not changed.
    eps : float, optional
        The step of the differences; default: ``machine epsilon ** (1/3) * max(1, |x|)``. If that step disagrees with
        the gradient, other steps and more points are tried.
    atol, rtol : float
        The allowed difference is ``atol * scale + rtol * |numeric|``, plus the uncertainty of the finite differences.
        The scale is the largest derivative. If a derivative is a sum of larger terms, it is the largest term.
    order : int
        1 checks the gradient. 2 checks the gradient of the gradient too. For a third derivative, check a function that
        returns a gradient, with order 2.
    cotangent : "random", "ones" or array_like
        The cotangent of the result; default: several random ones. With "ones" or an array of the result's shape, only
        ⟨cotangent, fn⟩ is checked. "ones" tests nothing on a norm: the gradient of sum(BN(x)) is zero everywhere.
    raise_exception : bool
        Whether a mismatch raises an error. Otherwise the function returns False.

    Returns
    -------
    bool
        Whether the gradients agree.

    Raises
    ------
    GradcheckError
        The gradients do not agree. Or a rule is missing, raises an error, writes into its arguments, or does not return
        an array of numbers. Or the function is random, or raises an error when it is called again.
    TypeError
        An input is not a tensor, or it requires a gradient and is not float64. Or fn is not a function that returns a
        tensor, or the cotangent is not an array of numbers.
    ValueError
        No input requires a gradient, or an input that requires one is not finite. Or `order`, `eps`, `atol`, `rtol` or
        `cotangent` has a wrong value. Or the shape of the result depends on values.
    Exception
        Any error that the function raises at its first call.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([[1.0, 2.0], [4.0, 3.0], [0.0, 5.0]], requires_grad=True)
    >>> mt.gradcheck(lambda x: mt.standardize(x, axis=0), x, order=2)
    True
    """
    values: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    check_inputs(values, order)
    pure = Pure(fn)
    if isinstance(cotangent, str) and cotangent not in ("random", "ones"):
        raise ValueError(f"gradcheck: cotangent is {cotangent!r}; it must be 'random', 'ones' or an array")
    if eps is not None:
        check_positive(eps, "eps", "gradcheck")
    atol, rtol = check_number(atol, "atol", "gradcheck", 0.0), check_number(rtol, "rtol", "gradcheck", 0.0)
    beside = None
    try:
        mismatches = _report(pure, values, Settings(eps, atol, rtol), order, cotangent).mismatches
    except BesideError as error:
        mismatches, beside = [Mismatch(f"{error}; {EDGE}")], error
    if mismatches and raise_exception:
        raise GradcheckError(mismatches) from beside
    return not mismatches


def examine(fn: Callable[..., Any], inputs: Sequence[Tensor], *, order: int = 1) -> Report:
    """Check a function as :func:`gradcheck` does, and report the error of each input, even if a rule is wrong.

    Parameters
    ----------
    fn, inputs, order
        See :func:`gradcheck`.

    Raises
    ------
    TypeError, ValueError
        See :func:`gradcheck`.
    Exception
        Any error that the function raises, at the input or near it.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.checking import examine
    >>> report = examine(mt.multiply, [mt.tensor(2.0, requires_grad=True), mt.tensor(3.0)])
    >>> {i: checked.right for i, checked in report.inputs.items()}, report.mismatches
    ({0: True}, [])
    """
    values = list(inputs)
    check_inputs(values, order)
    try:
        return _report(Pure(fn), values, Settings(), order, every_input=True)
    except BesideError as error:
        if (own := error.__cause__) is not None:
            # It is a fault of the program, so it is shown at the line of the program.
            raise own from own.__cause__
        return _wrong(values, Mismatch(f"{error}; {EDGE}"))


def gradgradcheck(fn: Callable[..., Any], inputs: Tensor | Sequence[Tensor], **options: Any) -> bool:
    """Check a function as :func:`gradcheck` does, at the first and the second order.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.gradgradcheck(mt.exp, mt.tensor([1.0, 2.0], requires_grad=True))
    True
    """
    return gradcheck(fn, inputs, order=2, **options)


def _report(
    fn: Pure,
    values: list[Tensor],
    settings: Settings,
    order: int,
    cotangent: str | ArrayLike = "random",
    every_input: bool = False,
) -> Report:
    """The check of the first order and, when that finds nothing, of the second."""
    with np.errstate(all="ignore"):
        first = check_whole(fn, values, settings, cotangent, every_input)
        if order == 1 or first.mismatches:
            return first
        second = _second(fn, values, settings, every_input=every_input)
    both = {i: one.and_also(second.inputs.get(i, Checked())) for i, one in first.inputs.items()}
    return Report(both, [replace(found, where=f"second order, {found.where}") for found in second.mismatches])


def _second(
    fn: Pure, values: list[Tensor], settings: Settings, blame: bool = True, every_input: bool = False
) -> Report:
    """Check the gradient, which is a function of the inputs and of the cotangent, like any other function.

    With `blame`, a mismatch is traced to the first operation whose rules fail this check by themselves.
    """
    out = fn(fresh_leaves(values))
    for stuck in on_arrays_alone(out):
        return _wrong(values, stuck)
    cotangent = Tensor(settings.rng.normal(size=out.shape), requires_grad=True)
    weights = [settings.rng.normal(size=x.size) for x in values if x.requires_grad]

    def gradient(*arguments: Tensor) -> Any:
        *xs, u = arguments
        result, wanted = fn(xs), [x for x in xs if x.requires_grad]
        if not result.requires_grad:
            return Tensor(0.0)
        try:
            pieces = grad(result, wanted, u, create_graph=True, allow_unused=True)
        except Exception as error:
            raise NoGradientError(f"the reverse walk on tensors raised {described(error)}") from error
        rows = [(p.reshape(-1) * w).sum() for p, w in zip(pieces, weights, strict=True) if p is not None]
        return sum(rows, start=Tensor(0.0))

    # The result is linear in the cotangent, so a function without curvature still depends on that.
    try:
        report = check_whole(Pure(gradient, called=True), [*values, cotangent], settings, every_input=every_input)
    except NoGradientError as error:
        return _wrong(values, Mismatch(str(error)))
    found = report.mismatches
    if blame and found and found[0].index is not None and found[0].where.startswith("input"):
        return Report(report.inputs, _guilty_rule(out, settings) or found)
    return report


def _wrong(values: list[Tensor], mismatch: Mismatch) -> Report:
    """The report of a mismatch that leaves nothing to compare."""
    return Report({i: Checked(math.inf, False) for i, x in enumerate(values) if x.requires_grad}, [mismatch])


def _guilty_rule(out: Tensor, settings: Settings) -> list[Mismatch]:
    """The first recorded operation whose rules are right, but whose rules have a wrong derivative."""
    for tensor, node in history(out):
        taken = with_rules(node)
        if not tensor.size or any(x.dtype != np.float64 for _, x in taken):
            continue

        def alone(*moved: Tensor, node: Node = node, taken: list[tuple[int, Tensor]] = taken) -> Any:
            other = {i: x for (i, _), x in zip(taken, moved, strict=True)}
            return rerun([("alone", node)], lambda key, i, value: other.get(i, value), {})["alone"]

        try:
            found = _second(Pure(alone, called=True), [x for _, x in taken], settings, blame=False).mismatches
        except BesideError:
            continue
        if found:
            cause = (
                "right at first order: a value inside the rules is detached, or computed in NumPy, or kept from before"
            )
            return [replace(found[0], where=f"the rules of {node.primitive.name}", cause=cause)]
    return []
