"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from microtensor.nn import init
from microtensor.nn.module import Module
from microtensor.primitive import label
from microtensor.random import generator as as_generator
from microtensor.tensor import Parameter, Tensor, zeros


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

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.Linear(3, 2)(mt.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: Any = None) -> None:
        super().__init__()
        if in_features <= 0 or out_features <= 0:
            raise ValueError(f"Linear: sizes {in_features} and {out_features} must be positive")
        self.in_features = in_features
        self.out_features = out_features
        bound = in_features**-0.5
        generator = as_generator(rng)
        self.weight = Parameter(zeros((out_features, in_features)), name="W")
        init.uniform_(self.weight, -bound, bound, rng=generator)
        if bias:
            self.bias = Parameter(zeros(out_features), name="b")
            init.uniform_(self.bias, -bound, bound, rng=generator)
        else:
            self.register_parameter("bias", None)

    def extra_repr(self) -> str:
        """The sizes, and whether there is no bias."""
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")

    def forward(self, x: Tensor) -> Tensor:
        """X Wᵀ + b over the last axis of x."""
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear({self.extra_repr()}): input of shape {x.shape} must have {self.in_features} features "
                "along its last axis"
            )
        out = x @ label(self.weight.mT, "Wᵀ")
        return out if self.bias is None else out + self.bias
