"""PyTorch programs run without PyTorch under --torch: their imports, what they show, and what is not there."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microtensor.torch
from microtensor.cli import main
from tests.commands import runner

PROGRAM = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import TensorDataset
from torch.utils.data.dataloader import DataLoader
from torch.nn.parameter import Parameter
from tqdm.auto import tqdm, trange
import matplotlib.pyplot as plt

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.bn = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.bn(self.fc1(x))))

def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = TensorDataset(torch.randn(12, 4), torch.randint(0, 3, (12,)))
    net = Net().to(device)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for epoch in trange(2):
        bar = tqdm(DataLoader(data, batch_size=6), desc="train")
        for x, y in bar:
            bar.set_description(f"{len(bar)} batches").refresh()
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    fig, ax = plt.subplots()
    ax.plot(losses)
    plt.savefig("losses.png")
    print("batches", len(losses))

if __name__ == "__main__":
    main()
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has neither PyTorch nor what programs show things with."""
    hidden = ("torch", "tqdm", "matplotlib", "torchvision")

    class Without:
        """A finder that finds none of them."""

        def __init__(self, finder: Any) -> None:
            self.finder = finder

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.finder, name)

    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without(finder) for finder in sys.meta_path])


def write(text: str) -> str:
    Path("train.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return "train.py"


@pytest.mark.usefixtures("bare")
def test_a_program_of_pytorch_is_drawn_without_it() -> None:
    done = runner().invoke(main, ["viz", write(PROGRAM), "--torch"])
    assert done.exit_code == 0, done.stderr
    assert "batches 4" in done.stderr
    assert "the tensor of the last of 4 backward passes" in done.stderr
    for word in ("loss", "pick", "x̂", "σ²", "γ", "W  parameter"):
        assert word in done.stdout, (word, done.stdout)
    done = runner().invoke(main, ["viz", write(PROGRAM), "--torch", "--depth", "1", "-f", "dot"])
    assert "BatchNorm1d(8)" in done.stdout
    assert "torch" not in sys.modules
    assert not Path("losses.png").exists()


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("command", ["check", "paths"])
def test_check_and_paths_take_it_too(command: str) -> None:
    # Gradients are compared in float64.
    text = PROGRAM.replace("import torch\n", "import torch\ntorch.set_default_dtype(torch.float64)\n", 1)
    options = ["--of", "γ"] if command == "paths" else []
    done = runner().invoke(main, [command, write(text), "--torch", "--stop-at-backward", "1", *options])
    assert done.exit_code == 0, done.stderr
    # What the program has set is its own.
    assert microtensor.torch.get_default_dtype() == np.float32


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        ("import torch", [], "No module named 'torch'; --torch runs the script with microtensor.torch"),
        ("import torchvision", ["--torch"], "torchvision is not installed, and has no counterpart in microtensor"),
        ("import torch.fft", ["--torch"], "torch.fft is not in microtensor.torch"),
        ("import torch; torch.randn(2).cuda()", ["--torch"], "cuda"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(line: str, options: list[str], said: str) -> None:
    done = runner().invoke(main, ["viz", write(line), *options])
    assert done.exit_code == 3, done.stderr
    assert said in done.stderr.splitlines()[-1]


def test_a_program_that_ran_with_pytorch_itself_is_told_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("torch.py").write_text("")
    done = runner().invoke(main, ["viz", write("import torch\nx = 1\n")])
    assert done.exit_code == 1
    assert "--torch runs the script with microtensor.torch" in done.stderr
