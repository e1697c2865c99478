import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.study.resources import disk_space
from rlottery.study.resources.disk_space import check_room, disk_use, group_weights, kept_bytes, size, working_bytes
from tests.study.studies import job, tiny_config

# 3 observations, 1 action, actor 3-2-2 (mean and log-std), critics 4-5-1:
# 3*2 + 2*2 = 10 weights in the actor, 4*5 + 5*1 = 25 in either critic.
SMALL = ("network.actor=[2]", "network.critic=[5]", "sac.batch_size=7")
SPEC = Spec(3, 1)
AGENT = 4 * (3 * 10 + 4 * 50)
"""Weights and two moments, and the target critics."""
METRICS = 2 * 300
REPLAY = 300 * 4 * (3 + 1 + 1 + 3 + 1)


@pytest.fixture
def small(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, *SMALL)


def test_weights(small: Config) -> None:
    assert group_weights(small, small.tasks[0], SPEC) == {"actor": 10, "critic": 2 * 25}


def test_bytes_that_runs_leave(small: Config) -> None:
    initial = 4 * 60
    assert kept_bytes(job(small, "dense"), SPEC) == AGENT + initial + REPLAY + METRICS
    assert kept_bytes(job(small, "ticket"), SPEC) == AGENT + METRICS


def test_a_mask_takes_a_byte_a_weight_twice(small: Config) -> None:
    assert kept_bytes(job(small, "mask"), SPEC) == 2 * 60


def test_a_replay_that_is_smaller_or_not_kept(tmp_path: Path) -> None:
    def of(*overrides: str) -> float:
        return kept_bytes(job(tiny_config(tmp_path, *SMALL, *overrides), "dense"), SPEC)

    assert of() - of("training.replay_capacity=100") == 200 * 36
    assert of("training.replay_capacity=9999") == of()
    assert of() - of("keep_replay=false") == REPLAY


def test_checkpoints_need_room_while_a_run_is_under_way(tmp_path: Path, small: Config) -> None:
    assert working_bytes(job(small, "ticket"), SPEC) == 3 * AGENT + REPLAY
    assert working_bytes(job(small, "mask"), SPEC) == 0
    passing = tiny_config(tmp_path, *SMALL, "keep_replay=false")
    assert working_bytes(job(passing, "dense"), SPEC) == 3 * AGENT + 2 * REPLAY


def test_a_study_needs_what_its_jobs_leave_and_what_its_workers_need_at_once(small: Config) -> None:
    jobs = [job(small, stage, seed=seed) for stage in ("dense", "mask", "ticket") for seed in (0, 1, 2)]
    found = disk_use(jobs, [SPEC], at_once=2)
    assert found.kept == sum(kept_bytes(each, SPEC) for each in jobs)
    assert found.working == 2 * (3 * AGENT + REPLAY)
    assert disk_use([], [SPEC], at_once=2) == (0, 0)


class Usage(NamedTuple):
    free: int


def test_a_disk_that_is_too_small_is_told_of_before_anything_starts(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (asked.append(path), Usage(10_000))[1])
    monkeypatch.setattr(disk_space, "task_spec", lambda task: SPEC)
    words = (
        r"needs about .* kB of disk space, but .* has only 10\.0 kB free\. "
        r".* data=FOLDER, or set keep_replay: false"
    )
    with pytest.raises(StudyError, match=words):
        check_room(small, [job(small, "dense")], 1)
    assert asked[0] == small.data.parent  # the data folder itself is not there yet
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10_000_000))
    check_room(small, [job(small, "dense")], 1)


def test_what_is_there_already_is_not_asked_for_again(small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = job(small, "dense")
    needed = sum(disk_use([dense], [SPEC], 1))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(int(needed) - 1000))
    monkeypatch.setattr(disk_space, "task_spec", lambda task: SPEC)
    with pytest.raises(StudyError, match="needs about"):
        check_room(small, [dense], 1)
    dense.files.checkpoint.mkdir(parents=True)
    (dense.files.checkpoint / "replay").write_bytes(bytes(2000))
    check_room(small, [dense], 1)


def test_files_that_another_command_deletes_meanwhile_are_no_error(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = os.stat, job(small, "dense").files.checkpoint
    folder.mkdir(parents=True)
    for name in ("gone", "going", "stays"):
        (folder / name).write_bytes(bytes(10))

    def delete(path: Any, **options: Any) -> os.stat_result:
        name = path.name if isinstance(path, Path) else ""
        if name == "gone":
            path.unlink()
        try:
            return real(path, **options)
        finally:
            if name == "going":
                path.unlink()

    monkeypatch.setattr(os, "stat", delete)
    monkeypatch.setattr(disk_space, "task_spec", lambda task: SPEC)
    check_room(small, [job(small, "dense")], 1)
    assert [path.name for path in folder.iterdir()] == ["stays"]


def test_sizes_as_a_person_says_them() -> None:
    assert [size(number) for number in (8_192, 100_000, 12_340_000, 1_000_000_000)] == [
        "8.2 kB",
        "0.1 MB",
        "12.3 MB",
        "1.0 GB",
    ]
