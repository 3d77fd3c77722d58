"""Several ways keep units standardised. One works well: to differentiate through the mean and the deviation.

Ioffe & Szegedy, *Batch Normalization*, 2015, section 2, and Goodfellow, Bengio & Courville, *Deep Learning*, 2016,
section 8.7.1. If the gradient counts the statistics as constants, it always asks for shifts, and the norm removes them
again. So a bias grows for ever, and the loss stays the same. If mean and deviation are restored after every step, most
of the step is undone. A penalty on them works only if it is strong. The gradient through the statistics asks for
nothing along 1 and x − μ. The ledger of its paths shows how the paths through the statistics remove these parts.

    python examples/04_through_the_statistics.py
    microtensor paths examples/04_through_the_statistics.py --of z1 -- --graph
    microtensor viz examples/04_through_the_statistics.py -o loss.svg -- --graph

Not shown: that steps then do not change mean and deviation. ∂L/∂z does not, but a step of the weights moves all samples
at once, and a third of its effect on z is still such a shift. Also not shown: that the other ways fail. They learn more
slowly, and at this depth and rate a net without any of them learns nearly as fast.
"""

from typing import Any

import numpy as np
from datasets import Array, Labelled, Split, batches, mnist
from experiment import AMBER, BLUE, GREEN, GREY, RED, Checks, arguments, compare, plots, progress, save, spread

import microtensor as mt
from microtensor import nn

EPS, BATCH, STEPS, EVERY, RATE = 1e-5, 100, 600, 20, 0.1
PENALTIES = {"penalty .01": 0.01, "penalty .1": 0.1, "penalty 1": 1.0}
COLOURS = {"none": GREY, "BN": BLUE, "detached": RED, "renormalised": AMBER} | dict.fromkeys(PENALTIES, GREEN)
STYLES = dict(zip(PENALTIES, (":", "--", "-"), strict=True))
# The same in PyTorch, in the order of the ways above.
EXPECTED = {
    "loss at 100": (".264±.004", ".249±.004", ".293±.003", ".299±.008", ".266±.004", ".273±.005", ".327±.037"),
    "loss at 600": (".037±.001", ".031±.001", ".084±.002", ".084±.004", ".040±.001", ".047±.002", ".096±.014"),
    "test accuracy": (".936", ".926", ".929", ".924", ".931", ".920", ".911"),
    "|mean| of z1": (".64", "free", "3.34±.25", ".09", ".38±.03", ".09±.01", ".14±.02"),
    "deviation of z": ("1.27", "free", "1.46", "1.00", "1.13", "1.03", "1.00"),
    "shift and scale in Δz1": (".81", ".31", ".83", ".83", ".81", ".83", ".91"),
}


def toy(held: bool) -> tuple[list[float], list[float]]:
    """Learn b in x = u + b from a loss of x − mean(x) only: the bias and the loss at each of 100 steps."""
    u, b = mt.tensor(np.linspace(-1, 1, 5)), mt.tensor(0.0, requires_grad=True)
    sgd = mt.optim.SGD([b], lr=RATE)
    biases, losses = [float(b)], []
    for _ in range(100):
        x = u + b
        mean = mt.mean(x)
        loss = mt.mean((x - (mt.stop_gradient(mean) if held else mean) - 1) ** 2)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        biases.append(float(b))
        losses.append(float(loss))
    return biases, losses


class Layer(nn.Module):
    """h = tanh(γ ẑ + β), where ẑ is z = W x + b or the standardised z. z is kept for measurements."""

    def __init__(self, inputs: int, way: str, name: str) -> None:
        super().__init__()
        self.way, self.name, self.z = way, name, mt.zeros(0)
        self.fc = nn.Linear(inputs, 100)
        self.weight = nn.Parameter(mt.ones(100), name="γ")
        self.bias = nn.Parameter(mt.zeros(100), name="β")

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        """(N, inputs) to (N, 100)."""
        z = self.z = mt.label(self.fc(x), self.name)
        if self.way == "BN":
            z = mt.standardize(z, 0, EPS)
        elif self.way == "detached":
            mean, deviation = mt.mean(z, axis=0), mt.sqrt(mt.var(z, axis=0) + EPS)
            z = (z - mt.stop_gradient(mean)) / mt.stop_gradient(deviation)
        h: mt.Tensor = mt.tanh(z * self.weight + self.bias)
        return h


def make_net(way: str) -> nn.Sequential:
    """784-100-100-10, weights drawn from N(0, 1/fan-in)."""
    layers = Layer(784, way, "z1"), Layer(100, way, "z2"), nn.Linear(100, 10)
    net = nn.Sequential(dict(zip(("layer1", "layer2", "head"), layers, strict=True)))
    for linear in (net[0].fc, net[1].fc, net[2]):
        nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")
        nn.init.zeros_(linear.bias)
    return net


def batch_loss(net: nn.Sequential, way: str, digits: Labelled) -> mt.Tensor:
    """Cross entropy, plus the penalty λ · mean over units of mean² + (variance − 1)² if the net uses one."""
    loss = mt.cross_entropy(net(mt.tensor(digits.images, name="x")), mt.tensor(digits.labels, name="t"))
    if way in PENALTIES:
        for layer in net[:2]:
            off = mt.mean(layer.z, axis=0) ** 2 + (mt.var(layer.z, axis=0) - 1) ** 2
            loss = loss + PENALTIES[way] * mt.mean(off)
    return loss


@mt.no_grad()
def renormalise(net: nn.Sequential, images: Array) -> None:
    """Change W and b, layer by layer, so that z has mean 0 and deviation 1 over these images."""
    for layer in net[:2]:
        net(mt.tensor(images))
        deviation = mt.std(layer.z, axis=0)
        layer.fc.weight.data = layer.fc.weight / deviation[:, None]
        layer.fc.bias.data = (layer.fc.bias - mt.mean(layer.z, axis=0)) / deviation


def share(change: Array, z: Array) -> float:
    """The part of a change of z, squared, that shifts or scales the units: along 1 and along z − mean."""
    away = z - z.mean(axis=0)
    shift, scale = len(z) * change.mean(axis=0) ** 2, (change * away).sum(axis=0) ** 2 / (away**2).sum(axis=0)
    return float((shift + scale).sum() / (change**2).sum())


@mt.no_grad()
def look(net: nn.Sequential, seen: Labelled, test: Labelled) -> dict[str, float]:
    """The state of a net. As in training, BN uses the statistics of its input."""
    accuracy = np.mean(net(mt.tensor(test.images)).numpy().argmax(axis=1) == test.labels)
    loss = mt.cross_entropy(net(mt.tensor(seen.images)), seen.labels)
    return {
        "accuracy": float(accuracy),
        "loss": float(loss),
        "mean": float(mt.mean(mt.abs(mt.mean(net[0].z, axis=0)))),
        "deviation": float(mt.mean(mt.concat([mt.std(layer.z, axis=0) for layer in net[:2]]))),
        "bias": float(mt.max(mt.abs(net[0].fc.bias))),
    }


def learn(way: str, seed: int, digits: Split) -> dict[str, list[float]]:
    """Train by SGD. Every 20 steps: the state, and the share of gradient and step that shifts and scales z1."""
    mt.manual_seed(seed)
    net = make_net(way)
    sgd = mt.optim.SGD(net.parameters(), lr=RATE)
    order = batches(len(digits.train.labels), BATCH, np.random.default_rng(seed))
    seen = Labelled(digits.train.images[::4], digits.train.labels[::4])
    if way == "renormalised":
        renormalise(net, seen.images)
    states: list[dict[str, float]] = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            states.append(look(net, seen, digits.test))
        rows = next(order)
        batch = Labelled(digits.train.images[rows], digits.train.labels[rows])
        loss = batch_loss(net, way, batch)
        z = net[0].z
        z.retain_grad()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        if step % EVERY == 0:
            with mt.no_grad():
                net(mt.tensor(batch.images))
            states[-1]["asked"] = share(z.grad.numpy(), z.numpy())
            states[-1]["moved"] = share(net[0].z.numpy() - z.numpy(), z.numpy())
        if way == "renormalised":
            renormalise(net, batch.images)
    return {name: [state[name] for state in states] for name in states[0]}


def draw(toys: dict[str, Any], found: dict[str, dict[str, Array]], output: Any) -> None:
    """The toy, the losses, the drift of the first layer, and the share of the steps that shifts and scales."""
    drawn = plots(1, 4, (16, 4.2))
    if drawn is None:
        return
    figure, ((left, losses, means, right),) = drawn
    for name, (biases, _) in toys.items():
        left.plot(biases, color=COLOURS[name], label={"detached": "mean held constant", "BN": "differentiated"}[name])
    steps = np.arange(0, STEPS + 1, EVERY)
    for way, seen in found.items():
        style = {"color": COLOURS[way], "ls": STYLES.get(way, "-"), "lw": 1.5, "label": way}
        losses.semilogy(steps, seen["loss"].mean(axis=0), **style)
        if way != "BN":
            means.semilogy(steps, seen["mean"].mean(axis=0), **style)
    moved = {way: seen["moved"].mean() for way, seen in reversed(found.items())}
    bars = right.barh(list(moved), list(moved.values()), color=[COLOURS[way] for way in moved])
    right.bar_label(bars, fmt="%.2f", padding=3)
    left.set(title="Toy: b, though only u + b − mean counts", xlabel="step")
    losses.set(title="Training loss", xlabel="step")
    means.set(title="|Mean| of z in the first layer", xlabel="step", ylim=(0.03, 6))
    right.set(title="Shift and scale in a step's Δz", xlim=(0, 1), xlabel="part of ‖Δz‖²")
    right.grid(axis="y", visible=False)
    right.set_axisbelow(True)
    for axes in (left, losses):
        axes.legend()
    caption = (
        "With the mean held constant a bias grows for ever, and a net drifts; restored after every step, units stay "
        "and the net learns no faster. With the gradient through mean and deviation (blue), less of each step goes "
        "into shifts and scales, which the norm takes back, and the loss falls fastest."
    )
    save(figure, caption, output)


def main() -> mt.Tensor | None:
    """The toy, the ledger of a batch-normalised net, and training in each of the ways."""
    args = arguments(__doc__)
    digits = Split(*(Labelled(x.reshape(-1, 784), t) for x, t in mnist(standardized=True, dtype="float64")))
    mt.manual_seed(0)
    net = make_net("BN")
    loss = batch_loss(net, "BN", Labelled(digits.train.images[::100], digits.train.labels[::100]))
    if args.graph:
        return loss
    print(mt.paths(loss, net[0].z, norm="model.layer1"), end="\n\n")

    toys = {"detached": toy(held=True), "BN": toy(held=False)}
    runs: dict[str, list[Any]] = {way: [] for way in COLOURS}
    for seed, way in progress([(seed, way) for seed in range(args.seeds) for way in runs], "runs"):
        runs[way].append(learn(way, seed, digits))
    # (seeds, times) for each way and name
    found = {
        way: {name: np.array([run[name] for run in several]) for name in several[0]} for way, several in runs.items()
    }
    expected = {title: dict(zip(found, values, strict=True)) for title, values in EXPECTED.items()}

    def column(name: str, when: int = -1) -> dict[Any, str]:
        return {way: spread(seen[name][:, when]) for way, seen in found.items()}

    moved = {way: spread(seen["moved"].mean(axis=1)) for way, seen in found.items()}
    compare("way", expected, {"loss at 100": column("loss", 100 // EVERY), "loss at 600": column("loss")})
    compare("way", expected, {"test accuracy": column("accuracy"), "|mean| of z1": column("mean")})
    compare("way", expected, {"deviation of z": column("deviation"), "shift and scale in Δz1": moved})

    checks = Checks()
    (held, losses), (free, _) = toys.values()
    checks.check(f"toy, mean held constant: b = {held[-1]:.9f}", abs(held[-1] - 20) < 1e-9)
    checks.check(f"toy, mean held constant: the loss stays at {losses[-1]:.9f}", max(losses) - min(losses) < 1e-9)
    checks.check(f"toy, differentiated: b = {free[-1]:.0e}", abs(free[-1]) < 1e-12)
    last = {way: seen["loss"][:, -1].mean() for way, seen in found.items()}
    for way in ("detached", "renormalised"):
        ratio = last[way] / last["BN"]
        checks.check(f"{way}: {ratio:.1f} times the loss of BN, at least 2", ratio >= 2)
    left = found["penalty .01"]["deviation"][:, -1].mean()
    checks.check(f"penalty .01 leaves a deviation of {left:.2f}, at least 1.08", left >= 1.08)
    bias = found["BN"]["bias"].max()
    checks.check(f"BN: a bias in front of it stays 0 ({bias:.0e})", bias < 1e-9)
    asked = found["BN"]["asked"].max()
    checks.check(f"BN: ∂L/∂z asks for no shift or scale ({asked:.0e} of its square)", asked < 1e-9)
    draw(toys, found, args.output)
    checks.finish()
    return None


if __name__ == "__main__":
    loss = main()
