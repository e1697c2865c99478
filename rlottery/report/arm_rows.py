"""Scores of arms that all have one sparsity: a row for each arm, with its name on the axis."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from rlottery.analysis.digits import number_formatter
from rlottery.analysis.scores import Estimate
from rlottery.analysis.splits import is_uniform
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, themed
from rlottery.report.labels import text_inches
from rlottery.report.scored_arms import ScoredArms
from rlottery.report.sheets import SIZE, WIDTH, Around, sheet
from rlottery.report.ticks import TICK_SIZE, number_ticks
from rlottery.storage.paths import DENSE

UNTRAINED = (0, (1, 2))
"""The line of untrained agents."""
_MOST_OF_NAMES = 0.42 * WIDTH
_MEAN, _GAP = 0.06, 0.18
"""Inches that a mean reaches up and down, and between rows."""
_TO_DOTS = 0.13
"""Inches from a mean down to its seeds."""
_DOT = 4.0
"""Diameter of the dot of a seed, in points."""
_MOST_DOWN = 0.5
"""Inches that a pile of dots takes at most; those of a higher one cover each other partly."""


def have_one_sparsity(looks: Iterable[Look]) -> bool:
    """Whether the arms with a sparsity all have nearly the same one, in every group."""
    known = [look for look in looks if look.sparsity is not None]
    return all(is_uniform(look.split) for look in known) and len(panels.sparsity_groups(known)) == 1


def arm_rows(scored: ScoredArms, looks: Mapping[str, Look], theme: Theme, alt: str) -> Drawn:
    """A row for each arm with a sparsity, after the dense agents: every seed, and the mean with its interval.

    Lines through all rows are the means of the dense and of untrained agents.

    Args:
        alt: what is drawn, for screen readers, without its values.
    """
    known = {arm: (mean, seeds) for arm, mean, seeds, _ in scored.arms}
    names = [arm for arm in looks if arm in known and (arm == DENSE or looks[arm].sparsity is not None)]
    estimates = [known[arm][0] for arm in names]
    limits, near = scored.limits(estimates, (score for arm in names for score in known[arm][1].values()))
    shown = number_formatter([estimate.value for estimate in estimates])
    # The width of the axes depends on the names alone, and the heights of rows on where dots would cover each other.
    left = panels.name_rows(names, _MOST_OF_NAMES).left
    around = Around(left, 0.2, 0.55, 0.3)
    width = WIDTH - left - around.right
    low, high = limits
    piles = {arm: _piled([(score - low) / (high - low) * width for score in known[arm][1].values()]) for arm in names}
    # From the upper end of the mean to the lower end of the dots.
    drawn = [2 * _MEAN if not pile else _MEAN + _TO_DOTS + max(pile) + _DOT / 144 for pile in piles.values()]
    rows = panels.name_rows(names, _MOST_OF_NAMES, [height + _GAP for height in drawn])
    size = (width, rows.height)
    means = {arm: centre - height / 2 + _MEAN for arm, centre, height in zip(names, rows.centres, drawn, strict=True)}
    dots = {arm: tuple(means[arm] + _TO_DOTS + down for down in pile) for arm, pile in piles.items()}
    lines = [(DENSE, known[DENSE][0].value)] if DENSE in names else []
    values = [f"{arm} {shown(known[arm][0].value)}" for arm in names]
    if (untrained := scored.untrained) is not None:
        beyond = "" if near else f": {shown(untrained)}, further {'left' if untrained < low else 'right'}"
        lines.append((f"untrained{beyond}", min(max(untrained, low), high)))
        values.append(f"untrained {shown(untrained)}")
    with themed(theme):
        made = sheet(["scores of arms"], size, around, theme)
        [axes] = made.axes
        panels.dress(axes, theme)
        axes.set_xlim(*limits)
        axes.set_xlabel(scored.label, fontsize=SIZE)
        number_ticks(axes, "x", share=scored.share)
        panels.label_rows(axes, rows, [looks[arm].colour for arm in names])
        if DENSE in names:
            dense = known[DENSE][0]
            if dense.low is not None and dense.high is not None:
                axes.axvspan(dense.low, dense.high, color=theme.quiet, alpha=0.16, linewidth=0, zorder=0.5)
            axes.axvline(dense.value, color=theme.ink, linewidth=1.6, zorder=1)
        if untrained is not None and near:
            axes.axvline(untrained, color=theme.quiet, linewidth=1.2, linestyle=UNTRAINED, zorder=1)
        _name_lines(axes, lines, size, around, theme)
        for arm in names:
            mean, seeds = known[arm]
            _draw_row(axes, looks[arm], mean, means[arm])
            style: dict[str, Any] = {
                "color": looks[arm].colour,
                "markersize": _DOT,
                "markeredgewidth": 0,
                "alpha": 0.75,
            }
            axes.plot(list(seeds.values()), list(dots[arm]), "o", zorder=3, **style)
        blocks = scored.blocks(looks, means, dots, 0.0, near=near, upright=False)
        return made.draw(f"{alt[0].upper()}{alt[1:]}. {'; '.join(values)}.", blocks)


def _piled(scores: Sequence[float]) -> list[float]:
    """How far down each dot is moved so that it covers no other, in inches; scores are in inches, too."""
    floors: dict[int, int] = {}
    for index in sorted(range(len(scores)), key=lambda index: (scores[index], index)):
        near = {floors[other] for other in floors if abs(scores[index] - scores[other]) < 1.1 * _DOT / 72}
        floors[index] = next(floor for floor in range(len(near) + 1) if floor not in near)
    apart = min(_DOT / 72, _MOST_DOWN / max([*floors.values(), 1]))
    return [apart * floors[index] for index in range(len(scores))]


def _draw_row(axes: Axes, look: Look, mean: Estimate, row: float) -> None:
    if mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [row, row], color=look.colour, linewidth=1.2 if look.quiet else 2.0, zorder=3)
    size, face = (6, "none") if look.quiet else (6.5, "full")
    mark: dict[str, Any] = {"marker": look.marker or "o", "markersize": size, "fillstyle": face, "markeredgewidth": 1.2}
    axes.plot([mean.value], [row], linestyle="none", color=look.colour, zorder=4, **mark)


def _name_lines(
    axes: Axes, lines: Sequence[tuple[str, float]], panel: tuple[float, float], around: Around, theme: Theme
) -> None:
    """Write the names of lines above the axes, moved apart where they would overlap."""
    low, high = axes.get_xlim()
    wide = [text_inches(name, TICK_SIZE, "bold") for name, _ in lines]
    half = max(wide, default=0.0) / 2
    first, last = half + 0.05 - around.left, panel[0] + around.right - 0.05 - half
    shares = [((value - low) / (high - low) * panel[0] - first) / (last - first) for _, value in lines]
    inside = [min(max(share, 0.0), 1.0) for share in shares]
    for (name, _), share in zip(
        lines, panels.moved_apart(inside, (sum(wide) / 2 + 0.12) / (last - first)), strict=True
    ):
        bold = name == DENSE
        axes.text(
            (first + share * (last - first)) / panel[0],
            1 + 0.06 / panel[1],
            name,
            transform=axes.transAxes,
            size=TICK_SIZE,
            color=theme.ink if bold else theme.quiet,
            weight="bold" if bold else "normal",
            ha="center",
            va="bottom",
        )
