"""What microtensor does, test by test, in folders that follow the rooms of the package."""

import os

# Before NumPy is loaded. The matrices of the tests are small: two threads take longer for them than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
