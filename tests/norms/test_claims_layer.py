"""Layer norm and the others, claim by claim: depth, sequences, axes. The numbers are those in test_claims.py."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, norms
from tests.norms.test_claims_batch import EPS, NO_EPS, batch_norm, draw, gradient, same


def layer_norm(x, last=1, eps=EPS, **affine):
    affine = {name: mt.tensor(value) for name, value in affine.items()}
    x = mt.tensor(x) if isinstance(x, np.ndarray) else x
    return norms.layer_norm(x, x.shape[-last:], eps=eps, **affine)


def unchanged(x):
    return x


# Norm, activation, gain of the weights; by how much |∂L/∂h| grows from a layer to the one below, and within what.
GROWTH = {
    "no norm, ReLU": (unchanged, mt.relu, np.sqrt(2), 1.0, 0.02),
    "batch norm, ReLU": (batch_norm, mt.relu, np.sqrt(2), 1.2112, 0.01),
    "batch norm, ReLU, small weights": (batch_norm, mt.relu, 0.5, 1.2112, 0.01),
    "layer norm, ReLU": (layer_norm, mt.relu, np.sqrt(2), 0.998, 0.04),
    "no norm, sigmoid": (unchanged, mt.sigmoid, 1.0, 0.2365, 0.01),
    "batch norm, sigmoid": (batch_norm, mt.sigmoid, 1.0, 1.032, 0.01),
    "layer norm, sigmoid": (layer_norm, mt.sigmoid, 1.0, 0.392, 0.02),
}


@pytest.mark.parametrize("name", GROWTH)
def test_gradients_with_depth(name):
    """Claim 42: batch norm before ReLUs makes gradients explode, √(π/(π − 1)) = 1.2112 a layer whatever the weights.

    It cures the vanishing of sigmoids; layer norm does not. 50 layers of 100 units, batch 128, the 40 in the middle.
    """
    norm, activation, gain, growth, spread = GROWTH[name]
    rng = np.random.default_rng(0)
    hidden = [mt.tensor(rng.normal(size=(128, 100)), requires_grad=True)]
    for _ in range(50):
        hidden.append(activation(norm(hidden[-1] @ rng.normal(0.0, gain / 10, size=(100, 100)))))
    lower, upper = mt.grad(hidden[-1], [hidden[5], hidden[45]], rng.normal(size=(128, 100)))
    factor = (np.linalg.norm(lower.numpy()) / np.linalg.norm(upper.numpy())) ** (1 / 40)
    assert factor == pytest.approx(growth, abs=spread)
    assert np.sqrt(np.pi / (np.pi - 1)) == pytest.approx(1.2112, abs=1e-4)


def test_layer_norm_is_batch_norm_turned():
    """Claim 46: without γ and β, LN(X) = BN(Xᵀ)ᵀ."""
    same(layer_norm, lambda x: batch_norm(x.T).T, 4, 6)


@pytest.mark.parametrize(
    "norm",
    [layer_norm, lambda x: norms.group_norm(x, 2), lambda x: norms.rms_norm(x, x.shape[-1])],
    ids=["layer", "group", "rms"],
)
def test_a_sample_does_not_see_its_company(norm):
    """Claim 47: LN(X)[i] = LN(X[i : i + 1]) and ∂yᵢ/∂xₖ = 0 for i ≠ k; in batch norm it is not."""
    x, g = draw(3, 6), draw(6, seed=1)
    np.testing.assert_allclose(norm(mt.tensor(x))[1].numpy(), norm(mt.tensor(x[1:2]))[0].numpy(), rtol=1e-14)
    d = gradient(lambda a: norm(a)[1], x, g)
    assert np.abs(d[1]).max() > 0.01
    np.testing.assert_array_equal(d[[0, 2]], 0.0)
    assert np.abs(gradient(lambda a: batch_norm(a)[1], x, g)[[0, 2]]).max() > 0.01


def test_layer_norm_has_no_modes():
    """Claim 48: training and prediction are the same bit by bit, and there is nothing to remember."""
    layer, x = nn.LayerNorm(4), mt.tensor(draw(3, 4))
    trained = layer.train()(x).numpy()
    np.testing.assert_array_equal(layer.eval()(x).numpy(), trained)
    assert list(layer.named_buffers()) == []


@pytest.mark.parametrize(("scale", "sign"), [(0.1, 1.0), (7.0, 1.0), (-1.0, -1.0), (-7.0, -1.0)])
def test_layer_norm_forgets_the_scale_but_not_the_sign(scale, sign):
    """Claim 49: LN(αx) = LN(x) for α > 0, −LN(x) for α < 0, and only up to ε."""
    x = draw(3, 50)
    np.testing.assert_allclose(
        layer_norm(scale * x, eps=NO_EPS).numpy(), sign * layer_norm(x, eps=NO_EPS).numpy(), rtol=1e-12
    )
    apart = np.abs(layer_norm(scale * x).numpy() - sign * layer_norm(x).numpy()).max()
    assert apart < 1e-3
    assert (apart > 1e-8) == (abs(scale) != 1)


def test_the_length_of_a_normalised_vector():
    """Claim 49: ‖LN(x)‖² = n v / (v + ε), so that n bounds it whatever comes in."""
    x = draw(6, 50) * 10.0 ** np.arange(-4, 2)[:, None]
    v = x.var(axis=1)
    np.testing.assert_allclose((layer_norm(x).numpy() ** 2).sum(axis=1), 50 * v / (v + EPS), rtol=1e-12)


def test_over_time_batch_norm_knows_the_future():
    """Claim 51: with statistics over (batch, time) ∂yₜ/∂xₛ = −(1 + x̂ₜ x̂ₛ)/(nσ) for s > t; layer norm has 0.

    Two sequences of four steps, n = 8, with values of variance 1: 0.19 on average (root mean square), to 0.02.
    """
    later, leaks = np.triu_indices(4, 1), []
    for x in np.random.default_rng(0).normal(size=(100, 2, 1, 4)):
        slopes = mt.jacobian(batch_norm, mt.tensor(x, requires_grad=True)).numpy()[0, 0, :, 0, 0, :]
        x_hat = batch_norm(x).numpy()[0, 0]
        leak = -(1 + np.outer(x_hat, x_hat)) / (8 * np.sqrt(x.var() + EPS))
        np.testing.assert_allclose(slopes[later], leak[later], rtol=1e-9, atol=1e-12)
        leaks.append(slopes[later])
    assert np.sqrt(np.square(leaks).mean()) == pytest.approx(0.19, abs=0.02)
    of_steps = mt.jacobian(layer_norm, mt.tensor(draw(4, 3), requires_grad=True)).numpy()
    assert all((of_steps[t, :, t + 1 :] == 0).all() for t in range(4))


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
def test_layer_norm_keeps_the_length_of_a_hidden_state(gain):
    """Claim 53: a ReLU network of 64 units over 100 steps: ‖h‖ ends at √(64/2) = 5.66, to 10 %, whatever the weights.

    Without a norm gain 1.5 gives 1e19. Gradients through the steps vanish with it all the same.
    """
    rng = np.random.default_rng(0)
    w, u = rng.normal(0.0, gain * np.sqrt(2 / 64), (64, 64)), rng.normal(0.0, np.sqrt(1 / 10), (10, 64))
    start = mt.tensor(rng.normal(size=(1, 64)), requires_grad=True)
    normed = plain = start
    for x in rng.normal(size=(100, 1, 10)) @ u:
        normed, plain = mt.relu(layer_norm(normed @ w + x)), mt.relu(plain @ w + x)
    assert np.linalg.norm(normed.numpy()) == pytest.approx(np.sqrt(32), rel=0.1)
    assert (np.linalg.norm(plain.numpy()) > 1e15) == (gain == 1.5)
    assert np.linalg.norm(mt.grad(normed, start, rng.normal(size=(1, 64))).numpy()) < 1e-6


def test_the_distribution_is_the_same_at_every_layer():
    """Claim 56: each row has mean 0 and variance v / (v + ε) behind every layer norm, however deep."""
    h = draw(4, 20)
    for depth in range(5):
        z = h @ (draw(20, 20, seed=depth) * 10.0 ** (depth - 3))
        y, v = layer_norm(z).numpy(), z.var(axis=1)
        np.testing.assert_allclose(y.mean(axis=1), 0.0, atol=1e-15)
        np.testing.assert_allclose(y.var(axis=1), v / (v + EPS), rtol=1e-12)
        h = np.tanh(y)


def test_group_norm_lies_between_layer_norm_and_instance_norm():
    """Claim 59: one group is layer norm over (C, H, W), C groups are instance norm, to 2e-15."""
    same(lambda x: norms.group_norm(x, 1, eps=EPS), lambda x: layer_norm(x, 3), 2, 4, 3, 2)
    same(lambda x: norms.group_norm(x, 4, eps=EPS), lambda x: norms.instance_norm(x, eps=EPS), 2, 4, 3, 2)


def test_the_direction_of_weight_norm_never_gets_shorter():
    """Claim 60: ⟨v, ∂L/∂v⟩ = 0 in w = g v/‖v‖, so each step of gradient descent makes ‖v‖² larger by its own square."""
    v, lengths = draw(3, 8), mt.tensor(draw(3, 1, seed=1))
    for step in range(5):
        d = gradient(lambda a: norms.weight_norm(a, lengths), v, draw(3, 8, seed=step))
        np.testing.assert_allclose((v * d).sum(axis=1), 0.0, atol=1e-14)
        longer = v - 0.5 * d
        np.testing.assert_allclose((longer**2).sum(axis=1), (v**2).sum(axis=1) + 0.25 * (d**2).sum(axis=1), rtol=1e-14)
        v = longer


# --- further invariants ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("features", "values"), [(1, [0.0]), (2, [-1.0, 1.0])])
def test_layer_norm_of_one_feature_is_beta_and_of_two_plus_and_minus_gamma(features, values):
    """One feature gives β, two give ±γ + β; either way the input learns nothing."""
    x, g, gamma, beta = draw(5, features), draw(5, features, seed=1), draw(features, seed=2), draw(features, seed=3)
    y = layer_norm(x, eps=NO_EPS, weight=gamma, bias=beta).numpy()
    np.testing.assert_allclose(np.sort((y - beta) / gamma, axis=1), np.broadcast_to(values, x.shape), atol=1e-14)
    np.testing.assert_allclose(gradient(lambda a: layer_norm(a, eps=NO_EPS), x, g), 0.0, atol=1e-14)


def test_the_path_through_the_mean_inside_the_variance_carries_nothing():
    """Σ (x − μ) = 0, so that stopping the gradient of the μ inside v, and of that alone, changes nothing."""

    def cut(x):
        mu = mt.mean(x, axis=0)
        v = mt.mean(mt.square(x - mt.stop_gradient(mu)), axis=0)
        return (x - mu) / mt.sqrt(v + EPS)

    x, g = draw(8, 3), draw(8, 3, seed=1)
    np.testing.assert_allclose(gradient(cut, x, g), gradient(batch_norm, x, g), rtol=0, atol=1e-15)


def test_batch_norm_folds_into_the_layer_below():
    """In prediction BN(Wx + b) is one affine map: the weights γW/√(r + ε), the bias β + γ(b − m)/√(r + ε)."""
    below, bn, x = nn.Linear(5, 3, rng=0), nn.BatchNorm1d(3), draw(8, 5)
    bn.weight.data, bn.bias.data = draw(3, seed=1), draw(3, seed=2)
    net = nn.Sequential(below, bn)
    for seed in range(5):
        net(mt.tensor(draw(8, 5, seed=seed)))
    gain = bn.weight.numpy() / np.sqrt(bn.running_var.numpy() + bn.eps)
    folded = nn.Linear(5, 3)
    folded.weight.data = gain[:, None] * below.weight.numpy()
    folded.bias.data = bn.bias.numpy() + gain * (below.bias.numpy() - bn.running_mean.numpy())
    np.testing.assert_allclose(folded(mt.tensor(x)).numpy(), net.eval()(mt.tensor(x)).numpy(), rtol=0, atol=3e-15)


@pytest.mark.parametrize("seed", range(5))
def test_in_one_pass_the_variance_of_a_large_mean_is_noise(seed):
    """In float32 at mean 10⁴ squares lie 8 apart: E[x²] − E[x]² is a multiple of 8, two passes are right to 1e-6."""
    x = (np.random.default_rng(seed).normal(size=1000) + 1e4).astype(np.float32)
    a = mt.tensor(x)
    one_pass = (mt.mean(mt.square(a)) - mt.square(mt.mean(a))).item()
    assert np.spacing(np.float32(1e8)) == 8
    assert one_pass % 8 == 0
    assert mt.var(a).item() == pytest.approx(x.astype(float).var(), rel=1e-6)
