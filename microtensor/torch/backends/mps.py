"""``torch.backends.mps`` where there is no such device."""


def is_available() -> bool:
    """False."""
    return False
