"""The report as one HTML file that needs nothing else: words first, then figures, tables and how it was made."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlottery.analysis.mask_analysis import ArmMasks, MaskPages
from rlottery.analysis.scores import AcrossTasks
from rlottery.disk import write_bytes
from rlottery.report.contents import Command, Contents
from rlottery.report.curve_panels import curve_panels
from rlottery.report.drawn import DARK, LIGHT, Drawn
from rlottery.report.families import Look, looks
from rlottery.report.inline_svg import colours, inline
from rlottery.report.mask_figures import idle_units, input_strip, likeness, likeness_between_tasks, survivors
from rlottery.report.mask_picture import mask_picture
from rlottery.report.result_tables import (
    across_table,
    all_tables,
    cost_table,
    glance_table,
    layer_table,
    likeness_table,
    method_table,
    pooled_table,
    score_table,
    verdict_table,
)
from rlottery.report.score_figures import (
    aggregates,
    improvement,
    profiles,
    score_over_sparsity,
    share_over_sparsity,
)
from rlottery.report.sentences import BOOTSTRAP, QUESTION, answer, headline, least_seeds_of, level_of, missing_line
from rlottery.report.tables import Table, to_csv, to_markdown
from rlottery.report.words import METRIC_NAMES, count, one_line
from rlottery.store import DENSE

PAGE = "report.html"

_DARK = (
    f"--paper: {DARK.background}; --raised: #202020; --ink: {DARK.ink}; --quiet: {DARK.quiet}; --grid: #2E2E2E; "
    "--rule: #3A3A3A; --accent: #7CC0F5; --good: #56B4E9; --even: #E5C744; --bad: #FF8B4D; --notice: #2E2615; "
    "--notice-rule: #E69F00; color-scheme: dark; "
)


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page.

    Attributes:
        name: of its files, and before its ids.
        title: a few words.
        caption: what it shows, with n, interval and unit.
    """

    name: str
    title: str
    caption: str
    drawn: Drawn

    @property
    def is_picture(self) -> bool:
        """Whether it shows every weight of a mask: for those who ask for it."""
        return self.name.startswith("mask-picture")

    @property
    def svg(self) -> Markup:
        """What stands in the page; names of the study are outlines in it, or escaped."""
        return Markup(inline(self.drawn.svg, self.name, self.drawn.alt))


@dataclass(frozen=True)
class _Figures:
    sparsity: tuple[PageFigure, ...]
    curves: tuple[PageFigure, ...]
    across: tuple[PageFigure, ...]
    masks: tuple[PageFigure, ...]

    @property
    def every(self) -> tuple[PageFigure, ...]:
        return (*self.sparsity, *self.curves, *self.across, *self.masks)


def write_page(contents: Contents, folder: Path) -> list[Path]:
    """Write the page, and its figures and tables beside it, each file whole or not at all.

    The same contents give the same bytes.

    Returns:
        The files: report.html, figures/*.png and *.svg, tables/*.csv and *.md, in the page's order.
    """
    look = looks(contents.comparison)
    figures = _draw(contents, look)
    files = {PAGE: _html(contents, look, figures).encode()}
    for figure in figures.every:
        files[f"figures/{figure.name}.png"] = figure.drawn.png
        files[f"figures/{figure.name}.svg"] = figure.drawn.svg.encode()
    for table in all_tables(contents, look):
        files[f"tables/{table.name}.csv"] = to_csv(table).encode()
        files[f"tables/{table.name}.md"] = to_markdown(table).encode()
    for name, data in files.items():
        write_bytes(folder / name, data)
    return [folder / name for name in files]


def report_html(contents: Contents) -> str:
    """The page alone. It loads nothing, and its policy (Content-Security-Policy) lets nothing be loaded."""
    look = looks(contents.comparison)
    return _html(contents, look, _draw(contents, look))


def _draw(contents: Contents, look: Mapping[str, Look]) -> _Figures:
    """Every figure once, in the light theme's colours: in the page they are the page's."""
    seeds = count(len(contents.comparison.seeds), "seed")
    sparsity = [
        _figure(
            f"sparsity-{number}",
            scores.task,
            f"{scores.task}: mean {METRIC_NAMES[scores.metric]} of {seeds}, with its {BOOTSTRAP}; dots: single seeds. "
            f"Score: mean of the last {contents.comparison.score_evaluations} evaluations.",
            score_over_sparsity(scores, look, LIGHT),
        )
        for number, scores in enumerate(contents.scores, 1)
    ]
    across_arms, left_out = _on_the_same_tasks(contents.across)
    tasks = _most(len(arm.tasks) for arm in across_arms if arm.arm != DENSE)
    runs = _most(arm.runs for arm in across_arms if arm.arm != DENSE)
    without = f" Not drawn, for they are done on other tasks: {', '.join(left_out)}." if left_out else ""
    if tasks > 1:
        pooled = _figure(
            "sparsity-all-tasks",
            "All tasks",
            f"All tasks: share of what dense agents gained, mean over {count(tasks, 'task')} "
            f"(n = {runs} runs an arm where all are done), with its {BOOTSTRAP}.{without}",
            share_over_sparsity(across_arms, look, LIGHT),
        )
        sparsity.insert(0, pooled)
    curves = [
        _figure(
            f"curves-{number}",
            task,
            f"{task}: score of the deterministic policy over environment steps, {seeds}; "
            "no interval is drawn, for every seed is.",
            curve_panels(task, of_task, look, LIGHT),
        )
        for number, (task, of_task) in enumerate(contents.runs.items(), 1)
    ]
    over = f"{count(tasks, 'task')}, up to {count(runs, 'run')} an arm.{without}"
    across = [
        _figure(
            "aggregates",
            "Aggregates over tasks",
            f"Share of what dense agents gained, with its {BOOTSTRAP}; {over} The interquartile mean is over runs, "
            "mean and median are over tasks. Line: dense agents on average.",
            aggregates(across_arms, look, LIGHT),
        ),
        _figure(
            "profiles",
            "Performance profiles",
            f"Share of runs that reach at least so much of what dense agents gained, with its {BOOTSTRAP}; {over} "
            "Higher and further right is better.",
            profiles(across_arms, look, LIGHT),
        ),
        _figure(
            "improvement",
            "Probability of improvement",
            f"Probability that a run of the arm scores above one of the other, ties counting half, with its "
            f"{BOOTSTRAP}; {over} Line: even chances.",
            improvement(across_arms, look, LIGHT),
        ),
    ]
    return _Figures(_there(sparsity), _there(curves), _there(across), _there(_mask_figures(contents, look)))


def _on_the_same_tasks(across: Sequence[AcrossTasks]) -> tuple[list[AcrossTasks], list[str]]:
    """The dense agents and the arms of those tasks that most arms are done on, and the names of the other arms.

    A mean over other tasks is another question: half a study must not look like a ranking.
    """
    counted = Counter(arm.tasks for arm in across if arm.arm != DENSE)
    tasks = max(counted, key=lambda tasks: (counted[tasks], len(tasks)), default=())
    alike = [arm for arm in across if arm.arm == DENSE or arm.tasks == tasks]
    return alike, [arm.arm for arm in across if arm.arm != DENSE and arm.tasks != tasks]


def _mask_figures(contents: Contents, look: Mapping[str, Look]) -> list[PageFigure | None]:
    masks = contents.masks
    tasks = list(dict.fromkeys(arm.task for arm in masks.arms))
    means = "Means over the n seeds beside the rows; no interval."
    found = [
        _figure(
            "mask-survivors",
            "Survivors of every layer",
            f"Share of the weights of every layer that survive, in per cent. {means}",
            survivors(masks, look, LIGHT),
        ),
        _figure(
            "mask-idle-units",
            "Idle units",
            f"Share of the hidden units that have no way to an output or from an input, in per cent. {means}",
            idle_units(masks, look, LIGHT),
        ),
        *(
            _figure(
                f"mask-inputs-{number}",
                f"Inputs kept on {task}",
                f"{task}: share of the actor's weights that survive of each observation entry. {means}",
                input_strip(masks, task, look, LIGHT),
            )
            for number, task in enumerate(tasks, 1)
        ),
        _figure(
            "mask-likeness",
            "What masks share",
            "Jaccard index of the surviving weights of two masks, of 1; means over the n pairs (or seeds) beside the "
            "rows; no interval.",
            likeness(masks, look, LIGHT),
        ),
        _figure(
            "mask-likeness-tasks",
            "What masks of two tasks share",
            "Jaccard index of the surviving weights, in per cent; means over n pairs of seeds; no interval.",
            likeness_between_tasks(masks, look, LIGHT),
        ),
    ]
    pictures = [arm for task in tasks for arm in _pictured(masks, task, look)]
    found += [
        _figure(
            f"mask-picture-{number}",
            f"{arm.arm} on {arm.task}",
            f"{arm.arm} on {arm.task}: the actor's mask of one seed, a point a weight; n = 1 seed, no interval.",
            mask_picture(arm, look, LIGHT),
        )
        for number, arm in enumerate(pictures, 1)
    ]
    return found


def _pictured(masks: MaskPages, task: str, look: Mapping[str, Look]) -> list[ArmMasks]:
    """Of each task the sparsest tickets: one of magnitude, and one of another criterion."""
    known = {arm.arm: arm for arm in masks.arms if arm.task == task and arm.arm in look and arm.picture}
    tickets = [one for one in look.values() if one.arm in known and not one.quiet]
    tickets.sort(key=lambda one: -(one.sparsity or 0.0))
    chosen = [
        next((one for one in tickets if (one.family == "magnitude") is magnitude), None) for magnitude in (True, False)
    ]
    return [known[one.arm] for one in chosen if one is not None]


def _figure(name: str, title: str, caption: str, drawn: Drawn | None) -> PageFigure | None:
    return None if drawn is None else PageFigure(name, title, caption, drawn)


def _there(figures: Iterable[PageFigure | None]) -> tuple[PageFigure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def _most(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)


def _html(contents: Contents, look: Mapping[str, Look], figures: _Figures) -> str:
    script = page_script()
    verdicts = verdict_table(contents, look)
    level = level_of(contents)
    told: dict[str, Any] = {
        "title": contents.title,
        "facts": _facts(contents),
        "headline": headline(contents.verdicts, level),
        "question": QUESTION,
        "answer": answer(contents.verdicts, level, least_seeds_of(contents)),
        "missing": [one_line(line) for line in contents.missing],
        "missing_line": missing_line(contents),
        "glance": glance_table(contents, look),
        "sparsity_figures": figures.sparsity,
        "curve_figures": figures.curves,
        "verdict_table": verdicts,
        "pooled_table": pooled_table(contents, look),
        "filters": _filters(verdicts),
        "score_tables": [
            {"title": scores.task, "table": score_table(contents, scores, number, look)}
            for number, scores in enumerate(contents.scores, 1)
            if scores.arms
        ],
        "across_figures": figures.across,
        "across_table": across_table(contents.across, look),
        "method_table": method_table(contents),
        "mask_figures": [figure for figure in figures.masks if not figure.is_picture],
        "mask_pictures": [figure for figure in figures.masks if figure.is_picture],
        "mask_problems": [one_line(line) for line in contents.masks.problems],
        "layer_table": layer_table(contents, look),
        "likeness_table": likeness_table(contents),
        "films": [_film(task, *film) for task, film in contents.films.items()],
        "cost_table": cost_table(contents, look),
        "rules": contents.verdicts.rules,
        "commands": [_command(command) for command in contents.commands],
        "versions": contents.versions,
        "config_text": contents.config_text,
        "style": Markup(page_style()),
        "script": Markup(script),
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    }
    page: str = page_environment().get_template("page.html.jinja").render(told, contents_list=_contents_list(told))
    return page


def page_environment() -> Environment:
    """Where pages' templates come from: all that they are given is escaped but for Markup."""
    return Environment(
        loader=PackageLoader("rlottery.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_script() -> str:
    """JavaScript of all pages: the theme, sorting, filtering."""
    return _template("page.js")


def page_style() -> str:
    """The style sheet of all pages, with the colours of both themes."""
    return (
        _template("page.css")
        .replace("{{ light }}", colours(dark=False))
        .replace("{{ dark }}", _DARK + colours(dark=True))
    )


def _template(name: str) -> str:
    return resources.files("rlottery.report").joinpath("templates", name).read_text(encoding="utf-8")


def _contents_list(told: Mapping[str, Any]) -> list[dict[str, str]]:
    masks = told["mask_figures"] or told["layer_table"].rows or told["likeness_table"].rows or told["mask_problems"]
    parts = [
        ("verdict", "Verdict", True),
        ("sparsity", "Sparsity", told["sparsity_figures"]),
        ("curves", "Curves", told["curve_figures"]),
        ("verdicts", "Verdicts", told["verdict_table"].rows),
        ("scores", "Scores", told["score_tables"]),
        ("across", "Across tasks", told["across_figures"] or told["across_table"].rows),
        ("masks", "Masks", masks),
        ("films", "Films", told["films"]),
        ("cost", "Cost", told["cost_table"].rows),
        ("made", "How it was made", True),
    ]
    return [{"id": name, "title": title} for name, title, there in parts if there]


def _facts(contents: Contents) -> str:
    comparison = contents.comparison
    arms = {arm.name for task in comparison.tasks for arm in task.arms}
    asked = sum(len(arm.seeds) for task in comparison.tasks for arm in task.arms)
    done = sum(arm.done for task in comparison.tasks for arm in task.arms)
    parts = [
        count(len(comparison.tasks) or len(contents.runs), "task"),
        count(len(comparison.seeds), "seed"),
        count(len(arms), "arm"),
    ]
    return ", ".join([*parts, f"{done} of {count(asked, 'run')} done"])


def _filters(verdicts: Table) -> list[dict[str, Any]]:
    found = []
    for name in ("task", "kind", "sparsity", "decision"):
        options = list(dict.fromkeys(row.tags.get(name, "") for row in verdicts.rows))
        found.append({"name": name, "title": name.capitalize(), "options": [option for option in options if option]})
    return found


def _film(task: str, media: str, data: bytes) -> dict[str, Any]:
    source = f"data:{media};base64,{base64.b64encode(data).decode()}"
    return {"task": task, "is_video": media.startswith("video/"), "source": source}


def _command(command: Command) -> dict[str, str]:
    when = datetime.fromtimestamp(command.when, UTC)
    seeds = count(len(command.seeds), "seed")
    return {
        "iso": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "when": when.strftime("%d %b %Y, %H:%M UTC"),
        "line": command.line,
        "about": f"{seeds}, rlottery {command.version}",
    }
