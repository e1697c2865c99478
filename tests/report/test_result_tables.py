"""The tables of results and masks, against their contents, cell by cell."""

from dataclasses import replace
from typing import Any

import pytest

from rlottery.analysis.scores import TaskScores
from rlottery.analysis.verdict import FailedRuns, Failures, LeftOut, NoFailureSeen
from rlottery.report import score_tables
from rlottery.report.answer_tables import answers_table, failure_table, leave_one_out_table
from rlottery.report.contents import Contents
from rlottery.report.contrast_tables import contrast_table
from rlottery.report.mask_tables import inputs_table, overlap_table
from rlottery.report.score_tables import file_name, run_table, score_digits, score_table
from rlottery.report.tables import Cell, Table
from rlottery.report.verdict_tables import glance_table, pooled_table, verdict_table
from tests.report.contents import TASKS, contents, contrast_result, pooled_answer


@pytest.fixture(scope="module")
def made() -> Contents:
    return contents(seeds=(0, 1, 2, 3), evaluations=3)


def column(table: Table, title: str) -> list[Cell]:
    at = [one.title for one in table.columns].index(title)
    return [row.cells[at] for row in table.rows]


def with_first_verdict(given: Contents, **changed: Any) -> Contents:
    """The study with another first verdict alone."""
    first = given.verdicts.tasks[0]
    arm = replace(first.arms[0], **changed)
    return replace(given, verdicts=replace(given.verdicts, tasks=(replace(first, arms=(arm,)),), pooled=()))


class TestVerdictTable:
    @pytest.mark.parametrize(
        ("dense", "control", "text", "orders"),
        [(4, 4, "4", (4, 4, 4)), (8, 2, "4, 8, 2", (4, 8, 2)), (8, None, "4, 8", (4, 8, None))],
    )
    def test_numbers_of_runs_are_shown_where_they_differ(self, made, dense, control, text, orders):
        arm = made.verdicts.tasks[0].arms[0]
        to_dense = replace(arm.dense, comparison=replace(arm.dense.comparison, n_other=dense))
        over = None if control is None else replace(arm.random.comparison, n_other=control)
        changed = with_first_verdict(made, dense=to_dense, random=replace(arm.random, comparison=over))
        [cell] = column(verdict_table(changed, {}), "Runs")
        assert (cell.text, tuple(cell.values.values())) == (text, orders)

    def test_p_is_that_of_the_answer_else_the_smallest(self, made):
        arm = made.verdicts.tasks[0].arms[0]
        comparison = replace(arm.dense.comparison, p={"superior": 0.2, "non-inferior": 0.01, "worse": 0.9})
        holm = {"superior": 0.6, "non-inferior": 0.04, "worse": 1.0}
        for word, claim, p in (("open", "non-inferior", 0.04), ("worse", "worse", 1.0)):
            dense = replace(arm.dense, answer=word, comparison=comparison, adjusted=holm)
            _, cell = column_of_each(verdict_table(with_first_verdict(made, dense=dense), {}), "Holm p")
            assert cell.text == f"{p:.3f} ({claim})"
            assert (cell.values["claim_dense"], cell.values["p_holm_dense"]) == (claim, p)


def column_of_each(table: Table, title: str) -> list[Cell]:
    """The cells of the first row in all columns of this title."""
    return [table.rows[0].cells[place] for place, one in enumerate(table.columns) if one.title == title]


class TestAnswersTable:
    def test_every_claim_has_both_p_values(self, made):
        dense, random = answers_table(with_first_verdict(made)).rows
        arm = made.verdicts.tasks[0].arms[0]
        values = {name: value for row in (dense, random) for cell in row.cells for name, value in cell.values.items()}
        for row, answer in ((dense, arm.dense), (random, arm.random)):
            values = {name: value for cell in row.cells for name, value in cell.values.items()}
            for claim, p in answer.comparison.p.items():
                name = f"{answer.question}_{claim}".replace("-", "_")
                assert (values[f"p_{name}"], values[f"p_holm_{name}"]) == (p, answer.adjusted[claim])
            assert values["from_start"] == answer.comparison.from_start
            assert values["detectable"] == answer.detectable
        assert values["headroom"] == arm.headroom

    def test_over_100_comes_after_every_number_and_before_what_is_not_asked(self, made):
        dense = made.verdicts.tasks[0].arms[0].dense
        found = []
        for word, more in (("open", 1), ("open", 100), ("open", None), ("worse", None)):
            changed = with_first_verdict(made, dense=replace(dense, answer=word, more_seeds=more))
            found.append(column(answers_table(changed), "More seeds")[0])
        assert [cell.text for cell in found] == ["1", "100", "over 100", "\N{EN DASH}"]
        orders = [cell.order for cell in found]
        assert orders[0] < orders[1] < orders[2]
        assert orders[3] == ""
        assert [cell.values["more_seeds"] for cell in found] == [1, 100, None, None]

    def test_an_answer_that_rests_on_no_failure_says_so(self, made):
        dense = replace(made.verdicts.tasks[0].arms[0].dense, answer="non-inferior", no_failure=NoFailureSeen(0.45, 29))
        cell = column(answers_table(with_first_verdict(made, dense=dense)), "No failure seen")[0]
        assert cell.text == "45 %, 29 seeds"
        assert cell.values == {"no_failure_rate": 0.45, "no_failure_seeds": 29}


def test_failures_are_counted_for_all_three_arms(made):
    seen = Failures(
        ticket=FailedRuns(1, 4),
        dense=FailedRuns(0, 5),
        control=None,
        rate_at_most=0.75,
        p={"dense": 0.44},
        adjusted={"dense": 0.9},
    )
    [row] = failure_table(with_first_verdict(made, failures=seen)).rows
    assert [cell.text for cell in row.cells][2:] == [
        *("1/4", "75 %", "0/5", "0.440", "0.900", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}")
    ]


class TestPooledTables:
    def test_answers_that_one_task_decides_name_it(self, made):
        arm, (first, *others) = made.verdicts.pooled[0], TASKS
        without = {first: LeftOut(0.2, 0.1, 0.3, "open")} | {
            task: LeftOut(-0.5, -0.6, -0.4, "worse") for task in others
        }
        arm = replace(arm, dense=pooled_answer("dense", "worse", -0.3, without=without))
        changed = replace(made, verdicts=replace(made.verdicts, pooled=(arm,)))
        [cell] = column(pooled_table(changed, {}), "Decided by one task")
        assert cell.text == f"{first} (against dense)"
        rows = [row for row in leave_one_out_table(changed).rows if row.cells[1].text == "against dense"]
        told = {row.cells[2].text: (row.cells[3].values["difference"], row.cells[4].values["answer"]) for row in rows}
        assert told == {task: (rest.difference, rest.answer) for task, rest in without.items()}

    @pytest.mark.parametrize(
        ("measures", "text"),
        [
            (("score", "score", "score"), "score"),
            (("area", "area", "area"), "area"),
            (("area", "score", "score"), "score and area"),
            ((), "\N{EN DASH}"),
        ],
    )
    def test_it_says_what_is_measured(self, made, measures, text):
        measured = dict(zip(TASKS, measures, strict=False))
        arm = replace(made.verdicts.pooled[0], dense=pooled_answer("dense", "open", -0.1, measures=measured))
        table = answers_table(replace(made, verdicts=replace(made.verdicts, pooled=(arm,))))
        assert column(table, "Measure")[-2].text == text  # against dense, and random comes last

    def test_a_single_task_is_not_repeated_as_all_tasks(self, made):
        alone = replace(made, verdicts=replace(made.verdicts, tasks=made.verdicts.tasks[:1]))
        assert pooled_table(alone, {}).rows == leave_one_out_table(alone).rows == ()
        assert [one.title for one in glance_table(alone, {}).columns] == [
            "Ticket",
            "Sparsity",
            "InvertedDoublePendulum-v5",
        ]
        assert "all tasks" not in {cell.text for cell in column(answers_table(alone), "Task")}

    def test_the_median_of_normalised_scores_is_on_their_scale(self, made):
        arm = replace(made.verdicts.pooled[0], dense=pooled_answer("dense", "open", -0.1, median=-0.25))
        changed = replace(made, verdicts=replace(made.verdicts, pooled=(arm,)))
        assert column_of_each(pooled_table(changed, {}), "Median")[0].values == {"normalised_median": 0.75}


def test_contrasts_have_all_their_numbers(made):
    row = contrast_result("a > b", "Reacher-v5", "plus", 0.25, adjusted=0.03)
    [cells] = [
        made.cells for made in contrast_table(replace(made, verdicts=replace(made.verdicts, contrasts=(row,)))).rows
    ]
    values = {name: value for cell in cells for name, value in cell.values.items()}
    assert (values["difference"], values["normalised"]) == (pytest.approx(0.25 * 37.6), 0.25)  # -43 to -5.4
    assert (values["p_holm"], values["outcome"], values["runs_at_least"], values["runs_at_most"]) == (
        0.03,
        "plus",
        4,
        5,
    )
    assert values["runs_ended_when_registered"] is None


class TestScoreTable:
    def table(self, made: Contents, steps: dict[int, int | None]) -> tuple[Table, TaskScores]:
        scores = made.scores[0]
        scores = replace(scores, arms=(replace(scores.arms[0], steps=steps), replace(scores.arms[1], steps={0: 40})))
        return score_table(made, scores, {}), scores

    def test_the_median_of_an_even_number_of_steps_is_between_the_middle_ones(self, made):
        table, _ = self.table(made, {0: 30_000, 1: 1_000, 2: 4_000, 3: 2_000, 4: None})
        cell = column(table, "Steps to threshold")[0]
        assert cell.text == "3,000 (4/5)"
        assert cell.values == {"steps_to_threshold": 3_000, "reached_threshold": 4}

    def test_the_caption_says_how_many_reached_it_and_that_others_are_not_in_the_median(self, made):
        table, _ = self.table(made, {0: 30_000, 1: None})
        assert "2 of 3 runs reached it; the others are not in the median" in table.caption

    def test_none_reached_it(self, made):
        cell = column(self.table(made, {0: None, 1: None})[0], "Steps to threshold")[0]
        assert cell.text == "\N{EN DASH} (0/2)"
        assert cell.values == {"steps_to_threshold": None, "reached_threshold": 0}


def test_the_format_of_a_task_is_found_once_for_all_runs(made, monkeypatch):
    """It reads all scores of the task, so that finding it for each run would grow with the square of the runs."""
    found = []
    monkeypatch.setattr(score_tables, "score_digits", lambda task: found.append(task.task) or score_digits(task))
    assert len(run_table(made).rows) > 50
    assert found == [task.task for task in made.scores]


@pytest.mark.parametrize(("seeds", "said"), [(129, ""), (130, " Of more than 129 seeds, each is compared with the 64")])
def test_which_masks_are_compared_is_said_where_it_is_not_all_of_them(made, seeds, said):
    arms = (replace(made.masks.arms[0], seeds=tuple(range(seeds))),)
    caption = overlap_table(replace(made, masks=replace(made.masks, arms=arms))).caption
    assert caption.partition("in every layer.")[2].startswith(said) and ("Of more" in caption) == bool(said)


def test_inputs_of_unknown_saliency_are_left_open(made):
    arm = made.masks.arms[0]
    entries = (
        replace(arm.inputs[0], saliency=None),
        replace(arm.inputs[1], kept={"actor": 0.125, "critic": 0.5}, saliency=0.5),
    )
    masks = replace(made.masks, arms=(replace(arm, inputs=entries),))
    table = inputs_table(replace(made, masks=masks), {})
    assert [cell.text for cell in column(table, "Saliency")] == ["\N{EN DASH}", "50.00 %"]
    assert column(table, "Actor")[1].text == "12.50 %"


def test_a_task_s_files_are_named_as_its_folder():
    from rlottery.config import Task

    for task in ("drawer-close-v3", "ALE/Pong-v5", "pkg.envs:Walk-v0", "pkg:name_space/Walk-v0"):
        assert file_name(task) == Task(id=task).name
