"""Writes sequences.npz: what PyTorch computes for recurrent layers and attention, in float64.

Run by hand, ``python tests/golden/make_sequences.py``; the tests read the file and never import PyTorch. A case holds
its settings (JSON: the layer, its arguments, the arguments of the call, the parameters' names and shapes), all
parameters in one vector, inputs, results, cotangents of the results, and all gradients.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(21)
golden: dict[str, np.ndarray] = {}


class LayerNormLSTMCell(nn.Module):
    """Ba, Kiros & Hinton, equations 20 to 22, with PyTorch's own layer norm."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.norm_ih = nn.LayerNorm(4 * hidden_size)
        self.norm_hh = nn.LayerNorm(4 * hidden_size)
        self.norm_c = nn.LayerNorm(hidden_size)

    def forward(self, x, state):
        h, c = state
        sums = self.norm_ih(x @ self.weight_ih.T) + self.norm_hh(h @ self.weight_hh.T)
        i, f, g, o = sums.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * self.norm_c(c).tanh(), c


def sixteenths(shape, scale=1.0):
    """Normal draws on a grid, of which the file takes less room."""
    return torch.tensor(np.round(rng.normal(0.0, scale, size=tuple(shape)) * 16) / 16)


def draw(*shape):
    return sixteenths(shape).requires_grad_()


def flat(value):
    """The tensors in nested tuples, None left out."""
    if value is None:
        return []
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in flat(part)]


def joined(tensors):
    return np.concatenate([t.detach().numpy().ravel() for t in tensors])


def record(case, name, *inputs, arguments=(), options=None, call=None, masks=None):
    """One call of a layer, or of a function when there are no arguments, forward and backward."""
    module = {"LayerNormLSTMCell": LayerNormLSTMCell}.get(name) or getattr(nn, name, None)
    module = module(*arguments, **(options or {})) if module else None
    parameters = dict(module.named_parameters()) if module else {}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(sixteenths(parameter.shape, 0.6))
    given = inputs
    if name.endswith(("LSTM", "LSTMCell")):
        given = (inputs[0], inputs[1:]) if len(inputs) > 1 else inputs
    if name == "MultiheadAttention" and len(inputs) == 1:
        given = inputs * 3
    run = module or getattr(functional, name)
    tensors = {key: torch.tensor(mask) for key, mask in (masks or {}).items()}
    outputs = flat(run(*given, **(call or {}), **tensors))
    cotangents = [sixteenths(y.shape) for y in outputs]
    leaves = [*inputs, *parameters.values()]
    gradients = torch.autograd.grad(outputs, leaves, cotangents)
    settings = {
        "name": name,
        "arguments": arguments,
        "options": options or {},
        "call": call or {},
        "parameters": {key: list(p.shape) for key, p in parameters.items()},
    }
    golden[f"{case}/settings"] = np.array(json.dumps(settings))
    if parameters:
        golden[f"{case}/parameters"] = joined(parameters.values())
        golden[f"{case}/d_parameters"] = joined(gradients[len(inputs) :])
    for i, (x, d) in enumerate(zip(inputs, gradients, strict=False)):
        golden[f"{case}/x{i}"] = x.detach().numpy()
        golden[f"{case}/d_x{i}"] = d.numpy()
    for i, (y, g) in enumerate(zip(outputs, cotangents, strict=True)):
        golden[f"{case}/y{i}"] = y.detach().numpy()
        golden[f"{case}/g{i}"] = g.numpy()
    for key, mask in (masks or {}).items():
        golden[f"{case}/mask {key}"] = mask


# --- recurrent --------------------------------------------------------------------------------------------

for kind in ("RNN", "LSTM", "GRU"):
    states = 2 if kind == "LSTM" else 1
    cell = f"{kind}Cell"
    record(f"{kind} cell", cell, draw(2, 3), *(draw(2, 4) for _ in range(states)), arguments=(3, 4))
    record(f"{kind} cell, no bias", cell, draw(2, 3), arguments=(3, 4), options={"bias": False})
    record(f"{kind} cell, unbatched", cell, draw(3), arguments=(3, 4))
    deep = {"num_layers": 2}
    both = {"bidirectional": True, **deep}
    record(kind, kind, draw(5, 2, 3), arguments=(3, 4))
    record(
        f"{kind}, deep", kind, draw(5, 2, 3), *(draw(2, 2, 4) for _ in range(states)), arguments=(3, 4), options=deep
    )
    record(
        f"{kind}, both ways, batch first, no bias",
        kind,
        draw(2, 4, 3),
        *(draw(4, 2, 2) for _ in range(states)),
        arguments=(3, 2),
        options={"batch_first": True, "bias": False, **both},
    )
    record(
        f"{kind}, unbatched",
        kind,
        draw(4, 3),
        *(draw(4, 2) for _ in range(states)),
        arguments=(3, 2),
        options={"batch_first": True, **both},
    )
relu = {"nonlinearity": "relu"}
record("RNN relu cell", "RNNCell", draw(2, 3), draw(2, 4), arguments=(3, 4), options=relu)
record("RNN relu", "RNN", draw(5, 2, 3), arguments=(3, 4), options={"num_layers": 2, **relu})
record("LSTM, long", "LSTM", draw(19, 1, 2), arguments=(2, 2), options={"bidirectional": True})
record("LayerNormLSTMCell", "LayerNormLSTMCell", draw(2, 3), draw(2, 4), draw(2, 4), arguments=(3, 4))

# --- attention --------------------------------------------------------------------------------------------

causal = np.triu(np.ones((4, 4), dtype=bool), 1)
added = np.where(rng.random((4, 5)) < 0.3, -np.inf, rng.normal(size=(4, 5)))
added[:, 0] = 0.5
padding = np.array([[False, False, True, True, False], [False, True, False, False, False]])

sdpa = "scaled_dot_product_attention"
record(f"{sdpa}", sdpa, draw(2, 3, 4, 6), draw(2, 3, 5, 6), draw(2, 3, 5, 2))
record(f"{sdpa}, causal", sdpa, draw(2, 4, 3), draw(2, 5, 3), draw(2, 5, 3), call={"is_causal": True, "scale": 0.7})
some = rng.random((2, 4, 5)) < 0.6
some[0, 1], some[1, 3] = False, True
record(f"{sdpa}, mask with an empty row", sdpa, draw(2, 4, 3), draw(2, 5, 3), draw(2, 5, 3), masks={"attn_mask": some})
empty = added.copy()
empty[2] = -np.inf
record(
    f"{sdpa}, added with an empty row", sdpa, draw(2, 4, 3), draw(2, 5, 3), draw(2, 5, 3), masks={"attn_mask": empty}
)

mha = "MultiheadAttention"
record(f"{mha}, self", mha, draw(4, 2, 6), arguments=(6, 2))
record(f"{mha}, cross", mha, draw(4, 2, 6), draw(5, 2, 6), draw(5, 2, 6), arguments=(6, 3))
record(
    f"{mha}, batch first, causal, no bias, every head",
    mha,
    draw(2, 4, 6),
    arguments=(6, 3),
    options={"batch_first": True, "bias": False},
    call={"average_attn_weights": False},
    masks={"attn_mask": causal},
)
record(
    f"{mha}, padding",
    mha,
    draw(4, 2, 6),
    draw(5, 2, 6),
    draw(5, 2, 6),
    arguments=(6, 2),
    masks={"key_padding_mask": padding},
)
record(
    f"{mha}, padding and a mask of every head",
    mha,
    draw(2, 4, 4),
    draw(2, 5, 4),
    draw(2, 5, 4),
    arguments=(4, 2),
    options={"batch_first": True},
    masks={
        "key_padding_mask": np.where(padding, -np.inf, 0.0),
        "attn_mask": np.stack([added * s for s in (1.0, 2.0, 0.5, 3.0)]),
    },
)
record(
    f"{mha}, unbatched",
    mha,
    draw(4, 6),
    draw(5, 6),
    draw(5, 6),
    arguments=(6, 2),
    call={"need_weights": False},
    masks={"attn_mask": added, "key_padding_mask": np.where(padding[0], -np.inf, 0.0)},
)

layer = "TransformerEncoderLayer"
for norm_first in (False, True):
    for activation in ("relu", "gelu"):
        record(
            f"{layer}, norm_first={norm_first}, {activation}",
            layer,
            draw(2, 4, 6),
            arguments=(6, 2, 8, 0.0),
            options={"activation": activation, "norm_first": norm_first, "batch_first": True},
            masks={"src_mask": causal, "src_key_padding_mask": np.array([[False] * 4, [False, False, True, True]])},
        )
record(f"{layer}, no bias", layer, draw(4, 2, 6), arguments=(6, 3, 8, 0.0), options={"bias": False})

np.savez_compressed(Path(__file__).parent / "sequences.npz", **golden)
