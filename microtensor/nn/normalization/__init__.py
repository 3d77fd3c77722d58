"""The norms with state: γ and β, and running statistics. The formulas are in ``norms``."""

from typing import TYPE_CHECKING

from microtensor.nn.normalization.batch import *
from microtensor.nn.normalization.batch_variants import *
from microtensor.nn.normalization.instance import *
from microtensor.nn.normalization.response import *
from microtensor.nn.normalization.sample import *

# Type checkers follow the imports, and cannot read a list that is put together.
if not TYPE_CHECKING:
    __all__ = sorted(name for name, value in globals().items() if isinstance(value, type))
