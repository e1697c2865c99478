"""From a finished run to its policy as one small file: read, checked, folded, compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import StudyError
from rlottery.export.finished_run import environment_of, read_actor, read_finished
from rlottery.export.policy_file import policy_bytes
from rlottery.pruning.fold import Layers, fold
from rlottery.storage.disk import write_bytes
from rlottery.version import __version__

OBSERVATIONS = 1_000
"""Random ones, on which the actions are compared."""


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
    run = read_finished(folder)
    actor, masks = read_actor(run)
    environment = environment_of(run, actor)
    observation_size, action_size = environment.observation_size, environment.action_size
    whole = _means(actor)
    folded = fold(whole, _means(masks) if masks else {})
    read = folded.masks["layer_0"]["kernel"].any(axis=1) if masks else np.ones(observation_size, np.bool_)
    unread = tuple(np.flatnonzero(~read).tolist())
    about = {
        "task": run.task.id,
        "seed": run.seed,
        "arm": run.arm,
        "sparsity": run.sparsity,
        "observation_size": observation_size,
        "action_size": action_size,
        "action_low": environment.action_low.tolist(),
        "action_high": environment.action_high.tolist(),
        "unread_observations": unread,
        "rlottery": __version__,
    }
    data = policy_bytes(folded, about)
    file = to or Path(f"{run.task.name}_seed_{run.seed}_{folder.resolve().name}.npz")
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
    entries = one["layer_0"]["kernel"].shape[0]
    observations = np.random.default_rng(0).normal(size=(OBSERVATIONS, entries)).astype(np.float32)
    return float(np.abs(_actions(one, observations) - _actions(other, observations)).max())


def _actions(means: Layers, observations: np.ndarray) -> np.ndarray:
    """Actions (batch, act) in [-1, 1]."""
    *hidden_layers, output = means.values()
    hidden: Any = observations
    for layer in hidden_layers:
        hidden = np.maximum(hidden @ layer["kernel"] + layer["bias"], 0)
    actions: np.ndarray = np.tanh(hidden @ output["kernel"] + output["bias"])
    return actions
