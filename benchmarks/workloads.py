"""What is measured: data and formula of each workload, and what the library promises for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from benchmarks.libraries import COMPILED, NATIVE, OURS, Array, Layered, Library

Call: TypeAlias = Callable[[], list[Any]]
Size: TypeAlias = tuple[int, ...]

COMPOSED = (OURS, COMPILED, "torch", "autograd", "mygrad")
EVERY = (OURS, COMPILED, NATIVE, "torch", "autograd", "mygrad")
# A pass of the long chain takes the others several seconds; the short one tells how they compare.
PLAIN = (OURS, COMPILED, "torch")
LAYERED = (OURS, COMPILED, NATIVE, "torch")


@dataclass(frozen=True)
class Target:
    """A promise about ours: at most `must`, and `aim` is known to be possible.

    Attributes
    ----------
    peer : str
        The library compared with; empty for a promise about the value itself.
    must : float or None
        None if there is an aim only.
    of : {"ratio", "difference", "value"}
        Ours / peer, ours − peer, or ours alone.
    ours : str
        What the promise is about: ours, or ours compiled.
    """

    peer: str
    must: float | None
    aim: float
    of: Literal["ratio", "difference", "value"] = "ratio"
    ours: str = OURS


@dataclass(frozen=True)
class Workload:
    """One forward and backward pass (and, for a network, one step), written once for all libraries.

    Attributes
    ----------
    name, title : str
        For the command line and for the table.
    prepare : callable
        From a library and a size to the call that is measured, which returns the gradients.
    size, quick : tuple of int
        The size measured, and the one that only shows that everything works.
    libraries : tuple of str
        Who takes part.
    targets : tuple of Target
    fresh : bool
        Whether every sample is a process of its own, because what is left of one pass disturbs the next.
    """

    name: str
    title: str
    prepare: Callable[[Any, Size], Call]
    size: Size
    quick: Size
    libraries: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    fresh: bool = False

    def call(self, library: Library, quick: bool) -> Call:
        """What is measured, on data that are the same for every library."""
        return self.prepare(library, self.quick if quick else self.size)


def _normal(*shapes: Size, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def _differentiated(library: Library, formula: Callable[..., Any], leaves: Sequence[Array], seed: Array) -> Call:
    made = [library.leaf(array) for array in leaves]
    return functools.partial(library.differentiated, library.function(formula), made, made, library.constant(seed))


def chain(library: Library, size: Size) -> Call:
    """Four numbers through h ← tanh(h · w + b), three operations a turn: nothing but the cost of an operation.

    With w = 1 and b = 0 the slope stays near 1, so the gradient neither explodes nor vanishes on the way.
    """
    turns = size[0] // 3

    def formula(h: Any, w: Any, b: Any) -> Any:
        for _ in range(turns):
            h = library.tanh(h * w + b)
        return h

    h, seed = _normal((4,), (4,))
    return _differentiated(library, formula, [h, np.ones(4, np.float32), np.zeros(4, np.float32)], seed)


def batch_norm(library: Library, size: Size) -> Call:
    """Batch norm with γ and β in training, without running statistics."""
    x, weight, bias, seed = _normal(size, size[1:2], size[1:2], size)
    return _differentiated(library, library.batch_norm, [x, weight, bias], seed)


def layer_norm(library: Library, size: Size) -> Call:
    """Layer norm over the last axis, with γ and β."""
    x, weight, bias, seed = _normal(size, size[-1:], size[-1:], size)
    return _differentiated(library, library.layer_norm, [x, weight, bias], seed)


def group_norm(library: Library, size: Size) -> Call:
    """Group norm of groups of eight channels, with γ and β."""
    x, weight, bias, seed = _normal(size, size[1:2], size[1:2], size)

    def formula(x: Any, weight: Any, bias: Any) -> Any:
        return library.group_norm(x, size[1] // 8, weight, bias)

    return _differentiated(library, formula, [x, weight, bias], seed)


def gelu(library: Layered, size: Size) -> Call:
    """GELU with the error function."""
    x, seed = _normal(size, size)
    return _differentiated(library, library.gelu, [x], seed)


def softmax(library: Library, size: Size) -> Call:
    """Softmax over the last axis."""
    x, seed = _normal(size, size)
    return _differentiated(library, library.softmax, [x], seed)


def log_softmax(library: Library, size: Size) -> Call:
    """Logarithm of the softmax over the last axis."""
    x, seed = _normal(size, size)
    return _differentiated(library, library.log_softmax, [x], seed)


def cross_entropy(library: Library, size: Size) -> Call:
    """Mean cross-entropy between scores and labels."""
    (x,) = _normal(size)
    labels = library.constant(np.random.default_rng(1).integers(0, size[1], size[0]))
    leaves = [library.leaf(x)]
    function = library.function(library.cross_entropy)
    seed = library.constant(np.ones((), np.float32))
    return functools.partial(library.differentiated, function, [*leaves, labels], leaves, seed)


def norm_stack(library: Library, size: Size) -> Call:
    """Batch norm and ReLU, over and over: how much memory a deep network's graph holds."""
    depth, *shape = size
    x, seed = _normal(tuple(shape), tuple(shape))

    def formula(x: Any, weight: Any, bias: Any) -> Any:
        for _ in range(depth):
            x = library.relu(library.batch_norm(x, weight, bias))
        return x

    return _differentiated(library, formula, [x, np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)], seed)


def mlp(library: Layered, size: Size) -> Call:
    """A network with batch norm, one step of Adam on the cross-entropy; linear layers without a useless bias."""
    batch, inputs, hidden, classes = size
    (x,) = _normal((batch, inputs))
    labels = np.random.default_rng(1).integers(0, classes, batch)
    leaves = []
    layers: list[Callable[[Any], Any]] = []
    for fan_in, fan_out in ((inputs, hidden), (hidden, hidden)):
        (weight,) = _normal((fan_out, fan_in), seed=fan_in)
        arrays = [weight * np.float32(fan_in**-0.5), np.ones(fan_out, np.float32), np.zeros(fan_out, np.float32)]
        made = [library.leaf(array) for array in arrays]
        leaves += made
        layers += [library.linear(made[0]), library.batch_norm_layer(*made[1:]), library.module.nn.ReLU()]
    (last,) = _normal((classes, hidden), seed=2)
    head = [library.leaf(last * np.float32(hidden**-0.5)), library.leaf(np.zeros(classes, np.float32))]
    leaves += head
    layers.append(library.linear(*head))
    data, targets = library.constant(x), library.constant(labels)
    return _training(library, layers, leaves, data, targets, library.adam(leaves))


def lenet(library: Layered, size: Size) -> Call:
    """LeNet with batch norm before every sigmoid, one step of gradient descent; no bias where a mean is taken out."""
    batch, height, width, classes = size
    nn = library.module.nn
    rows, columns = ((n // 2 - 4) // 2 for n in (height - 4, width - 4))
    shapes: list[Size] = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16 * rows * columns), (84, 120)]
    leaves = []
    layers: list[Callable[[Any], Any]] = []
    for shape, values in zip(shapes, _normal(*shapes), strict=True):
        filters, *window = shape
        scaled = values * np.float32(np.prod(window) ** -0.5)
        made = [library.leaf(a) for a in (scaled, np.ones(filters, np.float32), np.zeros(filters, np.float32))]
        leaves += made
        images = len(shape) == 4
        # What is flat already stays as it is.
        layers += [library.conv2d(made[0])] if images else [nn.Flatten(), library.linear(made[0])]
        layers += [library.batch_norm_layer(made[1], made[2], images), nn.Sigmoid()]
        layers += [nn.AvgPool2d(2)] if images else []
    (last,) = _normal((classes, 84), seed=1)
    head = [library.leaf(last * np.float32(84**-0.5)), library.leaf(np.zeros(classes, np.float32))]
    leaves += head
    layers.append(library.linear(*head))
    (pixels,) = _normal((batch, 1, height, width), seed=2)
    data = library.constant(pixels)
    targets = library.constant(np.random.default_rng(1).integers(0, classes, batch))
    optimizer = library.module.optim.SGD(leaves, lr=0.01)
    return _training(library, layers, leaves, data, targets, optimizer)


def _training(
    library: Layered, layers: Sequence[Callable[[Any], Any]], leaves: list[Any], data: Any, targets: Any, optimizer: Any
) -> Call:
    def loss(*layers_and_data: Any) -> Any:
        *layers, out, targets = layers_and_data
        for layer in layers:
            out = layer(out)
        return library.cross_entropy(out, targets)

    function = library.function(loss, layers)

    def step() -> list[Any]:
        found = library.differentiated(function, [data, targets], leaves, None)
        optimizer.step()
        return found

    return step


def rnn(library: Layered, size: Size) -> Call:
    """A recurrent network, hₜ = tanh(LN(W xₜ + U hₜ₋₁)), unrolled: many small operations with layers around them."""
    steps, batch, inputs, hidden = size
    first, second, *xs = _normal((hidden, inputs), (hidden, hidden), *[(batch, inputs)] * steps)
    start, seed = _normal((batch, hidden), (batch, hidden), seed=1)
    arrays = [
        first * np.float32(inputs**-0.5),
        np.zeros(hidden, np.float32),
        second * np.float32(hidden**-0.5),
        np.ones(hidden, np.float32),
        np.zeros(hidden, np.float32),
    ]
    leaves = [library.leaf(array) for array in arrays]
    layers = [library.linear(*leaves[:2]), library.linear(leaves[2]), library.layer_norm_layer(*leaves[3:])]

    def unrolled(into: Any, again: Any, norm: Any, h: Any, *sequence: Any) -> Any:
        for x in sequence:
            h = library.tanh(norm(into(x) + again(h)))
        return h

    data = [library.constant(x) for x in (start, *xs)]
    function = library.function(unrolled, layers)
    return functools.partial(library.differentiated, function, data, leaves, library.constant(seed))


def _recurrent(kind: str, gates: int, library: Layered, size: Size) -> Call:
    steps, batch, inputs, hidden = size
    rows = gates * hidden
    arrays = _normal((rows, inputs), (rows, hidden), (rows,), (rows,))
    leaves = [library.leaf(array * np.float32(hidden**-0.5)) for array in arrays]
    (x, seed) = _normal((steps, batch, inputs), (steps, batch, hidden), seed=1)
    function = library.function(lambda layer, x: layer(x)[0], [library.recurrent(kind, leaves)])
    return functools.partial(library.differentiated, function, [library.constant(x)], leaves, library.constant(seed))


def lstm(library: Layered, size: Size) -> Call:
    """A long short-term memory along a sequence."""
    return _recurrent("LSTM", 4, library, size)


def gru(library: Layered, size: Size) -> Call:
    """Gated recurrent units along a sequence."""
    return _recurrent("GRU", 3, library, size)


def encoder(library: Layered, size: Size) -> Call:
    """A transformer encoder layer: attention, two linear layers, two layer norms."""
    length, batch, width, heads = size
    layer = library.encoder_layer(width, heads, 4 * width)
    named = sorted(layer.named_parameters())
    (x, seed) = _normal((length, batch, width), (length, batch, width), seed=1)
    for (name, _), values in zip(named, _normal(*(tuple(p.shape) for _, p in named)), strict=True):
        owner, _, last = name.rpartition(".")
        # Weights of the norms stay near 1, all others small.
        scaled = values * np.float32(width**-0.5) + np.float32(owner.startswith("norm") and last == "weight")
        setattr(functools.reduce(getattr, owner.split(".") if owner else [], layer), last, library.leaf(scaled))
    leaves = [parameter for _, parameter in sorted(layer.named_parameters())]
    function = library.function(lambda layer, x: layer(x), [layer])
    return functools.partial(library.differentiated, function, [library.constant(x)], leaves, library.constant(seed))


Numbers: TypeAlias = tuple[float | None, float]


def _norm_targets(torch: Numbers, native: Numbers, compiled: Numbers) -> tuple[Target, ...]:
    return Target("torch", *torch), Target(NATIVE, *native), Target(NATIVE, *compiled, ours=COMPILED)


TIMED = (
    Workload(
        "chain",
        "chain of 999 operations",
        chain,
        (999,),
        (30,),
        COMPOSED,
        (Target("torch", 0.9, 0.55), Target("autograd", 0.4, 0.21), Target("mygrad", 0.4, 0.22)),
    ),
    Workload(
        "bn-small",
        "batch norm (128,512)",
        batch_norm,
        (128, 512),
        (6, 3),
        EVERY,
        _norm_targets((0.9, 0.67), (2.5, 1.7), (1.0, 0.65)),
    ),
    Workload(
        "bn-large",
        "batch norm (4096,1024)",
        batch_norm,
        (4096, 1024),
        (8, 4),
        EVERY,
        _norm_targets((0.55, 0.39), (3.5, 2.5), (1.0, 0.91)),
    ),
    Workload(
        "bn-images",
        "batch norm (32,64,32,32)",
        batch_norm,
        (32, 64, 32, 32),
        (2, 3, 4, 4),
        EVERY,
        _norm_targets((0.65, 0.46), (1.8, 1.2), (1.0, 0.34)),
    ),
    Workload(
        "ln-sequence",
        "layer norm (64,128,512)",
        layer_norm,
        (64, 128, 512),
        (2, 3, 8),
        EVERY,
        _norm_targets((0.75, 0.6), (6.5, 4.8), (1.05, 0.98)),
    ),
    Workload(
        "ln-rows",
        "layer norm (8192,1024)",
        layer_norm,
        (8192, 1024),
        (4, 8),
        EVERY,
        _norm_targets((0.75, 0.6), (6.5, 4.8), (1.05, 0.87)),
    ),
    Workload(
        "gn",
        "group norm (16,64,32,32)",
        group_norm,
        (16, 64, 32, 32),
        (2, 16, 3, 3),
        EVERY,
        _norm_targets((0.5, 0.35), (4.5, 3.1), (1.0, 0.72)),
    ),
    Workload(
        "gelu",
        "GELU (1000,1000)",
        gelu,
        (1000, 1000),
        (6, 3),
        LAYERED,
        (Target(NATIVE, 10.0, 9.0), Target(NATIVE, None, 2.2, ours=COMPILED)),
    ),
    Workload("softmax", "softmax (4096,1000)", softmax, (4096, 1000), (6, 3), EVERY),
    Workload("log-softmax", "log softmax (4096,1000)", log_softmax, (4096, 1000), (6, 3), EVERY),
    Workload("cross-entropy", "cross-entropy (4096,1000)", cross_entropy, (4096, 1000), (6, 3), EVERY),
    Workload(
        "mlp",
        "MLP 784-512-512-10 + BN, Adam",
        mlp,
        (128, 784, 512, 10),
        (8, 5, 4, 3),
        LAYERED,
        (Target(NATIVE, 1.1, 0.89), Target(NATIVE, None, 1.0, ours=COMPILED)),
    ),
    Workload(
        "lenet",
        "LeNet + BN, SGD",
        lenet,
        (128, 28, 28, 10),
        (4, 16, 16, 3),
        LAYERED,
        (Target(NATIVE, 2.0, 1.55),),
    ),
    Workload(
        "rnn",
        "RNN + LN, 100 steps",
        rnn,
        (100, 32, 64, 128),
        (3, 2, 3, 4),
        LAYERED,
        (Target(NATIVE, 1.4, 1.13), Target(NATIVE, None, 1.0, ours=COMPILED)),
    ),
    Workload(
        "lstm",
        "LSTM, 50 steps, 32 x 128 -> 128",
        lstm,
        (50, 32, 128, 128),
        (3, 2, 3, 4),
        LAYERED,
        (Target(NATIVE, 3.5, 3.5),),
    ),
    Workload("lstm-small", "LSTM, 50 steps, 16 x 32 -> 64", lstm, (50, 16, 32, 64), (3, 2, 3, 4), LAYERED),
    Workload("gru", "GRU, 50 steps, 32 x 128 -> 128", gru, (50, 32, 128, 128), (3, 2, 3, 4), LAYERED),
    Workload("encoder", "transformer layer (64,16,128)", encoder, (64, 16, 128, 4), (3, 2, 8, 2), LAYERED),
    Workload(
        "chain-long",
        "chain of 200,000 nodes",
        chain,
        (200_000,),
        (30,),
        PLAIN,
        (Target("torch", 0.6, 0.3),),
        fresh=True,
    ),
)

HELD = (
    Workload("memory-norms", "memory, 30 x (BN + relu) (256,512)", norm_stack, (30, 256, 512), (2, 8, 4), EVERY),
    Workload(
        "memory-chain",
        "memory, chain of 200,000 nodes",
        chain,
        (200_000,),
        (30,),
        COMPOSED,
        (Target("", 120.0, 91.0, "value"),),
    ),
    Workload("memory-bn", "memory, batch norm (1000000,16)", batch_norm, (1_000_000, 16), (6, 3), EVERY),
)
