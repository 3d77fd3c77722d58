"""The public path of the tensor and of the functions that make one."""

from microtensor.core.tensor import Operand, Tensor, tensor
from microtensor.creation import (
    Parameter,
    arange,
    eye,
    full,
    get_default_dtype,
    ones,
    ones_like,
    set_default_dtype,
    zeros,
    zeros_like,
)
from microtensor.methods import rebuild as _rebuild

__all__ = [
    "Operand",
    "Parameter",
    "Tensor",
    "_rebuild",  # pickles of earlier versions name it
    "arange",
    "eye",
    "full",
    "get_default_dtype",
    "ones",
    "ones_like",
    "set_default_dtype",
    "tensor",
    "zeros",
    "zeros_like",
]
