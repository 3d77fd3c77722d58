"""Measurements of microtensor against its peers; ``python -m benchmarks --help`` tells how."""
