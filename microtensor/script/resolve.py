"""Finds the tensor, function or module that was asked for, among the names that a script has defined."""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import history, made_by, with_asides
from microtensor.nn.embedding import Embedding
from microtensor.nn.module import Module
from microtensor.script.backwards import Backwards
from microtensor.script.inputs import SEED, InputError, arguments, drawn
from microtensor.script.names import is_a
from microtensor.script.reference import Step, steps
from microtensor.script.target import WITH_TORCH, Target
from microtensor.text import LINE, columns, padded, safe_text

# The most tensors that an error lists: the last of them.
MOST_LISTED = 20


class TargetError(Exception):
    """The script ran, but its target is missing, is not a tensor, or is not unique."""


class UndefinedError(TargetError):
    """The target was never made. Perhaps the script exited too early."""


@dataclass(frozen=True)
class Found:
    """The tensor that was asked for, and remarks for the user.

    Attributes
    ----------
    tensor : Tensor
    notes : tuple of str
    function : callable or None
        The function that made the tensor, if a function of numbers was asked for.
    inputs : tuple of Tensor
        The arguments with which the function was called, in their order.
    failure : ScriptError or None
        The error of the script after the tensor was made. It must be raised after the tensor has been used.
    """

    tensor: Tensor
    notes: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    inputs: tuple[Tensor, ...] = ()
    failure: Exception | None = None


def resolve(namespace: Mapping[str, Any], target: Target, functions: bool, backwards: Backwards) -> Found:
    """The tensor that the target names, or the only candidate: at module level, or else of a backward pass."""
    shown, last = target.shown, target.stop_at_backward
    if last is not None and not backwards.stopped:
        times = f"{backwards.count} time{'s' if backwards.count != 1 else ''}"
        raise TargetError(f"{shown} called backward() or grad() {times}, so it did not reach backward pass {last}")
    if target.attr is not None:
        return _found(_lookup(namespace, target.attr, target), f"{shown}:{target.attr}", functions, target)
    if target.shapes:
        return Found(_called(*_only_module(namespace, target), target))
    if backwards.stopped and backwards.root is not None:
        return Found(backwards.root, (f"{shown} was stopped at backward pass {backwards.count}",))
    results = _results(_tensors(namespace)) or _results(_held(namespace))
    if results:
        return _only(results, shown)
    makers = _makers(namespace, functions)
    names = [safe_text(name, LINE) for name in makers]
    if len(makers) == 1:
        return _found(next(iter(makers.values())), f"{shown}:{names[0]}", functions, target)
    if makers:
        listed = "\n".join(f"  {name}()" for name in names)
        raise TargetError(
            f"{shown} has {len(makers)} functions that return a Tensor; say which one with {shown}:{names[0]}\n{listed}"
        )
    if backwards.root is not None:
        passes = f"the last of {backwards.count} backward passes" if backwards.count > 1 else "its backward pass"
        note = f"{shown} keeps no result at module level: this is the tensor of {passes}"
        return Found(backwards.root, (note,))
    tensors = _tensors(namespace)
    results = _results(tensors, for_picture=True)
    if results:
        return _only(results, shown)
    if tensors:
        raise UndefinedError(
            f"{shown} has no tensor with a history; compute one from a tensor with requires_grad=True, outside no_grad,"
            f" or name one of these with {shown}:{safe_text(next(iter(tensors)), LINE)}\n{_listed(tensors)}"
        )
    modules = [safe_text(name, LINE) for name, value in namespace.items() if is_a(value, Module)]
    if modules:
        raise UndefinedError(
            f"{shown} has no tensor at module level, but a module, {modules[0]}; call it with a random input: "
            f"{shown}:{modules[0]} --input-shape 4x3"
        )
    raise UndefinedError(
        f"{shown} has no tensor at module level, in no list, tuple or dictionary there, no function without arguments "
        "that is annotated -> Tensor, and it called neither backward() nor grad(); "
        f"{WITH_TORCH if _imports_torch(namespace) else 'keep the result in a variable there'}"
    )


def _imports_torch(namespace: Mapping[str, Any]) -> bool:
    """Whether a script has imported PyTorch itself."""
    modules = [value.__name__ for value in namespace.values() if type(value) is ModuleType]
    return any(f"{name}.".startswith("torch.") for name in modules)


def _only(results: Mapping[str, Tensor], shown: str) -> Found:
    if len(results) == 1:
        return Found(next(iter(results.values())))
    first = safe_text(next(iter(results)), LINE)
    raise TargetError(f"{shown} has {len(results)} results; say which one with {shown}:{first}\n{_listed(results)}")


def made_by_then(namespace: Mapping[str, Any], target: Target) -> Tensor | None:
    """The tensor that the target names, if a failed script had defined it. Nothing is called to get it."""
    if target.attr is None:
        return None
    first, *rest = steps(target.attr)
    value = namespace.get(first.attribute)
    try:
        for step in rest:
            value = getattr(value, step.attribute) if step.attribute else value[step.item]  # type: ignore[index]
    except Exception:
        return None
    return value if is_a(value, Tensor) else None


def _tensors(namespace: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors at module level, each under its first name."""
    seen: set[int] = set()
    found = {}
    for name, value in namespace.items():
        if is_a(value, Tensor) and id(value) not in seen and is_a(name, str):
            seen.add(id(value))
            found[name] = value
    return found


def _held(namespace: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors in the lists, tuples and dictionaries at module level, each under its first reference."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in namespace.items():
        if not is_a(name, str) or type(value) not in (list, tuple, dict):
            continue
        for key, part in value.items() if type(value) is dict else enumerate(value):
            if is_a(part, Tensor):
                found.setdefault(id(part), (f"{name}[{key}]", part))
    return dict(found.values())


def _results(tensors: Mapping[str, Tensor], for_picture: bool = False) -> dict[str, Tensor]:
    """The tensors with a history from which no other one was made.

    With `for_picture`, the history may be one that was recorded for the picture alone.
    """
    made = {name: x for name, x in tensors.items() if (made_by(x) if for_picture else x.node) is not None}
    used = {id(x) for _, node in with_asides(*made.values()) for x in node.inputs}
    return {name: x for name, x in made.items() if id(x) not in used}


def _makers(namespace: Mapping[str, Any], functions: bool) -> dict[str, Callable[[], Any]]:
    """The functions of the script that need no argument and are annotated to return a Tensor.

    With `functions`, a function that takes arrays needs no annotation.
    """

    def takes_arrays(function: Any) -> bool:
        return any(not isinstance(default, float) for default in _defaults(function).values())

    found: dict[str, Callable[[], Any]] = {}
    for name, value in namespace.items():
        if (
            is_a(value, FunctionType)
            and value.__module__ == namespace.get("__name__")
            and _needs_nothing(value)
            and (_says_tensor(value.__annotations__.get("return")) or (functions and takes_arrays(value)))
            and all(value is not other for other in found.values())
        ):
            found[name] = value
    return found


def _says_tensor(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.strip("\"' ").rpartition(".")[2] == "Tensor"
    return isinstance(annotation, type) and issubclass(annotation, Tensor)


def _needs_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _defaults(function: Any) -> dict[str, Any]:
    """The defaults of a function that takes only numbers, else nothing."""
    if not callable(function) or isinstance(function, (Tensor, Module)):
        return {}
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return defaults if all(isinstance(d, (Tensor, np.ndarray, float)) for d in defaults.values()) else {}


def _found(value: Any, shown: str, functions: bool, target: Target) -> Found:
    given = _defaults(value) if functions else {}
    # What needs no argument may make the module that the shapes are for.
    takes = isinstance(value, FunctionType) and (not _needs_nothing(value) or any(s.name for s in target.shapes))
    if target.shapes and takes:
        try:
            given = arguments(value, target.shapes)
        except InputError as error:
            raise TargetError(f"{shown}: {error}") from None
    if not given:
        return Found(_made_by(value, shown, functions, target))
    signature = inspect.signature(value)

    def function(*tensors: Tensor) -> Any:
        bound = signature.bind_partial()
        bound.arguments.update(zip(given, tensors, strict=True))
        return _tensor(value(*bound.args, **bound.kwargs), f"{shown}({', '.join(given)})")

    inputs = []
    for name, argument in given.items():
        tensor = Tensor(argument)
        # Labels and masks have no gradient, so they stay what they are.
        real = tensor.dtype.kind == "f"
        inputs.append(Tensor(tensor, dtype=np.float64 if real else None, requires_grad=real, name=name))
    result = function(*inputs)
    return Found(result, (), function, tuple(inputs)) if functions else Found(result)


def _tensor(result: Any, shown: str) -> Tensor:
    """The result of a call: a Tensor, the first of several, as where a forward returns a cache too, or the only one."""
    if isinstance(result, tuple) and len(result) > 1:
        result = result[0]
    if is_a(result, dict):
        tensors = {key: value for key, value in result.items() if isinstance(value, Tensor)}
        if len(tensors) > 1:
            named = shown.removesuffix("()")
            keys = ", ".join(f"{named}[{safe_text(str(key), LINE)}]" for key in tensors)
            raise TargetError(f"{shown} returns a dictionary; say which tensor of it: {keys}")
        result = next(iter(tensors.values()), result)
    if not isinstance(result, Tensor):
        raise TargetError(f"{shown} must return a Tensor, not a value of type {type(result).__name__}")
    return result


def _lookup(namespace: Mapping[str, Any], attr: str, target: Target) -> Any:
    first, *rest = steps(attr)
    if first.attribute not in namespace:
        raise _unknown(target.shown, first.attribute, namespace, namespace, target)
    value, owner = namespace[first.attribute], f"{target.shown}:{first.shown}"
    for step in rest:
        if step.attribute:
            try:
                value = getattr(value, step.attribute)
            except AttributeError:
                raise _unknown(owner, step.attribute, dir(value), namespace, target) from None
        else:
            # An item of a module is one of the results of its call.
            value = _item(_outputs(value, owner, target) if isinstance(value, Module) else value, step, owner)
        owner += step.shown
    return value


def _item(value: Any, step: Step, owner: str) -> Any:
    for key in dict.fromkeys((step.item, str(step.item))):
        with contextlib.suppress(Exception):
            return value[key]
    if is_a(value, dict):
        there = ", ".join(f"[{safe_text(str(key), LINE)}]" for key in value) or "no items"
    elif isinstance(value, (list, tuple)):
        there = f"{len(value)} item{'s' if len(value) != 1 else ''}"
    else:
        raise TargetError(f"{owner} is of type {type(value).__name__}, which has no items")
    raise UndefinedError(f"{owner} has no {step.shown}; it has {there}")


def _unknown(
    owner: str, name: str, names: Iterable[str], namespace: Mapping[str, Any], target: Target
) -> UndefinedError:
    near = difflib.get_close_matches(name, [n for n in names if not n.startswith("__")], 1)
    tensors = _tensors(namespace)
    message = f"{owner} has no {name}" + (f"; did you mean {safe_text(near[0], LINE)}?" if near else "")
    return UndefinedError(f"{message}\ntensors in {target.shown}:\n{_listed(tensors)}" if tensors else message)


def _made_by(value: Any, shown: str, functions: bool, target: Target) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Module):
        return _called(value, shown, target)
    if not callable(value) or not _needs_nothing(value):
        what = "needs arguments" if callable(value) else f"is of type {type(value).__name__}"
        hint = ", or one whose parameters all have a tensor, an array or a float as their default" if functions else ""
        hint += "; --input-shape x=4x3 gives its parameter x a random input" if callable(value) else ""
        raise TargetError(
            f"{shown} {what}; it must be a Tensor, or a function without arguments that returns one{hint}"
        )
    result = value()
    return _called(result, f"{shown}()", target) if isinstance(result, Module) else _tensor(result, f"{shown}()")


def _only_module(namespace: Mapping[str, Any], target: Target) -> tuple[Module, str]:
    """The one module of a script that is not part of another."""
    modules = {name: value for name, value in namespace.items() if is_a(value, Module)}
    parts = {id(part) for module in modules.values() for part in module.modules() if part is not module}
    whole = {name: module for name, module in modules.items() if id(module) not in parts}
    if len({id(module) for module in whole.values()}) != 1:
        listed = ", ".join(f"{target.shown}:{safe_text(name, LINE)}" for name in whole) or "none at module level"
        raise TargetError(f"which module is --input-shape for? There are {listed}")
    name, module = next(iter(whole.items()))
    return module, f"{target.shown}:{safe_text(name, LINE)}"


def _called(module: Module, shown: str, target: Target) -> Tensor:
    """The first output of a module for random inputs."""
    result = _outputs(module, shown, target)
    # A recurrent layer returns its states as well.
    first = _tensor(result[0] if isinstance(result, tuple) and result else result, shown)
    for _, node in history(first):
        # A module of the library was not called by a line of the program.
        if node.line.startswith(contextlib.__file__):
            node.line = ""
    return first


def _outputs(module: Module, shown: str, target: Target) -> Any:
    """What a module returns for random inputs, the same on every run."""
    kind = type(module).__name__
    if not target.shapes:
        raise TargetError(
            f"{shown} is a module ({kind}), which has no graph before it is called; give it a random input with "
            "--input-shape 4x3, or assign the result of a call to a variable and name that one"
        )
    rng = np.random.default_rng(SEED)
    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float64))
    sizes = [part.num_embeddings for part in module.modules() if isinstance(part, Embedding)]
    inputs, named = [], {}
    for i, shape in enumerate(target.shapes):
        name = shape.name or (f"x{i + 1}" if len(target.shapes) > 1 else "x")
        numbers = drawn(shape, rng, min(sizes, default=2))
        x = Tensor(numbers, dtype=None if shape.whole else dtype, requires_grad=not shape.whole, name=name)
        if shape.name:
            named[name] = x
        else:
            inputs.append(x)
    module.train(target.training)
    if not module._name:
        module._name = shown.rpartition(":")[2].strip("()").rpartition(".")[2]
    try:
        return module(*inputs, **named)
    except (TypeError, ValueError, IndexError) as error:
        shapes = ", ".join(str(shape.sizes) for shape in target.shapes)
        hint = "; --input-shape 4x3:int gives whole numbers" if sizes else ""
        raise TargetError(
            f"{shown} does not take an input of shape {shapes}: {safe_text(str(error), LINE)}{hint}"
        ) from error


def _listed(tensors: Mapping[str, Tensor]) -> str:
    shown = {safe_text(name, LINE): value for name, value in [*tensors.items()][-MOST_LISTED:]}
    width = max(map(columns, shown))
    rows = [f"  {padded(name, width)}  {value.shape or 'scalar'}" for name, value in shown.items()]
    return "\n".join(["  …"] * (len(tensors) > MOST_LISTED) + rows)
