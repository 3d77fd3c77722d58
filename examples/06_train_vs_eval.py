"""In training mode, a prediction through batch norm depends on the batch. In prediction mode, or with layer norm, not.

In training mode μ and σ are those of the batch. So the answer for a digit depends on the other digits in the batch. In
a small batch, or in a batch of a single class, hardly any digit is read correctly. The running averages of prediction
mode solve this problem (Ioffe & Szegedy, *Batch Normalization*, 2015, algorithm 2). Layer norm takes the statistics of
each sample alone and has no modes (Ba, Kiros & Hinton, *Layer Normalization*, 2016). The mode is a flag of the module,
``train()`` and ``eval()``. It has nothing to do with whether gradients are recorded.

    python examples/06_train_vs_eval.py
    microtensor viz examples/06_train_vs_eval.py -o loss.svg -- --graph
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from datasets import Array, batches, mnist
from experiment import AMBER, BLUE, GREY, Checks, arguments, plots, progress, save, spread, table

import microtensor as mt
from microtensor import nn

SIZES = (2, 4, 8, 16, 64, 250, 1000)
SHUFFLED = (".432±.021", ".702±.011", ".850±.005", ".908±.005", ".948±.005", ".955±.005", ".957±.004")
SORTED = (".121±.004", ".126±.013", ".144±.005", ".155±.005", ".244±.010", ".592±.005", ".957±.004")
TRAIN, TEST = mnist(standardized=True)  # The test digits come sorted by class.


def network(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """784-100-100-100-10, a norm and ReLUs in between."""
    net = nn.Sequential()
    for fan_in in (784, 100, 100):
        net.extend([nn.Linear(fan_in, 100, bias=False), norm(100), nn.ReLU()])
    return net.append(nn.Linear(100, 10)).astype("float32")


def batch_loss(net: nn.Sequential, rows: Array | slice) -> mt.Tensor:
    """The cross entropy of some of the training digits."""
    x, t = mt.tensor(TRAIN.images[rows].reshape(-1, 784), name="x"), mt.tensor(TRAIN.labels[rows], name="t")
    return mt.cross_entropy(net(x), t)


def trained(norm: Callable[[int], nn.Module], seed: int, steps: int = 600) -> nn.Sequential:
    """A net after some steps of gradient descent."""
    mt.manual_seed(seed)
    net = network(norm)
    optimizer = mt.optim.SGD(net.parameters(), lr=0.1)
    order = batches(len(TRAIN.labels), 64, np.random.default_rng(seed))
    for _, rows in zip(progress(range(steps), norm.__name__), order, strict=False):
        loss = batch_loss(net, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def read(net: nn.Sequential, order: Array, size: int) -> Array:
    """The answer for every test digit, in batches of `size` in the given order; the first fill the last batch."""
    guesses = np.empty(len(order), dtype=int)
    with mt.no_grad():
        for rows in np.resize(order, (-(-len(order) // size), size)):
            guesses[rows] = net(mt.tensor(TEST.images[rows].reshape(-1, 784))).numpy().argmax(axis=1)
    return guesses


def accuracy(guesses: Array) -> float:
    """The share of the test digits that are read correctly."""
    return float(np.mean(guesses == TEST.labels))


def draw(path: Path, alone: list[float], shuffled: Array, ordered: Array, guesses: Array) -> None:
    """The accuracy for each size of the batch, and twenty digits, each in twenty batches."""
    drawn = plots(1, 2, (12, 5.4))
    if drawn is None:
        return
    figure, ((curves, cells),) = drawn
    curves.axhline(np.mean(alone), color=GREY, ls="--", label="prediction mode, any batch")
    for found, colour, label in ((shuffled, BLUE, "shuffled"), (ordered, AMBER, "sorted by class")):
        curves.plot(SIZES, found.mean(axis=0), "o-", color=colour, label=f"training mode, {label}")
        curves.fill_between(SIZES, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.2, lw=0)
    curves.set(title="Accuracy by the company in the batch", xscale="log", ylim=(0, 1))
    curves.set(xlabel="digits in a batch", ylabel="test accuracy", xticks=SIZES, xticklabels=SIZES)
    curves.minorticks_off()
    curves.legend(loc="center left", bbox_to_anchor=(0.15, 0.47))
    chosen = np.random.default_rng(0).choice(len(TEST.labels), 20, replace=False)
    right = np.equal(guesses[:, chosen].T, TEST.labels[chosen, None])
    cells.imshow(np.where(right[..., None], (227, 239, 255), (255, 224, 178)), aspect="auto")
    for (row, company), good in np.ndenumerate(right):
        guess = guesses[company, chosen[row]]
        cells.text(company, row, guess, size=8, color=BLUE if good else AMBER, ha="center", va="center")
    cells.set(title="Twenty digits, each read in twenty companies of 15", xticks=[], xlabel="company")
    cells.set(yticks=range(20), yticklabels=TEST.labels[chosen], ylabel="the digit (drawn at random)")
    cells.grid(visible=False)
    save(figure, "While the batch supplies μ and σ, one net reads one digit now as this and now as that.", path)


def main() -> mt.Tensor:
    """Train, then read the test digits in both modes and in different batches."""
    args = arguments(__doc__)
    small = batch_loss(network(nn.BatchNorm1d), slice(0, None, 250))
    if args.graph:
        return small
    checks = Checks()
    by_class = np.arange(len(TEST.labels))
    alone, shuffled, ordered, turncoats = [], [], [], []
    for seed in range(args.seeds):
        net, rng = trained(nn.BatchNorm1d, seed), np.random.default_rng(seed)
        # First of all, since whatever is read in training mode moves the running averages.
        alone.append(accuracy(read(net.eval(), by_class, 1000)))
        net.train()
        shuffled.append([accuracy(read(net, rng.permutation(by_class), size)) for size in SIZES])
        ordered.append([accuracy(read(net, by_class, size)) for size in SIZES])
        guesses = np.array([read(net, rng.permutation(by_class), 16) for _ in range(20)])
        turncoats.append(np.mean(guesses.min(axis=0) != guesses.max(axis=0)))
    table(
        "accuracy in training mode, batch of",
        SIZES,
        {
            "shuffled, expected": SHUFFLED,
            "shuffled, obtained": [spread(found) for found in np.transpose(shuffled)],
            "sorted by class, expected": SORTED,
            "sorted by class, obtained": [spread(found) for found in np.transpose(ordered)],
        },
    )
    net = trained(nn.LayerNorm, 0)
    logits = [net.train(mode)(mt.tensor(TEST.images.reshape(-1, 784))).numpy() for mode in (True, False)]
    print(f"prediction mode: {spread(alone)} in batches of any size (expected .957±.003)")
    print(
        f"read as different digits in 20 companies of 15: {spread(turncoats, 2)} (expected .28±.08, 20 digits a seed)"
    )
    print(f"layer norm, either mode, batches of 2: {accuracy(read(net, by_class, 2)):.3f}\n")
    two, large = np.mean(shuffled, axis=0)[[0, -1]]
    checks.check("two at a time, in training mode, at most .55 are read right", two <= 0.55)
    checks.check("sorted by class, 16 at a time, at most .25", np.mean(ordered, axis=0)[SIZES.index(16)] <= 0.25)
    checks.check("a thousand at a time: as in prediction mode, to .01", abs(large - np.mean(alone)) <= 0.01)
    checks.check("the net with layer norm computes the same in both modes, bit for bit", np.array_equal(*logits))
    draw(args.output, alone, np.array(shuffled), np.array(ordered), guesses)
    checks.finish()
    return small


if __name__ == "__main__":
    loss = main()
