"""What a study says before its work begins."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlottery.agents.kernels.library import Found
from rlottery.storage import work_place
from rlottery.storage.locks import RunLock, hold, holder_of, try_lock
from rlottery.storage.manifests import Manifest, read_manifest, write_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.work_place import WorkPlace
from rlottery.study import run
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.finished_runs import manifest_head
from rlottery.study.planning.jobs import OF_TASK, UNTRAINED, Job
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import job, tiny_config


@pytest.mark.parametrize(
    ("stage", "found", "device", "told"),
    [
        ("ticket", Found("", "no compiler", "run: uv sync"), "cpu", True),
        ("ticket", Found("", "no compiler", "run: uv sync"), "cuda", False),
        ("dense", Found("", "no compiler", "run: uv sync"), "cpu", False),
        ("ticket", Found("avx2", "the widest"), "cpu", False),
    ],
)
def test_that_tickets_do_without_kernels_is_said_once(
    stage: str, found: Found, device: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find", lambda: found)
    config, lines = tiny_config(tmp_path, f"device={device}"), []
    run._warn_without_kernels(config, [Tracked(job(config, stage, seed=seed)) for seed in range(3)], lines.append)
    assert len(lines) == told
    for line in lines:
        assert line.startswith(
            "The compiled kernels are off: no compiler. Tickets are trained on the masked dense path"
        )
        assert line.endswith("To turn the kernels on, run: uv sync")


def test_what_another_command_recorded_just_now_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = job(tiny_config(tmp_path), "dense")
    dense.files.replay.mkdir(parents=True)
    fingerprint = dense_fingerprint(dense.config, dense.task, dense.seed)
    for facts in ({"seconds": 7.0}, {"status": "failed"}):
        manifest: Manifest = {**manifest_head(dense, "done", fingerprint), "replay": "saved", "files": {}}
        write_manifest(dense.files, manifest)

        def lock_later(files: RunFiles, now: Any) -> RunLock | None:
            write_manifest(files, now)
            return try_lock(files)

        monkeypatch.setattr(run, "try_lock", partial(lock_later, now={**manifest, **facts}))
        run._release_replay([Tracked(dense, JobState.DONE)])
        found = read_manifest(dense.files)
        assert found is not None and facts.items() <= found.items()
        assert dense.files.replay.exists() == ("status" in facts)
        dense.files.replay.mkdir(exist_ok=True)


def test_that_each_worker_tests_the_kernels_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Found("avx2", "the widest", uncached="/home/me/.cache/rlottery can't be written: Read-only file system")
    monkeypatch.setattr(run, "find", lambda: found)
    lines: list[str] = []
    run._warn_without_kernels(tiny_config(tmp_path), [Tracked(job(tiny_config(tmp_path), "dense"))], lines.append)
    (line,) = lines
    assert "/home/me/.cache/rlottery can't be written: Read-only file system. Each worker tests them again" in line


def test_untrained_policies_that_another_command_evaluates_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_place, "PATIENCE_SECONDS", 0.0)
    config = tiny_config(tmp_path)
    dense, untrained = Tracked(job(config, "dense")), Tracked(Job(config, UNTRAINED, 0, OF_TASK))
    lines: list[str] = []
    with hold(untrained.job.files), WorkPlace(untrained.job.store) as place:
        assert run._enter(place, [dense, untrained], lines.append) == [dense]
    assert lines == ["Pendulum-v1 untrained policies: another command evaluates them."]
    with WorkPlace(untrained.job.store) as place:
        assert run._enter(place, [dense, untrained], lines.append) == [dense, untrained]
        assert holder_of(untrained.job.files) is not None
