"""Layers with state, under PyTorch's names, defaults and state keys."""

from microtensor.nn import functional, init
from microtensor.nn.activation import ReLU, Sigmoid, Tanh
from microtensor.nn.container import Sequential
from microtensor.nn.linear import Linear
from microtensor.nn.module import Module
from microtensor.nn.normalization import BatchNorm1d, LayerNorm
from microtensor.tensor import Parameter

__all__ = [
    "BatchNorm1d",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "functional",
    "init",
]
