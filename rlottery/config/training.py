"""The section `training`: how long a run is, when the agent is updated, and how data is collected."""

from collections.abc import Callable
from typing import Any

from pydantic import Field, model_serializer

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.config.fields import Count, CountOrAll, CountOrZero, Environments, Section
from rlottery.config.groups import ALGORITHMS, ALL_GROUPS, GROUPS, ON_POLICY, AlgorithmName
from rlottery.config.updates import Updates

NOT_FOR_ROLLOUTS = {
    "warmup_steps": "it learns from its own rollouts from the first step on, so there is no warm-up",
    "updates_per_step": "it updates on each rollout, as rollout_steps, epochs and batch_size say",
}
"""The settings that on-policy algorithms don't read, and why."""
LEFT_OUT: dict[str, dict[str, Any]] = {
    "training": {"environments": 1},
    "network": {"activation": DEFAULT_ACTIVATION},
    "sac": {"log_prob_epsilon": 0.0},
}
"""Section -> the settings that records have only where they differ from this: earlier versions didn't have them."""


def unread_keys(algorithm: AlgorithmName) -> list[tuple[str, ...]]:
    """The keys of a study, or of a task, that agents of this algorithm don't read, each with its section."""
    sections: list[tuple[str, ...]] = [(name,) for name in ALGORITHMS if name != algorithm]
    networks = [("network", group) for group in ALL_GROUPS if group not in GROUPS[algorithm]]
    return [*sections, *networks, *(("training", key) for key in NOT_FOR_ROLLOUTS if algorithm in ON_POLICY)]


class Training(Section):
    """Length and update schedule of one run."""

    env_steps: Count = Field(default=25_000, description="environment steps of a run, warm-up included")
    warmup_steps: CountOrZero = Field(
        default=1_000, description="first steps, with random actions and no updates; fewer than env_steps"
    )
    updates_per_step: Updates = Field(
        default=Updates(),
        description="gradient updates per environment step after the warm-up (UTD): a number, a fraction, or "
        "{every: steps, updates: n}",
    )
    replay_capacity: CountOrAll = Field(default="all", description="transitions in the replay buffer; all: env_steps")
    environments: Environments = Field(
        default=1,
        exclude_if=lambda number: number == LEFT_OUT["training"]["environments"],
        description="training episodes at the same time; each takes one of the environment steps in turn",
    )

    @property
    def stride(self) -> int:
        """Environment steps between two points at which masks may change and agents be saved for rewinding."""
        return self.environments

    @property
    def stride_key(self) -> str:
        """The setting that decides about `stride`, with its value, for messages."""
        return f"environments ({self.environments})"

    @property
    def wait_key(self) -> str:
        """The setting that decides how long updates wait for each other, with its value, for messages."""
        return f"updates_per_step ({self.updates_per_step})"

    @property
    def capacity(self) -> int:
        """Transitions that the replay buffer holds."""
        return self.env_steps if self.replay_capacity == "all" else self.replay_capacity

    @property
    def updates_every_step(self) -> bool:
        """Whether there is an update after each step that follows the warm-up."""
        return self.updates_per_step.longest_wait == 1

    def updates_by(self, step: int) -> int:
        """Gradient updates of a run up to an environment step."""
        return self.updates_per_step.after(step - self.warmup_steps)

    @property
    def first_update(self) -> int:
        """The environment step after which the first update is made."""
        return self.warmup_steps + self.updates_per_step.longest_wait


class TrainingOnRollouts(Training):
    """Training of an on-policy agent: no warm-up, and all updates on a rollout at its end."""

    @model_serializer(mode="wrap")
    def _what_applies(self, as_usual: Callable[["TrainingOnRollouts"], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in as_usual(self).items() if key not in NOT_FOR_ROLLOUTS}

    @classmethod
    def of(cls, training: Training, rollout_steps: int, updates: int) -> "TrainingOnRollouts":
        """The settings of `training` that apply, with so many updates after each rollout."""
        given = {name: getattr(training, name) for name in cls.model_fields}
        # Not validated: `Config` checks the updates of a whole run, at the keys that they follow from.
        schedule = {
            "warmup_steps": 0,
            "updates_per_step": Updates.model_construct(every=rollout_steps, updates=updates),
        }
        return cls.model_construct(**given | schedule)

    @property
    def rollout_steps(self) -> int:
        """Environment steps in a rollout, in all environments together."""
        return self.updates_per_step.every

    @property
    def updates_every_step(self) -> bool:
        return False  # there is no warm-up, even if a rollout is a single step

    @property
    def stride(self) -> int:
        return self.rollout_steps

    @property
    def stride_key(self) -> str:
        return f"rollout_steps ({self.rollout_steps})"

    @property
    def wait_key(self) -> str:
        return self.stride_key
