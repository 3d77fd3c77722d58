"""The page for all readers: axe-core, contrast of what is still to come, chosen colours, paper, the closing step."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import microtensor as mt
from microtensor import demos
from microtensor.graph import Graph
from microtensor.viz.page import to_html

THEMES = ["light", "dark"]
# Names that hold what is seen are a rule that axe-core does not apply by itself.
RULES = "{rules: {'label-content-name-mismatch': {enabled: true}}}"
# The least contrast of the text of nodes, and of lines, with what is behind them, as the page blends them.
CONTRAST = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const shade = (text) => {
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const mix = (a, b, t) => a.map((c, i) => t * c + (1 - t) * b[i]);
  const grounds = ["--bg", "--scope-even", "--scope-odd", "--statistics-scope-fill"]
    .map((name) => shade(getComputedStyle(document.documentElement).getPropertyValue(name)));
  const found = [];
  for (const part of document.querySelectorAll("svg:not([hidden]) .ahead, svg:not([hidden]) .waiting")) {
    const style = getComputedStyle(part);
    if (style.display === "none" || style.visibility === "hidden") continue;
    const seen = parseFloat(style.opacity);
    for (const ground of grounds) {
      if (part.classList.contains("mt-edge")) {
        // Of a line in two parts, one has the way down.
        const line = part.querySelector(".from");
        if (line) found.push(ratio(mix(shade(getComputedStyle(line).stroke), ground, seen), ground));
        continue;
      }
      const fill = shade(getComputedStyle(part.querySelector("rect, polygon:not([fill=none])")).fill);
      for (const text of part.querySelectorAll("text")) {
        if (!text.textContent.trim()) continue;
        const ink = shade(getComputedStyle(text).fill);
        found.push(ratio(mix(ink, ground, seen), mix(fill, ground, seen)));
      }
    }
  }
  return found.length ? Math.min(...found) : null;
}"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name in ("batch_norm", "mlp"):
        with mt.trace_lines():
            y = demos.DEMOS[name]()
        found[name] = tmp_path_factory.mktemp("pages") / f"{name}.html"
        found[name].write_bytes(to_html(Graph.from_tensor(y), output=y, title="Computation graph"))
    return found


@pytest.fixture(scope="module")
def axe() -> str:
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["batch_norm", "mlp"])
def test_axe_finds_nothing(visit: Any, written: dict[str, Path], axe: str, name: str, theme: str) -> None:
    page = visit(written[name], color_scheme=theme, viewport={"width": 1280, "height": 720})
    page.evaluate(axe)
    for keys in (["Home"], ["ArrowRight"] * 12, ["End"]):
        for key in keys:
            page.keyboard.press(key)
        found = page.evaluate(f"axe.run(document, {RULES})")
        assert [(fault["id"], [part["html"] for part in fault["nodes"]]) for fault in found["violations"]] == []
        assert len(found["passes"]) > 30


@pytest.mark.parametrize("theme", THEMES)
def test_steps_to_come_can_be_seen(visit: Any, written: dict[str, Path], theme: str) -> None:
    page = visit(written["batch_norm"], color_scheme=theme)
    for step in (0, 3, 10, 14):
        page.evaluate(f"go({step})")
        assert page.evaluate(CONTRAST) >= 3


def test_the_legend_is_beside_the_picture(visit: Any, written: dict[str, Path]) -> None:
    page = visit(written["mlp"], viewport={"width": 1280, "height": 720})
    stage, legend = (page.locator(name).bounding_box() for name in ("#stage", "#legend"))
    assert legend["x"] >= stage["x"] + stage["width"]
    assert legend["y"] + legend["height"] <= 720


def test_the_last_step_adds_the_paths_up(visit: Any, written: dict[str, Path]) -> None:
    page = visit(written["batch_norm"])
    page.keyboard.press("End")
    assert page.locator("#where").text_content() == "The sum of the paths"
    told, squares = page.locator(".tell").all_text_contents()
    assert squares == "direct² = shift² + scale² + rest²\n0.102² = 0.0490² + 0.0368² + 0.0812²"
    assert told.startswith("x.grad = direct + via the mean + via the variance\n")
    assert "via the mean inside the variance is exactly 0" in told
    rows = page.locator("#details .adds li").all_text_contents()
    ledger = mt.paths(demos.batch_norm())
    assert len(rows) == 3
    for row, path in zip(rows, ledger.paths, strict=False):
        assert row.startswith(path.name)
        assert f"{path.norm:.2g}" in row
    assert page.evaluate("picture.nodes[0].boxes[0].classList.contains('now')")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#where").text_content() == "Backward 9 of 9"


def test_a_graph_without_a_norm_has_no_closing_step(visit: Any, tmp_path: Path) -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    y = mt.tanh(x).sum()
    place = tmp_path / "plain.html"
    place.write_bytes(to_html(Graph.from_tensor(y), output=y))
    page = visit(place)
    page.keyboard.press("End")
    assert page.locator("#where").text_content() == "Backward 2 of 2"


def test_chosen_colours_leave_the_picture_its_own(visit: Any, written: dict[str, Path]) -> None:
    page = visit(written["batch_norm"], forced_colors="active")
    shade = "(name) => getComputedStyle(document.querySelector(name)).{}"
    for name in ("#stage", "#legend", ".heat", "#progress"):
        page.keyboard.press("End")
        assert page.evaluate(shade.format("forcedColorAdjust"), name) == "none"
    fills = page.evaluate("[...document.querySelectorAll('#legend i')].map((i) => getComputedStyle(i).backgroundColor)")
    assert len(set(fills)) >= 4
    assert page.evaluate(shade.format("outlineStyle"), "[aria-pressed=true]") == "solid"


def test_paper_has_the_picture_the_details_and_the_legend(visit: Any, written: dict[str, Path]) -> None:
    page = visit(written["batch_norm"])
    page.keyboard.press("End")
    page.emulate_media(media="print")
    for name in ("#stage", "#details", "#legend"):
        assert page.locator(name).is_visible()
    fills = page.evaluate("[...document.querySelectorAll('#legend i')].map((i) => getComputedStyle(i).backgroundColor)")
    assert len(set(fills)) >= 4
