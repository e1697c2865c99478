"""The report over several studies: their verdicts, and the arms that they share on the tasks that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from rlottery.analysis.beside import StudyDifference, study_differences
from rlottery.disk import write_bytes
from rlottery.errors import StudyError
from rlottery.report.contents import Contents
from rlottery.report.page import page_environment, page_frame
from rlottery.report.sentences import answer, headline, interval_words, least_seeds_of, level_of
from rlottery.report.tables import (
    Cell,
    Column,
    Row,
    Table,
    bounded_cell,
    number_cell,
    number_text,
    p_cell,
    text_cell,
    to_csv,
    to_markdown,
)
from rlottery.report.words import METRIC_NAMES

PAGE = "compare.html"


@dataclass(frozen=True)
class Beside:
    """Several studies.

    Attributes:
        names: of the studies, distinct.
        studies: in the order that they were given.
        verdicts, differences: the tables.
        alone: in words, tasks and arms that not all studies have.
    """

    names: tuple[str, ...]
    studies: tuple[Contents, ...]
    verdicts: Table
    differences: Table
    alone: tuple[str, ...]


def beside(studies: Sequence[Contents]) -> Beside:
    """Set studies beside each other, the first one against each of the others.

    Raises:
        StudyError: the first one shares no arm of any task with the others that is done in both.
    """
    names = _names(studies)
    scores = {name: study.scores for name, study in zip(names, studies, strict=True)}
    differences = study_differences(scores)
    if not differences:
        tasks = "; ".join(f"{name}: {', '.join(of.task for of in of_study)}" for name, of_study in scores.items())
        raise StudyError(f"These studies share no finished arm of any task, so there is nothing to compare ({tasks}).")
    return Beside(
        names, tuple(studies), _verdicts(names, studies), _differences(differences), tuple(_alone(names, studies))
    )


def write_beside(of: Beside, folder: Path) -> list[Path]:
    """Write compare.html, and the tables as CSV and Markdown, each file whole or not at all."""
    files = {PAGE: _html(of)}
    for table in (of.verdicts, of.differences):
        files[f"{table.name}.csv"] = to_csv(table)
        files[f"{table.name}.md"] = to_markdown(table)
    for name, text in files.items():
        write_bytes(folder / name, text.encode())
    return [folder / name for name in files]


def render_beside(of: Beside) -> RenderableType:
    """The tables for a terminal."""
    parts: list[RenderableType] = []
    for name, study in zip(of.names, of.studies, strict=True):
        parts += [Text(name, style="bold"), Text(" ".join(headline(study.verdicts, level_of(study)))), ""]
    for table in (of.verdicts, of.differences):
        if table.rows:
            parts += [_terminal(table), "", Text(table.caption, style="dim"), ""]
    return Group(*parts, *(Text(line, style="dim") for line in of.alone))


def _names(studies: Sequence[Contents]) -> tuple[str, ...]:
    """The studies' own names; where two have the same, with their place in the command."""
    titles = [study.title for study in studies]
    return tuple(
        title if titles.count(title) == 1 else f"{title} ({place})" for place, title in enumerate(titles, start=1)
    )


def _verdicts(names: Sequence[str], studies: Sequence[Contents]) -> Table:
    level = level_of(studies[0])
    arms = dict.fromkeys(arm.arm for study in studies for arm in study.verdicts.pooled)
    rows = []
    for arm in arms:
        for name, study in zip(names, studies, strict=True):
            found = next((of for of in study.verdicts.pooled if of.arm == arm), None)
            if found is None:
                continue
            said = found.decision or "not judged"
            cells = (
                text_cell("arm", arm),
                text_cell("study", name),
                Cell(said, {"decision": found.decision}, mark=said),
                bounded_cell("share_of_dense", found.share, found.low, found.high, 1.0),
                number_cell("tasks", len(found.tasks), "d"),
                text_cell("why", found.why),
            )
            rows.append(Row(cells))
    caption = (
        f"Each study's verdicts over its own tasks: mean over tasks of the share of dense, with its "
        f"{interval_words(level)}."
    )
    titles = ("Arm", "Study", "Decision", "Share of dense", "Tasks", "Why")
    return Table("verdicts", caption, tuple(Column(t, t in ("Share of dense", "Tasks")) for t in titles), tuple(rows))


def _differences(rows: Sequence[StudyDifference]) -> Table:
    titles = ("Task", "Arm", "Studies", "Means", "Difference", "p", "Holm p", "n")
    numeric = ("Difference", "p", "Holm p")
    caption = (
        "The second study less the first, in the unit of the task's score ("
        + "; ".join(f"{task}: {METRIC_NAMES[metric]}" for task, metric in {r.task: r.metric for r in rows}.items())
        + "), with its 95 % interval; seeds of two studies are independent (Welch). Holm's correction is over the rows "
        "of two studies."
    )
    return Table("differences", caption, tuple(Column(t, t in numeric) for t in titles), tuple(map(_row, rows)))


def _row(row: StudyDifference) -> Row:
    digits = 2 if row.metric == "success" else 0 if max(abs(row.mean_one), abs(row.mean_other)) >= 100 else 2
    means = f"{number_text(row.mean_one, digits)}, {number_text(row.mean_other, digits)}"
    interval = (
        ""
        if row.low is None or row.high is None
        else (f" ({number_text(row.low, digits)} to {number_text(row.high, digits)})")
    )
    return Row(
        (
            text_cell("task", row.task),
            text_cell("arm", row.arm),
            Cell(f"{row.one}, {row.other}", {"one": row.one, "other": row.other}),
            Cell(means, {"mean_one": row.mean_one, "mean_other": row.mean_other}),
            Cell(
                f"{number_text(row.difference, digits)}{interval}",
                {"difference": row.difference, "low": row.low, "high": row.high},
            ),
            p_cell("p", row.p),
            p_cell("p_holm", row.adjusted),
            Cell(f"{row.n_one}, {row.n_other}", {"n_one": row.n_one, "n_other": row.n_other}),
        )
    )


def _alone(names: Sequence[str], studies: Sequence[Contents]) -> list[str]:
    lines = []
    for what, of in (
        ("tasks", [{task.task for task in study.scores if task.arms} for study in studies]),
        ("arms", [{arm.arm for task in study.scores for arm in task.arms} for study in studies]),
    ):
        shared = set.intersection(*of)
        for name, own in zip(names, of, strict=True):
            if rest := sorted(own - shared):
                lines.append(f"Not in all studies: {what} of {name}: {', '.join(rest)}.")
    return lines


def _terminal(table: Table) -> TerminalTable:
    shown = TerminalTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in table.columns:
        shown.add_column(column.title, justify="right" if column.numeric else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell.text) for cell in row.cells))
    return shown


def _html(of: Beside) -> str:
    page: str = (
        page_environment()
        .get_template("compare.html.jinja")
        .render(
            title=" and ".join(of.names),
            studies=[
                {
                    "name": name,
                    "headline": headline(s.verdicts, level_of(s)),
                    "answer": answer(s.verdicts, level_of(s), least_seeds_of(s)),
                }
                for name, s in zip(of.names, of.studies, strict=True)
            ],
            verdicts=of.verdicts,
            differences=of.differences,
            alone=of.alone,
            **page_frame(),
        )
    )
    return page
