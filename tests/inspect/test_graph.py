"""The graph read off a tensor: program order, kinds, the statistics path, scopes, gradients, folding."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos, norms
from microtensor.graph import Graph, Reader, auto_depth, compare, read_failure
from microtensor.inspect.graph.reading import LOSSES
from microtensor.inspect.history import random_cotangent
from microtensor.inspect.statistics import norms_of
from microtensor.support.modes import keep_graphs
from tests.inspect.test_statistics import GAMMA, REFUSED, SPELLINGS, draw, leaf, spelled, two_pass


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


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_norm_is_on_no_statistics_path(name: str) -> None:
    graph = Graph.from_tensor(REFUSED[name](leaf(8, 5)), gradients=False)
    assert not any(node.statistics for node in graph.nodes)
    assert not any(edge.kind == "statistics" for edge in graph.edges)
    assert not any(scope.statistics for scope in graph.scopes)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=spelled)
def test_the_statistics_of_every_spelling_are_on_the_path(spelling: Any) -> None:
    x = leaf(8, 5)
    y = spelling(x) * GAMMA
    reader = Reader(y, gradients=False)
    graph = reader.graph()
    on_path = {reader.tensors[node.id] for node in graph.nodes if node.statistics}
    (norm,) = norms_of(y)
    assert on_path >= norm.inner
    assert norm.output not in on_path
    # The squares between x and the variance are read by the statistics only; they are on the path as well.
    assert all(all(graph.nodes[e.target].statistics for e in graph.consumers()[n.id]) for n in graph.nodes
               if n.statistics and reader.tensors[n.id] not in norm.inner)  # fmt: skip
    inside = {e.kind for e in graph.edges if graph.nodes[e.source].statistics}
    assert inside == {"statistics"}
    direct = [e for e in graph.edges if e.kind == "direct"]
    assert not any(graph.nodes[end].statistics for e in direct for end in (e.source, e.target))
    assert {reader.tensors[e.source] for e in direct} >= {x}


def test_a_norm_between_softmaxes_is_the_only_statistic() -> None:
    x = leaf(6, 4, name="x")
    scores = mt.softmax(x @ x.mT, axis=-1) @ x
    normed = mt.matmul(np.full((1, 6), 1 / 6), scores)
    centered = scores - normed
    y = mt.log_softmax(centered / mt.sqrt(mt.mean(centered**2, axis=0) + 1e-5), axis=1)
    graph = Graph.from_tensor(y)
    assert [n.op for n in graph.nodes if n.statistics] == ["matmul", "power", "mean", "add", "sqrt"]


def test_an_epsilon_that_is_learnt_is_a_parameter_and_on_no_path() -> None:
    x, raw = leaf(8, 5, name="x"), mt.nn.Parameter(np.zeros(()), name="raw")
    graph = Graph.from_tensor((x - x.mean(axis=0)) / mt.sqrt(x.var(axis=0) + mt.exp(raw)))
    epsilon = next(n for n in graph.nodes if n.op == "exp")
    assert not epsilon.statistics
    assert {e.kind for e in graph.edges if epsilon.id in (e.source, e.target)} == {"parameter"}
    assert [n.op for n in graph.nodes if n.statistics][-2:] == ["add", "sqrt"]


def test_a_graph_too_large_to_be_searched_says_so() -> None:
    x = leaf(8, 5)
    y = two_pass(x)
    for _ in range(2_000):
        y = y + 1.0
    graph = Graph.from_tensor(norms.batch_norm(y, training=True), gradients=False)
    assert not graph.searched
    # The library's norm is found by its scope; the spelled one may be one of many, and is not looked for.
    assert [n.op for n in graph.nodes if n.statistics] == ["mean", "square", "mean", "add", "sqrt"]
    assert not graph.collapsed(0).searched
    assert not compare(graph, batch_norm()).searched
    assert batch_norm().searched


def test_what_a_backward_pass_has_freed_hides_no_statistic_after_it() -> None:
    hidden = mt.tanh(leaf(8, 5))
    y = two_pass(hidden)
    hidden.sum().backward()
    assert any(node.statistics for node in Graph.from_tensor(y).nodes)


def test_the_statistics_before_an_operation_that_raised_are_found() -> None:
    y = two_pass(leaf(8, 5))
    graph = read_failure("add", "+", [y, np.ones(3)], "shapes (8, 5) and (3,)")
    assert any(node.statistics for node in graph.nodes)
    assert not graph.nodes[graph.root].statistics


def test_no_hook_of_the_program_runs_and_nothing_of_it_changes() -> None:
    x = leaf(8, 5)
    hidden = x * 2.0
    called: list[object] = []
    hidden.register_hook(called.append)
    Graph.from_tensor(two_pass(hidden), gradients=False)
    assert called == []
    assert x.grad is None


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


WORDS = np.array([1, 2, 3, 1])
BY_INDEX: dict[str, Any] = {
    "an embedding": lambda table, words: mt.embedding(words, table),
    "take": lambda table, words: mt.take(table, words),
    "brackets": lambda table, words: table[words],
    "brackets with a slice": lambda table, words: table[words, 1:],
}


def words_of(graph: Graph) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(n.name, n.role, n.shape) for n in graph.nodes if n.kind == "data"]


@pytest.mark.parametrize("spelling", BY_INDEX)
def test_what_data_choose_from_parameters_is_data(spelling: str) -> None:
    table = mt.nn.Parameter(np.ones((10, 4)), name="table")
    y = mt.tanh(BY_INDEX[spelling](table, mt.tensor(WORDS, name="words")))
    graph = Graph.from_tensor(y)
    assert words_of(graph) == [("words", "indices", (4,))]
    assert next(graph.nodes[e.source].name for e in graph.edges if e.kind == "direct") == "words"
    assert {e.kind for e in graph.edges if graph.nodes[e.source].name == "table"} == {"parameter"}
    # An array has no name. That of take may come from the library itself.
    expected = [] if spelling == "take" else [("", "indices", (4,))]
    assert words_of(Graph.from_tensor(BY_INDEX[spelling](table, WORDS))) == expected


def test_tied_embeddings_have_a_direct_path_from_the_words() -> None:
    words = mt.tensor(WORDS, name="words")
    emb, fc = mt.nn.Embedding(10, 4, rng=0), mt.nn.Linear(4, 4, rng=0)
    y = mt.tanh(fc(emb(words))) @ emb.weight.T + emb(words).sum()
    graph = Graph.from_tensor(y)
    assert words_of(graph) == [("words", "indices", (4,))]
    direct = [graph.nodes[e.target].op for e in graph.edges if e.kind == "direct"]
    assert direct == ["getitem", "matmul", "add", "tanh", "matmul", "add"]
    assert [n.kind for n in graph.nodes if n.name == "W"] == ["parameter", "parameter"]
    labels = mt.tensor([0, 1, 0, 1], name="t")
    loss = Graph.from_tensor(mt.cross_entropy(y, labels))
    assert words_of(loss) == [("words", "indices", (4,)), ("t", "labels", (4,))]


def test_indices_that_the_library_makes_are_no_data() -> None:
    x = leaf(4, 3, name="x")
    y = mt.sort(x, axis=0) + mt.roll(x, 1, axis=0) + mt.repeat(x[:2], 2, axis=0) + mt.take_along_axis(x, [[0, 1, 2]], 0)
    assert words_of(Graph.from_tensor(y)) == [("x", "input", (4, 3))]


def test_a_record_keeps_the_indices_of_the_call() -> None:
    words, table = mt.tensor(WORDS), leaf(10, 4)
    y = mt.take(table, words) * 2.0
    words.assign_([0, 0, 0, 0])
    y.sum().backward()
    assert table.grad is not None
    np.testing.assert_array_equal(table.grad.numpy()[:, 0], [0, 4, 2, 2, 0, 0, 0, 0, 0, 0])
    (first,) = mt.grad((mt.take(table, words) ** 3).sum(), [table], create_graph=True)
    assert ("", "indices", (4,)) in words_of(Graph.from_tensor(first))


# --- what was not recorded is no data ---------------------------------------------------------------------


def roles(graph: Graph) -> dict[str, tuple[str, str]]:
    return {node.name: (node.kind, node.role) for node in graph.nodes if node.name}


def without_grad(x: mt.Tensor) -> tuple[mt.Tensor, mt.Tensor]:
    with mt.no_grad():
        return mt.label(x.mean(axis=0), "mu"), mt.label(x.var(axis=0), "var")


def test_statistics_under_no_grad_are_constants_and_x_is_data() -> None:
    x = leaf(4, 3, name="x")
    mu, var = without_grad(x)
    sigma = mt.label(mt.sqrt(var + 1e-5), "sigma")
    graph = Graph.from_tensor((x - mu) / sigma)
    assert roles(graph) == {
        "x": ("data", "input"), "mu": ("constant", "unrecorded"), "sigma": ("constant", "unrecorded"),
    }  # fmt: skip
    assert {e.kind for e in graph.edges} == {"direct", "constant"}


def test_what_is_computed_from_detached_statistics_is_detached() -> None:
    x = leaf(4, 3, name="x")
    sigma = mt.label(mt.sqrt(x.var(axis=0).detach() + 1e-5) * 2.0, "sigma")
    graph = Graph.from_tensor((x - x.mean(axis=0)) / sigma)
    assert roles(graph)["sigma"] == ("constant", "detached")
    assert roles(graph)["x"] == ("data", "input")


def test_beside_parameters_plain_leaves_are_data_whatever_else_there_is() -> None:
    x, target, h0 = leaf(2, 3, name="x"), mt.tensor(np.ones((2, 4)), name="t"), mt.label(mt.zeros((2, 4)), "h0")
    cell = mt.nn.RNNCell(3, 4, rng=0)
    graph = Graph.from_tensor(mt.losses.mse_loss(cell(x, h0), target))
    data = {name for name, (kind, _) in roles(graph).items() if kind == "data"}
    assert data == {"x", "t", "h0"}
    assert next(graph.nodes[e.source].name for e in graph.edges if e.kind == "direct") in ("x", "h0")


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div"])
def test_a_float_target_makes_no_parameter_of_x(loss: str) -> None:
    x, target = leaf(4, 3, name="x"), mt.tensor(np.full((4, 3), 0.5), name="t")
    graph = Graph.from_tensor(getattr(mt.losses, loss)(two_pass(x), target))
    assert roles(graph) | {"x": ("data", "input"), "t": ("data", "input")} == roles(graph)
    w = leaf(3, name="w")
    inputs = mt.tensor(np.ones((4, 3)), name="inputs")
    graph = Graph.from_tensor(getattr(mt.losses, loss)(inputs * w, target))
    assert [roles(graph)[name][0] for name in ("w", "inputs", "t")] == ["parameter", "data", "data"]


def test_the_list_of_losses_is_that_of_the_library() -> None:
    assert set(LOSSES) == set(mt.losses.__all__)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x / 255.0,
        lambda x: x.detach() * 2.0,
        lambda x: mt.stop_gradient(leaf(4, 3) * x),
        lambda x: without_grad(leaf(2, 4, 3))[0] + x,
    ],
    ids=["plain", "detached", "stopped", "no_grad"],
)
def test_the_direct_path_begins_at_what_was_not_recorded(make: Any) -> None:
    fc = mt.nn.Linear(3, 2, rng=0)
    before = mt.label(make(mt.tensor(draw(4, 3))), "before")
    graph = Graph.from_tensor(mt.tanh(fc(before)))
    assert roles(graph)["before"][0] == "constant"
    assert [graph.nodes[e.target].op for e in graph.edges if e.kind == "direct"] == ["add", "tanh"]
    assert {e.kind for e in graph.edges if graph.nodes[e.source].name == "Wᵀ"} == {"parameter"}


def test_a_leaf_that_is_made_from_results_is_a_leaf() -> None:
    x = mt.label((mt.tensor([1.0, 2.0]) * 2.0).requires_grad_(), "x")
    z = mt.label(x.detach().requires_grad_(), "z")
    w = mt.nn.Parameter([1.0, 1.0], name="w")
    assert roles(Graph.from_tensor(w * x * z)) == {
        "x": ("data", "input"), "z": ("data", "input"), "w": ("parameter", ""),
    }  # fmt: skip


def test_a_graph_of_second_order_has_no_data_but_x() -> None:
    x = leaf(4, 3, name="x")
    (first,) = mt.grad(two_pass(x), [x], np.ones((4, 3)), create_graph=True)
    graph = Graph.from_tensor(first)
    assert [n.name for n in graph.nodes if n.kind == "data"] == ["x"]
    assert "parameter" not in {n.kind for n in graph.nodes}
    assert "cotangent" in {n.role for n in graph.nodes}
    (second,) = mt.grad((first * first).sum(), [x], create_graph=True)
    assert [n.name for n in Graph.from_tensor(second).nodes if n.kind == "data"] == ["x"]


def test_the_directions_of_spectral_norm_are_no_place_for_the_direct_path_to_begin() -> None:
    fc = mt.nn.utils.spectral_norm(mt.nn.Linear(3, 2, rng=0))
    graph = Graph.from_tensor(fc(leaf(4, 3, name="x")))
    direct = [e for e in graph.edges if e.kind == "direct"]
    assert graph.nodes[direct[0].source].name == "x"
    assert [graph.nodes[e.target].op for e in direct] == ["matmul", "add"]


def test_dead_branches_are_not_drawn() -> None:
    x = leaf(4, 3, name="x")
    mt.exp(x) + without_grad(x)[0]
    assert [n.op or n.name for n in Graph.from_tensor(mt.tanh(x)).nodes] == ["x", "tanh"]


def test_two_losses_share_what_they_share() -> None:
    x, target = leaf(4, 3, name="x"), mt.tensor(np.zeros((4, 2)), name="t")
    out = mt.label(mt.nn.Linear(3, 2, rng=0)(x), "out")
    one = mt.losses.mse_loss(out, target)
    two = mt.losses.l1_loss(out, target)
    graph = Graph.from_tensor(one + 0.1 * two)
    assert [roles(graph)[name] for name in "xt"] == [("data", "input"), ("data", "input")]
    (shared,) = [node.id for node in graph.nodes if node.name == "out"]
    assert sum(edge.source == shared for edge in graph.edges) == 2


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
