from dataclasses import replace

import pytest

from rlottery.analysis.verdict import MethodContrast, PooledVerdict, Verdicts
from rlottery.report.sentences import answer, decision_counts, headline, interval_words, missing_line, p_words
from tests.report.contents import contents, empty


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    return contents().verdicts


def decided(verdicts: Verdicts, *decisions: str) -> Verdicts:
    """With as many pooled arms as there are decisions, and these."""
    pooled = tuple(
        replace(arm, decision=decision, share=0.01, low=-0.04, high=0.06, over_control=(0.2, 0.1, 0.3))
        for arm, decision in zip(verdicts.pooled, decisions, strict=False)
    )
    return replace(verdicts, pooled=pooled)


def contrast(percent: int, share: float, adjusted: float | None, n: int = 15, measure="score") -> MethodContrast:
    return MethodContrast(
        task=None, measure=measure, sparsity=percent / 100, magnitude="m", gradient="g", share=share,
        low=share - 0.1, high=share + 0.1, p=adjusted, adjusted=adjusted, n=n, fewest=n // 3, tasks=("a", "b", "c"),
    )  # fmt: skip


class TestHeadline:
    def test_a_win_is_told_with_its_numbers_and_interval(self, verdicts):
        first = headline(decided(verdicts, "winning", "undecided"), 0.05)[0]
        assert "One of 2 kinds of ticket wins over 3 tasks" in first and "magnitude-80" in first
        assert "+0.01 (90 % interval \N{MINUS SIGN}0.04 to +0.06) against dense" in first
        assert "+0.20 (90 % interval +0.10 to +0.30) against random" in first

    @pytest.mark.parametrize("decision", ["undecided", "losing", "sparse, not special"])
    def test_without_a_winner_no_win_is_claimed(self, verdicts, decision):
        told = headline(decided(verdicts, decision, decision))
        assert told[0].startswith("No ticket is shown to win: of 2 kinds, over 3 tasks, none")
        assert not any(" win " in line or " wins " in line for line in told)

    def test_each_decision_is_told_of_the_right_tickets(self, verdicts):
        second = headline(decided(verdicts, "sparse, not special", "losing", "undecided"))[1]
        parts = second.split("; ")
        assert parts[0].startswith("magnitude-80 keeps up with dense agents, but so do random masks")
        assert parts[1].startswith("taylor-80 falls short")
        assert parts[2].startswith("magnitude-90 is undecided")

    def test_what_chooses_worse_than_chance_is_told(self, verdicts):
        assert not any("Below random" in line for line in headline(verdicts))
        first, *others = verdicts.pooled
        below = replace(first, over_control=(-0.28, -0.47, -0.1))
        assert "Below random masks, by 90 % intervals that are not corrected: magnitude-80 (\N{MINUS SIGN}0.28)." in (
            headline(replace(verdicts, pooled=(below, *others)))
        )

    def test_what_further_seeds_would_decide(self, verdicts):
        undecided = [arm for task in verdicts.tasks for arm in task.arms if arm.decision == "undecided"]
        known = [arm for arm in undecided if arm.further_seeds is not None]
        judged = sum(arm.decision is not None for task in verdicts.tasks for arm in task.arms)
        line = next(line for line in headline(verdicts) if "further seeds" in line)
        assert f"{len(undecided)} of {judged} verdicts are undecided" in line
        assert f"7 further seeds would likely (80 %) decide {len(known)} of them" in line

    def test_what_the_dense_agents_did_not_learn_is_told(self, verdicts):
        lost = replace(verdicts.tasks[0], state="did not learn", why="the dense agents gained nothing")
        told = headline(replace(verdicts, tasks=(lost, *verdicts.tasks[1:])))
        assert any("the dense agents gained nothing" in line for line in told)
        assert headline(replace(verdicts, tasks=(lost,), pooled=()))[0] == "Nothing is decided."

    def test_seeds_that_were_added_are_told(self, verdicts):
        assert "Seeds were added" not in " ".join(headline(verdicts))
        assert any("added 2 times" in line for line in headline(replace(verdicts, seeds_added=2)))

    def test_an_interim_result_is_told(self, verdicts):
        assert "interim" not in " ".join(headline(verdicts))
        told = headline(replace(verdicts, seeds=tuple(range(10))))
        assert any("interim result: of 10 seeds" in line and "5 on" in line for line in told)

    def test_arms_judged_on_other_numbers_of_tasks(self, verdicts):
        pooled = decided(verdicts, "winning", "winning").pooled
        uneven = replace(verdicts, pooled=(replace(pooled[0], tasks=pooled[0].tasks[:1]), pooled[1]))
        assert "win over 1 to 3 tasks" in headline(uneven)[0]

    def test_a_caution_stands_beside_what_it_is_about(self, verdicts):
        lost = tuple(
            replace(
                task,
                two_levels=f"Beware of {task.task}.",
                arms=tuple(replace(arm, decision="losing") for arm in task.arms if arm.decision),
            )
            for task in verdicts.tasks
        )
        said = "some runs end far below others of their arm"
        assert not any(said in line for line in headline(decided(replace(verdicts, tasks=lost), "losing")))
        (line,) = (line for line in headline(decided(replace(verdicts, tasks=lost), "winning")) if said in line)
        assert all(task.task in line for task in lost)

    def test_shares_that_are_not_what_they_seem_are_told(self, verdicts):
        assert not any("before any training" in line for line in headline(verdicts))
        by_area = {arm.task for task in verdicts.tasks for arm in task.arms if arm.decision and arm.measure == "area"}
        (told,) = (line for line in headline(verdicts) if "ceiling" in line)
        assert all(told.startswith(f"On {task} the scores of") for task in by_area)
        first, *others = verdicts.tasks
        ahead = headline(replace(verdicts, tasks=(replace(first, head_start="Beware."), *others)))
        assert any(line.startswith(f"On {first.task} pruned agents score otherwise") for line in ahead)

    def test_nothing_there(self):
        assert headline(empty().verdicts) == ["Nothing is decided: no run is there to judge yet."]


class TestAnswer:
    def said(self, verdicts, *contrasts):
        return answer(replace(verdicts, methods=contrasts, trends=()), 0.05, 5)

    def test_only_what_is_significant_is_shown(self, verdicts):
        told = self.said(verdicts, contrast(80, 0.3, 0.051), contrast(95, 0.3, 0.05), contrast(98, -0.3, 0.01))
        assert told[0] == (
            "Gradient is shown to be better at 95 % and magnitude is shown to be better at 98 %; "
            "in the other comparison no difference is shown."
        )

    def test_nothing_shown(self, verdicts):
        assert self.said(verdicts, contrast(80, 0.9, 0.2))[0] == (
            "Not shown: the one comparison shows no difference between them."
        )
        told = self.said(verdicts, contrast(80, 0.9, 0.2), contrast(90, 0.9, 0.2))
        assert told[0] == "Not shown: none of 2 comparisons shows a difference between them."

    def test_too_few_seeds_show_nothing(self, verdicts):
        assert self.said(verdicts, contrast(80, 0.9, 0.001, n=12))[0] == (
            "Not decided: no comparison rests on 5 seeds of every task."
        )
        assert self.said(verdicts, contrast(80, 0.9, 0.001, n=12))[1].endswith(
            "n = 12, too few for a test, which takes 5 of every task."
        )
        assert self.said(verdicts, contrast(80, 0.9, None, n=1))[0].startswith("Not decided")

    def test_what_single_tasks_show_stands_beside_the_pool(self, verdicts):
        single = replace(contrast(95, 0.3, 0.04), task="Reacher-v5"), replace(contrast(98, 0.3, 0.06), task="a")
        told = self.said(verdicts, contrast(95, 0.1, 0.4), *single)
        assert told[0].startswith("Not shown")
        assert (
            "Shown on single tasks, corrected within each: g \N{MINUS SIGN} m = +0.30 on Reacher-v5 (p = 0.040)."
            in told
        )
        assert not any("single tasks" in line for line in self.said(verdicts, *single))

    def test_each_comparison_has_its_interval_and_n(self, verdicts):
        line = self.said(verdicts, contrast(95, 0.3, 0.04))[1]
        assert (
            "g \N{MINUS SIGN} m = +0.30 (90 % interval +0.20 to +0.40)" in line
            and "n = 15" in line
            and "p = 0.040" in line
        )

    def test_areas_are_told_beside_scores(self, verdicts):
        told = self.said(verdicts, contrast(80, 0.1, 0.5), contrast(80, -0.2, 0.01, measure="area"))
        assert told[0].startswith("Not shown")
        assert "area under the curve" in told[-1] and "magnitude is shown to be better at 80 %" in told[-1]

    @pytest.mark.parametrize(
        ("change", "adjusted", "n", "words"),
        [
            (0.3, 0.01, 15, "advantage over magnitude grows with sparsity: "),
            (-0.3, 0.01, 15, "advantage over magnitude shrinks with sparsity: "),
            (0.3, 0.06, 15, "is not shown"),
            (0.3, 0.01, 12, "is not shown"),
            (0.3, None, 15, "n = 15, no test."),
            (0.3, 0.03, 15, "n = 15, Holm-corrected p = 0.030."),
        ],
    )
    def test_whether_it_grows_with_sparsity(self, verdicts, change, adjusted, n, words):
        trend = replace(verdicts.trends[-1], change=change, p=0.01, adjusted=adjusted, n=n, fewest=n // 3)
        told = answer(replace(verdicts, trends=(trend,)), 0.05, 5)
        assert words in next(line for line in told if "from 80 % to 98 %" in line)

    def test_no_pairs(self):
        assert answer(empty().verdicts, 0.05, 5)[0].startswith("Not asked")


def test_two_bounds_at_a_level_make_an_interval():
    assert (interval_words(0.05), interval_words(0.025)) == ("90 % interval", "95 % interval")


def test_p_values_in_words():
    assert [p_words(p) for p in (0.0004, 0.04, 0.5)] == ["p < 0.001", "p = 0.040", "p = 0.50"]


def test_decisions_are_counted_in_order():
    assert list(decision_counts(["undecided", "winning", None, "undecided"]).items()) == [
        ("winning", 1),
        ("undecided", 2),
    ]


def test_how_much_is_missing():
    assert missing_line(contents()).startswith("2 things are missing")
    assert missing_line(empty()) is None


def test_pooled_arms_without_a_decision_are_no_verdict(verdicts):
    none = PooledVerdict("a", (), {}, {}, None, "no task", None, None, None, None, {}, {})
    assert "single tasks" in " ".join(headline(replace(verdicts, pooled=(none,))))
