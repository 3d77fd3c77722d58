"""``torch.optim``: the optimisers and schedules of microtensor, with PyTorch's closures and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microtensor import optim as ours
from microtensor.support.modes import enable_grad
from microtensor.torch.optim import lr_scheduler as lr_scheduler
from microtensor.torch.tensor import ONE_SOURCE

OPTIMIZERS = ("Adagrad", "Adam", "AdamW", "RMSprop", "SGD")
Optimizer = ours.Optimizer


class _Stepping(ours.Optimizer):
    """PyTorch's forms of an optimiser."""

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        for name in ("foreach", "fused"):
            options.pop(name, None)
        super().__init__(params, *args, **options)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. A closure computes the gradients before; its loss is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        super().step()
        return loss


def _optimizer(name: str) -> type[ours.Optimizer]:
    core = getattr(ours, name)
    return type(name, (_Stepping, core), {"__doc__": core.__doc__, "__module__": __name__})


globals().update({name: _optimizer(name) for name in OPTIMIZERS})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"torch.optim.{name} is not here: {ONE_SOURCE}")
