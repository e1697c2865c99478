"""Runs that were made elsewhere: task, arm, seed, and what was scored at which step."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rlottery.errors import StudyError

MOST_STEPS = 2**53


class Row(NamedTuple):
    """One evaluation in somebody's file.

    Attributes:
        step: environment steps before it; None if the file doesn't say.
        returns: of its episodes; empty if the file doesn't say.
        where: file and line, for messages.
    """

    task: str
    arm: str
    seed: int
    step: int | None
    score: float
    where: str
    returns: Sequence[float] = ()


@dataclass(frozen=True)
class ScoredRun:
    """One arm trained on one task with one seed, somewhere else.

    Attributes:
        rows: its evaluations, in order of their steps.
    """

    task: str
    arm: str
    seed: int
    rows: tuple[Row, ...]

    @property
    def has_steps(self) -> bool:
        """Whether its files say after how many steps it was evaluated."""
        return self.rows[0].step is not None


@dataclass(frozen=True)
class Elsewhere:
    """All runs of some files.

    Attributes:
        runs: by task, arm and seed, each in the order of the files.
        kinds: arm -> "dense", "ticket", "control" or "other", where a column says so.
        controls: control -> the tickets that it is a control of, where a column says so.
        sparsity: arm -> pruned share of its weights, where a column says so.
        sources: what was read, one line per file or group of files.
        training: whether scores are those of training episodes, with exploration.
    """

    runs: tuple[ScoredRun, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sparsity: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    training: bool = False


def runs_of(rows: Iterable[Row]) -> tuple[ScoredRun, ...]:
    """The runs that these evaluations belong to.

    Raises:
        StudyError: a score isn't finite, a step is out of range, or an evaluation is there twice; with file and line.
    """
    found: dict[tuple[str, str, int], dict[int | None, Row]] = {}
    for row in rows:
        of_run = found.setdefault((row.task, row.arm, row.seed), {})
        run = f"arm {row.arm}, seed {row.seed} on {row.task}"
        if not math.isfinite(row.score):
            raise StudyError(
                f"{row.where}: the score is {row.score}. Give a run that diverged the score of an untrained agent, or "
                "leave it out."
            )
        if row.step is not None and not 0 <= row.step < MOST_STEPS:
            raise StudyError(f"{row.where}: step {row.step} is out of range.")
        if (other := of_run.get(row.step)) is not None:
            at = "has no step, and" if row.step is None else f"step {row.step:,}:"
            raise StudyError(f"{row.where}: {run}, {at} is there twice, the first time at {other.where}.")
        if of_run and (None in of_run) != (row.step is None):
            raise StudyError(f"{row.where}: {run} has evaluations with and without a step.")
        of_run[row.step] = row
    return tuple(
        ScoredRun(*key, tuple(sorted(of_run.values(), key=lambda row: row.step or 0))) for key, of_run in found.items()
    )
