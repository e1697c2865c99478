"""Write docs/tutorials/first-ticket.ipynb, the tutorial of the same name as a notebook that needs no other file.

uv run python tools/write_notebook.py
"""

import json
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "tutorials" / "first-ticket.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")

_CODE = re.compile(r"^```(bash|python|yaml)\n(.*?)^```\n", re.M | re.S)
_LEFT_OUT = re.compile(r"^(<!-- .* -->|!\[.*\]\(.*\))\n", re.M)
_RELATIVE_LINK = re.compile(r"\[([^]]+)\]\((?!https?:)[^)]+\)")


def notebook(page: str) -> str:
    """The notebook of a page: its prose without links into the repository, and its code, in order, without outputs."""
    cells, end = [], 0
    for block in _CODE.finditer(page):
        cells += [_prose(page[end : block.start()]), _code(block[1], block[2])]
        end = block.end()
    cells.append(_prose(page[end:]))
    content = {
        "cells": [{"id": f"cell-{index}", **cell} for index, cell in enumerate(cells) if cell["source"]],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _prose(text: str) -> dict[str, object]:
    text = _RELATIVE_LINK.sub(r"\1", _LEFT_OUT.sub("", text))
    return {"cell_type": "markdown", "metadata": {}, "source": _lines(re.sub(r"\n{3,}", "\n\n", text))}


def _code(language: str, code: str) -> dict[str, object]:
    if language == "bash":
        code = "\n".join(map(_command, code.splitlines()))
    elif name := re.match(r"# (\S+\.(?:py|yaml))\n", code):
        code = f"%%writefile {name[1]}\n{code}"
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": _lines(code)}


def _command(line: str) -> str:
    if line.startswith("pip install "):
        return f"%pip install --quiet {line.removeprefix('pip install ')}"
    return f"%{line}" if line.startswith("cd ") else f"!{line}"


def _lines(text: str) -> list[str]:
    return text.strip().splitlines(keepends=True)


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text()))
