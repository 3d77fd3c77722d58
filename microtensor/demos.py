"""The built-in targets of the command line: small networks with the same numbers on every run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from microtensor import losses, nn
from microtensor.core.tensor import Tensor


def batch_norm() -> Tensor:
    """Batch normalization of 8 samples of 4 features."""
    return _norm(nn.BatchNorm1d(4), "bn1")


def layer_norm() -> Tensor:
    """Layer normalization of 8 samples of 4 features."""
    return _norm(nn.LayerNorm(4), "ln1")


def _norm(layer: nn.Module, name: str) -> Tensor:
    rng = np.random.default_rng(0)
    layer._name = name
    for parameter in layer.parameters():
        parameter.assign_(parameter._array + rng.normal(0.0, 0.1, parameter.shape))
    x = Tensor(rng.normal(1.0, 2.0, (8, 4)), requires_grad=True, name="x")
    y: Tensor = layer(x)
    y.name = "y"
    return y


class Block(nn.Module):
    """Linear, batch norm, ReLU."""

    def __init__(self, size_in: int, size_out: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.fc = nn.Linear(size_in, size_out, bias=False, rng=rng)
        self.bn = nn.BatchNorm1d(size_out)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out: Tensor = self.relu(self.bn(self.fc(x)))
        return out


class MLP(nn.Module):
    """Two blocks and a linear head."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.block1 = Block(64, 32, rng)
        self.block2 = Block(32, 16, rng)
        self.head = nn.Linear(16, 10, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        out: Tensor = self.head(self.block2(self.block1(x)))
        return out


def mlp() -> Tensor:
    """The loss of a batch-normalised network 64-32-16-10 on 32 random samples."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(32, 64)), name="x")
    t = Tensor(rng.integers(0, 10, 32), name="t")
    return losses.cross_entropy(MLP(rng)(x), t)


DEMOS: dict[str, Callable[[], Tensor]] = {"batch_norm": batch_norm, "layer_norm": layer_norm, "mlp": mlp}
