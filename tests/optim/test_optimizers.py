"""The optimisers: PyTorch's paths to the last digits, groups, state, what they leave alone, and what they refuse.

Here too: gradients clipped before the step.
"""

import copy
import json
import pickle
from fractions import Fraction

import numpy as np
import pytest

import microtensor as mt
from microtensor.nn.utils.gradients import clip_grad_norm_, clip_grad_value_
from tests.places import stored

CALLS = json.loads(str(stored("training")["calls/json"]))
PATHS = {case: call for case, call in CALLS.items() if case.startswith("path ")}
SETTINGS = {
    "SGD": lambda p: mt.optim.SGD(p, lr=0.05),
    "SGD momentum": lambda p: mt.optim.SGD(p, lr=0.05, momentum=0.9),
    "SGD momentum weight_decay": lambda p: mt.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
    "Adam": lambda p: mt.optim.Adam(p, lr=0.05),
    "Adam betas eps weight_decay": lambda p: mt.optim.Adam(p, lr=0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
}
EVERY = {
    **SETTINGS,
    "SGD nesterov": lambda p: mt.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    "Adam amsgrad": lambda p: mt.optim.Adam(p, lr=0.05, amsgrad=True),
    "AdamW": lambda p: mt.optim.AdamW(p, lr=0.05),
    "RMSprop": lambda p: mt.optim.RMSprop(p, lr=0.05),
    "RMSprop centered momentum": lambda p: mt.optim.RMSprop(p, lr=0.05, centered=True, momentum=0.5),
    "Adagrad": lambda p: mt.optim.Adagrad(p, lr=0.05),
}
CLASSES = [mt.optim.SGD, mt.optim.Adam, mt.optim.AdamW, mt.optim.RMSprop, mt.optim.Adagrad]


def leaf(*values, dtype=np.float64):
    return mt.tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_twenty_steps_are_pytorchs(golden, name):
    bowl = golden("bowl")
    theta = mt.tensor(bowl["start"], requires_grad=True)
    optimiser = SETTINGS[name]([theta])
    for expected in golden(f"path {name}")["theta"]:
        optimiser.zero_grad()
        away = theta - bowl["centre"]
        (away @ bowl["matrix"] @ away / 2).backward()
        optimiser.step()
        np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-12, atol=1e-14)


class Regression:
    """The linear regression that the stored paths go down, with a setting of its own for the second group."""

    def __init__(self, golden, name, options):
        data = golden("regression", file="training")
        self.x, self.t = data["x"], data["t"]
        self.w, self.b = (mt.tensor(data[key], requires_grad=True) for key in "wb")
        groups = [{"params": self.w}, {"params": [self.b], "lr": 0.02, "weight_decay": 0.05}]
        self.optimiser = getattr(mt.optim, name)(groups, lr=0.05, **options)

    def step(self):
        self.optimiser.zero_grad()
        mt.mean(mt.square(self.x @ self.w + self.b - self.t)).backward()
        self.optimiser.step()
        return np.concatenate([self.w.numpy().ravel(), self.b.numpy()])


@pytest.mark.parametrize("case", PATHS)
def test_twenty_steps_of_two_groups_are_pytorchs(golden, case):
    regression = Regression(golden, *PATHS[case])
    for expected in golden(case, file="training")["path"]:
        np.testing.assert_allclose(regression.step(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", [make.__name__ for make in CLASSES])
def test_pytorchs_own_state_is_loaded_and_gone_on_with(golden, name):
    saved = golden(f"state {name}", file="training")
    case = str(saved["of"])
    regression = Regression(golden, *PATHS[case])
    expected = golden(case, file="training")["path"]
    state = {0: {}, 1: {}}
    for key, value in saved.items():
        index, _, entry = key.partition(" ")
        if entry:
            state[int(index)][entry] = value
    regression.optimiser.load_state_dict({"state": state, "param_groups": json.loads(str(saved["param_groups"]))})
    regression.w.data, regression.b.data = expected[9][:6].reshape(3, 2), expected[9][6:]
    for after in expected[10:]:
        np.testing.assert_allclose(regression.step(), after, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
def test_a_step_keeps_shape_and_dtype(name, dtype, shape):
    w = mt.tensor(np.ones(shape, dtype), requires_grad=True)
    optimiser = EVERY[name]([w])
    # As a schedule may leave it; a NumPy scalar is not weak.
    optimiser.param_groups[0].update(lr=np.float64(0.1), weight_decay=np.float64(0.01))
    for _ in range(3):
        optimiser.zero_grad()
        mt.sum(w * w).backward()
        optimiser.step()
    assert (w.shape, w.dtype) == (shape, dtype)
    assert type(w.numpy()) is np.ndarray
    assert (w.numpy() < 1).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_step_touches_neither_gradient_nor_the_arrays_that_others_hold(name):
    w = leaf(1.0, 2.0)
    optimiser = EVERY[name]([w])
    held = w.numpy()
    for _ in range(2):
        w.grad = np.array([0.5, -0.5])
        gradient = w.grad
        optimiser.step()
        np.testing.assert_array_equal(gradient.numpy(), [0.5, -0.5])
        assert not np.shares_memory(w.numpy(), gradient.numpy())
    np.testing.assert_array_equal(held, [1.0, 2.0])
    assert w.is_leaf
    assert w.requires_grad
    assert not w.numpy().flags.writeable


@pytest.mark.parametrize("name", EVERY)
def test_parameters_without_gradient_stay(name):
    used, unused = leaf(1.0), leaf(1.0)
    optimiser = EVERY[name]([used, unused])
    (used * 2).backward()
    optimiser.step()
    assert used.item() < 1.0
    assert unused.item() == 1.0


def test_zero_grad_sets_none_and_forgetting_it_doubles():
    w = leaf(1.0)
    optimiser = mt.optim.SGD([w], lr=0.0)
    for expected in (3.0, 6.0):
        (w * 3).backward()
        optimiser.step()
        assert w.grad.item() == expected
    optimiser.zero_grad()
    assert w.grad is None


def test_zero_grad_can_leave_zeros_which_are_stepped():
    w, unused = leaf(1.0), leaf(1.0)
    optimiser = mt.optim.SGD([w, unused], lr=0.5, weight_decay=1.0)
    (w * 3).backward()
    optimiser.zero_grad(set_to_none=False)
    assert (w.grad.numpy().tolist(), unused.grad) == ([0.0], None)
    optimiser.step()
    assert (w.item(), unused.item()) == (0.5, 1.0)


def test_parameters_may_come_from_a_generator():
    net = mt.nn.Linear(2, 1)
    optimiser = mt.optim.SGD(net.parameters(), lr=0.1)
    assert len(optimiser.param_groups[0]["params"]) == 2
    before = net.bias.item()
    net(mt.ones((1, 2))).backward()
    optimiser.step()
    assert net.bias.item() == before - 0.1


@pytest.mark.parametrize("make", CLASSES)
def test_unfit_parameters_are_refused(make):
    w = leaf(1.0)
    for params, message in [
        ([], "no parameters"),
        ([w, w], "given twice"),
        ([w * 2], "only leaves that require a gradient"),
        ([mt.tensor([1.0])], "only leaves that require a gradient"),
        ([np.ones(2)], "only leaves that require a gradient"),
    ]:
        with pytest.raises(ValueError, match=rf"{make.__name__}: .*{message}"):
            make(params)
    with pytest.raises(TypeError, match=rf"{make.__name__}: params is a single tensor; put it into a list"):
        make(w)


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (mt.optim.SGD, {"lr": -0.1}, "lr"),
        (mt.optim.SGD, {"lr": np.nan}, "lr"),
        (mt.optim.SGD, {"lr": np.inf}, "lr"),
        (mt.optim.SGD, {"momentum": 1.0}, "momentum"),
        (mt.optim.SGD, {"weight_decay": -1}, "weight_decay"),
        (mt.optim.Adam, {"betas": (1.0, 0.9)}, r"betas\[0\]"),
        (mt.optim.Adam, {"betas": (0.9, -0.1)}, r"betas\[1\]"),
        (mt.optim.Adam, {"betas": 0.9}, "betas"),
        (mt.optim.Adam, {"betas": (0.9, 0.99, 0.999)}, "betas"),
        (mt.optim.Adam, {"eps": -1e-8}, "eps"),
        (mt.optim.AdamW, {"lr": "0.1"}, "lr"),
        (mt.optim.AdamW, {"lr": True}, "lr"),
        (mt.optim.RMSprop, {"alpha": 1.0}, "alpha"),
        (mt.optim.RMSprop, {"momentum": 1.0}, "momentum"),
        (mt.optim.Adagrad, {"lr_decay": -1.0}, "lr_decay"),
        (mt.optim.Adagrad, {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
    ],
)
def test_settings_out_of_range_are_refused(make, options, name):
    with pytest.raises(ValueError, match=rf"{make.__name__}: {name} is"):
        make([leaf(1.0)], **options)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(options):
    with pytest.raises(ValueError, match=r"SGD: nesterov .*momentum must be above 0, and dampening .* 0"):
        mt.optim.SGD([leaf(1.0)], nesterov=True, **options)


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize("given", [mt.nn.Linear(1, 1), None, 5], ids=["module", "none", "number"])
def test_what_holds_parameters_is_no_list_of_them(make, given):
    for build in (lambda: make(given), lambda: make([{"params": given}]), lambda: make({"params": [leaf(1.0)]})):
        with pytest.raises(TypeError, match=rf"^{make.__name__}: params is of type \w+; give module.parameters\(\)"):
            build()


@pytest.mark.parametrize("make", CLASSES)
def test_a_group_without_a_setting_is_named_and_updates_nothing(make):
    w, other = leaf(1.0), leaf(1.0)
    w.grad = other.grad = [1.0]
    removed, appended = make([w]), make([w])
    del removed.param_groups[0]["lr"]
    appended.param_groups.append({"params": [other]})
    for optimiser in (removed, appended):
        for call in (optimiser.step, optimiser.state_dict):
            with pytest.raises(ValueError, match=rf"^{make.__name__}: a group has no .*lr.*; add_param_group"):
                call()
    assert w.item() == other.item() == 1.0


def test_a_setting_changed_to_nonsense_updates_nothing():
    first, second = leaf(1.0), leaf(1.0)
    optimiser = mt.optim.SGD([{"params": [first]}, {"params": [second]}], lr=0.1)
    first.grad = second.grad = [1.0]
    optimiser.param_groups[1]["lr"] = np.nan
    with pytest.raises(ValueError, match="SGD: lr is nan"):
        optimiser.step()
    assert first.item() == second.item() == 1.0


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_nan_passes_and_stays_where_it_is(name):
    w = leaf(1.0, 1.0)
    w.grad = [np.nan, 1.0]
    EVERY[name]([w]).step()
    assert np.isnan(w.numpy()).tolist() == [True, False]


@pytest.mark.parametrize("name", EVERY)
def test_float16_with_a_vanishing_gradient_stays_finite(name):
    w = leaf(1.0, 1.0, dtype=np.float16)
    optimiser = EVERY[name]([w])
    for _ in range(3):
        w.grad = np.array([0.0, 1e-7], np.float16)
        optimiser.step()
    assert np.isfinite(w.numpy()).all()


def test_constant_gradients_leave_a_centred_variance_of_0_not_below():
    w = leaf(0.0)
    optimiser = mt.optim.RMSprop([w], lr=1e-3, alpha=0.1, centered=True)
    for _ in range(100):
        w.grad = [0.1]
        optimiser.step()
    assert np.isfinite(w.item())


# --- groups -------------------------------------------------------------------------------------------------


def test_groups_take_the_defaults_that_they_do_not_set():
    first, second, third = leaf(1.0), leaf(1.0), leaf(1.0)
    optimiser = mt.optim.SGD([{"params": first}, {"params": [second], "lr": 0.5}], lr=0.1, momentum=0.9)
    optimiser.add_param_group({"params": (p for p in [third]), "momentum": 0.0})
    assert [(g["lr"], g["momentum"]) for g in optimiser.param_groups] == [(0.1, 0.9), (0.5, 0.9), (0.1, 0.0)]
    for w in (first, second, third):
        w.grad = [1.0]
    optimiser.step()
    assert [w.item() for w in (first, second, third)] == [0.9, 0.5, 0.9]
    assert repr(optimiser).splitlines()[1].startswith("SGD(1 tensors, lr=0.5, momentum=0.9")


def test_unfit_groups_are_refused_and_not_added():
    w, other = leaf(1.0), leaf(2.0)
    optimiser = mt.optim.Adam([w])
    for group, error, message in [
        ({"params": w}, ValueError, "given twice"),
        ({"params": [other, other]}, ValueError, "given twice"),
        ({"params": other, "wieght_decay": 0.1}, ValueError, "no setting 'wieght_decay'; there are lr, betas"),
        ({"params": other, "lr": -1.0}, ValueError, "lr is -1.0"),
        ({"lr": 0.1}, TypeError, 'a dict with the key "params"'),
        ([other], TypeError, 'a dict with the key "params"'),
    ]:
        with pytest.raises(error, match=f"Adam: .*{message}"):
            optimiser.add_param_group(group)
    assert len(optimiser.param_groups) == 1


def test_a_frozen_parameter_is_taken_and_stays():
    net = mt.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    before = net.bias.item()
    optimiser = mt.optim.AdamW(net.parameters(), lr=0.1)
    net(mt.ones((1, 2))).backward()
    optimiser.step()
    assert net.bias.item() == before


def test_split_decay_spares_norms_and_biases():
    net = mt.nn.Sequential(mt.nn.Linear(2, 3), mt.nn.BatchNorm1d(3))
    optimiser = mt.optim.AdamW(mt.optim.split_decay(net.parameters(), 0.5), lr=0.1)
    before = net.state_dict()
    for parameter in net.parameters():
        parameter.grad = np.zeros(parameter.shape)
    optimiser.step()
    after = net.state_dict()
    np.testing.assert_allclose(after["0.weight"], 0.95 * before["0.weight"])
    for name in ("0.bias", "1.weight", "1.bias"):
        np.testing.assert_array_equal(after[name], before[name])


# --- state --------------------------------------------------------------------------------------------------


def some_steps(optimiser, parameters, count=5):
    for step in range(count):
        for parameter in parameters:
            parameter.grad = np.sin(parameter.numpy() + step)
        optimiser.step()
    return [parameter.numpy().tolist() for parameter in parameters]


def shaped():
    return [leaf(1.0, 2.0), mt.tensor(3.0, requires_grad=True)]


@pytest.mark.parametrize("name", EVERY)
def test_an_optimiser_goes_on_from_its_state(name):
    ours, theirs = shaped(), shaped()
    optimiser = EVERY[name](ours)
    some_steps(optimiser, ours)
    saved = optimiser.state_dict()
    kept = copy.deepcopy(saved)
    other = EVERY[name](theirs)
    other.load_state_dict(saved)
    for mine, its in zip(ours, theirs, strict=True):
        its.data = mine.data
    assert some_steps(optimiser, ours) == some_steps(other, theirs)
    for number, entry in kept["state"].items():
        for key, value in entry.items():
            np.testing.assert_array_equal(saved["state"][number][key], value)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_an_optimiser_is_copied_with_its_parameters(duplicate):
    parameters = shaped()
    optimiser = mt.optim.Adam(parameters, lr=0.1)
    some_steps(optimiser, parameters)
    other = duplicate(optimiser)
    theirs = other.param_groups[0]["params"]
    assert some_steps(optimiser, parameters) == some_steps(other, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("state"), "not the state of an optimiser"),
        (lambda s: s["param_groups"][0].pop("params"), "not the state of an optimiser"),
        (
            lambda s: s["param_groups"].append({"params": [2]}),
            r"groups of \[2, 1\] parameters; .* has \[2\]",
        ),
        (lambda s: s["param_groups"][0].pop("lr"), "group 0: lr is missing or unexpected"),
        (lambda s: s["param_groups"][0].update(rate=1), "group 0: rate is missing or unexpected"),
        (lambda s: s["param_groups"][0].update(lr=-1), "group 0: Adam: lr is -1"),
        (lambda s: s["state"].update({7: {}}), "parameter 7 is in no group"),
        (lambda s: s["state"][0].pop("exp_avg"), "parameter 0: exp_avg is missing"),
        (lambda s: s["state"][0].update(sum=np.ones(2)), "parameter 0: sum is unexpected"),
        (lambda s: s["state"][1].update(exp_avg=np.ones(2)), r"parameter 1: exp_avg has shape \(2,\); it must be \(\)"),
        (lambda s: s["state"][0].update(exp_avg="high"), "parameter 0: exp_avg has dtype"),
        (lambda s: s["state"][0].update(step=[1, 2]), r"parameter 0: step has shape \(2,\); it must be \(\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    parameters = shaped()
    optimiser = mt.optim.Adam(parameters)
    some_steps(optimiser, parameters)
    saved = optimiser.state_dict()
    saved["state"][1]["step"] = 99
    change(saved)
    before = repr(optimiser.state_dict())
    with pytest.raises(ValueError, match=f"Adam.load_state_dict: .*{message}"):
        optimiser.load_state_dict(saved)
    assert repr(optimiser.state_dict()) == before


# --- kinds of numbers -----------------------------------------------------------------------------------------

KINDS = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "0-d array": np.array,
    "0-d tensor": mt.tensor,
    "tensor of one element": lambda v: mt.tensor([v]),
    "tensor with a gradient": lambda v: mt.tensor(v, requires_grad=True),
    "fraction": Fraction,
}
# 0.25 and 0.5 are the same in float16, and in range everywhere.
DEFAULTS = {make: make([leaf(1.0)]).defaults for make in CLASSES}
NUMERIC = [(make, name) for make in CLASSES for name, v in DEFAULTS[make].items() if type(v) is not bool]
FLAGS = [(make, name) for make in CLASSES for name, v in DEFAULTS[make].items() if type(v) is bool]


def setting(name, value):
    return (value, value) if name == "betas" else value


def one_step(make, options, **of_group):
    w = leaf(1.0, -2.0)
    optimiser = make([{"params": w, **of_group}], **options)
    w.grad = [0.5, 0.25]
    optimiser.step()
    return w.numpy().tolist(), optimiser.state_dict()["param_groups"]


def plain(value):
    return all(map(plain, value)) if type(value) in (list, tuple) else type(value) in (bool, int, float)


@pytest.mark.parametrize(("make", "name"), NUMERIC, ids=lambda x: x if type(x) is str else x.__name__)
def test_settings_of_every_kind_of_number_are_pythons_own(make, name, tmp_path):
    expected = one_step(make, {name: setting(name, 0.25)})
    for kind in KINDS.values():
        given = setting(name, kind(0.25))
        for made in (one_step(make, {name: given}), one_step(make, {}, **{name: given})):
            assert made == expected
            assert all(plain(v) for group in made[1] for v in group.values())
    if name != "betas":
        assert one_step(make, {name: 0}) == one_step(make, {name: np.uint8(0)}) == one_step(make, {name: 0.0})
        # Set by hand, as loops do; saved, and loaded.
        w = leaf(1.0)
        optimiser, other = make([w]), make([w])
        optimiser.param_groups[0][name] = np.logspace(-2, -1, 3)[1]
        mt.save(tmp_path / "o.npz", optimiser.state_dict())
        other.load_state_dict(mt.load(tmp_path / "o.npz"))
        assert other.param_groups[0][name] == float(np.logspace(-2, -1, 3)[1])


@pytest.mark.parametrize(("make", "name"), NUMERIC, ids=lambda x: x if type(x) is str else x.__name__)
def test_what_is_no_number_is_refused_by_name(make, name):
    w = leaf(1.0)
    kept = make([w])
    for strange in (True, np.True_, mt.tensor(True), "1", None, 1j, np.array([0.1, 0.2]), -1, np.nan, np.inf, 10**400):
        for call in (
            lambda s=strange: make([w], **{name: setting(name, s)}),
            lambda s=strange: kept.add_param_group({"params": leaf(1.0), name: setting(name, s)}),
        ):
            with pytest.raises(ValueError, match=rf"^{make.__name__}: {name}.* is .*must be .*$"):
                call()
    assert len(kept.param_groups) == 1


@pytest.mark.parametrize(("make", "name"), FLAGS, ids=lambda x: x if type(x) is str else x.__name__)
def test_flags_are_yes_or_no(make, name):
    options = {"momentum": 0.5} if name == "nesterov" else {}
    expected = one_step(make, {**options, name: True})
    assert expected != one_step(make, options) or name == "amsgrad"
    for yes in (np.True_, 1, np.array(True), mt.tensor(True), 1.0):
        assert one_step(make, {**options, name: yes}) == expected
    for strange in ("no", 2, None, np.array([True, False]), [True]):
        with pytest.raises(ValueError, match=rf"{make.__name__}: {name} is .*; it must be True or False"):
            make([leaf(1.0)], **{**options, name: strange})


def test_old_files_with_arrays_of_no_axes_load(tmp_path):
    parameters = shaped()
    optimiser = mt.optim.Adam(parameters, lr=0.1)
    some_steps(optimiser, parameters)
    state = optimiser.state_dict()
    (group,) = state["param_groups"]
    numbers = {name: np.array(group[name]) for name in (*optimiser.defaults, "initial_lr") if name in group}
    old = {**state, "param_groups": [{**group, **numbers, "initial_lr": np.float64(0.2)}]}
    mt.save(tmp_path / "old.npz", old)
    other = mt.optim.Adam(parameters)
    other.load_state_dict(mt.load(tmp_path / "old.npz"))
    assert other.param_groups[0] == {**optimiser.param_groups[0], "initial_lr": 0.2}
    assert all(plain(v) for name, v in other.param_groups[0].items() if name != "params")


# --- states of others -----------------------------------------------------------------------------------------

# What PyTorch 2.13 adds to a group: by itself, from named_parameters(), and through its schedules.
RUNS = {"foreach": None, "capturable": False, "differentiable": False, "fused": None, "maximize": False}
ADDED = {
    "names": {"param_names": ["w", "b"]},
    "one cycle": {"initial_lr": 0.02, "max_lr": 0.5, "min_lr": 2e-06, "max_momentum": 0.95, "base_momentum": 0.85},
    "averaging": {"swa_lr": 0.5, "initial_lr": 0.1},
    "a rate that is a tensor": {"lr": np.array(0.1, np.float32)},
    "on a device": {"capturable": True, "fused": True, "foreach": True},
}


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
def test_groups_of_pytorch_are_read(make, added):
    parameters = shaped()
    optimiser = make(parameters, lr=0.3)
    some_steps(optimiser, parameters)
    state = optimiser.state_dict()
    for entry in state["state"].values():
        entry["step"] = np.array(5.0, np.float32)
    decoupled = {"decoupled_weight_decay": make is mt.optim.AdamW} if issubclass(make, mt.optim.Adam) else {}
    group = {**state["param_groups"][0], **RUNS, **decoupled, **added}
    other = make(parameters, lr=0.7)
    other.load_state_dict({**state, "param_groups": [group]})
    loaded = other.param_groups[0]
    assert loaded["lr"] == (0.3 if "lr" not in added else float(np.float32(0.1)))
    assert loaded.keys() == {"params", *other.defaults} | (added.keys() & {"initial_lr"})
    assert all(type(entry.get("step", 0)) is int for entry in other.state.values())


@pytest.mark.parametrize(("make", "other"), [(mt.optim.Adam, mt.optim.AdamW), (mt.optim.AdamW, mt.optim.Adam)])
def test_adam_and_adamw_do_not_take_each_others_state(make, other):
    state = other([leaf(1.0)]).state_dict()
    with pytest.raises(ValueError, match=f"group 0: it is of {other.__name__}, which decays otherwise"):
        make([leaf(1.0)]).load_state_dict(state)


@pytest.mark.parametrize("make", [mt.optim.Adam, mt.optim.AdamW])
def test_old_states_that_do_not_say_how_they_decay_load(make):
    state = make([leaf(1.0)], lr=0.3).state_dict()
    del state["param_groups"][0]["decoupled_weight_decay"]
    optimiser = make([leaf(1.0)])
    optimiser.load_state_dict(state)
    assert optimiser.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(
    "state",
    [
        None,
        5,
        "state",
        [],
        {"state": {}, "param_groups": None},
        {"state": None, "param_groups": []},
        {"state": {}, "param_groups": [5]},
        {"state": {}, "param_groups": [{"params": 5}]},
        {"state": {}, "param_groups": [{"params": [[1], [2]]}]},
        {"state": [1], "param_groups": [{"params": [0, 1]}]},
        {"state": {0: 5}, "param_groups": [{"params": [0, 1], **DEFAULTS[mt.optim.Adam]}]},
        {"state": {0: {"step": "x"}}, "param_groups": [{"params": [0, 1], **DEFAULTS[mt.optim.Adam]}]},
        {"state": {0: {"step": 1.5}}, "param_groups": [{"params": [0, 1], **DEFAULTS[mt.optim.Adam]}]},
        {"state": {0: {"step": -1}}, "param_groups": [{"params": [0, 1], **DEFAULTS[mt.optim.Adam]}]},
        {"state": {0: {1: 2, "exp_avg": {}}}, "param_groups": [{"params": [0, 1], **DEFAULTS[mt.optim.Adam]}]},
    ],
)
def test_what_is_no_state_is_a_value_error_and_changes_nothing(state):
    parameters = shaped()
    optimiser = mt.optim.Adam(parameters)
    some_steps(optimiser, parameters)
    before = repr(optimiser.state_dict())
    with pytest.raises(ValueError, match=r"^Adam\.load_state_dict: "):
        optimiser.load_state_dict(state)
    assert repr(optimiser.state_dict()) == before


# --- clipping -----------------------------------------------------------------------------------------------


def with_gradients(*gradients):
    leaves = [mt.tensor(np.zeros_like(gradient), requires_grad=True) for gradient in gradients]
    for parameter, gradient in zip(leaves, gradients, strict=True):
        parameter.grad = gradient
    return leaves


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, np.inf])
def test_clipping_by_norm_is_pytorchs(golden, norm_type):
    case = golden(f"clip {norm_type}", file="training")
    leaves = with_gradients(case["g0"], case["g1"])
    np.testing.assert_allclose(clip_grad_norm_(leaves, 0.7, norm_type), case["total"], rtol=1e-14)
    for i, parameter in enumerate(leaves):
        np.testing.assert_allclose(parameter.grad.numpy(), case[f"clipped{i}"], rtol=1e-14)


def test_small_gradients_are_left_and_missing_ones_passed_over():
    (w,) = with_gradients(np.array([3.0, 4.0]))
    assert clip_grad_norm_([w, leaf(1.0)], 6.0) == 5.0
    assert w.grad.numpy().tolist() == [3.0, 4.0]
    assert clip_grad_norm_(w, np.float32(2.5)) == 5.0
    np.testing.assert_allclose(w.grad.numpy(), [1.5, 2.0], rtol=1e-6)
    assert clip_grad_norm_([], 1.0) == clip_grad_norm_([leaf(1.0)], 1.0) == 0.0
    assert clip_grad_norm_(with_gradients(np.zeros((0, 2))), 1.0, np.inf) == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_clipping_keeps_the_dtype_and_does_not_overflow(dtype):
    large = np.array([0.5, 0.5], dtype) * np.finfo(dtype).max
    (w,) = with_gradients(large)
    assert np.isclose(clip_grad_norm_([w], np.float64(1.0)), np.linalg.norm(large.astype(float)))
    assert w.grad.dtype == dtype
    clip_grad_value_([w], np.float64(0.25))
    assert w.grad.dtype == dtype


def test_a_norm_that_is_not_finite_raises_before_anything_or_spreads():
    leaves = with_gradients(np.array([np.inf, 1.0]), np.array(1.0))
    with pytest.raises(RuntimeError, match="clip_grad_norm_: the norm of the gradients is inf"):
        clip_grad_norm_(leaves, 1.0, error_if_nonfinite=True)
    assert leaves[1].grad.item() == 1.0
    assert clip_grad_norm_(leaves, 1.0) == np.inf
    assert np.isnan(leaves[0].grad.numpy()).tolist() == [True, False]
    leaves[1].grad = np.nan
    assert np.isnan(clip_grad_norm_(leaves, 1.0))
    assert np.isnan(leaves[0].grad.numpy()).all()


def test_clipping_by_value_holds_every_element():
    leaves = with_gradients(np.array([-2.0, 0.5, np.inf, np.nan]), np.array(3.0))
    clip_grad_value_(leaves, 1.0)
    np.testing.assert_array_equal(leaves[0].grad.numpy(), [-1.0, 0.5, 1.0, np.nan])
    assert leaves[1].grad.item() == 1.0


def test_bounds_out_of_range_are_refused():
    for call, name in [
        (lambda w: clip_grad_norm_(w, -1.0), "max_norm is -1.0"),
        (lambda w: clip_grad_norm_(w, np.nan), "max_norm is nan"),
        (lambda w: clip_grad_norm_(w, 1.0, 0.0), "norm_type is 0.0"),
        (lambda w: clip_grad_value_(w, -1.0), "clip_value is -1.0"),
    ]:
        with pytest.raises(ValueError, match=name):
            call([leaf(1.0)])
