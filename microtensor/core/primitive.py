"""First: what an operation is, and the record of a call.

Nothing here knows a particular operation. :class:`Primitive` is an operation: a NumPy function and one derivative
rule per argument. :class:`Node` is the record of one call of it. :class:`TensorBase` is the part of a tensor that the
engine reads and writes; the tensor itself comes last, in ``tensor.py``.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from microtensor.support import calls
from microtensor.support.arrays import IGNORED, Array, get_errors, own_array, refuse_lossy, set_errors
from microtensor.support.errors import check_result, explained
from microtensor.support.modes import Scope, calling_line, current_mode

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

Rule: TypeAlias = Callable[..., Any]
Params: TypeAlias = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")
_created = itertools.count()
_new = object.__new__
# Shared by all calls without options; nobody writes to params.
_NO_PARAMS: Params = {}
_PLAIN = frozenset({np.ndarray, float, int, bool})


class TensorBase:
    """The part of a tensor that the engine uses: its value, its history, its gradient and its watch."""

    __slots__ = ("__weakref__", "_array", "_grad", "_name", "_node", "_origin", "_requires_grad", "_version", "_watch")

    _array: Array
    _node: Node | None
    _requires_grad: bool
    _grad: Tensor | None
    _version: int  # how often the value was replaced
    _name: str | None
    _watch: Watch | None
    # Why it has no history: it starts a "backward" pass, was "computed" from tensors without history, was "detached",
    # or was left "unrecorded"; "" for a leaf.
    _origin: str


class Watch:
    """What a backward pass must do at a tensor: call hooks, keep its gradient, keep the whole walk."""

    __slots__ = ("hooks", "retains_grad", "walk")

    def __init__(self) -> None:
        self.hooks: dict[object, Callable[[Any], Any]] = {}
        self.retains_grad = False
        self.walk: tuple[Array, list[Any]] | None = None


class Node:
    """The record of one call: the primitive, its inputs and options, and the place. Plain data.

    Attributes
    ----------
    primitive : Primitive
    inputs : tuple
        Tensors and constant arrays, in the order of the call; empty once the graph has been freed.
    params : dict
        The options of the call.
    scope : Scope or None
    version : int
        Sum of the versions of the inputs when they were read.
    line : str
        Where the program made the call; empty unless lines are traced.
    index : int
        Creation number. An input is made before its output, so this order is topological.
    spent : bool
        A backward pass has used this record up.
    """

    __slots__ = ("index", "inputs", "line", "params", "primitive", "scope", "spent", "version")

    def __init__(
        self, primitive: Any, inputs: tuple[Any, ...], params: Params, scope: Scope | None, version: int, line: str
    ) -> None:
        self.primitive, self.inputs, self.params = primitive, inputs, params
        self.scope, self.version, self.line = scope, version, line
        self.index, self.spent = next(_created), False

    def __repr__(self) -> str:
        return f"<{repr(self.primitive.name)[1:-1]}>"


_tensor_type: type[TensorBase] = TensorBase


def use_tensor_type(kind: type[TensorBase]) -> None:
    """Make `kind` the type of all results."""
    global _tensor_type
    _tensor_type = kind


def new_tensor(array: Array, node: Node | None = None, origin: str = "") -> Any:
    """A tensor that holds `array` itself, so nobody else may write to it. With a node it requires a gradient."""
    out = _new(_tensor_type)
    out._array, out._node, out._requires_grad = array, node, node is not None
    out._grad = out._name = out._watch = None
    out._version, out._origin = 0, origin
    return out


def as_array(x: Any) -> Any:
    """The array inside a tensor; anything else is returned as it is.

    Raises
    ------
    TypeError
        x is a masked array or a matrix.
    """
    if isinstance(x, TensorBase):
        return x._array
    if type(x) not in _PLAIN:
        refuse_lossy(x, "an argument")
    return x


def origin_of(inputs: tuple[Any, ...]) -> str:
    """Why a result of inputs without gradients has no history: as that of them whose word comes last."""
    return max("computed", *[x._origin for x in inputs if isinstance(x, TensorBase)])


def label(value: R, name: str | None) -> R:
    """Name a result for the pictures (μ, σ, x̂) and return it; an array is returned as it is."""
    if isinstance(value, TensorBase):
        value._name = name
    return value


class VariadicRule:
    """The rules of an operation with any number of arrays: ``rule(i, g, y, *inputs, **params)`` for input i."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, i: int) -> Rule:
        return partial(self.rule, i)


class Primitive(Generic[P]):
    """An operation: a NumPy function with one derivative rule per array. ``mt.primitive(...)`` makes one.

    Called with arrays, it returns an array. If one of them is a tensor, it returns a tensor. If one of them requires a
    gradient, the call is recorded. The arrays come first; options follow by position or by name.

    A rule is called as ``rule(g, y, *inputs, **params)``, where ``g`` is the cotangent of the output and ``y`` is the
    output. It returns the cotangent of one input. It must change nothing, and it must work on arrays and on tensors:
    the engine uses arrays for a first derivative and tensors for a higher one. The shape of what it returns must
    broadcast to the shape of the input, or the other way round.

    Parameters
    ----------
    name : str
        The public name.
    forward : callable
        ``forward(*arrays, **params)`` on NumPy arrays.
    *rules : callable or None
        One per array; None where there is no derivative. One :class:`VariadicRule` for any number of arrays.
    symbol : str, optional
        What a drawing shows in place of the name.
    rule_text : tuple of str
        The rules as formulas for the drawing. They use ``g``, ``y`` and the arguments: ``x``, or ``a``, ``b``, ``c``.
    settle : callable, optional
        ``settle(params, arrays)`` replaces options by a plain form. For example, an axis becomes a tuple of integers.
    doc : str
        The docstring.
    into : callable, optional
        For an operation with one array that reads a part of it: ``into(total, g, **params)`` adds what the rule would
        return to the array `total`, in place. So many parts of one array share one gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> cube = mt.primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)
    >>> cube(np.array([2.0]))
    array([8.])
    >>> x = mt.tensor([2.0], requires_grad=True)
    >>> mt.grad(cube(x), x)
    tensor([12.])
    """

    def __init__(
        self,
        name: str,
        forward: Callable[Concatenate[Any, P], Any],
        *rules: Rule | VariadicRule | tuple[Rule | None, ...] | None,
        symbol: str | None = None,
        rule_text: tuple[str, ...] = (),
        settle: Callable[..., Any] | None = None,
        doc: str = "",
        shown: tuple[str, ...] = (),
        into: Callable[..., None] | None = None,
    ) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        self.forward: Callable[..., Any] = forward
        self.rules: Any = rules[0] if len(rules) == 1 and isinstance(rules[0], (VariadicRule, tuple)) else rules
        self.arity = None if isinstance(self.rules, VariadicRule) else len(self.rules)
        self.symbol, self.into = symbol or name, into
        self.rule_text = rule_text or shown
        if shown:
            warnings.warn("primitive: shown= is now called rule_text=", DeprecationWarning, stacklevel=2)
        # NumPy's own functions have options, such as out, that a record must not have.
        self.settle = partial(calls.check, self) if settle is None and isinstance(forward, np.ufunc) else settle
        self.__doc__ = doc
        self.__module__ = sys._getframe(1).f_globals.get("__name__", "__main__")

    def __repr__(self) -> str:
        return f"<primitive {repr(self.name)[1:-1]}>"

    def __getattr__(self, name: str) -> Any:
        if name != "__signature__":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.__signature__ = calls.signature_of(self.forward, self.arity)
        return self.__signature__

    @overload
    def __call__(self, x: Array, /, *args: P.args, **params: P.kwargs) -> Any: ...

    @overload
    def __call__(self, x: Tensor | ArrayLike, /, *args: P.args, **params: P.kwargs) -> Tensor: ...

    def __call__(self, *inputs: Any, **params: Any) -> Any:  # type: ignore[misc]
        if len(inputs) != self.arity and self.arity is not None:
            inputs, params = calls.bound(self, inputs, params)
        tracked = needs_grad = constants = False
        version, arrays = 0, []
        for x in inputs:
            if isinstance(x, TensorBase):
                tracked = True
                needs_grad |= x._requires_grad
                version += x._version
                arrays.append(x._array)
            else:
                constants = True
                arrays.append(x)
        loud = get_errors()
        try:
            if params and self.settle is not None:
                self.settle(params, arrays)
            if not tracked:
                return self.forward(*arrays, **params)
            recording, scope, watched, lines, _, aside, tracer = current_mode()
            if tracer is not None:
                return tracer(self, inputs, params)
            # NaN and ∞ pass through a graph without a warning.
            set_errors(IGNORED)
            if constants:
                inputs = self._own_constants(inputs, arrays)
            value = self.forward(*arrays, **params)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, TypeError):
                calls.check(self, params, arrays)
            raise explained(error, self.name, arrays) from error
        finally:
            set_errors(loud)
        value = value if type(value) is np.ndarray else np.asarray(value)
        if watched:
            check_result(value, self.name, arrays, calling_line())
        # Integers have no gradient.
        if not (needs_grad and recording and value.dtype.kind == "f"):
            left = new_tensor(value, None, "unrecorded" if needs_grad else origin_of(inputs))
            return aside(left, self, inputs, params) if aside else left
        return new_tensor(value, Node(self, inputs, params or _NO_PARAMS, scope, version, lines() if lines else ""))

    def _own_constants(self, inputs: tuple[Any, ...], arrays: list[Any]) -> tuple[Any, ...]:
        """Copy all inputs that are not tensors into arrays, so that nobody can change a recorded value."""
        floats = [x._array.dtype for x in inputs if isinstance(x, TensorBase) and x._array.dtype.kind == "f"]
        own = list(inputs)
        for i, x in enumerate(inputs):
            if type(x) is float or type(x) is int:
                # A Python number is weak (NEP 50): it takes the dtype of the tensor it meets.
                own[i] = arrays[i] = np.array(x, floats[0]) if floats else x
            elif not isinstance(x, TensorBase):
                own[i] = arrays[i] = x if type(x) is bool else own_array(x, f"{self.name}: argument {i}")
        return tuple(own)


primitive = Primitive
Unary: TypeAlias = Primitive[[]]
Binary: TypeAlias = Primitive[[Any]]
