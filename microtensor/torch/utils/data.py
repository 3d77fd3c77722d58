"""``torch.utils.data``: data sets, and a loader that makes batches in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor as PlainTensor
from microtensor.torch.creation import draws_of, tensor
from microtensor.torch.functions import FUNCTIONS_ONLY
from microtensor.torch.tensor import ONE_SOURCE


class Dataset:
    """The base of data sets: define ``__getitem__``, and ``__len__`` for a loader."""


class TensorDataset(Dataset):
    """Tensors whose rows belong together: sample i is ``(tensors[0][i], tensors[1][i], …)``."""

    def __init__(self, *tensors: Any) -> None:
        if len({len(x) for x in tensors}) > 1:
            raise ValueError(f"TensorDataset: sizes along axis 0 differ: {[len(x) for x in tensors]}")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(x[index] for x in self.tensors)


class Subset(Dataset):
    """Some samples of a data set."""

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]


def default_collate(batch: list[Any]) -> Any:
    """A batch of samples: tensors, arrays and numbers are stacked, lists and dicts keep their form."""
    first = batch[0]
    if isinstance(first, PlainTensor):
        return FUNCTIONS_ONLY["stack"](batch)
    if isinstance(first, (np.ndarray, np.generic, int, float)):
        return tensor(np.stack(batch))
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        return [default_collate(list(part)) for part in zip(*batch, strict=True)]
    if not isinstance(first, (str, bytes)):
        raise TypeError(f"default_collate: a sample is of type {type(first).__name__}; give a collate_fn")
    return batch


# Settings that change nothing, because all batches are made in this process.
_WITHOUT_EFFECT = {"num_workers", "pin_memory", "timeout", "worker_init_fn", "persistent_workers", "prefetch_factor"}


class DataLoader:
    """Batches of a data set. `num_workers` and `pin_memory` change nothing: all batches are made in this process."""

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool | None = None, sampler: Any = None, *,
        collate_fn: Any = default_collate, drop_last: bool = False, generator: Any = None, **others: Any,
    ) -> None:  # fmt: skip
        if not isinstance(batch_size, int) or others.keys() - _WITHOUT_EFFECT or (shuffle and sampler is not None):
            raise TypeError(f"DataLoader: {', '.join(others)}, batch_size=None, or shuffle= with sampler= is not here")
        self.dataset, self.batch_size, self.drop_last, self.sampler = dataset, batch_size, drop_last, sampler
        self._shuffle, self._generator, self.collate_fn = shuffle, generator, collate_fn or default_collate

    def __len__(self) -> int:
        count = len(self.dataset if self.sampler is None else self.sampler)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = list(range(len(self.dataset)) if self.sampler is None else self.sampler)
        if self._shuffle:
            order = draws_of(self._generator).permutation(len(order)).tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.collate_fn([self.dataset[int(i)] for i in order[start : start + self.batch_size]])


def __getattr__(name: str) -> Any:
    raise AttributeError(f"torch.utils.data.{name} is not here: {ONE_SOURCE}")
