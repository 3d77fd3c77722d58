"""The optimisers: PyTorch's paths to the last digits, what they leave alone, and what they refuse."""

import numpy as np
import pytest

import microtensor as mt

SETTINGS = {
    "SGD": lambda p: mt.optim.SGD(p, lr=0.05),
    "SGD momentum": lambda p: mt.optim.SGD(p, lr=0.05, momentum=0.9),
    "SGD momentum weight_decay": lambda p: mt.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
    "Adam": lambda p: mt.optim.Adam(p, lr=0.05),
    "Adam betas eps weight_decay": lambda p: mt.optim.Adam(p, lr=0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
}


def leaf(*values, dtype=np.float64):
    return mt.tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_twenty_steps_are_pytorchs(golden, name):
    bowl = golden("bowl")
    theta = mt.tensor(bowl["start"], requires_grad=True)
    optimiser = SETTINGS[name]([theta])
    for expected in golden(f"path {name}")["theta"]:
        optimiser.zero_grad()
        away = theta - bowl["centre"]
        (away @ bowl["matrix"] @ away / 2).backward()
        optimiser.step()
        np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [mt.optim.SGD, mt.optim.Adam])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
def test_a_step_keeps_shape_and_dtype(make, dtype, shape):
    w = mt.tensor(np.ones(shape, dtype), requires_grad=True)
    optimiser = make([w], lr=0.1, weight_decay=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        mt.sum(w * w).backward()
        optimiser.step()
    assert (w.shape, w.dtype) == (shape, dtype)
    assert type(w.numpy()) is np.ndarray
    assert (w.numpy() < 1).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_touches_neither_gradient_nor_the_arrays_that_others_hold(name):
    w = leaf(1.0, 2.0)
    optimiser = SETTINGS[name]([w])
    held = w.numpy()
    for _ in range(2):
        w.grad = np.array([0.5, -0.5])
        gradient = w.grad
        optimiser.step()
        np.testing.assert_array_equal(gradient.numpy(), [0.5, -0.5])
        assert not np.shares_memory(w.numpy(), gradient.numpy())
    np.testing.assert_array_equal(held, [1.0, 2.0])
    assert w.is_leaf
    assert w.requires_grad
    assert not w.data.flags.writeable


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_without_gradient_stay(name):
    used, unused = leaf(1.0), leaf(1.0)
    optimiser = SETTINGS[name]([used, unused])
    (used * 2).backward()
    optimiser.step()
    assert used.item() < 1.0
    assert unused.item() == 1.0


def test_zero_grad_sets_none_and_forgetting_it_doubles():
    w = leaf(1.0)
    optimiser = mt.optim.SGD([w], lr=0.0)
    for expected in (3.0, 6.0):
        (w * 3).backward()
        optimiser.step()
        assert w.grad.item() == expected
    optimiser.zero_grad()
    assert w.grad is None


def test_parameters_may_come_from_a_generator():
    net = mt.nn.Linear(2, 1)
    optimiser = mt.optim.SGD(net.parameters(), lr=0.1)
    assert len(optimiser.params) == 2
    before = net.bias.item()
    net(mt.ones((1, 2))).backward()
    optimiser.step()
    assert net.bias.item() == before - 0.1


@pytest.mark.parametrize("make", [mt.optim.SGD, mt.optim.Adam])
def test_unfit_parameters_are_refused(make):
    w = leaf(1.0)
    for params, message in [
        ([], "no parameters"),
        ([w, w], "given twice"),
        ([w * 2], "only leaves that require a gradient"),
        ([mt.tensor([1.0])], "only leaves that require a gradient"),
        ([np.ones(2)], "only leaves that require a gradient"),
    ]:
        with pytest.raises(ValueError, match=rf"{make.__name__}: .*{message}"):
            make(params)


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (mt.optim.SGD, {"lr": -0.1}, "lr"),
        (mt.optim.SGD, {"lr": np.nan}, "lr"),
        (mt.optim.SGD, {"lr": np.inf}, "lr"),
        (mt.optim.SGD, {"momentum": 1.0}, "momentum"),
        (mt.optim.SGD, {"weight_decay": -1}, "weight_decay"),
        (mt.optim.Adam, {"betas": (1.0, 0.9)}, r"betas\[0\]"),
        (mt.optim.Adam, {"betas": (0.9, -0.1)}, r"betas\[1\]"),
        (mt.optim.Adam, {"eps": -1e-8}, "eps"),
    ],
)
def test_settings_out_of_range_are_refused(make, options, name):
    with pytest.raises(ValueError, match=rf"{make.__name__}: {name} is"):
        make([leaf(1.0)], **options)
