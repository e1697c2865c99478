"""Two machines work on the same runs, while their processes are killed and suspended. Nothing may be published twice.

uv run python -m tests.two_hosts --runs 200
uv run python -m tests.two_hosts --runs 200 --data /shared/folder --real

The first command simulates two machines on this one: their processes have host names and boots of their own, and locks
(flock) hold nothing, as on some cluster file systems. The second is for real machines that share a folder: start it on
each of them at the same time, with `--without-locks` as if the folder's locks held nothing.

Runs train nothing: they compute a chain of hashes, write metrics, checkpoints, an agent and a manifest by the functions
that real runs use, and continue from their newest checkpoint. Each machine has two processes that take any run they can
get. At random moments one gets SIGKILL and is started again, or SIGSTOP and later SIGCONT. At the end come the numbers
of runs that were published twice, of files that differ from those of an undisturbed run or from their manifest, and
of processes that found out in time that they had lost their run. The first two must be 0.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rlottery.errors import GoneError
from rlottery.storage import heartbeat, locks
from rlottery.storage.disk import write_bytes
from rlottery.storage.fence import check_fence
from rlottery.storage.heartbeat import Host
from rlottery.storage.locks import RunLock, try_lock
from rlottery.storage.manifests import DamagedError, Manifest, file_entry, find_damage, read_manifest, write_manifest
from rlottery.storage.metrics_log import MetricsLog, Position, read_metrics
from rlottery.storage.paths import RunFiles, Store

STEPS, SAVE_EACH = 24, 6
QUICK_STALE_SECONDS = 0.3
"""Shorter than real: more processes are taken for dead that only wait."""


def simulate(node: str, stale: float, *, with_locks: bool) -> None:
    """Let this process be on another machine, whose locks hold nothing unless `with_locks`."""
    if node:
        here = Host(node, f"boot of {node}", node)
        heartbeat.this_host = locks.this_host = lambda: here  # type: ignore[assignment]
    if not with_locks:
        locks.fcntl.flock = lambda *_: None  # type: ignore[assignment]
    heartbeat.STALE_SECONDS, heartbeat.BEAT_SECONDS, heartbeat.LOOK_SECONDS = stale, stale / 12, stale / 4


def next_state(state: str, step: int) -> str:
    return hashlib.sha256(f"{state}{step}".encode()).hexdigest()


def undisturbed(name: str) -> str:
    """The agent of a run that nothing has disturbed."""
    state = name
    for step in range(STEPS):
        state = next_state(state, step)
    return state


def train(files: RunFiles, lock: RunLock, name: str, uid: str, published: Path) -> None:
    """A run, from its newest checkpoint to its manifest."""
    check_fence()
    state, position, first = name, None, 0
    with contextlib.suppress(FileNotFoundError, ValueError):
        saved = json.loads((files.checkpoint / "step.json").read_text())
        length, digest = saved["position"]
        if hashlib.sha256(files.metrics.read_bytes()[:length]).hexdigest() == digest:
            state, position, first = saved["state"], Position(length, digest), saved["step"]
    with MetricsLog(files.metrics, files.tensorboard, position, first) as log:
        for step in range(first, STEPS):
            state = next_state(state, step)
            log.write({"kind": "episode", "env_steps": step, "return": float(int(state[:6], 16)), "length": 1})
            time.sleep(random.uniform(0, 0.02))
            lock.check_intact()
            if step % SAVE_EACH == SAVE_EACH - 1:
                saved = {"state": state, "position": log.position(), "step": step + 1}
                write_bytes(files.checkpoint / "step.json", json.dumps(saved).encode())
    write_bytes(files.agent, state.encode())
    manifest: Manifest = {
        "format_version": 2,
        "status": "done",
        "fingerprint": {"inputs": {"uid": uid}},
        "files": {path.name: file_entry(path) for path in (files.agent, files.metrics)},
    }
    write_manifest(files, manifest)
    (published / f"{name} {uid}").touch()
    shutil.rmtree(files.checkpoint, ignore_errors=True)


def work(folder: Path, runs: int, seed: int) -> None:
    """One process of a machine: do runs until all are done."""
    store, chance, uid = Store(folder / "data"), random.Random(seed), f"{os.getpid()}-{time.time_ns()}"
    published, lost = folder / "published", folder / "lost"
    left = [f"run{number}" for number in range(runs)]
    (folder / "ready" / str(os.getpid())).touch()
    while left:
        name = chance.choice(left[:2])  # fewer than processes, so that all want the same
        files = store.run("Fake-v0", 0, name)
        if is_done(files):
            left.remove(name)
        elif lock := try_lock(files):
            try:
                with lock:
                    if not is_done(files):
                        files.folder.mkdir(parents=True, exist_ok=True)
                        lock.watch_folder()
                        train(files, lock, name, f"{uid}-{chance.random()}", published)
            except GoneError:
                (lost / f"{name} {uid} {time.time_ns()}").touch()
        else:
            time.sleep(0.02)


def is_done(files: RunFiles) -> bool:
    with contextlib.suppress(DamagedError):
        return read_manifest(files) is not None
    return False


def disturb(
    folder: Path, runs: int, nodes: list[str], stale: float, chance: random.Random, *, with_locks: bool
) -> Counter[str]:
    """Let the processes of these machines do all runs. Returns how often they were disturbed in which way."""

    def start(node: str) -> subprocess.Popen[bytes]:
        arguments = [str(folder), str(runs), node, str(stale), str(int(with_locks)), str(chance.randrange(2**30))]
        return subprocess.Popen([sys.executable, "-m", "tests.two_hosts", "work", *arguments])

    for name in ("published", "lost", "ready"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    survived: Counter[str] = Counter()
    processes = {(node, number): start(node) for node in nodes for number in range(2)}
    asleep: dict[tuple[str, int], float] = {}
    try:
        while any(process.poll() is None for process in processes.values()):
            time.sleep(chance.uniform(0, stale))
            for key in [key for key, until in asleep.items() if time.monotonic() > until]:
                processes[key].send_signal(signal.SIGCONT)
                del asleep[key]
            key = chance.choice(list(processes))
            is_ready = (folder / "ready" / str(processes[key].pid)).exists()
            if processes[key].poll() is not None or key in asleep or not is_ready:
                continue
            # So many at most: on a busy machine, processes would be killed more often than they get on.
            left = [kind for kind, most in (("SIGKILL", runs), ("SIGSTOP", 3 * runs)) if survived[kind] < most]
            if not left:
                continue
            kind = chance.choice(left)
            processes[key].send_signal(getattr(signal, kind))
            survived[kind] += 1
            if kind == "SIGKILL":
                processes[key].wait()
                processes[key] = start(key[0])
            else:
                asleep[key] = time.monotonic() + chance.uniform(0, 12 * stale)
        for process in processes.values():
            assert process.returncode == 0, f"a process ended with {process.returncode}"
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return survived


def count_wrong(folder: Path, runs: int) -> tuple[int, int, int]:
    """How many runs were published twice, how many files are wrong, how often a process had lost its run."""
    twice = differing = 0
    uids: dict[str, set[str]] = {}
    for record in (folder / "published").iterdir():
        name, _, uid = record.name.partition(" ")
        uids.setdefault(name, set()).add(uid)
    for name in (f"run{number}" for number in range(runs)):
        files = Store(folder / "data").run("Fake-v0", 0, name)
        manifest = read_manifest(files)
        assert manifest is not None
        uids.setdefault(name, set()).add(manifest["fingerprint"]["inputs"]["uid"])
        twice += len(uids[name]) > 1
        steps = [row["env_steps"] for row in read_metrics(files.metrics)]
        differing += len(find_damage(files.folder, manifest["files"]))
        differing += files.agent.read_text() != undisturbed(name)
        differing += steps != list(range(STEPS))
    return twice, differing, len(list((folder / "lost").iterdir()))


def main() -> int:
    if sys.argv[1:2] == ["work"]:
        folder, runs, node, stale, with_locks, seed = sys.argv[2:]
        simulate(node, float(stale), with_locks=with_locks == "1")
        work(Path(folder), int(runs), int(seed))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--data", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--real", action="store_true", help="this is one of several machines that share the folder")
    parser.add_argument("--without-locks", action="store_true", help="let flock hold nothing, with --real too")
    parser.add_argument("--stale", type=float, help="seconds until a process counts as dead; real machines: 120")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and kinds of signals")
    given = parser.parse_args()
    nodes = [""] if given.real else ["node1", "node2"]
    usual = heartbeat.STALE_SECONDS if given.real else QUICK_STALE_SECONDS
    chance = random.Random(f"{given.seed} {os.uname().nodename}" if given.real else given.seed)
    with contextlib.ExitStack() as stack:
        folder = given.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="two-hosts-")))
        with_locks = given.real and not given.without_locks
        survived = disturb(folder, given.runs, nodes, given.stale or usual, chance, with_locks=with_locks)
        twice, differing, lost = count_wrong(folder, given.runs)
    signals = ", ".join(f"{number} {kind}" for kind, number in survived.most_common())
    print(f"{given.runs} runs; {signals or 'no signals'}; {lost} times a process had lost its run and wrote no more.")
    print(f"{twice} runs were published twice, {differing} files differ.")
    return 1 if twice or differing else 0


if __name__ == "__main__":
    sys.exit(main())
