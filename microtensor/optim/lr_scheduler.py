"""Schedules of the learning rate: each is a function from the epoch to the rate of every parameter group."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microtensor.optim.optimizer import Optimizer


class LRScheduler:
    """The base of the schedules: counts epochs, and gives the optimiser the rates that :meth:`lrs_at` names.

    A schedule starts with the rates that the optimiser has when it is made (``initial_lr`` of a group) and sets the
    rates of epoch 0 at once; call :meth:`step` after the optimiser's, once an epoch or once a batch. The rate depends
    on the epoch alone, so one optimiser has one schedule; :class:`SequentialLR` joins several, one after the other.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The epoch to go on after; −1 for a new start.

    Attributes
    ----------
    last_epoch : int
        The epoch whose rates are set.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.step()

    @property
    def base_lrs(self) -> list[float]:
        """The rate of every group at the start."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    def lrs_at(self, epoch: int) -> list[float]:
        """The rate of every group at an epoch; changes nothing."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rate of every group as it is now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on to the next epoch."""
        rates = self.lrs_at(self.last_epoch + 1)
        self.last_epoch += 1
        _set_rates(self.optimizer, rates)

    def state_dict(self) -> dict[str, Any]:
        """The epoch; the rates at the start are in the optimiser's state."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the epoch of a state, and set its rates. Load the optimiser's state before.

        Raises
        ------
        ValueError
            The state has other keys; nothing is changed.
        """
        _check_keys(self, state_dict)
        rates = self.lrs_at(state_dict["last_epoch"])
        self.last_epoch = state_dict["last_epoch"]
        _set_rates(self.optimizer, rates)


class LambdaLR(LRScheduler):
    """A rate of one's own: lr₀ · f(epoch).

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or sequence of callable
        f, for all groups or one for each.
    last_epoch : int

    Raises
    ------
    ValueError
        There are more or fewer functions than groups.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.LambdaLR(sgd, lambda epoch: 1 / (1 + epoch))
    >>> [schedule.lrs_at(epoch)[0] for epoch in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ · f(epoch)."""
        bases = self.base_lrs
        functions = [self.lr_lambda] * len(bases) if callable(self.lr_lambda) else list(self.lr_lambda)
        if len(functions) != len(bases):
            raise ValueError(f"LambdaLR: {len(functions)} functions for {len(bases)} parameter groups")
        return [base * float(f(epoch)) for base, f in zip(bases, functions, strict=True)]


class StepLR(LRScheduler):
    """A stair: lr₀ · γ^⌊epoch / step_size⌋.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        The epochs on a step, at least 1.
    gamma : float
        γ, the factor from step to step.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.StepLR(sgd, step_size=2, gamma=0.5)
    >>> [schedule.lrs_at(epoch)[0] for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _at_least(1, step_size, "StepLR: step_size")
        self.gamma = _at_least(0, gamma, "StepLR: gamma")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ · γ^⌊epoch / step_size⌋."""
        return [base * self.gamma ** (epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """A stair with steps of one's own: lr₀ · γⁿ with n the number of milestones passed.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : sequence of int
        The epochs at which the rate falls; one that is named twice counts twice.
    gamma : float
        γ, the factor at a milestone.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.MultiStepLR(sgd, milestones=[1, 3], gamma=0.5)
    >>> [schedule.lrs_at(epoch)[0] for epoch in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = _at_least(0, gamma, "MultiStepLR: gamma")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ · γⁿ."""
        return [base * self.gamma ** bisect_right(self.milestones, epoch) for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """A steady fall: lr₀ · γ^epoch.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
        γ, the factor from epoch to epoch.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
    >>> [schedule.lrs_at(epoch)[0] for epoch in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = _at_least(0, gamma, "ExponentialLR: gamma")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ · γ^epoch."""
        return [base * self.gamma**epoch for base in self.base_lrs]


class LinearLR(LRScheduler):
    """A ramp, mostly to warm up: lr₀ times a factor that goes in a straight line from one value to another.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        The factor at epoch 0, and from epoch `total_iters` on.
    total_iters : int
        The epochs of the ramp, at least 1.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.

    References
    ----------
    Goyal et al., *Accurate, Large Minibatch SGD*, 2017, section 2.2.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.LinearLR(sgd, start_factor=0.5, total_iters=2)
    >>> [schedule.lrs_at(epoch)[0] for epoch in range(4)]
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = _at_least(0, start_factor, "LinearLR: start_factor")
        self.end_factor = _at_least(0, end_factor, "LinearLR: end_factor")
        self.total_iters = _at_least(1, total_iters, "LinearLR: total_iters")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ times the factor."""
        done = min(epoch / self.total_iters, 1.0)
        factor = self.start_factor * (1 - done) + self.end_factor * done
        return [base * factor for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Half a wave down: lrₘ + (lr₀ − lrₘ) · (1 + cos(π · epoch / T)) / 2.

    After T epochs the rate rises again, as a wave does.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        T, the epochs from top to bottom, at least 1.
    eta_min : float
        lrₘ, the rate at the bottom.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.

    References
    ----------
    Loshchilov & Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2017, equation 5.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=2)
    >>> [round(schedule.lrs_at(epoch)[0], 6) for epoch in range(3)]
    [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:  # noqa: N803
        self.T_max = _at_least(1, T_max, "CosineAnnealingLR: T_max")
        self.eta_min = _at_least(0, eta_min, "CosineAnnealingLR: eta_min")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lrₘ + (lr₀ − lrₘ) · (1 + cos(π · epoch / T)) / 2."""
        height = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class SequentialLR(LRScheduler):
    """Schedules one after the other, each counting from the epoch at which it takes over.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
        Schedules of the same optimiser.
    milestones : sequence of int
        The epochs at which the second, the third, … take over, rising.
    last_epoch : int

    Raises
    ------
    ValueError
        The milestones are not one fewer than the schedules or do not rise; a schedule has another optimiser.
    TypeError
        One of them is :class:`ReduceLROnPlateau`, which follows a measurement and not the epoch.

    Examples
    --------
    A warm-up of two epochs, then a cosine:

    >>> import microtensor as mt
    >>> from microtensor.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> adam = mt.optim.Adam([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> warm_up, cosine = LinearLR(adam, start_factor=0.5, total_iters=2), CosineAnnealingLR(adam, T_max=2)
    >>> schedule = SequentialLR(adam, [warm_up, cosine], milestones=[2])
    >>> [round(schedule.lrs_at(epoch)[0], 6) for epoch in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        for scheduler in self.schedulers:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"SequentialLR: {type(scheduler).__name__} does not follow the epoch")
            if scheduler.optimizer is not optimizer:
                raise ValueError("SequentialLR: the schedules are of different optimisers")
        if len(self.milestones) != len(self.schedulers) - 1 or self.milestones != sorted(set(self.milestones)):
            raise ValueError(
                f"SequentialLR: milestones are {self.milestones} for {len(self.schedulers)} schedules; "
                "one rising epoch for each but the first is needed"
            )
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """The rates of the schedule whose turn it is."""
        turn = bisect_right(self.milestones, epoch)
        return self.schedulers[turn].lrs_at(epoch - [0, *self.milestones][turn])


class ReduceLROnPlateau:
    """Lower the rate when a measurement has stopped improving for more than `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {'min', 'max'}
        Whether less or more is better.
    factor : float
        What the rate is multiplied by, in [0, 1).
    patience : int
        The epochs without improvement that are let pass.
    threshold : float
        How much better counts as an improvement.
    threshold_mode : {'rel', 'abs'}
        Whether the threshold is a fraction of the best value, or an amount.
    cooldown : int
        The epochs after a reduction that are not judged.
    min_lr : float or sequence of float
        The rate below which it does not go, for all groups or one for each.
    eps : float
        A reduction by no more than this is left out.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> sgd = mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = mt.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        who = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{who}: {type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"{who}: mode {mode!r} is not 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{who}: threshold_mode {threshold_mode!r} is not 'rel' or 'abs'")
        if not 0 <= factor < 1:
            raise ValueError(f"{who}: factor is {factor!r}; a number from 0 to below 1 is needed")
        groups = len(optimizer.param_groups)
        self.min_lrs = [float(m) for m in min_lr] if isinstance(min_lr, Sequence) else [float(min_lr)] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"{who}: {len(self.min_lrs)} values of min_lr for {groups} parameter groups")
        self.optimizer = optimizer
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor, self.threshold, self.eps = factor, threshold, eps
        self.patience = _at_least(0, patience, f"{who}: patience")
        self.cooldown = _at_least(0, cooldown, f"{who}: cooldown")
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:
        """Take the measurement of an epoch, a number or a tensor of one element; NaN counts as no improvement."""
        value = float(metrics)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.num_bad_epochs, self.cooldown_counter = 0, self.cooldown
            for group, floor in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, floor)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower

    def _improves(self, value: float) -> bool:
        margin = self.threshold if self.mode == "max" else -self.threshold
        bar = self.best * (1 + margin) if self.threshold_mode == "rel" else self.best + margin
        return value > bar if self.mode == "max" else value < bar

    def get_last_lr(self) -> list[float]:
        """The rate of every group as it is now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What has been counted so far; the rates are in the optimiser's state."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state. Load the optimiser's state too.

        Raises
        ------
        ValueError
            The state has other keys; nothing is changed.
        """
        _check_keys(self, state_dict)
        self.__dict__.update(state_dict)


def _set_rates(optimizer: Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _check_keys(scheduler: LRScheduler | ReduceLROnPlateau, state_dict: Mapping[str, Any]) -> None:
    if state_dict.keys() != (own := scheduler.state_dict()).keys():
        who = type(scheduler).__name__
        raise ValueError(f"{who}.load_state_dict: keys are {sorted(state_dict)}, expected {sorted(own)}")


def _at_least(low: int, value: Any, what: str) -> Any:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and low <= value < math.inf):
        raise ValueError(f"{what} is {value!r}; a finite number of at least {low} is needed")
    return value
