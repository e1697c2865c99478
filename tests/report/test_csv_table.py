import csv
import io
import json
from pathlib import Path

from rlottery.analysis.comparison import compare
from rlottery.report.csv_table import to_csv
from rlottery.storage.paths import Store
from tests.analysis.stores import config, success, write_run


def test_a_line_for_every_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, success(0.0, 1.0, 0.5, 1.0))
    write_run(store, "magnitude-80", 0, success(0.0, 0.5, 0.25, 0.75), sparsity={"actor": 0.9, "critic": 0.5})
    write_run(store, "magnitude-80", 1, success(0.0), error='"no", it said')
    rows = list(csv.DictReader(io.StringIO(to_csv(compare(store, config(score_evaluations=2))))))
    told = [(row["arm"], row["seed"], row["status"], row["score"]) for row in rows]
    assert told == [
        ("dense", "0", "done", "0.75"),
        ("dense", "1", "missing", ""),
        ("magnitude-80", "0", "done", "0.5"),
        ("magnitude-80", "1", "failed", ""),
    ]
    assert {row["task"] for row in rows} == {"reach-v3"}
    assert {row["metric"] for row in rows} == {"success"}
    assert [(row["criterion"], row["sparsity_actor"], row["sparsity_critic"]) for row in rows[1:3]] == [
        ("", "", ""),
        ("magnitude", "0.9", "0.5"),
    ]


def test_the_recipe_tells_arms_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(
        store, "inverted-80", 0, success(0.0, 0.5, 0.25, 0.75), recipe={"control": "inverted", "of": {"floor": 2}}
    )
    (row,) = csv.DictReader(io.StringIO(to_csv(compare(store, config(seeds=(0,))))))
    assert json.loads(row["recipe"]) == {"control": "inverted", "of": {"floor": 2}}
