"""Norms allow larger steps and poor initial weights: along its own gradient, the loss changes less than without them.

Bjorck, Gomes, Selman & Weinberger, *Understanding Batch Normalization*, 2018: the gain from batch norm comes from the
larger learning rate. Santurkar et al., *How Does Batch Normalization Help Optimization?*, 2018: batch norm makes the
loss smoother, so a gradient is still right some steps ahead.

Here nets of 784-100-100-100-100-100-10 ReLU units learn 4,000 digits in 300 batches of 100, at many learning rates and
from initial weights of many sizes. At small rates the nets with norms learn more slowly. The norms also do not make all
initial sizes equal: weights α times as large have a gradient 1/α times as large. So large weights hardly move, and
small weights move too fast for layer norm.

    python examples/02_learning_rates.py
    microtensor viz examples/02_learning_rates.py -o loss.svg -- --graph

Not shown: that batch norm makes the loss smoother at any depth. With 15 layers, at rate .03, the gradient changes as
fast with it as without (an effective β of 70 and 68).
"""

from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Array, Labelled, Split, batches, mnist
from experiment import AMBER, BLUE, GREY, Checks, accuracy, arguments, compare, plots, progress, save, spread

import microtensor as mt
from microtensor import nn

STEPS, BATCH, RATE = 300, 100, 0.1
EVERY, DISTANCES = 10, (0.5, 1, 2, 4)  # steps from one look ahead to the next, and how many steps it looks ahead
COLOURS = {"none": GREY, "BN": BLUE, "LN": AMBER}
RATES, GAINS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10), tuple(Fraction(4) ** n for n in range(-3, 4))
MEASURES = ("range of the loss", "change of the gradient", "effective β")
BY_RATE = {
    "none": ".891±.015 .920±.018 .931±.012 .893±.091 .100 .100 .100",
    "BN": ".832±.006 .912±.006 .939±.006 .948±.005 .948±.007 .943±.006 .19±.06",
    "LN": ".859±.015 .916±.006 .940±.004 .943±.005 .929±.012 .100 .100",
}
BY_GAIN = {
    "none": ".10 .10 .28±.07 .93 .10 .10 .10",
    "BN": ".937±.002 .951±.002 .954±.004 .939 .848±.013 .688±.010 .642±.015",
    "LN": ".10 .49±.22 .915±.05 .940 .869±.009 .722±.012 .676±.010",
}
AHEAD = {"none": "1.62±.44 2.46±.24 16.9±1.0", "BN": ".109±.003 1.00±.05 11.3±.4"}


def make_net(norm: str, gain: float = 1.0) -> nn.Sequential:
    """Five ReLU layers with He et al.'s weights times `gain`, and ten logits with weights N(0, 1/fan-in)."""
    layers: dict[str, nn.Module] = {}
    for i, (inputs, outputs) in enumerate(pairwise((784, *[100] * 5)), start=1):
        layers[f"fc{i}"] = nn.Linear(inputs, outputs)
        nn.init.normal_(layers[f"fc{i}"].weight, std=gain * (2 / inputs) ** 0.5)
        if norm == "BN":
            layers[f"bn{i}"] = nn.BatchNorm1d(outputs)
        if norm == "LN":
            layers[f"ln{i}"] = nn.LayerNorm(outputs)
        layers[f"relu{i}"] = nn.ReLU()
    layers["head"] = nn.Linear(100, 10)
    nn.init.kaiming_normal_(layers["head"].weight, nonlinearity="linear")
    for layer in layers.values():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    return nn.Sequential(layers)


def differentiate(net: nn.Sequential, batch: Labelled) -> tuple[float, dict[str, Array]]:
    """The loss of a batch and its gradient. The parameters have it in ``.grad`` afterwards."""
    loss = mt.cross_entropy(net(mt.tensor(batch.images)), mt.tensor(batch.labels))
    net.zero_grad()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    return float(loss), {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}


def length(gradient: dict[str, Array]) -> float:
    """The Euclidean norm over all parameters."""
    return float(np.sqrt(sum(np.vdot(g, g) for g in gradient.values())))


def look_ahead(net: nn.Sequential, batch: Labelled, lr: float) -> tuple[float, float, float, float]:
    """Go ½ to 4 steps along the gradient g of a batch, and come back.

    Returns the lowest and the highest loss, |g′ − g| one step ahead, and the largest of |g′ − g| / distance.
    """
    here = net.state_dict()
    _, gradient = differentiate(net, batch)
    losses, changes = [], {}
    for steps in DISTANCES:
        net.load_state_dict(here | {name: here[name] - steps * lr * g for name, g in gradient.items()})
        loss, there = differentiate(net, batch)
        losses.append(loss)
        changes[steps] = length({name: there[name] - g for name, g in gradient.items()})
    net.load_state_dict(here)
    beta = max(change / (steps * lr * length(gradient)) for steps, change in changes.items())
    return min(losses), max(losses), changes[1], beta


def learn(net: nn.Sequential, lr: float, seed: int, digits: Split, watch: bool) -> tuple[float, list[Any]]:
    """Train by plain gradient descent; return the final accuracy and, if asked for, the measurements on the way."""
    sgd = mt.optim.SGD(net.parameters(), lr=lr)
    rows = batches(len(digits.train.labels), BATCH, np.random.default_rng(seed))
    views = []
    for step in range(STEPS):
        chosen = next(rows)
        batch = Labelled(digits.train.images[chosen], digits.train.labels[chosen])
        if watch and step % EVERY == 0:
            views.append(look_ahead(net, batch, lr))
        loss, _ = differentiate(net, batch)
        if not np.isfinite(loss):
            break  # it does not come back
        sgd.step()
    return accuracy(net, *digits.test), views


Cells = dict[str, dict[Any, list[float]]]


def report(title: str, told: dict[str, str], rows: tuple[object, ...], found: Cells) -> None:
    """A table of the expected and the obtained results."""
    expected = {norm: dict(zip(rows, text.split(), strict=True)) for norm, text in told.items()}
    compare(title, expected, {norm: {row: spread(f) for row, f in cells.items()} for norm, cells in found.items()})


def draw(by_rate: Cells, by_gain: Cells, views: dict[str, Array], path: Path) -> None:
    """Accuracy against learning rate and against initial size, and the loss ahead while learning."""
    drawn = plots(1, 3, (13, 4.4))
    if drawn is None:
        return
    figure, ((rate, gain, ahead),) = drawn
    for axes, nets in (rate, by_rate), (gain, by_gain):
        for norm, cells in nets.items():
            x, seeds = [*map(float, cells)], np.array([*cells.values()]).T
            axes.fill_between(x, seeds.min(axis=0), seeds.max(axis=0), color=COLOURS[norm], alpha=0.2, lw=0)
            axes.plot(x, seeds.mean(axis=0), "o-", color=COLOURS[norm], label=norm, ms=5)
    rate.set(xscale="log", ylim=(0, 1), title="Test accuracy by learning rate", xlabel="learning rate")
    gain.set_xscale("log", base=2)
    gain.set(ylim=(0, 1), title="Test accuracy by initial weights", xlabel="size, times that of He et al.")
    for norm, seeds in views.items():
        low, high = seeds.mean(axis=0)[:, :2].T
        ahead.fill_between(np.arange(0, STEPS, EVERY), low, high, color=COLOURS[norm], alpha=0.5, lw=0, label=norm)
    ahead.set(yscale="log", title="Training loss ½ to 4 steps ahead", xlabel="step")
    for axes in rate, ahead:
        axes.legend(loc="lower left")
    caption = (
        "Batch norm learns at learning rates ten times those that the plain net can bear (left), and from weights of "
        "other sizes (centre, at rate 0.1).\nWhy: along its gradient the loss is much the same half a step and four "
        "steps ahead (right); without a norm it may be many times as large."
    )
    save(figure, caption, path)


def main() -> mt.Tensor | None:
    """Train nets at all learning rates and from all initial sizes; or make the loss of ten digits."""
    args = arguments(__doc__)
    mt.set_default_dtype("float32")
    digits = Split(*(Labelled(images.reshape(-1, 784), labels) for images, labels in mnist(standardized=True)))
    if args.graph:
        mt.manual_seed(0)
        x, t = mt.tensor(digits.train.images[::400], name="x"), mt.tensor(digits.train.labels[::400], name="t")
        return mt.cross_entropy(make_net("BN")(x), t)

    rates, gains = ((0.01, 0.1, 1), GAINS[1::2]) if args.quick else (RATES, GAINS)
    settings = dict.fromkeys([(rate, 1) for rate in rates] + [(RATE, gain) for gain in gains])
    found: Cells = {norm: {setting: [] for setting in settings} for norm in COLOURS}
    views: dict[str, list[Any]] = {norm: [] for norm in AHEAD}
    for norm, (rate, gain), seed in progress([*product(COLOURS, settings, range(args.seeds))], "nets"):
        mt.manual_seed(seed)
        watch = norm in AHEAD and (rate, gain) == (RATE, 1)
        reached, seen = learn(make_net(norm, gain), rate, seed, digits, watch)
        found[norm][rate, gain].append(reached)
        if watch:
            views[norm].append(seen)

    by_rate = {norm: {rate: cells[rate, 1] for rate in rates} for norm, cells in found.items()}
    by_gain = {norm: {gain: cells[RATE, gain] for gain in gains} for norm, cells in found.items()}
    report("accuracy at learning rate", BY_RATE, RATES, by_rate)
    report(f"at {RATE}, initial size", BY_GAIN, GAINS, by_gain)
    ahead = {norm: np.array(seen) for norm, seen in views.items()}  # (seeds, looks, what look_ahead returns)
    measures: Cells = {}
    for norm, (lowest, *others) in ((norm, a.mean(axis=1).T) for norm, a in ahead.items()):
        measures[norm] = dict(zip(MEASURES, (others[0] - lowest, *others[1:]), strict=True))
    report(f"along the gradient, {RATE}", AHEAD, MEASURES, measures)

    checks = Checks()
    bold = 1 if args.quick else 3  # one seed may fall just short of .9 at 3
    good = {norm: [rate for rate, f in cells.items() if np.mean(f) >= 0.9] for norm, cells in by_rate.items()}
    checks.check("the plain net reads .9 at no learning rate above .3", max(good["none"], default=0) <= 0.3)
    checks.check(f"with BN it does so at {bold}", max(good["BN"], default=0) >= bold)
    plain, bn = (np.mean(rows[MEASURES[0]]) for rows in measures.values())
    checks.check("with BN the range of the loss is five times smaller", plain >= 5 * bn)
    checks.check("at .01 the plain net is ahead of BN", np.mean(by_rate["none"][0.01]) > np.mean(by_rate["BN"][0.01]))
    draw(by_rate, by_gain, ahead, args.output)
    checks.finish()
    return None


if __name__ == "__main__":
    loss = main()
