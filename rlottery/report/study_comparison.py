"""The report on several studies: how their settings differ, their verdicts, and the arms and tasks that they share."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rlottery.analysis.digits import Digits, digits_for
from rlottery.analysis.study_comparison import (
    SettingDifference,
    StudyDifference,
    setting_differences,
    study_differences,
)
from rlottery.analysis.verdict import PooledVerdict
from rlottery.errors import StudyError
from rlottery.report.answer import answer_or_advice
from rlottery.report.contents import Contents
from rlottery.report.folders import comparison_files
from rlottery.report.headline import headline
from rlottery.report.page import page_environment, page_frame
from rlottery.report.table_formats import to_csv, to_markdown
from rlottery.report.tables import (
    Cell,
    Column,
    Table,
    difference,
    make_table,
    normalised,
    number,
    p_value,
    text,
)
from rlottery.report.terminal import FittedTable
from rlottery.report.verdict_tables import answer_column, normalised_bounds
from rlottery.report.wording import METRIC_NAMES, NOTHING, interval_name, joined, plural
from rlottery.safety.printable import printable
from rlottery.storage.twins import TWINS

COMPARISON_PAGE = "compare.html"


@dataclass(frozen=True)
class StudyComparison:
    """Several studies.

    Attributes:
        studies: distinct name -> contents, in the order in which they were given.
        summary: in how many settings they differ, and what that means for the differences in scores.
        settings, verdicts, differences: the tables. The first has no rows if no setting differs.
        not_shared: tasks and arms that not all studies have.
    """

    studies: Mapping[str, Contents]
    summary: str
    settings: Table
    verdicts: Table
    differences: Table
    not_shared: tuple[str, ...]


def compare_contents(studies: Sequence[Contents]) -> StudyComparison:
    """Compare the first study with each of the others.

    Raises:
        StudyError: the first study shares no arm of any task that is done in both with any of the others.
    """
    named = dict(zip(_names(studies), studies, strict=True))
    scores = {name: study.scores for name, study in named.items()}
    differences = study_differences(scores, {name: study.rules.least_seeds for name, study in named.items()})
    if not differences:
        tasks = "; ".join(f"{name}: {', '.join(of.task for of in of_study)}" for name, of_study in scores.items())
        raise StudyError(f"These studies share no finished arm of any task, so there is nothing to compare ({tasks}).")
    shared = [name for name, study in named.items() if any(arm.shares_budget for arm in study.masks.arms)]
    settings = setting_differences({name: study.config for name, study in named.items()}, scores, shared)
    return StudyComparison(
        studies=named,
        summary=_summary(settings),
        settings=_setting_table(named, settings),
        verdicts=_verdict_table(named),
        differences=_difference_table(differences, settings),
        not_shared=tuple(_not_shared(named)),
    )


def write_comparison(of: StudyComparison, folder: Path, say: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Write compare.html, and the tables as CSV and Markdown, each file atomically.

    If no setting differs there is no table of settings, and that of an earlier comparison is removed.

    Args:
        say: shows a line for each file that the user put there or changed.
    """
    files = {COMPARISON_PAGE: _html(of)}
    for table in (of.settings, of.verdicts, of.differences):
        if table.rows or table is not of.settings:
            files[f"{table.name}.csv"] = to_csv(table)
            files[f"{table.name}.md"] = to_markdown(table)
    for line in comparison_files(folder).update({name: content.encode() for name, content in files.items()}):
        say(line)
    return [folder / name for name in files]


def render_comparison(of: StudyComparison) -> RenderableType:
    """The tables for a terminal, how the studies differ first."""
    parts: list[RenderableType] = [Text(of.summary, style="bold"), ""]
    if of.settings.rows:
        parts += [FittedTable(of.settings), "", Text(of.settings.caption, style="dim"), ""]
    for name, study in of.studies.items():
        parts += [Text(name, style="bold"), Text(" ".join(headline(study).lines)), ""]
    if of.verdicts.rows:
        parts += [FittedTable(of.verdicts), "", Text(of.verdicts.caption, style="dim"), ""]
    for task, what, part in _by_task(of.differences):
        parts += [Text(task, style="bold cyan"), Text(what, style="dim"), "", FittedTable(part), ""]
    parts += [Text(of.differences.caption, style="dim"), ""]
    return Group(*parts, *(Text(line, style="dim") for line in of.not_shared))


def _names(studies: Sequence[Contents]) -> tuple[str, ...]:
    """The names of the studies; equal names are followed by the position in the command."""
    titles = [study.title for study in studies]
    return tuple(
        title if titles.count(title) == 1 else f"{title} ({place})" for place, title in enumerate(titles, start=1)
    )


def _summary(settings: Sequence[SettingDifference]) -> str:
    number_of_keys = len({setting.key for setting in settings})
    if not number_of_keys:
        return "No setting of training, networks, evaluation, verdict or arms differs between these studies."
    first = f"These studies differ in {plural(number_of_keys, 'setting')}"
    if not any(setting.trains for setting in settings):
        return f"{first}, all of the verdict: their runs were made with the same settings."
    cause = "it" if number_of_keys == 1 else "all of them together, and can't be attributed to one of them"
    return f"{first}. The differences in scores marked below may come from {cause}."


def _setting_table(names: Iterable[str], settings: Sequence[SettingDifference]) -> Table:
    def value_column(study: str) -> Column[SettingDifference]:
        def cell(setting: SettingDifference) -> Cell:
            # A study that does not have the task or arm, or doesn't read the key, has no value.
            shown = _value_text(setting.values[study]) if study in setting.values else NOTHING
            return Cell(shown, {f"value_{study}": setting.values.get(study)})

        return Column(study, cell, wraps=True)

    def of_cell(setting: SettingDifference) -> Cell:
        of = ", ".join(setting.of)
        return Cell(of or "every task", {"of": of})

    caption = (
        "Settings that differ on what the studies share, by their keys in the config; all others that both read are "
        f"the same. arms: how arms with the same name are made. default: the recipe omits the key. {NOTHING}: the "
        "study doesn't have what it is for, or its algorithm doesn't read it."
    )
    if any(setting.key.endswith(f".{TWINS}") for setting in settings):
        caption += (
            f" {TWINS}: shared if twin critics share one budget under allocation: global, as in earlier versions of "
            "rlottery; by default each has its own."
        )
    columns = (
        text("Setting", "setting", lambda setting: setting.key),
        Column("For", of_cell, wraps=True),
        *map(value_column, names),
    )
    return make_table("settings", caption, columns, settings)


def _value_text(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value_text, value))
    if isinstance(value, dict):
        parts = {key: _value_text(inner) for key, inner in value.items()}
        if len(parts) > 1 and len(set(parts.values())) == 1:  # the same for every group
            return next(iter(parts.values()))
        return ", ".join(f"{key}: {part}" for key, part in parts.items())
    return str(value)


def _verdict_table(studies: Mapping[str, Contents]) -> Table:
    items = [(name, verdict) for name, study in studies.items() for verdict in study.verdicts.pooled]
    arms = list(dict.fromkeys(verdict.arm for _, verdict in items))
    items.sort(key=lambda item: arms.index(item[1].arm))
    interval = interval_name(next(iter(studies.values())).rules.level)
    to_dense, to_random = answer_column("dense"), answer_column("random")
    columns: tuple[Column[tuple[str, PooledVerdict]], ...] = (
        text("Arm", "arm", lambda item: item[1].arm),
        text("Study", "study", lambda item: item[0]),
        replace(to_dense, cell=lambda item: to_dense.cell(item[1])),
        replace(to_random, cell=lambda item: to_random.cell(item[1])),
        normalised(f"Normalised [{interval}]", "normalised", lambda item: normalised_bounds(item[1].dense)),
        difference(f"Over random [{interval}]", "over_control", lambda item: normalised_bounds(item[1].random)),
        number("Tasks", "tasks", lambda item: len(item[1].dense.tasks), expendable=1),
        number("Tasks", "tasks_over_control", lambda item: len(item[1].random.tasks), expendable=1),
    )
    caption = (
        "The answers of each study over its own tasks. Normalised: mean over tasks of the normalised score; over "
        f"random: of the difference to random masks. In brackets the {interval} from two one-sided tests. Tasks: those "
        "that each answer rests on, against dense and against random."
    )
    return make_table("verdicts", caption, columns, items)


def _difference_table(rows: Sequence[StudyDifference], settings: Sequence[SettingDifference]) -> Table:
    def differing(row: StudyDifference) -> list[str]:
        return [setting.key for setting in settings if setting.touches(row)]

    metrics = {row.task: METRIC_NAMES[row.metric] for row in rows}
    caption = (
        "The second study minus the first, in the unit of the task's score ("
        + "; ".join(f"{task}: {metric}" for task, metric in metrics.items())
        + "), with its 95 % interval and p from Welch's t-test, because the seeds of two studies are independent. "
        "Holm's correction is over the rows of two studies."
    )
    if short := [row for row in rows if row.too_few]:
        numbers = joined(map(str, sorted({row.least for row in short})))
        caption += (
            f" Too few seeds: one of the two studies has fewer than {numbers} (verdict.least_seeds). These rows are "
            "not tested: they have no interval and no p, and are not part of Holm's correction."
        )
    if any(map(differing, rows)):
        caption += (
            " Settings: in what the two studies differ for this row. Steps: the number of training steps. Recipe: how "
            "the arm is made."
        )
    digits = {task: _digits([row for row in rows if row.task == task]) for task in metrics}
    columns: tuple[Column[StudyDifference], ...] = (
        text("Task", "task", lambda row: row.task),
        text("Arm", "arm", lambda row: row.arm),
        Column("Studies", lambda row: Cell(f"{row.one}, {row.other}", {"one": row.one, "other": row.other})),
        Column("Settings", lambda row: Cell(_mark(differing(row)), {"differ": "; ".join(differing(row))}), wraps=True),
        Column("Means", lambda row: _means(row, digits[row.task]), expendable=2),
        Column("Difference", lambda row: _difference(row, digits[row.task]), numeric=True),
        Column("95 % interval", lambda row: _interval(row, digits[row.task])),
        p_value("p", "p", lambda row: row.p, expendable=1),
        p_value("Holm p", "p_holm", lambda row: row.adjusted),
        Column("n", _seeds),
    )
    return make_table(
        "differences", caption, columns, rows, tags=lambda row: {"task": row.task, "studies": f"{row.one}, {row.other}"}
    )


def _digits(rows: Sequence[StudyDifference]) -> Digits:
    """The format of the means of one task, and of their differences: it shows how wide an interval is."""
    means = [mean for row in rows for mean in (row.mean_one, row.mean_other)]
    widths = [row.high - row.low for row in rows if row.low is not None and row.high is not None]
    return digits_for(means, rows[0].metric, [statistics.median(widths)] if widths else [r.difference for r in rows])


def _means(row: StudyDifference, digits: Digits) -> Cell:
    shown = ", ".join(digits(mean) for mean in (row.mean_one, row.mean_other))
    return Cell(shown, {"mean_one": row.mean_one, "mean_other": row.mean_other})


def _difference(row: StudyDifference, digits: Digits) -> Cell:
    return Cell(digits(row.difference), {"difference": row.difference})


def _interval(row: StudyDifference, digits: Digits) -> Cell:
    shown = NOTHING
    if row.too_few:
        shown = "too few seeds"
    elif row.low is not None and row.high is not None:
        shown = f"{digits(row.low)} to {digits(row.high)}"
    return Cell(shown, {"low": row.low, "high": row.high})


def _seeds(row: StudyDifference) -> Cell:
    return Cell(f"{row.n_one}, {row.n_other}", {"n_one": row.n_one, "n_other": row.n_other, "least_n": row.least})


def _mark(differing: Sequence[str]) -> str:
    """In what two studies differ for a row: ``different steps and settings``, or ``same``."""
    steps = "training.env_steps" in differing
    recipe = any(key.startswith("arms.") for key in differing)
    settings = any(key != "training.env_steps" and not key.startswith("arms.") for key in differing)
    found = [word for word, here in (("steps", steps), ("settings", settings), ("recipe", recipe)) if here]
    return f"different {joined(found)}" if found else "same"


def _not_shared(studies: Mapping[str, Contents]) -> list[str]:
    tasks = {name: {task.task for task in study.scores if task.arms} for name, study in studies.items()}
    arms = {name: {arm.arm for task in study.scores for arm in task.arms} for name, study in studies.items()}
    lines = []
    for what, of in {"tasks": tasks, "arms": arms}.items():
        shared = set.intersection(*of.values())
        for name, own in of.items():
            if rest := sorted(own - shared):
                lines.append(f"Not in all studies: {what} of {name}: {', '.join(rest)}.")
    return lines


def _by_task(table: Table) -> Iterable[tuple[str, str, Table]]:
    """For each task and pair of studies: the task, the pair with what all rows share, and the table of the rest."""
    titles = [column.title for column in table.columns]
    for (task, studies), group in groupby(table.rows, key=lambda row: (row.tags["task"], row.tags["studies"])):
        rows = list(group)
        marks = {row.cells[titles.index("Settings")].text for row in rows}
        above = {"Task", "Studies"} if len(marks) > 1 else {"Task", "Studies", "Settings"}
        kept = [index for index, title in enumerate(titles) if title not in above]
        what = studies if len(marks) > 1 or marks == {"same"} else f"{studies}: {marks.pop()} in every row"
        columns = tuple(table.columns[index] for index in kept)
        shown = tuple(replace(row, cells=tuple(row.cells[index] for index in kept)) for row in rows)
        yield task, what, replace(table, columns=columns, rows=shown)


def _html(of: StudyComparison) -> str:
    studies: list[Mapping[str, Any]] = [
        {
            "name": name,
            "headline": headline(study),
            "answer": answer_or_advice(study),
        }
        for name, study in of.studies.items()
    ]
    values = {**vars(of), **page_frame(), "title": " and ".join(of.studies), "studies": studies}
    page: str = page_environment().get_template("compare.html.jinja").render(values)
    return printable(page)
