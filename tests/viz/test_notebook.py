"""What a notebook displays, asked for as IPython asks: a stand-in for IPython, the real mime bundles."""

from __future__ import annotations

import base64
import html
import io
import re
import sys
import types
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos
from microtensor.display import show
from microtensor.graph import Graph
from microtensor.viz import engine, modules, notebook

TEXT, SVG, PNG, HTML = "text/plain", "image/svg+xml", "image/png", "text/html"
PICTURE = {SVG, PNG}


class Shell:
    """A shell of IPython; with a kernel it is a notebook's."""

    def __init__(self, kernel: bool) -> None:
        if kernel:
            self.kernel = object()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What the notebook in which the test runs has displayed."""
    displayed: list[dict[str, str]] = []

    def display(bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        displayed.append(bundle)

    monkeypatch.setitem(sys.modules, "IPython", stand_in(Shell(kernel=True), display))
    return displayed


def stand_in(shell: Shell, display: Any = None) -> Any:
    return types.SimpleNamespace(get_ipython=lambda: shell, display=types.SimpleNamespace(display=display))


def asked(value: Any, **options: Any) -> dict[str, str]:
    """As IPython's formatter calls the method."""
    found: dict[str, str] = value._repr_mimebundle_(**{"include": None, "exclude": None} | options)
    assert all(isinstance(text, str) for text in found.values())
    return found


def chain(length: int) -> mt.Tensor:
    x = mt.tensor(np.ones(2), requires_grad=True, name="x")
    for _ in range(length):
        x = x + 1.0
    return x


# --- tensors --------------------------------------------------------------------------------------------------


def test_a_leaf_is_its_text() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    assert asked(x) == {TEXT: repr(x)}


def test_a_tensor_with_a_history_has_its_graph_beside_it() -> None:
    y = demos.batch_norm()
    bundle = asked(y)
    assert bundle[TEXT] == repr(y)
    assert set(bundle) == {TEXT, HTML, *PICTURE}
    assert base64.b64decode(bundle[PNG]).startswith(b"\x89PNG")
    value, picture = re.fullmatch(
        r"<pre[^>]*>(.*)</pre><img alt=\"([^\"]+)\" src=.*/>", bundle[HTML], re.DOTALL
    ).groups()  # type: ignore[union-attr]
    assert html.unescape(value) == repr(y)
    assert "bn1" in picture
    assert base64.b64encode(bundle[SVG].encode()).decode() in bundle[HTML]
    root = ElementTree.fromstring(bundle[SVG])
    words = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"x", "γ", "β", "BatchNorm1d(4)"} <= set(words)
    assert "script" not in bundle[SVG]


def test_a_larger_graph_is_folded_to_a_glance_and_a_still_larger_one_is_told() -> None:
    folded = asked(demos.mlp())[SVG]
    assert 0 < len(re.findall(r'class="node', folded)) <= notebook.GLANCE_NODES + 1
    for length in (100, 2 * notebook.COUNTED):
        y = chain(length)
        bundle = asked(y)
        assert set(bundle) == {TEXT}
        first, last = bundle[TEXT].split("\n")
        assert first == repr(y)
        assert "mt.show(tensor" in last


def test_what_is_not_wanted_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    y = demos.batch_norm()
    assert set(asked(y, include={SVG})) == {SVG}
    monkeypatch.setattr(notebook, "_pictures", None)
    assert set(asked(y, include={TEXT})) == {TEXT}
    assert set(asked(y, exclude={SVG, PNG, HTML})) == {TEXT}


def test_a_terminal_gets_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", stand_in(Shell(kernel=False)))
    assert set(asked(demos.batch_norm())) == {TEXT}


def test_without_an_engine_there_is_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(engine, "embedded", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    y = demos.batch_norm()
    assert asked(y) == {TEXT: repr(y)}
    bundle = notebook.mimebundle(Graph.from_tensor(y))
    assert set(bundle) == {TEXT}
    assert "BatchNorm1d" not in bundle[TEXT].splitlines()[0]
    assert bundle[TEXT].endswith("need none.")


def test_any_failure_inside_leaves_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    y, graph = demos.batch_norm(), Graph.from_tensor(demos.batch_norm())
    monkeypatch.setattr(notebook, "to_dot", broken)
    monkeypatch.setattr(notebook, "to_tree", broken)
    assert asked(y) == {TEXT: repr(y)}
    assert notebook.mimebundle(graph) == {TEXT: repr(graph)}
    module = mt.nn.ReLU()
    monkeypatch.setattr(type(module), "title", broken)
    monkeypatch.setattr(type(module), "__repr__", broken)
    assert asked(module)[TEXT].startswith("<microtensor.nn")


def test_a_frozen_and_freed_graph_is_shown_too() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    loss = (x * x).sum()
    loss.backward()
    assert set(asked(loss)) == {TEXT, HTML, *PICTURE}


# --- graphs ---------------------------------------------------------------------------------------------------


def test_a_graph_is_a_tree_and_a_picture() -> None:
    bundle = notebook.mimebundle(Graph.from_tensor(demos.batch_norm()))
    assert set(bundle) == {TEXT, *PICTURE}
    assert "x  input" in bundle[TEXT]


def test_a_graph_without_scopes_and_too_large_is_cut_and_says_so() -> None:
    bundle = notebook.mimebundle(Graph.from_tensor(chain(notebook.COUNTED + 5), gradients=False))
    assert set(bundle) == {TEXT}
    lines = bundle[TEXT].split("\n")
    assert len(lines) == notebook.ROWS + 2
    assert lines[-2].startswith("… ")
    assert "name_scope" in lines[-1]


def test_ids_on_one_page_do_not_clash() -> None:
    pictures = [asked(demos.batch_norm())[SVG], asked(demos.layer_norm())[SVG], asked(demos.mlp())[SVG]]
    ids = [re.findall(r' id="([^"]+)"', picture) for picture in pictures]
    assert all(found for found in ids)
    flat = [name for found in ids for name in found]
    assert len(flat) == len(set(flat))
    assert asked(demos.batch_norm())[SVG] == pictures[0]
    # A style sheet acts on its own picture alone.
    for picture in pictures:
        name = re.search(r'class="(mt[0-9a-f]+)"', picture)
        assert name
        rules = re.findall(r"[^{}]+(?=\{(?!\.))", re.search(r"<style>(.*?)</style>", picture, re.DOTALL)[1])  # type: ignore[index]
        assert all(rule.startswith(f".{name[1]} ") for rule in rules if not rule.startswith("@media"))


# --- modules --------------------------------------------------------------------------------------------------


def network() -> mt.nn.Module:
    return mt.nn.Sequential(
        mt.nn.Linear(4, 3, rng=0), mt.nn.BatchNorm1d(3), mt.nn.Sequential(mt.nn.ReLU(), mt.nn.Linear(3, 2, rng=1))
    )


def test_a_module_is_a_tree_with_the_numbers_of_its_parameters() -> None:
    bundle = asked(network())
    assert set(bundle) == {TEXT, HTML}
    assert bundle[TEXT].splitlines() == [
        "Sequential              29",
        "├─ 0: Linear(4, 3)      15",
        "├─ 1: BatchNorm1d(3)     6",
        "└─ 2: Sequential         8",
        "   ├─ 0: ReLU            0",
        "   └─ 1: Linear(3, 2)    8",
        "29 parameters, training",
    ]
    tree = ElementTree.fromstring(bundle[HTML].replace("<details open>", '<details open="">'))
    assert [b.text for b in tree.iter("b")] == [
        "Sequential",
        "Linear(4, 3)",
        "BatchNorm1d(3)",
        "Sequential",
        "ReLU",
        "Linear(3, 2)",
    ]
    assert "weight (3, 4), bias (3,)" in bundle[HTML]
    assert "29 parameters" in bundle[HTML]


def test_shared_parameters_count_once_and_modes_are_said() -> None:
    layer = mt.nn.Linear(2, 2, bias=False, rng=0)
    model = mt.nn.Sequential(layer, layer)
    assert modules.to_text(model).splitlines()[0].split() == ["Sequential", "4"]
    assert modules.to_text(model.eval()).endswith("4 parameters, evaluating")
    mixed = mt.nn.Sequential(mt.nn.ReLU(), mt.nn.ReLU()).train()
    mixed[0].eval()
    assert modules.to_text(mixed).endswith("0 parameters, partly training")
    assert modules.to_text(mt.nn.Linear(1, 1, bias=False, rng=0)).endswith("1 parameter, training")


def test_a_large_network_is_closed_below_its_first_level_and_names_are_text() -> None:
    model = mt.nn.Sequential(*(mt.nn.Sequential(mt.nn.ReLU()) for _ in range(30)))
    assert modules.to_html(model).count("<details open>") == 1
    assert modules.to_html(model).count("<details>") == 30
    hostile = mt.nn.Module()
    hostile.add_module("<img src=x onerror=alert(1)>\u202e", mt.nn.ReLU())
    assert "<img" not in modules.to_html(hostile)
    assert "&lt;img" in modules.to_html(hostile)
    assert "\u202e" not in modules.to_html(hostile) + modules.to_text(hostile)


def test_a_single_layer() -> None:
    assert modules.to_html(mt.nn.ReLU()).count("<details") == 0
    assert modules.to_text(mt.nn.ReLU()) == "ReLU   0\n0 parameters, training"


# --- show -----------------------------------------------------------------------------------------------------


def test_show_prints_the_tree_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    y = demos.batch_norm()
    show(y)
    forward = capsys.readouterr().out
    assert "x  input" in forward
    show(Graph.from_tensor(y), view="backward")
    assert capsys.readouterr().out != forward
    show(y, depth=0)
    assert len(capsys.readouterr().out.splitlines()) < len(forward.splitlines())
    show(network())
    assert "29 parameters" in capsys.readouterr().out
    show(y, interactive=True)
    assert "needs a notebook, or a file" in capsys.readouterr().out


def test_show_prints_in_a_narrow_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    show(demos.batch_norm())
    stream.flush()
    assert b"\\u03b3" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_show_displays_in_a_notebook(shown: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    show(demos.batch_norm(), view="backward")
    show(demos.mlp(), depth=1)
    show(network())
    assert capsys.readouterr().out == ""
    assert [set(bundle) for bundle in shown] == [{TEXT, *PICTURE}, {TEXT, *PICTURE}, {TEXT, HTML}]
    assert "backward" in shown[0][SVG]
    show(demos.batch_norm(), view="combined")
    words = shown[-1][SVG]
    assert "↑ ‖grad‖ 0.0" in words
    assert re.search(r"↓ −?[0-9]", words)


def test_show_says_in_a_notebook_why_there_is_no_picture(
    shown: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "_pictures", lambda *_: (_ for _ in ()).throw(engine.EngineError("it is on strike")))
    show(demos.batch_norm())
    assert shown[0][TEXT].endswith("No picture: it is on strike.")


@pytest.mark.parametrize("as_graph", [False, True])
def test_the_interactive_page_stands_in_a_frame_without_rights(shown: list[dict[str, str]], as_graph: bool) -> None:
    y = demos.batch_norm()
    show(Graph.from_tensor(y) if as_graph else y, interactive=True)
    (bundle,) = shown
    frame = re.fullmatch(
        r'<iframe sandbox="allow-scripts" title="([^"]*)" srcdoc="([^"]*)" style="[^"]*"></iframe>', bundle[HTML]
    )
    assert frame
    assert "bn1" in frame[1]
    page = html.unescape(frame[2])
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert bundle[TEXT].startswith("Interactive page: ")


def test_wrong_use_of_show() -> None:
    x = chain(1)
    with pytest.raises(TypeError, match="must be a tensor, a graph or a module, not a list"):
        show([x])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="view must be one of forward, backward, combined, paths, not 'sideways'"):
        show(x, view="sideways")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth"):
        show(x, depth=-1)
