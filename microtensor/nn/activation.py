"""Activations as modules."""

from __future__ import annotations

from microtensor import ops
from microtensor.nn.module import Module
from microtensor.tensor import Tensor


class ReLU(Module):
    """Rectified linear unit: max(x, 0).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ReLU()(mt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0), elementwise."""
        return ops.relu(x)


class Tanh(Module):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Tanh()(mt.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Tanh x, elementwise."""
        return ops.tanh(x)


class Sigmoid(Module):
    """Logistic sigmoid: 1 / (1 + e⁻ˣ).

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Sigmoid()(mt.tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, x: Tensor) -> Tensor:
        """1 / (1 + e⁻ˣ), elementwise."""
        return ops.sigmoid(x)
