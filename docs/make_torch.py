"""The page of the names of ``microtensor.torch``, made from its list: ``python docs/make_torch.py``."""

from __future__ import annotations

from pathlib import Path

from microtensor import torch

DOCS = Path(__file__).parent
NAMES = Path(torch.__file__).with_name("names.txt")
INTRODUCTION = """# PyTorch's spellings: `microtensor.torch`

    import microtensor.torch as torch
    import microtensor.torch.nn as nn
    import microtensor.torch.nn.functional as F

These names mean what they mean in PyTorch, or refuse an option by its name. Another name raises an error that says so.
Tests compare them call by call with values that PyTorch 2.13 computed, in float32 and in float64. This page is made
from `microtensor/torch/names.txt`; run `python docs/make_torch.py` after a change.

What holds for all of them:

- New tensors of Python's floats are float32. `torch.set_default_dtype` changes this here, and nowhere else:
  `mt.get_default_dtype()` stays as it is.
- Dtypes are promoted by PyTorch's rules. Comparisons give tensors of booleans.
- Sizes and axes are given one by one or as a tuple; axes are `dim=` and `keepdim=`, or `axis=` and `keepdims=`.
- There is one device, the CPU. `torch.cuda.is_available()` is False.
- `torch.manual_seed` gives other random numbers than PyTorch, so printed losses differ.
- A view, `detach()`, `.data`, `state_dict()`, `.numpy()` and `from_numpy` share memory: a write to one is seen in all.
- A change in place is recorded as in PyTorch. A gradient through an operation whose input was changed later raises an
  error, also where PyTorch knows that the rule does not need this input.
- A name that ends in `_` changes the tensor. So do `+=`, `-=`, `*=`, `/=`, `**=`, `//=`, `%=`, `&=`, `|=`, `^=` and
  `x[i] = value`. A leaf that requires a gradient is changed under `torch.no_grad()` or through `.data`.
- An index with a negative step is refused, as in PyTorch, and `uint8` is a mask.
- `out=` is refused everywhere. Some calls that PyTorch refuses work here, such as `view` of a transposed tensor.
- Functions of microtensor take these tensors too. Their results are tensors of microtensor.
"""


def page() -> str:
    """The page as text."""
    parts = [INTRODUCTION]
    for line in NAMES.read_text(encoding="utf-8").splitlines()[2:]:
        names, _, note = line.partition(": ")
        if line.startswith("# "):
            parts.append(f"#{line}\n\n| names | |\n| --- | --- |")
        elif line:
            parts.append(f"| {' '.join(f'`{name}`' for name in names.split())} | {note} |")
        else:
            parts.append("")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (DOCS / "torch.md").write_text(page(), encoding="utf-8")
