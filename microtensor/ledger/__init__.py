"""The public path of :mod:`microtensor.inspect.ledger`."""

from microtensor.inspect import ledger
from microtensor.inspect.ledger import *
from microtensor.inspect.ledger import NormSection as Block

__all__ = ["Block"]
__all__ += ledger.__all__
