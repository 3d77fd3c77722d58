"""What all norms with running statistics share: their state, and how it is updated, counted and frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from microtensor import checks
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, get_default_dtype, ones, zeros
from microtensor.nn.module import Module, settings_text
from microtensor.norms import AXES
from microtensor.ops.common import later

R = TypeVar("R", bound="RunningNorm")


class RunningNorm(Module):
    """A norm with γ and β for each channel and running statistics; a subclass names the function.

    ``track_running_stats`` may be changed later. If it is False, the statistics are those of the batch in both modes.
    Existing running statistics stay in the state, but are neither used nor updated. (PyTorch's batch norm still
    predicts with them, and its instance norm still updates them.) If it is True again, they are used and updated. If
    there are none, they are made.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, bias
        As :class:`BatchNorm1d`.
    """

    # The function of ``norms``, what it calls the mode, and its further settings.
    function: ClassVar[Callable[..., Tensor]]
    mode: ClassVar[str] = "training"
    passed: ClassVar[tuple[str, ...]] = ()
    # The shapes that the layer takes, by their number of axes.
    shapes: ClassVar[dict[int, str]]
    # The buffers of the statistics, and the norm whose statistics need several values per channel.
    statistics: ClassVar[tuple[str, str]] = ("running_mean", "running_var")
    several: ClassVar[str | None] = None
    # The settings that a representation shows: always, and where they differ from these.
    sizes: ClassVar[tuple[str, ...]] = ("num_features",)
    defaults: ClassVar[dict[str, Any]] = {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        self.num_features = checks.check_size(num_features, "num_features", who)
        self.eps = checks.check_eps(eps, who)
        self.momentum = None if momentum is None else checks.check_momentum(momentum, who)
        self._tracks = bool(track_running_stats)
        self.frozen_stats = False
        self.register_parameter("weight", Parameter(ones(num_features), name="γ") if affine else None)
        bias = checks.check_flag(bias, "bias", who)
        self.register_parameter("bias", Parameter(zeros(num_features), name="β") if affine and bias else None)
        # An average of many batches needs more digits than float16 has.
        dtype = np.promote_types(get_default_dtype(), np.float32)
        self.track(running_mean=zeros(num_features, dtype=dtype), running_var=ones(num_features, dtype=dtype))

    def track(self, **initial: Tensor) -> None:
        """Register these statistics and a count of batches as buffers. Without running statistics they are None."""
        self._initial = {**initial, "num_batches_tracked": Tensor(np.zeros((), dtype=np.int64))}
        for name, value in self._initial.items():
            self.register_buffer(name, Tensor(value) if self.track_running_stats else None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Layers that were pickled before the flag could be changed hold it under its public name.
        if "track_running_stats" in state:
            state = {**state, "_tracks": state["track_running_stats"]}
        super().__setstate__(state)

    @property
    def track_running_stats(self) -> bool:
        """Whether the running statistics move in training and are used in prediction."""
        return self._tracks

    @track_running_stats.setter
    def track_running_stats(self, track: bool) -> None:
        if not isinstance(track, (bool, np.bool_)):
            raise TypeError(f"{self.who()}: track_running_stats is {track!r}; it must be True or False")
        if not track and self.frozen_stats:
            raise ValueError(f"{self.who()}: the running statistics are frozen; call freeze(stats=False) first")
        if track and any(getattr(self, name) is None for name in self._initial):
            self._tracks = True
            self.track(**{name: self._initial[name] for name in self.statistics})
        self._tracks = bool(track)

    @property
    def affine(self) -> bool:
        """Whether there is a γ or a β."""
        return self.weight is not None or self.bias is not None

    @property
    def frozen_affine(self) -> bool:
        """Whether γ and β are frozen, if there are any."""
        return not any(parameter.requires_grad for parameter in self._scales())

    def _scales(self) -> list[Parameter]:
        return [parameter for parameter in (self.weight, self.bias) if parameter is not None]

    def running(self) -> tuple[Tensor | None, Tensor | None]:
        """The running statistics, or None for both if the layer does not use them."""
        first, second = self.statistics
        return (getattr(self, first), getattr(self, second)) if self.track_running_stats else (None, None)

    def reset_running_stats(self) -> None:
        """Reset the running statistics and their count to their initial values."""
        if self.track_running_stats:
            for name, value in self._initial.items():
                getattr(self, name).assign_(value)

    def freeze(self: R, stats: bool = True, affine: bool = True) -> R:
        """Keep the running statistics, γ and β as they are, also in training; returns the layer.

        This is for fine-tuning with batches that are too small for statistics. With frozen statistics the layer works
        as in prediction, also after ``train()``. Frozen γ and β get no gradient. ``freeze(False, False)`` undoes it.

        Raises
        ------
        ValueError
            There are no running statistics.
        TypeError
            A flag is neither True nor False.
        """
        stats, affine = checks.check_flag(stats, "stats", self.who()), checks.check_flag(affine, "affine", self.who())
        if stats and not self.track_running_stats:
            raise ValueError(f"{self.who()}: no running statistics to freeze; set track_running_stats=True")
        self.frozen_stats = stats
        for parameter in self._scales():
            parameter.requires_grad_(not affine)
        return self

    def extra_repr(self) -> str:
        """The channels, the settings that differ from the defaults, frozen parts, and ``eval`` in prediction mode."""
        parts = [settings_text(self, *self.sizes, **self.defaults)]
        if self.affine:
            # γ is never missing alone by a setting, but may be taken away.
            missing = {"weight=None": self.weight is None, "bias=False": self.bias is None}
            parts += [text for text, is_missing in missing.items() if is_missing]
        held = {"stats": self.frozen_stats, "affine": self._scales() and self.frozen_affine}
        frozen = [name for name in held if held[name]]
        if frozen:
            parts.append(f"frozen {' and '.join(frozen)}")
        if not self.training:
            parts.append("eval")
        return ", ".join(parts)

    def check(self, x: Tensor) -> None:
        """Raise an error if x has no floats, a wrong number of axes or wrong channels."""
        who = self.who()
        checks.check_float(x, self)
        if x.ndim not in self.shapes:
            needed = " or ".join(self.shapes.values())
            raise ValueError(f"{who}: input of shape {x.shape} has {x.ndim} axes; it must be {needed}")
        checks.check_channel_count(x, self.num_features, who)
        if self.several is not None and (self.learning() or self.running()[0] is None):
            axes = AXES[self.several].statistics(x.ndim)
            checks.check_several(x.shape, axes, who, training=self.training)

    def learning(self) -> bool:
        """Whether the statistics of the batch are used in this mode."""
        return self.training and not self.frozen_stats

    def who(self) -> str:
        """The layer in messages: its class and channels."""
        return f"{type(self).__name__}({self.num_features})"

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β, with the statistics for the mode."""
        self.check(x)
        moving = self.running()[0]
        if moving is None or self.num_batches_tracked is None:
            return self.normalize(x, self.learning())
        versions: list[int] = []
        later(_note, versions, moving)
        out = self.normalize(x, self.learning())
        later(_count, versions, moving, self.num_batches_tracked)
        return out

    def normalize(self, x: Tensor, training: bool) -> Tensor:
        """Apply the function to x, with the state, the mode and the settings."""
        return type(self).function(
            x,
            **dict(zip(self.statistics, self.running(), strict=True)),
            **{self.mode: training},
            **{name: getattr(self, name) for name in self.passed},
            weight=self.weight,
            bias=self.bias,
            momentum=self.weight_of_batch(),
            eps=self.eps,
        )

    def weight_of_batch(self) -> float:
        """The momentum of this batch. If the setting is None, every batch so far has the same weight."""
        if self.momentum is None:
            # An assigned None leaves no count.
            count = self.num_batches_tracked if self.track_running_stats else None
            return 0.0 if count is None else 1 / (int(count.item()) + 1)
        return self.momentum


def _note(versions: list[int], moving: Tensor) -> None:
    versions.append(moving._version)


def _count(versions: list[int], moving: Tensor, batches: Tensor) -> None:
    # The count goes with the running statistics, which a batch that is not finite leaves alone.
    if moving._version != versions.pop():
        batches.assign_(batches._array + 1)
