"""Studies compared, in the terminal and on the page."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlottery.analysis.mask_analysis import ArmMasks, MaskAnalysis
from rlottery.config import Config, config_to_dict
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.study_comparison import (
    COMPARISON_PAGE,
    StudyComparison,
    compare_contents,
    render_comparison,
    write_comparison,
)
from rlottery.storage.paths import Store
from tests.analysis.stores import config, returns, write_run

LONG = "InvertedDoublePendulum-v5"
ARMS = ("dense", "magnitude-80", "taylor-95-erk-from-step-100")


def study(
    folder: Path, name: str, seeds: int = 5, tasks: tuple[str, ...] = (LONG, "Reacher-v5"), **changes: Any
) -> Contents:
    settings = config(tasks, range(seeds))
    plain = config_to_dict(settings)
    for key, value in {"name": name, **changes}.items():
        plain[key] = {**plain[key], **value} if isinstance(value, dict) else value
    settings = Config.model_validate(plain)
    store = Store(folder / name)
    for task in tasks:
        for seed in range(seeds):
            for place, arm in enumerate(ARMS):
                score = 9000.0 - 100 * place + 7 * seed + 31 * (seed % 2)
                write_run(store, arm, seed, returns(50.0, score, score, score), task=task)
    return collect(store, settings)


def shown(of: StudyComparison, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(render_comparison(of))
    text = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    return text


def words(text: str) -> str:
    return " ".join(text.split())


def rows(of: StudyComparison, folder: Path) -> list[dict[str, str]]:
    write_comparison(of, folder)
    return list(csv.DictReader((folder / "differences.csv").read_text().splitlines()))


@pytest.fixture
def differing(tmp_path: Path) -> StudyComparison:
    """A study of 300 steps and 5 seeds, and one of 200 steps, another interval and 2 seeds."""
    other = study(
        tmp_path, "tiny", seeds=2, training={"env_steps": 200, "warmup_steps": 5}, evaluation={"interval": 50}
    )
    return compare_contents([study(tmp_path, "reference"), other])


class TestSettings:
    def test_they_come_first(self, differing: StudyComparison, tmp_path: Path) -> None:
        write_comparison(differing, tmp_path / "to")
        page = (tmp_path / "to" / COMPARISON_PAGE).read_text()
        for text, table in ((shown(differing, 100), "Arm "), (page, "table-verdicts")):
            first = text.index("These studies differ in 3 settings.")
            keys = [text.index(key) for key in ("training.env_steps", "training.warmup_steps", "evaluation.interval")]
            assert first < min(keys) and max(keys) < text.index("Nothing is decided") and max(keys) < text.index(table)
        assert "training.env_steps every task 300 200" in words(shown(differing, 100))
        assert "may come from all of them together" in page and "may come from all of them together" in words(
            shown(differing, 100)
        )

    def test_they_have_a_table_of_their_own(self, differing: StudyComparison, tmp_path: Path) -> None:
        write_comparison(differing, tmp_path / "to")
        first, *_ = csv.DictReader((tmp_path / "to" / "settings.csv").read_text().splitlines())
        assert first == {"setting": "training.env_steps", "of": "", "value_reference": "300", "value_tiny": "200"}

    def test_where_nothing_differs_it_says_so(self, differing: StudyComparison, tmp_path: Path) -> None:
        write_comparison(differing, tmp_path / "to")
        same = compare_contents([study(tmp_path, "one"), study(tmp_path, "two")])
        written = write_comparison(same, tmp_path / "to")
        for text in (shown(same, 100), (tmp_path / "to" / COMPARISON_PAGE).read_text()):
            assert "No setting of training, networks, evaluation, verdict or arms differs" in words(text)
            assert "different steps" not in text
        # Nor is the table there that an earlier comparison left.
        assert {path.name for path in written} == {
            path.name for path in (tmp_path / "to").glob("[!.]*") if path.name != "compare_files.json"
        }
        assert not (tmp_path / "to" / "settings.csv").exists()

    def test_the_verdict_s_alone(self, tmp_path: Path) -> None:
        of = compare_contents([study(tmp_path, "one"), study(tmp_path, "two", verdict={"margin": 0.2})])
        assert "in 1 setting, all of the verdict: their runs were made with the same settings" in words(shown(of, 80))
        assert {row["differ"] for row in rows(of, tmp_path / "to")} == {""}

    def test_rows_trained_otherwise_are_marked(self, tmp_path: Path) -> None:
        tasks = [LONG, {"id": "Reacher-v5", "training": {"env_steps": 200}}]
        of = compare_contents([study(tmp_path, "one"), study(tmp_path, "two", tasks=(LONG, "Reacher-v5"))])
        assert {row.cells[3].text for row in of.differences.rows} == {"same"}
        longer = study(tmp_path, "three", sac={"discount": 0.9})
        settings = Config.model_validate({**longer.config, "tasks": tasks})
        of = compare_contents([study(tmp_path, "one"), collect(Store(tmp_path / "three"), settings)])
        marks = {(row.cells[0].text, row.cells[3].text) for row in of.differences.rows}
        assert marks == {(LONG, "different settings"), ("Reacher-v5", "different steps and settings")}
        assert {row["task"]: row["differ"] for row in rows(of, tmp_path / "to")} == {
            LONG: "sac.discount",
            "Reacher-v5": "training.env_steps; sac.discount",
        }
        assert f"{LONG} one, three: different settings in every row" in words(shown(of, 80))

    def test_a_key_counts_once_and_zero_has_no_sign(self, tmp_path: Path) -> None:
        three = [
            study(tmp_path, "one"),
            study(tmp_path, "two", tasks=(LONG,)),
            study(tmp_path, "three", sac={"discount": 0.9}, network={"actor": [64]}),
        ]
        text = words(shown(compare_contents(three), 100))
        assert "These studies differ in 2 settings." in text and "\N{MINUS SIGN}0 " not in text
        assert "network.actor every task 256, 256 256, 256 64" in text
        assert "sac.discount Reacher-v5 0.99 \N{EN DASH} 0.9" in text

    def test_critics_that_share_a_budget_are_marked(self, tmp_path: Path) -> None:
        one, two = study(tmp_path, "one"), study(tmp_path, "two")
        mask = ArmMasks(LONG, "magnitude-80", (0,), (), (), None, {}, shares_budget=True)
        of = compare_contents([replace(one, masks=MaskAnalysis((mask,), (), ())), two])
        text = words(shown(of, 140))
        assert "arms.twins magnitude-80, taylor-95-erk-from-step-100 shared default" in text
        assert "by default each has its own" in text
        assert {row["arm"] for row in rows(of, tmp_path / "to") if row["differ"] == "arms.twins"} == set(ARMS[1:])

    def test_an_arm_that_is_made_differently_is_marked_alone(self, tmp_path: Path) -> None:
        one, two = study(tmp_path, "one"), study(tmp_path, "two")
        for seed in range(5):
            write_run(
                Store(tmp_path / "two"),
                "magnitude-80",
                seed,
                returns(50.0, 1.0, 1.0, 1.0),
                task=LONG,
                recipe={"allocation": "erk"},
            )
        of = compare_contents([one, collect(Store(tmp_path / "two"), Config.model_validate(two.config))])
        text = words(shown(of, 140))
        assert "arms.allocation magnitude-80 default erk" in text
        marked = [(row.cells[0].text, row.cells[1].text) for row in of.differences.rows if row.cells[3].text != "same"]
        assert marked == [(LONG, "magnitude-80")]
        assert "different recipe" in text and "in every row" not in text


class TestTooFewSeeds:
    def test_the_difference_and_n_alone(self, differing: StudyComparison, tmp_path: Path) -> None:
        for row in rows(differing, tmp_path / "to"):
            assert (row["n_one"], row["n_other"], row["least_n"]) == ("5", "2", "5")
            assert row["difference"] and not any(row[key] for key in ("low", "high", "p", "p_holm"))
        page = (tmp_path / "to" / COMPARISON_PAGE).read_text()
        assert page.count("<td>too few seeds</td>") == len(differing.differences.rows)
        for width in (40, 60, 100):
            assert words(shown(differing, width)).count("too few seeds") == len(differing.differences.rows)

    def test_enough(self, tmp_path: Path) -> None:
        of = compare_contents([study(tmp_path, "one"), study(tmp_path, "two")])
        assert all(row["p"] and row["low"] for row in rows(of, tmp_path / "to"))
        assert "too few seeds" not in shown(of, 100).lower()


class TestTerminal:
    @pytest.mark.parametrize("width", [30, 40, 50, 60, 70, 80, 90, 100, 120, 160])
    def test_names_never_break(self, differing: StudyComparison, width: int) -> None:
        text = shown(differing, width)
        for name in (LONG, "Reacher-v5", *ARMS, "training.warmup_steps"):
            assert name in text
        # A broken name leaves a part of itself at a line's start.
        assert not any(line.startswith(("ublePendul", "um-v5", "-v5", "-80", "-95")) for line in text.splitlines())

    def test_tasks_are_headings(self, differing: StudyComparison) -> None:
        lines = [line.strip() for line in shown(differing, 80).splitlines()]
        assert lines.count(LONG) == lines.count("Reacher-v5") == 1
        assert not any(LONG in line for line in lines[lines.index(LONG) + 1 :] if line.startswith(ARMS))

    def test_columns_give_way_before_names_do(self, differing: StudyComparison) -> None:
        wide, narrow = shown(differing, 120), shown(differing, 70)
        assert "Means" in wide and "Holm p" in wide and "Over random" in wide
        assert "Means" not in narrow and "Holm p" in narrow and "Difference" in narrow

    def test_a_study_may_be_called_as_a_column(self, tmp_path: Path) -> None:
        of = compare_contents([study(tmp_path, "Why"), study(tmp_path, "p", training={"env_steps": 200})])
        assert "training.env_steps every task 300 200" in words(shown(of, 60))
