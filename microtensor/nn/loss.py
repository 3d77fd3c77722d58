"""Losses as modules: a function of :mod:`microtensor.losses` with its settings, checked when it is made."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from microtensor import losses
from microtensor.nn.module import Module
from microtensor.support.checks import (
    KL_REDUCTIONS,
    REDUCTIONS,
    check_delta,
    check_float,
    check_reduction,
    check_setting,
)
from microtensor.tensor import Tensor


class _Loss(Module):
    """The part that all losses share: the reduction, and what the representation shows."""

    _reductions: tuple[str, ...] = REDUCTIONS
    _shown: tuple[str, ...] = ()

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction, type(self).__name__, self._reductions)

    def _hold_weight(self, name: str, weight: Tensor | ArrayLike | None) -> None:
        """A weight is part of the state, and is not learnt."""
        losses.check_weight(weight, name, type(self).__name__)
        self.register_buffer(name, weight if weight is None or isinstance(weight, Tensor) else Tensor(weight))

    def __call__(self, input: Tensor, target: Any) -> Any:
        check_float(input, self)
        return super().__call__(input, target)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in (*self._shown, "reduction"))


class MSELoss(_Loss):
    """Mean squared error; see :func:`microtensor.losses.mse_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The reduction has another name.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import MSELoss
    >>> MSELoss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    2.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of a prediction."""
        return losses.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean absolute error; see :func:`microtensor.losses.l1_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The reduction has another name.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import L1Loss
    >>> L1Loss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    1.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of a prediction."""
        return losses.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Absolute error with its corner rounded; see :func:`microtensor.losses.smooth_l1_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
    beta : float
        β, not negative.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import SmoothL1Loss
    >>> SmoothL1Loss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    0.75
    """

    _shown = ("beta",)

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = check_setting(beta, "beta", "SmoothL1Loss")

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of a prediction."""
        return losses.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Squared error that goes on as a straight line; see :func:`microtensor.losses.huber_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
    delta : float
        δ, above 0.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import HuberLoss
    >>> HuberLoss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    0.75
    """

    _shown = ("delta",)

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = check_delta(delta, "HuberLoss")

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of a prediction."""
        return losses.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class CrossEntropyLoss(_Loss):
    """Cross entropy between logits and classes; see :func:`microtensor.losses.cross_entropy`.

    Parameters
    ----------
    weight : Tensor or array_like, optional
        One weight a class, shape (C,); a buffer of the module.
    ignore_index : int
        The class index of positions that count for nothing.
    reduction : {'mean', 'sum', 'none'}
    label_smoothing : float
        From 0 to 1.

    Raises
    ------
    ValueError
        A setting is out of range, or a weight is negative.
    TypeError
        `ignore_index` is not an integer.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import CrossEntropyLoss
    >>> round(CrossEntropyLoss()(mt.tensor([[2.0, 0.0]]), [0]).item(), 4)
    0.1269
    """

    _shown = ("ignore_index", "label_smoothing")

    def __init__(
        self,
        weight: Tensor | ArrayLike | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self._hold_weight("weight", weight)
        self.ignore_index = losses.check_ignored(ignore_index, type(self).__name__)
        self.label_smoothing = check_setting(label_smoothing, "label_smoothing", "CrossEntropyLoss", high=1.0)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of logits."""
        return losses.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log likelihood of class indices; see :func:`microtensor.losses.nll_loss`.

    Parameters
    ----------
    weight, ignore_index, reduction
        As :class:`CrossEntropyLoss`.

    Raises
    ------
    ValueError
        The reduction has another name, or a weight is negative.
    TypeError
        `ignore_index` is not an integer.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import NLLLoss
    >>> NLLLoss()(mt.tensor([[-0.5, -1.0]]), [0]).item()
    0.5
    """

    _shown = ("ignore_index",)

    def __init__(
        self, weight: Tensor | ArrayLike | None = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self._hold_weight("weight", weight)
        self.ignore_index = losses.check_ignored(ignore_index, type(self).__name__)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of log-probabilities."""
        return losses.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class BCELoss(_Loss):
    """Cross entropy of yes or no, from probabilities; see :func:`microtensor.losses.binary_cross_entropy`.

    Parameters
    ----------
    weight : Tensor or array_like, optional
        What each element's loss is multiplied by; a buffer of the module.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        The reduction has another name, or a weight is negative.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import BCELoss
    >>> round(BCELoss()(mt.tensor([0.9]), [1.0]).item(), 4)
    0.1054
    """

    def __init__(self, weight: Tensor | ArrayLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._hold_weight("weight", weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of probabilities."""
        return losses.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross entropy of yes or no, from logits; see :func:`microtensor.losses.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight : Tensor or array_like, optional
        What each element's loss is multiplied by; a buffer of the module.
    reduction : {'mean', 'sum', 'none'}
    pos_weight : Tensor or array_like, optional
        What a yes weighs more than a no; a buffer of the module.

    Raises
    ------
    ValueError
        The reduction has another name, or a weight is negative.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import BCEWithLogitsLoss
    >>> round(BCEWithLogitsLoss()(mt.tensor([0.0]), [1.0]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Tensor | ArrayLike | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self._hold_weight("weight", weight)
        self._hold_weight("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of logits."""
        return losses.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence from log-probabilities; see :func:`microtensor.losses.kl_div`.

    Parameters
    ----------
    reduction : {'mean', 'batchmean', 'sum', 'none'}
        'batchmean' gives the divergence of the textbooks.
    log_target : bool
        Whether the target holds logarithms.

    Raises
    ------
    ValueError
        The reduction has another name.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import KLDivLoss
    >>> logp = mt.log_softmax(mt.tensor([[0.0, 0.0]]))
    >>> round(KLDivLoss(reduction="batchmean")(logp, [[1.0, 0.0]]).item(), 4)
    0.6931
    """

    _reductions = KL_REDUCTIONS
    _shown = ("log_target",)

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of log-probabilities."""
        return losses.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class HingeEmbeddingLoss(_Loss):
    """Pull pairs together or push them apart; see :func:`microtensor.losses.hinge_embedding_loss`.

    Parameters
    ----------
    margin : float
        The distance from which on a pair of label −1 is far enough apart.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.loss import HingeEmbeddingLoss
    >>> HingeEmbeddingLoss(margin=2.0)(mt.tensor([0.5]), [-1]).item()
    1.5
    """

    _shown = ("margin",)

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = check_setting(margin, "margin", "HingeEmbeddingLoss", low=float("-inf"))

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of distances."""
        return losses.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)
