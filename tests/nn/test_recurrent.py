"""Recurrent cells and layers: PyTorch's stored results, derivatives, settings, errors, pictures."""

import copy
import json
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor.graph import Graph
from microtensor.nn.module import Module
from microtensor.nn.recurrent import GRU, LSTM, RNN, GRUCell, LayerNormLSTMCell, LSTMCell, RNNCell
from tests.places import GOLDEN

LAYERS = {layer.__name__: layer for layer in (RNN, LSTM, GRU)}
CELLS = {cell.__name__: cell for cell in (RNNCell, LSTMCell, GRUCell, LayerNormLSTMCell)}
with np.load(GOLDEN / "sequences.npz") as archive:
    SETTINGS = {key.split("/")[0]: json.loads(str(archive[key])) for key in archive.files if key.endswith("/settings")}
CASES = [case for case, settings in SETTINGS.items() if settings["name"] in LAYERS | CELLS]


def draw(*shape, seed=0, grad=False):
    return mt.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=grad)


def flat(value):
    return [value] if isinstance(value, mt.Tensor) else [t for part in value for t in flat(part)]


def pulled(outputs, seed=9):
    """A scalar with a random cotangent for every output."""
    return sum((mt.sum(y * draw(*y.shape, seed=seed + i)) for i, y in enumerate(flat(outputs))), mt.tensor(0.0))


# --- PyTorch ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(golden, case):
    found, settings = golden(case, file="sequences"), SETTINGS[case]
    module = {**LAYERS, **CELLS}[settings["name"]](*settings["arguments"], **settings["options"])
    assert {key: list(p.shape) for key, p in module.named_parameters()} == settings["parameters"]
    sizes = [p.size for p in module.parameters()]
    for p, value in zip(module.parameters(), np.split(found["parameters"], np.cumsum(sizes)[:-1]), strict=True):
        p.data = value.reshape(p.shape)
    x, *state = (mt.tensor(found[f"x{i}"], requires_grad=True) for i in range(4) if f"x{i}" in found)
    hx = None if not state else tuple(state) if "LSTM" in case else state[0]
    outputs = flat(module(x, hx))
    total = mt.tensor(0.0)
    for i, y in enumerate(outputs):
        np.testing.assert_allclose(y.numpy(), found[f"y{i}"], rtol=1e-12, atol=1e-13)
        total = total + mt.sum(y * found[f"g{i}"])
    assert f"y{len(outputs)}" not in found
    total.backward()
    for i, leaf in enumerate([x, *state]):
        np.testing.assert_allclose(leaf.grad.numpy(), found[f"d_x{i}"], rtol=1e-11, atol=1e-12)
    gradients = np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])
    np.testing.assert_allclose(gradients, found["d_parameters"], rtol=1e-11, atol=1e-12)


# --- derivatives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell, LayerNormLSTMCell])
def test_cells_have_right_derivatives_of_both_orders(kind):
    cell = kind(2, 3, rng=0)
    state = [draw(2, 3, seed=i, grad=True) for i in (1, 2)][: len(cell.states)]

    def run(x, *state):
        return pulled(cell(x, tuple(state) if len(state) > 1 else state[0]))

    assert mt.gradcheck(run, [draw(2, 2, grad=True), *state], order=2)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_no_output_depends_on_a_later_input(kind):
    layer = kind(2, 3, num_layers=2, rng=0)
    x = draw(12, 2, 2, grad=True)
    y, _ = layer(x)
    mt.sum(y[4] * draw(2, 3, seed=1)).backward()
    assert (x.grad.numpy()[5:] == 0).all()
    assert (x.grad.numpy()[:5] != 0).any(axis=(1, 2)).all()


# --- cells and layers agree -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("length", [1, 9, 20])
def test_a_layer_is_its_cell_step_by_step(kind, length):
    layer, cell = LAYERS[kind](3, 4, rng=0), CELLS[f"{kind}Cell"](3, 4)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
    x = draw(length, 2, 3)
    output, last = layer(x)
    state = None
    for t in range(length):
        state = cell(x[t], state)
        np.testing.assert_allclose(output.numpy()[t], flat(state)[0].numpy(), rtol=1e-13, atol=1e-15)
    for end, expected in zip(flat(last), flat(state), strict=True):
        np.testing.assert_allclose(end.numpy()[0], expected.numpy(), rtol=1e-13, atol=1e-15)


def test_layer_norm_in_the_cell_ignores_the_scale_of_the_weights():
    cell = LayerNormLSTMCell(3, 4, eps=1e-12, rng=0)
    x, state = draw(2, 3), (draw(2, 4, seed=1), draw(2, 4, seed=2))
    before = cell(x, state)[0].numpy()
    cell.weight_ih.data = cell.weight_ih.numpy() * 100
    cell.weight_hh.data = cell.weight_hh.numpy() * 0.5
    np.testing.assert_allclose(cell(x, state)[0].numpy(), before, rtol=1e-8)


def test_the_forget_bias_is_where_the_cell_remembers():
    cell = LayerNormLSTMCell(3, 2, forget_bias=1.0)
    np.testing.assert_array_equal(cell.norm_ih.bias.numpy(), [0, 0, 1, 1, 0, 0, 0, 0])
    assert not LayerNormLSTMCell(3, 2).norm_ih.bias.numpy().any()
    assert list(cell.state_dict()) == [
        "weight_ih",
        "weight_hh",
        "norm_ih.weight",
        "norm_ih.bias",
        "norm_hh.weight",
        "norm_hh.bias",
        "norm_c.weight",
        "norm_c.bias",
    ]


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell, LayerNormLSTMCell])
def test_initial_values_are_uniform_by_the_hidden_size_and_reproducible(kind):
    first, second = (kind(10, 100, rng=3) for _ in range(2))
    for (key, one), (_, two) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
        if "weight_" in key:
            assert 0.095 < np.abs(one.numpy()).max() <= 0.1
            assert abs(one.numpy().mean()) < 0.005
    mt.manual_seed(5)
    third = kind(2, 3).weight_hh if hasattr(first, "weight_hh") else kind(2, 3).weight_hh_l0
    mt.manual_seed(5)
    fourth = kind(2, 3).weight_hh if hasattr(first, "weight_hh") else kind(2, 3).weight_hh_l0
    np.testing.assert_array_equal(third.numpy(), fourth.numpy())


def test_dropout_acts_between_layers_in_training_only():
    layer = LSTM(3, 4, num_layers=2, dropout=1.0, rng=0)
    alone = LSTM(4, 4)
    alone.load_state_dict(
        {key.replace("_l1", "_l0"): value for key, value in layer.state_dict().items() if key.endswith("_l1")}
    )
    x = draw(5, 2, 3)
    np.testing.assert_array_equal(layer(x)[0].numpy(), alone(mt.zeros((5, 2, 4)))[0].numpy())
    plain = LSTM(3, 4, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer.eval()(x)[0].numpy(), plain(x)[0].numpy())


def test_dropout_draws_anew_and_from_the_seed():
    layer, again = (GRU(3, 4, num_layers=2, dropout=0.5, rng=0) for _ in range(2))
    x = draw(5, 2, 3)
    first = layer(x)[0].numpy()
    assert (layer(x)[0].numpy() != first).any()
    np.testing.assert_array_equal(again(x)[0].numpy(), first)
    unseeded = GRU(3, 4, num_layers=2, dropout=0.5)
    results = []
    for _ in range(2):
        mt.manual_seed(1)
        results.append(unseeded(x)[0].numpy())
    np.testing.assert_array_equal(*results)


def test_dropout_with_one_layer_does_nothing_and_says_so():
    with pytest.warns(UserWarning, match=r"LSTM: dropout acts between layers; with num_layers=1") as caught:
        LSTM(3, 4, dropout=0.5)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", [LSTM, LayerNormLSTMCell])
def test_float32_stays_float32(kind):
    module = kind(3, 4, rng=0).astype("float32")
    x = draw(2, 3).astype("float32")
    assert {y.dtype for y in flat(module(x))} == {np.dtype("float32")}


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell, LayerNormLSTMCell])
def test_copies_and_pickles_compute_the_same(kind):
    module = kind(3, 4, rng=0)
    x = draw(5, 3)
    expected = flat(module(x))
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        for one, two in zip(flat(twin(x)), expected, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.parametrize(
    ("module", "title"),
    [
        (RNN(3, 4), "RNN(3, 4)"),
        (RNN(3, 4, nonlinearity="relu"), "RNN(3, 4, nonlinearity=relu)"),
        (LSTM(3, 4, 2, bias=False), "LSTM(3, 4, num_layers=2, bias=False)"),
        (GRU(3, 4, batch_first=True, bidirectional=True), "GRU(3, 4, batch_first=True, bidirectional=True)"),
        (RNNCell(3, 4, nonlinearity="relu"), "RNNCell(3, 4, nonlinearity=relu)"),
        (GRUCell(3, 4, bias=False), "GRUCell(3, 4, bias=False)"),
        (LayerNormLSTMCell(3, 4), "LayerNormLSTMCell(3, 4)"),
    ],
)
def test_titles_say_what_differs_from_the_defaults(module, title):
    assert module.title() == title


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RNN(0, 4), ValueError, r"RNN: input_size is 0"),
        (lambda: GRUCell(3, -1), ValueError, r"GRUCell: hidden_size is -1"),
        (lambda: LSTM(3, 4, num_layers=0), ValueError, r"LSTM: num_layers is 0"),
        (lambda: RNN(3, 4, nonlinearity="sigmoid"), ValueError, r"RNN: nonlinearity is 'sigmoid'; .*'tanh' or 'relu'"),
        (lambda: LSTM(3, 4, 2, dropout=1.5), ValueError, r"p is 1.5"),
        (
            lambda: LSTM(3, 4)(draw(5, 2, 7)),
            ValueError,
            r"LSTM\(3, 4\): input has shape \(5, 2, 7\); it must be \(L, N, 3\) or \(L, 3\)",
        ),
        (lambda: GRU(3, 4, batch_first=True)(draw(3)), ValueError, r"shape \(3,\); it must be \(N, L, 3\) or \(L, 3\)"),
        (lambda: RNN(3, 4)(draw(0, 2, 3)), ValueError, r"RNN\(3, 4\): the sequence has no steps"),
        (
            lambda: RNNCell(3, 4)(draw(5, 2, 3)),
            ValueError,
            r"input has shape \(5, 2, 3\); it must be \(N, 3\) or \(3,\)",
        ),
        (lambda: RNN(3, 4)(mt.ones((5, 2, 3), dtype=int)), TypeError, r"RNN\(3, 4\): input .*dtype int64"),
        (
            lambda: GRU(3, 4, 2)(draw(5, 2, 3), draw(1, 2, 4)),
            ValueError,
            r"GRU\(3, 4, num_layers=2\): h_0 has shape \(1, 2, 4\); it must be \(2, 2, 4\) for this input",
        ),
        (
            lambda: LSTM(3, 4)(draw(5, 3), (draw(1, 4), draw(1, 1, 4))),
            ValueError,
            r"LSTM\(3, 4\): c_0 has shape \(1, 1, 4\); it must be \(1, 4\)",
        ),
        (lambda: LSTMCell(3, 4)(draw(2, 3), draw(2, 4)), TypeError, r"is a Tensor; it must be a pair \(h_0, c_0\)"),
        (lambda: LSTM(3, 4)(draw(5, 2, 3), (draw(1, 2, 4),)), TypeError, r"is a tuple; it must be a pair \(h_0, c_0\)"),
        (lambda: GRUCell(3, 4)(draw(2, 3), (draw(2, 4),) * 2), TypeError, r"is a tuple; it must be the tensor h_0"),
        (
            lambda: RNNCell(3, 4)(draw(2, 3), draw(4)),
            ValueError,
            r"RNNCell\(3, 4\): h_0 has shape \(4,\); it must be \(2, 4\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- pictures ---------------------------------------------------------------------------------------------


class Two(Module):
    def __init__(self):
        super().__init__()
        self.lstm = LSTM(2, 3, num_layers=2, rng=0)

    def forward(self, x):
        return self.lstm(x)[0]


def test_a_picture_has_a_frame_for_every_layer_and_step_and_names_the_gates():
    graph = Graph.from_tensor(Two()(draw(3, 1, 2)))
    scopes = {scope.id: scope for scope in graph.scopes}

    def path(scope):
        names = []
        while scope is not None:
            names.append(scopes[scope].name)
            scope = scopes[scope].parent
        return names[::-1]

    paths = {tuple(path(scope.id)) for scope in graph.scopes}
    assert ("model", "lstm", "l1", "t=2") in paths
    step = [node for node in graph.nodes if node.scope is not None and path(node.scope)[-2:] == ["l0", "t=1"]]
    assert {"i", "f", "g", "o", "c", "h"} <= {node.name for node in step}
    assert {node.name for node in graph.nodes if node.kind == "parameter"} == {"W_ih", "W_hh", "b_ih", "b_hh"}


def test_the_gates_of_a_gru_are_named():
    y = GRUCell(2, 3)(draw(1, 2), draw(1, 3))
    assert {"r", "z", "n", "h"} <= {node.name for node in Graph.from_tensor(y).nodes}
