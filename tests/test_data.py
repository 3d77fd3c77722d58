"""Data sets and loaders: every sample once an epoch, in orders that a seed repeats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt
from microtensor.data import DataLoader, TensorDataset


def numbers(count):
    return TensorDataset(np.arange(count), np.arange(count) * 10.0)


def order(loader):
    return [int(i) for x, _ in loader for i in x.numpy()]


class Pairs:
    """A data set that knows single samples only."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        assert type(i) is int
        return mt.tensor([i, i]), i * 10.0


@given(st.integers(0, 20), st.integers(1, 7), st.booleans(), st.booleans())
def test_an_epoch_takes_every_sample_once(count, batch_size, shuffle, drop_last):
    loader = DataLoader(numbers(count), batch_size, shuffle, drop_last=drop_last, rng=0)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = order(batches)
    assert len(set(seen)) == len(seen) == (count - count % batch_size if drop_last else count)
    assert all(len(x) == batch_size for x, _ in (batches if drop_last else batches[:-1]))
    assert all((t.numpy() == x.numpy() * 10).all() for x, t in batches)
    assert shuffle or seen == sorted(seen)


def test_each_epoch_has_an_order_of_its_own_and_the_seed_repeats_them():
    first, second = (DataLoader(numbers(50), 8, shuffle=True, rng=3) for _ in range(2))
    epochs = [order(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [order(second) for _ in range(3)] == epochs


def test_the_default_generator_is_the_packages():
    loader = DataLoader(numbers(50), 50, shuffle=True)
    mt.manual_seed(5)
    first = order(loader)
    second = order(loader)
    mt.manual_seed(5)
    assert order(loader) == first != second


def test_two_walks_at_once_do_not_disturb_each_other():
    loader = DataLoader(numbers(6), 2, shuffle=True, rng=0)
    pairs = list(zip(loader, loader, strict=True))
    for side in (0, 1):
        assert sorted(order(pair[side] for pair in pairs)) == list(range(6))


def test_samples_one_by_one_are_stacked():
    x, t = next(iter(DataLoader(Pairs(), 3)))
    assert x.numpy().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert t.numpy().tolist() == [0.0, 10.0, 20.0]
    assert sorted(order((x[:, 0], t) for x, t in DataLoader(Pairs(), 2, shuffle=True, rng=0))) == [0, 1, 2, 3, 4]
    rows = DataLoader(np.eye(3), batch_size=2)
    assert [batch.numpy().tolist() for batch in rows] == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1]]]


def test_batches_keep_dtypes_and_cannot_change_the_data():
    x = mt.ones((4, 2), dtype=np.float32)
    (batch,) = next(iter(DataLoader(TensorDataset(x), 2)))
    assert batch.dtype == np.float32
    assert not batch.requires_grad
    with pytest.raises(ValueError, match="read-only"):
        batch.numpy()[0] = 5.0


def test_a_dataset_gives_samples_and_batches():
    data = numbers(5)
    assert [x.item() for x in data[-1]] == [4, 40.0]
    assert data[[0, 3]][1].numpy().tolist() == [0.0, 30.0]
    with pytest.raises(IndexError, match="5 is out of bounds"):
        data[5]


def test_what_does_not_fit_is_refused():
    for tensors in [(), (np.ones(3), np.ones(4)), (np.ones(3), 1.0)]:
        with pytest.raises(ValueError, match=r"TensorDataset: shapes are \["):
            TensorDataset(*tensors)
    for size in (0, -2):
        with pytest.raises(ValueError, match=f"DataLoader: batch_size is {size}; at least 1"):
            DataLoader(numbers(3), size)
    for size in (1.5, True, "2"):
        with pytest.raises(TypeError, match="DataLoader: batch_size is"):
            DataLoader(numbers(3), size)
    with pytest.raises(TypeError, match="a generator has no length or no index; give a TensorDataset"):
        DataLoader(i for i in range(3))
