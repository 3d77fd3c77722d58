"""Batch norm does not keep gradients from exploding: in front of ReLUs they grow by 1.21 per layer at the start.

For every scale of the weights, the gradient of such a net grows by √(π/(π − 1)) = 1.2112 per layer on its way down
(Yang, Pennington, Rao, Sohl-Dickstein & Schoenholz, *A Mean Field Theory of Batch Normalization*, 2019). The gradients
of sigmoids vanish; batch norm prevents this, and layer norm does not. A gradient also says only what a small step does:
a step in all layers of y = w₁ w₂ … at once does something else (Goodfellow, Bengio & Courville, *Deep Learning*, 2016,
section 8.7.1).

    python examples/07_depth.py
    microtensor viz examples/07_depth.py -o loss.svg -- --graph
"""

from collections.abc import Callable, Sequence
from math import pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Array, mnist
from experiment import AMBER, BLUE, GREY, Checks, arguments, plots, progress, save, spread, table

import microtensor as mt
from microtensor import nn

THEORY = sqrt(pi / (pi - 1))
WIDTH = 100
Norm = Callable[[int], nn.Module]
NORMS: dict[str, Norm] = {"no norm": lambda _: nn.Identity(), "batch norm": nn.BatchNorm1d, "layer norm": nn.LayerNorm}
# The activation and the gain, by which the weights are larger than 1/√fan-in; what to expect with each of the norms.
NETS: list[tuple[type[nn.Module], float, tuple[str, str, str]]] = [
    (nn.ReLU, 1.0, (".706", "1.211", ".998")),
    (nn.ReLU, sqrt(2), ("1.006±.012", "1.2112±.0033", ".998±.014")),
    (nn.ReLU, 2.0, ("1.416", "1.211", ".998")),
    (nn.Sigmoid, 1.0, (".2365±.0015", "1.032±.002", ".392±.006")),
    (nn.Tanh, 1.0, (".967", "1.103", "1.090")),
]
CHAINS = {(1.0, 5): ".819", (1.0, 10): ".651", (1.0, 20): ".439", (1.2, 20): "-488"}
INK = "#0f172a"
DIGITS = mnist(standardized=True, dtype="float64").train


def network(
    activation: type[nn.Module], gain: float, norm: Norm, depth: int, rng: np.random.Generator
) -> nn.Sequential:
    """Layers of 100 units, φ(norm(W h)), and ten logits; the weights are normal."""
    net = nn.Sequential()
    for fan_in in (784, *[WIDTH] * (depth - 1)):
        linear = nn.Linear(fan_in, WIDTH, bias=False)
        nn.init.normal_(linear.weight, std=gain / sqrt(fan_in), rng=rng)
        net.extend([linear, norm(WIDTH), activation()])
    return net.append(nn.Linear(WIDTH, 10, rng=rng))


def loss_and_outputs(net: nn.Sequential, rows: Any, activation: type[nn.Module]) -> tuple[mt.Tensor, list[mt.Tensor]]:
    """The cross entropy of some digits, and the output of every activation on the way."""
    h, outputs = mt.tensor(DIGITS.images[rows].reshape(-1, 784), name="x"), []
    for layer in net:
        h = layer(h)
        if isinstance(layer, activation):
            outputs.append(h)
    return mt.cross_entropy(h, mt.tensor(DIGITS.labels[rows], name="t")), outputs


def gradients(activation: type[nn.Module], gain: float, norm: Norm, seed: int) -> Array:
    """‖∂L/∂h‖ at each of 50 layers, before any training, for a batch of 128."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(DIGITS.labels))[:128]
    net = network(activation, gain, norm, 50, rng)
    return np.array([np.linalg.norm(g.numpy()) for g in mt.grad(*loss_and_outputs(net, rows, activation))])


def chain(start: float, length: int, lr: float = 0.1) -> float:
    """A step in all of y = w₁ w₂ … at once: the change of y, divided by the predicted change −lr ‖∂y/∂w‖²."""
    w = mt.full((length,), start, requires_grad=True)
    y = mt.prod(w)
    gradient = mt.grad(y, w)
    stepped = mt.prod(w - lr * gradient)
    return float((stepped - y).item() / -(lr * mt.sum(mt.square(gradient))).item())


def draw(path: Path, found: dict[tuple[str, float], dict[str, list[Array]]]) -> None:
    """The gradient at every layer of a ReLU and of a sigmoid net, and the step in a chain."""
    drawn = plots(1, 3, (13, 4.4))
    if drawn is None:
        return
    figure, ((*depths, steps),) = drawn
    layers = np.arange(1, 51)
    colours = dict(zip(NORMS, (GREY, BLUE, AMBER), strict=True))
    for axes, (name, gain) in zip(depths, (("ReLU", sqrt(2)), ("Sigmoid", 1.0)), strict=True):
        for norm, runs in found[name, gain].items():
            axes.plot(layers, runs[0] / runs[0][-1], color=colours[norm], label=norm)
        axes.set(xlabel="layer (the loss is on the right)", yscale="log")
    depths[0].plot(layers, THEORY ** (50.0 - layers), ":", color=INK, label="√(π/(π − 1)) a layer")
    depths[0].set(title="ReLU: batch norm makes gradients explode …", ylabel="‖∂L/∂h‖, relative to layer 50")
    depths[0].legend()
    depths[1].set(title="… of sigmoids it stops them vanishing")
    depths[1].legend()
    lengths = np.arange(1, 21)
    for start, colour in ((1.0, BLUE), (1.2, AMBER)):
        ratios = [chain(start, int(length)) for length in lengths]
        steps.plot(lengths, ratios, ".-", color=colour, label=f"every w = {start:g}")
    steps.annotate(f"{ratios[-1]:.0f}", (20, ratios[-1]), (-8, -4), textcoords="offset points", ha="right", color=AMBER)
    steps.axhline(1, color=INK, ls=":", label="as the gradient promises")
    steps.set(title="A step in all layers: change of y / promise", xlabel="length of the chain y = w₁ w₂ …")
    steps.set(xticks=range(0, 21, 5), yscale="symlog", ylim=(-3000, 4))
    steps.legend(loc="lower left")
    save(figure, "Norm and activation decide how gradients travel; what they promise holds for small steps.", path)


def main() -> mt.Tensor:
    """Measure the factor per layer in all nets, then the chain."""
    args = arguments(__doc__)
    net = network(nn.ReLU, sqrt(2), nn.BatchNorm1d, 3, np.random.default_rng(0))
    small, _ = loss_and_outputs(net, slice(0, None, 250), nn.ReLU)
    if args.graph:
        return small
    checks = Checks()
    found, factors = {}, {}
    rows: dict[str, Sequence[str]] = {}
    for activation, gain, expected in progress(NETS):
        name = activation.__name__
        runs = {n: [gradients(activation, gain, norm, s) for s in range(args.seeds)] for n, norm in NORMS.items()}
        found[name, gain] = runs
        growth = {norm: [(run[0] / run[-1]) ** (1 / 49) for run in several] for norm, several in runs.items()}
        factors[name, gain] = {norm: float(np.mean(several)) for norm, several in growth.items()}
        rows[f"{name}, gain {gain:.2f}  expected"] = expected
        rows[f"{name}, gain {gain:.2f}  obtained"] = [spread(several, 4) for several in growth.values()]
    table("factor of ‖∂L/∂h‖ a layer down", list(NORMS), rows)
    apart = [abs(factors["ReLU", gain]["batch norm"] - THEORY) for gain in (1.0, sqrt(2), 2.0)]
    checks.check("ReLUs with batch norm: √(π/(π − 1)) ± .01, whatever the gain", max(apart) <= 0.01)
    sigmoid = factors["Sigmoid", 1.0]
    checks.check(
        "sigmoids: below .3 without a norm, .98 to 1.08 with batch norm",
        sigmoid["no norm"] < 0.3 and 0.98 <= sigmoid["batch norm"] <= 1.08,
    )

    ratios = {(start, length): chain(start, length) for start, length in CHAINS}
    columns = [f"w = {start:g}, l = {length}" for start, length in CHAINS]
    obtained = [f"{ratio:.3f}" if abs(ratio) < 1 else f"{ratio:.0f}" for ratio in ratios.values()]
    table("\nchange of y = w₁ … w_l / promise", columns, {"expected": list(CHAINS.values()), "obtained": obtained})
    exact = {(w, n): (w**n - (w - 0.1 * w ** (n - 1)) ** n) / (0.1 * n * w ** (2 * n - 2)) for w, n in CHAINS}
    checks.check(
        "the chain does what a line of algebra says, to 1e-10",
        max(abs(ratios[k] / exact[k] - 1) for k in CHAINS) <= 1e-10,
    )
    draw(args.output, found)
    checks.finish()
    return small


if __name__ == "__main__":
    loss = main()
