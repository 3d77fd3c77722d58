"""Pickles of the version before the package's rooms moved load, and are what is made today."""

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt
from tests.golden.make_pickles import values

STORED = json.loads((Path(__file__).parents[1] / "golden" / "pickles.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh():
    return values()


def loaded(name):
    return pickle.loads(base64.b64decode(STORED[name]))


def assert_same_tensor(old, new):
    assert type(old) is type(new)
    assert (old.dtype, old.requires_grad, old.name, old.is_leaf) == (
        new.dtype,
        new.requires_grad,
        new.name,
        new.is_leaf,
    )
    assert old.grad is None
    np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_every_kind_is_stored(fresh):
    assert set(STORED) == set(fresh)


@pytest.mark.parametrize("name", ["leaf", "detached", "parameter"])
def test_tensors(name, fresh):
    old = loaded(name)
    assert_same_tensor(old, fresh[name])
    if old.requires_grad:
        (old * old).sum().backward()
        np.testing.assert_array_equal(old.grad.numpy(), 2 * old.numpy())
    else:
        with pytest.raises(RuntimeError, match="detached"):
            old.backward(np.ones(old.shape, old.dtype))


def test_a_network_with_its_statistics(fresh):
    old, new = loaded("network"), fresh["network"]
    assert repr(old) == repr(new)
    before, now = old.state_dict(), new.state_dict()
    assert list(before) == list(now)
    for key, value in now.items():
        np.testing.assert_array_equal(before[key], value)
    x = mt.tensor(np.arange(8.0).reshape(4, 2))
    for net in (old, new):
        net.eval()
    np.testing.assert_array_equal(old(x).numpy(), new(x).numpy())
    for (key, a), (other, b) in zip(old.named_parameters(), new.named_parameters(), strict=True):
        assert key == other
        assert_same_tensor(a, b)


def test_operations_are_todays(fresh):
    old = loaded("primitives")
    assert [type(op) for op in old] == [type(mt.add)] * len(old)
    assert {op.name: id(op) for op in old} == {op.name: id(op) for op in fresh["primitives"]}
    assert all(mt.ops.primitives[op.name] is op for op in old)


@pytest.mark.parametrize("name", STORED)
def test_what_is_loaded_can_be_stored_again(name, fresh):
    again = pickle.loads(pickle.dumps(loaded(name)))
    assert type(again) is type(fresh[name])
