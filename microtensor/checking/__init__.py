"""The public path of :mod:`microtensor.inspect.checking`."""

from microtensor.inspect import checking
from microtensor.inspect.checking import *

__all__ = []
__all__ += checking.__all__
