"""Batches: a data set of tensors, and a loader that walks over it in pieces, shuffled or in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.random import generator
from microtensor.support.arrays import Array
from microtensor.tensor import Tensor


class TensorDataset:
    """Tensors that belong together row by row: sample i is ``(tensors[0][i], tensors[1][i], …)``.

    Parameters
    ----------
    *tensors : Tensor or array_like
        The same size along axis 0.

    Raises
    ------
    ValueError
        There are no tensors, one has no axes, or their lengths differ.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.data import TensorDataset
    >>> data = TensorDataset([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    >>> len(data)
    2
    >>> data[1]
    (tensor([3., 4.]), tensor(1))
    """

    def __init__(self, *tensors: Tensor | ArrayLike) -> None:
        self.tensors = tuple(x if isinstance(x, Tensor) else Tensor(x) for x in tensors)
        shapes = [x.shape for x in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"TensorDataset: shapes are {shapes}; tensors of one length along axis 0 are needed")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """One sample for an integer; a batch for a slice or an array of integers."""
        return tuple(x[index] for x in self.tensors)


class DataLoader:
    """Walk over a data set in batches; every walk is one epoch.

    A :class:`TensorDataset` is indexed with whole arrays; any other data set, which needs ``len(data)`` and
    ``data[i]``, sample by sample, and the samples are stacked.

    Parameters
    ----------
    dataset : TensorDataset, or any sequence of samples
        A sample is an array, a number, or a tuple of these; so is a batch, with one more axis in front.
    batch_size : int
    shuffle : bool
        Take the samples in a new random order each epoch.
    drop_last : bool
        Leave out the last batch when it is smaller than the others. One sample alone is too few for batch norm.
    rng : int or numpy.random.Generator, optional
        Where the order comes from: the same seed gives the same orders, epoch by epoch. Unless given, the default
        generator, which :func:`microtensor.manual_seed` seeds.

    Raises
    ------
    ValueError
        The batch size is not positive.
    TypeError
        It is not an integer, or the data set has no length.

    Examples
    --------
    >>> from microtensor.data import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset([0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1, 0]), batch_size=2)
    >>> len(loader)
    3
    >>> for x, t in loader:
    ...     print(x.numpy(), t.numpy())
    [0. 1.] [0 1]
    [2. 3.] [0 1]
    [4.] [0]
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, *, drop_last: bool = False, rng: Any = None
    ) -> None:
        if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool):
            raise TypeError(f"DataLoader: batch_size is {batch_size!r}; an integer is needed")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is {batch_size}; at least 1 is needed")
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: a {type(dataset).__name__} has no length or no index; give a TensorDataset")
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._rng = None if rng is None else generator(rng)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = generator(self._rng).permutation(len(self.dataset)) if self.shuffle else None
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return (self._batch(order, slice(start, start + self.batch_size)) for start in starts)

    def _batch(self, order: Array | None, part: slice) -> Any:
        if isinstance(self.dataset, TensorDataset):
            return self.dataset[part if order is None else order[part]]
        chosen = range(len(self.dataset))[part] if order is None else order[part]
        samples = [self.dataset[int(i)] for i in chosen]
        if isinstance(samples[0], (tuple, list)):
            return tuple(_stacked(column) for column in zip(*samples, strict=True))
        return _stacked(samples)


def _stacked(samples: Any) -> Tensor:
    return Tensor(np.stack([x.numpy() if isinstance(x, Tensor) else np.asarray(x) for x in samples]))
