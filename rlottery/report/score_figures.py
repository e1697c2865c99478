"""Figures of scores: over sparsity, over tasks, as performance profiles, and as probability of improvement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.scores import Estimate, TaskScores
from rlottery.report.drawn import Drawn, Theme, draw, themed
from rlottery.report.families import Look
from rlottery.report.panels import (
    METRIC_AXES,
    Margins,
    Name,
    clusters,
    dress,
    grid,
    legend,
    names_at_right,
    nominal,
    per_cent,
    place,
    plain,
    readable,
    sparsity_axis,
    thousands,
)
from rlottery.report.wording import number_text, plural
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
    points = [
        _Point(looks[arm.arm], sparsity, arm.mean, tuple(arm.scores.values()))
        for arm in scores.arms
        if arm.arm in looks and (sparsity := looks[arm.arm].sparsity) is not None
    ]
    dense = scores.arm(DENSE)
    form = thousands
    label = METRIC_AXES[scores.metric]
    seeds = max((len(arm.scores) for arm in scores.arms), default=0)
    alt = f"{label} on {scores.task} over sparsity, mean of {plural(seeds, 'seed')}"
    return _over_sparsity(points, dense.mean if dense else None, scores.untrained, label, form, theme, alt)


def normalised_over_sparsity(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """The same over all tasks, in normalised score."""
    points = [
        _Point(looks[arm.arm], sparsity, arm.mean, ())
        for arm in across
        if arm.arm in looks and (sparsity := looks[arm.arm].sparsity) is not None
    ]
    dense = next((arm.mean for arm in across if arm.arm == DENSE), None)
    tasks = max((len(arm.tasks) for arm in across), default=0)
    alt = f"normalised score over sparsity, mean of {plural(tasks, 'task')}"
    return _over_sparsity(points, dense, None, "normalised score", thousands, theme, alt)


def _over_sparsity(
    points: Sequence[_Point],
    dense: Estimate | None,
    untrained: float | None,
    label: str,
    form: Callable[..., str],
    theme: Theme,
    alt: str,
) -> Drawn | None:
    if not points:
        return None
    lines: dict[str, list[_Point]] = {}
    for point in sorted(points, key=lambda point: point.sparsity):
        lines.setdefault(point.look.line, []).append(point)
    lines = dict(sorted(lines.items(), key=lambda item: list(_order(points)).index(item[0])))
    sparsities = [point.sparsity for point in points]
    right = max(1.3, 0.105 * max(map(len, lines)) + 0.3)
    with themed(theme):
        figure, (axes,) = grid(1, 1, (3.35, 2.75), Margins(0.92, right, 0.6, 0.12))
        dress(axes, theme)
        axes.grid(axis="x", visible=False)
        sparsity_axis(axes, sparsities)
        width = axes.get_xlim()[1] - axes.get_xlim()[0]
        names = []
        if dense is not None:
            colour = theme.ink
            if dense.low is not None and dense.high is not None:
                axes.axhspan(dense.low, dense.high, color=theme.quiet, alpha=0.16, linewidth=0, zorder=0.5)
            axes.axhline(dense.value, color=colour, linewidth=1.6, zorder=1)
            names.append(Name(DENSE, dense.value, colour, weight="bold"))
        near = untrained if untrained is not None and _is_near(points, dense, untrained) else None
        if near is not None:
            axes.axhline(near, color=theme.quiet, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
            names.append(Name("untrained", near, theme.quiet))
        for index, (line, of_line) in enumerate(lines.items()):
            offset = (index - (len(lines) - 1) / 2) * _DODGE * width
            _draw_line(axes, of_line, offset)
            look = of_line[-1].look
            names.append(
                Name(line, of_line[-1].estimate.value, look.colour, look.dash, True, "normal" if look.quiet else "bold")
            )
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(form))
        _fit(axes, points, dense, near)
        if untrained is not None and near is None:
            beyond = "below" if untrained < axes.get_ylim()[0] else "above"
            axes.text(
                0.015,
                0.02,
                f"untrained: {form(float(f'{untrained:.3g}'))}, {beyond}",
                transform=axes.transAxes,
                size=9,
                color=theme.quiet,
            )
        names_at_right(axes, names)
        return draw(figure, f"{alt[0].upper()}{alt[1:]}. {_values_text(lines, dense, form)}")


def _order(points: Sequence[_Point]) -> dict[str, None]:
    known = sorted(points, key=lambda point: point.look.quiet)
    return dict.fromkeys(point.look.line for point in known)


def _draw_line(axes: Axes, points: Sequence[_Point], offset: float) -> None:
    look = points[0].look
    at = [place(point.sparsity) + offset for point in points]
    values = [point.estimate.value for point in points]
    thin = look.quiet
    axes.plot(at, values, color=look.colour, linestyle=look.dash, linewidth=1.2 if thin else 2.0, zorder=3)
    for x, point in zip(at, points, strict=True):
        estimate = point.estimate
        if point.seeds:
            axes.plot([x] * len(point.seeds), point.seeds, ".", color=look.colour, markersize=4, alpha=0.4, zorder=2.5)
        if estimate.low is not None and estimate.high is not None:
            axes.plot(
                [x, x], [estimate.low, estimate.high], color=look.colour, linewidth=1.0 if thin else 1.6, zorder=3
            )
    axes.plot(
        at,
        values,
        linestyle="none",
        marker=look.marker or "o",
        markersize=5 if thin else 6.5,
        color=look.colour,
        fillstyle="none" if thin else "full",
        markeredgewidth=1.2,
        zorder=4,
    )


def _is_near(points: Sequence[_Point], dense: Estimate | None, untrained: float) -> bool:
    """Whether an axis that includes the untrained agents leaves half of its height to the arms."""
    ends = _ends(points, dense)
    return max(ends) - min(ends) >= (max(*ends, untrained) - min(*ends, untrained)) / 2


def _ends(points: Sequence[_Point], dense: Estimate | None) -> list[float]:
    estimates = [point.estimate for point in points] + ([dense] if dense else [])
    bounds = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    return bounds + [v for point in points for v in point.seeds]


def _fit(axes: Axes, points: Sequence[_Point], dense: Estimate | None, untrained: float | None) -> None:
    ends = _ends(points, dense) + ([untrained] if untrained is not None else [])
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low or 1.0)
    axes.set_ylim(low - room, high + room)


def _values_text(lines: Mapping[str, Sequence[_Point]], dense: Estimate | None, form: Callable[..., str]) -> str:
    def number(value: float) -> str:
        return form(float(f"{value:.3g}"))

    parts = [f"dense {number(dense.value)}"] if dense else []
    parts += [
        f"{line} " + ", ".join(f"{number(p.estimate.value)} at {per_cent(p.sparsity)}" for p in points)
        for line, points in lines.items()
    ]
    return "; ".join(parts) + "."


def profiles(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Performance profiles: one panel per sparsity, with the dense agents in every panel."""
    shown = [arm for arm in across if arm.arm in looks]
    known = [s for arm in shown if (s := looks[arm.arm].sparsity) is not None]
    if not known:
        return None
    groups = clusters(known)
    columns = min(len(groups), 4)
    rows = -(-len(groups) // columns)
    with themed(theme):
        figure, axes = grid(rows, columns, (2.78, 2.05), Margins(0.85, 0.15, 0.55, 0.72, 0.22, 0.75))
        lines: dict[str, Look] = {}
        for index, cluster in enumerate(groups):
            panel = axes[index]
            dress(panel, theme)
            panel.set_title(f"{per_cent(nominal(cluster))} sparsity", loc="left", fontsize=11)
            for arm in shown:
                look = looks[arm.arm]
                if arm.arm != DENSE and look.sparsity not in cluster:
                    continue
                lines.setdefault(look.line, look)
                profile = arm.profile
                panel.fill_between(
                    profile.at, profile.low, profile.high, color=look.colour, alpha=0.13, linewidth=0, zorder=2
                )
                panel.plot(
                    profile.at,
                    profile.reached,
                    color=look.colour,
                    linestyle=look.dash,
                    linewidth=1.4 if look.quiet else 2.2,
                    zorder=3,
                )
            panel.set_ylim(-0.02, 1.02)
            panel.set_xlim(0, max(float(shown[0].profile.at[-1]), 1.0))
            panel.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
            panel.xaxis.set_major_formatter(FuncFormatter(thousands))
            panel.yaxis.set_major_formatter(FuncFormatter(per_cent))
            panel.set_xlabel("normalised score, at least")
            if index % columns:
                panel.tick_params(labelleft=False)
            else:
                panel.set_ylabel("runs that reach it")
        for panel in axes[len(groups) :]:
            panel.set_axis_off()
        order = [line for line in dict.fromkeys(look.line for look in looks.values()) if line in lines]
        legend(figure, {line: lines[line] for line in order})
        reach = "; ".join(f"{arm.arm} {per_cent(_at(arm, 0.9))}" for arm in shown)
        return draw(figure, f"Performance profiles. Share of runs that reach a normalised score of 0.9: {reach}.")


def _at(arm: AcrossTasks, score: float) -> float:
    return float(np.round(np.interp(score, arm.profile.at, arm.profile.reached), 2))


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
    values = "; ".join(f"{arm.arm} {number_text(arm.iqm.value, 2)}" for arm in shown)
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
    values = "; ".join(f"{arm.arm} {per_cent(round(arm.over_dense.value, 2))}" for arm in shown if arm.over_dense)
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
    longest = max(len(name) for name in names)
    left = min(max(0.095 * longest + 0.25, 1.0), 3.5)
    with themed(theme):
        figure, axes = grid(1, len(columns), (width, 0.235 * len(names) + 0.1), Margins(left, 0.2, 0.55, 0.35, 0.25))
        ends = [v for _, of in columns for e in of if e for v in (e.value, e.low, e.high) if v is not None]
        low, high = min([even, *ends]), max([even, *ends])
        room = 0.05 * (high - low or 1.0)
        for index, (panel, (title, estimates)) in enumerate(zip(axes, columns, strict=True)):
            dress(panel, theme)
            panel.grid(axis="y", visible=False)
            panel.spines["left"].set_visible(False)
            panel.set_title(title, loc="left", fontsize=11)
            panel.axvline(even, color=theme.quiet, linewidth=1.0, zorder=1)
            for row, (name, estimate) in enumerate(zip(names, estimates, strict=True)):
                look = looks[name]
                if estimate is None:
                    continue
                if estimate.low is not None and estimate.high is not None:
                    panel.plot(
                        [estimate.low, estimate.high],
                        [row, row],
                        color=look.colour,
                        linewidth=3 if not look.quiet else 1.6,
                        alpha=0.55,
                        solid_capstyle="round",
                    )
                panel.plot(
                    [estimate.value],
                    [row],
                    marker=look.marker or "o",
                    markersize=6,
                    color=look.colour,
                    fillstyle="none" if look.quiet else "full",
                )
            panel.set_ylim(len(names) - 0.4, -0.6)
            panel.set_xlim(low - room, high + room)
            panel.set_xlabel(label)
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.xaxis.set_major_formatter(FuncFormatter(per_cent if even == 0.5 else thousands))
            panel.set_yticks(range(len(names)), [plain(name) for name in names] if index == 0 else [])
            panel.tick_params(axis="y", length=0)
            if index == 0:
                for text, name in zip(panel.get_yticklabels(), names, strict=True):
                    text.set_color(readable(looks[name].colour))
        return draw(figure, alt)
