"""Write the tables of docs/arms.md from what `rlottery arms` shows.

uv run python tools/write_arms_tables.py
"""

import re
from pathlib import Path

from rlottery.study.catalogue import Section, sections

PAGE = Path(__file__).parent.parent / "docs" / "arms.md"


def with_tables(text: str) -> str:
    """The page, with the table below each comment ``<!-- table: KEY -->`` replaced."""
    for section in sections():
        comment = f"<!-- table: {section.key or 'other'} -->"
        if text.count(comment) != 1:
            raise SystemExit(f"{PAGE.name} needs one line {comment}")
        replacement = f"{comment}\n\n{table(section)}"
        text = re.sub(rf"{re.escape(comment)}\n\n(\|.*\n)*", lambda _, new=replacement: new, text)
    return text


def table(section: Section) -> str:
    """The section's methods as a Markdown table."""
    rows = [("name", "what it does", "paper", "cost", "when to use it"), ("---",) * 5]
    rows += [(f"`{name}`", m.summary, m.paper, m.cost, m.use) for name, m in section.methods.items()]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
