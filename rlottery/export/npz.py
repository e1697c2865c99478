"""Exports the policy of a finished run as one small file: reads, checks and folds it, and compares the actions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlottery.agents.description import Squash
from rlottery.export.finished_run import read_actor, read_finished, read_statistics, spaces_of
from rlottery.export.new_file import write_new
from rlottery.export.policy import layer_pairs, mlp_outputs, squashed
from rlottery.export.policy_file import policy_bytes
from rlottery.pruning.fold import Layers, fold
from rlottery.version import __version__

OBSERVATIONS = 1_000
"""Random observations on which the actions are compared."""


@dataclass(frozen=True)
class Export:
    """The file that was written, and how its policy compares with the run's actor.

    Attributes:
        bytes: size of the file.
        weights: weights in the kernels of the file.
        of_weights: weights of the run's actor, including those for exploration.
        dead, constant: hidden units that were removed.
        of_units: hidden units of the run's actor.
        unread: observation entries that the policy doesn't read, out of `observation_size`.
        difference: largest difference between an action of the file's policy and one of the run's, both in [-1, 1];
            of discrete actions, between the outputs that choose them.
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
    discrete: bool = False

    def __str__(self) -> str:
        compared, within = ("outputs", "") if self.discrete else ("actions", "actions in [-1, 1], ")
        return (
            f"Wrote {self.file}, {self.bytes:,} bytes.\n"
            f"Weights: {self.weights:,}, of {self.of_weights:,} in the run.\n"
            f"Hidden units removed: {self.dead:,} dead and {self.constant:,} constant, of {self.of_units:,}.\n"
            f"Observation entries that are not read: {self._unread_text}.\n"
            f"Largest difference from the run's {compared}: {self.difference:.1e} "
            f"({within}{OBSERVATIONS:,} random observations)."
        )

    @property
    def _unread_text(self) -> str:
        """``none of 4``, ``entry 0 (1 of 4)``, ``entries 0 and 3 (2 of 4)``."""
        size, number = self.observation_size, len(self.unread)
        if number == 0:
            return f"none of {size}"
        if number == size:
            return f"all {size}, so the actions never change"
        *first, last = map(str, self.unread)
        entries = f"entries {', '.join(first)} and {last}" if first else f"entry {last}"
        return f"{entries} ({number} of {size})"


def export_policy(folder: Path, to: Path | None = None, *, trust: bool = False) -> Export:
    """Write the deterministic policy of a finished run, folded.

    Args:
        folder: the run's folder.
        to: the file to write; None for one in the working directory that is named after the run.
        trust: as for `load_agent`.

    Raises:
        StudyError: the folder has no finished run, its files are damaged, or the file can't be written; or as
            `load_agent`.
        TaskError: the task is needed for the bounds of the actions, and can't be made.
    """
    run = read_finished(folder)
    actor, masks = read_actor(run)
    observation_size, action_size, action_low, action_high, first_action = spaces_of(run, actor, trust=trust)
    whole = _deciding(actor, action_size)
    folded = fold(whole, _deciding(masks, action_size) if masks else {})
    read = folded.masks["layer_0"]["kernel"].any(axis=1) if masks else np.ones(observation_size, np.bool_)
    unread = tuple(np.flatnonzero(~read).tolist())
    about = {
        "task": run.task.id,
        "seed": run.seed,
        "arm": run.arm,
        "sparsity": run.sparsity,
        "observation_size": observation_size,
        "action_size": action_size,
        "action_low": action_low.tolist(),
        "action_high": action_high.tolist(),
        "unread_observations": unread,
        "rlottery": __version__,
    }
    squash, statistics = run.algorithm.squash, read_statistics(run)
    data = policy_bytes(folded, about, squash, statistics, first_action)
    file = to or Path(f"{run.task.name}_seed_{run.seed}_{folder.resolve().name}.npz")
    write_new(file, data)
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
        difference=_difference(whole, folded.params, squash if first_action is None else None),
        discrete=first_action is not None,
    )


def _deciding(layers: Layers, action_size: int) -> Layers:
    """The network, or its masks, with only the outputs that the deterministic policy reads, one per action entry."""
    last = f"layer_{len(layers) - 1}"
    return layers | {last: {leaf: array[..., :action_size] for leaf, array in layers[last].items()}}


def _weights(params: Layers, masks: Layers) -> int:
    """Number of weights in the kernels that are not pruned."""
    return sum(int(masks[name]["kernel"].sum()) if masks else layer["kernel"].size for name, layer in params.items())


def _difference(one: Layers, other: Layers, squash: Squash | None) -> float:
    """The largest difference between the actions of two policies on random (normalised) observations, in float32.

    Of discrete actions, for which `squash` is None, between the outputs that choose them.
    """
    entries = one["layer_0"]["kernel"].shape[0]
    observations = np.random.default_rng(0).normal(size=(OBSERVATIONS, entries)).astype(np.float32)
    first, second = (mlp_outputs(layer_pairs(network), observations) for network in (one, other))
    if squash is not None:
        first, second = squashed(squash, first), squashed(squash, second)
    return float(np.abs(first - second).max())
