"""PyTorch's names for the functions that layers are made of."""

from microtensor.functional import cross_entropy, log_softmax, logsumexp, mse_loss, softmax
from microtensor.norms import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from microtensor.ops import relu, sigmoid, tanh

__all__ = [
    "batch_norm",
    "cross_entropy",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "mse_loss",
    "relu",
    "rms_norm",
    "sigmoid",
    "softmax",
    "tanh",
]
