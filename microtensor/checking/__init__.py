"""Gradients against finite differences: each operation's rule by itself, then the function as a whole."""

from microtensor.checking.check import examine, gradcheck, gradgradcheck
from microtensor.checking.report import GradcheckError

__all__ = ["GradcheckError", "examine", "gradcheck", "gradgradcheck"]
