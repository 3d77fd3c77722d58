"""Writes norms.npz: what PyTorch's norm layers compute in training, prediction and training again, in float64.

Run by hand, ``python tests/golden/make_norms.py``; the tests read the file and never import PyTorch. Inputs are stored
beside the results under ``case/name``, the calls of a layer stacked along the first axis.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(21)
golden: dict[str, np.ndarray] = {}
MODES = [True, True, True, False, True]


def draw(*shape, mean=0.0):
    """Normal draws, as multiples of 1/64, which compress."""
    return torch.tensor(np.round(rng.normal(mean, 1.0, size=shape) * 64) / 64)


def run(case, layer, shape, modes=MODES):
    """Call a layer once in each mode on fresh input; store results, gradients and buffers."""
    calls: dict[str, list[np.ndarray]] = {}
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(draw(*parameter.shape, mean=0.5))
            golden[f"{case}/{name}"] = parameter.numpy().copy()
        for name, buffer in layer.named_buffers():
            if name in ("weight_u", "weight_v"):
                golden[f"{case}/start_{name}"] = buffer.numpy().copy()
    for step, training in enumerate(modes):
        layer.train(training)
        layer.zero_grad()
        x = draw(*shape, mean=step + 1.0).requires_grad_()
        y = layer(x)
        g = draw(*y.shape)
        y.backward(g)
        found = {"x": x, "y": y, "g": g, "d_x": x.grad}
        found |= {f"d_{name}": parameter.grad for name, parameter in layer.named_parameters()}
        found |= {f"after_{name}": buffer for name, buffer in layer.named_buffers()}
        for name, value in found.items():
            calls.setdefault(name, []).append(value.detach().numpy().copy())
    golden.update({f"{case}/{name}": np.stack(values) for name, values in calls.items()})


SHAPES = {"1d 2": (5, 3), "1d 3": (4, 3, 2), "2d": (2, 3, 2, 3), "3d": (2, 3, 1, 2, 2)}
BATCH = {
    "default": {},
    "cumulative": {"momentum": None},
    "no statistics": {"track_running_stats": False},
    "no affine": {"affine": False, "eps": 1e-3, "momentum": 0.3},
}
for (kind, shape), (name, settings) in itertools.product(SHAPES.items(), BATCH.items()):
    run(f"BatchNorm{kind} {name}", getattr(nn, f"BatchNorm{kind[:2]}")(3, **settings), shape)

INSTANCE = {"default": {}, "affine": {"affine": True}, "all": {"affine": True, "track_running_stats": True}}
for (kind, shape), (name, settings) in itertools.product(list(SHAPES.items())[1:], INSTANCE.items()):
    run(f"InstanceNorm{kind[:2]} {name}", getattr(nn, f"InstanceNorm{kind[:2]}")(3, **settings), shape)
for kind, shape in list(SHAPES.items())[1:]:
    run(f"InstanceNorm{kind[:2]} unbatched", getattr(nn, f"InstanceNorm{kind[:2]}")(3, **INSTANCE["all"]), shape[1:])

once = [True]
run("LayerNorm", nn.LayerNorm((3, 4)), (2, 3, 4), once)
run("LayerNorm no bias", nn.LayerNorm(4, eps=1e-3, bias=False), (2, 3, 4), once)
run("LayerNorm no affine", nn.LayerNorm(4, elementwise_affine=False), (4,), once)
run("GroupNorm", nn.GroupNorm(2, 4), (2, 4, 3), once)
run("GroupNorm (N, C)", nn.GroupNorm(2, 6, eps=1e-3), (3, 6), once)
run("GroupNorm no affine", nn.GroupNorm(1, 4, affine=False), (2, 4, 2, 2), once)
run("RMSNorm", nn.RMSNorm(4), (2, 3, 4), once)
run("RMSNorm no affine", nn.RMSNorm((3, 4), eps=1e-3, elementwise_affine=False), (2, 3, 4), once)
run("LocalResponseNorm odd", nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0), (2, 5, 3), once)
run("LocalResponseNorm even", nn.LocalResponseNorm(4), (2, 5, 2, 2), once)
run("LocalResponseNorm wide", nn.LocalResponseNorm(7, alpha=1.0), (2, 3, 2), once)

for dim in (0, 1, None):
    run(f"weight_norm {dim}", nn.utils.weight_norm(nn.Linear(3, 4), dim=dim), (5, 3))
for steps, dim in ((1, None), (3, 1)):
    run(f"spectral_norm {steps} {dim}", nn.utils.spectral_norm(nn.Linear(3, 4), "weight", steps, dim=dim), (5, 3))

np.savez_compressed(Path(__file__).parent / "norms.npz", **golden)
