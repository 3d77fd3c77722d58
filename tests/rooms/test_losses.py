"""Losses: PyTorch's values and gradients, extreme inputs, dtypes, modules, and what they refuse."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import losses
from microtensor.nn import loss as modules
from tests.places import stored

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


# --- NaN, and 0 · ∞ ---------------------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "none")
CLASSES = ("cross_entropy", "nll_loss")
SIGNS = ("hinge_loss", "hinge_embedding_loss")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_in_the_input_is_not_hidden(name, reduction, dtype):
    targets = [target_for(name)] if name not in SIGNS else [np.ones((3, 4)), -np.ones((3, 4))]
    if name == "cross_entropy":
        targets.append(np.full((3, 4), 0.25))
    for target in targets:
        for column in range(4):
            values = np.full((3, 4), 0.5, dtype)
            values[1, column] = np.nan
            y = FUNCTIONS[name](mt.tensor(values), target, reduction=reduction).numpy()
            # Nobody asks for the log-probability of a class that is not the target's.
            seen = name != "nll_loss" or target[1] == column
            assert np.isnan(y).any() == seen
            assert reduction != "none" or np.isnan(y).sum() == seen


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"nll_loss", *SIGNS}))
def test_nan_in_a_target_is_not_hidden(name, reduction):
    target = np.full((3, 4), 0.25)
    target[1, 2] = np.nan
    for one in (target, mt.tensor(target)):
        y = FUNCTIONS[name](mt.sigmoid(draw(3, 4)), one, reduction=reduction).numpy()
        assert np.isnan(y).any()
        assert reduction != "none" or np.isnan(y).sum() == 1


@pytest.mark.parametrize(
    "name", ["cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_nan_in_a_weight_is_not_hidden(name):
    y = FUNCTIONS[name](mt.sigmoid(draw(3, 4)), target_for(name), weight=[np.nan] * 4)
    assert np.isnan(y.item())
    if name.endswith("logits"):
        assert np.isnan(FUNCTIONS[name](draw(3, 4), target_for(name), pos_weight=[np.nan]).item())


def test_an_uncertain_probability_is_nan_beside_certain_ones():
    x = mt.tensor([np.nan, 0.0, 1.0, 0.5], requires_grad=True)
    y = losses.binary_cross_entropy(x, [1.0, 0.0, 0.0, 1.0], reduction="none")
    np.testing.assert_array_equal(y.numpy(), [np.nan, 0.0, 100.0, np.log(2)])
    y.backward(np.ones(4))
    assert np.isnan(x.grad.numpy()).tolist() == [True, False, False, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("log_target", [False, True])
def test_an_impossible_class_adds_nothing_to_the_divergence(log_target, dtype):
    logp = mt.tensor(np.array([[np.log(0.25), np.log(0.75), -np.inf]], dtype), requires_grad=True)
    p = np.array([[0.5, 0.5, 0.0]], dtype)
    with np.errstate(divide="ignore"):
        target = mt.tensor(np.log(p) if log_target else p, requires_grad=True)
    y = losses.kl_div(logp, target, reduction="none", log_target=log_target)
    np.testing.assert_allclose(y.numpy(), [[0.5 * np.log(2.0), 0.5 * np.log(0.5 / 0.75), 0.0]], rtol=1e-6)
    y.backward(np.ones((1, 3), dtype))
    np.testing.assert_allclose(logp.grad.numpy(), [[-0.5, -0.5, 0.0]], rtol=1e-6)
    assert np.isfinite(target.grad.numpy()).all()
    assert losses.kl_div(mt.tensor([-np.inf]), [0.5]).item() == np.inf
    assert np.isnan(losses.kl_div(mt.tensor([np.nan]), [0.0]).item())


def test_the_gradient_of_a_target_of_0_is_minus_the_input():
    target = mt.tensor([0.0, 0.5], requires_grad=True)
    losses.kl_div(mt.tensor([-2.0, -2.0]), target, reduction="sum").backward()
    np.testing.assert_allclose(target.grad.numpy(), [2.0, 2.0 + 1 + np.log(0.5)])


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.0]])
def test_a_masked_class_of_probability_0_adds_nothing_to_the_cross_entropy(weight):
    x = mt.tensor([[0.2, 0.5, -np.inf]], requires_grad=True)
    y = losses.cross_entropy(x, [[0.5, 0.5, 0.0]], weight)
    two = losses.cross_entropy(mt.tensor([[0.2, 0.5]]), [[0.5, 0.5]], weight and weight[:2])
    np.testing.assert_allclose(y.item(), two.item(), rtol=1e-14)
    y.backward()
    assert x.grad.numpy()[0, 2] == 0.0
    assert np.isfinite(x.grad.numpy()).all()


def test_a_logit_of_infinity_on_the_right_side_costs_nothing():
    x = mt.tensor([np.inf, -np.inf, np.inf], requires_grad=True)
    y = losses.binary_cross_entropy_with_logits(x, [1.0, 0.0, 0.0], reduction="none")
    np.testing.assert_array_equal(y.numpy(), [0.0, 0.0, np.inf])
    y.backward(np.ones(3))
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0, 1.0])


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
    with pytest.raises(TypeError, match=rf"^{name}: input is of type list; .*mt\.tensor"):
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
    with pytest.raises(ValueError, match=rf"{name}: weight has shape \(3,\); it must be \(4,\), one for each class"):
        loss(draw(3, 4), [0, 1, 2], weight=[1.0, 1.0, 1.0])


def test_unfit_probabilities_are_named():
    with pytest.raises(ValueError, match=r"cross_entropy: input of shape \(3, 4\) needs probabilities of shape"):
        losses.cross_entropy(draw(3, 4), np.ones((3, 5)))
    for bad in (1.5, -0.1):
        with pytest.raises(ValueError, match=r"input is outside \[0, 1\]; give logits to .*_with_logits"):
            losses.binary_cross_entropy(mt.tensor([0.5, bad]), [1.0, 1.0])
    with pytest.raises(ValueError, match=r"kl_div: the target holds negative values; .*log_target=True"):
        losses.kl_div(draw(2), np.log([0.5, 0.5]))
    with pytest.raises(ValueError, match="it must have a batch axis"):
        losses.kl_div(mt.tensor(0.5), 0.5, reduction="batchmean")


WITH_WEIGHT = ["cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"]


@pytest.mark.parametrize("as_target", [np.array, mt.tensor, list])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("bad", [2.0, -1.0, 1.0001, -1e-3, np.inf, -np.inf, 2, -1])
def test_targets_that_are_no_probability_are_named(name, bad, as_target):
    for reduction in REDUCTIONS:
        with pytest.raises(ValueError, match=rf"^{name}: a value of the target is outside \[0, 1\]"):
            FUNCTIONS[name](mt.tensor([0.5, 0.5]), as_target([1, bad]), reduction=reduction)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ([[0.9, -0.2, 0.3]], "the target holds a negative probability"),
        ([[-np.inf, np.inf, 1.0]], "the target holds a negative probability"),
        ([[1.0, 1.0, 0.0]], "target probabilities sum to 2 over axis 1; it must be 1"),
        ([[0.0, 0.0, 0.0]], "target probabilities sum to 0"),
        ([[0.5, 0.45, 0.0]], r"target probabilities sum to 0\.95"),
        ([[np.inf, 0.0, 0.0]], "target probabilities sum to inf"),
    ],
)
def test_targets_that_are_no_distribution_are_named(target, said):
    for one, x in ((target, draw(1, 3)), (target[0], draw(3)), (np.float16(target), draw(1, 3))):
        with pytest.raises(ValueError, match=rf"^cross_entropy: {said}".replace("axis 1", "axis [01]")):
            losses.cross_entropy(x, one)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounded_distributions_are_taken(dtype):
    for classes in (3, 1_000, 20_000):
        losses.cross_entropy(draw(2, classes), np.full((2, classes), 1 / classes, dtype))
    losses.cross_entropy(draw(1, 3), np.array([[0.33, 0.33, 0.33]], dtype))


@pytest.mark.parametrize("ignore_index", [-100, 1])
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
@pytest.mark.parametrize("name", CLASSES)
def test_classes_out_of_range_are_named(name, dtype, ignore_index):
    for bad in (3, 100, -1, -101):
        if np.iinfo(dtype).min <= bad:
            for x, target in ((draw(2, 3), [0, bad]), (draw(3), bad), (draw(1, 3, 2), [[0, bad]])):
                with pytest.raises(IndexError, match=f"^{name}: .*index {bad} is out of range for axis . with size 3"):
                    FUNCTIONS[name](x, np.array(target, dtype), ignore_index=ignore_index)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("bad", [[0.0, 1.0], [np.nan, 1.0], [True, False], [None, 1], ["0", "1"], [0j, 1j]])
def test_classes_that_are_no_integers_are_named(name, bad):
    with pytest.raises(TypeError, match=f"^{name}: target has dtype"):
        FUNCTIONS[name](draw(2, 3), bad)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("bad", [None, 1.5, "1", True, np.array([1, 2]), np.nan])
def test_an_ignored_class_is_an_integer(name, bad):
    with pytest.raises(TypeError, match=f"^{name}: ignore_index is .*; it must be an integer"):
        FUNCTIONS[name](draw(3, 4), target_for(name), ignore_index=bad)
    with pytest.raises(TypeError, match=f"^{MODULES[name].__name__}: ignore_index is"):
        MODULES[name](ignore_index=bad)
    assert FUNCTIONS[name](draw(2, 3), [0, 1], ignore_index=np.int64(1)).item() > -2


@pytest.mark.parametrize(
    ("name", "key"), [*((name, "weight") for name in WITH_WEIGHT), ("binary_cross_entropy_with_logits", "pos_weight")]
)
def test_unfit_weights_are_named(name, key):
    x, target = mt.sigmoid(draw(3, 4)), target_for(name)
    for negative in ([1.0, 1.0, -1.0, 1.0], [-np.inf] * 4, mt.tensor([-1e-9] * 4)):
        with pytest.raises(ValueError, match=f"^{name}: {key} holds a negative weight"):
            FUNCTIONS[name](x, target, **{key: negative})
        with pytest.raises(ValueError, match=f"^{MODULES[name].__name__}: {key} holds a negative weight"):
            MODULES[name](**{key: negative})
    for shape in ((3,), (2, 3, 4), (1, 1, 1), (5,), (2, 1)):
        with pytest.raises(ValueError, match=rf"^{name}: {key} (has|of) shape \({shape[0]},"):
            FUNCTIONS[name](x, target, **{key: np.ones(shape)})
    with pytest.raises(TypeError, match=f"^{name}: {key} has dtype"):
        FUNCTIONS[name](x, target, **{key: ["much"] * 4})


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (1, 4), (3, 4)])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_weights_of_elements_broadcast_to_the_input(name, shape):
    x, target = mt.sigmoid(draw(3, 4)), target_for(name)
    y = FUNCTIONS[name](x, target, weight=np.full(shape, 2.0), reduction="none")
    np.testing.assert_allclose(y.numpy(), 2 * FUNCTIONS[name](x, target, reduction="none").numpy(), rtol=1e-14)


@pytest.mark.parametrize("name", ["hinge_loss", "hinge_embedding_loss"])
def test_labels_other_than_signs_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: target holds 0; .*1 or −1"):
        FUNCTIONS[name](draw(3), [1, 0, -1])
    for bad in (np.nan, 0.5, np.inf):
        with pytest.raises(ValueError, match=f"{name}: target holds {bad}; .*1 or −1"):
            FUNCTIONS[name](draw(2), [1.0, bad])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smooth_l1_loss", {"beta": -0.1}, "beta is -0.1"),
        ("huber_loss", {"delta": 0}, "delta is 0"),
        ("huber_loss", {"delta": np.nan}, "delta is nan"),
        ("cross_entropy", {"label_smoothing": 1.5}, "label_smoothing is 1.5; it must be a finite number from 0 to 1"),
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
