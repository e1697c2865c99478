"""The closing table: for the terminal, at any sensible width, and as Markdown."""

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rlottery.analysis.comparison import ArmResult, Comparison, TaskComparison
from rlottery.analysis.kinds import GRADIENT_CRITERIA
from rlottery.report.contents import Contents
from rlottery.report.sentences import QUESTION, answer, headline, least_seeds_of, level_of
from rlottery.report.words import (
    METRIC_NAMES,
    METRIC_TITLES,
    OPTION,
    one_line,
    overlap_lines,
    pairs_wanted,
    problem_lines,
    score_text,
    seed_scores,
    share_lines,
    share_text,
    sparsity_text,
    task_lines,
)
from rlottery.storage.paths import DENSE

KEY = (
    "Of dense: (arm - untrained) / (dense - untrained), over the seeds both have.",
    "Sparsity: pruned share of the kernel weights; actor / critic where they differ.",
)

_GAP = 2
_TOGETHER = re.compile(r"(?<=\d) (?=%|seeds?\b)|(?<=seed) (?=\d)|(?<=\d:) (?=[-+\d])")
"""Spaces that no line is broken at: in `80 %`, `2 seeds`, `seed 0: +0.05`."""


def render(contents: Contents) -> RenderableType:
    """The comparison for a terminal, what it comes to at the end, where it is read.

    Numbers never break; below about 80 columns some columns give way.
    """
    comparison = contents.comparison
    parts: list[RenderableType] = []
    for task in _begun(comparison):
        parts += [*_task(contents, task), ""]
    parts += [*(_Paragraph(line, "dim") for line in KEY), ""]
    if contents.masks.problems:
        parts += [*(_Paragraph(one_line(line), "red") for line in contents.masks.problems), ""]
    parts += [_Paragraph(line, "bold") for line in _headline(contents)]
    return Group(*parts, "", _Paragraph(QUESTION, "bold"), *map(_Paragraph, _answer(contents)))


def to_markdown(contents: Contents) -> str:
    """The comparison as a Markdown page."""
    comparison = contents.comparison
    lines = ["# Dense agents and their tickets", ""]
    lines += _paragraphs(_headline(contents))
    for task in _begun(comparison):
        lines += [f"## {_plain(task.task)}", "", _plain(_measured(comparison, task)), ""]
        lines += [*_markdown_table(comparison, task), ""]
        lines += _paragraphs(overlap_lines(task, contents.masks) + share_lines(task)) + _bullets(problem_lines(task))
    lines += _bullets([one_line(line) for line in contents.masks.problems])
    lines += [f"## {QUESTION}", "", *_paragraphs(_answer(contents)), *_bullets(KEY)[:-1]]
    return "\n".join(lines) + "\n"


def _headline(contents: Contents) -> list[str]:
    """What may be said of the tickets, once there is one to say it of, then how they did on each task."""
    there = any(arm.done for task in contents.comparison.tasks for arm in task.tickets)
    said = headline(contents.verdicts, level_of(contents)) if there else []
    return said + task_lines(contents.comparison)


def _answer(contents: Contents) -> list[str]:
    """Whether gradient is better than magnitude, or how to find out."""
    if contents.verdicts.methods:
        return answer(contents.verdicts, level_of(contents), least_seeds_of(contents))
    learned = {task.task for task in contents.scores if task.gain is not None}
    criteria = {task.task: {arm.criterion for arm in task.tickets if arm.done} for task in contents.comparison.tasks}
    both = [task for task, known in criteria.items() if "magnitude" in known and known.intersection(GRADIENT_CRITERIA)]
    if both and not learned & set(both):
        return ["Where the dense agents did not learn, the methods can't be told apart."]
    return pairs_wanted(contents.comparison)


@dataclass(frozen=True)
class _Column:
    """A column of a task's table.

    `dispensable` columns give way in that order where the console is narrow; 0 stays. `wraps`: the cell
    may break between its words.
    """

    title: str
    cell: Callable[[TaskComparison, ArmResult], str]
    justify: JustifyMethod = "right"
    dispensable: int = 0
    wraps: bool = False


def _begun(comparison: Comparison) -> list[TaskComparison]:
    return [task for task in comparison.tasks if task.arms]


def _columns(comparison: Comparison, task: TaskComparison) -> list[_Column]:
    seeds = ", ".join(map(str, comparison.seeds))
    each = f"Seed {seeds}" if len(comparison.seeds) <= 3 else "Each seed"
    return [
        _Column("Arm", lambda _, arm: arm.name, justify="left"),
        _Column("Sparsity", lambda _, arm: sparsity_text(arm.sparsity), dispensable=3),
        _Column(METRIC_TITLES[task.metric], lambda task, arm: score_text(task, arm.mean)),
        _Column("Min to max", _spread, dispensable=1),
        _Column(each, lambda task, arm: "  ".join(seed_scores(task, arm)), justify="left", wraps=True),
        _Column("Of dense", lambda _, arm: "" if arm.name == DENSE else share_text(arm)),
        _Column("Runs", lambda _, arm: f"{arm.done}/{len(arm.seeds)}", dispensable=2),
    ]


def _spread(task: TaskComparison, arm: ArmResult) -> str:
    return "-" if arm.done < 2 else f"{score_text(task, arm.low)} to {score_text(task, arm.high)}"


def _measured(comparison: Comparison, task: TaskComparison) -> str:
    last = comparison.score_evaluations
    mean = "the last evaluation" if last == 1 else f"mean of the last {last} evaluations"
    untrained = score_text(task, task.untrained) if task.untrained is not None else "not known"
    return f"{METRIC_NAMES[task.metric]}, {mean} of each run; untrained policy: {untrained}"


# ------------------------------------------------------------------------------------------ Terminal


class _TaskTable:
    """A task's table that leaves out columns until the rest fits the console."""

    def __init__(self, comparison: Comparison, task: TaskComparison):
        self._columns = _columns(comparison, task)
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self._columns)
        for place in (1, 2, 3):
            if self._least_width(columns) <= options.max_width:
                break
            columns = [column for column in columns if column.dispensable != place]
        yield self._table(columns, fold_names=self._least_width(columns) > options.max_width)

    def _least_width(self, columns: Sequence[_Column]) -> int:
        return sum(self._widest(column) for column in columns) + _GAP * (len(columns) - 1)

    def _widest(self, column: _Column) -> int:
        cells = [column.cell(self._task, arm) for arm in self._task.arms]
        words = [word for cell in cells for word in (cell.split() if column.wraps else [cell])]
        return max(map(len, [column.title, *words]))

    def _table(self, columns: Sequence[_Column], *, fold_names: bool) -> Table:
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for column in columns:
            folds = fold_names and column is self._columns[0]
            table.add_column(
                column.title,
                justify=column.justify,
                no_wrap=not (column.wraps or folds),
                overflow="fold",
                min_width=None if folds else self._widest(column),
            )
        for arm in self._task.arms:
            cells = [column.cell(self._task, arm) for column in columns]
            table.add_row(*map(Text, cells), style="bold" if arm.name == DENSE else "")
        return table


@dataclass(frozen=True)
class _Paragraph:
    """A line of text, wrapped between words with its further lines indented. Rich would break numbers too."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        together = _TOGETHER.sub("\N{NO-BREAK SPACE}", self.text)
        lines = textwrap.wrap(together, options.max_width, subsequent_indent="  ", break_on_hyphens=False)
        yield Text("\n".join(lines).replace("\N{NO-BREAK SPACE}", " "), style=self.style)


def _task(contents: Contents, task: TaskComparison) -> list[RenderableType]:
    comparison = contents.comparison
    parts: list[RenderableType] = [
        _Paragraph(task.task, "bold cyan"),
        _Paragraph(_measured(comparison, task), "dim"),
    ]
    parts += ["", _TaskTable(comparison, task)]
    notes: list[RenderableType] = [
        _Paragraph(line, "dim") for line in overlap_lines(task, contents.masks) + share_lines(task)
    ]
    notes += [_Paragraph(line, "red") for line in problem_lines(task)]
    return [*parts, *(["", *notes] if notes else [])]


# ------------------------------------------------------------------------------------------ Markdown


def _markdown_table(comparison: Comparison, task: TaskComparison) -> list[str]:
    columns = _columns(comparison, task)
    rows = [[column.title for column in columns]]
    rows += [[column.cell(task, arm) for column in columns] for arm in task.arms]
    lines = ["| " + " | ".join(_plain(cell.replace("  ", ", ")) for cell in row) + " |" for row in rows]
    rule = "|" + "|".join(" :-- " if column.justify == "left" else " --: " for column in columns) + "|"
    return [lines[0], rule, *lines[1:]]


def _paragraphs(lines: Iterable[str]) -> list[str]:
    shown = [f"`{line}`" if line.startswith(OPTION) else _plain(line) for line in lines]
    return [part for line in shown for part in (line, "")]


def _bullets(lines: Sequence[str]) -> list[str]:
    return [*(f"- {_plain(line)}" for line in lines), ""] if lines else []


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~" else letter for letter in text)
