"""The data of the examples as arrays: handwritten digits in two sizes, and first names; see data/README.md."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DATA = Path(__file__).parent / "data"
LETTERS = ".abcdefghijklmnopqrstuvwxyz"
"""Symbol 0, the full stop, ends a name."""


class Labelled(NamedTuple):
    """Images and the digit that each one shows."""

    images: Array
    labels: Array


class Split(NamedTuple):
    """The training data and the test data."""

    train: Labelled
    test: Labelled


def mnist(size: int = 28, *, standardized: bool = False, dtype: str = "float32") -> Split:
    """4,000 training digits and 1,000 test digits, 400 and 100 of each digit. The split is always the same.

    Shape (n, size, size) with size 28, or 14 by averaging 2×2 pixels. Pixels lie between 0 and 1; `standardized` shifts
    and scales all pixels by the mean and the deviation of the training images.
    """
    with np.load(DATA / "mnist_5k.npz", allow_pickle=False) as file:
        images, labels = file["images"] / 255.0, file["labels"].astype(np.int64)
    step = 28 // size
    images = images.reshape(-1, size, step, size, step).mean(axis=(2, 4))
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)])
    seen, unseen = order[:, :400].ravel(), order[:, 400:].ravel()
    if standardized:
        images = (images - images[seen].mean()) / images[seen].std()
    images = images.astype(dtype)
    return Split(Labelled(images[seen], labels[seen]), Labelled(images[unseen], labels[unseen]))


def digits() -> Labelled:
    """1,797 digits of 64 pixels, integers from 0 to 16."""
    table = np.loadtxt(DATA / "digits.csv.gz", delimiter=",", dtype=np.int64)
    return Labelled(table[:, :-1], table[:, -1])


def names(length: int = 15, tested: int = 500) -> tuple[Array, Array]:
    """First names as rows of `length` symbols, for training and for testing. 0 ends a name and fills its row."""
    words = gzip.decompress((DATA / "names.txt.gz").read_bytes()).decode("ascii").split()
    codes = np.zeros((len(words), length), dtype=np.int64)
    for row, word in zip(codes, words, strict=True):
        row[: len(word)] = [LETTERS.index(letter) for letter in word]
    codes = codes[np.random.default_rng(0).permutation(len(codes))]
    return codes[:-tested], codes[-tested:]


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Rows of mini-batches without end. Every epoch has a new order, and its last short batch is left out."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
