"""Slides, directions, sizes of text, notations, and where the names of frames stand."""

from __future__ import annotations

import re
import warnings

import pytest

import microtensor as mt
from microtensor import demos, nn, viz
from microtensor.cli import main
from microtensor.viz.notation import in_greek, written
from tests.commands import runner
from tests.nets import NETS


def graph_of(name: str) -> mt.Graph:
    return mt.Graph.from_tensor(demos.DEMOS[name]())


def size(svg: bytes) -> tuple[int, int]:
    width, height = re.search(rb'width="(\d+)pt" height="(\d+)pt"', svg).groups()  # type: ignore[union-attr]
    return int(width), int(height)


def sizes(svg: bytes) -> set[float]:
    return {float(size) for size in re.findall(rb'font-size="([\d.]+)"', svg)}


# --- direction and size ---------------------------------------------------------------------------------------


def test_a_picture_turns() -> None:
    graph = graph_of("batch_norm")
    high, wide = (size(viz.render(graph, "svg", direction=direction)) for direction in ("tb", "lr"))
    assert high[1] > high[0]
    assert wide[0] > wide[1]
    assert b"flowchart LR" in viz.render(graph, "mermaid", direction="lr")


def test_text_grows_with_the_font_size() -> None:
    graph = graph_of("batch_norm")
    plain, large = (sizes(viz.render(graph, "svg", font_size=points)) for points in (10, 20))
    assert large == {2 * points for points in plain}
    assert viz.render(graph, "svg", font_size=10) == viz.render(graph, "svg")


def test_a_slide_is_wide_and_has_no_small_text() -> None:
    svg = viz.render(graph_of("batch_norm"), "svg", view="backward", slide=True)
    width, height = size(svg)
    assert width > height
    assert min(sizes(svg)) * min(960 / width, 540 / height) >= 10
    assert svg == viz.render(graph_of("batch_norm"), "svg", view="backward", slide=True)


def test_a_large_graph_is_folded_for_a_slide_and_the_note_says_what() -> None:
    with pytest.warns(
        UserWarning, match=r"folded, so that the text has 10 pt on a slide: block1, block2, head"
    ) as seen:
        svg = viz.render(graph_of("mlp"), "svg", slide=True)
    assert b"block1" in svg
    name = re.search(r"--expand (\S+),", str(seen[0].message))
    assert name is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        opened = viz.render(graph_of("mlp"), "svg", slide=True, expand=[name[1]])
    assert opened.count(b'class="node') > svg.count(b'class="node')


def test_a_graph_that_cannot_be_folded_says_how_small_its_text_is() -> None:
    x = mt.tensor([1.0], requires_grad=True, name="x")
    for _ in range(40):
        x = mt.tanh(x)
    with pytest.warns(UserWarning, match=r"the smallest text has [1-9]\.\d pt on a slide of 1280×720 pixels"):
        viz.render(mt.Graph.from_tensor(x), "svg", slide=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "up"}, "direction must be one of tb, lr"),
        ({"notation": "latin"}, "notation must be one of code, greek, book"),
        ({"font_size": 0}, "font_size must be between 4 and 72"),
        ({"font_size": float("nan")}, "font_size must be between 4 and 72"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        viz.render(graph_of("batch_norm"), "svg", **options)  # type: ignore[arg-type]


# --- notation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "greek"),
    [
        ("gamma", "γ"),
        ("beta_1", "β₁"),
        ("sigma2", "σ²"),
        ("dgamma", "dγ"),
        ("delta", "δ"),
        ("xhat", "x̂"),
        ("x_hat", "x̂"),
        ("g·gamma", "g·γ"),
        ("pixel", "pixel"),
        ("betamax", "betamax"),
        ("that", "that"),
        ("running_mu", "running_μ"),
    ],
)
def test_words_become_greek_letters(name: str, greek: str) -> None:
    assert in_greek(name) == greek


def staged() -> mt.Tensor:
    x = mt.tensor([[1.0, 2.0], [3.0, 5.0], [6.0, 1.0]], requires_grad=True, name="x")
    gamma = mt.tensor([1.0, 2.0], requires_grad=True, name="gamma")
    mu = mt.label(x.mean(axis=0), "mu")
    xhat = mt.label((x - mu) / mt.sqrt(x.var(axis=0) + 1e-5), "xhat")
    return mt.label(gamma * xhat, "out")


def test_a_notation_changes_names_and_formulas() -> None:
    graph = mt.Graph.from_tensor(staged())
    assert written(graph, "code") is graph
    greek = viz.render(graph, "tree", notation="greek").decode()
    assert "γ  " in greek
    assert "x̂" in greek
    assert "gamma" not in greek
    book = viz.render(graph, "svg", view="backward", notation="book").decode()
    assert ">H<" in book
    assert "g·H′" in book
    assert ">x<" not in book
    assert "x̂" not in book


def test_a_letter_of_the_book_that_the_program_uses_stays_its_own() -> None:
    x, big = (mt.tensor([[1.0], [2.0]], requires_grad=True, name=name) for name in ("x", "H"))
    graph = mt.Graph.from_tensor(mt.norms.standardize(x, axis=0) * big)
    names = [node.name for node in written(graph, "book").nodes]
    assert {"x", "H", "H′"} <= set(names)


# --- the command ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--slide", "-f", "tree"), "--slide"),
        (("--font-size", "12", "-f", "html"), "--font-size"),
        (("--direction", "lr", "-f", "json"), "--direction"),
        (("--slide", "-f", "svg", "--view", "paths"), "--slide"),
    ],
)
def test_a_layout_is_refused_where_there_is_none(options: tuple[str, ...], named: str) -> None:
    result = runner().invoke(main, ["viz", "demo:batch_norm", *options])
    assert result.exit_code == 2
    assert f"{named} is for pictures of a graph" in result.stderr


def test_the_command_passes_the_layout_on() -> None:
    result = runner().invoke(main, ["viz", "demo:mlp", "--slide", "-f", "dot", "--font-size", "11"])
    assert result.exit_code == 0
    assert "rankdir=LR" in result.stdout
    assert 'POINT-SIZE="13"' in result.stdout
    assert "Note: folded, so that the text has 10 pt on a slide" in result.stderr


def test_a_chart_that_github_refuses_is_told() -> None:
    x = mt.tensor([1.0], requires_grad=True, name="x")
    for _ in range(260):
        x = x * x
    with pytest.warns(UserWarning, match=r"GitHub refuses to draw a Mermaid chart of over 500 edges .* has 520 edges"):
        viz.render(mt.Graph.from_tensor(x), "mermaid")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viz.render(graph_of("mlp"), "mermaid")


def test_show_has_a_notation_and_refuses_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    mt.show(staged(), notation="greek", direction="lr")
    printed = capsys.readouterr().out
    assert "γ  " in printed
    assert "gamma" not in printed
    with pytest.raises(ValueError, match="notation must be one of code, greek, book"):
        mt.show(staged(), notation="latin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="direction must be one of tb, lr"):
        mt.show(staged(), direction="up")  # type: ignore[arg-type]


# --- names of frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_bytes_of_a_picture_laid_out_again_are_the_same(name: str) -> None:
    graph = mt.Graph.from_tensor(NETS[name]())
    assert viz.render(graph, "svg") == viz.render(graph, "svg")


def test_a_name_moves_to_where_no_edge_is() -> None:
    graph = mt.Graph.from_tensor(nn.Sequential(nn.Linear(4, 6, rng=0), nn.ReLU())(mt.tensor([[1.0] * 4], name="x")))
    svg = viz.render(graph, "svg", depth=1).decode()
    text = re.search(r'<text[^>]* x="([\d.]+)"[^>]*>model', svg)
    edge = re.search(r'class="edge[^>]*>\s*<path[^>]* d="M([\d.]+),', svg)
    assert text is not None
    assert edge is not None
    assert float(text[1]) > float(edge[1]) or float(text[1]) + 90 < float(edge[1])
