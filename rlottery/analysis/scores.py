"""Scores of runs, and of arms on one task."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rlottery.analysis.aggregates import Statistic, bootstrap, iqm_of_runs, mean_over_tasks, median_of_runs, value_of
from rlottery.analysis.arrays import exponent_of, mean_of, merged, rounding_of, scaled
from rlottery.analysis.learning import gain_of, least_gain_of
from rlottery.analysis.runs import Metric, Run, arm_names, metric_of, representative, schedule_of, untrained_evaluations
from rlottery.analysis.splits import A_UNIT, REACHED, Split, same_split
from rlottery.analysis.untrained import scores_of
from rlottery.analysis.verdict import Measure
from rlottery.config import Config, Training
from rlottery.config.recipes import DerivedRecipe
from rlottery.config.schedules import IN_TRAINING
from rlottery.pruning.controls import CONTROLS
from rlottery.storage.paths import DENSE
from rlottery.storage.untrained_record import UntrainedScores

WITHOUT_DENSE = "no arm is dense, so scores have no scale"
"""Why there is no normalised score where arms are compared with each other alone."""
BOOTSTRAP_SEED = 0
"""The same runs give the same intervals."""


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval; `low` and `high` are None where there are too few seeds for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArmScores:
    """The scores of one arm on one task.

    Attributes:
        scores: seed -> score: the mean of the run's last evaluations. A run that diverged scores as untrained agents.
        areas: seed -> area under the learning curve: the mean score from step 0 to the end, in the unit of the metric.
            Arms that start at a later step have none, because the steps before would be left out; nor have imported
            agents, whose curve isn't known.
        steps: seed -> the first step with an evaluation at or above the task's threshold; None if it was never reached.
            Imported agents have none.
        normalised: seed -> normalised score (`on_scale`); empty where the dense agents did not learn.
        mean, median, iqm: of the scores.
        before: seed -> score before training, for runs that start at step 0.
        from_start: seed -> a second normalised score, whose zero is where pruned agents start (`TaskScores.start`);
            empty without that scale.
    """

    arm: str
    scores: Mapping[int, float]
    areas: Mapping[int, float]
    steps: Mapping[int, int | None]
    normalised: Mapping[int, float]
    mean: Estimate
    median: Estimate
    iqm: Estimate
    before: Mapping[int, float] = field(default_factory=dict)
    from_start: Mapping[int, float] = field(default_factory=dict)

    def by(self, measure: Measure) -> Collection[float]:
        """What is compared of its runs: their scores, or the areas under their curves."""
        return (self.areas if measure == "area" else self.scores).values()

    @property
    def normalised_score(self) -> float | None:
        """The mean of the normalised scores of its runs; None where there are none."""
        return round(mean_of(self.normalised.values()), 9) if self.normalised else None


@dataclass(frozen=True, repr=False)
class TaskScores:
    """The runs and scores of one task.

    Attributes:
        untrained: mean score of the untrained policies (`untrained_sample`); None where not known.
        dense: mean score of the dense agents; None where not known.
        gain: dense - untrained; None where the dense agents did not learn.
        least_gain: what the dense agents must gain to count as having learned.
        threshold: the score that `ArmScores.steps` refers to; None where the dense agents did not learn.
        starts: seed -> score of the dense agent before training.
        fresh: scores of the task's fresh untrained policies; empty in studies that have none, as those of earlier
            versions, or not all of them yet.
        by_first: whether the untrained scores are first evaluations of dense runs: there are no earlier ones.
        without_dense: whether nobody says which arm is dense, so that no arm is compared with it.
        start: where pruned agents start: mean score before training of tickets and controls with a mask, all arms with
            the same weight; None where not known.
        arms: those that have a score, in the order of `runs`.
        runs: arm -> its runs by seed, also those without a score: dense first, then by sparsity, then by name.
        notes: what is unusual about single runs, one sentence each.
        asked: arm -> the sparsity that the config asks for, by group; for arms that it lists with one.
        rounding: what a score may differ by from a point of the scale from untrained to dense, and still be at it.
        resolution: the smallest difference that two runs' scores can have: of success rates, that of one episode.
    """

    task: str
    metric: Metric
    untrained: float | None
    dense: float | None
    gain: float | None
    least_gain: float
    threshold: float | None
    starts: Mapping[int, float]
    arms: tuple[ArmScores, ...]
    runs: Mapping[str, tuple[Run, ...]]
    notes: tuple[str, ...] = ()
    asked: Mapping[str, Split] = field(default_factory=dict)
    rounding: float = 0.0
    resolution: float = 0.0
    fresh: tuple[float, ...] = ()
    start: float | None = None
    by_first: bool = False
    without_dense: bool = False

    def __repr__(self) -> str:
        """One line, since all runs with their evaluations fill pages."""
        return f"<TaskScores of {self.task}: {self.metric} of {len(self.arms)} of {len(self.runs)} arms>"

    @property
    def untrained_sample(self) -> tuple[float, ...]:
        """The scores of the untrained policies whose mean is the zero of the scale.

        Without fresh ones they are the dense agents before training, a poor sample if there are few.
        """
        return self.fresh or tuple(self.starts.values())

    @property
    def every_run(self) -> tuple[Run, ...]:
        """The runs of all arms."""
        return tuple(run for of_arm in self.runs.values() for run in of_arm)

    @property
    def dense_not_learned(self) -> tuple[int, ...]:
        """Seeds whose dense agent gained no more than `least_gain`."""
        dense = self.arm(DENSE)
        if dense is None or self.untrained is None:
            return ()
        return tuple(seed for seed, score in dense.scores.items() if score - self.untrained <= self.least_gain)

    def arm(self, name: str) -> ArmScores | None:
        """The scores of an arm; None if it has none."""
        return next((arm for arm in self.arms if arm.arm == name), None)

    def by(self, measure: Measure) -> dict[str, Collection[float]]:
        """Arm -> what is compared of its runs: their scores, or the areas under their curves."""
        return {arm.arm: arm.by(measure) for arm in self.arms}

    def scale(self, measure: Measure) -> tuple[float, ...]:
        """The scores of untrained policies that normalised differences count from; empty without a scale.

        There is none where the dense agents did not learn, or gained no more than `least_gain` by this measure: agents
        that learn late may have an area that is hardly above the untrained score.
        """
        dense = self.arm(DENSE)
        found = None if dense is None else dense.by(measure)
        if self.gain is None or self.untrained is None or not found:
            return ()
        return self.untrained_sample if mean_of(found) - self.untrained > self.least_gain else ()

    def why_no_scale(self, measure: Measure = "score") -> str:
        """Why scores, or areas under curves, can't be normalised; "" if they can."""
        if self.scale(measure):
            return ""
        if self.without_dense:
            return WITHOUT_DENSE
        dense = self.arm(DENSE)
        if dense is None:
            return "no dense agent is done yet"
        if self.untrained is None:
            return "the score of untrained agents is not known"
        if self.gain is None:
            return "dense agents can't be shown to have learned"
        if not dense.by(measure):
            return "the dense agents have no learning curve from step 0"
        return "the dense agents' mean over training is close to untrained"

    def why_not_pooled(self, measure: Measure = "score") -> str:
        """Why the task is left out of means over tasks, for its lack of a scale; "" if it has one."""
        why = self.why_no_scale(measure)
        return f"there is no scale, since {why}" if why and not self.without_dense else why

    def representative(self, arm: str) -> Run:
        """A run that shows what kind of arm it is."""
        return representative(self.runs[arm])

    def split(self, arm: str) -> Split:
        """The sparsity of each group of an arm: as the config asks for it, else as it was reached; empty if unknown."""
        return self.asked.get(arm) or self.representative(arm).sparsity or {}


def score_tasks(
    config: Config, runs: Mapping[str, Sequence[Run]], samples: Mapping[str, UntrainedScores] | None = None
) -> tuple[TaskScores, ...]:
    """Score every task of a study, finished or not.

    Args:
        runs: task id -> its runs (`rlottery.analysis.runs.read_runs`).
        samples: task id -> its fresh untrained policies (`rlottery.analysis.untrained.read_samples`).
    """
    samples = samples or {}
    return tuple(
        task_scores(
            task.id,
            runs[task.id],
            least_gain_of(runs[task.id], samples.get(task.id)),
            config,
            notes_on(runs[task.id], config.evaluation.score_evaluations, config.training_for(task)),
            samples.get(task.id),
        )
        for task in config.tasks
    )


def task_scores(
    task: str,
    runs: Sequence[Run],
    least_gain: float,
    config: Config,
    notes: tuple[str, ...] = (),
    sample: UntrainedScores | None = None,
    starts: Mapping[int, float] | None = None,
) -> TaskScores:
    """Score the runs of one task.

    Args:
        runs: in any order. Runs that are neither done nor diverged have no score.
        least_gain: what dense agents must gain on average to count as having learned, in the unit of the metric.
        sample: the task's fresh untrained policies.
        starts: scores of dense agents before training, by seed; None for those of the runs at step 0.
    """
    metric, rules = metric_of(runs), config.verdict
    if starts is None:
        starts = {seed: evaluation.scores[metric] for seed, evaluation in untrained_evaluations(runs).items()}
    fresh = () if sample is None else scores_of(sample, metric)
    untrained = mean_of(fresh or starts.values()) if fresh or starts else None
    lengths = {run.seed: run.env_steps for run in runs if run.arm == DENSE}
    by_arm = {arm: tuple(run for run in runs if run.arm == arm) for arm in arm_names(runs)}
    last = config.evaluation.score_evaluations
    scores = _merged({arm: _scores(of_arm, metric, last, untrained) for arm, of_arm in by_arm.items()})
    dense = scores.get(DENSE, {})
    gain = gain_of(dense.values(), starts.values(), untrained, least_gain, rules)
    rounding = rounding_of([*dense.values(), untrained or 0.0])
    threshold = None if gain is None or untrained is None else untrained + rules.threshold * gain
    whole = {arm: [run for run in of if run.seed in scores[arm] and run.began_at == 0] for arm, of in by_arm.items()}
    areas = {
        arm: {
            run.seed: area_under_curve(run, metric, untrained, lengths.get(run.seed))
            for run in of_arm
            if run.imported is None
        }
        for arm, of_arm in whole.items()
    }
    areas = _merged(areas)
    before = {
        arm: {
            run.seed: run.evaluations[0].scores[metric]
            for run in of_arm
            if run.evaluations and run.evaluations[0].env_steps == 0
        }
        for arm, of_arm in whole.items()
    }
    pruned = [of_arm for arm, of_arm in before.items() if of_arm and _starts_pruned(representative(by_arm[arm]))]
    start = mean_of(mean_of(of_arm.values()) for of_arm in pruned) if pruned else None
    from_start = None if gain is None or start is None else mean_of(dense.values()) - start
    arms = []
    for arm, of_arm in scores.items():
        if not of_arm:
            continue
        ended = {run.seed: run for run in by_arm[arm] if run.seed in of_arm}
        mean, median, iqm = (
            estimate_of([list(of_arm.values())], statistic, rules.resamples)
            for statistic in (mean_over_tasks, median_of_runs, iqm_of_runs)
        )
        arms.append(
            ArmScores(
                arm=arm,
                scores=of_arm,
                areas=areas[arm],
                steps={}
                if threshold is None
                else {
                    seed: steps_to(run, metric, threshold - rounding)
                    for seed, run in ended.items()
                    if run.imported is None
                },
                normalised={}
                if gain is None or untrained is None
                else {seed: on_scale(score, untrained, gain) for seed, score in of_arm.items()},
                mean=mean,
                median=median,
                iqm=iqm,
                before=before[arm],
                from_start={}
                if start is None or from_start is None or from_start <= least_gain
                else {seed: on_scale(score, start, from_start) for seed, score in of_arm.items()},
            )
        )
    return TaskScores(
        task=task,
        metric=metric,
        untrained=untrained,
        dense=mean_of(dense.values()) if dense else None,
        gain=gain,
        least_gain=least_gain,
        threshold=threshold,
        starts=starts,
        arms=tuple(arms),
        runs=by_arm,
        notes=notes,
        asked=_asked(config, by_arm),
        rounding=rounding,
        resolution=1 / (config.evaluation.episodes * last) if metric == "success" else 0.0,
        fresh=fresh,
        start=start,
    )


def on_scale(score: float, untrained: float, gain: float) -> float:
    """The normalised score of a run: (score - untrained) / gain, where gain is dense - untrained.

    `untrained` is the mean over all untrained policies and `dense` that over all dense agents of the task: one scale
    for all arms, whose runs are independent of each other. This is the only definition; every table, figure and data
    frame reads it.

    It is rounded to nine decimals so that equal scores stay equal; to fewer where the gain is so small, compared with
    the scores themselves, that rounding would change them.
    """
    share = rounding_of([score, untrained]) / gain
    return round((score - untrained) / gain, 9 if share < 1e-10 else max(0, math.floor(-math.log10(share))))


def area_under_curve(run: Run, metric: Metric, untrained: float | None = None, env_steps: int | None = None) -> float:
    """The mean score over a run: the area under its learning curve by trapezoids, divided by its length.

    Args:
        untrained: the score that counts from a divergence to the end.
        env_steps: how long a run that diverged should have been.
    """
    steps = [float(evaluation.env_steps) for evaluation in run.evaluations]
    values = [evaluation.scores[metric] for evaluation in run.evaluations]
    if run.status == "diverged" and untrained is not None:
        end = float(run.env_steps or env_steps or 0)
        steps, values = (steps, values) if steps else ([0.0], [untrained])
        if end > steps[-1]:
            steps, values = [*steps, steps[-1], end], [*values, untrained, untrained]
    if steps[-1] <= steps[0]:
        return values[-1]
    # Relative to the first value and to the length, so that neither large values nor many steps lose digits.
    shares = [step / (steps[-1] - steps[0]) for step in steps]
    return values[0] + float(np.trapezoid([value - values[0] for value in values], shares))


def steps_to(run: Run, metric: Metric, threshold: float) -> int | None:
    """The first step with an evaluation at or above the threshold, counted from the start of the dense run."""
    reached = (run.began_at + e.env_steps for e in run.evaluations if e.scores[metric] >= threshold)
    return next(reached, None)


def notes_on(runs: Sequence[Run], last: int, training: Training) -> tuple[str, ...]:
    """What is unusual about the evaluations that make the scores.

    Args:
        last: how many of the last evaluations make a score.
    """
    notes = []
    what, some = (
        ("the last evaluation", "some runs made it")
        if last == 1
        else (f"the mean of the last {last} evaluations", "some of these were made")
    )
    counted = [run.trained[-last:] for run in runs if run.status == "done" and run.began_at == 0]
    if any(of_run[0].env_steps < training.first_update for of_run in counted):
        notes.append(
            f"A score is {what}, and {some} before the first update (step {training.first_update:,}). Train longer, or "
            "lower evaluation.interval or evaluation.score_evaluations."
        )
    for run in runs:
        if run.status != "done":
            continue
        where, trained = f"{run.arm}, seed {run.seed}", run.trained
        if len(trained) < last:
            there = "there is only 1" if len(trained) == 1 else f"there are only {len(trained)}"
            notes.append(f"{where}: a score is {what}, but {there}.")
        asked = run.env_steps or training.env_steps
        if trained[-1].env_steps != asked:
            ended = trained[-1].env_steps
            notes.append(f"{where}: the last evaluation is at step {ended:,}; the config asks for {asked:,}.")
    return tuple(notes)


def estimate_of(groups: Sequence[Sequence[float]], statistic: Statistic, resamples: int) -> Estimate:
    """A statistic with its bootstrap interval; NaN without any scores."""
    if not any(groups):
        return Estimate(math.nan, None, None)
    arrays = [np.array(group, dtype=np.float64) for group in groups]
    exponent = exponent_of(*arrays)
    arrays = [scaled(array, exponent) for array in arrays]
    interval = bootstrap(arrays, statistic, seed=BOOTSTRAP_SEED, resamples=resamples)
    value = math.ldexp(value_of(statistic, arrays), exponent)
    return Estimate(value, *((math.ldexp(end, exponent) for end in interval) if interval else (None, None)))


def _starts_pruned(run: Run) -> bool:
    """Whether the runs of this arm start with initial weights under the mask of a ticket or of its control."""
    control = CONTROLS.get(str(run.recipe.get("control")))
    has_mask = run.sparsity is not None and (control is None or control.has_mask)
    return has_mask and schedule_of(run) not in IN_TRAINING and not run.start.get("rewind")


def _merged(of_arms: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """The same, where numbers of any arms that differ by no more than rounding are equal."""
    equal = merged(value for of_arm in of_arms.values() for value in of_arm.values())
    return {arm: {seed: equal[value] for seed, value in of_arm.items()} for arm, of_arm in of_arms.items()}


def _asked(config: Config, runs: Mapping[str, Sequence[Run]]) -> dict[str, Split]:
    """Arm -> the sparsity that its recipe, or its ticket's, asks for, unless its runs were made with another one."""
    found: dict[str, Split] = {}
    recipes = {recipe.name or "": recipe for recipe in config.recipes}
    for name, recipe in recipes.items():
        ticket = recipe
        while isinstance(ticket, DerivedRecipe) and ticket.of in recipes:  # a control may be of a transfer
            ticket = recipes[ticket.of]
        asked = None if ticket.only_sparsity is None else ticket.only_sparsity.by_group
        reached = representative(runs[name]).sparsity if name in runs else None
        # Whole units are pruned until at least the requested share is reached.
        within = A_UNIT if getattr(ticket, "structure", "") == "units" else REACHED
        if asked is not None and reached is not None and same_split(asked, reached, within):
            found[name] = asked
    return found


def _scores(runs: Sequence[Run], metric: Metric, last: int, untrained: float | None) -> dict[int, float]:
    """Seed -> the mean of the run's last evaluations; `untrained` for a run that diverged, which has no policy left."""
    found = {}
    for run in runs:
        if run.status == "done":
            found[run.seed] = mean_of(evaluation.scores[metric] for evaluation in run.trained[-last:])
        elif run.status == "diverged" and untrained is not None:
            found[run.seed] = untrained
    return found
