import re
import statistics
from dataclasses import replace
from typing import Any

import pytest

from rlottery.analysis.verdict import (
    ArmVerdict,
    FailedRuns,
    LeftOut,
    NoFailureSeen,
    PooledVerdict,
    Verdicts,
)
from rlottery.report.answers_in_words import PAIRS
from rlottery.report.contents import Contents
from rlottery.report.evidence import evidence_table
from rlottery.report.headline import Headline, missing_line
from rlottery.report.headline import headline as headline_of
from rlottery.report.wording import interval_name, last_evaluations, p_text
from tests.report.contents import TASKS, answer_of, compared, contents, contrast_result, empty, pooled_answer

RETURNS, SUCCESS = "InvertedDoublePendulum-v5", "drawer-close-v3"
GAIN = 9310 - 55


@pytest.fixture(scope="module")
def made() -> Contents:
    return contents(seeds=(0, 1, 2, 3, 4), evaluations=3)


def told(made: Contents, **changed: Any) -> Headline:
    given: dict[str, Any] = {"methods": (), **changed}  # the comparison of methods comes first
    return headline_of(replace(made, verdicts=replace(made.verdicts, **given)))


def ticket(made: Contents, task: str, dense: str | None, random: str | None, arm: str = "magnitude-80", **more: Any):
    """A verdict with these answers: 0.02 below dense, and above or below random by 0.3."""
    (given,) = (one for of in made.verdicts.tasks for one in of.arms if (one.task, one.arm) == (task, arm))
    over = -0.3 if random == "worse" else 0.3
    return replace(
        given,
        dense=answer_of("dense", dense, compared(task, "dense", -0.02, 5)),
        random=answer_of("random", random, compared(task, "random-80", over, 5)),
        **more,
    )


def on_one_task(made: Contents, task: str, *arms: ArmVerdict, **more: Any) -> Headline:
    (of,) = (one for one in made.verdicts.tasks if one.task == task)
    given = {"tasks": (replace(of, arms=arms),), "pooled": (), "contrasts": (), **more}
    return told(replace(made, claims={}), **given)


class TestShown:
    def test_better_than_random_is_said_although_dense_is_open(self, made):
        """Pendulum-v1 with noise inputs: 1251 above random masks, and not yet shown to match dense."""
        first = on_one_task(made, RETURNS, ticket(made, RETURNS, "open", "better")).shown[0]
        low, high = round(0.21 * GAIN), round(0.39 * GAIN)
        assert first.startswith(
            f"On {RETURNS}, magnitude-80 is better than random masks with the same layer counts by {0.3 * GAIN:,.0f} "
            f"[90 % interval {low:,} to {high:,}] in return (0.30 [0.21 to 0.39] in normalised score); "
            "whether it matches dense agents is open ("
        )

    def test_random_beats_dense_and_a_ticket_is_far_worse_than_random(self, made):
        """reach-v3: random 0.88, dense 0.60, magnitude 0.09."""
        far = ticket(made, SUCCESS, "worse", "worse")
        shown = on_one_task(
            made, SUCCESS, far, contrasts=(contrast_result("random-80 vs dense", SUCCESS, "plus", 0.3),)
        ).shown
        assert shown[0].startswith(f"On {SUCCESS}, magnitude-80 is far worse than random masks")
        assert (
            "by 0.29 [90 % interval 0.20 to 0.37] in success rate (0.30 [0.21 to 0.39] in normalised score)" in shown[0]
        )
        assert shown[1].startswith(f"On {SUCCESS}, random masks beat dense agents: random-80 by 0.29 [90 % interval ")
        # The same, said the other way round; and dense agents that beat random masks are no news.
        turned = contrast_result("dense vs random-80", SUCCESS, "minus", -0.3)
        assert on_one_task(made, SUCCESS, far, contrasts=(turned,)).shown == shown
        worse = contrast_result("random-80 vs dense", SUCCESS, "minus", -0.3)
        assert "beat" not in " ".join(on_one_task(made, SUCCESS, far, contrasts=(worse,)).lines)

    @pytest.mark.parametrize("dense", ["superior", "non-inferior"])
    def test_a_winning_ticket_comes_first_with_its_numbers(self, made, dense):
        wins = ticket(made, RETURNS, dense, "better", arm="taylor-80")
        first, *others = on_one_task(made, RETURNS, ticket(made, RETURNS, "worse", "open"), wins).lines
        assert first.startswith(f"On {RETURNS}, taylor-80 is a winning ticket: ")
        assert not any("winning" in line for line in others)

    def test_without_a_winner_none_is_claimed(self, made):
        lines = on_one_task(made, RETURNS, ticket(made, RETURNS, "worse", "better")).lines
        assert [line for line in lines if "winning" in line] == ["No winning ticket is shown."]

    def test_tickets_with_the_same_answers_share_a_sentence_that_names_at_most_four(self, made):
        arms = [f"{criterion}-{percent}" for criterion in ("magnitude", "taylor") for percent in (80, 90, 95)]
        same = [ticket(made, RETURNS, "open", "better", arm=arm) for arm in arms]
        (first,) = [line for line in on_one_task(made, RETURNS, *same).lines if "better than random" in line]
        assert "magnitude-80, magnitude-90, magnitude-95, taylor-80 and 2 more are better than random masks" in first
        assert first.count("90 % interval") == 1
        listed = first.partition(" Against random, in return: ")[2]
        assert re.findall(r"(\S+-\d\d) \+([\d,]+)", listed) == [(arm, f"{0.3 * GAIN:,.0f}") for arm in arms[:4]]

    def test_numbers_by_score_and_by_area_are_not_mixed(self, made):
        arms = [
            ticket(made, SUCCESS, "open", "better", arm=arm) for arm in ("magnitude-80", "taylor-80", "magnitude-90")
        ]
        arms[1] = replace(arms[1], random=replace(arms[1].random, measure="area"))
        told = [line for line in on_one_task(made, SUCCESS, *arms).shown if "better than random" in line]
        assert "magnitude-80 and magnitude-90 are better than random" in told[0] and "over training" not in told[0]
        assert "taylor-80 is better than random" in told[1] and "in success rate (mean over training)" in told[1]

    def test_over_tasks_first_then_what_random_masks_show_on_single_tasks(self, made):
        pooled = (
            PooledVerdict("taylor-80", pooled_answer("dense", "open", 0.0), pooled_answer("random", "better", 0.2)),
        )
        tasks = [replace(task, arms=(ticket(made, task.task, "non-inferior", "open"),)) for task in made.verdicts.tasks]
        tasks[1] = replace(tasks[1], arms=(ticket(made, SUCCESS, "open", "worse"),))
        shown = told(made, tasks=tuple(tasks), pooled=pooled).shown
        assert shown[0].startswith("Over 3 tasks, taylor-80 is better than random masks with the same layer counts by")
        assert "by 0.20 [90 % interval 0.14 to 0.26] in normalised score" in shown[0]
        assert shown[1].startswith(f"On {SUCCESS}, magnitude-80 is far worse than random masks")
        assert shown[2].startswith(f"magnitude-80 on {RETURNS} and magnitude-80 on Reacher-v5 are as good as dense")

    def test_answers_over_different_tasks_make_no_win_and_are_both_said(self, made):
        better = pooled_answer("random", "better", 0.2, tasks=tuple(TASKS)[:2])
        pooled = (PooledVerdict("taylor-80", pooled_answer("dense", "non-inferior", 0.0), better),)
        found = told(made, tasks=(made.verdicts.tasks[0],), pooled=pooled)
        to_random, to_dense, *others = found.shown
        assert re.fullmatch(r"Over 3 tasks, taylor-80 is as good as dense agents \(.*\)\.", to_dense)
        assert to_random.startswith("Over 2 tasks, taylor-80 is better than random masks with the same layer counts by")
        assert "no answer" not in to_dense + to_random and "winning" not in to_dense + to_random
        assert "No winning ticket is shown." in others
        assert [(one.dense.answer, one.random.answer) for one in found.named] == [
            (None, "better"),
            ("non-inferior", None),
        ]

    @pytest.mark.parametrize("dense", ["superior", "non-inferior", "worse", "open"])
    @pytest.mark.parametrize("random", ["better", "worse", "equivalent", "open"])
    def test_an_answer_over_tasks_never_silences_the_other(self, made, dense, random):
        """Whatever the two are, and whether they are over the same tasks or not."""
        same = pooled_answer("dense", dense, -0.2), pooled_answer("random", random, 0.2)
        fewer = pooled_answer("random", random, 0.2, tasks=tuple(TASKS)[:2])
        for answers in (same, (same[0], fewer)):
            found = told(made, tasks=(made.verdicts.tasks[0],), pooled=(PooledVerdict("taylor-80", *answers),))
            said = " ".join(line for line in found.lines if line.startswith("Over"))
            assert len(re.findall("dense agents", said)) == 1
            assert len(re.findall("random masks with the same layer counts", said)) == 1
            assert "no answer" not in said

    def test_an_answer_over_one_of_several_tasks_is_not_repeated(self, made):
        one = pooled_answer("random", "better", 0.2, tasks=(RETURNS,))
        pooled = (PooledVerdict("taylor-80", pooled_answer("dense", "worse", -0.3), one),)
        lines = told(made, tasks=(made.verdicts.tasks[0],), pooled=pooled).lines
        assert [line for line in lines if line.startswith("Over")] == [
            line for line in lines if line.startswith("Over 3 tasks, taylor-80 is worse than dense agents")
        ]

    def test_a_pool_of_one_task_is_not_repeated(self, made):
        one = {"tasks": (RETURNS,)}
        pool = PooledVerdict(
            "magnitude-80", pooled_answer("dense", "worse", -0.3, **one), pooled_answer("random", "open", 0, **one)
        )
        lines = on_one_task(made, RETURNS, ticket(made, RETURNS, "worse", "open"), pooled=(pool,)).lines
        assert not any(line.startswith("Over") for line in lines)

    def test_in_raw_units_where_there_is_no_scale(self, made):
        given = ticket(made, RETURNS, None, "better")
        unscaled = replace(given.random.comparison, difference=None, low=None, high=None)
        given = replace(given, random=replace(given.random, comparison=unscaled))
        (first, *_) = on_one_task(made, RETURNS, given).lines
        assert "in return; against dense agents there is no answer (a control: compared" in first
        assert "normalised" not in first

    def test_tickets_that_fail_more_often_share_a_sentence_after_random_masks(self, made):
        def failing(arm, failed, **adjusted):
            given = ticket(made, SUCCESS, "open", "open", arm=arm)
            return replace(given, failures=replace(given.failures, ticket=FailedRuns(failed, 5), adjusted=adjusted))

        arms = (
            failing("magnitude-80", 4, dense=0.02, random=0.06),
            failing("magnitude-90", 5, dense=0.01, random=0.03),
            failing("taylor-80", 1, dense=0.5, random=0.5),
        )
        beats = contrast_result("random-80 vs dense", SUCCESS, "plus", 0.3)
        shown = on_one_task(made, SUCCESS, *arms, contrasts=(beats,)).shown
        assert shown[1:] == (
            f"On {SUCCESS}, magnitude-80 (4 of 5 runs) and magnitude-90 (5 of 5 runs) fail more often than dense "
            "agents (0 of 5) and random masks (0 of 5) (Fisher's exact test, Holm-corrected p = 0.030 at most).",
            "No winning ticket is shown.",
        )
        assert "random masks beat dense agents" in shown[0]
        assert on_one_task(made, SUCCESS, arms[0]).shown[0] == (
            f"On {SUCCESS}, magnitude-80 (4 of 5 runs) fails more often than dense agents (0 of 5) (Fisher's exact "
            "test, Holm-corrected p = 0.020)."
        )

    def test_by_area(self, made):
        given = ticket(made, SUCCESS, "open", "better")
        given = replace(given, random=replace(given.random, measure="area"))
        told = on_one_task(made, SUCCESS, given)
        assert "in success rate (mean over training)" in told.shown[0]
        assert any("are tied with those of their random masks at the maximum" in line for line in told.limits)


class TestOpen:
    def test_what_more_seeds_would_answer(self, made):
        tickets = [arm for task in made.verdicts.tasks for arm in task.arms if arm.kind == "ticket"]
        still = [arm.random for arm in tickets if arm.random.answer == "open"]
        known = [answer for answer in still if answer.more_seeds is not None]
        (line,) = (line for line in told(made).open if line.startswith("Against random masks"))
        assert f"{len(still)} of {len(tickets)} answers on single tasks are open" in line
        assert f"7 more seeds would give 80 % power to answer {len(known)} of them" in line

    def test_nothing_shown_yet(self, made):
        headline = on_one_task(made, RETURNS, ticket(made, RETURNS, "open", "open"))
        assert headline.shown == ("Nothing is shown yet: every answer is open.",)
        assert any("even 100 more seeds would not give 80 % power" in line for line in headline.open)

    def test_the_only_answer_on_the_only_task(self, made):
        told = on_one_task(made, RETURNS, ticket(made, RETURNS, "open", "better")).open
        assert len(told) == 1 and told[0].startswith("Against dense agents, the answer is open. At current estimates,")

    def test_nothing_there(self):
        assert headline_of(empty()).lines == ("Nothing is decided yet: there are no runs to judge.",)

    def test_no_ticket_with_enough_seeds_has_an_early_look_at_the_scores(self):
        few = contents(seeds=(0, 1), evaluations=3)
        (scores,) = (task for task in few.scores if task.task == RETURNS)
        kept = tuple(arm for arm in scores.arms if arm.arm in ("dense", "magnitude-80", "random-80"))
        few = replace(few, scores=(replace(scores, arms=kept),))
        told = on_one_task(few, RETURNS, ticket(few, RETURNS, None, None))
        magnitude, random = (f"{statistics.fmean(arm.normalised.values()):.2f}" for arm in kept[1:])
        assert (
            told.lead
            == told.shown[0]
            == (
                f"Early look: on {RETURNS}, at 80 % sparsity, the normalised score is {magnitude} for magnitude and "
                f"{random} for random over 2 seeds."
            )
        )
        assert told.early and told.shown[1].startswith("Nothing is decided: no ticket has been trained with enough")
        assert [(one.arm, one.task) for one in told.named] == [("magnitude-80", RETURNS)]

    def test_there_is_no_early_look_once_all_seeds_are_there(self, made):
        lost = {"state": "did not learn", "why": "the dense agents gained nothing", "arms": ()}
        tasks = tuple(replace(task, **lost) for task in made.verdicts.tasks[:1])
        told = headline_of(
            replace(made, scores=made.scores[:1], verdicts=replace(made.verdicts, tasks=tasks, pooled=()))
        )
        assert not told.early and not any("Early look" in line for line in told.lines)


class TestInShort:
    """What the first screen says: the same as the first sentence, without its numbers."""

    def test_two_parts_are_two_sentences(self, made):
        told = on_one_task(made, RETURNS, ticket(made, RETURNS, "open", "better"))
        assert told.lead == (
            f"On {RETURNS}, magnitude-80 is better than random masks with the same layer counts. Whether it matches "
            "dense agents is open."
        )
        assert [one.arm for one in told.named] == ["magnitude-80"]

    @pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != (None, None)])
    def test_every_pair_of_answers_keeps_its_words_and_has_no_numbers(self, made, pair):
        told = on_one_task(made, RETURNS, ticket(made, RETURNS, *pair))
        sentence = (told.shown if any(word not in (None, "open") for word in pair) else told.open)[0]
        numberless = re.sub(r" \([^()]*\[[^()]*\)| by [-\d,.]+ \[[^]]*\] in return", "", sentence)
        if told.short:
            assert told.short.replace(". ", "; ").casefold() == numberless.casefold()
            assert "[" not in told.short and len(told.short) < 300
        else:
            assert told.lead == "Nothing is shown yet: every answer is open."

    def test_of_several_tasks_the_first_that_shows_something_leads(self, made):
        first, second, *_ = made.verdicts.tasks
        tasks = (
            replace(first, arms=(ticket(made, first.task, "open", "open"),)),
            replace(second, arms=(ticket(made, second.task, "worse", "worse"),)),
        )
        headline = told(made, tasks=tasks, pooled=())
        assert headline.lead.startswith(f"On {second.task}, magnitude-80 is far worse than random masks")
        assert headline.shown[0].startswith(headline.lead.partition(" with ")[0])
        assert [one.task for one in headline.named] == [second.task]
        assert f" on {second.task}, with its" in evidence_table(made, headline).caption


class TestLimits:
    def test_an_answer_that_rests_on_no_failure_seen(self, made):
        given = ticket(made, SUCCESS, "non-inferior", "better")
        given = replace(given, dense=replace(given.dense, no_failure=NoFailureSeen(0.451, 29)))
        (line, *_) = on_one_task(made, SUCCESS, given).limits
        assert line == (
            f"On {SUCCESS}, the answer 'as good as dense' for magnitude-80 rests on no failure seen: 5 runs without a "
            "failure do not exclude a failure rate of 45 % (exact 95 % bound), and the answer would then be wrong. It "
            "takes 29 seeds without a failure to exclude that."
        )

    @pytest.mark.parametrize(
        ("headroom", "random", "there"), [(0.1, "open", True), (0.2, "open", False), (0.1, "worse", False)]
    )
    def test_a_study_that_may_miss_a_difference(self, made, headroom, random, there):
        given = ticket(made, SUCCESS, "non-inferior", random, headroom=headroom)  # 0.15 is detectable
        found = [line for line in on_one_task(made, SUCCESS, given).limits if "80 % power" in line]
        said = (
            f"The normalised score of random masks is below that of dense agents by 0.10 on {SUCCESS}. The "
            "smallest difference that this study detects there with 80 % power is 0.15. So even if magnitude-80 is as "
            "good as dense agents, this study may miss that random masks are worse."
        )
        assert found == [said] * there

    def test_random_masks_that_score_no_lower_than_dense_agents(self, made):
        given = ticket(made, SUCCESS, "open", "open", headroom=-0.05)
        found = [line for line in on_one_task(made, SUCCESS, given).limits if "random masks" in line]
        assert found == [
            f"On {SUCCESS}, the normalised score of random masks is not below that of dense agents (dense minus "
            "random: \u22120.05). A ticket that is as good as dense agents is then no better than random masks."
        ]

    def test_one_task_that_decides_an_answer_over_tasks(self, made):
        without = {RETURNS: LeftOut(-0.05, -0.2, 0.1, "open"), SUCCESS: LeftOut(-0.6, -0.7, -0.5, "worse")}
        dense = pooled_answer("dense", "worse", -0.3, without=without, median=-0.08)
        pool = PooledVerdict("magnitude-80", dense, pooled_answer("random", "open", 0.0))
        found = [line for line in told(made, pooled=(pool,)).limits if "alone decides" in line]
        assert found == [
            f"Over tasks, {RETURNS} alone decides the answer against dense agents of magnitude-80 (mean over tasks "
            "\N{MINUS SIGN}0.30, median \N{MINUS SIGN}0.08): without it, the answer is 'open against dense'."
        ]

    def test_what_the_dense_agents_did_not_learn_is_reported_and_random_is_answered(self, made):
        lost = {"state": "did not learn", "why": "the dense agents gained nothing"}
        task = replace(made.verdicts.tasks[0], arms=(ticket(made, RETURNS, None, "better"),), **lost)
        headline = told(made, tasks=(task,), pooled=())
        assert "is better than random masks" in headline.shown[0]
        assert "against dense agents there is no answer" in headline.shown[0]
        assert not any("gained nothing" in line for line in headline.limits)
        silent = replace(made.verdicts.tasks[1], arms=(), **lost)
        assert f"{SUCCESS}: the dense agents gained nothing." in told(made, tasks=(task, silent), pooled=()).limits

    def test_seeds_that_were_added_are_reported(self, made):
        assert "Seeds were added" not in " ".join(told(made).lines)
        assert any("added 2 times" in line for line in told(made, seeds_added=2).limits)

    def test_an_interim_result_is_reported(self, made):
        assert "interim" not in " ".join(told(made).lines)
        lines = told(made, seeds=tuple(range(10))).limits
        assert any("interim result: the study asks for 10 seeds" in line and "5 on" in line for line in lines)

    def test_tickets_without_random_masks_are_named(self, made):
        given = replace(ticket(made, RETURNS, "worse", None), control=None)
        (line,) = (line for line in on_one_task(made, RETURNS, given).limits if "add random masks" in line)
        assert "the layer counts of magnitude-80" in line and "{control: random, of: magnitude-80}" in line

    def test_contrasts_that_were_dropped_from_the_config_are_reported(self, made):
        dropped = replace(made, claims={**made.claims, ("a > b", "score"): 3})
        (line,) = (line for line in headline_of(dropped).limits if "registered" in line)
        dropped_line = (
            "The config no longer has a contrast that was registered: a > b. It is still tested, and counts in"
        )
        assert line == f"{dropped_line} the correction."
        assert not any("registered" in line for line in headline_of(made).limits)

    def test_the_zero_of_the_scale_is_named_with_its_standard_error(self, made):
        def zero(scores):
            found = headline_of(replace(made, scores=scores)).limits
            return [line for line in found if "zero of the normalised score" in line]

        given = [replace(task, starts=dict(enumerate((-1.0, 0.0, 1.0, 2.0))), gain=10.0) for task in made.scores]
        # The sd of these is sqrt(5 / 3), over sqrt(4) and a gain of 10.
        assert zero(tuple(given)) == [
            "The zero of the normalised score is the mean of 4 untrained dense agents (standard error 0.06 in "
            "normalised score)."
        ]
        precise = [replace(task, gain=1000.0) for task in given]
        assert zero(tuple(precise)) == [
            "The zero of the normalised score is the mean of 4 untrained dense agents (standard error 0.00 in "
            "normalised score)."
        ]
        more = replace(given[0], starts=dict(enumerate((0.0, 0.0))))
        assert [line.partition(",")[0] for line in zero((more, *given[1:]))] == [
            f"On {more.task}",
            f"On {given[1].task} and {given[2].task}",
        ]

    def test_a_caution_is_next_to_its_subject(self, made):
        said = "runs of the same arm either learn or fail"
        tasks = {
            word: tuple(
                replace(task, bimodal="Beware.", arms=(ticket(made, task.task, word, "open"),))
                for task in made.verdicts.tasks
            )
            for word in ("worse", "non-inferior")
        }
        assert not any(said in line for line in told(made, tasks=tasks["worse"]).lines)
        (line,) = (line for line in told(made, tasks=tasks["non-inferior"]).limits if said in line)
        assert all(task in line for task in TASKS)

    def test_pruned_agents_that_start_elsewhere_are_reported(self, made):
        assert not any("start from different scores" in line for line in told(made).lines)
        first, *others = made.verdicts.tasks
        ahead = told(made, tasks=(replace(first, head_start="Beware."), *others)).limits
        assert any(line.startswith(f"On {first.task}, pruned agents start from different scores") for line in ahead)


def test_two_bounds_at_a_level_make_an_interval():
    assert (interval_name(0.05), interval_name(0.025)) == ("90 % interval", "95 % interval")


def test_p_values_in_words():
    assert [p_text(p) for p in (0.0004, 0.04, 0.5)] == ["p < 0.001", "p = 0.040", "p = 0.50"]


def test_how_much_is_missing():
    assert missing_line(contents()) == "This report is incomplete: 2 things are missing or failed."
    assert missing_line(empty()) is None


def test_one_and_many_evaluations():
    assert last_evaluations(1) == "the last evaluation"
    assert last_evaluations(3) == "the mean of the last 3 evaluations"


def test_a_study_without_verdicts_has_its_deviations(made):
    nothing = replace(empty(), verdicts=replace(empty().verdicts, deviations=("Beware of this task.",)))
    assert isinstance(nothing.verdicts, Verdicts)
    assert headline_of(nothing).lines[-1] == "Beware of this task."
