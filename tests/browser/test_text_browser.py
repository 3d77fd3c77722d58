"""Hostile names in a real browser: pictures and pages have the elements of harmless ones, and nothing runs."""

from __future__ import annotations

import pytest

from microtensor import viz
from tests.viz.test_text import HARMLESS, WORST, graph_of

COUNT = """() => {
  const count = {};
  for (const element of document.querySelectorAll("*")) {
    const name = element.localName, kept = [...element.attributes].map((a) => a.localName).sort().join(" ");
    if (!["text", "tspan"].includes(name)) count[`${name} ${kept}`] = (count[`${name} ${kept}`] ?? 0) + 1;
  }
  return count;
}"""


@pytest.fixture
def counted(visit, tmp_path):
    def elements(graph, format):
        path = tmp_path / f"graph.{format}"
        path.write_bytes(viz.render(graph, format, view="backward" if format == "svg" else "forward"))
        page = visit(path)
        if format == "html":
            assert page.locator("a, img, iframe, object, embed, image, foreignObject, [onerror], [onload]").count() == 0
            for _ in range(20):
                page.keyboard.press("ArrowRight")
            page.fill("#query", "a")
            page.locator(".chips button").last.click()
        return page.evaluate(COUNT), page

    return elements


@pytest.mark.parametrize("format", ["svg", "html"])
def test_hostile_names_add_no_element_and_run_nothing(format, counted):
    known, _ = counted(HARMLESS, format)
    for text in WORST:
        found, page = counted(graph_of(text), format)
        assert found == known
        assert page.evaluate("typeof alert") == "function"


def test_a_name_with_signs_of_a_pattern_is_shown_as_it_is(counted):
    _, page = counted(graph_of("$&$'$1 constructor"), "html")
    assert "$&$'$1 constructor" in page.locator("#details").inner_text()
