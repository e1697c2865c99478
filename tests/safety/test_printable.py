"""Text that is safe to show, whatever it contains."""

import sys
import unicodedata

import pytest

from rlottery.errors import StudyError
from rlottery.safety.printable import on_one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 80 %", "plain text, 80 %"),
        ("Größe 漢字 ±1 — “x” é 🙂", "Größe 漢字 ±1 — “x” é 🙂"),
        ("\x1b[31mred\x1b]0;title\x07\x9b2J", r"\x1b[31mred\x1b]0;title\x07\x9b2J"),
        ("a\rb\x08\x7f\x00\x85\x0b\x0c", r"a\rb\x08\x7f\x00\x85\x0b\x0c"),
        ("\u202eabc\u2066\u2069\u200f\u061c", r"\u202eabc\u2066\u2069\u200f\u061c"),
        ("a\u200b\u200d\ufeff\u00ad\u2060b", r"a\u200b\u200d\ufeff\xad\u2060b"),
        ("a\u3164\u115f\ufe0f\u034f\U000e0041b", r"a\u3164\u115f\ufe0f\u034f\U000e0041b"),
        ("\ud800 caf\udce9", r"\ud800 caf\xe9"),
        ("\U0010ffff\ue000\u0378", r"\U0010ffff\ue000\u0378"),
        ("a\u0301\u0301\u0301\u0301\u0301\u0301", "a\u0301\u0301\u0301\u0301" + r"\u0301\u0301"),
        ("one\r\ntwo\nthree\tfour\u00a0five\u3000six", "one\ntwo\nthree    four five six"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_are_joined() -> None:
    assert on_one_line("one\n  two\t\x85three\u2028four \x1b") == r"one two three four \x1b"


def test_every_character_can_be_printed_and_encoded() -> None:
    codes = [*range(0x3100), *range(0xD700, 0x10000), *range(0x10000, sys.maxunicode + 1, 61)]
    shown = printable("".join(map(chr, codes)))
    assert shown.encode() and all(letter == "\n" or letter.isprintable() for letter in set(shown))
    assert not {unicodedata.category(letter) for letter in set(shown) - {"\n"}} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"}


def test_errors_are_safe_to_print() -> None:
    assert str(StudyError("data/\x1b[2J\ud800 is missing\nRun it.")) == "data/\\x1b[2J\\ud800 is missing\nRun it."
