"""The graph read off a tensor: program order, kinds, the statistics path, scopes, gradients, folding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos
from microtensor.graph import Graph, auto_depth
from microtensor.inspect.history import random_cotangent
from microtensor.support.modes import keep_graphs


def batch_norm() -> Graph:
    return Graph.from_tensor(demos.batch_norm())


def by_symbol(graph: Graph, symbol: str, name: str = "") -> int:
    (found,) = [n.id for n in graph.nodes if n.symbol == symbol and (not name or n.name == name)]
    return found


def test_batch_norm_is_drawn_as_on_the_blackboard() -> None:
    graph = batch_norm()
    assert [n.symbol or n.name for n in graph.nodes] == [
        "x", "mean", "−", "( )²", "mean", "+", "√", "÷", "γ", "×", "β", "+",
    ]  # fmt: skip
    assert [n.symbol for n in graph.nodes if n.statistics] == ["mean", "( )²", "mean", "+", "√"]
    assert [(s.name, s.detail, s.statistics) for s in graph.scopes] == [
        ("bn1", "BatchNorm1d(4)", False),
        ("statistics", "", True),
        ("var", "", True),
    ]
    direct = [(e.source, e.target) for e in graph.edges if e.kind == "direct"]
    assert direct == [(0, 2), (2, 7), (7, 9), (9, 11)]


def test_edge_gradients_obey_the_chain_rule() -> None:
    output = demos.batch_norm()
    graph = Graph.from_tensor(output)
    flows = graph._flows
    x = graph.nodes[0]
    total = sum(flows[e.source, e.target, e.argument] for e in graph.edges if e.source == x.id)
    seed = random_cotangent(output)
    leaf = next(t for t in mt.vjp(output, seed) if t.name == "x")
    np.testing.assert_allclose(total, mt.vjp(output, seed)[leaf].numpy(), rtol=1e-12, atol=1e-17)
    assert x.grad == pytest.approx(float(np.linalg.norm(total)), rel=1e-12)


def test_a_loss_is_on_no_statistics_path() -> None:
    x = mt.tensor(np.ones((4, 3)), requires_grad=True)
    graph = Graph.from_tensor(mt.mean(mt.square(mt.tanh(x))) + mt.sum(x * x) * 0.1)
    assert not any(node.statistics for node in graph.nodes)


def test_softmax_normalises_through_a_statistic() -> None:
    graph = Graph.from_tensor(mt.softmax(mt.tensor(np.eye(3), requires_grad=True)))
    assert "sum" in {n.op for n in graph.nodes if n.statistics}
    graph = Graph.from_tensor(mt.log_softmax(mt.tensor(np.eye(3), requires_grad=True)))
    assert {n.op for n in graph.nodes if n.statistics} >= {"sum", "log"}


def test_a_residual_connection_is_not_the_direct_path() -> None:
    x = mt.tensor(np.ones((2, 3)), requires_grad=True, name="x")
    graph = Graph.from_tensor(mt.tanh(mt.exp(x)) + x)
    skip = next(e for e in graph.edges if graph.nodes[e.source].name == "x" and graph.nodes[e.target].op == "add")
    assert skip.kind == "plain"


def test_parameters_constants_labels_and_detached_are_told_apart() -> None:
    w = mt.nn.Parameter(np.ones((3, 2)))
    x = mt.tensor(np.ones((4, 3)), name="x")
    t = mt.tensor([0, 1, 0, 1], name="t")
    logits = x @ w + np.array([1.0, 2.0])
    graph = Graph.from_tensor(mt.cross_entropy(logits, t) * 2.0)
    kinds = {(n.kind, n.role) for n in graph.nodes if not n.op}
    assert kinds == {
        ("data", "input"),
        ("data", "labels"),
        ("parameter", ""),
        ("constant", "constant"),
        ("constant", "detached"),
    }
    assert graph.nodes[graph.root].constants == ((1, "2"),)


def test_a_plain_leaf_that_is_learnt_counts_as_a_parameter() -> None:
    w = mt.tensor([1.0, 2.0], requires_grad=True, name="w")
    x = mt.tensor([3.0, 4.0], name="x")
    kinds = {n.name: n.kind for n in Graph.from_tensor((w * x).sum()).nodes if n.name}
    assert kinds == {"w": "parameter", "x": "data"}


def test_a_frame_round_one_operation_or_round_all_of_its_parent_is_dropped() -> None:
    x = mt.tensor(np.ones((4, 3)), requires_grad=True)
    net = mt.nn.Sequential(mt.nn.Linear(3, 2, rng=0), mt.nn.ReLU())
    names = [scope.name for scope in Graph.from_tensor(net(x)).scopes]
    assert names == ["model", "0"]
    assert "batch_norm" not in [scope.name for scope in batch_norm().scopes]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_folding_keeps_shapes_gradients_and_parameters(depth: int) -> None:
    whole = Graph.from_tensor(demos.mlp())
    folded = whole.collapsed(depth)
    assert len(folded.nodes) < len(whole.nodes)
    assert folded.nodes[folded.root].shape == whole.nodes[whole.root].shape
    assert folded.nodes[folded.root].grad == whole.nodes[whole.root].grad
    assert all(len(folded.scope_chain(node.scope)) <= depth for node in folded.nodes)
    listed = sum(len(n.parameters) + (n.kind == "parameter") for n in folded.nodes)
    assert listed == sum(n.kind == "parameter" for n in whole.nodes)
    assert [n.id for n in folded.nodes] == list(range(len(folded.nodes)))


def test_a_folded_norm_hands_on_the_sum_of_its_paths() -> None:
    whole = batch_norm()
    (edge,) = [e for e in whole.collapsed(0).edges if e.source == 0]
    assert edge.grad == pytest.approx(whole.nodes[0].grad, rel=1e-12)
    assert whole.collapsed(0).nodes[edge.target].statistics


def test_folding_more_than_there_is_changes_nothing() -> None:
    graph = batch_norm()
    assert graph.collapsed(99) == graph
    assert graph.collapsed(None) is graph
    with pytest.raises(ValueError, match="depth is -1"):
        graph.collapsed(-1)


def test_the_same_program_gives_the_same_graph() -> None:
    assert batch_norm() == batch_norm()


def test_the_gradients_are_those_of_the_program_where_it_ran_backward() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    with keep_graphs():
        y = x * x
        y.backward([10.0, 0.0])
    graph = Graph.from_tensor(y)
    assert graph.cotangent == "gradients of the backward pass that the program ran"
    assert [n.grad for n in graph.nodes] == [20.0, 10.0]
    with pytest.raises(RuntimeError, match="freed"):
        y.backward([1.0, 1.0])


def test_gradients_survive_an_optimiser_step_after_the_programs_backward() -> None:
    w = mt.nn.Parameter([1.0, 2.0])
    sgd = mt.optim.SGD([w], lr=0.5)
    with keep_graphs():
        loss = (w * w).sum()
        loss.backward()
        sgd.step()
    assert Graph.from_tensor(loss).nodes[0].grad == pytest.approx(np.hypot(2.0, 4.0))


def test_a_freed_graph_is_read_as_far_as_it_goes() -> None:
    x = mt.tensor([1.0], requires_grad=True)
    y = x * x
    y.backward()
    graph = Graph.from_tensor(y)
    assert graph.nodes[graph.root].grad is None or graph.cotangent.startswith("no gradients")


def test_a_stale_graph_is_drawn_without_gradients_and_says_why() -> None:
    x = mt.tensor([1.0], requires_grad=True)
    y = x * x
    x.data = [5.0]
    graph = Graph.from_tensor(y)
    assert "changed after" in graph.cotangent
    assert all(edge.grad is None for edge in graph.edges)


def test_a_leaf_alone_is_a_graph() -> None:
    graph = Graph.from_tensor(mt.tensor([1.0], name="x"))
    assert [(n.name, n.kind) for n in graph.nodes] == [("x", "data")]


def test_only_tensors_have_graphs() -> None:
    with pytest.raises(TypeError, match="ndarray"):
        Graph.from_tensor(np.ones(2))  # type: ignore[arg-type]


def test_a_chain_of_any_length_is_read() -> None:
    x = mt.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(5_000):
        y = y + 1.0
    assert len(Graph.from_tensor(y).nodes) == 5_001


def test_large_graphs_fold_themselves() -> None:
    x = mt.tensor(np.ones((4, 3)), requires_grad=True)
    for i in range(80):
        with mt.name_scope(f"step{i}"):
            x = mt.standardize(x, axis=0)
    graph = Graph.from_tensor(x)
    assert len(graph.nodes) > 300
    depth = auto_depth(graph)
    assert depth is not None
    assert len(graph.collapsed(depth).nodes) <= 300
    assert auto_depth(batch_norm()) is None


def test_a_graph_is_immutable() -> None:
    graph = batch_norm()
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.root = 3  # type: ignore[misc]
