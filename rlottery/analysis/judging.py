"""From scores to verdicts: every ticket against the dense agents and its random control, by task and over tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.answers import Asked, answered
from rlottery.analysis.arrays import mean_of
from rlottery.analysis.cautions import bimodal, head_start
from rlottery.analysis.decisions import p_values
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.failures import AtRisk, corrected_failures, failed_runs, failures_occur, failures_of
from rlottery.analysis.kinds import LayerCounts, kind_of, made_alike, random_control_of
from rlottery.analysis.learning import learning_test
from rlottery.analysis.linear_forms import LinearForm, linear_form, measured
from rlottery.analysis.pooling import pool
from rlottery.analysis.scores import ArmScores, TaskScores
from rlottery.analysis.verdict import (
    Answer,
    ArmVerdict,
    Comparison,
    Failures,
    Kind,
    Measure,
    PooledAnswer,
    PooledVerdict,
    Question,
    TaskState,
    TaskVerdict,
)
from rlottery.config import Verdict
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class TaskToJudge:
    """The scores of one task, and how many weights its masks keep.

    Attributes:
        counts: arm -> its layers, for the arms whose masks could be read.
    """

    scores: TaskScores
    counts: Mapping[str, LayerCounts]


@dataclass(frozen=True)
class _Compared:
    """An arm on a task, with both questions asked and not answered."""

    arm: str
    kind: Kind
    control: str | None
    dense: Asked
    random: Asked
    failures: Failures | None
    headroom: float | None


def controls_of(task: TaskToJudge) -> dict[str, str | None]:
    """Ticket -> its random control."""
    every = map(task.scores.representative, task.scores.runs)
    return {run.arm: random_control_of(run, task.scores.runs, task.counts) for run in every if kind_of(run) == "ticket"}


def judge(tasks: Sequence[TaskToJudge], rules: Verdict) -> tuple[tuple[TaskVerdict, ...], tuple[PooledVerdict, ...]]:
    """The verdicts on every task, and over tasks."""
    states = [_state(task.scores, rules) for task in tasks]
    compared = [
        _compare(task, state, arm, rules)
        for task, (state, _, _) in zip(tasks, states, strict=True)
        for arm in task.scores.arms
        if arm.arm != DENSE
    ]
    to_dense = answered([one.dense for one in compared], rules)
    to_random = answered([one.random for one in compared], rules)
    failures = corrected_failures([one.failures for one in compared])
    judged: dict[str, list[ArmVerdict]] = {task.scores.task: [] for task in tasks}
    for one, dense, random, failed in zip(compared, to_dense, to_random, failures, strict=True):
        task = one.dense.task
        judged[task].append(
            ArmVerdict(
                task=task,
                arm=one.arm,
                control=one.control,
                dense=dense,
                random=random,
                failures=failed,
                headroom=one.headroom,
                kind=one.kind,
            )
        )
    verdicts = []
    for task_scores, (state, why, p_learned) in zip((task.scores for task in tasks), states, strict=True):
        arms = judged[task_scores.task]
        # Tickets and their random controls.
        pruned = {name for arm in arms if arm.kind == "ticket" for name in (arm.arm, arm.control) if name}
        dense_arm, learned = task_scores.arm(DENSE), state == "learned"
        verdicts.append(
            TaskVerdict(
                task=task_scores.task,
                state=state,
                why=why,
                seeds=tuple(dense_arm.scores) if dense_arm else (),
                p_learned=p_learned,
                arms=tuple(arms),
                bimodal=bimodal(task_scores, rules.margin) if learned else None,
                head_start=head_start(task_scores, pruned, rules.margin) if learned else None,
            )
        )
    return tuple(verdicts), _pooled([one for one in compared if one.kind == "ticket"], tasks, rules)


def _pooled(tickets: Sequence[_Compared], tasks: Sequence[TaskToJudge], rules: Verdict) -> tuple[PooledVerdict, ...]:
    arms = dict.fromkeys(one.arm for one in tickets)
    alike = {arm: [scores.task for scores in made_alike((task.scores for task in tasks), arm)] for arm in arms}
    names = [task.scores.task for task in tasks]

    def over_tasks(question: Question) -> dict[str, PooledAnswer]:
        asked = {arm: {one.dense.task: getattr(one, question) for one in tickets if one.arm == arm} for arm in arms}
        return pool(question, asked, alike, names, rules)

    to_dense, to_random = over_tasks("dense"), over_tasks("random")
    return tuple(PooledVerdict(arm, to_dense[arm], to_random[arm]) for arm in arms)


def _state(scores: TaskScores, rules: Verdict) -> tuple[TaskState, str, float | None]:
    arm = scores.arm(DENSE)
    of_dense = arm.scores.values() if arm else ()
    p, seeds = learning_test(of_dense, scores.starts.values()), len(of_dense)
    if seeds < rules.least_seeds:
        have = "1 seed has" if seeds == 1 else f"{seeds} seeds have"
        few = f"only {have} a finished dense agent, and {rules.least_seeds} are needed"
        return "too few seeds", few if seeds else "no dense agent is done yet", p
    if scores.untrained is None or p is None:
        return "did not learn", _why_not_learned(scores), p
    dense, untrained = scores.dense or 0.0, scores.untrained
    shown = number_formatter([dense, untrained])
    if scores.gain is None:
        return (
            "did not learn",
            f"dense agents can't be shown to have learned: their mean score is {shown(dense)}, and {shown(untrained)} "
            f"before training (one-sided p = {p:.2g}; the gain must also exceed {scores.least_gain:.3g})",
            p,
        )
    return "learned", f"training improved the dense agents by {dense - untrained:.4g} (one-sided p = {p:.2g})", p


def _why_not_learned(scores: TaskScores) -> str:
    return scores.why_no_scale() or "the scores of dense agents before training are not known"


# ------------------------------------------------------------------------------------------ One arm


def _compare(task: TaskToJudge, state: TaskState, arm: ArmScores, rules: Verdict) -> _Compared:
    """Compare one arm with dense and with its control, before any decision."""
    scores, run = task.scores, task.scores.representative(arm.arm)
    kind = kind_of(run)
    name = random_control_of(run, scores.runs, task.counts) if kind == "ticket" else None
    dense, control = scores.arm(DENSE), scores.arm(name) if name else None
    not_learned = None
    if state == "too few seeds":
        not_learned = "too few seeds have a finished dense agent"
    elif state == "did not learn":
        not_learned = _why_not_learned(scores)
    no_dense, no_control = not_learned, None if name else "there is no random control with its layer counts"
    if kind != "ticket":
        it_is = "a control" if kind == "control" else "not a ticket with rewound weights"
        no_dense = no_control = f"{it_is}: compared, but not judged"
    of = _Task(scores, not_learned, rules)
    judged = kind == "ticket"
    to_random = of.ask("random", arm, control, no_control, judged=judged)
    return _Compared(
        arm=arm.arm,
        kind=kind,
        control=name,
        dense=of.ask("dense", arm, dense, no_dense, judged=judged),
        random=to_random,
        failures=failures_of(arm, dense, control, rules.level) if judged and dense is not None else None,
        headroom=None if control is None else of.headroom(control, to_random.answer.measure or "score"),
    )


@dataclass(frozen=True)
class _Task:
    """A task on which questions are asked.

    Attributes:
        not_learned: why the dense agents aren't known to have learned; None if they are.
    """

    scores: TaskScores
    not_learned: str | None
    rules: Verdict

    def ask(
        self, question: Question, arm: ArmScores, other: ArmScores | None, why_not: str | None, *, judged: bool
    ) -> Asked:
        """Compare an arm with another one.

        Args:
            why_not: why the question can't be asked, if that is known; then the two are only compared.
            judged: arms that are not need no other measure than the score.
        """
        measure: Measure = "area" if judged and self._tied_at_maximum(arm, other) else "score"
        form = None if other is None else self._difference(arm, other, measure)
        lacking = why_not or self._lacking(question, arm, other, form, measure)
        answer = Answer(question=question, why=lacking or "", measure=measure)
        if form is None or other is None:
            return Asked(self.scores.task, arm.arm, answer)
        compared = self._comparison(question, form, arm, other, measure)
        # Only claims about the margin need a scale.
        counted = {claim: p for claim, p in compared.p.items() if self.not_learned is None or claim != "equivalent"}
        return Asked(
            task=self.scores.task,
            arm=arm.arm,
            answer=replace(answer, comparison=compared),
            form=form,
            p={} if lacking else counted,
            at_risk=self._at_risk(arm, measure),
            not_pooled=self.scores.why_not_pooled(measure) or self.not_learned or "",
        )

    def headroom(self, control: ArmScores, measure: Measure) -> float | None:
        """1 - the normalised score of a control; None without a scale."""
        dense = self.scores.arm(DENSE)
        form = None if dense is None else self._difference(dense, control, measure)
        return None if form is None else form.difference

    def _difference(self, arm: ArmScores, other: ArmScores, measure: Measure) -> LinearForm | None:
        scores = self.scores
        return linear_form([arm.arm], [other.arm], scores.by(measure), scores.scale(measure), scores.resolution)

    def _comparison(
        self, question: Question, form: LinearForm, arm: ArmScores, other: ArmScores, measure: Measure
    ) -> Comparison:
        return Comparison(
            **vars(measured(form, self.rules.level)),
            against=other.arm,
            n=form.runs[arm.arm],
            n_other=form.runs[other.arm],
            from_start=self._from_start(form, arm, measure),
            p=p_values(question, [form], self.rules.margin),
        )

    def _from_start(self, form: LinearForm, arm: ArmScores, measure: Measure) -> float | None:
        """The difference as a share of what dense agents have over the untrained agents of this arm."""
        dense = self.scores.arm(DENSE)
        if form.gain is None or dense is None or not arm.before:
            return None
        above = mean_of(dense.by(measure)) - mean_of(arm.before.values())
        return form.raw / above if above > self.scores.rounding else None

    def _at_risk(self, arm: ArmScores, measure: Measure) -> AtRisk | None:
        dense, failed = self.scores.arm(DENSE), failed_runs(arm)
        form = None if dense is None else self._difference(arm, dense, measure)
        if failed is None or form is None or form.difference is None:
            return None
        return AtRisk(1 + form.difference, failed.runs, not failed.failed and failures_occur(self.scores))

    def _tied_at_maximum(self, arm: ArmScores, other: ArmScores | None) -> bool:
        """Whether every run of both arms is as good as the best run of the task.

        Up to a small share of the gain, or one episode of a success rate; but a difference of the margin is none.
        """
        gain = self.scores.gain
        if gain is None or other is None or not arm.scores or not other.scores:
            return False
        best = max(score for of in self.scores.arms for score in of.scores.values())
        within = max(self.rules.saturated_within * gain, min(self.scores.resolution, self.rules.margin * gain))
        return min(*arm.scores.values(), *other.scores.values()) >= best - within - self.scores.rounding

    def _lacking(
        self, question: Question, arm: ArmScores, other: ArmScores | None, form: LinearForm | None, measure: Measure
    ) -> str | None:
        """Why a question can't be asked about a ticket; None if it can."""
        both = ("it has", arm), ("dense has" if question == "dense" else "its random control has", other)
        for who, of in both:
            found = of.by(measure) if of is not None else ()
            if measure == "area" and not found:
                return f"scores are tied at the maximum, and {who} no learning curve from step 0"
            if len(found) < self.rules.least_seeds:
                return f"{who} {len(found)} of {self.rules.least_seeds} seeds that are needed"
        if question == "dense" and (form is None or form.gain is None):
            return f"scores are tied at the maximum, and {self.scores.why_no_scale(measure)}"
        return None
