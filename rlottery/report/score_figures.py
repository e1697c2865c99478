"""Figures of scores: over sparsity, over tasks, as performance profiles, and as probability of improvement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.digits import Digits, number_formatter
from rlottery.analysis.scores import Estimate, TaskScores
from rlottery.analysis.splits import is_uniform
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, draw, themed
from rlottery.report.labels import drawn_name
from rlottery.report.wording import plural, sparsity_text
from rlottery.storage.paths import DENSE

_DODGE = 0.028
"""Distance between the intervals of two lines at the same sparsity, as a share of the axis."""


@dataclass(frozen=True)
class _Point:
    look: Look
    sparsity: float
    estimate: Estimate
    seeds: tuple[float, ...]


def score_over_sparsity(scores: TaskScores, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Mean score of every arm over its sparsity, with single seeds, and the mean and interval of the dense agents.

    None if no arm with a known sparsity has a score.
    """
    arms = [(arm.arm, arm.mean, tuple(arm.scores.values())) for arm in scores.arms]
    label = panels.METRIC_AXES[scores.metric]
    seeds = max((len(arm.scores) for arm in scores.arms), default=0)
    alt = f"{label} on {scores.task} over sparsity, mean of {plural(seeds, 'seed')}"
    return _over_sparsity(arms, looks, scores.untrained, label, theme, alt)


def normalised_over_sparsity(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """The same over all tasks, in normalised score."""
    arms = [(arm.arm, arm.mean, ()) for arm in across]
    tasks = max((len(arm.tasks) for arm in across), default=0)
    alt = f"normalised score over sparsity, mean of {plural(tasks, 'task')}"
    return _over_sparsity(arms, looks, None, "normalised score", theme, alt)


def _over_sparsity(
    arms: Iterable[tuple[str, Estimate, tuple[float, ...]]],
    looks: Mapping[str, Look],
    untrained: float | None,
    label: str,
    theme: Theme,
    alt: str,
) -> Drawn | None:
    """Draw arms, each given by its name, its estimate and its single seeds."""
    points, dense = [], None
    for arm, mean, seeds in arms:
        if arm == DENSE:
            dense = mean
        if arm in looks and (sparsity := looks[arm].sparsity) is not None:
            points.append(_Point(looks[arm], sparsity, mean, seeds))
    if not points:
        return None
    tickets_first = sorted(points, key=lambda point: point.look.quiet)
    lines: dict[str, list[_Point]] = {point.look.line: [] for point in tickets_first}
    for point in sorted(points, key=lambda point: point.sparsity):
        lines[point.look.line].append(point)
    estimates = [point.estimate for point in points] + ([dense] if dense else [])
    ends = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    ends += [seed for point in points for seed in point.seeds]
    shown = number_formatter([estimate.value for estimate in estimates])
    # The axis includes the untrained agents where that leaves half of its height to the arms.
    near = untrained is not None and 2 * np.ptp(ends) >= np.ptp([*ends, untrained])
    names_of = _names_of([point.look for point in points])
    below = 0.6 + 0.17 * (max(map(len, names_of.values()), default=1) - 1)
    right = max(1.3, 0.105 * max(len(drawn_name(line)) for line in lines) + 0.3)
    with themed(theme):
        figure, (axes,) = panels.grid(
            1, 1, (3.35, 2.75), panels.Margins(max(0.92, panels.label_width(ends) + 0.3), right, below, 0.12)
        )
        panels.dress(axes, theme)
        axes.grid(axis="x", visible=False)
        panels.sparsity_axis(axes, [point.sparsity for point in points], names_of)
        width = axes.get_xlim()[1] - axes.get_xlim()[0]
        names = []
        if dense is not None:
            if dense.low is not None and dense.high is not None:
                axes.axhspan(dense.low, dense.high, color=theme.quiet, alpha=0.16, linewidth=0, zorder=0.5)
            axes.axhline(dense.value, color=theme.ink, linewidth=1.6, zorder=1)
            names.append(panels.Name(DENSE, dense.value, theme.ink, weight="bold"))
        if untrained is not None and near:
            axes.axhline(untrained, color=theme.quiet, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
            names.append(panels.Name("untrained", untrained, theme.quiet))
        for index, (line, of_line) in enumerate(lines.items()):
            offset = (index - (len(lines) - 1) / 2) * _DODGE * width
            _draw_line(axes, of_line, offset)
            look, weight = of_line[-1].look, "normal" if of_line[-1].look.quiet else "bold"
            names.append(panels.Name(line, of_line[-1].estimate.value, look.colour, look.dash, True, weight))
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(panels.NumberFormatter())
        axes.set_ylim(*panels.padded([*ends, untrained] if untrained is not None and near else ends, 0.04))
        if untrained is not None and not near:
            beyond = "below" if untrained < axes.get_ylim()[0] else "above"
            note = f"untrained: {shown(untrained)}, {beyond}"
            axes.text(0.015, 0.02, note, transform=axes.transAxes, size=9, color=theme.quiet)
        panels.names_at_right(axes, names)
        values = [f"dense {shown(dense.value)}"] if dense else []
        for line, of_line in lines.items():
            at = (f"{shown(point.estimate.value)} at {sparsity_text(point.look.split)}" for point in of_line)
            values.append(f"{line} {', '.join(at)}")
        return draw(figure, f"{alt[0].upper()}{alt[1:]}. {'; '.join(values)}.")


def _names_of(looks: Iterable[Look]) -> dict[float, list[str]]:
    """Sparsity -> the splits that have it as their mean, where groups differ; any uniform sparsity first."""
    found: dict[float, dict[str, None]] = {}
    for look in sorted(looks, key=lambda look: not is_uniform(look.split)):
        if look.sparsity is not None:
            text = panels.per_cent(look.sparsity) if is_uniform(look.split) else sparsity_text(look.split)
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
            axes.plot([x] * len(point.seeds), point.seeds, ".", color=look.colour, markersize=4, alpha=0.4, zorder=2.5)
        if estimate.low is not None and estimate.high is not None:
            width = 1.0 if look.quiet else 1.6
            axes.plot([x, x], [estimate.low, estimate.high], color=look.colour, linewidth=width, zorder=3)
    size, face = (5, "none") if look.quiet else (6.5, "full")
    mark: dict[str, Any] = {"marker": look.marker or "o", "markersize": size, "fillstyle": face}
    axes.plot(at, values, linestyle="none", color=look.colour, markeredgewidth=1.2, zorder=4, **mark)


def profiles(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Performance profiles: one panel per sparsity, with the dense agents in every panel."""
    shown = [arm for arm in across if arm.arm in looks]
    groups = panels.sparsity_groups(looks[arm.arm] for arm in shown)
    if not groups:
        return None
    with themed(theme):
        titles = [f"{sparsity} sparsity" for sparsity, _ in groups]
        figure, axes = panels.titled_panels(titles, 2.05, "runs that reach it", theme)
        drawn = set()
        for panel, (_, of_group) in zip(axes, groups, strict=True):
            for arm in shown:
                look = looks[arm.arm]
                if arm.arm not in (DENSE, *of_group):
                    continue
                drawn.add(arm.arm)
                of, colour, width = arm.profile, look.colour, 1.4 if look.quiet else 2.2
                panel.fill_between(of.at, of.low, of.high, color=colour, alpha=0.13, linewidth=0, zorder=2)
                panel.plot(of.at, of.reached, color=colour, linestyle=look.dash, linewidth=width, zorder=3)
            panel.set_ylim(-0.02, 1.02)
            panel.set_xlim(0, max(float(shown[0].profile.at[-1]), 1.0))
            panel.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
            panel.xaxis.set_major_formatter(panels.NumberFormatter())
            panel.yaxis.set_major_formatter(FuncFormatter(panels.per_cent))
            panel.set_xlabel("normalised score, at least")
        panels.legend(figure, {look.line: look for arm, look in looks.items() if arm in drawn})
        reached = {arm.arm: np.interp(0.9, arm.profile.at, arm.profile.reached) for arm in shown}
        reach = "; ".join(f"{arm} {panels.per_cent(float(np.round(share, 2)))}" for arm, share in reached.items())
        return draw(figure, f"Performance profiles. Share of runs that reach a normalised score of 0.9: {reach}.")


def aggregates(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """IQM, mean and median over tasks with their intervals, one row per arm."""
    shown = [arm for name in looks for arm in across if arm.arm == name]
    if not shown:
        return None
    columns: list[tuple[str, list[Estimate | None]]] = [
        ("interquartile mean", [arm.iqm for arm in shown]),
        ("mean", [arm.mean for arm in shown]),
        ("median", [arm.median for arm in shown]),
    ]
    values = "; ".join(f"{arm.arm} {Digits(2)(arm.iqm.value)}" for arm in shown)
    alt = f"Normalised score over tasks, interquartile mean of runs: {values}."
    return _rows([arm.arm for arm in shown], columns, looks, theme, 1.0, "normalised score", alt)


def improvement(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Probability that a run of an arm scores higher than a dense run, and than a run of its random control."""
    shown = [arm for name in looks for arm in across if arm.arm == name and (arm.over_dense or arm.over_control)]
    if not shown:
        return None
    columns = [("above dense", [arm.over_dense for arm in shown])]
    if any(arm.over_control for arm in shown):
        columns.append(("above its random control", [arm.over_control for arm in shown]))
    values = "; ".join(
        f"{arm.arm} {panels.per_cent(round(arm.over_dense.value, 2))}" for arm in shown if arm.over_dense
    )
    alt = f"Probability that a run scores higher than a dense run: {values}."
    return _rows([arm.arm for arm in shown], columns, looks, theme, 0.5, "probability", alt)


def _rows(
    names: Sequence[str],
    columns: Sequence[tuple[str, Sequence[Estimate | None]]],
    looks: Mapping[str, Look],
    theme: Theme,
    even: float,
    label: str,
    alt: str,
) -> Drawn:
    width = (10.4 - 0.25 * (len(columns) - 1)) / len(columns)
    longest = max(len(drawn_name(name)) for name in names)
    left = min(max(0.095 * longest + 0.25, 1.0), 3.5)
    with themed(theme):
        figure, axes = panels.grid(
            len(columns), len(columns), (width, 0.235 * len(names) + 0.1), panels.Margins(left, 0.2, 0.55, 0.35, 0.25)
        )
        ends = [v for _, of in columns for e in of if e for v in (e.value, e.low, e.high) if v is not None]
        for index, (panel, (title, estimates)) in enumerate(zip(axes, columns, strict=True)):
            panels.dress(panel, theme)
            panel.grid(axis="y", visible=False)
            panel.spines["left"].set_visible(False)
            panel.set_title(title, loc="left", fontsize=11)
            panel.axvline(even, color=theme.quiet, linewidth=1.0, zorder=1)
            for row, (name, estimate) in enumerate(zip(names, estimates, strict=True)):
                look = looks[name]
                if estimate is None:
                    continue
                width, face = (1.6, "none") if look.quiet else (3, "full")
                if estimate.low is not None and estimate.high is not None:
                    interval = [estimate.low, estimate.high]
                    line: dict[str, Any] = {"color": look.colour, "linewidth": width, "alpha": 0.55}
                    panel.plot(interval, [row, row], solid_capstyle="round", **line)
                mark = look.marker or "o"
                panel.plot([estimate.value], [row], marker=mark, markersize=6, color=look.colour, fillstyle=face)
            panel.set_ylim(len(names) - 0.4, -0.6)
            panel.set_xlim(*panels.padded([even, *ends], 0.05))
            panel.set_xlabel(label)
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.xaxis.set_major_formatter(FuncFormatter(panels.per_cent) if even == 0.5 else panels.NumberFormatter())
            panel.set_yticks(range(len(names)), [drawn_name(name) for name in names] if index == 0 else [])
            panel.tick_params(axis="y", length=0)
            if index == 0:
                for text, name in zip(panel.get_yticklabels(), names, strict=True):
                    text.set_color(panels.readable(looks[name].colour))
        return draw(figure, alt)
