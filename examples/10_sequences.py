"""Layer norm is made for sequences: an LSTM learns sooner with it. In a transformer, its place matters.

First names, letter by letter. With layer norm of both sums and of the cell (Ba, Kiros & Hinton, *Layer Normalization*,
2016), an LSTM needs half of the steps. In a transformer the place of the norm matters (Xiong et al., *On Layer
Normalization in the Transformer Architecture*, 2020). If it stands after each sum, the gradients grow towards the
output. Without warm-up the net then learns little more than the frequencies of letters. If it stands in front of each
branch, the net just learns. Batch norm is wrong here: its statistics include later letters, so an output depends on
them.

    python examples/10_sequences.py
    microtensor viz examples/10_sequences.py -o loss.svg -- --graph

Not shown: that layer norm helps every recurrent net. A plain tanh RNN gains nothing from it on these names.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from datasets import LETTERS, Array, batches, names
from experiment import AMBER, BLUE, GREEN, GREY, RED, Checks, arguments, compare, plots, progress, save, spread

import microtensor as mt
from microtensor import nn

SYMBOLS, LENGTH, HIDDEN, WIDTH, HEADS, DEPTH = len(LETTERS), 15, 64, 32, 4, 6
UNIGRAM = 2.811  # nats: what a net reaches that knows how frequent each letter is, and no more
COLOURS = {"LSTM": GREY, "LN-LSTM": GREEN, "Pre-LN": BLUE, "Post-LN": RED, "Post-LN, warm-up": AMBER}
# Test loss, in nats a letter, from the same experiments in PyTorch, by step.
EXPECTED = {
    "LSTM": dict(zip((50, 100, 200, 300), ("2.586±.013", "2.395±.012", "2.212±.007", "2.142±.008"), strict=True)),
    "LN-LSTM": dict(zip((50, 100, 200, 300), ("2.362±.020", "2.192±.014", "2.071±.012", "2.021±.012"), strict=True)),
    "Pre-LN": {120: "2.252±.018", 200: "2.125±.004"},
    "Post-LN": {120: "2.793±.070", 200: "2.821±.002"},
    "Post-LN, warm-up": {120: "2.321±.018", 200: "2.174±.007"},
}
EXPECTED_STARTS = {"Pre-LN": {1: ".60", DEPTH: ".41"}, "Post-LN": {1: ".81", DEPTH: "1.12"}}


class LSTM(nn.Module):
    """Reads one letter per step. Its hidden state predicts the next letter."""

    def __init__(self, normalized: bool) -> None:
        super().__init__()
        if normalized:
            self.cell: nn.Module = nn.LayerNormLSTMCell(SYMBOLS, HIDDEN, forget_bias=1.0)
        else:
            self.cell = nn.LSTMCell(SYMBOLS, HIDDEN)
            nn.init.zeros_(self.cell.bias_hh)
            self.cell.bias_ih.data = np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN)
        self.head = nn.Linear(HIDDEN, SYMBOLS)
        for weight in (self.cell.weight_ih, self.cell.weight_hh, self.head.weight):
            nn.init.kaiming_normal_(weight, nonlinearity="linear")

    def forward(self, codes: Array) -> mt.Tensor:
        """Logits (N, T, symbols) of the next symbol at every step of (N, T)."""
        letters = mt.eye(SYMBOLS)[codes]
        state, outputs = None, []
        for t in range(codes.shape[1]):
            state = self.cell(letters[:, t], state)
            outputs.append(state[0])
        logits: mt.Tensor = self.head(mt.stack(outputs, axis=1))
        return logits


class Transformer(nn.Module):
    """Encoder layers that see earlier letters only. With Pre-LN there is a last norm in front of the logits."""

    def __init__(self, norm_first: bool, depth: int = DEPTH) -> None:
        super().__init__()
        settings: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
        self.layers = nn.Sequential(
            *(nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, **settings) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(WIDTH) if norm_first else nn.Identity()
        self.head = nn.Linear(WIDTH, SYMBOLS)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_normal_(parameter)
        self.letters, self.places = nn.Embedding(SYMBOLS, WIDTH), nn.Embedding(LENGTH, WIDTH)

    def forward(self, codes: Array) -> mt.Tensor:
        """Logits (N, T, symbols) of the next symbol at every place of (N, T)."""
        x = self.letters(codes) + self.places(np.arange(codes.shape[1]))
        for layer in self.layers:
            x = layer(x, is_causal=True)
        logits: mt.Tensor = self.head(self.norm(x))
        return logits


def loss_of(net: nn.Module, codes: Array) -> mt.Tensor:
    """Nats per symbol. The input is a 0 and then the name; the target is the name and then a 0."""
    given = np.roll(codes, 1, axis=1)
    given[:, 0] = 0
    beyond = (given == 0) & (np.arange(codes.shape[1]) > 0)
    return mt.cross_entropy(net(given).reshape(-1, SYMBOLS), np.where(beyond, -100, codes).ravel())


def make(name: str) -> nn.Module:
    """Make the net of this name."""
    return LSTM(normalized="LN" in name) if "LSTM" in name else Transformer(norm_first="Pre" in name)


class Run(NamedTuple):
    """Training losses, one per step; test losses by step; ‖∂L/∂W‖ of each layer at the start."""

    train: list[float]
    test: dict[int, float]
    start: list[float]


def learn(name: str, steps: int, batch: int, seed: int) -> Run:
    """Train a net by Adam; a warm-up raises the rate during the first half."""
    mt.manual_seed(seed)
    codes, unseen = names(LENGTH)
    order = batches(len(codes), batch, np.random.default_rng(seed))
    net = make(name)
    every, lr = (10, 3e-3) if "LSTM" in name else (steps, 1e-2)
    adam = mt.optim.Adam(net.parameters(), lr=lr)
    warm_up = steps // 2 if "warm-up" in name else 1
    schedule = mt.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1.0, (step + 1) / warm_up))
    run = Run([], {}, [])
    for step in range(steps + 1):
        if step % every == 0:
            with mt.no_grad():
                run.test[step] = float(loss_of(net, unseen))
        loss = loss_of(net, codes[next(order)])
        adam.zero_grad()
        loss.backward()
        if step == 0 and isinstance(net, Transformer):
            run.start.extend(float(mt.norm(layer.linear2.weight.grad)) for layer in net.layers)
        adam.step()
        schedule.step()
        run.train.append(float(loss))
    return run


def dependence(norm: Callable[[mt.Tensor], mt.Tensor]) -> Array:
    """D[t, s] = ‖∂y_t/∂x_s‖ within the first of two sequences (N, T, C) of seven steps and three features."""
    x = mt.random.normal((2, 7, 3), rng=0, dtype="float64")
    first = mt.jacobian(norm, x).numpy()[0, :, :, 0]
    sizes: Array = np.linalg.norm(first, axis=(1, 3))
    return sizes


def draw(runs: dict[str, list[Run]], seen: dict[str, Array], output: Any) -> None:
    """The losses of both kinds of net, the first gradients of the transformers, and the dependence on inputs."""
    drawn = plots(1, 4, (16, 4.2))
    if drawn is None:
        return
    figure, ((recurrent, start, attention, future),) = drawn
    for name, found in runs.items():
        style = {"color": COLOURS[name], "label": name}
        if "LSTM" in name:
            losses = [list(run.test.values()) for run in found]
            recurrent.plot(list(found[0].test), np.transpose(losses), color=COLOURS[name], lw=1, alpha=0.3)
            recurrent.plot(list(found[0].test), np.mean(losses, axis=0), **style)
            continue
        attention.plot(np.mean([run.train for run in found], axis=0), lw=1.2, **style)
        if "warm-up" not in name:
            layers = range(1, DEPTH + 1)
            start.plot(layers, np.transpose([run.start for run in found]), color=COLOURS[name], lw=1, alpha=0.3)
            start.plot(layers, np.mean([run.start for run in found], axis=0), "o-", **style)
    attention.axhline(UNIGRAM, color=GREY, lw=1.2, ls=":", label="letters by frequency")
    between = np.full((7, 1), np.nan)
    future.imshow(np.hstack([seen["LN"], between, seen["BN"]]), cmap="Blues", vmin=0, vmax=0.6)
    future.grid(False)
    recurrent.set(title="LSTM: test loss, nats a letter", xlabel="step")
    start.set(title="Transformer: ‖∂L/∂W‖ at the start", xlabel="layer, from input to output", ylim=(0, None))
    attention.set(title="Transformer: training loss", xlabel="step", ylim=(1.9, 3.6))
    future.set(title="∂ output / ∂ input in time: LN, BN", xlabel="time of input", ylabel="time of output")
    future.set(xticks=[], yticks=[])
    for axes in (recurrent, start, attention):
        axes.legend()
    caption = (
        "With layer norm an LSTM needs half of the steps. A transformer learns at once with its norms in front of the "
        "branches; with the norms behind the sums only after a warm-up. An output of layer norm depends on its own "
        "moment alone (the diagonal), one of batch norm on all, later ones too."
    )
    save(figure, caption, output)


def main() -> mt.Tensor | None:
    """Train both kinds of net, measure what the norms see, compare, check, draw."""
    args = arguments(__doc__, seeds=3)
    mt.set_default_dtype("float32")
    if args.graph:
        mt.manual_seed(0)
        return loss_of(Transformer(norm_first=True, depth=1), names(LENGTH)[0][:4])

    recurrent, attention = ((100, 64), (120, 32)) if args.quick else ((300, 64), (200, 64))
    plan = {name: recurrent if "LSTM" in name else attention for name in COLOURS}
    runs: dict[str, list[Run]] = {name: [] for name in plan}
    for name, seed in progress([(name, seed) for seed in range(args.seeds) for name in plan], "runs"):
        runs[name].append(learn(name, *plan[name], seed))

    def at(name: str, step: int) -> list[float]:
        return [run.test[step] for run in runs[name]]

    plain, normalized, pre, post, warm = runs
    steps, last = [step for step in (50, 100, 200, 300) if step <= recurrent[0]], attention[0]
    compare("step", EXPECTED, {name: {step: spread(at(name, step)) for step in steps} for name in (plain, normalized)})
    compare("step", EXPECTED, {name: {last: spread(at(name, last))} for name in (pre, post, warm)})
    starts = {name: np.array([run.start for run in runs[name]]) for name in (pre, post)}
    layers = {name: {n: spread(found[:, n - 1], 2) for n in (1, DEPTH)} for name, found in starts.items()}
    compare("‖∂L/∂W‖, layer", EXPECTED_STARTS, layers)

    seen = {
        "LN": dependence(lambda x: mt.norms.layer_norm(x, 3)),
        "BN": dependence(lambda x: mt.norms.batch_norm(x.swapaxes(1, 2), training=True).swapaxes(1, 2)),
    }
    ahead = {name: np.triu(matrix, 1).max() for name, matrix in seen.items()}
    checks = Checks()
    gains = {step: np.mean(at(plain, step)) - np.mean(at(normalized, step)) for step in steps}
    checks.check(f"LN-LSTM at step 100: ahead by {gains[100]:.2f}, at least .08", gains[100] >= 0.08)
    if not args.quick:
        checks.check(f"LN-LSTM at step 300: ahead by {gains[300]:.2f}, at least .06", gains[300] >= 0.06)
        soon = np.mean(at(normalized, 150)) <= np.mean(at(plain, 300))
        checks.check("LN-LSTM at step 150: where the LSTM gets by step 300", soon)
    checks.check("Pre-LN learns: at most 2.35", np.mean(at(pre, last)) <= 2.35)
    checks.check("Post-LN does not: at least 2.55", np.mean(at(post, last)) >= 2.55)
    checks.check("Post-LN learns with a warm-up: at most 2.45", np.mean(at(warm, last)) <= 2.45)
    checks.check(f"LN: no output depends on a later input ({ahead['LN']})", ahead["LN"] == 0)
    checks.check(f"BN: outputs do ({ahead['BN']:.2f})", ahead["BN"] > 0.01)
    draw(runs, seen, args.output)
    checks.finish()
    return None


if __name__ == "__main__":
    loss = main()
