"""Writes golden.npz: what PyTorch computes for norms, layers, losses and optimisers, in float64.

Run by hand, ``python tests/golden/make_golden.py``; the tests read the file and never import PyTorch.
Inputs are stored beside the results, under ``case/name``.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(20)
golden: dict[str, np.ndarray] = {}


def draw(*shape, low=0.0):
    return torch.tensor(rng.normal(low, 1.0, size=shape), requires_grad=True)


def store(case, **tensors):
    for name, value in tensors.items():
        golden[f"{case}/{name}"] = np.asarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value)


def run(case, function, **inputs):
    """Store inputs, result, cotangent and the gradient of every input."""
    y = function(**inputs)
    g = torch.tensor(rng.normal(size=tuple(y.shape)))
    gradients = torch.autograd.grad(y, list(inputs.values()), g)
    store(case, y=y, g=g, **inputs)
    store(case, **{f"d_{name}": d for name, d in zip(inputs, gradients, strict=True)})


# --- norms ------------------------------------------------------------------------------------------------

for shape in [(6, 3), (4, 3, 5), (2, 3, 4, 2)]:
    run(
        f"batch_norm {len(shape)}",
        lambda x, weight, bias: functional.batch_norm(x, None, None, weight, bias, training=True),
        x=draw(*shape, low=2.0),
        weight=draw(3),
        bias=draw(3),
    )
for last in (1, 2):
    run(
        f"layer_norm {last}",
        lambda x, weight, bias: functional.layer_norm(x, weight.shape, weight, bias),
        x=draw(3, 4, 5, low=2.0),
        weight=draw(*(4, 5)[-last:]),
        bias=draw(*(4, 5)[-last:]),
    )
run(
    "instance_norm",
    lambda x, weight, bias: functional.instance_norm(x, weight=weight, bias=bias),
    x=draw(2, 3, 4, 2, low=2.0),
    weight=draw(3),
    bias=draw(3),
)
for groups in (1, 2, 4):
    run(
        f"group_norm {groups}",
        lambda x, weight, bias, groups=groups: functional.group_norm(x, groups, weight, bias),
        x=draw(2, 4, 3, low=2.0),
        weight=draw(4),
        bias=draw(4),
    )
run(
    "rms_norm",
    lambda x, weight: functional.rms_norm(x, weight.shape, weight),
    x=draw(3, 4, 5, low=2.0),
    weight=draw(5),
)

# --- layers -----------------------------------------------------------------------------------------------

run("linear", functional.linear, input=draw(2, 4, 3), weight=draw(5, 3), bias=draw(5))

bn = torch.nn.BatchNorm1d(3)
with torch.no_grad():
    bn.weight.copy_(draw(3))
    bn.bias.copy_(draw(3))
store("sequence", weight=bn.weight, bias=bn.bias)
for step, training in enumerate([True, True, False, True]):
    bn.train(training)
    bn.zero_grad()
    x = draw(5, 3, 2, low=step + 1.0)
    y = bn(x)
    g = torch.tensor(rng.normal(size=tuple(y.shape)))
    y.backward(g)
    store(
        f"sequence {step}", training=training, x=x, y=y, g=g, d_x=x.grad, d_weight=bn.weight.grad, d_bias=bn.bias.grad
    )
    store(f"sequence {step}", **{name: buffer.clone() for name, buffer in bn.named_buffers()})

# --- losses -----------------------------------------------------------------------------------------------

target = torch.tensor([2, 0, 1, 2, 2, 1])
for reduction in ("mean", "sum", "none"):
    run(
        f"cross_entropy {reduction}",
        lambda logits, reduction=reduction: functional.cross_entropy(logits, target, reduction=reduction),
        logits=draw(6, 3),
    )
    store(f"cross_entropy {reduction}", target=target)
    run(
        f"mse_loss {reduction}",
        lambda x, target, reduction=reduction: functional.mse_loss(x, target, reduction=reduction),
        x=draw(4, 2),
        target=draw(4, 2),
    )

# --- optimisers: 20 steps down (θ − c)ᵀ A (θ − c) / 2 --------------------------------------------------------

OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "SGD momentum weight_decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "Adam betas eps weight_decay": lambda p: torch.optim.Adam(
        p, lr=0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1
    ),
}
root = rng.normal(size=(4, 4))
matrix, centre, start = root @ root.T / 4, rng.normal(size=4), rng.normal(size=4)
store("bowl", matrix=matrix, centre=centre, start=start)
for name, make in OPTIMISERS.items():
    theta = torch.tensor(start, requires_grad=True)
    optimiser = make([theta])
    path = []
    for _ in range(20):
        optimiser.zero_grad()
        away = theta - torch.tensor(centre)
        (away @ torch.tensor(matrix) @ away / 2).backward()
        optimiser.step()
        path.append(theta.detach().numpy().copy())
    store(f"path {name}", theta=np.stack(path))

np.savez_compressed(Path(__file__).parent / "golden.npz", **golden)
