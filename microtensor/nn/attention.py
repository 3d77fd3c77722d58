"""Attention and the encoder layer of a transformer: compositions of matrix products and a softmax, without numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from microtensor import ops
from microtensor.checks import check_flag, check_float, check_sizes
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, arange, zeros
from microtensor.functional import softmax
from microtensor.nn import init
from microtensor.nn.activation import GELU, ReLU
from microtensor.nn.dropout import Dropout, dropout
from microtensor.nn.linear import Linear
from microtensor.nn.module import Module
from microtensor.nn.normalization import LayerNorm
from microtensor.ops import mean, permute_dims, reshape, split, where
from microtensor.random import generator as as_generator
from microtensor.support.modes import name_scope

__all__ = ["MultiheadAttention", "TransformerEncoderLayer"]

ATTENTION = "scaled_dot_product_attention"
ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "gelu": GELU}


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    rng: Any = None,
) -> Tensor:
    """Means of the values, weighted by the products of query and key: softmax(Q Kᵀ / √E) V.

    Parameters
    ----------
    query : Tensor
        Q, shape (…, L, E).
    key : Tensor
        K, shape (…, S, E).
    value : Tensor
        V, shape (…, S, E_v). The result has shape (…, L, E_v).
    attn_mask : Tensor or array_like, optional
        A mask that broadcasts to (…, L, S). Booleans are True where a query may attend to a key. In
        :class:`MultiheadAttention` they are True where it may not, as in PyTorch. Floats are added to the scores; −∞
        masks a key. For a query that may attend to no key, the result and the gradient are 0.
    dropout_p : float
        The probability of dropping a weight. This function has no mode: give 0 in prediction.
    is_causal : bool
        Whether query i may attend only to the keys up to i. `attn_mask` is applied too.
    scale : float, optional
        The factor of the scores. Default: 1/√E.
    rng : int or numpy.random.Generator, optional
        For the dropout.

    Raises
    ------
    ValueError
        The shapes do not fit each other or the mask.
    TypeError
        The mask holds integers.

    References
    ----------
    Vaswani et al., *Attention Is All You Need*, 2017, section 3.2.1.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.nn.attention import scaled_dot_product_attention
    >>> q = k = mt.zeros((2, 1))
    >>> scaled_dot_product_attention(q, k, mt.tensor([[1.0], [3.0]]), is_causal=True)
    tensor([[1.],
            [2.]])
    """
    masks = () if attn_mask is None else (_as_mask(attn_mask, ATTENTION, "attn_mask"),)

    def drop(weights: Tensor) -> Tensor:
        return dropout(weights, dropout_p, rng=rng)

    return _attend(query, key, value, masks, is_causal, scale, drop)[0]


def _as_mask(mask: Any, who: str, name: str) -> Tensor:
    tensor = mask if isinstance(mask, Tensor) else Tensor(mask)
    if tensor.dtype.kind not in "bf":
        raise TypeError(f"{who}: {name} has dtype {tensor.dtype}; it must hold booleans or floats: .astype(bool)")
    return tensor


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    masks: Sequence[Tensor],
    is_causal: bool,
    scale: float | None,
    drop: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The results and the weights. A boolean mask is True where a query may attend; a mask of floats is added."""
    with name_scope(ATTENTION):
        _check_shapes(query, key, value)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = label((query * scale) @ label(key.mT, "Kᵀ"), "scores")
        length, size = scores.shape[-2:]
        allowed: Any = arange(length)[:, None] >= arange(size) if is_causal else True
        for mask in masks:
            sizes = zip(reversed(mask.shape), reversed(scores.shape), strict=False)
            if mask.ndim > scores.ndim or any(m not in (1, n) for m, n in sizes):
                raise ValueError(f"{ATTENTION}: mask of shape {mask.shape} does not broadcast to scores {scores.shape}")
            if mask.dtype.kind == "f":
                scores = scores + mask
            allowed = allowed & (ops.greater(mask, -math.inf) if mask.dtype.kind == "f" else mask._array)
        weights = drop(label(_masked_softmax(scores, allowed), "weights"))
        return weights @ value, weights


def _masked_softmax(scores: Tensor, allowed: Any) -> Tensor:
    """Softmax along the last axis among the places that are allowed; 0 elsewhere."""
    if ops.all(allowed):
        return softmax(scores)
    scores = where(label(Tensor(allowed), "mask"), scores, -math.inf)
    some = ops.any(allowed, axis=-1, keepdims=True)
    if ops.all(some):
        return softmax(scores)
    # A softmax of nothing is NaN, so a row without a place gets another one first, and is cut off after it.
    weights: Tensor = where(some, softmax(where(some, scores, 0.0)), 0.0)
    return weights


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, x in {"query": query, "key": key, "value": value}.items():
        check_float(x, ATTENTION, name)
    shapes = query.shape, key.shape, value.shape
    if min(map(len, shapes)) < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"{ATTENTION}: query, key and value have shapes {', '.join(map(str, shapes))}; "
            "they must be (…, L, E), (…, S, E) and (…, S, E_v)"
        )
    if not key.shape[-2]:
        raise ValueError(f"{ATTENTION}: there are no keys in {key.shape}")


class MultiheadAttention(Module):
    """Attention in several subspaces at once: concat(head₁, …, headₕ) W_oᵀ + b_o.

    headᵢ is :func:`scaled_dot_product_attention` of the i-th part of Q W_qᵀ + b_q, K W_kᵀ + b_k and V W_vᵀ + b_v.
    ``in_proj_weight`` holds the rows of W_q, then those of W_k and of W_v. Call it as
    ``output, weights = mha(q, k, v)``.

    Parameters
    ----------
    embed_dim : int
        E. The query has shape (L, N, E); key and value have shape (S, N, E). With `batch_first` the shapes are (N, L,
        E) and (N, S, E). Without a batch they are (L, E) and (S, E). The output has the shape of the query.
    num_heads : int
        The number of heads. It must divide E.
    dropout : float
        The probability of dropping a weight in training.
    bias : bool
        Whether there are b_q, b_k, b_v and b_o.
    batch_first : bool
        Whether the batch is axis 0. It is given by keyword only, because PyTorch has other settings before it.
    rng : int or numpy.random.Generator, optional
        For the dropout and the initial values. As in PyTorch, W_q, W_k and W_v are uniform in ±√(6 / (4 E)), W_o is
        uniform in ±1/√E, and biases are 0.

    Raises
    ------
    ValueError
        A wrong setting, or shapes that do not fit.
    TypeError
        A mask holds integers.

    References
    ----------
    Vaswani et al., *Attention Is All You Need*, 2017, section 3.2.2.

    Examples
    --------
    >>> import microtensor as mt
    >>> mha = mt.nn.MultiheadAttention(8, num_heads=2, batch_first=True)
    >>> x = mt.ones((4, 5, 8))
    >>> output, weights = mha(x, x, x)
    >>> output.shape, weights.shape
    ((4, 5, 8), (4, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        batch_first: bool = False,
        rng: Any = None,
    ) -> None:
        super().__init__()
        embed_dim, num_heads = check_sizes("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: embed_dim is {embed_dim}; it must be a multiple of num_heads {num_heads}, "
                f"such as {embed_dim - embed_dim % num_heads or num_heads}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.batch_first = check_flag(batch_first, "batch_first", "MultiheadAttention")
        # Only a generator that was asked for is kept: the default one may be seeded anew before it is drawn from.
        rng = None if rng is None else as_generator(rng)
        bound = (6 / (4 * embed_dim)) ** 0.5
        self.in_proj_weight = Parameter(zeros((3 * embed_dim, embed_dim)), name="W_qkv")
        init.uniform_(self.in_proj_weight, -bound, bound, rng=rng)
        self.register_parameter("in_proj_bias", Parameter(zeros(3 * embed_dim), name="b_qkv") if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng=rng)
        if bias:
            self.out_proj.bias.assign_(zeros(embed_dim))
        self.dropout = Dropout(dropout, rng=rng)

    def extra_repr(self) -> str:
        """The sizes, and the settings that differ from their defaults."""
        parts = [f"{self.embed_dim}, {self.num_heads}"]
        if self.in_proj_bias is None:
            parts.append("bias=False")
        if self.batch_first:
            parts.append("batch_first=True")
        return ", ".join(parts)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output and the weights. These are (N, L, S), or (N, heads, L, S) without `average_attn_weights`.

        Without `need_weights` the weights are None. `key_padding_mask` has shape (N, S), and `attn_mask` (L, S) or
        (N · heads, L, S). Booleans are True where a query may *not* attend to a key. Floats are added to the scores.
        `is_causal` needs no `attn_mask`.
        """
        self._check_inputs(query, key, value)
        batched = query.ndim == 3
        q, k, v = self._projected(query, key, value)
        batch, heads, length, _ = q.shape
        size = k.shape[2]
        padding = (batch, size) if batched else (size,)
        masks = self._mask(key_padding_mask, "key_padding_mask", {padding: (batch, 1, 1, size)})
        shapes = {(length, size): (length, size), (batch * heads, length, size): (batch, heads, length, size)}
        masks += self._mask(attn_mask, "attn_mask", shapes)
        attended, weights = _attend(q, k, v, masks, is_causal, None, self.dropout)
        # (N, heads, L, E / heads) to (N, L, E)
        joined = reshape(permute_dims(attended, axes=(0, 2, 1, 3)), shape=(batch, length, self.embed_dim))
        output = self.out_proj(joined)
        if not batched:
            output = output[0]
        elif not self.batch_first:
            output = output.swapaxes(0, 1)
        if not need_weights:
            return output, None
        weights = mean(weights, axis=1) if average_attn_weights else weights
        return output, weights if batched else weights[0]

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Q, K and V of all heads, each (N, heads, length, E / heads)."""
        if query is key is value:
            found = list(self._heads(self._inside(query), self.in_proj_weight, self.in_proj_bias))
        else:
            weights = split(self.in_proj_weight, self.embed_dim)
            biases = [None] * 3 if self.in_proj_bias is None else split(self.in_proj_bias, self.embed_dim)
            inputs = map(self._inside, (query, key, value))
            found = [self._heads(x, w, b)[0] for x, w, b in zip(inputs, weights, biases, strict=True)]
        return [label(x, name) for x, name in zip(found, "QKV", strict=True)]

    def _heads(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(N, L, E) to (parts, N, heads, L, E / heads), where the weight has parts · E rows."""
        out = x @ label(weight.mT, "Wᵀ")
        out = out if bias is None else out + bias
        parts = weight.shape[0] // self.embed_dim
        split_up = reshape(out, shape=(*x.shape[:2], parts, self.num_heads, self.embed_dim // self.num_heads))
        return permute_dims(split_up, axes=(2, 0, 3, 1, 4))

    def _inside(self, x: Tensor) -> Tensor:
        """With the batch as axis 0."""
        if x.ndim == 2:
            return x[None]
        return x if self.batch_first else x.swapaxes(0, 1)

    def _mask(self, given: Any, name: str, shapes: dict[tuple[int, ...], tuple[int, ...]]) -> list[Tensor]:
        """The mask, if there is one: True where a query may attend, in a shape that broadcasts to the scores."""
        if given is None:
            return []
        who = self.title()
        mask = _as_mask(given, who, name)
        if mask.shape not in shapes:
            raise ValueError(f"{who}: {name} has shape {mask.shape}; it must be {' or '.join(map(str, shapes))}")
        allowing = Tensor(~mask._array) if mask.dtype.kind == "b" else mask
        return [reshape(allowing, shape=shapes[mask.shape])]

    def _check_inputs(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        layout = f"{'(N, L, E)' if self.batch_first else '(L, N, E)'} or (L, E) with E = {self.embed_dim}"
        for name, x in {"query": query, "key": key, "value": value}.items():
            check_float(x, self, f"{name}: input")
            if x.ndim not in (2, 3) or x.shape[-1] != self.embed_dim:
                raise ValueError(f"{self.title()}: {name} has shape {x.shape}; it must be {layout}")
        batches = [x.shape[0 if self.batch_first else 1] if x.ndim == 3 else None for x in (query, key)]
        if key.shape != value.shape or batches[0] != batches[1]:
            raise ValueError(
                f"{self.title()}: query, key and value have shapes {query.shape}, {key.shape} and {value.shape}; all "
                f"must have the same batch size, and key and value the same length: {layout}"
            )


class TransformerEncoderLayer(Module):
    """Self-attention, then a network of two layers at each position, each with a shortcut and a layer norm.

    By default (post-norm, as in the paper): x ← LN₁(x + Attention(x)), x ← LN₂(x + W₂ φ(W₁ x)). With `norm_first`
    (pre-norm): x ← x + Attention(LN₁(x)), x ← x + W₂ φ(W₁ LN₂(x)). Pre-norm trains deep stacks without warm-up.

    Parameters
    ----------
    d_model : int
        The number of features. Input and output have shape (L, N, d_model). With `batch_first` it is (N, L, d_model).
        Without a batch it is (L, d_model).
    nhead : int
        The number of heads of the attention. It must divide `d_model`.
    dim_feedforward : int
        The number of hidden features, between W₁ and W₂.
    dropout : float
        The probability of dropping in training. It holds for attention weights, hidden features, and the terms added to
        x.
    activation : {'relu', 'gelu'} or callable
        φ, the activation of the hidden features.
    layer_norm_eps : float
        ε of both norms.
    batch_first : bool
        Whether the batch is axis 0.
    norm_first : bool
        Whether the norms come first (pre-norm).
    bias : bool
        Whether the linear maps and the norms have biases.
    rng : int or numpy.random.Generator, optional
        For the dropout and the initial values, which are those of :class:`MultiheadAttention` and :class:`Linear`.

    Raises
    ------
    ValueError
        A wrong setting, or shapes that do not fit.
    TypeError
        A mask holds integers.

    References
    ----------
    Vaswani et al., *Attention Is All You Need*, 2017; Xiong et al., *On Layer Normalization in the Transformer
    Architecture*, 2020.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True, norm_first=True)
    >>> layer(mt.ones((4, 5, 8)), is_causal=True).shape
    (4, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise ValueError(f"TransformerEncoderLayer: activation is {activation!r}, not 'relu', 'gelu' or a function")
        # Only a generator that was asked for is kept: the default one may be seeded anew before it is drawn from.
        rng = None if rng is None else as_generator(rng)
        self.norm_first = norm_first
        self.activation = ACTIVATIONS[activation]() if isinstance(activation, str) else activation
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rng=rng)
        self.linear1 = Linear(d_model, dim_feedforward, bias, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, rng=rng)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng=rng)

    def extra_repr(self) -> str:
        """Whether the norms come first."""
        return "norm_first=True" if self.norm_first else ""

    def forward(
        self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Tensor:
        """The output. It has the shape of the input. For the masks see :class:`MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            masks = {"key_padding_mask": src_key_padding_mask, "attn_mask": src_mask, "is_causal": is_causal}
            out: Tensor = self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])
            return out

        def feed_forward(x: Tensor) -> Tensor:
            out: Tensor = self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))
            return out

        check_float(src, self)
        x = src
        if self.norm_first:
            x = x + attend(self.norm1(x))
            x = x + feed_forward(self.norm2(x))
        else:
            x = self.norm1(x + attend(x))
            x = self.norm2(x + feed_forward(x))
        return x
