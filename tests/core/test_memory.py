"""keep_memory and tune_memory: in processes of their own, because they concern the whole process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
import microtensor as mt

def faults():
    # One round first, so that what is counted is not the first use of the memory.
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(5_000_000) + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults()
kept = mt.{option}()
print(kept, default, faults())
"""
THRESHOLDS = """
import gc
import microtensor as mt

{before}
mt.tune_memory()
mt.tune_memory()
print(gc.isenabled(), *gc.get_threshold()[:2])
"""


def output(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the switch")
@pytest.mark.parametrize("option", ["keep_memory", "tune_memory"])
def test_memory_is_not_faulted_in_again(option):
    kept, default, after = output(PROGRAM.format(option=option))
    if kept == "False":
        pytest.skip("the C library is not glibc")
    assert int(after) < 100
    assert int(default) > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "True 50000 20"),
        ("gc.set_threshold(100_000, 5)", "True 100000 20"),
        ("gc.set_threshold(0, 10)", "True 0 10"),
        ("gc.disable()", "False 50000 20"),
    ],
)
def test_the_collector_searches_more_rarely_and_what_was_set_is_respected(before, after):
    assert " ".join(output(THRESHOLDS.format(before=before))) == after
