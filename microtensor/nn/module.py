"""The base of all layers: parameters, buffers, children, modes and state."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor import hints
from microtensor.checks import check_flag
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, zeros_like
from microtensor.showing import shown
from microtensor.support.arrays import Array, own_array, plain_dtype
from microtensor.support.modes import Mode, Scope, name_scope
from microtensor.text import safe_text

M = TypeVar("M", bound="Module")
# The name of a module that has no other.
UNNAMED = "model"
_TABLES = ("_parameters", "_buffers", "_modules", "_transient")


class ModuleScope(Scope):
    """The scope of one call of a module. It knows the module, which may get a name later."""

    __slots__ = ("module",)

    def __init__(self, name: str, detail: str, parent: Scope | None, module: Module) -> None:
        super().__init__(name, detail, parent)
        self.module = module


class _Call(name_scope):
    """Inside, operations are recorded in the scope of a call of a module."""

    def __init__(self, module: Module) -> None:
        super().__init__(module._name or UNNAMED, module.title())
        self.module = module

    def _next(self, mode: Mode) -> Mode:
        if self.scope is None:
            self.scope = ModuleScope(self.name, self.detail, mode.scope, self.module)
        return super()._next(mode)


class LoadedKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` has not found in the state, and what it has not used of it."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadedKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """A layer or a network: assign parameters and other modules as attributes, and define ``forward``.

    Calling the module runs ``forward`` in a name scope. The name is that of the attribute of the parent that holds the
    module. A picture draws a frame with this name around the module, and can fold it.

    An attribute that holds a parameter, a buffer or a module must not get a value of another kind: this raises a
    TypeError. Otherwise the value would be missing in training and in the state. None empties the attribute, and
    ``del`` removes it.

    ``copy.deepcopy`` and ``pickle`` keep values, dtypes, ``requires_grad``, names, modes and settings. What the module
    shares inside, the copy shares too. The parameters of the copy have no ``.grad``, as in PyTorch. ``copy.copy``
    shares the parameters, buffers and modules, and therefore ``.grad``. Setting an attribute of the copy does not
    change the original.

    Examples
    --------
    >>> import microtensor as mt
    >>> class Twice(mt.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = mt.nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> Twice()(mt.tensor([3.0])).item()
    6.0
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module]
    # Buffers that are not part of the state.
    _transient: set[str]
    _name: str

    def __new__(cls, *args: Any, **options: Any) -> Any:
        # Before __init__, which would refuse the name of an argument in Python's words.
        if options:
            hints.check_keywords(cls, options)
        return super().__new__(cls)

    def __init__(self) -> None:
        # Straight into the dictionary: __setattr__ sorts values into these very tables.
        self.__dict__.update(_parameters={}, _buffers={}, _modules={}, _transient=set(), _name="", training=True)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output. A subclass must define this method."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first")
        with _Call(self):
            return self.forward(*inputs, **options)

    def title(self) -> str:
        """The module in one line, without its children: ``BatchNorm1d(8)``."""
        settings = self.extra_repr()
        return f"{type(self).__name__}({settings})" if settings else type(self).__name__

    def extra_repr(self) -> str:
        """The settings shown in the parentheses of the representation."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return self.title() if self.extra_repr() else f"{type(self).__name__}()"
        lines = [f"{type(self).__name__}({self.extra_repr()}"]
        for name, child in self._modules.items():
            lines.append(f"  ({safe_text(name)}): " + repr(child).replace("\n", "\n  "))
        return "\n".join([*lines, ")"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = shown("mimebundle", self, include, exclude)
        return bundle

    # --- attributes ---------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        who, kind = type(self).__name__, type(value).__name__
        computed = getattr(self.__dict__.get("forward"), "weights", ())
        if name in computed and name not in self._parameters:
            raise ValueError(f"{who}: {name} is computed at every call; set the tensors that it is computed from")
        if isinstance(value, (Parameter, Module)):
            if "_parameters" not in self.__dict__:
                raise AttributeError(f"{who}.__init__ must call super().__init__() before it sets {name}")
            if hasattr(type(self), name):
                raise ValueError(f"{who}: {name!r} is an attribute of the class and would hide it")
            self._hold(name, value)
        elif name in self.__dict__.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"{who}: parameter {name} takes a Parameter, a module or None, not {kind}; "
                    f"{name}.assign_(...) gives it another value"
                )
            self._parameters[name] = None
        elif name in self.__dict__.get("_modules", ()) and value is not None:
            raise TypeError(f"{who}: module {name} takes a module, a Parameter or None, not {kind}; del removes it")
        elif name in self.__dict__.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{who}: buffer {name} takes a tensor or None, not {kind}")
            self._buffers[name] = value
        elif isinstance(getattr(value, "fn", None), Module):
            raise TypeError(f"{who}: {name} is a compiled module, whose parameters {who} would not hold; compile {who}")
        else:
            if "_modules" in self.__dict__:
                self._modules.pop(name, None)
            object.__setattr__(self, name, value)

    def _hold(self, name: str, value: Parameter | Module) -> None:
        """Put a parameter or a module into its table, in the place of whatever had the name."""
        table: dict[str, Any] = self._parameters if isinstance(value, Parameter) else self._modules
        self._forget(name, table)
        table[name] = value
        if isinstance(value, Module):
            value._name = name
        elif value.name is None:
            value.name = name

    def _forget(self, name: str, kept: Mapping[str, Any] | None = None) -> None:
        """Drop what has the name, but for the table in which it is to be replaced, where it keeps its place."""
        for table in (self._parameters, self._buffers, self._modules, self.__dict__):
            if table is not kept:
                table.pop(name, None)
        if kept is not self._buffers:
            self._transient.discard(name)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            held = self.__dict__.get(table)
            if held is not None and name in held:
                return held[name]
        if name in _TABLES:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hints.instead(name, hints.MODEL)}")

    def __delattr__(self, name: str) -> None:
        if name in self._parameters or name in self._buffers or name in self._modules:
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def add_module(self, name: str, module: Module) -> None:
        """Add a module under a name. The name need not be a Python identifier.

        Raises
        ------
        TypeError
            `module` is not a module, or the name is not a string.
        ValueError
            The name is empty, has a dot, or is an attribute of another kind.
        """
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} is a {type(module).__name__}, not a module")
        self._check_name(name, "module", "_modules")
        self._hold(name, module)

    register_module = add_module

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not learnt, such as running statistics. None: there is no tensor yet.

        A `persistent` buffer belongs to the state. A buffer that can be computed again need not be persistent.

        Raises
        ------
        TypeError
            The value is not a tensor, or the name is not a string.
        ValueError
            The name is empty, has a dot, or is an attribute of another kind.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            who, kind = type(self).__name__, type(tensor).__name__
            raise TypeError(f"{who}: buffer {name} takes a tensor or None, not {kind}; use mt.tensor(...)")
        self._check_name(name, "buffer", "_buffers")
        self._buffers[name] = tensor if tensor is None else label(tensor, name)
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter under a name. None: the module has no parameter of that name.

        Raises
        ------
        TypeError
            The value is not a Parameter, or the name is not a string.
        ValueError
            The name is empty, has a dot, or is an attribute of another kind.
        """
        if parameter is not None and not isinstance(parameter, Parameter):
            who, kind = type(self).__name__, type(parameter).__name__
            raise TypeError(f"{who}: parameter {name} takes a Parameter or None, not {kind}; use nn.Parameter(...)")
        self._check_name(name, "parameter", "_parameters")
        if parameter is None:
            self._parameters[name] = None
        else:
            self._hold(name, parameter)

    def _check_name(self, name: Any, kind: str, table: str) -> None:
        who = type(self).__name__
        if table not in self.__dict__:
            raise AttributeError(f"{who}.__init__ must call super().__init__() before it registers {name!r}")
        if not isinstance(name, str):
            raise TypeError(f"{who}: the name of a {kind} must be a str, not {name!r}")
        if not name or "." in name:
            raise ValueError(f"{who}: {name!r} cannot be the name of a {kind}; a name must not be empty or hold a dot")
        if name not in self.__dict__[table] and hasattr(self, name):
            raise ValueError(f"{who}: {name!r} is an attribute already; take another name")

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Modules that were pickled before buffers could be left out of the state have no such table.
        self.__dict__.update({"_transient": set(), **state})

    def __copy__(self: M) -> M:
        out = object.__new__(type(self))
        # Tables of its own: what is assigned to the copy must not change the original.
        tables = {name: copy.copy(self.__dict__[name]) for name in _TABLES if name in self.__dict__}
        out.__dict__.update(self.__dict__, **tables)
        # A forward that computes weights does so from the tables of its module.
        rebound = getattr(self.__dict__.get("forward"), "rebound", None)
        if rebound is not None:
            out.__dict__["forward"] = rebound(out)
        return out

    # --- walks --------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names. A shared module comes once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly inside. A shared module comes once."""
        return (module for _, module in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path such as ``"encoder.0"``. The empty path gives this module.

        Raises
        ------
        AttributeError
            There is no such module. The message says which ones there are.
        """
        module: Module = self
        for name in target.split(".") if target else []:
            if name not in module._modules:
                inside = ", ".join(module._modules) or "none"
                raise AttributeError(
                    f"get_submodule: {target!r}: {type(module).__name__} has no module {name!r} (it has: {inside})"
                )
            module = module._modules[name]
        return module

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` with every module inside, then with this one; returns the module. Use it to initialise modules."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all modules inside, with dotted names. Each comes once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            inside = [(f"{path}.{name}" if path else name, child) for name, child in module._modules.items()]
            stack.extend(reversed(inside))

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside. Each comes once."""
        return (module for _, module in self.named_modules())

    def _named(self, table: str) -> Iterator[tuple[str, Any]]:
        """What this module and all inside hold in one of their tables, with dotted names; each object once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, held in getattr(module, table).items():
                if held is not None and id(held) not in seen:
                    seen.add(id(held))
                    yield f"{path}.{name}" if path else name, held

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, with dotted names. A shared parameter comes once."""
        return self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        """All parameters. A shared parameter comes once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers, with dotted names. A shared buffer comes once."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers. A shared buffer comes once."""
        return (buffer for _, buffer in self.named_buffers())

    def _entries(self, prefix: str = "", around: tuple[Module, ...] = ()) -> Iterator[tuple[str, Tensor]]:
        """All tensors of the state. A shared one is there under each of its names, as in PyTorch."""
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if tensor is not None and name not in self._transient:
                yield prefix + name, tensor
        around = (*around, self)
        for name, module in self._modules.items():
            # A module inside itself has no end of names.
            if not any(module is outer for outer in around):
                yield from module._entries(f"{prefix}{name}.", around)

    # --- modes and state ----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and in all modules inside; returns the module.

        Raises
        ------
        TypeError
            The mode is neither True nor False.
        """
        mode = check_flag(mode, "mode", f"{type(self).__name__}.train")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set prediction mode here and in all modules inside; returns the module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether the parameters here and inside are learnt; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def astype(self: M, dtype: DTypeLike) -> M:
        """Convert all floating-point parameters, gradients and buffers in place; returns the module.

        For float16, buffers such as running statistics are converted to float32.

        The parameters stay the same objects, so an optimiser that holds them still works. A graph that was made before
        cannot be used any more.

        Raises
        ------
        TypeError
            The dtype is not float16, float32 or float64.

        Examples
        --------
        >>> import microtensor as mt
        >>> mt.nn.Linear(3, 2).astype("float32")(mt.ones((4, 3), dtype="float32")).dtype
        dtype('float32')
        """
        who = f"{type(self).__name__}.astype"
        new = plain_dtype(dtype, who)
        if new.kind != "f":
            raise TypeError(f"{who}: dtype {new} is not floating point; integers cannot learn")
        # Running statistics of float16 would overflow where those of the batch do not.
        kept: list[tuple[Tensor, np.dtype[Any]]] = [(x, np.promote_types(new, "f4")) for _, x in self.named_buffers()]
        changed = [
            (x, x._array.astype(to), x.grad)
            for x, to in [*((x, new) for x in self.parameters()), *kept]
            if x.dtype.kind == "f" and x.dtype != to
        ]
        for tensor, value, gradient in changed:
            tensor._replace(value)
            tensor.grad = None if gradient is None else gradient.detach().astype(new)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set ``.grad`` of every parameter to None. Without `set_to_none`, gradients become zeros."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else zeros_like(parameter)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and persistent buffers under PyTorch's keys. A shared one has several keys."""
        return {key: tensor._array.copy() for key, tensor in self._entries()}

    def load_state_dict(self, state: Mapping[str, ArrayLike | Tensor], strict: bool = True) -> LoadedKeys:
        """Load all parameters and buffers from a state. If one does not fit, none is loaded.

        The state may have any of the names of a shared parameter. Two different values for it raise an error; PyTorch
        takes the last one. A state without ``num_batches_tracked``, as older checkpoints are, leaves the count as it
        is.

        Parameters
        ----------
        state : mapping
            From the keys of :meth:`state_dict` to arrays or tensors.
        strict : bool
            Whether all keys must be there and no others. Without it, the keys that fit are loaded.

        Returns
        -------
        LoadedKeys
            ``missing_keys`` and ``unexpected_keys``, two lists. Both are empty when `strict` is True.

        Raises
        ------
        ValueError
            Keys are missing or unexpected and `strict` is True. Or values are not numbers, shapes or dtypes differ, or
            one parameter has two values. The message lists all of them.
        TypeError
            The state is not a mapping.

        Examples
        --------
        >>> import microtensor as mt
        >>> tied = mt.nn.Module()
        >>> tied.first = tied.second = mt.nn.Parameter([0.0])
        >>> tied.load_state_dict({"first": [1.0], "second": [1.0]})
        <All keys matched successfully>
        >>> tied.load_state_dict({"first": [1.0], "second": [2.0]})
        Traceback (most recent call last):
        ...
        ValueError: load_state_dict: nothing was loaded: first and second are one parameter and have two values
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: the state is of type {type(state).__name__}; it must be a mapping")
        own = dict(self._entries())
        names: dict[int, list[str]] = {}
        for key, tensor in own.items():
            names.setdefault(id(tensor), []).append(key)
        absent = [same for same in names.values() if not any(key in state for key in same)]
        # Older checkpoints have no count.
        absent = [same for same in absent if same[0].rpartition(".")[2] != "num_batches_tracked"]
        unexpected = [key for key in state if key not in own]
        problems = []
        if check_flag(strict, "strict", "load_state_dict"):
            problems = [f"missing {' or '.join(same)}" for same in absent]
            problems += [f"unexpected {key}" for key in unexpected]
        values: dict[str, Array] = {}
        for key in own:
            if key not in state:
                continue
            given = state[key]
            try:
                value = own_array(given._array if isinstance(given, Tensor) else given, key)
            except (TypeError, ValueError) as error:
                problems.append(str(error))
                continue
            if value.shape != own[key].shape:
                problems.append(f"{key} has shape {value.shape}; it must be {own[key].shape}")
            elif not np.can_cast(value.dtype, own[key].dtype, "same_kind"):
                problems.append(f"{key} has dtype {value.dtype}; it must be {own[key].dtype}")
            else:
                values[key] = value.astype(own[key].dtype, copy=False)
        for same in names.values():
            given_names = [key for key in same if key in values]
            for other in given_names[1:]:
                if not np.array_equal(values[given_names[0]], values[other], equal_nan=own[other].dtype.kind == "f"):
                    problems.append(f"{given_names[0]} and {other} are one parameter and have two values")
        if problems:
            raise ValueError(f"load_state_dict: nothing was loaded: {'; '.join(sorted(problems))}")
        for key, value in values.items():
            own[key].assign_(value)
        return LoadedKeys([key for same in absent for key in same], unexpected)


# Layers show the arguments of __init__.
Module.__new__.__signature__ = inspect.Signature([inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)])  # type: ignore[attr-defined]


def settings_text(layer: Module, *sizes: str, **defaults: Any) -> str:
    """The settings in a representation: some always, by value; the others if they differ from their defaults.

    If the default is True or False and the attribute is a parameter or None, a parameter counts as True.
    """
    shown = [getattr(layer, name) for name in sizes]
    parts = [str(value[0] if isinstance(value, tuple) and len(value) == 1 else value) for value in shown]
    for name, default in defaults.items():
        value = short(getattr(layer, name))
        if isinstance(default, bool):
            value = value is not None and value is not False
        if value != default:
            parts.append(f"{name}={value!r}")
    return ", ".join(parts)


def short(value: Any) -> Any:
    """One size, if several sizes are equal."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
