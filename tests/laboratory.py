"""A study with many kinds of arms, trained in this process in seconds, and what was seen of each run as it began."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.agents.base import to_arrays
from rlottery.config import Config, load_config
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.disk import read_arrays
from rlottery.storage.study_record import note_command
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, Job, list_jobs
from rlottery.study.stages import masking, train_run
from rlottery.study.stages.run_stage import run_stage
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import Loop, TrainingPlan

ENV_STEPS, WARMUP, REWIND_STEP, INTERVAL = 300, 100, 130, 100
STUDY = f"""\
name: laboratory
tasks: [Pendulum-v1]
seeds: [0, 1]
network: {{actor: [16, 16], critic: [16, 16]}}
sac: {{batch_size: 32}}
training: {{env_steps: {ENV_STEPS}, warmup_steps: {WARMUP}}}
evaluation: {{interval: {INTERVAL}, episodes: 1, score_evaluations: 1, untrained_policies: 2}}
"""
MAGNITUDE = "  - {name: magnitude, criterion: magnitude, sparsity: 0.8}\n"
ARMS = (
    "arms:\n"
    + MAGNITUDE
    + """\
  - {name: erk, criterion: taylor, sparsity: {actor: 0.8, critic: 0.7}, allocation: erk, batches: 2, batch_size: 16}
  - {name: imp, criterion: magnitude, sparsity: 0.75, schedule: {iterative: {rate: 0.5}}, rewind: {step: 130}}
  - {name: fine-tuned, criterion: magnitude, sparsity: 0.5, rewind: none}
  - {name: gradual, schedule: {gradual: {interval: 20}}, sparsity: 0.8}
  - {name: set, schedule: {set: {interval: 20}}, sparsity: 0.8}
  - {name: rigl, schedule: {rigl: {interval: 20}}, sparsity: 0.8, rescale: true}
  - {name: rescaled, criterion: magnitude, sparsity: 0.8, rescale: true}
  - {name: snip, criterion: snip, sparsity: 0.8, batches: 2, batch_size: 16}
  - {name: grasp, criterion: grasp, sparsity: 0.8, batches: 2, batch_size: 16}
  - {name: synflow, criterion: synflow, sparsity: 0.8}
  - {name: magnitude-init, criterion: magnitude-init, sparsity: 0.8}
  - {name: units, criterion: wanda, sparsity: 0.6, structure: units, batches: 2, batch_size: 16}
  - name: given
    criterion: gradient
    allocation: {actor: [0.5, 0.75, 0.0], critic: [0.0, 0.75, 0.5]}
    estimator: abs-mean
    batches: 2
    batch_size: 16
  - {name: drawn, criterion: random, sparsity: 0.8}
  - {name: random, control: random, of: magnitude}
  - {name: random-erk, control: random-erk, of: magnitude}
  - {name: shuffled, control: shuffled, of: magnitude}
  - {name: first-layer, control: first-layer, of: magnitude}
  - {name: inverted, control: inverted, of: magnitude}
  - {name: permuted, control: permuted-weights, of: magnitude}
  - {name: fresh, control: fresh-weights, of: magnitude}
  - {name: fresh-rescaled, control: fresh-weights, of: magnitude, rescale: true}
  - {name: small-dense, control: small-dense, of: magnitude}
  - {name: dense-again, control: dense-again}
  - {name: random-imp, control: random, of: imp}
  - {name: random-fine-tuned, control: random, of: fine-tuned}
  - {name: random-rigl, control: random, of: rigl}
  - {name: inverted-drawn, control: inverted, of: drawn}
  - {name: inverted-erk, control: inverted, of: erk}
  - {name: transferred, transfer: {seed: next}, of: magnitude}
  - {name: random-transferred, control: random, of: transferred}
"""
)
BOTH_SEEDS = ("dense", "magnitude", "transferred")
"""Arms of seed 1; seed 0 has all."""

UNDER_MASKS = (
    *("erk", "snip", "grasp", "synflow", "magnitude-init", "given", "drawn"),
    *("random-erk", "inverted-drawn", "inverted-erk", "transferred", "random-transferred"),
)
"""Arms that are trained without the kernels, by one program for all of them; with kernels, each would have its own.
Others are trained with kernels in the same ways, and `tests/agents/kernels/test_equal.py` has all kinds of masks."""

Key = tuple[int, str]
"""Seed and arm."""


@dataclass(frozen=True)
class Began:
    """A run as its training began: its agent's arrays, its plan, its buffer and steps so far."""

    agent: dict[str, np.ndarray]
    plan: TrainingPlan
    stored: int
    env_steps: int


@dataclass
class Laboratory:
    """A study, the jobs that were done, and what was seen of them.

    Attributes:
        began: how each run began.
        read: the replay that each mask was scored by, one entry a pass.
    """

    config: Config
    done: list[Job] = field(default_factory=list)
    began: dict[Key, Began] = field(default_factory=dict)
    read: dict[Key, list[Any]] = field(default_factory=dict)

    @cached_property
    def jobs(self) -> list[Job]:
        """The study's jobs, in order."""
        return list_jobs(self.config, arms_of(self.config, None), STAGES)

    def job(self, arm: str, stage: str = "ticket", seed: int = 0) -> Job:
        """A job of the study, done or not."""
        stage = "dense" if arm == "dense" and stage == "ticket" else stage
        return next(j for j in self.jobs if (j.arm_name, j.stage, j.seed) == (arm, stage, seed))

    def mask(self, arm: str, seed: int = 0) -> dict[str, np.ndarray]:
        """An arm's mask by layer, ``actor.layer_0`` and so on."""
        return read_mask(self.job(arm, seed=seed).files.mask).all_layers

    def agent(self, arm: str, seed: int = 0) -> dict[str, np.ndarray]:
        """The agent that an arm's training ended with."""
        return read_arrays(self.job(arm, seed=seed).files.agent)

    def initial(self, seed: int = 0) -> dict[str, np.ndarray]:
        """The dense run's initial weights, ``actor.layer_0.kernel`` and so on."""
        return read_arrays(self.job("dense", seed=seed).files.initial)

    def run(self, wanted: Callable[[Job], bool] = lambda job: True) -> None:
        """Do the wanted jobs in order, in this process."""
        with self._seen():
            for job in self.jobs:
                if wanted(job):
                    kernels = False if job.arm_name in UNDER_MASKS else None  # None: where they can be used
                    run_stage(job, make_learner=partial(CpuLearner, kernels=kernels))
                    self.done.append(job)

    @contextmanager
    def _seen(self) -> Iterator[None]:
        train, gather = train_run.train, masking.gather_statistics
        doing: list[Key] = []

        def train_seen(loop: Loop, plan: TrainingPlan, *rest: Any) -> Iterator[Loop]:
            streams = plan.streams
            agent = copied(loop.learner.state)
            self.began[streams.seed, streams.arm] = Began(agent, plan, loop.replay.size, loop.env_steps)
            return train(loop, plan, *rest)

        def gather_seen(*arguments: Any, stored: Any = None, **more: Any) -> Any:
            self.read.setdefault(doing[-1], []).append(stored)
            return gather(*arguments, stored=stored, **more)

        def create_mask(job: Job) -> None:
            doing.append((job.seed, job.arm_name))
            masking.create_mask(job)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train_run, "train", train_seen)
            patch.setattr("rlottery.study.stages.run_stage.create_mask", create_mask)
            patch.setattr(masking, "gather_statistics", gather_seen)
            yield


def laboratory(folder: Path, arms: str = ARMS, *overrides: str) -> Laboratory:
    """The study with its data in `folder`, with nothing done."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(STUDY + arms)
    config = load_config(path, [f"data={folder / 'data'}", *overrides])
    note_command(config, has_work=True)  # else each plan would look into all masks for how they were made
    return Laboratory(config)


def copied(state: Any) -> dict[str, np.ndarray]:
    """A state's arrays, safe from what is done to it: an update uses up the one that it is given."""
    return {name: np.array(array) for name, array in to_arrays(state).items()}


def places(agent: dict[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    """All that an agent holds for the weights of a kernel: online, moments, and the target of a critic."""
    group, _, path = layer.partition(".")
    names = [f"params.{layer}", *(f"optimizer.{group}.0.{moment}.{path}" for moment in ("mu", "nu"))]
    names += [f"target_critic.{path}"] if group == "critic" else []
    return {name: agent[f"{name}.kernel"] for name in names}
