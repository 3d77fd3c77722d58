"""The ledger of a gradient: every path from x to y, its contribution, and the part that a norm takes out."""

from microtensor.inspect.ledger.cut import CUTS
from microtensor.inspect.ledger.inputs import input_of
from microtensor.inspect.ledger.model import Cut, Ledger, NormSection, Part, Path, Removal, Severed
from microtensor.inspect.ledger.paths import paths
from microtensor.inspect.ledger.table import to_json, to_table

__all__ = [
    "CUTS",
    "Cut",
    "Ledger",
    "NormSection",
    "Part",
    "Path",
    "Removal",
    "Severed",
    "input_of",
    "paths",
    "to_json",
    "to_table",
]
