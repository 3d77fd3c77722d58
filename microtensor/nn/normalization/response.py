"""Layers that divide the output of a convolution by its magnitude: filter and local response norm."""

from __future__ import annotations

from microtensor import norms
from microtensor.checks import check_channel_count, check_eps, check_float, check_number, check_size
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, ones, zeros
from microtensor.nn.docstrings import completed_by
from microtensor.nn.module import Module, settings_text

__all__ = ["FilterResponseNorm", "LocalResponseNorm"]


@completed_by(norms.filter_response_norm)
class FilterResponseNorm(Module):
    """Filter response normalization of (N, C, …): max(γ x / √(mean(x²) + ε) + β, τ) for each sample and channel.

    It replaces a norm and the activation after it. Training and prediction are the same.

    Parameters
    ----------
    num_channels : int
        C.
    threshold : bool
        Whether there is a learnt τ, the thresholded linear unit. Without it, put an activation after the layer.

    Raises
    ------
    ValueError
        A wrong setting, a wrong number of channels, or no positions.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.FilterResponseNorm(1, eps=1e-12)(mt.tensor([[[3.0, -3.0]]])).numpy()
    array([[[1., 0.]]])
    """

    def __init__(self, num_channels: int, eps: float = 1e-6, threshold: bool = True) -> None:
        super().__init__()
        who = type(self).__name__
        self.num_channels = check_size(num_channels, "num_channels", who)
        self.eps = check_eps(eps, who)
        self.weight = Parameter(ones(num_channels), name="γ")
        self.bias = Parameter(zeros(num_channels), name="β")
        self.register_parameter("threshold", Parameter(zeros(num_channels), name="τ") if threshold else None)

    def extra_repr(self) -> str:
        """The channels, and the settings that differ from their defaults."""
        return settings_text(self, "num_channels", eps=1e-6, threshold=True)

    def forward(self, x: Tensor) -> Tensor:
        """max(γ x̂ + β, τ) over the positions."""
        check_float(x, self)
        check_channel_count(x, self.num_channels, f"FilterResponseNorm({self.num_channels})")
        return norms.filter_response_norm(x, self.weight, self.bias, self.threshold, self.eps)


@completed_by(norms.local_response_norm)
class LocalResponseNorm(Module):
    """Local response normalization of (N, C, …): x / (k + α mean(x²))^β over `size` neighbouring channels.

    Nothing is learnt. As in PyTorch, α multiplies the mean; in the paper it multiplies the sum.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LocalResponseNorm(1, alpha=1.0, beta=0.5, k=0.0)(mt.tensor([[1.0, 3.0]]))
    tensor([[1., 1.]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        who = type(self).__name__
        self.size = check_size(size, "size", who)
        numbers = {"alpha": alpha, "beta": beta, "k": k}
        self.alpha, self.beta, self.k = (check_number(n, name, who) for name, n in numbers.items())

    def extra_repr(self) -> str:
        """The window, and the settings that differ from their defaults."""
        return settings_text(self, "size", alpha=1e-4, beta=0.75, k=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """The input divided by the power of its neighbours' mean square."""
        check_float(x, self)
        return norms.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
