"""PyTorch's names for the functions that layers are made of."""
# ruff: noqa: F403

from typing import TYPE_CHECKING

from microtensor.functional import elu as elu
from microtensor.functional import gelu as gelu
from microtensor.functional import hardtanh as hardtanh
from microtensor.functional import leaky_relu as leaky_relu
from microtensor.functional import log_softmax as log_softmax
from microtensor.functional import logsumexp as logsumexp
from microtensor.functional import mish as mish
from microtensor.functional import selu as selu
from microtensor.functional import silu as silu
from microtensor.functional import softmax as softmax
from microtensor.losses import *
from microtensor.nn.attention import scaled_dot_product_attention as scaled_dot_product_attention
from microtensor.nn.dropout import dropout as dropout
from microtensor.norms import *
from microtensor.ops import adaptive_avg_pool as adaptive_avg_pool
from microtensor.ops import avg_pool as avg_pool
from microtensor.ops import conv1d as conv1d
from microtensor.ops import conv2d as conv2d
from microtensor.ops import conv_transpose2d as conv_transpose2d
from microtensor.ops import embedding as embedding
from microtensor.ops import max_pool as max_pool
from microtensor.ops import relu as relu
from microtensor.ops import sigmoid as sigmoid
from microtensor.ops import softplus as softplus
from microtensor.ops import tanh as tanh
from microtensor.ops import unfold as unfold

# Type checkers follow the imports, and cannot read a list that is put together.
if not TYPE_CHECKING:
    __all__ = sorted(name for name, value in globals().items() if name.islower() and callable(value) and name[0] != "_")
