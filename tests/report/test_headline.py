from dataclasses import replace

import pytest

from rlottery.analysis.verdict import PooledVerdict, Verdicts
from rlottery.report.headline import decision_counts, missing_line
from rlottery.report.headline import headline as headline_at
from rlottery.report.wording import interval_name, last_evaluations, p_text
from tests.report.contents import contents, empty


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    return contents().verdicts


def headline(verdicts: Verdicts, level: float = 0.05) -> list[str]:
    return headline_at(verdicts, level)


def decided(verdicts: Verdicts, *decisions: str) -> Verdicts:
    """With as many pooled arms as there are decisions, and these."""
    pooled = tuple(
        replace(arm, decision=decision, difference=0.01, low=-0.04, high=0.06, over_control=(0.2, 0.1, 0.3))
        for arm, decision in zip(verdicts.pooled, decisions, strict=False)
    )
    return replace(verdicts, pooled=pooled)


class TestHeadline:
    def test_a_win_is_shown_with_its_numbers_and_interval(self, verdicts):
        first = headline(decided(verdicts, "winning", "undecided"), 0.05)[0]
        assert "One of 2 kinds of ticket wins over 3 tasks" in first and "magnitude-80" in first
        assert "+0.01 from dense, 90 % interval \N{MINUS SIGN}0.04 to +0.06" in first
        assert "+0.20 from random, 90 % interval +0.10 to +0.30" in first

    @pytest.mark.parametrize("decision", ["undecided", "losing", "matches dense, no better than random"])
    def test_without_a_winner_no_win_is_claimed(self, verdicts, decision):
        told = headline(decided(verdicts, decision, decision))
        assert told[0].startswith("No ticket is shown to win: of 2 kinds, over 3 tasks, none")
        assert not any(" win " in line or " wins " in line for line in told)

    def test_each_decision_is_shown_for_the_right_tickets(self, verdicts):
        second = headline(decided(verdicts, "matches dense, no better than random", "losing", "undecided"))[1]
        parts = second.split("; ")
        assert parts[0].startswith("magnitude-80 matches dense agents, but no better than random masks do")
        assert parts[1].startswith("taylor-80 scores lower than dense agents")
        assert parts[2].startswith("magnitude-90 is undecided")

    def test_what_chooses_worse_than_chance_is_reported(self, verdicts):
        assert not any("Below random" in line for line in headline(verdicts, 0.05))
        first, *others = verdicts.pooled
        below = replace(first, over_control=(-0.28, -0.47, -0.1))
        assert "Below random masks, by uncorrected 90 % intervals: magnitude-80 (\N{MINUS SIGN}0.28)." in (
            headline(replace(verdicts, pooled=(below, *others)))
        )

    def test_what_more_seeds_would_decide(self, verdicts):
        undecided = [arm for task in verdicts.tasks for arm in task.arms if arm.decision == "undecided"]
        known = [arm for arm in undecided if arm.more_seeds is not None]
        judged = sum(arm.decision is not None for task in verdicts.tasks for arm in task.arms)
        line = next(line for line in headline(verdicts, 0.05) if "more seeds" in line)
        assert f"{len(undecided)} of {judged} verdicts are undecided" in line
        assert f"7 more seeds would give 80 % power to decide {len(known)} of them" in line

    def test_what_the_dense_agents_did_not_learn_is_reported(self, verdicts):
        lost = replace(verdicts.tasks[0], state="did not learn", why="the dense agents gained nothing")
        told = headline(replace(verdicts, tasks=(lost, *verdicts.tasks[1:])))
        assert any("the dense agents gained nothing" in line for line in told)
        assert headline(replace(verdicts, tasks=(lost,), pooled=()))[0] == "Nothing is decided."

    def test_seeds_that_were_added_are_reported(self, verdicts):
        assert "Seeds were added" not in " ".join(headline(verdicts, 0.05))
        assert any("added 2 times" in line for line in headline(replace(verdicts, seeds_added=2)))

    def test_an_interim_result_is_reported(self, verdicts):
        assert "interim" not in " ".join(headline(verdicts, 0.05))
        told = headline(replace(verdicts, seeds=tuple(range(10))))
        assert any("interim result: the study asks for 10 seeds" in line and "5 on" in line for line in told)

    def test_arms_judged_on_other_numbers_of_tasks(self, verdicts):
        pooled = decided(verdicts, "winning", "winning").pooled
        uneven = replace(verdicts, pooled=(replace(pooled[0], tasks=pooled[0].tasks[:1]), pooled[1]))
        assert "win over 1 to 3 tasks" in headline(uneven)[0]

    def test_a_caution_is_next_to_its_subject(self, verdicts):
        lost = tuple(
            replace(
                task,
                bimodal=f"Beware of {task.task}.",
                arms=tuple(replace(arm, decision="losing") for arm in task.arms if arm.decision),
            )
            for task in verdicts.tasks
        )
        said = "runs of the same arm either learn or fail"
        assert not any(said in line for line in headline(decided(replace(verdicts, tasks=lost), "losing")))
        (line,) = (line for line in headline(decided(replace(verdicts, tasks=lost), "winning")) if said in line)
        assert all(task.task in line for task in lost)

    def test_cautions_about_normalised_scores_are_reported(self, verdicts):
        assert not any("start from different scores" in line for line in headline(verdicts, 0.05))
        by_area = {arm.task for task in verdicts.tasks for arm in task.arms if arm.decision and arm.measure == "area"}
        (told,) = (line for line in headline(verdicts, 0.05) if "tied" in line)
        assert all(told.startswith(f"On {task}, the scores of") for task in by_area)
        first, *others = verdicts.tasks
        ahead = headline(replace(verdicts, tasks=(replace(first, head_start="Beware."), *others)))
        assert any(line.startswith(f"On {first.task}, pruned agents start from different scores") for line in ahead)

    def test_nothing_there(self):
        assert headline(empty().verdicts) == ["Nothing is decided yet: there are no runs to judge."]


def test_two_bounds_at_a_level_make_an_interval():
    assert (interval_name(0.05), interval_name(0.025)) == ("90 % interval", "95 % interval")


def test_p_values_in_words():
    assert [p_text(p) for p in (0.0004, 0.04, 0.5)] == ["p < 0.001", "p = 0.040", "p = 0.50"]


def test_decisions_are_counted_in_order():
    assert list(decision_counts(["undecided", "winning", None, "undecided"]).items()) == [
        ("winning", 1),
        ("undecided", 2),
    ]


def test_how_much_is_missing():
    assert missing_line(contents()) == "This report is incomplete: 2 things are missing or failed."
    assert missing_line(empty()) is None


def test_pooled_arms_without_a_decision_are_no_verdict(verdicts):
    nothing = {"difference": None, "low": None, "high": None, "over_control": None, "p": {}}
    none = PooledVerdict(arm="a", tasks=(), left_out={}, measures={}, why="no task", **nothing)
    assert "single tasks" in " ".join(headline(replace(verdicts, pooled=(none,))))


def test_one_and_many_evaluations():
    assert last_evaluations(1) == "the last evaluation"
    assert last_evaluations(3) == "the mean of the last 3 evaluations"
