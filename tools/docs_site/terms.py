"""Links from the first use of each term on a page to the glossary, with its definition as a tooltip."""

import re

from rlottery.report.glossary import first_uses

UNTOUCHED = re.compile(
    r"^(?P<fence>```+|~~~+)[^\n]*\n.*?^(?P=fence)[ ]*$"  # code
    r"|^:::.*?(?=^\S|\Z)"  # what mkdocstrings fills in
    r"|^#[^\n]*$"  # headings
    r"|^(?:[ ]{4}|\t)[^\n]*$"  # indented code, or the rest of a list's entry
    r"|`+[^`]+`+"
    r"|!?\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\](?:\([^)]*\))?(?:\{[^}\n]*\})?"  # links and images
    r"|<[^>\n]+>"
    r"|https?://\S+",
    re.M | re.S,
)
"""Parts of a Markdown text in which no term is linked."""


def with_terms(text: str, glossary: str) -> str:
    """A Markdown text with a link at the first use of each term.

    Args:
        text: the page.
        glossary: the path of the glossary from the page.
    """
    seen: set[str] = set()
    parts, end = [], 0
    for kept in UNTOUCHED.finditer(text):
        parts += [_linked(text[end : kept.start()], glossary, seen), kept.group()]
        end = kept.end()
    return "".join([*parts, _linked(text[end:], glossary, seen)])


def _linked(text: str, glossary: str, seen: set[str]) -> str:
    parts, end = [], 0
    for start, stop, entry in first_uses(text, seen):
        fragment = re.sub(r"[^\w\- ]", "", entry.term.lower()).replace(" ", "-")
        title = " ".join(entry.definition.split()).replace('"', "'").replace("|", "&#124;")
        link = f'[{text[start:stop]}]({glossary}#{fragment}){{ .term title="{title}" }}'
        parts += [text[end:start], link]
        end = stop
    return "".join([*parts, text[end:]])
