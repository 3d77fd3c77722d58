"""What all optimisers share: parameter groups and their settings, the loop over the gradients, and the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from microtensor.checks import plain_flag, plain_number
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter
from microtensor.support.arrays import Array, own_array

Options: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]

# What a group holds beside the settings of the optimiser: its tensors, and the rate that a schedule starts from.
_OWN_KEYS = {"params", "initial_lr"}
# What PyTorch's checkpoints carry along beside: how it runs an update, the names of the parameters, and what its
# schedules leave in a group.
_PYTORCH_KEYS = {
    *("capturable", "differentiable", "foreach", "fused", "param_names"),
    *("max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"),
}
# Adam and AdamW have the same settings; only this tells their states apart.
_DECOUPLED = "decoupled_weight_decay"


class Optimizer:
    """The base of all optimisers: it holds groups of parameters, and updates each parameter that has a gradient.

    A subclass names its settings and their defaults, and defines one update rule. A NaN in a gradient makes the
    parameter NaN, as in PyTorch; ``nn.utils.clip_grad_norm_(…, error_if_nonfinite=True)`` raises before that. float16
    parameters are updated in float32.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Leaves that require a gradient. Or groups, ``{"params": tensors, "lr": 0.1, …}``, each with its own settings.
    defaults : dict
        The settings that a group does not have itself.

    Attributes
    ----------
    param_groups : list of dict
        The parameters and settings of each group. They may be changed: ``param_groups[0]["lr"] = 0.01``. Settings may
        be given as NumPy scalars, fractions, or arrays or tensors of one element. They are kept as Python numbers.
    state : dict
        What the optimiser remembers of each parameter that it has updated.

    Raises
    ------
    ValueError
        There are no parameters, one is given twice, or one is not a leaf that requires a gradient. Or a setting is
        unknown or out of range.
    TypeError
        `params` is a single tensor, group or module, and not an iterable of them.

    Examples
    --------
    >>> import microtensor as mt
    >>> net = mt.nn.Sequential(mt.nn.Linear(2, 3), mt.nn.Linear(3, 1))
    >>> groups = [{"params": net[0].parameters()}, {"params": net[1].parameters(), "lr": 0.01}]
    >>> sgd = mt.optim.SGD(groups, lr=0.1, momentum=0.9)
    >>> [(len(group["params"]), group["lr"]) for group in sgd.param_groups]
    [(2, 0.1), (2, 0.01)]
    """

    # The settings that are yes or no; all others are numbers, from 0 to below infinity or to below a bound named here.
    _flags: ClassVar[frozenset[str]] = frozenset({"maximize"})
    _below: ClassVar[Mapping[str, float]] = {}
    # Whether the weights shrink by themselves (AdamW) or the gradient of the penalty joins that of the loss (Adam).
    # Elsewhere the penalty joins too, and states do not say so.
    _decoupled: ClassVar[bool | None] = None

    def __init__(self, params: Iterable[Tensor] | Iterable[Options], defaults: Options) -> None:
        who = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{who}: params is a single tensor; put it into a list")
        if isinstance(params, Mapping) or not isinstance(params, Iterable):
            raise TypeError(f"{who}: params is of type {type(params).__name__}; give module.parameters(), or a list")
        self.defaults = defaults
        self.param_groups: list[Options] = []
        self.state: dict[Tensor, State] = {}
        given: list[Any] = list(params)
        groups = given if given and isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)
        if not self._parameters():
            raise ValueError(f"{who}: there are no parameters to optimise")

    def __repr__(self) -> str:
        groups = []
        for group in self.param_groups:
            settings = ", ".join(f"{name}={group[name]}" for name in self.defaults)
            groups.append(f"{type(self).__name__}({len(group['params'])} tensors, {settings})")
        return "\n".join(groups)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, such as those of a layer that is unfrozen later.

        Parameters
        ----------
        group : dict
            ``params``, a tensor or an iterable of them, and the group's own settings.

        Raises
        ------
        ValueError
            As for the constructor. Nothing is added then.
        TypeError
            The group is not a dict, or its params are not tensors.
        """
        who = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f'{who}: a parameter group is a dict with the key "params", not {group!r}')
        if unknown := group.keys() - self.defaults.keys() - _OWN_KEYS:
            raise ValueError(
                f"{who}: a parameter group has no setting {', '.join(map(repr, sorted(unknown)))}; "
                f"there are {', '.join(self.defaults)}"
            )
        params = group["params"]
        if not isinstance(params, Iterable):
            raise TypeError(f"{who}: params is of type {type(params).__name__}; give module.parameters(), or a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        for parameter in params:
            # A frozen Parameter simply never has a gradient; a plain tensor without one has been forgotten.
            learnt = isinstance(parameter, Parameter) or (isinstance(parameter, Tensor) and parameter.requires_grad)
            if not (learnt and parameter.is_leaf):
                raise ValueError(f"{who}: only leaves that require a gradient can be optimised, not {parameter!r}")
        everyone = [*self._parameters(), *params]
        if len(set(everyone)) != len(everyone):
            raise ValueError(f"{who}: a parameter is given twice")
        new = {**self.defaults, **group, "params": params}
        self.param_groups.append({**new, **self._settings(new)})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set ``.grad`` of every parameter to None, so that the next backward does not add to it.

        With ``set_to_none=False`` a gradient becomes zeros, and :meth:`step` still updates its parameter.
        """
        for parameter in self._parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = np.zeros(parameter.shape, parameter.dtype)

    def step(self) -> None:
        """Update every parameter that has a gradient.

        The new value is a new array. An array that was taken from the parameter before does not change.

        Raises
        ------
        ValueError
            A setting has been changed to a value out of range. No parameter is updated then.
        """
        settings = [self._settings(group) for group in self.param_groups]
        with np.errstate(all="ignore"):
            for group, options in zip(self.param_groups, settings, strict=True):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step_one(parameter, parameter.grad, options)

    def _step_one(self, parameter: Tensor, grad: Tensor, options: Options) -> None:
        wide = _state_dtype(parameter)
        value, gradient = (x._array.astype(wide, copy=False) for x in (parameter, grad))
        if options["maximize"]:
            gradient = np.negative(gradient)
        if decay := options["weight_decay"]:
            if self._decoupled:
                value = value * (1 - options["lr"] * decay)
            else:
                gradient = gradient + decay * value
        state = self.state.setdefault(parameter, {})
        for name, start in self._start(options).items():
            if name not in state:
                state[name] = np.full_like(value, start) if isinstance(start, float) else start
        parameter._replace(np.asarray(self._update(value, gradient, state, options), parameter.dtype))

    def _start(self, options: Options) -> dict[str, float | None]:
        """The first state of a parameter: a float stands for a buffer filled with it, an int for a count."""
        raise NotImplementedError

    def _update(self, value: Array, gradient: Array, state: State, options: Options) -> Any:
        """The next value, as a new array; the buffers of the state are updated in place."""
        raise NotImplementedError

    def _settings(self, group: Options) -> Options:
        """The settings of a group, checked, as Python numbers: they change no dtype and can be stored in any file."""
        who = type(self).__name__
        settings: Options = {}
        if missing := self.defaults.keys() - group.keys():
            raise ValueError(f"{who}: a group has no {', '.join(sorted(missing))}; add_param_group adds defaults")
        for name in self.defaults:
            value, below = group[name], self._below.get(name, math.inf)
            if name in self._flags:
                settings[name] = _flag(value, f"{who}: {name}")
            elif name == "betas":
                settings[name] = _pair(value, f"{who}: {name}", below)
            else:
                settings[name] = bounded_number(value, f"{who}: {name}", below)
        if "initial_lr" in group:
            settings["initial_lr"] = bounded_number(group["initial_lr"], f"{who}: initial_lr", math.inf)
        return settings

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    # --- state --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The settings and copies of all buffers, in PyTorch's layout: plain dicts of numbers and arrays.

        Returns
        -------
        dict
            ``param_groups`` has the settings of each group and the numbers of its parameters. ``state`` has the buffers
            of each parameter, by its number.

        Raises
        ------
        ValueError
            A setting has been changed to a value out of range. Such a state could not be loaded again.
        """
        number = {parameter: i for i, parameter in enumerate(self._parameters())}
        tag = {} if self._decoupled is None else {_DECOUPLED: self._decoupled}
        return {
            "state": {
                number[parameter]: {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in state.items()}
                for parameter, state in self.state.items()
            },
            "param_groups": [
                {**group, **self._settings(group), **tag, "params": [number[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load settings and buffers from :meth:`state_dict`, or from PyTorch's. If one does not fit, none is loaded.

        Raises
        ------
        ValueError
            Groups, parameters, settings or buffers do not match those of this optimiser. The message lists all of them.
        """
        who = f"{type(self).__name__}.load_state_dict"
        try:
            saved, entries = list(state_dict["param_groups"]), dict(state_dict["state"])
            numbers = [list(group["params"]) for group in saved]
            known = {number for group in numbers for number in group}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{who}: not the state of an optimiser; it must have param_groups and state") from error
        sizes, own = [len(group) for group in numbers], [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(f"{who}: the state has groups of {sizes} parameters; this optimiser has {own}")
        problems: list[str] = []
        groups: list[Options] = []
        state: dict[Tensor, State] = {}
        for i, (theirs, ours) in enumerate(zip(saved, self.param_groups, strict=True)):
            differing = (theirs.keys() - _OWN_KEYS - _PYTORCH_KEYS - {_DECOUPLED}) ^ self.defaults.keys()
            problems += [f"group {i}: {name} is missing or unexpected" for name in differing]
            if theirs.get(_DECOUPLED, self._decoupled) != self._decoupled:
                problems.append(f"group {i}: it is of {'Adam' if self._decoupled else 'AdamW'}, which decays otherwise")
            if differing:
                continue
            try:
                options = self._settings(theirs)
            except ValueError as error:
                problems.append(f"group {i}: {error}")
                continue
            groups.append(options)
            for number, parameter in zip(numbers[i], ours["params"], strict=True):
                if number in entries:
                    what = f"parameter {number}"
                    state[parameter] = self._loaded(entries[number], parameter, options, what, problems)
        problems += [f"parameter {number} is in no group" for number in entries.keys() - known]
        if problems:
            raise ValueError(f"{who}: nothing was loaded: {'; '.join(sorted(problems))}")
        for ours, options in zip(self.param_groups, groups, strict=True):
            ours.update(options)
        self.state = state

    def _loaded(
        self, entry: Mapping[str, Any], parameter: Tensor, options: Options, who: str, problems: list[str]
    ) -> State:
        """The state of one parameter from a saved one. What does not fit is added to the problems."""
        expected = self._start(options)
        if not isinstance(entry, Mapping):
            problems.append(f"{who}: its state is of type {type(entry).__name__}; it must be a mapping")
            return {}
        given = {name: value for name, value in entry.items() if value is not None}
        # PyTorch counts the steps in every state.
        problems += [f"{who}: {name} is unexpected" for name in given.keys() - expected.keys() - {"step"}]
        state: State = {}
        for name, start in expected.items():
            if name not in given:
                if start is not None:
                    problems.append(f"{who}: {name} is missing")
                continue
            try:
                state[name] = _entry(given[name], isinstance(start, int), parameter, f"{who}: {name}")
            except (TypeError, ValueError) as error:
                problems.append(str(error))
        return state


def _entry(value: Any, is_count: bool, parameter: Tensor, who: str) -> Any:
    """One entry of a parameter's state: a count, or an array of the parameter's shape."""
    if not is_count:
        value = own_array(value, who, _state_dtype(parameter))
    shape, expected = np.shape(value), () if is_count else parameter.shape
    if shape != expected:
        raise ValueError(f"{who} has shape {shape}; it must be {expected}")
    return whole_number(value, who, 0) if is_count else value


def _state_dtype(parameter: Tensor) -> np.dtype[Any]:
    """The dtype of the parameter, but float32 for float16, in which ε and small squares are rounded to 0."""
    return np.promote_types(parameter.dtype, np.float32)


def move_average(average: Array, decay: float, value: Array) -> None:
    """Move a running average in place: average ← decay · average + (1 − decay) · value."""
    average *= decay
    average += value * (1 - decay)


def any_number(value: Any, what: str) -> float:
    """Return a number as a float; it may be NaN or ∞. Anything else raises a ValueError."""
    number = plain_number(value)
    if number is None:
        raise ValueError(f"{what} is {value!r}; it must be a number")
    return float(number)


def bounded_number(value: Any, what: str, below: float = math.inf) -> float:
    """Return a number as a float. It must be at least 0 and below a bound; anything else raises a ValueError."""
    number = plain_number(value)
    if number is None or not 0 <= number < below:
        bound = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{what} is {value!r}; it must be a finite number, at least 0{bound}")
    return float(number)


def whole_number(value: Any, what: str, low: int) -> int:
    """Return an integer that is at least `low`. It may be a float such as 2.0; anything else raises a ValueError."""
    number = plain_number(value)
    if number is None or not low <= number < math.inf or number != int(number):
        raise ValueError(f"{what} is {value!r}; it must be an integer, at least {low}")
    return int(number)


def is_list(value: Any) -> bool:
    """Whether a value holds several settings, as a list, a tuple or an array does."""
    return isinstance(value, (tuple, list)) or len(getattr(value, "shape", ())) == 1


def _pair(value: Any, what: str, below: float) -> tuple[float, ...]:
    if not is_list(value) or len(value) != 2:
        raise ValueError(f"{what} is {value!r}; it must be two numbers")
    return tuple(bounded_number(v, f"{what}[{i}]", below) for i, v in enumerate(value))


def _flag(value: Any, what: str) -> bool:
    flag = plain_flag(value)
    if flag is None:
        raise ValueError(f"{what} is {value!r}; it must be True or False")
    return flag
