"""Verdicts, against tests computed with SciPy by hand and against what the words mean."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlottery.analysis.across_tasks import across_tasks
from rlottery.analysis.cautions import head_start
from rlottery.analysis.decisions import answer_of, corrected
from rlottery.analysis.judging import TaskToJudge, controls_of, judge
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.verdict import ArmVerdict, PooledVerdict, TaskVerdict
from rlottery.config import Config
from tests.analysis.made import config, task

DENSE = [100.0, 102.0, 98.0, 101.0, 99.0]


def only(settings: Config, *tasks: object) -> tuple[ArmVerdict, TaskVerdict, PooledVerdict]:
    """The verdicts on taylor-90 of the first task, on the task, and over all tasks."""
    verdicts, pooled = judge(tasks, settings.verdict)  # type: ignore[arg-type]
    arm = next(arm for arm in verdicts[0].arms if arm.arm == "taylor-90")
    return arm, verdicts[0], next(of for of in pooled if of.arm == "taylor-90")


def scored(ticket: list[float], control: list[float] | None = None, dense: list[float] | None = None):
    arms = {"dense": dense or DENSE, "taylor-90": ticket}
    return arms | ({"random-90": control} if control else {})


SAME_COUNTS = {"random-90": "taylor-90"}
"""Random control -> the arm whose layer counts its masks have."""
CLOSE = [97.0, 99.0, 96.0, 99.0, 97.0]
FAR = [40.0, 42.0, 35.0, 41.0, 39.0]


def answers(of: ArmVerdict | PooledVerdict) -> tuple[str | None, str | None]:
    return of.dense.answer, of.random.answer


WAVERING = [97.0, 60.0, 99.0, 70.0, 96.0]
ABOVE = [104.0, 106.0, 103.0, 107.0, 105.0]
TO_DENSE = {"superior": ABOVE, "non-inferior": CLOSE, "worse": FAR, "open": [86.0, 99.0, 89.0, 101.0, 87.0]}
SHIFTS = {"better": -30.0, "equivalent": 0.0, "worse": 30.0}


@pytest.mark.parametrize("to_random", ["better", "equivalent", "worse", "open"])
@pytest.mark.parametrize("to_dense", TO_DENSE)
def test_every_pair_of_answers_can_be_given(to_dense: str, to_random: str) -> None:
    """The control is the ticket, shifted; or varies too much for an answer."""
    settings = config(8)
    dense, ticket = DENSE + DENSE[:3], TO_DENSE[to_dense] + TO_DENSE[to_dense][:3]
    shift = SHIFTS.get(to_random)
    if shift is None:
        control = [score + 25 * (-1) ** place for place, score in enumerate(ticket)]
    else:
        control = [score + shift for score in ticket]
    arms = {"dense": dense, "taylor-90": ticket, "random-90": control}
    arm, of_task, pooled = only(settings, task("a", settings, arms, SAME_COUNTS))
    assert (of_task.state, arm.control) == ("learned", "random-90")
    assert answers(arm) == (to_dense, to_random)
    assert arm.wins == pooled.wins == (to_dense in ("superior", "non-inferior") and to_random == "better")
    # Over a single task, with a single ticket, the pool says the same.
    assert answers(pooled) == answers(arm)
    for single, over in ((arm.dense, pooled.dense), (arm.random, pooled.random)):
        assert single.comparison is not None and over.comparison is not None
        assert over.comparison.p == pytest.approx(single.comparison.p)
        assert (over.comparison.low, over.comparison.high) == (single.comparison.low, single.comparison.high)
        assert single.answer == "open" or single.more_seeds is None


def test_a_small_difference_is_better_and_said_to_be_small() -> None:
    settings = config(5)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE, [94.0, 96.2, 93.0, 96.1, 94.0]), SAME_COUNTS))
    assert arm.random.answer == "better" and arm.random.small and "by less than the margin" in arm.random.why
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE, FAR), SAME_COUNTS))
    assert arm.random.answer == "better" and not arm.random.small and "margin" not in arm.random.why


def welch(parts: dict[str, tuple[float, list[float]]]) -> float:
    """p-value of "the sum of weight x mean is above 0", for independent samples (Satterthwaite)."""
    variances = [(w**2 * np.var(values, ddof=1) / len(values), len(values) - 1) for w, values in parts.values()]
    total = sum(v for v, _ in variances)
    df = total**2 / sum(v**2 / n for v, n in variances)
    return float(stats.t.sf(sum(w * np.mean(values) for w, values in parts.values()) / np.sqrt(total), df))


def test_p_values_are_those_of_scipy() -> None:
    settings = config(5)
    ticket, control = [90.0, 97.0, 85.0, 99.0, 93.0], [80.0, 91.0, 88.0, 79.0, 90.0]
    start = [1.0, 0.0, 2.0, 1.0, 0.5]
    arm, _, _ = only(settings, task("a", settings, scored(ticket, control), SAME_COUNTS, untrained=start))
    to_dense, to_random = arm.dense.comparison, arm.random.comparison
    assert to_dense is not None and to_random is not None
    non_inferior = welch({"t": (1, ticket), "d": (-0.9, DENSE), "u": (-0.1, start)})
    assert to_dense.p["non-inferior"] == pytest.approx(non_inferior)
    assert to_dense.p["worse"] == pytest.approx(1 - non_inferior)
    scipys = [stats.ttest_ind(ticket, other, equal_var=False, alternative="greater") for other in (DENSE, control)]
    assert to_dense.p["superior"] == pytest.approx(scipys[0].pvalue)
    assert (to_random.p["better"], to_random.p["worse"]) == pytest.approx((scipys[1].pvalue, 1 - scipys[1].pvalue))
    lower = welch({"t": (1, ticket), "c": (-1, control), "d": (0.1, DENSE), "u": (-0.1, start)})
    upper = welch({"t": (-1, ticket), "c": (1, control), "d": (0.1, DENSE), "u": (-0.1, start)})
    assert to_random.p["equivalent"] == pytest.approx(max(lower, upper))
    gain = np.mean(DENSE) - np.mean(start)
    for found, other in ((to_dense, DENSE), (to_random, control)):
        assert found.raw_difference == pytest.approx(np.mean(ticket) - np.mean(other))
        assert found.difference == pytest.approx((np.mean(ticket) - np.mean(other)) / gain)
        both = stats.ttest_ind(ticket, other, equal_var=False).confidence_interval(0.9)
        assert (found.raw_low, found.raw_high) == pytest.approx((both.low, both.high))
        assert (found.n, found.n_other) == (5, 5)
    assert arm.headroom == pytest.approx((np.mean(DENSE) - np.mean(control)) / gain)


def test_the_second_zero_is_where_the_agents_of_the_arm_start() -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), SAME_COUNTS)
    begun = [replace(arm, before=dict.fromkeys(range(5), 20.0)) for arm in made.scores.arms]
    arm, _, _ = only(settings, replace(made, scores=replace(made.scores, arms=tuple(begun))))
    assert arm.random.comparison is not None
    assert arm.random.comparison.difference == pytest.approx((np.mean(CLOSE) - np.mean(FAR)) / 100)
    assert arm.random.comparison.from_start == pytest.approx((np.mean(CLOSE) - np.mean(FAR)) / 80)


def test_bounds_and_p_values_agree() -> None:
    """A ticket is non-inferior by p exactly where its lower bound is above minus the margin."""
    generator = np.random.default_rng(3)
    settings = config(6)
    agreed = set()
    for _ in range(20):
        dense = generator.normal(100, 8, 6)
        ticket = dense * 0.95 + generator.normal(0, 6, 6)
        arms = {"dense": list(dense), "taylor-90": list(ticket)}
        arm, _, _ = only(settings, task("a", settings, arms))
        found = arm.dense.comparison
        assert found is not None and found.low is not None and found.high is not None
        assert (found.low > -0.1) == (found.p["non-inferior"] <= 0.05)
        assert (found.high < -0.1) == (found.p["worse"] <= 0.05)
        agreed.add(found.low > -0.1)
    assert agreed == {True, False}


def test_holm_is_over_arms_and_tasks_by_question() -> None:
    settings = config(5)
    weak = [94.0, 93.5, 94.0, 92.0, 96.0]
    alone, _, _ = only(settings, task("a", settings, scored(weak, FAR), SAME_COUNTS))
    assert alone.wins and alone.dense.comparison is not None and alone.dense.adjusted == alone.dense.comparison.p
    # Two tasks more ask about dense; only one of them has a control.
    many = [
        task("a", settings, scored(weak, FAR), SAME_COUNTS),
        task("b", settings, scored(WAVERING, WAVERING), SAME_COUNTS),
    ]
    many += [task("c", settings, scored(WAVERING))]
    arm, _, _ = only(settings, *many)
    assert arm.dense.comparison is not None and arm.random.comparison is not None
    assert arm.dense.adjusted["non-inferior"] == pytest.approx(3 * alone.dense.comparison.p["non-inferior"])
    assert arm.random.adjusted["better"] == pytest.approx(2 * arm.random.comparison.p["better"])


def test_each_claim_is_corrected_over_those_that_can_make_it() -> None:
    found = corrected("random", [{"better": 0.01}, {"better": 0.04, "equivalent": 0.02}, {}])
    assert found == [{"better": 0.02}, {"better": 0.04, "equivalent": 0.02}, {}]


def test_superior_is_said_only_with_non_inferior() -> None:
    p = {"superior": 0.01, "non-inferior": 0.2, "worse": 0.9}
    assert answer_of("dense", p, 0.05) == "open"
    assert answer_of("dense", {**p, "non-inferior": 0.01}, 0.05) == "superior"


def test_dense_agents_that_did_not_learn_leave_the_question_about_random_masks() -> None:
    settings = config(5)
    nothing = [1.0, -2.0, 3.0, -1.0, 0.5]
    arm, of_task, pooled = only(settings, task("a", settings, scored(CLOSE, FAR, nothing), SAME_COUNTS))
    assert of_task.state == "did not learn"
    assert arm.dense.answer is None and "can't be shown to have learned" in arm.dense.why
    # In the unit of the metric, without the margin.
    assert arm.random.answer == "better" and set(arm.random.adjusted) == {"better", "worse"}
    assert arm.random.comparison is not None and arm.random.comparison.difference is None
    scipys = stats.ttest_ind(CLOSE, FAR, equal_var=False, alternative="greater").pvalue
    assert arm.random.comparison.p["better"] == pytest.approx(scipys)
    assert arm.random.raw_detectable is not None and arm.random.detectable is None and arm.headroom is None
    # Over tasks there is nothing to average.
    assert answers(pooled) == (None, None) and "there is no scale" in pooled.random.left_out["a"]
    worse, _, _ = only(settings, task("a", settings, scored(FAR, CLOSE, nothing), SAME_COUNTS))
    assert answers(worse) == (None, "worse")


@pytest.mark.parametrize(
    ("unknown", "why"),
    [
        ({"untrained": None, "gain": None, "starts": {}}, "the score of untrained agents is not known"),
        ({"starts": {}, "fresh": (0.0, 0.1)}, "the scores of dense agents before training are not known"),
    ],
)
def test_what_is_not_known_comes_before_what_was_not_learned(unknown: dict[str, Any], why: str) -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), SAME_COUNTS)
    arm, of_task, pooled = only(settings, replace(made, scores=replace(made.scores, **unknown)))
    assert (of_task.state, of_task.why, arm.dense.why) == ("did not learn", why, why)
    assert pooled.dense.left_out["a"] == why
    assert pooled.random.left_out["a"] == (f"there is no scale, since {why}" if "gain" in unknown else why)


def test_a_gain_that_is_certain_but_tiny_is_no_learning() -> None:
    settings = config(5)
    tiny = [0.101, 0.102, 0.103, 0.101, 0.102]
    found = task("a", settings, {"dense": tiny, "taylor-90": tiny}, least_gain=0.5)
    _, of_task, _ = only(settings, found)
    assert of_task.p_learned == pytest.approx(1 / 252)
    assert of_task.state == "did not learn"


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_fewer_seeds_decide_nothing_but_show_all_numbers(seeds: int) -> None:
    settings = config(5)
    arms = {name: values[:seeds] for name, values in scored(FAR, [1.0, 2.0, 0.0, 3.0, 1.5]).items()}
    arm, of_task, pooled = only(settings, task("a", settings, arms, SAME_COUNTS))
    assert of_task.state == "too few seeds" and str(seeds) in of_task.why and "5" in of_task.why
    assert answers(arm) == answers(pooled) == (None, None)
    for answer in (arm.dense, arm.random):
        assert answer.adjusted == {} and answer.more_seeds is None and answer.comparison is not None
        assert answer.comparison.raw_difference is not None
        assert (answer.comparison.raw_low is None) == (seeds == 1)
        assert bool(answer.comparison.p) == (seeds > 1)


def test_too_few_dense_seeds_leave_the_question_about_random_masks() -> None:
    settings = config(5)
    arm, of_task, pooled = only(settings, task("a", settings, scored(CLOSE, FAR, DENSE[:4]), SAME_COUNTS))
    assert of_task.state == "too few seeds" and answers(arm) == (None, "better")
    assert "equivalent" not in arm.random.adjusted
    assert pooled.random.left_out["a"] == "too few seeds have a finished dense agent"


def test_a_ticket_with_fewer_seeds_than_dense_is_not_judged() -> None:
    settings = config(5)
    arm, of_task, _ = only(settings, task("a", settings, scored(FAR[:4], [1.0] * 5), SAME_COUNTS))
    assert of_task.state == "learned" and answers(arm) == (None, None)
    assert "4 of 5 seeds" in arm.dense.why and "4 of 5 seeds" in arm.random.why


def test_without_a_control_the_question_about_dense_is_left() -> None:
    settings = config(5)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE)))
    assert answers(arm) == ("non-inferior", None) and "no random control" in arm.random.why
    arm, _, _ = only(settings, task("a", settings, scored(FAR)))
    assert answers(arm) == ("worse", None)


def test_a_control_with_other_layer_counts_is_none() -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), SAME_COUNTS)
    assert controls_of(made) == {"taylor-90": "random-90"}
    counts = {**made.counts, "random-90": LayerCounts({"actor.layer_0": 100}, dict.fromkeys(range(5), (11,)))}
    assert controls_of(replace(made, counts=counts)) == {"taylor-90": None}


def test_one_control_serves_all_tickets_with_its_counts() -> None:
    settings = config(5)
    arms = {**scored(CLOSE, FAR), "magnitude-90": FAR}
    made = task("a", settings, arms, SAME_COUNTS)
    assert controls_of(made) == {"taylor-90": "random-90", "magnitude-90": "random-90"}


def test_a_transferred_mask_has_its_own_random_control() -> None:
    transfer = {"transfer": {"task": "a"}, "of": {"criterion": "taylor", "sparsity": {"actor": 0.9, "critic": 0.9}}}
    of_transfer = {**transfer, "criterion": "transfer", "sparsity": None}

    def with_recipes(**recipes: dict[str, object]) -> TaskToJudge:
        arms = ("dense", "taylor-90", "a-90", *recipes)
        made = task("a", config(5), dict.fromkeys(arms, DENSE), {"a-90": "taylor-90"})
        facts = {name: {"criterion": "transfer", "recipe": recipe} for name, recipe in recipes.items()}
        facts["moved-90"]["recipe"] = transfer
        runs = {
            arm: tuple(replace(run, **facts[arm]) for run in of) if arm in facts else of
            for arm, of in made.scores.runs.items()
        }
        return replace(made, scores=replace(made.scores, runs=runs))

    control = {"control": "random", "of": of_transfer}
    found = controls_of(with_recipes(**{"moved-90": {}, "z-90": control}))
    assert found == {"taylor-90": "a-90", "moved-90": "z-90"}, "all have the same counts: its own is nearer"


def test_controls_are_compared_and_not_judged() -> None:
    settings = config(5)
    _, of_task, _pooled = only(settings, task("a", settings, scored(CLOSE, FAR), SAME_COUNTS))
    control = next(arm for arm in of_task.arms if arm.arm == "random-90")
    assert answers(control) == (None, None) and control.dense.adjusted == {} and control.dense.comparison is not None


TOP = [100.0, 99.9, 100.0, 100.0, 99.95]
SLOW = [10.0, 11.0, 9.0, 12.0, 10.0]
FAST = [80.0, 82.0, 79.0, 81.0, 80.0]


def test_ties_at_the_ceiling_are_decided_by_area() -> None:
    settings = config(5)
    middle = {"dense": FAST, "taylor-90": SLOW, "random-90": SLOW}
    arms = {"dense": TOP, "taylor-90": TOP, "random-90": TOP}
    arm, _, pooled = only(settings, task("a", settings, arms, SAME_COUNTS, middle=middle))
    assert (arm.dense.measure, arm.random.measure) == ("area", "area")
    assert answers(arm) == ("worse", "equivalent")
    assert pooled.dense.measures == {"a": "area"} and pooled.dense.measure == "area"
    # By trapezoids over 0, 100, 200, 300 steps.
    areas = [(0 / 2 + 2 * m + end / 2) / 3 for m, end in zip(SLOW, TOP, strict=True)]
    dense = [(0 / 2 + 2 * m + end / 2) / 3 for m, end in zip(FAST, TOP, strict=True)]
    expected = (np.mean(areas) - np.mean(dense)) / np.mean(dense)
    assert arm.dense.comparison is not None and arm.dense.comparison.difference == pytest.approx(expected)


@pytest.mark.parametrize("lower", ["dense", "random-90"])
def test_each_question_looks_for_ties_of_its_own_arms(lower: str) -> None:
    settings = config(5)
    arms = {"dense": TOP, "taylor-90": TOP, "random-90": TOP} | {lower: [97.0, *TOP[1:]]}
    arm, of_task, _ = only(settings, task("a", settings, arms, SAME_COUNTS))
    assert (arm.dense.measure, arm.random.measure) == (("score", "area") if lower == "dense" else ("area", "score"))
    control = next(one for one in of_task.arms if one.arm == "random-90")
    assert control.dense.measure == "score"


def test_ties_are_no_finer_than_a_success_rate() -> None:
    """With 30 episodes, 29/30 is as good as 30/30. With 5 episodes, one less is more than the margin."""
    settings = config(5)
    for resolution, measure in ((1 / 30, "area"), (1 / 50, "score"), (1 / 5, "score")):
        one_less = [1.0, 1.0, 1 - resolution if resolution > 0.1 else 29 / 30, 1.0, 1.0]
        made = task("a", settings, scored(one_less, [1.0] * 5, [1.0] * 5), SAME_COUNTS)
        made = replace(made, scores=replace(made.scores, resolution=resolution))
        arm, _, _ = only(settings, made)
        assert arm.dense.measure == arm.random.measure == measure


def test_the_pool_is_the_mean_over_tasks_with_welch_and_satterthwaite() -> None:
    settings = config(5)
    loose = [1.1, 0.9, 0.7, 1.2, 0.8]
    dense = [1.0, 1.1, 0.9, 1.0, 1.05]
    tasks = [
        task("a", settings, scored(CLOSE, FAR), SAME_COUNTS),
        task("b", settings, scored(loose, [0.1] * 5, dense), SAME_COUNTS, untrained=[0.0] * 5),
    ]
    _, _, pooled = only(settings, *tasks)
    # The untrained score has no spread, so two samples of each task count.
    parts = {
        "ta": (0.5 / np.mean(DENSE), CLOSE),
        "da": (-0.45 / np.mean(DENSE), DENSE),
        "tb": (0.5 / np.mean(dense), loose),
        "db": (-0.45 / np.mean(dense), dense),
    }
    assert pooled.dense.comparison is not None
    assert pooled.dense.comparison.p["non-inferior"] == pytest.approx(welch(parts))
    assert pooled.dense.tasks == ("a", "b") and pooled.dense.left_out == {}
    differences = [np.mean(CLOSE) / np.mean(DENSE) - 1, np.mean(loose) / np.mean(dense) - 1]
    assert pooled.dense.comparison.difference == pytest.approx(np.mean(differences))
    assert pooled.dense.median == pytest.approx(np.median(differences))
    assert (pooled.dense.comparison.n, pooled.dense.comparison.n_other) == (10, 10)


def test_the_pool_without_each_of_its_tasks() -> None:
    """One task alone makes the ticket worse over all three."""
    settings = config(5)
    tasks = [task(name, settings, scored(CLOSE, FAR), SAME_COUNTS) for name in ("a", "b")]
    tasks += [task("c", settings, scored([-200.0, -210.0, -190.0, -205.0, -195.0], FAR), SAME_COUNTS)]
    _, _, pooled = only(settings, *tasks)
    assert answers(pooled) == ("worse", "worse")
    assert pooled.random.median is not None and pooled.random.median > 0
    assert pooled.dense.answer_decided_by == pooled.random.answer_decided_by == ("c",)
    assert pooled.random.sign_decided_by == ("c",) and pooled.dense.sign_decided_by == ()
    alone = only(settings, *tasks[:2])[2]
    for whole, rest in ((pooled.dense, alone.dense), (pooled.random, alone.random)):
        without, expected = whole.without["c"], rest.comparison
        assert expected is not None and without.answer == rest.answer
        assert (without.difference, without.low, without.high) == (expected.difference, expected.low, expected.high)
    assert only(settings, tasks[0])[2].dense.without == {}


def test_each_question_is_pooled_over_its_own_tasks() -> None:
    settings = config(5)
    tasks = [
        task("a", settings, scored(CLOSE, FAR), SAME_COUNTS),
        task("b", settings, scored(CLOSE)),
        task("c", settings, scored(CLOSE, FAR, [1.0, -2.0, 3.0, -1.0, 0.5]), SAME_COUNTS),
    ]
    _, _, pooled = only(settings, *tasks)
    assert pooled.dense.tasks == ("a", "b") and set(pooled.dense.left_out) == {"c"}
    assert pooled.random.tasks == ("a",) and set(pooled.random.left_out) == {"b", "c"}
    # As good as dense over two tasks and better than random on one of them: not a win over the same tasks.
    assert (pooled.dense.answer, pooled.random.answer) == ("non-inferior", "better") and not pooled.wins


def test_open_answers_say_how_many_more_seeds_would_do() -> None:
    """The power is that of the noncentral t distribution."""
    settings = config(5)
    wavering = [80.0, 92.0, 85.0, 75.0, 94.0]
    arm, _, _ = only(settings, task("a", settings, scored(wavering)))
    variances = np.array([np.var(wavering, ddof=1), 0.9**2 * np.var(DENSE, ddof=1)])

    def power(n: int) -> float:
        df = variances.sum() ** 2 / (variances**2 / (n - 1)).sum()
        effect = (0.9 * np.mean(DENSE) - np.mean(wavering)) / np.sqrt(variances.sum() / n)
        return float(stats.nct.sf(stats.t.ppf(0.95, df), df, effect))

    assert arm.dense.answer == "open" and arm.dense.more_seeds is not None
    assert power(5 + arm.dense.more_seeds) >= 0.8 > power(5 + arm.dense.more_seeds - 1)


def test_no_number_of_seeds_helps_where_the_difference_is_on_no_side() -> None:
    settings = config(5)
    on_the_margin = [value * 0.9 + wobble for value, wobble in zip(DENSE, [9, -9, 8, -8, 0.0], strict=True)]
    arm, _, _ = only(settings, task("a", settings, scored(on_the_margin), SAME_COUNTS))
    assert arm.dense.answer == "open" and arm.dense.more_seeds is None


@pytest.mark.parametrize("controls", range(6))
@pytest.mark.parametrize("tickets", range(1, 6))
def test_any_numbers_of_seeds_can_be_judged(tickets: int, controls: int) -> None:
    """What a study passes through while it runs. Nothing is claimed over a control with fewer seeds than asked for."""
    settings = config(5)
    arms = {"dense": DENSE, "taylor-90": CLOSE[:tickets]} | ({"random-90": FAR[:controls]} if controls else {})
    arm, _, pooled = only(settings, task("a", settings, arms, SAME_COUNTS))
    to_dense = "non-inferior" if tickets == 5 else None
    assert answers(arm) == answers(pooled) == (to_dense, "better" if tickets == controls == 5 else None)


def test_a_control_with_too_few_seeds_is_the_reason() -> None:
    settings = config(5)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE, FAR[:3]), SAME_COUNTS))
    assert arm.random.why == "its random control has 3 of 5 seeds that are needed"


def test_a_study_without_room_above_random_masks() -> None:
    """Random masks score nearly as much as dense, and runs scatter by more than what is left."""
    settings = config(5)
    wide, ticket = [100.0, 84.0, 112.0, 78.0, 106.0], [93.0, 109.0, 81.0, 105.0, 97.0]
    arm, _, _ = only(settings, task("a", settings, scored(ticket, wide), SAME_COUNTS))
    assert arm.random.answer == "open" and arm.no_room
    variances = np.array([np.var(ticket, ddof=1), np.var(wide, ddof=1)]) / 5
    df, error = variances.sum() ** 2 / (variances**2 / 4).sum(), np.sqrt(variances.sum())
    assert arm.random.raw_detectable is not None and arm.random.detectable is not None
    found = stats.nct.sf(stats.t.ppf(0.95, df), df, arm.random.raw_detectable / error)
    assert found == pytest.approx(0.8, abs=1e-4)
    assert arm.random.detectable == pytest.approx(arm.random.raw_detectable / 100)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE, FAR), SAME_COUNTS))
    assert not arm.no_room


def test_counts_are_compared_seed_by_seed() -> None:
    """A mask that can't be read leaves the others to compare; counts that differ between seeds must agree in each."""
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), SAME_COUNTS)
    totals = {"actor.layer_0": 100}
    ticket = LayerCounts(totals, {seed: (10 + seed,) for seed in range(5)})
    for kept, found in (
        ({seed: (10 + seed,) for seed in range(4)}, "random-90"),
        ({seed: (14 - seed,) for seed in range(5)}, None),
        ({}, None),
    ):
        counts = {"taylor-90": ticket, "random-90": LayerCounts(totals, kept)}
        assert controls_of(replace(made, counts=counts)) == {"taylor-90": found}


def test_runs_at_two_levels_bring_a_caution() -> None:
    settings = config(5)
    arms = {**scored(CLOSE, FAR), "magnitude-90": [97.0, 3.0, 99.0, 2.0, 98.0]}
    _, of_task, _ = only(settings, task("a", settings, arms, SAME_COUNTS))
    assert of_task.bimodal == "On a, runs of the same arm either learn or fail (magnitude-90)."
    _, of_task, _ = only(settings, task("a", settings, scored(CLOSE, FAR), SAME_COUNTS))
    assert of_task.bimodal is None
    # None of these learned, however far apart they are.
    arms["magnitude-90"] = [60.0, 3.0, 62.0, 2.0, 61.0]
    _, of_task, _ = only(settings, task("a", settings, arms, SAME_COUNTS))
    assert of_task.bimodal is None


def test_arms_that_start_elsewhere_than_dense_agents_bring_a_caution() -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), SAME_COUNTS)
    pruned = {"taylor-90", "random-90"}
    assert head_start(made.scores, pruned, 0.1) is None

    def begun(ticket: float, control: float) -> str | None:
        starts = {"taylor-90": ticket, "random-90": control}
        arms = [replace(arm, before=dict.fromkeys(range(5), starts.get(arm.arm, 0.0))) for arm in made.scores.arms]
        return head_start(replace(made.scores, arms=tuple(arms)), pruned, 0.1)

    assert begun(5.0, 9.0) is None
    ahead = begun(5.0, 30.0)
    assert ahead is not None and "5 to 30 for tickets and their random controls. The difference is up to 0.30" in ahead
    assert "the mean score is 0 for dense agents" in ahead and "lower" not in ahead
    assert (fell := begun(5.0, 60.0)) is not None and fell.endswith(
        "These score lower after training than before: random-90."
    )
    assert (behind := begun(-50.0, 0.0)) is not None and "up to 0.50 in normalised score" in behind


def test_what_may_be_chance_is_no_gain_anywhere() -> None:
    """One dense agent of five learned: the verdict says that they did not, and there are no normalised scores."""
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR, [0.0, 0.0, 400.0, 0.0, 0.0]), SAME_COUNTS)
    _, of_task, _ = only(settings, made)
    assert of_task.state == "did not learn" and made.scores.gain is None and made.scores.threshold is None


def test_one_bad_untrained_policy_is_no_doubt_about_the_trained() -> None:
    """All five agents learned; a t-test of the gains would give p = 0.06, for one began far below the others."""
    settings = config(5)
    start = [-13.0, -23.0, -62.0, -12.0, -14.0]
    dense = [-4.5, -4.8, -4.8, -5.0, -5.1]
    assert stats.ttest_1samp(np.array(dense) - start, 0, alternative="greater").pvalue > 0.05
    close = [-4.9, -5.1, -5.0, -5.3, -5.2]
    made = task("a", settings, scored(close, [-12.0, -13.0, -11.5, -12.5, -12.0], dense), SAME_COUNTS, untrained=start)
    arm, of_task, _ = only(settings, made)
    assert (of_task.state, of_task.p_learned) == ("learned", pytest.approx(1 / 252))
    assert arm.random.answer == "better"


def test_an_arm_of_another_recipe_on_a_task_is_not_pooled_with_its_name() -> None:
    """The config was edited after the first task: the same name, and another allocation or sparsity."""
    settings = config(5)
    tasks = [task(name, settings, scored(CLOSE, FAR), SAME_COUNTS) for name in ("a", "b", "c")]

    def other(made: TaskToJudge, **facts: Any) -> TaskToJudge:
        runs = {
            arm: tuple(replace(run, **(facts if arm == "taylor-90" else {})) for run in of)
            for arm, of in made.scores.runs.items()
        }
        return replace(made, scores=replace(made.scores, runs=runs))

    opposite = {"actor": 0.5, "critic": 0.9}
    for facts in ({"recipe": {"allocation": "erk"}}, {"sparsity": opposite}, {"start": {"rewind": {"step": 100}}}):
        made = [tasks[0], other(tasks[1], **facts), tasks[2]]
        pool = only(settings, *made)[2]
        for answer in (pool.dense, pool.random):
            assert answer.tasks == ("a", "c") and answer.left_out == {"b": "it has another recipe there than on a"}
        found = {arm.arm: arm for arm in across_tasks([one.scores for one in made], {}, 100)}
        assert found["taylor-90"].tasks == ("a", "c") and found["dense"].tasks == ("a", "b", "c")
    assert only(settings, *tasks)[2].dense.tasks == ("a", "b", "c")
