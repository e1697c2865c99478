from pathlib import Path

from rlottery.analysis.runs import metric_of, read_runs
from rlottery.storage.paths import Store
from tests.analysis.stores import returns, success, write_run


def test_an_evaluation_without_success_counts_as_none_if_others_report_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    silent, *reported = success(0.0, 0.5, 1.0)
    del silent["success"]
    write_run(store, "dense", 0, [silent, *reported])
    write_run(store, "magnitude-80", 0, returns(-2.0, -2.0, -2.0))
    dense, ticket = read_runs(store, "reach-v3", [0])
    assert metric_of([dense, ticket]) == "success"
    assert [evaluation.scores["success"] for evaluation in dense.evaluations] == [0.0, 0.5, 1.0]
    assert [evaluation.scores["success"] for evaluation in ticket.evaluations] == [0.0, 0.0, 0.0]


def test_a_task_that_never_reports_success_is_scored_by_returns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, returns(-2.0, -1.0))
    assert metric_of(read_runs(store, "reach-v3", [0])) == "return"
