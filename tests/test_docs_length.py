"""A page of the docs can be read at one sitting: it has at most 1,200 words."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
MOST = 1_200

LOOKED_UP = {"decisions.md", "glossary.md"}
"""Pages in which readers look up one entry."""


def words(text: str) -> int:
    """Words without blocks of code."""
    return len(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S).split())


def test_no_page_is_too_long() -> None:
    pages = {page.relative_to(DOCS).as_posix(): words(page.read_text()) for page in DOCS.rglob("*.md")}
    assert {page: count for page, count in pages.items() if count > MOST and page not in LOOKED_UP} == {}, "split these"


def test_words_of_code_are_not_counted() -> None:
    assert words("One two.\n\n```bash\nthree four\n```\n\nfive\n") == 3
