"""The answer to whether gradient is better than magnitude."""

from dataclasses import replace

import pytest

from rlottery.analysis.verdict import ContrastResult, MethodContrast, Verdicts
from rlottery.report.answer import answer
from rlottery.report.evidence import evidence_table
from rlottery.report.headline import headline
from tests.report.contents import answer_of, compared, contents, contrast_result, empty


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    return contents().verdicts


def contrast(percent: int, difference: float, adjusted: float | None, n: int = 15, measure="score") -> MethodContrast:
    share = percent / 100
    return MethodContrast(
        task=None, measure=measure, sparsity={"actor": share, "critic": share}, magnitude="m", gradient="g",
        difference=difference, low=difference - 0.1, high=difference + 0.1, p=adjusted, adjusted=adjusted,
        n=n, fewest=n // 3, tasks=("a", "b", "c"),
    )  # fmt: skip


class TestAnswer:
    def said(self, verdicts, *contrasts):
        return answer(replace(verdicts, methods=contrasts, trends=()), 0.05, 5)

    def test_only_what_is_significant_is_shown(self, verdicts):
        told = self.said(verdicts, contrast(80, 0.3, 0.051), contrast(95, 0.3, 0.05), contrast(98, -0.3, 0.01))
        assert told[0] == (
            "Gradient is shown to be better than magnitude at 95 % and magnitude is shown to be better at 98 %; "
            "in the other comparison no difference is shown."
        )

    def test_nothing_shown(self, verdicts):
        assert (
            self.said(verdicts, contrast(80, 0.9, 0.2))[0] == "No difference between gradient and magnitude is shown."
        )
        told = self.said(verdicts, contrast(80, 0.9, 0.2), contrast(90, 0.9, 0.2))
        assert told[0] == "No difference between gradient and magnitude is shown in any of 2 comparisons."

    def test_too_few_seeds_show_nothing(self, verdicts):
        assert self.said(verdicts, contrast(80, 0.9, 0.001, n=12))[0] == (
            "Not decided: no comparison has 5 seeds on every task."
        )
        assert self.said(verdicts, contrast(80, 0.9, 0.001, n=12))[1].endswith(
            "n = 12, too few for a test, which needs 5 on every task."
        )
        assert self.said(verdicts, contrast(80, 0.9, None, n=1))[0].startswith("Not decided")

    def test_what_single_tasks_show_follows_the_pool(self, verdicts):
        single = replace(contrast(95, 0.3, 0.04), task="Reacher-v5"), replace(contrast(98, 0.3, 0.06), task="a")
        told = self.said(verdicts, contrast(95, 0.1, 0.4), *single)
        assert told[0].startswith("No difference between gradient and magnitude is shown")
        assert (
            "Shown on single tasks, Holm-corrected within each: g \N{MINUS SIGN} m = +0.30 on Reacher-v5 (p = 0.040)."
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

    def test_areas_follow_scores(self, verdicts):
        told = self.said(verdicts, contrast(80, 0.1, 0.5), contrast(80, -0.2, 0.01, measure="area"))
        assert told[0].startswith("No difference between gradient and magnitude is shown")
        assert "area under the learning curve" in told[-1]
        assert "magnitude is shown to be better than gradient at 80 %" in told[-1]

    @pytest.mark.parametrize(
        ("change", "adjusted", "n", "words"),
        [
            (0.3, 0.01, 15, "The advantage of taylor over magnitude grows with sparsity: "),
            (-0.3, 0.01, 15, "The advantage of taylor over magnitude shrinks with sparsity: "),
            (0.3, 0.06, 15, "It is not shown that the advantage"),
            (0.3, 0.01, 12, "It is not shown that the advantage"),
            (0.3, None, 15, "n = 15, no test."),
            (0.3, 0.03, 15, "n = 15, two-sided, Holm-corrected p = 0.030."),
        ],
    )
    def test_whether_it_grows_with_sparsity(self, verdicts, change, adjusted, n, words):
        trend = replace(verdicts.trends[-1], change=change, p=0.01, adjusted=adjusted, n=n, fewest=n // 3)
        told = answer(replace(verdicts, trends=(trend,)), 0.05, 5)
        assert words in next(line for line in told if "from 80 % to 98 %" in line)

    def test_no_pairs(self):
        assert answer(empty().verdicts, 0.05, 5)[0].startswith("There is nothing to compare")


def test_comparisons_that_would_read_the_same_are_named(verdicts):
    """Two allocations at one sparsity are two comparisons; splits are shown group by group."""
    one, other = contrast(90, 0.3, 0.01), replace(contrast(90, -0.3, 0.01), gradient="g-erk", magnitude="m-erk")
    split = replace(contrast(90, 0.3, 0.01), sparsity={"actor": 0.9, "critic": 0.5})
    trend = verdicts.trends[-1]
    trends = (trend, replace(trend, arms=("taylor-80-erk", "taylor-98-erk")))
    told = answer(replace(verdicts, methods=(one, other, split), trends=trends), 0.05, 5)
    assert told[0] == (
        "Gradient is shown to be better than magnitude at 90 % (g) and 90 / 50 % and magnitude is shown to be better "
        "at 90 % (g-erk)."
    )
    assert told[3].startswith("At 90 / 50 % sparsity: g ")
    assert "from 80 % (taylor-80-erk) to 98 % (taylor-98-erk)" in told[5]
    both = answer(replace(verdicts, methods=(one, replace(other, difference=0.3)), trends=()), 0.05, 5)
    assert both[0] == "Gradient is shown to be better than magnitude at 90 % (g) and 90 % (g-erk)."


TASK = "InvertedDoublePendulum-v5"


class TestFirstOfAll:
    """A study with both methods begins with the answer about them."""

    def made(
        self, *rows: MethodContrast, lists_arms: bool = False, contrasts: tuple[ContrastResult, ...] | None = None
    ):
        made = contents(seeds=(0, 1, 2, 3, 4), evaluations=3)
        kept = made.verdicts.contrasts if contrasts is None else contrasts
        verdicts = replace(made.verdicts, methods=rows, trends=(), pooled=(), contrasts=kept)
        return replace(made, lists_arms=lists_arms, verdicts=verdicts, claims={})

    def row(self, difference: float, adjusted: float | None) -> MethodContrast:
        raw = [9000 * value for value in (difference, difference - 0.1, difference + 0.1)]
        of = replace(contrast(80, difference, adjusted), task=TASK, tasks=(TASK,), n=5, fewest=5)
        return replace(of, raw_difference=raw[0], raw_low=raw[1], raw_high=raw[2])

    @pytest.mark.parametrize(
        ("difference", "claim"),
        [
            (0.5, ("gradient tickets (g)", "magnitude tickets (m)")),
            (-0.5, ("magnitude tickets (m)", "gradient tickets (g)")),
        ],
    )
    def test_the_better_one_is_named_and_its_numbers_come_first(self, difference, claim):
        made, claim = self.made(self.row(difference, 0.01)), " are better than ".join(claim)
        said = headline(made)
        assert said.lead == f"On {TASK}, {claim}. No winning ticket is shown."
        assert said.shown[0].startswith(f"On {TASK}, {claim} by 4,500 [90 % interval 3,600 to 5,400] in return (0.50 [")
        assert said.shown[1] == "No winning ticket is shown." and said.in_short == 2
        assert len(set(said.shown)) == len(said.shown)
        first, *others = evidence_table(made, said).rows
        assert first.cells[0].text == "g \N{MINUS SIGN} m" and others
        assert first.cells[1].text.replace("\N{MINUS SIGN}", "-").startswith(f"{9000 * difference:+,.0f}")

    def test_what_is_not_shown_is_open(self):
        said = headline(self.made(self.row(0.2, 0.3)))
        assert said.lead.startswith(
            f"On {TASK}, whether gradient tickets (g) and magnitude tickets (m) differ is open."
        )

    def test_without_a_test_the_tickets_come_first(self):
        first = headline(self.made()).lead
        assert headline(self.made(self.row(0.5, None))).lead == first
        assert headline(self.made(replace(self.row(0.5, 0.01), n=4, fewest=4))).lead == first

    def test_listed_arms_are_no_other_question_unless_contrasts_ask_one(self):
        asked = headline(self.made(self.row(0.5, 0.01))).lead
        assert asked.startswith(f"On {TASK}, gradient tickets (g) are better")
        assert headline(self.made(self.row(0.5, 0.01), lists_arms=True, contrasts=())).lead == asked
        others = contrast_result("random-80 vs dense", TASK, "open", 0.1)
        told = headline(self.made(self.row(0.5, 0.01), lists_arms=True, contrasts=(others,)))
        assert told.methods is None and told.lead != asked

    @pytest.mark.parametrize("claim", ["g > m", "g vs m", "m vs g"])
    def test_a_registered_contrast_answers_with_its_own_p_value(self, claim):
        def said(adjusted: float):
            registered = contrast_result(claim, TASK, "plus" if adjusted < 0.05 else "open", 0.5, adjusted=adjusted)
            return headline(self.made(self.row(0.5, 0.9), lists_arms=True, contrasts=(registered,)))

        assert said(0.01).lead.startswith(f"On {TASK}, gradient tickets (g) are better than magnitude tickets (m).")
        assert "Holm-corrected p = 0.010" in said(0.01).shown[0]
        assert said(0.2).lead.startswith(f"On {TASK}, whether gradient tickets (g) and magnitude tickets (m) differ is")

    def test_of_several_comparisons_those_that_are_shown_have_their_numbers(self):
        rows = [replace(contrast(80, 0.5, 0.9), gradient="g-80", magnitude="m-80"),
                replace(contrast(90, 0.7, 0.9), gradient="g-90", magnitude="m-90"),
                replace(contrast(95, 0.1, 0.9), gradient="g-95", magnitude="m-95")]  # fmt: skip
        contrasts = [
            contrast_result(f"g-{percent} > m-{percent}", None, outcome, 0.5, adjusted=p)
            for percent, outcome, p in ((80, "plus", 0.03), (90, "plus", 0.01), (70, "plus", 0.01))
        ]
        made = self.made(*rows, lists_arms=True, contrasts=tuple(contrasts))
        told = headline(made)
        assert told.lead.startswith("Over 3 tasks, gradient is shown to be better than magnitude at 80 % and 90 %.")
        first = told.shown[0].replace("\N{MINUS SIGN}", "-")
        assert (
            "g-80 - m-80: +0.50 [90 % interval +0.40 to +0.60] in normalised score, Holm-corrected p = 0.030." in first
        )
        assert "g-90 - m-90: +0.70 [+0.60 to +0.80] in normalised score, Holm-corrected p = 0.010." in first
        assert "95" not in first
        compared = [row.cells[0].text.replace("\N{MINUS SIGN}", "-") for row in evidence_table(made, told).rows]
        assert compared[:2] == ["g-80 - m-80", "g-90 - m-90"]

    @pytest.mark.parametrize(("low", "high", "is_kept"), [(0.01, 0.4, True), (-0.15, -0.02, False)])
    def test_holms_correction_explains_an_open_answer_only_where_the_claim_is_about_0(self, low, high, is_kept):
        """Worse than dense means below -margin: such an interval below 0 is open by itself."""
        made = self.made()
        (task,) = (of for of in made.verdicts.tasks if of.task == TASK)
        arm = next(arm for arm in task.arms if arm.arm == "magnitude-80")
        between = replace(compared(TASK, "dense", (low + high) / 2, 5), low=low, high=high)
        arm = replace(
            arm, dense=answer_of("dense", "open", between), random=replace(arm.random, answer=None, comparison=None)
        )
        made = replace(made, claims={}, verdicts=replace(made.verdicts, tasks=(replace(task, arms=(arm,)),)))
        assert ("Holm's correction" in evidence_table(made, headline(made)).caption) is is_kept
