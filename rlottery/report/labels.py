"""Names in figures: text that Matplotlib's own font can draw, of limited length."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from rlottery.safety.printable import printable

FONT = "DejaVu Sans"
"""The font of all figures. Matplotlib includes it, so that figures are the same on every machine."""
_FACES: tuple[dict[str, str], ...] = ({}, {"weight": "bold"}, {"style": "italic"})
_MOST_LETTERS = 120


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


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@cache
def _known() -> frozenset[int]:
    """The code points that the font has in every face."""
    faces = (get_font(findfont(FontProperties(family=FONT, **face))) for face in _FACES)  # type: ignore[arg-type]
    return frozenset.intersection(*(frozenset(face.get_charmap()) for face in faces))
