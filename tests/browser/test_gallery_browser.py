"""The gallery in a real Chromium: no text outside its box, no text on another, readable in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microtensor import demos, viz
from microtensor.graph import Graph
from microtensor.norms import AXES
from microtensor.viz import cubes
from microtensor.viz.svg import FONTS
from tests.places import DOCS

GALLERY = DOCS / "gallery"
GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(11, 18, 32)"}
EACH_FILE = pytest.mark.parametrize("file", sorted(GALLERY.glob("*.svg")), ids=lambda file: file.stem)

MEASURE = """() => {
  const svg = document.querySelector("svg");
  const round = (r) => [r.left, r.top, r.right, r.bottom];
  const drawn = (e) => [...e.children].filter((c) => ["path", "polygon", "ellipse"].includes(c.tagName));
  const boxOf = (group) => {
    const all = drawn(group).map((c) => c.getBoundingClientRect());
    return [Math.min(...all.map((r) => r.left)), Math.min(...all.map((r) => r.top)),
            Math.max(...all.map((r) => r.right)), Math.max(...all.map((r) => r.bottom))];
  };
  const fillOf = (e) => getComputedStyle(e).fill;
  const solid = (e) => !["none", "transparent", "rgba(0, 0, 0, 0)"].includes(fillOf(e));
  const ground = [...svg.querySelectorAll("path, polygon")].find(solid);
  return {
    page: round(svg.getBoundingClientRect()),
    ground: fillOf(ground),
    texts: [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim()).map((t) => {
      const node = t.closest("g.node");
      const behind = node && drawn(node).filter(solid);
      return {
        words: t.textContent,
        at: round(t.getBoundingClientRect()),
        box: node && drawn(node).length ? boxOf(node) : null,
        fill: fillOf(t),
        behind: behind && behind.length ? fillOf(behind[0]) : fillOf(ground),
      };
    }),
  };
}"""

WIDTH_OF_M = """(font) => {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = font;
  return pen.measureText("m").width;
}"""


@pytest.fixture(scope="module", params=["light", "dark"])
def page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that prefers one of the themes, without a network; nothing may be asked for or complained of."""
    context = chromium.new_context(color_scheme=request.param, offline=True, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    noticed: list[str] = []
    page.on("console", lambda message: noticed.append(message.text))
    page.on("request", lambda sent: noticed.append(sent.url))
    page.theme = request.param
    yield page
    context.close()
    assert noticed == []


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def inside(inner: list[float], outer: list[float], slack: float = 1.0) -> bool:
    return (
        inner[0] >= outer[0] - slack
        and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack
        and inner[3] <= outer[3] + slack
    )


def overlap(one: list[float], other: list[float]) -> bool:
    """Of more than the empty rim of the letters' boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide > 1 and high > 4


def faults(page: Any, svg: str) -> dict[str, list[Any]]:
    """What is wrong with the text of a picture, as Chromium lays it out."""
    page.set_content(f"<!doctype html><body style='margin:0'>{svg}")
    found = page.evaluate(MEASURE)
    texts = found["texts"]
    assert len(texts) > 8
    assert found["ground"] == GROUND[page.theme]
    pairs = ((one, other) for i, one in enumerate(texts) for other in texts[:i])
    return {
        "off the page": [t["words"] for t in texts if not inside(t["at"], found["page"])],
        "out of its box": [t["words"] for t in texts if t["box"] and not inside(t["at"], t["box"])],
        "on other text": [(one["words"], other["words"]) for one, other in pairs if overlap(one["at"], other["at"])],
        "hard to read": [t["words"] for t in texts if contrast(t["fill"], t["behind"]) < 4.5],
    }


@pytest.fixture(scope="module")
def helvetica(page: Any) -> None:
    """The room for a text is reckoned in Helvetica; Arial, Liberation Sans and Arimo are as wide, other fonts not."""
    if page.evaluate(WIDTH_OF_M, f"100px {FONTS}") != pytest.approx(83.3, abs=0.5):
        pytest.skip("there is no font of Helvetica's widths: install fonts-liberation, for one")


@EACH_FILE
@pytest.mark.usefixtures("helvetica")
def test_text_stays_in_its_box_off_other_text_and_can_be_read(page: Any, file: Path) -> None:
    assert {fault: where for fault, where in faults(page, file.read_text(encoding="utf-8")).items() if where} == {}


def test_each_fault_would_be_seen(page: Any) -> None:
    svg = (GALLERY / "batch_norm.svg").read_text(encoding="utf-8")
    wide = svg.replace(">x − μ<", ">x − μ, and more than fits in here<")
    assert faults(page, wide)["out of its box"] == ["x − μ, and more than fits in here"]
    assert faults(page, svg.replace(">parameter", f">{'parameter ' * 9}"))["on other text"]
    assert faults(page, svg.replace(">direct path", f">{'direct path ' * 9}"))["off the page"]
    assert faults(page, svg.replace(' fill="#0f172a"', ' fill="#808080"'))["hard to read"]


def test_two_pictures_on_a_page_keep_their_own_colours(page: Any) -> None:
    """A picture of one theme beside one that adapts: a style sheet must not reach into the other."""
    rows = [AXES["batch_norm"]]
    fixed = cubes.to_svg(rows, theme="light").decode()
    adaptive = cubes.to_svg(rows).decode()
    page.set_content(f"<!doctype html>{fixed}{adaptive}")
    grounds = page.evaluate(
        "() => [...document.querySelectorAll('svg > g > path:first-child')].map((p) => getComputedStyle(p).fill)"
    )
    assert grounds == [GROUND["light"], GROUND[page.theme]]
    graph = Graph.from_tensor(demos.batch_norm())
    pictures = [viz.render(graph, "svg", theme=theme).decode() for theme in ("light", "auto")]
    page.set_content(f"<!doctype html>{''.join(pictures)}")
    shades = page.evaluate(
        "() => [...document.querySelectorAll('svg')].map((svg) => getComputedStyle(svg.querySelector('text')).fill)"
    )
    assert (shades[0] == shades[1]) == (page.theme == "light")
