"""The layers over the positions of one sample and channel: instance norm."""

from __future__ import annotations

from typing import ClassVar

from microtensor import norms, ops
from microtensor.checks import check_float
from microtensor.core.tensor import Tensor
from microtensor.nn.docstrings import completed_by
from microtensor.nn.normalization.running import RunningNorm

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


class InstanceNorm(RunningNorm):
    """The base of all instance norms. Use InstanceNorm1d, InstanceNorm2d or InstanceNorm3d."""

    function = norms.instance_norm
    mode = "use_input_stats"
    defaults: ClassVar = {"eps": 1e-5, "momentum": 0.1, "affine": False, "track_running_stats": False}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β. A sample without an axis N is a batch of one."""
        check_float(x, self)
        if x.ndim + 1 not in self.shapes:
            return super().forward(x)
        return ops.squeeze(super().forward(ops.expand_dims(x, axis=0)), axis=0)  # type: ignore[no-any-return]

    def normalize(self, x: Tensor, training: bool) -> Tensor:
        """Apply the function with the state. Without running statistics, the statistics of the input are used."""
        return super().normalize(x, training or self.running()[0] is None)


class InstanceNorm1d(InstanceNorm):
    """Instance normalization of (N, C, L) or (C, L): γ (x − μ) / √(σ² + ε) + β for each sample and channel.

    As in PyTorch, there are by default no γ and β, and no running statistics. The running statistics are averages of
    the statistics of the samples. With momentum None, all batches have the same weight; in PyTorch the running
    statistics do not change in this case.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        ε, added to the variance.
    momentum : float, optional
        The weight of the new batch in the running statistics. None: all batches have the same weight.
    affine : bool
        Whether γ (``weight``) and β (``bias``), of shape (C,), are learnt.
    bias : bool
        Whether there is a β, if `affine`.
    track_running_stats : bool
        Whether prediction uses running statistics.

    Raises
    ------
    ValueError
        A wrong setting, a wrong number of channels, or at most one position per channel.
    TypeError
        The input is not floating point.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky, *Instance Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.InstanceNorm1d(1, eps=1e-12)(mt.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]])
    """

    shapes: ClassVar = {3: "(N, C, L) or (C, L)"}


@completed_by(InstanceNorm1d)
class InstanceNorm2d(InstanceNorm):
    """Instance normalization of images (N, C, H, W) or (C, H, W); see :class:`InstanceNorm1d`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.InstanceNorm2d(3)(mt.random.normal((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    shapes: ClassVar = {4: "(N, C, H, W) or (C, H, W)"}


@completed_by(InstanceNorm1d)
class InstanceNorm3d(InstanceNorm):
    """Instance normalization of volumes (N, C, D, H, W) or (C, D, H, W); see :class:`InstanceNorm1d`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.InstanceNorm3d(3)(mt.random.normal((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    shapes: ClassVar = {5: "(N, C, D, H, W) or (C, D, H, W)"}
