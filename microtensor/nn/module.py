"""The base of all layers: parameters, buffers, children, modes and state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor.primitive import label, name_scope
from microtensor.support.arrays import Array, own_array, plain_dtype
from microtensor.support.text import safe_text
from microtensor.tensor import Parameter, Tensor

M = TypeVar("M", bound="Module")


def check_positive(who: str, **sizes: int) -> None:
    """Raise unless every size is a positive integer: ValueError for its value, TypeError for its type."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool):
            raise TypeError(f"{who}: {name} is {size!r}; a positive integer is needed")
        if size <= 0:
            raise ValueError(f"{who}: {name} is {size}; a positive integer is needed")


def check_float(x: Any, who: str) -> None:
    """Raise TypeError unless x is a tensor of floats."""
    if not isinstance(x, (Tensor, np.ndarray)):
        raise TypeError(f"{who}: input is of type {type(x).__name__}; make a tensor of it with mt.tensor(...)")
    if x.dtype.kind != "f":
        raise TypeError(
            f"{who}: input of shape {x.shape} has dtype {x.dtype}; convert it with .astype(mt.get_default_dtype())"
        )


class Module:
    """A layer or a network: assign parameters, buffers and other modules as attributes, define ``forward``.

    Calling the module runs ``forward`` in a scope of the module's name, which is the attribute of its parent
    that holds it; pictures frame and fold it by that name.

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
    _name: str

    def __init__(self) -> None:
        # Straight into the dictionary: __setattr__ sorts values into these very tables.
        self.__dict__.update(_parameters={}, _buffers={}, _modules={}, _name="", training=True)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; to be defined by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first")
        with name_scope(self._name or "model", self.title()):
            return self.forward(*inputs, **options)

    def title(self) -> str:
        """The module in one line, its children left out: ``BatchNorm1d(8)``."""
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
        from microtensor.viz.notebook import mimebundle

        return mimebundle(self, include, exclude)

    # --- attributes ---------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters")
        buffers = self.__dict__.get("_buffers")
        if isinstance(value, (Parameter, Module)) and parameters is None:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() before it sets {name}")
        if isinstance(value, Parameter):
            self._forget(name, self._parameters)
            self._parameters[name] = value
            if value.name is None:
                value.name = name
        elif isinstance(value, Module):
            self._forget(name, self._modules)
            self._modules[name] = value
            value._name = name
        elif parameters is not None and name in parameters and value is None:
            parameters[name] = None
        elif buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"buffer {name} takes a tensor or None, not {type(value).__name__}")
            buffers[name] = value
        else:
            if parameters is not None:
                self._forget(name)
            object.__setattr__(self, name, value)

    def _forget(self, name: str, kept: Mapping[str, Any] | None = None) -> None:
        """Drop what has the name, but for the table in which it is to be replaced, where it keeps its place."""
        for table in (self._parameters, self._buffers, self._modules, self.__dict__):
            if table is not kept:
                table.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            held = self.__dict__.get(table)
            if held is not None and name in held:
                return held[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if name in self._parameters or name in self._buffers or name in self._modules:
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def add_module(self, name: str, module: Module) -> None:
        """Hold a module under a name that need not be a Python identifier.

        Raises
        ------
        TypeError
            It is not a module, or the name is not a string.
        ValueError
            The name is empty, has a dot, or is an attribute of another kind.
        """
        who = type(self).__name__
        if not isinstance(module, Module):
            raise TypeError(f"{who}: {name!r} is to be a {type(module).__name__}, not a module")
        if not isinstance(name, str):
            raise TypeError(f"{who}: a module's name is a str, not {name!r}")
        if not name or "." in name:
            raise ValueError(f"{who}: {name!r} is no name of a module: keys of the state join names by dots")
        if name not in self._modules and hasattr(self, name):
            raise ValueError(f"{who}: {name!r} is an attribute already; take another name")
        setattr(self, name, module)

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Hold a tensor that belongs to the state but is not learnt, such as running statistics."""
        self._forget(name, self._buffers)
        self._buffers[name] = tensor if tensor is None else label(tensor, name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Hold a parameter under a name, or None to say that there is deliberately none."""
        self._forget(name, self._parameters)
        self._parameters[name] = parameter

    # --- walks --------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside with their names, a shared one once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly inside, a shared one once."""
        for _, module in self.named_children():
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path such as ``"encoder.0"``; the empty path is the module itself.

        Raises
        ------
        AttributeError
            There is none; the message says which there are instead.
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
        """Call `fn` with every module inside and then with this one, to initialise them; returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside, with dotted names, each once."""
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
        """This module and all inside, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names, a shared one once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{path}.{name}" if path else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, a shared one once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers with dotted names."""
        for path, module in self.named_modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield f"{path}.{name}" if path else name, buffer

    # --- modes and state ----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and in all modules inside; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set prediction mode here and in all modules inside; returns the module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Say whether the parameters here and inside are learnt, to freeze or thaw them; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def astype(self: M, dtype: DTypeLike) -> M:
        """Convert all floating-point parameters, gradients and buffers in place; returns the module.

        Buffers, such as running statistics, stay at float32 where the parameters go to float16.

        The parameters stay the same objects, so an optimiser that holds them goes on; a graph made before is stale.

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
            (x, x.numpy().astype(to), x.grad)
            for x, to in [*((x, new) for x in self.parameters()), *kept]
            if x.dtype.kind == "f" and x.dtype != to
        ]
        for tensor, value, gradient in changed:
            tensor._replace(value)
            tensor.grad = None if gradient is None else gradient.detach().astype(new)
        return self

    def zero_grad(self) -> None:
        """Set ``.grad`` of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers under PyTorch's keys."""
        state: dict[str, Array] = {}
        for path, module in self.named_modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    state[f"{path}.{name}" if path else name] = tensor.numpy().copy()
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike | Tensor]) -> None:
        """Take parameters and buffers from a state: all of them, or none when anything does not fit.

        Raises
        ------
        ValueError
            Keys are missing or unexpected, values are no numbers, or shapes or dtypes differ; all of it is listed.
        """
        own: dict[str, Tensor] = {}
        for path, module in self.named_modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    own[f"{path}.{name}" if path else name] = tensor
        problems = [f"missing {key}" for key in own.keys() - state.keys()]
        problems += [f"unexpected {key}" for key in state.keys() - own.keys()]
        values: dict[str, Array] = {}
        for key in own.keys() & state.keys():
            given = state[key]
            try:
                value = own_array(given.numpy() if isinstance(given, Tensor) else given, key)
            except (TypeError, ValueError) as error:
                problems.append(str(error))
                continue
            if value.shape != own[key].shape:
                problems.append(f"{key} has shape {value.shape}, expected {own[key].shape}")
            elif not np.can_cast(value.dtype, own[key].dtype, "same_kind"):
                problems.append(f"{key} has dtype {value.dtype}, expected {own[key].dtype}")
            else:
                values[key] = value
        if problems:
            raise ValueError(f"load_state_dict: nothing was loaded: {'; '.join(sorted(problems))}")
        for key, value in values.items():
            own[key].assign_(value)
