"""The gallery and the page of the norms: the files are what the program makes, and can be put on any page."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from microtensor.norms import AXES
from microtensor.viz import cubes, engine
from microtensor.viz.theme import TOKENS
from tests.places import DOCS

SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted((DOCS / "gallery").glob("*.svg"))
EACH_FILE = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def make_gallery() -> Any:
    name = "make_gallery"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


PICTURES = make_gallery().PICTURES


def test_the_gallery_has_every_picture_and_no_other() -> None:
    assert {file.name for file in FILES} == {picture.file for picture in PICTURES}
    assert len({picture.heading for picture in PICTURES}) == len(PICTURES)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_what_the_program_makes(picture: Any) -> None:
    if not picture.name.startswith("norms") and engine.embedded() is None:
        pytest.skip("the pictures are laid out by the embedded engine, which is not installed here")
    made = picture.make()
    assert made == (DOCS / "gallery" / picture.file).read_bytes(), "run: python docs/make_gallery.py"
    assert picture.make() == made


def test_the_pages_are_what_the_program_makes() -> None:
    gallery = make_gallery()
    assert (DOCS / "gallery" / "README.md").read_text(encoding="utf-8") == gallery.gallery_page()
    assert (DOCS / "normalizations.md").read_text(encoding="utf-8") == gallery.norms_page()


def test_one_command_makes_all(tmp_path: Path) -> None:
    make_gallery().main(tmp_path)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"normalizations.md", "gallery/README.md", *(f"gallery/{file.name}" for file in FILES)}


@pytest.mark.parametrize("page", ["normalizations.md", "gallery/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (DOCS / page).parent.joinpath(target).exists(), target


def test_the_page_of_the_norms_says_what_the_table_says() -> None:
    text = (DOCS / "normalizations.md").read_text(encoding="utf-8")
    for row in AXES.values():
        assert row.formula in text
        assert row.source in text
        assert cubes.parameters(row, (8, 6, 4, 4)) in text


@EACH_FILE
def test_a_picture_can_be_put_on_any_page(file: Path) -> None:
    root = ElementTree.fromstring(file.read_bytes())
    assert root.tag == f"{SVG}svg"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "g", "title", "desc", "style", "path", "polygon", "polyline", "ellipse", "text", "tspan"),
    }
    keys = {key for element in root.iter() for key in element.attrib}
    assert not [key for key in keys if "href" in key or key.startswith("on")]
    assert "url(" not in file.read_text(encoding="utf-8")
    for part in ("title", "desc"):
        found = root.find(f"{SVG}{part}")
        assert found is not None
        assert found.text
    assert file.stat().st_size < 120_000


COLOURS = dict(itertools.chain(TOKENS.values(), cubes.SHADES.values()))


@EACH_FILE
def test_every_colour_has_a_dark_one(file: Path) -> None:
    """So the contrast of tokens, which other tests compute in both themes, is that of the pictures."""
    root = ElementTree.fromstring(file.read_bytes())
    style = "".join(element.text or "" for element in root.iter(f"{SVG}style"))
    used = {
        (key, element.get(key))
        for element in root.iter()
        for key in ("fill", "stroke")
        if element.get(key) not in (None, "none", "transparent")
    }
    assert len(used) > 4
    for key, colour in used:
        assert colour in COLOURS, (key, colour)
        assert f'[{key}="{colour}"]{{{key}:{COLOURS[colour]}}}' in style
    words = {text.get("fill") for text in root.iter(f"{SVG}text")}
    assert words <= {TOKENS[name][0] for name in ("ink", "muted", "gradient")} | {
        light for name, (light, _) in TOKENS.items() if name.startswith("edge-") or name.endswith("-border")
    }
