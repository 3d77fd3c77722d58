"""Traces a function: runs it once on tensors without values, and records its operations and those of its backward."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microtensor.core import ops as core
from microtensor.core.backprop import run
from microtensor.core.primitive import Node, TensorBase, as_array, new_tensor
from microtensor.core.tensor import Tensor
from microtensor.ops import elementwise, indexing, reductions
from microtensor.support.modes import Mode, ModeSwitch, calling_line, current_mode

Shape: TypeAlias = tuple[int, ...]

# How the shape of a result follows from the options of the call, for the operations that change a shape.
SHAPES: dict[Any, Callable[..., Shape]] = {
    core.reshape: lambda x, shape, copy=None: _reshaped(x.shape, shape),
    core.broadcast_to: lambda x, shape: tuple(shape),
    core.permute_dims: lambda x, axes=None: tuple(x.shape[i] for i in axes or range(x.ndim)[::-1]),
    core.sum: lambda x, axis=None, keepdims=False, dtype=None: _reduced(x.shape, axis, keepdims),
    core.mean: lambda x, axis=None, keepdims=False: _reduced(x.shape, axis, keepdims),
    reductions.max: lambda x, axis=None, keepdims=False: _reduced(x.shape, axis, keepdims),
    reductions.min: lambda x, axis=None, keepdims=False: _reduced(x.shape, axis, keepdims),
    core.sum_to: lambda x, shape: tuple(shape),
    core.multiply_sum: lambda a, b, shape: tuple(shape),
    core.astype: lambda x, dtype, copy=True, device=None: x.shape,
    indexing.getitem: lambda x, index: _indexed(x.shape, index),
    indexing.put: lambda x, index, shape: _indexed(shape, index, shape),
}
# They are compiled where they take or put all elements in order.
_NAMES = {indexing.getitem: "reshape", indexing.put: "reshape"}
# Functions of each element that are not ufuncs of NumPy.
ELEMENTWISE = {
    p: p.name
    for p in (
        elementwise.relu,
        elementwise.sigmoid,
        elementwise.softplus,
        elementwise.erf,
        elementwise.where,
        elementwise.masked,
    )
}


_made = itertools.count()


class Refused(Exception):  # noqa: N818
    """The function cannot be compiled; the message says why.

    The tracer keeps the message too, because the function may catch the exception.
    """

    def __init__(self, why: str) -> None:
        mode: Any = current_mode()
        if mode.tracer is not None:
            if mode.scope is not None:
                why = f"in {mode.scope.path}{mode.scope.detail and ', ' + mode.scope.detail}: {why}"
            mode.tracer.refusal = mode.tracer.refusal or why
        super().__init__(why)


def _reshaped(old: Shape, shape: Shape) -> Shape:
    known = -math.prod(shape)
    return tuple(math.prod(old) // known if n == -1 else n for n in shape)


def _reduced(shape: Shape, axis: Any, keepdims: bool) -> Shape:
    axes = range(len(shape)) if axis is None else axis
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes)


def _indexed(shape: Shape, index: Any, result: Shape | None = None) -> Shape:
    """The shape of an array after an index that takes all elements in order, such as ``[:, None]``; or `result`."""
    items = index if isinstance(index, tuple) else (index,)
    slices = [i for i in items if isinstance(i, slice) and i.step in (None, 1)]
    if all(i is None or i is ... or isinstance(i, (int, np.integer)) or i in slices for i in items):
        found = np.broadcast_to(0.0, shape)[index]
        if found.size == math.prod(shape):
            return found.shape if result is None else result
    raise Refused("an index that takes a part of a tensor is not among the operations that can be compiled")


class Symbol(NDArrayOperatorsMixin):
    """Stands for the array of a traced tensor: a shape, a dtype, and the operation that makes it. It has no values.

    NumPy's functions of each element record another symbol; everything that would read values is refused.
    """

    # What the engine asks of an array's memory.
    base = None

    __hash__ = object.__hash__

    def __init__(
        self, op: str, args: tuple[Any, ...], shape: Shape, dtype: np.dtype[Any], params: dict[str, Any] | None = None
    ) -> None:
        self.op, self.args, self.shape, self.dtype, self.params = op, args, shape, dtype, params or {}
        self.ndim, self.size, self.index = len(shape), math.prod(shape), next(_made)
        self.label: str | None = None

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(x, TensorBase) for x in inputs):
            return NotImplemented
        if method != "__call__" or options:
            raise Refused(f"np.{ufunc.__name__}.{method} with options is called on a traced array")
        return of_ufunc(ufunc, inputs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], options: Any) -> Any:
        if function in (np.shape, np.ndim, np.size) and not options and len(args) == 1:
            return getattr(self, function.__name__)
        if function is not np.where or options:
            raise Refused(f"np.{function.__name__} is not among the functions that can be compiled")
        return each_element("where", function, args)

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        return Symbol("same", (self,), self.shape, np.dtype(dtype))

    def _read(self, *_: Any, **__: Any) -> Any:
        what = f"{self.label!r}" if self.label else "a tensor"
        raise Refused(f"it reads the values of {what} ({calling_line()}), so what it computes may depend on them")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __len__ = __iter__ = __getitem__ = _read
    any = all = view = item = tolist = copy = ravel = _read

    def __getattr__(self, name: str) -> Any:
        return self._read() if not name.startswith("__") else object.__getattribute__(self, name)


def each_element(op: str, function: Any, inputs: Sequence[Any]) -> Symbol:
    """The symbol of a function that is applied to each element, with broadcasting."""
    samples = [np.ones((), x.dtype) if isinstance(x, Symbol) else _constant(x) for x in inputs]
    shape = np.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, Symbol)))
    with np.errstate(all="ignore"):
        dtype = np.asarray(function(*samples)).dtype
    return Symbol(op, tuple(inputs), shape, dtype)


def of_ufunc(ufunc: np.ufunc, inputs: Sequence[Any]) -> Symbol:
    """The symbol of one of NumPy's functions of each element."""
    name = ufunc.__name__
    if ufunc.signature or ufunc.nout != 1 or getattr(np, name, None) is not ufunc:
        raise Refused(f"{name} is not among the operations that can be compiled")
    return each_element(name, ufunc, inputs)


def _constant(x: Any) -> Any:
    if np.size(x) != 1 or np.asarray(x).dtype.kind not in "biuf":
        raise Refused(f"it uses an array of shape {np.shape(x)} that is not an argument; pass it as one, in a tensor")
    return x if isinstance(x, (bool, int, float)) else np.asarray(x).reshape(())


def _recorded(compare: np.ufunc) -> Callable[[Any, Any], Any]:
    return lambda self, other: compare(as_array(self), as_array(other))


class Traced(Tensor):
    """A tensor that holds a symbol. Its comparisons are recorded, too."""

    __slots__ = ()
    __hash__ = object.__hash__

    @staticmethod
    def holding(symbol: Symbol, node: Node | None = None) -> Traced:
        out: Traced = new_tensor(symbol, node)  # type: ignore[arg-type]
        out.__class__ = Traced
        return out

    @property
    def _name(self) -> str | None:
        """The name, which the symbol keeps for the source."""
        return self._array.label  # type: ignore[attr-defined, no-any-return]

    @_name.setter
    def _name(self, name: str | None) -> None:
        self._array.label = name  # type: ignore[attr-defined]

    __eq__, __ne__ = _recorded(np.equal), _recorded(np.not_equal)
    __lt__, __le__ = _recorded(np.less), _recorded(np.less_equal)
    __gt__, __ge__ = _recorded(np.greater), _recorded(np.greater_equal)

    def detach(self) -> Traced:
        return Traced.holding(self._array)  # type: ignore[arg-type]


class Tracer:
    """What a call does while a function is traced: it makes a symbol.

    Attributes
    ----------
    refusal : str
        Why the function cannot be compiled; empty while it can.
    effects : list of (callable, list)
        What is called after each run of the program, and its arguments.
    """

    def __init__(self) -> None:
        self.refusal = ""
        self.effects: list[tuple[Callable[..., None], list[Any]]] = []

    def later(self, action: Callable[..., None], args: Sequence[Any]) -> None:
        """Call an action after each run of the program, with the tensors of the run."""
        self.effects.append((action, [self.of(x) if isinstance(x, TensorBase) else x for x in args]))

    def __call__(self, primitive: Any, inputs: tuple[Any, ...], params: dict[str, Any]) -> Traced:
        tensors = [x for x in inputs if isinstance(x, TensorBase)]
        # A Python number takes the dtype of the tensor that it meets, as in a record.
        floats = [x._array.dtype for x in tensors if x._array.dtype.kind == "f"]
        inputs = tuple(np.array(x, floats[0]) if floats and type(x) in (int, float) else x for x in inputs)
        symbol = self.symbol(primitive, [self.of(x) for x in inputs], params)
        mode = current_mode()
        recorded = mode.recording and symbol.dtype.kind == "f" and any(x._requires_grad for x in tensors)
        version = sum(x._version for x in tensors)
        node = Node(primitive, inputs, params, mode.scope, version, "") if recorded else None
        return Traced.holding(symbol, node)

    def of(self, x: Any) -> Any:
        """The symbol of an argument; a constant as it is."""
        array = as_array(x)
        if isinstance(array, Symbol):
            return array
        if isinstance(x, TensorBase):
            what = f"{x._name!r}" if x._name else f"of shape {x._array.shape}"
            raise Refused(f"it uses the tensor {what}, which is not an argument; pass it as one")
        return _constant(array)

    def symbol(self, primitive: Any, args: list[Any], params: dict[str, Any]) -> Symbol:
        """The symbol of a call."""
        if primitive in ELEMENTWISE:
            return each_element(ELEMENTWISE[primitive], primitive.forward, args)
        if isinstance(primitive.forward, np.ufunc):
            return of_ufunc(primitive.forward, args)
        if primitive not in SHAPES or not isinstance(args[0], Symbol):
            raise Refused(f"{primitive.name} is not among the operations that can be compiled")
        dtype = params.get("dtype") or args[0].dtype
        if primitive is core.mean and dtype.kind != "f":
            dtype = np.dtype(np.float64)
        name = _NAMES.get(primitive, primitive.name)
        return Symbol(name, tuple(args), SHAPES[primitive](*args, **params), np.dtype(dtype), params)


class tracing(ModeSwitch):
    """Hand every call to a tracer; nothing is watched."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def _next(self, mode: Mode) -> Mode:
        return Mode(recording=mode.recording, scope=mode.scope, tracer=self.tracer)


class Trace:
    """A traced function: symbols of its inputs and outputs, and for each output a cotangent and its gradients.

    Attributes
    ----------
    inputs : list of Symbol
    needs : list of int
        The inputs that require a gradient.
    outputs : list of Symbol
    names : list of str or None
        The name of each output.
    cotangents : list of Symbol
    gradients : list of dict
        For each output the gradients by the inputs that it depends on, by the number of the input.
    several : type or None
        The type of the result, when the function returns several tensors.
    effects : list of (callable, list)
        See :class:`Tracer`. Tensors are given as symbols.
    moved : list of Symbol
        What the effects need besides the inputs.
    """

    def __init__(self, call: Callable[..., Any], tensors: Sequence[Tensor]) -> None:
        self.inputs = [Symbol(f"in{i}", (), x.shape, x.dtype) for i, x in enumerate(tensors)]
        self.needs = [i for i, x in enumerate(tensors) if x._requires_grad]
        tracer = Tracer()
        leaves: list[Tensor] = [Traced.holding(symbol) for symbol in self.inputs]
        for leaf, x in zip(leaves, tensors, strict=True):
            leaf._requires_grad, leaf._name = x._requires_grad, x._name
        self.cotangents: list[Symbol] = []
        self.gradients: list[dict[int, Symbol]] = []
        with tracing(tracer):
            found = call(*leaves)
            self.several = type(found) if type(found) in (tuple, list) else None
            results = list(found) if self.several else [found]
            if not results or not all(isinstance(y, TensorBase) for y in results):
                raise Refused(f"it returns a {type(found).__name__}, not one tensor or a tuple or list of tensors")
            self.outputs = [tracer.of(y) for y in results]
            self.names = [y._name for y in results]
            wanted = {x: i for i, x in enumerate(leaves) if x._requires_grad}
            for i, y in enumerate(results):
                self.cotangents.append(Symbol(f"g{i}", (), y.shape, y.dtype))
                pulled = {}
                if y._requires_grad:
                    pulled = run({y: Traced.holding(self.cotangents[i])}, set(wanted), create_graph=True)
                self.gradients.append({wanted[x]: tracer.of(g) for x, g in pulled.items()})
        self.effects = tracer.effects
        given = {x.index for x in self.inputs}
        moved = {x.index: x for _, args in self.effects for x in args if isinstance(x, Symbol)}
        self.moved = [x for i, x in moved.items() if i not in given]
        if tracer.refusal:
            raise Refused(tracer.refusal)

    def symbols(self) -> list[Symbol]:
        """All symbols that the outputs and the gradients depend on, each after its arguments."""
        stack = [
            *self.outputs,
            *self.moved,
            *self.cotangents,
            *(g for pulled in self.gradients for g in pulled.values()),
        ]
        found: dict[int, Symbol] = {}
        while stack:
            symbol = stack.pop()
            if symbol.index not in found:
                found[symbol.index] = symbol
                stack += [x for x in symbol.args if isinstance(x, Symbol)]
        return [found[i] for i in sorted(found)]

    def described(self) -> list[Any]:
        """The trace as plain data. Two traces of a pure function are equal."""
        symbols = self.symbols()
        number = {symbol.index: i for i, symbol in enumerate(symbols)}
        effects = [
            (action, [number.get(x.index, x.op) if isinstance(x, Symbol) else str(x) for x in args])
            for action, args in self.effects
        ]
        return effects + [
            (s.op, [number[x.index] if isinstance(x, Symbol) else str(x) for x in s.args], s.shape, str(s.params))
            for s in symbols
        ]
