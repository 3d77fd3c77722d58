"""What a function reads by name is looked at again in each call, wherever it may have become another one."""

import functools
import sys
import types
import weakref
from typing import ClassVar

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn

X = mt.tensor(np.random.default_rng(0).standard_normal((4, 6)), requires_grad=True)


class Base:
    k = 2.0
    table: ClassVar = {"k": [2.0, np.array(2.0)]}

    def factor(self):
        return self.k

    @staticmethod
    def fixed(x):
        return x * 2.0

    def run(self, x):
        return self.fixed(x) * self.factor()

    def read_table(self, x):
        return x * self.table["k"][0] + float(self.table["k"][1])


class Derived(Base):
    pass


class Other(Base):
    k = 3.0


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.sizes, self.shift = [1.0], (1.0, 2.0)
        self.register_buffer("offset", mt.ones(6))

    def forward(self, x):
        return self.inner(x) * self.sizes[0] + self.shift[0] + self.offset


def with_options(x, *, k=2.0):
    return x * k


def with_default(x, k=2.0):
    return x * k


def by_default(x):
    return with_default(x)


def by_option(x):
    return with_options(x)


def another(x):
    return x * 7.0


class Factor:
    """What Python calls by itself reads a name, too."""

    def __init__(self, file):
        self.file = file

    def __mul__(self, x):
        return x * self.file.k

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self.__dict__["file"].k


class Holder:
    def __init__(self, activation):
        self.activation = activation

    def __call__(self, x):
        return self.activation(x)


class Activated(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def forward(self, x):
        return self.activation(x)


class Encoder(nn.Module):
    """Nothing that `forward` names reads the global."""

    def encode(self, x):
        return self.helper(x)

    def helper(self, x):
        return x * K


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.child = Encoder()

    def forward(self, x):
        return self.child.encode(x)


class Computed(nn.Module):
    def helper(self, x):
        return x * K

    def forward(self, x):
        return getattr(self, "".join(("hel", "per")))(x)


K = 2.0


class Lists:
    def __init__(self):
        self.acts, self.table, self.history = [mt.tanh], {"a": with_default}, []
        self.parts, self.layers = [types.SimpleNamespace(k=2.0)], [nn.Linear(6, 6), nn.Tanh()]

    def first(self, x):
        return self.acts[0](x)

    def second(self, x):
        return self.table["a"](x)

    def third(self, x):
        return x * self.parts[0].k

    def fourth(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def closure():
    k = 2.0

    def fn(x):
        return x * k

    def change(value):
        nonlocal k
        k = value

    return fn, change


def file_of(code, **names):
    """A module of the user's, as an import makes it."""
    module = types.ModuleType("my_code")
    vars(module).update(mt=mt, **names)
    exec(code, vars(module))
    return module


def fresh(*bases):
    """A class of its own for each case, because the case changes it."""
    return type("Fresh", bases or (Base,), dict(vars(Base)) if not bases else {})


def more():
    globals()["K"] += 1.0


def cases():
    """For each: a function, and a change after which it computes something else."""
    kind, parent = fresh(), fresh()
    child = fresh(parent)
    made, inherited, swapped, emptied = kind(), child(), Derived(), Derived()
    emptied.k = 5.0
    fn, change = closure()
    holder = Derived()
    layer, switched, moved, listed, tupled, converted = (Layer() for _ in range(6))
    code = file_of("def fn(x):\n    return x * max(1.0, 2.0)\n")
    called = file_of("def inner(x):\n    return x * 2.0\ndef fn(x):\n    return inner(x)\n")
    recoded = file_of("def fn(x):\n    return x * 2.0\n")
    deep = types.SimpleNamespace(a=types.SimpleNamespace(b=[{"c": (1.0, 2.0)}]))
    array = types.SimpleNamespace(k=np.array([2.0]))
    held, own, users = Holder(mt.tanh), Activated(mt.tanh), Activated(with_default)
    names = {"first": mt.tanh, "second": mt.exp}
    primitive, builtin, layer_kind, either, twice = (
        file_of(code, **names)
        for code in (
            "f = mt.tanh\ndef fn(x):\n    return f(x)\n",
            "f = max\ndef fn(x):\n    return x * f(2.0, 3.0)\n",
            "kind = mt.nn.Tanh\ndef fn(x):\n    return kind()(x)\n",
            "p, q, r = first, second, first\ndef fn(x):\n    return p(x) + q(x) * r(x)\n",
            "def one(x):\n    return x\ndef two(x):\n    return x * 2.0\n"
            "p, q, r = one, two, one\ndef fn(x):\n    return p(x) + q(x) + 3.0 * r(x)\n",
        )
    )
    inner = types.SimpleNamespace(a=Holder(types.SimpleNamespace(k=2.0)))
    lists, weighed = Lists(), Lists()
    acts = types.SimpleNamespace(both=(mt.tanh, mt.exp))
    values = file_of("k = 2.0\n")
    encoder = Encoder()
    factor = Factor(values)
    scaled = mt.name_scope("scaled")(lambda x: x * values.k)
    bound = functools.partial(lambda k, x: x * k * values.k, 2.0)
    nested = mt.compile(lambda x: x * 2.0, backend="numpy")
    return {
        "attribute of a class": (made.run, lambda: setattr(kind, "k", 9.0)),
        "method of a class": (made.run, lambda: setattr(kind, "factor", lambda self: 4.0)),
        "staticmethod": (made.run, lambda: setattr(kind, "fixed", staticmethod(another))),
        "attribute that hides that of the class": (swapped.run, lambda: setattr(swapped, "k", 4.0)),
        "attribute that is deleted": (emptied.run, lambda: delattr(emptied, "k")),
        "method of a child": (inherited.run, lambda: setattr(child, "factor", lambda self: 4.0)),
        "method of a parent": (inherited.run, lambda: setattr(parent, "factor", lambda self: 6.0)),
        "class of an object": (lambda x: holder.run(x), lambda: setattr(holder, "__class__", Other)),
        "table of a class": (Other().read_table, lambda: Other.table["k"].__setitem__(0, Other.table["k"][0] + 1.0)),
        "array in a table of a class": (Other().read_table, lambda: Other.table["k"][1].__iadd__(1.0)),
        "default": (by_default, lambda: setattr(with_default, "__defaults__", (with_default.__defaults__[0] + 1.0,))),
        "default that is given by name": (
            by_option,
            lambda: with_options.__kwdefaults__.update(k=with_options.__kwdefaults__["k"] + 1.0),
        ),
        "captured value": (fn, lambda: change(4.0)),
        "name of Python's": (code.fn, lambda: setattr(code, "max", lambda a, b: 4.0)),
        "global function": (called.fn, lambda: setattr(called, "inner", another)),
        "code of a function": (recoded.fn, lambda: setattr(recoded.fn, "__code__", another.__code__)),
        "operation": (primitive.fn, lambda: setattr(primitive, "f", mt.exp)),
        "function of Python": (builtin.fn, lambda: setattr(builtin, "f", min)),
        "class of the library": (layer_kind.fn, lambda: setattr(layer_kind, "kind", nn.ReLU)),
        "operation in an object": (lambda x: held(x), lambda: setattr(held, "activation", mt.exp)),
        "operation in a module": (own, lambda: setattr(own, "activation", mt.exp)),
        "function in a module": (users, lambda: setattr(users, "activation", another)),
        "operation of three": (either.fn, lambda: setattr(either, "r", mt.exp)),
        "function of three": (twice.fn, lambda: setattr(twice, "r", twice.two)),
        "attribute in a function inside": (
            lambda x: sum([x * inner.a.activation.k for _ in range(2)]),
            lambda: setattr(inner.a.activation, "k", 3.0),
        ),
        "attribute of a computed name": (
            lambda x: x * getattr(inner, "a").activation.k,  # noqa: B009
            lambda: setattr(inner.a.activation, "k", 3.0),
        ),
        "operation in a list": (lists.first, lambda: lists.acts.__setitem__(0, mt.exp)),
        "function in a dictionary": (lists.second, lambda: lists.table.update(a=another)),
        "object in a list": (lists.third, lambda: setattr(lists.parts[0], "k", 3.0)),
        "module in a list": (lists.fourth, lambda: lists.layers.__setitem__(0, nn.ReLU())),
        "weight of a module in a list": (
            weighed.fourth,
            lambda: weighed.layers[0].weight.assign_(np.full((6, 6), 0.3)),
        ),
        "list that gets longer": (lists.fourth, lambda: lists.layers.append(nn.Sigmoid())),
        "operation in a tuple": (lambda x: acts.both[0](x), lambda: setattr(acts, "both", (mt.exp, mt.tanh))),
        "scope that is named": (lambda x: scaled(x), lambda: setattr(values, "k", 5.0)),
        "function with an argument": (lambda x: bound(x), lambda: setattr(values, "k", 6.0)),
        "method of a module": (lambda x: encoder.encode(x), more),
        "method that calls another one": (encoder.encode, more),
        "method of a module inside": (Parent(), more),
        "method of a computed name": (Computed(), more),
        "operator of an object": (lambda x: factor * x, lambda: setattr(values, "k", 4.0)),
        "a tuple in a dict in a list": (
            lambda x: x * deep.a.b[0]["c"][0],
            lambda: deep.a.b[0].__setitem__("c", (3.0, 2.0)),
        ),
        "array in an object": (lambda x: x * float(array.k[0]), lambda: array.k.__setitem__(0, 3.0)),
        "compiled function": (lambda x: nested(x), lambda: setattr(nested, "fn", another)),
        "parameter": (layer, lambda: setattr(layer.inner[0], "weight", nn.Parameter(np.full((6, 6), 0.3)))),
        "buffer": (moved, lambda: setattr(moved, "offset", mt.full(6, 3.0))),
        "mode": (switched, lambda: switched.eval()),
        "list of a module": (listed, lambda: listed.sizes.__setitem__(0, 2.0)),
        "tuple of a module": (tupled, lambda: setattr(tupled, "shift", (2.0, 2.0))),
        "layer of a module": (converted, lambda: converted.inner.__setitem__(1, nn.ReLU())),
    }


@pytest.mark.parametrize("case", cases())
def test_a_change_is_noticed(case):
    fn, change = cases()[case]
    fast = mt.compile(fn, strict=True, backend="numpy")
    for _ in range(2):
        before = fn(X).numpy()
        np.testing.assert_allclose(fast(X).numpy(), before, 1e-9, 1e-9)
    change()
    after = fn(X).numpy()
    assert not np.allclose(before, after)
    for _ in range(2):
        np.testing.assert_allclose(fast(X).numpy(), after, 1e-9, 1e-9)


def test_what_a_function_does_not_read_makes_nothing_anew():
    trainer = types.SimpleNamespace(net=Layer(), scale=2.0, last=None, history=[])
    fast = mt.compile(lambda x: trainer.net(x) * trainer.scale, strict=True, backend="numpy")
    trainer.last = fast(X)
    trainer.last = fast(X)
    reading = fast._reading
    trainer.last = fast(X)
    trainer.history.append(trainer.last)
    fast(X)
    assert fast._reading is reading


def test_modules_in_a_list_get_their_gradients():
    lists = Lists()
    fast = mt.compile(lambda x: lists.fourth(x).sum(), strict=True, backend="numpy")
    fast(X).backward()
    found = [p.grad.numpy() for p in lists.layers[0].parameters()]
    lists.layers[0].zero_grad()
    fast.fn(X).backward()
    for a, p in zip(found, lists.layers[0].parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), 1e-9)


def test_the_numbers_that_are_drawn_are_those_of_the_composition():
    fast, found = mt.compile(lambda x: x + np.random.standard_normal(6), backend="numpy"), []  # noqa: NPY002
    for fn in (fast, fast.fn):
        np.random.seed(0)  # noqa: NPY002
        found.append([fn(X).numpy() for _ in range(2)])
    np.testing.assert_array_equal(*found)


def test_what_holds_itself_is_refused_in_a_sentence():
    held = types.SimpleNamespace(parts=[2.0])
    held.parts.append(held.parts)
    fast = mt.compile(lambda x: x * held.parts[0], backend="numpy")
    np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * 2.0)
    assert "what it reads cannot be followed: RecursionError" in fast.why


def test_operations_may_be_arguments():
    fast = mt.compile(lambda x, activation: activation(x), strict=True, backend="numpy")
    for activation in (mt.tanh, mt.exp, mt.tanh):
        np.testing.assert_allclose(fast(X, activation).numpy(), activation(X).numpy(), 1e-12)


def test_a_module_of_each_of_two_files_may_have_one_name():
    """Both are read as `net`, and both have their gradients."""
    files = [file_of("def fn(x):\n    return net(x)\n") for _ in range(2)]
    for file in files:
        file.net = nn.Linear(6, 6)
    first, second = (file.fn for file in files)
    fast = mt.compile(lambda x: first(second(x)).sum(), strict=True, backend="numpy")
    fast(X).backward()
    found = [p.grad.numpy() for file in files for p in file.net.parameters()]
    for file in files:
        file.net.zero_grad()
    fast.fn(X).backward()
    for a, p in zip(found, [p for file in files for p in file.net.parameters()], strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), 1e-9)


def test_an_old_value_that_is_not_read_is_not_kept_alive():
    class Held:
        pass

    trainer = types.SimpleNamespace(net=Layer(), state=Held())
    fast = mt.compile(lambda x: trainer.net(x), strict=True, backend="numpy")
    fast(X)
    gone = weakref.ref(trainer.state)
    trainer.state = Held()
    assert gone() is None


def test_a_function_of_the_users_may_have_a_name_of_pythons():
    file = file_of("def print(x):\n    return x * 2.0\ndef fn(x):\n    return print(x)\n")
    np.testing.assert_array_equal(mt.compile(file.fn, strict=True, backend="numpy")(X).numpy(), X.numpy() * 2.0)


def test_an_import_in_a_function_is_followed(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_code", file_of("k = 2.0\n"))

    def whole(x):
        import my_code

        return x * my_code.k

    def part(x):
        from my_code import k

        return x * k

    for fn in (whole, part):
        fast = mt.compile(fn, strict=True, backend="numpy")
        for k in (2.0, 3.0):
            sys.modules["my_code"].k = k
            np.testing.assert_array_equal(fast(X).numpy(), X.numpy() * k)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("return x * globals()['k']", "it calls globals, which may read anything"),
        ("return x * eval('k')", "it calls eval, which may read anything"),
        ("print(x.shape)\n    return x * 2.0", "it calls print, which a program would not do"),
        ("log.info('called')\n    return x * 2.0", "'log', which it reads, is a Logger"),
        ("logging.info('called')\n    return x * 2.0", "it names logging.info, which a program would not call"),
        ("return x * (time.time() > 0.0)", "it names time.time, which a program would not call"),
        ("return x * draw()", "it names random of a Random, which a program would not call"),
        ("push(1)\n    return x * 2.0", "it names append of a list, which a program would not call"),
        ("return x * normal()", "'normal', which it reads, is a RandomState"),
        ("return x * nr.normal()", "it names np.random, which a program would not call"),
        ("import not_here_yet\n    return x * not_here_yet.k", "it imports not_here_yet; an import at the top"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(code, why):
    file = file_of(
        "import logging, random, time\nimport numpy.random as nr\nfrom numpy.random import normal\n"
        "push, draw, log, k = [].append, random.random, logging.getLogger('none'), 2.0\n"
        f"def fn(x):\n    {code}\n"
    )
    fast = mt.compile(file.fn, strict=True, backend="numpy")
    with pytest.raises(mt.CompileError, match=why):
        fast(X)
