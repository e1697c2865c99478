"""The files of a report: the page with its figures and tables, and a summary as Markdown."""

from collections.abc import Callable
from pathlib import Path

from rlottery.report.contents import Contents
from rlottery.report.folders import report_files
from rlottery.report.page import PAGE, page_files
from rlottery.report.summary import summarise, summary_to_markdown


def write_report(
    folder: Path, contents: Contents, say: Callable[[str], None] = lambda line: None, processes: int = 1
) -> list[Path]:
    """Write a report into a folder, each file atomically. What an earlier report wrote and this one lacks is removed.

    Args:
        say: shows a line for each file that the user put there or changed.
        processes: how many may draw figures at once.

    Returns:
        The files to start with: report.html and comparison.md. Figures and tables are in folders next to them.
    """
    files = page_files(contents, processes) | {"comparison.md": summary_to_markdown(summarise(contents)).encode()}
    for line in report_files(folder).update(files):
        say(line)
    return [folder / PAGE, folder / "comparison.md"]
