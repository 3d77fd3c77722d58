"""Where pickles written by earlier versions look for a ledger and its parts."""

from microtensor.inspect.ledger.model import Ledger, Path, Step
from microtensor.inspect.ledger.model import NormSection as Block

__all__ = ["Block", "Ledger", "Path", "Step"]
