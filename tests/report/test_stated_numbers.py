"""Every difference with an interval that README, docs, results and summaries state is in the tables, as it is rounded.

The tables' numbers follow from the runs (`tests.report.test_recomputed`), so those of the sentences do. Differences to
Stable-Baselines3 follow from the learning curves in benchmarks/learning/results.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from benchmarks.learning import against_sb3
from tests.report.recomputed import Report, bounds, form, mean_of, raw_bounds

ROOT = Path(__file__).parents[2]
STUDIES = [path.parent.parent for path in sorted(ROOT.glob("results/*/tables/untrained.csv"))]
STATED_IN_README = ("default", "guide", "irrelevant-inputs", "positive-control")
OF_OTHER_RUNS = {"default": [("0.67", "0.35", "0.98")]}
"""Differences of runs that have no report: those of the default study on another processor."""
LIBRARIES = (against_sb3.OURS, against_sb3.THEIRS)
LEARNING = ROOT / "benchmarks" / "learning"
PAGES = [LEARNING / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
OF_EXAMPLES = {"made-elsewhere.md": [("80", "31", "128")]}
"""Differences of data that the page itself has (tests/report/test_elsewhere.py)."""
_NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"
_WITH_INTERVAL = re.compile(
    rf"({_NUMBER})(?: in (?:return|success rate|normalised score))?(?: at \d+ %)?,?"
    rf" [\[(](?:90 % interval )?({_NUMBER})(?: to |, )({_NUMBER})[\])]"
)
_COLUMNS = (
    ("difference", "difference", 0.0),
    ("difference_random", "difference_random", 0.0),
    ("difference_dense", "difference_dense", 0.0),
    ("over_control", "over_control", 0.0),
    ("normalised", "normalised", 0.0),
    ("normalised", "normalised", 1.0),
)
"""Columns of a difference and of its bounds, and what is subtracted: a normalised score less 1 is one to dense."""


class Stated(NamedTuple):
    """A difference with its interval."""

    value: float
    low: float
    high: float

    def says(self, text: tuple[str, ...]) -> bool:
        """Whether texts are these numbers, rounded: all with their sign, or all with the other one."""
        other = Stated(-self.value, -self.high, -self.low)
        return any(all(map(_rounds_to, of, text)) for of in (self, other))


def _rounds_to(value: float, text: str) -> bool:
    digits = len(text.partition(".")[2])
    return abs(value - float(text.replace(",", ""))) <= 0.5 * 10**-digits * (1 + 1e-6)


def stated(text: str) -> list[tuple[str, ...]]:
    """The differences with intervals in a text, as they are written."""
    plain = re.sub(r"\\(?=[\[\]<>_])", "", " ".join(text.split())).replace("\N{MINUS SIGN}", "-")
    return [found.groups() for found in _WITH_INTERVAL.finditer(plain)]


@cache
def numbers(folder: Path) -> frozenset[Stated]:
    """The differences with intervals of a report's tables, and how gradient - magnitude changes with sparsity."""
    report = Report(folder)
    tables = ("contrasts", "verdicts", "verdicts_over_tasks", "gradient_against_magnitude", "leave_one_out")
    found = {*_trends(report), *_raw(report)}
    for row in (row for table in tables for row in report.table(table)):
        for column, bound, minus in _COLUMNS:
            of = [row.get(column), row.get(f"{bound}_low"), row.get(f"{bound}_high")]
            if None not in of:
                found.add(Stated(*(value - minus for value in of)))
    return frozenset(found)


def _raw(report: Report) -> Iterator[Stated]:
    """Gradient - magnitude on one task in the unit of the score, of which the tables have the normalised one."""
    for row in (row for row in report.table("gradient_against_magnitude") if row["task"] in report.tasks):
        one = form(report.tasks[row["task"]], [row["gradient"]], [row["magnitude"]], row["measure"])
        assert one is not None
        yield from _stated(one.raw(), raw_bounds(one, report.rules.level))


def _trends(report: Report) -> Iterator[Stated]:
    """From the lowest to the highest sparsity of tickets whose names differ in nothing else, by task and over all."""
    chains: dict[str, list[tuple[float, str, str]]] = {}
    for row in report.table("gradient_against_magnitude"):
        chains.setdefault(row["gradient"].rpartition("-")[0], []).append(
            (row["sparsity"], row["gradient"], row["magnitude"])
        )
    for (_, low, its_magnitude), (_, high, magnitude) in ((min(of), max(of)) for of in chains.values()):
        if low == high:
            continue
        for measure in ("score", "area"):
            of = [form(task, [high, its_magnitude], [magnitude, low], measure) for task in report.tasks.values()]
            forms = [one for one in of if one is not None and one.gain is not None]
            for group in [*([one] for one in forms), forms]:
                yield from _stated(mean_of(group), bounds(group, report.rules.level))


def _stated(value: float, limits: tuple[float | None, float | None]) -> Iterator[Stated]:
    low, high = limits
    if low is not None and high is not None:
        yield Stated(value, low, high)


@cache
def of_the_reference() -> frozenset[Stated]:
    """The differences over tasks of the reference study, whose tables are of an earlier version."""
    with (ROOT / "results/reference/tables/verdicts_over_tasks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("over_control", "over_control_low", "over_control_high")
    return frozenset(Stated(*(float(row[column]) for column in columns)) for row in rows)


@cache
def learned() -> frozenset[Stated]:
    """The differences to Stable-Baselines3 with their 95 % intervals: at the end, and over the whole curve."""
    found = set()
    for table in sorted(against_sb3.RESULTS.glob("against_sb3_*.csv")):
        for libraries in against_sb3.read_table(table).values():
            if set(libraries) != set(LIBRARIES):
                continue  # those of one library wait for the other's
            steps = against_sb3.common_steps(libraries)
            for counted in (steps[-against_sb3.LAST :], steps):
                means = [against_sb3.means_over(counted, libraries[name]) for name in LIBRARIES]
                if any(len(set(of)) > 1 for of in means):
                    found.add(_welch(*means))
    with (against_sb3.RESULTS / "continued_sac.csv").open(newline="") as file:
        curves: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in csv.DictReader(file):
            curves[row["library"], row["seed"]].append(float(row["return"]))
    ends = [
        [float(np.mean(of[-against_sb3.LAST :])) for (library, _), of in curves.items() if library == name]
        for name in LIBRARIES
    ]
    return frozenset({*found, _welch(*ends)})


def _welch(ours: list[float], theirs: list[float]) -> Stated:
    squares = [float(np.var(of, ddof=1)) / len(of) for of in (ours, theirs)]
    freedom = sum(squares) ** 2 / sum(s**2 / (len(of) - 1) for s, of in zip(squares, (ours, theirs), strict=True))
    difference, half = float(np.mean(ours) - np.mean(theirs)), float(stats.t.ppf(0.975, freedom)) * sum(squares) ** 0.5
    return Stated(difference, difference - half, difference + half)


def unknown(text: str, folders: Iterable[Path]) -> list[tuple[str, ...]]:
    """The stated differences that no table of these folders has."""
    known = [*learned(), *of_the_reference(), *(number for folder in folders for number in numbers(folder))]
    return [one for one in stated(text) if not any(number.says(one) for number in known)]


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_the_summary_and_the_description_of_a_published_study(folder: Path) -> None:
    for name in ("comparison.md", "README.md"):
        text = (folder / name).read_text()
        others = OF_OTHER_RUNS.get(folder.name, [])
        assert [one for one in unknown(text, [folder]) if one not in others] == [], name
    assert len(stated((folder / "comparison.md").read_text())) > 1


def test_the_findings_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    findings = text[text.index("## What was found so far") : text.index("## Terms")]
    folders = [ROOT / "results" / name for name in STATED_IN_README]
    assert unknown(findings, folders) == []
    assert len(stated(findings)) >= 4
    assert unknown(findings.replace("[0.51 to 0.86]", "[0.51 to 0.87]"), folders) == [("0.68", "0.51", "0.87")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_of_the_docs(page: Path) -> None:
    others = OF_EXAMPLES.get(page.name, [])
    assert [one for one in unknown(page.read_text(), STUDIES) if one not in others] == []


def test_the_docs_state_differences() -> None:
    assert sum(len(stated(page.read_text())) for page in PAGES) > 25


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("by 0.68 in\nnormalised score at 80 % [90 % interval 0.46 to 0.92], and", ("0.68", "0.46", "0.92")),
        ("by 1,084 \\[90 % interval 820 to 1,348\\] in return", ("1,084", "820", "1,348")),
        ("= \N{MINUS SIGN}0.37 (90 % interval \N{MINUS SIGN}0.96 to +0.19) in", ("-0.37", "-0.96", "+0.19")),
        ("taylor-95 \N{MINUS SIGN}124 \\[\N{MINUS SIGN}313 to +64\\] in return", ("-124", "-313", "+64")),
    ],
)
def test_how_a_difference_is_written(text: str, found: tuple[str, ...]) -> None:
    assert stated(text) == [found]
