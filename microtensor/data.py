"""Batches: a data set of tensors, and a loader that gives its samples batch by batch, shuffled or in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.checks import check_flag, check_size
from microtensor.core.tensor import Tensor
from microtensor.random import generator
from microtensor.support.arrays import Array

# PyTorch's other settings, and the value with which each does what happens here anyway.
_PYTORCH: dict[str, Any] = {
    **dict.fromkeys(("sampler", "batch_sampler", "worker_init_fn", "multiprocessing_context", "generator")),
    "prefetch_factor": None,
    **dict.fromkeys(("num_workers", "timeout"), 0),
    **dict.fromkeys(("pin_memory", "persistent_workers"), False),
    "pin_memory_device": "",
    "in_order": True,
}


class TensorDataset:
    """Tensors whose rows belong together: sample i is ``(tensors[0][i], tensors[1][i], …)``.

    Parameters
    ----------
    *tensors : Tensor or array_like
        All have the same size along axis 0.

    Raises
    ------
    ValueError
        There are no tensors, a tensor has no axes or is ragged, or the lengths differ.
    TypeError
        An argument does not hold numbers, such as a dict.

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
        self.tensors = tuple(_tensor(x, f"TensorDataset: tensor {i}") for i, x in enumerate(tensors))
        shapes = [x.shape for x in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"TensorDataset: shapes are {shapes}; all must have the same length along axis 0")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """One sample for an integer; a batch for a slice or an array of integers."""
        return tuple(x[index] for x in self.tensors)


class DataLoader:
    """Iterate over a data set in batches. Each iteration over the loader is one epoch.

    A :class:`TensorDataset` is indexed with whole arrays. Any other data set needs ``len(data)`` and ``data[i]``, and
    is indexed sample by sample. The samples are put together as in PyTorch: arrays and numbers are stacked, mappings,
    tuples and lists keep their form, and texts become a list. A tuple gives a tuple, where PyTorch gives a list.

    Parameters
    ----------
    dataset : TensorDataset, or any sequence of samples
        A sample is an array, a number, a text, or a mapping, tuple or list of these. A batch has the same form, with
        one more axis in front. Without samples there are no batches.
    batch_size : int
    shuffle : bool
        Whether the samples come in a new random order in each epoch.
    drop_last : bool
        Whether to leave out the last batch when it is smaller than the others. A batch of one sample is too small for
        batch norm of (N, C).
    rng : int or numpy.random.Generator, optional
        For the random order. With the same seed, a new run has the same orders. Default: the generator that
        :func:`microtensor.manual_seed` seeds.
    collate_fn : callable, optional
        Makes a batch from a list of samples. Default: the samples are stacked. Use it, for example, for samples of
        different lengths.
    **pytorch
        PyTorch's other settings. Only the values that change nothing are allowed, such as ``num_workers=0``.

    Raises
    ------
    ValueError
        The batch size is not positive, or one of PyTorch's other settings has a value that this loader does not
        support. In an iteration: the samples of a batch differ in shape, length or keys.
    TypeError
        The batch size is not an integer, a flag is neither True nor False, a setting is unknown, or the data set has no
        length or no index. In an iteration: a sample cannot be stacked.

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
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
        *,
        drop_last: bool = False,
        rng: Any = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        **pytorch: Any,
    ) -> None:
        for name, value in pytorch.items():
            if name not in _PYTORCH:
                raise TypeError(f"DataLoader: there is no setting {name!r}")
            default = _PYTORCH[name]
            if value is not default and (default is None or value != default):
                hint = "; say rng=" if name == "generator" else ""
                raise ValueError(
                    f"DataLoader: {name} is {value!r}; it must be {default!r}, because this loader uses one process "
                    f"and its own order{hint}"
                )
        _check_dataset(dataset)
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn is {collate_fn!r}; it must be a function from a list of samples")
        self.dataset = dataset
        self.batch_size = check_size(batch_size, "batch_size", "DataLoader")
        self.shuffle = shuffle is not None and check_flag(shuffle, "shuffle", "DataLoader")
        self.drop_last = check_flag(drop_last, "drop_last", "DataLoader")
        self.collate_fn = collate_fn
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
        if isinstance(self.dataset, TensorDataset) and self.collate_fn is None:
            return self.dataset[part if order is None else order[part]]
        chosen = [int(i) for i in (range(len(self.dataset))[part] if order is None else order[part])]
        samples = [self.dataset[i] for i in chosen]
        return self.collate_fn(samples) if self.collate_fn else _collated(samples, chosen, "")


def _check_dataset(dataset: Any) -> None:
    """Raise TypeError unless there is a length, and an index that counts from 0."""
    kind = type(dataset).__name__
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(f"DataLoader: a {kind} has no length or no index; give a TensorDataset")
    try:
        length = len(dataset)
    except TypeError as error:
        raise TypeError(f"DataLoader: this {kind} has no length ({error}); give a TensorDataset") from error
    if isinstance(dataset, Mapping) and not all(i in dataset for i in range(length)):
        raise TypeError(f"DataLoader: a {kind} is indexed by its keys; give TensorDataset(*data.values()), or a list")


def _collated(samples: list[Any], numbers: list[int], place: str) -> Any:
    """The batch of samples. They are the parts at `place` of the samples with these numbers."""
    parts = [_part(sample, f"DataLoader: sample {n}{place}") for sample, n in zip(samples, numbers, strict=True)]
    first, form = parts[0], _form(parts[0])
    for part, number in zip(parts, numbers, strict=True):
        if _form(part) != form:
            raise ValueError(
                f"DataLoader: sample {number}{place} is {_form(part)}, and sample {numbers[0]}{place} {form}; "
                "all samples of a batch must have one form. Pad or convert them in the data set, or give a collate_fn"
            )
    if isinstance(first, Mapping):
        return {key: _collated([part[key] for part in parts], numbers, f"{place}[{key!r}]") for key in first}
    if isinstance(first, (tuple, list)):
        columns = enumerate(zip(*parts, strict=True))
        batch = [_collated(list(column), numbers, f"{place}[{i}]") for i, column in columns]
        if isinstance(first, list):
            return batch
        return type(first)(*batch) if hasattr(first, "_fields") else tuple(batch)
    return parts if isinstance(first, (str, bytes)) else Tensor(np.stack(parts))


def _part(sample: Any, who: str) -> Any:
    """A mapping, a sequence or a text as it is, and everything else as an array of numbers."""
    if isinstance(sample, (Mapping, tuple, list, str, bytes)):
        return sample
    try:
        array = sample._array if isinstance(sample, Tensor) else np.asarray(sample)
    except (TypeError, ValueError, RuntimeError):
        # Of ragged sequences, and of other libraries' arrays that are more than numbers.
        array = np.array(None)
    lossy = isinstance(sample, (np.ma.MaskedArray, np.matrix))
    if lossy or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{who} is of type {type(sample).__name__}; a batch is made from numbers, arrays and texts, "
            "in mappings, tuples and lists. Convert it in the data set, or give a collate_fn"
        )
    return array


def _form(part: Any) -> str:
    """What must be the same for all samples of a batch, in words."""
    match part:
        case Mapping():
            return f"a mapping with the keys {', '.join(sorted(map(repr, part)))}"
        case tuple() | list():
            return f"a {type(part).__name__} of length {len(part)}"
        case str() | bytes():
            return "a text"
    return f"an array of shape {part.shape}"


def _tensor(value: Any, who: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return Tensor(value)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{who} is of type {type(value).__name__}, which cannot become a tensor: {error}") from error
