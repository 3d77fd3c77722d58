"""Variants of batch norm: batch renorm, ghost batch norm, and whitening."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from microtensor import norms
from microtensor.checks import check_groups, check_momentum, check_number, check_size
from microtensor.core.tensor import Tensor
from microtensor.nn.docstrings import completed_by
from microtensor.nn.normalization.batch import BatchNorm, BatchNorm1d, BatchNorm2d
from microtensor.nn.normalization.running import RunningNorm

__all__ = ["BatchRenorm1d", "BatchRenorm2d", "GhostBatchNorm1d", "GhostBatchNorm2d", "IterNorm"]


@completed_by(BatchNorm1d)
class BatchRenorm1d(BatchNorm):
    """Batch renormalization of (N, C) or (N, C, L): γ ((x − μ) / √(σ² + ε) · r + d) + β.

    In training, r and d bring the result closer to the result in prediction, within bounds; see
    :func:`norms.batch_renorm`. In the paper, the first 5000 steps have ``r_max=1, d_max=0``, which is batch norm. Then
    both bounds grow. To do this, assign to the attributes. The state has the same keys as in batch norm. The defaults
    of eps and momentum are those of the paper.

    Parameters
    ----------
    r_max, d_max : float
        Bounds of the correction: 1/r_max to r_max for the scale, ±d_max for the shift.

    References
    ----------
    Ioffe, *Batch Renormalization*, 2017.

    Examples
    --------
    >>> import microtensor as mt
    >>> renorm = mt.nn.BatchRenorm1d(1, r_max=1.0, d_max=0.0, eps=1e-12)
    >>> renorm(mt.tensor([[1.0], [3.0]])).numpy()
    array([[-1.],
           [ 1.]])
    """

    function = norms.batch_renorm
    passed = ("r_max", "d_max")
    shapes: ClassVar = BatchNorm1d.shapes
    defaults: ClassVar = {"eps": 1e-3, "momentum": 0.01, "affine": True, "r_max": 3.0, "d_max": 5.0}
    pytorch = "BatchNorm1d"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-3,
        momentum: float | None = 0.01,
        affine: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, True)
        who = type(self).__name__
        self.r_max, self.d_max = check_number(r_max, "r_max", who, 1.0), check_number(d_max, "d_max", who, 0.0)

    @property
    def track_running_stats(self) -> bool:
        """Always True: r and d are computed from the running statistics."""
        return True

    @track_running_stats.setter
    def track_running_stats(self, track: bool) -> None:
        if track is not True:
            raise ValueError(f"{self.who()}: r and d need the running statistics; without them use batch norm")


@completed_by(BatchRenorm1d)
class BatchRenorm2d(BatchRenorm1d):
    """Batch renormalization of images (N, C, H, W); see :class:`BatchRenorm1d`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.BatchRenorm2d(3)(mt.random.normal((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    shapes: ClassVar = BatchNorm2d.shapes
    pytorch = "BatchNorm2d"


@completed_by(BatchNorm1d)
class GhostBatchNorm1d(BatchNorm):
    """Ghost batch normalization of (N, C) or (N, C, L): batch norm of parts of `ghost_size` samples.

    See :func:`norms.ghost_batch_norm`. The running statistics move once for each part of a batch. Prediction is the
    same as in batch norm.

    Parameters
    ----------
    ghost_size : int
        The number of samples in a part. It must divide the batch in training.
    momentum : float
        The weight of a new part in the running statistics.

    Raises
    ------
    ValueError
        A setting or the number of channels is wrong, a part has only one value per channel, or the batch cannot be cut
        into such parts.
    TypeError
        The input is not floating point.

    References
    ----------
    Hoffer, Hubara & Soudry, *Train Longer, Generalize Better*, 2017.

    Examples
    --------
    >>> import microtensor as mt
    >>> ghost = mt.nn.GhostBatchNorm1d(1, 2, eps=1e-12)
    >>> ghost(mt.tensor([[1.0], [3.0], [10.0], [30.0]])).numpy().ravel()
    array([-1.,  1., -1.,  1.])
    """

    function = norms.ghost_batch_norm
    passed = ("ghost_size",)
    sizes = ("num_features", "ghost_size")
    shapes: ClassVar = BatchNorm1d.shapes
    pytorch = "BatchNorm1d"

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        # Unlike the others, this norm cannot give all batches the same weight.
        check_momentum(momentum, type(self).__name__)
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.ghost_size = check_size(ghost_size, "ghost_size", type(self).__name__)


@completed_by(GhostBatchNorm1d)
class GhostBatchNorm2d(GhostBatchNorm1d):
    """Ghost batch normalization of images (N, C, H, W); see :class:`GhostBatchNorm1d`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.GhostBatchNorm2d(3, 2)(mt.random.normal((4, 3, 4, 4))).shape
    (4, 3, 4, 4)
    """

    shapes: ClassVar = BatchNorm2d.shapes
    pytorch = "BatchNorm2d"


@completed_by(BatchNorm1d)
class IterNorm(RunningNorm):
    """Decorrelated batch normalization of (N, C, …): γ Σ^(−½) (x − μ) + β, by Newton–Schulz iterations.

    Batch norm gives every channel the variance 1. Whitening also makes the channels uncorrelated. With more channels it
    takes more time; see :func:`norms.whiten`. Prediction uses a running average of μ and of Σ^(−½).

    Parameters
    ----------
    num_groups : int
        The number of groups. Channels are whitened within their group. It must divide C.
    iterations : int
        The number of Newton–Schulz iterations.

    References
    ----------
    Huang, Zhou, Zhu, Liu & Shao, *Iterative Normalization*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> y = mt.nn.IterNorm(2, iterations=20)(mt.random.normal((50, 2), rng=0))
    >>> (y.mT @ y / 50).numpy().round(3) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    function = norms.whiten
    passed = ("num_groups", "iterations")
    shapes: ClassVar = {2: "(N, C)", 3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}
    statistics = ("running_mean", "running_whitening")
    several = "whiten"
    defaults: ClassVar = {"num_groups": 1, "iterations": 5, **RunningNorm.defaults}

    def __init__(
        self,
        num_features: int,
        num_groups: int = 1,
        iterations: int = 5,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        who = type(self).__name__
        self.num_groups = check_groups(num_features, num_groups, who)
        self.iterations = check_size(iterations, "iterations", who)
        mean = self._initial["running_mean"]
        identity = np.eye(num_features // num_groups, dtype=mean.dtype)
        self._buffers.clear()
        self.track(running_mean=mean, running_whitening=Tensor(np.stack([identity] * num_groups)))
