"""Exports a policy as one small file, and compares the actions that the file computes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlottery.errors import StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.folded_policy import FoldedPolicy, Folding, fold_policy, read_folded
from rlottery.export.formats import COMMAND, FORMATS, FUNCTION, Caller, format_of, writer_of
from rlottery.export.int8 import in_int8, measured
from rlottery.export.new_file import check_new, write_new
from rlottery.export.policy import Policy
from rlottery.export.returns import Returns

OBSERVATIONS = 1_000
"""Random observations on which the actions are compared."""
LARGEST_DIFFERENCE = 0.01
"""Of actions in [-1, 1], and of the share of discrete ones. Rounding doesn't explain more: no such file is written."""


@dataclass(frozen=True)
class Export:
    """The file that was written, and how its actions compare with those of the run or the policy that was exported.

    Attributes:
        bytes: size of the file.
        weights: weights in the kernels of the file.
        of_weights: weights of the actor, including those for exploration, without pruned ones. Of a policy, the weights
            that are zero count as pruned.
        dead, constant: hidden units that were removed.
        of_units: hidden units of the actor.
        unread: observation entries that the policy doesn't read, out of `observation_size`.
        difference: largest difference between an action of the file and one of the actor, both in [-1, 1]; of discrete
            actions, how many of the random observations get another one.
        reader: what computed the file's actions.
        returns: what int8 weights cost, if the file has them.
        source: what was exported: "run" or "policy".
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
    reader: str = "NumPy"
    discrete: bool = False
    returns: Returns | None = None
    source: str = "run"

    def __str__(self) -> str:
        compared = f"Largest difference from the {self.source}'s actions: {self.difference:.1e} (actions in [-1, 1], "
        if self.discrete:
            compared = f"Actions that differ from the {self.source}'s: {self.difference:,.0f} ("
        counted = ", where zeros are not counted" if self.source == FUNCTION.source else ""
        cost = "" if self.returns is None else f"\n{self.returns}"
        return (
            f"Wrote {self.file}, {self.bytes:,} bytes.\n"
            f"Weights: {self.weights:,}, of {self.of_weights:,} in the {self.source}{counted}.\n"
            f"Hidden units removed: {self.dead:,} dead and {self.constant:,} constant, of {self.of_units:,}.\n"
            f"Observation entries that are not read: {self._unread_text}.\n"
            f"{compared}{OBSERVATIONS:,} random observations, computed with {self.reader}).{cost}"
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


def export_policy(
    folder: Path, to: Path | None = None, format: str | None = None, *, int8: bool = False, trust: bool = False
) -> Export:
    """Write the deterministic policy of a finished run, folded.

    Args:
        folder: the run's folder.
        to: the file to write; None for one in the working directory that is named after the run.
        format: one of `FORMATS`; None for that of the ending of `to`, or an .npz.
        int8: whether weights are 8-bit integers. The policy is then evaluated in its task, with and without.
        trust: as for `load_agent`; with `int8`, whether the task may be made even if the run is of somebody else's
            study.

    Raises:
        UntrustedError: the task is needed, your own commands have not run it in that study, and not `trust`.
        StudyError: there is no such format or it can't be written here, the folder has no finished run, its files are
            damaged, or the file can't be written; or as `load_agent`.
        TaskError: the task is needed for the bounds of the actions, and can't be made.
    """
    chosen = format_of(format, to, int8=int8)
    run = read_finished(folder)  # what is wrong with the command comes before what is missing here
    writer_of(chosen)
    if to is not None:
        check_new(to)
    made = read_folded(run, trust=trust)
    default = f"{run.task.name}_seed_{run.seed}_{folder.resolve().name}{FORMATS[chosen].endings[0]}"
    file = to or Path(default)
    check_new(file)
    if int8:
        made = made._replace(folded=replace(in_int8(made.folded), returns=measured(run, trust=trust)))
    return _written(file, chosen, made, COMMAND)


def save_policy(policy: Policy, to: str | Path, format: str | None = None) -> Export:
    """Write a policy, such as one whose layers you have pruned, to a file for other programs, folded.

    Its weights that are zero count as pruned. `rlottery export` does the same for runs.

    Args:
        policy: as `load_agent` returns it, or with other `layers` by `dataclasses.replace`. The file records its `arm`
            and its `sparsity`.
        to: the file to write.
        format: one of `FORMATS`; None for that of the ending of `to`.

    Returns:
        What was written, and how its actions compare with the policy's.

    Raises:
        StudyError: there is no such format or it can't be written here, an attribute of the policy can't be written,
            such as layers that don't fit together, or the file exists or can't be written.
    """
    file = Path(to)
    chosen = format_of(format, file, caller=FUNCTION)
    writer_of(chosen, FUNCTION)
    check_new(file, FUNCTION.to)
    return _written(file, chosen, fold_policy(policy), FUNCTION)


def _written(file: Path, chosen: str, made: Folding, caller: Caller) -> Export:
    """Write a folded policy, once its file is known to compute the same actions."""
    writer, policy = writer_of(chosen), replace(made.folded, name=file.name.removesuffix(file.suffix))
    data = writer.content(policy)
    observations = random_observations(policy.policy)
    actions, reader = writer.actions(data, policy, observations)
    _check_same(actions, policy, observations, chosen, caller)
    write_new(file, data, caller.to)
    return Export(
        file,
        len(data),
        weights=policy.weights,
        of_weights=made.of_weights,
        dead=made.dead,
        constant=made.constant,
        of_units=made.of_units,
        unread=policy.unread,
        observation_size=policy.policy.observation_size,
        difference=difference(actions, made.whole(observations), policy.policy),
        reader=reader,
        discrete=policy.policy.first_action is not None,
        returns=policy.returns,
        source=caller.source,
    )


def random_observations(policy: Policy) -> np.ndarray:
    """`OBSERVATIONS` observations (batch, obs), float32: standard normal, or so once they are normalised."""
    drawn = np.random.default_rng(0).normal(size=(OBSERVATIONS, policy.observation_size)).astype(np.float32)
    if policy.statistics is None:
        return drawn
    mean, variance = policy.statistics
    seen: np.ndarray = mean + np.sqrt(variance) * drawn
    return seen


def difference(some: np.ndarray, others: np.ndarray, policy: Policy) -> float:
    """The largest difference of actions in [-1, 1], or of discrete ones, how many differ; of actions of the task."""
    if policy.first_action is not None:
        return float(np.count_nonzero(some != others))
    low, high = policy.action_low.astype(np.float64), policy.action_high.astype(np.float64)
    half = np.where(high > low, (high - low) / 2, 1.0)
    return float(np.max(np.abs(some.astype(np.float64) - others) / half))


def _check_same(actions: np.ndarray, policy: FoldedPolicy, observations: np.ndarray, name: str, caller: Caller) -> None:
    """Raise StudyError if a file's actions are not the policy's."""
    acts = policy.policy
    expected = acts(observations)
    if actions.shape == expected.shape:
        most, found = LARGEST_DIFFERENCE, difference(actions, expected, acts)
        if acts.first_action is not None:
            most = LARGEST_DIFFERENCE * OBSERVATIONS
        else:  # bounds may be close together and far from zero, where float32 is coarse
            low, high = acts.action_low.astype(np.float64), acts.action_high.astype(np.float64)
            coarse = np.finfo(np.float32).eps * np.maximum(abs(low), abs(high))
            most += 4 * float(np.max(coarse / np.where(high > low, (high - low) / 2, 1.0)))
        if found <= most:
            return
    raise StudyError(
        f"The {name} file would compute other actions than the {caller.source}, so it was not written. Choose another "
        f"{caller.format}, and please report this with the versions that `rlottery doctor` shows."
    )
