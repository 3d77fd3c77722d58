"""Attention and the transformer's layer: PyTorch's stored results, masks, causality, errors, pictures."""

import copy
import json
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor.graph import Graph
from microtensor.nn.attention import MultiheadAttention, TransformerEncoderLayer, scaled_dot_product_attention
from tests.places import GOLDEN

LAYERS = {layer.__name__: layer for layer in (MultiheadAttention, TransformerEncoderLayer)}
with np.load(GOLDEN / "sequences.npz") as archive:
    SETTINGS = {key.split("/")[0]: json.loads(str(archive[key])) for key in archive.files if key.endswith("/settings")}
CASES = [case for case, settings in SETTINGS.items() if settings["name"] in {*LAYERS, "scaled_dot_product_attention"}]


def draw(*shape, seed=0, grad=False):
    return mt.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=grad)


# --- PyTorch ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(golden, case):
    found, settings = golden(case, file="sequences"), SETTINGS[case]
    run, parameters = scaled_dot_product_attention, []
    if settings["name"] in LAYERS:
        run = LAYERS[settings["name"]](*settings["arguments"], **settings["options"])
        parameters = list(run.parameters())
        # PyTorch has another order of the same parameters.
        shapes = settings["parameters"]
        assert {key: list(p.shape) for key, p in run.named_parameters()} == shapes
        parameters = [dict(run.named_parameters())[key] for key in shapes]
        ends = np.cumsum([p.size for p in parameters])[:-1]
        for p, value in zip(parameters, np.split(found["parameters"], ends), strict=True):
            p.data = value.reshape(p.shape)
    inputs = [mt.tensor(found[f"x{i}"], requires_grad=True) for i in range(3) if f"x{i}" in found]
    given = inputs * 3 if settings["name"] == "MultiheadAttention" and len(inputs) == 1 else inputs
    masks = {key.removeprefix("mask "): value for key, value in found.items() if key.startswith("mask ")}
    outputs = run(*given, **settings["call"], **masks)
    total = mt.tensor(0.0)
    outputs = [y for y in (outputs if isinstance(outputs, tuple) else [outputs]) if y is not None]
    assert f"y{len(outputs)}" not in found
    for i, y in enumerate(outputs):
        np.testing.assert_allclose(y.numpy(), found[f"y{i}"], rtol=1e-11, atol=1e-13)
        total = total + mt.sum(y * found[f"g{i}"])
    total.backward()
    for i, leaf in enumerate(inputs):
        np.testing.assert_allclose(leaf.grad.numpy(), found[f"d_x{i}"], rtol=1e-10, atol=1e-12)
    if parameters:
        gradients = np.concatenate([p.grad.numpy().ravel() for p in parameters])
        np.testing.assert_allclose(gradients, found["d_parameters"], rtol=1e-10, atol=1e-12)


# --- derivatives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": [[False] * 3, [True, False, True]]}])
def test_attention_has_right_derivatives_of_both_orders(options):
    q, k, v = draw(2, 2, 3, grad=True), draw(2, 3, 3, seed=1, grad=True), draw(2, 3, 2, seed=2, grad=True)
    assert mt.gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, **options), [q, k, v], order=2)


def test_a_mask_of_floats_may_be_learnt():
    q, k, v, bias = draw(2, 3), draw(4, 3, seed=1), draw(4, 2, seed=2), draw(2, 4, seed=3, grad=True)
    assert mt.gradcheck(lambda bias: scaled_dot_product_attention(q, k, v, bias), bias)


# --- masks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
def test_no_output_depends_on_a_later_input(norm_first):
    layer = TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first, rng=0)
    x = draw(2, 6, 8, grad=True)
    for t in range(6):
        x.grad = None
        mt.sum(layer(x, is_causal=True)[:, t] * draw(2, 8, seed=t)).backward()
        assert (x.grad.numpy()[:, t + 1 :] == 0).all()
        assert (x.grad.numpy()[:, : t + 1] != 0).all()


def test_causal_is_the_mask_above_the_diagonal():
    mha = MultiheadAttention(6, 2, rng=0)
    x = draw(4, 2, 6)
    above = np.triu(np.ones((4, 4), dtype=bool), 1)
    expected = mha(x, x, x, attn_mask=above)
    for options in (
        {"is_causal": True},
        {"is_causal": True, "attn_mask": above},
        {"attn_mask": mt.tensor(np.where(above, -np.inf, 0.0))},
    ):
        for one, two in zip(mha(x, x, x, **options), expected, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_the_function_and_the_layer_take_booleans_the_other_way_round():
    q = k = v = draw(1, 3, 3)
    may = np.array([[True, False, True]] * 3)
    mha = MultiheadAttention(3, 1, bias=False, batch_first=True)
    mha.load_state_dict({"in_proj_weight": np.tile(np.eye(3), (3, 1)), "out_proj.weight": np.eye(3)})
    np.testing.assert_allclose(
        mha(q, k, v, attn_mask=~may)[0].numpy(), scaled_dot_product_attention(q, k, v, may).numpy(), rtol=1e-14
    )


@pytest.mark.parametrize("mask", [np.zeros((3, 4), dtype=bool), np.full((3, 4), -np.inf)])
def test_a_query_without_a_key_gets_zero_and_gives_no_gradient(mask):
    mask = mask.copy()
    mask[0] = True
    q, k, v = draw(3, 2, grad=True), draw(4, 2, seed=1, grad=True), draw(4, 2, seed=2, grad=True)
    with mt.detect_anomaly():
        y = scaled_dot_product_attention(q, k, v, mask)
        mt.sum(y * draw(3, 2, seed=3)).backward()
    assert (y.numpy()[1:] == 0).all()
    assert (y.numpy()[0] != 0).all()
    assert (q.grad.numpy()[1:] == 0).all()
    assert np.isfinite(k.grad.numpy()).all()


def test_padding_in_front_of_a_causal_layer_leaves_the_rest_as_it_was():
    layer = TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, rng=0)
    x = draw(1, 5, 4, grad=True)
    y = layer(x, src_key_padding_mask=[[True, True, False, False, False]], is_causal=True)
    np.testing.assert_allclose(y.numpy()[:, 2:], layer(x[:, 2:], is_causal=True).numpy(), rtol=1e-12)
    mt.sum(y[:, 2:] * draw(1, 3, 4, seed=1)).backward()
    assert (x.grad.numpy()[:, :2] == 0).all()


def test_masks_keep_float32():
    q = draw(2, 3).astype("float32")
    nothing = [[False, False], [True, False]]
    assert scaled_dot_product_attention(q, q, q, nothing).dtype == np.float32
    layer = TransformerEncoderLayer(4, 2, 8, rng=0).astype("float32")
    x = mt.tensor(draw(3, 2, 4), dtype="float32", requires_grad=True)
    y = layer(x, is_causal=True, src_key_padding_mask=np.ones((2, 3), dtype=bool))
    assert y.dtype == np.float32
    mt.sum(y * y).backward()
    assert np.isfinite(x.grad.numpy()).all()


# --- settings ---------------------------------------------------------------------------------------------


def test_one_input_three_times_is_three_inputs():
    mha = MultiheadAttention(6, 3, rng=0)
    x = draw(4, 2, 6)
    for one, two in zip(mha(x, x, x), mha(x, x.detach(), x.detach()), strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-13, atol=1e-16)


def test_initial_values_are_pytorchs_and_reproducible():
    first, second = (MultiheadAttention(96, 4, rng=3) for _ in range(2))
    weight = first.in_proj_weight.numpy()
    np.testing.assert_array_equal(weight, second.in_proj_weight.numpy())
    np.testing.assert_array_equal(first.out_proj.weight.numpy(), second.out_proj.weight.numpy())
    # √(6 / (in + out)) with the three maps as one matrix, of 96 columns and 288 rows.
    assert 0.124 < np.abs(weight).max() <= 0.125
    assert 0.100 < np.abs(first.out_proj.weight.numpy()).max() <= 96**-0.5
    assert not first.in_proj_bias.numpy().any()
    assert not first.out_proj.bias.numpy().any()
    mt.manual_seed(5)
    third = TransformerEncoderLayer(4, 2, 8).linear2.weight.numpy()
    mt.manual_seed(5)
    np.testing.assert_array_equal(TransformerEncoderLayer(4, 2, 8).linear2.weight.numpy(), third)


def test_state_keys_are_pytorchs():
    assert set(TransformerEncoderLayer(4, 2, 8).state_dict()) == {
        f"{name}{kind}"
        for name in ("self_attn.in_proj_", "self_attn.out_proj.", "linear1.", "linear2.", "norm1.", "norm2.")
        for kind in ("weight", "bias")
    }


def test_dropout_acts_in_training_only_and_draws_from_the_seed():
    q, k, v = draw(3, 2), draw(4, 2, seed=1), draw(4, 2, seed=2)
    assert not scaled_dot_product_attention(q, k, v, dropout_p=1.0).numpy().any()
    one, two = (scaled_dot_product_attention(q, k, v, dropout_p=0.5, rng=0).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    mha = MultiheadAttention(2, 1, dropout=1.0, bias=False)
    assert not mha(q, k, k)[0].numpy().any()
    assert mha.eval()(q, k, k)[0].numpy().any()
    layer, again = (TransformerEncoderLayer(4, 2, 8, rng=0) for _ in range(2))
    x = draw(3, 2, 4)
    np.testing.assert_array_equal(layer(x).numpy(), again(x).numpy())
    plain = TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    plain.load_state_dict(layer.state_dict())
    assert (layer(x).numpy() != plain(x).numpy()).any()
    np.testing.assert_array_equal(layer.eval()(x).numpy(), plain(x).numpy())


def test_an_activation_may_be_any_function():
    by_name = TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", rng=0)
    by_function = TransformerEncoderLayer(4, 2, 8, 0.0, mt.gelu, rng=0)
    other = TransformerEncoderLayer(4, 2, 8, 0.0, mt.tanh, rng=0)
    x = draw(3, 2, 4)
    np.testing.assert_array_equal(by_name(x).numpy(), by_function(x).numpy())
    assert (other(x).numpy() != by_name(x).numpy()).any()


def test_copies_and_pickles_compute_the_same():
    layer = TransformerEncoderLayer(4, 2, 8, 0.0, rng=0)
    x = draw(3, 2, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x).numpy(), layer(x).numpy())


def test_titles_say_what_differs_from_the_defaults():
    assert MultiheadAttention(4, 2).title() == "MultiheadAttention(4, 2)"
    assert MultiheadAttention(4, 2, bias=False, batch_first=True).title() == (
        "MultiheadAttention(4, 2, bias=False, batch_first=True)"
    )
    assert TransformerEncoderLayer(4, 2).title() == "TransformerEncoderLayer"
    assert TransformerEncoderLayer(4, 2, norm_first=True).title() == "TransformerEncoderLayer(norm_first=True)"


# --- errors -----------------------------------------------------------------------------------------------


def attend(q, k, v, *args, **options):
    return lambda: scaled_dot_product_attention(draw(*q), draw(*k), draw(*v), *args, **options)


def several_heads(q, k=None, v=None, layer=(6, 2), **options):
    q = draw(*q)
    k = q if k is None else draw(*k)
    v = k if v is None else draw(*v)
    return lambda: MultiheadAttention(*layer)(q, k, v, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            attend((2, 3), (4, 5), (4, 2)),
            ValueError,
            r"shapes \(2, 3\), \(4, 5\), \(4, 2\); they must be .*\(…, S, E\)",
        ),
        (attend((2, 3), (4, 3), (5, 2)), ValueError, r"shapes \(2, 3\), \(4, 3\), \(5, 2\)"),
        (attend((3,), (4, 3), (4, 2)), ValueError, r"shapes \(3,\)"),
        (attend((2, 3), (0, 3), (0, 2)), ValueError, r"no keys in \(0, 3\)"),
        (
            attend((2, 3), (4, 3), (4, 2), np.ones((4, 2), dtype=bool)),
            ValueError,
            r"mask of shape \(4, 2\) does not broadcast to scores \(2, 4\)",
        ),
        (attend((2, 3), (4, 3), (4, 2), np.ones((5, 2, 4), dtype=bool)), ValueError, r"mask of shape \(5, 2, 4\)"),
        (
            attend((2, 3), (4, 3), (4, 2), np.ones((2, 4), dtype=int)),
            TypeError,
            r"attn_mask has dtype int64; it must hold booleans",
        ),
        (attend((2, 3), (4, 3), (4, 2), dropout_p=2.0), ValueError, r"p is 2.0"),
        (lambda: MultiheadAttention(0, 1), ValueError, r"MultiheadAttention: embed_dim is 0"),
        (
            lambda: MultiheadAttention(10, 4),
            ValueError,
            r"MultiheadAttention: embed_dim is 10; .*num_heads 4, such as 8",
        ),
        (lambda: MultiheadAttention(3, 4), ValueError, r"embed_dim is 3; .*num_heads 4, such as 4"),
        (
            several_heads((4, 2, 5)),
            ValueError,
            r"MultiheadAttention\(6, 2\): query has shape \(4, 2, 5\); it must be \(L, N, E\) or \(L, E\) with E = 6",
        ),
        (several_heads((4, 2, 6), (5, 2, 5)), ValueError, r"key has shape \(5, 2, 5\)"),
        (several_heads((6,)), ValueError, r"query has shape \(6,\)"),
        (
            several_heads((4, 2, 6), (5, 3, 6)),
            ValueError,
            r"shapes \(4, 2, 6\), \(5, 3, 6\) and .* must have the same batch",
        ),
        (several_heads((4, 2, 6), (5, 6)), ValueError, r"shapes \(4, 2, 6\), \(5, 6\) and .* must have the same batch"),
        (several_heads((4, 6), (5, 6), (3, 6)), ValueError, r"key and value the same length"),
        (
            several_heads((4, 2, 6), attn_mask=np.ones((4, 3), dtype=bool)),
            ValueError,
            r"MultiheadAttention\(6, 2\): attn_mask has shape \(4, 3\); it must be \(4, 4\) or \(4, 4, 4\)",
        ),
        (
            several_heads((4, 2, 6), key_padding_mask=np.ones((4, 2), dtype=bool)),
            ValueError,
            r"key_padding_mask has shape \(4, 2\); it must be \(2, 4\)",
        ),
        (several_heads((4, 2, 6), attn_mask=np.ones((4, 4), dtype=int)), TypeError, r"attn_mask has dtype int64"),
        (
            lambda: MultiheadAttention(6, 2)(*[mt.ones((4, 2, 6), dtype=int)] * 3),
            TypeError,
            r"MultiheadAttention\(6, 2\): query: input .*dtype int64",
        ),
        (lambda: TransformerEncoderLayer(4, 2, activation="tanh"), ValueError, r"'tanh', not 'relu', 'gelu' or a"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- pictures ---------------------------------------------------------------------------------------------


def test_a_picture_has_the_words_of_the_paper():
    layer = TransformerEncoderLayer(4, 2, 8, 0.0, norm_first=True, rng=0)
    graph = Graph.from_tensor(layer(draw(3, 2, 4), is_causal=True))
    scopes = {scope.name for scope in graph.scopes}
    assert {"self_attn", "scaled_dot_product_attention", "softmax", "linear1", "norm1", "norm2", "out_proj"} <= scopes
    assert {"Q", "K", "V", "Kᵀ", "scores", "mask", "weights"} <= {node.name for node in graph.nodes}
