"""Exact running statistics of batch norms, from a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.nn.module import Module
from microtensor.nn.normalization.batch import BatchNorm
from microtensor.norms import AXES
from microtensor.support.arrays import Array
from microtensor.support.modes import no_grad


class _Moments:
    """Mean and sum of squared deviations of each channel over all batches so far, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: Array) -> None:
        """Add a batch of any size: exact and without cancellation (Chan, Golub & LeVeque, 1979)."""
        axes = AXES["batch_norm"].statistics(x.ndim)
        count = x.size // x.shape[1]
        if not count:
            return
        mean = x.mean(axis=axes, dtype=np.float64)
        squares = x.var(axis=axes, dtype=np.float64) * count
        total, away = self.count + count, mean - self.mean
        self.mean = self.mean + away * (count / total)
        self.squares = self.squares + squares + away**2 * (self.count * count / total)
        self.count = total


def update_bn(model: Module, batches: Iterable[Any]) -> None:
    """Set the running statistics of all batch norms to the exact statistics of a data set.

    Afterwards, when the model predicts on that data, the inputs of every batch norm have exactly its running mean and
    its (unbiased) running variance. The sizes of the batches do not matter. The layers are measured one after the
    other, each with the new statistics of those before it. So the data are used once for each layer, in prediction
    mode.

    PyTorch's ``swa_utils.update_bn`` uses the data once, in training mode, and averages the means and variances of the
    batches with equal weights. There a short last batch counts as much as the others. The differences between the means
    of batches are lost. The inputs of later layers are normalised batch by batch.

    The modes of the modules do not change. Frozen statistics do not change, and the statistics of instance norms and
    IterNorm do not change.

    Parameters
    ----------
    model : Module
    batches : iterable
        A batch is an input, or a tuple or list whose first item is the input. If `batches` is an iterator, which can be
        used only once, all batches are kept in memory.

    Raises
    ------
    ValueError
        There are no batches, there is only one value per channel, or the values are not finite. Then nothing is
        changed.

    Examples
    --------
    >>> import microtensor as mt
    >>> bn = mt.nn.BatchNorm1d(1)
    >>> mt.nn.utils.update_bn(bn, [mt.tensor([[1.0], [3.0]]), mt.tensor([[8.0]])])
    >>> bn.running_mean.item(), bn.running_var.item()
    (4.0, 13.0)
    """
    if isinstance(batches, Iterator):
        batches = list(batches)
    norms = {module: path for path, module in model.named_modules() if _is_measured(module)}
    buffers = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var, norm.num_batches_tracked)]
    before = [tensor._array for tensor in buffers]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with no_grad(), np.errstate(all="ignore"):
            for norm in _in_order(model, norms, batches):
                _measure(model, norm, batches, f"{norms[norm]} {norm.title()}".strip())
    except BaseException:
        for tensor, value in zip(buffers, before, strict=True):
            tensor.assign_(value)
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode


def _is_measured(module: Module) -> bool:
    return isinstance(module, BatchNorm) and module.running()[0] is not None and not module.frozen_stats


def _in_order(model: Module, norms: Iterable[Any], batches: Iterable[Any]) -> list[Any]:
    """The norms in the order in which a batch reaches them; one that is not reached is left out."""
    order: dict[Any, None] = {}
    with _watched(norms, lambda norm, x: order.setdefault(norm)):
        for batch in batches:
            model(_input(batch))
            return list(order)
    raise ValueError("update_bn: there are no batches to compute statistics from")


def _measure(model: Module, norm: Any, batches: Iterable[Any], who: str) -> None:
    moments, count = _Moments(), 0
    with _watched([norm], lambda norm, x: moments.add(x._array)):
        for batch in batches:
            model(_input(batch))
            count += 1
    if moments.count < 2:
        raise ValueError(f"update_bn: {who}: {moments.count} values per channel have no variance; give more data")
    variance = moments.squares / (moments.count - 1)
    if not (np.isfinite(moments.mean).all() and np.isfinite(variance).all()):
        raise ValueError(f"update_bn: {who}: the data give NaN or infinite statistics")
    norm.running_mean.assign_(moments.mean)
    norm.running_var.assign_(variance)
    norm.num_batches_tracked.assign_(count)


def _input(batch: Any) -> Any:
    return batch[0] if isinstance(batch, (tuple, list)) else batch


@contextmanager
def _watched(norms: Iterable[Any], see: Callable[[Any, Tensor], object]) -> Iterator[None]:
    """Call `see` with each of the norms and its input whenever it is called."""

    def watching(norm: Any) -> Callable[[Tensor], Any]:
        def forward(x: Tensor) -> Any:
            see(norm, x)
            return type(norm).forward(norm, x)

        return forward

    norms = list(norms)
    for norm in norms:
        norm.__dict__["forward"] = watching(norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["forward"]
