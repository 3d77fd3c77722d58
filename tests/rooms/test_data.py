"""Data sets and loaders: every sample once an epoch, in orders that a seed repeats."""

import collections
import re

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


class Foreign:
    """An array of another library, which refuses to be one of NumPy's."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("it requires grad")


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


Point = collections.namedtuple("Point", "x y")


def test_mappings_sequences_and_texts_keep_their_form():
    samples = [(i, {"a": [float(i), np.eye(2)[i]], "name": f"n{i}"}, Point(i, mt.tensor([i]))) for i in range(2)]
    number, mapping, point = next(iter(DataLoader(samples, 2)))
    assert number.numpy().tolist() == [0, 1]
    assert mapping["name"] == ["n0", "n1"]
    assert type(mapping["a"]) is list
    assert [x.numpy().tolist() for x in mapping["a"]] == [[0.0, 1.0], [[1.0, 0.0], [0.0, 1.0]]]
    assert (type(point), point.x.shape, point.y.shape) == (Point, (2,), (2, 1))
    pairs = next(iter(DataLoader([[1, 2.5], [3, 4.5]], 2)))
    assert [x.numpy().tolist() for x in pairs] == [[1, 3], [2.5, 4.5]]
    assert next(iter(DataLoader(["a", "b"], 2))) == ["a", "b"]
    assert next(iter(DataLoader([{}, {}], 2))) == {}


@pytest.mark.parametrize(
    ("samples", "error", "said"),
    [
        (
            [np.ones(2), np.ones(3)],
            ValueError,
            "sample 1 is an array of shape (3,), and sample 0 an array of shape (2,)",
        ),
        (
            [(np.ones(2), 0), (np.ones((2, 1)), 1)],
            ValueError,
            "sample 1[0] is an array of shape (2, 1), and sample 0[0]",
        ),
        (
            [{"x": {"y": [1, 2]}}, {"x": {"y": [1]}}],
            ValueError,
            "sample 1['x']['y'] is a list of length 1, and sample 0",
        ),
        (
            [{"x": 1}, {"y": 1}],
            ValueError,
            "sample 1 is a mapping with the keys 'y', and sample 0 a mapping with the keys 'x'",
        ),
        ([{"x": 1}, {"x": 1, "y": 1}], ValueError, "sample 1 is a mapping with the keys 'x', 'y', and sample 0"),
        ([(1, 2), (1,)], ValueError, "sample 1 is a tuple of length 1, and sample 0 a tuple of length 2"),
        ([(1, 2), [1, 2]], ValueError, "sample 1 is a list of length 2, and sample 0 a tuple of length 2"),
        ([1, "a"], ValueError, "sample 1 is a text, and sample 0 an array of shape ()"),
        ([1, None], TypeError, "sample 1 is of type NoneType; a batch is made from numbers, arrays and texts"),
        ([(1, object()), (1, 2)], TypeError, "sample 0[1] is of type object"),
        ([np.ma.ones(2)] * 2, TypeError, "sample 0 is of type MaskedArray"),
        ([np.array(["a"])] * 2, TypeError, "sample 0 is of type ndarray"),
        ([(0, np.ones(2, np.longdouble))] * 2, TypeError, "sample 0[1] is of type ndarray"),
        ([collections.deque([[1], [1, 2]])] * 2, TypeError, "sample 0 is of type deque"),
        ([{"x": Foreign()}] * 2, TypeError, "sample 0['x'] is of type Foreign"),
    ],
)
def test_a_sample_that_does_not_fit_is_named_and_collate_fn_takes_it(samples, error, said):
    with pytest.raises(error, match="^" + re.escape(f"DataLoader: {said}") + ".*give a collate_fn$"):
        list(DataLoader(samples, 2))
    ((first, second),) = DataLoader(samples, 2, collate_fn=tuple)
    assert first is samples[0]
    assert second is samples[1]


def test_samples_are_named_by_their_number_in_the_data_set():
    data = [np.ones(2)] * 7
    data[5] = np.ones(3)
    with pytest.raises(
        ValueError, match=r"sample 5 is an array of shape \(3,\), and sample 4 an array of shape \(2,\)"
    ):
        list(DataLoader(data, 2))
    with pytest.raises(ValueError, match=r"sample (5 is an array of shape \(3,\)|\d is .*, and sample 5 an array)"):
        list(DataLoader(data, 7, shuffle=True, rng=1))


def test_collate_fn_gets_the_samples_of_a_batch():
    loader = DataLoader([[1.0], [2.0, 3.0], [4.0]], 2, collate_fn=lambda batch: max(map(len, batch)))
    assert list(loader) == [2, 1]
    data = TensorDataset([[1.0], [2.0]], [0, 1])
    ((first, second),) = DataLoader(data, 2, collate_fn=lambda batch: batch)
    assert [type(first), first[1].item(), second[1].item()] == [tuple, 0, 1]


def test_an_empty_data_set_has_no_batches():
    for data in ([], TensorDataset(np.ones((0, 2)))):
        for shuffle in (False, True):
            for drop_last in (False, True):
                loader = DataLoader(data, 3, shuffle, drop_last=drop_last, rng=0)
                assert (len(loader), list(loader)) == (0, [])


NEUTRAL = {
    "sampler": None,
    "batch_sampler": None,
    "num_workers": 0,
    "collate_fn": None,
    "pin_memory": False,
    "timeout": 0,
    "worker_init_fn": None,
    "multiprocessing_context": None,
    "generator": None,
    "prefetch_factor": None,
    "persistent_workers": False,
    "pin_memory_device": "",
    "in_order": True,
    "shuffle": None,
}


def test_settings_of_pytorch_that_change_nothing_are_taken():
    assert order(DataLoader(numbers(5), 2, **NEUTRAL)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_workers", 2),
        ("sampler", np.arange(3)),
        ("batch_sampler", [[0]]),
        ("pin_memory", True),
        ("timeout", 5.0),
        ("worker_init_fn", print),
        ("generator", np.random.default_rng(0)),
        ("prefetch_factor", 2),
        ("persistent_workers", True),
        ("in_order", False),
    ],
)
def test_settings_of_pytorch_that_ask_for_more_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^DataLoader: {name} is "):
        DataLoader(numbers(3), **{name: value})


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
        with pytest.raises(ValueError, match=f"DataLoader: batch_size is {size}; it must be a positive integer"):
            DataLoader(numbers(3), size)
    for size in (1.5, True, "2"):
        with pytest.raises(TypeError, match="DataLoader: batch_size is"):
            DataLoader(numbers(3), size)
    with pytest.raises(TypeError, match="a generator has no length or no index; give a TensorDataset"):
        DataLoader(i for i in range(3))
    for data in ({1, 2}, iter([1]), None, 5, map(abs, [1])):
        with pytest.raises(TypeError, match=f"DataLoader: a {type(data).__name__} has no length or no index"):
            DataLoader(data)
    for data in (mt.tensor(1.0), np.array(1.0)):
        with pytest.raises(TypeError, match=f"DataLoader: this {type(data).__name__} has no length"):
            DataLoader(data)
    with pytest.raises(TypeError, match=r"DataLoader: a dict is indexed by its keys; give TensorDataset\("):
        DataLoader({"x": np.ones(3), "t": np.ones(3)})
    assert [len(x) for x in DataLoader({0: 1.0, 1: 2.0}, 2)] == [2]
    for bad, error in (([[1.0, 2.0], [3.0]], ValueError), ({"x": [1.0]}, TypeError), (["a"], TypeError)):
        with pytest.raises(
            error, match=f"TensorDataset: tensor 1 is of type {type(bad).__name__}, which cannot become a"
        ):
            TensorDataset([1.0], bad)
    for name in ("shuffle", "drop_last"):
        for bad in ("no", 2, [True]):
            with pytest.raises(TypeError, match=f"DataLoader: {name} is .*; it must be True or False"):
                DataLoader(numbers(3), **{name: bad})
    with pytest.raises(TypeError, match="DataLoader: batch_size is None; it must be a positive integer"):
        DataLoader(numbers(3), None)
    with pytest.raises(TypeError, match="DataLoader: collate_fn is 3; it must be a function"):
        DataLoader(numbers(3), collate_fn=3)
    with pytest.raises(TypeError, match="DataLoader: there is no setting 'num_worker'"):
        DataLoader(numbers(3), num_worker=0)
