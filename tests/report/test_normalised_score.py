"""A half-done study has one normalised score per arm, and every output shows it."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlottery.analysis.digits import MINUS
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.files import write_report
from rlottery.report.notebook import load_study
from rlottery.report.summary import summarise
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from tests.analysis.stores import config, returns, write_run

TASK = "Pendulum-v1"


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: Any) -> dict[str, Any]:
    """The outputs of a study of five seeds whose ticket lacks the last, on which the dense agent is poor."""
    store = Store(tmp_path_factory.mktemp("study") / "data")
    settings = config([TASK], range(5)).model_copy(update={"data": store.root})
    for seed, score in enumerate((100.0, 100.0, 100.0, 100.0, 20.0)):
        write_run(store, "dense", seed, returns(0.0, score, score, score), task=TASK)
        if seed < 4:
            write_run(store, "magnitude-80", seed, returns(0.0, 90.0, 90.0, 90.0), task=TASK)
    note_command(settings, has_work=True)
    contents = collect(store, settings)
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(Closing(summarise(contents)))
    write_report(store.report, contents)
    return {
        "contents": contents,
        "terminal": console.file.getvalue(),  # type: ignore[attr-defined]
        "folder": store.report,
        "runs": load_study(store.root).runs,
    }


def rows(folder: Path, table: str) -> dict[str, dict[str, str]]:
    return {row["arm"]: row for row in csv.DictReader((folder / "tables" / f"{table}.csv").read_text().splitlines())}


def test_it_is_on_one_scale_from_all_dense_agents(half_done: dict[str, Any]) -> None:
    (scores,) = half_done["contents"].scores
    # (90 - 0) / (84 - 0), not (90 - 0) / (100 - 0) over the seeds that both arms have.
    assert scores.arm("magnitude-80").normalised == pytest.approx(dict.fromkeys(range(4), 90 / 84))
    assert scores.arm("magnitude-80").normalised_score == pytest.approx(90 / 84)
    assert scores.arm("dense").normalised_score == pytest.approx(1.0)


def test_terminal_and_markdown(half_done: dict[str, Any]) -> None:
    markdown = (half_done["folder"] / "comparison.md").read_text()
    for text in (half_done["terminal"], markdown):
        (line,) = [line for line in text.splitlines() if re.match(rf"(\| )?magnitude-80 (?!{MINUS})", line)]
        assert " 1.07 " in line
        assert " 0.90 " not in text


def test_tables(half_done: dict[str, Any]) -> None:
    assert float(rows(half_done["folder"], "verdicts")["magnitude-80"]["normalised"]) == pytest.approx(90 / 84)
    across = rows(half_done["folder"], "across_tasks")["magnitude-80"]
    assert [float(across[name]) for name in ("mean", "median", "iqm")] == pytest.approx([90 / 84] * 3)
    assert across["runs"] == "4"


def test_page(half_done: dict[str, Any]) -> None:
    page = (half_done["folder"] / "report.html").read_text()
    (verdict,) = re.findall(r'<tr data-task="Pendulum-v1".*?</tr>', page, re.S)
    assert ">1.07 [" in verdict


def test_data_frames(half_done: dict[str, Any]) -> None:
    runs = half_done["runs"]
    assert runs[runs["arm"] == "magnitude-80"]["normalised_score"].tolist() == pytest.approx([90 / 84] * 4)
    assert runs[runs["arm"] == "dense"]["normalised_score"].mean() == pytest.approx(1.0)
