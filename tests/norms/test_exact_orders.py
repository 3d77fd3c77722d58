"""Derivatives of the norms of orders 0 to 4 along lines, by nested gradients, against exact rational arithmetic.

The values are in golden/exact.json, made by golden/make_exact.py. The largest relative errors reached are
4e-15 for the value and 2e-15, 1e-13, 3e-13, 6e-14 for the orders 1 to 4; 1e-9 is demanded.
"""

import json

import pytest

import microtensor as mt
from tests.golden.make_exact import CASES, EXACT, ORDERS, errors, microtensor

STORED = json.loads(EXACT.read_text(encoding="utf-8"))
LINES = [
    pytest.param(case, line, id=f"{name}-{i}") for name, case in STORED.items() for i, line in enumerate(case["lines"])
]


def test_every_norm_is_stored():
    assert set(STORED) == set(CASES)
    # Whitening and spectral norm iterate, batch renorm clips, local response norm has an exponent of 3/4: no p / √q.
    others = {"whiten", "spectral_norm", "batch_renorm", "local_response_norm"}
    assert {case["norm"] for case in STORED.values()} | others == set(mt.norms.AXES)
    assert all(len(line["exact"]) == ORDERS + 1 for case in STORED.values() for line in case["lines"])


@pytest.mark.parametrize(("case", "line"), LINES)
def test_orders_0_to_4_are_exact_to_9_digits(case, line):
    found = errors(case, line, *microtensor())
    assert all(error <= 1e-9 for error in found), found


def test_a_statistic_that_leaves_the_graph_is_seen():
    """The comparison fails from the first order on when σ is a constant."""
    tensor, grad, _ = microtensor()

    def cut(case, x, weight, bias):
        centered = x - mt.mean(x, axis=0, keepdims=True)
        sigma = mt.sqrt(mt.mean(centered * centered, axis=0, keepdims=True) + 0.01)
        return centered / mt.stop_gradient(sigma) * weight + bias

    case = STORED["batch_norm 4x2"]
    value, *derivatives = errors(case, case["lines"][0], tensor, grad, cut)
    assert value <= 1e-9
    assert all(error > 1e-3 for error in derivatives), derivatives
