"""Calls the function under test on copies of its inputs, and puts the buffers of its modules back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.report import NoGradientError, described
from microtensor.support.modes import enable_grad


def check_inputs(values: Sequence[Any], order: int = 1) -> None:
    """Check that finite differences of the inputs can be taken.

    Raises
    ------
    TypeError
        An input is not a tensor, or it requires a gradient and is not float64.
    ValueError
        No input requires a gradient, or an input that requires one holds NaN or ∞. Or the order is not 1 or 2.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import check_inputs
    >>> check_inputs([mt.tensor([1.0], requires_grad=True)])
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}; it must be 1 or 2")
    for i, x in enumerate(values):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"gradcheck: input {i} is a {type(x).__name__}, not a tensor; "
                "write mt.tensor(..., requires_grad=True), or mt.tensor(...) for one that stays constant"
            )
    checked = [(i, x) for i, x in enumerate(values) if x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient, so there is nothing to check")
    for i, x in checked:
        if x.dtype != np.float64:
            raise TypeError(
                f"gradcheck: {called(i, x)} has dtype {x.dtype}; it must be float64: rounding hides small differences; "
                'convert it with .astype(float), or make all parameters float64 with mt.set_default_dtype("float64")'
            )
        if not np.isfinite(x._array).all():
            raise ValueError(f"gradcheck: {called(i, x)} holds NaN or ∞; it must be finite")


def called(i: int, x: Tensor) -> str:
    """The name of an input in reports: its position, and its own name if it has one.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import called
    >>> called(1, mt.tensor(2.0, name="eps"))
    'input 1 (eps)'
    """
    return f"input {i} ({x.name})" if x.name else f"input {i}"


def fresh_leaves(values: Sequence[Tensor]) -> list[Tensor]:
    """Copies of the inputs, without history.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import fresh_leaves
    >>> fresh_leaves([mt.tensor(1.0, requires_grad=True) * 2.0])
    [tensor(2., requires_grad=True)]
    """
    return [Tensor(x._array, requires_grad=x.requires_grad, name=x.name) for x in values]


class BesideError(Exception):
    """The function raised an error, or returned no tensor, when it was called again. The cause is that error."""


class Pure:
    """A function that is called without changing the buffers of its modules.

    The running statistics of a batch norm move in training. Here they are the same before every call.

    Parameters
    ----------
    fn : callable
        A function from tensors to a tensor.
    called : bool
        Whether it has been called before.

    Raises
    ------
    TypeError
        `fn` cannot be called. Or at the first call it does not return a tensor of numbers.
    BesideError
        At a later call the function raised, or did not return a tensor.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.checking.calling import Pure
    >>> bn = mt.nn.BatchNorm1d(1)
    >>> y = Pure(lambda x: bn(x) * 2.0)([mt.tensor([[1.0], [3.0]])])
    >>> bn.running_mean, bn.num_batches_tracked
    (tensor([0.]), tensor(0))
    """

    def __init__(self, fn: Callable[..., Any], called: bool = False) -> None:
        if not callable(fn):
            raise TypeError(f"gradcheck: fn is a {type(fn).__name__}; it must be a function from tensors to a tensor")
        self.fn = fn
        self.called = called
        self.modules = list(_modules_behind(fn))

    def __call__(self, arguments: Sequence[Tensor]) -> Tensor:
        tables = [(inner._buffers, dict(inner._buffers)) for module in self.modules for inner in module.modules()]
        values = [(b, b._array, b._version) for _, table in tables for b in table.values() if b is not None]
        try:
            with enable_grad():
                out = self.fn(*arguments)
        except (BesideError, NoGradientError):
            raise
        except Exception as error:
            if not self.called:
                raise
            raise BesideError(f"the function raised {described(error)}") from error
        finally:
            for table, before in tables:
                table.update(before)
            # A new value comes in a new array, so the old array still holds the old value.
            for buffer, array, version in values:
                buffer._array, buffer._version = array, version
        if not isinstance(out, Tensor):
            if self.called:
                raise BesideError(f"the function returned a {type(out).__name__}, not a tensor")
            hint = "; check one result at a time: lambda *xs: fn(*xs)[0]" if isinstance(out, (tuple, list)) else ""
            raise TypeError(f"gradcheck: the function returned a {type(out).__name__}, not a tensor{hint}")
        if out.dtype.kind not in "biuf":
            raise TypeError(f"gradcheck: the function returned a tensor of dtype {out.dtype}, not of floats")
        self.called = True
        return out


def _modules_behind(fn: Any) -> Iterator[Any]:
    """The modules that a function is bound to, encloses, or names, also through other functions and containers."""
    seen: set[int] = set()
    todo = [fn]
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if hasattr(type(thing), "named_buffers"):
            yield thing
        elif isinstance(thing, functools.partial):
            todo += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, MethodType):
            todo += [thing.__self__, thing.__func__]
        elif isinstance(thing, (list, tuple)):
            todo += thing
        elif isinstance(thing, dict):
            todo += thing.values()
        elif isinstance(thing, FunctionType):
            todo += thing.__defaults__ or ()
            todo += [thing.__globals__[name] for name in thing.__code__.co_names if name in thing.__globals__]
            for cell in thing.__closure__ or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:  # a name that has no value yet
                    continue
