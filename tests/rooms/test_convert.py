"""States of Keras and flax: their names and axes against hand-made models, and what cannot be converted."""

import re

import numpy as np
import pytest

import microtensor as mt
from microtensor import convert, nn
from microtensor.nn.convolution import ConvTranspose2d

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.normal(size=shape)


DENSE, BIAS, GAMMA, BETA, MEAN, VAR = draw(3, 4), draw(4), draw(4), draw(4), draw(4), draw(4) ** 2
LAYERS = {"0": "net/dense", "1": "net/bn"}
BACK = {there: here for here, there in LAYERS.items()}
KERAS = {
    "net/dense/kernel": DENSE,
    "net/dense/bias": BIAS,
    "net/bn/gamma": GAMMA,
    "net/bn/beta": BETA,
    "net/bn/moving_mean": MEAN,
    "net/bn/moving_variance": VAR,
}
FLAX = {
    "params": {"net": {"dense": {"kernel": DENSE, "bias": BIAS}, "bn": {"scale": GAMMA, "bias": BETA}}},
    "batch_stats": {"net": {"bn": {"mean": MEAN, "var": VAR}}},
}
NNX = {
    "net": {
        "dense": {"kernel": DENSE, "bias": BIAS},
        "bn": {"scale": GAMMA, "bias": BETA, "mean": MEAN, "var": VAR},
    }
}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.array_equal(a, b)


@pytest.mark.parametrize(
    "state",
    [
        convert.from_keras(KERAS, BACK),
        convert.from_keras({f"{path}:0": value for path, value in KERAS.items()}, BACK),
        convert.from_flax(FLAX, BACK),
        convert.from_flax(NNX, BACK),
    ],
    ids=["keras 3", "keras 2", "linen", "nnx"],
)
def test_a_converted_model_computes_what_the_original_does(state):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-3, momentum=1 - 0.99)).eval()
    model.load_state_dict(state)
    x = draw(5, 3)
    expected = GAMMA * (x @ DENSE + BIAS - MEAN) / np.sqrt(VAR + 1e-3) + BETA
    np.testing.assert_allclose(model(mt.tensor(x)).numpy(), expected, rtol=1e-12)
    assert same(convert.to_keras(model.state_dict(), LAYERS), KERAS)
    assert same(convert.to_flax(model.state_dict(), LAYERS), FLAX)


def test_a_momentum_counted_on_the_old_value():
    bn = nn.BatchNorm1d(4, momentum=1 - 0.99)
    batch = draw(8, 4)
    bn(mt.tensor(batch))
    np.testing.assert_allclose(bn.running_mean.numpy(), 0.99 * 0 + 0.01 * batch.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("spatial", [(5,), (3, 2), (2, 3, 4)])
def test_kernels_of_convolutions(spatial):
    kernel = draw(*spatial, 6, 7)
    weight = convert.from_keras({"conv/kernel": kernel})["conv.weight"]
    assert weight.shape == (7, 6, *spatial)
    assert all(np.array_equal(weight[o, i], kernel[..., i, o]) for o in range(7) for i in range(6))
    assert same(convert.to_keras({"conv.weight": weight}), {"conv/kernel": kernel})


def test_a_convolution_with_channels_first_computes_what_one_with_channels_last_does():
    x, kernel = draw(2, 4, 5, 3), draw(2, 2, 3, 6)
    weight = convert.from_flax({"kernel": kernel})["weight"]
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
    last = np.einsum("nhwiab,abio->nhwo", windows, kernel)
    first = mt.conv2d(mt.tensor(np.moveaxis(x, -1, 1)), mt.tensor(weight))
    np.testing.assert_allclose(np.moveaxis(first.numpy(), 1, -1), last, rtol=1e-12, atol=1e-12)


def transposed(x, kernel, stride, turned):
    """A transposed convolution without padding, channels last, by its definition.

    flax (``lax.conv_transpose``) correlates the input, spread out and padded, with a kernel (…, in, out). Keras, and
    flax with `transpose_kernel`, scatter each input by a kernel (…, out, in): the adjoint of a convolution.
    """
    n, *sizes = x.shape[:-1]
    spatial = kernel.shape[:-2]
    if turned:
        spread = np.zeros(
            (n, *[(s - 1) * stride + 2 * k - 1 for s, k in zip(sizes, spatial, strict=True)], x.shape[-1])
        )
        inside = (slice(k - 1, k + (s - 1) * stride, stride) for s, k in zip(sizes, spatial, strict=True))
        spread[(slice(None), *inside)] = x
        windows = np.lib.stride_tricks.sliding_window_view(spread, spatial, axis=tuple(range(1, x.ndim - 1)))
        return np.tensordot(
            windows, kernel, ((x.ndim - 1, *range(x.ndim, windows.ndim)), (kernel.ndim - 2, *range(len(spatial))))
        )
    y = np.zeros((n, *[(s - 1) * stride + k for s, k in zip(sizes, spatial, strict=True)], kernel.shape[-2]))
    for place in np.ndindex(*sizes):
        window = tuple(slice(p * stride, p * stride + k) for p, k in zip(place, spatial, strict=True))
        y[(slice(None), *window)] += np.einsum("ni,...oi->n...o", x[(slice(None), *place)], kernel)
    return y


@pytest.mark.parametrize("channels", [(4, 4), (3, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolutions_compute_what_those_of_keras_and_flax_do(channels, stride):
    into, out = channels
    x, bias = draw(2, 4, 5, into), draw(out)
    layer = ConvTranspose2d(into, out, (3, 2), stride=stride)
    flax, keras = draw(3, 2, into, out), draw(3, 2, out, into)
    for state, expected in [
        (
            convert.from_flax({"params": {"ConvTranspose_0": {"kernel": flax, "bias": bias}}}, {"ConvTranspose_0": ""}),
            flax,
        ),
        (convert.from_flax({"up": {"kernel": flax, "bias": bias}}, {"up": ""}, transposed=["up"]), flax),
        (
            convert.from_keras(
                {"conv2d_transpose/kernel": keras, "conv2d_transpose/bias": bias}, {"conv2d_transpose": ""}
            ),
            keras,
        ),
    ]:
        layer.load_state_dict(state)
        y = np.moveaxis(layer(mt.tensor(np.moveaxis(x, -1, 1))).numpy(), 1, -1)
        np.testing.assert_allclose(y, transposed(x, expected, stride, expected is flax) + bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spatial", [(5,), (3, 2), (2, 3, 4)])
@pytest.mark.parametrize("channels", [(4, 4), (3, 5)])
def test_kernels_of_transposed_convolutions_there_and_back(spatial, channels):
    into, out = channels
    kernel = draw(*spatial, into, out)
    ours = convert.from_flax({"params": {"net": {"ConvTranspose_3": {"kernel": kernel}}}})
    weight = ours["net.ConvTranspose_3.weight"]
    assert weight.shape == (into, out, *spatial)
    for place in np.ndindex(*spatial):
        opposite = tuple(-1 - p for p in place)
        np.testing.assert_array_equal(weight[(slice(None), slice(None), *place)], kernel[opposite])
    assert same(convert.to_flax(ours), {"params": {"net": {"ConvTranspose_3": {"kernel": kernel}}}})
    assert same(
        convert.to_flax({"up.weight": weight}, {"up": "ConvTranspose_0"}),
        {"params": {"ConvTranspose_0": {"kernel": kernel}}},
    )
    assert same(convert.to_flax({"up.weight": weight}, transposed=["up"]), {"params": {"up": {"kernel": kernel}}})
    assert same(convert.from_flax({"up": {"kernel": kernel}}, transposed=["up"]), {"up.weight": weight})
    assert convert.from_flax({"Conv_0": {"kernel": kernel}})["Conv_0.weight"].shape == (out, into, *spatial)


@pytest.mark.parametrize(
    ("ours", "keras", "flax"),
    [
        ({"n.weight": GAMMA, "n.bias": BETA}, {"n/gamma": GAMMA, "n/beta": BETA}, {"scale": GAMMA, "bias": BETA}),
        ({"n.weight": DENSE, "n.bias": DENSE}, {"n/gamma": DENSE, "n/beta": DENSE}, {"scale": DENSE, "bias": DENSE}),
        ({"n.weight": GAMMA}, {"n/gamma": GAMMA}, {"scale": GAMMA}),
        ({"n.bias": BETA}, {"n/beta": BETA}, {"bias": BETA}),
        ({"n.weight": DENSE.T}, {"n/kernel": DENSE}, {"kernel": DENSE}),
    ],
    ids=["norm", "norm over two axes", "γ alone", "β alone", "linear without bias"],
)
def test_layers_there_and_back(ours, keras, flax):
    assert same(convert.to_keras(ours), keras)
    assert same(convert.from_keras(keras), ours)
    assert same(convert.to_flax(ours), {"params": {"n": flax}})
    assert same(convert.from_flax({"params": {"n": flax}}), ours)


def test_a_table_of_rows_stays_as_it_is():
    ours = {"words.weight": DENSE}
    assert same(convert.to_keras(ours, embeddings=["words"]), {"words/embeddings": DENSE})
    assert same(convert.to_flax(ours, embeddings=["words"]), {"params": {"words": {"embedding": DENSE}}})
    assert same(convert.from_keras({"words/embeddings": DENSE}), ours)
    assert same(convert.from_flax({"words": {"embedding": DENSE}}), ours)


def test_keras_calls_the_gamma_of_its_rms_norm_scale():
    assert same(convert.from_keras({"rms/scale": GAMMA}), {"rms.weight": GAMMA})


def test_names_of_layers_without_a_map():
    assert convert.from_keras({"a/b/kernel": DENSE}).keys() == {"a.b.weight"}
    assert convert.from_flax({"blocks": {0: {"kernel": DENSE}}}).keys() == {"blocks.0.weight"}
    assert convert.to_keras({"a.b.weight": GAMMA, "weight": GAMMA}).keys() == {"a/b/gamma", "gamma"}


def test_the_result_is_a_copy():
    given = np.ones((2, 2))
    convert.from_keras({"d/kernel": given})["d.weight"][...] = 5
    assert (given == 1).all()


@pytest.mark.parametrize(
    ("function", "given", "options", "said"),
    [
        (
            convert.from_keras,
            {"lstm/kernel": DENSE, "lstm/recurrent_kernel": DENSE, "seed/state": BIAS},
            {},
            "from_keras: nothing was converted: lstm/recurrent_kernel: no layer here has such a variable of shape "
            "(3, 4); seed/state: no layer here has such a variable of shape (4,)",
        ),
        (convert.from_keras, {"d/weight": DENSE}, {}, "d/weight: no layer here has such a variable"),
        (convert.from_keras, {"d/kernel": BIAS}, {}, "d/kernel: no layer here has such a variable of shape (4,)"),
        (convert.from_keras, {"d/kernel": DENSE, "d/gamma": BIAS}, {}, "d/gamma: d.weight is taken by another"),
        (convert.from_keras, KERAS, {"names": {"dens": "0"}}, "dens: there is no such layer"),
        (convert.from_flax, {**FLAX, "cache": {}, "losses": {}}, {}, "has the collections ['cache', 'losses']"),
        (convert.to_keras, {"rnn.weight_ih_l0": DENSE}, {}, "rnn.weight_ih_l0: it has no counterpart there"),
        (convert.to_flax, {"a.weight": DENSE}, {"embeddings": ["b"]}, "b: there is no such layer"),
        (convert.to_flax, {"a.weight": DENSE}, {"transposed": ["b"]}, "b: there is no such layer"),
        (convert.from_flax, {"a": {"kernel": DENSE}}, {"transposed": ["b"]}, "b: there is no such layer"),
        (convert.to_flax, {"a.weight": BIAS, "b.weight": BIAS}, {"names": {"a": "b"}}, "b/scale is taken by another"),
    ],
)
def test_what_cannot_be_converted_is_listed(function, given, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        function(given, **options)


def test_values_that_are_no_numbers():
    with pytest.raises(TypeError, match="from_flax: a/kernel has dtype object"):
        convert.from_flax({"a": {"kernel": object()}})
