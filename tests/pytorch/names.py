"""The names that ``microtensor.torch`` has, found by looking, as spellings such as ``Tensor.sum`` and ``F.relu``."""

import types

import microtensor.torch as torch
from microtensor.torch import autograd, backends, cuda, optim, utils
from microtensor.torch.nn import init
from microtensor.torch.nn import utils as nn_utils

# The places where names stand, and names there that are not PyTorch's.
PLACES = {
    "torch": torch,
    "nn": torch.nn,
    "F": torch.nn.functional,
    "init": init,
    "nn.utils": nn_utils,
    "optim": optim,
    "lr_scheduler": optim.lr_scheduler,
    "autograd": autograd,
    "data": utils.data,
    "cuda": cuda,
    "backends.cudnn": backends.cudnn,
    "backends.mps": backends.mps,
}
SUBMODULES = ("autograd", "backends", "cuda", "nn", "optim", "utils", "functional", "init", "lr_scheduler")
CLASSES = {
    "Tensor": torch.Tensor,
    "Module": torch.nn.Module,
    "Optimizer": optim.Optimizer,
    "Generator": torch.Generator,
    "Function": autograd.Function,
}
# What modules import or define to work with.
HELPERS = {"NAMES", "LAYERS", "TABLE", "OPTIMIZERS", "ONE_SOURCE", "FUNCTIONS", "FUNCTIONS_ONLY", "annotations", "Any"}
HELPERS |= {
    "Context",
    "adopt",
    "reduced",
    "default_collate",
    "ModeSwitch",
    "current_mode",
    "draws_of",
    "newest",
    "same",
}
HELPERS |= {
    "wrap",
    "per_axis",
    "function",
    "new_tensor",
    "Size",
    "TensorBase",
    "Primitive",
    "PlainTensor",
    "spelled",
    "broadcasts",
}
IMPORTED = {"F.Softplus", "nn.Tensor", "nn.utils.tensor", "data.tensor", "optim.enable_grad"}


def own_names(place):
    """The public names of a module of this room, without what it imports to work with."""
    for name, value in vars(place).items():
        if name.startswith("_") or name in HELPERS or isinstance(value, types.ModuleType):
            continue
        origin = getattr(value, "__module__", None) or ""
        if origin.startswith(("typing", "collections", "numpy", "math", "types", "__future__")) and place is not torch:
            continue
        yield name


def spellings():
    """All spellings."""
    found = {f"{place}.{name}" for place, module in PLACES.items() for name in own_names(module)}
    for kind, cls in CLASSES.items():
        found |= {f"{kind}.{name}" for name in dir(cls) if not name.startswith("_") and hasattr(cls, name)}
    return found - IMPORTED
