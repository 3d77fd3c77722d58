"""Timing on a noisy machine: everybody in every round, in a new order each time, as processor time."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

BATCH_SECONDS = 0.01
BUDGET_SECONDS = 3.0
MINIMUM_ROUNDS = 3


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each call in each of `rounds`, or of as many as the budget allows but at least three.

    Each has been called once before, so that nothing of a first call is counted.

    What other programs do costs no processor time of this one, and clock rates disturb all calls of a round alike. So
    ratios survive what absolute times do not.
    """
    counts = {name: _count(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    # What the imports made stays out of the collector's sight; its work on a graph is the graph's own cost.
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    for done in range(rounds):
        if done >= MINIMUM_ROUNDS and time.perf_counter() - began > BUDGET_SECONDS:
            break
        shuffle(order)
        for name in order:
            gc.collect()
            samples[name].append(_seconds(calls[name], counts[name]))
    gc.unfreeze()
    return samples


def _seconds(call: Callable[[], Any], count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def _count(call: Callable[[], Any]) -> int:
    """How many calls a sample takes, so that the clock's own grain does not matter."""
    start = time.perf_counter()
    call()
    return max(1, int(BATCH_SECONDS / max(time.perf_counter() - start, 1e-9)))
