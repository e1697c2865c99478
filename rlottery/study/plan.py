"""The plan: the jobs of a study, what each needs, and which of them are done.

Everything that can be wrong with the config or with the files is found here, before any work starts. Nothing here
imports JAX.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rlottery.config import Config, Task
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask, check_shapes
from rlottery.store import DENSE, Manifest, RunFiles, Store, difference, read_arrays, read_manifest
from rlottery.study.arms import Arm
from rlottery.study.fingerprints import Fingerprint, dense_fingerprint, mask_fingerprint, ticket_fingerprint

STAGES = ("dense", "mask", "ticket")


@dataclass(frozen=True)
class Job:
    """One stage of one arm for one task and seed: the unit that a worker does.

    Attributes:
        stage: "dense", "mask" or "ticket".
        task: index into ``config.tasks``.
        arm: the ticket kind; dense jobs carry it too, since it decides whether replay is needed.
    """

    config: Config
    stage: str
    task_index: int
    seed: int
    arm: Arm

    @property
    def task(self) -> Task:
        return self.config.tasks[self.task_index]

    @property
    def arm_name(self) -> str:
        return DENSE if self.stage == "dense" else self.arm.name

    @property
    def label(self) -> str:
        """How a person reads it: ``drawer-close-v3 seed 0 dense``."""
        suffix = " mask" if self.stage == "mask" else ""
        return f"{self.task.name} seed {self.seed} {self.arm_name}{suffix}"

    @cached_property
    def store(self) -> Store:
        return Store(self.config.data)

    @cached_property
    def files(self) -> RunFiles:
        """The files that this job makes."""
        return self.store.run(self.task.name, self.seed, self.arm_name)

    @cached_property
    def dense_files(self) -> RunFiles:
        return self.store.run(self.task.name, self.seed, DENSE)

    @property
    def mask_path(self) -> Path:
        """The mask's file under the name that the method gives it."""
        return self.store.mask(self.task.name, self.seed, self.arm.method)


def jobs(config: Config, arm: Arm, stages: tuple[str, ...]) -> list[Job]:
    """The jobs of a study, stage by stage, so that earlier ones come first."""
    return [
        Job(config, stage, index, seed, arm)
        for stage in STAGES
        if stage in stages
        for index in range(len(config.tasks))
        for seed in config.seeds
    ]


def prerequisite(job: Job, all_jobs: list[Job]) -> Job | None:
    """The job among `all_jobs` that `job` waits for, if any."""
    earlier = STAGES[: STAGES.index(job.stage)]
    same = [j for j in all_jobs if (j.task_index, j.seed) == (job.task_index, job.seed) and j.stage in earlier]
    return same[-1] if same else None


def is_done(job: Job, *, waits: bool = False) -> bool:
    """Whether the job's files are there and are what its config and its inputs ask for.

    Args:
        waits: an earlier job of the same task and seed is still to do, so inputs can't be compared yet.

    Raises:
        StudyError: files are there that another config made, or an input is missing that no job will make.
        MaskError: a mask that can't be read or used.
    """
    return {"dense": _dense_is_done, "mask": _mask_is_done, "ticket": _ticket_is_done}[job.stage](job, waits)


def _dense_is_done(job: Job, waits: bool) -> bool:
    manifest = _matching_manifest(job, dense_fingerprint(job.config, job.task, job.seed))
    if manifest is None or not _whole(job.files, manifest):
        return False
    return job.files.replay.is_dir() or (_replay_released(manifest) and not job.config.keep_replay)


def _mask_is_done(job: Job, waits: bool) -> bool:
    if waits:
        return False
    manifest = _dense_manifest(job)
    if has_own_mask(job):
        # Another arm of the same method may have taken the method's file since: then there is a copy to make.
        return job.mask_path.is_file() and job.mask_path.read_bytes() == job.files.mask.read_bytes()
    if job.arm.needs_replay and not job.dense_files.replay.is_dir():
        released = " (keep_replay: false let it go)" if _replay_released(manifest) else ""
        raise StudyError(
            f"Replay buffer not found{released}: {job.dense_files.replay}\n"
            "Gradient saliency needs the buffer that dense training saves. Set keep_replay: true and train the dense "
            "agent again:\n"
            "  main(train_agent=True, create_ticket=False, run_ticket=False)\n"
            "or: rlottery run --stages dense"
        )
    return False


def _ticket_is_done(job: Job, waits: bool) -> bool:
    if waits:
        _matching_manifest(job, ticket_fingerprint(job.config, job.task, job.seed, {}), compare_inputs=False)
        return False
    _dense_manifest(job)
    mask = load_ticket_mask(job)
    manifest = _matching_manifest(job, expected_ticket_fingerprint(job, mask))
    return manifest is not None and _whole(job.files, manifest)


def has_own_mask(job: Job) -> bool:
    """Whether the arm's folder holds its mask, whole and made from the dense agent that is there now."""
    try:
        found = read_mask(job.files.mask).metadata["fingerprint"]
    except MaskError:
        return False
    return bool(found == expected_mask_fingerprint(job))


def expected_mask_fingerprint(job: Job) -> Fingerprint:
    """What the mask of this job must have been made from, given the dense agent on disk."""
    return mask_fingerprint(job.arm, job.seed, {"agent": _dense_manifest(job)["files"]["agent.safetensors"]})


def expected_ticket_fingerprint(job: Job, mask: Mask) -> Fingerprint:
    """What the ticket of this job must have been made from, given the dense run and the mask."""
    inputs = {
        "initial": _dense_manifest(job)["files"]["initial.safetensors"],
        "mask": mask.metadata["digest"],
    }
    return ticket_fingerprint(job.config, job.task, job.seed, inputs)


def load_ticket_mask(job: Job) -> Mask:
    """The mask that a ticket job trains with, from the method's file, checked against config, agent and shapes.

    Raises:
        MaskError: missing, corrupt, hostile, of other shapes, or made for something else.
    """
    mend = f"Make the masks again: rlottery run --stages mask --pruning-method {job.arm.method}"
    if not job.mask_path.exists():
        raise MaskError(f"Mask not found: {job.mask_path}\n{mend}")
    try:
        mask = read_mask(job.mask_path)
        initial = initial_kernels(job)
        for group, layers in mask.groups.items():
            check_shapes(layers, initial[group])
    except MaskError as error:
        raise MaskError(f"{error}\n{mend}") from None
    differences = difference(expected_mask_fingerprint(job), mask.metadata["fingerprint"])
    if differences:
        raise MaskError(f"{job.mask_path} was made for something else:\n  " + "\n  ".join(differences) + f"\n{mend}")
    return mask


def initial_kernels(job: Job) -> dict[str, dict[str, np.ndarray]]:
    """The dense run's initial kernels by group and path, as NumPy arrays."""
    groups: dict[str, dict[str, np.ndarray]] = {"actor": {}, "critic": {}}
    for name, array in read_arrays(job.dense_files.initial).items():
        group, _, rest = name.partition(".")
        path, _, leaf = rest.rpartition(".")
        if leaf == "kernel":
            groups[group][path] = array
    return groups


def _matching_manifest(job: Job, asked: Fingerprint, *, compare_inputs: bool = True) -> Manifest | None:
    """The manifest of a finished run of this job, or None; an error if another config made it."""
    manifest = read_manifest(job.files)
    if manifest is None or manifest["status"] != "done":
        return None
    found = dict(manifest["fingerprint"])
    if not compare_inputs:
        asked, found = ({k: v for k, v in side.items() if k != "inputs"} for side in (asked, found))
    differences = difference(asked, found)
    if differences:
        raise StudyError(
            f"{job.files.folder} holds a run of another study:\n  "
            + "\n  ".join(differences)
            + "\nPut the values back, keep this study apart with data=ANOTHER_FOLDER, or delete that folder."
        )
    return manifest


def _dense_manifest(job: Job) -> Manifest:
    manifest = read_manifest(job.dense_files)
    if manifest is None or manifest["status"] != "done" or not _whole(job.dense_files, manifest):
        raise StudyError(
            f"Dense agent not found: {job.dense_files.folder}\n"
            "Train it first: main(train_agent=True), or: rlottery run --stages dense"
        )
    return manifest


def _whole(files: RunFiles, manifest: Manifest) -> bool:
    return all((files.folder / name).is_file() for name in manifest["files"])


def _replay_released(manifest: Manifest) -> bool:
    return manifest.get("replay") == "released"
