"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from microtensor.nn.module import Module


class Sequential(Module):
    """Modules one after the other, each fed with the output of the one before.

    Parameters
    ----------
    *modules : Module
        Named "0", "1", … in the state, as in PyTorch.

    Raises
    ------
    TypeError
        An argument is not a module.

    Examples
    --------
    >>> import microtensor as mt
    >>> net = mt.nn.Sequential(mt.nn.Linear(3, 8), mt.nn.BatchNorm1d(8), mt.nn.ReLU())
    >>> net(mt.ones((4, 3))).shape
    (4, 8)
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: argument {i} is a {type(module).__name__}, not a module")
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        """The output of the last module."""
        for module in self._modules.values():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int) -> Module:
        return list(self._modules.values())[index]
