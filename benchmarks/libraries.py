"""The libraries under comparison, made to speak one language, so that each workload is written once.

A library is imported when it is made, not before: a child process that measures memory loads only one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Axes: TypeAlias = tuple[int, ...]
EPS = 1e-5


class RefusedError(Exception):
    """A library cannot run a workload; the message is its reason."""


class Library:
    """A vocabulary of operations, and the norms composed of it; a library overrides what it has itself.

    Attributes
    ----------
    name : str
        As in the table.
    package : str
        What has to be installed.
    """

    name: str
    package: str

    def __init__(self) -> None:
        self.module: Any = import_module(self.package)

    # --- tensors ------------------------------------------------------------------------------------------

    def leaf(self, array: Array) -> Any:
        raise NotImplementedError

    def constant(self, array: Array) -> Any:
        """What takes no part in differentiation, as the library's own type: nobody has to convert it in each pass."""
        return array

    def function(self, formula: Callable[..., Any], parts: Sequence[Any] = ()) -> Callable[..., Any]:
        """What is differentiated: `formula` of the layers in `parts`, of which there may be none, and of the inputs."""
        return functools.partial(formula, *parts)

    def differentiated(
        self, function: Callable[..., Any], inputs: Sequence[Any], leaves: Sequence[Any], seed: Any
    ) -> list[Any]:
        """One forward and one backward pass: the result and the gradient of every leaf, of the library's own type."""
        raise NotImplementedError

    def numpy(self, result: Any) -> Array:
        return np.asarray(result)

    # --- operations ---------------------------------------------------------------------------------------

    def mean(self, x: Any, axes: Axes) -> Any:
        return self.module.mean(x, axis=axes, keepdims=True)

    def sqrt(self, x: Any) -> Any:
        return self.module.sqrt(x)

    def square(self, x: Any) -> Any:
        return self.module.square(x)

    def tanh(self, x: Any) -> Any:
        return self.module.tanh(x)

    def relu(self, x: Any) -> Any:
        return self.module.maximum(x, np.float32(0))

    def below_largest(self, x: Any) -> Any:
        return x - self.module.max(x, axis=-1, keepdims=True)

    def total(self, x: Any) -> Any:
        return self.module.sum(x, axis=-1, keepdims=True)

    def softmax(self, x: Any) -> Any:
        e = self.module.exp(self.below_largest(x))
        return e / self.total(e)

    def log_softmax(self, x: Any) -> Any:
        below = self.below_largest(x)
        return below - self.module.log(self.total(self.module.exp(below)))

    def cross_entropy(self, scores: Any, labels: Any) -> Any:
        return -self.log_softmax(scores)[np.arange(len(labels)), labels].mean()

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self.module.reshape(x, shape)

    # --- norms --------------------------------------------------------------------------------------------

    def standardize(self, x: Any, axes: Axes) -> Any:
        """The textbook's line; ε as float32, because NumPy's Python-scalar rule does not hold in every peer."""
        centered = x - self.mean(x, axes)
        return centered / self.sqrt(self.mean(self.square(centered), axes) + np.float32(EPS))

    def batch_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        axes = (0, *range(2, x.ndim))
        return self.standardize(x, axes) * self.reshape(weight, shape) + self.reshape(bias, shape)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.standardize(x, (x.ndim - 1,)) * weight + bias

    def group_norm(self, x: Any, groups: int, weight: Any, bias: Any) -> Any:
        n, c, *rest = x.shape
        grouped = self.reshape(x, (n, groups, c // groups, *rest))
        normalized = self.reshape(self.standardize(grouped, tuple(range(2, grouped.ndim))), (n, c, *rest))
        shape = (1, -1) + (1,) * len(rest)
        return normalized * self.reshape(weight, shape) + self.reshape(bias, shape)


class Layered(Library):
    """A library with layers and optimisers of its own, so that whole networks can be built as its users do."""

    def linear(self, weight: Any, bias: Any = None) -> Callable[[Any], Any]:
        layer = self.module.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        return _filled(layer, weight, bias)

    def conv2d(self, weight: Any) -> Callable[[Any], Any]:
        filters, channels, *window = weight.shape
        return _filled(self.module.nn.Conv2d(channels, filters, tuple(window), bias=False), weight, None)

    def batch_norm_layer(self, weight: Any, bias: Any, images: bool = False) -> Callable[[Any], Any]:
        kind = self.module.nn.BatchNorm2d if images else self.module.nn.BatchNorm1d
        return _filled(kind(weight.shape[0]), weight, bias)

    def layer_norm_layer(self, weight: Any, bias: Any) -> Callable[[Any], Any]:
        return _filled(self.module.nn.LayerNorm(weight.shape[0]), weight, bias)

    def gelu(self, x: Any) -> Any:
        return self.module.nn.functional.gelu(x)

    def recurrent(self, kind: str, leaves: Sequence[Any]) -> Callable[[Any], Any]:
        """An LSTM or a GRU of W_ih, W_hh, b_ih and b_hh: its output at every step, and its last state."""
        layer = getattr(self.module.nn, kind)(leaves[0].shape[1], leaves[1].shape[1])
        for name, leaf in zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), leaves, strict=True):
            setattr(layer, name, leaf)
        return layer  # type: ignore[no-any-return]

    def encoder_layer(self, width: int, heads: int, hidden: int) -> Any:
        """A transformer encoder layer without dropout."""
        return self.module.nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0)

    def log_softmax(self, x: Any) -> Any:
        return self.module.log_softmax(x, -1)

    def cross_entropy(self, scores: Any, labels: Any) -> Any:
        return self.module.nn.functional.cross_entropy(scores, labels)

    def adam(self, leaves: Sequence[Any]) -> Any:
        return self.module.optim.Adam(leaves)

    def differentiated(
        self, function: Callable[..., Any], inputs: Sequence[Any], leaves: Sequence[Any], seed: Any
    ) -> list[Any]:
        for leaf in leaves:
            leaf.grad = None
        y = function(*inputs)
        y.backward(seed)
        return [y, *(leaf.grad for leaf in leaves)]


def _filled(layer: Any, weight: Any, bias: Any) -> Callable[[Any], Any]:
    layer.weight = weight
    layer.bias = bias
    return layer  # type: ignore[no-any-return]


class Microtensor(Layered):
    """Ours, with the norms as the library offers them: compositions too."""

    name = package = "microtensor"

    def leaf(self, array: Array) -> Any:
        return self.module.nn.Parameter(array)

    def constant(self, array: Array) -> Any:
        return self.module.tensor(array)

    def numpy(self, result: Any) -> Array:
        return np.asarray(result.numpy())

    def relu(self, x: Any) -> Any:
        return self.module.relu(x)

    def gelu(self, x: Any) -> Any:
        return self.module.gelu(x)

    def softmax(self, x: Any) -> Any:
        return self.module.softmax(x)

    def encoder_layer(self, width: int, heads: int, hidden: int) -> Any:
        return super().encoder_layer(width, heads, hidden).astype("float32")

    def batch_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.module.norms.batch_norm(x, weight=weight, bias=bias, training=True, eps=EPS)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.module.norms.layer_norm(x, x.shape[-1], weight, bias, EPS)

    def group_norm(self, x: Any, groups: int, weight: Any, bias: Any) -> Any:
        return self.module.norms.group_norm(x, groups, weight, bias, EPS)


class Compiled(Microtensor):
    """Ours, through ``microtensor.compile``. It never runs the composition in the program's place."""

    name = "compiled"

    def __init__(self) -> None:
        super().__init__()
        # Whatever runs the programs is imported here, as the other libraries are.
        self.module.compile(self.module.tanh)

    def function(self, formula: Callable[..., Any], parts: Sequence[Any] = ()) -> Callable[..., Any]:
        nn = self.module.nn

        class Composition(nn.Module):  # type: ignore[misc, name-defined]
            """A module, so that the parameters of the layers are inputs of the program."""

            def __init__(self) -> None:
                super().__init__()
                self.parts = nn.ModuleList(parts)

            def forward(self, *inputs: Any) -> Any:
                return formula(*self.parts, *inputs)

        fast = self.module.compile(Composition(), strict=True)

        def run(*inputs: Any) -> Any:
            try:
                return fast(*inputs)
            except self.module.CompileError:
                raise RefusedError(fast.why) from None

        return run


class Torch(Layered):
    """PyTorch with norms, GELU, softmax, cross-entropy and recurrent layers composed of its own operations."""

    name = package = "torch"

    def __init__(self) -> None:
        super().__init__()
        self.module.set_num_threads(1)

    def leaf(self, array: Array) -> Any:
        return self.module.nn.Parameter(self.constant(array))

    def constant(self, array: Array) -> Any:
        return self.module.from_numpy(array.copy())

    def numpy(self, result: Any) -> Array:
        return np.asarray(result.detach().numpy())

    def mean(self, x: Any, axes: Axes) -> Any:
        return x.mean(axes, keepdim=True)

    def standardize(self, x: Any, axes: Axes) -> Any:
        centered = x - self.mean(x, axes)
        return centered / self.sqrt(self.mean(self.square(centered), axes) + EPS)

    def relu(self, x: Any) -> Any:
        return self.module.relu(x)

    def gelu(self, x: Any) -> Any:
        return x * 0.5 * (self.module.erf(x * 0.5**0.5) + 1.0)

    def below_largest(self, x: Any) -> Any:
        return x - x.amax(-1, keepdim=True)

    def total(self, x: Any) -> Any:
        return x.sum(-1, keepdim=True)

    softmax = Library.softmax
    log_softmax = Library.log_softmax

    def cross_entropy(self, scores: Any, labels: Any) -> Any:
        return -self.log_softmax(scores).gather(1, labels[:, None]).mean()

    def recurrent(self, kind: str, leaves: Sequence[Any]) -> Callable[[Any], Any]:
        w_ih, w_hh, b_ih, b_hh = leaves
        step = {"LSTM": self._lstm_step, "GRU": self._gru_step}[kind]

        def along(x: Any) -> tuple[Any, Any]:
            h = c = self.module.zeros(x.shape[1], w_hh.shape[1])
            outputs = []
            for from_x in x @ w_ih.T + b_ih:
                h, c = step(from_x, h @ w_hh.T + b_hh, h, c)
                outputs.append(h)
            return self.module.stack(outputs), h

        return along

    def _lstm_step(self, from_x: Any, from_h: Any, h: Any, c: Any) -> tuple[Any, Any]:
        i, f, g, o = (from_x + from_h).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def _gru_step(self, from_x: Any, from_h: Any, h: Any, c: Any) -> tuple[Any, Any]:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = from_x.chunk(3, 1), from_h.chunk(3, 1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        return (1 - z) * (x_n + r * h_n).tanh() + z * h, c

    def encoder_layer(self, width: int, heads: int, hidden: int) -> Any:
        layer = super().encoder_layer(width, heads, hidden)
        for norm in (layer.norm1, layer.norm2):
            norm.forward = functools.partial(self._layer_norm_of, norm)
        return layer

    def _layer_norm_of(self, norm: Any, x: Any) -> Any:
        return self.layer_norm(x, norm.weight, norm.bias)

    def batch_norm_layer(self, weight: Any, bias: Any, images: bool = False) -> Callable[[Any], Any]:
        return functools.partial(self.batch_norm, weight=weight, bias=bias)

    def layer_norm_layer(self, weight: Any, bias: Any) -> Callable[[Any], Any]:
        return functools.partial(self.layer_norm, weight=weight, bias=bias)


class TorchNative(Torch):
    """PyTorch with its fused kernels."""

    name = "torch-native"

    def batch_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.module.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.module.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, EPS)

    def group_norm(self, x: Any, groups: int, weight: Any, bias: Any) -> Any:
        return self.module.nn.functional.group_norm(x, groups, weight, bias, EPS)

    def softmax(self, x: Any) -> Any:
        return self.module.softmax(x, -1)

    log_softmax = Layered.log_softmax
    cross_entropy = Layered.cross_entropy
    batch_norm_layer = Layered.batch_norm_layer
    layer_norm_layer = Layered.layer_norm_layer
    gelu = Layered.gelu
    recurrent = Layered.recurrent
    encoder_layer = Layered.encoder_layer


class Autograd(Library):
    """HIPS autograd: a function of plain arrays is traced anew at each call."""

    name = package = "autograd"

    def __init__(self) -> None:
        super().__init__()
        self.make_vjp: Any = self.module.make_vjp
        self.module = import_module("autograd.numpy")

    def leaf(self, array: Array) -> Any:
        return array

    def differentiated(
        self, function: Callable[..., Any], inputs: Sequence[Any], leaves: Sequence[Any], seed: Any
    ) -> list[Any]:
        constants = inputs[len(leaves) :]
        pull, y = self.make_vjp(lambda arguments: function(*arguments, *constants))(tuple(leaves))
        return [y, *pull(seed)]


class MyGrad(Library):
    """MyGrad: tensors that record themselves on NumPy, as ours do."""

    name = package = "mygrad"

    def leaf(self, array: Array) -> Any:
        return self.module.tensor(array)

    def differentiated(
        self, function: Callable[..., Any], inputs: Sequence[Any], leaves: Sequence[Any], seed: Any
    ) -> list[Any]:
        # Gradients of an earlier pass are dropped by the library itself as soon as a leaf is used again.
        y = function(*inputs)
        y.backward(seed)
        return [y, *(leaf.grad for leaf in leaves)]


OURS, COMPILED, NATIVE = Microtensor.name, Compiled.name, TorchNative.name
LIBRARIES: dict[str, type[Library]] = {
    kind.name: kind for kind in (Microtensor, Compiled, TorchNative, Torch, Autograd, MyGrad)
}


def load(names: Sequence[str]) -> tuple[list[Library], dict[str, str]]:
    """The libraries that can be imported, and for each of the others the reason why not."""
    found, missing = [], {}
    for name in names:
        try:
            found.append(LIBRARIES[name]())
        except ImportError as error:
            if name == OURS:
                raise
            missing[name] = str(error)
    return found, missing
