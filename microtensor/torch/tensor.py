"""The tensor of this room: PyTorch's meanings, views that share memory, and changes in place.

A recorded value never changes in microtensor. A change in place gives the tensor a new value and a new history; the old
ones move to another tensor, which takes its place in what was recorded. A view has a link: the tensor that it looks at,
and the function that made it. A write through a view replaces elements of the tensor below, and a write to that tensor
brings all its views up to date.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from microtensor import ops
from microtensor.core import backprop
from microtensor.core import tensor as core
from microtensor.core.primitive import as_array, new_tensor
from microtensor.ops.replaced import overwritten
from microtensor.support.errors import check_gradient
from microtensor.support.modes import current_mode, enable_grad, no_grad
from microtensor.torch import dtypes

ONE_SOURCE = "microtensor.torch has a closed list of names; docs/torch.md of microtensor shows all of them"


class Size(tuple[int, ...]):
    """A shape. It is a tuple that prints as in PyTorch."""

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class _Count(int):
    """The number of elements, as microtensor reads it. Called as PyTorch's ``size()``, it gives the shape."""

    shape: Size

    def __call__(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class GradFn(str):
    """What made a tensor: ``grad_fn``. It has a name and no more."""

    def name(self) -> str:
        """The name of the operation, in PyTorch's style."""
        return self[1:-1]

    __repr__ = str.__str__


class Link:
    """How a tensor shares memory: what it looks at, its views, and the array of NumPy's that it shares."""

    def __init__(self) -> None:
        self.base: Any = None
        self.replay: Callable[[Any], Any] = same  # the view of the base, or of an array of indices
        self.silent = False  # whether it is .data
        self.tracked = True  # whether gradients flow from the view to the base
        self.memory: Any = None
        self.views: Any = weakref.WeakValueDictionary()  # the views that still exist, by id


class Tensor(core.Tensor):
    """A tensor with PyTorch's methods and meanings.

    ``Tensor(2, 3)`` makes a tensor of that shape, and ``Tensor([2, 3])`` one with these elements in float32. New
    programs write ``torch.tensor(...)`` or ``torch.empty(...)``.

    Examples
    --------
    >>> import microtensor.torch as torch
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> row = x[0]
    >>> row += 10
    >>> x
    tensor([[11., 12.],
            [ 3.,  4.]])
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __init__(self, *data: Any, device: Any = None) -> None:
        dtypes.check_device(device)
        super().__init__(legacy(data, dtypes.get_default_dtype()))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"Tensor.{name} is not here: {ONE_SOURCE}")

    # --- values and views -----------------------------------------------------------------------------------

    def _links(self) -> Link:
        """How this tensor shares memory; made when it is first asked for."""
        if not hasattr(self, "_link"):
            self._link = Link()
        return self._link

    def _look(self, base: Tensor, replay: Callable[[Any], Any], tracked: bool) -> Tensor:
        """Be a view of another tensor."""
        link = self._links()
        link.base, link.replay, link.tracked = base, replay, tracked
        base._links().views[id(self)] = self
        return self

    def _views(self) -> list[Tensor]:
        """The views of this tensor that still exist, and the views of these."""
        direct = list(self._link.views.values()) if hasattr(self, "_link") else []
        return [one for view in direct for one in (view, *view._views())]

    def _settle(self, value: Any) -> None:
        """Take a new value: that of a tensor, with its history, or an array. The views follow."""
        if isinstance(value, core.Tensor):
            self._node, self._requires_grad, self._origin = value._node, value._requires_grad, value._origin
            value = value._array
        # The order in memory stays.
        broken = self._array.flags.c_contiguous and not value.flags.c_contiguous
        self._array = np.array(value, order="C") if broken else value
        self._version += 1
        for view in list(self._links().views.values()):
            link = view._link
            with enable_grad() if link.tracked else no_grad():
                seen = link.replay(self)
            view._settle(seen if link.tracked else seen._array)

    def _rename(self, value: Any, since: int) -> None:
        """Let another tensor stand for the old value in what `value` was computed from; likewise for the views.

        What is older than this tensor cannot have read it. What is older than the creation number `since` was recorded
        before this change.
        """
        twins = {id(x): _twin(x) for x in (self, *self._views())}
        oldest = self._node.index if self._node is not None else since if len(twins) == 1 else -1
        waiting, seen = [value._node], {None}
        while waiting:
            node = waiting.pop()
            if node in seen or node.index <= oldest:
                continue
            seen.add(node)
            node.inputs = tuple(twins.get(id(x), x) for x in node.inputs)
            waiting += [x._node for x in node.inputs if isinstance(x, core.Tensor)]

    def _replace(self, array: Any, silent: bool = False) -> None:
        """Take the value of an array, without a record: what optimisers and initialisers do.

        A `silent` write is one through ``.data``: as in PyTorch, rules read the new value of a result.
        """
        link = self._links()
        if link.base is not None:
            array = array if link.replay is same else written(link.base._array, array, _places(self))
            link.base._replace(array, silent or link.silent)
            return
        if link.memory is not None:
            np.copyto(link.memory, array)
            # This view is read-only.
            array = np.broadcast_to(link.memory, link.memory.shape)
        if self._node is not None and silent:
            self._version -= 1
        elif self._node is not None:
            with enable_grad():
                new = overwritten(self, array)
            self._rename(new, self._node.index)
            array = new
        self._settle(array)

    def _write(self, value: Any, since: int) -> Tensor:
        """Change this tensor in place to a tensor of its shape and dtype, and return it.

        Raises
        ------
        RuntimeError
            It is a leaf that requires a gradient, or a view of one, and calls are recorded. Or a gradient would have to
            flow through memory that is shared without a record.
        """
        link = self._links()
        if not current_mode().recording:
            self._replace(value._array)
        elif self._requires_grad and self._node is None:
            raise RuntimeError("a leaf that requires a gradient is changed in place: write to .data or in no_grad()")
        elif link.base is not None and link.tracked:
            link.base._write(written(link.base, value, _places(self)), since)
        elif not (value._requires_grad or self._requires_grad):
            self._replace(value._array)
        elif link.base is None and link.memory is None:
            if value._node is None:
                # What had a history keeps one, with the gradient 0.
                value = ops.where(np.ones(value._array.shape, bool), value, self)
            self._rename(value, since)
            self._settle(value)
        else:
            raise RuntimeError("a gradient would be lost in a detached tensor or an array; write into a .clone() of it")
        return self

    # --- what PyTorch names otherwise -----------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The same memory without history. A write to it reaches this tensor and is not recorded."""
        out = self.detach()
        out._links().silent = True
        return out

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, Tensor) or self._node is not None:
            raise TypeError("x.data = y: x must be a leaf and y a tensor; for a result write x.data.copy_(y)")
        if value._array is self._array:
            return
        if any(value is one for one in self._views()):
            value = wrap(new_tensor(value._array))
        # Views of the old value keep it.
        old = wrap(new_tensor(self._array))
        for view in list(self._links().views.values()):
            view._look(old, view._link.replay, view._link.tracked)
        self._link = Link()
        self._look(value, same, tracked=False)
        self._settle(value._array)

    def detach(self) -> Tensor:
        """The same memory without history."""
        value = wrap(new_tensor(self._array, None, "detached"))
        value._name = self._name
        return value._look(self, same, tracked=False)  # type: ignore[no-any-return]

    def numpy(self, *, force: bool = False) -> Any:
        """The value as an array that shares the memory: a write to either is seen in both."""
        if self._requires_grad and not force:
            raise RuntimeError("numpy() of a tensor that requires a gradient: write .detach().numpy()")
        link = self._links()
        if link.base is not None:
            return link.replay(link.base.numpy(force=True))
        if link.memory is None:
            self._share(np.array(self._array, order="K"))
        return link.memory

    def _share(self, memory: Any) -> None:
        """Use an array of NumPy's, which has the same values, as memory."""
        self._links().memory = memory
        self._array = np.broadcast_to(memory, memory.shape)
        for view in self._views():
            view._array = view._link.replay(view._link.base._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.numpy(), dtype=dtype) if copy or dtype is not None else self.numpy()

    @property
    def grad(self) -> Any:
        """The sum of the gradients of all backward passes so far; None before the first."""
        return wrap(self._grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            check_gradient(value, self, "grad")
            if not isinstance(value, Tensor) and self._grad is not None:
                # The zeros of zero_grad(set_to_none=False) go into the gradient that is there.
                self.grad._replace(np.array(as_array(value)))
                return
        self._grad = value

    def backward(self, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf that it depends on."""
        leaves = {x for t in backprop.toposort([self]) for x in t._node.inputs if isinstance(x, Tensor)}  # type: ignore[union-attr]
        before = {x: x._grad for x in leaves if x._grad is not None}
        super().backward(gradient, retain_graph=bool(retain_graph), create_graph=create_graph)
        for leaf, old in before.items():
            # PyTorch adds to the gradient that is there, so that other names of it see the sum.
            if isinstance(old, Tensor) and leaf._grad is not old and not create_graph:
                old._replace(leaf._grad._array)  # type: ignore[union-attr]
                leaf._grad = old

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set whether this leaf requires a gradient, and return the leaf."""
        if requires_grad and self._node is None:
            # A leaf sends no gradient to the tensor that it looks at.
            self._links().tracked = False
        return super().requires_grad_(requires_grad)

    def register_hook(self, hook: Callable[[Any], Any]) -> Any:
        """Call `hook` with the gradient of this tensor; returns a handle with ``remove()``."""
        return SimpleNamespace(remove=super().register_hook(lambda g: hook(wrap(g))))

    @property
    def shape(self) -> Size:
        """The size along each axis."""
        return Size(self._array.shape)

    @property
    def size(self) -> Any:
        """Called: the shape, or the size of one axis."""
        count = _Count(self._array.size)
        count.shape = self.shape
        return count

    @property
    def grad_fn(self) -> Any:
        """What made this tensor; None for a leaf."""
        return self._node and GradFn(f"<{self._node.primitive.name.title().replace('_', '')}Backward0>")

    # --- Python's protocols ---------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        first, then = steps(index)
        part = self if first is None else view(self, lambda x: ops.getitem(x, index=first))
        return part if then is None else wrap(ops.getitem(part, index=then))

    def __setitem__(self, index: Any, value: Any) -> None:
        first, then = steps(index)
        places = np.arange(self._array.size).reshape(self._array.shape)
        for step in (first, then):
            places = places if step is None else places[step]
        own = getattr(value, "_link", None)
        if own is not None and own.base is self and np.array_equal(_places(value), places):
            # What x[i] += y ends with: the view x[i] has written to x already.
            return
        since = newest(value)
        value = in_dtype(value, self._array.dtype)
        extra = value._array.ndim - places.ndim
        if extra > 0 and value._array.shape[:extra] == (1,) * extra:
            value = ops.reshape(value, shape=value._array.shape[extra:])
        self._write(written(self, ops.broadcast_to(value, shape=places.shape), places), since)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self._array.ndim == 0 else object.__format__(self, spec)

    def __repr__(self) -> str:
        text = np.array2string(self._array, separator=", ", prefix="tensor(", **_print_options)
        parts = [text if self._array.size else f"[], size={tuple(self._array.shape)}"]
        if self._array.dtype not in (dtypes.get_default_dtype(), np.dtype(np.int64), np.dtype(np.bool_)):
            parts.append(f"dtype=torch.{self._array.dtype}")
        if self._node is not None:
            parts.append(f"grad_fn={self.grad_fn}")
        elif self._requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = UFUNCS.get(ufunc)
        if function is not None and method == "__call__" and not options:
            return function(*inputs)
        return wrap(super().__array_ufunc__(ufunc, method, *inputs, **options))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return wrap(super().__array_function__(function, types, args, options))


# NumPy's functions of arrays and tensors, such as np.add, and PyTorch's of the same meaning; functions.py fills it.
UFUNCS: dict[Any, Callable[..., Any]] = {}
_print_options: dict[str, Any] = {"precision": 4, "threshold": 1000}


def set_printoptions(precision: int = 4, threshold: int = 1000, **_: Any) -> None:
    """Set how tensors are printed: `precision` and `threshold`; PyTorch's other options have no effect."""
    _print_options.update(precision=precision, threshold=threshold)


def wrap(value: Any) -> Any:
    """A result with tensors of this room, also inside lists and tuples; arrays become tensors."""
    if isinstance(value, core.Tensor):
        if type(value) is core.Tensor:
            value.__class__ = Tensor
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return wrap(new_tensor(np.asarray(value)))
    if isinstance(value, (list, tuple)) and not isinstance(value, Size):
        parts = [wrap(x) for x in value]
        return parts if isinstance(value, list) else type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def newest(*operands: Any) -> int:
    """The largest creation number of tensors."""
    return max((x._node.index for x in operands if isinstance(x, core.Tensor) and x._node is not None), default=-1)


def in_dtype(value: Any, dtype: Any) -> Any:
    """A number, an array or a tensor as a tensor of a dtype."""
    tensor = value if isinstance(value, core.Tensor) else new_tensor(np.asarray(value))
    return tensor if tensor._array.dtype == dtype else ops.astype(tensor, dtype=dtype)


def _twin(x: Tensor) -> Any:
    """Another tensor with the value and the history of x."""
    out = new_tensor(x._array, x._node, x._origin)
    out._requires_grad, out._version, out._name, out._watch = x._requires_grad, x._version, x._name, x._watch
    x._watch = None
    return out


def same(x: Any) -> Any:
    """x."""
    return x


def view(x: Tensor, replay: Callable[[Any], Any]) -> Tensor:
    """The view of x that a function of a tensor makes. Writes go through it in both directions."""
    seen = replay(x)
    value = ops.reshape(seen, shape=seen._array.shape) if seen is x else seen
    return wrap(value)._look(x, replay, current_mode().recording)  # type: ignore[no-any-return]


def _places(x: Tensor) -> Any:
    """Which element of the tensor below each element of a view is."""
    link: Link = x._link
    return link.replay(np.arange(link.base._array.size).reshape(link.base._array.shape))


def written(x: Any, value: Any, places: Any) -> Any:
    """x with other elements at some places: plain tensors, or arrays."""
    source = np.full(x.shape, -1)
    source.reshape(-1)[places.reshape(-1)] = np.arange(places.size)
    if np.count_nonzero(source >= 0) != places.size and 0 in places.strides:
        raise RuntimeError("more than one element of the written-to tensor is one memory location; clone() it before")
    new = ops.getitem(ops.reshape(value, shape=(-1,)), index=np.maximum(source, 0)) if places.size else x
    return ops.where(source >= 0, new, x)


def steps(index: Any) -> tuple[Any, Any]:
    """An index for NumPy in two steps: integers and slices, which make a view; then arrays, or None.

    In one step, NumPy would put the axes of arrays and integers together into another order than PyTorch.
    """
    first: list[Any] = []
    then: list[Any] = []
    for part in map(_plain, index if isinstance(index, tuple) else (index,)):
        if isinstance(part, np.ndarray):
            first += [slice(None)] * (part.ndim if part.dtype == bool else 1)
            then.append(part)
        else:
            first.append(part)
            then += [] if isinstance(part, (int, np.integer)) else [part if part is Ellipsis else slice(None)]
    has_arrays = any(isinstance(part, np.ndarray) for part in then)
    only_arrays = has_arrays and all(part is Ellipsis or part == slice(None) for part in first)
    return None if only_arrays else tuple(first), tuple(then) if has_arrays else None


def _plain(index: Any) -> Any:
    """One part of an index: tensors become arrays, those without axes become integers.

    Raises
    ------
    ValueError
        A slice has a negative step, which PyTorch does not allow.
    """
    if isinstance(index, slice):
        parts = [None if i is None else int(i) for i in (index.start, index.stop, index.step)]
        if parts[2] is not None and parts[2] <= 0:
            raise ValueError("step must be greater than zero")
        return slice(*parts)
    if index is None or index is Ellipsis or (isinstance(index, int) and not isinstance(index, bool)):
        return index
    array = np.array(nested(list(index) if isinstance(index, range) else index))
    # As in PyTorch, uint8 is a mask.
    array = array.astype(bool) if array.dtype == np.uint8 else array if array.size else array.astype(np.int64)
    return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array


def legacy(data: tuple[Any, ...], dtype: Any) -> Any:
    """The array of an old constructor: sizes, or one list, array or tensor of elements."""
    if len(data) == 1 and not isinstance(data[0], (int, Size)):
        return np.array(nested(data[0]), dtype=dtype)
    return np.zeros(data[0] if data and isinstance(data[0], Size) else data, dtype=dtype)


def nested(data: Any) -> Any:
    """Nested lists with numbers and arrays in the place of tensors."""
    return [nested(x) for x in data] if isinstance(data, (list, tuple)) else as_array(data)


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """The method that changes a tensor to what a function of it gives, such as ``add_``."""

    def call(self: Tensor, *args: Any, **options: Any) -> Tensor:
        since, value = newest(self, *args), function(self, *args, **options)
        array, own = value._array, self._array
        if array.shape != own.shape:
            raise RuntimeError(f"{name}: a result of shape {array.shape} cannot be written into shape {own.shape}")
        if dtypes.CATEGORY[array.dtype.kind] > dtypes.CATEGORY[own.dtype.kind]:
            raise RuntimeError(f"{name}: result type {array.dtype} can't be cast to the output type {own.dtype}")
        return self._write(in_dtype(value, own.dtype), since)

    call.__name__ = call.__qualname__ = name
    return call
