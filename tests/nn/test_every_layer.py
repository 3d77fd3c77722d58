"""What every layer must do, checked for every one that is exported: a new layer without a row fails.

Inputs of a wrong kind are refused by the layer's name, a batch of no samples passes, the dtype of the output does not
depend on the mode, and copies keep everything.
"""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, norms

# How each layer is made, and its inputs: a shape stands for floats, an array is taken as it is.
LABELS, SIGNS = np.array([0, 1, 2, 0]), np.where(np.arange(12).reshape(4, 3) % 2, 1.0, -1.0)
PAIR = ((4, 3), (4, 3))
ELEMENTWISE = ["ELU", "GELU", "SELU", "Hardtanh", "LeakyReLU", "Mish", "ReLU", "Sigmoid", "SiLU", "Softplus", "Tanh"]
ELEMENTWISE += ["Dropout", "Identity"]
ROWS = {
    **{name: (getattr(nn, name), ((4, 3),)) for name in ELEMENTWISE},
    "Softmax": (lambda: nn.Softmax(1), ((4, 3),)),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), ((4, 3),)),
    "Linear": (lambda: nn.Linear(3, 2), ((4, 3),)),
    "Bilinear": (lambda: nn.Bilinear(3, 2, 4), ((4, 3), (4, 2))),
    "Embedding": (lambda: nn.Embedding(5, 3), (np.array([[1, 2], [3, 0], [1, 1], [0, 4]]),)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), ((4, 2, 5),)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3), ((4, 2, 5, 5),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3), ((4, 2, 5, 5),)),
    **{f"{kind}Pool1d": (lambda k=kind: getattr(nn, f"{k}Pool1d")(2), ((4, 3, 5),)) for kind in ("Max", "Avg")},
    **{f"{kind}Pool2d": (lambda k=kind: getattr(nn, f"{k}Pool2d")(2), ((4, 3, 5, 5),)) for kind in ("Max", "Avg")},
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(2), ((4, 3, 5),)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), ((4, 3, 5, 5),)),
    "Flatten": (nn.Flatten, ((4, 3, 2),)),
    "Unflatten": (lambda: nn.Unflatten(1, (3, -1)), ((4, 6),)),
    "RNN": (lambda: nn.RNN(3, 2, 2, batch_first=True, bidirectional=True), ((4, 5, 3),)),
    "LSTM": (lambda: nn.LSTM(3, 2, batch_first=True), ((4, 9, 3),)),
    "GRU": (lambda: nn.GRU(3, 2, batch_first=True), ((4, 5, 3),)),
    **{
        name: (lambda n=name: getattr(nn, n)(3, 2), ((4, 3),))
        for name in ("RNNCell", "LSTMCell", "GRUCell", "LayerNormLSTMCell")
    },
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), ((4, 5, 4),) * 3),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), ((4, 5, 4),)),
    "BatchNorm1d": (lambda **o: nn.BatchNorm1d(3, **o), ((4, 3),)),
    "BatchNorm2d": (lambda **o: nn.BatchNorm2d(3, **o), ((4, 3, 2, 2),)),
    "BatchNorm3d": (lambda **o: nn.BatchNorm3d(3, **o), ((4, 3, 2, 2, 2),)),
    "BatchRenorm1d": (lambda **o: nn.BatchRenorm1d(3, **o), ((4, 3),)),
    "BatchRenorm2d": (lambda **o: nn.BatchRenorm2d(3, **o), ((4, 3, 2, 2),)),
    "GhostBatchNorm1d": (lambda **o: nn.GhostBatchNorm1d(3, 2, **o), ((4, 3),)),
    "GhostBatchNorm2d": (lambda **o: nn.GhostBatchNorm2d(3, 2, **o), ((4, 3, 2, 2),)),
    "IterNorm": (lambda **o: nn.IterNorm(3, **o), ((4, 3, 2),)),
    "InstanceNorm1d": (lambda **o: nn.InstanceNorm1d(3, track_running_stats=True, **o), ((4, 3, 2),)),
    "InstanceNorm2d": (lambda **o: nn.InstanceNorm2d(3, track_running_stats=True, **o), ((4, 3, 2, 2),)),
    "InstanceNorm3d": (lambda **o: nn.InstanceNorm3d(3, track_running_stats=True, **o), ((4, 3, 2, 2, 2),)),
    "GroupNorm": (lambda: nn.GroupNorm(1, 3), ((4, 3, 2),)),
    "LayerNorm": (lambda: nn.LayerNorm(3), ((4, 3),)),
    "RMSNorm": (lambda: nn.RMSNorm(3), ((4, 3),)),
    "ScaleNorm": (lambda: nn.ScaleNorm(3), ((4, 3),)),
    "FilterResponseNorm": (lambda: nn.FilterResponseNorm(3), ((4, 3, 2),)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), ((4, 3, 2),)),
    **{
        f"{name}Loss": (getattr(nn, f"{name}Loss"), PAIR)
        for name in ("BCE", "BCEWithLogits", "Huber", "KLDiv", "L1", "MSE", "SmoothL1")
    },
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, ((4, 3), SIGNS)),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, ((4, 3), LABELS)),
    "NLLLoss": (nn.NLLLoss, ((4, 3), LABELS)),
}
CONTAINERS = {"Module", "Sequential", "ModuleList", "ModuleDict"}
LOSSES = {name for name in ROWS if name.endswith("Loss")}
RUNNING = [name for name in ROWS if hasattr(getattr(nn, name), "reset_running_stats")]
# They have running statistics of a batch, which a batch of no samples does not have.
OVER_A_BATCH = {name for name in RUNNING if not name.startswith("InstanceNorm")}
EACH = pytest.mark.parametrize("name", ROWS)
MODES = pytest.mark.parametrize("training", [True, False])


def inputs(name, count=None, dtype="f8", requires_grad=False):
    rng = np.random.default_rng(0)
    made = []
    for what in ROWS[name][1]:
        if isinstance(what, tuple):
            value = rng.uniform(0.1, 0.9, size=what).astype(dtype)
            made.append(mt.tensor(value[:count], requires_grad=requires_grad))
        else:
            made.append(mt.tensor(what[:count]))
    return made


def first(result):
    while isinstance(result, tuple):
        result = result[0]
    return result


def test_every_layer_has_a_row():
    exported = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    layers = {name for name in exported if issubclass(getattr(nn, name), nn.Module)}
    assert layers - CONTAINERS == set(ROWS)


# --- inputs of a wrong kind -------------------------------------------------------------------------------

WRONG = {
    "a list": lambda x: x.numpy().tolist(),
    "None": lambda x: None,
    "an array": lambda x: x.numpy(),
    "a masked array": lambda x: np.ma.masked_array(x.numpy()),
    "a string": lambda x: "abc",
    "complex": lambda x: x.numpy() * 1j,
    "objects": lambda x: np.array([None]),
    "integers": lambda x: mt.tensor(np.ones(x.shape, int)),
    "booleans": lambda x: mt.tensor(np.ones(x.shape, bool)),
}
ANYTHING, INDICES, SHAPES = {"Identity"}, {"Embedding"}, {"Flatten", "Unflatten"}


@MODES
@EACH
def test_an_input_of_a_wrong_kind_is_refused_by_the_layers_name_with_the_way_out(name, training):
    layer = ROWS[name][0]().train(training)
    # A loss takes targets of every kind.
    count = 1 if name in LOSSES else len(ROWS[name][1])
    for place in range(count):
        for kind, wrong in WRONG.items():
            given = inputs(name)
            given[place] = wrong(given[place])
            if name in ANYTHING or (name in INDICES and kind in ("a list", "an array", "integers")):
                layer(*given)
            elif name in SHAPES and kind in ("integers", "booleans"):
                assert layer(*given).dtype == given[0].dtype
            else:
                way_out = r"mt\.tensor\(|\.astype\(|\.filled\(|it must be"
                with pytest.raises(TypeError, match=rf"^{name}\b.*({way_out})"):
                    layer(*given)


NORMS = {
    "batch_norm": lambda x, **o: norms.batch_norm(x, training=True, **o),
    "ghost_batch_norm": lambda x, **o: norms.ghost_batch_norm(x, 2, training=True, **o),
    "batch_renorm": lambda x, **o: norms.batch_renorm(
        x, **{"running_mean": mt.zeros(3), "running_var": mt.ones(3), **o}, training=True
    ),
    "whiten": lambda x, **o: norms.whiten(x, training=True, **o),
    "instance_norm": norms.instance_norm,
    "group_norm": lambda x, **o: norms.group_norm(x, 1, **o),
    "layer_norm": lambda x, **o: norms.layer_norm(x, 2, **o),
    "rms_norm": lambda x, **o: norms.rms_norm(x, 2, **o),
    "scale_norm": norms.scale_norm,
    "filter_response_norm": norms.filter_response_norm,
    "local_response_norm": lambda x: norms.local_response_norm(x, 2),
    "standardize": lambda x: norms.standardize(x, 0),
    "weight_norm": lambda x: norms.weight_norm(x, mt.ones((4, 1, 1))),
    "spectral_norm": lambda x: norms.spectral_norm(x, mt.ones(4), mt.ones(6)),
    "weight_standardize": norms.weight_standardize,
}


def test_every_norm_has_a_row():
    functions = {name for name in norms.__all__ if name.islower()}
    assert functions == set(NORMS)


@pytest.mark.parametrize("name", NORMS)
def test_an_input_of_a_wrong_kind_is_refused_by_the_norms_name(name):
    x = mt.tensor(np.random.default_rng(0).normal(size=(4, 3, 2)))
    assert NORMS[name](x).shape == x.shape
    for kind, wrong in WRONG.items():
        if kind == "an array":
            # As all functions do, they take arrays for constants.
            np.testing.assert_array_equal(np.asarray(NORMS[name](wrong(x))), NORMS[name](x).numpy())
            continue
        with pytest.raises(TypeError, match=rf"^{name}: (input|weight|v) "):
            NORMS[name](wrong(x))


@pytest.mark.parametrize("value", [[1.0, 1.0, 1.0], (1.0,), 1.0, "abc"], ids=["list", "tuple", "number", "string"])
@pytest.mark.parametrize("name", ["batch_norm", "ghost_batch_norm", "batch_renorm", "whiten", "instance_norm"])
def test_parameters_of_a_wrong_kind_are_refused_by_their_names(name, value):
    x = mt.tensor(np.random.default_rng(0).normal(size=(4, 3, 2)))
    for parameter in ("weight", "bias", "running_mean"):
        with pytest.raises(TypeError, match=rf"^{name}: {parameter} is of type {type(value).__name__}.*mt.tensor"):
            NORMS[name](x, **{parameter: value})


@pytest.mark.parametrize("value", [[1.0, 1.0], 1.0, "abc"], ids=["list", "number", "string"])
def test_parameters_of_a_wrong_kind_are_refused_by_the_norms_of_a_sample(value):
    x = mt.tensor(np.random.default_rng(0).normal(size=(4, 3, 2)))
    for name in ("layer_norm", "rms_norm", "group_norm", "scale_norm", "filter_response_norm"):
        with pytest.raises(TypeError, match=rf"^{name}: (weight|a parameter) is of type {type(value).__name__}"):
            NORMS[name](x, weight=value)
    with pytest.raises(TypeError, match="filter_response_norm: threshold is of type"):
        norms.filter_response_norm(x, threshold=value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LayerNorm(2.5), r"LayerNorm: normalized_shape is 2\.5; it must be a positive integer"),
        (lambda: nn.RMSNorm(None), "RMSNorm: normalized_shape is None; it must be a positive integer"),
        (lambda: nn.LayerNorm((2, 2.5)), r"LayerNorm: normalized_shape is 2\.5; it must be a positive integer"),
        (
            lambda: nn.LayerNorm(np.array([2, 3])),
            r"LayerNorm: normalized_shape is array\(\[2, 3\]\); it must be a positive",
        ),
        (lambda: nn.Linear(mt.tensor(2.0), 3), r"Linear: in_features is tensor\(2\.\); it must be a positive integer"),
        (lambda: nn.Embedding(3, 2, padding_idx=1.5), r"Embedding: padding_idx is 1\.5; it must be an integer"),
        (lambda: nn.utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=1.5), r"n_power_iterations is 1\.5"),
    ],
)
def test_a_size_that_is_no_integer_is_refused_at_construction(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("statistics", ["array", "integers"])
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_that_could_not_move_are_refused(statistics, training):
    x = mt.tensor(np.random.default_rng(0).normal(size=(4, 3, 2)))
    value = np.ones(3) if statistics == "array" else mt.ones(3, dtype=int)
    message = "is of type ndarray, which cannot be updated" if statistics == "array" else "has dtype int64; convert it"
    for call in (
        lambda: norms.batch_norm(x, running_mean=value, running_var=value, training=training),
        lambda: norms.ghost_batch_norm(x, 2, running_mean=value, running_var=value, training=training),
        lambda: norms.batch_renorm(x, running_mean=value, running_var=value, training=training),
        lambda: norms.instance_norm(x, running_mean=value, running_var=value, use_input_stats=training),
        lambda: norms.whiten(x, running_mean=value, running_whitening=mt.ones((1, 3, 3)), training=training),
    ):
        with pytest.raises(TypeError, match=rf"running_mean {message}"):
            call()


# --- a batch of nothing -----------------------------------------------------------------------------------


@MODES
@EACH
def test_a_batch_of_no_samples_passes_forward_and_backward_or_is_refused_by_name(name, training):
    layer = ROWS[name][0]().train(training)
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    given = inputs(name, count=0, requires_grad=True)
    if name in LOSSES or (name in OVER_A_BATCH and training):
        with pytest.raises(ValueError, match="no elements") as caught:
            layer(*given)
        # By the layer or the function of the loss, not by an operation inside.
        assert not str(caught.value).startswith("mean:")
    else:
        full, empty = first(layer(*inputs(name))), first(layer(*given))
        assert empty.shape == (0, *full.shape[1:])
        assert empty.dtype == full.dtype
        if empty.requires_grad:
            mt.sum(empty).backward()
        for parameter in layer.parameters():
            assert parameter.grad is None or not parameter.grad.numpy().any()
    if name not in RUNNING:
        assert {key: value.tolist() for key, value in layer.state_dict().items()} == before


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "MultiheadAttention"])
def test_states_and_weights_of_no_samples_have_their_shapes(name):
    layer = ROWS[name][0]()
    second = layer(*inputs(name, count=0))[1]
    wanted = layer(*inputs(name))[1]
    axis = 0 if name == "MultiheadAttention" else 1
    for empty, full in zip(*((s if isinstance(s, tuple) else (s,)) for s in (second, wanted)), strict=True):
        assert empty.shape == (*full.shape[:axis], 0, *full.shape[axis + 1 :])


@pytest.mark.parametrize("name", sorted(OVER_A_BATCH - {"BatchRenorm1d", "BatchRenorm2d"}))
@pytest.mark.parametrize("count", [0, 1])
def test_the_way_out_of_too_few_values_is_one_for_the_mode(name, count):
    shape = (count, 3, *(1 for _ in ROWS[name][1][0][2:]))
    training = ROWS[name][0](track_running_stats=False)
    predicting = ROWS[name][0](track_running_stats=False).eval()
    what = "1 value per channel" if count else "no elements per channel"
    with pytest.raises(ValueError, match=rf"{name}\(3\): {what}.*drop_last=True, eval\(\) with running statistics"):
        training(mt.ones(shape))
    with pytest.raises(ValueError, match=rf"{name}\(3\): {what}.*running statistics \(track_running_stats") as caught:
        predicting(mt.ones(shape))
    assert "eval()" not in str(caught.value)
    assert ROWS[name][0]().eval()(mt.ones(shape)).shape == shape


@pytest.mark.parametrize("make", [nn.Softmax, nn.LogSoftmax])
def test_a_softmax_over_an_empty_batch_is_empty(make):
    x = mt.zeros((0, 3), requires_grad=True)
    mt.sum(make(0)(x)).backward()
    assert x.grad.shape == (0, 3)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        make(2)(x)


# --- dtypes and modes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", ["float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", RUNNING)
def test_the_dtype_does_not_depend_on_the_mode(name, dtype, held):
    x = inputs(name, dtype=dtype)[0]
    for affine in (False, True):
        layer = ROWS[name][0](affine=affine).astype(held)
        dtypes = {layer.train(training)(x).dtype for training in (True, False, True)}
        dtypes |= {layer.freeze(affine=False)(x).dtype}
        assert dtypes == {np.promote_types(dtype, held) if affine else np.dtype(dtype)}
        statistics = np.promote_types(held, "float32")
        assert {buffer.dtype for buffer in layer.buffers()} == {statistics, np.dtype("int64")}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("statistics", ["float16", "float32", "float64"])
def test_the_functions_keep_the_dtype_of_the_input_in_both_modes(dtype, statistics):
    x = mt.tensor(np.random.default_rng(0).normal(size=(4, 3, 2)).astype(dtype))
    for training in (True, False):

        def held(shape=3):
            return mt.ones(shape, dtype=statistics)

        for y in (
            norms.batch_norm(x, running_mean=held(), running_var=held(), training=training),
            norms.ghost_batch_norm(x, 2, running_mean=held(), running_var=held(), training=training),
            norms.batch_renorm(x, running_mean=held(), running_var=held(), training=training),
            norms.instance_norm(x, running_mean=held(), running_var=held(), use_input_stats=training),
            norms.whiten(x, running_mean=held(), running_whitening=held((1, 3, 3)), training=training),
        ):
            assert y.dtype == dtype


# --- copies -----------------------------------------------------------------------------------------------

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("how", COPIES)
@EACH
def test_a_copy_of_a_layer_has_its_state_mode_and_frozen_parameters(name, how):
    layer = ROWS[name][0]()
    first(layer(*inputs(name)))
    layer.eval()
    for i, parameter in enumerate(layer.parameters()):
        parameter.requires_grad_(i % 2 == 1)
        parameter.grad = mt.zeros(parameter.shape)
    other = COPIES[how](layer)
    assert repr(other) == repr(layer)
    assert [module.training for module in other.modules()] == [module.training for module in layer.modules()]
    assert [(key, p.name, p.requires_grad, p.dtype, type(p)) for key, p in other.named_parameters()] == [
        (key, p.name, p.requires_grad, p.dtype, type(p)) for key, p in layer.named_parameters()
    ]
    # As PyTorch 2.13 does: a shallow copy holds the same parameters, the others have no gradient.
    assert [p.grad is None for p in other.parameters()] == [how != "copy" for _ in layer.parameters()]
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value)
    np.testing.assert_array_equal(first(other(*inputs(name))).numpy(), first(layer(*inputs(name))).numpy())
