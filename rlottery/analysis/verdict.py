"""What a study says of its tickets: winning, sparse but not special, losing, or undecided."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Claim = Literal["winning", "sparse, not special", "losing"]
Decision = Literal["winning", "sparse, not special", "losing", "undecided"]
TaskState = Literal["learned", "did not learn", "too few seeds"]
Kind = Literal["dense", "ticket", "control", "other"]
Measure = Literal["score", "area"]
"""What is compared: a run's score, or the area under its curve where scores are tied at the ceiling."""


@dataclass(frozen=True)
class Contrast:
    """How an arm differs from another, seed by seed.

    Shares are of what the dense agents gained: (arm - against) / (dense - untrained).

    Attributes:
        against: the other arm.
        differences: seed -> arm - against, in the unit of the metric.
        share, low, high: the mean difference as a share, and its one-sided bounds, each at the verdict's level.
            Both bounds together make a 90 % interval at a level of 5 %. None with a single seed, and where no bound
            is finite.
        p_not_worse: of "worse by the margin or more", one-sided paired t.
        p_worse: of "not worse by the margin".
        p_above: of "no better at all".
        p_equal: of "further apart than the margin", two one-sided tests.
        flipped: the same four by sign-flip permutation, by the names not_worse, worse, above and equal.

    With a single seed there is no test: p-values are None, and flipped is empty.
    """

    against: str
    differences: Mapping[int, float]
    share: float
    low: float | None
    high: float | None
    p_not_worse: float | None
    p_worse: float | None
    p_above: float | None
    p_equal: float | None
    flipped: Mapping[str, float]


@dataclass(frozen=True)
class ArmVerdict:
    """What is said of one kind of ticket on one task.

    Attributes:
        control: the random control with the ticket's counts in every layer; None without one.
        measure: what was compared.
        decision: None where nothing may be decided (`why`).
        why: in words: what the decision rests on, or what keeps it open.
        against_dense, against_control: None where no seed has both.
        p: claim -> p-value before correction; a claim that nothing can be said of is left out.
        adjusted: the same after Holm's correction over arms and tasks.
        further_seeds: that would likely (80 %) decide an undecided one, as it looks now; None: no number up to 100.
        kind: tickets are judged; controls and others are compared alone.
    """

    task: str
    arm: str
    control: str | None
    measure: Measure
    decision: Decision | None
    why: str
    against_dense: Contrast | None
    against_control: Contrast | None
    p: Mapping[Claim, float]
    adjusted: Mapping[Claim, float]
    further_seeds: int | None
    kind: Kind = "ticket"


@dataclass(frozen=True)
class TaskVerdict:
    """One task.

    Attributes:
        state: only of a task that the dense agents learned, with as many seeds as asked for, is anything decided.
        why: in words.
        seeds: whose dense agent is done.
        p_learned: of "training changed nothing" (`scores.learning_test`); None with fewer than two seeds.
        two_levels, head_start: cautions (`rlottery.analysis.cautions`); None where there is no need of them.
        arms: all but the dense one, in the order of the comparison. Controls and agents that are no tickets are
            compared, and never judged.
    """

    task: str
    state: TaskState
    why: str
    seeds: tuple[int, ...]
    p_learned: float | None
    arms: tuple[ArmVerdict, ...]
    two_levels: str | None = None
    head_start: str | None = None


@dataclass(frozen=True)
class PooledVerdict:
    """What is said of one kind of ticket over tasks: the mean over tasks of its shares.

    Attributes:
        tasks: that it rests on; left_out: task -> why it is not among them.
        measures: task -> what was compared there.
        share, low, high: of dense, as in `Contrast`.
        over_control: the same against the random controls, (share, low, high); None without them.
        p, adjusted: as in `ArmVerdict`; Holm's correction is over the pooled arms.
    """

    arm: str
    tasks: tuple[str, ...]
    left_out: Mapping[str, str]
    measures: Mapping[str, Measure]
    decision: Decision | None
    why: str
    share: float | None
    low: float | None
    high: float | None
    over_control: tuple[float, float | None, float | None] | None
    p: Mapping[Claim, float]
    adjusted: Mapping[Claim, float]


@dataclass(frozen=True)
class MethodContrast:
    """Gradient minus magnitude at one sparsity, on one task or over tasks, as a share of what dense agents gained.

    Attributes:
        task: None over all tasks.
        sparsity: the mean of the groups.
        magnitude, gradient: the arms.
        share, low, high: the difference and its two-sided interval at twice the verdict's level (90 % at 5 %).
        p, adjusted: two-sided; Holm's correction is over the sparsities of a row's task, or of the pool. None with
            fewer than two seeds.
        n: differences that it rests on; fewest: on the task that has the fewest.
        tasks: that it rests on.
    """

    task: str | None
    measure: Measure
    sparsity: float
    magnitude: str
    gradient: str
    share: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    n: int
    fewest: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class MethodTrend:
    """How gradient minus magnitude changes from the lowest to the highest sparsity, in the same shares.

    Attributes:
        task: None over all tasks.
        change: the difference at the highest sparsity minus that at the lowest; low, high: its interval.
        p: two-sided; adjusted: after Holm's correction over the criteria, and the tasks where it is one task's. None
            with fewer than two seeds.
        n: seeds that have both, over all tasks; fewest: on the task that has the fewest.
    """

    task: str | None
    measure: Measure
    criterion: str
    lowest: float
    highest: float
    change: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    n: int
    fewest: int


@dataclass(frozen=True)
class Verdicts:
    """Everything that is decided about a study, and by which rules.

    Attributes:
        rules: the procedure in words, with the config's numbers in it.
        methods, trends: is gradient better, and more so at high sparsity? By scores and by areas, tasks first, the pool
            (task None) last.
        seeds_added: how often seeds were added to the study after its first run.
        seeds: that the config asks for.
    """

    rules: tuple[str, ...]
    tasks: tuple[TaskVerdict, ...]
    pooled: tuple[PooledVerdict, ...]
    methods: tuple[MethodContrast, ...]
    trends: tuple[MethodTrend, ...]
    seeds_added: int
    seeds: tuple[int, ...] = ()
