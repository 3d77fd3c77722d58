"""PyTorch's spellings with PyTorch's meanings, on microtensor: ``import microtensor.torch as torch``.

It has a closed list of names, which ``docs/torch.md`` shows. Each does what it does in PyTorch, or refuses an option by
its name. Importing it changes nothing for other programs: the default dtype here is float32, and that of
``mt.get_default_dtype()`` stays as it is. ``manual_seed`` gives other random numbers than PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

from microtensor.support.modes import ModeSwitch
from microtensor.support.modes import enable_grad as enable_grad
from microtensor.support.modes import no_grad as _no_grad
from microtensor.torch import autograd as autograd
from microtensor.torch import backends as backends
from microtensor.torch import creation, dtypes, functions
from microtensor.torch import cuda as cuda
from microtensor.torch import nn as nn
from microtensor.torch import optim as optim
from microtensor.torch import utils as utils
from microtensor.torch.autograd import Variable as Variable
from microtensor.torch.dtypes import device as device
from microtensor.torch.dtypes import get_default_dtype as get_default_dtype
from microtensor.torch.dtypes import set_default_dtype as set_default_dtype
from microtensor.torch.dtypes import set_default_tensor_type as set_default_tensor_type
from microtensor.torch.serialization import load as load
from microtensor.torch.serialization import save as save
from microtensor.torch.tensor import ONE_SOURCE
from microtensor.torch.tensor import Size as Size
from microtensor.torch.tensor import Tensor as Tensor
from microtensor.torch.tensor import set_printoptions as set_printoptions


def no_grad(function: Any = None) -> Any:
    """Switch recording off: a context manager, and a decorator with or without brackets."""
    return _no_grad() if function is None else _no_grad()(function)


def inference_mode(mode: Any = True) -> Any:
    """As :func:`no_grad`; with False, nothing changes."""
    return no_grad(mode) if callable(mode) else _no_grad() if mode else enable_grad()


class set_grad_enabled(ModeSwitch):
    """Switch recording on or off from now on, or as a context manager until the end of its block."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = mode
        super().__enter__()

    def _next(self, mode: Any) -> Any:
        return mode._replace(recording=self.mode)

    def __enter__(self) -> ModeSwitch:
        return self


inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
globals().update(creation.CREATION)
globals().update({name: call for name, call in functions.FUNCTIONS.items() if name not in functions.ONLY_METHODS})
globals().update(functions.FUNCTIONS_ONLY)
globals().update(dtypes.NAMES)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"torch.{name} is not here: {ONE_SOURCE}")
