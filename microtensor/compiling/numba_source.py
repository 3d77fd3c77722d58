"""Writes a kernel as loops, which numba compiles: each sweep is one nest of loops over the elements."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np

from microtensor.compiling.functions import FAST
from microtensor.compiling.ir import FREE, REDUCTIONS, Value
from microtensor.compiling.layout import Layout
from microtensor.compiling.numpy_source import OPERATORS, names_of
from microtensor.compiling.schedule import Kernel, Sweep

# Elements of the innermost axis that are swept together: several arrays of so many stay in the first cache. It also
# bounds how many elements are added up one by one.
TILE = 1024
FORMS = (
    OPERATORS
    | {
        "invert": "not {}",
        "bitwise_and": "{} and {}",
        "bitwise_or": "{} or {}",
        "maximum": "maximum({}, {})",
        "minimum": "minimum({}, {})",
        "max": "maximum({}, {})",
        "min": "minimum({}, {})",
        "sum": "{} + {}",
        "where": "where({}, {}, {})",
        "copy": "{}",
        "power": "{} ** {}",
        "absolute": "abs({})",
        "sign": "where({0} > 0, one, where({0} < 0, -one, {0}))",
    }
    | {name: f"{name}({{}})" for name in FAST}
    | {name: f"math.{name}({{}})" for name in ("sqrt", "sin", "cos")}
)
_INDEX = re.compile(r"\[(i\d+ [^\]]*)\]")
_NUMBER = re.compile(r"real\((-?(?:\d[\d.e+-]*|np\.inf|np\.nan))\)")
STARTS = {"sum": "real(0)", "max": "real(-np.inf)", "min": "real(np.inf)"}


def with_constants(source: str) -> str:
    """The source with its numbers as constants before it: to convert one takes numba as long as an operation."""
    names = {number: f"c{i}" for i, number in enumerate(dict.fromkeys(_NUMBER.findall(source)))}
    constants = "".join(f"{name} = real({number})\n" for number, name in names.items())
    return f"{constants}\n\n{_NUMBER.sub(lambda found: names[found[1]], source)}"


class NumbaWriter:
    """Writes the function of a kernel. It takes the given arrays and the results, all of them flat.

    A value that does not vary inside the outer loop is a number, or for a tile of the innermost axis a short array.
    Other small values are arrays. Sums of numbers along a row are kept in a number; sums of rows in float64.
    """

    def __init__(self, kernel: Kernel, name: str, dtype: np.dtype[Any]) -> None:
        self.kernel, self.sizes = kernel, kernel.algebra.sizes
        self.names = names_of(kernel)
        self.last = max(kernel.full)
        self.tiled = self.last in kernel.outer
        self.layouts: dict[Value, Layout] = {
            v: layout for v, (_, layout) in [*kernel.bound.items(), *kernel.results.items()]
        }
        self.numbers: set[Value] = set()
        self.tiles: set[Value] = set()
        self.in_tile = self.after = False
        used = {x for s in kernel.sweeps for v in (*s.before, *kernel.body(s)) for x in v.of}
        self.inner = {v for s in kernel.sweeps for v in s.reductions if v in used}
        self.late = [v for s in kernel.sweeps for v in s.reductions if v not in self.inner]
        arguments = [given for given, _ in [*kernel.bound.values(), *kernel.results.values()]]
        self.lines = [f"def {name}({', '.join(arguments)}):"]
        self.depth = 1
        self._store()
        self._small(kernel.first, frozenset())
        self._sweeps()
        for value in self.late:
            self._loops(sorted(value.axes))
            self._put(f"{self._at(value)} = {self._total(value)}")
            self.depth = 1
        self.after = True
        self._small(kernel.last, frozenset())
        if len(self.lines) == 1:
            self._put("pass")

    @property
    def source(self) -> str:
        """The text, in which neighbouring lines share their indices: each operation takes numba some milliseconds."""
        found: list[str] = []
        for depth, group in groupby(self.lines, key=lambda line: len(line) - len(line.lstrip())):
            text = "\n".join(group) + "\n"
            counts = Counter(_INDEX.findall(text))
            for index in [index for index, count in counts.items() if count > 1]:
                name = f"p{len(found)}"
                found.append(f"{' ' * depth}{name} = {index}\n")
                text = text.replace(f"[{index}]", f"[{name}]")
            found.append(text)
        return "".join(found)

    # --- where values are kept ------------------------------------------------------------------------------------

    def _store(self) -> None:
        """Choose a place for each value that is not of full size, and make the arrays."""
        kernel = self.kernel
        inside = {v for s in kernel.sweeps for v in s.before} | self.inner
        for value in kernel.order:
            if value.axes == kernel.full:
                continue
            whole = value in kernel.results or value in kernel.kept
            if value in inside and value.axes == kernel.outer and not self.tiled:
                self.numbers.add(value)
            elif value in inside and value.axes == kernel.outer and not whole:
                self.tiles.add(value)
            elif not value.axes and not whole:
                self.numbers.add(value)
            kind = "np.bool_" if value.truth else "np.int64" if value.whole else "real"
            if value in self.late:
                # Arrays of its own, because loops are faster where no array can be a part of another one.
                wide = "np.float64" if self.last not in value.axes else "real"
                self._put(f"{self.names[value]}_w = np.full({self._size(value)}, {STARTS[value.op]}, {wide})")
            if value in kernel.results:
                continue
            self.layouts[value] = tuple(sorted(value.axes))
            if value in self.tiles:
                self._put(f"{self.names[value]} = np.empty({min(TILE, self.sizes[self.last])}, {kind})")
            elif value not in self.numbers or whole:
                self._put(f"{self._array(value)} = np.empty({self._size(value)}, {kind})")

    def _size(self, value: Value) -> int:
        return math.prod(self.sizes[a] for a in value.axes)

    def _array(self, value: Value) -> str:
        """The name of the array of a value, which may be a number too."""
        return self.names[value] + ("_all" if value in self.numbers and value not in self.kernel.results else "")

    def _number(self, value: Value) -> str:
        return self.names[value] + ("_n" if value in self.kernel.results else "")

    def _index(self, layout: Layout) -> str:
        terms, stride = [], 1
        for a in reversed(layout):
            terms.append(f"i{a} * {stride}" if stride > 1 else f"i{a}")
            stride *= self.sizes[a]
        return " + ".join(reversed(terms)) or "0"

    def _at(self, value: Value) -> str:
        """The element of a value in its array."""
        if value in self.tiles:
            return f"{self.names[value]}[i{self.last} - j0]"
        return f"{self._array(value)}[{self._index(self.layouts[value])}]"

    def _kept(self, value: Value) -> str:
        return self._number(value) if value in self.numbers else self._at(value)

    # --- text -----------------------------------------------------------------------------------------------------

    def _put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def _loop(self, axis: int) -> None:
        inside = "j0, j1" if axis == self.last and self.in_tile else f"{self.sizes[axis]}"
        self._put(f"for i{axis} in range({inside}):")
        self.depth += 1

    def _loops(self, axes: Iterable[int]) -> None:
        for a in axes:
            self._loop(a)

    def _tile(self) -> None:
        size = self.sizes[self.last]
        self._put(f"for j0 in range(0, {size}, {TILE}):")
        self.depth += 1
        self._put(f"j1 = min(j0 + {TILE}, {size})")
        self.in_tile = True

    def _text(self, value: Value, args: list[str]) -> str:
        """The expression of a value, with the texts of its arguments."""
        if not value.truth and value.op not in ("where", *REDUCTIONS):
            args = [f"real({a})" if x.truth else a for a, x in zip(args, value.of, strict=True)]
        form = FORMS.get(value.op)
        return form.format(*args) if form else f"real(np.{value.op}({', '.join(args)}))"

    def _constant(self, value: Value) -> str:
        x = value.args[0]
        if not isinstance(x, float):
            return str(x) if isinstance(x, bool) else f"np.int64({x})"
        return f"real({x!r})" if math.isfinite(x) else f"real({'-' * (x < 0)}np.{'nan' if math.isnan(x) else 'inf'})"

    def _read(self, x: Value) -> str:
        if x.op in FREE:
            return self._constant(x) if x.op == "const" else f"i{x.args[0]}"
        # After the outer loop, a number is only what its last turn has left.
        kept = self._at(x) if self.after and x in self.kernel.kept else self._kept(x)
        return f"np.int64({kept})" if x.whole else kept

    # --- small values ---------------------------------------------------------------------------------------------

    def _small(self, values: list[Value], outer: frozenset[int]) -> None:
        """Small values inside the loops along `outer`; neighbours of equal axes share their loops."""
        depth = self.depth
        for axes, group in groupby(values, key=lambda v: None if v.op in REDUCTIONS else v.axes):
            if axes is None:
                for value in group:
                    self._small_sum(value, outer)
                continue
            self._open(axes, outer)
            for value in group:
                self._set(value, self._text(value, [self._read(x) for x in value.of]))
            self.depth = depth

    def _open(self, axes: frozenset[int], outer: frozenset[int]) -> None:
        self._loops(sorted(axes - outer) + ([self.last] if self.tiled and self.last in axes & outer else []))

    def _set(self, value: Value, text: str) -> None:
        self._put(f"{self._kept(value)} = {text}")
        if value in self.numbers and (value in self.kernel.kept or value in self.kernel.results):
            self._put(f"{self._at(value)} = {self._number(value)}")

    def _small_sum(self, value: Value, outer: frozenset[int]) -> None:
        depth, total = self.depth, self._kept(value)
        if value in self.numbers:
            total = f"{self._number(value)}_w"
            self._put(f"{total} = {self._first(value)}")
        else:
            self._start(value, outer)
        self._open(value.of[0].axes, outer)
        self._put(f"{total} = {FORMS[value.op].format(total, self._read(value.of[0]))}")
        self.depth = depth
        if value in self.numbers:
            self._set(value, f"real({total})")

    def _first(self, value: Value) -> str:
        """Where a number starts: a sum is kept in float64."""
        return "0.0" if value.op == "sum" else STARTS[value.op]

    def _start(self, value: Value, outer: frozenset[int]) -> None:
        depth = self.depth
        self._open(value.axes, outer)
        self._put(f"{self._kept(value)} = {STARTS[value.op]}")
        self.depth = depth

    # --- sweeps ---------------------------------------------------------------------------------------------------

    def _sweeps(self) -> None:
        kernel = self.kernel
        self._loops(sorted(kernel.outer - {self.last}))
        if self.tiled:
            self._tile()
        depth = self.depth
        for sweep in kernel.sweeps:
            self._small(sweep.before, kernel.outer)
            if sweep.reductions or sweep.stores:
                self._sweep(sweep)
            self.depth = depth
        self.depth, self.in_tile = 1, False

    def _sweep(self, sweep: Sweep) -> None:
        kernel, depth = self.kernel, self.depth
        early = [v for v in sweep.reductions if v in self.inner]
        for value in early:
            if value in self.numbers:
                self._put(f"{self._number(value)}_w = {self._first(value)}")
            else:
                self._start(value, kernel.outer)
        body = kernel.body(sweep)
        loads = {x for v in (*body, *sweep.reductions) for x in v.of if x not in body and x.op not in FREE}
        texts = {x: self._number(x) for x in loads if x in self.numbers}
        axes = sorted(kernel.full - kernel.outer - {self.last})
        waiting = sorted(loads - self.numbers, key=lambda v: v.number)
        seen = set(kernel.outer - {self.last})
        rows = [v for v in sweep.reductions if self.last not in v.axes]
        for a in [None, *axes]:
            if a is not None:
                self._loop(a)
                seen.add(a)
            for x in [x for x in waiting if x.axes <= seen]:
                texts[x] = f"x{x.number}"
                self._put(f"{texts[x]} = {self._read(x)}")
                waiting.remove(x)
        if not self.tiled and self.sizes[self.last] > TILE:
            self._tile()
        for value in rows:
            self._put(f"r{value.number} = {STARTS[value.op]}")
        inner = self.depth
        self._loop(self.last)
        for value in sorted([*waiting, *body], key=lambda v: v.number):
            texts[value] = f"x{value.number}"
            if value in body:
                args = [texts[x] if x in texts else self._read(x) for x in value.of]
                self._put(f"{texts[value]} = {self._text(value, args)}")
            else:
                self._put(f"{texts[value]} = {self._read(value)}")
        for value in sweep.reductions:
            total = f"r{value.number}" if value in rows else self._total(value)
            self._put(f"{total} = {FORMS[value.op].format(total, texts[value.of[0]])}")
        for value in sweep.stores:
            self._put(f"{self._at(value)} = {texts[value]}")
        self.depth = inner
        for value in rows:
            total = self._total(value)
            self._put(f"{total} = {FORMS[value.op].format(total, f'r{value.number}')}")
        self.depth, self.in_tile = depth, self.tiled
        for value in early:
            if value in self.numbers:
                self._set(value, f"real({self._number(value)}_w)")

    def _total(self, value: Value) -> str:
        """What a sweep adds to."""
        if value in self.late:
            return f"{self.names[value]}_w[{self._index(tuple(sorted(value.axes)))}]"
        return f"{self._number(value)}_w" if value in self.numbers else self._at(value)
