"""Schedules: PyTorch's rates, epoch by epoch, also of several at once; resuming; and what they refuse."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest

import microtensor as mt
from microtensor.optim import lr_scheduler
from tests.places import stored

CALLS = json.loads(str(stored("training")["calls/json"]))
SCHEDULES = {case: call for case, call in CALLS.items() if case.startswith("schedule ")}
PLATEAUS = {case: options for case, (_, options) in CALLS.items() if case.startswith("plateau ")}


CHAINED = stored("chained")
KINDS = json.loads(str(CHAINED["settings/json"]))
TOGETHER = dict(zip(json.loads(str(CHAINED["cases/json"])), CHAINED["rates"], strict=True))


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
        ("LinearLR", {"start_factor": 0}, "LinearLR: start_factor is 0; it must be above 0"),
        ("LinearLR", {"total_iters": 0}, "LinearLR: total_iters is 0"),
        ("CosineAnnealingLR", {"T_max": 0}, "CosineAnnealingLR: T_max is 0"),
        ("CosineAnnealingLR", {"T_max": 2, "eta_min": -0.1}, "CosineAnnealingLR: eta_min is -0.1"),
        ("LambdaLR", {"lr_lambda": [abs]}, "LambdaLR: 1 functions for 2 parameter groups"),
        ("SequentialLR", {"schedulers": [], "milestones": [3]}, r"SequentialLR: milestones are \[3\] for 0 schedules"),
        ("ReduceLROnPlateau", {"mode": "low"}, "mode is 'low', .*'min' or 'max'"),
        ("ReduceLROnPlateau", {"threshold_mode": "low"}, "threshold_mode is 'low', .*'rel' or 'abs'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor is 1.0"),
        ("ReduceLROnPlateau", {"patience": -1}, "patience is -1"),
        ("ReduceLROnPlateau", {"min_lr": [0.0]}, "1 values of min_lr for 2 parameter groups"),
    ],
)
def test_settings_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(lr_scheduler, name)(two_groups(), **options)


def test_what_is_no_list_of_schedules_and_a_schedule_without_a_curve_are_named():
    sgd = mt.optim.SGD([mt.tensor([1.0], requires_grad=True)], lr=1.0)
    with pytest.raises(TypeError, match="SequentialLR: schedulers is one StepLR; it must be a list of them"):
        mt.optim.lr_scheduler.SequentialLR(sgd, mt.optim.lr_scheduler.StepLR(sgd, 2), [])

    class Bare(mt.optim.lr_scheduler.LRScheduler):
        pass

    with pytest.raises(NotImplementedError, match="Bare defines no lrs_at"):
        Bare(sgd)


def test_what_is_no_optimiser_or_no_schedule_is_refused():
    for make in (lambda o: lr_scheduler.StepLR(o, 1), lr_scheduler.ReduceLROnPlateau):
        with pytest.raises(TypeError, match="list is not an Optimizer"):
            make([])
    optimiser = two_groups()
    for bad in (0.5, None, "x", [0.5, 0.5]):
        with pytest.raises(TypeError, match=r"LambdaLR: lr_lambda is .*; it must be a function, or a list"):
            lr_scheduler.LambdaLR(optimiser, bad)
    with pytest.raises(TypeError, match="MultiStepLR: milestones is 3; it must be a sequence"):
        lr_scheduler.MultiStepLR(optimiser, 3)
    with pytest.raises(TypeError, match="ReduceLROnPlateau does not depend on the epoch"):
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


# --- several, and a hand --------------------------------------------------------------------------------------


def make(kind, optimiser):
    options = dict(KINDS[kind])
    if kind == "LambdaLR":
        options["lr_lambda"] = lambda epoch: 1 / (1 + epoch)
    if kind == "SequentialLR":
        options["schedulers"] = [make(k, optimiser) for k in ("LinearLR", "CosineAnnealingLR", "ExponentialLR")]
    return getattr(lr_scheduler, kind)(optimiser, **options)


def rates_now(optimiser):
    return [group["lr"] for group in optimiser.param_groups]


def step(schedule, epoch):
    schedule.step(*([CHAINED["metrics"][epoch]] if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) else []))


def follows(case, optimiser, steps):
    """Whether the rates are PyTorch's to the end; False if a schedule of its own rates refused to go on."""
    for epoch, expected in enumerate(TOGETHER[case]):
        np.testing.assert_allclose(rates_now(optimiser), expected, rtol=1e-10, atol=1e-16)
        for advance in steps:
            before, refused = rates_now(optimiser), ""
            try:
                advance(epoch)
            except ValueError as error:
                refused = str(error)
            if refused:
                assert re.fullmatch("LambdaLR: the rate of group .* SequentialLR", refused)
                assert rates_now(optimiser) == before
                return False
    return True


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_two_at_once_are_pytorchs_or_refuse(first, second):
    optimiser = two_groups()
    schedules = [make(kind, optimiser) for kind in (first, second)]
    followed = follows(f"{first} and {second}", optimiser, [lambda e, s=s: step(s, e) for s in schedules])
    assert followed == ("LambdaLR" not in (first, second))


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_one_after_another_starts_where_that_ended(first, second):
    optimiser = two_groups()
    schedules = [make(first, optimiser)]

    def change(epoch):
        if epoch == CHAINED["afterwards"]:
            before = rates_now(optimiser)
            schedules[0] = make(second, optimiser)
            assert rates_now(optimiser) == before or second in ("LinearLR", "MultiStepLR", "LambdaLR", "SequentialLR")

    assert follows(f"{first}, then {second}", optimiser, [lambda e: step(schedules[0], e), change])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_set_by_hand_is_gone_on_from(kind):
    optimiser = two_groups()
    schedule = make(kind, optimiser)

    def hand(epoch):
        if epoch == CHAINED["by_hand"][0]:
            optimiser.param_groups[0]["lr"] = CHAINED["by_hand"][1]

    assert follows(f"{kind} by hand", optimiser, [lambda e: step(schedule, e), hand]) == (kind != "LambdaLR")


def test_a_warm_up_leaves_the_reductions_of_a_plateau():
    optimiser = two_groups(1.0)
    warm_up = lr_scheduler.LinearLR(optimiser, start_factor=0.5, total_iters=2)
    plateau = lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=0)
    for _ in range(7):
        warm_up.step()
        plateau.step(1.0)
    assert rates_now(optimiser) == [2.0**-6]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimiser_first", [True, False])
def test_a_state_is_resumed_in_either_order_with_what_others_did_to_the_rate(kind, optimiser_first):
    kinds = [kind] if kind in ("LambdaLR", "SequentialLR") else [kind, "ReduceLROnPlateau"]
    optimiser, resumed = two_groups(), two_groups(0.5, 0.5)
    schedules, again = ([make(k, o) for k in kinds] for o in (optimiser, resumed))
    for epoch in range(15):
        for schedule in schedules:
            step(schedule, epoch)
    pairs = [(resumed, optimiser), *zip(again, schedules, strict=True)]
    for new, old in pairs if optimiser_first else reversed(pairs):
        new.load_state_dict(json.loads(json.dumps(old.state_dict())))
    for epoch in range(15, 30):
        assert rates_now(resumed) == rates_now(optimiser)
        for schedule in [*schedules, *again]:
            step(schedule, epoch)


def test_a_group_that_joins_a_plateau_is_lowered_too_or_nothing_is():
    for min_lr, joins in ((0.01, True), ([0.01, 0.01], False)):
        optimiser = two_groups()
        plateau = lr_scheduler.ReduceLROnPlateau(optimiser, patience=0, factor=0.5, min_lr=min_lr)
        plateau.step(1.0)
        optimiser.add_param_group({"params": mt.ones(1, requires_grad=True), "lr": 1.0})
        if joins:
            plateau.step(1.0)
            assert rates_now(optimiser) == [0.05, 0.01, 0.5]
            continue
        before = plateau.state_dict()
        with pytest.raises(ValueError, match="ReduceLROnPlateau: 2 values of min_lr for 3 parameter groups"):
            plateau.step(1.0)
        assert (rates_now(optimiser), plateau.state_dict()) == ([0.1, 0.02, 1.0], before)
        plateau.min_lrs = [0.01, 0.01, 0.9]
        plateau.step(1.0)
        assert rates_now(optimiser) == [0.05, 0.01, 0.9]


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 - e), "LambdaLR: at epoch 2 a rate would be -"),
        (lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 if e < 2 else np.nan), "at epoch 2 a rate would be nan"),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 if e < 2 else None),
            "LambdaLR: the value of the function is None",
        ),
        (lambda o: lr_scheduler.ExponentialLR(o, 1e200), "ExponentialLR: at epoch 2 a rate would be inf"),
    ],
)
def test_a_rate_out_of_range_is_not_set(make_it, message):
    optimiser = two_groups()
    schedule = make_it(optimiser)
    schedule.step()
    before = rates_now(optimiser)
    with pytest.raises(ValueError, match=message):
        schedule.step()
    assert (rates_now(optimiser), schedule.last_epoch) == (before, 1)


def test_cosines_that_would_end_below_0_name_the_way_out():
    optimiser = two_groups()
    schedules = [lr_scheduler.ExponentialLR(optimiser, 0.8), lr_scheduler.CosineAnnealingLR(optimiser, 5, eta_min=0.05)]

    def run():
        for _ in range(20):
            for schedule in schedules:
                schedule.step()

    with pytest.raises(ValueError, match=r"CosineAnnealingLR: at epoch \d+ a rate would be -.* by SequentialLR"):
        run()


class Halves(lr_scheduler.LRScheduler):
    """A schedule of one's own that only names its rates."""

    def lrs_at(self, epoch):
        return [base / 2**epoch for base in self.base_lrs]


def test_a_schedule_of_ones_own_names_its_rates_and_does_not_overwrite():
    optimiser = two_groups(1.0)
    schedule = Halves(optimiser)
    for expected in (1.0, 0.5, 0.25):
        assert rates_now(optimiser) == [expected]
        schedule.step()
    optimiser.param_groups[0]["lr"] = 0.3
    with pytest.raises(ValueError, match=r"Halves: the rate of group 0 is 0\.3, .* 0\.125"):
        schedule.step()


# --- kinds of numbers -----------------------------------------------------------------------------------------

NUMBERS = [np.float64, np.float32, np.array, mt.tensor, Fraction, lambda v: mt.tensor([v], requires_grad=v == 0.5)]
WHOLE = [np.int64, np.uint8, np.float32, np.array, mt.tensor, Fraction, float]
CONSTANTS = {
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "ExponentialLR": {"gamma": 0.5},
    "MultiStepLR": {"milestones": 2, "gamma": 0.5},
    "LinearLR": {"start_factor": 0.25, "end_factor": 0.5, "total_iters": 3},
    "CosineAnnealingLR": {"T_max": 3, "eta_min": 0.5},
    "ReduceLROnPlateau": {"factor": 0.5, "patience": 1, "threshold": 0.25, "cooldown": 1, "min_lr": 0.125, "eps": 0.5},
}


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n, options in CONSTANTS.items() for s in options])
def test_settings_of_every_kind_of_number_are_pythons_own(name, setting):
    def made(options):
        options = {key: [value] if key == "milestones" else value for key, value in options.items()}
        start = {} if name == "ReduceLROnPlateau" else {"last_epoch": 5}
        schedule = getattr(lr_scheduler, name)(two_groups(), **options, **start)
        return {k: v for k, v in vars(schedule).items() if k != "optimizer"}, schedule.get_last_lr()

    value = CONSTANTS[name][setting]
    # A tensor with an axis is one value for each group.
    kinds = NUMBERS[:-1] if setting == "min_lr" else NUMBERS
    for kind in WHOLE if isinstance(value, int) else kinds:
        given = made({**CONSTANTS[name], setting: kind(value)})
        assert json.dumps(given) == json.dumps(made(CONSTANTS[name]))
    for strange in (True, np.True_, "1", None, 1j, [value, value], np.array([value, value]), np.nan, -1, 10**400):
        if setting != "min_lr" or np.ndim(strange) == 0:
            with pytest.raises(ValueError, match=f"{name}: (a )?{setting.removesuffix('s')}"):
                made({**CONSTANTS[name], setting: strange})
    if isinstance(value, int):
        with pytest.raises(ValueError, match=r"is 2\.5; it must be an integer"):
            made({**CONSTANTS[name], setting: 2.5})


def test_a_state_from_any_file_is_taken_and_a_wrong_one_changes_nothing():
    schedule = lr_scheduler.ExponentialLR(two_groups(), 0.5)
    schedule.load_state_dict({"last_epoch": np.array(3)})
    assert schedule.last_epoch == 3
    plateau = lr_scheduler.ReduceLROnPlateau(two_groups())
    plateau.load_state_dict({key: np.array(value) for key, value in plateau.state_dict().items()})
    assert json.dumps(plateau.state_dict())
    for one, state in [
        (schedule, None),
        (schedule, {"last_epoch": "3"}),
        (schedule, {"last_epoch": -1}),
        (schedule, {"last_epoch": 2.5}),
        (schedule, {0: 1}),
        (plateau, {**plateau.state_dict(), "best": "low", "last_epoch": 7}),
        (plateau, {**plateau.state_dict(), "best": 1.0, "last_epoch": None}),
    ]:
        before = one.state_dict()
        with pytest.raises(ValueError, match=f"{type(one).__name__}.load_state_dict: "):
            one.load_state_dict(state)
        assert one.state_dict() == before


def test_a_measurement_that_is_none_changes_nothing():
    plateau = lr_scheduler.ReduceLROnPlateau(two_groups(), patience=0)
    before = plateau.state_dict()
    for metrics in (None, "low", [1.0, 2.0], mt.ones(2), True):
        with pytest.raises(ValueError, match=r"ReduceLROnPlateau\.step: metrics is"):
            plateau.step(metrics)
    assert plateau.state_dict() == before
