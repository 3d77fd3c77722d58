"""The methods of tensors and operations beyond core: functions as methods, Python's protocols, copies and pickles.

They are attached once, when the package is imported, and nowhere else. ``attached.pyi`` declares them for type
checkers.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor import functional, hints, numpy_functions, ops
from microtensor.core.primitive import Primitive, Watch
from microtensor.core.tensor import Tensor, binary, method, of_sizes
from microtensor.creation import Parameter
from microtensor.ops.indexing import kept
from microtensor.shared import data_of
from microtensor.showing import shown
from microtensor.support import calls
from microtensor.support.arrays import Array
from microtensor.support.modes import current_mode

# Functions that are not methods: of several equal tensors, of indices, of images; and the engine's own.
FUNCTIONS_ONLY = frozenset(
    {
        *("concat", "stack", "where", "einsum", "embedding", "stop_gradient"),
        *("conv1d", "conv2d", "conv_transpose2d", "max_pool", "avg_pool", "adaptive_avg_pool", "unfold"),
        *("as_array", "as_operand", "chosen", "einsum_core", "equal", "getitem", "greater", "lost_gradient"),
        *("machine_epsilon", "masked", "multiply_sum", "narrowed", "overlap_add", "place", "primitives", "put"),
        *("shape_of", "sliding_windows", "sum_to", "widened"),
    }
)
# The versions of the Array API standard.
ARRAY_API = ("2021.12", "2022.12", "2023.12", "2024.12")
# Sizes or axes may be given one by one, as in x.reshape(2, 3), or in one tuple.
OF_SIZES = ("reshape", "permute_dims", "broadcast_to")


def in_place(operation: Callable[[Tensor, Any], Tensor], symbol: str) -> Callable[[Tensor, Any], Tensor]:
    """The method of an operator such as ``+=``."""

    def call(self: Tensor, other: Any) -> Tensor:
        if self._node is not None or not self.requires_grad:
            return operation(self, other)
        if current_mode().recording:
            raise RuntimeError(
                f"x {symbol}= … is not possible on a leaf that requires a gradient; update a parameter inside "
                f"`with mt.no_grad():`, or make a new tensor with x = x {symbol} …"
            )
        return self.assign_(operation(self, other))

    return call


def _plain_index(index: Any) -> Any:
    """A copy of an index: lists and arrays are copied. Tensors and arrays of integers stay tensors, for pictures."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, Tensor):
        return kept(index, index._array)
    if isinstance(index, np.ndarray) and index.ndim and index.dtype.kind in "iu":
        return Tensor(index)
    if isinstance(index, (np.ndarray, list)):
        plain = np.array(ops.as_array(index))
        # An empty list selects nothing, but NumPy converts it to an array of floats.
        return plain if plain.size or isinstance(index, np.ndarray) else plain.astype(np.intp)
    return index


class Protocols(Tensor):
    """The methods that Python, NumPy and notebooks call, and those that prepare a backward pass."""

    __slots__ = ()

    __pow__, __rpow__ = binary(ops.power)
    __matmul__, __rmatmul__ = binary(ops.matmul)
    __abs__ = method(ops.absolute)
    __iadd__, __isub__, __imul__ = in_place(ops.add, "+"), in_place(ops.subtract, "-"), in_place(ops.multiply, "*")
    __itruediv__, __ipow__ = in_place(ops.divide, "/"), in_place(ops.power, "**")
    __array_ufunc__, __array_function__ = numpy_functions.array_ufunc, numpy_functions.array_function

    def item(self) -> float | int | bool:
        """The only element as a Python number.

        Raises
        ------
        ValueError
            There is not exactly one element.
        """
        if self.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.size} elements; it must have one")
        return cast("float | int | bool", self._array.item())

    def __pos__(self) -> Tensor:
        return self

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index=_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a tensor cannot be changed at an index; choose between two tensors with mt.where(condition, new, x), "
            "or give a leaf a new value with x.data = array; x.grad = None resets a gradient"
        )

    def __dir__(self) -> list[str]:
        # A hint is no attribute.
        return [name for name in object.__dir__(self) if name not in hints.TENSOR or hasattr(self, name)]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

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

    def __repr__(self) -> str:
        parts = [np.array2string(self._array, separator=", ", prefix="tensor(")]
        if self.dtype not in (np.float64, np.int64, np.bool_):
            parts.append(f"dtype={self.dtype}")
        if self._node is not None:
            parts.append(f"node={self._node}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def __format__(self, spec: str) -> str:
        if spec and self.size != 1:
            raise TypeError(
                f"a tensor of shape {self.shape} has {self.size} numbers, and {spec!r} is the format of one; "
                "write np.array2string(x.numpy(), precision=3) or x.tolist()"
            )
        return format(self.item(), spec) if spec else str(self)

    def __round__(self, ndigits: int | None = None) -> float | int:
        if self.size != 1:
            raise TypeError(f"round() of a tensor of shape {self.shape}; mt.round(x, 2) rounds every element")
        return round(self.item(), ndigits)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                "this tensor requires a gradient, which NumPy would lose; "
                "use .numpy() for its value or .detach() for a tensor without history"
            )
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a tensor of dtype {self.dtype} cannot become {np.dtype(dtype)} without a copy")
        return np.array(self._array, dtype=dtype) if copy or dtype is not None else self.numpy()

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        """The module with the functions of the Array API, for libraries that work on any kind of array."""
        if api_version not in (None, *ARRAY_API):
            raise ValueError(f"api_version is {api_version!r}; it must be None or one of {', '.join(ARRAY_API)}")
        return sys.modules["microtensor"]

    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A copy of the value for ``from_dlpack`` of another library, which may write to what it gets."""
        if self.requires_grad:
            raise BufferError("this tensor requires a gradient, which from_dlpack would lose; pass x.detach()")
        if copy is False:
            raise BufferError(
                "from_dlpack gets a copy of a tensor, because it may write to what it gets; not copy=False"
            )
        # NumPy before 2.1 knows the first of them alone.
        asked = {"stream": stream, "max_version": max_version, "dl_device": dl_device}
        given: Any = {name: value for name, value in asked.items() if value is not None}
        return self._array.copy().__dlpack__(**given)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._node is not None:
            raise TypeError(f"a tensor made by {self._node} cannot be copied or pickled with its graph; detach() first")
        detached = self._origin == "detached"
        made = rebuild, (self._array, self.requires_grad, self.name, type(self), detached)
        # A subclass may have attributes of its own.
        own = getattr(self, "__dict__", None)
        return (*made, own) if own else made

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        function, arguments, *own = self.__reduce__()
        out: Tensor = function(*arguments)
        # Before its attributes are copied, because they may refer back to it.
        memo[id(self)] = out
        for attributes in own:
            out.__dict__.update(copy.deepcopy(attributes, memo))
        # Not for parameters, so that a copied module starts without gradients.
        if not isinstance(self, Parameter):
            out._grad = copy.deepcopy(self._grad, memo)
        return out

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = shown("mimebundle", self, include, exclude)
        return bundle

    @property
    def data(self) -> Tensor:
        """The value without history. It shares the value: ``x.data -= …`` changes x. Assignment copies a value in."""
        return data_of(self)

    @data.setter
    def data(self, value: ArrayLike | Tensor) -> None:
        # After x.data -= …, what is assigned is the value that x has already.
        if not (isinstance(value, Tensor) and value._array is self._array and self._node is None):
            self.assign_(value)

    @property
    def size(self) -> int:
        """The number of elements."""
        return hints.Count(self._array.size)

    @property
    def device(self) -> str:
        """Where the value is: always "cpu"."""
        return "cpu"

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix. For a stack of matrices use ``mT``."""
        if self.ndim != 2:
            raise ValueError(f"T: shape {self.shape} is not a matrix; use mT or permute_dims")
        return self.mT

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two axes exchanged."""
        if self.ndim < 2:
            raise ValueError(f"mT: shape {self.shape} must have at least two axes")
        transposed: Tensor = ops.matrix_transpose(self)
        return transposed

    def tolist(self) -> Any:
        """The value as Python numbers, in as many nested lists as there are axes."""
        return self._array.tolist()

    def copy(self) -> Tensor:
        """A new tensor with the same value. Gradients flow through it, as through PyTorch's ``clone``."""
        copied: Tensor = ops.reshape(self, shape=self.shape, copy=True)
        return copied

    def clone(self) -> Tensor:
        """The same as :meth:`copy`."""
        return self.copy()

    def retain_grad(self) -> Tensor:
        """Make backward fill ``.grad`` of this result too, and return the tensor. Leaves need no such call."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        self._watch = self._watch or Watch()
        self._watch.retains_grad = True
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook` with the gradient of this tensor when a backward pass has computed it.

        If the hook returns a tensor, that replaces the gradient. Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        watch = self._watch = self._watch or Watch()
        # Each hook has its own key, so that a hook registered twice is removed once. The dictionary is new each time,
        # because a backward pass may be going through the old one.
        key = object()
        watch.hooks = {**watch.hooks, key: hook}

        def remove() -> None:
            watch.hooks = {k: h for k, h in watch.hooks.items() if k is not key}

        return remove


def rebuild(
    array: Array, requires_grad: bool, name: str | None, kind: type[Tensor] | None = None, detached: bool = False
) -> Tensor:
    """Make the tensor of a copy or a pickle. The constructor of a subclass is not called: its arguments may differ."""
    out = object.__new__(kind or Tensor)
    Tensor.__init__(out, array, requires_grad=requires_grad, name=name)
    out._origin = "detached" if detached else ""
    return out


def primitive_of(module: str, name: str) -> Primitive[Any]:
    """The operation of that name among the globals of a module. Pickles find operations in this way."""
    for value in vars(import_module(module)).values():
        if isinstance(value, Primitive) and value.name == name:
            return value
    raise AttributeError(f"module {module} has no primitive {name}")


def _attach() -> None:
    calls.hint = hints.of_message
    for name in hints.TENSOR:
        setattr(Tensor, name, hints.Hint("Tensor", name, hints.TENSOR))
    Primitive.__reduce__ = lambda self: (primitive_of, (self.__module__, self.name))  # type: ignore
    Primitive.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    Primitive.__copy__ = lambda self: self  # type: ignore[attr-defined]
    for room in (ops, functional):
        for name in set(room.__all__) - FUNCTIONS_ONLY:
            function = getattr(room, name)
            # A function is a method as it is, and warns in the line that calls it.
            bound = method(function) if isinstance(function, Primitive) else function
            setattr(Tensor, "abs" if name == "absolute" else name, bound)
    for name in OF_SIZES:
        setattr(Tensor, name, of_sizes(getattr(ops, name)))
    for name, value in vars(Protocols).items():
        if callable(value) or isinstance(value, property):
            setattr(Tensor, name, value)
    # Messages and help call each by the name that it has here.
    for name, value in vars(Tensor).items():
        if getattr(value, "__qualname__", "").startswith(("Protocols.", "binary.", "comparison.", "in_place.")):
            value.__name__, value.__qualname__ = name, f"Tensor.{name}"


_attach()
