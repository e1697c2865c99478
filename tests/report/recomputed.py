"""A report's numbers, computed again from its tables of runs and of untrained policies: NumPy, SciPy, and no rlottery.

`disagreements` reads the CSV files of a report and its config, and nothing else. Left out are floating-point operations
and what is about masks (`tests.report.recomputed_masks`); sentences have a module of their own
(`tests.report.recomputed_sentences`).
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from scipy import optimize, special, stats

Row = Mapping[str, Any]
ALL = "all tasks"
CLAIMS = {"dense": ("superior", "non-inferior", "worse"), "random": ("better", "worse", "equivalent")}
POSITIVE = ("superior", "non-inferior", "equivalent")
WITHOUT_MASK = ("small-dense", "dense-again")
MASK_IN_TRAINING = ("gradual", "set", "rigl")
FARTHEST = 100.0


class Rules(NamedTuple):
    margin: float = 0.1
    level: float = 0.05
    least_seeds: int = 5
    saturated_within: float = 0.02
    episodes: int = 10
    score_evaluations: int = 3
    resamples: int = 2000


@dataclass
class Task:
    """The runs of one task: arm -> seed -> value, by column; and the scores of its untrained policies."""

    name: str
    metric: str
    fresh: bool
    untrained: np.ndarray
    columns: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: set[tuple[str, int]] = field(default_factory=set)
    step: float = 0.0

    def of(self, arm: str, column: str = "score") -> np.ndarray:
        return np.array(list(self.columns.get(column, {}).get(arm, {}).values()))

    @property
    def gain(self) -> float | None:
        """What the dense agents gained; None where they did not learn."""
        dense = self.of("dense")
        if not dense.size:
            return None
        gain = dense.mean() - self.untrained.mean()
        chance = chance_of_ranks(tuple(dense), tuple(self.of("dense", "untrained")))
        return None if gain <= self.least_gain or (dense.size >= 5 and chance > 0.05) else gain

    @property
    def least_gain(self) -> float:
        return 0.05 if self.metric == "success" else float(self.untrained.std())

    @property
    def start(self) -> float | None:
        """The mean over arms of where pruned agents start."""
        means = [self.of(arm, "untrained").mean() for arm in self.columns["untrained"] if self.starts_pruned(arm)]
        return float(np.mean(means)) if means else None

    def starts_pruned(self, arm: str) -> bool:
        recipe = self.recipes[arm]
        schedule = recipe.get("schedule") or "one-shot"
        name = schedule if isinstance(schedule, str) else next(iter(schedule))
        return arm != "dense" and recipe.get("control") not in WITHOUT_MASK and name not in MASK_IN_TRAINING


@cache
def chance_of_ranks(after: tuple[float, ...], before: tuple[float, ...]) -> float:
    """p-value of the one-sided rank-sum test, from all ways to share out the scores: some are equal."""
    ways = stats.PermutationMethod(n_resamples=200_000)
    assert math.comb(len(after) + len(before), len(after)) <= ways.n_resamples, "SciPy would draw some at random"
    return float(stats.mannwhitneyu(after, before, alternative="greater", method=ways).pvalue)


class Sample(NamedTuple):
    """The scores of an arm, or of untrained policies: the weights of their mean in a difference and in the gain."""

    weight: float
    on_gain: float
    n: int
    mean: float
    variance: float
    varies: bool


def sample(weight: float, on_gain: float, values: np.ndarray, step: float) -> Sample:
    rounding = 1e-12 * np.abs(values).max()
    variance = values.var(ddof=1) if values.size > 1 and np.ptp(values) > rounding else 0.0
    return Sample(weight, on_gain, values.size, values.mean(), variance, bool(np.ptp(values) > rounding + step))


class Form(NamedTuple):
    """A difference of arms on one task."""

    samples: list[Sample]
    gain: float | None

    @property
    def arms(self) -> list[Sample]:
        return [one for one in self.samples if one.weight]

    @property
    def two_fewest(self) -> list[int]:
        return sorted(one.n for one in self.arms)[:2]

    def raw(self) -> float:
        return sum(one.weight * one.mean for one in self.arms)

    def normalised(self) -> float:
        assert self.gain is not None
        return self.raw() / self.gain


def form(task: Task, plus: Sequence[str], minus: Sequence[str], measure: str) -> Form | None:
    weights = dict.fromkeys(plus, 1.0) | dict.fromkeys(minus, -1.0)
    if not all(task.of(arm, measure).size for arm in weights):
        return None
    gain = None if task.gain is None else task.of("dense", measure).mean() - task.untrained.mean()
    if gain is None or gain <= task.least_gain:
        return Form([sample(weight, 0.0, task.of(arm, measure), task.step) for arm, weight in weights.items()], None)
    samples = [
        sample(weight, float(arm == "dense"), task.of(arm, measure), task.step)
        for arm, weight in ({"dense": 0.0} | weights).items()
    ]
    return Form([*samples, sample(0.0, -1.0, task.untrained, task.step)], gain)


def p_above(forms: Sequence[Form], at: float) -> float:
    """Welch's one-sided p-value against "the mean over tasks of the normalised differences is `at` or less"."""
    shares = [
        ((one.weight - at * one.on_gain) / (of.gain or 1.0) / len(forms), one) for of in forms for one in of.samples
    ]
    estimate = sum(share * one.mean for share, one in shares)
    parts = [(share**2 * one.variance / one.n, one.n - 1) for share, one in shares if share]
    p = _p(estimate if abs(estimate) > 1e-9 else 0.0, parts)
    if not any(one.varies for of in forms for one in of.arms):
        p = max(p, *(1 / math.comb(n + m, n) for n, m in (of.two_fewest for of in forms)))
    return p


def _p(estimate: float, parts: Sequence[tuple[float, int]]) -> float:
    """The p-value of a sum of independent means with these variances and degrees of freedom."""
    error, df = _error(parts)
    return float(special.stdtr(df, -estimate / error)) if error else float(estimate <= 0)


def _error(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Standard error, and degrees of freedom by Welch and Satterthwaite."""
    variance = sum(part for part, _ in parts)
    return (math.sqrt(variance), variance**2 / sum(part**2 / df for part, df in parts)) if variance else (0.0, 1.0)


def mirrored(forms: Sequence[Form]) -> list[Form]:
    """The negative differences: a claim that one is below is that its mirror is above."""
    return [of._replace(samples=[one._replace(weight=-one.weight) for one in of.samples]) for of in forms]


def p_below(forms: Sequence[Form], at: float) -> float:
    return p_above(mirrored(forms), -at)


def mean_of(forms: Sequence[Form]) -> float:
    return float(np.mean([one.normalised() for one in forms]))


def lower_bound(forms: Sequence[Form], level: float) -> float | None:
    """The largest difference such that the test rejects all that are smaller."""
    high = mean_of(forms)
    low = high - FARTHEST
    if p_above(forms, low) > level:
        return None
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if p_above(forms, middle) <= level else (low, middle)
    return low


def bounds(forms: Sequence[Form], level: float) -> tuple[float | None, float | None]:
    upper = lower_bound(mirrored(forms), level)
    return lower_bound(forms, level), None if upper is None else -upper


def raw_bounds(of: Form, level: float) -> tuple[float, float]:
    """Welch's interval."""
    error, df = _error([(one.weight**2 * one.variance / one.n, one.n - 1) for one in of.arms])
    reach = special.stdtrit(df, 1 - level) * error
    return of.raw() - reach, of.raw() + reach


def claims(question: str, forms: Sequence[Form], margin: float) -> dict[str, float]:
    """Claim -> p-value, of those that can be tested."""
    has_scale = all(one.gain is not None for one in forms)
    if question == "dense":
        if not has_scale:
            return {}
        above = p_above(forms, -margin)
        return {"superior": p_above(forms, 0), "non-inferior": above, "worse": p_below(forms, -margin)}
    found = {"better": p_above(forms, 0), "worse": p_below(forms, 0)}
    if has_scale:
        found["equivalent"] = max(p_above(forms, -margin), p_below(forms, margin))
    return found


def holm(p: Mapping[Any, float]) -> dict[Any, float]:
    """Step-down: the k-th smallest of n, times n - k + 1, and no smaller than the one before."""
    order = sorted(p, key=lambda key: p[key])
    raised = np.maximum.accumulate([min(1.0, (len(order) - place) * p[key]) for place, key in enumerate(order)] or [0])
    return dict(zip(order, raised.tolist(), strict=False))


def answer(question: str, adjusted: Mapping[str, float], level: float) -> str:
    held = {claim for claim in CLAIMS[question] if adjusted.get(claim, 1.0) <= level}
    if question == "dense" and "superior" in held and "non-inferior" not in held:
        held.remove("superior")
    return next((claim for claim in CLAIMS[question] if claim in held), "open")


# ------------------------------------------------------------------------------------------ The files


class Report:
    """The tables of a report, and what follows from the runs in them."""

    def __init__(self, folder: Path):
        self.folder, self.tasks, self.rules = folder, dict[str, Task](), _rules(folder / "config.yaml")
        policies = self.table("untrained")
        self.measures = {(row["arm"], row["task"], row["question"]): row["measure"] for row in self.table("answers")}
        for row in self.table("runs"):
            task = self.tasks.get(row["task"])
            if task is None:
                own = [one for one in policies if one["task"] == row["task"]]
                scores = np.array([one["score"] for one in own])
                task = Task(row["task"], row["metric"], own[0]["policies"] == "fresh", scores)
                self.tasks[row["task"]] = task
                if task.metric == "success":
                    task.step = 1 / (self.rules.episodes * self.rules.score_evaluations)
            for column in (
                "score",
                "area",
                "untrained",
                "normalised_score",
                "from_start",
                "seconds",
                "steps_to_threshold",
            ):
                task.columns.setdefault(column, {})
                if row.get(column) is not None:
                    task.columns[column].setdefault(row["arm"], {})[int(row["seed"])] = row[column]
            task.recipes[row["arm"]] = json.loads(row["recipe"]) if row.get("recipe") else {}
            if row["status"] == "done":
                task.done.add((row["arm"], int(row["seed"])))

    def table(self, name: str) -> list[Row]:
        path = self.folder / "tables" / f"{name}.csv"
        if name == "runs" and not path.exists():
            path = self.folder / "comparison.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]

    @property
    def ready(self) -> list[Task]:
        """The tasks with enough dense agents, or all tasks if none has."""
        every = list(self.tasks.values())
        return [task for task in every if task.of("dense").size >= self.rules.least_seeds] or every

    def tied(self, task: Task, arm: str, other: str) -> bool:
        """Whether all runs of both arms are as good as the task's best run."""
        gain, rules = task.gain, self.rules
        if gain is None:
            return False
        best = max(values.max() for values in map(task.of, task.columns["score"]))
        within = max(rules.saturated_within * gain, min(task.step, rules.margin * gain))
        return min(task.of(arm).min(), task.of(other).min()) >= best - within - 1e-9 * abs(best)


def _rules(path: Path) -> Rules:
    given = yaml.safe_load(path.read_text()) if path.exists() else {}
    keys = {**given.get("verdict", {}), **given.get("evaluation", {})}
    return Rules(**{key: value for key, value in keys.items() if key in Rules._fields})


def _value(text: str) -> Any:
    if text in ("", "True", "False"):
        return None if text == "" else text == "True"
    try:
        return float(text)
    except ValueError:
        return text


# ------------------------------------------------------------------------------------------ What is compared

Check = tuple[str, Any, Any]
"""What it is, the published value, and the recomputed one."""


def checks(report: Report) -> Iterator[Check]:
    for check in (
        _runs,
        _scores,
        _across,
        _verdicts,
        _answers,
        _claimed,
        _failures,
        _without,
        _contrasts,
        _methods,
        _costs,
    ):
        yield from check(report)


def disagreements(folder: Path) -> tuple[int, list[str]]:
    """How many numbers were compared, and those that differ, a line each."""
    number, lines = 0, []
    for what, published, expected in checks(Report(folder)):
        number += 1
        if not _agree(published, expected):
            lines.append(f"{what}: published {published}, recomputed {expected}")
    return number, lines


def _agree(published: Any, expected: Any) -> bool:
    if isinstance(published, float) and isinstance(expected, int | float):
        return math.isclose(published, expected, rel_tol=1e-6, abs_tol=1e-8)
    return bool(published == expected)


def _bootstrap(
    groups: Sequence[np.ndarray], statistic: Callable[[list[np.ndarray]], np.ndarray], draws: int
) -> tuple[float | None, float | None]:
    """The middle 95 % of a statistic of runs that are drawn with replacement within each group, from the seed 0.

    Args:
        statistic: maps arrays of shape (draws, runs) to (draws,).
    """
    if any(group.size == 1 for group in groups):
        return None, None
    generator = np.random.default_rng(0)
    drawn = [group[generator.integers(group.size, size=(draws, group.size))] for group in groups]
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return float(low), float(high)


def _middle_half(groups: list[np.ndarray]) -> np.ndarray:
    return np.asarray(stats.trim_mean(np.concatenate(groups, axis=-1), 0.25, axis=-1))


def _mean_of_means(groups: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean([group.mean(axis=-1) for group in groups], axis=0))


def _median_of_means(groups: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.median([group.mean(axis=-1) for group in groups], axis=0))


def _median_of_runs(groups: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.median(np.concatenate(groups, axis=-1), axis=-1))


def _runs(report: Report) -> Iterator[Check]:
    for name, task in report.tasks.items():
        zero, gain, start = task.untrained.mean(), task.gain, task.start
        dense = task.of("dense").mean() if task.of("dense").size else math.nan
        for arm, scores in task.columns["score"].items():
            for seed, score in scores.items():
                where = f"{name} {arm} seed {seed}"
                expected = None if gain is None else (score - zero) / gain
                yield f"{where} normalised", task.columns["normalised_score"].get(arm, {}).get(seed), expected
                if (arm, seed) not in task.done:
                    yield f"{where}, diverged", score, zero
                if gain is not None and start is not None:
                    above = (score - start) / (dense - start)
                    yield f"{where} from the start", task.columns["from_start"].get(arm, {}).get(seed), above


def _scores(report: Report) -> Iterator[Check]:
    statistics: dict[str, Callable[[list[np.ndarray]], np.ndarray]] = {
        "mean": _mean_of_means,
        "median": _median_of_runs,
        "iqm": _middle_half,
    }
    for name, task in report.tasks.items():
        for row in report.table(f"scores_{re.sub('[:/]', '_', name)}"):
            arm = row["arm"]
            for statistic, of in statistics.items():
                if task.of(arm).size:
                    yield f"{name} {arm} {statistic}", row[statistic], float(of([task.of(arm)]))
                    limits = _bootstrap([task.of(arm)], of, report.rules.resamples)
                    for side, limit in zip(("low", "high"), limits, strict=True):
                        yield f"{name} {arm} {statistic} {side}", row[f"{statistic}_{side}"], limit
            for column, title in (("area", "area"), ("untrained", "before"), ("normalised_score", "normalised_score")):
                values = task.of(arm, column)
                yield f"{name} {arm} {title}", row[title], float(values.mean()) if values.size else None
            yield f"{name} {arm} n", row["n"], float(task.of(arm).size)
            if row["reached_threshold"] is not None:
                steps = task.of(arm, "steps_to_threshold")
                yield f"{name} {arm} reached", row["reached_threshold"], float(steps.size)
                median = float(np.median(steps)) if steps.size else None
                yield f"{name} {arm} steps", row["steps_to_threshold"], median
            for seed, score in task.columns["score"].get(arm, {}).items():
                yield f"{name} {arm} seed {seed}", row[f"seed_{seed}"], score


def _across(report: Report) -> Iterator[Check]:
    controls = {row["arm"]: row["against"] for row in report.table("answers") if row["question"] == "against random"}
    for row in report.table("across_tasks"):
        arm = row["arm"]
        own = [task for task in report.ready if task.of(arm, "normalised_score").size]
        groups = [task.of(arm, "normalised_score") for task in own]
        yield f"across {arm} tasks", row["tasks"], float(len(own))
        yield f"across {arm} runs", row["runs"], float(sum(values.size for values in groups))
        for name, of in (("mean", _mean_of_means), ("median", _median_of_means), ("iqm", _middle_half)):
            yield f"across {arm} {name}", row[name], float(of(groups))
            for side, limit in zip(("low", "high"), _bootstrap(groups, of, report.rules.resamples), strict=True):
                yield f"across {arm} {name} {side}", row[f"{name}_{side}"], limit
        for other, title in (("dense", "over_dense"), (controls.get(arm), "over_control")):
            if row[title] is None or other is None:
                continue
            theirs = [task.of(other, "normalised_score") for task in own]
            yield f"across {arm} {title}", row[title], float(_above([*groups, *theirs]))
            limits = _bootstrap([*groups, *theirs], _above, report.rules.resamples)
            for side, limit in zip(("low", "high"), limits, strict=True):
                yield f"across {arm} {title} {side}", row[f"{title}_{side}"], limit


def _above(groups: list[np.ndarray]) -> np.ndarray:
    """The probability that a run of an arm scores higher than one of another; ties count half. The mean over tasks.

    Args:
        groups: the runs of the first arm on each task, (..., runs), then those of the other one.
    """
    half = len(groups) // 2
    shares = [
        (np.sign(ours[..., :, None] - theirs[..., None, :]) + 1).mean(axis=(-2, -1)) / 2
        for ours, theirs in zip(groups[:half], groups[half:], strict=True)
    ]
    return np.asarray(np.mean(shares, axis=0))


def _verdicts(report: Report) -> Iterator[Check]:
    measures = {(row["arm"], row["task"], row["question"]): row for row in report.table("answers")}
    for row in report.table("verdicts"):
        task = report.tasks[row["task"]]
        for question, normalised, at in (("dense", "normalised", 1.0), ("random", "over_control", 0.0)):
            asked = measures.get((row["arm"], row["task"], f"against {question}"))
            other = "dense" if question == "dense" else asked and asked["against"]
            if row[f"difference_{question}"] is None or not other:
                continue
            measure = asked["measure"] if asked else "score"
            one = form(task, [row["arm"]], [other], measure)
            where = f"verdict {row['task']} {row['arm']} {question}"
            assert one is not None, where
            yield f"{where} difference", row[f"difference_{question}"], one.raw()
            for side, bound in zip(("low", "high"), raw_bounds(one, report.rules.level), strict=True):
                yield f"{where} {side}", row[f"difference_{question}_{side}"], bound
            yield f"{where} normalised", row[normalised], None if one.gain is None else one.normalised() + at
            if one.gain is not None:
                for side, limit in zip(("low", "high"), bounds([one], report.rules.level), strict=True):
                    yield (
                        f"{where} normalised {side}",
                        row[f"{normalised}_{side}"],
                        None if limit is None else limit + at,
                    )


@dataclass
class _Asked:
    row: Row
    tasks: list[Task]
    forms: list[Form]
    p: dict[str, float]


def _answers(report: Report) -> Iterator[Check]:
    rows = report.table("answers")
    for question in CLAIMS:
        own = [row for row in rows if row["question"] == f"against {question}"]
        single = {}
        for row in (row for row in own if row["task"] != ALL):
            other = "dense" if question == "dense" else row["against"]
            task = report.tasks[row["task"]]
            if other is None or not task.of(other).size:
                continue
            measure = "area" if report.tied(task, row["arm"], other) else "score"
            where = f"answer {row['task']} {row['arm']} {question}"
            yield f"{where} measure", row["measure"], measure
            one = form(task, [row["arm"]], [other], measure)
            if one is None:
                continue
            single[row["arm"], row["task"]] = _Asked(row, [task], [one], claims(question, [one], report.rules.margin))
            if question == "random" and one.gain is not None:
                control = form(task, ["dense"], [other], measure)
                yield f"{where} headroom", row["headroom"], None if control is None else control.normalised()
            before = task.of(row["arm"], "untrained")
            if one.gain is not None and before.size:
                above = task.of("dense", measure).mean() - before.mean()
                yield f"{where} from the start", row["from_start"], one.raw() / above if above > 1e-9 else None
        yield from _answers_of(report, question, single)
        pooled = {}
        for row in (row for row in own if row["task"] == ALL):
            of_arm = [
                asked
                for (arm, _), asked in single.items()
                if arm == row["arm"] and asked.row["answer"] is not None and asked.forms[0].gain is not None
            ]
            if of_arm:
                forms, tasks = [asked.forms[0] for asked in of_arm], [asked.tasks[0] for asked in of_arm]
                pooled[row["arm"], ALL] = _Asked(row, tasks, forms, claims(question, forms, report.rules.margin))
        yield from _answers_of(report, question, pooled)
        yield from _pooled(report, question, pooled)


def _no_failure_seen(report: Report, one: "_Asked", tasks: Sequence[Task]) -> tuple[float | None, int | None]:
    """The failure rate that an arm's runs don't exclude, if none failed and such a rate would take it below the margin.

    Only on tasks where failures occur: some run of an arm failed and another didn't, or the metric is a success rate.
    Then, the least number of seeds without a failure that would exclude it, up to 1,000.
    """
    arm, level = one.row["arm"], report.rules.level
    if one.row["answer"] not in POSITIVE or any(of.gain is None for of in one.forms):
        return None, None
    runs, scores = [], []
    for task in tasks:
        failed, number = _failed(task, arm)
        occur = task.metric == "success" or any(
            0 < bad < n for bad, n in (_failed(task, name) for name in task.recipes)
        )
        to_dense = form(task, [arm], ["dense"], report.measures[arm, task.name, one.row["question"]])
        assert to_dense is not None
        if not failed and occur:
            runs.append(number)
            scores.append(1 + to_dense.normalised())

    def below(seeds: int) -> bool:
        lost = sum(score * (1 - level ** (1 / max(n, seeds))) for score, n in zip(scores, runs, strict=True))
        return mean_of(one.forms) - lost / len(tasks) < -report.rules.margin

    if not runs or not below(0):
        return None, None
    return 1 - level ** (1 / min(runs)), next((n for n in range(min(runs), 1001) if not below(n)), None)


def _standard_error(forms: Sequence[Form], at: float, more: int = 0) -> tuple[float, float]:
    """Standard error and degrees of freedom of the mean normalised difference, minus `at`, with more runs of each arm.

    Untrained policies stay as they are.
    """
    parts = []
    for of in forms:
        for one in of.samples:
            share = (one.weight - at * one.on_gain) / (of.gain or 1.0) / len(forms)
            n = one.n if one.on_gain < 0 else one.n + more
            parts += [(share**2 * one.variance / n, n - 1)] if share else []
    return _error(parts)


def detectable(forms: Sequence[Form], at: float, level: float) -> float | None:
    """How far above `at` a true difference has a power of 80 %, by the noncentral t distribution.

    Runs that are all alike show any difference, if there are enough of them.
    """
    error, df = _standard_error(forms, at)
    if not error:
        return 0.0 if max(1 / math.comb(n + m, n) for n, m in (of.two_fewest for of in forms)) <= level else None
    critical = stats.t.isf(level, df)
    return float(optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - 0.8, 0, 1e3)) * error


def more_seeds(question: str, of: Form, margin: float, level: float) -> int | None:
    """The least number of more seeds for which some claim has a power of 80 %; None if more than 100."""
    estimate = of.raw() if of.gain is None else of.normalised()
    above, below = (-margin, 1), (margin, -1)
    sides = {"dense": [[above], [(-margin, -1)]], "random": [[(0.0, 1)], [(0.0, -1)], [above, below]]}[question]
    if of.gain is None:
        sides = sides[:2]

    def power(at: float, sign: int, more: int) -> float:
        error, df = _standard_error([of], at, more)
        distance = sign * (estimate - at)
        if distance <= 1e-9:
            return 0.0
        shift = min(distance / error, 1e3) if error else math.inf
        return 1.0 if shift > 100 else float(stats.nct.sf(stats.t.isf(level, df), df, shift))

    for more in range(1, 101):
        if any(sum(power(at, sign, more) for at, sign in claim) - len(claim) + 1 >= 0.8 for claim in sides):
            return more
    return None


def _power(report: Report, question: str, asked: Mapping[tuple[str, str], "_Asked"], family: int) -> Iterator[Check]:
    """What can be detected, and how many seeds an open answer needs, at the level divided by the number of tests."""
    margin, level = report.rules.margin, report.rules.level / max(family, 1)
    for key, one in asked.items():
        if one.row["answer"] is None:
            continue
        where, has_scale = f"answer {key} {question}", all(of.gain is not None for of in one.forms)
        least = detectable(one.forms, -margin if question == "dense" else 0.0, level)
        yield f"{where} detectable", one.row["detectable"], least if has_scale else None
        rate, seeds = _no_failure_seen(report, one, one.tasks)
        yield f"{where} no failure seen", one.row["no_failure_rate"], rate
        yield f"{where} seeds without a failure", one.row["no_failure_seeds"], seeds
        if one.row["task"] != ALL:
            raw = None if least is None else least * (one.forms[0].gain or 1.0)
            yield f"{where} detectable, raw", one.row["raw_detectable"], raw
            is_open = one.row["answer"] == "open"
            more = more_seeds(question, one.forms[0], margin, level) if is_open else None
            yield f"{where} more seeds", one.row["more_seeds"], more
            yield f"{where} at least", one.row["more_seeds_at_least"], (more or 101) if is_open else None


def _answers_of(report: Report, question: str, asked: Mapping[tuple[str, str], _Asked]) -> Iterator[Check]:
    """p-values, Holm's correction over those that have an answer, and the answers."""
    counted = {key: one for key, one in asked.items() if one.row["answer"] is not None}
    adjusted: dict[tuple[str, str], dict[str, float]] = {key: {} for key in counted}
    for claim in CLAIMS[question]:
        for key, p in holm({key: one.p[claim] for key, one in counted.items() if claim in one.p}).items():
            adjusted[key][claim] = p
    for key, one in asked.items():
        for claim in CLAIMS[question]:
            name, where = f"{question}_{claim}".replace("-", "_"), f"answer {key} {question} {claim}"
            yield where, one.row[f"p_{name}"], one.p.get(claim)
            yield f"{where} (Holm)", one.row[f"p_holm_{name}"], adjusted.get(key, {}).get(claim)
        if key in counted:
            yield f"answer {key} {question}", one.row["answer"], answer(question, adjusted[key], report.rules.level)
    yield from _power(report, question, asked, len(counted))


_P_OF = {
    "better": "p_random_better",
    "equivalent": "p_random_equivalent",
    "superior": "p_dense_superior",
    "non-inferior": "p_dense_non_inferior",
}


def _claimed(report: Report) -> Iterator[Check]:
    """The verdicts' tables repeat the answers, with the claim that is the answer or else has the least p-value."""
    asked = {(row["arm"], row["task"], row["question"].split()[-1]): row for row in report.table("answers")}
    for table, task in (("verdicts", None), ("verdicts_over_tasks", ALL)):
        for row in report.table(table):
            for question in CLAIMS:
                of = asked.get((row["arm"], task or row["task"], question))
                if of is None or of["answer"] is None:
                    continue
                where = f"{table} {row['arm']} {task or row['task']} {question}"
                yield f"{where} answer", row[f"answer_{question}"], of["answer"]
                p = {claim: of[_P_OF.get(claim, f"p_{question}_worse")] for claim in CLAIMS[question]}
                adjusted = {
                    claim: of[_P_OF.get(claim, f"p_{question}_worse").replace("p_", "p_holm_", 1)] for claim in p
                }
                known = {claim: value for claim, value in adjusted.items() if value is not None}
                claim = row[f"claim_{question}"]
                yield f"{where} p", row[f"p_{question}"], p[claim]
                yield f"{where} p (Holm)", row[f"p_holm_{question}"], adjusted[claim]
                if of["answer"] == "open":
                    yield f"{where} least p", adjusted[claim], min(known.values())
                else:
                    yield f"{where} claim", claim, of["answer"]
    for row in report.table("decisions"):
        for column, given in row.items():
            task, against, question = column.rpartition(", against ")
            if against:
                of = asked.get((row["arm"], task, question))
                yield f"decisions {row['arm']} {column}", given, of and of["answer"]


def _pooled(report: Report, question: str, pooled: Mapping[tuple[str, str], _Asked]) -> Iterator[Check]:
    normalised, at = ("normalised", 1.0) if question == "dense" else ("over_control", 0.0)
    for row in report.table("verdicts_over_tasks"):
        asked = pooled.get((row["arm"], ALL))
        if asked is None:
            continue
        where = f"over tasks {row['arm']} {question}"
        yield f"{where} mean", row[normalised], mean_of(asked.forms) + at
        median = float(np.median([one.normalised() for one in asked.forms]))
        yield f"{where} median", row[f"{normalised}_median"], median + at
        for side, limit in zip(("low", "high"), bounds(asked.forms, report.rules.level), strict=True):
            yield f"{where} {side}", row[f"{normalised}_{side}"], None if limit is None else limit + at


def _failures(report: Report) -> Iterator[Check]:
    level, rows = report.rules.level, report.table("failures")
    controls = {
        (row["arm"], row["task"]): row["against"]
        for row in report.table("answers")
        if row["question"] == "against random"
    }
    p: dict[str, dict[tuple[str, str], float]] = {"dense": {}, "random": {}}
    for row in rows:
        key, task = (row["arm"], row["task"]), report.tasks[row["task"]]
        failed, runs = _failed(task, row["arm"])
        yield f"failures {key}", (row["failed_ticket"], row["runs_ticket"]), (failed, runs)
        bound = 1.0 if failed == runs else float(stats.beta.ppf(1 - level, failed + 1, runs - failed))
        yield f"failures {key} bound", row["rate_at_most"], bound
        for question, other in (("dense", "dense"), ("random", controls.get(key))):
            if other is None or not task.of(other).size:
                continue
            bad, number = _failed(task, other)
            table = [[failed, runs - failed], [bad, number - bad]]
            p[question][key] = float(stats.fisher_exact(table, alternative="greater").pvalue)
            yield f"failures {key} {question}", row[f"p_{question}"], p[question][key]
    for question, of in p.items():
        adjusted = holm(of)
        for row in rows:
            key = row["arm"], row["task"]
            yield f"failures {key} {question} (Holm)", row[f"p_holm_{question}"], adjusted.get(key)


def _failed(task: Task, arm: str) -> tuple[int, int]:
    normalised = task.of(arm, "normalised_score")
    return int((normalised < 0.5).sum()), normalised.size


def _without(report: Report) -> Iterator[Check]:
    answers = report.table("answers")
    for row in report.table("leave_one_out"):
        question = row["question"].removeprefix("against ")
        own = [
            one
            for one in answers
            if (one["arm"], one["question"]) == (row["arm"], row["question"])
            and one["task"] not in (ALL, row["without"])
            and one["answer"] is not None
        ]
        forms = [
            found
            for one in own
            if (
                found := form(
                    report.tasks[one["task"]],
                    [row["arm"]],
                    ["dense" if question == "dense" else one["against"]],
                    one["measure"],
                )
            )
            and found.gain is not None
        ]
        where = f"without {row['without']} {row['arm']} {question}"
        yield f"{where} mean", row["difference"], mean_of(forms)
        for side, limit in zip(("low", "high"), bounds(forms, report.rules.level), strict=True):
            yield f"{where} {side}", row[f"difference_{side}"], limit


def _contrasts(report: Report) -> Iterator[Check]:
    families: dict[tuple[str, bool], dict[int, float]] = {}
    rows = report.table("contrasts")
    for place, row in enumerate(rows):
        if row["p"] is None:
            continue
        plus, minus = _sides(row["contrast"])
        over = report.tasks.values() if row["task"] == ALL else [report.tasks[row["task"]]]
        forms = [found for task in over if (found := form(task, plus, minus, row["measure"])) is not None]
        if row["task"] == ALL:
            fewest = report.rules.least_seeds
            forms = [one for one in forms if one.gain is not None and one.two_fewest[0] >= fewest]
        where = f"contrast {row['contrast']} on {row['task']}"
        p = p_above(forms, 0)
        p = min(1.0, 2 * min(p, p_below(forms, 0))) if row["two_sided"] else p
        yield f"{where} p", row["p"], p
        if row["p_holm"] is not None:
            families.setdefault((row["family"], row["task"] == ALL), {})[place] = p
        if row["task"] != ALL:
            yield f"{where} difference", row["difference"], forms[0].raw()
            for side, limit in zip(("low", "high"), raw_bounds(forms[0], report.rules.level), strict=True):
                yield f"{where} difference {side}", row[f"difference_{side}"], limit
        else:
            yield f"{where} median", row["median"], float(np.median([one.normalised() for one in forms]))
        if row["normalised"] is not None:
            yield f"{where} normalised", row["normalised"], mean_of(forms)
            for side, limit in zip(("low", "high"), bounds(forms, report.rules.level), strict=True):
                yield f"{where} {side}", row[f"normalised_{side}"], limit
    for of in families.values():
        for place, p in holm(of).items():
            yield f"contrast {rows[place]['contrast']} on {rows[place]['task']} (Holm)", rows[place]["p_holm"], p


def _sides(text: str) -> tuple[list[str], list[str]]:
    """The arms with a plus and those with a minus: of ``a > b``, ``a vs b`` and ``a - b > c - d``."""
    left, right = re.split(" > | vs ", text)
    one, other = left.split(" - "), right.split(" - ")
    return [one[0], *other[1:]], [other[0], *one[1:]]


def _methods(report: Report) -> Iterator[Check]:
    families: dict[tuple[str, str], dict[str, Row]] = {}
    for row in report.table("gradient_against_magnitude"):
        over = report.ready if row["task"] == ALL else [report.tasks[row["task"]]]
        found = [
            form(task, [row["gradient"]], [row["magnitude"]], row["measure"]) for task in over if task.gain is not None
        ]
        forms = [one for one in found if one is not None and one.gain is not None]
        where = f"methods {row['gradient']} {row['magnitude']} {row['measure']} on {row['task']}"
        yield f"{where} difference", row["difference"], mean_of(forms)
        for side, limit in zip(("low", "high"), bounds(forms, report.rules.level), strict=True):
            yield f"{where} {side}", row[f"difference_{side}"], limit
        if row["p"] is not None:
            yield f"{where} p", row["p"], min(1.0, 2 * min(p_above(forms, 0), p_below(forms, 0)))
            families.setdefault((row["measure"], row["task"]), {})[where] = row
    for of in families.values():
        for where, p in holm({where: row["p"] for where, row in of.items()}).items():
            yield f"{where} p (Holm)", of[where]["p_holm"], p


def _costs(report: Report) -> Iterator[Check]:
    for row in report.table("cost"):
        task = report.tasks[row["task"]]
        seconds = {
            arm: [value for seed, value in of.items() if (arm, seed) in task.done]
            for arm, of in task.columns["seconds"].items()
        }
        own = seconds.get(row["arm"], [])
        yield f"cost {row['task']} {row['arm']}", row["seconds"], float(np.mean(own)) if own else None
        if own and seconds.get("dense"):
            yield (
                f"cost {row['task']} {row['arm']} to dense",
                row["of_dense"],
                float(np.mean(own) / np.mean(seconds["dense"])),
            )
