"""Losses as layers: each names a function of :mod:`microtensor.losses` and declares its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from functools import partial
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from microtensor import checks, losses
from microtensor.core.tensor import Tensor
from microtensor.nn.wrapper import Wrapper

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Wrapper):
    """What all losses share: the checks of their settings when they are made, and weights as buffers."""

    _checks: ClassVar[Mapping[str, Callable[[Any, str, str], Any]]] = {
        "beta": partial(checks.check_number, least=0),
        "delta": checks.check_positive,
        "ignore_index": checks.check_integer,
        "label_smoothing": partial(checks.check_number, least=0, most=1),
        "margin": checks.check_number,
    }

    _reductions: ClassVar[tuple[str, ...]] = checks.REDUCTIONS

    def _keep(self, name: str, value: Any) -> None:
        who = type(self).__name__
        if name in ("weight", "pos_weight"):
            losses.check_weight(value, name, who)
            # A weight is part of the state, and is not learnt.
            self.register_buffer(name, value if value is None or isinstance(value, Tensor) else Tensor(value))
        elif name == "reduction":
            super()._keep(name, checks.check_reduction(value, who, self._reductions))
        else:
            check = self._checks.get(name)
            super()._keep(name, check(value, name, who) if check else value)

    def __call__(self, input: Tensor, target: Any) -> Any:
        checks.check_float(input, self)
        return super().__call__(input, target)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of the input, given the target."""
        return self._computed(input, target)


class MSELoss(_Loss):
    """Mean squared error: the mean of (input − target)².

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.MSELoss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    2.0
    """

    function = losses.mse_loss
    _: KW_ONLY
    reduction: str = "mean"


class L1Loss(_Loss):
    """Mean absolute error: the mean of |input − target|.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.L1Loss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    1.0
    """

    function = losses.l1_loss
    _: KW_ONLY
    reduction: str = "mean"


class SmoothL1Loss(_Loss):
    """Absolute error, but squared near 0: d² / 2β for |d| ≤ β, else |d| − β/2, with d = input − target.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.SmoothL1Loss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    0.75
    """

    function = losses.smooth_l1_loss
    _: KW_ONLY
    reduction: str = "mean"
    beta: float = 1.0


class HuberLoss(_Loss):
    """Squared error, but linear far from 0: d² / 2 for |d| ≤ δ, else δ (|d| − δ/2), with d = input − target.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.HuberLoss()(mt.tensor([1.0, 2.0]), mt.tensor([1.0, 4.0])).item()
    0.75
    """

    function = losses.huber_loss
    _: KW_ONLY
    reduction: str = "mean"
    delta: float = 1.0


class CrossEntropyLoss(_Loss):
    """Cross entropy between logits and classes: −Σ_c w_c q_c ln softmax(input)_c.

    The target q is one class for each position, or probabilities; see :func:`microtensor.losses.cross_entropy`. The
    weight w is a buffer of the layer.

    Examples
    --------
    >>> import microtensor as mt
    >>> round(mt.nn.CrossEntropyLoss()(mt.tensor([[2.0, 0.0]]), [0]).item(), 4)
    0.1269
    """

    function = losses.cross_entropy
    weight: Tensor | ArrayLike | None = None
    _: KW_ONLY
    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0


class NLLLoss(_Loss):
    """Negative log likelihood of class indices: −w_t · input_t, for log-probabilities such as log_softmax gives.

    The weight w is a buffer of the layer.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.NLLLoss()(mt.tensor([[-0.5, -1.0]]), [0]).item()
    0.5
    """

    function = losses.nll_loss
    weight: Tensor | ArrayLike | None = None
    _: KW_ONLY
    ignore_index: int = -100
    reduction: str = "mean"


class BCELoss(_Loss):
    """Cross entropy of two classes, from probabilities: −(t ln x + (1 − t) ln(1 − x)).

    The weight is a buffer of the layer.

    Examples
    --------
    >>> import microtensor as mt
    >>> round(mt.nn.BCELoss()(mt.tensor([0.9]), [1.0]).item(), 4)
    0.1054
    """

    function = losses.binary_cross_entropy
    weight: Tensor | ArrayLike | None = None
    _: KW_ONLY
    reduction: str = "mean"


class BCEWithLogitsLoss(_Loss):
    """Cross entropy of two classes, from logits: −(p t ln σ(x) + (1 − t) ln(1 − σ(x))).

    Both weights are buffers of the layer.

    Examples
    --------
    >>> import microtensor as mt
    >>> round(mt.nn.BCEWithLogitsLoss()(mt.tensor([0.0]), [1.0]).item(), 4)
    0.6931
    """

    function = losses.binary_cross_entropy_with_logits
    weight: Tensor | ArrayLike | None = None
    _: KW_ONLY
    reduction: str = "mean"
    pos_weight: Tensor | ArrayLike | None = None


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence from log-probabilities: t (ln t − input), elementwise.

    For the divergence of a batch as in textbooks, use the reduction 'batchmean'.

    Examples
    --------
    >>> import microtensor as mt
    >>> logp = mt.log_softmax(mt.tensor([[0.0, 0.0]]))
    >>> round(mt.nn.KLDivLoss(reduction="batchmean")(logp, [[1.0, 0.0]]).item(), 4)
    0.6931
    """

    function = losses.kl_div
    _reductions = checks.KL_REDUCTIONS
    _: KW_ONLY
    reduction: str = "mean"
    log_target: bool = False


class HingeEmbeddingLoss(_Loss):
    """Small for close pairs of label 1 and far pairs of −1: input for t = 1, max(0, margin − input) for t = −1.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.HingeEmbeddingLoss(margin=2.0)(mt.tensor([0.5]), [-1]).item()
    1.5
    """

    function = losses.hinge_embedding_loss
    margin: float = 1.0
    _: KW_ONLY
    reduction: str = "mean"
