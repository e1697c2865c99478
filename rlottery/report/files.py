"""The files of a report: the page with its figures and tables, and a summary as Markdown."""

from pathlib import Path

from rlottery.report.contents import Contents
from rlottery.report.page import write_page
from rlottery.report.summary import summarise, summary_to_markdown
from rlottery.storage.disk import write_bytes


def write_report(folder: Path, contents: Contents) -> list[Path]:
    """Write a report into a folder, each file atomically.

    Returns:
        The files to start with: report.html and comparison.md. Figures and tables are in folders next to them.
    """
    summary = folder / "comparison.md"
    write_bytes(summary, summary_to_markdown(summarise(contents)).encode())
    return [write_page(contents, folder)[0], summary]
