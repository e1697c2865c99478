"""The summary of a study: a table for every task, the verdict and the answer. Shown in terminals and as Markdown."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Group, RenderableType

from rlottery.report.answer import OPTION, QUESTION, answer_or_advice
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import contrast_lines
from rlottery.report.headline import headline
from rlottery.report.score_tables import closing_table
from rlottery.report.table_formats import escaped, table_lines
from rlottery.report.tables import Table
from rlottery.report.task_sentences import measured_line, not_normalised_lines, overlap_lines, problem_lines, task_lines
from rlottery.report.terminal import FittedTable, Paragraph
from rlottery.report.wording import last_evaluations
from rlottery.safety.printable import on_one_line
from rlottery.storage.paths import DENSE

KEY = (
    "Normalised: the normalised score, 0 = the mean of untrained agents, 1 = the mean of dense agents.",
    "Sparsity: pruned share of the kernel weights; actor / critic where they differ.",
)

CONTRASTS = "Contrasts"


@dataclass(frozen=True)
class TaskSummary:
    """The part of one task.

    Attributes:
        measured: what the scores are.
        notes: about its masks and normalised scores; problems: what failed or is unusual.
    """

    task: str
    measured: str
    table: Table
    notes: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A study in short.

    Attributes:
        verdict: what may be said of its tickets, then how they did on each task.
        tasks: those that have a run.
        contrasts: what each registered contrast shows, and the default ones that show something.
        problems: masks that could not be read.
        answer: whether gradient is better than magnitude, or how to find out.
    """

    verdict: tuple[str, ...]
    tasks: tuple[TaskSummary, ...]
    contrasts: tuple[str, ...]
    problems: tuple[str, ...]
    answer: tuple[str, ...]


def summarise(contents: Contents) -> Summary:
    """Summarise a study, finished or not."""
    has_ticket = any(run.status == "done" for task in contents.scores for run in task.every_run if run.arm != DENSE)
    verdict = list(headline(contents).lines if has_ticket else contents.verdicts.deviations)
    verdict += task_lines(contents.scores, len(contents.seeds))
    tasks = tuple(
        TaskSummary(
            task=task.task,
            measured=measured_line(task, contents.metric_text(task), last_evaluations(contents.score_evaluations)),
            table=closing_table(contents, task),
            notes=(*overlap_lines(task, contents.masks), *not_normalised_lines(task)),
            problems=tuple(problem_lines(task)),
        )
        for task in contents.scores
        if task.runs
    )
    problems = tuple(map(on_one_line, contents.masks.problems))
    return Summary(tuple(verdict), tasks, tuple(contrast_lines(contents)), problems, tuple(answer_or_advice(contents)))


def render_summary(summary: Summary) -> RenderableType:
    """The summary for a terminal, with the verdict at the end, where it is read."""
    parts: list[RenderableType] = []
    for task in summary.tasks:
        parts += [Paragraph(task.task, "bold cyan"), Paragraph(task.measured, "dim"), "", FittedTable(task.table), ""]
        notes = [*(Paragraph(line, "dim") for line in task.notes), *(Paragraph(line, "red") for line in task.problems)]
        parts += [*notes, ""] if notes else []
    parts += [*(Paragraph(line, "dim") for line in KEY), ""]
    if summary.problems:
        parts += [*(Paragraph(line, "red") for line in summary.problems), ""]
    parts += [Paragraph(line, "bold") for line in summary.verdict]
    if summary.contrasts:
        parts += ["", Paragraph(CONTRASTS, "bold"), *map(Paragraph, summary.contrasts)]
    return Group(*parts, "", Paragraph(QUESTION, "bold"), *map(Paragraph, summary.answer))


def summary_to_markdown(summary: Summary) -> str:
    """The summary as a Markdown page, with the verdict first."""
    lines = ["# Dense agents and their tickets", "", *_paragraphs(summary.verdict)]
    for task in summary.tasks:
        lines += [f"## {escaped(task.task)}", "", escaped(task.measured), "", *table_lines(task.table), ""]
        lines += [*_paragraphs(task.notes), *_bullets(task.problems)]
    if summary.contrasts:
        lines += [f"## {CONTRASTS}", "", *_bullets(summary.contrasts)]
    lines += [*_bullets(summary.problems), f"## {QUESTION}", "", *_paragraphs(summary.answer), *_bullets(KEY)[:-1]]
    return "\n".join(lines) + "\n"


def _paragraphs(lines: Iterable[str]) -> list[str]:
    shown = [f"`{line}`" if line.startswith(OPTION) else escaped(line) for line in lines]
    return [part for line in shown for part in (line, "")]


def _bullets(lines: Iterable[str]) -> list[str]:
    bullets = [f"- {escaped(line)}" for line in lines]
    return [*bullets, ""] if bullets else []
