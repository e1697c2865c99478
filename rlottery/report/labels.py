"""Names in figures: text that Matplotlib's own font can draw, of limited length, and how much room it takes."""

import re
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags

from rlottery.safety.printable import printable

FONT = "DejaVu Sans"
"""The font of all figures. Matplotlib includes it, so that figures are the same on every machine."""
_FACES: tuple[dict[str, str], ...] = ({}, {"weight": "bold"}, {"style": "italic"})
_MOST_LETTERS = 120
_SPARE = 1.02
"""Text in a PNG is up to two per cent wider than its outlines: letters begin at whole pixels."""
_PART = re.compile(r"[^\s\-_/.]*[\s\-_/.]?")


def drawable(text: str) -> str:
    """Text on one line in which each character that the font lacks is replaced by its escape, such as ``\\u6f22``."""
    if text.isascii() and text.isprintable():
        return text
    line = printable(text).replace("\n", " ")
    return "".join(letter if ord(letter) in _known() else _escape(letter) for letter in line)


def drawn_name(name: str) -> str:
    """A `drawable` name. A very long one is shortened in the middle: a figure is at least as wide as its names."""
    shown, half = drawable(name), _MOST_LETTERS // 2
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: half - 2]}...{shown[1 - half :]}"


def text_inches(text: str, size: float, weight: str = "normal") -> float:
    """The width in inches of a text of this size in points."""
    return sum(_advance(letter, weight) for letter in text) * size / 72 * _SPARE


@cache
def _advance(letter: str, weight: str) -> float:
    """The width of a letter of 1 point, in points."""
    font = get_font(findfont(FontProperties(family=FONT, weight=weight)))
    font.set_size(1.0, 72)
    return float(font.load_char(ord(letter), flags=LoadFlags.NO_HINTING).linearHoriAdvance) / 65536


def broken(text: str, inches: float, size: float, weight: str = "normal") -> list[str]:
    """The text in lines of at most this width: broken after blanks, dashes and the like, else between any letters."""
    if text_inches(text, size, weight) <= inches:
        return [text]
    lines = [""]
    for part in _PART.findall(text):
        if lines[-1] and text_inches(lines[-1] + part.rstrip(), size, weight) > inches:
            lines.append("")
        for letter in part:
            if lines[-1] and text_inches(lines[-1] + letter, size, weight) > inches and not letter.isspace():
                lines.append("")
            lines[-1] += letter
    return [line.rstrip() for line in lines]


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@cache
def _known() -> frozenset[int]:
    """The code points that the font has in every face."""
    faces = (get_font(findfont(FontProperties(family=FONT, **face))) for face in _FACES)  # type: ignore[arg-type]
    return frozenset.intersection(*(frozenset(face.get_charmap()) for face in faces))
