"""Layers with state, under PyTorch's names, defaults and state keys."""

from typing import TYPE_CHECKING

from microtensor.creation import Parameter as Parameter
from microtensor.nn import functional as functional
from microtensor.nn import init as init
from microtensor.nn import utils as utils
from microtensor.nn.activation import *
from microtensor.nn.attention import *
from microtensor.nn.container import *
from microtensor.nn.convolution import *
from microtensor.nn.dropout import Dropout as Dropout
from microtensor.nn.embedding import *
from microtensor.nn.linear import *
from microtensor.nn.loss import *
from microtensor.nn.module import Module as Module
from microtensor.nn.normalization import *
from microtensor.nn.pooling import *
from microtensor.nn.recurrent import *

# Type checkers follow the imports, and cannot read a list that is put together.
if not TYPE_CHECKING:
    __all__ = sorted(
        ["functional", "init", "utils", *(name for name, value in globals().items() if isinstance(value, type))]
    )
