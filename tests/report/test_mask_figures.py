"""Figures of masks: that what is in them is what the masks say. Matplotlib writes each text as a comment too."""

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rlottery.analysis.mask_analysis import ArmMasks, InputShare, LayerSurvivors, MaskAnalysis, MaskOverlap
from rlottery.envs import observation_names
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import DARK, LIGHT, Drawn, Theme
from rlottery.report.mask_figures import (
    idle_units,
    input_strip,
    survivors_figure,
)
from rlottery.report.mask_overlap_figures import overlap_between_tasks, overlap_figure
from rlottery.report.mask_picture import mask_picture

BLUE, RED = "#0072B2", "#D55E00"
LOOKS = {
    "magnitude-90": Look("magnitude-90", "magnitude", "magnitude", 0.9, False, BLUE, "-", "o"),
    "taylor-90": Look("taylor-90", "taylor", "taylor", 0.9, False, RED, "-", "s"),
}
EMPTY = MaskAnalysis((), (), ())


def arm(
    name: str = "taylor-90", task: str = "Pendulum-v1", seeds: tuple[int, ...] = (3, 4), **more: object
) -> ArmMasks:
    made = ArmMasks(
        task=task,
        arm=name,
        seeds=seeds,
        layers=(
            LayerSurvivors("actor.layer_0", 6.0, 5.0, 12, 1.0, 0.5, 4),
            LayerSurvivors("actor.layer_1", 0.25, 0.25, 8, 0.0, 1.0, 0),
            LayerSurvivors("critic.q1.layer_0", 16.0, 16.0, 16, 0.0, 0.0, 4),
        ),
        inputs=(
            InputShare(0, "cos angle", {"actor": 0.75, "critic": 0.5}, 0.75, 0.3, 0),
            InputShare(1, "sin angle", {"actor": 0.25, "critic": 0.5}, 0.25, 0.2, 1),
            InputShare(2, None, {"actor": 0.0, "critic": 0.5}, 0.0, 0.0, 2),
        ),
        stability=None,
        picture={"actor.layer_0": np.eye(3, 4, dtype=bool)},
    )
    return replace(made, **more)  # type: ignore[arg-type]


def pages(*arms: ArmMasks, overlaps: tuple[MaskOverlap, ...] = ()) -> MaskAnalysis:
    return MaskAnalysis(arms, overlaps, ())


def texts(drawn: Drawn | None) -> list[str]:
    assert drawn is not None
    assert drawn.alt
    assert ET.fromstring(drawn.svg).tag.endswith("svg")
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", drawn.svg, re.S)]


def pixels(drawn: Drawn | None) -> np.ndarray:
    assert drawn is not None
    read: np.ndarray = matplotlib.image.imread(io.BytesIO(drawn.png))
    return read


def test_nothing_is_drawn_of_no_masks() -> None:
    assert survivors_figure(EMPTY, LOOKS, LIGHT) is None
    assert idle_units(EMPTY, LOOKS, LIGHT) is None
    assert input_strip(EMPTY, "Pendulum-v1", LOOKS, LIGHT) is None
    assert input_strip(pages(arm()), "Reacher-v5", LOOKS, LIGHT) is None
    assert overlap_figure(pages(arm()), LOOKS, LIGHT) is None
    assert overlap_between_tasks(pages(arm()), LOOKS, LIGHT) is None
    assert mask_picture(arm(picture={}), LOOKS, LIGHT) is None


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_figures_have_no_background_and_are_the_same_each_time(theme: Theme) -> None:
    found = pages(
        arm(), overlaps=(MaskOverlap("seed", "taylor-90", "taylor-90", 1, 0.4, 0.1, "Pendulum-v1", "taylor-90"),)
    )
    for figure in (survivors_figure, idle_units, overlap_figure):
        drawn = figure(found, LOOKS, theme)
        assert pixels(drawn)[-1, 0, 3] == 0
        assert drawn == figure(found, LOOKS, theme)
    assert input_strip(found, "Pendulum-v1", LOOKS, theme) == input_strip(found, "Pendulum-v1", LOOKS, theme)
    assert mask_picture(arm(), LOOKS, theme) == mask_picture(arm(), LOOKS, theme)


class TestSurvivors:
    def test_per_cent_of_every_layer_and_the_seeds(self) -> None:
        found = texts(survivors_figure(pages(arm(), arm("magnitude-90", seeds=(0, 1, 2))), LOOKS, LIGHT))
        for number in ("50", "3.1", "100"):
            assert found.count(number) == 2
        assert {"2", "3", "n", "actor", "critic.q1", "Pendulum-v1"} <= set(found)
        assert found.index("magnitude-90") < found.index("taylor-90")  # as in other figures

    def test_an_arm_without_masks_of_a_task_is_left_open_there(self) -> None:
        found = texts(survivors_figure(pages(arm(), arm("magnitude-90"), arm(task="Reacher-v5")), LOOKS, LIGHT))
        assert found.count("50") == 3
        assert "\N{EN DASH}" in found

    def test_many_tasks_go_on_below(self) -> None:
        tasks = [f"Task-v{number}" for number in range(5)]
        drawn = survivors_figure(pages(*(arm(task=task) for task in tasks)), LOOKS, LIGHT)
        assert set(tasks) <= set(texts(drawn))
        assert drawn is not None
        assert "5 tasks" in drawn.alt


class TestIdleUnits:
    def test_dead_and_constant_units_of_hidden_layers_alone(self) -> None:
        found = texts(idle_units(pages(arm()), LOOKS, LIGHT))
        assert "38" in found  # 1.5 of 4
        assert found.count("0") == 3  # the critic's share, and the numbers of both layers
        assert "actor" in found


class TestInputStrip:
    def test_entries_are_named_and_those_that_are_not_read_marked(self) -> None:
        drawn = input_strip(pages(arm()), "Pendulum-v1", LOOKS, LIGHT)
        found = texts(drawn)
        assert {"0  cos angle", "1  sin angle", "2", "taylor-90  (n = 2)"} <= set(found)
        assert found.count("\N{MULTIPLICATION SIGN}") == 1
        assert "1" in found  # sin angle is not read in one seed
        assert drawn is not None
        assert "entry 2" in drawn.alt

    def test_more_entries_than_fit_side_by_side(self) -> None:
        names = observation_names("Ant-v5")
        assert names is not None
        entries = tuple(InputShare(i, name, {}, 0.5, None, 0) for i, name in enumerate(names))
        drawn = input_strip(pages(arm(task="Ant-v5", inputs=entries)), "Ant-v5", LOOKS, LIGHT)
        assert {f"{i}  {name}" for i, name in enumerate(names)} <= set(texts(drawn))
        assert pixels(drawn).shape[1] < 2200

    def test_a_name_is_no_mathematics(self) -> None:
        entries = (InputShare(0, "$x^2$", {}, 0.5, None, 0),)
        assert any(
            "$x^2$" in text for text in texts(input_strip(pages(arm(inputs=entries)), "Pendulum-v1", LOOKS, LIGHT))
        )


class TestOverlap:
    def test_measured_and_chance_with_their_numbers(self) -> None:
        both = (
            MaskOverlap("seed", "taylor-90", "taylor-90", 10, 0.41, 0.11, "Pendulum-v1", "taylor-90"),
            MaskOverlap("criterion", "magnitude-90", "taylor-90", 5, 0.23, 0.11, "Pendulum-v1"),
        )
        stable = arm(stability=0.87, stability_chance=0.11, stability_seeds=(3, 4))
        drawn = overlap_figure(pages(stable, arm("magnitude-90"), overlaps=both), LOOKS, LIGHT)
        found = texts(drawn)
        assert {"0.41", "10", "0.23", "5", "0.87", "2"} <= set(found)
        assert "magnitude-90 \N{MULTIPLICATION SIGN} taylor-90" in found
        assert found.count("taylor-90") == 2  # between seeds, and over batches
        assert drawn is not None
        assert "0.87" in drawn.alt and "0.11" in drawn.alt

    def test_between_tasks(self) -> None:
        tasks = ("push-v3", "reach-v3", "door-close-v3")
        pairs = tuple(
            MaskOverlap("task", one, other, 5, share, 0.1, None, "taylor-90")
            for one, other, share in (
                (tasks[0], tasks[1], 0.31),
                (tasks[0], tasks[2], 0.22),
                (tasks[1], tasks[2], 0.07),
            )
        )
        found = texts(overlap_between_tasks(pages(arm(), overlaps=pairs), LOOKS, LIGHT))
        assert {"31", "22", "7", *tasks} <= set(found)
        assert "taylor-90 (random 10, n = 5)" in found


def points(drawn: Drawn | None, colour: str) -> np.ndarray:
    """Which pixels have exactly this colour, cut to where there are any."""
    image = pixels(drawn)
    there = (np.abs(image[..., :3] - to_rgb(colour)).max(axis=2) < 1 / 400) & (image[..., 3] == 1)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    cut: np.ndarray = there[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut


class TestPicture:
    def drawn_mask(self, *shape: int, share: float = 0.05) -> np.ndarray:
        mask = np.random.default_rng(0).random(shape) < share
        mask[0, 0] = mask[-1, -1] = True  # so that its corners are found
        return mask

    @pytest.mark.parametrize(("inputs", "outputs"), [(3, 256), (39, 300), (105, 600), (1, 1)])
    def test_every_weight_is_a_block_of_whole_pixels(self, inputs: int, outputs: int) -> None:
        mask = self.drawn_mask(inputs, outputs)
        found = points(mask_picture(arm(picture={"actor.layer_0": mask}), LOOKS, LIGHT), RED)
        high, wide = found.shape[0] // inputs, found.shape[1] // outputs
        assert high >= 1 and wide >= 1
        np.testing.assert_array_equal(found, np.kron(mask, np.ones((high, wide), bool)))

    def test_units_are_one_line_through_both_of_their_layers(self) -> None:
        """A unit without weights is an empty column of the first layer and of the second, below it."""
        first, second, last = np.ones((3, 64), bool), np.ones((64, 48), bool), np.ones((48, 2), bool)
        first[:, 10], second[10], second[:, 20], last[20] = False, False, False, False
        picture = {f"actor.layer_{i}": layer for i, layer in enumerate((first, second, last))}
        found = points(mask_picture(arm(picture=picture), LOOKS, LIGHT), RED)
        below = found[-1]  # the second layer's last row, then the last layer's
        columns = np.flatnonzero(~found[:, :128].any(axis=0))
        assert list(columns) == [20, 21]
        assert not below[20] and below[22]
        rows = np.flatnonzero(~found[-48 * 8 :].any(axis=1))
        assert list(rows) == list(range(160, 168))

    def test_says_what_it_is_of(self) -> None:
        drawn = mask_picture(arm(), LOOKS, LIGHT)
        found = " ".join(texts(drawn))
        assert "taylor-90 on Pendulum-v1, seed 3 (n = 1)" in found
        assert "3 of 12" in found
        assert "0  cos angle" in found
        assert drawn is not None
        assert "actor.layer_0 3 of 12" in drawn.alt

    def test_what_is_pruned_is_the_pages_colour(self) -> None:
        mask = np.zeros((3, 256), bool)
        mask[0, 0] = mask[2, 255] = True
        image = pixels(mask_picture(arm(picture={"actor.layer_0": mask}), LOOKS, DARK))
        assert np.median(image[..., 3]) == 0
