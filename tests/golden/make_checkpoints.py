"""Writes checkpoint.safetensors, models' states saved by PyTorch, and checkpoints.npz, what the models compute.

Run by hand, ``python tests/golden/make_checkpoints.py``; the tests read the files and never import PyTorch. When it
runs it also goes the way back: PyTorch must load, strictly, what ``mt.save`` wrote, and compute the same.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import safetensors.torch
import torch
from torch import nn

from microtensor.nn.activation import ReLU
from microtensor.nn.attention import TransformerEncoderLayer
from microtensor.nn.container import Sequential
from microtensor.nn.convolution import Conv2d, ConvTranspose2d
from microtensor.nn.embedding import Embedding
from microtensor.nn.linear import Linear
from microtensor.nn.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from microtensor.nn.pooling import Flatten
from microtensor.nn.recurrent import LSTM
from microtensor.serialize import load, save

HERE = Path(__file__).parent
OURS = SimpleNamespace(
    BatchNorm1d=BatchNorm1d,
    BatchNorm2d=BatchNorm2d,
    Conv2d=Conv2d,
    ConvTranspose2d=ConvTranspose2d,
    Embedding=Embedding,
    Flatten=Flatten,
    GroupNorm=GroupNorm,
    LSTM=LSTM,
    LayerNorm=LayerNorm,
    Linear=Linear,
    RMSNorm=RMSNorm,
    ReLU=ReLU,
    Sequential=Sequential,
    TransformerEncoderLayer=TransformerEncoderLayer,
)
torch.manual_seed(3)
INPUTS = {
    "dense": torch.randn(7, 5, dtype=torch.float64),
    "image": torch.randn(3, 2, 4, 4, dtype=torch.float64),
    "recurrent": torch.randn(4, 3, 5, dtype=torch.float64),
    "attention": torch.randint(9, (3, 4)),
}


def networks(nn):
    """The same models in both libraries."""
    return {
        "dense": nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Sequential(nn.Linear(8, 6, bias=False), nn.LayerNorm(6))
        ),
        "image": nn.Sequential(
            nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2), nn.GroupNorm(3, 3), nn.Flatten(), nn.Linear(192, 2)),
        ),
        "recurrent": nn.LSTM(5, 4, num_layers=2, bidirectional=True),
        "attention": nn.Sequential(
            nn.Embedding(9, 6), nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True), nn.RMSNorm(6)
        ),
    }


def output(model, x):
    """The result; of a recurrent layer, that of every step."""
    y = model(x)
    return y[0] if isinstance(y, tuple) else y


def train(model, x):
    """Move everything from its initial value, running statistics too."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        (output(model, x) - 0.5).square().mean().backward()
        optimizer.step()


models = nn.ModuleDict(networks(nn))
for name, x in INPUTS.items():
    train(models[name], x.float() if x.is_floating_point() else x)
(HERE / "checkpoint.safetensors").write_bytes(safetensors.torch.save(models.state_dict()))

# The file's float32 numbers, and results in float64.
models = models.double().eval()
results = {}
with torch.no_grad():
    for name, x in INPUTS.items():
        results[f"{name}/x"] = x.numpy()
        results[f"{name}/y"] = output(models[name], x).numpy()
np.savez_compressed(HERE / "checkpoints.npz", **results)

# The way back.
for name, model in networks(OURS).items():
    state = load(HERE / "checkpoint.safetensors")
    model.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "ours.safetensors", model.state_dict())
        theirs = networks(nn)[name].double().eval()
        theirs.load_state_dict(safetensors.torch.load_file(Path(folder) / "ours.safetensors"), strict=True)
    with torch.no_grad():
        assert np.array_equal(output(theirs, INPUTS[name]).numpy(), results[f"{name}/y"])
