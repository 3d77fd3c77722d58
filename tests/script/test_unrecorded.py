"""What the engine does not record is drawn dashed: kept for the picture only, and no longer than for a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from microtensor import script, viz
from microtensor.graph import Graph, GraphNode
from microtensor.inspect.history import Asides, asides
from microtensor.script.resolve import Found

HEAD = """\
import numpy as np
import microtensor as mt
from microtensor import nn
rng = np.random.default_rng(0)
def plain(*shape): return mt.tensor(rng.normal(size=shape))
def data(*shape): return mt.tensor(rng.normal(size=shape), requires_grad=True)
"""
Run = Callable[..., AbstractContextManager[Found]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    @contextmanager
    def running(program: str, unrecorded: bool = True, target: str = "") -> Iterator[Found]:
        path = tmp_path / "program.py"
        path.write_text(HEAD + program)
        with script.running(script.parse(f"{path}{target and ':'}{target}"), unrecorded=unrecorded) as found:
            yield found

    return running


def dashed(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes if node.unrecorded]


def by_name(graph: Graph, name: str) -> GraphNode:
    (found,) = [node for node in graph.nodes if node.name == name]
    return found


def test_a_norm_of_plain_data_is_drawn(run: Run) -> None:
    with run("x = plain(4, 3)\ny = nn.LayerNorm(3)(x)") as found:
        graph = Graph.from_tensor(found.tensor)
    assert dashed(graph) == ["mean", "subtract", "square", "mean", "add", "sqrt", "divide"]
    assert [(node.name, node.kind) for node in graph.nodes if not node.op] == [
        ("x", "data"), ("γ", "parameter"), ("β", "parameter"),
    ]  # fmt: skip
    marked = {node.id for node in graph.nodes if node.unrecorded}
    assert {e.kind for e in graph.edges if not marked.isdisjoint((e.source, e.target))} == {"constant"}
    assert [graph.nodes[e.target].op for e in graph.edges if e.kind == "direct"] == ["add"]
    assert all(node.grad is None for node in graph.nodes if node.id in marked)
    assert viz.from_json(viz.to_json(graph)) == graph
    for view in ("forward", "backward", "combined"):
        assert viz.render(graph, "dot", view=view).count(b"filled,dashed") >= 7  # type: ignore[arg-type]
    assert "not recorded: no gradient" in viz.render(graph, "svg").decode().replace("\xa0", " ")
    tree = viz.render(graph, "tree").decode()
    assert "μ  unrecorded" in tree
    assert tree.splitlines()[-1].startswith("x  input")
    assert viz.render(graph, "mermaid").count(b":::constant") == 7
    assert viz.render(graph, "html", output=found.tensor).startswith(b"<!doctype html>")


def test_where_nothing_requires_a_gradient_the_result_is_drawn_all_the_same(run: Run) -> None:
    with run("x = plain(4, 3)\ny = nn.LayerNorm(3, elementwise_affine=False)(x)") as found:
        graph = Graph.from_tensor(found.tensor)
    assert found.tensor.name == "y"
    assert len(dashed(graph)) == 7
    with pytest.raises(script.TargetError, match="no tensor with a history"), run("x = plain(4)\ny = x * 2", False):
        pass


def test_statistics_under_no_grad_are_drawn_dashed_beside_the_direct_path(run: Run) -> None:
    program = """
x, gamma = data(4, 3), nn.Parameter(np.ones(3))
with mt.no_grad():
    mu, var = x.mean(0), x.var(0)
y = gamma * (x - mu) / mt.sqrt(var + 1e-5)
y.sum().backward()
assert not mu.requires_grad and mu.node is None and mu.is_leaf
expected = np.broadcast_to(1 / np.sqrt(var.numpy() + 1e-5), (4, 3))
assert np.allclose(x.grad.numpy(), expected)
"""
    with run(program, target="y") as found:
        graph = Graph.from_tensor(found.tensor)
    assert (by_name(graph, "x").kind, by_name(graph, "gamma").kind) == ("data", "parameter")
    assert by_name(graph, "mu").unrecorded
    assert dashed(graph) == ["mean", "mean", "subtract", "square", "mean", "add", "sqrt"]
    assert [graph.nodes[e.target].op for e in graph.edges if e.kind == "direct"] == ["subtract", "multiply", "divide"]
    assert not any(node.statistics for node in graph.nodes)


def test_what_is_recorded_but_cut_off_is_drawn_in_front_of_it(run: Run) -> None:
    with run("x, w = data(4, 3), data(3)\nh = mt.tanh(x)\nwith mt.no_grad():\n    m = h * 2\ny = w * m") as found:
        graph = Graph.from_tensor(found.tensor)
    assert [(node.op, node.unrecorded) for node in graph.nodes if node.op] == [
        ("tanh", False), ("multiply", True), ("multiply", False),
    ]  # fmt: skip
    assert [node.grad is None for node in graph.nodes if node.op] == [True, True, False]


def test_nothing_is_kept_unless_it_is_asked_for(run: Run) -> None:
    with run("x, w = plain(4, 3), data(3)\ny = w * (x * 2)", unrecorded=False) as found:
        graph = Graph.from_tensor(found.tensor)
    assert dashed(graph) == []
    assert [(node.kind, node.role) for node in graph.nodes if node.shape == (4, 3) and not node.op] == [
        ("constant", "unrecorded")
    ]


def test_the_direct_path_and_the_cards_know_what_was_not_recorded(run: Run) -> None:
    program = """
raw = plain(8, 4)
x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
enc, dec, teacher = nn.Linear(4, 2, rng=0), nn.Linear(2, 4, rng=1), nn.Sequential(nn.Linear(4, 4, rng=2), nn.Tanh())
z = enc(x)
with mt.no_grad():
    wanted = teacher(x)
    best = mt.minimum(((dec(z) - wanted) ** 2).mean(), 1.0)
total = ((dec(z) - wanted) ** 2).mean() + 0.1 * (z * z).mean() / best
"""
    with run(program, target="total") as found:
        graph = Graph.from_tensor(found.tensor)
    # Not by way of best, although it is computed from the longer branch.
    assert [graph.nodes[e.target].op for e in graph.edges if e.kind == "direct"] == [
        *("add", "matmul", "add", "subtract", "power", "mean", "add"),
    ]  # fmt: skip
    folded = graph.collapsed(0)
    assert {node.op: node.unrecorded for node in folded.nodes if node.kind in ("module", "function")} == {
        "std": True, "enc": False, "teacher": True, "dec": False,
    }  # fmt: skip
    backward = viz.render(graph, "dot", depth=0, view="backward").decode()
    assert "grad –" not in backward
    assert "teacher  Sequential  unrecorded" in viz.render(graph, "tree", depth=0).decode()


@pytest.mark.parametrize(
    "write", ["b.assign_(x * 2)", "b.data = x * 2", "module.b = x * 2; b = module.b; b.assign_(b.numpy())"]
)
def test_the_record_starts_anew_at_what_was_assigned(run: Run, write: str) -> None:
    program = f"""
module = nn.Module()
x, w = plain(4), data(4)
b = plain(4)
module.register_buffer("b", b)
{write}
y = w * b
"""
    with run(program) as found:
        assert dashed(Graph.from_tensor(found.tensor)) == []


TRAINING = """
net = nn.Sequential(nn.Linear(6, 5, rng=0), nn.BatchNorm1d(5), nn.Linear(5, 1, rng=0))
raw, t = plain(32, 6), plain(32, 1)
x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
optimizer = mt.optim.Adam(net.parameters(), lr=0.01)
center, average, w, seen = mt.zeros((1,)), mt.zeros(()), data(6), []
for step in range(STEPS):
    rows = rng.integers(0, 32, 8)
    out = net(x[rows])
    with mt.no_grad():
        center = 0.9 * center + 0.1 * out.mean(axis=0)
        average = 0.9 * average + 0.1 * (out * out).mean()
        seen = [*seen[-5:], (out * out).mean()]
        w = w - 0.1 * (w * w)
    w.requires_grad_()
    loss = ((out - center - t[rows]) ** 2).mean() + (w * w).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_many_steps_of_training_keep_no_more_than_few(run: Run) -> None:
    counts = []
    for steps in (10, 60, 200):
        with run(TRAINING.replace("STEPS", str(steps)), target="loss") as found:
            graph = Graph.from_tensor(found.tensor)
            counts.append(len(asides._kept))
    assert counts[0] == counts[1] == counts[2] < 100
    # The last step is drawn as far as it goes: not through the average of the steps before.
    assert by_name(graph, "center").unrecorded
    assert sum(op == "mean" for op in dashed(graph)) == 1


def test_a_long_program_without_steps_keeps_the_latest_records_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asides, "MOST", 50)
    with run("x, w = plain(3), data(3)\nfor _ in range(30_000):\n    x = x * 0.5\ny = w * x") as found:
        graph = Graph.from_tensor(found.tensor)
        assert len(asides._kept) <= 50
    assert 1 <= len(dashed(graph)) <= 50
    monkeypatch.setattr(Asides, "MOST_BYTES", 24 * 10)
    with run("x, w = plain(3), data(3)\nfor _ in range(100):\n    x = x * 0.5\ny = w * x") as found:
        assert asides._bytes <= 240
        assert len(dashed(Graph.from_tensor(found.tensor))) <= 10


def test_a_long_chain_of_records_ends_without_recursion(run: Run) -> None:
    before = asides._bytes
    with run(
        "x, w = plain(3), data(3)\nfor _ in range(15_000):\n    x = x * 0.5\nx = w = None\ny = data(2) * 2.0"
    ) as found:
        assert found.tensor.name == "y"
    with run("x = plain(3)\ny = data(3) * (x * 2)") as found:
        assert asides._bytes <= before + 1_000


def test_a_recorded_result_has_the_same_gradient_as_without(run: Run) -> None:
    gradients = []
    for unrecorded in (False, True):
        with run(TRAINING.replace("STEPS", "5"), unrecorded, target="loss") as found:
            gradients.append(found.tensor.item())
    assert gradients[0] == gradients[1]
    assert np.isfinite(gradients[0])
