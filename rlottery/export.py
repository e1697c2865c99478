"""From a finished run to its policy as one small file: read, checked, folded, compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

import rlottery
from rlottery import envs
from rlottery.config import Task
from rlottery.disk import read_arrays, write_bytes
from rlottery.errors import MaskError, StudyError
from rlottery.manifests import DamagedError, Manifest, check, read_manifest
from rlottery.policy_file import policy_bytes
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import check_shapes
from rlottery.sparse.fold import Layers, fold
from rlottery.store import RunFiles

OBSERVATIONS = 1_000
"""Random ones, on which the actions are compared."""

_ACTOR = "params.actor."


@dataclass(frozen=True)
class Export:
    """What was written, and what became of the actor.

    Attributes:
        bytes: of the file.
        weights: in the kernels that are left.
        of_weights: in the run's actor, the deviations of its exploring actions included.
        dead, constant: hidden units that were removed.
        of_units: hidden units that there were.
        unread: observation entries that nothing reads, of `observation_size`.
        difference: the largest between an action of the file's policy and one of the run's, both in [-1, 1].
    """

    file: Path
    bytes: int
    weights: int
    of_weights: int
    dead: int
    constant: int
    of_units: int
    unread: tuple[int, ...]
    observation_size: int
    difference: float

    def __str__(self) -> str:
        unread = f"{', '.join(map(str, self.unread)) or 'none'} (of {self.observation_size})"
        if len(self.unread) == self.observation_size:
            unread = f"all {self.observation_size}, so the actions never change"
        return (
            f"Wrote {self.file}, {self.bytes:,} bytes.\n"
            f"Weights: {self.weights:,}, of {self.of_weights:,} in the run.\n"
            f"Hidden units removed: {self.dead:,} dead and {self.constant:,} constant, of {self.of_units:,}.\n"
            f"Observation entries that nothing reads: {unread}.\n"
            f"Largest difference from the run's actions: {self.difference:.1e} "
            f"(actions in [-1, 1], {OBSERVATIONS:,} random observations)."
        )


def export_policy(folder: Path, to: Path | None = None) -> Export:
    """Write the deterministic policy of a finished run, folded.

    Args:
        folder: the run's.
        to: the file; None is one in the working directory that is named after the run.

    Raises:
        StudyError: no finished run, damaged files, another algorithm's, or a file that can't be written.
        TaskError: the task can't be made, which has to be asked for its actions' bounds.
    """
    files = RunFiles(folder)
    manifest = _finished(files)
    task, seed, arm = _facts(files, manifest)
    actor, masks = _actor(files, manifest)
    environment = envs.make(task.id, task.kwargs)
    environment.close()
    observation_size, action_size = environment.observation_size, environment.action_size
    if _sizes(actor) != (observation_size, 2 * action_size):
        raise StudyError(
            f"{files.agent} is of another task than {task.id} is here: its actor has {_sizes(actor)[0]} inputs and "
            f"{_sizes(actor)[1]} outputs, the task {observation_size} observation entries and {action_size} actions."
        )
    whole = _means(actor)
    folded = fold(whole, _means(masks) if masks else {})
    read = folded.masks["layer_0"]["kernel"].any(axis=1) if masks else np.ones(observation_size, np.bool_)
    unread = tuple(np.flatnonzero(~read).tolist())
    about = {
        "task": task.id,
        "seed": seed,
        "arm": arm,
        "sparsity": manifest.get("sparsity", {}).get("actor", 0.0),
        "observation_size": observation_size,
        "action_size": action_size,
        "action_low": environment.action_low.tolist(),
        "action_high": environment.action_high.tolist(),
        "unread_observations": unread,
        "rlottery": rlottery.__version__,
    }
    data = policy_bytes(folded, about)
    file = to or Path(f"{task.name}_seed_{seed}_{folder.resolve().name}.npz")
    _write_new(file, data)
    return Export(
        file,
        len(data),
        weights=_weights(folded.params, folded.masks),
        of_weights=_weights(actor, masks),
        dead=sum(int(units.sum()) for units in folded.dead),
        constant=sum(int(units.sum()) for units in folded.constant),
        of_units=sum(len(units) for units in folded.dead),
        unread=unread,
        observation_size=observation_size,
        difference=_difference(whole, folded.params),
    )


def _finished(files: RunFiles) -> Manifest:
    """The manifest of a run that is done.

    Raises:
        StudyError: there is no run, or it is not done; as `read_manifest`.
    """
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


def _facts(files: RunFiles, manifest: Manifest) -> tuple[Task, int, str]:
    """Task, seed and arm of a run.

    Raises:
        DamagedError: the manifest doesn't say, or can't mean what it says.
    """
    try:
        return Task.model_validate(manifest["fingerprint"]["task"]), manifest["seed"], manifest["arm"]
    except (KeyError, ValidationError):
        raise DamagedError(files.manifest, "it doesn't say of which task, seed and arm the run is") from None


def _actor(files: RunFiles, manifest: Manifest) -> tuple[Layers, Layers]:
    """The actor's weights and masks, once the files have been found to be what was written; no masks if it is dense.

    Raises:
        DamagedError: a file is missing or not what was written.
        StudyError: the agent's actor is none that this project trains, or the mask is another one's.
    """
    entries = manifest["files"]
    if files.agent.name not in entries:
        raise DamagedError(files.manifest, f"it names no {files.agent.name}")
    masked = files.mask.name in entries
    check(files.folder, entries, files.agent.name, files.mask.name)
    actor = _layers(read_arrays(files.agent))
    if actor is None:
        raise StudyError(f"{files.agent} holds no actor of SAC's: only those can be exported.")
    if not masked:
        return actor, {}
    mask = read_mask(files.mask).actor
    try:
        check_shapes(mask, {name: layer["kernel"] for name, layer in actor.items()})
    except MaskError as error:
        raise StudyError(f"{files.mask} is of another agent than {files.agent}. {error}") from None
    if any(np.any(layer["kernel"][~mask[name]]) for name, layer in actor.items()):
        raise StudyError(f"{files.agent} does not keep to its mask: pruned weights are not zero.")
    return actor, {name: {"kernel": kept} for name, kept in mask.items()}


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


def _sizes(actor: Layers) -> tuple[int, int]:
    """Inputs and outputs."""
    return actor["layer_0"]["kernel"].shape[0], actor[f"layer_{len(actor) - 1}"]["kernel"].shape[1]


def _means(layers: Layers) -> Layers:
    """SAC's actor, or its masks, with the first half of the outputs alone: the means, which decide without noise.

    The other half, the logarithms of the deviations, are for exploring.
    """
    last = f"layer_{len(layers) - 1}"
    return layers | {last: {leaf: array[..., : array.shape[-1] // 2] for leaf, array in layers[last].items()}}


def _weights(params: Layers, masks: Layers) -> int:
    """Weights in the kernels that are not pruned."""
    return sum(int(masks[name]["kernel"].sum()) if masks else layer["kernel"].size for name, layer in params.items())


def _write_new(file: Path, data: bytes) -> None:
    try:
        if file.exists():
            raise StudyError(f"{file} exists already and was left alone. Give another name: --to FILE")
        write_bytes(file, data)
    except OSError as error:
        why = f"{file.parent} is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise StudyError(f"{file} can't be written: {why}. Give another place: --to FILE") from None


def _difference(one: Layers, other: Layers) -> float:
    """The largest between two policies' actions on random observations, computed as a robot would, in float32."""
    observations = np.random.default_rng(0).normal(size=(OBSERVATIONS, _sizes(one)[0])).astype(np.float32)
    return float(np.abs(_actions(one, observations) - _actions(other, observations)).max())


def _actions(means: Layers, observations: np.ndarray) -> np.ndarray:
    """Actions (batch, act) in [-1, 1]."""
    *hidden_layers, output = means.values()
    hidden: Any = observations
    for layer in hidden_layers:
        hidden = np.maximum(hidden @ layer["kernel"] + layer["bias"], 0)
    actions: np.ndarray = np.tanh(hidden @ output["kernel"] + output["bias"])
    return actions
