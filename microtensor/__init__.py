"""microtensor: reverse-mode differentiation on NumPy, normalizations as compositions, and their pictures."""

# Before all else: where Python runs the command, it decides where what follows is imported from.
from microtensor import starting  # noqa: F401  # isort: skip

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The thin modules first: the name of one of them is then taken by a function.
import microtensor.backprop
import microtensor.primitive
import microtensor.tensor  # noqa: F401
from microtensor import creation as _creation
from microtensor import decorators, hints, methods, ops  # noqa: F401
from microtensor import functional as _functional
from microtensor.calculus import grad, hessian, hvp, jacobian, vjp
from microtensor.core.ops import (
    add,
    astype,
    broadcast_to,
    divide,
    exp,
    log,
    mean,
    multiply,
    negative,
    permute_dims,
    reshape,
    sqrt,
    square,
    subtract,
    sum,
)
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor, tensor
from microtensor.creation import *
from microtensor.decorators import is_grad_enabled
from microtensor.display import show
from microtensor.functional import *
from microtensor.ops import common as _common
from microtensor.ops import elementwise as _elementwise
from microtensor.ops import indexing as _indexing
from microtensor.ops import linalg as _linalg
from microtensor.ops import reductions as _reductions
from microtensor.ops import shape as _shape
from microtensor.ops import windows as _windows
from microtensor.ops.common import *
from microtensor.ops.elementwise import *
from microtensor.ops.elementwise import absolute as abs
from microtensor.ops.indexing import *
from microtensor.ops.linalg import *
from microtensor.ops.reductions import *
from microtensor.ops.shape import *
from microtensor.ops.windows import *
from microtensor.support.modes import detect_anomaly, enable_grad, name_scope, no_grad, trace_lines

if TYPE_CHECKING:
    # When the program runs it is the module of this name, which can be called.
    from microtensor import convert, data, losses, nn, norms, optim, random, viz
    from microtensor.checking import GradcheckError, gradcheck, gradgradcheck
    from microtensor.compiling import CompileError, compile
    from microtensor.core.primitive import primitive
    from microtensor.graph import Graph
    from microtensor.inspect.grading import check_backward
    from microtensor.ledger import paths
    from microtensor.losses import cross_entropy, mse_loss
    from microtensor.memory import keep_memory, tune_memory
    from microtensor.norms import standardize
    from microtensor.random import manual_seed
    from microtensor.serialize import CheckpointError, load, save

__version__ = "0.1.0"

# Loaded when first asked for: an import of all of it would take three times as long.
_ON_DEMAND = {
    "microtensor": ("convert", "data", "losses", "nn", "norms", "optim", "random", "viz"),
    "microtensor.checking": ("GradcheckError", "gradcheck", "gradgradcheck"),
    "microtensor.compiling": ("CompileError", "compile"),
    "microtensor.graph": ("Graph",),
    "microtensor.inspect.grading": ("check_backward",),
    "microtensor.ledger": ("paths",),
    "microtensor.losses": ("cross_entropy", "mse_loss"),
    "microtensor.memory": ("keep_memory", "tune_memory"),
    "microtensor.norms": ("standardize",),
    "microtensor.random": ("manual_seed",),
    "microtensor.serialize": ("CheckpointError", "load", "save"),
}


def __getattr__(name: str) -> Any:
    for module, names in _ON_DEMAND.items():
        if name in names:
            value = import_module(f"microtensor.{name}") if module == __name__ else getattr(import_module(module), name)
            globals()[name] = value
            return value
    # Asked for by Python itself in every import from the package, so that no room is loaded for it.
    hint = "" if name.startswith("_") else hints.instead(name, hints.MODULE) or _elsewhere(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def _elsewhere(name: str) -> str:
    """The end of the message for a name that another room has, such as a layer or a loss."""
    for room in ("norms", "losses", "nn", "optim", "random", "nn.functional", "nn.init", "data", "optim.lr_scheduler"):
        if callable(getattr(import_module(f"microtensor.{room}"), name, None)):
            return f"; here it is mt.{room}.{name}"
    return ""


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "CheckpointError",
    "CompileError",
    "GradcheckError",
    "Graph",
    "Tensor",
    "abs",
    "add",
    "astype",
    "broadcast_to",
    "check_backward",
    "compile",
    "convert",
    "cross_entropy",
    "data",
    "detect_anomaly",
    "divide",
    "enable_grad",
    "exp",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "keep_memory",
    "label",
    "load",
    "log",
    "losses",
    "manual_seed",
    "mean",
    "mse_loss",
    "multiply",
    "name_scope",
    "negative",
    "nn",
    "no_grad",
    "norms",
    "ops",
    "optim",
    "paths",
    "permute_dims",
    "primitive",
    "random",
    "reshape",
    "save",
    "show",
    "sqrt",
    "square",
    "standardize",
    "subtract",
    "sum",
    "tensor",
    "trace_lines",
    "tune_memory",
    "viz",
    "vjp",
]
__all__ += _common.__all__
__all__ += _elementwise.__all__
__all__ += _indexing.__all__
__all__ += _linalg.__all__
__all__ += _reductions.__all__
__all__ += _shape.__all__
__all__ += _windows.__all__
__all__ += _functional.__all__
__all__ += _creation.__all__
