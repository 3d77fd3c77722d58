"""Pictures for slides, and the names of frames, as Chromium lays them out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos, nn, viz
from tests.nets import NETS
from tests.places import DOCS

GALLERY = DOCS / "gallery"
SMALLEST = """() => {
  const svg = document.querySelector("svg");
  const texts = [...svg.querySelectorAll("text, tspan")].filter((t) => t.textContent.trim());
  return Math.min(...texts.map((t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a * 0.75));
}"""
# Text is less high than its box, which has room for accents and descenders.
CROSSED = """() => {
  const boxed = (t) => [t.textContent, t.getBoundingClientRect()];
  const names = [...document.querySelectorAll(".mt-scope-names text")].map(boxed);
  const found = [];
  for (const line of document.querySelectorAll("g.edge path")) {
    const matrix = line.getScreenCTM(), half = parseFloat(getComputedStyle(line).strokeWidth) / 2;
    for (let at = 0; at <= line.getTotalLength(); at += 1) {
      const p = line.getPointAtLength(at).matrixTransform(matrix);
      const beside = (r) => p.x + half <= r.left || p.x - half >= r.right || p.y <= r.top + 2 || p.y >= r.bottom - 2;
      const hit = names.find(([, r]) => !beside(r));
      if (hit) { found.push(hit[0]); break; }
    }
  }
  return found;
}"""
FITTED = "svg { width: 1280px !important; height: 720px !important; max-width: none !important; display: block }"


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 720})
    yield context.new_page()
    context.close()


def through(layer: nn.Module) -> mt.Tensor:
    x = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="x")
    result: mt.Tensor = mt.label(layer(x), "y")
    return result


ON_SLIDES: dict[str, Callable[[], mt.Tensor]] = {
    "batch norm": demos.batch_norm,
    "layer norm": demos.layer_norm,
    "RMS norm": lambda: through(nn.RMSNorm(4)),
    "folded MLP": demos.mlp,
    **NETS,
}


@pytest.mark.parametrize("view", ["forward", "backward"])
@pytest.mark.parametrize("name", ON_SLIDES)
def test_text_on_a_slide_has_ten_points(page: Any, name: str, view: Any) -> None:
    graph = mt.Graph.from_tensor(ON_SLIDES[name]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        svg = viz.render(graph, "svg", view=view, slide=True, depth=1 if name == "folded MLP" else None).decode()
    page.set_content(f"<!doctype html><style>body {{ margin: 0 }} {FITTED}</style>{svg}")
    assert page.evaluate(SMALLEST) >= 10
    assert page.evaluate(CROSSED) == []


def crossed(page: Any, svg: str) -> list[str]:
    page.set_content(f"<!doctype html><body style='margin:0'>{svg}")
    found: list[str] = page.evaluate(CROSSED)
    return found


@pytest.mark.parametrize("file", sorted(GALLERY.glob("*.svg")), ids=lambda file: file.stem)
def test_no_edge_of_the_gallery_runs_through_the_name_of_a_frame(page: Any, file: Path) -> None:
    assert crossed(page, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("name", NETS)
def test_no_edge_runs_through_the_name_of_a_frame(page: Any, name: str, depth: int | None) -> None:
    graph = mt.Graph.from_tensor(NETS[name]())
    for view in ("forward", "backward"):
        assert crossed(page, viz.render(graph, "svg", view=view, depth=depth).decode()) == []


def test_an_edge_through_a_name_would_be_seen(page: Any) -> None:
    svg = viz.render(mt.Graph.from_tensor(NETS["scopes"]()), "svg").decode()
    name = "a rather long name of a part"
    assert crossed(page, svg.replace(f">{name}<", f">{name * 9}<")) != []
