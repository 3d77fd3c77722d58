"""The public path of the reverse walk."""

from microtensor.calculus import grad, vjp
from microtensor.core.backprop import Contribution, backward, contribution, fitted, reverse, toposort
from microtensor.support.modes import keep_graphs

__all__ = ["Contribution", "backward", "contribution", "fitted", "grad", "keep_graphs", "reverse", "toposort", "vjp"]
