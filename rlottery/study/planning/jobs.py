"""Jobs: a job is one stage of one arm for one task and seed. Jobs need the files of other jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rlottery.config import Config, Task
from rlottery.config.recipes import ROUND
from rlottery.errors import RlotteryError, or_closest
from rlottery.storage.paths import DENSE, RunFiles, Store, UntrainedFiles
from rlottery.study.planning.arms import Arm

STAGES = ("dense", "mask", "ticket")
"""The stages that a command can ask for."""
TRAINING = ("dense", "ticket")
"""The stages whose jobs train an agent."""
UNTRAINED = "untrained"
"""The stage of a job that evaluates the untrained policies of a task."""
ORDER = ("dense", "rewind", "mask", "ticket", UNTRAINED)
"""The stages of jobs; of those that are ready, the later ones start first. The rewind stage and the untrained policies
belong to the command's dense stage."""
OF_TASK = -1
"""In place of the seed, in jobs that belong to a task as a whole."""
Key = tuple[int, int, str, str]
"""Task index, seed, arm and stage. They identify a job in its study."""


def check_stages(stages: Sequence[str]) -> None:
    """Raise RlotteryError if a stage is unknown, or none is given."""
    if unknown := [stage for stage in stages if stage not in STAGES]:
        hint = or_closest(unknown[0], STAGES) or f". Choose from: {', '.join(STAGES)}."
        raise RlotteryError(f"Unknown stage {unknown[0]!r}{hint}")
    if not stages:
        raise RlotteryError(f"No stage was given. Choose from: {', '.join(STAGES)}.")


@dataclass(frozen=True)
class Job:
    """One stage of one arm for one task and seed. Workers do one or more jobs.

    Attributes:
        stage: "dense", "rewind", "mask", "ticket" or "untrained".
        task_index: an index into ``config.tasks``.
        seed: `OF_TASK` for the task's untrained policies.
        arm: None for the dense agent and its rewind points, which all arms share, and for untrained policies.
    """

    config: Config
    stage: str
    task_index: int
    seed: int
    arm: Arm | None = None

    @property
    def task(self) -> Task:
        return self.config.tasks[self.task_index]

    @property
    def arm_name(self) -> str:
        if self.arm is not None:
            return self.arm.name
        return UNTRAINED if self.stage == UNTRAINED else DENSE

    @property
    def ticket_arm(self) -> Arm:
        """The arm of a job that is not the dense agent's."""
        assert self.arm is not None
        return self.arm

    @property
    def key(self) -> Key:
        return self.task_index, self.seed, self.arm_name, self.stage

    @property
    def round_of(self) -> str | None:
        """The arm that this job's arm is a pruning round of; None if it is an arm itself."""
        arm, is_round, _ = self.arm_name.partition(ROUND)
        return arm if is_round else None

    @property
    def label(self) -> str:
        """The job's name for the user, such as ``drawer-close-v3 seed 0 dense``."""
        if self.stage == UNTRAINED:
            return f"{self.task.name} untrained policies"
        suffix = {"mask": " mask", "rewind": " rewind points"}.get(self.stage, "")
        return f"{self.task.name} seed {self.seed} {self.arm_name}{suffix}"

    @property
    def env_steps(self) -> int:
        """How many environment steps it trains for: those of the dense run after the rewind point."""
        rewound_to = 0 if self.arm is None else self.arm.rewind_step or 0
        return self.config.training_for(self.task).env_steps - rewound_to

    @property
    def steps_before(self) -> int:
        """Environment steps of its agent before the run: up to the rewind point, or a whole run if it isn't rewound."""
        step = 0 if self.arm is None else self.arm.rewind_step
        return self.config.training_for(self.task).env_steps if step is None else step

    @cached_property
    def store(self) -> Store:
        return Store(self.config.data)

    @cached_property
    def files(self) -> RunFiles:
        """The files that this job makes."""
        if self.stage == UNTRAINED:
            return self.untrained_files
        return self.store.run(self.task.name, self.seed, self.arm_name)

    @property
    def log(self) -> Path:
        """The log of the workers that do this job."""
        return self.files.log(self.stage)

    @cached_property
    def untrained_files(self) -> UntrainedFiles:
        """The files of the task's untrained policies."""
        return self.store.untrained(self.task.name)

    @cached_property
    def dense_files(self) -> RunFiles:
        return self.store.run(self.task.name, self.seed, DENSE)

    @property
    def mask_path(self) -> Path:
        """The mask file that a ticket trains with. Masks of the two built-in methods are named after them."""
        arm = self.ticket_arm
        if arm.method is None:
            return self.files.mask
        return self.store.mask(self.task.name, self.seed, arm.method, arm.kind if arm.control is not None else None)

    @property
    def dense(self) -> "Job":
        """The dense agent's job of the same task and seed."""
        return replace(self, stage="dense", arm=None)

    @property
    def scored(self) -> "Job":
        """The job that trains the agent whose weights the criterion scores."""
        before = self.ticket_arm.scored
        return self.dense if before is None else replace(self, stage="ticket", arm=before)

    @property
    def mask_source(self) -> "Job | None":
        """The job that makes the mask that a control or transfer starts from. None for arms without such a mask."""
        arm = self.ticket_arm
        if arm.of is None:
            return None
        index, seed, transfer = self.task_index, self.seed, arm.transfer
        if transfer is not None and transfer.task is not None:
            index = next(i for i, task in enumerate(self.config.tasks) if task.id == transfer.task)
        if transfer is not None and transfer.seed is not None:
            seeds = self.config.seeds
            seed = seeds[(seeds.index(seed) + 1) % len(seeds)]
        return replace(self, stage=arm.of.stages[0], task_index=index, seed=seed, arm=arm.of)

    @property
    def needs(self) -> tuple["Job", ...]:
        """The jobs whose files this one reads."""
        if self.arm is None:
            return (self.dense,) if self.stage == "rewind" else ()
        found = [self.dense]
        if self.stage == "ticket" and "mask" in self.arm.stages:
            found.append(replace(self, stage="mask"))
        else:
            found += [self.scored, *([source] if (source := self.mask_source) else [])]
        if self.stage == "ticket" and self.arm.rewind_step is None:
            found.append(replace(self, arm=self.arm.root).scored)
        elif self.stage == "ticket" and self.arm.rewind_step:
            found.append(replace(self.dense, stage="rewind"))
        return tuple({job.key: job for job in found}.values())


def list_jobs(config: Config, arms: Sequence[Arm], stages: Sequence[str]) -> list[Job]:
    """The jobs of the runs in these stages of a study, each after the jobs that it needs, as the arms are
    (`arms.arms_of`)."""
    runs = [(index, seed) for index in range(len(config.tasks)) for seed in config.seeds]
    found = [Job(config, "dense", index, seed) for index, seed in runs] if "dense" in stages else []
    if found and any(arm.rewind_step for arm in arms):
        found += [Job(config, "rewind", index, seed) for index, seed in runs]
    for arm in arms:
        for stage in (stage for stage in arm.stages if stage in stages):
            found += [Job(config, stage, index, seed, arm) for index, seed in runs]
    return found


def untrained_jobs(config: Config, stages: Sequence[str]) -> list[Job]:
    """The jobs that evaluate untrained policies, one per task."""
    return [Job(config, UNTRAINED, index, OF_TASK) for index in range(len(config.tasks)) if "dense" in stages]


def prerequisites(planned: Sequence[Job]) -> list[list[int]]:
    """For each job, the indices of the jobs in `planned` that it needs."""
    places = {job.key: index for index, job in enumerate(planned)}
    return [[places[needed.key] for needed in job.needs if needed.key in places] for job in planned]
