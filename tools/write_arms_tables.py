"""Write the tables of docs/arms.md, and of pages that it links to, from what `rlottery arms` shows and criteria read.

uv run python tools/write_arms_tables.py
"""

import re
from collections.abc import Iterable
from pathlib import Path

from rlottery.pruning.criteria import INITIAL, STATISTICS
from rlottery.study.catalogue import sections

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("arms", "criteria", "allocation", "schedules", "controls")]

Rows = list[tuple[str, ...]]


def tables() -> dict[str, Rows]:
    """The rows of each table by its key, starting with the titles."""
    titles = ("name", "what it does", "paper", "cost", "when to use it")
    found: dict[str, Rows] = {
        section.key or "other": [
            titles,
            *((f"`{name}`", m.summary, m.paper, m.cost, m.use) for name, m in section.methods.items()),
        ]
        for section in sections()
    }
    read = {name: what for name, what in STATISTICS.items() if not name.startswith(INITIAL)}
    found["statistics"] = [("parameter", "what it is"), *((f"`{name}`", what) for name, what in read.items())]
    return found


def with_tables(texts: list[str]) -> list[str]:
    """The pages, with the table below each comment ``<!-- table: KEY -->`` replaced."""
    for key, rows in tables().items():
        comment = f"<!-- table: {key} -->"
        if "".join(texts).count(comment) != 1:
            raise SystemExit(f"One of {', '.join(page.name for page in PAGES)} needs one line {comment}")
        texts = [_with_table(text, comment, rows) if comment in text else text for text in texts]
    return texts


def _with_table(text: str, comment: str, rows: Rows) -> str:
    before, after = text.split(f"{comment}\n\n")
    rest = re.sub(r"^(\|.*\n)*\n*", "", after)
    return f"{before}{comment}\n\n{markdown(rows)}" + (f"\n{rest}" if rest else "")


def markdown(rows: Rows) -> str:
    """A Markdown table whose first row has the titles."""
    titles, *others = rows
    return "".join(map(_line, [titles, ("---",) * len(titles), *others]))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    for page, text in zip(PAGES, with_tables([page.read_text() for page in PAGES]), strict=True):
        page.write_text(text)
