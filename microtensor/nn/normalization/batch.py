"""Batch norm, by the number of positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from microtensor import norms
from microtensor.core.tensor import Tensor
from microtensor.nn.docstrings import completed_by
from microtensor.nn.normalization.description import of_batch_norm
from microtensor.nn.normalization.running import RunningNorm

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class BatchNorm(RunningNorm):
    """The base of all batch norms. Use BatchNorm1d, BatchNorm2d or BatchNorm3d."""

    # What prediction with this layer is called in PyTorch.
    pytorch: ClassVar[str]
    function: ClassVar[Callable[..., Tensor]] = norms.batch_norm
    several = "batch_norm"

    def describe(self) -> str:
        """The name and settings of this layer in PyTorch, Keras, flax and ONNX, and the changes needed there.

        Examples
        --------
        >>> import microtensor as mt
        >>> print(mt.nn.BatchNorm1d(4).describe().splitlines()[3])
          Keras    BatchNormalization(axis=1, momentum=0.9, epsilon=1e-05): gamma, beta, moving_mean, moving_variance
        """
        return of_batch_norm(self)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L): γ (x − μ) / √(σ² + ε) + β, with statistics, γ and β per channel.

    In training the layer uses the statistics of the batch, and gradients flow through them. The running statistics move
    towards them: ``r = (1 − momentum) · r + momentum · batch``. The batch is normalised with the biased variance (1/N).
    The running variance is unbiased (1/(N − 1)). After ``eval()`` the running statistics are used as constants. They
    are an average over the last batches. The statistics of the data set are computed by ``nn.utils.update_bn``. The
    mode is a flag of the layer and has nothing to do with ``no_grad``.

    The layer may stand before the activation, φ(BN(Wx)), as in the paper, or after it. A bias in front of it has no
    effect. In sequences (N, C, L) the statistics include all steps. So an output depends on later steps too.
    ``docs/normalizations.md`` says what batch norm does in training, and what it does not.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        ε, added to the variance under the root. The gain is at most γ/√ε.
    momentum : float, optional
        The weight of the new batch in the running statistics. Keras's momentum is the weight of the old value. None:
        every batch so far has the same weight, 1 / num_batches_tracked.
    affine : bool
        Whether γ (``weight``) and β (``bias``), parameters of shape (C,), are learnt.
    bias : bool
        Whether there is a β, if `affine`.
    track_running_stats : bool
        Whether there are running statistics. Without them prediction uses the statistics of the batch too. The
        attribute may be set later. With False, existing running statistics are kept but not used; PyTorch 2.13 still
        predicts with them. With True, they are used again.

    Raises
    ------
    ValueError
        A wrong setting, a wrong number of channels, or only one value per channel in training.
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

    shapes: ClassVar = {2: "(N, C)", 3: "(N, C, L)"}
    pytorch = "BatchNorm1d"


@completed_by(BatchNorm1d)
class BatchNorm2d(BatchNorm):
    """Batch normalization of images (N, C, H, W): statistics per channel, over N, H and W; see BatchNorm1d.

    All positions of a channel share the statistics, γ and β. So a batch of one image is enough to train. The result is
    then the same as with instance norm.

    References
    ----------
    Ioffe & Szegedy, *Batch Normalization*, 2015, section 3.2.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.BatchNorm2d(3)(mt.random.normal((2, 3, 4, 4))).mean(axis=(0, 2, 3)).numpy().round(6) + 0.0
    array([0., 0., 0.])
    """

    shapes: ClassVar = {4: "(N, C, H, W)"}
    pytorch = "BatchNorm2d"


@completed_by(BatchNorm1d)
class BatchNorm3d(BatchNorm):
    """Batch normalization of volumes (N, C, D, H, W): statistics per channel, over all other axes; see BatchNorm1d.

    References
    ----------
    Ioffe & Szegedy, *Batch Normalization*, 2015, section 3.2.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.BatchNorm3d(3)(mt.random.normal((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    shapes: ClassVar = {5: "(N, C, D, H, W)"}
    pytorch = "BatchNorm3d"
