"""Leases. `tests/two_hosts.py` has whole commands of two machines whose locks don't reach each other."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rlottery.errors import GoneError
from rlottery.storage import fence, heartbeat, lease, locks, temporary_files, work_place
from rlottery.storage.disk import write_bytes, write_folder
from rlottery.storage.heartbeat import Heartbeat, Host, Owner, Watch, this_owner
from rlottery.storage.lease import Lease, Standing, look, take
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.temporary_files import temporary_path
from rlottery.storage.work_place import WorkPlace, adopt
from tests.waiting import wait_for

FOREIGN = {"id": "f" * 32, "host": "node7", "boot": "another", "machine": "another", "job": "Slurm job 12"}


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    files = Store(tmp_path / "data").run("A-v0", 0, "dense")
    files.lock.parent.mkdir(parents=True)
    files.folder.mkdir(parents=True)
    return files


@pytest.fixture
def path(files: RunFiles) -> Path:
    return files.lock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the clock by which others are watched."""
    now = [0.0]
    for module in (lease, locks, work_place):
        monkeypatch.setattr(module, "WATCH", Watch(lambda: now[0]))
    return now


def leased_by(path: Path, token: int = 1, **changes: object) -> Path:
    """Another process has the lease. Returns its heartbeat."""
    owner = replace(this_owner(), **{**FOREIGN, **changes})
    beat = lease.beats_of(path) / owner.id
    beat.parent.mkdir(exist_ok=True)
    beat.write_text(json.dumps(asdict(owner)))
    os.utime(beat)
    os.link(beat, path.with_name(f"{path.name}.{token:09}"))
    return beat


def watch(path: Path, now: list[float], seconds: float, each: Callable[[], None] = lambda: None) -> Standing:
    """How the lease stands after some seconds of watching."""
    for _ in range(int(seconds)):
        now[0] += 1
        each()
        found = look(path).standing
    return found


def test_each_taking_has_the_next_number(path: Path) -> None:
    tokens = []
    for _ in range(5):
        taken = take(path)
        assert taken is not None and taken.is_newest() and not taken.has_successor() and taken.was_released
        tokens.append(taken.token)
        taken.release()
        assert look(path).standing is Standing.FREE
    assert tokens == [1, 2, 3, 4, 5]
    # Few names stay, and no heartbeat.
    assert len(list(path.parent.iterdir())) == 4 and not list(lease.beats_of(path).iterdir())


RACE = """
import pathlib, sys, time
from rlottery.storage import heartbeat, lease
here = heartbeat.Host(sys.argv[2], sys.argv[2], sys.argv[2])
heartbeat.this_host = lambda: here
print("ready", flush=True)
sys.stdin.readline()
print(*(n for n in range(40) if lease.take(pathlib.Path(sys.argv[1]) / f"{n}.lock")), flush=True)
sys.stdin.read()
"""


def test_of_takers_on_several_machines_one_gets_it(tmp_path: Path) -> None:
    folder = tmp_path / ".locks"
    folder.mkdir()
    arguments = [[sys.executable, "-c", RACE, str(folder), f"node{n}"] for n in range(3)]
    pipe = subprocess.PIPE
    takers = [subprocess.Popen(one, stdin=pipe, stdout=pipe, text=True) for one in arguments]
    got: list[str] = []
    for step in ("ready", "numbers"):
        for taker in takers:
            assert taker.stdout is not None and taker.stdin is not None
            line = taker.stdout.readline()
            got += line.split() if step == "numbers" else []
            if step == "ready" and taker is takers[-1]:
                for one in takers:
                    assert one.stdin is not None
                    one.stdin.write("go\n")
                    one.stdin.flush()
    for taker in takers:
        taker.communicate()
    assert sorted(map(int, got)) == list(range(40))


def test_a_process_elsewhere_keeps_its_lease_while_its_heartbeat_changes(path: Path, now: list[float]) -> None:
    beat, beats = leased_by(path), iter(range(10**9))
    assert look(path).standing is Standing.UNSURE and take(path) is None
    live = watch(path, now, 2 * heartbeat.STALE_SECONDS, lambda: os.utime(beat, ns=(0, next(beats))))
    assert live is Standing.HELD and take(path) is None
    assert watch(path, now, heartbeat.STALE_SECONDS - 2) is Standing.HELD
    assert watch(path, now, 2) is Standing.FREE
    taken = take(path)
    assert taken is not None and taken.token == 2 and not taken.was_released
    taken.release()


def test_who_watched_while_suspended_has_seen_nothing(path: Path, now: list[float]) -> None:
    leased_by(path)
    for _ in range(4):
        now[0] += 3600
        assert look(path).standing is Standing.UNSURE
    assert watch(path, now, 31) is Standing.FREE


def test_one_wait_is_enough_for_all_processes_that_have_died(tmp_path: Path, now: list[float]) -> None:
    paths = [tmp_path / ".locks" / f"{n}.lock" for n in range(3)]
    paths[0].parent.mkdir()
    for n, path in enumerate(paths):
        leased_by(path, id=f"{n:032x}")
    watch(paths[0], now, heartbeat.STALE_SECONDS + 1, lambda: lease.WATCH.look_at_all(lease.beats_of(paths[0])))
    assert [look(path).standing for path in paths] == [Standing.FREE] * 3


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for(path: Path, now: list[float]) -> None:
    here = asdict(this_owner())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        of_other = here | {"id": "e" * 32, "pid": other.pid, "started": heartbeat._started(other.pid)}
        leased_by(path, **of_other)
        assert look(path).standing is Standing.HELD and take(path) is None
        # Another process has its number by now, such as after a restart of the machine.
        leased_by(path, 2, **of_other | {"started": 1})
        assert look(path).standing is Standing.FREE
        leased_by(path, 3, **of_other)
        assert look(path).standing is Standing.HELD
        other.kill()
    assert look(path).standing is Standing.FREE
    leased_by(path, 4, **of_other | {"boot": "an earlier one"})  # the machine was started again
    assert (look(path).standing is Standing.FREE) == bool(here["machine"])
    # A container has other numbers. Its lock shows that it has ended: who looks holds that.
    leased_by(path, 5, **of_other | {"space": "another", "pid": os.getppid()})
    assert look(path).standing is Standing.FREE


def test_a_process_that_has_left_is_not_waited_for(path: Path) -> None:
    leased_by(path).unlink()
    taken = take(path)
    assert taken is not None and taken.token == 2
    taken.release()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": "../../x"}', b"{" * 5000, b"x" * 10_000])
def test_a_lease_of_any_content_is_taken_after_a_while(path: Path, content: bytes, now: list[float]) -> None:
    path.with_name(f"{path.name}.000000001").write_bytes(content)
    assert look(path).standing is Standing.UNSURE and look(path).owner is None
    assert watch(path, now, heartbeat.STALE_SECONDS + 1) is Standing.FREE


def test_names_that_are_no_leases_are_none(path: Path) -> None:
    for name in ("dense.lock.1", "dense.lock.0000000001", "dense.lock.00000000x", "dense.lock.000000003.free"):
        path.with_name(name).touch()
    taken = take(path)
    assert taken is not None and taken.token == 1
    taken.release()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_file_system_without_links_will_do(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    taken = take(path)
    assert taken is not None and taken.is_newest()
    found = look(path).owner
    assert found is not None and found.pid == os.getpid()
    taken.release()
    assert look(path).standing is Standing.FREE


def test_a_link_that_was_made_though_nfs_says_otherwise(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def answer_lost(*names: Path) -> None:
        link(*names)
        raise FileExistsError

    monkeypatch.setattr(os, "link", answer_lost)
    taken = take(path)
    assert taken is not None and taken.is_newest()
    taken.release()


def test_a_full_disk_leaves_no_lease_and_a_release_needs_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = take(path)
    assert taken is not None

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lease, "_touch", full)
    assert taken.is_newest()
    taken.release()
    assert look(path).standing is Standing.FREE
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        take(path)
    assert not list(lease.beats_of(path).iterdir()) and look(path).standing is Standing.FREE


def test_many_leases_have_one_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    folder = tmp_path / ".locks"
    folder.mkdir()
    taken = [take(folder / f"{n}.lock") for n in range(50)]
    (beat,) = (folder / lease.BEATS).iterdir()
    assert beat.stat().st_nlink == 51
    before = beat.stat().st_mtime_ns
    wait_for(lambda: beat.stat().st_mtime_ns != before)
    for one in taken:
        assert one is not None and beat.exists()
        one.release()
    assert not beat.exists()


def lose(files: RunFiles) -> None:
    """Another machine takes a run over, as `locks.try_lock` does."""
    leased_by(files.lock, max(lease._tokens(files.lock)) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporary_files, "_HOST", "0123abcd")
        temporary_files.revoke([files.folder])


def test_who_has_lost_a_run_puts_nothing_in_place(files: RunFiles) -> None:
    words = r"dense was taken over by process \d+ on node7 \(Slurm job 12\), since .* gave no sign of life for 120 sec"
    with locks.hold(files) as lock:
        write_bytes(files.agent, b"ours")
        write_folder(files.replay, lambda folder: None)
        lose(files)
        for write in (lock.check_intact, lock.check, lambda: write_bytes(files.agent, b"late")):
            with pytest.raises(GoneError, match=words):
                write()
        for folder in (files.replay, files.checkpoint):
            with pytest.raises(GoneError, match=words):
                write_folder(folder, lambda folder: (folder / "late").touch())
    assert files.agent.read_bytes() == b"ours" and not list(files.replay.iterdir()) and not files.checkpoint.exists()
    assert look(files.lock).standing is Standing.UNSURE  # what the other one has isn't released
    write_bytes(files.agent, b"no fence")


def test_who_is_suspended_just_before_a_file_gets_its_name_doesnt_give_it(files: RunFiles) -> None:
    def checked_and_suspended() -> None:
        fence.check_fence()
        if look(files.lock).owner == owner:
            lose(files)

    writes: list[Callable[[], None]] = [
        lambda: write_bytes(files.manifest, b"late"),
        lambda: write_folder(files.replay, lambda folder: (folder / "late").touch()),
    ]
    for write in writes:
        with locks.hold(files), pytest.MonkeyPatch.context() as patch:
            owner = look(files.lock).owner
            patch.setattr("rlottery.storage.disk.check_fence", checked_and_suspended)
            with pytest.raises(GoneError, match="was taken over by"):
                write()
        for name in files.lock.parent.glob("dense.lock.*"):
            name.unlink()
    assert not list(files.folder.iterdir())


def test_what_a_dead_process_left_half_written_is_removed_at_the_takeover(files: RunFiles) -> None:
    left = [files.folder / ".manifest.json.partial-1-0123abcd", files.aside.checkpoint / ".agent.partial-2-0123abcd"]
    kept = [files.agent, temporary_path(files.agent)]
    for name in (*left, *kept):
        write_bytes(name, b"x")
    leased_by(files.lock).unlink()
    locks.hold(files).release()
    assert not any(map(Path.exists, left)) and all(map(Path.exists, kept))


def test_a_worker_checks_the_lease_of_its_command_and_frees_it_only_as_an_orphan(files: RunFiles) -> None:
    for parent, is_free in ((os.getpid(), False), (2**30, True)):
        place = WorkPlace(Store(files.folder.parents[3]))
        place.enter([files])
        (descriptor, *_) = (os.dup(number) for number in place.inherited([files]))
        with adopt(files, descriptor, os.getpid()) as lock:
            write_bytes(files.agent, b"x")
            lock.note_holder(parent)
        newest = look(files.lock)
        assert newest.was_released == is_free
        place.leave()
        assert look(files.lock).standing is Standing.FREE


def test_a_worker_whose_command_had_lost_the_run_already_has_no_lease(files: RunFiles) -> None:
    place = WorkPlace(Store(files.folder.parents[3]))
    place.enter([files])
    lose(files)
    with adopt(files, os.dup(place.inherited([files])[0]), os.getpid()), pytest.raises(GoneError):
        write_bytes(files.agent, b"x")
    place.leave()


def test_a_command_says_that_it_watches_and_takes_over(
    files: RunFiles, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    leased_by(files.lock)
    naps: list[float] = []
    said: list[str] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        naps.append(seconds)

    monkeypatch.setattr(work_place.time, "sleep", sleep)
    with WorkPlace(Store(files.folder.parents[3]), said.append) as place:
        assert place.enter_if_free(files)  # the untrained policies too: their owner is dead
    assert sum(naps) == pytest.approx(heartbeat.STALE_SECONDS, abs=5)
    (line,) = said
    assert line.startswith("Waiting for up to 120 seconds to see whether process")
    assert "on node7 (Slurm job 12), since" in line


def test_the_record_of_a_study_is_changed_by_one_machine_at_a_time(
    tmp_path: Path, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Store(tmp_path).record_lease
    path.parent.mkdir()
    beat = leased_by(path)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        naps.append(seconds)
        if len(naps) == 3:
            beat.unlink()

    monkeypatch.setattr(locks.time, "sleep", sleep)
    with locks.one_machine_at_a_time(path):
        assert naps == [1.0, 1.0, 1.0] and look(path).token == 2
    assert look(path).standing is Standing.FREE


def test_a_process_elsewhere_that_lives_is_named(files: RunFiles, now: list[float]) -> None:
    leased_by(files.lock)
    assert str(locks.holder_of(files)).startswith(f"process {os.getpid()} on node7 (Slurm job 12), since ")
    os.utime(lease.beats_of(files.lock) / FOREIGN["id"], (0, time.time() - 2 * locks.RECENT_SECONDS))
    assert locks.holder_of(files) is None


def test_the_boot_of_this_machine_is_the_systems() -> None:
    here = heartbeat.this_host()
    assert isinstance(here, Host) and here.boot
    if sys.platform == "linux":
        assert here.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(
    ("variable", "words"), [("SLURM_JOB_ID", "Slurm job 7"), ("PBS_JOBID", "PBS job 7"), ("LSB_JOBID", "LSF job 7")]
)
def test_the_engines_job_is_known(variable: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in heartbeat._JOBS:
        monkeypatch.delenv(name, raising=False)
    assert heartbeat.this_job() == ""
    monkeypatch.setenv(variable, "7")
    assert heartbeat.this_job() == words
    assert isinstance(this_owner(), Owner) and this_owner().job == words


def test_old_heartbeats_are_removed_and_none_else(tmp_path: Path) -> None:
    for name, age in (("old", 4 * 86_400), ("young", 86_400)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - age))
    running = Heartbeat.join(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"young", running.owner.id}
    assert Heartbeat.join(tmp_path) is running
    running.part()
    running.part()
    assert [path.name for path in tmp_path.iterdir()] == ["young"]


def test_a_lost_lease_is_lost_for_good(path: Path) -> None:
    assert not Lease(path, 0, "").is_newest()
    taken = take(path)
    assert taken is not None
    path.with_name(f"{path.name}.000000001").unlink()
    leased_by(path)  # the same number, by another: the folder of locks was deleted
    assert not taken.is_newest() and not taken.has_successor()
    taken.release()
