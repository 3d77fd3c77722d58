"""Calls that must mean in ``microtensor.torch`` what they mean in PyTorch.

A case is a few lines that set ``out``. They run in both with the same names: ``x``, ``z`` and ``w`` are leaves that
require a gradient, ``y`` is data, ``i`` holds integers, ``m`` is a mask. :func:`outcome` gives the results, and the
gradients of a weighted sum of them.
"""

from pathlib import Path

import numpy as np

PREPARED = """
import numpy as np
def filled(*shape, seed=0):
    count = int(np.prod(shape))
    return torch.tensor([((k * 37 + seed * 11) % 23 - 11) / 8 for k in range(count)]).reshape(shape).clone()
x = filled(2, 3).requires_grad_()
z = filled(2, 3, 4, seed=1).requires_grad_()
w = filled(3, 2, seed=2).requires_grad_()
y = filled(2, 3, seed=3)
v = filled(3, seed=4)
i = torch.tensor([[2, 0, 1], [1, 1, 0]])
m = torch.tensor([[True, False, True], [False, False, True]])
"""

HERE = Path(__file__).parent


def cases():
    """The name and the code of every case: one call a line, and programs of several lines under a heading."""
    calls = (HERE / "calls.txt").read_text(encoding="utf-8").splitlines()
    programs = (HERE / "changes.txt").read_text(encoding="utf-8").split("## ")[1:]
    return {call: f"out = {call}" for call in calls} | dict(program.split("\n", 1) for program in programs)


def parts(value):
    """The results in a result, one after the other."""
    if isinstance(value, (list, tuple)) and type(value).__name__ != "Size":
        return [part for item in value for part in parts(item)]
    return [value]


def plain(value):
    """A result as JSON: a tensor by its dtype, shape and values."""
    if type(value).__name__ == "Size":
        return {"size": list(value)}
    if isinstance(value, np.dtype) or type(value).__name__ == "dtype":
        return {"dtype": str(value).removeprefix("torch.")}
    if hasattr(value, "detach"):
        array = np.array(value.detach().tolist())
        return {
            "tensor": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "values": array.ravel().tolist(),
        }
    if isinstance(value, np.ndarray):
        return {"array": str(value.dtype), "values": value.ravel().tolist(), "shape": list(value.shape)}
    return {"python": value.item() if isinstance(value, np.generic) else value}


def outcome(code, torch, double):
    """What a case gives: results and gradients, or that it raises."""
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    try:
        exec(PREPARED, names)
        try:
            exec(code, names)
        except Exception as error:
            return {"raises": f"{type(error).__name__}: {error}"}
        found = {"out": [plain(part) for part in parts(names["out"])]}
        tracked = [part for part in parts(names["out"]) if getattr(part, "grad_fn", None) is not None]
        if tracked:
            total = 0
            for part in tracked:
                weights = torch.tensor([(k % 5) - 1.5 for k in range(part.numel())], dtype=part.dtype)
                total = total + (part.reshape(-1) * weights).sum()
            try:
                total.backward()
            except Exception as error:
                return found | {"backward": f"{type(error).__name__}: {error}"}
            leaves = {name: names[name] for name in ("x", "z", "w")}
            found["grad"] = {name: plain(t.grad) for name, t in leaves.items() if t.is_leaf and t.grad is not None}
        return found
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
