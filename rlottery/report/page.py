"""The report as one HTML file that needs nothing else: the verdict first, then figures, tables and how it was made."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlottery.analysis.rules import margin_text
from rlottery.analysis.verdict import Verdicts
from rlottery.report.answer import answer_or_advice, compares_methods, question
from rlottery.report.answer_tables import answers_table, failure_table, leave_one_out_table
from rlottery.report.arm_styles import Look, looks
from rlottery.report.contents import Command, Contents
from rlottery.report.contrast_sentences import contrast_lines
from rlottery.report.contrast_tables import contrast_table, method_table
from rlottery.report.drawn import DARK
from rlottery.report.evidence import evidence_table
from rlottery.report.glossary import glossary, term_id, term_of, with_terms
from rlottery.report.headline import headline, missing_line
from rlottery.report.inline_svg import colours
from rlottery.report.limits import zero_of_the_scale
from rlottery.report.mask_networks import mask_lines, network_table
from rlottery.report.mask_tables import inputs_table, layer_table, overlap_table
from rlottery.report.page_figures import PageFigure, letters, page_figures
from rlottery.report.score_tables import across_table, cost_table, run_table, score_table, untrained_table
from rlottery.report.starved_layers import starved_lines
from rlottery.report.table_formats import to_csv, to_markdown
from rlottery.report.tables import Table
from rlottery.report.verdict_tables import glance_table, pooled_table, verdict_table
from rlottery.report.wording import plural
from rlottery.safety.printable import on_one_line, printable

PAGE = "report.html"

_DARK = (
    f"--paper: {DARK.background}; --raised: #202020; --ink: {DARK.ink}; --quiet: {DARK.quiet}; --grid: #2E2E2E; "
    "--rule: #3A3A3A; --accent: #7CC0F5; --good: #56B4E9; --even: #E5C744; --bad: #FF8B4D; --notice: #2E2615; "
    "--notice-rule: #E69F00; --shade: rgb(255 255 255 / 0.22); color-scheme: dark; "
)


def page_files(contents: Contents, processes: int = 1) -> dict[str, bytes]:
    """The page, and its figures and tables in folders next to it, by name. The same contents give the same bytes.

    The names are report.html, figures/*.png and *.svg, tables/*.csv and *.md, in the order of the page.

    Args:
        processes: how many may draw figures at once.
    """
    look = looks(contents.scores)
    figures, tables = page_figures(contents, look, processes), _tables(contents, look)
    files = {PAGE: _html(contents, figures, tables).encode()}
    for figure in (figure for of_section in figures.values() for figure in of_section):
        files[f"figures/{figure.name}.png"] = figure.drawn.png
        files[f"figures/{figure.name}.svg"] = figure.drawn.svg.encode()
    return files | _table_files(contents, tables)


def table_files(contents: Contents) -> dict[str, bytes]:
    """The tables of `page_files` alone."""
    return _table_files(contents, _tables(contents, looks(contents.scores)))


def _table_files(contents: Contents, tables: Mapping[str, Table]) -> dict[str, bytes]:
    files = {}
    for table in (table for table in (*tables.values(), run_table(contents), untrained_table(contents)) if table.rows):
        files[f"tables/{table.name}.csv"] = to_csv(table).encode()
        files[f"tables/{table.name}.md"] = to_markdown(table).encode()
    return files


def report_html(contents: Contents) -> str:
    """The page alone. It loads nothing, and its Content-Security-Policy forbids loading anything."""
    look = looks(contents.scores)
    return _html(contents, page_figures(contents, look), _tables(contents, look))


def _html(contents: Contents, figures: Mapping[str, Sequence[PageFigure]], tables: Mapping[str, Table]) -> str:
    rules, said, over_sparsity = contents.rules, headline(contents), figures["sparsity"]
    values: dict[str, Any] = {
        **tables,
        "title": contents.title,
        "facts": _facts(contents),
        "headline": said,
        "evidence": evidence_table(contents, said),
        "main_figure": next(iter(over_sparsity), None),
        "contrasts": contrast_lines(contents),
        "question": question(contents.verdicts),
        "answer": answer_or_advice(contents) if compares_methods(contents) else [],
        "missing": [on_one_line(line) for line in (*contents.missing, *contents.no_films)],
        "missing_line": missing_line(contents),
        "sparsity_figures": over_sparsity[1:],
        "curve_figures": figures["curves"],
        "margin": margin_text(rules),
        "cautions": _cautions(contents.verdicts),
        "filters": _filters(tables["verdict_table"]),
        "score_tables": [
            {"title": scores.task, "table": tables[f"scores of {scores.task}"]}
            for scores in contents.scores
            if scores.arms
        ],
        "across_figures": figures["across"],
        "across": len(contents.scores) > 1 and bool(figures["across"] or tables["across_table"].rows),
        "mask_figures": [figure for figure in figures["masks"] if not figure.is_picture],
        "mask_pictures": [figure for figure in figures["masks"] if figure.is_picture],
        "mask_lines": [on_one_line(line) for line in (*starved_lines(contents), *mask_lines(contents.masks))],
        "mask_problems": [on_one_line(line) for line in contents.masks.problems],
        "letters": letters(figure for of_section in figures.values() for figure in of_section),
        "films": [_film(task, *film) for task, film in contents.films.items()],
        "rules": (*contents.verdicts.rules, *zero_of_the_scale(contents, limiting=False)),
        "commands": [_command(command) for command in contents.commands],
        "versions": contents.versions,
        "config_text": contents.config_text,
        "elsewhere": [on_one_line(line) for line in contents.elsewhere],
        **page_frame(),
    }
    page: str = page_environment().get_template("page.html.jinja").render(values, contents_list=_contents_list(values))
    return printable(page)


def _tables(contents: Contents, look: Mapping[str, Look]) -> dict[str, Table]:
    """The tables of the page by their names in the template, and those of scores by task."""
    return {
        "glance": glance_table(contents, look),
        "pooled_table": pooled_table(contents, look),
        "verdict_table": verdict_table(contents, look),
        "answers_table": answers_table(contents),
        "failure_table": failure_table(contents),
        "leave_one_out_table": leave_one_out_table(contents),
        "contrast_table": contrast_table(contents),
        "method_table": method_table(contents),
        **{f"scores of {scores.task}": score_table(contents, scores, look) for scores in contents.scores},
        "across_table": across_table(contents.across, look),
        "layer_table": layer_table(contents, look),
        "network_table": network_table(contents, look),
        "inputs_table": inputs_table(contents, look),
        "overlap_table": overlap_table(contents),
        "cost_table": cost_table(contents, look),
    }


def table_html(table: Table) -> str:
    """A table by itself, for notebooks."""
    parts = page_environment().get_template("parts.html.jinja").make_module({})
    html: str = parts.table(table, "plain")  # type: ignore[attr-defined]
    return printable(html)


def page_environment() -> Environment:
    """The environment of the templates. Everything that they are given is escaped, except Markup."""
    environment = Environment(
        loader=PackageLoader("rlottery.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["terms"] = with_terms
    environment.filters["term_id"] = term_id
    environment.filters["column_term"] = _column_term
    environment.filters["bounded"] = _bounded
    environment.finalize = _known
    return environment


def _known(value: Any) -> Any:
    """A value that a template prints. Nothing is printed as ``None``."""
    if value is None:
        raise TypeError("A template of the report prints a value that is not there.")
    return value


def _bounded(text: str) -> Markup:
    """A number and its interval, or a title and what is in brackets, with a line break allowed between them alone."""
    first, bracket, rest = " ".join(text.split()).partition(" [")
    return Markup("{}{}").format(first, Markup(' <span class="bounds">[{}</span>').format(rest) if bracket else "")


def _column_term(title: str) -> str | None:
    """The id of the term that explains a column, if there is one."""
    entry = term_of(" ".join(title.split()).partition(" [")[0])
    return None if entry is None else term_id(entry.term)


def page_frame() -> dict[str, Any]:
    """What all pages need: the style sheet with the colours of both themes, the script with its hash, the glossary."""
    script = _template("page.js") + _template("menu.js") + _template("figures.js")
    style = (_template("page.css") + _template("figures.css")).replace("{{ light }}", colours(dark=False))
    style = style.replace("{{ dark }}", _DARK + colours(dark=True))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": Markup(style), "script": Markup(script), "script_hash": f"sha256-{digest}", "glossary": glossary()}


def _template(name: str) -> str:
    return resources.files("rlottery.report").joinpath("templates", name).read_text(encoding="utf-8")


def _contents_list(values: Mapping[str, Any]) -> list[dict[str, str]]:
    masks = (
        values["mask_figures"] or values["layer_table"].rows or values["overlap_table"].rows or values["mask_problems"]
    )
    parts = [
        ("verdict", "Verdict", True),
        ("sparsity", "By task", values["sparsity_figures"]),
        ("curves", "Curves", values["curve_figures"]),
        ("verdicts", "Answers", values["verdict_table"].rows),
        ("contrasts", "Contrasts", values["contrast_table"].rows),
        ("scores", "Scores", values["score_tables"]),
        ("across", "Across tasks", values["across"]),
        ("masks", "Masks", masks),
        ("films", "Videos", values["films"]),
        ("cost", "Cost", values["cost_table"].rows),
        ("made", "How it was made", True),
        ("glossary", "Glossary", True),
    ]
    return [{"id": name, "title": title} for name, title, there in parts if there]


def _cautions(verdicts: Verdicts) -> list[str]:
    """What limits the verdicts: a line for each task whose runs learn or fail, and for each with a head start."""
    lines = [line for task in verdicts.tasks for line in (task.bimodal, task.head_start) if line is not None]
    return [on_one_line(line) for line in lines]


def _facts(contents: Contents) -> str:
    """The setting and the size of the study: what its answers hold for."""
    arms = {arm for task in contents.scores for arm in task.runs}
    begun = len(contents.seeds) * sum(len(task.runs) for task in contents.scores)
    asked = max(contents.asked, begun)  # the settings may list more arms than have begun
    done = sum(run.status == "done" for task in contents.scores for run in task.every_run)
    if contents.elsewhere:
        asked = done
    counts = [plural(len(contents.scores), "task"), plural(len(contents.seeds), "seed"), plural(len(arms), "arm")]
    counted = ", ".join([*counts, f"{done} of {plural(asked, 'run')} done"])
    return on_one_line(". ".join([text for text in (contents.setting, counted) if text]))


def _filters(verdicts: Table) -> list[dict[str, Any]]:
    found = []
    titles = {"dense": "Against dense", "random": "Against random"}
    for name in ("task", "kind", "sparsity", "dense", "random"):
        options = list(dict.fromkeys(row.tags.get(name, "") for row in verdicts.rows))
        if len(options) > 1:
            title = titles.get(name, name.capitalize())
            found.append({"name": name, "title": title, "options": [option for option in options if option]})
    return found


def _film(task: str, media: str, data: bytes) -> dict[str, Any]:
    source = f"data:{media};base64,{base64.b64encode(data).decode()}"
    return {"task": task, "is_video": media.startswith("video/"), "source": source}


def _command(command: Command) -> dict[str, str]:
    when = datetime.fromtimestamp(command.when, UTC)
    seeds = plural(len(command.seeds), "seed")
    return {
        "iso": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "when": when.strftime("%d %b %Y, %H:%M UTC"),
        "line": command.line,
        "about": f"{seeds}, rlottery {command.version}",
    }
