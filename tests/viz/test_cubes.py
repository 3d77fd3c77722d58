"""The cubes and the command ``microtensor norms``: what they show is what the norms do."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import microtensor as mt
from microtensor import norms
from microtensor.cli.common import Commands
from microtensor.cli.norms import norms_command
from microtensor.norms import AXES
from microtensor.viz import cubes, engine
from microtensor.viz.theme import TOKENS, palette
from tests.commands import runner

SVG = "{http://www.w3.org/2000/svg}"
SHAPE = (6, 6, 2, 3)  # Six positions, as in the picture.
ALL = list(AXES.values())

# Each norm as a function of x alone. Whitening and local response norm mix channels beyond the axes of one statistic.
CALLS = {
    "batch_norm": lambda x: norms.batch_norm(x, training=True),
    "layer_norm": lambda x: norms.layer_norm(x, x.shape[1:]),
    "instance_norm": norms.instance_norm,
    "group_norm": lambda x: norms.group_norm(x, 2),
    "rms_norm": lambda x: norms.rms_norm(x, x.shape[1:]),
    "ghost_batch_norm": lambda x: norms.ghost_batch_norm(x, x.shape[0] // 2, training=True),
    "batch_renorm": lambda x: norms.batch_renorm(
        x, running_mean=mt.zeros(x.shape[1]), running_var=mt.ones(x.shape[1]), training=True
    ),
    "filter_response_norm": norms.filter_response_norm,
    "scale_norm": lambda x: norms.scale_norm(x, mt.tensor(1.0)),
    "weight_norm": lambda x: norms.weight_norm(x, mt.ones((x.shape[0], *(1,) * (x.ndim - 1)))),
    "weight_standardize": norms.weight_standardize,
}


def together(name: str) -> np.ndarray:
    """The elements on which the first result depends, positions in one axis: (N, C, 6)."""
    x = mt.tensor(np.random.default_rng(0).normal(1.0, 2.0, SHAPE), requires_grad=True)
    first = CALLS[name](x)[0, 0, 0, 0]
    return (np.abs(mt.grad(first, x).numpy()) > 1e-9).reshape(6, 6, 6)


def squares(svg: bytes, token: str) -> int:
    """How many little faces are filled with a colour, the legend left out."""
    colour = cubes.SHADES[token][0]
    paths = [p.get("d", "") for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if p.get("fill") == colour]
    return paths[0].count("M") if paths else 0


@pytest.mark.parametrize("name", CALLS)
def test_amber_is_what_the_first_element_is_normalised_with(name: str) -> None:
    depends = together(name)
    svg = cubes.to_svg([AXES[name]], shape=SHAPE)
    drawn = [squares(svg, f"shared-{face}") for face in ("top", "left", "right")]
    assert drawn == [depends[:, :, 0].sum(), depends[0].sum(), depends[:, 0].sum()]
    assert (cubes.shares(AXES[name], SHAPE, 2).reshape(depends.shape) == depends).all()


def test_every_norm_but_those_that_mix_channels_or_singular_values_is_compared_with_what_it_does() -> None:
    assert set(AXES) - set(CALLS) == {"whiten", "local_response_norm", "spectral_norm"}


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 5), (8, 6, 4, 3), (8, 6, 2, 4, 3)])
@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_the_code_runs_and_has_as_many_results_as_the_count_says(row: norms.Axes, shape: tuple[int, ...]) -> None:
    code = cubes.code(row, len(shape))
    if cubes.problem(row, shape, 2):
        assert cubes.count(row, shape, 2) == "no statistics"
        return
    if not code:
        assert row.name in ("local_response_norm", "spectral_norm")
        return
    values = dict(zip(cubes.axis_names(row, len(shape)), shape, strict=True))
    x = mt.random.normal(shape, rng=0)
    found = eval(code, {**values, "G": 2, "x": x, "w": x})
    assert found.size == row.count(shape, 2)
    assert f"{found.size} statistic" in cubes.count(row, shape, 2)


def test_the_words_under_a_cube() -> None:
    shape = (8, 6, 4, 4)
    row = AXES["group_norm"]
    assert cubes.code(row, 4) == "x.reshape(N, G, C // G, H, W).mean(axis=(2, 3, 4))"
    assert cubes.count(row, shape, 2) == "N × G = 16 statistics"
    assert cubes.parameters(row, shape) == "γ, β (6,)"
    assert cubes.code(AXES["rms_norm"], 3) == "x.square().mean(axis=(1, 2))"
    assert cubes.code(AXES["weight_norm"], 2) == "w.square().sum(axis=1)"
    assert cubes.count(AXES["spectral_norm"], shape, 2) == "1 statistic"
    assert cubes.parameters(AXES["scale_norm"], shape) == "γ scalar"
    assert cubes.parameters(AXES["filter_response_norm"], shape) == "γ, β, τ (6,)"
    assert cubes.parameters(AXES["weight_norm"], shape) == "g (8,)"
    assert cubes.parameters(AXES["weight_standardize"], shape) == "no γ, β"
    assert cubes.problem(row, (8, 7), 2) == "C = 7 does not divide into 2 groups"
    assert cubes.problem(AXES["instance_norm"], (8, 6), 2) == "needs axes of positions"
    with pytest.raises(ValueError, match="must have 2 to 5 sizes, not 1"):
        cubes.axis_names(row, 1)


# --- the picture ----------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_stand_out_from_the_faces_and_words_from_the_ground(theme: str) -> None:
    c = palette(theme) | {name: values[theme == "dark"] for name, values in cubes.SHADES.items()}  # type: ignore[arg-type]
    for face in ("top", "left", "right"):
        plain, shared = c[f"cube-{face}"], c[f"shared-{face}"]
        assert contrast(c["cube-grid"], plain) >= 3
        assert contrast(c["operation-border"], plain) >= 3
        assert contrast(c["ink"], plain) >= 3
        assert contrast(c["shared-line"], shared) >= 3
        # In the dark, amber stands out by itself; in the light, by the line round it.
        assert max(contrast(shared, plain), contrast(c["shared-line"], plain)) >= 3
    assert contrast(c["operation-border"], c["bg"]) >= 3
    for words in ("ink", "muted", "statistics-border", "parameter-border"):
        assert contrast(c[words], c["bg"]) >= 4.5


def test_each_light_colour_belongs_to_one_token() -> None:
    light = [values[0] for values in (*TOKENS.values(), *cubes.SHADES.values())]
    assert len(light) == len(set(light))


def test_a_picture_stands_by_itself_and_is_the_same_each_time() -> None:
    svg = cubes.to_svg(ALL)
    assert svg == cubes.to_svg(ALL)
    root = ElementTree.fromstring(svg)
    assert not [e for e in root.iter() if e.tag.endswith(("script", "image", "foreignObject"))]
    assert not [key for e in root.iter() for key in e.attrib if "href" in key or key.startswith("on")]
    assert b"url(" not in svg
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert ids
    own = root.get("class")
    assert all(name.startswith(f"{own}-") for name in ids if name)
    assert own != ElementTree.fromstring(cubes.to_svg(ALL, theme="light")).get("class")
    assert root.get("role") == "img"
    words = " ".join(" ".join(e.itertext()) for e in root.iter(f"{SVG}text"))
    for row in ALL:
        assert cubes.title(row) in words
        assert row.sentence in words
        assert row.formula in words
    described = root.find(f"{SVG}desc")
    assert described is not None
    assert all(row.sentence in (described.text or "") for row in ALL)


def test_themes() -> None:
    rows = [AXES["batch_norm"]]
    auto, light, dark = (cubes.to_svg(rows, theme=theme).decode() for theme in ("auto", "light", "dark"))
    assert "prefers-color-scheme" in auto
    for light_value, dark_value in cubes.SHADES.values():
        assert f'[fill="{light_value}"]{{fill:{dark_value}}}' in auto
    assert "prefers-color-scheme" not in light + dark
    assert cubes.SHADES["shared-left"][0] in light
    assert not [values[0] for values in cubes.SHADES.values() if values[0] in dark]


def dashes(*names: str, **options: int) -> list[int]:
    root = ElementTree.fromstring(cubes.to_svg([AXES[name] for name in names], **options))  # type: ignore[arg-type]
    return [p.get("d", "").count("M") for p in root.iter(f"{SVG}path") if p.get("stroke-dasharray")]


def test_borders_of_groups_are_dashed_and_explained() -> None:
    assert dashes("batch_norm", "layer_norm", "whiten") == []
    assert dashes("group_norm") == [1, 1]  # The border, and its sample in the legend.
    assert dashes("ghost_batch_norm", parts=3) == [2, 1]
    assert dashes("group_norm", parts=1) == [1]
    assert dashes("group_norm", parts=4) == [2, 1]  # Of six channels three groups can be drawn, not four.


def test_a_flat_input_is_a_flat_slab() -> None:
    svg = cubes.to_svg([AXES["batch_norm"]], shape=(8, 6))
    assert [squares(svg, f"shared-{face}") for face in ("top", "left", "right")] == [6, 1, 6]
    assert "H·W".encode() not in svg


def test_a_png_has_the_same_size_at_144_dots_an_inch() -> None:
    rows = [AXES["batch_norm"], AXES["group_norm"]]
    root = ElementTree.fromstring(cubes.to_svg(rows))
    light, dark = cubes.to_png(rows), cubes.to_png(rows, theme="dark")
    assert light.startswith(b"\x89PNG")
    assert light != dark
    for side, found in zip(("width", "height"), struct.unpack(">II", light[16:24]), strict=True):
        assert abs(found - 2 * float(root.get(side, "0"))) <= 3


# --- the command ----------------------------------------------------------------------------------------------


def run(*arguments: str, **options: object) -> Result:
    group = Commands("microtensor", context_settings={"help_option_names": ["-h", "--help"]})
    group.add_command(norms_command)
    return runner().invoke(group, ["norms", *arguments], **options)  # type: ignore[arg-type]


def test_the_table_on_the_terminal() -> None:
    done = run()
    assert done.exit_code == 0
    for row in ALL:
        assert re.search(rf"^{row.name} +{re.escape(row.formula)}$", done.stdout, re.MULTILINE)
        assert row.source.split(",")[0] in done.stdout
    blocks = done.stdout.split("\n\n")
    assert len(blocks) == 1 + len(ALL)
    first = blocks[1].splitlines()
    assert first[1].split("   ")[0] == "C = 6 statistics"
    assert first[2].startswith("γ, β (6,)")
    assert first[2].endswith("x.mean(axis=(0, 2, 3))")
    columns = {re.search(r"\S +(?=\S)", line).end() for line in (first[0],)}  # type: ignore[union-attr]
    assert {line.index(text) for line, text in zip(first, ("γ (x", "one mean", "x.mean"), strict=False)} == columns
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\x1b" not in done.stdout


def test_shape_and_groups() -> None:
    done = run("group_norm", "--shape", "32X64x28×28", "--groups", "8")
    assert "x of shape (N, C, H, W) = (32, 64, 28, 28)\nG = 8" in done.stdout
    assert "N × G = 256 statistics" in done.stdout
    assert "batch_norm" not in done.stdout
    assert "C = 6 does not divide into 4 groups" in run("group_norm", "--groups", "4").stdout


def test_colour_only_where_it_is_wanted() -> None:
    assert "\x1b[33mC = 6 statistics\x1b[0m" in run("batch_norm", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in run("batch_norm", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b" not in run("batch_norm", "--no-color", env={"FORCE_COLOR": "1"}).stdout


def test_json() -> None:
    found = json.loads(run("-f", "json").stdout)
    assert found["schema"] == "microtensor.norms/1"
    assert [one["name"] for one in found["norms"]] == list(AXES)
    one = found["norms"][3]
    assert (one["view"], one["axes"], one["statistics"]) == ([8, 2, 3, 4, 4], [2, 3, 4], 16)
    assert one["affine_shape"] == [6]
    assert one["problem"] is None
    flat = json.loads(run("instance_norm", "-f", "json", "--shape", "8x6").stdout)["norms"][0]
    assert (flat["statistics"], flat["code"], flat["problem"]) == (None, None, "needs axes of positions")


def test_files(tmp_path: Path) -> None:
    for suffix, start in ((".svg", b"<svg"), (".png", b"\x89PNG"), (".json", b"{"), (".txt", b"x of shape")):
        file = tmp_path / f"norms{suffix}"
        assert run("batch_norm", "-o", str(file)).exit_code == 0
        assert file.read_bytes().startswith(start)
        assert run("-o", str(file), "--no-clobber").exit_code == 1
    assert run("batch_norm", "-o", "-").stdout_bytes == cubes.to_svg([AXES["batch_norm"]])
    assert run("batch_norm", "-f", "svg", "--theme", "dark").stdout_bytes == cubes.to_svg(
        [AXES["batch_norm"]], theme="dark"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gn",), "there is no norm 'gn'; there are batch_norm, "),
        (("--shape", "8"), "2 to 5 positive sizes"),
        (("--shape", "8x0"), "2 to 5 positive sizes"),
        (("--shape", "8,6"), "'8,6' must be sizes joined by x"),
        (("--groups", "0"), "--groups"),
        (("-o", "norms.pdf"), "the suffix .pdf of norms.pdf is not known; use one of .txt .json .svg .png"),
        (("-o", "norms"), "norms has no suffix"),
        (("-o", "norms.svg", "-f", "png"), "disagree"),
    ],
)
def test_wrong_use_exits_with_2(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_png_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtensor.cli.common.is_terminal", lambda: True)
    done = run("-f", "png")
    assert done.exit_code == 2
    assert "write it to a file with -o FILE.png" in done.stderr


def test_without_an_engine_there_is_no_png_but_everything_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "embedded", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("-o", str(tmp_path / "norms.png"))
    assert done.exit_code == 4
    assert "pip install graphviz-pure" in done.stderr
    assert "an SVG needs none" in done.stderr
    assert not (tmp_path / "norms.png").exists()
    assert run("-o", str(tmp_path / "norms.svg")).exit_code == 0


def test_help_starts_with_examples() -> None:
    lines = run("-h").stdout.splitlines()
    assert lines[2].strip() == "Examples:"
    assert "microtensor norms -o norms.svg" in "\n".join(lines)
