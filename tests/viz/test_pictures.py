"""The pictures: every format, the visual language's rules, determinism, hostile text, engines."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import demos, viz
from microtensor.graph import Graph
from microtensor.viz import engine, labels
from microtensor.viz.dot import to_dot
from microtensor.viz.legend import NOT_SEARCHED
from microtensor.viz.theme import TOKENS
from tests.places import DOCS

SVG = "{http://www.w3.org/2000/svg}"


def graph_of(name: str) -> Graph:
    return Graph.from_tensor(demos.DEMOS[name]())


def texts(svg: bytes) -> list[str]:
    return [
        "".join(element.itertext()).replace("\xa0", " ") for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


# --- colours ----------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


FILLS = [name for name in TOKENS if name.endswith("-fill") or name in ("bg", "scope-even", "scope-odd")]
NODE_FILLS = ["data-fill", "parameter-fill", "statistics-fill", "operation-fill", "constant-fill"]
BEHIND = ["bg", "scope-even", "scope-odd", "statistics-scope-fill"]
TEXT = [
    *itertools.product(["ink", "muted"], FILLS),
    *itertools.product(["gradient", "first", "second"], NODE_FILLS),
    ("failed", "failed-fill"),
    ("gradient", "pill-fill"),
    ("parameter-border", "operation-fill"),
    ("parameter-border", "statistics-fill"),
    ("statistics-border", "statistics-scope-fill"),
]
LINES = [
    *itertools.product([t for t in TOKENS if t.startswith("edge-")] + ["gradient", "first", "second"], BEHIND),
    *itertools.product(["failed"], [*BEHIND, "failed-fill"]),
    *[(f"{kind}-border", f"{kind}-fill") for kind in ("data", "parameter", "statistics", "operation", "constant")],
    *itertools.product(["scope-border"], ["bg", "scope-even", "scope-odd"]),
    ("statistics-scope-border", "statistics-scope-fill"),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_have_enough_contrast(theme: int) -> None:
    low_text = [(a, b) for a, b in TEXT if contrast(TOKENS[a][theme], TOKENS[b][theme]) < 4.5]
    low_lines = [(a, b) for a, b in LINES if contrast(TOKENS[a][theme], TOKENS[b][theme]) < 3.0]
    assert (low_text, low_lines) == ([], [])


def test_every_light_value_belongs_to_one_token() -> None:
    lights = [light for light, _ in TOKENS.values()]
    assert len(set(lights)) == len(lights)


# --- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["forward", "backward"])
@pytest.mark.parametrize("name", sorted(demos.DEMOS))
def test_svg_parses_adapts_and_carries_nothing_active(name: str, view: str) -> None:
    svg = viz.render(graph_of(name), "svg", view=view)  # type: ignore[arg-type]
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert b"prefers-color-scheme:dark" in svg
    active = {"script", "a", "foreignObject", "image", "iframe"}
    assert not [e.tag for e in root.iter() if str(e.tag).removeprefix(SVG) in active]
    assert not [k for e in root.iter() for k in e.attrib if "href" in k.lower() or k.lower().startswith("on")]


def test_a_fixed_theme_has_no_style_for_the_other() -> None:
    dark = viz.render(graph_of("batch_norm"), "svg", theme="dark")
    assert b"prefers-color-scheme" not in dark
    assert TOKENS["bg"][1].encode() in dark
    assert TOKENS["data-fill"][0].encode() not in dark


def test_all_colours_of_a_picture_are_tokens() -> None:
    svg = viz.render(graph_of("mlp"), "svg", view="backward", theme="light").decode()
    used = set(re.findall(r"#[0-9a-fA-F]{6}", svg))
    assert used <= {light for light, _ in TOKENS.values()}


def test_png_is_a_png_of_both_views() -> None:
    for view in ("forward", "backward"):
        png = viz.render(graph_of("batch_norm"), "png", view=view)  # type: ignore[arg-type]
        assert png.startswith(b"\x89PNG\r\n\x1a\n")


def test_a_long_png_stays_within_what_the_engine_can_draw() -> None:
    x = mt.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(200):
        y = mt.tanh(y)
    with pytest.warns(UserWarning, match="dots per inch instead of 144"):
        png = viz.render(Graph.from_tensor(y), "png")
    height = int.from_bytes(png[20:24], "big")
    assert 10_000 < height <= 16_384


@pytest.mark.parametrize("name", sorted(demos.DEMOS))
def test_json_is_written_and_read_back(name: str) -> None:
    graph = graph_of(name)
    text = viz.render(graph, "json").decode()
    assert json.loads(text)["schema"] == "microtensor.graph/1"
    assert viz.from_json(text) == graph
    assert viz.to_json(viz.from_json(text)) == text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "other"}', '{"schema": "microtensor.graph/1", "nodes": 3}']
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a graph of schema microtensor\.graph/1"):
        viz.from_json(text)


def test_json_holds_nan_and_infinity_as_text() -> None:
    x = mt.tensor([0.0], requires_grad=True)
    text = viz.to_json(Graph.from_tensor(mt.sqrt(x)))
    assert '"Infinity"' in text
    assert viz.from_json(text).nodes[0].grad == float("inf")


def test_the_tree_runs_down_the_direct_path() -> None:
    tree = viz.render(graph_of("batch_norm"), "tree", view="backward").decode().splitlines()
    trunk = [line.split("  ")[0] for line in tree[1:] if not line.startswith(("├", "│"))]
    assert trunk == ["+", "×", "÷", "x − μ", "x"]
    assert "│  ↓ x − μ" in [line.rstrip() for line in tree]


def test_the_tree_can_be_plain_or_coloured() -> None:
    plain = viz.render(graph_of("batch_norm"), "tree", ascii=True).decode()
    assert "|- " in plain
    assert "├" not in plain
    assert "\x1b[33m" in viz.render(graph_of("batch_norm"), "tree", color=True).decode()
    assert "\x1b" not in plain


def test_a_deep_tree_is_no_recursion() -> None:
    x = mt.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(2000):
        y = y + 1.0
    assert viz.to_tree(Graph.from_tensor(y)).count("\n") == 2000


def test_unknown_words_are_refused() -> None:
    graph = graph_of("batch_norm")
    for options in ({"format": "gif"}, {"format": "svg", "view": "side"}, {"format": "svg", "theme": "sepia"}):
        with pytest.raises(ValueError, match="must be one of"):
            viz.render(graph, **options)  # type: ignore[arg-type]


# --- the visual language ----------------------------------------------------------------------------------


def test_forward_and_backward_show_the_same_nodes() -> None:
    for name in demos.DEMOS:
        graph = graph_of(name)
        nodes = [
            re.findall(r"^\s+(n\d+|output) \[", to_dot(graph, view=v), re.MULTILINE) for v in ("forward", "backward")
        ]  # type: ignore[arg-type]
        assert nodes[0] == nodes[1]


def test_labels_of_batch_norm() -> None:
    shown = texts(viz.render(graph_of("batch_norm"), "svg"))
    for label in ["x − μ", "( )²", "+ ε", "ε = 1e-5  (1, 4)", "σ²  (1, 4)", "x̂  (8, 4)", "γ", "β", "(4,)", "√"]:
        assert label in shown


def test_local_rules_carry_the_names_of_what_they_read() -> None:
    shown = texts(viz.render(graph_of("batch_norm"), "svg", view="backward"))
    for rule in ["g/8", "2(x − μ)·g", "g/(2σ)", "g/σ,  −Σᵢ g·x̂/σ", "g·γ,  Σᵢ g·x̂"]:
        assert rule in shown
    matrix = texts(viz.render(graph_of("mlp"), "svg", view="backward"))
    assert "g@W,  xᵀ@g" in matrix


def test_pills_stand_only_where_contributions_add() -> None:
    dot = to_dot(graph_of("batch_norm"), view="backward")
    assert sorted(set(re.findall(r"g\d+_\d+_\d+", dot))) == ["g0_1_0", "g0_2_0", "g2_3_0", "g2_7_0"]
    assert dot.count(", sum of 2") == 2


def test_a_zero_gradient_is_drawn_apart_from_one_not_computed() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    zero = to_dot(Graph.from_tensor((x * 0.0).sum()), view="backward")
    assert "‖grad‖ 0<" in zero
    missing = to_dot(Graph.from_tensor((x * 0.0).sum(), gradients=False), view="backward")
    assert "‖grad‖ –" in missing


def test_an_infinite_gradient_is_labelled() -> None:
    x = mt.tensor([0.0, 1.0], requires_grad=True, name="x")
    dot = to_dot(Graph.from_tensor(mt.sqrt(x).sum()), view="backward")
    assert "‖grad‖ ∞" in dot
    assert 'label=" ∞"' in dot


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0"), (1e-13, "0"), (0.02915, "0.029"), (0.04, "0.040"), (0.5, "0.50"), (1.0, "1"),
        (12.34, "12"), (123.0, "123"), (12345.0, "1.2e4"), (2.5e-7, "2.5e-7"), (float("nan"), "NaN"),
        (float("inf"), "∞"),
    ],
)  # fmt: skip
def test_numbers_have_two_digits(value: float | None, text: str) -> None:
    assert labels.number(value) == text


def test_the_legend_explains_what_occurs_and_can_be_left_out() -> None:
    forward = texts(viz.render(graph_of("batch_norm"), "svg"))
    assert "statistics path" in [t.strip() for t in forward]
    x = mt.tensor([1.0], requires_grad=True)
    plain = [t.strip() for t in texts(viz.render(Graph.from_tensor(mt.exp(x)), "svg"))]
    assert "statistics path" not in plain
    assert "direct path" in plain
    bare = [t.strip() for t in texts(viz.render(Graph.from_tensor(mt.exp(x)), "svg", legend=False))]
    assert "direct path" not in bare


def large() -> tuple[mt.Tensor, Graph]:
    """A graph that is too large to be searched for norms as a whole."""
    x = mt.tensor(np.eye(3), requires_grad=True, name="x")
    with mt.name_scope("many"):
        y = x
        for _ in range(2_001):
            y = y * 1.0
    return y, Graph.from_tensor(y, gradients=False)


def test_a_picture_whose_graph_was_not_searched_for_norms_says_what_amber_is() -> None:
    y, graph = large()
    says = [text.strip() for text in texts(viz.render(graph, "svg", depth=0))]
    assert says.index(NOT_SEARCHED.split(": ")[0]) == says.index(NOT_SEARCHED.split(": ")[1]) - 1
    bare = ElementTree.fromstring(viz.render(graph, "svg", depth=0, legend=False))
    assert NOT_SEARCHED in (bare.findtext(f"{SVG}desc") or "")
    assert json.dumps(NOT_SEARCHED) in viz.render(graph, "html", depth=0, output=y).decode()
    stored = viz.render(graph, "json")
    assert json.loads(stored)["searched"] is False
    assert viz.from_json(stored) == graph
    assert NOT_SEARCHED.encode() not in viz.render(graph_of("batch_norm"), "svg")


def test_a_graph_stored_without_the_flag_was_searched() -> None:
    content = json.loads(viz.render(graph_of("batch_norm"), "json"))
    del content["searched"]
    assert viz.from_json(json.dumps(content)) == graph_of("batch_norm")


# --- determinism and hostile text -------------------------------------------------------------------------


def test_dot_and_json_are_byte_identical_from_run_to_run() -> None:
    program = (
        "import sys; from microtensor import demos, viz; from microtensor.graph import Graph\n"
        "for name in sorted(demos.DEMOS):\n"
        "    for format in ('dot', 'json'):\n"
        "        graph = Graph.from_tensor(demos.DEMOS[name]())\n"
        "        sys.stdout.buffer.write(viz.render(graph, format, view='backward'))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 10_000
    assert b"0x" not in outputs[0]


PASSIVE = {"svg", "title", "desc", "style", "g", "path", "polygon", "polyline", "ellipse", "text", "tspan"}


@settings(max_examples=40, deadline=None)
@given(name=st.text(max_size=90))
def test_any_name_gives_a_picture_with_the_text_intact(name: str) -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name=name)
    with mt.name_scope(name or "scope"):
        y = mt.label(mt.exp(x) * x, name)
    svg = viz.render(Graph.from_tensor(y), "svg")
    assert {str(e.tag).removeprefix(SVG) for e in ElementTree.fromstring(svg).iter()} <= PASSIVE
    shown = "\n".join(texts(svg))
    if name.strip():
        assert re.sub(r"\s+", " ", labels.safe_text(name)).strip() in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"];x', "a\\N\\G", "<B>", "&amp;", "}", "->", "\u202eabc"]
)
def test_hostile_names_are_text(name: str) -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name=name)
    svg = viz.render(Graph.from_tensor(mt.exp(x)), "svg")
    assert labels.safe_text(name) in texts(svg)
    assert b"<script" not in svg


def test_long_names_are_cut() -> None:
    assert labels.safe_text("n" * 200) == "n" * 59 + "…"


# --- engines ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "embedded", lambda: None)
    monkeypatch.setattr(engine.shutil, "which", lambda name: None)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("which", ["auto", "embedded", "system"])
def test_without_an_engine_the_error_names_the_way_out(which: str) -> None:
    with pytest.raises(viz.EngineError, match=r"(?s)install.*tree, json, mermaid and dot need none"):
        viz.render(graph_of("batch_norm"), "svg", engine=which)  # type: ignore[arg-type]
    assert viz.render(graph_of("batch_norm"), "dot", engine=which)  # type: ignore[arg-type]


def fake_engine(tmp_path: Path, body: str) -> str:
    path = tmp_path / "dot"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in engine is a shell script")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "cat >/dev/null; echo first >&2; echo syntax error in line 3 >&2; exit 1",
            r"status 1\): syntax error in line 3",
        ),
        ("cat >/dev/null; exit 0", "without a word"),
        ("cat >/dev/null; echo '<svg/>'; exit 1", "status 1"),
        ("kill -SEGV $$", r"failed \(ended by signal 11\): without a word"),
        ("cat >/dev/null; echo rubbish", "failed .*what it wrote is not an SVG: 'rubbish"),
        ("cat >/dev/null; echo '<svg xmlns=\"http://www.w3.org/2000/svg\"><g>'", "is not an SVG"),
        ("cat >/dev/null; echo '<html/>'", "is not an SVG"),
        ("cat >/dev/null; echo '<svg xmlns=\"http://www.w3.org/2000/svg\"/>'", "is not an SVG"),
        ("cat >/dev/null; printf '\\377\\376\\000'", "is not an SVG"),
        ('cat >/dev/null; printf \'<?xml version="1.0" encoding="none"?><svg/>\'', "is not an SVG"),
    ],
)
def test_an_engine_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    executable = fake_engine(tmp_path, body)
    monkeypatch.setattr(engine, "find", lambda _: executable)
    with pytest.raises(viz.EngineError, match=message):
        engine.layout("digraph {}", "svg")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in engine is a shell script")
@pytest.mark.parametrize("written", ["rubbish", r"\211PNG\r\n\032\n and no end"])
def test_half_a_png_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    executable = fake_engine(tmp_path, f"cat >/dev/null; printf '{written}'")
    monkeypatch.setattr(engine, "find", lambda _: executable)
    with pytest.raises(viz.EngineError, match="what it wrote is not a PNG"):
        engine.layout("digraph {}", "png")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in engine is a shell script")
def test_an_engine_whose_child_keeps_its_pipes_does_not_keep_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable = fake_engine(tmp_path, "setsid sleep 5 & sleep 60")
    monkeypatch.setattr(engine, "find", lambda _: executable)
    start = time.monotonic()
    with pytest.raises(viz.EngineError, match=r"longer than 0\.3 s"):
        engine.layout("digraph {}", "svg", timeout=0.3)
    assert time.monotonic() - start < 4


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in engine is a shell script")
def test_an_engine_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = fake_engine(tmp_path, "sleep 60 & sleep 60")
    monkeypatch.setattr(engine, "find", lambda _: executable)
    with pytest.raises(viz.EngineError, match=r"longer than 0\.3 s"):
        engine.layout("digraph {}", "svg", timeout=0.3)


def test_an_engine_that_cannot_start_is_an_engine_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find", lambda _: str(tmp_path / "missing"))
    with pytest.raises(viz.EngineError, match="cannot be started"):
        engine.layout("digraph {}", "svg")


def test_the_embedded_engine_comes_first() -> None:
    if engine.embedded() is None:
        pytest.skip("graphviz-pure has no wheel for this platform")
    assert engine.find("auto") == engine.find("embedded")


def test_the_systems_dot_draws_the_same_pictures() -> None:
    if engine.shutil.which("dot") is None:
        pytest.skip("there is no dot on the PATH")
    graph = graph_of("batch_norm")
    system, embedded = (sorted(texts(viz.render(graph, "svg", engine=e))) for e in ("system", "embedded"))  # type: ignore[arg-type]
    assert system == embedded


def test_the_picture_of_the_readme_is_what_the_program_draws() -> None:
    if engine.embedded() is None:
        pytest.skip("graphviz-pure has no wheel for this platform, and another engine draws it a little differently")
    kept = DOCS / "batch_norm.svg"
    y = demos.batch_norm()
    assert viz.render(Graph.from_tensor(y), "svg", view="backward", output=y) == kept.read_bytes()


def test_tooltips_have_the_line_of_the_program() -> None:
    with mt.trace_lines():
        y = mt.exp(mt.tensor([1.0], requires_grad=True))
    svg = ElementTree.fromstring(viz.render(Graph.from_tensor(y), "svg"))
    titles = [title.text or "" for title in svg.iter(f"{SVG}title")]
    assert any(re.search(r"exp .*test_pictures\.py:\d+ in test_tooltips", title) for title in titles)


def test_values_do_not_change_when_drawn() -> None:
    output = demos.batch_norm()
    before = output.numpy().copy()
    viz.render(Graph.from_tensor(output), "svg", view="backward")
    np.testing.assert_array_equal(output.numpy(), before)
    output.backward(np.ones(output.shape))


def test_two_pictures_on_one_page_have_ids_and_classes_of_their_own() -> None:
    graph, other = Graph.from_tensor(demos.batch_norm()), Graph.from_tensor(demos.layer_norm())
    pictures = [viz.render(graph, "svg", theme=theme) for theme in ("auto", "light", "dark")]
    pictures.append(viz.render(other, "svg"))
    roots = [ElementTree.fromstring(picture) for picture in pictures]
    ids = [{e.get("id") for e in root.iter() if e.get("id")} for root in roots]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(ids, 2))
    assert len({root.get("class") for root in roots}) == 4
    assert viz.render(graph, "svg") == pictures[0]
