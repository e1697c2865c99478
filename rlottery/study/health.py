"""The health of a study: every file compared with its checksum, every mask and checkpoint read. Reads files only."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.checkpoint_record import read_checkpoint_record, record_paths
from rlottery.storage.disk import file_digest, read_arrays
from rlottery.storage.locks import holder_of
from rlottery.storage.manifests import DamagedError, find_damage, read_manifest
from rlottery.storage.metrics_log import read_metrics
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import REPLAY_FILES, RunFiles, Store
from rlottery.storage.study_record import read_study_record as read_study_record
from rlottery.study.planning.arms import METHODS


@dataclass(frozen=True)
class Problem:
    """Something in a study that is not as it was written, and what becomes of it."""

    file: Path
    why: str
    mend: str


@dataclass(frozen=True)
class Health:
    """What was looked at, what is wrong with it, and the runs that were left out: a process is at work on them."""

    files: int
    problems: tuple[Problem, ...]
    at_work: tuple[Path, ...]


def examine(config: Config) -> Health:
    """Look at everything that the store holds of a config's tasks and seeds.

    Raises:
        StudyError: the data folder is none, or something in it points out of it.
    """
    check_data_folder(config.data)
    store = Store(config.data)
    store.check_links()
    files = 0
    problems: list[Problem] = []
    at_work: list[Path] = []
    for task in config.tasks:
        for seed in config.seeds:
            for arm in store.arms(task.name, seed):
                run = store.run(task.name, seed, arm)
                if holder_of(run) is not None:
                    at_work.append(run.folder)
                elif run.folder.is_dir():
                    number, found = examine_run(run)
                    files, problems = files + number, problems + found
            for path in sorted(_published(store, task.name, seed)):
                files += 1
                problems += _mask_problems(path, "The mask stage writes it anew.")
    if store.record.exists():
        files += 1
        problems += _record_problems(store)
    return Health(files, tuple(problems), tuple(at_work))


def _record_problems(store: Store) -> list[Problem]:
    try:
        read_study_record(store.root)
    except DamagedError as error:
        return [Problem(error.file, error.why, "The next run begins it anew; how often seeds were added is lost.")]
    except StudyError as error:
        return [Problem(store.record, str(error), "Use the version of rlottery that wrote it.")]
    return []


def examine_run(run: RunFiles) -> tuple[int, list[Problem]]:
    """How many files of a run were looked at, and what is wrong with them."""
    again = "The study makes the run anew when it is run again."
    try:
        manifest = read_manifest(run)
    except DamagedError as error:
        return 1, [Problem(error.file, error.why, again)]
    except StudyError as error:
        return 1, [Problem(run.manifest, str(error), "Use the version of rlottery that wrote it.")]
    if manifest is None or manifest["status"] == "failed":
        return _examine_unfinished(run)
    entries = dict(manifest["files"])
    if not run.replay.exists():
        entries = {name: entry for name, entry in entries.items() if name not in REPLAY_FILES}
    problems = [Problem(error.file, error.why, again) for error in find_damage(run.folder, entries)]
    if manifest.get("replay") == "saved" and not run.replay.exists():
        problems.append(Problem(run.replay, "it is missing", "The dense agent is trained anew where it is needed."))
    if not problems:
        problems = [Problem(path, why, again) for path, why in _contradictions(run)]
    return 1 + len(entries), problems


def _published(store: Store, task_name: str, seed: int) -> set[Path]:
    """Masks under their methods' names: those that are there, and those that an arm's own mask asks for."""
    paths = {store.mask(task_name, seed, method) for method in METHODS}
    found = {path for path in paths if path.exists()}
    for arm in store.arms(task_name, seed):
        with contextlib.suppress(RlotteryError):
            method = read_mask(store.run(task_name, seed, arm).mask).metadata["method"]
            found |= {store.mask(task_name, seed, method)} if method in METHODS else set()
    return found


def _examine_unfinished(run: RunFiles) -> tuple[int, list[Problem]]:
    """Of a run that is not done: its checkpoints, and the mask that it was given."""
    files = 0
    problems: list[Problem] = []
    paths = record_paths(run)
    if run.agent.exists() and not paths:
        mend = "The study makes the run anew when it is run again."
        problems.append(Problem(run.manifest, "it is missing, or the run was cut short at its very end", mend))
    damaged: dict[Path, str] = {}
    sound: list[int] = []
    for path in paths:
        files += 1
        try:
            record = read_checkpoint_record(path)
        except StudyError as error:
            damaged[path] = getattr(error, "why", str(error))
            continue
        files += len(record["files"])
        found = {error.file: error.why for error in find_damage(run.checkpoint, record["files"])}
        points = {error.file: error.why for error in find_damage(run.folder, record.get("points", {}))}
        length, sha256 = record["metrics"]
        if not run.metrics.is_file() or file_digest(run.metrics, length) != sha256:
            found[run.metrics] = "it is not what the checkpoint continues"
        damaged |= found | points
        sound += [] if found else [record["env_steps"]]
    mend = f"The run goes on from step {max(sound):,}." if sound else "The run begins again."
    problems += [Problem(file, why, mend) for file, why in damaged.items()]
    if run.mask.exists():
        files += 1
        problems += _mask_problems(run.mask, "The mask stage makes it anew.")
    return files, problems


def _contradictions(run: RunFiles) -> Iterator[tuple[Path, str]]:
    """Files that are as they were written and still can't be right."""
    try:
        read_metrics(run.metrics)
    except StudyError as error:
        yield run.metrics, str(error)
    if not (run.mask.exists() and run.agent.exists()):
        return
    try:
        mask, agent = read_mask(run.mask), read_arrays(run.agent)
    except RlotteryError as error:
        yield run.mask, str(error)
        return
    for path, kept in mask.all_layers.items():
        kernel = agent.get(f"params.{path}.kernel")
        if kernel is None or kernel.shape != kept.shape or np.any(kernel[~kept]):
            yield run.agent, f"params.{path} does not keep to the mask"


def _mask_problems(path: Path, mend: str) -> list[Problem]:
    try:
        read_mask(path)
    except RlotteryError as error:
        return [Problem(path, str(error).removeprefix(f"{path} ").split(". Make the mask")[0], mend)]
    return []
