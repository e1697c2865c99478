"""The report over several studies: how they differ, their verdicts, and the arms and tasks that they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text

from rlottery.analysis.beside import (
    SettingDifference,
    Settings,
    StudyDifference,
    setting_differences,
    study_differences,
)
from rlottery.errors import StudyError
from rlottery.report.contents import Contents
from rlottery.report.page import page_environment, page_frame
from rlottery.report.sentences import answer, headline, interval_words, least_seeds_of, level_of
from rlottery.report.tables import (
    NOTHING,
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
from rlottery.report.words import METRIC_NAMES, count, listed
from rlottery.storage.disk import write_bytes

PAGE = "compare.html"

_GAP = 2
_LEAST_WHY = 20
"""Letters that a column of reasons takes at least: a narrower one is taller than it is worth."""


@dataclass(frozen=True)
class Beside:
    """Several studies.

    Attributes:
        names: of the studies, distinct.
        studies: in the order that they were given.
        unlike: in a sentence, whether their settings differ, and what that makes of the differences.
        settings, verdicts, differences: the tables. The first has no rows where nothing differs.
        alone: in words, tasks and arms that not all studies have.
    """

    names: tuple[str, ...]
    studies: tuple[Contents, ...]
    unlike: str
    settings: Table
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
    differences = study_differences(
        scores, {name: least_seeds_of(study) for name, study in zip(names, studies, strict=True)}
    )
    if not differences:
        tasks = "; ".join(f"{name}: {', '.join(of.task for of in of_study)}" for name, of_study in scores.items())
        raise StudyError(f"These studies share no finished arm of any task, so there is nothing to compare ({tasks}).")
    settings = setting_differences(
        {name: Settings(study.config, study.comparison) for name, study in zip(names, studies, strict=True)}
    )
    return Beside(
        names=names,
        studies=tuple(studies),
        unlike=_unlike(settings),
        settings=_settings(names, settings),
        verdicts=_verdicts(names, studies),
        differences=_differences(differences, settings),
        alone=tuple(_alone(names, studies)),
    )


def write_beside(of: Beside, folder: Path) -> list[Path]:
    """Write compare.html, and the tables as CSV and Markdown, each file whole or not at all.

    Where no setting differs there is no table of settings, and one that an earlier comparison left is removed.
    """
    files = {PAGE: _html(of)}
    for table in (of.settings, of.verdicts, of.differences):
        if table.rows or table is not of.settings:
            files[f"{table.name}.csv"] = to_csv(table)
            files[f"{table.name}.md"] = to_markdown(table)
    for name, text in files.items():
        write_bytes(folder / name, text.encode())
    for name in {f"{of.settings.name}.csv", f"{of.settings.name}.md"}.difference(files):
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in files]


def render_beside(of: Beside) -> RenderableType:
    """The tables for a terminal: how the studies differ first. Names never break; columns give way to them."""
    parts: list[RenderableType] = [Text(of.unlike, style="bold"), ""]
    if of.settings.rows:
        parts += [_Fitted(of.settings, wraps=("For", *of.names)), "", Text(of.settings.caption, style="dim"), ""]
    for name, study in zip(of.names, of.studies, strict=True):
        parts += [Text(name, style="bold"), Text(" ".join(headline(study.verdicts, level_of(study)))), ""]
    if of.verdicts.rows:
        verdicts = _Fitted(of.verdicts, wraps=("Decision", "Why"), give_way=("Tasks", "Why"))
        parts += [verdicts, "", Text(of.verdicts.caption, style="dim"), ""]
    for task, what, part in _by_task(of.differences):
        parts += [Text(task, style="bold cyan"), Text(what, style="dim"), ""]
        parts += [_Fitted(part, wraps=("Settings",), give_way=("p", "Means")), ""]
    parts += [Text(of.differences.caption, style="dim"), ""]
    return Group(*parts, *(Text(line, style="dim") for line in of.alone))


def _names(studies: Sequence[Contents]) -> tuple[str, ...]:
    """The studies' own names; where two have the same, with their place in the command."""
    titles = [study.title for study in studies]
    return tuple(
        title if titles.count(title) == 1 else f"{title} ({place})" for place, title in enumerate(titles, start=1)
    )


def _unlike(settings: Sequence[SettingDifference]) -> str:
    number = len({setting.key for setting in settings})
    if not number:
        return "No setting of training, networks, evaluation, verdict or arms differs between these studies."
    if not any(setting.trains for setting in settings):
        return f"These studies differ in {count(number, 'setting')}, of the verdict alone: their runs were made alike."
    at_once = "that" if number == 1 else "all of that at once, and none tells which setting it comes from"
    return f"These studies differ in {count(number, 'setting')}. The marked differences below are of {at_once}."


def _settings(names: Sequence[str], settings: Sequence[SettingDifference]) -> Table:
    rows = []
    for setting in settings:
        values = [
            Cell(_value_text(setting.values[name]), {f"value_{name}": setting.values[name]})
            if name in setting.values
            # A task or an arm that this study doesn't have.
            else Cell(NOTHING, {f"value_{name}": None})
            for name in names
        ]
        of = ", ".join(setting.of)
        rows.append(Row((text_cell("setting", setting.key), Cell(of or "every task", {"of": of}), *values)))
    caption = (
        "Settings that differ on what the studies share, with the keys of a config. What isn't here is alike. "
        "arms: how arms of one name are made; default: the recipe leaves the key out."
    )
    return Table("settings", caption, tuple(Column(title) for title in ("Setting", "For", *names)), tuple(rows))


def _value_text(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value_text, value))
    if isinstance(value, dict):
        parts = {key: _value_text(inner) for key, inner in value.items()}
        if parts.keys() == {"actor", "critic"} and parts["actor"] == parts["critic"]:
            return parts["actor"]
        return ", ".join(f"{key}: {part}" for key, part in parts.items())
    return str(value)


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


def _differences(rows: Sequence[StudyDifference], settings: Sequence[SettingDifference]) -> Table:
    titles = ("Task", "Arm", "Studies", "Settings", "Means", "Difference", "95 % interval", "p", "Holm p", "n")
    numeric = ("Difference", "p", "Holm p")
    caption = (
        "The second study less the first, in the unit of the task's score ("
        + "; ".join(f"{task}: {METRIC_NAMES[metric]}" for task, metric in {r.task: r.metric for r in rows}.items())
        + "), with its 95 % interval; seeds of two studies are independent (Welch). Holm's correction is over the rows "
        "of two studies."
    )
    if short := [row for row in rows if row.too_few]:
        numbers = listed(map(str, sorted({row.least for row in short})))
        caption += (
            f" Too few seeds: fewer than {numbers} in one of the two studies (verdict.least_seeds). Such rows decide "
            "nothing: they have no interval and no p, and are no part of Holm's correction."
        )
    made = tuple(_row(row, [setting.key for setting in settings if setting.touches(row)]) for row in rows)
    if any(setting.touches(row) for setting in settings for row in rows):
        caption += (
            " Settings: whether the two studies trained and measured this row alike; other steps: for another number "
            "of steps; recipe: the arm is made differently."
        )
    return Table("differences", caption, tuple(Column(t, t in numeric) for t in titles), made)


def _row(row: StudyDifference, unlike: Sequence[str]) -> Row:
    digits = 2 if row.metric == "success" else 0 if max(abs(row.mean_one), abs(row.mean_other)) >= 100 else 2
    means = f"{_number(row.mean_one, digits)}, {_number(row.mean_other, digits)}"
    interval = NOTHING
    if row.too_few:
        interval = "too few seeds"
    elif row.low is not None and row.high is not None:
        interval = f"{_number(row.low, digits)} to {_number(row.high, digits)}"
    return Row(
        (
            text_cell("task", row.task),
            text_cell("arm", row.arm),
            Cell(f"{row.one}, {row.other}", {"one": row.one, "other": row.other}),
            Cell(_mark(unlike), {"unlike": "; ".join(unlike)}),
            Cell(means, {"mean_one": row.mean_one, "mean_other": row.mean_other}),
            Cell(_number(row.difference, digits), {"difference": row.difference}),
            Cell(interval, {"low": row.low, "high": row.high}),
            p_cell("p", row.p),
            p_cell("p_holm", row.adjusted),
            Cell(f"{row.n_one}, {row.n_other}", {"n_one": row.n_one, "n_other": row.n_other, "least_n": row.least}),
        ),
        {"task": row.task, "studies": f"{row.one}, {row.other}"},
    )


def _number(value: float, digits: int) -> str:
    """Zero has no sign."""
    return number_text(round(value, digits) + 0.0, digits)


def _mark(unlike: Sequence[str]) -> str:
    """``other steps and settings``: what the two studies did differently here; ``alike`` where nothing."""
    steps = "training.env_steps" in unlike
    recipe = any(key.startswith("arms.") for key in unlike)
    settings = any(key != "training.env_steps" and not key.startswith("arms.") for key in unlike)
    said = [word for word, here in (("steps", steps), ("settings", settings), ("recipe", recipe)) if here]
    return f"other {listed(said)}" if said else "alike"


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


def _by_task(table: Table) -> list[tuple[str, str, Table]]:
    """For each task and pair of studies: the task, the pair with what marks every row, and the table of the rest."""
    titles = [column.title for column in table.columns]
    parts = []
    for (task, studies), group in groupby(table.rows, key=lambda row: (row.tags["task"], row.tags["studies"])):
        rows = list(group)
        marks = {row.cells[titles.index("Settings")].text for row in rows}
        above = ("Task", "Studies") if len(marks) > 1 else ("Task", "Studies", "Settings")
        kept = [index for index, title in enumerate(titles) if title not in above]
        what = studies if len(marks) > 1 or marks == {"alike"} else f"{studies}: {marks.pop()} in every row"
        columns = tuple(table.columns[index] for index in kept)
        shown = tuple(replace(row, cells=tuple(row.cells[index] for index in kept)) for row in rows)
        parts.append((task, what, replace(table, columns=columns, rows=shown)))
    return parts


@dataclass(frozen=True)
class _Fitted:
    """A table that leaves out columns until the rest fits the console; if it never does, its rows are told as lines.

    Attributes:
        wraps: titles of columns whose cells may break between their words; no cell breaks within one.
        give_way: titles of the columns that it can do without, the first to go first.
    """

    table: Table
    wraps: tuple[str, ...] = ()
    give_way: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = list(range(len(self.table.columns)))
        for gone in range(len(self.give_way) + 1):
            kept = [index for index in kept if self.table.columns[index].title not in self.give_way[:gone]]
            # Rich keeps a gap after the last column, too.
            spare = options.max_width - sum(self._least(index) + _GAP for index in kept)
            if spare >= 0:
                yield self._shown(kept, spare)
                return
        for row in self.table.rows:
            cells = (f"{column.title}: {cell.text}" for column, cell in zip(self.table.columns, row.cells, strict=True))
            yield Text("; ".join(cells))

    def _least(self, index: int) -> int:
        """The letters of the column's longest cell, or word where it may wrap."""
        column = self.table.columns[index]
        cells = [row.cells[index].text for row in self.table.rows]
        parts = [word for cell in cells for word in (cell.split() if column.title in self.wraps else [cell])]
        return max([len(column.title), *map(len, parts), _LEAST_WHY if column.title == "Why" else 0])

    def _shown(self, kept: Sequence[int], spare: int) -> TerminalTable:
        """Columns that wrap take of the spare letters what they can use, from left to right."""
        shown = TerminalTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for index in kept:
            column, width = self.table.columns[index], self._least(index)
            more = min(spare, max(len(row.cells[index].text) for row in self.table.rows) - width)
            if column.title in self.wraps and more > 0:
                width, spare = width + more, spare - more
            shown.add_column(column.title, justify="right" if column.numeric else "left", width=width)
        for row in self.table.rows:
            shown.add_row(*(Text(row.cells[index].text) for index in kept))
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
            unlike=of.unlike,
            settings=of.settings,
            verdicts=of.verdicts,
            differences=of.differences,
            alone=of.alone,
            **page_frame(),
        )
    )
    return page
