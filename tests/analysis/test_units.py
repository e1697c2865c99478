"""Verdicts, bounds and p-values do not depend on the unit of the returns, nor on where their zero is.

Whole made-up studies are multiplied and shifted. A factor only changes the last digits of a result. An offset costs the
digits that it has in front of the differences: of the 16 digits of a double, returns near 1e9 keep 7 after the point.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from rlottery.analysis.across_tasks import AcrossTasks, across_tasks
from rlottery.analysis.arrays import mean_of, merged, rounding_of
from rlottery.analysis.contrasts import evaluate_contrasts
from rlottery.analysis.judging import TaskToJudge, controls_of, judge
from rlottery.analysis.method_contrasts import compare_methods
from rlottery.analysis.runs import Evaluation, Run
from rlottery.analysis.scores import score_tasks
from rlottery.analysis.study_comparison import StudyDifference, study_differences
from rlottery.config import Config, RegisteredContrast
from tests.analysis.made import COUNTS, control, run, ticket
from tests.analysis.made import config as settings_of

FACTORS = (1e-170, 1e40, 3e-9, 1.7e150, 1e-300, 1e300)
OFFSETS = (1e9, -1e12, 1e9 / 3)
TASKS = ("a", "b", "c")
CONTRASTS = (
    RegisteredContrast(("taylor-80",), ("magnitude-80",), two_sided=False, measure="score"),
    RegisteredContrast(("taylor-95", "magnitude-80"), ("magnitude-95", "taylor-80"), two_sided=True, measure="area"),
)
Study = Mapping[str, list[Run]]
"""Task -> its runs."""


@dataclass
class Results:
    """Everything that is computed from a study."""

    verdicts: Any
    methods: Any
    contrasts: Any
    across: Sequence[AcrossTasks]
    differences: Sequence[StudyDifference]
    least_gains: Sequence[float]


def made(seed: int, seeds: int, ends: Callable[[np.random.Generator, float, int], np.ndarray]) -> Study:
    """Three tasks with two methods at two sparsities and their random controls.

    Args:
        ends: draws the final scores of an arm that is worth so much of the gain.
    """
    random = np.random.default_rng(seed)
    study: dict[str, list[Run]] = {}
    for task in TASKS:
        runs = []
        starts = np.round(random.normal(0, 4, seeds), 1)
        arms: dict[str, dict[str, Any]] = {"dense": {}}
        for percent in (80, 95):
            arms |= {name: ticket(name) for name in (f"magnitude-{percent}", f"taylor-{percent}")}
            arms[f"random-{percent}"] = control(f"random-{percent}", f"magnitude-{percent}")
        for arm, facts in arms.items():
            worth = 1.0 if arm == "dense" else float(random.choice([1.0, 0.97, 0.9, 0.7]))
            for number, end in enumerate(ends(random, worth, seeds)):
                middle = [round(share * end, 2) for share in (0.3, 0.7)]
                runs.append(run(arm, number, float(starts[number]), *middle, float(end), **facts))
        study[task] = runs
    return study


def spread(random: np.random.Generator, worth: float, n: int) -> np.ndarray:
    """Scores with ties, since they are whole numbers."""
    return np.round(100 * worth + random.normal(0, 3, n))


def learn_or_fail(random: np.random.Generator, worth: float, n: int) -> np.ndarray:
    """All or nothing, often without any spread, and often exactly at the margin or the threshold."""
    return np.where(random.random(n) < 0.8, 100 * worth, 0.0) if random.random() < 0.5 else np.full(n, 100 * worth)


def near(random: np.random.Generator, worth: float, n: int) -> np.ndarray:
    return np.asarray(100 + random.normal(worth, 0.5, n))


def changed(study: Study, factor: float, offset: float) -> Study:
    """The same study with returns times `factor` plus `offset`."""

    def value(score: float) -> float:
        return score * factor + offset

    def evaluation(of: Evaluation) -> Evaluation:
        return Evaluation(of.env_steps, {"return": value(of.scores["return"])}, tuple(map(value, of.returns)))

    return {
        task: [replace(one, evaluations=tuple(map(evaluation, one.evaluations))) for one in runs]
        for task, runs in study.items()
    }


def results(study: Study, other: Study, settings: Config) -> Results:
    scores = score_tasks(settings, study)
    counts = {arm: COUNTS for arm in scores[0].runs if arm != "dense"}
    tasks = [TaskToJudge(task, counts) for task in scores]
    controls = {name: found for task in tasks for name, found in controls_of(task).items()}
    compared = {"one": scores, "other": score_tasks(settings, other)}
    return Results(
        judge(tasks, settings.verdict),
        compare_methods(scores, settings.verdict),
        evaluate_contrasts(scores, CONTRASTS, settings.verdict),
        across_tasks(scores, controls, 50),
        study_differences(compared, {"one": 2, "other": 2}),
        [task.least_gain for task in scores],
    )


def leaves(of: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a result, by its path."""
    if is_dataclass(of):
        for field in fields(of):
            yield from leaves(getattr(of, field.name), f"{where}.{field.name}")
    elif isinstance(of, Mapping):
        for key, value in of.items():
            yield from leaves(value, f"{where}[{key}]")
    elif isinstance(of, np.ndarray) or (isinstance(of, Sequence) and not isinstance(of, str)):
        yield f"{where} length", len(of)
        for index, value in enumerate(of):
            yield from leaves(value, f"{where}[{index}]")
    else:
        yield where, of


IN_WORDS = (".why", ".head_start", ".bimodal")
"""Texts show numbers in the unit of the metric."""


def is_difference(where: str) -> bool:
    """Whether a value is in the unit of the metric, but has no zero: multiplied, and not shifted."""
    of_studies = where.startswith(".differences[") and not where.endswith((".p", ".adjusted"))
    return of_studies or where.startswith(".least_gains[") or ".raw_" in where


def profiles(of: Results) -> np.ndarray:
    return np.array([arm.profile.reached for arm in of.across])


def check(before: Results, after: Results, factor: float, offset: float, digits: float) -> None:
    one, other = dict(leaves(before)), dict(leaves(after))
    assert one.keys() == other.keys()
    for where, value in one.items():
        found = other[where]
        if where.endswith(IN_WORDS) or ".profile." in where:
            continue
        if not isinstance(value, float) or not isinstance(found, float):
            assert found == value, where
        elif where.endswith((".mean_one", ".mean_other")):
            assert found == pytest.approx(factor * value + offset, rel=1e-9, abs=100 * factor * digits), where
        elif is_difference(where):
            assert found / factor == pytest.approx(value, rel=1e-9, abs=100 * digits), where
        else:
            assert found == pytest.approx(value, rel=1e-7 + 1e3 * digits, abs=1e-9 + 10 * digits), where
    # A run may reach a point of the profile, or not, by its last digit.
    assert np.abs(profiles(before) - profiles(after)).mean() < (1e-12 if not offset else 0.01)


@pytest.mark.parametrize(("ends", "seed"), [(spread, 0), (learn_or_fail, 1), (near, 2)])
def test_the_unit_of_the_returns_decides_nothing(ends: Any, seed: int) -> None:
    settings = settings_of(5)
    study, other = (made(seed + at, 5, ends) for at in (0, 100))
    before = results(study, other, settings)
    for factor in FACTORS[seed::3]:
        after = results(changed(study, factor, 0.0), changed(other, factor, 0.0), settings)
        check(before, after, factor, 0.0, 1e-13)
    for offset in OFFSETS[seed::3]:
        after = results(changed(study, 1.0, offset), changed(other, 1.0, offset), settings)
        check(before, after, 1.0, offset, rounding_of([offset]))


def test_means_of_any_size() -> None:
    assert mean_of([1.7e308, 1.7e308]) == 1.7e308 and mean_of([3e-308, 1e-308]) == pytest.approx(2e-308)
    assert mean_of([0.1, 0.2, 0.3]) == pytest.approx(0.2) and mean_of([-5.0]) == -5.0 and mean_of([0.0, 0.0]) == 0


def test_numbers_that_differ_by_rounding_are_merged() -> None:
    assert merged([0.1 + 0.2, 0.3, 0.5, -1e40]) == {0.3: 0.3, 0.1 + 0.2: 0.3, 0.5: 0.5, -1e40: -1e40}
    assert merged([]) == {} and merged([0.0, -0.0]) == {0.0: 0.0}


def test_one_evaluation_of_another_size_changes_no_score() -> None:
    study = made(0, 5, spread)
    first = study["a"][0]
    far = replace(first.evaluations[1], scores={"return": -1e40})
    other = replace(first, evaluations=(first.evaluations[0], far, *first.evaluations[2:]))
    scores = [score_tasks(settings_of(5), {**study, "a": [run, *study["a"][1:]]})[0] for run in (first, other)]
    assert [arm.scores for arm in scores[0].arms] == [arm.scores for arm in scores[1].arms]
