"""Write the tables of docs/arms.md, and of pages that it links to, from what `rlottery arms` shows and criteria read.

uv run python tools/write_arms_tables.py
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic.fields import FieldInfo

from rlottery.config.recipes import TicketRecipe
from rlottery.config.schedules import SCHEDULES, OneShot, PruningSchedule
from rlottery.pruning.criteria import CRITERIA, INITIAL, STATISTICS, Criterion
from rlottery.study.catalogue import sections

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
METHODS = [*CRITERIA, *(name for name in SCHEDULES if name != OneShot.name)]
"""Methods that have a page of their own, docs/methods/NAME.md."""
PAGES = [
    *(DOCS / f"{name}.md" for name in ("arms", "criteria", "allocation", "schedules", "controls")),
    *(DOCS / "methods" / f"{name}.md" for name in METHODS),
]

Rows = list[tuple[str, ...]]


def tables() -> dict[str, Rows]:
    """The rows of each table by its key, starting with the titles."""
    titles = ("name", "what it does", "paper", "cost", "when to use it")
    found: dict[str, Rows] = {
        section.key or "other": [
            titles,
            *((_linked(name, section.key), m.summary, m.paper, m.cost, m.use) for name, m in section.methods.items()),
        ]
        for section in sections()
    }
    read = {name: what for name, what in STATISTICS.items() if not name.startswith(INITIAL)}
    found["statistics"] = [("parameter", "what it is"), *((f"`{name}`", what) for name, what in read.items())]
    return found | _of_criteria() | _of_schedules()


def _linked(name: str, key: str) -> str:
    """The name of a value of this key, with a link to its page if it has one."""
    has_page = key in ("criterion", "schedule") and name in METHODS
    return f"[`{name}`](methods/{name}.md)" if has_page else f"`{name}`"


def _of_criteria() -> dict[str, Rows]:
    """The tables on the page of each criterion: its facts, and its keys if it reads data."""
    times = csv.DictReader((ROOT / "benchmarks" / "results" / "scoring.csv").read_text().splitlines())
    seconds = {row["criterion"]: (row["seconds"], row["seconds_when_compiled"]) for row in times}
    found: dict[str, Rows] = {}
    for name, criterion in CRITERIA.items():
        taken, compiled = seconds[name]
        found[name] = [
            (f"`{name}`", ""),
            ("score", criterion.summary),
            ("paper", criterion.paper),
            ("reads", ", ".join(f"`{read}`" for read in criterion.reads)),
            ("cost", criterion.cost),
            ("time", f"{taken} s on one core, {compiled} s of it without compilation ([how](../criteria.md))"),
            ("when to use it", criterion.use.replace("docs/scores.md", "[scores](../scores.md)")),
        ]
        if keys := _keys_of(criterion):
            found[f"{name} keys"] = _keys({key: TicketRecipe.model_fields[key] for key in keys})
    return found


def _keys_of(criterion: Criterion) -> list[str]:
    """The keys of an arm that not every criterion takes."""
    if not criterion.needs_data:
        return []
    takes_estimator = any("mean_abs_gradient" in name for name in criterion.reads)
    return ["batches", "batch_size", *(["estimator"] if takes_estimator else [])]


def _of_schedules() -> dict[str, Rows]:
    """The tables on the page of each schedule."""
    found: dict[str, Rows] = {}
    for name in PruningSchedule.model_fields:
        method, chosen = SCHEDULES[name], PruningSchedule.model_validate(name).chosen
        facts = (("what it does", method.summary), ("paper", method.paper), ("cost", method.cost))
        found[name] = [(f"`{name}`", ""), *facts, ("when to use it", method.use)]
        found[f"{name} keys"] = _keys({f"{name}.{key}": of for key, of in type(chosen).model_fields.items()})
    return found


def _keys(fields: dict[str, FieldInfo]) -> Rows:
    """A row for each key. The default of `estimator`, which is none of its values, is `mean-abs`."""
    defaults = {key: "mean-abs" if key.endswith("estimator") else of.default for key, of in fields.items()}
    rows = [(f"`{key}`", f"`{defaults[key]}`", of.description or "") for key, of in fields.items()]
    return [("key", "default", "meaning"), *rows]


def with_tables(texts: list[str]) -> list[str]:
    """The pages, with the table below each comment ``<!-- table: KEY -->`` replaced."""
    for key, rows in tables().items():
        comment = f"<!-- table: {key} -->"
        if "".join(texts).count(comment) != 1:
            raise SystemExit(f"One of {', '.join(page.name for page in PAGES)} needs one line {comment}")
        texts = [_with_table(text, comment, rows) if comment in text else text for text in texts]
    return texts


def _with_table(text: str, comment: str, rows: Rows) -> str:
    before, after = text.split(f"{comment}\n\n")
    rest = re.sub(r"^(\|.*\n)*\n*", "", after)
    return f"{before}{comment}\n\n{markdown(rows)}" + (f"\n{rest}" if rest else "")


def markdown(rows: Rows) -> str:
    """A Markdown table whose first row has the titles."""
    titles, *others = rows
    return "".join(map(_line, [titles, ("---",) * len(titles), *others]))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    for page, text in zip(PAGES, with_tables([page.read_text() for page in PAGES]), strict=True):
        page.write_text(text)
