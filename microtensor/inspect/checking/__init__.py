"""Gradients against finite differences: each operation's rule by itself, then the function as a whole."""

from microtensor.inspect.checking.check import examine, gradcheck, gradgradcheck
from microtensor.inspect.checking.report import GradcheckError

__all__ = ["GradcheckError", "examine", "gradcheck", "gradgradcheck"]
