"""Writes training.npz: what PyTorch computes for losses, optimisers and schedules, in float64.

Run by hand, ``python tests/golden/make_training.py``; the tests read the file and never import PyTorch. Which function
or class a case calls, and with which options, is stored as JSON in ``calls/json``, so that the tests can do the same.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(7)
golden: dict[str, np.ndarray] = {}
calls: dict[str, tuple[str, dict]] = {}


def store(case, **values):
    for name, value in values.items():
        golden[f"{case}/{name}"] = np.array(value.detach().numpy() if isinstance(value, torch.Tensor) else value)


def normal(*shape):
    return torch.tensor(rng.normal(size=shape))


# --- losses -----------------------------------------------------------------------------------------------


def indices(*shape):
    return torch.tensor(rng.integers(0, 4, size=shape))


def some_ignored(index):
    target = indices(6)
    target[torch.tensor([1, 4])] = index
    return target


def probabilities(*shape):
    return functional.softmax(normal(*shape), 1 if len(shape) > 1 else 0)


def signs(*shape):
    return torch.tensor(rng.choice([-1.0, 1.0], size=shape))


WEIGHT = [0.5, 2.0, 1.0, 0.25]
REDUCTIONS = [{"reduction": r} for r in ("mean", "sum", "none")]


def with_zeros():
    target = probabilities(4, 3)
    target[0] = torch.tensor([0.0, 1.0, 0.0])
    return target


LOSSES = [
    *[(name, options, lambda: (normal(4, 5) * 2, normal(4, 5)))
      for name, more in (
          ("mse_loss", [{}]),
          ("l1_loss", [{}]),
          ("smooth_l1_loss", [{}, {"beta": 0.3}, {"beta": 0.0}]),
          ("huber_loss", [{}, {"delta": 0.3}]),
      ) for options in [*REDUCTIONS, *more]],
    *[(name, options, lambda: (normal(6, 4), some_ignored(-100)))
      for name in ("cross_entropy", "nll_loss")
      for reduction in REDUCTIONS
      for options in [reduction, {**reduction, "weight": WEIGHT}]],
    *[("cross_entropy", {**options, **more}, lambda: (normal(6, 4), some_ignored(2)))
      for options in REDUCTIONS
      for more in [{"ignore_index": 2, "label_smoothing": 0.2},
                   {"ignore_index": 2, "label_smoothing": 0.2, "weight": WEIGHT}]],
    ("cross_entropy", {"label_smoothing": 0.1}, lambda: (normal(6, 4), indices(6))),
    *[("cross_entropy", {**options, **more}, lambda: (normal(5, 4), probabilities(5, 4)))
      for options in REDUCTIONS
      for more in [{"label_smoothing": 0.0}, {"label_smoothing": 0.3, "weight": WEIGHT}]],
    *[(name, {"weight": WEIGHT, **options}, lambda: (normal(2, 4, 3, 2), indices(2, 3, 2)))
      for name, options in [("cross_entropy", {}), ("nll_loss", {"reduction": "none"})]],
    ("cross_entropy", {"weight": WEIGHT, "label_smoothing": 0.25}, lambda: (normal(2, 4, 3), indices(2, 3))),
    ("cross_entropy", {"weight": WEIGHT, "label_smoothing": 0.5}, lambda: (normal(2, 4, 3), probabilities(2, 4, 3))),
    *[(name, {"weight": WEIGHT, "reduction": "sum"}, lambda: (normal(4), indices()))
      for name in ("cross_entropy", "nll_loss")],
    ("cross_entropy", {"label_smoothing": 0.4}, lambda: (normal(4), probabilities(4))),
    *[("binary_cross_entropy", options, lambda: (torch.sigmoid(normal(3, 4)), torch.sigmoid(normal(3, 4))))
      for options in [*REDUCTIONS, {"weight": WEIGHT}]],
    *[("binary_cross_entropy_with_logits", options, lambda: (normal(3, 4) * 3, torch.sigmoid(normal(3, 4))))
      for options in [*REDUCTIONS, {"weight": WEIGHT}, {"pos_weight": WEIGHT},
                      {"weight": WEIGHT, "pos_weight": [3.0], "reduction": "none"}]],
    *[("kl_div", {"reduction": r, "log_target": log}, lambda log=log: (
        functional.log_softmax(normal(4, 3), 1), torch.log(probabilities(4, 3)) if log else with_zeros()))
      for r in ("mean", "batchmean", "none") for log in (False, True)],
    *[("hinge_embedding_loss", options, lambda: (normal(3, 4).abs() * 2, signs(3, 4)))
      for options in [*REDUCTIONS, {"margin": 0.5}]],
]  # fmt: skip

for number, (name, options, draw) in enumerate(LOSSES):
    input, target = draw()
    leaves = [input.detach().requires_grad_()]
    # PyTorch's formula for the derivative of t ln t at 0 differs from ours by the convention there.
    if target.dtype.is_floating_point and name not in ("kl_div", "hinge_embedding_loss"):
        leaves.append(target.detach().requires_grad_())
    tensors = {k: torch.tensor(v) if "weight" in k else v for k, v in options.items()}
    y = getattr(functional, name)(leaves[0], leaves[-1] if len(leaves) > 1 else target, **tensors)
    g = normal(*y.shape)
    gradients = torch.autograd.grad(y, leaves, g)
    case = f"loss {number} {name}"
    calls[case] = (name, options)
    store(case, input=input, target=target, y=y, g=g)
    store(case, **{f"d_{name}": d for name, d in zip(("input", "target"), gradients, strict=False)})

# --- optimisers: 20 steps of a linear regression, two groups, the second with settings of its own ------------

EVERYONE = [{}, {"weight_decay": 0.1}, {"maximize": True}]
OPTIMISERS = {
    "SGD": [
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "maximize": True},
    ],
    "Adam": [{"betas": [0.8, 0.95], "eps": 1e-4}, {"amsgrad": True, "betas": [0.5, 0.6]}],
    "AdamW": [{"weight_decay": 0.0}, {"amsgrad": True, "betas": [0.5, 0.6], "weight_decay": 0.3}],
    "RMSprop": [
        {"alpha": 0.8, "eps": 1e-4},
        {"centered": True},
        {"momentum": 0.7},
        {"alpha": 0.9, "momentum": 0.7, "centered": True, "weight_decay": 0.1},
    ],
    "Adagrad": [
        {"lr_decay": 0.2},
        {"initial_accumulator_value": 0.5, "eps": 1e-3},
        {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.1},
    ],
}
x, t, start_w, start_b = normal(8, 3), normal(8, 2), normal(3, 2), normal(2)
store("regression", x=x, t=t, w=start_w, b=start_b)

for name, more in OPTIMISERS.items():
    for number, options in enumerate([*EVERYONE, *more]):
        w, b = start_w.clone().requires_grad_(), start_b.clone().requires_grad_()
        groups = [{"params": [w]}, {"params": [b], "lr": 0.02, "weight_decay": 0.05}]
        optimiser = getattr(torch.optim, name)(groups, lr=0.05, **options)
        path = []
        case = f"path {name} {number}"
        for step in range(20):
            optimiser.zero_grad()
            ((x @ w + b - t) ** 2).mean().backward()
            optimiser.step()
            path.append(torch.cat([w.detach().ravel(), b.detach()]))
            if step == 9 and number == len(EVERYONE + more) - 1:
                for index, entry in optimiser.state_dict()["state"].items():
                    store(f"state {name}", **{f"{index} {k}": v for k, v in entry.items()})
                store(f"state {name}", of=case, param_groups=json.dumps(optimiser.state_dict()["param_groups"]))
        calls[case] = (name, options)
        store(case, path=torch.stack(path))

# --- schedules: the rates of two groups over 20 epochs -----------------------------------------------------

scheduler = torch.optim.lr_scheduler
SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [3, 9, 9, 14], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("CosineAnnealingLR", {"T_max": 20}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 12}),
]


def two_groups():
    return torch.optim.SGD([{"params": [normal(1).requires_grad_()], "lr": lr} for lr in (0.1, 0.02)])


def rates_of(optimiser, schedule, metrics=None):
    rates = []
    for epoch in range(20):
        rates.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        schedule.step(*([] if metrics is None else [metrics[epoch]]))
    return rates


for number, (name, options) in enumerate(SCHEDULES):
    optimiser = two_groups()
    rates = rates_of(optimiser, getattr(scheduler, name)(optimiser, **options))
    calls[f"schedule {number} {name}"] = (name, options)
    store(f"schedule {number} {name}", rates=rates)

optimiser = two_groups()
store("lambda", rates=rates_of(optimiser, scheduler.LambdaLR(optimiser, [lambda e: 0.9**e, lambda e: 1 / (1 + e)])))

optimiser = two_groups()
stages = [
    scheduler.LinearLR(optimiser, start_factor=0.1, total_iters=4),
    scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=0.001),
    scheduler.ExponentialLR(optimiser, gamma=0.5),
]
store("sequence", rates=rates_of(optimiser, scheduler.SequentialLR(optimiser, stages, milestones=[4, 14])))

PLATEAUS = [
    {"patience": 2},
    {"patience": 1, "factor": 0.5, "cooldown": 2, "min_lr": [0.03, 0.0]},
    {"patience": 0, "mode": "max", "factor": 0.5, "threshold": 0.1},
    {"patience": 1, "factor": 0.5, "threshold": 0.05, "threshold_mode": "abs"},
    {"patience": 0, "mode": "max", "factor": 0.5, "threshold": 0.05, "threshold_mode": "abs", "eps": 0.01},
]
metrics = np.round(1 / np.arange(1, 21) + 0.05 * rng.normal(size=20), 3)
metrics[5] = np.nan
store("plateau", metrics=metrics)
for number, options in enumerate(PLATEAUS):
    optimiser = two_groups()
    rates = rates_of(optimiser, scheduler.ReduceLROnPlateau(optimiser, **options), metrics.tolist())
    calls[f"plateau {number}"] = ("ReduceLROnPlateau", options)
    store(f"plateau {number}", rates=rates)

# --- clipping ---------------------------------------------------------------------------------------------

for norm_type in (1.0, 2.0, 3.0, float("inf")):
    leaves = [normal(3, 2).requires_grad_(), normal(4).requires_grad_()]
    for leaf in leaves:
        leaf.grad = normal(*leaf.shape)
    case = f"clip {norm_type}"
    store(case, g0=leaves[0].grad.clone(), g1=leaves[1].grad.clone())
    total = torch.nn.utils.clip_grad_norm_(leaves, 0.7, norm_type)
    store(case, total=total, clipped0=leaves[0].grad, clipped1=leaves[1].grad)

store("calls", json=json.dumps(calls))
np.savez_compressed(Path(__file__).parent / "training.npz", **golden)
