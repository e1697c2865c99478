"""A finished run, read to be used: what its manifest says, and its actor, found to be what was written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from rlottery import envs
from rlottery.config import Task
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.fold import Layers
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import check_shapes
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import DamagedError, Manifest, check_files, read_manifest
from rlottery.storage.paths import RunFiles

_ACTOR = "params.actor."


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run that is done says of itself; its agent has not been looked at yet."""

    files: RunFiles
    manifest: Manifest
    task: Task
    seed: int
    arm: str

    @property
    def sparsity(self) -> float:
        """Pruned share of the actor's weights; 0.0 of a dense agent."""
        return float(self.manifest.get("sparsity", {}).get("actor", 0.0))

    @property
    def digest(self) -> str:
        """SHA-256 of the agent's file, in hexadecimal, as the manifest has it.

        Raises:
            DamagedError: the manifest names no agent.
        """
        entries = self.manifest["files"]
        if self.files.agent.name not in entries:
            raise _no_agent(self.files)
        return str(entries[self.files.agent.name]["sha256"])


def read_finished(folder: Path) -> FinishedRun:
    """The run in a folder, data/runs/TASK/seed_N/ARM.

    Raises:
        StudyError: there is no run, it is not done, or its manifest is damaged.
    """
    files = RunFiles(folder)
    manifest = _done(files)
    try:
        task = Task.model_validate(manifest["fingerprint"]["task"])
        return FinishedRun(files, manifest, task, manifest["seed"], manifest["arm"])
    except (KeyError, ValidationError):
        raise DamagedError(files.manifest, "it doesn't say of which task, seed and arm the run is") from None


def read_actor(run: FinishedRun) -> tuple[Layers, Layers]:
    """The actor's weights and masks, once the files have been found to be what was written; no masks if it is dense.

    Raises:
        DamagedError: a file is missing or not what was written.
        StudyError: the agent's actor is none that this project trains, or the mask is another one's.
    """
    files, entries = run.files, run.manifest["files"]
    if files.agent.name not in entries:
        raise _no_agent(files)
    check_files(files.folder, entries, files.agent.name, files.mask.name)
    actor = _layers(read_arrays(files.agent))
    if actor is None:
        raise StudyError(f"{files.agent} holds no actor of SAC's: only those can act outside of training.")
    if files.mask.name not in entries:
        return actor, {}
    mask = read_mask(files.mask).groups["actor"]
    try:
        check_shapes(mask, {name: layer["kernel"] for name, layer in actor.items()})
    except MaskError as error:
        raise StudyError(f"{files.mask} is of another agent than {files.agent}. {error}") from None
    if any(np.any(layer["kernel"][~mask[name]]) for name, layer in actor.items()):
        raise StudyError(f"{files.agent} does not keep to its mask: pruned weights are not zero.")
    return actor, {name: {"kernel": kept} for name, kept in mask.items()}


def environment_of(run: FinishedRun, actor: Layers) -> envs.Environment:
    """The run's environment, closed: to be asked for its sizes and its actions' bounds.

    Raises:
        TaskError: the task can't be made here.
        StudyError: it is another one here than the actor was trained on.
    """
    environment = envs.make(run.task.id, run.task.kwargs)
    environment.close()
    sizes = environment.observation_size, environment.action_size
    inputs, outputs = actor["layer_0"]["kernel"].shape[0], actor[f"layer_{len(actor) - 1}"]["kernel"].shape[1]
    # The actor gives a mean and the logarithm of a deviation for every action.
    if (inputs, outputs) != (sizes[0], 2 * sizes[1]):
        raise StudyError(
            f"{run.files.agent} is of another task than {run.task.id} is here: its actor has {inputs} inputs and "
            f"{outputs} outputs, the task {sizes[0]} observation entries and {sizes[1]} actions."
        )
    return environment


def _no_agent(files: RunFiles) -> DamagedError:
    return DamagedError(files.manifest, f"it names no {files.agent.name}")


def _done(files: RunFiles) -> Manifest:
    """The manifest of a run that is done."""
    if not files.folder.is_dir():
        raise StudyError(f"{files.folder} is no folder. Give a finished run's: data/runs/TASK/seed_N/ARM")
    manifest = read_manifest(files)
    if manifest is None:
        if any(path.exists() for path in (files.metrics, files.mask, files.checkpoint, files.progress)):
            raise StudyError(f"The run in {files.folder} is not finished. Run its study again, and it goes on.")
        raise StudyError(f"{files.folder} holds no run. Give a finished run's folder: data/runs/TASK/seed_N/ARM")
    if manifest["status"] != "done":
        raise StudyError(
            f"The run in {files.folder} {manifest['status']}, so it has no policy. "
            + manifest.get("error", "").split("\n")[0][:300]
        )
    return manifest


def _layers(arrays: Mapping[str, np.ndarray]) -> Layers | None:
    """The actor in an agent's arrays, from input to output, or None if it is no multilayer perceptron of SAC's."""
    found = {name.removeprefix(_ACTOR): array for name, array in arrays.items() if name.startswith(_ACTOR)}
    names = [f"layer_{index}" for index in range(len(found) // 2)]
    if not names or found.keys() != {f"{name}.{leaf}" for name in names for leaf in ("kernel", "bias")}:
        return None
    layers = {name: {leaf: found[f"{name}.{leaf}"] for leaf in ("kernel", "bias")} for name in names}
    width: int | None = None
    for layer in layers.values():
        kernel, bias = layer["kernel"], layer["bias"]
        if kernel.ndim != 2 or bias.shape != kernel.shape[1:] or width not in (None, kernel.shape[0]):
            return None
        if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in layer.values()):
            return None
        width = kernel.shape[1]
    return layers
