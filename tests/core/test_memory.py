"""keep_memory: in a process of its own, because it concerns the whole process."""

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
kept = mt.keep_memory()
print(kept, default, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the switch")
def test_memory_is_not_faulted_in_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, default, after = done.stdout.split()
    if kept == "False":
        pytest.skip("the C library is not glibc")
    assert int(after) < 100
    assert int(default) > 0
