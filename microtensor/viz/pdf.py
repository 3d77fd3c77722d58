"""A finished picture as PDF: the shapes and words of its SVG, drawn with the fonts that every reader has.

The PDF of a layout engine differs from machine to machine; this one does not. Paths stay paths, and text stays text.
Helvetica has Western European letters. Symbol has Greek letters and the signs of mathematics. Other letters are shown
as ¿. A hat or tilde is drawn above its letter.
"""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from microtensor.text import LINE, safe_text
from microtensor.viz.svg import points, tag

# Widths in thousandths of the size, of the characters 32 to 126 of Helvetica and Helvetica-Bold (Adobe's font metrics).
REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
BOLD = (
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 333 333 "
    "584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 "
    "333 611 556 778 556 556 500 389 280 389 584"
)
WIDTHS = tuple(tuple(map(int, widths.split())) for widths in (REGULAR, BOLD))
# Code and width in Symbol.
SYMBOL = {
    "α": (97, 631), "β": (98, 549), "γ": (103, 411), "δ": (100, 494), "ε": (101, 439), "ζ": (122, 494),
    "η": (104, 603), "θ": (113, 521), "κ": (107, 549), "λ": (108, 549), "μ": (109, 576), "ν": (110, 521),
    "ξ": (120, 493), "π": (112, 549), "ρ": (114, 549), "σ": (115, 603), "τ": (116, 439), "φ": (102, 521),
    "χ": (99, 549), "ψ": (121, 686), "ω": (119, 686), "Γ": (71, 603), "Δ": (68, 612), "Θ": (81, 741),
    "Λ": (76, 686), "Π": (80, 768), "Σ": (83, 592), "Φ": (70, 763), "Ψ": (89, 795), "Ω": (87, 768),
    "√": (214, 549), "−": (45, 549), "∞": (165, 713), "∂": (182, 494), "∇": (209, 713), "∑": (229, 713),
    "≠": (185, 549), "≤": (163, 549), "≥": (179, 549), "≈": (187, 549), "↑": (173, 603), "↓": (175, 603),
    "→": (174, 987), "←": (172, 987), "⊙": (196, 768), "⊗": (196, 768), "·": (215, 250),
}  # fmt: skip
# Drawn with other characters: (characters, size, rise), both relative to the font size.
DRAWN = {"ᵀ": ("T", 0.62, 0.36), "‖": ("||", 1.0, 0.0)}
ACCENTS = {"\u0302": "ˆ", "\u0303": "˜", "\u0304": "¯", "\u0307": "˙", "\u0308": "¨", "\u0301": "´", "\u0300": "`"}
FONTS = ("Helvetica", "Helvetica-Bold", "Symbol")
# Characters of code page 1252 that have no letter as their base, or another width than their base.
OTHERS = {"…": 1000, "—": 1000, "–": 556, "×": 584, "÷": 584, "±": 584, "¬": 584, "²": 333, "³": 333, "¹": 333,
          "·": 278, "ˆ": 333, "˜": 333, "¯": 333, "¨": 333, "´": 333, "°": 400, "™": 1000, "¿": 611}  # fmt: skip
OTHER_WIDTH = 556
# Code page 1252 has no dot above, so the nearest sign is drawn.
NEAR = {"˙": "·"}


def to_pdf(svg: bytes, title: str = "") -> bytes:
    """A PDF of one page, as large as the picture.

    Parameters
    ----------
    svg : bytes
        The output of :func:`microtensor.viz.svg.finish` in one theme.
    title : str
        For the document's properties.

    Examples
    --------
    >>> from microtensor.viz.pdf import to_pdf
    >>> to_pdf(b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')[:8]
    b'%PDF-1.4'
    """
    root = ElementTree.fromstring(svg)
    left, top, width, height = (float(n) for n in root.get("viewBox", "0 0 1 1").split())
    drawing = _Drawing(-left, height + top)
    drawing.element(root)
    return _file(drawing.text(), width, height, title)


class _Drawing:
    """The operators of one page. In a PDF y points up, so every y of the SVG changes its sign."""

    def __init__(self, dx: float, dy: float) -> None:
        self.out: list[str] = []
        self.origin = (dx, dy)

    def text(self) -> bytes:
        return "\n".join(self.out).encode("latin-1")

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
        runs = [
            run
            for part in (element, *element)
            for run in _runs(
                (part.text or "").replace("\xa0", " "),
                float(part.get("font-size", element.get("font-size", "12"))),
                part.get("font-weight") == "bold",
                part.get("fill", "#000000"),
            )
        ]
        shift = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", "start"), 0.0)
        x = float(element.get("x", "0")) - shift * sum(run.width for run in runs)
        y = float(element.get("y", "0"))
        halo = element.get("stroke")
        if halo:
            self.out += [
                "q",
                f"{_rgb(halo)} RG {element.get('stroke-width', '1')} w 1 j",
                *self._show(runs, x, y, 1),
                "Q",
            ]
        self.out += self._show(runs, x, y, 0)

    def _show(self, runs: list[_Run], x: float, y: float, mode: int) -> Iterator[str]:
        yield f"BT {mode} Tr"
        for run in runs:
            at = self._at(x + run.shift, y - run.rise)
            if run.bold and run.font == 2:
                # Symbol has no bold, so its strokes are thickened.
                yield f"2 Tr {_rgb(run.colour)} RG {0.03 * run.size:.2f} w"
            yield f"/F{run.font} {run.size:.2f} Tf {_rgb(run.colour)} rg 1 0 0 1 {at} Tm ({run.escaped()}) Tj {mode} Tr"
            x += run.width
        yield "ET"


@dataclass
class _Run:
    """Characters that are shown together, in one font."""

    font: int
    bold: bool
    size: float
    colour: str
    codes: bytes
    width: float
    rise: float = 0.0
    shift: float = 0.0

    def escaped(self) -> str:
        return re.sub(r"([\\()])", r"\\\1", self.codes.decode("latin-1"))


def _runs(text: str, size: float, bold: bool, colour: str) -> list[_Run]:
    runs: list[_Run] = []
    for character in unicodedata.normalize("NFC", text):
        if character in ACCENTS and runs:
            # Above the letter before, without a width of its own.
            mark = ACCENTS[character]
            codes, shift = NEAR.get(mark, mark).encode("cp1252"), -(runs[-1].width + 0.333 * size) / 2
            runs.append(_Run(int(bold), bold, size, colour, codes, 0.0, shift=shift))
        elif character in SYMBOL:
            code, width = SYMBOL[character]
            runs.append(_Run(2, bold, size, colour, bytes((code,)), width * size / 1000))
        else:
            words, scale, rise = DRAWN.get(character, (character, 1.0, 0.0))
            codes = words.encode("cp1252", "ignore") or "¿".encode("cp1252")
            width = sum(_width(code, bold) for code in codes)
            runs.append(_Run(int(bold), bold, size * scale, colour, codes, width * size * scale / 1000, rise * size))
    return runs


def _width(code: int, bold: bool) -> int:
    if 32 <= code < 127:
        return WIDTHS[bold][code - 32]
    character = bytes((code,)).decode("cp1252", "replace")
    base = ord(unicodedata.normalize("NFD", character)[0])
    return OTHERS.get(character) or (WIDTHS[bold][base - 32] if 32 <= base < 127 else OTHER_WIDTH)


def _rgb(colour: str) -> str:
    names = {"black": "#000000", "white": "#ffffff"}
    value = names.get(colour, colour)
    return " ".join(f"{int(value[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))


def _file(content: bytes, width: float, height: float, title: str) -> bytes:
    """Header, objects, their positions, trailer. There is no date and no id: the same picture has the same bytes."""
    packed = zlib.compress(content, 9)
    fonts = " ".join(f"/F{i} {5 + i} 0 R" for i in range(len(FONTS)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /Contents 4 0 R "
        f"/Resources << /Font << {fonts} >> >> >>".encode(),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(packed), packed),
        *(
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{name}"
            f"{'' if name == 'Symbol' else ' /Encoding /WinAnsiEncoding'} >>".encode()
            for name in FONTS
        ),
        b"<< /Title <%b> /Producer (microtensor) >>"
        % f"\ufeff{safe_text(title, LINE)}".encode("utf-16-be").hex().encode(),
    ]
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    starts = []
    for number, content in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>".encode()
    return out + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n%b\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table, trailer, len(out),
    )  # fmt: skip
