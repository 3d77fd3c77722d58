"""Grades a backward that somebody wrote by hand, beside the engine's."""

from microtensor.inspect.grading.check import check_backward
from microtensor.inspect.grading.report import BackwardReport, Graded

__all__ = ["BackwardReport", "Graded", "check_backward"]
