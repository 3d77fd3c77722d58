"""Parameter groups: which parameters decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microtensor.core.tensor import Tensor


def split_decay(parameters: Iterable[Tensor], weight_decay: float = 1e-2) -> list[dict[str, Any]]:
    """Two parameter groups: matrices and kernels decay, and γ, β and biases do not.

    Decay of γ and β works against the norm, and decay of a bias does not help generalization. So parameters with two
    axes or more decay, and the others do not.

    Parameters
    ----------
    parameters : iterable of Tensor
        As ``model.parameters()`` gives them.
    weight_decay : float
        λ of the first group. The second group has 0.

    Examples
    --------
    >>> import microtensor as mt
    >>> net = mt.nn.Sequential(mt.nn.Linear(2, 3), mt.nn.LayerNorm(3))
    >>> optimizer = mt.optim.AdamW(mt.optim.split_decay(net.parameters(), weight_decay=0.1))
    >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    [(1, 0.1), (3, 0.0)]
    """
    everyone = list(parameters)
    return [
        {"params": [p for p in everyone if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in everyone if p.ndim < 2], "weight_decay": 0.0},
    ]
