"""The benchmark of scale, at its smallest: what it makes is a study like any other."""

from pathlib import Path

import pytest

from benchmarks import scale
from rlottery.config import load_config
from rlottery.study.status import status_table
from rlottery.study.verify import examine
from tests.study.studies import shown

JOBS = 1 + 18 + 19 + 1
"""Of a seed: its dense agent, the masks of all arms but dense-again, the tickets; and the untrained policies."""


def test_every_command_reads_what_the_backend_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(scale.write_config(tmp_path, runs=scale.OF_ARMS, evaluations=5), [f"data={tmp_path / 'data'}"])
    monkeypatch.setattr("rlottery.study.execution.executor.POLL_SECONDS", 0.0)
    found = scale.run(config, scale.sizes_of(5), idle_seconds=0.0)
    assert found["jobs"] == JOBS and found["processor_seconds"] > 0 < found["most_mib"]
    assert scale.plan(config) == {"already done": JOBS}
    assert examine(config).problems == ()
    assert "20 of 20 runs done." in shown(status_table(config))


def test_a_study_on_a_played_cluster_is_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(scale.write_config(tmp_path, runs=scale.OF_ARMS, evaluations=5), [f"data={tmp_path / 'data'}"])
    monkeypatch.setattr("rlottery.study.execution.executor.POLL_SECONDS", 0.0)
    found = scale.run_on_cluster(config, scale.sizes_of(5))
    assert found["jobs"] == JOBS and found["processor_seconds"] > 0 < found["most_mib"]
    assert scale.plan(config) == {"already done": JOBS} and examine(config).problems == ()


def test_a_bar_is_met_by_all_its_numbers_or_missed() -> None:
    row = {"part": "status", "runs": "10000", "evaluations": "20", "seconds": "9.9", "most_mib": "500"}
    (bar,) = (bar for bar in scale.BARS if scale.is_about(bar, row))
    assert scale.judged(bar, row) == ("met: status of 10,000 runs: 9.9 of 10 s, 500 of 500 MiB", True)
    assert not scale.judged(bar, row | {"most_mib": "501"})[1] and not scale.judged(bar, row | {"seconds": "10.1"})[1]


def test_files_without_the_executor_are_the_same_study(tmp_path: Path) -> None:
    config = load_config(scale.write_config(tmp_path, runs=scale.OF_ARMS, evaluations=5), [f"data={tmp_path / 'data'}"])
    scale.make_files(config, scale.sizes_of(5))
    assert scale.plan(config) == {"already done": JOBS}
