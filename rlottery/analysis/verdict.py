"""The verdict on a study's tickets, as data: every decision with the numbers that it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlottery.analysis.splits import Split

Claim = Literal["winning", "matches dense, no better than random", "losing"]
Decision = Literal["winning", "matches dense, no better than random", "losing", "undecided"]
TaskState = Literal["learned", "did not learn", "too few seeds"]
Kind = Literal["dense", "ticket", "control", "other"]
Measure = Literal["score", "area"]
"""What is compared: the score of a run, or the area under its curve where scores are tied at the maximum."""

CLAIMS: tuple[Claim, ...] = ("winning", "matches dense, no better than random", "losing")
"""In order of precedence: a ticket that beats its control is winning, however small the difference."""

DECISIONS: tuple[Decision, ...] = (*CLAIMS, "undecided")


@dataclass(frozen=True)
class Contrast:
    """The difference between two arms, seed by seed.

    Normalised differences are on the scale of the normalised score: (arm - against) / (dense - untrained).

    Attributes:
        against: the other arm.
        differences: seed -> arm - against, in the unit of the metric.
        difference: the mean normalised difference.
        low, high: its one-sided bounds, each at the verdict's level, so that together they make a 90 % interval at a
            level of 5 %. None with a single seed, and where no bound is finite.
        p_non_inferior: p-value of the claim that the arm is not worse by the margin; one-sided paired t-test.
        p_inferior: of the claim that it is worse by more than the margin.
        p_superior: of the claim that it is better.
        p_equivalent: of the claim that the two differ by less than the margin; two one-sided tests.
        sign_flip: the same four p-values from sign-flip tests, by claim: non_inferior, inferior, superior, equivalent.

    With a single seed there is no test: p-values are None, and `sign_flip` is empty. Pooled over tasks, `differences`
    and `sign_flip` are empty.
    """

    against: str
    differences: Mapping[int, float]
    difference: float
    low: float | None
    high: float | None
    p_non_inferior: float | None
    p_inferior: float | None
    p_superior: float | None
    p_equivalent: float | None
    sign_flip: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ArmVerdict:
    """The verdict on one arm on one task. Only tickets are judged.

    Attributes:
        control: the random control that keeps as many weights in every layer; None without one.
        measure: what was compared.
        decision: None where nothing may be decided.
        why: what the decision rests on, or what keeps it open.
        against_dense, against_control: None where no seed has both arms.
        p: claim -> p-value before correction, for the claims that can be tested.
        adjusted: the same after Holm's correction over arms and tasks.
        more_seeds: how many more seeds would give 80 % power to decide an undecided ticket at current estimates; None
            where no number up to 100 would.
    """

    task: str
    arm: str
    control: str | None
    measure: Measure
    decision: Decision | None = None
    why: str
    against_dense: Contrast | None
    against_control: Contrast | None
    p: Mapping[Claim, float] = field(default_factory=dict)
    adjusted: Mapping[Claim, float] = field(default_factory=dict)
    more_seeds: int | None = None
    kind: Kind = "ticket"


@dataclass(frozen=True)
class TaskVerdict:
    """The verdict on one task.

    Attributes:
        state: decisions are made only on a task that the dense agents learned, with enough seeds.
        why: the reason for the state.
        seeds: those whose dense agent is done.
        p_learned: p-value of the claim that training improved the dense agents (`learning.learning_test`); None with
            fewer than two seeds.
        arms: all but the dense arm.
        bimodal, head_start: cautions (`rlottery.analysis.cautions`); None where they do not apply.
    """

    task: str
    state: TaskState
    why: str
    seeds: tuple[int, ...]
    p_learned: float | None
    arms: tuple[ArmVerdict, ...]
    bimodal: str | None = None
    head_start: str | None = None


@dataclass(frozen=True, kw_only=True)
class PooledVerdict:
    """The verdict on one kind of ticket over tasks, from the mean over tasks of its normalised differences.

    Attributes:
        tasks: those it rests on; left_out: task -> why it is not one of them.
        measures: task -> what was compared there.
        difference, low, high: to dense, as in `Contrast`.
        over_control: the same against the random controls (difference, low, high); None without them.
        p, adjusted: as in `ArmVerdict`; Holm's correction is over the pooled arms.
    """

    arm: str
    tasks: tuple[str, ...]
    left_out: Mapping[str, str]
    measures: Mapping[str, Measure]
    decision: Decision | None = None
    why: str
    difference: float | None
    low: float | None
    high: float | None
    over_control: tuple[float, float | None, float | None] | None
    p: Mapping[Claim, float]
    adjusted: Mapping[Claim, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodContrast:
    """Gradient minus magnitude at one sparsity, on one task or over tasks, as a normalised difference.

    Attributes:
        task: None over all tasks.
        sparsity: of both arms, by group.
        magnitude, gradient: the arms.
        difference, low, high: with the two-sided interval at twice the verdict's level (90 % at 5 %).
        p, adjusted: two-sided. Holm's correction is over the sparsities of the row's task, or of the pool. None with
            fewer than two seeds.
        n: number of seed-wise differences; fewest: on the task that has the fewest.
        tasks: those it rests on.
    """

    task: str | None
    measure: Measure
    sparsity: Split
    magnitude: str
    gradient: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    n: int
    fewest: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class MethodTrend:
    """How gradient minus magnitude changes from the lowest to the highest sparsity.

    Attributes:
        task: None over all tasks.
        lowest, highest: sparsity by group; of the same kind (`rlottery.analysis.splits.kinds_of_split`).
        arms: the gradient arm at each.
        change: the normalised difference at the highest sparsity minus that at the lowest; low, high: its interval.
        p: two-sided; adjusted: after Holm's correction over criteria and, for single tasks, over tasks. None with fewer
            than two seeds.
        n: seeds that have both sparsities, over all tasks; fewest: on the task that has the fewest.
    """

    task: str | None
    measure: Measure
    criterion: str
    lowest: Split
    highest: Split
    arms: tuple[str, str]
    change: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    n: int
    fewest: int


@dataclass(frozen=True)
class Verdicts:
    """Everything that is decided about a study, and the rules.

    Attributes:
        rules: the procedure in sentences, with the config's numbers.
        methods, trends: whether gradient is better than magnitude, and more so at high sparsity, by scores and by
            areas; tasks first, the pool (task None) last.
        seeds_added: how often seeds were added to the study after its first run.
        seeds: those that the config asks for.
        deviations: how tasks deviate from what comparisons rely on, in sentences.
    """

    rules: tuple[str, ...]
    tasks: tuple[TaskVerdict, ...]
    pooled: tuple[PooledVerdict, ...]
    methods: tuple[MethodContrast, ...]
    trends: tuple[MethodTrend, ...]
    seeds_added: int
    seeds: tuple[int, ...] = ()
    deviations: tuple[str, ...] = ()
