"""Policies whose weights are 8-bit integers, and what that costs in return, in the run's own task."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

from rlottery import envs
from rlottery.errors import StudyError
from rlottery.export.finished_run import FinishedRun, read_finished
from rlottery.export.folded_policy import FoldedPolicy, read_folded
from rlottery.export.returns import Returns
from rlottery.processes.children import ChildError, call_in_child
from rlottery.storage.trust import allow_code_of_run
from rlottery.training.evaluation import evaluate

LARGEST = 127
"""Of the integers, with either sign."""
SECONDS = 3600.0
"""The longest that evaluating may take."""


def in_int8(policy: FoldedPolicy) -> FoldedPolicy:
    """The policy with each unit's weights rounded to multiples of the largest one's 127th part. Biases stay floats."""
    layers, scales = [], []
    for kernel, bias in policy.policy.layers:
        step = np.abs(kernel).max(axis=0, initial=0) / np.float32(LARGEST)
        step = np.where(step > 0, step, np.float32(1))
        layers.append((np.rint(kernel / step).astype(np.float32) * step, bias))
        scales.append(step)
    return replace(policy, policy=replace(policy.policy, layers=tuple(layers)), scales=tuple(scales))


def measured(run: FinishedRun, *, trust: bool) -> Returns:
    """The returns of a run's policy with and without int8 weights, on the study's evaluation episodes.

    The task runs in a process of its own.

    Raises:
        UntrustedError: your own commands have not run the task with these arguments in that study, and not `trust`.
        StudyError: the policies can't be evaluated.
        TaskError: the task can't be made.
    """
    run.evaluation_seeds()
    allow_code_of_run(run.files.folder, run.task, trust=trust, what="--int8")
    try:
        episodes, before, after, successes = call_in_child(
            f"{__name__}:evaluate_both", str(run.files.folder.absolute()), seconds=SECONDS
        )
    except ChildError as error:
        raise StudyError(f"--int8 evaluates policies in {run.task.id}, which failed: {error}") from None
    return Returns(episodes, before, after, successes and tuple(successes))


def evaluate_both(folder: str) -> tuple[object, ...]:
    """The fields of a run's `Returns`. It runs the task's code, so `measured` calls it in a child process."""
    run = read_finished(Path(folder))
    read, seeds = read_folded(run, trust=True), run.evaluation_seeds()
    environment = envs.make(run.task.id, run.task.kwargs)
    results = [evaluate(policy.policy.squashed, [environment], seeds) for policy in (read.folded, in_int8(read.folded))]
    means = [float(np.mean(result.returns)) for result in results]
    successes = [float(np.mean(result.successes)) for result in results if result.successes is not None]
    return astuple(Returns(len(seeds), means[0], means[1], (successes[0], successes[1]) if successes else None))
