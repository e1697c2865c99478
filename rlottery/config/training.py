"""The section `training`: how long a run is, when the agent is updated, and how data is collected."""

from pydantic import Field

from rlottery.config.fields import Count, CountOrAll, CountOrZero, Environments, Section
from rlottery.config.updates import Updates

LEFT_OUT = {"environments": 1}
"""The settings of training that records have only where they differ from this: earlier versions didn't have them."""


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
        exclude_if=lambda number: number == LEFT_OUT["environments"],
        description="training episodes at the same time; each takes one of the environment steps in turn",
    )

    @property
    def capacity(self) -> int:
        """Transitions that the replay buffer holds."""
        return self.env_steps if self.replay_capacity == "all" else self.replay_capacity

    def updates_by(self, step: int) -> int:
        """Gradient updates of a run up to an environment step."""
        return self.updates_per_step.after(step - self.warmup_steps)

    @property
    def first_update(self) -> int:
        """The environment step after which the first update is made."""
        return self.warmup_steps + self.updates_per_step.longest_wait
