"""Reads a finished run: its manifest, and the network that chooses actions, verified against its checksum."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from rlottery import envs
from rlottery.activations import ACTIVATIONS, DEFAULT_ACTIVATION, Activation
from rlottery.agents.algorithms import ALGORITHMS
from rlottery.agents.description import Description
from rlottery.config import Task
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.fold import Layers
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import by_network, check_shapes
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import (
    DamagedError,
    Manifest,
    algorithm_in,
    check_files,
    check_is_not_lost,
    read_manifest,
)
from rlottery.storage.paths import RunFiles
from rlottery.storage.trust import allow_code_of_run


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run as its manifest describes it. Its agent has not been read yet."""

    files: RunFiles
    manifest: Manifest
    algorithm: Description
    task: Task
    seed: int
    arm: str
    activation: Activation

    @property
    def sparsity(self) -> float:
        """Pruned share of the weights of the network that chooses actions; 0.0 for a dense agent."""
        return float(self.manifest.get("sparsity", {}).get(self.algorithm.acting.partition(".")[0], 0.0))

    @property
    def digest(self) -> str:
        """SHA-256 of the agent's file in hexadecimal, from the manifest."""
        return str(self.manifest["files"][self.files.agent.name]["sha256"])

    def evaluation_seeds(self) -> list[int]:
        """Seeds of the episodes that the run's study evaluates on.

        Raises:
            DamagedError: the manifest doesn't say.
        """
        fingerprint = self.manifest["fingerprint"]
        study, episodes = fingerprint.get("name"), fingerprint.get("evaluation", {}).get("episodes")
        if not isinstance(study, str) or not isinstance(episodes, int):
            raise DamagedError(self.files.manifest, "it doesn't say how the run was evaluated")
        return evaluation_seeds(study, self.task.name, episodes)


def read_finished(folder: Path) -> FinishedRun:
    """The run in a folder, data/runs/TASK/seed_N/ARM.

    Raises:
        StudyError: there is no run, it is not finished, or its manifest is damaged.
    """
    files = RunFiles(folder)
    manifest = _finished_manifest(files)
    try:
        fingerprint = manifest["fingerprint"]
        algorithm = ALGORITHMS[algorithm_in(fingerprint) or ""]
        task = Task.model_validate(fingerprint["task"])
        activation = fingerprint.get("network", {}).get("activation", DEFAULT_ACTIVATION)
        return FinishedRun(
            files, manifest, algorithm, task, manifest["seed"], manifest["arm"], _known_activation(activation)
        )
    except (KeyError, ValidationError):
        raise DamagedError(files.manifest, "it doesn't say which algorithm, task, seed and arm the run is of") from None


def read_actor(run: FinishedRun) -> tuple[Layers, Layers]:
    """Weights and masks of the network that chooses actions, verified against their checksums; no masks if it is dense.

    Raises:
        DamagedError: a file is missing or its content changed.
        StudyError: the agent has no such network, or the mask belongs to another agent.
    """
    files, entries = run.files, run.manifest["files"]
    check_files(files.folder, entries, files.agent.name, files.mask.name)
    actor = _layers(read_arrays(files.agent), f"params.{run.algorithm.acting}.")
    if actor is None:
        raise StudyError(f"{files.agent} has no network that chooses actions as those of rlottery's agents do.")
    if files.mask.name not in entries:
        return actor, {}
    group, _, network = run.algorithm.acting.partition(".")
    layers = by_network(read_mask(files.mask).groups[group])[network]
    mask = {path.rpartition(".")[2]: layer for path, layer in layers.items()}
    try:
        check_shapes(mask, {name: layer["kernel"] for name, layer in actor.items()})
    except MaskError as error:
        raise StudyError(f"The mask {files.mask} doesn't belong to the agent {files.agent}. {error}") from None
    if any(np.any(layer["kernel"][~mask[name]]) for name, layer in actor.items()):
        raise StudyError(f"The agent {files.agent} doesn't match its mask: pruned weights are not zero.")
    return actor, {name: {"kernel": kept} for name, kept in mask.items()}


def read_statistics(run: FinishedRun) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and variance (obs,) that the policy normalises observations with, from the agent's file; None if it doesn't.

    Raises:
        DamagedError: they are no finite numbers.
    """
    arrays, prefix = read_arrays(run.files.agent), run.algorithm.statistics
    names = [f"{prefix}.{name}" for name in ("mean", "variance")]
    if prefix is None or not all(name in arrays for name in names):
        return None
    mean, variance = (arrays[name] for name in names)
    if not np.isfinite([mean, variance]).all() or (variance < 0).any():
        raise DamagedError(run.files.agent, f"{prefix} has no finite mean and variance")
    return mean, variance


class Spaces(NamedTuple):
    """The sizes of a task's observations and actions, and the task's own actions.

    Attributes:
        action_low, action_high: the bounds, (act,) float32; empty if actions are discrete.
        first_action: the smallest of the integers that are discrete actions; None if actions are continuous.
    """

    observation_size: int
    action_size: int
    action_low: np.ndarray
    action_high: np.ndarray
    first_action: int | None = None


def spaces_of(run: FinishedRun, actor: Layers, *, trust: bool) -> Spaces:
    """The spaces of the run's task: from its manifest, or of a run of an earlier version from its environment.

    Args:
        trust: whether the environment may be made even if somebody else's study names it.

    Raises:
        UntrustedError: an environment is needed, and may not be made.
        TaskError: the task can't be made here.
        StudyError: the task here differs from the one that the actor was trained on.
    """
    inputs, outputs = actor["layer_0"]["kernel"].shape[0], actor[f"layer_{len(actor) - 1}"]["kernel"].shape[1]
    recorded: Any = run.manifest.get("spaces")
    if recorded is not None and "actions" in recorded:
        none = np.empty(0, np.float32)
        found = Spaces(recorded["observation_size"], recorded["actions"], none, none, recorded["first_action"])
        where = "as it was in training"
    elif recorded is not None:
        with np.errstate(all="ignore"):
            low, high = (np.array(recorded[key]).astype(np.float32) for key in ("action_low", "action_high"))
            wrong = low.shape != high.shape or not np.isfinite(high - low).all() or (low > high).any()
        if wrong:
            raise DamagedError(run.files.manifest, "its action_low and action_high are no bounds")
        found, where = Spaces(recorded["observation_size"], len(low), low, high), "as it was in training"
    else:
        allow_code_of_run(run.files.folder, run.task, trust=trust, what="Reading the bounds of its actions")
        environment = envs.make_closed(run.task.id, run.task.kwargs)
        actions = environment.actions
        if not isinstance(actions, envs.ActionBounds):
            raise StudyError(f"{run.task.id} has discrete actions on this machine, and the run's were continuous.")
        found = Spaces(environment.observation_size, actions.size, actions.low, actions.high)
        where = "as it is on this machine"
    if (inputs, outputs) != (found.observation_size, run.algorithm.outputs_per_action * found.action_size):
        raise StudyError(
            f"The agent {run.files.agent} doesn't fit {run.task.id} {where}: its actor has {inputs} inputs and "
            f"{outputs} outputs, but observations have {found.observation_size} entries and actions "
            f"{found.action_size}."
        )
    return found


def _known_activation(name: object) -> Activation:
    """The activation function of this name. Raises KeyError if there is none."""
    return {str(one): one for one in ACTIVATIONS}[str(name)]


def _finished_manifest(files: RunFiles) -> Manifest:
    manifest = read_manifest(files) if files.folder.is_dir() else None
    if manifest is None:
        check_is_not_lost(files)
        if any(path.exists() for path in (files.metrics, files.mask, files.checkpoint, files.progress)):
            raise StudyError(f"The run in {files.folder} is not finished. Run its study again to continue it.")
        wrong = "contains no run" if files.folder.is_dir() else "is not a folder"
        raise StudyError(f"{files.folder} {wrong}. Give the folder of a finished run: data/runs/TASK/seed_N/ARM")
    if manifest["status"] != "done":
        raise StudyError(
            f"The run in {files.folder} {manifest['status']}, so it has no policy. "
            + manifest.get("error", "").split("\n")[0][:300]
        )
    if files.agent.name not in manifest["files"]:
        raise DamagedError(files.manifest, f"it lists no {files.agent.name}")
    return manifest


def _layers(arrays: Mapping[str, np.ndarray], prefix: str) -> Layers | None:
    """The network with this prefix in an agent's arrays, from input to output; None if it is no finite MLP."""
    found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
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
