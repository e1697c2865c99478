import io
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.image
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from rlottery.report.drawn import DARK, LIGHT, Theme, draw, themed


def figure(theme: Theme) -> Figure:
    with themed(theme):
        made = Figure(figsize=(2, 1))
        axes = made.subplots()
        axes.plot([0, 1], [0, 1], color=theme.ink)
        axes.set_title("a title")
    return made


def test_the_same_figure_gives_the_same_bytes():
    assert draw(figure(LIGHT), "a line") == draw(figure(LIGHT), "a line")
    assert draw(figure(LIGHT), "a line") != draw(figure(DARK), "a line")


def test_the_svg_is_one_document_without_a_date_and_its_text_needs_no_font():
    svg = draw(figure(LIGHT), "a line").svg
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "dc:date" not in svg
    assert "<text" not in svg


def test_settings_of_a_matplotlibrc_have_no_effect():
    expected = draw(figure(LIGHT), "a line")
    with matplotlib.rc_context({"text.usetex": True, "axes.grid": True, "lines.linewidth": 9}):  # would start LaTeX
        assert draw(figure(LIGHT), "a line") == expected


def test_nothing_is_drawn_where_there_is_nothing():
    png = matplotlib.image.imread(io.BytesIO(draw(figure(DARK), "a line").png))
    assert png.shape == (150, 300, 4)
    assert png[0, 0, 3] == 0


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_can_be_read_on_the_page(theme):
    """WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 with what is behind it."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (theme.ink, theme.quiet):
        dark, light = sorted((luminance(colour), luminance(theme.background)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_theme_ends_with_its_block():
    before = matplotlib.rcParams["text.color"]
    with themed(DARK):
        assert matplotlib.rcParams["text.color"] == DARK.ink
    assert matplotlib.rcParams["text.color"] == before
