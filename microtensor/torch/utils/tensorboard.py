"""``torch.utils.tensorboard``: a writer that accepts every call and writes nothing."""

from typing import Any


class SummaryWriter:
    """It takes the calls of PyTorch's writer, such as ``add_scalar``, and does nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take the arguments of PyTorch's writer; no file is made."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("add_") and name not in ("flush", "close"):
            raise AttributeError(f"SummaryWriter has no {name}")
        return lambda *args, **options: None
