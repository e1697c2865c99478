"""Tables as CSV and Markdown. `terminal` shows them on a console, and templates/parts.html.jinja on a page."""

import csv
import io

from rlottery.report.tables import Table


def to_csv(table: Table) -> str:
    """The plain values, one line per row; unknown values are empty."""
    names = list(dict.fromkeys(name for row in table.rows for cell in row.cells for name in cell.values))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in table.rows:
        values = {name: value for cell in row.cells for name, value in cell.values.items()}
        writer.writerow(["" if (value := values.get(name)) is None else value for name in names])
    return stream.getvalue()


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
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~" else letter for letter in line)
