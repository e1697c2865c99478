import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rlottery.report import sheets
from rlottery.report.arm_styles import looks
from rlottery.report.curve_panels import below_panels, curve_panels, mean_curve
from rlottery.report.drawn import DARK, LIGHT
from rlottery.report.over_sparsity import normalised_over_sparsity, score_over_sparsity
from rlottery.report.page_figures import main_figure
from rlottery.report.panels import (
    clusters,
    moved_apart,
    padded,
    place,
    readable,
    sparsity_axis,
    sparsity_groups,
)
from rlottery.report.score_figures import aggregates, improvement, profiles
from rlottery.report.ticks import NumberFormatter, share_ticks, steps_text
from rlottery.report.verdict_tables import sparsity_cell
from tests.report.contents import TASKS, contents, renamed

LONG = "a-very-long-name-of-an-arm-that-is-wider-than-half-a-panel-95"


@pytest.fixture(scope="module")
def made():
    return contents()


@pytest.fixture(scope="module")
def look(made):
    return looks(made.scores)


def marks(svg: str, colour: str) -> list[tuple[float, float]]:
    """Where markers of a colour are, in points from the upper left."""
    name = "{http://www.w3.org/2000/svg}use"
    return [
        (float(use.get("x", "")), float(use.get("y", "")))
        for use in ET.fromstring(svg).iter(name)
        if f"stroke: {colour.lower()}; stroke-width: 1.2" in use.get("style", "")
    ]


class TestFamilies:
    def test_a_family_keeps_its_colour_at_every_sparsity_and_has_another_than_the_rest(self, look):
        colours = {
            family: {one.colour for one in look.values() if one.family == family}
            for family in ("dense", "magnitude", "taylor", "random", "small-dense")
        }
        assert all(len(found) == 1 for found in colours.values())
        assert len({next(iter(found)) for found in colours.values()}) == 5

    def test_lines_join_sparsities_and_controls_are_quiet(self, look):
        assert look["magnitude-95"].line == "magnitude"
        assert look["small-dense-95"].line == "small-dense"
        assert look["magnitude-95"].sparsity == 0.95
        assert {one.arm for one in look.values() if one.quiet} == {
            "random-80",
            "random-90",
            "random-95",
            "random-98",
            "small-dense-95",
        }
        assert next(iter(look)) == "dense"

    def test_criteria_without_a_colour_of_their_own_are_distinct(self):
        many = looks(contents(more_arms=3).scores)
        alike = [(one.dash, one.colour) for one in many.values() if one.arm.startswith(("other", "taylor-95"))]
        assert len({str(pair) for pair in alike}) == len(alike)

    @pytest.mark.parametrize("arm", ["random-95", "taylor-95"])
    def test_five_lines_of_one_family_are_distinct(self, made, arm):
        task = made.scores[0]
        others = {f"{arm[:-3]}-{name}-95": task.runs[arm] for name in ("erk", "uniform", "of-a", "of-b")}
        found = looks([replace(task, runs={**task.runs, **others})])
        assert len({str(found[name].dash) for name in (arm, *others)}) == 5

    def test_a_control_without_a_sparsity_has_that_of_its_ticket(self, made):
        task = made.scores[0]
        runs = tuple(replace(run, sparsity=None) for run in task.runs["small-dense-95"])
        found = looks([replace(task, runs={**task.runs, "small-dense-95": runs})])
        assert found["small-dense-95"].sparsity == 0.95


class TestSparsityScale:
    def test_halving_what_is_left_is_one_step(self):
        assert place(0.9) - place(0.8) == pytest.approx(1)
        assert place(0.95) - place(0.9) == pytest.approx(1)
        assert place(0.98) - place(0.95) == pytest.approx(np.log2(2.5))

    def test_sparsities_reached_to_within_a_unit_form_a_group(self):
        assert clusters([0.95, 0.8, 0.9497, 0.98]) == [(0.8,), (0.9497, 0.95), (0.98,)]

    def test_each_sparsity_is_labelled(self):
        from matplotlib.figure import Figure

        axes = Figure().subplots()
        sparsity_axis(axes, [0.8, 0.98, 0.9])
        labels = [axes.xaxis.get_major_formatter()(tick, index) for index, tick in enumerate(axes.get_xticks())]
        assert labels == ["80 %", "90 %", "98 %"]


def test_steps_are_shown_in_thousands_and_millions():
    assert [steps_text(steps) for steps in (0, 500, 2500, 1_500_000)] == ["0", "500", "2.5k", "1.5M"]


def test_text_in_a_family_s_colour_can_be_read_on_white():
    """WCAG 2.2, 1.4.3: large text has a contrast of at least 3; the palette's lightest is the orange-yellow."""

    def luminance(colour):
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for one in looks(contents(more_arms=4).scores).values():
        assert 1.05 / (luminance(readable(one.colour)) + 0.05) >= 3


class TestScoreOverSparsity:
    def test_points_are_at_their_means(self, made, look):
        scores = made.scores[0]
        drawn = score_over_sparsity(scores, look, LIGHT)
        found = sorted(marks(drawn.svg, look["magnitude-80"].colour))
        arms = [scores.arm(f"magnitude-{percent}") for percent in (80, 90, 95, 98)]
        assert len(found) == 4
        # Heights on the page are a linear map of the means, and places one of the logarithm of what is left.
        assert np.corrcoef([y for _, y in found], [arm.mean.value for arm in arms])[0, 1] == pytest.approx(-1)
        across = np.corrcoef([x for x, _ in found], np.log([0.2, 0.1, 0.05, 0.02]))[0, 1]
        assert across == pytest.approx(-1)

    def test_it_is_described_in_words_too(self, made, look):
        alt = score_over_sparsity(made.scores[1], look, LIGHT).alt
        assert "drawer-close-v3" in alt and "5 seeds" in alt
        for line in ("magnitude", "taylor", "random", "small-dense"):
            assert line in alt

    def test_over_all_tasks_scores_are_normalised(self, made, look):
        assert "dense 1;" in normalised_over_sparsity(made.across, look, LIGHT).alt

    def test_without_sparsities_there_is_no_figure(self, made, look):
        scores = replace(made.scores[0], arms=made.scores[0].arms[:1])
        assert score_over_sparsity(scores, look, LIGHT) is None
        assert normalised_over_sparsity((), look, LIGHT) is None


@pytest.fixture(scope="module")
def task():
    """The arms at 95 % of a study with ten seeds, of which some have equal scores, and one arm a long name."""
    scores = renamed(contents(seeds=tuple(range(10)), evaluations=3), "taylor-95", LONG).scores[1]
    arms = tuple(arm for arm in scores.arms if arm.arm in ("dense", LONG) or arm.arm.endswith("-95"))
    first = replace(arms[0], scores={seed: 1.0 if seed < 7 else score for seed, score in arms[0].scores.items()})
    runs = {arm.arm: scores.runs[arm.arm] for arm in arms}
    return replace(scores, arms=(first, *arms[1:]), runs=runs)


class TestArmsOfOneSparsity:
    def test_each_seed_is_a_dot_at_its_score_that_covers_no_other_and_can_be_pointed_at(self, task):
        look = looks([task])
        drawn = score_over_sparsity(task, look, LIGHT)
        [cell] = drawn.cells
        x0, kx, y0, ky = cell.scale
        found, places = [], {}
        for use in ET.fromstring(drawn.svg).iter("{http://www.w3.org/2000/svg}use"):
            if (style := re.match(r"fill: (#\w{6}); fill-opacity: 0.75", use.get("style", ""))) is not None:
                places.setdefault(style.group(1), []).append((float(use.get("x", "")), float(use.get("y", ""))))
        assert all(np.hypot(*np.subtract(*pair)) > 3.5 for dots in places.values() for pair in combinations(dots, 2))
        for arm in task.arms:
            dots = places[look[arm.arm].colour.lower()]
            assert len(dots) == 10
            found += zip(sorted(x for x, _ in dots), sorted(arm.scores.values()), strict=True)
            [block] = [b for b in drawn.blocks if b.same["arm"] == arm.arm and b.same["statistic"] == "seed"]
            pointed = [(x0 + kx * x, y0 + ky * y) for x, y in zip(block.each["score"], block.y, strict=True)]
            assert np.allclose(sorted(pointed), sorted(dots), atol=0.01)
        assert np.corrcoef(np.transpose(found))[0, 1] == pytest.approx(1)

    @pytest.mark.parametrize(
        ("untrained", "said"), [(0.0, ""), (0.97, ""), (-50.0, ": \N{MINUS SIGN}50, further left")]
    )
    def test_each_row_has_the_whole_name_of_its_arm_and_no_text_is_over_another(
        self, task, monkeypatch, untrained, said
    ):
        figures = []
        real = sheets.draw
        monkeypatch.setattr(sheets, "draw", lambda figure, *rest: figures.append(figure) or real(figure, *rest))
        drawn = score_over_sparsity(replace(task, untrained=untrained), looks([task]), LIGHT)
        [figure] = figures
        [axes] = figure.axes
        FigureCanvasAgg(figure).draw()
        rows = axes.get_yticklabels()
        names = [row.get_text().replace("\n", "") for row in rows]
        assert names == ["dense", "magnitude-95", LONG, "random-95", "small-dense-95"]
        assert drawn.keys == () and [text.get_text() for text in axes.texts] == ["dense", f"untrained{said}"]
        texts = [*rows, *axes.get_xticklabels(), *axes.texts, axes.xaxis.label]
        boxes = [text.get_window_extent() for text in texts]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)
        assert all(box.y1 <= figure.bbox.height for box in boxes)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))

    def test_words_around_it_fit(self, task, made):
        given = replace(made, scores=(task,), across=())
        figure = main_figure(given)
        assert "over sparsity" not in figure.alt and "of each arm at 95 % sparsity" in figure.alt
        assert "further to the right" not in figure.note and "Hollow: of controls" in figure.note
        assert "further to the right" in main_figure(made).note and "over sparsity" in main_figure(made).alt

    def test_arms_of_different_sparsities_in_actor_and_critic_are_drawn_over_sparsity(self, task):
        split = {"actor": 0.95, "critic": 0.9}
        runs = {
            arm: tuple(replace(run, sparsity=split) for run in of) for arm, of in task.runs.items() if arm != "dense"
        }
        other = replace(task, runs={"dense": task.runs["dense"], **runs})
        assert "over sparsity" in score_over_sparsity(other, looks([other]), LIGHT).alt

    def test_over_all_tasks_there_are_means_without_seeds(self, made, look):
        across = [arm for arm in made.across if arm.arm == "dense" or arm.arm.endswith("-95")]
        drawn = normalised_over_sparsity(across, look, LIGHT)
        assert drawn.alt.startswith("Normalised score of each arm at 95 % sparsity, mean of 3 tasks. dense 1")
        assert {block.same["statistic"] for block in drawn.blocks} == {"mean"}


class TestAcrossTasks:
    def test_a_row_for_each_arm(self, made, look):
        drawn = aggregates(made.across, look, LIGHT)
        assert all(arm.arm in drawn.alt for arm in made.across)

    def test_profiles_tell_how_many_runs_reach_nine_tenths(self, made, look):
        dense = next(arm.profile for arm in made.across if arm.arm == "dense")
        reached = dense.reached[np.argmin(abs(dense.at - 0.9))]
        assert f"dense {100 * reached:.0f} %" in profiles(made.across, look, LIGHT).alt

    def test_dense_has_no_chance_to_beat_itself(self, made, look):
        alt = improvement(made.across, look, LIGHT).alt
        assert "magnitude-98" in alt and "dense " not in alt.split(": ")[1]

    def test_nothing_learned_nothing_drawn(self, look):
        assert [figure((), look, LIGHT) for figure in (aggregates, profiles, improvement)] == [None] * 3


class TestCurvePanels:
    def test_a_panel_for_each_sparsity_with_its_arms(self, made, look):
        alt = curve_panels("Reacher-v5", made.scores[2].every_run, look, LIGHT).alt
        assert "95 % sparsity: magnitude-95, taylor-95, random-95, small-dense-95;" in alt
        assert alt.count("% sparsity") == 4

    def test_a_cross_where_a_run_ended_early(self, made, look):
        def crosses(runs):
            svg = curve_panels("Reacher-v5", runs, look, LIGHT).svg
            return svg.count('stroke-width: 1.8"/>\n')

        runs = made.scores[2].every_run
        whole = [run for run in runs if run.status == "done"]
        assert crosses(runs) > crosses(whole) == 0

    def test_of_many_runs_the_first_are_drawn_and_the_mean_is_of_all(self, made, look, monkeypatch):
        monkeypatch.setattr("rlottery.report.curve_panels.MOST_CURVES", 2)
        done = [run for run in made.scores[2].every_run if run.arm == "dense" and run.status == "done"]
        first, *rest = (replace(done[0], seed=seed) for seed in range(9))
        drawn = []
        monkeypatch.setattr(Axes, "plot", lambda _, steps, values, *__, **___: drawn.append(list(values)))
        more = [replace(e, scores={"return": e.scores["return"] + 9}) for e in first.evaluations]
        curve_panels("Reacher-v5", [*rest, replace(first, evaluations=tuple(more))], look, LIGHT)
        scores = [evaluation.scores["return"] for evaluation in first.evaluations]
        assert drawn[:2] == [scores, scores] and len(drawn) == 3
        assert drawn[2] == pytest.approx([score + 1 for score in scores])

    def test_dark_and_light_differ_and_each_is_repeatable(self, made, look):
        runs = made.scores[2].every_run[:20]
        light = curve_panels("Reacher-v5", runs, look, LIGHT)
        assert light == curve_panels("Reacher-v5", runs, look, LIGHT)
        assert light.svg != curve_panels("Reacher-v5", runs, look, DARK).svg

    @pytest.mark.parametrize(("untrained", "below"), [(-12.0, None), (-13.0, None), (-90.0, -90.0)])
    def test_far_scores_before_training_leave_room_for_the_curves(self, made, look, untrained, below):
        def with_scores(run, before, after):
            first, last = run.evaluations[0], run.evaluations[-1]
            kept = replace(first, scores={"return": before}), replace(last, scores={"return": after})
            return replace(run, evaluations=kept)

        one, other = [run for run in made.scores[2].every_run if run.arm == "dense"][:2]
        assert below_panels([with_scores(one, -12.0, -4.0), with_scores(other, untrained, -5.0)], look) == below

    def test_no_evaluation_no_figure(self, made, look):
        assert (
            curve_panels("Reacher-v5", [replace(run, evaluations=()) for run in made.scores[2].every_run], look, LIGHT)
            is None
        )
        assert len(TASKS) == len(made.scores)


class TestMeanCurve:
    def test_equal_steps(self):
        steps = np.array([0.0, 100.0, 200.0])
        grid, mean = mean_curve([(steps, np.array([0.0, 1.0, 1.0])), (steps, np.array([0.0, 0.0, 0.5]))])
        assert grid.tolist() == [0, 100, 200]
        assert mean.tolist() == [0.0, 0.5, 0.75]

    def test_unequal_steps_end_where_the_shortest_ends(self):
        long = np.array([0.0, 100.0, 200.0, 300.0]), np.array([0.0, 1.0, 2.0, 9.0])
        short = np.array([0.0, 150.0, 250.0]), np.array([0.0, 3.0, 3.0])
        grid, mean = mean_curve([long, short])
        assert grid.tolist() == [0, 100, 150, 200, 250]
        # At 100 the short one is at 2, at 150 the long one at 1.5, at 250 at 5.5.
        assert mean.tolist() == [0.0, 1.5, 2.25, 2.5, 4.25]

    def test_one_curve_is_its_own_mean(self):
        grid, mean = mean_curve([(np.array([0.0, 50.0]), np.array([1.0, 2.0]))])
        assert (grid.tolist(), mean.tolist()) == ([0, 50], [1, 2])


class TestTicks:
    @pytest.mark.parametrize(
        ("low", "high", "most", "ticks"),
        [
            (-0.03, 1.03, 7, [0, 0.2, 0.4, 0.6, 0.8, 1]),
            (0.86, 1.04, 6, [0.9, 0.95, 1.0]),
            (0.4, 1.02, 5, [0.4, 0.6, 0.8, 1.0]),
            (-7.0, 1.2, 6, [-7, -5, -3, -1, 1]),
            (0.2, 2.6, 4, [1, 2]),
        ],
    )
    def test_an_axis_of_shares_has_a_tick_at_the_whole(self, low, high, most, ticks):
        assert share_ticks(low, high, most) == pytest.approx(ticks) and len(ticks) <= most


class TestNamesMovedApart:
    def test_what_is_apart_stays(self):
        assert moved_apart([0.9, 0.1, 0.5], gap=0.1) == [0.9, 0.1, 0.5]

    def test_a_cluster_opens_around_its_mean(self):
        assert moved_apart([0.5, 0.52], gap=0.1) == pytest.approx([0.46, 0.56])

    def test_it_stays_within_the_panel_and_the_first_of_equals_is_highest(self):
        assert moved_apart([1.0, 1.0, 1.0], gap=0.1) == pytest.approx([1.0, 0.9, 0.8])

    def test_a_cluster_that_opens_into_another_joins_it(self):
        # Apart from each other, 0.50 and 0.51 would come to 0.455 and 0.555: too near to 0.6.
        assert moved_apart([0.5, 0.51, 0.6], gap=0.1) == pytest.approx([0.4366667, 0.5366667, 0.6366667])

    def test_too_many_share_the_room(self):
        assert moved_apart([0.5] * 5, gap=0.5) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])

    @pytest.mark.parametrize("heights", [[], [0.3]])
    def test_nothing_to_move(self, heights):
        assert moved_apart(heights, gap=0.1) == heights


class TestSplits:
    """Arms of opposite splits have the same mean sparsity, and nothing else in common."""

    @pytest.fixture
    def split(self, made):
        shares = {"magnitude-80": (0.9, 0.5), "taylor-80": (0.9, 0.5), "random-80": (0.5, 0.9)}
        task = made.scores[2]
        runs = {
            arm: tuple(
                replace(run, sparsity=dict(zip(("actor", "critic"), shares[arm], strict=True)))
                if arm in shares
                else run
                for run in of_arm
            )
            for arm, of_arm in task.runs.items()
        }
        return replace(task, runs=runs)

    def test_each_split_has_a_group_of_its_own(self, split):
        groups = dict(sparsity_groups(looks([split]).values()))
        assert groups["90 / 50 %"] == ["magnitude-80", "taylor-80"] and groups["50 / 90 %"] == ["random-80"]
        assert list(groups)[-1] == "98 %"

    def test_each_split_is_named_in_figures_and_tables(self, split):
        look = looks([split])
        alt = score_over_sparsity(split, look, LIGHT).alt
        assert "at 90 / 50 %" in alt and "at 50 / 90 %" in alt and "at 70 %" not in alt
        cell = sparsity_cell(look["magnitude-80"])
        assert cell.text == "90 / 50 %"
        assert cell.values == {"sparsity": None, "sparsity_actor": 0.9, "sparsity_critic": 0.5} and cell.order == 0.9
        assert look["magnitude-80"].line != look["magnitude-90"].line


class TestNumbersOfAnyUnit:
    @pytest.mark.parametrize(
        ("factor", "offset"), [(5e-324, 0.0), (1e-170, 0.0), (1e40, 0.0), (1e150, 0.0), (1e-3, 1e9)]
    )
    def test_figures_are_drawn_and_their_ticks_are_told_apart(self, made, factor, offset):
        task = made.scores[2]

        def changed(run):
            evaluations = (
                replace(one, scores={"return": one.scores["return"] * factor + offset}) for one in run.evaluations
            )
            return replace(run, evaluations=tuple(evaluations))

        runs = [changed(run) for run in task.every_run]
        drawn = curve_panels(task.task, runs, looks(made.scores), LIGHT)
        assert drawn is not None and "nan" not in drawn.svg
        below_panels(runs, looks(made.scores))

    def test_labels_have_the_digits_of_their_ticks(self):
        labels = NumberFormatter().format_ticks
        assert labels([0.0, 0.25, 0.5]) == ["0", "0.25", "0.5"] and labels([-1000.0, 0.0]) == [
            "\N{MINUS SIGN}1,000",
            "0",
        ]
        assert labels([10_000.0, 10_250.0, 11_000.0]) == ["10,000", "10,250", "11,000"]
        assert labels([1e9, 1e9 + 0.25]) == ["1,000,000,000", "1,000,000,000.25"]
        assert labels([1e40, 1.5e40]) == ["1e+40", "1.5e+40"]

    def test_an_axis_of_one_value_has_room(self):
        for value in (1e40, 1e-170, 5e-324, -1e9, 0.0):
            low, high = padded([value, value], 0.04)
            assert low < value < high
