"""In front of a norm, the scale of W acts only as a learning rate: αW with α² lr trains exactly as W with lr.

BN(αWx) = BN(Wx), so the gradient at αW is 1/α of the gradient at W and is orthogonal to W. So steps only lengthen W,
and only lr/‖W‖² matters. Weight decay then does not restrict the function. It sets ‖W‖, and so the speed
(van Laarhoven, *L2 Regularization versus Batch and Weight Normalization*, 2017). Table 1 of Ba, Kiros & Hinton, *Layer
Normalization*, 2016, lists the other changes that a norm does not see. The results here agree with it.

    python examples/05_scale_invariance.py
    microtensor viz examples/05_scale_invariance.py -o loss.svg -- --graph
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Array, batches, mnist
from experiment import AMBER, BLUE, GREEN, GREY, RED, Checks, arguments, plots, progress, save, spread, table

import microtensor as mt
from microtensor import nn, norms

NO_EPS = float(np.finfo(float).tiny)  # Added to a variance, the smallest normal number leaves no trace: ε = 0.
CHANGES = ("matrix scaled", "matrix centred", "vectors scaled", "data scaled", "data centred", "one case scaled")
TABLE_1 = {"batch norm": "Y N Y Y Y N", "weight norm": "Y N Y N N N", "layer norm": "Y Y N Y N Y"}

DIGITS = mnist(standardized=True, dtype="float64").train
X, LABELS = DIGITS.images.reshape(-1, 784), DIGITS.labels


def network(alpha: float, eps: float, seed: int) -> nn.Sequential:
    """784-100-100-10 with tanh behind batch norm; the weights in front of a norm are α times as large."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        *(nn.Linear(784, 100, bias=False), nn.BatchNorm1d(100, eps), nn.Tanh()),
        *(nn.Linear(100, 100, bias=False), nn.BatchNorm1d(100, eps), nn.Tanh()),
        nn.Linear(100, 10),
    )
    for layer, scale in ((net[0], alpha), (net[3], alpha), (net[6], 1.0)):
        nn.init.normal_(layer.weight, std=scale / np.sqrt(layer.in_features), rng=rng)
    nn.init.zeros_(net[6].bias)
    return net


def batch_loss(net: nn.Sequential, rows: Any) -> mt.Tensor:
    """The cross entropy of some of the digits."""
    return mt.cross_entropy(net(mt.tensor(X[rows], name="x")), mt.tensor(LABELS[rows], name="t"))


def train(
    steps: int, lr: float, alpha: float = 1, *, faster: float = 1, decay: float = 0, eps: float = NO_EPS, seed: int = 0
) -> Array:
    """Gradient descent with lr; in front of a norm with `faster` times lr and with decay.

    For every step: the loss, ‖W‖² of the second layer, ‖∂W‖² of its gradient, and the cosine of W and ∂W.
    """
    net, seen = network(alpha, eps, seed), []
    normed, others = [net[0], net[3]], [net[1], net[4], net[6]]
    optimizer = mt.optim.SGD(
        [
            {"params": [layer.weight for layer in normed], "lr": lr * faster, "weight_decay": decay},
            {"params": [parameter for layer in others for parameter in layer.parameters()], "lr": lr},
        ]
    )
    order = batches(len(X), 100, np.random.default_rng(seed))
    for _, rows in zip(progress(range(steps), f"α={alpha:g}"), order, strict=False):
        loss = batch_loss(net, rows)
        optimizer.zero_grad()
        loss.backward()
        w, g = net[3].weight.numpy(), net[3].weight.grad.numpy()
        ww, gg = np.vdot(w, w), np.vdot(g, g)
        seen.append((loss.item(), ww, gg, np.vdot(w, g) / np.sqrt(ww * gg)))
        optimizer.step()
    return np.array(seen).T


def scale_as_rate(steps: int, checks: Checks) -> Array:
    """Compare (αW, α² lr) with (W, lr); return the loss of α = 100, to draw it over the loss of W."""
    alphas = (0.01, 0.1, 10.0, 100.0)
    loss, length, gradient, cosine = train(steps, 0.1)
    scaled = {eps: [train(steps, 0.1, a, faster=a * a, eps=eps)[0] for a in alphas] for eps in (NO_EPS, 1e-5)}
    apart = {eps: [np.abs(other - loss).max() for other in losses] for eps, losses in scaled.items()}
    rows = {
        "ε = 0    expected": ["≤4e-16"] * 4,
        "ε = 0    obtained": [f"{a:.0e}" for a in apart[NO_EPS]],
        "ε = 1e-5 expected": ["4e-02", "4e-04", "4e-08", "4e-10"],
        "ε = 1e-5 obtained": [f"{a:.0e}" for a in apart[1e-5]],
    }
    table("loss of (αW, α² lr) with ε − loss of (W, lr) without", [f"α = {a:g}" for a in alphas], rows)
    by_steps = length[0] + 0.1**2 * np.cumsum(gradient)[:-1]
    turned, strayed = np.abs(cosine).max(), np.abs(length[1:] / by_steps - 1).max()
    print(f"|cos(W, ∂W)| ≤ {turned:.0e}; ‖W‖² is ‖W₀‖² + lr² Σ‖∂W‖² to {strayed:.0e} of it (expected: 1e-15 both)\n")
    checks.check("(αW, α² lr) trains as (W, lr) does, to 1e-10 at ε = 0", max(apart[NO_EPS]) <= 1e-10)
    checks.check("every step is at a right angle to W, to 1e-13", max(turned, strayed) <= 1e-13)
    last: Array = scaled[NO_EPS][-1]
    return last


def one_rate(seeds: int, checks: Checks) -> dict[float, Array]:
    """Compare the losses of several scales of W at the same learning rate; return those of seed 0."""
    expected = {0.1: ".098±.009", 1.0: ".125±.001", 3.0: ".278±.007", 10.0: ".493±.011"}
    losses = {a: np.array([train(300, 0.1, a, seed=seed)[0] for seed in range(seeds)]) for a in expected}
    late = {a: found[:, 280:].mean(axis=1) for a, found in losses.items()}
    rows = {"expected": list(expected.values()), "obtained": [spread(found) for found in late.values()]}
    table("\nloss, steps 281-300, lr 0.1", [f"α = {a:g}" for a in expected], rows)
    ordered = late[1.0].mean() < late[3.0].mean() < late[10.0].mean()
    checks.check("one lr is a smaller one for larger weights: the loss of α = 1 < 3 < 10", ordered)
    return {a: found[0] for a, found in losses.items()}


def decaying(quick: bool, checks: Checks) -> dict[float, list[Array]]:
    """‖W‖² under weight decay, from two starts."""
    expected = {0.0: "10.2 / 4.5", 0.01: "2.70 / 2.54", 0.03: "2.09 / 2.08"}
    decays = [0.03] if quick else list(expected)
    lengths = {decay: [train(800, 0.3, a, decay=decay)[1] for a in (1.0, 0.3)] for decay in decays}
    ends = {decay: np.sqrt([length[-1] for length in found]) for decay, found in lengths.items()}
    rows = {f"decay {d:g}": [expected[d], "{:.2f} / {:.2f}".format(*ends[d])] for d in decays}
    table("\n‖W‖ after 800 steps, from 10 / 3", ["expected", "obtained"], rows)
    checks.check("with decay 0.03 both end within 5 % of each other", abs(ends[0.03][0] / ends[0.03][1] - 1) <= 0.05)
    return lengths


def what_is_not_seen(checks: Checks) -> None:
    """Ba et al.'s table 1: how much the output changes if weights or data are scaled by 5 or shifted by 5."""
    layers: dict[str, Callable[[mt.Tensor, mt.Tensor], mt.Tensor]] = {
        "batch norm": lambda x, w: norms.batch_norm(x @ w, training=True, eps=NO_EPS),
        "weight norm": lambda x, w: x @ norms.weight_norm(w, mt.ones((1, 4)), dim=1),
        "layer norm": lambda x, w: norms.layer_norm(x @ w, 4, eps=NO_EPS),
    }
    x, w = mt.random.normal((6, 5), rng=0), mt.random.normal((5, 4), rng=1)
    # By 5: enough for every N to be above 1, and little enough for the rounding of a shift to stay below 1e-14.
    unit, case = mt.tensor([5.0, 1.0, 1.0, 1.0]), mt.tensor([[5.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
    changed = [(x, 5 * w), (x, w + 5), (x, w * unit), (5 * x, w), (x + 5, w), (case * x, w)]
    rows, verdicts = {}, {}
    for norm, layer in layers.items():
        moved = [mt.abs(layer(*pair) - layer(x, w)).max().item() for pair in changed]
        verdicts[norm] = " ".join("Y" if m <= 1e-14 else "N" if m >= 1 else "?" for m in moved)
        rows[f"{norm:11} expected"] = TABLE_1[norm].split()
        rows[f"{norm:11} obtained"] = [f"{m:.0e}" for m in moved]
    table("\nthe output stays (Y) or changes (N)", CHANGES, rows)
    checks.check("it is table 1 of Ba et al.; Y is at most 1e-14, N at least 1", verdicts == TABLE_1)


def draw(path: Path, hundred: Array, scaled: dict[float, Array], decayed: dict[float, list[Array]]) -> None:
    """Losses that are equal and losses that are not, table 1, and ‖W‖ and lr/‖W‖² under decay."""
    drawn = plots(2, 2, (11, 7.6))
    if drawn is None:
        return
    figure, ((losses, cells), (lengths, rates)) = drawn
    window = np.full(10, 0.1)
    for (alpha, found), colour in zip(scaled.items(), (GREEN, BLUE, AMBER, RED), strict=True):
        losses.plot(np.convolve(found, window, "valid"), color=colour, label=f"{alpha:g} W, lr")
    losses.plot(
        np.convolve(hundred, window, "valid"), "o", markevery=15, mfc="none", color=BLUE, label="100 W, 100² lr"
    )
    losses.set(title="The scale of W is a learning rate", xlabel="step", ylabel="training loss, mean of 10", ylim=0)
    losses.legend()
    for decay, pair in decayed.items():
        for length, start, style in zip(pair, (10, 3), ("-", "--"), strict=True):
            colour = {0.0: GREY, 0.01: AMBER, 0.03: BLUE}[decay]
            lengths.plot(np.sqrt(length), style, color=colour, label=f"λ = {decay:g}, from {start}")
            rates.plot(0.3 / length, style, color=colour)
    lengths.set(title="Weight decay λ sets ‖W‖, wherever it began …", xlabel="step", ylabel="‖W‖ of layer 2")
    lengths.set(ylim=(0, 14.5))
    lengths.legend(ncols=3, fontsize=9, handlelength=1.5)
    rates.set(title="… and with it the effective learning rate", xlabel="step", ylabel="lr / ‖W‖²", yscale="log")
    stays = np.array([text.split() for text in TABLE_1.values()]) == "Y"
    cells.imshow(np.where(stays[..., None], (227, 239, 255), (255, 224, 178)), aspect="auto")
    for (row, column), same in np.ndenumerate(stays):
        cells.text(column, row, "stays" if same else "changes", color=BLUE if same else AMBER, ha="center", va="center")
    cells.set_xticks(range(6), [change.replace(" ", "\n", 1) for change in CHANGES])
    cells.set_yticks(range(3), TABLE_1)
    cells.set(title="The output of a norm (Ba et al., table 1)")
    cells.grid(visible=False)
    save(figure, "Weights 10 times as large learn as if at 1/100 of the rate; decay sets ‖W‖ and so the rate.", path)


def main() -> mt.Tensor:
    """Scale as a rate, one rate for all scales, decay, and what a norm does not see."""
    args = arguments(__doc__, seeds=3)
    small = batch_loss(network(1.0, 1e-5, 0), slice(0, None, 250))
    if args.graph:
        return small
    checks = Checks()
    hundred = scale_as_rate(50 if args.quick else 200, checks)
    scaled = one_rate(args.seeds, checks)
    decayed = decaying(args.quick, checks)
    what_is_not_seen(checks)
    draw(args.output, hundred, scaled, decayed)
    checks.finish()
    return small


if __name__ == "__main__":
    loss = main()
