"""The embedding layer: a learnt vector for each of a set of symbols."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor import ops
from microtensor.checks import check_integer, check_sizes
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, zeros
from microtensor.nn.module import Module, settings_text
from microtensor.ops.common import ensure
from microtensor.ops.indexing import check_indices
from microtensor.random import generator
from microtensor.support.arrays import Array, own_array

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of vectors, looked up by index: y[…] = weight[indices[…]].

    Parameters
    ----------
    num_embeddings : int
        The number of rows. Indices are from 0 to num_embeddings − 1.
    embedding_dim : int
        The size of a row. Indices of any shape (…) give (…, embedding_dim).
    padding_idx : int, optional
        The index of a row that starts at 0 and gets no gradient, for the padding of short sequences. A negative index
        counts from the end.
    rng : int or numpy.random.Generator, optional
        For the initial values, standard normal as in PyTorch.

    Raises
    ------
    ValueError
        A size is not positive, or `padding_idx` is beyond the table.
    TypeError
        The indices are not integers.
    IndexError
        An index is negative or beyond the table.

    Examples
    --------
    >>> import microtensor as mt
    >>> table = mt.nn.Embedding(10, 3, padding_idx=0)
    >>> table([[1, 2, 0]]).shape
    (1, 3, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, rng: Any = None
    ) -> None:
        super().__init__()
        sizes = check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim = sizes
        if padding_idx is not None:
            padding_idx = check_integer(padding_idx, "padding_idx", "Embedding")
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx {padding_idx} is beyond a table of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        draws = generator(rng).normal(size=(num_embeddings, embedding_dim))
        if padding_idx is not None:
            draws[padding_idx] = 0
        self.weight = Parameter(zeros(draws.shape), name="W").assign_(draws)

    def extra_repr(self) -> str:
        """The sizes, and the row of the padding."""
        return settings_text(self, "num_embeddings", "embedding_dim", padding_idx=None)

    def forward(self, indices: Tensor | Array) -> Tensor:
        """The rows at the indices."""
        chosen = indices._array if isinstance(indices, Tensor) else own_array(indices, f"{self.title()}: indices")
        if chosen.dtype.kind not in "iu":
            raise TypeError(f"{self.title()}: indices have dtype {chosen.dtype}; convert them with .astype(int)")
        text = f"{self.title()}: index {{}} is not from 0 to {self.num_embeddings - 1}"
        ensure(check_indices, chosen, 0, self.num_embeddings, text)
        rows: Tensor = ops.take(self.weight, indices if isinstance(indices, Tensor) else Tensor(chosen), axis=0)
        if self.padding_idx is None:
            return rows
        is_padding = np.expand_dims(chosen == self.padding_idx, -1)
        y: Tensor = ops.where(is_padding, label(ops.stop_gradient(rows), "padding"), rows)
        return y
