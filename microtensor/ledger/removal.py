"""Where pickles written by earlier versions look for what a norm takes out."""

from microtensor.inspect.ledger.model import Part, Removal

__all__ = ["Part", "Removal"]
