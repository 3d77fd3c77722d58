"""The norms with state: γ and β, and running statistics. The formulas are in ``norms``."""

from microtensor.nn.normalization.batch import BatchNorm1d, BatchNorm2d, BatchNorm3d
from microtensor.nn.normalization.batch_variants import (
    BatchRenorm1d,
    BatchRenorm2d,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    IterNorm,
)
from microtensor.nn.normalization.instance import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from microtensor.nn.normalization.response import FilterResponseNorm, LocalResponseNorm
from microtensor.nn.normalization.sample import GroupNorm, LayerNorm, RMSNorm, ScaleNorm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchRenorm1d",
    "BatchRenorm2d",
    "FilterResponseNorm",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "IterNorm",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "ScaleNorm",
]
