"""What ``x.data`` is: a detached tensor that shares the value of its owner. A write through it reaches the owner."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from microtensor import ops
from microtensor.core.tensor import Tensor
from microtensor.support.modes import current_mode, no_grad

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from microtensor.support.arrays import Array


def written(operation: Callable[[Tensor, Any], Tensor], symbol: str) -> Callable[[SharedTensor, Any], Tensor]:
    """The method of an operator such as ``+=``. It gives the owner the result."""

    def call(self: SharedTensor, other: Any) -> Tensor:
        if self._requires_grad and current_mode().recording:
            raise RuntimeError(
                f"x {symbol}= … is not possible on a leaf that requires a gradient; update it inside "
                f"`with mt.no_grad():`, or make a new tensor with x = x {symbol} …"
            )
        with no_grad():
            new = operation(self, other)
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise TypeError(f"x.data {symbol}= …: the result has dtype {new.dtype}, which {self.dtype} cannot hold")
        return self.assign_(new)

    return call


class SharedTensor(Tensor):
    """``x.data``: the value of x without history, as in PyTorch.

    It reads the array of its owner. So it shows later changes of x, and what is written to it is the new value of x and
    counts a version there. ``x.data.copy()`` is a value that stays.

    The value of a result is fixed, so nothing can be written through the data of a result. The result is not kept
    alive, and neither is its graph. When it is gone, its data are a tensor of their own.
    """

    __slots__ = ("_owner", "_result")

    _owner: Tensor
    _result: weakref.ref[Tensor] | None

    @property
    def _array(self) -> Array:
        return self._owner._array

    @_array.setter
    def _array(self, array: Array) -> None:
        self._owner._array = array

    @property
    def _version(self) -> int:
        return self._owner._version

    @_version.setter
    def _version(self, version: int) -> None:
        self._owner._version = version

    @property
    def data(self) -> Tensor:
        """The tensor itself. Assignment gives the owner a new value."""
        return self

    @data.setter
    def data(self, value: ArrayLike | Tensor) -> None:
        if value is not self:
            self.assign_(value)

    def assign_(self, value: ArrayLike | Tensor) -> Tensor:
        """Give the owner a new value of the same shape, count a version there, and return this tensor.

        Raises
        ------
        RuntimeError
            The owner is the result of a recorded operation, not a leaf.
        ValueError
            The shapes differ.
        """
        result = None if self._result is None else self._result()
        if result is not None:
            raise RuntimeError(
                f"x.data of a tensor made by {result._node} cannot be written to, because its value is recorded; make "
                "a new tensor from it, such as x.data * 2 or x.data.copy()"
            )
        self._owner.assign_(value)
        return self

    def _replace(self, array: Array) -> None:
        self._owner._replace(array)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.detach().__reduce__()

    __iadd__, __isub__, __imul__ = written(ops.add, "+"), written(ops.subtract, "-"), written(ops.multiply, "*")
    __itruediv__, __ipow__ = written(ops.divide, "/"), written(ops.power, "**")
    __imatmul__ = written(ops.matmul, "@")


def data_of(x: Tensor) -> Tensor:
    """The tensor that shares the value of x."""
    if isinstance(x, SharedTensor):
        return x
    out = object.__new__(SharedTensor)
    out._owner, out._result = (x, None) if x._node is None else (x.detach(), weakref.ref(x))
    out._node = out._grad = out._watch = None
    out._requires_grad, out._origin, out._name = False, "detached", x._name
    return out
