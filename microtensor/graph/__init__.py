"""The public path of :mod:`microtensor.inspect.graph`."""

from microtensor.inspect import graph
from microtensor.inspect.graph import *

__all__ = []
__all__ += graph.__all__
