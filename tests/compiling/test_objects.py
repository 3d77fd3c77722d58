"""Functions that read objects: what these hold belongs to a program, and a trace changes none of them."""

import dataclasses
import enum
import functools
import math
import random
import sys
import types

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, optim

X = mt.tensor(np.random.default_rng(0).standard_normal((4, 6)), requires_grad=True)
FACTOR = 1.5


def network():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


class Trainer:
    shift = 1.0

    def __init__(self):
        self.net, self.scale, self.history, self.calls = network(), 2.0, [], 0
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1)

    def __call__(self, x):
        return self.step(x) + self.shift

    @property
    def twice(self):
        return 2.0 * self.scale

    @classmethod
    def shifted(cls, x):
        return x + cls.shift

    def step(self, x):
        return self.net(x) * self.scale

    def doubled(self, x):
        return x * self.twice

    def by_global(self, x):
        return x * FACTOR

    def counting(self, x):
        self.calls += 1
        return x * 2.0

    def logging(self, x):
        self.history.append(len(self.history))
        return x * 2.0

    def training(self, x):
        loss = mt.sum(mt.square(self.net(x)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


class Mode(enum.Enum):
    DOUBLE = 2
    TRIPLE = 3


@dataclasses.dataclass
class Config:
    eps: float = 1.0
    mode: Mode = Mode.DOUBLE
    inner: object = None
    sizes: list = dataclasses.field(default_factory=lambda: [1, 2])


def cases():
    """Functions, and changes after which they compute something else."""
    trainer, config, space = Trainer(), Config(inner=Config()), types.SimpleNamespace(k=2.0)
    loop = types.SimpleNamespace(k=2.0)
    loop.me = loop
    weight = trainer.net[0].weight
    return {
        "method": (trainer.step, lambda: setattr(trainer, "scale", 3.0)),
        "another module": (trainer.step, lambda: setattr(trainer, "net", network())),
        "changed weights": (trainer.step, lambda: weight.assign_(weight.numpy() * 2.0)),
        "object that is called": (trainer, lambda: setattr(trainer, "scale", 3.0)),
        "object in a function": (lambda x: trainer.net(x), lambda: setattr(trainer, "net", network())),
        "attribute of a class": (trainer, lambda: setattr(Trainer, "shift", Trainer.shift + 1.0)),
        "classmethod": (Trainer.shifted, lambda: setattr(Trainer, "shift", Trainer.shift + 1.0)),
        "a class in a function": (lambda x: x * Trainer.shift, lambda: setattr(Trainer, "shift", Trainer.shift + 1.0)),
        "property": (trainer.doubled, lambda: setattr(trainer, "scale", 3.0)),
        "global of a method": (trainer.by_global, lambda: globals().__setitem__("FACTOR", FACTOR + 1.0)),
        "dataclass": (lambda x: x / mt.sqrt(x * x + config.eps), lambda: setattr(config, "eps", 2.0)),
        "object in an object": (lambda x: x * config.inner.eps, lambda: setattr(config.inner, "eps", 2.0)),
        "enumeration": (
            lambda x: x * 2.0 if config.mode is Mode.DOUBLE else x * 3.0,
            lambda: setattr(config, "mode", Mode.TRIPLE),
        ),
        "list in an object": (lambda x: x * config.sizes[0], lambda: config.sizes.__setitem__(0, 5)),
        "getattr": (lambda x: x * getattr(space, "k"), lambda: setattr(space, "k", 3.0)),  # noqa: B009
        "cycle": (lambda x: x * loop.me.k, lambda: setattr(loop, "k", 3.0)),
    }


@pytest.mark.parametrize("case", cases())
def test_what_an_object_holds_belongs_to_a_program(case):
    fn, change = cases()[case]
    fast = mt.compile(fn, strict=True, backend="numpy")
    before = fn(X).numpy()
    np.testing.assert_allclose(fast(X).numpy(), before, 1e-12)
    change()
    after = fn(X).numpy()
    assert not np.allclose(before, after)
    np.testing.assert_allclose(fast(X).numpy(), after, 1e-12)


def test_a_replaced_method_belongs_to_a_program_too():
    class Scaled:
        def factor(self):
            return 2.0

    class Inherited(Scaled):
        def run(self, x):
            return x * self.factor()

    fast = mt.compile(Inherited().run, strict=True, backend="numpy")
    for k, owner in ((2.0, None), (3.0, Scaled), (5.0, Inherited)):
        if owner is not None:
            owner.factor = lambda self, k=k: k
        for _ in range(2):
            np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * k)


def test_the_parameters_of_an_object_get_their_gradients():
    trainer = Trainer()
    loss = mt.compile(lambda x: mt.sum(mt.square(trainer.step(x))), strict=True, backend="numpy")
    found, expected = [], []
    for run, into in ((loss, found), (loss.fn, expected)):
        trainer.net.zero_grad()
        run(X).backward()
        into += [p.grad.numpy() for p in trainer.net.parameters()]
    assert len(found) == 6
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-12)


@pytest.mark.parametrize("name", ["counting", "logging", "training"])
def test_a_method_that_changes_its_object_runs_as_it_is(name):
    trainer, twin = Trainer(), Trainer()
    for p, q in zip(trainer.net.parameters(), twin.net.parameters(), strict=True):
        q.assign_(p.numpy())
    fast = mt.compile(getattr(trainer, name), backend="numpy")
    for _ in range(2):
        fast(X)
        getattr(twin, name)(X)
        assert fast.why
    assert (trainer.calls, trainer.history) == (twin.calls, twin.history)
    for p, q in zip(trainer.net.parameters(), twin.net.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


class Slotted:
    __slots__ = ("k",)

    def __init__(self):
        self.k = 2.0


@pytest.mark.parametrize(
    ("held", "fn"),
    [
        (random.Random(0), lambda held: lambda x: x * held.random()),
        (Slotted(), lambda held: lambda x: x * held.k),
        (optim.SGD([mt.tensor([1.0], requires_grad=True)], lr=0.1), lambda held: lambda x: x * len(vars(held))),
    ],
)
def test_an_object_with_a_hidden_state_is_refused_by_name(held, fn):
    fast = mt.compile(fn(held), backend="numpy")
    fast(X)
    assert f"'held', which it reads, is a {type(held).__name__}" in fast.why


def test_a_list_of_a_module_is_not_changed_by_a_trace():
    class Logging(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x.shape)
            return x * 2.0

    module = Logging()
    fast = mt.compile(module, backend="numpy")
    fast(X)
    assert module.seen == [(4, 6)]
    assert "sets one of its attributes" in fast.why


def test_two_functions_may_read_different_parts_of_an_object():
    config = Config(inner=Config())

    def inner(x):
        return x * config.inner.eps

    def outer(x):
        return inner(x * config.eps)

    fast = mt.compile(outer, strict=True, backend="numpy")
    fast(X)
    config.inner.eps = 3.0
    np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * 3.0)


def test_any_name_may_be_that_of_an_attribute():
    class Text:
        source, fn, why = "a book", None, 2.0

    text = Text()
    fast = mt.compile(lambda x: x * text.why, strict=True, backend="numpy")
    np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * 2.0)


@pytest.fixture
def settings_module(monkeypatch):
    """A module of the user's, as an import makes it."""
    module = types.ModuleType("my_settings")
    exec("EPS = 1.0\nSIZES = [1]\ndef scaled(x):\n    return x * EPS\n", vars(module))
    monkeypatch.setitem(sys.modules, "my_settings", module)
    return module


def test_values_in_an_imported_module_belong_to_a_program(settings_module):
    my_settings = settings_module

    def by_value(x):
        return x * my_settings.EPS

    def by_function(x):
        return my_settings.scaled(x)

    for fn in (by_value, by_function):
        my_settings.EPS = 1.0
        fast = mt.compile(fn, strict=True, backend="numpy")
        fast(X)
        my_settings.EPS = 3.0
        np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * 3.0)


def test_a_list_in_an_imported_module_is_refused_by_name(settings_module):
    fast = mt.compile(lambda x: x * settings_module.SIZES[0], backend="numpy")
    fast(X)
    assert "'settings_module.SIZES', which it reads, is a list" in fast.why


def test_modules_of_the_standard_library_may_be_named():
    def fn(x):
        return x * math.pi + math.sqrt(2.0) * functools.reduce(max, [1.0, 2.0])

    fast = mt.compile(fn, strict=True, backend="numpy")
    np.testing.assert_allclose(fast(X).numpy(), X.numpy() * math.pi + 2.0 * math.sqrt(2.0), 1e-12)
