"""PDF, Mermaid and JSON: parsed, not looked at; numbers in the nodes; the combined view."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zlib
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import demos, viz
from microtensor.graph import Graph
from microtensor.viz import engine, labels
from microtensor.viz.dot import to_dot
from microtensor.viz.letters import drawable
from microtensor.viz.mermaid import to_mermaid
from microtensor.viz.outlines import ACROSS, outline, units, words
from microtensor.viz.pdf import to_pdf
from microtensor.viz.theme import TOKENS

VIEWS = ("forward", "backward", "combined")


def graph_of(name: str, **options: Any) -> Graph:
    return Graph.from_tensor(demos.DEMOS[name](), **options)


def small(name: str = "x") -> Graph:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name=name)
    with mt.name_scope(name or "scope"):
        return Graph.from_tensor(mt.exp(x) * x)


# --- PDF --------------------------------------------------------------------------------------------------


def page(pdf: bytes) -> str:
    """The operators of the only page, after every entry of the table of objects has been followed."""
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", pdf)[1])  # type: ignore[index]
    assert pdf[start : start + 5] == b"xref\n"
    offsets = [int(entry) for entry in re.findall(rb"(\d{10}) 00000 n \n", pdf[start:])]
    for number, offset in enumerate(offsets, 1):
        assert pdf[offset:].startswith(b"%d 0 obj\n" % number)
    assert f"/Size {len(offsets) + 1} ".encode() in pdf[start:]
    content = re.search(rb"/Length (\d+) /Filter /FlateDecode >>\nstream\n", pdf)
    assert content is not None
    packed = pdf[content.end() : content.end() + int(content[1])]
    assert pdf[content.end() + len(packed) :].startswith(b"\nendstream")
    return zlib.decompress(packed).decode("latin-1")


def shown(content: str) -> list[str]:
    """What every line says. It is drawn by as many outlines as it has letters."""
    lines = []
    for said, drawn in re.findall(r"/ActualText <feff([0-9a-f]*)>>> BDC\n(.*?)EMC", content, re.DOTALL):
        text = bytes.fromhex(said).decode("utf-16-be")
        # A frame's name is drawn twice: a halo, and the letters on it.
        times = len(words(text, 1.0).letters)
        assert drawn.count(" Do ") in (times, 2 * times)
        lines.append(text.strip())
    return lines


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", sorted(demos.DEMOS))
def test_a_pdf_is_whole_and_has_every_shape_inside_the_page(name: str, view: Any) -> None:
    pdf = viz.render(graph_of(name), "pdf", view=view)
    content = page(pdf)
    assert content.split().count("q") == content.split().count("Q")
    assert content.count(" BDC") == content.count("\nEMC")
    width, height = (float(n) for n in re.search(rb"MediaBox \[0 0 (\S+) (\S+)\]", pdf).groups())  # type: ignore[union-attr]
    for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+) (?:m|l|c|cm)\b", content):
        assert -1 <= float(x) <= width + 1
        assert -1 <= float(y) <= height + 1


def test_a_pdf_says_what_the_svg_says() -> None:
    graph = graph_of("batch_norm")
    lines = shown(page(viz.render(graph, "pdf")))
    for told in ("x − μ", "( )²", "+ ε", "ε = 1e-5  (1, 4)", "σ²  (1, 4)", "γ", "β", "√", "statistics", "÷"):
        assert told in lines, (told, lines)
    assert any(line.startswith("x̂") for line in lines)
    assert "‖g‖ = 0.049" in shown(page(viz.render(graph, "pdf", view="backward")))


def test_pdf_colours_are_those_of_the_theme() -> None:
    for theme, column in (("auto", 0), ("light", 0), ("dark", 1)):
        content = page(viz.render(graph_of("batch_norm"), "pdf", theme=theme))  # type: ignore[arg-type]
        known = {" ".join(f"{int(v[column][i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5)) for v in TOKENS.values()}
        used = set(re.findall(r"([\d.]+ [\d.]+ [\d.]+) (?:rg|RG)", content))
        assert used <= known


@pytest.mark.filterwarnings("ignore:the font of a PDF lacks")
@settings(max_examples=25, deadline=None)
@given(name=st.text(max_size=40))
def test_any_name_gives_a_pdf_that_can_be_read(name: str) -> None:
    content = page(viz.render(small(name), "pdf"))
    written = labels.safe_text(name).strip()
    if written.isascii() and written:
        # Names of frames are drawn twice, once as their halo.
        assert re.sub(r"\s+", " ", written) in [re.sub(r"\s+", " ", line) for line in shown(content)]


def test_letters_that_the_font_lacks_are_told() -> None:
    with pytest.warns(UserWarning, match="lacks 中 文; ¿ stands there"):
        content = page(viz.render(small("中文 \\"), "pdf"))
    assert "中文 \\" in shown(content)


def test_a_pdf_needs_no_font() -> None:
    pdf = viz.render(small("ŷ θ̂ ∇ ∈ 𝔼 ⊙"), "pdf")
    assert b"/Font" not in pdf
    if shutil.which("pdffonts"):
        with NamedTemporaryFile(suffix=".pdf") as file:
            file.write(pdf)
            file.flush()
            told = subprocess.run(["pdffonts", file.name], capture_output=True, text=True, check=True)
        # Two lines of heading, and nothing below.
        assert len(told.stdout.splitlines()) == 2


def test_a_png_says_which_letters_its_font_lacks() -> None:
    if engine.embedded() is None:
        pytest.skip("the embedded engine is not installed")
    with pytest.warns(UserWarning, match="the font of a PNG lacks 中; ¿ stands there"):
        viz.render(small("中 ∇ 中"), "png")
    assert drawable("∇ ⊙ θ̂ √ ∂ ‖ᵀ² ½ אב") == ("grad · θ̂ √ ∂ ‖ᵀ² ½ אב", "")
    viz.render(small("∇f"), "png")


def inked(text: str) -> list[tuple[float, float]]:
    """From where to where each letter of a line is drawn, across."""
    places = []
    for letter in words(text, 10.0).letters:
        xs = [float(x) for line in outline(letter.glyph) for x in line.split()[:-1:2]]
        scale = ACROSS * 10.0 / units()
        places.append((letter.x + scale * min(xs), letter.x + scale * max(xs)))
    return places


def test_an_accent_stands_above_its_letter() -> None:
    assert len(words("ŷ", 10.0).letters) == 1
    for text, high in (("x̂", False), ("Θ̂", True), ("d̂", True)):
        letter, accent = inked(text)
        assert letter[0] < (accent[0] + accent[1]) / 2 < letter[1]
        assert sum(letter) == pytest.approx(sum(accent), abs=0.02)
        assert (words(text, 10.0).letters[1].rise > 0) is high
        assert words(text, 10.0).width == words(text[0], 10.0).width


def test_words_are_as_wide_as_the_layout_has_them_and_hebrew_runs_leftward() -> None:
    assert words("mean 0.10", 10.0).width == pytest.approx(sum((8.33, 5.56, 5.56, 5.56, 2.78, 5.56, 2.78, 11.12)))
    assert words("mean", 10.0, bold=True).width > words("mean", 10.0).width
    order = [letter.glyph for letter in words("אב (2,)", 10.0).letters]
    assert order == [letter.glyph for part in ("ב", "א", " (2,)") for letter in words(part, 10.0).letters]


def test_a_curve_is_drawn_through_the_points_of_the_outline() -> None:
    operators = list(outline(words("o", 1.0).letters[0].glyph))
    assert [line[-1] for line in operators].count("h") == 2
    xs = [float(x) for line in operators for x in line.split()[:-1:2]]
    assert (min(xs), max(xs)) == (113.0, 1141.0)


def test_a_pdf_of_an_ellipse_and_a_dashed_polyline() -> None:
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><g transform="translate(4 16)">'
        b'<ellipse cx="0" cy="0" rx="2" ry="1" fill="white" stroke="black"/>'
        b'<polyline points="0,0 1,1" fill="none" stroke="#ff0000" stroke-dasharray="5,2"/>'
        b'<path d="M0,0L1,1Z" fill="none" stroke="none"/>'
        b'<text x="3" text-anchor="end" font-size="10">ab</text></g></svg>'
    )
    lines = page(to_pdf(svg)).splitlines()
    assert "6.00 4.00 m" in lines
    assert lines.count("B") == 1
    assert "[5 2] 0 d" in lines
    start, advance = 20 - 13 - 11.12, 5.56
    places = [float(line.split()[5]) for line in lines if line.endswith("Do Q")]
    assert places == pytest.approx([start, start + advance], abs=0.2)


# --- Mermaid ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("name", sorted(demos.DEMOS))
def test_a_flow_chart_is_well_formed(name: str, depth: int | None, view: Any) -> None:
    graph = graph_of(name).collapsed(depth)
    lines = [line.strip() for line in to_mermaid(graph, view=view).splitlines()]
    assert lines[0] == "flowchart TD"
    drawn = re.compile(r'(n\d+)(?:\(\["|\["|\("|\[\[").*(?:"\]\)|"\]|"\)|"\]\]):::(\w+)')
    nodes = [match for line in lines if (match := drawn.fullmatch(line))]
    assert sorted(match[1] for match in nodes) == sorted(f"n{node.id}" for node in graph.nodes)
    classes = {line.split()[1] for line in lines if line.startswith("classDef")}
    assert {match[2] for match in nodes} == classes
    edges = [line for line in lines if re.match(r"n\d+ [=.-]+", line)]
    assert len(edges) == len(graph.edges)
    styled = [int(i) for line in lines if line.startswith("linkStyle") for i in line.split()[1].split(",")]
    assert sorted(styled) == list(range(len(edges)))
    assert lines.count("end") == sum(line.startswith("subgraph") for line in lines) == len(graph.scopes)
    assert set(re.findall(r"#[0-9a-f]{6}", "\n".join(lines))) <= {light for light, _ in TOKENS.values()}


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=60))
def test_no_name_ends_its_quotes_or_starts_markup(name: str) -> None:
    for line in to_mermaid(small(name)).splitlines():
        quoted = re.findall(r'"[^"]*"', line)
        assert line.count('"') == 2 * len(quoted) <= 2
        for text in quoted:
            assert not re.search(r"[`\\]|<(?!/?b>|br/>)", text)
            assert not re.search(r"#(?!\d+;)", text)


# --- JSON -------------------------------------------------------------------------------------------------


def broken(**changes: Any) -> str:
    content = json.loads(viz.to_json(small()))
    content.update(changes)
    return json.dumps(content)


def first(table: str, /, **changes: Any) -> str:
    content = json.loads(viz.to_json(small()))
    content[table][0].update(changes)
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    [
        broken(root=99), broken(root=True), broken(nodes=[]), broken(cotangent=3), broken(more=1), broken(compared=[1]),
        first("nodes", kind="spy"), first("nodes", shape=[1.5]), first("nodes", id=1), first("nodes", scope=7),
        first("nodes", scope=-1), first("nodes", constants=[[0, "x"]]), first("nodes", extra=1),
        first("nodes", name=None), first("edges", source=-1), first("edges", grad="much"), first("edges", kind=[]),
        first("scopes", parent=0), first("scopes", id=4), first("nodes", table=[1]), "[" * 100_000,
    ],
    ids=lambda text: str(len(text)),
)  # fmt: skip
def test_a_graph_that_a_drawing_could_stumble_over_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a graph of schema microtensor\.graph/1: "):
        viz.from_json(text)


def test_values_lines_and_non_numbers_come_back() -> None:
    x = mt.tensor([np.inf, -np.inf, np.nan], requires_grad=True, name="x")
    with mt.trace_lines():
        y = x * 2.0
    graph = Graph.from_tensor(y, values="full")
    text = viz.to_json(graph)
    again = viz.from_json(text)
    assert viz.to_json(again) == text
    assert again.nodes[1].line.startswith("test_formats.py:")
    assert again.nodes[0].table[0][:2] == (np.inf, -np.inf)
    assert np.isnan(again.nodes[0].stats[1])


# --- numbers in the nodes ---------------------------------------------------------------------------------


def test_statistics_of_values() -> None:
    graph = graph_of("batch_norm", values="stats")
    values = demos.batch_norm().numpy()
    np.testing.assert_allclose(
        graph.nodes[graph.root].stats, [values.min(), values.mean(), values.max(), values.std()], rtol=1e-12
    )
    assert "−2.2 … 0.052 … 1.9" in to_dot(graph, values="stats")
    assert graph.nodes[0].table == ()


def test_small_arrays_are_shown_whole() -> None:
    x = mt.tensor([[1.0, -2.5], [0.0, 1e6]], requires_grad=True, name="x")
    graph = Graph.from_tensor(mt.sum(x), values="full")
    assert graph.nodes[0].table == ((1.0, -2.5), (0.0, 1e6))
    svg = viz.render(graph, "svg", values="full")
    words = {"".join(e.itertext()) for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"1", "−2.5", "0", "1.0e6", "= 1.0e6"} <= words


def test_values_that_were_not_read_are_a_dash() -> None:
    assert ">–<" in to_dot(graph_of("batch_norm"), values="stats")
    assert re.search("–  +bn1$", viz.render(graph_of("batch_norm"), "tree", values="stats").decode().splitlines()[1])
    empty = mt.tensor(np.ones((0, 3)), requires_grad=True)
    assert Graph.from_tensor(mt.sum(empty), values="stats").nodes[0].stats == ()


def test_the_tree_has_columns_for_values_and_lines() -> None:
    with mt.trace_lines():
        x = mt.tensor([1.0, 3.0], requires_grad=True, name="x")
        y = mt.mean(x * x)
    tree = viz.render(Graph.from_tensor(y, values="stats"), "tree", values="stats", lines=True, view="backward")
    heads, top = tree.decode().splitlines()[:2]
    assert heads.split("  ")[-1].strip() == "line"
    assert heads.index("shape") == top.index("scalar")
    assert re.fullmatch(r"mean +scalar +1 +=\ 5 +test_formats\.py:\d+ in test_the_tree\S+", top)


def test_the_tree_names_the_module_of_each_operation() -> None:
    rows = viz.render(graph_of("mlp"), "tree").decode().splitlines()
    assert rows[0].split() == ["shape", "in"]
    place = {row.rpartition("  ")[2] for row in rows[1:]}
    assert {"model.block1.fc", "model.block2.bn", "model.head", "cross_entropy"} <= place
    x = mt.tensor([1.0], requires_grad=True, name="x")
    assert viz.render(Graph.from_tensor(mt.exp(x)), "tree").decode().splitlines()[0].split() == ["exp", "(1,)"]


def test_the_tree_shows_small_arrays_whole_and_no_others() -> None:
    x = mt.tensor([[1.0, -2.5], [30.0, 0.0]], requires_grad=True, name="x")
    wide = mt.tensor(np.ones((5, 5)), requires_grad=True, name="wide")
    graph = Graph.from_tensor((x * 2.0).sum() + wide.sum(), values="full")
    rows = viz.render(graph, "tree", values="full").decode().splitlines()
    arrays = [row.strip(" │") for row in rows if "[" in row]
    assert arrays == ["[ 2  −5]", "[60   0]", "[   1  −2.5]", "[  30     0]"]
    assert not any("[" in row for row in viz.render(graph, "tree", values="stats").decode().splitlines())


def test_the_combined_tree_has_values_and_gradients() -> None:
    graph = Graph.from_tensor(demos.batch_norm(), values="stats")
    heads, top = viz.render(graph, "tree", view="combined").decode().splitlines()[:2]
    assert re.split(r"  +", heads.strip()) == ["shape", "grad, ‖grad‖", "min … mean … max", "in"]
    assert re.split(r"  +", top)[2:] == ["(8, 4)", "0.15", "−2.2 … 0.052 … 1.9", "bn1"]


# --- forward and backward in one --------------------------------------------------------------------------


def test_a_combined_edge_has_a_lane_each_way() -> None:
    graph = graph_of("batch_norm", values="stats")
    dot = to_dot(graph, view="combined")
    direct, gradient = TOKENS["edge-direct"][0], TOKENS["gradient"][0]
    assert f'color="{direct}:{gradient}"' in dot
    assert "dir=both" in dot
    assert "↓ −3.7 … 0.67 … 4" in dot
    assert "↑ ‖grad‖ 0.081, sum of 2" in dot
    pills = re.findall(r"^\t+(g\d+_\d+_\d+) \[", dot, re.MULTILINE)
    assert pills == re.findall(r"^\t+(g\d+_\d+_\d+) \[", to_dot(graph, view="backward"), re.MULTILINE)


def test_no_gradient_no_second_lane() -> None:
    x, w = mt.tensor([1.0], name="x"), mt.tensor([2.0], requires_grad=True, name="w")
    dot = to_dot(Graph.from_tensor((x * w).sum()), view="combined")
    edges = dict(re.findall(r"^\t(n\d+) -> n2 \[.*?color=\"([^\"]+)\"", dot, re.MULTILINE))
    assert [":" in colour for _, colour in sorted(edges.items())] == [False, True]


# --- PNG --------------------------------------------------------------------------------------------------


def test_a_png_that_nobody_could_read_is_refused() -> None:
    y = mt.tensor([1.0], requires_grad=True)
    for _ in range(700):
        y = mt.tanh(y)
    graph = Graph.from_tensor(y)
    with pytest.raises(viz.EngineError, match="too long for a PNG that can be read"):
        viz.render(graph, "png", depth=9)
