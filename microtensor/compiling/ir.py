"""The expressions of a kernel: functions of each element and sums, each made once, with four rules of algebra.

The rules move what does not vary along an axis out of sums along it: F·s·t = F·(s·t), Σ(F·s) = s·ΣF,
Σ(a + b) = Σa + Σb and x/s = x·(1/s). F is of full size; s and t do not vary along some of its axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microtensor.compiling.layout import Layouts
from microtensor.compiling.trace import ELEMENTWISE, Refused, Symbol, Trace

REDUCTIONS = ("sum", "max", "min")
# What takes no room: numbers, and the position along an axis.
FREE = ("const", "position")
_COMPARISONS = frozenset(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"))
_LOGICAL = frozenset(("logical_and", "logical_or", "logical_not", "isnan", "isinf", "isfinite"))
# These give booleans for booleans.
_BITS = frozenset(("invert", "bitwise_and", "bitwise_or", "copy", "max", "min"))
_ARITHMETIC = frozenset(("add", "subtract", "multiply", "divide", "negative", "absolute", "sqrt", "sign"))
_CHOICES = frozenset(("in", *FREE, "sum", "where", "maximum", "minimum", "floor", "ceil", "rint"))
# Whatever else is computed for each element takes as long as a pass over memory, or longer.
CHEAP = _COMPARISONS | _LOGICAL | _BITS | _ARITHMETIC | _CHOICES
SAME = ("reshape", "permute_dims", "broadcast_to", "same", "astype")
_FUNCTIONS = {primitive.name: primitive.forward for primitive in ELEMENTWISE}


class Value:
    """An expression: the operation, its arguments, and the axes that it varies over.

    Attributes
    ----------
    op : str
        "in", one of FREE or REDUCTIONS, "copy" to more axes, or a function of each element by its name in NumPy.
    args : tuple
        Values; the name of an input and the kind of its dtype, the number of a constant, the axis of a position.
    axes : frozenset of int
    number : int
        An argument has a smaller number.
    back : bool
        Whether it depends on a cotangent.
    summed : bool
        Whether it depends on a reduction.
    truth : bool
        Whether it holds booleans.
    whole : bool
        Whether it holds integers.
    costly : bool
        Whether it takes a function such as exp.
    """

    def __init__(self, op: str, args: tuple[Any, ...], axes: frozenset[int], number: int) -> None:
        self.op, self.args, self.axes, self.number = op, args, axes, number
        self.of = [x for x in args if isinstance(x, Value)]
        self.back: bool = any(x.back for x in self.of) or (op == "in" and args[0].startswith("g"))
        self.costly = op not in CHEAP
        self.summed: bool = op in REDUCTIONS or any(x.summed for x in self.of)
        constant = op == "const" and isinstance(args[0], bool)
        self.whole: bool = (
            op == "position"
            or (op == "in" and args[1] == "i")
            or (op == "const" and type(args[0]) is int)
            or (op in ("where", "copy") and self.of[-1].whole)
        )
        self.truth: bool = op in _COMPARISONS | _LOGICAL or constant or (op in _BITS and all(x.truth for x in self.of))


def is_placed(x: Value) -> bool:
    """Whether x is 0 but where an index is the position along an axis."""
    return x.op == "where" and x.of[0].op == "equal" and x.of[0].of[1].op == "position"


class Algebra:
    """Makes expressions over axes of given sizes."""

    def __init__(self, sizes: list[int], full: frozenset[int]) -> None:
        self.sizes, self.full = sizes, full
        self.made: dict[Any, Value] = {}

    def make(self, op: str, *args: Any, axes: frozenset[int] | None = None) -> Value:
        """The expression with this operation and these arguments; there is only one."""
        axes = frozenset().union(*(x.axes for x in args if isinstance(x, Value))) if axes is None else axes
        key = op, *(x.number if isinstance(x, Value) else repr(x) for x in args), axes
        if key not in self.made:
            self.made[key] = Value(op, args, axes, len(self.made))
        return self.made[key]

    def constant(self, x: Any) -> Value:
        value = np.asarray(x)
        return self.make("const", bool(x) if value.dtype.kind == "b" else float(x), axes=frozenset())

    def integer(self, x: Any) -> Value:
        return self.make("const", int(x), axes=frozenset())

    def each(self, op: str, *args: Value) -> Value:
        """A function of each element."""
        if args and all(x.op == "const" for x in args):
            function = _FUNCTIONS.get(op) or getattr(np, op)
            with np.errstate(all="ignore"):
                return self.constant(function(*(np.asarray(x.args[0]) for x in args)))
        special = getattr(self, f"_{op}", None)
        made: Value = special(*args) if special else self.make(op, *args)
        return made

    def small(self, x: Value) -> bool:
        return x.axes != self.full

    def _negative(self, a: Value) -> Value:
        if a.op == "negative":
            found: Value = a.args[0]
            return found
        if a.op == "multiply" and self.small(a.args[1]):
            return self._multiply(a.args[0], self.each("negative", a.args[1]))
        return self.make("negative", a)

    def _square(self, a: Value) -> Value:
        return self._multiply(a, a)

    def _relu(self, a: Value) -> Value:
        return self.make("maximum", a, self.constant(0))

    def _masked(self, a: Value, mask: Value) -> Value:
        return self.make("where", mask, a, self.constant(0))

    def _add(self, a: Value, b: Value) -> Value:
        if b.op == "negative":
            return self.make("subtract", a, b.args[0])
        return self.make("add", a, b)

    def _subtract(self, a: Value, b: Value) -> Value:
        if b.op == "negative":
            return self.make("add", a, b.args[0])
        return self.make("subtract", a, b)

    def _multiply(self, a: Value, b: Value) -> Value:
        if a.truth or b.truth:
            return self.make("multiply", a, b)
        # The factor with more axes comes first.
        if (len(a.axes), a.op != "const", -a.number) < (len(b.axes), b.op != "const", -b.number):
            a, b = b, a
        if b.op == "const" and b.args[0] == 1:
            return a
        if b.op == "const" and b.args[0] == -1:
            return self.each("negative", a)
        if a.op == "multiply" and a.args[1].op == "const" == b.op:
            return self._multiply(a.args[0], self.each("multiply", a.args[1], b))
        if a.op == "multiply" and a.args[0].axes == a.axes and (a.args[1].axes | b.axes) < a.axes:
            return self._multiply(a.args[0], self.each("multiply", a.args[1], b))
        for p, q in ((a, b), (b, a)):
            if a.axes == b.axes and q.op == "multiply" and q.args[1].axes < q.axes and p is not q:
                return self._multiply(self._multiply(p, q.args[0]), q.args[1])
        return self.make("multiply", a, b)

    def _divide(self, a: Value, b: Value) -> Value:
        if a.truth or b.truth:
            return self.make("divide", a, b)
        if b.op == "const" and b.args[0] != 0 and math.isfinite(b.args[0]):
            return self._multiply(a, self.constant(1 / b.args[0]))
        if b.axes < a.axes:
            return self._multiply(a, self.make("divide", self.constant(1), b))
        return self.make("divide", a, b)

    def total(self, a: Value, over: frozenset[int]) -> Value:
        """The sum along some axes."""
        if a.truth:
            raise Refused("it sums a condition; write where(condition, 1.0, 0.0)")
        if is_placed(a):
            # One element is not 0, because the index is in range.
            along = a.args[0].args[1].axes
            if along <= over and not along & a.args[1].axes:
                return self.total(a.args[1], over - along)
        repeated = math.prod(self.sizes[i] for i in over - a.axes)
        over &= a.axes
        if repeated != 1:
            return self.each("multiply", self.total(a, over), self.constant(repeated))
        if not over:
            return a
        if a.op == "negative":
            return self.each("negative", self.total(a.args[0], over))
        if a.op == "multiply":
            for p, q in (a.args, a.args[::-1]):
                if not q.axes & over and not p.truth and not q.truth:
                    return self.each("multiply", self.total(p, over), q)
        # Only where a factor waits for another sum of the backward pass: the sums then need one sweep. Elsewhere the
        # sum of a difference may be small where both sums are large.
        if a.op in ("add", "subtract") and any(self._waits(x, over) for x in a.args):
            return self.each(a.op, *(self.total(x, over) for x in a.args))
        return self.make("sum", a, axes=a.axes - over)

    def at(self, index: Value, axis: frozenset[int], x: Value) -> Value:
        """x where `index` is the position along an axis, 0 elsewhere."""
        (along,) = axis
        mask = self.make("equal", index, self.make("position", along, axes=axis))
        return self.make("where", mask, x, self.constant(0))

    def picked(self, x: Value, index: Value, axis: frozenset[int], known: dict[Value, Value]) -> Value:
        """x at an index along an axis. Functions of each element are applied to what is picked from their arguments."""
        if not axis & x.axes:
            return x
        if x not in known:
            if x.op == "in" or x.op in REDUCTIONS:
                known[x] = self.make("sum", self.at(index, axis, x), axes=(x.axes | index.axes) - axis)
            else:
                known[x] = self.each(x.op, *(self.picked(v, index, axis, known) for v in x.of))
        return known[x]

    def _waits(self, a: Value, over: frozenset[int]) -> bool:
        if a.op in ("add", "subtract", "negative"):
            return any(self._waits(x, over) for x in a.of)
        small = [x for x in (a.args if a.op == "multiply" else (a,)) if not x.axes & over]
        return any(x.back and x.summed for x in small)


class Lowered:
    """A trace as expressions.

    Attributes
    ----------
    algebra : Algebra
    layouts : Layouts
    values : dict
        The expression of each symbol, by its index.
    """

    def __init__(self, trace: Trace) -> None:
        symbols = trace.symbols()
        kinds = {s.dtype for s in symbols if s.dtype.kind not in "biu"}
        odd = next((s.dtype for s in symbols if s.dtype.char not in "fd?bBhHiIlLqQ"), None)
        if odd is not None or len(kinds) != 1:
            found = odd or " and ".join(sorted(str(kind) for kind in kinds)) or "integers"
            raise Refused(f"it computes in {found}; all of it must be float32, or all of it float64")
        if any(y.dtype.kind != "f" for y in trace.outputs):
            raise Refused("it returns a condition or integers, which are no tensor of floats")
        if not all(s.size for s in symbols) or not any(s.size > 1 for s in symbols):
            raise Refused("there is at most one element")
        (self.dtype,) = kinds
        self.layouts = Layouts(trace)
        self.algebra = Algebra(self.layouts.sizes, self.layouts.full)
        self.values: dict[int, Value] = {}
        for symbol in symbols:
            self.values[symbol.index] = self._value(symbol)

    def axes(self, symbol: Symbol) -> frozenset[int]:
        return frozenset(self.layouts.of[symbol.index])

    def _compared(self, symbol: Symbol) -> bool:
        """Whether it compares or chooses integers. Nothing else is done with them: they are kept as they are."""
        given = [x for x in symbol.args if isinstance(x, Symbol)]
        kinds = {x.dtype.kind.replace("u", "i") for x in given if x.dtype.kind != "b"}
        constants = [x for x in symbol.args if not isinstance(x, Symbol)]
        chosen = symbol.dtype.kind in "iu"
        if symbol.op in ("pick", "place") and given[0].dtype.kind == "f":
            return False
        if "i" not in kinds and not chosen:
            return False
        same = kinds == {"i"} and all(x == int(x) for x in constants)
        if not same or given[0].dtype == np.uint64 or symbol.op not in _COMPARISONS | {*SAME, "where"}:
            raise Refused(f"{symbol.op} is computed with integers; they can be compared, or be the indices of pick")
        return True

    def _value(self, symbol: Symbol) -> Value:
        algebra, op = self.algebra, symbol.op
        if not symbol.args:
            return algebra.make("in", op, symbol.dtype.kind.replace("u", "i"), axes=self.axes(symbol))
        whole = self._compared(symbol)
        constant = algebra.integer if whole else algebra.constant
        args = [self.values[x.index] if isinstance(x, Symbol) else constant(x) for x in symbol.args]
        if op in SAME:
            return args[0]
        if op in ("pick", "place"):
            x, index = args
            axis = self.axes(symbol) ^ self.axes(symbol.args[0])
            if len(axis) > 1:
                raise Refused(f"{op} goes along an axis that another shape cuts into several")
            if op == "place":
                return algebra.at(index, axis, x) if axis else x
            return algebra.picked(x, index, axis, {})
        if op not in ("sum", "mean", "max", "min", "sum_to", "contract_to"):
            return algebra.each(op, *args)
        given = (self.axes(x) for x in symbol.args if isinstance(x, Symbol))
        over = frozenset().union(*given) - self.axes(symbol)
        if op in ("max", "min"):
            left = args[0].axes - over
            return algebra.make(op, args[0], axes=left) if left != args[0].axes else args[0]
        found = algebra.total(algebra.each("multiply", *args) if op == "contract_to" else args[0], over)
        count = math.prod(algebra.sizes[i] for i in over)
        return algebra.each("multiply", found, algebra.constant(1 / count)) if op == "mean" else found
