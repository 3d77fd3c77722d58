"""Last: the tensor. It holds a value, its history and its gradient, and it has the operators of Python.

Every computation is a primitive. This file only makes primitives available as operators and methods. The arrays inside
are never changed in place: an update stores a new array and counts a version. All other methods are in ``methods.py``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor.core import backprop, ops
from microtensor.core.primitive import Node, Primitive, TensorBase, as_array, label, new_tensor, use_tensor_type
from microtensor.support import errors
from microtensor.support.arrays import Array, own_array, quietly
from microtensor.support.modes import current_mode

if TYPE_CHECKING:
    # What the rooms above attach, for type checkers and editors.
    from microtensor.attached import Methods
else:
    Methods = object

Operand: TypeAlias = "Tensor | ArrayLike"


def binary(operation: Primitive[Any]) -> tuple[Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    """The two methods of an operator: with the tensor on its left and on its right."""
    return lambda self, other: operation(self, other), lambda self, other: operation(other, self)


def comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Array]:
    """The method of a comparison. It returns a plain array of booleans."""
    return lambda self, other: np.asarray(quietly(compare, self._array, as_array(other)))


def method(operation: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a tensor as a method, with its own name, signature and documentation."""
    return update_wrapper(lambda self, *args, **options: operation(self, *args, **options), operation, updated=())


def of_sizes(operation: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`method`, for an operation with several sizes. They may be given as one tuple or one by one."""

    def call(self: Tensor, *sizes: Any, **options: Any) -> Any:
        return operation(self, *((sizes[0] if len(sizes) == 1 else sizes,) if sizes else ()), **options)

    return update_wrapper(call, operation, updated=())


class Tensor(TensorBase, Methods):
    """An array that remembers how it was made, so that gradients can flow back through it.

    The data are copied, and ``.numpy()`` is read-only. So a recorded value cannot change later.
    Dtypes follow NumPy (NEP 50): a Python number takes the dtype of the tensor.

    ``copy.copy``, ``copy.deepcopy`` and ``pickle`` of a leaf give a new leaf with the same value, dtype,
    ``requires_grad`` and name. As in PyTorch, ``deepcopy`` of a tensor also copies ``.grad``. The others do not, and
    ``deepcopy`` of a :class:`Parameter` or a module does not either. Hooks are not copied, and versions start at 0.

    Parameters
    ----------
    data : array_like
        Booleans, integers or floats of up to 64 bits.
    dtype : dtype, optional
        Default: NumPy's choice for `data`.
    requires_grad : bool
        Whether :meth:`backward` fills ``.grad``; floating point only.
    name : str, optional
        The name in pictures and messages.

    Raises
    ------
    TypeError
        The data are not numbers, or `requires_grad` is True and they are not floating point.
    ValueError
        The data are ragged nested sequences: rows differ in length.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    # Unset here: microtensor.torch keeps there what a view looks at.
    __slots__ = ("_link",)
    __hash__ = object.__hash__

    def __init__(
        self,
        data: ArrayLike | Tensor,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
        name: str | None = None,
    ) -> None:
        self._array = own_array(data._array if isinstance(data, Tensor) else data, "tensor: data", dtype)
        self._node = self._grad = self._watch = None
        self._version, self._origin, self._requires_grad = 0, "", False
        self.name = name
        if requires_grad is not False:
            self.requires_grad_(requires_grad)
        elif (tracer := current_mode().tracer) is not None:
            tracer.made(self)  # type: ignore[attr-defined]

    def numpy(self) -> Array:
        """The value as a read-only NumPy view; use ``.numpy().copy()`` for an array to write to."""
        view = self._array.view()
        view.flags.writeable = False
        return view

    @property
    def grad(self) -> Tensor | None:
        """The sum of the gradients of all backward passes so far; None before the first."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | ArrayLike | None) -> None:
        if value is None:
            self._grad = None
            return
        if type(value) in (int, float):
            # A reset to 0 fits every tensor.
            value = np.full(() if value else self.shape, value, self.dtype)
        # A copy, so that no two leaves share one gradient; but a gradient that has a graph keeps it.
        new = value if isinstance(value, Tensor) and value._node is not None else Tensor(value)
        errors.check_gradient(new, self, "grad")
        self._grad = new

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. It can be set on a leaf, as with :meth:`requires_grad_`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def name(self) -> str | None:
        """The name of this tensor in pictures and messages, or None. It can be set."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        errors.check_name(value)
        self._name = value

    @property
    def node(self) -> Node | None:
        """The record of the operation that made this tensor; None for a leaf."""
        return self._node

    @property
    def is_leaf(self) -> bool:
        """True unless a recorded operation made this tensor."""
        return self._node is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the elements."""
        return self._array.dtype

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether this leaf requires a gradient, and return the leaf.

        Raises
        ------
        TypeError
            The value is not a bool, or it is True and the tensor is not floating point.
        RuntimeError
            The value is False and the tensor is the result of a recorded operation.
        """
        errors.check_requires_grad(requires_grad, self)
        self._requires_grad = bool(requires_grad)
        return self

    backward = backprop.backward

    def detach(self) -> Tensor:
        """The same value without history: no gradient flows through the result."""
        return label(cast("Tensor", new_tensor(self._array, None, "detached")), self._name)

    def assign_(self, value: ArrayLike | Tensor) -> Tensor:
        """Give this leaf a new value of the same shape, count a version, and return the leaf.

        The old array is not changed. A backward pass through a graph that read the old value raises RuntimeError.

        Raises
        ------
        RuntimeError
            The tensor is the result of a recorded operation, not a leaf.
        ValueError
            The shapes differ.
        """
        if self._node is not None:
            raise RuntimeError(f"a tensor made by {self._node} cannot be assigned to; only leaves can")
        new = own_array(value._array if isinstance(value, Tensor) else value, "assign_: value", self.dtype)
        if new.shape != self.shape:
            raise ValueError(f"assign_: a tensor of shape {self.shape} cannot take a value of shape {new.shape}")
        self._replace(new)
        return self

    def _replace(self, array: Array) -> None:
        """Store an array of the same shape and dtype, and count a version. Nobody else may write to the array."""
        self._array, self._version = array, self._version + 1
        if aside := current_mode().aside:
            aside(self)

    __add__, __radd__ = binary(ops.add)
    __sub__, __rsub__ = binary(ops.subtract)
    __mul__, __rmul__ = binary(ops.multiply)
    __truediv__, __rtruediv__ = binary(ops.divide)
    __neg__ = method(ops.negative)
    __eq__ = comparison(operator.eq)  # type: ignore[assignment]
    __ne__ = comparison(operator.ne)  # type: ignore[assignment]
    __lt__, __le__ = comparison(operator.lt), comparison(operator.le)
    __gt__, __ge__ = comparison(operator.gt), comparison(operator.ge)

    if not TYPE_CHECKING:
        # The methods that tensors and arrays share, and that rules use; ``attached.pyi`` declares them.
        reshape, astype = of_sizes(ops.reshape), method(ops.astype)


use_tensor_type(Tensor)


def tensor(
    data: ArrayLike | Tensor, *, dtype: DTypeLike | None = None, requires_grad: bool = False, name: str | None = None
) -> Tensor:
    """Make a :class:`Tensor` from a copy of `data`.

    Parameters
    ----------
    data : array_like
        Booleans, integers or floats of up to 64 bits.
    dtype : dtype, optional
        Default: NumPy's choice for `data`.
    requires_grad : bool
        Whether backward passes fill ``.grad``.
    name : str, optional
        The name in pictures and messages.

    Raises
    ------
    TypeError
        The data are not numbers, or `requires_grad` is True and they are not floating point.
    ValueError
        The data are ragged nested sequences: rows differ in length.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tensor([[1, 2], [3, 4]], dtype="float32")
    tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    return Tensor(data, dtype=dtype, requires_grad=requires_grad, name=name)
