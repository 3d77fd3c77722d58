"""What every view of a graph stands on: one walk over its history, one re-run of it, one contribution of a rule."""

import json
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos, viz
from microtensor.core.backprop import contribution
from microtensor.core.primitive import primitive
from microtensor.inspect import history as recorded
from microtensor.inspect.history import carried_back, cotangent_of, history, rerun
from microtensor.support.modes import keep_graphs
from tests.places import GOLDEN


def leaf(*shape, name=None, dtype="float64", seed=0):
    draws = np.random.default_rng(seed).uniform(0.5, 2.0, shape)
    return mt.tensor(draws, dtype=dtype, requires_grad=True, name=name)


def names(*results):
    return [node.primitive.name for _, node in history(*results)]


def plain_gradients(y, seed):
    """A reverse walk that knows nothing but histories and contributions."""
    total = {y: seed}
    for output, node in reversed(history(y)):
        values = [x.numpy() if isinstance(x, mt.Tensor) else x for x in node.inputs]
        for i, x in enumerate(node.inputs):
            if isinstance(x, mt.Tensor) and x.requires_grad and node.primitive.rules[i] is not None:
                d = contribution(node, i, total[output], output.numpy(), values)
                assert (d.shape, d.dtype) == (x.shape, x.dtype)
                total[x] = total[x] + d if x in total else d
    return total


# --- the walk ---------------------------------------------------------------------------------------------


def test_a_history_is_in_the_order_of_the_program_each_record_once():
    x = leaf(3)
    a = mt.exp(x)
    b = mt.tanh(a)
    assert names(a * b + mt.sin(a)) == ["exp", "tanh", "multiply", "sin", "add"]


def test_the_history_of_several_results_has_what_they_share_once():
    shared = mt.exp(leaf(3))
    assert names(mt.sin(shared), mt.cos(shared)) == ["exp", "sin", "cos"]


def test_a_leaf_and_a_detached_result_have_no_history():
    assert history(leaf(3)) == history((leaf(3) * 2.0).detach()) == []


def test_a_chain_of_any_length_is_walked():
    x = leaf(1)
    for _ in range(5000):
        x = -x
    assert len(history(x)) == 5000


def test_a_freed_history_is_refused_in_the_name_of_the_caller():
    y = (leaf(3) * 2.0).sum()
    y.backward()
    assert names(y) == ["sum"]
    with pytest.raises(RuntimeError, match=r"^me: the graph of sum \(shape \(\)\) has been freed .* retain_graph=True"):
        history(y, unfreed="me")


# --- the re-run -------------------------------------------------------------------------------------------


def test_a_history_runs_again_on_other_values():
    x = leaf(4, 3)
    y = mt.standardize(x, axis=0) * 2.0
    other = leaf(4, 3, seed=1)
    made = {x: other}

    def read(key, argument, value):
        return made.get(value, value) if isinstance(value, mt.Tensor) else value

    again = rerun(history(y), read, made)[y]
    np.testing.assert_array_equal(again.numpy(), (mt.standardize(other, axis=0) * 2.0).numpy())
    assert mt.grad(again.sum(), x, allow_unused=True) is None
    assert mt.grad(again, other, np.ones((4, 3))).shape == (4, 3)


def test_an_operation_may_run_twice_under_two_names():
    x = leaf(3)
    y = mt.exp(x)
    ((_, node),) = history(y)
    made = rerun(
        [("first", node), ("second", node)], lambda key, i, value: value if key == "first" else value * 2.0, {}
    )
    np.testing.assert_array_equal(made["second"].numpy(), np.exp(2.0 * x.numpy()))
    np.testing.assert_array_equal(made["first"].numpy(), y.numpy())


# --- the contribution -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: mt.standardize(x, axis=0) * w,
        lambda x, w: mt.sum(x, axis=0) / w,
        lambda x, w: mt.where(x > 1.0, x, w),
        lambda x, w: mt.matmul(x, mt.reshape(w, shape=(3, 1))),
        lambda x, w: mt.concat([x, mt.broadcast_to(w, shape=(4, 3))]),
        lambda x, w: mt.mean(x, axis=(0, 1), keepdims=True) + w[1:],
        lambda x, w: mt.power(x, w) - mt.max(x, axis=1, keepdims=True),
    ],
)
@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64"), ("float64", "float16")])
def test_contributions_add_up_to_the_engines_gradient(function, dtypes):
    x, w = leaf(4, 3, dtype=dtypes[0]), leaf(3, dtype=dtypes[1], seed=1)
    y = function(x, w)
    seed = np.random.default_rng(2).normal(size=y.shape).astype(y.dtype)
    plain = plain_gradients(y, seed)
    for input, expected in zip((x, w), mt.grad(y, [x, w], seed), strict=True):
        rtol = 20 * float(np.finfo(input.dtype).eps)
        np.testing.assert_allclose(plain[input], expected.numpy(), rtol=rtol, atol=rtol)


def test_a_contribution_on_tensors_is_recorded():
    x, w = leaf(4, 3), leaf(3, seed=1)
    node = (x * w).node
    g = mt.tensor(np.ones((4, 3)), requires_grad=True)
    d = contribution(node, 1, g, x * w, node.inputs)
    np.testing.assert_allclose(mt.grad(d.sum(), x).numpy(), 1.0)
    assert d.shape == (3,)


def test_a_contribution_that_fits_no_input_is_refused_by_the_name_of_its_rule():
    wrong = primitive("wrong", lambda x: x, lambda g, y, x: np.ones((2, 2)))
    node = wrong(leaf(3)).node
    with pytest.raises(RuntimeError, match=r"the rule of wrong for argument 0 returned a gradient of shape \(2, 2\)"):
        contribution(node, 0, np.ones(3), np.ones(3), [np.ones(3)])


# --- gradients where they are shown -----------------------------------------------------------------------


@pytest.fixture
def walks(monkeypatch):
    """How often the gradients of a graph were computed."""
    counted = []
    original = recorded.contributions_of
    monkeypatch.setattr(recorded, "contributions_of", lambda *args: counted.append(args) or original(*args))
    return counted


@pytest.mark.parametrize("view", ["forward", "backward", "combined"])
@pytest.mark.parametrize("format", viz.FORMATS)
def test_a_picture_that_needs_no_gradients_is_the_same_without(format, view):
    y = demos.batch_norm()
    whole, bare = mt.Graph.from_tensor(y), mt.Graph.from_tensor(y, gradients=False)
    if format in ("png", "pdf"):
        format = "dot"
    same = viz.render(whole, format, view=view, output=y) == viz.render(bare, format, view=view, output=y)
    assert same == (not viz.shows_gradients(format, view))


def test_a_page_computes_the_gradients_once(walks):
    y = demos.batch_norm()
    viz.render(mt.Graph.from_tensor(y), "html", output=y)
    assert len(walks) == 1


def test_a_glance_and_a_shown_graph_compute_none_and_a_backward_view_does(walks, capsys):
    y = demos.batch_norm()
    y._repr_mimebundle_()
    mt.show(y)
    mt.show(y, interactive=True)
    assert not walks
    mt.show(y, view="backward")
    assert len(walks) == 1
    capsys.readouterr()


# --- what was there before --------------------------------------------------------------------------------


def test_a_ledger_that_an_earlier_version_pickled_loads_and_prints():
    held = pickle.loads((GOLDEN / "ledger.pickle").read_bytes())
    x = mt.tensor([[0.0], [1.0], [5.0]], requires_grad=True, name="x")
    fresh = mt.paths(mt.standardize(x, axis=0), x, [[1.0], [0.0], [0.0]], cut="mean@var")
    assert str(held) == str(fresh)
    assert isinstance(held, mt.ledger.Ledger)
    assert isinstance(held.blocks[0], mt.ledger.Block)


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ("graph", "EdgeKind Graph GraphEdge GraphNode GraphScope Kind Mark Reader Values auto_depth compare size"),
        ("ledger", "CUTS Block Cut Ledger Part Path Removal Severed input_of paths to_json to_table"),
        ("checking", "GradcheckError examine gradcheck gradgradcheck"),
    ],
)
def test_the_public_paths_lead_to_the_same_things(old, names):
    module = __import__(f"microtensor.{old}", fromlist=["x"])
    inner = __import__(f"microtensor.inspect.{old}", fromlist=["x"])
    assert set(names.split()) <= set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is getattr(inner, {"Block": "NormSection"}.get(name, name))


def test_a_graph_is_stored_under_the_same_schema():
    assert json.loads(viz.render(mt.Graph.from_tensor(mt.exp(leaf(2))), "json"))["schema"] == "microtensor.graph/1"


# --- the cotangent ----------------------------------------------------------------------------------------


def test_the_cotangent_is_that_of_a_kept_backward_pass_or_1_or_random():
    x = leaf(3)
    with keep_graphs():
        y = x * 2.0
        y.backward([1.0, 0.0, 3.0])
    assert [cotangent_of(y)[0].tolist(), cotangent_of(y)[1]] == [[1.0, 0.0, 3.0], "kept"]
    assert [cotangent_of(mt.sum(x))[0].tolist(), cotangent_of(mt.sum(x))[1]] == [1.0, "scalar"]
    drawn, origin = cotangent_of(x * 3.0)
    assert origin == "random"
    np.testing.assert_array_equal(drawn, cotangent_of(x * 3.0)[0])


def test_what_a_kept_backward_pass_added_is_read_again():
    x = leaf(3)
    with keep_graphs():
        y = x * x
        y.backward([1.0, 0.0, 3.0])
    found = carried_back(y, np.ones(3), kept=True)
    assert [(output is y, node is y.node, argument) for output, node, argument, _ in found] == [
        (True, True, 0),
        (True, True, 1),
    ]
    np.testing.assert_array_equal(sum(value for *_, value in found), x.grad.numpy())
    with pytest.raises(RuntimeError, match="freed"):
        carried_back(y, np.ones(3))
