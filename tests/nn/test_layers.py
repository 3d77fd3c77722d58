"""Layers against PyTorch's stored results; what they refuse, and how they start; containers and module-wide changes."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn
from microtensor.nn import init
from microtensor.viz import render
from tests.places import GOLDEN

with np.load(GOLDEN / "layers.npz") as archive:
    CASES = sorted({key.partition("/")[0] for key in archive.files})


def make(case, **names):
    """The layer that a case is called by."""
    return eval(case, {"OrderedDict": OrderedDict, **vars(nn), **names})


def draw(*shape, seed=0, dtype=None, requires_grad=False):
    return mt.random.normal(shape, rng=seed, dtype=dtype, requires_grad=requires_grad)


def inputs_of(case, dtype=np.float64):
    arrays = [case[f"x{i}"] for i in range(2) if f"x{i}" in case]
    return [mt.tensor(x.astype(dtype), requires_grad=True) if x.dtype.kind == "f" else mt.tensor(x) for x in arrays]


def state_of(case):
    return {key.removeprefix("state "): value for key, value in case.items() if key.startswith("state ")}


# --- against PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(golden, name):
    case = golden(name, file="layers")
    layer, inputs = make(name), inputs_of(case)
    assert list(layer.state_dict()) == list(state_of(case))
    layer.load_state_dict(state_of(case))
    y = layer(*inputs)
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-12, atol=1e-13)
    y.backward(case["g"])
    leaves = {f"x{i}": x for i, x in enumerate(inputs) if x.requires_grad} | dict(layer.named_parameters())
    assert leaves.keys() == {key.removeprefix("d ") for key in case if key.startswith("d ")}
    for key, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad.numpy(), case[f"d {key}"], rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_in_float32_everything_stays_float32(golden, name):
    case = golden(name, file="layers")
    layer = make(name).astype(np.float32)
    layer.load_state_dict(state_of(case))
    inputs = inputs_of(case, np.float32)
    y = layer(*inputs)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-4, atol=1e-5)
    y.backward(case["g"].astype(np.float32))
    assert {p.grad.dtype for p in layer.parameters()} <= {np.dtype(np.float32)}
    assert {x.grad.dtype for x in inputs if x.requires_grad} <= {np.dtype(np.float32)}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_finite_differences(golden, name):
    case = golden(name, file="layers")
    layer = make(name)
    layer.load_state_dict(state_of(case))
    fixed = [x for x in inputs_of(case) if not x.requires_grad]
    leaves = [x for x in inputs_of(case) if x.requires_grad]
    assert mt.gradcheck(lambda *inputs: layer(*fixed, *inputs[: len(leaves)]), [*leaves, *layer.parameters()])


@pytest.mark.parametrize("name", CASES)
def test_every_layer_copies_pickles_and_shows_how_it_is_made(golden, name):
    case = golden(name, file="layers")
    layer, inputs = make(name), inputs_of(case)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer)
        np.testing.assert_array_equal(other(*inputs).numpy(), layer(*inputs).numpy())
    if not list(layer.children()) and layer.training:
        assert repr(make(repr(layer))) == repr(layer)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(3, 8, 5), "Conv2d(3, 8, kernel_size=5)"),
        (
            nn.Conv2d(4, 8, (5, 3), 2, "valid", 2, 4, False),
            "Conv2d(4, 8, kernel_size=(5, 3), stride=2, padding='valid', dilation=2, groups=4, bias=False)",
        ),
        (
            nn.ConvTranspose2d(3, 8, 5, 2, 1, 1),
            "ConvTranspose2d(3, 8, kernel_size=5, stride=2, padding=1, output_padding=1)",
        ),
        (nn.MaxPool2d(2), "MaxPool2d(kernel_size=2)"),
        (nn.MaxPool1d(3, 2, 1, 2), "MaxPool1d(kernel_size=3, stride=2, padding=1, dilation=2)"),
        (nn.AvgPool2d(2, count_include_pad=False), "AvgPool2d(kernel_size=2, count_include_pad=False)"),
        (nn.AdaptiveAvgPool2d((None, 7)), "AdaptiveAvgPool2d((None, 7))"),
        (nn.Dropout(0.2), "Dropout(0.2)"),
        (nn.Dropout(0.2).eval(), "Dropout(0.2, eval)"),
        (nn.Embedding(5, 3, -1), "Embedding(5, 3, padding_idx=4)"),
        (nn.ReLU(), "ReLU()"),
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.Softmax(1), "Softmax(dim=1)"),
        (
            nn.ModuleDict({"a": nn.ModuleList([nn.Flatten()])}),
            "ModuleDict(\n  (a): ModuleList(\n    (0): Flatten()\n  )\n)",
        ),
    ],
)
def test_representation_shows_what_differs_from_the_defaults(layer, text):
    assert repr(layer) == text


# --- what is refused --------------------------------------------------------------------------------------

LAYERS = {
    "linear": nn.Linear(3, 2),
    "bilinear": nn.Bilinear(3, 4, 2),
    "conv1": nn.Conv1d(3, 8, 5),
    "conv2": nn.Conv2d(3, 8, 3, dilation=2),
    "transposed": nn.ConvTranspose2d(3, 8, 3),
    "max1": nn.MaxPool1d(3),
    "avg2": nn.AvgPool2d(3),
    "adaptive": nn.AdaptiveAvgPool2d(2),
    "drop": nn.Dropout(0.2),
    "table": nn.Embedding(5, 3),
}
WRONG_INPUTS = [
    ("linear(draw(2, 4))", ValueError, r"Linear\(3, 2\): input of shape \(2, 4\) must have 3 features"),
    ("linear(mt.tensor(1.0))", ValueError, r"Linear\(3, 2\): input of shape \(\) must have 3 features"),
    ("linear(mt.tensor([1, 2, 3]))", TypeError, r"Linear\(3, 2\): input of shape \(3,\) has dtype int64; convert it"),
    ("linear([1.0, 2.0, 3.0])", TypeError, r"Linear\(3, 2\): input is of type list; .*mt\.tensor"),
    ("bilinear(draw(2, 4), draw(2, 4))", ValueError, r"Bilinear\(3, 4, 2\): input of shape \(2, 4\) must have 3"),
    ("bilinear(draw(2, 3), draw(2, 3))", ValueError, r"Bilinear\(3, 4, 2\): input of shape \(2, 3\) must have 4"),
    (
        "conv2(draw(2, 4, 5, 5))",
        ValueError,
        r"Conv2d\(3, 8, kernel_size=3, dilation=2\): input has 4 channels \(axis 1 of shape \(2, 4, 5, 5\)\)",
    ),
    (
        "conv2(draw(5, 5))",
        ValueError,
        r"Conv2d\(3, 8, .*\): input of shape \(5, 5\) has 2 axes; it must be \(N, C, H, W\) or \(C, H, W\)$",
    ),
    (
        "conv2(draw(2, 3, 4, 5))",
        ValueError,
        r"Conv2d\(3, 8, .*\): a window of \(5, 5\) does not fit into \(4, 5\).* \(2, 3, 4, 5\); pad more or",
    ),
    ("conv2(mt.ones((2, 3, 5, 5), dtype=int))", TypeError, r"Conv2d\(.*\): input of shape .* has dtype int64"),
    ("conv1(draw(2, 4, 9))", ValueError, r"Conv1d\(3, 8, kernel_size=5\): input has 4 channels"),
    (
        "conv1(draw(2, 3, 9, 9))",
        ValueError,
        r"Conv1d\(3, 8, kernel_size=5\): .* has 4 axes; it must be \(N, C, L\) or \(C, L\)$",
    ),
    ("conv1(draw(2, 3, 4))", ValueError, r"Conv1d\(3, 8, kernel_size=5\): a window of \(5,\) does not fit into \(4,\)"),
    ("transposed(draw(2, 4, 9, 9))", ValueError, r"ConvTranspose2d\(3, 8, kernel_size=3\): input has 4 channels"),
    ("max1(draw(3))", ValueError, r"MaxPool1d\(kernel_size=3\): input of shape \(3,\) has 1 axes"),
    ("max1(draw(2, 3, 2))", ValueError, r"MaxPool1d\(kernel_size=3\): a window of \(3,\) does not fit into \(2,\)"),
    ("avg2(draw(2, 3, 2, 5))", ValueError, r"AvgPool2d\(kernel_size=3\): a window of \(3, 3\) does not fit"),
    ("avg2(mt.ones((1, 1, 3, 3), dtype=int))", TypeError, r"AvgPool2d\(kernel_size=3\): .* has dtype int64"),
    ("adaptive(draw(4, 5))", ValueError, r"AdaptiveAvgPool2d\(2\): input of shape \(4, 5\) has 2 axes"),
    (
        "adaptive(draw(3, 4, 0, 5))",
        ValueError,
        r"AdaptiveAvgPool2d\(2\): input of shape \(3, 4, 0, 5\) has no positions",
    ),
    ("drop(mt.tensor([1, 2]))", TypeError, r"Dropout\(0.2\): input of shape \(2,\) has dtype int64"),
    ("table([5])", IndexError, r"Embedding\(5, 3\): index 5 is not from 0 to 4"),
    ("table([0, -1])", IndexError, r"Embedding\(5, 3\): index -1 is not from 0 to 4"),
    ("table([0.0])", TypeError, r"Embedding\(5, 3\): indices have dtype float64; convert them with .astype\(int\)"),
    (
        "Flatten(1, 3)(draw(2, 3))",
        ValueError,
        r"Flatten\(start_dim=1, end_dim=3\): input of shape \(2, 3\) has no axes",
    ),
    ("Unflatten(2, (1,))(draw(2, 3))", ValueError, r"Unflatten\(2, \(1,\)\): input of shape \(2, 3\) has no axis 2"),
    ("Unflatten(-1, (2, -1))(draw(2, 3))", ValueError, r"Unflatten\(-1, \(2, -1\)\): axis -1 of shape \(2, 3\) cannot"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_INPUTS)
def test_a_wrong_input_is_told_with_the_layer_and_the_shape(call, error, message):
    with pytest.raises(error, match=message):
        make(call, **LAYERS, draw=draw, mt=mt)


WRONG_SETTINGS = [
    ("Linear(3, -1)", ValueError, "Linear: out_features is -1; it must be a positive integer"),
    ("Linear(3.0, 1)", TypeError, "Linear: in_features is 3.0; it must be a positive integer"),
    ("Bilinear(3, 4, 0)", ValueError, "Bilinear: out_features is 0; it must be a positive integer"),
    ("Conv2d(0, 1, 3)", ValueError, "Conv2d: in_channels is 0"),
    ("Conv2d(1, True, 3)", TypeError, "Conv2d: out_channels is True"),
    ("Conv2d(3, 4, 3, groups=2)", ValueError, "Conv2d: groups is 2; it must divide .* 3 and 4"),
    ("Conv2d(3, 4, 0)", ValueError, "Conv2d: kernel_size is 0; it must be 1 or 2 integers"),
    ("Conv2d(3, 4, (3, 3, 3))", ValueError, r"Conv2d: kernel_size is \(3, 3, 3\); it must be 1 or 2 integers"),
    ("Conv2d(3, 4, 2.0)", TypeError, "Conv2d: kernel_size is 2.0; it must be 1 or 2 integers"),
    ("Conv1d(3, 4, 3, stride=0)", ValueError, "Conv1d: stride is 0; it must be an integer of at least 1"),
    ("Conv1d(3, 4, 3, padding=-1)", ValueError, "Conv1d: padding is -1; it must be an integer of at least 0"),
    ("Conv2d(3, 4, 3, dilation=0)", ValueError, "Conv2d: dilation is 0"),
    ("Conv2d(3, 4, 3, padding='full')", ValueError, "Conv2d: padding is 'full'; it must be 'same', 'valid' or a size"),
    (
        "Conv2d(3, 4, 3, stride=2, padding='same')",
        ValueError,
        r"Conv2d: padding is 'same', .* must be 1, not \(2, 2\)",
    ),
    ("ConvTranspose2d(3, 4, 3, padding='same')", TypeError, "ConvTranspose2d: padding is 'same'"),
    ("ConvTranspose2d(3, 4, 3, 2, output_padding=2)", ValueError, "ConvTranspose2d: output_padding .* less than"),
    ("MaxPool2d(2, padding=2)", ValueError, "MaxPool2d: padding 2 is more than half of the window 2"),
    ("AvgPool1d(0)", ValueError, "AvgPool1d: kernel_size is 0"),
    ("AdaptiveAvgPool1d(0)", ValueError, "AdaptiveAvgPool1d: output_size is"),
    ("AdaptiveAvgPool2d((1, 2, 3))", ValueError, "AdaptiveAvgPool2d: output_size is"),
    ("Unflatten(1, (-1, -1))", ValueError, r"Unflatten: unflattened_size is \(-1, -1\)"),
    ("Unflatten(1, (0, 2))", ValueError, r"Unflatten: unflattened_size is \(0, 2\)"),
    ("Dropout(1.1)", ValueError, "Dropout: p is 1.1; it must be a finite number from 0 to 1"),
    ("Embedding(0, 3)", ValueError, "Embedding: num_embeddings is 0"),
    ("Embedding(5, 3, 5)", ValueError, "Embedding: padding_idx 5 is beyond a table of 5 rows"),
    ("Softplus(0)", ValueError, "Softplus: beta is 0"),
    ("Hardtanh(1, 1)", ValueError, "Hardtanh: min_val 1 must be below max_val 1"),
    ("Softmax()", TypeError, "dim"),
    ("ReLU(inplace=True)", TypeError, "inplace"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_SETTINGS)
def test_a_wrong_setting_is_told_at_construction(call, error, message):
    with pytest.raises(error, match=message):
        make(call)


# --- how they start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Linear(50, 40, rng=0), 50),
        (nn.Bilinear(20, 30, 10, rng=0), 20),
        (nn.Conv1d(12, 40, 5, groups=2, rng=0), 30),
        (nn.Conv2d(8, 30, (3, 5), rng=0), 120),
        (nn.ConvTranspose2d(20, 16, 3, groups=2, rng=0), 72),
    ],
)
def test_weight_and_bias_start_uniform_within_the_root_of_the_fan_in(layer, fan_in):
    for parameter, near in ((layer.weight.numpy(), 0.99), (layer.bias.numpy(), 0.7)):
        assert near * fan_in**-0.5 < np.abs(parameter).max() <= fan_in**-0.5
    assert layer.weight.numpy().var() == pytest.approx(1 / (3 * fan_in), rel=0.1)


def test_an_embedding_starts_standard_normal_but_for_its_padding():
    weight = nn.Embedding(400, 50, padding_idx=3, rng=0).weight.numpy()
    np.testing.assert_array_equal(weight[3], 0.0)
    assert weight.mean() == pytest.approx(0.0, abs=0.02)
    assert weight.std() == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    "case",
    ["Linear(3, 2, rng=1)", "Conv2d(3, 2, 3, rng=1)", "ConvTranspose2d(3, 2, 3, rng=1)", "Embedding(3, 2, rng=1)"],
)
def test_a_seed_gives_the_same_start(case):
    first, second = make(case).state_dict(), make(case).state_dict()
    other = make(case.replace("rng=1", "rng=2")).state_dict()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
        assert (first[key] != other[key]).any()


SQUARE = (300, 400)
STARTS = {
    "uniform_": (lambda w, rng: init.uniform_(w, -1.0, 3.0, rng=rng), 1.0, 4 / 12**0.5),
    "normal_": (lambda w, rng: init.normal_(w, 2.0, 0.5, rng=rng), 2.0, 0.5),
    "xavier_uniform_": (lambda w, rng: init.xavier_uniform_(w, 2.0, rng=rng), 0.0, 2 * (2 / 700) ** 0.5),
    "xavier_normal_": (lambda w, rng: init.xavier_normal_(w, 2.0, rng=rng), 0.0, 2 * (2 / 700) ** 0.5),
    "kaiming_uniform_": (lambda w, rng: init.kaiming_uniform_(w, rng=rng), 0.0, (2 / 400) ** 0.5),
    "kaiming_uniform_ a": (lambda w, rng: init.kaiming_uniform_(w, 5**0.5, rng=rng), 0.0, (1 / 1200) ** 0.5),
    "kaiming_normal_": (lambda w, rng: init.kaiming_normal_(w, rng=rng), 0.0, (2 / 400) ** 0.5),
    "kaiming_normal_ fan_out": (
        lambda w, rng: init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh", rng=rng),
        0.0,
        5 / 3 / 300**0.5,
    ),
    "orthogonal_": (lambda w, rng: init.orthogonal_(w, 3.0, rng=rng), 0.0, 3 / 400**0.5),
}


@pytest.mark.parametrize("name", STARTS)
def test_initial_values_have_their_moments_and_come_from_the_seed(name):
    fill, mean, std = STARTS[name]
    weight = nn.Parameter(mt.zeros(SQUARE))
    version = weight._version
    assert fill(weight, 0) is weight
    assert weight._version == version + 1
    first = weight.numpy()
    assert first.mean() == pytest.approx(mean, abs=0.01 * std)
    assert first.std() == pytest.approx(std, rel=0.01)
    if "uniform" in name:
        assert 0.999 * 3**0.5 * std < np.abs(first - mean).max() <= 3**0.5 * std * (1 + 1e-12)
    np.testing.assert_array_equal(fill(weight, 0).numpy(), first)
    assert (fill(weight, 1).numpy() != first).all()


def test_a_window_counts_into_both_fans():
    weight = nn.Parameter(mt.zeros((60, 40, 5, 5)))
    assert init.kaiming_normal_(weight, rng=0).numpy().std() == pytest.approx((2 / 1000) ** 0.5, rel=0.01)
    assert init.xavier_normal_(weight, rng=0).numpy().std() == pytest.approx((2 / 2500) ** 0.5, rel=0.01)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (4, 2, 3), (8, 2, 3)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    matrix = init.orthogonal_(mt.zeros(shape), 2.0, rng=0).numpy().reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(min(matrix.shape)), atol=1e-13)


def test_constants_fill():
    weight = nn.Parameter(mt.zeros((2, 3), dtype="float32"))
    for fill, value in ((init.ones_, 1), (init.zeros_, 0), (lambda w: init.constant_(w, 0.1), np.float32(0.1))):
        np.testing.assert_array_equal(fill(weight).numpy(), np.full((2, 3), value, np.float32))
    assert weight.dtype == np.float32


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),
    [
        ("linear", None, 1.0),
        ("conv2d", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, 2**0.5),
        ("leaky_relu", None, (2 / 1.0001) ** 0.5),
        ("leaky_relu", 0.0, 2**0.5),
        ("leaky_relu", 0.5, 1.6**0.5),
        ("selu", None, 0.75),
    ],
)
def test_gains_are_pytorchs(nonlinearity, param, gain):
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-15)


def test_initial_values_refuse_what_has_no_fan_and_unknown_names():
    weight = mt.zeros((2, 3))
    for fill in (
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
        init.orthogonal_,
    ):
        with pytest.raises(ValueError, match=rf"{fill.__name__}: a weight of shape \(3,\) has no fan-in"):
            fill(mt.zeros(3))
    with pytest.raises(ValueError, match=r"kaiming_normal_: mode is 'fan'; .*'fan_in' or 'fan_out'"):
        init.kaiming_normal_(weight, mode="fan")
    with pytest.raises(ValueError, match=r"calculate_gain: nonlinearity is 'swish'; .* linear, "):
        init.kaiming_uniform_(weight, nonlinearity="swish")
    with pytest.raises(RuntimeError, match="only leaves"):
        init.ones_(mt.tensor([1.0], requires_grad=True) * 2)


# --- dropout ----------------------------------------------------------------------------------------------


def test_dropout_leaves_out_a_share_and_scales_the_rest_forward_and_backward():
    x = mt.tensor(np.full((200, 300), 3.0), requires_grad=True)
    y = nn.Dropout(0.3, rng=0)(x)
    kept = y.numpy() != 0
    assert kept.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_allclose(y.numpy()[kept], 3 / 0.7, rtol=1e-15)
    g = draw(200, 300, seed=1).numpy()
    y.backward(g)
    np.testing.assert_allclose(x.grad.numpy(), g * kept / 0.7, rtol=1e-15)


def test_dropout_draws_a_new_mask_each_time_from_its_own_generator_or_the_default_one():
    x = mt.ones(100)
    first, second = nn.Dropout(rng=0), nn.Dropout(rng=0)
    masks = [first(x).numpy() for _ in range(2)]
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(masks, [second(x).numpy() for _ in range(2)])
    drop = nn.Dropout()
    found = []
    for _ in range(2):
        mt.manual_seed(3)
        found.append(drop(x).numpy())
    np.testing.assert_array_equal(*found)


def test_dropout_of_all_and_of_nothing():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    for p in (0.0, 1.0):
        y = nn.Dropout(p)(x)
        np.testing.assert_array_equal(y.numpy(), x.numpy() * (1 - p))
        np.testing.assert_array_equal(mt.grad(y, x, [3.0, 5.0]).numpy(), np.array([3.0, 5.0]) * (1 - p))
    assert nn.Dropout(0.5).eval()(x) is x


# --- embedding --------------------------------------------------------------------------------------------


def test_the_row_of_the_padding_gives_its_value_and_takes_no_gradient():
    table = nn.Embedding(3, 2, padding_idx=1)
    table.weight.data = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    y = table(mt.tensor([[1, 0], [0, 1]]))
    np.testing.assert_array_equal(y.numpy()[0, 0], [3.0, 4.0])
    y.backward(np.ones((2, 2, 2)))
    np.testing.assert_array_equal(table.weight.grad.numpy(), [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]])


def test_an_embedding_of_no_indices():
    assert nn.Embedding(3, 2)(np.zeros((0, 4), dtype=int)).shape == (0, 4, 2)


# --- convolution ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(1, 9), st.integers(0, 2**16)
)
def test_a_transposed_convolution_is_the_adjoint(kernel, stride, padding, dilation, size, seed):
    sizes = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    conv = nn.Conv2d(2, 3, **sizes, bias=False, rng=seed)
    rest = size + 2 * padding - dilation * (kernel - 1) - 1
    if rest < 0:
        return
    back = nn.ConvTranspose2d(3, 2, **sizes, output_padding=rest % stride, bias=False)
    back.weight.data = conv.weight.numpy()
    x = draw(1, 2, size, size, seed=seed)
    y = conv(x)
    u = draw(*y.shape, seed=seed + 1)
    # ⟨u, conv(x)⟩ = ⟨conv_transpose(u), x⟩
    assert np.sum(u.numpy() * y.numpy()) == pytest.approx(np.sum(back(u).numpy() * x.numpy()), rel=1e-10, abs=1e-12)


def test_an_empty_batch_passes():
    x = mt.zeros((0, 3, 8, 8))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert net(x).shape == (0, 4)
    assert nn.ConvTranspose2d(3, 4, 3)(x).shape == (0, 4, 10, 10)


def test_adaptive_pooling_to_the_size_it_has_is_the_identity():
    x = draw(2, 3, 4, 5)
    np.testing.assert_array_equal(nn.AdaptiveAvgPool2d(None)(x).numpy(), x.numpy())


# --- containers -------------------------------------------------------------------------------------------


def three():
    return nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=1)


def test_sequential_takes_names_and_grows():
    first, relu, last = three()
    net = nn.Sequential(OrderedDict(hidden=first, act=relu))
    assert net.append(last) is net
    assert list(net.state_dict()) == ["hidden.weight", "hidden.bias", "2.weight", "2.bias"]
    assert net.hidden is first
    assert list(nn.Sequential(first).extend([relu, last])) == [first, relu, last]
    np.testing.assert_array_equal(net(draw(5, 3)).numpy(), last(relu(first(draw(5, 3)))).numpy())


def test_a_slice_of_a_sequential_shares_modules_and_keeps_their_names():
    net = nn.Sequential(*three())
    tail = net[1:]
    assert list(tail) == list(net)[1:]
    assert list(tail.state_dict()) == ["2.weight", "2.bias"]
    tail.append(nn.ReLU())
    assert [name for name, _ in tail.named_children()] == ["1", "2", "3"]
    assert len(net) == 3
    x = draw(5, 3)
    np.testing.assert_array_equal(net(x).numpy(), net[1:](net[:1](x)).numpy())


@pytest.mark.parametrize("make_container", [lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)])
def test_modules_in_order_are_read_and_replaced_by_position(make_container):
    first, relu, last = three()
    box = make_container(first, relu, last)
    assert (len(box), box[0], box[-1], list(box)) == (3, first, last, [first, relu, last])
    box[-2] = tanh = nn.Tanh()
    assert list(box) == [first, tanh, last]
    assert [name for name, _ in box.named_children()] == ["0", "1", "2"]
    kind = type(box).__name__
    for index in (3, -4):
        with pytest.raises(IndexError, match=rf"{kind}: index {index} is out of range for 3 modules"):
            box[index]
    with pytest.raises(TypeError, match=rf"{kind}: '0' is a int, not a module"):
        box[0] = 5
    with pytest.raises(TypeError, match=rf"{kind}: argument 3 is a function, not a module"):
        box.append(lambda x: x)


def test_a_list_of_modules_counts_from_zero_and_has_no_forward():
    first, relu, last = three()
    box = nn.ModuleList([first, relu]).extend([last])
    assert list(box[1:].state_dict()) == ["1.weight", "1.bias"]
    with pytest.raises(NotImplementedError, match="ModuleList defines no forward"):
        box(1)


def test_a_dict_of_modules_is_a_mapping():
    first, relu, last = three()
    box = nn.ModuleDict({"first": first, "relu": relu})
    box.update({"last": last})
    assert list(box) == list(box.keys()) == ["first", "relu", "last"]
    assert list(box.values()) == [first, relu, last]
    assert dict(box.items())["relu"] is box["relu"]
    assert (len(box), "last" in box, "none" in box) == (3, True, False)
    assert list(box.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    box["first"] = relu
    del box["relu"]
    assert list(box) == ["first", "last"]
    with pytest.raises(KeyError):
        box["relu"]


@pytest.mark.parametrize(
    ("name", "module", "error", "message"),
    [
        ("a.b", nn.ReLU(), ValueError, "'a.b' cannot be the name of a module"),
        ("", nn.ReLU(), ValueError, "'' cannot be the name of a module"),
        ("keys", nn.ReLU(), ValueError, "'keys' is an attribute already"),
        ("training", nn.ReLU(), ValueError, "'training' is an attribute already"),
        (3, nn.ReLU(), TypeError, "the name of a module must be a str, not 3"),
        ("relu", mt.relu, TypeError, "'relu' is a Primitive, not a module"),
    ],
)
def test_names_and_values_that_cannot_be_held_are_refused(name, module, error, message):
    box = nn.ModuleDict()
    with pytest.raises(error, match=f"ModuleDict: {message}"):
        box[name] = module
    assert len(box) == 0
    assert box.training is True


# --- module-wide changes ----------------------------------------------------------------------------------


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3, rng=1), nn.BatchNorm1d(3))


def test_apply_reaches_children_before_their_parents():
    net = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    met = []
    assert net.apply(met.append) is net
    assert met == [net[0][0], net[0], net[1], net]


def test_apply_initialises():
    net = network().apply(lambda m: init.zeros_(m.bias) if isinstance(m, (nn.Conv2d, nn.Linear)) else None)
    assert not any(net[i].bias.numpy().any() for i in (0, 3))
    assert net[0].weight.numpy().all()


def test_what_is_replaced_keeps_its_place():
    layer = nn.Linear(3, 2)
    layer.weight = nn.Parameter(mt.ones((2, 3)))
    layer.register_parameter("weight", layer.weight)
    assert list(layer.state_dict()) == ["weight", "bias"]
    norm = nn.BatchNorm1d(3)
    keys = list(norm.state_dict())
    norm.register_buffer("running_mean", mt.ones(3))
    assert list(norm.state_dict()) == keys


def test_children_by_name_a_shared_one_once():
    shared = nn.ReLU()
    net = nn.Sequential(shared, nn.Tanh(), shared)
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert list(net.children()) == [shared, net[1]]
    assert len(list(net)) == 3


def test_submodules_by_path():
    net = nn.Sequential(OrderedDict(body=network()))
    assert net.get_submodule("") is net
    assert net.get_submodule("body.3") is net.body[3]
    with pytest.raises(
        AttributeError, match=r"get_submodule: 'body.9': Sequential has no module '9' \(it has: 0, 1, 2"
    ):
        net.get_submodule("body.9")
    with pytest.raises(AttributeError, match=r"ReLU has no module 'x' \(it has: none\)"):
        net.get_submodule("body.1.x")


def test_freezing_takes_the_parameters_out_of_the_backward_pass():
    net = network()
    assert net[0].requires_grad_(False) is net[0]
    mt.sum(net(draw(4, 1, 4, 4)) * draw(4, 3, seed=1)).backward()
    assert [p.grad is None for p in net.parameters()] == [True, True, False, False, False, False]
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


def test_astype_keeps_the_parameter_objects_and_leaves_integers():
    net = network()
    loss = mt.sum(net(draw(4, 1, 4, 4)) * draw(4, 3, seed=1))
    loss.backward()
    parameters, before = list(net.parameters()), net.state_dict()
    assert net.astype("float32") is net
    assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))
    kinds = {key: value.dtype for key, value in net.state_dict().items()}
    assert kinds.pop("4.num_batches_tracked") == np.int64
    assert set(kinds.values()) == {np.dtype(np.float32)}
    assert {p.grad.dtype for p in parameters} == {np.dtype(np.float32)}
    for key, value in net.astype(np.float64).state_dict().items():
        np.testing.assert_allclose(value, before[key], rtol=1e-6)


def test_astype_makes_graphs_stale_and_refuses_integers():
    net = nn.Linear(3, 2)
    loss = mt.sum(net(draw(4, 3)))
    net.astype(np.float32)
    with pytest.raises(RuntimeError, match="was changed after"):
        loss.backward()
    with pytest.raises(TypeError, match=r"Linear.astype: dtype int64 is not floating point"):
        net.astype(int)
    with pytest.raises(TypeError, match=r"Linear.astype: dtype complex128"):
        net.astype(complex)
    assert net.weight.dtype == np.float32


def test_an_optimiser_goes_on_after_astype():
    net = nn.Linear(3, 2, rng=0)
    optimiser = mt.optim.SGD(net.parameters(), lr=0.1)
    net.astype(np.float32)
    before = net.weight.numpy()
    mt.sum(net(draw(4, 3, dtype="float32"))).backward()
    optimiser.step()
    assert net.weight.dtype == np.float32
    np.testing.assert_allclose(net.weight.numpy(), before - np.float32(0.1) * net.weight.grad.numpy(), rtol=1e-6)


def test_operations_stand_in_the_scopes_of_their_layers():
    net = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(1, 2, 3), pool=nn.MaxPool2d(2), drop=nn.Dropout(), flat=nn.Flatten())
    )
    y = net(draw(4, 1, 4, 4))
    graph = mt.Graph.from_tensor(y)
    # A frame round a single operation is left out of the picture.
    assert [(scope.name, scope.detail) for scope in graph.scopes if scope.name != "model"] == [
        ("conv", "Conv2d(1, 2, kernel_size=3)"),
        ("pool", "MaxPool2d(kernel_size=2)"),
        ("drop", "Dropout(0.5)"),
    ]
    assert y.node.scope.path == "model.flat"
    assert {"columns", "kernels", "mask"} <= {node.name for node in graph.nodes}


@pytest.mark.parametrize(
    "name", [case for case in CASES if "eval" not in case and case not in ("Identity()", "Dropout(0.0)")]
)
def test_every_layer_can_be_drawn(golden, name):
    graph = mt.Graph.from_tensor(make(name)(*inputs_of(golden(name, file="layers"))))
    dot = render(graph, "dot").decode()
    assert all(f"n{node.id} " in dot for node in graph.nodes)
