"""The tensor: a value, its gradient and the node that made it, with operators and methods.

Every computation is a primitive or a composition of them; this file only spells them as operators and
methods. The arrays inside are never changed in place: an update puts a new array in and counts a version.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any, SupportsIndex, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor import functional, ops
from microtensor.primitive import Node, Traced, is_recording, use_tensor_type
from microtensor.support.arrays import Array, own_array, plain_dtype
from microtensor.support.axes import MOST_ELEMENTS, Axis, Shape, shape_of_new
from microtensor.support.quiet import quietly
from microtensor.support.showing import shown

Operand: TypeAlias = "Tensor | ArrayLike"

_default_dtype: np.dtype[Any] = np.dtype(np.float64)


def set_default_dtype(dtype: DTypeLike) -> None:
    """Choose the dtype of new parameters and of :func:`zeros`, :func:`ones` and their kin; float64 unless set.

    Parameters
    ----------
    dtype : float16, float32 or float64

    Raises
    ------
    TypeError
        The dtype is not one of the three.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.set_default_dtype("float32")
    >>> mt.zeros(2).dtype
    dtype('float32')
    >>> mt.set_default_dtype("float64")
    """
    global _default_dtype
    chosen = np.dtype(dtype)
    if chosen.kind != "f" or chosen.itemsize > 8:
        raise TypeError(f"set_default_dtype: {chosen} is not float16, float32 or float64")
    _default_dtype = chosen


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of new parameters and of :func:`zeros`, :func:`ones` and their kin.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.get_default_dtype()
    dtype('float64')
    """
    return _default_dtype


class Tensor(Traced):
    """An array that remembers how it was made, so that gradients can flow back through it.

    The data are copied in, and what comes out (``.data``, ``.numpy()``) is read-only, so a recorded value
    cannot change under the graph. Dtypes follow NumPy (NEP 50); Python scalars are weak.

    ``copy.copy``, ``copy.deepcopy`` and ``pickle`` of a leaf give a leaf of its own with the value, the dtype,
    ``requires_grad`` and the name. As in PyTorch, ``deepcopy`` of a tensor keeps ``.grad``, the others do not, nor
    does ``deepcopy`` of a :class:`Parameter` or a module; hooks stay with the original, and versions count from 0.

    Parameters
    ----------
    data : array_like
        Booleans, integers or floats of up to 64 bits.
    dtype : dtype, optional
        NumPy's choice for `data` unless given.
    requires_grad : bool
        Whether :meth:`backward` fills ``.grad``; floating point only.
    name : str, optional
        Shown by pictures.

    Raises
    ------
    TypeError
        For data that are not numbers, and for integers or booleans that require a gradient.
    ValueError
        For ragged nested sequences.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()
    __array_ufunc__ = None

    def __init__(
        self,
        data: ArrayLike | Tensor,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
        name: str | None = None,
    ) -> None:
        source = data._array if isinstance(data, Tensor) else data
        self._array = own_array(source, "tensor: data", dtype)
        self._node = None
        self._grad = None
        self._version = 0
        self._extra = None
        self.name = name
        self._requires_grad = False
        if requires_grad is not False:
            self.requires_grad_(requires_grad)

    # --- what it is ---------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The value, as a read-only view; assigning copies the new value in and counts a version."""
        view = self._array.view()
        view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: ArrayLike | Tensor) -> None:
        self.assign_(value)

    def numpy(self) -> Array:
        """The value as a read-only NumPy view; use ``.numpy().copy()`` for an array to write to."""
        return self.data

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up so far, or None before the first."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | ArrayLike | None) -> None:
        if value is None:
            self._grad = None
            return
        # A copy, so that no two leaves share one gradient; but a gradient that has a graph keeps it.
        new = value if isinstance(value, Tensor) and value._node is not None else Tensor(value)
        if new.shape != self.shape:
            raise ValueError(f"grad: a tensor of shape {self.shape} cannot have a gradient of shape {new.shape}")
        if new.dtype != self.dtype:
            raise TypeError(f"grad: a tensor of dtype {self.dtype} cannot have a gradient of dtype {new.dtype}")
        self._grad = new

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; can be set on a leaf, as by :meth:`requires_grad_`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def name(self) -> str | None:
        """What pictures and messages call this tensor, or None; can be set."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        if not (value is None or isinstance(value, str)):
            raise TypeError(f"name: got {value!r} of type {type(value).__name__}; must be a string or None")
        self._name = value

    @property
    def node(self) -> Node | None:
        """The record of the operation that made this tensor; None for a leaf."""
        return self._node

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not by a recorded operation."""
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

    @property
    def T(self) -> Tensor:
        """The matrix transpose; two axes only (``mT`` transposes stacks of matrices)."""
        if self.ndim != 2:
            raise ValueError(f"T: shape {self.shape} is not a matrix; use mT or permute_dims")
        return self.mT

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ValueError(f"mT: shape {self.shape} has no two axes to exchange")
        return ops.permute_dims(self, axes=(*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def __repr__(self) -> str:
        body = np.array2string(self._array, separator=", ", prefix="tensor(")
        default = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_))
        parts = [body]
        if self.dtype not in default:
            parts.append(f"dtype={self.dtype}")
        if self._node is not None:
            parts.append(f"node={self._node}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = shown("mimebundle", self, include, exclude)
        return bundle

    # --- Python's own protocols ---------------------------------------------------------------------------

    __hash__ = object.__hash__

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def item(self) -> float | int | bool:
        """The only element as a Python number.

        Raises
        ------
        ValueError
            There is not exactly one element.
        """
        if self.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.size} elements, not one")
        return cast("float | int | bool", self._array.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous; use .numpy().any() or .all()")
        return bool(self._array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"a tensor of dtype {self.dtype} cannot be an index")
        return int(self.item())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                "this tensor requires a gradient, which NumPy would lose; "
                "use .numpy() for its value or .detach() for a tensor without history"
            )
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a tensor of dtype {self.dtype} cannot become {np.dtype(dtype)} without a copy")
        return np.array(self._array, dtype=dtype) if copy or dtype is not None else self.data

    def __reduce__(self) -> tuple[Any, ...]:
        if self._node is not None:
            raise TypeError(f"a tensor made by {self._node} cannot be copied or pickled with its graph; detach() first")
        detached = "detached" in (self._extra or ())
        rebuilt = _rebuild, (self._array, self.requires_grad, self.name, type(self), detached)
        # A subclass may have attributes of its own.
        own = getattr(self, "__dict__", None)
        return (*rebuilt, own) if own else rebuilt

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        rebuild, arguments, *own = self.__reduce__()
        out: Tensor = rebuild(*arguments)
        # Before what hangs on it is copied, which may refer back to it.
        memo[id(self)] = out
        for attributes in own:
            out.__dict__.update(copy.deepcopy(attributes, memo))
        # Parameters come without, so that a copied module starts without gradients.
        if not isinstance(self, Parameter):
            out._grad = copy.deepcopy(self._grad, memo)
        return out

    # --- gradients ----------------------------------------------------------------------------------------

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether this leaf takes part in differentiation, and return it.

        Raises
        ------
        TypeError
            The value is not a bool, or an integer or boolean tensor is to require a gradient.
        RuntimeError
            A result is to stop requiring a gradient, which would cut its graph.
        """
        if not isinstance(requires_grad, (bool, np.bool)):
            raise TypeError(
                f"requires_grad: got {requires_grad!r} of type {type(requires_grad).__name__}; must be a bool"
            )
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(
                f"a tensor of dtype {self.dtype} cannot require a gradient; convert it first with .astype(float)"
            )
        if self._node is not None and not requires_grad:
            raise RuntimeError(
                f"requires_grad: a tensor made by {self._node} always requires a gradient; "
                "use .detach() for the same value without history"
            )
        self._requires_grad = bool(requires_grad)
        return self

    def backward(
        self,
        gradient: Tensor | ArrayLike | None = None,
        *,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf that it depends on.

        All gradients are computed first and added at the very end, so an exception leaves every ``.grad`` as
        it was. The graph is freed afterwards unless it is retained.

        Parameters
        ----------
        gradient : array_like, optional
            The cotangent, of this tensor's shape; 1 for a tensor with one element.
        retain_graph : bool
            Keep the graph for another backward pass, which adds to ``.grad`` again.
        create_graph : bool
            Record the backward pass too, so that it can be differentiated; implies `retain_graph`.

        Raises
        ------
        RuntimeError
            There is no gradient to compute, the cotangent is missing, the graph has been freed, or a leaf
            was changed after it was read.
        ValueError
            The cotangent has another shape.

        Examples
        --------
        >>> import microtensor as mt
        >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).backward([1.0, 10.0])
        >>> x.grad
        tensor([ 2., 40.])
        """
        from microtensor import backprop

        backprop.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def detach(self) -> Tensor:
        """The same value without history: no gradient flows through the result."""
        out = object.__new__(Tensor)
        out._array = self._array
        out._node = out._grad = None
        out._extra = {"detached": True}
        out._version = 0
        out._name = self._name
        out._requires_grad = False
        return out

    def retain_grad(self) -> Tensor:
        """Ask that backward fills ``.grad`` of this result too, not of leaves alone; returns the tensor."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        self._extra = self._extra or {}
        self._extra["retain"] = True
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook` with the gradient of this tensor when a backward pass has computed it.

        What the hook returns, unless None, takes the gradient's place. Returns a function that removes it.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        extra = self._extra = self._extra or {}
        # Under a key of its own, so that a hook registered twice is removed once.
        key = object()
        extra["hooks"] = {**extra.get("hooks", {}), key: hook}

        def remove() -> None:
            extra["hooks"] = {k: h for k, h in extra["hooks"].items() if k is not key}

        return remove

    def assign_(self, value: ArrayLike | Tensor) -> Tensor:
        """Give this leaf a new value of the same shape, and count a version; returns the tensor.

        The old array is left alone, so whoever holds it keeps it; a backward pass through a graph that read
        the old value raises.

        Raises
        ------
        RuntimeError
            This is the result of a recorded operation, not a leaf.
        ValueError
            The shapes differ.
        """
        if self._node is not None:
            raise RuntimeError(f"a tensor made by {self._node} cannot be assigned to; only leaves can")
        source = value._array if isinstance(value, Tensor) else value
        new = own_array(source, "assign_: value", self.dtype)
        if new.shape != self.shape:
            raise ValueError(f"assign_: a tensor of shape {self.shape} cannot take a value of shape {new.shape}")
        self._replace(new)
        return self

    def _replace(self, array: Array) -> None:
        """Put in an array that nobody else writes to, of the same shape and dtype, and count a version."""
        self._array = array
        self._version += 1

    # --- operators ----------------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return ops.divide(other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.absolute(self)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return np.asarray(quietly(eq, self._array, ops.as_array(other)))

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return np.asarray(quietly(ne, self._array, ops.as_array(other)))

    def __lt__(self, other: Operand) -> Array:
        return np.asarray(quietly(lt, self._array, ops.as_array(other)))

    def __le__(self, other: Operand) -> Array:
        return np.asarray(quietly(le, self._array, ops.as_array(other)))

    def __gt__(self, other: Operand) -> Array:
        return np.asarray(quietly(gt, self._array, ops.as_array(other)))

    def __ge__(self, other: Operand) -> Array:
        return np.asarray(quietly(ge, self._array, ops.as_array(other)))

    def _update(self, operation: Callable[[Tensor, Operand], Tensor], symbol: str, other: Operand) -> Tensor:
        if self._node is not None or not self.requires_grad:
            return operation(self, other)
        if is_recording():
            raise RuntimeError(
                f"x {symbol}= … on a leaf that requires a gradient would lose it; update a parameter inside "
                f"`with mt.no_grad():`, or make a new tensor with x = x {symbol} …"
            )
        return self.assign_(operation(self, other))

    def __iadd__(self, other: Operand) -> Tensor:
        return self._update(ops.add, "+", other)

    def __isub__(self, other: Operand) -> Tensor:
        return self._update(ops.subtract, "-", other)

    def __imul__(self, other: Operand) -> Tensor:
        return self._update(ops.multiply, "*", other)

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._update(ops.divide, "/", other)

    def __ipow__(self, other: Operand) -> Tensor:
        return self._update(ops.power, "**", other)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index=_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a tensor cannot be changed at an index; choose between two tensors with mt.where(condition, new, x), "
            "or give a leaf a new value with x.data = array"
        )

    # --- functions as methods -----------------------------------------------------------------------------

    def astype(self, dtype: DTypeLike) -> Tensor:
        """See :func:`microtensor.astype`."""
        return ops.astype(self, dtype=dtype)

    def square(self) -> Tensor:
        """See :func:`microtensor.square`."""
        return ops.square(self)

    def sqrt(self) -> Tensor:
        """See :func:`microtensor.sqrt`."""
        return ops.sqrt(self)

    def exp(self) -> Tensor:
        """See :func:`microtensor.exp`."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """See :func:`microtensor.log`."""
        return ops.log(self)

    def tanh(self) -> Tensor:
        """See :func:`microtensor.tanh`."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """See :func:`microtensor.sigmoid`."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """See :func:`microtensor.relu`."""
        return ops.relu(self)

    def abs(self) -> Tensor:
        """See :func:`microtensor.abs`."""
        return ops.absolute(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.sum`."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.mean`."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.max`."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.var`."""
        return functional.var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.std`."""
        return functional.std(self, axis=axis, correction=correction, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.logsumexp`."""
        return functional.logsumexp(self, axis=axis, keepdims=keepdims)

    def softmax(self, axis: Axis = -1) -> Tensor:
        """See :func:`microtensor.softmax`."""
        return functional.softmax(self, axis=axis)

    def log_softmax(self, axis: Axis = -1) -> Tensor:
        """See :func:`microtensor.log_softmax`."""
        return functional.log_softmax(self, axis=axis)

    def reshape(self, *shape: Shape) -> Tensor:
        """See :func:`microtensor.reshape`; the sizes may stand alone or in a tuple."""
        return ops.reshape(self, shape=_sizes(shape))

    def permute_dims(self, *axes: Axis) -> Tensor:
        """See :func:`microtensor.permute_dims`; the axes may stand alone or in a tuple."""
        return ops.permute_dims(self, axes=_sizes(axes))

    def broadcast_to(self, *shape: Shape) -> Tensor:
        """See :func:`microtensor.broadcast_to`; the sizes may stand alone or in a tuple."""
        return ops.broadcast_to(self, shape=_sizes(shape))

    def expm1(self) -> Tensor:
        """See :func:`microtensor.expm1`."""
        return ops.expm1(self)

    def log1p(self) -> Tensor:
        """See :func:`microtensor.log1p`."""
        return ops.log1p(self)

    def log2(self) -> Tensor:
        """See :func:`microtensor.log2`."""
        return ops.log2(self)

    def sin(self) -> Tensor:
        """See :func:`microtensor.sin`."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """See :func:`microtensor.cos`."""
        return ops.cos(self)

    def tan(self) -> Tensor:
        """See :func:`microtensor.tan`."""
        return ops.tan(self)

    def arcsin(self) -> Tensor:
        """See :func:`microtensor.arcsin`."""
        return ops.arcsin(self)

    def arccos(self) -> Tensor:
        """See :func:`microtensor.arccos`."""
        return ops.arccos(self)

    def arctan(self) -> Tensor:
        """See :func:`microtensor.arctan`."""
        return ops.arctan(self)

    def sinh(self) -> Tensor:
        """See :func:`microtensor.sinh`."""
        return ops.sinh(self)

    def cosh(self) -> Tensor:
        """See :func:`microtensor.cosh`."""
        return ops.cosh(self)

    def erf(self) -> Tensor:
        """See :func:`microtensor.erf`."""
        return ops.erf(self)

    def softplus(self) -> Tensor:
        """See :func:`microtensor.softplus`."""
        return ops.softplus(self)

    def floor(self) -> Tensor:
        """See :func:`microtensor.floor`."""
        return ops.floor(self)

    def ceil(self) -> Tensor:
        """See :func:`microtensor.ceil`."""
        return ops.ceil(self)

    def round(self) -> Tensor:
        """See :func:`microtensor.round`."""
        return ops.round(self)

    def sign(self) -> Tensor:
        """See :func:`microtensor.sign`."""
        return ops.sign(self)

    def negative(self) -> Tensor:
        """See :func:`microtensor.negative`."""
        return ops.negative(self)

    def matrix_transpose(self) -> Tensor:
        """See :func:`microtensor.matrix_transpose`."""
        return cast("Tensor", ops.matrix_transpose(self))

    def diagonal(self) -> Tensor:
        """See :func:`microtensor.diagonal`."""
        return cast("Tensor", ops.diagonal(self))

    def reciprocal(self) -> Tensor:
        """See :func:`microtensor.reciprocal`."""
        return functional.reciprocal(self)

    def rsqrt(self) -> Tensor:
        """See :func:`microtensor.rsqrt`."""
        return functional.rsqrt(self)

    def silu(self) -> Tensor:
        """See :func:`microtensor.silu`."""
        return functional.silu(self)

    def mish(self) -> Tensor:
        """See :func:`microtensor.mish`."""
        return functional.mish(self)

    def selu(self) -> Tensor:
        """See :func:`microtensor.selu`."""
        return functional.selu(self)

    def add(self, other: Operand) -> Tensor:
        """See :func:`microtensor.add`."""
        return ops.add(self, other)

    def subtract(self, other: Operand) -> Tensor:
        """See :func:`microtensor.subtract`."""
        return ops.subtract(self, other)

    def multiply(self, other: Operand) -> Tensor:
        """See :func:`microtensor.multiply`."""
        return ops.multiply(self, other)

    def divide(self, other: Operand) -> Tensor:
        """See :func:`microtensor.divide`."""
        return ops.divide(self, other)

    def power(self, other: Operand) -> Tensor:
        """See :func:`microtensor.power`."""
        return ops.power(self, other)

    def maximum(self, other: Operand) -> Tensor:
        """See :func:`microtensor.maximum`."""
        return ops.maximum(self, other)

    def minimum(self, other: Operand) -> Tensor:
        """See :func:`microtensor.minimum`."""
        return ops.minimum(self, other)

    def arctan2(self, other: Operand) -> Tensor:
        """See :func:`microtensor.arctan2`."""
        return ops.arctan2(self, other)

    def matmul(self, other: Operand) -> Tensor:
        """See :func:`microtensor.matmul`."""
        return ops.matmul(self, other)

    def outer(self, other: Operand) -> Tensor:
        """See :func:`microtensor.outer`."""
        return cast("Tensor", ops.outer(self, other))

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.min`."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`microtensor.prod`."""
        return ops.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: SupportsIndex | None = -1) -> Tensor:
        """See :func:`microtensor.cumsum`."""
        return ops.cumsum(self, axis=axis)

    def norm(self, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
        """See :func:`microtensor.norm`."""
        return functional.norm(self, axis=axis, keepdims=keepdims, ord=ord)

    def argmax(self, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
        """See :func:`microtensor.argmax`."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: SupportsIndex | None = None, keepdims: bool = False) -> Array:
        """See :func:`microtensor.argmin`."""
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Array:
        """See :func:`microtensor.any`."""
        return ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Array:
        """See :func:`microtensor.all`."""
        return ops.all(self, axis=axis, keepdims=keepdims)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        """See :func:`microtensor.clip`."""
        return functional.clip(self, low, high)

    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        """See :func:`microtensor.leaky_relu`."""
        return functional.leaky_relu(self, negative_slope)

    def elu(self, alpha: float = 1.0) -> Tensor:
        """See :func:`microtensor.elu`."""
        return functional.elu(self, alpha)

    def gelu(self, approximate: str = "none") -> Tensor:
        """See :func:`microtensor.gelu`."""
        return functional.gelu(self, approximate)

    def hardtanh(self, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
        """See :func:`microtensor.hardtanh`."""
        return functional.hardtanh(self, min_val, max_val)

    def moveaxis(self, source: Shape, destination: Shape) -> Tensor:
        """See :func:`microtensor.moveaxis`."""
        return cast("Tensor", ops.moveaxis(self, source, destination))

    def swapaxes(self, axis1: SupportsIndex, axis2: SupportsIndex) -> Tensor:
        """See :func:`microtensor.swapaxes`."""
        return cast("Tensor", ops.swapaxes(self, axis1, axis2))

    def squeeze(self, axis: Axis = None) -> Tensor:
        """See :func:`microtensor.squeeze`."""
        return cast("Tensor", ops.squeeze(self, axis=axis))

    def expand_dims(self, axis: Shape = 0) -> Tensor:
        """See :func:`microtensor.expand_dims`."""
        return cast("Tensor", ops.expand_dims(self, axis=axis))

    def flatten(self, start_axis: SupportsIndex = 0, end_axis: SupportsIndex = -1) -> Tensor:
        """See :func:`microtensor.flatten`."""
        return cast("Tensor", ops.flatten(self, start_axis, end_axis))

    def flip(self, axis: Axis = None) -> Tensor:
        """See :func:`microtensor.flip`."""
        return cast("Tensor", ops.flip(self, axis=axis))

    def roll(self, shift: Shape, axis: Axis = -1) -> Tensor:
        """See :func:`microtensor.roll`."""
        return cast("Tensor", ops.roll(self, shift, axis=axis))

    def tile(self, repetitions: Shape) -> Tensor:
        """See :func:`microtensor.tile`."""
        return cast("Tensor", ops.tile(self, repetitions))

    def repeat(self, repeats: Shape, axis: SupportsIndex | None = -1) -> Tensor:
        """See :func:`microtensor.repeat`."""
        return cast("Tensor", ops.repeat(self, repeats, axis=axis))

    def pad(self, widths: Sequence[Sequence[SupportsIndex]], value: float = 0.0) -> Tensor:
        """See :func:`microtensor.pad`."""
        return cast("Tensor", ops.pad(self, widths, value=value))

    def tril(self, k: SupportsIndex = 0) -> Tensor:
        """See :func:`microtensor.tril`."""
        return cast("Tensor", ops.tril(self, k))

    def triu(self, k: SupportsIndex = 0) -> Tensor:
        """See :func:`microtensor.triu`."""
        return cast("Tensor", ops.triu(self, k))

    def split(self, sizes: Shape, axis: SupportsIndex = 0) -> list[Tensor]:
        """See :func:`microtensor.split`."""
        return cast("list[Tensor]", ops.split(self, sizes, axis=axis))

    def take(self, indices: ArrayLike | Tensor, axis: SupportsIndex | None = 0) -> Tensor:
        """See :func:`microtensor.take`."""
        return cast("Tensor", ops.take(self, indices, axis=axis))

    def take_along_axis(self, indices: ArrayLike | Tensor, axis: SupportsIndex | None = -1) -> Tensor:
        """See :func:`microtensor.take_along_axis`."""
        return cast("Tensor", ops.take_along_axis(self, indices, axis=axis))

    def pick(self, indices: ArrayLike | Tensor, axis: SupportsIndex = -1) -> Tensor:
        """See :func:`microtensor.pick`."""
        return ops.pick(self, indices, axis=axis)

    def scatter_add(self, indices: ArrayLike | Tensor, updates: Operand, axis: SupportsIndex = -1) -> Tensor:
        """See :func:`microtensor.scatter_add`."""
        return cast("Tensor", ops.scatter_add(self, indices, updates, axis=axis))

    def sort(self, axis: SupportsIndex | None = -1, descending: bool = False) -> Tensor:
        """See :func:`microtensor.sort`."""
        return cast("Tensor", ops.sort(self, axis=axis, descending=descending))

    def tensordot(self, other: Tensor, axes: SupportsIndex | Sequence[Shape] = 2) -> Tensor:
        """See :func:`microtensor.tensordot`."""
        return cast("Tensor", ops.tensordot(self, other, axes))


use_tensor_type(Tensor)


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient and appears in ``module.parameters()``.

    A copy or a pickle of it is frozen if it is, and has no ``.grad``; see :class:`Tensor`.

    Parameters
    ----------
    data : array_like
        The initial value, taken in the default dtype unless it is floating point already.
    name : str, optional
        What pictures call it, such as γ; its key in the state is the attribute it is assigned to.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike | Tensor, name: str | None = None) -> None:
        value = own_array(ops.as_array(data), "Parameter: data")
        dtype = value.dtype if value.dtype.kind == "f" else get_default_dtype()
        super().__init__(value, dtype=dtype, requires_grad=True, name=name)


def _rebuild(
    array: Array, requires_grad: bool, name: str | None, kind: type[Tensor] | None = None, detached: bool = False
) -> Tensor:
    """What copies and pickles are made with; the constructor of a subclass may ask for other arguments."""
    out = object.__new__(kind or Tensor)
    Tensor.__init__(out, array, requires_grad=requires_grad, name=name)
    if detached:
        out._extra = {"detached": True}
    return out


def _plain_index(index: Any) -> Any:
    """An index of our own: tensors become arrays, lists and arrays are copied."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, (Tensor, np.ndarray, list)):
        plain = np.array(ops.as_array(index))
        # An empty list selects nothing, but NumPy makes an array of floats of it.
        return plain if plain.size or isinstance(index, np.ndarray) else plain.astype(np.intp)
    return index


def _sizes(items: tuple[Any, ...]) -> Any:
    """What stands alone in ``x.reshape(2, 3)`` or as one argument in ``x.reshape((2, 3))``."""
    return items[0] if len(items) == 1 else items


def tensor(
    data: ArrayLike | Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    name: str | None = None,
) -> Tensor:
    """Make a :class:`Tensor` from a copy of `data`.

    Parameters
    ----------
    data : array_like
        Booleans, integers or floats of up to 64 bits.
    dtype : dtype, optional
        NumPy's choice for `data` unless given.
    requires_grad : bool
        Whether backward passes fill ``.grad``.
    name : str, optional
        Shown by pictures.

    Raises
    ------
    TypeError
        For data that are not numbers, and for integers or booleans that require a gradient.
    ValueError
        For ragged nested sequences.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tensor([[1, 2], [3, 4]], dtype="float32")
    tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    return Tensor(data, dtype=dtype, requires_grad=requires_grad, name=name)


def zeros(shape: Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, in the default dtype unless another is given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.zeros(2)
    tensor([0., 0.])
    """
    return full(shape_of_new(shape, "zeros"), 0, dtype=dtype, requires_grad=requires_grad)


def ones(shape: Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones, in the default dtype unless another is given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.ones((1, 2))
    tensor([[1., 1.]])
    """
    return full(shape_of_new(shape, "ones"), 1, dtype=dtype, requires_grad=requires_grad)


def full(shape: Shape, value: float, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with `value`, in the default dtype unless another is given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.full((2,), 0.5)
    tensor([0.5, 0.5])
    """
    dtype = plain_dtype(get_default_dtype() if dtype is None else dtype, "full")
    # Of an array of that dtype, so that NumPy says when a number does not fit.
    array = np.full(shape_of_new(shape, "full"), own_array(ops.as_array(value), "full: value", dtype))
    return Tensor(array, requires_grad=requires_grad)


def zeros_like(x: Tensor | ArrayLike, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape, and unless another is given of the dtype, of x.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.zeros_like(mt.tensor([1, 2]))
    tensor([0, 0])
    """
    return Tensor(np.zeros_like(ops.as_array(x), dtype=dtype), requires_grad=requires_grad)


def ones_like(x: Tensor | ArrayLike, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape, and unless another is given of the dtype, of x.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.ones_like(mt.tensor([1, 2]))
    tensor([1, 1])
    """
    return Tensor(np.ones_like(ops.as_array(x), dtype=dtype), requires_grad=requires_grad)


def arange(start: float, stop: float | None = None, step: float = 1, *, dtype: DTypeLike | None = None) -> Tensor:
    """Numbers from `start` to before `stop`; with one argument, from 0 to before it. NumPy's dtype unless given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.arange(3)
    tensor([0, 1, 2])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ValueError("arange: step is 0; write another number")
    if (stop > start) == (step > 0) and abs(stop - start) > MOST_ELEMENTS * abs(step):
        raise ValueError(f"arange: {start} to {stop} in steps of {step} are more than 2**36 numbers")
    return Tensor(np.arange(start, stop, step, dtype=dtype))


def eye(rows: SupportsIndex, columns: SupportsIndex | None = None, *, dtype: DTypeLike | None = None) -> Tensor:
    """Ones on the diagonal, zeros elsewhere, in the default dtype unless another is given.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape = shape_of_new((rows, rows if columns is None else columns), "eye")
    return Tensor(np.eye(shape[0], shape[1], dtype=get_default_dtype() if dtype is None else dtype))
