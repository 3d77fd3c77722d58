"""The interactive page in a real Chromium, offline: steps, details, folding, keys, touch, themes, print."""

import json
import re
from html import escape

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos
from microtensor.graph import Graph
from microtensor.viz import labels
from microtensor.viz.page import to_html

THEMES = ["light", "dark"]


def write(path, output):
    with mt.trace_lines():
        tensor = output()
    path.write_bytes(
        to_html(Graph.from_tensor(tensor), output=tensor, title="Computation graph", description="A test.")
    )
    return path


@pytest.fixture(scope="session")
def norm(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pages") / "norm.html", demos.batch_norm)


@pytest.fixture(scope="session")
def mlp(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pages") / "mlp.html", demos.mlp)


HOSTILE = "</script><img src=x onerror=alert(1)>"


def hostile_output():
    x = mt.tensor([1.0, 2.0], requires_grad=True, name=HOSTILE)
    with mt.name_scope("<b>bold</b>", "\u202edetail😀"):
        return mt.label(mt.exp(x) * x, "&amp;<i>")


def number(page, node):
    return page.evaluate("n => picture.nodes[n].boxes[0].lastElementChild.textContent", node)


def steps(page):
    return page.evaluate("picture.steps.length")


def until(page, condition, argument=None):
    """Wait for a condition; the browser's own way of waiting needs eval, which the page forbids."""
    for _ in range(100):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(20)
    raise AssertionError(condition)


def announced(page):
    return page.locator("#live").text_content()


# --- steps ------------------------------------------------------------------------------------------------


def test_values_come_down_and_gradients_go_up_with_the_numbers_of_the_engine(visit, norm):
    graph = Graph.from_tensor(demos.batch_norm())
    operations = [n for n in graph.nodes if n.kind == "operation"]
    page = visit(norm)
    assert page.locator("#where").text_content() == f"Forward 0 of {len(operations)}"
    for k, node in enumerate(operations, 1):
        assert number(page, node.id) == ""
        page.keyboard.press("ArrowRight")
        assert page.locator("#where").text_content() == f"Forward {k} of {len(operations)}"
        assert number(page, node.id) != ""
        assert page.locator("#details h2").text_content().startswith(node.op)
    page.keyboard.press("ArrowRight")
    for k, node in enumerate(reversed(operations), 1):
        page.keyboard.press("ArrowRight")
        assert page.locator("#where").text_content() == f"Backward {k} of {len(operations)}"
        assert re.match(rf"(‖grad‖|grad) {re.escape(labels.signed(node.grad))}(,| |$)", number(page, node.id))
    assert number(page, 0) == f"‖grad‖ {labels.number(graph.nodes[0].grad)}, sum of 2"
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content() == "The sum of the paths"
    assert page.locator("#next").is_disabled()
    page.keyboard.press("Home")
    assert page.locator("#where").text_content() == f"Forward 0 of {len(operations)}"
    assert page.locator("#back").is_disabled()
    assert number(page, operations[-1].id) == ""


def test_the_tables_show_the_numbers_of_the_tensors(visit, norm):
    output = demos.batch_norm()
    normalized = output.node.inputs[0].node.inputs[0]
    page = visit(norm, "#step=7")
    cells = page.locator("#details .value .heat td").all_text_contents()
    shown = np.array([float(cell.replace("−", "-")) for cell in cells]).reshape(normalized.shape)
    np.testing.assert_allclose(shown, normalized.numpy(), rtol=0.06)


def test_every_contribution_is_added_where_they_meet(visit, norm):
    page = visit(norm, "#step=17")
    assert number(page, 2) == "‖grad‖ 0.095, sum of 2"
    page.keyboard.press("ArrowLeft")
    assert number(page, 2) == "‖grad‖ 0.10  (1 of 2)"
    page.goto(norm.as_uri() + "#step=17")
    assert "(x − μ).grad += 2(x − μ)·g" in page.locator(".tell").text_content()
    assert "2 of 2, together ‖g‖ = 0.095" in page.locator("#details").text_content()


def test_a_number_keeps_its_sign_and_letters_are_explained(visit, tmp_path):
    def output():
        x, g = (mt.tensor(value, requires_grad=True, name=name) for value, name in ((2.0, "x"), (0.5, "g")))
        return mt.square(x * -1.5) * g - x[None][0]

    page = visit(write(tmp_path / "number.html", output))
    page.keyboard.press("End")
    assert number(page, 0) == "grad 3.5, sum of 2"
    assert page.locator("#legend").text_content().endswith("δ: gradient that arrives,  a: first input")
    assert "‖" not in page.locator("#details").text_content()
    assert "δ = " in page.locator("#details").text_content()
    told = set()
    for _ in range(steps(page) - 1):
        told |= set(page.evaluate("tell()").split("\n"))
        page.keyboard.press("ArrowLeft")
    assert told >= {
        "(x × (−1.5))²", "x[None]", "(x × (−1.5)).grad += 2a·δ", "x.grad += δ at [None]", "g.grad += δ·a",
    }  # fmt: skip


def test_arrows_turn_and_pills_appear_with_the_gradient(visit, norm):
    page = visit(norm, "#step=8")
    first = "picture.edges[1].parts.find(p => p.querySelector('.from'))"
    assert page.evaluate(f"getComputedStyle({first}.querySelector('.tip')).display") == "inline"
    page.keyboard.press("End")
    assert page.evaluate(f"getComputedStyle({first}.querySelector('.tip')).display") == "none"
    assert page.evaluate(f"getComputedStyle({first}.querySelector('polygon')).display") == "inline"
    assert page.locator(".mt-pill:visible").count() == 4


def test_buttons_and_the_progress_bar_step_too(visit, norm):
    page = visit(norm)
    page.locator("#next").click()
    assert page.locator("#where").text_content() == "Forward 1 of 9"
    page.locator("#last").click()
    assert page.locator("#where").text_content() == "The sum of the paths"
    page.locator("#back").click()
    assert page.locator("#where").text_content() == "Backward 9 of 9"
    page.locator("#progress").fill("4")
    assert page.locator("#where").text_content() == "Forward 4 of 9"
    assert page.locator("#progress").get_attribute("aria-valuetext") == "Forward 4 of 9"
    assert page.locator("#progress").get_attribute("max") == str(steps(page) - 1)
    page.locator("#first").click()
    assert announced(page).startswith("Forward 0 of 9: The inputs")


def test_each_step_is_announced(visit, norm):
    page = visit(norm, "#step=5")
    page.keyboard.press("ArrowRight")
    assert announced(page) == "Forward 6 of 9: σ = sqrt(σ² + ε)"
    page.keyboard.press("ArrowRight")
    assert announced(page) == "Forward 7 of 9: x̂ = (x − μ) ÷ σ"


# --- links, detail, search --------------------------------------------------------------------------------


def test_a_link_leads_to_a_step_and_a_step_makes_a_link(visit, norm):
    page = visit(norm, "#step=9")
    assert page.locator("#where").text_content() == "Forward 9 of 9"
    page.keyboard.press("ArrowLeft")
    assert page.url.endswith("#step=8")
    page.goto(norm.as_uri() + "#step=2&detail=1")
    assert page.evaluate("pictures.indexOf(picture)") == 0
    page.goto(norm.as_uri() + "#step=nonsense&detail=99")
    assert page.locator("#where").text_content() == "Forward 0 of 9"


def test_detail_changes_the_picture_and_keeps_the_place(visit, mlp):
    page = visit(mlp, "#step=20")
    place = page.evaluate("picture.steps[step].node.of")
    for level in (1, 4):
        page.get_by_role("button", name=re.compile(f"^Level {level} of 4")).click()
        assert page.locator("#stage > svg:visible").count() == 1
        assert page.locator("#detail [aria-pressed=true]").text_content() == str(level)
    assert page.evaluate("picture.steps[step]?.phase") == "forward"
    assert page.evaluate("picture.steps[step].node?.of ?? 0") <= place


def test_search_finds_names_operations_and_scopes(visit, norm):
    page = visit(norm)
    page.keyboard.press("/")
    page.keyboard.type("var")
    assert page.locator("#found").text_content() == "2 found"
    assert page.locator(".mt-node.hit").count() == 2
    page.keyboard.press("Enter")
    assert page.locator("#details h2").text_content().startswith("square")
    page.keyboard.press("Escape")
    assert page.locator(".hit, .miss").count() == 0
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content() == "Forward 1 of 9"


# --- details ----------------------------------------------------------------------------------------------


def test_details_follow_the_pointer_and_hold_on_a_click(visit, norm):
    page = visit(norm, "#step=9")
    page.locator("#stage > svg:visible [data-node='7']").hover()
    assert page.locator("#details h2").text_content().startswith("divide")
    page.mouse.move(5, 300)
    assert page.locator("#details h2").text_content().startswith("add")
    page.locator("#stage > svg:visible [data-node='8']").click()
    page.mouse.move(5, 300)
    assert page.locator("#details h2").text_content().startswith("γ")
    page.keyboard.press("Escape")
    assert page.locator("#details h2").text_content().startswith("add")


def test_a_step_that_has_not_come_gives_nothing_away(visit, norm):
    page = visit(norm, "#step=2")
    page.locator("#stage > svg:visible [data-node='7']").hover()
    assert "Computed at step 7." in page.locator("#details").text_content()
    assert page.locator("#details .heat").count() == 0
    page.goto(norm.as_uri() + "#step=12")
    page.locator("#stage > svg:visible [data-node='1']").hover()
    assert "has not come back yet" in page.locator("#details").text_content()


def test_the_line_of_source_is_shown(visit, norm):
    page = visit(norm, "#step=3")
    assert page.locator("figcaption").text_content().startswith("test_page_browser.py:")
    assert page.locator("#details figure code").text_content() == "tensor = output()"


# --- folding ----------------------------------------------------------------------------------------------


def test_a_scope_folds_in_place_and_nothing_else_moves(visit, norm):
    page = visit(norm, "#step=2")
    where = "picture.nodes.map(n => n.boxes[0].getBBox().y)"
    before = page.evaluate(where)
    page.locator(".mt-name[data-scope='1']:visible").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.card") == "1"
    assert page.locator(".card").get_attribute("aria-label") == "statistics 5 operations, folded"
    assert not page.locator("[data-node='4']:visible").count()
    assert page.evaluate(where) == before
    assert announced(page) == "statistics folded"
    page.keyboard.press("ArrowRight")
    assert page.locator(".card.now").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content() == "Forward 7 of 9"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("picture.cover(picture.steps[step].node)") == 1
    page.locator(".card").click()
    assert page.locator(".card").count() == 0
    assert page.locator("#stage > svg:visible .mt-node.inside").count() == 0


def test_folding_a_frame_hides_the_frames_inside(visit, norm):
    page = visit(norm)
    page.locator("[data-fold='2']").click()
    page.locator("[data-fold='0']").click()
    assert page.locator(".card:visible").count() == 1
    assert page.locator("#stage > svg:visible .mt-node:visible").count() == 2
    page.locator("[data-fold='0']").click()
    assert page.locator(".card:visible").count() == 1
    assert page.locator("[data-fold='2']").get_attribute("aria-pressed") == "true"


# --- keyboard, pointer, touch -----------------------------------------------------------------------------


def test_tab_reaches_every_part_in_the_order_of_the_program(visit, norm):
    page = visit(norm)
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("(e => [e.id, e.dataset.node ?? '', e.ariaLabel ?? e.textContent])(document.activeElement)")
        )
        if seen[-1][0] == "progress":
            break
    nodes = [int(node) for _, node, _ in seen if node]
    assert nodes == [*range(12), 11]
    assert all(text.strip() or id == "query" for id, _, text in seen)
    assert [i for i, _, _ in seen if i in ("query", "in", "details", "next", "progress")] == [
        "query", "in", "details", "next", "progress",
    ]  # fmt: skip


def test_focus_is_seen_and_shows_details(visit, norm):
    page = visit(norm, "#step=9")
    page.locator("#query").focus()
    page.keyboard.press("Tab")
    assert page.locator("#details h2").text_content() == "x"
    style = page.evaluate(
        "(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))"
    )
    assert style[0] == "solid"
    assert style[1] >= 2


def view(page):
    return page.evaluate("picture.view")


def test_keys_buttons_and_the_wheel_zoom(visit, norm):
    page = visit(norm)
    start = view(page)["k"]
    page.keyboard.press("+")
    assert view(page)["k"] == pytest.approx(1.25 * start)
    page.keyboard.press("-")
    assert view(page)["k"] == pytest.approx(start)
    page.mouse.move(400, 400)
    point = """(() => {
      const p = new DOMPoint(400, 400).matrixTransform(picture.svg.getScreenCTM().inverse());
      return [p.x, p.y];
    })()"""
    under = page.evaluate(point)
    page.mouse.wheel(0, -300)
    until(page, "k => picture.view.k > k", start)
    assert page.evaluate(point) == pytest.approx(under, abs=0.01)
    page.keyboard.press("0")
    assert view(page)["k"] == pytest.approx(page.evaluate("scaleToFit()"))


def test_dragging_moves_the_picture_and_is_no_click(visit, norm):
    page = visit(norm, "#step=9")
    before = view(page)
    box = page.locator("#stage > svg:visible [data-node='2']").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40, steps=4)
    page.mouse.up()
    after = view(page)
    assert (before["x"] - after["x"]) * after["k"] == pytest.approx(40, abs=12)
    assert page.evaluate("pinned") is None


def test_a_tap_shows_details_and_two_fingers_zoom(visit, norm):
    page = visit(norm, "#step=9", has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page.locator("#stage > svg:visible [data-node='9']").tap()
    assert page.locator("#details h2").text_content().startswith("multiply")
    page.locator("#next").tap()
    assert page.locator("#where").text_content() == "Backward 0 of 9"
    before = view(page)["k"]
    touch = page.context.new_cdp_session(page)
    for kind, gap in (("touchStart", 30), ("touchMove", 45), ("touchMove", 60), ("touchEnd", None)):
        points = [] if gap is None else [{"x": 195 - gap, "y": 250, "id": 0}, {"x": 195 + gap, "y": 250, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert view(page)["k"] > 1.3 * before


def test_a_phone_has_no_sideways_scroll_and_large_targets(visit, mlp):
    page = visit(mlp, "#step=9&detail=1", has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    sizes = page.evaluate(
        "[...document.querySelectorAll('header button, footer button')].map(b => b.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 40
    stage, details = (page.locator(part).bounding_box() for part in ("#stage", "#details"))
    assert details["y"] >= stage["y"] + stage["height"]


# --- looks ------------------------------------------------------------------------------------------------

OVERFLOW = """() => picture.nodes.flatMap((node) => node.boxes).concat([...document.querySelectorAll('.mt-pill')])
  .filter((box) => box.getClientRects().length && getComputedStyle(box).display !== 'none')
  .flatMap((box) => {
    const shapes = [...box.querySelectorAll('rect, polygon')].map((s) => s.getBBox());
    const shape = shapes.reduce((a, b) => (b.width > a.width ? b : a));
    return [...box.querySelectorAll('text')].filter((t) => {
      const r = t.getBBox();
      return r.width && (r.x < shape.x - 0.5 || r.x + r.width > shape.x + shape.width + 0.5);
    }).map((t) => t.textContent);
  })"""


@pytest.mark.parametrize("at", [9, 19])
def test_no_text_leaves_its_box(visit, norm, mlp, at):
    assert visit(norm, f"#step={at}").evaluate(OVERFLOW) == []
    page = visit(mlp, "#step=36")
    assert page.evaluate(OVERFLOW) == []
    page.keyboard.press("End")
    assert page.evaluate(OVERFLOW) == []


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => c.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const low = [];
  for (const element of document.querySelectorAll('body *:not(svg *):not(script)')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.closest('.unseen, :disabled, .later, noscript') || !element.getClientRects().length) continue;
    const found = ratio(rgba(getComputedStyle(element).color), behind(element));
    if (found < 4.5) low.push([element.textContent, found]);
  }
  for (const text of picture.svg.querySelectorAll('.mt-node:not(.ahead):not(.waiting) text, .mt-pill.back text')) {
    const fill = getComputedStyle(text.parentElement.querySelector('rect, polygon')).fill;
    const found = ratio(rgba(getComputedStyle(text).fill), rgba(fill));
    if (found < 4.5) low.push([text.textContent, found]);
  }
  return low;
}"""


@pytest.mark.parametrize("theme", THEMES)
def test_all_text_has_enough_contrast(visit, norm, theme):
    page = visit(norm, "#step=9", color_scheme=theme)
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("End")
    assert page.evaluate(CONTRAST) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 18, 32)"
    assert dark == (theme == "dark")


def test_motion_is_left_out_where_it_is_unwanted(visit, norm):
    page = visit(norm)
    assert page.evaluate("getComputedStyle(document.querySelector('.mt-node')).transitionDuration") == "0s"
    moving = visit(norm, reduced_motion="no-preference")
    assert moving.evaluate("getComputedStyle(document.querySelector('.mt-node')).transitionDuration") == "0.18s"
    moving.keyboard.press("+")
    until(moving, "Math.abs(picture.view.k - 1.25 * Math.max(scaleToFit(), 0.78)) < 1e-6")


def test_paper_has_one_step_and_no_controls_in_light_colours(visit, norm):
    page = visit(norm, "#step=17", color_scheme="dark")
    for _ in range(4):
        page.keyboard.press("+")
    screen = view(page)
    page.emulate_media(media="print", color_scheme="dark")
    until(page, "k => picture.view.k !== k", screen["k"])
    assert page.locator("#stage").is_visible()
    assert page.locator("#details").is_visible()
    for control in ("#detail", "#query", "#next", "#progress", "#zoom", ".keys"):
        assert not page.locator(control).is_visible(), control
    assert page.locator("#where").text_content() == "Backward 7 of 9"
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')") == "#0f172a"
    page.emulate_media(media="screen")
    until(page, "k => picture.view.k === k", screen["k"])


# --- safety -----------------------------------------------------------------------------------------------


def test_hostile_text_is_only_text(visit, tmp_path):
    page = visit(write(tmp_path / "hostile.html", hostile_output), "#step=2")
    assert page.locator("img, b:not(#details b), i:not(#legend i)").count() == 0
    shown = page.locator("#stage > svg:visible text").all_text_contents()
    assert HOSTILE in shown
    assert any("\\u202Edetail😀" in text for text in shown)
    page.locator("#stage > svg:visible [data-node='0']").hover()
    assert page.locator("#details h2").text_content() == HOSTILE
    page.locator("[data-fold='0']").click()
    assert "<b>bold</b>" in page.locator(".card").text_content()


def test_the_policy_is_in_force(chromium, norm):
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto(norm.as_uri())
    blocked = page.evaluate(
        """() => new Promise((done) => {
          const found = [];
          document.addEventListener('securitypolicyviolation', (event) => {
            found.push(event.effectiveDirective);
            if (found.length === 3) done(found);
          });
          document.body.append(Object.assign(document.createElement('img'), { src: 'https://example.org/a.png' }));
          document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.owned = 1' }));
          fetch('https://example.org/').catch(() => {});
        })"""
    )
    assert sorted(blocked) == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.owned") is None
    context.close()


def test_a_frame_that_may_not_change_its_address_still_steps(chromium, norm):
    context = chromium.new_context(offline=True)
    page = context.new_page()
    source = json.dumps(norm.read_text(encoding="utf-8")).replace("</", "<\\/")
    page.set_content(
        "<iframe sandbox='allow-scripts' width=1200 height=800></iframe>"
        f"<script>document.querySelector('iframe').srcdoc = {source}</script>"
    )
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#where").text_content() == "Forward 1 of 9"
    context.close()


def test_without_scripts_there_is_still_a_picture(chromium, norm):
    context = chromium.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(norm.as_uri())
    assert page.locator("#stage > svg").first.is_visible()
    assert page.locator("noscript").count() == 1
    context.close()


def test_a_picture_that_is_all_in_view_stays_where_it_is(visit, norm):
    page = visit(norm)
    before = view(page)
    assert before["k"] == pytest.approx(page.evaluate("scaleToFit()"), rel=0.05)
    page.keyboard.press("0")
    whole = view(page)
    for key in ("End", "Home", "ArrowRight"):
        page.keyboard.press(key)
        assert view(page) == whole


def test_a_frame_that_gets_its_size_later_shows_the_whole_picture(chromium, norm):
    page = chromium.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    source = escape(norm.read_text(encoding="utf-8"))
    page.set_content(f'<iframe style="display:none" sandbox="allow-scripts" srcdoc="{source}"></iframe>')
    page.wait_for_timeout(200)
    page.evaluate("document.querySelector('iframe').style = 'width:900px;height:700px'")
    frame = page.frames[1]
    view = "document.querySelector('#stage > svg:not([hidden])').getAttribute('viewBox')"
    frame.wait_for_function(f"{view}.split(' ')[2] > 10")
    box = frame.evaluate(view)
    page.close()
    assert all(abs(float(number)) < 1e5 for number in box.split())
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_frame_the_page_has_the_theme_around_it(chromium, norm, scheme):
    # Without a theme of its own, as in a notebook.
    page = chromium.new_page(color_scheme="null")
    source = escape(norm.read_text(encoding="utf-8"))
    frame = f'<iframe width=900 height=700 sandbox="allow-scripts" srcdoc="{source}"></iframe>'
    page.set_content(f"<style>body{{color-scheme:{scheme}}}</style>{frame}")
    page.frames[1].wait_for_selector("#stage > svg:not([hidden])")
    ground = page.frames[1].evaluate("getComputedStyle(document.body).backgroundColor")
    page.close()
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(11, 18, 32)"}[scheme]
