"""Layers around a function: they keep its settings, pass them on, and complete their docstrings from its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY
from inspect import Parameter, Signature
from typing import Any, ClassVar, dataclass_transform

from microtensor.core.tensor import Tensor
from microtensor.nn.docstrings import completed
from microtensor.nn.module import Module


@dataclass_transform()
class Wrapper(Module):
    """The base of layers that are a function and its settings.

    A subclass names the function and declares the settings as a dataclass does: ``alpha: float = 1.0``. The constructor
    is made from these lines and takes the settings in this order. Settings after a line ``_: KW_ONLY`` are given by
    name only. Type checkers read these lines too. Missing parts of the docstring are copied from the docstring of the
    function.

    Examples
    --------
    >>> import microtensor as mt
    >>> def scaled_tanh(x, scale):
    ...     return mt.tanh(x) * scale
    >>> class ScaledTanh(mt.nn.activation.Activation):
    ...     function = scaled_tanh
    ...     scale: float = 1.0
    >>> ScaledTanh(scale=2.0)
    ScaledTanh(scale=2.0)
    """

    function: ClassVar[Callable[..., Tensor]]
    _settings: ClassVar[tuple[str, ...]] = ()
    _declared: ClassVar[tuple[Parameter, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        function = vars(cls).get("function")
        if function is None:
            return
        if inspect.isfunction(function):
            cls.function = staticmethod(function)
        parameters = _with_own(cls)
        # A constructor that was written by hand stays, also one of a base unless there are further settings.
        if "__init__" not in vars(cls) and (parameters != cls._declared or cls.__init__ is Module.__init__):
            cls._declared = parameters
            cls._settings = tuple(parameter.name for parameter in parameters)
            cls.__init__ = _constructor(cls, parameters)  # type: ignore[method-assign]
        cls.__doc__ = completed(cls.__doc__ or "", function.__doc__ or "", cls._settings)

    def _keep(self, name: str, value: Any) -> None:
        """Hold the value of a setting; a subclass checks it here."""
        setattr(self, name, value)

    def _computed(self, *inputs: Any) -> Tensor:
        """The function of the inputs with the settings."""
        return type(self).function(*inputs, **{name: getattr(self, name) for name in self._settings})

    def extra_repr(self) -> str:
        """The settings by name, the reduction of a loss last; weights are left out."""
        names = sorted(
            set(self._settings) - self._buffers.keys(),
            key=lambda name: (name == "reduction", self._settings.index(name)),
        )
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def _with_own(cls: type[Wrapper]) -> tuple[Parameter, ...]:
    """The settings of the base and those that the class declares, as parameters of a constructor."""
    found = {parameter.name: parameter for parameter in cls._declared}
    kind: Any = Parameter.POSITIONAL_OR_KEYWORD
    for name, annotation in inspect.get_annotations(cls).items():
        if annotation in ("KW_ONLY", KW_ONLY):
            kind = Parameter.KEYWORD_ONLY
        elif "ClassVar" not in str(annotation):
            default = vars(cls).get(name, Parameter.empty)
            found[name] = Parameter(name, kind, default=default, annotation=annotation)
            if default is not Parameter.empty:
                # An attribute of the class would be in the way of a Parameter of that name.
                delattr(cls, name)
    return tuple(sorted(found.values(), key=lambda parameter: parameter.kind))


def _constructor(cls: type[Wrapper], parameters: tuple[Parameter, ...]) -> Callable[..., None]:
    signature = Signature(parameters, return_annotation="None")

    def __init__(self: Wrapper, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        given.apply_defaults()
        Module.__init__(self)
        for name, value in given.arguments.items():
            self._keep(name, value)

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    own = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature.replace(parameters=[own, *parameters])  # type: ignore[attr-defined]
    return __init__
