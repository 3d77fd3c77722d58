"""Modules: attributes, walks, state and representation; layers against PyTorch's stored results."""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, norms


def draw(*shape, seed=0):
    return mt.tensor(np.random.default_rng(seed).normal(1.0, 2.0, size=shape))


class Scale(nn.Module):
    """One parameter, one buffer, one plain attribute."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = nn.Parameter([factor])
        self.register_buffer("count", mt.tensor(0))
        self.note = "plain"

    def forward(self, x):
        return x * self.factor


def network():
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2, rng=1)))


def state_of(module):
    return {key: value.tolist() for key, value in module.state_dict().items()}


# --- functions and layers against PyTorch -----------------------------------------------------------------

FUNCTIONS = {
    **{
        f"batch_norm {n}": lambda x, weight, bias: norms.batch_norm(x, weight=weight, bias=bias, training=True)
        for n in (2, 3, 4)
    },
    **{f"layer_norm {n}": lambda x, weight, bias: norms.layer_norm(x, weight.shape, weight, bias) for n in (1, 2)},
    "instance_norm": lambda x, weight, bias: norms.instance_norm(x, weight=weight, bias=bias),
    **{f"group_norm {n}": lambda x, weight, bias, n=n: norms.group_norm(x, n, weight, bias) for n in (1, 2, 4)},
    "rms_norm": lambda x, weight: norms.rms_norm(x, weight.shape, weight),
    "linear": lambda **a: a["input"] @ a["weight"].mT + a["bias"],
    **{f"mse_loss {r}": lambda x, target, r=r: mt.mse_loss(x, target, reduction=r) for r in ("mean", "sum", "none")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_pytorchs(golden, name):
    case = golden(name)
    inputs = {key: mt.tensor(value, requires_grad=True) for key, value in case.items() if f"d_{key}" in case}
    y = FUNCTIONS[name](**inputs)
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-12, atol=1e-13)
    y.backward(case["g"])
    for key, leaf in inputs.items():
        np.testing.assert_allclose(leaf.grad.numpy(), case[f"d_{key}"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_pytorchs(golden, reduction):
    case = golden(f"cross_entropy {reduction}")
    logits = mt.tensor(case["logits"], requires_grad=True)
    y = mt.cross_entropy(logits, case["target"], reduction=reduction)
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-12)
    y.backward(case["g"])
    np.testing.assert_allclose(logits.grad.numpy(), case["d_logits"], rtol=1e-12, atol=1e-14)


def test_batch_norm_through_training_and_prediction_is_pytorchs(golden):
    bn = nn.BatchNorm1d(3)
    start = golden("sequence")
    bn.weight.data, bn.bias.data = start["weight"], start["bias"]
    for step in range(4):
        case = golden(f"sequence {step}")
        bn.train(bool(case["training"]))
        bn.zero_grad()
        x = mt.tensor(case["x"], requires_grad=True)
        y = bn(x)
        y.backward(case["g"])
        found = {"y": y, "d_x": x.grad, "d_weight": bn.weight.grad, "d_bias": bn.bias.grad, **dict(bn.named_buffers())}
        for key, value in found.items():
            np.testing.assert_allclose(value.numpy(), case[key], rtol=1e-12, atol=1e-12, err_msg=f"{key} {step}")
        assert bn.num_batches_tracked.dtype == case["num_batches_tracked"].dtype


def test_the_layers_call_the_functions(golden):
    case = golden("layer_norm 2")
    layer = nn.LayerNorm((4, 5))
    layer.load_state_dict({"weight": case["weight"], "bias": case["bias"]})
    np.testing.assert_allclose(layer(mt.tensor(case["x"])).numpy(), case["y"], rtol=1e-12, atol=1e-13)
    case = golden("linear")
    linear = nn.Linear(3, 5)
    linear.load_state_dict({"weight": case["weight"], "bias": case["bias"]})
    np.testing.assert_allclose(linear(mt.tensor(case["input"])).numpy(), case["y"], rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.Tanh(), np.tanh),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_activations(layer, reference):
    x = draw(3, 4)
    np.testing.assert_allclose(layer(x).numpy(), reference(x.numpy()), rtol=1e-14)
    assert list(layer.parameters()) == []
    assert mt.gradcheck(layer, mt.tensor(x, requires_grad=True))


# --- attributes -------------------------------------------------------------------------------------------


def test_parameters_buffers_and_modules_are_sorted_by_kind():
    net = Scale()
    net.child = nn.ReLU()
    assert dict(net.named_parameters()) == {"factor": net.factor}
    assert dict(net.named_buffers()) == {"count": net.count}
    assert list(net.children()) == [net.child]
    assert net.note == "plain"
    assert {"factor", "count", "child", "note"} <= set(dir(net))
    assert net.factor.name == "factor"
    assert net.count.name == "count"


def test_a_parameter_requires_a_gradient_and_takes_the_default_dtype():
    assert nn.Parameter([1, 2]).requires_grad
    assert nn.Parameter([1, 2]).dtype == np.float64
    assert nn.Parameter(np.ones(2, np.float32)).dtype == np.float32
    mt.set_default_dtype("float32")
    try:
        assert nn.Parameter([1, 2]).dtype == np.float32
        assert {p.dtype for p in network().parameters()} == {np.dtype(np.float32)}
        bn = nn.BatchNorm1d(2)
        assert bn.running_mean.dtype == np.float32
    finally:
        mt.set_default_dtype("float64")


def test_assignment_replaces_what_had_the_name():
    net = Scale()
    net.factor = nn.ReLU()
    assert list(net.parameters()) == []
    net.factor = nn.Parameter([1.0])
    assert list(net.children()) == []
    net.factor = None
    assert net.factor is None
    assert list(net.parameters()) == []
    net.count = None
    assert dict(net.named_buffers()) == {}
    net.count = mt.tensor(5)
    assert net.state_dict()["count"] == 5
    del net.note
    del net.count
    for name in ("note", "count"):
        with pytest.raises(AttributeError, match=f"Scale has no attribute '{name}'|'Scale' object has no attribute"):
            getattr(net, name)
    with pytest.raises(AttributeError):
        del net.note


def test_a_buffer_takes_tensors_only():
    with pytest.raises(TypeError, match="buffer count takes a tensor or None, not int"):
        Scale().count = 3


def test_forgetting_the_base_constructor_is_told():
    class Forgetful(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter([1.0])

    with pytest.raises(AttributeError, match=r"Forgetful.__init__ must call super\(\).__init__\(\)"):
        Forgetful()


def test_forgetting_forward_is_told():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines no forward"):
        Empty()(1)


# --- walks ------------------------------------------------------------------------------------------------


def test_walks_give_dotted_names_in_order():
    net = network()
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2", "3", "3.0"]
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "3.0.weight", "3.0.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_buffers()] == [
        f"1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")
    ]
    assert list(net.modules())[1] is net[0]


def test_what_is_shared_is_walked_once_and_trains_as_one():
    shared = Scale()
    net = nn.Sequential(shared, shared)
    assert len(list(net.parameters())) == 1
    assert len(list(net.modules())) == 2
    net(mt.tensor([3.0])).backward()
    assert shared.factor.grad.item() == 12.0
    tied = Scale()
    tied.again = tied.factor
    assert [name for name, _ in tied.named_parameters()] == ["factor"]


def test_modes_reach_everything_within_and_return_the_module():
    net = network()
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net
    assert all(m.training for m in net.modules())
    net[1].eval()
    assert net.training
    assert not net[1].training


def test_zero_grad_clears_every_parameter():
    net = network()
    mt.sum(net(draw(5, 3))).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_operations_stand_in_the_scope_of_their_module():
    y = network()(draw(5, 3))
    assert y.node.scope.path == "model.3.0"


# --- state ------------------------------------------------------------------------------------------------


def test_state_has_pytorchs_keys_and_is_a_copy():
    net = network()
    state = net.state_dict()
    statistics = ["running_mean", "running_var", "num_batches_tracked"]
    assert list(state) == [
        "0.weight",
        "0.bias",
        *(f"1.{n}" for n in ("weight", "bias", *statistics)),
        "3.0.weight",
        "3.0.bias",
    ]
    state["0.weight"][:] = 7
    assert not (net.state_dict()["0.weight"] == 7).any()


def test_state_moves_a_network_into_another():
    first, second = network(), network()
    for _ in range(3):
        first(draw(5, 3))
    first[0].weight.data = np.ones((4, 3))
    second.load_state_dict(first.state_dict())
    assert state_of(second) == state_of(first)
    np.testing.assert_array_equal(second.eval()(draw(5, 3)).numpy(), first.eval()(draw(5, 3)).numpy())
    assert all(p.requires_grad for p in second.parameters())


def test_state_may_hold_tensors_and_lists_and_keeps_the_dtype():
    net = Scale()
    net.load_state_dict({"factor": mt.tensor([3.0]), "count": 4})
    assert (net.factor.item(), net.count.item()) == (3.0, 4)
    net.load_state_dict({"factor": np.array([2.5], np.float32), "count": np.int32(1)})
    assert (net.factor.dtype, net.count.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("factor"), "missing factor"),
        (lambda s: s.update(extra=1.0), "unexpected extra"),
        (lambda s: s.update(factor=np.ones((2, 2))), r"factor has shape \(2, 2\); it must be \(1,\)"),
        (lambda s: s.update(factor=np.ones(1, complex)), "factor has dtype complex128"),
        (lambda s: s.update(factor=np.array(["a"])), "factor has dtype"),
        (lambda s: s.update(count=np.array(1.5)), "count has dtype float64; it must be int64"),
        (lambda s: s.update(factor=[[1.0], [2.0, 3.0]]), "factor"),
        (lambda s: s.update(factor=np.ma.masked_array([1.0], [True])), "factor"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_loaded(change, message):
    net = Scale()
    before = state_of(net)
    state = {"count": np.array(9), "factor": np.array([9.0])}
    change(state)
    with pytest.raises((ValueError, TypeError), match=message):
        net.load_state_dict(state)
    assert state_of(net) == before


def test_everything_that_does_not_fit_is_listed():
    with pytest.raises(ValueError, match=r"nothing was loaded: .*count has dtype.*missing factor.*unexpected extra"):
        Scale().load_state_dict({"extra": 1, "count": 0.5})


def test_a_graph_made_before_loading_is_stale():
    net = Scale()
    loss = net(mt.tensor([2.0]))
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="was changed after"):
        loss.backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_modules_copy_and_pickle(copied):
    net = network()
    net(draw(5, 3))
    other = copied(net)
    assert state_of(other) == state_of(net)
    assert not any(p is q for p, q in zip(net.parameters(), other.parameters(), strict=True))
    assert all(type(p) is nn.Parameter and p.requires_grad for p in other.parameters())
    assert not other[0].weight.numpy().flags.writeable
    before = state_of(net)
    other[0].weight.data = np.zeros((4, 3))
    assert state_of(net) == before


# --- representation ---------------------------------------------------------------------------------------


def test_representation_is_a_tree():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Sequential(nn.ReLU()))
    lines = [
        "Sequential(",
        "  (0): Linear(3, 4, bias=False)",
        "  (1): BatchNorm1d(4)",
        "  (2): Sequential(",
        "    (0): ReLU()",
        "  )",
        ")",
    ]
    assert repr(net) == "\n".join(lines)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Linear(2, 3), "Linear(2, 3)"),
        (
            nn.BatchNorm1d(4, eps=1e-3, momentum=0.5, affine=False),
            "BatchNorm1d(4, eps=0.001, momentum=0.5, affine=False)",
        ),
        (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d(4, track_running_stats=False)"),
        (nn.BatchNorm1d(4).eval(), "BatchNorm1d(4, eval)"),
        (nn.LayerNorm(5), "LayerNorm(5)"),
        (nn.LayerNorm((2, 3), eps=1e-3, bias=False), "LayerNorm((2, 3), eps=0.001, bias=False)"),
        (nn.LayerNorm(5, elementwise_affine=False), "LayerNorm(5, elementwise_affine=False)"),
        (nn.Sequential(), "Sequential()"),
    ],
)
def test_representation_shows_what_differs_from_the_defaults(module, text):
    assert repr(module) == text


# --- layers -----------------------------------------------------------------------------------------------


def test_linear_starts_uniform_within_the_root_of_its_inputs_and_is_reproducible():
    first, second = nn.Linear(100, 50, rng=3), nn.Linear(100, 50, rng=3)
    assert state_of(first) == state_of(second)
    weight = first.weight.numpy()
    assert weight.shape == (50, 100)
    assert 0.095 < np.abs(weight).max() <= 0.1
    assert abs(weight.mean()) < 0.005
    mt.manual_seed(5)
    third = state_of(nn.Linear(3, 2))
    mt.manual_seed(5)
    assert state_of(nn.Linear(3, 2)) == third


def test_linear_without_bias_and_with_leading_axes():
    linear = nn.Linear(3, 2, bias=False)
    assert linear.bias is None
    assert list(linear.state_dict()) == ["weight"]
    assert linear(draw(4, 5, 3)).shape == (4, 5, 2)
    assert linear(draw(3)).shape == (2,)


def test_linear_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="Linear: in_features is 0; it must be a positive integer"):
        nn.Linear(0, 2)
    with pytest.raises(ValueError, match=r"Linear\(3, 2\): input of shape \(4, 5\) must have 3 features"):
        nn.Linear(3, 2)(draw(4, 5))


def test_sequential_is_a_sequence_of_modules():
    parts = nn.Linear(3, 4), nn.ReLU()
    net = nn.Sequential(*parts)
    assert len(net) == 2
    assert list(net) == list(parts)
    assert net[-1] is parts[1]
    assert nn.Sequential()(5) == 5
    with pytest.raises(TypeError, match="Sequential: argument 1 is a function, not a module"):
        nn.Sequential(nn.ReLU(), lambda x: x)
    with pytest.raises(IndexError):
        net[2]


def test_batch_norm_uses_its_statistics_by_mode():
    bn = nn.BatchNorm1d(2)
    x = draw(6, 2)
    trained = bn(x).numpy()
    np.testing.assert_allclose(trained.mean(axis=0), 0.0, atol=1e-14)
    assert bn.num_batches_tracked.item() == 1
    mean, var = bn.running_mean.numpy(), bn.running_var.numpy()
    predicted = bn.eval()(x).numpy()
    np.testing.assert_allclose(predicted, (x.numpy() - mean) / np.sqrt(var + 1e-5), rtol=1e-13)
    assert bn.num_batches_tracked.item() == 1
    np.testing.assert_array_equal(bn(x[:1]).numpy(), predicted[:1])


def test_batch_norm_without_running_statistics_uses_the_batch_in_both_modes():
    bn = nn.BatchNorm1d(2, affine=False, track_running_stats=False)
    assert bn.state_dict() == {}
    np.testing.assert_array_equal(bn(draw(6, 2)).numpy(), bn.eval()(draw(6, 2)).numpy())


def test_batch_norm_under_no_grad_still_tracks():
    bn = nn.BatchNorm1d(2)
    with mt.no_grad():
        bn(draw(6, 2))
    assert bn.num_batches_tracked.item() == 1
    assert (bn.running_mean.numpy() != 0).all()


def test_a_batch_that_is_not_finite_leaves_the_whole_state():
    bn = nn.BatchNorm1d(2)
    bn(draw(6, 2))
    before = state_of(bn)
    with pytest.warns(RuntimeWarning, match="running statistics"):
        bn(mt.tensor([[np.nan, 1.0], [2.0, 3.0]]))
    assert state_of(bn) == before


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (draw(4, 5), ValueError, r"BatchNorm1d\(3\): input has 5 channels \(axis 1 of shape \(4, 5\)\)"),
        (draw(3), ValueError, r"BatchNorm1d\(3\): input of shape \(3,\) has 1 axes"),
        (draw(2, 3, 4, 5), ValueError, r"BatchNorm1d\(3\): input of shape .* has 4 axes"),
        (draw(1, 3), ValueError, r"1 value per channel.*eval\(\)"),
        (mt.ones((4, 3), dtype=int), TypeError, "dtype int64"),
    ],
)
def test_batch_norm_refuses_and_stays_as_it_was(x, error, message):
    bn = nn.BatchNorm1d(3)
    before = state_of(bn)
    with pytest.raises(error, match=message):
        bn(x)
    assert state_of(bn) == before


@pytest.mark.parametrize("eps", [0, -1.0, np.nan, np.inf, "1e-5", None, True])
@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm])
def test_norms_refuse_a_wrong_eps(make, eps):
    with pytest.raises(ValueError, match=rf"{make.__name__}: eps is .*positive finite"):
        make(3, eps=eps)


@pytest.mark.parametrize("momentum", [-0.1, 2.0, np.nan, "0.1", True])
def test_batch_norm_refuses_a_wrong_momentum(momentum):
    with pytest.raises(ValueError, match=r"BatchNorm1d: momentum is .*from 0 to 1"):
        nn.BatchNorm1d(3, momentum=momentum)


def test_norms_refuse_wrong_sizes():
    with pytest.raises(ValueError, match="BatchNorm1d: num_features is 0"):
        nn.BatchNorm1d(0)
    for shape in (0, (), (3, -1)):
        with pytest.raises(ValueError, match="LayerNorm: normalized_shape is"):
            nn.LayerNorm(shape)


def test_layer_norm_is_the_same_in_both_modes_and_has_no_memory():
    norm = nn.LayerNorm(4)
    assert list(norm.state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert nn.LayerNorm(4, elementwise_affine=False).state_dict() == {}
    x = draw(3, 4)
    np.testing.assert_array_equal(norm(x).numpy(), norm.eval()(x).numpy())
    with pytest.raises(
        ValueError, match=r"layer_norm: input of shape \(3, 5\) does not end in normalized_shape \(4,\)"
    ):
        norm(draw(3, 5))


def test_a_network_learns():
    net = network()
    x = draw(40, 3)
    target = (x.numpy()[:, 0] > 1).astype(int)
    optimiser = mt.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = mt.cross_entropy(net(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


# --- losses -----------------------------------------------------------------------------------------------


def test_losses_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"cross_entropy: input of shape \(3,\) needs class indices of shape \(\)"):
        mt.cross_entropy(draw(3), [0])
    with pytest.raises(ValueError, match=r"needs class indices of shape \(2,\), not \(3,\)"):
        mt.cross_entropy(draw(2, 3), [0, 1, 2])
    with pytest.raises(TypeError, match="dtype float64"):
        mt.cross_entropy(draw(2, 3), [0.0, 1.0])
    with pytest.raises(IndexError, match="index 3 is out of range"):
        mt.cross_entropy(draw(2, 3), [0, 3])
    with pytest.raises(ValueError, match=r"mse_loss: input of shape \(2, 3\) and target of shape \(3,\) differ"):
        mt.mse_loss(draw(2, 3), draw(3))
    with pytest.raises(ValueError, match="reduction 'avg' is not"):
        mt.mse_loss(draw(3), draw(3), reduction="avg")


def test_mse_loss_takes_arrays_and_lists():
    assert mt.mse_loss(mt.tensor([1.0, 2.0]), np.array([1.0, 4.0])).item() == 2.0
    assert mt.mse_loss(mt.tensor([1.0, 2.0]), [1.0, 4.0]).item() == 2.0


def test_softmax_and_its_logarithm_do_not_overflow():
    x = mt.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    np.testing.assert_allclose(mt.softmax(x).numpy(), [[1.0, 0.0, 0.0]], atol=1e-300)
    np.testing.assert_allclose(mt.log_softmax(x).numpy(), [[0.0, -1000.0, -2000.0]])
    assert mt.logsumexp(x).item() == 1000.0
    mt.cross_entropy(x, [2]).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1.0, 0.0, -1.0]])


@pytest.mark.parametrize("function", [mt.softmax, mt.log_softmax, mt.logsumexp, mt.var, mt.std])
@pytest.mark.parametrize("axis", [0, -1])
def test_compositions_have_right_derivatives(function, axis):
    x = mt.tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
    assert mt.gradcheck(lambda x: function(x, axis=axis), x, order=2)


@pytest.mark.parametrize("correction", [0, 1, 1.5])
@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_variance_is_numpys(correction, axis, keepdims):
    x = draw(3, 4, 5)
    options = {"axis": axis, "keepdims": keepdims}
    for ours, reference in ((mt.var, np.var), (mt.std, np.std)):
        value = ours(x, correction=correction, **options)
        expected = reference(x.numpy(), ddof=correction, **options)
        assert value.shape == expected.shape
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-13)


def test_variance_of_too_few_is_refused():
    with pytest.raises(ValueError, match="var: correction is 1; it must be less than 1"):
        mt.var(mt.ones((1, 3)), axis=0, correction=1)
    with pytest.raises(ValueError, match="no elements"):
        mt.var(mt.zeros((0, 3)), axis=0)
    with pytest.raises(ValueError, match="no elements"):
        mt.logsumexp(mt.zeros((0, 3)), axis=0)


def test_without_a_momentum_every_batch_weighs_the_same():
    batches = np.random.default_rng(0).normal(size=(5, 8, 3))
    bn = nn.BatchNorm1d(3, momentum=None)
    for batch in batches:
        bn(mt.tensor(batch))
    np.testing.assert_allclose(bn.running_mean.numpy(), batches.mean(axis=1).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(bn.running_var.numpy(), batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-12)
    assert "momentum=None" in repr(bn)
