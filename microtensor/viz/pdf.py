"""A finished picture as PDF: the shapes and words of its SVG. Words are drawn as outlines, so no reader needs a font.

The PDF of a layout engine differs from machine to machine; this one does not. Paths stay paths. What a line says can be
searched and copied.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from microtensor.text import LINE, safe_text
from microtensor.viz.outlines import ACROSS, UP, Words, outline, units, words
from microtensor.viz.shapes import points, tag

# A bold letter is drawn with an edge of this part of its size.
EDGE = 0.035
# How an outline is drawn: filled, filled with an edge, or as an edge.
Paint: TypeAlias = Literal["f", "B", "S"]


def to_pdf(svg: bytes, title: str = "") -> bytes:
    """A PDF of one page, as large as the picture.

    Parameters
    ----------
    svg : bytes
        The output of :func:`microtensor.viz.svg.finish` in one theme.
    title : str
        For the document's properties.

    Warns
    -----
    UserWarning
        Letters are missing in the font.

    Examples
    --------
    >>> from microtensor.viz.pdf import to_pdf
    >>> to_pdf(b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')[:8]
    b'%PDF-1.5'
    """
    root = ElementTree.fromstring(svg)
    left, top, width, height = (float(n) for n in root.get("viewBox", "0 0 1 1").split())
    drawing = _Drawing(-left, height + top)
    drawing.element(root)
    if drawing.missing:
        letters = safe_text(" ".join(drawing.missing), LINE)
        warnings.warn(
            f"the font of a PDF lacks {letters}; ¿ stands there; SVG and pages have more letters", stacklevel=2
        )
    return _file(drawing, width, height, title)


class _Drawing:
    """The operators of one page. In a PDF y points up, so every y of the SVG changes its sign.

    Attributes
    ----------
    out : list of str
    letters : dict
        The number of each outline that is drawn.
    missing : dict
        The letters that the font lacks.
    """

    def __init__(self, dx: float, dy: float) -> None:
        self.out: list[str] = []
        self.letters: dict[tuple[int, Paint], int] = {}
        self.missing: dict[str, None] = {}
        self.origin = (dx, dy)

    def element(self, root: ElementTree.Element) -> None:
        # A layout engine only translates, and only the group around everything.
        for element in root.iter():
            move = re.search(r"translate\((-?[\d.]+)[ ,]+(-?[\d.]+)\)", element.get("transform", ""))
            if move:
                self.origin = (self.origin[0] + float(move[1]), self.origin[1] - float(move[2]))
            if element.tag in (tag("path"), tag("polygon"), tag("polyline"), tag("ellipse")):
                self._shape(element)
            elif element.tag == tag("text"):
                self._words(element)

    def _at(self, x: float, y: float) -> str:
        return f"{x + self.origin[0]:.2f} {self.origin[1] - y:.2f}"

    def _shape(self, element: ElementTree.Element) -> None:
        fill, stroke = element.get("fill", "none"), element.get("stroke", "none")
        filled, stroked = fill not in ("none", "transparent"), stroke not in ("none", "transparent")
        if not filled and not stroked:
            return
        self.out.append("q")
        if filled:
            self.out.append(f"{_rgb(fill)} rg")
        if stroked:
            self.out += [f"{_rgb(stroke)} RG", f"{float(element.get('stroke-width', '1')):.2f} w"]
            dashes = element.get("stroke-dasharray")
            if dashes:
                self.out.append(f"[{dashes.replace(',', ' ')}] 0 d")
        self.out += self._path(element)
        self.out += ["B" if filled and stroked else "f" if filled else "S", "Q"]

    def _path(self, element: ElementTree.Element) -> Iterator[str]:
        if element.tag == tag("path"):
            for command, numbers in re.findall(r"([MCLZz])([^MCLZz]*)", element.get("d", "")):
                if command in "Zz":
                    yield "h"
                    continue
                at = [self._at(x, y) for x, y in points(numbers)]
                if command == "C":
                    yield from (f"{' '.join(at[i : i + 3])} c" for i in range(0, len(at), 3))
                else:
                    yield f"{at[0]} {'m' if command == 'M' else 'l'}"
                    yield from (f"{point} l" for point in at[1:])
        elif element.tag == tag("ellipse"):
            yield from self._ellipse(*(float(element.get(key, "0")) for key in ("cx", "cy", "rx", "ry")))
        else:
            first, *rest = (self._at(x, y) for x, y in points(element.get("points", "")))
            yield f"{first} m"
            yield from (f"{point} l" for point in rest)
            if element.tag == tag("polygon"):
                yield "h"

    def _ellipse(self, x: float, y: float, a: float, b: float) -> Iterator[str]:
        k = 0.5523
        yield f"{self._at(x + a, y)} m"
        for p, q, r, s in ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)):
            yield (
                f"{self._at(x + a * (p + k * r), y + b * (q + k * s))} "
                f"{self._at(x + a * (r + k * p), y + b * (s + k * q))} {self._at(x + a * r, y + b * s)} c"
            )

    def _words(self, element: ElementTree.Element) -> None:
        runs = [_run(part, element) for part in (element, *element) if part.text]
        shift = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", "start"), 0.0)
        x = float(element.get("x", "0")) - shift * sum(run.words.width for run in runs)
        y = float(element.get("y", "0"))
        halo = element.get("stroke")
        said = "".join(run.text for run in runs).encode("utf-16-be").hex()
        self.out.append(f"/Span <</ActualText <feff{said}>>> BDC")
        for paint, colour in (("S", halo), ("f", None)) if halo else (("f", None),):
            at = x
            for run in runs:
                self._letters(
                    run,
                    at,
                    y,
                    "S" if paint == "S" else "B" if run.bold else "f",
                    colour or run.colour,
                    float(element.get("stroke-width", "1")) if halo and paint == "S" else EDGE * run.size,
                )
                at += run.words.width
        self.out.append("EMC")

    def _letters(self, run: _Run, x: float, y: float, paint: Paint, colour: str, edge: float) -> None:
        across, up = ACROSS * run.size / units(), UP * run.size / units()
        # The width of an edge is in units of the font.
        self.out.append(f"q {_rgb(colour)} rg {_rgb(colour)} RG {edge / across:.1f} w 1 j")
        for letter in run.words.letters:
            number = self.letters.setdefault((letter.glyph, paint), len(self.letters))
            place = self._at(x + letter.x, y - letter.rise)
            self.out.append(f"q {across:.6f} 0 0 {up:.6f} {place} cm /G{number} Do Q")
        self.out.append("Q")
        self.missing.update(dict.fromkeys(run.words.missing))


@dataclass
class _Run:
    """Words of one look."""

    text: str
    words: Words
    size: float
    bold: bool
    colour: str


def _run(part: ElementTree.Element, around: ElementTree.Element) -> _Run:
    text = (part.text or "").replace("\xa0", " ")
    size = float(part.get("font-size", around.get("font-size", "12")))
    bold = part.get("font-weight") == "bold"
    return _Run(text, words(text, size, bold), size, bold, part.get("fill", "#000000"))


def _rgb(colour: str) -> str:
    names = {"black": "#000000", "white": "#ffffff"}
    value = names.get(colour, colour)
    return " ".join(f"{int(value[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))


def _file(drawing: _Drawing, width: float, height: float, title: str) -> bytes:
    """Header, objects, their positions, trailer. There is no date and no id: the same picture has the same bytes."""
    first = 6
    names = " ".join(f"/G{number} {first + number} 0 R" for number in drawing.letters.values())
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /Contents 4 0 R "
        f"/Resources << /XObject << {names} >> >> >>".encode(),
        _stream("", "\n".join(drawing.out)),
        b"<< /Title <%b> /Producer (microtensor) >>"
        % f"\ufeff{safe_text(title, LINE)}".encode("utf-16-be").hex().encode(),
        *(_letter(glyph, paint) for glyph, paint in drawing.letters),
    ]
    out = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"
    starts = []
    for number, content in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>".encode()
    return out + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n%b\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table, trailer, len(out),
    )  # fmt: skip


def _letter(glyph: int, paint: Paint) -> bytes:
    """A letter as a drawing of its own, in the colour of the place where it is used."""
    side = 2 * units()
    box = f"/Type /XObject /Subtype /Form /BBox [{-side} {-side} {2 * side} {2 * side}] "
    return _stream(box, "\n".join([*outline(glyph), paint]))


def _stream(entries: str, content: str) -> bytes:
    packed = zlib.compress(content.encode("latin-1"), 9)
    return b"<< %b/Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (
        entries.encode(), len(packed), packed,
    )  # fmt: skip
