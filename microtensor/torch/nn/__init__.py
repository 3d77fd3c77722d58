"""``torch.nn``: the layers of microtensor with this room's tensors, float32 parameters and PyTorch's options."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import Any

from microtensor import creation
from microtensor import nn as ours
from microtensor.core import tensor as core
from microtensor.torch import dtypes
from microtensor.torch.nn import functional as functional
from microtensor.torch.nn import init as init
from microtensor.torch.nn import utils as utils
from microtensor.torch.tensor import ONE_SOURCE, Tensor, newest, same, wrap

# Layers that PyTorch has not, or where it means something else: its Hardtanh has the derivative 0 on the bounds.
_OTHERS = dtypes.spelled("BatchRenorm1d BatchRenorm2d FilterResponseNorm GhostBatchNorm1d GhostBatchNorm2d Hardtanh")
_OTHERS |= dtypes.spelled("IterNorm LayerNormLSTMCell Module Parameter ScaleNorm functional init utils")
LAYERS = tuple(sorted(set(vars(ours)["__all__"]) - set(_OTHERS)))
_OURS = {getattr(ours, name) for name in LAYERS}
_CONTAINERS = ("ModuleDict", "ModuleList", "Sequential")
# Where PyTorch has inplace= among the arguments of a layer.
_INPLACE = {"ReLU": 0, "SELU": 0, "SiLU": 0, "Mish": 0, "LeakyReLU": 1, "ELU": 1, "Dropout": 1}
_IncompatibleKeys = namedtuple("_IncompatibleKeys", ("missing_keys", "unexpected_keys"))


class Parameter(Tensor, creation.Parameter):
    """A tensor that a module learns. It shares memory with the tensor that it is made of."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data is of type {type(data).__name__}; it must be a tensor")
        core.Tensor.__init__(self, data._array, requires_grad=requires_grad)
        self._look(data, same, tracked=False)


class Module(ours.Module):
    """A layer or a network: assign parameters and other modules as attributes, and define ``forward``."""

    def to(self, *target: Any, **options: Any) -> Any:
        """Convert parameters, their gradients and buffers of floats to a dtype, in place; returns the module."""
        for tensor in (*self.parameters(), *self.buffers()):
            new = tensor.detach().to(*target, **options)  # type: ignore[attr-defined]
            if tensor.dtype.kind == "f" and new.dtype != tensor.dtype:
                tensor.data = new
                tensor.grad = None if tensor.grad is None else tensor.grad.detach().to(new.dtype)  # type: ignore[attr-defined]
        return self

    cpu = to

    def cuda(self, device: Any = None) -> Any:
        """Refused: there is no GPU."""
        dtypes.check_device("cuda")

    def float(self) -> Any:
        """As ``to(torch.float32)``."""
        return self.to(dtypes.NAMES["float32"])

    def double(self) -> Any:
        """As ``to(torch.float64)``."""
        return self.to(dtypes.NAMES["float64"])

    def state_dict(self) -> dict[str, Any]:
        """All parameters and persistent buffers. The tensors are live: they change when the module learns."""
        return OrderedDict((key, tensor.detach()) for key, tensor in self._entries())

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Any:
        """Copy values in from a state. With ``strict=False`` keys may be missing or unexpected; both are returned."""
        own = dict(self._entries())
        missing, unexpected = [k for k in own if k not in state], [k for k in state if k not in own]
        wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
        if wrong or (strict and (missing or unexpected)):
            raise RuntimeError(f"load_state_dict: missing {missing}, unexpected {unexpected}, of other shapes {wrong}")
        for key in own.keys() & state.keys():
            own[key].detach().copy_(state[key])  # type: ignore[attr-defined]
        return _IncompatibleKeys(missing, unexpected)


def adopt(module: Any, dtype: Any) -> None:
    """Make the parameters and buffers of a module of microtensor, and of all inside it, tensors of this room."""
    for part in module.modules():
        part.__class__ = globals()[type(part).__name__] if type(part) in _OURS else type(part)
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None and not isinstance(tensor, Tensor):
                tensor.__class__ = Parameter if isinstance(tensor, creation.Parameter) else Tensor
                if tensor._array.dtype.kind == "f":
                    tensor._array = tensor._array.astype(dtype)


class _Layer(Module):
    """What the layers of microtensor get here: this room's tensors, and PyTorch's further options."""

    _core, _inplace = "", False

    def __init__(self, *args: Any, device: Any = None, dtype: Any = None, **options: Any) -> None:
        dtypes.check_device(device)
        place = _INPLACE.get(self._core, len(args))
        inplace = self._core in _INPLACE and bool(options.pop("inplace", any(args[place:])))
        super().__init__(*args[:place], **(functional.reduced(options) if self._core.endswith("Loss") else options))
        self._inplace = inplace
        adopt(self, dtype or dtypes.get_default_dtype())

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output."""
        y = wrap(super().forward(*inputs, **options))
        return inputs[0]._write(y, newest(inputs[0])) if self._inplace else y


def _layer(name: str) -> type[Module]:
    base, core = (Module if name in _CONTAINERS else _Layer), getattr(ours, name)
    return type(name, (base, core), {"__doc__": core.__doc__, "__module__": __name__, "_core": name})


def _first_of_equals(name: str) -> Any:
    pool = getattr(functional, name)
    return lambda self, x: pool(x, self.kernel_size, self.stride, self.padding, self.dilation)


_made: dict[str, Any] = {name: _layer(name) for name in LAYERS}
_made["Sequential"]._part = lambda self, modules: type(self)(modules)
_made["ModuleList"]._part = lambda self, modules: type(self)(modules.values())
_made["MaxPool1d"].forward, _made["MaxPool2d"].forward = map(_first_of_equals, ("max_pool1d", "max_pool2d"))
for _name in ("GRU", "LSTM", "RNN"):
    # It orders the memory of a GPU.
    _made[_name].flatten_parameters = lambda self: None
globals().update(_made)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"torch.nn.{name} is not here: {ONE_SOURCE}")
