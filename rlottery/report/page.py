"""The report as one HTML file that needs nothing else: words first, then figures, tables and how it was made."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlottery.analysis.verdict import Verdicts
from rlottery.report.contents import Command, Contents
from rlottery.report.drawn import DARK
from rlottery.report.families import Look, looks
from rlottery.report.inline_svg import colours
from rlottery.report.mask_tables import inputs_table, layer_table, likeness_table
from rlottery.report.page_figures import PageFigures, page_figures
from rlottery.report.result_tables import (
    across_table,
    cost_table,
    glance_table,
    method_table,
    pooled_table,
    score_table,
    verdict_table,
)
from rlottery.report.sentences import (
    QUESTION,
    answer,
    few_failures,
    headline,
    least_seeds_of,
    level_of,
    margin_of,
    missing_line,
)
from rlottery.report.tables import Table, to_csv, to_markdown
from rlottery.report.words import count, one_line
from rlottery.storage.disk import write_bytes

PAGE = "report.html"

_DARK = (
    f"--paper: {DARK.background}; --raised: #202020; --ink: {DARK.ink}; --quiet: {DARK.quiet}; --grid: #2E2E2E; "
    "--rule: #3A3A3A; --accent: #7CC0F5; --good: #56B4E9; --even: #E5C744; --bad: #FF8B4D; --notice: #2E2615; "
    "--notice-rule: #E69F00; color-scheme: dark; "
)


def write_page(contents: Contents, folder: Path) -> list[Path]:
    """Write the page, and its figures and tables beside it, each file whole or not at all.

    The same contents give the same bytes.

    Figures and tables that an earlier report left there, and this one doesn't have, are removed.

    Returns:
        The files: report.html, figures/*.png and *.svg, tables/*.csv and *.md, in the page's order.
    """
    look = looks(contents.comparison)
    figures = page_figures(contents, look)
    files = {PAGE: _html(contents, look, figures).encode()}
    for figure in figures.every:
        files[f"figures/{figure.name}.png"] = figure.drawn.png
        files[f"figures/{figure.name}.svg"] = figure.drawn.svg.encode()
    for table in _tables(contents, look):
        files[f"tables/{table.name}.csv"] = to_csv(table).encode()
        files[f"tables/{table.name}.md"] = to_markdown(table).encode()
    for name, data in files.items():
        write_bytes(folder / name, data)
    written = [folder / name for name in files]
    for pattern in ("figures/*.png", "figures/*.svg", "tables/*.csv", "tables/*.md"):
        for path in set(folder.glob(pattern)).difference(written):
            path.unlink(missing_ok=True)
    return written


def report_html(contents: Contents) -> str:
    """The page alone. It loads nothing, and its policy (Content-Security-Policy) lets nothing be loaded."""
    look = looks(contents.comparison)
    return _html(contents, look, page_figures(contents, look))


def _html(contents: Contents, look: Mapping[str, Look], figures: PageFigures) -> str:
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
        "margin": f"{100 * margin_of(contents):.4g} %",
        "cautions": _cautions(contents.verdicts),
        "verdict_table": verdicts,
        "pooled_table": pooled_table(contents, look),
        "filters": _filters(verdicts),
        "score_tables": [
            {"title": scores.task, "table": score_table(contents, scores, look)}
            for scores in contents.scores
            if scores.arms
        ],
        "across_figures": figures.across,
        "across_table": across_table(contents.across, look),
        "method_table": method_table(contents),
        "mask_figures": [figure for figure in figures.masks if not figure.is_picture],
        "mask_pictures": [figure for figure in figures.masks if figure.is_picture],
        "mask_problems": [one_line(line) for line in contents.masks.problems],
        "layer_table": layer_table(contents, look),
        "inputs_table": inputs_table(contents, look),
        "likeness_table": likeness_table(contents),
        "films": [_film(task, *film) for task, film in contents.films.items()],
        "cost_table": cost_table(contents, look),
        "rules": contents.verdicts.rules,
        "commands": [_command(command) for command in contents.commands],
        "versions": contents.versions,
        "config_text": contents.config_text,
        **page_frame(),
    }
    page: str = page_environment().get_template("page.html.jinja").render(told, contents_list=_contents_list(told))
    return page


def _tables(contents: Contents, look: Mapping[str, Look]) -> list[Table]:
    """Every table that has a row."""
    tables = [
        glance_table(contents, look),
        pooled_table(contents, look),
        verdict_table(contents, look),
        method_table(contents),
        *(score_table(contents, scores, look) for scores in contents.scores),
        across_table(contents.across, look),
        layer_table(contents, look),
        inputs_table(contents, look),
        likeness_table(contents),
        cost_table(contents, look),
    ]
    return [table for table in tables if table.rows]


def page_environment() -> Environment:
    """Where pages' templates come from: all that they are given is escaped but for Markup."""
    return Environment(
        loader=PackageLoader("rlottery.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_frame() -> dict[str, Any]:
    """What a page's head is made of: the style sheet with both themes' colours, the script, and its hash."""
    script = _template("page.js")
    style = (
        _template("page.css")
        .replace("{{ light }}", colours(dark=False))
        .replace("{{ dark }}", _DARK + colours(dark=True))
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": Markup(style), "script": Markup(script), "script_hash": f"sha256-{digest}"}


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


def _cautions(verdicts: Verdicts) -> list[str]:
    """What verdicts claim more than their seeds or their scale carry: a line for each kind of caution and task."""
    split = [task.two_levels for task in verdicts.tasks if task.two_levels is not None]
    fewest = min((len(task.seeds) for task in verdicts.tasks if task.two_levels is not None), default=0)
    lines = [" ".join([*split, few_failures(fewest)])] if split else []
    lines += [task.head_start for task in verdicts.tasks if task.head_start is not None]
    return [one_line(line) for line in lines]


def _facts(contents: Contents) -> str:
    comparison = contents.comparison
    arms = {arm.name for task in comparison.tasks for arm in task.arms}
    counted = sum(len(arm.seeds) for task in comparison.tasks for arm in task.arms)
    asked = max(contents.asked, counted)  # arms without a folder yet are asked for too
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
