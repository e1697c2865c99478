"""The health of a study: every file is compared with its checksum, and every mask and checkpoint is read."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlottery.config import Config
from rlottery.config.built_in import METHODS
from rlottery.errors import RlotteryError, StudyError
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.checkpoint_record import checkpoint_damage, read_checkpoint_record, record_paths
from rlottery.storage.disk import read_arrays
from rlottery.storage.locks import holder_of
from rlottery.storage.manifests import IMPORT_AGAIN, DamagedError, find_damage, read_manifest
from rlottery.storage.metrics_log import read_metrics
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import RunFiles, Store, UntrainedFiles
from rlottery.storage.study_record import read_study_record
from rlottery.storage.untrained_record import untrained_damage
from rlottery.study.planning.earlier import is_known_to_differ
from rlottery.study.planning.finished_runs import damage_of_run, ended_manifest, expected_files, replay_was_deleted

_REPEATED = "The run is repeated when the study is run again."
_WAITS = {
    False: "The run was trained again. That is compared with what there was when the study is run again.",
    True: "The run was trained again and differs from its earlier result: `rlottery run` says what to do.",
}
"""What happens to a run that was trained again and waits aside, by whether it is known to differ."""
_REMADE = "The mask is regenerated when the study is run again."
_EVALUATED_AGAIN = "The untrained policies are evaluated again when the study is run again."
_OTHER_VERSION = "Use the version of rlottery that wrote it."


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was written: what is wrong with it, and what happens to it or what to do about it."""

    file: Path
    why: str
    fix: str


@dataclass(frozen=True)
class Health:
    """How many files of a study were checked, what is wrong with them, and the runs in use, which were skipped."""

    files: int
    problems: tuple[Problem, ...]
    in_use: tuple[Path, ...]


def examine(config: Config) -> Health:
    """Check all files of a config's tasks and seeds."""
    check_data_folder(config.data)
    store = Store(config.data)
    store.check_links()
    files = 0
    problems: list[Problem] = []
    in_use: list[Path] = []
    for task in config.tasks:
        untrained = store.untrained(task.name)
        if _is_held(untrained, problems):
            in_use.append(untrained.folder)
        elif untrained.folder.is_dir():
            files, problems = files + 1, problems + _untrained_problems(untrained)
        for seed in config.seeds:
            for arm in store.arms(task.name, seed):
                run = store.run(task.name, seed, arm)
                if _is_held(run, problems):
                    in_use.append(run.folder)
                elif run.folder.is_dir():
                    number, found = examine_run(run)
                    files, problems = files + number, problems + found
            for path in sorted(_published_masks(store, task.name, seed)):
                files += 1
                problems += _mask_problems(path)
    if store.record.exists():
        files += 1
        problems += _study_record_problems(store)
    return Health(files, tuple(problems), tuple(in_use))


def _is_held(run: RunFiles, problems: list[Problem]) -> bool:
    """Whether a process holds the lock of a run. Adds to `problems` if something else is in the place of its file."""
    try:
        return holder_of(run) is not None
    except StudyError as error:
        problems.append(Problem(run.lock, str(error), "Delete it."))
        return False


def examine_run(run: RunFiles) -> tuple[int, list[Problem]]:
    """How many files of a run were checked, and what is wrong with them."""
    files, problems = _examine_aside(run)
    waits = _what_happens_to_aside(run)
    repeated = waits or (IMPORT_AGAIN if run.imported.exists() else _REPEATED)
    try:
        manifest = read_manifest(run)
    except DamagedError as error:
        return 1 + files, [Problem(error.file, error.why, repeated), *problems]
    except StudyError as error:
        return 1 + files, [Problem(run.manifest, str(error), _OTHER_VERSION), *problems]
    if manifest is None and run.imported.exists():
        return 1 + files, [Problem(run.manifest, "it is missing", repeated), *problems]
    if manifest is None or manifest["status"] == "failed":
        more, found_there = _examine_unfinished(run, repeated)
        return more + files, [*found_there, *problems]
    if "imported" in manifest:
        repeated = IMPORT_AGAIN
    own = [Problem(error.file, error.why, repeated) for error in damage_of_run(run, manifest)]
    if replay_was_deleted(run, manifest):
        again = IMPORT_AGAIN if "imported" in manifest else "The dense agent is trained again where it is needed."
        fix = waits or again
        own.append(Problem(run.replay, "it is missing", fix))
    if not own:
        own = [Problem(path, why, repeated) for path, why in _contradictions(run)]
    return 1 + len(expected_files(run, manifest)) + files, [*own, *problems]


def _examine_aside(run: RunFiles) -> tuple[int, list[Problem]]:
    """Check what was trained again and waits aside, or is still being trained there."""
    if not run.aside.folder.is_dir():
        return 0, []
    try:
        again = ended_manifest(run.aside)
    except DamagedError as error:
        return 1, [Problem(error.file, error.why, _REPEATED)]
    except StudyError as error:
        return 1, [Problem(run.aside.manifest, str(error), _OTHER_VERSION)]
    if again is None:
        return _examine_unfinished(run.aside, _REPEATED)
    # A command that was interrupted may have put some of the files in place.
    damaged = [
        error
        for name, entry in again["files"].items()
        if find_damage(run.folder, {name: entry})
        for error in find_damage(run.aside.folder, {name: entry})
    ]
    return 1 + len(again["files"]), [Problem(error.file, error.why, _REPEATED) for error in damaged]


def _what_happens_to_aside(run: RunFiles) -> str | None:
    with contextlib.suppress(StudyError):
        differs = is_known_to_differ(run)
        return None if differs is None else _WAITS[differs]
    return None


def _examine_unfinished(run: RunFiles, repeated: str) -> tuple[int, list[Problem]]:
    """Check the checkpoints of a run that isn't finished, and its mask. `repeated` says what happens to the run."""
    paths = record_paths(run)
    files = len(paths)
    problems: list[Problem] = []
    if run.agent.exists() and not paths:
        why = "it is missing, or the run was interrupted at its very end"
        problems.append(Problem(run.manifest, why, repeated))
    damaged: dict[Path, str] = {}
    intact: list[int] = []
    for path in paths:
        try:
            record = read_checkpoint_record(path)
        except StudyError as error:
            damaged[path] = getattr(error, "why", str(error))
            continue
        files += len(record["files"])
        found = checkpoint_damage(run, record)
        intact += [] if found else [record["env_steps"]]
        # A damaged rewind point is saved again, or made by the rewind stage: the checkpoint can still be used.
        damaged |= {error.file: error.why for error in [*found, *find_damage(run.folder, record.get("points", {}))]}
    fix = f"The run continues from step {max(intact):,}." if intact else "The run restarts from the beginning."
    problems += [Problem(file, why, fix) for file, why in damaged.items()]
    if run.mask.exists():
        files += 1
        problems += _mask_problems(run.mask)
    return files, problems


def _contradictions(run: RunFiles) -> Iterator[tuple[Path, str]]:
    """Files that match their checksums and are wrong all the same."""
    try:
        for _ in read_metrics(run.metrics):
            pass
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
            yield run.agent, f"params.{path} has weights that the mask prunes"


def _published_masks(store: Store, task_name: str, seed: int) -> set[Path]:
    """Mask files under the names of their methods: those that exist, and those that an arm's own mask implies."""
    paths = {store.mask(task_name, seed, method, control) for method in METHODS for control in (None, *CONTROLS)}
    found = {path for path in paths if path.exists()}
    for arm in store.arms(task_name, seed):
        with contextlib.suppress(RlotteryError):
            method = read_mask(store.run(task_name, seed, arm).mask).metadata["method"]
            found |= {store.mask(task_name, seed, method)} if method in METHODS else set()
    return found


def _mask_problems(path: Path) -> list[Problem]:
    try:
        read_mask(path)
    except RlotteryError as error:
        return [Problem(path, str(error).removeprefix(f"{path} ").split(". Make the mask")[0], _REMADE)]
    return []


def _untrained_problems(untrained: UntrainedFiles) -> list[Problem]:
    try:
        return [Problem(error.file, error.why, _EVALUATED_AGAIN) for error in untrained_damage(untrained)]
    except StudyError as error:
        return [Problem(untrained.scores, str(error), _OTHER_VERSION)]


def _study_record_problems(store: Store) -> list[Problem]:
    try:
        read_study_record(store.root)
    except DamagedError as error:
        fix = "The next run restarts it. The number of times that seeds were added is lost."
        return [Problem(error.file, error.why, fix)]
    except StudyError as error:
        return [Problem(store.record, str(error), _OTHER_VERSION)]
    return []
