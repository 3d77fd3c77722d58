"""Writes options.npz: what PyTorch computes with settings of layers and functions, in float64.

Run by hand, ``python tests/golden/make_options.py``; the tests read the file and never import PyTorch. A case is a
call as both libraries spell it. It holds the state of a layer, the inputs ``x0``, ``x1``, …, the result, a random
cotangent and the gradients of parameters and inputs. The file was made with PyTorch 2.14.1.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CASES = {
    # Windows beyond the padding.
    "nn.MaxPool1d(3, 2, ceil_mode=True)": [(2, 3, 6)],
    "nn.MaxPool1d(2, 3, 1, ceil_mode=True)": [(2, 3, 6)],
    "nn.MaxPool1d(3, 2, 1, 2, ceil_mode=True)": [(2, 3, 8)],
    "nn.MaxPool2d(3, 2, ceil_mode=True)": [(2, 3, 6, 7)],
    "nn.MaxPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True)": [(2, 3, 6, 7)],
    "nn.MaxPool2d(3, ceil_mode=True)": [(1, 2, 2, 4)],
    "nn.AvgPool1d(3, 2, ceil_mode=True)": [(2, 3, 6)],
    "nn.AvgPool1d(3, 2, 1, True)": [(2, 3, 6)],
    "nn.AvgPool1d(3, 2, 1, True, False)": [(2, 3, 6)],
    "nn.AvgPool2d(3, 2, 1, True)": [(2, 3, 6, 8)],
    "nn.AvgPool2d(3, 2, 1, True, False)": [(2, 3, 6, 8)],
    "nn.AvgPool2d((3, 4), (2, 3), (1, 2), True)": [(2, 3, 6, 6)],
    "nn.AvgPool2d((3, 4), (2, 3), (1, 2), True, False)": [(2, 3, 6, 6)],
    "nn.AvgPool2d(3, 2, 1, False, False)": [(2, 3, 6, 8)],
    # Samples without an axis N.
    "nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2)": [(4, 9)],
    "nn.Conv2d(3, 4, (3, 2), padding=1)": [(3, 5, 6)],
    "nn.Conv2d(2, 3, 3, padding='same')": [(2, 4, 5)],
    "nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)": [(3, 3, 4)],
    "nn.MaxPool1d(2)": [(3, 7)],
    "nn.MaxPool2d(3, 2, 1)": [(3, 5, 6)],
    "nn.AvgPool1d(2)": [(3, 7)],
    "nn.AvgPool2d((3, 3), 2, 1, True, False)": [(3, 6, 8)],
    "nn.AdaptiveAvgPool1d(3)": [(3, 7)],
    "nn.AdaptiveAvgPool2d((2, 5))": [(3, 5, 6)],
    # Functions.
    "F.linear(x0, x1, x2)": [(2, 4, 3), (5, 3), (5,)],
    "F.linear(x0, x1)": [(3,), (5, 3)],
    "F.conv1d(x0, x1, x2, 2, 1, 1, 2)": [(2, 4, 7), (6, 2, 3), (6,)],
    "F.conv2d(x0, x1, x2, 1, 1)": [(2, 3, 5, 4), (4, 3, 3, 3), (4,)],
    "F.conv2d(x0, x1, None, (2, 1), (0, 1), 2)": [(3, 6, 5), (4, 3, 2, 2)],
    "F.conv_transpose2d(x0, x1, x2, 2, 1, 1)": [(2, 3, 3, 4), (3, 4, 3, 3), (4,)],
    "F.max_pool1d(x0, 3, 2, 1, 1, True)": [(2, 3, 8)],
    "F.max_pool2d(x0, 2)": [(2, 3, 5, 6)],
    "F.max_pool2d(x0, 3, 2, 1, 1, True)": [(3, 6, 8)],
    "F.avg_pool1d(x0, 3, 2, 1, True, False)": [(2, 3, 8)],
    "F.avg_pool2d(x0, 3, 2, 1, True, False)": [(2, 3, 6, 8)],
    "F.avg_pool2d(x0, (3, 2))": [(3, 6, 8)],
    "F.adaptive_avg_pool1d(x0, 3)": [(2, 3, 7)],
    "F.adaptive_avg_pool2d(x0, (2, 5))": [(3, 5, 6)],
    "F.unfold(x0, (2, 3))": [(3, 4, 5)],
    "F.softplus(x0)": [(3, 5)],
    "F.softplus(x0, 2.0, 1.0)": [(3, 5)],
    "F.softplus(x0, beta=0.5)": [(3, 5)],
    "F.softplus(x0 * 20)": [(3, 5)],
    "F.embedding(i, x0)": [(5, 3)],
    "F.embedding(i, x0, 1)": [(5, 3)],
    "F.embedding(i, x0, padding_idx=-2)": [(5, 3)],
    "F.batch_norm(x0, x1.detach(), x2.detach().square(), x3, x4)": [(4, 3), (3,), (3,), (3,), (3,)],
    "F.instance_norm(x0, None, None, x1, x2)": [(4, 3, 5), (3,), (3,)],
    # Norms without β.
    "nn.BatchNorm1d(3, bias=False)": [(5, 3)],
    "nn.BatchNorm2d(3, bias=False)": [(4, 3, 2, 2)],
    "nn.BatchNorm3d(2, affine=False, bias=False)": [(3, 2, 2, 2, 1)],
    "nn.GroupNorm(2, 4, bias=False)": [(3, 4, 5)],
    "nn.InstanceNorm1d(3, affine=True, bias=False)": [(2, 3, 5)],
    "nn.InstanceNorm2d(3, affine=True, bias=False)": [(3, 4, 5)],
    "nn.InstanceNorm2d(3, bias=False)": [(2, 3, 4, 5)],
}
INDICES = [[1, 0, 1], [4, 3, 4]]

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
rng = np.random.default_rng(29)
golden: dict[str, np.ndarray] = {}


def draw(shape, scale=1.0, **options):
    """Normal draws of three decimals, which take a third of the room."""
    return torch.tensor(rng.normal(0.0, scale, size=tuple(shape)).round(3), **options)


for case, shapes in CASES.items():
    inputs = {f"x{i}": draw(shape, 1.5, requires_grad=True) for i, shape in enumerate(shapes)}
    made = eval(case, {"nn": nn, "F": functional, "i": torch.tensor(INDICES), **inputs})
    parameters, state = {}, {}
    if case.startswith("nn."):
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.copy_(draw(parameter.shape))
        state = {key: value.detach().clone() for key, value in made.state_dict().items()}
        parameters = dict(made.named_parameters())
    y = made(*inputs.values()) if case.startswith("nn.") else made
    g = draw(y.shape)
    leaves = inputs | parameters
    gradients = torch.autograd.grad(y, list(leaves.values()), g, allow_unused=True)
    stored = {
        **inputs,
        **{f"state {key}": value for key, value in state.items()},
        **{f"d {name}": d for name, d in zip(leaves, gradients, strict=True) if d is not None},
        "y": y,
        "g": g,
    }
    golden.update({f"{case}/{name}": value.detach().numpy() for name, value in stored.items()})

np.savez_compressed(Path(__file__).parent / "options.npz", **golden)
