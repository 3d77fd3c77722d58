"""Makes the functions of a traced function: one that computes its results, and one for the gradients of each result."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microtensor.compiling.ir import FREE, Lowered, Value
from microtensor.compiling.layout import Layout
from microtensor.compiling.numpy_source import BLOCK, NAMESPACE, NumpyWriter
from microtensor.compiling.partition import Policy
from microtensor.compiling.schedule import Kernel
from microtensor.compiling.trace import Trace
from microtensor.support.arrays import Array, quietly

# Names that the writers of programs give.
_RESERVED = re.compile(r"|\d.*|[gy]|[a-z]\d+_?\w*|d\d.*|i|one|real|np|math|numba|part|in\d+|\w*_(w|n|all)?")
# Takes a kernel, and returns a function from arrays to arrays.
Builder = Callable[[Kernel, str, np.dtype[Any]], Callable[..., Any]]


def policy_of(build: Builder) -> Policy:
    """Where a kernel of this builder pays."""
    found: Policy = getattr(build, "policy", Policy())
    return found


class Program:
    """A traced function, ready to run.

    Attributes
    ----------
    trace : Trace
    inputs, results : list of str
        Their names in the source.
    needs : list of int
        The inputs that require a gradient.
    saved : dict
        The names of what the forward pass keeps for the backward passes.
    work : int
        How many operations of full size it runs.
    source : str
        The program as NumPy, for people to read.
    """

    def __init__(self, trace: Trace, names: Sequence[str], build: Builder) -> None:
        self.trace = trace
        lowered = Lowered(trace)
        algebra, layouts = lowered.algebra, lowered.layouts.of
        values = lowered.values
        self.inputs = identifiers(names)
        self.needs = trace.needs
        named = [(s, name) for s, name in zip(trace.inputs, self.inputs, strict=True) if s.index in values]
        given = {values[s.index]: (name, layouts[s.index]) for s, name in named}
        self.results = [f"y{i}" if len(trace.outputs) > 1 else "y" for i in range(len(trace.outputs))]
        wanted = list(zip(self.results, trace.outputs, strict=True))
        moved = [(f"m{i}", x) for i, x in enumerate(trace.moved, 1)]
        outputs = [(name, values[y.index], layouts[y.index]) for name, y in [*wanted, *moved]]
        made = set(Kernel(algebra, given, outputs).order)
        self.saved: dict[Value, str] = {}
        kernels = []
        for (name, y), cotangent, pulled in zip(wanted, trace.cotangents, trace.gradients, strict=True):
            bound = given | {values[cotangent.index]: (name.replace("y", "g"), layouts[cotangent.index])}
            if values[y.index] not in given and values[y.index].op != "const":
                bound[values[y.index]] = name, layouts[y.index]
            saved = _saved([values[g.index] for g in pulled.values()], bound, made)
            for value in saved:
                self.saved.setdefault(value, f"s{len(self.saved) + 1}")
            bound |= {value: (self.saved[value], tuple(sorted(value.axes))) for value in saved}
            results = [(f"d{self.inputs[i]}", values[g.index], layouts[g.index]) for i, g in pulled.items()]
            kernels.append((f"backward_{name}" if len(wanted) > 1 else "backward", Kernel(algebra, bound, results)))
        outputs += [(name, value, tuple(sorted(value.axes))) for value, name in self.saved.items()]
        kernels.insert(0, ("forward", Kernel(algebra, given, outputs)))
        labels = {values[s.index]: s.label for s in reversed(trace.symbols()) if s.label}
        full = [v for _, kernel in kernels for v in kernel.order if v.axes == kernel.full and v.op not in FREE]
        sums = [v for _, kernel in kernels for v in kernel.order if v.of and v.of[0].axes == kernel.full != v.axes]
        self.work = len(full) + len(sums)
        self.source = "\n\n".join(readable(kernel, name, lowered, labels) for name, kernel in kernels)
        self.forward, *self.backwards = [self._runner(kernel, name, lowered, build) for name, kernel in kernels]

    def _runner(self, kernel: Kernel, name: str, lowered: Lowered, build: Builder) -> Callable[[dict[str, Array]], Any]:
        """A function from arrays by name to a list of results."""
        run = build(kernel, name, lowered.dtype)
        names = [name for name, _ in kernel.bound.values()]
        return lambda arrays: quietly(run, *[arrays[name] for name in names])


class _Axes:
    """How an array of some layout becomes one with all axes in order, and back."""

    def __init__(self, layout: Layout, sizes: list[int]) -> None:
        self.own = tuple(sizes[a] for a in layout)
        self.sorted = tuple(np.argsort(layout).tolist())
        self.in_order = list(layout) == sorted(layout)
        self.back = layout if self.in_order else tuple(sorted(layout).index(a) for a in layout)
        self.all = tuple(n if a in layout else 1 for a, n in enumerate(sizes))
        self.ordered = tuple(sizes[a] for a in sorted(layout))

    def spread(self, array: Array) -> Array:
        if self.in_order:
            return array.reshape(self.all)
        return array.reshape(self.own).transpose(self.sorted).reshape(self.all)

    def gathered(self, array: Array) -> Array:
        return array if self.in_order else np.ascontiguousarray(array.reshape(self.ordered).transpose(self.back))


def _saved(roots: list[Value], bound: dict[Value, Any], made: set[Value]) -> list[Value]:
    """What a backward pass takes from the forward pass: small values made from sums, and functions such as exp.

    All else is computed again, which is faster than to write it and read it.
    """
    full = max((v.axes for v in made), key=len, default=frozenset())
    found, seen, stack = set(), set(), list(roots)
    while stack:
        value = stack.pop()
        if value in bound or value in seen:
            continue
        seen.add(value)
        if value in made and not value.truth and (value.costly or (value.summed and value.axes != full)):
            found.add(value)
        else:
            stack += value.of
    return sorted(found, key=lambda v: v.number)


def build_numpy(kernel: Kernel, name: str, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """The function of a kernel in NumPy, in blocks."""
    source = NumpyWriter(kernel, name, dtype, blocks=True).source
    namespace: dict[str, Any] = dict(vars(np)) | NAMESPACE
    exec(compile(source, f"<compiled {name}>", "exec"), namespace)
    run = namespace[name]
    views = [_Axes(layout, kernel.algebra.sizes) for _, layout in kernel.bound.values()]
    results = [_Axes(layout, kernel.algebra.sizes) for _, layout in kernel.results.values()]

    def call(*arrays: Array) -> list[Array]:
        found = run(*[axes.spread(x) for axes, x in zip(views, arrays, strict=True)])
        return [axes.gathered(y) for axes, y in zip(results, found, strict=True)]

    return call


# In a longer program, single calls that write into dying arrays are faster than blocks. Arrays that are not cut into
# blocks take time where something is computed again; on the smallest ones only the number of calls counts.
build_numpy.policy = Policy(least=sys.maxsize, whole=50, once=range(1 << 16, 2 * BLOCK + 1))  # type: ignore[attr-defined]


def readable(kernel: Kernel, name: str, lowered: Lowered, labels: dict[Value, str]) -> str:
    """A kernel as NumPy, with the shapes of what it is given."""
    sizes = lowered.algebra.sizes
    shapes = [f"{given} {_Axes(layout, sizes).all}" for given, layout in kernel.bound.values()]
    head, _, rest = NumpyWriter(kernel, name, lowered.dtype, blocks=False, labels=labels).source.partition("\n")
    return f"{head}\n    # {', '.join(shapes)}\n{rest}"


def identifiers(names: Sequence[str]) -> list[str]:
    """The names as names of Python that nothing else in a program has."""
    found: list[str] = []
    for i, name in enumerate(names):
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        taken = _RESERVED.fullmatch(plain) or hasattr(np, plain) or plain in NAMESPACE
        if taken or keyword.iskeyword(plain) or {plain, f"d{plain}"} & {*found, *(f"d{x}" for x in found)}:
            plain = f"in{i}"
        found.append(plain)
    return found
