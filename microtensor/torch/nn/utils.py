"""``torch.nn.utils``: gradients that are limited."""

from typing import Any

from microtensor.nn import utils as ours
from microtensor.nn.utils import clip_grad_value_ as clip_grad_value_
from microtensor.torch.creation import tensor


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0, **options: Any) -> Any:
    """Scale gradients so that their norm is at most `max_norm`; returns the norm before, as a tensor."""
    return tensor(ours.clip_grad_norm_(parameters, max_norm, norm_type, **options))


clip_grad_norm = clip_grad_norm_
