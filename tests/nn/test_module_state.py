"""What a module holds under its names: what may be assigned, what is saved and loaded, copied, removed and reported."""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from tests.places import GOLDEN


class Held(nn.Module):
    """One of each kind: a parameter, a buffer, a module and a plain attribute."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter([1.0, 2.0])
        self.layer = nn.Linear(2, 2, rng=0)
        self.register_buffer("mean", mt.tensor([3.0, 4.0]))
        self.register_buffer("cache", mt.tensor([5.0]), persistent=False)
        self.note = "plain"


class Tied(nn.Module):
    """One weight in two layers, and one layer under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
        self.b.weight = self.a.weight
        self.norm = self.again = nn.BatchNorm1d(2)


def state_of(module):
    return {key: value.tolist() for key, value in module.state_dict().items()}


def keys(module):
    return list(module.state_dict()), [name for name, _ in module.named_parameters()]


# --- assignment -------------------------------------------------------------------------------------------

NOT_HELD = {
    "a tensor": mt.ones(2),
    "a result": mt.ones(2, requires_grad=True) * 0.5,
    "an array": np.ones(2),
    "a list": [1.0, 2.0],
    "a number": 0.5,
    "a string": "w",
    "a function": lambda x: x,
    "an operation": mt.relu,
}


@pytest.mark.parametrize("kind", NOT_HELD)
def test_what_would_be_dropped_in_silence_is_refused(kind):
    held, value = Held(), NOT_HELD[kind]
    before, state = keys(held), state_of(held)
    with pytest.raises(TypeError, match=rf"Held: parameter weight takes .*not {type(value).__name__}.*assign_"):
        held.weight = value
    with pytest.raises(TypeError, match=rf"Held: module layer takes .*not {type(value).__name__}.*del"):
        held.layer = value
    if not isinstance(value, mt.Tensor):
        with pytest.raises(TypeError, match=rf"Held: buffer mean takes a tensor or None, not {type(value).__name__}"):
            held.mean = value
    with pytest.raises(TypeError, match="Linear: parameter bias takes"):
        held.layer.bias = value
    net = nn.Sequential(nn.Linear(2, 2))
    for refused in (lambda: net.__setitem__(0, value), lambda: setattr(net, "0", value)):
        with pytest.raises(TypeError, match=r"Sequential: .*(not a module|takes a module)"):
            refused()
    assert (keys(held), state_of(held)) == (before, state)


def test_a_parameter_that_was_left_out_takes_a_parameter_later():
    linear = nn.Linear(2, 3, bias=False)
    with pytest.raises(TypeError, match="parameter bias takes a Parameter"):
        linear.bias = mt.zeros(3)
    linear.bias = nn.Parameter(mt.zeros(3))
    assert [name for name, _ in linear.named_parameters()] == ["weight", "bias"]
    assert repr(linear) == "Linear(2, 3)"


def test_none_empties_and_another_kind_that_is_held_takes_the_place():
    held = Held()
    held.weight = held.layer = held.mean = None
    assert (held.weight, held.layer, held.mean) == (None, None, None)
    assert keys(held) == ([], [])
    held.weight, held.layer, held.mean = nn.ReLU(), nn.Parameter([1.0]), nn.Parameter([2.0])
    assert keys(held) == (["layer", "mean"], ["layer", "mean"])
    assert [name for name, _ in held.named_children()] == ["weight"]
    assert [name for name, _ in held.named_buffers()] == ["cache"]


def test_a_name_of_the_class_is_refused_because_it_would_hide_what_is_held():
    held = Held()
    for value in (nn.Parameter([1.0]), nn.ReLU()):
        with pytest.raises(ValueError, match="Held: 'forward' is an attribute of the class"):
            held.forward = value
    assert keys(held) == keys(Held())


REGISTER = {
    "parameter": (lambda m, n, x: m.register_parameter(n, x), nn.Parameter([1.0])),
    "buffer": (lambda m, n, x: m.register_buffer(n, x), mt.ones(1)),
    "module": (lambda m, n, x: m.register_module(n, x), nn.ReLU()),
}


@pytest.mark.parametrize("kind", REGISTER)
def test_registering_checks_the_name_and_the_kind(kind):
    register, good = REGISTER[kind]
    held = Held()
    before = keys(held)
    for name, error, message in (
        ("a.b", ValueError, f"'a.b' cannot be the name of a {kind}"),
        ("", ValueError, f"'' cannot be the name of a {kind}"),
        (3, TypeError, f"the name of a {kind} must be a str, not 3"),
        ("forward", ValueError, "'forward' is an attribute already"),
        ("note", ValueError, "'note' is an attribute already"),
        ("layer" if kind != "module" else "weight", ValueError, ".* is an attribute already"),
    ):
        with pytest.raises(error, match=f"Held: {message}"):
            register(held, name, good)
    for value in (0.5, [1.0], np.ones(1), lambda x: x, *([mt.ones(1)] if kind == "parameter" else [])):
        with pytest.raises(TypeError, match=rf"Held: .*new.* {type(value).__name__}\b"):
            register(held, "new", value)
    assert keys(held) == before
    register(held, "new", good)
    register(held, "new", good)
    assert held.new is good
    if kind != "module":
        register(held, "none", None)
        assert held.none is None

    class Forgetful(nn.Module):
        def __init__(self):
            register(self, "new", good)

    with pytest.raises(AttributeError, match=r"Forgetful.__init__ must call super\(\).__init__\(\)"):
        Forgetful()


# --- removal, buffers, gradients --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda module: module(mt.ones(1)),
        repr,
        lambda module: module.state_dict(),
        lambda module: list(module.parameters()),
        lambda module: module.train(),
        lambda module: module.register_buffer("mean", None),
        lambda module: delattr(module, "note"),
        lambda module: setattr(module, "layer", nn.ReLU()),
        dir,
    ],
)
def test_a_module_that_forgot_its_base_says_so_whatever_is_asked_of_it(use):
    class Forgetful(nn.Module):
        def __init__(self):
            self.note = "plain"

    module = copy.deepcopy(Forgetful())
    assert module.note == "plain"
    assert not hasattr(module, "other")
    with pytest.raises(AttributeError, match=r"^Forgetful.__init__ must call super\(\).__init__\(\) (first|before)"):
        use(module)


def test_del_removes_what_is_held():
    held = Held()
    del held.layer
    del held.weight
    del held.cache
    assert keys(held) == (["mean"], [])
    for name in ("layer", "weight", "cache"):
        with pytest.raises(AttributeError, match=f"Held has no attribute '{name}'"):
            getattr(held, name)
    held.layer = "free again"
    assert held.layer == "free again"


def test_a_buffer_that_is_not_persistent_is_no_part_of_the_state():
    held = Held()
    assert [name for name, _ in held.named_buffers()] == ["mean", "cache"]
    assert list(held.buffers()) == [held.mean, held.cache]
    assert list(held.state_dict()) == ["weight", "mean", "layer.weight", "layer.bias"]
    held.load_state_dict(held.state_dict())
    with pytest.raises(ValueError, match="unexpected cache"):
        held.load_state_dict({**held.state_dict(), "cache": [1.0]})
    held.cache = mt.tensor([6.0])
    for other in (copy.copy(held), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert other.cache.item() == 6.0
        assert "cache" not in other.state_dict()
    held.register_buffer("cache", held.cache)
    assert "cache" in held.state_dict()
    held.register_buffer("cache", held.cache, persistent=False)
    held.cache = nn.Parameter([7.0])
    assert held.state_dict()["cache"] == 7.0


def test_a_shared_buffer_is_walked_once():
    held = Held()
    held.register_buffer("other", held.mean)
    assert [name for name, _ in held.named_buffers()] == ["mean", "cache"]
    assert {"mean", "other"} <= set(held.state_dict())


@pytest.mark.parametrize("of", ["module", "optimiser"])
def test_zero_grad_sets_to_none_or_to_zeros(of):
    linear = nn.Linear(2, 2, rng=0).astype("float32")
    owner = linear if of == "module" else mt.optim.SGD(linear.parameters(), lr=0.1)
    owner.zero_grad(set_to_none=False)
    assert [p.grad for p in linear.parameters()] == [None, None]
    mt.sum(linear(mt.ones((1, 2), dtype="float32"))).backward()
    owner.zero_grad(set_to_none=False)
    for parameter in linear.parameters():
        assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.shape, np.float32)
        assert not parameter.grad.numpy().any()
    owner.zero_grad(set_to_none=True)
    assert [p.grad for p in linear.parameters()] == [None, None]


# --- what is shared ---------------------------------------------------------------------------------------

# PyTorch 2.13's for this network.
TIED_KEYS = [
    *("a.weight", "a.bias", "b.weight", "b.bias"),
    *(
        f"{name}.{key}"
        for name in ("norm", "again")
        for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ),
]


def test_what_is_shared_is_saved_under_each_name_and_walked_once():
    tied = Tied()
    assert list(tied.state_dict()) == TIED_KEYS
    assert [name for name, _ in tied.named_parameters()] == ["a.weight", "a.bias", "b.bias", "norm.weight", "norm.bias"]
    shared = nn.Linear(2, 2)
    assert list(nn.Sequential(shared, shared).state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("left_out", [(), ("a.weight",), ("b.weight",), ("norm.bias", "again.running_mean")])
def test_what_is_shared_is_loaded_from_any_of_its_names(left_out):
    source, target = Tied(), Tied()
    source.a.weight.data = [[5.0, 6.0], [7.0, np.nan]]
    source.norm.running_mean.data = [8.0, 9.0]
    state = {key: value for key, value in source.state_dict().items() if key not in left_out}
    target.load_state_dict(state)
    np.testing.assert_equal(state_of(target), state_of(source))
    assert target.a.weight is target.b.weight


def test_two_values_of_one_parameter_are_refused_and_everything_wrong_is_listed():
    tied = Tied()
    state = tied.state_dict()
    state["b.weight"] = state["b.weight"] + 1
    before = state_of(tied)
    with pytest.raises(ValueError, match=r"nothing was loaded: a\.weight and b\.weight are one parameter and have two"):
        tied.load_state_dict(state)
    del state["norm.bias"], state["again.bias"]
    state["extra"] = np.ones(1)
    state["a.bias"] = np.ones(5)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        tied.load_state_dict(state)
    for part in (
        "missing norm.bias or again.bias",
        "unexpected extra",
        "a.bias has shape (5,); it must be (2,)",
        "a.weight and b.weight are one parameter and have two values",
    ):
        assert part in str(caught.value)
    assert state_of(tied) == before
    with pytest.raises(TypeError, match="load_state_dict: the state is of type list"):
        tied.load_state_dict([])


class Foreign:
    """An array of another library, which refuses to be one of NumPy's."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("it requires grad"), TypeError("bfloat16 is unknown")], ids=repr)
def test_arrays_of_another_library_that_give_none_are_listed_by_key(error):
    layer = nn.Linear(1, 1, rng=0)
    before = state_of(layer)
    with pytest.raises(ValueError, match=f"nothing was loaded: bias is a Foreign, .*{error}; weight is a Foreign"):
        layer.load_state_dict({"weight": Foreign(error), "bias": Foreign(error)})
    assert state_of(layer) == before
    with pytest.raises(TypeError, match=f"data is a Foreign, .*: {error}"):
        mt.tensor(Foreign(error))


def test_a_module_inside_itself_has_a_state():
    held = Held()
    held.layer.inside = held
    assert list(held.state_dict()) == ["weight", "mean", "layer.weight", "layer.bias"]


# --- copies -----------------------------------------------------------------------------------------------

DEEP = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("how", DEEP)
def test_a_copy_shares_inside_what_the_original_shares(how):
    tied = Tied()
    tied.requires_grad_(False)
    tied.b.bias.requires_grad_()
    other = DEEP[how](tied)
    assert other.a.weight is other.b.weight is not tied.a.weight
    assert other.norm is other.again is not tied.norm
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in tied.parameters()]
    other.a.weight.data = np.zeros((2, 2))
    assert tied.a.weight.numpy().any()


@pytest.mark.parametrize("how", DEEP)
@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_network_copied_with_its_optimiser_trains_on_alike(optimiser, how):
    def step(net, opt):
        opt.zero_grad()
        mt.sum(net(mt.ones((3, 2))) ** 2.0).backward()
        opt.step()

    net = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=1))
    net[0].weight.requires_grad_(False)
    opt = getattr(mt.optim, optimiser)(net.parameters(), lr=0.1)
    step(net, opt)
    other, its = DEEP[how]((net, opt))
    frozen = other[0].weight.numpy()
    for _ in range(2):
        step(net, opt)
        step(other, its)
    assert state_of(other) == state_of(net)
    np.testing.assert_array_equal(other[0].weight.numpy(), frozen)


def test_what_is_assigned_to_a_shallow_copy_is_the_copys_alone():
    held = Held()
    other = copy.copy(held)
    assert other.weight is held.weight
    other.weight = nn.Parameter([9.0, 9.0])
    other.new = nn.ReLU()
    other.mean = None
    other.note = "changed"
    assert state_of(held) == state_of(Held())
    assert (held.note, hasattr(held, "new")) == ("plain", False)


@pytest.mark.parametrize("change", ["weight_norm", "spectral_norm", "weight_standardize"])
def test_a_shallow_copy_computes_its_weight_from_its_own_parameters(change):
    layer = getattr(nn.utils, change)(nn.Linear(3, 2, bias=False, rng=0)).eval()
    other = copy.copy(layer)
    x = mt.tensor([[1.0, -2.0, 4.0]])
    before = layer(x).numpy()
    name, parameter = next(iter(layer.named_parameters()))
    setattr(other, name, nn.Parameter(parameter.numpy()[::-1] ** 3 + 1.0))
    assert np.abs(other(x).numpy() - before).max() > 1e-3
    np.testing.assert_array_equal(layer(x).numpy(), before)


@pytest.mark.parametrize("change", ["weight_norm", "spectral_norm"])
def test_what_is_computed_cannot_be_assigned_to(change):
    layer = getattr(nn.utils, change)(nn.Linear(3, 2, rng=0))
    before = keys(layer)
    for value in (nn.Parameter(mt.zeros((2, 3))), mt.zeros((2, 3)), None):
        with pytest.raises(ValueError, match="Linear: weight is computed at every call"):
            layer.weight = value
    assert keys(layer) == before
    getattr(nn.utils, f"remove_{change}")(layer)
    layer.weight = nn.Parameter(mt.zeros((2, 3)))
    assert not layer.weight.numpy().any()


@pytest.mark.parametrize("change", ["weight_norm", "spectral_norm", "weight_standardize"])
def test_a_frozen_weight_is_frozen_when_it_is_computed_and_when_it_is_not_any_more(change):
    layer = nn.Linear(3, 2, rng=0)
    layer.weight.requires_grad_(False)
    getattr(nn.utils, change)(layer)
    assert not any(p.requires_grad for name, p in layer.named_parameters() if name != "bias")
    getattr(nn.utils, f"remove_{change}")(layer)
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (False, True)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", [nn.Parameter, mt.tensor])
def test_a_tensor_is_copied_with_what_it_is(kind, frozen, dtype):
    x = kind(np.asarray([1.0, 2.0], dtype=dtype), name="γ")
    x.requires_grad_()
    x.backward(np.ones(2, dtype=dtype))
    x.register_hook(lambda g: g * 100)
    x.requires_grad_(not frozen)
    for name, made in (*DEEP.items(), ("copy", copy.copy)):
        y = made(x)
        assert (type(y), y.name, y.dtype, y.requires_grad, y._version) == (type(x), "γ", dtype, not frozen, 0)
        # PyTorch 2.13: deepcopy of a tensor keeps the gradient, of a Parameter not; pickle and copy do not.
        assert (y.grad is not None) == (name == "deepcopy" and kind is mt.tensor)
        assert y.grad is None or y.grad is not x.grad
        y.assign_([7.0, 8.0])
        np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])
        y.requires_grad_()
        y.grad = None
        mt.sum(y).backward()
        np.testing.assert_array_equal(y.grad.numpy(), 1.0)


def test_a_subclass_is_copied_with_its_class_and_attributes():
    class Marked(nn.Parameter):
        def __init__(self, data, marks):
            super().__init__(data)
            self.marks = marks

    x = Marked([1.0], ["a"]).requires_grad_(False)
    deep, shallow = copy.deepcopy(x), copy.copy(x)
    assert type(deep) is type(shallow) is Marked
    assert deep.marks == ["a"]
    assert deep.marks is not x.marks
    assert shallow.marks is x.marks
    assert not deep.requires_grad


def test_tensors_shared_in_a_container_are_shared_in_its_copy():
    x = mt.ones(2, requires_grad=True)
    mt.sum(x).backward()
    other = copy.deepcopy({"a": x, "b": [x, x.grad]})
    assert other["a"] is other["b"][0]
    assert other["a"].grad is other["b"][1]


# --- containers -------------------------------------------------------------------------------------------


def parts():
    return [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()]


@pytest.mark.parametrize("make", [nn.ModuleList, lambda modules: nn.Sequential(*modules)])
def test_modules_in_order_change_as_a_list_does(make):
    expected = parts()
    box = make(expected)

    def same():
        assert list(box) == expected
        assert [name for name, _ in box.named_children()] == [str(i) for i in range(len(expected))]

    for index in (0, -1):
        del box[index], expected[index]
        same()
    for index in (0, -1, 1, 100):
        new = nn.SiLU()
        assert box.insert(index, new) is box
        expected.insert(index, new)
        same()
    assert box.pop(1) is expected.pop(1)
    assert box.pop() is expected.pop()
    same()
    more = parts()
    box += more
    expected += more
    same()
    del box[1:3], expected[1:3]
    same()
    del box[::2], expected[::2]
    same()
    longer = box + box
    assert list(longer) == expected * 2
    assert type(longer) is type(box)
    same()
    box.extend(box)
    expected += expected
    assert list(box) == expected
    kind = type(box).__name__
    with pytest.raises(IndexError, match=rf"{kind}: index 99 is out of range for {len(box)} modules"):
        del box[99]
    with pytest.raises(IndexError, match=f"{kind}: index 99"):
        box.pop(99)
    with pytest.raises(TypeError, match=f"{kind}: a function cannot be inserted, only a module"):
        box.insert(0, lambda x: x)
    with pytest.raises(TypeError, match=f"{kind}: index 'a' is of type str"):
        box["a"]
    with pytest.raises(TypeError, match=f"{kind}: a int cannot be added"):
        box + 3
    assert list(box) == expected


def test_names_that_are_no_numbers_stay():
    net = nn.Sequential({"first": nn.Linear(2, 2), "act": nn.ReLU(), "last": nn.Linear(2, 1)})
    del net[1]
    net.insert(1, nn.Tanh())
    assert [name for name, _ in net.named_children()] == ["first", "1", "last"]
    assert net(mt.ones((3, 2))).shape == (3, 1)


def test_a_dict_of_modules_is_made_of_whatever_gives_names():
    layers = {"a": nn.ReLU(), "b": nn.Linear(1, 1)}
    for given in (layers, list(layers.items()), iter(layers.items()), nn.ModuleDict(layers)):
        assert dict(nn.ModuleDict(given).items()) == layers
    for given in (5, nn.ReLU(), [nn.ReLU()], "ab"):
        with pytest.raises(TypeError, match=r"^ModuleDict: a \w+ gives no names; give a mapping"):
            nn.ModuleDict(given)
    for given in (5, nn.ReLU(), None):
        with pytest.raises(
            TypeError, match=r"^ModuleList: a \w+ cannot be added; give modules in a container or a list"
        ):
            nn.ModuleList(given)


def test_a_module_is_taken_out_of_a_dict():
    first, second = nn.ReLU(), nn.Tanh()
    box = nn.ModuleDict({"first": first, "second": second})
    assert box.pop("first") is first
    assert list(box) == ["second"]
    with pytest.raises(KeyError):
        box.pop("first")
    box.clear()
    assert len(box) == 0


# --- attributes that change later -------------------------------------------------------------------------

TRACKING = {
    "BatchNorm1d": ((6, 3), nn.BatchNorm1d),
    "BatchNorm2d": ((6, 3, 2, 2), nn.BatchNorm2d),
    "BatchNorm3d": ((6, 3, 2, 2, 2), nn.BatchNorm3d),
    "GhostBatchNorm1d": ((6, 3), lambda n, **o: nn.GhostBatchNorm1d(n, 3, **o)),
    "GhostBatchNorm2d": ((6, 3, 2, 2), lambda n, **o: nn.GhostBatchNorm2d(n, 3, **o)),
    "IterNorm": ((6, 3), nn.IterNorm),
    "InstanceNorm1d": ((6, 3, 4), nn.InstanceNorm1d),
    "InstanceNorm2d": ((6, 3, 4, 4), nn.InstanceNorm2d),
    "InstanceNorm3d": ((6, 3, 4, 4, 4), nn.InstanceNorm3d),
}


def test_every_norm_with_running_statistics_has_a_row():
    exported = {name: getattr(nn, name) for name in nn.__all__}
    running = {name for name, kind in exported.items() if hasattr(kind, "reset_running_stats")}
    assert running - {"BatchRenorm1d", "BatchRenorm2d"} == set(TRACKING)


@pytest.mark.parametrize("name", TRACKING)
def test_the_flag_of_the_running_statistics_is_obeyed_when_it_changes(name):
    shape, make = TRACKING[name]
    batches = [mt.tensor(np.random.default_rng(seed).normal(5.0, 2.0, size=shape)) for seed in range(3)]
    layer, without = make(3, track_running_stats=True), make(3, track_running_stats=False)
    layer(batches[0])
    before = state_of(layer)
    layer.track_running_stats = False
    assert "track_running_stats=False" in repr(layer) or "Instance" in name
    for training in (True, False):
        y = layer.train(training)(batches[1])
        np.testing.assert_array_equal(y.numpy(), without.train(training)(batches[1]).numpy())
    assert state_of(layer) == before
    layer.track_running_stats = True
    assert "track_running_stats=False" not in repr(layer)
    layer.train()(batches[2])
    reference = make(3, track_running_stats=True)
    reference(batches[0])
    reference(batches[2])
    assert state_of(layer) == state_of(reference)
    np.testing.assert_array_equal(layer.eval()(batches[1]).numpy(), reference.eval()(batches[1]).numpy())


@pytest.mark.parametrize("name", TRACKING)
def test_running_statistics_are_made_when_they_are_asked_for_later(name):
    shape, make = TRACKING[name]
    x = mt.tensor(np.random.default_rng(0).normal(size=shape))
    layer, reference = make(3, track_running_stats=False), make(3, track_running_stats=True)
    layer.track_running_stats = True
    assert repr(layer) == repr(reference)
    assert state_of(layer) == state_of(reference)
    layer(x)
    reference(x)
    assert state_of(layer) == state_of(reference)
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0


@pytest.mark.parametrize("name", TRACKING)
def test_statistics_that_are_set_to_none_are_done_without(name):
    shape, make = TRACKING[name]
    x = mt.tensor(np.random.default_rng(0).normal(size=shape))
    layer, without = make(3, track_running_stats=True), make(3, track_running_stats=False)
    for key in [key for key, _ in layer.named_buffers()]:
        setattr(layer, key, None)
    for training in (True, False):
        np.testing.assert_array_equal(layer.train(training)(x).numpy(), without.train(training)(x).numpy())


def test_the_flag_takes_true_and_false_where_it_can():
    layer = nn.BatchNorm1d(3)
    for value in ("no", 1, None):
        with pytest.raises(TypeError, match=r"BatchNorm1d\(3\): track_running_stats is .*True or False"):
            layer.track_running_stats = value
    layer.freeze()
    with pytest.raises(ValueError, match=r"BatchNorm1d\(3\): the running statistics are frozen"):
        layer.track_running_stats = False
    with pytest.raises(ValueError, match=r"BatchRenorm1d\(3\): r and d need the running statistics"):
        nn.BatchRenorm1d(3).track_running_stats = False


@pytest.mark.parametrize("value", ["no", "False", None, [], 2, float("nan"), np.array([True, False])], ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda value: nn.Sequential(nn.Linear(2, 2)).train(value),
        lambda value: nn.BatchNorm1d(2).freeze(stats=value),
        lambda value: nn.BatchNorm1d(2).freeze(affine=value),
        lambda value: nn.LSTM(2, 2, 2, bidirectional=value),
        lambda value: nn.GRU(2, 2, batch_first=value),
        lambda value: nn.MultiheadAttention(2, 1, batch_first=value),
    ],
)
def test_a_mode_is_yes_or_no_and_the_text_no_is_neither(call, value):
    with pytest.raises(TypeError, match=r"^[\w.()]+: \w+ is .*; it must be True or False"):
        call(value)


@pytest.mark.parametrize("value", [np.True_, 1, np.array(True), mt.tensor(True)], ids=repr)
def test_a_mode_is_kept_as_pythons_own(value):
    assert nn.Dropout().eval().train(value).training is True
    assert nn.BatchNorm1d(2).freeze(value, value).frozen_stats is True
    assert nn.LSTM(2, 2, 2, bidirectional=value).bidirectional is True


def test_a_representation_tells_what_is_frozen_now():
    layer = nn.BatchNorm1d(3).freeze()
    assert repr(layer) == "BatchNorm1d(3, frozen stats and affine)"
    layer.requires_grad_()
    assert repr(layer) == "BatchNorm1d(3, frozen stats)"
    assert not layer.frozen_affine
    layer.freeze(stats=False, affine=False).weight.requires_grad_(False)
    assert repr(layer) == "BatchNorm1d(3)"
    layer.requires_grad_(False)
    assert repr(layer) == "BatchNorm1d(3, frozen affine)"
    assert "frozen affine" in layer.describe().splitlines()[0]
    assert repr(nn.BatchNorm1d(3, affine=False)) == "BatchNorm1d(3, affine=False)"
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer)


def test_a_representation_tells_which_parameters_are_there_now():
    for make, both in (
        (lambda: nn.BatchNorm1d(4), "affine=False"),
        (lambda: nn.GroupNorm(2, 4), "affine=False"),
        (lambda: nn.LayerNorm(4), "elementwise_affine=False"),
    ):
        layer, x = make(), mt.ones((2, 4))
        layer.bias = None
        assert "bias=" in repr(layer)
        assert both not in repr(layer)
        layer.weight = None
        assert both in repr(layer)
        assert not getattr(layer, both.removesuffix("=False"))
        assert "weight" not in layer.describe().split("Keras")[0].split("PyTorch")[1]
        assert layer.eval()(x).shape == x.shape
        layer.weight = nn.Parameter(np.ones(4))
        assert both not in repr(layer)
    layer = nn.RMSNorm(4)
    layer.weight = None
    assert repr(layer) == "RMSNorm(4, elementwise_affine=False)"


def test_what_an_earlier_version_pickled_loads_and_works():
    """Tensors, an operation, a graph and modules, as version 0.1.0 wrote them before its modules had more state."""
    held = pickle.loads((GOLDEN / "pickled.pickle").read_bytes())
    assert held["op"] is mt.exp
    assert held["graph"].nodes[0].name == "x"
    assert (held["tensor"].requires_grad, held["tensor"].name, held["param"].requires_grad) == (True, "w", True)
    net = held["net"].eval()
    np.testing.assert_allclose(net(mt.ones((1, 3))).numpy(), [[-0.0130092728, -0.0069439273]], rtol=1e-6)
    assert set(net.state_dict()) >= {"1.running_mean", "1.num_batches_tracked", "4.bias"}
    repr(held), copy.deepcopy(held["modlist"])
    net[1].track_running_stats = False
    net[1].track_running_stats = True
    assert held["rnn"](mt.ones((1, 2, 2)))[0].shape == (1, 2, 3)
