"""Figures inside a page: one SVG per panel for light and dark, with the colours of the page and distinct ids.

The outlines of letters are in the page once, for all figures. The script of the page puts the panels of a figure
together again when it is saved.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from rlottery.report.arm_styles import DENSE_COLOUR, MAGNITUDE, OTHER_COLOURS, RANDOM, TAYLOR
from rlottery.report.drawn import DARK, LIGHT, Cell, Drawn
from rlottery.report.panels import readable

_ON_DARK = {
    DENSE_COLOUR: "#BDBDBD",
    MAGNITUDE: "#4BA3E3",
    TAYLOR: "#FF8B4D",
    RANDOM: "#2EC79A",
    **dict(zip(OTHER_COLOURS, ("#E59CC8", "#F2B640", "#86CBF2", "#C9A667", "#A899D8"), strict=True)),
}
"""Colour of a family -> its colour on a dark page."""

_THEMED = {
    LIGHT.ink: DARK.ink,
    LIGHT.quiet: DARK.quiet,
    LIGHT.grid: DARK.grid,
    LIGHT.background: DARK.background,
    **_ON_DARK,
    **{readable(colour): dark for colour, dark in _ON_DARK.items()},
}

_KNOWN = {light.lower() for light in _THEMED}

_GROUP = re.compile(r'^  <g id="([^"]+)">.*?^  </g>$', re.S | re.M)
"""A part of a figure: Matplotlib writes an element per line, each indented by its depth."""
_CLIP = re.compile(r'<clipPath id="([^"]+)">.*?</clipPath>', re.S)
_LETTER = re.compile(r'<path id="(DejaVuSans[^"]*)"(.*?)/>', re.S)
_NOTHING = re.compile(r"<!--.*?-->|<defs>\s*</defs>", re.S)
_VIEW_BOX = re.compile(r'viewBox="([^"]+)"')
_REFERENCE = re.compile(r'(?:url\(#|(?:xlink:)?href="#)([^")]+)')
_ID = re.compile(r'\s?\bid="([^"]+)"')
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_PLACES = re.compile(r'\b(?:d|x|y|points)="[^"]*"|translate\([^)]*\)')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_SPACE = re.compile(r">\s+<")
_SHARED = "letter-"


@dataclass(frozen=True)
class Inline:
    """A figure as parts of a page.

    Attributes:
        panels: an `<svg>` for each panel.
        rest: an `<svg>` of what lies outside of them, such as the legend, which a page shows as text.
        letters: id -> the outline of a letter that they use.
    """

    panels: tuple[str, ...]
    rest: str
    letters: dict[str, str]


def inline(drawn: Drawn, name: str) -> Inline:
    """Prepare a figure for use inside a page.

    Args:
        drawn: with the light theme.
        name: prefix of every id, made of letters, digits, dots, dashes and underscores; unique on the page.
    """
    body, letters = _themed(drawn.svg), {}

    def taken(found: re.Match[str]) -> str:
        letters[_SHARED + found.group(1)] = f'<path id="{_SHARED}{found.group(1)}" {_in_one_line(found.group(2))}/>'
        return ""

    body = _LETTER.sub(taken, body).replace("xlink:href=", "href=")
    clips = {found.group(1): found.group(0) for found in _CLIP.finditer(body)}
    groups = [(found.group(1), found.group(0)) for found in _GROUP.finditer(body)]
    referred = set(_REFERENCE.findall(body))
    box = _VIEW_BOX.search(body)
    whole = tuple(map(float, box.group(1).split())) if box else (0.0, 0.0, 400.0, 300.0)

    def svg(part: str, place: tuple[float, ...], attributes: str) -> str:
        used = "".join(clips[clip] for clip in dict.fromkeys(_REFERENCE.findall(part)) if clip in clips)
        part = _NOTHING.sub("", f"<defs>{used}</defs>{part}")
        part = _ID.sub(lambda found: f' id="{name}-{found.group(1)}"' if found.group(1) in referred else "", part)
        part = _REFERENCE.sub(lambda found: found.group(0)[: -len(found.group(1))] + _id(name, found.group(1)), part)
        part = _PLACES.sub(lambda found: _short(found.group(0)), part)
        view = " ".join(f"{edge:.2f}".rstrip("0").rstrip(".") for edge in place)
        return _SPACE.sub("><", f'<svg viewBox="{view}" {attributes}>{part}</svg>')

    panels = []
    for index, cell in enumerate(drawn.cells):
        of_panel = [text for gid, text in groups if gid == f"panel-{index}" or gid.startswith(f"panel-{index}-")]
        panels.append(svg("".join(of_panel), (cell.left, cell.top, cell.width, cell.height), _panel(index, cell)))
    rest = "".join(text for gid, text in groups if not gid.startswith("panel-"))
    return Inline(tuple(panels), svg(rest, whole, 'class="rest" aria-hidden="true"'), letters)


def letters_of(figures: Iterable[Inline]) -> str:
    """The outlines of all letters of these figures, once each, as an `<svg>` that takes no room."""
    letters: dict[str, str] = {}
    for figure in figures:
        letters |= figure.letters
    outlines = "".join(letters[name] for name in sorted(letters))
    return f'<svg class="letters" width="0" height="0" aria-hidden="true"><defs>{outlines}</defs></svg>'


def css_colour(colour: str) -> str:
    """A colour of the light theme, as CSS that follows the theme of the page."""
    return f"var({_name(colour)})" if colour.lower() in _KNOWN else colour


def _themed(svg: str) -> str:
    return _COLOUR.sub(lambda found: css_colour(found.group(0)), svg)


def _panel(index: int, cell: Cell) -> str:
    shown = escape(cell.title, {'"': "&quot;"})
    return f'data-panel="{index}" tabindex="0" role="img" aria-label="{shown}"'


def _id(name: str, reference: str) -> str:
    return f"{_SHARED if reference.startswith('DejaVuSans') else f'{name}-'}{reference}"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def colours(*, dark: bool) -> str:
    """The colours of inline figures, as CSS custom properties."""
    return " ".join(f"{_name(light)}: {on_dark if dark else light};" for light, on_dark in _THEMED.items())


def _name(colour: str) -> str:
    return f"--figure-{colour[1:].lower()}"


def _short(place: str) -> str:
    """Round coordinates to hundredths of a point, and remove line breaks from paths."""
    return _LONG.sub(lambda found: f"{float(found.group(0)):.2f}".rstrip("0").rstrip("."), place).replace(" \n", " ")
