"""The table of axes: what each norm takes its statistics over. The norms, tests, pages and pictures read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Choice = Callable[[int], tuple[int, ...]]


@dataclass(frozen=True)
class Axes:
    """One row: a norm of an input (N, C, …), or of a weight (out, in, …).

    Attributes
    ----------
    name : str
        The function.
    sentence : str
        The choice of axes, as a sentence.
    formula : str
        The norm, as in the docstring of the function.
    statistics : callable
        Takes the number of axes of x and gives the axes of the statistics. These are axes of ``view(x.shape)``.
    affine : callable or None
        Takes the number of axes of x and gives the axes of γ and β. None: there is no γ and no β.
    source : str
        The paper.
    split : int or None
        The axis that is cut into parts, such as groups of channels. Each part has its own statistics.
    of : {"input", "weight"}
        What is normalised.

    Examples
    --------
    >>> from microtensor.norms import AXES
    >>> row = AXES["group_norm"]
    >>> row.view((8, 6, 4, 4), parts=2), row.statistics(4), row.count((8, 6, 4, 4), parts=2)
    ((8, 2, 3, 4, 4), (2, 3, 4), 16)
    >>> row.affine_shape((8, 6, 4, 4))
    (6,)
    """

    name: str
    sentence: str
    formula: str
    statistics: Choice
    affine: Choice | None
    source: str
    split: int | None = None
    of: str = "input"

    @property
    def centers(self) -> bool:
        """Whether the mean is subtracted. If so, μ is in the formula."""
        return "μ" in self.formula

    def view(self, shape: tuple[int, ...], parts: int = 1) -> tuple[int, ...]:
        """The shape of x with its split axis cut into `parts`. The statistics are taken in this shape."""
        if self.split is None:
            return shape
        i = self.split
        return (*shape[:i], parts, shape[i] // parts, *shape[i + 1 :])

    def count(self, shape: tuple[int, ...], parts: int = 1) -> int:
        """How many statistics there are for an x of `shape`."""
        axes = self.statistics(len(shape))
        return math.prod(n for i, n in enumerate(self.view(shape, parts)) if i not in axes)

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of γ and β for an x of `shape`."""
        return None if self.affine is None else tuple(shape[i] for i in self.affine(len(shape)))


def _batch_and_positions(ndim: int) -> tuple[int, ...]:
    return (0, *range(2, ndim))


def _after_first(ndim: int) -> tuple[int, ...]:
    return tuple(range(1, ndim))


def _positions(ndim: int) -> tuple[int, ...]:
    return tuple(range(2, ndim))


def _first(ndim: int) -> tuple[int, ...]:
    return (0,)


def _channel(ndim: int) -> tuple[int, ...]:
    return (1,)


AXES: dict[str, Axes] = {
    row.name: row
    for row in (
        Axes(
            "batch_norm",
            "one mean and variance a channel, over the batch and all positions",
            "γ (x − μ) / √(σ² + ε) + β",
            _batch_and_positions,
            _channel,
            "Ioffe & Szegedy, *Batch Normalization*, 2015",
        ),
        Axes(
            "layer_norm",
            "one mean and variance a sample, over all its features",
            "γ (x − μ) / √(σ² + ε) + β",
            _after_first,
            _after_first,
            "Ba, Kiros & Hinton, *Layer Normalization*, 2016",
        ),
        Axes(
            "instance_norm",
            "one mean and variance a sample and channel, over all positions",
            "γ (x − μ) / √(σ² + ε) + β",
            _positions,
            _channel,
            "Ulyanov, Vedaldi & Lempitsky, *Instance Normalization*, 2016",
        ),
        Axes(
            "group_norm",
            "one mean and variance a sample and group of channels, over the group and all positions",
            "γ (x − μ) / √(σ² + ε) + β",
            lambda ndim: tuple(range(2, ndim + 1)),
            _channel,
            "Wu & He, *Group Normalization*, 2018",
            split=1,
        ),
        Axes(
            "rms_norm",
            "one root mean square a sample, over all its features; the mean stays",
            "γ x / √(mean(x²) + ε)",
            _after_first,
            _after_first,
            "Zhang & Sennrich, *Root Mean Square Layer Normalization*, 2019",
        ),
        Axes(
            "ghost_batch_norm",
            "one mean and variance a channel and part of the batch, over the part and all positions",
            "γ (x − μ) / √(σ² + ε) + β",
            lambda ndim: (1, *range(3, ndim + 1)),
            _channel,
            "Hoffer, Hubara & Soudry, *Train Longer, Generalize Better*, 2017",
            split=0,
        ),
        Axes(
            "batch_renorm",
            "one mean and variance a channel, over the batch and all positions, corrected towards the running ones",
            "γ ((x − μ) / √(σ² + ε) · r + d) + β",
            _batch_and_positions,
            _channel,
            "Ioffe, *Batch Renormalization*, 2017",
        ),
        Axes(
            "whiten",
            "one mean a channel and one covariance a pair of channels, over the batch and all positions",
            "γ Σ^(−½) (x − μ) + β",
            _batch_and_positions,
            _channel,
            "Huang, Zhou, Zhu, Liu & Shao, *Iterative Normalization*, 2019",
        ),
        Axes(
            "filter_response_norm",
            "one mean square a sample and channel, over all positions; the mean stays",
            "max(γ x / √(mean(x²) + ε) + β, τ)",
            _positions,
            _channel,
            "Singh & Krishnan, *Filter Response Normalization Layer*, 2020",
        ),
        Axes(
            "scale_norm",
            "one length a vector, over the last axis; one γ for all",
            "γ x / √(Σ x² + ε)",
            lambda ndim: (ndim - 1,),
            lambda ndim: (),
            "Nguyen & Salazar, *Transformers without Tears*, 2019",
        ),
        Axes(
            "local_response_norm",
            "one mean square an element, over the channels around it at the same position",
            "x / (k + α mean(x²))^β",
            lambda ndim: (),
            None,
            "Krizhevsky, Sutskever & Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*, 2012",
        ),
        Axes(
            "weight_norm",
            "one length an output, over all its weights",
            "g v / ‖v‖",
            _after_first,
            _first,
            "Salimans & Kingma, *Weight Normalization*, 2016",
            of="weight",
        ),
        Axes(
            "spectral_norm",
            "one largest singular value, of the weight as a matrix (out, everything else)",
            "W / σ, σ = uᵀ W v",
            lambda ndim: tuple(range(ndim)),
            None,
            "Miyato, Kataoka, Koyama & Yoshida, *Spectral Normalization*, 2018",
            of="weight",
        ),
        Axes(
            "weight_standardize",
            "one mean and variance an output, over all its weights",
            "(W − μ) / √(σ² + ε)",
            _after_first,
            None,
            "Qiao, Wang, Liu, Shen & Yuille, *Weight Standardization*, 2019",
            of="weight",
        ),
    )
}
