"""Pruning schedules: when weights are pruned. Each class is one schedule with its keys and all rules about it.

To add a schedule, write its class and a field of `PruningSchedule`. One that changes masks during training also needs
its updates in `training.dynamic_sparsity`.
"""

from collections.abc import Iterator
from math import ceil, log1p
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, get_args

from pydantic import Field, model_serializer, model_validator

from rlottery.config.fields import Count, Fraction, OpenFraction, Section, Sparsity, UpToOne, listed
from rlottery.config.numbers import fault, nearest_multiples
from rlottery.config.recipe_keys import Allocation
from rlottery.config.training import Training
from rlottery.config.yaml_lines import show_keys
from rlottery.errors import or_closest
from rlottery.pruning.method import Method

if TYPE_CHECKING:
    from rlottery.pruning.controls import Ticket

    class PrunedArm(Ticket, Protocol):
        """What the rules of schedules read of an arm's recipe."""

        rescale: bool
        sparsity: tuple[Sparsity, ...] | None
        allocation: Allocation


MAX_ROUNDS = 100
"""The most rounds of iterative pruning: each is a whole training."""


class _ScheduleKeys(Section):
    """The keys of one schedule."""

    name: ClassVar[str]
    method: ClassVar[Method]
    default_rule: ClassVar[Literal["global", "erk"]] = "global"

    def objection(self, arm: "PrunedArm") -> str | None:
        """Why the schedule makes no sense with the arm's other keys; None if it does."""
        if arm.structure == "units":
            return f"whole units are pruned at once; leave out structure: units, or schedule: {self.name}"
        if any(not any(one.by_group.values()) for one in arm.sparsity or ()):
            return f"a sparsity of 0 prunes nothing, which makes no sense with schedule: {self.name}"
        return None


class OneShot(_ScheduleKeys):
    """Pruning once, after the dense agent's training."""

    name: ClassVar[str] = "one-shot"
    method: ClassVar[Method] = Method(
        summary="train dense, prune once to the full sparsity, rewind and train the ticket",
        paper="Han et al. 2015; Frankle and Carbin 2019 (arXiv:1803.03635), section 1",
        cost="one dense training, shared by all its tickets, and one training per ticket",
        use="For a first look, and to compare many criteria or sparsities.",
    )

    def objection(self, arm: "PrunedArm") -> str | None:
        if arm.structure == "units" and (arm.allocation.layers or arm.allocation.rule == "erk"):
            return "structure: units takes allocation: global or uniform"
        return None


class Iterative(_ScheduleKeys):
    """Iterative pruning (IMP with the magnitude criterion): prune some weights, rewind, train, prune more."""

    name: ClassVar[str] = "iterative"
    method: ClassVar[Method] = Method(
        summary="rounds of training, pruning a share of the surviving weights, and rewinding; the last mask makes the "
        "ticket",
        paper="Frankle and Carbin 2019 (arXiv:1803.03635), section 1, iterative pruning",
        cost="one training per round: at a rate of 0.2, 14 rounds to 95 %",
        use="For the best tickets at high sparsity, if training is cheap.",
    )
    rate: OpenFraction = Field(default=0.2, description="share of the surviving weights that each round prunes")

    def objection(self, arm: "PrunedArm") -> str | None:
        if arm.allocation.layers:
            return _one_sparsity(self.name)
        if problem := super().objection(arm):
            return problem
        if (rounds := max(map(self._rounds, arm.sparsity or ()))) > MAX_ROUNDS:
            number = f"{ceil(rounds):,}" if rounds < 1e6 else "millions of"
            return f"schedule.iterative.rate takes {number} rounds, more than {MAX_ROUNDS}; raise it"
        if arm.scoring is not None and arm.scoring.reads_initial_weights:
            return (
                f"{arm.criterion} scores the weights as they are before training, but iterative pruning scores "
                "trained weights; use another criterion, such as magnitude"
            )
        return None

    def _rounds(self, sparsity: Sparsity) -> float:
        """Rounds to a sparsity, to within one; infinite for the smallest rates."""
        return log1p(-max(sparsity.by_group.values())) / log1p(-self.rate)


class Gradual(_ScheduleKeys):
    """Pruning during training along the cubic curve of Zhu and Gupta (2017)."""

    name: ClassVar[str] = "gradual"
    method: ClassVar[Method] = Method(
        summary="one training that starts dense and prunes the smallest weights along a cubic curve",
        paper="Zhu and Gupta 2017 (arXiv:1710.01878), eq. 1",
        cost="one training, from the dense agent's initial weights",
        use="For a strong sparse agent from one training. It isn't a ticket, since it is never rewound.",
    )
    start: Fraction = Field(default=0.2, description="share of training after which pruning begins")
    end: UpToOne = Field(default=0.75, description="share of training after which the sparsity is reached")
    interval: Count = Field(default=500, description="environment steps between two prunings")

    starts_dense: ClassVar[bool] = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise fault(f"start ({self.start:g}) must be below end ({self.end:g})")
        return self

    def objection(self, arm: "PrunedArm") -> str | None:
        if arm.allocation.layers:
            return _one_sparsity(self.name)
        if problem := super().objection(arm) or _trains_from_initial_weights(self.name, arm):
            return problem
        if arm.criterion not in (None, "magnitude"):
            return "gradual pruning scores by the magnitude of the current weights; leave out criterion"
        if arm.rescale:
            return "gradual pruning starts dense, so there is no scale to correct; leave out rescale"
        return None

    def window(self, training: Training) -> tuple[int, int]:
        """The first step after which masks may change, and the last one."""
        return max(training.first_update, round(self.start * training.env_steps)), _step_at(self.end, training)

    def conflicts(self, training: Training, first_scored: int) -> Iterator[tuple[str, str]]:
        """The keys that make no sense with the training settings, and why.

        Args:
            first_scored: the step of the first evaluation that counts for a run's score.
        """
        _, end = self.window(training)
        yield from _ends_too_early(end, training)
        yield from _uneven(self.interval, training)
        yield from _faster_than_updates(self.interval, training)
        if end > first_scored:
            reached = f"before the sparsity is reached ({end}); lower end, or evaluation.score_evaluations"
            yield "end", f"the score counts evaluations from step {first_scored} on, {reached}"


class DropAndGrow(_ScheduleKeys):
    """Dynamic sparse training: sparse from the start, with the smallest weights dropped and others grown."""

    default_rule: ClassVar[Literal["global", "erk"]] = "erk"
    drop: OpenFraction = Field(
        default=0.3, description="share of each layer's survivors dropped and grown at first; a cosine takes it to 0"
    )
    end: UpToOne = Field(default=0.75, description="share of training after which the mask no longer changes")
    interval: Count = Field(default=500, description="environment steps between two mask updates")

    starts_dense: ClassVar[bool] = False

    def objection(self, arm: "PrunedArm") -> str | None:
        if problem := super().objection(arm) or _trains_from_initial_weights(self.name, arm):
            return problem
        if arm.criterion is not None:
            return f"{self.name} drops by magnitude and grows by its own rule; leave out criterion"
        if arm.allocation.rule == "global":
            return f"{self.name} starts from a random mask, which has no scores to rank globally; use erk or uniform"
        return f"{self.name} takes allocation: erk or uniform" if arm.allocation.layers else None

    def window(self, training: Training) -> tuple[int, int]:
        """The first step after which masks may change, and the last one."""
        return training.first_update, _step_at(self.end, training)

    def conflicts(self, training: Training, first_scored: int) -> Iterator[tuple[str, str]]:
        """The keys that make no sense with the training settings, and why."""
        first, end = self.window(training)
        yield from _ends_too_early(end, training)
        yield from _uneven(self.interval, training)
        yield from _faster_than_updates(self.interval, training)
        if -(-first // self.interval) * self.interval >= end:
            begin = f"warmup_steps ({training.warmup_steps})" if training.updates_every_step else f"step {first}"
            between = f"{begin} and step {end} (end x env_steps)"
            yield "interval", f"masks would never change: no multiple of {self.interval} is between {between}; lower it"


class SET(DropAndGrow):
    """Sparse evolutionary training: random weights grow."""

    name: ClassVar[str] = "set"
    method: ClassVar[Method] = Method(
        summary="sparse from the start: at intervals the smallest weights are dropped and random ones grown",
        paper="Mocanu et al. 2018 (arXiv:1707.04780), algorithm 1",
        cost="one training, sparse throughout",
        use="For sparse training without any dense gradient, and as the control of rigl.",
    )


class RigL(DropAndGrow):
    """Rigging the lottery: the weights of the largest gradients grow."""

    name: ClassVar[str] = "rigl"
    method: ClassVar[Method] = Method(
        summary="sparse from the start: the smallest weights are dropped, those of the largest gradients grown",
        paper="Evci et al. 2020 (arXiv:1911.11134), algorithm 1",
        cost="one training, sparse except for one dense gradient at each update of the mask",
        use="For sparse training that finds its own connections.",
    )


InTraining = Gradual | DropAndGrow
"""Schedules that make the mask while the agent trains."""


class PruningSchedule(Section):
    """When weights are pruned: a schedule's name, or its name with its keys. Without either, one-shot."""

    iterative: Iterative | None = Field(default=None, description="in rounds, each a whole training")
    gradual: Gradual | None = Field(default=None, description="while the agent trains, dense at first")
    set: SET | None = Field(default=None, description="sparse throughout; random weights grow")
    rigl: RigL | None = Field(default=None, description="sparse throughout; weights of large gradients grow")

    @property
    def chosen(self) -> OneShot | Iterative | Gradual | DropAndGrow:
        """The one that is given."""
        given = (getattr(self, name) for name in type(self).model_fields)
        return next((schedule for schedule in given if schedule is not None), OneShot())

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if value == {} or isinstance(value, PruningSchedule):
            return value
        if value == OneShot.name:
            return {}
        if isinstance(value, str) and value in cls.model_fields:
            return {value: {}}
        if isinstance(value, dict) and len(value) == 1 and value.keys() <= cls.model_fields.keys():
            return {name: {} if inner is None else inner for name, inner in value.items()}
        name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
        # One-shot pruning has no keys, so its name stands alone.
        hint = f"; did you mean {name!r}?" if name == OneShot.name else or_closest(name, SCHEDULES)
        raise fault(
            f"must be {listed(list(SCHEDULES))}, or one of them with its keys: {{rigl: {{drop: 0.5}}}}, "
            f"not {show_keys(value)}{hint}"
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, Any]:
        chosen = self.chosen
        return chosen.name if isinstance(chosen, OneShot) else {chosen.name: chosen.model_dump()}


_ALL: tuple[type[_ScheduleKeys], ...] = (
    OneShot,
    *(get_args(field.annotation)[0] for field in PruningSchedule.model_fields.values()),
)

SCHEDULES: dict[str, Method] = {schedule.name: schedule.method for schedule in _ALL}
"""Name -> description, in the order of the documentation."""
DROP_AND_GROW: tuple[str, ...] = tuple(schedule.name for schedule in _ALL if issubclass(schedule, DropAndGrow))
"""The names of the schedules of dynamic sparse training, which need no criterion."""
IN_TRAINING: tuple[str, ...] = tuple(schedule.name for schedule in _ALL if issubclass(schedule, Gradual | DropAndGrow))
"""The names of the schedules that make the mask while the agent trains."""


def _one_sparsity(name: str) -> str:
    return f"{name} pruning needs one sparsity to reach; give sparsity, and allocation by a rule"


def _trains_from_initial_weights(name: str, arm: "PrunedArm") -> str | None:
    return None if arm.rewind_step == 0 else f"{name} always trains from the initial weights; leave out rewind"


def _step_at(share: float, training: Training) -> int:
    """The environment step at a share of training, at which masks may change."""
    return round(share * training.env_steps / training.stride) * training.stride


def _uneven(interval: int, training: Training) -> Iterator[tuple[str, str]]:
    if interval % training.stride:
        nearest = nearest_multiples(interval, training.stride)
        yield "interval", f"must be a multiple of {training.stride_key}, not {interval}{nearest}"


def _ends_too_early(end: int, training: Training) -> Iterator[tuple[str, str]]:
    if end <= training.first_update:
        warmup = f"training begins after warmup_steps ({training.warmup_steps})"
        begins = (
            warmup if training.updates_every_step else f"the first update is made after step {training.first_update}"
        )
        fix = f"raise end, or lower {'warmup_steps' if training.warmup_steps else training.wait_key.split()[0]}"
        yield "end", f"masks would change until step {end} (end x env_steps), but {begins}; {fix}"


def _faster_than_updates(interval: int, training: Training) -> Iterator[tuple[str, str]]:
    if interval < (wait := training.updates_per_step.longest_wait):
        updates = f"{wait} with {training.wait_key}"
        yield "interval", f"must be at least the steps between two updates, {updates}, not {interval}"
