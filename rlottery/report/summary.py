"""The summary of a study, and its Markdown page: the verdict, a table for every task, and the answer."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rlottery.analysis.rules import margin_text
from rlottery.report.answer import OPTION, QUESTION, answer_or_advice
from rlottery.report.closing_tables import task_table
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import contrast_lines
from rlottery.report.evidence import evidence_table
from rlottery.report.headline import headline
from rlottery.report.score_tables import closing_table
from rlottery.report.table_formats import escaped, table_lines
from rlottery.report.tables import Table
from rlottery.report.task_sentences import measured_line, not_normalised_lines, overlap_lines, problem_lines, task_lines
from rlottery.report.wording import interval_name, last_evaluations
from rlottery.safety.printable import on_one_line

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
        verdict: what is shown of its tickets; lead: the first `in_short` sentences of it in short.
        evidence: the numbers of the lead.
        scores: how they did on each task, unless the verdict says it; not_started: of tasks without a run.
        open: what is not shown; limits: what makes the verdict less reliable.
        tasks: those that have a run; by_task: the scores of all arms on them.
        contrasts: what each registered contrast shows, and the default ones that show something.
        problems: masks that could not be read.
        answer: whether gradient is better than magnitude, or how to find out; empty where nobody asks. `in_lead`: how
            many of its lines the lead and its numbers say.
        key: what words and brackets mean.
    """

    verdict: tuple[str, ...]
    lead: str
    in_short: int
    evidence: Table
    open: tuple[str, ...]
    limits: tuple[str, ...]
    scores: tuple[str, ...]
    not_started: tuple[str, ...]
    tasks: tuple[TaskSummary, ...]
    by_task: Table
    contrasts: tuple[str, ...]
    problems: tuple[str, ...]
    answer: tuple[str, ...]
    in_lead: int
    key: tuple[str, ...]


def summarise(contents: Contents, told: Collection[tuple[str, int, str]] = ()) -> Summary:
    """Summarise a study, finished or not.

    Args:
        told: task, seed and arm of runs that failed, and of which the reader knows it.
    """
    said = headline(contents)
    tasks = tuple(
        TaskSummary(
            task=task.task,
            measured=measured_line(task, contents.metric_text(task), last_evaluations(contents.score_evaluations)),
            table=closing_table(contents, task),
            notes=(*overlap_lines(task, contents.masks), *(() if said.early else not_normalised_lines(task))),
            problems=tuple(problem_lines(task, told)),
        )
        for task in contents.scores
        if task.runs
    )
    problems = tuple(map(on_one_line, contents.masks.problems))
    return Summary(
        verdict=said.shown,
        lead=said.lead,
        in_short=said.in_short,
        evidence=evidence_table(contents, said),
        open=said.open,
        limits=said.limits,
        scores=() if said.early else tuple(task_lines(contents.scores, len(contents.seeds))),
        not_started=tuple(task_lines([task for task in contents.scores if not task.runs], len(contents.seeds))),
        tasks=tasks,
        by_task=task_table(contents),
        contrasts=tuple(contrast_lines(contents)),
        problems=problems,
        answer=tuple(answer_or_advice(contents)),
        in_lead=0 if said.methods is None else 1 if said.methods.row is None else 2,
        key=_key(contents),
    )


def summary_to_markdown(summary: Summary) -> str:
    """The summary as a Markdown page, with the verdict first."""
    lines = ["# Dense agents and their tickets", "", *_paragraphs(summary.verdict), *_paragraphs(summary.scores)]
    of_verdict = [(title, of) for title, of in _sections(summary) if title in ("Open", "Limits")]
    others = [section for section in _sections(summary) if section not in of_verdict]
    for title, of_section in of_verdict:
        lines += [f"## {title}", "", *_bullets(of_section)]
    for task in summary.tasks:
        lines += [f"## {escaped(task.task)}", "", escaped(task.measured), "", *table_lines(task.table), ""]
        lines += [*_paragraphs(task.notes), *_bullets(task.problems)]
    lines += _bullets(summary.problems)
    for title, of_section in others:
        lines += [f"## {title}", "", *(_paragraphs if title == QUESTION else _bullets)(of_section)]
    lines += _bullets(summary.key)[:-1]
    return "\n".join(lines) + "\n"


def _sections(summary: Summary) -> list[tuple[str, tuple[str, ...]]]:
    """The headings that follow the verdict, with what is below them; those with nothing below are left out."""
    every = [
        ("Open", summary.open),
        ("Limits", summary.limits),
        (CONTRASTS, summary.contrasts),
        (QUESTION, summary.answer),
    ]
    return [(title, lines) for title, lines in every if lines]


def _key(contents: Contents) -> tuple[str, ...]:
    rules = contents.rules
    return (
        "Normalised: the normalised score, 0 = the mean of untrained agents, 1 = the mean of dense agents.",
        f"Margin: {margin_text(rules)} in normalised score. Brackets: {interval_name(rules.level)}s from two one-sided "
        "tests.",
        "Sparsity: pruned share of the kernel weights; actor / critic where they differ.",
    )


def _paragraphs(lines: Iterable[str]) -> list[str]:
    shown = [f"`{line}`" if line.startswith(OPTION) else escaped(line) for line in lines]
    return [part for line in shown for part in (line, "")]


def _bullets(lines: Iterable[str]) -> list[str]:
    bullets = [f"- {escaped(line)}" for line in lines]
    return [*bullets, ""] if bullets else []
