"""Compares the memory that studies use with the estimates of rlottery.study.resources.memory. Linux only.

uv run python -m benchmarks.memory

Runs small studies (mostly warm-up, so that buffers fill quickly) and samples the memory of their workers many times per
second. There is a row for each stage of each study, with the maximum of each number, in MiB:

    own       one worker: anonymous memory (Anonymous in smaps_rollup); and the estimate for one worker
    all       at one time: own of all workers, plus shared memory once (code, and dense replay buffers that they map);
              and the estimate
    command   the process that started them, and the estimate
    pss       one worker: its own memory, and its share of what it shares with other processes
    code      one worker: files that it maps, except replay
    replay    one worker: pages of dense replay that it maps, its share of them (pss), and its private ones

Requirements: an estimate is never below the measurement, and at most 15 % or 40 MiB above it (for the command, in its
largest stage, the last, which draws the report). No page of the replay is private to a worker. Writes
benchmarks/results/memory.csv. The exit code is 1 if a requirement is missed.
"""

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rlottery.config import load_config
from rlottery.study.execution import template
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.resources.memory import MB, study_memory

CONFIG = """\
name: memory
tasks: [{task}]
seeds: {seeds}
workers: {workers}
network: {{actor: [{width}, {width}], critic: [{width}, {width}]}}
training: {{env_steps: {steps}, warmup_steps: {warmup}, replay_capacity: {capacity}}}
evaluation: {{interval: {steps}, episodes: 1, score_evaluations: 1}}
checkpoint_seconds: 1
arms:
  - {{name: taylor, criterion: taylor, sparsity: 0.95}}
  - {{name: gradient, criterion: gradient, sparsity: 0.95}}
"""
RESULTS = Path(__file__).parent / "results" / "memory.csv"
COMMAND = (sys.executable, "-c", "from rlottery.cli import app; app()", "run", "config.yaml")
LOOK_SECONDS = 0.05
SHARE, LEAST = 0.15, 40.0
HEADINGS = (
    *("task", "width", "capacity", "steps", "seeds", "workers", "stage"),
    *("own", "own_at_most", "all", "all_at_most", "command", "command_at_most"),
    *("pss", "code", "replay", "replay_pss", "replay_private"),
)


class Study(NamedTuple):
    """A study of two tickets."""

    task: str
    capacity: int
    steps: int
    seeds: int = 1
    workers: int = 1
    width: int = 256
    updates: int = 500


STUDIES = (
    Study("Pendulum-v1", 10_000, 10_000),
    Study("Pendulum-v1", 1_000_000, 10_000),  # only filled rows take memory
    Study("Pendulum-v1", 10_000, 10_000, width=1024, updates=50),
    Study("Pendulum-v1", 10_000, 10_000, seeds=2, workers=2),
    Study("drawer-close-v3", 10_000, 10_000),
    Study("drawer-close-v3", 10_000, 10_000, seeds=2, workers=2),
    Study("drawer-close-v3", 200_000, 60_000, workers=2),  # two masks from one buffer
)


@dataclass
class Look:
    """Memory of a process at one time, or the maximum of several, in MiB; names as in the table."""

    own: float = 0.0
    pss: float = 0.0
    code: float = 0.0
    replay: float = 0.0
    replay_pss: float = 0.0
    replay_private: float = 0.0


@dataclass
class Seen:
    """The maximum of each number in a stage."""

    one: Look
    all: float = 0.0
    command: float = 0.0

    def take(self, looks: list[Look], buffers: dict[str, float]) -> None:
        """Add the workers at one time, and the pages of each buffer that they map."""
        for each in looks:
            self.one = Look(*(max(getattr(self.one, name), number) for name, number in vars(each).items()))
        shared = max((each.code for each in looks), default=0.0) + sum(buffers.values())
        self.all = max(self.all, sum(each.own for each in looks) + shared)


def look(pid: int, buffers: dict[str, float]) -> Look | None:
    """A process now. Adds the replay buffers that it maps to `buffers`, by path. None if it has ended."""
    process, found = Path("/proc") / str(pid), Look()
    try:
        rollup = _numbers((process / "smaps_rollup").read_text().splitlines())
        if "/replay/" in (process / "maps").read_text():
            for path, mapped in _replay((process / "smaps").read_text()):
                buffers[path] = max(buffers.get(path, 0.0), mapped["Rss"])
                found.replay += mapped["Rss"]
                found.replay_pss += mapped["Pss"]
                found.replay_private += mapped["Private_Dirty"] + mapped["Anonymous"]
        found.own, found.pss = rollup["Anonymous"], rollup["Pss"]
        found.code = rollup["Rss"] - rollup["Anonymous"] - found.replay
    except (OSError, KeyError):
        return None
    return found


def _numbers(lines: list[str]) -> dict[str, float]:
    """MiB by name, from lines such as ``Rss:  1660 kB``."""
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(number.split()[0]) / 1024 for name, number in pairs}


def _replay(smaps: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Path and numbers of each mapping of a replay buffer's file."""
    lines = smaps.splitlines()
    starts = [index for index, line in enumerate(lines) if not line.split(" ", 1)[0].endswith(":")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if "/replay/" in lines[start]:
            yield lines[start].split()[-1], _numbers(lines[start:end])


def workers_of(command: int) -> Iterator[int]:
    """Process ids of a command's workers."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (path / "stat").read_text().partition(" (")[2].rpartition(")")
            if int(rest.split()[1]) == command and name == template.WORKER_NAME:
                yield int(path.name)
        except OSError:
            continue


def watch(folder: Path, stage: str) -> Seen:
    """Run a stage of the study in `folder` and sample its memory."""
    seen = Seen(Look())
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen([*COMMAND, "--stages", stage], cwd=folder, stdout=output, stderr=output)
        while process.poll() is None:
            buffers: dict[str, float] = {}
            looks = [found for pid in workers_of(process.pid) if (found := look(pid, buffers)) is not None]
            seen.take(looks, buffers)
            if (command := look(process.pid, {})) is not None:
                seen.command = max(seen.command, command.own + command.code)
            time.sleep(LOOK_SECONDS)
    if process.returncode != 0:
        raise SystemExit((folder / "output.txt").read_text())
    return seen


def measure(study: Study) -> tuple[list[list[object]], list[str]]:
    """A row for each stage of a study, and the requirements that were missed."""
    rows, missed, commands = [], [], []
    with tempfile.TemporaryDirectory() as name:
        text = CONFIG.format(
            task=study.task,
            seeds=list(range(study.seeds)),
            workers=study.workers,
            width=study.width,
            steps=study.steps,
            warmup=study.steps - study.updates,
            capacity=study.capacity,
        )
        path = Path(name) / "config.yaml"
        path.write_text(text)
        config = load_config(path, [])
        specs = [task_spec(task) for task in config.tasks]
        for stage in STAGES:
            todo = list_jobs(config, arms_of(config, None), (stage,))
            one, all_of_them = study_memory(todo, specs, 1), study_memory(todo, specs, study.workers)
            seen = watch(path.parent, stage)
            pairs = [
                ("own", seen.one.own, one.workers / MB),
                ("all", seen.all, (all_of_them.workers + all_of_them.shared) / MB),
            ]
            label = f"{study.task} {study.capacity:,} x{study.workers} {stage}"
            missed += [f"{label} {number}" for number, found, most in pairs if not holds(found, most)]
            missed += [f"{label} replay is copied"] if seen.one.replay_private else []
            commands.append(seen.command)
            numbers = [number for _, *pair in pairs for number in pair] + [seen.command, all_of_them.command / MB]
            alone = [seen.one.pss, seen.one.code, seen.one.replay, seen.one.replay_pss, seen.one.replay_private]
            labels = [study.task, study.width, study.capacity, study.steps, study.seeds, study.workers, stage]
            rows.append([*labels, *(round(number, 1) for number in [*numbers, *alone])])
            print(*rows[-1], flush=True)
        if not holds(max(commands), all_of_them.command / MB):
            missed.append(f"{study.task} command")
    return rows, missed


def holds(seen: float, at_most: float) -> bool:
    """Whether the estimate is not below the measurement, and not too far above."""
    return seen <= at_most <= seen + max(SHARE * seen, LEAST)


def main() -> int:
    rows: list[list[object]] = []
    missed: list[str] = []
    print(*HEADINGS)
    for study in STUDIES:
        found, more = measure(study)
        rows += found
        missed += more
        with RESULTS.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADINGS)
            writer.writerows(rows)
    print(*(f"missed: {each}" for each in missed), sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
