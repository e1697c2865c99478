"""The PNG is compared with the one that Matplotlib draws by itself, from its own pass over the figure."""

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from rlottery.report.drawn import LIGHT, themed
from rlottery.report.two_formats import png_and_svg

DPI = 150


def lines(figure: Figure) -> None:
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    steps = np.linspace(0, 20, 400)
    axes.plot(steps, np.sin(steps), color="#0072B2", linewidth=2.3, alpha=0.5)
    axes.plot(steps, np.cos(steps), color="#D55E00", linestyle=(0, (4, 1.5)), linewidth=1.5)
    axes.set_ylim(-0.5, 0.7)  # curves are cut off


def markers(figure: Figure) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    for place, marker in enumerate("osx^."):
        axes.plot([0.2, 0.8], [place, place], marker, markersize=7, fillstyle="none" if place % 2 else "full")


def collections(figure: Figure) -> None:
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.fill_between([0, 1, 2], [0, 1, 0], [1, 2, 3], color="#009E73", alpha=0.13, linewidth=0)
    axes.hlines(range(4), 0, 2, color="#5A5A5A", linewidth=1.2)
    axes.axhspan(0.5, 1.5, color="#5A5A5A", alpha=0.16, linewidth=0)


def clipped(figure: Figure) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    square = axes.add_patch(Rectangle((0.2, 0.2), 0.6, 0.6, color="#CC79A7"))
    square.set_clip_path(Circle((0.5, 0.5), 0.35, transform=axes.transData))


def image(figure: Figure) -> None:
    """Its edges are between dots, and both of its sides are odd: a picture upside down would differ."""
    axes = figure.add_axes((0.103, 0.107, 0.77, 0.71))
    axes.imshow(np.arange(35).reshape(5, 7) % 8, extent=(0, 7, 5, 0), aspect="auto", interpolation="none")


def read(png: bytes) -> np.ndarray:
    pixels: np.ndarray = matplotlib.image.imread(io.BytesIO(png))
    return pixels


def both(fill) -> tuple[np.ndarray, np.ndarray]:
    """A figure's PNG, and Matplotlib's."""
    found = []
    for own in (True, False):
        with themed(LIGHT):
            figure = Figure(figsize=(2.4, 1.8))
            fill(figure)
            for axes in figure.axes:
                axes.set_xticklabels([])
                axes.set_yticklabels([])
            stream = io.BytesIO()
            if own:
                stream.write(png_and_svg(figure, DPI)[0])
            else:
                figure.savefig(stream, dpi=DPI)
            found.append(read(stream.getvalue()))
    return found[0], found[1]


@pytest.mark.parametrize("fill", [lines, markers, collections, clipped, image])
def test_the_png_is_the_one_of_matplotlib(fill):
    own, reference = both(fill)
    assert own.shape == reference.shape == (270, 360, 4)
    # Fully transparent dots have no colour.
    apart = np.abs(own * own[..., 3:] - reference * reference[..., 3:]).max(axis=2)
    assert reference[..., 3].max() == 1
    assert (apart > 0.1).mean() < 0.005


def test_text_is_where_matplotlib_draws_it():
    def words(figure: Figure) -> None:
        figure.text(0.2, 0.4, "gradient-90", fontsize=12, weight="bold")
        figure.text(0.8, 0.5, "task", fontsize=9.5, rotation=90, va="center")

    def edges(pixels: np.ndarray) -> list[int]:
        rows, columns = np.nonzero(pixels[..., 3] > 0.3)
        return [rows.min(), rows.max(), columns.min(), columns.max()]

    own, reference = both(words)
    np.testing.assert_allclose(edges(own), edges(reference), atol=3)
    assert own[..., 3].sum() == pytest.approx(reference[..., 3].sum(), rel=0.1)
