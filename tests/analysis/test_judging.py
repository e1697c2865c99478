"""Verdicts, against tests computed with SciPy by hand and against what the words mean."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlottery.analysis.across_tasks import across_tasks
from rlottery.analysis.cautions import head_start
from rlottery.analysis.decisions import corrected
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


BESIDE = {"random-90": "taylor-90"}
CLOSE = [97.0, 99.0, 96.0, 99.0, 97.0]
FAR = [40.0, 42.0, 35.0, 41.0, 39.0]


@pytest.mark.parametrize(
    "ticket, control, decision",
    [
        (CLOSE, FAR, "winning"),
        (CLOSE, [96.0, 100.0, 96.5, 98.0, 97.0], "matches dense, no better than random"),
        (FAR, [30.0, 31.0, 30.0, 29.0, 33.0], "losing"),
        ([97.0, 60.0, 99.0, 70.0, 96.0], FAR, "undecided"),
        # Above its control by less than the margin: winning, and said so.
        (CLOSE, [94.0, 96.2, 93.0, 96.1, 94.0], "winning"),
    ],
)
def test_decisions(ticket: list[float], control: list[float], decision: str) -> None:
    settings = config(5)
    arm, of_task, pooled = only(settings, task("a", settings, scored(ticket, control), BESIDE))
    assert (of_task.state, arm.decision, arm.control) == ("learned", decision, "random-90")
    # Over a single task, with a single ticket, the pool says the same.
    assert pooled.decision == decision
    assert pooled.p == pytest.approx(arm.p)
    assert (arm.more_seeds is not None) <= (decision == "undecided")
    if control[0] == 94.0:
        assert "by less than the margin" in arm.why


def test_p_values_are_those_of_scipy() -> None:
    settings = config(5)
    ticket, control = [90.0, 97.0, 85.0, 99.0, 93.0], [80.0, 91.0, 88.0, 79.0, 90.0]
    start = [1.0, 0.0, 2.0, 1.0, 0.5]
    arm, _, _ = only(settings, task("a", settings, scored(ticket, control), BESIDE, untrained=start))
    t, c, d = (np.array(values) for values in (ticket, control, DENSE))
    u = np.mean(start)  # a fixed zero
    not_worse = stats.ttest_1samp(t - 0.9 * d - 0.1 * u, 0, alternative="greater").pvalue
    losing = stats.ttest_1samp(t - 0.9 * d - 0.1 * u, 0, alternative="less").pvalue
    above = stats.ttest_rel(t, c, alternative="greater").pvalue
    lower = stats.ttest_1samp(t - c + 0.1 * (d - u), 0, alternative="greater").pvalue
    upper = stats.ttest_1samp(t - c - 0.1 * (d - u), 0, alternative="less").pvalue
    assert arm.p["losing"] == pytest.approx(losing)
    assert arm.p["winning"] == pytest.approx(max(not_worse, above))
    assert arm.p["matches dense, no better than random"] == pytest.approx(max(not_worse, lower, upper))
    assert arm.against_dense is not None
    assert arm.against_dense.difference == pytest.approx((t - d).mean() / (d - u).mean())
    flips = stats.permutation_test(
        (t - 0.9 * d - 0.1 * u,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert arm.against_dense.sign_flip["non_inferior"] == pytest.approx(flips.pvalue)


def test_bounds_and_p_values_agree() -> None:
    """A ticket is non-inferior by p exactly where its lower bound is above minus the margin."""
    generator = np.random.default_rng(3)
    settings = config(6)
    agreed = set()
    for _ in range(60):
        dense = generator.normal(100, 8, 6)
        ticket = dense * 0.95 + generator.normal(0, 6, 6)
        arms = {"dense": list(dense), "taylor-90": list(ticket)}
        arm, _, _ = only(settings, task("a", settings, arms))
        contrast = arm.against_dense
        assert contrast is not None and contrast.low is not None and contrast.high is not None
        assert (contrast.low > -0.1) == (contrast.p_non_inferior <= 0.05)
        assert (contrast.high < -0.1) == (contrast.p_inferior <= 0.05)
        agreed.add(contrast.low > -0.1)
    assert agreed == {True, False}


def test_holm_is_over_arms_and_tasks() -> None:
    settings = config(5)
    weak = [94.0, 93.5, 94.0, 92.0, 96.0]
    alone, _, _ = only(settings, task("a", settings, scored(weak, FAR), BESIDE))
    assert alone.decision == "winning" and alone.adjusted == pytest.approx(alone.p)
    hopeless = [97.0, 60.0, 99.0, 70.0, 96.0]
    many = [task("a", settings, scored(weak, FAR), BESIDE)]
    many += [task(name, settings, scored(hopeless, FAR), BESIDE) for name in ("b", "c")]
    arm, _, _ = only(settings, *many)
    assert arm.p == pytest.approx(alone.p)
    assert arm.adjusted["winning"] == pytest.approx(min(1, 3 * arm.p["winning"]))


def test_each_claim_is_corrected_over_those_that_can_make_it() -> None:
    found = corrected([{"losing": 0.01}, {"losing": 0.04, "winning": 0.02}, {}])
    assert found == [{"losing": 0.02}, {"losing": 0.04, "winning": 0.02}, {}]


def test_dense_that_did_not_learn_comes_before_all() -> None:
    settings = config(5)
    nothing = [1.0, -2.0, 3.0, -1.0, 0.5]
    arm, of_task, pooled = only(settings, task("a", settings, scored(CLOSE, FAR, nothing), BESIDE))
    assert of_task.state == "did not learn" and arm.decision is None and arm.p == {}
    assert arm.against_dense is None and arm.against_control is None
    assert pooled.decision is None and pooled.difference is None and "a" in pooled.left_out


def test_a_gain_that_is_certain_but_tiny_is_no_learning() -> None:
    settings = config(5)
    tiny = [0.101, 0.102, 0.103, 0.101, 0.102]
    found = task("a", settings, {"dense": tiny, "taylor-90": tiny}, least_gain=0.5)
    _, of_task, _ = only(settings, found)
    assert of_task.p_learned == 1 / 32
    assert of_task.state == "did not learn"


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_fewer_seeds_decide_nothing(seeds: int) -> None:
    settings = config(5)
    arms = {name: values[:seeds] for name, values in scored(FAR, [1.0] * 5).items()}
    arm, of_task, pooled = only(settings, task("a", settings, arms, BESIDE))
    assert of_task.state == "too few seeds" and str(seeds) in of_task.why and "5" in of_task.why
    assert arm.decision is None and arm.p == {} and arm.more_seeds is None
    assert pooled.decision is None
    assert arm.against_dense is not None
    assert (arm.against_dense.low is None) == (seeds == 1)
    assert (arm.against_dense.p_inferior is None) == (seeds == 1)


def test_a_ticket_with_fewer_seeds_than_dense_is_not_judged() -> None:
    settings = config(5)
    arm, of_task, _ = only(settings, task("a", settings, scored(FAR[:4], [1.0] * 5), BESIDE))
    assert of_task.state == "learned" and arm.decision is None and "4 of 5 seeds" in arm.why


def test_without_a_control_only_a_loss_can_be_shown() -> None:
    settings = config(5)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE)))
    assert arm.decision == "undecided" and set(arm.p) == {"losing"} and "no random control" in arm.why
    arm, _, _ = only(settings, task("a", settings, scored(FAR)))
    assert arm.decision == "losing"


def test_a_control_with_other_layer_counts_is_none() -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), BESIDE)
    assert controls_of(made) == {"taylor-90": "random-90"}
    counts = {**made.counts, "random-90": LayerCounts({"actor.layer_0": 100}, dict.fromkeys(range(5), (11,)))}
    assert controls_of(replace(made, counts=counts)) == {"taylor-90": None}


def test_one_control_serves_all_tickets_with_its_counts() -> None:
    settings = config(5)
    arms = {**scored(CLOSE, FAR), "magnitude-90": FAR}
    made = task("a", settings, arms, BESIDE)
    assert controls_of(made) == {"taylor-90": "random-90", "magnitude-90": "random-90"}


def test_controls_are_compared_and_not_judged() -> None:
    settings = config(5)
    _, of_task, _pooled = only(settings, task("a", settings, scored(CLOSE, FAR), BESIDE))
    control = next(arm for arm in of_task.arms if arm.arm == "random-90")
    assert control.decision is None and control.p == {} and control.against_dense is not None


def test_ties_at_the_ceiling_are_decided_by_area() -> None:
    settings = config(5)
    top = [100.0, 99.9, 100.0, 100.0, 99.95]
    slow = [10.0, 11.0, 9.0, 12.0, 10.0]
    fast = [80.0, 82.0, 79.0, 81.0, 80.0]
    middle = {"dense": fast, "taylor-90": slow, "random-90": slow}
    arms = {"dense": top, "taylor-90": top, "random-90": top}
    arm, _, pooled = only(settings, task("a", settings, arms, BESIDE, middle=middle))
    assert (arm.measure, arm.decision) == ("area", "losing")
    assert pooled.measures == {"a": "area"}
    # By trapezoids over 0, 100, 200, 300 steps.
    areas = [(0 / 2 + 2 * m + end / 2) / 3 for m, end in zip(slow, top, strict=True)]
    dense = [(0 / 2 + 2 * m + end / 2) / 3 for m, end in zip(fast, top, strict=True)]
    expected = np.mean(np.array(areas) - np.array(dense)) / np.mean(dense)
    assert arm.against_dense is not None and arm.against_dense.difference == pytest.approx(expected)


def test_a_control_at_the_ceiling_is_compared_by_its_score() -> None:
    settings = config(5)
    tied = [100.0] * 5
    verdicts, _ = judge([task("a", settings, scored(tied, tied, tied), BESIDE)], settings.verdict)
    assert {arm.arm: arm.measure for arm in verdicts[0].arms} == {"taylor-90": "area", "random-90": "score"}


def test_one_run_below_the_ceiling_and_scores_decide() -> None:
    settings = config(5)
    top = [100.0, 99.9, 100.0, 100.0, 99.95]
    arm, _, _ = only(settings, task("a", settings, scored([*top[:4], 97.0], FAR, top), BESIDE))
    assert arm.measure == "score"


def test_the_pool_is_the_mean_over_tasks_with_welch_and_satterthwaite() -> None:
    settings = config(5)
    loose = [1.1, 0.9, 0.7, 1.2, 0.8]
    dense = [1.0, 1.1, 0.9, 1.0, 1.05]
    tasks = [
        task("a", settings, scored(CLOSE, FAR), BESIDE),
        task("b", settings, scored(loose, [0.1] * 5, dense), BESIDE, untrained=[0.0] * 5),
    ]
    _, _, pooled = only(settings, *tasks)
    normalised = [
        (np.array(CLOSE) - 0.9 * np.array(DENSE)) / np.mean(DENSE),
        (np.array(loose) - 0.9 * np.array(dense)) / np.mean(dense),
    ]
    variances = [values.var(ddof=1) / 5 for values in normalised]
    df = sum(variances) ** 2 / sum(v**2 / 4 for v in variances)
    t = (normalised[0].mean() + normalised[1].mean()) / 2 / (np.sqrt(sum(variances)) / 2)
    assert pooled.p["losing"] == pytest.approx(stats.t.cdf(t, df))
    assert pooled.tasks == ("a", "b") and pooled.left_out == {}
    # The bound is where the test would turn.
    assert pooled.low is not None and pooled.difference is not None
    assert pooled.difference == pytest.approx(np.mean([values.mean() - 0.1 for values in normalised]))


def test_undecided_says_how_many_more_seeds_would_do() -> None:
    """Without a control a loss is all that can be shown: the power is that of the noncentral t."""
    settings = config(5)
    wavering = [80.0, 92.0, 85.0, 75.0, 94.0]
    arm, _, _ = only(settings, task("a", settings, scored(wavering)))
    values = 0.9 * np.array(DENSE) - np.array(wavering)
    effect = values.mean() / values.std(ddof=1)

    def power(n: int) -> float:
        return float(stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * np.sqrt(n)))

    assert arm.decision == "undecided" and arm.more_seeds is not None
    assert power(5 + arm.more_seeds) >= 0.8 > power(5 + arm.more_seeds - 1)


def test_no_number_of_seeds_helps_where_the_difference_is_on_no_side() -> None:
    settings = config(5)
    on_the_margin = [value * 0.9 + wobble for value, wobble in zip(DENSE, [9, -9, 8, -8, 0.0], strict=True)]
    arm, _, _ = only(settings, task("a", settings, scored(on_the_margin, on_the_margin), BESIDE))
    assert arm.decision == "undecided" and arm.more_seeds is None


@pytest.mark.parametrize("controls", range(6))
@pytest.mark.parametrize("tickets", range(1, 6))
def test_any_numbers_of_seeds_can_be_judged(tickets: int, controls: int) -> None:
    """What a study passes through while it runs. Nothing is claimed over a control with fewer seeds than asked for."""
    settings = config(5)
    arms = {"dense": DENSE, "taylor-90": CLOSE[:tickets]} | ({"random-90": FAR[:controls]} if controls else {})
    arm, _, pooled = only(settings, task("a", settings, arms, BESIDE))
    expected = None if tickets < 5 else "winning" if controls == 5 else "undecided"
    assert arm.decision == pooled.decision == expected


def test_a_control_with_too_few_seeds_is_the_reason() -> None:
    settings = config(5)
    arm, _, _ = only(settings, task("a", settings, scored(CLOSE, FAR[:3]), BESIDE))
    assert "too few seeds have a random control" in arm.why


def test_counts_are_compared_seed_by_seed() -> None:
    """A mask that can't be read leaves the others to compare; counts that differ between seeds must agree in each."""
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), BESIDE)
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
    _, of_task, _ = only(settings, task("a", settings, arms, BESIDE))
    assert of_task.bimodal == "On a, runs of the same arm either learn or fail (magnitude-90)."
    _, of_task, _ = only(settings, task("a", settings, scored(CLOSE, FAR), BESIDE))
    assert of_task.bimodal is None
    # None of these learned, however far apart they are.
    arms["magnitude-90"] = [60.0, 3.0, 62.0, 2.0, 61.0]
    _, of_task, _ = only(settings, task("a", settings, arms, BESIDE))
    assert of_task.bimodal is None


def test_arms_that_start_elsewhere_than_dense_agents_bring_a_caution() -> None:
    settings = config(5)
    made = task("a", settings, scored(CLOSE, FAR), BESIDE)
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
    made = task("a", settings, scored(CLOSE, FAR, [0.0, 0.0, 400.0, 0.0, 0.0]), BESIDE)
    _, of_task, _ = only(settings, made)
    assert of_task.state == "did not learn" and made.scores.gain is None and made.scores.threshold is None


def test_more_seeds_are_for_both_tests_together() -> None:
    """Each of a win's two tests gets 90 % power, so that both succeed with 80 % at least."""
    settings = config(5)
    ticket, control = [99.0, 92.0, 96.0, 90.0, 97.0], [80.0, 95.0, 93.0, 78.0, 88.0]
    arm, _, _ = only(settings, task("a", settings, scored(ticket, control), BESIDE))
    assert arm.decision == "undecided" and arm.more_seeds is not None
    above = np.array(ticket) - np.array(control)
    n = 5 + arm.more_seeds
    effect = above.mean() / above.std(ddof=1)
    assert stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * np.sqrt(n)) >= 0.9


def test_one_bad_untrained_policy_is_no_doubt_about_the_trained() -> None:
    """All five agents learned; a t-test of the gains would give p = 0.06, for one began far below the others."""
    settings = config(5)
    start = [-13.0, -23.0, -62.0, -12.0, -14.0]
    dense = [-4.5, -4.8, -4.8, -5.0, -5.1]
    assert stats.ttest_1samp(np.array(dense) - start, 0, alternative="greater").pvalue > 0.05
    close = [-4.9, -5.1, -5.0, -5.3, -5.2]
    made = task("a", settings, scored(close, [-12.0, -13.0, -11.5, -12.5, -12.0], dense), BESIDE, untrained=start)
    arm, of_task, _ = only(settings, made)
    assert (of_task.state, of_task.p_learned) == ("learned", 1 / 32)
    assert arm.decision == "winning"


def test_an_arm_of_another_recipe_on_a_task_is_not_pooled_with_its_name() -> None:
    """The config was edited after the first task: the same name, and another allocation or sparsity."""
    settings = config(5)
    tasks = [task(name, settings, scored(CLOSE, FAR), BESIDE) for name in ("a", "b", "c")]

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
        assert pool.tasks == ("a", "c") and pool.left_out == {"b": "it has another recipe there than on a"}
        found = {arm.arm: arm for arm in across_tasks([one.scores for one in made], {}, 100)}
        assert found["taylor-90"].tasks == ("a", "c") and found["dense"].tasks == ("a", "b", "c")
    assert only(settings, *tasks)[2].tasks == ("a", "b", "c")
