"""Settings of layers and functions: results and gradients are those of PyTorch in float64 (golden values)."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn

with np.load(Path(__file__).parent.parent / "golden" / "options.npz") as archive:
    GOLDEN = {key: archive[key] for key in archive}
CASES = sorted({key.rpartition("/")[0] for key in GOLDEN})
INDICES = [[1, 0, 1], [4, 3, 4]]


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_those_of_pytorch(name):
    case = {key.rpartition("/")[2]: value for key, value in GOLDEN.items() if key.rpartition("/")[0] == name}
    inputs = {key: mt.tensor(case[key], requires_grad=True) for key in sorted(case) if key[0] == "x"}
    made = eval(name, {"nn": nn, "F": nn.functional, "i": INDICES, **inputs})
    leaves = dict(inputs)
    if isinstance(made, nn.Module):
        made.load_state_dict({key.removeprefix("state "): value for key, value in case.items() if key[:6] == "state "})
        leaves |= dict(made.named_parameters())
        made = made(*inputs.values())
    np.testing.assert_allclose(made.numpy(), case["y"], rtol=1e-11, atol=1e-13)
    made.backward(case["g"])
    for key, leaf in leaves.items():
        if f"d {key}" in case:
            np.testing.assert_allclose(leaf.grad.numpy(), case[f"d {key}"], rtol=1e-10, atol=1e-12, err_msg=key)
        else:
            assert leaf.grad is None
    assert {key[2:] for key in case if key.startswith("d ")} <= set(leaves)


@given(
    size=st.integers(1, 9), window=st.integers(1, 4), step=st.integers(1, 4), share=st.integers(0, 2), data=st.data()
)
def test_windows_of_ceil_mode_are_those_of_its_definition(size, window, step, share, data):
    padding = min(share, window // 2)
    # Otherwise not even the first window is one of ceil_mode.
    assume(window - (size + 2 * padding) < step)
    x = np.array(data.draw(st.permutations(range(1, size + 1))), dtype=float)[None, None]
    found = []
    start = -padding
    # As many windows as start inside the input or the padding before it, up to the one that reaches the end.
    while start < size and (start == -padding or start + window - step < size + padding):
        inside = x[0, 0, max(start, 0) : max(start + window, 0)]
        counted = min(start + window, size + padding) - start
        found.append((inside.max(initial=-np.inf), inside.sum() / counted, inside.mean() if inside.size else np.nan))
        start += step
    largest, mean, mean_inside = np.array(found).T
    options = {"stride": step, "padding": padding, "ceil_mode": True}
    np.testing.assert_array_equal(mt.max_pool(mt.tensor(x), window, **options).numpy()[0, 0], largest)
    np.testing.assert_allclose(mt.avg_pool(mt.tensor(x), window, **options).numpy()[0, 0], mean, rtol=1e-12)
    inner = mt.avg_pool(mt.tensor(x), window, **options, count_include_pad=False)
    np.testing.assert_allclose(inner.numpy()[0, 0], mean_inside, rtol=1e-12)


def test_the_settings_are_shown_and_checked():
    assert repr(nn.MaxPool2d(3, 2, ceil_mode=True)) == "MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)"
    assert repr(nn.AvgPool1d(3, ceil_mode=True)) == "AvgPool1d(kernel_size=3, ceil_mode=True)"
    assert repr(nn.BatchNorm1d(3, bias=False)) == "BatchNorm1d(3, bias=False)"
    assert repr(nn.GroupNorm(1, 3, bias=False)) == "GroupNorm(1, 3, bias=False)"
    assert repr(nn.InstanceNorm1d(3, affine=True, bias=False)) == "InstanceNorm1d(3, affine=True, bias=False)"
    told = nn.BatchNorm1d(3, bias=False).describe()
    assert "PyTorch  BatchNorm1d(3, eps=1e-05, momentum=0.1, bias=False): weight, running_mean" in told
    assert "center=False)" in told
    assert "use_bias=False)" in told
    for make in (
        lambda: nn.MaxPool1d(2, ceil_mode="no"),
        lambda: nn.BatchNorm1d(2, bias="no"),
        lambda: mt.max_pool(mt.ones((1, 1, 4)), 2, ceil_mode="no"),
    ):
        with pytest.raises(TypeError, match=r"(ceil_mode|bias) is 'no'; it must be True or False"):
            make()


def test_what_a_sample_or_a_batch_must_be_is_told():
    for layer, shape in ((nn.Conv2d(3, 4, 2), (5, 6)), (nn.MaxPool2d(2), (1, 2, 3, 4, 5)), (nn.Conv1d(3, 4, 2), (5,))):
        with pytest.raises(
            ValueError, match=rf"input of shape .* has {len(shape)} axes; it must be \(N, C, .* or \(C, "
        ):
            layer(mt.ones(shape))
    with pytest.raises(ValueError, match=r"Conv2d\(3, 4, .*\): input has 5 channels \(axis 0 of shape \(5, 6, 6\)\)"):
        nn.Conv2d(3, 4, 2)(mt.ones((5, 6, 6)))
    with pytest.raises(ValueError, match=r"does not fit into \(2, 2\), .* of an input of shape \(3, 2, 2\)"):
        nn.MaxPool2d(3)(mt.ones((3, 2, 2)))
    with pytest.raises(ValueError, match=r"conv2d: input has 5 channels \(axis 0 of shape \(5, 6, 6\)\)"):
        mt.conv2d(mt.ones((5, 6, 6)), mt.ones((4, 3, 2, 2)))
    with pytest.raises(ValueError, match="linear: input of shape"):
        nn.functional.linear(mt.ones((2, 3)), mt.ones((3, 2)))
    with pytest.raises(IndexError, match="embedding: padding_idx 5 is out of range of 5 rows"):
        nn.functional.embedding([0], mt.ones((5, 2)), 5)
    with pytest.raises(ValueError, match="softplus: beta is 0"):
        nn.functional.softplus(mt.ones(2), 0)


# --- states -----------------------------------------------------------------------------------------------


def test_a_state_without_the_count_of_batches_is_loaded():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model(mt.random.normal((4, 2)))
    state = {key: value + 1 for key, value in model.state_dict().items() if "num_batches" not in key}
    loaded = model.load_state_dict(state)
    assert (loaded.missing_keys, loaded.unexpected_keys, repr(loaded)) == ([], [], "<All keys matched successfully>")
    assert model[1].num_batches_tracked.item() == 1
    for key, value in state.items():
        np.testing.assert_array_equal(model.state_dict()[key], value)


def test_keys_that_fit_are_loaded_when_it_is_not_strict():
    model = nn.Linear(2, 3)
    bias = model.bias.numpy().copy()
    loaded = model.load_state_dict({"weight": np.ones((3, 2)), "head.weight": np.ones(2)}, strict=False)
    missing, unexpected = loaded
    assert (missing, unexpected) == (["bias"], ["head.weight"])
    assert repr(loaded) == "LoadedKeys(missing_keys=['bias'], unexpected_keys=['head.weight'])"
    np.testing.assert_array_equal(model.weight.numpy(), 1.0)
    np.testing.assert_array_equal(model.bias.numpy(), bias)
    with pytest.raises(ValueError, match="nothing was loaded: missing bias; unexpected other"):
        model.load_state_dict({"weight": np.zeros((3, 2)), "other": 1.0})
    with pytest.raises(ValueError, match=r"nothing was loaded: weight has shape \(2, 2\)"):
        model.load_state_dict({"weight": np.zeros((2, 2))}, strict=False)
    np.testing.assert_array_equal(model.weight.numpy(), 1.0)
    with pytest.raises(TypeError, match="strict is 'no'"):
        model.load_state_dict({}, strict="no")
