"""The paths of a study's files. No other module builds them.

data/
  study.json                               the settings, and the commands that were run
  trials/{task}.json                       what the trial of a task found before its first run
  untrained/{task}/scores.json             what the untrained policies of a task score
  masks/{task}_seed_{seed}.pkl             the latest mask of pruning_method="magnitude"
  masks/{task}_seed_{seed}_gradient.pkl    the latest mask of pruning_method="gradient"
  masks/..._random.pkl                     that of the method's random control, and likewise for other controls
  runs/{task}/seed_{seed}/{arm}/           one run: an arm is "dense", a ticket ("magnitude-80") or a control
    manifest.json                          written last: what the files were made from, and their checksums
    metrics.jsonl                          one JSON object per line
    initial.safetensors                    weights before the first update (dense runs)
    agent.safetensors                      the whole trained agent: weights, target networks, optimiser
    rewind_{step}.safetensors              the agent at a step that some arm rewinds to (dense runs)
    mask.pkl                               the ticket's mask; the last one, if it changes during training
    stability.json                         how much masks from other batches of the same data overlap
    replay/*.npy                           the dense run's replay buffer
    checkpoint/                            where an unfinished run continues
    retrained/                             the same files of a run that is trained again, until they are compared
    diverged.safetensors                   the batch and the agent of the update that diverged
    progress.json, {stage}.log, tensorboard/   for following a run
    tracking/                              how far its metrics were sent to trackers
  tracking/                                what trackers keep on this machine, and what their libraries print
  report/                                  the report with figures and tables; its files are listed there
  .locks/                                  one lock file per run (earlier versions: .lock in the run's folder), the
                                           leases next to it, and the heartbeats of processes
  .cluster/                                what a command and the nodes of a cluster tell each other while runs are left
  .cluster/jobs/                           what their engine keeps about jobs, and what these print
"""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlottery.errors import StudyError
from rlottery.storage.temporary_files import probe_path
from rlottery.storage.transitions import Transitions

CONFIG = "config.yaml"
"""The config of a study in a folder of its own."""
DENSE = "dense"
LOCKS = ".locks"
CLUSTER = ".cluster"
REPLAY_FILES = tuple(f"replay/{field}.npy" for field in Transitions._fields)
"""The names of the replay buffer's files below a run's folder. The last one is only that of on-policy algorithms."""


class _Below:
    """An attribute of `RunFiles` or `Store`: the path with this name below the folder."""

    def __init__(self, name: str):
        self._name = name

    def __get__(self, owner: "RunFiles | Store", kind: object) -> Path:
        return (owner.folder if isinstance(owner, RunFiles) else owner.root) / self._name


@dataclass(frozen=True)
class RunFiles:
    """The files of one run: one arm for one task and seed."""

    folder: Path

    manifest = _Below("manifest.json")
    imported = _Below("imported.json")
    metrics = _Below("metrics.jsonl")
    initial = _Below("initial.safetensors")
    agent = _Below("agent.safetensors")
    mask = _Below("mask.pkl")
    stability = _Below("stability.json")
    replay = _Below("replay")
    checkpoint = _Below("checkpoint")
    diverged = _Below("diverged.safetensors")
    earlier_lock = _Below(".lock")
    progress = _Below("progress.json")
    tensorboard = _Below("tensorboard")
    tracking = _Below("tracking")

    @property
    def aside(self) -> "RunFiles":
        """The files of this run while it is trained again. Those of its earlier result stay as they are."""
        return RunFiles(self.folder / "retrained")

    @property
    def lock(self) -> Path:
        """The lock file, outside of the run's folder: ``data/.locks/{task}/seed_{seed}/{arm}.lock``."""
        seed, task, _, root = self.folder.parents[:4]
        return root / LOCKS / task.name / seed.name / f"{self.folder.name}.lock"

    def rewind_point(self, env_steps: int) -> Path:
        return self.folder / f"rewind_{env_steps:09d}.safetensors"

    def log(self, stage: str) -> Path:
        return self.folder / f"{stage}.log"


@dataclass(frozen=True)
class UntrainedFiles(RunFiles):
    """The files of a task's untrained policies. They have a lock, a log and progress as a run has."""

    scores = _Below("scores.json")

    @property
    def lock(self) -> Path:
        """The lock file: ``data/.locks/{task}/untrained.lock``."""
        return self.folder.parents[1] / LOCKS / self.folder.name / "untrained.lock"


@dataclass(frozen=True)
class HeadFiles(RunFiles):
    """What a command that works on a cluster needs a lock for."""

    @property
    def lock(self) -> Path:
        """The lock file: ``data/.locks/head.lock``."""
        return self.folder.parent / LOCKS / "head.lock"


@dataclass(frozen=True)
class Store:
    """The data folder of a study."""

    root: Path

    runs = _Below("runs")
    report = _Below("report")
    trials = _Below("trials")
    tracking = _Below("tracking")
    every_untrained = _Below("untrained")
    record = _Below("study.json")
    record_lock = _Below(".study.lock")
    record_lease = _Below(f"{LOCKS}/study.lock")
    locks = _Below(LOCKS)
    cluster = _Below(CLUSTER)
    cluster_jobs = _Below(f"{CLUSTER}/jobs")

    @property
    def head(self) -> RunFiles:
        """The files of the command that hands in allocations. They have a lock as a run has."""
        return HeadFiles(self.cluster)

    def run(self, task_name: str, seed: int, arm: str) -> RunFiles:
        """The files of a run. `task_name` is a task's name for file names (`config.Task.name`)."""
        return RunFiles(self.runs / task_name / f"seed_{seed}" / arm)

    def trial(self, task_name: str) -> Path:
        """The record of a task's trial."""
        return self.trials / f"{task_name}.json"

    def untrained(self, task_name: str) -> UntrainedFiles:
        """The files of a task's untrained policies."""
        return UntrainedFiles(self.every_untrained / task_name)

    def mask(self, task_name: str, seed: int, method: str, control: str | None = None) -> Path:
        """The file with the latest mask of a pruning method, under its documented name; or of one of its controls."""
        suffix = "".join(f"_{part}" for part in (method, control) if part not in ("magnitude", None))
        return self.root / "masks" / f"{task_name}_seed_{seed}{suffix}.pkl"

    def arms(self, task_name: str, seed: int) -> list[str]:
        """The names of the arms of this task and seed that have a folder. Dense is always included, and first."""
        folder = self.runs / task_name / f"seed_{seed}"
        found = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
        return [DENSE, *sorted(found - {DENSE})]

    def check_links(self) -> None:
        """Raise StudyError if a symbolic link leads out of the data folder, as one could in an untrusted study.

        The data folder itself may be a link. An engine may make links in a folder of its own: each of its jobs has a
        new one, so that no file is written to a folder of an untrusted study. So may the libraries of trackers.
        """
        folders = ("masks", "runs", "report", "trials", "untrained", "tracking", LOCKS, CLUSTER)
        for name in (*folders, "study.json", ".study.lock"):
            for link in _links_in(self.root / name, but_not_below=(self.cluster_jobs, self.tracking)):
                raise StudyError(
                    f"{link} is a symbolic link, so files written there would be outside the study. "
                    "Replace it by the folder itself, or choose another data folder with data=FOLDER."
                )

    def check_writable(self) -> float:
        """Raises StudyError unless files can be made in the data folder. Returns the time by the clock of its files."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = probe_path(self.root)
            probe.write_bytes(b"")
            now = probe.stat().st_mtime
            probe.unlink()
        except OSError as error:
            raise StudyError(
                f"The data folder {self.root} can't be written: {error.strerror}. Choose another with data=FOLDER."
            ) from None
        return now

    def written_folders(self) -> Iterator[Path]:
        """The folders whose files are written under temporary names first. Some may not exist."""
        yield from (self.root, self.root / "masks", self.trials)
        yield from (self.report, self.report / "figures", self.report / "tables")
        yield from self.every_untrained.glob("*")
        for run in self.runs.glob("*/seed_*/*"):
            yield from (run, run / "checkpoint", run / "retrained", run / "retrained" / "checkpoint")


def data_folder_of(run_folder: Path) -> Path:
    """The data folder of the study that a run's folder belongs to, if it lies where runs do: data/runs/TASK/seed_N/ARM.

    Otherwise the folder itself, which is no data folder.
    """
    folder = run_folder.resolve()
    found = folder.parents[3:4]
    return found[0] if found and Store(found[0]).runs == folder.parents[2] else folder


def replay_is_saved(files: RunFiles, recorded: Container[str]) -> bool:
    """Whether every file exists that each replay buffer has, and every other one of it among those recorded."""
    needed = (name for name in REPLAY_FILES if name != REPLAY_FILES[-1] or name in recorded)
    return all((files.folder / name).is_file() for name in needed)


def _links_in(path: Path, but_not_below: Container[Path]) -> Iterator[str]:
    """The symbolic links among a path and everything below it. They are not followed."""
    if path.is_symlink():
        yield str(path)
        return
    folders = [str(path)] if path not in but_not_below else []
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        yield entry.path
                    elif entry.is_dir(follow_symlinks=False) and Path(entry.path) not in but_not_below:
                        folders.append(entry.path)
        except OSError:
            continue  # no folder, or none that can be read
