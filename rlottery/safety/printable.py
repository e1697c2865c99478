"""Text that is safe to show. Names, errors and text from files may contain anything, also commands for a terminal."""

import re
import unicodedata

_RARE = re.compile(r"[^\n\x20-\x7e]+")
_INVISIBLE = frozenset(
    chr(code)
    for ends in ((0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
                 (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF))
    for code in range(ends[0], ends[1] + 1)
)  # fmt: skip
"""Letters and marks that Unicode shows as nothing. Format characters are escaped for what they are."""
_MOST_MARKS = 4
"""How many combining marks one letter may have. More of them cover the lines above."""


def printable(text: str) -> str:
    """Text in which each character that could change how other text is shown is replaced by its escape.

    These are control characters and escape sequences, bidirectional controls, invisible, unassigned and private
    characters, and surrogates, which stand for bytes of file names. ``\\n`` stays, tabs and other spaces become spaces.
    Such text can be printed in any terminal, and encoded as UTF-8 in HTML, XML and CSV.
    """
    if text.isascii() and text.isprintable():
        return text
    return _RARE.sub(lambda found: _escaped(found.group()), text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """`printable` text without line breaks, each run of spaces as one."""
    return printable(" ".join(text.split()))


def _escaped(rare: str) -> str:
    shown, marks = [], 0
    for letter in rare:
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if letter == "\t":
            shown.append("    ")
        elif kind == "Zs":
            shown.append(" ")
        elif letter.isprintable() and letter not in _INVISIBLE and marks <= _MOST_MARKS:
            shown.append(letter)
        elif "\udc80" <= letter <= "\udcff":
            shown.append(f"\\x{ord(letter) - 0xDC00:x}")
        else:
            shown.append(letter.encode("ascii", "backslashreplace").decode() if letter > "\x7f" else repr(letter)[1:-1])
    return "".join(shown)
