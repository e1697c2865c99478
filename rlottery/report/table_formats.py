"""Tables as CSV and Markdown. `terminal` shows them on a console, and templates/parts.html.jinja on a page."""

import re
from typing import Any

from rlottery.report.tables import Table
from rlottery.safety.printable import on_one_line, printable

_FORMULA = re.compile(r"\s*['\"]?\s*[=+\-@\uff1d\uff0b\uff0d\uff20|%]")
"""How text begins that some spreadsheet runs as a formula or a command, also after spaces and quotes."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SEPARATING = re.compile(r"[\s,;|\"]")
"""What separates fields in some program or country, and quotes."""


def to_csv(table: Table) -> str:
    """The plain values, one line per row; unknown values are empty. Spreadsheets don't calculate text (`_field`)."""
    names = list(dict.fromkeys(name for row in table.rows for cell in row.cells for name in cell.values))
    lines: list[list[Any]] = [names]
    for row in table.rows:
        values = {name: value for cell in row.cells for name, value in cell.values.items()}
        lines.append([values.get(name) for name in names])
    return "".join(",".join(map(_field, line)) + "\n" for line in lines)


def _field(value: Any) -> str:
    """A value as a field of CSV. Text that spreadsheets would run as a formula gets an apostrophe, numbers do not."""
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else str(value)
    text = printable(str(value))
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _SEPARATING.search(text) else text


def to_markdown(table: Table) -> str:
    """The caption, and the table."""
    return "\n".join([escaped(table.caption), "", *table_lines(table)]) + "\n"


def table_lines(table: Table) -> list[str]:
    """A table without its caption as lines of Markdown."""
    return [
        "| " + " | ".join(escaped(column.title) for column in table.columns) + " |",
        "|" + "|".join(" --: " if column.numeric else " :-- " for column in table.columns) + "|",
        *("| " + " | ".join(escaped(cell.text) for cell in row.cells) + " |" for row in table.rows),
    ]


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~&$" else letter for letter in on_one_line(text))
