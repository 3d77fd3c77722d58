"""Writes a kernel as a NumPy function: plain, for people to read, or in blocks of arrays that stay in the cache."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from microtensor.compiling.ir import FREE, REDUCTIONS, Value, is_placed
from microtensor.compiling.schedule import Kernel, Sweep
from microtensor.compiling.trace import ELEMENTWISE

INFIX = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"}
OPERATORS = INFIX | {
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
    "invert": "~{}",
}
SUMMED = {"sum": "add", "max": "maximum", "min": "minimum"}
START = {"sum": "0.0", "max": "-inf", "min": "inf"}
BLOCK = 1 << 18
# What a generated program may name.
NAMESPACE: dict[str, Any] = {p.name: p.forward for p in ELEMENTWISE} | {"inf": np.inf, "nan": np.nan}


def names_of(kernel: Kernel) -> dict[Value, str]:
    """A name for each value: that of an argument or a result, or v and a number."""
    given = {v: name for v, (name, _) in [*kernel.bound.items(), *kernel.results.items()]}
    others = [v for v in kernel.order if v not in given]
    return {v: f"v{i}" for i, v in enumerate(others, 1)} | given


class NumpyWriter:
    """Writes the function of a kernel.

    Every array has all axes, of size 1 where it does not vary. The function returns a tuple of results.

    Parameters
    ----------
    kernel : Kernel
    name : str
        The name of the function.
    dtype : dtype
    blocks : bool
        Whether the function goes through the arrays in blocks.
    labels : dict, optional
        Comments.
    """

    def __init__(
        self, kernel: Kernel, name: str, dtype: np.dtype[Any], blocks: bool, labels: dict[Value, str] | None = None
    ) -> None:
        self.kernel, self.dtype, self.blocks, self.labels = kernel, dtype, blocks, labels or {}
        self.sizes = kernel.algebra.sizes
        self.names = names_of(kernel)
        self.lines = [f"def {name}({', '.join(given for given, _ in kernel.bound.values())}):"]
        self.indent, self.inside = "    ", False
        # Slices along the innermost axis would be scattered in memory.
        self.outer = frozenset[int]() if max(kernel.full) in kernel.outer else kernel.outer
        self.axis = self._axis() if blocks else None
        # What is read in parts inside the loop over blocks, and the names of the parts.
        self.parts: dict[Value, str] = {}
        if self.axis is None:
            self._small(kernel.order)
        else:
            self._small(kernel.first)
            if self.outer:
                self._loop(kernel.sweeps, self.axis)
            else:
                for sweep in kernel.sweeps:
                    self._small(sweep.before)
                    self._loop([replace(sweep, before=[])], self.axis)
            self._small(kernel.last)
        self._put(f"return {', '.join(name for name, _ in kernel.results.values())}")
        if len(kernel.results) == 1:
            self.lines[-1] += ","

    @property
    def source(self) -> str:
        return "\n".join(self.lines) + "\n"

    def _axis(self) -> int | None:
        """The axis that is cut into blocks, if the arrays are large: the first one whose slices are small."""
        whole = math.prod(self.sizes) * self.dtype.itemsize
        if whole <= 2 * BLOCK or not self.kernel.sweeps:
            return None
        axes = sorted(self.outer or self.kernel.full)
        return next((a for a in axes if whole // self.sizes[a] <= BLOCK), max(axes, key=lambda a: self.sizes[a]))

    def _put(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def _shape(self, value: Value) -> tuple[int, ...]:
        return tuple(n if i in value.axes else 1 for i, n in enumerate(self.sizes))

    def _kind(self, value: Value) -> str:
        return "bool" if value.truth else "int64" if value.whole else self.dtype.name

    def _read(self, value: Any) -> str:
        if not isinstance(value, Value):
            return str(value)
        if value.op == "const":
            return repr(value.args[0])
        if value.op == "position":
            part = "[part]" if self.inside and value.args[0] == self.axis else ""
            return f"arange({self.sizes[value.args[0]]}).reshape{self._shape(value)}{part}"
        return self.parts.get(value, self.names[value])

    def _text(self, value: Value) -> str:
        """The expression of a value."""
        args = [self._read(x) for x in value.of]
        if value.op in OPERATORS:
            return OPERATORS[value.op].format(*(f"({a})" if a.startswith("-") else a for a in args))
        if value.op in REDUCTIONS:
            over = tuple(sorted(value.of[0].axes - value.axes))
            return f"{SUMMED[value.op]}.reduce({args[0]}, axis={over}, keepdims=True)"
        if value.op == "where" and not value.whole and value.of[2].op == "const":
            if value.of[1].op == "const":
                args[2] = f"{self.dtype.name}({args[2]})"
            elif self.blocks and value.of[2].args[0] == 0:
                # Several times as fast.
                return f"masked({args[1]}, {args[0]})"
        if value.op == "copy":
            return f"full({self._shape(value)}, {args[0]}, {self._kind(value)})"
        return f"{value.op}({', '.join(args)})"

    def _assign(self, value: Value) -> None:
        note = self.labels.get(value, "")
        self._put(f"{self._read(value)} = {self._text(value)}" + (f"  # {note}" if note else ""))

    def _small(self, values: list[Value]) -> None:
        for value in values:
            self._assign(value)

    # --- the loop over blocks -----------------------------------------------------------------------------------

    def _loop(self, sweeps: list[Sweep], axis: int) -> None:
        """Several sweeps in one loop over blocks."""
        # Outside a common loop everything that is not of full size is kept whole.
        found = [v for sweep in sweeps for v in (*sweep.before, *sweep.reductions, *sweep.stores)]
        whole = [v for v in found if v in self.kernel.kept or v in self.kernel.results or not self.outer]
        for value in whole:
            start = START[value.op] if value.op in REDUCTIONS else "0.0"
            adds = value.op in REDUCTIONS and axis not in value.axes
            made = f"full({self._shape(value)}, {start}" if adds else f"empty({self._shape(value)}"
            self._put(f"{self.names[value]} = {made}, {self._kind(value)})")
        step = max(1, BLOCK * self.sizes[axis] // (self.dtype.itemsize * math.prod(self.sizes)))
        self._put(f"for i in range(0, {self.sizes[axis]}, {step}):")
        self.indent, self.inside = self.indent + "    ", True
        self._put(f"part = {'slice(None), ' * axis}slice(i, i + {step})")
        # A block is in the cache, so a later sweep reads what an earlier one has computed.
        body = dict.fromkeys(v for sweep in sweeps for v in self.kernel.body(sweep))
        self.uses = Counter(x for v in dict.fromkeys([*found, *body]) for x in v.of)
        self.uses.update(list(self.kernel.results))
        self.products = {v.of[0] for v in found if v.op == "sum" and self._is_product(v.of[0])}
        self.products |= {x.of[0] for x in self.products if is_placed(x) and self.uses[x.of[0]] == 1}
        for sweep in sweeps:
            for value in sweep.before:
                self._part(value, value in whole)
            self._sweep([v for v in self.kernel.body(sweep) if v in body], sweep, whole)
            for value in self.kernel.body(sweep):
                body.pop(value, None)
        self.indent, self.inside = "    ", False
        self.parts.clear()

    def _is_product(self, x: Value) -> bool:
        """Whether x is a product, or an element at an index, that only one sum needs."""
        if is_placed(x):
            return self.uses[x] == 1 and x.of[1].axes == x.axes and self.axis not in x.of[0].of[1].axes
        return x.op == "multiply" and self.uses[x] == 1 and all(a.axes == x.axes and not a.truth for a in x.of)

    def _slice(self, value: Value) -> str:
        return f"{self.names[value]}[part]" if self.axis in value.axes else self.names[value]

    def _part(self, value: Value, whole: bool) -> None:
        """A small value of this block."""
        self._given(value)
        text = self._text(value)
        if whole and self.axis in value.axes:
            self.parts[value] = f"{self.names[value]}_"
            self._put(f"{self.parts[value]} = {self._slice(value)} = {text}")
        else:
            self._put(f"{self.names[value]} = {text}")

    def _given(self, value: Value) -> None:
        """Cut what a value is computed from into the part of this block."""
        for x in value.of:
            if x.op not in FREE and self.axis in x.axes and x not in self.parts and self._is_whole(x):
                self.parts[x] = f"{self.names[x]}_"
                self._put(f"{self.parts[x]} = {self._slice(x)}")

    def _is_whole(self, x: Value) -> bool:
        kept = x in self.kernel.bound or x in self.kernel.first or x in self.kernel.results
        return kept or (x.axes != self.kernel.full and not self.outer)

    def _sweep(self, body: list[Value], sweep: Sweep, whole: list[Value]) -> None:
        waiting = [r for r in sweep.reductions if r.of[0] not in body]
        for value in body:
            self._given(value)
            if value not in self.products:
                self._full(value, value in whole)
                self.uses.subtract(value.of)
            for r in [r for r in sweep.reductions if r.of[0] is value]:
                self._reduce(r, r in whole)
        for r in waiting:
            self._given(r)
            self._reduce(r, r in whole)

    def _full(self, value: Value, stored: bool) -> None:
        """A value of full size, computed in the memory of an argument that is not needed any more, if possible."""
        name, args = self.names[value], [self._read(x) for x in value.of]
        ufunc = isinstance(getattr(np, value.op, None), np.ufunc) and not value.truth
        free = [x for x in value.of if self.uses[x] == value.of.count(x) and x in self.kernel.order and not x.truth]
        free = [x for x in free if x.axes == value.axes and x not in self.kernel.results]
        if stored and (value.op == "copy" or not ufunc):
            text = args[0] if value.op == "copy" else self._text(value)
            self.parts[value] = f"{name}_"
            self._put(f"{self.parts[value]} = {self._slice(value)} = {text}")
        elif stored:
            self.parts[value] = f"{name}_"
            self._put(f"{self.parts[value]} = {value.op}({', '.join(args)}, out={self._slice(value)})")
        elif free and ufunc:
            self._put(f"{name} = {value.op}({', '.join(args)}, out={self._read(free[0])})")
        else:
            self._put(f"{name} = {self._text(value)}")

    def _reduce(self, value: Value, whole: bool) -> None:
        name, x = self.names[value], value.of[0]
        text = self._product(value, x) if x in self.products else self._text(value)
        self.uses.subtract(x.of if x in self.products else [x])
        if not whole:
            self._put(f"{name} = {text}")
        elif self.axis in value.axes:
            self.parts[value] = f"{name}_"
            self._put(f"{self.parts[value]} = {self._slice(value)} = {text}")
        elif value.op == "sum":
            self._put(f"{name} += {text}")
        else:
            self._put(f"{SUMMED[value.op]}({name}, {text}, out={name})")

    def _product(self, value: Value, x: Value) -> str:
        """The sum of a product or an element at an index, without an array of all of them."""
        if is_placed(x):
            return f"take_along_axis({self._read(x.of[1])}, {self._read(x.of[0].of[0])}, {x.of[0].of[1].args[0]})"
        args = ", ".join(self._read(a) for a in x.of)
        over = x.axes - value.axes
        if over == {len(self.sizes) - 1}:
            return f"vecdot({args})[..., None]"
        letters = "abcdefghijklmnopqrstuvwxyz"[: len(self.sizes)]
        kept = "".join(letters[a] for a in sorted(value.axes))
        shape = tuple(-1 if a == self.axis and a in value.axes else n for a, n in enumerate(self._shape(value)))
        return f"einsum('{letters},{letters}->{kept}', {args}).reshape({shape})"
