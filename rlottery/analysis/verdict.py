"""The verdict on a study's tickets, as data: every answer with the numbers that it rests on.

Two questions are asked of each ticket, on each task and over tasks. Is it as good as dense? Is it better than random
masks with its layer counts? Each has its own answer, and what one can't answer doesn't keep the other from being
answered. A ticket wins if it is non-inferior (or superior) to dense and better than random.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlottery.analysis.splits import Split

Question = Literal["dense", "random"]
Claim = Literal["superior", "non-inferior", "better", "equivalent", "worse"]
AnswerWord = Literal["superior", "non-inferior", "better", "equivalent", "worse", "open"]
TaskState = Literal["learned", "did not learn", "too few seeds"]
Kind = Literal["dense", "ticket", "control", "other"]
Measure = Literal["score", "area"]
"""What is compared: the score of a run, or the area under its curve where scores are tied at the maximum."""

CLAIMS: Mapping[Question, tuple[Claim, ...]] = {
    "dense": ("superior", "non-inferior", "worse"),
    "random": ("better", "worse", "equivalent"),
}
"""Question -> its claims, in order of precedence: better or worse is said however small the difference is.

Against dense: superior means that ticket - dense is above 0 (and shown to be above -margin), non-inferior that it is
above -margin, worse that it is below -margin. Against random: better means that ticket - control is above 0, worse that
it is below 0, equivalent that it is within the margin on both sides.
"""

QUESTIONS: tuple[Question, ...] = tuple(CLAIMS)

POSITIVE: tuple[AnswerWord, ...] = ("superior", "non-inferior", "equivalent")
"""Answers that a failure not seen yet could make wrong."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference between arms, with its interval, from means of independent runs.

    Attributes:
        difference: on the scale of the normalised score: (arm - other) / (dense - untrained). None without a scale.
        low, high: its one-sided bounds, each at the verdict's level, so that together they make a 90 % interval at a
            level of 5 %. None with a single run of any arm, and where no bound is finite.
        raw_difference, raw_low, raw_high: arm - other in the unit of the metric, with the same kind of interval. None
            over tasks.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    raw_difference: float | None = None
    raw_low: float | None = None
    raw_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Difference):
    """The difference between an arm and another one.

    Attributes:
        against: the other arm.
        n, n_other: runs of both, over all tasks.
        from_start: the difference with a second zero of the scale, where the arm's own agents start:
            (arm - other) / (dense - start). None over tasks, without evaluations of these agents before training, and
            where they start no lower than dense agents end.
        p: claim -> one-sided p-value before correction, for the claims that can be tested (Welch's t-test).
    """

    against: str
    n: int
    n_other: int
    from_start: float | None = None
    p: Mapping[Claim, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NoFailureSeen:
    """A positive answer that would be wrong if tickets failed as often as they may without having failed yet.

    Attributes:
        rate: the largest failure rate that these runs don't exclude: an exact one-sided bound at the verdict's level.
        seeds: how many seeds without a failure would exclude rates that make the answer wrong; None where no number up
            to 1,000 would.
    """

    rate: float
    seeds: int | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one question about one arm.

    Attributes:
        question: "dense" or "random".
        answer: None where the question can't be asked: no control, too few seeds, dense agents that did not learn.
        why: what the answer rests on, what keeps it open, or why the question can't be asked.
        measure: what was compared; None over tasks that were compared by different measures.
        comparison: None where nothing can be compared. It is there, with its p-values, also where there are too few
            seeds for an answer.
        adjusted: claim -> p-value after Holm's correction over all tickets and tasks of which the question is asked.
        small: whether a ticket is shown to be better or worse than random, and also equivalent: by less than the
            margin.
        more_seeds: how many more seeds would give 80 % power to answer an open question at current estimates; None
            where no number up to 100 would, and over tasks.
        detectable: the smallest normalised difference that this study would find with 80 % power at current spreads,
            at the level divided by the number of tests: against random from 0, against dense from the margin. None
            without a scale or a test.
        raw_detectable: the same in the unit of the metric; None over tasks.
        no_failure: set where a positive answer rests on no failure seen.
    """

    question: Question
    answer: AnswerWord | None = None
    why: str
    measure: Measure | None = "score"
    comparison: Comparison | None = None
    adjusted: Mapping[Claim, float] = field(default_factory=dict)
    small: bool = False
    more_seeds: int | None = None
    detectable: float | None = None
    raw_detectable: float | None = None
    no_failure: NoFailureSeen | None = None


@dataclass(frozen=True)
class FailedRuns:
    """How many runs of an arm failed: their normalised score is below 0.5."""

    failed: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Failures of a ticket, which its mean may not show.

    Attributes:
        ticket, dense, control: None without a control.
        rate_at_most: exact one-sided upper bound of the ticket's failure rate at the verdict's level (Clopper and
            Pearson 1934).
        p: question -> p-value of the claim that the ticket fails more often than dense or than random (Fisher's exact
            test, one-sided).
        adjusted: the same after Holm's correction over all tickets and tasks.
    """

    ticket: FailedRuns
    dense: FailedRuns
    control: FailedRuns | None
    rate_at_most: float
    p: Mapping[Question, float]
    adjusted: Mapping[Question, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArmVerdict:
    """The verdict on one arm on one task. Only tickets are judged; other arms are compared with dense.

    Attributes:
        control: the random control that keeps as many weights in every layer; None without one.
        dense, random: the answers to the two questions.
        failures: None for arms that are not tickets, and without a scale.
        headroom: 1 - the normalised score of the control: how far a ticket that is as good as dense would be above it,
            by the measure of the question against random. None without control or scale.
    """

    task: str
    arm: str
    control: str | None
    dense: Answer
    random: Answer
    failures: Failures | None = None
    headroom: float | None = None
    kind: Kind = "ticket"

    def of(self, question: Question) -> Answer:
        """The answer to a question."""
        return self.dense if question == "dense" else self.random

    @property
    def wins(self) -> bool:
        """Whether it is as good as dense and better than random."""
        return is_winning(self.dense, self.random)

    @property
    def no_room(self) -> bool:
        """Whether this study may miss that a ticket as good as dense is better than random, for lack of power."""
        least = self.random.detectable
        return self.headroom is not None and least is not None and self.headroom < least


@dataclass(frozen=True)
class TaskVerdict:
    """The verdict on one task.

    Attributes:
        state: whether the dense agents learned it. If not, tickets are compared with random masks alone.
        why: the reason for the state.
        seeds: those whose dense agent is done.
        p_learned: p-value of the claim that training improved the dense agents (`learning.learning_test`); None with
            fewer than two dense agents, or without untrained ones.
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


@dataclass(frozen=True)
class LeftOut:
    """A pooled answer without one of its tasks."""

    difference: float
    low: float | None
    high: float | None
    answer: AnswerWord


@dataclass(frozen=True, kw_only=True)
class PooledAnswer(Answer):
    """The answer to one question about one kind of ticket, from the mean over tasks of its normalised differences.

    Attributes:
        tasks: those it rests on; left_out: task -> why it is not one of them.
        measures: task -> what was compared there.
        median: the median over tasks of the normalised differences; None without tasks.
        without: task -> the answer without it; empty with fewer than two tasks.
    """

    tasks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    median: float | None = None
    without: Mapping[str, LeftOut] = field(default_factory=dict)

    @property
    def sign_decided_by(self) -> tuple[str, ...]:
        """The tasks without any one of which the pooled difference would have the other sign."""
        whole = self.comparison.difference if self.comparison else None
        return tuple(task for task, rest in self.without.items() if whole and rest.difference * whole < 0)

    @property
    def answer_decided_by(self) -> tuple[str, ...]:
        """The tasks without any one of which the answer would be another one."""
        return tuple(task for task, rest in self.without.items() if rest.answer != self.answer)


@dataclass(frozen=True)
class PooledVerdict:
    """The verdict on one kind of ticket over tasks. Each question is pooled over the tasks where it can be asked."""

    arm: str
    dense: PooledAnswer
    random: PooledAnswer

    def of(self, question: Question) -> PooledAnswer:
        """The answer to a question."""
        return self.dense if question == "dense" else self.random

    @property
    def wins(self) -> bool:
        """Whether it is as good as dense and better than random, over the same tasks."""
        return is_winning(self.dense, self.random) and self.dense.tasks == self.random.tasks


def is_winning(dense: Answer, random: Answer) -> bool:
    """Whether these answers make a winning ticket."""
    return dense.answer in ("superior", "non-inferior") and random.answer == "better"


ContrastOrigin = Literal[
    "registered",
    "ticket against control",
    "random against random",
    "dynamic against static",
    "RigL against SET",
    "against dense",
]
"""A contrast of the config, or the kind of default that it is. Holm's correction is over one of these."""


Outcome = Literal["plus", "minus", "open"]


@dataclass(frozen=True, kw_only=True)
class ContrastResult(Difference):
    """A contrast of arms, on one task or over tasks: a sum of means, each with the sign + or -.

    Attributes:
        text: the contrast as the config would say it: ``taylor-90 > magnitude-90``, ``random-90 vs dense``.
        origin: whether the config registers it, or which default it is.
        two_sided: tested for a difference in either direction; else only for the one that it says.
        task: None over all tasks.
        plus, minus: the arms with each sign, in the order of the text. Of ``a - b > c - d`` they are (a, d) and (c, b).
        runs: arm -> its runs, over all tasks.
        p: one-sided or two-sided, as the contrast is; None with fewer than two runs of an arm.
        adjusted: after Holm's correction over the contrasts of this origin and all tasks; over tasks, over the
            contrasts. None where it is not tested.
        outcome: "plus" (the difference is shown to be above 0), "minus" (below 0) or "open"; None where it is not
            tested. A one-sided contrast can only be "plus" or "open".
        why: why it is not tested; None where it is.
        tasks: those it rests on; left_out: task -> why it is not one of them.
        median: over tasks; None on one task.
        without: task -> the difference, low and high without it.
    """

    text: str
    origin: ContrastOrigin
    two_sided: bool
    task: str | None
    measure: Measure
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    runs: Mapping[str, int]
    p: float | None = None
    adjusted: float | None = None
    outcome: Outcome | None = None
    why: str | None = None
    tasks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    median: float | None = None
    without: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodContrast:
    """Gradient minus magnitude at one sparsity, on one task or over tasks, as a normalised difference.

    Attributes:
        task: None over all tasks.
        sparsity: of both arms, by group.
        magnitude, gradient: the arms.
        difference, low, high: with the two-sided interval at twice the verdict's level (90 % at 5 %).
        raw_difference, raw_low, raw_high: the same in the unit of the metric; None over tasks.
        p, adjusted: two-sided. Holm's correction is over the sparsities of the row's task, or of the pool. None with
            fewer than two seeds.
        n: runs of the arm that has fewer, over all tasks; fewest: on the task that has the fewest.
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
    raw_difference: float | None = None
    raw_low: float | None = None
    raw_high: float | None = None

    @property
    def as_difference(self) -> Difference:
        """The difference alone, as sentences and tables take it."""
        return Difference(
            difference=self.difference,
            low=self.low,
            high=self.high,
            raw_difference=self.raw_difference,
            raw_low=self.raw_low,
            raw_high=self.raw_high,
        )


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
        n: runs of the arm that has the fewest, over all tasks; fewest: on the task that has the fewest.
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
        contrasts: those of the config, then the defaults; of each first the tasks, then the pool.
    """

    rules: tuple[str, ...]
    tasks: tuple[TaskVerdict, ...]
    pooled: tuple[PooledVerdict, ...]
    methods: tuple[MethodContrast, ...]
    trends: tuple[MethodTrend, ...]
    seeds_added: int
    seeds: tuple[int, ...] = ()
    deviations: tuple[str, ...] = ()
    contrasts: tuple[ContrastResult, ...] = ()
