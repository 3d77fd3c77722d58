"""The names that the library gives to results. Any other name of a result is the user's."""

from __future__ import annotations

from microtensor.core.tensor import Tensor
from microtensor.inspect.history import made_by

LIBRARY = frozenset(
    {
        *("μ", "σ", "σ²", "x − μ", "x̂", "corrected x̂", "mean x²", "rms", "‖x‖", "r", "d"),
        *("running μ", "running σ", "running Σ^(−½)", "Σ", "tr Σ", "Σ^(−½)", "v / ‖v‖", "‖v‖", "u", "v"),
        *("h", "c", "i", "f", "g", "o", "n", "z", "Q", "K", "V", "Kᵀ", "Wᵀ", "scores", "weights", "mask", "padding"),
        *("loss", "max", "columns", "kernels"),
    }
)


def is_by_library(result: Tensor) -> bool:
    """Whether the library has named a result. It names results inside of its own scopes only.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.graph.names import is_by_library
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> is_by_library(mt.losses.mse_loss(x, mt.tensor([0.0, 0.0]))), is_by_library(mt.label(x * x, "loss"))
    (True, False)
    """
    node = made_by(result)
    return node is not None and node.scope is not None and is_of_library(result.name or "")


def is_of_library(name: str) -> bool:
    """Whether a name is one that the library gives to results.

    Examples
    --------
    >>> from microtensor.inspect.graph.names import is_of_library
    >>> is_of_library("x − μ"), is_of_library("W_ihᵀ"), is_of_library("my loss")
    (True, True, False)
    """
    return name in LIBRARY or name.endswith(("ᵀ", " − μ"))
