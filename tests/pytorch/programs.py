"""Whole programs that import torch, run with PyTorch or with ``microtensor.torch`` under that name."""

import runpy
import sys
from pathlib import Path

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def modules_of(torch):
    """The modules of a package under the names that programs import them by."""
    root = torch.__name__
    return {
        "torch" + name[len(root) :]: m for name, m in sys.modules.items() if name == root or name.startswith(f"{root}.")
    }


def ran(path, torch, double):
    """Losses, gradients and parameters at the end of a program, as lists of numbers."""
    kept = {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] == "torch"}
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    sys.modules.update(modules_of(torch))
    try:
        names = runpy.run_path(str(path))
    finally:
        torch.set_default_dtype(torch.float32)
        for name in modules_of(torch):
            sys.modules.pop(name, None)
        sys.modules.update(kept)
    model = names["model"]
    parameters = list(model if isinstance(model, list) else model.parameters())
    return {
        "losses": names["losses"],
        "gradients": [p.grad.reshape(-1).tolist() for p in parameters],
        "parameters": [p.detach().reshape(-1).tolist() for p in parameters],
        "dtypes": [str(p.dtype).removeprefix("torch.") for p in parameters],
    }
