"""What a node notes about its runs. `tests/test_slurm.py` and `tests/test_dask.py` run nodes on real clusters."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.storage import locks, work_place
from rlottery.storage.paths import Store
from rlottery.study.execution import node, sessions
from rlottery.study.execution.allocations import write_batch
from rlottery.study.planning.jobs import list_jobs
from rlottery.study.planning.tracked_runs import tracked_runs
from tests.study.studies import tiny_config
from tests.tracking.test_following import STAND_IN
from tests.tracking.test_sender import finish, write


@pytest.fixture
def _limit_reached_is_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {sessions.LIMIT_REACHED})
    yield
    signal.sigtimedwait({sessions.LIMIT_REACHED}, 0.0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("_limit_reached_is_blocked")
@pytest.mark.parametrize("is_limit", [False, True])
def test_only_a_stop_at_the_time_limit_counts_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_limit: bool
) -> None:
    """A job may be preempted often while its run starts."""
    config = tiny_config(tmp_path)
    [job] = list_jobs(config, [], ("dense",))
    store = Store(config.data)
    [allocation] = write_batch(store, [[job]], 1, "played")

    class Warned:
        def __init__(self, *arguments: object, **options: object): ...

        def run(self) -> None:
            for number in [sessions.LIMIT_REACHED] * is_limit + [signal.SIGTERM]:
                signal.raise_signal(number)

    monkeypatch.setattr(node, "Executor", Warned)
    assert not node.do_jobs(allocation, os.getppid())
    [session] = sessions._sessions(sessions._path(store, job.files))
    assert session.stopped is is_limit


def test_waiting_for_another_node_counts_as_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was given up may live on, and do its runs for hours. Meanwhile, others wait in vain."""
    config = tiny_config(tmp_path)
    [job] = list_jobs(config, [], ("dense",))
    store = Store(config.data)
    [allocation] = write_batch(store, [[job]], 1, "played")
    monkeypatch.setattr(node, "ENTER_SECONDS", 0.0)
    monkeypatch.setattr(work_place, "PATIENCE_SECONDS", 0.0)
    with locks.hold(job.files):
        assert not node.do_jobs(allocation, os.getppid())
    assert not sessions._sessions(sessions._path(store, job.files))


@pytest.mark.usefixtures("_limit_reached_is_blocked")
def test_a_node_sends_the_metrics_of_its_runs_to_the_trackers_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path, "tracking=trackio")
    [job] = list_jobs(config, [], ("dense",))
    [allocation] = write_batch(Store(config.data), [[job]], 1, "played")
    monkeypatch.setenv("STAND_IN_FILE", str(tmp_path / "sent"))
    monkeypatch.syspath_prepend(str(STAND_IN))

    class Trains:
        def __init__(self, *arguments: object, **options: object): ...

        def run(self) -> None:
            [run] = tracked_runs([job])
            write(run, range(3))
            finish(run)

    monkeypatch.setattr(node, "Executor", Trains)
    node.do_jobs(allocation, os.getppid())
    lines = [json.loads(line) for line in (tmp_path / "sent").read_text().splitlines()]
    assert [line["step"] for line in lines if "step" in line] == [0, 1, 2]
