"""All pictures of docs/gallery and the page of the norms, made anew: ``python docs/make_gallery.py [DIRECTORY]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import microtensor as mt
from microtensor import demos, nn, norms, viz
from microtensor.ledger import input_of, paths
from microtensor.norms import AXES
from microtensor.viz import cubes
from microtensor.viz.paths import render_paths

DOCS = Path(__file__).parent
CLASSIC = ("batch_norm", "layer_norm", "instance_norm", "group_norm")
SHAPE = (8, 6, 4, 4)


@dataclass(frozen=True)
class Picture:
    """A file of the gallery: its heading, a sentence, and how it is made."""

    name: str
    heading: str
    sentence: str
    make: Callable[[], bytes]

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name}.svg"


# --- what is drawn --------------------------------------------------------------------------------------------


def drawn(make: Callable[[], mt.Tensor], view: Any = "forward", **options: Any) -> Callable[[], bytes]:
    """A picture of what `make` computes."""

    def picture() -> bytes:
        y = make()
        graph = mt.Graph.from_tensor(y, gradients=viz.shows_gradients("svg", view))
        return viz.render(graph, "svg", view=view, output=y, **options)

    return picture


def through(layer: nn.Module, name: str, *shape: int) -> mt.Tensor:
    """A layer called on random input. Its parameters are changed from 1 and 0."""
    rng = np.random.default_rng(0)
    layer._name = name
    for parameter in layer.parameters():
        parameter.assign_(parameter.numpy() + rng.normal(0.0, 0.1, parameter.shape))
    x = mt.tensor(rng.normal(1.0, 2.0, shape), requires_grad=True, name="x")
    y: mt.Tensor = mt.label(layer(x), "y")
    return y


def weight_norm() -> mt.Tensor:
    """A linear layer whose weight is a length and a direction."""
    return through(nn.utils.weight_norm(nn.Linear(4, 3, rng=0)), "fc", 8, 4)


def classified(network: nn.Module, *shape: int) -> mt.Tensor:
    """The loss of a network on random data."""
    rng = np.random.default_rng(0)
    x = mt.tensor(rng.normal(size=shape), requires_grad=True, name="x")
    labels = mt.tensor(rng.integers(0, 10, shape[0]), name="t")
    return mt.cross_entropy(network(x), labels)


class LeNet(nn.Module):
    """LeNet-5 with batch norm after each convolution and hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2, bias=False, rng=rng)
        self.bn1 = nn.BatchNorm2d(6)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5, bias=False, rng=rng)
        self.bn2 = nn.BatchNorm2d(16)
        self.pool2 = nn.AvgPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(400, 120, bias=False, rng=rng)
        self.bn3 = nn.BatchNorm1d(120)
        self.fc2 = nn.Linear(120, 84, bias=False, rng=rng)
        self.bn4 = nn.BatchNorm1d(84)
        self.fc3 = nn.Linear(84, 10, rng=rng)

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        """The logits."""
        x = self.pool1(mt.tanh(self.bn1(self.conv1(x))))
        x = self.pool2(mt.tanh(self.bn2(self.conv2(x))))
        x = mt.tanh(self.bn3(self.fc1(self.flatten(x))))
        x = mt.tanh(self.bn4(self.fc2(x)))
        logits: mt.Tensor = self.fc3(x)
        return logits


def staged() -> mt.Tensor:
    """Batch norm in a student's steps and names."""
    rng = np.random.default_rng(0)
    x = mt.tensor(rng.normal(1.0, 2.0, (8, 4)), requires_grad=True, name="x")
    gamma = nn.Parameter(rng.normal(1.0, 0.1, 4), name="gamma")
    beta = nn.Parameter(rng.normal(0.0, 0.1, 4), name="beta")
    mu = mt.label(x.mean(axis=0), "mu")
    xmu = mt.label(x - mu, "xmu")
    var = mt.label((xmu**2).mean(axis=0), "var")
    ivar = mt.label(1 / mt.sqrt(var + 1e-5), "ivar")
    xhat = mt.label(xmu * ivar, "xhat")
    out: mt.Tensor = mt.label(gamma * xhat + beta, "out")
    return out


def step_one() -> mt.Tensor:
    """The loss that ``examples/00_backward.py`` walks back from."""
    rng = np.random.default_rng(0)
    x = mt.tensor(rng.normal(1.0, 2.0, (4, 3)), requires_grad=True, name="x")
    c = mt.tensor(rng.normal(size=(4, 3)), name="c")
    loss: mt.Tensor = mt.label((c * norms.standardize(x, axis=0)).sum(), "loss")
    return loss


def lstm_step() -> mt.Tensor:
    """h′ of one step of a layer-normalised LSTM."""
    rng = np.random.default_rng(0)
    cell = nn.LayerNormLSTMCell(3, 4, rng=0)
    cell._name = "cell"
    x, h, c = (
        mt.tensor(rng.normal(size=(2, size)), requires_grad=True, name=name)
        for name, size in (("x", 3), ("h", 4), ("c", 4))
    )
    h_next: mt.Tensor = cell(x, (h, c))[0]
    h_next.name = "h′"
    return h_next


def transformer_block() -> mt.Tensor:
    """One encoder layer on 5 positions of 16 features."""
    block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True, rng=0)
    return through(block, "block", 2, 5, 16)


def ledger() -> bytes:
    """Batch norm's gradient, path by path."""
    y = demos.batch_norm()
    return render_paths(paths(y, input_of(y)), "svg")


def norms_of(*names: str) -> Callable[[], bytes]:
    """The cubes of some norms."""
    return lambda: cubes.to_svg([AXES[name] for name in names], shape=SHAPE)


def logits() -> mt.Tensor:
    """The output of the network of the demo for 32 random samples, without the loss."""
    rng = np.random.default_rng(0)
    x = mt.tensor(rng.normal(size=(32, 64)), requires_grad=True, name="x")
    y: mt.Tensor = mt.label(demos.MLP(rng)(x), "logits")
    return y


PICTURES = [
    Picture(
        "norms",
        "What is normalised together",
        "Each cube is a batch of N samples with C channels and H·W positions. The amber elements share one mean and "
        "variance.",
        norms_of(*CLASSIC),
    ),
    Picture(
        "batch_norm",
        "Batch norm, forward",
        "The direct path goes straight down. The mean and the variance, in amber, are computed next to it.",
        drawn(demos.batch_norm),
    ),
    Picture(
        "batch_norm_backward",
        "Batch norm, backward",
        "The same nodes with the gradients that come back. A large gradient has a wide line. What returns through the "
        "statistics is added to what returns directly.",
        drawn(demos.batch_norm, "backward"),
    ),
    Picture(
        "batch_norm_slide",
        "Batch norm, backward, on a slide",
        "The same picture from left to right, for a slide of 16:9: `--view backward --slide`.",
        drawn(demos.batch_norm, "backward", slide=True),
    ),
    Picture(
        "staged",
        "Batch norm in steps, with the names of the program",
        "A student's own batch norm. Its paths are found by its gradient, so any spelling will do.",
        drawn(staged, "backward"),
    ),
    Picture(
        "staged_slide",
        "The same steps on a slide, in Greek letters",
        "`--view backward --slide --notation greek`: gamma is γ, and xhat is x̂.",
        drawn(staged, "backward", slide=True, notation="greek"),
    ),
    Picture(
        "batch_norm_paths",
        "Batch norm, path by path",
        "The gradient of x as the sum of its paths: direct, via the mean, via the variance, and one that is exactly 0.",
        ledger,
    ),
    Picture(
        "step_one",
        "Step one: the walk back",
        "What `examples/00_backward.py` does by hand: from the loss back to x, one rule per input. What arrives "
        "is added up.",
        drawn(step_one, "backward"),
    ),
    Picture(
        "layer_norm",
        "Layer norm",
        "The picture is the same as for batch norm. Only the axes of the mean differ.",
        drawn(lambda: through(nn.LayerNorm(4), "ln1", 8, 4)),
    ),
    Picture(
        "instance_norm",
        "Instance norm",
        "One mean and variance for each sample and channel. By default the layer has no parameters.",
        drawn(lambda: through(nn.InstanceNorm2d(6), "in1", *SHAPE)),
    ),
    Picture(
        "group_norm",
        "Group norm",
        "The channels are cut into groups by a reshape, standardised, and put back.",
        drawn(lambda: through(nn.GroupNorm(2, 6), "gn1", *SHAPE)),
    ),
    Picture(
        "rms_norm",
        "RMS norm",
        "No mean is subtracted, so there is only one statistic: the root of the mean square.",
        drawn(lambda: through(nn.RMSNorm(4, eps=1e-6), "rms1", 8, 4)),
    ),
    Picture(
        "weight_norm",
        "Weight norm",
        "Here the weight is normalised, not the data: v is divided by its length and multiplied by a learnt length g.",
        drawn(weight_norm),
    ),
    Picture(
        "mlp",
        "A network with batch norm, folded",
        "Two blocks and a head. Each is a card that lists its parameters. Amber cards hold a batch norm.",
        drawn(demos.mlp, depth=1),
    ),
    Picture(
        "mlp_backward",
        "The same network, backward",
        "The norm of the gradient that reaches each block.",
        drawn(demos.mlp, "backward", depth=1),
    ),
    Picture(
        "mlp_slide",
        "The same network on a slide",
        "From left to right: `--depth 1 --slide`.",
        drawn(demos.mlp, depth=1, slide=True),
    ),
    Picture(
        "mlp_open",
        "The same network, open",
        "Nothing is folded: every operation of three linear layers and two batch norms.",
        drawn(logits),
    ),
    Picture(
        "lenet",
        "LeNet-5 with batch norm",
        "Convolutions and pooling with a batch norm after each layer.",
        drawn(lambda: classified(LeNet(), 4, 1, 28, 28), depth=1),
    ),
    Picture(
        "lstm_step",
        "A step of an LSTM with layer norm",
        "Three layer norms: one for each of the two sums, and one for the cell in the output. The gates are slices.",
        drawn(lstm_step, depth=1),
    ),
    Picture(
        "transformer_block",
        "A transformer block, pre-norm",
        "Each shortcut, a thin line on the right, goes around a layer norm. This is what pre-norm means.",
        drawn(transformer_block, depth=1),
    ),
    Picture(
        "norms_all",
        "Every norm of the library",
        "Drawn from the same table of axes that the norms use.",
        norms_of(*AXES),
    ),
]


# --- the pages ------------------------------------------------------------------------------------------------


def gallery_page() -> str:
    """Every picture under its heading, with its sentence."""
    head = (
        "# Gallery\n\n"
        "Made by `python docs/make_gallery.py`: small networks with real numbers, drawn by microtensor. "
        "The pictures follow a reader's light or dark theme.\n"
    )
    return head + "".join(
        f"\n## {picture.heading}\n\n{picture.sentence}\n\n![{picture.heading}]({picture.file})\n"
        for picture in PICTURES
    )


NORMS_HEAD = """\
# The normalizations

All norms of the library are compositions of mean, square and square root (whitening also uses matrix products). They
differ in the axes of their statistics. This page, the pictures, the tests and the norms read the same table,
`microtensor.norms.AXES`. The command `microtensor norms` prints it for an input of any shape.

![Batch, layer, instance and group norm as cubes](gallery/norms.svg)

The numbers are for an input x of shape (N, C, H, W) = {shape}, a weight w of shape (out, in, kH, kW) = {shape},
and G = 2 groups of channels or parts of the batch.

| norm | formula | statistics in code | how many | parameters |
| --- | --- | --- | --- | --- |
"""


NORMS_NOTES = """
## Where ε stands

ε is a constant, added to the variance under the root. It is not noise. The noise of a batch comes from sampling: the
mean of N values has the standard deviation σ/√N. With ε, the variance of x̂ is σ² / (σ² + ε), and the gain is at most
1/√ε.

If ε were added to x, it would have no effect, because Var(x + ε) = Var(x). If it were added to the root, (x − μ) / (σ +
ε) would be 0 on a constant column, but its gradient would be NaN, because √ has an infinite slope at 0.

## Rounding

A constant column gives exactly 0 if its mean is exact, for example a column of 2.5. Otherwise the rounding error of μ
is divided by √ε. In float32, layer norm of 256 values of 0.1 gives 4.7e-6; PyTorch 2.13 on a CPU gives 0. Batch norm
over 256 rows gives 7.5e-5 for 0.1 (PyTorch: 3.1e-5), and 1 for 12,345,678 (PyTorch: 0.96). The result is never above 1,
because σ is computed with the same μ. PyTorch's batch norm gives 105 for 1e7.

## What standardized inputs are good for

Standardized inputs have no units. Gradient descent on the next layer is better conditioned, because the layer's Hessian
contains the second moments of the inputs. The parameters may still have any size, and the model can express the same
functions. Correlations remain; [`whiten`](#whiten) removes these too.

## What batch norm does in training

The gradient of x sums to zero over a batch, and is nearly orthogonal to x̂. But a step of the weights in the layers
before still moves the mean.

With N samples, (N − 2)/N of the squared gradient is left on average. With two samples x̂ is ±1, and the layers before
learn little.

With γ = √(σ² + ε) and β = μ, batch norm returns that one batch unchanged. Training still takes another course than
without batch norm.

Batch norm lowers the covariate shift between layers, but this is not why it trains faster: networks to which the shift
is added again train as well (Santurkar et al., 2018). It prevents vanishing gradients of sigmoids. In front of ReLUs,
gradients explode with depth at the start, by √(π/(π − 1)) ≈ 1.21 per layer (Yang et al., 2019).

## What layer norm does

Layer norm takes its statistics over one observation, not over a batch. So the output for a sample does not depend on
the other samples. A step of gradient descent over a batch still depends on all of them. The paper made it for recurrent
networks and small batches, and applies it to the summed inputs of a layer, before the activation. With one feature the
output is β. With two features it is ±γ + β.

The tests `test_claims_*.py` and `test_norms.py` check these statements by computation.
"""


def norms_page() -> str:
    """The table of axes in prose and Markdown."""
    rows = list(AXES.values())
    page = NORMS_HEAD.format(shape=SHAPE)
    for row in rows:
        code = cubes.code(row, len(SHAPE))
        cells = (
            f"[`{row.name}`](#{row.name})",
            row.formula,
            f"`{code}`" if code else "–",
            cubes.count(row, SHAPE, 2).removesuffix(" statistics").removesuffix(" statistic"),
            cubes.parameters(row, SHAPE),
        )
        page += f"| {' | '.join(cells)} |\n"
    for row in rows:
        page += f"\n## {row.name}\n\n{row.formula}\n\n{row.sentence[0].upper()}{row.sentence[1:]}. {row.source}.\n"
    return page + "\n## All of them\n\n![Every norm as a cube](gallery/norms_all.svg)\n" + NORMS_NOTES


def main(docs: Path) -> None:
    """Write everything below a directory."""
    gallery = docs / "gallery"
    gallery.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        (gallery / picture.file).write_bytes(picture.make())
    (gallery / "README.md").write_text(gallery_page(), encoding="utf-8", newline="\n")
    (docs / "normalizations.md").write_text(norms_page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
