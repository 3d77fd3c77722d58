"""A traced program that does not fuse as a whole: functions that call kernels and NumPy one after the other."""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microtensor.compiling.ir import Lowered
from microtensor.compiling.partition import Partition, Step, ancestors, args_of
from microtensor.compiling.program import Builder, identifiers, policy_of, readable
from microtensor.compiling.schedule import Kernel
from microtensor.compiling.trace import ELEMENTWISE, SHAPES, Refused, Slot, Symbol, Trace, plain_text
from microtensor.core import ops as core
from microtensor.ops import indexing, linalg
from microtensor.support.arrays import Array, quietly


def _add_at(total: Array, g: Array, *, index: Any, copied: bool = True) -> Array:
    """The sum of an array and of g at an index, in the memory of the array or in a copy."""
    total = total.copy() if copied else total
    indexing.getitem.into(total, g, index)  # type: ignore[misc]
    return total


# Their results may be a part of their argument. All other operations listed below return new arrays.
_VIEWS = {core.reshape.forward, core.broadcast_to.forward, core.permute_dims.forward, core.astype.forward}
_NEW = {
    p.forward for p in (*SHAPES, *ELEMENTWISE, linalg.matmul, indexing.put, indexing.pick, indexing.place)
} - _VIEWS | {_add_at}
# Smaller arrays may stay until the function returns.
SMALL = 1 << 12
# Constants of so many elements are shown with these.
FEW = 8


class Tidied:
    """The symbols of a trace without repetitions: each value is computed once, and not multiplied by 1.

    Attributes
    ----------
    of : dict
        The symbol that stands for a symbol of the trace, by its index.
    """

    def __init__(self, symbols: list[Symbol]) -> None:
        self.of: dict[int, Symbol] = {}
        known: dict[Any, Symbol] = {}
        for s in symbols:
            args = tuple(self.of[x.index] if isinstance(x, Symbol) else x for x in s.args)
            key: Any = s.index
            if s.value is not None:
                key = plain_text(s.value)
            elif s.call is not None:
                names = [x.index if isinstance(x, Symbol) else plain_text(x) for x in args]
                key = s.op, s.call, tuple(names), plain_text(s.params), s.dtype, s.shape
            found = (known.get(key), _without_one(s, args), _turned_back(s, args))
            new = next((x for x in found if x is not None), None)
            if new is None:
                new = s if s.call is None else Symbol(s.op, args, s.shape, s.dtype, s.params, s.call, s.fuses)
            new.label = new.label or s.label
            known[key] = self.of[s.index] = new


def _without_one(s: Symbol, args: tuple[Any, ...]) -> Symbol | None:
    """The factor of a product by 1."""
    if s.op == "multiply" and len(args) == 2:
        for x, one in (args, args[::-1]):
            same = isinstance(x, Symbol) and x.shape == s.shape and x.dtype == s.dtype
            if same and not isinstance(one, Symbol) and one == 1:
                found: Symbol = x
                return found
    return None


def _turned_back(s: Symbol, args: tuple[Any, ...]) -> Symbol | None:
    """What axes in another order and back again are."""
    if s.op == "permute_dims" and args[0].op == "permute_dims":
        first, second = args[0].params["axes"], s.params["axes"]
        if first and second and all(first[a] == i for i, a in enumerate(second)):
            found: Symbol = args[0].args[0]
            return found
    return None


class Stretch(Trace):
    """The symbols of a step as a trace of their own, with names that depend on nothing else.

    Attributes
    ----------
    inputs, outputs : list of Symbol
    key : str
        Equal stretches have equal keys.
    """

    def __init__(self, step: Step, back: set[int]) -> None:
        self.made: dict[int, Symbol] = {}
        for i, x in enumerate(step.given):
            # The algebra of kernels knows a cotangent by its name.
            self.made[x.index] = Symbol(f"{'g' if x.index in back else 'in'}{i}", (), x.shape, x.dtype)
        self.inputs = list(self.made.values())
        for s in step.symbols:
            args = tuple(self.made[x.index] if isinstance(x, Symbol) else x for x in s.args)
            self.made[s.index] = Symbol(s.op, args, s.shape, s.dtype, s.params)
        self.outputs = self.cotangents = [self.made[s.index] for s in step.results]
        self.gradients: list[dict[int, Symbol]] = [{} for _ in self.outputs]
        number = {s.index: i for i, s in enumerate(self.made.values())}
        names = [[number[x.index] if isinstance(x, Symbol) else plain_text(x) for x in s.args] for s in self.symbols()]
        self.key = repr(
            [[number[y.index] for y in self.outputs]]
            + [
                (s.op, args, s.shape, s.dtype.char, plain_text(s.params))
                for s, args in zip(self.symbols(), names, strict=True)
            ]
        )

    def symbols(self) -> list[Symbol]:
        return list(self.made.values())


class Kernels:
    """The kernels of a program. Equal ones are made once.

    Attributes
    ----------
    sources : list of str
        Each kernel as NumPy.
    """

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.made: dict[str, tuple[str, Callable[..., Any]] | None] = {}
        self.sources: list[str] = []

    def of(self, step: Step, back: set[int]) -> tuple[str, Callable[..., Any]] | None:
        """The name and the function of a step; None if there is no kernel for it."""
        stretch = Stretch(step, back)
        if stretch.key not in self.made:
            try:
                self.made[stretch.key] = self._new(stretch)
            except Refused:
                self.made[stretch.key] = None
        return self.made[stretch.key]

    def _new(self, stretch: Stretch) -> tuple[str, Callable[..., Any]]:
        lowered = Lowered(stretch)
        values, layouts = lowered.values, lowered.layouts.of
        inputs = [(f"a{i}", x) for i, x in enumerate(stretch.inputs, 1)]
        given = {values[x.index]: (name, layouts[x.index]) for name, x in inputs}
        results = [(f"y{i}", values[y.index], layouts[y.index]) for i, y in enumerate(stretch.outputs, 1)]
        kernel = Kernel(lowered.algebra, given, results)
        name = f"kernel{len(self.sources) + 1}"
        run = self.build(kernel, name, lowered.dtype)
        places = [i for i, (_, x) in enumerate(inputs) if values[x.index] in kernel.bound]
        shapes = [y.shape for y in stretch.outputs]
        self.sources.append(readable(kernel, name, lowered, {}))

        def call(*arrays: Array) -> list[Array]:
            found = run(*[arrays[i] for i in places])
            return [y.reshape(shape) for y, shape in zip(found, shapes, strict=True)]

        return name, call


class Replay:
    """As :class:`microtensor.compiling.program.Program`, for a trace with any operations."""

    def __init__(self, trace: Trace, names: Sequence[str], build: Builder) -> None:
        self.trace, self.needs = trace, trace.needs
        symbols = trace.symbols()
        if any(s.dtype.char == "e" for s in symbols):
            raise Refused("it computes in float16; all of it must be float32, or all of it float64")
        tidied = Tidied(symbols).of
        self.inputs = identifiers(names)
        self.results = [f"y{i}" if len(trace.outputs) > 1 else "y" for i in range(len(trace.outputs))]
        outputs = [tidied[y.index] for y in trace.outputs]
        moved = [tidied[x.index] for x in trace.moved]
        forward = ancestors([*outputs, *moved], set())
        made = {s.index for s in forward}
        pulled = [[tidied[g.index] for g in found.values()] for found in trace.gradients]
        backwards = [(ancestors(found, made), found, [y]) for y, found in zip(outputs, pulled, strict=True)]
        parts = Partition(forward, [*outputs, *moved], backwards, policy_of(build))
        kept: dict[int, Symbol] = {s.index: s for saved in parts.saved for s in saved}
        self.saved = {s: f"s{i}" for i, s in enumerate(kept.values(), 1)}
        kernels, texts = Kernels(build), []
        known = {
            tidied[x.index].index: name for x, name in zip(trace.inputs, self.inputs, strict=True) if x.index in tidied
        }
        writer = Writer("forward", known, kernels, set())
        self.forward = writer.function(parts.forward, [*outputs, *moved, *self.saved])
        texts.append(writer.text)
        self.backwards = []
        for name, y, g, steps, found in zip(
            self.results, outputs, trace.cotangents, parts.backwards, pulled, strict=True
        ):
            given = known | {s.index: text for s, text in self.saved.items()}
            if y.call is not None:
                given[y.index] = name
            given[g.index] = name.replace("y", "g")
            back = {g.index, *(s.index for step in steps for s in step.results)}
            writer = Writer("backward" + f"_{name}" * (len(outputs) > 1), given, kernels, back)
            self.backwards.append(writer.function(steps, found))
            texts.append(writer.text)
        self.source = "\n\n".join([*kernels.sources, *texts])


class Writer:
    """Writes a function that runs steps.

    Parameters
    ----------
    name : str
    known : dict
        The names of what may be given, by the index of the symbol.
    kernels : Kernels
    back : set of int
        What depends on a cotangent.

    Attributes
    ----------
    text : str
        The function for people to read.
    """

    def __init__(self, name: str, known: dict[int, str], kernels: Kernels, back: set[int]) -> None:
        self.name, self.known, self.kernels, self.back = name, known, kernels, back
        self.names = dict(known)
        self.namespace: dict[str, Any] = {"asarray": np.asarray}
        self.called: dict[Any, str] = {}
        self.constants: dict[str, str] = {}
        self.lines: list[str] = []
        self.shown: list[str] = []
        self.text = ""

    def function(self, steps: list[Step], results: list[Symbol]) -> Callable[[dict[str, Array]], Any]:
        """A function from arrays by name to a list of results."""
        steps = _added_in_place([part for step in steps for part in self._parts(step)], results)
        last = {x.index: k for k, step in enumerate(steps) for x in step.given}
        last |= {s.index: len(steps) for s in results}
        # What may share memory with another value is not written to.
        shared = {
            x.index
            for step in steps
            for s in step.symbols
            if s.call not in _NEW and not _is_ufunc(s)
            for x in args_of(s)
            if not step.fused
        }
        own: set[int] = set()
        for k, step in enumerate(steps):
            dying = [x for x in step.given if last[x.index] == k and x.index not in self.known and x.value is None]
            free = [x for x in dying if x.index in own and x.index not in shared and x.ndim]
            self._put(step, free)
            if step.fused or step.symbols[0].call in _NEW or _is_ufunc(step.symbols[0]):
                own.update(s.index for s in step.results)
            gone = [self.names[x.index] for x in dying if x.size * x.dtype.itemsize >= SMALL]
            gone = [name for name in gone if name not in {self.names[s.index] for s in step.results}]
            if gone:
                self.lines.append(f"del {', '.join(gone)}")
        returned = [self._name(s, False) for s in results]
        self.shown.append("return " + ", ".join(self._name(s, True) for s in results) + "," * (len(results) == 1))
        # NumPy returns a number where there are no axes.
        ends = [f"asarray({x})" if not s.ndim else x for x, s in zip(returned, results, strict=True)]
        self.lines.append(f"return [{', '.join(ends)}]")
        used = {x.index for step in steps for x in step.given} | {s.index for s in results}
        given = list(dict.fromkeys(name for i, name in self.known.items() if i in used))
        shapes = {self.known[x.index]: x.shape for step in steps for x in step.given if x.index in self.known}
        head = f"def {self.name}({', '.join(given)}):"
        notes = [f"# {', '.join(f'{name} {shapes[name]}' for name in given if name in shapes)}"]
        text = "\n".join(self.shown)
        notes += [f"# {c} {_told(self.namespace[c])}" for c in self.constants.values() if re.search(rf"\b{c}\b", text)]
        self.text = "\n    ".join([head, *notes, *self.shown]) + "\n"
        exec(compile("\n    ".join([head, *self.lines]), f"<compiled {self.name}>", "exec"), self.namespace)
        run = self.namespace[self.name]
        return lambda arrays: quietly(run, *[arrays[name] for name in given])

    def _parts(self, step: Step) -> list[Step]:
        """The step, or its operations one by one where no kernel can be made."""
        if not step.fused or self.kernels.of(step, self.back) is not None:
            return [step]
        return [Step([s], [s], False) for s in step.symbols]

    def _put(self, step: Step, free: list[Symbol]) -> None:
        if step.fused:
            found = self.kernels.of(step, self.back)
            assert found is not None
            name, self.namespace[found[0]] = found
            args = [self._name(x, False) for x in step.given]
            results = [self._new(s) for s in step.results]
            line = f"{', '.join(results)}{',' * (len(results) == 1)} = {name}({', '.join(args)})"
            self.lines.append(line)
            self.shown.append(line)
            return
        (s,) = step.symbols
        name = self._called(s)
        place = [x for x in free if x.shape == s.shape and x.dtype == s.dtype]
        text, shown = (self._call(name, s, readable) for readable in (False, True))
        if s.call is _add_at:
            # The sum takes the place of its first argument.
            text = f"{text[:-1]}, copied={not any(x is s.args[0] for x in place)})"
        elif place and _is_ufunc(s):
            text = f"{text[:-1]}, out={self._name(place[0], False)})"
        new = self._new(s)
        self.lines.append(f"{new} = {text}")
        self.shown.append(f"{new} = {shown}" + f"  # {s.label}" * bool(s.label))

    def _call(self, name: str, s: Symbol, readable: bool) -> str:
        texts = [self._operand(x, readable) for x in s.args]
        slots = _slots(s.params)
        args = texts[: len(texts) - len(slots)] if slots else texts
        options = [f"{key}={self._option(value, texts)}" for key, value in s.params.items()]
        return f"{name}({', '.join([*args, *options])})"

    def _new(self, s: Symbol) -> str:
        self.names[s.index] = f"v{len(self.names) - len(self.known) + 1}"
        return self.names[s.index]

    def _name(self, s: Symbol, readable: bool) -> str:
        if s.value is not None:
            return self._constant(s.value)
        return self.names[s.index]

    def _operand(self, x: Any, readable: bool) -> str:
        if isinstance(x, Symbol):
            return self._name(x, readable)
        if type(x) in (bool, int, float) and math.isfinite(x):
            return repr(x)
        return repr(np.asarray(x).item()) if readable else self._constant(x)

    def _option(self, value: Any, texts: list[str]) -> str:
        if isinstance(value, Slot):
            return texts[value.number]
        if isinstance(value, (tuple, list)):
            items = [self._option(item, texts) for item in value]
            return (
                f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)}{',' * (len(items) == 1)})"
            )
        if value is None or value is Ellipsis or type(value) in (int, bool, str):
            return repr(value)
        if isinstance(value, slice) and all(n is None or type(n) is int for n in (value.start, value.stop, value.step)):
            return repr(value)
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        name = self.constants.setdefault(plain_text(value), f"c{len(self.constants) + 1}")
        self.namespace[name] = value
        return name

    def _called(self, s: Symbol) -> str:
        """The name of the function that a call of NumPy calls."""
        if s.call not in self.called:
            name = re.sub(r"\W", "_", s.op, flags=re.ASCII)
            while (
                name in self.namespace
                or name in self.known.values()
                or keyword.iskeyword(name)
                or not name.isidentifier()
                or re.fullmatch(r"[vcsgy]\d*", name)
            ):
                name += "_"
            self.called[s.call] = name
            self.namespace[name] = s.call
        return self.called[s.call]


def _told(constant: Any) -> str:
    """A constant in a line: its elements, if there are a few."""
    if not isinstance(constant, np.ndarray):
        return repr(constant)
    return f"{constant.shape} {constant.dtype}" + f": {constant.tolist()}" * (constant.size <= FEW)


def _added_in_place(steps: list[Step], results: list[Symbol]) -> list[Step]:
    """The steps, where parts of one array are added to it without an array of zeros for each part."""
    single = {step.symbols[0].index: step for step in steps if not step.fused}
    uses = Counter(x.index for step in steps for s in step.symbols for x in args_of(s))
    uses.update(s.index for s in results)
    uses.update(x.index for step in steps if step.fused for x in step.results)
    out, dropped = {}, set()
    for i, step in single.items():
        s = step.symbols[0]
        if s.call is not np.add:
            continue
        for x, part in (s.args, s.args[::-1]):
            put = single[part.index].symbols[0] if isinstance(part, Symbol) and part.index in single else None
            alone = (
                put is not None and put.call is indexing.put.forward and uses[put.index] == 1 and put.dtype == s.dtype
            )
            if put is not None and alone and isinstance(x, Symbol) and (x.shape, x.dtype) == (s.shape, s.dtype):
                index = _moved(put.params["index"])
                new = Symbol("add_at", (x, *put.args), s.shape, s.dtype, {"index": index}, _add_at, fuses=False)
                new.index = i
                out[i] = Step([new], [new], False)
                dropped.add(put.index)
                break
    kept = [step for step in steps if step.fused or step.symbols[0].index not in dropped]
    return [step if step.fused else out.get(step.symbols[0].index, step) for step in kept]


def _moved(value: Any) -> Any:
    """Options whose slots count one more argument before them."""
    if isinstance(value, Slot):
        return Slot(value.number + 1)
    return tuple(map(_moved, value)) if isinstance(value, tuple) else value


def _slots(value: Any) -> list[Slot]:
    if isinstance(value, Slot):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [slot for item in items for slot in _slots(item)]


def _is_ufunc(s: Symbol) -> bool:
    return isinstance(s.call, np.ufunc)
