"""The ledger of a gradient: every path from x to y, what it contributes, and what a norm takes out by it."""

from microtensor.ledger.book import Block, Ledger, Path, paths
from microtensor.ledger.cut import CUTS, Cut, Severed
from microtensor.ledger.inputs import input_of
from microtensor.ledger.removal import Part, Removal
from microtensor.ledger.table import to_json, to_table

__all__ = [
    "CUTS",
    "Block",
    "Cut",
    "Ledger",
    "Part",
    "Path",
    "Removal",
    "Severed",
    "input_of",
    "paths",
    "to_json",
    "to_table",
]
