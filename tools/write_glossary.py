"""Write docs/glossary.md from the glossary that reports use.

uv run python tools/write_glossary.py
"""

from pathlib import Path

from rlottery.report.glossary import Term, glossary

PAGE = Path(__file__).parent.parent / "docs" / "glossary.md"

INTRODUCTION = """# Glossary

These are the terms that the documentation and the reports use. If you are new to the topic, start with
[ticket](#ticket), [mask](#mask), [sparsity](#sparsity), [arm](#arm), [control](#control) and
[normalised score](#normalised-score).

This page is generated from `rlottery/report/glossary.yaml`. To change it, edit that file and run
`uv run python tools/write_glossary.py`.
"""


def page() -> str:
    """The whole page: one heading for each term."""
    return "\n".join([INTRODUCTION, *map(entry, glossary())])


def entry(term: Term) -> str:
    """A term with its other forms and its definition."""
    also = f"Also: {', '.join(term.also)}.\n\n" if term.also else ""
    return f"## {term.term}\n\n{also}{term.definition}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
