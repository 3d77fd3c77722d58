"""Schedules: PyTorch's rates, epoch by epoch; resuming; and what they refuse."""

import json

import numpy as np
import pytest
from conftest import stored

import microtensor as mt
from microtensor.optim import lr_scheduler

CALLS = json.loads(str(stored("training")["calls/json"]))
SCHEDULES = {case: call for case, call in CALLS.items() if case.startswith("schedule ")}
PLATEAUS = {case: options for case, (_, options) in CALLS.items() if case.startswith("plateau ")}


def two_groups(*rates):
    return mt.optim.SGD([{"params": [mt.ones(1, requires_grad=True)], "lr": lr} for lr in rates or (0.1, 0.02)])


def rates_of(optimiser, schedule, metrics=None):
    rates = []
    for epoch in range(20):
        rates.append([group["lr"] for group in optimiser.param_groups])
        assert schedule.get_last_lr() == rates[-1]
        optimiser.step()
        schedule.step(*([] if metrics is None else [metrics[epoch]]))
    return rates


def warm_up_and_two_more(optimiser):
    stages = [
        lr_scheduler.LinearLR(optimiser, start_factor=0.1, total_iters=4),
        lr_scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=0.001),
        lr_scheduler.ExponentialLR(optimiser, gamma=0.5),
    ]
    return lr_scheduler.SequentialLR(optimiser, stages, milestones=[4, 14])


def lambdas(optimiser):
    return lr_scheduler.LambdaLR(optimiser, [lambda e: 0.9**e, lambda e: np.float64(1 / (1 + e))])


MAKERS = {
    **{
        case: lambda o, name=name, options=options: getattr(lr_scheduler, name)(o, **options)
        for case, (name, options) in SCHEDULES.items()
    },
    "lambda": lambdas,
    "sequence": warm_up_and_two_more,
}


@pytest.mark.parametrize("case", MAKERS)
def test_twenty_epochs_are_pytorchs(golden, case):
    optimiser = two_groups()
    rates = rates_of(optimiser, MAKERS[case](optimiser))
    np.testing.assert_allclose(rates, golden(case, file="training")["rates"], rtol=1e-12, atol=1e-16)
    assert all(type(rate) is float for pair in rates for rate in pair)


@pytest.mark.parametrize("case", PLATEAUS)
def test_plateaus_are_pytorchs(golden, case):
    optimiser = two_groups()
    schedule = lr_scheduler.ReduceLROnPlateau(optimiser, **PLATEAUS[case])
    metrics = golden("plateau", file="training")["metrics"]
    rates = rates_of(optimiser, schedule, metrics)
    np.testing.assert_allclose(rates, golden(case, file="training")["rates"], rtol=1e-12)
    assert rates[-1] != rates[0]


def test_a_plateau_takes_a_loss_as_it_is():
    optimiser = two_groups()
    schedule = lr_scheduler.ReduceLROnPlateau(optimiser, patience=0)
    w = mt.tensor([2.0], requires_grad=True)
    schedule.step(mt.sum(w * w))
    assert schedule.best == 4.0


@pytest.mark.parametrize("case", MAKERS)
def test_a_schedule_goes_on_from_its_state(case):
    optimiser = two_groups()
    schedule = MAKERS[case](optimiser)
    for _ in range(7):
        schedule.step()
    saved = json.loads(json.dumps([optimiser.state_dict(), schedule.state_dict()]))
    resumed = two_groups(0.5, 0.5)
    resumed_schedule = MAKERS[case](resumed)
    resumed.load_state_dict(saved[0])
    resumed_schedule.load_state_dict(saved[1])
    for _ in range(10):
        assert resumed_schedule.get_last_lr() == schedule.get_last_lr()
        schedule.step()
        resumed_schedule.step()


def test_a_plateau_goes_on_from_its_state():
    metrics = np.random.default_rng(0).uniform(size=30)
    optimiser, resumed = two_groups(), two_groups()
    schedule = lr_scheduler.ReduceLROnPlateau(optimiser, patience=1, cooldown=1)
    for value in metrics[:10]:
        schedule.step(value)
    again = lr_scheduler.ReduceLROnPlateau(resumed, patience=1, cooldown=1)
    resumed.load_state_dict(optimiser.state_dict())
    again.load_state_dict(schedule.state_dict())
    for value in metrics[10:]:
        schedule.step(value)
        again.step(value)
        assert again.get_last_lr() == schedule.get_last_lr()


def test_a_schedule_can_start_after_an_epoch():
    optimiser = two_groups()
    schedule = lr_scheduler.StepLR(optimiser, 2)
    for _ in range(4):
        schedule.step()
    assert lr_scheduler.StepLR(optimiser, 2, last_epoch=3).get_last_lr() == schedule.get_last_lr()


def test_looking_ahead_changes_nothing():
    optimiser = two_groups()
    schedule = lr_scheduler.ExponentialLR(optimiser, 0.5)
    assert schedule.lrs_at(3) == [0.0125, 0.0025]
    assert schedule.get_last_lr() == [0.1, 0.02]
    assert schedule.last_epoch == 0


def test_a_group_that_joins_later_follows_too():
    optimiser = two_groups()
    schedule = lr_scheduler.ExponentialLR(optimiser, 0.5)
    optimiser.add_param_group({"params": mt.ones(1, requires_grad=True), "lr": 1.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 0.01, 0.5]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLR", {"step_size": 0}, "StepLR: step_size is 0"),
        ("StepLR", {"step_size": 2, "gamma": -1}, "StepLR: gamma is -1"),
        ("MultiStepLR", {"milestones": [1], "gamma": np.nan}, "MultiStepLR: gamma is nan"),
        ("ExponentialLR", {"gamma": "0.5"}, "ExponentialLR: gamma is '0.5'"),
        ("LinearLR", {"start_factor": -1}, "LinearLR: start_factor is -1"),
        ("LinearLR", {"total_iters": 0}, "LinearLR: total_iters is 0"),
        ("CosineAnnealingLR", {"T_max": 0}, "CosineAnnealingLR: T_max is 0"),
        ("CosineAnnealingLR", {"T_max": 2, "eta_min": -0.1}, "CosineAnnealingLR: eta_min is -0.1"),
        ("LambdaLR", {"lr_lambda": [abs]}, "LambdaLR: 1 functions for 2 parameter groups"),
        ("SequentialLR", {"schedulers": [], "milestones": [3]}, r"SequentialLR: milestones are \[3\] for 0 schedules"),
        ("ReduceLROnPlateau", {"mode": "low"}, "mode 'low' is not 'min' or 'max'"),
        ("ReduceLROnPlateau", {"threshold_mode": "low"}, "threshold_mode 'low' is not 'rel' or 'abs'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor is 1.0"),
        ("ReduceLROnPlateau", {"patience": -1}, "patience is -1"),
        ("ReduceLROnPlateau", {"min_lr": [0.0]}, "1 values of min_lr for 2 parameter groups"),
    ],
)
def test_settings_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(lr_scheduler, name)(two_groups(), **options)


def test_what_is_no_optimiser_or_no_schedule_is_refused():
    for make in (lambda o: lr_scheduler.StepLR(o, 1), lr_scheduler.ReduceLROnPlateau):
        with pytest.raises(TypeError, match="list is not an Optimizer"):
            make([])
    optimiser = two_groups()
    with pytest.raises(TypeError, match="ReduceLROnPlateau does not follow the epoch"):
        lr_scheduler.SequentialLR(optimiser, [lr_scheduler.ReduceLROnPlateau(optimiser)], [])
    with pytest.raises(ValueError, match="different optimisers"):
        lr_scheduler.SequentialLR(two_groups(), [lr_scheduler.ExponentialLR(optimiser, 0.5)], [])


def test_a_state_with_other_keys_changes_nothing():
    optimiser = two_groups()
    for schedule in (lr_scheduler.StepLR(optimiser, 1), lr_scheduler.ReduceLROnPlateau(optimiser)):
        before = schedule.state_dict()
        with pytest.raises(ValueError, match="load_state_dict: keys are"):
            schedule.load_state_dict({"epoch": 3})
        assert schedule.state_dict() == before
