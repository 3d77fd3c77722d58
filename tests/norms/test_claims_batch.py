"""Batch norm, claim by claim: what is exactly true of it. The numbers are those of the tables in test_claims.py.

Every test sets plain NumPy beside the library. x is away from mean 0 and variance 1, g = ∂L/∂y is random (the sum of
x̂ has no gradient), d = ∂L/∂x; μ and v are the mean and the biased variance of a batch.
"""

from itertools import pairwise

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, norms

EPS = 1e-5
NO_EPS = np.finfo(float).tiny  # The smallest normal number: beside a variance it is rounded away, so ε = 0.


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


def gradient(function, x, g):
    leaf = mt.tensor(x, requires_grad=True)
    return mt.grad(function(leaf), leaf, g).numpy()


def batch_norm(x, eps=EPS, **affine):
    affine = {name: mt.tensor(value) for name, value in affine.items()}
    return norms.batch_norm(mt.tensor(x) if isinstance(x, np.ndarray) else x, training=True, eps=eps, **affine)


def same(f, g, *shape):
    """Two functions agree, in their values and in their gradients."""
    x, cotangent = draw(*shape), draw(*shape, seed=1)
    np.testing.assert_allclose(f(mt.tensor(x)).numpy(), g(mt.tensor(x)).numpy(), rtol=0, atol=2e-15)
    np.testing.assert_allclose(gradient(f, x, cotangent), gradient(g, x, cotangent), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.BatchNorm1d(3), nn.Linear(3, 3, rng=0), nn.ReLU()),
        (nn.Linear(3, 3, rng=0), nn.BatchNorm1d(3), nn.ReLU()),
        (nn.Linear(3, 3, rng=0), nn.ReLU(), nn.BatchNorm1d(3)),
    ],
    ids=["of the input", "before the activation", "after the activation"],
)
def test_batch_norm_stands_anywhere(layers):
    """Claims 1, 8, 9 and 27: it keeps the shape, so that the rest works on its output, and learns γ and β."""
    net, x = nn.Sequential(*layers), draw(8, 3)
    y = net(mt.tensor(x))
    y.backward(draw(8, 3, seed=1))
    assert y.shape == x.shape
    (bn,) = (layer for layer in layers if isinstance(layer, nn.BatchNorm1d))
    assert all((parameter.grad.numpy() != 0).all() for parameter in (bn.weight, bn.bias))


@pytest.mark.parametrize("eps", [1.0, 1e-5, 1e-12])
def test_the_gradient_proposes_no_change_of_mean_and_hardly_one_of_scale(eps):
    """Claim 4: Σ d = 0 for every ε; ⟨d, x̂⟩ = γ/√(v+ε) · Σ g x̂ · ε/(v+ε), which is 0 only as ε → 0."""
    x, g, gamma = draw(8, 3), draw(8, 3, seed=1), np.array([0.5, 1.0, -2.0])
    d = gradient(lambda a: batch_norm(a, eps, weight=gamma), x, g)
    v = x.var(axis=0)
    x_hat = (x - x.mean(axis=0)) / np.sqrt(v + eps)
    along_x_hat = gamma / np.sqrt(v + eps) * (g * x_hat).sum(axis=0) * eps / (v + eps)
    np.testing.assert_allclose(d.sum(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose((d * x_hat).sum(axis=0), along_x_hat, rtol=1e-11, atol=1e-14)


def test_the_step_of_the_weights_moves_the_mean_all_the_same():
    """Claim 4: what proposes no shift is the gradient by the output of the layer below, not that by its weights."""
    x, w, g = draw(8, 5), draw(5, 3, seed=2), draw(8, 3, seed=1)
    step = x @ -gradient(lambda weight: batch_norm(mt.tensor(x) @ weight), w, g)
    shift = np.linalg.norm(step.mean(axis=0)) * np.sqrt(len(x))
    assert shift > 0.1 * np.linalg.norm(step)


def test_the_backward_pass_is_one_line():
    """Claim 5: d = γ/√(v+ε) · (g − mean g − x̂ mean(g x̂)) is what autograd finds, to 1e-12."""
    x, g, gamma = draw(8, 3), draw(8, 3, seed=1), np.array([0.5, 1.0, -2.0])
    root = np.sqrt(x.var(axis=0) + EPS)
    x_hat = (x - x.mean(axis=0)) / root
    by_hand = gamma / root * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
    np.testing.assert_allclose(gradient(lambda a: batch_norm(a, weight=gamma), x, g), by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eps", [1.0, 1e-5, NO_EPS])
def test_the_mean_is_0_and_the_variance_not_quite_1(eps):
    """Claim 7: mean x̂ = 0 to 1e-15, but var x̂ = v / (v + ε)."""
    x = draw(8, 3)
    x_hat = batch_norm(x, eps).numpy()
    np.testing.assert_allclose(x_hat.mean(axis=0), 0.0, atol=1e-15)
    np.testing.assert_allclose(x_hat.var(axis=0), x.var(axis=0) / (x.var(axis=0) + eps), rtol=1e-13)


@pytest.mark.parametrize("shape", [(8, 3), (2, 3, 4, 4)])
def test_gamma_and_beta_can_give_the_batch_back(shape):
    """Claim 10: with γ = √(v+ε) and β = μ, BN(x) = x, to 4e-15 of the largest value."""
    x = draw(*shape)
    axes = (0, *range(2, x.ndim))
    y = batch_norm(x, weight=np.sqrt(x.var(axis=axes) + EPS), bias=x.mean(axis=axes)).numpy()
    np.testing.assert_allclose(y, x, rtol=0, atol=4e-15 * np.abs(x).max())


@pytest.mark.parametrize("eps", [1.0, 1e-5])
def test_beta_alone_is_the_mean_and_gamma_alone_the_scale(eps):
    """Claim 11: mean y = β, and std y = |γ| √(v / (v + ε))."""
    x, gamma, beta = draw(8, 3), np.array([0.5, 1.0, -2.0]), np.array([3.0, 0.0, -1.0])
    y, v = batch_norm(x, eps, weight=gamma, bias=beta).numpy(), x.var(axis=0)
    np.testing.assert_allclose(y.mean(axis=0), beta, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(y.std(axis=0), np.abs(gamma) * np.sqrt(v / (v + eps)), rtol=1e-13)


def test_giving_the_batch_back_is_not_doing_nothing():
    """Claim 12: with the γ and β of claim 10 the values are those of the identity; the gradient is not."""
    x, g = draw(8, 3), draw(8, 3, seed=1)
    d = gradient(lambda a: batch_norm(a, weight=np.sqrt(x.var(axis=0) + EPS), bias=x.mean(axis=0)), x, g)
    x_hat = batch_norm(x, NO_EPS).numpy()
    lost = g.mean(axis=0) + x_hat * (g * x_hat).mean(axis=0)
    np.testing.assert_allclose(d, g - lost, rtol=1e-5, atol=1e-5)
    assert np.linalg.norm(lost) > 0.3 * np.linalg.norm(g)


def test_only_mean_and_variance_are_fixed():
    """Claim 13: correlations between units, skewness and kurtosis stay as they were, as ε → 0."""
    x = np.exp(draw(50, 3) / 2) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    y = batch_norm(x, NO_EPS).numpy()
    np.testing.assert_allclose(np.corrcoef(y.T), np.corrcoef(x.T), rtol=1e-12)
    for power in (3, 4):
        moment = [(((a - a.mean(axis=0)) / a.std(axis=0)) ** power).mean(axis=0) for a in (x, y)]
        np.testing.assert_allclose(moment[1], moment[0], rtol=1e-12)


def test_of_a_batch_of_one_nothing_is_left():
    """Claim 14: with N = 1 x̂ = 0 and d = 0 exactly. The layer refuses that; the line that all norms share shows it."""
    x, g = draw(1, 3), draw(1, 3, seed=1)
    np.testing.assert_array_equal(mt.standardize(mt.tensor(x), axis=0).numpy(), 0.0)
    np.testing.assert_array_equal(gradient(lambda a: mt.standardize(a, axis=0), x, g), 0.0)
    with pytest.raises(ValueError, match="1 value per channel"):
        batch_norm(x)


@pytest.mark.parametrize(
    ("count", "share", "spread"),
    [
        (1, 0.0, 0.0),
        (2, np.sqrt(np.pi * EPS) / 4, 0.0003),
        (3, 1 / 3, 0.01),
        (4, 1 / 2, 0.01),
        (8, 3 / 4, 0.01),
        (32, 15 / 16, 0.01),
    ],
)
def test_of_a_batch_of_two_hardly_more_is_left(count, share, spread):
    """Claim 14: of N samples E‖σd‖²/E‖g‖² = max(N − 2, 0)/N is left as ε → 0, measured on 20 000 normal channels.

    The two directions that are lost are 1 and x̂. With N = 2, x̂ = ±1, and ε leaves √(πε)/4 = 0.0014, all of it in rare
    near-ties, v ≈ ε.
    """
    x, g = np.random.default_rng(0).normal(size=(2, count, 20_000))
    d = gradient(lambda a: mt.standardize(a, axis=0), x, g)
    left = ((x.var(axis=0) + EPS) * d**2).sum() / (g**2).sum()
    assert left == pytest.approx(share, abs=spread)


def test_of_a_batch_of_two_only_the_order_is_seen():
    """Claim 14: x̂ = ±1 with N = 2, whatever comes in."""
    x_hat = batch_norm(draw(2, 5), NO_EPS).numpy()
    np.testing.assert_allclose(np.sort(x_hat, axis=0), [[-1.0] * 5, [1.0] * 5], rtol=1e-14)


def test_batch_norm_of_one_image_is_instance_norm():
    """Claim 15: one image is enough for a convolution; each channel has p · q values, and needs three."""
    same(batch_norm, lambda x: norms.instance_norm(x, eps=EPS), 1, 3, 4, 5)
    two = batch_norm(draw(1, 3, 1, 2), NO_EPS).numpy()
    np.testing.assert_allclose(np.abs(two), 1.0, rtol=1e-15)


def test_batch_norm_of_images_is_that_of_their_pixels():
    """Claim 16: a channel is normalised over m · p · q values, as if every pixel were a sample."""

    def of_pixels(x):
        pixels = batch_norm(x.permute_dims(0, 2, 3, 1).reshape(-1, 3))
        return pixels.reshape(2, 4, 5, 3).permute_dims(0, 3, 1, 2)

    same(batch_norm, of_pixels, 2, 3, 4, 5)


def test_all_positions_are_alike():
    """Claim 16: batch norm commutes with any exchange of positions, so the same μ, σ, γ and β hold at all of them."""
    x, gamma, beta = draw(2, 3, 20), draw(3, seed=1), draw(3, seed=2)
    order = np.random.default_rng(0).permutation(20)
    exchanged = batch_norm(x[..., order], weight=gamma, bias=beta).numpy()
    np.testing.assert_allclose(exchanged, batch_norm(x, weight=gamma, bias=beta).numpy()[..., order], rtol=1e-13)


# Where ε may stand, and what becomes of a constant column there: its value, its gradient.
PLACES = {
    "(x − μ) / √Var(x + ε)": (lambda a, mu: (a - mu) / mt.std(a + EPS, axis=0), np.nan, np.nan),
    "(x − μ) / (√Var(x) + ε)": (lambda a, mu: (a - mu) / (mt.std(a, axis=0) + EPS), 0.0, np.nan),
    "(x − μ) / √(Var(x) + ε)": (lambda a, mu: (a - mu) / mt.sqrt(mt.var(a, axis=0) + EPS), 0.0, 0.0),
}


@pytest.mark.parametrize("place", PLACES)
def test_epsilon_stands_beside_the_variance_under_the_root(place):
    """Claims 19 and 20: Var(x + ε) = Var(x), so a constant column is 0/0; beside the root, √ has slope ∞ at 0."""
    rule, value, slope = PLACES[place]

    def normalize(a):
        return rule(a, mt.mean(a, axis=0))

    x = np.full((4, 1), 2.5)
    np.testing.assert_array_equal(normalize(mt.tensor(x)).numpy(), np.full((4, 1), value))
    d = gradient(normalize, x, np.array([[1.0], [-1.0], [2.0], [-2.0]]))
    assert np.isnan(d).all() if np.isnan(slope) else np.isfinite(d).all()


def test_epsilon_bounds_the_gain():
    """Claim 21: nothing is amplified more than γ/√ε = 316 γ times, which is what a constant column has."""
    gamma = np.array([3.0])
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    gains = []
    for scale in (0.0, 1e-3, 1e-2, 1.0):
        slopes = mt.jacobian(lambda a: batch_norm(a, weight=gamma), mt.tensor(2.5 + scale * x, requires_grad=True))
        gains.append(np.linalg.norm(slopes.numpy().reshape(5, 5), ord=2))
    assert gains[0] == pytest.approx(3 / np.sqrt(EPS), rel=1e-12)
    assert 3 / np.sqrt(EPS) == pytest.approx(3 * 316, rel=1e-3)
    assert sorted(gains, reverse=True) == gains
    np.testing.assert_array_equal(batch_norm(np.full((5, 1), 2.5), weight=gamma, bias=gamma).numpy(), gamma[0])


@pytest.mark.parametrize("count", [4, 16, 64])
def test_the_noise_of_a_batch_is_that_of_sampling(count):
    """Claim 22: sd(μ) = σ/√N, sd(v) = σ²√(2(N−1))/N ≈ σ²√(2/N), mean(v) = (N−1)/N σ²; 20 000 batches, to 2 %."""
    sigma = 3.0
    x = mt.tensor(np.random.default_rng(0).normal(1.0, sigma, size=(count, 20_000)))
    mu, v = mt.mean(x, axis=0).numpy(), mt.var(x, axis=0).numpy()
    assert mu.std() == pytest.approx(sigma / np.sqrt(count), rel=0.02)
    assert v.std() == pytest.approx(sigma**2 * np.sqrt(2 * (count - 1)) / count, rel=0.02)
    assert v.mean() == pytest.approx(sigma**2 * (count - 1) / count, rel=0.02)


def test_momentum_is_the_weight_of_the_new_batch():
    """Claim 25: after t steps the initial value has the weight (1 − m)ᵗ, exactly as in PyTorch."""
    bn = nn.BatchNorm1d(1, momentum=0.1)
    bn.running_mean.data = [1.0]
    for _ in range(7):
        bn(mt.tensor([[-1.0], [1.0]]))
    assert bn.running_mean.item() == pytest.approx(0.9**7, rel=1e-14)


def test_a_bias_below_has_no_effect_and_no_gradient():
    """Claim 26: in φ(BN(Wx + b)) the b is taken out with the mean; its gradient is 0, to 1e-15."""
    x, w, g = draw(8, 5), draw(5, 3, seed=2), draw(8, 3, seed=1)

    def layer(b):
        return mt.tanh(batch_norm(mt.tensor(x @ w) + b))

    np.testing.assert_allclose(layer(mt.tensor([1.0, -20.0, 5.0])).numpy(), layer(mt.zeros(3)).numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradient(layer, draw(3), g), 0.0, atol=1e-15)


@pytest.mark.parametrize(("width", "useful"), [(1, False), (4, True)])
def test_lower_layers_are_of_use_from_two_units_on(width, useful):
    """Claim 31: with one unit a layer, BN(wh) = ±BN(h) and all lower gradients are 0, to 1e-14; with several not."""
    sizes = [width, width, width, 1]
    weights = [mt.tensor(draw(n, m, seed=n + m), requires_grad=True) for n, m in pairwise(sizes)]
    h = mt.tensor(draw(8, width))
    for w in weights:
        h = mt.tanh(batch_norm(h @ w, NO_EPS))
    slopes = [np.abs(d.numpy()).max() for d in mt.grad(h, weights, draw(8, 1, seed=1))]
    assert min(slopes) > 1e-3 if useful else max(slopes) < 1e-14
