"""The tables of results and masks, against their contents, cell by cell."""

from dataclasses import replace
from typing import Any

import pytest

from rlottery.analysis.scores import TaskScores
from rlottery.report import score_tables
from rlottery.report.contents import Contents
from rlottery.report.mask_tables import inputs_table, overlap_table
from rlottery.report.score_tables import file_name, run_table, score_digits, score_table
from rlottery.report.tables import Cell, Table
from rlottery.report.verdict_tables import pooled_table, verdict_table
from tests.report.contents import TASKS, contents


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
    return replace(given, verdicts=replace(given.verdicts, tasks=(replace(first, arms=(arm,)),)))


class TestVerdictTable:
    def test_both_numbers_of_seeds_are_shown_where_they_differ(self, made):
        arm = made.verdicts.tasks[0].arms[0]
        assert column(verdict_table(with_first_verdict(made), {}), "n")[0].text == "4"
        fewer = replace(arm.against_control, differences={0: 0.1, 3: 0.2})
        [cell] = column(verdict_table(with_first_verdict(made, against_control=fewer), {}), "n")
        assert cell.text == "4 / 2"
        assert cell.values == {"n": 4, "n_over_control": 2}
        assert cell.order == 4
        [cell] = column(verdict_table(with_first_verdict(made, against_control=None), {}), "n")
        assert (cell.text, cell.values["n_over_control"]) == ("4", None)

    def test_over_100_comes_after_every_number_and_before_what_is_not_asked(self, made):
        found = [
            column(verdict_table(with_first_verdict(made, decision=decision, more_seeds=further), {}), "More seeds")[0]
            for decision, further in (("undecided", 1), ("undecided", 100), ("undecided", None), ("losing", None))
        ]
        assert [cell.text for cell in found] == ["1", "100", "over 100", "\N{EN DASH}"]
        orders = [cell.order for cell in found]
        assert orders[0] < orders[1] < orders[2]
        assert orders[3] == ""
        assert [cell.values["more_seeds"] for cell in found] == [1, 100, None, None]


class TestPooledTable:
    @pytest.mark.parametrize(
        ("measures", "text", "told"),
        [
            (("score", "score", "score"), "score", ("score", 3, 0)),
            (("area", "area", "area"), "area", ("area", 0, 3)),
            (("area", "score", "score"), "score and area (2 and 1 task)", ("score and area", 2, 1)),
            (("area", "area", "score"), "score and area (1 and 2 tasks)", ("score and area", 1, 2)),
        ],
    )
    def test_it_says_what_is_measured_on_how_many_tasks(self, made, measures, text, told):
        arm = replace(made.verdicts.pooled[0], measures=dict(zip(TASKS, measures, strict=True)))
        table = pooled_table(replace(made, verdicts=replace(made.verdicts, pooled=(arm,))), {})
        [cell] = column(table, "Measure")
        assert cell.text == text
        assert (cell.values["measure"], cell.values["tasks_by_score"], cell.values["tasks_by_area"]) == told
        assert "areas" in table.caption

    def test_without_a_task_there_is_no_measure(self, made):
        arm = replace(made.verdicts.pooled[0], tasks=(), measures={})
        table = pooled_table(replace(made, verdicts=replace(made.verdicts, pooled=(arm,))), {})
        assert column(table, "Measure")[0].text == "\N{EN DASH}"


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
