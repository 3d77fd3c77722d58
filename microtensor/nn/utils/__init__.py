"""Tools for modules: weights that are computed from others, exact statistics, and bounds for gradients."""

from microtensor.nn.utils.gradients import clip_grad_norm_, clip_grad_value_
from microtensor.nn.utils.reparametrize import (
    remove_spectral_norm,
    remove_weight_norm,
    remove_weight_standardize,
    spectral_norm,
    weight_norm,
    weight_standardize,
)
from microtensor.nn.utils.statistics import update_bn

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "remove_spectral_norm",
    "remove_weight_norm",
    "remove_weight_standardize",
    "spectral_norm",
    "update_bn",
    "weight_norm",
    "weight_standardize",
]
