"""mt.compile for programs with operations that do not fuse: products of matrices, selections, joins, whole networks."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, viz
from microtensor.compiling import CompileError, numba_source, numpy_source
from microtensor.compiling.partition import Policy
from microtensor.compiling.program import build_numpy
from microtensor.compiling.reading import Reading
from tests.compiling.backends import build_python, compiled_by, needs_numba
from tests.compiling.networks import RandomNetwork
from tests.compiling.programs import difference
from tests.nn.test_every_layer import ROWS, first, inputs

# The loops of machine code take seconds to compile.
SOME = ["numpy", "python", pytest.param("numba", marks=[needs_numba, pytest.mark.slow])]
TOLERANCE = {"float64": 1e-11, "float32": 3e-4}


@pytest.fixture
def check(monkeypatch):
    # The drawn function is an object that reads its own plan, which never changes.
    monkeypatch.setattr(Reading, "_named", lambda *read: None)

    def compare(seeds, backend):
        refused, wrong = [], []
        for seed in seeds:
            # Small blocks and tiles, so that small arrays have several of them.
            monkeypatch.setattr(numpy_source, "BLOCK", [1 << 18, 16, 64, 256][seed % 4])
            monkeypatch.setattr(numba_source, "TILE", [1024, 2, 3, 4][seed % 4])
            # Whatever can be a kernel is one, or all but functions such as exp, or nothing.
            policy = [Policy(), Policy(taken=()), Policy(least=1 << 40)][seed % 3]
            for build in (build_numpy, build_python):
                monkeypatch.setattr(build, "policy", policy, raising=False)
            for dtype in ("float64", "float32"):
                program = RandomNetwork(seed, dtype)
                compiled = compiled_by(program, backend)
                error = difference(compiled, program)
                if error is None:
                    refused.append((seed, compiled.why))
                elif not error < TOLERANCE[dtype]:
                    wrong.append((seed, dtype, error))
        assert wrong == []
        assert refused == []

    return compare


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_random_programs(check, backend):
    check(range(30), backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_many_random_programs(check, backend):
    check(range(100, 500), backend)


# --- layers and networks ------------------------------------------------------------------------------------


def without_dropout(layer):
    for module in layer.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return layer


@pytest.mark.parametrize("backend", ["numpy", "python"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_layer(name, training, backend):
    eager = without_dropout(ROWS[name][0]().train(training))
    layer = copy.deepcopy(eager)
    fast = compiled_by(lambda *xs: first(layer(*xs)), backend)
    for _ in range(2):
        found = []
        for call, net in ((lambda *xs: first(eager(*xs)), eager), (fast, layer)):
            xs = inputs(name, requires_grad=True)
            y = call(*xs)
            if y.requires_grad:
                mt.sum(y * y).backward()
            grads = [x.grad for x in (*xs, *net.parameters())]
            found.append([y, *grads, *net.buffers()])
        for a, b in zip(*found, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-10, atol=1e-12)
    assert fast.why == ""


def network(seed=0):
    return nn.Sequential(
        nn.Linear(6, 8, rng=seed),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 8, rng=seed),
        nn.Tanh(),
        nn.Linear(8, 4, rng=seed),
    )


def loss_of(net, x, labels):
    # The input needs no gradient, and the statistics of each batch are its own.
    normal = (x - mt.mean(x, axis=0)) / mt.sqrt(mt.var(x, axis=0) + 1e-5)
    return -mt.mean(mt.pick(mt.log_softmax(net(normal)), labels))


@pytest.mark.parametrize("backend", SOME)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_training_step_by_step(backend, kind):
    draws = np.random.default_rng(0)
    nets = [network(), network()]
    step = [lambda x, t: loss_of(nets[0], x, t)]
    net = nets[1]
    fast = compiled_by(lambda x, t: loss_of(net, x, t), backend)
    step.append(fast)
    optimizers = [getattr(mt.optim, kind)(net.parameters(), lr=0.05) for net in nets]
    for k in range(20):
        rows = 5 if k % 7 == 3 else 9
        x, labels = mt.tensor(draws.standard_normal((rows, 6)) * (k + 1)), mt.tensor(draws.integers(0, 4, rows))
        losses = []
        for call, optimizer in zip(step, optimizers, strict=True):
            optimizer.zero_grad()
            loss = call(x, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert fast.why == ""
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
        if k == 10:
            for net in nets:
                net.eval()
        if k == 12:
            for net in nets:
                net.train()
    for a, b in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-9)
    assert len(fast._programs) == 3


def test_parameters_that_are_replaced_tied_or_frozen():
    net = network()
    fast = compiled_by(lambda x: net(x), "numpy")
    x = mt.tensor(np.random.default_rng(0).standard_normal((5, 6)))

    def check():
        found = []
        for call in (net, fast):
            net.zero_grad()
            y = call(x)
            mt.sum(y * y).backward()
            found.append([y.numpy(), *(None if p.grad is None else p.grad.numpy() for p in net.parameters())])
        for a, b in zip(*found, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)
        assert fast.why == ""

    check()
    net[0].weight = nn.Parameter(np.random.default_rng(1).standard_normal((8, 6)))
    check()
    net[3].weight.assign_(np.random.default_rng(2).standard_normal((8, 8)))
    check()
    net[3].bias.requires_grad_(False)
    check()
    net[3].bias = net[0].bias
    check()
    net[4] = nn.ReLU()
    check()


def test_a_setting_that_changes_in_a_module_of_the_closure():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.factor, self.table = nn.Linear(3, 3, rng=0), 2.0, np.array([1.0, 2.0, 3.0])
            self.places = [0, 2]

        def forward(self, x):
            return (self.linear(x) * self.factor * self.table)[:, self.places]

    scaled = Scaled()
    fast = compiled_by(lambda x: mt.tanh(scaled(x) @ scaled.linear.weight[:2]), "numpy")
    x = mt.tensor(np.random.default_rng(0).standard_normal((4, 3)))
    for change in (
        lambda: None,
        lambda: setattr(scaled, "factor", 5.0),
        lambda: scaled.table.__setitem__(0, 9.0),
        lambda: scaled.places.__setitem__(0, 1),
    ):
        change()
        expected = mt.tanh(scaled(x) @ scaled.linear.weight[:2]).numpy()
        np.testing.assert_allclose(fast(x).numpy(), expected)
        assert fast.why == ""


def test_nobody_sees_what_a_trace_puts_into_a_module():
    net = network()
    before = [*net.parameters(), *net.buffers()]
    fast = compiled_by(lambda x: net(x), "numpy")
    fast(mt.tensor(np.ones((3, 6))))
    assert fast.why == ""
    assert all(a is b for a, b in zip(before, [*net.parameters(), *net.buffers()], strict=True))
    assert all(type(x._array) is np.ndarray for x in before)


held = nn.Linear(3, 2, rng=0)


def helper(x, layer=held):
    return mt.tanh(layer(x)) + held.bias


def test_modules_are_found_in_globals_defaults_and_functions_inside():
    def outer(x):
        return mt.sum(helper(x) * 2.0, axis=0)

    inner = mt.compile(helper, backend="numpy")
    x = mt.tensor(np.random.default_rng(0).standard_normal((4, 3)))
    for fn in (helper, outer, lambda x: inner(x) * 3.0):
        fast = compiled_by(fn, "numpy")
        found = []
        for call in (fn, fast):
            held.zero_grad()
            y = call(x)
            mt.sum(y * y).backward()
            found.append([y.numpy(), held.weight.grad.numpy(), held.bias.grad.numpy()])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12)
        assert fast.why == ""


# --- gradients inside, and what is refused ------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_a_step_that_returns_its_gradients(backend):
    net = network()

    def step(x, labels):
        loss = loss_of(net, x, labels)
        return (loss, *mt.grad(loss, list(net.parameters())))

    fast, draws = compiled_by(step, backend), np.random.default_rng(0)
    for _ in range(3):
        x, labels = mt.tensor(draws.standard_normal((7, 6))), mt.tensor(draws.integers(0, 4, 7))
        expected, found = step(x, labels), fast(x, labels)
        assert fast.why == ""
        assert [y.requires_grad for y in found] == [y.requires_grad for y in expected]
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-9, atol=1e-12)


settings = {"factor": 2.0}
number = 2.0


class Thing:
    factor = 2.0


def test_a_number_that_a_method_reads(monkeypatch):
    class Scaled(nn.Module):
        def forward(self, x):
            return self.times(x @ x)

        def times(self, x):
            return x * number

    module = Scaled()
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]])
    for fast in (compiled_by(module, "numpy"), compiled_by(lambda x: module(x), "numpy")):
        for value in (2.0, 3.0):
            monkeypatch.setitem(globals(), "number", value)
            np.testing.assert_allclose(fast(x).numpy(), module(x).numpy())
            assert fast.why == ""


def impure():
    net, count, rng = nn.Linear(2, 2, rng=0), 0, np.random.default_rng(0)

    def counts(x):
        nonlocal count
        count += 1
        return net(x) * count

    def goes_back(x):
        loss = mt.sum(net(x))
        loss.backward()
        return loss

    def switches(x):
        net.train(not net.training)
        return net(x)

    def draw(x):
        return x + rng.normal()

    drawn = mt.primitive("drawn", draw, lambda g, y, x: g)
    captured = mt.tensor([[1.0, 2.0], [3.0, 4.0]], name="captured")

    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.rng, self.other, self.linear = np.random.default_rng(0), Thing(), nn.Linear(2, 2, rng=0)

    class Draws(Reading):
        def forward(self, x):
            return self.linear(x) * self.rng.normal()

    class Asks(Reading):
        def forward(self, x):
            return self.linear(x) * self.other.factor

    class Names(Reading):
        def forward(self, x):
            return self.scaled(x @ x)

        def scaled(self, x):
            return x * settings["factor"]

    draws, asks = Draws(), Asks()
    return {
        "a module that draws": (lambda x: draws(x), "draws numbers"),
        "a module that reads an object": (lambda x: asks(x), "Asks.other, which it reads, is a Thing"),
        "a method that reads a table": (Names(), "'settings', which it reads, is a dict"),
        "counts": (counts, "sets 'count'"),
        "backward": (goes_back, "calls backward"),
        "switches": (switches, "sets one of its attributes"),
        "primitive": (lambda x: drawn(x @ x), "'rng', which it reads"),
        "captured": (lambda x: x @ captured, "'captured', which is not an argument"),
        "mask": (lambda x: mt.sum(x[x > 0.0]) + mt.sum(x @ x), "selects by a condition|reads the values"),
        "dropout": (lambda x: nn.functional.dropout(x @ x, 0.5), "it draws random numbers"),
        "branch": (lambda x: x @ x if mt.sum(x @ x) > 0 else x, "reads the values"),
        "list": (lambda x, layers=[net]: layers[0](x), "list"),
    }


@pytest.mark.parametrize("case", impure())
def test_what_is_not_pure_is_refused(case):
    fn, why = impure()[case]
    with pytest.raises(CompileError, match=why):
        mt.compile(fn, strict=True, backend="numpy")(mt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True))


def test_an_operation_of_the_user_is_called_as_it_is():
    cube = mt.primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)
    assert_equal(lambda x: mt.sum(cube(x @ x) * 2.0, axis=0), [np.random.default_rng(0).standard_normal((3, 3))])


def assert_equal(fn, arrays, tolerance=1e-11):
    for backend in ("numpy", "python"):
        fast = compiled_by(fn, backend)
        for _ in range(2):
            found = []
            for call in (fn, fast):
                xs = [mt.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
                y = call(*xs)
                mt.sum(mt.astype(y, "float64") * 1.5).backward()
                found.append([y.numpy(), *(x.grad.numpy() for x in xs if x.grad is not None)])
            for a, b in zip(*found, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
            assert fast.why == ""


PROGRAMS = {
    "running sums": (lambda x: mt.cumsum(x), (4, 3)),
    "two dtypes": (lambda x: mt.tanh(mt.astype(x, "float32")) * 2.0, (4, 3)),
    "an array and its transpose": (lambda x: mt.exp(x) * x.T, (3, 3)),
    "one element": (lambda x: mt.exp(x) * 2.0 + x, ()),
    "no elements": (lambda x: mt.concat([x, x]) * 2.0, (0, 3)),
    "an array that it makes": (lambda x: mt.sum(x * np.arange(3.0), axis=0) @ np.eye(3), (4, 3)),
    "where, of NumPy": (lambda x: np.where((x > 0.5) | (x < -1.0), x, 0.0) * np.where(x > 0.0, 1.0, x), (4, 3)),
    "tensors of plain values": (lambda x: x * mt.tensor(2.0) + mt.Tensor([1, 2, 3], dtype="float32"), (4, 3)),
    "tensors that it makes": (lambda x: mt.concat([x, mt.zeros((1, 3)), mt.ones_like(x)]) @ mt.eye(3), (4, 3)),
    "a triangle": (lambda x: mt.softmax(mt.where(mt.tril(mt.ones((4, 4))) > 0.0, x @ x.T, -1e9)) @ x, (4, 3)),
    "largest": (lambda x: mt.max(x @ x.T, axis=1) + mt.min(x), (4, 3)),
    "windows": (lambda x: mt.max_pool(mt.reshape(x, (1, 1, 4, 4)), 2, stride=1, padding=1), (4, 4)),
    "parts": (lambda x: sum((x[i : i + 2] * (i + 1.0) for i in range(3)), x[:2]) * mt.sum(x[0] * x[1]), (4, 3)),
    "twice": (lambda x: mt.concat([x, x])[1:3] + mt.stack([x, x])[0][:2], (4, 3)),
    "the same twice": (lambda x: mt.tanh(x @ x.T) * mt.tanh(x @ x.T), (4, 3)),
    "a product with the input": (lambda x: (x @ x.T) @ x, (4, 3)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_single_programs(name):
    fn, shape = PROGRAMS[name]
    assert_equal(fn, [np.random.default_rng(0).standard_normal(shape)], 1e-6 if name == "two dtypes" else 1e-11)


def test_ties_and_nan_in_a_largest_element():
    for rows in ([[1.0, 1.0, 0.0], [np.nan, 1.0, 2.0]], [[np.inf, 1.0, np.inf], [0.0, 0.0, 0.0]]):
        assert_equal(lambda x: mt.max(x, axis=1) * mt.sum(x[:1]), [np.array(rows)])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_out_where_they_do_eagerly(bad):
    x = np.random.default_rng(0).standard_normal((4, 3))
    x[1, 2] = bad
    weight = np.random.default_rng(1).standard_normal((3, 5))
    assert_equal(lambda x, w: mt.relu(x @ w) + mt.sigmoid(mt.concat([x, x[:, :2]], axis=1) * 0.5), [x, weight])


def test_indices_that_are_inputs():
    table, rows = np.random.default_rng(0).standard_normal((5, 3)), np.array([[0, 4, 4], [2, 0, 1]])
    layer = nn.Embedding(5, 3, padding_idx=0, rng=0)
    for fn in (
        lambda table, rows: table[rows] * 2.0,
        lambda table, rows: mt.take(table, rows, axis=0),
        lambda table, rows: mt.embedding(rows, table, padding_idx=4) + layer(rows),
        lambda table, rows: mt.tanh(mt.take_along_axis(mt.concat([table, table]), rows, axis=0)),
    ):
        try:
            assert_equal(fn, [table, rows])
        except AssertionError as error:
            raise AssertionError(f"{fn}") from error


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_an_index_out_of_range_raises_as_it_does_eagerly(backend):
    net = nn.Sequential(nn.Embedding(5, 3, rng=0), nn.BatchNorm1d(3))

    def fn(rows, labels):
        return mt.sum(mt.pick(net(rows), labels))

    fast = compiled_by(fn, backend)
    good, bad = mt.tensor([0, 4, 1, 1]), mt.tensor([0, 5, 1, 1])
    labels, wrong = mt.tensor([0, 1, 2, 0]), mt.tensor([0, 3, 1, 1])
    expected = fast(good, labels).item()
    assert fast.why == ""
    net[1].reset_running_stats()
    before = [x.numpy().copy() for x in net.buffers()]
    for args in ((bad, labels), (good, wrong)):
        net.eval()
        with pytest.raises(IndexError) as eager:
            fn(*args)
        net.train()
        with pytest.raises(IndexError) as compiled:
            fast(*args)
        assert type(compiled.value) is type(eager.value)
        net[1].reset_running_stats()
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, net.buffers(), strict=True))
    assert fast(good, labels).item() == pytest.approx(expected)


# --- the record: derivatives, views, memory, threads --------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "python"])
def test_second_derivatives_are_those_of_the_composition(backend):
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=0))
    x = np.random.default_rng(0).standard_normal((5, 3))
    found = []
    fast = compiled_by(lambda x: net(x), backend)
    for call in (net, fast):
        net.zero_grad()
        leaf = mt.tensor(x, requires_grad=True)
        first = mt.grad(mt.sum(call(leaf) ** 2), [leaf, net[0].weight], create_graph=True)
        mt.sum(first[0] ** 2 + mt.sum(first[1] ** 2)).backward()
        found.append([d.numpy() for d in (*first, leaf.grad, net[0].weight.grad, net[2].weight.grad)])
    assert fast.why == ""
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)


def test_views_and_ledger_of_a_compiled_program_are_those_of_the_composition():
    draws, shown = np.random.default_rng(0), []
    x, labels = draws.standard_normal((5, 6)), mt.tensor(draws.integers(0, 4, 5), name="labels")
    net = network().eval()

    def step(x, labels):
        return -mt.mean(mt.pick(mt.log_softmax(net(x)), labels))

    fast = mt.compile(step, backend="numpy", strict=True)
    for call in (step, fast):
        leaf = mt.tensor(x, requires_grad=True, name="x")
        y = call(leaf, labels)
        graph = mt.Graph.from_tensor(y)
        shown.append([str(mt.paths(y, leaf)), str(graph), viz.render(graph, "svg"), viz.render(graph, "html")])
        shown[-1].append(mt.grad(y, leaf).numpy().tolist())
    assert shown[0][:4] == shown[1][:4]
    np.testing.assert_allclose(shown[1][4], shown[0][4], rtol=1e-12)


def test_what_the_forward_pass_saves_dies_with_the_inputs():
    net = network()
    fast = mt.compile(lambda x: net(x), backend="numpy", strict=True)
    y = fast(mt.tensor(np.random.default_rng(0).standard_normal((5, 6))))
    saved = [weakref.ref(x) for x in y.node.inputs[-1].arrays.values()]
    mt.sum(y).backward()
    own = {id(x._array) for x in (*net.parameters(), *net.buffers())}
    del y
    gc.collect()
    assert all(ref() is None or id(ref()) in own for ref in saved)


def test_a_retained_graph_goes_back_twice():
    assert_twice = mt.compile(lambda x: mt.tanh(x @ x) * mt.sum(x[1:] * 2.0), backend="numpy", strict=True)
    x = mt.tensor(np.random.default_rng(0).standard_normal((3, 3)), requires_grad=True)
    y = mt.sum(assert_twice(x) ** 2)
    y.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * once, rtol=1e-14)


@pytest.mark.parametrize("backend", SOME)
def test_two_threads_and_nested_calls(backend):
    net = network().eval()
    inner = compiled_by(lambda x: net(x), backend)
    draws = np.random.default_rng(0)
    given = [(draws.standard_normal((30 + k, 6)), draws.integers(0, 4, 30 + k)) for k in range(2)]
    expected = [
        mt.grad(loss_of(net, (x := mt.tensor(a, requires_grad=True)), mt.tensor(t)), x).numpy() for a, t in given
    ]
    wrong = []

    def work(k):
        for _ in range(30):
            try:
                x = mt.tensor(given[k][0], requires_grad=True)
                normal = (x - mt.mean(x, axis=0)) / mt.sqrt(mt.var(x, axis=0) + 1e-5)
                # The second call runs before the first one goes back.
                y, other = inner(normal), inner(normal * 2.0)
                loss = -mt.mean(mt.pick(mt.log_softmax(y), mt.tensor(given[k][1]))) + 0.0 * mt.sum(other)
                np.testing.assert_allclose(mt.grad(loss, x).numpy(), expected[k], rtol=1e-8, atol=1e-12)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- the program --------------------------------------------------------------------------------------------


def test_equal_stretches_are_one_kernel():
    cell, norm = nn.RNNCell(4, 5, rng=0), nn.LayerNorm(5)

    def unrolled(h, *xs):
        for x in xs:
            h = norm(cell(x, h))
        return h

    draws = np.random.default_rng(0)
    fast = compiled_by(unrolled, "python")
    fast(mt.tensor(draws.standard_normal((3, 5))), *(mt.tensor(draws.standard_normal((3, 4))) for _ in range(12)))
    assert fast.why == ""
    # The cell forward, and the last and all other steps backward.
    assert fast.source.count("def kernel") <= 4


def test_the_source_shows_the_program():
    fast = mt.compile(lambda x, w: mt.relu(x @ w) * 1.0, backend="numpy", strict=True)
    x, w = (mt.tensor(np.ones(s), requires_grad=True, name=n) for s, n in (((2, 3), "x"), ((3, 4), "w")))
    fast(x, w)
    assert fast.source == (
        "def forward(x, w):\n"
        "    # x (2, 3), w (3, 4)\n"
        "    v1 = matmul(x, w)\n"
        "    v2 = relu(v1)\n"
        "    return v2,\n"
        "\n\n"
        "def backward(x, w, y, g):\n"
        "    # x (2, 3), w (3, 4), y (2, 4), g (2, 4)\n"
        "    v1 = greater(y, 0)\n"
        "    v2 = masked(g, v1)\n"
        "    v3 = permute_dims(w, axes=(1, 0))\n"
        "    v4 = matmul(v2, v3)\n"
        "    v5 = permute_dims(x, axes=(1, 0))\n"
        "    v6 = matmul(v5, v2)\n"
        "    return v4, v6\n"
    )


def test_the_source_shows_its_constants():
    def fn(x):
        return x @ mt.tensor(np.arange(12.0).reshape(4, 3)) * np.array([0.5, 1.5, 2.5])

    fast = mt.compile(fn, strict=True, backend="numpy")
    fast(mt.ones((2, 4), requires_grad=True))
    forward, backward = fast.source.split("def backward")
    assert "    # c1 (4, 3) float64\n    # c2 (3,) float64: [0.5, 1.5, 2.5]\n" in forward
    assert "float64: [0.5, 1.5, 2.5]\n" in backward
