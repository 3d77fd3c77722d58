"""Schedules of the learning rate: each changes the rate of every parameter group from epoch to epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from microtensor.optim.optimizer import Optimizer, any_number, bounded_number, is_list, whole_number


class _Schedule:
    """What all schedules share: the optimiser, its rates, the checks of settings, and the state."""

    _kept: ClassVar[tuple[str, ...]] = ("last_epoch",)
    last_epoch: int

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer

    def get_last_lr(self) -> list[float]:
        """The rate of every group as it is now."""
        what = f"{type(self).__name__}: the rate of a group"
        return [any_number(group["lr"], what) for group in self.optimizer.param_groups]

    def _number(self, value: Any, name: str, below: float = math.inf) -> float:
        return bounded_number(value, f"{type(self).__name__}: {name}", below)

    def _whole(self, value: Any, name: str, low: int) -> int:
        return whole_number(value, f"{type(self).__name__}: {name}", low)

    def _epochs(self, milestones: Any, low: int) -> list[int]:
        try:
            given = list(milestones)
        except TypeError:
            raise TypeError(f"{type(self).__name__}: milestones is {milestones!r}; it must be a sequence") from None
        return [self._whole(value, "a milestone", low) for value in given]

    def state_dict(self) -> dict[str, Any]:
        """What has been counted so far. The rates are in the state of the optimiser."""
        return {name: getattr(self, name) for name in self._kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state. The rates do not change: load the state of the optimiser too.

        Raises
        ------
        ValueError
            The state has other keys, or a value is not such a number. Nothing is changed then.
        """
        who = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"{who}: the state is of type {type(state_dict).__name__}; it must be a mapping")
        if state_dict.keys() != set(self._kept):
            raise ValueError(f"{who}: keys are {sorted(map(str, state_dict))}; they must be {sorted(self._kept)}")
        counts = {name: whole_number(state_dict[name], f"{who}: {name}", 0) for name in self._kept if name != "best"}
        best = {"best": any_number(state_dict["best"], f"{who}: best")} if "best" in self._kept else {}
        self.__dict__.update(counts | best)


class LRScheduler(_Schedule):
    """The base of the schedules: it counts epochs, and changes the rates of the optimiser in each.

    A schedule starts from the rates that it finds when it is made. Call :meth:`step` after the step of the optimiser,
    once per epoch or once per batch. A step *multiplies* the rates, as PyTorch's chainable form does.
    (:class:`CosineAnnealingLR` multiplies their distance from ``eta_min``.) So several schedules can work on one
    optimiser. Reductions by :class:`ReduceLROnPlateau` and rates set by hand are kept. :class:`SequentialLR` joins
    several schedules, one after the other.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        −1 for a new start. Any other value sets the rates for the next epoch, from ``initial_lr``.

    Attributes
    ----------
    last_epoch : int
        The epoch whose rates are set.

    Raises
    ------
    TypeError
        The first argument is not an optimiser.
    ValueError
        A setting is out of range. In a step: a rate would be negative or not finite. No rate is changed then.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.last_epoch = self._whole(last_epoch, "last_epoch", -1)
        self._given: list[float] = []
        start = self.last_epoch + 1
        self._go_to(start, self._moved(0) if start == 0 else self.lrs_at(start))

    @property
    def base_lrs(self) -> list[float]:
        """``initial_lr`` of every group: its rate before the first schedule."""
        self._remember()
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    def _remember(self) -> None:
        """Keep the rate of every group that no schedule has moved yet, before one does."""
        for group, rate in zip(self.optimizer.param_groups, self.get_last_lr(), strict=True):
            group.setdefault("initial_lr", rate)

    def lrs_at(self, epoch: int) -> list[float]:
        """The rate of every group at an epoch if no other schedule changes it. This changes nothing."""
        raise NotImplementedError(f"{type(self).__name__} defines no lrs_at")

    def _moved(self, epoch: int) -> list[float]:
        """The rates of an epoch, from the rates of the groups, which are those of the epoch before.

        A schedule that does not define this sets its rates, and must be the only one that does.
        """
        for i, (found, given) in enumerate(zip(self.get_last_lr(), self._given, strict=False)):
            if found != given:
                raise ValueError(
                    f"{type(self).__name__}: the rate of group {i} is {found}, but this schedule set it to {given}; "
                    "join schedules by SequentialLR"
                )
        return self.lrs_at(epoch)

    def step(self) -> None:
        """Go on to the next epoch."""
        self._go_to(self.last_epoch + 1, self._moved(self.last_epoch + 1))

    def _go_to(self, epoch: int, rates: list[float]) -> None:
        for rate in rates:
            if not 0 <= rate < math.inf:
                raise ValueError(
                    f"{type(self).__name__}: at epoch {epoch} a rate would be {rate}; it must be finite, at least 0. "
                    "Join schedules by SequentialLR"
                )
        self._remember()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.last_epoch = epoch
        self._gave(epoch, rates)

    def _gave(self, epoch: int, rates: list[float]) -> None:
        """Note the rates that were set for an epoch; an empty list when they are not known."""
        self._given = rates

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._gave(self.last_epoch, [])


class _Multiplied(LRScheduler):
    """Schedules that multiply: lr₀ by a factor at an epoch, and so the rates of one epoch by a ratio."""

    def lrs_at(self, epoch: int) -> list[float]:
        factor = self._factor(epoch)
        return [base * factor for base in self.base_lrs]

    def _factor(self, epoch: int) -> float:
        raise NotImplementedError

    def _moved(self, epoch: int) -> list[float]:
        ratio = self._ratio(epoch)
        return [rate * ratio for rate in self.get_last_lr()]

    def _ratio(self, epoch: int) -> float:
        """The factor of an epoch divided by that of the epoch before; for epoch 0 the factor itself."""
        raise NotImplementedError


class LambdaLR(LRScheduler):
    """A rate of your own: lr₀ · f(epoch), with lr₀ the ``initial_lr`` of the group.

    As in PyTorch, it sets the rates; the other schedules multiply the rates that they find. When something else has
    changed a rate, this schedule raises an error; PyTorch overwrites the change.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or sequence of callable
        f. One function for all groups, or one for each group.
    last_epoch : int

    Raises
    ------
    ValueError
        There are more or fewer functions than groups. In a step: something else has changed a rate.
    TypeError
        `lr_lambda` is neither a function nor a list of functions.

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
        if not callable(lr_lambda) and not (isinstance(lr_lambda, (list, tuple)) and all(map(callable, lr_lambda))):
            raise TypeError(f"LambdaLR: lr_lambda is {lr_lambda!r}; it must be a function, or a list of functions")
        self.lr_lambda = lr_lambda
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lr₀ · f(epoch)."""
        bases = self.base_lrs
        functions = [self.lr_lambda] * len(bases) if callable(self.lr_lambda) else list(self.lr_lambda)
        if len(functions) != len(bases):
            raise ValueError(f"LambdaLR: {len(functions)} functions for {len(bases)} parameter groups")
        factors = [any_number(f(epoch), "LambdaLR: the value of the function") for f in functions]
        return [base * factor for base, factor in zip(bases, factors, strict=True)]


class StepLR(_Multiplied):
    """Multiply the rate by γ every `step_size` epochs: lr₀ · γ^⌊epoch / step_size⌋.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        The number of epochs with the same rate, at least 1.
    gamma : float
        γ, the factor.
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
        self.step_size = self._whole(step_size, "step_size", 1)
        self.gamma = self._number(gamma, "gamma")
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.step_size))

    def _ratio(self, epoch: int) -> float:
        return 1.0 if epoch == 0 or epoch % self.step_size else self.gamma


class MultiStepLR(_Multiplied):
    """Multiply the rate by γ at each milestone: lr₀ · γⁿ, where n is the number of milestones passed.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : sequence of int
        The epochs at which the rate falls. A milestone that is given twice counts twice.
    gamma : float
        γ, the factor at a milestone.
    last_epoch : int

    Raises
    ------
    ValueError
        A setting is out of range.
    TypeError
        The milestones are not a sequence.

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
        self.milestones = sorted(self._epochs(milestones, 0))
        self.gamma = self._number(gamma, "gamma")
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return float(self.gamma ** bisect_right(self.milestones, epoch))

    def _ratio(self, epoch: int) -> float:
        return float(self.gamma ** self.milestones.count(epoch))


class ExponentialLR(_Multiplied):
    """Exponential decay: lr₀ · γ^epoch.

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
        self.gamma = self._number(gamma, "gamma")
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return float(self.gamma**epoch)

    def _ratio(self, epoch: int) -> float:
        return self.gamma if epoch else 1.0


class LinearLR(_Multiplied):
    """A linear change, often used as a warm-up: lr₀ times a factor that goes linearly from one value to another.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        The factor at epoch 0 must be above 0. The factor at epoch `total_iters` and later must not be negative.
    total_iters : int
        The number of epochs of the change, at least 1.
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
        self.start_factor = self._number(start_factor, "start_factor")
        if self.start_factor == 0:
            raise ValueError("LinearLR: start_factor is 0; it must be above 0, because the rate would stay 0")
        self.end_factor = self._number(end_factor, "end_factor")
        self.total_iters = self._whole(total_iters, "total_iters", 1)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        done = min(epoch / self.total_iters, 1.0)
        return self.start_factor * (1 - done) + self.end_factor * done

    def _ratio(self, epoch: int) -> float:
        if epoch == 0:
            return self.start_factor
        if epoch > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        # Down to 0, rounding can leave less than nothing.
        return max(1 + rise / (self.total_iters * self.start_factor + (epoch - 1) * rise), 0.0)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave down: lrₘ + (lr₀ − lrₘ) · (1 + cos(π · epoch / T)) / 2.

    After T epochs the rate rises again.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        T, the number of epochs from top to bottom, at least 1.
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
        self.T_max = self._whole(T_max, "T_max", 1)
        self.eta_min = self._number(eta_min, "eta_min")
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """lrₘ + (lr₀ − lrₘ) · (1 + cos(π · epoch / T)) / 2."""
        height = self._height(epoch)
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def _height(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

    def _moved(self, epoch: int) -> list[float]:
        rates = self.get_last_lr()
        if epoch == 0:
            return rates
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # At the bottom nothing is left to multiply: the way up is that from there to lr₀.
            first = self._height(self.T_max + 1)
            return [rate + (base - self.eta_min) * first for rate, base in zip(rates, self.base_lrs, strict=True)]
        factor = self._height(epoch) / self._height(epoch - 1)
        return [self.eta_min + (rate - self.eta_min) * factor for rate in rates]


class SequentialLR(LRScheduler):
    """Schedules one after the other. Each counts epochs from its own start.

    As in PyTorch, each schedule starts from ``initial_lr`` at its milestone, not from the present rate. Between
    milestones it multiplies the rate that it finds.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
        Schedules of the same optimiser.
    milestones : sequence of int
        The epochs at which the second, the third, … schedule starts. They must rise.
    last_epoch : int

    Raises
    ------
    ValueError
        The number of milestones is not the number of schedules minus 1. Or the milestones do not rise, or the first is
        below 1. Or a schedule has another optimiser.
    TypeError
        The schedules are not a list. Or one is :class:`ReduceLROnPlateau`, which depends on a measurement and not on
        the epoch.

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
        if not isinstance(schedulers, Iterable):
            raise TypeError(f"SequentialLR: schedulers is one {type(schedulers).__name__}; it must be a list of them")
        self.schedulers = list(schedulers)
        self.milestones = self._epochs(milestones, 1)
        for scheduler in self.schedulers:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"SequentialLR: a {type(scheduler).__name__} does not depend on the epoch alone")
            if scheduler.optimizer is not optimizer:
                raise ValueError("SequentialLR: the schedules are of different optimisers")
        if len(self.milestones) != len(self.schedulers) - 1 or self.milestones != sorted(set(self.milestones)):
            raise ValueError(
                f"SequentialLR: milestones are {self.milestones} for {len(self.schedulers)} schedules; "
                "they must be rising epochs, one for each schedule but the first"
            )
        super().__init__(optimizer, last_epoch)

    def lrs_at(self, epoch: int) -> list[float]:
        """The rates of the schedule that is active at this epoch."""
        scheduler, local = self._turn(epoch)
        return scheduler.lrs_at(local)

    def _turn(self, epoch: int) -> tuple[LRScheduler, int]:
        """The schedule whose turn an epoch is, and the epoch as that schedule counts."""
        turn = bisect_right(self.milestones, epoch)
        return self.schedulers[turn], epoch - [0, *self.milestones][turn]

    def _moved(self, epoch: int) -> list[float]:
        scheduler, local = self._turn(epoch)
        return scheduler._moved(local) if local else scheduler.lrs_at(0)

    def _gave(self, epoch: int, rates: list[float]) -> None:
        scheduler, local = self._turn(epoch)
        scheduler._gave(local, rates)


class ReduceLROnPlateau(_Schedule):
    """Lower the rate when a measurement has stopped improving for more than `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {'min', 'max'}
        Whether a smaller or a larger value is better.
    factor : float
        The factor of a reduction, in [0, 1).
    patience : int
        The number of epochs without improvement that do not lower the rate.
    threshold : float
        By how much a value must be better to count as an improvement.
    threshold_mode : {'rel', 'abs'}
        Whether the threshold is a fraction of the best value, or an amount.
    cooldown : int
        The number of epochs after a reduction that are not counted.
    min_lr : float or sequence of float
        The lowest rate. One number is for all groups, also for those that are added later; a sequence has one number
        for each group.
    eps : float
        The rate is not lowered if the difference would be at most this.

    Raises
    ------
    ValueError
        A setting is out of range.
    TypeError
        The first argument is not an optimiser.

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

    _kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")

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
        super().__init__(optimizer)
        for name, value, words in (("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs"))):
            if value not in words:
                raise ValueError(f"{type(self).__name__}: {name} is {value!r}, not {' or '.join(map(repr, words))}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = self._number(factor, "factor", below=1.0)
        # One for each group, or one for all.
        given: Any = min_lr if is_list(min_lr) else [min_lr]
        self.min_lrs = [self._number(m, "min_lr") for m in given]
        self._one_min_lr = not is_list(min_lr)
        self._floors()
        self.threshold = self._number(threshold, "threshold")
        self.eps = self._number(eps, "eps")
        self.patience = self._whole(patience, "patience", 0)
        self.cooldown = self._whole(cooldown, "cooldown", 0)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def _floors(self) -> list[float]:
        """The lowest rate of every group."""
        groups = len(self.optimizer.param_groups)
        if self._one_min_lr:
            return self.min_lrs * groups
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"{type(self).__name__}: {len(self.min_lrs)} values of min_lr for {groups} parameter groups; "
                "give one number for all, or set min_lrs after add_param_group"
            )
        return self.min_lrs

    def step(self, metrics: Any) -> None:
        """Use the measurement of an epoch: a number or a tensor of one element. NaN counts as no improvement.

        Raises
        ------
        ValueError
            The measurement is not a number, or `min_lr` does not have one value for each group. Nothing is changed.
        """
        value = any_number(metrics, f"{type(self).__name__}.step: metrics")
        rates, floors = self.get_last_lr(), self._floors()
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
            for group, rate, floor in zip(self.optimizer.param_groups, rates, floors, strict=True):
                lower = max(rate * self.factor, floor)
                if rate - lower > self.eps:
                    group["lr"] = lower

    def _improves(self, value: float) -> bool:
        margin = self.threshold if self.mode == "max" else -self.threshold
        bar = self.best * (1 + margin) if self.threshold_mode == "rel" else self.best + margin
        return value > bar if self.mode == "max" else value < bar
