"""The norm layers against PyTorch's stored results: state, modes, errors; computed weights; measured statistics."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, norms
from microtensor.nn import normalization, utils
from microtensor.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchRenorm1d,
    BatchRenorm2d,
    FilterResponseNorm,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    IterNorm,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
    ScaleNorm,
)

ALL = {name: getattr(normalization, name) for name in normalization.__all__}


def draw(*shape, seed=0):
    return mt.tensor(np.random.default_rng(seed).normal(1.0, 2.0, size=shape))


def state_of(module):
    return {key: value.tolist() for key, value in module.state_dict().items()}


# --- against PyTorch --------------------------------------------------------------------------------------

BATCH = {
    "default": {},
    "cumulative": {"momentum": None},
    "no statistics": {"track_running_stats": False},
    "no affine": {"affine": False, "eps": 1e-3, "momentum": 0.3},
}
INSTANCE = {"default": {}, "affine": {"affine": True}, "all": {"affine": True, "track_running_stats": True}}
SEQUENCE = [True, True, True, False, True]
CASES = {
    f"BatchNorm{kind} {name}": (ALL[f"BatchNorm{kind[:2]}"], (3,), settings)
    for kind in ("1d 2", "1d 3", "2d", "3d")
    for name, settings in BATCH.items()
}
CASES |= {
    f"InstanceNorm{kind} {name}": (ALL[f"InstanceNorm{kind}"], (3,), settings)
    for kind in ("1d", "2d", "3d")
    for name, settings in (*INSTANCE.items(), ("unbatched", INSTANCE["all"]))
}
CASES |= {
    "LayerNorm": (LayerNorm, ((3, 4),), {}),
    "LayerNorm no bias": (LayerNorm, (4,), {"eps": 1e-3, "bias": False}),
    "LayerNorm no affine": (LayerNorm, (4,), {"elementwise_affine": False}),
    "GroupNorm": (GroupNorm, (2, 4), {}),
    "GroupNorm (N, C)": (GroupNorm, (2, 6), {"eps": 1e-3}),
    "GroupNorm no affine": (GroupNorm, (1, 4), {"affine": False}),
    "RMSNorm": (RMSNorm, (4,), {}),
    "RMSNorm no affine": (RMSNorm, ((3, 4),), {"eps": 1e-3, "elementwise_affine": False}),
    "LocalResponseNorm odd": (LocalResponseNorm, (3,), {"alpha": 0.5, "beta": 0.6, "k": 2.0}),
    "LocalResponseNorm even": (LocalResponseNorm, (4,), {}),
    "LocalResponseNorm wide": (LocalResponseNorm, (7,), {"alpha": 1.0}),
}


def linear_with(change, **settings):
    return change(nn.Linear(3, 4), **settings)


CASES |= {f"weight_norm {dim}": (linear_with, (utils.weight_norm,), {"dim": dim}) for dim in (0, 1, None)}
CASES |= {
    f"spectral_norm {n} {dim}": (linear_with, (utils.spectral_norm,), {"n_power_iterations": n, "dim": dim})
    for n, dim in ((1, None), (3, 1))
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_gradients_and_state_are_pytorchs_through_training_and_prediction(golden, name):
    make, arguments, settings = CASES[name]
    case = golden(name, file="norms")
    layer = make(*arguments, **settings)
    start = {key.removeprefix("after_"): case[key][0] for key in case if key.startswith("after_")}
    assert set(layer.state_dict()) == {key for key in case if f"d_{key}" in case and key != "x"} | set(start)
    for key, tensor in (*layer._parameters.items(), *layer._buffers.items()):
        if tensor is not None and key in case:
            tensor.data = case[key]
        if f"start_{key}" in case:
            tensor.data = case[f"start_{key}"]
    for step in range(len(case["x"])):
        layer.train(SEQUENCE[step])
        layer.zero_grad()
        x = mt.tensor(case["x"][step], requires_grad=True)
        y = layer(x)
        y.backward(case["g"][step])
        found = {"y": y, "d_x": x.grad}
        found |= {f"d_{key}": parameter.grad for key, parameter in layer.named_parameters()}
        found |= {f"after_{key}": buffer for key, buffer in layer.named_buffers()}
        # PyTorch's instance norm has the counter but never counts.
        if name.startswith("InstanceNorm"):
            found.pop("after_num_batches_tracked", None)
        for key, value in found.items():
            np.testing.assert_allclose(value.numpy(), case[key][step], rtol=1e-11, atol=1e-12, err_msg=f"{key} {step}")


# --- what all of them must do -----------------------------------------------------------------------------

# One of each kind, on a shape it takes.
LAYERS = {
    "BatchNorm1d": (lambda: BatchNorm1d(4), (6, 4)),
    "BatchNorm2d": (lambda: BatchNorm2d(4), (2, 4, 3, 3)),
    "BatchNorm3d": (lambda: BatchNorm3d(4), (2, 4, 2, 2, 2)),
    "BatchRenorm1d": (lambda: BatchRenorm1d(4), (6, 4)),
    "BatchRenorm2d": (lambda: BatchRenorm2d(4), (2, 4, 3, 3)),
    "GhostBatchNorm1d": (lambda: GhostBatchNorm1d(4, 3), (6, 4)),
    "GhostBatchNorm2d": (lambda: GhostBatchNorm2d(4, 2), (4, 4, 2, 2)),
    "IterNorm": (lambda: IterNorm(4, 2), (6, 4, 2)),
    "InstanceNorm1d": (lambda: InstanceNorm1d(4, affine=True, track_running_stats=True), (3, 4, 5)),
    "InstanceNorm2d": (lambda: InstanceNorm2d(4, affine=True, track_running_stats=True), (2, 4, 3, 3)),
    "InstanceNorm3d": (lambda: InstanceNorm3d(4, affine=True, track_running_stats=True), (2, 4, 2, 2, 2)),
    "LayerNorm": (lambda: LayerNorm((4, 5)), (3, 4, 5)),
    "GroupNorm": (lambda: GroupNorm(2, 4), (3, 4, 5)),
    "RMSNorm": (lambda: RMSNorm(5), (3, 4, 5)),
    "ScaleNorm": (lambda: ScaleNorm(5), (3, 4, 5)),
    "FilterResponseNorm": (lambda: FilterResponseNorm(4), (3, 4, 5)),
    "LocalResponseNorm": (lambda: LocalResponseNorm(3), (2, 4, 3)),
}
EACH = pytest.mark.parametrize("name", LAYERS)
RUNNING = [name for name, (make, _) in LAYERS.items() if hasattr(make(), "num_batches_tracked")]
EACH_RUNNING = pytest.mark.parametrize("name", RUNNING)


def made(name):
    make, shape = LAYERS[name]
    return make(), draw(*shape)


def test_every_layer_is_here():
    assert set(LAYERS) == set(ALL)
    assert len(RUNNING) == 11


@EACH
def test_gradients_are_those_of_differences(name):
    layer, x = made(name)
    rng = np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.assign_(parameter.numpy() + 0.3 * rng.normal(size=parameter.shape))
    if isinstance(layer, BatchRenorm1d):
        layer.r_max, layer.d_max = 1.0, 0.0  # The corrections are constants for the gradient, not for differences.
    assert mt.gradcheck(layer, mt.tensor(x, requires_grad=True))
    assert mt.gradcheck(layer.eval(), mt.tensor(x, requires_grad=True))
    y = layer(mt.tensor(x, requires_grad=True))
    y.backward(draw(*y.shape, seed=2))
    assert all(parameter.grad is not None for parameter in layer.parameters())


@EACH
def test_float32_layers_stay_float32_and_float16_parameters_have_float32_statistics(name):
    try:
        mt.set_default_dtype("float32")
        layer, x = made(name)
        assert layer(x.astype("float32")).dtype == np.float32
        mt.set_default_dtype("float16")
        layer = LAYERS[name][0]()
        x = mt.tensor(x.astype("float16"), requires_grad=True)
        for training in (True, False):
            y = layer.train(training)(x)
            assert y.dtype == np.float16
            y.backward(np.ones(y.shape))
            assert np.isfinite(y.numpy()).all()
            assert np.isfinite(x.grad.numpy()).all()
        statistics = [buffer for key, buffer in layer.named_buffers() if key != "num_batches_tracked"]
        assert {buffer.dtype for buffer in statistics} <= {np.dtype(np.float32)}
    finally:
        mt.set_default_dtype("float64")


@EACH
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_layers_copy_and_pickle(name, copied):
    layer, x = made(name)
    layer(x)
    other = copied(layer)
    assert state_of(other) == state_of(layer)
    assert repr(other) == repr(layer)
    np.testing.assert_array_equal(other(x).numpy(), layer(x).numpy())


@EACH
def test_operations_stand_in_the_scope_of_the_norm(name):
    layer, x = made(name)
    y = layer(mt.tensor(x, requires_grad=True))
    paths = {t.node.scope.path for t in mt.backprop.toposort([y])}
    function = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.sub(r"\dd$", "", name)).lower()
    function = {"iter_norm": "whiten", "rmsnorm": "rms_norm"}.get(function, function)
    assert any(path.startswith(f"model.{function}") for path in paths), paths


@EACH
def test_signatures_have_defaults_and_wrong_channels_name_the_layer(name):
    layer, x = made(name)
    if name == "LocalResponseNorm":
        return
    bad = draw(*(5 if n == 4 else n + 1 for n in x.shape))
    with pytest.raises(ValueError, match=r"(channels \(axis 1 of shape|does not end in)"):
        layer(bad)
    with pytest.raises(TypeError, match=r"dtype int64.*\.astype"):
        layer(mt.ones(x.shape, dtype=int))


@EACH
@pytest.mark.parametrize("size", [0, -2, 1.5, True, "3"])
def test_sizes_are_checked_when_the_layer_is_made(name, size):
    others = {"GhostBatchNorm1d": (2,), "GhostBatchNorm2d": (2,), "GroupNorm": (4,)}.get(name, ())
    with pytest.raises((ValueError, TypeError)):
        ALL[name](size, *others)


@EACH
@pytest.mark.parametrize("eps", [0, -1e-5, np.nan, np.inf, "1e-5", True])
def test_eps_is_checked_when_the_layer_is_made(name, eps):
    if "eps" not in inspect.signature(ALL[name]).parameters:
        return
    others = {"GhostBatchNorm1d": (4, 2), "GhostBatchNorm2d": (4, 2), "GroupNorm": (2, 4)}.get(name, (4,))
    with pytest.raises(ValueError, match=rf"{name}: eps is .*positive finite"):
        ALL[name](*others, eps=eps)


@EACH_RUNNING
@pytest.mark.parametrize("momentum", [-0.1, 2.0, np.nan, "0.1", True])
def test_momentum_is_checked_when_the_layer_is_made(name, momentum):
    others = {"GhostBatchNorm1d": (4, 2), "GhostBatchNorm2d": (4, 2)}.get(name, (4,))
    with pytest.raises(ValueError, match=rf"{name}: momentum is .*from 0 to 1"):
        ALL[name](*others, momentum=momentum)


# --- running statistics -----------------------------------------------------------------------------------


@EACH_RUNNING
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_leaves_the_whole_state(name, bad):
    layer, x = made(name)
    layer(x)
    before = state_of(layer)
    broken = x.numpy().copy()
    broken.flat[0] = bad
    for recording in (mt.enable_grad, mt.no_grad):
        with recording(), pytest.warns(RuntimeWarning, match="running statistics stay as they were"):
            layer(mt.tensor(broken))
        assert state_of(layer) == before


@EACH_RUNNING
def test_statistics_move_under_no_grad_and_are_never_in_the_graph(name):
    recorded, x = made(name)
    silent, _ = made(name)
    y = recorded(mt.tensor(x, requires_grad=True))
    with mt.no_grad():
        silent(x)
    assert state_of(silent) == state_of(recorded)
    assert recorded.num_batches_tracked.item() == 1
    buffers = list(dict(recorded.named_buffers()).values())
    assert all(buffer.is_leaf and not buffer.requires_grad for buffer in buffers)
    assert not any(t is buffer for t in mt.backprop.toposort([y]) for buffer in buffers)
    recorded(x)
    y.backward(draw(*y.shape))


@EACH_RUNNING
def test_a_forward_that_raises_leaves_the_whole_state(name):
    layer, x = made(name)
    layer(x)
    before = state_of(layer)
    layer.__dict__["bias"] = "no tensor"
    with pytest.raises((TypeError, ValueError, AttributeError)):
        layer(x)
    assert state_of(layer) == before


@EACH_RUNNING
def test_reset_forgets_all_batches(name):
    layer, x = made(name)
    before = state_of(layer)
    layer(x)
    assert state_of(layer) != before
    layer.reset_running_stats()
    assert state_of(layer) == before
    if name.startswith("Batch") and "track_running_stats" in inspect.signature(ALL[name]).parameters:
        ALL[name](4, track_running_stats=False).reset_running_stats()


@EACH_RUNNING
def test_prediction_depends_on_no_other_sample(name):
    layer, x = made(name)
    layer(x)
    before = state_of(layer)
    whole, one = layer.eval()(x).numpy(), layer(x[:1]).numpy()
    np.testing.assert_allclose(one, whole[:1], rtol=1e-13, atol=1e-14)
    assert state_of(layer) == before


@EACH_RUNNING
def test_frozen_statistics_survive_training_mode(name):
    layer, x = made(name)
    layer(x)
    predicted = layer.eval()(x).numpy()
    assert layer.freeze() is layer
    before = state_of(layer)
    frozen = layer.train()(x)
    np.testing.assert_array_equal(frozen.numpy(), predicted)
    assert state_of(layer) == before
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert "frozen stats and affine" in repr(layer)
    layer.freeze(stats=True, affine=False)
    assert all(parameter.requires_grad for parameter in layer.parameters())
    assert "frozen stats" in repr(layer)
    layer.freeze(stats=False, affine=True)
    assert "frozen affine" in repr(layer)
    layer.freeze(False, False)
    assert "frozen" not in repr(layer)
    layer(x)
    assert state_of(layer) != before


def test_freezing_what_is_not_there_is_refused():
    layer = BatchNorm1d(3, affine=False, track_running_stats=False)
    with pytest.raises(ValueError, match=r"BatchNorm1d\(3\): no running statistics to freeze.*track_running_stats"):
        layer.freeze()
    layer.freeze(stats=False)
    assert layer.frozen_affine


def test_one_frozen_sample_is_enough():
    bn = BatchNorm1d(3).freeze()
    assert bn(draw(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "IterNorm"])
def test_without_a_momentum_every_batch_weighs_the_same(name):
    layer = ALL[name](4, momentum=None)
    batches = [draw(*LAYERS[name][1], seed=seed).numpy() for seed in range(4)]
    for batch in batches:
        layer(mt.tensor(batch))
    axes = norms.AXES["batch_norm"].statistics(batches[0].ndim)
    np.testing.assert_allclose(
        layer.running_mean.numpy(), np.mean([batch.mean(axis=axes) for batch in batches], axis=0), rtol=1e-12
    )
    assert layer.num_batches_tracked.item() == 4


def test_instance_norm_without_a_momentum_averages_too():
    layer = InstanceNorm1d(2, momentum=None, track_running_stats=True)
    batches = [draw(3, 2, 4, seed=seed).numpy() for seed in range(3)]
    for batch in batches:
        layer(mt.tensor(batch))
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(batches, axis=(0, 1, 3)), rtol=1e-12)


def test_ghost_batch_norm_takes_no_average_of_all():
    with pytest.raises(ValueError, match="GhostBatchNorm1d: momentum is None"):
        GhostBatchNorm1d(3, 2, momentum=None)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(BatchNorm1d, (1, 3)), (BatchNorm1d, (1, 3, 1)), (BatchNorm2d, (1, 3, 1, 1)), (IterNorm, (1, 3))],
)
def test_one_value_a_channel_names_the_layer_and_the_remedies(make, shape):
    layer = make(3)
    before = state_of(layer)
    message = rf"{make.__name__}\(3\): 1 value per channel over axes .*bigger batch.*drop_last.*eval\(\).*GroupNorm"
    with pytest.raises(ValueError, match=message):
        layer(draw(*shape))
    assert state_of(layer) == before
    assert layer.eval()(draw(*shape)).shape == shape
    with pytest.raises(ValueError, match="1 value per channel"):
        make(3, track_running_stats=False).eval()(draw(*shape))


@EACH_RUNNING
def test_a_wrong_number_of_axes_names_the_shapes_that_are_taken(name):
    layer, _ = made(name)
    with pytest.raises(ValueError, match=rf"{name}\(4\): input of shape \(4,\) has 1 axes; it must be \(N, C.*\)"):
        layer(draw(4))


def test_layers_refuse_their_own_settings():
    with pytest.raises(ValueError, match="GroupNorm: 4 channels cannot be divided into 3 groups"):
        GroupNorm(3, 4)
    with pytest.raises(ValueError, match="IterNorm: 4 channels cannot be divided into 3 groups"):
        IterNorm(4, 3)
    with pytest.raises(ValueError, match="IterNorm: iterations is 0"):
        IterNorm(4, iterations=0)
    with pytest.raises(ValueError, match=r"BatchRenorm1d: r_max is 0\.5"):
        BatchRenorm1d(4, r_max=0.5)
    with pytest.raises(ValueError, match="BatchRenorm2d: d_max is -1"):
        BatchRenorm2d(4, d_max=-1)
    with pytest.raises(ValueError, match="LocalResponseNorm: k is nan"):
        LocalResponseNorm(4, k=np.nan)
    for shape in (0, (), (3, -1)):
        for make in (LayerNorm, RMSNorm):
            with pytest.raises(ValueError, match=f"{make.__name__}: normalized_shape is"):
                make(shape)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (BatchNorm2d(4), "BatchNorm2d(4)"),
        (BatchNorm3d(4, eps=1e-3, momentum=None).eval(), "BatchNorm3d(4, eps=0.001, momentum=None, eval)"),
        (BatchRenorm1d(4, r_max=2.0), "BatchRenorm1d(4, r_max=2.0)"),
        (GhostBatchNorm1d(4, 2, momentum=0.5), "GhostBatchNorm1d(4, 2, momentum=0.5)"),
        (IterNorm(4, 2, affine=False), "IterNorm(4, num_groups=2, affine=False)"),
        (InstanceNorm1d(4), "InstanceNorm1d(4)"),
        (InstanceNorm2d(4, affine=True).eval(), "InstanceNorm2d(4, affine=True, eval)"),
        (GroupNorm(2, 4, eps=1e-3, affine=False), "GroupNorm(2, 4, eps=0.001, affine=False)"),
        (RMSNorm((3, 4), eps=1e-3, elementwise_affine=False), "RMSNorm((3, 4), eps=0.001, elementwise_affine=False)"),
        (RMSNorm(4), "RMSNorm(4)"),
        (ScaleNorm(4), "ScaleNorm(4)"),
        (ScaleNorm(4, eps=1e-3), "ScaleNorm(4, eps=0.001)"),
        (FilterResponseNorm(4, eps=1e-3, threshold=False), "FilterResponseNorm(4, eps=0.001, threshold=False)"),
        (LocalResponseNorm(5, beta=0.5), "LocalResponseNorm(5, beta=0.5)"),
    ],
)
def test_representation_shows_what_differs_and_the_mode(layer, text):
    assert repr(layer) == text


def test_state_keys_are_pytorchs():
    tracked = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    for make in (BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchRenorm1d, BatchRenorm2d):
        assert list(make(3).state_dict()) == tracked
    assert list(InstanceNorm2d(3).state_dict()) == []
    assert list(InstanceNorm2d(3, affine=True, track_running_stats=True).state_dict()) == tracked
    assert list(IterNorm(4).state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_whitening",
        "num_batches_tracked",
    ]
    assert list(FilterResponseNorm(3).state_dict()) == ["weight", "bias", "threshold"]
    BatchRenorm1d(3).load_state_dict(BatchNorm1d(3).state_dict())


def test_scale_norm_starts_on_the_sphere_of_rms_norm():
    x = draw(3, 8)
    np.testing.assert_allclose(ScaleNorm(8, eps=1e-12)(x).numpy(), RMSNorm(8)(x).numpy(), rtol=1e-12)


# --- descriptions -----------------------------------------------------------------------------------------


def test_batch_norm_says_what_others_call_it():
    text = BatchNorm2d(64).describe()
    for part in (
        "BatchNorm2d(64, eps=1e-05, momentum=0.1): weight, bias, running_mean, running_var",
        "BatchNormalization(axis=1, momentum=0.9, epsilon=1e-05): gamma, beta, moving_mean, moving_variance",
        "BatchNorm(axis=1, momentum=0.9, epsilon=1e-05): scale, bias, mean, var",
        "BatchNormalization(momentum=0.9, epsilon=1e-05): scale, B, input_mean, input_var",
        "(n − 1) / n",
    ):
        assert part in text
    assert norms.AXES["batch_norm"].formula in text
    assert "average of all batches" in BatchNorm1d(3, momentum=None).describe()
    assert "center=False, scale=False): moving_mean" in BatchNorm1d(3, affine=False).describe()
    assert "training mode has to stay on" in BatchNorm1d(3, track_running_stats=False).describe()
    assert "have no GhostBatchNorm1d" in GhostBatchNorm1d(3, 2).describe()


def test_layer_and_group_norm_say_what_others_call_them():
    text = LayerNorm((2, 3), bias=False).describe()
    assert "LayerNormalization(axis=(-2, -1), epsilon=1e-05): gamma\n" in text
    assert "LayerNormalization(axis=-2, epsilon=1e-05): Scale\n" in text
    assert "LayerNorm(reduction_axes=-1, feature_axes=-1, epsilon=0.001): scale, bias" in LayerNorm(4, 1e-3).describe()
    text = GroupNorm(2, 4).describe()
    assert "GroupNormalization(groups=2, axis=1, epsilon=1e-05): gamma, beta" in text
    assert "GroupNorm(num_groups=2, epsilon=1e-05)\n" in GroupNorm(2, 4, affine=False).describe()


# --- computed weights -------------------------------------------------------------------------------------


def changes():
    return {
        "weight_norm": (utils.weight_norm, utils.remove_weight_norm),
        "spectral_norm": (lambda m, name="weight": utils.spectral_norm(m, name, rng=0), utils.remove_spectral_norm),
        "weight_standardize": (utils.weight_standardize, utils.remove_weight_standardize),
    }


EACH_CHANGE = pytest.mark.parametrize("name", changes())


@EACH_CHANGE
def test_a_computed_weight_trains_copies_and_is_removed_again(name):
    change, remove = changes()[name]
    layer = nn.Linear(3, 4, rng=0)
    original = layer.weight.numpy().copy()
    assert change(layer) is layer
    np.testing.assert_array_equal(layer.weight.numpy(), original)
    x = draw(5, 3)
    layer(x).backward(draw(5, 4, seed=1))
    assert all(parameter.grad is not None for parameter in layer.parameters())
    for copied in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
        other = copied(layer).eval()
        with mt.no_grad():
            expected = layer.eval()(x).numpy()
        np.testing.assert_array_equal(other(x).numpy(), expected)
        for parameter in other.parameters():
            parameter.assign_(2 * parameter.numpy() + 1)
        assert np.abs(other(x).numpy() - expected).max() > 0.1
        np.testing.assert_array_equal(layer(x).numpy(), expected)
    assert remove(layer) is layer
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)
    assert "forward" not in layer.__dict__
    assert type(layer.weight) is nn.Parameter
    assert {parameter.name for parameter in layer.parameters()} == {"W", "b"}


@EACH_CHANGE
def test_gradients_through_a_computed_weight_are_those_of_differences(name):
    layer = changes()[name][0](nn.Linear(3, 4, rng=0)).eval()
    x = draw(5, 3)
    for key, parameter in list(layer.named_parameters()):

        def at(value, key=key):
            held = layer._parameters[key]
            layer._parameters[key] = value
            try:
                return layer(x)
            finally:
                layer._parameters[key] = held

        assert mt.gradcheck(at, mt.tensor(parameter.numpy(), requires_grad=True))


@EACH_CHANGE
def test_a_computed_weight_is_refused_where_it_cannot_be(name):
    change, remove = changes()[name]
    layer = nn.Linear(3, 4, bias=False)
    with pytest.raises(ValueError, match=rf"{name}: Linear has no parameter 'kernel'; it has \['weight', 'bias'\]"):
        change(layer, "kernel")
    with pytest.raises(ValueError, match=rf"remove_{name}: 'weight' of Linear is not computed.* nothing to remove"):
        remove(layer)
    change(layer)
    with pytest.raises(ValueError, match=rf"{name}: 'weight' of Linear is already computed; remove that first"):
        change(layer)
    with pytest.raises(ValueError, match="nothing to remove"):
        remove(layer, "bias")


def test_weights_that_cannot_be_computed_are_refused():
    layer = nn.Linear(3, 2)
    weight = layer.weight.numpy().copy()
    weight[1] = 0.0
    layer.weight.data = weight
    with pytest.raises(ValueError, match="'weight' has an output with only zero weights"):
        utils.weight_norm(layer)
    with pytest.raises(ValueError, match=r"spectral_norm: 'bias' has shape \(2,\); it must have at least 2 axes"):
        utils.spectral_norm(layer, "bias")
    with pytest.raises(ValueError, match="n_power_iterations is 0"):
        utils.spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(ValueError, match="eps is 0"):
        utils.spectral_norm(layer, eps=0)
    with pytest.raises(ValueError, match="weight_standardize: weight of shape"):
        utils.weight_standardize(nn.Linear(1, 2))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_two_weights_of_a_layer_are_computed_each_in_its_way():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(draw(2, 3))
            self.second = nn.Parameter(draw(3, 2, seed=1))

        def forward(self, x):
            return x @ self.first @ self.second

    two = Two()
    x = draw(4, 2)
    utils.weight_norm(two, "first")
    utils.weight_standardize(two, "second")
    expected = x.numpy() @ two.first.numpy() @ norms.weight_standardize(two._parameters["second"]).numpy()
    np.testing.assert_allclose(two(x).numpy(), expected, rtol=1e-12)
    utils.remove_weight_norm(two, "first")
    np.testing.assert_allclose(two(x).numpy(), expected, rtol=1e-12)
    utils.remove_weight_standardize(two, "second")
    np.testing.assert_allclose(two(x).numpy(), expected, rtol=1e-12)
    assert sorted(two.state_dict()) == ["first", "second"]


def test_a_forward_that_raises_leaves_no_weight_with_history():
    layer = utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="features"):
        layer(draw(4, 5))
    assert layer.weight.is_leaf


def test_spectral_norm_rests_in_prediction_and_starts_reproducibly():
    first, second = (utils.spectral_norm(nn.Linear(3, 4, rng=0), rng=1) for _ in range(2))
    assert state_of(first) == state_of(second)
    np.testing.assert_allclose(np.linalg.norm(first.weight_u.numpy()), 1.0, rtol=1e-14)
    before = state_of(first)
    first.eval()(draw(5, 3))
    assert state_of(first) == before
    first.train()(draw(5, 3))
    assert state_of(first) != before


def test_spectral_norm_takes_the_outputs_of_a_transposed_convolution_from_axis_1():
    class ConvTransposed(nn.Linear):
        pass

    ConvTransposed.__name__ = "ConvTranspose2d"
    assert utils.spectral_norm(ConvTransposed(3, 4)).weight_u.shape == (3,)
    assert utils.spectral_norm(nn.Linear(3, 4)).weight_u.shape == (4,)


# --- statistics of a data set -----------------------------------------------------------------------------


def network():
    return nn.Sequential(
        nn.Linear(3, 4, rng=0), BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, rng=1), GhostBatchNorm1d(2, 2)
    )


def cut(x, sizes):
    return [mt.tensor(part) for part in np.split(x, np.cumsum(sizes)[:-1])]


@pytest.mark.parametrize("sizes", [[20], [7, 13], [1, 2, 3, 14], [19, 1]])
def test_update_bn_makes_every_norm_see_its_running_statistics(sizes):
    x = draw(20, 3).numpy()
    net = network()
    net[0].eval()
    utils.update_bn(net, cut(x, sizes))
    assert [module.training for module in net.modules()] == [True, False, True, True, True, True]
    net.eval()
    first = net[0](mt.tensor(x)).numpy()
    second = net[3](net[2](net[1](mt.tensor(first)))).numpy()
    for norm, seen in ((net[1], first), (net[4], second)):
        np.testing.assert_allclose(norm.running_mean.numpy(), seen.mean(axis=0), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(norm.running_var.numpy(), seen.var(axis=0, ddof=1), rtol=1e-12)
        assert norm.num_batches_tracked.item() == len(sizes)
    assert not any("forward" in module.__dict__ for module in net.modules())


def test_update_bn_is_not_the_mean_of_batch_statistics():
    x = np.array([[0.0], [2.0], [10.0], [12.0], [20.0]])
    bn = BatchNorm1d(1)
    utils.update_bn(bn, cut(x, [2, 2, 1]))
    assert bn.running_mean.item() == pytest.approx(8.8)
    assert bn.running_var.item() == pytest.approx(x.var(ddof=1))


def test_update_bn_takes_pairs_images_and_what_can_be_gone_through_once():
    x = draw(6, 3, 2, 2).numpy()
    bn = BatchNorm2d(3)
    utils.update_bn(bn, ((part, "label") for part in cut(x, [4, 2])))
    np.testing.assert_allclose(bn.running_var.numpy(), x.var(axis=(0, 2, 3)) * 24 / 23, rtol=1e-12)
    net = network()
    utils.update_bn(net, iter([[draw(5, 3)], [draw(4, 3, seed=1)]]))
    assert net[4].num_batches_tracked.item() == 2


def test_update_bn_does_not_cancel_in_float32():
    x = (np.random.default_rng(0).normal(size=(4000, 2)) + 1e4).astype(np.float32)
    bn = BatchNorm1d(2)
    utils.update_bn(bn, cut(x, [1000] * 4))
    np.testing.assert_allclose(bn.running_var.numpy(), x.astype(float).var(axis=0, ddof=1), rtol=1e-9)


def test_update_bn_leaves_what_it_does_not_measure():
    net = nn.Sequential(
        BatchNorm1d(3).freeze(), BatchNorm1d(3, track_running_stats=False), InstanceNorm1d(3, track_running_stats=True)
    )
    before = state_of(net)
    utils.update_bn(net, [draw(4, 3, 5)])
    assert state_of(net) == before
    utils.update_bn(nn.Linear(3, 2), [draw(4, 3)])
    unused = nn.Sequential(BatchNorm1d(3))
    unused[0].spare = BatchNorm1d(7)
    utils.update_bn(unused, [draw(4, 3)])
    assert unused[0].spare.num_batches_tracked.item() == 0


class Interrupted:
    """Data that break off in the second of their walks."""

    def __init__(self):
        self.walks = 0

    def __iter__(self):
        self.walks += 1
        yield draw(5, 3)
        if self.walks > 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "there are no batches"),
        ([mt.zeros((0, 3))], ValueError, r"1 BatchNorm1d\(4, eval\): 0 values per channel"),
        ([draw(1, 3)], ValueError, r"1 values per channel have no variance; give more data"),
        ([draw(4, 3), draw(4, 3) * np.nan], ValueError, "NaN or infinite"),
        ([draw(4, 3), draw(4, 3) * np.inf], ValueError, "NaN or infinite"),
        ([draw(4, 3), draw(4, 2)], ValueError, "features"),
        (Interrupted(), KeyboardInterrupt, None),
    ],
)
def test_update_bn_changes_nothing_when_it_fails(batches, error, message):
    net = network()
    net(draw(6, 3))
    before = state_of(net)
    with pytest.raises(error, match=message):
        utils.update_bn(net, batches)
    assert state_of(net) == before
    assert all(module.training for module in net.modules())
    assert not any("forward" in module.__dict__ for module in net.modules())
