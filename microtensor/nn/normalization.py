"""The norms with state: γ and β, and batch norm's running statistics. The formulas are in ``norms``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtensor import norms
from microtensor.nn.module import Module
from microtensor.tensor import Parameter, Tensor, ones, zeros


class BatchNorm1d(Module):
    """Batch normalization of (N, C) or (N, C, L): standardise each channel over the batch, then γ x̂ + β.

    In training the statistics of the batch are used and differentiated through, and the running ones move
    towards them, ``r = (1 − momentum) · r + momentum · batch``, the variance unbiased. After ``eval()`` the
    running statistics are used as constants.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        ε, added to the variance.
    momentum : float, optional
        Weight of the new batch in the running statistics (Keras's momentum is the weight of the old value); None
        gives every batch so far the same weight, 1 / num_batches_tracked.
    affine : bool
        Whether γ (``weight``) and β (``bias``) are learnt.
    track_running_stats : bool
        Without running statistics those of the batch are used in prediction too.

    Raises
    ------
    ValueError
        A wrong setting, a wrong number of channels, or one value a channel in training.
    TypeError
        The input is not floating point.

    References
    ----------
    Ioffe & Szegedy, *Batch Normalization*, 2015.

    Examples
    --------
    >>> import microtensor as mt
    >>> bn = mt.nn.BatchNorm1d(2)
    >>> y = bn(mt.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> bn.running_mean
    tensor([0.2, 2. ])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        if num_features <= 0:
            raise ValueError(f"{who}: num_features is {num_features}; a positive integer is needed")
        self.num_features = num_features
        self.eps = norms.check_eps(eps, who)
        self.momentum = None if momentum is None else norms.check_momentum(momentum, who)
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(ones(num_features), name="γ") if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features), name="β") if affine else None)
        self.register_buffer("running_mean", zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features) if track_running_stats else None)
        batches = Tensor(np.zeros((), dtype=np.int64)) if track_running_stats else None
        self.register_buffer("num_batches_tracked", batches)

    def extra_repr(self) -> str:
        """The channels, what differs from the defaults, and the mode when it is prediction."""
        parts = [str(self.num_features)]
        if self.eps != 1e-5:
            parts.append(f"eps={self.eps:g}")
        if self.momentum != 0.1:
            parts.append(f"momentum={self.momentum}")
        if not self.affine:
            parts.append("affine=False")
        if not self.track_running_stats:
            parts.append("track_running_stats=False")
        if not self.training:
            parts.append("eval")
        return ", ".join(parts)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β with the statistics that the mode calls for."""
        who = f"{type(self).__name__}({self.num_features})"
        if x.ndim not in (2, 3):
            raise ValueError(f"{who}: input of shape {x.shape} has {x.ndim} axes; (N, C) or (N, C, L) is needed")
        if x.shape[1] != self.num_features:
            raise ValueError(f"{who}: input has {x.shape[1]} channels (axis 1 of shape {x.shape})")
        version = self.running_mean._version if self.track_running_stats else 0
        out = norms.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self._weight_of_batch(),
            eps=self.eps,
        )
        # The count goes with the running statistics, which a batch that is not finite leaves alone.
        if self.track_running_stats and self.running_mean._version != version:
            self.num_batches_tracked.assign_(self.num_batches_tracked.numpy() + 1)
        return out

    def _weight_of_batch(self) -> float:
        if self.momentum is None:
            return 1 / (int(self.num_batches_tracked.item()) + 1) if self.track_running_stats else 0.0
        return self.momentum


class LayerNorm(Module):
    """Layer normalization: standardise each sample over its last axes, then γ x̂ + β; no mode, no memory.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes.
    eps : float
        ε, added to the variance.
    elementwise_affine : bool
        Whether γ (``weight``) and β (``bias``) are learnt.
    bias : bool
        Whether there is a β.

    Raises
    ------
    ValueError
        A wrong setting, or an input that does not end in `normalized_shape`.
    TypeError
        The input is not floating point.

    References
    ----------
    Ba, Kiros & Hinton, *Layer Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LayerNorm(2, eps=1e-12)(mt.tensor([[1.0, 3.0]])).numpy()
    array([[-1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or min(shape) <= 0:
            raise ValueError(f"LayerNorm: normalized_shape is {shape}; positive sizes are needed")
        self.normalized_shape = shape
        self.eps = norms.check_eps(eps, "LayerNorm")
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", Parameter(ones(shape), name="γ") if elementwise_affine else None)
        self.register_parameter("bias", Parameter(zeros(shape), name="β") if elementwise_affine and bias else None)

    def extra_repr(self) -> str:
        """The normalised shape and what differs from the defaults."""
        shape = self.normalized_shape
        parts = [str(shape[0]) if len(shape) == 1 else str(shape)]
        if self.eps != 1e-5:
            parts.append(f"eps={self.eps:g}")
        if not self.elementwise_affine:
            parts.append("elementwise_affine=False")
        elif self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β over the last axes."""
        return norms.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
