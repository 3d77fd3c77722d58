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
from microtensor.support.arrays import Array, own_array, quietly
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
    indexing.pick: lambda x, indices, axis=-1: indices.shape,
    indexing.place: lambda x, indices, axis, size: (*x.shape[:axis], size, *x.shape[axis:]),
}
# NumPy sums conditions as integers.
_SUMS = (core.sum, core.mean, core.sum_to, core.multiply_sum)
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


class Slot:
    """The place of a traced argument inside the options of a call, such as an index."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<{self.number}>"


def _in_order(shape: Shape, index: Any) -> Shape | None:
    """The shape of an array after an index that takes all elements in order, such as ``[:, None]``; None for others."""
    items = index if isinstance(index, tuple) else (index,)
    steps = {i.step for i in items if isinstance(i, slice)}
    if steps <= {None, 1} and all(i is None or i is ... or isinstance(i, (int, np.integer, slice)) for i in items):
        found = np.broadcast_to(0.0, shape)[index]
        return found.shape if found.size == math.prod(shape) else None
    return None


class Symbol(NDArrayOperatorsMixin):
    """Stands for the array of a traced tensor: a shape, a dtype, and the operation that makes it. It has no values.

    NumPy's functions of each element record another symbol; everything that would read values is refused.

    Attributes
    ----------
    op : str
    args : tuple
        Symbols and numbers.
    shape, dtype
    params : dict
        The options of the call. What stands at a :class:`Slot` in them is one of `args`.
    call : callable or None
        Computes it from arrays: ``call(*args, **params)``. None for an input.
    fuses : bool
        Whether it can be a part of a sweep.
    value : array or None
        What it is, if it is a constant.
    """

    # What the engine asks of an array's memory.
    base = None

    __hash__ = object.__hash__

    def __init__(
        self,
        op: str,
        args: tuple[Any, ...],
        shape: Shape,
        dtype: np.dtype[Any],
        params: dict[str, Any] | None = None,
        call: Callable[..., Any] | None = None,
        fuses: bool = True,
    ) -> None:
        self.op, self.args, self.shape, self.dtype, self.params = op, args, shape, dtype, params or {}
        self.ndim, self.size, self.index = len(shape), math.prod(shape), next(_made)
        self.call, self.fuses = call, fuses
        self.label: str | None = None
        self.value: Any = None

    @property
    def flags(self) -> Any:
        """The order in memory, which rules ask for."""
        return np.empty((1, 1) if self.op != "permute_dims" else (2, 2), order="F").flags

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(x, TensorBase) for x in inputs):
            return NotImplemented
        if method != "__call__" or options:
            raise Refused(f"np.{ufunc.__name__}.{method} with options is called on a traced array")
        return of_ufunc(ufunc, inputs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], options: Any) -> Any:
        if any(issubclass(kind, TensorBase) for kind in types):
            return NotImplemented
        if function in (np.array2string, np.array_repr, np.array_str):
            self._read()
        if function in (np.shape, np.ndim, np.size) and not options and len(args) == 1:
            return getattr(self, function.__name__)
        if function in (np.zeros_like, np.ones_like) and len(args) == 1:
            return (np.zeros if function is np.zeros_like else np.ones)(self.shape, options.get("dtype") or self.dtype)
        if function in (np.reshape, np.expand_dims) and args[0] is self:
            shape = function(_thin(self), *args[1:], **options).shape
            return Symbol("reshape", (self,), shape, self.dtype, {"shape": shape}, core.reshape.forward)
        if function is not np.where or options:
            raise Refused(f"np.{function.__name__} is not among the functions that can be compiled")
        return each_element("where", function, args)

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        new = np.dtype(dtype)
        return Symbol("same", (self,), self.shape, new, {"dtype": new}, _as_type)

    def _read(self, *_: Any, **__: Any) -> Any:
        what = f"{self.label!r}" if self.label else "a tensor"
        raise Refused(f"it reads the values of {what} ({calling_line()}), so what it computes may depend on them")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __len__ = __iter__ = __getitem__ = _read
    any = all = view = item = tolist = copy = ravel = _read

    def __getattr__(self, name: str) -> Any:
        return self._read() if not name.startswith("__") else object.__getattribute__(self, name)


def _as_type(x: Any, dtype: np.dtype[Any]) -> Any:
    return np.asarray(x).astype(dtype)


def each_element(op: str, function: Any, inputs: Sequence[Any]) -> Symbol:
    """The symbol of a function that is applied to each element, with broadcasting."""
    inputs = [operand(x) for x in inputs]
    samples = [np.ones((), x.dtype) if isinstance(x, Symbol) else x for x in inputs]
    shape = np.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, Symbol)))
    dtype = np.asarray(quietly(function, *samples)).dtype
    return Symbol(op, tuple(inputs), shape, dtype, None, function)


def of_ufunc(ufunc: np.ufunc, inputs: Sequence[Any]) -> Symbol:
    """The symbol of one of NumPy's functions of each element."""
    name = ufunc.__name__
    if ufunc.signature or ufunc.nout != 1 or getattr(np, name, None) is not ufunc:
        raise Refused(f"{name} is not among the operations that can be compiled")
    return each_element(name, ufunc, inputs)


def operand(x: Any) -> Any:
    """A symbol or a number as it is; the symbol of an array that the function has made."""
    if isinstance(x, (Symbol, bool, int, float)):
        return x
    array = own_array(x, "an argument")
    return symbol_of(array) if array.ndim else array


def symbol_of(array: Array) -> Symbol:
    """The symbol of a constant."""
    symbol = Symbol("array", (), array.shape, array.dtype, fuses=False)
    symbol.value = array
    return symbol


def _thin(x: Any) -> Any:
    """An array of the shape and dtype of a symbol that takes no memory. Integers are 0, which is in every range."""
    if not isinstance(x, Symbol):
        return x
    if x.value is not None:
        return x.value
    return np.broadcast_to(np.zeros((), x.dtype) if x.dtype.kind in "iu" else np.ones((), x.dtype), x.shape)


def placed(value: Any, args: Sequence[Any]) -> Any:
    """Options with arguments in the places of slots."""
    if isinstance(value, Slot):
        return args[value.number]
    if isinstance(value, (tuple, list)):
        return type(value)(placed(item, args) for item in value)
    return value


def plain_text(x: Any) -> str:
    """All of a constant or an option as text: an array with its elements, a function with its identity."""
    if isinstance(x, np.ndarray):
        return f"{x.dtype.str}{x.shape}{x.tobytes().hex()}"
    if isinstance(x, (tuple, list)):
        return f"{type(x).__name__}({', '.join(map(plain_text, x))})"
    if isinstance(x, dict):
        return plain_text([item for key in sorted(x) for item in (key, x[key])])
    return f"{type(x).__name__} {x!r}"


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

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        # A condition, which is a symbol, may stand beside a tensor.
        args = [Traced.holding(x) if isinstance(x, Symbol) else x for x in args]
        return super().__array_function__(function, [x for x in types if x is not Symbol], args, options)

    def backward(self, *_: Any, **__: Any) -> Any:
        raise Refused("it calls backward, which fills .grad; return the loss, or use mt.grad")

    def retain_grad(self) -> Any:
        raise Refused("it calls retain_grad; return that tensor too")

    def _replace(self, array: Any) -> None:
        raise Refused("it gives a tensor another value")

    def detach(self) -> Traced:
        return Traced.holding(self._array)  # type: ignore[arg-type]


class Tracer:
    """What a call does while a function is traced: it makes a symbol.

    Attributes
    ----------
    refusal : str
        Why the function cannot be compiled; empty while it can.
    checks, effects : list of (callable, list)
        What is called after each run of the program, and its arguments: first what may raise an error.
    check : callable
        Refuses an operation that may depend on something else than its arguments.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self.refusal, self.check = "", check
        self.checks: list[tuple[Callable[..., None], list[Any]]] = []
        self.effects: list[tuple[Callable[..., None], list[Any]]] = []

    def later(self, action: Callable[..., None], args: Sequence[Any], first: bool = False) -> None:
        """Call an action after each run of the program, with the tensors of the run."""
        found = [self.of(x) if isinstance(x, TensorBase) else x for x in args]
        (self.checks if first else self.effects).append((action, found))

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

    def draws(self) -> None:
        """Refuse a function that draws numbers, because a program would draw none."""
        raise Refused("it draws random numbers")

    def made(self, x: Tensor) -> None:
        """Make a tensor that the function has made from plain values a constant of the program."""
        symbol = symbol_of(x._array)
        symbol.label = x._name
        x._array, x.__class__ = symbol, Traced  # type: ignore[assignment]

    def of(self, x: Any) -> Any:
        """The symbol of an argument; a constant as it is."""
        array = as_array(x)
        if isinstance(array, Symbol):
            return array
        # A walk starts with a tensor of its own.
        if isinstance(x, TensorBase) and x._origin != "backward":
            what = f"{x._name!r}" if x._name else f"of shape {x._array.shape}"
            raise Refused(f"it uses the tensor {what}, which is not an argument; pass it as one")
        return operand(array)

    def symbol(self, primitive: Any, args: list[Any], params: dict[str, Any]) -> Symbol:
        """The symbol of a call."""
        if primitive in ELEMENTWISE:
            return each_element(ELEMENTWISE[primitive], primitive.forward, args)
        ufunc: Any = primitive.forward
        if isinstance(ufunc, np.ufunc) and getattr(np, ufunc.__name__, None) == ufunc:
            return of_ufunc(ufunc, args)
        if primitive in (indexing.getitem, indexing.put):
            shape = _in_order(params.get("shape", args[0].shape), params["index"])
            if shape is not None:
                primitive, params = core.reshape, {"shape": params.get("shape", shape)}
        if not self._is_known(primitive, args, params):
            return self._run_once(primitive, args, params)
        dtype = np.dtype(params.get("dtype") or args[0].dtype)
        shape = SHAPES[primitive](*args, **params)
        return Symbol(primitive.name, tuple(args), shape, dtype, params, primitive.forward)

    def _run_once(self, primitive: Any, args: list[Any], params: dict[str, Any]) -> Symbol:
        """The symbol of any other call. Shape and dtype come from a call with arrays that hold no values."""
        self.check(primitive)
        inputs = list(args)
        given = {name: self._lifted(value, inputs) for name, value in params.items()}
        thin = [_thin(x) for x in inputs]
        options = {name: placed(value, thin) for name, value in given.items()}
        found = np.asarray(quietly(primitive.forward, *thin[: len(args)], **options))
        return Symbol(primitive.name, tuple(inputs), found.shape, found.dtype, given, primitive.forward, fuses=False)

    def _lifted(self, value: Any, inputs: list[Any]) -> Any:
        """An option without tensors: symbols become inputs, and slots are in their places."""
        if isinstance(value, (tuple, list)):
            return type(value)(self._lifted(item, inputs) for item in value)
        array = as_array(value) if isinstance(value, TensorBase) else value
        if not isinstance(array, Symbol):
            return array
        if array.dtype.kind == "b":
            raise Refused("it selects by a condition, so the shape of what it computes may depend on values")
        inputs.append(array)
        return Slot(len(inputs) - 1)

    def _is_known(self, primitive: Any, args: list[Any], params: dict[str, Any]) -> bool:
        """Whether a call is among those of SHAPES; of one that takes indices, whether these are of the right kind."""
        if primitive not in SHAPES or not all(isinstance(x, Symbol) for x in args):
            return False
        if primitive not in (indexing.pick, indexing.place):
            return all(x.dtype.kind in ("f" if primitive in _SUMS else "fb") for x in args)
        x, indices = args
        axis = params.get("axis", -1) % (x.ndim + (primitive is indexing.place))
        rest = x.shape[:axis] + x.shape[axis + 1 :] if primitive is indexing.pick else x.shape
        if x.dtype.kind != "f" or indices.dtype.kind not in "iu" or indices.shape != rest:
            return False
        size = params.get("size") or x.shape[axis]
        # Whoever has seen to them already may name itself in the error.
        if not any(given[0] is indices and given[1:3] == [0, size] for _, given in self.checks):
            text = f"{primitive.name}: index {{}} is out of range for axis {axis} with size {size}"
            self.later(indexing.check_indices, [indices, 0, size, text], first=True)
        return True


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

    def __init__(self, call: Callable[..., Any], tensors: Sequence[Tensor], check: Callable[[Any], None]) -> None:
        self.inputs = [Symbol(f"in{i}", (), x.shape, x.dtype) for i, x in enumerate(tensors)]
        self.needs = [i for i, x in enumerate(tensors) if x._requires_grad]
        tracer = Tracer(check)
        leaves: list[Tensor] = [Traced.holding(symbol) for symbol in self.inputs]
        for leaf, x in zip(leaves, tensors, strict=True):
            leaf._requires_grad, leaf._name = x._requires_grad, x._name
        self.cotangents: list[Symbol] = []
        self.gradients: list[dict[int, Symbol]] = []
        with tracing(tracer):
            found = call(*leaves)
            self.several = type(found) if type(found) in (tuple, list) else None
            results = list(found) if self.several else [found]
            others = [y for y in results if not isinstance(y, TensorBase)] if results else [found]
            if others:
                kind = "an array of NumPy" if isinstance(others[0], Symbol) else f"a {type(others[0]).__name__}"
                place = f" in a {type(found).__name__}" if others[0] is not found else ""
                raise Refused(f"it returns {kind}{place}, not one tensor or a tuple or list of tensors")
            self.outputs = [tracer.of(y) for y in results]
            self.names = [y._name for y in results]
            wanted = {x: i for i, x in enumerate(leaves) if x._requires_grad}
            for i, y in enumerate(results):
                self.cotangents.append(Symbol(f"g{i}", (), y.shape, y.dtype))
                pulled = {}
                if y._requires_grad:
                    pulled = run({y: Traced.holding(self.cotangents[i])}, set(wanted), create_graph=True)
                self.gradients.append({wanted[x]: tracer.of(g) for x, g in pulled.items()})
        self.effects = tracer.checks + tracer.effects
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
            (
                s.op,
                [number[x.index] if isinstance(x, Symbol) else plain_text(x) for x in s.args],
                s.shape,
                plain_text(s.params),
                plain_text(s.value),
            )
            for s in symbols
        ]
