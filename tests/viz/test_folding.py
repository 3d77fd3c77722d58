"""Folding: by depth, by name, equal neighbours on one card; and two graphs on one sheet."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import demos, viz
from microtensor.graph import Graph, compare, read_failure
from microtensor.viz.tree import to_tree


def blocks(count: int, *, between: bool = False, last: int = 4) -> Graph:
    h = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="x")
    for i in range(count):
        layer = mt.nn.Sequential(mt.nn.Linear(4, last if i == count - 1 else 4, rng=i), mt.nn.ReLU())
        layer._name = f"block{i}"
        h = layer(h)
        if between:
            h = mt.tanh(h)
    return Graph.from_tensor((h * h).mean())


def cards(graph: Graph) -> list[tuple[str, int]]:
    return [(node.op, node.repeats) for node in graph.nodes if node.kind in ("module", "function")]


# --- by name ----------------------------------------------------------------------------------------------


def test_scopes_fold_by_name_path_and_pattern() -> None:
    graph = Graph.from_tensor(demos.mlp())
    assert cards(graph.collapsed(collapse=["block1"])) == [("block1", 1)]
    assert cards(graph.collapsed(collapse=["block2.bn"])) == [("bn", 1)]
    assert cards(graph.collapsed(collapse=["model.block?"])) == [("block1", 1), ("block2", 1)]
    assert cards(graph.collapsed(collapse=["bn"])) == [("bn", 1), ("bn", 1)]


def test_an_expanded_scope_is_open_with_all_around_and_inside() -> None:
    folded = Graph.from_tensor(demos.mlp()).collapsed(0, expand=["block1.bn"])
    assert [scope.name for scope in folded.scopes] == ["model", "block1", "bn", "statistics", "var"]
    assert cards(folded) == [("fc", 1), ("block2", 1), ("head", 1), ("cross_entropy", 1)]


def test_what_is_folded_by_name_stays_folded_inside_an_expanded_scope() -> None:
    folded = Graph.from_tensor(demos.mlp()).collapsed(0, collapse=["var"], expand=["block1"])
    assert ("var", 1) in cards(folded)


@pytest.mark.parametrize("option", ["collapse", "expand"])
def test_an_unknown_name_gets_the_nearest(option: str) -> None:
    graph = Graph.from_tensor(demos.mlp())
    with pytest.raises(ValueError, match="no scope is called blok1; did you mean block1"):
        graph.collapsed(1, **{option: ["blok1"]})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no scope is called zzz; there are model, model\.block1"):
        graph.collapsed(1, **{option: ["zzz"]})  # type: ignore[arg-type]
    bare = Graph.from_tensor(mt.tensor([1.0], requires_grad=True) * 2)
    with pytest.raises(ValueError, match="the graph has no scopes"):
        bare.collapsed(collapse=["a"])


# --- repeats ----------------------------------------------------------------------------------------------


def test_equal_neighbours_share_a_card() -> None:
    graph = blocks(6)
    folded = graph.collapsed(0)
    assert cards(folded) == [("block0 … block5", 6)]
    (card,) = [node for node in folded.nodes if node.repeats == 6]
    whole = graph.collapsed(0, repeats=False)
    last = max(node.id for node in whole.nodes if node.op == "block5")
    assert (card.grad, card.shape) == (whole.nodes[last].grad, whole.nodes[last].shape)
    assert card.parameters == whole.nodes[last].parameters
    assert len(whole.nodes) == len(folded.nodes) + 5
    assert b"block0 \xe2\x80\xa6 block5  \xc3\x97 6" in viz.render(graph, "dot", depth=0)


def test_two_are_not_many_and_other_shapes_are_not_equal() -> None:
    assert cards(blocks(2).collapsed(0)) == [("block0", 1), ("block1", 1)]
    assert cards(blocks(4, last=3).collapsed(0)) == [("block0 … block2", 3), ("block3", 1)]


def test_blocks_with_something_between_them_stay_apart() -> None:
    assert cards(blocks(4, between=True).collapsed(0)) == [(f"block{i}", 1) for i in range(4)]


def test_an_expanded_block_leaves_the_card() -> None:
    folded = blocks(6).collapsed(0, expand=["block0"])
    assert cards(folded)[-1] == ("block1 … block5", 5)
    assert folded.scopes[0].name == "block0"


def test_no_card_for_blocks_that_a_way_outside_connects() -> None:
    """block0 → tanh → block2 beside block0 → block1 → block2: one node for all would be its own input."""
    w = mt.tensor(np.eye(3), requires_grad=True, name="w")
    x = mt.tensor(np.ones((2, 3)), requires_grad=True, name="x")

    def block(i: int, h: mt.Tensor, extra: mt.Tensor) -> mt.Tensor:
        with mt.name_scope(f"block{i}"):
            return mt.tanh(h @ w) + extra

    first = block(0, x, x)
    second = block(1, first, x)
    aside = mt.exp(first)
    third = block(2, second, aside)
    assert all(repeats == 1 for _, repeats in cards(Graph.from_tensor(third).collapsed(0)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=24))
def test_a_folded_graph_keeps_its_ends_and_has_no_loose_edge(steps: list[tuple[int, int, int]]) -> None:
    made = [mt.tensor([1.0, 2.0], requires_grad=True, name="x")]
    for left, right, scope in steps:
        with mt.name_scope(f"s{scope}"), mt.name_scope("inner"):
            made.append(mt.tanh(made[left % len(made)]) + made[right % len(made)])
    graph = Graph.from_tensor(made[-1])
    for depth in (0, 1):
        folded = graph.collapsed(depth)
        assert [node.id for node in folded.nodes] == list(range(len(folded.nodes)))
        assert folded.nodes[folded.root].shape == (2,)
        assert all(edge.source != edge.target for edge in folded.edges)
        assert sum(node.repeats for node in folded.nodes) == len(graph.collapsed(depth, repeats=False).nodes)
        check_sums(folded)
        to_tree(folded)


def test_a_long_program_folds_at_once() -> None:
    y = mt.tensor(np.ones((4, 3)), requires_grad=True)
    for i in range(300):
        with mt.name_scope(f"step{i}"):
            y = mt.standardize(y, axis=0)
    folded = viz.folded(Graph.from_tensor(y))
    assert cards(folded) == [("step0 … step299", 300)]


# --- one module called several times ----------------------------------------------------------------------


def check_sums(graph: Graph) -> None:
    """The gradient of each result is the sum of what its edges bring, and each edge has the norm of what it brings."""
    for node in graph.nodes:
        uses = [edge for edge in graph.edges if edge.source == node.id]
        flows = {edge.key: graph._flows[edge.key] for edge in uses if edge.key in graph._flows}
        for edge in uses:
            assert (edge.grad is None) == (edge.key not in flows)
            if edge.grad is not None:
                assert edge.grad == pytest.approx(np.linalg.norm(flows[edge.key]), rel=1e-12, abs=1e-300)
        own = [flows[edge.key] for edge in uses if edge.key in flows and not edge.other]
        if own and node.id != graph.root:
            assert node.grad == pytest.approx(np.linalg.norm(sum(own)), rel=1e-9, abs=1e-300)


def called(times: int, *, between: bool = False) -> mt.Tensor:
    """One layer, called on its own output."""
    layer = mt.nn.Linear(3, 3, rng=0)
    y = mt.tensor(np.random.default_rng(0).normal(size=(4, 3)), requires_grad=True, name="x")
    for _ in range(times):
        y = mt.tanh(layer(y)) if between else layer(y)
    return y


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("times", [2, 3, 5])
def test_what_several_cards_read_stands_outside_them(times: int, between: bool) -> None:
    graph = Graph.from_tensor(called(times, between=between))
    folded = graph.collapsed(0)
    assert cards(folded) == [("model", 1)] * times
    check_sums(folded)
    read = {node.name: [e for e in folded.edges if e.source == node.id] for node in folded.nodes}
    of_cards = {node.id for node in folded.nodes if node.kind == "module"}
    for name in ("W", "b"):
        assert {edge.target for edge in read[name]} == of_cards
        assert {edge.kind for edge in read[name]} == {"parameter"}
    whole = {node.name: node.grad for node in graph.nodes if node.kind == "parameter"}
    assert whole == {node.name: node.grad for node in folded.nodes if node.kind == "parameter"}
    # Between two cards nothing flows but the result of the first.
    inner = [e for e in folded.edges if e.source in of_cards]
    assert len(inner) == len({e.source for e in inner})
    assert not any(edge.other for edge in folded.edges)
    backward = viz.render(graph, "dot", depth=0, view="backward").decode()
    assert backward.count(f", sum of {times}") == 2
    assert backward.count(", sum of") == 2
    tree = viz.render(graph, "tree", depth=0).decode()
    assert "↓ model  Linear" not in tree
    assert "↑ model  Linear" not in tree
    assert tree.count("↑ model.b  parameter") == times - 1


def test_a_module_called_very_often_is_one_card_beside_its_parameters() -> None:
    folded = Graph.from_tensor(called(30)).collapsed(0)
    assert cards(folded) == [("model", 30)]
    assert [node.name for node in folded.nodes if node.kind == "parameter"] == ["W", "b"]
    check_sums(folded)
    assert cards(Graph.from_tensor(called(30)).collapsed(0, repeats=False)) == [("model", 1)] * 30


def test_calls_of_two_modules_in_turn_share_no_card() -> None:
    first, second = mt.nn.Linear(3, 3, rng=0), mt.nn.Linear(3, 3, rng=1)
    y = mt.tensor(np.ones((2, 3)), requires_grad=True)
    for _ in range(12):
        y = second(first(y))
    assert cards(Graph.from_tensor(y).collapsed(0)) == [("model", 1)] * 24


def test_a_parameter_inside_a_model_that_calls_a_layer_twice_stands_in_the_model() -> None:
    class Twice(mt.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = mt.nn.Linear(3, 3, rng=0), mt.nn.Linear(3, 2, rng=0)

        def forward(self, x: mt.Tensor) -> mt.Tensor:
            result: mt.Tensor = self.out(mt.tanh(self.fc(mt.tanh(self.fc(x)))))
            return result

    graph = Graph.from_tensor(Twice()(mt.tensor(np.ones((4, 3)), requires_grad=True)))
    paths = [(node.name, graph.scope_path(node.scope)) for node in graph.nodes if node.kind == "parameter"]
    assert paths == [("W", "model"), ("b", "model"), ("W", "model.out"), ("b", "model.out")]
    (card,) = [node for node in graph.collapsed(0).nodes if node.kind == "module"]
    assert card.parameters == (("W", (3, 3)), ("b", (3,)), ("W", (2, 3)), ("b", (2,)))
    assert [n.parameters for n in graph.collapsed(1).nodes if n.op == "fc"] == [(), ()]


def unrolled(steps: int, cell: mt.nn.Module, state: Any) -> mt.Tensor:
    rng = np.random.default_rng(0)
    for i in range(steps):
        x = mt.tensor(rng.normal(size=(2, 3)), requires_grad=True, name=f"x{i}")
        state = cell(x, state)
    h = state[0] if isinstance(state, tuple) else state
    return (h * h).mean()


def test_a_recurrent_net_hands_on_each_of_its_states_by_an_edge_of_its_own() -> None:
    h, c = (mt.tensor(np.zeros((2, 4)), name=name) for name in "hc")
    folded = Graph.from_tensor(unrolled(4, mt.nn.LSTMCell(3, 4, rng=0), (h, c))).collapsed(0)
    assert cards(folded) == [("model", 1)] * 4
    check_sums(folded)
    steps = [node.id for node in folded.nodes if node.kind == "module"]
    for one, other in itertools.pairwise(steps):
        between = [e for e in folded.edges if (e.source, e.target) == (one, other)]
        assert [bool(edge.other) for edge in between].count(True) == 1
        assert len({edge.key for edge in between}) == 2
    stored = viz.from_json(viz.to_json(folded))
    assert stored == folded
    shared = [node for node in folded.nodes if node.kind == "parameter"]
    assert [sum(e.source == node.id for e in folded.edges) for node in shared] == [4, 4, 4, 4]


def test_an_edge_with_another_result_of_a_card_says_which_one() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with mt.name_scope("pair"):
        low = mt.label(mt.exp(x), "low")
        high = mt.tanh(low * 2.0)
    graph = Graph.from_tensor((low * high).sum())
    folded = graph.collapsed(0)
    (card,) = [node.id for node in folded.nodes if node.kind == "function"]
    leaving = {e.other: e.grad for e in folded.edges if e.source == card}
    of_whole = {(e.source, e.target): e.grad for e in graph.edges}
    product = next(n.id for n in graph.nodes if n.op == "multiply" and n.scope is None)
    sources = {graph.nodes[s].name: grad for (s, t), grad in of_whole.items() if t == product}
    assert leaving == {"low": sources["low"], "": sources[""]}
    dot = viz.render(graph, "dot", depth=0, view="backward").decode()
    assert 'label="low  ‖g‖ = ' in dot
    assert "sum of" not in dot


def test_a_stored_graph_adds_no_norms_of_different_gradients() -> None:
    whole = Graph.from_tensor(called(3))
    stored = viz.from_json(viz.to_json(whole))
    assert [e.grad for e in stored.collapsed(0).edges] == pytest.approx([e.grad for e in whole.collapsed(0).edges])
    # Two of three contributions: their norms do not say what that of the sum is.
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with mt.name_scope("twice"):
        inside = mt.exp(x) * mt.tanh(x)
    graph = viz.from_json(viz.to_json(Graph.from_tensor((inside * x).sum())))
    assert [e.grad is None for e in graph.collapsed(0).edges if e.source == 0] == [True, False]


# --- two graphs on one sheet ------------------------------------------------------------------------------


def modes() -> Graph:
    layer = mt.nn.BatchNorm1d(4)
    layer._name = "bn1"
    x = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="x")
    train = Graph.from_tensor(layer(x))
    layer.eval()
    return compare(train, Graph.from_tensor(layer(x)), ("train", "eval"))


def test_training_against_evaluation() -> None:
    both = modes()
    marks = {mark: [n.symbol or n.name for n in both.nodes if n.mark == mark] for mark in ("first", "second", "")}
    assert marks["first"] == ["mean", "( )²", "mean", "+", "√"]
    assert marks["second"] == ["running μ", "running σ"]
    assert marks[""] == ["x", "−", "÷", "γ", "×", "β", "+"]
    assert both.scopes[0].detail == "BatchNorm1d(4) | BatchNorm1d(4, eval)"
    assert {edge.mark for edge in both.edges} == {"", "first", "second"}
    assert all(edge.source < edge.target for edge in both.edges)


def test_a_graph_compared_with_itself_differs_nowhere() -> None:
    graph = Graph.from_tensor(demos.mlp(), gradients=False)
    both = compare(graph, graph)
    assert (both.nodes, both.edges) == (graph.nodes, tuple(sorted(graph.edges, key=lambda e: (e.target, e.argument))))


def test_other_shapes_constants_and_types_are_named() -> None:
    def graph(size: int, factor: float, dtype: str) -> Graph:
        x = mt.tensor(np.ones(size, dtype), requires_grad=True, name="x")
        return Graph.from_tensor(mt.exp(x) * factor)

    notes = [node.note for node in compare(graph(2, 2.0, "float64"), graph(3, 0.5, "float32")).nodes]
    assert notes == ["(2,) | (3,),  float64 | float32"] * 2 + ["(2,) | (3,),  float64 | float32,  2 | 0.5"]


def test_a_folded_comparison_says_how_much_differs() -> None:
    both = modes()
    (card,) = [node for node in both.collapsed(0).nodes if node.kind == "module"]
    assert (card.mark, card.note) == ("changed", "7 of 13 nodes differ")
    assert {n.mark for n in both.collapsed(1).nodes if n.op == "statistics"} == {"first"}


def test_every_format_shows_a_comparison() -> None:
    both = modes()
    assert viz.from_json(viz.to_json(both)) == both
    for text in (viz.render(both, "dot"), viz.render(both, "mermaid"), viz.render(both, "tree")):
        assert "only in eval" in text.decode()
    title = viz.render(both, "svg").decode()
    assert "What differs between train and eval" in title
    assert "5 only in train, 2 only in eval" in title


# --- an operation that failed -----------------------------------------------------------------------------


def test_the_failed_operation_is_the_root_and_marked_in_every_format() -> None:
    x = mt.tensor(np.ones((2, 3)), requires_grad=True, name="x")
    with mt.name_scope("f"):
        h = mt.tanh(x) * 2
    graph = read_failure("matmul", "@", [h, np.ones((4, 5))], "inner sizes 3 and 4 differ", line="a.py:3 in f")
    root = graph.nodes[graph.root]
    assert (root.op, root.mark, root.line) == ("matmul", "failed", "a.py:3 in f")
    for text in (viz.render(graph, "dot"), viz.render(graph, "mermaid"), viz.render(graph, "tree")):
        assert "inner sizes 3 and 4 differ" in text.decode()
    (card,) = [node for node in graph.collapsed(0).nodes if node.kind == "function"]
    assert (card.op, card.mark) == ("f", "")
    assert b"matmul" in viz.render(graph, "json")
    assert b"raised inner sizes" in viz.render(graph, "svg")
