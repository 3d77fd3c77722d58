"""The interactive page as a file: what stands in it, and that its numbers are the graph's. No browser is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos
from microtensor.graph import Graph
from microtensor.viz import labels
from microtensor.viz.json import from_json, to_json
from microtensor.viz.page import to_html

SVG = "{http://www.w3.org/2000/svg}"


class Reader(HTMLParser):
    """Tags with their attributes, and the text of styles and scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.raw = []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "script"):
            self.raw.append([tag, dict(attrs), ""])

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        # Newer releases of every Python take a title for such an element too.
        if self.cdata_elem in ("style", "script"):
            self.raw[-1][2] += data


def page_of(output, **options):
    return to_html(Graph.from_tensor(output), output=output, **options)


def data_of(page):
    return next(json.loads(text) for tag, attrs, text in Reader(page).raw if attrs.get("type") == "application/json")


def drawings(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", page.decode(), re.DOTALL)]


@pytest.fixture(scope="module")
def batch_norm():
    output = demos.batch_norm()
    return output, page_of(output, title="Batch norm")


def hash_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_two_parts_of_the_page_and_nothing_else(batch_norm):
    reader = Reader(batch_norm[1])
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    style, data, script = reader.raw
    assert [style[0], data[0], script[0]] == ["style", "script", "script"]
    assert policy == (
        f"default-src 'none'; style-src {hash_of(style[2])}; script-src {hash_of(script[2])}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_nothing_is_loaded_and_nothing_is_active(batch_norm):
    tags = Reader(batch_norm[1]).tags
    assert {t for t, _ in tags}.isdisjoint({"a", "img", "iframe", "object", "embed", "form", "base", "foreignobject"})
    for tag, attrs in tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "src", "xlink:href")]
        assert attrs.get("href", "data:,") == "data:,", tag
    addresses = set(re.findall(rb"https?://[^\"' ]+", batch_norm[1]))
    assert addresses == {b"http://www.w3.org/2000/svg"}


def test_a_batch_norm_is_small_and_the_same_on_every_run(batch_norm):
    assert len(batch_norm[1]) < 90_000
    assert page_of(demos.batch_norm(), title="Batch norm") == batch_norm[1]


def test_every_node_and_edge_of_every_picture_is_drawn_and_numbered(batch_norm):
    for record, svg in zip(data_of(batch_norm[1])["pictures"], drawings(batch_norm[1]), strict=True):
        nodes = [g for g in svg.iter(f"{SVG}g") if "mt-node" in g.get("class", "")]
        assert [int(g.get("data-node")) for g in nodes] == [*range(len(record["nodes"])), record["root"]]
        assert all(g.get("tabindex") == "0" and g.get("role") == "button" and g.get("aria-label") for g in nodes)
        edges = {int(g.get("data-edge")) for g in svg.iter(f"{SVG}g") if "mt-edge" in g.get("class", "")}
        assert edges == set(range(len(record["edges"]) + 1))
        frames = [g.get("data-scope") for g in svg.iter(f"{SVG}g") if "mt-scope" in g.get("class", "").split()]
        names = [g.get("data-scope") for g in svg.iter(f"{SVG}g") if g.get("class") == "mt-name"]
        assert sorted(frames) == sorted(names) == sorted(str(i) for i in range(len(record["scopes"])))


def test_an_edge_through_a_pill_starts_with_the_part_at_its_source(batch_norm):
    svg = drawings(batch_norm[1])[-1]
    parts = [g for g in svg.iter(f"{SVG}g") if "mt-edge" in g.get("class", "")]
    by_edge = {}
    for part in parts:
        by_edge.setdefault(part.get("data-edge"), []).append(part.find(f"{SVG}polygon") is not None)
    assert sorted(map(tuple, by_edge.values())).count((True, False)) == 4
    assert all(halves[0] for halves in by_edge.values())


def test_ids_are_unique_and_colours_are_variables(batch_norm):
    reader = Reader(batch_norm[1])
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for svg in drawings(batch_norm[1]):
        colours = {e.get(name, "none") for e in svg.iter() for name in ("fill", "stroke")}
        assert all(colour == "none" or colour.startswith("var(--") for colour in colours)


# --- numbers ----------------------------------------------------------------------------------------------


def test_tables_hold_the_values_and_gradients_of_the_tensors():
    x = mt.tensor([[1.0, -2.0], [3.0, 0.125]], requires_grad=True, name="x")
    y = mt.sum(x * x * x)
    data = data_of(page_of(y))
    nodes = data["pictures"][-1]["nodes"]
    table = data["tables"][nodes[0]["value"]]
    assert table["rows"] == [[1, -2], [3, 0.12]]
    assert (table["min"], table["max"], table["mean"]) == (-2, 3, 0.531)
    gradient = mt.vjp(y)[x].numpy()
    shown = data["tables"][nodes[0]["gradient"]]
    np.testing.assert_allclose(shown["rows"], gradient, rtol=0.05)
    assert nodes[0]["grad"] == labels.number(float(np.linalg.norm(gradient)))


@pytest.mark.parametrize("demo", sorted(demos.DEMOS))
def test_contributions_add_up_to_the_gradient(demo):
    output = demos.DEMOS[demo]()
    graph = Graph.from_tensor(output)
    data = data_of(to_html(graph, output=output))
    for record in data["pictures"]:
        for i, node in enumerate(record["nodes"]):
            arriving = [e for e in record["edges"] if e["source"] == i and "nth" in e]
            assert sorted(e["nth"] for e in arriving) == [*range(1, len(arriving) + 1)]
            if arriving and i != record["root"]:
                last = max(arriving, key=lambda e: e["nth"])
                assert last["after"] == node["grad"]
                ours, total = (np.array(data["tables"][t]["rows"], object) for t in (last["sum"], node["gradient"]))
                np.testing.assert_allclose(ours[ours != None].astype(float), total[total != None].astype(float))  # noqa: E711


def test_a_gradient_arrives_in_the_order_of_the_walk_back(batch_norm):
    record = data_of(batch_norm[1])["pictures"][-1]
    into_x = sorted((e for e in record["edges"] if e["source"] == 0), key=lambda e: e["nth"])
    assert [record["nodes"][e["target"]]["title"] for e in into_x] == ["x − μ", "mean"]
    rules = {record["nodes"][e["target"]]["op"]: e["rule"] for e in record["edges"] if e.get("source") == 2}
    assert rules == {"square": "2(x − μ)·g", "divide": "g/σ"}


def test_the_second_result_of_a_folded_scope_is_not_added_to_the_first():
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with mt.name_scope("pair"):
        a = mt.exp(x)
        b = mt.tanh(mt.tanh(mt.tanh(a)))
    y = mt.sum(mt.sin(a)) + mt.sum(b)
    folded = data_of(page_of(y))["pictures"][0]
    card = next(i for i, node in enumerate(folded["nodes"]) if node["title"] == "pair")
    leaving = {folded["nodes"][e["target"]]["op"]: e for e in folded["edges"] if e["source"] == card}
    assert "nth" not in leaving["sin"]
    assert (leaving["sum"]["nth"], leaving["sum"]["after"]) == (1, folded["nodes"][card]["grad"])


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (np.arange(10.0), [[0, 1, 2, 3, None, 7, 8, 9]]),
        (np.full((2, 3, 1, 2), 0.5), [[0.5, 0.5]]),
        (np.array([np.nan, np.inf, -np.inf]), [["NaN", "∞", "−∞"]]),
        (np.zeros((0, 2)), []),
        (np.array(3e-7), [[3e-7]]),
    ],
)
def test_a_table_is_a_sample_that_json_can_hold(value, rows):
    x = mt.tensor(value, requires_grad=True, name="x")
    data = data_of(page_of(mt.sum(x * 1.0)))
    table = data["tables"][data["pictures"][-1]["nodes"][0]["value"]]
    assert table["rows"] == rows
    assert table["shape"] == str(value.shape)
    assert ("at" in table) == (value.ndim > 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [([0.5], "0.50"), ([-1.0, 2.0], "−1 … 2"), ([3.0, 3.0], "all 3"), ([-1.2e-5, 3.4e-6], "|·| ≤ 1.2e-5")],
)
def test_the_line_in_a_node_is_short(value, text):
    x = mt.tensor(value, requires_grad=True, name="x")
    assert data_of(page_of(mt.sum(x * 1.0)))["pictures"][-1]["nodes"][0]["range"] == text


def test_integers_are_exact_and_a_rounded_mean_is_called_so():
    x = mt.tensor([[1.0, -1.0, 1e-17]], requires_grad=True, name="x")
    y = mt.sum(mt.pick(x, mt.tensor([2], name="t"), axis=1))
    data = data_of(page_of(y))
    tables = {n["name"]: data["tables"][n["value"]] for n in data["pictures"][-1]["nodes"] if "name" in n}
    assert tables["t"]["rows"] == [[2]]
    assert tables["x"]["mean"] == "≈ 0"


def test_the_line_of_the_program_is_shown_with_its_text():
    x = mt.tensor([1.0], requires_grad=True, name="x")
    with mt.trace_lines():
        y = mt.exp(x)  # the line
    where, text = data_of(page_of(y))["pictures"][-1]["nodes"][1]["line"]
    assert re.fullmatch(r"test_page\.py:\d+ in test_the_line_of_the_program_is_shown_with_its_text", where)
    assert text == "y = mt.exp(x)  # the line"
    assert "line" not in data_of(page_of(mt.exp(x)))["pictures"][-1]["nodes"][1]


# --- what it takes ----------------------------------------------------------------------------------------


def test_without_the_tensor_there_are_norms_but_no_values():
    stored = from_json(to_json(Graph.from_tensor(demos.batch_norm())))
    data = data_of(to_html(stored))
    nodes, edges = data["pictures"][-1]["nodes"], data["pictures"][-1]["edges"]
    assert nodes[0]["grad"] == "0.081"
    assert not [n for n in nodes if "value" in n or "range" in n]
    assert sorted(e["nth"] for e in edges if e["source"] == 0) == [1, 2]
    assert data["tables"] == []


def test_without_gradients_there_is_no_way_back():
    output = demos.batch_norm()
    data = data_of(to_html(Graph.from_tensor(output, gradients=False), output=output))
    assert not [n for n in data["pictures"][-1]["nodes"] if "grad" in n or "gradient" in n]


def test_a_graph_of_another_tensor_is_refused():
    with pytest.raises(ValueError, match="to_html: the graph was not read from output"):
        to_html(Graph.from_tensor(demos.batch_norm()), output=demos.mlp())


def test_there_is_a_picture_for_every_depth_that_adds_something():
    sizes = [len(record["nodes"]) for record in data_of(page_of(demos.mlp()))["pictures"]]
    assert sizes == sorted(set(sizes))
    assert all(big > 1.25 * small for small, big in pairwise(sizes))
    assert sizes[-1] == len(Graph.from_tensor(demos.mlp()).nodes)


@pytest.mark.parametrize(("depth", "size"), [(None, 12), (0, 2), (1, 8), (9, 12)])
def test_the_page_opens_at_a_depth(depth, size):
    data = data_of(page_of(demos.batch_norm(), depth=depth))
    assert len(data["pictures"][data["open"]]["nodes"]) == size


def test_a_large_graph_is_not_drawn_in_full():
    y = x = mt.tensor([1.0], requires_grad=True)
    for i in range(80):
        with mt.name_scope(f"block{i}"):
            for _ in range(4):
                y = mt.tanh(y)
    sizes = [len(record["nodes"]) for record in data_of(page_of(y))["pictures"]]
    assert sizes == [81]
    assert x.grad is None


def test_a_single_leaf_is_a_page_too():
    data = data_of(page_of(mt.tensor([1.0], requires_grad=True, name="x")))
    assert [n["title"] for n in data["pictures"][0]["nodes"]] == ["x"]


@pytest.mark.parametrize(("theme", "scheme"), [("auto", "light dark"), ("light", "light"), ("dark", "dark")])
def test_a_theme_can_be_fixed(theme, scheme):
    page = page_of(mt.exp(mt.tensor([1.0], requires_grad=True)), theme=theme)
    assert f'<meta name="color-scheme" content="{scheme}">'.encode() in page
    assert (b"prefers-color-scheme" in page) == (theme == "auto")
    assert (b"--ink:#e8eef8" in page) == (theme != "light")


def test_hostile_text_stays_text():
    name = "</script><img src=x onerror=alert(1)>"
    x = mt.tensor([1.0, 2.0], requires_grad=True, name=name)
    with mt.name_scope("<!--", "-->\u202e&amp;"):
        y = mt.label(mt.exp(x) * x, "]]></svg>\u2028")
    page = page_of(y, title="</title><script>", description="</desc><b>")
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags if tag in ("img", "b", "script")] == ["script", "script"]
    record = data_of(page)["pictures"][-1]
    assert record["nodes"][0]["name"] == name
    assert record["scopes"][0]["detail"] == "-->\\u202E&amp;"
    assert name in ["".join(text.itertext()) for text in drawings(page)[-1].iter(f"{SVG}text")]
    assert b"\xe2\x80\xae" not in page
