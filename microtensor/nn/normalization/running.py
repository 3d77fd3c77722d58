"""What the norms with running statistics have in common: their state, its modes, and how it is counted and frozen."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np

from microtensor.nn.module import Module
from microtensor.support.checks import check_eps, check_float, check_momentum, check_size
from microtensor.tensor import Parameter, Tensor, get_default_dtype, ones, zeros

R = TypeVar("R", bound="RunningNorm")


class RunningNorm(Module):
    """A norm with γ and β for each channel and running statistics; a subclass chooses the function.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats
        As :class:`BatchNorm1d`.
    """

    # The shapes that the layer takes, by their number of axes, and the settings that its representation leaves out.
    shapes: ClassVar[dict[int, str]]
    defaults: ClassVar[dict[str, Any]] = {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool
    ) -> None:
        super().__init__()
        who = type(self).__name__
        self.num_features = check_size(num_features, "num_features", who)
        self.eps = check_eps(eps, who)
        self.momentum = None if momentum is None else check_momentum(momentum, who)
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.frozen_stats = self.frozen_affine = False
        self.register_parameter("weight", Parameter(ones(num_features), name="γ") if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features), name="β") if affine else None)
        # An average of many batches needs more digits than float16 has.
        dtype = np.promote_types(get_default_dtype(), np.float32)
        self.track(running_mean=zeros(num_features, dtype=dtype), running_var=ones(num_features, dtype=dtype))

    def track(self, **initial: Tensor) -> None:
        """Keep statistics with these initial values and a count of batches, or none of them."""
        self._initial = initial
        for name, value in initial.items():
            self.register_buffer(name, Tensor(value) if self.track_running_stats else None)
        count = Tensor(np.zeros((), dtype=np.int64)) if self.track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget all batches: the running statistics and their count as they were at the start."""
        if self.track_running_stats:
            for name, value in self._initial.items():
                getattr(self, name).assign_(value)
            self.num_batches_tracked.assign_(0)

    def freeze(self: R, stats: bool = True, affine: bool = True) -> R:
        """Hold the running statistics, γ and β as they are, in training too; returns the layer.

        For fine-tuning a network with batches too small for statistics. With frozen statistics the layer predicts,
        whatever ``train()`` says; with γ and β frozen these get no gradient. ``freeze(False, False)`` thaws.

        Raises
        ------
        ValueError
            There are no running statistics to hold.
        """
        if stats and not self.track_running_stats:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}): no running statistics to freeze; make the layer with "
                "track_running_stats=True, or freeze(stats=False)"
            )
        self.frozen_stats, self.frozen_affine = stats, affine
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(not affine)
        return self

    def extra_repr(self) -> str:
        """The channels, what differs from the defaults, what is frozen, and the mode when it is prediction."""
        parts = [str(self.num_features), *self.settings()]
        frozen = [name for name, held in (("stats", self.frozen_stats), ("affine", self.frozen_affine)) if held]
        if frozen:
            parts.append(f"frozen {' and '.join(frozen)}")
        if not self.training:
            parts.append("eval")
        return ", ".join(parts)

    def settings(self) -> list[str]:
        """The settings that are not the default ones."""
        values = {name: getattr(self, name) for name in self.defaults}
        return [f"{name}={value}" for name, value in values.items() if value != self.defaults[name]]

    def check(self, x: Tensor) -> None:
        """Raise unless x has floats, the right number of axes and the right channels."""
        who = self.who()
        check_float(x, who)
        if x.ndim not in self.shapes:
            needed = " or ".join(self.shapes.values())
            raise ValueError(f"{who}: input of shape {x.shape} has {x.ndim} axes; {needed} is needed")
        if x.shape[1] != self.num_features:
            raise ValueError(f"{who}: input has {x.shape[1]} channels (axis 1 of shape {x.shape})")

    def who(self) -> str:
        """The layer in messages: its class and channels."""
        return f"{type(self).__name__}({self.num_features})"

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β with the statistics that the mode calls for."""
        self.check(x)
        version = self.running_mean._version if self.track_running_stats else 0
        out = self.normalize(x, self.training and not self.frozen_stats)
        # The count goes with the running statistics, which a batch that is not finite leaves alone.
        if self.track_running_stats and self.running_mean._version != version:
            self.num_batches_tracked.assign_(self.num_batches_tracked.numpy() + 1)
        return out

    def normalize(self, x: Tensor, training: bool) -> Tensor:
        """The norm itself; to be defined by the subclass."""
        raise NotImplementedError

    def weight_of_batch(self) -> float:
        """The momentum of this batch: with None, every batch so far has the same weight."""
        if self.momentum is None:
            return 1 / (int(self.num_batches_tracked.item()) + 1) if self.track_running_stats else 0.0
        return self.momentum
