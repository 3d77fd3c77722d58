"""Writes layers.npz: what PyTorch computes for the layers of ``nn``, in float64.

Run by hand, ``python tests/golden/make_layers.py``; the tests read the file and never import PyTorch. A case is
called as the layer is made, ``Conv2d(4, 6, 3, stride=2)``; it holds the state, the inputs ``x0``, ``x1``, …, the
result, a random cotangent and the gradients of parameters and inputs.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

CASES = {
    "Linear(3, 5)": [(2, 4, 3)],
    "Linear(3, 5, bias=False)": [(3,)],
    "Bilinear(3, 4, 2)": [(2, 5, 3), (2, 5, 4)],
    "Bilinear(3, 4, 2, bias=False)": [(6, 3), (6, 4)],
    "Identity()": [(2, 3)],
    "Conv1d(4, 6, 3)": [(2, 4, 7)],
    "Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)": [(2, 4, 9)],
    "Conv1d(2, 3, 4, padding='same')": [(2, 2, 6)],
    "Conv2d(3, 4, 3)": [(2, 3, 5, 6)],
    "Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)": [(2, 3, 5, 6)],
    "Conv2d(4, 6, 3, padding='same', dilation=(1, 2), groups=2)": [(2, 4, 5, 6)],
    "Conv2d(2, 3, (2, 4), padding='same')": [(2, 2, 4, 5)],
    "Conv2d(2, 3, 2, padding='valid')": [(2, 2, 4, 3)],
    "Conv2d(4, 4, 3, groups=4)": [(2, 4, 4, 4)],
    "Conv2d(3, 5, 1)": [(2, 3, 2, 3)],
    "ConvTranspose2d(3, 4, 3)": [(2, 3, 3, 4)],
    "ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)": [(2, 3, 3, 4)],
    "ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(0, 2), bias=False)": [(2, 4, 3, 2)],
    "ConvTranspose2d(4, 6, 2, stride=1, padding=0, output_padding=1, groups=2, dilation=2)": [(2, 4, 3, 3)],
    "MaxPool1d(2)": [(2, 3, 7)],
    "MaxPool1d(3, stride=2, padding=1, dilation=2)": [(2, 3, 9)],
    "MaxPool2d(2)": [(2, 3, 5, 6)],
    "MaxPool2d((3, 2), stride=(2, 1), padding=1)": [(2, 3, 5, 6)],
    "AvgPool1d(2)": [(2, 3, 7)],
    "AvgPool1d(3, stride=2, padding=1, count_include_pad=False)": [(2, 3, 7)],
    "AvgPool2d(2)": [(2, 3, 5, 6)],
    "AvgPool2d((3, 2), stride=(2, 1), padding=(1, 1))": [(2, 3, 5, 6)],
    "AvgPool2d(3, stride=2, padding=1, count_include_pad=False)": [(2, 3, 5, 6)],
    "AdaptiveAvgPool1d(3)": [(2, 3, 7)],
    "AdaptiveAvgPool2d((2, 5))": [(2, 3, 5, 6)],
    "AdaptiveAvgPool2d((None, 3))": [(2, 3, 5, 6)],
    "AdaptiveAvgPool2d(1)": [(2, 3, 5, 6)],
    "Flatten()": [(2, 3, 4, 5)],
    "Flatten(start_dim=0, end_dim=-2)": [(2, 3, 4)],
    "Unflatten(1, (2, -1))": [(2, 6, 3)],
    "Dropout(0.0)": [(2, 3)],
    "Dropout(0.7).eval()": [(2, 3)],
    "Sequential(OrderedDict(a=Linear(3, 4), b=Tanh(), c=Linear(4, 2)))": [(5, 3)],
    "Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(16, 3))": [(2, 1, 6, 6)],
}
ACTIVATIONS = [
    "ReLU()",
    "LeakyReLU()",
    "LeakyReLU(0.2)",
    "ELU()",
    "ELU(1.5)",
    "SELU()",
    "GELU()",
    "GELU('tanh')",
    "SiLU()",
    "Softplus()",
    "Softplus(2.0, 1.0)",
    "Mish()",
    "Hardtanh()",
    "Hardtanh(-0.5, 0.2)",
    "Sigmoid()",
    "Tanh()",
    "Softmax(dim=0)",
    "Softmax(dim=-1)",
    "LogSoftmax(dim=1)",
]
EMBEDDINGS = {
    "Embedding(5, 3)": [[1, 0, 1], [4, 4, 4]],
    "Embedding(5, 3, padding_idx=1)": [[1, 0, 1], [4, 3, 4]],
    "Embedding(5, 3, padding_idx=-1)": [4, 0, 4],
}

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
rng = np.random.default_rng(21)
golden: dict[str, np.ndarray] = {}


def draw(shape, scale=1.0, **options):
    """Normal draws of three decimals, which take a third of the room."""
    return torch.tensor(rng.normal(0.0, scale, size=tuple(shape)).round(3), **options)


def run(case, inputs):
    """Store state, inputs, result, cotangent and all gradients of the layer that the case names."""
    layer = eval(case, {"OrderedDict": OrderedDict, **vars(nn)})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.round(decimals=3))
    y = layer(*inputs)
    g = draw(y.shape)
    leaves = {f"x{i}": x for i, x in enumerate(inputs) if x.requires_grad} | dict(layer.named_parameters())
    gradients = torch.autograd.grad(y, list(leaves.values()), g)
    stored = {
        **{f"x{i}": x for i, x in enumerate(inputs)},
        **{f"state {key}": value for key, value in layer.state_dict().items()},
        **{f"d {name}": d for name, d in zip(leaves, gradients, strict=True)},
        "y": y,
        "g": g,
    }
    golden.update({f"{case}/{name}": value.detach().numpy() for name, value in stored.items()})


for case, shapes in (CASES | {activation: [(3, 5)] for activation in ACTIVATIONS}).items():
    run(case, [draw(shape, 1.5, requires_grad=True) for shape in shapes])
for case, indices in EMBEDDINGS.items():
    run(case, [torch.tensor(indices)])

np.savez_compressed(Path(__file__).parent / "layers.npz", **golden)
