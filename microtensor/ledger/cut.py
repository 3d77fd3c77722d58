"""Where pickles written by earlier versions look for a ledger's cut."""

from microtensor.inspect.ledger.model import Severed

__all__ = ["Severed"]
