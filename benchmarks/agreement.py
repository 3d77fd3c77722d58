"""The check before the clock: a fast wrong result or gradient is worth nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.libraries import Array

# Sums of 10⁵ float32 terms in different orders differ by 10⁻⁵ of the largest; a wrong rule by far more.
RTOL = 1e-3


class DisagreementError(AssertionError):
    """Two libraries give different results or gradients for one workload."""


def check(workload: str, peer: str, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
    """Compare the result and then gradient by gradient, each on the scale of its largest element.

    Raises
    ------
    DisagreementError
        Their number, a shape, the dtype or a value differs, or one is not finite.
    """
    if len(ours) != len(theirs):
        raise DisagreementError(f"{workload}: {len(ours) - 1} gradients, {peer} has {len(theirs) - 1}")
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        what = f"{workload}: gradient {i - 1}" if i else f"{workload}: the result"
        if a.shape != b.shape or a.dtype != b.dtype:
            raise DisagreementError(f"{what} is {a.shape} {a.dtype}, {peer} has {b.shape} {b.dtype}")
        error = np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny)
        if not error <= RTOL:  # written so that NaN fails too
            raise DisagreementError(f"{what} is off by {error:.1e} of {peer}'s largest element")
