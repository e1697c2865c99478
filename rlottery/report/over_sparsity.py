"""Scores over sparsity, of one task and normalised over all tasks; a row for each arm if they have one sparsity."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.scores import Estimate, TaskScores
from rlottery.analysis.splits import is_uniform
from rlottery.report import panels
from rlottery.report.arm_rows import UNTRAINED, arm_rows, have_one_sparsity
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Key, Theme, themed
from rlottery.report.scored_arms import ScoredArms
from rlottery.report.sheets import LINE, SIZE, WIDTH, Around, sheet
from rlottery.report.ticks import TICK_SIZE, label_width, number_ticks, per_cent
from rlottery.report.wording import METRIC_NAMES, plural, sparsity_text
from rlottery.storage.paths import DENSE

_HEIGHT = 2.7
_MOST_RIGHT = 1.6
"""Inches for names next to their lines; longer ones, or more than fit, are in a legend."""


@dataclass(frozen=True)
class _Point:
    look: Look
    sparsity: float
    estimate: Estimate
    seeds: Mapping[int, float]


def score_over_sparsity(scores: TaskScores, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Mean score of every arm over its sparsity, with single seeds, and the mean and interval of the dense agents.

    A row for each arm instead if they have one sparsity.

    None if no arm with a known sparsity has a score.
    """
    seeds = max((len(arm.scores) for arm in scores.arms), default=0)
    label = panels.METRIC_AXES[scores.metric]
    scored = ScoredArms(
        arms=[(arm.arm, arm.mean, arm.scores, len(arm.scores)) for arm in scores.arms],
        untrained=scores.untrained,
        untrained_n=len(scores.untrained_sample),
        label=label,
        column="score",
        words=METRIC_NAMES[scores.metric],
        n_of="seeds",
        same={"task": scores.task, "metric": scores.metric},
        share=scores.metric == "success",
    )
    return _drawn(scored, looks, theme, f"{label} on {scores.task}", f"mean of {plural(seeds, 'seed')}")


def normalised_over_sparsity(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """The same over all tasks, in normalised score."""
    tasks = max((len(arm.tasks) for arm in across), default=0)
    scored = ScoredArms(
        arms=[(arm.arm, arm.mean, {}, len(arm.tasks)) for arm in across],
        untrained=None,
        untrained_n=0,
        label="normalised score",
        column="normalised_score",
        words="normalised score",
        n_of="tasks",
        same={},
        share=True,
    )
    return _drawn(scored, looks, theme, "normalised score", f"mean of {plural(tasks, 'task')}")


def _drawn(scored: ScoredArms, looks: Mapping[str, Look], theme: Theme, what: str, of: str) -> Drawn | None:
    points = [
        _Point(looks[arm], sparsity, mean, seeds)
        for arm, mean, seeds, _ in scored.arms
        if arm != DENSE and arm in looks and (sparsity := looks[arm].sparsity) is not None
    ]
    if not points:
        return None
    if have_one_sparsity(point.look for point in points):
        [(shared, _)] = panels.sparsity_groups(point.look for point in points)
        return arm_rows(scored, looks, theme, f"{what} of each arm at {shared} sparsity, {of}")
    return _over_sparsity(scored, points, looks, theme, f"{what} over sparsity, {of}")


def _over_sparsity(
    scored: ScoredArms, points: Sequence[_Point], looks: Mapping[str, Look], theme: Theme, alt: str
) -> Drawn:
    dense = next((mean for arm, mean, _, _ in scored.arms if arm == DENSE), None)
    tickets_first = sorted(points, key=lambda point: point.look.quiet)
    lines: dict[str, list[_Point]] = {point.look.line: [] for point in tickets_first}
    for point in sorted(points, key=lambda point: point.sparsity):
        lines[point.look.line].append(point)
    estimates = [point.estimate for point in points] + ([dense] if dense else [])
    shown = number_formatter([estimate.value for estimate in estimates])
    untrained = scored.untrained
    limits, near = scored.limits(estimates, (score for point in points for score in point.seeds.values()))
    names = [panels.Name(DENSE, dense.value, theme.ink, weight="bold")] if dense else []
    names += [panels.Name("untrained", untrained, theme.quiet)] if untrained is not None and near else []
    for line, of_line in lines.items():
        look, weight = of_line[-1].look, "normal" if of_line[-1].look.quiet else "bold"
        names.append(panels.Name(line, of_line[-1].estimate.value, look.colour, look.dash, True, weight))
    right = panels.right_of((name.text for name in names), _HEIGHT, _MOST_RIGHT)
    names_of = _names_of([point.look for point in points])
    below = 0.58 + LINE * (max(map(len, names_of.values())) - 1)
    left = 0.42 + label_width(*limits, _HEIGHT)
    width = max(WIDTH - left - (right or 0.15), 1.5)
    around = Around(left, right or 0.15, below, 0.12)
    keys = [Key(name.text, name.colour, name.dash, 2.0) for name in names] if right is None else []
    with themed(theme):
        made = sheet(["over sparsity"], (width, _HEIGHT), around, theme, keys)
        [axes] = made.axes
        panels.dress(axes, theme)
        axes.grid(axis="x", visible=False)
        panels.sparsity_axis(axes, [point.sparsity for point in points], names_of, width)
        if dense is not None:
            if dense.low is not None and dense.high is not None:
                axes.axhspan(dense.low, dense.high, color=theme.quiet, alpha=0.16, linewidth=0, zorder=0.5)
            axes.axhline(dense.value, color=theme.ink, linewidth=1.6, zorder=1)
        if untrained is not None and near:
            axes.axhline(untrained, color=theme.quiet, linewidth=1, linestyle=UNTRAINED, zorder=1)
        offsets = dict(zip(lines, panels.dodges([point.sparsity for point in points], len(lines)), strict=True))
        for line, of_line in lines.items():
            _draw_line(axes, of_line, offsets[line])
        axes.set_ylabel(scored.label, fontsize=SIZE)
        axes.set_ylim(*limits)
        number_ticks(axes, "y", share=scored.share)
        if untrained is not None and not near:
            beyond = "below" if untrained < limits[0] else "above"
            note = f"untrained: {shown(untrained)}, {beyond}"
            axes.text(0.015, 0.02, note, transform=axes.transAxes, size=TICK_SIZE, color=theme.quiet)
        if right is not None:
            panels.names_at_right(axes, names, (width, _HEIGHT))
        values = [f"dense {shown(dense.value)}"] if dense else []
        for line, of_line in lines.items():
            told = (f"{shown(point.estimate.value)} at {sparsity_text(point.look.split)}" for point in of_line)
            values.append(f"{line} {', '.join(told)}")
        at = {point.look.arm: panels.place(point.sparsity) + offsets[point.look.line] for point in points}
        # Dense agents are a line along the axis; their single seeds are not drawn.
        blocks = scored.blocks(looks, {**at, DENSE: None}, at, None, near=near, upright=True)
        return made.draw(f"{alt[0].upper()}{alt[1:]}. {'; '.join(values)}.", blocks)


def _names_of(looks: Iterable[Look]) -> dict[float, list[str]]:
    """Sparsity -> the splits that have it as their mean, where groups differ; any uniform sparsity first."""
    found: dict[float, dict[str, None]] = {}
    for look in sorted(looks, key=lambda look: not is_uniform(look.split)):
        if look.sparsity is not None:
            text = per_cent(look.sparsity) if is_uniform(look.split) else sparsity_text(look.split)
            found.setdefault(look.sparsity, {})[text] = None
    return {sparsity: list(names) for sparsity, names in found.items()}


def _draw_line(axes: Axes, points: Sequence[_Point], offset: float) -> None:
    look = points[0].look
    at = [panels.place(point.sparsity) + offset for point in points]
    values = [point.estimate.value for point in points]
    axes.plot(at, values, color=look.colour, linestyle=look.dash, linewidth=1.2 if look.quiet else 2.0, zorder=3)
    for x, point in zip(at, points, strict=True):
        estimate = point.estimate
        if point.seeds:
            axes.plot(
                [x] * len(point.seeds),
                list(point.seeds.values()),
                ".",
                color=look.colour,
                markersize=4,
                alpha=0.4,
                zorder=2.5,
            )
        if estimate.low is not None and estimate.high is not None:
            width = 1.0 if look.quiet else 1.6
            axes.plot([x, x], [estimate.low, estimate.high], color=look.colour, linewidth=width, zorder=3)
    size, face = (5, "none") if look.quiet else (6.5, "full")
    mark: dict[str, Any] = {"marker": look.marker or "o", "markersize": size, "fillstyle": face}
    axes.plot(at, values, linestyle="none", color=look.colour, markeredgewidth=1.2, zorder=4, **mark)
