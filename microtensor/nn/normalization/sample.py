"""Norms of one sample at a time, without mode and running statistics: layer, group, RMS and scale norm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from microtensor import norms
from microtensor.checks import check_channel_count, check_eps, check_float, check_groups, check_size
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, full, ones, zeros
from microtensor.nn.docstrings import completed_by
from microtensor.nn.module import Module, settings_text
from microtensor.nn.normalization.description import of_group_norm, of_layer_norm

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm", "ScaleNorm"]


@completed_by(norms.layer_norm)
class LayerNorm(Module):
    """Layer normalization: γ (x − μ) / √(σ² + ε) + β, with the statistics of each sample over its last axes.

    μ = (1/H) Σ x and σ² = (1/H) Σ (x − μ)² over all H features of one observation. Training and prediction are the
    same. The result for a sample does not depend on the other samples.

    Parameters
    ----------
    elementwise_affine : bool
        Whether γ (``weight``) and β (``bias``), parameters of shape `normalized_shape`, are learnt.
    bias : bool
        Whether there is a β.

    Raises
    ------
    ValueError
        A wrong setting, or an input that does not end in `normalized_shape`.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.LayerNorm(2, eps=1e-12)(mt.tensor([[1.0, 3.0]])).numpy()
    array([[-1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _positive_shape(normalized_shape, "LayerNorm")
        self.eps = check_eps(eps, "LayerNorm")
        self.register_parameter("weight", Parameter(ones(shape), name="γ") if elementwise_affine else None)
        self.register_parameter("bias", Parameter(zeros(shape), name="β") if elementwise_affine and bias else None)

    def extra_repr(self) -> str:
        """The normalised shape, and the settings that differ from their defaults."""
        return settings_text(self, "normalized_shape", eps=1e-5, **_scales(self, "elementwise_affine"))

    @property
    def elementwise_affine(self) -> bool:
        """Whether there is a γ or a β."""
        return self.weight is not None or self.bias is not None

    def describe(self) -> str:
        """The name and settings of this layer in PyTorch, Keras, flax and ONNX, and the changes needed there.

        Examples
        --------
        >>> import microtensor as mt
        >>> print(mt.nn.LayerNorm(4).describe().splitlines()[3])
          Keras    LayerNormalization(axis=-1, epsilon=1e-05): gamma, beta
        """
        return of_layer_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β over the last axes."""
        check_float(x, self)
        return norms.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


@completed_by(norms.group_norm)
class GroupNorm(Module):
    """Group normalization of (N, C, …): γ (x − μ) / √(σ² + ε) + β, with statistics per sample and group of channels.

    Training and prediction are the same. With one group, the statistics are those of ``LayerNorm((C, H, W))``, but γ
    and β have shape (C,) here. With C groups, the statistics are those of instance norm.

    Parameters
    ----------
    num_groups : int
        The number of groups. It must divide `num_channels`.
    num_channels : int
        C.
    affine : bool
        Whether γ (``weight``) and β (``bias``), parameters of shape (C,), are learnt.
    bias : bool
        Whether there is a β, if `affine`.

    Raises
    ------
    ValueError
        A wrong setting or a wrong number of channels.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.GroupNorm(2, 4, eps=1e-12)(mt.tensor([[1.0, 3.0, 10.0, 30.0]])).numpy()
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.num_channels = check_size(num_channels, "num_channels", "GroupNorm")
        self.num_groups = check_groups(num_channels, num_groups, "GroupNorm")
        self.eps = check_eps(eps, "GroupNorm")
        self.register_parameter("weight", Parameter(ones(num_channels), name="γ") if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_channels), name="β") if affine and bias else None)

    def extra_repr(self) -> str:
        """The groups and channels, and the settings that differ from their defaults."""
        return settings_text(self, "num_groups", "num_channels", eps=1e-5, **_scales(self, "affine"))

    @property
    def affine(self) -> bool:
        """Whether there is a γ or a β."""
        return self.weight is not None or self.bias is not None

    def describe(self) -> str:
        """The name and settings of this layer in PyTorch, Keras, flax and ONNX, and the changes needed there.

        Examples
        --------
        >>> import microtensor as mt
        >>> print(mt.nn.GroupNorm(2, 4).describe().splitlines()[3])
          Keras    GroupNormalization(groups=2, axis=1, epsilon=1e-05): gamma, beta
        """
        return of_group_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ + β over groups of channels."""
        check_float(x, self)
        check_channel_count(x, self.num_channels, f"GroupNorm({self.num_groups}, {self.num_channels})")
        return norms.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


@completed_by(norms.rms_norm)
class RMSNorm(Module):
    """Root mean square normalization: γ x / √(mean(x²) + ε) over the last axes. The mean is not subtracted.

    Parameters
    ----------
    elementwise_affine : bool
        Whether γ (``weight``), a parameter of shape `normalized_shape`, is learnt.

    Raises
    ------
    ValueError
        A wrong setting, or an input that does not end in `normalized_shape`.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.RMSNorm(2)(mt.tensor([[3.0, 3.0]])).numpy()
    array([[1., 1.]])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _positive_shape(normalized_shape, "RMSNorm")
        self.eps = None if eps is None else check_eps(eps, "RMSNorm")
        self.register_parameter("weight", Parameter(ones(shape), name="γ") if elementwise_affine else None)

    def extra_repr(self) -> str:
        """The normalised shape, and the settings that differ from their defaults."""
        return settings_text(self, "normalized_shape", eps=None, elementwise_affine=True)

    @property
    def elementwise_affine(self) -> bool:
        """Whether there is a γ."""
        return self.weight is not None

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ over the last axes."""
        check_float(x, self)
        return norms.rms_norm(x, self.normalized_shape, self.weight, self.eps)


@completed_by(norms.scale_norm)
class ScaleNorm(Module):
    """Scale normalization: γ x / √(Σ x² + ε) over the last axis, with one learnt γ that starts at √d.

    Parameters
    ----------
    dim : int
        d, the size of the last axis.

    Raises
    ------
    ValueError
        A wrong setting, or an input that does not end in d.
    TypeError
        The input is not floating point.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.nn.ScaleNorm(4, eps=1e-12)(mt.ones((1, 4))).numpy()
    array([[1., 1., 1., 1.]])
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim = check_size(dim, "dim", "ScaleNorm")
        self.eps = check_eps(eps, "ScaleNorm")
        self.weight = Parameter(full((), dim**0.5), name="γ")

    def extra_repr(self) -> str:
        """The size of the last axis, and the settings that differ from their defaults."""
        return settings_text(self, "dim", eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """γ x̂ over the last axis."""
        check_float(x, self)
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"ScaleNorm({self.dim}): input of shape {x.shape} does not end in {self.dim}")
        return norms.scale_norm(x, self.weight, self.eps)


def _positive_shape(normalized_shape: int | Sequence[int], who: str) -> tuple[int, ...]:
    several = isinstance(normalized_shape, Iterable) and not isinstance(normalized_shape, SupportsIndex)
    sizes: Iterable[Any] = normalized_shape if several else (normalized_shape,)  # type: ignore[assignment]
    shape = tuple(check_size(size, "normalized_shape", who) for size in sizes)
    if not shape:
        raise ValueError(f"{who}: normalized_shape is (); it must hold at least one size")
    return shape


def _scales(layer: Module, both: str) -> dict[str, bool]:
    """The settings that a representation shows of γ and β: `both` if neither is there."""
    return {both: True} if layer.weight is None and layer.bias is None else {"weight": True, "bias": True}
