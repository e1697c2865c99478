"""Figures inside a page: one SVG for light and dark, with the colours of the page and distinct ids."""

import re
from xml.sax.saxutils import escape

from rlottery.report.arm_styles import DENSE_COLOUR, MAGNITUDE, OTHER_COLOURS, RANDOM, TAYLOR
from rlottery.report.drawn import DARK, LIGHT
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

_LEFT_OUT = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.S)
_HEAD = re.compile(r"<svg\b[^>]*>", re.S)
_VIEW_BOX = re.compile(r'viewBox="([^"]+)"')
_REFERENCE = re.compile(r'(?:url\(#|(?:xlink:)?href="#)([^")]+)')
_ID = re.compile(r'\s?\bid="([^"]+)"')
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_PLACES = re.compile(r'\b(?:d|x|y|points)="[^"]*"|translate\([^)]*\)')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_SPACE = re.compile(r">\s+<")


def inline(svg: str, name: str, label: str) -> str:
    """Prepare an SVG document for use inside a page.

    Args:
        svg: drawn with the light theme.
        name: prefix of every id, made of letters, digits, dots, dashes and underscores; unique on the page.
        label: what it shows, for screen readers.
    """
    body = _LEFT_OUT.sub("", svg[svg.index("<svg") :])
    box = _VIEW_BOX.search(body)
    width = float(box.group(1).split()[2]) if box else 400.0
    view = f' viewBox="{box.group(1)}"' if box else ""
    shown = escape(label, {'"': "&quot;"})
    # A point is 4/3 of a page's pixel.
    head = f'<svg{view} role="img" aria-label="{shown}" style="--natural: {width * 4 / 3:.0f}px">'
    body = _HEAD.sub(lambda _: head, body, count=1)
    body = body.replace("xlink:href=", "href=")
    referred = set(_REFERENCE.findall(body))
    body = _ID.sub(lambda found: f' id="{name}-{found.group(1)}"' if found.group(1) in referred else "", body)
    body = _REFERENCE.sub(lambda found: found.group(0)[: -len(found.group(1))] + f"{name}-{found.group(1)}", body)
    known = {light.lower(): f"var({_name(light)})" for light in _THEMED}
    body = _COLOUR.sub(lambda found: known.get(found.group(0).lower(), found.group(0)), body)
    body = _PLACES.sub(lambda found: _short(found.group(0)), body)
    return _SPACE.sub("><", body)


def colours(*, dark: bool) -> str:
    """The colours of inline figures, as CSS custom properties."""
    return " ".join(f"{_name(light)}: {on_dark if dark else light};" for light, on_dark in _THEMED.items())


def _name(colour: str) -> str:
    return f"--figure-{colour[1:].lower()}"


def _short(place: str) -> str:
    """Round coordinates to hundredths of a point, and remove line breaks from paths."""
    return _LONG.sub(lambda found: f"{float(found.group(0)):.2f}".rstrip("0").rstrip("."), place).replace(" \n", " ")
