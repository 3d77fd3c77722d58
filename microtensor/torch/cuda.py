"""``torch.cuda`` where there is no GPU: ``is_available()`` is False."""

from typing import Any


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed_all(*args: Any) -> None:
    """There is no GPU, so nothing happens."""


manual_seed = empty_cache = synchronize = manual_seed_all
