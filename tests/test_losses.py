"""Losses: PyTorch's values and gradients, extreme inputs, dtypes, modules, and what they refuse."""

import json

import numpy as np
import pytest
from conftest import stored
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import losses
from microtensor.nn import loss as modules

CALLS = json.loads(str(stored("training")["calls/json"]))
CASES = {case: call for case, call in CALLS.items() if case.startswith("loss ")}
MODULES = {
    "mse_loss": modules.MSELoss,
    "l1_loss": modules.L1Loss,
    "smooth_l1_loss": modules.SmoothL1Loss,
    "huber_loss": modules.HuberLoss,
    "cross_entropy": modules.CrossEntropyLoss,
    "nll_loss": modules.NLLLoss,
    "binary_cross_entropy": modules.BCELoss,
    "binary_cross_entropy_with_logits": modules.BCEWithLogitsLoss,
    "kl_div": modules.KLDivLoss,
    "hinge_embedding_loss": modules.HingeEmbeddingLoss,
}
FUNCTIONS = {name: getattr(losses, name) for name in [*MODULES, "hinge_loss"]}


def draw(*shape, seed=0, dtype=np.float64):
    return mt.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype, requires_grad=True)


def target_for(name, shape=(3, 4)):
    rng = np.random.default_rng(1)
    if name in ("cross_entropy", "nll_loss"):
        return rng.integers(0, shape[1], size=shape[:1])
    if name.startswith("hinge"):
        return rng.choice([-1, 1], size=shape)
    return rng.uniform(0.1, 0.9, size=shape)


# --- PyTorch's numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(golden, case):
    (name, options), data = CASES[case], golden(case, file="training")
    leaves = {key: mt.tensor(data[key], requires_grad=True) for key in ("input", "target") if f"d_{key}" in data}
    y = FUNCTIONS[name](leaves["input"], leaves.get("target", data["target"]), **options)
    np.testing.assert_allclose(y.numpy(), data["y"], rtol=1e-12, atol=1e-14)
    assert y.name == "loss"
    y.backward(data["g"])
    for key, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad.numpy(), data[f"d_{key}"], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_modules_are_their_functions(golden, case):
    (name, options), data = CASES[case], golden(case, file="training")
    layer = MODULES[name](**options)
    y = layer(mt.tensor(data["input"]), data["target"])
    np.testing.assert_allclose(y.numpy(), data["y"], rtol=1e-12, atol=1e-14)
    assert list(layer.parameters()) == []
    assert set(layer.state_dict()) == {key for key in options if "weight" in key}


# --- derivatives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_to_second_order(name, reduction):
    x = draw(3, 4)
    target = target_for(name)

    def loss(x):
        x = mt.sigmoid(x) if name == "binary_cross_entropy" else x
        return FUNCTIONS[name](x, target, reduction=reduction)

    assert mt.gradcheck(loss, x, order=2)


def test_derivatives_with_weights_smoothing_and_ignored_targets():
    x = draw(3, 4, 2)
    weight = mt.tensor([0.5, 2.0, 1.0, 0.25])
    target = np.array([[0, -100], [3, 1], [-100, 2]])
    loss = lambda x: losses.cross_entropy(x, target, weight, label_smoothing=0.2)  # noqa: E731
    assert mt.gradcheck(loss, x, order=2)


def test_the_bend_of_huber_is_right_at_0_too():
    x = mt.tensor([0.0, 0.5, 3.0], requires_grad=True)
    loss = lambda x: losses.huber_loss(x, np.zeros(3), reduction="sum")  # noqa: E731
    np.testing.assert_array_equal(np.diag(mt.hessian(loss, x).numpy()), [1.0, 1.0, 0.0])


# --- extremes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("name", set(FUNCTIONS) - {"binary_cross_entropy"})
def test_extreme_inputs_give_finite_values_and_gradients(name, size, dtype):
    x = mt.tensor(np.array([[size, 0.0, -size], [0.0, size, size]], dtype), requires_grad=True)
    y = FUNCTIONS[name](x, target_for(name, (2, 3)))
    y.backward()
    assert np.isfinite(y.item())
    assert np.isfinite(x.grad.numpy()).all()


@given(st.floats(-1e4, 1e4), st.sampled_from([0.0, 1.0]))
def test_the_tail_of_the_binary_loss_keeps_its_digits(logit, target):
    loss = losses.binary_cross_entropy_with_logits(mt.tensor([logit]), [target]).item()
    wrong = logit if target == 0 else -logit
    expected = np.log1p(np.exp(wrong)) if wrong < 0 else wrong + np.log1p(np.exp(-wrong))
    np.testing.assert_allclose(loss, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_certain_probabilities_count_100_and_pass_no_gradient(dtype):
    x = mt.tensor(np.array([0.0, 1.0, 0.0, 1.0], dtype), requires_grad=True)
    y = losses.binary_cross_entropy(x, np.array([0, 0, 1, 1], dtype), reduction="none")
    np.testing.assert_array_equal(y.numpy(), [0.0, 100.0, 100.0, 0.0])
    y.backward(np.ones(4, dtype))
    assert np.isfinite(x.grad.numpy()).all()


def test_the_divergence_from_itself_is_0_also_where_the_target_is():
    p = np.array([[0.25, 0.75, 0.0]])
    logp = mt.tensor([[np.log(0.25), np.log(0.75), -700.0]])
    assert losses.kl_div(logp, p, reduction="batchmean").item() == 0.0


# --- dtypes, kinds of targets, reductions ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_float32_stays_float32(name, reduction):
    x = mt.sigmoid(draw(3, 4, dtype=np.float32))
    target = target_for(name)
    target = target.astype(np.float32) if target.dtype.kind == "f" or name.startswith("hinge") else target
    y = FUNCTIONS[name](x, target, reduction=reduction)
    assert y.dtype == np.float32


@pytest.mark.parametrize("options", [{"ignore_index": 1}, {"weight": np.ones(4, np.float32)}, {"label_smoothing": 0.1}])
def test_options_of_cross_entropy_keep_float32(options):
    assert losses.cross_entropy(draw(3, 4, dtype=np.float32), [0, 1, 2], **options).dtype == np.float32


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.floats(0.0, 1.0))
def test_class_indices_are_the_probabilities_0_and_1(indices, smoothing):
    x = draw(len(indices), 4)
    by_index = losses.cross_entropy(x, indices, label_smoothing=smoothing)
    by_probability = losses.cross_entropy(x, np.eye(4)[indices], label_smoothing=smoothing)
    np.testing.assert_allclose(by_index.numpy(), by_probability.numpy(), rtol=1e-12)


def test_targets_may_be_tensors_arrays_and_lists():
    x = draw(2, 3)
    for make in (list, np.array, mt.tensor):
        assert losses.cross_entropy(x, make([0, 2])).item() == losses.nll_loss(mt.log_softmax(x), make([0, 2])).item()
        assert losses.mse_loss(mt.tensor([1.0, 2.0]), make([1.0, 4.0])).item() == 2.0


def test_hinge_loss_is_its_formula():
    x = draw(20)
    t = np.where(np.arange(20) % 3, 1, -1)
    np.testing.assert_allclose(losses.hinge_loss(x, t).item(), np.maximum(0, 1 - t * x.numpy()).mean())


def test_all_ignored_has_a_sum_and_no_mean():
    x = draw(2, 3)
    assert losses.cross_entropy(x, [-100, -100], reduction="sum").item() == 0.0
    with pytest.raises(ValueError, match="cross_entropy: every target is ignore_index -100"):
        losses.cross_entropy(x, [-100, -100])


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_reduction_shape_or_dtype_is_named(name):
    x = mt.sigmoid(draw(3, 4))
    target = target_for(name)
    with pytest.raises(ValueError, match=f"^{name}: reduction 'avg' is not 'mean', "):
        FUNCTIONS[name](x, target, reduction="avg")
    with pytest.raises(ValueError, match=rf"^{name}: input of shape \(3, 4\).* \(2,"):
        FUNCTIONS[name](x, target[:2])
    with pytest.raises(TypeError, match=f"^{name}: input has dtype int64"):
        FUNCTIONS[name](mt.ones((3, 4), dtype=int), target)
    with pytest.raises(TypeError, match=f"^{name}: input is of type list; make a tensor"):
        FUNCTIONS[name](x.numpy().tolist(), target)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_unfit_classes_are_named(name):
    loss = FUNCTIONS[name]
    with pytest.raises(IndexError, match="index 4 is out of range for axis 1 with size 4"):
        loss(draw(3, 4), [0, 4, 1])
    with pytest.raises(IndexError, match="index -1 is out of range"):
        loss(draw(3, 4), [0, -1, 1])
    with pytest.raises(TypeError, match=f"{name}: target has dtype float64"):
        loss(draw(3, 4), [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=rf"{name}: input has shape \(\)"):
        loss(mt.tensor(1.0), 0)
    with pytest.raises(ValueError, match=rf"{name}: input of shape \(3, 4\) needs class indices of shape \(3,\)"):
        loss(draw(3, 4), [0, 1])
    with pytest.raises(ValueError, match=rf"{name}: weight has shape \(3,\); one for each of 4 classes"):
        loss(draw(3, 4), [0, 1, 2], weight=[1.0, 1.0, 1.0])


def test_unfit_probabilities_are_named():
    with pytest.raises(ValueError, match=r"cross_entropy: input of shape \(3, 4\) needs probabilities of shape"):
        losses.cross_entropy(draw(3, 4), np.ones((3, 5)))
    for bad in (1.5, -0.1):
        with pytest.raises(ValueError, match=r"the input leaves \[0, 1\]; give logits to binary_cross_entropy_with"):
            losses.binary_cross_entropy(mt.tensor([0.5, bad]), [1.0, 1.0])
    with pytest.raises(ValueError, match="kl_div: the target holds negative values; for logarithms say log_target"):
        losses.kl_div(draw(2), np.log([0.5, 0.5]))
    with pytest.raises(ValueError, match="'batchmean' needs a batch"):
        losses.kl_div(mt.tensor(0.5), 0.5, reduction="batchmean")


@pytest.mark.parametrize("name", ["hinge_loss", "hinge_embedding_loss"])
def test_labels_other_than_signs_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: target holds 0; labels are 1 or −1"):
        FUNCTIONS[name](draw(3), [1, 0, -1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smooth_l1_loss", {"beta": -0.1}, "beta is -0.1"),
        ("huber_loss", {"delta": 0}, "delta is 0"),
        ("huber_loss", {"delta": np.nan}, "delta is nan"),
        ("cross_entropy", {"label_smoothing": 1.5}, "label_smoothing is 1.5; a number from 0.0 to 1.0"),
        ("cross_entropy", {"label_smoothing": "0"}, "label_smoothing is '0'"),
        ("hinge_embedding_loss", {"margin": np.inf}, "margin is inf"),
        ("kl_div", {"reduction": "avg"}, "reduction 'avg' is not 'mean', 'batchmean', 'sum' or 'none'"),
    ],
)
def test_settings_out_of_range_are_refused_when_called_and_when_made(name, options, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        FUNCTIONS[name](draw(3, 4), target_for(name), **options)
    with pytest.raises(ValueError, match=f"{MODULES[name].__name__}: {message}"):
        MODULES[name](**options)


def test_representations_show_the_settings():
    assert repr(modules.MSELoss(reduction="sum")) == "MSELoss(reduction='sum')"
    expected = "CrossEntropyLoss(ignore_index=-100, label_smoothing=0.1, reduction='mean')"
    assert repr(modules.CrossEntropyLoss(label_smoothing=0.1)) == expected


def test_weights_are_state_and_are_loaded():
    layer = modules.CrossEntropyLoss([1.0, 2.0])
    layer.load_state_dict({"weight": [3.0, 4.0]})
    assert layer.weight.numpy().tolist() == [3.0, 4.0]
    assert modules.BCEWithLogitsLoss(pos_weight=mt.tensor([2.0])).state_dict()["pos_weight"].tolist() == [2.0]
