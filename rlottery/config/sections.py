"""The sections of a study's settings, each with its keys, defaults and limits."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, field_serializer, field_validator, model_validator

from rlottery.activations import ACTIVATIONS, DEFAULT_ACTIVATION, Activation
from rlottery.config.fields import (
    Batch,
    Count,
    Discount,
    Episodes,
    Fraction,
    NotNegative,
    NumberOrAuto,
    Positive,
    Rate,
    Section,
    Sparsity,
    Switch,
    UpToOne,
    Widths,
    ZeroToOne,
    one_of,
)
from rlottery.config.groups import ALGORITHMS
from rlottery.config.numbers import fault, real, whole
from rlottery.config.recipe_keys import AllocationName
from rlottery.config.recipes import ControlName
from rlottery.config.task_ids import file_name, is_task_id, wrong_ending
from rlottery.config.training import LEFT_OUT, Training, TrainingOnRollouts
from rlottery.config.yaml_lines import show

GradientMethod = Literal["taylor", "gradient", "magnitude"]


class Pruning(Section):
    """Pruning by one of the two built-in methods. Changing these keys adds tickets; dense agents stay as they are."""

    sparsity: Sparsity = Field(
        default=Sparsity.model_validate(0.8),
        description="share of the kernel weights to prune, 0 to below 1, or {actor: s, critic: s}, or {q: s}",
    )
    controls: tuple[ControlName, ...] = Field(
        default=("random",),
        description="kinds of control to train next to each ticket; by default none if it prunes nothing",
    )
    allocation: Annotated[AllocationName, one_of(get_args(AllocationName))] = Field(
        default="global", description="how survivors are shared among layers: global, uniform or erk"
    )
    gradient_method: Annotated[GradientMethod, one_of(get_args(GradientMethod))] = Field(
        default="taylor", description="score of a weight w with loss L: |w dL/dw|, |dL/dw| or |w|"
    )
    num_gradient_batches: Batch = Field(default=100, description="replay batches the score is averaged over")
    gradient_batch_size: Batch = Field(default=256, description="transitions per batch")
    reclaim: Switch = Field(
        default=False, description="true exchanges survivors on no path from input to output for weights on one"
    )

    @field_validator("controls")
    @classmethod
    def _distinct_controls(cls, controls: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [control for control, times in Counter(controls).items() if times > 1]:
            raise fault(f"must be distinct; given more than once: {', '.join(twice)}")
        return controls

    @model_validator(mode="after")
    def _none_if_nothing_is_pruned(self) -> Self:
        if "controls" not in self.model_fields_set and not any(self.sparsity.by_group.values()):
            self.__dict__["controls"] = ()  # a random mask would be the ticket's own
        return self


class NetworkSettings(Section):
    """Hidden layers of the networks: their widths by group, of which only the algorithm's are read, and their units."""

    actor: Widths = Field(default=(256, 256), description="widths of the actor's hidden layers")
    critic: Widths = Field(default=(256, 256), description="widths of the hidden layers of the critic, or of each")
    q: Widths = Field(default=(256, 256), description="widths of the hidden layers of the Q-network")
    activation: Annotated[Activation, one_of(ACTIVATIONS)] = Field(
        default=DEFAULT_ACTIVATION,
        exclude_if=lambda activation: activation == LEFT_OUT["network"]["activation"],
        description="activation function of the hidden layers of all networks: relu or tanh",
    )

    def of(self, groups: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Group -> the widths of its hidden layers, for these groups."""
        return {group: getattr(self, group) for group in groups}


class SACSettings(Section):
    """Hyperparameters of soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905)."""

    discount: Discount = Field(default=0.99, description="weight of the next step's value, 0 to below 1")
    polyak: Rate = Field(default=0.005, description="share of the online weights moved into the target at each update")
    actor_learning_rate: Rate = Field(default=3e-4, description="Adam's step size, actor")
    critic_learning_rate: Rate = Field(default=3e-4, description="Adam's step size, critics")
    temperature_learning_rate: Rate = Field(default=3e-4, description="Adam's step size, temperature")
    initial_temperature: Positive = Field(default=1.0, description="weight of the entropy at the start")
    target_entropy: NumberOrAuto = Field(
        default="auto", description="entropy in nats held by the temperature; auto: -(action dimensions)"
    )
    batch_size: Batch = Field(default=256, description="transitions per update")
    reward_scale: Positive = Field(default=1.0, description="factor on the rewards that the critic learns")
    log_prob_epsilon: NotNegative = Field(
        default=0.0,
        description="added to 1 - tanh(u)^2 in the log-probability of actions, which bounds it; 0: exact",
        exclude_if=lambda epsilon: epsilon == LEFT_OUT["sac"]["log_prob_epsilon"],
    )


class TD3Settings(Section):
    """Hyperparameters of twin delayed DDPG (Fujimoto et al. 2018, arXiv:1802.09477)."""

    discount: Discount = Field(default=0.99, description="weight of the next step's value, 0 to below 1")
    polyak: Rate = Field(
        default=0.005, description="share of the online weights moved into the targets whenever the actor is updated"
    )
    actor_learning_rate: Rate = Field(default=1e-3, description="Adam's step size, actor")
    critic_learning_rate: Rate = Field(default=1e-3, description="Adam's step size, critics")
    batch_size: Batch = Field(default=256, description="transitions per update")
    policy_delay: Count = Field(default=2, description="updates of the critics per update of the actor and the targets")
    target_noise: NotNegative = Field(
        default=0.2, description="standard deviation of the noise that smooths target actions, which are from -1 to 1"
    )
    target_noise_clip: NotNegative = Field(default=0.5, description="largest absolute value of that noise")
    exploration_noise: NotNegative = Field(
        default=0.1, description="standard deviation of the noise on actions from -1 to 1 that collect data"
    )
    reward_scale: Positive = Field(default=1.0, description="factor on the rewards that the critic learns")


class DQNSettings(Section):
    """Hyperparameters of deep Q-networks (Mnih et al. 2015, doi:10.1038/nature14236)."""

    discount: Discount = Field(default=0.99, description="weight of the next step's value, 0 to below 1")
    learning_rate: Rate = Field(default=1e-3, description="Adam's step size")
    batch_size: Batch = Field(default=64, description="transitions per update")
    target_interval: Count = Field(default=500, description="updates from one copy of the network to the next")
    double: Switch = Field(
        default=False, description="true: the network chooses the next action, and its copy values it (double DQN)"
    )
    exploration_start: ZeroToOne = Field(default=1.0, description="probability of a random action at first")
    exploration_end: ZeroToOne = Field(
        default=0.05, description="the same from exploration_steps on; at most exploration_start"
    )
    exploration_steps: Count = Field(
        default=10_000, description="environment steps in which it changes from one to the other, along a line"
    )
    max_gradient_norm: Positive = Field(default=10.0, description="longer gradients are scaled down to this length")
    reward_scale: Positive = Field(default=1.0, description="factor on the rewards that the network learns")


class PPOSettings(Section):
    """Hyperparameters of proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347)."""

    discount: Discount = Field(default=0.99, description="weight of the next step's value, 0 to below 1")
    gae_lambda: ZeroToOne = Field(
        default=0.95, description="weight of later errors in advantages, 0 to 1; 1: of the whole return"
    )
    learning_rate: Rate = Field(default=3e-4, description="Adam's step size, both networks")
    clip: Rate = Field(
        default=0.2, description="share by which updates may change the probability of an action, above 0 to 1"
    )
    linear_decay: Switch = Field(
        default=False, description="true: learning_rate and clip fall linearly, from rollout to rollout, to 0"
    )
    rollout_steps: Count = Field(
        default=2_048, description="environment steps in a rollout, in all environments together"
    )
    epochs: Count = Field(default=10, description="how often updates see each transition of a rollout")
    batch_size: Batch = Field(default=64, description="transitions per update; it divides rollout_steps")
    entropy_weight: NotNegative = Field(default=0.0, description="weight of the policy's entropy in the loss")
    value_weight: Positive = Field(default=0.5, description="weight of the critic's squared error in the loss")
    max_gradient_norm: Positive = Field(
        default=0.5, description="the norm that the gradient of both networks together is scaled down to"
    )
    normalize_advantages: Switch = Field(
        default=True, description="true: advantages have mean 0 and standard deviation 1 in each batch"
    )
    normalize_observations: Switch = Field(
        default=False, description="true: networks see observations with mean 0 and variance 1"
    )
    normalize_rewards: Switch = Field(
        default=False, description="true: rewards are divided by the standard deviation of discounted returns"
    )
    initial_log_std: Annotated[float, real("a number from -20 to 2", lambda x: -20 <= x <= 2, float32=True)] = Field(
        default=0.0, description="logarithm of the standard deviation of continuous actions at the start"
    )

    @property
    def updates(self) -> int:
        """Gradient updates on a rollout."""
        return self.epochs * self.rollout_steps // self.batch_size

    def schedule(self, training: Training) -> Training:
        """The settings of `training`, with the schedule of updates that follows from these."""
        return TrainingOnRollouts.of(training, self.rollout_steps, max(1, self.updates))


Hyperparameters = SACSettings | TD3Settings | DQNSettings | PPOSettings


MOST_EVALUATIONS = 100_000
"""The most evaluations of a run, not counting the one before training."""
MOST_EPISODES = 2**22
"""The most episodes of all evaluations of a run. A report holds their returns in memory."""
LEAST_UNTRAINED = 2
"""The fewest untrained policies of a task: their spread has to be known."""
MOST_UNTRAINED = 10_000
"""The most untrained policies of a task."""


class EvaluationSettings(Section):
    """When the deterministic policy is evaluated, and which evaluations count."""

    interval: Count = Field(default=2_500, description="environment steps between evaluations; at most env_steps")
    episodes: Episodes = Field(default=10, description="episodes per evaluation; the same at every evaluation")
    score_evaluations: Count = Field(default=3, description="how many of the last evaluations make up a run's score")
    untrained_policies: Annotated[int, whole(LEAST_UNTRAINED, MOST_UNTRAINED)] = Field(
        default=100,
        description="fresh dense policies of each task, one episode each, whose mean score is the zero of the "
        "normalised score",
    )

    def number(self, env_steps: int) -> int:
        """The number of evaluations of a run: one per interval, and the last one always at the end."""
        return -(-env_steps // self.interval)

    def first_scored(self, env_steps: int) -> int:
        """The step of the first evaluation that counts for a run's score."""
        return min((self.number(env_steps) - self.score_evaluations + 1) * self.interval, env_steps)


class Verdict(Section):
    """How reports decide. Training doesn't read these keys."""

    margin: UpToOne = Field(default=0.1, description="non-inferiority margin, as a share of (dense - untrained)")
    level: Annotated[float, real("a number above 0 and at most 0.2", lambda x: 0 < x <= 0.2, is_share=True)] = Field(
        default=0.05, description="level of every one-sided test, before Holm's correction over arms and tasks"
    )
    least_seeds: Annotated[int, whole(3)] = Field(default=5, description="with fewer seeds, nothing is decided")
    saturated_within: Fraction = Field(
        default=0.02,
        description="two arms are tied at the ceiling if all their runs are within this share of (dense - untrained) "
        "of the task's best run; then the area under the curve decides",
    )
    threshold: UpToOne = Field(
        default=0.9, description="normalised score that steps-to-threshold counts the environment steps to"
    )
    resamples: Annotated[int, whole(100, 1_000_000)] = Field(
        default=2_000, description="bootstrap resamples for each interval"
    )


Deviation = Literal["unseeded", "carryover", "interference"]
"""How a task may deviate from what training and evaluation rely on (`rlottery.envs.trial`, docs/task-contract.md).

unseeded: an episode doesn't follow from its seed. carryover: it depends on earlier episodes. interference: it depends
on other environments of the process.
"""


def _not_plain(value: object, place: str) -> str | None:
    """What JSON would refuse or change in an argument of an environment, and where; None if it is nothing."""
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            return f"{place} has the key {show(wrong[0])}"
        inside = {f"{place}.{key}": below for key, below in value.items()}
    elif isinstance(value, list | tuple):
        inside = {f"{place}[{index}]": below for index, below in enumerate(value)}
    elif isinstance(value, int) and value.bit_length() > 1024:
        return f"{place} has {value.bit_length()} bits"
    else:
        is_plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
        return None if is_plain else f"{place} is {show(value)}"
    return next((found for at, below in inside.items() if (found := _not_plain(below, at))), None)


class Task(Section):
    """An environment to learn, with the settings that differ from the study's."""

    id: str = Field(
        description="Gymnasium id, Meta-World task name, or module:Id to import a module first; "
        "+noise50 at the end adds 50 noise inputs"
    )
    kwargs: dict[str, Any] = Field(default={}, description="keyword arguments of the environment")
    allow: tuple[Annotated[Deviation, one_of(get_args(Deviation))], ...] = Field(
        default=(),
        exclude_if=lambda kinds: not kinds,
        description="deviations of the task that you accept; `rlottery check TASK` lists them",
    )
    sac: SACSettings = Field(default=SACSettings(), description="keys of sac for this task alone")
    td3: TD3Settings = Field(default=TD3Settings(), description="keys of td3 for this task alone")
    dqn: DQNSettings = Field(default=DQNSettings(), description="keys of dqn for this task alone")
    ppo: PPOSettings = Field(default=PPOSettings(), description="keys of ppo for this task alone")
    training: Training = Field(default=Training(), description="keys of training for this task alone")

    @property
    def name(self) -> str:
        """The id as a file name."""
        return file_name(self.id)

    @model_validator(mode="before")
    @classmethod
    def _id_alone(cls, value: object) -> object:
        if isinstance(value, str):
            return {"id": value}
        if isinstance(value, dict | Task):
            return value
        raise fault(f"must be a task's id or a mapping with an id, not {show(value)}", wants="text")

    @field_validator("id", mode="before")
    @classmethod
    def _safe_id(cls, value: object) -> object:
        if isinstance(value, str) and is_task_id(value):
            return value
        if isinstance(value, str) and (needed := wrong_ending(value)):
            raise fault(f"{needed}, not {show(value)}", wants="text")
        raise fault(
            f"must be an id such as drawer-close-v3, namespace/Id-v0 or module:Id-v0, made of letters, "
            f"digits, '_', '-' and '.', not {show(value)}",
            wants="text",
        )

    @field_validator("kwargs")
    @classmethod
    def _plain_values(cls, value: dict[str, Any]) -> dict[str, Any]:
        # Workers and records get them as JSON, which knows no infinity and makes text of every key.
        for name, argument in value.items():
            if found := _not_plain(argument, name):
                raise fault(
                    "may contain only finite numbers, text, true, false, null, lists and mappings with text as keys, "
                    f"but {found}. Make such values in a module of yours, and write the task as module:Id"
                )
        return value

    @field_serializer(*ALGORITHMS, "training")
    def _what_was_given(self, value: BaseModel) -> dict[str, Any]:
        plain = value.model_dump(mode="json", exclude_unset=True)
        # What `exclude_if` leaves out as a default may override the study's.
        return {
            key: plain.get(key, getattr(value, key))
            for key in type(value).model_fields
            if key in value.model_fields_set
        }
