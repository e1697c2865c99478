import contextlib
import errno
import os
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlottery.storage.disk import FULL
from rlottery.storage.manifests import read_manifest, write_manifest
from rlottery.storage.paths import Store
from rlottery.storage.work_place import WorkPlace
from rlottery.study.execution import cores, executor, local
from rlottery.study.execution.executor import Executor, worker_count
from rlottery.study.execution.local import LocalBackend
from rlottery.study.planning.done import is_done
from rlottery.study.planning.jobs import Job, Key, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.execution import fake_worker
from tests.study.execution.fake_worker import (
    ANOTHER,
    FULL_DISK,
    GOOD,
    KILLED,
    KILLED_ONCE,
    LATE,
    LEAVES,
    LEAVES_OTHERS,
    MUTE,
    NEVER_STARTS,
    OBEDIENT,
    OTHER,
    RAISES,
    REFUSES,
    SILENT,
    SLOW,
    STUBBORN,
    TALKS,
)
from tests.study.studies import job, tiny_config, write_dense, write_study
from tests.waiting import is_alive, wait_until_dead


@pytest.fixture(autouse=True)
def _fast_and_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WORKER_COMMAND", (sys.executable, fake_worker.__file__))
    monkeypatch.setattr(local, "forks_work", lambda: False)
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(executor, "is_done", lambda job, pending=(): has_ended(job) or is_done(job, pending))


def has_ended(job: Job, pending: Collection[Key] = ()) -> bool:
    """Whether a fake worker has come to the end of the job. It writes no other files."""
    order = job.config.data / "order.txt"
    return order.exists() and f"{job.stage} {job.seed} end" in order.read_text().splitlines()


def plan(folder: Path, *seeds: int, stages: tuple[str, ...] = ("dense",)) -> list[Tracked]:
    """Jobs that are all to do; masks and tickets need no inputs here."""
    config = tiny_config(folder, f"seeds={list(seeds)}")
    config.data.mkdir()
    arm = job(config, "mask").arm
    return [Tracked(planned) for planned in list_jobs(config, [arm], stages)]


def run(tracked: list[Tracked], workers: int = 2) -> list[JobState]:
    Executor(tracked, workers).run()
    return [t.state for t in tracked]


def order(tracked: list[Tracked]) -> list[str]:
    return (tracked[0].job.config.data / "order.txt").read_text().splitlines()


@pytest.fixture
def _inputs_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "is_done", has_ended)


def test_every_job_is_done(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, TALKS, OTHER, ANOTHER)
    assert run(tracked) == [JobState.DONE] * 4
    assert all(t.seconds > 0 and not t.message for t in tracked)


BEFORE = "before the job was finished: the environment, a criterion or a library has ended the process"


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        (RAISES, f"the worker ended with exit code 1 {BEFORE}"),
        (LEAVES, f"the worker ended with exit code 0 {BEFORE}"),
        (REFUSES, "The mend\nin two lines."),
        (
            KILLED,
            "the worker was killed by SIGKILL (out of memory?) twice. To use less memory, run fewer workers: workers=1",
        ),
        (SILENT, f"the worker ended with exit code 3 {BEFORE}"),
    ],
)
def test_a_failure_is_told_with_its_log_and_stops_no_other(tmp_path: Path, seed: int, said: str) -> None:
    tracked = plan(tmp_path, seed, GOOD, OTHER)
    assert run(tracked, workers=1) == [JobState.FAILED, JobState.DONE, JobState.DONE]
    assert tracked[0].message == f"{said}\nlog: {tracked[0].job.files.log('dense')}"
    manifest = read_manifest(tracked[0].job.files)
    if seed in (RAISES, LEAVES, SILENT):  # the worker says nothing, and is not killed from outside
        assert manifest is not None and (manifest["status"], manifest["error"]) == ("failed", tracked[0].message)
    else:
        assert manifest is None


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_failure_is_recorded_by_the_process_that_has_the_run(tmp_path: Path, is_lost: bool) -> None:
    tracked = plan(tmp_path, SILENT)
    files = tracked[0].job.files
    wait = tracked[0].job.config.data / "wait"
    with WorkPlace(Store(tracked[0].job.config.data)) as place:
        place.enter([files])
        wait.touch()

        def lose() -> bool:
            if tracked[0].state is JobState.RUNNING and wait.exists():
                if is_lost:  # another machine takes the run over
                    newest = max(files.lock.parent.glob("dense.lock.*"))
                    newest.rename(newest.with_suffix(f".{int(newest.suffix[1:]) + 1:09}"))
                wait.unlink()
            return False

        Executor(tracked, 1, stop_wanted=lose, backend=LocalBackend(place)).run()
        assert tracked[0].state is JobState.FAILED
        assert files.manifest.exists() is not is_lost


def test_a_worker_that_never_starts_says_nothing_about_the_run(tmp_path: Path) -> None:
    tracked = plan(tmp_path, NEVER_STARTS, GOOD)
    assert run(tracked) == [JobState.FAILED, JobState.DONE]
    assert tracked[0].message.startswith(
        "the worker ended with exit code 1 before it could start the run: ModuleNotFoundError: No module named "
        "'rlottery'. Repair the installation"
    )
    assert read_manifest(tracked[0].job.files) is None


def test_python_that_is_missing_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(local, "WORKER_COMMAND", (sys.executable,))
    tracked = plan(tmp_path, GOOD)
    assert run(tracked) == [JobState.FAILED]
    assert tracked[0].message.startswith("Python can't be started: /nowhere/python: No such file or directory. If its")
    assert read_manifest(tracked[0].job.files) is None


@pytest.mark.parametrize(("number", "fix"), [(errno.EROFS, "is read-only: mount it"), (errno.EACCES, "Change who may")])
def test_a_log_that_cannot_be_opened_is_told_in_words(
    number: int, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = plan(tmp_path, GOOD)

    def refuse(job: Job) -> None:
        raise OSError(number, os.strerror(number), str(job.log))

    monkeypatch.setattr(executor.endings, "begin_log", refuse)
    assert run(tracked) == [JobState.FAILED]
    folder = tracked[0].job.files.folder
    assert tracked[0].message.startswith(f"{folder} can't be written: {os.strerror(number)}. ")
    assert fix in tracked[0].message and tracked[0].message.endswith("Then run this command again.")


@pytest.mark.usefixtures("_inputs_are_there")
def test_what_depends_on_a_failure_is_not_run(tmp_path: Path) -> None:
    tracked = plan(tmp_path, RAISES, GOOD, stages=("dense", "mask", "ticket"))
    run(tracked)
    states = {t.job.label: (t.state, t.message) for t in tracked if t.job.seed == RAISES}
    dense = "Pendulum-v1 seed 1 dense"
    assert states[dense][0] is JobState.FAILED
    assert states["Pendulum-v1 seed 1 magnitude-80 mask"] == (JobState.SKIPPED, f"{dense} failed")
    assert states["Pendulum-v1 seed 1 magnitude-80"] == (JobState.SKIPPED, f"{dense} failed")
    assert {t.state for t in tracked if t.job.seed == GOOD} == {JobState.DONE}


@pytest.mark.usefixtures("_inputs_are_there")
def test_stages_follow_each_other(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, stages=("dense", "mask", "ticket"))
    run(tracked)
    assert [line.split()[0] + " " + line.split()[2] for line in order(tracked)] == [
        f"{stage} {what}" for stage in ("dense", "mask", "ticket") for what in ("start", "end")
    ]


def test_one_worker_does_one_job_at_a_time(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, TALKS, OTHER)
    run(tracked, workers=1)
    assert [line.split()[2] for line in order(tracked)] == ["start", "end"] * 3


def test_workers_have_cores_of_their_own_as_long_as_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_CLAIMS", f"{tmp_path.name}-{os.getpid()}")  # other tests have workers too
    monkeypatch.setattr(cores, "cpu_quota", lambda root: None)
    available = cores.available_cores()
    tracked = plan(tmp_path, *range(30, 32 + len(available)))
    tracked = [t for t in tracked if t.job.seed >= 30]
    run(tracked, workers=len(tracked))
    given = [line.rpartition(" ")[2] for line in order(tracked) if " core " in line]
    assert sorted(given) == sorted([*map(str, available), "None", "None"])


def test_a_job_that_was_done_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_study(config)
    tracked = [Tracked(job(config, "dense")), Tracked(job(config, "mask")), Tracked(job(config, "ticket"))]
    assert run(tracked) == [JobState.FOUND] * 3


def test_an_input_that_turns_out_unusable_fails_that_job_alone(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, f"seeds=[{GOOD}, {OTHER}]")
    for seed in config.seeds:
        write_dense(config, seed=seed)
    tracked = [Tracked(job(config, "ticket", seed=GOOD)), Tracked(job(config, "mask", seed=OTHER))]
    assert run(tracked) == [JobState.FAILED, JobState.DONE]
    assert tracked[0].message.startswith("Mask not found")


def test_a_folder_that_cannot_be_made_fails_that_job_alone(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, OTHER)
    blocked = tracked[0].job.files.folder.parent
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    assert run(tracked) == [JobState.FAILED, JobState.DONE]
    assert str(blocked) in tracked[0].message


def test_a_worker_that_was_killed_is_started_once_more(tmp_path: Path) -> None:
    tracked = plan(tmp_path, KILLED_ONCE, KILLED, OTHER)
    assert run(tracked) == [JobState.DONE, JobState.FAILED, JobState.DONE]
    starts = [line.split()[1] for line in order(tracked) if "start" in line]
    assert (starts.count(str(KILLED_ONCE)), starts.count(str(KILLED)), starts.count(str(OTHER))) == (2, 2, 1)
    assert tracked[0].message == ""


def test_a_full_disk_is_told_though_the_log_lacks_the_words(tmp_path: Path) -> None:
    tracked = plan(tmp_path, FULL_DISK)
    assert run(tracked) == [JobState.FAILED]
    assert tracked[0].message.startswith(f"No disk space is left for {tracked[0].job.files.folder}.")
    assert "Free some space, then run this command again" in tracked[0].message


def test_a_log_is_added_to_and_an_earlier_failure_is_not_told(tmp_path: Path) -> None:
    tracked = plan(tmp_path, SILENT)
    files = write_dense(tracked[0].job.config, seed=SILENT).files
    manifest = read_manifest(files)
    assert manifest is not None
    write_manifest(files, {**manifest, "status": "failed", "error": "an earlier failure"})
    log = files.log("dense")
    log.write_text("error: of an earlier start\n")
    run(tracked)
    assert "an earlier" not in tracked[0].message
    assert log.read_text().startswith("error: of an earlier start\n")


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    tracked = plan(tmp_path, LEAVES_OTHERS)
    assert run(tracked) == [JobState.DONE]
    for place in range(2):  # in the worker's session, and in one of its own
        wait_until_dead(int((tracked[0].job.config.data / f"left-{place}").read_text()))


class FullMachine(local.LocalBackend):
    """Starts one worker, and no other while that one runs; or none at all."""

    def __init__(self, most: int):
        super().__init__()
        self.most, self.started = most, list[local.LocalWorker]()

    def start(self, jobs: Mapping[int, Job]) -> local.LocalWorker:
        if sum(not worker.has_ended() for worker in self.started) >= self.most:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.started.append(super().start(jobs))
        return self.started[-1]


def test_a_machine_without_room_for_another_process_gets_fewer_workers(tmp_path: Path) -> None:
    tracked, said = plan(tmp_path, GOOD, OTHER, ANOTHER), set()
    changed = lambda: said.update(t.message for t in tracked)  # noqa: E731
    executor = Executor(tracked, 3, changed, backend=FullMachine(1))
    executor.run()
    assert [t.state for t in tracked] == [JobState.DONE] * 3 and executor.workers == 1
    why = "Another process can't be started: Resource temporarily unavailable; continuing with workers=1"
    assert said == {"", why}


def test_a_machine_without_room_for_any_process_is_told_in_words(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD)
    Executor(tracked, 3, backend=FullMachine(0)).run()
    assert tracked[0].state is JobState.FAILED
    assert tracked[0].message.startswith("Another process can't be started: Resource temporarily unavailable. ")
    assert "workers=1" in tracked[0].message


@pytest.mark.parametrize("number", FULL)
def test_a_disk_that_is_full_before_a_worker_starts_is_no_lack_of_processes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked, made = plan(tmp_path, GOOD, OTHER, ANOTHER), [0]
    temporary = local.tempfile.TemporaryFile

    def full(**options: Any) -> Any:
        made[0] += 1
        if made[0] == 2:
            raise OSError(number, os.strerror(number))
        return temporary(**options)

    monkeypatch.setattr(local.tempfile, "TemporaryFile", full)
    executor = Executor(tracked, 3)
    executor.run()
    assert [t.state for t in tracked] == [JobState.DONE, JobState.FAILED, JobState.DONE] and executor.workers == 3
    assert tracked[1].message.startswith(f"No disk space is left for {tracked[1].job.files.folder}.")


def test_a_disk_that_is_full_before_the_log_is_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(job: Job) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tracked = plan(tmp_path, GOOD)
    monkeypatch.setattr(executor.endings, "begin_log", full)
    assert run(tracked) == [JobState.FAILED]
    assert tracked[0].message.startswith("No disk space is left for ")


def test_all_that_ended_are_told_of(tmp_path: Path) -> None:
    tracked, seen = plan(tmp_path, GOOD, RAISES, OTHER), []
    Executor(tracked, 2, ended=lambda item: seen.append(item.job.seed)).run()
    assert sorted(seen) == [GOOD, RAISES, OTHER]


@pytest.mark.usefixtures("_inputs_are_there")
def test_what_was_begun_is_finished_before_more_is_begun(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, OTHER, stages=("dense", "mask", "ticket"))
    run(tracked, workers=1)
    starts = [line.split()[:2] for line in order(tracked) if "start" in line]
    assert starts == [[stage, str(seed)] for seed in (GOOD, OTHER) for stage in ("dense", "mask", "ticket")]


@pytest.mark.parametrize(("seed", "state"), [(OBEDIENT, JobState.STOPPED), (STUBBORN, JobState.STOPPED)])
def test_a_stop_lets_workers_save_and_starts_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, state: JobState
) -> None:
    monkeypatch.setattr(executor, "GRACE_SECONDS", 5.0 if seed == OBEDIENT else 0.5)
    tracked = plan(tmp_path, seed, OTHER)
    data = tracked[0].job.config.data
    Executor(tracked, 1, stop_wanted=lambda: (data / f"ready-{seed}").exists()).run()
    assert [t.state for t in tracked] == [state, JobState.SKIPPED]
    assert (data / "saved").exists() == (seed == OBEDIENT)
    (started,) = [line for line in order(tracked) if "start" in line]
    assert not is_alive(int(started.split()[3]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_dies_while_it_is_to_stop_was_stopped(tmp_path: Path, number: int) -> None:
    tracked = plan(tmp_path, SLOW, OTHER)
    data = tracked[0].job.config.data

    def stop_wanted() -> bool:
        if not (data / f"ready-{SLOW}").exists():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(order(tracked)[0].split()[3]), number)
        return True

    Executor(tracked, 1, stop_wanted=stop_wanted).run()
    assert [t.state for t in tracked] == [JobState.STOPPED, JobState.SKIPPED]


@pytest.mark.parametrize(("seed", "interrupts"), [(LATE, False), (MUTE, False), (MUTE, True)])
def test_a_run_whose_files_are_all_there_is_done_however_its_worker_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, interrupts: bool
) -> None:
    monkeypatch.setattr(executor, "GRACE_SECONDS", 5.0 if seed == LATE else 0.1)
    tracked = plan(tmp_path, seed, OTHER)
    is_ready = (tracked[0].job.config.data / f"ready-{seed}").exists

    def interrupt() -> None:
        if interrupts and is_ready():
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        Executor(tracked, 1, changed=interrupt, stop_wanted=lambda: is_ready() and not interrupts).run()
    assert (tracked[0].state, tracked[0].message) == (JobState.DONE, "")
    assert tracked[1].state is (JobState.WAITING if interrupts else JobState.SKIPPED)


@pytest.mark.parametrize("seed", [SLOW, STUBBORN])
def test_an_interrupt_ends_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(executor, "GRACE_SECONDS", 0.5)
    tracked = plan(tmp_path, seed, OTHER)
    data = tracked[0].job.config.data

    def interrupt() -> None:
        if (data / f"ready-{seed}").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Executor(tracked, 1, changed=interrupt).run()
    assert not (data / "saved").exists()
    (started,) = [line for line in order(tracked) if "start" in line]
    assert not is_alive(int(started.split()[3]))
    assert (tracked[0].state, tracked[0].message) == (JobState.STOPPED, "It restarts from the beginning.")
    assert tracked[1].state is JobState.WAITING


def run_together(tracked: list[Tracked], workers: int = 1) -> list[JobState]:
    Executor(tracked, workers, together=16).run()
    return [t.state for t in tracked]


def starts(tracked: list[Tracked]) -> dict[str, list[str]]:
    """Seeds by the process that did them, in order."""
    found: dict[str, list[str]] = {}
    for line in order(tracked):
        _, seed, what, *rest = line.split()
        if what == "start":
            found.setdefault(rest[0], []).append(seed)
    return found


def test_one_worker_does_many_jobs_and_each_has_its_own_end(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, REFUSES, FULL_DISK, OTHER)
    assert run_together(tracked) == [JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE]
    assert list(starts(tracked).values()) == [[str(seed) for seed in (GOOD, REFUSES, FULL_DISK, OTHER)]]
    assert tracked[2].message.startswith(f"No disk space is left for {tracked[2].job.files.folder}.")
    assert "core None" in order(tracked)[0]
    assert all(t.job.files.log("dense").exists() for t in tracked)


def test_the_end_of_a_job_is_told_while_its_worker_does_others(tmp_path: Path) -> None:
    tracked, seen = plan(tmp_path, GOOD, OBEDIENT), []

    def stop_wanted() -> bool:
        seen.append([t.state for t in tracked])
        return tracked[0].state is JobState.DONE and (tracked[0].job.config.data / f"ready-{OBEDIENT}").exists()

    Executor(tracked, 1, stop_wanted=stop_wanted, together=16).run()
    assert [JobState.DONE, JobState.RUNNING] in seen
    assert [t.state for t in tracked] == [JobState.DONE, JobState.STOPPED]


def test_what_a_killed_worker_had_not_ended_is_begun_once_more(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, KILLED_ONCE, OTHER)
    assert run_together(tracked) == [JobState.DONE] * 3
    assert sorted(starts(tracked).values()) == sorted([["0", "8"], ["8", "20"]])


def test_what_is_killed_twice_fails_with_all_that_it_was_with(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, KILLED, OTHER)
    assert run_together(tracked) == [JobState.DONE, JobState.FAILED, JobState.FAILED]
    assert "twice. To use less memory, run fewer workers: workers=1, and set RLOTTERY_TOGETHER=0" in tracked[1].message


def test_a_crash_is_every_jobs_that_had_not_ended(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, RAISES, OTHER)
    assert run_together(tracked) == [JobState.DONE, JobState.FAILED, JobState.FAILED]
    assert "ended with exit code 1" in tracked[2].message
    # Of the first, what was the worker's own.
    assert "ValueError: boom" in tracked[0].job.files.log("dense").read_text()


def test_one_whose_folder_cannot_be_made_keeps_no_other(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, OTHER, ANOTHER)
    blocked = tracked[1].job.files.folder.parent
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    assert run_together(tracked) == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert list(starts(tracked).values()) == [[str(GOOD), str(ANOTHER)]]


@pytest.mark.usefixtures("_inputs_are_there")
def test_tickets_wait_until_all_masks_are_made(tmp_path: Path) -> None:
    tracked = plan(tmp_path, GOOD, OTHER, stages=("dense", "mask", "ticket"))
    assert run_together(tracked, workers=2) == [JobState.DONE] * 6
    stages = [line.split()[0] for line in order(tracked) if "start" in line]
    assert stages == ["dense"] * 2 + ["mask"] * 2 + ["ticket"] * 2


def test_workers_are_never_more_than_jobs_or_than_asked_for() -> None:
    assert worker_count("auto", 100) == cores.usable_cores().number
    assert (worker_count("auto", 1), worker_count(3, 100), worker_count(3, 2), worker_count(3, 0)) == (1, 3, 2, 1)


def test_where_workers_train_many_runs_one_is_enough() -> None:
    assert (worker_count("auto", 100, 16), worker_count(3, 100, 16), worker_count(3, 2, 16)) == (1, 3, 2)
