"""Text from outside, of any kind and in every place where a graph has text: in no format is it more than text."""

from __future__ import annotations

import contextlib
import json
import re
import time
import unicodedata
import xml.etree.ElementTree as ElementTree
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn, viz
from microtensor.cli import main
from microtensor.core.primitive import primitive
from microtensor.graph import Graph, GraphEdge, GraphNode, GraphScope, compare
from microtensor.ledger import paths, to_json, to_table
from microtensor.text import MARKS, columns, padded, safe_lines, safe_text
from microtensor.viz.engine import layout
from microtensor.viz.mermaid import entities, to_mermaid
from microtensor.viz.paths import render_paths
from microtensor.viz.source import Markup, Source
from tests.commands import runner

SVG = "{http://www.w3.org/2000/svg}"
PASSIVE = {"svg", "title", "desc", "style", "g", "path", "polygon", "polyline", "ellipse", "text", "tspan"}
UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
PARTS = [
    "<", ">", "<a", "b>", "<B>", "</TD>", '<IMG SRC="x.png"/>', "<script>alert(1)</script>", "</script>", "<!--", "-->",
    "]]>", "&amp;", "&lt;", "&#60;", "&", '"', '\\"', "'", "\\", "\\N", "\\G", "\\l", "\\n", "];x[", "}", "{", "->",
    "%%{init: {'theme':'dark'}}%%", "%%", "direction LR", "direction\tTB", "end", 'click n0 "javascript:alert(1)"',
    ";", "subgraph s", "$$x^2$$", "`md`", "#35;", "#quot;", "fa:fa-car", "style a:b", ":::c", "@{ shape: a }", "|",
    "~~~", "\x00", "\x07", "\x1b[2J", "\x1b]0;t\x07", "\x9b31m", "\r\n", "\n", "\t", "\u202e", "\u2066", "\u200b",
    "\u2028", "\ud800", "\udfff", "\ue000", "\ufffe", "\ufe0f", "\u3164", "\U000e0041", "x\u0302", "z" + "\u0301" * 40,
    "\u0301", "中文", "שלום", "😀", "$&", "$'", "constructor", "no gradient", "grad 1", " ", "word", "{0}", "%s", "n0",
]  # fmt: skip
hostile = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join),
    st.lists(st.sampled_from(PARTS), max_size=3).map(lambda parts: f"<{''.join(parts)}>"),
    st.text(min_size=1, max_size=30),
)
WORST = [
    "<a b>",
    '<<TABLE HREF="javascript:alert(1)"><TR><TD>x</TD></TR></TABLE>>',
    '"]; n99 [label=<<IMG SRC="/etc/passwd"/>>]; x [l="',
    "</script><img src=x onerror=alert(1)>",
    "%%{init: {'theme':'dark'}}%% direction LR $$x$$ fa:fa-car `a` #35; style a:b#c;",
    "\x1b[31m\x9b2J\u202e\r\n\x00\ud800 &amp; \\N\\G\\l ]]> <!--",
]


def graph_of(text: str) -> Graph:
    """A graph with the text wherever a graph has some."""
    nodes = (
        GraphNode(0, "data", name=text, role=text, shape=(2,), dtype=text),
        GraphNode(1, "parameter", name=text, shape=(2,), dtype="float64", scope=0),
        GraphNode(2, "constant", role=text, shape=(2,), scope=0),
        GraphNode(
            3, "operation", text, text, text, shape=(2,), dtype=text, scope=1, statistics=True, rules=("g", text),
            line=text, grad=1.0, mark="changed", note=text,
        ),
        GraphNode(4, "module", text, text, text, text, (2,), scope=0, parameters=((text, (2,)),), grad=1.0, repeats=3),
        GraphNode(5, "operation", "subtract", "−", text, shape=(2,), constants=((1, "2"),), grad=2.0, rules=("g",)),
        GraphNode(6, "operation", text, text, shape=(2,), mark="failed", note=text, line=text, grad=1.0),
    )  # fmt: skip
    edges = [(0, 3, 0), (1, 3, 1), (2, 4, 1), (3, 4, 0), (3, 5, 0), (4, 6, 0), (5, 6, 1)]
    scopes = (GraphScope(0, text, text, None, False), GraphScope(1, text, "", 0, True))
    drawn = tuple(GraphEdge(*edge, "direct" if edge[0] == 0 else "plain", 1.0) for edge in edges)
    return Graph(nodes, drawn, scopes, 6, text, (text, text))


HARMLESS = graph_of("harmless")


def parts_of(svg: bytes) -> Counter[tuple[str, str]]:
    """What a picture is made of, but for its lines of text, which break where they are long."""
    return Counter(
        (str(element.tag).removeprefix(SVG), re.sub(r"^mt\w+$", "mt", element.get("class") or ""))
        for element in ElementTree.fromstring(svg).iter()
        if element.tag not in (f"{SVG}text", f"{SVG}tspan")
    )


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def words_of(svg: bytes) -> str:
    return squeezed("".join(ElementTree.fromstring(svg).itertext()))


def is_quiet(text: str) -> bool:
    """Whether every character is seen, but for the ends of lines."""
    return all(unicodedata.category(c) not in UNSHOWN for c in text.replace("\n", ""))


# --- the function itself ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(text=st.one_of(hostile, st.text()), limit=st.integers(1, 80))
def test_safe_text_is_seen_is_short_and_stays_as_it_is(text: str, limit: int) -> None:
    shown = safe_text(text, limit)
    assert is_quiet(shown)
    assert len(shown) <= limit
    assert safe_text(shown, limit) == shown
    assert not re.search(r"\\u[0-9A-F]{0,3}…$", shown)
    marks = re.findall("M+", "".join(unicodedata.category(c)[0] for c in shown))
    assert max(map(len, marks), default=0) <= MARKS
    assert not shown[:1] or unicodedata.category(shown[0])[0] != "M"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fc1.weight", "fc1.weight"),
        ("x\u0302 = σ²", "x\u0302 = σ²"),
        ("中文 café नमस्ते", "中文 café नमस्ते"),
        ("\x1b[31m", "\\u001B[31m"),
        ("a\u202eb", "a\\u202Eb"),
        ("\u0301a", "\\u0301a"),
        ("a" + "\u0301" * 6, "a" + "\u0301" * 4 + "\\u0301\\u0301"),
        ("❤\ufe0f", "❤\\uFE0F"),
        ("\U000e0041", "\\U000E0041"),
        ("\ud800", "\\uD800"),
        ("n" * 61, "n" * 59 + "…"),
        ("n" * 54 + "\x00\x00", "n" * 54 + "…"),
    ],
)
def test_safe_text_by_example(text: str, shown: str) -> None:
    assert safe_text(text) == shown


def test_a_name_of_many_megabytes_is_cut_at_once() -> None:
    name = "\u0301" * 10_000_000
    start = time.perf_counter()
    assert len(safe_text(name)) <= 60
    assert time.perf_counter() - start < 0.1


def test_lines_keep_their_ends_and_columns_are_those_of_a_terminal() -> None:
    assert safe_lines("a\x1b\n\tb\r\n") == "a\\u001B\n    b\\u000D\n"
    assert [columns(text) for text in ("abc", "中文", "x\u0302", "ก\u0e31")] == [3, 4, 1, 1]
    assert padded("中", 4) == "中  "


def test_there_is_no_second_function_of_the_kind() -> None:
    package = Path(mt.__file__).parent
    users = {p.name for p in package.rglob("*.py") if re.search(r"unicodedata|isprintable", p.read_text("utf-8"))}
    assert users == {"text.py", "outlines.py"}


# --- Graphviz -----------------------------------------------------------------------------------------------


def test_every_tooltip_is_shown_letter_by_letter() -> None:
    wanted = [safe_text(text, 500) for text in (*PARTS, *WORST, "<>", "<x>", "\\\\N", "\\" * 3, "\\E\\T")]
    source = Source("g")
    for i, text in enumerate(wanted):
        source.node(f"n{i}", tooltip=text, label="x")
    root = ElementTree.fromstring(layout(source.text(), "svg"))
    found = [link.get("{http://www.w3.org/1999/xlink}title") for link in root.iter(f"{SVG}a")]
    assert found == wanted


def test_only_what_our_own_code_marks_is_markup() -> None:
    source = Source("g")
    source.node("a", label="<b>")
    source.node("b", label=Markup("<<B>b</B>>"))
    source.node("c", label=str(Markup("<<B>b</B>>")))
    lines = [line.strip() for line in source.text().splitlines()]
    assert lines[1:-1] == ['a [label="<b>"]', "b [label=<<B>b</B>>]", 'c [label="<<B>b</B>>"]']


@pytest.mark.filterwarnings("ignore:the font of a PDF lacks")
@settings(max_examples=8, deadline=None)
@given(text=hostile)
def test_a_picture_has_the_parts_that_harmless_names_give_it(text: str) -> None:
    assume(safe_text(text).strip())  # a frame whose name is a space has no name to be drawn
    check_picture(text)


@pytest.mark.parametrize("text", WORST)
def test_a_picture_has_the_parts_that_harmless_names_give_it_at_the_worst(text: str) -> None:
    check_picture(text)


KNOWN = {view: parts_of(viz.render(HARMLESS, "svg", view=view)) for view in ("forward", "backward")}


def check_picture(text: str) -> None:
    for view, known in KNOWN.items():
        svg = viz.render(graph_of(text), "svg", view=view)  # type: ignore[arg-type]
        assert parts_of(svg) == known
        assert {kind for kind, _ in known} <= PASSIVE
        assert squeezed(safe_text(text)) in words_of(svg)
        assert is_quiet(svg.decode("utf-8"))
    pdf = viz.render(graph_of(text), "pdf")
    packed = re.search(rb"FlateDecode >>\nstream\n(.*?)\nendstream", pdf, re.DOTALL)
    assert packed is not None
    content = zlib.decompress(packed[1])
    assert content.count(b" BDC") == content.count(b"\nEMC")
    assert not re.search(rb"/(Annots|URI|JS|JavaScript|AA|OpenAction)", pdf.replace(packed[1], b""))


# --- the page -----------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Counts the tags and attributes of a page, as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("text", "tspan"):
            self.tags[tag, tuple(sorted(name for name, _ in attrs))] += 1


@settings(max_examples=3, deadline=None)
@given(text=hostile)
def test_a_page_has_the_tags_that_harmless_names_give_it(text: str) -> None:
    check_page(text)


@pytest.mark.parametrize("text", WORST[-3:])
def test_a_page_has_the_tags_that_harmless_names_give_it_at_the_worst(text: str) -> None:
    check_page(text)


def check_page(text: str) -> None:
    page = viz.render(graph_of(text), "html").decode("utf-8")
    assert Reader(page).tags == Reader(viz.render(HARMLESS, "html").decode("utf-8")).tags
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["pictures"][-1]["nodes"][0]["name"] == safe_text(text)
    assert is_quiet(data[1])


# --- text formats -------------------------------------------------------------------------------------------


def decoded(label: str) -> str:
    """A Mermaid label as it is shown: entities, without the spaces of no width."""
    return re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label).replace("\u200b", "")


@settings(max_examples=40, deadline=None)
@given(text=hostile)
@example(text="<<<<script>alert(1)</script>direction LR")
def test_mermaid_statements_are_those_of_harmless_names_and_show_the_text(text: str) -> None:
    chart = to_mermaid(graph_of(text), view="backward")
    known = to_mermaid(HARMLESS, view="backward")
    quoted = r'"[^"\n]*"'
    assert re.sub(quoted, '""', chart) == re.sub(quoted, '""', known)
    assert is_quiet(chart)
    for line in (line for label in re.findall(quoted, chart) for line in label[1:-1].split("<br/>")):
        bare = re.sub(r"<b>|</b>", "", line)
        assert not re.search(r"[<>&`$%*:@_{|}~\\]|direction\s", bare)
        assert re.fullmatch(r"(#\d+;|[^#;])*", bare)
    assert decoded(entities(safe_text(text))) == safe_text(text)
    # What Mermaid looks for only after it has decoded the entities.
    shown = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), entities(safe_text(text)))
    assert not re.search(r"\$\$|fa[a-z]?:fa-|\\n", shown)


@settings(max_examples=40, deadline=None)
@given(text=hostile)
def test_a_tree_has_one_row_a_node_and_moves_no_cursor(text: str) -> None:
    for view in ("forward", "backward"):
        tree = viz.render(graph_of(text), "tree", view=view, values="stats", lines=True).decode("utf-8")  # type: ignore[arg-type]
        assert is_quiet(tree)
        assert tree.count("\n") == viz.render(HARMLESS, "tree").count(b"\n")
        assert squeezed(safe_text(text)) in squeezed(tree)


@settings(max_examples=40, deadline=None)
@given(text=hostile)
def test_json_keeps_the_text_as_it_is(text: str) -> None:
    stored = viz.to_json(graph_of(text))
    assert stored.isascii()
    # Two halves of a character, one after the other, are that character to every reader of JSON.
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert viz.from_json(stored) == graph_of(joined)


@settings(max_examples=40, deadline=None)
@given(text=hostile)
def test_a_comparison_shows_names_as_text(text: str) -> None:
    both = compare(graph_of(text), HARMLESS, (text, "other"))
    tree = viz.render(both, "tree").decode("utf-8")
    assert is_quiet(tree)
    assert squeezed(safe_text(text)) in squeezed(tree)
    assert is_quiet(viz.describe(both, "forward")[0])


# --- what a program itself has made -------------------------------------------------------------------------


def result_of(text: str) -> mt.Tensor:
    """A result of a primitive, a parameter and a scope of that name."""
    odd = primitive(text, lambda x: x + 0.0, lambda g, y, x: g, symbol=text, rule_text=(text,))
    x = mt.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True, name=text)
    with mt.name_scope(text, text):
        y: mt.Tensor = mt.norms.layer_norm(odd(x) * 2.0, 2)
    y.name = text
    return y


def bundle_tags(bundle: dict[str, str]) -> dict[str, Any]:
    return {kind: Reader(value).tags if kind != "text/plain" else value.count("\n") for kind, value in bundle.items()}


@pytest.mark.parametrize("text", ["<lambda>", *WORST])
def test_a_notebook_shows_names_as_text(text: str) -> None:
    class Odd(nn.Module):
        pass

    def module(name: str) -> nn.Module:
        net, odd = nn.Sequential(nn.Linear(2, 3)), Odd()
        odd._parameters[name] = nn.Parameter(np.ones(2))
        odd._modules[name] = net
        return odd

    assert is_quiet(repr(result_of(text)))
    assert is_quiet(repr(module(text)))
    assert bundle_tags(module(text)._repr_mimebundle_()) == bundle_tags(module("name")._repr_mimebundle_())
    assert all(is_quiet(value) for value in module(text)._repr_mimebundle_().values())
    shown = Graph.from_tensor(result_of(text))._repr_mimebundle_()
    assert shown.keys() == {"text/plain", "image/svg+xml", "image/png"}
    assert parts_of(shown["image/svg+xml"].encode()) == parts_of(
        Graph.from_tensor(result_of("name"))._repr_mimebundle_()["image/svg+xml"].encode()
    )
    assert is_quiet(shown["text/plain"])
    value, other = (result_of(name)._repr_mimebundle_()["text/html"] for name in (text, "name"))
    assert is_quiet(value)
    assert re.sub(r'"[^"]*"', "", value.partition("<img")[2]) == re.sub(r'"[^"]*"', "", other.partition("<img")[2])


@pytest.mark.parametrize("text", ["<lambda>", *WORST])
def test_a_ledger_shows_names_as_text(text: str) -> None:
    ledger, known = paths(result_of(text)), paths(result_of("name"))
    assert is_quiet(to_table(ledger))
    assert to_table(ledger).count("\n") == to_table(known).count("\n")
    assert is_quiet(to_json(ledger))
    assert parts_of(render_paths(ledger, "svg")) == parts_of(render_paths(known, "svg"))


def test_a_symbol_of_ones_own_cannot_colour_the_ledger() -> None:
    wild = primitive("wild", lambda x: x + 0.0, lambda g, y, x: g, symbol="\x1b[31m")
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    assert "\x1b" not in str(paths(wild(x) + mt.exp(x), x))


# --- the terminal -------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*args: str) -> tuple[int, str]:
    """The exit code, and all that stands on the terminal."""
    result = runner().invoke(main, list(args), prog_name="microtensor")
    return result.exit_code, result.stdout + result.stderr


ESCAPE = "\x1b[31m\u202e"


@pytest.mark.parametrize(
    "args",
    [
        ["viz", f"{ESCAPE}.py"],
        ["viz", f"demo:{ESCAPE}"],
        ["viz", "demo:mlp", "-o", f"{ESCAPE}/a.svg"],
        ["viz", "demo:mlp", "-o", f"a.{ESCAPE}"],
        ["viz", "demo:mlp", "--collapse", ESCAPE],
        ["viz", "demo:mlp", f"--{ESCAPE}"],
        ["viz", "demo:mlp", "--theme", ESCAPE],
        ["viz", "demo:mlp", "--input-shape", ESCAPE],
        ["paths", "demo:mlp", "--norm", ESCAPE],
        ["paths", "demo:mlp", "--of", ESCAPE],
        ["check", f"{ESCAPE}:x"],
        ["norms", ESCAPE],
        [ESCAPE],
        [f"--{ESCAPE}"],
    ],
)
@pytest.mark.usefixtures("here")
def test_what_was_typed_is_quoted_safely(args: list[str]) -> None:
    code, said = told(*args)
    assert code in (1, 2)
    assert is_quiet(said)


@pytest.mark.usefixtures("here")
def test_an_exception_of_the_script_moves_no_cursor() -> None:
    Path("s.py").write_text(f"raise ValueError({'one' + ESCAPE + chr(10) + 'two' + ESCAPE!a})\n")
    code, said = told("viz", "s.py")
    assert (code, is_quiet(said)) == (3, True)
    assert "s.py:1: ValueError: one\\u001B[31m\\u202E" in said
    Path("w.py").write_text(f"import microtensor as mt\nx = mt.tensor([1.0], requires_grad=True, name={ESCAPE!a})\n")
    assert is_quiet(told("viz", "w.py")[1])
    assert is_quiet(told("check", "w.py:x")[1])


@pytest.mark.usefixtures("here")
def test_every_string_of_a_stored_graph_is_shown_safely() -> None:
    Path("g.json").write_text(viz.to_json(graph_of(f"<a{ESCAPE}\nb>")))
    for options in ([], ["--lines"], ["--view", "backward"], ["-f", "dot"], ["-f", "mermaid"], ["--depth", "0"]):
        code, said = told("viz", "g.json", *options)
        assert code == 0
        assert is_quiet(said.replace("\t", ""))


# --- stored graphs ------------------------------------------------------------------------------------------


def stored(**changes: Any) -> str:
    """A stored graph of three nodes with changes by path: node1.grad, edge0.target, scope0.parent, root."""
    x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with mt.name_scope("outer"):
        content = json.loads(viz.to_json(Graph.from_tensor(mt.exp(x) * 2.0, gradients=True)))
    for place, value in changes.items():
        record, _, field = place.partition("__")
        if not field:
            content[record] = value
        else:
            content[f"{record[:-1]}s"][int(record[-1])][field] = value
    return json.dumps(content)


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "not UTF-8": b"\xff\xfe\xff{",
    "null": "null",
    "a list": "[]",
    "a number": "1",
    "truncated": stored()[:-20],
    "nested": "[" * 100_000,
    "nested records": '{"schema":' * 100_000,
    "integer beyond floats": stored(node1__grad=10**400),
    "integer of 5,000 digits": stored(node1__grad=1).replace('"grad": 1', f'"grad": {"9" * 5000}', 1),
    "size beyond integers": stored(node1__shape=[10**400]),
    "negative size": stored(node1__shape=[-1]),
    "seventy axes": stored(node1__shape=[1] * 70),
    "no such number": stored(node1__grad="much"),
    "a word with digits": stored(node1__grad="1_0"),
    "true for a number": stored(node1__grad=True),
    "true for an id": stored(root=True),
    "missing root": json.dumps({k: v for k, v in json.loads(stored()).items() if k != "root"}),
    "missing id": stored(nodes=[{"kind": "data"}]),
    "no nodes": stored(nodes=[], edges=[], scopes=[], root=0),
    "unknown field": stored(node1__colour="red"),
    "unknown field of nasty name": stored(**{"node1__\x1b[31m\u202e": 1}),
    "unknown kind": stored(node1__kind="cat"),
    "kind is a list": stored(node1__kind=["data"]),
    "duplicate id": stored(node1__id=0),
    "root outside": stored(root=99),
    "edge from outside": stored(edge0__source=99),
    "negative edge": stored(edge0__source=-1),
    "edge to itself": stored(edge0__source=1, edge0__target=1),
    "cycle": stored(edge0__source=2, edge0__target=1),
    "twice the same edge": json.dumps({**json.loads(stored()), "edges": json.loads(stored())["edges"][:1] * 2}),
    "negative argument": stored(edge0__argument=-3),
    "constant of no number": stored(node2__constants=[[1, "two"]]),
    "constant of negative argument": stored(node2__constants=[[-5, "2"]]),
    "three statistics": stored(node1__stats=[1, 2, 3]),
    "ragged table": stored(node1__table=[[1], [1, 2]]),
    "empty table": stored(node1__table=[[]]),
    "no repeats": stored(node1__repeats=0),
    "scope inside itself": stored(scopes=[{"id": 0, "name": "a", "detail": "", "parent": 0, "statistics": False}]),
    "name is a number": stored(node0__name=3),
    "schema is a record": stored(schema={}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_graph_is_refused_with_its_file(case: str, here: Path) -> None:
    content = BROKEN[case]
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    with pytest.raises(ValueError, match=r"not a graph of schema microtensor\.graph/1") as refused:
        viz.from_json(data)
    assert is_quiet(str(refused.value))
    (here / "my graph.json").write_bytes(data)
    code, said = told("viz", "my graph.json")
    assert code == 2
    assert said.startswith("Error: my graph.json: this is not a graph")
    assert is_quiet(said)


def test_numbers_that_json_can_hold_are_taken() -> None:
    for value in (1, 1.5, "NaN", "Infinity", "-Infinity", None):
        graph = viz.from_json(stored(node1__grad=value))
        assert viz.to_json(viz.from_json(viz.to_json(graph))) == viz.to_json(graph)
    assert np.isnan(viz.from_json(stored(node1__grad=1).replace('"grad": 1', '"grad": NaN', 1)).nodes[1].grad)
    assert viz.from_json(stored().encode("utf-16")) == viz.from_json(stored())


def test_a_folded_graph_may_go_in_a_circle_and_is_drawn_all_the_same() -> None:
    nodes = (GraphNode(0, "function", "a", "a"), GraphNode(1, "function", "b", "b"))
    ring = (GraphEdge(0, 1, 0, "parameter", 1.0), GraphEdge(1, 0, 0, "parameter", 1.0))
    graph = viz.from_json(viz.to_json(Graph(nodes, ring, (), 1)))
    for format in ("dot", "svg", "mermaid", "tree", "html"):
        assert viz.render(graph, format)  # type: ignore[arg-type]


# --- long and deep ------------------------------------------------------------------------------------------


def chain(n: int, *, deep: bool = False) -> Graph:
    """So many operations in a row, each in a scope inside that of the one before, if `deep`."""
    nodes = [GraphNode(0, "data", name="x", shape=(2,))]
    nodes += [GraphNode(i, "operation", "exp", "exp", shape=(2,), scope=i - 1 if deep else None) for i in range(1, n)]
    scopes = [GraphScope(i, "s", "deep", i - 1 if i else None, False) for i in range(n - 1 if deep else 0)]
    return Graph(tuple(nodes), tuple(GraphEdge(i - 1, i, 0, "direct") for i in range(1, n)), tuple(scopes), n - 1)


GROWING: dict[str, tuple[bool, Callable[[Graph], Any]]] = {
    "tree of a chain": (False, viz.to_tree),
    "comparison of a chain": (False, lambda graph: compare(graph, graph)),
    "Mermaid of deep scopes": (True, viz.to_mermaid),
    "deep scopes folded by name": (True, lambda graph: graph.collapsed(None, expand=["s"])),
    "deep scopes folded to fit": (True, viz.folded),
}


@pytest.mark.parametrize("case", GROWING)
def test_eight_times_the_nodes_take_about_eight_times_as_long(case: str) -> None:
    deep, function = GROWING[case]

    def seconds(graph: Graph) -> float:
        def once() -> float:
            start = time.process_time()
            function(graph)
            return time.process_time() - start

        return min(once() for _ in range(3))

    # The square would be 64 times.
    assert seconds(chain(4000, deep=deep)) < 30 * seconds(chain(500, deep=deep)) + 0.02


def nested(n: int) -> mt.Tensor:
    x = y = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    with contextlib.ExitStack() as scopes:
        for i in range(n):
            scopes.enter_context(mt.name_scope(f"s{i}", "deep"))
            y = mt.tanh(y)
        return y * x


def test_scopes_nested_deeper_than_python_recurses() -> None:
    y = nested(1200)
    graph = Graph.from_tensor(y)
    assert max(graph.scope_levels()) == 1199
    with pytest.warns(UserWarning, match="GitHub refuses"):
        assert len(viz.render(graph, "mermaid", view="backward", depth=10**6)) < 4_000_000
    for format in ("dot", "json", "tree"):
        whole = viz.render(graph, format, view="backward", depth=10**6)  # type: ignore[arg-type]
        assert len(whole) < 4_000_000
    assert viz.from_json(viz.to_json(graph)) == graph
    assert [node.op for node in graph.collapsed(5).nodes] == ["", *["tanh"] * 5, "s5"]
    for format in ("svg", "pdf", "html"):
        assert viz.render(graph.collapsed(5), format)  # type: ignore[arg-type]
    assert str(paths(y)).startswith("∂y/∂x, shape (2,): 2 paths")
    assert compare(graph, graph) == compare(graph, graph)
    assert {"text/plain"} <= graph.collapsed(5)._repr_mimebundle_().keys()


@pytest.mark.usefixtures("here")
def test_what_is_nested_too_deep_for_the_engine_is_the_engines_failure() -> None:
    graph = chain(6, deep=True)
    scopes = tuple(GraphScope(i, "s", "", i - 1 if i else None, False) for i in range(2600))
    nodes = tuple(replace(node, scope=2599) for node in graph.nodes)
    Path("g.json").write_text(viz.to_json(Graph(nodes, graph.edges, scopes, 5)))
    assert told("viz", "g.json")[0] == 0
    code, said = told("viz", "g.json", "-o", "g.svg")
    assert (code, "the layout engine" in said) == (4, True)
    assert not Path("g.svg").exists()
