"""Figures as panels below a legend: that all text is whole, apart and within the figure, measured by Matplotlib."""

from itertools import combinations, pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rlottery.report.arm_styles import looks
from rlottery.report.drawn import LIGHT, Key, themed
from rlottery.report.labels import broken, text_inches
from rlottery.report.over_sparsity import score_over_sparsity
from rlottery.report.panels import dodges, right_of, titled_panels
from rlottery.report.sheets import NARROW, WIDTH
from tests.report.contents import contents, renamed

LONG = "a-very-long-name-of-an-arm-that-is-wider-than-a-panel-and-than-most-figures-90"
NAMES = {
    "one": ["dense"],
    "three": ["dense", "magnitude", "random"],
    "fourteen": ["MMMMMMMMMMMMMMMMMMMM"] * 2 + ["iii"] * 12,
    "forty": [f"family-number-{number}" for number in range(40)],
    "long": ["dense", LONG, "M" * 90],
}


@pytest.mark.parametrize("panels", [1, 6])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_a_legend_is_whole_and_above_its_panels_whatever_the_number_of_arms(names, panels):
    keys = [Key(f"{name} {place}", "#0072B2", "-", 2.4) for place, name in enumerate(names)]
    with themed(LIGHT):
        made = titled_panels(["90 % sparsity"] * panels, 2.0, ("steps", "score"), (0.0, 1e6), LIGHT, keys)
        FigureCanvasAgg(made.figure).draw()
    boxes = [text.get_window_extent() for text in made.figure.texts]
    shown = "".join(text.get_text() for text in made.figure.texts)
    assert shown.replace(" ", "") == "".join(key.name for key in keys).replace(" ", "")
    assert all(box.x0 >= 0 and box.x1 <= made.figure.bbox.width for box in boxes)
    assert all(box.y1 <= made.figure.bbox.height for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    lines = [line.get_window_extent() for line in made.figure.lines]
    assert not any(line.overlaps(box) for line in lines for box in boxes)
    inside = [axes.get_tightbbox() for axes in made.axes]  # with titles and labels
    assert max(box.y1 for box in inside) <= min(box.y0 for box in boxes)
    assert all(box.x0 >= 0 and box.x1 <= made.figure.bbox.width and box.y0 >= 0 for box in inside)
    assert not any(one.overlaps(other) for one, other in combinations(inside, 2))
    assert {round(cell.width / 72, 6) for cell in map(made._cell, range(panels))} == {WIDTH if panels < 3 else NARROW}


def test_names_that_are_long_or_many_are_in_a_legend_and_others_next_to_their_lines():
    assert right_of(["dense", "magnitude"], 2.7, 1.6) == pytest.approx(1.05, abs=0.15)
    assert right_of([LONG], 2.7, 1.6) is None
    assert right_of([f"arm {number}" for number in range(40)], 2.7, 1.6) is None
    made = contents(seeds=(0, 1), evaluations=3)
    few, long = (
        [key.name for key in score_over_sparsity(given.scores[0], looks(given.scores), LIGHT).keys]
        for given in (made, renamed(made, "taylor-95", LONG))
    )
    assert few == [] and {LONG, "dense", "magnitude", "random"} <= set(long)


@pytest.mark.parametrize("number", [1, 3, 14, 40])
def test_points_of_many_lines_stay_nearer_to_their_sparsity_than_to_the_next(number):
    moved = dodges([0.9, 0.95, 0.975], number)  # one unit apart on the axis
    assert len(moved) == number and max(map(abs, moved)) < 0.5
    assert sum(moved) == pytest.approx(0) and all(right > left for left, right in pairwise(moved))


@pytest.mark.parametrize("text", ["dense", LONG, "M" * 90, "two words and  three", ""])
@pytest.mark.parametrize("inches", [0.3, 1.0, 4.0])
def test_broken_text_is_whole_and_no_wider_than_asked(text, inches):
    lines = broken(text, inches, 10)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(text_inches(line, 10) <= inches for line in lines)
