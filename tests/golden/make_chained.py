"""Writes chained.npz: the rates of PyTorch's schedules when two of them, or a hand, move one optimiser, in float64.

Run by hand, ``python tests/golden/make_chained.py``; the tests read the file and never import PyTorch. What each kind
of schedule is made with is stored as JSON in ``settings/json``, so that the tests can make the same.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.optim import lr_scheduler

# That no optimiser has stepped in between is meant.
warnings.simplefilter("ignore")

EPOCHS = 50
BY_HAND = (17, 0.3)
AFTERWARDS = 23
SETTINGS = {
    "StepLR": {"step_size": 7, "gamma": 0.5},
    "MultiStepLR": {"milestones": [0, 5, 20, 20, 33], "gamma": 0.5},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 12},
    "CosineAnnealingLR": {"T_max": 11, "eta_min": 0.0},
    "LambdaLR": {"lr_lambda": "inverse"},
    "SequentialLR": {"milestones": [6, 19]},
    "ReduceLROnPlateau": {"patience": 1, "factor": 0.5, "cooldown": 1},
}
metrics = np.round(np.random.default_rng(0).uniform(size=EPOCHS), 3)


def two_groups():
    parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    return torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.02), strict=True)])


def make(kind, optimiser):
    options = dict(SETTINGS[kind])
    if kind == "LambdaLR":
        options["lr_lambda"] = lambda epoch: 1 / (1 + epoch)
    if kind == "SequentialLR":
        options["schedulers"] = [make(k, optimiser) for k in ("LinearLR", "CosineAnnealingLR", "ExponentialLR")]
    return getattr(lr_scheduler, kind)(optimiser, **options)


def step(kind, schedule, epoch):
    schedule.step(*([metrics[epoch]] if kind == "ReduceLROnPlateau" else []))


golden = {}

for first in SETTINGS:
    for second in SETTINGS:
        optimiser = two_groups()
        schedules = [(kind, make(kind, optimiser)) for kind in (first, second)]
        rates = []
        for epoch in range(EPOCHS):
            rates.append([group["lr"] for group in optimiser.param_groups])
            for kind, schedule in schedules:
                step(kind, schedule, epoch)
        golden[f"{first} and {second}"] = rates

        optimiser = two_groups()
        schedule, kind, rates = make(first, optimiser), first, []
        for epoch in range(EPOCHS):
            rates.append([group["lr"] for group in optimiser.param_groups])
            step(kind, schedule, epoch)
            if epoch == AFTERWARDS:
                schedule, kind = make(second, optimiser), second
        golden[f"{first}, then {second}"] = rates

    optimiser = two_groups()
    schedule, rates = make(first, optimiser), []
    for epoch in range(EPOCHS):
        rates.append([group["lr"] for group in optimiser.param_groups])
        step(first, schedule, epoch)
        if epoch == BY_HAND[0]:
            optimiser.param_groups[0]["lr"] = BY_HAND[1]
    golden[f"{first} by hand"] = rates

np.savez_compressed(
    Path(__file__).parent / "chained.npz",
    **{"settings/json": json.dumps(SETTINGS), "cases/json": json.dumps(list(golden))},
    metrics=metrics,
    by_hand=BY_HAND,
    afterwards=AFTERWARDS,
    rates=np.array(list(golden.values())),
)
