"""Names in the pictures of scripts: those of the variables, before those that the library gives."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import microtensor
from microtensor import script, viz
from microtensor.graph import Graph
from microtensor.inspect.graph.names import LIBRARY, is_of_library

HEAD = """\
import numpy as np
import microtensor as mt
from microtensor import nn
rng = np.random.default_rng(0)
def data(*shape): return mt.tensor(rng.normal(size=shape), requires_grad=True)
"""
Draw = Callable[..., Graph]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    def drawn(program: str, target: str = "") -> Graph:
        path = tmp_path / "program.py"
        path.write_text(HEAD + program, encoding="utf-8")
        with script.running(script.parse(f"{path}:{target}" if target else str(path))) as found:
            return Graph.from_tensor(found.tensor)

    return drawn


def frames(graph: Graph) -> list[str]:
    return [graph.scope_path(scope.id) for scope in graph.scopes]


def named(graph: Graph) -> dict[str, str]:
    return {node.name: node.op for node in graph.nodes if node.name}


# --- modules ----------------------------------------------------------------------------------------------

TWO = """
generator = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh())
critic = nn.Sequential(nn.Linear(3, 3, rng=0), nn.ReLU(), nn.Linear(3, 1, rng=0))
z = data(4, 2)
score = critic(generator(z))
"""


def test_a_variable_names_a_module_that_is_part_of_no_other(draw: Draw) -> None:
    graph = draw(TWO)
    assert frames(graph) == ["generator", "generator.0", "critic", "critic.0", "critic.2"]
    folded = graph.collapsed(collapse=["generator"])
    assert [node.op for node in folded.nodes if node.kind == "module"] == ["generator"]
    assert [node.op for node in graph.collapsed(0).nodes if node.kind == "module"] == ["generator", "critic"]


def test_the_first_variable_names_a_module_and_a_part_has_the_name_of_its_attribute(draw: Draw) -> None:
    program = """
class Net(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
    def forward(self, x):
        return self.body(self.body(x))
inner = nn.Linear(2, 2, rng=0)
net = Net(inner)
alias = net
y = net(data(3, 2))
"""
    assert frames(draw(program)) == ["net", "net.body", "net.body"]


def test_modules_in_a_list_have_its_name_and_their_place(draw: Draw) -> None:
    program = """
layers = [nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)]
y = data(3, 2)
for layer in layers:
    y = layer(y)
"""
    assert frames(draw(program)) == ["layers.0", "layers.1"]


def test_a_module_without_a_variable_is_still_the_model(draw: Draw) -> None:
    assert frames(draw("y = nn.Linear(2, 2, rng=0)(data(3, 2))")) == ["model"]


def test_modules_that_a_function_calls_later_have_their_names(draw: Draw) -> None:
    program = "enc = nn.Linear(2, 2, rng=0)\ndef make() -> mt.Tensor:\n    return enc(data(3, 2)) * 2\n"
    assert frames(draw(program, "make")) == ["enc"]


def test_a_broken_module_and_odd_values_are_left_alone(draw: Draw) -> None:
    program = """
class Broken(nn.Module):
    def __init__(self): pass
broken, pair, deep = Broken(), (1, "a"), [[nn.ReLU()]]
globals()[3] = nn.ReLU()
y = data(3) * 2
"""
    assert named(draw(program)) == {"y": "multiply"}


def test_the_graph_of_a_failed_script_has_the_names_too(tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    path.write_text(HEAD + TWO + "critic(mt.tanh(generator(z)) * np.ones(5))\n")
    with pytest.raises(script.ScriptError) as caught, script.running(script.parse(str(path))):
        pass
    assert caught.value.graph is not None
    assert frames(caught.value.graph) == ["generator", "generator.0"]
    path.write_text(HEAD + TWO + "critic[0](score * 2)\n")
    with pytest.raises(script.ScriptError) as caught, script.running(script.parse(str(path))):
        pass
    assert caught.value.graph is not None
    assert set(frames(caught.value.graph)) >= {"generator", "critic"}


# --- results ----------------------------------------------------------------------------------------------


def test_a_variable_names_a_result_that_the_library_has_named(draw: Draw) -> None:
    program = """
x = data(4, 3)
recon = mt.losses.mse_loss(x, mt.tensor(np.ones((4, 3))))
kl = mt.losses.mse_loss(x, mt.tensor(np.zeros((4, 3))))
other = kl
hidden = nn.RNNCell(3, 2, rng=0)(x, mt.zeros((4, 2)))
whitened = mt.norms.layer_norm(x, 3)
total = recon + kl + hidden.sum() + whitened.sum()
"""
    names = named(draw(program))
    assert {"recon", "kl", "hidden", "whitened", "total"} <= names.keys()
    assert names.keys().isdisjoint({"loss", "h", "x̂", "other"})


def test_a_name_that_the_user_gave_stays(draw: Draw) -> None:
    program = """
x = data(4)
y = mt.label(x * 2.0, "loss")
z = x * 3.0
z.name = "h"
sum_of_both = mt.label((y + z).sum(), "my loss")
"""
    assert named(draw(program)).keys() == {"x", "loss", "h", "my loss"}


def test_a_name_with_a_space_is_shown(draw: Draw) -> None:
    graph = draw("x = data(4)\ny = x * 2.0\ny.name = 'twice the x'\nz = y.sum()")
    assert "×  2  twice the x" in viz.render(graph, "tree").decode().replace("× 2", "×  2")
    for format in ("svg", "mermaid"):
        assert "twice the x" in viz.render(graph, format).decode().replace("\xa0", " ")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["損失", "שגיאה", "خسارة", "потеря", "ñandú", "x̂"[0] + "y", "हानि"])
def test_names_of_every_alphabet_reach_the_picture(draw: Draw, name: str) -> None:
    graph = draw(f"網 = nn.Linear(3, 2, rng=0)\nx = data(4, 3)\n{name} = mt.losses.mse_loss(網(x), mt.zeros((4, 2)))")
    assert graph.nodes[graph.root].name == name
    assert frames(graph)[0] == "網"
    assert name in viz.render(graph, "tree").decode()
    assert name in viz.render(graph, "svg").decode()


def test_the_list_of_names_is_that_of_the_library() -> None:
    root = Path(microtensor.__file__).parent
    rooms = ["functional.py", "losses.py", *(f"{room}/**/*.py" for room in ("norms", "nn", "ops"))]
    given = set()
    for path in (path for room in rooms for path in root.glob(room)):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "label":
                name = call.args[1]
                given |= {name.value} if isinstance(name, ast.Constant) else set()
    assert len(given) > 30
    assert all(map(is_of_library, given))
    # The states of recurrent layers and the parts of attention are named in a loop.
    assert LIBRARY - given == set("QKVcg") - given


@pytest.mark.parametrize("words", ["mt.tensor([1, 2, 3, 1])", "np.array([1, 2, 3, 1])"])
def test_a_variable_names_the_indices_of_an_embedding(draw: Draw, words: str) -> None:
    graph = draw(f"other = mt.tensor([1, 2, 3, 0])\nwords = {words}\ny = nn.Embedding(10, 4, rng=0)(words) * 2.0")
    assert [(node.name, node.role) for node in graph.nodes if node.kind == "data"] == [("words", "indices")]


# --- references in the tree -------------------------------------------------------------------------------


def test_a_reference_says_whose_parameter_it_is(draw: Draw) -> None:
    program = """
enc, dec = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)
y = dec(enc(dec(enc(data(2, 3)))))
"""
    graph = draw(program)
    tree = viz.render(graph, "tree").decode()
    for owner in ("enc", "dec"):
        for name in ("W", "b"):
            lines = [line for line in tree.splitlines() if f"{owner}.{name}  parameter" in line]
            assert len(lines) == 2
            assert sum("↑" in line or "↓" in line for line in lines) == 1
    dot = viz.render(graph, "dot", depth=0).decode()
    assert all(f"<B>{owner}.{name}</B>" in dot for owner in ("enc", "dec") for name in ("W", "b"))
    assert viz.from_json(viz.to_json(graph)) == graph


def test_a_parameter_in_the_frame_of_its_module_needs_no_more_than_its_name(draw: Draw) -> None:
    graph = draw("enc = nn.Linear(3, 2, rng=0)\ny = enc(data(2, 3))")
    assert {(node.name, node.owner) for node in graph.nodes if node.kind == "parameter"} == {("W", "enc"), ("b", "enc")}
    assert "enc." not in viz.render(graph, "tree").decode()
    assert "<B>enc." not in viz.render(graph, "dot").decode()
