"""With batch norm LeNet learns at once, and its predictions depend on the statistics that prediction uses.

With batch norm in front of every sigmoid, LeNet learns at learning rates at which the plain net stays at chance
(Ioffe & Szegedy, 2015; the net is from Zhang et al., *Dive into Deep Learning*, with MNIST for Fashion-MNIST).
In prediction, the statistics of the data set replace those of the batch. Usually a running average is used for them. It
covers some ten batches (momentum .1), and earlier weights gave all of these batches. After the first epoch its initial
value 1 still counts .9³¹ = 4 %, more than most variances are. Later it lags behind the weights, a little in the first
layer, and every layer passes the error on to the next. With exact statistics, the same weights read more digits.

    python examples/09_lenet_bn.py
    microtensor viz examples/09_lenet_bn.py -o loss.svg -- --graph

Not shown: that only batch norm helps. Plain LeNet leaves chance too, after some 25 epochs at a learning rate of 2.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from datasets import Array, Labelled, batches, mnist
from experiment import AMBER, BLUE, GREY, Checks, accuracy, arguments, compare, plots, progress, save, spread

import microtensor as mt
from microtensor import nn

BATCH, EPOCHS, RATES = 128, 6, (0.1, 0.5)
NORMS = ("bn1", "bn2", "bn3", "bn4")
PLAIN, RUNNING, DATASET, CENTRE = "no BN", "running average", "data set", "centre"
COLOURS = {PLAIN: GREY, RUNNING: AMBER, DATASET: BLUE}
# Accuracy after each epoch, from the same experiment in PyTorch.
EXPECTED = {
    0.1: {
        PLAIN: (".100",) * EPOCHS,
        RUNNING: (".751±.056", ".858±.007", ".876±.021", ".850±.047", ".877±.057", ".870±.077"),
        DATASET: (".841±.008", ".874±.007", ".897±.007", ".910±.010", ".922±.008", ".928±.009"),
    },
    0.5: {PLAIN: ("≤.11",) * EPOCHS, RUNNING: ("–",) * EPOCHS, DATASET: (".880", *"––––", ".948±.006")},
}


def lenet(normalized: bool) -> nn.Sequential:
    """28×28 pixels → 6 maps of 12×12 → 16 of 4×4 → 120 → 84 → 10 digits."""
    # Batch norm subtracts the mean, and with it any bias in front.
    bias = not normalized

    def stage(n: int, layer: nn.Module, norm: nn.Module, **more: nn.Module) -> dict[str, nn.Module]:
        nn.init.xavier_uniform_(layer.weight)
        norms = {f"bn{n}": norm} if normalized else {}
        return {f"layer{n}": layer, **norms, f"sigmoid{n}": nn.Sigmoid(), **more}

    head = nn.Linear(84, 10)
    nn.init.xavier_uniform_(head.weight)
    return nn.Sequential(
        {
            **stage(1, nn.Conv2d(1, 6, 5, bias=bias), nn.BatchNorm2d(6), pool1=nn.AvgPool2d(2)),
            **stage(2, nn.Conv2d(6, 16, 5, bias=bias), nn.BatchNorm2d(16), pool2=nn.AvgPool2d(2), flat=nn.Flatten()),
            **stage(3, nn.Linear(256, 120, bias=bias), nn.BatchNorm1d(120)),
            **stage(4, nn.Linear(120, 84, bias=bias), nn.BatchNorm1d(84)),
            "head": head,
        }
    )


def trained(net: nn.Module, lr: float, digits: Labelled, seed: int) -> Iterator[None]:
    """Train by SGD, and pause after every epoch."""
    sgd = mt.optim.SGD(net.parameters(), lr=lr)
    count = len(digits.labels)
    order = batches(count, BATCH, np.random.default_rng(seed))
    for _ in range(EPOCHS):
        for _ in range(count // BATCH):
            rows = next(order)
            loss = mt.cross_entropy(net(mt.tensor(digits.images[rows])), mt.tensor(digits.labels[rows]))
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        yield


def off_centre(net: nn.Sequential, images: Array) -> list[float]:
    """How far the means of x̂ in each batch norm are from 0 in prediction, as a root mean square over its units."""
    found, x = [], mt.tensor(images)
    net.eval()
    with mt.no_grad():
        for layer in net:
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                mean = x.mean(axis=(0, *range(2, x.ndim)))
                found.append(float(mt.sqrt(mt.mean((mean - layer.running_mean) ** 2 / layer.running_var))))
            x = layer(x)
    net.train()
    return found


def run(lr: float, seed: int, train: Labelled, test: Labelled) -> dict[str, list[Any]]:
    """Accuracies after every epoch, without batch norm and with both kinds of statistics, and the means of x̂."""
    mt.manual_seed(seed)
    net = lenet(normalized=False)
    found: dict[str, list[Any]] = {PLAIN: [accuracy(net, *test) for _ in trained(net, lr, train, seed)]}
    found |= {RUNNING: [], DATASET: [], CENTRE: []}
    net = lenet(normalized=True)
    parts = [mt.tensor(images) for images in np.split(train.images, 8)]
    for _ in trained(net, lr, train, seed):
        found[RUNNING].append(accuracy(net, *test))
        found[CENTRE].append(off_centre(net, train.images[::4]))
        state = net.state_dict()
        nn.utils.update_bn(net, parts)
        found[DATASET].append(accuracy(net, *test))
        # Training goes on with the running average, as if nobody had looked.
        net.load_state_dict(state)
    return found


def draw(found: dict[tuple[float, str], Array], rates: tuple[float, ...], output: Any) -> None:
    """The accuracy with both kinds of statistics for each learning rate, and the means of x̂ in prediction."""
    drawn = plots(1, len(rates) + 1, (4.3 * (len(rates) + 1), 4.2))
    if drawn is None:
        return
    figure, (axes,) = drawn
    for lr, panel, style in zip(rates, axes[:-1], ("o-", "o:"), strict=False):
        panel.set(title=f"Test accuracy, learning rate {lr}", xlabel="epoch", ylim=(0, 1))
        for name, colour in COLOURS.items():
            epochs = range(1, EPOCHS + 1)
            panel.plot(epochs, found[lr, name].T, color=colour, alpha=0.3, linewidth=1)
            panel.plot(epochs, found[lr, name].mean(axis=0), "o-", color=colour, label=name)
        means = found[lr, CENTRE]
        axes[-1].plot(NORMS, means.reshape(-1, len(NORMS)).T, style[1:], color=AMBER, alpha=0.2, linewidth=1)
        axes[-1].plot(NORMS, means.mean(axis=(0, 1)), style, color=AMBER, label=f"running average, lr {lr}")
    axes[0].legend(loc="center right")
    axes[-1].axhline(0, color=BLUE, label="data set")
    axes[-1].set(title="Means of x̂ in prediction, rms", xlabel="batch norm, from input to output")
    axes[-1].legend(loc="upper left")
    caption = (
        "Only with batch norm does LeNet leave chance in six epochs. With the running average (amber) errors of the "
        "statistics grow from layer to layer, and accuracy falls; with the data set's own statistics (blue) the same "
        "weights read more. Thin: single seeds; on the right, seeds and epochs."
    )
    save(figure, caption, output)


def main() -> mt.Tensor | None:
    """Train with and without batch norm, compare, check, draw."""
    args = arguments(__doc__)
    mt.set_default_dtype("float32")
    train, test = (Labelled(images[:, None], labels) for images, labels in mnist())
    if args.graph:
        mt.manual_seed(0)
        # Of an x that needs no gradient, the picture would begin with the columns that the convolution makes of it.
        x = mt.tensor(train.images[::500], requires_grad=True, name="x")
        return mt.cross_entropy(lenet(normalized=True)(x), mt.tensor(train.labels[::500], name="t"))

    rates = RATES[:1] if args.quick else RATES
    plan = [(lr, seed) for lr in rates for seed in range(args.seeds)]
    runs = [(lr, run(lr, seed, train, test)) for lr, seed in progress(plan, "runs")]
    found = {(lr, name): np.array([r[name] for at, r in runs if at == lr]) for lr in rates for name in runs[0][1]}

    checks = Checks()
    for lr in rates:
        expected = {name: dict(enumerate(values, start=1)) for name, values in EXPECTED[lr].items()}
        obtained = {name: {k + 1: spread(found[lr, name][:, k]) for k in range(EPOCHS)} for name in COLOURS}
        compare(f"lr {lr}, epoch", expected, obtained)
        plain, running, dataset = (found[lr, name].mean(axis=0) for name in COLOURS)
        checks.check(f"no BN: no more than 20 % after {EPOCHS} epochs", plain[-1] <= 0.2)
        checks.check("data set: 80 % after one epoch", dataset[0] >= 0.8)
        checks.check(f"data set: 90 % after {EPOCHS}", dataset[-1] >= 0.9)
        checks.check("running average: never better by more than 2 %", (dataset - running).min() >= -0.02)
        depth = found[lr, CENTRE].mean(axis=(0, 1))
        checks.check(f"means of x̂ off by {', '.join(spread([d], 2) for d in depth)} σ", depth[-1] > 2 * depth[0])
        print()
    draw(found, rates, args.output)
    checks.finish()
    return None


if __name__ == "__main__":
    loss = main()
