"""Scores over sparsity: of one task, and normalised over all tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.scores import Estimate, TaskScores
from rlottery.analysis.splits import is_uniform
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Key, Theme, themed
from rlottery.report.figure_data import Block
from rlottery.report.sheets import LINE, SIZE, WIDTH, Around, sheet
from rlottery.report.ticks import TICK_SIZE, label_width, number_ticks, per_cent
from rlottery.report.wording import BOOTSTRAP, METRIC_NAMES, plural, sparsity_text
from rlottery.storage.paths import DENSE

_HEIGHT = 2.7
_UNTRAINED = (0, (1, 2))
_MOST_RIGHT = 1.6
"""Inches for names next to their lines; longer ones, or more than fit, are in a legend."""


@dataclass(frozen=True)
class _Point:
    look: Look
    sparsity: float
    estimate: Estimate
    seeds: Mapping[int, float]


@dataclass(frozen=True)
class _Drawing:
    """What is drawn over sparsity.

    Attributes:
        arms: name, estimate, score of each seed, and number of seeds or runs.
        untrained: mean score of untrained policies; untrained_n: how many they are.
        column: of the data; words: what a value is; n_of: what the estimates are means over.
        same: columns of the data that all rows have.
        share: whether 1 is the whole.
    """

    arms: Sequence[tuple[str, Estimate, Mapping[int, float], int]]
    untrained: float | None
    untrained_n: int
    label: str
    column: str
    words: str
    n_of: str
    same: Mapping[str, Any]
    share: bool


def score_over_sparsity(scores: TaskScores, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Mean score of every arm over its sparsity, with single seeds, and the mean and interval of the dense agents.

    None if no arm with a known sparsity has a score.
    """
    seeds = max((len(arm.scores) for arm in scores.arms), default=0)
    label = panels.METRIC_AXES[scores.metric]
    drawing = _Drawing(
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
    return _over_sparsity(
        drawing, looks, theme, f"{label} on {scores.task} over sparsity, mean of {plural(seeds, 'seed')}"
    )


def normalised_over_sparsity(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """The same over all tasks, in normalised score."""
    tasks = max((len(arm.tasks) for arm in across), default=0)
    drawing = _Drawing(
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
    return _over_sparsity(drawing, looks, theme, f"normalised score over sparsity, mean of {plural(tasks, 'task')}")


def _over_sparsity(drawing: _Drawing, looks: Mapping[str, Look], theme: Theme, alt: str) -> Drawn | None:
    arms = [arm for arm in drawing.arms if arm[0] in looks]
    points = [
        _Point(looks[arm], sparsity, mean, seeds)
        for arm, mean, seeds, _ in arms
        if arm != DENSE and (sparsity := looks[arm].sparsity) is not None
    ]
    if not points:
        return None
    dense = next((mean for arm, mean, _, _ in drawing.arms if arm == DENSE), None)
    tickets_first = sorted(points, key=lambda point: point.look.quiet)
    lines: dict[str, list[_Point]] = {point.look.line: [] for point in tickets_first}
    for point in sorted(points, key=lambda point: point.sparsity):
        lines[point.look.line].append(point)
    estimates = [point.estimate for point in points] + ([dense] if dense else [])
    ends = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    ends += [seed for point in points for seed in point.seeds.values()]
    ends += [1.0] if drawing.share else []
    shown = number_formatter([estimate.value for estimate in estimates])
    # The axis includes the untrained agents where that leaves half of its height to the arms.
    untrained = drawing.untrained
    near = untrained is not None and 2 * np.ptp(ends) >= np.ptp([*ends, untrained])
    limits = panels.padded([*ends, untrained] if untrained is not None and near else ends, 0.04)
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
            axes.axhline(untrained, color=theme.quiet, linewidth=1, linestyle=_UNTRAINED, zorder=1)
        offsets = dict(zip(lines, panels.dodges([point.sparsity for point in points], len(lines)), strict=True))
        for line, of_line in lines.items():
            _draw_line(axes, of_line, offsets[line])
        axes.set_ylabel(drawing.label, fontsize=SIZE)
        axes.set_ylim(*limits)
        number_ticks(axes, "y", share=drawing.share)
        if untrained is not None and not near:
            beyond = "below" if untrained < limits[0] else "above"
            note = f"untrained: {shown(untrained)}, {beyond}"
            axes.text(0.015, 0.02, note, transform=axes.transAxes, size=TICK_SIZE, color=theme.quiet)
        if right is not None:
            panels.names_at_right(axes, names, (width, _HEIGHT))
        values = [f"dense {shown(dense.value)}"] if dense else []
        for line, of_line in lines.items():
            at = (f"{shown(point.estimate.value)} at {sparsity_text(point.look.split)}" for point in of_line)
            values.append(f"{line} {', '.join(at)}")
        return made.draw(f"{alt[0].upper()}{alt[1:]}. {'; '.join(values)}.", _blocks(drawing, looks, offsets, near))


def _blocks(drawing: _Drawing, looks: Mapping[str, Look], offsets: Mapping[str, float], near: bool) -> list[Block]:
    """The numbers of the figure: of each arm its seeds, then its mean."""
    found, column = [], drawing.column
    value = f"{{{column}:v}} {drawing.words}"
    for arm, mean, seeds, n in drawing.arms:
        sparsity = looks[arm].sparsity if arm in looks else None
        if arm not in looks or (sparsity is None and arm != DENSE):
            continue
        # Dense agents are a line along the axis; their single seeds are not drawn.
        x = None if arm == DENSE or sparsity is None else panels.place(sparsity) + offsets[looks[arm].line]
        same = {**drawing.same, "arm": arm, "sparsity": sparsity}
        if seeds:
            each = {"seed": tuple(seeds), column: tuple(seeds.values())}
            where = () if arm == DENSE else (0,)
            of_seed = {**same, "statistic": "seed"}
            found.append(Block(where, of_seed, each, x, column, f"{{arm}}, seed {{seed}}: {value}"))
        has_interval = mean.low is not None and mean.high is not None
        interval = f" [{BOOTSTRAP} {{low:v}} to {{high:v}}]" if has_interval else ", no interval"
        words = f"{{arm}}, mean of n = {{n}} {drawing.n_of}: {value}{interval}"
        ends = {column: (mean.value,), "low": (mean.low,), "high": (mean.high,)}
        found.append(Block((0,), {**same, "statistic": "mean", "n": n}, ends, x, column, words))
    if drawing.untrained is not None:
        same = {**drawing.same, "arm": "untrained", "statistic": "mean", "n": drawing.untrained_n}
        words = f"untrained, mean of n = {{n}} policies: {value}"
        found.append(Block((0,) if near else (), same, {column: (drawing.untrained,)}, None, column, words))
    return found


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
