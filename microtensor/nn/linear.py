"""Linear maps of features: fully connected, bilinear, and the identity."""

from __future__ import annotations

from typing import Any

from microtensor import ops
from microtensor.checks import check_float, check_sizes
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, zeros
from microtensor.nn import init
from microtensor.nn.module import Module, settings_text
from microtensor.random import generator as as_generator

__all__ = ["Bilinear", "Identity", "Linear"]


def register_affine(layer: Module, shape: tuple[int, ...], outputs: int, fan_in: int, bias: bool, rng: Any) -> None:
    """Give a layer its weight and, with `bias`, its bias: uniform in ±1/√fan_in as in PyTorch."""
    bound = fan_in**-0.5
    generator = as_generator(rng)
    layer.weight = Parameter(zeros(shape), name="W")
    init.uniform_(layer.weight, -bound, bound, rng=generator)
    layer.register_parameter("bias", Parameter(zeros(outputs), name="b") if bias else None)
    if bias:
        init.uniform_(layer.bias, -bound, bound, rng=generator)


class Identity(Module):
    """The input, unchanged. It takes the place of a layer that is left out.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Identity()(mt.ones(2))
    tensor([1., 1.])
    """

    def forward(self, x: Any) -> Any:
        """Return the input."""
        return x


class Linear(Module):
    """An affine map: y = x Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
        x has shape (…, in_features) and y has shape (…, out_features).
    bias : bool
        Whether there is a b. In front of a batch norm it has no effect and no gradient.
    rng : int or numpy.random.Generator, optional
        For the initial values, uniform in ±1/√in_features as in PyTorch.

    Raises
    ------
    ValueError
        A size is not positive, or the input has another number of features.
    TypeError
        A size is not an integer, or the input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Linear(3, 2)(mt.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: Any = None) -> None:
        super().__init__()
        sizes = check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = sizes
        register_affine(self, (out_features, in_features), out_features, in_features, bias, rng)

    def extra_repr(self) -> str:
        """The sizes, and ``bias=False`` if there is no bias."""
        return settings_text(self, "in_features", "out_features", bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b, over the last axis of x."""
        _check_features(x, self.in_features, self)
        out: Tensor = x @ label(self.weight.mT, "Wᵀ")
        return out if self.bias is None else out + self.bias


class Bilinear(Module):
    """A bilinear map of two inputs: yₖ = x₁ᵀ Wₖ x₂ + bₖ.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
        x₁ has shape (…, in1_features), x₂ (…, in2_features), y (…, out_features).
    bias : bool
        Whether there is a b.
    rng : int or numpy.random.Generator, optional
        For the initial values, uniform in ±1/√in1_features as in PyTorch.

    Raises
    ------
    ValueError
        A size is not positive, an input has another number of features, or their other axes do not broadcast.
    TypeError
        A size is not an integer, or an input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Bilinear(3, 4, 2)(mt.ones((5, 3)), mt.ones((5, 4))).shape
    (5, 2)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, rng: Any = None
    ) -> None:
        super().__init__()
        sizes = check_sizes("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features, self.in2_features, self.out_features = sizes
        register_affine(self, (out_features, in1_features, in2_features), out_features, in1_features, bias, rng)

    def extra_repr(self) -> str:
        """The sizes, and ``bias=False`` if there is no bias."""
        return settings_text(self, "in1_features", "in2_features", "out_features", bias=True)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """x₁ᵀ Wₖ x₂ + bₖ over the last axes."""
        _check_features(x1, self.in1_features, self)
        _check_features(x2, self.in2_features, self)
        out: Tensor = ops.einsum("...i,kij,...j->...k", x1, self.weight, x2)
        return out if self.bias is None else out + self.bias


def _check_features(x: Any, features: int, layer: Module) -> None:
    check_float(x, layer)
    if x.ndim < 1 or x.shape[-1] != features:
        raise ValueError(f"{layer.title()}: input of shape {x.shape} must have {features} features along its last axis")
